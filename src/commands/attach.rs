//! What `apply --run` does where the run exists already: it shows the run that another process has, or tells how it ended.

use std::sync::Arc;

use almaplan_engine::runs::{EndedRun, FoundRun, Runs};
use almaplan_engine::update::Update;
use jiff::Timestamp;

use crate::diagnose::Refusal;
use crate::exit::{Exit, Intent};
use crate::terminal::Terminal;
use crate::view::recap::Recap;
use crate::view::record::UpdateReader;
use crate::view::{Output, TICK};

/// Shows a run until no process has it any more, and tells how it ended. It does nothing to the run, and ending this process does not
/// either.
///
/// # Errors
/// No process has the run, and it is not settled: somebody must go on with it. Or its journal is damaged.
pub fn attach(found: FoundRun, output: &Arc<Output>, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let run = ("run", found.row.run.as_str().into());
    let ended = match runs.process_of(&found.row)? {
        Some(pid) => {
            terminal.tell("attached", &[run, ("pid", pid.to_string().into())]);
            follow(&found, output, runs)?;
            found.replay(&runs.registry)?.ended(&found.row)
        }
        None => {
            let ended = runs.ended(&found)?;
            terminal.tell("already-run", &[run]);
            ended
        }
    };
    Ok(tell(&ended, output))
}

/// Shows what the process that has the run shows, from the moment at which that began.
fn follow(found: &FoundRun, output: &Output, runs: &Runs) -> Result<(), Refusal> {
    let mut reader = UpdateReader::new(&found.store.run_folder(&found.row.run));
    let mut begun = false;
    loop {
        // Looked at before reading: what is shown before the end is still read after it.
        let goes_on = runs.process_of(&found.row)?.is_some();
        // The record decides nothing: one that cannot be read is one that shows nothing.
        let mut updates = reader.next_updates().inspect_err(|error| tracing::warn!(%error, "no record to follow")).unwrap_or_default();
        if !std::mem::replace(&mut begun, true) {
            // Not what earlier processes showed of the run.
            let last = updates.iter().rposition(|(_, update)| matches!(update, Update::Run { .. }));
            updates.drain(..last.unwrap_or(0));
        }
        for (at, update) in updates {
            // How it ended, its journal tells.
            if !matches!(update, Update::Ended { .. }) {
                output.show(at, update);
            }
        }
        output.tick(Timestamp::now());
        if !goes_on {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
}

fn tell(ended: &EndedRun, output: &Output) -> Exit {
    let (ending, seconds, answers, downtime) = (ended.ending, ended.seconds, ended.saga.answers(), ended.saga.downtime());
    output.show(Timestamp::now(), Update::Ended { ending, seconds, answers, downtime });
    output.finish(&Recap::of(ended)).wait();
    Exit::of(ending, Intent::Forward, answers)
}
