//! `almaplan abort [RUN]`.

use std::time::Duration;

use almaplan_engine::event::Outcome;
use almaplan_engine::journal::Demand;
use almaplan_engine::saga::Saga;
use almaplan_engine::update::{Ending, Update};
use jiff::Timestamp;

use crate::cli::UndoArgs;
use crate::diagnose::{Asked, Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session::{self, Purpose, Session};

use super::Globals;
use super::confirm::{Question, confirm};

/// How often a run that another process undoes is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stops an unsettled run, also one that another process is running, and undoes what it did.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &UndoArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => Some(machine::find(globals, run)?),
        None => machine::find_open(globals)?,
    };
    let Some(found) = found else {
        globals.tell("nothing-to-abort", &[]);
        return Ok(Exit::Ok);
    };
    may_abort(globals, &found)?;
    if !args.yes {
        let command = format!("almaplan abort {}", found.row.run);
        confirm(globals, Question::Abort, found.row.run.as_str(), &found.row.plan_name, &command)?;
    }
    if machine::is_running(globals, &found.row)?
        && let Some(exit) = ask_who_runs_it(globals, &found)?
    {
        return Ok(exit);
    }
    let mut session = Session::take_over(globals, found, Purpose::Undo, may_abort)?;
    session.resumed(globals)?;
    session.undo(globals)?;
    session.go_on(globals)
}

/// Only a run that is not over can be aborted, and only while there is a way back.
fn may_abort(globals: &Globals, found: &Found) -> Result<(), Refusal> {
    let saga = session::saga_of(globals, found)?;
    // Not by the row alone: who ran it may have died before it could note that it was over.
    let over = saga.finished() && saga.outcome() != Some(Outcome::Stuck);
    if over || !machine::is_open(&found.row) {
        let outcome = saga.outcome().map_or("-", Outcome::as_str);
        return Err(globals.refusal(Reason::AlreadySettled, &[("run", found.row.run.as_str().into()), ("outcome", outcome.into())]));
    }
    reversible(globals, found, &saga)
}

/// Something irreversible started: there is no way back any more.
///
/// # Errors
/// That.
pub(super) fn reversible(globals: &Globals, found: &Found, saga: &Saga) -> Result<(), Refusal> {
    if saga.reversible() {
        return Ok(());
    }
    let started = saga.forward().find(|&i| saga.shape().steps[i].irreversible && saga.step(i).attempt > 0);
    let step = started.map(|i| saga.shape().steps[i].id.to_string()).unwrap_or_default();
    Err(globals.refusal(Reason::Irreversible, &[("run", found.row.run.as_str().into()), ("step", step.into())]))
}

/// Tells the process that has the run, and waits until that is done with it; `None` where it ended without having undone the run.
fn ask_who_runs_it(globals: &Globals, found: &Found) -> Result<Option<Exit>, Refusal> {
    let began = std::time::Instant::now();
    let refused = |error| machine::journal_refused(globals, found.store.dir(), &error);
    found.store.demand(&found.row.run, &Demand::Abort { by: machine::user() }).map_err(refused)?;
    globals.tell("abort-asked", &[("run", found.row.run.as_str().into())]);
    while machine::is_running(globals, &found.row)? {
        std::thread::sleep(LOOK_EVERY);
    }
    let saga = session::saga_of(globals, found)?;
    let Some(outcome @ (Outcome::Compensated | Outcome::Stuck)) = saga.outcome().filter(|_| saga.finished()) else { return Ok(None) };
    let ending = Ending::Settled(outcome);
    globals.output(Asked::Undo).show(Timestamp::now(), &Update::Ended { ending, seconds: began.elapsed().as_secs_f64() });
    for command in session::next_commands(&found.row.run, ending, &saga) {
        globals.tell("next-command", &[("command", command.into())]);
    }
    Ok(Some(Exit::of(ending, Asked::Undo)))
}
