//! Removing what is older than the newest few.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::swap::overlap;
use super::{BlockingTask, FileError, Patterns, check_no_mount, discard, io_error, platform};

/// Removes from `dir` all files and folders whose names match `pattern`, but the newest `keep` and whatever holds, is, or is in one of `needed`.
/// Returns what was removed.
///
/// # Errors
/// The pattern is none, or something cannot be removed.
pub(crate) fn prune(task: &BlockingTask, dir: &Path, pattern: &str, keep: usize, needed: &[PathBuf]) -> Result<Vec<PathBuf>, FileError> {
    let mut candidates = matching(dir, pattern)?;
    // Where every name tells its time, that is what people mean; a folder's own time changes with what is put into it.
    if candidates.iter().all(|candidate| candidate.stamp.is_some()) {
        candidates.sort_by(|a, b| (&b.stamp, &b.path).cmp(&(&a.stamp, &a.path)));
    } else {
        candidates.sort_by(|a, b| (b.modified, &b.path).cmp(&(a.modified, &a.path)));
    }
    let mut removed = Vec::new();
    let links = link_targets(task, dir);
    for candidate in candidates.into_iter().skip(keep) {
        task.check()?;
        if needed.iter().any(|needed| overlap(needed, &candidate.path)) {
            continue;
        }
        if let Some(why) = in_use(&candidate.path, &links) {
            task.cx.info(PruneNote::Stays { path: candidate.path, why });
            continue;
        }
        task.touch();
        discard(task, &candidate.path)?;
        removed.push(candidate.path);
    }
    Ok(removed)
}

/// What is told although it goes on.
#[derive(Debug, Serialize, thiserror::Error)]
enum PruneNote {
    #[error("{} stays: {why}", path.display())]
    Stays { path: PathBuf, why: InUse },
}

/// Why something must stay although nothing of ours needs it.
#[derive(Debug, Serialize, thiserror::Error)]
enum InUse {
    #[error("the link {} leads to it", link.display())]
    Link { link: PathBuf },
    #[error(transparent)]
    Mounted(FileError),
    #[error("in use by {}", users.join(", "))]
    By { users: Vec<String> },
}

/// Why `path` must stay although nothing of ours needs it.
fn in_use(path: &Path, links: &[(PathBuf, PathBuf)]) -> Option<InUse> {
    // A link in its place is all that would be removed.
    if path.is_symlink() {
        return None;
    }
    let real = path.canonicalize().ok()?;
    if let Some((link, _)) = links.iter().find(|(link, target)| target.starts_with(&real) && !link.starts_with(&real)) {
        return Some(InUse::Link { link: link.clone() });
    }
    if let Err(error @ FileError::Mounted { .. }) = check_no_mount(&real) {
        return Some(InUse::Mounted(error));
    }
    let users = platform::users(&real);
    (!users.is_empty()).then_some(InUse::By { users })
}

/// The links by which people and services name one of several folders, and where they lead: those in `dir`, beside what is in it, in
/// each folder above it, and in the plan's folder.
fn link_targets(task: &BlockingTask, dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let siblings = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let folders = dir.ancestors().map(Path::to_owned).chain([task.cx.run().plan_dir.clone()]).chain(siblings);
    let entries = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path());
    links.filter_map(|link| Some((link.clone(), link.canonicalize().ok()?))).collect()
}

/// A pattern for names that differ from `name` in the time of the run only: the archives of other runs. One without a time is the only
/// one of its kind.
pub(crate) fn same_shape(name: &str) -> String {
    let mut shape = String::new();
    let mut rest = name;
    while let Some(at) = stamp_at(rest) {
        shape += &rest[..at].chars().map(literal).collect::<String>();
        shape +=
            &rest[at..at + STAMP].chars().map(|c| if c.is_ascii_digit() { "[0-9]".to_owned() } else { literal(c) }).collect::<String>();
        rest = &rest[at + STAMP..];
    }
    shape + &rest.chars().map(literal).collect::<String>()
}

/// A character that means itself in a pattern.
fn literal(c: char) -> String {
    match c {
        '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' => format!("[{c}]"),
        '\\' => r"\\".to_owned(),
        c => c.to_string(),
    }
}

struct Candidate {
    path: PathBuf,
    stamp: Option<String>,
    modified: SystemTime,
}

fn matching(dir: &Path, pattern: &str) -> Result<Vec<Candidate>, FileError> {
    if pattern.contains('/') || pattern.starts_with('!') {
        return Err(FileError::Pattern { pattern: pattern.to_owned(), reason: "it must match names in the folder itself".to_owned() });
    }
    let pattern = Patterns::new(&[pattern])?;
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read the folder", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("read the folder", dir))?;
        let name = entry.file_name();
        if pattern.matches(&name.to_string_lossy(), false) {
            let modified = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push(Candidate { path: entry.path(), stamp: stamp(&name.to_string_lossy()), modified });
        }
    }
    Ok(found)
}

/// Characters of `20260206_141502`.
const STAMP: usize = 15;

/// Where the `20260206_141502` (or with a `-`) begins in a name, where there is one.
fn stamp_at(name: &str) -> Option<usize> {
    let digits = |range: &[u8]| range.iter().all(u8::is_ascii_digit);
    name.as_bytes().windows(STAMP).position(|window| digits(&window[..8]) && matches!(window[8], b'_' | b'-') && digits(&window[9..]))
}

/// The time in a name, where there is one, in the form that sorts.
fn stamp(name: &str) -> Option<String> {
    let at = stamp_at(name)?;
    Some(name[at..at + STAMP].chars().filter(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two applications kept their backups in one folder, and their names differed by a digit: `keep` of one removed those of the other.
    #[test]
    fn only_the_time_in_a_name_may_differ() {
        assert_eq!(same_shape("a1_20260206_141502.zip"), format!("a1_{}_{}.zip", "[0-9]".repeat(8), "[0-9]".repeat(6)));
        assert_eq!(same_shape("port-5101.zip"), "port-5101.zip");
        let pattern = Patterns::new(&[same_shape("loja[1]_20260206-141502")]).expect("it is a pattern");
        assert!(pattern.matches("loja[1]_20250101-000000", false));
        assert!(!pattern.matches("loja[2]_20250101-000000", false) && !pattern.matches("loja1_20250101-000000", false));
    }
}
