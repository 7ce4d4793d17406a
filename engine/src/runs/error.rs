//! Why something could not be done with a run. Each names the mistake and carries what it is about; nothing was touched.

use std::path::PathBuf;

use crate::event::{Outcome, RunId, StepId};
use crate::journal::JournalError;
use crate::lock::{LockError, LockHolder};
use crate::plan::{Mistake, SecretSource, TemplateError, VarError};
use crate::saga::IllegalEvent;
use crate::trust::Distrust;

use super::next::NextCommand;

/// Why something could not be done with a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan that a run travels with has mistakes for this version of the program.
    #[error("the plan that the run travels with has mistakes")]
    PlanInvalid {
        /// Its file.
        path: PathBuf,
        /// Its text.
        text: String,
        /// What is wrong.
        mistakes: Vec<Mistake>,
    },
    /// Variables cannot be given their values.
    #[error("the variables cannot be given their values")]
    Variables(Vec<VarError>),
    /// What the plan locks cannot be rendered.
    #[error(transparent)]
    LockTemplate(#[from] TemplateError),
    /// A secret that the work needs cannot be had.
    #[error("the secret `{secret}` cannot be had")]
    SecretMissing {
        /// Its name in the plan.
        secret: String,
        /// Where it was looked for.
        from: SecretSource,
        /// Why not.
        source: SecretError,
    },
    /// A process that runs another run holds the lock.
    #[error("another run holds the lock")]
    Held {
        /// Which, where it is on record already.
        holder: Option<Box<LockHolder>>,
        /// What can be done with it, where its state may be looked into.
        next: Vec<NextCommand>,
    },
    /// A run that is not settled is in the way.
    #[error("run `{}` is not settled", .holder.run)]
    Unsettled {
        /// The run.
        holder: Box<LockHolder>,
        /// What leads on (rule 20); nothing where its state may not be looked into.
        next: Vec<NextCommand>,
    },
    /// A run that is not settled is in the way, and this program cannot read it.
    #[error("run `{}` is not settled, and cannot be read", .holder.run)]
    Unreadable {
        /// The run.
        holder: Box<LockHolder>,
        /// Why it cannot be read.
        source: Box<RunError>,
    },
    /// Several targets could be meant.
    #[error("several targets could be meant")]
    ManyLocks(Vec<String>),
    /// The state of a run on record is not where it was.
    #[error("the state of run `{}` is gone", .holder.run)]
    StateGone {
        /// The run.
        holder: Box<LockHolder>,
        /// The record that tells of it.
        record: PathBuf,
    },
    /// A journal cannot be used.
    #[error("the journal in {} cannot be used", .folder.display())]
    Journal {
        /// The state folder.
        folder: PathBuf,
        /// Why not.
        source: JournalError,
    },
    /// What the plan locks is taken by a process that is not on record here, or by another user's run. Neither is looked into.
    #[error("user `{user}` has a run on {lock}")]
    Occupied {
        /// What the plan locks.
        lock: String,
        /// Who.
        user: String,
        /// Their process; `None`: it left the run unsettled, or is not seen.
        pid: Option<u32>,
    },
    /// The folder of locks, or something in it, is another user's, or others can change it (rule 23): it was not opened.
    #[error(transparent)]
    Distrusted(Distrust),
    /// The machine's folder of locks cannot be used.
    #[error("the locks in {} cannot be used", .folder.display())]
    Lock {
        /// The machine's folder.
        folder: PathBuf,
        /// Why not.
        source: LockError,
    },
    /// The records do not fit the plan: the journal is of another plan, or there is a bug.
    #[error(transparent)]
    IllegalEvent(#[from] IllegalEvent),
    /// The records do not begin with the event that opens a run.
    #[error("the run has no first event")]
    NotOpened,
    /// There is no run that could be meant.
    #[error("there is no run")]
    NoRun,
    /// There is no such run.
    #[error("there is no run `{0}`")]
    UnknownRun(RunId),
    /// Several runs could be meant.
    #[error("several runs could be meant")]
    ManyRuns(Vec<RunId>),
    /// The run with this id is one of another plan.
    #[error("run `{run}` is one of the plan `{plan}`")]
    OtherPlan {
        /// The run.
        run: RunId,
        /// `[plan] name` of its plan.
        plan: String,
    },
    /// Only a run that is not settled can be aborted.
    #[error("run `{run}` is settled")]
    AlreadySettled {
        /// The run.
        run: RunId,
        /// How.
        outcome: Option<Outcome>,
    },
    /// Something irreversible started.
    #[error("run `{run}` cannot be undone")]
    Irreversible {
        /// The run.
        run: RunId,
        /// What is irreversible.
        step: Option<StepId>,
    },
    /// Only a run that succeeded can be rolled back.
    #[error("run `{run}` did not succeed")]
    NothingToRollBack {
        /// The run.
        run: RunId,
        /// How it was settled.
        outcome: Option<Outcome>,
    },
    /// A newer run stands on top.
    #[error("run `{newer}` stands on top of run `{run}`")]
    NewerRun {
        /// The run.
        run: RunId,
        /// The newer one.
        newer: RunId,
    },
    /// The run has no such step.
    #[error("run `{run}` has no step `{step}`")]
    UnknownStep {
        /// The run.
        run: RunId,
        /// What was named.
        step: StepId,
    },
    /// An answer about this step was given already.
    #[error("step `{step}` of run `{run}` has an answer already")]
    AlreadyAnswered {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
    },
    /// The step owes no compensation that a person could answer for.
    #[error("step `{step}` of run `{run}` owes nothing that could be done by hand or written off")]
    NotOwed {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
    },
    /// Nobody asks about this step.
    #[error("nothing is asked about step `{step}` of run `{run}`")]
    NotAsked {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
    },
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Its source has no value, or an empty one.
    #[error("not set")]
    NotSet,
    /// It could not be masked without masking innocent text.
    #[error("shorter than {least} characters")]
    TooShort {
        /// How many characters it must have.
        least: usize,
    },
    /// Its file cannot be read.
    #[error("{}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl RunError {
    /// What leads on from here (rule 20), where it is known.
    pub fn next(&self) -> Vec<NextCommand> {
        match self {
            Self::Held { next, .. } | Self::Unsettled { next, .. } => next.clone(),
            Self::StateGone { holder, .. } | Self::Unreadable { holder, .. } => vec![NextCommand::unlock(holder)],
            _ => Vec::new(),
        }
    }
}
