//! What a release consists of: the file that `sync` leaves in a deployed folder.
//!
//! Whatever a folder holds that no manifest names was made by people or by the service: it is data, and stays.
//!
//! ```text
//!  sync:  write .almaplan-next.json ──> move and delete files ──> rename it to .almaplan-manifest.json
//! ```
//! So in a folder that a crash left half way, both the old and the new release are known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use blake3::Hash;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ManifestError, ReleaseError};
use crate::files::{FileError, Found, Patterns, Root, check_name, io_error, read_file, write_in};

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
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub hash: Hash,
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

impl Kept {
    /// In a copy of data: the run that took it.
    pub const MARKER: &str = ".almaplan-kept";

    /// Whether the copy is there and says itself that the run took it. The manifest alone proves nothing: it is in a folder that may be
    /// somebody else's, and could name any folder.
    pub fn is_there(&self) -> bool {
        let mut by = String::new();
        let marker = Root::open_real(&self.dir).and_then(|dir| dir.open_file(Self::MARKER));
        // No id of a run is longer.
        marker.and_then(|(marker, _)| marker.take(256).read_to_string(&mut by)).is_ok_and(|_| by == self.run)
    }
}

impl Item {
    /// A file of this length, content and mode.
    pub fn of_file(size: u64, hash: Hash, mode: u32) -> Self {
        Self { size, hash, mode, link: None }
    }

    /// A link that was found.
    ///
    /// # Errors
    /// It cannot be read, or is none any more.
    pub fn of_link(found: &Found) -> Result<Self, FileError> {
        let text = found.link_text()?.ok_or_else(|| FileError::Changing { path: found.path() })?;
        Ok(Self { size: 0, hash: blake3::hash(text.as_bytes()), mode: found.meta.mode, link: Some(text) })
    }
}

impl Manifest {
    /// Of an empty release.
    pub fn new() -> Self {
        Self { version: 1, ..Self::default() }
    }

    /// The manifest called `name` in `folder`, where there is one.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(folder: &Path, name: &str) -> Result<Option<Self>, ReleaseError> {
        let path = folder.join(name);
        match read_file(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            bytes => Self::parse(&bytes.map_err(io_error("read", &path))?, &path).map(Some),
        }
    }

    /// A manifest from its bytes, which come from `path`.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ReleaseError> {
        let wrong = |source: ManifestError| ReleaseError::Manifest { path: path.to_owned(), source };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.into()))?;
        if manifest.version > 1 {
            return Err(wrong(ManifestError::Newer));
        }
        // These names are joined to folders and deleted.
        for name in manifest.names() {
            check_name(name).map_err(|reason| wrong(ManifestError::Name { name: name.clone(), reason }))?;
        }
        Ok(manifest)
    }

    /// Writes it into `folder`, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save_in(&self, folder: &Root, name: &str) -> Result<(), FileError> {
        let bytes = serde_json::to_vec(self).expect("it is plain data with text keys");
        write_in(folder, name, &bytes).map_err(io_error("write", &folder.path.join(name)))
    }

    /// Takes out what `exclude` covers. Whether there was anything.
    pub fn leave_out(&mut self, exclude: &Patterns) -> bool {
        let before = (self.files.len(), self.folders.len());
        self.files.retain(|name, _| !exclude.covers(name, false));
        self.folders.retain(|name| !exclude.covers(name, true));
        before != (self.files.len(), self.folders.len())
    }

    /// Whether the release has this file or folder.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.folders.contains(name)
    }

    /// The files and links that `other` has not got.
    pub fn files_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        // Both are in order: no search for each name.
        let mut others = other.files.keys().peekable();
        self.files.keys().filter(move |name| {
            while others.next_if(|other| other < name).is_some() {}
            others.peek() != Some(name)
        })
    }

    /// Every name in it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(&self.folders)
    }
}

fn to_hex<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hash.to_hex())
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    #[derive(Deserialize)]
    struct Hex<'a>(#[serde(borrow)] Cow<'a, str>);
    let Hex(hex) = Hex::deserialize(from)?;
    Hash::from_hex(&*hex).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_that_names_files_outside_is_refused() {
        let hash = "0".repeat(64);
        let json = format!(r#"{{"version":1,"files":{{"../../etc/passwd":{{"size":0,"hash":"{hash}","mode":420}}}},"folders":[]}}"#);
        let error = Manifest::parse(json.as_bytes(), Path::new("/app/.almaplan-manifest.json")).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("../../etc/passwd") && error.to_string().contains("/app/"), "{error}: {cause}");
    }
}
