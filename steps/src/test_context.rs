//! A context for tests that are about the run around a kind: its summary, its language, a person's answer.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use almaplan_engine::context::{Attempt, Context, Handles, Keep, RunInfo, Summary};
use almaplan_engine::event::{Answer, Part, ProcessIdentity, RunId, StepId};
use almaplan_engine::update::{Level, Update};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A program that goes on for ten minutes.
pub(crate) fn sleeper() -> std::process::Command {
    let (program, args) = if cfg!(windows) { ("ping", &["-n", "600", "127.0.0.1"][..]) } else { ("sleep", &["600"][..]) };
    let mut command = std::process::Command::new(program);
    command.args(args).stdout(std::process::Stdio::null());
    command
}

/// A run that was started at 2026-02-06 14:15:02 UTC.
pub(crate) struct TestRun {
    pub(crate) lang: &'static str,
    pub(crate) summary: Summary,
    pub(crate) recorded: Map<String, Value>,
    pub(crate) answer: watch::Sender<Option<Answer>>,
    pub(crate) stop: CancellationToken,
    pub(crate) notes: Arc<Mutex<Vec<(Level, String)>>>,
    pub(crate) kept: Arc<Mutex<Vec<String>>>,
    pub(crate) spawned: Arc<Mutex<Vec<ProcessIdentity>>>,
    /// Nothing can be made durable.
    pub(crate) deaf: bool,
}

impl Default for TestRun {
    fn default() -> Self {
        let (answer, _) = watch::channel(None);
        let stop = CancellationToken::new();
        let (summary, recorded, notes, kept, spawned) = Default::default();
        Self { lang: "en", summary, recorded, answer, stop, notes, kept, spawned, deaf: false }
    }
}

impl TestRun {
    /// The context of an attempt; the plan is in `folder`, the state in `folder/state`.
    pub(crate) fn context(&self, folder: &Path) -> Context {
        let (requests, mut inbox) = mpsc::unbounded_channel::<almaplan_engine::context::Request>();
        let (kept, notes, spawned, deaf) = (self.kept.clone(), self.notes.clone(), self.spawned.clone(), self.deaf);
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                match request.keep {
                    Keep::Process(process) => spawned.lock().unwrap().push(process),
                    Keep::Outputs(_) if deaf => {}
                    Keep::Outputs(outputs) => {
                        kept.lock().unwrap().extend(outputs.iter().map(|(name, value)| format!("{name}={value}")));
                    }
                }
                if deaf {
                    continue;
                }
                let _ = request.done.send(());
            }
        });
        let run = RunInfo {
            id: RunId::new("20260206-141502-k3f9"),
            plan: "almareia-producao".to_owned(),
            plan_dir: folder.to_owned(),
            folder: folder.join("state"),
            started_at: "2026-02-06T14:15:02Z".parse().unwrap(),
            timestamp: "20260206_141502".to_owned(),
            lang: self.lang.to_owned(),
        };
        let attempt = Attempt {
            step: StepId::new("record"),
            part: Part::Finally,
            number: 1,
            timeout: None,
            recorded: self.recorded.clone(),
            processes: Vec::new(),
            run: Arc::new(run),
            summary: Arc::new(self.summary.clone()),
            retained: Arc::default(),
        };
        let updates = move |update| {
            if let Update::Note { level, message, .. } = update {
                notes.lock().unwrap().push((level, message));
            }
        };
        let handles = Handles { stop: self.stop.clone(), answer: self.answer.subscribe(), ..Handles::new(requests, Arc::new(updates)) };
        Context::new(attempt, handles)
    }
}
