//! What an earlier run read is not read again, and only then: every doubt is settled by reading.

use std::fs::{File, FileTimes};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use almaplan_steps::kinds::stage::{Stage, StageOutput};
use almaplan_steps::kinds::sync::Sync;
use serde_json::json;

use crate::files::fixture::{World, contents};

const FILES: u64 = 12;

fn set_time(path: PathBuf, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

/// A source whose files rest since long.
fn source() -> World {
    let world = World::new();
    for number in 0..FILES {
        let path = world.write(&format!("dev/{}/{number}.py", number % 3), format!("content {number:04}"));
        set_time(path, an_hour_ago());
    }
    world
}

async fn stage(world: &World, run: &str, checksum: bool) -> StageOutput {
    let with = json!({ "from": "dev", "to": "app", "whole": false, "checksum": checksum });
    world.run::<Stage>(run, "stage", with).await.unwrap()
}

async fn sync(world: &World, run: &str) -> u64 {
    world.run::<Sync>(run, "sync", json!({ "staged": "app.almaplan-staged", "to": "app" })).await.unwrap().changed
}

async fn deployed() -> World {
    let world = source();
    assert_eq!(stage(&world, "r1", false).await.read, FILES);
    assert_eq!(sync(&world, "r1").await, FILES);
    world
}

fn check(world: &World) {
    assert_eq!(contents(&world.path("app")), contents(&world.path("dev")));
}

/// Another content of the same length, under the same time.
fn change_unseen(world: &World, name: &str) {
    let (path, old) = (world.path(name), world.read(name));
    let time = path.metadata().unwrap().modified().unwrap();
    std::fs::write(&path, old.replace("content", "CONTENT")).unwrap();
    set_time(path, time);
}

fn record(world: &World) -> PathBuf {
    world.path("app.almaplan-hashes")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_read_once_only() {
    let world = deployed().await;
    let second = stage(&world, "r2", false).await;
    assert_eq!((second.read, second.added, second.changed, second.deleted), (0, 0, 0, 0));
    assert_eq!(sync(&world, "r2").await, 0);
    assert_eq!(stage(&world, "r3", false).await.read, 0);
    set_time(world.write("dev/1/1.py", "longer than it was"), an_hour_ago());
    let changed = stage(&world, "r4", false).await;
    assert_eq!((changed.read, changed.changed), (1, 1));
    assert_eq!(sync(&world, "r4").await, 1);
    assert_eq!(stage(&world, "r5", false).await.read, 0);
    check(&world);
    let own = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(world.path("app")).unwrap().map(own).collect();
    names.sort();
    assert_eq!(names, [".almaplan-manifest.json", "0", "1", "2"], "the record is beside the target");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_only_what_holds() {
    let world = deployed().await;
    for number in 0..10 {
        set_time(world.write("dev/1/1.py", "x".repeat(20 + number)), an_hour_ago());
        std::fs::rename(world.path(&format!("dev/2/{}.py", 2 + 10 * number)), world.path(&format!("dev/2/{}.py", 12 + 10 * number)))
            .unwrap();
        // What was renamed is another file of the release, and is read under its new name.
        assert_eq!(stage(&world, &format!("a{number}"), false).await.read, 2, "the rest is known");
        assert_eq!(sync(&world, &format!("a{number}")).await, 2);
    }
    assert_eq!(stage(&world, "r3", false).await.read, 0);
    let database = rusqlite::Connection::open(record(&world)).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM hash", [], |row| row.get(0)).unwrap();
    assert_eq!(rows.cast_unsigned(), 2 * FILES, "the source and the target");
    check(&world);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn who_stages_all_of_what_did_not_change_leaves_the_record_alone() {
    use std::os::unix::fs::MetadataExt;
    let world = deployed().await;
    let looks = || std::fs::metadata(record(&world)).map(|meta| (meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec())).unwrap();
    let before = looks();
    for run in ["r2", "r3"] {
        assert_eq!(world.run::<Stage>(run, "stage", json!({ "from": "dev", "to": "app" })).await.unwrap().changed, 0);
        assert_eq!(sync(&world, run).await, 0);
        assert_eq!(looks(), before);
    }
}

// Git's race: a file that is written twice within one tick of the clock has the same times after the first and after the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_just_written_is_read_again() {
    let world = source();
    // Young for as long as both runs may take, on the slowest machine: after two seconds a file is not young any more.
    set_time(world.path("dev/0/0.py"), SystemTime::now() + Duration::from_secs(300));
    set_time(world.path("dev/1/1.py"), SystemTime::now() + Duration::from_secs(3600));
    for run in ["r1", "r2"] {
        stage(&world, run, false).await;
        sync(&world, run).await;
    }
    assert!(stage(&world, "r3", false).await.read >= 4, "two files, in the source and in the target");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_took_the_place_of_another_is_read() {
    for tree in ["app", "dev"] {
        let world = deployed().await;
        let name = format!("{tree}/2/2.py");
        let time = world.path(&name).metadata().unwrap().modified().unwrap();
        set_time(world.write("other", "CONTENT 0002"), time);
        std::fs::rename(world.path("other"), world.path(&name)).unwrap();
        assert_eq!(stage(&world, "r2", false).await.changed, 1, "{tree}");
        sync(&world, "r2").await;
        check(&world);
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_hides_behind_length_and_time_is_found_by_the_time_that_nobody_sets() {
    let world = deployed().await;
    change_unseen(&world, "dev/0/3.py");
    change_unseen(&world, "app/1/4.py");
    let staged = stage(&world, "r2", false).await;
    assert_eq!(staged.changed, 2);
    sync(&world, "r2").await;
    check(&world);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn checksum_finds_what_no_time_tells() {
    let world = deployed().await;
    change_unseen(&world, "app/1/4.py");
    // As where the system had not told: the record says that the file was read as it looks now.
    let changed_ns = |meta: std::fs::Metadata| {
        use std::os::unix::fs::MetadataExt;
        meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
    };
    let now = changed_ns(world.path("app/1/4.py").metadata().unwrap());
    believe(&world, "1/4.py", now);
    let trusting = stage(&world, "r2", false).await;
    assert_eq!((trusting.read, trusting.changed), (0, 0));
    assert_eq!(stage(&world, "r3", true).await.changed, 1);
    assert_eq!(sync(&world, "r3").await, 1);
    check(&world);
}

/// Lets the record say of a deployed file that it was read when it was changed at that time.
#[cfg(unix)]
fn believe(world: &World, name: &str, changed_ns: i64) {
    let database = rusqlite::Connection::open(record(world)).unwrap();
    let folder = world.path("app").canonicalize().unwrap();
    let folder = folder.as_os_str().as_encoded_bytes();
    let select = "SELECT len, modified_ns, inode, hash FROM hash WHERE folder = ?1 AND name = ?2";
    let said = |row: &rusqlite::Row| Ok(([row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?], row.get::<_, [u8; 32]>(3)?));
    let ([len, modified_ns, inode], hash) = database.query_row(select, (folder, name), said).unwrap();
    let numbers = [len, modified_ns, changed_ns, inode].map(i64::to_le_bytes);
    let all = [folder, b"\0", name.as_bytes(), b"\0", numbers.as_flattened(), &hash].concat();
    let update = "UPDATE hash SET changed_ns = ?3, checksum = ?4 WHERE folder = ?1 AND name = ?2";
    assert_eq!(database.execute(update, (folder, name, changed_ns, blake3::hash(&all).as_bytes())).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_not_believed() {
    let world = deployed().await;
    let whole = std::fs::read(record(&world)).unwrap();
    let end = whole.len();
    let cut = |at: usize| whole[..at].to_vec();
    let flipped = |at: usize| whole.iter().enumerate().map(|(number, byte)| if number == at { byte ^ 1 } else { *byte }).collect();
    let hash = blake3::hash(world.read("dev/0/0.py").as_bytes());
    let hash_at = whole.windows(blake3::OUT_LEN).rposition(|bytes| bytes == hash.as_bytes()).unwrap();
    let damaged: [Vec<u8>; 6] = [cut(0), cut(1), cut(end / 2), flipped(3), flipped(hash_at), b"no database".to_vec()];
    for (number, bytes) in damaged.into_iter().enumerate() {
        std::fs::write(record(&world), bytes).unwrap();
        let staged = stage(&world, &format!("r2-{number}"), false).await;
        assert!(staged.read > 0, "damage {number} was believed");
        assert_eq!((staged.added, staged.changed), (0, 0), "damage {number}");
    }
    // Wherever a bit is another one, nothing false is believed.
    for at in (0..end).step_by(97) {
        std::fs::write(record(&world), flipped(at)).unwrap();
        let staged = stage(&world, &format!("r3-{at}"), false).await;
        assert_eq!((staged.added, staged.changed), (0, 0), "a bit at {at}");
    }
    std::fs::remove_file(record(&world)).unwrap();
    std::fs::create_dir(record(&world)).unwrap();
    assert_eq!(stage(&world, "r4", false).await.changed, 0, "where nothing can be kept, everything is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_between_placing_and_recording_nothing_false_is_known() {
    for stop_at in 1.. {
        let world = deployed().await;
        for number in 0..FILES {
            change_unseen(&world, &format!("dev/{}/{number}.py", number % 3));
        }
        stage(&world, "r2", true).await;
        let with = json!({ "staged": "app.almaplan-staged", "to": "app" });
        let done = world.run_with::<Sync>("r2", "sync", with, Vec::new(), Some(stop_at)).await.is_ok();
        stage(&world, "r3", false).await;
        sync(&world, "r3").await;
        check(&world);
        if done {
            assert!(stop_at > 3);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_staged_and_changes_meanwhile_is_asked_for() {
    let world = deployed().await;
    set_time(world.write("dev/new/deep/file.py", "new"), an_hour_ago());
    let staged = stage(&world, "r2", false).await;
    assert!(staged.dir.join("new/deep/file.py").exists() && !staged.dir.join("0").exists());
    world.write("app/0/0.py", "mended by hand");
    let failure = world.run::<Sync>("r2", "sync", json!({ "staged": staged.dir, "to": "app" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("0.py is missing; stage again"), "{failure}");
    stage(&world, "r3", false).await;
    sync(&world, "r3").await;
    check(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_folders_of_what_differs_are_staged() {
    let world = deployed().await;
    for name in ["0/0.py", "0/new.py", "1/0.py"] {
        set_time(world.write(&format!("dev/{name}"), format!("another {name}")), an_hour_ago());
    }
    let staged = stage(&world, "r2", false).await;
    assert_eq!((staged.changed, staged.added), (1, 2));
    assert_eq!(["0", "1", "2"].map(|folder| staged.dir.join(folder).exists()), [true, true, false]);
    assert_eq!(sync(&world, "r2").await, 3);
    check(&world);
    assert_eq!(stage(&world, "r3", false).await.read, 0);
}

// What the tests of the release left in a new folder must not go along.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_left_in_a_staged_folder_is_not_deployed() {
    let world = source();
    let staged = stage(&world, "r1", false).await;
    std::fs::create_dir(staged.dir.join("1/__pycache__")).unwrap();
    std::fs::write(staged.dir.join("1/__pycache__/1.pyc"), "left by a test").unwrap();
    std::fs::write(staged.dir.join("2/left.txt"), "left by a test").unwrap();
    assert_eq!(sync(&world, "r1").await, FILES);
    check(&world);
}
