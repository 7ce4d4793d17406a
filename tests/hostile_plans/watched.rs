//! The real binary, in a process of its own whose memory and work are limited and measured by the system.

use std::path::Path;

use crate::support::command;
use crate::support::process::peak_of;

/// Address space that it may have: more is not given by the system. The stack that reads plans takes a part and does not use it.
const MOST_ADDRESS_KIB: u64 = 1 << 20;
/// Seconds of work after which the system ends it: far beyond what any plan takes, so that only a hang is.
const MOST_CPU_S: u64 = 120;

/// How a process ended.
pub struct Ended {
    pub code: Option<i32>,
    pub peak_bytes: u64,
}

/// `almaplan ARGS`, what it prints written to `output`.
pub fn almaplan(args: &[&str], output: &Path) -> Ended {
    let file = std::fs::File::create(output).unwrap();
    let limits = format!("ulimit -v {MOST_ADDRESS_KIB} -t {MOST_CPU_S}; exec \"$@\"");
    let mut command = command("sh");
    command.args(["-c", &limits, "sh", env!("CARGO_BIN_EXE_almaplan"), "--lang", "en"]).args(args);
    let (code, peak_bytes) = peak_of(&command, &file);
    Ended { code: (code >= 0).then_some(code), peak_bytes }
}
