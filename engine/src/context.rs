//! The world as one attempt of a kind sees it: the run it is part of, what earlier attempts left, and how it is heard.
//!
//! What a kind wants people to see goes out as [`Update`]s, what must survive a crash goes through [`Context::record`] and
//! [`Context::spawned`], which return only once it is durable.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Answer, Direction, Downtime, Failure, Outcome, Part, ProcessIdentity, Release, RunId, Standing, StepId};
use crate::redact::Mask;
use crate::update::{Level, Stream, Unit, Update, Updates};
use crate::words::verbatim;

/// What a kind may know of the run it is part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// The work ends early, as somebody asked.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("stopped as asked")]
pub struct Stopped;

/// Why something is not durable.
#[derive(Debug, Serialize, thiserror::Error)]
enum RecordError {
    #[error("could not record `{name}`: {source}")]
    NoJson {
        name: String,
        #[serde(serialize_with = "verbatim")]
        source: serde_json::Error,
    },
    #[error("the journal could not be written, so nothing more is done")]
    Unwritten,
}

/// Where the run stands, for kinds that tell people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Whether the measured service answers; `None` where none is measured.
    pub answers: Option<bool>,
    /// What the run came to.
    pub standing: Standing,
    /// Which version is in place, as far as that is certain.
    pub release: Option<Release>,
}

/// The world as one attempt of a kind sees it.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

/// What an attempt is told, as data: whoever drives it may be another process, on another host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step of the plan this belongs to.
    pub step: StepId,
    /// Which of the step's work this is: its action, its probe, or its n-th compensation.
    pub part: Part,
    /// Counts from 1.
    pub number: u32,
    /// How long it may take from now on; `None` is without limit.
    pub timeout: Option<Duration>,
    /// What this part recorded in this and earlier attempts.
    pub recorded: Map<String, Value>,
    /// The processes that earlier attempts of this part spawned, oldest first.
    pub processes: Vec<ProcessIdentity>,
    /// The run.
    pub run: Arc<RunInfo>,
    /// Where the run stands.
    pub summary: Arc<Summary>,
    /// Paths that other runs would need to be undone.
    pub retained: Arc<[PathBuf]>,
}

/// What ties an attempt to the process that it runs in.
pub struct Handles {
    /// Ends the work early.
    pub stop: CancellationToken,
    /// A person's answer.
    pub answer: watch::Receiver<Option<Answer>>,
    /// Who makes things durable.
    pub requests: mpsc::UnboundedSender<Request>,
    /// Who shows it.
    pub updates: Updates,
    /// Paths that this run, and a rollback of the newest success, still need.
    pub needed: Arc<Mutex<Vec<PathBuf>>>,
    /// What the steps of this run that succeeded so far left.
    pub outputs: Arc<Mutex<Vec<Value>>>,
    /// The processes that any step of this run started, or recorded as its `process`, oldest first.
    pub known_processes: Arc<Mutex<Vec<ProcessIdentity>>>,
    /// What must never be shown or kept.
    pub mask: Mask,
}

impl Handles {
    /// Handles of an attempt that nobody stops or answers.
    pub fn new(requests: mpsc::UnboundedSender<Request>, updates: Updates) -> Self {
        Self {
            stop: CancellationToken::new(),
            answer: watch::channel(None).1,
            requests,
            updates,
            needed: Arc::default(),
            outputs: Arc::default(),
            known_processes: Arc::default(),
            mask: Mask::default(),
        }
    }
}

struct Inner {
    attempt: Attempt,
    deadline: Option<Instant>,
    recorded: Mutex<Map<String, Value>>,
    handles: Handles,
}

/// What a running kind asks its driver to make durable.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Outputs, before the effect: all of them or none.
    Outputs(Vec<(String, Value)>),
    /// A process that waits in its gate.
    Process(ProcessIdentity),
}

impl RunInfo {
    /// The folder for what must be in no journal, no log and no report, such as the environment of a process that was stopped. It is
    /// removed once the run is undone (rule 22).
    pub fn private_folder(&self) -> PathBuf {
        private_folder(&self.folder)
    }
}

/// [`RunInfo::private_folder`] of the run that has `folder`.
pub(crate) fn private_folder(folder: &Path) -> PathBuf {
    folder.join("private")
}

impl Context {
    /// A context for `attempt`, whose timeout counts from now; the executor makes these, and so does a test of a kind (see
    /// [`Context::standalone`]).
    pub fn new(attempt: Attempt, handles: Handles) -> Self {
        let recorded = Mutex::new(attempt.recorded.clone());
        let deadline = attempt.timeout.map(|timeout| Instant::now() + timeout);
        Self { inner: Arc::new(Inner { attempt, deadline, recorded, handles }) }
    }

    /// A context without a run: records are kept in memory, updates go to `updates`, `run.timestamp` is in UTC. For tests of kinds and for
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
            timestamp: timestamp(started_at, &TimeZone::UTC),
            lang: "en".to_owned(),
        };
        let attempt = Attempt {
            step: StepId::new("step"),
            part: Part::Action,
            number: 1,
            timeout: None,
            recorded,
            processes,
            run: Arc::new(run),
            summary: Arc::default(),
            retained: Arc::default(),
        };
        Self::new(attempt, Handles::new(requests, updates))
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
    pub fn direction(&self) -> Direction {
        self.inner.attempt.part.direction()
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
        self.inner.handles.needed.lock().expect("no code panics while it holds this lock").clone()
    }

    /// Paths that other runs would need to be undone: a rollback of the newest success, and runs that are not settled.
    pub fn retained(&self) -> &[PathBuf] {
        &self.inner.attempt.retained
    }

    /// What the steps of this run that succeeded so far left, in the order in which they did.
    pub fn outputs(&self) -> Vec<Value> {
        self.inner.handles.outputs.lock().expect("no code panics while it holds this lock").clone()
    }

    /// `path` made absolute: relative ones start at the plan file's folder.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        // `components` also drops `.` and doubled separators, so that the same folder is always the same text.
        self.run().plan_dir.join(path).components().collect()
    }

    /// Ends when the work is asked to stop: by the operator, by a failure elsewhere, or by its timeout.
    pub async fn cancelled(&self) {
        self.inner.handles.stop.cancelled().await;
    }

    /// Whether the work was asked to stop. For loops in blocking code.
    pub fn is_cancelled(&self) -> bool {
        self.inner.handles.stop.is_cancelled()
    }

    /// What is left of this attempt's timeout; `None` is without limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.inner.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Keeps an output durably *before* the effect that would destroy it, and returns the value that stands: the first
    /// record of a name is the one that stands, through crashes and further attempts (rule 16).
    ///
    /// # Errors
    /// The journal cannot be written: the caller must not go on to the effect.
    pub async fn record(&self, name: &str, value: impl Serialize) -> Result<Value, Failure> {
        let value = serde_json::to_value(value).map_err(|source| Failure::clean(RecordError::NoJson { name: name.to_owned(), source }))?;
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

    /// All that this and earlier attempts recorded.
    pub fn all_recorded(&self) -> Map<String, Value> {
        self.lock_recorded().clone()
    }

    /// Keeps the identity of a process that waits in its gate; only after this returns may it be let go (rule 18).
    /// The newest one is also the step's output `pid` until the step has outputs of its own.
    ///
    /// # Errors
    /// The journal cannot be written: the caller must let the process end in its gate.
    pub async fn spawned(&self, process: ProcessIdentity) -> Result<(), Failure> {
        self.keep(Keep::Process(process)).await
    }

    /// The processes that earlier attempts spawned, oldest first. Kinds whose [`adopts`](crate::kind::Traits::adopts) is false find them ended.
    pub fn processes(&self) -> &[ProcessIdentity] {
        &self.inner.attempt.processes
    }

    /// The process that `pid` meant when a step of this run last dealt with it: a step hands on the bare number, and that may
    /// be anybody's by now. `None` where no step did.
    pub fn known_process(&self, pid: u32) -> Option<ProcessIdentity> {
        let known_processes = self.inner.handles.known_processes.lock().expect("no code panics while it holds this lock");
        known_processes.iter().rfind(|process| process.pid == pid).cloned()
    }

    /// `text` without secrets: for what a kind writes itself for people to keep. Whatever goes through this context is masked anyway.
    pub fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.inner.handles.mask.text(text)
    }

    /// Masks `secrets` in everything that this run shows or keeps from now on: for secrets that a kind reads itself.
    pub fn mask<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        self.inner.handles.mask.add(secrets);
    }

    /// Waits for a person's answer to this step (`almaplan resolve`).
    pub async fn answer(&self) -> Answer {
        let mut answer = self.inner.handles.answer.clone();
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
    pub fn info(&self, said: impl Display + Serialize) {
        self.show(Update::note(self.step().clone(), Level::Info, said));
    }

    /// Tells people something that they should look at, although the step goes on.
    pub fn warn(&self, said: impl Display + Serialize) {
        self.show(Update::note(self.step().clone(), Level::Warning, said));
    }

    /// Raises the alarm where the operator looks: a banner on the console.
    pub fn alert(&self, said: impl Display + Serialize) {
        self.show(Update::note(self.step().clone(), Level::Alert, said));
    }

    fn show(&self, update: Update) {
        (self.inner.handles.updates)(update);
    }

    async fn keep(&self, keep: Keep) -> Result<(), Failure> {
        let lost = || Failure::dirty(RecordError::Unwritten);
        let (done, durable) = oneshot::channel();
        let attempt = &self.inner.attempt;
        let request = Request { step: attempt.step.clone(), part: attempt.part, keep, done };
        self.inner.handles.requests.send(request).map_err(|_| lost())?;
        durable.await.map_err(|_| lost())
    }

    fn lock_recorded(&self) -> std::sync::MutexGuard<'_, Map<String, Value>> {
        self.inner.recorded.lock().expect("no code panics while it holds this lock")
    }
}

/// `run.timestamp` of a run started at `at`: local time, fit for file names.
pub fn timestamp(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%Y%m%d_%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    // A driver on another host sends them there and back.
    #[tokio::test]
    async fn an_attempt_and_what_it_asks_to_keep_are_data() {
        let process = ProcessIdentity { pid: 7, started: 42, program: "python".to_owned(), boot: "b1".to_owned() };
        let cx = Context::standalone_after(
            Path::new("/plans"),
            Arc::new(|_| {}),
            json!({ "before": [1] }).as_object().unwrap().clone(),
            vec![process.clone()],
        );
        let attempt = Attempt { timeout: Some(Duration::from_millis(1_500)), ..cx.inner.attempt.clone() };
        let sent = serde_json::to_string(&attempt).unwrap();
        assert_eq!(serde_json::from_str::<Attempt>(&sent).unwrap(), attempt);
        for keep in [Keep::Outputs(vec![("before".to_owned(), json!({ "pid": 7 }))]), Keep::Process(process)] {
            let sent = serde_json::to_string(&keep).unwrap();
            assert_eq!(serde_json::from_str::<Keep>(&sent).unwrap(), keep);
        }
    }
}
