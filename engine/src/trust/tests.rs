#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::Duration;

use super::*;

/// Any user but root and us.
const SOMEBODY: u32 = 4_200_042;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, path: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
        path
    }

    fn file(&self, path: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(path);
        std::fs::write(&path, "x").unwrap();
        set_mode(&path, mode);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives `path` to somebody else; `false`, and said loudly, where only root could.
fn given_away(path: &Path) -> bool {
    let given = std::os::unix::fs::lchown(path, Some(SOMEBODY), Some(SOMEBODY));
    if given.is_err() {
        eprintln!("NOT TESTED: giving a file away needs root");
    }
    given.is_ok()
}

#[test]
fn what_is_ours_alone_is_believed_also_before_it_exists() {
    let tree = Tree::new();
    folder(&tree.folder("a/b", 0o700)).unwrap();
    folder(&tree.folder("a/c", 0o755)).unwrap();
    folder(&tree.0.path().join("not/yet")).unwrap();
    drop(open(&tree.file("a/file", 0o644)).unwrap());
    file(&tree.0.path().join("nothing")).unwrap();
}

#[test]
fn a_folder_that_others_can_change_is_not_believed_nor_what_is_below() {
    let tree = Tree::new();
    let (open_to_all, below) = (tree.folder("open", 0o777), tree.folder("open/below", 0o700));
    set_mode(&open_to_all, 0o777);
    for path in [&open_to_all, &below] {
        let refused = folder(path).unwrap_err();
        assert!(matches!(&refused, Distrust::Writable { path } if *path == open_to_all), "{refused}");
    }
    // As `/tmp`: what is in it is changed by its owner alone, but it is no folder to keep things in.
    set_mode(&open_to_all, 0o1777);
    folder(&below).unwrap();
    assert!(matches!(folder(&open_to_all), Err(Distrust::Writable { .. })));
}

#[test]
fn a_group_with_other_people_in_it_may_not_write_either() {
    let tree = Tree::new();
    let shared = tree.folder("shared", 0o770);
    // A group that the machine does not know may have anybody in it.
    if chown(&shared, None, Some(SOMEBODY)).is_err() {
        return eprintln!("NOT TESTED: giving a folder to another group needs root");
    }
    set_mode(&shared, 0o770);
    assert!(matches!(folder(&shared), Err(Distrust::Writable { .. })));
    set_mode(&shared, 0o750);
    folder(&shared).unwrap();
}

#[test]
fn what_is_somebody_elses_is_told_with_their_name() {
    let tree = Tree::new();
    let (theirs, below) = (tree.folder("theirs", 0o755), tree.folder("theirs/ours", 0o700));
    let record = tree.file("record", 0o644);
    if !given_away(&theirs) || !given_away(&record) {
        return;
    }
    for refused in [folder(&theirs), folder(&below), file(&record)].map(Result::unwrap_err) {
        assert_eq!(refused.owner(), Some(format!("uid {SOMEBODY}").as_str()), "{refused}");
    }
}

#[test]
fn only_links_of_ours_lead_on() {
    let tree = Tree::new();
    let real = tree.folder("real", 0o700);
    let link = tree.0.path().join("link");
    symlink(&real, &link).unwrap();
    folder(&link).unwrap();
    symlink("loop", tree.0.path().join("loop")).unwrap();
    assert!(matches!(folder(&tree.0.path().join("loop")), Err(Distrust::NotA { .. })));
    if given_away(&link) {
        assert!(matches!(folder(&link), Err(Distrust::Foreign { path, .. }) if path == link));
    }
    // A file is never opened through one.
    let (record, name) = (tree.file("record", 0o600), tree.0.path().join("name"));
    symlink(&record, &name).unwrap();
    assert!(matches!(open(&name), Err(Distrust::NotA { .. })));
}

#[test]
fn a_pipe_in_place_of_a_file_is_an_error_and_no_hang() {
    let tree = Tree::new();
    let pipe = tree.0.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let (sent, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || sent.send(open(&pipe).map(drop)));
    let refused = said.recv_timeout(Duration::from_secs(10)).expect("it does not wait for a writer");
    assert!(matches!(refused, Err(Distrust::NotA { .. })), "{refused:?}");
    assert!(matches!(open(tree.0.path()), Err(Distrust::NotA { .. })));
}

#[test]
fn a_file_that_others_can_write_is_not_believed() {
    let tree = Tree::new();
    assert!(matches!(open(&tree.file("record", 0o666)), Err(Distrust::Writable { .. })));
}
