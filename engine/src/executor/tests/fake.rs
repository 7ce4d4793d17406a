//! Scripted kinds, and the world in which their effects are logged in order.
//!
//! Each attempt of a fake performs one text of its `acts` (the last one also for all further attempts): acts separated by `;`, done in
//! order. Where the world is not told otherwise it is found by the run's id, so that tests do not see each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::event::{AnswerFault, Direction, Effect, Event, Fact, Failure, OnInterrupt, ProcessIdentity, WrongAnswer};
use crate::host::{BoxFuture, Host, ServiceCheck};
use crate::journal::MemoryJournal;
use crate::kind::{Kind, Traits};
use crate::registry::Registry;
use crate::update::{Stream, Unit, Update};

static WORLDS: LazyLock<Mutex<HashMap<String, Arc<World>>>> = LazyLock::new(Mutex::default);

/// What the fakes do things to: the machine of one test.
pub(super) struct World {
    inner: Mutex<Inner>,
    grown: watch::Sender<usize>,
    began: Instant,
}

#[derive(Default)]
struct Inner {
    log: Vec<String>,
    updates: Vec<Update>,
    live: HashSet<String>,
    most_live: usize,
    runs: HashMap<String, usize>,
    state: BTreeMap<String, State>,
    wrong: Vec<String>,
    journal: MemoryJournal,
    boot: String,
    unendable: bool,
    slow_end: Duration,
    trusting: bool,
    away: Vec<(Option<String>, Duration, Duration)>,
}

/// What a step did to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Half,
    Done,
}

impl World {
    pub(super) fn new(run: &str) -> Arc<Self> {
        let world = Arc::new(Self { inner: Mutex::default(), grown: watch::channel(0).0, began: Instant::now() });
        world.lock().boot = "boot-1".to_owned();
        WORLDS.lock().unwrap().insert(run.to_owned(), Arc::clone(&world));
        world
    }

    fn of(run: &str) -> Arc<Self> {
        Arc::clone(&WORLDS.lock().unwrap()[run])
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn forget(run: &str) {
        WORLDS.lock().unwrap().remove(run);
    }

    pub(super) fn say(&self, line: impl Into<String>) {
        let mut inner = self.lock();
        inner.log.push(line.into());
        self.grown.send_replace(inner.log.len());
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// The lines of the log that end with `end`, without it.
    pub(super) fn who(&self, end: &str) -> Vec<String> {
        self.log().iter().filter_map(|line| line.strip_suffix(end)).map(|line| line.trim_end().to_owned()).collect()
    }

    pub(super) fn place(&self, line: &str) -> usize {
        self.log().iter().position(|logged| logged == line).unwrap_or_else(|| panic!("no `{line}` in {:#?}", self.log()))
    }

    pub(super) fn has(&self, line: &str) -> bool {
        self.lock().log.iter().any(|logged| logged == line)
    }

    /// Waits until `line` was logged.
    pub(super) async fn until(&self, line: &str) {
        self.grown.subscribe().wait_for(|_| self.has(line)).await.unwrap();
    }

    pub(super) fn update(&self, update: Update) {
        self.lock().updates.push(update);
    }

    pub(super) fn updates(&self) -> Vec<Update> {
        self.lock().updates.clone()
    }

    pub(super) fn state(&self) -> BTreeMap<String, State> {
        self.lock().state.clone()
    }

    pub(super) fn most_live(&self) -> usize {
        self.lock().most_live
    }

    /// What no run may ever do, whatever the test is about.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.lock().wrong.clone()
    }

    pub(super) fn set_journal(&self, journal: MemoryJournal) {
        self.lock().journal = journal;
    }

    /// The machine starts again: what only lived in it is gone.
    pub(super) fn reboot(&self, boot: &str, gone: &[&str]) {
        let mut inner = self.lock();
        inner.boot = boot.to_owned();
        inner.state.retain(|step, _| !gone.contains(&step.as_str()));
    }

    pub(super) fn cannot_end_processes(&self) {
        self.lock().unendable = true;
    }

    /// Does not look each attempt up in the journal: for plans so large that this would take long.
    pub(super) fn trust_the_journal(&self) {
        self.lock().trusting = true;
    }

    pub(super) fn ends_processes_in(&self, time: Duration) {
        self.lock().slow_end = time;
    }

    /// The measured service does not answer from `from` until `to` after the beginning of the test.
    pub(super) fn away(&self, from: u64, to: u64) {
        self.lock().away.push((None, Duration::from_millis(from), Duration::from_millis(to)));
    }

    /// The same of one of its addresses.
    pub(super) fn address_away(&self, url: &str, from: u64, to: u64) {
        self.lock().away.push((Some(url.to_owned()), Duration::from_millis(from), Duration::from_millis(to)));
    }

    fn enter(self: &Arc<Self>, name: &str, cx: &Context, changes: bool) -> (Present, usize) {
        let mut inner = self.lock();
        let step = cx.step().as_str().to_owned();
        if !inner.live.insert(step.clone()) {
            inner.wrong.push(format!("two attempts of `{step}` at once"));
        }
        inner.most_live = inner.most_live.max(inner.live.len());
        let attempt = cx.attempt();
        let journaled = inner.trusting
            || inner.journal.events().iter().rev().any(|event| match (event, cx.direction()) {
                (Event::Step(id, Fact::Started { attempt: of, .. }), Direction::Forward | Direction::Finally) => {
                    id == cx.step() && *of == attempt
                }
                (Event::Step(id, Fact::UndoStarted { attempt: of, .. }), Direction::Undo) => id == cx.step() && *of == attempt,
                _ => false,
            });
        if !journaled {
            inner.wrong.push(format!("attempt {attempt} of `{name}` began before that was durable"));
        }
        let forward = inner.live.iter().any(|other| other != &step && !inner.undoing(other));
        if cx.direction() == Direction::Undo && forward {
            let line = format!("`{name}` began beside live work");
            inner.wrong.push(line);
        }
        let runs = inner.runs.entry(name.to_owned()).or_default();
        *runs += 1;
        let runs = *runs - 1;
        let before = inner.state.get(&step).copied();
        if changes && cx.direction() == Direction::Forward && before.is_none() {
            inner.state.insert(step.clone(), State::Half);
        }
        if cx.direction() == Direction::Undo {
            inner.runs.insert(format!("undoing {step}"), 1);
        } else {
            inner.runs.remove(&format!("undoing {step}"));
        }
        drop(inner);
        self.say(format!("{name} began"));
        (Present { world: Arc::clone(self), name: name.to_owned(), step, before, changes, direction: cx.direction(), told: false }, runs)
    }
}

impl Inner {
    fn undoing(&self, step: &str) -> bool {
        self.runs.contains_key(&format!("undoing {step}"))
    }
}

impl Host for World {
    fn boot(&self) -> String {
        self.lock().boot.clone()
    }

    fn is_alive(&self, _: u32) -> bool {
        true
    }

    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let slow = self.lock().slow_end;
            sleep(slow).await;
            if self.lock().unendable {
                return Err(Failure::clean("it may not be ended"));
            }
            self.say(format!("{} ended", process.pid));
            Ok(())
        })
    }

    fn wrong_answer<'a>(&'a self, checks: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>> {
        let since = self.began.elapsed();
        let inner = self.lock();
        let away = |check: &&ServiceCheck| {
            inner.away.iter().any(|(of, from, to)| of.as_ref().is_none_or(|of| *of == check.url) && (*from..*to).contains(&since))
        };
        let wrong = checks.iter().find(away).map(|check| WrongAnswer { url: check.url.clone(), found: AnswerFault::NoAnswer });
        Box::pin(async move { wrong })
    }
}

/// An attempt that is in the world.
struct Present {
    world: Arc<World>,
    name: String,
    step: String,
    before: Option<State>,
    changes: bool,
    direction: Direction,
    told: bool,
}

impl Present {
    fn leave(mut self, result: &Result<Left, Failure>) {
        let mut inner = self.world.lock();
        match (self.direction, result) {
            (Direction::Forward, Ok(_)) if self.changes => drop(inner.state.insert(self.step.clone(), State::Done)),
            (Direction::Forward, Err(failure)) if failure.clean && self.before.is_none() => drop(inner.state.remove(&self.step)),
            (Direction::Undo, Ok(_)) => drop(inner.state.remove(&self.step)),
            _ => {}
        }
        drop(inner);
        self.tell(if result.is_ok() { "done" } else { "failed" });
    }

    fn tell(&mut self, how: &str) {
        self.told = true;
        self.world.lock().live.remove(&self.step);
        self.world.say(format!("{} {how}", self.name));
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if !self.told {
            self.tell("dropped");
        }
    }
}

/// What a fake leaves.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct Left {
    /// What it was told to.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    x: Value,
    /// What it only records.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    before: Value,
    /// The process it only spawns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $kind:literal: $effect:ident, $interrupt:ident, adopts: $adopts:literal, seconds: $seconds:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            struct $name {
                /// What each attempt does.
                #[serde(default)]
                acts: Vec<String>,
                /// Anything, to be logged.
                #[serde(default)]
                see: Value,
                /// A number that may be missing: what is none does not fit.
                #[serde(default)]
                #[allow(dead_code)]
                number: Option<u32>,
            }

            impl Kind for $name {
                const KIND: &'static str = $kind;
                const TRAITS: Traits = Traits {
                    timeout: match $seconds {
                        0 => None,
                        seconds => Some(Duration::from_secs(seconds)),
                    },
                    adopts: $adopts,
                    ..Traits::new(Effect::$effect, OnInterrupt::$interrupt)
                };
                type Output = Left;

                async fn run(&self, cx: &Context) -> Result<Left, Failure> {
                    perform($kind, Effect::$effect, &self.acts, &self.see, cx).await
                }
            }
        )*

        pub(super) fn registry() -> Registry {
            Registry::default()$(.with::<$name>())*
        }
    };
}

kinds! {
    /// Changes something; can be repeated.
    Fake "fake": Changes, Rerun, adopts: false, seconds: 0;
    /// Changes something; cannot be repeated.
    Ask "ask": Changes, Ask, adopts: false, seconds: 0;
    /// Looks.
    Look "look": Observes, Rerun, adopts: false, seconds: 0;
    /// Looks what became of a step.
    Probe "probe": Observes, Rerun, adopts: false, seconds: 30;
    /// Starts what a reboot takes away.
    Volatile "volatile": Volatile, Rerun, adopts: true, seconds: 0;
}

async fn perform(kind: &str, effect: Effect, acts: &[String], see: &Value, cx: &Context) -> Result<Left, Failure> {
    let world = World::of(cx.run().id.as_str());
    let name = match (kind, cx.direction()) {
        ("probe", _) => format!("probe {}", cx.step()),
        (_, Direction::Forward) => cx.step().to_string(),
        (_, Direction::Undo) => format!("undo {}", cx.step()),
        (_, Direction::Finally) => format!("finally {}", cx.step()),
    };
    let (present, runs) = world.enter(&name, cx, effect != Effect::Observes);
    if !see.is_null() {
        world.say(format!("{name} saw {see}"));
    }
    let acts = acts.get(runs).or(acts.last()).map_or("", String::as_str);
    let result = perform_all(acts, &name, runs, &world, cx).await;
    present.leave(&result);
    result
}

async fn perform_all(acts: &str, name: &str, runs: usize, world: &World, cx: &Context) -> Result<Left, Failure> {
    let mut left = Left::default();
    for act in acts.split(';').map(str::trim).filter(|act| !act.is_empty()) {
        let (verb, rest) = act.split_once(' ').unwrap_or((act, ""));
        let stopped = || Err(Failure::dirty("stopped as asked"));
        let time = || humantime::parse_duration(rest).unwrap();
        match verb {
            "sleep" => tokio::select! {
                () = sleep(time()) => {}
                () = cx.cancelled() => return stopped(),
            },
            "deaf" => sleep(time()).await,
            "hang" => {
                cx.cancelled().await;
                return stopped();
            }
            "linger" => cx.cancelled().await,
            "forever" => std::future::pending().await,
            "clean" => return Err(Failure::clean(rest)),
            "dirty" => return Err(Failure::dirty(rest).with_tail([format!("tail of {rest}")])),
            "panic" => panic!("{rest}"),
            "flaky" if runs < rest.parse().unwrap() => return Err(Failure::dirty("not yet")),
            "flaky" => {}
            "record" => {
                let (output, value) = rest.split_once(' ').unwrap();
                let stands = cx.record(output, json(value)).await?;
                world.say(format!("{name} recorded {stands}"));
            }
            "spawn" => spawn(rest.parse().unwrap(), name, world, cx).await?,
            "processes" => world.say(format!("{name} finds {:?}", cx.processes().iter().map(|process| process.pid).collect::<Vec<_>>())),
            "needed" => world.say(format!("{name} must leave {:?}", cx.needed())),
            "summary" => {
                let summary = cx.summary();
                let failed: Vec<_> = summary.failed.iter().map(|(step, _)| step.as_str()).collect();
                let outcome = summary.outcome.map(crate::event::Outcome::as_str);
                world.say(format!("{name}: {outcome:?}, failed {failed:?}, unwound {}, owed {:?}", summary.unwound, summary.owed));
            }
            "downtime" => {
                let ms = cx.summary().downtime.map(|downtime| downtime.ms);
                world.say(format!("{name}: {} ms written down", ms.map_or("no".to_owned(), |ms| ms.to_string())));
            }
            "out" => left.x = json(rest),
            "print" => {
                cx.log(Stream::Stdout, rest);
                cx.warn(rest);
            }
            "progress" => cx.progress(1, None, Unit::Files),
            "answer" => {
                let answer = cx.answer().await;
                world.say(format!("{name} was answered {answer:?}"));
            }
            "is-done" if world.state().get(cx.step().as_str()) != Some(&State::Done) => return Err(Failure::clean("it is not there")),
            "is-done" => {}
            _ => panic!("there is no act `{act}`"),
        }
    }
    Ok(left)
}

async fn spawn(pid: u32, name: &str, world: &World, cx: &Context) -> Result<(), Failure> {
    let process = ProcessIdentity { pid, started: 1, program: "/bin/fake".to_owned(), boot: world.boot() };
    cx.spawned(process).await?;
    let durable = world
        .lock()
        .journal
        .events()
        .iter()
        .any(|event| matches!(event, Event::Step(_, Fact::Spawned { process, .. }) if process.pid == pid));
    if !durable {
        world.lock().wrong.push(format!("process {pid} was let go before it was durable"));
    }
    world.say(format!("{name} let {pid} go"));
    Ok(())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
