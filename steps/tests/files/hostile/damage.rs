//! Archives of our own, cut off at every byte and with every bit turned over: refused, or the same as before.

use std::collections::BTreeMap;

use almaplan_steps::kinds::backup::Backup;
use serde_json::json;

use super::{everything, refused, restore, surroundings};
use crate::files::fixture::{World, tree};
use crate::sample;

/// A sample has one in so many of the bits; each is a restore of its own.
const ONE_IN: usize = 5;

/// An archive with a file, a compressed file, a link and a folder; and what it restores.
async fn saved(world: &World) -> (Vec<u8>, BTreeMap<String, String>) {
    world.write("source/a.txt", "a");
    world.write("source/b.txt", "compress me ".repeat(20));
    std::fs::create_dir(world.path("source/folder")).unwrap();
    #[cfg(unix)]
    crate::files::fixture::link("a.txt", &world.path("source/link"));
    world.run::<Backup>("r", "backup", json!({ "source": "source", "archive": "b.zip" })).await.unwrap();
    (std::fs::read(world.path("b.zip")).unwrap(), tree(&world.path("source")))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_cut_off_anywhere_is_refused() {
    let world = World::new();
    let (archive, _) = saved(&world).await;
    for len in 0..archive.len() {
        refused(&archive[..len]).await.unwrap_or_else(|problem| panic!("cut off at {len} of {}: {problem}", archive.len()));
    }
}

// One bit made a file a link to what had been its content, changed a mode or a time, and nobody noticed: zip has no checksum of its directory.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_with_any_bit_turned_over_is_refused_or_restores_the_same() {
    let source = World::new();
    let (archive, expected) = saved(&source).await;
    let (mut refused, mut same) = (0, 0);
    for bit in sample::every(ONE_IN, 0..archive.len() * 8) {
        let mut damaged = archive.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let world = surroundings(false);
        let before = everything(world.dir.path()).len();
        match restore(&world, &damaged).await {
            Ok(_) => {
                assert_eq!(tree(&world.path("inner/app")), expected, "bit {bit}");
                same += 1;
            }
            Err(failure) => {
                assert!(failure.clean && failure.message.contains("b.zip"), "bit {bit}: {failure:?}");
                assert_eq!(everything(world.dir.path()).len(), before + 1, "bit {bit} left something beside the archive");
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {same} the same");
    assert!(refused > same * 3, "{refused} refused, {same} the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_of_a_folder_that_did_not_exist_never_makes_one() {
    let source = World::new();
    source.run::<Backup>("r", "backup", json!({ "source": "absent", "archive": "b.zip" })).await.unwrap();
    let archive = std::fs::read(source.path("b.zip")).unwrap();
    for bit in 0..archive.len() * 8 {
        let mut damaged = archive.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let world = surroundings(false);
        let _ = restore(&world, &damaged).await;
        assert!(!world.has("inner/app"), "bit {bit}");
    }
}
