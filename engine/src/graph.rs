//! The order of a plan: edges from `needs` and from references to outputs (rule 16), what comes before what.
//!
//! Nodes are the indices of [`Plan::steps`]; the `finally` steps are a second, separate graph over the indices of [`Plan::finally`].
//! A checked plan has no cycle; finding them and saying so is `plan::check`'s, with `cycles`. Everything here is linear in the
//! number of steps and edges, and nothing recurses: plans may be generated, and long.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::event::StepId;
use crate::plan::{Plan, PlannedStep, steps_referred};

/// Who needs whom.
#[derive(Debug, Clone)]
pub struct Graph {
    steps: Edges,
    finally: Edges,
}

/// The edges of one graph, both ways, without doubles, and an order in which every step comes after what it needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edges {
    needs: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    order: Vec<usize>,
}

impl Graph {
    /// The graph of a checked plan.
    pub fn of(plan: &Plan) -> Self {
        Self { steps: Edges::new(needs_of(&plan.steps)), finally: Edges::new(needs_of(&plan.finally)) }
    }

    /// How many steps there are, without the `finally` ones.
    pub fn len(&self) -> usize {
        self.steps.needs.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.needs.is_empty()
    }

    /// What step `i` needs directly, each once, in the order of the file.
    pub fn needs(&self, i: usize) -> &[usize] {
        &self.steps.needs[i]
    }

    /// Who needs step `i` directly, each once, in the order of the file.
    pub fn dependents(&self, i: usize) -> &[usize] {
        &self.steps.dependents[i]
    }

    /// Every step after all that it needs; where that leaves a choice, in the order of the file.
    pub fn order(&self) -> &[usize] {
        &self.steps.order
    }

    /// What `finally` step `i` needs directly.
    pub fn finally_needs(&self, i: usize) -> &[usize] {
        &self.finally.needs[i]
    }

    /// As [`Graph::order`], of the `finally` steps.
    pub fn finally_order(&self) -> &[usize] {
        &self.finally.order
    }

    /// Whether step `b` needs step `a`, directly or not.
    pub fn is_ancestor(&self, a: usize, b: usize) -> bool {
        self.steps.needs[b].binary_search(&a).is_ok() || self.steps.ancestors(b)[a]
    }
}

impl Edges {
    /// The edges to these direct predecessors of each step.
    pub(crate) fn new(mut needs: Vec<Vec<usize>>) -> Self {
        let mut dependents = vec![Vec::new(); needs.len()];
        for (step, needed) in needs.iter_mut().enumerate() {
            needed.sort_unstable();
            needed.dedup();
            for &need in needed.iter() {
                dependents[need].push(step);
            }
        }
        let order = order(&needs, &dependents);
        Self { needs, dependents, order }
    }

    pub(crate) fn ancestors(&self, step: usize) -> Vec<bool> {
        reach(&self.needs, step)
    }

    pub(crate) fn descendants(&self, step: usize) -> Vec<bool> {
        reach(&self.dependents, step)
    }

    /// Of each pair whether the second needs the first, directly or not: one pass over the graph for each 64 different first members.
    pub(crate) fn are_ancestors(&self, pairs: &[(usize, usize)]) -> Vec<bool> {
        let mut answers: Vec<bool> = pairs.iter().map(|&(a, b)| self.needs[b].binary_search(&a).is_ok()).collect();
        let mut open: HashMap<usize, Vec<usize>> = HashMap::new();
        for (pair, _) in answers.iter().enumerate().filter(|(_, direct)| !**direct) {
            open.entry(pairs[pair].0).or_default().push(pair);
        }
        let open: Vec<_> = open.into_iter().collect();
        for batch in open.chunks(64) {
            let mut own = vec![0u64; self.needs.len()];
            for (bit, (a, _)) in batch.iter().enumerate() {
                own[*a] = 1 << bit;
            }
            let mut marks = vec![0u64; self.needs.len()];
            for &step in &self.order {
                marks[step] = self.needs[step].iter().fold(0, |mark, &need| mark | marks[need] | own[need]);
            }
            for (bit, (_, asked)) in batch.iter().enumerate() {
                for &pair in asked {
                    answers[pair] = marks[pairs[pair].1] & (1 << bit) != 0;
                }
            }
        }
        answers
    }
}

/// Topological, the first in the file first. Steps on a cycle, which a checked plan does not have, are left out.
fn order(needs: &[Vec<usize>], dependents: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<_> = (0..needs.len()).filter(|&step| missing[step] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(step)) = ready.pop() {
        order.push(step);
        for &dependent in &dependents[step] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.push(Reverse(dependent));
            }
        }
    }
    order
}

fn reach(edges: &[Vec<usize>], from: usize) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut open = vec![from];
    while let Some(step) = open.pop() {
        for &next in &edges[step] {
            if !reached[next] {
                reached[next] = true;
                open.push(next);
            }
        }
    }
    reached
}

fn needs_of(steps: &[PlannedStep]) -> Vec<Vec<usize>> {
    let places: HashMap<&str, usize> = steps.iter().enumerate().map(|(place, step)| (step.id.as_str(), place)).collect();
    let needed = |step: &PlannedStep| {
        let referred = steps_referred(step);
        let named = step.needs.iter().map(StepId::as_str).chain(referred.iter().map(String::as_str));
        named.filter(|id| *id != step.id.as_str()).filter_map(|id| places.get(id).copied()).collect()
    };
    steps.iter().map(needed).collect()
}

/// Every knot of steps that need each other, each as one shortest cycle that starts at its first step in the file.
/// `needs` may hold doubles; a step that needs itself is not told here.
pub(crate) fn cycles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let knots = knots(needs).into_iter().filter(|knot| knot.len() > 1);
    let mut cycles: Vec<_> = knots.filter_map(|knot| shortest_cycle(needs, knot.into_iter().collect())).collect();
    cycles.sort();
    cycles
}

/// The strongly connected components, as Kosaraju finds them: a walk along the edges leaves each before whatever leads to it.
fn knots(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); needs.len()];
    for (step, needed) in needs.iter().enumerate() {
        needed.iter().for_each(|&need| dependents[need].push(step));
    }
    let mut reached = vec![false; needs.len()];
    let left: Vec<usize> = (0..needs.len()).flat_map(|first| walk(needs, first, &mut reached)).collect();
    reached.fill(false);
    left.into_iter().rev().map(|first| walk(&dependents, first, &mut reached)).filter(|knot| !knot.is_empty()).collect()
}

/// What is reached from `first` and was not before, as a walk leaves it: where there is no circle, each after all that it leads to.
pub(crate) fn walk(edges: &[Vec<usize>], first: usize, reached: &mut [bool]) -> Vec<usize> {
    let mut left = Vec::new();
    let mut open = Vec::new();
    if !std::mem::replace(&mut reached[first], true) {
        open.push((first, 0));
    }
    while let Some((step, next)) = open.last_mut() {
        match edges[*step].get(*next) {
            None => {
                left.push(*step);
                open.pop();
            }
            Some(&to) => {
                *next += 1;
                if !std::mem::replace(&mut reached[to], true) {
                    open.push((to, 0));
                }
            }
        }
    }
    left
}

/// The shortest way from the first step of a knot back to itself.
fn shortest_cycle(needs: &[Vec<usize>], knot: std::collections::HashSet<usize>) -> Option<Vec<usize>> {
    let first = *knot.iter().min()?;
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut open = VecDeque::from([first]);
    while let Some(step) = open.pop_front() {
        if needs[step].contains(&first) && step != first {
            let mut cycle = vec![step];
            while let Some(&before) = cycle.last().and_then(|last| came_from.get(last)) {
                cycle.push(before);
            }
            cycle.reverse();
            return Some(cycle);
        }
        for &next in needs[step].iter().filter(|next| knot.contains(next)) {
            if next != first && next != step && !came_from.contains_key(&next) {
                came_from.insert(next, step);
                open.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Needs of up to 90 steps (more than one batch of 64), each of earlier ones only.
    fn acyclic() -> impl Strategy<Value = Vec<Vec<usize>>> {
        prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..90).prop_map(|steps| {
            let needs = |(step, needs): (usize, Vec<prop::sample::Index>)| match step {
                0 => Vec::new(),
                _ => needs.into_iter().map(|need| need.index(step)).collect(),
            };
            steps.into_iter().enumerate().map(needs).collect()
        })
    }

    fn needs_itself(needs: &[Vec<usize>]) -> bool {
        (0..needs.len()).any(|step| reach(needs, step)[step])
    }

    proptest! {
        #[test]
        fn every_step_comes_after_what_it_needs_and_many_questions_have_the_answers_of_one(needs in acyclic()) {
            let edges = Edges::new(needs);
            let place = |step: usize| edges.order.iter().position(|&other| other == step);
            for (step, needed) in edges.needs.iter().enumerate() {
                prop_assert!(needed.iter().all(|&need| place(need) < place(step) && edges.dependents[need].contains(&step)));
            }
            let pairs: Vec<_> = (0..edges.needs.len()).flat_map(|a| (0..edges.needs.len()).map(move |b| (a, b))).collect();
            let singly: Vec<bool> = pairs.iter().map(|&(a, b)| edges.ancestors(b)[a]).collect();
            prop_assert_eq!(edges.are_ancestors(&pairs), singly);
        }

        #[test]
        fn a_circle_is_found_exactly_where_there_is_one(
            needs in acyclic(), back in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..3)
        ) {
            let mut needs = needs;
            for (from, to) in back {
                let (from, to) = (from.index(needs.len()), to.index(needs.len()));
                if from != to {
                    needs[from].push(to);
                }
            }
            let found = cycles(&needs);
            prop_assert_eq!(!found.is_empty(), needs_itself(&needs));
            for cycle in found {
                prop_assert!(cycle.iter().zip(cycle.iter().cycle().skip(1)).all(|(step, next)| needs[*step].contains(next)));
            }
        }
    }
}
