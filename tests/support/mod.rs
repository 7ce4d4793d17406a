//! What the tests have in common.
//!
//! ```text
//!  workspace.rs   the fixture: a folder, a machine of its own, and the binary
//!  server.rs      a workspace with the sample application and the production plan
//!  process.rs     starting programs and waiting for them, never without end
//!  inherited.rs   what programs do not get from whoever started the tests
//!  programs.rs    the programs of `tests/programs`
//!  sample.rs      how much of what is exhaustive is tried
//!  http.rs, namespace.rs   ports and requests; a namespace of pids
//! ```

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))] // what only some of the tests need, and those are not for every system

pub mod example;
pub mod http;
pub mod inherited;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod process;
pub mod programs;
pub mod sample;
pub mod server;
pub mod workspace;

pub use http::{free_port, http};
pub use process::{CRASHED, Running, Said, alive, command, interrupt, run, signal, start, tool, wait_until, wrapped};
pub use server::Server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below `folder` with its content's hash and its mode, but for what `except` says.
pub fn tree(folder: &Path, except: &dyn Fn(&Path) -> bool) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            let relative = path.strip_prefix(folder).unwrap().to_owned();
            if except(&relative) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                files.insert(relative, blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string());
            }
        }
    }
    files
}

/// What the application writes while it runs.
pub fn is_runtime(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let top = path.components().next().unwrap().as_os_str().to_str().unwrap();
    name.contains(".db")
        || name.contains(".log")
        || name == "deploy_log.txt"
        || top == "uploads"
        || path.to_str().unwrap().contains("__pycache__")
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
