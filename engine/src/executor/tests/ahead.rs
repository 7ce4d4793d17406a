//! Rules 1 and 3: what is durable before what, in how many commits, and what owes nothing. That each attempt, and each process,
//! is durable before it goes on is asked by the fakes themselves, in every test.

use std::fmt::Write as _;

use super::stage::{Loss, Stage};
use crate::event::Outcome;
use crate::saga::StepPhase;
use crate::update::{Ending, State, Update};

#[tokio::test(start_paused = true)]
async fn steps_run_in_order_and_each_begins_after_its_beginning_is_durable() {
    let mut stage = Stage::new("[steps]\nb = { uses = \"fake\", needs = [\"a\"] }\na = { uses = \"fake\" }");
    let finished = stage.apply().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.log(), ["a began", "a done", "b began", "b done"]);
    assert_eq!(stage.story(), ["opened", "a started 1", "a succeeded", "b started 1", "b succeeded", "settled succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_appended_does_not_begin_and_live_work_is_waited_for() {
    let plan = "
        [steps]
        long = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } }
        a = { uses = \"fake\", with = { acts = [\"sleep 1s\"] } }
        b = { uses = \"fake\", needs = [\"a\"] }
        [finally]
        f = { uses = \"fake\" }";
    for loss in [Loss::Lost, Loss::Kept] {
        let mut stage = Stage::new(plan);
        stage.tape.fail_at(2, loss);
        let finished = stage.apply().await;
        assert_eq!(finished.ending, Ending::Interrupted);
        assert!(finished.journal_error.is_some());
        assert_eq!(stage.world.log(), ["long began", "a began", "a done", "long done"]);
        assert_eq!(stage.tape.appends(), 2);
        let shown = stage.shown("b");
        assert!(shown.is_empty(), "what is not durable is not shown: {shown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_appended_stops_the_kind_before_its_effect() {
    let mut stage = Stage::new("[steps]\na = { uses = \"fake\", with = { acts = [\"record before 1; out 2\"] } }");
    stage.tape.fail_at(2, Loss::Lost);
    assert_eq!(stage.apply().await.ending, Ending::Interrupted);
    assert_eq!(stage.world.log(), ["a began", "a failed"]);
    let mut stage = Stage::new("[steps]\na = { uses = \"fake\", with = { acts = [\"spawn 7; out 2\"] } }");
    stage.tape.fail_at(2, Loss::Lost);
    assert_eq!(stage.apply().await.ending, Ending::Interrupted);
    assert_eq!(stage.world.log(), ["a began", "a failed"]);
}

#[tokio::test(start_paused = true)]
async fn what_becomes_wanted_together_shares_one_commit() {
    let mut plan = "[plan]\nname = \"wide\"\nmax_parallel = 64\n[steps]\nfirst = { uses = \"look\" }\n".to_owned();
    for n in 0..50 {
        writeln!(plan, "s{n} = {{ uses = \"fake\", needs = [\"first\"], with = {{ acts = [\"sleep 1s\"] }} }}").unwrap();
    }
    let mut stage = Stage::new(&plan);
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    // The beginning, the fan-out, the ends (which come at one moment), the outcome.
    assert!(stage.tape.appends() <= 5, "{} appends", stage.tape.appends());
    assert_eq!(stage.world.most_live(), 50);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_parallel_is_live_forward_and_back() {
    let mut plan = "[plan]\nname = \"wide\"\nmax_parallel = 3\n[steps]\n".to_owned();
    for n in 0..10 {
        let with = "with = { acts = [\"sleep 1s\"] }";
        writeln!(plan, "s{n} = {{ uses = \"fake\", {with}, compensate = {{ uses = \"fake\", {with} }} }}").unwrap();
    }
    writeln!(plan, "x = {{ uses = \"fake\", needs = [\"s9\"], with = {{ acts = [\"dirty no\"] }} }}").unwrap();
    let mut stage = Stage::new(&plan);
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.most_live(), 3);
    assert_eq!(stage.world.who(" began").len(), 21);
}

#[tokio::test(start_paused = true)]
async fn clean_failures_owe_nothing_and_a_dirty_one_among_them_does() {
    let plan = |acts: &str| {
        format!(
            "[steps]\na = {{ uses = \"fake\", retry = {{ attempts = 2 }}, with = {{ acts = {acts} }}, compensate = {{ uses = \"fake\" }} }}"
        )
    };
    let mut stage = Stage::new(&plan("[\"clean no\"]"));
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.log(), ["a began", "a failed", "a began", "a failed"]);
    let mut stage = Stage::new(&plan("[\"dirty no\", \"clean no\"]"));
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.log()[4..], ["undo a began", "undo a done"]);
}

#[tokio::test(start_paused = true)]
async fn inputs_that_cannot_be_rendered_fail_before_anything_begins() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"out x\"] }, compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", with = { number = \"{{ steps.a.x }}\" }, compensate = { uses = \"fake\" } }",
    );
    let finished = stage.apply().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("b"), ["failed clean"]);
    assert_eq!(stage.world.log(), ["a began", "a done", "undo a began", "undo a done"]);
    let b = finished.saga.find(&crate::event::StepId::new("b")).unwrap();
    assert_eq!(finished.saga.step(b).phase, StepPhase::Failed);
    let message = &finished.saga.step(b).failure.as_ref().unwrap().message;
    assert!(message.starts_with("the inputs of `fake` do not fit: "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_was_lined_up_beside_a_step_that_cannot_begin_is_not_waited_for() {
    // `b` is lined up first, then `c` turns out to be impossible, all before either is durable: the run unwinds, and `b` must be
    // asked to stop like any other live step.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"out x\"] } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }
        c = { uses = \"fake\", needs = [\"a\"], with = { number = \"{{ steps.a.x }}\" } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(!stage.world.has("b began"), "{:#?}", stage.world.log());
    assert_eq!(stage.story_of("b"), ["started 1", "unknown", "undo-started 0.1", "undone 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_dirty_failure_that_unwinds_the_run() {
    let mut stage = Stage::new("[steps]\na = { uses = \"fake\", with = { acts = [\"panic ouch\"] }, compensate = { uses = \"fake\" } }");
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a"), ["started 1", "failed dirty", "undo-started 0.1", "undone 0"]);
    let failure = stage.world.updates().into_iter().find_map(|update| match update {
        Update::Step(step) if step.state == State::Failed => step.failure,
        _ => None,
    });
    assert!(failure.unwrap().message.contains("ouch"));
}
