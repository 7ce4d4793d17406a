//! Rule 14: what an operator's order to stop leaves behind.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::fake::World;
use super::stage::{Stage, Tape};
use crate::event::{Answer, Outcome, StepId};
use crate::executor::Order;
use crate::journal::Demand;
use crate::update::{Ending, Update};

type Meanwhile = Pin<Box<dyn Future<Output = ()>>>;

pub(super) fn order_when(order: Order, line: &'static str) -> impl FnOnce(Sender<Order>, Tape, Arc<World>) -> Meanwhile {
    move |orders, _, world| {
        Box::pin(async move {
            world.until(line).await;
            orders.send(order).await.unwrap();
        })
    }
}

pub(super) fn kill_when(line: &'static str) -> impl FnOnce(Sender<Order>, Tape, Arc<World>) -> Meanwhile {
    order_when(Order::Kill, line)
}

pub(super) fn stop_when(line: &'static str) -> impl FnOnce(Sender<Order>, Tape, Arc<World>) -> Meanwhile {
    order_when(Order::Stop, line)
}

const CHAIN: &str = "
    [steps]
    a = { uses = \"fake\", compensate = { uses = \"fake\" } }
    b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"hang\", \"\"] }, compensate = { uses = \"fake\" } }
    c = { uses = \"fake\", needs = [\"b\"] }
    [finally]
    f = { uses = \"look\" }";

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_lets_live_work_stop_and_compensates_nothing() {
    let mut stage = Stage::new(CHAIN);
    assert_eq!(stage.apply_while(stop_when("b began")).await.ending, Ending::Interrupted);
    assert_eq!(stage.story(), ["opened", "a started 1", "a succeeded", "b started 1", "b unknown"]);
    assert!(stage.world.updates().contains(&Update::Stopping { grace_s: 10 }));
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" began"), ["a", "b", "b", "c", "finally f"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_during_a_pause_does_not_wait_for_its_end() {
    let mut stage = Stage::new(
        "[steps]\na = { uses = \"fake\", retry = { attempts = 2, backoff = \"5m\" }, with = { acts = [\"clean no\"] }, compensate = \"none\" }",
    );
    let began = Instant::now();
    assert_eq!(stage.apply_while(stop_when("a failed")).await.ending, Ending::Interrupted);
    assert!(began.elapsed() < Duration::from_secs(1));
    // What failed before still counts.
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a"), ["started 1", "failed clean", "started 2", "failed clean"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_kill_returns_at_once_and_leaves_a_journal_to_resume() {
    let mut stage = Stage::new(&CHAIN.replace("hang", "forever"));
    let began = Instant::now();
    assert_eq!(stage.apply_while(kill_when("b began")).await.ending, Ending::Interrupted);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(stage.world.has("b dropped"));
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_second_order_ends_the_wait_for_what_does_not_stop() {
    let mut stage = Stage::new(&CHAIN.replace("hang", "forever"));
    let began = Instant::now();
    let twice = |orders: Sender<Order>, _, world: Arc<World>| async move {
        world.until("b began").await;
        orders.send(Order::Stop).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        orders.send(Order::Kill).await.unwrap();
    };
    assert_eq!(stage.apply_while(twice).await.ending, Ending::Interrupted);
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(stage.story_of("b"), ["started 1", "unknown"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_is_given_up_after_the_grace() {
    let mut stage = Stage::new(&CHAIN.replace("hang", "forever"));
    let began = Instant::now();
    assert_eq!(stage.apply_while(stop_when("b began")).await.ending, Ending::Interrupted);
    // So long it may end by itself, and as long again once it is asked to stop.
    assert_eq!(began.elapsed().as_secs(), 20);
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
}

// Ctrl-C promised 30 s, and cut the step after one.
#[tokio::test(start_paused = true)]
async fn what_ends_within_the_grace_counts_and_what_only_looks_is_not_waited_for() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"sleep 8s\"] } }
        b = { uses = \"look\", with = { acts = [\"sleep 8s\", \"\"] } }
        c = { uses = \"fake\", needs = [\"a\", \"b\"] }",
    );
    let began = Instant::now();
    assert_eq!(stage.apply_while(stop_when("b began")).await.ending, Ending::Interrupted);
    assert_eq!(began.elapsed().as_secs(), 8);
    assert_eq!(
        (stage.story_of("a"), stage.story_of("b")),
        (vec!["started 1".to_owned(), "succeeded".to_owned()], vec!["started 1".to_owned(), "unknown".to_owned()])
    );
    assert!(stage.story_of("c").is_empty(), "nothing more is begun");
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn an_order_to_undo_undoes_at_once() {
    let mut stage = Stage::new(CHAIN);
    assert_eq!(stage.apply_while(order_when(Order::Undo, "b began")).await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" began"), ["a", "b", "undo b", "undo a", "finally f"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_compensation_goes_on_when_resumed() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", compensate = [{ uses = \"fake\" }, { uses = \"fake\", with = { acts = [\"\", \"hang\", \"\"] } }] }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"dirty no\"] } }",
    );
    let stop = |orders: Sender<Order>, tape: Tape, _: Arc<World>| async move {
        while !tape.journal.events().iter().any(|event| format!("{event:?}").contains("UndoStarted { part: 1")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        orders.send(Order::Stop).await.unwrap();
    };
    assert_eq!(stage.apply_while(stop).await.ending, Ending::Interrupted);
    assert_eq!(stage.story_of("a")[2..], ["undo-started 0.1", "undone 0", "undo-started 1.2"]);
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.story_of("a")[5..], ["undo-started 1.3", "undone 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_obeyed_while_leftovers_are_ended() {
    let plan = "[steps]\na = { uses = \"fake\", with = { acts = [\"spawn 7; hang\"] } }";
    for (order, seconds) in [(Order::Kill, 1), (Order::Stop, 60)] {
        let mut stage = Stage::new(plan);
        stage.apply_while(kill_when("a let 7 go")).await;
        stage.world.ends_processes_in(Duration::from_secs(60));
        let began = Instant::now();
        let finished = stage
            .resume_while(|orders, _, _| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                orders.send(order).await.unwrap();
            })
            .await;
        assert_eq!(finished.ending, Ending::Interrupted);
        assert_eq!(began.elapsed().as_secs(), seconds, "{order:?}");
        assert_eq!(stage.world.who(" began"), ["a"], "it was begun although the order was to stop");
    }
}

#[tokio::test(start_paused = true)]
async fn finally_steps_are_run_again_when_they_were_interrupted() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\" }
        [finally]
        f = { uses = \"ask\", with = { acts = [\"hang\", \"\"] } }
        g = { uses = \"look\", needs = [\"f\"], with = { acts = [\"dirty no\"] } }",
    );
    assert_eq!(stage.apply_while(stop_when("finally f began")).await.ending, Ending::Interrupted);
    assert_eq!(stage.story()[3..], ["settled succeeded", "f started 1"]);
    let finished = stage.resume().await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded), "a failed `finally` step changes no outcome");
    assert_eq!(stage.story()[5..], ["resumed", "f started 2", "f succeeded", "g started 1", "g failed dirty"]);
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded), "what is finished stays as it is");
    assert_eq!(stage.world.who("finally g began").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_person_ends_live_work_behind_the_pivot_and_none_before_it() {
    let done = |step: &str| Demand::Resolve {
        step: StepId::new(step),
        answer: Answer::Done { outputs: Default::default(), by: "ana".to_owned(), because: None },
    };
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", pivot = true, compensate = \"none\" }
        watch = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"hang\"] }, compensate = \"none\" }
        last = { uses = \"fake\", needs = [\"watch\"], compensate = \"none\" }",
    );
    let ended = stage
        .apply_while(|_, tape, world| async move {
            world.until("watch began").await;
            tape.demand(done("watch"));
        })
        .await;
    assert_eq!(ended.ending, Ending::Settled(Outcome::Succeeded));
    let story = stage.story();
    assert!(story.windows(2).any(|pair| pair[0] == "watch unknown" && pair[1] == "watch done"), "{story:?}");
    assert_eq!(stage.world.who(" began"), ["a", "watch", "last"]);
    // Before it, what is not done must be undone: nobody can say that it is done while it goes on.
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"sleep 5s\"] }, compensate = \"none\" }
        b = { uses = \"fake\", needs = [\"a\"], pivot = true, compensate = \"none\" }",
    );
    stage
        .apply_while(|_, tape, world| async move {
            world.until("a began").await;
            tape.demand(done("a"));
        })
        .await;
    assert_eq!(stage.story()[1..3], ["a started 1", "a succeeded"]);
}
