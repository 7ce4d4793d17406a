//! Plans of ten thousand steps: no timing is asserted, only that they end, and in how many commits.

use std::fmt::Write as _;

use super::stage::{Stage, Tape};
use super::stopping::kill_when;
use crate::event::Outcome;
use crate::journal::Demand;
use crate::update::Ending;

const STEPS: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn a_chain_of_ten_thousand_steps_ends() {
    let mut plan = "[steps]\ns0 = { uses = \"look\" }\n".to_owned();
    for n in 1..STEPS {
        writeln!(plan, "s{n} = {{ uses = \"look\", needs = [\"s{}\"] }}", n - 1).unwrap();
    }
    let mut stage = Stage::new(&plan);
    stage.world.trust_the_journal();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    assert_eq!(stage.world.who(" done").len(), STEPS);
    // Each end shares its commit with the next beginning.
    assert!(stage.tape.appends() <= STEPS as u64 + 2, "{} appends", stage.tape.appends());
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_of_ten_thousand_steps_ends_and_unwinds() {
    let mut plan = "[plan]\nname = \"wide\"\nmax_parallel = 100\n[steps]\nfirst = { uses = \"look\" }\n".to_owned();
    let mut all = String::new();
    for n in 0..STEPS {
        writeln!(plan, "s{n} = {{ uses = \"fake\", needs = [\"first\"], compensate = {{ uses = \"look\" }} }}").unwrap();
        write!(all, "\"s{n}\",").unwrap();
    }
    writeln!(plan, "last = {{ uses = \"fake\", needs = [{all}], with = {{ acts = [\"hang\"] }} }}").unwrap();
    let mut stage = Stage::new(&plan);
    stage.world.trust_the_journal();
    assert_eq!(stage.apply_while(kill_when("last began")).await.ending, Ending::Interrupted);
    assert!(stage.tape.appends() <= STEPS as u64 / 25, "{} appends", stage.tape.appends());
    let finished = stage
        .resume_while(|_, tape: Tape, world| async move {
            world.until("last began").await;
            tape.demand(Demand::Abort { by: "operator".to_owned() });
        })
        .await;
    assert_eq!(finished.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" done").len(), 2 * STEPS + 1);
    assert!(stage.tape.appends() <= STEPS as u64 / 25, "{} appends", stage.tape.appends());
}

// The goal is one commit for all that becomes wanted together, however wide: not one for each step.
#[tokio::test(start_paused = true)]
async fn a_thousand_steps_side_by_side_share_a_handful_of_commits_and_so_do_their_compensations() {
    const WIDE: usize = 1_000;
    let mut plan = format!("[plan]\nname = \"wide\"\nmax_parallel = {WIDE}\n[steps]\nfirst = {{ uses = \"look\" }}\n");
    let mut all = String::new();
    for n in 0..WIDE {
        writeln!(plan, "s{n} = {{ uses = \"fake\", needs = [\"first\"], compensate = {{ uses = \"look\" }} }}").unwrap();
        write!(all, "\"s{n}\",").unwrap();
    }
    let mut stage = Stage::new(&plan);
    stage.world.trust_the_journal();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Succeeded));
    // Whoever ends while a commit goes on shares the next one, and which do is for the scheduler to say.
    assert!(stage.tape.appends() <= 50, "{} appends", stage.tape.appends());
    writeln!(plan, "last = {{ uses = \"fake\", needs = [{all}], with = {{ acts = [\"dirty no\"] }} }}").unwrap();
    let mut stage = Stage::new(&plan);
    stage.world.trust_the_journal();
    assert_eq!(stage.apply().await.ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(stage.world.who(" done").len(), 2 * WIDE + 1);
    assert!(stage.tape.appends() <= 50, "{} appends", stage.tape.appends());
}
