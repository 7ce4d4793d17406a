//! The kind `command`.

#[cfg(unix)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

#[cfg(unix)]
use almaplan_engine::context::Context;
use almaplan_engine::event::OnInterrupt;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::command::Command;
use serde_json::json;

#[cfg(unix)]
use super::fixture::sh;
use super::fixture::{context, fake_service, kind, pid_in, runs, script_inputs, until};

#[tokio::test]
async fn arguments_environment_and_output_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in here")).unwrap();
    let (cx, _, seen) = context(folder.path());
    let command: Command = kind(json!({
        "program": fake_service(),
        "args": ["complain", "é", "tell", 5, 5000, true, "a b'\"$(x)", "", "c\\", "exit", 3],
        "cwd": "in here",
        "env": { "A": 1, "HOME": null, "x.y": "dotted" },
        "success_codes": [3],
    }));
    let output = command.run(&cx).await.unwrap();
    assert_eq!(output.code, 3);
    assert_eq!(
        output.stdout,
        "[\"5000\", \"true\", \"a b'\\\"$(x)\", \"\", \"c\\\\\"] \"in here\" [Some(\"1\"), None, Some(\"dotted\")] \"\"\n"
    );
    assert_eq!(output.stderr, "é\n");
    let mut lines = seen.lines();
    lines.sort();
    assert_eq!(lines, [output.stdout.trim_end(), "é"]);
    assert_eq!(seen.spawned().len(), 1);
    assert!(seen.spawned()[0].program.contains("fake_service"), "it names the program, not what held it: {:?}", seen.spawned());
}

#[tokio::test]
async fn a_failure_says_how_it_ended_and_shows_the_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, ..) = context(folder.path());
    let failure = kind::<Command>(script_inputs(&["count", "30", "exit", "7"])).run(&cx).await.unwrap_err();
    assert_eq!(failure.message, format!("`{}` ended with exit code 7", fake_service().display()));
    assert!(!failure.clean);
    assert_eq!(failure.tail, (11..=30).map(|n| n.to_string()).collect::<Vec<_>>());
}

// There are no signals elsewhere.
#[cfg(unix)]
#[tokio::test]
async fn a_failure_names_the_signal_that_ended_it() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, ..) = context(folder.path());
    let failure = kind::<Command>(sh("kill -KILL $$")).run(&cx).await.unwrap_err();
    assert_eq!(failure.message, "`sh` was ended by signal 9 (SIGKILL)");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_clean_failure_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain.txt"), "").unwrap();
    let (cx, _, seen) = context(folder.path());
    // Windows knows what is a program only once it looks into the file.
    let plain = if cfg!(windows) { "plain.txt could not be started" } else { "plain.txt is not an executable file" };
    let missing = ["no", "such", "folder"].join(std::path::MAIN_SEPARATOR_STR);
    for (with, says) in [
        (json!({ "program": "no-such-program" }), "`no-such-program` was not found in PATH"),
        (json!({ "program": "./no-such-script" }), "`./no-such-script` was not found"),
        (json!({ "program": "./plain.txt" }), plain),
        (json!({ "program": fake_service(), "cwd": "no/such/folder" }), &format!("{missing} does not exist")),
        (json!({ "program": "fake_service", "env": { "PATH": "/nowhere" } }), "in PATH (/nowhere)"),
    ] {
        let failure = kind::<Command>(with).run(&cx).await.unwrap_err();
        assert!(failure.clean && failure.message.contains(says), "{failure:?}");
    }
    assert!(seen.spawned().is_empty());
}

#[tokio::test]
async fn a_stopped_command_takes_its_grandchildren_along_even_those_that_tried_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, stop, _) = context(folder.path());
    let command: Command = kind(script_inputs(
        &[
            ["start", "6", "start", "4", "stubborn", "pid", "stubborn", "sleep"].as_slice(),
            &["start", "5", "start-forgetful", "3", "pid", "forgetful", "sleep"],
            &["start-runaway", "3", "pid", "runaway", "sleep", "wait"],
        ]
        .concat(),
    ));
    let command = Command { grace: almaplan_steps::human::DurationOr(std::time::Duration::from_millis(300)), ..command };
    let work = tokio::spawn(async move { command.run(&cx).await });
    let mut children = Vec::new();
    for name in ["stubborn", "forgetful", "runaway"] {
        children.push(pid_in(&folder.path().join(name)).await);
    }
    assert!(children.iter().all(|pid| runs(*pid)));
    let asked = Instant::now();
    stop.cancel();
    let failure = work.await.unwrap().unwrap_err();
    assert_eq!((failure.message.as_str(), failure.clean), ("stopped as asked", false));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(!children.iter().any(|pid| runs(*pid)), "they are gone when it returns, not some time later");
}

/// Where the limit is: nothing tells any more whose such a daemon is. Whoever finds a way to tell deletes this test. On Windows its
/// job tells.
#[cfg(unix)]
#[tokio::test]
async fn a_daemon_without_its_session_its_environment_and_its_parents_is_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, ..) = context(folder.path());
    let daemon = "(env -i setsid sh -c 'echo $$ > daemon; exec sleep 60 > /dev/null 2>&1' &); while [ ! -s daemon ]; do sleep 0.01; done";
    kind::<Command>(sh(daemon)).run(&cx).await.unwrap();
    let daemon = pid_in(&folder.path().join("daemon")).await;
    assert!(runs(daemon));
    almaplan_steps::process::kill_now(&mut almaplan_steps::process::Tree::of(&almaplan_steps::process::identify(daemon).unwrap()));
    until("its end", || !runs(daemon)).await;
}

#[tokio::test]
async fn an_attempt_that_is_torn_down_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, ..) = context(folder.path());
    let work = tokio::spawn(async move { kind::<Command>(script_inputs(&["start", "3", "pid", "child", "sleep", "wait"])).run(&cx).await });
    let child = pid_in(&folder.path().join("child")).await;
    work.abort();
    until("the child's end", || !runs(child)).await;
}

#[tokio::test]
async fn a_command_that_succeeds_does_not_leave_children_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, _, seen) = context(folder.path());
    let command: Command = kind(script_inputs(&["start", "3", "pid", "child", "sleep", "until", "child", "say", "done"]));
    let begun = Instant::now();
    let output = command.run(&cx).await.unwrap();
    assert_eq!(output.stdout, "done\n");
    assert!(!runs(pid_in(&folder.path().join("child")).await));
    assert!(begun.elapsed() < Duration::from_secs(10), "it does not wait for the child's sixty seconds");
    assert!(seen.notes().iter().any(|note| note.contains("child sleep")), "{:?}", seen.notes());
}

#[test]
fn only_what_says_that_it_may_be_repeated_is_run_again_after_an_interruption() {
    assert_eq!(kind::<Command>(script_inputs(&[])).on_interrupt(), OnInterrupt::Ask);
    assert_eq!(kind::<Command>(json!({ "program": "true", "idempotent": true })).on_interrupt(), OnInterrupt::Rerun);
}

#[tokio::test]
async fn a_file_for_the_output_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, "old").unwrap();
    let (cx, ..) = context(folder.path());
    let line = |words| format!("\"{}\" {words}", fake_service().display());
    let command = |words| kind::<Command>(json!({ "program": line(words), "shell": true, "stdout": "dump.sql" }));
    command("say half exit 1").run(&cx).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    let output = command("holds dump.sql old say new").run(&cx).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new\n");
    assert_eq!(output.stdout, "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers");
}

// Read where Linux tells it.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_however_much_is_printed() {
    if super::fixture::in_its_own_process("processes::command::memory_stays_flat_however_much_is_printed") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lines = Arc::new(AtomicU64::new(0));
    let peak = Arc::new(AtomicU64::new(0));
    let before = resident();
    let (counter, highest) = (lines.clone(), peak.clone());
    let updates = Arc::new(move |update| {
        if matches!(update, almaplan_engine::update::Update::Log { .. }) && counter.fetch_add(1, Ordering::Relaxed) % 1000 == 0 {
            highest.fetch_max(resident(), Ordering::Relaxed);
        }
    });
    let cx = Context::standalone(folder.path(), updates);
    // 100 MB without one line end, then 100 MB in lines.
    let line = "x".repeat(999);
    let output = kind::<Command>(sh(&format!("head -c 100000000 /dev/zero; yes {line} | head -c 100000000"))).run(&cx).await.unwrap();
    assert!((63 << 10..=64 << 10).contains(&output.stdout.len()));
    let shown = lines.load(Ordering::Relaxed);
    assert!((30_000..40_000).contains(&shown), "32 MiB are shown and no more: {shown} lines");
    let grown = peak.load(Ordering::Relaxed).max(resident()).saturating_sub(before);
    assert!(grown < 60_000, "grew by {grown} kB");
}

/// In kB.
#[cfg(unix)]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
