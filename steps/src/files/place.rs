//! Putting a staged release in place, file by file, so that a repetition after any crash ends in the same state.
//!
//! Only what the manifest of the release before names is ever deleted; files that belong to no release stay.

use std::borrow::Borrow;
use std::cell::LazyCell;
use std::collections::{BTreeSet, HashSet};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::live::is_database;
use super::manifest::Item;
use super::replaced::Replaced;
use super::stage::{is_same, staged_at};
use super::walk::Fingerprint;
use super::{
    FileError, Found, Hashes, Job, Kind, Known, Links, MANIFEST, Manifest, NEXT, Patterns, Root, StagedNote, Unsynced, copy_file,
    copy_link, dress_folder, each, inside, io_error, is_real_folder, link_atomically, look, map_each, platform, present, remove_file,
    remove_tree, root, sync_folder, walk,
};

/// A release and where it goes.
pub(crate) struct Placement<'a> {
    /// Where its files are.
    pub staged: &'a Path,
    /// Where they go; may be missing.
    pub to: &'a Path,
    /// The release.
    pub release: &'a Manifest,
    /// Whether the manifest in `staged` says just that, and is another file than the one in `to`.
    pub as_staged: bool,
    /// What was known when it was staged.
    pub note: Option<&'a StagedNote>,
    /// Whether nothing was deployed, or begun, since then.
    pub as_compared: bool,
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
    /// Folders that are put in place with all that is in them.
    whole: BTreeSet<String>,
    old_folders: Vec<String>,
}

impl Changes {
    /// Whether the target is the release already.
    pub fn is_nothing(&self) -> bool {
        self.moves.is_empty() && self.deletes.is_empty() && self.folders.is_empty() && self.old_folders.is_empty()
    }
}

/// What the folder holds, by its own manifests: the release before, and one that was begun and never finished.
pub(crate) struct Deployed {
    /// The release before.
    pub old: Option<Arc<Manifest>>,
    /// The unfinished one.
    pub begun: Option<Manifest>,
}

impl Deployed {
    /// Whether `name` belongs to one of them.
    pub fn has(&self, name: &str) -> bool {
        [self.old.as_deref(), self.begun.as_ref()].into_iter().flatten().any(|release| release.has(name))
    }

    /// The release before, where it is not this very one.
    fn older<'a>(&'a self, release: &Manifest) -> Option<&'a Manifest> {
        self.old.as_deref().filter(|old| !std::ptr::eq(*old, release))
    }
}

/// Finds out what there is to do. Changes nothing.
///
/// # Errors
/// A staged file is missing, or data is in the way of the release.
pub(crate) fn plan(job: &Job, placement: &Placement<'_>, deployed: &Deployed) -> Result<Changes, FileError> {
    let release = placement.release;
    let old: Vec<&Manifest> = [deployed.older(release), deployed.begun.as_ref()].into_iter().flatten().collect();
    let to = root(placement.to)?;
    let gone: Vec<&String> = deployed.older(release).into_iter().flat_map(|older| older.files_beyond(release)).collect();
    let begun = deployed.begun.iter().flat_map(|begun| begun.files.keys());
    let names = release.names().chain(gone.iter().copied()).chain(begun).chain(old.iter().flat_map(|old| &old.folders));
    let links = Links::above(to.as_ref(), names, &release.folders);
    let folders: Vec<String> = release.folders.iter().filter(|name| !links.folder_is_there(name)).cloned().collect();
    let whole = placement.whole_folders(&folders)?;
    let moves = placement.moves(job, to.as_ref(), &links, &whole)?;
    let mut changes = Changes { moves, folders, whole, ..Changes::default() };
    changes.deletes = placement.obsolete(job, to.as_ref(), deployed, gone, &links)?;
    changes.deletes = placement.orphans(to.as_ref(), &changes)?.into_iter().chain(std::mem::take(&mut changes.deletes)).collect();
    let stays = |name: &str| release.folders.contains(name) || placement.exclude.covers(name, true) || links.lead_to(name);
    let old_folders = old.iter().flat_map(|old| &old.folders).filter(|name| !stays(name));
    changes.old_folders = old_folders.cloned().collect::<BTreeSet<_>>().into_iter().rev().collect();
    placement.check_way(to.as_ref(), &changes)?;
    Ok(changes)
}

/// Does it, durably. The manifest of the release comes first as the one begun, and last as the one in place.
///
/// # Errors
/// The system refused; whatever was done is repeated or undone by a restore.
pub(crate) fn place(job: &Job, placement: &Placement<'_>, changes: &Changes) -> Result<(), FileError> {
    let to = placement.to;
    job.touch();
    let tree = Unsynced::create(to)?;
    placement.begin()?;
    let mut touched = BTreeSet::from([to.to_owned()]);
    let total = changes.deletes.len() + changes.moves.len();
    for (number, name) in changes.deletes.iter().enumerate() {
        job.file(number, total)?;
        let path = inside(to, name);
        remove_file(job, &path)?;
        touched.extend(path.parent().map(Path::to_owned));
    }
    for name in &changes.old_folders {
        // Whatever is left in it belongs to no release.
        let _ = std::fs::remove_dir(inside(to, name));
    }
    let mut whole = BTreeSet::new();
    for name in &changes.whole {
        job.check()?;
        if move_folder_in(placement, name) {
            whole.insert(name.as_str());
            touched.extend(inside(to, name).parent().map(Path::to_owned));
        }
    }
    let is_placed = |name: &str| is_in_any(&whole, name);
    for name in changes.folders.iter().filter(|name| !is_placed(name)) {
        make_folder(placement, name, &mut touched)?;
    }
    let mut replaced = Replaced::new(placement.staged, to);
    for (number, name) in changes.moves.iter().enumerate() {
        job.file(changes.deletes.len() + number, total)?;
        if is_placed(name) {
            continue;
        }
        let path = inside(to, name);
        let staged = staged_at(placement.staged, name).unwrap_or_else(|| inside(placement.staged, name));
        replaced.pin(&path);
        move_in(job, &staged, &path)?;
        touched.extend(path.parent().map(Path::to_owned));
    }
    sync_touched(&tree, to, &touched)?;
    placement.keep_hashes(&changes.moves, is_placed);
    let (next, manifest) = (to.join(NEXT), to.join(MANIFEST));
    replaced.pin(&manifest);
    job.patiently("replace", &manifest, || platform::rename(&next, &manifest))?;
    sync_folder(to).map_err(io_error("sync", to))
}

impl Placement<'_> {
    /// Says durably which release is begun.
    fn begin(&self) -> Result<(), FileError> {
        let next = self.to.join(NEXT);
        // One that was compared with another target may be that one's.
        let may_link = self.as_staged && self.note.is_some_and(|note| note.target == self.to);
        if may_link && link_atomically(&self.staged.join(MANIFEST), &next).map_err(io_error("write", &next))? {
            return Ok(());
        }
        self.release.save(self.to, NEXT)
    }

    fn moves(&self, job: &Job, to: Option<&Root>, links: &Links<'_>, whole: &BTreeSet<String>) -> Result<Vec<String>, FileError> {
        let noted = self.note.filter(|note| note.target == self.to).map_or(&[][..], |note| &note.deployed);
        let files: Vec<_> = self.release.files.iter().zip(noted.iter().map(Some).chain(std::iter::repeat(None))).collect();
        let target = Known::nothing(self.to);
        let moves = map_each(&files, |((name, item), noted)| {
            job.check()?;
            let is_staged = LazyCell::new(|| is_in_any(whole, name) || staged_at(self.staged, name).is_some());
            // What differed, or was missing, when this was staged need not be read to learn that.
            let differs = self.as_compared && matches!(noted, Some(None)) && *is_staged;
            let is_there = || is_in_place(job, to, &target, noted.copied().flatten(), name, item);
            if self.exclude.covers(name, false) || (!differs && !links.lead_to(name) && is_there()?) {
                return Ok(None);
            }
            if *is_staged {
                return Ok(Some((*name).clone()));
            }
            let staged = inside(self.staged, name);
            Err(FileError::Refused(format!("the staged file {} is missing; stage again", staged.display())))
        })?;
        Ok(moves.into_iter().flatten().collect())
    }

    /// The outermost of the folders that the target has not got, where what is staged there is all that the release has, and nothing else.
    fn whole_folders(&self, missing: &[String]) -> Result<BTreeSet<String>, FileError> {
        let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
        let outermost = missing.iter().filter(|name| !is_in_any(&missing, name.rsplit_once('/').map_or("", |(above, _)| above)));
        let mut whole = BTreeSet::new();
        for name in outermost {
            let staged = inside(self.staged, name);
            if is_real_folder(&staged) && self.is_all_released(name, &walk(&staged, &Patterns::default())?) {
                whole.insert((*name).to_owned());
            }
        }
        Ok(whole)
    }

    /// Whether what was found in `folder` is what the release has there.
    fn is_all_released(&self, folder: &str, found: &[Found]) -> bool {
        // What begins with the name and a slash; what follows a slash is a zero.
        let below = format!("{folder}/")..format!("{folder}0");
        let (files, folders) = (self.release.files.range(below.clone()).count(), self.release.folders.range(below).count());
        found.len() == files + folders && found.iter().all(|found| self.is_released(folder, found))
    }

    fn is_released(&self, folder: &str, found: &Found) -> bool {
        let name = format!("{folder}/{}", found.name);
        if found.meta.kind == Kind::Folder { self.release.folders.contains(&name) } else { self.release.files.contains_key(&name) }
    }

    /// Tells the next staging what was put in place, where it is what was read back when it was staged.
    fn keep_hashes(&self, moves: &[String], is_placed: impl Fn(&str) -> bool + Sync) {
        let Some(note) = self.note else { return };
        let (known, mut moves) = (Known::nothing(self.to), moves.iter().peekable());
        let staged = self.release.files.iter().zip(&note.staged_files).filter(|((name, _), _)| moves.next_if_eq(name).is_some());
        let staged: Vec<_> = staged.filter_map(|((name, item), staged)| Some((name, item, staged.as_ref()?))).collect();
        let learn = |(): &mut (), (name, item, staged): &(&String, &Item, &Fingerprint)| {
            // Of a file that is renamed itself, the last of its times changes.
            let is_moved = |now: &Fingerprint| Fingerprint { changed_ns: staged.changed_ns, ..*now } == **staged;
            let looks = || look(&known.path(name)).ok().map(|meta| known.fingerprint(name, &meta)).filter(is_moved);
            let now = if is_placed(name) { Some(**staged) } else { looks() };
            if let Some(now) = now {
                known.learn(name, now, item.hash);
            }
            Ok::<_, FileError>(())
        };
        each(&staged, || Ok(()), learn).expect("learning is no error");
        Hashes::append(self.to, &known);
    }

    /// Which files to delete; `gone` are those of the release before that this one has not got.
    fn obsolete(
        &self,
        job: &Job,
        to: Option<&Root>,
        deployed: &Deployed,
        gone: Vec<&String>,
        links: &Links<'_>,
    ) -> Result<Vec<String>, FileError> {
        let folded = LazyCell::new(|| self.release.files.keys().map(|name| name.to_lowercase()).collect::<HashSet<_>>());
        let is_released =
            |name: &str| self.release.files.contains_key(name) || (platform::IGNORES_CASE && folded.contains(&name.to_lowercase()));
        let stays = |name: &str| is_released(name) || self.exclude.covers(name, false) || links.lead_to(name);
        let is_file = |name: &str| to.is_some_and(|to| to.look(name).is_ok_and(|meta| meta.kind != Kind::Folder));
        let mut obsolete: BTreeSet<String> = gone.into_iter().filter(|name| !stays(name) && is_file(name)).cloned().collect();
        let target = Known::nothing(self.to);
        // A release that was begun may not have come to this file: then it is somebody else's.
        for (name, item) in deployed.begun.iter().flat_map(|begun| &begun.files) {
            let is_old = || deployed.old.as_ref().is_some_and(|old| old.files.contains_key(name));
            if !stays(name) && !is_old() && is_in_place(job, to, &target, None, name, item)? {
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
    fn check_way(&self, to: Option<&Root>, changes: &Changes) -> Result<(), FileError> {
        let Some(to) = to else { return Ok(()) };
        let doomed: HashSet<&str> = changes.deletes.iter().map(String::as_str).collect();
        for name in &changes.moves {
            if to.look(name).is_ok_and(|meta| meta.kind == Kind::Folder) {
                let below = walk(&inside(self.to, name), &Patterns::default())?;
                let stays = below
                    .iter()
                    .find(|below| below.meta.kind != Kind::Folder && !doomed.contains(format!("{name}/{}", below.name).as_str()));
                if let Some(stays) = stays {
                    return Err(in_the_way(&stays.path(), name));
                }
            }
        }
        let parents = changes.moves.iter().flat_map(|name| name.match_indices('/').map(|(slash, _)| &name[..slash]));
        for folder in parents.chain(changes.folders.iter().map(String::as_str)).collect::<BTreeSet<_>>() {
            if to.look(folder).is_ok_and(|meta| meta.kind != Kind::Folder) && !doomed.contains(folder) {
                return Err(in_the_way(&inside(self.to, folder), folder));
            }
        }
        Ok(())
    }
}

/// Whether `to` has `item` under this name; if it looks like `noted` there, it has.
fn is_in_place(
    job: &Job,
    to: Option<&Root>,
    target: &Known<'_>,
    noted: Option<Fingerprint>,
    name: &str,
    item: &Item,
) -> Result<bool, FileError> {
    let Some(meta) = to.and_then(|to| to.look(name).ok()) else { return Ok(false) };
    let is_noted = noted.is_some_and(|noted| target.fingerprint(name, &meta) == noted);
    Ok(is_noted || is_same(job, target, name, &meta, item)?.is_some())
}

fn in_the_way(path: &Path, name: &str) -> FileError {
    FileError::Refused(format!(
        "{} belongs to no release and is where `{name}` of the new one must be; move it away or exclude `{name}`",
        path.display()
    ))
}

/// Whether `name` is one of `folders`, or in one.
fn is_in_any(folders: &BTreeSet<impl Borrow<str> + Ord>, name: &str) -> bool {
    !folders.is_empty() && name.match_indices('/').map(|(slash, _)| &name[..slash]).chain([name]).any(|part| folders.contains(part))
}

/// Renames a folder to its place, where nothing is. `false` where its files have to be moved one by one.
fn move_folder_in(placement: &Placement<'_>, name: &str) -> bool {
    let (staged, path) = (inside(placement.staged, name), inside(placement.to, name));
    let Ok(meta) = look(&staged) else { return false };
    // One that nobody may write cannot be moved either.
    let opened = || platform::set_mode(&staged, meta.mode | 0o700);
    !present(&path) && path.parent().is_none_or(is_real_folder) && opened().and_then(|()| platform::rename(&staged, &path)).is_ok()
}

fn make_folder(placement: &Placement<'_>, name: &str, touched: &mut BTreeSet<PathBuf>) -> Result<(), FileError> {
    let path = inside(placement.to, name);
    if is_real_folder(&path) {
        return Ok(());
    }
    std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
    let mode = look(&inside(placement.staged, name)).map_or(0o755, |meta| meta.mode);
    // Files are still to come: read-only folders get their mode from whoever needs it, not from here.
    dress_folder(&path, mode | 0o700, None)?;
    touched.extend(path.parent().map(Path::to_owned));
    touched.insert(path);
    Ok(())
}

/// Renames a file to its place; copies it where that is another volume.
pub(crate) fn move_in(job: &Job, staged: &Path, path: &Path) -> Result<(), FileError> {
    if is_real_folder(path) {
        // Only empty folders are left here: the plan looked.
        remove_tree(job, path)?;
    }
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    let crossed = job.patiently("replace", path, || match platform::rename(staged, path) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(true),
        other => other.map(|()| false),
    })?;
    if !crossed {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".almaplan-new-{name}"));
    remove_file(job, &unfinished)?;
    let found = Found::at(staged).map_err(io_error("look at", staged))?;
    if found.meta.kind == Kind::Link {
        copy_link(&found, &unfinished)?;
    } else {
        copy_file(job, &found, &unfinished)?;
        let file = OpenOptions::new().read(true).open(&unfinished).map_err(io_error("open", &unfinished))?;
        file.sync_all().map_err(io_error("sync", &unfinished))?;
    }
    job.patiently("replace", path, || platform::rename(&unfinished, path))
}

/// Makes renames durable: each folder, or where they are many, the whole volume at once.
fn sync_touched(tree: &Unsynced, to: &Path, touched: &BTreeSet<PathBuf>) -> Result<(), FileError> {
    if touched.len() > 64 && tree.sync_volume()? {
        return Ok(());
    }
    // Two at once share what the disk does for each.
    let folders: Vec<_> = touched.iter().filter(|folder| folder.is_dir()).collect();
    each(&folders, || Ok(()), |(): &mut (), folder| sync_folder(folder).map_err(io_error("sync", folder)))?;
    let parent = to.parent().unwrap_or(to);
    sync_folder(parent).map_err(io_error("sync", parent))
}
