//! The kinds about files, on real folders.
#![allow(clippy::unwrap_used)]

mod backup;
#[cfg(windows)]
#[path = "../../../tests/support/example.rs"]
mod example;
mod hashes;
mod hostile;
#[cfg(windows)] // elsewhere nobody is in the way of who renames and replaces
mod in_use;
mod killed;
mod prune;
mod restore;
#[cfg(target_os = "linux")]
mod shared_blocks;
mod sync;
mod world;
