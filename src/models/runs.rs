//! The history of a state folder, the newest run first.

use almaplan_engine::event::{Event, Outcome, Release, RunFact, RunId, Standing, WrongAnswer};
use almaplan_engine::host::ServiceCheck;
use almaplan_engine::lock::LockHolder;
use almaplan_engine::runs::{FoundRun, Replay, RunError, Runs};
use almaplan_engine::update::Ending;
use console::measure_text_width;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::status::{RunState, run_state};
use crate::view::format::{Formatter, Style, pad};
use crate::view::serving::{Serving, short};

/// The runs, in the order they are shown.
#[derive(Debug, Clone)]
pub struct RunsView {
    /// One each.
    pub rows: Vec<RunRow>,
    /// What serves now, one for each thing that was deployed.
    pub serving: Vec<ServingRow>,
}

/// What serves now of all that runs of one lock deployed.
#[derive(Debug, Clone)]
pub struct ServingRow {
    /// `[plan] name` of the newest of them.
    pub plan: String,
    /// The run that put it there, where the history still knows it.
    pub run: Option<RunId>,
    /// Which version, and whether it answers.
    pub serving: Serving,
}

/// Asks a measured service what it answers now; `None` where that cannot be asked.
pub type Ask<'a> = &'a dyn Fn(&[ServiceCheck]) -> Option<Option<WrongAnswer>>;

/// One run.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its id.
    pub run: RunId,
    /// `[plan] name`.
    pub plan: String,
    /// Whether it goes on.
    pub state: RunState,
    /// How it was settled, where it was.
    pub outcome: Option<Outcome>,
    /// What it came to.
    pub standing: Standing,
    /// Whether the measured service answered in the end; `None` where none is measured.
    pub answered: Option<bool>,
    /// When it was started.
    pub started_at: Timestamp,
    /// Seconds from its start until it was last settled or rested.
    pub seconds: Option<f64>,
    /// Who started it.
    pub user: String,
}

impl RunsView {
    /// The runs of the state folder; without one, the unsettled ones of the machine. What serves now is asked with `ask`.
    ///
    /// # Errors
    /// A journal is damaged, or the machine's records cannot be read.
    pub fn of(runs: &Runs, ask: Ask<'_>) -> Result<Self, RunError> {
        let Some(history) = runs.history()? else {
            // From a folder that knows of no run, those of the machine that are not settled.
            let unsettled = if runs.only_here { Vec::new() } else { runs.unsettled()? };
            return Ok(Self { rows: unsettled.iter().rev().map(RunRow::on_record).collect(), serving: Vec::new() });
        };
        let mut told: Vec<Told> = Vec::new();
        let mut rows = Vec::with_capacity(history.len());
        for found in &history {
            let (row, replay) = RunRow::of(runs, found)?;
            rows.push(row);
            match told.iter_mut().find(|told| told.lock == found.row.lock) {
                Some(told) => told.older(found, replay),
                None => told.push(Told::newest(found, replay)),
            }
        }
        Ok(Self { rows, serving: told.into_iter().filter_map(|told| told.row(ask)).collect() })
    }

    /// For people.
    pub fn text(&self, fmt: &Formatter) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", fmt.lang.text("runs-none"));
        }
        let heads = ["runs-run", "status-plan", "runs-state", "status-started", "runs-took", "runs-user"].map(|key| fmt.lang.text(key));
        let rows: Vec<[String; 6]> = self.rows.iter().map(|row| row.cells(fmt)).collect();
        let width = |n: usize| rows.iter().map(|row| &row[n]).chain([&heads[n]]).map(|cell| measure_text_width(cell)).max().unwrap_or(0);
        let widths: Vec<_> = (0..heads.len()).map(width).collect();
        let line = |cells: &[String; 6]| {
            let cells: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let head = line(&heads.map(|head| fmt.paint(Style::Faint, head)));
        let serving: String = self.serving.iter().map(|row| format!("{}\n", row.line(fmt))).collect();
        let between = if serving.is_empty() { "" } else { "\n" };
        head + &rows.iter().map(line).collect::<String>() + between + &serving
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "run": row.run,
                "plan": row.plan,
                "state": row.state.as_str(),
                "outcome": row.outcome.map(Outcome::as_str),
                "standing": row.standing.as_str(),
                "answered": row.answered,
                "started_at": row.started_at,
                "seconds": row.seconds,
                "user": row.user,
            })
        });
        let serving = self.serving.iter().map(|row| {
            let mut shown = row.serving.to_json();
            shown["plan"] = row.plan.as_str().into();
            shown["run"] = json!(row.run);
            shown
        });
        json!({ "runs": rows.collect::<Vec<_>>(), "serving": serving.collect::<Vec<_>>() })
    }
}

/// What the runs of one lock tell of what serves, from the newest on.
struct Told {
    lock: String,
    row: Option<ServingRow>,
    checks: Vec<ServiceCheck>,
    /// It is certain, or nothing older can make it so.
    known: bool,
}

impl Told {
    fn newest(found: &FoundRun, replay: Option<Replay>) -> Self {
        let mut told = Self { lock: found.row.lock.clone(), row: None, checks: Vec::new(), known: replay.is_none() };
        if let Some(replay) = replay {
            let inputs = replay.inputs(&found.row.run);
            let serving = Serving::of(&replay.saga, &inputs);
            told.checks = inputs.service_checks();
            let put_there = serving.release == Some(Release::New);
            told.known = put_there || serving.release.is_none();
            let run = put_there.then(|| found.row.run.clone());
            told.row = Some(ServingRow { plan: found.row.plan_name.clone(), run, serving });
        }
        told
    }

    /// The newer ones put nothing there: it is what was there before them.
    fn older(&mut self, found: &FoundRun, replay: Option<Replay>) {
        let Some(row) = self.row.as_mut().filter(|_| !self.known) else { return };
        let Some(replay) = replay else {
            self.known = true;
            return;
        };
        let serving = Serving::of(&replay.saga, &replay.inputs(&found.row.run));
        match serving.release {
            Some(Release::New) => {
                row.run = Some(found.row.run.clone());
                row.serving.version = row.serving.version.take().or(serving.version);
                self.known = true;
            }
            Some(Release::Old) => {}
            None => self.known = true,
        }
    }

    fn row(self, ask: Ask<'_>) -> Option<ServingRow> {
        let mut row = self.row?;
        if let Some(wrong) = (!self.checks.is_empty()).then(|| ask(&self.checks)).flatten() {
            row.serving = row.serving.asked(wrong);
        }
        // Where nothing is measured and no version is told, there is nothing to say.
        (row.serving.answers.is_some() || row.serving.version.is_some()).then_some(row)
    }
}

impl ServingRow {
    fn line(&self, fmt: &Formatter) -> String {
        let lang = &fmt.lang;
        let named = self.serving.version.clone();
        let version = named.or_else(|| self.run.as_ref().map(|run| lang.with("version-of-run", &[("run", short(run).into())])));
        let version = version.unwrap_or_else(|| self.serving.version_name(fmt));
        let what = match self.serving.answers {
            Some(false) => {
                let why = self.serving.why_not(fmt).unwrap_or_else(|| lang.text("down-still"));
                fmt.paint(Style::Bad, lang.with("serves-nothing-now", &[("why", why.into())]))
            }
            Some(true) => lang.with("serves-now", &[("version", version.into())]),
            None => version,
        };
        format!("{}: {what}", fmt.paint(Style::Strong, &self.plan))
    }
}

impl RunRow {
    fn of(runs: &Runs, found: &FoundRun) -> Result<(Self, Option<Replay>), RunError> {
        // Looked at before reading, as `status` does.
        let running = runs.process_of(&found.row)?.is_some();
        let records = found.records()?;
        let (first, last) = (records.first(), records.last());
        let seconds = first.zip(last).filter(|_| !running).map(|(first, last)| last.at.duration_since(first.at).as_secs_f64());
        let user = first.and_then(|record| match &record.event {
            Event::Run(RunFact::Opened(opened)) => Some(opened.user.clone()),
            _ => None,
        });
        let replay = Replay::of(records, &runs.registry);
        // Not by the row alone: who ran it may have died before it could note that it was over, or have ended since the row was read.
        let (state, outcome) = match (found.row.outcome, &replay) {
            (Some(outcome), _) if found.row.finished => (RunState::of(Ending::Settled(outcome), running), Some(outcome)),
            (outcome, _) if running => (RunState::Running, outcome),
            (_, Ok(replay)) => (RunState::of(replay.ending(), false), replay.saga.outcome()),
            (_, Err(_)) => return Err(replay.err().unwrap_or(RunError::NoRun)),
        };
        // One that is over stays in the history, also where this program cannot read its plan.
        let replay = replay.ok();
        let row = Self {
            run: found.row.run.clone(),
            plan: found.row.plan_name.clone(),
            state,
            outcome,
            standing: replay.as_ref().map(|replay| replay.saga.standing()).unwrap_or_default(),
            answered: replay.as_ref().and_then(|replay| replay.saga.answers()),
            started_at: found.row.started_at,
            seconds,
            user: user.unwrap_or_default(),
        };
        Ok((row, replay))
    }

    /// What the machine's record of an unsettled run tells: its journal may be another user's.
    fn on_record((running, holder): &(bool, LockHolder)) -> Self {
        Self {
            run: holder.run.clone(),
            plan: holder.plan_name.clone(),
            state: if *running { RunState::Running } else { RunState::Interrupted },
            outcome: None,
            standing: Standing::Open,
            answered: None,
            started_at: holder.since,
            seconds: None,
            user: holder.user.clone(),
        }
    }

    /// Where it is, and whether the service it leaves answered.
    fn state_text(&self, fmt: &Formatter) -> String {
        let state = run_state(fmt, self.state, self.outcome, self.standing);
        if self.answered == Some(false) && self.state != RunState::Running {
            return fmt.lang.with("state-not-answering", &[("state", state.into())]);
        }
        state
    }

    fn cells(&self, fmt: &Formatter) -> [String; 6] {
        [
            self.run.to_string(),
            self.plan.clone(),
            self.state_text(fmt),
            fmt.date_time(self.started_at),
            self.seconds.map(|seconds| fmt.duration(seconds)).unwrap_or_default(),
            self.user.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    #[test]
    fn history_is_a_table() {
        let row = |run: &str, state, outcome: Option<Outcome>, seconds, standing| RunRow {
            run: RunId::new(run),
            plan: "almareia-producao".to_owned(),
            state,
            outcome,
            standing,
            answered: outcome.map(|outcome| outcome != Outcome::Warned),
            started_at: sample::at(0),
            seconds,
            user: "ana".to_owned(),
        };
        let serving = |version: Option<&str>, answers, run: Option<&str>| ServingRow {
            plan: "almareia-producao".to_owned(),
            run: run.map(RunId::new),
            serving: Serving {
                release: Some(Release::Old),
                version: version.map(str::to_owned),
                answers,
                wrong: (answers == Some(false)).then(sample::wrong),
                ..Serving::default()
            },
        };
        let view = RunsView {
            rows: vec![
                row("20260206-141502-k3f9", RunState::Running, None, None, Standing::Open),
                row("20260205-093000-a1b1", RunState::Settled, Some(Outcome::Compensated), Some(3.2), Standing::NothingChanged),
                row("20260205-091000-a1b2", RunState::Settled, Some(Outcome::Compensated), Some(63.2), Standing::Undone),
                row("20260205-090000-a1b3", RunState::Settled, Some(Outcome::Compensated), Some(63.2), Standing::RolledBack),
                row("20260205-080000-a1b4", RunState::Settled, Some(Outcome::Compensated), Some(63.2), Standing::Aborted),
                row("20260204-100000-c3d5", RunState::Settled, Some(Outcome::Warned), Some(412.0), Standing::Done),
                row("20260204-090000-c3d4", RunState::Settled, Some(Outcome::Succeeded), Some(412.0), Standing::Done),
            ],
            serving: vec![
                serving(Some("1.0.0"), Some(true), None),
                serving(None, Some(true), Some("20260204-090000-c3d4")),
                serving(Some("1.0.0"), Some(false), None),
            ],
        };
        let shown = |language| view.text(&sample::fmt(language));
        let json = serde_json::to_string_pretty(&view.to_json()).unwrap();
        insta::assert_snapshot!(format!("{}=====\n{}=====\n{json}", shown(Language::En), shown(Language::PtBr)));
        assert_eq!(RunsView { rows: vec![], serving: vec![] }.text(&sample::fmt(Language::En)), "no runs yet\n");
    }
}
