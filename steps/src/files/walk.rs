//! What is in a folder, in order, links not followed.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{FileError, Patterns, io_error, platform};

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
    /// When it was modified, in seconds since 1970.
    pub fn modified_s(&self) -> i64 {
        let Ok(modified) = self.meta.modified() else { return 0 };
        match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Its unix permission bits.
    pub fn mode(&self) -> u32 {
        platform::mode(&self.meta)
    }

    /// Where a link leads, as it is written, with `/`.
    pub fn link_text(&self) -> Result<String, FileError> {
        let target = std::fs::read_link(&self.path).map_err(io_error("read the link", &self.path))?;
        let text = target.into_os_string().into_string().map_err(|_| FileError::NotUtf8 { path: self.path.clone() })?;
        Ok(if platform::WINDOWS_NAMES { text.replace('\\', "/") } else { text })
    }
}

/// Everything in `root` but what `exclude` covers, each folder before what is in it. What disappears meanwhile is not an error.
///
/// # Errors
/// A folder cannot be read, or a name is not UTF-8.
pub(crate) fn walk(root: &Path, exclude: &Patterns) -> Result<Vec<Found>, FileError> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for child in children(&folder, &prefix)? {
            if exclude.matches(&child.name, child.kind == Kind::Folder) {
                continue;
            }
            if child.kind == Kind::Folder {
                open.push((child.path.clone(), format!("{}/", child.name)));
            }
            found.push(child);
        }
    }
    found.sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
    Ok(found)
}

fn children(folder: &Path, prefix: &str) -> Result<Vec<Found>, FileError> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound && !prefix.is_empty();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if gone(&error) => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read the folder", folder))?,
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("read the folder", folder))?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| FileError::NotUtf8 { path: path.clone() })?;
        let meta = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta.map_err(io_error("look at", &path))?,
        };
        children.push(Found { name: format!("{prefix}{name}"), kind: kind(&meta), path, meta });
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
