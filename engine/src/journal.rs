//! The append-only record of a run's events: what it promises, what a damaged one looks like, and a journal in memory.
//!
//! Two promises. An append returns only once its events are durable, all or none of them; after one that failed, nothing is
//! ever appended again by the same process (rule 1). And what is read is what was written: events carry a hash chain, and a
//! journal that does not verify is refused, never repaired (rule 17).
//!
//! ```text
//!  run id ──> h0 ──> h1 = H(h0 ‖ run ‖ 1 ‖ at ‖ body) ──> h2 = H(h1 ‖ run ‖ 2 ‖ …) ──> head, kept with the count beside the run
//! ```
//!
//! Where the rows are is the business of [`crate::sqlite`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Answer, Event, Outcome, RunFact, RunId, StepId};
use crate::trust::Distrust;
use crate::volume;

/// The version of the journal's format that this program writes, and the newest one that it reads; it reads all before it, too.
///
/// 1 → 2: facts say on which host something is (it was always `local`), and an attempt may be lost while the run goes on.
/// 2 → 3: a person may have done an owed compensation, or have written it off; the measured service may have been asked.
pub const FORMAT: u32 = 3;

/// Where a run's events go.
pub trait Journal: Send {
    /// Returns only once `events` are durable, all or none of them.
    ///
    /// # Errors
    /// They may or may not be durable. The journal takes nothing more: start nothing, wait for what is live, leave the run interrupted.
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError>;

    /// What other processes asked of this run since the last call, oldest first. Cheap enough to be called a few times a second.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        Ok(Vec::new())
    }
}

/// What another process asks of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// Undo everything (`almaplan abort`).
    Abort {
        /// Who asks.
        by: String,
    },
    /// This is what became of a step, or the answer to an approval (`almaplan resolve`).
    Resolve {
        /// The step.
        step: StepId,
        /// The answer.
        answer: Answer,
    },
}

impl<J: Journal + ?Sized> Journal for Box<J> {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        (**self).append(events)
    }

    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        (**self).demands()
    }
}

/// One event in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the run; counts from 1, without gaps.
    pub seq: u64,
    /// When it was appended, by the wall clock: for showing, never for order (rule 15).
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Why a journal could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is no state in this folder.
    #[error("there is no almaplan state in {}", .0.display())]
    NotFound(PathBuf),
    /// The state has no such run.
    #[error("there is no run `{0}`")]
    NoSuchRun(RunId),
    /// A run cannot begin twice.
    #[error("there is a run `{0}` already")]
    RunExists(RunId),
    /// A run's id becomes the name of a folder.
    #[error("`{0}` is not a run id: letters, digits, `-` and `_` only")]
    BadRunId(RunId),
    /// The first event of a run is the one that opens it, and no other one is.
    #[error("a run begins with the event that opens it")]
    NotOpened,
    /// Only a settled run can be finished.
    #[error("run `{0}` is not settled")]
    NotSettled(RunId),
    /// A newer almaplan made this state.
    #[error("the state has format {found}, and this almaplan knows formats up to {known}: use the newer one")]
    NewerFormat {
        /// The format of the state.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The file is a database of some other program.
    #[error("{} is not a state of almaplan", .0.display())]
    NotOurs(PathBuf),
    /// The journal does not verify (rule 17).
    #[error("the journal is damaged{}: {what}", place(.run.as_ref(), *.seq))]
    Damaged {
        /// The run, where it is known.
        run: Option<RunId>,
        /// The event that does not verify, where it is one.
        seq: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// The state is another user's, or others can change it (rule 23): it was not opened.
    #[error(transparent)]
    Distrusted(Distrust),
    /// Locks and syncs of a network share cannot be trusted.
    #[error("{} is on a network share ({filesystem}), whose locks cannot be trusted: choose a folder of this machine", .folder.display())]
    NetworkShare {
        /// The folder.
        folder: PathBuf,
        /// The kind of file system.
        filesystem: &'static str,
    },
    /// Another process appended to the same run.
    #[error("run `{0}` was taken over by another process")]
    Overtaken(RunId),
    /// An earlier append failed, so nothing is appended any more (rule 1).
    #[error("an earlier append failed, so nothing more is written")]
    Poisoned,
    /// An event that could not be read back is not written.
    #[error("an event cannot be kept")]
    Unkeepable(#[source] serde_json::Error),
    /// The system refused a file or folder.
    #[error("could not {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No space is left for the database.
    #[error("could not {doing}: no space is left")]
    Full {
        /// What was tried.
        doing: &'static str,
    },
    /// The database refused.
    #[error("could not {doing}")]
    Store {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl JournalError {
    /// Whether it was for want of space.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => volume::is_full(source),
            _ => false,
        }
    }
}

fn place(run: Option<&RunId>, seq: Option<u64>) -> String {
    match (run, seq) {
        (Some(run), Some(seq)) => format!(" (run `{run}`, event {seq})"),
        (Some(run), None) => format!(" (run `{run}`)"),
        (None, _) => String::new(),
    }
}

/// One link of the hash chain.
pub(crate) type Link = [u8; 32];

/// The link before the first event of `run`.
pub(crate) fn first_link(run: &RunId) -> Link {
    blake3::derive_key("almaplan journal format 1, link before the first event", run.as_str().as_bytes())
}

/// The link of the event that is stored as `at` and `body` after `previous`.
pub(crate) fn link(previous: &Link, run: &RunId, seq: u64, at: &str, body: &str) -> Link {
    let mut hash = blake3::Hasher::new();
    hash.update(previous);
    update_sized(&mut hash, run.as_str().as_bytes());
    hash.update(&seq.to_le_bytes());
    update_sized(&mut hash, at.as_bytes());
    update_sized(&mut hash, body.as_bytes());
    *hash.finalize().as_bytes()
}

/// Takes in `bytes` after their length, so that no two lists of parts are the same input.
pub(crate) fn update_sized(hash: &mut blake3::Hasher, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The text that is stored for `event`: one that [`parse`] gives back.
pub(crate) fn body(event: &Event) -> Result<String, JournalError> {
    let body = serde_json::to_string(event).map_err(JournalError::Unkeepable)?;
    // What cannot be read (nested too deeply, say) must not be found out when the run is resumed.
    parse(&body).map_err(JournalError::Unkeepable)?;
    Ok(body)
}

/// The event that is stored as `body`.
pub(crate) fn parse(body: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(body)
}

/// How the run is settled once `event` followed on `outcome`: one that unwinds again is not settled until it says so again.
pub(crate) fn settled_after(outcome: Option<Outcome>, event: &Event) -> Option<Outcome> {
    use crate::event::Fact;
    match event {
        Event::Run(RunFact::Settled(outcome)) => Some(*outcome),
        Event::Run(RunFact::Aborted { .. }) | Event::Step(_, Fact::UndoStarted { .. }) => None,
        Event::Step(_, Fact::Resolved(answer)) if answer.debt().is_some() => None,
        Event::Run(_) | Event::Step(..) => outcome,
    }
}

/// Whether `event` may be the one with number `seq`: the first one opens the run, and no other one does.
pub(crate) fn opens_in_place(seq: u64, event: &Event) -> bool {
    matches!(event, Event::Run(RunFact::Opened(_))) == (seq == 1)
}

/// A journal that lives as long as its process, for tests and for programs that embed the engine. Clones share the records.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    inner: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    records: Vec<Record>,
    appends: u64,
    fails_at: Option<u64>,
    poisoned: bool,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal whose `n`-th append fails, counted from 1, and with it every later one.
    pub fn failing_at(n: u64) -> Self {
        let journal = Self::new();
        journal.lock().fails_at = Some(n);
        journal
    }

    /// A journal that goes on after `records`, as a process that resumes a run does.
    pub fn after(records: Vec<Record>) -> Self {
        let journal = Self::new();
        journal.lock().records = records;
        journal
    }

    /// What was appended so far.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// The events alone.
    pub fn events(&self) -> Vec<Event> {
        self.lock().records.iter().map(|record| record.event.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.inner.lock().expect("no code panics while it holds this lock")
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut memory = self.lock();
        if memory.poisoned {
            return Err(JournalError::Poisoned);
        }
        if events.is_empty() {
            return Ok(());
        }
        memory.appends += 1;
        if memory.fails_at == Some(memory.appends) {
            memory.poisoned = true;
            return Err(JournalError::Store { doing: "append", source: "it was told to fail".into() });
        }
        let at = Timestamp::now();
        for event in events {
            let seq = memory.records.len() as u64 + 1;
            memory.records.push(Record { seq, at, event: event.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reachable() -> Event {
        Event::Run(RunFact::Unreachable)
    }

    #[test]
    fn a_failed_append_is_the_last_one() {
        let mut journal = MemoryJournal::failing_at(2);
        let seen = journal.clone();
        journal.append(&[reachable(), reachable()]).unwrap();
        assert!(matches!(journal.append(&[reachable()]), Err(JournalError::Store { .. })));
        assert!(matches!(journal.append(&[reachable()]), Err(JournalError::Poisoned)));
        assert_eq!(seen.records().iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_link_depends_on_all_that_it_covers() {
        let run = RunId::new("a");
        let base = link(&first_link(&run), &run, 1, "t", "body");
        assert_ne!(base, link(&first_link(&RunId::new("b")), &run, 1, "t", "body"));
        assert_ne!(base, link(&first_link(&run), &RunId::new("b"), 1, "t", "body"));
        assert_ne!(base, link(&first_link(&run), &run, 2, "t", "body"));
        assert_ne!(base, link(&first_link(&run), &run, 1, "tb", "ody"));
    }

    #[test]
    fn an_event_that_could_not_be_read_back_is_not_written() {
        let mut deep = serde_json::Value::Null;
        for _ in 0..200 {
            deep = serde_json::Value::Array(vec![deep]);
        }
        let event = Event::Step(crate::event::StepId::new("a"), crate::event::Fact::Succeeded(deep));
        assert!(matches!(body(&event), Err(JournalError::Unkeepable(_))));
    }
}
