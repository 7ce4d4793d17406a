//! What each update is as lines of text. The views for people differ in which of them they show, and where.

use almaplan_engine::event::Downtime;
use almaplan_engine::step::Failure;
use almaplan_engine::update::{Level, State, StepUpdate, Update};
use jiff::Timestamp;

use super::words::{Tone, Words, glyph, harmless};

/// How much an update matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Comes in any number, and says only that work goes on.
    Detail,
    /// Something happened.
    Event,
    /// Something went wrong.
    Loud,
}

/// How much `update` matters.
pub(super) fn weight(update: &Update) -> Weight {
    match update {
        Update::Step(step) => match step.state {
            State::Started | State::UndoStarted => Weight::Detail,
            State::Failed | State::UndoFailed | State::Unknown => Weight::Loud,
            // Written off: a debt that nobody pays is as loud as one that could not be paid.
            State::Undone if step.failure.is_some() => Weight::Loud,
            State::Retrying | State::UndoRetrying | State::Succeeded | State::Skipped | State::NotRun | State::Undone => Weight::Event,
        },
        Update::Progress { .. } | Update::Log { .. } => Weight::Detail,
        Update::Note { level: Level::Alert, .. } | Update::Unwinding { .. } => Weight::Loud,
        Update::Note { .. } | Update::Run { .. } | Update::Live { .. } | Update::Reachable(_) | Update::Stopping { .. } => Weight::Event,
        // The recap says it.
        Update::Ended { .. } => Weight::Detail,
    }
}

/// `update` as lines, none where it is nothing to read.
pub(super) fn of(words: &Words, at: Timestamp, update: &Update) -> Vec<String> {
    let lang = &words.lang;
    let line = |(sign, tone): (&str, Tone), text: String| vec![stamped(words, at, sign, tone, &text)];
    match update {
        Update::Run { run, plan, resumed, steps } => {
            let key = if *resumed { "run-resumed" } else { "run-begins" };
            let steps = lang.with("count-steps", &[("n", (*steps).into())]);
            line(("▶", Tone::Strong), lang.with(key, &[("plan", plan.into()), ("run", run.as_str().into()), ("steps", steps.into())]))
        }
        Update::Step(step) => of_step(words, at, step),
        Update::Progress { .. } | Update::Ended { .. } => Vec::new(),
        Update::Log { step, line: text, .. } => line(("│", Tone::Faint), format!("{} {}", words.paint(Tone::Faint, step), harmless(text))),
        Update::Note { step, level: Level::Alert, message } => banner(words, &format!("{step}: {message}"), None),
        Update::Note { step, level, message } => {
            let sign = if *level == Level::Warning { ("!", Tone::Warning) } else { ("i", Tone::Faint) };
            said(words, at, sign, &words.paint(Tone::Strong, step), message)
        }
        Update::Unwinding { because, failure, owes } => {
            let text = match because {
                Some(step) if *owes => lang.with("unwinding-because", &[("step", step.as_str().into())]),
                Some(step) => lang.with("unwinding-nothing", &[("step", step.as_str().into())]),
                None => lang.text("unwinding-asked"),
            };
            banner(words, &text, failure.as_ref())
        }
        Update::Live { downtime } => line(("◆", Tone::Good), words.paint(Tone::Good, live(words, *downtime))),
        Update::Reachable(true) => line(("◇", Tone::Good), lang.text("reachable")),
        Update::Reachable(false) => line(("◇", Tone::Warning), lang.text("unreachable")),
        Update::Stopping { grace_s } => {
            let grace = words.elapsed(*grace_s as f64);
            line(("■", Tone::Warning), lang.with("stopping", &[("grace", grace.into())]))
        }
    }
}

fn of_step(words: &Words, at: Timestamp, step: &StepUpdate) -> Vec<String> {
    let lang = &words.lang;
    let took = step.seconds.map(|seconds| words.duration(seconds));
    let text = match (step.state, &step.failure, took) {
        (State::Started, ..) => lang.with("step-started", &[("attempt", step.attempt.into())]),
        (State::UndoStarted, ..) => lang.with("step-undo-started", &[("attempt", step.attempt.into())]),
        (State::Succeeded, _, Some(took)) => lang.with("step-succeeded", &[("took", took.into())]),
        (State::Undone, None, Some(took)) => lang.with("step-undone", &[("took", took.into())]),
        (State::Undone, Some(_), _) => lang.text("step-written-off"),
        (State::Failed, Some(_), Some(took)) => lang.with("step-failed", &[("took", took.into())]),
        (State::UndoFailed, Some(_), Some(took)) => lang.with("step-undo-failed", &[("took", took.into())]),
        (state, ..) => lang.text(super::words::state_key(state)),
    };
    let (sign, tone) = glyph(step.state);
    let tone = if step.state == State::Undone && step.failure.is_some() { Tone::Bad } else { tone };
    let name = words.paint(Tone::Strong, &step.step);
    match &step.failure {
        None => said(words, at, (sign, tone), &name, &text),
        Some(failure) => {
            let mut lines = said(words, at, (sign, tone), &name, &format!("{text}: {}", failure.message));
            // Another attempt follows: its last lines would bury what happens.
            if !matches!(step.state, State::Retrying | State::UndoRetrying) {
                lines.extend(tail(words, failure));
            }
            lines
        }
    }
}

/// The last lines that a failed step printed, in full.
fn tail(words: &Words, failure: &Failure) -> Vec<String> {
    if failure.tail.is_empty() {
        return Vec::new();
    }
    let head = words.paint(Tone::Faint, words.lang.with("last-lines", &[("n", failure.tail.len().into())]));
    let lines = failure.tail.iter().map(|line| format!("{INDENT}{} {}", words.paint(Tone::Bad, "│"), harmless(line)));
    std::iter::once(format!("{INDENT}{head}")).chain(lines).collect()
}

/// What is live, and for how long the service was not there.
pub(super) fn live(words: &Words, downtime: Option<Downtime>) -> String {
    match downtime {
        None => words.lang.text("live"),
        Some(downtime) if downtime.ms == 0 => words.lang.text("live-without-downtime"),
        Some(downtime) => words.lang.with("live-after", &[("downtime", self::downtime(words, downtime).into())]),
    }
}

/// How long the measured service was down, and whether it still is; `None` where it always answered.
pub fn downtime_so_far(words: &Words, known: Option<Downtime>, down: bool) -> Option<String> {
    match (known, down) {
        (None, false) => None,
        (None, true) => Some(words.lang.text("down-still")),
        (Some(known), false) => Some(downtime(words, known)),
        (Some(known), true) => Some(words.lang.with("down-so-far", &[("downtime", downtime(words, known).into())])),
    }
}

/// A measured downtime, marked where it is approximate.
fn downtime(words: &Words, downtime: Downtime) -> String {
    let duration = words.duration(downtime.ms as f64 / 1000.0);
    if downtime.approximate { words.lang.with("approximately", &[("duration", duration.into())]) } else { duration }
}

/// The alarm.
pub(super) fn banner(words: &Words, text: &str, failure: Option<&Failure>) -> Vec<String> {
    let alarm = |text: &str| words.paint(Tone::Alarm, format!("!! {text}"));
    let rule = "=".repeat(60);
    let mut lines = vec![alarm(&rule), alarm(&words.lang.text("alert"))];
    lines.extend(harmless(text).lines().map(alarm));
    if let Some(failure) = failure {
        lines.extend(harmless(&failure.message).lines().map(|line| alarm(&format!("  {line}"))));
    }
    lines.push(alarm(&rule));
    lines
}

const INDENT: &str = "           ";

/// `name  text`, further lines of `text` below it.
fn said(words: &Words, at: Timestamp, (sign, tone): (&str, Tone), name: &str, text: &str) -> Vec<String> {
    let shown = harmless(text);
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    let mut all = vec![stamped(words, at, sign, tone, &format!("{name}: {first}"))];
    all.extend(lines.map(|line| format!("{INDENT}{line}")));
    all
}

/// One line: time, sign, text.
pub(super) fn stamped(words: &Words, at: Timestamp, sign: &str, tone: Tone, text: &str) -> String {
    format!("{} {} {text}", words.paint(Tone::Faint, words.time(at)), words.paint(tone, sign))
}
