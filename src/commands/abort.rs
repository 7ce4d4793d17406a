//! `almaplan abort [RUN]`.

use std::time::Duration;

use almaplan_engine::journal::Demand;
use almaplan_engine::update::Ending;

use crate::cli::UndoArgs;
use crate::diagnose::{Asked, Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session::{self, Session};

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
    if !machine::is_open(&found.row) {
        let outcome = found.row.outcome.map_or_else(String::new, |outcome| outcome.as_str().to_owned());
        return Err(globals.refusal(Reason::AlreadySettled, &[("run", found.row.run.as_str().into()), ("outcome", outcome.into())]));
    }
    refuse_irreversible(globals, &found)?;
    if !args.yes {
        let command = format!("almaplan abort {}", found.row.run);
        confirm(globals, Question::Abort, found.row.run.as_str(), &found.row.plan_name, &command)?;
    }
    let claims = machine::claims(globals)?;
    if claims.is_held(&found.row.lock).map_err(|error| machine::lock_refused(globals, &error))? {
        return ask_who_runs_it(globals, &found);
    }
    let mut session = Session::take_over(globals, found, Asked::Undo)?;
    session.resumed(globals)?;
    session.undo(globals)?;
    session.go_on(globals)
}

/// Something irreversible started: there is no way back any more.
///
/// # Errors
/// That.
pub(super) fn refuse_irreversible(globals: &Globals, found: &Found) -> Result<(), Refusal> {
    let saga = session::saga_of(globals, found)?;
    if saga.reversible() {
        return Ok(());
    }
    let started = saga.forward().find(|&i| saga.shape().steps[i].irreversible && saga.step(i).attempt > 0);
    let step = started.map(|i| saga.shape().steps[i].id.to_string()).unwrap_or_default();
    Err(globals.refusal(Reason::Irreversible, &[("run", found.row.run.as_str().into()), ("step", step.into())]))
}

/// Tells the process that has the run, and waits until that is done with it.
fn ask_who_runs_it(globals: &Globals, found: &Found) -> Result<Exit, Refusal> {
    let refused = |error| machine::journal_refused(globals, found.store.dir(), &error);
    found.store.demand(&found.row.run, &Demand::Abort { by: machine::user() }).map_err(refused)?;
    globals.tell("abort-asked", &[("run", found.row.run.as_str().into())]);
    let claims = machine::claims(globals)?;
    while claims.is_held(&found.row.lock).map_err(|error| machine::lock_refused(globals, &error))? {
        std::thread::sleep(LOOK_EVERY);
    }
    let saga = session::saga_of(globals, found)?;
    let ending = saga.outcome().map_or(Ending::Interrupted, Ending::Settled);
    for command in session::next_commands(&found.row.run, ending, &saga) {
        globals.tell("next-command", &[("command", command.into())]);
    }
    Ok(Exit::of(ending, Asked::Undo))
}
