//! `almaplan rollback [RUN]`.

use almaplan_engine::event::Outcome;
use almaplan_engine::sqlite::RunRow;

use crate::cli::UndoArgs;
use crate::diagnose::{Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session::{self, Purpose, Session};

use super::confirm::{Question, confirm};
use super::{Globals, abort};

/// Undoes a finished run: the one that is named, else the last successful one.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &UndoArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => machine::find(globals, run)?,
        None => newest_success(globals)?,
    };
    may_roll_back(globals, &found)?;
    if !args.yes {
        let command = format!("almaplan rollback {}", found.row.run);
        confirm(globals, Question::Rollback, found.row.run.as_str(), &found.row.plan_name, &command)?;
    }
    let mut session = Session::take_over(globals, found, Purpose::Undo, may_roll_back)?;
    session.undo(globals)?;
    session.resumed(globals)?;
    session.go_on(globals)
}

/// Only what succeeded, stands on top, and can be undone.
fn may_roll_back(globals: &Globals, found: &Found) -> Result<(), Refusal> {
    // Not by the row alone: who ran it may have died before it could note that it was over.
    let saga = session::saga_of(globals, found)?;
    let over = saga.finished() && saga.outcome() != Some(Outcome::Stuck);
    if !over && let Some(holder) = machine::record_of(globals, &found.row)? {
        return Err(machine::unsettled(globals, &holder));
    }
    if !is_success(&found.row) || !over {
        let outcome = found.row.outcome.map_or("-", Outcome::as_str);
        let args = [("run", found.row.run.as_str().into()), ("outcome", outcome.into())];
        return Err(globals.refusal(Reason::NothingToRollBack, &args));
    }
    // What a newer run put there would be overwritten by what was there before this one.
    let rows = machine::rows(globals, &found.store)?;
    let newer = rows.iter().take_while(|row| row.run != found.row.run).find(|row| row.lock == found.row.lock && is_success(row));
    if let Some(newer) = newer {
        let args = [("run", found.row.run.as_str().into()), ("newer", newer.run.as_str().into())];
        return Err(globals.refusal(Reason::NewerRun, &args));
    }
    abort::reversible(globals, found, &saga)
}

fn newest_success(globals: &Globals) -> Result<Found, Refusal> {
    let none = || globals.refusal(Reason::NoRun, &[]);
    let store = machine::store(globals)?.ok_or_else(none)?;
    let row = machine::rows(globals, &store)?.into_iter().find(is_success).ok_or_else(none)?;
    Ok(Found { store, row })
}

fn is_success(row: &RunRow) -> bool {
    matches!(row.outcome, Some(Outcome::Succeeded | Outcome::Warned))
}
