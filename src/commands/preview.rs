//! `almaplan preview PLAN`: what `apply` would do here and now.

use almaplan_engine::runs::{NewRun, Runs};
use jiff::Timestamp;

use crate::cli::PreviewArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::models::preview::PreviewView;
use crate::terminal::{Terminal, print};

use super::judged_plan;
use super::values::Values;

/// Shows what a run of the plan would do. Changes nothing.
///
/// # Errors
/// The plan has mistakes, a value is missing, or what is there cannot be read: `apply` would be refused, too.
pub fn run(args: &PreviewArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let values = Values::of(&args.vars)?;
    let plan = judged_plan(&args.plan, &values, &*runs.env, &runs.registry, terminal)?;
    let lang = terminal.lang().language().tag().to_owned();
    let new = NewRun { overrides: values.overrides, lang, ..NewRun::of(plan, Timestamp::now()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let view = PreviewView::of(&runtime.block_on(runs.preview(new))?);
    print(&if terminal.json(args.json) { format!("{}\n", view.to_json()) } else { view.text(&terminal.formatter()) });
    Ok(Exit::Ok)
}
