//! `--progress json`: one object a line on standard output and nothing else there; words for people go to standard error,
//! as [`Quiet`] shows them.
//!
//! Keys and values are a promise to programs: never translated, never renamed; new ones may be added.

use std::collections::HashMap;

use almaplan_engine::event::{Direction, Downtime, Failure, Outcome, RunId, StepId};
use almaplan_engine::update::{Ending, Level, State, StepUpdate, Stream, Unit, Update};
use almaplan_engine::words::Words;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::format::Formatter;
use super::quiet::Quiet;
use super::recap::Recap;
use super::running::seconds;
use super::{Sink, View, write_lines};
use crate::exit::{Exit, Intent};

/// The version of the lines.
const FORMAT: u32 = 1;

/// A step that counts every file would drown its readers.
const PROGRESS_PAUSE_S: f64 = 0.2;

/// Updates as lines.
pub struct Lines {
    intent: Intent,
    progressed: HashMap<StepId, Timestamp>,
}

/// See the module.
pub struct Json {
    out: Sink,
    people: Quiet,
    lines: Lines,
}

impl Lines {
    /// `intent` is what this process was asked for: it decides the exit code shown.
    pub fn new(intent: Intent) -> Self {
        Self { intent, progressed: HashMap::new() }
    }

    /// The line of an update, without its end; none where it would be one too many.
    pub fn of(&mut self, at: Timestamp, update: &Update) -> Option<String> {
        (!self.is_too_soon(at, update)).then(|| object(at, update, self.intent))
    }

    /// Whether a progress is one too many.
    fn is_too_soon(&mut self, at: Timestamp, update: &Update) -> bool {
        let Update::Progress { step, done, total, .. } = update else { return false };
        let soon = self.progressed.get(step).is_some_and(|last| seconds(*last, at) < PROGRESS_PAUSE_S);
        if soon && *total != Some(*done) {
            return true;
        }
        self.progressed.insert(step.clone(), at);
        false
    }
}

impl Json {
    /// Objects go to `out`, words to `err`.
    pub fn new(fmt: Formatter, out: Sink, err: Sink, intent: Intent) -> Self {
        Self { out, people: Quiet::new(fmt, err), lines: Lines::new(intent) }
    }
}

impl View for Json {
    fn show(&mut self, at: Timestamp, update: &Update) {
        if let Some(line) = self.lines.of(at, update) {
            write_lines(&mut *self.out, [line]);
        }
        self.people.show(at, update);
    }

    fn finish(&mut self, at: Timestamp, recap: &Recap) {
        self.people.finish(at, recap);
    }
}

/// The line of what ends before or without a run.
pub fn refused(at: Timestamp, exit: Exit, code: &str, message: &str, hint: Option<&str>, next: &[String]) -> String {
    let mut fields = json!({ "exit": exit as u8, "code": code, "message": message });
    if let Some(hint) = hint {
        fields["hint"] = hint.into();
    }
    if !next.is_empty() {
        fields["next"] = next.into();
    }
    line("refused", at, fields)
}

fn object(at: Timestamp, update: &Update, intent: Intent) -> String {
    match update {
        Update::Run { run, plan, resumed, steps } => {
            line("run", at, json!({ "format": FORMAT, "run": run, "plan": plan, "resumed": resumed, "steps": steps }))
        }
        Update::Step(update) => line("step", at, step(update)),
        Update::Progress { step, done, total, unit } => {
            line("progress", at, json!({ "step": step, "done": done, "total": total, "unit": unit }))
        }
        Update::Log { step, stream, line: text } => line("log", at, json!({ "step": step, "stream": stream, "line": text })),
        Update::Note { step, level, message, words } => {
            let mut fields = json!({ "step": step, "level": level, "message": message });
            put_words(&mut fields, words.as_ref());
            line("note", at, fields)
        }
        Update::Unwinding { because, failure, owes, changed } => {
            let mut fields = json!({ "because": because, "owes": owes, "changed": changed });
            if let Some(failure) = failure {
                put_failure(&mut fields, failure);
            }
            line("unwinding", at, fields)
        }
        Update::Live { downtime, answers } => {
            let mut fields = json!({ "downtime_ms": downtime.map(|downtime| downtime.ms), "answers": answers });
            if let Some(downtime) = downtime {
                fields["approximate"] = downtime.approximate.into();
            }
            line("live", at, fields)
        }
        Update::Reachable(reachable) => line("reachable", at, json!({ "reachable": reachable })),
        Update::Stopping { grace_s } => line("stopping", at, json!({ "grace_s": grace_s })),
        Update::Ended { ending, seconds, answers, downtime } => {
            let exit = Exit::of(*ending, intent, *answers) as u8;
            let mut fields = json!({ "outcome": ending_name(*ending), "exit": exit, "seconds": to_ms(*seconds), "answers": answers });
            if let Some(downtime) = downtime {
                fields["downtime_ms"] = downtime.ms.into();
                fields["approximate"] = downtime.approximate.into();
            }
            line("outcome", at, fields)
        }
    }
}

fn step(update: &StepUpdate) -> Value {
    let mut fields = json!({ "step": update.step, "uses": update.uses, "phase": update.direction, "state": update.state });
    if let Some(description) = &update.description {
        fields["description"] = description.as_str().into();
    }
    if matches!(update.state, State::Started | State::Retrying | State::UndoStarted | State::UndoRetrying) {
        fields["attempt"] = update.attempt.into();
    }
    if let Some(seconds) = update.seconds {
        fields["seconds"] = to_ms(seconds).into();
    }
    if let Some(outputs) = &update.outputs {
        fields["outputs"] = outputs.clone();
    }
    if let Some(failure) = &update.failure {
        put_failure(&mut fields, failure);
        if !failure.tail.is_empty() {
            fields["tail"] = failure.tail.clone().into();
        }
    }
    fields
}

fn put_failure(fields: &mut Value, failure: &Failure) {
    fields["error"] = failure.message.as_str().into();
    put_words(fields, failure.words.as_deref());
}

/// What a message says, for catalogues of other languages.
fn put_words(fields: &mut Value, words: Option<&Words>) {
    if let Some(words) = words {
        fields["words"] = json!(words);
    }
}

/// A line, read back: what [`Lines::of`] made of an update, and `None` where it is nothing that an update says.
pub fn read(line: &str) -> Option<(Timestamp, Update)> {
    let Stamped { at, event } = serde_json::from_str(line).ok()?;
    Some((at, event.update()?))
}

#[derive(Deserialize)]
struct Stamped {
    at: Timestamp,
    #[serde(flatten)]
    event: Event,
}

/// The lines, as they are read back.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Run { run: RunId, plan: String, resumed: bool, steps: usize },
    Step(StepEvent),
    Progress { step: StepId, done: u64, total: Option<u64>, unit: Unit },
    Log { step: StepId, stream: Stream, line: String },
    Note { step: StepId, level: Level, message: String, words: Option<Words> },
    Unwinding { because: Option<StepId>, owes: bool, changed: Option<bool>, error: Option<String>, words: Option<Box<Words>> },
    Live { downtime_ms: Option<u64>, approximate: Option<bool>, answers: Option<bool> },
    Reachable { reachable: bool },
    Stopping { grace_s: u64 },
    Outcome { outcome: String, seconds: f64, answers: Option<bool>, downtime_ms: Option<u64>, approximate: Option<bool> },
}

#[derive(Deserialize)]
struct StepEvent {
    step: StepId,
    description: Option<String>,
    #[serde(default)]
    uses: String,
    phase: Direction,
    state: State,
    attempt: Option<u32>,
    seconds: Option<f64>,
    outputs: Option<Value>,
    error: Option<String>,
    words: Option<Box<Words>>,
    #[serde(default)]
    tail: Vec<String>,
}

impl Event {
    fn update(self) -> Option<Update> {
        // Whether anything was changed is not on the line, and not for showing.
        let failure = |message, words, tail| Failure { message, words, clean: false, tail };
        Some(match self {
            Self::Run { run, plan, resumed, steps } => Update::Run { run, plan, resumed, steps },
            Self::Step(StepEvent { step, description, uses, phase, state, attempt, seconds, outputs, error, words, tail }) => {
                Update::Step(StepUpdate {
                    step,
                    description,
                    uses,
                    direction: phase,
                    state,
                    attempt: attempt.unwrap_or(0),
                    seconds,
                    outputs,
                    failure: error.map(|error| failure(error, words, tail)),
                })
            }
            Self::Progress { step, done, total, unit } => Update::Progress { step, done, total, unit },
            Self::Log { step, stream, line } => Update::Log { step, stream, line },
            Self::Note { step, level, message, words } => Update::Note { step, level, message, words },
            Self::Unwinding { because, owes, changed, error, words } => {
                let failure = error.map(|error| failure(error, words, Vec::new()));
                Update::Unwinding { because, failure, owes, changed: changed.unwrap_or(true) }
            }
            Self::Live { downtime_ms, approximate, answers } => {
                Update::Live { downtime: downtime_ms.map(|ms| measured(ms, approximate)), answers }
            }
            Self::Reachable { reachable } => Update::Reachable(reachable),
            Self::Stopping { grace_s } => Update::Stopping { grace_s },
            Self::Outcome { outcome, seconds, answers, downtime_ms, approximate } => {
                let downtime = downtime_ms.map(|ms| measured(ms, approximate));
                Update::Ended { ending: ending_of(&outcome)?, seconds, answers, downtime }
            }
        })
    }
}

fn measured(ms: u64, approximate: Option<bool>) -> Downtime {
    Downtime { ms, approximate: approximate.unwrap_or(false) }
}

fn ending_of(name: &str) -> Option<Ending> {
    let outcomes = [Outcome::Succeeded, Outcome::Warned, Outcome::Compensated, Outcome::Stuck].map(Ending::Settled);
    outcomes.into_iter().chain([Ending::Paused, Ending::Interrupted]).find(|ending| ending_name(*ending) == name)
}

/// An ending, as programs see it.
pub fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Settled(outcome) => outcome.as_str(),
        Ending::Paused => "paused",
        Ending::Interrupted => "interrupted",
    }
}

/// Seconds, to the millisecond: more is noise.
fn to_ms(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn line(event: &str, at: Timestamp, fields: Value) -> String {
    let mut object = Map::new();
    object.insert("event".to_owned(), event.into());
    object.insert("at".to_owned(), format!("{at:.3}").into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object).to_string()
}
