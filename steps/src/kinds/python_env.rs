//! `python-env`: a virtual environment for a list of packages, beside the ones of earlier versions.
//!
//! ```text
//!  <dir>/<key>/                    built in place: an environment cannot be moved
//!  <dir>/<key>/.almaplan-complete  written last, once all is proved to be there; without it the folder is half built, and built again
//! ```
//!
//! The key says what is in it: what is asked for, with the content of files and folders, the interpreter, and what installs. So an
//! unchanged application starts from the environment it has, and going back to an older version finds its own, untouched. Nothing here
//! ever changes a complete environment: where one is not any more what it was, another is built beside it, under a further key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration as Time, SystemTime, UNIX_EPOCH};

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Before, Preview, Told};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::as_it_is_now;
use crate::files::{
    BlockingTask, FileError, PanicError, PendingSync, blocking, io_error, present, remove_file, remove_tree, write_atomically,
};
use crate::input::OrDefault;
use crate::process::is_used;
use crate::python::{Aim, Installer, Interpreter, Python, PythonError, Requirement, Wanted, normal};

/// The file that says that an environment is complete, and what was in it then.
const MARKER: &str = ".almaplan-complete";
/// What is to be proved, as long as it is not.
const ASKED: &str = ".almaplan-asked";
/// How many environments there may be for one key, each beside those that are not what they were.
const GENERATIONS: u32 = 8;
/// How many hexadecimal digits of the hash name an environment.
const KEY: usize = 16;

/// Makes sure that there is a virtual environment with everything in a list of packages, and says where its interpreter is.
///
/// Before an environment counts as complete, everything that is asked for is proved to be in it, whatever pip is configured with; one
/// that is not what it was any more is not used again. What may change behind an unchanged line is refused with what to write instead:
/// editable packages, branches, addresses without a hash.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PythonEnv {
    /// The interpreter to make it from: a path, or a program's name.
    #[serde(deserialize_with = "checked::filled")]
    pub python: String,
    /// What to install: a requirements file of pip, a `pylock.toml`, or a `pyproject.toml`, of which the dependencies are installed.
    pub requirements: PathBuf,
    /// The folder of the environments: outside of what is deployed.
    pub dir: PathBuf,
    /// What installs the packages. `auto`: uv where it is found, and pip where uv cannot.
    #[serde(default)]
    pub installer: OrDefault<InstallWith>,
    /// How many environments stay, this one among them; those still needed or in use stay in any case.
    #[serde(default)]
    #[schemars(default = "keep")]
    pub keep: Option<usize>,
    /// A folder of wheels: with it, nothing is fetched from the network.
    #[serde(default)]
    pub wheels: Option<PathBuf>,
}

/// What installs packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstallWith {
    /// uv where it is found, and pip where uv cannot.
    #[default]
    Auto,
    /// The pip of the new environment.
    Pip,
    /// uv.
    Uv,
}

/// The environment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PythonEnvOutput {
    /// Path of its interpreter.
    pub python: String,
    /// What names it: the hash of what was asked for, of the interpreter and of the installer.
    pub key: String,
    /// It was made now; `false`: it was there.
    pub created: bool,
}

/// What an environment held when it was complete, as its marker says.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// When that was, in seconds since 1970.
    sealed: f64,
    /// Its packages with their versions.
    installed: BTreeMap<String, String>,
}

fn keep() -> usize {
    3
}

impl Kind for PythonEnv {
    const KIND: &'static str = "python-env";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(30 * 60));
    type Output = PythonEnvOutput;

    async fn run(&self, cx: &Context) -> Result<PythonEnvOutput, Failure> {
        let clean = |error: PythonError| error.failure(true);
        let base = Python::find(cx, &self.python).map_err(clean)?;
        let interpreter = base.probe(cx).await.map_err(clean)?;
        let wanted = Wanted::read(&cx.path(&self.requirements)).map_err(clean)?;
        wanted.refuse_what_moves().map_err(clean)?;
        let making = Making { step: self, cx, base: &base, interpreter: &interpreter, wanted: &wanted };
        let (first, second) = self.installers(cx, &base)?;
        let found = match (making.environment(&first).await, second) {
            (Err(failure), Some(second)) if !cx.is_cancelled() => {
                cx.warn(EnvNote::PipInstead { failure });
                making.environment(&second).await?
            }
            (found, _) => found?,
        };
        self.prune(cx, cx.path(&self.dir), found.env.clone()).await;
        let key = found.env.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(PythonEnvOutput { python: found.python.program().display().to_string(), key, created: found.created })
    }

    async fn preview(&self, cx: &Context, before: &Before) -> Preview {
        let requirements = match as_it_is_now(before, &cx.path(&self.requirements)) {
            Ok(requirements) => requirements,
            Err(unclear) => return *unclear,
        };
        match self.there(cx, &requirements).await {
            Err(failure) => Preview::failure(failure),
            Ok(None) => {
                let told = Preview::default().tell(Told::new("environment-made")).output("created", true);
                package_changes(&cx.path(&self.dir), &requirements).into_iter().fold(told, Preview::tell)
            }
            Ok(Some((env, python))) => {
                let key = env.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let told = Preview::nothing().tell(Told::new("environment-there").field("folder", env.as_path()));
                told.output("python", python.program().display().to_string()).output("key", key).output("created", false)
            }
        }
    }
}

impl PythonEnv {
    /// The environment that is there already with what `requirements` asks for, and what there is to tell of it; none: it would be made.
    async fn there(&self, cx: &Context, requirements: &Path) -> Result<Option<(PathBuf, Python)>, Failure> {
        let clean = |error: PythonError| error.failure(true);
        let base = Python::find(cx, &self.python).map_err(clean)?;
        let interpreter = base.probe(cx).await.map_err(clean)?;
        let wanted = Wanted::read(requirements).map_err(clean)?;
        wanted.refuse_what_moves().map_err(clean)?;
        let making = Making { step: self, cx, base: &base, interpreter: &interpreter, wanted: &wanted };
        let key = making.key(&self.installers(cx, &base)?.0).await?;
        let dir = cx.path(&self.dir);
        for env in (0..GENERATIONS).map(|generation| dir.join(further(&key, generation))) {
            if let State::Good(python) = proved(cx, &env, &interpreter).await? {
                return Ok(Some((env, python)));
            }
        }
        Ok(None)
    }
}

/// An environment that is complete.
struct Environment {
    env: PathBuf,
    python: Python,
    created: bool,
}

/// Why there is no environment.
#[derive(Debug, Serialize, thiserror::Error)]
enum EnvError {
    #[error("none of {GENERATIONS} environments is what it was; remove those in {}", dir.display())]
    AllSpoiled { dir: PathBuf },
    #[error("there is no program `uv`; install it, or write `installer = \"auto\"`, which takes pip without it")]
    NoUv,
}

/// What is told while it works.
#[derive(Debug, Serialize, thiserror::Error)]
enum EnvNote {
    #[error("uv could not do it, so pip does: {failure}")]
    PipInstead {
        #[serde(serialize_with = "Failure::said")]
        failure: Failure,
    },
    #[error("{} is not what it was and is left alone; another one is used: {why}", env.display())]
    LeftAlone { env: PathBuf, why: Spoiled },
    #[error("removed {}, which nothing needs any more", env.display())]
    Removed { env: PathBuf },
    #[error("{failure}")]
    NotPruned {
        #[serde(serialize_with = "Failure::said")]
        failure: Failure,
    },
}

/// Why an environment is not what it was.
#[derive(Debug, Serialize, thiserror::Error)]
enum Spoiled {
    #[error("its interpreter is Python {version} now")]
    Interpreter { version: String },
    #[error(transparent)]
    Unproved(PythonError),
}

/// What a folder of an environment is.
enum State {
    /// Nothing, or half built.
    Free,
    /// Complete, and what its key says.
    Good(Python),
    /// Complete once, and something else now.
    Spoiled(Spoiled),
}

/// The environment in `env` where that is complete and as it was; `interpreter` is what it was made from. It is wanted now.
async fn look(cx: &Context, env: &Path, interpreter: &Interpreter) -> Result<State, Failure> {
    let state = proved(cx, env, interpreter).await?;
    if let State::Good(_) = state {
        // The time of the marker is when it was last wanted: `keep` goes by it. Losing it costs nothing but that.
        let marker = fs::File::options().write(true).open(env.join(MARKER));
        let _ = marker.and_then(|file| file.set_modified(SystemTime::now()));
    }
    Ok(state)
}

/// As [`look`], and nothing is changed.
async fn proved(cx: &Context, env: &Path, interpreter: &Interpreter) -> Result<State, Failure> {
    let marker = env.join(MARKER);
    let Some(python) = Python::of(env).ok().filter(|_| marker.is_file()) else { return Ok(State::Free) };
    let proved = match python.probe(cx).await {
        Ok(now) if (&now.version, &now.abi, &now.platform) != (&interpreter.version, &interpreter.abi, &interpreter.platform) => {
            return Ok(State::Spoiled(Spoiled::Interpreter { version: now.version }));
        }
        Ok(_) => python.prove(cx, env, &marker).await.map(drop),
        Err(error) => Err(error),
    };
    match proved {
        Ok(()) => {}
        // Stopped before it could tell: no reason to build a complete environment again.
        Err(error @ PythonError::Run(_)) if cx.is_cancelled() => return Err(error.failure(true)),
        Err(error) => return Ok(State::Spoiled(Spoiled::Unproved(error))),
    }
    Ok(State::Good(python))
}

/// What an environment is made from.
struct Making<'a> {
    step: &'a PythonEnv,
    cx: &'a Context,
    base: &'a Python,
    interpreter: &'a Interpreter,
    wanted: &'a Wanted,
}

impl Making<'_> {
    /// The environment with what is wanted in it: the one that is there, or a new one.
    async fn environment(&self, installer: &Installer) -> Result<Environment, Failure> {
        let key = self.key(installer).await?;
        let dir = self.cx.path(&self.step.dir);
        let mut free = None;
        // All of them: an earlier one may be gone by now.
        for env in (0..GENERATIONS).map(|generation| dir.join(further(&key, generation))) {
            match look(self.cx, &env, self.interpreter).await? {
                State::Good(python) => return Ok(Environment { env, python, created: false }),
                State::Free => drop(free.get_or_insert(env)),
                State::Spoiled(why) => {
                    self.cx.warn(EnvNote::LeftAlone { env, why });
                }
            }
        }
        let Some(env) = free else {
            return Err(Failure::clean(EnvError::AllSpoiled { dir }));
        };
        let python = self.make(&env, installer, &key).await?;
        Ok(Environment { env, python, created: true })
    }

    async fn key(&self, installer: &Installer) -> Result<String, Failure> {
        let (wanted, interpreter, name) = (self.wanted.clone(), self.interpreter.clone(), installer.name());
        let key = tokio::task::spawn_blocking(move || wanted.key(&interpreter, name))
            .await
            .map_err(|panic| Failure::clean(PanicError { panic }))?;
        key.map_err(|error| error.failure(true))
    }

    /// Builds `env`; when that fails it is gone again.
    async fn make(&self, env: &Path, installer: &Installer, key: &str) -> Result<Python, Failure> {
        let cx = self.cx;
        let half = env.to_owned();
        let tree = blocking(cx, move |task| {
            remove(task, &half)?;
            PendingSync::create(&half)
        })
        .await?;
        let built = self.build(env, tree, installer, key).await;
        if built.is_ok() || cx.is_cancelled() {
            return built;
        }
        let half = env.to_owned();
        let gone = blocking(cx, move |task| remove(task, &half)).await.is_ok();
        built.map_err(|failure| Failure { clean: gone, ..failure })
    }

    async fn build(&self, env: &Path, tree: PendingSync, installer: &Installer, key: &str) -> Result<Python, Failure> {
        let cx = self.cx;
        let dirty = |error: PythonError| error.failure(false);
        self.base.make_env(cx, env).await.map_err(dirty)?;
        let python = Python::of(env).map_err(dirty)?;
        let wheels = self.step.wheels.as_ref().map(|wheels| cx.path(wheels));
        installer.install(cx, (env, &python), self.wanted, wheels.as_deref()).await.map_err(dirty)?;
        python.pip(cx, Aim::FitTogether, &["check"], None).await.map_err(dirty)?;

        let asked = env.join(ASKED);
        let written = fs::write(&asked, serde_json::json!({ "asked": self.wanted.items() }).to_string());
        written.map_err(|error| Failure::dirty(io_error("write", &asked)(error)))?;
        let installed = match python.prove(cx, env, &asked).await {
            Ok(installed) => installed,
            Err(error) => return Err(dirty(installer.explain(cx, &python, error).await)),
        };
        // What was read again while it was installed has to be what was read before.
        let wanted = Wanted::read(&self.wanted.file).map_err(dirty)?;
        let again = Making { wanted: &wanted, step: self.step, cx, base: self.base, interpreter: self.interpreter };
        if again.key(installer).await? != key {
            return Err(dirty(PythonError::Changed(self.wanted.file.clone())));
        }
        let complete = env.to_owned();
        blocking(cx, move |_| seal(&complete, &tree, installed)).await?;
        Ok(python)
    }
}

impl PythonEnv {
    /// What to install with, and with what where that cannot.
    fn installers(&self, cx: &Context, base: &Python) -> Result<(Installer, Option<Installer>), Failure> {
        let uv = if *self.installer == InstallWith::Pip { None } else { Installer::uv(cx, base) };
        match (*self.installer, uv) {
            (InstallWith::Auto, Some(uv)) => Ok((uv, Some(Installer::Pip))),
            (InstallWith::Uv, Some(uv)) => Ok((uv, None)),
            (InstallWith::Auto | InstallWith::Pip, _) => Ok((Installer::Pip, None)),
            (InstallWith::Uv, None) => Err(Failure::clean(EnvError::NoUv)),
        }
    }

    async fn prune(&self, cx: &Context, dir: PathBuf, current: PathBuf) {
        let (keep, needed) = (self.keep.unwrap_or_else(keep), cx.needed());
        let pruned = blocking(cx, move |task| {
            for old in superfluous(&dir, &current, keep, &needed).into_iter().filter(|old| !is_used(old)) {
                remove(task, &old)?;
                task.cx.info(EnvNote::Removed { env: old });
            }
            Ok::<_, FileError>(())
        });
        // An old environment too many is no reason to fail.
        if let Err(failure) = pruned.await {
            cx.warn(EnvNote::NotPruned { failure });
        }
    }
}

/// The name of an environment; the further ones are for those that are not any more what they were.
fn further(key: &str, generation: u32) -> String {
    match generation {
        0 => key[..KEY].to_owned(),
        _ => blake3::hash(format!("{key} {generation}").as_bytes()).to_hex()[..KEY].to_owned(),
    }
}

/// Marks `env` as complete, once everything in it is on the disk: the marker must not survive a power cut that they do not.
fn seal(env: &Path, tree: &PendingSync, installed: BTreeMap<String, String>) -> Result<(), FileError> {
    let asked = env.join(ASKED);
    fs::remove_file(&asked).map_err(io_error("remove", &asked))?;
    let sealed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    tree.sync()?;
    let marker = env.join(MARKER);
    let text = serde_json::to_vec(&Sealed { sealed, installed }).expect("names and numbers are JSON");
    write_atomically(&marker, &text).map_err(io_error("write", &marker))
}

/// Removes `env`, its marker first: what is half removed is not complete.
fn remove(task: &BlockingTask, env: &Path) -> Result<(), FileError> {
    if present(env) {
        task.touch();
    }
    remove_file(task, &env.join(MARKER))?;
    remove_tree(task, env)
}

/// How what a list pins differs from what the newest complete environment in `dir` has; nothing where there is none, or the list pins
/// nothing.
fn package_changes(dir: &Path, requirements: &Path) -> Vec<Told> {
    let (Some(before), Ok(wanted)) = (newest_sealed(dir), Wanted::read(requirements)) else { return Vec::new() };
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (name, version) in wanted.requirements.iter().filter_map(Requirement::pinned) {
        match before.iter().find(|(installed, _)| normal(installed) == name) {
            None => new.push(format!("{name} {version}")),
            Some((_, installed)) if *installed != version => changed.push(format!("{name} {installed} → {version}")),
            Some(_) => {}
        }
    }
    let told = [("packages-new", new), ("packages-changed", changed)].into_iter().filter(|(_, names)| !names.is_empty());
    told.map(|(what, names)| Told::new(what).field("names", names)).collect()
}

/// The packages of the environment in `dir` that was wanted last, with their versions.
fn newest_sealed(dir: &Path) -> Option<BTreeMap<String, String>> {
    let markers = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path().join(MARKER));
    let wanted_at = |marker: &PathBuf| fs::metadata(marker).and_then(|metadata| metadata.modified()).ok();
    let newest = markers.filter_map(|marker| Some((wanted_at(&marker)?, marker))).max()?.1;
    serde_json::from_slice::<Sealed>(&fs::read(newest).ok()?).ok().map(|sealed| sealed.installed)
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

    use almaplan_engine::preview::Would;
    use serde_json::json;

    use super::*;
    use crate::python::testing::{prints, wheel};

    fn step(requirements: &str) -> PythonEnv {
        let with = json!({ "python": "python3", "requirements": requirements, "dir": "envs", "wheels": "wheels", "installer": "pip" });
        serde_json::from_value(with).unwrap()
    }

    #[test]
    fn packages_that_would_change_are_told_against_the_newest_environment() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("requirements.txt");
        fs::write(&list, "flask==3.1\nNew_One==1.0 ; python_version > '3'\nsame==2\nloose>=1\n").unwrap();
        assert!(package_changes(folder.path(), &list).is_empty(), "there is no environment to compare with");
        let env = folder.path().join("envs/0123456789abcdef");
        fs::create_dir_all(&env).unwrap();
        fs::write(env.join(MARKER), r#"{"sealed":1.0,"installed":{"Flask":"3.0","same":"2"}}"#).unwrap();
        let told: Vec<_> = package_changes(&folder.path().join("envs"), &list).iter().map(Told::to_json).collect();
        let expected = [
            json!({ "what": "packages-new", "names": ["new-one 1.0"] }),
            json!({ "what": "packages-changed", "names": ["flask 3.0 → 3.1"] }),
        ];
        assert_eq!(told, expected);
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

        let before = step("old.txt").preview(&cx, &Before::default()).await;
        assert_eq!((before.outputs["created"].as_bool(), path("envs").exists()), (Some(true), false), "a preview made something");
        let old = step("old.txt").run(&cx).await.unwrap();
        assert!(old.created);
        let version = "import almasample; print(almasample.VERSION)";
        assert_eq!(prints(old.python.as_ref(), version), "1.0");
        let same = step("same.txt").run(&cx).await.unwrap();
        assert_eq!((&same.python, same.created), (&old.python, false));

        let marker = path("envs").join(&old.key).join(MARKER);
        let wanted_at = || fs::metadata(&marker).unwrap().modified().unwrap();
        let at = wanted_at();
        let there = step("same.txt").preview(&cx, &Before::default()).await;
        assert_eq!((there.would, there.outputs["python"].as_str()), (Would::ChangeNothing, Some(old.python.as_str())));
        assert_eq!(wanted_at(), at, "a preview keeps an environment that nobody wants");

        // A folder without its marker is what a crash left: it is not trusted.
        let new = step("new.txt");
        let interpreter = Python::find(&cx, "python3").unwrap().probe(&cx).await.unwrap();
        let key = Wanted::read(&path("new.txt")).unwrap().key(&interpreter, "pip").unwrap();
        let half = path("envs").join(further(&key, 0));
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

    /// A package in the folder `lib` below `folder`, which needs nothing to be built, and says `value`.
    fn package(folder: &Path, value: &str) {
        let lib = folder.join("lib");
        fs::create_dir_all(lib.join("backend")).unwrap();
        let project = "[build-system]\nrequires = []\nbuild-backend = 'tiny'\nbackend-path = ['backend']\n[project]\nname = 'almalocal'\nversion = '1.0'\n";
        fs::write(lib.join("pyproject.toml"), project).unwrap();
        fs::write(lib.join("backend/tiny.py"), BACKEND).unwrap();
        fs::write(lib.join("almalocal.py"), format!("VERSION = '{value}'\n")).unwrap();
    }

    const BACKEND: &str = "
import os, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info, name = 'almalocal-1.0.dist-info', 'almalocal-1.0-py3-none-any.whl'
    files = {'almalocal.py': open('almalocal.py').read(), f'{info}/METADATA': 'Metadata-Version: 2.1\\nName: almalocal\\nVersion: 1.0\\n'}
    files[f'{info}/WHEEL'] = 'Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'
    if os.path.exists('link'): files['almalocal.pth'] = os.getcwd() + '\\n'
    with zipfile.ZipFile(os.path.join(folder, name), 'w') as wheel:
        for file, text in files.items(): wheel.writestr(file, text)
        wheel.writestr(f'{info}/RECORD', ''.join(f'{file},,\\n' for file in [*files, f'{info}/RECORD']))
    return name
";

    /// The environment of the first deploy was used for ever: its line was the same.
    #[tokio::test]
    async fn a_package_in_a_folder_is_built_again_when_its_code_changed_and_links_of_it_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        fs::create_dir(folder.path().join("wheels")).unwrap();
        fs::write(folder.path().join("requirements.txt"), "./lib\n").unwrap();
        let version = "import almalocal; print(almalocal.VERSION)";
        let step = step("requirements.txt");
        for (value, created) in [("first", true), ("first", false), ("second", true), ("first", false)] {
            package(folder.path(), value);
            let env = step.run(&cx).await.unwrap();
            assert_eq!((prints(env.python.as_ref(), version).as_str(), env.created), (value, created));
        }
        // A package that leads back into the folder it was built in, which is renamed or removed later.
        fs::write(folder.path().join("lib/link"), "").unwrap();
        let failure = step.run(&cx).await.unwrap_err();
        assert!(failure.message.contains("almalocal.pth leads to ") && failure.clean, "{failure}");
        fs::write(folder.path().join("requirements.txt"), "# app\n-e ./lib\n").unwrap();
        let failure = step.run(&cx).await.unwrap_err();
        assert!(failure.message.contains("requirements.txt:2: `-e ./lib` is editable") && failure.clean, "{failure}");
    }

    /// pip said that it had installed everything, elsewhere, and an empty environment was used from then on.
    #[tokio::test]
    async fn an_environment_without_what_was_asked_for_is_never_complete() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        wheel(&folder.path().join("wheels"), "almasample", "1.0");
        fs::write(folder.path().join("requirements.txt"), "almasample==1.0\n").unwrap();
        // An interpreter whose environments have a pip that is configured to install elsewhere: every way that pip has.
        let elsewhere = folder.path().join("elsewhere");
        for setting in [
            format!("target = {}", elsewhere.display()),
            format!("prefix = {}", elsewhere.display()),
            format!("root = {}", elsewhere.display()),
        ] {
            fs::write(folder.path().join("pip.conf"), format!("[install]\n{setting}\n")).unwrap();
            let python = folder.path().join("python");
            let script = "#!/bin/sh\npython3 \"$@\" && if [ \"$2\" = venv ]; then cp pip.conf \"$3/pip.conf\"; fi\n";
            fs::write(&python, script).unwrap();
            assert!(std::process::Command::new("chmod").arg("+x").arg(&python).status().unwrap().success());
            let mut step = step("requirements.txt");
            step.python = "./python".to_owned();
            let failure = step.run(&cx).await.unwrap_err();
            let name = setting.split(' ').next().unwrap();
            assert!(failure.message.contains("almasample is not in the environment"), "{failure}");
            assert!(failure.message.contains(&format!("pip is configured with `{name}`")) && failure.clean, "{failure}");
            assert_eq!(fs::read_dir(folder.path().join("envs")).unwrap().count(), 0);
        }
    }

    /// Somebody ran `pip uninstall` or `pip install` by hand, or a file was lost or edited.
    #[tokio::test]
    async fn an_environment_that_is_not_what_it_was_is_not_used_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        for (name, version) in [("almasample", "1.0"), ("almasample", "2.0"), ("almaextra", "1.0")] {
            wheel(&folder.path().join("wheels"), name, version);
        }
        fs::write(folder.path().join("requirements.txt"), "almasample==1.0\n").unwrap();
        let step = step("requirements.txt");
        let version = "import almasample; print(almasample.VERSION)";
        let mut before = step.run(&cx).await.unwrap();
        let module = |python: &str| prints(python.as_ref(), "import almasample; print(almasample.__file__)");
        let pip = |python: &str, args: &[&str]| {
            let offline = ["-m", "pip", "-q", "--disable-pip-version-check"];
            let status = std::process::Command::new(python).args(offline).args(args).current_dir(folder.path()).status().unwrap();
            assert!(status.success());
        };
        for spoil in ["lost", "edited", "upgraded", "added"] {
            match spoil {
                "lost" => fs::remove_file(module(&before.python)).unwrap(),
                "edited" => fs::write(module(&before.python), "VERSION = '1.1'\n").unwrap(),
                "upgraded" => pip(&before.python, &["install", "--no-index", "-f", "wheels", "almasample==2.0"]),
                _ => pip(&before.python, &["install", "--no-index", "-f", "wheels", "almaextra"]),
            }
            let after = step.run(&cx).await.unwrap();
            assert!(after.created && after.python != before.python && Path::new(&before.python).exists(), "{spoil}");
            assert_eq!(prints(after.python.as_ref(), version), "1.0", "{spoil}");
            let again = step.run(&cx).await.unwrap();
            assert_eq!((&again.python, again.created), (&after.python, false), "{spoil}");
            before = after;
        }
    }

    #[tokio::test]
    async fn a_project_and_a_lock_file_say_what_to_install_whatever_pip_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        wheel(&folder.path().join("wheels"), "almasample", "1.0");
        let project = "[project]\nname = 'x'\nrequires-python = '>=3.8'\ndependencies = ['AlmaSample>=0.9', \"y; python_version < '3'\"]\n";
        fs::write(folder.path().join("pyproject.toml"), project).unwrap();
        let env = step("pyproject.toml").run(&cx).await.unwrap();
        assert_eq!(prints(env.python.as_ref(), "import almasample; print(almasample.VERSION)"), "1.0");
        fs::write(folder.path().join("pyproject.toml"), project.replace(">=3.8", ">=4")).unwrap();
        let failure = step("pyproject.toml").run(&cx).await.unwrap_err();
        assert!(failure.message.contains("needs Python >=4"), "{failure}");
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
