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

pub use describe::{Description, describe, is_used};
pub use expect::{EmptyExpectation, Expect};
pub use gate::{Gate, GateError, Launch, launch};
pub use identity::{boot, identify, is_alive, meant, set_boot};
pub use output::{LastLines, end_of, pump};
pub use port::{Listening, PortError, is_listened_on, listeners, listening};
pub use resolve::{ResolveError, resolve};
pub use run::{Finished, Manner, run};
pub use stop::{Gentle, StopError, Stopped, kill_now, stop};
pub use tree::{NotOurs, Tree, came_through_a_gate, root_of};

pub(crate) use system::{bound_to, ending, shell, supported};

/// The variable that every process started through a gate carries, and hands down to what it starts: `<pid>.<start time>`
/// of the process that was let go. It tells what belongs to whom even after the parents between are gone.
pub const MARK: &str = "ALMAPLAN_SPAWNED";

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
    pub suspended: bool,
    /// Processor time used so far.
    pub cpu: std::time::Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ask it to end.
    Terminate,
    /// What Ctrl+C sends.
    Interrupt,
    /// End it.
    Kill,
    /// Let it go on where it was suspended.
    Continue,
}

/// The row of `pid` if that process runs; `None` also where it is a zombie.
pub(crate) fn running(pid: u32) -> Option<Entry> {
    system::entry(pid).filter(|entry| !entry.ended)
}
