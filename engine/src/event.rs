//! What can happen to a run: the facts that the journal keeps and the saga folds.
//!
//! Everything here is plain data with a stable serialized form: journals outlive versions of this program. This is the vocabulary of
//! the whole engine, so it imports nothing of it but [`crate::words`].

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::words::Words;

/// The name of a step in its plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

/// The id of a run: `20260206-141502-k3f9`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

/// A machine that a plan's work is done on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(Arc<str>);

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// An id with this text.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(StepId);
id!(RunId);
id!(HostId);

impl HostId {
    /// The machine of the process that runs the plan: the only one there is so far.
    pub fn local() -> Self {
        Self::new("local")
    }
}

/// Journals of format 1 know no other host.
impl Default for HostId {
    fn default() -> Self {
        Self::local()
    }
}

/// One fact that happened to a run. Its place in the order is given by the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Something happened to the run.
    Run(RunFact),
    /// Something happened to a step.
    Step(StepId, Fact),
}

/// What can happen to a run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunFact {
    /// The run exists: the first event, with all that it travels with (rule 12).
    Opened(Box<Opened>),
    /// A process took the run over; what was live is unknown from here on.
    Resumed {
        /// Its process id.
        pid: u32,
        /// Who runs it.
        user: String,
    },
    /// A host is not on the boot it was on (rule 19), or is on the first one that the run knows of.
    Rebooted {
        /// The host.
        #[serde(default)]
        host: HostId,
        /// The boot it is on now.
        boot: String,
    },
    /// The operator wants everything undone (`abort`, `rollback`).
    Aborted {
        /// Who asked.
        by: String,
    },
    /// The measured service stopped answering.
    Unreachable,
    /// The measured service answers again.
    Reachable(Downtime),
    /// The measured service was asked: when it first answered, and once more before the run was settled or left (rule 21).
    Asked(ServiceState),
    /// Nothing more will happen by itself.
    Settled(Outcome),
}

/// What a run travels with (rule 12).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The whole text of the plan.
    pub plan_text: String,
    /// The plan file, absolute.
    pub plan_path: String,
    /// Every variable with the value the run was started with, overrides applied.
    pub vars: Map<String, Value>,
    /// The environment variables that the plan refers to; never those of `[secrets]`.
    pub env: Map<String, Value>,
    /// The names of the secrets that could be had when it was started; never their values.
    pub secrets: Vec<String>,
    /// `run.timestamp`.
    pub timestamp: String,
    /// When the run was started.
    pub started_at: jiff::Timestamp,
    /// Language of what is written for people to keep.
    pub lang: String,
    /// The host it was started on.
    #[serde(default)]
    pub host: HostId,
    /// The boot of that host.
    pub boot: String,
    /// Who started it.
    pub user: String,
    /// The process that started it.
    pub pid: u32,
    /// Version of almaplan that started it.
    pub version: String,
}

/// What can happen to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// An attempt begins; durable before its first effect (rule 1).
    Started {
        /// Counts from 1, through every resume.
        attempt: u32,
        /// What an interruption of it means: decided from the inputs, so known only now.
        on_interrupt: OnInterrupt,
        /// Where it is done: a reboot there takes away what is volatile (rule 19).
        #[serde(default)]
        host: HostId,
    },
    /// An output known before the effect (rule 16).
    Recorded {
        /// The part that recorded it.
        part: Part,
        /// The output.
        name: String,
        /// Its value.
        value: Value,
    },
    /// A process waits in its gate (rule 18).
    Spawned {
        /// The part that spawned it.
        part: Part,
        /// Where it waits.
        #[serde(default)]
        host: HostId,
        /// The process.
        process: ProcessIdentity,
    },
    /// The action did its work and left this.
    Succeeded(Value),
    /// An attempt failed.
    Failed(Failure),
    /// `when` was false.
    Skipped,
    /// Something it needs did not happen, or the run unwinds.
    NotRun,
    /// It started and has no verdict.
    Unknown,
    /// An attempt is gone without a verdict while the run goes on: whoever did the work is not there any more. The action is unknown
    /// then (rule 6), a compensation is due again (rule 7), and a `finally` step is to be run again (rule 11), as if the whole run had
    /// been taken over by another process.
    Lost {
        /// The part that it was an attempt of.
        part: Part,
    },
    /// A person or a probe said what became of a step, or of the compensation that it owes.
    Resolved(Answer),
    /// A compensation begins.
    UndoStarted {
        /// Which compensation of the list; counts from 0.
        part: usize,
        /// Counts from 1.
        attempt: u32,
        /// Where it is done.
        #[serde(default)]
        host: HostId,
    },
    /// A compensation is done, or its `when` was false.
    Undone {
        /// Which compensation of the list.
        part: usize,
    },
    /// An attempt of a compensation failed. After the last one it is owed for good, or written off with `on_failure = "continue"`.
    UndoFailed {
        /// Which compensation of the list.
        part: usize,
        /// Why.
        failure: Failure,
    },
}

/// What became of an unknown step or of an owed compensation, or what a person says to an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Its work was done, and left this.
    Done {
        /// Outputs, where whoever answers knows any.
        outputs: Map<String, Value>,
        /// Who says so.
        by: String,
        /// Why, where they say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Its work was not done.
    NotDone {
        /// Who says so.
        by: String,
        /// Why, where they say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// A compensation of it was done by hand (rule 20).
    Undone(DebtAnswer),
    /// A compensation of it is written off: it will not be done (rule 20).
    GivenUp(DebtAnswer),
}

/// Who answers for a compensation that is owed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtAnswer {
    /// Which compensation of the list; it is the one that is due. Those after it are still done.
    pub part: usize,
    /// Who says so.
    pub by: String,
    /// Why, where they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Answer {
    /// The compensation that it is about, where it is about one.
    pub fn debt(&self) -> Option<usize> {
        match self {
            Self::Undone(answer) | Self::GivenUp(answer) => Some(answer.part),
            Self::Done { .. } | Self::NotDone { .. } => None,
        }
    }
}

/// One piece of work of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Its action.
    Action,
    /// Its probe.
    Probe,
    /// Its n-th compensation; counts from 0.
    Compensation(usize),
    /// The action of a `finally` step.
    Finally,
}

impl Part {
    /// Which way it goes.
    pub fn direction(self) -> Direction {
        match self {
            Self::Action | Self::Probe => Direction::Forward,
            Self::Compensation(_) => Direction::Undo,
            Self::Finally => Direction::Finally,
        }
    }
}

/// Which way a piece of work goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// An action.
    Forward,
    /// A compensation.
    Undo,
    /// A `finally` step.
    Finally,
}

/// How a run was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was done.
    Succeeded,
    /// Succeeded, but something that must not undo it failed.
    Warned,
    /// Failed or aborted, and everything owed was compensated.
    Compensated,
    /// A compensation is owed and cannot be done without a person.
    Stuck,
}

impl Outcome {
    /// As scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Warned => "warned",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is not settled, or a compensation is still owed.
    #[default]
    Open,
    /// It was done.
    Done,
    /// It succeeded, and its pivot was skipped: nothing new was put in place.
    Unchanged,
    /// It failed before anything was changed.
    NothingChanged,
    /// It failed, and nothing of what it had done has to be undone.
    NothingOwed,
    /// It failed, and was undone.
    Undone,
    /// A person stopped it before its end, and it was undone.
    Aborted,
    /// A person undid it after it had succeeded.
    RolledBack,
}

/// Which version of what is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// The one that was there before the run.
    Old,
    /// The one that the run put there.
    New,
}

impl Standing {
    /// As programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::NothingChanged => "nothing-changed",
            Self::NothingOwed => "nothing-owed",
            Self::Undone => "undone",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// How long the measured service did not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    /// In milliseconds.
    pub ms: u64,
    /// Measured across processes, so by the wall clock (rule 15).
    pub approximate: bool,
}

/// What the measured service did when it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// The first of its addresses that did not answer as it should; `None`: all of them did.
    pub wrong: Option<WrongAnswer>,
    /// How long it was down by then, where it is and was up before; no part of any [`RunFact::Reachable`] yet.
    pub outage: Option<Downtime>,
}

/// An address of the measured service that does not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongAnswer {
    /// The address.
    pub url: String,
    /// What it did instead.
    pub found: AnswerFault,
}

/// What an address did instead of answering as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerFault {
    /// No whole answer came in time.
    NoAnswer,
    /// It answered with this status.
    Status(u16),
    /// The status was right, the text was not.
    Content,
}

/// What running a kind does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Looks and tells; nothing to compensate. Done again after a reboot where it needs something volatile.
    Observes,
    /// Changes what survives a reboot.
    Changes,
    /// Changes what a reboot takes away: a process that was started or stopped (rule 19).
    Volatile,
}

/// What to do with a step that was interrupted and has no probe (rule 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInterrupt {
    /// It can be repeated.
    Rerun,
    /// A person must say what became of it.
    Ask,
    /// It counts as failed: the run unwinds.
    Compensate,
}

/// Why a step did not succeed, as it is journaled and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What was wrong, where, and what to do next, in English; lower case, no full stop.
    pub message: String,
    /// The same for catalogues of other languages, where it is more than a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Box<Words>>,
    /// Nothing at all was changed, so nothing is owed (rule 3).
    pub clean: bool,
    /// The last lines that the work printed, where it printed any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
}

impl Failure {
    /// A failure that changed nothing.
    pub fn clean(error: impl fmt::Display + Serialize) -> Self {
        Self { clean: true, ..Self::dirty(error) }
    }

    /// A failure that may have changed something.
    pub fn dirty(error: impl fmt::Display + Serialize) -> Self {
        Self { message: error.to_string(), words: Words::of(&error).map(Box::new), clean: false, tail: Vec::new() }
    }

    /// For `serialize_with`: as part of other words, it is what it says.
    ///
    /// # Errors
    /// Those of `serializer`.
    pub fn said<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.words {
            Some(words) => words.serialize(serializer),
            None => serializer.serialize_str(&self.message),
        }
    }

    /// The same, with the last lines that were printed.
    #[must_use]
    pub fn with_tail(mut self, tail: impl IntoIterator<Item = String>) -> Self {
        self.tail = tail.into_iter().collect();
        self
    }
}

/// A process that an attempt left on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Where it runs.
    pub host: HostId,
    /// The process.
    pub process: ProcessIdentity,
}

/// A process, beyond doubt: a pid alone may belong to another program by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: u32,
    /// Start time in the system's own unit and epoch (Linux: clock ticks since boot); only compared for equality.
    pub started: u64,
    /// Path of the program that runs, as the system tells it.
    pub program: String,
    /// The boot that `pid` and `started` belong to.
    pub boot: String,
}
