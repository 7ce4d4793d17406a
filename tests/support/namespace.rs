//! A pid namespace of its own for a test, where the next pid can be chosen. Linux alone has them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the kernel counts on from.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Runs the test called `name` of this same binary in a namespace, with `variable` set to `folder`; panics where it fails. `false`
/// where this machine allows no namespaces: then nothing was tried, and that is said.
pub fn run_test(name: &str, variable: &str, folder: &Path) -> bool {
    let Some(mut namespace) = namespace() else {
        // Past the capture of what tests print: nobody may believe that it was tried.
        let said = format!("NOT TRIED: {name}, as this machine allows no pid namespace\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return false;
    };
    let this = std::env::current_exe().unwrap();
    let inside = namespace.arg(this).args(["--exact", name, "--nocapture"]).env(variable, folder).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && said.contains("1 passed"), "{said}");
    true
}

/// Lets the next process or thread of the namespace have `pid`, where that is free.
pub fn next_pid(pid: u32) {
    std::fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
}

/// What runs a program in a namespace; `None` where the machine forbids that.
fn namespace() -> Option<Command> {
    // With a user namespace where we are nobody special.
    [&["-p"][..], &["-U", "-r", "-p"]].into_iter().find_map(|kinds| {
        let unshare = || {
            let mut command = Command::new("unshare");
            // A shell is process 1, which takes in orphans.
            command.args(kinds).args(["-f", "--kill-child", "--mount-proc", "--", "sh", "-c", "\"$@\"; exit $?", "sh"]);
            command
        };
        let chosen = unshare().args(["sh", "-c", &format!("echo 5000 > {LAST_PID}")]).stderr(Stdio::null()).status();
        chosen.is_ok_and(|status| status.success()).then(unshare)
    })
}
