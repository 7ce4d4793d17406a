//! A folder with small plans, for what is promised whatever a plan does.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::hand::path_with_hand;
use super::{Said, run, start, wait_until};

/// A folder with plans, on a machine of its own.
pub struct Place {
    root: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    pub fn lines(&self, file: &str) -> usize {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().count()
    }

    pub fn almaplan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almaplan"));
        command.args(args).current_dir(self.root.path()).stdin(Stdio::null());
        command.env("ALMAPLAN_MACHINE_DIR", self.path("machine")).env("ALMAPLAN_LANG", "en").env("LC_ALL", "C.UTF-8");
        command.env_remove("ALMAPLAN_STATE_DIR").env_remove("NO_COLOR").env("PATH", path_with_hand());
        command
    }

    pub fn say(&self, args: &[&str]) -> Said {
        run(&mut self.almaplan(args))
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.say(&["status", "--json"]).expect(0).stdout).unwrap()
    }

    /// A plan whose first step waits until there is a file `go` (or its folder is gone with the test), and is undone by writing to `undone`.
    pub fn waiting(&self, name: &str, idempotent: bool) {
        let plan = format!(
            r#"
            format = 1
            [plan]
            name = "{name}"
            [steps.wait]
            uses = "command"
            with = {{ program = "hand", args = ["append", "begun", "", "until", "go", "begun"], idempotent = {idempotent} }}
            [steps.wait.compensate]
            uses = "command"
            with = {{ program = "hand", args = ["append", "undone", ""], idempotent = true }}
            [steps.after]
            uses = "command"
            needs = ["wait"]
            compensate = "none"
            with = {{ program = "hand", args = ["append", "after", ""] }}
            "#
        );
        self.write(&format!("{name}.toml"), &plan);
    }

    /// Starts `apply` of a plan of [`Self::waiting`], and waits until its first step runs.
    pub fn started(&self, plan: &str, attempts: usize) -> Child {
        let child = start(&mut self.almaplan(&["apply", plan, "--progress", "json"]));
        wait_until("the step runs", 20, || self.lines("begun") == attempts);
        child
    }

    /// The names of the records of unsettled runs.
    pub fn records(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("machine")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }
}
