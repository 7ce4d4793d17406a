//! What is promised about runs that another process has, that were left, or whose journal cannot be used: on small plans.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{self, Said, command, run, signal, start, tool, wait_until, wrapped};

#[test]
fn an_apply_that_a_damaged_run_refuses_leaves_no_run_behind() {
    // What `prune` must leave was asked for when the new run was on record already: it could never be gone on with.
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace.write("go", "");
    workspace.say(&["apply", "plan.toml"]).expect(0);
    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    assert_eq!(state.execute("UPDATE events SET body = body || ' ' WHERE seq = 3", []).unwrap(), 1);
    drop(state);
    workspace.say(&["apply", "plan.toml"]).expect(7);
    assert_eq!(workspace.lines("begun"), 1, "something was done");
    assert_eq!(workspace.records(), Vec::<PathBuf>::new());
    workspace.say(&["apply", "plan.toml"]).expect(7);
}

#[test]
#[cfg_attr(windows, ignore = "it suspends a process")]
fn an_abort_goes_on_when_the_process_that_was_asked_dies() {
    // It reported the run as interrupted, and the next resume knew nothing of the abort.
    let workspace = Workspace::new();
    workspace.waiting("plan", false);
    let mut first = workspace.started("plan.toml", 1);
    signal(first.id(), "-STOP");
    let abort = start(&mut workspace.almaplan(&["abort", "--yes", "--progress", "json"]));
    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    let asked = || state.query_row("SELECT count(*) FROM demands", [], |row| row.get::<_, i64>(0)).unwrap() == 1;
    wait_until("the abort is asked for", asked);
    first.kill();
    let aborted = abort.said().expect(0);
    assert_eq!(aborted.outcome(), "compensated");
    assert_eq!((workspace.lines("undone"), workspace.lines("after")), (1, 0));
    assert_eq!(workspace.status()["outcome"], "compensated");
}

#[test]
fn an_abort_that_another_process_did_is_told_to_programs_too() {
    let workspace = Workspace::new();
    workspace.waiting("plan", false);
    let first = workspace.started("plan.toml", 1);
    let aborted = workspace.say(&["abort", "--yes", "--progress", "json"]).expect(0);
    assert_eq!(aborted.outcome(), "compensated");
    first.said().expect(3);
}

#[test]
fn an_abort_that_comes_too_late_is_refused_instead_of_undoing_a_finished_run() {
    // Its process died between its last event and the note that it was over: as long as that was missing, abort undid a success.
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace.write("go", "");
    // The run's events: opened; started, spawned, succeeded of each step; settled. How many of them go into one append differs from run to
    // run, so that the last append can be missed: then from the beginning.
    let crashed_at_the_last = |appends: usize| {
        let _ = fs::remove_dir_all(workspace.path(".almaplan"));
        let _ = fs::remove_dir_all(workspace.path("machine"));
        run(workspace.almaplan(&["apply", "plan.toml"]).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()));
        workspace.status()["outcome"] == "succeeded" && workspace.records().len() == 1
    };
    assert!((1..20).cycle().take(100).any(crashed_at_the_last), "no run crashed before its record was cleared");
    let refused = workspace.say(&["abort", "--yes", "--progress", "json"]).expect(2);
    assert_eq!(refused.events()[0]["code"], "already-settled");
    assert_eq!(workspace.lines("undone"), 0);
    workspace.say(&["rollback", "--yes"]).expect(0);
    assert_eq!((workspace.lines("undone"), workspace.records().len()), (1, 0));
}

#[test]
#[cfg_attr(windows, ignore = "it suspends a process")]
fn an_abort_of_a_run_that_succeeds_first_is_no_success() {
    // It ended with 0, "compensated as asked".
    let workspace = Workspace::new();
    workspace.waiting("plan", false);
    let first = workspace.started("plan.toml", 1);
    signal(first.id(), "-STOP");
    let abort = start(&mut workspace.almaplan(&["abort", "--yes", "--progress", "json"]));
    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    // As if the run had been past its last look at what is asked of it.
    wait_until("the abort is asked for", || state.execute("DELETE FROM demands", []).unwrap() == 1);
    workspace.write("go", "");
    signal(first.id(), "-CONT");
    first.said().expect(0);
    let refused = abort.said().expect(2);
    assert_eq!(refused.events()[0]["code"], "already-settled");
    assert_eq!((workspace.lines("undone"), workspace.lines("after")), (0, 1));
}

/// A plan with an optional secret that a volatile step and a later one refer to, begun with it and killed in between.
fn killed_with_a_secret() -> (Workspace, String) {
    let workspace = Workspace::new();
    let port = support::free_port();
    let plan = format!(
        r#"
        format = 1
        [plan]
        name = "plan"
        [secrets]
        early = {{ env = "EARLY_SECRET" }}
        late = {{ env = "LATE_SECRET", optional = true }}
        [steps.stop]
        uses = "stop-service"
        compensate = "none"
        with = {{ port = {port}, expect = "{{{{ secrets.early }}}}" }}
        [steps.wait]
        uses = "command"
        needs = ["stop"]
        with = {{ program = "test_program", args = ["append", "begun", "", "until", "go", "begun"] }}
        [steps.wait.compensate]
        uses = "command"
        with = {{ program = "test_program", args = ["append", "undone", ""] }}
        [steps.after]
        uses = "command"
        needs = ["wait"]
        compensate = "none"
        with = {{ program = "test_program", args = ["append", "after", ""], env = {{ T = "{{{{ secrets.late }}}}" }} }}
        "#
    );
    workspace.write("plan.toml", &plan);
    let mut command = workspace.almaplan(&["apply", "plan.toml", "--progress", "json"]);
    let mut first = start(command.env("EARLY_SECRET", "early-bird").env("LATE_SECRET", "latecomer").env("ALMAPLAN_BOOT_ID", "one"));
    wait_until("the step runs", || workspace.lines("begun") == 1);
    first.kill();
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    (workspace, run)
}

#[test]
fn a_resume_is_refused_without_the_secrets_of_what_remains() {
    // An optional secret that the run had was taken for one that it never had; one of a step that a reboot undid for one of the past.
    let (workspace, run_id) = killed_with_a_secret();
    let resume = |boot: &str, secrets: &[(&str, &str)]| {
        run(workspace.almaplan(&["resume", "--progress", "json"]).env("ALMAPLAN_BOOT_ID", boot).envs(secrets.iter().copied()))
    };
    let (early, late) = (("EARLY_SECRET", "early-bird"), ("LATE_SECRET", "latecomer"));
    let refused = |said: Said, secret: &str| {
        let line = said.expect(2).events().remove(0);
        assert_eq!(line["code"], "secret-missing");
        assert!(line["message"].as_str().unwrap().contains(secret), "{line}");
    };
    refused(resume("one", &[early]), "late");
    refused(resume("two", &[late]), "early");
    assert_eq!(workspace.status()["steps"][1]["state"], "unknown");
    // Nothing is run to note an answer.
    run(workspace.almaplan(&["resolve", &run_id, "wait", "done"]).env("ALMAPLAN_BOOT_ID", "one")).expect(0);
    resume("one", &[late]).expect(0);
    assert_eq!((workspace.lines("begun"), workspace.lines("after")), (1, 1));
}

#[test]
fn an_abort_needs_no_secret_of_what_it_will_not_do() {
    let (workspace, _) = killed_with_a_secret();
    run(workspace.almaplan(&["abort", "--yes"]).env("ALMAPLAN_BOOT_ID", "one")).expect(0);
    assert_eq!((workspace.lines("undone"), workspace.lines("after")), (1, 0));
}

#[test]
#[cfg_attr(windows, ignore = "it becomes another user")]
fn what_another_user_left_unsettled_is_in_the_way() {
    // Their state cannot be looked into: that was an internal error instead.
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let mut first = workspace.started("plan.toml", 1);
    first.kill();
    let root = workspace.path("").to_str().unwrap().to_owned();
    let other = |args: &[&str]| {
        // Nobody keeps root out of a folder, so it becomes somebody else; others are kept out of their own.
        if tool(command("id").arg("-u")).trim() == "0" {
            // As `/var/tmp` is: each user has a folder of locks of its own there, and what root is at is told to all.
            tool(command("chmod").args(["1777", &root]));
            tool(command("chmod").arg("644").arg(workspace.path("plan.toml")));
            let mut somebody = command("setpriv");
            somebody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            run(&mut wrapped(somebody, &workspace.almaplan(args)))
        } else {
            tool(command("chmod").arg("0").arg(workspace.path(".almaplan")));
            let said = workspace.say(args);
            tool(command("chmod").arg("700").arg(workspace.path(".almaplan")));
            said
        }
    };
    let refused = other(&["apply", "plan.toml", "--progress", "json"]).expect(6).events().remove(0);
    if tool(command("id").arg("-u")).trim() == "0" {
        // It is told whose it is. No command that would go on with it is theirs to type.
        assert_eq!(refused["code"], "occupied");
        assert!(refused["message"].as_str().unwrap().contains("root"), "{refused}");
        assert!(!refused["hint"].as_str().unwrap().contains("almaplan resume"), "{refused}");
        other(&["unlock", "plan.toml", "--yes"]).expect(6);
    } else {
        assert_eq!(refused["code"], "unsettled");
    }
    assert_eq!(workspace.lines("begun"), 1);
    workspace.write("go", "");
    workspace.say(&["resume"]).expect(0);
}

#[test]
fn a_run_whose_state_is_gone_says_what_to_do() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let mut first = workspace.started("plan.toml", 1);
    first.kill();
    fs::rename(workspace.path(".almaplan"), workspace.path("elsewhere")).unwrap();
    for command in [&["apply", "plan.toml"][..], &["resume"], &["abort", "--yes"], &["status"]] {
        let said = workspace.say(command).expect(6);
        assert!(said.stderr.contains("almaplan unlock plan"), "{}", said.stderr);
    }
    assert!(!workspace.path(".almaplan").exists(), "it must touch nothing");
    fs::rename(workspace.path("elsewhere"), workspace.path(".almaplan")).unwrap();
    workspace.write("go", "");
    workspace.say(&["resume"]).expect(0);
}

#[test]
fn a_journal_that_fails_in_the_middle_leaves_one_outcome_and_no_refusal() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let first = workspace.started("plan.toml", 1);
    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    state.execute("DELETE FROM events WHERE seq = 2", []).unwrap();
    state.execute("UPDATE runs SET events = events + 1", []).unwrap();
    workspace.write("go", "");
    let said = first.said().expect(5);
    let last = said.events().pop().unwrap();
    assert_eq!((last["event"].as_str(), last["outcome"].as_str(), last["exit"].as_u64()), (Some("outcome"), Some("interrupted"), Some(5)));
    assert!(said.stderr.contains("error"), "{}", said.stderr);
    assert_eq!(workspace.lines("after"), 0);
}

#[test]
fn with_progress_json_only_objects_are_on_standard_output() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace.write("wrong.toml", "format = 1");
    workspace.write("go", "");
    let run = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(0).run();
    for (command, code) in [
        (&["check", "plan.toml"][..], 0),
        (&["check", "wrong.toml"], 2),
        (&["status"], 0),
        (&["runs"], 0),
        (&["resume"], 0),
        (&["rollback"], 9),
        (&["apply", "wrong.toml"], 2),
        (&["resolve", &run, "wait", "done"], 2),
        (&["apply"], 2),
    ] {
        // Panics where a line is no object.
        run_json(&workspace, command).expect(code).events();
    }
    let usage = run_json(&workspace, &["apply"]).events().remove(0);
    assert!(usage["message"].as_str().unwrap().contains("<PLAN>"), "what is missing: {usage}");
}

fn run_json(workspace: &Workspace, args: &[&str]) -> Said {
    run(workspace.almaplan(args).args(["--progress", "json"]))
}

#[test]
fn unsettled_runs_of_the_machine_are_seen_from_any_folder() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let mut first = workspace.started("plan.toml", 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = || {
        let said = run(workspace.almaplan(&["runs", "--json"]).current_dir(elsewhere.path())).expect(0);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["runs"].take()
    };
    assert_eq!((runs()[0]["plan"].as_str(), runs()[0]["state"].as_str()), (Some("plan"), Some("running")));
    first.kill();
    assert_eq!(runs()[0]["state"], "interrupted");
    workspace.write("go", "");
    run(workspace.almaplan(&["resume"]).current_dir(elsewhere.path())).expect(0);
    assert_eq!(runs().as_array().map(Vec::len), Some(0));
}

#[test]
fn logs_of_a_step_that_the_run_does_not_have_are_refused() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace.write("go", "");
    let run = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(0).run();
    workspace.say(&["logs", &run, "wait"]).expect(0);
    let refused = workspace.say(&["logs", &run, "wiat", "--progress", "json"]).expect(2);
    assert_eq!(refused.events()[0]["code"], "unknown-step");
}

#[test]
fn a_state_folder_of_the_environment_that_is_empty_is_not_set() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    workspace.write("go", "");
    run(workspace.almaplan(&["apply", "plan.toml"]).env("ALMAPLAN_STATE_DIR", "")).expect(0);
    assert_eq!(workspace.status()["outcome"], "succeeded");
}

const APPROVED: &str = r#"
    format = 1
    [plan]
    name = "plan"
    [steps.before]
    uses = "command"
    with = { program = "test_program" }
    compensate = { uses = "command", with = { program = "test_program", args = ["append", "undone", ""] } }
    [steps.ask]
    uses = "approval"
    needs = ["before"]
    with = { message = "Go?" }
    [steps.tell]
    uses = "command"
    compensate = "none"
    with = { program = "test_program", args = ["append", "by", "{{ steps.ask.by }} {{ steps.ask.at }}"] }
    "#;

#[test]
fn an_approval_is_answered_as_well_when_no_process_waits_for_it() {
    // A yes was kept without who gave it, so that what needs to know failed; a no only made it ask again.
    for (answer, code) in [("done", 0), ("not-done", 3)] {
        let workspace = Workspace::new();
        workspace.write("plan.toml", APPROVED);
        let mut first = start(&mut workspace.almaplan(&["apply", "plan.toml", "--progress", "json"]));
        wait_until("it asks", || {
            workspace.path(".almaplan").exists() && workspace.say(&["status", "--json"]).stdout.contains(r#""questions":["ask"]"#)
        });
        let run = workspace.status()["run"].as_str().unwrap().to_owned();
        assert_eq!(workspace.status()["next"][0], format!("almaplan resolve {run} ask done"));
        first.kill();
        workspace.say(&["resolve", &run, "ask", answer]).expect(0);
        for second in ["done", "not-done"] {
            assert!(workspace.say(&["resolve", &run, "ask", second]).expect(2).stderr.contains("has an answer already"));
        }
        workspace.say(&["resume"]).expect(code);
        assert_eq!((workspace.lines("by"), workspace.lines("undone")), if code == 0 { (1, 0) } else { (0, 1) });
    }
}

#[test]
#[cfg_attr(windows, ignore = "there are no modes")]
fn a_state_is_readable_by_its_owner_alone_whatever_the_umask_says() {
    let workspace = Workspace::new();
    workspace.write(
        "plan.toml",
        &APPROVED
            .replace("\"approval\"", "\"command\"")
            .replace("message = \"Go?\"", "program = \"echo\", args = [\"hi\"]")
            .replace("steps.ask.by", "plan.name")
            .replace("steps.ask.at", "plan.name"),
    );
    workspace.say(&["apply", "plan.toml"]).expect(0);
    assert_eq!(tool(command("find").arg(workspace.path(".almaplan")).args(["-perm", "/077"])), "");
    let logs = tool(command("find").arg(workspace.path(".almaplan")).args(["-name", "ask.log"]));
    assert!(!logs.is_empty(), "no log was kept");
}

#[test]
fn a_rollback_of_what_is_not_over_says_how_it_goes_on() {
    // It said that a run did not succeed, because of its outcome `succeeded`.
    let workspace = Workspace::new();
    let finally = r#"
        [finally.tell]
        uses = "command"
        with = { program = "test_program", args = ["append", "begun", "", "until", "go", "begun"] }
        "#;
    workspace.waiting("other", true);
    let plan =
        fs::read_to_string(workspace.path("other.toml")).unwrap().replace(r#"["append", "begun", "", "until", "go", "begun"]"#, "[]");
    workspace.write("plan.toml", &(plan + finally));
    let mut first = workspace.started("plan.toml", 1);
    first.kill();
    let refused = workspace.say(&["rollback", "--yes", "--progress", "json"]).expect(6).events().remove(0);
    assert!(refused["hint"].as_str().unwrap().contains("almaplan resume"), "{refused}");
    workspace.write("go", "");
    workspace.say(&["resume"]).expect(0);
    workspace.say(&["rollback", "--yes"]).expect(0);
    assert_eq!(workspace.lines("undone"), 1);
}

#[test]
fn a_failure_that_undid_nothing_is_a_warning_also_after_the_run_is_undone() {
    let workspace = Workspace::new();
    workspace.write(
        "plan.toml",
        r#"
        format = 1
        [plan]
        name = "plan"
        [steps.extra]
        uses = "command"
        on_failure = "continue"
        with = { program = "test_program", args = ["exit", "1"] }
        compensate = { uses = "command", with = { program = "test_program" } }
        [steps.live]
        uses = "command"
        needs = ["extra"]
        pivot = true
        with = { program = "test_program" }
        compensate = { uses = "command", with = { program = "test_program" } }
        [steps.tidy]
        uses = "command"
        needs = ["live"]
        with = { program = "test_program", args = ["exit", "1"] }
        compensate = { uses = "command", with = { program = "test_program" } }
        "#,
    );
    for command in [&["apply", "plan.toml", "--progress", "quiet"][..], &["rollback", "--yes", "--progress", "quiet"]] {
        let told = workspace.say(command).expect(0).stdout;
        let warned = told.lines().skip_while(|line| !line.starts_with("  warned ")).take(2).collect::<Vec<_>>();
        assert!(warned.len() == 2 && warned[0].contains("extra: ") && warned[1].contains("tidy: "), "{told}");
        assert!(!told.contains("  cause "), "{told}");
    }
}

#[test]
fn nothing_is_asked_about_a_step_that_works() {
    // The answer was taken, told to be passed on, and lost.
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let first = workspace.started("plan.toml", 1);
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    let refused = workspace.say(&["resolve", &run, "wait", "done", "--progress", "json"]).expect(2).events().remove(0);
    assert_eq!(refused["code"], "not-asked");
    workspace.write("go", "");
    first.said().expect(0);
}

#[test]
fn a_state_folder_that_was_named_is_not_replaced_by_another() {
    // A slip of the pen in `--state-dir` aborted the only unsettled run of the machine, wherever that was.
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let mut first = workspace.started("plan.toml", 1);
    first.kill();
    for command in [&["abort", "--yes"][..], &["resume"], &["status"]] {
        let refused = run(workspace.almaplan(command).args(["--state-dir", "typo", "--progress", "json"])).expect(2);
        assert_eq!(refused.events()[0]["code"], "no-run");
    }
    assert_eq!((workspace.lines("begun"), workspace.lines("undone")), (1, 0));
}

#[test]
fn what_a_rollback_on_another_target_needs_is_not_pruned() {
    // Only the newest success of the plan counted, whichever target it was for.
    let workspace = Workspace::new();
    fs::create_dir(workspace.path("source")).unwrap();
    workspace.write("source/file", "text");
    workspace.write(
        "plan.toml",
        r#"
        format = 1
        [plan]
        name = "plan"
        lock = "{{ vars.target }}"
        [vars]
        target = "one"
        [steps.backup]
        uses = "backup"
        compensate = "none"
        with = { source = "source", archive = "backups/{{ vars.target }}_{{ run.id }}.zip" }
        [steps.prune]
        uses = "prune"
        needs = ["backup"]
        compensate = "none"
        with = { dir = "backups", pattern = "*.zip", keep = 1 }
        "#,
    );
    let apply = |target: &str| {
        let said = workspace.say(&["apply", "plan.toml", "--var", &format!("target={target}"), "--progress", "json"]).expect(0);
        workspace.path(format!("backups/{target}_{}.zip", said.run()))
    };
    let first = apply("one");
    let other = apply("two");
    assert!(first.exists(), "the newest success on `one` needs it");
    let second = apply("one");
    assert!(first.exists() && other.exists() && second.exists());
    let third = apply("one");
    assert!(!first.exists() && second.exists() && other.exists() && third.exists());
}

#[test]
fn two_names_of_one_folder_are_one_lock() {
    // Two checkouts, or one folder with a link to it, must exclude each other.
    let workspace = Workspace::new();
    fs::create_dir_all(workspace.path("plans/deeper")).unwrap();
    fs::create_dir(workspace.path("app")).unwrap();
    workspace.waiting("plan", true);
    let text = fs::read_to_string(workspace.path("plan.toml")).unwrap();
    let locked = |folder: &str| text.replace("name = \"plan\"", &format!("name = \"plan\"\nlock = \"{folder}\""));
    workspace.write("plan.toml", &locked("./app"));
    workspace.write("plans/deeper/plan.toml", &locked("../../app").replace(r#", "until", "go", "begun""#, ""));
    let mut first = workspace.started("plan.toml", 1);
    let refused = || workspace.say(&["apply", "plans/deeper/plan.toml", "--progress", "json"]).expect(6).events().remove(0)["code"].clone();
    assert_eq!(refused(), "held");
    first.kill();
    assert_eq!(refused(), "unsettled");
    assert_eq!(workspace.lines("begun"), 1);
}

#[test]
fn a_run_goes_on_with_the_environment_that_it_was_started_with() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let text = fs::read_to_string(workspace.path("plan.toml")).unwrap();
    workspace.write("plan.toml", &text.replace(r#""after", """#, r#""after", "{{ env.STAGE_OF_TEST }}""#));
    let mut first = start(workspace.almaplan(&["apply", "plan.toml", "--progress", "json"]).env("STAGE_OF_TEST", "sandbox"));
    wait_until("the step runs", || workspace.lines("begun") == 1);
    first.kill();
    workspace.write("go", "");
    run(workspace.almaplan(&["resume"]).env("STAGE_OF_TEST", "production")).expect(0);
    assert_eq!(fs::read_to_string(workspace.path("after")).unwrap(), "sandbox\n");
}
