//! What every kind about files shares: walking, copying, replacing, archiving, and knowing what belongs to a release.
//!
//! Invariants: a file appears whole or not at all (written beside, synced, renamed); a copy is verified by its hash; an archive is
//! trusted in nothing. Names inside a folder are text with `/` between components, on every system. What is found in a folder is read
//! through no link and without waiting for anyone: whoever puts a link or a pipe in the place of a file has it not read.
//!
//! What is written below a folder that may be somebody else's is written through [`Root`], which is opened, name by name and through no
//! link: see `unix/below.rs`. Files for people elsewhere (logs, what a command prints) are at a [`Place`], which is found the same way.
//!
//! What differs between systems is in `unix.rs` and `windows.rs`, behind the same functions, and nowhere else.

mod as_it_is_now;
mod atomic;
mod attributes;
mod blocking_task;
mod copy;
mod error;
mod meta;
mod names;
mod parallel;
mod patterns;
mod pending_sync;
mod prune;
mod remove;
mod swap;
mod text;
mod walk;

#[cfg(unix)]
#[path = "unix.rs"]
pub(crate) mod platform;
#[cfg(windows)]
#[path = "windows.rs"]
pub(crate) mod platform;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use self::atomic::{write_atomically, write_new};
pub use self::swap::{Outside, SwapError, fit_for_swap, writable};
pub use self::walk::tree_size;

pub(crate) use self::as_it_is_now::{MOST_COPIES, as_it_is_now};
pub(crate) use self::atomic::{link_in, sweep, sync_folder, unfinished_in, unforeseeable, write_in};
pub(crate) use self::attributes::unkept;
pub(crate) use self::blocking_task::{BlockingTask, PanicError, blocking, whole};
pub(crate) use self::copy::{
    CHUNK, Copied, GROUP, Output, apply_attributes, apply_to_folder, apply_to_folders, attributes_of, copy_file, copy_files, copy_link,
    copy_opened, copy_tree, extended, folder_attributes, folders, hash_file, hash_found, make_folders, make_link, needed, root_attributes,
    size,
};
pub use self::error::FileError;
pub(crate) use self::error::{FileNote, FirstOf, as_key, io_error};
pub(crate) use self::meta::{Attributes, Extended, FileKind, FileStat, Meta, Owner, SET_ID, time_ns};
pub(crate) use self::names::{check_name, complaint, folder_of, link_complaint, odd_complaint};
pub(crate) use self::parallel::{each, map_each, pool, threads};
pub(crate) use self::patterns::Patterns;
pub(crate) use self::pending_sync::PendingSync;
pub(crate) use self::prune::{prune, same_shape};
pub(crate) use self::remove::{check_no_mount, discard, remove_below, remove_file, remove_file_in, remove_tree};
pub(crate) use self::swap::{beside, overlap, real_target};
pub(crate) use self::text::is_byte_name;
use self::walk::further_names;
pub(crate) use self::walk::{Found, size_on_disk, walk, walk_across};

/// The whole of a file of ours: neither of what a link leads to, nor of a pipe.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    platform::open_file(path)?.0.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `name` (with `/`) as a path in `root`.
pub(crate) fn inside(root: &Path, name: &str) -> PathBuf {
    platform::inside(root, name)
}

/// The folder `path` to work in, where there is one.
///
/// # Errors
/// It cannot be opened: whoever took it for a missing one would not see what is in it.
pub(crate) fn root(path: &Path) -> Result<Option<Root>, FileError> {
    match Root::open_real(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        opened => opened.map(Some).map_err(io_error("open the folder", path)),
    }
}

/// Makes the folder `path` where it is missing, and those above it: in each that is there, through no link that somebody else could have
/// put.
///
/// # Errors
/// One cannot be made.
pub(crate) fn make_way(path: &Path) -> io::Result<()> {
    let (root, missing) = nearest_folder(path)?;
    let missing = missing.iter().map(|name| platform::name_text(name.as_encoded_bytes())).collect::<Option<Vec<_>>>();
    let missing = missing.ok_or(io::ErrorKind::InvalidFilename)?;
    if missing.is_empty() { Ok(()) } else { root.make_folder(&missing.join("/")) }
}

/// Where a file is or will be that is written for others: a folder that is open, and a name in it; how it is found, each system says.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder.
    pub folder: Root,
    /// The file's name in it.
    pub name: String,
}

/// The nearest folder above `path` that is there, and the rest of the way.
fn nearest_folder(path: &Path) -> io::Result<(Root, PathBuf)> {
    for folder in path.ancestors() {
        match Root::open_real(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.parent().is_some() => {}
            opened => return Ok((opened?, path.strip_prefix(folder).map_err(io::Error::other)?.to_owned())),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether anything is there, a dangling link included.
pub(crate) fn present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) use self::platform::{Root, look, mounts_below};
pub(crate) use self::platform::{name_bytes, name_text};

/// Whether a folder could not be renamed although what is in it can be replaced.
pub(crate) fn cannot_be_renamed(error: &FileError) -> bool {
    match error {
        FileError::Held { .. } => true,
        FileError::Io { source, .. } => platform::cannot_be_renamed(source),
        _ => false,
    }
}

/// The free space, in bytes, where `path` is or would be: on the volume of its nearest ancestor that exists.
///
/// # Errors
/// The system does not tell.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let nearest = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    platform::free_space(nearest)
}
