use std::time::{Duration, SystemTime};

use almaplan_steps::kinds::prune::Prune;
use serde_json::json;

use crate::files::fixture::World;

#[tokio::test]
async fn the_newest_by_their_names_stay_and_so_does_what_is_needed() {
    let world = World::new();
    // Touched in the other order: a failed folder has the time of whoever wrote into it last.
    for day in (1..=5).rev() {
        world.write(&format!("out/app_failed_2026010{day}_120000/file"), "x");
    }
    world.write("out/unrelated_20200101_000000/file", "x");
    let needed = vec![world.path("out/app_failed_20260101_120000/file")];
    let with = json!({ "dir": "out", "pattern": "app_failed_*", "keep": 2 });
    let output = world.run_with::<Prune>("r", "prune", with.clone(), needed, None).await.unwrap();
    assert_eq!(output.removed, [world.path("out/app_failed_20260103_120000"), world.path("out/app_failed_20260102_120000")]);
    for left in ["app_failed_20260101_120000", "app_failed_20260104_120000", "app_failed_20260105_120000", "unrelated_20200101_000000"] {
        assert!(world.has(&format!("out/{left}/file")), "{left}");
    }
    let nothing = world.run_with::<Prune>("r", "prune", with, vec![world.dir.path().to_owned()], None).await.unwrap();
    assert!(nothing.removed.is_empty(), "a needed folder above was not respected");
}

#[tokio::test]
async fn names_without_a_time_are_ordered_by_when_they_were_modified() {
    let world = World::new();
    for (name, age_s) in [("b.zip", 100), ("a.zip", 300), ("c.zip", 200)] {
        let path = world.write(&format!("out/{name}"), "x");
        std::fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
    }
    let output = world.run::<Prune>("r", "prune", json!({ "dir": "out", "pattern": "*.zip", "keep": 1 })).await.unwrap();
    assert_eq!(output.removed, [world.path("out/c.zip"), world.path("out/a.zip")]);
}

#[tokio::test]
async fn a_missing_folder_is_empty_and_a_pattern_cannot_leave_it() {
    let world = World::new();
    let output = world.run::<Prune>("r", "prune", json!({ "dir": "none", "pattern": "*", "keep": 0 })).await.unwrap();
    assert!(output.removed.is_empty());
    world.write("x/y", "1");
    for pattern in ["x/*", "!x", "", "[z-a"] {
        let refused = serde_json::from_value::<Prune>(json!({ "dir": ".", "pattern": pattern, "keep": 0 })).unwrap_err().to_string();
        assert!(refused.contains(pattern), "{refused}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_removed_and_not_what_it_leads_to() {
    let world = World::new();
    world.write("real/file", "x");
    std::fs::create_dir(world.path("out")).unwrap();
    crate::files::fixture::link("../real", &world.path("out/old"));
    world.run::<Prune>("r", "prune", json!({ "dir": "out", "pattern": "old", "keep": 0 })).await.unwrap();
    assert!(!world.has("out/old") && world.has("real/file"));
}
