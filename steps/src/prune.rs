//! The kind `prune`: removes what is older than the newest few.

use std::path::PathBuf;

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files;

/// Removes files and folders but the newest few: backups, failed folders, environments.
///
/// Never what the current version or an unfinished run needs. A folder that does not exist is empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// The folder they are in.
    pub dir: PathBuf,
    /// Which names in it, like `App_Backup_*.zip`.
    pub pattern: String,
    /// How many of the newest stay: newest by the `20260206_141502` in their names where all have one, else by when they were modified.
    pub keep: usize,
}

/// What `prune` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PruneOutput {
    /// What was removed, absolute.
    pub removed: Vec<PathBuf>,
}

impl Step for Prune {
    const KIND: &'static str = "prune";
    const TRAITS: Traits = Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = PruneOutput;

    async fn run(&self, cx: &Context) -> Result<PruneOutput, Failure> {
        let (dir, pattern, keep) = (cx.path(&self.dir), self.pattern.clone(), self.keep);
        let removed = files::blocking(cx, move |job| files::prune(job, &dir, &pattern, keep, &job.cx.needed())).await?;
        Ok(PruneOutput { removed })
    }
}
