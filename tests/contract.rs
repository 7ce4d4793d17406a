//! What is promised about runs that another process has, that were left, or whose journal cannot be used: on small plans.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Said, run, said, signal, start, wait_until};
use tempfile::TempDir;

/// A folder with plans, on a machine of its own.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn lines(&self, file: &str) -> usize {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().count()
    }

    fn almaplan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almaplan"));
        command.args(args).current_dir(self.root.path()).stdin(Stdio::null());
        command.env("ALMAPLAN_MACHINE_DIR", self.path("machine")).env("ALMAPLAN_LANG", "en").env("LC_ALL", "C.UTF-8");
        command.env_remove("ALMAPLAN_STATE_DIR").env_remove("NO_COLOR");
        command
    }

    fn say(&self, args: &[&str]) -> Said {
        run(&mut self.almaplan(args))
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.say(&["status", "--json"]).expect(0).stdout).unwrap()
    }

    /// A plan whose first step waits until there is a file `go`, and is undone by writing to `undone`.
    fn waiting(&self, name: &str, idempotent: bool) {
        let plan = format!(
            r#"
            format = 1
            [plan]
            name = "{name}"
            [steps.wait]
            uses = "command"
            with = {{ program = "sh", args = ["-c", "echo >> begun; until [ -e go ]; do sleep 0.02; done"], idempotent = {idempotent} }}
            [steps.wait.compensate]
            uses = "command"
            with = {{ program = "sh", args = ["-c", "echo >> undone"], idempotent = true }}
            [steps.after]
            uses = "command"
            needs = ["wait"]
            compensate = "none"
            with = {{ program = "sh", args = ["-c", "echo >> after"] }}
            "#
        );
        self.write(&format!("{name}.toml"), &plan);
    }

    /// Starts `apply` of a plan of [`Self::waiting`], and waits until its first step runs.
    fn started(&self, plan: &str, attempts: usize) -> Child {
        let child = start(&mut self.almaplan(&["apply", plan, "--progress", "json"]));
        wait_until("the step runs", 20, || self.lines("begun") == attempts);
        child
    }

    /// The names of the records of unsettled runs.
    fn records(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("machine")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }
}

#[test]
fn an_apply_that_a_damaged_run_refuses_leaves_no_run_behind() {
    // What `prune` must leave was asked for when the new run was on record already: it could never be gone on with.
    let place = Place::new();
    place.waiting("plan", true);
    place.write("go", "");
    place.say(&["apply", "plan.toml"]).expect(0);
    let state = rusqlite::Connection::open(place.path(".almaplan/state.db")).unwrap();
    assert_eq!(state.execute("UPDATE events SET body = body || ' ' WHERE seq = 3", []).unwrap(), 1);
    drop(state);
    place.say(&["apply", "plan.toml"]).expect(7);
    assert_eq!(place.lines("begun"), 1, "something was done");
    assert_eq!(place.records(), Vec::<PathBuf>::new());
    place.say(&["apply", "plan.toml"]).expect(7);
}
