//! What a run's records tell, folded once: whoever has a [`Replay`] need not read the journal again.

use std::path::Path;
use std::sync::Arc;

use crate::event::{Event, Opened, RunFact, RunId, StepId};
use crate::journal::Record;
use crate::plan::{self, Plan};
use crate::registry::Registry;
use crate::saga::{Index, Saga, Shape, StepPhase};
use crate::sqlite::RunRow;
use crate::update::Ending;

use super::error::RunError;
use super::next::next_commands;
use super::{EndedRun, RunInputs};

/// A run, as its journal tells of it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The plan that it travels with.
    pub plan: Plan,
    /// What it was opened with.
    pub opened: Opened,
    /// Where it stands.
    pub saga: Saga,
    /// All that happened to it.
    pub records: Vec<Record>,
}

impl Replay {
    /// Folds the records of a run.
    ///
    /// # Errors
    /// This program cannot read the plan that the run travels with, or the records do not fit it.
    pub fn of(records: Vec<Record>, registry: &Registry) -> Result<Self, RunError> {
        let opened = match records.first().map(|record| &record.event) {
            Some(Event::Run(RunFact::Opened(opened))) => (**opened).clone(),
            _ => return Err(RunError::NotOpened),
        };
        let plan = travelling_plan(&opened, registry)?;
        let mut saga = Saga::new(Shape::of(&plan, registry));
        for record in &records {
            saga.apply(&record.event)?;
        }
        Ok(Self { plan, opened, saga, records })
    }

    /// How whoever had the run last left it.
    pub fn ending(&self) -> Ending {
        super::ending(&self.saga)
    }

    /// How the run was left, as whoever had it would tell.
    pub fn ended(self, row: &RunRow) -> EndedRun {
        let ending = self.ending();
        let last = self.records.last().map_or(self.opened.started_at, |record| record.at);
        EndedRun {
            run: row.run.clone(),
            plan: row.plan_name.clone(),
            ending,
            next: next_commands(&row.run, ending, &self.saga),
            inputs: self.inputs(&row.run),
            seconds: last.duration_since(self.opened.started_at).as_secs_f64(),
            saga: self.saga,
            problems: Vec::new(),
        }
    }

    /// What the inputs of its steps come to, as the run called `run`.
    pub fn inputs(&self, run: &RunId) -> RunInputs {
        RunInputs::new(Arc::new(self.plan.clone()), &self.opened, run)
    }

    /// Whether nothing more will happen to the run, not even by a resume. Not by the row of the history alone: who ran it may have died
    /// before it could note that it was over.
    pub fn is_over(&self) -> bool {
        matches!(self.ending(), Ending::Settled(outcome) if outcome != crate::event::Outcome::Stuck)
    }

    /// The steps that a person is asked about while a process has the run (`live`), or else.
    pub fn questions(&self, live: bool) -> impl Iterator<Item = Index> + '_ {
        // A step that waits for its answer does so while it is live; a process that ended took its question along, and the next one
        // asks again.
        let waiting =
            self.saga.forward().filter(move |&i| live && self.saga.step(i).phase == StepPhase::Started && self.waits_for_answer(i));
        self.saga.questions().chain(waiting)
    }

    /// Whether a step waits for a person's answer while it is live.
    pub fn waits_for_answer(&self, i: Index) -> bool {
        self.saga.shape().steps[i].waits_for_answer
    }

    /// The name of a step.
    pub fn id(&self, i: Index) -> StepId {
        self.saga.shape().steps[i].id.clone()
    }
}

/// The plan that a run travels with; a file edited since changes nothing (rule 12).
fn travelling_plan(opened: &Opened, registry: &Registry) -> Result<Plan, RunError> {
    let path = Path::new(&opened.plan_path);
    let loaded = plan::load(&opened.plan_text, path, registry);
    let mistakes = loaded.mistakes;
    loaded.plan.ok_or_else(|| RunError::PlanInvalid { path: path.to_owned(), text: opened.plan_text.clone(), mistakes })
}
