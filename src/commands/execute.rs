//! What `apply`, `resume`, `abort` and `rollback` have in common: a run that this process has is executed and shown.

use std::sync::Arc;

use almaplan_engine::runs::{ActiveRun, EndedRun, Options};
use tracing::Instrument;

use crate::diagnose::Refusal;
use crate::down_question::DownQuestion;
use crate::exit::{Exit, Intent};
use crate::machine;
use crate::signals;
use crate::terminal::Terminal;
use crate::view::Output;
use crate::view::recap::Recap;
use crate::view::record::UpdateRecord;

/// Executes the run that `claim` gets hold of, until it is settled, or rests, or must be left.
///
/// # Errors
/// Nothing was touched: `claim` is refused. Or the machine gives no threads or no signals: nothing was done.
pub fn execute<E: Into<Refusal>>(
    terminal: &Terminal,
    intent: Intent,
    claim: impl FnOnce(Options) -> Result<ActiveRun, E>,
) -> Result<Exit, Refusal> {
    machine::require_open_files()?;
    let output = terminal.output(intent)?;
    let run = claim(options(&output)).map_err(Into::into)?;
    go_on(run, &output, intent, terminal)
}

/// How a run is executed that `output` shows.
pub fn options(output: &Arc<Output>) -> Options {
    Options { updates: output.updates(), grace: machine::grace() }
}

/// Executes a run that this process has.
///
/// # Errors
/// The machine gives no threads or no signals: nothing was done.
pub fn go_on(mut run: ActiveRun, output: &Arc<Output>, intent: Intent, terminal: &Terminal) -> Result<Exit, Refusal> {
    if run.plan_edited() {
        terminal.tell("plan-edited", &[("file", run.plan_path().display().to_string().into())]);
    }
    machine::crash_where_a_test_wants_it(&mut run);
    output.keep_logs(run.folder());
    output.keep_record(UpdateRecord::new(&run.folder(), intent));
    let left_alone = {
        let (output, terminal, folder) = (Arc::clone(output), terminal.clone(), run.folder());
        move || terminal.leave(&output, &folder)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let orders = signals::orders(output, terminal.asks().then(|| DownQuestion::new(terminal)).flatten(), left_alone)?;
        let beat = tokio::spawn(Arc::clone(output).beat());
        // On a thread of the runtime, so that what it begins goes on where it waits, and no other thread has to wake up for it.
        let ended = tokio::spawn(run.execute(orders).in_current_span()).await;
        beat.abort();
        // Nothing beats any more once it has ended.
        let _ = beat.await;
        Ok::<EndedRun, std::io::Error>(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    });
    let mut ended = ended?;
    for problem in ended.problems.drain(..) {
        terminal.warn(&problem.into());
    }
    let shown = output.finish(&Recap::of(&ended));
    // A reader that has stopped reading may go on; whoever does not want to wait for it presses Ctrl-C.
    runtime.block_on(async {
        tokio::select! {
            _ = tokio::task::spawn_blocking(move || shown.wait()) => {}
            _ = signals::heard() => {}
        }
    });
    // Work that would not stop is left to the end of the process.
    runtime.shutdown_background();
    Ok(Exit::of(ended.ending, intent, ended.saga.answers()))
}
