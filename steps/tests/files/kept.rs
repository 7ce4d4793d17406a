//! What comes back beside the content: owners, attributes, links and names; and what is refused because it would not.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::prune::Prune;
use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::{Value, json};

use crate::files::fixture::{World, chmod, link, mode};

fn archive() -> Value {
    json!({ "source": "app", "archive": "b.zip" })
}

async fn backup(world: &World, with: Value) {
    let output = world.run::<Backup>("r1", "backup", with).await.unwrap();
    world.outputs.lock().unwrap().push(serde_json::to_value(output).unwrap());
}

async fn restore(world: &World) {
    world.run::<Restore>("r1", "restore", json!({ "archive": "b.zip", "to": "app" })).await.unwrap();
}

#[tokio::test]
async fn owners_modes_times_holes_and_attributes_come_back() {
    let world = World::new();
    world.write("app/app.py", "one");
    world.write("app/data/sub/x", "two");
    std::fs::File::create(world.path("app/holes")).unwrap().set_len(64 << 20).unwrap();
    std::fs::hard_link(world.path("app/app.py"), world.path("app/same.py")).unwrap();
    // Not every file system has them.
    let has_notes = setxattr(world.path("app/app.py"), "user.note", b"kept", XattrFlags::empty()).is_ok();
    chmod(&world.path("app/app.py"), 0o4640);
    chmod(&world.path("app/data"), 0o2750);
    chmod(&world.path("app"), 0o710);
    let shape = |name: &str| {
        let meta = world.path(name).symlink_metadata().unwrap();
        (mode(&meta), meta.uid(), meta.gid(), meta.mtime_nsec(), meta.nlink())
    };
    let names = ["app", "app/app.py", "app/same.py", "app/data", "app/data/sub", "app/data/sub/x", "app/holes"];
    let before = names.map(shape);
    backup(&world, archive()).await;
    std::fs::remove_dir_all(world.path("app")).unwrap();
    restore(&world).await;
    assert_eq!(names.map(shape), before);
    assert!(world.path("app/holes").metadata().unwrap().blocks() * 512 < 1 << 20, "a hole takes the disk");
    if has_notes {
        let mut value = [0; 4];
        assert_eq!((getxattr(world.path("app/app.py"), "user.note", &mut value), &value), (Ok(4), b"kept"));
    }
    assert_eq!(world.warnings(), "");
}

#[tokio::test]
async fn links_and_names_of_unix_come_back_wherever_they_lead_and_whatever_they_are() {
    let world = World::new();
    let odd = [OsStr::from_bytes(b"relat\xf3rio.pdf"), OsStr::new("a\\b.txt"), OsStr::new("a%5Cb.txt"), OsStr::new("C:")];
    world.write("app/app.py", "one");
    for name in odd {
        std::fs::write(world.path("app").join(name), name.as_bytes()).unwrap();
    }
    for (name, target) in [("up", "../etc/config.py"), ("root", "/etc/passwd"), ("within", "app.py")] {
        link(target, &world.path("app").join(name));
    }
    backup(&world, archive()).await;
    std::fs::remove_dir_all(world.path("app")).unwrap();
    restore(&world).await;
    for name in odd {
        assert_eq!(std::fs::read(world.path("app").join(name)).unwrap(), name.as_bytes());
    }
    assert_eq!(std::fs::read_link(world.path("app/up")).unwrap().to_str(), Some("../etc/config.py"));
    assert_eq!(std::fs::read_link(world.path("app/root")).unwrap().to_str(), Some("/etc/passwd"));
    assert_eq!(world.read("app/within"), "one");
}

#[tokio::test]
async fn another_archive_under_the_name_is_refused_and_nothing_is_touched() {
    let world = World::new();
    world.write("app/app.py", "old");
    world.run::<Backup>("r0", "backup", archive()).await.unwrap();
    let older = std::fs::read(world.path("b.zip")).unwrap();
    world.write("app/app.py", "now");
    backup(&world, archive()).await;
    std::fs::write(world.path("b.zip"), older).unwrap();
    world.write("app/app.py", "broken");
    let failure = world.run::<Restore>("r1", "restore", json!({ "archive": "b.zip", "to": "app" })).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("is not the one that this run made"), "{failure}");
    assert_eq!(world.read("app/app.py"), "broken");
}

#[tokio::test]
async fn what_no_backup_has_is_not_replaced() {
    let world = World::new();
    world.write("dev/app.py", "1");
    world.write("dev/static/app.js", "1");
    world.run::<Sync>("r0", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    backup(&world, json!({ "source": "app", "archive": "b.zip", "exclude": ["/static/"] })).await;
    world.write("dev/app.py", "2");
    world.run::<Stage>("r1", "stage", json!({ "from": "dev", "to": "app" })).await.unwrap();
    world.write("dev/static/app.js", "2");
    let staged = world.run::<Stage>("r1", "stage again", json!({ "from": "dev", "to": "app" })).await.unwrap_err();
    let synced = world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap_err();
    for failure in [staged, synced] {
        assert!(failure.clean && failure.message.contains("static/app.js"), "{failure}");
    }
    assert_eq!((world.read("app/app.py"), world.read("app/static/app.js")), ("1".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn prune_leaves_what_a_link_leads_to() {
    let world = World::new();
    for name in ["20260101_100000", "20260201_100000", "20260301_100000"] {
        world.write(&format!("releases/{name}/app.py"), "");
    }
    link("releases/20260101_100000", &world.path("current"));
    world.run::<Prune>("r1", "prune", json!({ "dir": "releases", "pattern": "*", "keep": 1 })).await.unwrap();
    assert!(world.has("releases/20260101_100000/app.py") && !world.has("releases/20260201_100000"));
}

// Whoever owns the folder above could lead root's deploy into any folder of the machine.
#[tokio::test]
async fn a_folder_that_a_link_of_somebody_else_leads_to_is_not_touched() {
    let world = World::new();
    world.write("dev/app.py", "new");
    world.write("precious/app.py", "old");
    world.run::<Backup>("r0", "backup", json!({ "source": "precious", "archive": "b.zip" })).await.unwrap();
    world.write("foreign/file", "");
    link("../precious", &world.path("foreign/app"));
    chmod(&world.path("foreign"), 0o777);
    let failures = [
        world.run::<Backup>("r1", "backup", json!({ "source": "foreign/app", "archive": "c.zip" })).await.unwrap_err(),
        world.run::<Backup>("r1", "beside", json!({ "source": "dev", "archive": "foreign/app/new/c.zip" })).await.unwrap_err(),
        world.run::<Stage>("r1", "stage", json!({ "from": "dev", "to": "foreign/app" })).await.unwrap_err(),
        world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "foreign/app" })).await.unwrap_err(),
        world.run::<Restore>("r1", "restore", json!({ "archive": "b.zip", "to": "foreign/app" })).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(failure.clean && failure.message.contains("it is not followed"), "{failure}");
    }
    assert_eq!((world.read("precious/app.py"), world.has("precious/new")), ("old".to_owned(), false));
    // What only this user and root can have put there is followed.
    chmod(&world.path("foreign"), 0o755);
    world.run::<Sync>("r2", "sync", json!({ "from": "dev", "to": "foreign/app" })).await.unwrap();
    assert_eq!(world.read("precious/app.py"), "new");
}
