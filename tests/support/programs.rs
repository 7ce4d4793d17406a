//! The programs of `tests/programs`, built.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::example::example;

/// `tests/programs/test_program.rs`: what plans of tests run instead of a shell.
pub fn test_program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| example("test_program")).clone()
}

/// `tests/programs/fake_python.rs`.
pub fn fake_python() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| example("fake_python")).clone()
}

/// The variable `PATH` with which plans find `test_program`.
pub fn path_with_test_program() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([test_program().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap()
}
