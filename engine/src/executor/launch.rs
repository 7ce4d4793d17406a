//! What is wanted is begun: it waits for a free slot, comes to an assignment, is recorded, and once that is durable, spawned.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::attempt::{self, AttemptError, Limits, Orders};
use super::{Executor, Launch, Live};
use crate::assignment::{self, Assigner, Assignment, Start};
use crate::context::{Attempt, Context, Handles};
use crate::event::{Failure, Part};
use crate::journal::Journal;
use crate::saga::{Index, Task};
use crate::update::{self, Update};

impl<J: Journal> Executor<J> {
    /// Records the beginning of everything that is wanted and has a free slot.
    pub(super) fn launch(&mut self) {
        while !self.halted {
            match self.next_task() {
                None => return,
                Some(task) => self.begin(task),
            }
        }
    }

    fn next_task(&self) -> Option<Task> {
        let (has_capacity, still) = (self.has_capacity(), self.still());
        let now = Instant::now();
        let free = |i: &Index| !self.busy.contains(i);
        let rested = |i: &Index| self.pauses.get(i).is_none_or(|&(_, until)| until <= now);
        // What is dropped comes first, and needs no slot: where none is free, the rest is not even looked at.
        let mut wanted = self.saga.wanted().take_while(|task| has_capacity || matches!(task, Task::Drop(_)));
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
    pub(super) fn has_capacity(&self) -> bool {
        self.live.len() + self.prepared.len() < self.spec.plan.max_parallel
    }

    /// Whether compensations may begin (rule 4): to the saga neither a probe nor a `finally` step is live work.
    pub(super) fn still(&self) -> bool {
        self.advancing == 0
    }

    /// Records what a task comes to, and lines it up where it is to be started.
    fn begin(&mut self, task: Task) {
        let (i, part) = assignment::target(&self.saga, task);
        let assigned = self.assigner().assign(&self.saga, task);
        if let Some(fact) = assigned.fact(part) {
            self.step_happened(i, fact);
        }
        match assigned {
            Assignment::Drop | Assignment::Skip => {}
            Assignment::CannotBegin(failure) if part == Part::Probe => self.cannot_ask(i, &failure),
            Assignment::CannotBegin(_) => self.pause_if_tried_again(i, part),
            Assignment::Start(start) => self.line_up(i, part, start),
        }
    }

    pub(super) fn assigner(&self) -> Assigner<'_> {
        Assigner { plan: &self.spec.plan, templates: &self.spec.templates, registry: &self.spec.registry, host: &self.host_id }
    }

    pub(super) fn cannot_ask(&mut self, i: Index, failure: &Failure) {
        self.unprobeable.insert(i);
        self.show(Update::note(self.id(i), update::Level::Warning, AttemptError::ProbeCannotBeAsked { failure: failure.clone() }));
    }

    fn line_up(&mut self, i: Index, part: Part, start: Start) {
        if matches!(part, Part::Compensation(_)) {
            self.undo_since.entry(i).or_insert_with(Instant::now);
        }
        self.occupy(i, part);
        self.prepared.push(Launch { i, part, start, stop: CancellationToken::new() });
    }

    pub(super) fn spawn(&mut self, launch: Launch) {
        let Launch { i, part, start, stop } = launch;
        let Start { attempt: number, host: _, work, timeout, leftovers } = start;
        let limits = Limits { timeout, grace: self.spec.grace };
        let (answer, answers) = watch::channel(None);
        let since = Instant::now();
        let attempt = Attempt {
            step: self.id(i),
            part,
            number,
            timeout: limits.timeout,
            recorded: self.saga.recorded(i, part),
            processes: self
                .saga
                .processes(i, part)
                .iter()
                .filter(|left| left.host == self.host_id)
                .map(|left| left.process.clone())
                .collect(),
            run: Arc::clone(&self.spec.info),
            summary: Arc::new(assignment::summary(&self.saga, part)),
            retained: Arc::clone(&self.retained),
        };
        let handles = Handles {
            stop: stop.clone(),
            answer: answers,
            requests: self.requests.0.clone(),
            updates: self.spec.updates.clone(),
            needed: Arc::clone(&self.needed),
            outputs: Arc::clone(&self.outputs),
            known_processes: Arc::clone(&self.known_processes),
            mask: self.spec.templates.mask().clone(),
        };
        let cx = Context::new(attempt, handles);
        let host = Arc::clone(&self.spec.host);
        let orders = Orders { stop: stop.clone(), begin_nothing: self.begin_nothing.clone(), kill: self.kill.clone() };
        let span = tracing::info_span!("attempt", step = %self.id(i), ?part, number);
        let run = async move {
            tracing::info!("begins");
            let verdict = attempt::run(work, cx, limits, leftovers, host, orders).await;
            tracing::info!(verdict = verdict.name(), "ends");
            verdict
        };
        let task = self.live.spawn(run.instrument(span));
        self.spawned.insert(task.id(), i);
        self.lives.insert(i, Live { part, stop, answer, since });
    }
}

/// Whether a part of a step is no compensation.
fn advances(part: Part) -> bool {
    !matches!(part, Part::Compensation(_))
}
