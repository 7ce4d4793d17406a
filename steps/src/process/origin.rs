//! How a process was running before it was stopped, so that it comes back as it was (rule 22): as the same user, with the same
//! environment, umask, limits and priority.
//!
//! It is kept beside the run in a file that only the operator can read, and in no journal: environments hold passwords.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use almaplan_engine::append_private;
use almaplan_engine::context::Context;
use almaplan_engine::event::ProcessIdentity;
use almaplan_engine::words::verbatim;
use serde::{Deserialize, Serialize};

use super::{Description, system};

/// A process as it was when it was looked at.
#[derive(Clone, Serialize, Deserialize)]
pub struct Origin {
    /// Which one it was.
    pub process: ProcessIdentity,
    /// Its program, as it has to be called again.
    pub program: String,
    /// Its arguments, without the program.
    pub args: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// What else the system knows of how it ran.
    pub(super) rights: system::Rights,
}

/// Why a process could not be brought back as it was.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum OriginError {
    /// Its arguments are not what it was started with.
    #[error("{process} shows a title of its own instead of its arguments, so it could not be started again as it was")]
    Title {
        /// Which one.
        process: Box<Description>,
    },
    /// Its program is gone or another one.
    #[error("the program of {process} is no longer there, so it could not be started again as it was")]
    Program {
        /// Which one.
        process: Box<Description>,
    },
    /// The system does not show it to us.
    #[error("how {process} runs may not be seen ({reason}), so it could not be started again as it was")]
    Unseen {
        /// Which one.
        process: Box<Description>,
        /// Why not.
        #[serde(serialize_with = "verbatim")]
        reason: io::Error,
    },
    /// We may not become who it runs as.
    #[error("{process} runs as another user, as whom it could not be started again; run almaplan as root or as that user")]
    User {
        /// Which one.
        process: Box<Description>,
    },
    /// The file.
    #[error("how {process} runs could not be kept in {file}: {reason}", file = file.display())]
    Keep {
        /// Which one.
        process: Box<Description>,
        /// Where.
        file: PathBuf,
        /// Why not.
        #[serde(serialize_with = "verbatim")]
        reason: io::Error,
    },
}

impl Origin {
    /// How `process` runs now.
    ///
    /// # Errors
    /// Not all of it can be seen, or it could not be brought back.
    pub fn of(process: &ProcessIdentity, description: &Description) -> Result<Self, OriginError> {
        let name = || Box::new(description.clone());
        if description.shows_a_title() {
            return Err(OriginError::Title { process: name() });
        }
        if !description.program.is_file() {
            return Err(OriginError::Program { process: name() });
        }
        let unseen = |reason| OriginError::Unseen { process: name(), reason };
        let environment = system::environment(process.pid).map_err(unseen)?;
        let rights = system::Rights::of(process.pid).map_err(unseen)?;
        if !rights.can_be_taken() {
            return Err(OriginError::User { process: name() });
        }
        let program = description.program.to_string_lossy().into_owned();
        Ok(Self { process: process.clone(), program, args: description.args.clone(), environment, rights })
    }

    /// Keeps it for whoever undoes the step of `cx`; what was kept first stands, as with all that is recorded.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, cx: &Context, description: &Description) -> Result<(), OriginError> {
        let file = place(cx);
        if file.exists() {
            return Ok(());
        }
        let failed = |reason| OriginError::Keep { process: Box::new(description.clone()), file: file.clone(), reason };
        write(&file, &serde_json::to_vec(self).map_err(|error| failed(error.into()))?).map_err(failed)
    }

    /// What was kept for the step of `cx`; `None` where nothing was, or it cannot be read.
    pub fn kept(cx: &Context) -> Option<Self> {
        serde_json::from_slice(&fs::read(place(cx)).ok()?).ok()
    }
}

/// Nobody finds an environment in what is printed of a plan or an error.
impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("process", &self.process).finish_non_exhaustive()
    }
}

fn place(cx: &Context) -> PathBuf {
    cx.run().private_folder().join(format!("{}.json", cx.step()))
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let partial = file.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut written = append_private(&partial)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&partial, file)?;
    crate::files::sync_folder(folder)
}
