//! Rule 20: whatever a run rests in, a command leads on, and says what it would mean.

use std::fs;

use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{CRASHED, interrupt, run};

/// A folder in which a run is stuck: `b` cannot be undone, and `a`, which it needs, waits for that.
fn stuck() -> (Workspace, String) {
    let workspace = Workspace::new();
    workspace.write(
        "plan.toml",
        r#"
        format = 1
        [plan]
        name = "plan"
        [vars]
        ok = false
        [steps.a]
        uses = "command"
        with = { program = "test_program", args = ["append", "done", "a"], idempotent = true }
        [steps.a.compensate]
        uses = "command"
        with = { program = "test_program", args = ["append", "undone", "a"], idempotent = true }
        [steps.b]
        uses = "command"
        needs = ["a"]
        with = { program = "test_program", args = ["append", "done", "b"], idempotent = true }
        [[steps.b.compensate]]
        uses = "command"
        with = { program = "test_program", args = ["append", "tried", "b", "exit", "3"], idempotent = true }
        [[steps.b.compensate]]
        uses = "command"
        with = { program = "test_program", args = ["append", "undone", "b"], idempotent = true }
        [steps.c]
        uses = "command"
        needs = ["b"]
        compensate = "none"
        with = { program = "test_program", args = ["exit", "{{ 0 if vars.ok else 4 }}"] }
        "#,
    );
    let run = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(4).run();
    (workspace, run)
}

fn ways(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    status["ways"].as_array().unwrap().iter().map(|way| (text(&way["command"]), text(&way["means"]))).collect()
}

#[test]
fn a_stuck_run_says_every_way_on_and_what_each_would_mean() {
    let (workspace, run) = stuck();
    let command = |what: &str| format!("almaplan {what}");
    let expected = [
        (command(&format!("resume {run}")), "tries-again".to_owned()),
        (command(&format!("resolve {run} b undone")), "done-by-hand".to_owned()),
        (command(&format!("resolve {run} b give-up")), "left-as-it-is".to_owned()),
    ];
    assert_eq!(ways(&workspace.status()), expected);
    for (language, meaning) in [("en", "by hand"), ("pt-BR", "à mão")] {
        let shown = workspace.say(&["status", "--lang", language]).expect(0).stdout;
        assert!(expected.iter().all(|(command, _)| shown.contains(command)) && shown.contains(meaning), "{shown}");
    }
    let again = workspace.say(&["resume", &run, "--progress", "plain"]).expect(4);
    assert!(expected.iter().all(|(command, _)| again.all().contains(command)), "the recap: {}", again.all());
}

#[test]
fn a_compensation_that_was_done_by_hand_leads_on_and_is_told_of_for_ever() {
    let (workspace, run) = stuck();
    for step in ["a", "c"] {
        let refused = workspace.say(&["resolve", &run, step, "done"]).expect(2);
        assert!(refused.stderr.contains("nothing is asked"), "{}", refused.stderr);
    }
    let refused = workspace.say(&["resolve", &run, "c", "undone"]).expect(2);
    assert!(refused.stderr.contains("owes nothing"), "{}", refused.stderr);
    let noted = workspace.say(&["resolve", &run, "b", "undone", "--because", "restored from tape"]).expect(0);
    assert!(noted.stderr.contains(&format!("almaplan resume {run}")), "{}", noted.stderr);
    let resumed = workspace.say(&["resume", "--progress", "plain"]).expect(3);
    assert!(resumed.all().contains("restored from tape"), "{}", resumed.all());
    assert_eq!((workspace.lines("tried"), workspace.lines("undone")), (1, 2), "what comes after it is undone by the run");
    let status = workspace.status();
    assert_eq!(status["outcome"], "compensated");
    let by_hand = &status["by_hand"][0];
    assert_eq!((by_hand["step"].as_str(), by_hand["because"].as_str()), (Some("b"), Some("restored from tape")));
    assert!(!by_hand["by"].as_str().unwrap().is_empty());
    let page = workspace.say(&["report", &run, "-o", "-"]).expect(0).stdout;
    assert!(page.contains("done by hand") && page.contains("restored from tape"), "{page}");
    workspace.say(&["apply", "plan.toml", "--var", "ok=true"]).expect(0);
}

#[test]
fn what_is_given_up_leads_on_and_is_told_of_for_ever() {
    let (workspace, run) = stuck();
    workspace.say(&["resolve", &run, "b", "give-up", "--because", "the key is lost"]).expect(0);
    let resumed = workspace.say(&["resume", "--progress", "plain"]).expect(3);
    assert!(resumed.all().contains("left as is") && resumed.all().contains("the key is lost"), "{}", resumed.all());
    let status = workspace.status();
    let written_off = &status["written_off"][0];
    assert_eq!((written_off["step"].as_str(), written_off["because"].as_str()), (Some("b"), Some("the key is lost")));
    assert_eq!((status["outcome"].as_str(), status["next"].as_array().unwrap().len()), (Some("compensated"), 0));
    assert_eq!(workspace.lines("undone"), 2);
    workspace.say(&["apply", "plan.toml", "--var", "ok=true"]).expect(0);
}

#[test]
fn whoever_goes_on_with_an_answered_run_is_killed_at_every_append_and_it_ends_as_it_would() {
    for append in 1.. {
        let (workspace, id) = stuck();
        workspace.say(&["resolve", &id, "b", "give-up"]).expect(0);
        let crashed = run(workspace.almaplan(&["resume"]).env("ALMAPLAN_CRASH_AFTER_APPEND", append.to_string()));
        if crashed.code != CRASHED {
            crashed.expect(3);
            assert!(append > 3, "it was killed {append} times");
            return;
        }
        let status = workspace.status();
        let over = status["outcome"] == "compensated";
        assert!(over || !ways(&status).is_empty(), "a dead end after append {append}: {status}");
        // That it is over may not have been noted yet: then it is settled once more.
        let resumed = workspace.say(&["resume"]);
        assert!(resumed.code == 3 || over && resumed.code == 0, "{}", resumed.all());
        let status = workspace.status();
        assert_eq!((status["outcome"].as_str(), status["written_off"][0]["step"].as_str()), (Some("compensated"), Some("b")));
        workspace.say(&["apply", "plan.toml", "--var", "ok=true"]).expect(0);
    }
}

#[test]
fn a_target_whose_state_is_lost_is_freed_after_it_was_shown() {
    let (workspace, id) = stuck();
    let refused = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(6);
    assert!(refused.stderr.contains(&format!("almaplan resolve {id} b give-up")), "{}", refused.stderr);
    let line: Value = serde_json::from_str(refused.stdout.trim()).unwrap();
    assert_eq!((line["code"].as_str(), line["next"].as_array().unwrap().len()), (Some("unsettled"), 3));
    // While somebody can go on with it, nothing is freed.
    let refused = workspace.say(&["unlock", "plan.toml", "--yes"]).expect(6);
    assert!(refused.stderr.contains(&format!("almaplan resume {id}")), "{}", refused.stderr);
    fs::remove_dir_all(workspace.path(".almaplan")).unwrap();
    let refused = workspace.say(&["apply", "plan.toml"]).expect(6);
    assert!(refused.stderr.contains("almaplan unlock "), "{}", refused.stderr);
    let asked = workspace.say(&["unlock", "plan.toml"]).expect(9);
    assert!(asked.stderr.contains(&id) && asked.stderr.contains("its state is gone"), "{}", asked.stderr);
    assert_eq!(workspace.records().len(), 1, "nothing is freed unasked");
    let freed = workspace.say(&["unlock", "plan.toml", "--yes", "--lang", "pt-BR"]).expect(0);
    assert!(freed.stderr.contains(&id) && freed.stderr.contains("está livre"), "{}", freed.stderr);
    assert_eq!(workspace.records().len(), 0);
    workspace.say(&["apply", "plan.toml", "--var", "ok=true"]).expect(0);
    workspace.say(&["unlock", "plan.toml", "--yes"]).expect(0);
}

#[test]
fn a_target_that_a_process_holds_is_not_freed() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let child = workspace.started("plan.toml", 1);
    let id = workspace.status()["run"].as_str().unwrap().to_owned();
    let refused = workspace.say(&["unlock", "plan.toml", "--yes"]).expect(6);
    assert!(refused.stderr.contains(&id) && refused.stderr.contains("is going on"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("almaplan abort {id}")), "{}", refused.stderr);
    interrupt(&child);
    child.said().expect(5);
    let refused = workspace.say(&["unlock", "plan.toml", "--yes"]).expect(6);
    assert!(refused.stderr.contains(&format!("almaplan resume {id}")), "{}", refused.stderr);
}
