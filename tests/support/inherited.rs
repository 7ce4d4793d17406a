//! What tests do not pass on to the programs that they start: it belongs to whoever started the tests, and would change what is tried.
//!
//! The module stands alone: each test crate of the workspace has it, by its path.

#![allow(dead_code)] // no crate needs all of it

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// Variables that change what almaplan, Python or pip say and do. Where pip finds packages is the machine's to say.
const VARIABLES: [&str; 8] = ["CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LANG", "LANGUAGE", "NO_COLOR", "VIRTUAL_ENV"];
const FAMILIES: [&str; 4] = ["ALMAPLAN_", "LC_", "PIP_", "PYTHON"];
const PIP: [&str; 9] =
    ["CACHE_DIR", "CERT", "CLIENT_CERT", "CONFIG_FILE", "EXTRA_INDEX_URL", "FIND_LINKS", "INDEX_URL", "PROXY", "TRUSTED_HOST"];

/// A program that inherits nothing which could change what it does.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    heed_signals();
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_theirs)) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8");
    command
}

fn is_theirs(name: &str) -> bool {
    let of_machine = name.strip_prefix("PIP_").is_some_and(|name| PIP.contains(&name));
    !of_machine && (VARIABLES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family)))
}

/// Lets programs that this process starts heed the signals that it was told to ignore: SIGHUP under `nohup`, SIGINT and SIGQUIT in the
/// background of a script. What is ignored is inherited, a handler is not; a handler that does nothing changes nothing for us.
#[cfg(unix)]
pub fn heed_signals() {
    use std::sync::Once;
    use tokio::signal::unix::{SignalKind, signal};

    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Only Linux tells what is ignored (`proc_pid_status(5)`: `SigIgn`, signal 1 is bit 0).
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()).unwrap_or(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime for signals");
        let _within = runtime.enter();
        for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate(), SignalKind::child()] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 1 {
                // The handler stays when nobody listens any more.
                drop(signal(kind).expect("a handler for a signal"));
            }
        }
    });
}

/// There are none.
#[cfg(windows)]
pub fn heed_signals() {}
