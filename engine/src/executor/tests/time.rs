//! Rule 15 and the limits of attempts: retries, timeouts, and the downtime that was measured.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::Stage;
use crate::event::{Downtime, Event, Outcome, RunFact};
use crate::update::{Ending, State, Update};

#[tokio::test(start_paused = true)]
async fn retries_back_off_longer_each_time_and_are_counted() {
    let mut stage = Stage::new(
        "[steps]\na = { uses = \"fake\", retry = { attempts = 4, backoff = \"10s\" }, with = { acts = [\"flaky 3\"] }, compensate = \"none\" }",
    );
    let began = Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    let took = began.elapsed().as_secs_f64();
    assert!((70.0..=87.5).contains(&took), "10 + 20 + 40 s, each up to a quarter longer: {took}");
    use State::{Retrying, Started, Succeeded};
    assert_eq!(stage.shown("a"), [Started, Retrying, Started, Retrying, Started, Retrying, Started, Succeeded]);
    let attempts: Vec<u32> = stage
        .world
        .updates()
        .into_iter()
        .filter_map(|update| match update {
            Update::Step(step) if step.state == Started => Some(step.attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn other_steps_go_on_while_one_rests() {
    let mut stage = Stage::new(
        "[plan]\nname = \"t\"\nmax_parallel = 1
        [steps]
        a = { uses = \"fake\", retry = { attempts = 2, backoff = \"1m\" }, with = { acts = [\"flaky 1\"] } }
        b = { uses = \"fake\" }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" began"), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_over_waits_for_room() {
    // It woke the loop at once, every time, until the other step had ended: a core kept busy for minutes, and here, where time passes
    // only when nobody is busy, for ever.
    let mut stage = Stage::new(
        "[plan]\nname = \"t\"\nmax_parallel = 1
        [steps]
        a = { uses = \"fake\", retry = { attempts = 2, backoff = \"1s\" }, with = { acts = [\"flaky 1\"] } }
        b = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" began"), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_dirty_failure_and_is_retried() {
    let mut stage = Stage::new(
        "[steps]\na = { uses = \"fake\", timeout = \"5s\", retry = { attempts = 2, backoff = \"1s\" }, with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a")[..4], ["started 1", "failed dirty", "started 2", "failed dirty"]);
    let failure = stage.world.updates().into_iter().find_map(|update| match update {
        Update::Step(step) => step.failure,
        _ => None,
    });
    assert_eq!(failure.unwrap().message, "it took longer than its timeout of 5s");
}

#[tokio::test(start_paused = true)]
async fn work_that_is_done_within_the_grace_after_its_timeout_counts() {
    let mut stage = Stage::new("[steps]\na = { uses = \"fake\", timeout = \"5s\", with = { acts = [\"deaf 9s; out 1\"] } }");
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_stop_at_its_timeout_leaves_the_run_interrupted() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", timeout = \"5s\", with = { acts = [\"forever\", \"\"] }, compensate = { uses = \"fake\" } }
        long = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } }
        next = { uses = \"fake\", needs = [\"long\"] }",
    );
    let began = Instant::now();
    assert_eq!(stage.apply().await.ending, Ending::Interrupted);
    assert_eq!(began.elapsed().as_secs(), 60, "live work is waited for");
    assert_eq!(stage.story_of("a"), ["started 1"]);
    assert_eq!(stage.story_of("long"), ["started 1", "succeeded"]);
    assert!(stage.story_of("next").is_empty());
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
}

const MEASURED: &str = "
    [measure]
    url = \"http://localhost/\"
    [steps]
    swap = { uses = \"fake\", with = { acts = [\"sleep 10s\"] } }
    pivot = { uses = \"fake\", needs = [\"swap\"], pivot = true, irreversible = true }
    last = { uses = \"fake\", needs = [\"pivot\"] }
    [finally]
    f = { uses = \"look\", with = { acts = [\"summary\"] } }";

#[tokio::test(start_paused = true)]
async fn an_irreversible_pivot_is_not_live_before_it_succeeded() {
    let plan = "[steps]\npivot = { uses = \"fake\", pivot = true, irreversible = true, with = { acts = [\"dirty no\"] } }";
    let live = |stage: &Stage| stage.world.updates().iter().any(|update| matches!(update, Update::Live { .. }));
    let mut stage = Stage::new(plan);
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Warned));
    assert!(!live(&stage));
    let mut stage = Stage::new(&plan.replace("dirty no", ""));
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    assert!(live(&stage));
}

fn downtime_of(stage: &Stage) -> Vec<Downtime> {
    let reachable = |event| match event {
        Event::Run(RunFact::Reachable(downtime)) => Some(downtime),
        _ => None,
    };
    stage.tape.journal.events().into_iter().filter_map(reachable).collect()
}

#[tokio::test(start_paused = true)]
async fn downtime_is_measured_and_told_when_the_run_goes_live() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(1_000, 4_000);
    stage.world.away(6_000, 6_500);
    let finished = stage.apply().await;
    let each = downtime_of(&stage);
    assert_eq!(each.len(), 2);
    assert!(each.iter().all(|downtime| !downtime.approximate));
    let total = finished.saga.downtime().unwrap();
    // Each may be overestimated by the pause between two probes.
    assert!((3_500..=3_620).contains(&total.ms), "{total:?}");
    assert!(stage.world.updates().contains(&Update::Live { downtime: Some(total), answers: Some(true) }));
    let reachable: Vec<bool> = stage
        .world
        .updates()
        .into_iter()
        .filter_map(|update| match update {
            Update::Reachable(reachable) => Some(reachable),
            _ => None,
        })
        .collect();
    assert_eq!(reachable, [false, true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn the_service_is_looked_at_once_more_before_the_run_goes_live() {
    // It is back just when the pivot ends, and the meter, which looks every few milliseconds, has not seen it yet.
    let mut stage = Stage::new(&MEASURED.replace("needs = [\"swap\"], ", "needs = [\"swap\"], with = { acts = [\"sleep 2ms\"] }, "));
    stage.world.away(1_000, 10_001);
    stage.apply().await;
    let live = stage.world.updates().into_iter().find_map(|update| match update {
        Update::Live { downtime, .. } => Some(downtime),
        _ => None,
    });
    let ms = live.unwrap().unwrap().ms;
    assert!((9_000..9_100).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn the_service_is_looked_at_once_more_before_the_run_is_settled() {
    let mut stage = Stage::new(
        "[measure]\nurl = \"http://localhost/\"
        [steps]
        swap = { uses = \"fake\", with = { acts = [\"sleep 10s; sleep 2ms\"] } }
        [finally]
        f = { uses = \"look\", with = { acts = [\"sleep 1s\"] } }",
    );
    stage.world.away(1_000, 10_001);
    stage.apply().await;
    let story = stage.story();
    let place = |line: &str| story.iter().position(|told| told == line).unwrap();
    assert!(place("reachable") < place("settled succeeded"), "{story:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answered_has_no_downtime() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(0, 5_000);
    let finished = stage.apply().await;
    assert_eq!(finished.saga.downtime(), None);
    assert_eq!(finished.saga.answers(), Some(true));
    assert!(downtime_of(&stage).is_empty());
}

/// How the run was said to have ended.
fn ended(stage: &Stage) -> (Option<bool>, Option<Downtime>) {
    let ended = stage.world.updates().into_iter().rev().find_map(|update| match update {
        Update::Ended { answers, downtime, .. } => Some((answers, downtime)),
        _ => None,
    });
    ended.unwrap()
}

const FOR_EVER: u64 = 1_000_000_000;

// The new version died a second after the pivot: "A nova versão está no ar", exit 0, while nothing answered.
#[tokio::test(start_paused = true)]
async fn a_service_that_died_is_told_to_be_down_with_the_outage_so_far() {
    let mut stage = Stage::new(&MEASURED.replace("needs = [\"pivot\"] }", "needs = [\"pivot\"], with = { acts = [\"sleep 3s\"] } }"));
    stage.world.away(11_000, FOR_EVER);
    let finished = stage.apply().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded));
    let downtime = finished.saga.downtime().unwrap();
    // From 11 s to 13 s, and the patience of the last question.
    assert!((7_000..=7_300).contains(&downtime.ms) && !downtime.approximate, "{downtime:?}");
    assert_eq!(ended(&stage), (Some(false), Some(downtime)));
    assert_eq!(finished.saga.wrong_answer().unwrap().url, "http://localhost/");
    let story = stage.story();
    let place = |line: &str| story.iter().position(|told| told == line).unwrap();
    assert!(place("asked: does not answer") < place("settled succeeded"), "{story:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_figure_that_was_written_down_is_the_one_that_is_told_in_the_end() {
    let mut stage = Stage::new(&MEASURED.replace("summary", "downtime; sleep 20s"));
    stage.world.away(11_000, FOR_EVER);
    stage.world.away(5_000, 6_000);
    let plan = MEASURED.replace("summary", "downtime; sleep 20s");
    assert!(plan.contains("sleep 20s"));
    stage.apply().await;
    let (answers, downtime) = ended(&stage);
    // It was up when the run was settled, and died while that was written down: that is told, too.
    assert_eq!(answers, Some(false));
    let mut stage = Stage::new(&plan);
    stage.world.away(5_000, 6_000);
    stage.world.away(12_000, 20_000);
    stage.apply().await;
    let told = ended(&stage);
    assert!(downtime.is_some() && told.0 == Some(true), "{told:?}");
    let written = stage.world.who(" written down");
    assert_eq!(written, [format!("finally f: {} ms", told.1.unwrap().ms)], "what happened while it was written down is no part of it");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_down_has_one_figure_too() {
    let mut stage = Stage::new(&MEASURED.replace("summary", "downtime; sleep 20s"));
    stage.world.away(8_000, FOR_EVER);
    stage.apply().await;
    let (answers, downtime) = ended(&stage);
    assert_eq!(answers, Some(false));
    assert_eq!(stage.world.who(" written down"), [format!("finally f: {} ms", downtime.unwrap().ms)]);
}

#[tokio::test(start_paused = true)]
async fn each_address_counts_and_no_moment_counts_twice() {
    let both = MEASURED.replace(
        "url = \"http://localhost/\"",
        "checks = [{ url = \"http://localhost/\", status = 200 }, { url = \"http://localhost/login\", status = [200, 302] }]",
    );
    let mut stage = Stage::new(&both);
    stage.world.address_away("http://localhost/login", 1_000, 4_000);
    stage.world.address_away("http://localhost/", 3_000, 5_000);
    let downtime = stage.apply().await.saga.downtime().unwrap();
    assert!((4_000..=4_120).contains(&downtime.ms), "{downtime:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_still_starting_gets_a_while() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(9_000, 13_000);
    let finished = stage.apply().await;
    assert_eq!(finished.saga.answers(), Some(true));
    assert!((4_000..=4_200).contains(&finished.saga.downtime().unwrap().ms));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_never_up_is_asked_once_where_nothing_was_changed() {
    let mut stage =
        Stage::new("[measure]\nurl = \"http://localhost/\"\n[steps]\na = { uses = \"look\", with = { acts = [\"clean no\"] } }");
    stage.world.away(0, FOR_EVER);
    let began = Instant::now();
    let finished = stage.apply().await;
    assert_eq!((finished.ending, finished.saga.answers()), (Ending::Settled(Outcome::Compensated), Some(false)));
    assert_eq!(finished.saga.downtime(), None, "what was down before is not counted");
    assert!(!finished.saga.changed() && began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_rests_says_whether_the_service_answers() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(1_000, FOR_EVER);
    let stop = |orders: tokio::sync::mpsc::Sender<crate::executor::Order>, _, _| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        orders.send(crate::executor::Order::Stop).await.unwrap();
    };
    let finished = stage.apply_while(stop).await;
    assert_eq!((finished.ending, finished.saga.answers()), (Ending::Interrupted, Some(false)));
    assert_eq!(stage.story().last().unwrap(), "asked: does not answer");
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_the_last_question() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(9_000, FOR_EVER);
    let began = Instant::now();
    let stop = |orders: tokio::sync::mpsc::Sender<crate::executor::Order>, _, _| async move {
        tokio::time::sleep(Duration::from_secs(11)).await;
        orders.send(crate::executor::Order::Stop).await.unwrap();
    };
    stage.apply_while(stop).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn downtime_across_processes_is_approximate() {
    let mut stage = Stage::new(MEASURED);
    stage.world.away(1_000, 12_000);
    let finished = stage
        .apply_while(|orders, _, _| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            orders.send(crate::executor::Order::Kill).await.unwrap();
        })
        .await;
    assert!(finished.saga.down());
    let finished = stage.resume().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded));
    let each = downtime_of(&stage);
    assert_eq!(each.len(), 1);
    assert!(each[0].approximate);
}
