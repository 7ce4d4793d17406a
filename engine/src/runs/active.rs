//! A run that this process has: its lock is held, its journal open. It is executed until it is settled, or rests, or must be left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::context::{RunInfo, private_folder};
use crate::event::{Answer, Opened, Outcome, RunId, StepId};
use crate::executor::{Executor, Order, Retained, RunSpec};
use crate::journal::Record;
use crate::lock::{Held, LockHolder};
use crate::plan::{Plan, Templates};
use crate::saga::{IllegalEvent, Saga};
use crate::sqlite::{RunJournal, Store};
use crate::update::Ending;

use super::error::RunError;
use super::inputs::{RunInputs, templates};
use super::next::next_commands;
use super::secrets::Secrets;
use super::{EndedRun, Options, Purpose, Runs, lookup, plan_dir};

/// A run that this process has.
pub struct ActiveRun {
    executor: Executor<RunJournal>,
    held: Held,
    holder: LockHolder,
    store: Store,
    lock_folder: PathBuf,
    inputs: RunInputs,
    pub(super) plan_edited: bool,
}

/// What a run is made from.
pub(super) struct Parts {
    pub(super) plan: Plan,
    pub(super) opened: Opened,
    pub(super) secrets: Secrets,
    pub(super) run: RunId,
}

/// What this process holds of a run.
pub(super) struct Claim {
    pub(super) held: Held,
    pub(super) holder: LockHolder,
    pub(super) store: Store,
    pub(super) journal: RunJournal,
    pub(super) saga: Saga,
    pub(super) records: Vec<Record>,
    pub(super) retained: Retained,
}

impl Parts {
    pub(super) fn templates(&self) -> Templates {
        templates(&self.plan, &self.opened, self.secrets.clone(), &self.run)
    }
}

impl ActiveRun {
    pub(super) fn new(runs: &Runs, parts: Parts, claim: Claim, options: Options) -> Result<Self, RunError> {
        let Claim { held, holder, store, journal, saga, records, retained } = claim;
        let templates = parts.templates();
        let plan = Arc::new(parts.plan);
        let inputs = RunInputs::new(Arc::clone(&plan), &parts.opened, &parts.run);
        let info = RunInfo {
            id: parts.run.clone(),
            plan: plan.name.clone(),
            plan_dir: plan_dir(Path::new(&parts.opened.plan_path)).to_owned(),
            folder: store.run_folder(&parts.run),
            started_at: parts.opened.started_at,
            timestamp: parts.opened.timestamp,
            lang: parts.opened.lang,
        };
        let spec = RunSpec {
            keep: retained,
            plan,
            registry: Arc::clone(&runs.registry),
            host: Arc::clone(&runs.host),
            templates,
            info: Arc::new(info),
            updates: options.updates,
            grace: options.grace,
            user: runs.user.clone(),
        };
        let executor = Executor::continuing(spec, journal, saga, &records);
        Ok(Self { executor, held, holder, store, lock_folder: runs.lock_folder.clone(), inputs, plan_edited: false })
    }

    /// Its id.
    pub fn id(&self) -> &RunId {
        &self.holder.run
    }

    /// Its own folder beside the journal, for what is to be kept of it.
    pub fn folder(&self) -> PathBuf {
        self.store.run_folder(&self.holder.run)
    }

    /// The file of its plan.
    pub fn plan_path(&self) -> &Path {
        &self.holder.plan
    }

    /// Whether the plan file has another text by now. The run goes on with its own (rule 12).
    pub fn plan_edited(&self) -> bool {
        self.plan_edited
    }

    /// This process takes over what an earlier one left.
    pub(super) fn resumed(&mut self, runs: &Runs) -> Result<(), IllegalEvent> {
        self.executor.take_over(runs.pid, &runs.user)
    }

    /// Everything is to be undone. A run that is being undone already, or was, is only gone on with: it would be settled twice.
    fn undo(&mut self, runs: &Runs) -> Result<(), IllegalEvent> {
        if self.executor.saga().unwinding() { Ok(()) } else { self.executor.abort(&runs.user) }
    }

    pub(super) fn taken_over(&mut self, runs: &Runs, purpose: Purpose) -> Result<(), IllegalEvent> {
        match purpose {
            Purpose::Resume => self.resumed(runs),
            Purpose::Abort => self.resumed(runs).and_then(|()| self.undo(runs)),
            // Undone first: a run that is over is not rebooted.
            Purpose::Rollback => self.undo(runs).and_then(|()| self.resumed(runs)),
        }
    }

    pub(super) fn answer(&mut self, step: &StepId, answer: Answer) -> Result<(), IllegalEvent> {
        self.executor.resolve(step, answer)
    }

    /// Makes durable what the executor was told, without going on.
    pub(super) fn save(self) -> Result<Saga, RunError> {
        let store = self.store;
        self.executor.save().map_err(|error| lookup::journal(&store, error))
    }

    /// Aborts this process right after its `n`-th append to the run, the one that began it counted. For tests of crashes.
    #[cfg(debug_assertions)]
    pub fn crash_after(&mut self, n: u64) {
        self.executor.journal_mut().crash_after(n);
    }

    /// Goes on with the run until it is settled, or rests, or must be left.
    pub async fn execute(self, orders: mpsc::Receiver<Order>) -> EndedRun {
        let Self { executor, held, mut holder, store, lock_folder, inputs, .. } = self;
        let span = tracing::info_span!("run", id = %holder.run, plan = %holder.plan_name);
        let mut finished = executor.run(orders).instrument(span).await;
        tracing::info!(run = %holder.run, ending = ?finished.ending, seconds = finished.seconds, "left");
        let next = next_commands(&holder.run, finished.ending, &finished.saga);
        let mut problems: Vec<RunError> = finished.journal_error.take().map(|error| lookup::journal(&store, error)).into_iter().collect();
        if finished.ending == Ending::Settled(Outcome::Compensated) {
            // Nothing is to be brought back any more (rule 22). That something is left is no failure: it is as private as before.
            let _ = std::fs::remove_dir_all(private_folder(&store.run_folder(&holder.run)));
        }
        let marked = match finished.ending {
            Ending::Settled(_) => finished.journal.finish().map_err(|error| lookup::journal(&store, error)),
            Ending::Paused | Ending::Interrupted => Ok(()),
        };
        let noted = marked.and_then(|()| {
            let noted = match finished.ending {
                Ending::Settled(outcome) if outcome != Outcome::Stuck => held.clear(),
                _ => {
                    holder.next = next.first().map(ToString::to_string).unwrap_or_default();
                    held.record(&holder)
                }
            };
            noted.map_err(|source| RunError::Lock { folder: lock_folder, source })
        });
        problems.extend(noted.err());
        EndedRun {
            run: holder.run,
            plan: holder.plan_name,
            ending: finished.ending,
            saga: finished.saga,
            seconds: finished.seconds,
            next,
            inputs,
            problems,
        }
    }
}
