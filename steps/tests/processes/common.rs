//! What all these tests need: a context that remembers, and conditions to wait for.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use almaplan_engine::event::{Part, RunId, StepId};
use almaplan_engine::step::{Attempt, Context, Keep, ProcessIdentity, Request, RunInfo};
use almaplan_engine::update::{Update, Updates};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What a kind said, kept and spawned.
#[derive(Clone, Default)]
pub struct Seen {
    updates: Arc<Mutex<Vec<Update>>>,
    pub kept: Arc<Mutex<Vec<Keep>>>,
}

impl Seen {
    pub fn lines(&self) -> Vec<String> {
        self.updates
            .lock()
            .unwrap()
            .iter()
            .filter_map(|update| if let Update::Log { line, .. } = update { Some(line.clone()) } else { None })
            .collect()
    }

    pub fn notes(&self) -> Vec<String> {
        let note = |update: &Update| if let Update::Note { message, .. } = update { Some(message.clone()) } else { None };
        self.updates.lock().unwrap().iter().filter_map(note).collect()
    }

    pub fn spawned(&self) -> Vec<ProcessIdentity> {
        self.kept
            .lock()
            .unwrap()
            .iter()
            .filter_map(|keep| if let Keep::Process(process) = keep { Some(process.clone()) } else { None })
            .collect()
    }

    pub fn recorded(&self) -> Map<String, Value> {
        let outputs = |keep: &Keep| if let Keep::Outputs(outputs) = keep { outputs.clone() } else { Vec::new() };
        self.kept.lock().unwrap().iter().flat_map(outputs).collect()
    }

    fn updates(&self) -> Updates {
        let updates = self.updates.clone();
        Arc::new(move |update| updates.lock().unwrap().push(update))
    }
}

/// A context as the executor makes them, the token that stops it, and what is seen of it.
pub fn context(folder: &Path) -> (Context, CancellationToken, Seen) {
    context_after(folder, Map::new(), Vec::new())
}

/// The same, as a further attempt sees it.
pub fn context_after(folder: &Path, recorded: Map<String, Value>, processes: Vec<ProcessIdentity>) -> (Context, CancellationToken, Seen) {
    context_that_met(folder, recorded, processes, Vec::new())
}

/// The same in a run whose other steps dealt with the processes `met`.
pub fn context_that_met(
    folder: &Path,
    recorded: Map<String, Value>,
    processes: Vec<ProcessIdentity>,
    met: Vec<ProcessIdentity>,
) -> (Context, CancellationToken, Seen) {
    let seen = Seen::default();
    let (requests, mut inbox) = mpsc::unbounded_channel::<Request>();
    let kept = seen.kept.clone();
    tokio::spawn(async move {
        while let Some(request) = inbox.recv().await {
            kept.lock().unwrap().push(request.keep);
            let _ = request.done.send(());
        }
    });
    let run = RunInfo {
        id: RunId::new("test"),
        plan: "test".to_owned(),
        plan_dir: folder.to_owned(),
        folder: folder.to_owned(),
        started_at: jiff::Timestamp::now(),
        timestamp: String::new(),
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
        met: Arc::new(Mutex::new(met)),
        mask: Default::default(),
    };
    let stop = CancellationToken::new();
    let (_, answer) = watch::channel(None);
    (Context::new(attempt, stop.clone(), answer, requests, seen.updates()), stop, seen)
}

/// A kind with these inputs.
pub fn kind<S: almaplan_engine::step::Step>(with: Value) -> S {
    serde_json::from_value(with).unwrap()
}

/// `examples/actor.rs`, built: what these tests start.
pub fn actor() -> &'static Path {
    static ACTOR: OnceLock<PathBuf> = OnceLock::new();
    ACTOR.get_or_init(|| {
        let actor = crate::example::example("actor");
        almaplan_steps::process::send_errands_to(actor.clone());
        actor
    })
}

/// What it does, as inputs of `command`.
pub fn acting(words: &[&str]) -> Value {
    json!({ "program": actor(), "args": words })
}

/// What it does, as a program of its own that hears nothing of us.
pub fn acts(words: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(actor());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A console of its own, as Ctrl+C goes to everybody on one.
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, 0x0800_0000);
    command
}

/// Kills `pid` alone.
pub fn kill(pid: u32) {
    let pid = pid.to_string();
    let (program, args) = if cfg!(windows) { ("taskkill", ["/F", "/PID", &pid]) } else { ("sh", ["-c", "kill -KILL $0", &pid]) };
    assert!(std::process::Command::new(program).args(args).stdout(Stdio::null()).status().unwrap().success());
}

/// `sh -c LINE`, as inputs of `command`.
#[cfg(unix)]
pub fn sh(line: &str) -> Value {
    json!({ "program": "sh", "args": ["-c", line] })
}

/// Waits until `condition` holds; fails the test after 20 s.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `file` holds a whole line with a pid, and returns it.
pub async fn pid_in(file: &Path) -> u32 {
    let read = || std::fs::read_to_string(file).ok()?.strip_suffix('\n')?.trim().parse().ok();
    until(&format!("a pid in {}", file.display()), || read().is_some()).await;
    read().unwrap()
}

/// Whether `pid` runs: a zombie does not.
pub fn runs(pid: u32) -> bool {
    almaplan_steps::process::identify(pid).is_some()
}
