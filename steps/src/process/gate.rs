//! The gate that a process waits in until its identity is durable (rule 18).
//!
//! ```text
//!  Gate::close ──> it has a pid and a start time, and runs nothing of its own
//!       │ Context::spawned: durable
//!       ▼
//!  Gate::open  ──> it becomes its program; or we died: it ends, having done nothing
//! ```

use std::path::PathBuf;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Failure, ProcessIdentity};
use almaplan_engine::words::verbatim;
use serde::Serialize;
use tokio::process::Child;

use super::{Launch, identity, running, system};

/// Why a program could not be started.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum GateError {
    /// The system refused.
    #[error("{} could not be started: {source}", program.display())]
    Start {
        /// What was to run.
        program: PathBuf,
        /// Why not.
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    /// It was ended by someone else while it waited.
    #[error("{} was ended by someone before it could begin", program.display())]
    Gone {
        /// What was to run.
        program: PathBuf,
    },
}

/// A process that waits. Dropped unopened, it ends.
#[derive(Debug)]
pub struct Gate {
    child: Child,
    start_barrier: system::StartBarrier,
    identity: ProcessIdentity,
    program: PathBuf,
}

impl Gate {
    /// Starts `launch`, held before its program runs.
    ///
    /// # Errors
    /// The system cannot start it.
    pub fn close(launch: Launch) -> Result<Self, GateError> {
        let program = launch.program.clone();
        let (child, start_barrier) = system::start_held(launch).map_err(|source| GateError::Start { program: program.clone(), source })?;
        let entry = child.id().and_then(running).ok_or_else(|| GateError::Gone { program: program.clone() })?;
        Ok(Self { child, start_barrier, identity: identity::identity(entry.pid, entry.started, program.clone()), program })
    }

    /// Who waits: it keeps pid and start time when it becomes its program.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Lets it run.
    ///
    /// # Errors
    /// It is gone already.
    pub async fn open(self) -> Result<Launched, GateError> {
        let lifetime_handle =
            system::let_go(self.start_barrier, &self.identity).await.map_err(|_| GateError::Gone { program: self.program })?;
        Ok(Launched { child: self.child, identity: self.identity, lifetime_handle })
    }
}

/// A process that was let go.
#[derive(Debug)]
pub struct Launched {
    /// To wait for it.
    pub child: Child,
    /// Which one it is.
    pub identity: ProcessIdentity,
    /// What ends the process when it is dropped, and so when we end, where the system has such a thing and it does not outlive us.
    pub lifetime_handle: system::LifetimeHandle,
}

/// Starts `launch` and lets it run once the journal knows it.
///
/// # Errors
/// It could not be started (clean), or the journal cannot be written: then nothing ran.
#[tracing::instrument(level = "debug", name = "spawn", skip_all, fields(program = %launch.program.display()))]
pub async fn launch(cx: &Context, launch: Launch) -> Result<Launched, Failure> {
    let gate = Gate::close(launch).map_err(Failure::clean)?;
    tracing::debug!(pid = gate.identity().pid, "started, held in its gate");
    cx.spawned(gate.identity().clone()).await?;
    let launched = gate.open().await.map_err(Failure::clean)?;
    tracing::debug!(pid = launched.identity.pid, "let go");
    Ok(launched)
}
