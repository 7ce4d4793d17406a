//! What a release consists of: the file that `sync` leaves in a deployed folder.
//!
//! Whatever a folder holds that no manifest names was made by people or by the service: it is data, and stays.
//!
//! ```text
//!  sync:  write .almaplan-next.json ──> move and delete files ──> rename it to .almaplan-manifest.json
//! ```
//! So in a folder that a crash left half way, both the old and the new release are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileError, io_error, read_file, write_atomically};

/// The manifest of the release that a folder holds.
pub(crate) const MANIFEST: &str = ".almaplan-manifest.json";
/// The manifest of the release that is being put in place.
pub(crate) const NEXT: &str = ".almaplan-next.json";

/// Whether `name` is a file of ours, neither of a release nor data.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(".almaplan-")
}

/// What a release consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of this format.
    pub version: u32,
    /// The files and links, by name.
    pub files: BTreeMap<String, Item>,
    /// The folders.
    pub folders: BTreeSet<String>,
    /// The copy of data that `sync` took before it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// One file or link of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Length in bytes; 0 for a link.
    pub size: u64,
    /// BLAKE3 of the content, or of where a link leads.
    pub hash: String,
    /// Unix permission bits.
    pub mode: u32,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Data as it was when the service had stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The run that took it.
    pub run: String,
    /// Where it is.
    pub dir: PathBuf,
}

impl Manifest {
    /// The manifest called `name` in `folder`, where there is one.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(folder: &Path, name: &str) -> Result<Option<Self>, FileError> {
        let path = folder.join(name);
        match read_file(&path) {
            Ok(bytes) => Self::parse(&bytes, &path).map(Some),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// A manifest from its bytes, which come from `path`.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, FileError> {
        let wrong = |reason: String| FileError::Manifest { path: path.to_owned(), reason };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if manifest.version > 1 {
            return Err(wrong("it was written by a newer version".to_owned()));
        }
        // These names are joined to folders and deleted.
        for name in manifest.names() {
            super::archive::check_name(name).map_err(|reason| wrong(format!("the name `{name}` {reason}")))?;
        }
        Ok(manifest)
    }

    /// Writes it into `folder`, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<(), FileError> {
        self.save_with(folder, name, write_atomically)
    }

    /// Writes it into `folder` as `write` does.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save_with(&self, folder: &Path, name: &str, write: impl FnOnce(&Path, &[u8]) -> std::io::Result<()>) -> Result<(), FileError> {
        let path = folder.join(name);
        let bytes = serde_json::to_vec(self).expect("a manifest is plain data with text keys");
        write(&path, &bytes).map_err(io_error("write", &path))
    }

    /// Whether the release has this file or folder.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.folders.contains(name)
    }

    /// Every name in it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(&self.folders)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_that_names_files_outside_is_refused() {
        let json = r#"{"version":1,"files":{"../../etc/passwd":{"size":0,"hash":"","mode":420}},"folders":[]}"#;
        let error = Manifest::parse(json.as_bytes(), Path::new("/app/.almaplan-manifest.json")).unwrap_err().to_string();
        assert!(error.contains("../../etc/passwd") && error.contains("/app/"), "{error}");
    }
}
