//! What could be done next, kept up to date as phases change, so that a fact costs what it touches and not the whole plan.
//!
//! Everything here is derived: `Saga::recount` computes it from the phases, and after a single fact `Saga::refresh` must arrive at
//! the same (a test holds them against each other).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Index, Saga, StepPhase};
use crate::event::OnInterrupt;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Frontier {
    standings: Vec<Standing>,
    /// Steps whose action, or probe, could be run.
    pub(super) ready: BTreeSet<Index>,
    /// Steps that will not be run.
    pub(super) dropped: BTreeSet<Index>,
    /// Steps whose compensation could be run.
    pub(super) undoable: BTreeSet<Index>,
    /// Steps of which a person must say what became of them.
    pub(super) questions: BTreeSet<Index>,
    /// How many actions are live.
    pub(super) live: usize,
    /// How many compensations are live.
    pub(super) undoing: usize,
}

/// What a step means to its neighbours.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Standing {
    /// It and all that it needs are done: whoever needs it may go on. After a reboot what it needs may be to be done again.
    satisfied: bool,
    /// It, or something that it needs, was not done and will not be: whoever needs it will not be run.
    doomed: bool,
    /// Neither it nor anything that needs it owes a compensation.
    clear: bool,
    live: bool,
    undoing: bool,
    /// How many of those it needs are not satisfied.
    unmet: u32,
    /// How many of those it needs are doomed.
    dooms: u32,
    /// How many of those that need it are not clear.
    blockers: u32,
}

impl Saga {
    /// Derives the frontier from the phases, all of it.
    pub(super) fn recount(&mut self) {
        let count = self.shape.steps.len();
        let graph = Arc::clone(&self.graph);
        self.frontier = Frontier { standings: vec![Standing::default(); count], ..Frontier::default() };
        for &i in graph.order() {
            let standings = &self.frontier.standings;
            let unmet = graph.needs(i).filter(|&needed| !standings[needed].satisfied).count();
            let dooms = graph.needs(i).filter(|&needed| standings[needed].doomed).count();
            let standing = &mut self.frontier.standings[i];
            (standing.unmet, standing.dooms) = (unmet as u32, dooms as u32);
            let (satisfied, doomed) = (self.satisfied(i), self.doomed(i));
            let (live, undoing) = (self.is_live(i), matches!(self.states[i].phase, StepPhase::Undoing(_)));
            let standing = &mut self.frontier.standings[i];
            (standing.satisfied, standing.doomed, standing.live, standing.undoing) = (satisfied, doomed, live, undoing);
            self.frontier.live += usize::from(live);
            self.frontier.undoing += usize::from(undoing);
        }
        for &i in graph.order().iter().rev() {
            let standings = &self.frontier.standings;
            let blockers = graph.dependents(i).filter(|&dependent| !standings[dependent].clear).count();
            let clear = blockers == 0 && !self.owes(i);
            let standing = &mut self.frontier.standings[i];
            (standing.blockers, standing.clear) = (blockers as u32, clear);
        }
        for i in 0..count {
            self.place(i);
        }
    }

    /// Brings the frontier up to date after the phase of `i` changed, and nothing else did.
    pub(super) fn refresh(&mut self, i: Index) {
        let (live, undoing) = (self.is_live(i), matches!(self.states[i].phase, StepPhase::Undoing(_)));
        let standing = &mut self.frontier.standings[i];
        let before = *standing;
        (standing.live, standing.undoing) = (live, undoing);
        self.frontier.live = self.frontier.live + usize::from(live) - usize::from(before.live);
        self.frontier.undoing = self.frontier.undoing + usize::from(undoing) - usize::from(before.undoing);
        self.refresh_satisfied(i);
        self.refresh_clear(i);
        self.place(i);
    }

    fn refresh_satisfied(&mut self, i: Index) {
        let graph = Arc::clone(&self.graph);
        let mut changed = vec![i];
        while let Some(i) = changed.pop() {
            let (satisfied, doomed) = (self.satisfied(i), self.doomed(i));
            let before = self.frontier.standings[i];
            if (satisfied, doomed) == (before.satisfied, before.doomed) {
                continue;
            }
            let standing = &mut self.frontier.standings[i];
            (standing.satisfied, standing.doomed) = (satisfied, doomed);
            for dependent in graph.dependents(i) {
                let standing = &mut self.frontier.standings[dependent];
                standing.unmet = standing.unmet + u32::from(before.satisfied) - u32::from(satisfied);
                standing.dooms = standing.dooms + u32::from(doomed) - u32::from(before.doomed);
                self.place(dependent);
                changed.push(dependent);
            }
        }
    }

    fn refresh_clear(&mut self, i: Index) {
        let graph = Arc::clone(&self.graph);
        let mut changed = vec![i];
        while let Some(i) = changed.pop() {
            let clear = self.frontier.standings[i].blockers == 0 && !self.owes(i);
            if clear == self.frontier.standings[i].clear {
                continue;
            }
            self.frontier.standings[i].clear = clear;
            for needed in graph.needs(i) {
                let blockers = &mut self.frontier.standings[needed].blockers;
                *blockers = if clear { *blockers - 1 } else { *blockers + 1 };
                self.place(needed);
                changed.push(needed);
            }
        }
    }

    /// Puts a step into the sets it belongs to.
    fn place(&mut self, i: Index) {
        let standing = self.frontier.standings[i];
        let (step, state) = (&self.shape.steps[i], &self.states[i]);
        let waits = match state.phase {
            StepPhase::Pending | StepPhase::Retrying => true,
            StepPhase::Unknown => step.probe || self.on_interrupt(i) == OnInterrupt::Rerun,
            _ => false,
        };
        let its_time = if step.finally { self.settled.is_some() } else { !self.unwinding && self.settled.is_none() };
        let ready = waits && its_time && standing.unmet == 0;
        // What a reboot made pending again may owe still, and is undone instead of dropped; or wait for what failed when it was done
        // again, and is dropped although it began once.
        let dropped = !step.finally
            && match self.unwinding {
                true => state.phase == StepPhase::Pending && !self.owes(i),
                false => waits && standing.dooms > 0,
            };
        // Rule 5: everything that needs it, directly or not, is undone or owes nothing.
        let undoable = self.unwinding && self.settled.is_none() && standing.blockers == 0 && self.due(i).is_some();
        // Rule 6: neither a probe nor the plan nor its kind says what became of it.
        let question = !self.unwinding && state.phase == StepPhase::Unknown && !waits;
        let frontier = &mut self.frontier;
        for (set, belongs) in [
            (&mut frontier.ready, ready),
            (&mut frontier.dropped, dropped),
            (&mut frontier.undoable, undoable),
            (&mut frontier.questions, question),
        ] {
            if belongs {
                set.insert(i)
            } else {
                set.remove(&i)
            };
        }
    }

    /// Whether those that need it may go on: it was done, was skipped, or may fail (rule 10).
    fn satisfied(&self, i: Index) -> bool {
        let step = &self.shape.steps[i];
        let done = match self.states[i].phase {
            StepPhase::Succeeded | StepPhase::Skipped => true,
            StepPhase::Failed => step.continue_on_failure || step.finally,
            _ => false,
        };
        done && self.frontier.standings[i].unmet == 0
    }

    fn doomed(&self, i: Index) -> bool {
        let step = &self.shape.steps[i];
        let lost = self.states[i].phase == StepPhase::Failed && !step.continue_on_failure && !step.finally;
        lost || self.frontier.standings[i].dooms > 0
    }

    fn is_live(&self, i: Index) -> bool {
        self.states[i].phase == StepPhase::Started && !self.shape.steps[i].finally
    }
}
