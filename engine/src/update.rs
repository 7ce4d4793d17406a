//! What a view may show of a run while it goes on. Updates are never journaled; losing one loses nothing.

use std::fmt::Display;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Direction, Downtime, Failure, Outcome, RunId, StepId};
use crate::words::Words;

/// Takes updates, from any thread, in the order of each thread. Secrets are masked before it is called.
pub type Updates = Arc<dyn Fn(Update) + Send + Sync>;

/// One thing to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The run begins or goes on.
    Run {
        /// Its id.
        run: RunId,
        /// `[plan] name`.
        plan: String,
        /// Goes on with what an earlier process began.
        resumed: bool,
        /// How many steps the plan has, `finally` not counted.
        steps: usize,
    },
    /// A step is somewhere new.
    Step(StepUpdate),
    /// How far a live step is.
    Progress {
        /// The step.
        step: StepId,
        /// Done so far.
        done: u64,
        /// Of how much, where that is known.
        total: Option<u64>,
        /// Of what.
        unit: Unit,
    },
    /// A line that a step printed.
    Log {
        /// The step.
        step: StepId,
        /// Where it printed it.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// Something a step says to people.
    Note {
        /// The step.
        step: StepId,
        /// How loud.
        level: Level,
        /// What, in English.
        message: String,
        /// The same for catalogues of other languages, where it is more than a text.
        words: Option<Words>,
    },
    /// From here on the run undoes what it did: the alarm, at once (rule 11).
    Unwinding {
        /// The step whose failure caused it; `None` where the operator asked.
        because: Option<StepId>,
        /// Its failure.
        failure: Option<Failure>,
        /// Whether anything is owed, so that there is something to undo.
        owes: bool,
        /// Whether anything was changed, owed or not.
        changed: bool,
    },
    /// The pivot has succeeded: what was deployed is live, whatever follows.
    Live {
        /// The measured downtime.
        downtime: Option<Downtime>,
        /// Whether the measured service answers; `None` where none is measured.
        answers: Option<bool>,
    },
    /// The measured service stopped answering, or answers again.
    Reachable(bool),
    /// The operator asked to stop: live steps are given this long, in seconds.
    Stopping {
        /// Seconds until what is live counts as not stoppable.
        grace_s: u64,
    },
    /// This process is done with the run.
    Ended {
        /// How.
        ending: Ending,
        /// Seconds since this process began or took over.
        seconds: f64,
        /// Whether the measured service answers; `None` where none is measured.
        answers: Option<bool>,
        /// The measured downtime.
        downtime: Option<Downtime>,
    },
}

impl Update {
    /// Something that `step` says to people.
    pub fn note(step: StepId, level: Level, said: impl Display + Serialize) -> Self {
        Self::Note { step, level, message: said.to_string(), words: Words::of(&said) }
    }
}

/// A step is somewhere new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepUpdate {
    /// The step.
    pub step: StepId,
    /// What it does, in the words of the plan.
    pub description: Option<String>,
    /// The kind of its action.
    pub uses: String,
    /// Which of its work.
    pub direction: Direction,
    /// Where it is.
    pub state: State,
    /// Which attempt; 0 where there is none.
    pub attempt: u32,
    /// How long the attempt took.
    pub seconds: Option<f64>,
    /// What it left.
    pub outputs: Option<Value>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Where a step is, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// An attempt begins.
    Started,
    /// An attempt failed; another follows.
    Retrying,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// `when` was false.
    Skipped,
    /// Will not be run.
    NotRun,
    /// Started, and nobody knows what became of it.
    Unknown,
    /// A compensation begins.
    UndoStarted,
    /// A compensation failed; it is tried again.
    UndoRetrying,
    /// Compensated.
    Undone,
    /// A compensation failed for good.
    UndoFailed,
}

/// How this process left the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Settled.
    Settled(Outcome),
    /// A person is asked something.
    Paused,
    /// Resumable.
    Interrupted,
}

/// What progress is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files.
    Files,
    /// Seconds.
    Seconds,
    /// Attempts of a check.
    Attempts,
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How loud a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warning,
    /// Worth waking up for.
    Alert,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_update_is_read_as_it_was_written() {
        let step = StepId::new("backup");
        let updates = [
            Update::Run { run: RunId::new("r"), plan: "p".to_owned(), resumed: true, steps: 3 },
            Update::Step(StepUpdate {
                step: step.clone(),
                description: Some("Backup".to_owned()),
                uses: "backup".to_owned(),
                direction: Direction::Undo,
                state: State::UndoFailed,
                attempt: 2,
                seconds: Some(0.5),
                outputs: Some(serde_json::json!({ "a": null })),
                failure: Some(Failure::dirty("no")),
            }),
            Update::Progress { step: step.clone(), done: 1, total: None, unit: Unit::Bytes },
            Update::Log { step: step.clone(), stream: Stream::Stderr, line: "é".to_owned() },
            Update::note(step.clone(), Level::Alert, "m"),
            Update::Unwinding { because: Some(step), failure: None, owes: true, changed: true },
            Update::Live { downtime: None, answers: Some(true) },
            Update::Reachable(false),
            Update::Stopping { grace_s: 30 },
            Update::Ended { ending: Ending::Settled(Outcome::Stuck), seconds: 1.25, answers: None, downtime: None },
        ];
        for update in updates {
            let written = serde_json::to_string(&update).unwrap();
            assert_eq!(serde_json::from_str::<Update>(&written).unwrap(), update, "{written}");
        }
    }
}
