//! What the backup of a run has of the folder that a release goes to.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::ReleaseError;
use crate::archive::Archive;
use crate::files::{BlockingTask, FirstOf};

/// The names in the archive that this run made of a folder.
pub(crate) struct Saved {
    archive: PathBuf,
    folder: PathBuf,
    names: HashSet<String>,
}

impl Saved {
    /// The newest archive that this run made of the folder `to`; `None` where it made none: then nothing says that it would be needed.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn of(task: &BlockingTask, to: &Path) -> Result<Option<Self>, ReleaseError> {
        let outputs = task.cx.outputs();
        let path = |key: &str, output: &serde_json::Value| output[key].as_str().map(PathBuf::from);
        let made = outputs.iter().rev().find(|output| output["sha256"].is_string() && path("source", output).as_deref() == Some(to));
        let Some(archive) = made.and_then(|made| path("archive", made)) else { return Ok(None) };
        let names = Archive::names(&archive)?;
        Ok(Some(Self { archive, folder: to.to_owned(), names }))
    }

    /// A journal is in the copy of its database.
    fn has(&self, name: &str) -> bool {
        let database = ["-wal", "-shm", "-journal"].iter().find_map(|end| name.strip_suffix(end));
        self.names.contains(name) || database.is_some_and(|database| self.names.contains(database))
    }

    /// Whether it has all of `names`.
    ///
    /// # Errors
    /// It has not; the error names what is missing.
    pub fn check<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(), ReleaseError> {
        /// As many as a person reads.
        const SHOWN: usize = 20;
        let missing: Vec<&str> = names.map(String::as_str).filter(|name| !self.has(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = FirstOf::new(&missing[..missing.len().min(SHOWN)], missing.len());
        Err(ReleaseError::NotSaved { names, folder: self.folder.clone(), archive: self.archive.clone() })
    }
}
