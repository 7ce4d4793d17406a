//! The kinds about files, on real folders.
#![allow(clippy::unwrap_used)]

mod backup;
mod hashes;
mod hostile;
mod killed;
mod prune;
mod restore;
#[cfg(target_os = "linux")]
mod shared_blocks;
mod sync;
mod world;
