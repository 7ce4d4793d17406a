//! The only async loop: what the saga wants is appended, then begun; what ended is appended, then acted upon.
//!
//! ```text
//!  wanted ──> append ──> spawn ──> verdict ─┐
//!     ^          one commit for all that    │
//!     └────────── belongs together <────────┘
//! ```
//!
//! Invariants: nothing is spawned before its event is durable (rule 1); after a failed append, an order to stop, or work that will
//! not stop, nothing more is begun (rules 1, 4 and 14). The executor keeps no state that a resume would need: that is all in the
//! saga, and so in the journal.

mod attempt;
mod mask;
mod meter;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Answer, Downtime, Event, Fact, Part, RunFact, StepId};
use crate::graph::Graph;
use crate::journal::{Demand, Journal, JournalError, Record};

use crate::plan::{Action, Plan, Retry, Scope, Templates};
use crate::saga::{IllegalEvent, Index, Phase, Saga, Shape, Task};
use crate::step::{Attempt, Context, Failure, Host, Keep, Kind, Prepared, Registry, Request, RunInfo, Summary};
use crate::update::{self, Ending, State, StepUpdate, Update, Updates};
use attempt::{Limits, Verdict};
pub use mask::Mask;
use meter::Pulse;

/// How often the journal is asked for what other processes want of this run.
const DEMANDS_EVERY: Duration = Duration::from_millis(100);

/// A run, as data: everything the executor is given.
pub struct Job {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its edges.
    pub graph: Graph,
    /// The kinds it uses.
    pub registry: Arc<Registry>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The values of the run.
    pub templates: Templates,
    /// What kinds may know of the run.
    pub info: RunInfo,
    /// Who shows it. Gets everything masked.
    pub updates: Updates,
    /// What must never be shown or kept.
    pub mask: Mask,
    /// Paths that others still need, for `prune`.
    pub keep: Vec<PathBuf>,
    /// How long work that was asked to stop may take.
    pub grace: Duration,
}

/// What the operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start nothing more, let live work stop, leave the run interrupted.
    Stop,
    /// The same, without waiting for live work.
    Kill,
}

/// What became of the run while this process had it.
#[derive(Debug)]
pub struct Finished {
    /// How this process left it.
    pub ending: Ending,
    /// The state it was left in.
    pub saga: Saga,
    /// Why it had to be left, where the journal failed.
    pub journal_error: Option<JournalError>,
    /// Seconds since this process had it.
    pub seconds: f64,
}

/// Executes one run in this process.
pub struct Executor<J> {
    job: Job,
    journal: J,
    saga: Saga,
    /// Applied to the saga, not durable yet.
    batch: Vec<Event>,
    /// To be shown once the batch is durable.
    shown: Vec<Update>,
    /// To be spawned once the batch is durable.
    prepared: Vec<Launch>,
    live: JoinSet<Verdict>,
    lives: HashMap<Id, Live>,
    busy: HashSet<Index>,
    /// Steps whose probe cannot be asked: a person must say.
    unprobeable: HashSet<Index>,
    /// When a failed step may be tried again.
    pauses: BTreeMap<Index, (u32, Instant)>,
    undo_since: HashMap<Index, Instant>,
    requests: (mpsc::UnboundedSender<Request>, mpsc::UnboundedReceiver<Request>),
    kill: CancellationToken,
    halted: bool,
    journal_error: Option<JournalError>,
    down_since: Option<Instant>,
    unreachable_at: Option<Timestamp>,
    needed: Arc<Mutex<Vec<PathBuf>>>,
    began: Instant,
    resumed: bool,
}

/// An attempt whose beginning is not durable yet.
struct Launch {
    i: Index,
    part: Part,
    attempt: u32,
    work: Box<dyn Prepared>,
    limits: Limits,
    stop: CancellationToken,
}

/// An attempt that is going on.
struct Live {
    i: Index,
    part: Part,
    stop: CancellationToken,
    answer: watch::Sender<Option<Answer>>,
    since: Instant,
}

impl<J: Journal> Executor<J> {
    /// An executor for the run whose `records` the journal holds; the first is its `Opened`.
    ///
    /// # Errors
    /// The records do not belong to this plan.
    pub fn new(mut job: Job, journal: J, records: &[Record]) -> Result<Self, IllegalEvent> {
        job.updates = job.mask.over(job.updates);
        let mut saga = Saga::new(Shape::of(&job.plan, &job.graph, &job.registry));
        let mut unreachable_at = None;
        for record in records {
            saga.apply(&record.event)?;
            if record.event == Event::Run(RunFact::Unreachable) {
                unreachable_at = Some(record.at);
            }
        }
        let needed = Arc::new(Mutex::new([std::mem::take(&mut job.keep), paths_left(records)].concat()));
        Ok(Self {
            job,
            journal,
            saga,
            batch: Vec::new(),
            shown: Vec::new(),
            prepared: Vec::new(),
            live: JoinSet::new(),
            lives: HashMap::new(),
            busy: HashSet::new(),
            unprobeable: HashSet::new(),
            pauses: BTreeMap::new(),
            undo_since: HashMap::new(),
            requests: mpsc::unbounded_channel(),
            kill: CancellationToken::new(),
            halted: false,
            journal_error: None,
            down_since: None,
            unreachable_at,
            needed,
            began: Instant::now(),
            resumed: false,
        })
    }

    /// The state of the run.
    pub fn saga(&self) -> &Saga {
        &self.saga
    }

    /// This process takes over a run that another one left: what was live is unknown, and what a reboot took away is done again.
    ///
    /// # Errors
    /// None that a verified journal can cause.
    pub fn take_over(&mut self, pid: u32, user: &str) -> Result<(), IllegalEvent> {
        self.resumed = true;
        let before: Vec<Phase> = self.saga.forward().map(|i| self.saga.step(i).phase).collect();
        self.note(Event::Run(RunFact::Resumed { pid, user: user.to_owned() }))?;
        for i in self.saga.forward() {
            if before[i] == Phase::Started {
                self.shown.push(self.step_update(i, update::Phase::Forward, State::Unknown));
            }
        }
        let boot = self.job.host.boot();
        if boot != self.saga.boot() && !(self.saga.finished()) {
            self.note(Event::Run(RunFact::Rebooted { boot }))?;
        }
        Ok(())
    }

    /// The operator wants everything undone.
    ///
    /// # Errors
    /// Something irreversible started.
    pub fn abort(&mut self, by: &str) -> Result<(), IllegalEvent> {
        self.note(Event::Run(RunFact::Aborted { by: by.to_owned() }))
    }

    /// A person says what became of an unknown step.
    ///
    /// # Errors
    /// The step is not unknown.
    pub fn resolve(&mut self, step: &StepId, answer: Answer) -> Result<(), IllegalEvent> {
        self.note(Event::Step(step.clone(), Fact::Resolved(answer)))
    }

    /// Makes what was noted so far durable, without running anything.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn save(mut self) -> Result<Saga, JournalError> {
        self.commit();
        match self.journal_error {
            None => Ok(self.saga),
            Some(error) => Err(error),
        }
    }

    /// Goes on until the run is settled, or rests, or must be left.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Finished {
        self.began = Instant::now();
        self.show(Update::Run {
            run: self.job.info.id.clone(),
            plan: self.job.plan.name.clone(),
            resumed: self.resumed,
            steps: self.job.plan.steps.len(),
        });
        let (pulses, mut pulse) = mpsc::unbounded_channel();
        let meter = self.start_meter(pulses);
        let mut demands = tokio::time::interval(DEMANDS_EVERY);
        let ending = loop {
            self.launch();
            self.commit();
            if self.live.is_empty() && self.next_pause().is_none() {
                match self.rest().await {
                    Some(ending) => break ending,
                    None => continue,
                }
            }
            let pause = self.next_pause();
            tokio::select! {
                biased;
                Some(ended) = self.live.join_next_with_id() => {
                    self.ended(ended).await;
                    // What ended meanwhile shares the commit.
                    while let Some(ended) = self.live.try_join_next_with_id() {
                        self.ended(ended).await;
                    }
                }
                Some(request) = self.requests.1.recv() => self.keep(request),
                Some(order) = orders.recv() => self.obey(order),
                Some(pulse) = pulse.recv() => self.measured(pulse),
                () = sleep_until(pause) => {}
                _ = demands.tick() => self.take_demands(),
            }
        };
        if let Some(meter) = meter {
            meter.abort();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        self.show(Update::Ended { ending, seconds });
        Finished { ending, saga: self.saga, journal_error: self.journal_error, seconds }
    }

    /// Nothing is live: how this process leaves the run, or `None` where there is more to do.
    async fn rest(&mut self) -> Option<Ending> {
        if self.saga.finished() && self.journal_error.is_none() {
            return self.saga.outcome().map(Ending::Settled);
        }
        if self.halted {
            return Some(Ending::Interrupted);
        }
        if self.saga.verdict().is_some() {
            self.look_once().await;
            let outcome = self.saga.verdict()?;
            self.happened(Event::Run(RunFact::Settled(outcome)));
            return None;
        }
        // Nothing wanted, nothing live, not settled: a person is asked.
        Some(Ending::Paused)
    }

    // ---- what is wanted -------------------------------------------------------------------------------------------------

    /// Notes the beginning of everything that is wanted and has room.
    fn launch(&mut self) {
        while !self.halted {
            let (room, still) = (self.room(), self.still());
            let now = Instant::now();
            let task = self.saga.wanted().find(|task| match *task {
                Task::Drop(_) => true,
                Task::Run(i) => room && !self.busy.contains(&i) && self.pauses.get(&i).is_none_or(|&(_, until)| until <= now),
                Task::Probe(i) => room && !self.busy.contains(&i) && !self.unprobeable.contains(&i),
                Task::Undo(i) => still && room && !self.busy.contains(&i) && self.pauses.get(&i).is_none_or(|&(_, until)| until <= now),
            });
            match task {
                None => return,
                Some(Task::Drop(i)) => self.step_happened(i, Fact::NotRun),
                Some(Task::Run(i)) => self.prepare_action(i),
                Some(Task::Probe(i)) => self.prepare_probe(i),
                Some(Task::Undo(i)) => self.prepare_undo(i),
            }
        }
    }

    /// Whether one more may be live.
    fn room(&self) -> bool {
        self.live.len() + self.prepared.len() < self.job.plan.max_parallel
    }

    /// Whether compensations may begin (rule 4): to the saga neither a probe nor a `finally` step is live work.
    fn still(&self) -> bool {
        self.parts().all(|(part, _)| matches!(part, Part::Compensation(_)))
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
        let attempt = state.attempt + 1;
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

    fn cannot_ask(&mut self, i: Index, failure: &Failure) {
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
        let attempt = self.saga.step(i).undo_attempt + 1;
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
        self.busy.insert(i);
        self.prepared.push(Launch { i, part, attempt, work, limits, stop: CancellationToken::new() });
    }

    fn prepare(&self, action: &Action, part: Part) -> Result<Box<dyn Prepared>, Failure> {
        let outputs = |id: &str| self.outputs(id, part);
        let scope = Scope { outputs: &outputs, outcome: self.saga.outcome() };
        let with = self.job.templates.render(&action.with, &scope).map_err(Failure::clean)?;
        self.kind(action).prepare(with).map_err(|error| Failure::clean(format!("the inputs of `{}` do not fit: {error}", action.uses)))
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

    fn kind(&self, action: &Action) -> &Kind {
        self.job.registry.get(&action.uses).expect("a plan that uses an unknown kind does not pass its check")
    }

    // ---- what happens ---------------------------------------------------------------------------------------------------

    /// Folds an event that this executor caused: one that cannot happen is a bug of ours.
    fn happened(&mut self, event: Event) {
        self.note(event).expect("the executor only does what the saga wants");
    }

    fn step_happened(&mut self, i: Index, fact: Fact) {
        self.happened(Event::Step(self.id(i), fact));
    }

    /// Folds an event, to be durable with the next commit, and derives what is to be shown.
    fn note(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let event = self.job.mask.event(event);
        let unwinding = self.saga.unwinding();
        self.saga.apply(&event)?;
        if let Event::Step(id, fact) = &event {
            let i = self.saga.find(id).expect("the saga just found it");
            self.show_step(i, fact);
            // Not `passed`: an irreversible pivot is passed when it starts, and is not live before it succeeded.
            if planned(&self.job.plan, i).pivot && matches!(fact, Fact::Succeeded(_) | Fact::Skipped | Fact::Resolved(Answer::Done { .. }))
            {
                self.shown.push(Update::Live { downtime: self.saga.downtime() });
            }
        }
        if self.saga.unwinding() && !unwinding {
            self.begin_unwinding(&event);
        }
        self.batch.push(event);
        Ok(())
    }

    fn begin_unwinding(&mut self, event: &Event) {
        let (because, failure) = match event {
            Event::Step(id, _) => {
                let failure = self.saga.find(id).and_then(|i| self.saga.step(i).failure.clone());
                (Some(id.clone()), failure)
            }
            Event::Run(RunFact::Aborted { .. }) => (None, None),
            // An interrupted step that counts as failed.
            Event::Run(_) => {
                let failed = |&i: &Index| self.saga.step(i).phase == Phase::Failed && !planned(&self.job.plan, i).continue_on_failure;
                let i = self.saga.forward().find(failed);
                (i.map(|i| self.id(i)), i.and_then(|i| self.saga.step(i).failure.clone()))
            }
        };
        let owes = self.saga.owed().next().is_some();
        self.shown.push(Update::Unwinding { because, failure, owes });
        // The pauses were those of attempts that will not come: an outage must not last for them.
        self.pauses.clear();
        // What is lined up beside a step that could not begin is stopped before it does anything.
        for (_, stop) in self.parts() {
            stop.cancel();
        }
    }

    /// All that is live or lined up, and what asks it to stop.
    fn parts(&self) -> impl Iterator<Item = (Part, &CancellationToken)> {
        let live = self.lives.values().map(|live| (live.part, &live.stop));
        live.chain(self.prepared.iter().map(|launch| (launch.part, &launch.stop)))
    }

    fn show_step(&mut self, i: Index, fact: &Fact) {
        let state = self.saga.step(i);
        let phase = self.saga.action_part(i).phase();
        let undo = update::Phase::Undo;
        let (phase, shown) = match fact {
            Fact::Started { .. } => (phase, State::Started),
            Fact::Succeeded(_) | Fact::Resolved(Answer::Done { .. }) => (phase, State::Succeeded),
            Fact::Failed(_) if state.phase == Phase::Retrying => (phase, State::Retrying),
            Fact::Failed(_) => (phase, State::Failed),
            Fact::Skipped => (phase, State::Skipped),
            Fact::NotRun => (phase, State::NotRun),
            Fact::Unknown => (phase, State::Unknown),
            Fact::UndoStarted { part: 0, .. } => (undo, State::UndoStarted),
            Fact::Undone { .. } if state.phase == Phase::Undone => (undo, State::Undone),
            Fact::UndoFailed { part, .. } => match state.phase {
                Phase::UndoDue(due) if due == *part => (undo, State::UndoRetrying),
                Phase::UndoFailed(_) => (undo, State::UndoFailed),
                Phase::Undone => (undo, State::Undone),
                _ => return,
            },
            Fact::UndoStarted { .. }
            | Fact::Undone { .. }
            | Fact::Recorded { .. }
            | Fact::Spawned { .. }
            | Fact::Resolved(Answer::NotDone { .. }) => return,
        };
        let mut update = self.step_update(i, phase, shown);
        if let (Update::Step(update), Fact::Succeeded(outputs)) = (&mut update, fact) {
            update.outputs = Some(outputs.clone());
        }
        self.shown.push(update);
    }

    fn step_update(&self, i: Index, phase: update::Phase, state: State) -> Update {
        let known = self.saga.step(i);
        let since = match phase {
            update::Phase::Undo => self.undo_since.get(&i).copied(),
            update::Phase::Forward | update::Phase::Finally => self.lives.values().find(|live| live.i == i).map(|live| live.since),
        };
        let ended = !matches!(state, State::Started | State::UndoStarted | State::Skipped | State::NotRun);
        let failure = match state {
            State::Failed | State::Retrying => known.failure.clone(),
            State::UndoRetrying | State::UndoFailed => known.undo_failure.clone(),
            State::Undone => known.written_off.last().cloned(),
            _ => None,
        };
        Update::Step(StepUpdate {
            step: self.id(i),
            phase,
            state,
            attempt: if phase == update::Phase::Undo { known.undo_attempt } else { known.attempt },
            seconds: since.filter(|_| ended).map(|since| since.elapsed().as_secs_f64()),
            outputs: None,
            failure,
        })
    }

    /// Makes everything noted so far durable in one commit, then shows it, then spawns what waits for it.
    fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty()
            && self.journal_error.is_none()
            && let Err(error) = self.journal.append(&batch)
        {
            tracing::error!(%error, "the journal cannot be written");
            self.journal_error = Some(error);
            self.halted = true;
        }
        let (shown, prepared) = (std::mem::take(&mut self.shown), std::mem::take(&mut self.prepared));
        if self.journal_error.is_some() {
            for launch in prepared {
                self.busy.remove(&launch.i);
            }
            return;
        }
        for update in shown {
            self.show(update);
        }
        for launch in prepared {
            self.spawn(launch);
        }
    }

    // ---- live work ------------------------------------------------------------------------------------------------------

    fn spawn(&mut self, launch: Launch) {
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
            run: Arc::new(self.job.info.clone()),
            summary: Arc::new(self.summary(part)),
            needed: Arc::clone(&self.needed),
        };
        let cx = Context::new(attempt, stop.clone(), answers, self.requests.0.clone(), self.job.updates.clone());
        let leftovers = self.leftovers(i, part);
        let host = Arc::clone(&self.job.host);
        let (token, kill) = (stop.clone(), self.kill.clone());
        let task = self.live.spawn(async move { attempt::run(work, cx, limits, leftovers, host, token, kill).await });
        self.lives.insert(task.id(), Live { i, part, stop, answer, since });
    }

    /// What earlier attempts of a step left running, and nobody adopts (rule 18).
    fn leftovers(&self, i: Index, part: Part) -> Vec<crate::step::ProcessIdentity> {
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
        let mut summary = Summary { outcome: self.saga.outcome(), downtime: self.saga.downtime(), ..Summary::default() };
        if part == Part::Finally {
            let failure = |i: Index| self.saga.step(i).failure.clone().map(|failure| (self.id(i), failure));
            summary.failed = self.saga.forward().filter_map(failure).collect();
            summary.unwound = self.saga.unwound();
            if self.saga.unwinding() {
                let written_off = self.saga.forward().filter(|&i| !self.saga.step(i).written_off.is_empty());
                summary.owed = self.saga.owed().chain(written_off).map(|i| self.id(i)).collect();
            }
        }
        summary
    }

    async fn ended(&mut self, joined: Result<(Id, Verdict), JoinError>) {
        let (id, verdict) = match joined {
            Ok(ended) => ended,
            Err(error) => (error.id(), Verdict::Broken(Failure::dirty(format!("almaplan has a bug: the work panicked ({error})")))),
        };
        let (i, part) = {
            let live = self.lives.get(&id).expect("only what was spawned ends");
            (live.i, live.part)
        };
        if planned(&self.job.plan, i).pivot && matches!(verdict, Verdict::Ended(Ok(_))) {
            self.look_once().await;
        }
        self.judge(i, part, verdict);
        self.lives.remove(&id);
        self.busy.remove(&i);
    }

    fn judge(&mut self, i: Index, part: Part, verdict: Verdict) {
        match (part, verdict) {
            (_, Verdict::Hung) => {
                self.halted = true;
                let message = "it did not stop when asked, so the run is left as it is".to_owned();
                self.show(Update::Note { step: self.id(i), level: update::Level::Warning, message });
            }
            (Part::Action | Part::Finally, Verdict::Ended(Ok(outputs))) => {
                remember_paths(&self.needed, &outputs);
                self.step_happened(i, Fact::Succeeded(outputs));
                self.pauses.remove(&i);
            }
            (Part::Action | Part::Finally, Verdict::Ended(Err(failure)) | Verdict::Broken(failure)) => {
                self.step_happened(i, Fact::Failed(failure));
                self.pause_if_tried_again(i, part);
            }
            (Part::Action, Verdict::Cancelled) => self.step_happened(i, Fact::Unknown),
            (Part::Compensation(part), Verdict::Ended(Ok(_))) => {
                self.step_happened(i, Fact::Undone { part });
                self.pauses.remove(&i);
            }
            (Part::Compensation(at), Verdict::Ended(Err(failure)) | Verdict::Broken(failure)) => {
                self.step_happened(i, Fact::UndoFailed { part: at, failure });
                self.pause_if_tried_again(i, part);
            }
            (Part::Probe, Verdict::Broken(failure)) => self.cannot_ask(i, &failure),
            (Part::Probe, Verdict::Ended(result)) => {
                // The run may have begun to unwind meanwhile: then nobody asks any more.
                if self.saga.step(i).phase == Phase::Unknown && !self.saga.unwinding() {
                    let by = "probe".to_owned();
                    let answer = result.map_or(Answer::NotDone { by: by.clone() }, |_| Answer::Done { outputs: Default::default(), by });
                    self.step_happened(i, Fact::Resolved(answer));
                }
            }
            // Nothing to tell: without a verdict it is done again.
            (Part::Finally | Part::Probe | Part::Compensation(_), Verdict::Cancelled) => {}
        }
    }

    /// Lets a step rest after a failed attempt of `part` if the same part is tried again, longer each time.
    fn pause_if_tried_again(&mut self, i: Index, part: Part) {
        let retry = match (self.saga.step(i).phase, part) {
            (Phase::Retrying, _) => planned(&self.job.plan, i).retry,
            (Phase::UndoDue(due), Part::Compensation(failed)) if due == failed => planned(&self.job.plan, i).compensate[due].retry,
            _ => {
                self.pauses.remove(&i);
                return;
            }
        };
        let times = self.pauses.get(&i).map_or(0, |&(times, _)| times);
        let pause = backoff(retry, times, &self.job.info, i);
        self.pauses.insert(i, (times + 1, Instant::now() + pause));
    }

    /// When the first of the steps that rest may be tried again; `None` where no wanted step rests, or where live work has to end
    /// first: a pause that is over already would wake the loop again and again for nothing.
    fn next_pause(&self) -> Option<Instant> {
        if self.halted || self.pauses.is_empty() || !self.room() {
            return None;
        }
        let still = self.still();
        let wanted = self.saga.wanted().filter_map(|task| match task {
            Task::Run(i) if !self.busy.contains(&i) => self.pauses.get(&i).map(|&(_, until)| until),
            Task::Undo(i) if still && !self.busy.contains(&i) => self.pauses.get(&i).map(|&(_, until)| until),
            Task::Run(_) | Task::Undo(_) | Task::Probe(_) | Task::Drop(_) => None,
        });
        wanted.min()
    }

    /// Makes durable what a kind asks for, then lets it go on (rules 16 and 18).
    fn keep(&mut self, request: Request) {
        let Request { step, part, keep, done } = request;
        let facts = match keep {
            Keep::Outputs(outputs) => {
                outputs.iter().for_each(|(_, value)| remember_paths(&self.needed, value));
                outputs.into_iter().map(|(name, value)| Fact::Recorded { part, name, value }).collect()
            }
            Keep::Process(process) => vec![Fact::Spawned { part, process }],
        };
        // An attempt that was given up may still ask: dropping `done` refuses it.
        let noted = self.journal_error.is_none() && facts.into_iter().all(|fact| self.note(Event::Step(step.clone(), fact)).is_ok());
        if noted {
            self.commit();
            if self.journal_error.is_none() {
                let _ = done.send(());
            }
        }
    }

    // ---- what others want -----------------------------------------------------------------------------------------------

    fn obey(&mut self, order: Order) {
        self.halted = true;
        match order {
            Order::Stop => {
                self.show(Update::Stopping { grace_s: self.job.grace.as_secs() });
                for live in self.lives.values() {
                    live.stop.cancel();
                }
            }
            Order::Kill => self.kill.cancel(),
        }
    }

    fn take_demands(&mut self) {
        let demands = match self.journal.demands() {
            Ok(demands) => demands,
            Err(error) => return tracing::warn!(%error, "the journal cannot be asked for demands"),
        };
        for demand in demands {
            match demand {
                Demand::Abort { by } if !self.saga.unwinding() && !self.saga.finished() => {
                    if let Err(error) = self.abort(&by) {
                        tracing::warn!(%error, "the run cannot be aborted any more");
                    }
                }
                Demand::Abort { .. } => {}
                Demand::Resolve { step, answer } => self.answered(&step, answer),
            }
        }
    }

    fn answered(&mut self, step: &StepId, answer: Answer) {
        let live = self.saga.find(step).and_then(|i| self.lives.values().find(|live| live.i == i && live.part == Part::Action));
        match live {
            Some(live) => live.answer.send_replace(Some(answer)).map_or((), drop),
            None => {
                if let Err(error) = self.resolve(step, answer) {
                    tracing::warn!(%error, "an answer that nobody waits for");
                }
            }
        }
    }

    // ---- downtime -------------------------------------------------------------------------------------------------------

    fn start_meter(&self, pulses: mpsc::UnboundedSender<Pulse>) -> Option<tokio::task::JoinHandle<()>> {
        let url = self.measured_url()?;
        let host = Arc::clone(&self.job.host);
        Some(tokio::spawn(meter::run(host, url, self.saga.down(), pulses)))
    }

    fn measured_url(&self) -> Option<String> {
        let scope = Scope { outputs: &|_| Value::Null, outcome: None };
        self.job.templates.text(self.job.plan.measure.as_ref()?, &scope).ok()
    }

    fn measured(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Down { since } if !self.saga.down() => {
                self.down_since = Some(since);
                self.happened(Event::Run(RunFact::Unreachable));
                self.shown.push(Update::Reachable(false));
            }
            Pulse::Up { at } if self.saga.down() => {
                let downtime = match (self.down_since.take(), self.unreachable_at) {
                    (Some(since), _) => Downtime { ms: millis(at.saturating_duration_since(since)), approximate: false },
                    (None, Some(since)) => {
                        let ms = Timestamp::now().as_millisecond().saturating_sub(since.as_millisecond());
                        Downtime { ms: u64::try_from(ms).unwrap_or(0), approximate: true }
                    }
                    (None, None) => Downtime { ms: 0, approximate: true },
                };
                self.happened(Event::Run(RunFact::Reachable(downtime)));
                self.shown.push(Update::Reachable(true));
            }
            Pulse::Down { .. } | Pulse::Up { .. } => {}
        }
    }

    /// Before the downtime is reported, the measured service is looked at once more: the meter may not have seen it come back yet.
    async fn look_once(&mut self) {
        if !self.saga.down() {
            return;
        }
        if let Some(url) = self.measured_url()
            && self.job.host.answers(&url).await
        {
            self.measured(Pulse::Up { at: Instant::now() });
        }
    }

    fn show(&self, update: Update) {
        (self.job.updates)(update);
    }

    fn id(&self, i: Index) -> StepId {
        self.saga.shape().steps[i].id.clone()
    }
}

fn planned(plan: &Plan, i: Index) -> &crate::plan::PlannedStep {
    plan.steps.get(i).unwrap_or_else(|| &plan.finally[i - plan.steps.len()])
}

/// The pause before the next attempt: doubled each time, and spread by up to a quarter so that many steps do not come back at once.
fn backoff(retry: Retry, times: u32, info: &RunInfo, i: Index) -> Duration {
    const LONGEST: Duration = Duration::from_secs(300);
    let pause = retry.backoff.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(LONGEST.max(retry.backoff));
    let seed = blake3::hash(format!("{}/{i}/{times}", info.id).as_bytes());
    pause.mul_f64(1.0 + f64::from(seed.as_bytes()[0]) / 1024.0)
}

/// The absolute paths that a run left, as its records tell.
pub fn paths_left(records: &[Record]) -> Vec<PathBuf> {
    let paths = Mutex::default();
    for record in records {
        if let Event::Step(_, Fact::Succeeded(value) | Fact::Recorded { value, .. }) = &record.event {
            remember_paths(&paths, value);
        }
    }
    paths.into_inner().expect("no code panics while it holds this lock")
}

/// Keeps the absolute paths among `value`: what this run left, and `prune` must not take.
fn remember_paths(needed: &Mutex<Vec<PathBuf>>, value: &Value) {
    match value {
        Value::String(text) if Path::new(text).is_absolute() => {
            needed.lock().expect("no code panics while it holds this lock").push(PathBuf::from(text));
        }
        Value::Array(values) => values.iter().for_each(|value| remember_paths(needed, value)),
        Value::Object(values) => values.values().for_each(|value| remember_paths(needed, value)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
