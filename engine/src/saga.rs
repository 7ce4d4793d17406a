//! The saga: folds what happened to a run, says what is wanted next.
//!
//! It is pure (no clock, no file, no task) and level-triggered: [`Saga::wanted`] derives everything from the state, so that
//! resuming is replaying the events and nothing else (rule 2). The numbers of rules are those of the contract of a run.
//!
//! ```text
//!  pending ──> started ──> succeeded ─┐
//!    │           ├──────> failed ─────┤ owes a compensation
//!    │           └─ crash, cancel ─> unknown ┘      │
//!    ├─> skipped                                    ▼
//!    └─> not-run                     undoing(0) ─> … ─> undone
//!                                           └───────> undo-failed
//! ```
//!
//! Invariants: forward work starts only before unwinding; a compensation starts only when no forward work is live and
//! everything that needs its step owes nothing any more; once the pivot is passed no failure unwinds.

mod frontier;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::event::{Answer, Downtime, Event, Fact, Outcome, Part, RunFact, StepId};
use crate::step::{Effect, Failure, OnInterrupt, ProcessIdentity};
use frontier::Frontier;

/// A step, by its place in [`Shape::steps`].
pub type Index = usize;

/// What the saga must know of a plan: which step needs which, and what each owes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// The steps, then the `finally` steps; `needs` are places in this list.
    pub steps: Vec<StepShape>,
}

/// What the saga must know of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepShape {
    /// Its name.
    pub id: StepId,
    /// The steps it needs, directly.
    pub needs: Vec<Index>,
    /// How often its action may fail; at least 1.
    pub attempts: u32,
    /// `on_failure = "continue"`.
    pub continue_on_failure: bool,
    /// The plan's `on_interrupt`; `None`: the kind says when it starts.
    pub on_interrupt: Option<OnInterrupt>,
    /// Whether a probe decides what became of it when it is unknown.
    pub probe: bool,
    /// Whether it is the pivot.
    pub pivot: bool,
    /// Whether it is a point of no return.
    pub irreversible: bool,
    /// What its kind does to the world.
    pub effect: Effect,
    /// What makes up for it, in order.
    pub compensations: Vec<CompensationShape>,
    /// Whether it is a `finally` step.
    pub finally: bool,
}

/// What the saga must know of a compensation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompensationShape {
    /// How often it may fail; at least 1.
    pub attempts: u32,
    /// `on_failure = "continue"`: after the last failure the debt is written off.
    pub continue_on_failure: bool,
    /// What its kind does to the world.
    pub effect: Effect,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not started, or to be done again.
    Pending,
    /// Its action is live, as far as the events tell.
    Started,
    /// An attempt failed and another is allowed.
    Retrying,
    /// Its action did its work.
    Succeeded,
    /// Its action failed for good.
    Failed,
    /// It started and nobody knows what became of it.
    Unknown,
    /// `when` was false.
    Skipped,
    /// It will not be run.
    NotRun,
    /// Its n-th compensation is wanted.
    UndoDue(usize),
    /// Its n-th compensation is live, as far as the events tell.
    Undoing(usize),
    /// Every compensation is done or written off.
    Undone,
    /// Its n-th compensation failed for good.
    UndoFailed(usize),
}

/// One thing the saga wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Run a step's action.
    Run(Index),
    /// Ask a step's probe what became of it.
    Probe(Index),
    /// Do a step's compensation that is due.
    Undo(Index),
    /// Record that a step will not be run.
    Drop(Index),
}

/// A fact that cannot have happened: the journal belongs to another plan, or the executor has a bug.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IllegalEvent {
    /// A fact that does not fit the phase of its step.
    #[error("step `{step}` is {phase:?}, where this cannot happen: {fact:?}")]
    Fact {
        /// The step.
        step: StepId,
        /// Where it is.
        phase: Phase,
        /// What is said to have happened.
        fact: Box<Fact>,
    },
    /// A step that the plan does not have.
    #[error("the plan has no step `{0}`")]
    NoSuchStep(StepId),
    /// A run fact out of place.
    #[error("this cannot happen to the run as it is: {0:?}")]
    Run(Box<RunFact>),
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Where it is.
    pub phase: Phase,
    /// Attempts of the action so far.
    pub attempt: u32,
    /// Attempts of its compensations so far.
    pub undo_attempt: u32,
    /// Why the last attempt of the action failed.
    pub failure: Option<Failure>,
    /// Why the last attempt of a compensation failed.
    pub undo_failure: Option<Failure>,
    /// Debts written off with `on_failure = "continue"`.
    pub written_off: Vec<Failure>,
    failures: u32,
    undo_failures: u32,
    /// Something may have been changed: the step owes (rule 3).
    touched: bool,
    on_interrupt: OnInterrupt,
    outputs: Option<Value>,
    recorded: BTreeMap<Part, Map<String, Value>>,
    processes: BTreeMap<Part, Vec<ProcessIdentity>>,
}

impl StepState {
    fn new() -> Self {
        Self {
            phase: Phase::Pending,
            attempt: 0,
            undo_attempt: 0,
            failure: None,
            undo_failure: None,
            written_off: Vec::new(),
            failures: 0,
            undo_failures: 0,
            touched: false,
            on_interrupt: OnInterrupt::Ask,
            outputs: None,
            recorded: BTreeMap::new(),
            processes: BTreeMap::new(),
        }
    }
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Saga {
    shape: Shape,
    index: HashMap<StepId, Index>,
    states: Vec<StepState>,
    unwinding: bool,
    aborted: bool,
    passed: bool,
    irreversible: bool,
    settled: Option<Outcome>,
    boot: String,
    down: bool,
    downtime: Option<Downtime>,
    frontier: Frontier,
}

impl Saga {
    /// A run of `shape` to which nothing has happened yet.
    pub fn new(shape: Shape) -> Self {
        let index = shape.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        let states = vec![StepState::new(); shape.steps.len()];
        let frontier = Frontier::new(&shape);
        let mut saga = Self {
            shape,
            index,
            states,
            unwinding: false,
            aborted: false,
            passed: false,
            irreversible: false,
            settled: None,
            boot: String::new(),
            down: false,
            downtime: None,
            frontier,
        };
        saga.recount();
        saga
    }

    /// Folds one event.
    ///
    /// # Errors
    /// The event cannot have happened in this state; the saga is unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        match event {
            Event::Run(fact) => self.apply_run(fact),
            Event::Step(id, fact) => {
                let i = self.find(id).ok_or_else(|| IllegalEvent::NoSuchStep(id.clone()))?;
                self.apply_step(i, fact)
            }
        }
    }

    /// What is wanted now, derived from the state alone; what is to be dropped comes first. The same tasks are wanted until an event
    /// says that they began.
    pub fn wanted(&self) -> impl Iterator<Item = Task> + '_ {
        let open = !self.unwinding && self.frontier.questions.is_empty();
        let forward = (open || self.settled.is_some()).then_some(&self.frontier.ready).into_iter().flatten();
        // Rule 4: nothing is undone beside live forward work.
        let undo = (self.unwinding && self.frontier.live == 0).then_some(&self.frontier.undoable).into_iter().flatten();
        let dropped = self.settled.is_none().then_some(&self.frontier.dropped).into_iter().flatten();
        dropped
            .map(|&i| Task::Drop(i))
            .chain(forward.map(|&i| if self.probes(i) { Task::Probe(i) } else { Task::Run(i) }))
            .chain(undo.map(|&i| Task::Undo(i)))
    }

    /// The outcome that is due: nothing is wanted, live or asked, and it is not settled yet.
    pub fn verdict(&self) -> Option<Outcome> {
        if self.settled.is_some() || self.frontier.live > 0 || self.frontier.undoing > 0 || self.wanted().next().is_some() {
            return None;
        }
        match self.unwinding {
            true if self.owed().next().is_some() => Some(Outcome::Stuck),
            true => Some(Outcome::Compensated),
            false if !self.frontier.questions.is_empty() => None,
            false if self.forward().any(|i| self.states[i].phase == Phase::Failed) => Some(Outcome::Warned),
            false => Some(Outcome::Succeeded),
        }
    }

    /// How the run was settled.
    pub fn outcome(&self) -> Option<Outcome> {
        self.settled
    }

    /// Settled, and its `finally` steps have ended: nothing more happens by itself.
    pub fn finished(&self) -> bool {
        self.settled.is_some() && self.finally().all(|i| matches!(self.states[i].phase, Phase::Succeeded | Phase::Failed | Phase::Skipped))
    }

    /// Whether the run undoes what it did.
    pub fn unwinding(&self) -> bool {
        self.unwinding
    }

    /// Whether the operator asked for it to be undone.
    pub fn aborted(&self) -> bool {
        self.aborted
    }

    /// Whether the pivot is passed (rule 9).
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// Whether the run can still be undone: nothing irreversible started.
    pub fn reversible(&self) -> bool {
        !self.irreversible
    }

    /// The boot that the run's processes belong to.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Whether the measured service is known not to answer.
    pub fn down(&self) -> bool {
        self.down
    }

    /// How long the measured service did not answer so far; `None` where it always did.
    pub fn downtime(&self) -> Option<Downtime> {
        self.downtime
    }

    /// What the plan looks like to the saga.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The place of the step called `id`.
    pub fn find(&self, id: &StepId) -> Option<Index> {
        self.index.get(id).copied()
    }

    /// What is known of a step.
    pub fn step(&self, i: Index) -> &StepState {
        &self.states[i]
    }

    /// The steps of the plan, without `finally`.
    pub fn forward(&self) -> impl Iterator<Item = Index> + '_ {
        (0..self.shape.steps.len()).filter(|&i| !self.shape.steps[i].finally)
    }

    /// The `finally` steps.
    pub fn finally(&self) -> impl Iterator<Item = Index> + '_ {
        (0..self.shape.steps.len()).filter(|&i| self.shape.steps[i].finally)
    }

    /// Steps that owe a compensation, were the run to unwind (rule 3).
    pub fn owed(&self) -> impl Iterator<Item = Index> + '_ {
        self.forward().filter(|&i| self.owes(i))
    }

    /// Steps of which a person must say what became of them.
    pub fn questions(&self) -> impl Iterator<Item = Index> + '_ {
        self.frontier.questions.iter().copied()
    }

    /// Whether a compensation has begun.
    pub fn unwound(&self) -> bool {
        self.states.iter().any(|state| state.undo_attempt > 0)
    }

    /// What an unknown step's interruption means.
    pub fn on_interrupt(&self, i: Index) -> OnInterrupt {
        self.shape.steps[i].on_interrupt.unwrap_or(self.states[i].on_interrupt)
    }

    /// `steps.<id>` as another step's action sees it: null unless it succeeded (rule 10).
    pub fn outputs(&self, i: Index) -> Value {
        match self.states[i].phase {
            Phase::Succeeded => self.known(i),
            _ => Value::Null,
        }
    }

    /// `steps.<id>` as a compensation or a `finally` step sees it: also what was only recorded, and the `pid` of the newest process
    /// it spawned; null where there is nothing (rule 16).
    pub fn known(&self, i: Index) -> Value {
        let state = &self.states[i];
        let mut known = state.recorded.get(&self.action_part(i)).cloned().unwrap_or_default();
        if let Some(process) = state.processes.get(&self.action_part(i)).and_then(|processes| processes.last()) {
            known.insert("pid".to_owned(), process.pid.into());
        }
        if let Some(Value::Object(outputs)) = &state.outputs {
            known.extend(outputs.clone());
        }
        if known.is_empty() { Value::Null } else { Value::Object(known) }
    }

    /// What a part of a step recorded.
    pub fn recorded(&self, i: Index, part: Part) -> Map<String, Value> {
        self.states[i].recorded.get(&part).cloned().unwrap_or_default()
    }

    /// The processes that a part of a step spawned, oldest first.
    pub fn processes(&self, i: Index, part: Part) -> &[ProcessIdentity] {
        self.states[i].processes.get(&part).map_or(&[], Vec::as_slice)
    }

    /// The compensation of a step that is wanted or live.
    pub fn undo_part(&self, i: Index) -> usize {
        match self.states[i].phase {
            Phase::UndoDue(part) | Phase::Undoing(part) | Phase::UndoFailed(part) => part,
            _ => 0,
        }
    }

    /// The part that is the action of a step.
    pub fn action_part(&self, i: Index) -> Part {
        if self.shape.steps[i].finally { Part::Finally } else { Part::Action }
    }

    fn apply_run(&mut self, fact: &RunFact) -> Result<(), IllegalEvent> {
        match fact {
            RunFact::Opened(opened) => self.boot.clone_from(&opened.boot),
            RunFact::Resumed { .. } => self.resumed(),
            RunFact::Rebooted { boot } => self.rebooted(boot),
            RunFact::Aborted { .. } if self.irreversible => return Err(IllegalEvent::Run(Box::new(fact.clone()))),
            RunFact::Aborted { .. } => {
                self.aborted = true;
                self.settled = None;
                self.unwind();
            }
            RunFact::Unreachable => self.down = true,
            RunFact::Reachable(downtime) => {
                self.down = false;
                let so_far = self.downtime.unwrap_or_default();
                self.downtime =
                    Some(Downtime { ms: so_far.ms.saturating_add(downtime.ms), approximate: so_far.approximate || downtime.approximate });
            }
            RunFact::Settled(outcome) if self.verdict() == Some(*outcome) => {
                self.settled = Some(*outcome);
                self.reset_finally();
            }
            RunFact::Settled(_) => return Err(IllegalEvent::Run(Box::new(fact.clone()))),
        }
        self.recount();
        Ok(())
    }

    /// Another process takes over: what had no verdict is unknown, and a stuck compensation is tried again (rules 6 and 7).
    fn resumed(&mut self) {
        for i in 0..self.states.len() {
            let finally = self.shape.steps[i].finally;
            match self.states[i].phase {
                Phase::Started if finally => self.states[i].phase = Phase::Pending,
                Phase::Started => self.lose_sight_of(i),
                Phase::Undoing(part) => self.states[i].phase = Phase::UndoDue(part),
                Phase::UndoFailed(part) => {
                    self.states[i].phase = Phase::UndoDue(part);
                    self.states[i].undo_failures = 0;
                    self.settled = None;
                }
                Phase::Pending
                | Phase::Retrying
                | Phase::Succeeded
                | Phase::Failed
                | Phase::Unknown
                | Phase::Skipped
                | Phase::NotRun
                | Phase::UndoDue(_)
                | Phase::Undone => {}
            }
        }
    }

    /// What a reboot took away is done again, with the checks that need it (rule 19).
    fn rebooted(&mut self, boot: &str) {
        boot.clone_into(&mut self.boot);
        if self.unwinding { self.undo_volatile_again() } else { self.run_volatile_again() }
    }

    fn run_volatile_again(&mut self) {
        let mut again = vec![false; self.states.len()];
        for at in 0..self.frontier.order.len() {
            let i = self.frontier.order[at];
            let step = &self.shape.steps[i];
            again[i] = step.needs.iter().any(|&needed| again[needed]);
            if self.states[i].phase != Phase::Succeeded || step.finally {
                continue;
            }
            let volatile = step.effect == Effect::Volatile;
            if volatile || (again[i] && step.effect == Effect::Observes) {
                again[i] = true;
                self.states[i].phase = Phase::Pending;
                self.states[i].failures = 0;
                self.settled = None;
            }
        }
    }

    fn undo_volatile_again(&mut self) {
        let mut again = vec![false; self.states.len()];
        for at in (0..self.frontier.order.len()).rev() {
            let i = self.frontier.order[at];
            again[i] = self.frontier.dependents[i].iter().any(|&dependent| again[dependent]);
            let gone = |effect| effect == Effect::Volatile || (again[i] && effect == Effect::Observes);
            let compensations = &self.shape.steps[i].compensations;
            let Some(first) = compensations.iter().position(|compensation| gone(compensation.effect)) else { continue };
            let behind = match self.states[i].phase {
                Phase::Undone => true,
                Phase::UndoDue(part) | Phase::UndoFailed(part) | Phase::Undoing(part) => part > first,
                _ => false,
            };
            if behind {
                again[i] = true;
                self.states[i].phase = Phase::UndoDue(first);
                self.states[i].undo_failures = 0;
                self.settled = None;
            }
        }
    }

    fn reset_finally(&mut self) {
        for i in 0..self.states.len() {
            if self.shape.steps[i].finally {
                // What an earlier attempt left running must still be ended before the next one.
                let processes = std::mem::take(&mut self.states[i].processes);
                self.states[i] = StepState { attempt: self.states[i].attempt, processes, ..StepState::new() };
            }
        }
    }

    fn apply_step(&mut self, i: Index, fact: &Fact) -> Result<(), IllegalEvent> {
        let unwinding = self.unwinding;
        let next = self.next_phase(i, fact)?;
        self.keep(i, fact, next);
        self.states[i].phase = next;
        match next {
            Phase::Unknown => self.lose_sight_of(i),
            Phase::Failed => self.failed(i),
            Phase::Started if self.shape.steps[i].irreversible => {
                self.irreversible = true;
                // It is the pivot or behind it: either way there is no way back any more.
                self.passed = true;
            }
            Phase::Succeeded | Phase::Skipped => self.passed |= self.shape.steps[i].pivot,
            _ => {}
        }
        if self.unwinding == unwinding {
            self.refresh(i)
        } else {
            self.recount()
        }
        Ok(())
    }

    /// The one place where a phase follows from a fact.
    fn next_phase(&self, i: Index, fact: &Fact) -> Result<Phase, IllegalEvent> {
        let (step, state) = (&self.shape.steps[i], &self.states[i]);
        let forward = if step.finally { self.settled.is_some() } else { !self.unwinding && self.settled.is_none() };
        let undo = self.unwinding && !step.finally && self.settled.is_none();
        Ok(match (state.phase, fact) {
            (Phase::Pending | Phase::Retrying | Phase::Unknown, Fact::Started { .. }) if forward => Phase::Started,
            (Phase::Started, Fact::Succeeded(_)) => Phase::Succeeded,
            (Phase::Started, Fact::Failed(_)) if state.failures + 1 < step.attempts && !self.unwinding => Phase::Retrying,
            (Phase::Started, Fact::Failed(_)) => Phase::Failed,
            // Its inputs could not be rendered: nothing was begun (this time).
            (Phase::Pending | Phase::Retrying | Phase::Unknown, Fact::Failed(failure)) if forward && failure.clean => Phase::Failed,
            (Phase::Started, Fact::Unknown) if !step.finally => Phase::Unknown,
            (Phase::Pending, Fact::Skipped) if forward && state.attempt == 0 => Phase::Skipped,
            (_, Fact::NotRun) if self.settled.is_none() && self.frontier.dropped.contains(&i) => Phase::NotRun,
            (Phase::Pending, Fact::Skipped) if step.finally && forward => Phase::Skipped,
            (Phase::Unknown, Fact::Resolved(Answer::Done { .. })) if forward => Phase::Succeeded,
            (Phase::Unknown, Fact::Resolved(Answer::NotDone { .. })) if forward => Phase::Pending,
            (phase, Fact::Recorded { part, .. } | Fact::Spawned { part, .. }) if self.lives(i, *part) => phase,
            (_, Fact::UndoStarted { part, .. }) if undo && self.due(i) == Some(*part) => Phase::Undoing(*part),
            (Phase::Undoing(live), Fact::Undone { part }) if live == *part => self.after_compensation(i, live),
            // Its `when` was false.
            (_, Fact::Undone { part }) if undo && self.due(i) == Some(*part) => self.after_compensation(i, *part),
            (Phase::Undoing(live), Fact::UndoFailed { part, .. }) if live == *part => self.after_failed_compensation(i, live),
            // Its inputs could not be rendered.
            (_, Fact::UndoFailed { part, .. }) if undo && self.due(i) == Some(*part) => self.after_failed_compensation(i, *part),
            (phase, fact) => return Err(IllegalEvent::Fact { step: step.id.clone(), phase, fact: Box::new(fact.clone()) }),
        })
    }

    /// What a fact leaves behind, beside the phase.
    fn keep(&mut self, i: Index, fact: &Fact, next: Phase) {
        let action = self.action_part(i);
        let state = &mut self.states[i];
        match fact {
            Fact::Started { attempt, on_interrupt } => {
                state.attempt = *attempt;
                state.on_interrupt = *on_interrupt;
            }
            Fact::Recorded { part, name, value } => {
                // The first record of a name stands.
                state.recorded.entry(*part).or_default().entry(name.clone()).or_insert_with(|| value.clone());
            }
            Fact::Spawned { part, process } => state.processes.entry(*part).or_default().push(process.clone()),
            Fact::Succeeded(outputs) => {
                state.touched = true;
                state.failure = None;
                state.outputs = Some(outputs.clone());
            }
            Fact::Failed(failure) => {
                state.touched |= !failure.clean;
                state.failures += 1;
                state.failure = Some(failure.clone());
            }
            Fact::Unknown => state.touched = true,
            Fact::Resolved(Answer::Done { outputs, .. }) => {
                let mut all = state.recorded.get(&action).cloned().unwrap_or_default();
                all.extend(outputs.clone());
                state.failure = None;
                state.outputs = Some(Value::Object(all));
            }
            Fact::Resolved(Answer::NotDone { .. }) | Fact::Skipped | Fact::NotRun => {}
            Fact::UndoStarted { attempt, .. } => state.undo_attempt = *attempt,
            Fact::Undone { .. } => {
                state.undo_failures = 0;
                state.undo_attempt = state.undo_attempt.max(1);
            }
            Fact::UndoFailed { part, failure } => {
                state.undo_attempt = state.undo_attempt.max(1);
                state.undo_failure = Some(failure.clone());
                state.undo_failures += 1;
                if next != Phase::UndoDue(*part) && next != Phase::UndoFailed(*part) {
                    state.written_off.push(failure.clone());
                    state.undo_failures = 0;
                }
            }
        }
    }

    fn lose_sight_of(&mut self, i: Index) {
        self.states[i].touched = true;
        self.states[i].phase = Phase::Unknown;
        if self.on_interrupt(i) == OnInterrupt::Compensate && !self.shape.steps[i].probe {
            self.states[i].phase = Phase::Failed;
            self.states[i].failure.get_or_insert_with(|| Failure::dirty("it was interrupted"));
            self.failed(i);
        }
    }

    /// A step failed for good: does the run unwind? (rule 9)
    fn failed(&mut self, i: Index) {
        let step = &self.shape.steps[i];
        if step.continue_on_failure {
            // The plan says to go on past it, as past a pivot that was skipped.
            self.passed |= step.pivot;
        } else if !step.finally && !self.passed {
            self.unwind();
        }
    }

    /// From here on the run undoes what it did. A retry that will not come any more leaves its step failed.
    fn unwind(&mut self) {
        if std::mem::replace(&mut self.unwinding, true) {
            return;
        }
        for i in 0..self.states.len() {
            if self.states[i].phase == Phase::Retrying && !self.shape.steps[i].finally {
                self.states[i].phase = Phase::Failed;
            }
        }
    }

    fn after_compensation(&self, i: Index, part: usize) -> Phase {
        if part + 1 < self.shape.steps[i].compensations.len() { Phase::UndoDue(part + 1) } else { Phase::Undone }
    }

    fn after_failed_compensation(&self, i: Index, part: usize) -> Phase {
        let compensation = &self.shape.steps[i].compensations[part];
        if self.states[i].undo_failures + 1 < compensation.attempts {
            Phase::UndoDue(part)
        } else if compensation.continue_on_failure {
            self.after_compensation(i, part)
        } else {
            Phase::UndoFailed(part)
        }
    }

    /// The compensation that a step owes next.
    fn due(&self, i: Index) -> Option<usize> {
        match self.states[i].phase {
            Phase::UndoDue(part) => Some(part),
            Phase::Pending | Phase::Retrying | Phase::Succeeded | Phase::Failed | Phase::Unknown | Phase::NotRun if self.owes(i) => Some(0),
            _ => None,
        }
    }

    /// Rule 3: whoever started owes, unless every attempt failed cleanly.
    fn owes(&self, i: Index) -> bool {
        let state = &self.states[i];
        let started = state.touched || state.phase == Phase::Started;
        started && state.phase != Phase::Undone && !self.shape.steps[i].compensations.is_empty()
    }

    fn lives(&self, i: Index, part: Part) -> bool {
        match (self.states[i].phase, part) {
            (Phase::Started, Part::Action) => !self.shape.steps[i].finally,
            (Phase::Started, Part::Finally) => self.shape.steps[i].finally,
            (Phase::Unknown, Part::Probe) => true,
            (Phase::Undoing(live), Part::Compensation(part)) => live == part,
            _ => false,
        }
    }

    fn probes(&self, i: Index) -> bool {
        self.states[i].phase == Phase::Unknown && self.shape.steps[i].probe
    }
}
