//! The kind `sync`: puts a release in place, by renames alone where it was staged.
//!
//! ```text
//!  compare ─> copy of data (keep_data) ─> manifest of what is begun ─> delete, rename ─> sync ─> manifest of what is deployed
//! ```
//! A repetition after a crash anywhere ends in the same state; `restore` knows from the manifests what was touched.

use std::path::{Path, PathBuf};

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Becomes, Before, Found, Preview, Told};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::{
    BlockingTask, FileError, Patterns, Root, beside, blocking, copy_tree, discard, inside, io_error, look, make_way, overlap, present,
    real_target, root_attributes, walk, write_in,
};
use crate::release::{
    Deployed, Difference, Installation, Kept, MANIFEST, Manifest, ReleaseError, Saved, Source, StagedRelease, Staging, check_source,
    close_to, install, is_own, may_stage, plan, stage,
};

/// Puts a release in place. Deletes only what the release before had and this one has not; files that people or the service made stay.
///
/// The journals of a SQLite database that the release replaces go with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The folder with the release. Either this or `staged`.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// The folder that `stage` built. Either this or `from`.
    #[serde(default)]
    pub staged: Option<PathBuf>,
    /// The folder to deploy to; created where it does not exist.
    pub to: PathBuf,
    /// What is neither put in place nor deleted, as patterns like those of a `.gitignore`; what `stage` excluded is excluded here too.
    #[serde(default, deserialize_with = "checked::patterns")]
    pub exclude: Option<Vec<String>>,
    /// A new folder for a copy of the data in the target as it is now, for `restore` with `data = "at-stop"`.
    #[serde(default)]
    pub keep_data: Option<PathBuf>,
    /// Whether every file is read to compare it (`false` without it), even where its length, times and inode say that it
    /// is what an earlier step or run read.
    #[serde(default)]
    pub checksum: Option<bool>,
}

/// What `sync` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SyncOutput {
    /// How many files were put in place.
    pub changed: u64,
    /// How many were deleted.
    pub deleted: u64,
    /// The manifest of the release, absolute.
    pub manifest: PathBuf,
}

impl Kind for Sync {
    const KIND: &'static str = "sync";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = SyncOutput;

    async fn run(&self, cx: &Context) -> Result<SyncOutput, Failure> {
        let work = Work::new(self, cx).map_err(Failure::clean)?;
        blocking(cx, move |task| work.run(task)).await
    }

    async fn preview(&self, cx: &Context, before: &Before) -> Preview {
        let work = match Work::new(self, cx) {
            Ok(work) => work,
            Err(error) => return Preview::failure(Failure::clean(error)),
        };
        let (to, exclude) = (work.to.clone(), self.exclude.clone().unwrap_or_default());
        let preview = match &work.origin {
            Origin::Staged(staged) => return staged_preview(before.find(staged)).change(to, Becomes::Unknown),
            Origin::From(from) => match Source::of(from, before) {
                Err(preview) => *preview,
                Ok(source) => {
                    let (at, exclude, checksum) = (to.clone(), exclude.clone(), work.checksum);
                    let found = blocking(cx, move |task| {
                        Ok::<_, ReleaseError>((Difference::find(task, &source, &at, &exclude, checksum)?, source))
                    });
                    match found.await {
                        Err(failure) => return Preview::failure(failure),
                        Ok((found, source)) => {
                            let would = if found.is_none() { Preview::nothing() } else { Preview::default() };
                            let counts = [("changed", found.added.len() + found.changed.len()), ("deleted", found.deleted.len())];
                            let preview = counts.into_iter().fold(would, |preview, (name, count)| preview.output(name, count as u64));
                            found.told(&source).into_iter().fold(preview, Preview::tell)
                        }
                    }
                }
            },
        };
        let copy = |from: &Path| Becomes::CopyOf { from: from.to_owned(), exclude };
        match &work.origin {
            Origin::From(from) => preview.change(to, copy(from)),
            Origin::Staged(_) => preview,
        }
    }
}

/// What putting in place does that another step stages first.
fn staged_preview(staged: Found<'_>) -> Preview {
    let outputs = match staged {
        Found::Made(outputs) => outputs,
        Found::After(step) => return Preview::after(step),
        Found::Here | Found::Copied { .. } => return Preview::default(),
    };
    let count = |name: &str| outputs.get(name).and_then(serde_json::Value::as_u64);
    let (Some(added), Some(changed), Some(deleted)) = (count("added"), count("changed"), count("deleted")) else {
        return Preview::default();
    };
    if added + changed + deleted == 0 {
        return Preview::nothing();
    }
    Preview::default().tell(Told::new("files-moved").field("moved", added + changed).field("deleted", deleted))
}

enum Origin {
    From(PathBuf),
    Staged(PathBuf),
}

struct Work {
    origin: Origin,
    to: PathBuf,
    exclude: Patterns,
    keep_data: Option<PathBuf>,
    checksum: bool,
}

impl Work {
    fn new(with: &Sync, cx: &Context) -> Result<Self, ReleaseError> {
        let origin = match (&with.from, &with.staged) {
            (Some(from), None) => Origin::From(cx.path(from)),
            (None, Some(staged)) => Origin::Staged(cx.path(staged)),
            _ => return Err(ReleaseError::Origin),
        };
        let exclude = Patterns::new(with.exclude.as_deref().unwrap_or_default())?;
        let (to, checksum) = (real_target(&cx.path(&with.to))?, with.checksum.unwrap_or(false));
        Ok(Self { origin, to, exclude, keep_data: with.keep_data.as_ref().map(|dir| cx.path(dir)), checksum })
    }

    fn run(&self, task: &BlockingTask) -> Result<SyncOutput, ReleaseError> {
        if present(&self.to) && !self.to.is_dir() {
            return Err(ReleaseError::NoFolder(self.to.clone()));
        }
        match &self.origin {
            Origin::Staged(staged) => self.install(task, staged),
            Origin::From(from) => self.stage_and_install(task, from),
        }
    }

    fn stage_and_install(&self, task: &BlockingTask, from: &Path) -> Result<SyncOutput, ReleaseError> {
        check_source(from, &self.to)?;
        let is_new = !present(&self.to);
        let dir = self.staging_folder();
        may_stage(&dir)?;
        let staging = Staging { from, to: &self.to, dir: &dir, exclude: &self.exclude, whole: false, checksum: self.checksum };
        let close = || -> Result<(), ReleaseError> {
            let (Ok(source), true) = (look(from), is_new) else { return Ok(()) };
            Ok(close_to(task, &Root::open_real(&self.to).map_err(io_error("open the folder", &self.to))?, source.mode)?)
        };
        let installed = stage(task, &staging).and_then(|_| close()).and_then(|()| self.install(task, &dir));
        if installed.is_ok() || !(task.touched() || task.cx.is_cancelled()) {
            discard(task, &dir)?;
        }
        if installed.is_err() && is_new && !task.touched() {
            let _ = std::fs::remove_dir(&self.to);
        }
        installed
    }

    /// In the target itself: whatever volume that is on, what follows are renames. Where somebody else could put anything in the place of
    /// the folder there, beside the target.
    fn staging_folder(&self) -> PathBuf {
        let is_foreign = present(&self.to) && !Root::open_real(&self.to).is_ok_and(|to| !to.is_foreign());
        if is_foreign { beside(&self.to, ".almaplan-staged") } else { self.to.join(".almaplan-staged") }
    }

    fn install(&self, task: &BlockingTask, staged: &Path) -> Result<SyncOutput, ReleaseError> {
        let missing = || ReleaseError::NotStaged(staged.to_owned());
        let StagedRelease { mut manifest, mut metadata } = StagedRelease::load(staged)?.ok_or_else(missing)?;
        let deployed = Deployed::load(&self.to)?;
        if let (Some(metadata), true, Origin::Staged(_)) = (&mut metadata, self.checksum, &self.origin) {
            metadata.unchanged.clear();
        }
        let metadata = metadata.as_ref();
        // What was excluded from the release must not be deleted because the release has not got it.
        let exclude = self.exclude.with(metadata.map_or(&[], |metadata| &metadata.exclude))?;
        let left_out = manifest.leave_out(&exclude);
        let installation = Installation { staged, to: &self.to, release: &manifest, is_as_staged: !left_out, metadata, exclude: &exclude };
        let changes = plan(task, &installation, &deployed)?;
        if let Some(saved) = Saved::of(task, &self.to)? {
            let is_there = |name: &&String| present(&inside(&self.to, name));
            saved.check(changes.moves.iter().chain(&changes.deletes).filter(is_there))?;
        }
        let changed = found_first(task, "changed", changes.moves.len())?;
        let deleted = found_first(task, "deleted", changes.deletes.len())?;
        let kept = self.keep_data.as_ref().map(|dir| self.keep(task, dir, &deployed, &manifest)).transpose()?;
        let with_kept;
        let installation = if kept == manifest.kept {
            installation
        } else {
            with_kept = Manifest { kept, ..manifest.clone() };
            Installation { release: &with_kept, is_as_staged: false, ..installation }
        };
        if !changes.is_nothing() || deployed.begun.is_some() || deployed.old.as_ref() != Some(installation.release) {
            install(task, &installation, &changes)?;
        }
        Ok(SyncOutput { changed, deleted, manifest: self.to.join(MANIFEST) })
    }

    /// Copies what belongs to no release, before anything is touched.
    fn keep(&self, task: &BlockingTask, dir: &Path, deployed: &Deployed, release: &Manifest) -> Result<Kept, ReleaseError> {
        let kept = Kept { run: task.cx.run().id.to_string(), dir: dir.to_owned() };
        if kept.is_there() {
            return Ok(kept);
        }
        if present(dir) || overlap(dir, &self.to) {
            return Err(ReleaseError::KeepData(dir.to_owned()));
        }
        let parent = dir.parent().unwrap_or(dir);
        make_way(parent).map_err(io_error("create", parent))?;
        let partial = beside(dir, ".partial");
        discard(task, &partial)?;
        copy_data(task, &self.to, &partial, |name| !is_own(name) && !deployed.has(name) && !release.has(name))?;
        let written = Root::open_real(&partial).and_then(|partial| write_in(&partial, Kept::MARKER, kept.run.as_bytes()));
        written.map_err(io_error("write in", &partial))?;
        let (folder, name) = Root::above(&partial).map_err(io_error("open the folder of", &partial))?;
        let (_, kept_name) = Root::above(dir).map_err(io_error("open the folder of", dir))?;
        task.patiently("rename", &partial, || folder.rename(&name, &folder, &kept_name))?;
        folder.sync_folder("").map_err(io_error("sync", parent))?;
        Ok(kept)
    }
}

/// A repetition finds less to do; what the step did in all is what it found first.
fn found_first(task: &BlockingTask, name: &str, count: usize) -> Result<u64, FileError> {
    if count == 0 { Ok(task.recorded(name).unwrap_or(0)) } else { task.record(name, &(count as u64)) }
}

fn copy_data(task: &BlockingTask, from: &Path, to: &Path, is_data: impl Fn(&str) -> bool) -> Result<(), FileError> {
    if !present(from) {
        return copy_tree(task, &[], to, None);
    }
    let mut found = walk(from, &Patterns::default())?;
    found.retain(|found| is_data(&found.name));
    // No more open than the folder that it is of.
    let itself = root_attributes(&Root::open_real(from).map_err(io_error("open the folder", from))?)?;
    copy_tree(task, &found, to, Some(&itself))
}
