//! What a release consists of: the file that `sync` leaves in a deployed folder.
//!
//! Whatever a folder holds that no manifest names was made by people or by the service: it is data, and stays.
//!
//! ```text
//!  sync:  write .almaplan-next.json ──> move and delete files ──> rename it to .almaplan-manifest.json
//! ```
//! So in a folder that a crash left half way, both the old and the new release are known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use blake3::Hash;
use data_encoding::HEXLOWER;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    #[serde(deserialize_with = "in_order")]
    pub files: BTreeMap<String, Item>,
    /// The folders.
    #[serde(deserialize_with = "set_in_order")]
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

impl Manifest {
    /// The manifest called `name` in `folder`, where there is one.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(folder: &Path, name: &str) -> Result<Option<Self>, FileError> {
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
        let path = folder.join(name);
        write_atomically(&path, &self.json()).map_err(io_error("write", &path))
    }

    /// What [`Manifest::parse`] reads.
    pub fn json(&self) -> Vec<u8> {
        json(self, 200 * self.files.len())
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

/// `what` as JSON, of which so many bytes are expected: text that grows is copied each time.
pub(super) fn json(what: &impl Serialize, bytes: usize) -> Vec<u8> {
    let mut json = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut json, what).expect("it is plain data with text keys");
    json
}

fn to_hex<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(HEXLOWER.encode_mut_str(hash.as_bytes(), &mut [0; 2 * blake3::OUT_LEN]))
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    struct Hex;
    impl Visitor<'_> for Hex {
        type Value = Hash;

        fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
            text.write_str("a hash of 64 hexadecimal digits")
        }

        fn visit_str<E: Error>(self, hex: &str) -> Result<Hash, E> {
            let mut hash = [0; blake3::OUT_LEN];
            let is_hash = hex.len() == 2 * hash.len() && HEXLOWER.decode_mut(hex.as_bytes(), &mut hash).is_ok();
            if is_hash { Ok(Hash::from_bytes(hash)) } else { Err(E::invalid_value(Unexpected::Str(hex), &self)) }
        }
    }
    from.deserialize_str(Hex)
}

/// A map that was written in order, and so needs no search for the place of each name.
fn in_order<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<BTreeMap<String, T>, D::Error> {
    struct InOrder<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
            text.write_str("a map")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect::<Result<Vec<_>, _>>().map(BTreeMap::from_iter)
        }
    }
    from.deserialize_map(InOrder(PhantomData))
}

fn set_in_order<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
    Vec::deserialize(from).map(BTreeSet::from_iter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_that_names_files_outside_is_refused() {
        let hash = "0".repeat(64);
        let json = format!(r#"{{"version":1,"files":{{"../../etc/passwd":{{"size":0,"hash":"{hash}","mode":420}}}},"folders":[]}}"#);
        let error = Manifest::parse(json.as_bytes(), Path::new("/app/.almaplan-manifest.json")).unwrap_err().to_string();
        assert!(error.contains("../../etc/passwd") && error.contains("/app/"), "{error}");
    }
}
