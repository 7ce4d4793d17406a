//! The kind `service-control`, with a stand-in for the managers that really supervises a process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use almaplan_engine::event::Failure;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::service_control::{ServiceControl, ServiceControlOutput, State};
use serde_json::{Map, Value, json};

use super::fixture::{Seen, context, context_after, kind};
#[cfg(unix)]
use super::manager::unit;
use super::manager::{Habits, Manager};

/// Each manager, and what it calls the service.
const MANAGERS: [(&str, &str); 3] =
    [("systemd", "almareia.service"), ("windows-service", "AlmareiaWeb"), ("scheduled-task", r"\Almareia\Servidor")];

/// A folder with a manager and its service; nothing is left running at the end.
struct Place {
    folder: tempfile::TempDir,
    called: (&'static str, &'static str),
    manager: Manager,
}

impl Place {
    fn new(called: (&'static str, &'static str), habits: Habits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = Manager::new(called.0, habits, folder.path());
        Self { folder, called, manager }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn control(&self, state: Value) -> (Result<ServiceControlOutput, Failure>, Seen) {
        self.control_after(state, Map::new()).await
    }

    /// As a further attempt, with what earlier ones recorded.
    async fn control_after(&self, state: Value, recorded: Map<String, Value>) -> (Result<ServiceControlOutput, Failure>, Seen) {
        let (cx, _, seen) = context_after(self.path(), recorded, Vec::new());
        (self.kind(state, self.called.1).run(&cx).await, seen)
    }

    fn kind(&self, state: Value, name: &str) -> ServiceControl {
        kind(json!({ "manager": self.called.0, "name": name, "state": state, "deadline": "5s", "tool": tool() }))
    }

    fn pid(&self) -> Option<u32> {
        self.manager.pid()
    }
}

/// `tests/programs/service_tool.rs`, built.
fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| crate::example::example("service_tool"))
}

#[tokio::test]
async fn each_manager_starts_stops_and_restarts_and_tells_what_was_there_before() {
    for manager in MANAGERS {
        for portuguese in [false, true] {
            let place = Place::new(manager, Habits { takes: Duration::from_millis(100), portuguese, ..Habits::default() });
            let (started, seen) = place.control(json!("running")).await;
            let started = started.unwrap();
            assert_eq!((started.before, started.changed), (Some(State::Stopped), true), "{manager:?}");
            assert_eq!(seen.recorded()["before"], "stopped");
            let first = place.pid().expect("it outlives the tool that started it");
            assert!(manager.0 == "scheduled-task" || started.pid == Some(first), "{started:?}");

            let again = place.control(json!("running")).await.0.unwrap();
            assert_eq!((again.before, again.changed), (Some(State::Running), false), "{manager:?}");
            assert_eq!(place.pid(), Some(first));

            let restarted = place.control(json!("restarted")).await.0.unwrap();
            assert_eq!((restarted.before, restarted.changed), (Some(State::Running), true));
            assert!(place.pid().is_some_and(|pid| pid != first), "{manager:?}");

            let stopped = place.control(json!("stopped")).await.0.unwrap();
            assert_eq!((stopped.before, stopped.pid, stopped.changed), (Some(State::Running), None, true));
            assert_eq!(place.pid(), None, "{manager:?}");
        }
    }
}

#[tokio::test]
async fn as_a_compensation_it_restores_what_was_recorded_before_the_effect() {
    for manager in MANAGERS {
        let place = Place::new(manager, Habits::default());
        place.control(json!("running")).await.0.unwrap();
        // Interrupted behind its effect: the rerun finds it stopped, and still knows that it ran.
        let (_, seen) = place.control(json!("stopped")).await;
        let (rerun, _) = place.control_after(json!("stopped"), seen.recorded()).await;
        let before = rerun.unwrap().before;
        assert_eq!(before, Some(State::Running), "{manager:?}");
        place.control(json!(before)).await.0.unwrap();
        assert!(place.pid().is_some(), "{manager:?}");
        // Interrupted before it looked, it owes nothing.
        place.control(Value::Null).await.0.unwrap();
        assert!(place.pid().is_some(), "{manager:?}");
    }
}

#[tokio::test]
async fn a_service_that_nobody_knows_is_an_error_that_names_it_and_nothing_is_asked() {
    for manager in MANAGERS {
        let place = Place::new(manager, Habits::default());
        let failure = place.kind(json!("running"), "Nobody").run(&context(place.path()).0).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("`Nobody`"), "{failure:?}");
        assert!(!place.manager.was_asked(), "{manager:?}");
    }
}

#[tokio::test]
async fn a_service_that_ends_at_once_is_a_failure_that_owes() {
    for manager in MANAGERS {
        let place = Place::new(manager, Habits { broken: true, ..Habits::default() });
        let failure = place.control(json!("running")).await.0.unwrap_err();
        assert!(!failure.clean, "{failure:?}");
        assert!(failure.message.contains(manager.1) && failure.message.contains("started"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_stop_that_does_not_come_to_its_end_is_late() {
    let place = Place::new(MANAGERS[1], Habits { stuck: true, ..Habits::default() });
    place.control(json!("running")).await.0.unwrap();
    let failure = place.control(json!("stopped")).await.0.unwrap_err();
    assert!(!failure.clean && failure.message.contains("is not stopped after 5s: STOP_PENDING"), "{failure:?}");
    assert!(place.pid().is_some());
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_named() {
    let (manager, tool) = if cfg!(windows) { ("systemd", "systemctl") } else { ("scheduled-task", "powershell.exe") };
    let with = json!({ "manager": manager, "name": "x", "state": "running" });
    let folder = tempfile::tempdir().unwrap();
    let failure = kind::<ServiceControl>(with).run(&context(folder.path()).0).await.unwrap_err();
    assert!(failure.clean && failure.message.contains(tool) && failure.message.contains("`manager`"), "{failure:?}");
}

/// The stand-in reads the unit as systemd would: so it must be one.
#[cfg(unix)]
#[test]
fn the_unit_of_these_tests_is_one_to_systemd() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("almareia.service");
    std::fs::write(&file, unit()).unwrap();
    match std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("not tried: systemd-analyze: {error}"),
    }
}

// There is no systemd elsewhere.
#[cfg(unix)]
#[tokio::test]
async fn where_no_systemd_runs_its_own_words_are_told() {
    if !Path::new("/usr/bin/systemctl").exists() || Path::new("/run/systemd/system").exists() {
        eprintln!("not tried: systemctl is missing here, or its systemd runs");
        return;
    }
    let with = json!({ "manager": "systemd", "name": "ssh.service", "state": "stopped" });
    let folder = tempfile::tempdir().unwrap();
    let failure = kind::<ServiceControl>(with).run(&context(folder.path()).0).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("booted with systemd"), "{failure:?}");
}
