//! Running a Python interpreter: what it is, its pip, its virtual environments, what is asked for in them, and the proof that it is there.
//!
//! Whatever pip is configured with (indexes, credentials, proxies) comes from its own files and environment, untouched;
//! only what would make it work on another place than the one that was asked for is taken out.

mod content;
mod installer;
mod requirements;
mod wanted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use almaplan_engine::context::Context;
use almaplan_engine::event::Failure;
use almaplan_engine::words::verbatim;
use serde::{Deserialize, Serialize};

use crate::process::{self, Ending, Finished, Launch, ResolveError, RunOptions};

pub(crate) use self::installer::Installer;
pub(crate) use self::requirements::{Asks, Moves, Requirement, listed};
pub(crate) use self::wanted::{Wanted, normal};

/// What a stopped interpreter gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How much of what is printed is kept: more than any list of packages.
const LISTING: usize = 8 << 20;
/// What would lead an interpreter, or its pip, to packages of another place, or to other packages.
const MISLEADING: [&str; 16] = [
    "PYTHONHOME",
    "PYTHONPATH",
    "__PYVENV_LAUNCHER__",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_EDITABLE",
    "PIP_GROUP",
    "PIP_REQUIREMENTS_FROM_SCRIPT",
    "PIP_NO_DEPS",
    "PIP_PLATFORM",
    "PIP_PYTHON_VERSION",
    "PIP_IMPLEMENTATION",
    "PIP_ABI",
];
/// What pip's own files may not turn on, either: the environment has the last word.
const TURNED_OFF: (&str, &str) = ("PIP_DRY_RUN", "0");
/// The same in a virtual environment, where no package is a user's own.
const NOT_OF_A_USER: (&str, &str) = ("PIP_USER", "0");
/// Tells the names of what is installed, one a line.
const PACKAGES: &str =
    "import importlib.metadata as m;print(*{n for d in m.distributions() for n in [(d.metadata or {}).get('Name')] if n},sep='\\n')";
/// Tells what is wrong with an environment.
const PROOF: &str = include_str!("proof.py");
/// Tells what an interpreter is, as JSON on one line.
const PROBE: &str = "import json,platform,sys,sysconfig;print(json.dumps({'version':platform.python_version(),\
                     'executable':getattr(sys,'_base_executable',None) or sys.executable,'base':sys.base_prefix,\
                     'platform':sysconfig.get_platform(),'abi':sysconfig.get_config_var('SOABI') or platform.python_implementation()}))";

/// Why Python could not do what was asked.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum PythonError {
    /// No such program.
    #[error("{0}; install Python or say where it is with `python`")]
    Missing(#[from] ResolveError),
    /// No such environment.
    #[error("{env} is no virtual environment: it has no interpreter", env = .0.display())]
    NoEnvironment(PathBuf),
    /// It was not started, or stopped as asked.
    #[error("{0}")]
    Run(#[serde(serialize_with = "Failure::said")] Failure),
    /// What it told of itself makes no sense.
    #[error("{program} does not seem to be Python: {told}", program = program.display())]
    Strange { program: PathBuf, told: String },
    /// It tells nothing of itself.
    #[error("{program} does not seem to be Python: it says nothing", program = program.display())]
    Silent { program: PathBuf },
    /// It ran and failed.
    #[error("could not {aim}: {reason}")]
    Failed {
        aim: Aim,
        reason: Complaint,
        #[serde(skip)]
        tail: Vec<String>,
    },
    /// A file that says what to install, or that is to be installed.
    #[error("could not read {file}: {reason}", file = file.display())]
    Requirements {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
    /// A file that does not say what to install.
    #[error("{file} does not say what to install: {reason}", file = file.display())]
    NotRead { file: PathBuf, reason: Unsaid },
    /// A requirement whose content may change although its words do not.
    #[error("{line} {why}")]
    Moves { line: String, why: Moves },
    /// An environment is not what was asked for.
    #[error("{env} is not what was asked for: {problems}", env = env.display())]
    Unproved { env: PathBuf, problems: String },
    /// The same, where pip's own files may be why.
    #[error(
        "{env} is not what was asked for: {problems} (pip is configured with `{name}`: `pip config debug` tells where; take it out there)",
        env = env.display()
    )]
    Misconfigured { env: PathBuf, problems: String, name: String },
    /// The files that say what to install were changed while it was installed.
    #[error("{file} or what it names was changed while it was installed; run again", file = .0.display())]
    Changed(PathBuf),
}

/// What Python, or a tool of it, was to do.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum Aim {
    #[error("tell what is installed")]
    TellInstalled,
    #[error("list what is installed")]
    ListInstalled,
    #[error("check what is installed")]
    CheckInstalled,
    #[error("list its configuration")]
    ListSettings,
    #[error("tell what it can do")]
    TellAbilities,
    #[error("make the virtual environment {}", env.display())]
    MakeEnvironment { env: PathBuf },
    #[error("upgrade pip")]
    UpgradePip,
    #[error("install {list}")]
    Install { list: String },
    #[error("install {list} with uv")]
    InstallWithUv { list: String },
    #[error("install a set that fits together")]
    FitTogether,
    #[error("fetch the packages of {list}")]
    Fetch { list: String },
    #[error("remove what was not there before")]
    RemoveExtras,
}

/// Why it could not, in its own words where it said any.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum Complaint {
    #[error("{line}")]
    Said { line: String },
    #[error("it {how}")]
    Ended { how: Ending },
}

/// Why a file does not say what to install, and what to do about it.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum Unsaid {
    #[error("{reason}; mend it")]
    NoToml { reason: String },
    #[error(
        "it has no `dependencies` in `[project]`; write them there, or name a `pylock.toml` (`uv export --format pylock.toml`, `pdm export -f \
         pylock`) or a requirements file"
    )]
    NoDependencies,
    #[error(
        "its `dependencies` are `dynamic`: only what builds it knows them; write them there, or name a `pylock.toml` (`uv export --format \
         pylock.toml`, `pdm export -f pylock`) or a requirements file"
    )]
    Dynamic,
    #[error("`{name}` comes from a source of its own (`[tool.uv.sources]`); name a `pylock.toml` (`uv export --format pylock.toml`)")]
    OwnSource { name: String },
    #[error(
        "the pip of this Python cannot read lock files (nor can the newest one); install uv, put a wheel of pip 26.1 or later into \
         `wheels`, or write a requirements file with hashes"
    )]
    LockForOldPip,
    #[error(
        "the pip of this Python cannot read lock files ({why}); install uv, put a wheel of pip 26.1 or later into `wheels`, or write a \
         requirements file with hashes"
    )]
    LockForThisPip { why: Box<PythonError> },
}

impl PythonError {
    /// The failure of a step in which nothing was changed, or perhaps something was.
    pub(crate) fn failure(self, clean: bool) -> Failure {
        match self {
            Self::Run(failure) => Failure { clean: clean && failure.clean, ..failure },
            Self::Failed { ref tail, .. } => Failure { clean, ..Failure::dirty(&self).with_tail(tail.clone()) },
            error => Failure { clean, ..Failure::dirty(error) },
        }
    }
}

/// What an interpreter tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Interpreter {
    /// Like `3.14.2`.
    pub(crate) version: String,
    /// The program that environments are made from.
    pub(crate) executable: String,
    /// Where it is installed.
    pub(crate) base: String,
    /// Like `linux-x86_64`.
    pub(crate) platform: String,
    /// Which compiled packages fit.
    pub(crate) abi: String,
}

/// A Python interpreter that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    program: PathBuf,
    /// Variables to set for it.
    env: Vec<(&'static str, &'static str)>,
}

impl Python {
    /// The interpreter called `name`: a path where it has a folder in it, else a program as the system finds it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(cx: &Context, name: &str) -> Result<Self, PythonError> {
        let base = &cx.run().plan_dir;
        Ok(Self { program: process::resolve(name, base, base, &[])?, env: vec![TURNED_OFF] })
    }

    /// The interpreter of the virtual environment in `env`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of(env: &Path) -> Result<Self, PythonError> {
        let known = [env.join("bin").join("python"), env.join("Scripts").join("python.exe")];
        let found = known.into_iter().find(|path| path.is_file());
        let set = vec![TURNED_OFF, NOT_OF_A_USER];
        found.map(|program| Self { program, env: set }).ok_or_else(|| PythonError::NoEnvironment(env.to_owned()))
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What it is. Changes nothing.
    ///
    /// # Errors
    /// It does not run, or is no Python.
    pub(crate) async fn probe(&self, cx: &Context) -> Result<Interpreter, PythonError> {
        let finished = self.run(cx, &["-I", "-c", PROBE], None, false).await?;
        let program = self.program.clone();
        let strange = |told: String| PythonError::Strange { program: program.clone(), told };
        if finished.ending != Ending::WELL {
            return Err(finished.last.last().cloned().map_or_else(|| PythonError::Silent { program: program.clone() }, strange));
        }
        serde_json::from_str(finished.stdout.trim()).map_err(|_| strange(finished.stdout))
    }

    /// The packages of its environment with their versions, once it is proved that all is there which the JSON file `given` tells, see
    /// `proof.py`. Changes nothing.
    ///
    /// # Errors
    /// Something is missing, is another one, or leads out of the environment.
    pub(crate) async fn prove(&self, cx: &Context, env: &Path, given: &Path) -> Result<BTreeMap<String, String>, PythonError> {
        #[derive(Deserialize)]
        struct Told {
            problems: Vec<String>,
            installed: BTreeMap<String, String>,
        }
        let told = printed(self.run(cx, &["-I", "-c", PROOF, &given.to_string_lossy()], None, false).await?, Aim::TellInstalled)?;
        let told: Told = serde_json::from_str(told.trim()).map_err(|_| PythonError::Strange { program: self.program.clone(), told })?;
        if told.problems.is_empty() {
            return Ok(told.installed);
        }
        Err(PythonError::Unproved { env: env.to_owned(), problems: told.problems.join("; ") })
    }

    /// The names of the packages that it would import, as an index writes them. Changes nothing.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) async fn packages(&self, cx: &Context) -> Result<Vec<String>, PythonError> {
        let told = printed(self.run(cx, &["-c", PACKAGES], None, false).await?, Aim::TellInstalled)?;
        Ok(told.lines().map(|name| normal(name.trim())).collect())
    }

    /// What pip is configured with, by its files and by the environment: names without section, the strongest last. Changes nothing.
    ///
    /// # Errors
    /// pip fails.
    async fn settings(&self, cx: &Context) -> Result<Vec<(String, String)>, PythonError> {
        let args = ["-m", "pip", "--disable-pip-version-check", "config", "list"];
        Ok(installer::settings(&printed(self.run(cx, &args, None, false).await?, Aim::ListSettings)?))
    }

    /// Makes a virtual environment in `env`.
    ///
    /// # Errors
    /// It cannot; what is half made is left.
    pub(crate) async fn make_env(&self, cx: &Context, env: &Path) -> Result<(), PythonError> {
        let finished = self.run(cx, &["-m", "venv", &env.to_string_lossy()], None, true).await?;
        printed(finished, Aim::MakeEnvironment { env: env.to_owned() }).map(drop)
    }

    /// Runs `pip` with `args` in `cwd`; `aim` is for the error.
    ///
    /// # Errors
    /// It fails; the error has pip's own `ERROR` line.
    pub(crate) async fn pip(&self, cx: &Context, aim: Aim, args: &[&str], cwd: Option<&Path>) -> Result<(), PythonError> {
        let always = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"];
        printed(self.run(cx, &[&always, args].concat(), cwd, true).await?, aim).map(drop)
    }

    /// `pip install -r file` with `options` in `cwd`, by default the folder of the file, from `wheels` alone where there are some.
    ///
    /// # Errors
    /// pip fails.
    pub(crate) async fn install(
        &self,
        cx: &Context,
        file: &Path,
        cwd: Option<&Path>,
        wheels: Option<&Path>,
        options: &[&str],
    ) -> Result<(), PythonError> {
        let (name, wheels) = (file.to_string_lossy(), wheels.map(|wheels| wheels.to_string_lossy()));
        let offline = wheels.as_ref().map(|wheels| ["--no-index", "--find-links", wheels]);
        let offline = offline.as_ref().map_or(&[] as &[&str], |offline| offline);
        // Paths in a requirements file are relative to the current folder.
        let args = [&["install"], offline, options, &["-r", &name]].concat();
        self.pip(cx, Aim::Install { list: name.to_string() }, &args, cwd.or_else(|| file.parent())).await
    }

    /// `pip freeze --all`: what is installed, one requirement a line. Changes nothing.
    ///
    /// # Errors
    /// pip fails.
    pub(crate) async fn freeze(&self, cx: &Context) -> Result<String, PythonError> {
        let args = ["-m", "pip", "--disable-pip-version-check", "freeze", "--all"];
        printed(self.run(cx, &args, None, false).await?, Aim::ListInstalled)
    }

    /// Runs it to its end, with its lines shown where `shown`.
    async fn run(&self, cx: &Context, args: &[&str], cwd: Option<&Path>, shown: bool) -> Result<Finished, PythonError> {
        let env = self.env.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        run(cx, &self.program, args, cwd, env, shown).await
    }
}

/// Runs `program` to its end, with nothing in its environment that would lead it elsewhere.
async fn run(
    cx: &Context,
    program: &Path,
    args: &[&str],
    cwd: Option<&Path>,
    env: Vec<(String, Option<String>)>,
    shown: bool,
) -> Result<Finished, PythonError> {
    let unset = MISLEADING.iter().map(|name| ((*name).to_owned(), None));
    let encoding = ("PYTHONIOENCODING".to_owned(), Some("utf-8".to_owned()));
    let launch = Launch {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        verbatim: false,
        cwd: cwd.unwrap_or(&cx.run().plan_dir).to_owned(),
        env: unset.chain([encoding]).chain(env).collect(),
        stdout: Stdio::piped(),
        stderr: Stdio::piped(),
        outlives_us: false,
        origin: None,
    };
    let options = RunOptions { name: &program.to_string_lossy(), grace: GRACE, shown, keep: LISTING };
    process::run(cx, launch, options).await.map_err(PythonError::Run)
}

/// What a program printed that succeeded; else why it could not, in its own words where it said any.
fn printed(finished: Finished, aim: Aim) -> Result<String, PythonError> {
    let Finished { ending, stdout, stderr, last: tail } = finished;
    if ending == Ending::WELL {
        return Ok(stdout);
    }
    let error = stderr.lines().rfind(|line| line.starts_with("ERROR:") || line.starts_with("error:"));
    let said = error.or_else(|| tail.iter().map(String::as_str).rfind(|line| !line.trim().is_empty()));
    let reason = said.map_or(Complaint::Ended { how: ending }, |line| Complaint::Said { line: line.to_owned() });
    Err(PythonError::Failed { aim, reason, tail })
}

#[cfg(test)]
pub(crate) mod testing {
    //! A wheel made by hand, so that tests need no network.
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::path::{Path, PathBuf};

    /// Writes a wheel of a package with one module that knows its `VERSION`.
    pub(crate) fn wheel(folder: &Path, name: &str, version: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(format!("{name}-{version}-py3-none-any.whl"));
        let info = format!("{name}-{version}.dist-info");
        let files = [
            (format!("{name}.py"), format!("VERSION = '{version}'\n")),
            (format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")),
            (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
        ];
        let mut record: String = files.iter().map(|(file, _)| format!("{file},,\n")).collect();
        record += &format!("{info}/RECORD,,\n");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (file, text) in files.into_iter().chain([(format!("{info}/RECORD"), record)]) {
            zip.start_file(file, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    /// What `python` prints when it runs `code`.
    pub(crate) fn prints(python: &Path, code: &str) -> String {
        let output = std::process::Command::new(python).args(["-c", code]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_no_python_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), std::sync::Arc::new(|_| {}));
        let other = if cfg!(windows) { "hostname" } else { "echo" };
        let error = Python::find(&cx, other).unwrap().probe(&cx).await.unwrap_err().to_string();
        assert!(error.contains("does not seem to be Python"), "{error}");
        let error = Python::find(&cx, "no-such-python-at-all").unwrap_err().to_string();
        assert!(error.contains("`no-such-python-at-all`"), "{error}");
    }

    #[tokio::test]
    async fn an_interpreter_runs_only_once_it_is_known_and_is_gone_with_what_it_started_when_it_is_asked_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let run = crate::test_context::TestRun::default();
        let cx = run.context(folder.path());
        let note = folder.path().join("pid");
        let shell = Python { program: "/bin/sh".into(), env: Vec::new() };
        let args = ["-c", "sleep 600 & echo $$ $! >pid.part && mv pid.part pid; wait"];
        let (finished, pids) = tokio::join!(shell.run(&cx, &args, Some(folder.path()), true), async {
            while !note.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let known: Vec<u32> = run.spawned.lock().unwrap().iter().map(|process| process.pid).collect();
            let pids: Vec<u32> = std::fs::read_to_string(&note).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
            assert_eq!(known, pids[..1], "what runs is what was made durable");
            run.stop.cancel();
            pids
        });
        assert!(matches!(finished, Err(PythonError::Run(failure)) if failure.message == "stopped as asked"));
        assert!(pids.iter().all(|pid| process::identify(*pid).is_none()), "what it started still runs");
    }

    #[tokio::test]
    async fn an_interpreter_that_cannot_be_made_known_never_runs() {
        let folder = tempfile::tempdir().unwrap();
        let run = crate::test_context::TestRun { deaf: true, ..Default::default() };
        let cx = run.context(folder.path());
        let shell = Python { program: "/bin/sh".into(), env: Vec::new() };
        shell.run(&cx, &["-c", "echo >effect"], Some(folder.path()), true).await.unwrap_err();
        // Whatever waited to become it has had its time.
        let waiting = run.spawned.lock().unwrap()[0].clone();
        while process::is_alive(&waiting) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
