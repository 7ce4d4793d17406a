//! A file appears whole or not at all: written beside, synced, renamed, its folder synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::platform;

/// Writes a file so that, whatever happens, it holds either what it held before or all of `bytes`. Durable when it returns.
///
/// # Errors
/// The folder is missing or cannot be written; what was there is untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path)?;
    let written = write_whole(&unfinished, bytes).and_then(|()| replace(&unfinished, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Lets `path` be a name of the file `from` too, instead of what it was a name of. Durable when it returns; `false` where a file cannot
/// have both names.
///
/// # Errors
/// The folder cannot be written; what was there is untouched.
pub(crate) fn link_atomically(from: &Path, path: &Path) -> io::Result<bool> {
    let unfinished = unfinished(path)?;
    let _ = std::fs::remove_file(&unfinished);
    if std::fs::hard_link(from, &unfinished).is_err() {
        return Ok(false);
    }
    let replaced = replace(&unfinished, path);
    // There still, too, where `path` was a name of the same file already.
    let _ = std::fs::remove_file(&unfinished);
    replaced?;
    sync_folder(path.parent().unwrap_or(Path::new("."))).map(|()| true)
}

/// Renames, a few seconds long where others (a virus scanner, say) have what is there open, on systems where that is in the way.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let mut pauses = [1, 10, 50, 100, 500, 1000, 2000].into_iter().map(Duration::from_millis);
    loop {
        match (platform::rename(from, to), pauses.next()) {
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

fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut unfinished = std::ffi::OsString::from(".almaplan-new-");
    unfinished.push(name);
    Ok(path.with_file_name(unfinished))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_replaces_what_was_there_and_may_be_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        std::fs::write(&from, "new").unwrap();
        for before in ["old", "new"] {
            std::fs::write(&to, before).unwrap();
            for _again in 0..2 {
                assert!(link_atomically(&from, &to).unwrap());
                assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left beside it");
            }
            std::fs::remove_file(&to).unwrap();
        }
        assert!(!link_atomically(&folder.path().join("gone"), &to).unwrap() && !to.exists());
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
