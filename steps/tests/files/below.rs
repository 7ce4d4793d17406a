//! Whatever is written below a folder of somebody else goes through `files::Root`: nothing goes round it by a path.

use std::path::Path;

/// All that writes where somebody else may own the folder.
const WRITERS: [&str; 15] = [
    "kinds/backup.rs",
    "kinds/command.rs",
    "kinds/deploy_log.rs",
    "kinds/restore.rs",
    "kinds/stage.rs",
    "kinds/start_service.rs",
    "kinds/sync.rs",
    "files/atomic.rs",
    "files/copy.rs",
    "files/pending_sync.rs",
    "recovery/plan.rs",
    "release/install.rs",
    "release/manifest.rs",
    "release/stage.rs",
    "release/staged.rs",
];

/// What resolves a path again, and so goes through whatever link is there by then.
const BY_PATH: [&str; 11] = [
    "fs::create_dir",
    "fs::rename",
    "fs::write(",
    "fs::copy(",
    "fs::hard_link",
    "fs::remove_file",
    "fs::set_permissions",
    "fs::symlink",
    "File::create(",
    "File::options",
    "OpenOptions",
];

#[test]
fn nothing_is_written_by_a_path_that_somebody_else_may_lead_elsewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for name in WRITERS {
        let text = std::fs::read_to_string(source.join(name)).unwrap();
        let code = text.split("mod tests {").next().unwrap();
        found.extend(BY_PATH.iter().filter(|call| code.contains(**call)).map(|call| format!("{name}: {call}")));
    }
    assert_eq!(found, Vec::<String>::new());
}
