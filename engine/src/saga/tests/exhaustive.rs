//! Every plan of up to four steps, every way its steps can go, a crash after every append.

use std::collections::BTreeSet;

use super::scenario::{Interruption, Scenario, Verdict, Work};
use super::world::World;
use super::*;

const PROFILES: usize = 4;

/// A plan with the way each of its steps goes, whatever the names of the steps: which need which, as bits, and the profiles.
type Case = (Vec<u8>, Vec<usize>);

#[test]
fn every_small_plan_survives_a_crash_after_every_append() {
    let cases: Vec<Case> = (1..=4).flat_map(cases).collect();
    assert!(cases.len() > 5000, "only {} plans", cases.len());
    let half = cases.len() / 2;
    let crashes: usize = std::thread::scope(|scope| {
        let halves = [&cases[..half], &cases[half..]].map(|cases| scope.spawn(|| cases.iter().map(survives_every_crash).sum::<usize>()));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    assert!(crashes > 50_000, "only {crashes} crashes");
}

/// Plays a plan without a crash, and crashes a copy of it after each append; gives the number of crashes.
fn survives_every_crash((needs, profiles): &Case) -> usize {
    let mut calm = World::new(scenario(needs, profiles));
    let mut crashed = vec![crash(&calm)];
    let rest = loop {
        if let Some(rest) = calm.play_on() {
            break rest;
        }
        crashed.push(crash(&calm));
    };
    let count = crashed.len();
    for mut world in crashed {
        assert_eq!(world.play(), rest, "{}{}", calm.story(), world.story());
        assert_eq!(effects(&world), effects(&calm), "{}{}", calm.story(), world.story());
    }
    count
}

fn crash(calm: &World) -> World {
    let mut world = calm.clone();
    world.interrupt(Interruption::Crash);
    world
}

/// What is there in the end. Of a run that was not undone, a step that failed may have left more when it was interrupted.
fn effects(world: &World) -> Vec<(bool, bool)> {
    let effect = |i: Index| {
        let ground = &world.ground.steps[i];
        (ground.present.is_some(), world.saga.unwinding() && ground.dirt.contains(&true))
    };
    world.saga.forward().map(effect).collect()
}

fn scenario(needs: &[u8], profiles: &[usize]) -> Scenario {
    let count = needs.len();
    let steps = needs.iter().map(|bits| step(&(0..count).filter(|&needed| bits >> needed & 1 == 1).collect::<Vec<_>>()));
    let work = profiles.iter().map(|profile| match profile {
        0 => Work::default(),
        1 => Work { verdicts: vec![Verdict::FailsClean; 2], ..Work::default() },
        2 => Work { verdicts: vec![Verdict::FailsDirty; 2], ..Work::default() },
        _ => Work { when_is_false: true, ..Work::default() },
    });
    let work = work.map(|work| Work { undo: vec![Default::default()], ..work });
    Scenario {
        shape: shape(steps),
        work: work.collect(),
        breaks: vec![],
        choices: vec![],
        max_parallel: count,
        nobody_answers: false,
        debts_are_answered: false,
    }
}

/// Every case of `count` steps once, up to the names of the steps.
fn cases(count: usize) -> Vec<Case> {
    let orders = permutations(count);
    let edges = count * (count - 1) / 2;
    let mut seen = BTreeSet::new();
    for graph in 0..1u32 << edges {
        // The edges of step i, which may need those before it, are the next i bits.
        let needs: Vec<u8> = (0..count).map(|i| (graph >> (i * (i.saturating_sub(1)) / 2) & ((1 << i) - 1)) as u8).collect();
        for code in 0..PROFILES.pow(count as u32) {
            let profiles: Vec<usize> = (0..count).map(|i| code / PROFILES.pow(i as u32) % PROFILES).collect();
            let least = orders.iter().filter_map(|order| renamed(&needs, &profiles, order)).min();
            seen.insert(least.expect("the steps as they are, are one of the orders"));
        }
    }
    seen.into_iter().collect()
}

/// The case with step i called `order[i]`, if every step still comes after those it needs.
fn renamed(needs: &[u8], profiles: &[usize], order: &[usize]) -> Option<Case> {
    let mut case = (vec![0; needs.len()], vec![0; needs.len()]);
    for (i, bits) in needs.iter().enumerate() {
        case.1[order[i]] = profiles[i];
        for needed in (0..needs.len()).filter(|needed| bits >> needed & 1 == 1) {
            if order[needed] > order[i] {
                return None;
            }
            case.0[order[i]] |= 1 << order[needed];
        }
    }
    Some(case)
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let longer = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    permutations(count - 1).into_iter().flat_map(longer).collect()
}
