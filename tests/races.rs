//! Two at a time: of processes that want the same thing at the same moment exactly one gets it, and who only looks on disturbs nobody.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

use almaplan_engine::event::RunId;
use serde_json::Value;

use crate::support::process::limit;
use crate::support::sample;
use crate::support::workspace::Workspace;
use crate::support::{CRASHED, Running, Said, run, start, wait_until};

/// Races of each sort: four sorts are 2,000 races of two `apply`, and 200 of two `resume`.
const APPLIES: usize = 500;
const RESUMES: usize = 200;

/// One in so many of them is run by default: under Wine each takes seconds.
const ONE_IN: usize = if cfg!(windows) { 50 } else { 20 };

/// A run's state does not grow for ever: this often another one is begun from nothing, which is a race too.
const ROUNDS: usize = 25;

/// A target with a plan whose only step leaves a mark in it, and then waits for a word.
struct Track {
    workspace: Workspace,
}

/// What the target is called, too: by a link, and on Windows, where Wine makes none, by other letters.
const OTHER_NAME: &str = if cfg!(windows) { "TARGET" } else { "link" };

/// What both said.
struct Raced {
    refused: Said,
    ran: Said,
    /// The process that ran.
    pid: u32,
}

impl Track {
    fn new() -> Self {
        let workspace = Workspace::new();
        for folder in ["target", "checkout"] {
            fs::create_dir(workspace.path(folder)).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(workspace.path("target"), workspace.path(OTHER_NAME)).unwrap();
        let plan = r#"
            format = 1
            [plan]
            name = "race"
            lock = "{{ vars.target }}"
            [vars]
            target = "target"
            [steps.mark]
            uses = "command"
            compensate = "none"
            with = { program = "test_program", args = ["append", "marks", "", "until", "word", "marks"], cwd = "{{ vars.target }}", idempotent = true }
            "#;
        for file in ["plan.toml", "checkout/plan.toml"] {
            workspace.write(file, plan);
        }
        Self { workspace }
    }

    /// `almaplan ARGS` in `folder`, on the target as it is called there.
    fn almaplan(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = self.workspace.almaplan(args);
        command.args(["--progress", "json"]).current_dir(self.workspace.path(folder)).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn apply(&self, folder: &str, target: &str) -> Command {
        let target = format!("target={}", self.workspace.path(target).display());
        self.almaplan(folder, &["apply", "plan.toml", "--var", &target])
    }

    /// A run that died right before its step was at work.
    fn interrupted(&self) {
        let died = run(self.apply("", "target").env("ALMAPLAN_CRASH_AFTER_APPEND", "2"));
        assert_eq!((died.code, self.marks()), (CRASHED, 0), "{}", died.all());
    }

    fn marks(&self) -> usize {
        self.workspace.lines("target/marks")
    }

    /// Runs both at once until one of them is refused, then gives the word to the other.
    fn race(&self, mut commands: [Command; 2]) -> Raced {
        let (ended, endings) = mpsc::channel();
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for command in &mut commands {
                let (ended, start) = (ended.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    let child = Running::spawn(command);
                    ended.send((child.id(), child.said())).unwrap();
                });
            }
            let refused = endings.recv_timeout(limit());
            let marks = self.marks();
            // Whatever came of it: whoever waits for a word must end.
            self.workspace.write("target/word", "");
            let (_, refused) = refused.unwrap_or_else(|_| panic!("nobody was refused, and {marks} ran"));
            let (pid, ran) = endings.recv_timeout(limit()).expect("who has the word ends");
            fs::remove_file(self.workspace.path("target/word")).unwrap();
            Raced { refused, ran, pid }
        })
    }

    fn forget(&self) {
        for folder in [".almaplan", "checkout/.almaplan", "machine"] {
            let _ = fs::remove_dir_all(self.workspace.path(folder));
        }
    }
}

impl Raced {
    /// One was told who holds the lock and what to do; the other one ran, alone.
    fn exactly_one_ran(self, track: &Track) {
        let ran = self.ran.expect(0);
        let refused = self.refused.expect(6);
        assert_eq!(track.marks(), 1, "{}{}", ran.all(), refused.all());
        fs::remove_file(track.workspace.path("target/marks")).unwrap();
        let line = refused.events().remove(0);
        assert_eq!(line["code"], "held", "{line}");
        let message = line["message"].as_str().unwrap();
        let holder = [format!("run {} ", ran.run()), format!("(process {},", self.pid)];
        assert!(holder.iter().all(|words| message.contains(words)), "who holds it: {line}");
        assert!(line["hint"].as_str().unwrap().contains(&format!("almaplan status {}", ran.run())), "what to do: {line}");
    }
}

fn races(count: usize, race: impl Fn(&Track, usize)) {
    let track = Track::new();
    for round in 0..sample::share(ONE_IN, count) {
        if round % ROUNDS == 0 {
            track.forget();
        }
        race(&track, round);
    }
}

#[test]
fn of_two_applies_exactly_one_runs() {
    // More than 5 s: each race is two processes and their locks; the disk is waited for.
    races(APPLIES, |track, _| {
        let both = [track.apply("", "target"), track.apply("", "target")];
        track.race(both).exactly_one_ran(track);
    });
}

#[test]
fn of_two_applies_from_two_checkouts_exactly_one_runs() {
    // More than 5 s: each race is two processes and their locks; the disk is waited for.
    races(APPLIES, |track, _| {
        let both = [track.apply("", "target"), track.apply("checkout", "target")];
        track.race(both).exactly_one_ran(track);
    });
}

#[test]
fn of_two_applies_of_which_one_takes_another_name_exactly_one_runs() {
    // More than 5 s: each race is two processes and their locks; the disk is waited for.
    races(APPLIES, |track, _| {
        let both = [track.apply("", OTHER_NAME), track.apply("", "target")];
        track.race(both).exactly_one_ran(track);
    });
}

#[test]
fn of_two_applies_that_make_the_machines_folder_exactly_one_runs() {
    // More than 5 s: each race is two processes and their locks; the disk is waited for.
    races(APPLIES, |track, _| {
        track.forget();
        let both = [track.apply("", "target"), track.apply("checkout", OTHER_NAME)];
        track.race(both).exactly_one_ran(track);
    });
}

#[test]
fn of_two_resumes_exactly_one_runs() {
    // More than 5 s: each race is two processes and their locks; the disk is waited for.
    races(RESUMES, |track, _| {
        track.interrupted();
        let both = [track.almaplan("", &["resume"]), track.almaplan("", &["resume"])];
        track.race(both).exactly_one_ran(track);
    });
}

/// A plan of many short steps, of which the last one waits for a file.
fn many_steps(steps: usize) -> String {
    let mut plan = "format = 1\n[plan]\nname = \"plan\"\nmax_parallel = 2\n".to_owned();
    for n in 0..steps {
        let needs = if n < 2 { String::new() } else { format!("needs = [\"s{}\"]\n", n - 2) };
        plan.push_str(&format!(
            "[steps.s{n}]\nuses = \"command\"\ncompensate = \"none\"\n{needs}with = {{ program = \"test_program\", args = [\"say\", \"{n}\"] }}\n"
        ));
    }
    let wait = r#"["append", "begun", "", "until", "go", "begun"]"#;
    plan + &format!(
        "[steps.wait]\nuses = \"command\"\ncompensate = \"none\"\nneeds = [\"s{}\"]\nwith = {{ program = \"test_program\", args = {wait} }}\n",
        steps - 1
    )
}

/// Reads a run until it is over: what is told only grows, and every reading succeeds.
fn read_until_over(workspace: &Workspace, run_id: &str, reader: usize, reads: &AtomicUsize) {
    if reader < 2 {
        let logs = workspace.say(&["logs", run_id, "-f"]).expect(0);
        assert_eq!(logs.stdout.lines().count(), STEPS, "each line once: {}", logs.stdout);
        return;
    }
    let mut known = 0;
    loop {
        let over = if reader.is_multiple_of(2) {
            let status: Value = serde_json::from_str(&workspace.say(&["status", run_id, "--json"]).expect(0).stdout).unwrap();
            let done = status["steps"].as_array().unwrap().iter().filter(|step| step["state"] == "succeeded").count();
            assert!(done >= known, "{done} after {known}: {status}");
            known = done;
            status["state"] == "settled"
        } else {
            let runs: Value = serde_json::from_str(&workspace.say(&["runs", "--json"]).expect(0).stdout).unwrap();
            let state = &runs["runs"][0]["state"];
            assert!(state == "running" || runs["runs"][0]["outcome"] == "succeeded", "{runs}");
            state == "settled"
        };
        reads.fetch_add(1, Ordering::Relaxed);
        if over {
            return;
        }
    }
}

/// Lets the run of [`many_steps`] end at the latest when it goes out of scope.
struct Go<'a>(&'a Workspace);

impl Drop for Go<'_> {
    fn drop(&mut self) {
        self.0.write("go", "");
    }
}

const READERS: usize = 10;
const STEPS: usize = 40;

#[test]
fn ten_readers_never_disturb_a_run() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", &many_steps(STEPS));
    let mut child = start(&mut workspace.almaplan(&["apply", "plan.toml", "--progress", "json"]));
    let mut lines = child.lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let run_id = first["run"].as_str().unwrap();
    let reads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Whatever comes of it: the run must end, and so its readers.
        let _go = Go(&workspace);
        for reader in 0..READERS {
            let (workspace, reads) = (&workspace, &reads);
            scope.spawn(move || read_until_over(workspace, run_id, reader, reads));
        }
        scope.spawn(|| {
            // Its pipe must not fill.
            let events: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
            let succeeded = events.iter().filter(|event| event["event"] == "step" && event["state"] == "succeeded").count();
            assert_eq!(succeeded, STEPS + 1, "{events:?}");
        });
        // The run is not over before they have read it while it went on.
        wait_until("they have read enough", || workspace.lines("begun") == 1 && reads.load(Ordering::Relaxed) > 10 * READERS);
    });
    assert_eq!(child.code(), 0);
    let journal = almaplan_engine::sqlite::Store::open(&workspace.path(".almaplan")).unwrap().read(&RunId::new(run_id)).unwrap();
    // Opened and settled, and each step started, spawned and succeeded: nothing was tried twice.
    assert_eq!(journal.len(), 2 + 3 * (STEPS + 1));
}
