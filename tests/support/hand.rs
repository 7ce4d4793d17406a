//! Where programs are that tests have built for them, see `examples/`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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

/// The program of an example. Cargo builds all of them beside the tests, but not for `--test`: then it is done here.
pub fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let changed = |file: &Path| file.metadata().and_then(|file| file.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(format!("examples/{name}.rs")));
    if changed(&built) < sources.filter_map(|source| changed(&source)).next() {
        let build = ["build", "--quiet", "-p", "almaplan", "--example", name];
        assert!(Command::new(env!("CARGO")).args(build).status().is_ok_and(|status| status.success()), "cargo {}", build.join(" "));
    }
    built
}
