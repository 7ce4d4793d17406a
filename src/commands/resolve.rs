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
    let running = machine::is_running(globals, &found.row)?;
    let approval = answerable(globals, &found, args, running)?;
    let by = machine::user();
    let answer = match args.answer {
        Became::Done => Answer::Done { outputs: outputs(&args.output), by },
        Became::NotDone => Answer::NotDone { by },
    };
    // An approval hears its answer itself, also when it is asked again: it leaves who gave it, and a no fails it.
    if running || approval {
        let demand = Demand::Resolve { step: args.step.clone(), answer };
        found.store.demand(&args.run, &demand).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
        if running {
            globals.tell("resolve-told", &about());
            return Ok(Exit::Ok);
        }
    } else {
        let mut session =
            Session::take_over(globals, found, Purpose::Answer, |globals, found| answerable(globals, found, args, false).map(drop))?;
        session.resumed(globals)?;
        session.answer(globals, &args.step, answer)?;
        session.save(globals)?;
    }
    globals.tell("resolve-kept", &about());
    globals.tell("next-command", &[("command", format!("almaplan resume {}", args.run).into())]);
    Ok(Exit::Ok)
}

/// Whether the step that is answered is an approval. `running`: a process has the run.
///
/// # Errors
/// There is no such step, or nobody asks about it.
fn answerable(globals: &Globals, found: &Found, args: &ResolveArgs, running: bool) -> Result<bool, Refusal> {
    let refused = |reason| Err(globals.refusal(reason, &[("run", args.run.as_str().into()), ("step", args.step.as_str().into())]));
    let (plan, saga) = session::plan_and_saga(globals, found)?;
    let Some(step) = saga.find(&args.step) else { return refused(Reason::UnknownStep) };
    let approval = session::is_approval(&plan, step);
    // What is live has no verdict yet: an approval waits for the answer, and without a process anything is lost. Other work goes on
    // and tells by itself what becomes of it.
    match saga.step(step).phase {
        _ if saga.unwinding() => refused(Reason::NotAsked),
        Phase::Unknown => Ok(approval),
        Phase::Started if approval || !running => Ok(approval),
        _ => refused(Reason::NotAsked),
    }
}

/// Outputs as people write them: what reads as JSON is that, anything else is text.
fn outputs(given: &[Assignment]) -> Map<String, Value> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    given.iter().map(|output| (output.name.clone(), value(&output.value))).collect()
}
