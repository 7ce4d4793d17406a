//! Which copy of each file a restored folder gets: the archive's, or the one that is there now.
//!
//! What belongs to a release comes from the archive. What belongs to none is data: people and the service went on writing after the
//! backup was taken, so what is there now wins, and what is gone now stays gone.

use std::collections::BTreeMap;

use super::{Kind, Manifest, Patterns, is_own};

/// What is in a folder or an archive, by name.
pub(crate) type Listing = BTreeMap<String, Kind>;

/// Where a file of the restored folder comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// From the folder as it is now.
    Current,
    /// From the archive.
    Archived,
    /// It is not restored.
    Nothing,
}

/// All that decides it.
pub(crate) struct Carry<'a> {
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

impl Carry<'_> {
    /// Where `name` comes from.
    pub fn decide(&self, name: &str) -> Keep {
        let archived = self.archived.contains_key(name);
        let Some(current) = self.current else { return if archived { Keep::Archived } else { Keep::Nothing } };
        if is_own(name) {
            return if archived { Keep::Archived } else { Keep::Nothing };
        }
        // A journal goes with its database: the archive's database with the journal of now would be neither.
        if let Some(base) = is_companion(name).filter(|base| self.is_companion_of(name, base, current)) {
            return match self.decide(base) {
                Keep::Current if current.contains_key(name) && !name.ends_with("-shm") => Keep::Current,
                Keep::Archived if archived => Keep::Archived,
                Keep::Current | Keep::Archived | Keep::Nothing => Keep::Nothing,
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

    fn decide_alone(&self, name: &str, current: Option<Kind>, archived: bool) -> Keep {
        let is_folder = current == Some(Kind::Folder);
        let preserved = self.preserve.covers(name, is_folder);
        let in_old = self.old.is_some_and(|old| old.has(name));
        let released = in_old || self.newer.iter().any(|release| release.has(name));
        let data = if self.blind() { !archived || (self.is_database)(name) || name.ends_with(".log") } else { !released };
        match (current.is_some(), archived) {
            (true, _) if preserved || data => Keep::Current,
            // It was there at the time, and left out of the backup on purpose.
            (true, false) if in_old => Keep::Current,
            (true, false) | (false, false) => Keep::Nothing,
            (true, true) => Keep::Archived,
            (false, true) if self.blind() || released => Keep::Archived,
            (false, true) => Keep::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::manifest::Item;

    fn listing(names: &[&str]) -> Listing {
        names.iter().map(|name| ((*name).to_owned(), Kind::File)).collect()
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
        let carry = Carry {
            current: Some(&current),
            archived: &archived,
            old: Some(&old),
            newer: &new,
            preserve: &preserve,
            is_database: &is_database,
        };
        let expected = [
            ("app.py", Keep::Archived),
            ("old.py", Keep::Archived),
            ("new.py", Keep::Nothing),
            ("x.db", Keep::Current),
            ("x.db-wal", Keep::Current),
            ("x.db-shm", Keep::Nothing),
            ("seed.db", Keep::Archived),
            ("seed.db-wal", Keep::Nothing),
            ("upload.png", Keep::Current),
            ("app.log", Keep::Current),
            ("deleted-since.png", Keep::Nothing),
            ("venv/python", Keep::Current),
        ];
        for (name, keep) in expected {
            assert_eq!(carry.decide(name), keep, "{name}");
        }
    }

    #[test]
    fn preserve_makes_data_of_a_release_file_with_its_journal() {
        let (current, archived) = (listing(&["seed.db", "seed.db-wal"]), listing(&["seed.db"]));
        let releases = [release(&["seed.db"])];
        let preserve = Patterns::new(&["*.db"]).unwrap();
        let carry = Carry {
            current: Some(&current),
            archived: &archived,
            old: None,
            newer: &releases,
            preserve: &preserve,
            is_database: &|name| name == "seed.db",
        };
        assert_eq!((carry.decide("seed.db"), carry.decide("seed.db-wal")), (Keep::Current, Keep::Current));
    }

    #[test]
    fn without_any_manifest_nothing_is_lost_and_code_comes_back() {
        let (current, archived) = (listing(&["app.py", "x.db", "app.log", "new.png"]), listing(&["app.py", "x.db", "app.log", "gone.py"]));
        let preserve = Patterns::default();
        let carry = Carry {
            current: Some(&current),
            archived: &archived,
            old: None,
            newer: &[],
            preserve: &preserve,
            is_database: &|name| name == "x.db",
        };
        let keeps = ["app.py", "x.db", "app.log", "new.png", "gone.py"].map(|name| carry.decide(name));
        assert_eq!(keeps, [Keep::Archived, Keep::Current, Keep::Current, Keep::Current, Keep::Archived]);
    }
}
