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

mod describe;
mod errand;
mod expect;
mod gate;
mod identity;
mod output;
mod port;
mod resolve;
mod run;
mod stop;
mod tree;

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub use describe::{Description, describe, is_used, users_of};
pub use expect::{EmptyExpectation, Expect};
pub use gate::{Gate, GateError, Launch, Launched, launch};
pub use identity::{boot, identify, is_alive, meant, set_boot};
pub use output::{LastLines, end_of, pump};
pub use port::{Listening, PortError, is_listened_on, listeners, listening};
pub use resolve::{ResolveError, resolve};
pub use run::{Finished, Manner, run};
pub use stop::{Gentle, StopError, Stopped, kill_now, stop};
pub use tree::{NotOurs, Tree, came_through_a_gate, root_of};

pub use errand::{errand, send_errands_to};

pub(crate) use system::{bound_to, comparable, ending, shell, supported};

/// One row of the system's process table, as it was when it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub pid: u32,
    pub parent: u32,
    /// Process group; 0 where the system has none.
    pub group: u32,
    /// Session; 0 where the system has none.
    pub session: u32,
    /// In the unit of [`almaplan_engine::step::ProcessIdentity::started`].
    pub started: u64,
    /// A zombie: it has ended, and only its parent has not noticed.
    pub ended: bool,
    /// Stopped by a signal; it gets others only once it goes on.
    #[cfg_attr(windows, allow(dead_code, reason = "there are no such signals"))]
    pub suspended: bool,
    /// Processor time used so far.
    pub cpu: std::time::Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// What became of asking a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was asked.
    Heard,
    /// It has ended.
    Gone,
    /// It cannot be asked, so there is nothing to wait for.
    #[cfg_attr(unix, allow(dead_code, reason = "signals reach everybody"))]
    Deaf,
}

/// The row of `pid` if that process runs; `None` also where it is a zombie.
pub(crate) fn running(pid: u32) -> Option<Entry> {
    system::entry(pid).filter(|entry| !entry.ended)
}
