//! `almaplan resume [RUN]`.

use almaplan_engine::runs::{FoundRun, Purpose, Runs};

use crate::cli::ResumeArgs;
use crate::diagnose::Refusal;
use crate::exit::{Exit, Intent};
use crate::terminal::Terminal;

use super::execute::execute;

/// Goes on with an interrupted, paused or stuck run.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &ResumeArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => open(runs.find(run)?)?,
        None => runs.find_open()?,
    };
    let Some(found) = found else {
        // What ended, but could not say so to the machine, is noted now.
        runs.forget_stale()?;
        terminal.tell("nothing-to-resume", &[]);
        return Ok(Exit::Ok);
    };
    execute(terminal, Intent::Forward, |options| runs.take_over(found, Purpose::Resume, options))
}

fn open(found: FoundRun) -> Result<Option<FoundRun>, Refusal> {
    if found.is_open() {
        return Ok(Some(found));
    }
    // "Nothing to resume" is not said of a run whose journal is damaged: nobody knows what became of that.
    found.records()?;
    Ok(None)
}
