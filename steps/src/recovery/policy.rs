//! Which copy of each file a restored folder gets: the archive's, or the one that is there now.
//!
//! What belongs to a release comes from the archive. What belongs to none is data: people and the service went on writing after the
//! backup was taken, so what is there now wins, and what is gone now stays gone.

use std::collections::BTreeMap;

use crate::files::{FileKind, Patterns};
use crate::release::{Manifest, is_own};

/// What is in a folder or an archive, by name.
pub(crate) type Listing = BTreeMap<String, FileKind>;

/// Where a file of the restored folder comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the folder as it is now.
    Current,
    /// From the archive.
    Archived,
    /// It is not restored.
    Nothing,
}

/// All that decides it.
pub(crate) struct RestorePolicy<'a> {
    /// The data as it is now; `None` where no folder is left.
    pub current: Option<&'a Listing>,
    /// What the archive holds.
    pub archived: &'a Listing,
    /// The release that was archived.
    pub old: Option<&'a Manifest>,
    /// The releases that were put in place since, wholly or in part.
    pub newer: &'a [Manifest],
    /// What is data although a release names it.
    pub preserve: &'a Patterns,
    /// Whether the current file of this name is a SQLite database.
    pub is_database: &'a dyn Fn(&str) -> bool,
}

/// Whether `name` is a file that SQLite keeps beside the database that is returned.
fn is_companion(name: &str) -> Option<&str> {
    ["-wal", "-shm", "-journal"].iter().find_map(|end| name.strip_suffix(end))
}

impl RestorePolicy<'_> {
    /// Where `name` comes from.
    pub fn decide(&self, name: &str) -> Origin {
        let archived = self.archived.contains_key(name);
        let Some(current) = self.current else { return if archived { Origin::Archived } else { Origin::Nothing } };
        if is_own(name) {
            return if archived { Origin::Archived } else { Origin::Nothing };
        }
        // A journal goes with its database: the archive's database with the journal of now would be neither.
        if let Some(base) = is_companion(name).filter(|base| self.is_companion_of(name, base, current)) {
            return match self.decide(base) {
                Origin::Current if current.contains_key(name) && !name.ends_with("-shm") => Origin::Current,
                Origin::Archived if archived => Origin::Archived,
                Origin::Current | Origin::Archived | Origin::Nothing => Origin::Nothing,
            };
        }
        self.decide_alone(name, current.get(name).copied(), archived)
    }

    fn is_companion_of(&self, name: &str, base: &str, current: &Listing) -> bool {
        let anywhere = current.contains_key(base) || self.archived.contains_key(base);
        // Other programs keep journals too; nobody else keeps a `-wal` or a `-shm`.
        anywhere && (!name.ends_with("-journal") || !current.contains_key(base) || (self.is_database)(base))
    }

    /// Whether no manifest says what belongs to a release: whatever deployed here was not `sync`.
    pub fn blind(&self) -> bool {
        self.old.is_none() && self.newer.is_empty()
    }

    fn decide_alone(&self, name: &str, current: Option<FileKind>, archived: bool) -> Origin {
        let is_folder = current == Some(FileKind::Folder);
        let preserved = self.preserve.covers(name, is_folder);
        let in_old = self.old.is_some_and(|old| old.has(name));
        let released = in_old || self.newer.iter().any(|release| release.has(name));
        let data = if self.blind() { !archived || (self.is_database)(name) || name.ends_with(".log") } else { !released };
        match (current.is_some(), archived) {
            (true, _) if preserved || data => Origin::Current,
            // It was there at the time, and left out of the backup on purpose.
            (true, false) if in_old => Origin::Current,
            (true, false) | (false, false) => Origin::Nothing,
            (true, true) => Origin::Archived,
            (false, true) if self.blind() || released => Origin::Archived,
            (false, true) => Origin::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::release::Item;

    fn listing(names: &[&str]) -> Listing {
        names.iter().map(|name| ((*name).to_owned(), FileKind::File)).collect()
    }

    fn release(names: &[&str]) -> Manifest {
        let item = Item { size: 0, hash: blake3::Hash::from_bytes([0; 32]), mode: 0o644, link: None };
        Manifest { version: 1, files: names.iter().map(|name| ((*name).to_owned(), item.clone())).collect(), ..Manifest::default() }
    }

    #[test]
    fn code_comes_from_the_archive_and_data_from_now() {
        let current = listing(&[
            "app.py",
            "new.py",
            "x.db",
            "x.db-wal",
            "x.db-shm",
            "seed.db",
            "seed.db-wal",
            "upload.png",
            "app.log",
            "venv/python",
        ]);
        let archived = listing(&["app.py", "old.py", "x.db", "seed.db", "deleted-since.png", "app.log"]);
        let (old, new) = (release(&["app.py", "old.py", "seed.db", "venv/python"]), [release(&["app.py", "new.py", "seed.db"])]);
        let preserve = Patterns::default();
        let is_database = |name: &str| name.ends_with(".db");
        let policy = RestorePolicy {
            current: Some(&current),
            archived: &archived,
            old: Some(&old),
            newer: &new,
            preserve: &preserve,
            is_database: &is_database,
        };
        let expected = [
            ("app.py", Origin::Archived),
            ("old.py", Origin::Archived),
            ("new.py", Origin::Nothing),
            ("x.db", Origin::Current),
            ("x.db-wal", Origin::Current),
            ("x.db-shm", Origin::Nothing),
            ("seed.db", Origin::Archived),
            ("seed.db-wal", Origin::Nothing),
            ("upload.png", Origin::Current),
            ("app.log", Origin::Current),
            ("deleted-since.png", Origin::Nothing),
            ("venv/python", Origin::Current),
        ];
        for (name, keep) in expected {
            assert_eq!(policy.decide(name), keep, "{name}");
        }
    }

    #[test]
    fn preserve_makes_data_of_a_release_file_with_its_journal() {
        let (current, archived) = (listing(&["seed.db", "seed.db-wal"]), listing(&["seed.db"]));
        let releases = [release(&["seed.db"])];
        let preserve = Patterns::new(&["*.db"]).unwrap();
        let policy = RestorePolicy {
            current: Some(&current),
            archived: &archived,
            old: None,
            newer: &releases,
            preserve: &preserve,
            is_database: &|name| name == "seed.db",
        };
        assert_eq!((policy.decide("seed.db"), policy.decide("seed.db-wal")), (Origin::Current, Origin::Current));
    }

    #[test]
    fn without_any_manifest_nothing_is_lost_and_code_comes_back() {
        let (current, archived) = (listing(&["app.py", "x.db", "app.log", "new.png"]), listing(&["app.py", "x.db", "app.log", "gone.py"]));
        let preserve = Patterns::default();
        let policy = RestorePolicy {
            current: Some(&current),
            archived: &archived,
            old: None,
            newer: &[],
            preserve: &preserve,
            is_database: &|name| name == "x.db",
        };
        let keeps = ["app.py", "x.db", "app.log", "new.png", "gone.py"].map(|name| policy.decide(name));
        assert_eq!(keeps, [Origin::Archived, Origin::Current, Origin::Current, Origin::Current, Origin::Archived]);
    }
}
