//! `almaplan status [RUN]`: where a run stands, what is owed, and the exact next command.

use almaplan_engine::runs::Runs;

use crate::cli::StatusArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::models::status::StatusView;
use crate::terminal::{Terminal, print};

use super::ask_now;

/// Tells where a run stands: the one that is named, else the newest.
///
/// # Errors
/// There is none, or its journal is damaged.
pub fn run(args: &StatusArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = runs.find_or_newest(args.run.as_ref())?;
    // Looked at before reading: a run that ends meanwhile is shown as ended.
    let pid = runs.process_of(&found.row)?;
    let replay = found.replay(&runs.registry)?;
    let mut view = StatusView::of(&found.row, pid, &replay);
    view.superseded = runs.newer_of(&found)?;
    if view.superseded.is_none()
        && let Some(wrong) = ask_now(runs, &replay.inputs(&found.row.run).service_checks())
    {
        view = view.asked(wrong);
    }
    print(&if terminal.json(args.json) { format!("{}\n", view.to_json()) } else { view.text(&terminal.formatter()) });
    Ok(Exit::Ok)
}
