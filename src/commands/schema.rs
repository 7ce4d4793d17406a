//! `almaplan schema`: the JSON Schema of the plan format, which the engine makes from its own types.

use serde_json::Value;

/// The schema as it is printed.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}
