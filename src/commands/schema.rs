//! `almaplan schema`: the JSON Schema of the plan format, which the engine makes from its own types.

use almaplan_engine::plan;
use serde_json::Value;

use crate::exit::Exit;
use crate::terminal::print;

/// Prints it.
pub fn run() -> Exit {
    print(&text(&plan::schema(&almaplan_steps::registry())));
    Exit::Ok
}

/// The schema as it is printed.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}
