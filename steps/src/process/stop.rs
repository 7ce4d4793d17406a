//! Ending a tree: gently, then firmly, and only what is surely still meant.

use std::time::Duration;

use almaplan_engine::words::verbatim;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Entry, Gentle, StopRequest, Tree, system};

/// Between two looks at whether it has ended: it is part of a downtime.
const LOOK: Duration = Duration::from_millis(2);
/// Between two looks for children that are new.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// How long a killed process may take: longer only where the kernel itself hangs (a dead network disk).
const FIRMLY: Duration = Duration::from_secs(10);

/// How a tree ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Some of it had to be killed.
    pub forced: bool,
}

/// Why a tree did not end.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum StopError {
    /// Another user's.
    #[error("process {pid} ({program}) may not be stopped by this user: {source}")]
    Refused {
        /// Whose.
        pid: u32,
        /// What it runs.
        program: String,
        /// Why.
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    /// Killed, and still there.
    #[error("process {pid} ({program}) was killed and is still there after {seconds} s: the system itself holds it")]
    Unkillable {
        /// Whose.
        pid: u32,
        /// What it runs.
        program: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

/// Asks `tree` to end, kills what is left of it after `grace`, and returns once all of it has ended.
///
/// # Errors
/// Some of it may not be signalled, or does not even end when killed.
#[tracing::instrument(level = "debug", name = "stop", skip_all, fields(pid = tree.root().pid, ?gentle))]
pub async fn stop(tree: &mut Tree, gentle: Gentle, grace: Duration) -> Result<Stopped, StopError> {
    let mut deadline = Instant::now() + grace;
    let mut asked = Vec::new();
    loop {
        let members = tree.members();
        if members.is_empty() {
            return Ok(Stopped { forced: false });
        }
        if Instant::now() >= deadline {
            return kill(tree).await.map(|()| Stopped { forced: true });
        }
        for entry in due(tree, &members).filter(|entry| !asked.contains(&(entry.pid, entry.started))).collect::<Vec<_>>() {
            let answer = system::ask(&entry, &members, gentle).await.map_err(|source| refused(&entry, source))?;
            tracing::debug!(pid = entry.pid, ?answer, "asked to end");
            if answer == StopRequest::Unreachable && asked.is_empty() {
                deadline = Instant::now();
            }
            asked.push((entry.pid, entry.started));
        }
        let again = deadline.min(Instant::now() + LOOK_AROUND);
        while tree.is_running() && Instant::now() < again {
            sleep(LOOK).await;
        }
    }
}

/// Who is asked: the root, with its group if it leads one, and lets its children go itself; without a root everyone.
fn due<'a>(tree: &Tree, members: &'a [Entry]) -> impl Iterator<Item = Entry> + 'a {
    let (root, started) = (tree.root().pid, tree.root().started);
    let headless = !members.iter().any(|entry| entry.pid == root && entry.started == started);
    members.iter().filter(move |entry| headless || entry.pid == root || entry.group == root).copied()
}

async fn kill(tree: &mut Tree) -> Result<(), StopError> {
    let deadline = Instant::now() + FIRMLY;
    loop {
        // The root first: it might start again what it sees ending.
        let members = tree.members();
        let Some(first) = members.first() else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(StopError::Unkillable { pid: first.pid, program: program(first.pid), seconds: FIRMLY.as_secs() });
        }
        for entry in &members {
            tracing::debug!(pid = entry.pid, "killed");
            system::kill(entry.pid, entry.started).map_err(|source| refused(entry, source))?;
        }
        let again = Instant::now() + LOOK_AROUND;
        while tree.is_running() && Instant::now() < again {
            sleep(LOOK).await;
        }
    }
}

/// Kills all of `tree` without waiting for anything; for when there is no time left, as in `drop`.
pub fn kill_now(tree: &mut Tree) {
    // Twice, for what was being started during the first time.
    for _ in 0..2 {
        for entry in tree.members() {
            let _ = system::kill(entry.pid, entry.started);
        }
    }
}

fn refused(entry: &Entry, source: std::io::Error) -> StopError {
    StopError::Refused { pid: entry.pid, program: program(entry.pid), source }
}

fn program(pid: u32) -> String {
    system::executable(pid).map_or_else(|| "unknown".to_owned(), |path| path.display().to_string())
}
