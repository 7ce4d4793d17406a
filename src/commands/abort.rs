//! `almaplan abort [RUN]`.

use std::time::{Duration, Instant};

use almaplan_engine::event::Outcome;
use almaplan_engine::runs::{FoundRun, Purpose, Runs, next_commands};
use almaplan_engine::update::{Ending, Update};
use jiff::Timestamp;

use crate::cli::UndoArgs;
use crate::diagnose::Refusal;
use crate::exit::{Exit, Intent};
use crate::terminal::Terminal;

use super::confirm::{Question, confirm};
use super::execute::execute;

/// How often a run that another process undoes is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stops an unsettled run, also one that another process is running, and undoes what it did.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &UndoArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => Some(runs.find(run)?),
        None => runs.find_open()?,
    };
    let Some(found) = found else {
        terminal.tell("nothing-to-abort", &[]);
        return Ok(Exit::Ok);
    };
    runs.permits(Purpose::Abort, &found, &found.replay(&runs.registry)?)?;
    if !args.yes {
        confirm(terminal.lang(), Question::Abort, &found.row)?;
    }
    if runs.process_of(&found.row)?.is_some()
        && let Some(exit) = ask_who_runs_it(&found, runs, terminal)?
    {
        return Ok(exit);
    }
    execute(terminal, Intent::Undo, |options| runs.take_over(found, Purpose::Abort, options))
}

/// Tells the process that has the run, and waits until that is done with it; `None` where it ended without having undone the run.
fn ask_who_runs_it(found: &FoundRun, runs: &Runs, terminal: &Terminal) -> Result<Option<Exit>, Refusal> {
    let began = Instant::now();
    runs.ask_to_abort(found)?;
    terminal.tell("abort-asked", &[("run", found.row.run.as_str().into())]);
    while runs.process_of(&found.row)?.is_some() {
        std::thread::sleep(LOOK_EVERY);
    }
    let replay = found.replay(&runs.registry)?;
    let ending = replay.ending();
    if !matches!(ending, Ending::Settled(Outcome::Compensated | Outcome::Stuck)) {
        return Ok(None);
    }
    let (answers, downtime) = (replay.saga.answers(), replay.saga.downtime());
    let seconds = began.elapsed().as_secs_f64();
    let output = terminal.output(Intent::Undo)?;
    output.show(Timestamp::now(), Update::Ended { ending, seconds, answers, downtime });
    output.shown().wait();
    terminal.tell_next(&next_commands(&found.row.run, ending, &replay.saga));
    Ok(Some(Exit::of(ending, Intent::Undo, answers)))
}
