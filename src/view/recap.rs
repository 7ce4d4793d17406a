//! The recap: what became of everything, how long the service was down, and the exact next command.

use almaplan_engine::event::{Downtime, Outcome, RunId, StepId};
use almaplan_engine::step::Failure;
use almaplan_engine::update::{Ending, State};
use console::measure_text_width;

use super::words::{Tone, Words, glyph, pad};
use super::{first_line, lines};

/// How many steps of a row are named: a plan may have a hundred thousand, and `status` names them all.
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
    /// The measured service did not answer when it was last looked at, so the downtime goes on.
    pub down: bool,
    /// The steps that owe a compensation.
    pub owed: Vec<StepId>,
    /// The steps that a person is asked about.
    pub questions: Vec<StepId>,
    /// Seconds since this process began or took over.
    pub seconds: f64,
    /// The exact commands that go on, the best one first.
    pub next: Vec<String>,
}

/// What became of a step.
#[derive(Debug, Clone)]
pub struct RecapStep {
    /// Its name.
    pub id: StepId,
    /// Where it is; `None` where nothing happened to it yet.
    pub state: Option<State>,
    /// Why its action failed, where it did, whatever came after.
    pub failure: Option<Failure>,
    /// Its failure undid nothing: after the pivot, with `on_failure = "continue"`, or in `finally`.
    pub tolerated: bool,
    /// Why its compensation was written off, where it was.
    pub written_off: Option<Failure>,
    /// Why its compensation failed, where one is still owed.
    pub undo_failure: Option<Failure>,
}

/// A row of the recap: which steps, and why where that is known.
struct Row<'a> {
    key: &'static str,
    tone: Tone,
    always: bool,
    steps: Vec<(&'a StepId, Option<String>)>,
}

impl Recap {
    /// The recap as lines.
    pub fn lines(&self, words: &Words) -> Vec<String> {
        let mut lines = vec![String::new(), self.headline(words)];
        lines.push(format!("  {}", words.lang.text(self.explanation())));
        lines.push(String::new());
        let rows = self.rows();
        let shown: Vec<_> = rows.iter().filter(|row| row.always || !row.steps.is_empty()).collect();
        let label_width = shown.iter().map(|row| measure_text_width(&words.lang.text(row.key))).max().unwrap_or(0);
        lines.extend(shown.iter().flat_map(|row| row.lines(words, label_width)));
        if let Some(downtime) = lines::downtime_so_far(words, self.downtime, self.down) {
            let text = words.lang.with("recap-downtime", &[("downtime", downtime.into())]);
            lines.extend([String::new(), format!("  {text}")]);
        }
        lines.extend(next_lines(words, &self.next));
        lines
    }

    fn headline(&self, words: &Words) -> String {
        let (sign, tone) = match self.ending {
            Ending::Settled(Outcome::Succeeded) => glyph(State::Succeeded),
            Ending::Settled(Outcome::Warned) => ("!", Tone::Warning),
            Ending::Settled(Outcome::Compensated) => glyph(State::Undone),
            Ending::Settled(Outcome::Stuck) => glyph(State::UndoFailed),
            Ending::Paused => glyph(State::Unknown),
            Ending::Interrupted => ("■", Tone::Warning),
        };
        let outcome = words.lang.text(ending_key(self.ending));
        let about = words.lang.with(
            "recap-about",
            &[("took", words.duration(self.seconds).into()), ("plan", self.plan.as_str().into()), ("run", self.run.as_str().into())],
        );
        format!("{} {}", words.paint(tone, format!("{sign} {outcome}")), words.paint(Tone::Faint, about))
    }

    fn explanation(&self) -> &'static str {
        match self.ending {
            Ending::Settled(Outcome::Succeeded) => "recap-succeeded",
            Ending::Settled(Outcome::Warned) => "recap-warned",
            Ending::Settled(Outcome::Compensated) if self.steps.iter().any(|step| step.written_off.is_some()) => "recap-compensated-but",
            Ending::Settled(Outcome::Compensated) => "recap-compensated",
            Ending::Settled(Outcome::Stuck) => "recap-stuck",
            Ending::Paused => "recap-paused",
            Ending::Interrupted if !self.owed.is_empty() => "recap-interrupted-undoing",
            Ending::Interrupted => "recap-interrupted",
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let row = |key, tone, always, of: &dyn Fn(&RecapStep) -> bool, why: fn(&RecapStep) -> Option<&Failure>| Row {
            key,
            tone,
            always,
            steps: self.steps.iter().filter(|step| of(step)).map(|step| (&step.id, why(step).map(first_line))).collect(),
        };
        let quiet = |_: &RecapStep| None;
        vec![
            row("row-done", Tone::Good, true, &|step| step.state == Some(State::Succeeded), quiet),
            row("row-skipped", Tone::Faint, false, &|step| step.state == Some(State::Skipped), quiet),
            row("row-warned", Tone::Warning, true, &|step| step.failure.is_some() && step.tolerated, |step| step.failure.as_ref()),
            row("row-compensated", Tone::Undo, true, &|step| step.state == Some(State::Undone) && step.written_off.is_none(), quiet),
            row("row-written-off", Tone::Bad, false, &|step| step.written_off.is_some(), |step| step.written_off.as_ref()),
            row("row-failed", Tone::Bad, true, &|step| step.failure.is_some() && !step.tolerated, |step| step.failure.as_ref()),
            row("row-unknown", Tone::Warning, true, &RecapStep::is_unknown, quiet),
            row("row-not-run", Tone::Faint, true, &|step| matches!(step.state, None | Some(State::NotRun)), quiet),
            row("row-owed", Tone::Bad, false, &|step| self.owed.contains(&step.id), |step| step.undo_failure.as_ref()),
            row("row-asked", Tone::Warning, false, &|step| self.questions.contains(&step.id), quiet),
        ]
    }
}

impl RecapStep {
    /// Whether nobody knows what became of it: also what is still live while this process leaves.
    fn is_unknown(&self) -> bool {
        matches!(self.state, Some(State::Unknown | State::Started | State::Retrying))
    }
}

impl Row<'_> {
    fn lines(&self, words: &Words, label_width: usize) -> Vec<String> {
        let label = pad(&words.lang.text(self.key), label_width);
        let tone = if self.steps.is_empty() { Tone::Faint } else { self.tone };
        let head = format!("  {}  {:>3}", words.paint(tone, label), self.steps.len());
        let named = &self.steps[..self.steps.len().min(NAMED)];
        let others = self.steps.len() - named.len();
        let more = (others > 0).then(|| words.lang.with("recap-more", &[("n", others.into())]));
        if named.iter().any(|(_, why)| why.is_some()) {
            let indent = " ".repeat(label_width + 7);
            let each = named.iter().map(|(id, why)| match why {
                Some(why) => format!("{id}: {why}"),
                None => id.to_string(),
            });
            return each
                .chain(more)
                .enumerate()
                .map(|(n, text)| if n == 0 { format!("{head}  {text}") } else { format!("{indent}  {text}") })
                .collect();
        }
        let names: Vec<_> = named.iter().map(|(id, _)| id.as_str()).chain(more.as_deref()).collect();
        vec![format!("{head}  {}", names.join(", ")).trim_end().to_owned()]
    }
}

/// The key of an ending's name in the catalogues.
pub fn ending_key(ending: Ending) -> &'static str {
    match ending {
        Ending::Settled(Outcome::Succeeded) => "outcome-succeeded",
        Ending::Settled(Outcome::Warned) => "outcome-warned",
        Ending::Settled(Outcome::Compensated) => "outcome-compensated",
        Ending::Settled(Outcome::Stuck) => "outcome-stuck",
        Ending::Paused => "outcome-paused",
        Ending::Interrupted => "outcome-interrupted",
    }
}

/// The exact next commands, where there are any.
pub fn next_lines(words: &Words, next: &[String]) -> Vec<String> {
    if next.is_empty() {
        return Vec::new();
    }
    let head = words.lang.with("next-commands", &[("n", next.len().into())]);
    let commands = next.iter().map(|command| format!("    {}", words.paint(Tone::Strong, command)));
    [String::new(), format!("  {head}")].into_iter().chain(commands).collect()
}
