//! The fixture of all tests: a folder, a machine of its own, and the binary at work there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Running, Said, command, run, start, wait_until};
use super::programs::path_with_test_program;

/// A folder with plans, on a machine of its own.
pub struct Workspace {
    root: TempDir,
}

impl Workspace {
    pub fn new() -> Self {
        Self::called("almaplan")
    }

    /// One whose folder's name begins like this.
    pub fn called(prefix: &str) -> Self {
        let temporary = std::env::temp_dir();
        // Without links: what is told of paths is compared. On Windows that would be another way of writing them.
        let temporary = if cfg!(unix) { temporary.canonicalize().unwrap() } else { temporary };
        Self::below(&temporary, prefix)
    }

    /// The same, in this folder.
    pub fn below(folder: &Path, prefix: &str) -> Self {
        // A state folder is looked for upwards.
        let theirs = folder.ancestors().map(|folder| folder.join(".almaplan")).find(|state| state.exists());
        assert!(theirs.is_none(), "tests cannot work below somebody's {}: set TMPDIR", theirs.unwrap_or_default().display());
        Self { root: tempfile::Builder::new().prefix(prefix).tempdir_in(folder).unwrap() }
    }

    pub fn folder(&self) -> &Path {
        self.root.path()
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    pub fn lines(&self, file: &str) -> usize {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().count()
    }

    pub fn almaplan(&self, args: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_almaplan")), args)
    }

    /// The same, by another copy of the binary.
    pub fn program(&self, almaplan: &Path, args: &[&str]) -> Command {
        let mut command = command(almaplan);
        command.args(args).current_dir(self.root.path()).stdin(Stdio::null());
        command.env("ALMAPLAN_MACHINE_DIR", self.path("machine")).env("ALMAPLAN_LANG", "en").env("PATH", path_with_test_program());
        // Long enough on a busy machine, and not as long as an operator gets.
        command.env("ALMAPLAN_GRACE_MS", "5000");
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
            with = {{ program = "test_program", args = ["append", "begun", "", "until", "go", "begun"], idempotent = {idempotent} }}
            [steps.wait.compensate]
            uses = "command"
            with = {{ program = "test_program", args = ["append", "undone", ""], idempotent = true }}
            [steps.after]
            uses = "command"
            needs = ["wait"]
            compensate = "none"
            with = {{ program = "test_program", args = ["append", "after", ""] }}
            "#
        );
        self.write(&format!("{name}.toml"), &plan);
    }

    /// Starts `apply` of a plan of [`Self::waiting`], and waits until its first step runs.
    pub fn started(&self, plan: &str, attempts: usize) -> Running {
        let child = start(&mut self.almaplan(&["apply", plan, "--progress", "json"]));
        wait_until("the step runs", || self.lines("begun") == attempts);
        child
    }

    /// The names of the records of unsettled runs.
    pub fn records(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("machine")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }
}
