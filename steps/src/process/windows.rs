//! Processes as Windows shows them: handles, job objects, consoles.
//!
//! A process that is gone is `None`, never an error. There are no sessions and groups in the sense of unix: what came from a
//! gate is known by its job object, anything else by who started it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use almaplan_engine::event::ProcessIdentity;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use tokio::process::{Child, Command};

use super::vocabulary::{BoundTo, Ending, Entry, Gentle, Launch, StopRequest};

#[path = "windows/console.rs"]
mod console;
#[path = "windows/handles.rs"]
mod handles;
#[path = "windows/job.rs"]
mod job;
#[path = "windows/ports.rs"]
mod ports;
#[path = "windows/sockets.rs"]
mod sockets;
#[path = "windows/table.rs"]
mod table;

pub use console::run_helper;
pub use ports::{Socket, holders, listening};
pub use table::{boot, entries, entry, executable};

use job::Job;

/// Whether processes can be seen and signalled here: where not, that none is found says nothing.
pub fn supported() -> io::Result<()> {
    Ok(())
}

/// The whole argument list, the program's name first.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let kind = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
    look(pid, kind, |process| process.cmd().iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

/// The current folder.
pub fn folder(pid: u32) -> Option<PathBuf> {
    let kind = ProcessRefreshKind::nothing().with_cwd(UpdateKind::Always);
    // The system keeps it with a separator at the end.
    look(pid, kind, |process| process.cwd().map(|folder| folder.components().collect()))?
}

/// A variable of the environment that `pid` was started with.
pub fn variable(pid: u32, name: &str) -> Option<OsString> {
    let kind = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    let pairs = look(pid, kind, |process| process.environ().to_vec())?;
    pairs.iter().find_map(|pair| {
        let (own, value) = pair.to_str()?.split_once('=')?;
        own.eq_ignore_ascii_case(name).then(|| value.into())
    })
}

/// How long a process runs that was `started` then, in the unit of [`Entry::started`].
pub fn age(started: u64) -> Option<Duration> {
    /// Seconds from 1601, where Windows' times begin, to 1970.
    const TO_1970: u64 = 11_644_473_600;
    // Tenths of a microsecond.
    let since = Duration::from_secs(started / 10_000_000) + Duration::from_nanos(started % 10_000_000 * 100);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()? + Duration::from_secs(TO_1970);
    now.checked_sub(since)
}

/// The environment that `pid` was started with.
///
/// # Errors
/// It may not be seen, or is no text.
pub fn environment(pid: u32) -> io::Result<Vec<(String, String)>> {
    let kind = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    let unseen = || io::Error::new(io::ErrorKind::PermissionDenied, "its environment may not be read");
    let pairs = look(pid, kind, |process| process.environ().to_vec()).filter(|pairs| !pairs.is_empty()).ok_or_else(unseen)?;
    // The folders of drives (`=C:`) are none of its variables.
    let pair = |pair: &OsString| pair.to_str()?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(pairs.iter().filter_map(pair).filter(|(name, _)| !name.is_empty()).collect())
}

/// Services are started by a manager that stands between: their processes are none of its children.
pub fn supervisor(_pid: u32) -> Option<String> {
    None
}

/// What a process may do: it comes back as the user that almaplan runs as, which is who may stop it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rights;

impl Rights {
    /// Those of the process that has `pid`.
    ///
    /// # Errors
    /// None.
    pub fn of(_pid: u32) -> io::Result<Self> {
        Ok(Self)
    }

    /// Whether this process may start another one with them.
    pub fn can_be_taken(&self) -> bool {
        true
    }
}

fn look<T>(pid: u32, kind: ProcessRefreshKind, what: impl FnOnce(&sysinfo::Process) -> T) -> Option<T> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
    system.process(pid).map(what)
}

/// Ends the process that has `pid` and started at `started`; nothing where that one has ended.
pub fn kill(pid: u32, started: u64) -> io::Result<()> {
    table::terminate(pid, started)
}

/// Asks the process of `root` to end by Ctrl+C in its console, on which nobody but `members` may be.
pub async fn ask(root: &Entry, members: &[Entry], _: Gentle) -> io::Result<StopRequest> {
    // Both requests are this one: it is what console programs obey, and all that there is for those without a window.
    console::ctrl_c(root, members).await
}

/// What came through a gate as one process: it is in that gate's job.
pub struct TreeMarker {
    root: (u32, u64),
    job: Option<Job>,
}

impl TreeMarker {
    /// What came from the process that has `pid` and started at `started`.
    pub fn of(pid: u32, started: u64) -> Self {
        Self { root: (pid, started), job: Job::open(pid, started) }
    }

    /// Whether `entry`, which is no older than the root, is of them although its parents may be gone: here a process knows who
    /// started it also when that one has ended.
    pub fn has(&self, entry: &Entry) -> bool {
        let (root, started) = self.root;
        let orphan = || entry.parent == root && table::entry(root).is_none_or(|now| now.started == started);
        self.job.as_ref().is_some_and(|job| job.holds(entry.pid)) || orphan()
    }
}

/// Pid and start of the process that was let out of a gate and that `pid` comes from, if that still runs.
pub fn gated_root(pid: u32) -> Option<(u32, u64)> {
    let mut roots = entries().into_iter().filter(|entry| !entry.ended).map(|entry| (entry.pid, entry.started));
    roots.find(|(root, started)| Job::open(*root, *started).is_some_and(|job| job.holds(pid)))
}

/// What holds a waiting process: it is suspended, in a job that ends it when the last handle is closed, which is ours.
#[derive(Debug)]
pub struct StartBarrier {
    job: Job,
    pid: u32,
    outlives_us: bool,
}

/// What ends a program with us: its job. Nothing for one that outlives us.
pub type LifetimeHandle = Option<Job>;

/// Starts `launch` suspended, in a job of its own.
///
/// Between its start and its job there is a moment in which our death would leave it suspended for good: it has done nothing then,
/// and never will.
pub fn start_held(launch: Launch) -> io::Result<(Child, StartBarrier)> {
    handles::seal();
    console::heed_ctrl_c();
    let mut command = Command::new(&launch.program);
    if let Some(origin) = &launch.origin {
        command.env_clear().envs(origin.environment.iter().map(|(name, value)| (name, value)));
    }
    for (name, value) in &launch.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for arg in &launch.args {
        if launch.verbatim {
            command.raw_arg(arg)
        } else {
            command.arg(arg)
        };
    }
    command.current_dir(&launch.cwd).stdin(std::process::Stdio::null()).stdout(launch.stdout).stderr(launch.stderr);
    let mut child = job::spawn_suspended(&mut command, launch.outlives_us)?;
    match hold(&child, launch.outlives_us) {
        Ok(start_barrier) => Ok((child, start_barrier)),
        Err(error) => {
            let _ = child.start_kill();
            Err(error)
        }
    }
}

fn hold(child: &Child, outlives_us: bool) -> io::Result<StartBarrier> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, "it ended at once");
    let pid = child.id().ok_or_else(gone)?;
    let started = table::entry(pid).ok_or_else(gone)?.started;
    let job = Job::create(pid, started)?;
    job.take(child.raw_handle().ok_or_else(gone)?)?;
    Ok(StartBarrier { job, pid, outlives_us })
}

/// Lets the program run.
pub async fn let_go(start_barrier: StartBarrier, _: &ProcessIdentity) -> io::Result<LifetimeHandle> {
    let StartBarrier { job, pid, outlives_us } = start_barrier;
    if outlives_us {
        job.let_outlive(pid)?;
    }
    job::resume(pid)?;
    Ok((!outlives_us).then_some(job))
}

/// What takes along all that we start when it ends, and what avoids it: a job that nothing may leave.
pub fn bound_to() -> Option<BoundTo> {
    job::binds_us().then_some(BoundTo::Job)
}

/// The program and arguments that run `line` in the system's shell; `args` follow it.
pub fn shell(line: &str, args: Vec<String>) -> (String, Vec<String>) {
    // With /S exactly the outer quotes are taken off, whatever is between them.
    let quoted =
        |arg: String| if arg.is_empty() || arg.contains([' ', '\t', '&', '|', '(', ')', '^']) { format!("\"{arg}\"") } else { arg };
    let words: Vec<String> = std::iter::once(line.to_owned()).chain(args.into_iter().map(quoted)).collect();
    ("cmd".to_owned(), ["/D", "/S", "/C"].map(str::to_owned).into_iter().chain([format!("\"{}\"", words.join(" "))]).collect())
}

/// How a process ended that has this status.
pub fn ending(status: ExitStatus) -> Ending {
    const CONTROL_C_EXIT: i32 = 0xC000_013A_u32.cast_signed();
    match status.code() {
        Some(CONTROL_C_EXIT) => Ending::ControlC,
        Some(code) => Ending::Code { code },
        None => Ending::Untold,
    }
}

/// Whether `program` and `of` are one program to the eye: one file, or two of Python's launchers.
pub fn same_family(program: &Path, of: &Path) -> bool {
    let is_python = |path: &Path| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        stem == "py" || stem.starts_with("python")
    };
    comparable(&program.to_string_lossy()) == comparable(&of.to_string_lossy()) || (is_python(program) && is_python(of))
}

/// A path or a text with paths in it, so that two spellings of the same file are the same text.
pub fn comparable(text: &str) -> String {
    text.replace(r"\\?\UNC\", r"\\").replace(r"\\?\", "").replace('/', r"\").to_lowercase()
}

/// Whether a variable is the one that lists where programs are.
pub fn is_path_variable(name: &str) -> bool {
    name.eq_ignore_ascii_case("PATH")
}
