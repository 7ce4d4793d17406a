//! `almaplan runs`: history, the newest first.

use almaplan_engine::runs::Runs;

use crate::cli::RunsArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::models::runs::RunsView;
use crate::terminal::{Terminal, print};

use super::ask_now;

/// Shows the runs of the state folder; without one, the unsettled ones of the machine.
///
/// # Errors
/// A journal is damaged, or the machine's records cannot be read.
pub fn run(args: &RunsArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let view = RunsView::of(runs, &|checks| ask_now(runs, checks))?;
    print(&if terminal.json(args.json) { format!("{}\n", view.to_json()) } else { view.text(&terminal.formatter()) });
    Ok(Exit::Ok)
}
