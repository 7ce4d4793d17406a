//! `almaplan resolve RUN STEP done|not-done`.

use almaplan_engine::event::Answer;
use almaplan_engine::journal::Demand;
use almaplan_engine::saga::Phase;
use serde_json::{Map, Value};

use crate::cli::{Assignment, Became, ResolveArgs};
use crate::diagnose::{Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session::{self, Purpose, Session};

use super::Globals;

/// Says what became of an unknown step, or answers an approval.
///
/// # Errors
/// Nobody asks about this step; nothing was touched.
pub fn run(args: &ResolveArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = machine::find(globals, &args.run)?;
    let about = || [("run", args.run.as_str().into()), ("step", args.step.as_str().into())];
    let may_answer = |globals: &Globals, found: &Found| {
        let saga = session::saga_of(globals, found)?;
        let step = saga.find(&args.step).ok_or_else(|| globals.refusal(Reason::UnknownStep, &about()))?;
        // What is live has no verdict yet: it waits for an answer, or it is lost with the process that ran it.
        match saga.step(step).phase {
            Phase::Unknown | Phase::Started if !saga.unwinding() => Ok(()),
            _ => Err(globals.refusal(Reason::NotAsked, &about())),
        }
    };
    may_answer(globals, &found)?;
    let by = machine::user();
    let answer = match args.answer {
        Became::Done => Answer::Done { outputs: outputs(&args.output), by },
        Became::NotDone => Answer::NotDone { by },
    };
    if machine::is_running(globals, &found.row)? {
        let demand = Demand::Resolve { step: args.step.clone(), answer };
        found.store.demand(&args.run, &demand).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
        globals.tell("resolve-told", &about());
        return Ok(Exit::Ok);
    }
    let mut session = Session::take_over(globals, found, Purpose::Answer, may_answer)?;
    session.resumed(globals)?;
    session.answer(globals, &args.step, answer)?;
    session.save(globals)?;
    globals.tell("resolve-kept", &about());
    globals.tell("next-command", &[("command", format!("almaplan resume {}", args.run).into())]);
    Ok(Exit::Ok)
}

/// Outputs as people write them: what reads as JSON is that, anything else is text.
fn outputs(given: &[Assignment]) -> Map<String, Value> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    given.iter().map(|output| (output.name.clone(), value(&output.value))).collect()
}
