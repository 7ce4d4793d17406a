//! `almaplan apply PLAN`.

use crate::cli::ApplyArgs;
use crate::diagnose::{Exit, Refusal};
use crate::session::Session;

use super::Globals;

/// Runs the plan.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &ApplyArgs, globals: &Globals) -> Result<Exit, Refusal> {
    Session::begin(globals, args)?.go_on(globals)
}
