//! `almaplan graph PLAN`: what needs what, for a terminal, Graphviz, Markdown or a browser.

use crate::cli::GraphArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::models::graph::GraphView;
use crate::terminal::{Terminal, print};

use super::checked_plan;

/// Draws the graph of a plan.
///
/// # Errors
/// The plan cannot be read, or has mistakes.
pub fn run(args: &GraphArgs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let plan = checked_plan(&args.plan, &almaplan_steps::registry(), terminal)?;
    print(&GraphView::of(&plan).draw(&terminal.formatter(), args.format));
    Ok(Exit::Ok)
}
