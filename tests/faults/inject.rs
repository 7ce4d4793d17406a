//! Faults at exact system calls, and the proof that each call of a run met its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::process::limit;
use crate::support::{Running, command, sample, tool, wrapped};

/// How often a call that a run made is waited for in others: how many pages a commit writes depends on what is in it.
const TRIES: usize = 6;

/// What happens at the chosen call, which itself is never done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    None,
    /// The binary is killed.
    Kill,
    /// It and its children are.
    KillAll,
    /// The call fails, once.
    Io,
    NoSpace,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
        }
    }
}

/// One call of a run: the `nth` of its name on this path, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    pub path: String,
    pub nth: usize,
}

impl Call {
    /// The same in each run, whatever other calls that makes; the calls of a name on a path are numbered one after the other.
    fn number(&self) -> usize {
        let of_first = blake3::hash(format!("{} {}", self.name, self.path).as_bytes());
        usize::from(of_first.as_bytes()[0]) + self.nth
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.path, self.nth)
    }
}

/// What the injector reported of one run of the binary.
#[derive(Debug)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// Which of them was chosen, if the run came to it.
    pub hit: Option<usize>,
    /// `exit CODE` or `signal NUMBER`.
    pub end: String,
}

impl Trace {
    fn read(report: &Path) -> Option<Self> {
        let text = fs::read_to_string(report).ok()?;
        let (lines, end) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        if !text.ends_with('\n') || !(end.starts_with("exit ") || end.starts_with("signal ")) {
            return None;
        }
        let mut trace = Self { calls: Vec::new(), hit: None, end: end.to_owned() };
        let mut counts = BTreeMap::<&str, usize>::new();
        for (at, line) in lines.lines().enumerate() {
            let call = line.strip_prefix("HIT ").unwrap_or(line);
            if call != line {
                trace.hit = Some(at);
            }
            let nth = counts.entry(call).and_modify(|count| *count += 1).or_insert(1);
            let (name, path) = call.split_once(' ').unwrap();
            trace.calls.push(Call { name: name.to_owned(), path: path.to_owned(), nth: *nth });
        }
        Some(trace)
    }

    /// The exit code; -1 for a signal, as in [`crate::support::Said`].
    pub fn code(&self) -> i32 {
        self.end.strip_prefix("exit ").map_or(-1, |code| code.parse().unwrap())
    }

    /// The calls that nothing had disturbed yet.
    fn undisturbed(&self) -> &[Call] {
        &self.calls[..self.hit.unwrap_or(self.calls.len())]
    }

    /// What came after the fault.
    pub fn after(&self) -> &[Call] {
        self.hit.map_or(&[], |hit| &self.calls[hit + 1..])
    }
}

/// Whether a fault there can mean anything: threads of the binary wake one another through these, which is no input or output.
fn counts(call: &Call) -> bool {
    call.path != "anon_inode:[eventfd]"
}

/// Whether how often a run makes this call is a matter of time: a step says how far it is only a few times a second, and what happened
/// meanwhile is written at once.
fn depends_on_time(call: &Call) -> bool {
    call.name == "write" && ["out", "err", ".almaplan/runs/RUN/updates.jsonl"].contains(&call.path.as_str())
}

/// Makes `attempt` at every call of a run, or at a sample of one in so many: at those of `reference`, and at those that further runs
/// turn out to make. `attempt` runs the binary with a fault at that call, judges what came of it, and returns the trace. Panics where a
/// call could never be hit.
pub fn at_every_call(what: &str, one_in: usize, reference: &Trace, mut attempt: impl FnMut(&Call) -> Trace) {
    let (began, mut runs) = (Instant::now(), 0);
    let chosen = |call: &Call| counts(call) && sample::has(one_in, call.number());
    let mut left: BTreeSet<Call> = reference.calls.iter().filter(|call| chosen(call)).cloned().collect();
    let (mut hit, mut missed, mut failed) = (BTreeSet::new(), Vec::new(), Vec::new());
    while let Some(call) = left.pop_first() {
        let came_to_it = (0..TRIES).any(|_| {
            runs += 1;
            // One call that goes wrong does not hide the others.
            let Ok(trace) = catch_unwind(AssertUnwindSafe(|| attempt(&call))) else {
                failed.push(call.to_string());
                return true;
            };
            left.extend(trace.undisturbed().iter().filter(|seen| chosen(seen) && **seen != call && !hit.contains(*seen)).cloned());
            trace.hit.is_some_and(|at| trace.calls[at] == call)
        });
        if came_to_it {
            hit.insert(call);
        } else if !depends_on_time(&call) {
            missed.push(call.to_string());
        }
    }
    eprintln!("{what}: {} of {} calls in {runs} runs, {:.1} s", hit.len(), hit.len() + missed.len(), began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{what}: these went wrong, see above: {failed:#?}");
    assert!(missed.is_empty(), "{what}: never came to these again: {missed:#?}");
    assert!(hit.len() > sample::share(one_in, 20), "{what}: only {} calls: is anything looked at?", hit.len());
}

/// A run of the binary under the injector.
pub struct Injected {
    injector: Running,
    report: PathBuf,
}

impl Injected {
    /// Starts `program`, whose arguments, folder and environment are those of `like`; paths are reported below `root`.
    pub fn start(like: &Command, root: &Path, fault: Fault, at: Option<&Call>) -> Self {
        let report = root.join("report");
        let _ = fs::remove_file(&report);
        let mut command = Command::new(injector());
        command.arg(&report).arg(root).arg(fault.name());
        match at {
            Some(call) => command.args([&call.name, &call.path, &call.nth.to_string()]),
            None => command.args(["-", "-", "0"]),
        };
        let file = |name| fs::File::create(root.join(name)).unwrap();
        let injector = Running::spawn(wrapped(command, like).stdout(file("out")).stderr(file("err")));
        Self { injector, report }
    }

    /// Waits for the end of the binary, not of what it started.
    pub fn trace(&mut self) -> Trace {
        let deadline = Instant::now() + limit();
        loop {
            // Looked at before the report: what ended has written all of it.
            let ended = self.injector.is_over();
            if let Some(trace) = Trace::read(&self.report) {
                return trace;
            }
            assert!(!ended, "the injector failed: {:?}", fs::read_to_string(self.report.with_file_name("err")));
            assert!(Instant::now() < deadline, "the binary does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether nothing that the binary started is left.
    pub fn is_over(&mut self) -> bool {
        self.injector.is_over()
    }
}

/// The injector, compiled once.
fn injector() -> &'static Path {
    static INJECTOR: OnceLock<PathBuf> = OnceLock::new();
    INJECTOR.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/inject.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("inject-{}", std::process::id()));
        tool(command("cc").args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(&source));
        // Under a name of its own until it is whole; old ones are replaced, not piled up.
        let compiled = program.with_file_name("inject");
        fs::rename(&program, &compiled).unwrap();
        compiled
    })
}
