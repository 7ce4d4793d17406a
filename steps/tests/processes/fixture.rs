//! What all these tests need: a context that remembers, and conditions to wait for.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use almaplan_engine::context::{Attempt, Context, Handles, Keep, Request, RunInfo};
use almaplan_engine::event::{Part, ProcessIdentity, RunId, StepId};
use almaplan_engine::update::{Update, Updates};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
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
    context_knowing(folder, recorded, processes, Vec::new())
}

/// The same in a run whose other steps dealt with the processes `known_processes`.
pub fn context_knowing(
    folder: &Path,
    recorded: Map<String, Value>,
    processes: Vec<ProcessIdentity>,
    known_processes: Vec<ProcessIdentity>,
) -> (Context, CancellationToken, Seen) {
    context_with(folder, Part::Action, recorded, processes, known_processes)
}

/// The same for a `part` of a step.
#[cfg(unix)]
pub fn context_of(folder: &Path, part: Part, known_processes: Vec<ProcessIdentity>) -> (Context, CancellationToken, Seen) {
    context_with(folder, part, Map::new(), Vec::new(), known_processes)
}

fn context_with(
    folder: &Path,
    part: Part,
    recorded: Map<String, Value>,
    processes: Vec<ProcessIdentity>,
    known_processes: Vec<ProcessIdentity>,
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
        part,
        number: 1,
        timeout: None,
        recorded,
        processes,
        run: Arc::new(run),
        summary: Arc::default(),
        retained: Arc::default(),
    };
    let handles = Handles { known_processes: Arc::new(Mutex::new(known_processes)), ..Handles::new(requests, seen.updates()) };
    let stop = handles.stop.clone();
    (Context::new(attempt, handles), stop, seen)
}

/// A kind with these inputs.
pub fn kind<S: almaplan_engine::kind::Kind>(with: Value) -> S {
    serde_json::from_value(with).unwrap()
}

/// `tests/programs/fake_service.rs`, built: what these tests start.
pub fn fake_service() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let fake_service = crate::example::example("fake_service");
        almaplan_steps::process::set_helper_program(fake_service.clone());
        fake_service
    })
}

/// What it does, as inputs of `command`.
pub fn script_inputs(words: &[&str]) -> Value {
    json!({ "program": fake_service(), "args": words })
}

/// What it does, as a program of its own that hears nothing of us.
pub fn script_command(words: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(fake_service());
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

/// Runs this test, by its name, in a process of its own: no other test uses its memory. `false` in that one, which is to go on.
#[cfg(unix)]
pub fn in_its_own_process(test: &str) -> bool {
    const CHILD: &str = "ALMAPLAN_TEST_ITS_OWN_PROCESS";
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    let output = process.args([test, "--exact"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    true
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
