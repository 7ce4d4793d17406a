//! `pip-download`: everything that changing the packages in place needs, and that changing them back needs, while nothing is at stake yet.
//!
//! ```text
//!  <dir>/before.txt   what is installed now, exactly; the first record stands
//!  <dir>/wheels/      the new set, and the set of before
//! ```
//!
//! What cannot be fetched again under the same name (a folder, an address, a checkout) is refused: there would be no way back.

use std::path::{Path, PathBuf};
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::files::write_atomically;
use crate::python::{Aim, Asks, Python, PythonError, Wanted, listed};

/// Fetches the packages of a requirements file and of what is installed now, so that neither way needs the network later.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipDownload {
    /// The interpreter whose packages will be changed: a path, or a program's name.
    #[serde(deserialize_with = "checked::filled")]
    pub python: String,
    /// The requirements file.
    pub requirements: PathBuf,
    /// Where to put it all; best a folder for each run.
    pub dir: PathBuf,
}

/// What was fetched.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PipDownloadOutput {
    /// The folder of wheels.
    pub wheels: String,
    /// The file that lists what was installed before.
    pub before: String,
}

/// Why something cannot be installed again later from wheels alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
enum Unrepeatable {
    #[error("is editable")]
    Editable,
    #[error("comes from a version control system")]
    Checkout,
    #[error("comes from an address")]
    Address,
    #[error("is a file or folder")]
    Path,
}

/// What cannot be done.
#[derive(Debug, Serialize, thiserror::Error)]
enum DownloadError {
    #[error("{line} {why}, so there would be no way back; name a version of a package, or use `python-env`")]
    Requirement { line: String, why: Unrepeatable },
    #[error("`{text}` is installed now and {why}, so there would be no way back; use `python-env`")]
    Installed { text: String, why: Unrepeatable },
    #[error("could not write {file}: {reason}", file = file.display())]
    Write {
        file: PathBuf,
        #[serde(serialize_with = "verbatim")]
        reason: std::io::Error,
    },
}

impl Kind for PipDownload {
    const KIND: &'static str = "pip-download";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun).timeout(Time::from_secs(30 * 60));
    type Output = PipDownloadOutput;

    async fn run(&self, cx: &Context) -> Result<PipDownloadOutput, Failure> {
        let clean = |error: PythonError| error.failure(true);
        let python = Python::find(cx, &self.python).map_err(clean)?;
        let file = cx.path(&self.requirements);
        refuse_requirements(&file)?;
        let installed = python.freeze(cx).await.map_err(clean)?;
        refuse_installed(&installed).map_err(Failure::clean)?;

        let (wheels, before) = (cx.path(&self.dir).join("wheels"), cx.path(&self.dir).join("before.txt"));
        let known = cx.recorded("before").is_some() && before.is_file();
        if !known {
            let written = std::fs::create_dir_all(cx.path(&self.dir)).and_then(|()| write_atomically(&before, installed.as_bytes()));
            written.map_err(|reason| Failure::dirty(DownloadError::Write { file: before.clone(), reason }))?;
            cx.record("before", before.display().to_string()).await?;
        }
        let dirty = |error: PythonError| error.failure(false);
        fetch(cx, &python, &file, &wheels, &[]).await.map_err(dirty)?;
        // The list is complete, so nothing else may be drawn in.
        fetch(cx, &python, &before, &wheels, &["--no-deps"]).await.map_err(dirty)?;
        Ok(PipDownloadOutput { wheels: wheels.display().to_string(), before: before.display().to_string() })
    }
}

/// `pip wheel`: what comes as source is built now, not while the service is down.
async fn fetch(cx: &Context, python: &Python, file: &Path, wheels: &Path, options: &[&str]) -> Result<(), PythonError> {
    let (name, wheels) = (file.to_string_lossy(), wheels.to_string_lossy());
    let args = [&["wheel", "--wheel-dir", &wheels], options, &["-r", &name]].concat();
    python.pip(cx, Aim::Fetch { list: name.to_string() }, &args, file.parent()).await
}

fn refuse_requirements(file: &Path) -> Result<(), Failure> {
    let wanted = Wanted::read(file).map_err(|error| error.failure(true))?;
    match wanted.requirements.iter().find_map(|line| Some((unrepeatable(&line.asks)?, line))) {
        None => Ok(()),
        Some((why, line)) => Err(Failure::clean(DownloadError::Requirement { line: line.to_string(), why })),
    }
}

fn refuse_installed(installed: &str) -> Result<(), DownloadError> {
    match listed(installed, Path::new("")).into_iter().find_map(|line| Some((unrepeatable(&line.asks)?, line))) {
        None => Ok(()),
        Some((why, line)) => Err(DownloadError::Installed { text: line.text, why }),
    }
}

/// Why something cannot be installed again later from wheels alone.
fn unrepeatable(asks: &Asks) -> Option<Unrepeatable> {
    match asks {
        Asks::Editable => Some(Unrepeatable::Editable),
        Asks::Checkout { .. } => Some(Unrepeatable::Checkout),
        Asks::Address { .. } | Asks::IncludeAddress => Some(Unrepeatable::Address),
        Asks::Path { .. } => Some(Unrepeatable::Path),
        Asks::Package { .. } | Asks::Include | Asks::Setting => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(line: &str) -> Option<Unrepeatable> {
        listed(line, Path::new("")).into_iter().find_map(|line| unrepeatable(&line.asks))
    }

    #[test]
    fn only_what_wheels_can_bring_back_is_accepted() {
        for line in
            ["Flask==3.0", "waitress>=2 ; python_version > '3.8'", "-r base.txt", "-i https://pypi.example.com", "x==1 --hash=sha256:00"]
        {
            assert_eq!(why(line), None, "{line}");
        }
        for line in [
            "-e .",
            "--editable=x",
            "x @ file:///tmp/x",
            "git+ssh://git@host/x",
            "./x",
            "wheels/x.whl",
            r"C:\x",
            "x.tar.gz",
            "-r https://h/x.txt",
        ] {
            assert!(why(line).is_some(), "{line}");
        }
    }
}
