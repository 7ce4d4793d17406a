//! The recap: what became of everything, how long the service was down, and the exact next command.

use std::path::Path;

use almaplan_engine::event::{Downtime, Failure, Outcome, Part, RunId, Standing, StepId};
use almaplan_engine::kind::Kind as _;
use almaplan_engine::plan::Plan;
use almaplan_engine::runs::{ClosedDebt, EndedRun, NextCommand, closed_debts, owed};
use almaplan_engine::saga::{Saga, StepPhase};
use almaplan_engine::update::{Ending, State};
use almaplan_steps::kinds::{backup::Backup, restore::Restore};
use console::measure_text_width;
use serde_json::Value;

use super::format::{Formatter, Style, glyph, pad, sanitize};
use super::serving::{Serving, short};
use super::titles::title;
use super::{first_line, lines};

/// How many lines of a row are shown: a plan may have a hundred thousand steps, and `status` names them all.
const NAMED: usize = 50;

/// How this process leaves a run.
#[derive(Debug, Clone)]
pub struct Recap {
    /// How.
    pub ending: Ending,
    /// Its id.
    pub run: RunId,
    /// `[plan] name`.
    pub plan: String,
    /// Every step, in the order of the plan, `finally` last.
    pub steps: Vec<RecapStep>,
    /// The measured downtime, where the plan measures it.
    pub downtime: Option<Downtime>,
    /// Which version serves, and whether it answers.
    pub serving: Serving,
    /// The steps that owe a compensation.
    pub owed: Vec<StepId>,
    /// The steps that a person is asked about.
    pub questions: Vec<StepId>,
    /// Seconds since this process began or took over.
    pub seconds: f64,
    /// The compensations that a person did, and those that were written off.
    pub closed: Vec<ClosedDebt>,
    /// Where to look.
    pub left: Left,
    /// The exact commands that lead on, the best one first.
    pub next: Vec<NextCommand>,
}

/// What became of a step.
#[derive(Debug, Clone)]
pub struct RecapStep {
    /// Its name.
    pub id: StepId,
    /// What it is called on a screen.
    pub title: String,
    /// Where it is; `None` where nothing happened to it yet.
    pub state: Option<State>,
    /// Why its action failed, where it did, whatever came after.
    pub failure: Option<Failure>,
    /// Its failure undid nothing: after the pivot, with `on_failure = "continue"`, or in `finally`.
    pub tolerated: bool,
    /// Why its compensation failed, where one is still owed.
    pub undo_failure: Option<Failure>,
}

/// What a run leaves on the disk that a person may look for.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The folder that failed, set aside.
    pub failed_folder: Option<String>,
    /// The archive of what was there before.
    pub backup: Option<String>,
}

/// A row of the recap: a label, and lines beside it.
struct Row {
    key: &'static str,
    style: Style,
    lines: Vec<String>,
}

impl Recap {
    /// The recap of a run that this process had.
    pub fn of(ended: &EndedRun) -> Self {
        let saga = &ended.saga;
        let id = |i: usize| saga.shape().steps[i].id.clone();
        let steps = (0..saga.shape().steps.len()).map(|i| {
            let (shape, state) = (&saga.shape().steps[i], saga.step(i));
            RecapStep {
                id: id(i),
                title: title(&id(i), ended.inputs.plan().step(i).description.as_deref()),
                state: shown_state(state.phase),
                failure: state.failure.clone(),
                undo_failure: state.undo_failure.clone().filter(|_| state.phase != StepPhase::Undone),
                // Also once it is undone: what a person asked to undo later was no failure before.
                tolerated: shape.finally || shape.continue_on_failure || saga.passed(),
            }
        });
        Self {
            ending: ended.ending,
            run: ended.run.clone(),
            plan: ended.plan.clone(),
            steps: steps.collect(),
            downtime: saga.downtime(),
            serving: Serving::of(saga, &ended.inputs),
            owed: owed(saga),
            questions: saga.questions().map(id).collect(),
            seconds: ended.seconds,
            closed: closed_debts(saga),
            left: Left::of(saga, ended.inputs.plan()),
            next: ended.next.clone(),
        }
    }

    /// The recap as lines.
    pub fn lines(&self, fmt: &Formatter) -> Vec<String> {
        let mut lines = vec![String::new()];
        lines.extend(fmt.wrap("", "  ", &self.headline(fmt)));
        let about = fmt.lang.with("recap-about", &[("plan", self.plan.as_str().into()), ("run", self.run.as_str().into())]);
        lines.extend(fmt.wrap("  ", "  ", &fmt.paint(Style::Faint, about)));
        if let Some(explanation) = self.explanation() {
            lines.extend(fmt.wrap("  ", "  ", &fmt.lang.text(explanation)));
        }
        if let Some(why_not) = self.serving.why_not(fmt) {
            lines.extend(fmt.wrap("  ", "  ", &fmt.paint(Style::Bad, why_not)));
        }
        let rows: Vec<_> = self.rows(fmt).into_iter().filter(|row| !row.lines.is_empty()).collect();
        let label_width = rows.iter().map(|row| measure_text_width(&fmt.lang.text(row.key))).max().unwrap_or(0);
        lines.extend(rows.iter().flat_map(|row| row.lines(fmt, label_width)));
        lines.extend(next_lines(fmt, &self.next));
        lines
    }

    fn headline(&self, fmt: &Formatter) -> String {
        let (sign, style) = match self.ending {
            Ending::Settled(Outcome::Succeeded | Outcome::Warned | Outcome::Compensated) if self.serving.answers == Some(false) => {
                glyph(State::Failed)
            }
            Ending::Settled(Outcome::Succeeded) => glyph(State::Succeeded),
            Ending::Settled(Outcome::Warned) => ("!", Style::Warning),
            Ending::Settled(Outcome::Compensated) => glyph(State::Undone),
            Ending::Settled(Outcome::Stuck) => glyph(State::UndoFailed),
            Ending::Paused => glyph(State::Unknown),
            Ending::Interrupted => ("■", Style::Warning),
        };
        let outcome = self.serving.headline(fmt, self.ending);
        let down_key = if self.serving.answers == Some(false) { "recap-down-so-far" } else { "recap-downtime" };
        let down = self.downtime.map(|downtime| fmt.lang.with(down_key, &[("downtime", lines::downtime(fmt, downtime).into())]));
        let times: String = [Some(fmt.duration(self.seconds)), down].into_iter().flatten().map(|time| format!(" · {time}")).collect();
        format!("{}{}", fmt.paint(style, format!("{sign} {outcome}")), fmt.paint(Style::Faint, times))
    }

    /// What the headline does not say.
    fn explanation(&self) -> Option<&'static str> {
        Some(match self.ending {
            Ending::Settled(Outcome::Succeeded) if self.serving.standing == Standing::Unchanged => "recap-unchanged",
            Ending::Settled(Outcome::Succeeded | Outcome::Warned) => return None,
            Ending::Settled(Outcome::Compensated) if self.closed.iter().any(|debt| !debt.by_hand) => "recap-compensated-but",
            Ending::Settled(Outcome::Compensated) => match self.serving.standing {
                Standing::NothingChanged => "recap-nothing-changed",
                Standing::NothingOwed => "recap-nothing-owed",
                _ => return None,
            },
            Ending::Settled(Outcome::Stuck) => "recap-stuck",
            Ending::Paused => "recap-paused",
            Ending::Interrupted if !self.owed.is_empty() => "recap-interrupted-undoing",
            Ending::Interrupted => "recap-interrupted",
        })
    }

    fn rows(&self, fmt: &Formatter) -> Vec<Row> {
        let failed = |tolerated| self.steps.iter().filter(move |step| step.failure.is_some() && step.tolerated == tolerated);
        let because = |step: &RecapStep, why: Option<&Failure>| match why {
            Some(why) => format!("{}: {}", step.title, first_line(fmt, why)),
            None => step.title.clone(),
        };
        // Its next command names it.
        let named = |step: &RecapStep, why: Option<&Failure>| {
            if step.title == step.id.as_str() { because(step, why) } else { format!("{} ({})", because(step, why), step.id) }
        };
        let titled = |debt: &ClosedDebt| {
            let title = self.steps.iter().find(|step| step.id == debt.step).map_or(debt.step.as_str(), |step| &step.title);
            why_closed(fmt, debt).map_or(title.to_owned(), |why| format!("{title}: {why}"))
        };
        let row = |key, style, lines: Vec<String>| Row { key, style, lines: shortened(fmt, lines) };
        let all = |key, style, of: &dyn Fn(&RecapStep) -> Option<String>| row(key, style, self.steps.iter().filter_map(of).collect());
        let closed = |key, style, by_hand| row(key, style, self.closed.iter().filter(|debt| debt.by_hand == by_hand).map(titled).collect());
        let causes = failed(false).flat_map(|step| {
            let tail = step.failure.iter().flat_map(|failure| &failure.tail).map(|line| sanitize(line).trim_end().to_owned());
            let tail: Vec<_> = tail.filter(|line| !line.is_empty()).collect();
            std::iter::once(because(step, step.failure.as_ref()))
                .chain(tail.into_iter().rev().take(CAUSE_LINES).rev().map(|line| format!("│ {line}")))
        });
        let failed_and_undone = self.ending == Ending::Settled(Outcome::Compensated)
            && !matches!(self.serving.standing, Standing::Aborted | Standing::RolledBack);
        let again = failed_and_undone.then(|| fmt.lang.text("recap-again"));
        // Once it is settled, what nobody knows of was undone or only looked.
        let open = !matches!(self.ending, Ending::Settled(Outcome::Succeeded | Outcome::Warned | Outcome::Compensated));
        let place = |key, path: &Option<String>| row(key, Style::Normal, path.iter().map(|path| sanitize(path).into_owned()).collect());
        vec![
            row("row-failed", Style::Bad, causes.collect()),
            row("row-warned", Style::Warning, failed(true).map(|step| because(step, step.failure.as_ref())).collect()),
            closed("row-by-hand", Style::Undo, true),
            closed("row-written-off", Style::Bad, false),
            all("row-unknown", Style::Warning, &|step| (open && step.is_unknown()).then(|| named(step, None))),
            all("row-owed", Style::Bad, &|step| self.owed.contains(&step.id).then(|| named(step, step.undo_failure.as_ref()))),
            all("row-asked", Style::Warning, &|step| self.questions.contains(&step.id).then(|| named(step, None))),
            place("row-failed-folder", &self.left.failed_folder),
            place("row-backup", &self.left.backup),
            row("row-logs", Style::Normal, vec![format!("almaplan logs {}", short(&self.run))]),
            row("row-again", Style::Strong, again.into_iter().collect()),
        ]
    }
}

/// How many lines of what the failed step printed the recap repeats.
const CAUSE_LINES: usize = 3;

/// As many lines as a person reads, and how many more there are.
fn shortened(fmt: &Formatter, mut lines: Vec<String>) -> Vec<String> {
    let others = lines.len().saturating_sub(NAMED);
    if others > 0 {
        lines.truncate(NAMED);
        lines.push(fmt.lang.with("recap-more", &[("n", others.into())]));
    }
    lines
}

impl Left {
    /// What the steps of a run left, as far as it is there.
    fn of(saga: &Saga, plan: &Plan) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let backup = (0..plan.steps.len()).filter(|&i| plan.step(i).action.uses == Backup::KIND);
        let failed_folder = (0..plan.steps.len()).flat_map(|i| {
            let restores = plan.step(i).compensate.iter().enumerate().filter(|(_, undo)| undo.action.uses == Restore::KIND);
            restores
                .filter_map(move |(part, _)| saga.recorded(i, Part::Compensation(part)).get("failed").and_then(text))
                .collect::<Vec<_>>()
        });
        let exists = |path: &String| Path::new(path).exists();
        Self {
            failed_folder: failed_folder.into_iter().find(exists),
            backup: backup.filter_map(|i| text(&saga.outputs(i)["archive"])).find(exists),
        }
    }
}

impl RecapStep {
    /// Whether nobody knows what became of it: also what is still live while this process leaves.
    fn is_unknown(&self) -> bool {
        matches!(self.state, Some(State::Unknown | State::Started | State::Retrying))
    }
}

impl Row {
    fn lines(&self, fmt: &Formatter, label_width: usize) -> Vec<String> {
        let label = fmt.paint(self.style, pad(&fmt.lang.text(self.key), label_width));
        let indent = " ".repeat(label_width + 4);
        let first = format!("  {label}  ");
        let each = self.lines.iter().enumerate();
        each.flat_map(|(n, line)| fmt.wrap(if n == 0 { &first } else { &indent }, &indent, line)).collect()
    }
}

/// Where a step is, as views show it.
pub fn shown_state(phase: StepPhase) -> Option<State> {
    match phase {
        StepPhase::Pending => None,
        StepPhase::Started => Some(State::Started),
        StepPhase::Retrying => Some(State::Retrying),
        StepPhase::Succeeded => Some(State::Succeeded),
        StepPhase::Failed => Some(State::Failed),
        StepPhase::Unknown => Some(State::Unknown),
        StepPhase::Skipped => Some(State::Skipped),
        StepPhase::NotRun => Some(State::NotRun),
        StepPhase::UndoDue(_) | StepPhase::Undoing(_) => Some(State::UndoStarted),
        StepPhase::Undone => Some(State::Undone),
        StepPhase::UndoFailed(_) => Some(State::UndoFailed),
    }
}

/// Who did a compensation by hand or wrote it off, and why; of what the plan wrote off, why it failed.
pub fn why_closed(fmt: &Formatter, debt: &ClosedDebt) -> Option<String> {
    let failure = debt.failure.as_ref().map(|failure| first_line(fmt, failure));
    let Some(by) = &debt.by else { return failure };
    let because = debt.because.as_ref().map(|because| format!(": {}", sanitize(because))).unwrap_or_default();
    let failure = failure.map(|failure| format!(" ({failure})")).unwrap_or_default();
    Some(fmt.lang.with("closed-by", &[("by", by.as_str().into())]) + &because + &failure)
}

/// The exact next commands and what each would mean, where there are any.
pub fn next_lines(fmt: &Formatter, next: &[NextCommand]) -> Vec<String> {
    if next.is_empty() {
        return Vec::new();
    }
    let head = fmt.lang.with("next-commands", &[("n", next.len().into())]);
    let head = fmt.wrap("  ", "  ", &head);
    [vec![String::new()], head].into_iter().flatten().chain(next.iter().flat_map(|next| way_on(fmt, next))).collect()
}

/// A command, and what it would mean.
pub fn way_on(fmt: &Formatter, next: &NextCommand) -> Vec<String> {
    let meaning = fmt.lang.text(&format!("means-{}", next.meaning.as_str()));
    // A command is to be copied: it stays one line.
    let mut lines = vec![format!("    {}", fmt.paint(Style::Strong, next))];
    lines.extend(fmt.wrap("      ", "      ", &fmt.paint(Style::Faint, meaning)));
    lines
}
