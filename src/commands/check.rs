//! `almaplan check PLAN`.

use almaplan_engine::plan::{self, Severity};

use crate::cli::CheckArgs;
use crate::diagnose::{Exit, Reason, Refusal, mistakes};
use crate::machine;

use super::{Globals, print};

/// Tells every mistake of a plan.
///
/// # Errors
/// The file cannot be read.
pub fn run(args: &CheckArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let text = std::fs::read_to_string(&args.plan).map_err(|error| {
        let file = args.plan.display().to_string();
        globals.refusal(Reason::PlanUnreadable, &[("file", file.into()), ("error", error.to_string().into())])
    })?;
    let path = machine::absolute(&args.plan);
    let loaded = plan::load(&text, &path, &almaplan_steps::registry());
    let views = mistakes::views(&loaded.mistakes);
    let file = args.plan.display().to_string();
    if globals.json(args.json) {
        print(&format!("{}\n", mistakes::to_json(&file, &text, &views)));
    } else if views.is_empty() {
        print(&format!("{}\n", globals.lang.with("check-valid", &[("file", file.as_str().into())])));
    } else {
        print(&mistakes::text(&globals.words(), globals.width(), &file, &text, &views));
    }
    let valid = loaded.mistakes.iter().all(|mistake| mistake.severity() != Severity::Error);
    Ok(if valid { Exit::Ok } else { Exit::Usage })
}
