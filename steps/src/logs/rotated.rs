//! The files that a log was rotated to, whoever did it: Python's handlers (`app.log.1`, `app.log.2026-02-06`), logrotate with its
//! `dateext` and `compress` (`app.log-20260206`, `app.log.1.gz`), loguru (`app.2026-02-06_05-00-00_123456.log`).

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How a name ends whose content is compressed; only the first can be read here.
const PACKED: [&str; 6] = ["gz", "bz2", "xz", "zst", "zip", "lz4"];
/// What a single former log is called by hand and by some loggers.
const FORMER: [&str; 4] = ["old", "bak", "prev", "previous"];

/// A file that a log was renamed or copied to.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) path: PathBuf,
    /// When it was last written to.
    pub(super) modified: SystemTime,
    created: Option<SystemTime>,
    packed: Option<&'static str>,
}

impl Rotated {
    /// Whether its content can be read here.
    pub(super) fn is_readable(&self) -> bool {
        matches!(self.packed, None | Some("gz"))
    }

    /// Whether all that it holds is newer than `moment`, for a log that was empty then. What is compressed was created by that, and keeps
    /// the time of its content.
    pub(super) fn begun_since(&self, moment: SystemTime) -> bool {
        match (self.packed, self.created) {
            (None, Some(created)) => created >= moment,
            (Some(_), _) | (None, None) => self.modified >= moment,
        }
    }
}

/// The files that `file` was rotated to, newest first.
///
/// # Errors
/// The folder cannot be read; a missing one holds none.
pub(super) fn rotated(file: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(Vec::new()) };
    let name = name.to_string_lossy();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        let Some((number, packed)) = rotation_of(&name, &other) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            let rotated = Rotated { path: entry.path(), modified: metadata.modified()?, created: metadata.created().ok(), packed };
            found.push((rotated.modified, Reverse(number), rotated));
        }
    }
    found.sort_by_key(|(modified, number, _)| Reverse((*modified, *number)));
    Ok(found.into_iter().map(|(_, _, rotated)| rotated).collect())
}

/// Whether `other` is what a log called `name` was rotated to: its number, 0 where it has none, and how it is packed.
fn rotation_of(name: &str, other: &str) -> Option<(u64, Option<&'static str>)> {
    let packed = PACKED.into_iter().find(|end| other.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')));
    let plain = packed.map_or(other, |end| &other[..other.len() - end.len() - 1]);
    if plain == name {
        return packed.map(|packed| (0, Some(packed)));
    }
    let (stem, end) = name.rfind('.').filter(|dot| *dot > 0).map_or((name, ""), |dot| name.split_at(dot));
    let behind = plain.strip_prefix(name);
    let within = || plain.strip_prefix(stem)?.strip_suffix(end);
    let suffix = behind.or_else(within)?.strip_prefix(['.', '-', '_'])?;
    let is_number_or_date = suffix.starts_with(|c: char| c.is_ascii_digit());
    // Anything else beside it is something else: `app.log.lock`, `app-errors.log`.
    (is_number_or_date || (behind.is_some() && FORMER.contains(&suffix))).then(|| (suffix.parse().unwrap_or(0), packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loggers_names_are_known_and_what_is_something_else_is_not() {
        for other in [
            "app.log.1",
            "app.log.2026-02-06",
            "app.log-20260206",
            "app.log.1.gz",
            "app.log-20260206.xz",
            "app.log.gz",
            "app.log.old",
            "app.2026-02-06_05-00-00_123456.log",
            "app-2026-02-06.log",
            "app_1.log",
            "app.1.log.zip",
        ] {
            assert!(rotation_of("app.log", other).is_some(), "{other}");
        }
        for other in ["app.log", "app.log.lock", "app-errors.log", "app2.log", "app.old.log", "application.log", "log.1", "app.pid"] {
            assert!(rotation_of("app.log", other).is_none(), "{other}");
        }
        assert_eq!(rotation_of("app.log", "app.log.12.gz"), Some((12, Some("gz"))));
        assert_eq!(rotation_of("debug", "debug.3"), Some((3, None)));
    }
}
