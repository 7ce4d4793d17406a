//! An input or output error at every call: the run is left resumable, or compensated, or the call was one of those that may fail.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fixture::{Fixture, Reference, status_is_true};
use super::inject::{Call, Fault, Trace, at_every_call};
use super::plans::{FAILING, Plan, WHOLE};
use crate::support::Said;

/// Of all calls one in so many is tried.
const ONE_IN: usize = 16;

/// Why the run may go on as if nothing had happened, although this call of it failed.
fn harmless(call: &Call, trace: &Trace, said: &Said) -> Option<&'static str> {
    let file = call.path.strip_prefix(".almaplan/").unwrap_or(&call.path);
    // What is shown goes out on a thread of its own, at any time; what is kept of it is kept at once.
    let shown = |call: &Call| call.path == ".almaplan/runs/RUN/updates.jsonl";
    let told = trace.calls.iter().rposition(shown).is_some_and(|last| trace.hit.unwrap() > last);
    let is_sync = |other: &Call| other.name == "fsync" && other.path == call.path;
    let synced_again = || trace.after().iter().any(is_sync);
    let synced_before = || {
        let before = &trace.calls[..trace.hit.unwrap()];
        let opened = before.iter().rposition(|other| other.path == ".almaplan/state.db-shm");
        opened.is_some_and(|opened| before[opened..].iter().any(is_sync))
    };
    match file {
        "out" | "err" => Some("whoever reads may go away at any time"),
        "runs/RUN/mark.log" => Some("what a step prints is shown too, and that it is not kept is said"),
        "runs/RUN/updates.jsonl" => Some("another process may not see all of the run: it decides nothing"),
        "runs/RUN/head" => Some("the witness may lag behind, and is done without where it cannot be written"),
        // What is here was, or is in the WAL until it was, synced: a checkpoint that fails is repeated by whoever writes next.
        "state.db" => Some("what is in the journal is in its WAL, and stays there"),
        "state.db-wal" if call.name == "fsync" && nothing_unsynced(trace) => {
            Some("a checkpoint, as above: what it syncs is synced already")
        }
        "state.db-journal" => Some("the new state keeps the other kind of journal until the next writer, and syncs as much"),
        ".almaplan" if synced_again() || synced_before() => {
            Some("SQLite's own sync, of which it takes no notice: ours comes after it, or came before it when the WAL was there already")
        }
        _ if file.starts_with("app.almaplan-hashes") => Some("who knows no hashes of an earlier run reads files again"),
        "app/modelos" if call.name.starts_with("rename") => Some("a new folder that cannot be moved whole is moved file by file"),
        _ if file.starts_with("backups/") && file.contains(".snapshots/") => Some("the copy of a database is thrown away and made again"),
        _ if told && (file.starts_with("state.db-") || file.starts_with("machine") || file == ".almaplan") => {
            Some("the run is settled and was told; only the note of it is out of date, and `resume` brings it up to date")
        }
        // It tells another restore whose the failed folder is; this one has its name in the journal.
        _ if file.starts_with("app") && said.all().contains(".almaplan-failed.json could not be written") => Some("it was told"),
        _ => None,
    }
}

/// Whether nothing was written to the journal since its last sync that succeeded: what fails now is no append.
fn nothing_unsynced(trace: &Trace) -> bool {
    let before = &trace.calls[..trace.hit.unwrap()];
    before.iter().rev().find(|call| call.path == ".almaplan/state.db-wal").is_some_and(|call| call.name == "fsync")
}

/// Each step, by what only it writes; whose failure is undone writes what begins with the others.
const EFFECTS: [(&str, &str); 4] =
    [("backups", "backup"), ("app.almaplan-staged", "stage"), ("app.restoring", "update"), ("app", "update")];

fn failing_at_every_call(plan: &Plan, fault: Fault) {
    let reference = Reference::of(plan);
    at_every_call(&format!("{fault:?} in {}", plan.name), ONE_IN, &reference.trace, |call| {
        let mut fixture = Fixture::new(plan);
        let (trace, said) = fixture.apply(fault, Some(call));
        if trace.hit.is_some() {
            judge(&mut fixture, plan, &reference, call, &trace, said);
        } else {
            said.expect(plan.code);
        }
        fixture.archives_verify();
        fixture.all_quiet();
        trace
    });
}

fn judge(fixture: &mut Fixture, plan: &Plan, reference: &Reference, call: &Call, trace: &Trace, said: Said) {
    nothing_began_after_a_failed_append(call, trace, &said);
    match said.code {
        0 | 3 => {
            // An error that a step met is one that was told; without any, the run ended as it would have.
            let minded = said.code != plan.code || events(&said).any(|event| event["state"] == "failed" && !is_planned(&event));
            assert!(minded || harmless(call, trace, &said).is_some(), "{call} failed, and nobody minded");
            assert_eq!(&fixture.production(), if said.code == 0 { &reference.after } else { &reference.before }, "{call}");
            let code = said.code;
            let again = fixture.say(&["resume", "--progress", "json"]);
            assert!(again.code == 0 || again.code == code, "{call}: {}", again.all());
        }
        4 | 5 => {
            status_is_true(&fixture.status().unwrap(), &said);
            let resumed = fixture.say(&["resume", "--progress", "json"]);
            assert!(resumed.code == plan.code || resumed.code == 3, "{call}: {}", resumed.all());
            let expected = if resumed.code == 0 { &reference.after } else { &reference.before };
            assert_eq!(&fixture.production(), expected, "{call}");
        }
        1 => {
            assert!(said.stderr.contains("error:") && said.stderr.contains("hint:"), "{call}: {}", said.stderr);
            assert_eq!(fixture.production(), reference.before, "{call}");
            fixture.apply(Fault::None, None).1.expect(plan.code);
        }
        code => panic!("{call}: exit {code}: {}", said.all()),
    }
    let left: Vec<String> =
        fixture.beside().into_iter().filter(|name| !reference.beside.contains(name) && !name.starts_with("/app_failed_")).collect();
    assert!(left.is_empty(), "{call}: {left:?}");
}

/// Rule 1: after an append that failed, only what was live goes on.
fn nothing_began_after_a_failed_append(call: &Call, trace: &Trace, said: &Said) {
    if said.code != 5 || !call.path.starts_with(".almaplan/state.db") {
        return;
    }
    let begins = |event: &Value| event["event"] == "step" && event["state"].as_str().unwrap().ends_with("started");
    let begun: Vec<Value> = events(said).filter(begins).collect();
    for later in trace.after() {
        let Some((_, step)) = EFFECTS.iter().find(|(path, _)| later.path.starts_with(path)) else { continue };
        assert!(begun.iter().any(|event| event["step"] == *step), "{later} after {call} failed: {}", said.stdout);
    }
}

/// The failure that a rollback is made for.
fn is_planned(event: &Value) -> bool {
    event["step"] == "check" && event["error"].as_str().unwrap().contains("exit code 1")
}

/// What was told, as far as it could be.
fn events(said: &Said) -> impl Iterator<Item = Value> {
    said.stdout.lines().filter_map(|line| serde_json::from_str(line).ok())
}

#[test]
fn a_deploy_whose_every_call_fails_once_with_an_error_of_the_disk_is_never_left_half_done() {
    failing_at_every_call(&WHOLE, Fault::Io);
}

#[test]
fn a_deploy_whose_every_call_fails_once_for_want_of_space_is_never_left_half_done() {
    failing_at_every_call(&WHOLE, Fault::NoSpace);
}

#[test]
fn a_rollback_whose_every_call_fails_once_with_an_error_of_the_disk_is_never_left_half_done() {
    // More than 5 s: each call that fails is a whole run of its own, and a recovery.
    failing_at_every_call(&FAILING, Fault::Io);
}

#[test]
fn a_rollback_whose_every_call_fails_once_for_want_of_space_is_never_left_half_done() {
    // More than 5 s: each call that fails is a whole run of its own, and a recovery.
    failing_at_every_call(&FAILING, Fault::NoSpace);
}

/// What a kill does not show: of what was not synced, a machine that stops may keep the name alone.
#[test]
fn what_is_written_is_on_the_disk_before_it_is_put_in_place() {
    let mut folders = BTreeSet::new();
    for plan in [&WHOLE, &FAILING] {
        let calls = Reference::of(plan).trace.calls;
        // Who loses it reads files again.
        let is_record = |call: &Call| call.path.starts_with("app.almaplan-hashes");
        let written = |call: &Call| call.name == "write" && call.path.starts_with("app") && !is_record(call);
        for (at, write) in calls.iter().enumerate().filter(|(_, call)| written(call)) {
            let folder = write.path.split('/').next().unwrap();
            let stays = |call: &Call| call.path.strip_prefix(folder).is_some_and(|below| below.starts_with('/'));
            let is_sync = |call: &Call| match call.name.as_str() {
                "fsync" => call.path == write.path,
                "syncfs" => call.path == folder,
                _ => false,
            };
            let mut before = calls[at..].iter().take_while(|call| call.name != "rename" || stays(call) || is_record(call));
            assert!(before.any(is_sync), "{} is put in place, and {write} was not synced", plan.name);
            folders.insert(folder.to_owned());
        }
    }
    assert!(folders.iter().map(String::as_str).eq(["app", "app.almaplan-staged", "app.restoring-RUN.partial"]), "{folders:?}");
}
