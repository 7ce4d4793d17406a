//! `almaplan status [RUN]`: where a run stands, what is owed, and the exact next command.

use almaplan_engine::event::{Downtime, Opened, Outcome, RunId, StepId};
use almaplan_engine::plan::Plan;
use almaplan_engine::saga::{Phase, Saga};
use almaplan_engine::update::{Ending, State};
use console::measure_text_width;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::diagnose::{Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session;
use crate::view::recap::{ending_key, next_lines};
use crate::view::words::{Tone, Words, glyph, harmless, pad, state_key};

use super::{Globals, print};

/// Tells where a run stands: the one that is named, else the newest.
///
/// # Errors
/// There is none, or its journal is damaged.
pub fn run(args: &StatusArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => machine::find(globals, run)?,
        None => newest(globals)?,
    };
    let view = StatusView::of(globals, &found)?;
    print(&if globals.json(args.json) { format!("{}\n", view.to_json()) } else { view.text(&globals.words()) });
    Ok(Exit::Ok)
}

fn newest(globals: &Globals) -> Result<Found, Refusal> {
    let none = || globals.refusal(Reason::NoRun, &[]);
    match machine::store(globals)? {
        Some(store) => {
            let row = machine::rows(globals, &store)?.into_iter().next().ok_or_else(none)?;
            Ok(Found { store, row })
        }
        None => machine::find_open(globals)?.ok_or_else(none),
    }
}

/// How whoever had a run last left it.
pub(super) fn ending(saga: &Saga) -> Ending {
    match saga.outcome() {
        Some(outcome) if saga.finished() => Ending::Settled(outcome),
        _ if saga.questions().next().is_some() => Ending::Paused,
        _ => Ending::Interrupted,
    }
}

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
    /// The exact commands that go on, the best one first.
    pub next: Vec<String>,
    /// The measured downtime.
    pub downtime: Option<Downtime>,
    /// The measured service did not answer when it was last looked at.
    pub down: bool,
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
    pub(super) fn of(ending: Ending, running: bool) -> Self {
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
    pub error: Option<String>,
    /// Whether it owes a compensation.
    pub owes: bool,
}

impl StatusView {
    /// Where the run stands now.
    ///
    /// # Errors
    /// Its journal is damaged.
    pub(super) fn of(globals: &Globals, found: &Found) -> Result<Self, Refusal> {
        // Looked at before reading: a run that ends meanwhile is shown as ended.
        let pid = machine::holder_pid(globals, &found.row)?;
        let records = found.store.read(&found.row.run).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
        let (plan, opened, saga) = session::replay(globals, &records, &almaplan_steps::registry())?;
        Ok(Self::told(found, pid, &plan, &opened, &saga))
    }

    /// Where a run stands whose journal tells this; `pid`: the process that has it.
    pub(super) fn told(found: &Found, pid: Option<u32>, plan: &Plan, opened: &Opened, saga: &Saga) -> Self {
        let ending = ending(saga);
        let state = RunState::of(ending, pid.is_some());
        let id = |i: usize| saga.shape().steps[i].id.clone();
        let owed = session::owed(saga);
        // An approval is asked while it is live; a process that ended took its question along, and the next one asks again.
        let waits = |&i: &usize| pid.is_some() && saga.step(i).phase == Phase::Started && session::is_approval(plan, i);
        let asked: Vec<usize> = saga.questions().chain(saga.forward().filter(waits)).collect();
        let step = |i: usize| {
            let known = saga.step(i);
            let failure = known.undo_failure.as_ref().filter(|_| known.phase != Phase::Undone).or(known.failure.as_ref());
            StatusStep {
                id: id(i),
                state: session::shown_state(match known.phase {
                    // Without a process that has the run nothing is live, and this is what `resume` will find.
                    Phase::Started if pid.is_none() && saga.shape().steps[i].finally => Phase::Pending,
                    Phase::Started if pid.is_none() => Phase::Unknown,
                    phase => phase,
                }),
                attempts: known.attempt,
                error: failure.map(|failure| failure.message.clone()),
                owes: owed.contains(&id(i)),
            }
        };
        Self {
            run: found.row.run.clone(),
            plan: found.row.plan_name.clone(),
            plan_path: opened.plan_path.clone(),
            state,
            outcome: saga.outcome(),
            started_at: opened.started_at,
            pid,
            steps: (0..saga.shape().steps.len()).map(step).collect(),
            questions: asked.iter().copied().map(id).collect(),
            next: match state {
                RunState::Running => session::answers(&found.row.run, saga, asked.iter().copied()),
                _ => session::next_commands(&found.row.run, ending, saga),
            },
            downtime: saga.downtime(),
            down: saga.down(),
            owed,
        }
    }

    /// For people.
    pub fn text(&self, words: &Words) -> String {
        let lang = &words.lang;
        let mut lines = vec![format!("{} · {}", words.paint(Tone::Strong, &self.run), run_state(words, self.state, self.outcome))];
        let mut rows = vec![
            (lang.text("status-plan"), format!("{} ({})", self.plan, self.plan_path)),
            (lang.text("status-started"), words.date_time(self.started_at)),
        ];
        if let Some(pid) = self.pid {
            rows.push((lang.text("status-pid"), pid.to_string()));
        }
        if let Some(downtime) = crate::view::downtime_so_far(words, self.downtime, self.down) {
            rows.push((lang.text("status-downtime"), downtime));
        }
        for (key, ids) in [("status-owed", &self.owed), ("status-questions", &self.questions)] {
            if !ids.is_empty() {
                rows.push((lang.text(key), ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")));
            }
        }
        let longest = rows.iter().map(|(label, _)| measure_text_width(label)).max().unwrap_or(0);
        lines.extend(rows.iter().map(|(label, value)| format!("  {}  {value}", words.paint(Tone::Faint, pad(label, longest)))));
        lines.push(String::new());
        let name_width = self.steps.iter().map(|step| measure_text_width(step.id.as_str())).max().unwrap_or(0);
        lines.extend(self.steps.iter().flat_map(|step| step.lines(words, name_width)));
        lines.extend(next_lines(words, &self.next));
        lines.join("\n") + "\n"
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                let state = step.state.map_or(json!("pending"), |state| json!(state));
                json!({ "step": step.id, "state": state, "attempts": step.attempts, "error": step.error, "owes": step.owes })
            })
            .collect();
        json!({
            "run": self.run,
            "plan": self.plan,
            "plan_path": self.plan_path,
            "state": self.state.as_str(),
            "outcome": self.outcome.map(Outcome::as_str),
            "started_at": self.started_at,
            "pid": self.pid,
            "steps": steps,
            "owed": self.owed,
            "questions": self.questions,
            "next": self.next,
            "downtime_ms": self.downtime.map(|downtime| downtime.ms),
            "down": self.down,
        })
    }
}

impl StatusStep {
    fn lines(&self, words: &Words, name_width: usize) -> Vec<String> {
        let lang = &words.lang;
        let (sign, tone) = self.state.map_or(("·", Tone::Faint), glyph);
        let mut line = format!(
            "  {} {}  {}",
            words.paint(tone, sign),
            pad(self.id.as_str(), name_width),
            lang.text(self.state.map_or("state-pending", state_key))
        );
        if self.attempts > 1 {
            line.push_str(&format!(" ({})", lang.with("count-attempts", &[("n", self.attempts.into())])));
        }
        if self.owes {
            line.push_str(&format!("  {}", words.paint(Tone::Bad, lang.text("status-owes"))));
        }
        let error = self.error.as_deref().map(harmless).unwrap_or_default().into_owned();
        let indent = " ".repeat(name_width + 6);
        [line].into_iter().chain(error.lines().map(|text| format!("{indent}{text}"))).collect()
    }
}

/// The name of where a run is.
pub(super) fn run_state(words: &Words, state: RunState, outcome: Option<Outcome>) -> String {
    let (key, tone) = run_state_key(state, outcome);
    words.paint(tone, words.lang.text(key))
}

/// The key of the name of where a run is, and its colour.
pub(super) fn run_state_key(state: RunState, outcome: Option<Outcome>) -> (&'static str, Tone) {
    match (state, outcome) {
        (RunState::Settled, Some(outcome)) => {
            let tone = match outcome {
                Outcome::Succeeded => Tone::Good,
                Outcome::Warned => Tone::Warning,
                Outcome::Compensated => Tone::Undo,
                Outcome::Stuck => Tone::Bad,
            };
            (ending_key(Ending::Settled(outcome)), tone)
        }
        (RunState::Settled, None) => ("run-state-settled", Tone::Normal),
        (RunState::Running, _) => ("run-state-running", Tone::Strong),
        (RunState::Interrupted, _) => ("outcome-interrupted", Tone::Warning),
        (RunState::Paused, _) => ("outcome-paused", Tone::Warning),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;

    fn view() -> StatusView {
        let step = |id: &str, state, attempts, error: Option<&str>, owes| StatusStep {
            id: StepId::new(id),
            state,
            attempts,
            error: error.map(str::to_owned),
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
            next: vec![
                "almaplan resolve 20260206-141502-k3f9 migração done".to_owned(),
                "almaplan resolve 20260206-141502-k3f9 migração not-done".to_owned(),
            ],
            downtime: Some(Downtime { ms: 12_300, approximate: true }),
            down: true,
        }
    }

    #[test]
    fn status_says_where_a_run_stands_and_how_it_goes_on() {
        let shown = |tongue| view().text(&sample::words(tongue));
        let json = serde_json::to_string_pretty(&view().to_json()).unwrap();
        insta::assert_snapshot!(format!("{}=====\n{}=====\n{json}", shown(Tongue::En), shown(Tongue::PtBr)));
    }
}
