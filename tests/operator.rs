//! What an operator does: a second apply, Ctrl-C, a closed terminal, a wrong plan, an answer.

use std::fs;

use almaplan_steps::process;
use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{self, Running, Said, interrupt, run, start, wait_until};
#[cfg(unix)]
use crate::support::{Server, command, signal, wrapped};

/// Where the plan of [`Workspace::waiting`] runs, and its process.
fn at_work(idempotent: bool) -> (Workspace, Running) {
    let workspace = Workspace::new();
    workspace.waiting("plan", idempotent);
    let child = workspace.started("plan.toml", 1);
    (workspace, child)
}

/// Presses Ctrl+C, and returns what was said until the end.
fn interrupted(child: Running) -> Said {
    interrupt(&child);
    child.said().expect(5)
}

#[test]
fn ctrl_c_stops_the_step_and_resume_finishes() {
    // On Windows who presses it waits for the end.
    for presses in 1..=if cfg!(windows) { 1 } else { 2 } {
        let (workspace, child) = at_work(true);
        for _ in 1..presses {
            interrupt(&child);
        }
        let stopped = interrupted(child);
        assert_eq!(stopped.outcome(), "interrupted");
        assert_eq!(stopped.states("wait"), ["started", "unknown"]);
        assert!(stopped.stderr.contains("almaplan resume"), "{}", stopped.stderr);
        assert_eq!(process::users_of(&workspace.path("")), Vec::<u32>::new(), "a child is left");
        workspace.write("go", "");
        workspace.say(&["resume"]).expect(0);
        assert_eq!(workspace.lines("begun"), 2);
    }
}

#[test]
#[cfg(unix)] // it sends signals
fn termination_counts_as_ctrl_c() {
    let (workspace, child) = at_work(true);
    signal(child.id(), "-TERM");
    child.said().expect(5);
    assert_eq!(process::users_of(&workspace.path("")), Vec::<u32>::new(), "a child is left");
}

// The terminal was closed after the stop of the old version: production was down until somebody typed `resume`.
#[test]
#[cfg(unix)] // it sends signals
fn a_closed_terminal_stops_nothing_and_what_is_shown_goes_to_the_folder_of_the_run() {
    let (workspace, child) = at_work(true);
    signal(child.id(), "-HUP");
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    let screen = workspace.path(".almaplan/runs").join(&run).join("screen.log");
    wait_until("it shows elsewhere", || screen.is_file());
    assert_eq!(workspace.status()["state"], "running");
    workspace.write("go", "");
    child.said().expect(0);
    let shown = fs::read_to_string(&screen).unwrap();
    assert!(shown.contains("after") && shown.contains(&run) && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(workspace.status()["outcome"], "succeeded");
}

// Ctrl-C promised 30 s, and cut the step after one.
#[test]
#[cfg(unix)] // it sends signals
fn what_ends_within_the_promised_grace_counts() {
    let (workspace, child) = at_work(false);
    interrupt(&child);
    wait_until("it says that it stops", || {
        let run = workspace.status()["run"].as_str().unwrap().to_owned();
        let shown = fs::read_to_string(workspace.path(".almaplan/runs").join(run).join("updates.jsonl")).unwrap_or_default();
        shown.contains("\"stopping\"")
    });
    workspace.write("go", "");
    let stopped = child.said().expect(5);
    assert_eq!(stopped.states("wait"), ["started", "succeeded"]);
    assert_eq!(stopped.states("after"), Vec::<String>::new());
    workspace.say(&["resume"]).expect(0);
    assert_eq!(workspace.lines("begun"), 1);
}

#[test]
#[cfg(target_os = "linux")] // elsewhere nobody tells what is ignored
fn under_nohup_a_closed_terminal_stops_nothing() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let almaplan = workspace.almaplan(&["apply", "plan.toml", "--progress", "json"]);
    let child = start(&mut wrapped(command("nohup"), &almaplan));
    wait_until("the step runs", || workspace.lines("begun") == 1);
    signal(child.id(), "-HUP");
    workspace.write("go", "");
    let done = child.said().expect(0);
    assert_eq!(done.states("after"), ["started", "succeeded"]);
}

#[test]
fn an_interrupted_step_that_cannot_be_repeated_asks_and_is_resolved() {
    let (workspace, child) = at_work(false);
    let run = interrupted(child).run();
    let paused = workspace.say(&["resume", "--progress", "json"]).expect(4);
    assert_eq!(paused.outcome(), "paused");
    let command = format!("almaplan resolve {run} wait done");
    assert!(paused.stderr.contains(&command), "{}", paused.stderr);
    assert_eq!(workspace.status()["questions"][0], "wait");
    workspace.say(&["resolve", &run, "wait", "done"]).expect(0);
    workspace.say(&["resume"]).expect(0);
    assert_eq!(workspace.lines("begun"), 1, "it was run again");
}

#[test]
#[cfg(unix)] // it deploys the Python application; `contract.rs` has the same on small plans
fn a_second_apply_is_refused_until_the_first_is_settled() {
    // More than 5 s: the real application is deployed.
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    server.faults(r#"{"slow_start_s": 3}"#);
    let mut first = start(&mut server.apply_command(&[]));
    let old = server.pid();
    wait_until("the old version is stopped", || !support::alive(old));
    let elsewhere = tempfile::tempdir().unwrap();
    let apply = |server: &Server| run(server.apply_command(&[]).current_dir(elsewhere.path()));
    let refused = apply(&server).expect(6);
    let line: Value = serde_json::from_str(refused.stdout.trim()).unwrap();
    assert_eq!((line["event"].as_str(), line["exit"].as_u64()), (Some("refused"), Some(6)));
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(&first.id().to_string()), "it must name the holder: {message}");
    assert!(!elsewhere.path().join(".almaplan").exists(), "it must touch nothing");
    first.kill();
    let refused = apply(&server).expect(6);
    assert!(refused.all().contains("almaplan resume"), "{}", refused.all());
    // From a folder that knows nothing of the run.
    run(server.almaplan(&["resume"]).current_dir(elsewhere.path())).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
    server.release("3");
    apply(&server).expect(0);
    assert_eq!(server.version().as_deref(), Some("3"));
}

#[test]
#[cfg(unix)] // it deploys the Python application; `contract.rs` has the same on small plans
fn abort_reaches_a_run_that_another_process_is_running() {
    // More than 5 s: the real application is deployed.
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    server.faults(r#"{"slow_start_s": 20}"#);
    let old = server.pid();
    let first = start(&mut server.apply_command(&[]));
    wait_until("the old version is stopped", || !support::alive(old));
    let aborted = server.say(&["abort", "--yes"]).expect(0);
    let first = first.said().expect(3);
    assert_eq!(first.outcome(), "compensated", "{}", aborted.all());
    assert_eq!(server.version().as_deref(), Some("1"));
}

#[test]
fn an_approval_is_answered_while_the_run_waits() {
    let workspace = Workspace::new();
    workspace.write(
        "ask.toml",
        r#"
        format = 1
        [plan]
        name = "ask"
        [steps.ask]
        uses = "approval"
        with = { message = "Go?" }
        [steps.tell]
        uses = "command"
        compensate = "none"
        with = { program = "test_program", args = ["say", "{{ steps.ask.by }}"], stdout = "{{ plan.dir }}/by.txt", idempotent = true }
        "#,
    );
    let first = start(&mut workspace.almaplan(&["apply", "ask.toml", "--progress", "json"]));
    wait_until("the run is recorded", || {
        workspace.path(".almaplan").exists() && workspace.say(&["status", "--json"]).stdout.contains(r#""state":"running""#)
    });
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    workspace.say(&["resolve", &run, "ask", "done"]).expect(0);
    first.said().expect(0);
    assert!(!fs::read_to_string(workspace.path("by.txt")).unwrap().trim().is_empty());
}

#[test]
#[cfg(unix)] // it closes a pseudo-terminal
fn the_application_outlives_the_terminal_it_was_deployed_from() {
    let server = Server::new();
    // A pseudo-terminal that is closed as soon as almaplan ends: whoever is still attached gets SIGHUP.
    let mut terminal = command("python3");
    terminal.args(["-c", "import pty, sys; sys.exit(0 if pty.spawn(sys.argv[1:]) == 0 else 1)"]);
    run(&mut wrapped(terminal, &server.apply_command(&[]))).expect(0);
    assert_eq!(server.version().as_deref(), Some("1"));
    let pid = server.pid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[4], "0", "the application has a controlling terminal: {stat}");
}

#[test]
fn a_plan_with_eight_mistakes_is_pointed_at_in_eight_places() {
    let workspace = Workspace::new();
    workspace.write(
        "wrong.toml",
        r#"format = 1
[plan]
name = "wrong"
langue = "en"

[vars]
port = 80

[steps.a]
uses = "comand"
with = { program = "true" }

[steps.b]
uses = "command"
needs = ["nobody"]
with = { program = "true", agrs = [] }

[steps.c]
uses = "command"
timeout = "soon"
with = { args = [] }

[steps.d]
uses = "command"
needs = ["e"]
with = { program = "{{ vars.prot }}" }

[steps.e]
uses = "command"
needs = ["d"]
with = { program = "{{ steps.b.cod }}" }
"#,
    );
    let checked = workspace.say(&["check", "wrong.toml", "--json"]).expect(2);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    let mistakes: Vec<&Value> = report["mistakes"].as_array().unwrap().iter().filter(|mistake| mistake["severity"] == "error").collect();
    let places: std::collections::BTreeSet<_> =
        mistakes.iter().map(|mistake| (mistake["line"].as_u64(), mistake["column"].as_u64())).collect();
    assert!(places.len() >= 8, "{} places in {report:#}", places.len());
    let seen = |text: &str| mistakes.iter().any(|mistake| mistake.to_string().contains(text));
    for hint in ["lang", "command", "nobody", "args", "soon", "program", "port", "code", "d"] {
        assert!(seen(hint), "nothing about `{hint}` in {report:#}");
    }
    let shown = workspace.say(&["apply", "wrong.toml", "--lang", "en", "--progress", "plain"]).expect(2);
    assert!(shown.stderr.contains("wrong.toml") && shown.stderr.contains("ALM"), "{}", shown.stderr);
    assert!(!workspace.path(".almaplan").exists(), "nothing may be touched");
}

#[test]
fn status_runs_and_logs_tell_of_a_finished_run() {
    let workspace = Workspace::new();
    workspace.write(
        "hello.toml",
        "format = 1\n[plan]\nname = \"hello\"\n[steps.hello]\nuses = \"command\"\ncompensate = \"none\"\nwith = { program = \"test_program\", args = [\"say\", \"hello there\"] }\n",
    );
    let run = workspace.say(&["apply", "hello.toml", "--progress", "json"]).expect(0).run();
    let runs: Value = serde_json::from_str(&workspace.say(&["runs", "--json"]).expect(0).stdout).unwrap();
    assert!(runs.to_string().contains(&run), "{runs}");
    assert!(workspace.say(&["logs", &run]).expect(0).stdout.contains("hello there"));
    assert!(workspace.say(&["logs", &run, "hello"]).expect(0).stdout.contains("hello there"));
    assert_eq!(workspace.status()["outcome"], "succeeded");
    assert_eq!(workspace.say(&["resume"]).expect(0).code, 0, "nothing to do is no error");
}

#[test]
fn a_report_is_one_page_that_tells_what_a_failed_run_did() {
    let workspace = Workspace::new();
    workspace.write(
        "shop.toml",
        r#"
        format = 1
        [plan]
        name = "shop"
        [steps.copy]
        uses = "command"
        with = { program = "test_program", args = ["say", "copying <script>alert(1)</script>"], idempotent = true }
        [steps.copy.compensate]
        uses = "command"
        with = { program = "test_program", args = ["append", "undone", ""], idempotent = true }
        [steps.migrate]
        uses = "command"
        needs = ["copy"]
        compensate = "none"
        with = { program = "test_program", args = ["say", "no such column", "exit", "3"] }
        "#,
    );
    let run = workspace.say(&["apply", "shop.toml", "--progress", "json"]).expect(3).run();
    let missing = workspace.say(&["report", &run, "-o", "missing/report.html"]).expect(2);
    assert!(missing.stderr.contains("report.html") && missing.stderr.contains("folder"), "{}", missing.stderr);
    workspace.write("report.html", "an older one");
    let said = workspace.say(&["report", &run, "-o", "report.html"]).expect(0);
    assert_eq!(said.stdout, "");
    let page = fs::read_to_string(workspace.path("report.html")).unwrap();
    for part in ["<!doctype html>", "shop", &run, "copy", "migrate", "undo: command", "no such column", "exit", "Failed and undone"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(page.contains("copying &lt;script&gt;") && !page.contains("<script"), "{page}");
    let printed = workspace.say(&["report", &run, "-o", "-", "--lang", "pt-BR"]).expect(0);
    assert!(printed.stdout.contains("Linha do tempo") && printed.stdout.contains("Falhou e foi desfeito"), "{}", printed.stdout);

    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    assert_eq!(state.execute("UPDATE events SET body = body || ' ' WHERE seq = 3", []).unwrap(), 1);
    drop(state);
    workspace.say(&["report", &run, "-o", "damaged.html"]).expect(7);
    assert!(!workspace.path("damaged.html").exists());
    workspace.say(&["report", &run, "-o", "report.html"]).expect(7);
    assert_eq!(fs::read_to_string(workspace.path("report.html")).unwrap(), page, "what was there is untouched");
}

#[test]
fn a_run_that_another_process_has_is_reported_too() {
    let (workspace, mut child) = at_work(true);
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    let page = workspace.say(&["report", &run, "-o", "-"]).expect(0).stdout;
    assert!(page.contains(&child.id().to_string()) && page.contains("running"), "{page}");
    workspace.write("go", "");
    assert_eq!(child.code(), 0);
}

#[test]
fn a_damaged_journal_is_refused_and_nothing_is_done() {
    let (workspace, child) = at_work(true);
    interrupted(child);
    let state = rusqlite::Connection::open(workspace.path(".almaplan/state.db")).unwrap();
    let changed = state.execute("UPDATE events SET body = replace(body, 'wait', 'wart') WHERE seq = 2", []).unwrap();
    assert_eq!(changed, 1);
    state.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    drop(state);
    for command in [&["resume"][..], &["status"], &["abort", "--yes"]] {
        workspace.say(command).expect(7);
    }
    assert_eq!(workspace.lines("begun"), 1, "something was done");
}

#[test]
fn a_run_goes_on_with_its_own_copy_of_an_edited_plan() {
    let (workspace, child) = at_work(true);
    interrupted(child);
    let plan = fs::read_to_string(workspace.path("plan.toml")).unwrap();
    workspace.write("plan.toml", &plan.replace("\"begun\"", "\"elsewhere\""));
    workspace.write("go", "");
    let said = workspace.say(&["resume", "--lang", "en"]).expect(0);
    assert!(said.stderr.contains("edited"), "{}", said.stderr);
    assert_eq!(workspace.lines("begun"), 2);
    assert!(!workspace.path("elsewhere").exists());
}

#[test]
fn a_secret_that_is_gone_refuses_the_resume_and_is_never_kept() {
    const CANARY: &str = "canary-7f3a-secret";
    let workspace = Workspace::new();
    workspace.write(
        "secret.toml",
        r#"
        format = 1
        [plan]
        name = "secret"
        [secrets]
        token = { env = "TEST_TOKEN" }
        [steps.use]
        uses = "command"
        compensate = "none"
        with = { program = "test_program", args = ["env", "T", "append", "begun", "", "until", "go", "begun"], env = { T = "{{ secrets.token }}" }, idempotent = true }
        "#,
    );
    let refused = workspace.say(&["apply", "secret.toml"]).expect(2);
    assert!(refused.stderr.contains("token"), "{}", refused.stderr);
    let mut child = start(workspace.almaplan(&["apply", "secret.toml", "--progress", "json"]).env("TEST_TOKEN", CANARY));
    child.wait_until_said("T=***");
    wait_until("the step goes on", || workspace.lines("begun") == 1);
    child.kill();
    let killed = child.said();
    assert!(!killed.all().contains(CANARY), "{}", killed.all());
    workspace.say(&["resume"]).expect(2);
    assert_eq!(workspace.lines("begun"), 1, "a refused resume did something");
    workspace.write("go", "");
    run(workspace.almaplan(&["resume"]).env("TEST_TOKEN", CANARY)).expect(0);
    for (file, _) in support::tree(&workspace.path(".almaplan"), &|_| false) {
        let bytes = fs::read(workspace.path(".almaplan").join(&file)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "it is in {}", file.display());
    }
}

#[test]
fn logs_are_followed_until_the_run_ends() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let plan = fs::read_to_string(workspace.path("plan.toml")).unwrap();
    workspace.write("plan.toml", &plan.replace(r#""until", "go", "begun""#, r#""say", "tick", "until", "go", "begun", "say", "last""#));
    let child = workspace.started("plan.toml", 1);
    let run = workspace.status()["run"].as_str().unwrap().to_owned();
    let follower = start(&mut workspace.almaplan(&["logs", &run, "-f"]));
    wait_until("it is followed", || workspace.say(&["logs", &run]).stdout.contains("tick"));
    workspace.write("go", "");
    child.said().expect(0);
    let followed = follower.said().expect(0);
    assert!(followed.stdout.contains("tick") && followed.stdout.contains("last"), "{}", followed.stdout);
}
