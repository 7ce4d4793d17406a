//! What a kind is to the engine: the [`Step`] trait, the [`Context`] it runs in, and the [`Registry`] that knows kinds by name.
//!
//! A kind sees its own typed inputs and the [`Context`]; it never sees the plan or the journal, and it prints nothing.
//! What it wants people to see goes out as [`Update`]s, what must survive a crash goes through [`Context::record`] and
//! [`Context::spawned`], which return only once it is durable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Answer, Downtime, Outcome, Part, RunId, StepId};
use crate::executor::Mask;
use crate::update::{Level, Phase, Stream, Unit, Update, Updates};

/// A boxed future, for the places where kinds of different types meet.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A kind of step: its fields are the inputs (`with`), typed and documented; their docs are what `almaplan steps` shows.
///
/// Implementors derive `Deserialize` with `#[serde(deny_unknown_fields)]` and `JsonSchema`.
pub trait Step: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The name that plans `use`.
    const KIND: &'static str;
    /// What the engine must know before it runs one.
    const TRAITS: Traits;
    /// What a succeeded step leaves for others, as `steps.<id>.<field>`.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// Does the work. May be called again after an interruption, and as a compensation of work done partly or not at all.
    ///
    /// It ends soon after [`Context::cancelled`]; what it then returns counts only if it is `Ok`.
    fn run(&self, cx: &Context) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// What an interruption of these very inputs means (a check that writes is not one that reads).
    fn on_interrupt(&self) -> OnInterrupt {
        Self::TRAITS.on_interrupt
    }

    /// How long an attempt with these inputs may take where the plan does not say; `None` is without limit.
    fn default_timeout(&self) -> Option<Duration> {
        Self::TRAITS.timeout
    }
}

/// What holds for every step of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// What running it does to the world.
    pub effect: Effect,
    /// What an interruption means (rule 6).
    pub on_interrupt: OnInterrupt,
    /// How long one attempt may take where neither the plan nor the inputs say.
    pub timeout: Option<Duration>,
    /// Goes on with the live process that an earlier attempt of it spawned, which is therefore not ended before it runs again (rule 18).
    pub adopts: bool,
}

/// What running a kind does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Looks and tells; nothing to compensate. Done again after a reboot where it needs something volatile.
    Observes,
    /// Changes what survives a reboot.
    Changes,
    /// Changes what a reboot takes away: a process that was started or stopped (rule 19).
    Volatile,
}

/// What to do with a step that was interrupted and has no probe (rule 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInterrupt {
    /// It can be repeated.
    Rerun,
    /// A person must say what became of it.
    Ask,
    /// It counts as failed: the run unwinds.
    Compensate,
}

/// Why a step did not succeed, as it is journaled and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What was wrong, where, and what to do next; lower case, no full stop.
    pub message: String,
    /// Nothing at all was changed, so nothing is owed (rule 3).
    pub clean: bool,
    /// The last lines that the work printed, where it printed any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
}

impl Failure {
    /// A failure that changed nothing.
    pub fn clean(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), clean: true, tail: Vec::new() }
    }

    /// A failure that may have changed something.
    pub fn dirty(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), clean: false, tail: Vec::new() }
    }

    /// The same, with the last lines that were printed.
    #[must_use]
    pub fn with_tail(mut self, tail: impl IntoIterator<Item = String>) -> Self {
        self.tail = tail.into_iter().collect();
        self
    }
}

/// A process, beyond doubt: a pid alone may belong to another program by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: u32,
    /// Start time in the system's own unit and epoch (Linux: clock ticks since boot); only compared for equality.
    pub started: u64,
    /// Path of the program that runs, as the system tells it.
    pub program: String,
    /// The boot that `pid` and `started` belong to.
    pub boot: String,
}

/// What the engine asks of the machine it runs on. The engine itself touches no process and no network.
pub trait Host: Send + Sync + 'static {
    /// A text that is another one after each boot.
    fn boot(&self) -> String;
    /// Ends `process` and everything below it, if it is still the same one. Returns once it is gone.
    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>>;
    /// One probe of `[measure]`: whether `url` answers now, with any status below 500.
    fn answers<'a>(&'a self, url: &'a str) -> BoxFuture<'a, bool>;
}

/// What a kind may know of the run it is part of.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The run's id.
    pub id: RunId,
    /// `[plan] name`.
    pub plan: String,
    /// The plan file's folder: relative paths of a plan start here.
    pub plan_dir: PathBuf,
    /// A folder of this run's own beside the journal, for logs and leftovers that belong to people.
    pub folder: PathBuf,
    /// When the run was started.
    pub started_at: Timestamp,
    /// `run.timestamp`: `20260206_141502`, in local time.
    pub timestamp: String,
    /// Language of what is written for people to keep: `pt-BR` or `en`.
    pub lang: String,
}

/// Where the run stands, for kinds that tell people.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How the run was settled; `None` before that.
    pub outcome: Option<Outcome>,
    /// The steps that failed, in order, with why.
    pub failed: Vec<(StepId, Failure)>,
    /// Whether a person asked for it to be undone.
    pub aborted: bool,
    /// Whether a compensation ran or is due: the run did not simply succeed or fail before it changed anything.
    pub unwound: bool,
    /// Compensations that are still owed or were written off.
    pub owed: Vec<StepId>,
    /// How long `[measure]` saw the service down.
    pub downtime: Option<Downtime>,
    /// Whether the measured service does not answer now.
    pub down: bool,
}

/// The world as one attempt of a kind sees it.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

/// What the executor hands to an attempt, as data.
pub struct Attempt {
    /// The step of the plan this belongs to.
    pub step: StepId,
    /// Which of the step's work this is: its action, its probe, or its n-th compensation.
    pub part: Part,
    /// Counts from 1.
    pub number: u32,
    /// When the attempt's timeout ends it.
    pub deadline: Option<Instant>,
    /// What this part recorded in this and earlier attempts.
    pub recorded: Map<String, Value>,
    /// The processes that earlier attempts of this part spawned, oldest first.
    pub processes: Vec<ProcessIdentity>,
    /// The run.
    pub run: Arc<RunInfo>,
    /// Where the run stands.
    pub summary: Arc<Summary>,
    /// Paths that this run, and a rollback of the newest success, still need.
    pub needed: Arc<Mutex<Vec<PathBuf>>>,
    /// The processes that any step of this run started, or recorded as its `process`, oldest first.
    pub met: Arc<Mutex<Vec<ProcessIdentity>>>,
    /// What must never be shown or kept.
    pub mask: Mask,
}

struct Inner {
    attempt: Attempt,
    recorded: Mutex<Map<String, Value>>,
    stop: CancellationToken,
    answer: watch::Receiver<Option<Answer>>,
    requests: mpsc::UnboundedSender<Request>,
    updates: Updates,
}

/// What a running kind asks the executor to make durable.
#[derive(Debug)]
pub struct Request {
    /// The step that asks.
    pub step: StepId,
    /// The part of it that asks.
    pub part: Part,
    /// What is to be kept.
    pub keep: Keep,
    /// Answered once it is durable; dropped where it could not be made so.
    pub done: oneshot::Sender<()>,
}

/// See [`Request`].
#[derive(Debug)]
pub enum Keep {
    /// Outputs, before the effect: all of them or none.
    Outputs(Vec<(String, Value)>),
    /// A process that waits in its gate.
    Process(ProcessIdentity),
}

impl Context {
    /// A context for `attempt`; the executor makes these, and so does a test of a kind (see [`Context::standalone`]).
    pub fn new(
        attempt: Attempt,
        stop: CancellationToken,
        answer: watch::Receiver<Option<Answer>>,
        requests: mpsc::UnboundedSender<Request>,
        updates: Updates,
    ) -> Self {
        let recorded = Mutex::new(attempt.recorded.clone());
        Self { inner: Arc::new(Inner { attempt, recorded, stop, answer, requests, updates }) }
    }

    /// A context without a run: records are kept in memory, updates go to `updates`. For tests of kinds and for
    /// programs that use a kind on its own. Must be called within a tokio runtime.
    pub fn standalone(folder: &Path, updates: Updates) -> Self {
        Self::standalone_after(folder, updates, Map::new(), Vec::new())
    }

    /// As [`Context::standalone`], as a further attempt sees it: with what earlier ones recorded and spawned.
    pub fn standalone_after(folder: &Path, updates: Updates, recorded: Map<String, Value>, processes: Vec<ProcessIdentity>) -> Self {
        let (requests, mut inbox) = mpsc::unbounded_channel::<Request>();
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                let _ = request.done.send(());
            }
        });
        let started_at = Timestamp::now();
        let run = RunInfo {
            id: RunId::new("standalone"),
            plan: "standalone".to_owned(),
            plan_dir: folder.to_owned(),
            folder: folder.to_owned(),
            started_at,
            timestamp: timestamp(started_at),
            lang: "en".to_owned(),
        };
        let attempt = Attempt {
            step: StepId::new("step"),
            part: Part::Action,
            number: 1,
            deadline: None,
            recorded,
            processes,
            run: Arc::new(run),
            summary: Arc::default(),
            needed: Arc::default(),
            met: Arc::default(),
            mask: Mask::default(),
        };
        let (_, answer) = watch::channel(None);
        Self::new(attempt, CancellationToken::new(), answer, requests, updates)
    }

    /// The step of the plan that this work belongs to.
    pub fn step(&self) -> &StepId {
        &self.inner.attempt.step
    }

    /// Which attempt this is; counts from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.attempt.number
    }

    /// Forward, undo or finally.
    pub fn phase(&self) -> Phase {
        self.inner.attempt.part.phase()
    }

    /// The run that this attempt is part of.
    pub fn run(&self) -> &RunInfo {
        &self.inner.attempt.run
    }

    /// Where the run stands.
    pub fn summary(&self) -> &Summary {
        &self.inner.attempt.summary
    }

    /// Paths that this run, and a rollback of the newest success, still need (what `prune` must leave).
    pub fn needed(&self) -> Vec<PathBuf> {
        self.inner.attempt.needed.lock().expect("no code panics while it holds this lock").clone()
    }

    /// `path` made absolute: relative ones start at the plan file's folder.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        // `components` also drops `.` and doubled separators, so that the same folder is always the same text.
        self.run().plan_dir.join(path).components().collect()
    }

    /// Ends when the work is asked to stop: by the operator, by a failure elsewhere, or by its timeout.
    pub async fn cancelled(&self) {
        self.inner.stop.cancelled().await;
    }

    /// Whether the work was asked to stop. For loops in blocking code.
    pub fn is_cancelled(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    /// What is left of this attempt's timeout; `None` is without limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.inner.attempt.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Keeps an output durably *before* the effect that would destroy it, and returns the value that stands: the first
    /// record of a name is the one that stands, through crashes and further attempts (rule 16).
    ///
    /// # Errors
    /// The journal cannot be written: the caller must not go on to the effect.
    pub async fn record(&self, name: &str, value: impl Serialize) -> Result<Value, Failure> {
        let value = serde_json::to_value(value).map_err(|error| Failure::clean(format!("could not record `{name}`: {error}")))?;
        self.record_all([(name, value.clone())]).await?;
        Ok(self.recorded(name).unwrap_or(value))
    }

    /// As [`Context::record`], for outputs that mean something only together: a crash leaves all of them or none.
    ///
    /// # Errors
    /// See [`Context::record`].
    pub async fn record_all(&self, outputs: impl IntoIterator<Item = (&str, Value)>) -> Result<(), Failure> {
        let is_new = |name: &&str| self.recorded(name).is_none();
        let outputs: Vec<_> = outputs.into_iter().filter(|(name, _)| is_new(name)).map(|(name, value)| (name.to_owned(), value)).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        self.keep(Keep::Outputs(outputs.clone())).await?;
        self.lock_recorded().extend(outputs);
        Ok(())
    }

    /// What this or an earlier attempt recorded under `name`.
    pub fn recorded(&self, name: &str) -> Option<Value> {
        self.lock_recorded().get(name).cloned()
    }

    /// Keeps the identity of a process that waits in its gate; only after this returns may it be let go (rule 18).
    /// The newest one is also the step's output `pid` until the step has outputs of its own.
    ///
    /// # Errors
    /// The journal cannot be written: the caller must let the process end in its gate.
    pub async fn spawned(&self, process: ProcessIdentity) -> Result<(), Failure> {
        self.keep(Keep::Process(process)).await
    }

    /// The processes that earlier attempts spawned, oldest first. Kinds whose [`Traits::adopts`] is false find them ended.
    pub fn processes(&self) -> &[ProcessIdentity] {
        &self.inner.attempt.processes
    }

    /// The process that `pid` meant when a step of this run last dealt with it: a step hands on the bare number, and that may
    /// be anybody's by now. `None` where no step did.
    pub fn met(&self, pid: u32) -> Option<ProcessIdentity> {
        let met = self.inner.attempt.met.lock().expect("no code panics while it holds this lock");
        met.iter().rfind(|process| process.pid == pid).cloned()
    }

    /// `text` without secrets: for what a kind writes itself for people to keep. Whatever goes through this context is masked anyway.
    pub fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.inner.attempt.mask.text(text)
    }

    /// Waits for a person's answer to this step (`almaplan resolve`).
    pub async fn answer(&self) -> Answer {
        let mut answer = self.inner.answer.clone();
        loop {
            if let Some(answer) = answer.borrow_and_update().clone() {
                return answer;
            }
            if answer.changed().await.is_err() {
                // Nobody is left who could answer: wait to be stopped.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Shows how far the work is. Cheap; views take as many of these as they can show.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: Unit) {
        self.show(Update::Progress { step: self.step().clone(), done, total, unit });
    }

    /// Shows and keeps one line that the work printed.
    pub fn log(&self, stream: Stream, line: impl Into<String>) {
        self.show(Update::Log { step: self.step().clone(), stream, line: line.into() });
    }

    /// Tells people something that is worth knowing.
    pub fn info(&self, message: impl Into<String>) {
        self.show(Update::Note { step: self.step().clone(), level: Level::Info, message: message.into() });
    }

    /// Tells people something that they should look at, although the step goes on.
    pub fn warn(&self, message: impl Into<String>) {
        self.show(Update::Note { step: self.step().clone(), level: Level::Warning, message: message.into() });
    }

    /// Raises the alarm where the operator looks: a banner on the console.
    pub fn alert(&self, message: impl Into<String>) {
        self.show(Update::Note { step: self.step().clone(), level: Level::Alert, message: message.into() });
    }

    fn show(&self, update: Update) {
        (self.inner.updates)(update);
    }

    async fn keep(&self, keep: Keep) -> Result<(), Failure> {
        let lost = || Failure::dirty("the journal could not be written, so nothing more is done");
        let (done, durable) = oneshot::channel();
        let attempt = &self.inner.attempt;
        let request = Request { step: attempt.step.clone(), part: attempt.part, keep, done };
        self.inner.requests.send(request).map_err(|_| lost())?;
        durable.await.map_err(|_| lost())
    }

    fn lock_recorded(&self) -> std::sync::MutexGuard<'_, Map<String, Value>> {
        self.inner.recorded.lock().expect("no code panics while it holds this lock")
    }
}

/// `run.timestamp` of a run started at `at`: local time, fit for file names.
pub fn timestamp(at: Timestamp) -> String {
    at.to_zoned_datetime(local_zone()).strftime("%Y%m%d_%H%M%S").to_string()
}

/// The time zone of this machine, or that of `TZ`.
pub fn local_zone() -> TimeZone {
    // Its rules are enough: to learn its name, which nobody is shown, `system` would list all zones that there are.
    #[cfg(unix)]
    if std::env::var_os("TZ").is_none()
        && let Ok(rules) = std::fs::read("/etc/localtime")
        && let Ok(zone) = TimeZone::tzif("local", &rules)
    {
        return zone;
    }
    TimeZone::system()
}

/// The kinds that plans may use.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Kind>,
}

/// A kind, its Rust type left behind.
pub struct Kind {
    /// The name that plans `use`.
    pub name: &'static str,
    /// What holds for every step of it.
    pub traits: Traits,
    /// Schema of `with`.
    pub input: Schema,
    /// Schema of what it leaves.
    pub output: Schema,
    prepare: fn(&Value) -> Result<Box<dyn Prepared>, serde_json::Error>,
}

/// A kind with its inputs, ready to run.
pub trait Prepared: Send + Sync {
    /// See [`Step::run`].
    fn run<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Value, Failure>>;
    /// See [`Step::on_interrupt`].
    fn on_interrupt(&self) -> OnInterrupt;
    /// See [`Step::default_timeout`].
    fn default_timeout(&self) -> Option<Duration>;
}

impl<S: Step> Prepared for S {
    fn run<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let output = Step::run(self, cx).await?;
            serde_json::to_value(output).map_err(|error| Failure::dirty(format!("the outputs cannot be kept: {error}")))
        })
    }

    fn on_interrupt(&self) -> OnInterrupt {
        Step::on_interrupt(self)
    }

    fn default_timeout(&self) -> Option<Duration> {
        Step::default_timeout(self)
    }
}

impl Registry {
    /// Adds a kind; a later one of the same name replaces the earlier.
    #[must_use]
    pub fn with<S: Step>(mut self) -> Self {
        let kind = Kind {
            name: S::KIND,
            traits: S::TRAITS,
            input: schemars::schema_for!(S),
            output: schemars::schema_for!(S::Output),
            prepare: |with| Ok(Box::new(S::deserialize(with)?)),
        };
        self.kinds.insert(S::KIND, kind);
        self
    }

    /// The kind called `name`.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }
}

impl Kind {
    /// The inputs typed, once every template in them is rendered.
    ///
    /// # Errors
    /// A rendered value does not fit its field.
    pub fn prepare(&self, with: &Value) -> Result<Box<dyn Prepared>, serde_json::Error> {
        (self.prepare)(with)
    }
}
