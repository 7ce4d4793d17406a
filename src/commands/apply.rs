//! `almaplan apply PLAN`.

use almaplan_engine::runs::{BegunOnce, NewRun, Runs};
use jiff::Timestamp;

use crate::cli::ApplyArgs;
use crate::diagnose::Refusal;
use crate::exit::{Exit, Intent};
use crate::machine;
use crate::terminal::Terminal;

use super::attach::attach;
use super::execute::{execute, go_on, options};
use super::judged_plan;
use super::values::Values;

/// Runs the plan.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &ApplyArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let new = new_run(args, runs, terminal)?;
    let Some(id) = &args.run else {
        return execute(terminal, Intent::Forward, |options| runs.begin(new, options));
    };
    machine::require_open_files()?;
    let output = terminal.output(Intent::Forward)?;
    match runs.begin_once(id, new, options(&output))? {
        BegunOnce::Begun(run) => go_on(run, &output, Intent::Forward, terminal),
        BegunOnce::Exists(found) => attach(found, &output, runs, terminal),
    }
}

fn new_run(args: &ApplyArgs, runs: &Runs, terminal: &Terminal) -> Result<NewRun, Refusal> {
    let values = Values::of(&args.vars)?;
    let plan = judged_plan(&args.plan, &values, &*runs.env, &runs.registry, terminal)?;
    Ok(NewRun {
        overrides: values.overrides,
        lang: terminal.lang().language().tag().to_owned(),
        lock_timeout: args.lock_timeout,
        ..NewRun::of(plan, Timestamp::now())
    })
}
