//! Trees that are large: 100,000 files, and a file with nothing but a hole in it. How long it took and how much memory is printed; what grows with the square
//! of the number of files would not end.

use std::process::Command;
use std::time::Instant;

use almaplan_engine::event::Failure;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use serde_json::{Value, json};

use crate::files::fixture::World;

const CHILD: &str = "ALMAPLAN_TEST_LARGE";

/// Runs a test of this file in a process of its own, so that its memory is its own. Returns the most that it had, in MiB.
fn peak_mib(test: &str) -> u64 {
    let this = std::env::current_exe().unwrap();
    let name = format!("files::hostile::many::{test}");
    let output = Command::new(this).args([&name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    said.lines().find_map(|line| line.strip_prefix("peak MiB: ")).unwrap().parse().unwrap()
}

fn say_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("\npeak MiB: {}", line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024);
}

async fn timed<S: Kind>(world: &World, run: &str, step: &str, with: Value) -> Result<S::Output, Failure> {
    let start = Instant::now();
    let output = world.run::<S>(run, step, with).await;
    println!("{step}: {:.1} s", start.elapsed().as_secs_f64());
    output
}

/// Not a test by itself: what [`a_hundred_thousand_files_are_nothing_special`] measures.
#[tokio::test(flavor = "multi_thread")]
async fn hundred_thousand_files() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let world = World::light();
    for folder in 0..1000 {
        std::fs::create_dir_all(world.path(&format!("dev/{}/{folder}", folder % 10))).unwrap();
        for file in 0..100 {
            std::fs::write(world.path(&format!("dev/{}/{folder}/{file}.py", folder % 10)), format!("{folder} {file}")).unwrap();
        }
    }
    timed::<Sync>(&world, "r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    for number in 0..1000 {
        world.write(&format!("app/uploads/{number}.png"), "data");
        world.write(&format!("dev/{}/{number}/0.py", number % 10), "changed");
    }
    std::fs::remove_dir_all(world.path("dev/9")).unwrap();
    let saved = timed::<Backup>(&world, "r2", "backup", json!({ "source": "app", "archive": "b.zip" })).await.unwrap();
    assert_eq!(saved.files, 101_001);
    let staged = timed::<Stage>(&world, "r2", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap();
    assert_eq!((staged.changed, staged.deleted), (900, 10_000));
    timed::<Sync>(&world, "r2", "sync of what was staged", json!({ "staged": staged.dir, "to": "app" })).await.unwrap();
    assert!(!world.has("app/9") && world.has("app/uploads/999.png"));
    let restored = timed::<Restore>(&world, "r2", "restore", json!({ "archive": "b.zip", "to": "app" })).await.unwrap();
    assert_eq!(restored.files, 101_001);
    assert_eq!((world.read("app/9/999/99.py"), world.read("app/8/998/0.py")), ("999 99".to_owned(), "998 0".to_owned()));
    say_peak();
}

// Takes 10 s: what is wrong with many files shows only with many.
#[test]
fn a_hundred_thousand_files_are_nothing_special() {
    assert!(peak_mib("hundred_thousand_files") < 400);
}

/// Not a test by itself: what [`a_long_file_is_never_in_memory_as_a_whole`] measures.
#[tokio::test(flavor = "multi_thread")]
async fn long_file() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Not in memory: what is measured is memory.
    let world = World::new();
    world.write("app/a", "a");
    std::fs::File::create(world.path("app/holes")).unwrap().set_len(LONG).unwrap();
    timed::<Backup>(&world, "r", "backup", json!({ "source": "app", "archive": "b.zip", "level": 1 })).await.unwrap();
    timed::<Restore>(&world, "r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    assert_eq!(world.path("again/holes").metadata().unwrap().len(), LONG);
    say_peak();
}

const LONG: u64 = 384 << 20;

/// Not a test by itself: what [`many_files_that_just_fit_into_memory_are_not_in_it_together`] measures.
#[tokio::test(flavor = "multi_thread")]
async fn fitting_files() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let world = World::new();
    world.write("app/a", "a");
    for number in 0..16 {
        world.write(&format!("app/{number}"), content(number));
    }
    timed::<Backup>(&world, "r", "backup", json!({ "source": "app", "archive": "b.zip", "level": 1 })).await.unwrap();
    timed::<Restore>(&world, "r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    assert!(std::fs::read(world.path("again/15")).unwrap() == content(15));
    say_peak();
}

/// Gets smaller, and not much: as it is and compressed, it takes as much room as it can.
fn content(seed: u64) -> Vec<u8> {
    let mut piece = vec![0; 1 << 20];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut piece);
    piece.iter_mut().for_each(|byte| *byte &= 0x3f);
    piece.repeat(8)
}

#[test]
fn many_files_that_just_fit_into_memory_are_not_in_it_together() {
    assert!(peak_mib("fitting_files") < 160);
}

#[test]
fn a_long_file_is_never_in_memory_as_a_whole() {
    assert!(peak_mib("long_file") < 100);
}
