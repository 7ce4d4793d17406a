//! The kinds about files, on real folders.

mod backup;
mod below;
mod fixture;
mod hashes;
mod hostile;
#[cfg(windows)] // elsewhere nobody is in the way of who renames and replaces
mod in_use;
mod kept;
mod killed;
mod previews;
mod prune;
mod restore;
#[cfg(target_os = "linux")]
mod shared_blocks;
mod sync;
