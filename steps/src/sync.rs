//! The kind `sync`: puts a release in place, by renames alone where it was staged.
//!
//! ```text
//!  compare ─> copy of data (keep_data) ─> manifest of what is begun ─> delete, rename ─> sync ─> manifest of what is deployed
//! ```
//! A repetition after a crash anywhere ends in the same state; `restore` knows from the manifests what was touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{
    Deployed, FileError, Job, Kept, MANIFEST, Manifest, NEXT, Patterns, Placement, StagedNote, StagedRelease, Staging, beside, blocking,
    copy_tree, discard, io_error, is_own, is_same_file, may_stage, overlap, place, plan, present, real_target, stage, staged_release,
    sync_folder, walk, write_atomically,
};
use crate::stage::check_source;

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
    #[serde(default)]
    pub exclude: Option<Vec<String>>,
    /// A new folder for a copy of the data in the target as it is now, for `restore` with `data = "at-stop"`.
    #[serde(default)]
    pub keep_data: Option<PathBuf>,
    /// Whether every file is read to compare it (`false` without it), even where its length, times and number on the volume say that it
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

impl Step for Sync {
    const KIND: &'static str = "sync";
    const TRAITS: Traits = Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = SyncOutput;

    async fn run(&self, cx: &Context) -> Result<SyncOutput, Failure> {
        let work = Work::new(self, cx).map_err(Failure::clean)?;
        blocking(cx, move |job| work.run(job)).await
    }
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
    fn new(with: &Sync, cx: &Context) -> Result<Self, FileError> {
        let origin = match (&with.from, &with.staged) {
            (Some(from), None) => Origin::From(cx.path(from)),
            (None, Some(staged)) => Origin::Staged(cx.path(staged)),
            _ => return Err(FileError::Refused("give either `from` or `staged`".to_owned())),
        };
        let exclude = Patterns::new(with.exclude.as_deref().unwrap_or_default())?;
        let (to, checksum) = (real_target(&cx.path(&with.to)), with.checksum.unwrap_or(false));
        Ok(Self { origin, to, exclude, keep_data: with.keep_data.as_ref().map(|dir| cx.path(dir)), checksum })
    }

    fn run(&self, job: &Job) -> Result<SyncOutput, FileError> {
        if present(&self.to) && !self.to.is_dir() {
            return Err(FileError::Refused(format!("the target {} is not a folder", self.to.display())));
        }
        match &self.origin {
            Origin::Staged(staged) => self.place(job, staged),
            Origin::From(from) => self.stage_and_place(job, from),
        }
    }

    fn stage_and_place(&self, job: &Job, from: &Path) -> Result<SyncOutput, FileError> {
        check_source(from, &self.to)?;
        // In the target itself: whatever volume that is on, what follows are renames.
        let dir = self.to.join(".almaplan-staged");
        let is_new = !present(&self.to);
        may_stage(&dir)?;
        let staging = Staging { from, to: &self.to, dir: &dir, exclude: &self.exclude, whole: false, checksum: self.checksum };
        let placed = stage(job, &staging).and_then(|_| self.place(job, &dir));
        if placed.is_ok() || !(job.touched() || job.cx.is_cancelled()) {
            discard(job, &dir)?;
        }
        if placed.is_err() && is_new && !job.touched() {
            let _ = std::fs::remove_dir(&self.to);
        }
        placed
    }

    fn place(&self, job: &Job, staged: &Path) -> Result<SyncOutput, FileError> {
        let missing = || FileError::Refused(format!("{} holds no staged release; run `stage` again", staged.display()));
        // `stage` puts the deployed one there where it is the same.
        let is_linked = is_same_file(&staged.join(MANIFEST), &self.to.join(MANIFEST));
        let StagedRelease { manifest, mut note, compared } = staged_release(staged)?.ok_or_else(missing)?;
        let begun = Manifest::load(&self.to, NEXT)?;
        let compared = compared.filter(|compared| begun.is_none() && compared.is_deployed(&self.to));
        let as_compared = compared.is_some();
        let old = match compared {
            Some(compared) => Some(compared.release),
            None if is_linked => None,
            None => Manifest::load(&self.to, MANIFEST)?,
        };
        let (mut release, old) = (Arc::new(manifest), old.map(Arc::new));
        let is_same = is_linked || old.as_ref() == Some(&release);
        let old = if is_same { Some(Arc::clone(&release)) } else { old };
        let deployed = Deployed { old, begun };
        if let (Some(note), true, Origin::Staged(_)) = (&mut note, self.checksum, &self.origin) {
            note.deployed.clear();
        }
        // What was excluded from the release must not be deleted because the release has not got it.
        let exclude = self.exclude.with(note.as_ref().map_or(&[], |note| &note.exclude))?;
        let left_out = !exclude.texts().is_empty() && StagedNote::leave_out(note.as_mut(), &mut release, &exclude);
        let (to, note, as_staged) = (self.to.as_path(), note.as_ref(), !is_same && !left_out);
        let changes = plan(job, &Placement { staged, to, release: &release, as_staged, note, as_compared, exclude: &exclude }, &deployed)?;
        let changed = found_first(job, "changed", changes.moves.len())?;
        let deleted = found_first(job, "deleted", changes.deletes.len())?;
        let kept = self.keep_data.as_ref().map(|dir| self.keep(job, dir, &deployed, &release)).transpose()?;
        let as_staged = as_staged && release.kept == kept;
        if release.kept != kept {
            Arc::make_mut(&mut release).kept = kept;
        }
        if !changes.is_nothing() || deployed.begun.is_some() || deployed.old.as_ref() != Some(&release) {
            place(job, &Placement { staged, to, release: &release, as_staged, note, as_compared, exclude: &exclude }, &changes)?;
        }
        Ok(SyncOutput { changed, deleted, manifest: self.to.join(MANIFEST) })
    }

    /// Copies what belongs to no release, before anything is touched.
    fn keep(&self, job: &Job, dir: &Path, deployed: &Deployed, release: &Manifest) -> Result<Kept, FileError> {
        let run = job.cx.run().id.to_string();
        let marker = dir.join(KEPT);
        if std::fs::read_to_string(&marker).is_ok_and(|by| by == run) {
            return Ok(Kept { run, dir: dir.to_owned() });
        }
        if present(dir) || overlap(dir, &self.to) {
            return Err(FileError::Refused(format!(
                "`keep_data` is {}, which exists or is in the target; name a new folder outside",
                dir.display()
            )));
        }
        let parent = dir.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        let partial = beside(dir, ".partial");
        discard(job, &partial)?;
        copy_data(job, &self.to, &partial, |name| !is_own(name) && !deployed.has(name) && !release.has(name))?;
        let marker = partial.join(KEPT);
        write_atomically(&marker, run.as_bytes()).map_err(io_error("write", &marker))?;
        job.patiently("rename", &partial, || std::fs::rename(&partial, dir))?;
        sync_folder(parent).map_err(io_error("sync", parent))?;
        Ok(Kept { run, dir: dir.to_owned() })
    }
}

/// In a copy of data: the run that took it.
const KEPT: &str = ".almaplan-kept";

/// A repetition finds less to do; what the step did in all is what it found first.
fn found_first(job: &Job, name: &str, count: usize) -> Result<u64, FileError> {
    if count == 0 { Ok(job.recorded(name).unwrap_or(0)) } else { job.record(name, &(count as u64)) }
}

fn copy_data(job: &Job, from: &Path, to: &Path, is_data: impl Fn(&str) -> bool) -> Result<(), FileError> {
    let mut found = if present(from) { walk(from, &Patterns::default())? } else { Vec::new() };
    found.retain(|found| is_data(&found.name));
    copy_tree(job, &found, to)
}
