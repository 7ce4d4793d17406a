//! Building a release in a folder, while what is deployed is still in use.
//!
//! ```text
//!  prepare ─> scan the source ─> compare with what is deployed ─> copy ─> describe ─> sync
//! ```
//! Unchanged files are copied too, not linked: a link would be the live file itself, and whoever writes into the one writes into the other.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::compare::{Comparison, Folders};
use super::manifest::Item;
use super::owners::Owners;
use super::saved::Saved;
use super::staged::StageMetadata;
use super::{HashCache, HashDatabase, Links, MANIFEST, Manifest, NEXT, ReleaseError, is_own};
use crate::files::{
    BlockingTask, Copied, FileError, FileKind, FileStat, Found, Meta, Patterns, PendingSync, Root, apply_to_folders, attributes_of,
    check_name, copy_opened, discard, folders, inside, io_error, look, make_folders, make_link, make_way, map_each, needed, overlap,
    platform, present, root, size, sync_folder, walk_across,
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

/// Whether `from` is a folder that a release can be taken from, for the target `to`.
///
/// # Errors
/// It is not.
pub(crate) fn check_source(from: &Path, to: &Path) -> Result<(), ReleaseError> {
    if !from.is_dir() {
        return Err(ReleaseError::NoSource(from.to_owned()));
    }
    if overlap(from, to) {
        return Err(ReleaseError::Overlap { from: from.to_owned(), to: to.to_owned() });
    }
    if to.file_name().is_none() {
        return Err(ReleaseError::Root(to.to_owned()));
    }
    Ok(())
}

/// Whether a release may be staged in `dir`, and what is there now may be removed for it.
///
/// # Errors
/// What is there was made by somebody else.
pub(crate) fn may_stage(dir: &Path) -> Result<(), ReleaseError> {
    let is_folder = || dir.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    // Killed at its very beginning, it holds nothing, or half of its metadata.
    let is_own = |entry: std::fs::DirEntry| is_own(&entry.file_name().to_string_lossy());
    let holds_nothing = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_own)));
    let is_ours = || is_folder() && (present(&dir.join(StageMetadata::NAME)) || holds_nothing());
    if present(dir) && !is_ours() {
        return Err(ReleaseError::NotOurs(dir.to_owned()));
    }
    Ok(())
}

/// Builds the release, in the place of what an earlier staging left. Durable when it returns; on an error `dir` is to be removed.
///
/// # Errors
/// Something cannot be read or copied, the source changes, or has no files.
pub(crate) fn stage(task: &BlockingTask, staging: &Staging<'_>) -> Result<Staged, ReleaseError> {
    let pending = PendingSync::new(staging.prepare(task)?)?;
    let dir = pending.root();
    let found = staging.scan(task)?;
    task.expect_bytes(size(&found));

    let mut database = HashDatabase::open(staging.to);
    let mut load = |folder| if staging.checksum { HashCache::empty(folder) } else { database.load(folder) };
    let (source, target) = (load(staging.from), load(staging.to));
    let deployed = root(staging.to)?;
    let links = Links::above(deployed.as_ref(), [], found.iter().filter(|found| is_folder(found)).map(|folder| &folder.name));
    tracing::debug!(found = found.len(), "scanned");
    let owners = Owners::of(deployed.as_ref(), staging.to)?;
    let folders_to_compare = Folders { deployed: deployed.as_ref(), links: &links, owners: &owners, source: &source, target: &target };
    let comparisons = folders_to_compare.compare(task, &found)?;

    staging.check_saved(task, &found, &comparisons)?;
    let made = staging.make_folders(dir, &found, &comparisons, &links)?;
    let files = pending.while_writing(task, || staging.copy(task, dir, &source, &owners, &found, &comparisons))?;
    let folders = folders(&found)?.into_iter().filter(|(name, _)| made.contains(*name));
    apply_to_folders(task, dir, folders.map(|(name, attributes)| (name, owners.give(name, attributes))))?;

    tracing::debug!(read = source.read() + target.read(), "compared and copied");
    let (mut staged, manifest) = staging.describe(dir, &found, &files)?;
    pending.sync_counted(made.len() + files.iter().flatten().filter(|file| file.is_copied).count())?;
    let parent = staging.dir.parent().unwrap_or(staging.dir);
    sync_folder(parent).map_err(io_error("sync", parent))?;
    database.save(&[&source, &target]);
    staged.read = source.read() + target.read();
    staged.deleted = staging.count_deleted(&manifest)?;
    Ok(staged)
}

/// What became of one file or link of the source.
struct StagedFile {
    item: Item,
    comparison: Comparison,
    is_copied: bool,
    /// How the copy of a file looked when it had been read back.
    copy: Option<FileStat>,
}

impl Staging<'_> {
    /// Makes the folder anew.
    fn prepare(&self, task: &BlockingTask) -> Result<Root, FileError> {
        discard(task, self.dir)?;
        let parent = self.dir.parent().unwrap_or(self.dir);
        make_way(parent).map_err(io_error("create", parent))?;
        let dir = Root::make(self.dir).map_err(io_error("create", self.dir))?;
        // First of all, so that whatever a crash leaves here is known as ours.
        self.metadata().save(&dir)?;
        Ok(dir)
    }

    fn metadata(&self) -> StageMetadata {
        let mode = look(self.from).ok().map(|from| from.mode);
        StageMetadata { target: self.to.to_owned(), mode, exclude: self.exclude.texts().to_vec(), ..StageMetadata::default() }
    }

    /// What the release consists of.
    fn scan(&self, task: &BlockingTask) -> Result<Vec<Found>, ReleaseError> {
        let found = scan(task, self.from, self.exclude)?;
        if !found.iter().any(|found| found.meta.kind == FileKind::File) {
            return Err(ReleaseError::EmptySource(self.from.to_owned()));
        }
        Ok(found)
    }

    fn is_copied(&self, comparison: &Comparison) -> bool {
        self.whole || !matches!(comparison, Comparison::Same(..))
    }

    /// Makes the folders that are staged: all, or those that the target has not got and those of what is copied.
    fn make_folders<'f>(
        &self,
        dir: &Root,
        found: &'f [Found],
        comparisons: &[Option<Comparison>],
        links: &Links<'_>,
    ) -> Result<BTreeSet<&'f str>, FileError> {
        let is_made = |(found, comparison): &(&Found, &Option<Comparison>)| match comparison {
            Some(comparison) => self.is_copied(comparison),
            None => self.whole || !links.folder_is_there(&found.name),
        };
        let made = found.iter().zip(comparisons).filter(is_made).map(|(found, _)| (found.name.as_str(), found.meta.kind));
        let names = needed(made);
        make_folders(dir, &names)?;
        Ok(names.into_iter().collect())
    }

    /// Copies what is to be staged. Nothing for a folder.
    fn copy(
        &self,
        task: &BlockingTask,
        dir: &Root,
        source: &HashCache<'_>,
        owners: &Owners<'_>,
        found: &[Found],
        comparisons: &[Option<Comparison>],
    ) -> Result<Vec<Option<StagedFile>>, FileError> {
        let pairs: Vec<(&Found, &Option<Comparison>)> = found.iter().zip(comparisons).collect();
        map_each(&pairs, |(found, comparison)| {
            task.check()?;
            match comparison {
                None => Ok(None),
                Some(comparison) if self.is_copied(comparison) => self.copy_one(task, dir, source, owners, found, comparison).map(Some),
                Some(same @ Comparison::Same(item, _)) => {
                    task.advance(item.size);
                    Ok(Some(StagedFile { item: item.clone(), comparison: same.clone(), is_copied: false, copy: None }))
                }
                Some(Comparison::Changed | Comparison::Added) => unreachable!("what differs is copied"),
            }
        })
    }

    fn copy_one(
        &self,
        task: &BlockingTask,
        dir: &Root,
        source: &HashCache<'_>,
        owners: &Owners<'_>,
        found: &Found,
        comparison: &Comparison,
    ) -> Result<StagedFile, FileError> {
        let (item, copy) = if found.meta.kind == FileKind::Link {
            let item = Item::of_link(found)?;
            let target = item.link.as_deref().unwrap_or_default();
            let owner = owners.of_file(&found.name, found.meta.owner);
            make_link(task, &platform::link_path(target), dir, &found.name, (owner, found.modified_s()), found.path().is_dir())?;
            (item, None)
        } else {
            let (copied, meta, copy) = copy_still(task, found, dir, owners)?;
            source.count_read();
            source.learn(&found.name, source.file_stat(&found.name, &meta), copied.hash);
            let stat = platform::file_stat(|| inside(self.dir, &found.name), &copy);
            (Item::of_file(copied.len, copied.hash, owners.mode(&found.name, &meta)), Some(stat))
        };
        let comparison = match comparison {
            // It may have changed since it was compared.
            Comparison::Same(compared, _) if *compared != item => Comparison::Changed,
            same => same.clone(),
        };
        Ok(StagedFile { item, comparison, is_copied: true, copy })
    }

    /// Says in the folder what is in it; and how much that is.
    fn describe(&self, dir: &Root, found: &[Found], files: &[Option<StagedFile>]) -> Result<(Staged, Manifest), FileError> {
        let (mut staged, mut manifest, mut metadata) = (Staged::default(), Manifest::new(), self.metadata());
        for (found, file) in found.iter().zip(files) {
            let Some(file) = file else {
                manifest.folders.insert(found.name.clone());
                continue;
            };
            match &file.comparison {
                Comparison::Same(_, deployed) => drop(metadata.unchanged.insert(found.name.clone(), *deployed)),
                Comparison::Changed => (staged.changed, staged.bytes) = (staged.changed + 1, staged.bytes + file.item.size),
                Comparison::Added => (staged.added, staged.bytes) = (staged.added + 1, staged.bytes + file.item.size),
            }
            metadata.staged.extend(file.copy.map(|copy| (found.name.clone(), copy)));
            manifest.files.insert(found.name.clone(), file.item.clone());
        }
        manifest.save_in(dir, MANIFEST)?;
        metadata.save(dir)?;
        Ok((staged, manifest))
    }

    /// Whether the backup of this run has all that this release replaces or deletes.
    ///
    /// # Errors
    /// It has not: a restore would not bring that back.
    fn check_saved(&self, task: &BlockingTask, found: &[Found], comparisons: &[Option<Comparison>]) -> Result<(), ReleaseError> {
        let Some(saved) = Saved::of(task, self.to)? else { return Ok(()) };
        let pairs = found.iter().zip(comparisons);
        let changed = pairs.filter(|(_, comparison)| matches!(comparison, Some(Comparison::Changed))).map(|(found, _)| &found.name);
        let names: HashSet<&String> = found.iter().map(|found| &found.name).collect();
        let before = Manifest::load(self.to, MANIFEST)?;
        let gone = before.iter().flat_map(|before| before.files.keys()).filter(|name| !names.contains(name));
        let is_there = |name: &&String| !self.exclude.covers(name, false) && present(&inside(self.to, name));
        saved.check(changed.chain(gone.filter(is_there)))
    }

    /// How many files of the release before are there that this one has not got.
    ///
    /// # Errors
    /// What is deployed cannot be understood: better told now than when the service is down.
    fn count_deleted(&self, manifest: &Manifest) -> Result<u64, ReleaseError> {
        Manifest::load(self.to, NEXT)?;
        let before = Manifest::load(self.to, MANIFEST)?;
        let gone = before.iter().flat_map(|before| before.files_beyond(manifest));
        Ok(gone.filter(|name| !self.exclude.covers(name, false) && present(&inside(self.to, name))).count() as u64)
    }
}

/// What is in the folder `from` that a release can have.
///
/// # Errors
/// It cannot be read, or a release cannot have one of its names.
pub(super) fn scan(task: &BlockingTask, from: &Path, exclude: &Patterns) -> Result<Vec<Found>, ReleaseError> {
    let mut found = walk_across(from, exclude)?;
    // Neither our files nor our state belong to a release.
    found.retain(|found| !is_own(&found.name) && found.name != ".almaplan" && !found.name.starts_with(".almaplan/"));
    for other in found.iter().filter(|found| found.meta.kind == FileKind::Other) {
        task.cx.warn(StageNote::NoFile { path: other.path() });
    }
    found.retain(|found| found.meta.kind != FileKind::Other);
    check_names(&found)?;
    Ok(found)
}

fn is_folder(found: &Found) -> bool {
    found.meta.kind == FileKind::Folder
}

/// What is told although it is staged.
#[derive(Debug, Serialize, thiserror::Error)]
enum StageNote {
    #[error("{} is left out: it is neither a file nor a folder", path.display())]
    NoFile { path: std::path::PathBuf },
}

/// Whether a release can have all of these names.
///
/// # Errors
/// It cannot; the error names all of those that are in the way.
fn check_names(found: &[Found]) -> Result<(), FileError> {
    let odd = |found: &Found| Some(format!("{} ({})", found.path().display(), check_name(&found.name).err()?));
    let odd: Vec<String> = found.iter().filter_map(odd).collect();
    if odd.is_empty() { Ok(()) } else { Err(FileError::Names { names: odd.join(", ") }) }
}

/// Copies a file that must not change meanwhile; and how it and the copy look.
fn copy_still(task: &BlockingTask, found: &Found, dir: &Root, owners: &Owners<'_>) -> Result<(Copied, Meta, Meta), FileError> {
    let path = found.path();
    for attempt in 0..4 {
        let source = task.patiently("open", &path, || found.open())?;
        let meta = source.1;
        let before = platform::file_stat(|| &path, &meta);
        let attributes = attributes_of(&source.0, &meta, &path)?;
        let (copied, copy) = copy_opened(task, &path, source, &owners.give(&found.name, attributes), dir, &found.name)?;
        let after = look(&path).map_err(io_error("look at", &path))?;
        if platform::file_stat(|| &path, &after) == before && copied.len == meta.len {
            return Ok((copied, meta, copy));
        }
        dir.remove_file(&found.name).map_err(io_error("remove", &inside(&dir.path, &found.name)))?;
        thread::sleep(Duration::from_millis(50 << attempt));
    }
    Err(FileError::Changing { path })
}
