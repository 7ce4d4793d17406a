//! The room that kinds share which start, find, watch and end processes.
//!
//! ```text
//!  gate ──> identity ──> journal ──> gate opens          nothing of ours runs unseen (rule 18)
//!  port ──> who listens ──> tree: its root and all below ──> stop: gently, then firmly
//! ```
//!
//! Invariants: a process is a pid *and* its start time and boot, checked again right before any signal; a zombie counts as
//! ended; we never signal ourselves, what started us, or pid 1. What differs between systems is in `unix.rs` and
//! `windows.rs`, behind the same functions. Which process a step may touch is the kinds' business, not this room's.

use std::ffi::OsString;
use std::process::ExitCode;

mod describe;
mod expect;
mod gate;
mod helper_process;
mod identity;
mod origin;
mod output;
mod port;
mod resolve;
mod run;
mod stop;
mod tree;
mod vocabulary;

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub use describe::{Description, describe, is_used, users_of};
pub use expect::{EmptyExpectation, Expect};
pub use gate::{Gate, GateError, Launched, launch};
pub use helper_process::set_helper_program;
pub use identity::{age, boot, identify, is_alive, meant, set_boot};
pub use origin::{Origin, OriginError};
pub use output::{LastLines, end_of, pump};
pub use port::{Listening, PortError, is_listened_on, listeners, listening};
pub use resolve::{ResolveError, resolve};
pub use run::{Finished, RunOptions, run};
pub use stop::{StopError, Stopped, kill_now, stop};
pub use tree::{NotOurs, Tree, came_through_a_gate, root_of};
pub use vocabulary::{Ending, Gentle, Launch};

pub(crate) use system::{bound_to, comparable, ending, shell, supervisor, supported};
pub(crate) use vocabulary::{Entry, StopRequest, is_shell};

/// The row of `pid` if that process runs; `None` also where it is a zombie.
pub(crate) fn running(pid: u32) -> Option<Entry> {
    system::entry(pid).filter(|entry| !entry.ended)
}

/// If this process was started as a helper, does its work and returns its exit code. These are its arguments, without the program.
/// `None` if it was not: then this program is the one that is started as a helper. Call it first in `main`.
pub fn helper_process(args: &[OsString]) -> Option<ExitCode> {
    let done = system::run_helper(args);
    if done.is_none()
        && let Ok(program) = std::env::current_exe()
    {
        set_helper_program(program);
    }
    done
}
