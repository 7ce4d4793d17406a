//! `--progress json`: one object a line on standard output and nothing else there; words for people go to standard error,
//! as [`Quiet`] shows them.
//!
//! Keys and values are a promise to programs: never translated, never renamed; new ones may be added.

use std::collections::HashMap;

use almaplan_engine::event::StepId;
use almaplan_engine::update::{Ending, State, StepUpdate, Update};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::quiet::Quiet;
use super::recap::Recap;
use super::running::seconds;
use super::words::Words;
use super::{Sink, View, write_lines};
use crate::diagnose::{Asked, Exit};

/// The version of the lines.
const FORMAT: u32 = 1;

/// A step that counts every file would drown its readers.
const PROGRESS_PAUSE_S: f64 = 0.2;

/// See the module.
pub struct Json {
    out: Sink,
    people: Quiet,
    asked: Asked,
    progressed: HashMap<StepId, Timestamp>,
}

impl Json {
    /// Objects go to `out`, words to `err`. `asked` is what this process was asked for: it decides the exit code shown.
    pub fn new(words: Words, out: Sink, err: Sink, asked: Asked) -> Self {
        Self { out, people: Quiet::new(words, err), asked, progressed: HashMap::new() }
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

impl View for Json {
    fn show(&mut self, at: Timestamp, update: &Update) {
        if !self.is_too_soon(at, update) {
            write_lines(&mut *self.out, [object(at, update, self.asked)]);
        }
        self.people.show(at, update);
    }

    fn finish(&mut self, at: Timestamp, recap: &Recap) {
        self.people.finish(at, recap);
    }
}

/// The line of what ends before or without a run.
pub fn refused(at: Timestamp, exit: Exit, code: &str, message: &str, hint: Option<&str>) -> String {
    let mut fields = json!({ "exit": exit as u8, "code": code, "message": message });
    if let Some(hint) = hint {
        fields["hint"] = hint.into();
    }
    line("refused", at, fields)
}

fn object(at: Timestamp, update: &Update, asked: Asked) -> String {
    match update {
        Update::Run { run, plan, resumed, steps } => {
            line("run", at, json!({ "format": FORMAT, "run": run, "plan": plan, "resumed": resumed, "steps": steps }))
        }
        Update::Step(update) => line("step", at, step(update)),
        Update::Progress { step, done, total, unit } => {
            line("progress", at, json!({ "step": step, "done": done, "total": total, "unit": unit }))
        }
        Update::Log { step, stream, line: text } => line("log", at, json!({ "step": step, "stream": stream, "line": text })),
        Update::Note { step, level, message } => line("note", at, json!({ "step": step, "level": level, "message": message })),
        Update::Unwinding { because, failure, owes } => {
            let mut fields = json!({ "because": because, "owes": owes });
            if let Some(failure) = failure {
                fields["error"] = failure.message.as_str().into();
            }
            line("unwinding", at, fields)
        }
        Update::Live { downtime } => {
            let mut fields = json!({ "downtime_ms": downtime.map(|downtime| downtime.ms) });
            if let Some(downtime) = downtime {
                fields["approximate"] = downtime.approximate.into();
            }
            line("live", at, fields)
        }
        Update::Reachable(reachable) => line("reachable", at, json!({ "reachable": reachable })),
        Update::Stopping { grace_s } => line("stopping", at, json!({ "grace_s": grace_s })),
        Update::Ended { ending, seconds } => {
            let exit = Exit::of(*ending, asked) as u8;
            line("outcome", at, json!({ "outcome": ending_name(*ending), "exit": exit, "seconds": to_ms(*seconds) }))
        }
    }
}

fn step(update: &StepUpdate) -> Value {
    let mut fields = json!({ "step": update.step, "phase": update.phase, "state": update.state });
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
        fields["error"] = failure.message.as_str().into();
        if !failure.tail.is_empty() {
            fields["tail"] = failure.tail.clone().into();
        }
    }
    fields
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
