//! What is run: small plans of one kind each, and a whole procedure that ends well or is undone.

/// A plan and how it ends undisturbed.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub name: &'static str,
    pub text: &'static str,
    /// The exit code.
    pub code: i32,
    /// Whether the release is in place in the end; else the folder is as it was.
    pub deploys: bool,
}

pub const BACKUP: Plan = Plan {
    name: "backup",
    text: r#"
        [steps.backup]
        uses = "backup"
        compensate = "none"
        with = { source = "app", archive = "backups/app_{{ run.timestamp }}.zip" }
        [finally.leftovers]
        uses = "prune"
        when = "run.outcome != 'succeeded'"
        with = { dir = "backups", pattern = "app_{{ run.timestamp }}.zip.*", keep = 0 }
    "#,
    code: 0,
    deploys: false,
};

pub const STAGE: Plan = Plan {
    name: "stage",
    text: r#"
        [steps.stage]
        uses = "stage"
        compensate = "none"
        with = { from = "dev", to = "app" }
    "#,
    code: 0,
    deploys: false,
};

pub const SYNC: Plan = Plan {
    name: "sync",
    text: r#"
        [steps.update]
        uses = "sync"
        with = { from = "dev", to = "app" }
        [steps.update.compensate]
        uses = "restore"
        with = { archive = "before.zip", to = "app" }
    "#,
    code: 0,
    deploys: true,
};

pub const RESTORE: Plan = Plan {
    name: "restore",
    text: r#"
        [steps.update]
        uses = "sync"
        with = { from = "dev", to = "app" }
        [steps.update.compensate]
        uses = "restore"
        with = { archive = "before.zip", to = "app" }
        [steps.check]
        uses = "command"
        needs = ["update"]
        compensate = "none"
        with = { program = "false", idempotent = true }
    "#,
    code: 3,
    deploys: false,
};

/// In a fixture with Python: `python` is the real interpreter, but where it is to make an environment it copies a ready one.
pub const PYTHON_ENV: Plan = Plan {
    name: "python-env",
    text: r#"
        [steps.environment]
        uses = "python-env"
        compensate = "none"
        with = { python = "./python", requirements = "requirements.txt", dir = "environments", wheels = "wheels", installer = "pip" }
    "#,
    code: 0,
    deploys: false,
};

/// A whole procedure.
pub const WHOLE: Plan = Plan { name: "whole", text: PROCEDURE, code: 0, deploys: true };

/// The same, found to be bad in the end, and undone.
pub const FAILING: Plan = Plan { name: "failing", text: PROCEDURE, code: 3, deploys: false };

const PROCEDURE: &str = r#"
    [steps.backup]
    uses = "backup"
    compensate = "none"
    with = { source = "app", archive = "backups/app_{{ run.timestamp }}.zip" }
    [steps.stage]
    uses = "stage"
    needs = ["backup"]
    compensate = "none"
    with = { from = "dev", to = "app" }
    [steps.update]
    uses = "sync"
    needs = ["stage"]
    with = { staged = "{{ steps.stage.dir }}", to = "app" }
    [steps.update.compensate]
    uses = "restore"
    with = { archive = "{{ steps.backup.archive }}", to = "app" }
    [steps.mark]
    uses = "command"
    needs = ["update"]
    compensate = "none"
    with = { program = "sh", args = ["-c", "echo done >> mark; echo marked"], cwd = "{{ plan.dir }}", idempotent = true }
    [steps.check]
    uses = "command"
    needs = ["mark"]
    when = "plan.name == 'failing'"
    compensate = "none"
    with = { program = "false", idempotent = true }
    [finally.leftovers]
    uses = "prune"
    when = "run.outcome != 'succeeded'"
    with = { dir = "backups", pattern = "app_{{ run.timestamp }}.zip.*", keep = 0 }
"#;
