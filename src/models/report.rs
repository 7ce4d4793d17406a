//! What is known of a run, for a page about it: where it stands, what happened when, and what its steps printed.

use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::event::{Direction, StepId};
use almaplan_engine::plan::{Plan, PlannedStep};
use almaplan_engine::runs::{FoundRun, RunError, Runs};
use almaplan_engine::saga::Saga;
use jiff::Timestamp;

use super::spans::{History, Span};
use super::status::StatusView;
use crate::view::step_log::{self, Tail};

/// How much of each step's log is on the page.
const LOG_BYTES: u64 = 64 << 10;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its logs cannot be read.
    #[error("the logs in `{}` could not be read", .path.display())]
    Logs {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What the page shows.
#[derive(Debug, Clone)]
pub struct ReportView {
    /// Where the run stands.
    pub status: StatusView,
    /// Who started it.
    pub user: String,
    /// The version of almaplan that started it.
    pub version: String,
    /// When the page was made.
    pub made_at: Timestamp,
    /// Whether the plan measures a service.
    pub measured: bool,
    /// What happened when.
    pub history: History,
    /// Its steps, in the order of [`StatusView::steps`].
    pub steps: Vec<ReportStep>,
    /// The graph, as SVG.
    pub graph: String,
}

/// A step, beside where it stands.
#[derive(Debug, Clone)]
pub struct ReportStep {
    /// Its kind.
    pub uses: String,
    /// What the plan says of it.
    pub description: Option<String>,
    /// The kinds that make up for it.
    pub compensate: Vec<String>,
    /// It, or what makes up for it, failed.
    pub failed: bool,
    /// What it printed.
    pub log: Option<Tail>,
}

impl ReportView {
    /// What is known of a run; `graph` draws its plan.
    ///
    /// # Errors
    /// Its journal is damaged, or its logs cannot be read.
    pub fn of(runs: &Runs, found: &FoundRun, graph: impl FnOnce(&Plan) -> String) -> Result<Self, ReportError> {
        // Looked at before reading, as `status` does.
        let pid = runs.process_of(&found.row)?;
        let replay = found.replay(&runs.registry)?;
        let folder = found.store.run_folder(&found.row.run);
        let steps = replay.plan.steps.iter().chain(&replay.plan.finally);
        let made_at = Timestamp::now();
        Ok(Self {
            status: StatusView::of(&found.row, pid, &replay),
            steps: steps.map(|step| ReportStep::of(step, &replay.saga, &folder)).collect::<Result<_, _>>()?,
            made_at,
            measured: !replay.plan.measure.is_empty(),
            history: History::of(&replay.plan, &replay.records, pid.map(|_| made_at)),
            graph: graph(&replay.plan),
            user: replay.opened.user,
            version: replay.opened.version,
        })
    }
}

impl ReportView {
    /// What is known of a step.
    pub fn known(&self, step: &StepId) -> Option<&ReportStep> {
        self.status.steps.iter().zip(&self.steps).find(|(status, _)| status.id == *step).map(|(_, known)| known)
    }

    /// The kind that did the work of a span.
    pub fn kind(&self, span: &Span) -> &str {
        let kind = self.known(&span.step).and_then(|step| match span.direction {
            Direction::Forward | Direction::Finally => Some(&step.uses),
            Direction::Undo => step.compensate.get(span.part),
        });
        kind.map_or("", String::as_str)
    }
}

impl ReportStep {
    fn of(step: &PlannedStep, saga: &Saga, folder: &Path) -> Result<Self, ReportError> {
        let path = step_log::path(folder, &step.id);
        let log = step_log::tail(&path, LOG_BYTES).map_err(|source| ReportError::Logs { path, source })?;
        let failed = |i| saga.step(i).failure.is_some() || saga.step(i).undo_failure.is_some();
        Ok(Self {
            uses: step.action.uses.clone(),
            description: step.description.clone(),
            compensate: step.compensate.iter().map(|compensation| compensation.action.uses.clone()).collect(),
            failed: saga.find(&step.id).is_some_and(failed),
            log,
        })
    }
}
