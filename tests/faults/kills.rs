//! SIGKILL at every call: the run is then finished by `resume`, or undone by `abort`, as if nothing had happened.

use std::collections::BTreeSet;

use super::fixture::{Fixture, Reference, Tree, status_is_true};
use super::inject::{Call, Fault, Trace, at_every_call};
use super::plans::{BACKUP, PYTHON_ENV, Plan, RESTORE, STAGE, SYNC};

/// Of all calls one in so many is tried.
const ONE_IN: usize = 12;

/// Killed at every call, and finished by `resume`.
fn killed_and_resumed(plan: &Plan, fault: Fault) {
    let reference = Reference::of(plan);
    at_every_call(&format!("{fault:?} in {}, resumed", plan.name), ONE_IN, &reference.trace, |call| {
        let (mut fixture, trace) = killed(plan, fault, call, &reference);
        if trace.hit.is_some() {
            let said = fixture.say(&["resume", "--progress", "json"]);
            if said.stderr.contains("there is no run to go on with") {
                said.expect(0);
                if let Some(status) = fixture.status() {
                    assert_eq!(status["state"], "settled", "{call}");
                } else {
                    assert_eq!(fixture.production(), reference.before, "{call}: it never began, and yet");
                    fixture.apply(Fault::None, None).1.expect(plan.code);
                }
            } else {
                said.expect(plan.code);
            }
        }
        ended(&mut fixture, call, &reference.after, &reference.beside);
        trace
    });
}

/// Killed at every call, and undone by `abort`; after that a new run goes its usual way.
fn killed_and_aborted(plan: &Plan, fault: Fault) {
    let reference = Reference::of(plan);
    at_every_call(&format!("{fault:?} in {}, aborted", plan.name), ONE_IN, &reference.trace, |call| {
        let (mut fixture, trace) = killed(plan, fault, call, &reference);
        if trace.hit.is_some() {
            let said = fixture.say(&["abort", "--yes", "--progress", "json"]);
            let over = said.all().contains("already-settled") || said.stderr.contains("there is no run to abort");
            match fixture.status() {
                // It ended before it could be aborted: a rollback undoes it, if it succeeded.
                Some(status) if over && status["outcome"] == "succeeded" => drop(fixture.say(&["rollback", "--yes"]).expect(0)),
                Some(status) if over => assert_eq!(status["outcome"], "compensated", "{call}"),
                None if over => {}
                _ => drop(said.expect(0)),
            }
            assert_eq!(fixture.production(), reference.before, "{call}");
            fixture.archives_verify();
            fixture.all_quiet();
            fixture.apply(Fault::None, None).1.expect(plan.code);
        }
        assert_eq!(fixture.production(), reference.after, "{call}");
        trace
    });
}

fn killed(plan: &Plan, fault: Fault, call: &Call, reference: &Reference) -> (Fixture, Trace) {
    let mut fixture = Fixture::new(plan);
    let (trace, said) = fixture.apply(fault, Some(call));
    if trace.hit.is_none() {
        said.expect(plan.code);
        return (fixture, trace);
    }
    assert_eq!(trace.end, "signal 9", "{call}");
    match fixture.status() {
        Some(status) => status_is_true(&status, &said),
        None => assert_eq!(fixture.production(), reference.before, "{call}: nothing began, and yet"),
    }
    (fixture, trace)
}

fn ended(fixture: &mut Fixture, call: &Call, tree: &Tree, beside: &BTreeSet<String>) {
    assert_eq!(&fixture.production(), tree, "{call}");
    assert_eq!(&fixture.beside(), beside, "{call}");
    fixture.archives_verify();
    fixture.all_quiet();
}

#[test]
fn a_backup_killed_at_every_call_is_finished_by_resume() {
    killed_and_resumed(&BACKUP, Fault::Kill);
}

#[test]
fn a_backup_killed_at_every_call_is_undone_by_abort() {
    killed_and_aborted(&BACKUP, Fault::Kill);
}

#[test]
fn a_stage_killed_at_every_call_is_finished_by_resume() {
    killed_and_resumed(&STAGE, Fault::Kill);
}

#[test]
fn a_stage_killed_at_every_call_is_undone_by_abort() {
    killed_and_aborted(&STAGE, Fault::Kill);
}

#[test]
fn a_sync_killed_at_every_call_is_finished_by_resume() {
    killed_and_resumed(&SYNC, Fault::Kill);
}

#[test]
fn a_sync_killed_at_every_call_is_undone_by_abort() {
    // More than 5 s: each call is a whole run of its own, a recovery, and where it is undone another run.
    killed_and_aborted(&SYNC, Fault::Kill);
}

#[test]
fn a_restore_killed_at_every_call_is_finished_by_resume() {
    // More than 5 s: each call is a whole run of its own, a recovery, and where it is undone another run.
    killed_and_resumed(&RESTORE, Fault::Kill);
}

#[test]
fn a_restore_killed_at_every_call_is_finished_by_abort() {
    // More than 5 s: each call is a whole run of its own, a recovery, and where it is undone another run.
    killed_and_aborted(&RESTORE, Fault::Kill);
}

#[test]
fn a_python_environment_killed_at_every_call_is_finished_by_resume() {
    // More than 5 s: each call is a whole run of its own, a recovery, and where it is undone another run.
    killed_and_resumed(&PYTHON_ENV, Fault::Kill);
}

#[test]
fn a_python_environment_killed_with_its_children_at_every_call_is_given_up_by_abort() {
    // More than 5 s: each call is a whole run of its own, a recovery, and where it is undone another run.
    killed_and_aborted(&PYTHON_ENV, Fault::KillAll);
}
