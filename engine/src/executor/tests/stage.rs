//! A test's run: its plan, its world, and a journal that fails and demands as told.

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::fake::{World, registry};
use crate::context::RunInfo;
use crate::event::{Event, Fact, HostId, Opened, RunFact, RunId, StepId};
use crate::executor::{Executor, Finished, Order, RunSpec};
use crate::journal::{Demand, Journal, JournalError, MemoryJournal, Record};
use crate::plan::{self, Plan, Templates, ValueInputs};
use crate::registry::Registry;
use crate::update::{State, Update};

/// Longer than any test means to wait, in the time of the test.
const TOO_LONG: Duration = Duration::from_secs(7200);

/// How an append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing was written.
    Lost,
    /// It is durable, although the journal could not tell.
    Kept,
}

/// A [`MemoryJournal`] that counts, fails and demands.
#[derive(Clone, Default)]
pub(super) struct Tape {
    pub(super) journal: MemoryJournal,
    control: Arc<Mutex<Control>>,
}

#[derive(Default)]
struct Control {
    appends: u64,
    fails_at: Option<(u64, Loss)>,
    failed: bool,
    appended_after_failure: bool,
    demands: VecDeque<Demand>,
}

impl Tape {
    fn after(records: Vec<Record>) -> Self {
        Self { journal: MemoryJournal::after(records), control: Arc::default() }
    }

    pub(super) fn fail_at(&self, append: u64, loss: Loss) {
        self.control.lock().unwrap().fails_at = Some((append, loss));
    }

    /// How often it was asked to append something.
    pub(super) fn appends(&self) -> u64 {
        self.control.lock().unwrap().appends
    }

    /// Another process asks for this, from now on.
    pub(super) fn demand(&self, demand: Demand) {
        self.control.lock().unwrap().demands.push_back(demand);
    }
}

impl Journal for Tape {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut control = self.control.lock().unwrap();
        control.appended_after_failure |= control.failed;
        control.appends += 1;
        if let Some((_, loss)) = control.fails_at.filter(|(at, _)| *at == control.appends) {
            control.failed = true;
            if loss == Loss::Kept {
                self.journal.append(events)?;
            }
            return Err(JournalError::Poisoned);
        }
        self.journal.append(events)
    }

    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        Ok(self.control.lock().unwrap().demands.drain(..).collect())
    }
}

/// One run of a plan of fakes, through all its processes.
pub(super) struct Stage {
    run: String,
    pub(super) plan: Arc<Plan>,
    registry: Arc<Registry>,
    pub(super) world: Arc<World>,
    pub(super) tape: Tape,
    secrets: Vec<(String, String)>,
}

impl Stage {
    /// A run of the plan with this text, which may leave its head out. Opened, not yet run.
    pub(super) fn new(text: &str) -> Self {
        let (plan, registry) = load(text);
        Self::of(plan, registry)
    }

    pub(super) fn of(plan: Arc<Plan>, registry: Arc<Registry>) -> Self {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let run = format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed));
        let world = World::new(&run);
        let mut tape = Tape::default();
        tape.journal.append(&[Event::Run(RunFact::Opened(Box::new(opened())))]).unwrap();
        world.set_journal(tape.journal.clone());
        Self { run, plan, registry, world, tape, secrets: Vec::new() }
    }

    pub(super) fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it in its first process.
    pub(super) async fn apply(&mut self) -> Finished<Tape> {
        self.apply_while(|_, _, _| async {}).await
    }

    /// The same, while something else happens.
    pub(super) async fn apply_while<F: Future<Output = ()>>(
        &mut self,
        other: impl FnOnce(mpsc::Sender<Order>, Tape, Arc<World>) -> F,
    ) -> Finished<Tape> {
        let executor = self.executor();
        self.execute(executor, other).await
    }

    /// Another process goes on with what the journal holds.
    pub(super) async fn resume(&mut self) -> Finished<Tape> {
        self.resume_while(|_, _, _| async {}).await
    }

    pub(super) async fn resume_while<F: Future<Output = ()>>(
        &mut self,
        other: impl FnOnce(mpsc::Sender<Order>, Tape, Arc<World>) -> F,
    ) -> Finished<Tape> {
        let executor = self.taken_over();
        self.execute(executor, other).await
    }

    /// The process died right after `event` became durable.
    pub(super) fn cut_after(mut self, event: &str) -> Self {
        let place = self.story().iter().position(|line| line == event).unwrap_or_else(|| panic!("no `{event}` in {:#?}", self.story()));
        self.tape = Tape::after(self.tape.journal.records()[..=place].to_vec());
        self.world.set_journal(self.tape.journal.clone());
        self
    }

    /// Makes the journal's records those that the next process finds.
    pub(super) fn next_process(&mut self) {
        self.tape = Tape::after(self.tape.journal.records());
        self.world.set_journal(self.tape.journal.clone());
    }

    pub(super) fn taken_over(&mut self) -> Executor<Tape> {
        // A test may have prepared the next process's journal already.
        if self.tape.appends() > 0 {
            self.next_process();
        }
        let mut executor = self.executor();
        executor.take_over(2, "operator").unwrap();
        executor
    }

    pub(super) async fn execute<F: Future<Output = ()>>(
        &mut self,
        executor: Executor<Tape>,
        other: impl FnOnce(mpsc::Sender<Order>, Tape, Arc<World>) -> F,
    ) -> Finished<Tape> {
        let (orders, inbox) = mpsc::channel(8);
        let other = other(orders, self.tape.clone(), Arc::clone(&self.world));
        let both = async { tokio::join!(executor.run(inbox), other).0 };
        let finished = tokio::time::timeout(TOO_LONG, both).await;
        let finished = finished.unwrap_or_else(|_| panic!("it goes on for ever: {:#?}\n{:#?}", self.world.log(), self.story()));
        assert_eq!(self.world.wrong(), Vec::<String>::new(), "{:#?}", self.world.log());
        assert!(!self.tape.control.lock().unwrap().appended_after_failure, "something was appended after a failed append");
        self.refuses_to_leak();
        finished
    }

    pub(super) fn executor(&self) -> Executor<Tape> {
        Executor::new(self.spec(), self.tape.clone(), &self.tape.journal.records()).unwrap()
    }

    fn spec(&self) -> RunSpec {
        let world = Arc::clone(&self.world);
        let secrets = self.secrets.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        let started_at = jiff::Timestamp::UNIX_EPOCH;
        RunSpec {
            plan: Arc::clone(&self.plan),
            registry: Arc::clone(&self.registry),
            host: Arc::clone(&self.world) as Arc<_>,
            templates: Templates::new(ValueInputs { secrets, run_id: self.run.clone(), ..ValueInputs::default() }),
            info: Arc::new(RunInfo {
                id: RunId::new(&self.run),
                plan: "test".to_owned(),
                plan_dir: "/plans".into(),
                folder: "/run".into(),
                started_at,
                timestamp: "20260206_141502".to_owned(),
                lang: "en".to_owned(),
            }),
            updates: Arc::new(move |update| world.update(update)),
            keep: Default::default(),
            grace: Duration::from_secs(10),
            user: "operator".to_owned(),
        }
    }

    /// The journal, one word or two an event.
    pub(super) fn story(&self) -> Vec<String> {
        self.tape.journal.events().iter().map(told).collect()
    }

    /// What the journal says of one step.
    pub(super) fn story_of(&self, step: &str) -> Vec<String> {
        let mine = format!("{step} ");
        self.story().iter().filter_map(|line| line.strip_prefix(&mine)).map(str::to_owned).collect()
    }

    /// The outputs that a step left, as the journal keeps them.
    pub(super) fn outputs(&self, step: &str) -> Value {
        let of = StepId::new(step);
        let left = self.tape.journal.events().into_iter().rev().find_map(|event| match event {
            Event::Step(id, Fact::Succeeded(outputs)) if id == of => Some(outputs),
            _ => None,
        });
        left.unwrap_or_else(|| panic!("`{step}` left nothing"))
    }

    /// Where a step was shown to be, in order.
    pub(super) fn shown(&self, step: &str) -> Vec<State> {
        let states = self.world.updates().into_iter().filter_map(|update| match update {
            Update::Step(update) if update.step.as_str() == step => Some(update.state),
            _ => None,
        });
        states.collect()
    }

    fn refuses_to_leak(&self) {
        let journal = format!("{:?}", self.tape.journal.events());
        let updates = format!("{:?}", self.world.updates());
        for (name, secret) in &self.secrets {
            assert!(!journal.contains(secret.as_str()), "secret `{name}` is in the journal: {journal}");
            assert!(!updates.contains(secret.as_str()), "secret `{name}` is shown: {updates}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        World::forget(&self.run);
    }
}

pub(super) fn load(text: &str) -> (Arc<Plan>, Arc<Registry>) {
    let registry = registry();
    let head = if text.contains("[plan]") { "format = 1\n" } else { "format = 1\n[plan]\nname = \"test\"\n" };
    let text = format!("{head}{text}");
    let loaded = plan::load(&text, Path::new("/plans/test.toml"), &registry);
    let plan = loaded.plan.unwrap_or_else(|| panic!("{:#?}\n{text}", loaded.mistakes));
    (Arc::new(plan), Arc::new(registry))
}

fn opened() -> Opened {
    Opened {
        plan_text: String::new(),
        plan_path: "/plans/test.toml".to_owned(),
        vars: Default::default(),
        env: Default::default(),
        secrets: Vec::new(),
        timestamp: "20260206_141502".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        lang: "en".to_owned(),
        host: HostId::local(),
        boot: "boot-1".to_owned(),
        user: "operator".to_owned(),
        pid: 1,
        version: "0".to_owned(),
    }
}

fn told(event: &Event) -> String {
    match event {
        Event::Run(RunFact::Opened(_)) => "opened".to_owned(),
        Event::Run(RunFact::Resumed { .. }) => "resumed".to_owned(),
        Event::Run(RunFact::Rebooted { .. }) => "rebooted".to_owned(),
        Event::Run(RunFact::Aborted { .. }) => "aborted".to_owned(),
        Event::Run(RunFact::Unreachable) => "unreachable".to_owned(),
        Event::Run(RunFact::Reachable(_)) => "reachable".to_owned(),
        Event::Run(RunFact::Asked(state)) => if state.wrong.is_none() { "asked: answers" } else { "asked: does not answer" }.to_owned(),
        Event::Run(RunFact::Settled(outcome)) => format!("settled {}", outcome.as_str()),
        Event::Step(step, fact) => format!("{step} {}", told_of_step(fact)),
    }
}

fn told_of_step(fact: &Fact) -> String {
    match fact {
        Fact::Started { attempt, .. } => format!("started {attempt}"),
        Fact::Recorded { name, value, .. } => format!("recorded {name} {value}"),
        Fact::Spawned { process, .. } => format!("spawned {}", process.pid),
        Fact::Succeeded(_) => "succeeded".to_owned(),
        Fact::Failed(failure) => format!("failed {}", if failure.clean { "clean" } else { "dirty" }),
        Fact::Skipped => "skipped".to_owned(),
        Fact::NotRun => "not-run".to_owned(),
        Fact::Unknown => "unknown".to_owned(),
        Fact::Resolved(crate::event::Answer::Done { .. }) => "done".to_owned(),
        Fact::Resolved(crate::event::Answer::NotDone { .. }) => "not-done".to_owned(),
        Fact::Resolved(crate::event::Answer::Undone(debt)) => format!("undone by hand {}", debt.part),
        Fact::Resolved(crate::event::Answer::GivenUp(debt)) => format!("given up {}", debt.part),
        Fact::Lost { part } => format!("lost {part:?}"),
        Fact::UndoStarted { part, attempt, .. } => format!("undo-started {part}.{attempt}"),
        Fact::Undone { part } => format!("undone {part}"),
        Fact::UndoFailed { part, .. } => format!("undo-failed {part}"),
    }
}
