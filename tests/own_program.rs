//! almaplan lies in the folder that it deploys, and is deployed with it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process::copy_program;
use crate::support::workspace::Workspace;
use crate::support::{Said, run};

const PROGRAM: &str = if cfg!(windows) { "almaplan.exe" } else { "almaplan" };

const PLAN: &str = r#"
format = 1
[plan]
name = "own-program"
[vars]
last = "0"
[steps.backup]
uses = "backup"
compensate = "none"
with = { source = "app", archive = "backup-{{ run.id }}.zip" }
[steps.stage]
uses = "stage"
needs = ["backup"]
compensate = "none"
with = { from = "dev", to = "app" }
[steps.sync]
uses = "sync"
needs = ["stage"]
with = { staged = "{{ steps.stage.dir }}", to = "app" }
compensate = { uses = "restore", with = { archive = "{{ steps.backup.archive }}", to = "app" } }
[steps.last]
uses = "command"
needs = ["sync"]
compensate = "none"
with = { program = "test_program", args = ["exit", "{{ vars.last }}"] }
"#;

struct Deployed {
    workspace: Workspace,
}

impl Deployed {
    fn new() -> Self {
        let workspace = Workspace::new();
        fs::create_dir_all(workspace.path("app")).unwrap();
        fs::create_dir_all(workspace.path("dev")).unwrap();
        workspace.write("plan.toml", PLAN);
        copy_program(Path::new(env!("CARGO_BIN_EXE_almaplan")), &workspace.path("app").join(PROGRAM));
        Self { workspace }
    }

    fn program(&self) -> PathBuf {
        self.workspace.path("app").join(PROGRAM)
    }

    /// The next release has the same program, which ends with its number.
    fn release(&self, number: u8) {
        let mut program = fs::read(env!("CARGO_BIN_EXE_almaplan")).unwrap();
        program.push(number);
        let released = self.workspace.path("dev").join(PROGRAM);
        fs::copy(env!("CARGO_BIN_EXE_almaplan"), &released).unwrap();
        fs::write(released, program).unwrap();
    }

    fn released(&self) -> u8 {
        *fs::read(self.program()).unwrap().last().unwrap()
    }

    /// The deployed program deploys.
    fn apply(&self, last: &str) -> Said {
        let last = format!("last={last}");
        run(&mut self.workspace.program(&self.program(), &["apply", "plan.toml", "--progress", "json", "--var", &last]))
    }

    /// Programs that could not be removed because they ran.
    fn aside(&self) -> usize {
        let names = fs::read_dir(self.workspace.path("app")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".almaplan-replaced-")).count()
    }
}

#[test]
fn a_program_that_replaces_itself_is_the_new_one_and_leaves_one_old_one_at_most() {
    // More than 5 s: a binary that is not optimised, and is large, is compressed and read back.
    let deployed = Deployed::new();
    for number in 1..=3 {
        deployed.release(number);
        deployed.apply("0").expect(0);
        assert_eq!(deployed.released(), number);
        assert!(deployed.aside() <= usize::from(cfg!(windows)), "{} old programs", deployed.aside());
    }
}

#[test]
fn a_program_that_replaced_itself_puts_the_old_one_back() {
    // More than 5 s: a binary that is not optimised, and is large, is compressed and read back.
    let deployed = Deployed::new();
    deployed.release(1);
    deployed.apply("0").expect(0);
    deployed.release(2);
    deployed.apply("1").expect(3);
    assert_eq!(deployed.released(), 1);
    deployed.release(3);
    deployed.apply("0").expect(0);
    assert_eq!(deployed.released(), 3);
}
