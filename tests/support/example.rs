//! Where programs are that tests have built for them, see `examples/` and `tests/programs/`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of an example of this package. Cargo builds all of them beside the tests, but not for `--test`: then it is done here.
pub fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let changed = |file: &Path| file.metadata().and_then(|file| file.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let sources = sources.flat_map(|folder| ["examples", "tests/programs"].map(|programs| folder.join(format!("{programs}/{name}.rs"))));
    if changed(&built) < sources.filter_map(|source| changed(&source)).next() {
        let build = ["build", "--quiet", "-p", env!("CARGO_PKG_NAME"), "--example", name];
        assert!(Command::new(env!("CARGO")).args(build).status().is_ok_and(|status| status.success()), "cargo {}", build.join(" "));
    }
    built
}
