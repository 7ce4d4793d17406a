//! A process as people know it, and as it could be started again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{running, system};

/// What runs under a pid.
#[derive(Debug, Clone)]
pub struct Description {
    /// The process id.
    pub pid: u32,
    /// The program, as it would have to be called again: the interpreter of a virtual environment stays that one, although the
    /// file which the system executes is the one its link leads to. Empty where it may not be seen.
    pub program: PathBuf,
    /// The file which the system executes, every link followed. Empty where it may not be seen.
    pub executable: PathBuf,
    /// Its arguments, without the program.
    pub args: Vec<String>,
    /// What stands where the program's name should be, if that leads to no program: `nginx: master process`.
    pub title: Option<String>,
    /// Its current folder, where it may be seen.
    pub cwd: Option<PathBuf>,
}

/// What runs under `pid`; `None` where nothing does.
pub fn describe(pid: u32) -> Option<Description> {
    running(pid)?;
    let executable = system::executable(pid).unwrap_or_default();
    let cwd = system::folder(pid);
    let mut args = arguments(pid);
    let called = if args.is_empty() { String::new() } else { args.remove(0) };
    let callable = callable(pid, &called, &executable, cwd.as_deref());
    let title = callable.is_none().then_some(called);
    let program = callable.unwrap_or_else(|| executable.clone());
    Some(Description { pid, program, executable, args, title, cwd })
}

/// Whether any process runs a program of `folder`, or works in it; `true` also where the system does not tell.
pub fn is_used(folder: &Path) -> bool {
    system::supported().is_err() || !users_of(folder).is_empty()
}

/// The processes that run a program of `folder`, or work in it.
pub fn users_of(folder: &Path) -> Vec<u32> {
    let folder = same(folder);
    let uses = |pid: u32| {
        // The program of a virtual environment is a link to one elsewhere: only the command line names it.
        let named = system::arguments(pid).and_then(|args| args.into_iter().next()).map(PathBuf::from);
        [system::executable(pid), system::folder(pid), named].into_iter().flatten().any(|path| same(&path).starts_with(&folder))
    };
    system::entries().into_iter().filter(|entry| !entry.ended).map(|entry| entry.pid).filter(|pid| uses(*pid)).collect()
}

/// The list is empty for a moment while a process becomes another program.
fn arguments(pid: u32) -> Vec<String> {
    for _ in 0..5 {
        match system::arguments(pid) {
            Some(args) if args.iter().all(String::is_empty) => std::thread::sleep(Duration::from_millis(1)),
            args => return args.unwrap_or_default(),
        }
    }
    Vec::new()
}

/// `called` as an absolute path, if it leads to what is executed.
fn callable(pid: u32, called: &str, executable: &Path, cwd: Option<&Path>) -> Option<PathBuf> {
    let path = which::which_in(called, system::variable(pid, "PATH"), cwd.unwrap_or(Path::new("/"))).ok()?;
    (same(&std::fs::canonicalize(&path).ok()?) == same(executable)).then_some(path)
}

/// `path` in a spelling that can be compared.
pub(super) fn same(path: &Path) -> PathBuf {
    system::comparable(&path.to_string_lossy()).into()
}

impl Description {
    /// Whether it shows a text of its own in place of its arguments, as gunicorn, nginx, celery and all that use `setproctitle` do.
    pub fn shows_a_title(&self) -> bool {
        let is_text = |title: &String| title.contains([' ', ':', '[']) || self.args.is_empty() && title.is_empty();
        self.title.as_ref().is_some_and(is_text)
    }

    /// Program and arguments in one line.
    pub fn command_line(&self) -> String {
        let program = self.program.to_string_lossy();
        std::iter::once(program.as_ref()).chain(self.args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }
}

/// What people are told of a process.
#[derive(Debug, Serialize, thiserror::Error)]
enum Known {
    #[error("a program that may not be seen (pid {pid})")]
    Unseen { pid: u32 },
    #[error("{name} (pid {pid}): {line}")]
    Running { name: String, pid: u32, line: String },
    #[error("{name} (pid {pid}): {line}, in {cwd}")]
    RunningIn { name: String, pid: u32, line: String, cwd: String },
}

impl Known {
    fn of(process: &Description) -> Self {
        let pid = process.pid;
        let Some(name) = process.program.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Self::Unseen { pid } };
        let mut line = process.command_line();
        if let Some((end, _)) = line.char_indices().nth(300) {
            line.truncate(end);
            line.push('…');
        }
        match &process.cwd {
            Some(cwd) => Self::RunningIn { name, pid, line, cwd: cwd.display().to_string() },
            None => Self::Running { name, pid, line },
        }
    }
}

/// `python3 (pid 4711): /usr/bin/python3 app.py, in /srv/app`.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Known::of(self).fmt(f)
    }
}

/// As part of what is said to people.
impl Serialize for Description {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Known::of(self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_is_used_while_a_process_works_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        assert!(!is_used(&path));
        let mut child = crate::test_context::sleeper().current_dir(&path).spawn().unwrap();
        assert!(is_used(&path));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_used(&path));
    }
}
