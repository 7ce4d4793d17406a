//! The kinds about files, on real folders.
#![allow(clippy::unwrap_used)]

mod backup;
mod hashes;
mod hostile;
mod killed;
mod prune;
mod restore;
mod sync;
mod world;
