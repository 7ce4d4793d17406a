//! Rules 10 and 16, and secrets: what flows from step to step, and what never leaves.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde_json::json;

use super::stage::Stage;
use super::stopping::kill_when;
use crate::event::Outcome;
use crate::update::{Ending, Update};

#[tokio::test(start_paused = true)]
async fn outputs_flow_along_edges_with_their_types() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = ['out {\"n\": [1, 2]}'] } }
        b = { uses = \"fake\", with = { see = \"{{ steps.a.x }}\" } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    assert!(stage.world.has("b saw {\"n\":[1,2]}"), "{:#?}", stage.world.log());
    assert_eq!(stage.outputs("a"), json!({ "x": { "n": [1, 2] } }));
}

#[tokio::test(start_paused = true)]
async fn outputs_of_skipped_and_failed_steps_are_null_and_satisfy_who_needs_them() {
    let mut stage = Stage::new(
        "[steps]
        skipped = { uses = \"fake\", when = \"1 == 2\", with = { acts = [\"out 1\"] }, compensate = { uses = \"fake\" } }
        failed = { uses = \"fake\", on_failure = \"continue\", with = { acts = [\"record before 1; dirty no\"] }, compensate = { uses = \"fake\" } }
        b = { uses = \"fake\", with = { see = [\"{{ steps.skipped.x }}\", \"{{ steps.failed.before }}\", \"{{ steps.skipped.x | default('none') }}\"] } }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Warned));
    assert!(stage.world.has("b saw [null,null,\"none\"]"), "{:#?}", stage.world.log());
    assert_eq!(stage.story_of("skipped"), ["skipped"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_record_stands_through_crashes_and_further_attempts() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"record before 1; record before 2; hang\", \"record before 3; dirty no\"] }, compensate = { uses = \"fake\", with = { see = \"{{ steps.a.before }}\" } } }",
    );
    stage.apply_while(kill_when("a recorded 1")).await;
    assert_eq!(stage.resume().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.log().iter().filter(|line| line.starts_with("a recorded")).collect::<Vec<_>>(), ["a recorded 1"; 3]);
    assert!(stage.world.has("undo a saw 1"));
}

#[tokio::test(start_paused = true)]
async fn finally_steps_see_what_was_recorded_even_by_steps_that_failed() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"record before 1; dirty no\"] }, compensate = \"none\" }
        b = { uses = \"fake\", needs = [\"a\"] }
        [finally]
        f = { uses = \"look\", with = { see = [\"{{ steps.a.before }}\", \"{{ steps.b.x }}\", \"{{ run.outcome }}\"], acts = [\"summary\"] } }
        g = { uses = \"look\", when = \"run.outcome == 'succeeded'\" }
        h = { uses = \"look\", needs = [\"g\"] }",
    );
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert!(stage.world.has("finally f saw [1,null,\"compensated\"]"), "{:#?}", stage.world.log());
    assert_eq!(stage.story_of("g"), ["skipped"]);
    assert!(stage.world.has("finally h done"));
}

#[tokio::test(start_paused = true)]
async fn paths_that_a_run_left_are_kept_from_pruning() {
    let mut stage = Stage::new(
        "[steps]
        a = { uses = \"fake\", with = { acts = [\"record before /backups/one.zip; out /backups/two.zip\"] } }
        b = { uses = \"fake\", needs = [\"a\"], with = { acts = [\"hang\", \"needed\"] } }",
    );
    stage.apply_while(kill_when("b began")).await;
    stage.resume().await;
    let needed = vec![PathBuf::from("/backups/one.zip"), PathBuf::from("/backups/two.zip")];
    assert!(stage.world.has(&format!("b must leave {needed:?}")), "{:#?}", stage.world.log());
}

const SECRET: &str = "p@ss \"wörd\"/12345";

#[tokio::test(start_paused = true)]
async fn a_secret_is_in_no_event_and_in_no_update() {
    // That the secret itself is nowhere is asked after each run; here also that it was there to be found, and its other forms.
    let acts = |acts: &str| format!("{acts} {{{{ secrets.password }}}}");
    let mut stage = Stage::new(&format!(
        "[secrets]
        password = {{ env = \"PASSWORD\" }}
        [steps]
        out = {{ uses = \"fake\", with = {{ acts = ['{}; {}'] }} }}
        prints = {{ uses = \"fake\", needs = [\"out\"], with = {{ acts = ['{}'] }} }}
        coded = {{ uses = \"fake\", needs = [\"prints\"], with = {{ acts = [\"print p%40ss%20%22w%C3%B6rd%22%2F12345; print {}\"] }} }}
        panics = {{ uses = \"fake\", needs = [\"coded\"], on_failure = \"continue\", with = {{ acts = ['{}'] }} }}
        fails = {{ uses = \"fake\", needs = [\"panics\"], with = {{ acts = ['{}'] }}, compensate = {{ uses = \"fake\", on_failure = \"continue\", with = {{ acts = ['{}'] }} }} }}",
        acts("record before"),
        acts("out"),
        acts("print"),
        BASE64.encode(SECRET.as_bytes()),
        acts("panic"),
        acts("dirty"),
        acts("dirty"),
    ))
    .with_secret("password", SECRET);
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    let journal = serde_json::to_string(&stage.tape.journal.events()).unwrap();
    let escaped = serde_json::to_string(SECRET).unwrap();
    assert!(!journal.contains(escaped.trim_matches('"')), "{journal}");
    // The record, the output, the panic and its words, the failure and its tail, the compensation's and its tail.
    assert_eq!(journal.matches("***").count(), 8, "{journal}");
    let lines: Vec<String> = stage
        .world
        .updates()
        .into_iter()
        .filter_map(|update| match update {
            Update::Log { line, .. } => Some(line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["***", "***", "***"], "{lines:?}");
    assert!(!format!("{:?}", stage.world.updates()).contains("12345"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_several_lines_is_masked_line_by_line() {
    // A key from a file, printed by a program: its lines come one by one, and none of them is the secret.
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\r\nhkiG9w0BAQEFAASC\n-----END KEY-----";
    let mut stage = Stage::new(
        "[secrets]
        key = { file = \"key.pem\" }
        [steps]
        a = { uses = \"fake\", with = { acts = [\"print x hkiG9w0BAQEFAASC y; print MIIEvQIBADANBgkq\"] } }
        b = { uses = \"fake\", with = { see = \"{{ secrets.key }}\" } }",
    )
    .with_secret("key", key);
    stage.apply().await;
    let updates = format!("{:?}", stage.world.updates());
    assert!(!updates.contains("hkiG9w0BAQEFAASC") && !updates.contains("MIIEvQIBADANBgkq"), "{updates}");
    assert!(updates.contains("x *** y"), "{updates}");
}
