use almaplan_steps::kinds::stage::{Stage, StageOutput};
use almaplan_steps::kinds::sync::Sync;
use serde_json::{Value, json};

use crate::files::fixture::{World, contents, tree};

async fn stage(world: &World, run: &str) -> StageOutput {
    world.run::<Stage>(run, "stage", json!({ "from": "dev", "to": "app", "exclude": ["*.db", ".venv/"] })).await.unwrap()
}

/// An app that was deployed once, with data, and a new release to deploy.
async fn deployed() -> World {
    let world = World::new();
    world.write("dev/app.py", "v1");
    world.write("dev/same.py", "same");
    world.write("dev/old.py", "old");
    world.write("dev/pkg/gone.py", "gone");
    world.write("dev/becomes-folder", "file");
    world.write("dev/becomes-file/inner.py", "inner");
    world.write("dev/local.db", "never deployed");
    world.write("dev/.almaplan/state.db", "never deployed");
    world.write("app/app.log", "written before almaplan");
    let staged = stage(&world, "r1").await;
    let output = world.run::<Sync>("r1", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert_eq!((output.changed, output.deleted), (6, 0));
    world.write("app/uploads/foto.png", "data");
    world.write("app/pkg/cache.tmp", "data");
    for old in ["dev/old.py", "dev/pkg/gone.py", "dev/becomes-folder", "dev/becomes-file/inner.py"] {
        std::fs::remove_file(world.path(old)).unwrap();
    }
    std::fs::remove_dir(world.path("dev/pkg")).unwrap();
    std::fs::remove_dir(world.path("dev/becomes-file")).unwrap();
    world.write("dev/becomes-file", "now a file");
    world.write("dev/becomes-folder/x.py", "now a folder");
    world.write("dev/app.py", "v2, longer");
    world.write("dev/new/deep/file.py", "new");
    world
}

fn check_deployed(world: &World) {
    let mut expected = contents(&world.path("dev"));
    expected.retain(|name, _| !name.starts_with(".almaplan") && name != "local.db");
    let mut found = contents(&world.path("app"));
    for data in ["app.log", "uploads", "uploads/foto.png", "pkg", "pkg/cache.tmp"] {
        assert!(found.remove(data).is_some(), "{data} is gone");
    }
    assert_eq!(found, expected);
    assert!(!world.has("app/.almaplan-next.json") && !world.has("app/.almaplan-staged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_release_replaces_the_one_before_and_data_stays() {
    let world = deployed().await;
    let staged = stage(&world, "r2").await;
    assert_eq!((staged.added, staged.changed, staged.deleted), (2, 2, 4));
    assert_eq!(std::fs::read_to_string(staged.dir.join("same.py")).unwrap(), "same", "the whole release is staged");
    assert_eq!(world.read("app/app.py"), "v1", "staging touched the target");
    let output = world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert_eq!((output.changed, output.deleted), (4, 4));
    assert_eq!(output.manifest, world.path("app/.almaplan-manifest.json"));
    check_deployed(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_synced_without_being_staged_too() {
    let world = deployed().await;
    let with = json!({ "from": "dev", "to": "app", "exclude": ["*.db", ".venv/"] });
    world.run::<Sync>("r2", "sync", with.clone()).await.unwrap();
    check_deployed(&world);
    let again = world.run::<Sync>("r3", "sync", with).await.unwrap();
    assert_eq!((again.changed, again.deleted), (0, 0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_handles_are_replaced() {
    if crate::files::fixture::with_few_handles("files::sync::more_files_than_handles_are_replaced") {
        return;
    }
    let world = World::new();
    for text in ["v1", "v2, longer"] {
        (0..400).for_each(|number| drop(world.write(&format!("dev/{number}.py"), text)));
        let output = world.run::<Sync>(text, "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
        assert_eq!((output.changed, world.read("app/399.py").as_str()), (400, text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_and_repeated_it_ends_the_same() {
    let mut stopped = 0;
    for stop_at in 1.. {
        let world = deployed().await;
        let with = json!({ "from": "dev", "to": "app", "exclude": ["*.db"] });
        let first = world.run_with::<Sync>("r2", "sync", with.clone(), Vec::new(), Some(stop_at)).await;
        if first.is_ok() {
            check_deployed(&world);
            break;
        }
        stopped += 1;
        world.run::<Sync>("r2", "sync", with).await.unwrap();
        check_deployed(&world);
    }
    assert!(stopped > 10, "it was stopped {stopped} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_begun_and_abandoned_leaves_nothing_behind() {
    let world = deployed().await;
    let staged = stage(&world, "r2").await;
    let with = json!({ "staged": staged.dir, "to": "app" });
    // Of the new release, `new/deep/file.py` is in place when it stops.
    for stop_at in 1.. {
        assert!(stop_at < 50);
        let _ = world.run_with::<Sync>("r2", "sync", with.clone(), Vec::new(), Some(stop_at)).await;
        if world.has("app/new/deep/file.py") {
            break;
        }
    }
    std::fs::remove_dir_all(world.path("dev/new")).unwrap();
    let staged = stage(&world, "r3").await;
    world.run::<Sync>("r3", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    check_deployed(&world);
}

// All runs stage under one name: a folder that somebody keeps there must not be taken for a leftover.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_somebody_made_where_releases_are_staged_is_left_alone() {
    for (kept, with) in
        [("app.almaplan-staged", json!({ "from": "dev", "to": "app" })), ("app/.almaplan-staged", json!({ "from": "dev", "to": "app" }))]
    {
        let world = World::new();
        world.write("dev/app.py", "v1");
        world.write(&format!("{kept}/photo.png"), "by hand");
        let failure = match kept.starts_with("app.") {
            true => world.run::<Stage>("r1", "stage", with).await.unwrap_err(),
            false => world.run::<Sync>("r1", "sync", with).await.unwrap_err(),
        };
        let shown = kept.replace('/', std::path::MAIN_SEPARATOR_STR);
        assert!(failure.clean && failure.message.contains(&format!("{shown} is where releases are staged")), "{failure}");
        assert_eq!(world.read(&format!("{kept}/photo.png")), "by hand");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_that_was_stopped_anywhere_is_replaced_by_the_next_run() {
    let mut left = 0;
    for stop_at in 1.. {
        let world = deployed().await;
        let with = json!({ "from": "dev", "to": "app", "exclude": ["*.db", ".venv/"] });
        let first = world.run_with::<Stage>("r2", "stage", with, Vec::new(), Some(stop_at)).await;
        world.write("dev/app.py", "v3");
        left += usize::from(first.is_err() && world.has("app.almaplan-staged"));
        let staged = stage(&world, "r3").await;
        world.run::<Sync>("r3", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
        check_deployed(&world);
        if first.is_ok() {
            break;
        }
    }
    assert!(left > 2, "{left} times something was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deploy_deletes_nothing() {
    let world = World::new();
    world.write("dev/app.py", "v2");
    world.write("app/app.py", "v1");
    world.write("app/by-hand.py", "kept");
    let staged = stage(&world, "r1").await;
    world.run::<Sync>("r1", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert_eq!((world.read("app/app.py"), world.read("app/by-hand.py")), ("v2".to_owned(), "kept".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_the_target_since_it_was_staged_is_put_right() {
    let world = deployed().await;
    let staged = stage(&world, "r2").await;
    world.write("app/same.py", "somebody edited this");
    world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    check_deployed(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_in_place_is_what_the_staged_folder_says_now() {
    let world = deployed().await;
    let staged = stage(&world, "r2").await;
    let manifest = staged.dir.join(".almaplan-manifest.json");
    let mut release: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    assert!(release["files"].as_object_mut().unwrap().remove("new/deep/file.py").is_some());
    std::fs::write(&manifest, release.to_string()).unwrap();
    world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert!(world.read("app/app.py") == "v2, longer" && !world.has("app/new/deep/file.py"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_a_new_folder_since_it_was_staged_is_missed() {
    let world = deployed().await;
    for other in [None, Some("other.py")] {
        let folder = stage(&world, "r2").await.dir.join("new/deep");
        let lost = folder.join("file.py");
        other.map_or_else(|| std::fs::remove_file(&lost), |other| std::fs::rename(&lost, folder.join(other))).unwrap();
        let failure = world.run::<Sync>("r2", "sync", json!({ "staged": "app.almaplan-staged", "to": "app" })).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("file.py is missing; stage again"), "{failure}");
        assert!(world.read("app/app.py") == "v1" && !world.has("app/new"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deployed_since_it_was_staged_is_replaced_too() {
    let world = deployed().await;
    let staged = stage(&world, "r2").await;
    world.write("other/app.py", "v3, longer still");
    world.write("other/of_v3.py", "of v3 alone");
    world.run::<Sync>("r3", "sync", json!({ "from": "other", "to": "app" })).await.unwrap();
    let output = world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert_eq!(output.deleted, 1, "of_v3.py belonged to the release before");
    check_deployed(&world);
}

// Whoever adds `*.db` to `exclude` wants the database of production to be safe, not deleted because the release has none.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_from_now_on_is_not_deleted() {
    let world = World::new();
    world.write("dev/app.py", "v1");
    world.write("dev/shop.db", "shipped once by mistake");
    world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    world.write("app/shop.db", "in use since");
    let staged = stage(&world, "r2").await;
    assert_eq!(staged.deleted, 0);
    world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert_eq!(world.read("app/shop.db"), "in use since");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_still_being_written_is_not_staged() {
    // Half of a build would be deployed.
    let world = World::new();
    let source = world.write("dev/app.js", "half of a bundle");
    let goes_on = move || {
        let mut file = std::fs::File::options().append(true).open(&source).unwrap();
        std::io::Write::write_all(&mut file, b", and more").unwrap();
    };
    let failure = world.run_watched::<Stage>("r", "stage", json!({ "from": "dev", "to": "app" }), goes_on).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("app.js"), "{failure}");
    assert!(!world.has("app.almaplan-staged"), "half of a release was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_twice_leaves_the_newer_source() {
    let world = deployed().await;
    let first = stage(&world, "r2").await;
    world.write("dev/app.py", "v3");
    std::fs::remove_file(world.path("dev/new/deep/file.py")).unwrap();
    let second = stage(&world, "r2").await;
    assert_eq!(first.dir, second.dir);
    assert_eq!(std::fs::read_to_string(second.dir.join("app.py")).unwrap(), "v3");
    assert!(!second.dir.join("new/deep/file.py").exists());
}

#[tokio::test]
async fn what_would_destroy_is_refused_clean() {
    let world = World::new();
    world.write("dev/app.py", "v1");
    std::fs::create_dir(world.path("empty")).unwrap();
    for (with, says) in [
        (json!({ "from": "missing", "to": "app" }), "no folder"),
        (json!({ "from": "empty", "to": "app" }), "no files"),
        (json!({ "from": "dev", "to": "dev/app" }), "inside one another"),
        (json!({ "from": "dev", "to": "dev" }), "inside one another"),
    ] {
        let staged = world.run::<Stage>("r", "stage", with.clone()).await.map(|_| ()).unwrap_err();
        let synced = world.run::<Sync>("r", "sync", with).await.map(|_| ()).unwrap_err();
        for failure in [staged, synced] {
            assert!(failure.clean && failure.message.contains(says), "{failure:?}");
        }
    }
    let failure = world.run::<Sync>("r", "sync", json!({ "staged": "empty", "to": "app" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("run `stage` again"), "{failure:?}");
    assert!(!world.has("app"), "a refusal made the target");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_in_the_way_of_the_release_is_refused_clean() {
    let world = deployed().await;
    world.write("app/new", "a user's file where the release has a folder");
    let before = tree(&world.path("app"));
    let staged = stage(&world, "r2").await;
    let failure = world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("belongs to no release"), "{failure:?}");
    let failure = world.run::<Sync>("r2", "other", json!({ "from": "dev", "to": "app" })).await.unwrap_err();
    assert!(failure.clean && !world.has("app/.almaplan-staged"), "{failure:?}");
    assert_eq!(tree(&world.path("app")), before);
}

fn make_database(path: std::path::PathBuf, value: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(&format!("CREATE TABLE t (n); INSERT INTO t VALUES ({value})")).unwrap();
}

// Its rows are in its journal. Whoever deployed it may not have come to the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_deployed_since_it_was_staged_is_left_alone() {
    let mut begun = 0;
    for stop_at in 1.. {
        let world = deployed().await;
        make_database(world.path("dev/a.sqlite"), 2);
        let staged = stage(&world, "r2").await;
        let with = json!({ "from": "dev", "to": "app", "exclude": ["*.db"] });
        let ended = world.run_with::<Sync>("r3", "sync", with, Vec::new(), Some(stop_at)).await.is_ok();
        if !world.has("app/a.sqlite") {
            continue;
        }
        begun += usize::from(world.has("app/.almaplan-next.json"));
        world.write("app/a.sqlite-wal", "what the service wrote");
        let output = world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
        assert!(world.has("app/a.sqlite-wal"), "stopped at {stop_at}");
        if ended {
            assert_eq!((output.changed, output.deleted), (0, 0));
            break;
        }
    }
    assert!(begun > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_release_never_meets_the_journal_of_another() {
    let world = World::new();
    world.write("dev/app.py", "v1");
    make_database(world.path("dev/seed.db"), 2);
    make_database(world.path("app/seed.db"), 1);
    world.write("app/seed.db-wal", "of the old one");
    world.run::<Sync>("r", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    assert!(!world.has("app/seed.db-wal"));
    let database = rusqlite::Connection::open(world.path("app/seed.db")).unwrap();
    assert_eq!(database.query_row("SELECT n FROM t", [], |row| row.get::<_, u32>(0)).unwrap(), 2);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn copies_keep_modes_times_and_links_and_replace_read_only_files() {
    use crate::files::fixture::{chmod, link};
    let world = World::new();
    chmod(&world.write("dev/run.sh", "#!/bin/sh"), 0o755);
    chmod(&world.write("dev/read-only", "new"), 0o444);
    chmod(&world.write("app/read-only", "old"), 0o444);
    link("run.sh", &world.path("dev/link"));
    std::fs::create_dir_all(world.path("dev/empty")).unwrap();
    chmod(&world.path("dev/empty"), 0o750);
    let staged = stage(&world, "r").await;
    world.run::<Sync>("r", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    let files = |name: &str| tree(&world.path(name)).into_iter().filter(|(_, what)| !what.starts_with("folder")).collect::<Vec<_>>();
    assert_eq!(files("app"), files("dev"));
    assert_eq!(contents(&world.path("app")), contents(&world.path("dev")));
}
