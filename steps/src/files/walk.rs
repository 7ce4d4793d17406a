//! What is in a folder, in order, links not followed.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::archive::check_name;
use super::parallel::explore;
use super::{FileError, Patterns, Root, inside, io_error, is_byte_name, platform};

/// One thing in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The folder.
    pub root: Arc<Root>,
    /// Relative to the folder, with `/`.
    pub name: String,
    /// What the system says about it.
    pub meta: Meta,
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

/// What the system says about a thing itself: of a link, not about what it leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub len: u64,
    /// Unix permission bits, or those that say the same.
    pub mode: u32,
    /// When its content was modified.
    pub modified: SystemTime,
    /// When anything about it was, or what comes nearest to it of what needs no second question.
    pub(super) changed_ns: i64,
    /// Its number on the volume, or 0 where that needs a second question.
    pub(super) file: u64,
}

/// What changes whenever a file does; only compared for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Numbers", into = "Numbers")]
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

/// A fingerprint as it is written: there are as many as files.
type Numbers = (u64, i64, i64, u64);

impl From<Fingerprint> for Numbers {
    fn from(at: Fingerprint) -> Self {
        (at.len, at.modified_ns, at.changed_ns, at.file)
    }
}

impl From<Numbers> for Fingerprint {
    fn from((len, modified_ns, changed_ns, file): Numbers) -> Self {
        Self { len, modified_ns, changed_ns, file }
    }
}

impl Meta {
    /// When its content was modified, in nanoseconds since 1970; only compared for equality.
    pub(super) fn modified_ns(&self) -> i64 {
        time_ns(self.modified)
    }
}

/// A time in nanoseconds since 1970; wraps centuries from then.
pub(super) fn time_ns(time: SystemTime) -> i64 {
    let (seconds, nanos) = since_1970(time);
    nanoseconds(seconds, nanos.into())
}

/// Both as nanoseconds; only compared for equality.
pub(super) fn nanoseconds(seconds: i64, nanos: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

impl Found {
    /// What is at `path`, a folder above which has to be there.
    ///
    /// # Errors
    /// Nothing is there, or its name is none.
    pub fn at(path: &Path) -> io::Result<Self> {
        let (root, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
        let name = platform::to_text(name.to_owned()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let meta = platform::look(path)?;
        Ok(Self { root: Arc::new(Root::open(root)?), name, meta, link: None })
    }

    /// Where it is; absolute where the folder is.
    pub fn path(&self) -> PathBuf {
        inside(&self.root.path, &self.name)
    }

    /// Opens the file that was found, and nothing that took its place; and what the system says about it now.
    ///
    /// # Errors
    /// It is gone, is something else by now, or cannot be read.
    pub fn open(&self) -> io::Result<(File, Meta)> {
        self.root.open_file(&self.name)
    }

    /// Whether archives and manifests may hold its name.
    ///
    /// # Errors
    /// They may not; the error says why.
    pub fn check_name(&self) -> Result<(), FileError> {
        check_name(&self.name).map_err(|reason| {
            let path = self.path();
            if is_byte_name(&self.name) { FileError::NotUtf8 { path } } else { FileError::Name { path, reason } }
        })
    }

    /// When it was modified, in seconds since 1970.
    pub fn modified_s(&self) -> i64 {
        since_1970(self.meta.modified).0
    }

    /// Where a link leads, as it is written, with `/`; `None` where it is none any more.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn link_text(&self) -> Result<Option<String>, FileError> {
        let target = match std::fs::read_link(self.path()) {
            // What is no link is an invalid input for reading one.
            Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => return Ok(None),
            target => target.map_err(io_error("read the link", &self.path()))?,
        };
        let text = target.into_os_string().into_string().map_err(|_| FileError::NotUtf8 { path: self.path() })?;
        Ok(Some(if platform::WINDOWS_NAMES { text.replace('\\', "/") } else { text }))
    }
}

/// The second in which a time was, and the nanoseconds since that began.
pub(super) fn since_1970(time: SystemTime) -> (i64, u32) {
    let seconds = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (seconds(after.as_secs()), after.subsec_nanos()),
        Err(before) => match (before.duration().as_secs(), before.duration().subsec_nanos()) {
            (whole, 0) => (-seconds(whole), 0),
            (whole, nanos) => (-seconds(whole + 1), 1_000_000_000 - nanos),
        },
    }
}

/// Everything in `root` but what `exclude` covers, each folder just before what is in it, and files in the order of their whole names.
/// What disappears meanwhile is not an error.
///
/// # Errors
/// A folder cannot be read, or something else takes its place meanwhile.
pub(crate) fn walk(root: &Path, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    let opened = Arc::new(Root::open(root).map_err(io_error("read the folder", root))?);
    let listed = explore(String::new(), |folder| {
        let mut children = children(&opened, &folder)?;
        children.retain(|child| !exclude.matches(&child.name, child.meta.kind == Kind::Folder));
        children.sort_unstable_by(in_order);
        let folders = children.iter().filter(|child| child.meta.kind == Kind::Folder).map(|folder| folder.name.clone()).collect();
        Ok::<_, FileError>((vec![(folder, children)], folders))
    })?;
    let mut found = Vec::with_capacity(listed.iter().map(|(_, children)| children.len()).sum());
    let mut by_folder: HashMap<String, Vec<Found>> = listed.into_iter().collect();
    // What is in a folder follows it at once.
    let mut open = vec![by_folder.remove("").unwrap_or_default().into_iter()];
    while let Some(folder) = open.last_mut() {
        if let Some(child) = folder.next() {
            if child.meta.kind == Kind::Folder {
                open.extend(by_folder.remove(&child.name).map(Vec::into_iter));
            }
            found.push(child);
        } else {
            open.pop();
        }
    }
    Ok(found)
}

/// How two things in a folder follow one another: the names of what is in a folder have a slash after its own.
fn in_order(a: &Found, b: &Found) -> Ordering {
    let end = |found: &Found| if found.meta.kind == Kind::Folder { "/" } else { "" };
    match (b.name.strip_prefix(&a.name), a.name.strip_prefix(&b.name)) {
        (Some(rest), _) => end(a).cmp(rest),
        (_, Some(rest)) => rest.cmp(end(b)),
        _ => a.name.cmp(&b.name),
    }
}

/// What is in the folder `name` of `root`, which has no name itself.
fn children(root: &Arc<Root>, name: &str) -> Result<Vec<Found>, FileError> {
    let folder = if name.is_empty() { root.path.clone() } else { inside(&root.path, name) };
    let listed = match root.list(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.is_empty() => return Ok(Vec::new()),
        Err(error) if platform::is_replaced(&error) && !name.is_empty() => return Err(FileError::Changing { path: folder }),
        listed => listed.map_err(io_error("read the folder", &folder))?,
    };
    let found = |(file, meta): (OsString, Meta)| {
        let text = platform::to_text(file).map_err(|file| FileError::NotUtf8 { path: folder.join(file) })?;
        let name = if name.is_empty() { text } else { [name, &text].join("/") };
        Ok(Found { root: Arc::clone(root), name, meta, link: None })
    };
    listed.into_iter().map(found).collect()
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
    let files = found.iter().filter(|found| found.meta.kind == Kind::File);
    Ok(files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.meta.len)))
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
        let opened = Arc::new(Root::open(&folder.path().join("root")).unwrap());
        for name in ["a", "a/below"] {
            let listed = children(&opened, name);
            assert!(matches!(&listed, Err(FileError::Changing { path }) if path.ends_with(name)), "{listed:?}");
        }
        assert!(children(&opened, "gone").unwrap().is_empty());
    }

    #[test]
    fn files_are_in_the_order_of_their_whole_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/x", "a-b", "a.txt", "a0/a", "a0-", "b", "ba/b/c", "ba/b-"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = walk(folder.path(), &Patterns::default()).unwrap();
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a-b", "a.txt", "a", "a/x", "a0-", "a0", "a0/a", "b", "ba", "ba/b-", "ba/b", "ba/b/c"]);
        let files = found.iter().filter(|found| found.meta.kind == Kind::File);
        assert!(files.is_sorted_by_key(|file| &file.name));
    }

    #[test]
    fn a_file_is_opened_through_no_link_and_no_pipe_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/file"), "x").unwrap();
        let found = walk(&root, &Patterns::default()).unwrap().pop().unwrap();
        assert_eq!((&found.root.path, found.open().is_ok()), (&root, true));
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        symlink("b", root.join("a")).unwrap();
        assert!(platform::is_replaced(&found.open().unwrap_err()));
        std::fs::remove_file(root.join("a")).unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        let status = std::process::Command::new("mkfifo").arg(root.join("a/file")).status().unwrap();
        assert!(status.success() && platform::is_replaced(&found.open().unwrap_err()));
    }
}
