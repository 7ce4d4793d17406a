//! The history made shorter: old settled runs go, with their logs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::Runs;
use super::error::RunError;
use super::lookup::{is_open, is_success, journal};
use crate::event::RunId;
use crate::sqlite::RunRow;

/// What a shorter history has lost and kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The runs that went, newest first.
    pub removed: Vec<RunId>,
    /// How many stay.
    pub kept: usize,
}

impl Runs {
    /// Removes the settled runs that are neither among the `keep` newest nor younger than `older_than`. One that can still be gone on
    /// with or rolled back stays, and so do the runs of what another run works on just now. A run that went is unknown afterwards: its
    /// id may be given again.
    ///
    /// # Errors
    /// There is no history, it is damaged, or it cannot be written. What went until then is gone; the rest is as it was.
    pub fn prune(&self, keep: usize, older_than: Option<Duration>) -> Result<Pruned, RunError> {
        let store = self.store()?.ok_or(RunError::NoRun)?;
        let rows = store.runs().map_err(|error| journal(&store, error))?;
        let young = older_than.map(|age| Timestamp::now().saturating_sub(age).unwrap_or(Timestamp::MIN));
        let is_old = |row: &RunRow| young.is_none_or(|young| row.started_at < young);
        let needed = needed(&rows);
        let mut pruned = Pruned { removed: Vec::new(), kept: rows.len() };
        for row in rows.iter().skip(keep).filter(|row| is_old(row) && !needed.contains(&row.run)) {
            // Whoever rolls one back holds its lock, and makes another one the last that can be.
            let Ok(_held) = self.acquire(&row.lock, Duration::ZERO) else { continue };
            store.forget(&row.run).map_err(|error| journal(&store, error))?;
            pruned.kept -= 1;
            pruned.removed.push(row.run.clone());
        }
        if !pruned.removed.is_empty()
            && let Err(error) = store.compact()
        {
            tracing::warn!(%error, "the journal keeps its size, and has room in it");
        }
        Ok(pruned)
    }
}

/// The runs that somebody may go on with or roll back, of `rows`, newest first.
fn needed(rows: &[RunRow]) -> BTreeSet<RunId> {
    let mut has_success = BTreeSet::new();
    let mut is_needed = |row: &RunRow| is_open(row) || (is_success(row) && has_success.insert(row.lock.clone()));
    rows.iter().filter(|row| is_needed(row)).map(|row| row.run.clone()).collect()
}
