//! Where a run stands, what is owed, and the exact next command.

use almaplan_engine::event::{Downtime, Failure, Outcome, RunId, Standing, StepId, WrongAnswer};
use almaplan_engine::runs::{ClosedDebt, NextAction, NextCommand, Replay, closed_debts, next_commands, owed, running_commands};
use almaplan_engine::saga::StepPhase;
use almaplan_engine::sqlite::RunRow;
use almaplan_engine::update::{Ending, State};
use console::measure_text_width;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::exit::{Exit, Intent};
use crate::view::format::{Formatter, Style, glyph, pad, sanitize, state_key};
use crate::view::recap::{next_lines, shown_state, why_closed};
use crate::view::serving::{Serving, ending_key, short};

/// Where a run stands.
#[derive(Debug, Clone)]
pub struct StatusView {
    /// Its id.
    pub run: RunId,
    /// `[plan] name`.
    pub plan: String,
    /// The plan file it was started from.
    pub plan_path: String,
    /// Whether and how it goes on.
    pub state: RunState,
    /// How it was settled, where it was.
    pub outcome: Option<Outcome>,
    /// When it was started.
    pub started_at: Timestamp,
    /// The process that is running it.
    pub pid: Option<u32>,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StatusStep>,
    /// The steps that owe a compensation.
    pub owed: Vec<StepId>,
    /// The steps that a person is asked about.
    pub questions: Vec<StepId>,
    /// The compensations that a person did, and those that were written off.
    pub closed: Vec<ClosedDebt>,
    /// The exact commands that lead on, the best one first (rule 20).
    pub next: Vec<NextCommand>,
    /// The measured downtime.
    pub downtime: Option<Downtime>,
    /// Which version serves, as the run told, or as it was asked now where [`StatusView::asked_now`].
    pub serving: Serving,
    /// Whether the measured service answered when the run last told; `None` where none is measured or nothing was told.
    pub answered: Option<bool>,
    /// The measured service was asked just now.
    pub asked_now: bool,
    /// A newer run of the same lock put something else there.
    pub superseded: Option<RunId>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// A process is at it.
    Running,
    /// Nobody is; it can be resumed.
    Interrupted,
    /// A person is asked something.
    Paused,
    /// It has an outcome.
    Settled,
}

impl RunState {
    /// The state of a run that is left like this, or that some process is at.
    pub fn of(ending: Ending, running: bool) -> Self {
        match ending {
            _ if running => Self::Running,
            Ending::Settled(_) => Self::Settled,
            Ending::Paused => Self::Paused,
            Ending::Interrupted => Self::Interrupted,
        }
    }

    /// As programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Paused => "paused",
            Self::Settled => "settled",
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone)]
pub struct StatusStep {
    /// Its name.
    pub id: StepId,
    /// Where it is; `None` where nothing happened to it yet.
    pub state: Option<State>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why its last attempt failed.
    pub error: Option<Failure>,
    /// Whether it owes a compensation.
    pub owes: bool,
}

impl StatusView {
    /// Where a run stands whose journal tells this; `pid`: the process that has it.
    pub fn of(row: &RunRow, pid: Option<u32>, replay: &Replay) -> Self {
        let (saga, opened, ending) = (&replay.saga, &replay.opened, replay.ending());
        let state = RunState::of(ending, pid.is_some());
        let id = |i: usize| replay.id(i);
        let owed = owed(saga);
        let asked: Vec<usize> = replay.questions(pid.is_some()).collect();
        let next = match state {
            RunState::Running => running_commands(&row.run, saga, asked.iter().copied()),
            _ => next_commands(&row.run, ending, saga),
        };
        let step = |i: usize| {
            let known = saga.step(i);
            let failure = known.undo_failure.as_ref().filter(|_| known.phase != StepPhase::Undone).or(known.failure.as_ref());
            StatusStep {
                id: id(i),
                state: shown_state(match known.phase {
                    // Without a process that has the run nothing is live, and this is what `resume` will find.
                    StepPhase::Started if pid.is_none() && saga.shape().steps[i].finally => StepPhase::Pending,
                    StepPhase::Started if pid.is_none() => StepPhase::Unknown,
                    phase => phase,
                }),
                attempts: known.attempt,
                error: failure.cloned(),
                owes: owed.contains(&id(i)),
            }
        };
        Self {
            run: row.run.clone(),
            plan: row.plan_name.clone(),
            plan_path: opened.plan_path.clone(),
            state,
            outcome: saga.outcome(),
            started_at: opened.started_at,
            pid,
            steps: (0..saga.shape().steps.len()).map(step).collect(),
            questions: asked.iter().copied().map(id).collect(),
            closed: closed_debts(saga),
            next,
            downtime: saga.downtime(),
            serving: Serving::of(saga, &replay.inputs(&row.run)),
            answered: saga.answers(),
            asked_now: false,
            superseded: None,
            owed,
        }
    }

    /// The same, with what the measured service answered just now.
    #[must_use]
    pub fn asked(self, wrong: Option<WrongAnswer>) -> Self {
        Self { serving: self.serving.asked(wrong), asked_now: true, ..self }
    }

    /// What `apply` of it would end with; none while it goes on.
    fn exit(&self) -> Option<Exit> {
        let ending = match (self.state, self.outcome) {
            (RunState::Running, _) | (RunState::Settled, None) => return None,
            (RunState::Settled, Some(outcome)) => Ending::Settled(outcome),
            (RunState::Interrupted, _) => Ending::Interrupted,
            (RunState::Paused, _) => Ending::Paused,
        };
        Some(Exit::of(ending, Intent::Forward, self.answered))
    }

    /// Where it is, and that the service it leaves did not answer.
    fn state_text(&self, fmt: &Formatter) -> String {
        let state = run_state(fmt, self.state, self.outcome, self.serving.standing);
        if self.answered == Some(false) && self.state == RunState::Settled {
            return fmt.lang.with("state-not-answering", &[("state", state.into())]);
        }
        state
    }

    /// The measured downtime, and whether it went on when the run last told.
    pub fn downtime_text(&self, fmt: &Formatter) -> Option<String> {
        crate::view::downtime_so_far(fmt, self.downtime, self.answered == Some(false))
    }

    /// Which version serves, and whether it answers; `None` where nothing tells.
    pub fn serves(&self, fmt: &Formatter) -> Option<String> {
        let lang = &fmt.lang;
        if let Some(newer) = &self.superseded {
            return Some(lang.with("serves-another", &[("run", short(newer).into())]));
        }
        let version = self.serving.version_name(fmt);
        Some(match (self.serving.answers, self.asked_now) {
            (None, _) => return self.serving.version.clone(),
            (Some(true), true) => lang.with("serves-now", &[("version", version.into())]),
            (Some(true), false) => lang.with("served-then", &[("version", version.into())]),
            (Some(false), now) => {
                let why = self.serving.why_not(fmt).unwrap_or_else(|| lang.text("down-still"));
                lang.with(if now { "serves-nothing-now" } else { "served-nothing-then" }, &[("why", why.into())])
            }
        })
    }

    /// For people.
    pub fn text(&self, fmt: &Formatter) -> String {
        let lang = &fmt.lang;
        let mut lines = vec![format!("{} · {}", fmt.paint(Style::Strong, &self.run), self.state_text(fmt))];
        let mut rows = vec![
            (lang.text("status-plan"), sanitize(&format!("{} ({})", self.plan, self.plan_path)).into_owned()),
            (lang.text("status-started"), fmt.date_time(self.started_at)),
        ];
        if let Some(pid) = self.pid {
            rows.push((lang.text("status-pid"), pid.to_string()));
        }
        if let Some(serves) = self.serves(fmt) {
            rows.push((lang.text("status-serves"), serves));
        }
        if let Some(downtime) = self.downtime_text(fmt) {
            rows.push((lang.text("status-downtime"), downtime));
        }
        for (key, ids) in [("status-owed", &self.owed), ("status-questions", &self.questions)] {
            if !ids.is_empty() {
                rows.push((lang.text(key), ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")));
            }
        }
        rows.extend(self.closed_rows(fmt));
        let longest = rows.iter().map(|(label, _)| measure_text_width(label)).max().unwrap_or(0);
        lines.extend(rows.iter().map(|(label, value)| format!("  {}  {value}", fmt.paint(Style::Faint, pad(label, longest)))));
        lines.push(String::new());
        let name_width = self.steps.iter().map(|step| measure_text_width(step.id.as_str())).max().unwrap_or(0);
        lines.extend(self.steps.iter().flat_map(|step| step.lines(fmt, name_width)));
        lines.extend(next_lines(fmt, &self.next));
        lines.join("\n") + "\n"
    }

    /// What a person did by hand, and what was written off, each with its label.
    pub fn closed_rows(&self, fmt: &Formatter) -> Vec<(String, String)> {
        let row = |debt: &ClosedDebt| {
            let key = if debt.by_hand { "status-by-hand" } else { "status-written-off" };
            let why = why_closed(fmt, debt).map(|why| format!(": {why}")).unwrap_or_default();
            (fmt.lang.text(key), format!("{}{why}", debt.step))
        };
        self.closed.iter().map(row).collect()
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                let state = step.state.map_or(json!("pending"), |state| json!(state));
                let error = step.error.as_ref().map(|failure| &failure.message);
                json!({ "step": step.id, "state": state, "attempts": step.attempts, "error": error, "owes": step.owes })
            })
            .collect();
        let closed = |by_hand| -> Vec<Value> {
            let of = |debt: &ClosedDebt| {
                let error = debt.failure.as_ref().map(|failure| &failure.message);
                json!({ "step": debt.step, "part": debt.part, "by": debt.by, "because": debt.because, "error": error })
            };
            self.closed.iter().filter(|debt| debt.by_hand == by_hand).map(of).collect()
        };
        let next: Vec<_> = self.next.iter().map(ToString::to_string).collect();
        let ways: Vec<_> = self.next.iter().map(way).collect();
        json!({
            "run": self.run,
            "plan": self.plan,
            "plan_path": self.plan_path,
            "state": self.state.as_str(),
            "outcome": self.outcome.map(Outcome::as_str),
            "exit": self.exit().map(|exit| exit as u8),
            "started_at": self.started_at,
            "pid": self.pid,
            "steps": steps,
            "owed": self.owed,
            "questions": self.questions,
            "by_hand": closed(true),
            "written_off": closed(false),
            "next": next,
            "ways": ways,
            "downtime_ms": self.downtime.map(|downtime| downtime.ms),
            "approximate": self.downtime.map(|downtime| downtime.approximate),
            "down": self.answered == Some(false),
            "standing": self.serving.standing.as_str(),
            "answered": self.answered,
            "serving": self.serving.to_json(),
            "asked_now": self.asked_now,
            "superseded_by": self.superseded,
        })
    }
}

impl StatusStep {
    fn lines(&self, fmt: &Formatter, name_width: usize) -> Vec<String> {
        let lang = &fmt.lang;
        let (sign, style) = self.state.map_or(("·", Style::Faint), glyph);
        let mut line = format!(
            "  {} {}  {}",
            fmt.paint(style, sign),
            pad(self.id.as_str(), name_width),
            lang.text(self.state.map_or("state-pending", state_key))
        );
        if self.attempts > 1 {
            line.push_str(&format!(" ({})", lang.with("count-attempts", &[("n", self.attempts.into())])));
        }
        if self.owes {
            line.push_str(&format!("  {}", fmt.paint(Style::Bad, lang.text("status-owes"))));
        }
        let error = self.error.as_ref().map(|failure| sanitize(&fmt.failure(failure)).into_owned()).unwrap_or_default();
        let indent = " ".repeat(name_width + 6);
        [line].into_iter().chain(error.lines().map(|text| format!("{indent}{text}"))).collect()
    }
}

/// A way on, for programs.
fn way(next: &NextCommand) -> Value {
    let (action, step, answer) = match &next.action {
        NextAction::Resume => ("resume", None, None),
        NextAction::Abort => ("abort", None, None),
        NextAction::Unlock { .. } => ("unlock", None, None),
        NextAction::Resolve { step, answer } => ("resolve", Some(step), Some(answer.as_str())),
    };
    json!({ "command": next.to_string(), "action": action, "step": step, "answer": answer, "means": next.meaning.as_str() })
}

/// The name of where a run is.
pub fn run_state(fmt: &Formatter, state: RunState, outcome: Option<Outcome>, standing: Standing) -> String {
    let (key, style) = run_state_key(state, outcome, standing);
    fmt.paint(style, fmt.lang.text(key))
}

/// The key of the name of where a run is, and its colour.
pub fn run_state_key(state: RunState, outcome: Option<Outcome>, standing: Standing) -> (&'static str, Style) {
    match (state, outcome) {
        (RunState::Settled, Some(outcome)) => {
            let style = match outcome {
                Outcome::Succeeded => Style::Good,
                Outcome::Warned => Style::Warning,
                Outcome::Compensated => Style::Undo,
                Outcome::Stuck => Style::Bad,
            };
            (ending_key(Ending::Settled(outcome), standing), style)
        }
        (RunState::Settled, None) => ("run-state-settled", Style::Normal),
        (RunState::Running, _) => ("run-state-running", Style::Strong),
        (RunState::Interrupted, _) => ("outcome-interrupted", Style::Warning),
        (RunState::Paused, _) => ("outcome-paused", Style::Warning),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use almaplan_engine::runs::{Meaning, NextAnswer};

    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    fn view() -> StatusView {
        let step = |id: &str, state, attempts, error: Option<&str>, owes| StatusStep {
            id: StepId::new(id),
            state,
            attempts,
            error: error.map(Failure::clean),
            owes,
        };
        StatusView {
            run: RunId::new("20260206-141502-k3f9"),
            plan: "almareia-producao".to_owned(),
            plan_path: "/srv/plans/production.toml".to_owned(),
            state: RunState::Paused,
            outcome: None,
            started_at: sample::at(0),
            pid: Some(4321),
            steps: vec![
                step("backup", Some(State::Succeeded), 1, None, false),
                step("migração", Some(State::Unknown), 2, Some("nobody knows\nwhat became of it"), true),
                step("health", None, 0, None, false),
            ],
            owed: vec![StepId::new("migração")],
            questions: vec![StepId::new("migração")],
            closed: vec![ClosedDebt {
                step: StepId::new("keys"),
                part: 1,
                by_hand: false,
                by: Some("ana".to_owned()),
                because: Some("the key is lost".to_owned()),
                failure: None,
            }],
            next: [(NextAnswer::Done, Meaning::WasDone), (NextAnswer::NotDone, Meaning::WasNotDone)]
                .map(|(answer, meaning)| NextCommand {
                    run: RunId::new("20260206-141502-k3f9"),
                    action: NextAction::Resolve { step: StepId::new("migração"), answer },
                    meaning,
                })
                .to_vec(),
            downtime: Some(Downtime { ms: 12_300, approximate: true }),
            serving: Serving { answers: Some(false), wrong: Some(sample::wrong()), ..Serving::default() },
            answered: Some(false),
            asked_now: true,
            superseded: None,
        }
    }

    #[test]
    fn status_says_where_a_run_stands_and_how_it_goes_on() {
        let shown = |language| view().text(&sample::fmt(language));
        let json = serde_json::to_string_pretty(&view().to_json()).unwrap();
        insta::assert_snapshot!(format!("{}=====\n{}=====\n{json}", shown(Language::En), shown(Language::PtBr)));
    }
}
