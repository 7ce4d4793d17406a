//! What plans of many steps take of the machine's memory: a bounded part for each step, to check it and to run it.

use std::fs;
use std::path::Path;

use crate::support::command;
use crate::support::process::peak_of;

/// Enough that what almaplan takes by itself does not matter much.
const STEPS: u64 = 10_000;
/// Bytes that a step may take while its plan is checked: 500 MiB for 100,000.
const CHECKED: u64 = (500 << 20) / 100_000;
/// Bytes that it may take beyond that to run. Not the difference of the two peaks: a run reuses what checking gave back.
const RUN: u64 = 1 << 10;

/// Writes a plan of steps that change nothing, side by side after the first; returns its name.
fn plan(folder: &Path, steps: u64) -> String {
    let mut text = format!("format = 1\n[plan]\nname = \"large-{steps}\"\nmax_parallel = 64\n[steps.s0]\nuses = \"preflight\"\n");
    for n in 1..steps {
        text += &format!("[steps.s{n}]\nuses = \"preflight\"\nneeds = [\"s0\"]\n");
    }
    let name = format!("large-{steps}.toml");
    fs::write(folder.join(&name), text).unwrap();
    name
}

/// The most bytes of memory that `almaplan ARGS` had, which must succeed.
fn peak(folder: &Path, args: &[&str]) -> u64 {
    let said = folder.join("said");
    let file = fs::File::create(&said).unwrap();
    let mut command = command(env!("CARGO_BIN_EXE_almaplan"));
    command.args(["--lang", "en"]).args(args).current_dir(folder).env("ALMAPLAN_MACHINE_DIR", folder.join("machine"));
    let (code, peak_bytes) = peak_of(&command, &file);
    assert_eq!(code, 0, "{args:?}: {}", fs::read_to_string(&said).unwrap());
    peak_bytes
}

#[test]
fn each_step_takes_a_bounded_part_of_memory_to_check_and_to_run() {
    // More than 5 s: ten thousand steps are run, each of which is synced to the disk.
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (plan(folder.path(), 1), plan(folder.path(), STEPS));
    let alone = peak(folder.path(), &["check", &small]);
    let checked = peak(folder.path(), &["check", &large]);
    let run = peak(folder.path(), &["apply", &large]);
    eprintln!("bytes a step at the peak: {} to check, {} to run", (checked - alone) / STEPS, (run - alone) / STEPS);
    assert!(checked <= alone + CHECKED * STEPS, "{alone} bytes for one step, {checked} for {STEPS}");
    assert!(run <= alone + (CHECKED + RUN) * STEPS, "{alone} bytes for one step, {run} to run {STEPS}");
}
