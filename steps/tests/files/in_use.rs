//! Files and folders that others have in use.

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use serde_json::json;

use crate::example::example;
use crate::files::fixture::World;
use crate::files::restore::{archived, check_restored, used_and_deployed};

/// Opens a file so that nobody else may do anything with it.
fn hold(path: &Path) -> File {
    OpenOptions::new().read(true).share_mode(0).open(path).unwrap()
}

async fn released() -> World {
    let world = World::new();
    world.write("dev/app.py", "v1");
    sync(&world, "r1").await.unwrap();
    world.write("dev/app.py", "v2, longer");
    world
}

async fn sync(world: &World, run: &str) -> Result<(), almaplan_engine::event::Failure> {
    let staged = world.run::<Stage>(run, "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    world.run::<Sync>(run, "sync", json!({ "staged": staged, "to": "app" })).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_held_for_a_while_is_replaced_once_it_is_free() {
    let world = released().await;
    let staged = world.run::<Stage>("r2", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    let held = hold(&world.path("app/app.py"));
    let free = Arc::new(AtomicBool::new(false));
    let freed = Arc::clone(&free);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        freed.store(true, Ordering::SeqCst);
        drop(held);
    });
    world.run::<Sync>("r2", "sync", json!({ "staged": staged, "to": "app" })).await.unwrap();
    assert!(free.load(Ordering::SeqCst), "it was replaced under who held it");
    assert_eq!(world.read("app/app.py"), "v2, longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stays_held_is_named_and_the_step_can_be_repeated() {
    let world = released().await;
    let staged = world.run::<Stage>("r2", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    let held = hold(&world.path("app/app.py"));
    let with = json!({ "staged": staged, "to": "app" });
    let failure = world.run::<Sync>("r2", "sync", with.clone()).await.unwrap_err();
    assert!(failure.message.contains("app.py") && failure.message.contains("another process holds it"), "{}", failure.message);
    drop(held);
    world.run::<Sync>("r2", "sync", with).await.unwrap();
    assert_eq!(world.read("app/app.py"), "v2, longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_somebody_works_in_is_restored_in_place_and_who_does_is_named() {
    let world = World::new();
    let code = archived(&world).await;
    used_and_deployed(&world, None).await;
    // What a process has as its current folder cannot be renamed.
    let mut somebody = Command::new(example("fake_service")).arg("sleep").current_dir(world.path("app")).spawn().unwrap();
    let restored = world.run::<Restore>("r1", "restore", json!({ "archive": "b.zip", "to": "app" })).await;
    somebody.kill().unwrap();
    somebody.wait().unwrap();
    restored.unwrap();
    check_restored(&world, &code);
    let warnings = world.warnings();
    assert!(warnings.contains("restored in place") && warnings.contains("fake_service"), "{warnings}");
    assert_eq!(world.read("app_failed_20260206_141502/app.py"), "v2 is broken");
}
