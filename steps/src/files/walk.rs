//! What is in a folder, in order, links not followed.

use std::cmp::Ordering;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::archive::check_name;
use super::parallel::explore;
use super::{FileError, Patterns, inside, io_error, is_byte_name, platform};

/// One thing in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Relative to the folder, with `/`.
    pub name: String,
    /// Absolute where the folder is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// What the system says about it (about a link: itself).
    pub meta: Metadata,
    /// Where a link led when somebody looked; `None` before that, and of what is none any more.
    pub link: Option<String>,
}

/// What a thing in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// What changes whenever a file does; only compared for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// Its length.
    pub len: u64,
    /// When its content was modified.
    pub modified_ns: i64,
    /// When anything about it was, where the system says.
    pub changed_ns: i64,
    /// Its number on the volume, where there is one.
    pub file: u64,
}

impl Found {
    /// Opens the file that was found, and nothing that took its place.
    ///
    /// # Errors
    /// It is gone, is something else by now, or cannot be read.
    pub fn open(&self) -> io::Result<File> {
        platform::open_file_in(self.root(), &self.name)
    }

    /// The folder in which it was found.
    pub fn root(&self) -> &Path {
        self.path.ancestors().nth(self.name.split('/').count()).expect("a path begins with the folder that was walked")
    }

    /// Whether archives and manifests may hold its name.
    ///
    /// # Errors
    /// They may not; the error says why.
    pub fn check_name(&self) -> Result<(), FileError> {
        if is_byte_name(&self.name) {
            return Err(FileError::NotUtf8 { path: self.path.clone() });
        }
        check_name(&self.name).map_err(|reason| FileError::Name { path: self.path.clone(), reason })
    }

    /// When it was modified, in seconds since 1970.
    pub fn modified_s(&self) -> i64 {
        let Ok(modified) = self.meta.modified() else { return 0 };
        match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            // The second in which it was, as for later times.
            Err(before) => {
                let before = before.duration();
                -i64::try_from(before.as_secs() + u64::from(before.subsec_nanos() > 0)).unwrap_or(i64::MAX)
            }
        }
    }

    /// Its unix permission bits.
    pub fn mode(&self) -> u32 {
        platform::mode(&self.meta)
    }

    /// Where a link leads, as it is written, with `/`; `None` where it is none any more.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn link_text(&self) -> Result<Option<String>, FileError> {
        let target = match std::fs::read_link(&self.path) {
            // What is no link is an invalid input for reading one.
            Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => return Ok(None),
            target => target.map_err(io_error("read the link", &self.path))?,
        };
        let text = target.into_os_string().into_string().map_err(|_| FileError::NotUtf8 { path: self.path.clone() })?;
        Ok(Some(if platform::WINDOWS_NAMES { text.replace('\\', "/") } else { text }))
    }
}

/// Everything in `root` but what `exclude` covers, each folder before what is in it. What disappears meanwhile is not an error.
///
/// # Errors
/// A folder cannot be read, or something else takes its place meanwhile.
pub(crate) fn walk(root: &Path, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    let mut found = explore(String::new(), |folder| {
        let mut children = children(root, &folder)?;
        children.retain(|child| !exclude.matches(&child.name, child.kind == Kind::Folder));
        let folders = children.iter().filter(|child| child.kind == Kind::Folder).map(|folder| folder.name.clone()).collect();
        Ok::<_, FileError>((children, folders))
    })?;
    found.sort_unstable_by(|a, b| by_parts(&a.name, &b.name));
    Ok(found)
}

/// In the order of their parts: what is in a folder follows it at once.
fn by_parts(a: &str, b: &str) -> Ordering {
    let lowest = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.as_bytes().iter().map(lowest).cmp(b.as_bytes().iter().map(lowest))
}

/// What is in the folder `name` of `root`, which has no name itself.
fn children(root: &Path, name: &str) -> Result<Vec<Found>, FileError> {
    let folder = if name.is_empty() { root.to_owned() } else { inside(root, name) };
    let (_open, listed) = match platform::listable(root, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.is_empty() => return Ok(Vec::new()),
        Err(error) if platform::is_replaced(&error) && !name.is_empty() => return Err(FileError::Changing { path: folder }),
        opened => opened.map_err(io_error("read the folder", &folder))?,
    };
    let mut children = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(io_error("read the folder", &folder))? {
        let entry = entry.map_err(io_error("read the folder", &folder))?;
        let path = folder.join(entry.file_name());
        let text = platform::to_text(entry.file_name()).map_err(|_| FileError::NotUtf8 { path: path.clone() })?;
        let meta = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta.map_err(io_error("look at", &path))?,
        };
        let name = if name.is_empty() { text } else { format!("{name}/{text}") };
        children.push(Found { name, kind: kind(&meta), path, meta, link: None });
    }
    Ok(children)
}

/// What `meta` (of the thing itself, links not followed) says it is.
pub(crate) fn kind(meta: &Metadata) -> Kind {
    let kind = meta.file_type();
    if kind.is_symlink() {
        Kind::Link
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    }
}

/// How many files and bytes are in `path` but what `exclude` covers; nothing where it does not exist.
///
/// # Errors
/// A folder cannot be read, or a pattern is none.
pub fn tree_size(path: &Path, exclude: &[String]) -> io::Result<(u64, u64)> {
    if !path.exists() {
        return Ok((0, 0));
    }
    let patterns = Patterns::new(exclude).map_err(io::Error::other)?;
    let found = walk(path, &patterns).map_err(io::Error::other)?;
    let files = found.iter().filter(|found| found.kind == Kind::File);
    Ok(files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.meta.len())))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_became_a_link_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("outside/below")).unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        symlink("../outside", folder.path().join("root/a")).unwrap();
        for name in ["a", "a/below"] {
            let listed = children(&folder.path().join("root"), name);
            assert!(matches!(&listed, Err(FileError::Changing { path }) if path.ends_with(name)), "{listed:?}");
        }
        assert!(children(&folder.path().join("root"), "gone").unwrap().is_empty());
    }

    #[test]
    fn a_file_is_opened_through_no_link_and_no_pipe_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/file"), "x").unwrap();
        let found = walk(&root, &Patterns::default()).unwrap().pop().unwrap();
        assert_eq!((found.root(), found.open().is_ok()), (root.as_path(), true));
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        symlink("b", root.join("a")).unwrap();
        assert!(platform::is_replaced(&found.open().unwrap_err()));
        std::fs::remove_file(root.join("a")).unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        let status = std::process::Command::new("mkfifo").arg(root.join("a/file")).status().unwrap();
        assert!(status.success() && platform::is_replaced(&found.open().unwrap_err()));
    }
}
