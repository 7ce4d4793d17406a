//! What is in a folder, in order, links not followed.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileError, FileKind, Meta, Patterns, Root, inside, io_error, map_each, platform};

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

impl Found {
    /// What is called `name` in an open folder.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn below(root: &Root, name: &str) -> io::Result<Self> {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let root = Arc::new(root.below(folder)?);
        let meta = root.look(last)?;
        Ok(Self { root, name: last.to_owned(), meta, link: None })
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

    /// When it was modified, in seconds since 1970.
    pub fn modified_s(&self) -> i64 {
        self.meta.modified_s()
    }

    /// Whether a link that was found is one still.
    pub fn is_still_a_link(&self) -> bool {
        self.root.look(&self.name).is_ok_and(|now| now.kind == FileKind::Link)
    }

    /// Where a link leads, as it is written, with `/`; `None` where it is none any more.
    ///
    /// # Errors
    /// It cannot be read, or (on Windows) is no text.
    pub fn link_text(&self) -> Result<Option<String>, FileError> {
        let target = match self.root.read_link(&self.name) {
            // What is no link is an invalid input for reading one.
            Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => return Ok(None),
            target => target.map_err(io_error("read the link", &self.path()))?,
        };
        let text = platform::to_text(target.into_os_string()).map_err(|_| FileError::NotUtf8 { path: self.path() })?;
        Ok(Some(if platform::WINDOWS_NAMES { text.replace('\\', "/") } else { text }))
    }
}

/// Everything in `root` but what `exclude` covers, each folder just before what is in it, and files in the order of their whole names.
/// What disappears meanwhile is not an error.
///
/// # Errors
/// A folder cannot be read, or something else takes its place meanwhile.
pub(crate) fn walk(root: &Path, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    walk_in(&open(root, Root::open_real)?, exclude)
}

/// As [`walk`], and into volumes that are mounted there: of a folder that is only read.
///
/// # Errors
/// See there.
pub(crate) fn walk_across(root: &Path, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    walk_but(&open(root, Root::open)?, exclude, &HashSet::new())
}

/// As [`walk`], of a folder that is open.
///
/// # Errors
/// See there.
pub(crate) fn walk_in(root: &Arc<Root>, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    let real = root.path.canonicalize().map_err(io_error("look at", &root.path))?;
    let mounts = platform::mounts_below(&real).map_err(io_error("look at", &real))?;
    let inside = mounts.iter().filter_map(|mount| mount.strip_prefix(&real).ok());
    let names = inside.filter_map(|inside| platform::to_text(inside.as_os_str().to_owned()).ok()).collect();
    walk_but(root, exclude, &names)
}

fn open(root: &Path, open: impl Fn(&Path) -> io::Result<Root>) -> Result<Arc<Root>, FileError> {
    open(root).map(Arc::new).map_err(io_error("read the folder", root))
}

/// Everything in a folder, but what is in those of these names, where volumes are mounted.
fn walk_but(opened: &Arc<Root>, exclude: &Patterns, mounts: &HashSet<String>) -> Result<Vec<Found>, FileError> {
    let list = |folder: &String| -> Result<Vec<Found>, FileError> {
        let mut children = children(opened, folder)?;
        for child in children.iter_mut().filter(|child| mounts.contains(&child.name)) {
            child.meta.kind = FileKind::Mount;
        }
        children.retain(|child| !exclude.matches(&child.name, matches!(child.meta.kind, FileKind::Folder | FileKind::Mount)));
        children.sort_unstable_by(in_order);
        Ok(children)
    };
    // One level of folders after the other.
    let (mut level, mut by_folder) = (vec![String::new()], HashMap::new());
    while !level.is_empty() {
        let listed = map_each(&level, list)?;
        let folders = listed.iter().flatten().filter(|child| child.meta.kind == FileKind::Folder);
        let next = folders.map(|folder| folder.name.clone()).collect();
        by_folder.extend(std::mem::replace(&mut level, next).into_iter().zip(listed));
    }
    let mut found = Vec::with_capacity(by_folder.values().map(Vec::len).sum());
    // What is in a folder follows it at once.
    let mut open = vec![by_folder.remove("").unwrap_or_default().into_iter()];
    while let Some(folder) = open.last_mut() {
        if let Some(child) = folder.next() {
            if child.meta.kind == FileKind::Folder {
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
    let end = |found: &Found| if found.meta.kind == FileKind::Folder { "/" } else { "" };
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

/// How many files are in `path`, and how many bytes of a disk copies of them take, but what `exclude` covers; nothing where it does not exist.
///
/// # Errors
/// A folder cannot be read, or a pattern is none.
pub fn tree_size(path: &Path, exclude: &[String]) -> io::Result<(u64, u64)> {
    if !path.exists() {
        return Ok((0, 0));
    }
    let patterns = Patterns::new(exclude).map_err(io::Error::other)?;
    let found = walk(path, &patterns).map_err(io::Error::other)?;
    let files = found.iter().filter(|found| found.meta.kind == FileKind::File).count();
    Ok((files as u64, size_on_disk(&found)))
}

/// How many bytes of a disk copies of the files among `found` take: holes take none, nor do further names of a file.
pub(crate) fn size_on_disk(found: &[Found]) -> u64 {
    let (first, _) = further_names(found);
    first.iter().filter(|found| found.meta.kind == FileKind::File).map(|file| file.meta.len.min(file.meta.allocated)).sum()
}

/// Those of `found` that have a content of their own, and the further names of their files, each with the first one.
pub(super) fn further_names(found: &[Found]) -> (Vec<&Found>, Vec<(&Found, &Found)>) {
    let mut first_of: HashMap<(u64, u64), &Found> = HashMap::new();
    let (mut first, mut further) = (Vec::with_capacity(found.len()), Vec::new());
    for found in found {
        let earlier = found.meta.shared_by().and_then(|file| first_of.get(&file).copied());
        match earlier {
            Some(earlier) => further.push((found, earlier)),
            None => first.push(found),
        }
        first_of.extend(found.meta.shared_by().filter(|_| earlier.is_none()).map(|file| (file, found)));
    }
    (first, further)
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
        let files = found.iter().filter(|found| found.meta.kind == FileKind::File);
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
