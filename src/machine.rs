//! The machine as this program finds it: the folders of the state and of the locks, the environment, who runs it. The only place that
//! looks at them for the engine, which takes all of it from here as [`Runs`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::diagnose::Refusal;
use almaplan_engine::lock::LockDirectory;
use almaplan_engine::runs::{ActiveRun, Runs};
use almaplan_engine::trust::{self, Distrust};
use almaplan_steps::local_host::{LocalHost, local_zone};

/// The name of the state folder.
const STATE: &str = ".almaplan";

/// The runs of the state folder that was named, or is found upwards from the current folder, else is one in the current folder.
pub fn runs(state_dir: Option<&Path>) -> Runs {
    Runs {
        registry: Arc::new(almaplan_steps::registry()),
        host: Arc::new(host()),
        lock_folder: lock_folder(),
        state_dir: state_dir.map(absolute).or_else(found_state_dir).unwrap_or_else(|| absolute(Path::new(STATE))),
        // Who names a folder means the runs in it, and no other run.
        only_here: state_dir.is_some(),
        env: Arc::new(|name| std::env::var(name).ok()),
        zone: local_zone(),
        user: user(),
        pid: std::process::id(),
    }
}

/// The nearest state that is ours (rule 23). One of another user is passed by, so that nobody is kept from their own by what others put above
/// it; `apply` never makes its journal in one.
fn found_state_dir() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let has_state = |dir: &PathBuf| std::fs::symlink_metadata(dir.join("state.db")).is_ok_and(|db| db.is_file());
    here.ancestors().map(|folder| folder.join(STATE)).filter(has_state).find(|dir| trust::folder(dir).is_ok())
}

/// The state in the current folder, or above it, that belongs to somebody else and is therefore not looked at.
pub fn state_of_others() -> Option<Distrust> {
    let here = std::env::current_dir().ok()?;
    let mut states = here.ancestors().map(|folder| folder.join(STATE)).filter(|dir| dir.symlink_metadata().is_ok());
    trust::folder(&states.next()?).err()
}

fn lock_folder() -> PathBuf {
    // Tests have a machine of their own; in a release nobody can be led past the locks.
    #[cfg(debug_assertions)]
    if let Some(folder) = std::env::var_os("ALMAPLAN_MACHINE_DIR") {
        return PathBuf::from(folder);
    }
    LockDirectory::default_folder()
}

fn host() -> LocalHost {
    #[cfg(debug_assertions)]
    if let Ok(boot) = std::env::var("ALMAPLAN_BOOT_ID") {
        return LocalHost::new(Some(boot));
    }
    LocalHost::new(None)
}

/// How long live work may take to end by itself once it is ordered to stop.
pub fn grace() -> Duration {
    // Tests do not wait so long.
    #[cfg(debug_assertions)]
    if let Some(ms) = std::env::var("ALMAPLAN_GRACE_MS").ok().and_then(|text| text.parse().ok()) {
        return Duration::from_millis(ms);
    }
    Duration::from_secs(30)
}

/// Who runs this, as the system tells.
fn user() -> String {
    whoami::username().unwrap_or_else(|_| "?".to_owned())
}

/// Files that a run has open at the same time, at least: its journal, its locks, the runtime's own, the pipes of a program.
const OPEN_FILES: usize = 32;

/// Whether this process may open what a run needs. Where it may not, it would begin one and do nothing of it.
///
/// # Errors
/// It may not.
pub fn require_open_files() -> Result<(), Refusal> {
    let opened: std::io::Result<Vec<_>> = (0..OPEN_FILES / 2).map(|_| std::io::pipe()).collect();
    opened.map(drop).map_err(|source| Refusal::TooFewFiles { needed: OPEN_FILES, source })
}

/// `path` from the root, whether it exists or not.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Tests kill this process after an append of theirs.
pub fn crash_where_a_test_wants_it(run: &mut ActiveRun) {
    #[cfg(debug_assertions)]
    if let Some(appends) = std::env::var("ALMAPLAN_CRASH_AFTER_APPEND").ok().and_then(|text| text.parse().ok()) {
        run.crash_after(appends);
    }
    #[cfg(not(debug_assertions))]
    let _ = run;
}
