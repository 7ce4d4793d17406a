//! SIGKILL at every call: the run is then finished by `resume`, or undone by `abort`, as if nothing had happened.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::inject::{Call, Fault, Trace, at_every_call};
use crate::plans::{BACKUP, Plan, RESTORE, STAGE, SYNC};
use crate::support::Said;
use crate::world::{self, Tree, World};

/// What an undisturbed run of a plan leaves.
struct Reference {
    trace: Trace,
    before: Tree,
    after: Tree,
    beside: BTreeSet<String>,
}

fn undisturbed(plan: &Plan) -> Reference {
    let mut world = World::new(plan);
    let before = world::before();
    let (trace, said) = world.apply(Fault::None, None);
    said.expect(plan.code);
    world.archives_verify();
    let after = world.production();
    assert_eq!(after != before, plan.deploys);
    Reference { trace, before, after, beside: world.beside() }
}

/// `status` tells what the journal holds; every step that was said to have succeeded has.
fn status_is_true(status: &Value, said: &Said) {
    let steps = status["steps"].as_array().unwrap();
    let next = status["next"].as_array().unwrap();
    match status["state"].as_str().unwrap() {
        "settled" => assert!(next.is_empty(), "{status}"),
        "interrupted" => assert!(next[0].as_str().unwrap().starts_with("almaplan resume"), "{status}"),
        _ => panic!("nobody runs it, and nobody is asked: {status}"),
    }
    assert!(!steps.iter().any(|step| step["state"] == "started"), "nothing runs, and yet: {status}");
    // The last line may be torn.
    for event in said.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["event"] == "step" && event["state"] == "succeeded" && event["phase"] == "forward" {
            let step = steps.iter().find(|step| step["step"] == event["step"]).unwrap();
            let state = step["state"].as_str().unwrap();
            assert!(["succeeded", "undone", "undo-started"].contains(&state), "{step} in {status}");
        }
    }
}

/// Killed at every call, and finished by `resume`.
fn killed_and_resumed(plan: &Plan, fault: Fault) {
    let reference = undisturbed(plan);
    at_every_call(&format!("{fault:?} in {}, resumed", plan.name), &reference.trace, |call| {
        let (mut world, trace) = killed(plan, fault, call, &reference);
        if trace.hit.is_some() {
            let said = world.say(&["resume", "--progress", "json"]);
            if said.stderr.contains("there is no run to go on with") {
                // It never began, or had ended.
                let status = world.status();
                said.expect(0);
                if status.is_none() {
                    assert_eq!(world.production(), reference.before, "{call}");
                    world.apply(Fault::None, None).1.expect(plan.code);
                } else {
                    assert_eq!(status.unwrap()["state"], "settled", "{call}");
                }
            } else {
                said.expect(plan.code);
            }
        }
        ended(&mut world, call, &reference.after, &reference.beside);
        trace
    });
}

/// Killed at every call, and undone by `abort`; after that a new run goes its usual way.
fn killed_and_aborted(plan: &Plan, fault: Fault) {
    let reference = undisturbed(plan);
    at_every_call(&format!("{fault:?} in {}, aborted", plan.name), &reference.trace, |call| {
        let (mut world, trace) = killed(plan, fault, call, &reference);
        if trace.hit.is_some() {
            let said = world.say(&["abort", "--yes", "--progress", "json"]);
            let over = said.all().contains("already-settled") || said.stderr.contains("there is no run to abort");
            match world.status() {
                // It ended before it could be aborted: a rollback undoes it, if it succeeded.
                Some(status) if over && status["outcome"] == "succeeded" => drop(world.say(&["rollback", "--yes"]).expect(0)),
                Some(status) if over => assert_eq!(status["outcome"], "compensated", "{call}"),
                None if over => {}
                _ => drop(said.expect(0)),
            }
            assert_eq!(world.production(), reference.before, "{call}");
            world.archives_verify();
            world.all_quiet();
            world.apply(Fault::None, None).1.expect(plan.code);
        }
        assert_eq!(world.production(), reference.after, "{call}");
        trace
    });
}

fn killed(plan: &Plan, fault: Fault, call: &Call, reference: &Reference) -> (World, Trace) {
    let mut world = World::new(plan);
    let (trace, said) = world.apply(fault, Some(call));
    if trace.hit.is_none() {
        said.expect(plan.code);
        return (world, trace);
    }
    assert_eq!(trace.end, "signal 9", "{call}");
    match world.status() {
        Some(status) => status_is_true(&status, &said),
        None => assert_eq!(world.production(), reference.before, "{call}: nothing began, and yet"),
    }
    (world, trace)
}

fn ended(world: &mut World, call: &Call, tree: &Tree, beside: &BTreeSet<String>) {
    assert_eq!(&world.production(), tree, "{call}");
    assert_eq!(&world.beside(), beside, "{call}");
    world.archives_verify();
    world.all_quiet();
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
    killed_and_aborted(&SYNC, Fault::Kill);
}

#[test]
fn a_restore_killed_at_every_call_is_finished_by_resume() {
    killed_and_resumed(&RESTORE, Fault::Kill);
}

#[test]
fn a_restore_killed_at_every_call_is_finished_by_abort() {
    killed_and_aborted(&RESTORE, Fault::Kill);
}
