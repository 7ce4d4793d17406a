//! Rules 2, 6, 18 and 19: what a run that was left unsettled does next.

use std::sync::Arc;

use super::fake::World;
use super::stage::{Stage, Tape};
use super::stopping::kill_when;
use crate::event::{Answer, Outcome, StepId};
use crate::journal::Demand;
use crate::update::{Ending, Level, State, Update};

fn probed(probe: &str) -> Stage {
    Stage::new(&format!(
        "[steps]
        a = {{ uses = \"ask\", probe = {{ uses = \"probe\", with = {{ {probe} }} }}, with = {{ acts = [\"record before 1; hang\", \"\"] }}, compensate = {{ uses = \"fake\" }} }}
        b = {{ uses = \"fake\", with = {{ see = \"{{{{ steps.a.before }}}}\" }} }}"
    ))
}

#[tokio::test(start_paused = true)]
async fn a_probe_decides_that_it_was_done() {
    let mut stage = probed("acts = [\"\"]");
    stage.apply_while(kill_when("a recorded 1")).await;
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.story_of("a"), ["started 1", "recorded before 1", "unknown", "done"]);
    assert_eq!(stage.world.who(" began"), ["a", "probe a", "b"]);
    assert!(stage.world.has("b saw 1"), "what it recorded is what it left");
    assert!(stage.shown("a").ends_with(&[State::Unknown, State::Succeeded]));
}

#[tokio::test(start_paused = true)]
async fn a_probe_decides_that_it_was_not_done() {
    let mut stage = probed("acts = [\"is-done\"]");
    stage.apply_while(kill_when("a recorded 1")).await;
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.story_of("a"), ["started 1", "recorded before 1", "unknown", "not-done", "started 2", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_be_asked_decides_nothing_and_pauses_the_run() {
    // A panic, a timeout, inputs that cannot be rendered, leftovers that cannot be ended.
    for (acts, number, ends) in [("panic ouch", "1", true), ("hang", "1", true), ("", "{{ steps.a.before }}", true), ("", "1", false)] {
        let mut stage = Stage::new(&format!(
            "[steps.a]
            uses = \"ask\"
            probe = {{ uses = \"probe\", with = {{ acts = [\"{acts}\"], see = \"{number}\", number = \"{{{{ {} }}}}\" }} }}
            with = {{ acts = [\"spawn 7; record before x; hang\", \"\"] }}",
            number.trim_matches(['{', '}', ' '])
        ));
        if !ends {
            stage.world.cannot_end_processes();
        }
        stage.apply_while(kill_when("a recorded \"x\"")).await;
        assert_eq!(stage.resume().await.ending, Ending::Paused, "{acts} {number} {ends}");
        assert_eq!(stage.story_of("a").last().unwrap(), "unknown");
        assert_eq!(stage.shown("a").last(), Some(&State::Unknown));
        let warned = stage.world.updates().into_iter().any(|update| {
            matches!(update, Update::Note { level: Level::Warning, message, .. } if message.starts_with("its probe cannot be asked: "))
        });
        assert!(warned, "{acts} {number} {ends}");
        // A person knows better.
        let mut executor = stage.taken_over();
        executor
            .resolve(&StepId::new("a"), Answer::Done { outputs: Default::default(), by: "operator".to_owned(), because: None })
            .unwrap();
        assert_eq!(stage.execute(executor, |_, _, _| async {}).await.ending, Ending::Settled(Outcome::Succeeded));
    }
}

const ASKING: &str = "
    [steps]
    a = { uses = \"ask\", with = { acts = [\"hang\", \"\"] }, compensate = { uses = \"fake\" } }
    b = { uses = \"fake\", needs = [\"a\"], with = { see = \"{{ steps.a.x }}\" } }
    other = { uses = \"fake\", with = { acts = [\"sleep 5s\"] } }
    more = { uses = \"fake\", needs = [\"other\"] }
    more-still = { uses = \"fake\", needs = [\"more\"] }";

#[tokio::test(start_paused = true)]
async fn a_question_pauses_the_run_and_an_answer_goes_on() {
    let mut stage = Stage::new(ASKING);
    stage.apply_while(kill_when("a began")).await;
    assert_eq!(stage.resume().await.ending, Ending::Paused);
    assert_eq!(stage.world.who(" began"), ["a", "other"], "nothing new starts");
    let mut executor = stage.taken_over();
    assert_eq!(executor.saga().questions().count(), 1);
    let outputs = [("x".to_owned(), 5.into())].into_iter().collect();
    executor.resolve(&StepId::new("a"), Answer::Done { outputs, by: "operator".to_owned(), because: None }).unwrap();
    assert_eq!(stage.execute(executor, |_, _, _| async {}).await.ending, Ending::Settled(Outcome::Succeeded));
    assert!(stage.world.has("b saw 5"));
    assert_eq!(stage.world.who("a began").iter().filter(|who| who.is_empty()).count(), 1, "it was said to be done");
}

#[tokio::test(start_paused = true)]
async fn a_question_lets_nothing_else_begin_and_not_done_runs_the_step_again() {
    let mut stage = Stage::new(ASKING);
    stage.apply_while(kill_when("a began")).await;
    assert_eq!(stage.resume().await.ending, Ending::Paused);
    let mut executor = stage.taken_over();
    executor.resolve(&StepId::new("a"), Answer::NotDone { by: "operator".to_owned(), because: None }).unwrap();
    let finished = stage.execute(executor, |_, _, _| async {}).await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.story_of("a"), ["started 1", "unknown", "not-done", "started 2", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_live_work() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"ask\", probe = { uses = \"probe\", with = { acts = [\"sleep 1s; panic ouch\"] } }, with = { acts = [\"hang\"] } }
        b = { uses = \"fake\", with = { acts = [\"sleep 1m\"] } }
        c = { uses = \"fake\", needs = [\"a\"] }",
    );
    stage.apply_while(kill_when("a began")).await;
    let began = tokio::time::Instant::now();
    assert_eq!(stage.resume().await.ending, Ending::Paused);
    assert_eq!(began.elapsed().as_secs(), 60);
    assert_eq!(stage.story_of("b").last().unwrap(), "succeeded");
    assert!(stage.story_of("c").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_the_step_that_waits_for_it() {
    let mut stage = Stage::new("[steps]\na = { uses = \"ask\", with = { acts = [\"answer\"] } }");
    let finished = stage
        .apply_while(|_, tape: Tape, world: Arc<World>| async move {
            world.until("a began").await;
            tape.demand(Demand::Resolve { step: StepId::new("a"), answer: Answer::NotDone { by: "operator".to_owned(), because: None } });
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Succeeded));
    assert!(stage.world.has("a was answered NotDone { by: \"operator\", because: None }"));
}

#[tokio::test(start_paused = true)]
async fn what_a_process_that_died_was_asked_reaches_the_next_one_before_it_pauses() {
    // The next process paused at once, without a look at what was asked.
    let by = || "operator".to_owned();
    let answer = Demand::Resolve { step: StepId::new("a"), answer: Answer::Done { outputs: Default::default(), by: by(), because: None } };
    for (demand, outcome) in [(answer, Outcome::Succeeded), (Demand::Abort { by: by() }, Outcome::Compensated)] {
        let mut stage = Stage::new("[steps]\na = { uses = \"ask\", with = { acts = [\"hang\"] }, compensate = { uses = \"fake\" } }");
        stage.apply_while(kill_when("a began")).await;
        stage.next_process();
        stage.tape.demand(demand);
        assert_eq!(stage.resume().await.ending, Ending::Settled(outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_step_is_undone_and_never_run_forward_while_unwinding() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"ask\", with = { acts = [\"sleep 5s\"] }, probe = { uses = \"probe\" }, compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", with = { acts = [\"sleep 1s; dirty no\"] }, compensate = { uses = \"fake\" } }",
    );
    stage.apply_while(kill_when("b failed")).await;
    let mut stage = stage.cut_after("b failed dirty");
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    let began = stage.world.who(" began");
    assert_eq!(began, ["a", "b", "undo a", "undo b"]);
}

const SPAWNS: &str = "
    [steps]
    a = { uses = \"KIND\", with = { acts = [\"spawn 7; hang\", \"processes; spawn 8; hang\", \"processes\"] }, compensate = { uses = \"fake\", with = { see = \"{{ steps.a.pid }}\", acts = [\"processes\"] } } }
    b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"clean no\"] } }";

#[tokio::test(start_paused = true)]
async fn leftovers_are_ended_before_a_step_is_run_again_and_before_it_is_undone() {
    let mut stage = Stage::new(&SPAWNS.replace("KIND", "fake"));
    stage.apply_while(kill_when("a let 7 go")).await;
    stage.resume_while(kill_when("a let 8 go")).await;
    assert!(stage.world.place("7 ended") < stage.world.place("a finds [7]"));
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.place("8 ended") < stage.world.place("a finds [7, 8]"));
    assert!(stage.world.has("undo a saw 8"), "the newest process is what it left: {:#?}", stage.world.log());
    let log = stage.world.log();
    // When the run is gone on with, before the step is run again, and before it is undone.
    assert_eq!(log.iter().filter(|line| *line == "8 ended").count(), 3, "{log:#?}");
    assert!(log.iter().rposition(|line| line == "8 ended") < log.iter().position(|line| line == "undo a began"));
}

// What a killed almaplan left of a command that owes nothing ran on through the whole abort, and after it: nothing ran that step
// again or undid it, and only these ended leftovers.
#[tokio::test(start_paused = true)]
async fn leftovers_of_a_step_that_nobody_runs_again_or_undoes_are_ended_before_anything_is_undone() {
    let plan = "
        [steps]
        a = { uses = \"fake\", compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"spawn 7; hang\"] } }
        c = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"spawn 8\"] } }";
    let mut stage = Stage::new(plan);
    stage.apply_while(kill_when("b let 7 go")).await;
    let mut executor = stage.taken_over();
    executor.abort("operator").unwrap();
    stage.execute(executor, |_, _, _| async {}).await;
    assert!(stage.world.place("7 ended") < stage.world.place("undo a began"), "{:#?}", stage.world.log());
    assert!(!stage.world.has("8 ended"), "its attempt had come to its own end");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_adopts_finds_its_process_alive() {
    let mut stage = Stage::new(&SPAWNS.replace("KIND", "volatile"));
    stage.apply_while(kill_when("a let 7 go")).await;
    stage.resume_while(kill_when("a let 8 go")).await;
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.has("a finds [7, 8]"));
    assert!(!stage.world.has("7 ended") && !stage.world.has("8 ended"), "{:#?}", stage.world.log());
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_leftovers_cannot_be_ended_is_not_begun_beside_them() {
    let mut stage = Stage::new(&SPAWNS.replace("KIND", "fake"));
    stage.apply_while(kill_when("a let 7 go")).await;
    stage.world.cannot_end_processes();
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Stuck));
    assert_eq!(stage.world.who(" began"), ["a"]);
    assert_eq!(stage.story_of("a")[3..], ["started 2", "failed dirty", "undo-started 0.1", "undo-failed 0"]);
}

const SERVICE: &str = "
    [steps]
    copy = { uses = \"fake\", compensate = { uses = \"fake\" } }
    start = { uses = \"volatile\", needs = [\"copy\"], compensate = { uses = \"fake\" } }
    check = { uses = \"look\", needs = [\"start\"] }
    early = { uses = \"look\", needs = [\"copy\"] }
    last = { uses = \"fake\", needs = [\"check\", \"early\"], with = { acts = [\"hang\", \"\"] } }";

#[tokio::test(start_paused = true)]
async fn a_reboot_takes_volatile_work_and_the_checks_that_need_it_back() {
    let mut stage = Stage::new(SERVICE);
    stage.apply_while(kill_when("last began")).await;
    stage.world.reboot("boot-2", &["start"]);
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" began"), ["copy", "start", "early", "check", "last", "start", "check", "last"]);
    assert_eq!(stage.story_of("start"), ["started 1", "succeeded", "started 2", "succeeded"]);
    assert!(stage.world.state().contains_key("start"));
}

#[tokio::test(start_paused = true)]
async fn the_same_boot_takes_nothing_back() {
    let mut stage = Stage::new(SERVICE);
    stage.apply_while(kill_when("last began")).await;
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" began"), ["copy", "start", "early", "check", "last", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_while_unwinding_takes_volatile_compensations_back() {
    let mut stage = Stage::new(
        "[steps]
        copy = { uses = \"fake\", compensate = { uses = \"fake\", with = { acts = [\"hang\", \"\"] } } }
        stop = { uses = \"volatile\", needs = [\"copy\"], compensate = [{ uses = \"look\" }, { uses = \"volatile\" }, { uses = \"look\" }] }
        last = { uses = \"fake\", needs = [\"stop\"], with = { acts = [\"clean no\"] } }",
    );
    stage.apply_while(kill_when("undo copy began")).await;
    stage.world.reboot("boot-2", &[]);
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    let undone: Vec<String> = stage.story_of("stop").into_iter().filter(|line| line.starts_with("undone")).collect();
    assert_eq!(undone, ["undone 0", "undone 1", "undone 2", "undone 1", "undone 2"]);
}
