//! The kind `stage`: the whole new release in a folder beside the target, while the service still runs.

use std::path::PathBuf;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Becomes, Before, Preview};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::{BlockingTask, Patterns, beside, blocking, discard, real_target};
use crate::release::{Difference, ReleaseError, Source, Staged, Staging, check_source, may_stage, stage};

/// Builds the new release in a folder beside the target, every copy verified by its hash, while the service runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The folder with the new release.
    pub from: PathBuf,
    /// The folder that is deployed to; may not exist yet.
    pub to: PathBuf,
    /// What is no part of the release, and is not touched in the target either: patterns like those of a `.gitignore`.
    #[serde(default, deserialize_with = "checked::patterns")]
    pub exclude: Option<Vec<String>>,
    /// Whether files that did not change are staged too (`true` without it). With `false` `dir` has only what `sync` needs, which is much
    /// less work; if a file of the release changes in the target meanwhile, `sync` asks for another `stage`.
    #[serde(default)]
    pub whole: Option<bool>,
    /// Whether every file is read to compare it (`false` without it), even where its length, times and inode say that it
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

impl Kind for Stage {
    const KIND: &'static str = "stage";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = StageOutput;

    async fn run(&self, cx: &Context) -> Result<StageOutput, Failure> {
        let (from, to) = (cx.path(&self.from), real_target(&cx.path(&self.to)).map_err(Failure::clean)?);
        let exclude = Patterns::new(self.exclude.as_deref().unwrap_or_default()).map_err(Failure::clean)?;
        let (whole, checksum) = (self.whole.unwrap_or(true), self.checksum.unwrap_or(false));
        let work = Work { from, to, exclude, whole, checksum };
        blocking(cx, move |task| work.run(task)).await
    }

    /// It always builds the folder; whether that differs from what is deployed is what people want to know.
    async fn preview(&self, cx: &Context, before: &Before) -> Preview {
        let to = match real_target(&cx.path(&self.to)) {
            Ok(to) => to,
            Err(error) => return Preview::failure(Failure::clean(error)),
        };
        let dir = beside(&to, STAGED);
        let preview = Preview::default().output("dir", dir.display().to_string());
        let source = match Source::of(&cx.path(&self.from), before) {
            Ok(source) => source,
            Err(unclear) => return Preview { would: unclear.would, ..preview }.change(dir, Becomes::Unknown),
        };
        let (exclude, checksum) = (self.exclude.clone().unwrap_or_default(), self.checksum.unwrap_or(false));
        let found = blocking(cx, move |task| {
            may_stage(&beside(&to, STAGED))?;
            Ok::<_, ReleaseError>((Difference::find(task, &source, &to, &exclude, checksum)?, source))
        });
        let (found, source) = match found.await {
            Ok(found) => found,
            Err(failure) => return Preview::failure(failure),
        };
        let counts = [("added", &found.added), ("changed", &found.changed), ("deleted", &found.deleted)];
        let preview = counts.into_iter().fold(preview, |preview, (name, names)| preview.output(name, names.len() as u64));
        let preview = found.told(&source).into_iter().fold(preview.output("bytes", found.bytes), Preview::tell);
        let made = Becomes::Made(preview.outputs.clone());
        preview.change(dir, made)
    }
}

/// What the name of the staged folder ends with, beside the target.
const STAGED: &str = ".almaplan-staged";

struct Work {
    from: PathBuf,
    to: PathBuf,
    exclude: Patterns,
    whole: bool,
    checksum: bool,
}

impl Work {
    fn run(&self, task: &BlockingTask) -> Result<StageOutput, ReleaseError> {
        check_source(&self.from, &self.to)?;
        // One name for all runs, so that what a failed one left is replaced by the next instead of piling up.
        let dir: PathBuf = task.record("dir", &beside(&self.to, STAGED))?;
        // Whatever is there is half of an earlier attempt, or what an earlier run left.
        may_stage(&dir)?;
        let staging =
            Staging { from: &self.from, to: &self.to, dir: &dir, exclude: &self.exclude, whole: self.whole, checksum: self.checksum };
        let staged = stage(task, &staging);
        if staged.is_err() && !task.cx.is_cancelled() {
            discard(task, &dir)?;
        }
        let Staged { added, changed, deleted, bytes, read } = staged?;
        Ok(StageOutput { dir, added, changed, deleted, bytes, read })
    }
}
