//! What outlives almaplan and what does not: the children of commands, services, and programs that are none of its business.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Running, Server, alive, command, http, namespace, run, signal, start, wait_until, wrapped};

/// A folder for plans, which need nothing but what every system has.
fn empty() -> Server {
    Server::with_environments(PathBuf::new())
}

fn read(server: &Server, file: &str) -> String {
    fs::read_to_string(server.path(file)).unwrap_or_default()
}

/// A command that starts every sort of child on its first run, then does as `$1` says; on a further run it only succeeds.
const BROOD: &str = r#"
[ -e brood ] && exit 0
sh -c 'echo $$ >> brood; exec sleep 600' &
sh -c 'sh -c "echo \$\$ >> brood; exec sleep 600"; :' &
sh -c 'trap "" TERM INT HUP; echo $$ >> brood; while :; do sleep 1; done' &
setsid sh -c 'echo $$ >> brood; exec sleep 600' &
(setsid sh -c 'echo $$ >> brood; cd /; exec sleep 600 < /dev/null > /dev/null 2>&1' &)
(env -i /bin/sh -c 'echo $$ >> brood; exec sleep 600' &)
while [ "$(wc -l < brood)" -lt 6 ]; do sleep 0.01; done
echo $$ >> brood
eval "$1"
"#;

/// A run of one command that has a brood.
struct Brood {
    server: Server,
    almaplan: Running,
}

impl Brood {
    /// Once it has a brood, the command does `last`.
    fn new(last: &str, timeout: &str) -> Self {
        let server = empty();
        fs::write(server.path("brood.sh"), BROOD).unwrap();
        let plan = format!(
            r#"
            format = 1
            [plan]
            name = "brood"
            [steps.brood]
            uses = "command"
            compensate = "none"
            timeout = "{timeout}"
            with = {{ program = "sh", args = ["brood.sh", '{last}'], cwd = "{{{{ plan.dir }}}}", grace = "300ms", idempotent = true }}
            "#
        );
        fs::write(server.path("brood.toml"), plan).unwrap();
        let almaplan = start(&mut server.almaplan(&["apply", "brood.toml", "--progress", "json"]));
        let brood = Self { server, almaplan };
        wait_until("the brood", || brood.pids().len() == 7);
        brood
    }

    fn pids(&self) -> Vec<u32> {
        read(&self.server, "brood").lines().map(|line| line.parse().unwrap()).collect()
    }

    fn ended(&mut self) -> i32 {
        self.almaplan.code()
    }

    fn none_is_left(&self, what: &str) {
        let left: Vec<_> = self.pids().into_iter().filter(|pid| alive(*pid)).collect();
        assert!(left.is_empty(), "{what}: {left:?} of {:?} still run", self.pids());
    }
}

impl Drop for Brood {
    fn drop(&mut self) {
        self.pids().into_iter().filter(|pid| alive(*pid)).for_each(|pid| signal(pid, "-KILL"));
    }
}

#[test]
fn nothing_of_a_command_is_left_however_it_ends() {
    for (last, timeout, code) in [("exit 0", "60s", 0), ("exit 7", "60s", 3), ("kill -KILL $$", "60s", 3), ("sleep 600", "1s", 3)] {
        let mut brood = Brood::new(last, timeout);
        assert_eq!(brood.ended(), code, "{last}");
        brood.none_is_left(last);
    }
}

#[test]
fn nothing_of_a_command_is_left_however_its_run_is_stopped() {
    for signals in [&["-INT"][..], &["-INT", "-INT"], &["-TERM"]] {
        let mut brood = Brood::new("sleep 600", "60s");
        for name in signals {
            signal(brood.almaplan.id(), name);
        }
        assert_eq!(brood.ended(), 5);
        brood.none_is_left(&format!("{signals:?}"));
    }
}

#[test]
fn nothing_of_a_command_whose_almaplan_was_killed_is_left_once_somebody_goes_on() {
    // More than 5 s: each way to end is a run, and a resume, of its own.
    for (how, code) in [(&["resume"][..], 0), (&["abort", "--yes"], 0)] {
        let mut brood = Brood::new("sleep 600", "60s");
        brood.almaplan.kill();
        assert_eq!(brood.ended(), -1);
        assert!(brood.pids().into_iter().all(alive), "nobody was there to end them");
        brood.server.say(how).expect(code);
        brood.none_is_left(how[0]);
    }
}

/// A plan that starts a service and then waits for `go.txt`; in the end it runs `finally`.
fn serving(finally: &str) -> Server {
    let server = empty();
    let port = server.port;
    let plan = format!(
        r#"
        format = 1
        [plan]
        name = "serving"
        [steps.serve]
        uses = "start-service"
        with = {{ program = "python3", args = ["-m", "http.server", "--bind", "127.0.0.1", "{port}", "--directory", "{{{{ plan.dir }}}}"], port = {port}, log = "serve.log" }}
        compensate = {{ uses = "stop-service", with = {{ port = {port}, pid = "{{{{ steps.serve.pid }}}}", expect = "http.server" }} }}
        [steps.wait]
        uses = "command"
        needs = ["serve"]
        compensate = "none"
        with = {{ program = "sh", args = ["-c", "echo $$ >> begun; while [ ! -e go ]; do echo waiting; sleep 0.02; done"], cwd = "{{{{ plan.dir }}}}", idempotent = true }}
        [finally.tell]
        uses = "command"
        with = {{ program = "{finally}", idempotent = true }}
        "#
    );
    fs::write(server.path("serving.toml"), plan).unwrap();
    server
}

fn apply(server: &Server) -> Command {
    server.almaplan(&["apply", "serving.toml", "--progress", "json"])
}

/// Waits until the step after the service runs for the `times`th time; who serves.
fn waits(server: &Server, times: usize) -> u32 {
    wait_until("the service was started and the next step runs", || read(server, "begun").lines().count() == times);
    served_by(server)
}

/// The one process that serves, and does so.
fn served_by(server: &Server) -> u32 {
    let found: Vec<_> = server.processes().into_iter().filter(|(_, line)| line.contains("http.server")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(http(server.port, "GET", "/serving.toml", "", "").unwrap().0, 200);
    found[0].0
}

fn go(server: &Server) {
    fs::write(server.path("go"), "").unwrap();
}

#[test]
fn a_service_survives_the_end_of_its_run_a_failing_finally_and_further_runs() {
    let server = serving("false");
    go(&server);
    run(&mut apply(&server)).expect(0);
    let pid = served_by(&server);
    let other =
        "format = 1\n[plan]\nname = \"other\"\n[steps.a]\nuses = \"command\"\ncompensate = \"none\"\nwith = { program = \"true\" }\n";
    fs::write(server.path("other.toml"), other).unwrap();
    server.say(&["apply", "other.toml"]).expect(0);
    assert_eq!(served_by(&server), pid);
    // Its own plan again, which does not stop it first: the port is taken, and what is undone is not this one.
    run(&mut apply(&server)).expect(3);
    assert_eq!(served_by(&server), pid);
}

#[test]
fn a_service_survives_whatever_stops_its_run() {
    // More than 5 s: each way to end is a run, and a resume, of its own.
    for signals in [&["-INT"][..], &["-INT", "-INT"], &["-TERM"], &["-KILL"]] {
        let server = serving("true");
        let mut almaplan = start(&mut apply(&server));
        let pid = waits(&server, 1);
        signals.iter().for_each(|name| signal(almaplan.id(), name));
        almaplan.code();
        assert_eq!(served_by(&server), pid, "after {signals:?}");
        go(&server);
        server.say(&["resume"]).expect(0);
        assert_eq!(served_by(&server), pid, "{signals:?} and a resume");
    }
}

#[test]
fn a_service_survives_a_reader_that_goes_away_and_so_does_the_run() {
    let server = serving("true");
    let mut almaplan = start(&mut apply(&server));
    let pid = waits(&server, 1);
    almaplan.stop_reading();
    let said = || read(&server, &format!(".almaplan/runs/{}/wait.log", server.status()["run"].as_str().unwrap())).lines().count();
    let before = said();
    wait_until("more is printed into the closed pipe", || said() > before + 3);
    go(&server);
    assert_eq!(almaplan.code(), 0);
    assert_eq!(served_by(&server), pid);
}

#[test]
fn a_service_survives_a_terminal_that_is_closed_while_its_run_goes_on() {
    // The terminal's window is closed when `close` appears.
    const TERMINAL: &str = "
import os, pty, sys, threading, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def read():
    while os.read(terminal, 65536): pass
threading.Thread(target=read, daemon=True).start()
while not os.path.exists('close'): time.sleep(0.01)
os.kill(os.getpid(), 9)
";
    let server = serving("true");
    let mut python = command("python3");
    python.args(["-c", TERMINAL]);
    let mut terminal = start(&mut wrapped(python, &apply(&server)));
    let pid = waits(&server, 1);
    fs::write(server.path("close"), "").unwrap();
    terminal.code();
    // The run goes on, too (rule 14).
    go(&server);
    wait_until("the run is over", || server.status()["state"] == "settled");
    assert_eq!(server.status()["outcome"], "succeeded");
    assert_eq!(served_by(&server), pid);
}

/// The folder that the test inside the namespace works in.
const WITHIN: &str = "ALMAPLAN_TEST_PIDS";

#[test]
fn a_run_that_was_killed_signals_nobody_who_has_its_pids_by_now() {
    let folder = tempfile::tempdir().unwrap();
    namespace::run_test("processes::inside_a_namespace_of_pids", WITHIN, folder.path());
}

/// A program that looks like the service and has `pid`; it ends with 0 only if no signal reaches it.
fn bystander(server: &Server, pid: u32) -> Running {
    let unharmed = "trap 'exit 9' HUP INT QUIT TERM USR1 USR2 CONT; read line; exit 0";
    let mut found = None;
    // Who was killed may have left a member of its session, whose number nobody gets while that lives.
    wait_until("the pid is given again", || {
        namespace::next_pid(pid);
        let mut sh = command("sh");
        let child = Running::spawn(sh.args(["-c", unharmed, "http.server"]).current_dir(server.path("")).stdin(Stdio::piped()));
        if child.id() != pid {
            return false;
        }
        found = Some(child);
        true
    });
    found.unwrap()
}

/// Not a test of its own: what the one above runs in a namespace.
#[test]
fn inside_a_namespace_of_pids() {
    if std::env::var_os(WITHIN).is_none() {
        return;
    }
    for (how, boot, code) in
        [(&["abort", "--yes"][..], "before", 0), (&["abort", "--yes"], "after", 0), (&["resume"], "before", 0), (&["resume"], "after", 0)]
    {
        let server = serving("true");
        let mut almaplan = start(apply(&server).env("ALMAPLAN_BOOT_ID", "before"));
        let service = waits(&server, 1);
        let step: u32 = read(&server, "begun").trim().parse().unwrap();
        // The run, its command and its service are killed, and bystanders that look like them get their pids.
        signal(almaplan.id(), "-KILL");
        // The command may have ended already: nobody reads what it prints any more.
        for pid in [step, service] {
            run(command("kill").args(["-KILL", &pid.to_string()]));
        }
        almaplan.code();
        let mut bystanders = [step, service].map(|pid| bystander(&server, pid));
        if how[0] == "resume" {
            go(&server);
        }
        run(server.almaplan(how).env("ALMAPLAN_BOOT_ID", boot)).expect(code);
        for bystander in &mut bystanders {
            assert_eq!(bystander.code(), 0, "{how:?} in the boot {boot}: a signal reached it");
        }
    }
}
