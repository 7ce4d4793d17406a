//! Which file a program's name means.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::system;

/// Why a program cannot be run.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum ResolveError {
    /// No such program in `PATH`.
    #[error("the program `{program}` was not found in PATH ({path})")]
    NotInPath {
        /// As the plan names it.
        program: String,
        /// The folders that were looked into.
        path: String,
    },
    /// Nowhere to look for it.
    #[error("the program `{program}` was not found as PATH is not set")]
    NoPath {
        /// As the plan names it.
        program: String,
    },
    /// No such file.
    #[error("the program `{program}` was not found from {}", folder.display())]
    NotFound {
        /// As the plan names it.
        program: String,
        /// The folder from which its path was followed.
        folder: PathBuf,
    },
    /// The folder to run in.
    #[error("the folder {} does not exist, and `{program}` was to run in it", folder.display())]
    NoFolder {
        /// As the plan names it.
        program: String,
        /// Absolute.
        folder: PathBuf,
    },
    /// There is a file, but none to execute.
    #[error("{} is not an executable file (`chmod +x`?)", path.display())]
    NotExecutable {
        /// Absolute.
        path: PathBuf,
    },
}

/// The file that `program` means: a bare name is looked for in the `PATH` of `env`, anything else starts at `cwd`, then at
/// `base`. Links are not followed: a virtual environment is known by the name its interpreter is called with.
///
/// # Errors
/// There is none that could be executed, or `cwd` is no folder.
pub fn resolve(program: &str, cwd: &Path, base: &Path, env: &[(String, Option<String>)]) -> Result<PathBuf, ResolveError> {
    if !cwd.is_dir() {
        return Err(ResolveError::NoFolder { program: program.to_owned(), folder: cwd.to_owned() });
    }
    let bare = !program.contains(std::path::is_separator);
    let own = env.iter().rev().find(|(name, _)| system::is_path_variable(name)).map(|(_, value)| value.clone().map(Into::into));
    let path = own.unwrap_or_else(|| std::env::var_os("PATH"));
    let found = [cwd, base].into_iter().find_map(|start| which::which_in(program, path.clone(), start).ok());
    if let Some(found) = found {
        return Ok(found);
    }
    if bare {
        let program = program.to_owned();
        return Err(match path {
            Some(path) => ResolveError::NotInPath { program, path: path.to_string_lossy().into_owned() },
            None => ResolveError::NoPath { program },
        });
    }
    match [cwd, base].into_iter().map(|start| start.join(program)).find(|path| path.is_file()) {
        Some(path) => Err(ResolveError::NotExecutable { path }),
        None => Err(ResolveError::NotFound { program: program.to_owned(), folder: cwd.to_owned() }),
    }
}
