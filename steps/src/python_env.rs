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
use std::path::{Path, PathBuf};
use std::time::{Duration as Time, SystemTime};

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{FileError, Job, Unsynced, blocking, io_error, present, remove_file, remove_tree, write_atomically};
use crate::process::is_used;
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
    #[serde(default)]
    #[schemars(default = "keep")]
    pub keep: Option<usize>,
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

        let (python, created) = match reuse(cx, &env).await? {
            Some(python) => (python, false),
            None => (self.make(cx, &base, &env, &file).await?, true),
        };
        self.prune(cx, dir, env).await;
        Ok(PythonEnvOutput { python: python.program().display().to_string(), key, created })
    }
}

/// The interpreter of `env` where that is complete and runs.
async fn reuse(cx: &Context, env: &Path) -> Result<Option<Python>, Failure> {
    let marker = env.join(MARKER);
    let Some(python) = Python::of(env).ok().filter(|_| marker.is_file()) else { return Ok(None) };
    match python.probe(cx).await {
        Ok(_) => {}
        // Stopped before it could tell: no reason to build a complete environment again.
        Err(error @ PythonError::Run(_)) if cx.is_cancelled() => return Err(error.failure(true)),
        Err(error) => {
            cx.warn(format!("{} is complete, but does not run, and is built again: {error}", env.display()));
            return Ok(None);
        }
    }
    // The time of the marker is when it was last wanted: `keep` goes by it. Losing it costs nothing but that.
    let _ = fs::File::options().write(true).open(&marker).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(Some(python))
}

impl PythonEnv {
    /// Builds `env`; when that fails it is gone again.
    async fn make(&self, cx: &Context, base: &Python, env: &Path, file: &Path) -> Result<Python, Failure> {
        let half = env.to_owned();
        let tree = blocking(cx, move |job| {
            remove(job, &half)?;
            Unsynced::create(&half)
        })
        .await?;
        let built = self.build(cx, base, env, tree, file).await;
        if built.is_ok() || cx.is_cancelled() {
            return built;
        }
        let half = env.to_owned();
        let gone = blocking(cx, move |job| remove(job, &half)).await.is_ok();
        built.map_err(|failure| Failure { clean: gone, ..failure })
    }

    async fn build(&self, cx: &Context, base: &Python, env: &Path, tree: Unsynced, file: &Path) -> Result<Python, Failure> {
        let dirty = |error: PythonError| error.failure(false);
        base.make_env(cx, env).await.map_err(dirty)?;
        let python = Python::of(env).map_err(dirty)?;
        let wheels = self.wheels.as_ref().map(|wheels| cx.path(wheels));
        python.install(cx, file, wheels.as_deref(), &[]).await.map_err(dirty)?;
        python.pip(cx, "install a set that fits together", &["check"], None).await.map_err(dirty)?;
        let complete = env.to_owned();
        blocking(cx, move |_| seal(&complete, &tree)).await?;
        Ok(python)
    }

    async fn prune(&self, cx: &Context, dir: PathBuf, current: PathBuf) {
        let (keep, needed) = (self.keep.unwrap_or_else(keep), cx.needed());
        let pruned = blocking(cx, move |job| {
            for old in superfluous(&dir, &current, keep, &needed).into_iter().filter(|old| !is_used(old)) {
                remove(job, &old)?;
                job.cx.info(format!("removed {}, which nothing needs any more", old.display()));
            }
            Ok(())
        });
        // An old environment too many is no reason to fail.
        if let Err(failure) = pruned.await {
            cx.warn(failure.message);
        }
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

/// Marks `env` as complete, once everything in it is on the disk: the marker must not survive a power cut that they do not.
fn seal(env: &Path, tree: &Unsynced) -> Result<(), FileError> {
    tree.sync()?;
    let marker = env.join(MARKER);
    write_atomically(&marker, b"complete\n").map_err(io_error("write", &marker))
}

/// Removes `env`, its marker first: what is half removed is not complete.
fn remove(job: &Job, env: &Path) -> Result<(), FileError> {
    if present(env) {
        job.touch();
    }
    remove_file(job, &env.join(MARKER))?;
    remove_tree(job, env)
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
        // Its interpreter runs: that alone would be no reason to build it again.
        #[cfg(unix)]
        std::os::unix::fs::symlink(&interpreter.executable, half.join("bin/python")).unwrap();
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
    fn the_key_is_of_the_packages_and_of_the_interpreter() {
        let line = |text: &str| Requirement { file: "requirements.txt".into(), number: 1, text: text.to_owned() };
        let python = |version: &str| Interpreter {
            version: version.to_owned(),
            executable: "/usr/bin/python3".to_owned(),
            base: "/usr".to_owned(),
            platform: "linux-x86_64".to_owned(),
            abi: "cpython".to_owned(),
        };
        let one = key(&[line("almasample==1.0")], &python("3.14.0"));
        assert_eq!(one, key(&[line("almasample==1.0")], &python("3.14.0")));
        assert_ne!(one, key(&[line("almasample==2.0")], &python("3.14.0")));
        assert_ne!(one, key(&[line("almasample==1.0")], &python("3.14.1")));
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
