//! `almaplan resume [RUN]`.

use crate::cli::ResumeArgs;
use crate::diagnose::{Exit, Refusal};
use crate::machine;
use crate::session::{Purpose, Session};

use super::Globals;

/// Goes on with an interrupted, paused or stuck run.
///
/// # Errors
/// It was refused; nothing was touched.
pub fn run(args: &ResumeArgs, globals: &Globals) -> Result<Exit, Refusal> {
    let found = match &args.run {
        Some(run) => {
            let found = machine::find(globals, run)?;
            // Also of a run that is over: "nothing to resume" would be said of what nobody knows.
            machine::verify(globals, &found)?;
            Some(found).filter(|found| machine::is_open(&found.row))
        }
        None => machine::find_open(globals)?,
    };
    let Some(found) = found else {
        // What ended, but could not say so to the machine, is noted now.
        machine::forget_stale(globals)?;
        globals.tell("nothing-to-resume", &[]);
        return Ok(Exit::Ok);
    };
    let mut session = Session::take_over(globals, found, Purpose::GoOn, |_, _| Ok(()))?;
    session.resumed(globals)?;
    session.go_on(globals)
}
