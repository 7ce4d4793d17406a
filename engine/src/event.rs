//! What can happen to a run: the facts that the journal keeps and the saga folds.
//!
//! Everything here is plain data with a stable serialized form: journals outlive versions of this program.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::step::{Failure, OnInterrupt, ProcessIdentity};
use crate::update::Phase;

/// The name of a step in its plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

/// The id of a run: `20260206-141502-k3f9`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

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
    /// The machine is not on the boot it was on (rule 19).
    Rebooted {
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
    /// The boot it was started on.
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
    /// A person or a probe said what became of an unknown step.
    Resolved(Answer),
    /// A compensation begins.
    UndoStarted {
        /// Which compensation of the list; counts from 0.
        part: usize,
        /// Counts from 1.
        attempt: u32,
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

/// What became of an unknown step, or what a person says to an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Its work was done, and left this.
    Done {
        /// Outputs, where whoever answers knows any.
        outputs: Map<String, Value>,
        /// Who says so.
        by: String,
    },
    /// Its work was not done.
    NotDone {
        /// Who says so.
        by: String,
    },
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
    /// How this part is shown.
    pub fn phase(self) -> Phase {
        match self {
            Self::Action | Self::Probe => Phase::Forward,
            Self::Compensation(_) => Phase::Undo,
            Self::Finally => Phase::Finally,
        }
    }
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

/// How long the measured service did not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    /// In milliseconds.
    pub ms: u64,
    /// Measured across processes, so by the wall clock (rule 15).
    pub approximate: bool,
}
