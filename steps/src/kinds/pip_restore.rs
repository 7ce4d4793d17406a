//! `pip-restore`: brings the packages of an interpreter back to what `pip-download` found, exactly.
//!
//! Every package is installed anew, also where its version seems right: what was interrupted in the middle of one has the right
//! version and the wrong files. What was not there before is removed. At the end the list must be the one of before; that it also
//! fits together (`pip check`) is told, but is no failure: it may not have fitted before either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::python::{Aim, Python, PythonError, normal};

/// Brings back the packages that were installed before, exactly: versions as they were, extras removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipRestore {
    /// The interpreter whose packages are changed: a path, or a program's name.
    #[serde(deserialize_with = "checked::filled")]
    pub python: String,
    /// The list of what was installed, from `pip-download`.
    pub before: PathBuf,
    /// The folder of wheels, from `pip-download`.
    pub wheels: PathBuf,
}

/// What was done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PipRestoreOutput {
    /// The packages that were not there before, and are not any more.
    pub removed: Vec<String>,
    /// Whether the packages fit together (`pip check`).
    pub consistent: bool,
}

/// Why it is not as before.
#[derive(Debug, Serialize, thiserror::Error)]
enum PackagesError {
    #[error("could not read {file}: {reason}; it is the list that `pip-download` made", file = file.display())]
    Before {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
    #[error("the packages are not what they were: {difference}; try again, or install {file} by hand", file = file.display())]
    Different { difference: Difference, file: PathBuf },
}

/// How the packages differ from what they were.
#[derive(Debug, Serialize, thiserror::Error)]
enum Difference {
    #[error("{package} is {found}")]
    Other { package: String, found: String },
    #[error("{package} is missing")]
    Missing { package: String },
    #[error("{package} was not there")]
    Extra { package: String },
}

/// What is told although it succeeded.
#[derive(Debug, Serialize, thiserror::Error)]
enum PackagesNote {
    #[error("the packages are what they were, but do not fit together: {error}")]
    Unfit { error: PythonError },
}

impl Kind for PipRestore {
    const KIND: &'static str = "pip-restore";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(30 * 60));
    type Output = PipRestoreOutput;

    async fn run(&self, cx: &Context) -> Result<PipRestoreOutput, Failure> {
        let python = Python::find(cx, &self.python).map_err(|error| error.failure(true))?;
        let (file, wheels) = (cx.path(&self.before), cx.path(&self.wheels));
        let text = std::fs::read_to_string(&file);
        let before = packages(&text.map_err(|reason| Failure::clean(PackagesError::Before { file: file.clone(), reason }))?);
        let removed = bring_back(cx, &python, &file, &wheels, &before).await.map_err(|error| error.failure(false))?;

        let now = packages(&python.freeze(cx).await.map_err(|error| error.failure(false))?);
        if let Some(difference) = difference(&before, &now) {
            return Err(Failure::dirty(PackagesError::Different { difference, file }));
        }
        let checked = python.pip(cx, Aim::CheckInstalled, &["check"], None).await;
        match checked {
            Err(error @ PythonError::Run(_)) => Err(error.failure(false)),
            Err(error) => {
                cx.warn(PackagesNote::Unfit { error });
                Ok(PipRestoreOutput { removed, consistent: false })
            }
            Ok(_) => Ok(PipRestoreOutput { removed, consistent: true }),
        }
    }
}

/// Installs what was there and removes what was not; gives what was removed.
async fn bring_back(
    cx: &Context,
    python: &Python,
    file: &Path,
    wheels: &Path,
    before: &BTreeMap<String, String>,
) -> Result<Vec<String>, PythonError> {
    python.install(cx, file, None, Some(wheels), &["--no-deps", "--force-reinstall"]).await?;
    let now = packages(&python.freeze(cx).await?);
    let extras: Vec<String> = now.into_keys().filter(|name| !before.contains_key(name)).collect();
    if !extras.is_empty() {
        let args: Vec<&str> = ["uninstall", "--yes"].into_iter().chain(extras.iter().map(String::as_str)).collect();
        python.pip(cx, Aim::RemoveExtras, &args, None).await?;
    }
    Ok(extras)
}

/// The packages of a list as `pip freeze` makes it: normalised names, with what it says of their versions.
fn packages(list: &str) -> BTreeMap<String, String> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let package = |line: &str| {
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(line.len());
        let (name, version) = line.split_at(end);
        (normal(name), version.trim().to_owned())
    };
    lines.map(package).collect()
}

/// The first difference.
fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<Difference> {
    let missing = before.iter().find(|(name, version)| now.get(*name) != Some(version));
    let extra = now.keys().find(|name| !before.contains_key(*name));
    match (missing, extra) {
        (Some((name, version)), _) => {
            let package = format!("{name}{version}");
            Some(match now.get(name) {
                Some(found) => Difference::Other { package, found: format!("{name}{found}") },
                None => Difference::Missing { package },
            })
        }
        (None, Some(name)) => Some(Difference::Extra { package: name.clone() }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    //! The three kinds that change packages in place, together, in a real environment without any network.
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::process::Command;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::pip::Pip;
    use crate::kinds::pip_download::PipDownload;
    use crate::python::testing::{prints, wheel};

    /// The interpreter of an environment whose pip knows a folder of wheels as its only index.
    fn environment(folder: &Path) -> PathBuf {
        let index = folder.join("index");
        for (name, version) in [("almasample", "1.0"), ("almasample", "2.0"), ("almaextra", "1.0")] {
            wheel(&index, name, version);
        }
        let env = folder.join("env");
        assert!(Command::new("python3").args(["-m", "venv"]).arg(&env).status().unwrap().success());
        let python = env.join("bin/python");
        let bundled = prints(&python, "import ensurepip,os;print(os.path.join(os.path.dirname(ensurepip.__file__),'_bundled'))");
        // Whatever pip is configured with on this machine, here it knows this folder, and what makes environments, alone.
        let script = folder.join("python");
        let links = format!("{} {bundled}", index.display());
        fs::write(&script, format!("#!/bin/sh\nPIP_NO_INDEX=1 PIP_FIND_LINKS='{links}' exec '{}' \"$@\"\n", python.display())).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&script).status().unwrap().success());
        assert!(Command::new(&script).args(["-m", "pip", "install", "-q", "almasample==1.0"]).status().unwrap().success());
        script
    }

    fn read<S: Kind>(with: Value) -> S {
        serde_json::from_value(with).unwrap()
    }

    #[tokio::test]
    async fn packages_are_changed_in_place_and_brought_back_exactly_without_a_network() {
        let folder = tempfile::tempdir().unwrap();
        let python = environment(folder.path());
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let version = || prints(&python, "import almasample; print(almasample.VERSION)");

        fs::write(folder.path().join("bad.txt"), "almasample==2.0\n-e ./src\n").unwrap();
        let refused: PipDownload = read(json!({ "python": python, "requirements": "bad.txt", "dir": "fetched" }));
        let failure = refused.run(&cx).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("bad.txt:2: `-e ./src` is editable"), "{failure}");
        assert!(!folder.path().join("fetched").exists());

        fs::write(folder.path().join("requirements.txt"), "almasample==2.0\nAlmaExtra\n").unwrap();
        let download: PipDownload = read(json!({ "python": python, "requirements": "requirements.txt", "dir": "fetched" }));
        let fetched = download.run(&cx).await.unwrap();
        let before = fs::read_to_string(&fetched.before).unwrap();
        assert!(before.contains("almasample==1.0") && before.contains("pip=="), "{before}");
        // From here on there is no index any more.
        fs::remove_dir_all(folder.path().join("index")).unwrap();

        let pip: Pip = read(json!({ "python": python, "requirements": "requirements.txt", "wheels": fetched.wheels }));
        pip.run(&cx).await.unwrap();
        assert_eq!((version(), prints(&python, "import almaextra; print(almaextra.VERSION)")), ("2.0".to_owned(), "1.0".to_owned()));

        let restore: PipRestore = read(json!({ "python": python, "before": fetched.before, "wheels": fetched.wheels }));
        let restored = restore.run(&cx).await.unwrap();
        assert_eq!(
            (version().as_str(), restored.removed.as_slice(), restored.consistent),
            ("1.0", ["almaextra".to_owned()].as_slice(), true)
        );
        // What an interrupted pip leaves: the version is right, the files are not.
        let module = prints(&python, "import almasample; print(almasample.__file__)");
        fs::write(module, "VERSION = 'torn'\n").unwrap();
        let again = restore.run(&cx).await.unwrap();
        assert!(again.removed.is_empty());
        let now = Command::new(&python).args(["-m", "pip", "freeze", "--all"]).output().unwrap();
        assert_eq!((version().as_str(), String::from_utf8(now.stdout).unwrap()), ("1.0", before));
    }

    #[test]
    fn a_difference_is_named() {
        let list = packages("Foo_Bar==1.0\n# comment\nbaz==2\n");
        let difference = |now: &str| difference(&list, &packages(now)).map(|difference| difference.to_string());
        assert_eq!(difference("foo-bar==1.0\nBAZ==2"), None);
        assert_eq!(difference("foo.bar==1.1\nbaz==2").unwrap(), "foo-bar==1.0 is foo-bar==1.1");
        assert_eq!(difference("foo.bar==1.0").unwrap(), "baz==2 is missing");
        assert_eq!(difference("foo.bar==1.0\nbaz==2\nmore==1").unwrap(), "more was not there");
    }
}
