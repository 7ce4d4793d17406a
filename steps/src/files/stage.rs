//! Building a release in a folder, and knowing how it differs from what is deployed.
//!
//! Unchanged files are copied too, not linked: a link would be the live file itself, and whoever writes into the one writes into the other.
//! Only the manifest is linked, which nobody writes into: a new one takes its place.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use super::copy::{Copied, copy_opened, dress_folders, folders, hash_found, make_folders};
use super::manifest::Item;
use super::staged::{self, Compared, StagedNote, StagedRelease};
use super::walk::{Fingerprint, Meta};
use super::{
    FileError, Found, Hashes, Job, Kind, Known, Links, MANIFEST, Manifest, NEXT, Patterns, Root, Unsynced, discard, each, hash_file,
    inside, io_error, is_own, look, make_link, map_each, platform, present, read_file, root, size, sync_folder, walk, write_atomically,
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

/// Whether a release may be staged in `dir`, and what is there now may be removed for it.
///
/// # Errors
/// What is there was made by somebody else.
pub(crate) fn may_stage(dir: &Path) -> Result<(), FileError> {
    let is_folder = || dir.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    // Killed at its very beginning, it holds nothing, or half of the note.
    let is_own = |entry: std::fs::DirEntry| is_own(&entry.file_name().to_string_lossy());
    let holds_nothing = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_own)));
    let is_ours = || is_folder() && (present(&dir.join(StagedNote::NAME)) || holds_nothing());
    if present(dir) && !is_ours() {
        let dir = dir.display();
        return Err(FileError::Refused(format!("{dir} is where releases are staged, but was made by somebody else; move it away")));
    }
    Ok(())
}

/// Builds the release, in the place of what an earlier staging left. Durable when it returns; on an error `dir` is to be removed.
///
/// # Errors
/// Something cannot be read or copied, the source changes, or has no files.
pub(crate) fn stage(job: &Job, staging: &Staging<'_>) -> Result<Staged, FileError> {
    let mut note = StagedNote { target: staging.to.to_owned(), exclude: staging.exclude.texts().to_vec(), ..StagedNote::default() };
    let hashes = OnceLock::new();
    let (found, source, target) = thread::scope(|scope| {
        let ready = scope.spawn(|| {
            discard(job, staging.dir)?;
            std::fs::create_dir_all(staging.dir).map_err(io_error("create", staging.dir))?;
            // First of all, so that whatever a crash leaves here is known as ours.
            note.save(staging.dir, write_atomically)
        });
        let known = scope.spawn(|| {
            let hashes = hashes.get_or_init(|| Hashes::load(staging.to));
            (hashes.of(staging.from, staging.checksum), hashes.of(staging.to, staging.checksum))
        });
        let found = source(job, staging);
        ready.join().expect("removing and writing files does not panic")?;
        let (source, target) = known.join().expect("what is damaged is ignored");
        Ok::<_, FileError>((found?, source, target))
    })?;
    job.expect_bytes(size(&found));
    let to = root(staging.to)?;
    let links = Links::above(to.as_ref(), [], found.iter().filter(|found| found.meta.kind == Kind::Folder).map(|folder| &folder.name));
    // Where not the whole release is staged, only those that the target has not got.
    let made: Vec<_> = folders(&found).filter(|(name, ..)| staging.whole || !links.folder_is_there(name)).collect();
    let names: Vec<&str> = made.iter().map(|(name, ..)| *name).collect();
    let tree = Unsynced::new(staging.dir)?;
    make_folders(staging.dir, &names)?;
    let made_folders = names.len();
    let work = Work { job, staging, folders: names.into_iter().collect(), links: &links, to, source: &source, target: &target };
    let outcomes = tree.while_writing(job, || map_each(&found, |found| work.one(found)))?;
    dress_folders(staging.dir, made.into_iter())?;
    let written = made_folders + outcomes.iter().flatten().filter(|one| one.staged.is_some() || one.item.link.is_some()).count();
    let is_other = outcomes.iter().flatten().any(|one| !matches!(one.state, State::Same(_)));
    let (staged, manifest, compared) = thread::scope(|scope| {
        // What was copied goes to the disk while the rest is written, which becomes durable with it at the end.
        let early = scope.spawn(|| tree.sync_many(written));
        let before = |is_deployed| scope.spawn(move || release_before(staging.to, is_deployed));
        let beside = is_other.then(|| before(false));
        let (mut staged, manifest) = Staged::of(found, outcomes, &mut note);
        staged.read = source.read() + target.read();
        let noted = scope.spawn(|| note.save(staging.dir, |at, bytes| std::fs::write(at, bytes)));
        let is_deployed = save_manifest(staging, &manifest)?;
        noted.join().expect("writing a file does not panic")?;
        let compared = beside.unwrap_or_else(|| before(is_deployed));
        scope.spawn(|| hashes.get().expect("it was read above").save([&source, &target]));
        early.join().expect("syncing does not panic")?;
        tree.sync_counted(written)?;
        let parent = staging.dir.parent().unwrap_or(staging.dir);
        sync_folder(parent).map_err(io_error("sync", parent))?;
        let compared = compared.join().expect("reading files does not panic")?;
        let gone = compared.iter().flat_map(|old| old.release.files_beyond(&manifest));
        let is_there = |name: &&String| !staging.exclude.covers(name, false) && present(&inside(staging.to, name));
        staged.deleted = gone.filter(is_there).count() as u64;
        Ok::<_, FileError>((staged, manifest, compared))
    })?;
    staged::remember(staging.dir, StagedRelease { manifest, note: Some(note), compared });
    Ok(staged)
}

/// Puts the manifest into the staged folder. Whether it is the one of what is deployed: then it is the same file, where that can be.
fn save_manifest(staging: &Staging<'_>, manifest: &Manifest) -> Result<bool, FileError> {
    let (deployed, at) = (staging.to.join(MANIFEST), staging.dir.join(MANIFEST));
    let bytes = manifest.json();
    let is_deployed = read_file(&deployed).is_ok_and(|deployed| deployed == bytes);
    if !is_deployed || std::fs::hard_link(deployed, &at).is_err() {
        std::fs::write(&at, bytes).map_err(io_error("write", &at))?;
    }
    Ok(is_deployed)
}

/// The release before in `to`, where this is another one.
///
/// # Errors
/// What is deployed cannot be understood: better told now than when the service is down.
fn release_before(to: &Path, is_deployed: bool) -> Result<Option<Compared>, FileError> {
    Manifest::load(to, NEXT)?;
    if is_deployed { Ok(None) } else { Compared::load(to) }
}

fn source(job: &Job, staging: &Staging<'_>) -> Result<Vec<Found>, FileError> {
    let mut found = walk(staging.from, staging.exclude)?;
    // Neither our files nor our state belong to a release.
    found.retain(|found| !is_own(&found.name) && found.name != ".almaplan" && !found.name.starts_with(".almaplan/"));
    for other in found.iter().filter(|found| found.meta.kind == Kind::Other) {
        job.cx.warn(format!("{} is left out: it is neither a file nor a folder", other.path().display()));
    }
    found.retain(|found| found.meta.kind != Kind::Other);
    each(&found, || Ok(()), |(): &mut (), found| found.check_name())?;
    if !found.iter().any(|found| found.meta.kind == Kind::File) {
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
    fn of(found: Vec<Found>, outcomes: Vec<Option<One>>, note: &mut StagedNote) -> (Self, Manifest) {
        let mut all = Self::default();
        let (mut files, mut folders) = (Vec::with_capacity(found.len()), Vec::new());
        for (found, one) in found.into_iter().zip(outcomes) {
            let Some(one) = one else {
                folders.push(found.name);
                continue;
            };
            match one.state {
                State::Same(_) => {}
                State::Changed => (all.changed, all.bytes) = (all.changed + 1, all.bytes + one.item.size),
                State::Added => (all.added, all.bytes) = (all.added + 1, all.bytes + one.item.size),
            }
            // Files were found in the order that the manifest has them in.
            note.deployed.push(if let State::Same(at) = one.state { Some(at) } else { None });
            note.staged_files.push(one.staged);
            files.push((found.name, one.item));
        }
        (all, Manifest { version: 1, files: files.into_iter().collect(), folders: folders.into_iter().collect(), kept: None })
    }
}

/// What staging one file needs.
struct Work<'a> {
    job: &'a Job,
    staging: &'a Staging<'a>,
    to: Option<Root>,
    links: &'a Links<'a>,
    folders: HashSet<&'a str>,
    source: &'a Known<'a>,
    target: &'a Known<'a>,
}

impl Work<'_> {
    fn one(&self, found: &Found) -> Result<Option<One>, FileError> {
        self.job.check()?;
        match found.meta.kind {
            Kind::Link => self.link(found).map(Some),
            Kind::File => self.file(found).map(Some),
            Kind::Folder | Kind::Other => Ok(None),
        }
    }

    /// What is deployed under this name.
    fn deployed(&self, found: &Found) -> Option<Meta> {
        self.to.as_ref().filter(|_| !self.links.lead_to(&found.name))?.look(&found.name).ok()
    }

    fn link(&self, found: &Found) -> Result<One, FileError> {
        let deployed = self.deployed(found);
        let target = found.link_text()?.ok_or_else(|| FileError::Changing { path: found.path() })?;
        let item = link_item(target.clone(), found.meta.mode);
        let state = self.compare(found, deployed.as_ref(), &item)?;
        if self.staging.whole || !matches!(state, State::Same(_)) {
            make_link(Path::new(&target), &self.place(found)?, found.modified_s(), found.path().is_dir())?;
        }
        Ok(One { item, state, staged: None })
    }

    fn file(&self, found: &Found) -> Result<One, FileError> {
        let deployed = self.deployed(found);
        // What is of another length is copied without reading it twice.
        let alike = |meta: &Meta| (meta.kind, meta.len, meta.mode) == (Kind::File, found.meta.len, found.meta.mode);
        if !self.staging.whole && deployed.as_ref().is_some_and(alike) {
            let hash = self.source.hash(&found.name, &found.meta, || hash_found(self.job, found))?;
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
        self.source.learn(&found.name, self.source.fingerprint(&found.name, &meta), item.hash);
        let staged = Some(platform::fingerprint(|| &at, &copy));
        let state = self.compare(found, deployed.as_ref(), &item)?;
        Ok(One { item, state, staged })
    }

    fn compare(&self, found: &Found, deployed: Option<&Meta>, item: &Item) -> Result<State, FileError> {
        let Some(meta) = deployed else { return Ok(State::Added) };
        Ok(is_same(self.job, self.target, &found.name, meta, item)?.map_or(State::Changed, State::Same))
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
    let path = found.path();
    for attempt in 0..4 {
        let source = job.patiently("open", &path, || found.open())?;
        let meta = source.1;
        let before = platform::fingerprint(|| &path, &meta);
        let (copied, copy) = copy_opened(job, &path, source, &meta, at)?;
        let after = look(&path).map_err(io_error("look at", &path))?;
        if platform::fingerprint(|| &path, &after) == before && copied.len == meta.len {
            return Ok((copied, meta, copy));
        }
        std::fs::remove_file(at).map_err(io_error("remove", at))?;
        thread::sleep(Duration::from_millis(50 << attempt));
    }
    Err(FileError::Changing { path })
}

fn file_item(copied: Copied, mode: u32) -> Item {
    Item { size: copied.len, hash: copied.hash, mode, link: None }
}

fn link_item(text: String, mode: u32) -> Item {
    Item { size: 0, hash: blake3::hash(text.as_bytes()), mode, link: Some(text) }
}

/// Whether the file or link `name` in the folder of `known`, which looks like `meta`, is `item`, its mode included; and how it looked
/// before it was read.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_same(job: &Job, known: &Known<'_>, name: &str, meta: &Meta, item: &Item) -> Result<Option<Fingerprint>, FileError> {
    let same = match (&item.link, meta.kind) {
        (Some(text), Kind::Link) => std::fs::read_link(known.path(name)).is_ok_and(|target| target.as_path() == Path::new(text)),
        (None, Kind::File) => {
            let alike = (meta.len, meta.mode) == (item.size, item.mode);
            alike && known.hash(name, meta, || hash_file(job, &known.path(name)))? == item.hash
        }
        _ => false,
    };
    Ok(same.then(|| known.fingerprint(name, meta)))
}
