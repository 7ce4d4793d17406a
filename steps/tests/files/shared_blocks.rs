//! A file system whose files can share their blocks: btrfs, on a volume of its own where the machine lets us mount one.

use std::io::{Read, Write};
use std::process::Command;

use almaplan_steps::kinds::restore::Restore;
use almaplan_steps::kinds::stage::Stage;
use almaplan_steps::kinds::sync::Sync;
use serde_json::json;

use crate::files::fixture::{Volume, World};

const MIB: usize = 1 << 20;

/// A volume of 256 MiB. `None` where the machine has no such file system, or does not let us.
fn mount(world: &World) -> Option<Volume> {
    let image = world.path("volume.img");
    std::fs::File::create(&image).unwrap().set_len(256 * MIB as u64).unwrap();
    // Where it cannot be made, it cannot be mounted, which says so.
    let _ = Command::new("mkfs.btrfs").args(["-q", "-m", "single"]).arg(&image).output();
    Volume::mount(world.path("volume"), &["-o", "loop", image.to_str().unwrap()])
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_on_a_volume_that_can_share_blocks_take_no_room_and_are_copies() {
    let world = World::new();
    let Some(_volume) = mount(&world) else { return };
    // Twice this has no room.
    let content = random(150 * MIB);
    world.write("volume/dev/large.bin", &content);
    let with = json!({ "from": "volume/dev", "to": "volume/app" });
    let staged = world.run::<Stage>("r1", "stage", with).await.unwrap();
    assert_eq!((staged.added, staged.bytes), (1, content.len() as u64));
    world.run::<Sync>("r1", "sync", json!({ "staged": staged.dir, "to": "volume/app" })).await.unwrap();
    assert!(std::fs::read(world.path("volume/app/large.bin")).unwrap() == content);

    let mut deployed = std::fs::File::options().write(true).open(world.path("volume/app/large.bin")).unwrap();
    deployed.write_all(b"written later").unwrap();
    drop(deployed);
    assert!(std::fs::read(world.path("volume/dev/large.bin")).unwrap() == content, "the source changed with its copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_a_restore_carries_over_takes_no_room_there() {
    let world = World::new();
    let Some(_volume) = mount(&world) else { return };
    let archive = world.write("volume/empty.zip", [&b"PK\x05\x06"[..], &[0; 18]].concat());
    let content = random(150 * MIB);
    world.write("volume/app/uploads/large.bin", &content);
    let with = json!({ "archive": archive, "to": "volume/app", "preserve": ["/uploads/"] });
    world.run::<Restore>("r1", "restore", with).await.unwrap();
    assert!(std::fs::read(world.path("volume/app/uploads/large.bin")).unwrap() == content);
}
