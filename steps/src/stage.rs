//! The kind `stage`: the whole new release in a folder beside the target, while the service still runs.

use std::path::PathBuf;

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{FileError, Job, Patterns, Staged, Staging, beside, blocking, discard, may_stage, overlap, real_target, stage};

/// Builds the new release in a folder beside the target, every copy verified by its hash, while the service runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The folder with the new release.
    pub from: PathBuf,
    /// The folder that is deployed to; may not exist yet.
    pub to: PathBuf,
    /// What is no part of the release, and is not touched in the target either: patterns like those of a `.gitignore`.
    #[serde(default)]
    pub exclude: Option<Vec<String>>,
    /// Whether files that did not change are staged too (`true` without it). With `false` `dir` has only what `sync` needs, under names
    /// that only `sync` knows, which is much less work; if a file of the release changes in the target meanwhile, `sync` asks for another
    /// `stage`.
    #[serde(default)]
    pub whole: Option<bool>,
    /// Whether every file is read to compare it (`false` without it), even where its length, times and number on the volume say that it
    /// is what an earlier run read.
    #[serde(default)]
    pub checksum: Option<bool>,
}

/// What `stage` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StageOutput {
    /// The folder with the whole new release, absolute.
    pub dir: PathBuf,
    /// How many files the target does not have.
    pub added: u64,
    /// How many differ.
    pub changed: u64,
    /// How many of the release before are not in this one.
    pub deleted: u64,
    /// Bytes of the files that are added or differ.
    pub bytes: u64,
    /// How many files of both folders were read; the content of the others is known from an earlier run.
    pub read: u64,
}

impl Step for Stage {
    const KIND: &'static str = "stage";
    const TRAITS: Traits = Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = StageOutput;

    async fn run(&self, cx: &Context) -> Result<StageOutput, Failure> {
        let (from, to) = (cx.path(&self.from), real_target(&cx.path(&self.to)));
        let exclude = Patterns::new(self.exclude.as_deref().unwrap_or_default()).map_err(Failure::clean)?;
        let (whole, checksum) = (self.whole.unwrap_or(true), self.checksum.unwrap_or(false));
        let work = Work { from, to, exclude, whole, checksum };
        blocking(cx, move |job| work.run(job)).await
    }
}

struct Work {
    from: PathBuf,
    to: PathBuf,
    exclude: Patterns,
    whole: bool,
    checksum: bool,
}

impl Work {
    fn run(&self, job: &Job) -> Result<StageOutput, FileError> {
        check_source(&self.from, &self.to)?;
        // One name for all runs, so that what a failed one left is replaced by the next instead of piling up.
        let dir: PathBuf = job.record("dir", &beside(&self.to, ".almaplan-staged"))?;
        // Whatever is there is half of an earlier attempt, or what an earlier run left.
        may_stage(&dir)?;
        let staging =
            Staging { from: &self.from, to: &self.to, dir: &dir, exclude: &self.exclude, whole: self.whole, checksum: self.checksum };
        let staged = stage(job, &staging);
        if staged.is_err() && !job.cx.is_cancelled() {
            discard(job, &dir)?;
        }
        let Staged { added, changed, deleted, bytes, read } = staged?;
        Ok(StageOutput { dir, added, changed, deleted, bytes, read })
    }
}

/// Whether `from` is a folder that a release can be taken from.
pub(crate) fn check_source(from: &std::path::Path, to: &std::path::Path) -> Result<(), FileError> {
    if !from.is_dir() {
        return Err(FileError::Refused(format!("the source {} is no folder; check `from`", from.display())));
    }
    if overlap(from, to) {
        return Err(FileError::Refused(format!("the source {} and the target {} are inside one another", from.display(), to.display())));
    }
    if to.file_name().is_none() {
        return Err(FileError::Refused(format!("the target {} is a root: nothing can be beside it", to.display())));
    }
    Ok(())
}
