//! A program that does not outlive us: run to its end, its lines shown, and nothing of it left behind.
//!
//! It runs in a session of its own: no terminal, so nothing can wait for a password that nobody types, and no Ctrl+C but ours.
//! When it ends, or is asked to stop, or whoever waits for it is dropped, so does everything that it started.

use std::time::Duration;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::Failure;
use almaplan_engine::update::Stream;
use almaplan_engine::words::verbatim;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Description, Ending, Gentle, LastLines, Launch, Launched, Tree, describe, ending, kill_now, launch, pump, stop};

/// How long children that a program left may take to end by themselves: the end of a pipe is often a moment later.
const STRAGGLE: Duration = Duration::from_millis(100);
/// How long what was printed may take to arrive once all have ended: whoever was handed the pipe and belongs to no tree of ours
/// (a service that the program asked for) must not hold us.
const ARRIVE: Duration = Duration::from_secs(5);

/// How a program is run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// How long it may take to end when it is asked to, before it is killed.
    pub grace: Duration,
    /// Whether people see its lines.
    pub shown: bool,
    /// How much of the end of each stream is kept, in bytes.
    pub keep: usize,
}

/// What a program did that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// The end of what it printed on standard output, where that was piped.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
    /// The last lines of both, for a failure.
    pub last: Vec<String>,
}

/// What there is to say of a run, beside what the program does.
#[derive(Debug, Serialize, thiserror::Error)]
enum RunNote {
    #[error("`{program}` could not be waited for: {source}")]
    NoStatus {
        program: String,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("`{program}` left programs running, which are ended with it: {}", listed(left))]
    LeftRunning { program: String, left: Vec<Description> },
}

fn listed(left: &[Description]) -> String {
    left.iter().map(Description::to_string).collect::<Vec<_>>().join("; ")
}

/// Runs `launch` to its end. Whatever it leaves running in the background is ended with it.
///
/// # Errors
/// It could not be started (clean), or it was stopped as asked.
pub async fn run(cx: &Context, what: Launch, options: RunOptions<'_>) -> Result<Finished, Failure> {
    let Launched { mut child, identity, lifetime_handle: _lifetime_handle } = launch(cx, what).await?;
    let mut guard = KillOnDrop { tree: Tree::of(&identity), ended: false };
    let last = LastLines::default();
    let shown = options.shown.then_some(cx);
    let stdout = child.stdout.take().map(|source| tokio::spawn(pump(source, Stream::Stdout, shown.cloned(), last.clone(), options.keep)));
    let stderr = child.stderr.take().map(|source| tokio::spawn(pump(source, Stream::Stderr, shown.cloned(), last.clone(), options.keep)));

    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = cx.cancelled() => None,
    };
    match status {
        Some(_) => clear_leftovers(cx, &mut guard.tree, options).await?,
        None => drop(stop(&mut guard.tree, Gentle::Term, options.grace).await.map_err(Failure::dirty)?),
    }
    tracing::debug!(pid = identity.pid, ?status, "ended");
    guard.ended = true;
    let (stdout, stderr) = (printed(stdout).await, printed(stderr).await);
    let last = last.to_vec();
    match status {
        None => Err(Failure::dirty(Stopped).with_tail(last)),
        Some(Err(source)) => Err(Failure::dirty(RunNote::NoStatus { program: options.name.to_owned(), source }).with_tail(last)),
        Some(Ok(status)) => Ok(Finished { ending: ending(status), stdout, stderr, last }),
    }
}

/// Ends what the program left in the background.
async fn clear_leftovers(cx: &Context, tree: &mut Tree, options: RunOptions<'_>) -> Result<(), Failure> {
    let patience = Instant::now() + STRAGGLE;
    while !tree.refresh().is_empty() {
        if Instant::now() < patience {
            sleep(Duration::from_millis(5)).await;
            continue;
        }
        let left = tree.refresh().into_iter().filter_map(describe).collect();
        cx.info(RunNote::LeftRunning { program: options.name.to_owned(), left });
        stop(tree, Gentle::Term, options.grace).await.map_err(Failure::dirty)?;
    }
    Ok(())
}

/// What was printed, once all who could print have ended.
async fn printed(pump: Option<JoinHandle<String>>) -> String {
    let Some(mut pump) = pump else { return String::new() };
    match timeout(ARRIVE, &mut pump).await {
        Ok(text) => text.unwrap_or_default(),
        Err(_) => {
            pump.abort();
            String::new()
        }
    }
}

/// Kills the tree when it is dropped before all of it has ended: an attempt that is torn down leaves nothing behind, either.
struct KillOnDrop {
    tree: Tree,
    ended: bool,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if !self.ended {
            kill_now(&mut self.tree);
        }
    }
}
