//! One file a command. Each renders from plain data; what it is about comes from the engine.

pub mod abort;
pub mod apply;
mod attach;
pub mod check;
pub mod completions;
pub mod confirm;
mod execute;
pub mod explain;
pub mod graph;
pub mod init;
pub mod logs;
pub mod preview;
pub mod prune;
pub mod report;
pub mod resolve;
pub mod resume;
pub mod rollback;
pub mod runs;
pub mod schema;
pub mod status;
pub mod steps;
pub mod unlock;
mod values;

use std::path::{Path, PathBuf};

use almaplan_engine::encoding;
use almaplan_engine::event::WrongAnswer;
use almaplan_engine::host::ServiceCheck;
use almaplan_engine::plan::{self, Given, Loaded, Plan};
use almaplan_engine::registry::Registry;
use almaplan_engine::runs::Runs;

use crate::cli::Action;
use crate::diagnose::{GivenBy, Refusal, plan_text};
use crate::exit::Exit;
use crate::machine;
use crate::terminal::Terminal;

use self::values::Values;

/// Does what was asked.
///
/// # Errors
/// It was refused.
pub fn dispatch(action: &Action, state_dir: Option<&Path>, terminal: &Terminal) -> Result<Exit, Refusal> {
    let runs = || {
        if state_dir.is_none()
            && let Some(distrust) = machine::state_of_others()
        {
            terminal.tell("state-not-ours", &[("error", distrust.to_string().into())]);
        }
        machine::runs(state_dir)
    };
    match action {
        Action::Init(args) => init::run(args, terminal),
        Action::Check(args) => check::run(args, terminal),
        Action::Preview(args) => preview::run(args, &runs(), terminal),
        Action::Apply(args) => apply::run(args, &runs(), terminal),
        Action::Resume(args) => resume::run(args, &runs(), terminal),
        Action::Abort(args) => abort::run(args, &runs(), terminal),
        Action::Rollback(args) => rollback::run(args, &runs(), terminal),
        Action::Resolve(args) => resolve::run(args, &runs(), terminal),
        Action::Unlock(args) => unlock::run(args, &runs(), terminal),
        Action::Status(args) => status::run(args, &runs(), terminal),
        Action::Runs(args) => runs::run(args, &runs(), terminal),
        Action::Logs(args) => logs::run(args, &runs(), terminal),
        Action::Report(args) => report::run(args, &runs(), terminal),
        Action::Prune(args) => prune::run(args, &runs(), terminal),
        Action::Explain(args) => explain::run(args, terminal),
        Action::Graph(args) => graph::run(args, terminal),
        Action::Steps(args) => steps::run(args, terminal),
        Action::Schema => Ok(schema::run()),
        Action::Completions(args) => Ok(completions::run(args, terminal)),
    }
}

/// The plan in a file, checked. Its warnings are shown.
///
/// # Errors
/// It cannot be read, or has mistakes.
fn checked_plan(file: &Path, registry: &Registry, terminal: &Terminal) -> Result<Plan, Refusal> {
    let path = machine::absolute(file);
    let text = read_plan(&path)?;
    let loaded = plan::load(&text, &path, registry);
    without_mistakes(loaded, path, text, Vec::new(), terminal)
}

/// The plan in a file, checked with the values that a run of it begins with. Its warnings are shown.
///
/// # Errors
/// It cannot be read, or has mistakes, or what is given for its variables is wrong.
fn judged_plan(
    file: &Path,
    values: &Values,
    env: &(dyn Fn(&str) -> Option<String> + Send + Sync),
    registry: &Registry,
    terminal: &Terminal,
) -> Result<Plan, Refusal> {
    let path = machine::absolute(file);
    let text = read_plan(&path)?;
    let given = Given { overrides: &values.overrides, env: &env, is_final: true };
    let loaded = plan::load_given(&text, &path, registry, given);
    without_mistakes(loaded, path, text, values.given.clone(), terminal)
}

fn without_mistakes(loaded: Loaded, file: PathBuf, text: String, given: Vec<GivenBy>, terminal: &Terminal) -> Result<Plan, Refusal> {
    match loaded.plan {
        Some(plan) => {
            terminal.complain(&plan_text(&terminal.formatter_err(), terminal.width(), &file, &text, &loaded.mistakes, &given));
            Ok(plan)
        }
        None if loaded.variables.is_empty() => Err(Refusal::PlanInvalid { file, text, mistakes: loaded.mistakes, given }),
        None => Err(Refusal::BadValues { errors: loaded.variables, given }),
    }
}

/// What a measured service answers now; `None` where nothing is measured, or it cannot be asked.
fn ask_now(runs: &Runs, checks: &[ServiceCheck]) -> Option<Option<WrongAnswer>> {
    if checks.is_empty() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    Some(runtime.block_on(runs.host.wrong_answer(checks)))
}

/// The text of a plan.
fn read_plan(file: &Path) -> Result<String, Refusal> {
    encoding::read(file).map_err(|source| Refusal::PlanUnreadable { file: file.to_owned(), source })
}
