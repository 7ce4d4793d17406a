//! `almaplan runs`: history, the newest first.

use almaplan_engine::event::{Event, Outcome, RunFact, RunId};
use almaplan_engine::lock::Holder;
use almaplan_engine::update::Ending;
use console::measure_text_width;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::RunsArgs;
use crate::diagnose::{Exit, Refusal};
use crate::machine::{self, Found};
use crate::session;
use crate::view::words::{Tone, Words, pad};

use super::status::{RunState, ending, run_state};
use super::{Globals, print};

/// Shows the runs of the state folder; without one, the unsettled ones of the machine.
///
/// # Errors
/// A journal is damaged, or the machine's records cannot be read.
pub fn run(args: &RunsArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let mut view = RunsView { rows: Vec::new() };
    match machine::store(globals)? {
        Some(store) => {
            for row in machine::rows(globals, &store)? {
                view.rows.push(RunRow::of(globals, &Found { store: store.clone(), row })?);
            }
        }
        // From a folder that knows of no run, those of the machine that are not settled.
        None if globals.state_dir.is_some() => {}
        None => view.rows = machine::unsettled_runs(globals)?.iter().rev().map(RunRow::on_record).collect(),
    }
    print(&if globals.json(args.json) { format!("{}\n", view.to_json()) } else { view.text(&globals.words()) });
    Ok(Exit::Ok)
}

/// The runs, in the order they are shown.
#[derive(Debug, Clone)]
pub struct RunsView {
    /// One each.
    pub rows: Vec<RunRow>,
}

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
    /// When it was started.
    pub started_at: Timestamp,
    /// Seconds from its start until it was last settled or rested.
    pub seconds: Option<f64>,
    /// Who started it.
    pub user: String,
}

impl RunsView {
    /// For people.
    pub fn text(&self, words: &Words) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", words.lang.text("runs-none"));
        }
        let heads = ["runs-run", "status-plan", "runs-state", "status-started", "runs-took", "runs-user"].map(|key| words.lang.text(key));
        let rows: Vec<[String; 6]> = self.rows.iter().map(|row| row.cells(words)).collect();
        let width = |n: usize| rows.iter().map(|row| &row[n]).chain([&heads[n]]).map(|cell| measure_text_width(cell)).max().unwrap_or(0);
        let widths: Vec<_> = (0..heads.len()).map(width).collect();
        let line = |cells: &[String; 6]| {
            let cells: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let head = line(&heads.map(|head| words.paint(Tone::Faint, head)));
        head + &rows.iter().map(line).collect::<String>()
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "run": row.run,
                "plan": row.plan,
                "state": row.state.as_str(),
                "outcome": row.outcome.map(Outcome::as_str),
                "started_at": row.started_at,
                "seconds": row.seconds,
                "user": row.user,
            })
        });
        json!({ "runs": rows.collect::<Vec<_>>() })
    }
}

impl RunRow {
    fn of(globals: &Globals, found: &Found) -> Result<Self, Refusal> {
        // Looked at before reading, as `status` does.
        let running = machine::holder_pid(globals, &found.row)?.is_some();
        let records = found.store.read(&found.row.run).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
        let (first, last) = (records.first(), records.last());
        let user = first.and_then(|record| match &record.event {
            Event::Run(RunFact::Opened(opened)) => Some(opened.user.clone()),
            _ => None,
        });
        // Not by the row alone: who ran it may have died before it could note that it was over, or have ended since the row was read.
        let (state, outcome) = match found.row.outcome {
            Some(outcome) if found.row.finished => (RunState::of(Ending::Settled(outcome), running), Some(outcome)),
            outcome if running => (RunState::Running, outcome),
            _ => {
                let (_, _, saga) = session::replay(globals, &records, &almaplan_steps::registry())?;
                (RunState::of(ending(&saga), false), saga.outcome())
            }
        };
        Ok(Self {
            run: found.row.run.clone(),
            plan: found.row.plan_name.clone(),
            state,
            outcome,
            started_at: found.row.started_at,
            seconds: first.zip(last).filter(|_| !running).map(|(first, last)| last.at.duration_since(first.at).as_secs_f64()),
            user: user.unwrap_or_default(),
        })
    }

    /// What the machine's record of an unsettled run tells: its journal may be another user's.
    fn on_record((running, holder): &(bool, Holder)) -> Self {
        Self {
            run: holder.run.clone(),
            plan: holder.plan_name.clone(),
            state: if *running { RunState::Running } else { RunState::Interrupted },
            outcome: None,
            started_at: holder.since,
            seconds: None,
            user: holder.user.clone(),
        }
    }

    fn cells(&self, words: &Words) -> [String; 6] {
        [
            self.run.to_string(),
            self.plan.clone(),
            run_state(words, self.state, self.outcome),
            words.date_time(self.started_at),
            self.seconds.map(|seconds| words.duration(seconds)).unwrap_or_default(),
            self.user.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;

    #[test]
    fn history_is_a_table() {
        let row = |run: &str, state, outcome, seconds| RunRow {
            run: RunId::new(run),
            plan: "almareia-producao".to_owned(),
            state,
            outcome,
            started_at: sample::at(0),
            seconds,
            user: "ana".to_owned(),
        };
        let view = RunsView {
            rows: vec![
                row("20260206-141502-k3f9", RunState::Running, None, None),
                row("20260205-090000-a1b2", RunState::Settled, Some(Outcome::Compensated), Some(63.2)),
                row("20260204-090000-c3d4", RunState::Settled, Some(Outcome::Succeeded), Some(412.0)),
            ],
        };
        let shown = |tongue| view.text(&sample::words(tongue));
        let json = serde_json::to_string_pretty(&view.to_json()).unwrap();
        insta::assert_snapshot!(format!("{}=====\n{}=====\n{json}", shown(Tongue::En), shown(Tongue::PtBr)));
        assert_eq!(RunsView { rows: vec![] }.text(&sample::words(Tongue::En)), "no runs yet\n");
    }
}
