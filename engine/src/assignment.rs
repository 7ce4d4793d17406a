//! What a task comes to: skip it, say that it cannot begin, or start it with these inputs, limits and leftovers.
//!
//! ```text
//!  (plan, saga, values, kinds, task) ──> Drop · Skip · CannotBegin · Start ──> the fact that records it
//! ```
//!
//! Pure: nothing is run, kept or shown. Whoever drives a saga asks here, whether it executes the work itself, shows what would be done,
//! or hands the work to others. Every decision is made from the saga as it is now, so that a task that is asked about twice without an
//! event in between comes to the same.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::context::Summary;
use crate::event::{Effect, Fact, Failure, HostId, Leftover, Part, StepId};
use crate::plan::{Action, Plan, PlannedStep, Scope, TemplateError, Templates};
use crate::registry::{InputError, Prepared, RegisteredKind, Registry};
use crate::saga::{Index, Saga, Task};

/// What assignments are made from.
#[derive(Clone, Copy)]
pub struct Assigner<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    /// Its values.
    pub templates: &'a Templates,
    /// The kinds that it uses.
    pub registry: &'a Registry,
    /// Where the work would be done.
    pub host: &'a HostId,
}

/// What a task comes to.
pub enum Assignment {
    /// It will not be run any more: something that it needs did not happen, or the run unwinds.
    Drop,
    /// Its `when` is false (rule 10).
    Skip,
    /// Its `when` cannot be decided, or its inputs cannot be rendered or do not fit. Nothing was changed.
    CannotBegin(Failure),
    /// It is to be started.
    Start(Start),
}

/// An attempt that is to be started.
pub struct Start {
    /// Counts from 1, through every resume.
    pub attempt: u32,
    /// Where it is to be done.
    pub host: HostId,
    /// The kind, with its inputs rendered.
    pub work: Box<dyn Prepared>,
    /// How long it may take: what the plan says, else the kind; `None` is without limit.
    pub timeout: Option<Duration>,
    /// Processes that earlier attempts of the step left, and that are to be ended before this one begins (rule 18).
    pub leftovers: Vec<Leftover>,
}

/// The part of which step a task is about.
pub fn target(saga: &Saga, task: Task) -> (Index, Part) {
    match task {
        Task::Run(i) | Task::Drop(i) => (i, saga.action_part(i)),
        Task::Probe(i) => (i, Part::Probe),
        Task::Undo(i) => (i, Part::Compensation(saga.undo_part(i))),
    }
}

/// Why work cannot begin.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum BeginError {
    #[error("the inputs of `{kind}` do not fit: {error}")]
    Inputs { kind: String, error: InputError },
    #[error("`when` cannot be decided: {error}")]
    When { error: TemplateError },
}

impl Assignment {
    /// The fact that records it, to be durable before its effect (rule 1); `None` for a probe, which leaves no trace but its answer.
    pub fn fact(&self, part: Part) -> Option<Fact> {
        match (self, part) {
            (Self::Drop, _) => Some(Fact::NotRun),
            (_, Part::Probe) => None,
            (Self::Skip, Part::Action | Part::Finally) => Some(Fact::Skipped),
            (Self::Skip, Part::Compensation(part)) => Some(Fact::Undone { part }),
            (Self::CannotBegin(failure), Part::Action | Part::Finally) => Some(Fact::Failed(failure.clone())),
            (Self::CannotBegin(failure), Part::Compensation(part)) => Some(Fact::UndoFailed { part, failure: failure.clone() }),
            (Self::Start(Start { attempt, work, host, .. }), Part::Action | Part::Finally) => {
                Some(Fact::Started { attempt: *attempt, on_interrupt: work.on_interrupt(), host: host.clone() })
            }
            (Self::Start(Start { attempt, host, .. }), Part::Compensation(part)) => {
                Some(Fact::UndoStarted { part, attempt: *attempt, host: host.clone() })
            }
        }
    }
}

impl Assigner<'_> {
    /// What `task` comes to, as `saga` stands.
    pub fn assign(&self, saga: &Saga, task: Task) -> Assignment {
        let assigned = match task {
            Task::Drop(_) => Ok(Assignment::Drop),
            Task::Run(i) => self.action(saga, i),
            Task::Probe(i) => self.probe(saga, i),
            Task::Undo(i) => self.compensation(saga, i),
        };
        assigned.unwrap_or_else(Assignment::CannotBegin)
    }

    /// What the action of step `i` comes to where it is known that its `when` holds. For whoever knows it without every output that the
    /// condition names.
    pub fn assign_decided(&self, saga: &Saga, i: Index) -> Assignment {
        self.begin(saga, i).unwrap_or_else(Assignment::CannotBegin)
    }

    fn action(&self, saga: &Saga, i: Index) -> Result<Assignment, Failure> {
        let (step, part, begun) = (self.step(i), saga.action_part(i), saga.step(i).attempt);
        // `when` is decided once (rule 10): what started is not skipped. A `finally` step runs anew each time (rule 11).
        let undecided = begun == 0 || part == Part::Finally;
        if undecided && !self.holds(saga, step.when.as_deref(), part)? {
            return Ok(Assignment::Skip);
        }
        self.begin(saga, i)
    }

    fn begin(&self, saga: &Saga, i: Index) -> Result<Assignment, Failure> {
        let step = self.step(i);
        self.start(saga, i, saga.action_part(i), &step.action, step.timeout, saga.step(i).attempt.saturating_add(1))
    }

    /// A probe decides what became of an unknown step (rule 6).
    fn probe(&self, saga: &Saga, i: Index) -> Result<Assignment, Failure> {
        let probe = self.step(i).probe.as_ref().expect("only a step with a probe is to be probed");
        self.start(saga, i, Part::Probe, probe, None, 1)
    }

    fn compensation(&self, saga: &Saga, i: Index) -> Result<Assignment, Failure> {
        let at = saga.undo_part(i);
        let (compensation, part) = (&self.step(i).compensate[at], Part::Compensation(at));
        if !self.holds(saga, compensation.when.as_deref(), part)? {
            return Ok(Assignment::Skip);
        }
        // Rule 7: a compensation has its own timeout.
        self.start(saga, i, part, &compensation.action, compensation.timeout, saga.step(i).undo_attempt.saturating_add(1))
    }

    fn start(
        &self,
        saga: &Saga,
        i: Index,
        part: Part,
        action: &Action,
        timeout: Option<Duration>,
        attempt: u32,
    ) -> Result<Assignment, Failure> {
        let work = self.prepare(saga, action, part)?;
        let timeout = timeout.or_else(|| work.default_timeout());
        Ok(Assignment::Start(Start { attempt, host: self.host.clone(), work, timeout, leftovers: self.leftovers(saga, i, part) }))
    }

    fn prepare(&self, saga: &Saga, action: &Action, part: Part) -> Result<Box<dyn Prepared>, Failure> {
        let outputs = |id: &str| outputs(saga, id, part);
        let scope = Scope { outputs: &outputs, outcome: saga.outcome() };
        let with = self.templates.render(&action.with, &scope).map_err(Failure::clean)?;
        self.kind(action).prepare(&with).map_err(|error| Failure::clean(BeginError::Inputs { kind: action.uses.clone(), error }))
    }

    fn holds(&self, saga: &Saga, when: Option<&str>, part: Part) -> Result<bool, Failure> {
        let Some(when) = when else { return Ok(true) };
        let outputs = |id: &str| outputs(saga, id, part);
        let scope = Scope { outputs: &outputs, outcome: saga.outcome() };
        self.templates.truth(when, &scope).map_err(|error| Failure::clean(BeginError::When { error }))
    }

    /// What earlier attempts of a step left running, and nobody adopts (rule 18).
    fn leftovers(&self, saga: &Saga, i: Index, part: Part) -> Vec<Leftover> {
        let step = self.step(i);
        let mut parts = vec![(saga.action_part(i), &step.action)];
        parts.extend(step.probe.iter().map(|probe| (Part::Probe, probe)));
        parts.extend(step.compensate.iter().enumerate().map(|(at, compensation)| (Part::Compensation(at), &compensation.action)));
        parts
            .into_iter()
            // What a compensation started belongs to the compensations after it.
            .filter(|(of, action)| !self.kind(action).traits.adopts && (*of == part || !matches!(of, Part::Compensation(_))))
            .flat_map(|(of, _)| saga.processes(i, of).to_vec())
            .collect()
    }

    /// Whether what a part of a step left running is gone on with by its next attempt, instead of being ended.
    pub fn adopts(&self, i: Index, part: Part) -> bool {
        self.kind(action_of(self.step(i), part)).traits.adopts
    }

    /// What a part of a step does to the world.
    pub fn effect(&self, i: Index, part: Part) -> Effect {
        self.kind(action_of(self.step(i), part)).traits.effect
    }

    fn step(&self, i: Index) -> &PlannedStep {
        self.plan.step(i)
    }

    fn kind(&self, action: &Action) -> &RegisteredKind {
        self.registry.get(&action.uses).expect("a plan that uses an unknown kind does not pass its check")
    }
}

/// The work that a part of a step does.
fn action_of(step: &PlannedStep, part: Part) -> &Action {
    match part {
        Part::Action | Part::Finally => &step.action,
        Part::Probe => step.probe.as_ref().unwrap_or(&step.action),
        Part::Compensation(at) => &step.compensate[at].action,
    }
}

/// `steps.<id>` as a part of a step sees it (rule 16).
pub(crate) fn outputs(saga: &Saga, id: &str, part: Part) -> Value {
    let Some(i) = saga.find(&StepId::new(id)) else { return Value::Null };
    match part {
        Part::Action => saga.outputs(i),
        Part::Probe | Part::Compensation(_) | Part::Finally => saga.known(i),
    }
}

/// Where the run stands, as an attempt of `part` may know it: `finally` steps are told why it ended as it did.
pub fn summary(saga: &Saga, part: Part) -> Summary {
    let mut summary = Summary {
        outcome: saga.outcome(),
        downtime: saga.downtime(),
        answers: saga.answers(),
        standing: saga.standing(),
        release: saga.release(),
        ..Summary::default()
    };
    if part == Part::Finally {
        let id = |i: Index| saga.shape().steps[i].id.clone();
        let failure = |i: Index| saga.step(i).failure.clone().map(|failure| (id(i), failure));
        summary.failed = saga.forward().filter_map(failure).collect();
        summary.aborted = saga.aborted();
        summary.unwound = saga.unwound();
        if saga.unwinding() {
            let written_off = saga.forward().filter(|&i| !saga.step(i).written_off.is_empty());
            // A step may be both: one of its compensations written off, a later one stuck.
            let owed: BTreeSet<Index> = saga.owed().chain(written_off).collect();
            summary.owed = owed.into_iter().map(id).collect();
        }
    }
    summary
}

#[cfg(test)]
mod tests;
