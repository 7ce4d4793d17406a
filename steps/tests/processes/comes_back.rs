//! What was stopped comes back as it was (rule 22), or is not stopped.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use almaplan_engine::event::{Failure, Part, ProcessIdentity};
use almaplan_engine::kind::Kind as _;
use almaplan_steps::kinds::start_service::{StartService, StartServiceOutput};
use almaplan_steps::kinds::stop_service::{StopService, StopServiceOutput};
use almaplan_steps::process::{self, Tree};
use serde_json::json;

use super::fixture::{Seen, context_of, fake_service, kind, until};

/// A service that somebody else started, on a free port; it and what came in its place are ended with it.
struct Service {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
    known: Vec<ProcessIdentity>,
}

impl Service {
    async fn started(command: impl FnOnce(u16) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        until("the service listens", || process::is_listened_on(port).unwrap()).await;
        let known = process::identify(child.id()).into_iter().collect();
        Self { folder, port, child, known }
    }

    async fn fake(set_up: impl FnOnce(&mut Command)) -> Self {
        Self::started(|port| {
            let mut command = Command::new(fake_service());
            command.args(["serve", &port.to_string()]);
            set_up(&mut command);
            command
        })
        .await
    }

    async fn stop(&self, signal: &str) -> (Result<StopServiceOutput, Failure>, Seen) {
        let (cx, _, seen) = context_of(self.folder.path(), Part::Action, self.known.clone());
        let stop: StopService = kind(json!({ "port": self.port, "grace": "5s", "signal": signal }));
        (stop.run(&cx).await, seen)
    }

    /// The start that makes up for the stop of which `stopped` is left.
    async fn start_again(&self, stopped: &StopServiceOutput) -> Result<StartServiceOutput, Failure> {
        let (cx, _, _) = context_of(self.folder.path(), Part::Compensation(0), self.known.clone());
        let with = json!({ "program": stopped.program, "args": stopped.args, "cwd": stopped.cwd, "port": self.port, "log": "back.log" });
        kind::<StartService>(with).run(&cx).await
    }

    fn listener(&self) -> u32 {
        process::listeners(self.port).unwrap()[0].pid
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for listener in process::listeners(self.port).unwrap_or_default() {
            process::kill_now(&mut Tree::of(&listener));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn environment(pid: u32) -> Vec<String> {
    let text = String::from_utf8(fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
    let mut variables: Vec<String> =
        text.split('\0').filter(|variable| !variable.is_empty() && !variable.starts_with("ALMAPLAN_SPAWNED=")).map(str::to_owned).collect();
    variables.sort();
    variables
}

fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

fn nice(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().to_owned()
}

// After a rollback that said "as before" a service ran without DATABASE_URL, and another user's as root with root's environment.
#[tokio::test]
async fn a_service_comes_back_with_its_environment_umask_limits_and_priority() {
    let mut service = Service::started(|port| {
        let line = format!("umask 027; ulimit -n 300; exec nice -n 5 '{}' serve {port}", fake_service().display());
        let mut sh = Command::new("sh");
        sh.args(["-c", &line]).env_clear().env("DATABASE_URL", "postgres://here").env("PATH", "/usr/bin:/bin");
        sh
    })
    .await;
    let told = |pid: u32| (environment(pid), status(pid, "Umask:"), nice(pid), fs::read_to_string(format!("/proc/{pid}/limits")).unwrap());
    let before = told(service.listener());
    let (stopped, seen) = service.stop("TERM").await;
    let stopped = stopped.unwrap();
    service.child.wait().unwrap();
    service.start_again(&stopped).await.unwrap();
    assert_eq!(told(service.listener()), before);

    let kept = service.folder.path().join("private/step.json");
    assert_eq!(mode(&kept), 0o600, "an environment holds passwords");
    let journaled = format!("{:?}{:?}", seen.recorded(), seen.notes());
    assert!(!journaled.contains("postgres"), "{journaled}");
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

#[tokio::test]
async fn another_users_service_comes_back_as_that_user() {
    if uid(&fs::metadata("/proc/self").unwrap()) != 0 {
        // Past the capture of what tests print: nobody may believe that it was tried.
        std::io::Write::write_all(&mut std::io::stderr(), b"NOT TRIED: another user's service, as this is not run as root\n").unwrap();
        return;
    }
    let serve = "import socket, sys\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()[0].close()";
    let mut service = Service::started(|port| {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", serve, &port.to_string()]).uid(65534).gid(65534);
        python
    })
    .await;
    let told = |pid: u32| ["Uid:", "Gid:", "Groups:"].map(|field| status(pid, field));
    let before = told(service.listener());
    let stopped = service.stop("TERM").await.0.unwrap();
    service.child.wait().unwrap();
    service.start_again(&stopped).await.unwrap();
    assert_eq!(told(service.listener()), before);
}

fn uid(own: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(own)
}

// gunicorn, nginx and all that use `setproctitle` show a title where their arguments were: nothing can be started from that.
#[tokio::test]
async fn a_service_that_shows_a_title_is_not_stopped() {
    let mut service = Service::fake(|command| {
        command.arg0("padaria: master [app]");
    })
    .await;
    let failure = service.stop("TERM").await.0.unwrap_err();
    assert!(failure.clean && failure.message.contains("title") && failure.message.contains("nothing was stopped"), "{failure}");
    assert!(service.child.try_wait().unwrap().is_none(), "it was stopped");

    let (cx, _, _) = context_of(service.folder.path(), Part::Action, Vec::new());
    kind::<StopService>(json!({ "port": service.port, "grace": "5s", "bring_back": false })).run(&cx).await.unwrap();
}

// What a script starts with `&` ignores SIGINT: the site was down for the whole grace, then it was killed without a word.
#[tokio::test]
async fn a_service_that_ignores_interrupts_is_asked_to_terminate() {
    let serve = "import signal, socket, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n\
                 signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\
                 s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()[0].close()";
    let mut service = Service::started(|port| {
        let mut python = Command::new("python3");
        python.args(["-c", serve, &port.to_string()]);
        python
    })
    .await;
    assert!(!service.stop("INT").await.0.unwrap().forced);
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn what_had_to_be_killed_is_said() {
    let service = Service::fake(|command| {
        command.arg("stubborn");
    })
    .await;
    let (cx, _, seen) = context_of(service.folder.path(), Part::Action, Vec::new());
    let stopped = kind::<StopService>(json!({ "port": service.port, "grace": "100ms" })).run(&cx).await.unwrap();
    assert!(stopped.forced && seen.notes().iter().any(|note| note.contains("was killed")), "{:?}", seen.notes());
}

// A supervisor had started the service again, of the new files: it was taken for the old one, "never stopped".
#[tokio::test]
async fn only_the_very_process_that_was_recorded_was_never_stopped() {
    let mut service = Service::fake(|_| {}).await;
    let stopped = {
        let process = process::describe(service.child.id()).unwrap();
        let text = |path: &Path| Some(path.to_string_lossy().into_owned());
        StopServiceOutput { program: text(&process.program), args: Some(process.args), cwd: process.cwd, ..Default::default() }
    };
    assert_eq!(service.start_again(&stopped).await.unwrap().pid, service.child.id());
    service.known[0].started -= 1;
    let failure = service.start_again(&stopped).await.unwrap_err();
    assert!(failure.message.contains("is taken"), "{failure}");
}

// Any user could name a daemon of root in a variable of their own process, and have it stopped.
#[tokio::test]
async fn a_mark_that_somebody_made_up_stops_nobody_else() {
    let mut daemon = Command::new("sleep").arg("600").spawn().unwrap();
    let named = process::identify(daemon.id()).unwrap();
    let service = Service::fake(|command| {
        command.env("ALMAPLAN_SPAWNED", format!("{}.{}", named.pid, named.started));
    })
    .await;
    service.stop("TERM").await.0.unwrap();
    let lives = daemon.try_wait().unwrap().is_none();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(lives, "the daemon was stopped");
}

// What daemonizes with an environment of its own was "ended before it listened", undone by nobody, and then listened.
#[tokio::test]
async fn a_daemon_is_found_by_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = format!("(env -i setsid '{}' serve {port} >/dev/null 2>&1 &)", fake_service().display());
    let with = json!({ "program": "sh", "args": ["-c", line], "port": port, "log": "out.log", "deadline": "20s" });
    let (cx, _, seen) = context_of(folder.path(), Part::Action, Vec::new());
    let started = kind::<StartService>(with).run(&cx).await.unwrap();
    let listener = process::listeners(port).unwrap().remove(0);
    process::kill_now(&mut Tree::of(&listener));
    assert_eq!(started.pid, listener.pid);
    assert!(seen.spawned().iter().any(|known| known.pid == listener.pid), "nobody knows of it");
}
