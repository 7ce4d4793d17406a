//! What each update is as lines of text. The views for people differ in which of them they show, and where.

use almaplan_engine::event::{Downtime, Failure, StepId};
use almaplan_engine::update::{Level, State, StepUpdate, Update};
use jiff::Timestamp;

use super::format::{Formatter, Style, glyph, sanitize};
use super::summary::summary;
use super::titles::Titles;

/// Whether something went wrong.
pub(super) fn is_loud(update: &Update) -> bool {
    match update {
        Update::Step(step) => match step.state {
            State::Failed | State::UndoFailed | State::Unknown => true,
            // Written off: a debt that nobody pays is as loud as one that could not be paid.
            State::Undone => step.failure.is_some(),
            State::Started
            | State::Retrying
            | State::Succeeded
            | State::Skipped
            | State::NotRun
            | State::UndoStarted
            | State::UndoRetrying => false,
        },
        Update::Note { level, .. } => *level == Level::Alert,
        Update::Unwinding { .. } => true,
        // How it ended, the recap says.
        Update::Run { .. }
        | Update::Progress { .. }
        | Update::Log { .. }
        | Update::Live { .. }
        | Update::Reachable(_)
        | Update::Stopping { .. }
        | Update::Ended { .. } => false,
    }
}

/// `update` as lines, none where it is nothing to read.
pub(super) fn of(fmt: &Formatter, titles: &Titles, at: Timestamp, update: &Update) -> Vec<String> {
    let lang = &fmt.lang;
    let line = |(sign, style): (&str, Style), text: String| vec![stamped(fmt, at, sign, style, &text)];
    match update {
        Update::Run { run, plan, resumed, steps } => {
            let key = if *resumed { "run-resumed" } else { "run-begins" };
            let steps = lang.with("count-steps", &[("n", (*steps).into())]);
            line(("▶", Style::Strong), lang.with(key, &[("plan", plan.into()), ("run", run.as_str().into()), ("steps", steps.into())]))
        }
        Update::Step(step) if step.state == State::Skipped && !fmt.verbose => Vec::new(),
        Update::Step(step) => of_step(fmt, titles.of(&step.step), at, step),
        Update::Progress { .. } | Update::Ended { .. } => Vec::new(),
        Update::Log { step, line: text, .. } => {
            line(("│", Style::Faint), format!("{} {}", fmt.paint(Style::Faint, titles.of(step)), sanitize(text)))
        }
        Update::Note { step, level: Level::Alert, message, words } => {
            banner(fmt, &format!("{}: {}", titles.of(step), fmt.said(message, words.as_ref())), None)
        }
        Update::Note { step, level, message, words } => {
            let sign = if *level == Level::Warning { ("!", Style::Warning) } else { ("i", Style::Faint) };
            said(fmt, at, sign, &fmt.paint(Style::Strong, titles.of(step)), &fmt.said(message, words.as_ref()))
        }
        Update::Unwinding { because, failure, owes, changed } => {
            banner(fmt, &unwinding(fmt, titles, because.as_ref(), *owes, *changed), failure.as_ref())
        }
        Update::Live { answers: Some(false), .. } => line(("◆", Style::Bad), fmt.paint(Style::Bad, lang.text("live-not-answering"))),
        Update::Live { downtime, answers } => line(("◆", Style::Good), fmt.paint(Style::Good, live(fmt, *downtime, *answers))),
        Update::Reachable(true) => line(("◇", Style::Good), lang.text("reachable")),
        Update::Reachable(false) => line(("◇", Style::Warning), lang.text("unreachable")),
        Update::Stopping { grace_s } => {
            let grace = fmt.elapsed(*grace_s as f64);
            line(("■", Style::Warning), lang.with("stopping", &[("grace", grace.into())]))
        }
    }
}

/// Why a run undoes what it did, and whether there is anything to undo.
pub(super) fn unwinding(fmt: &Formatter, titles: &Titles, because: Option<&StepId>, owes: bool, changed: bool) -> String {
    let key = match (because, owes, changed) {
        (Some(_), true, _) => "unwinding-because",
        (Some(_), false, true) => "unwinding-not-owed",
        (Some(_), false, false) => "unwinding-nothing",
        (None, true, _) => return fmt.lang.text("unwinding-asked"),
        (None, false, _) => return fmt.lang.text("unwinding-asked-nothing"),
    };
    let step = because.map_or("", |step| titles.of(step)).to_owned();
    fmt.lang.with(key, &[("step", step.into())])
}

/// What became of a step, in words.
pub(super) fn state_text(fmt: &Formatter, step: &StepUpdate) -> String {
    let lang = &fmt.lang;
    let took = step.seconds.map(|seconds| fmt.duration(seconds));
    match (step.state, &step.failure, took) {
        (State::Started, ..) => lang.with("step-started", &[("attempt", step.attempt.into())]),
        (State::UndoStarted, ..) => lang.with("step-undo-started", &[("attempt", step.attempt.into())]),
        (State::Succeeded, _, Some(took)) => lang.with("step-succeeded", &[("took", took.into())]),
        (State::Undone, None, Some(took)) => lang.with("step-undone", &[("took", took.into())]),
        (State::Undone, Some(_), _) => lang.text("step-written-off"),
        (State::Failed, Some(_), Some(took)) => lang.with("step-failed", &[("took", took.into())]),
        (State::UndoFailed, Some(_), Some(took)) => lang.with("step-undo-failed", &[("took", took.into())]),
        (state, ..) => lang.text(super::format::state_key(state)),
    }
}

/// The sign of a step's state: what is written off was not undone.
pub(super) fn sign(step: &StepUpdate) -> (&'static str, Style) {
    let (sign, style) = glyph(step.state);
    (sign, if step.state == State::Undone && step.failure.is_some() { Style::Bad } else { style })
}

fn of_step(fmt: &Formatter, title: &str, at: Timestamp, step: &StepUpdate) -> Vec<String> {
    let (sign, text, name) = (sign(step), state_text(fmt, step), fmt.paint(Style::Strong, title));
    let summary = match (&step.outputs, step.state) {
        (Some(outputs), State::Succeeded) => summary(fmt, &step.uses, outputs),
        _ => None,
    };
    match &step.failure {
        None => said(fmt, at, sign, &name, &[Some(text), summary].into_iter().flatten().collect::<Vec<_>>().join(" · ")),
        Some(failure) => {
            let mut lines = said(fmt, at, sign, &name, &format!("{text}: {}", fmt.failure(failure)));
            // Another attempt follows: its last lines would bury what happens.
            if !matches!(step.state, State::Retrying | State::UndoRetrying) {
                lines.extend(tail(fmt, failure));
            }
            lines
        }
    }
}

/// The last lines that a failed step printed, in full.
fn tail(fmt: &Formatter, failure: &Failure) -> Vec<String> {
    if failure.tail.is_empty() {
        return Vec::new();
    }
    let head = fmt.paint(Style::Faint, fmt.lang.with("last-lines", &[("n", failure.tail.len().into())]));
    let lines = failure.tail.iter().map(|line| format!("{INDENT}{} {}", fmt.paint(Style::Bad, "│"), sanitize(line)));
    std::iter::once(format!("{INDENT}{head}")).chain(lines).collect()
}

/// What is live, and for how long the service was not there.
pub(super) fn live(fmt: &Formatter, downtime: Option<Downtime>, answers: Option<bool>) -> String {
    match (downtime, answers) {
        // Nobody asked whether it answers: that it serves is not known.
        (None, None) => fmt.lang.text("pivot-passed"),
        (None, Some(_)) => fmt.lang.text("live"),
        (Some(downtime), _) if downtime.ms == 0 => fmt.lang.text("live-without-downtime"),
        (Some(downtime), _) => fmt.lang.with("live-after", &[("downtime", self::downtime(fmt, downtime).into())]),
    }
}

/// How long the measured service was down, and whether it still is; `None` where no outage was seen.
pub fn downtime_so_far(fmt: &Formatter, known: Option<Downtime>, down: bool) -> Option<String> {
    match (known, down) {
        (None, _) => None,
        (Some(known), false) => Some(downtime(fmt, known)),
        (Some(known), true) => Some(fmt.lang.with("down-so-far", &[("downtime", downtime(fmt, known).into())])),
    }
}

/// A measured downtime, marked where it is approximate.
pub(super) fn downtime(fmt: &Formatter, downtime: Downtime) -> String {
    let duration = fmt.duration(downtime.ms as f64 / 1000.0);
    if downtime.approximate { fmt.lang.with("approximately", &[("duration", duration.into())]) } else { duration }
}

/// The alarm.
pub(super) fn banner(fmt: &Formatter, text: &str, failure: Option<&Failure>) -> Vec<String> {
    let alarm = |text: &str| fmt.paint(Style::Alarm, format!("!! {text}"));
    let rule = "=".repeat(60);
    let mut lines = vec![alarm(&rule), alarm(&fmt.lang.text("alert"))];
    lines.extend(sanitize(text).lines().map(alarm));
    if let Some(failure) = failure {
        lines.extend(sanitize(&fmt.failure(failure)).lines().map(|line| alarm(&format!("  {line}"))));
    }
    lines.push(alarm(&rule));
    lines
}

const INDENT: &str = "           ";

/// `name  text`, further lines of `text` below it.
fn said(fmt: &Formatter, at: Timestamp, (sign, style): (&str, Style), name: &str, text: &str) -> Vec<String> {
    let shown = sanitize(text);
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    let mut all = vec![stamped(fmt, at, sign, style, &format!("{name}: {first}"))];
    all.extend(lines.map(|line| format!("{INDENT}{line}")));
    all
}

/// One line: time, sign, text.
pub(super) fn stamped(fmt: &Formatter, at: Timestamp, sign: &str, style: Style, text: &str) -> String {
    format!("{} {} {text}", fmt.paint(Style::Faint, fmt.time(at)), fmt.paint(style, sign))
}
