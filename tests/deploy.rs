//! The production plan deploys the real sample application, and brings the old version back when it must.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::SOON;
use crate::support::{self, Running, Server, http, is_runtime, run, tree};

#[test]
fn first_deploy_on_an_empty_folder_serves() {
    let server = Server::new();
    let said = server.apply().expect(0);
    assert_eq!(said.outcome(), "succeeded", "{}", said.stdout);
    assert_eq!(server.version().as_deref(), Some("1"));
    assert!(server.deploy_log().contains("Sucesso"), "{}", server.deploy_log());
    assert_eq!(server.serving().len(), 1, "{:?}", server.serving());
}

#[test]
fn an_update_under_load_is_short_and_says_how_long_it_took() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    let (stop, port) = (Arc::new(AtomicBool::new(false)), server.port);
    let client = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let (mut good, mut bad) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match http(port, "GET", "/", "", "") {
                    Ok((200, _)) => good.push(Instant::now()),
                    _ => bad += 1,
                }
                std::thread::sleep(Duration::from_millis(20).saturating_sub(begun.elapsed()));
            }
            let longest = good.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            (good.len(), bad, longest)
        }
    });
    let said = server.apply();
    stop.store(true, Ordering::Relaxed);
    let (good, bad, longest) = client.join().unwrap();
    let said = said.expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
    assert!(good > 50 && bad > 0, "the load was no load: {good} answers, {bad} refusals");
    let live = said.events().into_iter().find(|event| event["event"] == "live").expect("a line that says that it is live");
    let measured = live["downtime_ms"].as_u64().expect("the measured downtime");
    eprintln!("measured downtime {measured} ms; longest pause of a client {} ms", longest.as_millis());
    assert!(server.deploy_log().contains("Sucesso"));
    assert!(
        server.production().join("static/v2.css").exists() && !server.production().join("static/v1.css").exists()
            || server.path("dev/static/v1.css").exists()
    );
}

#[test]
fn programs_are_compiled_before_the_stop_and_need_not_be_by_the_service() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    fs::write(server.path("dev/database.py"), fs::read_to_string(server.path("dev/database.py")).unwrap() + "# 2\n").unwrap();
    let said = server.apply().expect(0);
    let update = said.events().into_iter().find(|event| event["step"] == "update" && event["state"] == "succeeded").unwrap();
    // VERSION, a page, a style, one program, and that compiled: of what is the same nothing was put in place again.
    assert_eq!(update["outputs"]["changed"], 5, "{update}");
    let compiled = |folder: &str| {
        let folder = server.path(folder).join("__pycache__");
        let entry = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let path = entry.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("database.")).unwrap();
        fs::read(path).unwrap()
    };
    assert_eq!(compiled("produção"), compiled("produção_compilada"), "Python compiled it anew");
}

#[test]
fn a_version_that_fails_its_trial_never_takes_the_old_one_down() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let mut server = Server::new();
    server.deploy_first();
    server.set("health_deadline", SOON);
    server.set("trial_port", &support::free_port().to_string());
    let (before, pid) = (tree(&server.production(), &is_runtime), server.pid());
    server.release("2");
    for (fault, failed) in [(r#"{"no_start": true}"#, "trial"), (r#"{"login_500": true}"#, "trial_health")] {
        server.faults(fault);
        let said = server.apply().expect(3);
        assert_eq!(said.states(failed).last().unwrap(), if failed == "trial" { "undone" } else { "failed" }, "{}", said.stdout);
        assert!(!said.states("stop").contains(&"started".to_owned()));
        assert_eq!((tree(&server.production(), &is_runtime), server.pid()), (before.clone(), pid));
        assert_eq!(server.serving().len(), 1, "the trial goes on: {:?}", server.serving());
    }
    server.faults("{}");
    server.apply().expect(0);
    assert_eq!(server.version().as_deref(), Some("2"));
    assert_eq!(server.serving().len(), 1, "{:?}", server.serving());
}

#[test]
fn failing_tests_touch_nothing() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let server = Server::new();
    server.deploy_first();
    let (before, pid) = (tree(&server.production(), &is_runtime), server.pid());
    server.release("2");
    server.faults(r#"{"tests_fail": true}"#);
    let said = server.apply().expect(3);
    assert_eq!(said.states("tests").last().unwrap(), "failed");
    assert_eq!(tree(&server.production(), &is_runtime), before);
    assert_eq!(server.pid(), pid, "the old version was stopped");
    assert!(server.deploy_log().contains("Falha"), "{}", server.deploy_log());
}

#[test]
fn a_requirement_that_does_not_exist_stops_nothing() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let environments = tempfile::tempdir().unwrap();
    let mut server = Server::new();
    server.deploy_first();
    let pid = server.pid();
    server.set("environments", &format!("'{}'", environments.path().display()));
    server.release("2");
    fs::write(server.path("dev/requirements.txt"), "almaplan-has-no-such-requirement==1.2.3\n").unwrap();
    server.set("packages", "[]");
    // Nobody needs to ask the network.
    let said = run(server.apply_command(&[]).env("PIP_NO_INDEX", "1")).expect(3);
    assert!(said.all().contains("almaplan-has-no-such-requirement"), "{}", said.all());
    assert_eq!(server.pid(), pid);
}

/// Deploys a version 2 with `faults` over a version 1 that is in use; everything must be as version 1 left it, but for what
/// users wrote meanwhile.
fn a_faulty_version_is_rolled_back(faults: &str, vars: &[(&str, &str)]) {
    let mut server = Server::new();
    server.deploy_first();
    server.order("antes-do-backup");
    let before = tree(&server.production(), &is_runtime);
    server.release("2");
    server.faults(faults);
    for (name, value) in vars {
        server.set(name, value);
    }
    // Written after the backup was taken, before the service stops: while the new code's tests run.
    let mut command = server.apply_command(&[]);
    let child = support::start(&mut command);
    support::wait_until("the backup is taken", || {
        server
            .path("backups")
            .read_dir()
            .is_ok_and(|entries| entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "zip")).count() == 2)
    });
    server.order("depois-do-backup");
    fs::write(server.production().join("uploads/depois do backup.txt"), "foto").unwrap();
    let said = child.said().expect(3);
    assert_eq!(said.outcome(), "compensated", "{faults}: {}", said.stdout);
    assert_eq!(server.version().as_deref(), Some("1"), "{faults}");
    assert_eq!(tree(&server.production(), &is_runtime), before, "{faults}");
    let failed = server.failed_folders();
    assert_eq!(failed.len(), 1, "{faults}: {failed:?}");
    assert_eq!(fs::read_to_string(failed[0].join("VERSION")).unwrap().trim(), "2", "{faults}");
    let customers = server.customers();
    assert!(customers.contains("antes-do-backup") && customers.contains("depois-do-backup"), "{faults}: {customers}");
    assert_eq!(fs::read_to_string(server.production().join("uploads/depois do backup.txt")).unwrap(), "foto", "{faults}");
    assert!(server.deploy_log().contains("Rollback"), "{faults}: {}", server.deploy_log());
    assert!(said.events().iter().any(|event| event["event"] == "unwinding"), "{faults}: no alert");
    assert_eq!(server.serving().len(), 1, "{faults}: {:?}", server.serving());
}

#[test]
fn a_version_that_does_not_start_is_rolled_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"no_start": true}"#, &[]);
}

#[test]
fn a_version_that_dies_after_its_start_is_rolled_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"die_after_s": 0.05}"#, &[]);
}

#[test]
fn a_version_that_cannot_log_in_is_rolled_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"login_500": true}"#, &[("health_deadline", SOON)]);
}

#[test]
fn a_version_that_logs_a_traceback_is_rolled_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"traceback_in_log": true}"#, &[]);
}

#[test]
fn a_version_that_is_slow_beyond_the_deadline_is_rolled_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"slow_start_s": 60}"#, &[("start_deadline", "\"2s\"")]);
}

#[test]
fn what_an_old_version_had_only_in_its_write_ahead_log_survives_a_rollback() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let mut server = Server::new();
    server.set("stop_grace", "\"300ms\"");
    // It has to be killed, so SQLite never merges what is in its `-wal`.
    server.faults(r#"{"ignore_stop": true}"#);
    server.deploy_first();
    server.order("so-no-wal");
    let wal = server.production().join("almareia.db-wal");
    assert!(fs::metadata(&wal).unwrap().len() > 0, "nothing is in the write-ahead log");
    server.release("2");
    server.faults(r#"{"no_start": true}"#);
    let said = server.apply().expect(3);
    assert_eq!(said.outcome(), "compensated");
    assert!(server.customers().contains("so-no-wal"));
}

#[test]
fn a_version_that_ignores_a_gentle_stop_is_rolled_back_all_the_same() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    a_faulty_version_is_rolled_back(r#"{"login_500": true, "ignore_stop": true}"#, &[("health_deadline", SOON)]);
}

#[test]
fn a_strangers_program_on_the_port_is_left_alone() {
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let mut python = support::command("python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", &server.port.to_string()]).current_dir(folder.path());
    let mut stranger = Running::spawn(python.stdout(Stdio::null()).stderr(Stdio::null()));
    support::wait_until("the stranger listens", || http(server.port, "GET", "/", "", "").is_ok());
    // It is undone, and what must answer does not (rule 21).
    let said = server.apply().expect(8);
    assert!(!stranger.is_over(), "the stranger was stopped");
    assert!(said.all().contains("http.server") && said.all().contains(&stranger.id().to_string()), "{}", said.all());
    assert!(!server.production().join("serve.py").exists());
}

#[test]
fn rollback_after_a_success_brings_the_old_version_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    server.apply().expect(0);
    server.order("na-versao-2");
    assert_eq!(server.say(&["rollback"]).expect(9).code, 9, "without a terminal it must ask for --yes");
    assert_eq!(server.version().as_deref(), Some("2"));
    server.say(&["rollback", "--yes"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("1"));
    assert!(server.customers().contains("na-versao-2"));
    assert!(server.deploy_log().contains("Rollback"), "{}", server.deploy_log());
}

#[test]
fn a_missing_backup_leaves_the_run_stuck_until_it_is_back() {
    // More than 5 s: the real application is deployed twice or more, and each time stops and boots.
    let mut server = Server::new();
    server.set("health_deadline", SOON);
    server.deploy_first();
    server.release("2");
    server.faults(r#"{"login_500": true}"#);
    let hidden = server.path("hidden.zip");
    let mut command = server.apply_command(&[]);
    let child = support::start(&mut command);
    let mut archive = None;
    support::wait_until("the new version's backup", || {
        let mut zips: Vec<_> = server.path("backups").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        zips.retain(|path| path.extension().is_some_and(|end| end == "zip"));
        zips.sort();
        archive = zips.pop().filter(|_| zips.len() == 1);
        archive.is_some()
    });
    let archive = archive.unwrap();
    // The backup step reads it back before it counts: take it away only once the service is being stopped.
    support::wait_until("the new version is in place", || server.production().join("faults.json").exists());
    fs::rename(&archive, &hidden).unwrap();
    let said = child.said().expect(4);
    assert_eq!(said.outcome(), "stuck");
    assert!(said.stderr.contains("resume") && said.all().contains(archive.to_str().unwrap()), "{}", said.all());
    let status = server.status();
    assert_eq!(status["outcome"], "stuck");
    assert!(status["owed"].as_array().unwrap().iter().any(|step| step == "update"), "{status}");
    assert!(status["next"].to_string().contains("resume"), "{status}");
    fs::rename(&hidden, &archive).unwrap();
    let said = run(&mut server.almaplan(&["resume", "--progress", "json"])).expect(3);
    assert_eq!(said.outcome(), "compensated");
    assert_eq!(server.version().as_deref(), Some("1"));
}
