//! Running a Python interpreter: what it is, its pip, its virtual environments, and what a requirements file asks for.
//!
//! Whatever pip is configured with (indexes, credentials, proxies) comes from its own files and environment, untouched;
//! only what would make it work on another place than the one that was asked for is taken out.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use almaplan_engine::step::{Context, Failure};
use almaplan_engine::update::Stream;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// How many of the last lines are kept for a failure.
const TAIL: usize = 40;
/// What would lead an interpreter, or its pip, to packages of another place.
const MISLEADING: [&str; 5] = ["PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX"];
/// Tells what an interpreter is, as JSON on one line.
const PROBE: &str = "import json,platform,sys,sysconfig;print(json.dumps({'version':platform.python_version(),\
                     'executable':getattr(sys,'_base_executable',None) or sys.executable,'base':sys.base_prefix,\
                     'platform':sysconfig.get_platform(),'abi':sysconfig.get_config_var('SOABI') or platform.python_implementation()}))";

/// Why Python could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    /// No such program.
    #[error("there is no program `{0}`; install Python or say where it is with `python`")]
    Missing(String),
    /// It could not be started.
    #[error("could not start {program}: {reason}", program = program.display())]
    Start { program: PathBuf, reason: std::io::Error },
    /// What it told of itself makes no sense.
    #[error("{program} does not seem to be Python: {told}", program = program.display())]
    Strange { program: PathBuf, told: String },
    /// It ran and failed.
    #[error("could not {what}: {reason}")]
    Failed { what: String, reason: String, tail: Vec<String> },
    /// A requirements file.
    #[error("could not read {file}: {reason}", file = file.display())]
    Requirements { file: PathBuf, reason: std::io::Error },
    /// As asked.
    #[error("stopped as asked")]
    Stopped,
}

impl PythonError {
    /// The failure of a step in which nothing was changed, or perhaps something was.
    pub(crate) fn failure(self, clean: bool) -> Failure {
        let message = self.to_string();
        let tail = if let Self::Failed { tail, .. } = self { tail } else { Vec::new() };
        let failure = if clean { Failure::clean(message) } else { Failure::dirty(message) };
        failure.with_tail(tail)
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
}

impl Python {
    /// The interpreter called `name`: a path where it has a folder in it, else a program as the system finds it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(cx: &Context, name: &str) -> Result<Self, PythonError> {
        let found = if name.contains(['/', '\\']) { Some(cx.path(name)).filter(|path| path.is_file()) } else { which::which(name).ok() };
        found.map(|program| Self { program }).ok_or_else(|| PythonError::Missing(name.to_owned()))
    }

    /// The interpreter of the virtual environment in `env`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of(env: &Path) -> Result<Self, PythonError> {
        let known = [env.join("bin").join("python"), env.join("Scripts").join("python.exe")];
        let found = known.into_iter().find(|path| path.is_file());
        found.map(|program| Self { program }).ok_or_else(|| PythonError::Missing(env.join("bin").join("python").display().to_string()))
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
        let args = ["-I", "-c", PROBE].map(OsString::from);
        let finished = run_program(cx, &self.program, &args, None, false).await?;
        let strange = |told: String| PythonError::Strange { program: self.program.clone(), told };
        if !finished.success {
            return Err(strange(finished.tail.last().cloned().unwrap_or_else(|| "it says nothing".to_owned())));
        }
        serde_json::from_str(finished.stdout.trim()).map_err(|_| strange(finished.stdout))
    }

    /// Makes a virtual environment in `env`.
    ///
    /// # Errors
    /// It cannot; what is half made is left.
    pub(crate) async fn make_env(&self, cx: &Context, env: &Path) -> Result<(), PythonError> {
        let args = [OsStr::new("-m"), OsStr::new("venv"), env.as_os_str()].map(OsString::from);
        let finished = run_program(cx, &self.program, &args, None, true).await?;
        finished.expect_success(|| format!("make the virtual environment {}", env.display())).map(drop)
    }

    /// Runs `pip` with `args` in `cwd` and gives what it printed; `what` is what is wanted of it, for the error.
    ///
    /// # Errors
    /// It fails; the error has pip's own `ERROR` line.
    pub(crate) async fn pip(&self, cx: &Context, what: &str, args: &[&OsStr], cwd: Option<&Path>) -> Result<String, PythonError> {
        let always = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"].map(OsString::from);
        let args: Vec<OsString> = always.into_iter().chain(args.iter().map(OsString::from)).collect();
        run_program(cx, &self.program, &args, cwd, true).await?.expect_success(|| what.to_owned())
    }

    /// `pip install -r file` with `options`, from `wheels` alone where there are some.
    ///
    /// # Errors
    /// pip fails.
    pub(crate) async fn install(&self, cx: &Context, file: &Path, wheels: Option<&Path>, options: &[&str]) -> Result<(), PythonError> {
        let mut args: Vec<&OsStr> = vec!["install".as_ref()];
        if let Some(wheels) = wheels {
            args.extend(["--no-index".as_ref(), "--find-links".as_ref(), wheels.as_os_str()]);
        }
        args.extend(options.iter().map(OsStr::new));
        args.extend(["-r".as_ref(), file.as_os_str()]);
        // Paths in a requirements file are relative to the current folder.
        self.pip(cx, &format!("install {}", file.display()), &args, file.parent()).await.map(drop)
    }

    /// `pip freeze --all`: what is installed, one requirement a line. Changes nothing.
    ///
    /// # Errors
    /// pip fails.
    pub(crate) async fn freeze(&self, cx: &Context) -> Result<String, PythonError> {
        let args = ["-m", "pip", "--disable-pip-version-check", "freeze", "--all"].map(OsString::from);
        run_program(cx, &self.program, &args, None, false).await?.expect_success(|| "list what is installed".to_owned())
    }
}

/// What a program did.
#[derive(Debug)]
struct Finished {
    success: bool,
    ending: String,
    stdout: String,
    tail: Vec<String>,
}

impl Finished {
    fn expect_success(self, what: impl FnOnce() -> String) -> Result<String, PythonError> {
        if self.success {
            return Ok(self.stdout);
        }
        let error = self
            .tail
            .iter()
            .rev()
            .find(|line| line.starts_with("ERROR:"))
            .or_else(|| self.tail.iter().rev().find(|line| !line.trim().is_empty()));
        let reason = error.cloned().unwrap_or(self.ending);
        Err(PythonError::Failed { what: what(), reason, tail: self.tail })
    }
}

/// Runs `program` to its end, with its lines shown where `shown`; when the work is asked to stop, it is ended with everything below it.
async fn run_program(cx: &Context, program: &Path, args: &[OsString], cwd: Option<&Path>, shown: bool) -> Result<Finished, PythonError> {
    let mut command = tokio::process::Command::new(program);
    command.args(args).current_dir(cwd.unwrap_or(&cx.run().plan_dir)).env("PYTHONIOENCODING", "utf-8");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in MISLEADING {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|reason| PythonError::Start { program: program.to_owned(), reason })?;
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let shown = shown.then_some(cx);
    let stdout = pump(child.stdout.take(), Stream::Stdout, shown, &tail);
    let stderr = pump(child.stderr.take(), Stream::Stderr, shown, &tail);
    let pid = child.id();
    let ended = async { tokio::join!(child.wait(), stdout, stderr) };
    let (status, stdout, _) = tokio::select! {
        ended = ended => ended,
        () = cx.cancelled() => {
            pid.into_iter().for_each(crate::ports::end_tree);
            return Err(PythonError::Stopped);
        }
    };
    let status = status.map_err(|reason| PythonError::Start { program: program.to_owned(), reason })?;
    let tail = std::mem::take(&mut *tail.lock().expect("no code panics while it holds this lock")).into();
    Ok(Finished { success: status.success(), ending: status.to_string(), stdout, tail })
}

/// Reads `source` to its end: gives the text, shows its lines, and keeps the last ones in `tail`.
async fn pump(source: Option<impl AsyncRead + Unpin>, stream: Stream, shown: Option<&Context>, tail: &Mutex<VecDeque<String>>) -> String {
    let Some(source) = source else { return String::new() };
    let (mut reader, mut raw, mut text) = (BufReader::new(source), Vec::new(), String::new());
    while reader.read_until(b'\n', &mut raw).await.is_ok_and(|length| length > 0) {
        let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
        raw.clear();
        text.push_str(&line);
        text.push('\n');
        if let Some(cx) = shown {
            cx.log(stream, line.clone());
        }
        let mut tail = tail.lock().expect("no code panics while it holds this lock");
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    text
}

/// One line of a requirements file that asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The file it is in.
    pub(crate) file: PathBuf,
    /// Its line, counted from 1.
    pub(crate) number: usize,
    /// What it says, without comment, in single spaces.
    pub(crate) text: String,
}

/// What `file` asks for, the files that it includes (`-r`, `-c`) among it, comments and empty lines left out.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn requirements(file: &Path) -> Result<Vec<Requirement>, PythonError> {
    let mut found = Vec::new();
    collect(file, &mut HashSet::new(), &mut found)?;
    Ok(found)
}

fn collect(file: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<Requirement>) -> Result<(), PythonError> {
    if !seen.insert(file.to_owned()) {
        return Ok(());
    }
    let raw = std::fs::read(file).map_err(|reason| PythonError::Requirements { file: file.to_owned(), reason })?;
    let text = String::from_utf8_lossy(&raw).replace("\\\r\n", " ").replace("\\\n", " ");
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default();
        let text = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        found.push(Requirement { file: file.to_owned(), number: index + 1, text: text.clone() });
        if let Some(included) = included(&text) {
            collect(&file.parent().unwrap_or(Path::new("")).join(included), seen, found)?;
        }
    }
    Ok(())
}

/// The file that a line includes; an address is left to pip.
fn included(line: &str) -> Option<&str> {
    let rest = ["--requirement", "--constraint", "-r", "-c"].iter().find_map(|option| line.strip_prefix(option))?;
    Some(rest.trim_start_matches(['=', ' '])).filter(|file| !file.contains("://"))
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
    use std::fs::write;

    use super::*;

    #[test]
    fn a_requirements_file_is_read_with_what_it_includes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(
            path("requirements.txt"),
            "\u{feff}# comment\nFlask  ==3.0 # why\r\n\n-r base.txt\n-c https://example.com/c.txt\nx==1 \\\n  --hash=sha256:00\n",
        )
        .unwrap();
        write(path("base.txt"), "-r requirements.txt\nwaitress\n").unwrap();
        let found: Vec<String> = requirements(&path("requirements.txt")).unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(
            found,
            ["Flask ==3.0", "-r base.txt", "-r requirements.txt", "waitress", "-c https://example.com/c.txt", "x==1 --hash=sha256:00"]
        );
        assert!(requirements(&path("nothing.txt")).unwrap_err().to_string().contains("nothing.txt"));
    }

    #[tokio::test]
    async fn what_is_no_python_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let error = Python::find(&cx, "echo").unwrap().probe(&cx).await.unwrap_err().to_string();
        assert!(error.contains("does not seem to be Python"), "{error}");
        let error = Python::find(&cx, "no-such-python-at-all").unwrap_err().to_string();
        assert!(error.contains("`no-such-python-at-all`"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_is_asked_to_stop_is_gone_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let run = crate::test_context::TestRun::default();
        let cx = run.context(folder.path());
        let note = folder.path().join("pid");
        let args = ["-c", "sleep 600 & echo $! >pid.part && mv pid.part pid; wait"].map(OsString::from);
        let (finished, pid) = tokio::join!(run_program(&cx, Path::new("/bin/sh"), &args, Some(folder.path()), true), async {
            while !note.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            run.stop.cancel();
            std::fs::read_to_string(&note).unwrap().trim().parse::<u32>().unwrap()
        });
        assert!(matches!(finished, Err(PythonError::Stopped)));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while crate::ports::is_alive(pid) {
            assert!(std::time::Instant::now() < deadline, "what it started still runs");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
