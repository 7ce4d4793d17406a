//! The words that this room shares: what a process is, what is started, and how one is asked to end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// One row of the system's process table, as it was when it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub pid: u32,
    pub parent: u32,
    /// Process group; 0 where the system has none.
    pub group: u32,
    /// Session; 0 where the system has none.
    pub session: u32,
    /// In the unit of [`almaplan_engine::event::ProcessIdentity::started`].
    pub started: u64,
    /// A zombie: it has ended, and only its parent has not noticed.
    pub ended: bool,
    /// Stopped by a signal; it gets others only once it goes on.
    #[cfg_attr(windows, allow(dead_code, reason = "there are no such signals"))]
    pub suspended: bool,
    /// Processor time used so far.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Ending {
    /// By itself.
    #[error("ended with exit code {code}")]
    Code {
        /// What it made of its work.
        code: i32,
    },
    /// By a signal that has a name.
    #[error("was ended by signal {number} ({name})")]
    Signal {
        /// As the system counts them.
        number: i32,
        /// Like `SIGKILL`.
        name: &'static str,
    },
    /// By another signal.
    #[error("was ended by signal {number}")]
    OtherSignal {
        /// As the system counts them.
        number: i32,
    },
    /// By the keyboard, on Windows.
    #[error("was ended by Ctrl+C")]
    ControlC,
    /// In a way that the system does not tell.
    #[error("ended without an exit code")]
    Untold,
}

impl Ending {
    /// It says that it did its work.
    pub const WELL: Self = Self::Code { code: 0 };
}

/// What almaplan runs in, and what it starts ends with.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum BoundTo {
    #[error(
        "almaplan runs in the systemd unit {unit}: when that ends, the service started here ends with it; to avoid it, start it by \
         `systemd-run --scope`"
    )]
    #[cfg_attr(windows, allow(dead_code, reason = "systemd is on Linux"))]
    Unit { unit: String },
    #[error(
        "almaplan runs in a job that ends all its processes with it, as remote sessions and build agents have them: when that ends, the \
         service started here ends with it; to avoid it, start almaplan from a console of the machine itself, or by the task scheduler"
    )]
    #[cfg_attr(unix, allow(dead_code, reason = "jobs are on Windows"))]
    Job,
}

/// What became of asking a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopRequest {
    /// It was asked.
    Delivered,
    /// It has ended.
    Exited,
    /// It cannot be asked, so there is nothing to wait for.
    #[cfg_attr(unix, allow(dead_code, reason = "signals reach everybody"))]
    Unreachable,
}

/// The gentle request. On Windows both are Ctrl+C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Gentle {
    /// `SIGTERM`: what most services expect.
    #[default]
    #[serde(rename = "TERM")]
    Term,
    /// `SIGINT`, as Ctrl+C sends it: what Waitress and other Python programs expect.
    #[serde(rename = "INT")]
    Int,
}

/// What to start.
#[derive(Debug)]
pub struct Launch {
    /// Absolute, as [`super::resolve`] finds it.
    pub program: PathBuf,
    /// Without the program.
    pub args: Vec<String>,
    /// The arguments are already written as the program wants to read them; only on systems where all of them are one text.
    pub verbatim: bool,
    /// Absolute; exists.
    pub cwd: PathBuf,
    /// On top of our own; `None` unsets.
    pub env: Vec<(String, Option<String>)>,
    /// Where its output goes. Its input is always empty.
    pub stdout: Stdio,
    /// Where its complaints go.
    pub stderr: Stdio,
    /// It goes on when we end.
    pub outlives_us: bool,
    /// It comes back as it was: with this environment instead of ours, and these rights.
    pub origin: Option<Origin>,
}

/// A script that a shell runs has a parent of the same program: that is the shell somebody sits at.
pub(crate) fn is_shell(program: &Path) -> bool {
    const SHELLS: [&str; 10] = ["sh", "bash", "dash", "zsh", "fish", "ksh", "busybox", "cmd", "powershell", "pwsh"];
    program.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| SHELLS.contains(&stem.to_ascii_lowercase().as_str()))
}
