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
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::{
    Answer, DebtAnswer, Downtime, Effect, Event, Fact, Failure, HostId, Leftover, OnInterrupt, Outcome, Part, RunFact, ServiceState,
    StepId, WrongAnswer,
};
use crate::graph::Graph;
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
    /// Whether its action waits for a person's answer while it is live.
    pub waits_for_answer: bool,
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
pub enum StepPhase {
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

/// Why a step failed that was interrupted, and is not asked about.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("it was interrupted")]
struct Interrupted;

/// A fact that cannot have happened: the journal belongs to another plan, or the executor has a bug.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IllegalEvent {
    /// A fact that does not fit the phase of its step.
    #[error("step `{step}` is {phase:?}, where this cannot happen: {fact:?}")]
    Fact {
        /// The step.
        step: StepId,
        /// Where it is.
        phase: StepPhase,
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

/// A compensation that will not be done.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenOff {
    /// Which of the list.
    pub part: usize,
    /// Why it failed last, where it did.
    pub failure: Option<Failure>,
    /// The person who wrote it off; `None`: the plan did, with `on_failure = "continue"`.
    pub answer: Option<DebtAnswer>,
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Where it is.
    pub phase: StepPhase,
    /// Attempts of the action so far.
    pub attempt: u32,
    /// Attempts of its compensations so far.
    pub undo_attempt: u32,
    /// Why the last attempt of the action failed.
    pub failure: Option<Failure>,
    /// Why the last attempt of a compensation failed.
    pub undo_failure: Option<Failure>,
    /// Debts that were written off: by the plan, or by a person (rules 7 and 20).
    pub written_off: Vec<WrittenOff>,
    /// Debts that a person paid (rule 20).
    pub by_hand: Vec<DebtAnswer>,
    failures: u32,
    undo_failures: u32,
    /// Something may have been changed: the step owes (rule 3).
    touched: bool,
    on_interrupt: OnInterrupt,
    outputs: Option<Value>,
    recorded: BTreeMap<Part, Map<String, Value>>,
    processes: BTreeMap<Part, Vec<Leftover>>,
    /// Where the newest attempt of the action is or was done.
    host: Option<HostId>,
    /// Where each compensation is or was done.
    undo_hosts: BTreeMap<usize, HostId>,
}

impl StepState {
    fn new() -> Self {
        Self {
            phase: StepPhase::Pending,
            attempt: 0,
            undo_attempt: 0,
            failure: None,
            undo_failure: None,
            written_off: Vec::new(),
            by_hand: Vec::new(),
            failures: 0,
            undo_failures: 0,
            touched: false,
            on_interrupt: OnInterrupt::Ask,
            outputs: None,
            recorded: BTreeMap::new(),
            processes: BTreeMap::new(),
            host: None,
            undo_hosts: BTreeMap::new(),
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
    /// The boot of each host that the run knows of.
    boots: BTreeMap<HostId, String>,
    /// It was undone after it had succeeded.
    rolled_back: bool,
    service: Measured,
    /// What needs what, as `shape` says.
    graph: Arc<Graph>,
    frontier: Frontier,
}

/// What is known of the measured service.
#[derive(Debug, Clone, Default, PartialEq)]
struct Measured {
    /// Whether it answered when that was last told.
    answers: Option<bool>,
    /// What was wrong with its answers, where that is known.
    wrong: Option<WrongAnswer>,
    /// Whether an outage goes on: it does not answer, and did before.
    outage: bool,
    /// How long that lasts, as far as it was told.
    so_far: Option<Downtime>,
    /// All outages that are over.
    over: Option<Downtime>,
}

impl Saga {
    /// A run of `shape` to which nothing has happened yet.
    pub fn new(shape: Shape) -> Self {
        let index = shape.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        let states = vec![StepState::new(); shape.steps.len()];
        let needs: Vec<&[Index]> = shape.steps.iter().map(|step| step.needs.as_slice()).collect();
        let graph = Graph::new(&needs);
        assert_eq!(graph.order().len(), needs.len(), "a plan with a cycle does not pass its check");
        let mut saga = Self {
            shape,
            index,
            states,
            unwinding: false,
            aborted: false,
            passed: false,
            irreversible: false,
            settled: None,
            boots: BTreeMap::new(),
            rolled_back: false,
            service: Measured::default(),
            graph: Arc::new(graph),
            frontier: Frontier::default(),
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

    /// The outcome that is due: nothing is wanted, live or asked, and it is not settled yet. What was stuck may go on while a `finally`
    /// step is live: that ends first, as settling begins them all again.
    pub fn verdict(&self) -> Option<Outcome> {
        let due = self.outcome_due()?;
        (!self.finally().any(|i| self.states[i].phase == StepPhase::Started)).then_some(due)
    }

    /// The same, whether or not a `finally` step is live: runs were settled beside one.
    fn outcome_due(&self) -> Option<Outcome> {
        if self.settled.is_some() || self.frontier.live > 0 || self.frontier.undoing > 0 || self.wanted().next().is_some() {
            return None;
        }
        match self.unwinding {
            true if self.owed().next().is_some() => Some(Outcome::Stuck),
            true => Some(Outcome::Compensated),
            false if !self.frontier.questions.is_empty() => None,
            false if self.forward().any(|i| self.states[i].phase == StepPhase::Failed) => Some(Outcome::Warned),
            false => Some(Outcome::Succeeded),
        }
    }

    /// How the run was settled.
    pub fn outcome(&self) -> Option<Outcome> {
        self.settled
    }

    /// Settled, and its `finally` steps have ended: nothing more happens by itself.
    pub fn finished(&self) -> bool {
        self.settled.is_some()
            && self.finally().all(|i| matches!(self.states[i].phase, StepPhase::Succeeded | StepPhase::Failed | StepPhase::Skipped))
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

    /// The boot that the run's processes on `host` belong to; `None` where it did nothing there yet.
    pub fn boot(&self, host: &HostId) -> Option<&str> {
        self.boots.get(host).map(String::as_str)
    }

    /// Whether a person asked for it to be undone after it had succeeded.
    pub fn rolled_back(&self) -> bool {
        self.rolled_back
    }

    /// Whether any step may have changed something, as far as its kind can.
    pub fn changed(&self) -> bool {
        self.forward().any(|i| {
            let state = &self.states[i];
            self.shape.steps[i].effect != Effect::Observes && (state.touched || state.phase == StepPhase::Started)
        })
    }

    /// Whether the measured service answers, as far as that was told; `None` where none is measured or nothing was told of it yet.
    pub fn answers(&self) -> Option<bool> {
        self.service.answers
    }

    /// What is wrong with the answers of the measured service, where that is known.
    pub fn wrong_answer(&self) -> Option<&WrongAnswer> {
        self.service.wrong.as_ref()
    }

    /// Whether the measured service is known not to answer.
    pub fn down(&self) -> bool {
        self.service.answers == Some(false)
    }

    /// Whether an outage of the measured service goes on: it does not answer, and did before.
    pub fn outage(&self) -> bool {
        self.service.outage
    }

    /// How long the measured service did not answer, up to when that was last told (rule 21); `None` where it always did.
    pub fn downtime(&self) -> Option<Downtime> {
        match (self.service.over, self.service.so_far) {
            (over, Some(so_far)) => Some(sum(over, so_far)),
            (over, None) => over,
        }
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

    /// Whether a compensation has begun, or a person answered for one.
    pub fn unwound(&self) -> bool {
        self.states.iter().any(|state| state.undo_attempt > 0 || !state.by_hand.is_empty() || !state.written_off.is_empty())
    }

    /// What an unknown step's interruption means.
    pub fn on_interrupt(&self, i: Index) -> OnInterrupt {
        self.shape.steps[i].on_interrupt.unwrap_or(self.states[i].on_interrupt)
    }

    /// `steps.<id>` as another step's action sees it: null unless it succeeded (rule 10).
    pub fn outputs(&self, i: Index) -> Value {
        match self.states[i].phase {
            StepPhase::Succeeded => self.known(i),
            _ => Value::Null,
        }
    }

    /// `steps.<id>` as a compensation or a `finally` step sees it: also what was only recorded, and the `pid` of the newest process
    /// it spawned; null where there is nothing (rule 16).
    pub fn known(&self, i: Index) -> Value {
        let state = &self.states[i];
        let mut known = state.recorded.get(&self.action_part(i)).cloned().unwrap_or_default();
        if let Some(newest) = state.processes.get(&self.action_part(i)).and_then(|processes| processes.last()) {
            known.insert("pid".to_owned(), newest.process.pid.into());
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
    pub fn processes(&self, i: Index, part: Part) -> &[Leftover] {
        self.states[i].processes.get(&part).map_or(&[], Vec::as_slice)
    }

    /// The compensation of a step that is wanted or live.
    pub fn undo_part(&self, i: Index) -> usize {
        match self.states[i].phase {
            StepPhase::UndoDue(part) | StepPhase::Undoing(part) | StepPhase::UndoFailed(part) => part,
            _ => 0,
        }
    }

    /// The part that is the action of a step.
    pub fn action_part(&self, i: Index) -> Part {
        if self.shape.steps[i].finally { Part::Finally } else { Part::Action }
    }

    fn apply_run(&mut self, fact: &RunFact) -> Result<(), IllegalEvent> {
        match fact {
            RunFact::Opened(opened) => {
                self.boots.insert(opened.host.clone(), opened.boot.clone());
            }
            RunFact::Resumed { .. } => self.resumed(),
            RunFact::Rebooted { host, boot } => self.rebooted(host, boot),
            RunFact::Aborted { .. } if self.irreversible => return Err(IllegalEvent::Run(Box::new(fact.clone()))),
            RunFact::Aborted { .. } => {
                self.aborted = true;
                self.rolled_back |= matches!(self.settled, Some(Outcome::Succeeded | Outcome::Warned));
                self.settled = None;
                self.unwind();
            }
            RunFact::Unreachable => {
                let over = self.service.over;
                self.service = Measured { answers: Some(false), outage: true, over, ..Measured::default() };
            }
            RunFact::Reachable(downtime) => {
                let over = Some(sum(self.service.over, *downtime));
                self.service = Measured { answers: Some(true), over, ..Measured::default() };
            }
            RunFact::Asked(ServiceState { wrong, outage }) => {
                self.service.answers = Some(wrong.is_none());
                self.service.wrong = wrong.clone();
                self.service.outage &= wrong.is_some();
                self.service.so_far = *outage;
            }
            RunFact::Settled(outcome) if self.outcome_due() == Some(*outcome) => {
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
                StepPhase::Started if finally => self.states[i].phase = StepPhase::Pending,
                StepPhase::Started => self.lose_sight_of(i),
                StepPhase::Undoing(part) => self.states[i].phase = StepPhase::UndoDue(part),
                StepPhase::UndoFailed(part) => {
                    self.states[i].phase = StepPhase::UndoDue(part);
                    self.states[i].undo_failures = 0;
                    self.settled = None;
                }
                StepPhase::Pending
                | StepPhase::Retrying
                | StepPhase::Succeeded
                | StepPhase::Failed
                | StepPhase::Unknown
                | StepPhase::Skipped
                | StepPhase::NotRun
                | StepPhase::UndoDue(_)
                | StepPhase::Undone => {}
            }
        }
    }

    /// What a reboot took away is done again, with the checks that need it (rule 19).
    fn rebooted(&mut self, host: &HostId, boot: &str) {
        let before = self.boots.insert(host.clone(), boot.to_owned());
        match before {
            // The run did nothing there before: nothing can be gone.
            None => {}
            Some(_) if self.unwinding => self.undo_volatile_again(host),
            Some(_) => self.run_volatile_again(host),
        }
    }

    fn run_volatile_again(&mut self, host: &HostId) {
        let mut again = vec![false; self.states.len()];
        let graph = Arc::clone(&self.graph);
        for &i in graph.order() {
            let step = &self.shape.steps[i];
            again[i] = graph.needs(i).any(|needed| again[needed]);
            if self.states[i].phase != StepPhase::Succeeded || step.finally {
                continue;
            }
            let volatile = step.effect == Effect::Volatile && self.states[i].host.as_ref().is_none_or(|at| at == host);
            if volatile || (again[i] && step.effect == Effect::Observes) {
                again[i] = true;
                self.states[i].phase = StepPhase::Pending;
                self.states[i].failures = 0;
                self.settled = None;
            }
        }
    }

    fn undo_volatile_again(&mut self, host: &HostId) {
        let mut again = vec![false; self.states.len()];
        let graph = Arc::clone(&self.graph);
        for &i in graph.order().iter().rev() {
            again[i] = graph.dependents(i).any(|dependent| again[dependent]);
            let there = |part| self.states[i].undo_hosts.get(&part).is_none_or(|at| at == host);
            let gone = |part, effect| (effect == Effect::Volatile && there(part)) || (again[i] && effect == Effect::Observes);
            let mut compensations = self.shape.steps[i].compensations.iter().enumerate();
            let Some((first, _)) = compensations.find(|&(part, compensation)| gone(part, compensation.effect)) else { continue };
            let behind = match self.states[i].phase {
                StepPhase::Undone => true,
                StepPhase::UndoDue(part) | StepPhase::UndoFailed(part) | StepPhase::Undoing(part) => part > first,
                _ => false,
            };
            if behind {
                again[i] = true;
                self.states[i].phase = StepPhase::UndoDue(first);
                self.states[i].undo_failures = 0;
                self.settled = None;
            }
        }
    }

    /// They run each time the run is settled (rule 11).
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
        let before = (self.unwinding, self.settled);
        let next = self.next_phase(i, fact)?;
        self.keep(i, fact, next);
        self.states[i].phase = next;
        match next {
            StepPhase::Unknown => self.lose_sight_of(i),
            StepPhase::Failed => self.failed(i),
            StepPhase::Started if self.shape.steps[i].irreversible => {
                self.irreversible = true;
                // It is the pivot or behind it: either way there is no way back any more.
                self.passed = true;
            }
            StepPhase::Succeeded | StepPhase::Skipped => self.passed |= self.shape.steps[i].pivot,
            _ => {}
        }
        if matches!(fact, Fact::Resolved(answer) if answer.debt().is_some()) {
            // What was stuck on it goes on.
            self.settled = None;
        }
        if (self.unwinding, self.settled) == before {
            self.refresh(i)
        } else {
            self.recount()
        }
        Ok(())
    }

    /// Whether a person may say that the live work of step `i` is done (rule 20): behind the pivot nothing is undone for it.
    pub fn can_be_ended(&self, i: Index) -> bool {
        let step = &self.shape.steps[i];
        self.passed() && !self.unwinding && !step.finally && !step.waits_for_answer && self.states[i].phase == StepPhase::Started
    }

    /// The one place where a phase follows from a fact.
    fn next_phase(&self, i: Index, fact: &Fact) -> Result<StepPhase, IllegalEvent> {
        let (step, state) = (&self.shape.steps[i], &self.states[i]);
        let forward = if step.finally { self.settled.is_some() } else { !self.unwinding && self.settled.is_none() };
        let undo = self.unwinding && !step.finally && self.settled.is_none();
        Ok(match (state.phase, fact) {
            (StepPhase::Pending | StepPhase::Retrying | StepPhase::Unknown, Fact::Started { .. }) if forward => StepPhase::Started,
            (StepPhase::Started, Fact::Succeeded(_)) => StepPhase::Succeeded,
            (StepPhase::Started, Fact::Failed(_)) if state.failures + 1 < step.attempts && !self.unwinding => StepPhase::Retrying,
            (StepPhase::Started, Fact::Failed(_)) => StepPhase::Failed,
            // Its inputs could not be rendered: nothing was begun (this time).
            (StepPhase::Pending | StepPhase::Retrying | StepPhase::Unknown, Fact::Failed(failure)) if forward && failure.clean => {
                StepPhase::Failed
            }
            // Rules 6, 7 and 11, in this order: what is gone without a verdict, while the run goes on.
            (StepPhase::Started, Fact::Unknown | Fact::Lost { part: Part::Action }) if !step.finally => StepPhase::Unknown,
            (StepPhase::Unknown, Fact::Lost { part: Part::Probe }) if step.probe => StepPhase::Unknown,
            (StepPhase::Undoing(live), Fact::Lost { part: Part::Compensation(part) }) if live == *part => StepPhase::UndoDue(live),
            (StepPhase::Started, Fact::Lost { part: Part::Finally }) if step.finally => StepPhase::Pending,
            (StepPhase::Pending, Fact::Skipped) if forward && state.attempt == 0 => StepPhase::Skipped,
            (_, Fact::NotRun) if self.settled.is_none() && self.frontier.dropped.contains(&i) => StepPhase::NotRun,
            (StepPhase::Pending, Fact::Skipped) if step.finally && forward => StepPhase::Skipped,
            (StepPhase::Unknown, Fact::Resolved(Answer::Done { .. })) if forward => StepPhase::Succeeded,
            (StepPhase::Unknown, Fact::Resolved(Answer::NotDone { .. })) if forward => StepPhase::Pending,
            // Rule 20: whatever keeps it from being done, a person may do it, or write it off.
            (_, Fact::Resolved(Answer::Undone(answer) | Answer::GivenUp(answer))) if self.debt(i) == Some(answer.part) => {
                self.after_compensation(i, answer.part)
            }
            (phase, Fact::Recorded { part, .. } | Fact::Spawned { part, .. }) if self.lives(i, *part) => phase,
            (_, Fact::UndoStarted { part, .. }) if undo && self.due(i) == Some(*part) => StepPhase::Undoing(*part),
            (StepPhase::Undoing(live), Fact::Undone { part }) if live == *part => self.after_compensation(i, live),
            // Its `when` was false.
            (_, Fact::Undone { part }) if undo && self.due(i) == Some(*part) => self.after_compensation(i, *part),
            (StepPhase::Undoing(live), Fact::UndoFailed { part, .. }) if live == *part => self.after_failed_compensation(i, live),
            // Its inputs could not be rendered.
            (_, Fact::UndoFailed { part, .. }) if undo && self.due(i) == Some(*part) => self.after_failed_compensation(i, *part),
            (phase, fact) => return Err(IllegalEvent::Fact { step: step.id.clone(), phase, fact: Box::new(fact.clone()) }),
        })
    }

    /// What a fact leaves behind, beside the phase.
    fn keep(&mut self, i: Index, fact: &Fact, next: StepPhase) {
        let action = self.action_part(i);
        let state = &mut self.states[i];
        match fact {
            Fact::Started { attempt, on_interrupt, host } => {
                state.host = Some(host.clone());
                state.attempt = *attempt;
                state.on_interrupt = *on_interrupt;
            }
            Fact::Recorded { part, name, value } => {
                // The first record of a name stands.
                state.recorded.entry(*part).or_default().entry(name.clone()).or_insert_with(|| value.clone());
            }
            Fact::Spawned { part, host, process } => {
                let leftover = Leftover { host: host.clone(), process: process.clone() };
                state.processes.entry(*part).or_default().push(leftover);
            }
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
            Fact::Unknown | Fact::Lost { part: Part::Action } => state.touched = true,
            Fact::Lost { .. } => {}
            Fact::Resolved(Answer::Done { outputs, .. }) => {
                let mut all = state.recorded.get(&action).cloned().unwrap_or_default();
                all.extend(outputs.clone());
                state.failure = None;
                state.outputs = Some(Value::Object(all));
            }
            Fact::Resolved(Answer::NotDone { .. }) | Fact::Skipped | Fact::NotRun => {}
            Fact::Resolved(Answer::Undone(answer)) => {
                state.by_hand.push(answer.clone());
                (state.undo_failures, state.undo_failure) = (0, None);
            }
            Fact::Resolved(Answer::GivenUp(answer)) => {
                let failure = state.undo_failure.take();
                state.written_off.push(WrittenOff { part: answer.part, failure, answer: Some(answer.clone()) });
                state.undo_failures = 0;
            }
            Fact::UndoStarted { part, attempt, host } => {
                state.undo_attempt = *attempt;
                state.undo_hosts.insert(*part, host.clone());
            }
            Fact::Undone { .. } => {
                (state.undo_failures, state.undo_failure) = (0, None);
                state.undo_attempt = state.undo_attempt.max(1);
            }
            Fact::UndoFailed { part, failure } => {
                state.undo_attempt = state.undo_attempt.max(1);
                state.undo_failure = Some(failure.clone());
                state.undo_failures += 1;
                if next != StepPhase::UndoDue(*part) && next != StepPhase::UndoFailed(*part) {
                    state.written_off.push(WrittenOff { part: *part, failure: Some(failure.clone()), answer: None });
                    state.undo_failures = 0;
                }
            }
        }
    }

    fn lose_sight_of(&mut self, i: Index) {
        self.states[i].touched = true;
        self.states[i].phase = StepPhase::Unknown;
        if self.on_interrupt(i) == OnInterrupt::Compensate && !self.shape.steps[i].probe {
            self.states[i].phase = StepPhase::Failed;
            self.states[i].failure.get_or_insert_with(|| Failure::dirty(Interrupted));
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
            if self.states[i].phase == StepPhase::Retrying && !self.shape.steps[i].finally {
                self.states[i].phase = StepPhase::Failed;
            }
        }
    }

    fn after_compensation(&self, i: Index, part: usize) -> StepPhase {
        if part + 1 < self.shape.steps[i].compensations.len() { StepPhase::UndoDue(part + 1) } else { StepPhase::Undone }
    }

    /// It is tried again, or written off, or stands in the way of all that its step depends on (rule 7).
    fn after_failed_compensation(&self, i: Index, part: usize) -> StepPhase {
        let compensation = &self.shape.steps[i].compensations[part];
        if self.states[i].undo_failures + 1 < compensation.attempts {
            StepPhase::UndoDue(part)
        } else if compensation.continue_on_failure {
            self.after_compensation(i, part)
        } else {
            StepPhase::UndoFailed(part)
        }
    }

    /// The compensation that a step owes next.
    fn due(&self, i: Index) -> Option<usize> {
        match self.states[i].phase {
            StepPhase::UndoDue(part) => Some(part),
            StepPhase::UndoFailed(_) | StepPhase::Undoing(_) | StepPhase::Undone | StepPhase::Skipped | StepPhase::Started => None,
            StepPhase::Pending | StepPhase::Retrying | StepPhase::NotRun => self.owes(i).then_some(0),
            StepPhase::Succeeded | StepPhase::Failed | StepPhase::Unknown => self.owes(i).then_some(0),
        }
    }

    /// The compensation that a person may answer for: what a step owes next, while nothing forward of it is live.
    pub fn debt(&self, i: Index) -> Option<usize> {
        let live = self.states[i].phase == StepPhase::Started;
        (self.unwinding && !live && self.owes(i)).then(|| self.undo_part(i))
    }

    /// Rule 3: whoever started owes, unless every attempt failed cleanly.
    fn owes(&self, i: Index) -> bool {
        let state = &self.states[i];
        let started = state.touched || state.phase == StepPhase::Started;
        started && state.phase != StepPhase::Undone && !self.shape.steps[i].compensations.is_empty()
    }

    fn lives(&self, i: Index, part: Part) -> bool {
        match (self.states[i].phase, part) {
            (StepPhase::Started, Part::Action) => !self.shape.steps[i].finally,
            (StepPhase::Started, Part::Finally) => self.shape.steps[i].finally,
            (StepPhase::Unknown, Part::Probe) => true,
            (StepPhase::Undoing(live), Part::Compensation(part)) => live == part,
            _ => false,
        }
    }

    fn probes(&self, i: Index) -> bool {
        self.states[i].phase == StepPhase::Unknown && self.shape.steps[i].probe
    }
}

/// Two times together.
fn sum(one: Option<Downtime>, other: Downtime) -> Downtime {
    let one = one.unwrap_or_default();
    Downtime { ms: one.ms.saturating_add(other.ms), approximate: one.approximate || other.approximate }
}
