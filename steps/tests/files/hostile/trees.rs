//! Trees as the world makes them: loops of links, pipes and sockets, names and times that no archive has, files that nobody may read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use almaplan_engine::event::Failure;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{everything, within};
use crate::files::fixture::{World, chmod, contents, context, link, mode, tree};

fn backup() -> Value {
    json!({ "source": "app", "archive": "b.zip" })
}

fn restore() -> Value {
    json!({ "archive": "b.zip", "to": "app" })
}

/// Deploys `dev` to `app`, staged first or not.
async fn deploy(world: &World, run: &str, staged: bool) -> Result<(), Failure> {
    if !staged {
        return world.run::<Sync>(run, "sync", json!({ "from": "dev", "to": "app" })).await.map(drop);
    }
    let dir = world.run::<Stage>(run, "stage", json!({ "from": "dev", "to": "app" })).await?.dir;
    world.run::<Sync>(run, "sync", json!({ "staged": dir, "to": "app" })).await.map(drop)
}

fn pipe(at: &Path) {
    assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
}

/// Where `app/data` was when it was replaced by the restored folder.
fn failed(world: &World) -> PathBuf {
    world.path("app_failed_20260206_141502")
}

/// A tree with every kind of link, and a folder outside with a secret.
fn linked(world: &World, root: &str) {
    world.write("outside/secret.txt", "secret");
    world.write(&format!("{root}/folder/file.txt"), "content");
    let links = [
        ("self", "self"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("here", "."),
        ("folder/up", ".."),
        ("to-folder", "folder"),
        ("to-file", "folder/file.txt"),
        ("through", "to-folder/file.txt"),
        ("dangling", "nowhere"),
    ];
    for (name, target) in links {
        link(target, &world.path(root).join(name));
    }
}

#[test]
fn loops_of_links_are_kept_as_links_and_nothing_behind_a_link_is_read() {
    within("a tree with loops", async {
        let world = World::light();
        linked(&world, "app");
        link("../outside", &world.path("app/out"));
        link("/etc", &world.path("app/absolute"));
        let made = world.run::<Backup>("r", "backup", backup()).await.unwrap();
        let warnings = world.warnings();
        assert!(warnings.is_empty(), "{warnings}");
        // What the steps of a run left tells its restores which archive is its own.
        world.outputs.lock().unwrap().push(serde_json::to_value(&made).unwrap());
        world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
        assert_eq!(tree(&world.path("again")), tree(&world.path("app")));
        assert_eq!(std::fs::read_link(world.path("again/absolute")).unwrap(), Path::new("/etc"));
        // So do they over a folder that is there.
        world.run::<Restore>("r", "over", restore()).await.unwrap();
        assert_eq!(std::fs::read_link(world.path("app/out")).unwrap(), Path::new("../outside"));
        assert_eq!(tree(&world.path("outside")).len(), 1);
    });
}

#[test]
fn a_release_with_loops_of_links_is_deployed_as_it_is() {
    within("a release with loops", async {
        for staged in [true, false] {
            let world = World::light();
            linked(&world, "dev");
            deploy(&world, "r1", staged).await.unwrap();
            assert_eq!(tree(&world.path("app")), tree(&world.path("dev")));
            world.write("dev/folder/file.txt", "changed");
            deploy(&world, "r2", staged).await.unwrap();
            assert_eq!(world.read("app/through"), "changed");
        }
    });
}

/// A pipe that nobody writes to, a socket, and where the system lets us a device.
fn special(world: &World, root: &str) -> Vec<String> {
    world.write(&format!("{root}/a.txt"), "a");
    pipe(&world.path(root).join("pipe"));
    drop(std::os::unix::net::UnixListener::bind(world.path(root).join("socket")).unwrap());
    let device = world.path(root).join("device");
    let made = Command::new("mknod").arg(&device).args(["c", "1", "5"]).status().is_ok_and(|status| status.success());
    let names = ["pipe", "socket"].into_iter().chain(made.then_some("device"));
    names.map(|name| format!("{root}/{name}")).collect()
}

#[test]
fn pipes_sockets_and_devices_are_never_opened_and_never_forgotten_silently() {
    within("a tree with a pipe", async {
        let world = World::light();
        let names = special(&world, "app");
        world.run::<Backup>("r", "backup", backup()).await.unwrap();
        assert!(names.iter().all(|name| world.warnings().contains(name)), "backup: {}", world.warnings());
        world.notes.lock().unwrap().clear();
        world.run::<Restore>("r", "restore", restore()).await.unwrap();
        assert!(names.iter().all(|name| world.warnings().contains(name)), "restore: {}", world.warnings());
        assert_eq!(tree(&world.path("app")).len(), 1);
        for staged in [true, false] {
            let world = World::light();
            let names = special(&world, "dev");
            deploy(&world, "r", staged).await.unwrap();
            assert!(names.iter().all(|name| world.warnings().contains(name)), "stage: {}", world.warnings());
            assert_eq!(tree(&world.path("app")).len(), 1);
        }
    });
}

// Each was opened as if it were a file, which waits until somebody writes: the deploy stood still for ever.
#[test]
fn a_pipe_where_a_file_is_expected_is_no_reason_to_wait() {
    within("a pipe in place of the archive", async {
        let world = World::light();
        pipe(&world.path("b.zip"));
        let failure = world.run::<Restore>("r", "restore", restore()).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("b.zip") && failure.message.contains("not a file"), "{failure:?}");
    });
    within("a pipe in place of the manifest", async {
        let world = World::light();
        world.write("dev/a.txt", "a");
        std::fs::create_dir(world.path("app")).unwrap();
        pipe(&world.path("app/.almaplan-manifest.json"));
        let failure = deploy(&world, "r", false).await.unwrap_err();
        assert!(failure.clean && failure.message.contains(".almaplan-manifest.json"), "{failure:?}");
    });
    within("a pipe where the release has a file", async {
        let world = World::light();
        world.write("dev/a.txt", "a");
        std::fs::create_dir(world.path("app")).unwrap();
        pipe(&world.path("app/a.txt"));
        deploy(&world, "r", true).await.unwrap();
        assert_eq!(world.read("app/a.txt"), "a");
    });
}

// `static` was a link to a folder elsewhere: files of the release were put there, where no backup has them and no restore takes them away.
#[tokio::test]
async fn nothing_is_put_through_a_link_out_of_the_target() {
    for staged in [true, false] {
        let world = World::light();
        world.write("dev/static/site.css", "release");
        world.write("outside/site.css", "theirs");
        std::fs::create_dir(world.path("app")).unwrap();
        link("../outside", &world.path("app/static"));
        let before = (everything(&world.path("app")), everything(&world.path("outside")));
        let failure = deploy(&world, "r", staged).await.unwrap_err();
        assert!(failure.clean && failure.message.contains("app/static"), "{failure:?}");
        assert_eq!((everything(&world.path("app")), everything(&world.path("outside"))), before);
    }
}

// Somebody had put a link where the release before had a folder: what the new one has not was deleted behind the link.
#[tokio::test]
async fn nothing_is_deleted_through_a_link_out_of_the_target() {
    for staged in [true, false] {
        let world = World::light();
        world.write("dev/a.txt", "a");
        world.write("dev/static/old/site.css", "release");
        deploy(&world, "r1", staged).await.unwrap();
        std::fs::rename(world.path("app/static"), world.path("outside")).unwrap();
        std::fs::create_dir(world.path("outside/empty")).unwrap();
        link("../outside", &world.path("app/static"));
        std::fs::remove_dir_all(world.path("dev/static")).unwrap();
        let before = everything(&world.path("outside"));
        deploy(&world, "r2", staged).await.unwrap();
        assert_eq!(everything(&world.path("outside")), before);
    }
}

// The release before had `lib` as a link to `lib64`, the new one has a folder with the same files: they were found through the link, taken
// to be in place, and gone when the link was.
#[tokio::test]
async fn a_link_that_becomes_a_folder_is_filled() {
    for staged in [true, false] {
        let world = World::light();
        world.write("dev/lib64/x.so", "x");
        link("lib64", &world.path("dev/lib"));
        deploy(&world, "r1", staged).await.unwrap();
        std::fs::remove_file(world.path("dev/lib")).unwrap();
        world.write("dev/lib/x.so", "x");
        std::fs::create_dir(world.path("dev/lib/empty")).unwrap();
        deploy(&world, "r2", staged).await.unwrap();
        assert_eq!(world.read("app/lib/x.so"), "x", "staged: {staged}");
        assert!(world.path("app/lib/empty").is_dir() && !world.path("app/lib").is_symlink());
        // And back.
        std::fs::remove_dir_all(world.path("dev/lib")).unwrap();
        link("lib64", &world.path("dev/lib"));
        deploy(&world, "r3", staged).await.unwrap();
        assert!(world.path("app/lib").is_symlink());
    }
}

const RAW: &[&[u8]] = &[b"caf\xe9.txt", b"\xff", "\u{10ffe9}".as_bytes()];

fn raw(folder: &Path, name: &[u8]) -> PathBuf {
    folder.join(OsStr::from_bytes(name))
}

#[tokio::test]
async fn names_that_are_not_utf8_come_back_from_a_backup() {
    let world = World::light();
    world.write("app/a.txt", "a");
    for name in RAW {
        std::fs::write(raw(&world.path("app"), name), name).unwrap();
    }
    world.run::<Backup>("r", "backup", backup()).await.unwrap();
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    for name in RAW {
        assert_eq!(std::fs::read(raw(&world.path("again"), name)).unwrap(), *name);
    }
    assert_eq!(std::fs::read_dir(world.path("again")).unwrap().count(), RAW.len() + 1);
}

#[tokio::test]
async fn names_that_are_not_utf8_are_named_before_anything_is_deployed_unless_they_are_left_out() {
    for name in RAW {
        for kind in ["stage", "sync"] {
            let world = World::light();
            world.write("app/a.txt", "a");
            world.write("dev/a.txt", "a");
            let source = world.path("dev");
            std::fs::write(raw(&source, name), "odd").unwrap();
            let run = async |exclude: Value| match kind {
                "stage" => world.run::<Stage>("r", kind, json!({ "from": "dev", "to": "app", "exclude": exclude })).await.map(drop),
                _ => world.run::<Sync>("r", kind, json!({ "from": "dev", "to": "app", "exclude": exclude })).await.map(drop),
            };
            let before = everything(world.dir.path());
            let failure = run(Value::Null).await.unwrap_err();
            let shown = raw(&source, name).display().to_string();
            assert!(failure.clean && failure.message.contains(&shown) && failure.message.contains("UTF-8"), "{failure:?}");
            let unstaged = |mut tree: std::collections::BTreeMap<PathBuf, String>| {
                tree.remove(&world.path("app"));
                tree
            };
            assert_eq!(unstaged(everything(world.dir.path())), unstaged(before), "{kind}");
            run(json!(["[!a]*"])).await.unwrap();
        }
    }
}

// Somebody uploaded a file with such a name after the backup: no restore was possible any more, and the run was stuck.
#[tokio::test]
async fn a_restore_carries_names_that_are_not_utf8_over_byte_for_byte() {
    let world = World::light();
    world.write("dev/app.py", "v1");
    deploy(&world, "r1", false).await.unwrap();
    world.run::<Backup>("r1", "backup", backup()).await.unwrap();
    for name in RAW {
        let folder = raw(&world.path("app"), name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(raw(&folder, b"p\xe3o"), name).unwrap();
        symlink(OsStr::from_bytes(b"p\xe3o"), raw(&folder, b"l\xe7")).unwrap();
    }
    let before = everything(&world.path("app"));
    world.write("dev/app.py", "v2");
    let with = json!({ "from": "dev", "to": "app", "keep_data": "kept" });
    world.run::<Sync>("r1", "sync", with).await.unwrap();
    assert_eq!(std::fs::read(raw(&raw(&world.path("kept"), RAW[0]), b"p\xe3o")).unwrap(), RAW[0]);
    for data in ["current", "at-stop"] {
        world
            .run::<Restore>(
                "r1",
                data,
                json!({ "archive": "b.zip", "to": "app", "data": data, "keep_failed_as": format!("failed-{data}") }),
            )
            .await
            .unwrap();
        let mut after = everything(&world.path("app"));
        after.retain(|path, _| RAW.iter().any(|name| path.starts_with(raw(&world.path("app"), name))));
        assert_eq!(after.len(), 9);
        // Links have whole seconds.
        let without_time = |what: &String| what.split(" SystemTime").next().unwrap().to_owned();
        assert!(after.iter().all(|(path, what)| without_time(&before[path]) == without_time(what)), "{data}: {after:?}");
    }
}

#[tokio::test]
async fn names_that_mean_a_way_out_elsewhere_come_back_as_the_names_they_are() {
    for name in ["C:", "a\\b", "..\\b", "\\b"] {
        let world = World::light();
        world.write("app/a.txt", "a");
        std::fs::write(world.path("app").join(name), "x").unwrap();
        world.run::<Backup>("r", "backup", backup()).await.unwrap();
        world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "folder/again" })).await.unwrap();
        assert_eq!(tree(&world.path("folder/again")), tree(&world.path("app")));
        assert_eq!(std::fs::read_dir(world.path("folder")).unwrap().count(), 1, "nothing came beside it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_only_other_systems_mind_come_back() {
    let world = World::light();
    for name in
        ["NUL", "con.txt", "a:stream", "name.", "name ", "A", "a", "*?<>|\"", "line\nbreak", "\u{1b}[2J", "-rf", "~", "%00", "...", " "]
    {
        std::fs::create_dir_all(world.path("app")).unwrap();
        std::fs::write(world.path("app").join(name), name).unwrap();
    }
    world.run::<Backup>("r", "backup", backup()).await.unwrap();
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    assert_eq!(tree(&world.path("again")), tree(&world.path("app")));
    world.run::<Sync>("r", "sync", json!({ "from": "app", "to": "deployed" })).await.unwrap();
    assert_eq!(tree(&world.path("deployed")), tree(&world.path("app")));
}

/// A chain of folders whose path is `len` bytes long, deeper than any path can be where that is more than 4096.
fn deep(root: &Path, len: usize) -> PathBuf {
    let part = "d".repeat(99);
    let mut whole = PathBuf::new();
    let mut top: Option<PathBuf> = None;
    for number in 0..len / 100 {
        // From the inside out, so that no path is ever too long to be said.
        let outer = root.join(format!("building-{number}"));
        std::fs::create_dir_all(&outer).unwrap();
        match top {
            Some(inner) => std::fs::rename(inner, outer.join(&part)).unwrap(),
            None => std::fs::write(outer.join("file"), "far down").unwrap(),
        }
        top = Some(outer);
        whole.push(&part);
    }
    std::fs::rename(top.unwrap(), root.join(&part)).unwrap();
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_and_long_paths_come_back_and_those_beyond_what_a_path_can_be_are_named() {
    let world = World::light();
    world.write(&format!("app/{}", "n".repeat(255)), "long name");
    world.write(&format!("app/{}", "ç".repeat(127)), "long name of long letters");
    let far = deep(&world.path("app"), 3600);
    assert_eq!(std::fs::read_to_string(world.path("app").join(&far).join("file")).unwrap(), "far down");
    world.run::<Backup>("r", "backup", backup()).await.unwrap();
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    assert_eq!(tree(&world.path("again")), tree(&world.path("app")));
    deploy_from_app(&world).await.unwrap();
    assert_eq!(contents(&world.path("deployed")), contents(&world.path("app")));

    let world = World::light();
    world.write("app/a.txt", "a");
    deep(&world.path("app"), 6000);
    for failure in [world.run::<Backup>("r", "backup", backup()).await.unwrap_err(), deploy_from_app(&world).await.unwrap_err()] {
        assert!(failure.clean && failure.message.contains("dddd") && failure.message.contains("too long"), "{failure:?}");
    }
    assert!(!world.has("b.zip") && !world.has("deployed"));
    let exclude = json!([format!("{}/", "d".repeat(99))]);
    world.run::<Backup>("r", "backup", json!({ "source": "app", "archive": "b.zip", "exclude": exclude })).await.unwrap();
}

async fn deploy_from_app(world: &World) -> Result<(), Failure> {
    world.run::<Sync>("r", "sync", json!({ "from": "app", "to": "deployed" })).await.map(drop)
}

// After 2038 a time lost its seconds, after 2107 it became 1980, and a mode of nothing became one that everybody could read.
#[tokio::test(flavor = "multi_thread")]
async fn times_before_1980_and_after_2107_and_all_modes_come_back() {
    let world = World::light();
    let times = [-2_500_000_000_i64, -1, 0, 1, 315_532_799, 1_999_999_999, 2_147_483_647, 2_147_483_648, 4_354_819_201, 7_258_118_401];
    let set = |path: &Path, seconds: i64| {
        let span = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { SystemTime::UNIX_EPOCH - span } else { SystemTime::UNIX_EPOCH + span };
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    };
    for seconds in times {
        set(&world.write(&format!("app/at {seconds}"), "x"), seconds);
    }
    for bits in [0o000, 0o400, 0o200, 0o111, 0o644, 0o777] {
        chmod(&world.write(&format!("app/mode {bits:o}"), "x"), bits);
    }
    for bits in [0o700, 0o755, 0o777, 0o1777, 0o2775, 0o3770] {
        let folder = world.path(&format!("app/folder {bits:o}"));
        std::fs::create_dir(&folder).unwrap();
        chmod(&folder, bits);
        set(&folder, 1_234_567_890);
    }
    set(&world.path("app"), 1_234_567_890);
    world.run::<Backup>("r", "backup", backup()).await.unwrap();
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    deploy_from_app(&world).await.unwrap();
    for entry in std::fs::read_dir(world.path("app")).unwrap() {
        let (name, meta) = entry.map(|entry| (entry.file_name(), entry.metadata().unwrap())).unwrap();
        for copy in ["again", "deployed"] {
            let copied = world.path(copy).join(&name).metadata().unwrap();
            assert_eq!(mode(&copied), mode(&meta), "{copy}: {name:?}");
            // Of a folder that is already there, `sync` minds only what is in it.
            if copy == "again" || meta.is_file() {
                assert_eq!(copied.mtime(), meta.mtime(), "{copy}: {name:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_archive_gives_nobody_the_rights_of_another() {
    let world = World::light();
    chmod(&world.write("app/sudo", "x"), 0o4755);
    world.run::<Backup>("r", "backup", backup()).await.unwrap();
    world.run::<Restore>("r", "restore", json!({ "archive": "b.zip", "to": "again" })).await.unwrap();
    assert_eq!(mode(&world.path("again/sudo").metadata().unwrap()), 0o755);
}

// A release is put in place by renames: whoever has the old file by another name keeps the old content.
#[tokio::test]
async fn hard_links_are_files_of_their_own() {
    let world = World::light();
    world.write("dev/a", "v1");
    std::fs::hard_link(world.path("dev/a"), world.path("dev/b")).unwrap();
    deploy(&world, "r1", true).await.unwrap();
    std::fs::hard_link(world.path("app/a"), world.path("theirs")).unwrap();
    world.run::<Backup>("r1", "backup", backup()).await.unwrap();
    std::fs::write(world.path("dev/a"), "v2").unwrap();
    deploy(&world, "r2", true).await.unwrap();
    assert_eq!((world.read("app/a"), world.read("app/b"), world.read("theirs")), ("v2".into(), "v2".into(), "v1".into()));
    world.run::<Restore>("r2", "restore", restore()).await.unwrap();
    assert_eq!((world.read("app/a"), world.read("app/b"), world.read("theirs")), ("v1".into(), "v1".into(), "v1".into()));
    assert!(failed(&world).join("a").exists());
}

const FOLDER: &str = "ALMAPLAN_TEST_NOBODY_FOLDER";
const KIND: &str = "ALMAPLAN_TEST_NOBODY_KIND";
const NOBODY: u32 = 65_534;

/// Not a test: what [`as_nobody`] runs as a user who may not read everything.
#[tokio::test(flavor = "multi_thread")]
async fn nobody() {
    let (Ok(folder), Ok(kind)) = (std::env::var(FOLDER), std::env::var(KIND)) else { return };
    let cx = context(
        Path::new(&folder),
        "r",
        &kind,
        Map::new(),
        Vec::new(),
        Arc::default(),
        CancellationToken::new(),
        Arc::new(|_| {}),
        |_, _| {},
    );
    let failed = match kind.as_str() {
        "backup" => serde_json::from_value::<Backup>(backup()).unwrap().run(&cx).await.err(),
        "stage" => serde_json::from_value::<Stage>(json!({ "from": "app", "to": "deployed" })).unwrap().run(&cx).await.err(),
        "sync" => serde_json::from_value::<Sync>(json!({ "from": "app", "to": "deployed" })).unwrap().run(&cx).await.err(),
        _ => serde_json::from_value::<Restore>(restore()).unwrap().run(&cx).await.err(),
    };
    println!("{}", failed.map_or("SUCCEEDED".to_owned(), |failure| format!("clean: {}: {}", failure.clean, failure.message)));
}

/// What a kind says to a user who is not root. What is in the world belongs to that user.
fn as_nobody(world: &World, kind: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let is_root = world.path("app").metadata().unwrap().uid() == 0;
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(&this) };
    if is_root {
        give_away(world.dir.path());
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]).arg("--clear-groups").arg(&this);
    }
    command.args(["files::hostile::trees::nobody", "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(FOLDER, world.dir.path()).env(KIND, kind).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[test]
fn what_this_user_may_not_read_is_named_and_nothing_is_changed() {
    for kind in ["backup", "stage", "sync", "restore"] {
        for unreadable in ["app/secret.txt", "app/secret"] {
            let world = World::light();
            world.write("app/a.txt", "a");
            world.write("app/secret/b.txt", "b");
            world.write("app/secret.txt", "s");
            world.write("b.zip", super::zip::archive(&[super::zip::file("a.txt", "old")]));
            chmod(&world.path(unreadable), 0o000);
            let said = as_nobody(&world, kind);
            assert!(said.contains("clean: true") && said.contains(unreadable), "{kind}, {unreadable}: {said}");
            chmod(&world.path(unreadable), 0o755);
            let left: Vec<_> = std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left.len(), 2, "{kind}, {unreadable}: {left:?}");
            assert_eq!(world.read("app/a.txt"), "a");
        }
    }
}
