//! `almaplan prune [--keep N] [--older-than D]`: a shorter history.

use almaplan_engine::runs::Runs;
use serde_json::json;

use crate::cli::PruneArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::terminal::{Terminal, print};

/// How many runs stay where nothing is said.
const KEEP: usize = 20;

/// Removes old settled runs, and tells how many.
///
/// # Errors
/// There is no history, it is damaged, or it cannot be written.
pub fn run(args: &PruneArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    // Who only says an age means all of that age.
    let keep = args.keep.unwrap_or(if args.older_than.is_some() { 0 } else { KEEP });
    let pruned = runs.prune(keep, args.older_than)?;
    if terminal.json(false) {
        print(&format!("{}\n", json!({ "removed": pruned.removed, "kept": pruned.kept })));
    } else {
        let told = [("removed", pruned.removed.len().into()), ("kept", pruned.kept.into())];
        print(&format!("{}\n", terminal.lang().with("history-pruned", &told)));
    }
    Ok(Exit::Ok)
}
