//! `apply --run ID`: of any number of calls with one id exactly one begins a run; the others show it, and end as it does.

use std::fs;

use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{CRASHED, Said, run, start, wait_until};

const APPLY: [&str; 6] = ["apply", "plan.toml", "--run", "deploy-1", "--progress", "json"];

/// A workspace with a plan that waits for a file, and how it is applied under one id.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace
}

fn line(said: &Said, event: &str) -> Value {
    said.events().into_iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event}: {}", said.all()))
}

/// What was told of a run while it went on.
fn told(said: &Said) -> Vec<Value> {
    said.events().into_iter().filter(|line| line["event"] != "outcome").collect()
}

#[test]
fn a_second_apply_shows_the_run_that_goes_on_and_ends_as_it_does() {
    let workspace = workspace();
    let first = start(&mut workspace.almaplan(&APPLY));
    wait_until("the step runs", || workspace.lines("begun") == 1);
    let mut second = start(&mut workspace.almaplan(&APPLY));
    // For people, too.
    let mut third = start(&mut workspace.almaplan(&["apply", "plan.toml", "--run", "deploy-1", "--progress", "plain"]));
    // Who comes after the end is told the outcome alone.
    second.wait_until_said(r#""step":"wait""#);
    third.wait_until_said("wait: ");
    workspace.write("go", "");
    let [first, second, third] = [first, second, third].map(|child| child.said().expect(0));
    assert_eq!(first.run(), "deploy-1");
    assert_eq!(told(&second), told(&first));
    assert_eq!(second.outcome(), "succeeded");
    assert!(second.stderr.contains("nothing is begun"), "{}", second.stderr);
    assert!(third.stdout.contains("after: done") && third.stdout.contains("Succeeded"), "{}", third.stdout);
    assert_eq!((workspace.lines("begun"), workspace.lines("after")), (1, 1), "it was begun twice");
}

#[test]
fn an_apply_of_a_run_that_is_over_tells_its_outcome_and_begins_nothing() {
    let workspace = workspace();
    workspace.write("go", "");
    workspace.say(&APPLY).expect(0);
    for _ in 0..2 {
        let again = workspace.say(&APPLY).expect(0);
        let lines: Vec<String> = again.events().iter().map(|line| line["event"].to_string()).collect();
        assert_eq!(lines, ["\"outcome\""], "{}", again.all());
        assert_eq!(line(&again, "outcome")["exit"], 0);
    }
    assert_eq!((workspace.lines("begun"), workspace.lines("after")), (1, 1), "it was begun twice");
    workspace.say(&["rollback", "deploy-1", "--yes"]).expect(0);
    let undone = workspace.say(&APPLY).expect(3);
    assert_eq!(undone.outcome(), "compensated");
}

#[test]
fn an_apply_of_a_run_that_nobody_has_is_refused_with_what_goes_on_with_it() {
    let workspace = workspace();
    let died = run(workspace.almaplan(&APPLY).env("ALMAPLAN_CRASH_AFTER_APPEND", "2"));
    assert_eq!(died.code, CRASHED);
    let refused = workspace.say(&APPLY).expect(6);
    let refused = line(&refused, "refused");
    assert_eq!(refused["code"], "unsettled");
    assert!(refused["hint"].as_str().unwrap().contains("almaplan resume deploy-1"), "{refused}");
    let status = workspace.status();
    assert_eq!((&status["state"], &status["exit"]), (&"interrupted".into(), &5.into()), "{status}");
    workspace.write("go", "");
    workspace.say(&["resume", "deploy-1"]).expect(0);
    assert_eq!(workspace.say(&APPLY).expect(0).outcome(), "succeeded");
}

#[test]
fn an_id_of_another_plan_or_one_that_is_no_name_of_a_folder_is_refused() {
    let workspace = workspace();
    workspace.waiting("other", true);
    workspace.write("go", "");
    workspace.say(&APPLY).expect(0);
    let refused = workspace.say(&["apply", "other.toml", "--run", "deploy-1", "--progress", "json"]).expect(2);
    assert_eq!(line(&refused, "refused")["code"], "other-plan");
    for id in ["", "../x", "a/b", "last", "nul"] {
        workspace.say(&["apply", "plan.toml", "--run", id]).expect(2);
    }
}

#[test]
fn of_many_applies_of_one_id_at_the_same_time_exactly_one_begins() {
    let workspace = workspace();
    let apply = || start(&mut workspace.almaplan(&APPLY));
    let all = [apply(), apply(), apply(), apply()];
    wait_until("the step runs", || workspace.lines("begun") == 1);
    workspace.write("go", "");
    for child in all {
        assert_eq!(child.said().expect(0).outcome(), "succeeded");
    }
    assert_eq!((workspace.lines("begun"), workspace.lines("after")), (1, 1));
}

// The record decides nothing: neither the run nor whoever looks on depends on it.
#[test]
fn a_record_that_cannot_be_written_or_read_changes_nothing() {
    let workspace = workspace();
    workspace.waiting("other", true);
    workspace.write("go", "");
    workspace.say(&["apply", "other.toml"]).expect(0);
    fs::remove_file(workspace.path("go")).unwrap();
    fs::create_dir_all(workspace.path(".almaplan/runs/deploy-1/updates.jsonl")).unwrap();
    let first = start(&mut workspace.almaplan(&APPLY));
    wait_until("the step runs", || workspace.lines("begun") == 2);
    let second = start(&mut workspace.almaplan(&APPLY));
    workspace.write("go", "");
    for child in [first, second] {
        assert_eq!(child.said().expect(0).outcome(), "succeeded");
    }
}
