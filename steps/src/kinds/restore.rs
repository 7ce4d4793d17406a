//! The kind `restore`: an archive takes the place of a folder, and the data of that folder moves along.
//!
//! ```text
//!  extract and copy data ─> TO.restoring-RUN.partial ─> sync ─> TO.restoring-RUN
//!  TO ─> TO_failed_TIME      TO.restoring-RUN ─> TO      (two renames; each state between is told by what exists)
//!
//!  failed  restoring  TO    a repetition
//!    –        ?        ✓    builds again, swaps
//!    ✓        ✓        –    does the second rename
//!    ✓        ✓        ✓    goes on replacing in place (the folder could not be renamed)
//!    ✓        –        –    builds again from the archive and the failed folder
//!    ✓        –        ✓    is done
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::{Archive, ArchiveError, Entry, ITSELF, Limits};
use crate::checked;
use crate::files::{
    BlockingTask, FileError, FileKind, Patterns, PendingSync, Root, apply_to_folder, beside, blocking, cannot_be_renamed, check_no_mount,
    copy_tree, discard, folder_attributes, inside, io_error, make_way, overlap, present, read_file, real_target, remove_below,
    root_attributes, walk, write_in,
};
use crate::recovery::{Listing, Origin, RecoveryError, RecoveryNote, RestorePlan, RestorePolicy};
use crate::release::{MANIFEST, Manifest, NEXT, is_own, move_in};
use crate::snapshot::is_database;

/// Puts an archive back in place of a folder, which is kept beside it.
///
/// What belongs to no release (databases with their journals, uploads, logs) is copied over from the folder as it is now. Files
/// of releases come from the archive. Repeating it changes nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The archive that `backup` made.
    pub archive: PathBuf,
    /// The folder.
    pub to: PathBuf,
    /// Where the folder goes as it is now. Default: beside it, as `NAME_failed_` and the time of the run.
    #[serde(default)]
    pub keep_failed_as: Option<PathBuf>,
    /// What is data in addition, although a release has it: patterns like those of a `.gitignore`.
    #[serde(default, deserialize_with = "checked::patterns")]
    pub preserve: Option<Vec<String>>,
    /// Which data the restored folder gets. Default: `current`.
    #[serde(default)]
    pub data: Option<Data>,
    /// The SHA-256 that the archive must have, in hexadecimal. Default: what the `backup` of this run recorded of it. An archive of which
    /// neither is known is read as a stranger's: links out of the folder are refused, and no program may act as somebody else.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// See [`Restore::data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// As it is now.
    Current,
    /// As it was when the service had stopped: the copy that `sync` took with `keep_data`.
    AtStop,
}

/// What `restore` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RestoreOutput {
    /// Where the folder is that was replaced; null where there was none.
    pub failed: Option<PathBuf>,
    /// How many files and links the restored folder has.
    pub files: u64,
}

impl Kind for Restore {
    const KIND: &'static str = "restore";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = RestoreOutput;

    async fn run(&self, cx: &Context) -> Result<RestoreOutput, Failure> {
        let preserve = Patterns::new(self.preserve.as_deref().unwrap_or_default()).map_err(Failure::clean)?;
        let to = real_target(&cx.path(&self.to)).map_err(Failure::clean)?;
        let (archive, recorded) = made_by_run(&cx.outputs(), cx.path(&self.archive));
        let work = Work {
            archive,
            sha256: self.sha256.clone().map(|sha256| sha256.to_lowercase()).or(recorded),
            building: beside(&to, &format!(".restoring-{}.partial", cx.run().id)),
            built: beside(&to, &format!(".restoring-{}", cx.run().id)),
            keep_failed_as: self.keep_failed_as.as_ref().map(|path| cx.path(path)),
            preserve,
            at_stop: self.data == Some(Data::AtStop),
            to,
        };
        blocking(cx, move |task| work.run(task)).await
    }
}

struct Work {
    archive: PathBuf,
    /// Of what the run made.
    sha256: Option<String>,
    to: PathBuf,
    building: PathBuf,
    built: PathBuf,
    keep_failed_as: Option<PathBuf>,
    preserve: Patterns,
    at_stop: bool,
}

/// The archive that is meant with `asked`, and the hash of it, where a step of this run made it, by the outputs of the run's steps. Where
/// another run needs what is there, the archive was written under another name.
fn made_by_run(outputs: &[Value], asked: PathBuf) -> (PathBuf, Option<String>) {
    let path = |output: &Value, key: &str| output[key].as_str().map(PathBuf::from);
    let is_meant = |output: &&Value| path(output, "archive") == Some(asked.clone()) || path(output, "instead_of") == Some(asked.clone());
    let made = outputs.iter().rev().filter(|output| output["sha256"].is_string()).find(is_meant);
    let sha256 = made.and_then(|made| made["sha256"].as_str()).map(str::to_owned);
    (made.and_then(|made| path(made, "archive")).unwrap_or(asked), sha256)
}

/// In a failed folder: which restore put it there, so that no other one takes the restored folder for a failed one.
const FAILED: &str = ".almaplan-failed.json";
/// In a built folder: what is in it, so that moving its files out one by one can be repeated.
const CONTENTS: &str = ".almaplan-contents.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FailedMarker {
    run: String,
    archive: PathBuf,
    to: PathBuf,
}

impl Work {
    fn run(&self, task: &BlockingTask) -> Result<RestoreOutput, RecoveryError> {
        self.check()?;
        let failed: Option<PathBuf> = task.record("failed", &self.choose_failed(task))?;
        let swapped = failed.as_deref().is_some_and(present);
        let files = || task.recorded::<u64>("files").unwrap_or_default();
        let done = present(&self.to) && !present(&self.built) && (swapped || failed.is_none());
        if done {
            return Ok(RestoreOutput { failed, files: files() });
        }
        if !(swapped && present(&self.built)) {
            let from = if swapped { failed.as_deref() } else { Some(self.to.as_path()) };
            let files = self.build(task, from.filter(|from| present(from)))?;
            task.record("files", &files)?;
        }
        if let Some(failed) = failed.as_deref().filter(|_| !swapped) {
            self.set_aside(task, failed)?;
        }
        self.put_in_place(task)?;
        Ok(RestoreOutput { failed, files: files() })
    }

    fn check(&self) -> Result<(), RecoveryError> {
        if self.to.file_name().is_none() {
            return Err(RecoveryError::Root(self.to.clone()));
        }
        if present(&self.to) && !self.to.is_dir() {
            return Err(RecoveryError::NoFolder(self.to.clone()));
        }
        if overlap(&self.to, &self.archive) {
            return Err(RecoveryError::ArchiveInside { archive: self.archive.clone(), to: self.to.clone() });
        }
        match &self.keep_failed_as {
            Some(failed) if overlap(&self.to, failed) => Err(RecoveryError::FailedInside { failed: failed.clone(), to: self.to.clone() }),
            _ => Ok(()),
        }
    }

    /// The name that the folder will have: one that is free, or that this very restore gave to it already. `None` where there is no folder.
    fn choose_failed(&self, task: &BlockingTask) -> Option<PathBuf> {
        let usual = beside(&self.to, &format!("_failed_{}", task.cx.run().timestamp));
        let wanted = self.keep_failed_as.clone().unwrap_or(usual);
        let numbered = (2..).map(|number| beside(&wanted, &format!("_{number}")));
        let mut names = std::iter::once(wanted.clone()).chain(numbered);
        let chosen = names.find(|name| !present(name) || self.note(task) == FailedMarker::load(name))?;
        (present(&self.to) || present(&chosen)).then_some(chosen)
    }

    fn note(&self, task: &BlockingTask) -> Option<FailedMarker> {
        Some(FailedMarker { run: task.cx.run().id.to_string(), archive: self.archive.clone(), to: self.to.clone() })
    }

    /// Builds the restored folder beside its place. Durable, and complete where it stands under its final name. Returns how many files.
    fn build(&self, task: &BlockingTask, from: Option<&Path>) -> Result<u64, RecoveryError> {
        let archive = Archive::open(&self.archive, &Limits { links_lead_out: self.sha256.is_some(), ..Limits::default() })?;
        for leftover in [&self.building, &self.built] {
            discard(task, leftover)?;
        }
        let plan = self.choose(task, &archive, from)?;
        let is_nothing = archive.absent && plan.current.is_empty();
        let parent = self.to.parent().unwrap_or(&self.to);
        if !is_nothing {
            make_way(parent).map_err(io_error("create", parent))?;
            plan.check_space(parent)?;
        }
        // Nothing is touched before it is known that this is the archive which the run made; what is read for that is read once.
        let files = std::thread::scope(|scope| {
            let sum = scope.spawn(|| self.check_hash(task, &archive));
            let files = if is_nothing { Ok(0) } else { plan.build(task, &archive, &self.building) };
            sum.join().expect("a panic in a reader is a bug").and(files)
        });
        if files.is_err() && !task.cx.is_cancelled() {
            discard(task, &self.building)?;
        }
        let files = files?;
        if is_nothing {
            return Ok(files);
        }
        let (folder, name) = above(&self.building)?;
        let built = above(&self.built)?.1;
        task.patiently("rename", &self.building, || folder.rename(&name, &folder, &built))?;
        folder.sync_folder("").map_err(io_error("sync", parent))?;
        Ok(files)
    }

    /// Whether the archive is the one that the run made, as far as that is recorded.
    fn check_hash(&self, task: &BlockingTask, archive: &Archive) -> Result<(), RecoveryError> {
        let Some(recorded) = &self.sha256 else { return Ok(()) };
        let found = archive.sha256(|| -> Result<(), RecoveryError> { Ok(task.check()?) })?;
        if found == *recorded {
            return Ok(());
        }
        Err(ArchiveError::NotOurs { path: self.archive.clone(), found, recorded: recorded.clone() }.into())
    }

    /// Decides what comes from the archive and what from the folder `from` (or from the copy taken at the stop).
    fn choose<'a>(&self, task: &BlockingTask, archive: &'a Archive, from: Option<&Path>) -> Result<RestorePlan<'a>, RecoveryError> {
        let old = archive.entries.iter().find(|entry| entry.name == MANIFEST && entry.kind == FileKind::File);
        let parse = |entry| -> Result<_, RecoveryError> { Ok(Manifest::parse(&archive.content(entry)?, &self.archive.join(MANIFEST))?) };
        let old = old.map(parse).transpose()?;
        let load = |name: &str| from.map_or(Ok(None), |from| Manifest::load(from, name));
        let newer: Vec<Manifest> = [load(MANIFEST)?, load(NEXT)?].into_iter().flatten().collect();
        let data = self.data_folder(task, from, &newer)?;
        let found = data.as_deref().map(|data| walk(data, &Patterns::default())).transpose()?;
        let current: Option<Listing> =
            found.as_ref().map(|found| found.iter().map(|found| (found.name.clone(), found.meta.kind)).collect());
        let archived: Listing = archive.entries.iter().map(|entry| (entry.name.clone(), entry.kind)).collect();
        let is_database =
            |name: &str| [data.as_deref(), from].into_iter().flatten().any(|dir| is_database(&inside(dir, name)).unwrap_or(false));
        let policy = RestorePolicy {
            current: current.as_ref(),
            archived: &archived,
            old: old.as_ref(),
            newer: &newer,
            preserve: &self.preserve,
            is_database: &is_database,
        };
        if policy.blind() && current.as_ref().is_some_and(|current| !current.is_empty()) {
            task.cx.warn(RecoveryNote::Guessed { to: self.to.clone() });
        }
        let is_archived = |entry: &&Entry| entry.name != ITSELF && policy.decide(&entry.name) == Origin::Archived;
        let entries = archive.entries.iter().filter(is_archived).collect();
        let found =
            found.unwrap_or_default().into_iter().filter(|found| policy.decide(&found.name) == Origin::Current && !is_own(&found.name));
        let is_trusted = self.sha256.is_some();
        let mut plan = RestorePlan { archived: entries, current: found.collect(), itself: None, is_trusted };
        let itself = archive.entries.iter().find(|entry| entry.name == ITSELF && entry.kind == FileKind::Folder);
        let now = || from.map(|from| root_attributes(&Root::open_real(from).map_err(io_error("open the folder", from))?)).transpose();
        plan.itself = match itself {
            Some(entry) => Some(plan.attributes(entry)),
            None => now()?,
        };
        plan.settle_conflicts(task);
        Ok(plan)
    }

    /// Where data comes from.
    fn data_folder(&self, task: &BlockingTask, from: Option<&Path>, newer: &[Manifest]) -> Result<Option<PathBuf>, RecoveryError> {
        if !self.at_stop {
            return Ok(from.map(Path::to_owned));
        }
        let run = task.cx.run().id.as_str();
        let Some(kept) = newer.iter().filter_map(|release| release.kept.as_ref()).find(|kept| kept.run == run) else {
            task.cx.warn(RecoveryNote::NoKeptData);
            return Ok(from.map(Path::to_owned));
        };
        if kept.is_there() {
            return Ok(Some(kept.dir.clone()));
        }
        Err(RecoveryError::NoKeptData(kept.dir.clone()))
    }

    /// Gives the folder its other name; where the system refuses, copies it there.
    fn set_aside(&self, task: &BlockingTask, failed: &Path) -> Result<(), RecoveryError> {
        task.touch();
        let parent = failed.parent().unwrap_or(failed);
        make_way(parent).map_err(io_error("create", parent))?;
        let note = serde_json::to_vec(&self.note(task)).expect("a note is plain data with text keys");
        let at = self.to.join(FAILED);
        let written = Root::open_real(&self.to).and_then(|to| write_in(&to, FAILED, &note));
        if let Err(source) = written {
            task.cx.warn(RecoveryNote::NoMark { at, source });
        }
        let ((here, name), (there, failed_name)) = (above(&self.to)?, above(failed)?);
        // Renamed, the folder would take the volumes along.
        let renamed =
            check_no_mount(&self.to).and_then(|()| task.patiently("rename", &self.to, || here.rename(&name, &there, &failed_name)));
        match renamed {
            Ok(()) => {}
            Err(error @ FileError::Mounted { .. }) => self.copy_aside(task, failed, error)?,
            Err(error) if cannot_be_renamed(&error) => self.copy_aside(task, failed, error)?,
            Err(error) => return Err(error.into()),
        }
        Ok([here, there].into_iter().try_for_each(|folder| folder.sync_folder("").map_err(io_error("sync", &folder.path)))?)
    }

    fn copy_aside(&self, task: &BlockingTask, failed: &Path, because: FileError) -> Result<(), RecoveryError> {
        task.cx.warn(RecoveryNote::InPlace { because, failed: failed.to_owned() });
        let partial = beside(failed, ".partial");
        discard(task, &partial)?;
        let itself = root_attributes(&Root::open_real(&self.to).map_err(io_error("open the folder", &self.to))?)?;
        copy_tree(task, &walk(&self.to, &Patterns::default())?, &partial, Some(&itself))?;
        let ((folder, name), (_, failed_name)) = (above(&partial)?, above(failed)?);
        Ok(task.patiently("rename", &partial, || folder.rename(&name, &folder, &failed_name))?)
    }

    /// The built folder becomes the folder.
    fn put_in_place(&self, task: &BlockingTask) -> Result<(), RecoveryError> {
        if !present(&self.built) {
            // Nothing is to be there, as before the first deploy.
            return Ok(());
        }
        task.touch();
        let ((folder, name), (_, built)) = (above(&self.to)?, above(&self.built)?);
        if present(&self.to) {
            self.replace_contents(task)?;
        } else {
            task.patiently("rename", &self.built, || folder.rename(&built, &folder, &name))?;
        }
        Ok(folder.sync_folder("").map_err(io_error("sync", &folder.path))?)
    }

    /// Where the folder itself had to stay: its files are replaced one by one. A copy of all of them is in the failed folder.
    fn replace_contents(&self, task: &BlockingTask) -> Result<(), RecoveryError> {
        let open = |path: &Path| Root::open_real(path).map_err(io_error("open the folder", path));
        let (contents, tree, built) = (self.contents()?, PendingSync::new(open(&self.to)?)?, open(&self.built)?);
        let to = tree.root();
        let mut there = walk(&self.to, &Patterns::default())?;
        there.reverse();
        let mounts: Vec<String> = there.iter().filter(|found| found.meta.kind == FileKind::Mount).map(|mount| mount.name.clone()).collect();
        let stays =
            |name: &str| mounts.iter().any(|mount| mount == name || mount.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
        let total = there.len() + contents.len();
        for (number, found) in there.iter().enumerate() {
            task.file(number, total)?;
            match contents.get(&found.name) {
                _ if stays(&found.name) => {}
                Some(kind) if *kind == found.meta.kind || (*kind != FileKind::Folder && found.meta.kind != FileKind::Folder) => {}
                _ => remove_below(task, to, &found.name)?,
            }
        }
        for (number, (name, kind)) in contents.iter().enumerate() {
            task.file(there.len() + number, total)?;
            if stays(name) {
                continue;
            }
            if *kind == FileKind::Folder {
                to.make_folder(name).map_err(io_error("create", &inside(&self.to, name)))?;
            } else if built.look(name).is_ok() {
                move_in(task, &built, to, name)?;
            }
        }
        for (name, _) in contents.iter().rev().filter(|(name, kind)| **kind == FileKind::Folder && !stays(name)) {
            if let Ok(meta) = built.look(name) {
                apply_to_folder(task, to, name, &folder_attributes(&built, name, &meta)?)?;
            }
        }
        tree.sync()?;
        apply_to_folder(task, to, "", &root_attributes(&built)?)?;
        Ok(discard(task, &self.built)?)
    }

    /// What is to be in the folder in the end, also after some of it was moved out of the built one.
    fn contents(&self) -> Result<BTreeMap<String, FileKind>, RecoveryError> {
        let at = self.built.join(CONTENTS);
        if let Ok(bytes) = read_file(&at) {
            return serde_json::from_slice(&bytes).map_err(|source| RecoveryError::Contents { path: at, source });
        }
        let found = walk(&self.built, &Patterns::default())?;
        let contents: BTreeMap<String, FileKind> = found.into_iter().map(|found| (found.name, found.meta.kind)).collect();
        let bytes = serde_json::to_vec(&contents).expect("names and kinds are plain data");
        let built = Root::open_real(&self.built).map_err(io_error("open the folder", &self.built))?;
        write_in(&built, CONTENTS, &bytes).map_err(io_error("write", &at))?;
        Ok(contents)
    }
}

/// The folder that `path` is in, to work in it, and the name of `path` there.
fn above(path: &Path) -> Result<(Root, String), FileError> {
    Root::above(path).map_err(io_error("open the folder of", path))
}

impl FailedMarker {
    fn load(failed: &Path) -> Option<Self> {
        serde_json::from_slice(&read_file(&failed.join(FAILED)).ok()?).ok()
    }
}
