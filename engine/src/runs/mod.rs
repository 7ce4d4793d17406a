//! A run as a whole, for any front end: begun, taken over, found, replayed, and what can be done with it next.
//!
//! ```text
//!  plan + values ──> lock ──> record ──> journal ──> ActiveRun ──> EndedRun
//!                    (machine)           (state folder)    (executor)  record cleared or renewed
//! ```
//!
//! The machine's record is durable before the run is: a crash in between leaves a record of a run that never began, which
//! [`Runs::begin`] recognises. What this room needs of the outside (kinds, machine, folders, environment, user) is in [`Runs`].
//! Nothing here prints, and nothing here reads an environment variable by itself.

mod active;
mod begin;
mod debts;
mod error;
mod hidden;
mod inputs;
mod lookup;
mod next;
mod preview;
mod prune;
mod replay;
mod secrets;
mod take_over;
#[cfg(test)]
mod tests;
mod unlock;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::event::RunId;
use crate::host::Host;
use crate::registry::Registry;
use crate::saga::Saga;
use crate::update::{Ending, Updates};

pub use active::ActiveRun;
pub use begin::{BegunOnce, NewRun, RunIdError, chosen_id};
pub use debts::{ClosedDebt, closed_debts};
pub use error::{RunError, SecretError};
pub use inputs::RunInputs;
pub use lookup::FoundRun;
pub use next::{Meaning, NextAction, NextAnswer, NextCommand, ending, next_commands, owed, running_commands};
pub use preview::{EarlierRun, InTheWay, Means, RunPreview, StepPreview, StepVerdict, WayBack};
pub use prune::Pruned;
pub use replay::Replay;
pub use take_over::{Answered, Word};
pub use unlock::{Blocked, Lost};

/// The value of an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The runs of a state folder on a machine, and all that they need of the outside.
#[derive(Clone)]
pub struct Runs {
    /// The kinds that there are.
    pub registry: Arc<Registry>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The folder of the machine's locks and records: [`crate::lock::LockDirectory::default_folder`].
    pub lock_folder: PathBuf,
    /// The folder of the journal. Only a new run makes it.
    pub state_dir: PathBuf,
    /// Only runs of `state_dir` are meant, also where it has none; else those on the machine's records are looked at too.
    pub only_here: bool,
    /// Where variables of plans, and secrets, get the environment from.
    pub env: Environment,
    /// The zone of `run.timestamp`.
    pub zone: TimeZone,
    /// Who runs this.
    pub user: String,
    /// This process.
    pub pid: u32,
}

/// How a run is executed by this process.
#[derive(Clone)]
pub struct Options {
    /// Who shows it. Gets everything masked.
    pub updates: Updates,
    /// How long work that was asked to stop may take.
    pub grace: Duration,
}

impl Options {
    /// Shows nothing.
    pub fn silent() -> Self {
        Self { updates: Arc::new(|_| {}), grace: Duration::from_secs(30) }
    }
}

/// How a run was left.
#[derive(Debug)]
pub struct EndedRun {
    /// The run.
    pub run: RunId,
    /// `[plan] name`.
    pub plan: String,
    /// How it was left.
    pub ending: Ending,
    /// The state it was left in.
    pub saga: Saga,
    /// Seconds since the process that left it had it; of one that another process had, since it was begun.
    pub seconds: f64,
    /// What goes on with it, the best first.
    pub next: Vec<NextCommand>,
    /// What its inputs come to.
    pub inputs: RunInputs,
    /// What could not be noted. The run itself is as it is; only the note about it is out of date, and a resume brings it up to date.
    pub problems: Vec<RunError>,
}

/// What a run that an earlier process left is taken over for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To go on with it.
    Resume,
    /// To undo one that is not over.
    Abort,
    /// To undo one that succeeded.
    Rollback,
}

impl Purpose {
    /// Whether everything is to be undone.
    pub fn undoes(self) -> bool {
        match self {
            Self::Resume => false,
            Self::Abort | Self::Rollback => true,
        }
    }
}

/// The folder of a plan's file, where its relative paths start.
fn plan_dir(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
