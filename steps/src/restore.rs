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

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::archive::{Archive, Limits};
use crate::files::{
    Carry, Choice, FileError, Job, Keep, Kind, Listing, MANIFEST, Manifest, NEXT, Patterns, Unsynced, beside, blocking, cannot_be_renamed,
    copy_tree, discard, dress_folder, inside, io_error, is_database, is_own, look, move_in, overlap, present, read_file, real_target,
    remove_file, remove_tree, sync_folder, walk, write_atomically,
};

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
    #[serde(default)]
    pub preserve: Option<Vec<String>>,
    /// Which data the restored folder gets. Default: `current`.
    #[serde(default)]
    pub data: Option<Data>,
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

impl Step for Restore {
    const KIND: &'static str = "restore";
    const TRAITS: Traits = Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = RestoreOutput;

    async fn run(&self, cx: &Context) -> Result<RestoreOutput, Failure> {
        let preserve = Patterns::new(self.preserve.as_deref().unwrap_or_default()).map_err(Failure::clean)?;
        let to = real_target(&cx.path(&self.to));
        let work = Work {
            archive: cx.path(&self.archive),
            building: beside(&to, &format!(".restoring-{}.partial", cx.run().id)),
            built: beside(&to, &format!(".restoring-{}", cx.run().id)),
            keep_failed_as: self.keep_failed_as.as_ref().map(|path| cx.path(path)),
            preserve,
            at_stop: self.data == Some(Data::AtStop),
            to,
        };
        blocking(cx, move |job| work.run(job)).await
    }
}

struct Work {
    archive: PathBuf,
    to: PathBuf,
    building: PathBuf,
    built: PathBuf,
    keep_failed_as: Option<PathBuf>,
    preserve: Patterns,
    at_stop: bool,
}

/// In a failed folder: which restore put it there, so that no other one takes the restored folder for a failed one.
const FAILED: &str = ".almaplan-failed.json";
/// In a built folder: what is in it, so that moving its files out one by one can be repeated.
const CONTENTS: &str = ".almaplan-contents.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FailedNote {
    run: String,
    archive: PathBuf,
    to: PathBuf,
}

impl Work {
    fn run(&self, job: &Job) -> Result<RestoreOutput, FileError> {
        self.check()?;
        let failed: Option<PathBuf> = job.record("failed", &self.choose_failed(job))?;
        let swapped = failed.as_deref().is_some_and(present);
        let files = || job.recorded::<u64>("files").unwrap_or_default();
        let done = present(&self.to) && !present(&self.built) && (swapped || failed.is_none());
        if done {
            return Ok(RestoreOutput { failed, files: files() });
        }
        if !(swapped && present(&self.built)) {
            let from = if swapped { failed.as_deref() } else { Some(self.to.as_path()) };
            let files = self.build(job, from.filter(|from| present(from)))?;
            job.record("files", &files)?;
        }
        if let Some(failed) = failed.as_deref().filter(|_| !swapped) {
            self.set_aside(job, failed)?;
        }
        self.put_in_place(job)?;
        Ok(RestoreOutput { failed, files: files() })
    }

    fn check(&self) -> Result<(), FileError> {
        let refused = |text: String| Err(FileError::Refused(text));
        if self.to.file_name().is_none() {
            return refused(format!("{} is a root: nothing can be beside it", self.to.display()));
        }
        if present(&self.to) && !self.to.is_dir() {
            return refused(format!("{} is not a folder", self.to.display()));
        }
        if overlap(&self.to, &self.archive) {
            let (archive, to) = (self.archive.display(), self.to.display());
            return refused(format!("the archive {archive} is inside {to}, which is to be replaced; move it out, then `almaplan resume`"));
        }
        match &self.keep_failed_as {
            Some(failed) if overlap(&self.to, failed) => {
                refused(format!("`keep_failed_as` is {}: it must be beside {}", failed.display(), self.to.display()))
            }
            _ => Ok(()),
        }
    }

    /// The name that the folder will have: one that is free, or that this very restore gave to it already. `None` where there is no folder.
    fn choose_failed(&self, job: &Job) -> Option<PathBuf> {
        let usual = beside(&self.to, &format!("_failed_{}", job.cx.run().timestamp));
        let wanted = self.keep_failed_as.clone().unwrap_or(usual);
        let numbered = (2..).map(|number| beside(&wanted, &format!("_{number}")));
        let mut names = std::iter::once(wanted.clone()).chain(numbered);
        let chosen = names.find(|name| !present(name) || self.note(job) == FailedNote::load(name))?;
        (present(&self.to) || present(&chosen)).then_some(chosen)
    }

    fn note(&self, job: &Job) -> Option<FailedNote> {
        Some(FailedNote { run: job.cx.run().id.to_string(), archive: self.archive.clone(), to: self.to.clone() })
    }

    /// Builds the restored folder beside its place. Durable, and complete where it stands under its final name. Returns how many files.
    fn build(&self, job: &Job, from: Option<&Path>) -> Result<u64, FileError> {
        let archive = Archive::open(&self.archive, &Limits::default())?;
        for leftover in [&self.building, &self.built] {
            discard(job, leftover)?;
        }
        let choice = self.choose(job, &archive, from)?;
        if archive.absent && choice.current.is_empty() {
            return Ok(0);
        }
        let parent = self.to.parent().unwrap_or(&self.to);
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        choice.check_space(parent)?;
        let files = choice.build(job, &archive, &self.building);
        if files.is_err() && !job.cx.is_cancelled() {
            discard(job, &self.building)?;
        }
        let files = files?;
        job.patiently("rename", &self.building, || std::fs::rename(&self.building, &self.built))?;
        sync_folder(parent).map_err(io_error("sync", parent))?;
        Ok(files)
    }

    /// Decides what comes from the archive and what from the folder `from` (or from the copy taken at the stop).
    fn choose<'a>(&self, job: &Job, archive: &'a Archive, from: Option<&Path>) -> Result<Choice<'a>, FileError> {
        let old = archive.entries.iter().find(|entry| entry.name == MANIFEST && entry.kind == Kind::File);
        let old = old.map(|entry| Manifest::parse(&archive.content(entry)?, &self.archive.join(MANIFEST))).transpose()?;
        let load = |name: &str| from.map_or(Ok(None), |from| Manifest::load(from, name));
        let newer: Vec<Manifest> = [load(MANIFEST)?, load(NEXT)?].into_iter().flatten().collect();
        let data = self.data_folder(job, from, &newer)?;
        let found = data.as_deref().map(|data| walk(data, &Patterns::default())).transpose()?;
        let current: Option<Listing> =
            found.as_ref().map(|found| found.iter().map(|found| (found.name.clone(), found.meta.kind)).collect());
        let archived: Listing = archive.entries.iter().map(|entry| (entry.name.clone(), entry.kind)).collect();
        let is_database =
            |name: &str| [data.as_deref(), from].into_iter().flatten().any(|dir| is_database(&inside(dir, name)).unwrap_or(false));
        let carry = Carry {
            current: current.as_ref(),
            archived: &archived,
            old: old.as_ref(),
            newer: &newer,
            preserve: &self.preserve,
            is_database: &is_database,
        };
        if carry.blind() && current.as_ref().is_some_and(|current| !current.is_empty()) {
            let to = self.to.display();
            job.cx.warn(format!("{to} has no manifest, so data is told from code by guessing: what both have comes from the archive, but for databases and logs"));
        }
        let entries = archive.entries.iter().filter(|entry| carry.decide(&entry.name) == Keep::Archived).collect();
        let found =
            found.unwrap_or_default().into_iter().filter(|found| carry.decide(&found.name) == Keep::Current && !is_own(&found.name));
        let mut choice = Choice { archived: entries, current: found.collect() };
        choice.settle_conflicts(job);
        Ok(choice)
    }

    /// Where data comes from.
    fn data_folder(&self, job: &Job, from: Option<&Path>, newer: &[Manifest]) -> Result<Option<PathBuf>, FileError> {
        if !self.at_stop {
            return Ok(from.map(Path::to_owned));
        }
        let run = job.cx.run().id.as_str();
        let Some(kept) = newer.iter().filter_map(|release| release.kept.as_ref()).find(|kept| kept.run == run) else {
            job.cx.warn("no data was kept at the stop by this run (`keep_data` of `sync`): the data as it is now is taken");
            return Ok(from.map(Path::to_owned));
        };
        if kept.dir.is_dir() {
            return Ok(Some(kept.dir.clone()));
        }
        let dir = kept.dir.display();
        Err(FileError::Refused(format!("the data kept at the stop is missing from {dir}; put it back, then `almaplan resume`")))
    }

    /// Gives the folder its other name; where the system refuses, copies it there.
    fn set_aside(&self, job: &Job, failed: &Path) -> Result<(), FileError> {
        job.touch();
        let parent = failed.parent().unwrap_or(failed);
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        let note = serde_json::to_vec(&self.note(job)).expect("a note is plain data with text keys");
        let at = self.to.join(FAILED);
        if let Err(error) = write_atomically(&at, &note) {
            job.cx.warn(format!("{} could not be written: {error}", at.display()));
        }
        match job.patiently("rename", &self.to, || std::fs::rename(&self.to, failed)) {
            Ok(()) => {}
            Err(error) if cannot_be_renamed(&error) => self.copy_aside(job, failed, &error)?,
            Err(error) => return Err(error),
        }
        let folders = [parent, self.to.parent().unwrap_or(&self.to)];
        folders.into_iter().try_for_each(|folder| sync_folder(folder).map_err(io_error("sync", folder)))
    }

    fn copy_aside(&self, job: &Job, failed: &Path, because: &FileError) -> Result<(), FileError> {
        let why = std::error::Error::source(because).map_or_else(|| because.to_string(), |cause| format!("{because}: {cause}"));
        job.cx.warn(format!("{why}; its content is copied to {} and the archive restored in place", failed.display()));
        let partial = beside(failed, ".partial");
        discard(job, &partial)?;
        copy_tree(job, &walk(&self.to, &Patterns::default())?, &partial)?;
        job.patiently("rename", &partial, || std::fs::rename(&partial, failed))
    }

    /// The built folder becomes the folder.
    fn put_in_place(&self, job: &Job) -> Result<(), FileError> {
        if !present(&self.built) {
            // Nothing is to be there, as before the first deploy.
            return Ok(());
        }
        job.touch();
        if present(&self.to) {
            self.replace_contents(job)?;
        } else {
            job.patiently("rename", &self.built, || std::fs::rename(&self.built, &self.to))?;
        }
        let parent = self.to.parent().unwrap_or(&self.to);
        sync_folder(parent).map_err(io_error("sync", parent))
    }

    /// Where the folder itself had to stay: its files are replaced one by one. A copy of all of them is in the failed folder.
    fn replace_contents(&self, job: &Job) -> Result<(), FileError> {
        let (contents, tree) = (self.contents()?, Unsynced::new(&self.to)?);
        let mut there = walk(&self.to, &Patterns::default())?;
        there.reverse();
        let total = there.len() + contents.len();
        for (number, found) in there.iter().enumerate() {
            job.file(number, total)?;
            match contents.get(&found.name) {
                Some(kind) if *kind == found.meta.kind || (*kind != Kind::Folder && found.meta.kind != Kind::Folder) => {}
                _ if found.meta.kind == Kind::Folder => remove_tree(job, &found.path())?,
                _ => remove_file(job, &found.path())?,
            }
        }
        for (number, (name, kind)) in contents.iter().enumerate() {
            job.file(there.len() + number, total)?;
            let (built, path) = (inside(&self.built, name), inside(&self.to, name));
            if *kind == Kind::Folder {
                std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
            } else if present(&built) {
                move_in(job, &built, &path)?;
            }
        }
        for (name, _) in contents.iter().rev().filter(|(_, kind)| **kind == Kind::Folder) {
            if let Ok(meta) = look(&inside(&self.built, name)) {
                dress_folder(&inside(&self.to, name), meta.mode, Some(meta.modified))?;
            }
        }
        tree.sync()?;
        discard(job, &self.built)
    }

    /// What is to be in the folder in the end, also after some of it was moved out of the built one.
    fn contents(&self) -> Result<BTreeMap<String, Kind>, FileError> {
        let at = self.built.join(CONTENTS);
        if let Ok(bytes) = read_file(&at) {
            return serde_json::from_slice(&bytes).map_err(|error| FileError::Manifest { path: at, reason: error.to_string() });
        }
        let found = walk(&self.built, &Patterns::default())?;
        let contents: BTreeMap<String, Kind> = found.into_iter().map(|found| (found.name, found.meta.kind)).collect();
        let bytes = serde_json::to_vec(&contents).expect("names and kinds are plain data");
        write_atomically(&at, &bytes).map_err(io_error("write", &at))?;
        Ok(contents)
    }
}

impl FailedNote {
    fn load(failed: &Path) -> Option<Self> {
        serde_json::from_slice(&read_file(&failed.join(FAILED)).ok()?).ok()
    }
}
