//! Errands: what only another process of ours can do, as Ctrl+C for a program on Windows, which has a console of its own.
//!
//! A program that uses these kinds is sent on them where it begins with [`errand`]; where none is, processes are not asked to end
//! gently on such a system, but ended.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use super::system;

static MESSENGER: OnceLock<PathBuf> = OnceLock::new();

/// Does the errand that these arguments (without the program) are, and returns what to end with; `None` where they are none: then
/// this program is the one that is sent. To be called first thing in `main`.
pub fn errand(args: &[OsString]) -> Option<ExitCode> {
    let done = system::do_errand(args);
    if done.is_none()
        && let Ok(program) = std::env::current_exe()
    {
        send_errands_to(program);
    }
    done
}

/// Names the program that is sent, where that is another one. Only the first call counts.
pub fn send_errands_to(program: PathBuf) {
    let _ = MESSENGER.set(program);
}

/// Who is sent.
#[cfg_attr(unix, allow(dead_code, reason = "there are no errands"))]
pub(crate) fn messenger() -> Option<&'static Path> {
    MESSENGER.get().map(PathBuf::as_path)
}
