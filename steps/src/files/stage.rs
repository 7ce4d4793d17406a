//! Building a release in a folder, and knowing how it differs from what is deployed.
//!
//! Unchanged files are copied too, not linked: a link would be the live file itself, and whoever writes into the one writes into the other.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::copy::{Copied, copy_opened, dress_folders, folders, hash_found, make_folders, sync_counted, while_syncing};
use super::manifest::{Item, json};
use super::walk::{Fingerprint, Meta};
use super::{
    FileError, Found, Hashes, Job, Kind, Known, Links, MANIFEST, Manifest, NEXT, Patterns, Root, discard, each, hash_file, inside,
    io_error, is_own, look, make_link, map_each, platform, present, read_file, root, size, sync_folder, walk, write_atomically,
};

/// What is to be staged.
pub(crate) struct Staging<'a> {
    /// The source.
    pub from: &'a Path,
    /// What is deployed; may be missing.
    pub to: &'a Path,
    /// The new folder.
    pub dir: &'a Path,
    /// What is no part of the release.
    pub exclude: &'a Patterns,
    /// The whole release; else only what differs.
    pub whole: bool,
    /// Everything is read, whatever an earlier run knew.
    pub checksum: bool,
}

/// What was staged.
#[derive(Default)]
pub(crate) struct Staged {
    /// Files that are new.
    pub added: u64,
    /// Files that differ.
    pub changed: u64,
    /// Files of the release before that are not in this one.
    pub deleted: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// How many files were read.
    pub read: u64,
}

/// What `sync` may know about a staged release, so that it need not read everything while the service is down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StagedNote {
    /// What the release was compared with.
    pub target: PathBuf,
    /// The deployed files that are the same as in the release, as they were then.
    pub unchanged: IndexMap<String, Fingerprint>,
    /// The staged files as they were when they had been read back.
    #[serde(default)]
    pub staged: IndexMap<String, Fingerprint>,
    /// The patterns that were left out of the release.
    #[serde(default)]
    pub exclude: Vec<String>,
}

impl StagedNote {
    const NAME: &'static str = ".almaplan-staged.json";

    /// The note in a staged folder; without one everything is compared again.
    pub fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&read_file(&dir.join(Self::NAME)).ok()?).ok()
    }

    fn save(&self, dir: &Path, write: impl FnOnce(&Path, &[u8]) -> io::Result<()>) -> Result<(), FileError> {
        let at = dir.join(Self::NAME);
        let bytes = json(self, 150 * (self.unchanged.len() + self.staged.len()));
        write(&at, &bytes).map_err(io_error("write", &at))
    }
}

/// Removes what an earlier staging left in `dir`, whole or half.
///
/// # Errors
/// What is there was made by somebody else: it is left alone.
pub(crate) fn discard_staged(job: &Job, dir: &Path) -> Result<(), FileError> {
    let is_folder = || dir.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    // Killed at its very beginning, it holds nothing, or half of the note.
    let is_own = |entry: std::fs::DirEntry| is_own(&entry.file_name().to_string_lossy());
    let holds_nothing = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_own)));
    let is_ours = || is_folder() && (present(&dir.join(StagedNote::NAME)) || holds_nothing());
    if present(dir) && !is_ours() {
        let dir = dir.display();
        return Err(FileError::Refused(format!("{dir} is where releases are staged, but was made by somebody else; move it away")));
    }
    discard(job, dir)
}

/// Builds the release. Durable when it returns; on an error `dir` is to be removed.
///
/// # Errors
/// Something cannot be read or copied, the source changes, or has no files.
pub(crate) fn stage(job: &Job, staging: &Staging<'_>) -> Result<Staged, FileError> {
    let (found, hashes) = thread::scope(|scope| {
        let hashes = scope.spawn(|| Hashes::load(staging.to));
        source(job, staging).map(|found| (found, hashes.join().expect("what is damaged is ignored")))
    })?;
    std::fs::create_dir_all(staging.dir).map_err(io_error("create", staging.dir))?;
    let mut note = StagedNote { target: staging.to.to_owned(), exclude: staging.exclude.texts().to_vec(), ..StagedNote::default() };
    // First of all, so that whatever a crash leaves here is known as ours.
    note.save(staging.dir, write_atomically)?;
    job.expect_bytes(size(&found));
    let to = root(staging.to)?;
    let links = Links::above(to.as_ref(), [], found.iter().filter(|found| found.kind == Kind::Folder).map(|folder| &folder.name));
    let (source, target) = thread::scope(|scope| {
        let target = scope.spawn(|| hashes.of(staging.to, staging.checksum));
        (hashes.of(staging.from, staging.checksum), target.join().expect("what is damaged is ignored"))
    });
    // Where not the whole release is staged, only those that the target has not got.
    let made: Vec<_> = folders(&found).filter(|(name, ..)| staging.whole || !links.folder_is_there(name)).collect();
    let names: Vec<&str> = made.iter().map(|(name, ..)| *name).collect();
    make_folders(staging.dir, &names)?;
    let work = Work { job, staging, folders: HashSet::from_iter(names), links, to, source, target };
    let outcomes = while_syncing(job, staging.dir, || map_each(&found, |found| work.one(found)))?;
    dress_folders(staging.dir, made.into_iter())?;
    let (mut staged, manifest) = Staged::of(&found, outcomes, &mut note);
    staged.read = work.source.read() + work.target.read();
    thread::scope(|scope| {
        // Both are durable with everything else.
        let noted = scope.spawn(|| note.save(staging.dir, |at, bytes| std::fs::write(at, bytes)));
        manifest.save_with(staging.dir, MANIFEST, |at, bytes| std::fs::write(at, bytes))?;
        noted.join().expect("writing a file does not panic")
    })?;
    thread::scope(|scope| {
        let deleted = scope.spawn(|| deleted(staging, &manifest));
        scope.spawn(|| hashes.save([&work.source, &work.target]));
        let links = manifest.files.values().filter(|item| item.link.is_some()).count();
        sync_counted(staging.dir, note.staged.len() + links + work.folders.len())?;
        let parent = staging.dir.parent().unwrap_or(staging.dir);
        sync_folder(parent).map_err(io_error("sync", parent))?;
        staged.deleted = deleted.join().expect("reading files does not panic")?;
        Ok(staged)
    })
}

/// How many files of what is deployed are not in this release.
///
/// # Errors
/// What is deployed cannot be understood: better told now than when the service is down.
fn deleted(staging: &Staging<'_>, release: &Manifest) -> Result<u64, FileError> {
    Manifest::load(staging.to, NEXT)?;
    let old = Manifest::read(staging.to, MANIFEST)?;
    if old.is_none() || old == Manifest::read(staging.dir, MANIFEST)? {
        return Ok(0);
    }
    let old = Manifest::parse(&old.unwrap_or_default(), &staging.to.join(MANIFEST))?;
    let stays = |name: &str| release.files.contains_key(name) || staging.exclude.covers(name, false);
    Ok(old.files.keys().filter(|name| !stays(name) && present(&inside(staging.to, name))).count() as u64)
}

fn source(job: &Job, staging: &Staging<'_>) -> Result<Vec<Found>, FileError> {
    let mut found = walk(staging.from, staging.exclude)?;
    // Neither our files nor our state belong to a release.
    found.retain(|found| !is_own(&found.name) && found.name != ".almaplan" && !found.name.starts_with(".almaplan/"));
    for other in found.iter().filter(|found| found.kind == Kind::Other) {
        job.cx.warn(format!("{} is left out: it is neither a file nor a folder", other.path.display()));
    }
    found.retain(|found| found.kind != Kind::Other);
    each(&found, || Ok(()), |(): &mut (), found| found.check_name())?;
    if !found.iter().any(|found| found.kind == Kind::File) {
        let from = staging.from.display();
        return Err(FileError::Refused(format!(
            "{from} has no files: an empty release would delete everything that is deployed; check `from` and `exclude`"
        )));
    }
    Ok(found)
}

/// What became of one file.
struct One {
    item: Item,
    state: State,
    staged: Option<Fingerprint>,
}

enum State {
    Same(Fingerprint),
    Changed,
    Added,
}

impl Staged {
    /// What became of all that was found, and the manifest of that.
    fn of(found: &[Found], outcomes: Vec<Option<One>>, note: &mut StagedNote) -> (Self, Manifest) {
        let mut all = Self::default();
        let mut files = Vec::with_capacity(found.len());
        note.unchanged.reserve(found.len());
        for (name, one) in found.iter().map(|found| &found.name).zip(outcomes) {
            let Some(One { item, state, staged }) = one else { continue };
            match state {
                State::Same(fingerprint) => note.unchanged.extend([(name.clone(), fingerprint)]),
                State::Changed => (all.changed, all.bytes) = (all.changed + 1, all.bytes + item.size),
                State::Added => (all.added, all.bytes) = (all.added + 1, all.bytes + item.size),
            }
            note.staged.extend(staged.map(|fingerprint| (name.clone(), fingerprint)));
            files.push((name.clone(), item));
        }
        let folders = found.iter().filter(|found| found.kind == Kind::Folder).map(|folder| folder.name.clone());
        (all, Manifest { version: 1, files: BTreeMap::from_iter(files), folders: folders.collect(), kept: None })
    }
}

/// What staging one file needs.
struct Work<'a> {
    job: &'a Job,
    staging: &'a Staging<'a>,
    to: Option<Root>,
    links: Links,
    folders: HashSet<&'a str>,
    source: Known<'a>,
    target: Known<'a>,
}

impl Work<'_> {
    fn one(&self, found: &Found) -> Result<Option<One>, FileError> {
        self.job.check()?;
        match found.kind {
            Kind::Link => self.link(found).map(Some),
            Kind::File => self.file(found).map(Some),
            Kind::Folder | Kind::Other => Ok(None),
        }
    }

    /// What is deployed under this name.
    fn deployed(&self, found: &Found) -> Option<(PathBuf, Meta)> {
        let to = self.to.as_ref().filter(|_| !self.links.lead_to(&found.name))?;
        to.look(&found.name).ok().map(|meta| (inside(&to.path, &found.name), meta))
    }

    fn link(&self, found: &Found) -> Result<One, FileError> {
        let deployed = self.deployed(found);
        let target = found.link_text()?.ok_or_else(|| FileError::Changing { path: found.path.clone() })?;
        let item = link_item(target.clone(), found.meta.mode);
        let state = self.compare(found, deployed.as_ref(), &item)?;
        if self.staging.whole || !matches!(state, State::Same(_)) {
            make_link(Path::new(&target), &self.place(found)?, found.modified_s(), found.path.is_dir())?;
        }
        Ok(One { item, state, staged: None })
    }

    fn file(&self, found: &Found) -> Result<One, FileError> {
        let deployed = self.deployed(found);
        // What is of another length is copied without reading it twice.
        let alike = |meta: &Meta| (meta.kind, meta.len, meta.mode) == (Kind::File, found.meta.len, found.meta.mode);
        if !self.staging.whole && deployed.as_ref().is_some_and(|(_, meta)| alike(meta)) {
            let hash = self.source.hash(&found.name, &found.path, &found.meta, || hash_found(self.job, found))?.into_owned();
            let item = Item { size: found.meta.len, hash, mode: found.meta.mode, link: None };
            if let state @ State::Same(_) = self.compare(found, deployed.as_ref(), &item)? {
                self.job.advance(item.size);
                return Ok(One { item, state, staged: None });
            }
        }
        let at = self.place(found)?;
        let (copied, meta, copy) = copy_still(self.job, found, &at)?;
        let item = file_item(copied, meta.mode);
        self.source.count();
        self.source.learn(&found.name, (&found.path, &meta), &item.hash);
        let staged = Some(platform::fingerprint(&at, &copy));
        let state = self.compare(found, deployed.as_ref(), &item)?;
        Ok(One { item, state, staged })
    }

    fn compare(&self, found: &Found, deployed: Option<&(PathBuf, Meta)>, item: &Item) -> Result<State, FileError> {
        let Some((path, meta)) = deployed else { return Ok(State::Added) };
        Ok(is_same(self.job, &self.target, &found.name, (path, meta), item)?.map_or(State::Changed, State::Same))
    }

    /// Where a file is staged; the folder for it is there.
    fn place(&self, found: &Found) -> Result<PathBuf, FileError> {
        let above = found.name.rsplit_once('/').map(|(folder, _)| folder);
        if above.is_none_or(|folder| self.folders.contains(folder)) {
            return Ok(inside(self.staging.dir, &found.name));
        }
        let folder = self.staging.dir.join(LOOSE);
        std::fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        Ok(loose(self.staging.dir, &found.name))
    }
}

/// In a staged folder: the files whose folders the target has already. To make those too would take longer than the files.
const LOOSE: &str = ".almaplan-files";

/// Where the file `name` is staged without the folders that it is in.
fn loose(dir: &Path, name: &str) -> PathBuf {
    dir.join(LOOSE).join(blake3::hash(name.as_bytes()).to_hex().as_str())
}

/// Where the file `name` of the release in `dir` is; `None` where it was not staged.
pub(super) fn staged_at(dir: &Path, name: &str) -> Option<PathBuf> {
    [inside(dir, name), loose(dir, name)].into_iter().find(|at| present(at))
}

/// Copies a file that must not change meanwhile; and how it and the copy look.
fn copy_still(job: &Job, found: &Found, at: &Path) -> Result<(Copied, Meta, Meta), FileError> {
    for attempt in 0..4 {
        let source = job.patiently("open", &found.path, || found.open())?;
        let meta = source.1;
        let before = platform::fingerprint(&found.path, &meta);
        let (copied, copy) = copy_opened(job, &found.path, source, &meta, at)?;
        let after = look(&found.path).map_err(io_error("look at", &found.path))?;
        if platform::fingerprint(&found.path, &after) == before && copied.len == meta.len {
            return Ok((copied, meta, copy));
        }
        std::fs::remove_file(at).map_err(io_error("remove", at))?;
        thread::sleep(Duration::from_millis(50 << attempt));
    }
    Err(FileError::Changing { path: found.path.clone() })
}

fn file_item(copied: Copied, mode: u32) -> Item {
    Item { size: copied.len, hash: copied.hash.to_hex().to_string(), mode, link: None }
}

fn link_item(text: String, mode: u32) -> Item {
    Item { size: 0, hash: blake3::hash(text.as_bytes()).to_hex().to_string(), mode, link: Some(text) }
}

/// Whether what is at `path`, and looks like `meta`, is `item`, its mode included; and how it looked before it was read.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_same(
    job: &Job,
    known: &Known<'_>,
    name: &str,
    (path, meta): (&Path, &Meta),
    item: &Item,
) -> Result<Option<Fingerprint>, FileError> {
    let same = match (&item.link, meta.kind) {
        (Some(text), Kind::Link) => std::fs::read_link(path).is_ok_and(|target| target.as_path() == Path::new(text)),
        (None, Kind::File) => {
            let alike = (meta.len, meta.mode) == (item.size, item.mode);
            alike && known.hash(name, path, meta, || hash_file(job, path))? == item.hash
        }
        _ => false,
    };
    Ok(same.then(|| platform::fingerprint(path, meta)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // A note that is not understood is none, and with it goes what was left out of the release on purpose: `sync` would delete that.
    #[test]
    fn a_note_is_read_as_it_is_written_and_as_it_was_once() {
        let at = Fingerprint { len: 7, modified_ns: -1, changed_ns: 2, file: 3 };
        let was =
            r#"{"target":"/app","unchanged":{"a":{"len":7,"modified_ns":-1,"changed_ns":2,"file":3}},"staged":{},"exclude":["*.db"]}"#;
        let was: StagedNote = serde_json::from_str(was).unwrap();
        assert_eq!((was.unchanged["a"], was.exclude.as_slice()), (at, ["*.db".to_owned()].as_slice()));
        let is: StagedNote = serde_json::from_slice(&json(&was, 0)).unwrap();
        assert_eq!(is.unchanged["a"], at);
    }
}
