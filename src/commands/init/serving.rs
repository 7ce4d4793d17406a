//! The process that serves an application now.

use std::path::{Path, PathBuf};

use almaplan_steps::process::{describe, listeners};

/// Who listens on a port.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The port.
    pub port: u16,
    /// Its process id.
    pub pid: u32,
    /// Its program and arguments, in one line.
    pub command: String,
    /// Its current folder, where it may be seen.
    pub cwd: Option<PathBuf>,
    /// The folder that it serves the application from; `None`: it is somebody else's.
    pub from: Option<PathBuf>,
}

/// Who listens on `port`, and whether it serves the application in `folder`, or one with the same file `evidence`. `None`: nobody, or nobody
/// that may be seen.
pub fn on_port(port: u16, folder: &Path, evidence: Option<&str>) -> Option<Serving> {
    let pid = listeners(port).ok()?.first()?.pid;
    let description = describe(pid)?;
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let is_in = |path: &Path| path.starts_with(folder) || path.starts_with(&real);
    let works_there = description.cwd.as_deref().is_some_and(is_in);
    let is_called_there = description.args.iter().any(|arg| is_in(Path::new(arg)));
    // What is installed elsewhere has the same files.
    let elsewhere = || description.cwd.clone().filter(|cwd| evidence.is_some_and(|name| cwd.join(name).is_file()));
    let from = if works_there || is_called_there { Some(folder.to_owned()) } else { elsewhere() };
    Some(Serving { port, pid, command: description.command_line(), cwd: description.cwd.clone(), from })
}
