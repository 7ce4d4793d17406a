//! Which file a program's name means.

use std::path::{Path, PathBuf};

use super::system;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such program.
    #[error("the program `{program}` was not found {place}")]
    NotFound {
        /// As the plan names it.
        program: String,
        /// Where it was looked for, in words.
        place: String,
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
        let place = match path {
            Some(path) => format!("in PATH ({})", path.to_string_lossy()),
            None => "as PATH is not set".to_owned(),
        };
        return Err(ResolveError::NotFound { program: program.to_owned(), place });
    }
    match [cwd, base].into_iter().map(|start| start.join(program)).find(|path| path.is_file()) {
        Some(path) => Err(ResolveError::NotExecutable { path }),
        None => Err(ResolveError::NotFound { program: program.to_owned(), place: format!("from {}", cwd.display()) }),
    }
}
