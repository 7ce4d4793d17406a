//! The diamond that another engine could not recover: one parent failed, the other was undone, then a crash (rule 2).

#![cfg(unix)] // its plan runs `sh`; `procedure.rs` is for every system
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{Server, run};

const PLAN: &str = r#"
format = 1
[plan]
name = "diamond"
[steps.top]
uses = "command"
with = { program = "sh", args = ["-c", "touch top"], cwd = "{{ plan.dir }}", idempotent = true }
compensate = { uses = "command", with = { program = "rm", args = ["-f", "top"], cwd = "{{ plan.dir }}", idempotent = true } }
[steps.left]
uses = "command"
needs = ["top"]
with = { program = "sh", args = ["-c", "touch left"], cwd = "{{ plan.dir }}", idempotent = true }
compensate = { uses = "command", with = { program = "rm", args = ["-f", "left"], cwd = "{{ plan.dir }}", idempotent = true } }
[steps.right]
uses = "command"
needs = ["top"]
with = { program = "sh", args = ["-c", "touch right; exit 7"], cwd = "{{ plan.dir }}", idempotent = true }
compensate = { uses = "command", with = { program = "rm", args = ["-f", "right"], cwd = "{{ plan.dir }}", idempotent = true } }
[steps.bottom]
uses = "command"
needs = ["left", "right"]
with = { program = "touch", args = ["bottom"], cwd = "{{ plan.dir }}", idempotent = true }
compensate = { uses = "command", with = { program = "rm", args = ["-f", "bottom"], cwd = "{{ plan.dir }}", idempotent = true } }
"#;

#[test]
fn a_diamond_killed_at_every_append_always_ends_compensated() {
    let server = Server::new();
    fs::write(server.path("diamond.toml"), PLAN).unwrap();
    let left_behind = || ["top", "left", "right", "bottom"].into_iter().filter(|name| server.path(name).exists()).collect::<Vec<_>>();
    let mut crashes = 0;
    for appends in 1.. {
        let command = ["apply", "diamond.toml", "--progress", "json"];
        let mut said = run(server.almaplan(&command).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()));
        if said.code == 3 {
            break;
        }
        // Crashed again while it recovers, at every append of that too, until one recovery gets through.
        for again in 1.. {
            assert_eq!(said.code, -1, "{}", said.all());
            crashes += 1;
            said = run(server.almaplan(&["resume", "--progress", "json"]).env("ALMAPLAN_CRASH_AFTER_APPEND", again.to_string()));
            if said.code == 3 {
                break;
            }
        }
        assert_eq!(said.outcome(), "compensated");
        assert_eq!(left_behind(), Vec::<&str>::new(), "after append {appends}");
    }
    assert!(crashes > 20, "only {crashes} crashes");
}
