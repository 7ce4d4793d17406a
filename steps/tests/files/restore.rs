use std::path::PathBuf;

use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::restore::{Restore, RestoreOutput};
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use rusqlite::Connection;
use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::files::fixture::Volume;
use crate::files::fixture::{World, contents, tree};

fn database(path: PathBuf) -> Connection {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let database = Connection::open(path).unwrap();
    database.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE IF NOT EXISTS t (n)").unwrap();
    database
}

fn rows(path: PathBuf) -> u32 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// A deployed release with data, the archive of it, and the code as it was then.
pub async fn archived(world: &World) -> std::collections::BTreeMap<String, String> {
    world.write("dev/app.py", "v1");
    world.write("dev/pkg/old.py", "old");
    world.write("dev/settings.ini", "release");
    let dir = world.run::<Stage>("r0", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    world.run::<Sync>("r0", "sync", json!({ "staged": dir, "to": "app" })).await.unwrap();
    let code = tree(&world.path("app"));
    world.write("app/uploads/before.png", "before");
    world.write("app/uploads/deleted-later.png", "before");
    world.write("app/app.log", "first\n");
    database(world.path("app/data.db")).execute_batch("INSERT INTO t VALUES (1)").unwrap();
    world.run::<Backup>("r1", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    code
}

/// Writes as users do after the backup, then deploys the next release. The database stays as a stopped service leaves it: with a journal.
pub async fn used_and_deployed(world: &World, keep_data: Option<&str>) {
    world.write("app/uploads/after.png", "after");
    std::fs::remove_file(world.path("app/uploads/deleted-later.png")).unwrap();
    world.write("app/app.log", "first\nsecond\n");
    let live = database(world.path("app/data.db"));
    live.execute_batch("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)").unwrap();
    // As if killed: the journal stays, with what was committed.
    let journal = std::fs::read(world.path("app/data.db-wal")).unwrap();
    let main = std::fs::read(world.path("app/data.db")).unwrap();
    drop(live);
    world.write("app/data.db", main);
    world.write("app/data.db-wal", journal);

    std::fs::remove_file(world.path("dev/pkg/old.py")).unwrap();
    world.write("dev/app.py", "v2 is broken");
    world.write("dev/brand/new.py", "new");
    let dir = world.run::<Stage>("r1", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    world.run::<Sync>("r1", "sync", json!({ "staged": dir, "to": "app", "keep_data": keep_data })).await.unwrap();
    world.write("app/app.log", "first\nsecond\nTraceback\n");
}

pub fn check_restored(world: &World, code: &std::collections::BTreeMap<String, String>) {
    let found = tree(&world.path("app"));
    for (name, what) in code {
        // The folder of a file has the time at which that file was put there.
        if !what.starts_with("folder") {
            assert_eq!(found.get(name), Some(what), "{name}");
        }
    }
    assert!(!world.has("app/brand"), "the new release is still there");
    assert_eq!(world.read("app/uploads/after.png"), "after");
    assert_eq!(world.read("app/uploads/before.png"), "before");
    assert!(!world.has("app/uploads/deleted-later.png"));
    assert_eq!(rows(world.path("app/data.db")), 3, "rows that were committed after the backup are lost");
    assert!(!world.has("app/.almaplan-next.json") && !world.has("app/.almaplan-failed.json"));
    let leftovers = std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let leftovers: Vec<String> = leftovers.filter(|name| name.contains("restoring") || name.contains("removing")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

fn with() -> Value {
    json!({ "archive": "b.zip", "to": "app" })
}

async fn restore(world: &World, with: Value) -> RestoreOutput {
    world.run::<Restore>("r1", "restore", with).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_back_byte_for_byte_and_data_written_since_survives() {
    let world = World::new();
    let code = archived(&world).await;
    used_and_deployed(&world, None).await;
    let broken = contents(&world.path("app"));
    let output = restore(&world, with()).await;
    check_restored(&world, &code);
    assert_eq!(world.read("app/app.log"), "first\nsecond\nTraceback\n");
    assert_eq!(output.failed, Some(world.path("app_failed_20260206_141502")));
    let mut failed = contents(&output.failed.unwrap());
    // Opened for counting its rows just now, in its new place only.
    failed.retain(|name, _| !name.starts_with("data.db"));
    assert!(failed.iter().all(|(name, what)| broken.get(name) == Some(what)), "the failed folder was not kept as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_after_the_end_changes_nothing() {
    let world = World::new();
    let code = archived(&world).await;
    used_and_deployed(&world, None).await;
    let first = restore(&world, with()).await;
    let after = tree(&world.path("app"));
    let again = restore(&world, with()).await;
    assert_eq!((again.failed, again.files), (first.failed, first.files));
    // Another step of the same run, which knows no records of the first.
    world.run::<Restore>("r1", "another", with()).await.unwrap();
    assert_eq!(tree(&world.path("app")), after);
    assert!(!world.has("app_failed_20260206_141502_2"), "the restored folder was taken for a failed one");
    check_restored(&world, &code);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_and_repeated_it_ends_the_same() {
    let mut stopped = 0;
    for stop_at in 1.. {
        let world = World::new();
        let code = archived(&world).await;
        used_and_deployed(&world, None).await;
        let first = world.run_with::<Restore>("r1", "restore", with(), Vec::new(), Some(stop_at)).await;
        let ended = first.is_ok();
        restore(&world, with()).await;
        check_restored(&world, &code);
        if ended {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 5, "it was stopped {stopped} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_two_renames_is_finished() {
    let world = World::new();
    let code = archived(&world).await;
    used_and_deployed(&world, None).await;
    restore(&world, with()).await;
    // As it stood right before the second rename.
    std::fs::rename(world.path("app"), world.path("app.restoring-r1")).unwrap();
    restore(&world, with()).await;
    check_restored(&world, &code);
    // And where what was built is lost as well, it is built again from the archive and the failed folder.
    std::fs::remove_dir_all(world.path("app")).unwrap();
    restore(&world, with()).await;
    check_restored(&world, &code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_got_half_way_is_undone_whole() {
    let mut halves = 0;
    for stop_at in 1.. {
        let world = World::new();
        let code = archived(&world).await;
        world.write("app/uploads/after.png", "after");
        std::fs::remove_file(world.path("app/uploads/deleted-later.png")).unwrap();
        database(world.path("app/data.db")).execute_batch("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)").unwrap();
        std::fs::remove_file(world.path("dev/pkg/old.py")).unwrap();
        world.write("dev/app.py", "v2");
        world.write("dev/brand/new.py", "new");
        let sync = json!({ "from": "dev", "to": "app" });
        let ended = world.run_with::<Sync>("r1", "sync", sync, Vec::new(), Some(stop_at)).await.is_ok();
        halves += u32::from(world.has("app/.almaplan-next.json"));
        restore(&world, with()).await;
        check_restored(&world, &code);
        if ended {
            break;
        }
    }
    assert!(halves >= 3, "only {halves} were really half way");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_can_be_as_it_was_at_the_stop() {
    let world = World::new();
    let code = archived(&world).await;
    used_and_deployed(&world, Some("kept")).await;
    let live = database(world.path("app/data.db"));
    live.execute_batch("INSERT INTO t VALUES (4)").unwrap();
    drop(live);
    world.write("app/uploads/by-the-broken-version.png", "x");
    restore(&world, json!({ "archive": "b.zip", "to": "app", "data": "at-stop" })).await;
    check_restored(&world, &code);
    assert_eq!(world.read("app/app.log"), "first\nsecond\n");
    assert!(!world.has("app/uploads/by-the-broken-version.png"));
}

// Whoever owns the deployed folder writes in its manifest what he likes: root read out any folder for him.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_the_manifest_names_as_the_data_kept_must_say_so_itself() {
    let world = World::new();
    archived(&world).await;
    used_and_deployed(&world, Some("kept")).await;
    world.write("private/key", "secret");
    let manifest = world.read("app/.almaplan-manifest.json");
    let (kept, private) = (json!(world.path("kept")).to_string(), json!(world.path("private")).to_string());
    assert!(manifest.contains(&kept));
    world.write("app/.almaplan-manifest.json", manifest.replace(&kept, &private));
    let failure = world.run::<Restore>("r1", "restore", json!({ "archive": "b.zip", "to": "app", "data": "at-stop" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("the data kept at the stop is missing"), "{failure:?}");
    assert!(!world.has("app/key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn preserve_keeps_a_release_file_as_it_is_now() {
    let world = World::new();
    archived(&world).await;
    used_and_deployed(&world, None).await;
    world.write("app/settings.ini", "edited since");
    restore(&world, json!({ "archive": "b.zip", "to": "app", "preserve": ["*.ini"] })).await;
    assert_eq!(world.read("app/settings.ini"), "edited since");
    assert_eq!(world.read("app/app.py"), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_deployed_by_hand_before_is_restored_after_its_first_deploy() {
    let world = World::new();
    world.write("app/app.py", "by hand");
    world.write("app/helper.py", "by hand");
    world.write("app/note.txt", "data");
    world.run::<Backup>("r1", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    world.write("dev/app.py", "v1");
    world.write("dev/added.py", "v1");
    world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    world.write("app/note.txt", "data, edited since");
    restore(&world, with()).await;
    let names: Vec<String> = tree(&world.path("app")).into_keys().collect();
    assert_eq!(names, ["app.py", "helper.py", "note.txt"]);
    assert_eq!((world.read("app/app.py"), world.read("app/note.txt")), ("by hand".to_owned(), "data, edited since".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_exist_does_not_exist_again_but_for_its_data() {
    for writes_data in [false, true] {
        let world = World::new();
        world.run::<Backup>("r1", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
        world.write("dev/app.py", "v1");
        world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
        if writes_data {
            world.write("app/app.log", "Traceback");
        }
        for _ in 0..2 {
            let output = restore(&world, with()).await;
            assert_eq!(output.failed, Some(world.path("app_failed_20260206_141502")));
            assert_eq!(world.has("app"), writes_data);
            assert!(world.has("app_failed_20260206_141502/app.py") && !world.has("app/app.py"));
        }
        assert!(!writes_data || world.read("app/app.log") == "Traceback");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_an_empty_folder_again() {
    let world = World::new();
    std::fs::create_dir(world.path("app")).unwrap();
    world.run::<Backup>("r1", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    world.write("dev/app.py", "v1");
    world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    restore(&world, with()).await;
    assert!(world.has("app") && tree(&world.path("app")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_archive_changes_nothing_and_says_what_to_do() {
    let world = World::new();
    archived(&world).await;
    used_and_deployed(&world, None).await;
    std::fs::rename(world.path("b.zip"), world.path("moved.zip")).unwrap();
    let before = tree(&world.path("app"));
    let failure = world.run::<Restore>("r1", "restore", with()).await.unwrap_err();
    assert!(failure.clean, "{failure:?}");
    assert_eq!(failure.message, format!("the archive {} is missing; put it back, then `almaplan resume`", world.path("b.zip").display()));
    assert_eq!(tree(&world.path("app")), before);
    std::fs::rename(world.path("moved.zip"), world.path("b.zip")).unwrap();
    restore(&world, with()).await;
    assert_eq!(world.read("app/app.py"), "v1");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_has_no_room_beside_it_is_left_alone() {
    let home = World::new();
    let Some(_volume) = Volume::mount(home.path("small"), &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]) else { return };
    let world = World::on(&home.path("small"));
    archived(&world).await;
    used_and_deployed(&world, None).await;
    // A hole takes no room, and neither does another name of a file.
    std::fs::File::create(world.path("app/uploads/holes.img")).unwrap().set_len(64 << 20).unwrap();
    world.write("app/uploads/video.mp4", vec![7; 2 << 20]);
    for number in 0..4 {
        std::fs::hard_link(world.path("app/uploads/video.mp4"), world.path(&format!("app/uploads/{number}.mp4"))).unwrap();
    }
    world.write("app/uploads/more.mp4", vec![7; 3 << 20]);
    // Whatever it does all the same ends at the first sign of progress.
    let failure = world.run_with::<Restore>("r1", "restore", with(), Vec::new(), Some(1)).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("make room"), "{failure:?}");
    assert!(world.has("app/brand/new.py") && !world.has("app_failed_20260206_141502"));
    std::fs::remove_file(world.path("app/uploads/more.mp4")).unwrap();
    restore(&world, with()).await;
    assert_eq!(world.read("app/app.py"), "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_inside_the_folder_that_is_replaced_is_refused() {
    let world = World::new();
    archived(&world).await;
    std::fs::rename(world.path("b.zip"), world.path("app/b.zip")).unwrap();
    let failure = world.run::<Restore>("r1", "restore", json!({ "archive": "app/b.zip", "to": "app" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("move it out"), "{failure:?}");
    assert!(world.has("app/b.zip"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_taken_away() {
    let world = World::new();
    archived(&world).await;
    used_and_deployed(&world, None).await;
    world.write("app_failed_20260206_141502/of", "somebody else");
    let output = restore(&world, with()).await;
    assert_eq!(output.failed, Some(world.path("app_failed_20260206_141502_2")));
    assert_eq!(world.read("app_failed_20260206_141502/of"), "somebody else");
}

/// Another volume, where there is one: a rename to it is refused, as it is of a folder in use on Windows.
fn another_volume() -> Option<tempfile::TempDir> {
    let shm = std::path::Path::new("/dev/shm");
    let there = tempfile::tempdir_in(shm).ok()?;
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("x"), "").unwrap();
    std::fs::rename(here.path().join("x"), there.path().join("x")).is_err().then_some(there)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_renamed_is_restored_in_place() {
    let Some(other) = another_volume() else { return eprintln!("skipped: there is no second volume") };
    let failed = other.path().join("failed");
    let mut stopped = 0;
    for stop_at in 1.. {
        let world = World::new();
        let code = archived(&world).await;
        used_and_deployed(&world, None).await;
        let broken = contents(&world.path("app"));
        let with = json!({ "archive": "b.zip", "to": "app", "keep_failed_as": failed });
        let ended = world.run_with::<Restore>("r1", "restore", with.clone(), Vec::new(), Some(stop_at)).await.is_ok();
        let output = restore(&world, with).await;
        assert_eq!(output.failed.as_ref(), Some(&failed));
        check_restored(&world, &code);
        assert_eq!(contents(&failed), broken);
        assert!(world.warnings().contains("restored in place"), "{}", world.warnings());
        std::fs::remove_dir_all(&failed).unwrap();
        if ended {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 5, "it was stopped {stopped} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_damaged_changes_nothing() {
    let world = World::new();
    archived(&world).await;
    used_and_deployed(&world, None).await;
    let mut bytes = std::fs::read(world.path("b.zip")).unwrap();
    // In the content of some entry: only reading it all tells.
    let at = bytes.windows(4).position(|window| window == b"v1PK").expect("`app.py` is stored");
    bytes[at] ^= 1;
    world.write("b.zip", bytes);
    let before = tree(&world.path("app"));
    let failure = world.run::<Restore>("r1", "restore", with()).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("app.py") && failure.message.contains("checksum"), "{failure:?}");
    assert_eq!(tree(&world.path("app")), before);
    assert!(!world.has("app.restoring-r1") && !world.has("app.restoring-r1.partial"));
}

// Windows takes 260 characters, unless it is asked in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn names_longer_than_a_path_of_windows_are_deployed_archived_and_restored() {
    let world = World::new();
    let deep = ["pasta com um nome comprido até demais"; 9].join("/");
    let name = format!("{deep}/fim.txt");
    world.write(&format!("dev/{name}"), "v1");
    let staged = world.run::<Stage>("r0", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    world.run::<Sync>("r0", "sync", json!({ "staged": staged, "to": "app" })).await.unwrap();
    world.write(&format!("app/{deep}/dados.log"), "data");
    world.run::<Backup>("r1", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();

    world.write(&format!("dev/{name}"), "v2, longer");
    let staged = world.run::<Stage>("r1", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().dir;
    world.run::<Sync>("r1", "sync", json!({ "staged": staged, "to": "app" })).await.unwrap();
    assert_eq!(world.read(&format!("app/{name}")), "v2, longer");

    let with = json!({ "archive": "b.zip", "to": "app", "preserve": ["*.log"] });
    let restored = world.run::<Restore>("r1", "restore", with).await.unwrap();
    assert_eq!(world.read(&format!("app/{name}")), "v1");
    assert_eq!(world.read(&format!("app/{deep}/dados.log")), "data");
    let failed = restored.failed.unwrap();
    assert_eq!(std::fs::read_to_string(failed.join(&name)).unwrap(), "v2, longer");
}
