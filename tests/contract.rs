//! What is promised about runs that another process has, that were left, or whose journal cannot be used: on small plans.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::place::Place;
use support::{Said, run, said, signal, start, wait_until};

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

#[test]
#[cfg_attr(windows, ignore = "it suspends a process")]
fn an_abort_goes_on_when_the_process_that_was_asked_dies() {
    // It reported the run as interrupted, and the next resume knew nothing of the abort.
    let place = Place::new();
    place.waiting("plan", false);
    let mut first = place.started("plan.toml", 1);
    signal(first.id(), "-STOP");
    let abort = start(&mut place.almaplan(&["abort", "--yes", "--progress", "json"]));
    let state = rusqlite::Connection::open(place.path(".almaplan/state.db")).unwrap();
    let asked = || state.query_row("SELECT count(*) FROM demands", [], |row| row.get::<_, i64>(0)).unwrap() == 1;
    wait_until("the abort is asked for", 20, asked);
    first.kill().unwrap();
    first.wait().unwrap();
    let aborted = said(abort.wait_with_output().unwrap()).expect(0);
    assert_eq!(aborted.outcome(), "compensated");
    assert_eq!((place.lines("undone"), place.lines("after")), (1, 0));
    assert_eq!(place.status()["outcome"], "compensated");
}

#[test]
fn an_abort_that_another_process_did_is_told_to_programs_too() {
    let place = Place::new();
    place.waiting("plan", false);
    let first = place.started("plan.toml", 1);
    let aborted = place.say(&["abort", "--yes", "--progress", "json"]).expect(0);
    assert_eq!(aborted.outcome(), "compensated");
    said(first.wait_with_output().unwrap()).expect(3);
}

#[test]
fn an_abort_that_comes_too_late_is_refused_instead_of_undoing_a_finished_run() {
    // Its process died between its last event and the note that it was over: as long as that was missing, abort undid a success.
    let place = Place::new();
    place.waiting("plan", true);
    place.write("go", "");
    // The run's events: opened; started, spawned, succeeded of each step, some of them in one append; settled.
    let crashed = (1..20).find(|appends| {
        let _ = fs::remove_dir_all(place.path(".almaplan"));
        let _ = fs::remove_dir_all(place.path("machine"));
        run(place.almaplan(&["apply", "plan.toml"]).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()));
        place.status()["outcome"] == "succeeded"
    });
    assert!(crashed.is_some_and(|appends| appends < 19));
    assert_eq!(place.records().len(), 1, "it was to crash before the record was cleared");
    let refused = place.say(&["abort", "--yes", "--progress", "json"]).expect(2);
    assert_eq!(refused.events()[0]["code"], "already-settled");
    assert_eq!(place.lines("undone"), 0);
    place.say(&["rollback", "--yes"]).expect(0);
    assert_eq!((place.lines("undone"), place.records().len()), (1, 0));
}

#[test]
#[cfg_attr(windows, ignore = "it suspends a process")]
fn an_abort_of_a_run_that_succeeds_first_is_no_success() {
    // It ended with 0, "compensated as asked".
    let place = Place::new();
    place.waiting("plan", false);
    let first = place.started("plan.toml", 1);
    signal(first.id(), "-STOP");
    let abort = start(&mut place.almaplan(&["abort", "--yes", "--progress", "json"]));
    let state = rusqlite::Connection::open(place.path(".almaplan/state.db")).unwrap();
    // As if the run had been past its last look at what is asked of it.
    wait_until("the abort is asked for", 20, || state.execute("DELETE FROM demands", []).unwrap() == 1);
    place.write("go", "");
    signal(first.id(), "-CONT");
    said(first.wait_with_output().unwrap()).expect(0);
    let refused = said(abort.wait_with_output().unwrap()).expect(2);
    assert_eq!(refused.events()[0]["code"], "already-settled");
    assert_eq!((place.lines("undone"), place.lines("after")), (0, 1));
}

/// A plan with an optional secret that a volatile step and a later one refer to, begun with it and killed in between.
fn killed_with_a_secret() -> (Place, String) {
    let place = Place::new();
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
        with = {{ program = "hand", args = ["append", "begun", "", "until", "go", "begun"] }}
        [steps.wait.compensate]
        uses = "command"
        with = {{ program = "hand", args = ["append", "undone", ""] }}
        [steps.after]
        uses = "command"
        needs = ["wait"]
        compensate = "none"
        with = {{ program = "hand", args = ["append", "after", ""], env = {{ T = "{{{{ secrets.late }}}}" }} }}
        "#
    );
    place.write("plan.toml", &plan);
    let mut command = place.almaplan(&["apply", "plan.toml", "--progress", "json"]);
    let mut first = start(command.env("EARLY_SECRET", "early-bird").env("LATE_SECRET", "latecomer").env("ALMAPLAN_BOOT_ID", "one"));
    wait_until("the step runs", 20, || place.lines("begun") == 1);
    first.kill().unwrap();
    first.wait().unwrap();
    let run = place.status()["run"].as_str().unwrap().to_owned();
    (place, run)
}

#[test]
fn a_resume_is_refused_without_the_secrets_of_what_remains() {
    // An optional secret that the run had was taken for one that it never had; one of a step that a reboot undid for one of the past.
    let (place, run_id) = killed_with_a_secret();
    let resume = |boot: &str, secrets: &[(&str, &str)]| {
        run(place.almaplan(&["resume", "--progress", "json"]).env("ALMAPLAN_BOOT_ID", boot).envs(secrets.iter().copied()))
    };
    let (early, late) = (("EARLY_SECRET", "early-bird"), ("LATE_SECRET", "latecomer"));
    let refused = |said: Said, secret: &str| {
        let line = said.expect(2).events().remove(0);
        assert_eq!(line["code"], "secret-missing");
        assert!(line["message"].as_str().unwrap().contains(secret), "{line}");
    };
    refused(resume("one", &[early]), "late");
    refused(resume("two", &[late]), "early");
    assert_eq!(place.status()["steps"][1]["state"], "unknown");
    // Nothing is run to note an answer.
    run(place.almaplan(&["resolve", &run_id, "wait", "done"]).env("ALMAPLAN_BOOT_ID", "one")).expect(0);
    resume("one", &[late]).expect(0);
    assert_eq!((place.lines("begun"), place.lines("after")), (1, 1));
}

#[test]
fn an_abort_needs_no_secret_of_what_it_will_not_do() {
    let (place, _) = killed_with_a_secret();
    run(place.almaplan(&["abort", "--yes"]).env("ALMAPLAN_BOOT_ID", "one")).expect(0);
    assert_eq!((place.lines("undone"), place.lines("after")), (1, 0));
}

#[test]
#[cfg_attr(windows, ignore = "it becomes another user")]
fn what_another_user_left_unsettled_is_in_the_way() {
    // Their state cannot be looked into: that was an internal error instead.
    let place = Place::new();
    place.waiting("plan", true);
    let mut first = place.started("plan.toml", 1);
    first.kill().unwrap();
    first.wait().unwrap();
    let output = |program: &str, args: &[&str]| String::from_utf8(Command::new(program).args(args).output().unwrap().stdout).unwrap();
    let root = place.path("").to_str().unwrap().to_owned();
    let other = |args: &[&str]| {
        // Nobody keeps root out of a folder, so it becomes somebody else; others are kept out of their own.
        if output("id", &["-u"]).trim() == "0" {
            output("chmod", &["755", &root]);
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_almaplan")]).args(args);
            command.current_dir(&root).env("ALMAPLAN_MACHINE_DIR", place.path("machine")).env("ALMAPLAN_LANG", "en").stdin(Stdio::null());
            run(&mut command)
        } else {
            output("chmod", &["0", place.path(".almaplan").to_str().unwrap()]);
            let said = place.say(args);
            output("chmod", &["700", place.path(".almaplan").to_str().unwrap()]);
            said
        }
    };
    let refused = other(&["apply", "plan.toml", "--progress", "json"]).expect(6).events().remove(0);
    assert_eq!(refused["code"], "unsettled");
    assert!(refused["hint"].as_str().unwrap().contains("almaplan resume"), "{refused}");
    assert_eq!(place.lines("begun"), 1);
    place.write("go", "");
    place.say(&["resume"]).expect(0);
}

#[test]
fn a_run_whose_state_is_gone_says_what_to_do() {
    let place = Place::new();
    place.waiting("plan", true);
    let mut first = place.started("plan.toml", 1);
    first.kill().unwrap();
    first.wait().unwrap();
    fs::rename(place.path(".almaplan"), place.path("elsewhere")).unwrap();
    for command in [&["apply", "plan.toml"][..], &["resume"], &["abort", "--yes"], &["status"]] {
        let said = place.say(command).expect(6);
        assert!(said.stderr.contains(place.records()[0].to_str().unwrap()), "{}", said.stderr);
    }
    assert!(!place.path(".almaplan").exists(), "it must touch nothing");
    fs::rename(place.path("elsewhere"), place.path(".almaplan")).unwrap();
    place.write("go", "");
    place.say(&["resume"]).expect(0);
}

#[test]
fn a_journal_that_fails_in_the_middle_leaves_one_outcome_and_no_refusal() {
    let place = Place::new();
    place.waiting("plan", true);
    let first = place.started("plan.toml", 1);
    let state = rusqlite::Connection::open(place.path(".almaplan/state.db")).unwrap();
    state.execute("DELETE FROM events WHERE seq = 2", []).unwrap();
    state.execute("UPDATE runs SET events = events + 1", []).unwrap();
    place.write("go", "");
    let said = said(first.wait_with_output().unwrap()).expect(5);
    let last = said.events().pop().unwrap();
    assert_eq!((last["event"].as_str(), last["outcome"].as_str(), last["exit"].as_u64()), (Some("outcome"), Some("interrupted"), Some(5)));
    assert!(said.stderr.contains("error"), "{}", said.stderr);
    assert_eq!(place.lines("after"), 0);
}

#[test]
fn with_progress_json_only_objects_are_on_standard_output() {
    let place = Place::new();
    place.waiting("plan", true);
    place.write("wrong.toml", "format = 1");
    place.write("go", "");
    let run = place.say(&["apply", "plan.toml", "--progress", "json"]).expect(0).run();
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
        run_json(&place, command).expect(code).events();
    }
    let usage = run_json(&place, &["apply"]).events().remove(0);
    assert!(usage["message"].as_str().unwrap().contains("<PLAN>"), "what is missing: {usage}");
}

fn run_json(place: &Place, args: &[&str]) -> Said {
    run(place.almaplan(args).args(["--progress", "json"]))
}

#[test]
fn unsettled_runs_of_the_machine_are_seen_from_any_folder() {
    let place = Place::new();
    place.waiting("plan", true);
    let mut first = place.started("plan.toml", 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = || {
        let said = run(place.almaplan(&["runs", "--json"]).current_dir(elsewhere.path())).expect(0);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["runs"].take()
    };
    assert_eq!((runs()[0]["plan"].as_str(), runs()[0]["state"].as_str()), (Some("plan"), Some("running")));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(runs()[0]["state"], "interrupted");
    place.write("go", "");
    run(place.almaplan(&["resume"]).current_dir(elsewhere.path())).expect(0);
    assert_eq!(runs().as_array().map(Vec::len), Some(0));
}

#[test]
fn logs_of_a_step_that_the_run_does_not_have_are_refused() {
    let place = Place::new();
    place.waiting("plan", true);
    place.write("go", "");
    let run = place.say(&["apply", "plan.toml", "--progress", "json"]).expect(0).run();
    place.say(&["logs", &run, "wait"]).expect(0);
    let refused = place.say(&["logs", &run, "wiat", "--progress", "json"]).expect(2);
    assert_eq!(refused.events()[0]["code"], "unknown-step");
}

#[test]
fn a_state_folder_of_the_environment_that_is_empty_is_not_set() {
    let place = Place::new();
    place.waiting("plan", true);
    place.write("go", "");
    run(place.almaplan(&["apply", "plan.toml"]).env("ALMAPLAN_STATE_DIR", "")).expect(0);
    assert_eq!(place.status()["outcome"], "succeeded");
}

const APPROVED: &str = r#"
    format = 1
    [plan]
    name = "plan"
    [steps.before]
    uses = "command"
    with = { program = "hand" }
    compensate = { uses = "command", with = { program = "hand", args = ["append", "undone", ""] } }
    [steps.ask]
    uses = "approval"
    needs = ["before"]
    with = { message = "Go?" }
    [steps.tell]
    uses = "command"
    compensate = "none"
    with = { program = "hand", args = ["append", "by", "{{ steps.ask.by }} {{ steps.ask.at }}"] }
    "#;

#[test]
fn an_approval_is_answered_as_well_when_no_process_waits_for_it() {
    // A yes was kept without who gave it, so that what needs to know failed; a no only made it ask again.
    for (answer, code) in [("done", 0), ("not-done", 3)] {
        let place = Place::new();
        place.write("plan.toml", APPROVED);
        let mut first = start(&mut place.almaplan(&["apply", "plan.toml", "--progress", "json"]));
        wait_until("it asks", 20, || {
            place.path(".almaplan").exists() && place.say(&["status", "--json"]).stdout.contains(r#""questions":["ask"]"#)
        });
        let run = place.status()["run"].as_str().unwrap().to_owned();
        assert_eq!(place.status()["next"][0], format!("almaplan resolve {run} ask done"));
        first.kill().unwrap();
        first.wait().unwrap();
        place.say(&["resolve", &run, "ask", answer]).expect(0);
        place.say(&["resume"]).expect(code);
        assert_eq!((place.lines("by"), place.lines("undone")), if code == 0 { (1, 0) } else { (0, 1) });
    }
}

#[test]
#[cfg_attr(windows, ignore = "there are no modes")]
fn a_state_is_readable_by_its_owner_alone_whatever_the_umask_says() {
    let place = Place::new();
    place.write(
        "plan.toml",
        &APPROVED
            .replace("\"approval\"", "\"command\"")
            .replace("message = \"Go?\"", "program = \"echo\", args = [\"hi\"]")
            .replace("steps.ask.by", "plan.name")
            .replace("steps.ask.at", "plan.name"),
    );
    place.say(&["apply", "plan.toml"]).expect(0);
    let others = Command::new("find").arg(place.path(".almaplan")).args(["-perm", "/077"]).output().unwrap();
    assert_eq!(String::from_utf8(others.stdout).unwrap(), "");
    let logs = Command::new("find").arg(place.path(".almaplan")).args(["-name", "ask.log"]).output().unwrap();
    assert!(!logs.stdout.is_empty(), "no log was kept");
}

#[test]
fn a_rollback_of_what_is_not_over_says_how_it_goes_on() {
    // It said that a run did not succeed, because of its outcome `succeeded`.
    let place = Place::new();
    let finally = r#"
        [finally.tell]
        uses = "command"
        with = { program = "hand", args = ["append", "begun", "", "until", "go", "begun"] }
        "#;
    place.waiting("other", true);
    let plan = fs::read_to_string(place.path("other.toml")).unwrap().replace(r#"["append", "begun", "", "until", "go", "begun"]"#, "[]");
    place.write("plan.toml", &(plan + finally));
    let mut first = place.started("plan.toml", 1);
    first.kill().unwrap();
    first.wait().unwrap();
    let refused = place.say(&["rollback", "--yes", "--progress", "json"]).expect(6).events().remove(0);
    assert!(refused["hint"].as_str().unwrap().contains("almaplan resume"), "{refused}");
    place.write("go", "");
    place.say(&["resume"]).expect(0);
    place.say(&["rollback", "--yes"]).expect(0);
    assert_eq!(place.lines("undone"), 1);
}

#[test]
fn a_failure_that_undid_nothing_is_a_warning_also_after_the_run_is_undone() {
    let place = Place::new();
    place.write(
        "plan.toml",
        r#"
        format = 1
        [plan]
        name = "plan"
        [steps.extra]
        uses = "command"
        on_failure = "continue"
        with = { program = "hand", args = ["exit", "1"] }
        compensate = { uses = "command", with = { program = "hand" } }
        [steps.live]
        uses = "command"
        needs = ["extra"]
        pivot = true
        with = { program = "hand" }
        compensate = { uses = "command", with = { program = "hand" } }
        [steps.tidy]
        uses = "command"
        needs = ["live"]
        with = { program = "hand", args = ["exit", "1"] }
        compensate = { uses = "command", with = { program = "hand" } }
        "#,
    );
    let warned = |said: Said| {
        let words = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
        said.stdout
            .lines()
            .map(words)
            .filter(|words| words.len() == 2 && ["warned", "failed"].contains(&words[0].as_str()))
            .collect::<Vec<_>>()
    };
    let counts = [["warned", "2"], ["failed", "0"]];
    assert_eq!(warned(place.say(&["apply", "plan.toml", "--progress", "quiet"]).expect(0)), counts);
    assert_eq!(warned(place.say(&["rollback", "--yes", "--progress", "quiet"]).expect(0)), counts);
}

#[test]
fn nothing_is_asked_about_a_step_that_works() {
    // The answer was taken, told to be passed on, and lost.
    let place = Place::new();
    place.waiting("plan", true);
    let first = place.started("plan.toml", 1);
    let run = place.status()["run"].as_str().unwrap().to_owned();
    let refused = place.say(&["resolve", &run, "wait", "done", "--progress", "json"]).expect(2).events().remove(0);
    assert_eq!(refused["code"], "not-asked");
    place.write("go", "");
    said(first.wait_with_output().unwrap()).expect(0);
}

#[test]
fn a_state_folder_that_was_named_is_not_replaced_by_another() {
    // A slip of the pen in `--state-dir` aborted the only unsettled run of the machine, wherever that was.
    let place = Place::new();
    place.waiting("plan", true);
    let mut first = place.started("plan.toml", 1);
    first.kill().unwrap();
    first.wait().unwrap();
    for command in [&["abort", "--yes"][..], &["resume"], &["status"]] {
        let refused = run(place.almaplan(command).args(["--state-dir", "typo", "--progress", "json"])).expect(2);
        assert_eq!(refused.events()[0]["code"], "no-run");
    }
    assert_eq!((place.lines("begun"), place.lines("undone")), (1, 0));
}

#[test]
fn what_a_rollback_on_another_target_needs_is_not_pruned() {
    // Only the newest success of the plan counted, whichever target it was for.
    let place = Place::new();
    fs::create_dir(place.path("source")).unwrap();
    place.write("source/file", "text");
    place.write(
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
        let said = place.say(&["apply", "plan.toml", "--var", &format!("target={target}"), "--progress", "json"]).expect(0);
        place.path(&format!("backups/{target}_{}.zip", said.run()))
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
    let place = Place::new();
    fs::create_dir_all(place.path("plans/deeper")).unwrap();
    fs::create_dir(place.path("app")).unwrap();
    place.waiting("plan", true);
    let text = fs::read_to_string(place.path("plan.toml")).unwrap();
    let locked = |folder: &str| text.replace("name = \"plan\"", &format!("name = \"plan\"\nlock = \"{folder}\""));
    place.write("plan.toml", &locked("./app"));
    place.write("plans/deeper/plan.toml", &locked("../../app").replace(r#", "until", "go", "begun""#, ""));
    let mut first = place.started("plan.toml", 1);
    let refused = || place.say(&["apply", "plans/deeper/plan.toml", "--progress", "json"]).expect(6).events().remove(0)["code"].clone();
    assert_eq!(refused(), "held");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(refused(), "unsettled");
    assert_eq!(place.lines("begun"), 1);
}

#[test]
fn a_run_goes_on_with_the_environment_that_it_was_started_with() {
    let place = Place::new();
    place.waiting("plan", true);
    let text = fs::read_to_string(place.path("plan.toml")).unwrap();
    place.write("plan.toml", &text.replace(r#""after", """#, r#""after", "{{ env.STAGE_OF_TEST }}""#));
    let mut first = start(place.almaplan(&["apply", "plan.toml", "--progress", "json"]).env("STAGE_OF_TEST", "sandbox"));
    wait_until("the step runs", 20, || place.lines("begun") == 1);
    first.kill().unwrap();
    first.wait().unwrap();
    place.write("go", "");
    run(place.almaplan(&["resume"]).env("STAGE_OF_TEST", "production")).expect(0);
    assert_eq!(fs::read_to_string(place.path("after")).unwrap(), "sandbox\n");
}
