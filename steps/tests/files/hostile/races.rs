//! Trees that change while they are read: files that vanish, shrink, grow, and become links or pipes between being found and being read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almaplan_engine::event::Failure;
use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use serde_json::json;

use super::within;
use crate::files::fixture::{World, link};

/// More than all threads read before they notice that something happens.
const FIRST: usize = 60;

/// How long each of those is, in bytes: they are read by several threads, and all of them must take longer than a change, which begins
/// when the first one was read.
const FIRST_LEN: usize = 256 << 10;

/// What happens to a tree that was walked and is not read yet.
type Change = (&'static str, fn(&Path));

/// `root/z` has a file, a file that is too long for memory, a link and a folder with a file, and comes after many others.
fn tree_to_change(root: &Path) {
    // What does not get smaller takes longest.
    let noise: Vec<u8> = (0..FIRST_LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::create_dir_all(root).unwrap();
    for number in 0..FIRST {
        std::fs::write(root.join(format!("{number:02}")), &noise).unwrap();
    }
    let z = root.join("z");
    std::fs::create_dir_all(z.join("folder")).unwrap();
    std::fs::write(z.join("file"), "content").unwrap();
    std::fs::write(z.join("folder/secret.txt"), "content").unwrap();
    std::fs::File::create(z.join("long")).unwrap().set_len(9 << 20).unwrap();
    link("file", &z.join("link"));
    std::fs::create_dir(root.with_file_name("outside")).unwrap();
    std::fs::write(root.with_file_name("outside").join("secret.txt"), "secret").unwrap();
}

fn replace(at: PathBuf, with: impl FnOnce(&Path)) {
    if at.is_dir() {
        std::fs::remove_dir_all(&at).unwrap()
    } else {
        std::fs::remove_file(&at).unwrap()
    }
    with(&at);
}

/// Each takes something away that was found; the names that a warning or an error must have.
fn changes() -> Vec<(Change, &'static str)> {
    vec![
        (("a file vanishes", |z| replace(z.join("file"), |_| {})), "z/file"),
        (("a file becomes a link out", |z| replace(z.join("file"), |at| link("../../outside/secret.txt", at))), "z/file"),
        (("a file becomes a pipe", |z| replace(z.join("file"), mkfifo)), "z/file"),
        (("a file becomes a folder", |z| replace(z.join("file"), |at| std::fs::create_dir(at).unwrap())), "z/file"),
        (("a long file vanishes", |z| replace(z.join("long"), |_| {})), "z/long"),
        (("a long file becomes a link out", |z| replace(z.join("long"), |at| link("../../outside/secret.txt", at))), "z/long"),
        (("a long file becomes a pipe", |z| replace(z.join("long"), mkfifo)), "z/long"),
        (("a folder vanishes", |z| replace(z.join("folder"), |_| {})), "z/folder/secret.txt"),
        (("a folder becomes a link out", |z| replace(z.join("folder"), |at| link("../../outside", at))), "z/folder/secret.txt"),
        (("a folder becomes a file", |z| replace(z.join("folder"), |at| std::fs::write(at, "").unwrap())), "z/folder/secret.txt"),
        (("a folder above becomes a link out", above), "z/f"),
        (("a link vanishes", |z| replace(z.join("link"), |_| {})), "z/link"),
        (("a link becomes a file", |z| replace(z.join("link"), |at| std::fs::write(at, "").unwrap())), "z/link"),
    ]
}

fn mkfifo(at: &Path) {
    assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
}

fn above(z: &Path) {
    let outside = z.parent().unwrap().with_file_name("outside");
    for name in ["file", "long", "link"] {
        std::fs::write(outside.join(name), "secret").unwrap();
    }
    std::fs::create_dir(outside.join("folder")).unwrap();
    std::fs::write(outside.join("folder/secret.txt"), "secret").unwrap();
    replace(z.to_owned(), |at| link("../outside", at));
}

/// Whether any file below has the content of the file that is none of this folder's business.
fn tells_the_secret(root: &Path) -> bool {
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.is_symlink())
        .any(|path| if path.is_dir() { tells_the_secret(&path) } else { std::fs::read(path).unwrap() == b"secret" })
}

async fn again(world: &World) {
    world.run::<Restore>("other", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
}

// The file was opened by its name: a link in its place led out of the folder, a pipe was waited for, and a long file that vanished was an
// error or, at another moment, was not mentioned at all.
#[test]
fn what_is_taken_away_during_a_backup_is_left_out_and_named_or_an_error() {
    // Where links lead is looked at first of all: these are archived as they were.
    for ((case, change), name) in changes().into_iter().filter(|(_, name)| *name != "z/link") {
        within(case, async move {
            let world = World::light();
            tree_to_change(&world.path("app"));
            let z = world.path("app/z");
            world.run_while::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" }), move || change(&z)).await.unwrap();
            assert!(world.warnings().contains(name), "{case}: {}", world.warnings());
            again(&world).await;
            assert!(!tells_the_secret(&world.path("again")), "{case}");

            let world = World::light();
            tree_to_change(&world.path("app"));
            let z = world.path("app/z");
            let with = json!({ "source": "app", "archive": "b.zip", "changing": "fail" });
            let failure = world.run_while::<Backup>("r", "backup", with, move || change(&z)).await.unwrap_err();
            assert!(failure.clean && failure.message.contains(name), "{case}: {failure:?}");
            assert!(!world.has("b.zip") && !world.has("b.zip.partial") && !world.has("b.zip.snapshots"), "{case}");
        });
    }
}

#[test]
fn what_is_taken_away_during_a_stage_is_an_error_that_names_it() {
    for ((case, change), name) in changes() {
        within(case, async move {
            let world = World::light();
            tree_to_change(&world.path("dev"));
            let z = world.path("dev/z");
            let failure = world.run_while::<Stage>("r", "stage", json!({ "from": "dev", "to": "app" }), move || change(&z)).await;
            let failure = failure.err().unwrap_or_else(|| panic!("{case} was staged"));
            assert!(failure.clean && failure.message.contains(name), "{case}: {failure:?}");
            assert!(!world.has("app.almaplan-staged") && !world.has("app"), "{case}");
        });
    }
}

#[test]
fn data_that_is_taken_away_during_a_restore_stays_away_and_is_named() {
    for ((case, change), name) in changes() {
        within(case, async move {
            let world = World::light();
            world.write("empty/a.txt", "a");
            world.run::<Backup>("r", "backup", json!({ "source": "empty", "archive": "b.zip" })).await.unwrap();
            tree_to_change(&world.path("app"));
            let z = world.path("app/z");
            let with = json!({ "archive": "b.zip", "to": "app" });
            world.run_while::<Restore>("r", "restore", with, move || change(&z)).await.unwrap();
            assert!(world.warnings().contains(name), "{case}: {}", world.warnings());
            assert!(!tells_the_secret(&world.path("app")), "{case}");
            assert!(world.has("app/19"));
        });
    }
}

/// Does `work` again and again on a thread of its own, until `done` is over.
fn meanwhile<T>(work: impl Fn() + Send + 'static, done: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !seen.load(Ordering::Acquire) {
            work();
        }
    });
    let result = done();
    stop.store(true, Ordering::Release);
    thread.join().unwrap();
    result
}

// Between being listed and being opened, a folder can become a link: what is behind it was taken for its content.
#[test]
fn a_folder_that_keeps_becoming_a_link_never_leads_out() {
    let world = World::light();
    for number in 0..200 {
        world.write(&format!("app/{number}/a.txt"), "a");
    }
    world.write("app/z/secret.txt", "content");
    world.write("outside/secret.txt", "secret");
    link("../outside", &world.path("link"));
    let (real, aside, at) = (world.path("app/z"), world.path("aside"), world.path("link"));
    let swap = move || {
        std::fs::rename(&real, &aside).unwrap();
        std::fs::rename(&at, &real).unwrap();
        std::fs::rename(&real, &at).unwrap();
        std::fs::rename(&aside, &real).unwrap();
    };
    let world = Arc::new(world);
    let shared = Arc::clone(&world);
    meanwhile(swap, move || {
        within("a backup of a folder that keeps changing", async move {
            for _ in 0..40 {
                match shared.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await {
                    Ok(made) => {
                        // At that moment it was a link, which an archive keeps as it is.
                        let with = json!({ "archive": "b.zip", "to": "again", "sha256": made.sha256 });
                        shared.run::<Restore>("other", "restore", with).await.unwrap();
                        assert!(!tells_the_secret(&shared.path("again")));
                        std::fs::remove_dir_all(shared.path("again")).unwrap();
                        std::fs::remove_file(shared.path("b.zip")).unwrap();
                    }
                    Err(failure) => assert!(failure.clean && failure.message.contains("app/z"), "{failure:?}"),
                }
            }
        });
    });
    drop(world);
}

/// Backs up `app` a few times while `work` is done to `app/busy` over and over.
fn backed_up_while(work: impl Fn(&Path) + Send + 'static) -> (Arc<World>, Vec<Failure>) {
    let world = Arc::new(World::light());
    let busy = world.write("app/busy", "");
    std::fs::File::create(&busy).unwrap().set_len(9 << 20).unwrap();
    world.write("app/calm", "calm");
    let shared = Arc::clone(&world);
    let failures = meanwhile(
        move || work(&busy),
        || {
            within("a backup of a busy file", async move {
                let mut failures = Vec::new();
                for _ in 0..3 {
                    failures.extend(shared.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip" })).await.err());
                }
                failures
            })
        },
    );
    (world, failures)
}

#[test]
fn a_file_that_grows_shrinks_or_vanishes_all_the_time_never_spoils_a_backup() {
    let grow = |at: &Path| std::io::Write::write_all(&mut std::fs::File::options().append(true).open(at).unwrap(), b"x").unwrap();
    let shrink = |at: &Path| {
        let file = std::fs::File::options().write(true).open(at).unwrap();
        file.set_len(100).unwrap();
        file.set_len(9 << 20).unwrap();
    };
    let vanish = |at: &Path| {
        std::fs::rename(at, at.with_file_name("../aside")).unwrap();
        std::fs::rename(at.with_file_name("../aside"), at).unwrap();
    };
    let works: [Change; 3] = [("grows", grow), ("shrinks", shrink), ("vanishes", vanish)];
    for (case, work) in works {
        let (world, failures) = backed_up_while(work);
        assert!(failures.is_empty(), "{case}: {failures:?}");
        within(case, async move {
            again(&world).await;
            assert_eq!(world.read("again/calm"), "calm");
            // It may not have been there when the folder was listed.
            assert!(case == "vanishes" || world.has("again/busy"));
        });
    }
}
