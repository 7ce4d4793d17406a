//! `python-env`: a virtual environment for a requirements file, beside the ones of earlier versions.
//!
//! ```text
//!  <dir>/<key>/                    built in place: an environment cannot be moved
//!  <dir>/<key>/.almaplan-complete  written last; without it the folder is half built, and built again
//! ```
//!
//! The key says what is in it: what the requirements ask for, and the interpreter. So an unchanged application starts from the
//! environment it has, and going back to an older version finds its own, untouched. Nothing here ever changes a complete environment.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration as Time, SystemTime};

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::is_used;
use crate::python::{Interpreter, Python, PythonError, Requirement, requirements};

/// The file that says that an environment is complete.
const MARKER: &str = ".almaplan-complete";
/// How many hexadecimal digits of the hash name an environment.
const KEY: usize = 16;

/// Makes sure that there is a virtual environment with everything in a requirements file, and says where its interpreter is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PythonEnv {
    /// The interpreter to make it from: a path, or a program's name.
    pub python: String,
    /// The requirements file.
    pub requirements: PathBuf,
    /// The folder of the environments: outside of what is deployed.
    pub dir: PathBuf,
    /// How many environments stay, this one among them; those still needed or in use stay in any case.
    #[serde(default = "keep")]
    pub keep: usize,
    /// A folder of wheels: with it, nothing is fetched from the network.
    #[serde(default)]
    pub wheels: Option<PathBuf>,
}

/// The environment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PythonEnvOutput {
    /// Path of its interpreter.
    pub python: String,
    /// What names it: the hash of the requirements and of the interpreter.
    pub key: String,
    /// It was made now; `false`: it was there.
    pub created: bool,
}

fn keep() -> usize {
    3
}

/// What goes wrong beside Python.
#[derive(Debug, thiserror::Error)]
enum EnvError {
    #[error("could not {what} {path}: {reason}", path = path.display())]
    Files { what: &'static str, path: PathBuf, reason: std::io::Error },
}

fn files(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EnvError {
    move |reason| EnvError::Files { what, path: path.to_owned(), reason }
}

impl Step for PythonEnv {
    const KIND: &'static str = "python-env";
    const TRAITS: Traits =
        Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: Some(Time::from_secs(30 * 60)), adopts: false };
    type Output = PythonEnvOutput;

    async fn run(&self, cx: &Context) -> Result<PythonEnvOutput, Failure> {
        let clean = |error: PythonError| error.failure(true);
        let base = Python::find(cx, &self.python).map_err(clean)?;
        let interpreter = base.probe(cx).await.map_err(clean)?;
        let file = cx.path(&self.requirements);
        let key = key(&requirements(&file).map_err(clean)?, &interpreter);
        let dir = cx.path(&self.dir);
        let env = dir.join(&key);

        let (python, created) = match self.reuse(cx, &env).await {
            Some(python) => (python, false),
            None => (self.make(cx, &base, &env, &file).await?, true),
        };
        self.prune(cx, dir, env).await;
        Ok(PythonEnvOutput { python: python.program().display().to_string(), key, created })
    }
}

impl PythonEnv {
    /// The interpreter of `env` where that is complete and runs.
    async fn reuse(&self, cx: &Context, env: &Path) -> Option<Python> {
        let marker = env.join(MARKER);
        if !marker.is_file() {
            return None;
        }
        let python = Python::of(env).ok()?;
        if let Err(error) = python.probe(cx).await {
            cx.warn(format!("{} is complete, but does not run, and is built again: {error}", env.display()));
            return None;
        }
        // The time of the marker is when it was last wanted: `keep` goes by it. Losing it costs nothing but that.
        let _ = fs::File::options().write(true).open(&marker).and_then(|file| file.set_modified(SystemTime::now()));
        Some(python)
    }

    /// Builds `env`; when that fails it is gone again.
    async fn make(&self, cx: &Context, base: &Python, env: &Path, file: &Path) -> Result<Python, Failure> {
        let half = env.to_owned();
        let removed = tokio::task::spawn_blocking(move || remove(&half)).await.map_err(Failure::dirty)?;
        removed.map_err(Failure::dirty)?;
        fs::create_dir_all(env).map_err(|reason| Failure::clean(files("create", env)(reason)))?;
        match self.build(cx, base, env, file).await {
            Ok(python) => Ok(python),
            Err(PythonError::Stopped) => Err(PythonError::Stopped.failure(false)),
            Err(error) => {
                let half = env.to_owned();
                let gone = tokio::task::spawn_blocking(move || remove(&half)).await.is_ok_and(|removed| removed.is_ok());
                Err(error.failure(gone))
            }
        }
    }

    async fn build(&self, cx: &Context, base: &Python, env: &Path, file: &Path) -> Result<Python, PythonError> {
        base.make_env(cx, env).await?;
        let python = Python::of(env)?;
        let wheels = self.wheels.as_ref().map(|wheels| cx.path(wheels));
        python.install(cx, file, wheels.as_deref(), &[]).await?;
        python.pip(cx, "install a set that fits together", &["check".as_ref()], None).await?;
        let complete = env.to_owned();
        let sealed = tokio::task::spawn_blocking(move || seal(&complete)).await;
        let failed = |reason: String| PythonError::Failed { what: "finish the environment".to_owned(), reason, tail: Vec::new() };
        sealed.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        Ok(python)
    }

    async fn prune(&self, cx: &Context, dir: PathBuf, current: PathBuf) {
        let (keep, needed, cx_blocking) = (self.keep, cx.needed().to_vec(), cx.clone());
        let pruned = tokio::task::spawn_blocking(move || {
            for old in superfluous(&dir, &current, keep, &needed).into_iter().filter(|old| !is_used(old)) {
                match remove(&old) {
                    Ok(()) => cx_blocking.info(format!("removed {}, which nothing needs any more", old.display())),
                    Err(error) => cx_blocking.warn(error.to_string()),
                }
            }
        });
        // An old environment too many is no reason to fail.
        let _ = pruned.await;
    }
}

/// What names the environment of these requirements and this interpreter.
fn key(requirements: &[Requirement], interpreter: &Interpreter) -> String {
    let mut hasher = blake3::Hasher::new();
    let Interpreter { version, executable, base, platform, abi } = interpreter;
    for text in requirements.iter().map(|line| &line.text).chain([version, executable, base, platform, abi]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..KEY].to_owned()
}

/// Marks `env` as complete, once everything in it is on the disk.
fn seal(env: &Path) -> Result<(), EnvError> {
    sync_tree(env);
    let marker = env.join(MARKER);
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(env)?;
        file.write_all(b"complete\n")?;
        file.as_file().sync_all()?;
        file.persist(&marker)?;
        Ok(())
    };
    write().map_err(files("write", &marker))?;
    sync_tree_entry(env);
    Ok(())
}

/// Brings every file below `root` to the disk: the marker must not survive a power cut that they do not.
fn sync_tree(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sync_tree(&entry.path()),
            Ok(kind) if kind.is_file() => sync_tree_entry(&entry.path()),
            // Links have no content of their own.
            _ => {}
        }
    }
    sync_tree_entry(root);
}

/// As far as the system allows: some sync neither folders nor files that may only be read.
fn sync_tree_entry(path: &Path) {
    let file = fs::File::options().read(true).write(true).open(path).or_else(|_| fs::File::open(path));
    if let Ok(file) = file {
        let _ = file.sync_all();
    }
}

/// Removes `env`, its marker first: what is half removed is not complete.
fn remove(env: &Path) -> Result<(), EnvError> {
    let missing = |error: std::io::Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    let marker = env.join(MARKER);
    fs::remove_file(&marker).or_else(missing).map_err(files("remove", &marker))?;
    fs::remove_dir_all(env).or_else(missing).map_err(files("remove", env))
}

/// The environments in `dir` beyond the newest `keep` (`current` is one of these) that nothing in `needed` is part of.
fn superfluous(dir: &Path, current: &Path, keep: usize, needed: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let is_env = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() == KEY && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && path.is_dir() && path != current
    };
    let wanted_at = |path: &PathBuf| {
        let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
        time(&path.join(MARKER)).or_else(|_| time(path)).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let mut others: Vec<(SystemTime, PathBuf)> =
        entries.flatten().map(|entry| entry.path()).filter(is_env).map(|path| (wanted_at(&path), path)).collect();
    others.sort();
    let old = others.into_iter().rev().map(|(_, path)| path).skip(keep.saturating_sub(1));
    old.filter(|path| !needed.iter().any(|needed| needed.starts_with(path))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::python::testing::{prints, wheel};

    fn step(requirements: &str) -> PythonEnv {
        let with = json!({ "python": "python3", "requirements": requirements, "dir": "envs", "wheels": "wheels" });
        serde_json::from_value(with).unwrap()
    }

    #[tokio::test]
    async fn an_environment_is_built_once_and_kept_apart_from_the_one_of_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        for version in ["1.0", "2.0"] {
            wheel(&path("wheels"), "almasample", version);
        }
        fs::write(path("old.txt"), "almasample==1.0\n").unwrap();
        fs::write(path("same.txt"), "# as before\n\nalmasample==1.0   # pinned\n").unwrap();
        fs::write(path("new.txt"), "almasample==2.0\n").unwrap();

        let old = step("old.txt").run(&cx).await.unwrap();
        assert!(old.created);
        let version = "import almasample; print(almasample.VERSION)";
        assert_eq!(prints(old.python.as_ref(), version), "1.0");
        let same = step("same.txt").run(&cx).await.unwrap();
        assert_eq!((&same.python, same.created), (&old.python, false));

        // A folder without its marker is what a crash left: it is not trusted.
        let new = step("new.txt");
        let lines = requirements(&path("new.txt")).unwrap();
        let interpreter = Python::find(&cx, "python3").unwrap().probe(&cx).await.unwrap();
        let half = path("envs").join(key(&lines, &interpreter));
        fs::create_dir_all(half.join("bin")).unwrap();
        fs::write(half.join("leftover"), "").unwrap();
        let new = new.run(&cx).await.unwrap();
        assert!(new.created && !half.join("leftover").exists() && new.python.starts_with(half.to_str().unwrap()));
        assert_eq!((prints(new.python.as_ref(), version), prints(old.python.as_ref(), version)), ("2.0".to_owned(), "1.0".to_owned()));
    }

    #[tokio::test]
    async fn a_requirement_that_does_not_exist_fails_cleanly_with_the_words_of_pip() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        fs::create_dir(folder.path().join("wheels")).unwrap();
        fs::write(folder.path().join("requirements.txt"), "almanowhere==9\n").unwrap();
        let failure = step("requirements.txt").run(&cx).await.unwrap_err();
        assert!(failure.message.contains("ERROR: No matching distribution found for almanowhere==9"), "{failure}");
        assert!(failure.clean && !failure.tail.is_empty());
        assert_eq!(fs::read_dir(folder.path().join("envs")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_needed_or_recent_is_never_superfluous() {
        let folder = tempfile::tempdir().unwrap();
        let env = |digit: char, age: u64| {
            let path = folder.path().join(digit.to_string().repeat(KEY));
            fs::create_dir(&path).unwrap();
            let marker = fs::File::create(path.join(MARKER)).unwrap();
            marker.set_modified(SystemTime::now() - Time::from_secs(age)).unwrap();
            path
        };
        let (current, recent, needed, old) = (env('a', 400), env('b', 100), env('c', 300), env('d', 200));
        fs::create_dir(folder.path().join("something else")).unwrap();
        assert_eq!(superfluous(folder.path(), &current, 2, &[needed.join("bin/python")]), std::slice::from_ref(&old));
        assert_eq!(superfluous(folder.path(), &current, 0, &[]), [recent, old, needed]);
    }
}
