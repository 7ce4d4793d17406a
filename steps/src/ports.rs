//! Who listens on a port, and whether a process is alive: what checks need to know of processes.
//!
//! Reads `/proc/net/tcp{,6}`; elsewhere it says that it cannot tell. It signals nobody but children of ours.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

/// Why it cannot be told who listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// Processes of other users.
    #[error("someone listens on port {0}, but only an administrator may see who")]
    Unseen(u16),
    /// No `/proc/net/tcp`.
    #[error("who listens on a port cannot be told on this system yet ({0})")]
    Unsupported(std::io::Error),
}

/// A process that listens.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// Its process id.
    pub(crate) pid: u32,
    /// Path of its program.
    pub(crate) program: String,
    /// Its command line.
    pub(crate) args: Vec<String>,
    /// Its current folder.
    pub(crate) cwd: String,
}

impl Listener {
    /// Whether `text` is part of its program, command line or folder.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.program.contains(text) || self.cwd.contains(text) || self.args.join(" ").contains(text)
    }
}

/// Who listens on `port`, on any address; empty where nobody does.
///
/// # Errors
/// See [`PortError`].
pub(crate) fn listeners(port: u16) -> Result<Vec<Listener>, PortError> {
    let sockets = listening_sockets(port).map_err(PortError::Unsupported)?;
    if sockets.is_empty() {
        return Ok(Vec::new());
    }
    let pids = holders(&sockets);
    if pids.is_empty() {
        // Between the two looks it may have stopped listening.
        let gone = listening_sockets(port).map_err(PortError::Unsupported)?.is_disjoint(&sockets);
        return if gone { Ok(Vec::new()) } else { Err(PortError::Unseen(port)) };
    }
    Ok(describe(&pids))
}

/// The inodes of the sockets that listen on `port`, as they appear as links in `/proc/<pid>/fd`.
fn listening_sockets(port: u16) -> std::io::Result<HashSet<String>> {
    let mut found = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = match std::fs::read_to_string(table) {
            Err(error) if error.kind() == ErrorKind::NotFound && table.ends_with('6') => continue,
            text => text?,
        };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, "0A", _, _, _, _, _, inode, ..] = columns.as_slice() else { continue };
            if local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port) {
                found.insert(format!("socket:[{inode}]"));
            }
        }
    }
    Ok(found)
}

fn holders(sockets: &HashSet<String>) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.to_str().is_some_and(|link| sockets.contains(link))))
    })
    .collect()
}

/// What the system tells of `which` processes.
fn look(which: ProcessesToUpdate<'_>, details: ProcessRefreshKind) -> System {
    let mut system = System::new().expect("every system that this is built for is one that sysinfo knows");
    system.refresh_processes_specifics(which, true, details.without_tasks());
    system
}

fn describe(pids: &[u32]) -> Vec<Listener> {
    let wanted: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
    let details = ProcessRefreshKind::nothing().with_exe(UpdateKind::Always).with_cmd(UpdateKind::Always).with_cwd(UpdateKind::Always);
    let system = look(ProcessesToUpdate::Some(&wanted), details);
    let describe = |pid: Pid| {
        let process = system.process(pid)?;
        let text = |path: Option<&Path>| path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let args = process.cmd().iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Some(Listener { pid: pid.as_u32(), program: text(process.exe()), args, cwd: text(process.cwd()) })
    };
    wanted.into_iter().filter_map(describe).collect()
}

/// Whether `pid` runs: there is such a process, and it is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let pid = Pid::from_u32(pid);
    let system = look(ProcessesToUpdate::Some(&[pid]), ProcessRefreshKind::nothing());
    system.process(pid).is_some_and(|process| !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead))
}

/// Whether `pid` is `root` or was started, directly or not, by it.
pub(crate) fn descends(pid: u32, root: u32) -> bool {
    if pid == root {
        return true;
    }
    let system = look(ProcessesToUpdate::All, ProcessRefreshKind::nothing());
    let mut seen = HashSet::new();
    let mut next = Some(Pid::from_u32(pid));
    while let Some(pid) = next.filter(|pid| seen.insert(*pid)) {
        if pid.as_u32() == root {
            return true;
        }
        next = system.process(pid).and_then(sysinfo::Process::parent);
    }
    false
}

/// Ends `root`, a child of ours, and everything below it, firmly.
pub(crate) fn end_tree(root: u32) {
    let system = look(ProcessesToUpdate::All, ProcessRefreshKind::nothing());
    let mut ending = vec![Pid::from_u32(root)];
    let mut next = 0;
    while let Some(parent) = ending.get(next).copied() {
        next += 1;
        ending.extend(system.processes().values().filter(|process| process.parent() == Some(parent)).map(sysinfo::Process::pid));
    }
    for pid in ending {
        system.process(pid).map(sysinfo::Process::kill);
    }
}

/// Whether any process runs a program of `folder`, or works in it.
pub(crate) fn is_used(folder: &Path) -> bool {
    let details = ProcessRefreshKind::nothing().with_exe(UpdateKind::Always).with_cmd(UpdateKind::Always).with_cwd(UpdateKind::Always);
    look(ProcessesToUpdate::All, details).processes().values().any(|process| {
        // The program of a virtual environment is a link to one elsewhere: only the command line names it.
        let named = process.cmd().first().map(Path::new);
        [process.exe(), process.cwd(), named].into_iter().flatten().any(|path| path.starts_with(folder))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners(port).unwrap();
        let own = found.iter().find(|listener| listener.pid == std::process::id()).unwrap();
        assert!(own.matches("almaplan") && !own.matches("waitress"));
        drop(listener);
        // A child that another test starts just now may hold it for a moment longer.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !listeners(port).unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "a closed socket still counts as listening");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_that_ended_is_not_alive_although_nobody_waited_for_it() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert!(is_alive(child.id()) && descends(child.id(), std::process::id()) && !descends(std::process::id(), child.id()));
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_alive(child.id()) {
            assert!(std::time::Instant::now() < deadline, "a killed process still counts as alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_folder_is_used_while_a_process_works_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        assert!(!is_used(&path));
        let mut child = std::process::Command::new("sleep").arg("600").current_dir(&path).spawn().unwrap();
        assert!(is_used(&path));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_used(&path));
    }
}
