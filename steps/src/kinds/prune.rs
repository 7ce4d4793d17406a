//! The kind `prune`: removes what is older than the newest few.

use std::path::PathBuf;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
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
    #[serde(deserialize_with = "checked::name_patterns")]
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

impl Kind for Prune {
    const KIND: &'static str = "prune";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);
    type Output = PruneOutput;

    async fn run(&self, cx: &Context) -> Result<PruneOutput, Failure> {
        let (dir, pattern, keep) = (cx.path(&self.dir), self.pattern.clone(), self.keep);
        let removed = files::blocking(cx, move |task| files::prune(task, &dir, &pattern, keep, &task.cx.needed())).await?;
        Ok(PruneOutput { removed })
    }
}
