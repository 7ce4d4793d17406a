//! Random plans in a random world.

use proptest::prelude::*;

use super::scenario::{Bounds, Scenario, scenarios};
use super::world::{Rest, World};
use super::*;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(6000))]

    /// The invariants are checked after every event, by the world itself.
    #[test]
    fn every_run_ends_settled_or_honestly_resting(scenario in scenarios(Bounds { everything: true })) {
        World::new(scenario).play();
    }

    /// Rule 20.
    #[test]
    fn from_every_rest_a_person_leads_on_to_a_settled_run(scenario in scenarios(Bounds { everything: true })) {
        let mut world = World::new(scenario);
        let rest = world.play();
        prop_assert_ne!(world.is_led_on(rest), Outcome::Stuck);
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn interruptions_leave_no_trace(scenario in scenarios(Bounds { everything: false })) {
        let mut calm = World::new(Scenario { breaks: vec![], ..scenario.clone() });
        let mut stormy = World::new(scenario.clone());
        let (calm_rest, stormy_rest) = (calm.play(), stormy.play());
        prop_assert_eq!(calm_rest, stormy_rest, "{}{}", calm.story(), stormy.story());
        for (i, step) in scenario.shape.steps.iter().enumerate() {
            // What owes nothing may have run or not before the run unwound: that depends on who was faster.
            let same = match calm_rest {
                _ if step.finally => true,
                Rest::Finished(Outcome::Compensated) => step.compensations.is_empty() || calm.ground.steps[i].dirt == stormy.ground.steps[i].dirt,
                _ => calm.saga.step(i).phase == stormy.saga.step(i).phase,
            };
            prop_assert!(same, "{}{}{}", step.id, calm.story(), stormy.story());
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    /// What comes from a journal need not make sense.
    #[test]
    fn any_event_is_folded_or_refused_without_a_trace(scenario in scenarios(Bounds { everything: true }), nonsense in prop::collection::vec(any::<(u8, u8, u8)>(), 1..60)) {
        let count = scenario.shape.steps.len();
        let mut saga = Saga::new(scenario.shape.clone());
        for (what, step, part) in nonsense {
            let event = event(what, usize::from(step) % (count + 1), usize::from(part % 3));
            let before = saga.clone();
            if saga.apply(&event).is_err() {
                prop_assert!(saga == before, "refused, yet not without a trace: {:?}", event);
            }
            let kept = saga.frontier.clone();
            saga.recount();
            prop_assert_eq!(&kept, &saga.frontier, "after {:?}", event);
        }
    }
}

fn event(what: u8, step: Index, part: usize) -> Event {
    let by = "ana".to_owned();
    let debt = || DebtAnswer { part, by: by.clone(), because: None };
    let fact = match what % 28 {
        0 => return resumed(),
        1 => return rebooted(&part.to_string()),
        2 => return aborted(),
        3 => return Event::Run(RunFact::Settled([Outcome::Succeeded, Outcome::Warned, Outcome::Compensated][part])),
        4 => return Event::Run(RunFact::Settled(Outcome::Stuck)),
        5..=8 => Fact::Started {
            attempt: 1,
            on_interrupt: [OnInterrupt::Rerun, OnInterrupt::Ask, OnInterrupt::Compensate][part],
            host: HostId::local(),
        },
        9..=11 => Fact::Succeeded(Value::Null),
        12 => Fact::Failed(Failure::clean("refused")),
        13 => Fact::Failed(Failure::dirty("broke")),
        14 => Fact::Skipped,
        15 => Fact::NotRun,
        16 => Fact::Unknown,
        17 => Fact::Resolved(Answer::Done { outputs: Map::new(), by, because: None }),
        18 => Fact::Resolved(Answer::NotDone { by, because: None }),
        19 | 20 => Fact::UndoStarted { part, attempt: 1, host: HostId::local() },
        21 => Fact::Undone { part },
        22 => Fact::UndoFailed { part, failure: Failure::dirty("broke") },
        23 => Fact::Lost { part: [Part::Action, Part::Finally, Part::Probe][part] },
        24 => Fact::Lost { part: Part::Compensation(part) },
        25 => Fact::Resolved(Answer::Undone(debt())),
        26 => Fact::Resolved(Answer::GivenUp(debt())),
        _ => Fact::Recorded { part: Part::Action, name: "first".to_owned(), value: Value::Null },
    };
    Event::Step(StepId::new(format!("s{step}")), fact)
}

/// A generator that makes only dull plans would prove nothing.
#[test]
fn the_scenarios_are_not_dull() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = scenarios(Bounds { everything: true });
    let (mut outcomes, mut asked, mut answered, mut pivots) = (std::collections::HashMap::new(), 0, 0, 0);
    let (mut rebooted, mut aborted, mut lost) = (0, 0, 0);
    for _ in 0..500 {
        let scenario = strategy.new_tree(&mut runner).unwrap().current();
        pivots += usize::from(scenario.shape.steps.iter().any(|step| step.pivot));
        let mut world = World::new(scenario);
        match world.play() {
            Rest::Finished(outcome) => *outcomes.entry(outcome.as_str()).or_insert(0) += 1,
            Rest::Asked => asked += 1,
        }
        rebooted += usize::from(world.events.iter().any(|event| matches!(event, Event::Run(RunFact::Rebooted { .. }))));
        lost += usize::from(world.events.iter().any(|event| matches!(event, Event::Step(_, Fact::Lost { .. }))));
        aborted += usize::from(world.events.iter().any(|event| matches!(event, Event::Run(RunFact::Aborted { .. }))));
        answered += usize::from(world.events.iter().any(|event| matches!(event, Event::Step(_, Fact::Resolved(_)))));
    }
    for outcome in [Outcome::Succeeded, Outcome::Warned, Outcome::Compensated, Outcome::Stuck] {
        assert!(outcomes.get(outcome.as_str()).is_some_and(|&count| count > 20), "{outcomes:?}");
    }
    assert!(
        asked > 1 && answered > 20 && aborted > 20 && rebooted > 50 && lost > 20 && pivots > 50,
        "{asked} {answered} {aborted} {rebooted} {lost} {pivots}"
    );
}
