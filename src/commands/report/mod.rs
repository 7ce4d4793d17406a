//! `almaplan report RUN -o FILE.html`: one self-contained page of a run, for people who were not there.
//!
//! ```text
//!  records ──> spans ──┐
//!  status, logs ───────┴──> ReportView ──> page (─> timeline) ──> FILE, whole or not at all
//! ```

mod html;
mod page;
#[cfg(test)]
mod sample;
mod spans;
mod timeline;

use std::fs;
use std::io;
use std::path::Path;

use almaplan_engine::event::StepId;
use almaplan_engine::plan::PlannedStep;
use almaplan_engine::saga::Saga;
use almaplan_engine::update::Phase;
use almaplan_steps::files::write_atomically;
use jiff::Timestamp;

use crate::cli::{GraphFormat, ReportArgs};
use crate::diagnose::{Exit, Reason, Refusal};
use crate::machine::{self, Found};
use crate::session;
use crate::view::step_log::{self, Tail};
use crate::view::words::Words;

use self::spans::{History, Span};
use super::graph::GraphView;
use super::logs::LogsError;
use super::status::StatusView;
use super::{Globals, print};

/// How much of each step's log is on the page.
const LOG_BYTES: u64 = 64 << 10;

/// Writes the page of a run. Nothing is written where it is refused.
///
/// # Errors
/// There is no such run, its journal is damaged, its logs cannot be read, or the file cannot be written.
pub fn run(args: &ReportArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = machine::find(globals, &args.run)?;
    // Whoever opens the page has no terminal.
    let words = Words { color: false, ..globals.words() };
    let page = page::draw(&ReportView::of(globals, &found, &words)?, &words);
    if args.output == Path::new("-") {
        print(&page);
        return Ok(Exit::Ok);
    }
    write(&args.output, &page).map_err(|error| unwritable(globals, &args.output, &error))?;
    globals.tell("report-written", &[("file", args.output.display().to_string().into())]);
    Ok(Exit::Ok)
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
    fn of(globals: &Globals, found: &Found, words: &Words) -> Result<Self, Refusal> {
        // Looked at before reading, as `status` does.
        let pid = machine::holder_pid(globals, &found.row)?;
        let records = found.store.read(&found.row.run).map_err(|error| machine::journal_refused(globals, found.store.dir(), &error))?;
        let (plan, opened, saga) = session::replay(globals, &records, &almaplan_steps::registry())?;
        let folder = found.store.run_folder(&found.row.run);
        let steps = plan.steps.iter().chain(&plan.finally);
        let steps: Result<Vec<_>, LogsError> = steps.map(|step| ReportStep::of(step, &saga, &folder)).collect();
        let made_at = Timestamp::now();
        Ok(Self {
            status: StatusView::told(found, pid, &plan, &opened, &saga),
            user: opened.user,
            version: opened.version,
            made_at,
            measured: plan.measure.is_some(),
            history: History::of(&plan, &records, pid.map(|_| made_at)),
            steps: steps.map_err(|error| globals.refusal(Reason::Internal, &[("error", error.to_string().into())]))?,
            graph: GraphView::of(&plan).draw(words, GraphFormat::Svg),
        })
    }
}

impl ReportView {
    fn known(&self, step: &StepId) -> Option<&ReportStep> {
        self.status.steps.iter().zip(&self.steps).find(|(status, _)| status.id == *step).map(|(_, known)| known)
    }

    /// The kind that did the work of a span.
    fn kind(&self, span: &Span) -> &str {
        let kind = self.known(&span.step).and_then(|step| match span.phase {
            Phase::Forward | Phase::Finally => Some(&step.uses),
            Phase::Undo => step.compensate.get(span.part),
        });
        kind.map_or("", String::as_str)
    }
}

impl ReportStep {
    fn of(step: &PlannedStep, saga: &Saga, folder: &Path) -> Result<Self, LogsError> {
        let path = step_log::path(folder, &step.id);
        let log = step_log::tail(&path, LOG_BYTES).map_err(|source| LogsError::Read { path, source })?;
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

/// Writes `page`, so that whoever looks sees the old file or the new one.
fn write(path: &Path, page: &str) -> io::Result<()> {
    match fs::metadata(path) {
        // A terminal or a pipe (`/dev/stdout`) is written to, never replaced.
        Ok(there) if !there.is_file() && !there.is_dir() => fs::write(path, page),
        // A link stays, and what it leads to is replaced.
        Ok(_) => write_atomically(&fs::canonicalize(path)?, page.as_bytes()),
        Err(_) => write_atomically(&machine::absolute(path), page.as_bytes()),
    }
}

fn unwritable(globals: &Globals, path: &Path, error: &io::Error) -> Refusal {
    let (reason, what) = match error.kind() {
        io::ErrorKind::StorageFull => (Reason::DiskFull, "folder"),
        _ => (Reason::FileUnwritable, "file"),
    };
    globals.refusal(reason, &[(what, path.display().to_string().into()), ("error", error.to_string().into())])
}
