//! The diamond that another engine could not recover: one parent failed, the other was undone, then a crash (rule 2).

use crate::support::sample;
use crate::support::workspace::Workspace;
use crate::support::{CRASHED, run};

const PLAN: &str = r#"
format = 1
[plan]
name = "diamond"
[steps.top]
uses = "command"
with = { program = "test_program", args = ["append", "top", ""], idempotent = true }
compensate = { uses = "command", with = { program = "test_program", args = ["remove", "top"], idempotent = true } }
[steps.left]
uses = "command"
needs = ["top"]
with = { program = "test_program", args = ["append", "left", ""], idempotent = true }
compensate = { uses = "command", with = { program = "test_program", args = ["remove", "left"], idempotent = true } }
[steps.right]
uses = "command"
needs = ["top"]
with = { program = "test_program", args = ["append", "right", "", "exit", "7"], idempotent = true }
compensate = { uses = "command", with = { program = "test_program", args = ["remove", "right"], idempotent = true } }
[steps.bottom]
uses = "command"
needs = ["left", "right"]
with = { program = "test_program", args = ["append", "bottom", ""], idempotent = true }
compensate = { uses = "command", with = { program = "test_program", args = ["remove", "bottom"], idempotent = true } }
"#;

/// Of all appends of the run one in so many is tried, and of what goes on with it all.
const ONE_IN: usize = 4;

#[test]
fn a_diamond_killed_at_every_append_always_ends_compensated() {
    let workspace = Workspace::new();
    workspace.write("diamond.toml", PLAN);
    let left_behind = || ["top", "left", "right", "bottom"].into_iter().filter(|name| workspace.path(name).exists()).collect::<Vec<_>>();
    let mut crashes = 0;
    for appends in sample::every(ONE_IN, 1..) {
        let command = ["apply", "diamond.toml", "--progress", "json"];
        let mut said = run(workspace.almaplan(&command).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()));
        if said.code == 3 {
            break;
        }
        // Crashed again while it recovers, at every append of that too, until one recovery gets through.
        for again in 1.. {
            assert_eq!(said.code, CRASHED, "{}", said.all());
            crashes += 1;
            said = run(workspace.almaplan(&["resume", "--progress", "json"]).env("ALMAPLAN_CRASH_AFTER_APPEND", again.to_string()));
            if said.code == 3 {
                break;
            }
        }
        assert_eq!(said.outcome(), "compensated");
        assert_eq!(left_behind(), Vec::<&str>::new(), "after append {appends}");
    }
    assert!(crashes > sample::share(ONE_IN, 20), "only {crashes} crashes");
}
