//! `almaplan rollback [RUN]`.

use almaplan_engine::runs::{Purpose, Runs};

use crate::cli::UndoArgs;
use crate::diagnose::Refusal;
use crate::exit::{Exit, Intent};
use crate::terminal::Terminal;

use super::confirm::{Question, confirm};
use super::execute::execute;

/// Undoes a finished run: the one that is named, else the last successful one.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &UndoArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => runs.find(run)?,
        None => runs.find_newest_success()?,
    };
    runs.permits(Purpose::Rollback, &found, &found.replay(&runs.registry)?)?;
    if !args.yes {
        confirm(terminal.lang(), Question::Rollback, &found.row)?;
    }
    execute(terminal, Intent::Undo, |options| runs.take_over(found, Purpose::Rollback, options))
}
