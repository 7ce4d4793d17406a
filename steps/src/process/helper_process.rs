//! Helper processes: what only another process of ours can do. On Windows that is Ctrl+C for a program that has a console of its own; on
//! Linux, variables with names that a shell could not use.
//!
//! The helper is the program that uses these kinds, started once more; it begins with [`super::helper_process`]. Where no program does, a
//! process on Windows is not asked to end gently, but killed, and such variables stand among the arguments of `env` for a moment.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static HELPER_PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the program that is started as a helper, where that is another one. Only the first call counts.
pub fn set_helper_program(program: PathBuf) {
    let _ = HELPER_PROGRAM.set(program);
}

/// The program that is started as a helper.
pub(crate) fn helper_program() -> Option<&'static Path> {
    HELPER_PROGRAM.get().map(PathBuf::as_path)
}
