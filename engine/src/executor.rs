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
mod launch;
mod meter;
mod note;
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

use crate::event::{Answer, Direction, Effect, Event, Fact, Failure, HostId, Leftover, Part, ProcessIdentity, RunFact, StepId};
use crate::journal::{Demand, Journal, JournalError, Record};

use crate::assignment::Start;
use crate::context::{Keep, Request, RunInfo};
use crate::host::{Host, ServiceCheck};
use crate::plan::{Plan, Retry, Templates};
use crate::registry::Registry;
use crate::saga::{IllegalEvent, Index, Saga, Shape, StepPhase, Task};
use crate::update::{self, Ending, State, Update, Updates};
use attempt::{AttemptError, Verdict};
pub use meter::service_checks;

/// How often the journal is asked for what other processes want of this run.
const DEMANDS_EVERY: Duration = Duration::from_millis(100);

/// A run, as data: everything the executor is given.
pub struct RunSpec {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The kinds it uses.
    pub registry: Arc<Registry>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The values of the run. What is secret in them is neither shown nor kept.
    pub templates: Templates,
    /// What kinds may know of the run.
    pub info: Arc<RunInfo>,
    /// Who shows it. Gets everything masked.
    pub updates: Updates,
    /// Paths that others still need, for `prune`.
    pub keep: Retained,
    /// How long live work may take to end by itself once the operator orders to stop, and as long again once it is asked to.
    pub grace: Duration,
    /// Who has the run.
    pub user: String,
}

/// What the operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start nothing more, let live work end or stop, leave the run interrupted.
    Stop,
    /// The same, without waiting for live work.
    Kill,
    /// Undo everything, as `abort` does.
    Undo,
}

/// What became of the run while this process had it.
#[derive(Debug)]
pub struct Finished<J> {
    /// How this process left it.
    pub ending: Ending,
    /// The state it was left in.
    pub saga: Saga,
    /// Why it had to be left, where the journal failed.
    pub journal_error: Option<JournalError>,
    /// The journal, for what is to be said of a run that is over.
    pub journal: J,
    /// Seconds since this process had it.
    pub seconds: f64,
}

/// Executes one run in this process.
pub struct Executor<J> {
    spec: RunSpec,
    /// Where all work is done.
    host_id: HostId,
    journal: J,
    saga: Saga,
    /// Applied to the saga, not durable yet.
    batch: Vec<Event>,
    /// To be shown once the batch is durable.
    shown: Vec<Update>,
    /// To be spawned once the batch is durable.
    prepared: Vec<Launch>,
    live: JoinSet<Verdict>,
    /// By their steps, so that the same run goes the same way.
    lives: BTreeMap<Index, Live>,
    spawned: HashMap<Id, Index>,
    /// The steps of which a part is live or lined up.
    busy: HashSet<Index>,
    /// How many of those parts are no compensations.
    advancing: usize,
    /// Steps whose probe cannot be asked: a person must say.
    unprobeable: HashSet<Index>,
    /// What a person said of live compensations: recorded once these have stopped.
    answered_for: BTreeMap<Index, Answer>,
    /// When a failed step may be tried again.
    pauses: BTreeMap<Index, (u32, Instant)>,
    undo_since: HashMap<Index, Instant>,
    requests: (mpsc::UnboundedSender<Request>, mpsc::UnboundedReceiver<Request>),
    kill: CancellationToken,
    /// What has not begun its work yet, begins none any more: the operator said stop.
    begin_nothing: CancellationToken,
    /// When live work that was let go on is asked to stop.
    stop_at: Option<Instant>,
    halted: bool,
    journal_error: Option<JournalError>,
    /// What is measured; none where nothing is.
    checks: Arc<[ServiceCheck]>,
    down_since: Option<Instant>,
    unreachable_at: Option<Timestamp>,
    needed: Arc<Mutex<Vec<PathBuf>>>,
    retained: Arc<[PathBuf]>,
    outputs: Arc<Mutex<Vec<Value>>>,
    known_processes: Arc<Mutex<Vec<ProcessIdentity>>>,
    /// What attempts without a verdict spawned in earlier processes of this run.
    left: Vec<(Index, Part, Leftover)>,
    began: Instant,
    resumed: bool,
}

/// An attempt whose beginning is not durable yet.
struct Launch {
    i: Index,
    part: Part,
    start: Start,
    stop: CancellationToken,
}

/// An attempt that is going on.
struct Live {
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
    pub fn new(spec: RunSpec, journal: J, records: &[Record]) -> Result<Self, IllegalEvent> {
        let mut saga = Saga::new(Shape::of(&spec.plan, &spec.registry));
        records.iter().try_for_each(|record| saga.apply(&record.event))?;
        Ok(Self::continuing(spec, journal, saga, records))
    }

    /// The same, where the records were folded into `saga` already.
    pub fn continuing(mut spec: RunSpec, journal: J, saga: Saga, records: &[Record]) -> Self {
        spec.updates = spec.templates.mask().wrap(spec.updates);
        let (mut unreachable_at, mut known_processes, mut left) = (None, Vec::new(), Vec::new());
        for record in records {
            known_processes.extend(known_process_in(&record.event));
            if let Event::Step(step, fact) = &record.event
                && let Some(i) = saga.find(step)
            {
                note_left(&mut left, i, fact);
            }
            if record.event == Event::Run(RunFact::Unreachable) {
                unreachable_at = Some(record.at);
            }
        }
        let checks = service_checks(&spec.plan, &spec.templates).into();
        let Retained { needed, to_undo } = std::mem::take(&mut spec.keep);
        let needed = Arc::new(Mutex::new([needed, paths_left(records)].concat()));
        let host_id = spec.host.id();
        Self {
            spec,
            host_id,
            journal,
            saga,
            batch: Vec::new(),
            shown: Vec::new(),
            prepared: Vec::new(),
            live: JoinSet::new(),
            lives: BTreeMap::new(),
            spawned: HashMap::new(),
            busy: HashSet::new(),
            advancing: 0,
            unprobeable: HashSet::new(),
            answered_for: BTreeMap::new(),
            pauses: BTreeMap::new(),
            undo_since: HashMap::new(),
            requests: mpsc::unbounded_channel(),
            kill: CancellationToken::new(),
            begin_nothing: CancellationToken::new(),
            stop_at: None,
            halted: false,
            journal_error: None,
            checks,
            down_since: None,
            unreachable_at,
            needed,
            retained: to_undo.into(),
            outputs: Arc::new(Mutex::new(outputs_of(records))),
            known_processes: Arc::new(Mutex::new(known_processes)),
            left,
            began: Instant::now(),
            resumed: false,
        }
    }

    /// The journal of the run.
    #[cfg(debug_assertions)]
    pub(crate) fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// The state of the run.
    pub fn saga(&self) -> &Saga {
        &self.saga
    }

    /// This process takes over a run that another one left: what was live is unknown (rule 6), and what a reboot took away is done again
    /// (rule 19).
    ///
    /// # Errors
    /// None that a verified journal can cause.
    pub fn take_over(&mut self, pid: u32, user: &str) -> Result<(), IllegalEvent> {
        self.resumed = true;
        let before: Vec<StepPhase> = self.saga.forward().map(|i| self.saga.step(i).phase).collect();
        self.note(Event::Run(RunFact::Resumed { pid, user: user.to_owned() }))?;
        for i in self.saga.forward() {
            if before[i] == StepPhase::Started {
                self.shown.push(self.step_update(i, Direction::Forward, State::Unknown));
            }
        }
        let (host, boot) = (self.host_id.clone(), self.spec.host.boot());
        if self.saga.boot(&host) != Some(&*boot) && !self.saga.finished() {
            self.note(Event::Run(RunFact::Rebooted { host, boot }))?;
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
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Finished<J> {
        self.began = Instant::now();
        self.show(Update::Run {
            run: self.spec.info.id.clone(),
            plan: self.spec.plan.name.clone(),
            resumed: self.resumed,
            steps: self.spec.plan.steps.len(),
        });
        if self.saga.outage() {
            self.show(Update::Reachable(false));
        }
        let (pulses, mut pulse) = mpsc::unbounded_channel();
        let meter = self.start_meter(pulses);
        let mut demands = tokio::time::interval(DEMANDS_EVERY);
        self.end_left(&mut orders).await;
        let ending = loop {
            self.launch();
            self.commit();
            if self.live.is_empty() && self.next_pause().is_none() {
                while let Ok(pulse) = pulse.try_recv() {
                    self.pulse(pulse);
                }
                match self.rest(&mut orders).await {
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
                Some(pulse) = pulse.recv() => self.pulse(pulse),
                () = sleep_until(pause) => {}
                () = sleep_until(self.stop_at) => self.stop_live(|_, _| true),
                _ = demands.tick() => self.take_demands(),
            }
        };
        if let Some(meter) = meter {
            meter.abort();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        self.show(Update::Ended { ending, seconds, answers: self.saga.answers(), downtime: self.saga.downtime() });
        Finished { ending, saga: self.saga, journal_error: self.journal_error, journal: self.journal, seconds }
    }

    /// Ends what earlier processes of this run left running and no kind adopts: also that of a step which is neither run again nor
    /// undone, and before anything is undone beside it (rules 4 and 18).
    async fn end_left(&mut self, orders: &mut mpsc::Receiver<Order>) {
        let mut left = std::mem::take(&mut self.left);
        left.retain(|(i, part, _)| !self.assigner().adopts(*i, *part));
        let host = Arc::clone(&self.spec.host);
        for (i, _, left) in left {
            let mut ended = host.end(&left.process);
            while !self.kill.is_cancelled() {
                tokio::select! {
                    biased;
                    ended = &mut ended => {
                        if let Err(failure) = ended {
                            self.show(Update::note(self.id(i), update::Level::Warning, AttemptError::LeftRunning { failure }));
                        }
                        break;
                    }
                    Some(order) = orders.recv() => self.obey(order),
                }
            }
        }
    }

    /// Nothing is live: how this process leaves the run, or `None` where there is more to do.
    async fn rest(&mut self, orders: &mut mpsc::Receiver<Order>) -> Option<Ending> {
        if self.saga.finished() && self.journal_error.is_none() {
            self.ask_once_more(orders).await;
            self.commit();
            return self.saga.outcome().map(Ending::Settled);
        }
        if self.halted {
            self.ask_once_more(orders).await;
            self.commit();
            return Some(Ending::Interrupted);
        }
        // It may be what is waited for, or the last chance to hear it; or what a process that died was asked.
        self.take_demands();
        if !self.batch.is_empty() {
            return None;
        }
        if self.saga.verdict().is_some() {
            self.ask_once_more(orders).await;
            let outcome = self.saga.verdict()?;
            self.happened(Event::Run(RunFact::Settled(outcome)));
            return None;
        }
        // Nothing wanted, nothing live, not settled: a person is asked.
        self.ask_once_more(orders).await;
        self.commit();
        Some(Ending::Paused)
    }

    /// The meter saw a change. Once the run is settled its figures stand.
    fn pulse(&mut self, pulse: meter::Pulse) {
        if self.saga.outcome().is_none() {
            self.measured(pulse);
        }
    }

    async fn ended(&mut self, joined: Result<(Id, Verdict), JoinError>) {
        let (id, verdict) = match joined {
            Ok(ended) => ended,
            // Nobody does the work any more, and it did not break: its task was taken away.
            Err(error) if error.is_cancelled() => (error.id(), Verdict::Lost),
            Err(error) => (error.id(), Verdict::Broken(panicked(error))),
        };
        let i = self.spawned.remove(&id).expect("only what was spawned ends");
        let part = self.lives[&i].part;
        let hung = matches!(verdict, Verdict::Hung);
        if self.spec.plan.step(i).pivot && matches!(verdict, Verdict::Ended(Ok(_))) {
            self.look_once().await;
        }
        self.judge(i, part, verdict);
        self.lives.remove(&i);
        self.release(i, part);
        if let Some(answer) = self.answered_for.remove(&i).filter(|_| !hung) {
            self.take_answer(i, answer);
        }
    }

    fn judge(&mut self, i: Index, part: Part, verdict: Verdict) {
        match (part, verdict) {
            (_, Verdict::Hung) => {
                self.halted = true;
                self.show(Update::note(self.id(i), update::Level::Warning, AttemptError::DidNotStop));
            }
            (Part::Action | Part::Finally, Verdict::Ended(Ok(outputs))) => {
                remember_paths(&self.needed, &outputs);
                self.outputs.lock().expect("no code panics while it holds this lock").push(outputs.clone());
                self.step_happened(i, Fact::Succeeded(outputs));
                self.pauses.remove(&i);
            }
            (Part::Action | Part::Finally, Verdict::Ended(Err(failure)) | Verdict::Broken(failure)) => {
                self.step_happened(i, Fact::Failed(failure));
                self.pause_if_tried_again(i, part);
            }
            // Rules 6 and 14: what was stopped did not fail; nobody knows how far it came.
            (Part::Action, Verdict::Cancelled) => self.step_happened(i, Fact::Unknown),
            (Part::Compensation(part), Verdict::Ended(Ok(_))) => {
                self.step_happened(i, Fact::Undone { part });
                self.pauses.remove(&i);
            }
            (Part::Compensation(at), Verdict::Ended(Err(failure)) | Verdict::Broken(failure)) => {
                self.step_happened(i, Fact::UndoFailed { part: at, failure });
                self.pause_if_tried_again(i, part);
            }
            // The run may have begun to unwind meanwhile: then nobody asks any more.
            (Part::Probe, Verdict::Lost) if self.saga.step(i).phase != StepPhase::Unknown || self.saga.unwinding() => {}
            (part, Verdict::Lost) => self.step_happened(i, Fact::Lost { part }),
            (Part::Probe, Verdict::Broken(failure)) => self.cannot_ask(i, &failure),
            (Part::Probe, Verdict::Ended(result)) => {
                // The run may have begun to unwind meanwhile: then nobody asks any more.
                if self.saga.step(i).phase == StepPhase::Unknown && !self.saga.unwinding() {
                    let by = "probe".to_owned();
                    let answer = result.map_or(Answer::NotDone { by: by.clone(), because: None }, |_| Answer::Done {
                        outputs: Default::default(),
                        by,
                        because: None,
                    });
                    self.step_happened(i, Fact::Resolved(answer));
                }
            }
            // It is done again once the run is settled anew, which waits for its end.
            (Part::Finally, Verdict::Cancelled) if self.saga.outcome().is_none() => self.step_happened(i, Fact::Lost { part }),
            // Nothing to tell: without a verdict it is done again.
            (Part::Finally | Part::Probe | Part::Compensation(_), Verdict::Cancelled) => {}
        }
    }

    /// Lets a step rest after a failed attempt of `part` if the same part is tried again, longer each time.
    fn pause_if_tried_again(&mut self, i: Index, part: Part) {
        let retry = match (self.saga.step(i).phase, part) {
            (StepPhase::Retrying, _) => self.spec.plan.step(i).retry,
            (StepPhase::UndoDue(due), Part::Compensation(failed)) if due == failed => self.spec.plan.step(i).compensate[due].retry,
            _ => {
                self.pauses.remove(&i);
                return;
            }
        };
        let times = self.pauses.get(&i).map_or(0, |&(times, _)| times);
        let pause = backoff(retry, times, &self.spec.info, i);
        self.pauses.insert(i, (times + 1, Instant::now() + pause));
    }

    /// When the first of the steps that rest may be tried again; `None` where no wanted step rests, or where live work has to end
    /// first: a pause that is over already would wake the loop again and again for nothing.
    fn next_pause(&self) -> Option<Instant> {
        if self.halted || self.pauses.is_empty() || !self.has_capacity() {
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
            Keep::Process(process) => vec![Fact::Spawned { part, host: self.host_id.clone(), process }],
        };
        let mut events = facts.into_iter().map(|fact| Event::Step(step.clone(), fact));
        // An attempt that was given up may still ask: dropping `done` refuses it.
        let noted = self.journal_error.is_none() && events.all(|event| self.learn(event).is_ok());
        if noted {
            self.commit();
            if self.journal_error.is_none() {
                let _ = done.send(());
            }
        }
    }

    fn learn(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let known_processes = known_process_in(&event);
        self.note(event)?;
        self.known_processes.lock().expect("no code panics while it holds this lock").extend(known_processes);
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop => {
                self.halted = true;
                self.show(Update::Stopping { grace_s: self.spec.grace.as_secs() });
                self.begin_nothing.cancel();
                // What only looks loses nothing; what changes something may end by itself within the time that was promised (rule 14).
                self.stop_live(|executor, i| executor.only_looks(i));
                self.stop_at = Some(Instant::now() + self.spec.grace);
            }
            Order::Kill => {
                self.halted = true;
                self.kill.cancel();
            }
            Order::Undo => {
                let user = self.spec.user.clone();
                if !self.saga.unwinding()
                    && !self.saga.finished()
                    && let Err(error) = self.abort(&user)
                {
                    tracing::warn!(%error, "the run cannot be undone any more");
                }
            }
        }
    }

    /// Asks live work to stop.
    fn stop_live(&mut self, which: impl Fn(&Self, Index) -> bool) {
        self.stop_at = None;
        for (_, live) in self.lives.iter().filter(|(i, _)| which(self, **i)) {
            live.stop.cancel();
        }
    }

    /// Whether what is live of a step changes nothing: it looks, or waits for an answer.
    fn only_looks(&self, i: Index) -> bool {
        let part = self.lives[&i].part;
        let waits = part == Part::Action && self.saga.shape().steps[i].waits_for_answer;
        waits || self.assigner().effect(i, part) == Effect::Observes
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
        let Some(i) = self.saga.find(step) else { return };
        match (self.lives.get(&i), answer.debt()) {
            // Rule 5: it is made up for once nothing of it is live any more.
            (Some(live), Some(part)) if live.part == Part::Compensation(part) => {
                live.stop.cancel();
                self.answered_for.insert(i, answer);
            }
            (_, Some(_)) => self.take_answer(i, answer),
            (Some(live), None) if matches!(answer, Answer::Done { .. }) && self.saga.can_be_ended(i) => {
                live.stop.cancel();
                self.answered_for.insert(i, answer);
            }
            (Some(live), None) if live.part == Part::Action => live.answer.send_replace(Some(answer)).map_or((), drop),
            (_, None) => {
                if let Err(error) = self.resolve(step, answer) {
                    tracing::warn!(%error, "an answer that nobody waits for");
                }
            }
        }
    }

    /// A person did the compensation that a step owes, or writes it off, or ended its work behind the pivot (rule 20), unless it has
    /// come to its end by itself meanwhile.
    fn take_answer(&mut self, i: Index, answer: Answer) {
        match self.resolve(&self.id(i), answer) {
            Ok(()) => drop(self.pauses.remove(&i)),
            Err(error) => tracing::warn!(%error, "an answer about what came to its end by itself"),
        }
    }

    fn show(&self, update: Update) {
        (self.spec.updates)(update);
    }

    fn id(&self, i: Index) -> StepId {
        self.saga.shape().steps[i].id.clone()
    }
}

/// In the words of the panic alone: the number of a task, which is another one each time, tells nobody anything.
fn panicked(error: JoinError) -> Failure {
    let panic = error.try_into_panic().ok();
    let text =
        panic.as_ref().and_then(|panic| panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()));
    Failure::dirty(AttemptError::Panicked { panic: text.map(str::to_owned) })
}

/// The pause before the next attempt: doubled each time, and spread by up to a quarter so that many steps do not come back at once.
fn backoff(retry: Retry, times: u32, info: &RunInfo, i: Index) -> Duration {
    const LONGEST: Duration = Duration::from_secs(300);
    let pause = retry.backoff.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(LONGEST.max(retry.backoff));
    let seed = blake3::hash(format!("{}/{i}/{times}", info.id).as_bytes());
    pause.mul_f64(1.0 + f64::from(seed.as_bytes()[0]) / 1024.0)
}

/// Paths that other runs need.
#[derive(Debug, Clone, Default)]
pub struct Retained {
    /// For whatever it may be: the current version, a rollback, the rest of an unsettled run.
    pub needed: Vec<PathBuf>,
    /// Those among them of runs that have something to undo.
    pub to_undo: Vec<PathBuf>,
}

/// What the steps of a run that succeeded left, as its records tell.
fn outputs_of(records: &[Record]) -> Vec<Value> {
    let output = |record: &Record| match &record.event {
        Event::Step(_, Fact::Succeeded(value)) => Some(value.clone()),
        _ => None,
    };
    records.iter().filter_map(output).collect()
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

/// Keeps in `left` what attempts of step `i` spawned that have no verdict after `fact`. A person may answer for what still runs.
fn note_left(left: &mut Vec<(Index, Part, Leftover)>, i: Index, fact: &Fact) {
    let judged: fn(&Part) -> bool = match fact {
        Fact::Spawned { part, host, process } => return left.push((i, *part, Leftover { host: host.clone(), process: process.clone() })),
        Fact::Succeeded(_) | Fact::Failed(_) => |part| matches!(part, Part::Action | Part::Finally),
        Fact::Undone { .. } | Fact::UndoFailed { .. } => |part| matches!(part, Part::Compensation(_)),
        Fact::Started { .. } | Fact::Recorded { .. } | Fact::Skipped | Fact::NotRun | Fact::Unknown | Fact::Lost { .. } => return,
        Fact::Resolved(_) | Fact::UndoStarted { .. } => return,
    };
    left.retain(|(of, part, _)| *of != i || !judged(part));
}

/// The output that says beyond doubt which process a `pid` beside it means.
const PROCESS: &str = "process";

/// The process that an event tells of.
fn known_process_in(event: &Event) -> Option<ProcessIdentity> {
    match event {
        Event::Step(_, Fact::Spawned { process, .. }) => Some(process.clone()),
        Event::Step(_, Fact::Recorded { name, value, .. }) if name == PROCESS => serde_json::from_value(value.clone()).ok(),
        Event::Step(..) | Event::Run(_) => None,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
