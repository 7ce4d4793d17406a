//! The kinds `start-service` and `stop-service`, and ending through the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use almaplan_engine::event::{AnswerFault, Failure, ProcessIdentity};
use almaplan_engine::host::{Host, ServiceCheck};
use almaplan_engine::kind::Kind;
use almaplan_engine::preview::{Before, Would};
use almaplan_steps::kinds::start_service::{StartService, StartServiceOutput};
use almaplan_steps::kinds::stop_service::{StopService, StopServiceOutput};
use almaplan_steps::local_host::LocalHost;
use almaplan_steps::process::{self, Tree};
use serde_json::{Map, Value, json};

use super::fixture::{Seen, context, context_after, fake_service, kill, kind, pid_in, runs, script_command, until};

const STARTER: &str = "ALMAPLAN_TEST_STARTER";

/// A folder with the service in it, a free port, and nothing left running at the end.
struct Place {
    folder: tempfile::TempDir,
    port: u16,
    by_hand: Vec<Child>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Built before anything is timed.
        fake_service();
        // Found and let go again; what takes it in between fails the test loudly.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port, by_hand: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn with(&self, mode: &str) -> Value {
        json!({ "program": fake_service(), "args": ["serve", self.port, mode], "port": self.port, "log": "logs/out.log", "deadline": "20s" })
    }

    async fn start(&self, mode: &str) -> Result<StartServiceOutput, Failure> {
        kind::<StartService>(self.with(mode)).run(&context(self.path()).0).await
    }

    async fn stop(&self, more: Value) -> (Result<StopServiceOutput, Failure>, Seen) {
        let (cx, _, seen) = context(self.path());
        let mut with = json!({ "port": self.port });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (kind::<StopService>(with).run(&cx).await, seen)
    }

    /// As a person would start it, without almaplan; returns once it listens, unless it never does.
    async fn by_hand(&mut self, mode: &str) -> u32 {
        let child = script_command(&["serve", &self.port.to_string(), mode]).current_dir(self.path()).spawn().unwrap();
        let pid = child.id();
        self.by_hand.push(child);
        if mode != "idle" {
            until("someone who listens", || process::is_listened_on(self.port).unwrap()).await;
        }
        pid
    }

    fn is_served_by(&self, pid: u32) -> bool {
        process::listeners(self.port).unwrap().iter().any(|listener| listener.pid == pid)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("logs/out.log")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let listeners = process::listeners(self.port).unwrap_or_default();
        let by_hand = self.by_hand.iter().filter_map(|child| process::identify(child.id()));
        for identity in listeners.into_iter().chain(by_hand) {
            process::kill_now(&mut Tree::of(&identity));
        }
        self.by_hand.iter_mut().for_each(|child| drop(child.wait()));
    }
}

#[tokio::test]
async fn a_preview_tells_who_would_be_stopped_and_stops_nobody() {
    let mut place = Place::new();
    let preview = async |place: &Place, expect: &str| {
        let with = json!({ "port": place.port, "expect": expect });
        kind::<StopService>(with).preview(&context(place.path()).0, &Before::default()).await
    };
    let nobody = preview(&place, "fake_service").await;
    assert_eq!((nobody.would, &nobody.outputs["pid"]), (Would::ChangeNothing, &Value::Null));
    let pid = place.by_hand("").await;
    let stops = preview(&place, "fake_service").await;
    assert_eq!((stops.would, &stops.outputs["pid"]), (Would::Run, &pid.into()));
    let told = stops.told[0].to_json();
    assert_eq!((&told["what"], &told["pid"]), (&"stops".into(), &pid.to_string().into()));
    assert!(told["age"].as_f64().unwrap() < 60.0, "{told}");
    let stranger = preview(&place, "somebody else").await;
    assert!(matches!(&stranger.would, Would::Fail(why) if why.message.contains("does not match `expect`")), "{stranger:?}");
    assert!(place.is_served_by(pid));
}

#[tokio::test]
async fn a_service_whose_child_listens_is_stopped_by_its_root() {
    let place = Place::new();
    let started = place.start("parent").await.unwrap();
    let listener = process::listeners(place.port).unwrap()[0].pid;
    assert_ne!(listener, started.pid, "it is the child that listens");

    let (stopped, seen) = place.stop(json!({ "expect": "serve" })).await;
    let stopped = stopped.unwrap();
    assert_eq!(stopped.pid, Some(started.pid));
    assert!(!stopped.forced);
    assert!(!runs(started.pid) && !runs(listener));
    assert!(!process::is_listened_on(place.port).unwrap());
    assert_eq!(seen.recorded()["pid"], json!(started.pid));
    assert_eq!(seen.recorded()["args"], json!(["serve", place.port.to_string(), "parent"]));
}

#[tokio::test]
async fn what_was_stopped_starts_again_from_what_the_stop_left() {
    let mut place = Place::new();
    let before = place.by_hand("").await;
    let stopped = place.stop(json!({})).await.0.unwrap();
    assert_eq!(stopped.pid, Some(before));
    let again = json!({ "program": stopped.program, "args": stopped.args, "cwd": stopped.cwd, "port": place.port, "log": "again.log" });
    let again = kind::<StartService>(again).run(&context(place.path()).0).await.unwrap();
    assert!(place.is_served_by(again.pid));
}

// A service that had a secret among its arguments was started again with `***` in its place, and the rollback called complete.
#[tokio::test]
async fn a_service_is_not_started_with_a_masked_secret() {
    let place = Place::new();
    let mut with = place.with("");
    with["args"].as_array_mut().unwrap().push(json!("--token=***"));
    let (cx, _, seen) = context(place.path());
    let failure = kind::<StartService>(with).run(&cx).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("`--token=***`"), "{failure}");
    assert!(seen.spawned().is_empty());
}

#[tokio::test]
async fn a_listener_started_by_hand_is_stopped_with_its_launcher_but_not_with_us() {
    let mut place = Place::new();
    let launcher = place.by_hand("parent").await;
    let listener = process::listeners(place.port).unwrap()[0].pid;
    assert_ne!(listener, launcher);
    let stopped = place.stop(json!({})).await.0.unwrap();
    assert_eq!(stopped.pid, Some(launcher), "the launcher is the same program in the same place; the test that started it is not");
    assert!(!runs(launcher) && !runs(listener));
}

#[tokio::test]
async fn a_launcher_that_does_not_look_expected_is_stopped_only_if_almaplan_started_it() {
    let mut place = Place::new();
    place.by_hand("parent").await;
    let listener = process::listeners(place.port).unwrap()[0].pid;
    let stopped = place.stop(json!({ "expect": "worker" })).await.0.unwrap();
    assert_eq!(stopped.pid, Some(listener));

    let started = place.start("parent").await.unwrap();
    let stopped = place.stop(json!({ "expect": "worker" })).await.0.unwrap();
    assert_eq!(stopped.pid, Some(started.pid));
    assert!(!runs(started.pid));
}

#[tokio::test]
async fn a_stranger_on_the_port_is_left_alone_and_named() {
    let mut place = Place::new();
    let stranger = place.by_hand("").await;
    let (stopped, seen) = place.stop(json!({ "expect": ["waitress", "/srv/production"] })).await;
    let failure = stopped.unwrap_err();
    assert!(failure.clean);
    for part in [&format!("port {}", place.port), &format!("pid {stranger}"), "fake_service"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    assert!(runs(stranger));
    assert!(seen.recorded().is_empty(), "nothing is kept of what is not ours");

    let (cx, _, seen) = context(place.path());
    let failure = kind::<StartService>(place.with("")).run(&cx).await.unwrap_err();
    assert!(failure.clean && failure.message.contains(&format!("pid {stranger}")), "{}", failure.message);
    assert!(seen.spawned().is_empty() && runs(stranger));
}

#[tokio::test]
async fn a_stubborn_service_is_forced_with_everything_below_it() {
    let place = Place::new();
    let started = place.start("stubborn").await.unwrap();
    let tree = Tree::of(&process::identify(started.pid).unwrap()).refresh();
    assert!(tree.len() >= 2, "the service and its stubborn child: {tree:?}");
    let stopped = place.stop(json!({ "grace": "200ms" })).await.0.unwrap();
    assert!(stopped.forced);
    assert!(!tree.into_iter().any(runs));
}

// Only signals suspend a process as a whole.
#[cfg(unix)]
#[tokio::test]
async fn a_suspended_service_is_woken_to_end_by_itself() {
    let mut place = Place::new();
    let pid = place.by_hand("").await;
    assert!(std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    let stopped = place.stop(json!({ "grace": "5s" })).await.0.unwrap();
    assert!(!stopped.forced && !runs(pid));
}

#[tokio::test]
async fn a_port_that_is_taken_again_each_time_is_not_free() {
    let mut place = Place::new();
    place.by_hand("phoenix").await;
    let failure = place.stop(json!({})).await.0.unwrap_err();
    assert!(!failure.clean && failure.message.contains("is taken again each time it is freed"), "{failure}");
}

#[tokio::test]
async fn a_log_is_appended_to_and_its_size_before_the_start_is_kept() {
    let place = Place::new();
    let log = place.path().join("logs").join("out.log");
    fs::create_dir(log.parent().unwrap()).unwrap();
    fs::write(&log, "what the version before said\n").unwrap();
    let started = place.start("").await.unwrap();
    assert_eq!(started.log_offsets[log.to_str().unwrap()].bytes, 29);
    assert_eq!(place.log(), "what the version before said\nstarting \n");
}

#[tokio::test]
async fn ctrl_c_lets_a_service_end_in_order() {
    let place = Place::new();
    place.start("").await.unwrap();
    let stopped = place.stop(json!({ "signal": "INT" })).await.0.unwrap();
    assert!(!stopped.forced);
    assert!(place.log().contains("ended in order"), "{}", place.log());
}

#[tokio::test]
async fn stopping_what_is_not_there_is_done_and_a_rerun_knows_what_was() {
    let place = Place::new();
    let stopped = place.stop(json!({ "pid": null })).await.0.unwrap();
    assert_eq!(
        serde_json::to_value(&stopped).unwrap(),
        json!({ "pid": null, "process": null, "program": null, "args": null, "cwd": null, "forced": false })
    );

    let recorded: Map<String, Value> = serde_json::from_value(json!({ "pid": 77, "program": "/p", "args": ["a"], "cwd": "/c" })).unwrap();
    let (cx, ..) = context_after(place.path(), recorded, Vec::new());
    let stopped = kind::<StopService>(json!({ "port": place.port })).run(&cx).await.unwrap();
    assert_eq!(
        (stopped.pid, stopped.program.as_deref(), stopped.args, stopped.cwd),
        (Some(77), Some("/p"), Some(vec!["a".to_owned()]), Some(PathBuf::from("/c")))
    );
}

#[tokio::test]
async fn a_known_pid_is_stopped_before_it_listens_but_not_if_it_is_a_stranger_by_now() {
    let mut place = Place::new();
    let pid = place.by_hand("idle").await;
    until("its program", || process::describe(pid).is_some_and(|process| process.command_line().contains("idle"))).await;

    let stopped = place.stop(json!({ "pid": pid, "expect": "someone else" })).await.0.unwrap();
    assert_eq!((stopped.pid, runs(pid)), (None, true), "after a reboot the pid may be anybody's");
    let stopped = place.stop(json!({ "pid": pid })).await.0.unwrap();
    assert_eq!((stopped.pid, runs(pid)), (None, true), "nor is a bare pid proof");
    let stopped = place.stop(json!({ "pid": pid, "expect": "fake_service" })).await.0.unwrap();
    assert_eq!((stopped.pid, runs(pid)), (Some(pid), false));
}

#[tokio::test]
async fn a_service_that_dies_fails_at_once_with_its_last_words() {
    let place = Place::new();
    fs::create_dir(place.path().join("logs")).unwrap();
    fs::write(place.path().join("logs/out.log"), "of an earlier run\n").unwrap();
    let begun = Instant::now();
    let failure = place.start("broken").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(failure.message.contains("` ended with exit code 4 before it listened"), "{}", failure.message);
    assert_eq!(failure.tail, ["starting broken", "Traceback: no such table"]);
    assert!(!failure.clean);
}

#[tokio::test]
async fn a_service_that_never_listens_is_ended_again_even_if_a_stranger_listens() {
    let mut place = Place::new();
    let (cx, _, seen) = context(place.path());
    let mut with = place.with("idle");
    with["deadline"] = json!("1500ms");
    let work = tokio::spawn(async move { kind::<StartService>(with).run(&cx).await });
    until("its start", || !seen.spawned().is_empty()).await;
    let stranger = place.by_hand("").await;
    let failure = work.await.unwrap().unwrap_err();
    assert!(failure.message.contains("did not listen") && failure.message.contains(&format!("pid {stranger}")), "{}", failure.message);
    assert!(!failure.clean && !process::is_alive(&seen.spawned()[0]));
    assert!(runs(stranger));
}

#[tokio::test]
async fn a_start_that_is_stopped_leaves_nothing_running() {
    let place = Place::new();
    let (cx, stop, seen) = context(place.path());
    let with = place.with("idle");
    let work = tokio::spawn(async move { kind::<StartService>(with).run(&cx).await });
    until("its start", || place.log().contains("idle")).await;
    stop.cancel();
    let failure = work.await.unwrap().unwrap_err();
    assert_eq!((failure.message.as_str(), failure.clean), ("stopped as asked", false));
    assert!(!process::is_alive(&seen.spawned()[0]));
}

#[tokio::test]
async fn a_live_process_of_an_earlier_attempt_is_taken_over_and_a_dead_one_replaced() {
    let place = Place::new();
    let (cx, _, seen) = context(place.path());
    let first = kind::<StartService>(place.with("")).run(&cx).await.unwrap();
    let (recorded, processes) = (seen.recorded(), seen.spawned());
    assert_eq!(recorded["log_offsets"], json!({ place.path().join("logs").join("out.log").to_str().unwrap(): 0 }));

    let (cx, _, seen) = context_after(place.path(), recorded.clone(), processes.clone());
    let second = kind::<StartService>(place.with("")).run(&cx).await.unwrap();
    assert_eq!((second.pid, second.log_offsets), (first.pid, first.log_offsets));
    assert!(seen.spawned().is_empty(), "nothing new was started");

    place.stop(json!({ "pid": first.pid })).await.0.unwrap();
    let (cx, ..) = context_after(place.path(), recorded, processes);
    let third = kind::<StartService>(place.with("")).run(&cx).await.unwrap();
    assert_ne!(third.pid, first.pid);
    assert!(third.log_offsets.values().all(|offset| offset.bytes > 0), "of this start: {:?}", third.log_offsets);
}

#[tokio::test]
async fn a_launcher_that_ends_well_is_replaced_by_the_service_it_left() {
    let place = Place::new();
    let (cx, _, seen) = context(place.path());
    let started = kind::<StartService>(place.with("daemon")).run(&cx).await.unwrap();
    assert!(place.is_served_by(started.pid));
    assert_eq!(seen.spawned().last().unwrap().pid, started.pid, "a crash from here on finds the service, not the launcher");
}

// Takes the 15 s that a service may come up elsewhere: nobody serves meanwhile, so it must not be the whole deadline.
#[tokio::test]
async fn a_launcher_that_ends_well_and_leaves_nothing_is_not_waited_for_until_the_deadline() {
    let place = Place::new();
    let mut with = place.with("");
    with["args"] = json!(["say", "no application to serve", "exit", 0]);
    with["deadline"] = json!("1h");
    let (cx, ..) = context(place.path());
    let service = kind::<StartService>(with);
    let ended = tokio::time::timeout(Duration::from_secs(180), service.run(&cx)).await;
    let failure = ended.expect("it ends long before its deadline").unwrap_err();
    assert!(failure.message.contains("ended with exit code 0 before it listened"), "{failure}");
    assert_eq!(failure.tail, ["no application to serve"]);
}

/// Not a test of its own: what the next one runs in a process that it can kill.
#[tokio::test]
async fn a_starter_that_goes_on() {
    let Some(folder) = std::env::var_os(STARTER).map(PathBuf::from) else { return };
    let with = serde_json::from_str(&fs::read_to_string(folder.join("with.json")).unwrap()).unwrap();
    let started = kind::<StartService>(with).run(&context(&folder).0).await.unwrap();
    fs::write(folder.join("pid"), format!("{}\n", started.pid)).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_started_service_outlives_its_starter_and_holds_nothing_of_it() {
    let place = Place::new();
    fs::write(place.path().join("with.json"), place.with("").to_string()).unwrap();
    let starter = std::process::Command::new(std::env::current_exe().unwrap());
    // A file that the starter was handed, without the flag that would close it.
    #[cfg(unix)]
    let mut starter = {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec 7>held; exec \"$0\" \"$@\""]).arg(starter.get_program());
        shell
    };
    let mut starter = { starter }
        .args(["--exact", "processes::service::a_starter_that_goes_on"])
        .current_dir(place.path())
        .env(STARTER, place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = pid_in(&place.path().join("pid")).await;
    starter.kill().unwrap();
    starter.wait().unwrap();

    assert!(answers(&LocalHost::new(None), &format!("http://127.0.0.1:{}/", place.port)).await);
    assert!(place.is_served_by(pid));
    #[cfg(unix)]
    assert_holds_nothing(&place, pid);
}

/// Of whoever started `pid`.
#[cfg(unix)]
fn assert_holds_nothing(place: &Place, pid: u32) {
    let open = |descriptor: &str| fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap();
    assert_eq!(open("0"), Path::new("/dev/null"));
    assert_eq!((open("1"), open("2")), (place.path().join("logs/out.log"), place.path().join("logs/out.log")));
    let held: Vec<PathBuf> =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|file| fs::read_link(file.unwrap().path()).unwrap()).collect();
    assert!(!held.iter().any(|file| file.ends_with("held")), "{held:?}");
    assert!(!held.iter().any(|file| file.to_str().unwrap().starts_with("pipe:")), "{held:?}");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.rsplit(')').next().unwrap().split_whitespace().nth(3), Some(pid.to_string().as_str()), "it leads its session");
}

#[tokio::test]
async fn the_machine_ends_what_a_dead_process_left_and_nobody_of_another_boot() {
    let place = Place::new();
    let (cx, _, seen) = context(place.path());
    let machine = LocalHost::new(None);
    kind::<StartService>(place.with("parent")).run(&cx).await.unwrap();
    let identity = seen.spawned()[0].clone();
    let listener = process::listeners(place.port).unwrap()[0].pid;

    machine.end(&ProcessIdentity { boot: "another".to_owned(), ..identity.clone() }).await.unwrap();
    assert!(runs(identity.pid) && runs(listener));

    kill(identity.pid);
    until("the root's end", || !runs(identity.pid)).await;
    assert!(runs(listener), "an orphan");
    machine.end(&identity).await.unwrap();
    assert!(!runs(listener));
}

#[tokio::test]
async fn an_answer_is_any_status_below_500() {
    let mut place = Place::new();
    let machine = LocalHost::new(None);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", place.port);
    let (root, missing, broken) = (url("/"), url("/missing"), url("/broken"));
    assert!(!answers(&machine, &root).await);
    place.by_hand("").await;
    assert!(answers(&machine, &root).await && answers(&machine, &missing).await);
    assert!(!answers(&machine, &broken).await);
    assert!(!answers(&machine, "no url").await);
    let check = |url: &String, status: &[u16], contains: Option<&str>| ServiceCheck {
        url: url.clone(),
        status: status.to_vec(),
        contains: contains.map(str::to_owned),
    };
    assert_eq!(machine.wrong_answer(&[check(&missing, &[404], None), check(&root, &[200], None)]).await, None);
    let wrong = machine.wrong_answer(&[check(&root, &[200], None), check(&missing, &[200, 302], None)]).await.unwrap();
    assert_eq!((wrong.url, wrong.found), (missing, AnswerFault::Status(404)));
    let wrong = machine.wrong_answer(&[check(&root, &[], Some("what nobody says"))]).await.unwrap();
    assert_eq!(wrong.found, AnswerFault::Content);
}

// The link is one that unix makes.
#[cfg(unix)]
#[tokio::test]
async fn the_interpreter_of_a_virtual_environment_stays_that_one() {
    let place = Place::new();
    let link = place.path().join("venv-python");
    std::os::unix::fs::symlink(fake_service(), &link).unwrap();
    let mut with = place.with("");
    with["program"] = json!("./venv-python");
    kind::<StartService>(with).run(&context(place.path()).0).await.unwrap();
    let stopped = place.stop(json!({ "expect": place.path() })).await.0.unwrap();
    assert_eq!(stopped.program.as_deref(), link.to_str());
}

async fn answers(machine: &LocalHost, url: &str) -> bool {
    machine.wrong_answer(&[ServiceCheck { url: url.to_owned(), status: Vec::new(), contains: None }]).await.is_none()
}
