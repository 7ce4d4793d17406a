//! `preflight`: proves, before anything is touched, that the rest can work.
//!
//! Every problem is told at once, so that they can be mended at once. Nothing that it does stays: whether a folder can be
//! written is tried with a file that is gone again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Before, Preview, Told};
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::{self, Outside, SwapError, fit_for_swap, tree_size, writable};
use crate::http::{self, HttpError};
use crate::human::{Bytes, size};
use crate::input::{OneOrMany, Word, texts};
use crate::process::{self, Description, EmptyExpectation, Ending, Expect, Launch, PortError, ResolveError, RunOptions};
use crate::python::{Python, PythonError, Requirement, Wanted, normal};

/// How long a program may take to tell its version.
const VERSION_WITHIN: Time = Time::from_secs(20);
/// What it gets to end by itself when it is stopped meanwhile.
const VERSION_GRACE: Time = Time::from_secs(2);
/// How much of what it prints is looked at, in bytes.
const TOLD: usize = 64 << 10;
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
    /// Python packages that must be in a list, or in an environment that a list will be made of.
    #[serde(default)]
    pub packages: Option<Packages>,
    /// The port of the service; nobody may listen on it but what `port_expect` tells.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Texts, one of which must be part of the program, folder or command line of whoever listens, or of what started that.
    /// Without it, everyone may.
    #[serde(default)]
    pub port_expect: Option<Expect>,
    /// Addresses that must answer, with any status below 500.
    #[serde(default, deserialize_with = "crate::http::addresses")]
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
    /// Enough for a backup of this folder and a restore of it: twice what it takes of a disk.
    #[serde(default)]
    pub for_backup_of: Option<PathBuf>,
}

/// A program that must be there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// A path, or a program's name.
    #[serde(deserialize_with = "checked::filled")]
    pub program: String,
    /// The oldest version that will do, like `3.14`.
    #[serde(default)]
    pub at_least: Option<String>,
    /// What makes it tell its version.
    #[serde(default)]
    #[schemars(default = "version_args")]
    pub args: Option<Vec<Word>>,
}

/// Python packages that must be in a list, or in an environment that a list will be made of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Their names.
    #[serde(default)]
    pub expected: OneOrMany<String>,
    /// The interpreter of that environment. Empty or null: the list as it is.
    #[serde(default)]
    pub python: Option<String>,
    /// The list: a requirements file, a `pylock.toml` or a `pyproject.toml`.
    pub requirements: PathBuf,
}

/// A folder that will be replaced as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The folder.
    pub target: PathBuf,
    /// What must not be inside of it: backups, environments, staged releases.
    #[serde(default)]
    pub beside: OneOrMany<PathBuf>,
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

fn version_args() -> Vec<Word> {
    vec![Word("--version".to_owned())]
}

/// One thing that is in the way.
#[derive(Debug, Serialize, thiserror::Error)]
enum Problem {
    #[error("{} has {} free, {} are needed; free some space or choose another place", path.display(), size(*free), size(*needed))]
    Space { path: PathBuf, free: u64, needed: u64 },
    #[error(
        "{} has {} free, {} are needed for a backup of {} and a restore of it; free some space or choose another place",
        path.display(), size(*free), size(*needed), saved.display()
    )]
    BackupSpace { path: PathBuf, free: u64, needed: u64, saved: PathBuf },
    #[error("the free space of {path} cannot be told: {reason}", path = path.display())]
    SpaceUnknown {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
    #[error("{path} cannot be written: {reason}", path = path.display())]
    Unwritable {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
    #[error("{path} does not exist", path = .0.display())]
    Missing(PathBuf),
    #[error("there is no program `{0}`; install it, or give its path")]
    NoProgram(String),
    #[error("`{program}` does not work: {reason}")]
    Broken { program: String, reason: Box<Broken> },
    #[error("`{program}` is version {found}, at least {needed} is needed")]
    Old { program: String, found: String, needed: String },
    #[error("`{0}` is no version; write it like 3.14")]
    NoVersion(String),
    #[error("port {port} is held by {holder}, which is none of ours (expected: {expected}); stop it, or choose another port")]
    Foreign { port: u16, holder: Box<Description>, expected: String },
    #[error("{missing} should be installed in the environment of {python}; install what is missing, or take it out of `packages`", missing = names(.missing))]
    NotInstalled { missing: Vec<String>, python: String },
    #[error("{missing} should be in {list}; add what is missing, or take it out of `packages`", missing = names(.missing), list = list.display())]
    NotListed { missing: Vec<String>, list: PathBuf },
    #[error("the packages cannot be told: {0}")]
    Packages(#[from] PythonError),
    #[error("`port_expect`: {0}")]
    Expectation(#[from] EmptyExpectation),
    #[error(transparent)]
    Port(#[from] PortError),
    /// The address itself may be a secret, so only its host is told.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: HttpError },
    #[error(transparent)]
    Swap(#[from] SwapError),
}

/// Why a program does not work.
#[derive(Debug, Serialize, thiserror::Error)]
enum Broken {
    #[error("it does not end")]
    Endless,
    #[error("it {how}")]
    Ended { how: Ending },
    #[error("it {how}, {said}")]
    EndedSaying { how: Ending, said: String },
    #[error("it tells no version, but `{told}`")]
    NoVersion { told: String },
    #[error(transparent)]
    NotFound(ResolveError),
    #[error("{0}")]
    Run(#[serde(serialize_with = "Failure::said")] Failure),
}

/// All that is in the way.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{}", problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
struct Problems {
    problems: Vec<Problem>,
}

impl Kind for Preflight {
    const KIND: &'static str = "preflight";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Time::from_secs(300));
    type Output = PreflightOutput;

    async fn run(&self, cx: &Context) -> Result<PreflightOutput, Failure> {
        let mut found = PreflightOutput::default();
        let problems = tokio::select! {
            problems = self.look(cx, &mut found, true) => problems,
            () = cx.cancelled() => return Err(Failure::dirty(Stopped)),
        };
        if problems.is_empty() {
            return Ok(found);
        }
        Err(Failure::clean(Problems { problems }))
    }

    /// All but trying whether files can be written.
    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        let mut found = PreflightOutput::default();
        let problems = self.look(cx, &mut found, false).await;
        if !problems.is_empty() {
            return Preview::failure(Failure::clean(Problems { problems }));
        }
        let told = Preview::default().tell(Told::new("all-there"));
        let told = if self.writable.is_empty() { told } else { told.tell(Told::new("writing-untried")) };
        match serde_json::to_value(found) {
            Ok(serde_json::Value::Object(outputs)) => Preview { outputs, ..told },
            _ => told,
        }
    }
}

impl Preflight {
    /// What is in the way. Only where `writes` are tried is anything written, and gone again.
    async fn look(&self, cx: &Context, found: &mut PreflightOutput, writes: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.exists.iter().map(|path| cx.path(path)).filter(|path| !path.exists()).map(Problem::Missing));
        let unwritable = |path: PathBuf| writable(&path).err().map(|reason| Problem::Unwritable { path, reason });
        problems.extend(self.writable.iter().map(|path| cx.path(path)).filter(|_| writes).filter_map(unwritable));
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
        if let Some(Err(problem)) = match &self.packages {
            Some(packages) => Some(packages.look(cx).await),
            None => None,
        } {
            problems.push(problem);
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
        let listeners = match process::listeners(port) {
            Err(error) if self.port_expect.is_none() => {
                cx.warn(error);
                return Ok(None);
            }
            listeners => listeners?,
        };
        if let Some(expect) = &self.port_expect {
            expect.check()?;
            // Who listens may be a child of what is ours.
            let root = |listener| process::root_of(listener).ok().flatten().and_then(|root| process::describe(root.pid));
            let ours = |process: &Description| expect.matches(process, &cx.run().plan_dir);
            let described = listeners.iter().filter_map(|listener| Some((listener, process::describe(listener.pid)?)));
            let mut foreign = described.filter(|(listener, process)| !ours(process) && !root(listener).is_some_and(|root| ours(&root)));
            if let Some((_, process)) = foreign.next() {
                return Err(Problem::Foreign { port, holder: Box::new(process), expected: expect.to_string() });
            }
        }
        let first = listeners.into_iter().find_map(|listener| process::describe(listener.pid));
        Ok(first.map(|process| FoundListener { pid: process.pid, program: process.program.to_string_lossy().into_owned() }))
    }
}

impl FreeSpace {
    /// The free bytes, where they are enough.
    async fn look(&self, cx: &Context) -> Result<u64, Problem> {
        let path = cx.path(&self.path);
        let unknown = |reason: std::io::Error| Problem::SpaceUnknown { path: path.clone(), reason };
        let free = files::free_space(&path).map_err(unknown)?;
        let mut needed = self.at_least.map_or(0, |bytes| bytes.0);
        let saved = self.for_backup_of.as_ref().map(|source| cx.path(source));
        if let Some(source) = saved.clone() {
            let size = tokio::task::spawn_blocking(move || tree_size(&source, &[])).await;
            let (_, bytes) = size.map_err(std::io::Error::other).flatten().map_err(unknown)?;
            needed = needed.saturating_add(bytes.saturating_mul(2));
        }
        match saved {
            _ if free >= needed => Ok(free),
            Some(saved) => Err(Problem::BackupSpace { path, free, needed, saved }),
            None => Err(Problem::Space { path, free, needed }),
        }
    }
}

impl Program {
    /// Its version, where it tells one.
    async fn look(&self, cx: &Context) -> Result<Option<String>, Problem> {
        let needed = match &self.at_least {
            Some(text) => Some(version_in(text).filter(|version| version == text).ok_or_else(|| Problem::NoVersion(text.clone()))?),
            None => None,
        };
        let base = &cx.run().plan_dir;
        let path = process::resolve(&self.program, base, base, &[]).map_err(|error| match error {
            ResolveError::NotInPath { program, .. } | ResolveError::NoPath { program } | ResolveError::NotFound { program, .. } => {
                Problem::NoProgram(program)
            }
            error => Problem::Broken { program: self.program.clone(), reason: Box::new(Broken::NotFound(error)) },
        })?;
        let broken = |reason| Problem::Broken { program: self.program.clone(), reason: Box::new(reason) };
        let told = self.tell(cx, path).await;
        let found = match (told, &needed) {
            // Not every program knows `--version`; that it exists is enough where no version is asked for.
            (Err(_), None) => return Ok(None),
            (Err(reason), Some(_)) => return Err(broken(reason)),
            (Ok(text), _) => version_in(&text).ok_or(text),
        };
        match (found, needed) {
            (found, None) => Ok(found.ok()),
            (Err(text), Some(_)) => Err(broken(Broken::NoVersion { told: text.trim().lines().next().unwrap_or_default().to_owned() })),
            (Ok(found), Some(needed)) if numbers(&found) < numbers(&needed) => {
                Err(Problem::Old { program: self.program.clone(), found, needed })
            }
            (Ok(found), Some(_)) => Ok(Some(found)),
        }
    }

    /// What it prints, on either stream, when it succeeds.
    async fn tell(&self, cx: &Context, program: PathBuf) -> Result<String, Broken> {
        let (args, cwd) = (texts(&self.args.clone().unwrap_or_else(version_args)), cx.run().plan_dir.clone());
        let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
        let launch = Launch { program, args, verbatim: false, cwd, env: Vec::new(), stdout, stderr, outlives_us: false, origin: None };
        let options = RunOptions { name: &self.program, grace: VERSION_GRACE, shown: false, keep: TOLD };
        let finished = tokio::time::timeout(VERSION_WITHIN, process::run(cx, launch, options)).await;
        let finished = finished.map_err(|_| Broken::Endless)?.map_err(Broken::Run)?;
        let how = match finished.ending {
            Ending::WELL => return Ok(format!("{}\n{}", finished.stdout, finished.stderr)),
            how => how,
        };
        // One line: what a program says last of an error is usually what was wrong.
        Err(match finished.stderr.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(said) => Broken::EndedSaying { how, said: said.to_owned() },
            None => Broken::Ended { how },
        })
    }
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

impl Packages {
    async fn look(&self, cx: &Context) -> Result<(), Problem> {
        let python = self.python.as_deref().filter(|python| !python.is_empty());
        let list = cx.path(&self.requirements);
        if self.expected.is_empty() {
            return Ok(());
        }
        let there: Vec<String> = match python {
            Some(python) => Python::find(cx, python)?.packages(cx).await?,
            None => Wanted::read(&list)?.requirements.iter().filter_map(Requirement::name).collect(),
        };
        let missing: Vec<String> = self.expected.iter().filter(|name| !there.contains(&normal(name))).cloned().collect();
        match python {
            _ if missing.is_empty() => Ok(()),
            Some(python) => Err(Problem::NotInstalled { missing, python: python.to_owned() }),
            None => Err(Problem::NotListed { missing, list }),
        }
    }
}

/// Names, each between backquotes.
fn names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl Swap {
    fn look(&self, cx: &Context) -> Result<(), Problem> {
        let mut outside: Vec<_> = self.beside.iter().map(|path| (cx.path(path), Outside::Given)).collect();
        outside.push((cx.run().folder.clone(), Outside::State));
        if let Ok(current) = std::env::current_dir() {
            outside.push((current, Outside::CurrentFolder));
        }
        Ok(fit_for_swap(&cx.path(&self.target), &outside)?)
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
                "programs": [{ "program": "python3", "at_least": "3.9" }, { "program": "true" }],
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
            "/ is the root of a drive or a mount: nothing can be built beside it",
            "(where this run keeps its state) is inside",
            "there is no program `no-such-program`",
            "at least 99.1 is needed",
            "`false` does not work: it ended with exit code 1",
            &format!("(pid {}): {}", std::process::id(), std::env::args().collect::<Vec<_>>().join(" ")),
            "127.0.0.1 cannot be reached: it answered 502",
        ];
        assert_eq!(lines.len(), expected.len(), "{failure}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line:?} does not have {expected:?}");
        }
    }

    #[tokio::test]
    async fn a_package_that_is_expected_and_not_there_is_told() {
        let folder = tempdir().unwrap();
        std::fs::write(folder.path().join("requirements.txt"), "flask==3.1.0\nAPScheduler>=3 ; python_version > '3'\n-r more.txt\n")
            .unwrap();
        std::fs::write(folder.path().join("more.txt"), "x @ https://h/x.zip#sha256=00\n").unwrap();
        let with = |python: &str, expected: &[&str]| json!({ "packages": { "expected": expected, "python": python, "requirements": "requirements.txt" } });
        look(&folder, with("", &["Flask", "apscheduler", "X"])).await.unwrap();
        let failure = look(&folder, with("", &["Flask", "Requests", "Waitress"])).await.unwrap_err();
        assert!(failure.message.starts_with("`Requests`, `Waitress` should be in "), "{failure}");
        look(&folder, with("python3", &["pip"])).await.unwrap();
        let failure = look(&folder, with("python3", &["pip", "almanowhere"])).await.unwrap_err();
        assert!(failure.message.starts_with("`almanowhere` should be installed in the environment of python3"), "{failure}");
        let failure = look(&folder, with("./no/python", &["pip"])).await.unwrap_err();
        assert!(failure.message.contains("no/python"), "{failure}");
    }

    #[tokio::test]
    async fn a_folder_whose_backup_and_restore_have_no_room_is_told() {
        let folder = tempdir().unwrap();
        std::fs::write(folder.path().join("video.mp4"), vec![7; 64 << 20]).unwrap();
        // Unix gives a hole no room, however long it is.
        #[cfg(unix)]
        std::fs::File::create(folder.path().join("holes.img")).unwrap().set_len(4 << 40).unwrap();
        let space = json!({ "path": ".", "at_least": "8192GiB", "for_backup_of": "." });
        let failure = look(&folder, json!({ "free_space": space })).await.unwrap_err();
        assert!(failure.message.contains("8192.1 GiB are needed for a backup of "), "{failure}");
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
