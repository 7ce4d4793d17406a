//! Putting a staged release in place, file by file, so that a repetition after any crash ends in the same state.
//!
//! Only what the manifest of the release before names is ever deleted; files that belong to no release stay.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;

use super::compare::is_same;
use super::manifest::Item;
use super::{HashCache, HashDatabase, Links, MANIFEST, Manifest, NEXT, ReleaseError, StageMetadata};
use crate::files::{
    Attributes, BlockingTask, FileError, FileKind, FileStat, Found, Patterns, PendingSync, Root, apply_to_folder, copy_file, copy_link,
    each, folder_attributes, folder_of, inside, io_error, link_in, look, map_each, platform, present, remove_below, remove_file_in, root,
    root_attributes, sweep, sync_folder, unfinished_in, walk,
};
use crate::snapshot::is_database;

/// A release and where it goes.
pub(crate) struct Installation<'a> {
    /// Where its files are.
    pub staged: &'a Path,
    /// Where they go; may be missing.
    pub to: &'a Path,
    /// The release.
    pub release: &'a Manifest,
    /// Whether the manifest in `staged` says just that.
    pub is_as_staged: bool,
    /// What was known when it was staged.
    pub metadata: Option<&'a StageMetadata>,
    /// What is neither replaced nor deleted.
    pub exclude: &'a Patterns,
}

/// What there is to do.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Files to put in place.
    pub moves: Vec<String>,
    /// Files to delete.
    pub deletes: Vec<String>,
    folders: Vec<String>,
    old_folders: Vec<String>,
}

impl Changes {
    /// How many files are deleted or put in place.
    fn files(&self) -> usize {
        self.deletes.len() + self.moves.len()
    }

    /// Whether the target is the release already.
    pub fn is_nothing(&self) -> bool {
        self.moves.is_empty() && self.deletes.is_empty() && self.folders.is_empty() && self.old_folders.is_empty()
    }
}

/// What the folder holds, by its own manifests: the release before, and one that was begun and never finished.
pub(crate) struct Deployed {
    /// The release before.
    pub old: Option<Manifest>,
    /// The unfinished one.
    pub begun: Option<Manifest>,
}

impl Deployed {
    /// What the manifests in `to` say.
    ///
    /// # Errors
    /// One cannot be read or understood.
    pub fn load(to: &Path) -> Result<Self, ReleaseError> {
        Ok(Self { old: Manifest::load(to, MANIFEST)?, begun: Manifest::load(to, NEXT)? })
    }

    /// Whether `name` belongs to one of them.
    pub fn has(&self, name: &str) -> bool {
        self.releases().any(|release| release.has(name))
    }

    fn folders(&self) -> impl Iterator<Item = &String> {
        self.releases().flat_map(|release| &release.folders)
    }

    fn releases(&self) -> impl Iterator<Item = &Manifest> {
        [&self.old, &self.begun].into_iter().flatten()
    }
}

/// Finds out what there is to do. Changes nothing.
///
/// # Errors
/// A staged file is missing, or data is in the way of the release.
pub(crate) fn plan(task: &BlockingTask, installation: &Installation<'_>, deployed: &Deployed) -> Result<Changes, ReleaseError> {
    let release = installation.release;
    let to = root(installation.to)?;
    let gone: Vec<&String> = deployed.old.iter().flat_map(|old| old.files_beyond(release)).collect();
    let begun = deployed.begun.iter().flat_map(|begun| begun.files.keys());
    let names = release.names().chain(gone.iter().copied()).chain(begun).chain(deployed.folders());
    let links = Links::above(to.as_ref(), names, &release.folders);
    let stays = |name: &str| release.folders.contains(name) || installation.exclude.covers(name, true) || links.crosses_symlink(name);
    let old_folders: BTreeSet<&String> = deployed.folders().filter(|name| !stays(name)).collect();
    let mut changes = Changes {
        moves: installation.moves(task, to.as_ref(), &links)?,
        deletes: installation.obsolete(task, to.as_ref(), deployed, gone, &links)?,
        folders: release.folders.iter().filter(|name| !links.folder_is_there(name)).cloned().collect(),
        old_folders: old_folders.into_iter().rev().cloned().collect(),
    };
    changes.deletes.splice(0..0, installation.orphans(to.as_ref(), &changes)?);
    installation.check_way(to.as_ref(), &changes)?;
    Ok(changes)
}

/// Does it, durably. The manifest of the release comes first as the one begun, and last as the one in place.
///
/// # Errors
/// The system refused; whatever was done is repeated or undone by a restore.
pub(crate) fn install(task: &BlockingTask, installation: &Installation<'_>, changes: &Changes) -> Result<(), FileError> {
    let at = installation.to;
    tracing::debug!(to = %at.display(), moves = changes.moves.len(), deletes = changes.deletes.len(), "begins to install");
    task.touch();
    let is_new = !present(at);
    let pending = PendingSync::create(at)?;
    let to = pending.root();
    if let Some(mode) = installation.metadata.and_then(|metadata| metadata.mode).filter(|_| is_new) {
        close_to(task, to, mode)?;
    }
    let staged = Root::open_real(installation.staged).map_err(io_error("open the folder", installation.staged))?;
    sweep(to);
    installation.begin(&staged, to)?;
    let mut touched = BTreeSet::from([String::new()]);
    remove_old(task, to, changes, &mut touched)?;
    // Moving a file changes the time of the folder that it leaves, and of the one that it comes to.
    let new_folders = installation.new_folders(&staged, changes)?;
    for (name, attributes) in &new_folders {
        make_folder(task, to, name, attributes, &mut touched)?;
    }
    move_all(task, &staged, to, changes, &mut touched)?;
    for (name, attributes) in &new_folders {
        apply_to_folder(task, to, name, attributes)?;
    }
    sync_touched(&pending, &touched)?;
    installation.keep_hashes(&changes.moves);
    task.patiently("replace", &at.join(MANIFEST), || to.rename(NEXT, to, MANIFEST))?;
    to.sync_folder("").map_err(io_error("sync", at))
}

fn remove_old(task: &BlockingTask, to: &Root, changes: &Changes, touched: &mut BTreeSet<String>) -> Result<(), FileError> {
    for (number, name) in changes.deletes.iter().enumerate() {
        task.file(number, changes.files())?;
        remove_file_in(task, to, name)?;
        touched.insert(folder_of(name).to_owned());
    }
    for name in &changes.old_folders {
        // Whatever is left in it belongs to no release.
        let _ = to.remove_folder(name);
    }
    Ok(())
}

fn move_all(task: &BlockingTask, staged: &Root, to: &Root, changes: &Changes, touched: &mut BTreeSet<String>) -> Result<(), FileError> {
    for (number, name) in changes.moves.iter().enumerate() {
        task.file(changes.deletes.len() + number, changes.files())?;
        move_in(task, staged, to, name)?;
        touched.insert(folder_of(name).to_owned());
    }
    Ok(())
}

/// Makes a target that was just made no more open than a folder with these permission bits, which its release comes from.
pub(crate) fn close_to(task: &BlockingTask, to: &Root, mode: u32) -> Result<(), FileError> {
    let now = root_attributes(to)?;
    apply_to_folder(task, to, "", &Attributes { mode: (now.mode & mode) | 0o700, modified: None, ..now })
}

impl Installation<'_> {
    /// The folders that are made here, with what they get.
    fn new_folders<'a>(&self, staged: &Root, changes: &'a Changes) -> Result<Vec<(&'a str, Attributes)>, FileError> {
        let new = |name: &'a String| -> Result<_, FileError> {
            let meta = staged.look(name).map_err(io_error("look at", &inside(self.staged, name)))?;
            let attributes = folder_attributes(staged, name, &meta)?;
            Ok((name.as_str(), Attributes { mode: writable(attributes.mode), ..attributes }))
        };
        changes.folders.iter().map(new).collect()
    }

    /// Says durably which release is begun.
    fn begin(&self, staged: &Root, to: &Root) -> Result<(), FileError> {
        // Renaming one name of a file to another name of it would leave both, so that the release would stay begun for ever.
        let may_link = self.is_as_staged && !is_same_file(staged, to);
        if may_link && link_in(staged, MANIFEST, to, NEXT).map_err(io_error("write", &self.to.join(NEXT)))? {
            return Ok(());
        }
        self.release.save_in(to, NEXT)
    }

    fn moves(&self, task: &BlockingTask, to: Option<&Root>, links: &Links<'_>) -> Result<Vec<String>, ReleaseError> {
        let compared = self.metadata.filter(|metadata| metadata.target == self.to);
        let target = HashCache::empty(self.to);
        let files: Vec<_> = self.release.files.iter().collect();
        let moves = map_each(&files, |(name, item)| -> Result<_, ReleaseError> {
            task.check()?;
            let noted = compared.and_then(|compared| compared.unchanged.get(*name));
            let is_there = || is_in_place(task, to, &target, noted, name, item);
            if self.exclude.covers(name, false) || (!links.crosses_symlink(name) && is_there()?) {
                return Ok(None);
            }
            let staged = inside(self.staged, name);
            if present(&staged) {
                return Ok(Some((*name).clone()));
            }
            Err(ReleaseError::FileNotStaged(staged))
        })?;
        Ok(moves.into_iter().flatten().collect())
    }

    /// Tells the next staging what was put in place, where it is what was read back when it was staged.
    fn keep_hashes(&self, moves: &[String]) {
        let Some(metadata) = self.metadata else { return };
        let cache = HashCache::empty(self.to);
        for name in moves {
            let (Some(item), Some(staged)) = (self.release.files.get(name), metadata.staged.get(name)) else { continue };
            let Ok(meta) = look(&cache.path(name)) else { continue };
            // Of a file that is renamed, the last of its times changes.
            let now = cache.file_stat(name, &meta);
            if (FileStat { changed_ns: staged.changed_ns, ..now }) == *staged {
                cache.learn(name, now, item.hash);
            }
        }
        HashDatabase::open(self.to).add(&cache);
    }

    /// Which files to delete; `gone` are those of the release before that this one has not got.
    fn obsolete(
        &self,
        task: &BlockingTask,
        to: Option<&Root>,
        deployed: &Deployed,
        gone: Vec<&String>,
        links: &Links<'_>,
    ) -> Result<Vec<String>, FileError> {
        let folded = LazyCell::new(|| self.release.files.keys().map(|name| name.to_lowercase()).collect::<HashSet<_>>());
        let is_released =
            |name: &str| self.release.files.contains_key(name) || (platform::IGNORES_CASE && folded.contains(&name.to_lowercase()));
        let stays = |name: &str| is_released(name) || self.exclude.covers(name, false) || links.crosses_symlink(name);
        let is_file = |name: &str| to.is_some_and(|to| to.look(name).is_ok_and(|meta| meta.kind != FileKind::Folder));
        let mut obsolete: BTreeSet<String> = gone.into_iter().filter(|name| !stays(name) && is_file(name)).cloned().collect();
        let target = HashCache::empty(self.to);
        // A release that was begun may not have come to this file: then it is somebody else's.
        for (name, item) in deployed.begun.iter().flat_map(|begun| &begun.files) {
            let is_old = || deployed.old.as_ref().is_some_and(|old| old.files.contains_key(name));
            if !stays(name) && !is_old() && is_in_place(task, to, &target, None, name, item)? {
                obsolete.insert(name.clone());
            }
        }
        Ok(obsolete.into_iter().collect())
    }

    /// The journals of databases that are replaced or deleted: a database with the journal of another is neither.
    fn orphans(&self, to: Option<&Root>, changes: &Changes) -> Result<Vec<String>, FileError> {
        let mut orphans = Vec::new();
        let is_there = |name: &str| to.is_some_and(|to| to.look(name).is_ok());
        for name in changes.moves.iter().chain(&changes.deletes) {
            if !is_there(name) || !is_database(&inside(self.to, name))? {
                continue;
            }
            let companions = ["-wal", "-shm", "-journal"].map(|end| format!("{name}{end}"));
            let doomed = |name: &String| is_there(name) && !self.release.files.contains_key(name) && !changes.deletes.contains(name);
            orphans.extend(companions.into_iter().filter(doomed));
        }
        Ok(orphans)
    }

    /// Whether nothing that stays is where a file or a folder of the release must be.
    fn check_way(&self, to: Option<&Root>, changes: &Changes) -> Result<(), ReleaseError> {
        let Some(to) = to else { return Ok(()) };
        let doomed: HashSet<&str> = changes.deletes.iter().map(String::as_str).collect();
        for name in &changes.moves {
            if to.look(name).is_ok_and(|meta| meta.kind == FileKind::Folder) {
                let below = walk(&inside(self.to, name), &Patterns::default())?;
                let stays = below
                    .iter()
                    .find(|below| below.meta.kind != FileKind::Folder && !doomed.contains(format!("{name}/{}", below.name).as_str()));
                if let Some(stays) = stays {
                    return Err(ReleaseError::Blocked { path: stays.path(), name: name.clone() });
                }
            }
        }
        let parents = changes.moves.iter().flat_map(|name| name.match_indices('/').map(|(slash, _)| &name[..slash]));
        for folder in parents.chain(changes.folders.iter().map(String::as_str)).collect::<BTreeSet<_>>() {
            if to.look(folder).is_ok_and(|meta| meta.kind != FileKind::Folder) && !doomed.contains(folder) {
                return Err(ReleaseError::Blocked { path: inside(self.to, folder), name: folder.to_owned() });
            }
        }
        Ok(())
    }
}

/// Whether `to` has `item` under this name; if it looks like `noted` there, it has.
fn is_in_place(
    task: &BlockingTask,
    to: Option<&Root>,
    target: &HashCache<'_>,
    noted: Option<&FileStat>,
    name: &str,
    item: &Item,
) -> Result<bool, FileError> {
    let Some(meta) = to.and_then(|to| to.look(name).ok()) else { return Ok(false) };
    let is_noted = noted.is_some_and(|noted| target.file_stat(name, &meta) == *noted);
    Ok(is_noted || is_same(task, target, name, &meta, item)?.is_some())
}

/// Whether both folders have one file as their manifest.
fn is_same_file(staged: &Root, to: &Root) -> bool {
    let file = |root: &Root| {
        let meta = root.look(MANIFEST).ok()?;
        Some(platform::file_stat(|| root.path.join(MANIFEST), &meta)).filter(platform::identifies)
    };
    file(staged).is_some_and(|staged| file(to) == Some(staged))
}

fn make_folder(
    task: &BlockingTask,
    to: &Root,
    name: &str,
    attributes: &Attributes,
    touched: &mut BTreeSet<String>,
) -> Result<(), FileError> {
    if to.look(name).is_ok_and(|meta| meta.kind == FileKind::Folder) {
        return Ok(());
    }
    to.make_folder(name).map_err(io_error("create", &inside(&to.path, name)))?;
    apply_to_folder(task, to, name, &Attributes { modified: None, ..attributes.clone() })?;
    touched.insert(folder_of(name).to_owned());
    touched.insert(name.to_owned());
    Ok(())
}

/// Files come into a folder of a release, with this deploy and the next: read-only folders get their mode from whoever needs it, not from here.
fn writable(mode: u32) -> u32 {
    mode | 0o700
}

/// Renames the file `name` to its place; copies it where that is another volume.
pub(crate) fn move_in(task: &BlockingTask, staged: &Root, to: &Root, name: &str) -> Result<(), FileError> {
    let path = inside(&to.path, name);
    if to.look(name).is_ok_and(|meta| meta.kind == FileKind::Folder) {
        // Only empty folders are left here: the plan looked.
        remove_below(task, to, name)?;
    }
    let folder = folder_of(name);
    if !folder.is_empty() && to.look(folder).is_err() {
        to.make_folder(folder).map_err(io_error("create", &inside(&to.path, folder)))?;
    }
    let crossed = task.patiently("replace", &path, || match staged.rename(name, to, name) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(true),
        other => other.map(|()| false),
    })?;
    if !crossed {
        return Ok(());
    }
    let unfinished = unfinished_in(folder).map_err(io_error("create", &path))?;
    let found = Found::below(staged, name).map_err(io_error("look at", &inside(&staged.path, name)))?;
    if found.meta.kind == FileKind::Link {
        copy_link(task, &found, to, &unfinished)?;
    } else {
        copy_file(task, &found, to, &unfinished)?;
        to.sync_file(&unfinished).map_err(io_error("sync", &path))?;
    }
    task.patiently("replace", &path, || to.rename(&unfinished, to, name))
}

/// Makes renames durable: each folder, or where they are many, the whole volume at once.
fn sync_touched(tree: &PendingSync, touched: &BTreeSet<String>) -> Result<(), FileError> {
    if touched.len() > 64 && tree.sync_volume()? {
        return Ok(());
    }
    let to = tree.root();
    // Two at once share what the disk does for each.
    let is_there = |folder: &&String| folder.is_empty() || to.look(folder).is_ok_and(|meta| meta.kind == FileKind::Folder);
    let folders: Vec<&String> = touched.iter().filter(is_there).collect();
    let sync = |(): &mut (), folder: &&String| to.sync_folder(folder).map_err(|source| io_error("sync", &inside(&to.path, folder))(source));
    each(&folders, || Ok(()), sync)?;
    let parent = to.path.parent().unwrap_or(&to.path);
    sync_folder(parent).map_err(io_error("sync", parent))
}
