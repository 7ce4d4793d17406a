//! Archives and trees made to do harm, or only as the world makes them.
//!
//! Whatever is refused is refused whole: nothing appears, nothing changes, nothing half made stays, and the error names what was wrong.

mod archives;
mod damage;
#[cfg(unix)]
mod many;
#[cfg(unix)]
mod races;
#[cfg(unix)]
mod trees;
mod zip;

use std::collections::BTreeMap;
#[cfg(unix)]
use std::future::Future;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::time::Duration;

use almaplan_engine::event::Failure;
use almaplan_steps::kinds::restore::{Restore, RestoreOutput};
use serde_json::json;

use crate::files::fixture::{World, mode};

/// Everything in a folder, with what a repetition would change: names as they are, links as links, contents, modes and times.
pub fn everything(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let what = if meta.is_symlink() {
                format!("link {:?}", std::fs::read_link(&path).unwrap())
            } else if meta.is_dir() {
                open.push(path.clone());
                "folder".to_owned()
            } else if meta.is_file() {
                format!("file {}", blake3::hash(&std::fs::read(&path).unwrap()).to_hex())
            } else {
                "something else".to_owned()
            };
            found.insert(path, format!("{what} {:o} {:?}", mode(&meta), meta.modified().unwrap()));
        }
    }
    found
}

#[cfg(unix)]
/// Runs `work`, and fails where it has not ended long after it should have: a thread that hangs would otherwise hang the tests.
pub fn within<T: Send + 'static>(case: &str, work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), tokio::spawn(work)).await });
    runtime.shutdown_background();
    ended.unwrap_or_else(|_| panic!("{case} hangs")).unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A folder with things of others around the one that is restored to. `app` is there or not.
pub fn surroundings(with_target: bool) -> World {
    let world = World::light();
    world.write("outside/secret.txt", "secret");
    world.write("inner/evil", "not yet");
    if with_target {
        world.write("inner/app/good.txt", "good");
        world.write("inner/app/a/b.txt", "b");
        #[cfg(unix)]
        crate::files::fixture::link("../../outside", &world.path("inner/app/out"));
    }
    world
}

/// Restores `archive` to `inner/app`.
pub async fn restore(world: &World, archive: &[u8]) -> Result<RestoreOutput, Failure> {
    world.write("inner/b.zip", archive);
    world.run::<Restore>("r", "restore", json!({ "archive": "inner/b.zip", "to": "inner/app" })).await
}

/// What restoring it says, whether there is a folder already or not. Nothing may have appeared or changed.
///
/// # Errors
/// It was accepted, or left something behind.
pub async fn refused(archive: &[u8]) -> Result<String, String> {
    let mut says = String::new();
    for with_target in [false, true] {
        let world = surroundings(with_target);
        world.write("inner/b.zip", archive);
        let before = everything(world.dir.path());
        let failure = restore(&world, archive).await.err().ok_or("it was accepted")?;
        let mut after = everything(world.dir.path());
        // Something was built beside the target and taken away again, and the archive written anew.
        for touched in ["inner", "inner/b.zip"] {
            after.insert(world.path(touched), before[&world.path(touched)].clone());
        }
        if after != before {
            let differs = after.iter().filter(|(path, what)| before.get(*path) != Some(what)).collect::<Vec<_>>();
            return Err(format!("it left {differs:?}, of {} things {} are there", before.len(), after.len()));
        }
        if !failure.clean || !failure.message.contains("b.zip") {
            return Err(format!("{failure:?}"));
        }
        says = failure.message;
    }
    Ok(says)
}
