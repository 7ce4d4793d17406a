//! One scripted run for the tests of views: what happens in it is what a person has to be able to follow.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use almaplan_engine::event::{AnswerFault, Direction, Downtime, Failure, Outcome, Release, RunId, Standing, StepId, WrongAnswer};
use almaplan_engine::runs::{ClosedDebt, Meaning, NextAction, NextAnswer, NextCommand};
use almaplan_engine::update::{Ending, Level, State, StepUpdate, Stream, Unit, Update};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::format::Formatter;
use super::recap::{Left, Recap, RecapStep};
use super::serving::Serving;
use super::titles::title;
use crate::lang::{Lang, Language};

/// 2026-02-06 14:15:02 UTC, and `ms` later.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_770_387_302_000 + ms).unwrap()
}

pub(crate) fn fmt(language: Language) -> Formatter {
    Formatter { lang: Arc::new(Lang::new(language)), zone: TimeZone::UTC, color: false, width: None, verbose: false }
}

pub(crate) fn id(step: &str) -> StepId {
    StepId::new(step)
}

/// What the plan says about a step.
fn described(step: &str) -> Option<String> {
    let text = match step {
        "backup" => "Backup completo da pasta de produção",
        "update" => "Versão nova na pasta de produção",
        "health" => "O sistema responde, e é a versão nova que responde",
        _ => return None,
    };
    Some(text.to_owned())
}

pub(crate) fn step(step: &str, direction: Direction, state: State, seconds: Option<f64>, failure: Option<Failure>) -> Update {
    let attempts = [State::Started, State::Retrying, State::UndoStarted, State::UndoRetrying];
    let attempt = if attempts.contains(&state) { 1 } else { 0 };
    let uses = if step == "backup" { "backup" } else { "command" };
    Update::Step(StepUpdate {
        step: id(step),
        description: described(step),
        uses: uses.to_owned(),
        direction,
        state,
        attempt,
        seconds,
        outputs: None,
        failure,
    })
}

pub(crate) fn broken() -> Failure {
    let tail = ["Traceback (most recent call last):", "  File \"app.py\", line 3", "\u{1b}[31mKeyError: 'região'\u{1b}[0m"];
    let (head, body) = (json!({ "key": "head-direct", "path": "/", "status": 500 }), json!({ "key": "body-empty" }));
    let failure = Failure::dirty("http://127.0.0.1:5000/ answered 500 instead of 200\nlast answer: Internal Server Error");
    let words = serde_json::from_value(json!({ "key": "check-status", "head": head, "expected": [200], "body": body })).ok();
    Failure { words, ..failure }.with_tail(tail.map(str::to_owned))
}

/// A run that fails and is compensated, with every sort of update in it.
pub(crate) fn failing() -> Vec<(Timestamp, Update)> {
    use Direction::{Finally, Forward, Undo};
    let note = |step: &str, level, message: &str| Update::note(id(step), level, message);
    let log = |step: &str, stream, line: &str| Update::Log { step: id(step), stream, line: line.to_owned() };
    let progress = |step: &str, done, total, unit| Update::Progress { step: id(step), done, total, unit };
    let outputs = |update: Update| match update {
        Update::Step(step) => Update::Step(StepUpdate {
            outputs: Some(json!({ "archive": "/srv/backups/a.zip", "files": 318, "bytes": 12_400_000 })),
            ..step
        }),
        other => other,
    };
    let attempt = |update: Update, attempt: u32| match update {
        Update::Step(step) => Update::Step(StepUpdate { attempt, ..step }),
        other => other,
    };
    let once = Failure::clean("connection refused");
    vec![
        (0, Update::Run { run: RunId::new("20260206-141502-k3f9"), plan: "almareia-producao".to_owned(), resumed: false, steps: 7 }),
        (10, step("backup", Forward, State::Started, None, None)),
        (20, step("tests", Forward, State::Started, None, None)),
        (500, progress("backup", 1_048_576, Some(52_428_800), Unit::Bytes)),
        (900, log("tests", Stream::Stdout, "collected 3 items")),
        (1500, progress("backup", 31_457_280, Some(52_428_800), Unit::Bytes)),
        (1900, progress("backup", 52_428_800, Some(52_428_800), Unit::Bytes)),
        (1940, outputs(step("backup", Forward, State::Succeeded, Some(1.93), None))),
        (2000, note("tests", Level::Warning, "one test was skipped")),
        (2100, step("tests", Forward, State::Succeeded, Some(2.08), None)),
        (2110, step("migrate", Forward, State::Skipped, None, None)),
        (2200, step("update", Forward, State::Started, None, None)),
        (2300, Update::Reachable(false)),
        (3200, step("update", Forward, State::Succeeded, Some(1.0), None)),
        (3210, step("health", Forward, State::Started, None, None)),
        (4000, step("health", Forward, State::Retrying, Some(0.79), Some(once))),
        (5000, attempt(step("health", Forward, State::Started, None, None), 2)),
        (5100, progress("health", 3, Some(10), Unit::Attempts)),
        (8000, step("health", Forward, State::Failed, Some(3.0), Some(broken()))),
        (8010, Update::Unwinding { because: Some(id("health")), failure: Some(broken()), owes: true, changed: true }),
        (8020, step("watch", Forward, State::NotRun, None, None)),
        (8030, step("update", Undo, State::UndoStarted, None, None)),
        (8100, step("update", Undo, State::UndoRetrying, Some(0.07), Some(Failure::dirty("`app.log` is held by another program")))),
        (9100, attempt(step("update", Undo, State::UndoStarted, None, None), 2)),
        (9510, step("update", Undo, State::Undone, Some(0.41), None)),
        (9600, step("tests", Undo, State::Undone, None, Some(Failure::dirty("the report could not be removed")))),
        (9700, Update::Reachable(true)),
        (9800, note("record", Level::Alert, "the console was told")),
        (9900, step("record", Finally, State::Succeeded, Some(0.05), None)),
        (9950, Update::Stopping { grace_s: 10 }),
        (9960, Update::Live { downtime: Some(Downtime { ms: 12_300, approximate: false }), answers: Some(true) }),
        (
            10_000,
            Update::Ended {
                ending: Ending::Settled(Outcome::Compensated),
                seconds: 9.9996,
                answers: Some(true),
                downtime: Some(Downtime { ms: 7400, approximate: false }),
            },
        ),
    ]
    .into_iter()
    .map(|(ms, update)| (at(ms), update))
    .collect()
}

/// An address that answers wrongly.
pub(crate) fn wrong() -> WrongAnswer {
    WrongAnswer { url: "http://127.0.0.1:5000/login".to_owned(), found: AnswerFault::Status(500) }
}

fn serving(ending: Ending) -> Serving {
    let (standing, release, version) = match ending {
        Ending::Settled(Outcome::Succeeded | Outcome::Warned) => (Standing::Done, Some(Release::New), Some("1.1.0".to_owned())),
        Ending::Settled(Outcome::Compensated) => (Standing::Undone, None, None),
        Ending::Settled(Outcome::Stuck) | Ending::Paused | Ending::Interrupted => (Standing::Open, None, None),
    };
    let down = ending == Ending::Settled(Outcome::Stuck);
    Serving { standing, release, version, answers: Some(!down), wrong: down.then(wrong), unmeasured: false }
}

/// What a process that leaves its run with `ending` could say.
pub(crate) fn recap(ending: Ending) -> Recap {
    let step = |step: &str, state: Option<State>| RecapStep {
        id: id(step),
        title: title(&id(step), described(step).as_deref()),
        state,
        failure: None,
        tolerated: false,
        undo_failure: None,
    };
    let failed = |name: &str, state, tolerated| RecapStep { failure: Some(broken()), tolerated, ..step(name, Some(state)) };
    let run = RunId::new("20260206-141502-k3f9");
    let command = |action, meaning| NextCommand { run: run.clone(), action, meaning };
    let resolve = |answer, meaning| command(NextAction::Resolve { step: id("update"), answer }, meaning);
    let mut steps = vec![step("backup", Some(State::Succeeded)), step("migrate", Some(State::Skipped))];
    let (mut owed, mut questions, mut next, mut closed) = (vec![], vec![], vec![], vec![]);
    match ending {
        Ending::Settled(Outcome::Succeeded) => steps.push(step("health", Some(State::Succeeded))),
        Ending::Settled(Outcome::Warned) => {
            steps.extend([step("health", Some(State::Succeeded)), failed("watch", State::Failed, true)]);
        }
        Ending::Settled(Outcome::Compensated) => {
            let debt = |name: &str, by_hand, by: Option<&str>, because: Option<&str>| ClosedDebt {
                step: id(name),
                part: 0,
                by_hand,
                by: by.map(str::to_owned),
                because: because.map(str::to_owned),
                failure: (!by_hand).then(|| Failure::dirty("disk full")),
            };
            closed.extend([
                debt("stage", false, None, None),
                debt("keys", false, Some("ana"), Some("the key is lost")),
                debt("update", true, Some("rui"), None),
            ]);
            steps.extend([
                step("stage", Some(State::Undone)),
                step("keys", Some(State::Undone)),
                step("update", Some(State::Undone)),
                failed("health", State::Undone, false),
                step("watch", Some(State::NotRun)),
            ]);
        }
        Ending::Settled(Outcome::Stuck) => {
            let undo_failure = Some(Failure::dirty("`app.log` is held by another program"));
            let held = RecapStep { undo_failure, ..step("update", Some(State::UndoFailed)) };
            steps.extend([held, failed("health", State::Failed, false)]);
            owed.push(id("update"));
            next.push(command(NextAction::Resume, Meaning::TriesAgain));
            next.push(resolve(NextAnswer::Undone, Meaning::DoneByHand));
            next.push(resolve(NextAnswer::GiveUp, Meaning::LeftAsItIs));
        }
        Ending::Paused => {
            steps.extend([step("update", Some(State::Unknown)), step("health", None)]);
            questions.push(id("update"));
            next.push(resolve(NextAnswer::Done, Meaning::WasDone));
            next.push(resolve(NextAnswer::NotDone, Meaning::WasNotDone));
        }
        Ending::Interrupted => {
            steps.extend([step("update", Some(State::Unknown)), step("health", None)]);
            next.push(command(NextAction::Resume, Meaning::GoesOn));
            next.push(command(NextAction::Abort, Meaning::Undoes));
        }
    }
    let downtime = Some(Downtime { ms: 12_300, approximate: ending == Ending::Interrupted });
    Recap {
        ending,
        run,
        plan: "almareia-producao".to_owned(),
        steps,
        downtime,
        serving: serving(ending),
        owed,
        questions,
        seconds: 63.0,
        closed,
        left: Left { failed_folder: None, backup: Some("/srv/backups/a.zip".to_owned()) },
        next,
    }
}
