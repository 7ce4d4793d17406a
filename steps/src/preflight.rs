//! `preflight`: proves, before anything is touched, that the rest can work.
//!
//! Every problem is told at once, so that they can be mended at once. Nothing that it does stays: whether a folder can be
//! written is tried with a file that is gone again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration as Time;

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http;
use crate::human::Bytes;
use crate::one_or_many::{OneOrMany, null_is_default};
use crate::ports;

/// How long a program may take to tell its version.
const VERSION_WITHIN: Time = Time::from_secs(20);
/// How long an address may take to answer.
const ANSWER_WITHIN: Time = Time::from_secs(10);

/// Proves, before anything is touched, that the rest can work, and tells every problem at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// Space that must be free.
    #[serde(default)]
    pub free_space: OneOrMany<FreeSpace>,
    /// Files and folders that must be writable; of those that do not exist yet, the nearest folder above them.
    #[serde(default)]
    pub writable: OneOrMany<PathBuf>,
    /// Files and folders that must exist.
    #[serde(default)]
    pub exists: OneOrMany<PathBuf>,
    /// Programs that must be there.
    #[serde(default)]
    pub programs: OneOrMany<Program>,
    /// The port of the service; nobody may listen on it but what `port_expect` tells.
    #[serde(default)]
    pub port: Option<u16>,
    /// Texts, one of which must be part of the program, folder or command line of whoever listens. Without any, everyone may.
    #[serde(default)]
    pub port_expect: OneOrMany<String>,
    /// Addresses that must answer, with any status below 500.
    #[serde(default)]
    pub url: OneOrMany<String>,
    /// Folders that will be replaced as a whole.
    #[serde(default)]
    pub swap: OneOrMany<Swap>,
}

/// Space that must be free where a folder is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreeSpace {
    /// The folder, or where it will be.
    pub path: PathBuf,
    /// At least this much.
    #[serde(default)]
    pub at_least: Option<Bytes>,
    /// Enough for a backup of this folder and a restore of it: twice its size.
    #[serde(default)]
    pub for_backup_of: Option<PathBuf>,
}

/// A program that must be there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// A path, or a program's name.
    pub program: String,
    /// The oldest version that will do, like `3.14`.
    #[serde(default)]
    pub at_least: Option<String>,
    /// What makes it tell its version.
    #[serde(default = "version_args")]
    pub args: Vec<String>,
}

/// A folder that will be replaced as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The folder.
    pub target: PathBuf,
    /// What must not be inside of it: backups, environments, staged releases.
    #[serde(default, deserialize_with = "null_is_default")]
    pub beside: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PreflightOutput {
    /// The version of each program; null where it told none.
    pub programs: BTreeMap<String, Option<String>>,
    /// The free space of each folder asked about, in bytes.
    pub free: BTreeMap<String, u64>,
    /// The process that listens on the port.
    pub listener: Option<FoundListener>,
}

/// The process that listens on the port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundListener {
    /// Its process id.
    pub pid: u32,
    /// Path of its program.
    pub program: String,
}

fn version_args() -> Vec<String> {
    vec!["--version".to_owned()]
}

/// One thing that is in the way.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{path} has {free} free, {needed} are needed{why}; free some space or choose another place", path = path.display(), free = size(*free), needed = size(*needed))]
    Space { path: PathBuf, free: u64, needed: u64, why: String },
    #[error("the free space of {path} cannot be told: {reason}", path = path.display())]
    SpaceUnknown { path: PathBuf, reason: String },
    #[error("{path} cannot be written: {reason}", path = path.display())]
    Unwritable { path: PathBuf, reason: String },
    #[error("{path} does not exist", path = .0.display())]
    Missing(PathBuf),
    #[error("there is no program `{0}`; install it, or give its path")]
    NoProgram(String),
    #[error("`{program}` does not work: {reason}")]
    Broken { program: String, reason: String },
    #[error("`{program}` is version {found}, at least {needed} is needed")]
    Old { program: String, found: String, needed: String },
    #[error("`{0}` is no version; write it like 3.14")]
    NoVersion(String),
    #[error(
        "port {port} is held by process {pid} ({program}), which is none of ours (expected: {expected}); stop it, or choose another port"
    )]
    Foreign { port: u16, pid: u32, program: String, expected: String },
    #[error(transparent)]
    Port(#[from] ports::PortError),
    /// The address itself may be a secret, so only its host is told.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{target} cannot be replaced as a whole: {reason}", target = target.display())]
    Swap { target: PathBuf, reason: String },
}

impl Step for Preflight {
    const KIND: &'static str = "preflight";
    const TRAITS: Traits =
        Traits { effect: Effect::Observes, on_interrupt: OnInterrupt::Rerun, timeout: Some(Time::from_secs(300)), adopts: false };
    type Output = PreflightOutput;

    async fn run(&self, cx: &Context) -> Result<PreflightOutput, Failure> {
        let mut found = PreflightOutput::default();
        let problems = tokio::select! {
            problems = self.look(cx, &mut found) => problems,
            () = cx.cancelled() => return Err(Failure::dirty("stopped as asked")),
        };
        if problems.is_empty() {
            return Ok(found);
        }
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Err(Failure::clean(lines.join("\n")))
    }
}

impl Preflight {
    async fn look(&self, cx: &Context, found: &mut PreflightOutput) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.exists.iter().map(|path| cx.path(path)).filter(|path| !path.exists()).map(Problem::Missing));
        problems.extend(self.writable.iter().filter_map(|path| writable(&cx.path(path)).err()));
        for space in self.free_space.iter() {
            match space.look(cx).await {
                Ok(free) => drop(found.free.insert(cx.path(&space.path).display().to_string(), free)),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(self.swap.iter().filter_map(|swap| swap.look(cx).err()));
        for program in self.programs.iter() {
            match program.look(cx).await {
                Ok(version) => drop(found.programs.insert(program.program.clone(), version)),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(port) = self.port {
            match self.look_at_port(cx, port) {
                Ok(listener) => found.listener = listener,
                Err(problem) => problems.push(problem),
            }
        }
        for url in self.url.iter() {
            if let Err(reason) = http::answers(url, ANSWER_WITHIN).await {
                let host = http::address(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "`url`".to_owned());
                problems.push(Problem::Unreachable { host, reason });
            }
        }
        problems
    }

    fn look_at_port(&self, cx: &Context, port: u16) -> Result<Option<FoundListener>, Problem> {
        let listeners = match ports::listeners(port) {
            Err(error) if self.port_expect.is_empty() => {
                cx.warn(error.to_string());
                return Ok(None);
            }
            listeners => listeners?,
        };
        let ours = |listener: &ports::Listener| self.port_expect.is_empty() || self.port_expect.iter().any(|text| listener.matches(text));
        if let Some(foreign) = listeners.iter().find(|listener| !ours(listener)) {
            let (pid, program, expected) = (foreign.pid, foreign.program.clone(), self.port_expect.join(", "));
            return Err(Problem::Foreign { port, pid, program, expected });
        }
        Ok(listeners.first().map(|listener| FoundListener { pid: listener.pid, program: listener.program.clone() }))
    }
}

impl FreeSpace {
    /// The free bytes, where they are enough.
    async fn look(&self, cx: &Context) -> Result<u64, Problem> {
        let path = cx.path(&self.path);
        let free = free_space(&path).map_err(|reason| Problem::SpaceUnknown { path: path.clone(), reason })?;
        let mut needed = self.at_least.map_or(0, |bytes| bytes.0);
        let mut why = String::new();
        if let Some(source) = self.for_backup_of.as_ref().map(|source| cx.path(source)) {
            why = format!(" for a backup of {} and a restore of it", source.display());
            let cx = cx.clone();
            let size = tokio::task::spawn_blocking(move || tree_size(&source, &|| cx.is_cancelled())).await.unwrap_or(0);
            needed = needed.saturating_add(size.saturating_mul(2));
        }
        if free < needed { Err(Problem::Space { path, free, needed, why }) } else { Ok(free) }
    }
}

impl Program {
    /// Its version, where it tells one.
    async fn look(&self, cx: &Context) -> Result<Option<String>, Problem> {
        let needed = match &self.at_least {
            Some(text) => Some(version_in(text).filter(|version| version == text).ok_or_else(|| Problem::NoVersion(text.clone()))?),
            None => None,
        };
        let path = if self.program.contains(['/', '\\']) {
            Some(cx.path(&self.program)).filter(|path| path.is_file())
        } else {
            which::which(&self.program).ok()
        };
        let path = path.ok_or_else(|| Problem::NoProgram(self.program.clone()))?;
        let broken = |reason: String| Problem::Broken { program: self.program.clone(), reason };
        let told = tell(&path, &self.args, &cx.run().plan_dir).await;
        let found = match (told, &needed) {
            // Not every program knows `--version`; that it exists is enough where no version is asked for.
            (Err(_), None) => return Ok(None),
            (Err(reason), Some(_)) => return Err(broken(reason)),
            (Ok(text), _) => version_in(&text).ok_or(text),
        };
        match (found, needed) {
            (found, None) => Ok(found.ok()),
            (Err(text), Some(_)) => Err(broken(format!("it tells no version, but `{}`", text.trim().lines().next().unwrap_or_default()))),
            (Ok(found), Some(needed)) if numbers(&found) < numbers(&needed) => {
                Err(Problem::Old { program: self.program.clone(), found, needed })
            }
            (Ok(found), Some(_)) => Ok(Some(found)),
        }
    }
}

/// What `program` prints, on either stream, when it succeeds.
async fn tell(program: &Path, args: &[String], cwd: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command.args(args).current_dir(cwd).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_WITHIN, command.output());
    let output = output.await.map_err(|_| "it does not end".to_owned())?.map_err(|error| error.to_string())?;
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() {
        return Ok(format!("{stdout}\n{stderr}"));
    }
    // One line: what a program says last of an error is usually what was wrong.
    let said = stderr.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(", {}", line.trim())).unwrap_or_default();
    Err(format!("{}{said}", output.status))
}

/// The first thing in `text` that looks like a version.
fn version_in(text: &str) -> Option<String> {
    let version = |word: &str| {
        word.trim_matches(|c: char| !c.is_ascii_digit()).split(|c: char| !c.is_ascii_digit() && c != '.').next().map(str::to_owned)
    };
    let words = text.split_whitespace().filter_map(version).map(|word| word.trim_end_matches('.').to_owned());
    let dotted = words.clone().find(|word| word.contains('.') && word.split('.').all(|part| part.parse::<u64>().is_ok()));
    dotted.or_else(|| words.into_iter().find(|word| word.parse::<u64>().is_ok()))
}

/// A version as numbers that compare: `3.9` is older than `3.14`, and `3` is `3.0`.
fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

/// `path` itself or the nearest folder above it that exists.
fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

/// Tries it: a file is opened for writing, in a folder one is made and removed again.
fn writable(path: &Path) -> Result<(), Problem> {
    let Some(place) = nearest(path) else { return Err(Problem::Missing(path.to_owned())) };
    let tried = if place.is_dir() {
        tempfile::Builder::new().prefix(".almaplan-").tempfile_in(place).and_then(tempfile::NamedTempFile::close)
    } else if place == path {
        std::fs::File::options().append(true).open(place).map(drop)
    } else {
        Err(std::io::Error::other(format!("{} is no folder", place.display())))
    };
    tried.map_err(|error| {
        // Above a folder that does not exist yet, say where it failed.
        let reason = if place == path { plain(&error) } else { format!("{} ({})", plain(&error), place.display()) };
        Problem::Unwritable { path: path.to_owned(), reason }
    })
}

/// An error of the system without the path of the file that was only tried.
fn plain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code).to_string(),
        None => error.to_string().split(" at path ").next().unwrap_or_default().to_owned(),
    }
}

impl Swap {
    fn look(&self, cx: &Context) -> Result<(), Problem> {
        let target = cx.path(&self.target);
        let mut apart: Vec<(PathBuf, &str)> = self.beside.iter().map(|path| (cx.path(path), "")).collect();
        apart.push((cx.run().folder.clone(), " (where this run keeps its state)"));
        if let Ok(current) = std::env::current_dir() {
            apart.push((current, " (the current folder: start almaplan elsewhere)"));
        }
        fit_for_swap(&target, &apart).map_err(|reason| Problem::Swap { target, reason })
    }
}

/// Whether `target` can be renamed away and replaced: something can be beside it, and nothing of `apart` (a path, and what it is) is in it.
fn fit_for_swap(target: &Path, apart: &[(PathBuf, &str)]) -> Result<(), String> {
    let real = real(target);
    let Some(parent) = real.parent() else { return Err("it is the root of a drive, nothing can be beside it".to_owned()) };
    if mounts().iter().any(|(mount, _)| *mount == real) {
        return Err("it is the root of a mount, nothing can be beside it".to_owned());
    }
    writable(parent).map_err(|problem| problem.to_string())?;
    match apart.iter().find(|(path, _)| self::real(path).starts_with(&real)) {
        Some((path, what)) => Err(format!("{}{what} is inside of it", path.display())),
        None => Ok(()),
    }
}

/// `path` without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let Some(known) = nearest(path) else { return path.to_owned() };
    let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
    known.canonicalize().map_or_else(|_| path.to_owned(), |known| known.join(rest).components().collect())
}

/// Where file systems are mounted, with their free bytes.
fn mounts() -> Vec<(PathBuf, u64)> {
    let disks = sysinfo::Disks::new_with_refreshed_list();
    disks.map(|disks| disks.iter().map(|disk| (disk.mount_point().to_owned(), disk.available_space())).collect()).unwrap_or_default()
}

/// The free bytes where `path` is or will be.
fn free_space(path: &Path) -> Result<u64, String> {
    let real = real(path);
    let home = mounts().into_iter().filter(|(mount, _)| real.starts_with(mount)).max_by_key(|(mount, _)| mount.components().count());
    home.map(|(_, free)| free).ok_or_else(|| "no file system is known there".to_owned())
}

/// The bytes of all files below `root`; what cannot be read counts as nothing.
fn tree_size(root: &Path, stop: &impl Fn() -> bool) -> u64 {
    let Ok(entries) = std::fs::read_dir(root) else { return 0 };
    let mut size = 0;
    for entry in entries.flatten() {
        match entry.file_type() {
            _ if stop() => return size,
            Ok(kind) if kind.is_dir() => size += tree_size(&entry.path(), stop),
            Ok(kind) if kind.is_file() => size += entry.metadata().map_or(0, |metadata| metadata.len()),
            _ => {}
        }
    }
    size
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::test_server::{Reply, serve};

    async fn look(folder: &TempDir, with: Value) -> Result<PreflightOutput, Failure> {
        let step: Preflight = serde_json::from_value(with).unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        step.run(&cx).await
    }

    #[tokio::test]
    async fn what_works_is_told_and_leaves_nothing_behind() {
        let folder = tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::write(folder.path().join("plan.toml"), "x").unwrap();
        let found = look(
            &folder,
            json!({
                "free_space": [{ "path": "backups/new", "at_least": "1KiB", "for_backup_of": "." }],
                "writable": ["a/b/c", ".", "plan.toml"],
                "exists": "plan.toml",
                "programs": [{ "program": "python3", "at_least": "3.0" }, { "program": "true" }],
                "port": listener.local_addr().unwrap().port(),
                "port_expect": ["no such thing", "almaplan"],
                "url": serve(|_| Reply::new(404)),
                "swap": null,
            }),
        )
        .await
        .unwrap();
        assert!(found.programs["python3"].as_ref().unwrap().starts_with("3."));
        assert!(found.free.values().all(|free| *free > 0) && found.free.len() == 1);
        assert_eq!(found.listener.unwrap().pid, std::process::id());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["plan.toml"]);
        assert_eq!(std::fs::read(folder.path().join("plan.toml")).unwrap(), b"x");
    }

    #[tokio::test]
    async fn every_problem_is_told_at_once() {
        let folder = tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let failure = look(
            &folder,
            json!({
                "free_space": { "path": ".", "at_least": "9000TB" },
                "writable": "file/below",
                "exists": ["nothing"],
                "programs": [{ "program": "no-such-program" }, { "program": "python3", "at_least": "99.1" }, { "program": "false", "at_least": "1" }],
                "port": port,
                "port_expect": "waitress",
                "url": [serve(|_| Reply::new(502)) + "/t0ken"],
                "swap": [{ "target": "/" }, { "target": "." }],
            }),
        )
        .await
        .unwrap_err();
        assert!(failure.clean);
        let lines: Vec<&str> = failure.message.lines().collect();
        let expected = [
            "does not exist",
            "file/below cannot be written: ",
            "8381903.2 GiB are needed",
            "/ cannot be replaced as a whole: it is the root",
            "(where this run keeps its state) is inside of it",
            "there is no program `no-such-program`",
            "at least 99.1 is needed",
            "`false` does not work: exit status: 1",
            &format!("port {port} is held by process {}", std::process::id()),
            "127.0.0.1 cannot be reached: it answered 502",
        ];
        assert_eq!(lines.len(), expected.len(), "{failure}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line:?} does not have {expected:?}");
        }
    }

    #[test]
    fn a_folder_fits_for_a_swap_unless_something_needed_is_inside() {
        let folder = tempdir().unwrap();
        let target = folder.path().join("app");
        std::fs::create_dir(&target).unwrap();
        assert_eq!(fit_for_swap(&target, &[(folder.path().join("app-backups"), "")]), Ok(()));
        let error = fit_for_swap(&target, &[(target.join("backups/new"), " (of the backup)")]).unwrap_err();
        assert!(error.ends_with("app/backups/new (of the backup) is inside of it"), "{error}");
    }

    #[test]
    fn versions_are_found_and_compared_as_numbers() {
        let version = |text: &str| version_in(text).unwrap();
        assert_eq!(version("Python 3.14.0rc2"), "3.14.0");
        assert_eq!(version("git version 2.39.5 (Apple)"), "2.39.5");
        assert_eq!(version("v22.1.0\n"), "22.1.0");
        assert_eq!(version("systemd 252"), "252");
        assert_eq!(version_in("no version"), None);
        assert!(numbers("3.9") < numbers("3.14") && numbers("3.14.1") > numbers("3.14") && numbers("3.0") == numbers("3"));
    }
}
