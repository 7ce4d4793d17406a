//! The invariants, held against the saga after every event. Everything here is derived anew, slowly and from the whole: from the
//! history of a step or from the transitive closure of the needs, never from the saga's own bookkeeping.

use std::collections::BTreeSet;

use super::ground::Ground;
use super::*;

type Checked = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

#[derive(Clone)]
pub struct Checks {
    shape: Shape,
    /// As bits: what a step needs, directly or not.
    ancestors: Vec<u64>,
    /// As bits: what needs a step, directly or not.
    descendants: Vec<u64>,
    /// What the history alone tells of a step.
    tales: Vec<Tale>,
    passed: bool,
    irreversible: bool,
}

#[derive(Clone, Default)]
struct Tale {
    /// An attempt has no verdict yet.
    open: bool,
    /// An attempt ended otherwise than by failing cleanly.
    touched: bool,
    failures: u32,
    undo_failures: u32,
    first_record: Option<Value>,
    ended_since_settled: bool,
}

/// What is kept of the state before an event.
pub struct Before {
    phases: Vec<StepPhase>,
    unwinding: bool,
    settled: bool,
    passed: bool,
}

impl Checks {
    pub fn new(shape: &Shape) -> Self {
        let count = shape.steps.len();
        let mut ancestors = vec![0u64; count];
        for _ in 0..count {
            for (i, step) in shape.steps.iter().enumerate() {
                for &needed in &step.needs {
                    ancestors[i] |= 1 << needed | ancestors[needed];
                }
            }
        }
        let descendants = (0..count).map(|i| (0..count).filter(|&d| ancestors[d] >> i & 1 == 1).fold(0, |bits, d| bits | 1 << d)).collect();
        Self { shape: shape.clone(), ancestors, descendants, tales: vec![Tale::default(); count], passed: false, irreversible: false }
    }

    pub fn before(&self, saga: &Saga) -> Before {
        let phases = saga.states.iter().map(|state| state.phase).collect();
        Before { phases, unwinding: saga.unwinding(), settled: saga.outcome().is_some(), passed: self.passed }
    }

    pub fn after(&mut self, before: &Before, event: &Event, saga: &mut Saga) -> Checked {
        match event {
            Event::Run(fact) => self.note_run(before, fact, saga)?,
            Event::Step(id, fact) => self.note_step(saga.find(id).unwrap(), before, fact, saga)?,
        }
        self.unwinding_begins_rightly(before, event, saga)?;
        self.passed |= saga.forward().any(|i| {
            let step = &self.shape.steps[i];
            let fails = saga.step(i).phase == StepPhase::Failed && before.phases[i] != StepPhase::Failed;
            // Not a retry that will not come because something else unwinds the run.
            let by_itself = before.phases[i] != StepPhase::Retrying || matches!(event, Event::Step(id, _) if *id == step.id);
            step.pivot && step.continue_on_failure && fails && by_itself
        });
        ensure!(saga.passed() == self.passed, "the pivot is {}passed", if self.passed { "" } else { "not " });
        ensure!(saga.reversible() != self.irreversible, "it is {}reversible", if self.irreversible { "not " } else { "" });
        for i in 0..self.shape.steps.len() {
            ensure!(self.owes(i, saga) == saga.owes(i), "{} owes: {}", self.shape.steps[i].id, self.owes(i, saga));
        }
        self.wants_the_right_things(saga)?;
        let kept = saga.frontier.clone();
        saga.recount();
        ensure!(kept == saga.frontier, "the frontier was brought up to {kept:?}, but it is {:?}", saga.frontier);
        if saga.finished() {
            for i in saga.finally() {
                ensure!(self.tales[i].ended_since_settled, "finally step {i} did not run since the run was settled");
            }
        }
        Ok(())
    }

    fn note_run(&mut self, before: &Before, fact: &RunFact, saga: &Saga) -> Checked {
        match fact {
            RunFact::Resumed { .. } => {
                for i in saga.forward() {
                    let tale = &mut self.tales[i];
                    tale.touched |= std::mem::take(&mut tale.open);
                    if let StepPhase::Undoing(part) | StepPhase::UndoFailed(part) = before.phases[i] {
                        let phase = saga.step(i).phase;
                        ensure!(phase == StepPhase::UndoDue(part), "compensation {part} of step {i} is not tried again: {phase:?}");
                    }
                    if let StepPhase::UndoFailed(_) = before.phases[i] {
                        tale.undo_failures = 0;
                        ensure!(saga.outcome().is_none(), "settled, although step {i} is tried again");
                    }
                }
            }
            RunFact::Rebooted { .. } => {
                for i in saga.forward() {
                    if before.phases[i] == StepPhase::Succeeded && saga.step(i).phase == StepPhase::Pending {
                        self.tales[i].failures = 0;
                    }
                    if before.phases[i] != saga.step(i).phase {
                        self.tales[i].undo_failures = 0;
                    }
                }
            }
            RunFact::Settled(_) => {
                for i in saga.finally() {
                    self.tales[i] = Tale::default();
                }
            }
            RunFact::Aborted { .. } => ensure!(saga.outcome().is_none(), "aborted, yet settled"),
            RunFact::Opened(_) | RunFact::Unreachable | RunFact::Reachable(_) | RunFact::Asked(_) => {}
        }
        Ok(())
    }

    fn note_step(&mut self, i: Index, before: &Before, fact: &Fact, saga: &Saga) -> Checked {
        let step = &self.shape.steps[i];
        let tale = &mut self.tales[i];
        let mut did = false;
        match fact {
            Fact::Started { .. } => {
                tale.open = true;
                self.irreversible |= step.irreversible;
                self.passed |= step.irreversible;
                ensure!(step.finally || !before.unwinding, "{} starts although the run unwinds", step.id);
            }
            Fact::Succeeded(_) => {
                (tale.open, tale.touched, did) = (false, true, true);
            }
            Fact::Resolved(Answer::Done { .. }) | Fact::Skipped => did = true,
            Fact::Unknown | Fact::Lost { part: Part::Action } => {
                (tale.open, tale.touched) = (false, true);
                let compensates = saga.on_interrupt(i) == OnInterrupt::Compensate && !step.probe;
                let phase = saga.step(i).phase;
                ensure!(
                    phase == if compensates { StepPhase::Failed } else { StepPhase::Unknown },
                    "{} was cancelled or lost and is {phase:?}",
                    step.id
                );
            }
            Fact::Lost { part } => {
                let due = match part {
                    Part::Compensation(part) => StepPhase::UndoDue(*part),
                    Part::Finally => StepPhase::Pending,
                    Part::Action | Part::Probe => StepPhase::Unknown,
                };
                let phase = saga.step(i).phase;
                ensure!(phase == due, "{part:?} of {} was lost, and it is {phase:?}", step.id);
            }
            Fact::Failed(failure) => {
                let rendered = std::mem::take(&mut tale.open);
                tale.failures += 1;
                tale.touched |= !failure.clean;
                let again = rendered && tale.failures < step.attempts && !before.unwinding;
                let phase = saga.step(i).phase;
                ensure!(phase == if again { StepPhase::Retrying } else { StepPhase::Failed }, "{} failed and is {phase:?}", step.id);
            }
            Fact::Recorded { name, value, part } if name == "first" => {
                let first = tale.first_record.get_or_insert_with(|| value.clone());
                ensure!(saga.recorded(i, *part).get(name) == Some(first), "{}: the first record does not stand", step.id);
            }
            Fact::Recorded { .. } | Fact::Spawned { .. } | Fact::NotRun | Fact::Resolved(Answer::NotDone { .. }) => {}
            Fact::Resolved(Answer::Undone(answer) | Answer::GivenUp(answer)) => {
                ensure!(before.unwinding && !tale.open, "{} is answered for although it is not being undone", step.id);
                let due = match before.phases[i] {
                    StepPhase::UndoDue(part) | StepPhase::UndoFailed(part) | StepPhase::Undoing(part) => part,
                    _ => 0,
                };
                ensure!(answer.part == due, "compensation {} of {} is answered for, and {due} is due", answer.part, step.id);
                let expected = if due + 1 < step.compensations.len() { StepPhase::UndoDue(due + 1) } else { StepPhase::Undone };
                let phase = saga.step(i).phase;
                ensure!(phase == expected, "{} is {phase:?}, but should be {expected:?}", step.id);
                ensure!(saga.outcome().is_none(), "settled, although {} goes on", step.id);
                tale.undo_failures = 0;
            }
            Fact::UndoStarted { .. } => {
                ensure!(before.unwinding && !before.settled, "{} is undone although the run does not unwind", step.id)
            }
            Fact::Undone { part } | Fact::UndoFailed { part, .. } => {
                tale.undo_failures += u32::from(matches!(fact, Fact::UndoFailed { .. }));
                let (count, compensation) = (step.compensations.len(), step.compensations[*part]);
                let expected = match fact {
                    Fact::UndoFailed { .. } if tale.undo_failures < compensation.attempts => StepPhase::UndoDue(*part),
                    Fact::UndoFailed { .. } if !compensation.continue_on_failure => StepPhase::UndoFailed(*part),
                    _ if *part + 1 < count => StepPhase::UndoDue(*part + 1),
                    _ => StepPhase::Undone,
                };
                if expected != StepPhase::UndoDue(*part) {
                    tale.undo_failures = 0;
                }
                let phase = saga.step(i).phase;
                ensure!(phase == expected, "{} is {phase:?}, but should be {expected:?}", step.id);
            }
        }
        self.passed |= did && step.pivot;
        self.tales[i].ended_since_settled |= matches!(saga.step(i).phase, StepPhase::Succeeded | StepPhase::Failed | StepPhase::Skipped);
        Ok(())
    }

    /// Unwinding begins when, and only when, a step failed for good before the pivot or the operator says so; and never ends.
    fn unwinding_begins_rightly(&self, before: &Before, event: &Event, saga: &Saga) -> Checked {
        let failed = saga.forward().any(|i| {
            saga.step(i).phase == StepPhase::Failed && before.phases[i] != StepPhase::Failed && !self.shape.steps[i].continue_on_failure
        });
        let aborted = matches!(event, Event::Run(RunFact::Aborted { .. }));
        let unwinds = before.unwinding || aborted || (failed && !before.passed);
        ensure!(saga.unwinding() == unwinds, "the run {} unwind", if unwinds { "must" } else { "must not" });
        ensure!(!saga.unwinding() || saga.reversible(), "what is irreversible cannot be unwound");
        Ok(())
    }

    /// Rule 3, from the history.
    fn owes(&self, i: Index, saga: &Saga) -> bool {
        let (step, tale) = (&self.shape.steps[i], &self.tales[i]);
        (tale.open || tale.touched) && !step.finally && !step.compensations.is_empty() && saga.step(i).phase != StepPhase::Undone
    }

    fn wants_the_right_things(&self, saga: &Saga) -> Checked {
        let settled = saga.outcome().is_some();
        let forward = !saga.unwinding() && !settled;
        let bits = |holds: &dyn Fn(Index) -> bool| (0..self.shape.steps.len()).filter(|&i| holds(i)).fold(0u64, |bits, i| bits | 1 << i);
        let phase = |i: Index| saga.step(i).phase;
        let mild = |i: Index| self.shape.steps[i].continue_on_failure || self.shape.steps[i].finally;
        let unmet = bits(&|i| match phase(i) {
            StepPhase::Succeeded | StepPhase::Skipped => false,
            StepPhase::Failed => !mild(i),
            _ => true,
        });
        let lost = bits(&|i| phase(i) == StepPhase::NotRun || phase(i) == StepPhase::Failed && !mild(i));
        let owing = bits(&|i| self.owes(i, saga));
        let live = bits(&|i| phase(i) == StepPhase::Started && !self.shape.steps[i].finally);
        let asked = bits(&|i| {
            let probe = self.shape.steps[i].probe;
            phase(i) == StepPhase::Unknown && !probe && saga.on_interrupt(i) == OnInterrupt::Ask && !saga.unwinding()
        });
        let questions = saga.questions().fold(0, |bits, i| bits | 1 << i);
        ensure!(questions == asked, "asked is {questions:b}, but it should be {asked:b}");

        let mut expected = BTreeSet::new();
        for (i, step) in self.shape.steps.iter().enumerate() {
            let waits = match phase(i) {
                StepPhase::Pending | StepPhase::Retrying => true,
                StepPhase::Unknown => step.probe || saga.on_interrupt(i) == OnInterrupt::Rerun,
                _ => false,
            };
            let its_time = if step.finally { settled } else { forward && asked == 0 };
            if waits && its_time && self.ancestors[i] & unmet == 0 {
                let probes = phase(i) == StepPhase::Unknown && step.probe;
                expected.insert(if probes { Wanted::Probe(i) } else { Wanted::Run(i) });
            }
            let tried = matches!(phase(i), StepPhase::Undoing(_) | StepPhase::UndoFailed(_));
            if saga.unwinding() && !settled && live == 0 && owing >> i & 1 == 1 && !tried && self.descendants[i] & owing == 0 {
                expected.insert(Wanted::Undo(i));
            }
            let never = match saga.unwinding() {
                true => phase(i) == StepPhase::Pending && owing >> i & 1 == 0,
                false => waits && self.ancestors[i] & lost != 0,
            };
            if never && !settled && !step.finally {
                expected.insert(Wanted::Drop(i));
            }
        }
        let wanted: BTreeSet<Wanted> = saga.wanted().map(Wanted::from).collect();
        ensure!(wanted == expected, "wanted is {wanted:?}, but it should be {expected:?}");
        Ok(())
    }

    /// What an outcome promises, held against what is really there.
    pub fn settled(&self, outcome: Outcome, saga: &Saga, ground: &Ground, written_off: &BTreeSet<(Index, usize)>) -> Checked {
        for i in saga.forward() {
            let (step, phase) = (&self.shape.steps[i], saga.step(i).phase);
            ensure!(
                !matches!(phase, StepPhase::Started | StepPhase::Pending | StepPhase::Retrying | StepPhase::Undoing(_))
                    || outcome == Outcome::Stuck && self.owes(i, saga),
                "settled, and {} is {phase:?}",
                step.id
            );
            let below = |holds: &dyn Fn(Index) -> bool| saga.forward().any(|other| self.ancestors[i] >> other & 1 == 1 && holds(other));
            let above = |holds: &dyn Fn(Index) -> bool| saga.forward().any(|other| self.descendants[i] >> other & 1 == 1 && holds(other));
            let lost = |other: Index| saga.step(other).phase == StepPhase::Failed && !self.shape.steps[other].continue_on_failure;
            let failed_undo = |other: Index| matches!(saga.step(other).phase, StepPhase::UndoFailed(_));
            match outcome {
                Outcome::Succeeded | Outcome::Warned => {
                    ensure!(
                        (phase == StepPhase::NotRun) == (below(&lost) && phase == StepPhase::NotRun),
                        "{} was not run for no reason",
                        step.id
                    );
                    ensure!(
                        !matches!(phase, StepPhase::Unknown | StepPhase::Undone | StepPhase::UndoDue(_) | StepPhase::UndoFailed(_)),
                        "{} is {phase:?}",
                        step.id
                    );
                    ensure!(
                        phase != StepPhase::Succeeded || ground.steps[i].present.is_some(),
                        "{} succeeded, but its effect is gone",
                        step.id
                    );
                }
                Outcome::Compensated => {
                    ensure!(
                        !self.owes(i, saga) && phase != StepPhase::Succeeded || step.compensations.is_empty(),
                        "compensated, and {} owes",
                        step.id
                    );
                    for (part, dirt) in ground.steps[i].dirt.iter().enumerate() {
                        let listed = written_off.contains(&(i, part));
                        ensure!(!dirt || listed, "compensated, and compensation {part} of {} was not done", step.id);
                        ensure!(!listed || !saga.step(i).written_off.is_empty(), "{} does not list what was written off", step.id);
                    }
                }
                Outcome::Stuck => {
                    ensure!(!self.owes(i, saga) || failed_undo(i) || above(&failed_undo), "{} could be undone", step.id);
                }
            }
        }
        let failed = saga.forward().any(|i| saga.step(i).phase == StepPhase::Failed);
        match outcome {
            Outcome::Stuck => ensure!(saga.forward().any(|i| matches!(saga.step(i).phase, StepPhase::UndoFailed(_))), "stuck on nothing"),
            Outcome::Compensated => self.made_up_in_order(saga, ground)?,
            Outcome::Warned | Outcome::Succeeded => {
                ensure!(failed == (outcome == Outcome::Warned), "{outcome:?}, and failed: {failed}");
                self.done_in_order(saga, ground)?;
            }
        }
        Ok(())
    }

    /// What is volatile shares one thing in the world (the service): the last one in the order of the plan had the last word, and
    /// whoever looks has looked since.
    fn done_in_order(&self, saga: &Saga, ground: &Ground) -> Checked {
        for (earlier, later) in self.pairs(saga) {
            let (effect, after) = (self.shape.steps[earlier].effect, self.shape.steps[later].effect);
            if effect == Effect::Volatile && after != Effect::Changes {
                let both = ground.steps[earlier].present.zip(ground.steps[later].present);
                let succeeded = |i: Index| saga.step(i).phase == StepPhase::Succeeded;
                let wrong = both.is_some_and(|(first, then)| first > then) && succeeded(earlier) && succeeded(later);
                ensure!(!wrong, "step {earlier} was done again after step {later}, which needs it");
            }
        }
        Ok(())
    }

    /// The same, the other way round.
    fn made_up_in_order(&self, saga: &Saga, ground: &Ground) -> Checked {
        // When a person did one is not known here.
        let by_hand = |i: Index, part: usize| saga.step(i).by_hand.iter().any(|debt| debt.part == part);
        let parts = |i: Index| {
            let made_up = ground.steps[i].made_up.iter().copied().enumerate().map(move |(part, at)| at.filter(|_| !by_hand(i, part)));
            self.shape.steps[i].compensations.iter().map(|shape| shape.effect).zip(made_up)
        };
        for (earlier, later) in self.pairs(saga) {
            for (effect, then) in parts(later).filter(|(effect, _)| *effect == Effect::Volatile) {
                let wrong = parts(earlier).any(|(after, at)| after != Effect::Changes && at.zip(then).is_some_and(|(at, then)| at < then));
                ensure!(!wrong, "step {earlier} was made up for before step {later}, which needs it and is {effect:?}");
            }
        }
        for i in saga.forward() {
            let done: Vec<u32> = parts(i).filter_map(|(_, at)| at).collect();
            let in_order = done.is_sorted() || !saga.step(i).written_off.is_empty();
            ensure!(in_order, "the compensations of step {i} were done out of order");
        }
        Ok(())
    }

    fn pairs<'a>(&'a self, saga: &'a Saga) -> impl Iterator<Item = (Index, Index)> + 'a {
        let earlier = move |later: Index| saga.forward().filter(move |&earlier| self.ancestors[later] >> earlier & 1 == 1);
        saga.forward().flat_map(move |later| earlier(later).map(move |earlier| (earlier, later)))
    }
}

/// A task, in an order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Drop(Index),
    Run(Index),
    Probe(Index),
    Undo(Index),
}

impl From<Task> for Wanted {
    fn from(task: Task) -> Self {
        match task {
            Task::Drop(i) => Self::Drop(i),
            Task::Run(i) => Self::Run(i),
            Task::Probe(i) => Self::Probe(i),
            Task::Undo(i) => Self::Undo(i),
        }
    }
}
