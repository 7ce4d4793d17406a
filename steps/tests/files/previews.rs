//! What the kinds about files would do, told before.

use almaplan_engine::context::Context;
use almaplan_engine::event::StepId;
use almaplan_engine::kind::Kind;
use almaplan_engine::preview::{Before, Preview, Would};
use almaplan_steps::kinds::backup::Backup;
use almaplan_steps::kinds::command::Command;
use almaplan_steps::kinds::preflight::Preflight;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use serde_json::{Value, json};

use crate::files::fixture::{World, tree};

/// What a step would do, after those `before` it, which then know of it. Nothing may have changed.
async fn preview<K: Kind>(world: &World, before: &mut Before, with: Value) -> Preview {
    let kind: K = serde_json::from_value(with).unwrap();
    let cx = Context::standalone(world.dir.path(), std::sync::Arc::new(|_| {}));
    let there = tree(world.dir.path());
    let preview = kind.preview(&cx, before).await;
    assert_eq!(tree(world.dir.path()), there, "a preview of `{}` changed something", K::KIND);
    before.add(&StepId::new(K::KIND), preview.changes.clone());
    preview
}

fn told(preview: &Preview) -> Vec<Value> {
    preview.told.iter().map(|told| told.to_json()).collect()
}

fn release(world: &World) {
    world.write("dev/app.py", "2");
    world.write("dev/new.py", "new");
    world.write("dev/same.py", "same");
    world.write("app/app.py", "1");
    world.write("app/same.py", "same");
    world.write("app/uploads/photo", "data");
}

#[tokio::test]
async fn a_release_is_compared_through_copying_staging_and_putting_in_place() {
    let world = World::new();
    release(&world);
    let mut before = Before::default();
    let copied = preview::<Sync>(&world, &mut before, json!({ "from": "dev", "to": "copy" })).await;
    assert_eq!((copied.outputs["changed"].as_u64(), copied.would), (Some(3), Would::Run));
    let staged = preview::<Stage>(&world, &mut before, json!({ "from": "copy", "to": "app" })).await;
    let expected = [
        json!({ "what": "files", "added": 1, "changed": 1, "deleted": 0, "bytes": 4 }),
        json!({ "what": "files-added", "names": ["new.py"], "more": 0 }),
        json!({ "what": "files-changed", "names": ["app.py"], "more": 0 }),
    ];
    assert_eq!(told(&staged), expected);
    let put = preview::<Sync>(&world, &mut before, json!({ "staged": staged.outputs["dir"], "to": "app" })).await;
    assert_eq!(told(&put), [json!({ "what": "files-moved", "moved": 2, "deleted": 0 })]);
}

#[tokio::test]
async fn a_release_that_is_in_place_is_up_to_date() {
    let world = World::new();
    release(&world);
    world.run::<Sync>("r1", "sync", json!({ "from": "dev", "to": "app" })).await.unwrap();
    let there = preview::<Sync>(&world, &mut Before::default(), json!({ "from": "dev", "to": "app" })).await;
    assert_eq!((there.would.clone(), told(&there)), (Would::ChangeNothing, vec![json!({ "what": "files-same" })]));
    std::fs::remove_file(world.path("dev/new.py")).unwrap();
    let gone = preview::<Sync>(&world, &mut Before::default(), json!({ "from": "dev", "to": "app" })).await;
    assert_eq!(told(&gone)[1], json!({ "what": "files-deleted", "names": ["new.py"], "more": 0 }));
}

#[tokio::test]
async fn what_a_program_writes_first_is_told_as_such() {
    let world = World::new();
    release(&world);
    let mut before = Before::default();
    let frozen = json!({ "program": "python3", "args": ["-m", "pip", "freeze"], "stdout": "dev/requirements.txt" });
    let frozen = preview::<Command>(&world, &mut before, frozen).await;
    assert_eq!(told(&frozen), [json!({ "what": "runs", "command": "python3 -m pip freeze" })]);
    let synced = preview::<Sync>(&world, &mut before, json!({ "from": "dev", "to": "app" })).await;
    assert_eq!(told(&synced).last().unwrap(), &json!({ "what": "files-not-counted", "steps": ["command"] }));
}

#[tokio::test]
async fn a_program_that_only_looks_is_run() {
    let world = World::new();
    let code = "import sys; print('1.1.0'); sys.exit(int(sys.argv[1]))";
    let with = |code_of: &str| json!({ "program": "python3", "args": ["-c", code, code_of], "read_only": true });
    let looked = preview::<Command>(&world, &mut Before::default(), with("0")).await;
    assert_eq!(looked.outputs["stdout"].as_str().map(str::trim), Some("1.1.0"));
    let failed = preview::<Command>(&world, &mut Before::default(), with("3")).await;
    assert!(matches!(&failed.would, Would::Fail(why) if why.message.contains("exit code 3")), "{failed:?}");
}

#[tokio::test]
async fn a_backup_tells_its_size_and_the_room_there_is() {
    let world = World::new();
    world.write("app/a", "12345");
    world.write("app/b.tmp", "left out");
    let with = json!({ "source": "app", "archive": "backups/a.zip", "exclude": ["*.tmp"] });
    let preview = preview::<Backup>(&world, &mut Before::default(), with).await;
    let told = told(&preview);
    assert_eq!((&told[0]["what"], &told[0]["files"]), (&"saves".into(), &1.into()));
    assert!(told[1]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(std::path::Path::new(preview.outputs["archive"].as_str().unwrap()), world.path("backups/a.zip"));
}

#[tokio::test]
async fn what_is_in_the_way_is_told_before_and_nothing_is_tried_by_writing() {
    let world = World::new();
    world.write("app/a", "");
    let there = preview::<Preflight>(&world, &mut Before::default(), json!({ "exists": "app", "writable": "app" })).await;
    assert_eq!(told(&there), [json!({ "what": "all-there" }), json!({ "what": "writing-untried" })]);
    let missing = preview::<Preflight>(&world, &mut Before::default(), json!({ "exists": "gone" })).await;
    assert!(matches!(&missing.would, Would::Fail(why) if why.message.contains("gone does not exist")), "{missing:?}");
}
