//! What every kind about files shares: walking, copying, replacing, archiving, and knowing what belongs to a release.
//!
//! Invariants: a file appears whole or not at all (written beside, synced, renamed); a copy is verified by its hash; an archive is
//! trusted in nothing. Names inside a folder are text with `/` between components, on every system. What is found in a folder is read
//! through no link and without waiting for anyone: whoever puts a link or a pipe in the place of a file has it not read.
//!
//! What differs between systems is in `unix.rs` and `windows.rs`, behind the same functions, and nowhere else.

pub mod archive;
mod atomic;
mod carry;
mod choice;
mod copy;
mod hashes;
mod job;
mod links;
mod live;
mod manifest;
mod parallel;
mod patterns;
mod place;
mod prune;
mod remove;
mod replaced;
mod room;
mod stage;
mod staged;
mod swap;
mod text;
mod unsynced;
mod walk;

#[cfg(unix)]
#[path = "unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "windows.rs"]
mod platform;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use self::atomic::write_atomically;
pub use self::swap::{SwapError, fit_for_swap, writable};
pub use self::walk::tree_size;

pub(crate) use self::atomic::{link_atomically, sync_folder};
pub(crate) use self::carry::{Carry, Keep, Listing};
pub(crate) use self::choice::Choice;
pub(crate) use self::copy::{copy_file, copy_files, copy_link, copy_tree, dress_folder, hash_file, make_link, size};
pub(crate) use self::hashes::{Hashes, Known};
pub(crate) use self::job::{Job, blocking, each, map_each, threads};
pub(crate) use self::links::Links;
pub(crate) use self::live::{Live, READS, Reading, Streamed, is_database};
pub(crate) use self::manifest::{Kept, MANIFEST, Manifest, NEXT, is_own};
pub(crate) use self::patterns::Patterns;
pub(crate) use self::place::{Deployed, Placement, move_in, place, plan};
pub(crate) use self::prune::{prune, same_shape};
pub(crate) use self::remove::{discard, remove_file, remove_tree};
pub(crate) use self::room::{Room, Taken};
pub(crate) use self::stage::{Staged, Staging, may_stage, stage};
pub(crate) use self::staged::{StagedNote, StagedRelease, staged_release};
pub(crate) use self::swap::{beside, overlap, real_target};
pub(crate) use self::text::is_byte_name;
pub(crate) use self::unsynced::Unsynced;
use self::walk::Fingerprint;
pub(crate) use self::walk::{Found, Kind, walk};

/// What can go wrong with files.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried, fit after "could not".
        doing: &'static str,
        /// With what, absolute.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process kept the file for longer than this step waits.
    #[error("could not {doing} {}: another process holds it{}; end it and try again", path.display(), by(holders))]
    Held {
        /// What was tried.
        doing: &'static str,
        /// The file, absolute.
        path: PathBuf,
        /// Who holds it, where the system tells.
        holders: Vec<String>,
    },
    /// The work was asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// A record could not be made durable.
    #[error("{0}")]
    Journal(String),
    /// A name that is not Unicode: no archive or manifest could name it the same way on every system.
    #[error("the name of {} is not valid UTF-8; rename it or exclude it", path.display())]
    NotUtf8 {
        /// The file, its name as far as it can be shown.
        path: PathBuf,
    },
    /// A name that no archive and no manifest may hold.
    #[error("the name of {} {reason}, so that it would mean something else elsewhere; rename it or exclude it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, after the name.
        reason: &'static str,
    },
    /// A copy did not read back as what was written.
    #[error("the copy {} does not read back as {}; check the disk", to.display(), from.display())]
    BadCopy {
        /// The original.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// A file never stood still.
    #[error("{} changes while it is read; stop whoever writes it, or exclude it", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// An archive is damaged, hostile or cannot be written.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// A manifest cannot be read.
    #[error("{} cannot be understood ({reason}); where it is damaged, delete it: the next deploy then deletes nothing", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}` is no pattern ({reason})")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// SQLite could not copy a live database.
    #[error("could not copy the database {} through SQLite ({reason}); is it locked for long by another program?", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Inputs or a state of the folder that this kind refuses; says what and what to do.
    #[error("{0}")]
    Refused(String),
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!(" ({})", holders.join(", ")) }
}

/// Makes the error of one operation with `path`; for `map_err`.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}

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
    match Root::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        opened => opened.map(Some).map_err(io_error("open the folder", path)),
    }
}

/// Whether a folder is there, and not a link to one.
pub(crate) fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// Whether two names are of one file, as far as the system tells.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// How the file at `path` looks; `None` where it is missing, or another one could look the same.
fn identity(path: &Path) -> Option<Fingerprint> {
    let meta = look(path).ok()?;
    Some(platform::fingerprint(|| path, &meta)).filter(platform::identifies)
}

/// Whether anything is there, a dangling link included.
pub(crate) fn present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) use self::platform::{Root, look};

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
