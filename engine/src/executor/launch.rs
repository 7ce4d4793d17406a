//! What is wanted is begun: whether it has room, its inputs rendered, its beginning noted, and once that is durable, spawned.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Limits};
use super::{Executor, Launch, Live, planned};
use crate::event::{Fact, Part, StepId};
use crate::journal::Journal;
use crate::plan::{Action, Scope};
use crate::saga::{Index, Task};
use crate::step::{Attempt, Context, Failure, Kind, Prepared, ProcessIdentity, Summary};
use crate::update::{self, Update};

impl<J: Journal> Executor<J> {
    /// Notes the beginning of everything that is wanted and has room.
    pub(super) fn launch(&mut self) {
        while !self.halted {
            match self.next_task() {
                None => return,
                Some(Task::Drop(i)) => self.step_happened(i, Fact::NotRun),
                Some(Task::Run(i)) => self.prepare_action(i),
                Some(Task::Probe(i)) => self.prepare_probe(i),
                Some(Task::Undo(i)) => self.prepare_undo(i),
            }
        }
    }

    fn next_task(&self) -> Option<Task> {
        let (room, still) = (self.room(), self.still());
        let now = Instant::now();
        let free = |i: &Index| !self.busy.contains(i);
        let rested = |i: &Index| self.pauses.get(i).is_none_or(|&(_, until)| until <= now);
        // What is dropped comes first, and needs no room: where there is none, the rest is not even looked at.
        let mut wanted = self.saga.wanted().take_while(|task| room || matches!(task, Task::Drop(_)));
        wanted.find(|task| match task {
            Task::Drop(_) => true,
            Task::Run(i) => free(i) && rested(i),
            Task::Probe(i) => free(i) && !self.unprobeable.contains(i),
            Task::Undo(i) => still && free(i) && rested(i),
        })
    }

    fn occupy(&mut self, i: Index, part: Part) {
        self.busy.insert(i);
        self.advancing += usize::from(advances(part));
    }

    pub(super) fn release(&mut self, i: Index, part: Part) {
        self.busy.remove(&i);
        self.advancing -= usize::from(advances(part));
    }

    /// Whether one more may be live.
    pub(super) fn room(&self) -> bool {
        self.live.len() + self.prepared.len() < self.job.plan.max_parallel
    }

    /// Whether compensations may begin (rule 4): to the saga neither a probe nor a `finally` step is live work.
    pub(super) fn still(&self) -> bool {
        self.advancing == 0
    }

    fn prepare_action(&mut self, i: Index) {
        let plan = Arc::clone(&self.job.plan);
        let step = planned(&plan, i);
        let part = self.saga.action_part(i);
        let state = self.saga.step(i);
        if state.attempt == 0 || part == Part::Finally {
            match self.holds(step.when.as_deref(), part) {
                Ok(true) => {}
                Ok(false) => return self.step_happened(i, Fact::Skipped),
                Err(failure) => return self.cannot_begin(i, part, failure),
            }
        }
        let attempt = state.attempt.saturating_add(1);
        match self.prepare(&step.action, part) {
            Ok(work) => {
                let on_interrupt = work.on_interrupt();
                self.step_happened(i, Fact::Started { attempt, on_interrupt });
                let timeout = step.timeout.or_else(|| work.default_timeout());
                self.line_up(i, part, attempt, work, timeout);
            }
            Err(failure) => self.cannot_begin(i, part, failure),
        }
    }

    fn prepare_probe(&mut self, i: Index) {
        let plan = Arc::clone(&self.job.plan);
        let Some(probe) = planned(&plan, i).probe.as_ref() else { return };
        match self.prepare(probe, Part::Probe) {
            Ok(work) => {
                let timeout = work.default_timeout();
                self.line_up(i, Part::Probe, 1, work, timeout);
            }
            Err(failure) => self.cannot_ask(i, &failure),
        }
    }

    pub(super) fn cannot_ask(&mut self, i: Index, failure: &Failure) {
        self.unprobeable.insert(i);
        let message = format!("its probe cannot be asked: {failure}");
        self.show(Update::Note { step: self.id(i), level: update::Level::Warning, message });
    }

    fn prepare_undo(&mut self, i: Index) {
        let plan = Arc::clone(&self.job.plan);
        let at = self.saga.undo_part(i);
        let part = Part::Compensation(at);
        let compensation = &planned(&plan, i).compensate[at];
        match self.holds(compensation.when.as_deref(), part) {
            Ok(true) => {}
            Ok(false) => return self.step_happened(i, Fact::Undone { part: at }),
            Err(failure) => return self.cannot_begin(i, part, failure),
        }
        let attempt = self.saga.step(i).undo_attempt.saturating_add(1);
        match self.prepare(&compensation.action, part) {
            Ok(work) => {
                self.undo_since.entry(i).or_insert_with(Instant::now);
                self.step_happened(i, Fact::UndoStarted { part: at, attempt });
                let timeout = compensation.timeout.or_else(|| work.default_timeout());
                self.line_up(i, part, attempt, work, timeout);
            }
            Err(failure) => self.cannot_begin(i, part, failure),
        }
    }

    fn cannot_begin(&mut self, i: Index, part: Part, failure: Failure) {
        match part {
            Part::Compensation(part) => {
                self.step_happened(i, Fact::UndoFailed { part, failure });
                self.pause_if_tried_again(i, Part::Compensation(part));
            }
            Part::Action | Part::Probe | Part::Finally => self.step_happened(i, Fact::Failed(failure)),
        }
    }

    fn line_up(&mut self, i: Index, part: Part, attempt: u32, work: Box<dyn Prepared>, timeout: Option<Duration>) {
        let limits = Limits { timeout, grace: self.job.grace };
        self.occupy(i, part);
        self.prepared.push(Launch { i, part, attempt, work, limits, stop: CancellationToken::new() });
    }

    fn prepare(&self, action: &Action, part: Part) -> Result<Box<dyn Prepared>, Failure> {
        let outputs = |id: &str| self.outputs(id, part);
        let scope = Scope { outputs: &outputs, outcome: self.saga.outcome() };
        let with = self.job.templates.render(&action.with, &scope).map_err(Failure::clean)?;
        self.kind(action).prepare(&with).map_err(|error| Failure::clean(format!("the inputs of `{}` do not fit: {error}", action.uses)))
    }

    fn holds(&self, when: Option<&str>, part: Part) -> Result<bool, Failure> {
        let Some(when) = when else { return Ok(true) };
        let outputs = |id: &str| self.outputs(id, part);
        let scope = Scope { outputs: &outputs, outcome: self.saga.outcome() };
        self.job.templates.truth(when, &scope).map_err(|error| Failure::clean(format!("`when` cannot be decided: {error}")))
    }

    fn outputs(&self, id: &str, part: Part) -> Value {
        let Some(i) = self.saga.find(&StepId::new(id)) else { return Value::Null };
        match part {
            Part::Action => self.saga.outputs(i),
            Part::Probe | Part::Compensation(_) | Part::Finally => self.saga.known(i),
        }
    }

    pub(super) fn kind(&self, action: &Action) -> &Kind {
        self.job.registry.get(&action.uses).expect("a plan that uses an unknown kind does not pass its check")
    }

    pub(super) fn spawn(&mut self, launch: Launch) {
        let Launch { i, part, attempt, work, limits, stop } = launch;
        let (answer, answers) = watch::channel(None);
        let since = Instant::now();
        let attempt = Attempt {
            step: self.id(i),
            part,
            number: attempt,
            deadline: limits.timeout.map(|timeout| since + timeout),
            recorded: self.saga.recorded(i, part),
            processes: self.saga.processes(i, part).to_vec(),
            run: Arc::clone(&self.job.info),
            summary: Arc::new(self.summary(part)),
            needed: Arc::clone(&self.needed),
            met: Arc::clone(&self.met),
            mask: self.job.mask.clone(),
        };
        let cx = Context::new(attempt, stop.clone(), answers, self.requests.0.clone(), self.job.updates.clone());
        let leftovers = self.leftovers(i, part);
        let host = Arc::clone(&self.job.host);
        let (token, kill) = (stop.clone(), self.kill.clone());
        let task = self.live.spawn(async move { attempt::run(work, cx, limits, leftovers, host, token, kill).await });
        self.spawned.insert(task.id(), i);
        self.lives.insert(i, Live { part, stop, answer, since });
    }

    /// What earlier attempts of a step left running, and nobody adopts (rule 18).
    fn leftovers(&self, i: Index, part: Part) -> Vec<ProcessIdentity> {
        let step = planned(&self.job.plan, i);
        let mut parts = vec![(self.saga.action_part(i), &step.action)];
        parts.extend(step.probe.iter().map(|probe| (Part::Probe, probe)));
        parts.extend(step.compensate.iter().enumerate().map(|(at, compensation)| (Part::Compensation(at), &compensation.action)));
        parts
            .into_iter()
            // What a compensation started belongs to the compensations after it.
            .filter(|(of, action)| !self.kind(action).traits.adopts && (*of == part || !matches!(of, Part::Compensation(_))))
            .flat_map(|(of, _)| self.saga.processes(i, of).to_vec())
            .collect()
    }

    fn summary(&self, part: Part) -> Summary {
        let mut summary =
            Summary { outcome: self.saga.outcome(), downtime: self.saga.downtime(), down: self.saga.down(), ..Summary::default() };
        if part == Part::Finally {
            let failure = |i: Index| self.saga.step(i).failure.clone().map(|failure| (self.id(i), failure));
            summary.failed = self.saga.forward().filter_map(failure).collect();
            summary.aborted = self.saga.aborted();
            summary.unwound = self.saga.unwound();
            if self.saga.unwinding() {
                let written_off = self.saga.forward().filter(|&i| !self.saga.step(i).written_off.is_empty());
                // A step may be both: one of its compensations written off, a later one stuck.
                let owed: BTreeSet<Index> = self.saga.owed().chain(written_off).collect();
                summary.owed = owed.into_iter().map(|i| self.id(i)).collect();
            }
        }
        summary
    }
}

/// Whether a part of a step is no compensation.
fn advances(part: Part) -> bool {
    !matches!(part, Part::Compensation(_))
}
