//! What needs what, as a graph over places: order, cycles, ancestors, levels, and the critical path.
//!
//! A node is the place of a step (or of a variable) in the list that the graph was made of; an edge goes from a step to what it needs.
//! The graph and its walks are [`petgraph`]'s. What is added here are guarantees that its functions do not give: where the order
//! leaves a choice it is that of the file, a cycle is shown as the shortest one, and many questions about ancestors are answered at
//! once. Everything is linear in the number of nodes and edges (the order, but for the heap that breaks its ties), and nothing
//! recurses: plans may be generated, and long.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::algo::{has_path_connecting, kosaraju_scc};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, IntoNeighbors, NodeCount, Reversed, Visitable};

/// Who needs whom.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    graph: DiGraph<(), ()>,
    order: Vec<usize>,
}

impl Graph {
    /// The graph in which the step at each place needs those at `needs` of that place; doubles count once.
    pub fn new<N: AsRef<[usize]>>(needs: &[N]) -> Self {
        let mut graph = DiGraph::with_capacity(needs.len(), needs.iter().map(|needed| needed.as_ref().len()).sum());
        for _ in needs {
            graph.add_node(());
        }
        // petgraph walks the newest edge first: added backwards, they come in the order of the file.
        for (step, needed) in needs.iter().enumerate().rev() {
            let mut needed = needed.as_ref().to_vec();
            needed.sort_unstable();
            needed.dedup();
            for need in needed.into_iter().rev() {
                graph.add_edge(NodeIndex::new(step), NodeIndex::new(need), ());
            }
        }
        let order = order(&graph);
        Self { graph, order }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a step needs directly, each once, in the order of the file.
    pub fn needs(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.neighbors_directed(NodeIndex::new(step), Outgoing).map(NodeIndex::index)
    }

    /// Who needs a step directly, each once, in the order of the file.
    pub fn dependents(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.neighbors_directed(NodeIndex::new(step), Incoming).map(NodeIndex::index)
    }

    /// Every step after all that it needs; where that leaves a choice, in the order of the file. Steps on a cycle, or behind one, are
    /// left out: a checked plan has none.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Whether step `b` needs step `a`, directly or not.
    pub fn is_ancestor(&self, a: usize, b: usize) -> bool {
        a != b && has_path_connecting(&self.graph, NodeIndex::new(b), NodeIndex::new(a), None)
    }

    /// How deep each step lies: one level below the lowest of those that it needs, from 0.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0; self.len()];
        for &step in &self.order {
            levels[step] = self.needs(step).map(|need| levels[need] + 1).max().unwrap_or(0);
        }
        levels
    }

    /// The critical path: of all chains in which each step needs the one before, the first that takes longest, where each step takes
    /// as long as `weights` says. It is why the whole takes as long as it does.
    pub fn critical_path(&self, weights: &[Duration]) -> Vec<usize> {
        let mut ends = vec![Duration::ZERO; self.len()];
        let mut came_from = vec![None; self.len()];
        for &step in &self.order {
            // `max_by_key` takes the last of several: backwards, that is the first.
            let needs: Vec<usize> = self.needs(step).collect();
            came_from[step] = needs.into_iter().rev().max_by_key(|&need| ends[need]);
            ends[step] = weights[step].saturating_add(came_from[step].map_or(Duration::ZERO, |need| ends[need]));
        }
        let last = self.order.iter().rev().copied().max_by_key(|&step| ends[step]);
        let mut path: Vec<usize> = std::iter::successors(last, |&step| came_from[step]).collect();
        path.reverse();
        path
    }

    /// Everything that a step needs, directly or not.
    pub(crate) fn ancestors(&self, step: usize) -> Vec<bool> {
        reach(&self.graph, step)
    }

    /// Everything that needs a step, directly or not.
    pub(crate) fn descendants(&self, step: usize) -> Vec<bool> {
        reach(Reversed(&self.graph), step)
    }

    /// Of each pair whether the second needs the first, directly or not: one pass over the graph for each 64 different first members.
    pub(crate) fn are_ancestors(&self, pairs: &[(usize, usize)]) -> Vec<bool> {
        let mut answers = vec![false; pairs.len()];
        let mut asked: HashMap<usize, Vec<usize>> = HashMap::new();
        for (pair, (a, _)) in pairs.iter().enumerate() {
            asked.entry(*a).or_default().push(pair);
        }
        let asked: Vec<_> = asked.into_iter().collect();
        for batch in asked.chunks(64) {
            let mut own = vec![0u64; self.len()];
            for (bit, (a, _)) in batch.iter().enumerate() {
                own[*a] = 1 << bit;
            }
            let mut marks = vec![0u64; self.len()];
            for &step in &self.order {
                marks[step] = self.needs(step).fold(0, |mark, need| mark | marks[need] | own[need]);
            }
            for (bit, (_, pairs_of_it)) in batch.iter().enumerate() {
                for &pair in pairs_of_it {
                    answers[pair] = marks[pairs[pair].1] & (1 << bit) != 0;
                }
            }
        }
        answers
    }

    /// Of each strongly connected component of several steps one shortest cycle, from its first step in the file. A step that needs
    /// itself is not told here.
    pub(crate) fn cycles(&self) -> Vec<Vec<usize>> {
        if self.order.len() == self.len() {
            return Vec::new();
        }
        let components = kosaraju_scc(&self.graph).into_iter().filter(|component| component.len() > 1);
        let mut cycles: Vec<_> =
            components.filter_map(|component| self.shortest_cycle(&component.into_iter().map(NodeIndex::index).collect())).collect();
        cycles.sort();
        cycles
    }

    /// The shortest way from the first step of a component back to itself, breadth first.
    fn shortest_cycle(&self, component: &HashSet<usize>) -> Option<Vec<usize>> {
        let first = *component.iter().min()?;
        let mut came_from: HashMap<usize, usize> = HashMap::new();
        let mut open = VecDeque::from([first]);
        while let Some(step) = open.pop_front() {
            if step != first && self.needs(step).any(|need| need == first) {
                let mut cycle: Vec<usize> = std::iter::successors(Some(step), |step| came_from.get(step).copied()).collect();
                cycle.reverse();
                return Some(cycle);
            }
            for next in self.needs(step).filter(|next| component.contains(next)) {
                if next != first && next != step && !came_from.contains_key(&next) {
                    came_from.insert(next, step);
                    open.push_back(next);
                }
            }
        }
        None
    }
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|step| self.needs(step).eq(other.needs(step)))
    }
}

/// Kahn's order with a heap, as `petgraph::algo::toposort` breaks ties in an order of its own.
fn order(graph: &DiGraph<(), ()>) -> Vec<usize> {
    let mut missing: Vec<usize> = graph.node_indices().map(|step| graph.neighbors(step).count()).collect();
    let mut ready: BinaryHeap<_> = (0..missing.len()).filter(|&step| missing[step] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(Reverse(step)) = ready.pop() {
        order.push(step);
        for dependent in graph.neighbors_directed(NodeIndex::new(step), Incoming).map(NodeIndex::index) {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.push(Reverse(dependent));
            }
        }
    }
    order
}

/// What the edges lead to from a step; itself only where it is on a cycle.
fn reach<G>(graph: G, from: usize) -> Vec<bool>
where
    G: IntoNeighbors<NodeId = NodeIndex> + NodeCount + Visitable,
{
    let mut reached = vec![false; graph.node_count()];
    let mut walk = Dfs::empty(graph);
    walk.stack.extend(graph.neighbors(NodeIndex::new(from)));
    while let Some(step) = walk.next(graph) {
        reached[step.index()] = true;
    }
    reached
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

    /// The same plan, its steps written in another order.
    fn shuffled() -> impl Strategy<Value = Vec<Vec<usize>>> {
        let with_places = |needs: Vec<Vec<usize>>| {
            let places: Vec<usize> = (0..needs.len()).collect();
            (Just(needs), Just(places).prop_shuffle())
        };
        acyclic().prop_flat_map(with_places).prop_map(|(needs, places)| {
            let mut shuffled = vec![Vec::new(); needs.len()];
            for (step, needed) in needs.into_iter().enumerate() {
                shuffled[places[step]] = needed.into_iter().map(|need| places[need]).collect();
            }
            shuffled
        })
    }

    fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..count).flat_map(move |a| (0..count).map(move |b| (a, b)))
    }

    proptest! {
        #[test]
        fn every_step_comes_after_what_it_needs_and_else_in_the_order_of_the_file(needs in shuffled()) {
            let graph = Graph::new(&needs);
            prop_assert_eq!(graph.order().len(), needs.len());
            let mut done = vec![false; needs.len()];
            for &step in graph.order() {
                let first = (0..needs.len()).find(|&step| !done[step] && graph.needs(step).all(|need| done[need]));
                prop_assert_eq!(Some(step), first);
                done[step] = true;
            }
            for (step, mut needed) in needs.into_iter().enumerate() {
                needed.sort_unstable();
                needed.dedup();
                prop_assert!(graph.needs(step).eq(needed.iter().copied()));
                prop_assert!(needed.into_iter().all(|need| graph.dependents(need).any(|dependent| dependent == step)));
                prop_assert!(graph.dependents(step).is_sorted());
            }
        }

        #[test]
        fn ancestors_are_what_can_be_reached_however_they_are_asked_for(needs in shuffled()) {
            let graph = Graph::new(&needs);
            let pairs: Vec<_> = pairs(needs.len()).collect();
            let mut expected = Vec::new();
            for &(a, b) in &pairs {
                expected.push(graph.ancestors(b)[a]);
                prop_assert_eq!(graph.descendants(a)[b], graph.ancestors(b)[a]);
                prop_assert_eq!(graph.is_ancestor(a, b), graph.ancestors(b)[a]);
                prop_assert!(!graph.ancestors(b)[a] || graph.levels()[a] < graph.levels()[b]);
            }
            prop_assert_eq!(graph.are_ancestors(&pairs), expected);
        }

        #[test]
        fn no_chain_takes_longer_than_the_critical_path(needs in shuffled(), weights in prop::collection::vec(0..1000u64, 90)) {
            let graph = Graph::new(&needs);
            let weights: Vec<Duration> = weights.into_iter().map(Duration::from_millis).collect();
            let path = graph.critical_path(&weights);
            prop_assert!(path.windows(2).all(|pair| needs[pair[1]].contains(&pair[0])));
            let mut longest = vec![Duration::ZERO; needs.len()];
            for &step in graph.order() {
                longest[step] = weights[step] + graph.needs(step).map(|need| longest[need]).max().unwrap_or_default();
            }
            prop_assert_eq!(path.iter().map(|&step| weights[step]).sum::<Duration>(), longest.into_iter().max().unwrap_or_default());
        }

        #[test]
        fn a_cycle_is_found_exactly_where_there_is_one(
            needs in acyclic(), back in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..3)
        ) {
            let mut needs = needs;
            for (from, to) in back {
                let (from, to) = (from.index(needs.len()), to.index(needs.len()));
                if from != to {
                    needs[from].push(to);
                }
            }
            let graph = Graph::new(&needs);
            let found = graph.cycles();
            prop_assert_eq!(!found.is_empty(), (0..needs.len()).any(|step| graph.ancestors(step)[step]));
            for cycle in found {
                prop_assert!(cycle.iter().zip(cycle.iter().cycle().skip(1)).all(|(step, next)| needs[*step].contains(next)));
                prop_assert_eq!(cycle.iter().min(), cycle.first());
            }
        }
    }

    #[test]
    fn where_several_paths_take_longest_the_first_in_the_file_is_told() {
        let graph = Graph::new(&[vec![], vec![], vec![0, 1], vec![2], vec![2]]);
        assert_eq!(graph.critical_path(&[Duration::from_secs(1); 5]), [0, 2, 3]);
        assert_eq!(Graph::default().critical_path(&[]), Vec::<usize>::new());
    }

    #[test]
    fn the_shortest_cycle_through_the_first_step_is_told() {
        let needs = [vec![1, 3], vec![2], vec![0], vec![0], vec![4, 5], vec![4]];
        assert_eq!(Graph::new(&needs).cycles(), [vec![0, 3], vec![4, 5]]);
    }
}
