//! Processes as Windows shows them. Not done yet: nothing here pretends that it was.
//!
//! What has to come: `GetExtendedTcpTable` for ports, `CREATE_SUSPENDED` and a job object for the gate, Ctrl+C through the
//! process's own console from a helper process for the gentle stop.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tokio::process::Child;

use super::{Entry, Launch, Signal};

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "not supported on Windows yet"))
}

/// Whether processes can be seen and signalled here: where not, that none is found says nothing.
pub fn supported() -> io::Result<()> {
    unsupported()
}

/// When the machine was booted, in seconds: the nearest thing to a boot id.
pub fn boot() -> String {
    sysinfo::System::boot_time().map(|at| at.to_string()).unwrap_or_default()
}

/// The row of `pid`.
pub fn entry(_pid: u32) -> Option<Entry> {
    None
}

/// Every row.
pub fn entries() -> Vec<Entry> {
    Vec::new()
}

/// The file that `pid` executes.
pub fn executable(_pid: u32) -> Option<PathBuf> {
    None
}

/// The whole argument list.
pub fn arguments(_pid: u32) -> Option<Vec<String>> {
    None
}

/// The current folder.
pub fn folder(_pid: u32) -> Option<PathBuf> {
    None
}

/// A variable of the environment that `pid` was started with.
pub fn variable(_pid: u32, _name: &str) -> Option<OsString> {
    None
}

/// The sockets that listen on `port`.
pub fn listening(_port: u16) -> io::Result<HashSet<u64>> {
    unsupported()
}

/// Which processes hold which of `sockets`; never asked, as [`listening`] tells of none.
pub fn holders(_sockets: &HashSet<u64>, _among: Option<&[u32]>) -> Vec<(u32, HashSet<u64>)> {
    Vec::new()
}

/// Sends `signal`.
pub fn send(_pid: u32, _started: u64, _signal: Signal) -> io::Result<bool> {
    unsupported()
}

/// The end that a waiting process is held at.
pub type Latch = std::convert::Infallible;

/// Starts `launch`, held before its program runs.
pub fn start_held(_launch: Launch) -> io::Result<(Child, Latch)> {
    unsupported()
}

/// Lets the program run.
pub async fn let_go(latch: Latch, _mark: &str) -> io::Result<()> {
    match latch {}
}

/// What takes along all that we start when it ends. That a job forbids to leave it would be said here.
pub fn bound_to() -> Option<String> {
    None
}

/// The program and arguments that run `line` in the system's shell.
pub fn shell(line: &str, args: Vec<String>) -> (String, Vec<String>) {
    ("cmd".to_owned(), ["/D".to_owned(), "/C".to_owned(), line.to_owned()].into_iter().chain(args).collect())
}

/// The exit code.
pub fn ending(status: ExitStatus) -> Result<i32, String> {
    status.code().ok_or_else(|| "ended without an exit code".to_owned())
}

/// Whether `program` and `of` are one program to the eye: one file, or two of Python's launchers.
pub fn same_family(program: &Path, of: &Path) -> bool {
    let is_python = |path: &Path| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        stem == "py" || stem.starts_with("python")
    };
    program == of || (is_python(program) && is_python(of))
}
