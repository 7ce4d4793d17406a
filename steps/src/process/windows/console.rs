//! Ctrl+C for a program that has a console of its own.
//!
//! A process has one console at most, and Ctrl+C goes to all that are on one. So somebody else has to leave its own console, join
//! the program's and send it there: this very program, started once more.
//!
//! ```text
//!  almaplan ──> almaplan __ctrl-c ROOT STARTED MEMBERS… ──> joins the console ──> who else is here? ──> Ctrl+C
//!     ▲                                                                                   └─> strangers: nothing
//!     └──────────────── exit code: how it went ────────────────────────────────────────────────┘
//! ```
#![allow(unsafe_code, reason = "std and tokio hear Ctrl+C, but cannot send it")]

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, Stdio};
use std::sync::Once;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleProcessList, SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use super::table::{entry, executable, succeeded};
use crate::process::helper_process::helper_program;
use crate::process::vocabulary::{Entry, StopRequest, is_shell};

const CTRL_C: &str = "__ctrl-c";
/// How long a helper may take: it lasts a few milliseconds.
const HELPER_LIMIT: Duration = Duration::from_secs(5);
/// How long a process takes at most to hear that it is not meant itself.
const SETTLE: Duration = Duration::from_millis(20);

/// The exit codes of a helper.
const SENT: u8 = 0;
const GONE: u8 = 40;
/// It has no console, or shares it with others.
const DEAF: u8 = 41;

/// Does the work of a helper, if these are the arguments of one.
pub fn run_helper(args: &[OsString]) -> Option<ExitCode> {
    args.first().filter(|name| *name == CTRL_C)?;
    let numbers: Option<Vec<u64>> = args[1..].iter().map(|arg| arg.to_str()?.parse().ok()).collect();
    let numbers = numbers.unwrap_or_default();
    let [pid, started, members @ ..] = numbers.as_slice() else { return Some(ExitCode::FAILURE) };
    let members: Vec<u32> = members.iter().filter_map(|pid| u32::try_from(*pid).ok()).collect();
    Some(ExitCode::from(u32::try_from(*pid).map_or(GONE, |pid| interrupt(pid, *started, &members))))
}

/// Sends Ctrl+C to the console of `root`, if nobody is on it but `members` and the shells they were started from.
pub async fn ctrl_c(root: &Entry, members: &[Entry]) -> io::Result<StopRequest> {
    let Some(program) = helper_program() else { return Ok(StopRequest::Unreachable) };
    let numbers = [u64::from(root.pid), root.started].into_iter().chain(members.iter().map(|member| member.pid.into()));
    let mut command = Command::new(program);
    command.arg(CTRL_C).args(numbers.map(|number| number.to_string())).kill_on_drop(true).creation_flags(CREATE_NO_WINDOW);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Whatever keeps it from being done: there is still the firm way.
    let Ok(Ok(status)) = timeout(HELPER_LIMIT, command.status()).await else { return Ok(StopRequest::Unreachable) };
    Ok(match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(SENT) => StopRequest::Delivered,
        Some(GONE) => StopRequest::Exited,
        _ => StopRequest::Unreachable,
    })
}

fn interrupt(pid: u32, started: u64, members: &[u32]) -> u8 {
    let runs = || entry(pid).is_some_and(|entry| entry.started == started && !entry.ended);
    // SAFETY: no pointers. Nothing of this process needs a console.
    let joined = unsafe {
        FreeConsole();
        AttachConsole(pid) != 0
    };
    // Looked at after it was joined: it cannot be another one's console any more.
    if !runs() {
        return GONE;
    }
    let ours = std::process::id();
    let stranger =
        |other: &u32| *other != ours && !members.contains(other) && !executable(*other).is_some_and(|program| is_shell(&program));
    if !joined || on_console().iter().any(stranger) {
        return DEAF;
    }
    // SAFETY: no pointers: without a handler of ours it only says that this process ignores Ctrl+C.
    unsafe { SetConsoleCtrlHandler(None, 1) };
    std::thread::sleep(SETTLE);
    // SAFETY: no pointers.
    let sent = succeeded(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) });
    // Whoever leaves a console at once may take what is still on its way along.
    std::thread::sleep(SETTLE);
    if sent.is_ok() { SENT } else { DEAF }
}

/// The processes on our console.
fn on_console() -> Vec<u32> {
    let mut pids = vec![0; 256];
    // SAFETY: the call is told how many fit.
    let count = unsafe { GetConsoleProcessList(pids.as_mut_ptr(), pids.len() as u32) } as usize;
    // More than fit: none are written. That many are not ours alone.
    pids.truncate(if count <= pids.len() { count } else { 1 });
    pids
}

/// That Ctrl+C is ignored is inherited: whoever started us may have said so, and a service would never hear it.
pub fn heed_ctrl_c() {
    static ONCE: Once = Once::new();
    // SAFETY: no pointers: without a handler of ours it only takes back that Ctrl+C is ignored.
    ONCE.call_once(|| drop(succeeded(unsafe { SetConsoleCtrlHandler(None, 0) })));
}
