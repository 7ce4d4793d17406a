//! Removing what is older than the newest few.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use globset::GlobBuilder;

use super::swap::overlap;
use super::{FileError, Job, discard, io_error, platform};

/// Removes from `dir` all files and folders whose names match `pattern`, but the newest `keep` and whatever holds, is, or is in one of `needed`.
/// Returns what was removed.
///
/// # Errors
/// The pattern is none, or something cannot be removed.
pub(crate) fn prune(job: &Job, dir: &Path, pattern: &str, keep: usize, needed: &[PathBuf]) -> Result<Vec<PathBuf>, FileError> {
    let mut candidates = matching(dir, pattern)?;
    // Where every name tells its time, that is what people mean; a folder's own time changes with what is put into it.
    if candidates.iter().all(|candidate| candidate.stamp.is_some()) {
        candidates.sort_by(|a, b| (&b.stamp, &b.path).cmp(&(&a.stamp, &a.path)));
    } else {
        candidates.sort_by(|a, b| (b.modified, &b.path).cmp(&(a.modified, &a.path)));
    }
    let mut removed = Vec::new();
    for candidate in candidates.into_iter().skip(keep) {
        job.check()?;
        if needed.iter().any(|needed| overlap(needed, &candidate.path)) {
            continue;
        }
        job.touch();
        discard(job, &candidate.path)?;
        removed.push(candidate.path);
    }
    Ok(removed)
}

/// A pattern for names that differ from `name` in their digits only: the archives of other runs.
pub(crate) fn same_shape(name: &str) -> String {
    let shape = |c: char| match c {
        '0'..='9' => "[0-9]".to_owned(),
        '*' | '?' | '[' | ']' | '{' | '}' | '!' => format!("[{c}]"),
        c => c.to_string(),
    };
    name.chars().map(shape).collect()
}

struct Candidate {
    path: PathBuf,
    stamp: Option<String>,
    modified: SystemTime,
}

fn matching(dir: &Path, pattern: &str) -> Result<Vec<Candidate>, FileError> {
    let wrong = |reason: String| FileError::Pattern { pattern: pattern.to_owned(), reason };
    if pattern.contains('/') || pattern.is_empty() {
        return Err(wrong("it must match names in the folder itself".to_owned()));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).case_insensitive(platform::IGNORES_CASE).build();
    let glob = glob.map_err(|error| wrong(error.kind().to_string()))?.compile_matcher();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read the folder", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("read the folder", dir))?;
        let name = entry.file_name();
        if glob.is_match(&name) {
            let modified = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push(Candidate { path: entry.path(), stamp: stamp(&name.to_string_lossy()), modified });
        }
    }
    Ok(found)
}

/// The `20260206_141502` (or with a `-`) in a name, where there is one, in the form that sorts.
fn stamp(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let digits = |range: &[u8]| range.iter().all(u8::is_ascii_digit);
    let at = bytes.windows(15).find(|window| digits(&window[..8]) && matches!(window[8], b'_' | b'-') && digits(&window[9..]))?;
    Some(at.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect())
}
