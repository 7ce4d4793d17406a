//! Processes of tests. Each is waited for only so long, and none outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use super::inherited::command;
use super::sample;

/// Far longer than anything takes that ends by itself, on the busiest machine: whoever is still waited for then hangs.
pub fn limit() -> Duration {
    Duration::from_secs(if sample::is_whole() { 3600 } else { 900 })
}

/// The code of a process that did not end by itself: none that almaplan uses. A signal has no code.
pub const CRASHED: i32 = -1;

/// What a finished `almaplan` said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Panics with all that was said unless it ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON lines.
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The states that `step` went through, in order.
    pub fn states(&self, step: &str) -> Vec<String> {
        let of_step = |event: &Value| event["event"] == "step" && event["step"] == step;
        self.events().iter().filter(|event| of_step(event)).map(|event| event["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The id of the run.
    pub fn run(&self) -> String {
        let run = self.events().iter().find(|event| event["event"] == "run").expect("a line with the run")["run"].clone();
        run.as_str().unwrap().to_owned()
    }

    pub fn outcome(&self) -> String {
        let events = self.events();
        let outcome = events.iter().find(|event| event["event"] == "outcome").expect("a line with the outcome");
        outcome["outcome"].as_str().unwrap().to_owned()
    }

    /// Everything it said, for looking for words.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> Said {
    Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).said()
}

/// Runs a tool of the system, which must succeed; what it printed.
pub fn tool(command: &mut Command) -> String {
    run(command).expect(0).stdout
}

/// Copies a program that will be run. Not by this process: while it writes, another thread may start a program, which has the open
/// file too until it is on its way, and what is open for writing cannot be run (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    if cfg!(unix) {
        tool(command("cp").args([from, to]));
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

/// Runs what `like` would to its end, what it prints written to `output`: the exit code, negative for a signal, and the most memory that it took, in bytes.
///
/// Below a small process: the system counts what a process took from its fork on, so that to one that we fork all would be added that
/// the tests beside it take.
#[cfg(unix)]
pub fn peak_of(like: &Command, output: &std::fs::File) -> (i32, u64) {
    const MEASURE: &str = "import resource, subprocess, sys\ncode = subprocess.run(sys.argv[2:]).returncode\n\
                           open(sys.argv[1], 'w').write(f'{code} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}')";
    let report = tempfile::NamedTempFile::new().unwrap();
    let program = like.get_program().to_owned();
    let args: Vec<_> = like.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut measured = Command::new("python3");
    measured.args(["-c", MEASURE]).arg(report.path()).arg(program).args(args).stdin(Stdio::null());
    if let Some(folder) = like.get_current_dir() {
        measured.current_dir(folder);
    }
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    Running::spawn(measured.stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap())).code();
    let told = std::fs::read_to_string(report.path()).unwrap();
    let (code, kib) = told.split_once(' ').unwrap();
    (code.parse().unwrap(), kib.parse::<u64>().unwrap() << 10)
}

/// Starts `command` with its output in pipes.
pub fn start(command: &mut Command) -> Running {
    // A console of its own: there it can be interrupted alone.
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(command, 0x0800_0000);
    Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// `wrapper`, which is to run `command`: its program and arguments come last, its folder and environment are the same.
pub fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        wrapper.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
    wrapper
}

/// A process that is killed with its test.
pub struct Running {
    child: Child,
    what: String,
    /// What it says, once somebody listens while it runs.
    heard: Option<Heard>,
}

impl Running {
    /// Starts `command`, whose output goes where it was told to.
    pub fn spawn(command: &mut Command) -> Self {
        let what = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<_>>());
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{what}: {error}")), what, heard: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its standard input and waits for its end; the exit code. What it says is not read.
    pub fn code(&mut self) -> i32 {
        drop(self.child.stdin.take());
        self.code_until(Instant::now() + limit()).unwrap_or_else(|| panic!("{} does not end", self.what))
    }

    fn code_until(&mut self, deadline: Instant) -> Option<i32> {
        // Whoever has closed its pipes ends at once, as a rule.
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().filter(|code| !is_crash(*code)).unwrap_or(CRASHED));
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Closes its standard input, and waits for its end and for that of its output.
    pub fn said(mut self) -> Said {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + limit();
        let pipes = (self.listen(), self.child.stderr.take().map(Heard::of));
        let [stdout, stderr] = [pipes.0, pipes.1].map(|pipe| pipe.map_or_else(Default::default, |pipe| pipe.until(deadline)));
        let code = self.code_until(deadline);
        let said = Said { code: code.unwrap_or(CRASHED), stdout: stdout.text, stderr: stderr.text };
        assert!(code.is_some(), "{} does not end; so far it said {}", self.what, said.all());
        assert!(stdout.over && stderr.over, "{} has ended, and somebody keeps its output open: {}", self.what, said.all());
        said
    }

    /// Waits until it has said `text` on its standard output.
    pub fn wait_until_said(&mut self, text: &str) {
        let heard = self.listen().expect("its output is in a pipe");
        wait_until(&format!("{} says {text}", self.what), || heard.so_far().contains(text));
        self.heard = Some(heard);
    }

    fn listen(&mut self) -> Option<Heard> {
        self.heard.take().or_else(|| self.child.stdout.take().map(Heard::of))
    }

    /// The lines of its standard output as they come, until it is closed.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        let (line, lines) = mpsc::channel();
        let stdout: ChildStdout = self.child.stdout.take().unwrap();
        thread::spawn(move || BufReader::new(stdout).lines().map(Result::unwrap).try_for_each(|text| line.send(text)));
        let what = self.what.clone();
        std::iter::from_fn(move || match lines.recv_timeout(limit()) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{what} says nothing more, and does not end"),
        })
    }

    /// Nobody reads any more what it says.
    pub fn stop_reading(&mut self) {
        drop((self.child.stdout.take(), self.child.stderr.take()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Windows gives a process that is aborted a code of the system's own.
fn is_crash(code: i32) -> bool {
    cfg!(windows) && code < 0
}

/// What somebody says into a pipe.
struct Heard {
    so_far: Arc<Mutex<Vec<u8>>>,
    over: Receiver<()>,
}

#[derive(Default)]
struct Text {
    text: String,
    over: bool,
}

impl Heard {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let so_far = Arc::new(Mutex::new(Vec::new()));
        let (end, over) = mpsc::channel();
        let heard = Arc::clone(&so_far);
        thread::spawn(move || {
            let mut piece = [0; 8 << 10];
            loop {
                match pipe.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => heard.lock().unwrap().extend_from_slice(&piece[..length]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => panic!("a pipe: {error}"),
                }
            }
            drop(end);
        });
        Self { so_far, over }
    }

    fn until(self, deadline: Instant) -> Text {
        let left = deadline.saturating_duration_since(Instant::now());
        let over = self.over.recv_timeout(left) == Err(RecvTimeoutError::Disconnected);
        let bytes = self.so_far.lock().unwrap().clone();
        Text { text: String::from_utf8(bytes).unwrap(), over }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.so_far.lock().unwrap()).into_owned()
    }
}

/// Waits until `done`.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit();
    while !done() {
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", limit().as_secs());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Presses Ctrl+C in the terminal of `process`, which [`start`] started.
#[cfg(unix)]
pub fn interrupt(process: &Running) {
    signal(process.id(), "-INT");
}

/// The same: somebody must be sent to its console, and waits there until it ends.
#[cfg(windows)]
pub fn interrupt(process: &Running) {
    use almaplan_steps::process::{Gentle, Tree, identify, set_helper_program, stop};
    set_helper_program(env!("CARGO_BIN_EXE_almaplan").into());
    let mut tree = Tree::of(&identify(process.id()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopped = runtime.block_on(stop(&mut tree, Gentle::Int, Duration::from_secs(60))).unwrap();
    assert!(!stopped.forced, "Ctrl+C was not heard");
}

pub fn signal(pid: u32, name: &str) {
    tool(command("kill").args([name, &pid.to_string()]));
}

/// Whether a process is there and not a zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Processes whose command line contains `text`, but for this one.
pub fn processes_of(text: &str) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    entries
        .filter(|&pid| pid != std::process::id())
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(text) && alive(pid)).then_some((pid, line))
        })
        .collect()
}
