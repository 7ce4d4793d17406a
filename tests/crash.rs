//! The production plan is killed at every append (by default at a sample of them), and at the worst moments, and always ends as it promises.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::server::SOON;
use crate::support::{self, Said, Server, is_runtime, run, sample, tree, wait_until};

/// More appends than any run of the plan makes: whoever reaches it did not crash.
const MOST_APPENDS: u32 = 200;

/// Of all appends one in so many is tried: each takes seconds, as the real application stops and boots twice.
const ONE_IN: usize = 8;

/// A server on which version 1 serves, without the parts of the plan that only take time here.
fn serving() -> Server {
    let mut server = Server::new();
    server.set("tests", "[]");
    server.set("watch_for", "\"200ms\"");
    server.deploy_first();
    server
}

fn crash_after(server: &Server, appends: u32, args: &[&str]) -> Said {
    run(server.almaplan(args).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()))
}

/// Runs `work` while watching that never two versions serve at once.
fn never_two_at_once<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let serving: Vec<_> = server.serving().into_iter().filter(|(_, line)| !line.starts_with("/bin/sh")).collect();
                let roots: BTreeSet<u32> = serving.iter().map(|(pid, _)| *pid).collect();
                if roots.len() > 1 {
                    // A process that is just ending and one that is just beginning may both be seen in one listing.
                    std::thread::sleep(Duration::from_millis(5));
                    let again: Vec<_> = server.serving().into_iter().filter(|(pid, _)| roots.contains(pid)).collect();
                    assert!(again.len() < 2, "two versions at once: {again:?}");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // Also where it panics: else the watcher would be waited for without end.
        let _done = Done(&done);
        work()
    })
}

/// Says that something is done when it goes out of scope.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What `status` says must be what the journal and the machine say.
fn status_is_true(server: &Server, crashed: &Said) {
    let status = server.status();
    let next = status["next"].to_string();
    if status["state"] == "settled" {
        assert_eq!(next, "[]", "{status}");
        return;
    }
    assert_eq!(status["state"], "interrupted", "{status}");
    assert!(next.contains("almaplan resume"), "{status}");
    let running = |step: &serde_json::Value| step["state"] == "started";
    assert!(!status["steps"].as_array().unwrap().iter().any(running), "nothing runs, and yet: {status}");
    // Every step that said it succeeded before the crash is known to have succeeded.
    for event in crashed.events() {
        if event["event"] == "step" && event["state"] == "succeeded" && event["phase"] == "forward" {
            let step = status["steps"].as_array().unwrap().iter().find(|step| step["step"] == event["step"]).unwrap().clone();
            assert!(
                ["succeeded", "undone", "undo-started", "undo-failed"].contains(&step["state"].as_str().unwrap()),
                "{step} in {status}"
            );
        }
    }
}

/// Kills a deploy after each of its appends in turn; each time `recover` must end as `end` demands. How many deploys were killed.
fn killed_at_every_append(faults: Option<&str>, recover: &[&str], end: impl Fn(&Server, &str, Said)) -> usize {
    let mut server = serving();
    if faults.is_some() {
        server.set("health_deadline", SOON);
    }
    for (crashes, appends) in sample::every(ONE_IN, 1..MOST_APPENDS).enumerate() {
        let version = format!("v{appends}");
        server.release(&version);
        if let Some(faults) = faults {
            server.faults(faults);
        }
        let crashed = never_two_at_once(&server, || run(server.apply_command(&[]).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string())));
        if crashed.code != -1 {
            return crashes;
        }
        status_is_true(&server, &crashed);
        let said = never_two_at_once(&server, || server.say(recover));
        end(&server, &version, said);
        assert!(server.serving().len() == 1, "after append {appends}: {:?}", server.serving());
    }
    panic!("a deploy of more than {MOST_APPENDS} appends");
}

#[test]
fn a_deploy_killed_at_every_append_is_finished_by_resume() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let crashes = killed_at_every_append(None, &["resume", "--progress", "json"], |server, version, said| {
        let said = said.expect(0);
        assert_eq!(server.version().as_deref(), Some(version), "{}", said.all());
        assert_eq!(tree(&server.production(), &is_runtime_or_manifest), tree(&server.path("dev"), &is_runtime_or_manifest));
    });
    assert!(crashes >= sample::share(ONE_IN, 20), "only {crashes} crashes");
}

#[test]
fn a_deploy_killed_at_every_append_is_undone_by_abort() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let crashes = killed_at_every_append(None, &["abort", "--yes", "--progress", "json"], |server, version, said| {
        if said.all().contains("already-settled") {
            // Killed behind its last event: there is nothing to abort any more, and a rollback does it.
            assert_eq!(server.version().as_deref(), Some(version), "{}", said.all());
            server.say(&["rollback", "--yes"]).expect(0);
        } else {
            said.expect(0);
        }
        assert_eq!(server.version().as_deref(), Some("1"));
    });
    assert!(crashes >= sample::share(ONE_IN, 20), "only {crashes} crashes");
}

#[test]
fn a_rollback_killed_at_every_append_is_finished_by_resume() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let crashes = killed_at_every_append(Some(r#"{"login_500": true}"#), &["resume", "--progress", "json"], |server, _, said| {
        let said = said.expect(3);
        assert_eq!(server.version().as_deref(), Some("1"), "{}", said.all());
        assert!(!server.production().join("faults.json").exists());
    });
    assert!(crashes >= sample::share(ONE_IN, 25), "only {crashes} crashes");
}

#[test]
fn a_version_killed_before_it_listens_is_adopted_by_resume() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    let pid = kill_before_it_listens(&server);
    let said = never_two_at_once(&server, || server.say(&["resume", "--progress", "json"])).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"), "{}", said.all());
    assert_eq!(server.pid(), pid, "a second one was started");
}

#[test]
fn a_version_killed_before_it_listens_is_stopped_by_abort() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    let pid = kill_before_it_listens(&server);
    let said = never_two_at_once(&server, || server.say(&["abort", "--yes", "--progress", "json"])).expect(0);
    assert_eq!(server.version().as_deref(), Some("1"), "{}", said.all());
    assert!(!support::alive(pid), "nobody knows of {pid} any more");
    assert_eq!(server.serving().len(), 1, "{:?}", server.serving());
}

/// SIGKILL between the new version's spawn and its listening; the pid of the new version.
fn kill_before_it_listens(server: &Server) -> u32 {
    server.release("2");
    server.faults(r#"{"slow_start_s": 2}"#);
    let old = server.pid();
    let mut child = support::start(&mut server.apply_command(&[]));
    let mut new = None;
    wait_until("the new version is spawned", || {
        new = server.serving().into_iter().find(|(pid, line)| *pid != old && !line.starts_with("/bin/sh")).map(|(pid, _)| pid);
        new.is_some()
    });
    child.kill();
    assert_eq!(server.version(), None, "it listened already");
    new.unwrap()
}

/// Interrupts a deploy by SIGKILL when `step` is in `state`, as a power cut would: everything dies, and the boot is another one.
fn power_cut(server: &Server, step: &str, state: &str) {
    let mut child = support::start(server.apply_command(&[]).env("ALMAPLAN_BOOT_ID", "before"));
    let seen = child.lines().any(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event["event"] == "step" && event["step"] == step && event["state"] == state
    });
    child.kill();
    assert!(seen, "`{step}` was never {state}");
    for (pid, _) in server.processes() {
        run(support::command("kill").args(["-9", &pid.to_string()]));
    }
    wait_until("everything is dead", || server.processes().is_empty());
}

fn after_the_reboot(server: &Server, args: &[&str]) -> Said {
    run(server.almaplan(args).env("ALMAPLAN_BOOT_ID", "after"))
}

#[test]
fn a_power_cut_after_the_stop_ends_with_the_new_version_serving() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    server.release("2");
    power_cut(&server, "stop", "succeeded");
    after_the_reboot(&server, &["resume", "--progress", "json"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
}

#[test]
fn a_power_cut_after_the_start_ends_with_the_new_version_serving() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    server.release("2");
    power_cut(&server, "health", "succeeded");
    let said = after_the_reboot(&server, &["resume", "--progress", "json"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
    assert!(said.states("start").contains(&"succeeded".to_owned()), "{}", said.stdout);
    assert!(said.states("health").contains(&"succeeded".to_owned()), "the check must be done again: {}", said.stdout);
}

#[test]
fn a_power_cut_while_the_new_version_is_watched_ends_with_it_serving() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let mut server = serving();
    server.set("watch_for", "\"30s\"");
    server.release("2");
    power_cut(&server, "watch", "started");
    let run = server.status()["run"].as_str().unwrap().to_owned();
    after_the_reboot(&server, &["resume", &run, "--progress", "json"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
}

#[test]
fn a_power_cut_during_the_rollback_ends_with_the_old_version_serving() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    for (step, state) in [("start", "undone"), ("update", "undone"), ("stop", "undone")] {
        let mut server = serving();
        server.set("health_deadline", SOON);
        server.release("2");
        server.faults(r#"{"login_500": true}"#);
        power_cut(&server, step, state);
        let said = after_the_reboot(&server, &["resume", "--progress", "json"]).expect(3);
        assert_eq!(server.version().as_deref(), Some("1"), "after {step} {state}: {}", said.all());
    }
}

#[test]
fn a_power_cut_and_an_abort_end_with_the_old_version_serving() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    server.release("2");
    power_cut(&server, "start", "succeeded");
    after_the_reboot(&server, &["abort", "--yes"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("1"));
}

#[test]
fn a_command_that_outlived_its_almaplan_is_ended_before_it_is_run_again() {
    let server = Server::new();
    let plan = server.path("long.toml");
    fs::write(
        &plan,
        r#"
        format = 1
        [plan]
        name = "long"
        [steps.long]
        uses = "command"
        compensate = "none"
        with = { program = "sh", args = ["-c", "echo $$ >> begun.txt; while [ ! -e go.txt ]; do sleep 0.05; done; echo done", "{{ plan.dir }}"], cwd = "{{ plan.dir }}", idempotent = true }
        "#,
    )
    .unwrap();
    // The command says which process it is: for a moment its child, not yet `sleep`, looks the same from outside.
    let begun =
        || fs::read_to_string(server.path("begun.txt")).unwrap_or_default().lines().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>();
    let mut child = support::start(&mut server.almaplan(&["apply", "long.toml", "--progress", "json"]));
    wait_until("the command runs", || begun().len() == 1);
    assert!(support::alive(begun()[0]), "it does not run: {:?}", begun());
    child.kill();
    let mut child = support::start(&mut server.almaplan(&["resume", "--progress", "json"]));
    wait_until("it runs again", || begun().len() == 2);
    assert!(!support::alive(begun()[0]), "two at once");
    fs::write(server.path("go.txt"), "").unwrap();
    assert_eq!(child.code(), 0);
}

#[test]
fn a_kill_in_the_middle_of_a_kill_is_survived_three_deep() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    server.release("2");
    for (round, appends) in [(0, 14), (1, 2), (2, 3), (3, 2)] {
        let said = if round == 0 {
            run(server.apply_command(&[]).env("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string()))
        } else {
            crash_after(&server, appends, &["resume", "--progress", "json"])
        };
        assert_eq!(said.code, -1, "round {round}: {}", said.all());
    }
    server.say(&["resume"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
}

#[test]
fn a_backup_killed_halfway_leaves_nothing_once_it_is_aborted() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    // Not a hole, which is read in no time.
    fs::write(server.production().join("uploads/large.bin"), vec![b'x'; 300 << 20]).unwrap();
    server.release("2");
    let mut child = support::start(&mut server.apply_command(&[]));
    let backups = || fs::read_dir(server.path("backups")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let partial = || backups().any(|name| name.ends_with(".partial"));
    wait_until("the backup is being written", partial);
    child.kill();
    assert!(partial(), "it had ended already: make the file larger");
    server.say(&["abort", "--yes"]).expect(0);
    assert!(backups().all(|name| name.ends_with(".zip")), "{:?}", backups().collect::<Vec<_>>());
    assert_eq!(server.version().as_deref(), Some("1"));
}

fn is_runtime_or_manifest(path: &std::path::Path) -> bool {
    is_runtime(path) || path.to_str().unwrap().contains(".almaplan")
}

#[test]
fn an_interrupted_deploy_finishes_under_sigkill_at_random_times() {
    // More than 5 s: the real application is deployed, which stops and boots it, and then recovered.
    let server = serving();
    for (round, ms) in [150_u64, 400, 700, 1100, 1600].into_iter().enumerate() {
        let version = format!("r{round}");
        server.release(&version);
        let mut child = support::start(&mut server.apply_command(&[]));
        // Not a wait for something: the moment itself is what is tried.
        std::thread::sleep(Duration::from_millis(ms));
        let finished = child.is_over();
        if !finished {
            child.kill();
            let said = server.say(&["resume", "--progress", "json"]);
            // Killed before the run was recorded, there is nothing to resume, and nothing was done.
            if server.version().as_deref() != Some(&version) {
                said.expect(0);
                server.apply().expect(0);
            }
        }
        assert_eq!(server.version().as_deref(), Some(version.as_str()), "killed after {ms} ms");
        assert_eq!(server.serving().len(), 1);
    }
}
