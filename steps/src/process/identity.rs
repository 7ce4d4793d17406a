//! Which process is meant, beyond doubt.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use almaplan_engine::context::Context;
use almaplan_engine::event::ProcessIdentity;

use super::{running, system};

static BOOT: OnceLock<String> = OnceLock::new();

/// The boot that this process runs in, a text that is another one after each boot.
pub fn boot() -> &'static str {
    BOOT.get_or_init(system::boot)
}

/// Makes [`boot`] say something else, for tests of what a reboot does. Only the first call counts, and only one that comes
/// before anything asked; `false` where it came too late.
pub fn set_boot(boot: String) -> bool {
    BOOT.set(boot).is_ok()
}

/// The identity of the process that has `pid` now; `None` where none has, or only a zombie.
pub fn identify(pid: u32) -> Option<ProcessIdentity> {
    let entry = running(pid)?;
    Some(identity(pid, entry.started, system::executable(pid).unwrap_or_default()))
}

/// How long `process` has been running, where the system tells.
pub fn age(process: &ProcessIdentity) -> Option<Duration> {
    if is_alive(process) { system::age(process.started) } else { None }
}

/// The process that a step means by the bare `pid` that another one left; `None` where it has ended, whoever has the pid now. A
/// pid that no step of the run left is whose it is.
pub fn meant(cx: &Context, pid: u32) -> Option<ProcessIdentity> {
    match cx.known_process(pid) {
        Some(met) => is_alive(&met).then_some(met),
        None => identify(pid),
    }
}

pub(super) fn identity(pid: u32, started: u64, program: PathBuf) -> ProcessIdentity {
    ProcessIdentity { pid, started, program: program.to_string_lossy().into_owned(), boot: boot().to_owned() }
}

/// Whether `process` still runs: this pid, started then, in this boot (rule 19). Its program is for messages only (a process changes it
/// when it leaves its gate). Where the system does not tell, nothing of this boot counts as gone.
pub fn is_alive(process: &ProcessIdentity) -> bool {
    let runs = || running(process.pid).is_some_and(|entry| entry.started == process.started);
    process.boot == boot() && (system::supported().is_err() || runs())
}
