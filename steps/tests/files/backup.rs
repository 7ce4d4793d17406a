use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::restore::Restore;
use serde_json::json;

use crate::files::fixture::{World, tree};

/// Restores an archive to a folder that does not exist, so that nothing is carried over.
async fn restored(world: &World, archive: &std::path::Path, to: &str) {
    world.run::<Restore>("other", "restore", json!({ "archive": archive, "to": to })).await.unwrap();
}

#[cfg(unix)]
fn age(path: &std::path::Path, seconds: u64) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

// Anybody on the machine could read a password out of the backup of a folder that only its owner may look into.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_not_more_open_than_what_it_holds() {
    let world = World::light();
    crate::files::fixture::chmod(&world.write("app/.env", "PASSWORD=mirapraia"), 0o600);
    let archive = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "out/b.zip" })).await.unwrap().archive;
    let mode = std::os::unix::fs::PermissionsExt::mode(&archive.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_keeps_everything() {
    use crate::files::fixture::{chmod, link};
    let world = World::new();
    world.write("app/a.py", "print(1)");
    world.write("app/pasta com espaço/ção é ü 漢字.txt", "olá");
    world.write("app/empty file", "");
    std::fs::create_dir_all(world.path("app/empty folder/below")).unwrap();
    chmod(&world.write("app/run.sh", "#!/bin/sh"), 0o755);
    chmod(&world.write("app/read-only.txt", "ro"), 0o444);
    let long = vec!["a".repeat(60); 6].join("/");
    world.write(&format!("app/{long}/file.txt"), "far down");
    link("a.py", &world.path("app/link.py"));
    link("../a.py", &world.path("app/empty folder/up"));
    let noise: Vec<u8> = (0..9_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    world.write("app/big noise.bin", &noise);
    world.write("app/big text.txt", "the same line again\n".repeat(400_000));
    world.write("app/photo.JPG", "x".repeat(5000));
    for (index, name) in ["a.py", "run.sh", "big noise.bin", "big text.txt"].iter().enumerate() {
        age(&world.path(&format!("app/{name}")), 1_000_000_001 + index as u64);
    }
    chmod(&world.path("app/empty folder"), 0o750);
    age(&world.path("app/empty folder"), 1_234_567_891);
    let before = tree(&world.path("app"));

    let output = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "out/b.zip" })).await.unwrap();

    assert_eq!(output.archive, world.path("out/b.zip"));
    assert_eq!(output.bytes, output.archive.metadata().unwrap().len());
    assert_eq!(output.files, before.values().filter(|what| !what.starts_with("folder")).count() as u64);
    let sum = std::process::Command::new("sha256sum").arg(&output.archive).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).contains(&output.sha256));
    assert_eq!(tree(&world.path("app")), before, "the source was changed");
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 1, "something was left beside the archive");
    restored(&world, &output.archive, "again").await;
    assert_eq!(tree(&world.path("again")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_is_in_no_archive() {
    let world = World::new();
    for name in ["app.py", "secrets/key.pem", "cache/x.tmp", "cache/wanted.tmp", "keep.tmp.txt"] {
        world.write(&format!("app/{name}"), name);
    }
    let with = json!({ "source": "app", "archive": "b.zip", "exclude": ["secrets/", "*.tmp", "!wanted.tmp"] });
    let output = world.run::<Backup>("r", "backup", with).await.unwrap();
    restored(&world, &output.archive, "again").await;
    assert!(world.has("again/app.py") && world.has("again/keep.tmp.txt") && world.has("again/cache/wanted.tmp"));
    assert!(!world.has("again/secrets") && !world.has("again/cache/x.tmp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_the_archive_too() {
    let world = World::new();
    world.write("app/pasta/ção.txt", "olá");
    world.write("app/big.txt", "compress me ".repeat(600_000));
    let output = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    let mut zip = zip::ZipArchive::new(std::fs::File::open(&output.archive).unwrap()).unwrap();
    let mut text = String::new();
    zip.by_name("pasta/ção.txt").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "olá");
    text.clear();
    zip.by_name("big.txt").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), 7_200_000);
    assert!(output.bytes < 100_000, "{} bytes: it is not compressed", output.bytes);
    if let Ok(unzip) = std::process::Command::new("unzip").arg("-tqq").arg(&output.archive).output() {
        assert!(unzip.status.success(), "{}", String::from_utf8_lossy(&unzip.stdout));
    }
    let python =
        "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; assert 'pasta/ção.txt' in z.namelist()";
    if let Ok(ran) = std::process::Command::new("python3").args(["-X", "utf8", "-c", python]).arg(&output.archive).output() {
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_database_that_is_written_to_is_archived_at_one_moment() {
    for journal in ["wal", "delete"] {
        let world = World::new();
        let path = world.write("app/data/app.db", "");
        let mut database = rusqlite::Connection::open(&path).unwrap();
        database
            .execute_batch(&format!("PRAGMA journal_mode = {journal}; CREATE TABLE a (n INTEGER, pad TEXT); CREATE TABLE b (n INTEGER)"))
            .unwrap();
        let (stop, wrote) = (AtomicBool::new(false), AtomicBool::new(false));
        let archive = world.path("b.zip");
        std::thread::scope(|scope| {
            let database = &mut database;
            let (stop, wrote) = (&stop, &wrote);
            let writer = scope.spawn(move || {
                database.busy_timeout(Duration::from_secs(20)).unwrap();
                let mut n = 0;
                while !stop.load(Ordering::Acquire) {
                    n += 1;
                    let insert =
                        format!("BEGIN IMMEDIATE; INSERT INTO a VALUES ({n}, hex(randomblob(3000))); INSERT INTO b VALUES ({n}); COMMIT");
                    database.execute_batch(&insert).unwrap();
                    wrote.store(n > 50, Ordering::Release);
                }
                n
            });
            while !wrote.load(Ordering::Acquire) {
                assert!(!writer.is_finished(), "nothing was written");
                std::thread::yield_now();
            }
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": &archive }))).unwrap();
            stop.store(true, Ordering::Release);
            assert!(writer.join().unwrap() > 50);
        });
        assert!(!world.warnings().contains("app.db"), "{}", world.warnings());

        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(restored(&world, &archive, "again"));
        assert_eq!(std::fs::read_dir(world.path("again/data")).unwrap().count(), 1, "journals must not be in the archive");
        let copy = rusqlite::Connection::open(world.path("again/data/app.db")).unwrap();
        let ask = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        assert_eq!(ask("SELECT count(*) || '' FROM a"), ask("SELECT max(n) || '' FROM b"), "half a transaction");
        assert!(ask("SELECT count(*) || '' FROM a").parse::<u32>().unwrap() >= 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_rest_is_left_as_it_was() {
    let world = World::new();
    let path = world.write("app/app.db", "");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (n)").unwrap();
    drop(database);
    let before = tree(&world.path("app"));
    world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    assert_eq!(tree(&world.path("app")), before);
}

// So long that progress is shown while they are read, and written to each time it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_is_no_warning_but_a_file_that_never_rests_is() {
    let world = World::new();
    let (log, state) = (world.write("app/app.log", "line\n".repeat(2_000_000)), world.write("app/state.bin", vec![7; 12_000_000]));
    let writes = move || {
        use std::io::Write;
        for (path, text) in [(&log, "line\n"), (&state, "x")] {
            std::fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
    };
    let with = |changing: &str| json!({ "source": "app", "archive": format!("{changing}.zip"), "changing": changing });
    world.run_watched::<Backup>("r", "a", with("snapshot"), writes.clone()).await.unwrap();
    let failure = world.run_watched::<Backup>("r", "b", with("fail"), writes).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("state.bin") && failure.message.contains("changes"), "{failure:?}");
    assert!(!world.has("fail.zip") && !world.has("fail.zip.partial"));
    let warnings = world.warnings();
    assert!(warnings.contains("state.bin") && !warnings.contains("app.log"), "{warnings}");
    restored(&world, &world.path("snapshot.zip"), "again").await;
    assert!(world.read("again/app.log").starts_with("line\nline\n"));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_the_disk_did_not_keep_is_no_backup() {
    // Read back after it was written: what a rollback needs must not be found out to be damaged by the rollback.
    use std::os::unix::fs::FileExt;
    let world = World::new();
    for name in ["one.bin", "two.bin"] {
        world.write(&format!("app/{name}"), vec![7; 3 << 20]);
    }
    let (out, reads) = (world.path("out"), std::sync::atomic::AtomicUsize::new(0));
    // Until it is whole it has a random name, and nothing else is there.
    let unfinished = move || std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    let flip_a_bit_of_the_first_once_it_is_written = move || {
        // The folder itself, the first file, the second one.
        if reads.fetch_add(1, Ordering::Relaxed) == 2 {
            let (partial, deadline) = (unfinished(), std::time::Instant::now() + Duration::from_secs(20));
            while partial.metadata().unwrap().len() < 2 << 20 {
                assert!(std::time::Instant::now() < deadline, "the first file was read, and is not written");
                std::thread::yield_now();
            }
            std::fs::File::options().write(true).open(&partial).unwrap().write_all_at(&[6], 1 << 20).unwrap();
        }
    };
    let with = json!({ "source": "app", "archive": "out/b.zip", "level": 0 });
    let failure = world.run_watched::<Backup>("r", "backup", with, flip_a_bit_of_the_first_once_it_is_written).await.unwrap_err();
    assert!(failure.message.contains("does not have the checksum that it says"), "{failure}");
    assert!(failure.clean, "{failure}");
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 0, "nothing stands under its name, nor beside it");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_gives_an_empty_archive() {
    let world = World::new();
    let output = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    assert_eq!(output.files, 0);
    assert_eq!(zip::ZipArchive::new(std::fs::File::open(output.archive).unwrap()).unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_a_backup_is_refused_before_anything_is_written() {
    let world = World::new();
    world.write("app/a", "1");
    for (with, says) in [
        (json!({ "source": "app", "archive": "app/backups/b.zip" }), "inside"),
        (json!({ "source": "app/a", "archive": "b.zip" }), "not a folder"),
        (json!({ "source": "app", "archive": "b.zip", "level": 12 }), "0 to 9"),
        (json!({ "source": "app", "archive": "b.zip", "keep": 0 }), "at least 1"),
    ] {
        let failure = world.run::<Backup>("r", "backup", with).await.unwrap_err();
        assert!(failure.clean && failure.message.contains(says), "{failure:?}");
    }
    assert!(!world.has("b.zip") && !world.has("app/backups"));
    let with = json!({ "source": "app", "archive": "b.zip", "exclude": ["[z-a"] });
    let refused = serde_json::from_value::<Backup>(with).unwrap_err().to_string();
    assert!(refused.contains("no pattern"), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn sockets_are_left_out_with_a_warning_and_links_out_of_the_folder_come_back() {
    let world = World::new();
    world.write("app/a", "1");
    let _socket = std::os::unix::net::UnixListener::bind(world.path("app/socket")).unwrap();
    crate::files::fixture::link("/etc/hostname", &world.path("app/out"));
    let made = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    let warnings = world.warnings();
    assert!(warnings.contains("app/socket") && !warnings.contains("app/out"), "{warnings}");
    // Of an archive that nobody vouches for, no link may lead out.
    let restore = |sha256: Option<&str>| json!({ "archive": "b.zip", "to": "again", "sha256": sha256 });
    let failure = world.run::<Restore>("other", "restore", restore(None)).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("is a link out of the folder"), "{failure:?}");
    world.run::<Restore>("other", "restore", restore(Some(&made.sha256))).await.unwrap();
    assert_eq!(std::fs::read_link(world.path("again/out")).unwrap(), std::path::Path::new("/etc/hostname"));
    assert_eq!(tree(&world.path("again")).len(), 2);
}

// Zeros compress as far as deflate goes: what backup accepts, restore must not take for a bomb.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_of_zeros_comes_back() {
    let world = World::new();
    world.write("app/a", "");
    std::fs::File::create(world.path("app/zeros")).unwrap().set_len(120 << 20).unwrap();
    let output = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    assert!(output.bytes < 1 << 20);
    restored(&world, &world.path("b.zip"), "again").await;
    assert_eq!(world.path("again/zeros").metadata().unwrap().len(), 120 << 20);
}

#[tokio::test]
async fn keep_removes_the_oldest_archives_of_the_same_shape() {
    let world = World::new();
    world.write("app/a", "1");
    for name in
        ["App_20250101_000000.zip", "App_20250102_000000.zip", "App_20250103_000000.zip", "Other_20240101_000000.zip", "App_final.zip"]
    {
        world.write(&format!("out/{name}"), "old");
    }
    world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "out/App_20260101_000000.zip", "keep": 2 })).await.unwrap();
    let mut left: Vec<String> =
        std::fs::read_dir(world.path("out")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["App_20250103_000000.zip", "App_20260101_000000.zip", "App_final.zip", "Other_20240101_000000.zip"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_backup_left_is_not_in_the_way() {
    let world = World::new();
    for number in 0..40 {
        world.write(&format!("app/{number}"), "x".repeat(1000));
    }
    world.write("b.zip.partial", "half");
    world.write("b.zip.snapshots/0.db", "half");
    let with = || json!({ "source": "app", "archive": "b.zip" });
    let failure = world.run_with::<Backup>("r", "backup", with(), Vec::new(), Some(10)).await.unwrap_err();
    assert_eq!(failure.message, "stopped as asked");
    assert!(!world.has("b.zip"));
    world.run::<Backup>("r", "backup", with()).await.unwrap();
    assert!(!world.has("b.zip.partial") && !world.has("b.zip.snapshots"));
    restored(&world, &world.path("b.zip"), "again").await;
    assert_eq!(tree(&world.path("again")), tree(&world.path("app")));
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

// What is short is compressed whole, what is long as a stream; both are looked at before.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_get_smaller_is_stored_and_what_does_is_deflated() {
    let world = World::new();
    let text = "the same line again\n";
    for (name, content) in [
        ("stored/tiny", noise(100)),
        ("stored/short", noise(100_000)),
        ("stored/whole", noise(3 << 20)),
        ("stored/long", noise(9 << 20)),
        ("stored/empty", Vec::new()),
        ("stored/text.png", text.repeat(1000).into()),
        ("deflated/tiny", text.repeat(3).into()),
        ("deflated/whole", text.repeat(200_000).into()),
        ("deflated/whole after noise", [noise(1 << 20), text.repeat(200_000).into()].concat()),
        ("deflated/long after noise", [noise(1 << 20), text.repeat(500_000).into()].concat()),
    ] {
        world.write(&format!("app/{name}"), content);
    }
    let output = world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&output.archive).unwrap()).unwrap();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap();
        let wanted = if name.starts_with("deflated/") && entry.is_file() { "Deflated" } else { "Stored" };
        assert_eq!(format!("{:?}", entry.compression()), wanted, "{name}");
    }
    restored(&world, &output.archive, "again").await;
    assert_eq!(tree(&world.path("again")), tree(&world.path("app")));
}

// Threads get done with contents in any order, and the long ones are begun before their turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_written_in_the_order_of_names_and_is_the_same_each_time() {
    let world = World::new();
    for number in 0..50 {
        world.write(&format!("app/{number:02}"), vec![7; (50 - number) << 15]);
    }
    for name in ["a/b", "a.txt", "a-b", "ção"] {
        world.write(&format!("app/{name}"), name);
    }
    for name in ["m", "z"] {
        world.write(&format!("app/{name}"), vec![7; 9 << 20]);
    }
    for archive in ["b.zip", "again.zip"] {
        world.run::<Backup>(archive, "backup", json!({ "source": "app", "archive": archive })).await.unwrap();
    }
    let mut archive = zip::ZipArchive::new(std::fs::File::open(world.path("b.zip")).unwrap()).unwrap();
    let mut listed = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).unwrap();
        listed.push((entry.name().unwrap().trim_end_matches('/').to_owned(), entry.header_start()));
    }
    assert!(listed.is_sorted_by_key(|(name, _)| name) && listed.is_sorted_by_key(|(_, at)| *at), "{listed:?}");
    assert!(std::fs::read(world.path("b.zip")).unwrap() == std::fs::read(world.path("again.zip")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_shown_all_the_while_and_never_go_back() {
    let world = World::new();
    for number in 0..100 {
        world.write(&format!("app/{number}"), vec![7; 10_000]);
    }
    world.write("app/long", vec![7; 12_000_000]);
    let with = json!({ "source": "app", "archive": "b.zip" });
    let shown = world.run_shown::<Backup>("r", "backup", with).await;
    let restored = world.run_shown::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await;
    // Archived, then read back: the same bytes twice. Restored: once.
    for (shown, all) in [(shown, 26_000_000), (restored, 13_000_000)] {
        assert!(shown.is_sorted_by_key(|(done, _)| *done), "{shown:?}");
        assert!(shown.iter().all(|(done, total)| done <= total && *total == all), "{shown:?}");
        assert_eq!(shown.last().unwrap().0, all);
        let steps = shown.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(steps.max().unwrap() <= 4 << 20, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_stops_in_the_middle_of_a_long_file_and_leaves_nothing() {
    let world = World::new();
    // So many signs of progress that nobody would still be in the middle of it by chance: 256 KiB each.
    std::fs::create_dir(world.path("app")).unwrap();
    std::fs::File::create(world.path("app/long")).unwrap().set_len(4 << 30).unwrap();
    let with = json!({ "source": "app", "archive": "out/b.zip" });
    let (failure, seen) = world.run_stopped::<Backup>("r", "backup", with, 40).await;
    assert_eq!(failure.message, "stopped as asked");
    assert!(seen <= 41, "it went on for {} more pieces", seen - 40);
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 0, "something was left");
}
