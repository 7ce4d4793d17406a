//! Processes as Linux shows them: `/proc`, sessions, signals through pidfds.
//!
//! `/proc` is read as text that may vanish at any moment: a process that is gone is `None`, never an error.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

use almaplan_engine::event::ProcessIdentity;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::helper_process::helper_program;
use super::vocabulary::{BoundTo, Ending, Entry, Gentle, Launch, StopRequest};

#[path = "unix_rights.rs"]
mod rights;
#[path = "unix_sockets.rs"]
mod sockets;
#[path = "unix_variables.rs"]
mod variables;

pub use rights::Rights;

pub use sockets::{Socket, listening};
pub use variables::run_helper;

/// The variable that every process started through a gate carries, and hands down to what it starts: `<pid>.<start time>`
/// of the process that was let go. It tells what belongs to whom even after the parents between are gone.
const MARK: &str = "ALMAPLAN_SPAWNED";

/// Whether processes can be seen and signalled here: where not, that none is found says nothing.
pub fn supported() -> io::Result<()> {
    Ok(())
}

/// The boot id, which is another one after each boot.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The row of `pid`.
pub fn entry(pid: u32) -> Option<Entry> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Every row, in no order.
pub fn entries() -> Vec<Entry> {
    pids().into_iter().filter_map(entry).collect()
}

fn pids() -> Vec<u32> {
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parse_stat(stat: &[u8]) -> Option<Entry> {
    let text = String::from_utf8_lossy(stat);
    let pid = text.split(' ').next()?.parse().ok()?;
    // The name in parentheses may hold anything, parentheses and spaces too: only its last one ends it.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    // proc_pid_stat(5) counts from 1 and the first two are cut off.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let state = *fields.first()?;
    let ticks = number(14)? + number(15)?;
    Some(Entry {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        group: u32::try_from(number(5)?).ok()?,
        session: u32::try_from(number(6)?).ok()?,
        started: number(22)?,
        // A main thread that has ended while others go on looks like a zombie, too.
        ended: matches!(state, "Z" | "X" | "x") && number(20)? <= 1,
        suspended: state == "T",
        cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
        memory: number(24)? * rustix::param::page_size() as u64,
    })
}

/// How long a process runs that was `started` then, in the unit of [`Entry::started`].
pub fn age(started: u64) -> Option<Duration> {
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let since = started as f64 / rustix::param::clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64(uptime - since).ok()
}

/// The file that `pid` executes; `None` also where it may not be seen.
pub fn executable(pid: u32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // So the kernel marks a program whose file was replaced while it ran.
    let whole = path.as_os_str().as_bytes();
    Some(whole.strip_suffix(b" (deleted)").map_or_else(|| path.clone(), |there| std::ffi::OsStr::from_bytes(there).into()))
}

/// The whole argument list, the program's name first.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    Some(bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// The current folder.
pub fn folder(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// A variable of the environment that `pid` was started with.
pub fn variable(pid: u32, name: &str) -> Option<OsString> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    bytes.split(|&byte| byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(std::ffi::OsStr::from_bytes(value).to_owned())
    })
}

/// The environment that `pid` was started with.
///
/// # Errors
/// It may not be seen, or is no text.
pub fn environment(pid: u32) -> io::Result<Vec<(String, String)>> {
    let text = String::from_utf8(fs::read(format!("/proc/{pid}/environ"))?).map_err(io::Error::other)?;
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text.split('\0').filter_map(pair).collect())
}

/// Who starts `pid` again when it ends, by name.
pub fn supervisor(pid: u32) -> Option<String> {
    const SUPERVISORS: [&str; 8] = ["supervisord", "runsv", "s6-supervise", "supervise", "circusd", "monit", "PM2", "forever"];
    // systemd tells whom it started itself; whoever inherits the variable has another pid.
    if variable(pid, "SYSTEMD_EXEC_PID").is_some_and(|main| main.to_str() == Some(&pid.to_string())) {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let unit = groups.lines().find_map(|line| line.rsplit('/').next().filter(|unit| unit.ends_with(".service")).map(str::to_owned));
        return Some(unit.map_or_else(|| "systemd".to_owned(), |unit| format!("systemd ({unit})")));
    }
    let parent = fs::read_to_string(format!("/proc/{}/comm", entry(pid)?.parent)).ok()?;
    SUPERVISORS.into_iter().find(|name| parent.trim().starts_with(name)).map(str::to_owned)
}

/// Which of the processes `among` (`None`: all) hold which of `sockets`, as far as this user may look into them.
pub fn holders(sockets: &HashSet<Socket>, among: Option<&[u32]>) -> Vec<(u32, HashSet<Socket>)> {
    let pids = among.map_or_else(pids, <[u32]>::to_vec);
    pids.into_iter().map(|pid| (pid, held(pid, sockets))).filter(|(_, held)| !held.is_empty()).collect()
}

fn held(pid: u32, sockets: &HashSet<Socket>) -> HashSet<Socket> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return HashSet::new() };
    // One that was closed meanwhile holds nothing.
    let targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let inodes = targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
    inodes.filter(|inode| sockets.contains(inode)).collect()
}

/// What carries the mark of one gate, which was left in its environment.
pub struct TreeMarker {
    mark: String,
}

impl TreeMarker {
    /// What came from the process that has `pid` and started at `started`.
    pub fn of(pid: u32, started: u64) -> Self {
        Self { mark: mark(pid, started) }
    }

    /// Whether `entry` is of them although its parents may be gone.
    pub fn has(&self, entry: &Entry) -> bool {
        variable(entry.pid, MARK).is_some_and(|mark| mark.to_str() == Some(&self.mark))
    }
}

fn mark(pid: u32, started: u64) -> String {
    format!("{pid}.{started}")
}

/// Pid and start of the process that was let out of a gate and that `pid` comes from.
pub fn gated_root(pid: u32) -> Option<(u32, u64)> {
    let mark = variable(pid, MARK)?;
    let (root, started) = mark.to_str()?.split_once('.')?;
    Some((root.parse().ok()?, started.parse().ok()?))
}

/// Whether `pid` ignores SIGINT: what a script starts with `&` does (POSIX, "Signals and Error Handling" of the shell).
fn ignores_interrupts(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (Signal::INT.as_raw() - 1) & 1 == 1)
}

/// Asks the process of `entry` to end, and to go on for that if it was suspended. Who ignores SIGINT is asked by SIGTERM.
pub async fn ask(entry: &Entry, _members: &[Entry], gentle: Gentle) -> io::Result<StopRequest> {
    let signal = match gentle {
        Gentle::Int if !ignores_interrupts(entry.pid) => Signal::INT,
        Gentle::Int | Gentle::Term => Signal::TERM,
    };
    let heard = send(entry.pid, entry.started, signal)?;
    if entry.suspended {
        send(entry.pid, entry.started, Signal::CONT)?;
    }
    Ok(if heard { StopRequest::Delivered } else { StopRequest::Exited })
}

/// Ends the process that has `pid` and started at `started`; nothing where that one has ended.
pub fn kill(pid: u32, started: u64) -> io::Result<()> {
    send(pid, started, Signal::KILL).map(drop)
}

/// Sends `signal` to the process that has `pid` and started at `started`; `false` where that one has ended.
fn send(pid: u32, started: u64, signal: Signal) -> io::Result<bool> {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
    let same = || entry(pid).is_some_and(|entry| entry.started == started && !entry.ended);
    let sent = match pidfd_open(raw, PidfdFlags::empty()) {
        // The descriptor stands for one process for good: what is checked after it was opened cannot change any more.
        Ok(process) => {
            if !same() {
                return Ok(false);
            }
            pidfd_send_signal(process, signal)
        }
        // Kernels before 5.3.
        Err(rustix::io::Errno::NOSYS) => {
            if !same() {
                return Ok(false);
            }
            kill_process(raw, signal)
        }
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The end that a waiting process is held at.
pub type StartBarrier = ChildStdin;

/// Starts `launch` in a session of its own, held before its program runs: a shell that waits for one line and then *becomes*
/// the program, so pid and start time stay. If we die before the line, it reads the end of the pipe and is gone.
pub fn start_held(launch: Launch) -> io::Result<(Child, StartBarrier)> {
    const GATE: &str = r#"IFS= read -r MARK && export MARK && exec "$@" </dev/null"#;
    seal_inherited_files();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(GATE.replace("MARK", MARK)).arg("sh");
    if let Some(origin) = &launch.origin {
        command.env_clear().envs(origin.environment.iter().filter(|(name, _)| name != MARK).map(|(name, value)| (name, value)));
        take_over(&mut command, &origin.rights);
    }
    for (name, value) in &launch.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let odd = odd_variables(&launch);
    match helper_program() {
        _ if odd.is_empty() => {}
        // Another user may not be allowed to start us.
        Some(helper) if launch.origin.is_none() => {
            command.envs(variables::carriers(&odd)).args(variables::command_words(helper));
        }
        _ => {
            command.args(variables::env_words(&odd));
        }
    }
    command.arg(&launch.program).args(&launch.args);
    command.current_dir(&launch.cwd).stdin(Stdio::piped()).stdout(launch.stdout).stderr(launch.stderr);
    own_session(&mut command);
    let mut child = command.spawn()?;
    let start_barrier = child.stdin.take().expect("it was asked for two lines above");
    Ok((child, start_barrier))
}

/// Nothing ends a program with us; what an earlier attempt left running is ended by whoever goes on.
#[derive(Debug)]
pub struct LifetimeHandle;

/// Lets the program run, with a mark of `process` in its environment.
pub async fn let_go(mut start_barrier: StartBarrier, process: &ProcessIdentity) -> io::Result<LifetimeHandle> {
    start_barrier.write_all(format!("{}\n", mark(process.pid, process.started)).as_bytes()).await?;
    start_barrier.flush().await?;
    Ok(LifetimeHandle)
}

/// No terminal's end, nor Ctrl+C, reaches a process in a session of its own, and the session's id finds all that it starts.
#[allow(unsafe_code)]
fn own_session(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid is one, and nothing is allocated.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
}

/// It comes back as the user, with the limits and the priority that it had.
#[allow(unsafe_code)]
fn take_over(command: &mut Command, rights: &Rights) {
    let take = rights.taken();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; the closure makes system calls alone and allocates nothing.
    unsafe {
        command.pre_exec(take);
    }
}

/// Files that whoever started us left open would live on in a service: a pipe that never ends, a lock that is never released.
#[allow(unsafe_code)]
fn seal_inherited_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(folder) = fs::read_dir("/proc/self/fd") else { return };
        let open = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        for descriptor in open.filter(|descriptor| *descriptor > 2) {
            // SAFETY: the descriptor is borrowed for one call that reads and sets a flag which no code of ours relies on being
            // unset; if another thread closed it meanwhile, the call fails or sets the flag that Rust sets on all its files.
            let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
            let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
        }
    });
}

/// Those of the variables that a program gets whose names a shell could not use.
fn odd_variables(launch: &Launch) -> Vec<(OsString, OsString)> {
    let before: Vec<(OsString, OsString)> = match &launch.origin {
        Some(origin) => origin.environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        None => std::env::vars_os().collect(),
    };
    let replaced = |name: &OsString| launch.env.iter().any(|(own, _)| OsStr::new(own) == name);
    let inherited = before.into_iter().filter(|(name, _)| !replaced(name));
    let given = launch.env.iter().filter_map(|(name, value)| Some((name.into(), value.as_ref()?.into())));
    inherited.chain(given).filter(|(name, _)| !variables::is_plain(name)).collect()
}

/// What takes along all that we start when it ends, whatever session that is in, and what avoids it: the systemd unit that we
/// run in.
pub fn bound_to() -> Option<BoundTo> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let unit = groups.lines().find_map(|line| line.rsplit('/').next().filter(|unit| unit.ends_with(".service")))?;
    Some(BoundTo::Unit { unit: unit.to_owned() })
}

/// The program and arguments that run `line` in the system's shell; `args` become `$1`, `$2`, ….
pub fn shell(line: &str, args: Vec<String>) -> (String, Vec<String>) {
    ("/bin/sh".to_owned(), ["-c".to_owned(), line.to_owned(), "sh".to_owned()].into_iter().chain(args).collect())
}

/// How a process ended that has this status.
pub fn ending(status: ExitStatus) -> Ending {
    if let Some(code) = status.code() {
        return Ending::Code { code };
    }
    let number = status.signal().unwrap_or_default();
    match rustix::process::Signal::from_named_raw(number).map(signal_name) {
        Some(name) => Ending::Signal { number, name },
        None => Ending::OtherSignal { number },
    }
}

fn signal_name(signal: rustix::process::Signal) -> &'static str {
    use rustix::process::Signal as S;
    [
        (S::KILL, "SIGKILL"),
        (S::TERM, "SIGTERM"),
        (S::INT, "SIGINT"),
        (S::HUP, "SIGHUP"),
        (S::SEGV, "SIGSEGV"),
        (S::ABORT, "SIGABRT"),
        (S::PIPE, "SIGPIPE"),
        (S::QUIT, "SIGQUIT"),
        (S::BUS, "SIGBUS"),
        (S::ILL, "SIGILL"),
        (S::FPE, "SIGFPE"),
    ]
    .into_iter()
    .find(|(known, _)| *known == signal)
    .map_or("another one", |(_, name)| name)
}

/// A path or a text with paths in it, so that two spellings of the same file are the same text: here there is only one.
pub fn comparable(text: &str) -> String {
    text.to_owned()
}

/// Whether a variable is the one that lists where programs are.
pub fn is_path_variable(name: &str) -> bool {
    name == "PATH"
}

/// Whether `program` and `of` are one program to the eye: one file, or two of Python's launchers.
pub fn same_family(program: &Path, of: &Path) -> bool {
    let is_python =
        |path: &Path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"python") || name.as_bytes().starts_with(b"pypy"));
    program == of || (is_python(program) && is_python(of))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = b"4242 (a) R 1 (b c) S 17 4200 4100 0 -1 4194560 99 0 0 0 150 50 0 0 20 0 3 0 987654 1000 25 18446744073709551615";
        let entry = parse_stat(stat).unwrap();
        assert_eq!((entry.pid, entry.parent, entry.group, entry.session, entry.started), (4242, 17, 4200, 4100, 987_654));
        assert_eq!(entry.cpu, Duration::from_secs(2), "150 + 50 ticks of a hundredth of a second");
        assert!(!entry.ended);
    }
    #[test]
    fn a_signal_reaches_only_the_process_that_started_then() {
        let mut bystander = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let entry = entry(bystander.id()).unwrap();
        assert!(!send(entry.pid, entry.started + 1, Signal::KILL).unwrap());
        assert!(bystander.try_wait().unwrap().is_none());
        assert!(send(entry.pid, entry.started, Signal::KILL).unwrap());
        assert_eq!(ending(bystander.wait().unwrap()), Ending::Signal { number: 9, name: "SIGKILL" });
        assert!(!send(entry.pid, entry.started, Signal::KILL).unwrap(), "it is gone");
    }
}
