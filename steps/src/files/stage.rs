//! Building a release in a folder, and knowing how it differs from what is deployed.
//!
//! Unchanged files are copied too, not linked: a link would be the live file itself, and whoever writes into the one writes into the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::copy::{Copied, hash_found, sync_tree};
use super::manifest::Item;
use super::walk::Fingerprint;
use super::{
    FileError, Found, Job, Kind, Links, MANIFEST, Manifest, Patterns, copy_file, discard, dress_folders, each, hash_file, inside, io_error,
    is_own, make_link, platform, present, read_file, size, sync_folder, walk, write_atomically,
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
}

/// What was staged.
pub(crate) struct Staged {
    /// The release.
    pub manifest: Manifest,
    /// Files that are new.
    pub added: u64,
    /// Files that differ.
    pub changed: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// What `sync` may know about a staged release, so that it need not read everything while the service is down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StagedNote {
    /// What the release was compared with.
    pub target: PathBuf,
    /// The deployed files that are the same as in the release, as they were then.
    pub unchanged: BTreeMap<String, Fingerprint>,
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

    fn save(&self, dir: &Path) -> Result<(), FileError> {
        let at = dir.join(Self::NAME);
        let bytes = serde_json::to_vec(self).expect("a note is plain data with text keys");
        write_atomically(&at, &bytes).map_err(io_error("write", &at))
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
    let found = source(job, staging)?;
    std::fs::create_dir_all(staging.dir).map_err(io_error("create", staging.dir))?;
    let mut note = StagedNote { target: staging.to.to_owned(), unchanged: BTreeMap::new(), exclude: staging.exclude.texts().to_vec() };
    // First of all, so that whatever a crash leaves here is known as ours.
    note.save(staging.dir)?;
    for folder in found.iter().filter(|found| found.kind == Kind::Folder) {
        let at = inside(staging.dir, &folder.name);
        std::fs::create_dir_all(&at).map_err(io_error("create", &at))?;
    }
    job.expect_bytes(size(&found));
    let tally = Tally::default();
    let links = Links::above(staging.to, found.iter().map(|found| &found.name));
    each(&found, || Ok(()), |(): &mut (), found| tally.take(found, one(job, staging, &links, found)?))?;
    dress_folders(&found, staging.dir)?;
    let manifest = tally.manifest(&found);
    note.unchanged = tally.unchanged.into_inner().expect("the threads have ended");
    note.save(staging.dir)?;
    manifest.save(staging.dir, MANIFEST)?;
    sync_tree(staging.dir)?;
    let parent = staging.dir.parent().unwrap_or(staging.dir);
    sync_folder(parent).map_err(io_error("sync", parent))?;
    let count = |counter: AtomicU64| counter.into_inner();
    Ok(Staged { manifest, added: count(tally.added), changed: count(tally.changed), bytes: count(tally.bytes) })
}

fn source(job: &Job, staging: &Staging<'_>) -> Result<Vec<Found>, FileError> {
    let mut found = walk(staging.from, staging.exclude)?;
    // Neither our files nor our state belong to a release.
    found.retain(|found| !is_own(&found.name) && found.name != ".almaplan" && !found.name.starts_with(".almaplan/"));
    for other in found.iter().filter(|found| found.kind == Kind::Other) {
        job.cx.warn(format!("{} is left out: it is neither a file nor a folder", other.path.display()));
    }
    found.retain(|found| found.kind != Kind::Other);
    found.iter().try_for_each(Found::check_name)?;
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
}

enum State {
    Same(Fingerprint),
    Changed,
    Added,
}

#[derive(Default)]
struct Tally {
    files: Mutex<BTreeMap<String, Item>>,
    unchanged: Mutex<BTreeMap<String, Fingerprint>>,
    added: AtomicU64,
    changed: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    #[allow(clippy::unnecessary_wraps)] // its caller ends with what this returns
    fn take(&self, found: &Found, one: Option<One>) -> Result<(), FileError> {
        let Some(One { item, state }) = one else { return Ok(()) };
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(item.size, Ordering::Relaxed);
        };
        match state {
            State::Same(fingerprint) => {
                self.unchanged.lock().expect("no code panics while it holds this lock").insert(found.name.clone(), fingerprint);
            }
            State::Changed => count(&self.changed),
            State::Added => count(&self.added),
        }
        self.files.lock().expect("no code panics while it holds this lock").insert(found.name.clone(), item);
        Ok(())
    }

    fn manifest(&self, found: &[Found]) -> Manifest {
        let folders = found.iter().filter(|found| found.kind == Kind::Folder).map(|folder| folder.name.clone()).collect();
        let files = std::mem::take(&mut *self.files.lock().expect("no code panics while it holds this lock"));
        Manifest { version: 1, files, folders, kept: None }
    }
}

fn one(job: &Job, staging: &Staging<'_>, links: &Links, found: &Found) -> Result<Option<One>, FileError> {
    job.check()?;
    let at = inside(staging.dir, &found.name);
    let deployed = if links.lead_to(&found.name) { None } else { Some(inside(staging.to, &found.name)) };
    let compare = |item: &Item| deployed.as_ref().map_or(Ok(State::Added), |deployed| compare(job, deployed, item));
    if found.kind == Kind::Link {
        let target = found.link_text()?.ok_or_else(|| FileError::Changing { path: found.path.clone() })?;
        make_link(Path::new(&target), &at, found.modified_s(), found.path.is_dir())?;
        let item = link_item(target, found.mode());
        let state = compare(&item)?;
        return Ok(Some(One { item, state }));
    }
    if found.kind != Kind::File {
        return Ok(None);
    }
    if !staging.whole {
        let hashed = hash_found(job, found)?;
        let item = file_item(hashed, found.mode());
        if let state @ State::Same(_) = compare(&item)? {
            job.advance(item.size);
            return Ok(Some(One { item, state }));
        }
    }
    let item = file_item(copy_still(job, found, &at)?, found.mode());
    let state = compare(&item)?;
    Ok(Some(One { item, state }))
}

/// Copies a file that must not change meanwhile.
fn copy_still(job: &Job, found: &Found, at: &Path) -> Result<Copied, FileError> {
    let look = || found.path.symlink_metadata().map_err(io_error("look at", &found.path));
    for attempt in 0..4 {
        let meta = look()?;
        let before = platform::fingerprint(&found.path, &meta);
        let copied = copy_file(job, &Found { meta: meta.clone(), ..found.clone() }, at)?;
        if platform::fingerprint(&found.path, &look()?) == before && copied.len == meta.len() {
            return Ok(copied);
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

fn compare(job: &Job, deployed: &Path, item: &Item) -> Result<State, FileError> {
    Ok(match is_same(job, deployed, item)? {
        Some(fingerprint) => State::Same(fingerprint),
        None if present(deployed) => State::Changed,
        None => State::Added,
    })
}

/// Whether what is at `path` is `item`, its mode included; and how it looked before it was read.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_same(job: &Job, path: &Path, item: &Item) -> Result<Option<Fingerprint>, FileError> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(None) };
    let same = match (&item.link, super::walk::kind(&meta)) {
        (Some(text), Kind::Link) => std::fs::read_link(path).is_ok_and(|target| target.as_path() == Path::new(text)),
        (None, Kind::File) => {
            meta.len() == item.size && platform::mode(&meta) == item.mode && hash_file(job, path)?.hash.to_hex().as_str() == item.hash
        }
        _ => false,
    };
    Ok(same.then(|| platform::fingerprint(path, &meta)))
}
