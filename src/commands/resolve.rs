//! `almaplan resolve RUN STEP done|not-done|undone|give-up`.

use almaplan_engine::runs::{Answered, Runs, Word, next_commands};
use serde_json::{Map, Value};

use crate::cli::{Assignment, Became, ResolveArgs};
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Says what became of an unknown step or of a compensation that is owed, or answers an approval.
///
/// # Errors
/// Nobody asks about this step, or it owes nothing; nothing was touched.
pub fn run(args: &ResolveArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = runs.find(&args.run)?;
    let run = found.row.run.clone();
    let word = match args.answer {
        Became::Done => Word::Done { outputs: outputs(&args.output) },
        Became::NotDone => Word::NotDone,
        Became::Undone => Word::Undone,
        Became::GiveUp => Word::GiveUp,
    };
    let about = [("run", run.as_str().into()), ("step", args.step.as_str().into())];
    match runs.answer(found.clone(), &args.step, word, args.because.clone())? {
        Answered::Told => terminal.tell("resolve-told", &about),
        Answered::Noted => {
            terminal.tell("resolve-kept", &about);
            let replay = found.replay(&runs.registry)?;
            terminal.tell_next(&next_commands(&run, replay.ending(), &replay.saga));
        }
    }
    Ok(Exit::Ok)
}

/// Outputs as people write them: what reads as JSON is that, anything else is text.
fn outputs(given: &[Assignment]) -> Map<String, Value> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    given.iter().map(|output| (output.name.clone(), value(&output.value))).collect()
}
