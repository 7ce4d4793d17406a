//! What a staged folder says of itself: the release that is in it, and what was known when it was staged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::manifest::json;
use super::walk::Fingerprint;
use super::{FileError, MANIFEST, Manifest, Patterns, identity, io_error, read_file};

/// What `sync` may know about a staged release, so that it need not read everything while the service is down. Without one, everything
/// is compared again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StagedNote {
    /// What the release was compared with.
    pub target: PathBuf,
    /// For each file of the manifest, in its order: the deployed file as it was, where that is the same; nothing where it is another, or
    /// missing.
    #[serde(default)]
    pub deployed: Vec<Option<Fingerprint>>,
    /// The same of each staged file, when it had been read back.
    #[serde(default)]
    pub staged_files: Vec<Option<Fingerprint>>,
    /// The patterns that were left out of the release.
    #[serde(default)]
    pub exclude: Vec<String>,
}

impl StagedNote {
    /// Its name in the staged folder.
    pub const NAME: &'static str = ".almaplan-staged.json";

    fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&read_file(&dir.join(Self::NAME)).ok()?).ok()
    }

    /// Puts it into the staged folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, dir: &Path, write: impl FnOnce(&Path, &[u8]) -> io::Result<()>) -> Result<(), FileError> {
        let at = dir.join(Self::NAME);
        let bytes = json(self, 80 * (self.deployed.len() + self.staged_files.len()));
        write(&at, &bytes).map_err(io_error("write", &at))
    }

    /// Takes out of a release what is covered by `exclude`, and out of this what it says of that. Whether there was anything.
    pub fn leave_out(note: Option<&mut Self>, release: &mut Arc<Manifest>, exclude: &Patterns) -> bool {
        let stays: Vec<bool> = release.files.keys().map(|name| !exclude.covers(name, false)).collect();
        if stays.iter().all(|stays| *stays) && !release.folders.iter().any(|name| exclude.covers(name, true)) {
            return false;
        }
        for files in note.into_iter().flat_map(|note| [&mut note.deployed, &mut note.staged_files]) {
            let mut stays = stays.iter();
            files.retain(|_| stays.next() == Some(&true));
        }
        let (release, mut stays) = (Arc::make_mut(release), stays.iter());
        release.files.retain(|_, _| stays.next() == Some(&true));
        release.folders.retain(|name| !exclude.covers(name, true));
        true
    }
}

/// A staged release.
pub(crate) struct StagedRelease {
    /// What it consists of.
    pub manifest: Manifest,
    /// What was known when it was staged.
    pub note: Option<StagedNote>,
    /// What it was compared with, where this process did that.
    pub compared: Option<Compared>,
}

/// A release that was deployed, and how its manifest looked before that was read.
pub(crate) struct Compared {
    looked: Option<Fingerprint>,
    /// The release.
    pub release: Manifest,
}

impl Compared {
    /// What is deployed in `to`, if anything is.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(to: &Path) -> Result<Option<Self>, FileError> {
        let looked = identity(&to.join(MANIFEST));
        Ok(Manifest::load(to, MANIFEST)?.map(|release| Self { looked, release }))
    }

    /// Whether that is what is deployed in `to` now.
    pub fn is_deployed(&self, to: &Path) -> bool {
        self.looked.is_some() && identity(&to.join(MANIFEST)) == self.looked
    }
}

/// A release that this process staged, and how its manifest and note looked then: whoever puts it in place at once need not read them.
struct Fresh {
    files: [Fingerprint; 2],
    release: StagedRelease,
}

/// Those that are not put in place yet, by their folders.
fn fresh() -> MutexGuard<'static, BTreeMap<PathBuf, Fresh>> {
    static FRESH: Mutex<BTreeMap<PathBuf, Fresh>> = Mutex::new(BTreeMap::new());
    FRESH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what was just staged in `dir` for whoever puts it in place.
pub(super) fn remember(dir: &Path, release: StagedRelease) {
    if let Some(files) = files_in(dir) {
        fresh().insert(dir.to_owned(), Fresh { files, release });
    }
}

/// How the manifest and the note in `dir` look.
fn files_in(dir: &Path) -> Option<[Fingerprint; 2]> {
    Some([identity(&dir.join(MANIFEST))?, identity(&dir.join(StagedNote::NAME))?])
}

/// The release that is staged in `dir`; `None` where none is.
///
/// # Errors
/// It cannot be read or understood.
pub(crate) fn staged_release(dir: &Path) -> Result<Option<StagedRelease>, FileError> {
    let fresh = fresh().remove(dir);
    if let Some(fresh) = fresh.filter(|fresh| files_in(dir) == Some(fresh.files)) {
        return Ok(Some(fresh.release));
    }
    thread::scope(|scope| {
        let note = scope.spawn(|| StagedNote::load(dir));
        let manifest = Manifest::load(dir, MANIFEST)?;
        let note = note.join().expect("reading a file does not panic");
        Ok(manifest.map(|manifest| StagedRelease { manifest, note, compared: None }))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // A note that is not understood is none, and with it goes what was left out of the release on purpose: `sync` would delete that.
    #[test]
    fn a_note_is_read_as_it_is_written_and_as_it_was_once() {
        let at = Fingerprint { len: 7, modified_ns: -1, changed_ns: 2, file: 3 };
        let note = StagedNote { deployed: vec![Some(at), None], exclude: vec!["*.db".to_owned()], ..StagedNote::default() };
        let read: StagedNote = serde_json::from_slice(&json(&note, 0)).unwrap();
        assert_eq!((read.deployed, read.exclude), (note.deployed, note.exclude.clone()));
        let was = r#"{"target":"/app","unchanged":{"a":[7,-1,2,3]},"staged":{},"exclude":["*.db"]}"#;
        let was: StagedNote = serde_json::from_str(was).unwrap();
        assert_eq!((was.deployed.len(), was.exclude), (0, note.exclude));
    }
}
