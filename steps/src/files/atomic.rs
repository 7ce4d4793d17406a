//! A file appears whole or not at all: written beside, synced, renamed, its folder synced.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use super::{Root, platform};

/// How the name of a file begins that is being written.
const UNFINISHED: &str = ".almaplan-new-";

/// Writes a file so that, whatever happens, it holds either what it held before or all of `bytes`. Durable when it returns.
///
/// # Errors
/// The folder is missing or cannot be written; what was there is untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = Root::above(path)?;
    write_in(&folder, &name, bytes)
}

/// Writes a file where nothing is, whole or not at all: nothing that is there is replaced, and no link at `path` is followed. Durable when it
/// returns.
///
/// # Errors
/// `AlreadyExists`: something is there, and is untouched. Or the folder is missing or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (root, name) = Root::above(path)?;
    let beside = unfinished()?;
    let mut file = root.create_file(&beside, 0o666)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    // A further name is refused where one is there; renaming would replace it.
    let written = written.and_then(|()| root.link(&beside, &root, &name));
    let _ = root.remove_file(&beside);
    written?;
    root.sync_folder("")
}

/// As [`write_atomically`], of the file `name` in the open folder `root`.
///
/// # Errors
/// See there.
pub(crate) fn write_in(root: &Root, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished()?;
    let mut file = root.create_file(&unfinished, 0o666)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    let written = written.and_then(|()| replace(root, &unfinished, name));
    if written.is_err() {
        let _ = root.remove_file(&unfinished);
    }
    written?;
    root.sync_folder("")
}

/// Lets `name` in `to` be a name of the file `from` in `staged` too, instead of what it was a name of. Durable when it returns; `false`
/// where a file cannot have both names.
///
/// # Errors
/// The folder cannot be written; what was there is untouched.
pub(crate) fn link_in(staged: &Root, from: &str, to: &Root, name: &str) -> io::Result<bool> {
    let unfinished = unfinished()?;
    if staged.link(from, to, &unfinished).is_err() {
        return Ok(false);
    }
    let replaced = replace(to, &unfinished, name);
    // There still, too, where `name` was a name of the same file already.
    let _ = to.remove_file(&unfinished);
    replaced?;
    to.sync_folder("").map(|()| true)
}

/// Whether this is the name of a file that is being written.
fn is_unfinished(name: &str) -> bool {
    name.starts_with(UNFINISHED)
}

/// Removes from an open folder what a crash left of files that were being written.
pub(crate) fn sweep(root: &Root) {
    for (name, _) in root.list("").unwrap_or_default() {
        if let Some(name) = name.to_str().filter(|name| is_unfinished(name)) {
            let _ = root.remove_file(name);
        }
    }
}

/// Renames, a few seconds long where others (a virus scanner, say) have what is there open, on systems where that is in the way.
fn replace(root: &Root, from: &str, to: &str) -> io::Result<()> {
    let mut pauses = [1, 10, 50, 100, 500, 1000, 2000].into_iter().map(Duration::from_millis);
    loop {
        match (root.rename(from, root, to), pauses.next()) {
            (Err(error), Some(pause)) if platform::is_held(&error) => std::thread::sleep(pause),
            (renamed, _) => return renamed,
        }
    }
}

/// Makes the names in `folder` durable.
///
/// # Errors
/// The system could not.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    platform::sync_folder(folder)
}

/// A name in the folder `folder` for a file that is being written there.
pub(crate) fn unfinished_in(folder: &str) -> io::Result<String> {
    let name = unfinished()?;
    Ok(if folder.is_empty() { name } else { [folder, &name].join("/") })
}

fn unfinished() -> io::Result<String> {
    Ok(UNFINISHED.to_owned() + &unforeseeable()?)
}

/// Sixteen hexadecimal digits that nobody can know before: whoever may write in a folder too cannot have put anything under a name with them.
pub(crate) fn unforeseeable() -> io::Result<String> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(format!("{:016x}", u64::from_le_bytes(random)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_file_replaces_nothing_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        write_new(&path, b"first").unwrap();
        assert_eq!(write_new(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_replaces_what_was_there_and_may_be_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        std::fs::write(&from, "new").unwrap();
        for before in ["old", "new"] {
            std::fs::write(&to, before).unwrap();
            for _again in 0..2 {
                assert!(link_in(&root, "from", &root, "to").unwrap());
                assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left beside it");
            }
            std::fs::remove_file(&to).unwrap();
        }
        assert!(!link_in(&root, "gone", &root, "to").unwrap() && !to.exists());
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".almaplan-new-0123", ".almaplan-kept", "data"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(&Root::open(folder.path()).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn whoever_reads_meanwhile_sees_the_old_file_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        let contents = [vec![b'a'; 1 << 20], vec![b'b'; 1 << 20]];
        write_atomically(&path, &contents[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..30).for_each(|turn| write_atomically(&path, &contents[turn % 2]).unwrap()));
            while !writer.is_finished() {
                match std::fs::read(&path) {
                    Ok(seen) => assert!(contents.contains(&seen), "{} bytes of neither", seen.len()),
                    // Windows may refuse it for a moment, which is neither.
                    Err(error) => assert!(platform::is_held(&error), "{error}"),
                }
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside it");
    }
}
