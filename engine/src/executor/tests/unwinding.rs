//! Rules 4, 5, 7 and 9: how a run unwinds, what stops it, and when it does not unwind any more.

use super::stage::Stage;
use crate::event::{Answer, DebtAnswer, Outcome, StepId};
use crate::journal::Demand;
use crate::update::{Ending, State, Update};

#[tokio::test(start_paused = true)]
async fn unwinding_waits_for_live_work_that_was_asked_to_stop() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"sleep 1s; dirty no\"] }, compensate = { uses = \"fake\" } }
        hangs = { uses = \"fake\", with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }
        slow = { uses = \"fake\", with = { acts = [\"deaf 5s\"] }, compensate = { uses = \"fake\" } }",
    );
    let began = tokio::time::Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(began.elapsed().as_secs(), 5);
    let log = stage.world.log();
    assert_eq!(log[3..6], ["a failed", "hangs failed", "slow done"]);
    assert_eq!(log.iter().filter(|line| line.starts_with("undo") && line.ends_with("done")).count(), 3);
    assert_eq!(stage.story_of("hangs")[..2], ["started 1", "unknown"], "what was stopped did not fail");
    assert_eq!(stage.story_of("slow")[..2], ["started 1", "succeeded"], "work that was done counts");
    assert!(stage.world.state().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_that_will_not_stop_leaves_the_run_interrupted_and_nothing_undone() {
    let mut stage = Stage::new(
        "[steps]
        first = { uses = \"fake\", compensate = { uses = \"fake\" } }
        a = { uses = \"fake\", needs = [\"first\"], with = { acts = [\"sleep 1s; dirty no\"] }, compensate = { uses = \"fake\" } }
        deaf = { uses = \"fake\", needs = [\"first\"], with = { acts = [\"forever\", \"\"] }, compensate = { uses = \"fake\" } }
        [finally]
        f = { uses = \"fake\" }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Interrupted);
    assert!(stage.story().iter().all(|line| !line.contains("undo") && !line.contains("settled")), "{:#?}", stage.story());
    assert_eq!(stage.story_of("deaf"), ["started 1"]);
    let warned = stage.world.updates().into_iter().any(|update| matches!(update, Update::Note { step, .. } if step.as_str() == "deaf"));
    assert!(warned);
    // The next process unwinds without running it again.
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" began"), ["first", "a", "deaf", "undo a", "undo deaf", "undo first", "finally f"]);
}

#[tokio::test(start_paused = true)]
async fn steps_are_undone_after_all_that_needs_them_and_branches_in_parallel() {
    let with = "with = { acts = [\"sleep 1s\"] }";
    let undo = format!("compensate = {{ uses = \"fake\", {with} }}");
    let mut stage = Stage::new(&format!(
        "[steps]
        a = {{ uses = \"fake\", {undo} }}
        left = {{ uses = \"fake\", needs = [\"a\"], {undo} }}
        right = {{ uses = \"fake\", needs = [\"a\"], {undo} }}
        last = {{ uses = \"fake\", needs = [\"left\", \"right\"], with = {{ acts = [\"dirty no\"] }}, {undo} }}"
    ));
    let began = tokio::time::Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(stage.world.who(" began")[4..], ["undo last", "undo left", "undo right", "undo a"]);
    assert!(stage.world.place("undo right done") < stage.world.place("undo a began"));
}

#[tokio::test(start_paused = true)]
async fn the_alarm_comes_when_unwinding_begins_and_names_the_step() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"dirty no\"] } }
        [finally]
        f = { uses = \"fake\" }",
    );
    stage.apply().await;
    let updates = stage.world.updates();
    let alarm = updates.iter().position(|update| {
        matches!(update, Update::Unwinding { because: Some(because), failure: Some(failure), .. } if because.as_str() == "b" && failure.message == "no")
    });
    let undo = updates.iter().position(|update| matches!(update, Update::Step(step) if step.state == State::UndoStarted));
    let finally = updates.iter().position(|update| matches!(update, Update::Step(step) if step.step.as_str() == "f"));
    assert!(alarm.unwrap() < undo.unwrap() && undo.unwrap() < finally.unwrap(), "{updates:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_step_that_counts_as_failed_is_named_as_the_cause() {
    let mut stage = Stage::new(
        "[steps]\na = { uses = \"fake\", on_interrupt = \"compensate\", with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }",
    );
    let killed = stage
        .apply_while(|orders, _, world| async move {
            world.until("a began").await;
            orders.send(crate::executor::Order::Kill).await.unwrap();
        })
        .await;
    assert_eq!(killed.ending, Ending::Interrupted);
    // As if it had been killed before it could write even that.
    let mut stage = stage.cut_after("a started 1");
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    let because = stage.world.updates().into_iter().find_map(|update| match update {
        Update::Unwinding { because, .. } => Some(because),
        _ => None,
    });
    assert_eq!(because.unwrap().map(|step| step.to_string()).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_compensation_has_its_own_timeout_and_retry() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\", timeout = \"3s\", retry = { attempts = 3, backoff = \"2s\" }, with = { acts = [\"hang\", \"dirty no\", \"\"] } } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"clean no\"] } }",
    );
    let began = tokio::time::Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(
        stage.story_of("a")[2..],
        ["undo-started 0.1", "undo-failed 0", "undo-started 0.2", "undo-failed 0", "undo-started 0.3", "undone 0"]
    );
    // 3 s of timeout, then 2 s and 4 s of rest, each up to a quarter longer.
    let took = began.elapsed().as_secs_f64();
    assert!((9.0..10.5).contains(&took), "{took}");
    let undo: Vec<State> = stage.shown("a").into_iter().skip(2).collect();
    use State::{UndoRetrying, UndoStarted, Undone};
    assert_eq!(undo, [UndoStarted, UndoRetrying, UndoStarted, UndoRetrying, UndoStarted, Undone]);
}

#[tokio::test(start_paused = true)]
async fn a_compensation_does_not_wait_for_the_pause_of_the_failed_action() {
    // The step rests for minutes before its next attempt when another one fails: the outage must not last for that pause.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", retry = { attempts = 9, backoff = \"5m\" }, with = { acts = [\"dirty no\"] }, compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", with = { acts = [\"sleep 1s; clean no\"] } }",
    );
    let began = tokio::time::Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(stage.world.who(" began"), ["a", "b", "undo a"]);
}

#[tokio::test(start_paused = true)]
async fn pauses_of_a_compensation_begin_anew() {
    // Three failures of the action, then one of its compensation: the pause is that of a first failure.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", retry = { attempts = 4, backoff = \"1s\" }, with = { acts = [\"flaky 3\"] }, compensate = [
            { uses = \"fake\", retry = { attempts = 2, backoff = \"1s\" }, with = { acts = [\"flaky 1\"] } },
            { uses = \"look\", on_failure = \"continue\", with = { acts = [\"dirty no\"] } },
            { uses = \"look\", with = { acts = [\"\"] } },
        ] }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"clean no\"] } }",
    );
    stage
        .apply_while(|_, _, world| async move {
            world.until("b failed").await;
            let began = tokio::time::Instant::now();
            world.until("undo a failed").await;
            // The second and the third compensation follow at once: a written-off debt is not tried again.
            while world.who("undo a began").len() < 4 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let took = began.elapsed().as_secs_f64();
            assert!((1.0..1.3).contains(&took), "{took}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_compensation_keeps_what_it_depends_on_and_resume_tries_again() {
    let undo = "compensate = { uses = \"fake\" }";
    let mut stage = Stage::new(&format!(
        "[steps]
        a = {{ uses = \"fake\", {undo} }}
        b = {{ uses = \"fake\", needs = [\"a\"], compensate = {{ uses = \"fake\", with = {{ acts = [\"flaky 1\"] }} }} }}
        other = {{ uses = \"fake\", {undo} }}
        last = {{ uses = \"fake\", needs = [\"b\", \"other\"], with = {{ acts = [\"dirty no\"] }}, {undo} }}
        [finally]
        f = {{ uses = \"look\", with = {{ acts = [\"summary\"] }} }}"
    ));
    let finished = stage.apply().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Stuck));
    assert_eq!(stage.world.state().into_keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(stage.world.has("finally f: Some(\"stuck\"), failed [\"last\"], unwound true, owed [\"a\", \"b\"]"));
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.state().is_empty());
    let log = stage.world.log();
    assert_eq!(log[log.len() - 7..log.len() - 2], ["undo b began", "undo b done", "undo a began", "undo a done", "finally f began"]);
    assert!(stage.world.has("finally f: Some(\"compensated\"), failed [\"last\"], unwound true, owed []"));
}

#[tokio::test(start_paused = true)]
async fn a_debt_written_off_lets_the_rest_be_undone_and_is_told() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", needs = [\"a\"], compensate = { uses = \"fake\", on_failure = \"continue\", with = { acts = [\"dirty no\"] } } }
        c = { uses = \"fake\", needs = [\"b\"], with = { acts = [\"clean no\"] } }
        [finally]
        f = { uses = \"look\", with = { acts = [\"summary\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.has("undo a done"));
    assert!(stage.world.has("finally f: Some(\"compensated\"), failed [\"c\"], unwound true, owed [\"b\"]"));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_owes_and_was_written_off_is_listed_once() {
    // One of its compensations was written off and a later one is stuck: `finally` steps were told of it twice.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = [{ uses = \"fake\", on_failure = \"continue\", with = { acts = [\"dirty no\"] } }, { uses = \"fake\", with = { acts = [\"dirty no\"] } }] }
        c = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"dirty no\"] } }
        [finally]
        f = { uses = \"look\", with = { acts = [\"summary\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Stuck));
    assert!(stage.world.has("finally f: Some(\"stuck\"), failed [\"c\"], unwound true, owed [\"a\"]"), "{:#?}", stage.world.log());
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_cannot_be_rendered_fails_like_one_that_was_tried() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"out x\"] }, compensate = { uses = \"fake\", with = { number = \"{{ steps.a.x }}\" } } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"clean no\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Stuck));
    assert_eq!(stage.story_of("a"), ["started 1", "succeeded", "undo-failed 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_compensation_whose_condition_is_false_owes_nothing() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = [{ uses = \"fake\", when = \"steps.a.x is not none\" }, { uses = \"look\" }] }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"clean no\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a")[2..], ["undone 0", "undo-started 1.2", "undone 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_pivot_is_retried_and_then_only_warned_of() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        pivot = { uses = \"fake\", needs = [\"a\"], pivot = true, compensate = { uses = \"fake\" } }
        after = { uses = \"fake\", needs = [\"pivot\"], retry = { attempts = 2, backoff = \"1s\" }, with = { acts = [\"dirty no\"] } }
        then = { uses = \"fake\", needs = [\"after\"] }
        beside = { uses = \"fake\", needs = [\"pivot\"] }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Warned));
    assert_eq!(stage.story_of("after"), ["started 1", "failed dirty", "started 2", "failed dirty"]);
    assert_eq!(stage.story_of("then"), ["not-run"]);
    assert_eq!(stage.story_of("beside"), ["started 1", "succeeded"]);
    assert!(!stage.world.log().iter().any(|line| line.starts_with("undo")));
    let updates = stage.world.updates();
    let live = updates.iter().position(|update| matches!(update, Update::Live { .. })).unwrap();
    let pivot = updates
        .iter()
        .position(|update| matches!(update, Update::Step(step) if step.step.as_str() == "pivot" && step.state == State::Succeeded));
    assert_eq!(live, pivot.unwrap() + 1);
    assert!(!updates.iter().any(|update| matches!(update, Update::Unwinding { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_work_is_live_stops_it_and_unwinds() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }
        c = { uses = \"fake\", needs = [\"b\"] }",
    );
    let finished = stage
        .apply_while(|_, tape, world| async move {
            world.until("b began").await;
            tape.demand(Demand::Abort { by: "operator".to_owned() });
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" began"), ["a", "b", "undo b", "undo a"]);
    assert!(stage.world.updates().iter().any(|update| matches!(update, Update::Unwinding { because: None, .. })));
}

#[tokio::test(start_paused = true)]
async fn an_abort_beside_a_probe_or_a_finally_step_undoes_nothing_before_these_ended() {
    // Neither is live work to the saga: compensations were begun beside them.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        [finally]
        f = { uses = \"fake\", with = { acts = [\"sleep 5s\"] } }",
    );
    let abort = |_, tape: super::stage::Tape, world: std::sync::Arc<super::fake::World>| async move {
        world.until("finally f began").await;
        tape.demand(Demand::Abort { by: "operator".to_owned() });
    };
    assert_eq!(stage.apply_while(abort).await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" began"), ["a", "finally f", "undo a", "finally f"]);

    let mut stage = Stage::new(
        "[steps]
        other = { uses = \"fake\", compensate = { uses = \"fake\" } }
        a = { uses = \"fake\", probe = { uses = \"probe\", with = { acts = [\"deaf 5s\"] } }, with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }",
    );
    stage.apply_while(super::stopping::kill_when("a began")).await;
    let finished = stage
        .resume_while(|_, tape, world| async move {
            world.until("probe a began").await;
            tape.demand(Demand::Abort { by: "operator".to_owned() });
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.place("probe a done") < stage.world.place("undo other began"));
}

#[tokio::test(start_paused = true)]
async fn a_settled_run_can_be_aborted_and_its_finally_steps_run_again() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        [finally]
        f = { uses = \"look\", with = { see = \"{{ run.outcome }}\" } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    let mut executor = stage.taken_over();
    executor.abort("operator").unwrap();
    assert_eq!(stage.execute(executor, |_, _, _| async {}).await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.state().is_empty());
    assert!(stage.world.place("finally f saw \"succeeded\"") < stage.world.place("finally f saw \"compensated\""));
}

/// What a person says of the only compensation of a step.
fn says(step: &str, answer: fn(DebtAnswer) -> Answer) -> Demand {
    let answer = answer(DebtAnswer { part: 0, by: "ana".to_owned(), because: None });
    Demand::Resolve { step: StepId::new(step), answer }
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_somebody_does_by_hand_is_asked_to_stop_before_anything_else_is_undone() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", needs = [\"a\"], compensate = { uses = \"fake\", with = { acts = [\"hang\"] } } }
        c = { uses = \"fake\", needs = [\"b\"], with = { acts = [\"dirty no\"] } }",
    );
    let finished = stage
        .apply_while(|_, tape, world| async move {
            world.until("undo b began").await;
            tape.demand(says("b", Answer::Undone));
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("b").last().unwrap(), "undone by hand 0");
    assert!(stage.world.place("undo b failed") < stage.world.place("undo a began"));
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_good_is_given_up_while_the_rest_is_still_being_undone() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", needs = [\"a\"], compensate = { uses = \"fake\", with = { acts = [\"dirty no\"] } } }
        slow = { uses = \"fake\", compensate = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } } }
        c = { uses = \"fake\", needs = [\"b\", \"slow\"], with = { acts = [\"dirty no\"] } }",
    );
    let finished = stage
        .apply_while(|_, tape, world| async move {
            world.until("undo b failed").await;
            tape.demand(says("b", Answer::GivenUp));
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("b").last().unwrap(), "given up 0");
    assert!(stage.world.place("undo a done") < stage.world.place("undo slow done"), "it waits for nothing else");
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_its_end_by_itself_needs_no_answer_any_more() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = [{ uses = \"fake\", with = { acts = [\"deaf 5s\"] } }, { uses = \"fake\" }] }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"dirty no\"] } }",
    );
    let finished = stage
        .apply_while(|_, tape, world| async move {
            world.until("undo a began").await;
            tape.demand(says("a", Answer::Undone));
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a")[2..], ["undo-started 0.1", "undone 0", "undo-started 1.2", "undone 1"]);
}
