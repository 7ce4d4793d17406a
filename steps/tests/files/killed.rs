//! Killed for real, at moments nobody chose, and repeated: the outcome is the same.
//!
//! The process that is killed is this test program, asked by an environment variable to be the victim.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::sync::Sync;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::files::fixture::{World, contents, context};
use crate::files::restore::{archived, check_restored, used_and_deployed};

const FOLDER: &str = "ALMAPLAN_TEST_VICTIM_FOLDER";
const STEP: &str = "ALMAPLAN_TEST_VICTIM_STEP";

/// Not a test: what the victim does. Its records are durable in a file, as those of a run are in its journal.
#[tokio::test(flavor = "multi_thread")]
async fn victim() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else { return };
    let folder = Path::new(&folder).to_owned();
    let file = folder.join(format!("records-{step}.json"));
    let recorded: Map<String, Value> = std::fs::read(&file).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
    let mut all = recorded.clone();
    let keep = std::sync::Mutex::new(move |name: String, value: Value| {
        all.insert(name, value);
        almaplan_steps::files::write_atomically(&file, &serde_json::to_vec(&all).unwrap()).unwrap();
    });
    let keep = move |name, value| keep.lock().unwrap()(name, value);
    let cx = context(&folder, "r1", &step, recorded, Vec::new(), Arc::default(), CancellationToken::new(), Arc::new(|_| {}), keep);
    match step.as_str() {
        "sync" => serde_json::from_value::<Sync>(json!({ "from": "dev", "to": "app" })).unwrap().run(&cx).await.map(drop).unwrap(),
        _ => serde_json::from_value::<Restore>(json!({ "archive": "b.zip", "to": "app" })).unwrap().run(&cx).await.map(drop).unwrap(),
    }
}

/// Starts the victim again and again, and lets each live a little longer. Returns how many were killed before one came through.
fn kill_until_done(world: &World, step: &str) -> u32 {
    let (mut killed, deadline) = (0, Instant::now() + Duration::from_secs(240));
    let mut life = Duration::from_millis(1);
    loop {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["files::killed::victim", "--exact", "--test-threads=1"])
            .env(FOLDER, world.dir.path())
            .env(STEP, step)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + life;
        let status = loop {
            match victim.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= end => break None,
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        };
        if let Some(status) = status {
            let output = victim.wait_with_output().unwrap();
            assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return killed;
        }
        victim.kill().unwrap();
        assert!(Instant::now() < deadline, "it never came through; {killed} were killed");
        victim.wait().unwrap();
        killed += 1;
        life += Duration::from_micros(1500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sync_and_a_killed_restore_end_as_if_never_killed() {
    let world = World::new();
    let code = archived(&world).await;
    for number in 0..300 {
        world.write(&format!("dev/many/{}/{number}.py", number % 7), format!("{number}"));
    }
    used_and_deployed_by_victim(&world).await;
    let mut deployed = contents(&world.path("app"));
    deployed.retain(|name, _| world.has(&format!("dev/{name}")));
    assert_eq!(deployed, contents(&world.path("dev")));
    world.write("app/app.log", "first\nsecond\nTraceback\n");

    assert!(kill_until_done(&world, "restore") > 2);
    check_restored(&world, &code);
    assert!(!world.has("app/many"));
    assert!(world.has("app_failed_20260206_141502/many/0/0.py"));
    assert!(!world.has("app_failed_20260206_141502_2"));
}

async fn used_and_deployed_by_victim(world: &World) {
    // The data and the source of the next release; then again, killed on the way, with many more files.
    used_and_deployed(world, None).await;
    assert!(kill_until_done(world, "sync") > 2);
}
