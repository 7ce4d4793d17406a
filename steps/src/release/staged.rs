//! What a staged folder says of itself: the release that is in it, and what was known when it was staged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MANIFEST, Manifest, ReleaseError};
use crate::files::{FileError, FileStat, Root, io_error, read_file, write_in};

/// What `sync` may know about a staged release, so that it need not read everything while the service is down. Without it, everything
/// is compared again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StageMetadata {
    /// What the release was compared with.
    pub target: PathBuf,
    /// The permission bits of the folder that the release comes from, for a target that does not exist yet.
    #[serde(default)]
    pub mode: Option<u32>,
    /// The patterns that were left out of the release.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The deployed files that are those of the release, as they looked before they were read.
    #[serde(default)]
    pub unchanged: BTreeMap<String, FileStat>,
    /// The staged files, as they looked when they had been read back.
    #[serde(default)]
    pub staged: BTreeMap<String, FileStat>,
}

impl StageMetadata {
    /// Its name in the staged folder.
    pub const NAME: &'static str = ".almaplan-staged.json";

    /// Puts it into the staged folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, dir: &Root) -> Result<(), FileError> {
        let bytes = serde_json::to_vec(self).expect("it is plain data with text keys");
        write_in(dir, Self::NAME, &bytes).map_err(io_error("write", &dir.path.join(Self::NAME)))
    }

    fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&read_file(&dir.join(Self::NAME)).ok()?).ok()
    }
}

/// A staged release.
pub(crate) struct StagedRelease {
    /// What it consists of.
    pub manifest: Manifest,
    /// What was known when it was staged.
    pub metadata: Option<StageMetadata>,
}

impl StagedRelease {
    /// The release that is staged in `dir`; `None` where none is.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(dir: &Path) -> Result<Option<Self>, ReleaseError> {
        let manifest = Manifest::load(dir, MANIFEST)?;
        Ok(manifest.map(|manifest| Self { manifest, metadata: StageMetadata::load(dir) }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // Metadata that is not understood is none, and with it goes what was left out of the release on purpose: `sync` would delete that.
    #[test]
    fn metadata_is_read_as_it_is_written_and_as_it_was_once() {
        let at = FileStat { len: 7, modified_ns: -1, changed_ns: 2, inode: 3 };
        let unchanged = BTreeMap::from([("a".to_owned(), at)]);
        let metadata = StageMetadata { unchanged, exclude: vec!["*.db".to_owned()], ..StageMetadata::default() };
        let read: StageMetadata = serde_json::from_slice(&serde_json::to_vec(&metadata).unwrap()).unwrap();
        assert_eq!((&read.unchanged, &read.exclude), (&metadata.unchanged, &metadata.exclude));
        let was = r#"{"target":"/app","deployed":[[7,-1,2,3],null],"staged_files":[null,null],"exclude":["*.db"]}"#;
        let was: StageMetadata = serde_json::from_str(was).unwrap();
        assert_eq!((was.unchanged.len(), was.exclude), (0, metadata.exclude));
    }
}
