//! The hand of plans, see `examples/hand.rs`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::example::example;

/// `examples/hand.rs`, built: what plans of tests run instead of a shell.
pub fn hand() -> PathBuf {
    static HAND: OnceLock<PathBuf> = OnceLock::new();
    HAND.get_or_init(|| example("hand")).clone()
}

/// The variable `PATH` with which plans find it, as `hand`.
pub fn path_with_hand() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([hand().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap()
}
