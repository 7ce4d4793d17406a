//! Random small plans with scripted faults, the journal failing at every append in turn, recovery crashed again: what is left in the
//! world at the end must be what an uncrashed run leaves.
//!
//! Faults are the steps' own (one that fails always fails, a flaky one fails its first runs), so that the way a run ends does not depend
//! on crashes; which steps ran before it unwinds may, and all of these must be made up for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::fake::State;
use super::stage::{Loss, Stage, load};
use crate::event::Outcome;
use crate::executor::{Finished, Order};
use crate::plan::Plan;
use crate::saga::Phase;
use crate::step::Registry;
use crate::update::Ending;

const SEEDS: u64 = 320;

/// SplitMix64: the same plans everywhere, for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    /// `percent` times out of a hundred.
    fn falls(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// What was made up of a step.
#[derive(Debug, Clone, Default)]
struct Drawn {
    needs: BTreeSet<usize>,
    volatile: bool,
    fails_clean: bool,
    compensated: bool,
    undo_fails: bool,
    written_off: bool,
}

struct Case {
    seed: u64,
    text: String,
    drawn: Vec<Drawn>,
    plan: Arc<Plan>,
    registry: Arc<Registry>,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 1 + dice.roll(6) as usize;
        let pivot = dice.falls(35).then(|| dice.roll(count as u64) as usize);
        let mut text = format!("[plan]\nname = \"drawn\"\nmax_parallel = {}\n", 1 + dice.roll(4));
        let mut drawn = Vec::new();
        for step in 0..count {
            let ordered = pivot.filter(|&pivot| pivot < step);
            let needs = (0..step).filter(|&other| pivot == Some(step) || ordered == Some(other) || dice.falls(35)).collect();
            drawn.push(draw_step(step, needs, pivot == Some(step), &mut dice, &mut text));
        }
        text.push_str("[finally.f]\nuses = \"look\"\nwith = { acts = [\"sleep 1s\"] }\n");
        let (plan, registry) = load(&text);
        Self { seed, text, drawn, plan, registry }
    }

    fn stage(&self) -> Stage {
        Stage::of(Arc::clone(&self.plan), Arc::clone(&self.registry))
    }

    fn needs_indirectly(&self, step: usize, other: usize) -> bool {
        self.drawn[step].needs.iter().any(|&needed| needed == other || self.needs_indirectly(needed, other))
    }

    fn volatile(&self) -> Vec<String> {
        (0..self.drawn.len()).filter(|&step| self.drawn[step].volatile).map(|step| format!("s{step}")).collect()
    }
}

fn draw_step(step: usize, needs: BTreeSet<usize>, pivot: bool, dice: &mut Dice, text: &mut String) -> Drawn {
    let mut drawn = Drawn { needs, volatile: dice.falls(20), compensated: dice.falls(75), ..Drawn::default() };
    let probed = !drawn.volatile && dice.falls(25);
    let kind = if drawn.volatile { "volatile" } else { ["fake", "ask"][usize::from(probed)] };
    writeln!(text, "[steps.s{step}]\nuses = \"{kind}\"\npivot = {pivot}").unwrap();
    writeln!(text, "needs = {:?}", drawn.needs.iter().map(|needed| format!("s{needed}")).collect::<Vec<_>>()).unwrap();
    if probed {
        text.push_str("probe = { uses = \"probe\", with = { acts = [\"is-done\"] } }\n");
    }
    if dice.falls(15) {
        text.push_str("on_failure = \"continue\"\n");
    }
    let fate = match dice.roll(100) {
        0..12 => "dirty no",
        12..20 => "clean no",
        20..35 => "flaky 1",
        _ => "out 1",
    };
    drawn.fails_clean = fate == "clean no";
    let attempts = if fate == "flaky 1" { 9 } else { 1 + dice.roll(2) };
    writeln!(text, "retry = {{ attempts = {attempts}, backoff = \"100ms\" }}").unwrap();
    writeln!(text, "with = {{ acts = [\"sleep {}ms; {fate}\"] }}", dice.roll(4) * 700).unwrap();
    if drawn.compensated {
        draw_compensation(&mut drawn, dice, text);
    } else {
        text.push_str("compensate = \"none\"\n");
    }
    drawn
}

fn draw_compensation(drawn: &mut Drawn, dice: &mut Dice, text: &mut String) {
    let (fate, attempts, on_failure) = match dice.roll(100) {
        0..10 => ("dirty no", 2, "stop"),
        10..18 => ("dirty no", 1, "continue"),
        18..35 => ("flaky 1", 9, "stop"),
        _ => ("out 1", 1, "stop"),
    };
    drawn.written_off = on_failure == "continue";
    drawn.undo_fails = fate == "dirty no" && !drawn.written_off;
    let sleep = dice.roll(3) * 500;
    let retry = format!("on_failure = \"{on_failure}\", retry = {{ attempts = {attempts}, backoff = \"100ms\" }}");
    writeln!(text, "compensate = {{ uses = \"fake\", {retry}, with = {{ acts = [\"sleep {sleep}ms; {fate}\"] }} }}").unwrap();
}

fn outcome(finished: &Finished) -> Option<Outcome> {
    match finished.ending {
        Ending::Settled(outcome) => Some(outcome),
        Ending::Interrupted => None,
        Ending::Paused => panic!("nobody is to be asked here"),
    }
}

fn done(stage: &Stage) -> Vec<String> {
    stage.world.state().into_iter().filter(|(_, state)| *state == State::Done).map(|(step, _)| step).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_crashed_anywhere_leaves_what_an_uncrashed_one_leaves() {
    let mut crashes = 0;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..SEEDS {
        let case = Case::draw(seed);
        let mut stage = case.stage();
        let uncrashed = outcome(&stage.apply().await).expect("nothing interrupts it");
        judge(&case, &stage, uncrashed, uncrashed, &done(&stage), "uncrashed");
        seen.insert(uncrashed.as_str());
        for append in 1..=stage.tape.appends() {
            let loss = [Loss::Lost, Loss::Kept][(seed + append) as usize % 2];
            let mut crashed = case.stage();
            crashed.tape.fail_at(append, loss);
            let outcome = recovered(&case, &mut crashed, seed ^ append << 32).await;
            judge(&case, &crashed, outcome, uncrashed, &done(&stage), &format!("{loss:?} at {append}"));
            crashes += 1;
        }
    }
    assert_eq!(seen.len(), 4, "every outcome is among these plans: {seen:?}");
    assert!(crashes > 2_000, "{crashes}");
}

/// Resumes until the run is settled; the first processes that try are crashed, killed and rebooted themselves.
async fn recovered(case: &Case, stage: &mut Stage, seed: u64) -> Outcome {
    let mut dice = Dice(seed);
    let mut finished = stage.apply().await;
    for process in 0..6 {
        if let Some(outcome) = outcome(&finished) {
            return outcome;
        }
        stage.next_process();
        if process < 3 && dice.falls(50) {
            stage.tape.fail_at(1 + dice.roll(8), [Loss::Lost, Loss::Kept][dice.roll(2) as usize]);
        }
        // A run that is finished promises nothing more.
        if dice.falls(20) && !stage.executor().saga().finished() {
            let gone = case.volatile();
            stage.world.reboot(&format!("boot-{}", process + 2), &gone.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let killed_after = (process < 3 && dice.falls(30)).then(|| Duration::from_millis(dice.roll(4_000)));
        finished = stage
            .resume_while(|orders, _, _| async move {
                if let Some(after) = killed_after {
                    tokio::time::sleep(after).await;
                    // It may be gone by now.
                    let _ = orders.send(Order::Kill).await;
                }
            })
            .await;
    }
    outcome(&finished).expect("nothing interrupts the last processes")
}

fn judge(case: &Case, stage: &Stage, outcome: Outcome, uncrashed: Outcome, done_uncrashed: &[String], what: &str) {
    let about = || format!("seed {}, {what}\n{}\n{:#?}\n{:#?}", case.seed, case.text, stage.world.log(), stage.story());
    let unwound = |outcome| matches!(outcome, Outcome::Compensated | Outcome::Stuck);
    assert_eq!(unwound(outcome), unwound(uncrashed), "{outcome:?} instead of {uncrashed:?}: {}", about());
    in_order(case, stage, &about);
    if !unwound(outcome) {
        assert_eq!(outcome, uncrashed, "{}", about());
        assert_eq!(done(stage), done_uncrashed, "{}", about());
        return;
    }
    let saga = stage.executor().saga().clone();
    let stuck: Vec<usize> = (0..case.drawn.len()).filter(|&i| matches!(saga.step(i).phase, Phase::UndoFailed(_))).collect();
    assert_eq!(!stuck.is_empty(), outcome == Outcome::Stuck, "{}", about());
    for (step, drawn) in case.drawn.iter().enumerate() {
        let needed_by_stuck = stuck.iter().any(|&stuck| case.needs_indirectly(stuck, step));
        if stuck.contains(&step) {
            assert!(drawn.undo_fails, "s{step} is stuck without a reason: {}", about());
        } else if needed_by_stuck {
            assert!(!stage.world.has(&format!("undo s{step} began")), "s{step} was taken from under a stuck step: {}", about());
        } else if drawn.compensated && !drawn.written_off {
            assert!(!stage.world.state().contains_key(&format!("s{step}")), "s{step} was not made up for: {}", about());
        }
    }
}

/// What holds at each moment of a run, through all its processes.
fn in_order(case: &Case, stage: &Stage, about: &dyn Fn() -> String) {
    let log = stage.world.log();
    let mut unwinding = false;
    for (at, line) in log.iter().enumerate() {
        let Some(name) = line.strip_suffix(" began") else { continue };
        match name.strip_prefix("undo s") {
            None if name.starts_with("finally") => {}
            None => assert!(!unwinding, "`{line}` after unwinding began: {}", about()),
            Some(step) => {
                unwinding = true;
                let step: usize = step.parse().unwrap();
                for other in (0..case.drawn.len()).filter(|&other| case.needs_indirectly(other, step)) {
                    assert!(owes_nothing(case, other, &log[..at]), "`{line}` while s{other} needs it: {}", about());
                }
            }
        }
    }
}

fn owes_nothing(case: &Case, step: usize, log: &[String]) -> bool {
    let drawn = &case.drawn[step];
    let (run, undo) = (format!("s{step} "), format!("undo s{step} "));
    let last = log.iter().rev().find(|line| line.starts_with(&run) || line.starts_with(&undo));
    !drawn.compensated || drawn.written_off || drawn.fails_clean || last.is_none_or(|last| *last == format!("{undo}done"))
}
