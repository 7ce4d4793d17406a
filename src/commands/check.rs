//! `almaplan check PLAN`.

use almaplan_engine::plan::{self, Given, Severity};

use crate::cli::CheckArgs;
use crate::diagnose::{Refusal, mistakes};
use crate::exit::Exit;
use crate::machine;
use crate::terminal::{Terminal, print};

use super::read_plan;
use super::values::Values;

/// Tells every mistake of a plan, and of the values that it would be applied with.
///
/// # Errors
/// A file cannot be read, or what is given for variables is wrong.
pub fn run(args: &CheckArgs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let values = Values::of(&args.vars)?;
    let text = read_plan(&args.plan)?;
    // Where it will be applied, the environment may be another one.
    let given = Given { overrides: &values.overrides, env: &|name| std::env::var(name).ok(), is_final: false };
    let loaded = plan::load_given(&text, &machine::absolute(&args.plan), &almaplan_steps::registry(), given);
    let views = mistakes::views(terminal.lang(), &loaded.mistakes, &values.given);
    let file = args.plan.display().to_string();
    if terminal.json(args.json) {
        print(&format!("{}\n", mistakes::to_json(&file, &text, &views)));
    } else if views.is_empty() && loaded.variables.is_empty() {
        print(&format!("{}\n", terminal.lang().with("check-valid", &[("file", file.as_str().into())])));
    } else if !views.is_empty() {
        print(&mistakes::text(&terminal.formatter(), terminal.width(), &file, &text, &views));
    }
    if !loaded.variables.is_empty() {
        return Err(Refusal::BadValues { errors: loaded.variables, given: values.given });
    }
    let valid = loaded.mistakes.iter().all(|mistake| mistake.severity() != Severity::Error);
    Ok(if valid { Exit::Ok } else { Exit::Usage })
}
