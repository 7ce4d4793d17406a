//! How far a run's journal was known to be, kept beside the database: SQLite drops what it cannot read at the end of a WAL, and a
//! WAL that rots, is deleted or is left out of a copy takes whole appends along without a trace in the database itself.
//!
//! It is written after each append and never synced, so it may lag behind, and after a power cut be anything; but it never runs
//! ahead. What does not read is no witness.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use crate::journal::Link;
use crate::{trust, volume};

/// The journal had at least this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Witness {
    /// So many events.
    pub(super) events: u64,
    /// And this was the hash of the last one.
    pub(super) head: Link,
}

/// The witness's file, open for one run.
#[derive(Debug)]
pub(super) struct Keeper(Option<File>);

impl Witness {
    /// What is kept in the run's folder, if it reads.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = io::read_to_string(trust::open(&file(folder)).ok()?).ok()?;
        let mut words = text.split_whitespace();
        let events = words.next()?.parse().ok()?;
        let head = blake3::Hash::from_hex(words.next()?).ok()?;
        let witness = Self { events, head: *head.as_bytes() };
        (text == witness.text()).then_some(witness)
    }

    /// Always as long as any other, so that it is overwritten in place; with a checksum, because it may be read while it is.
    fn text(&self) -> String {
        let told = format!("{:020} {}", self.events, blake3::Hash::from_bytes(self.head).to_hex());
        format!("{told} {}\n", blake3::hash(told.as_bytes()).to_hex())
    }
}

impl Keeper {
    /// Keeps the witness in the run's folder, where that can be written.
    pub(super) fn open(folder: &Path) -> Self {
        let path = file(folder);
        let there = |_| trust::file(&path).map_err(io::Error::from).and_then(|()| File::options().write(true).open(&path));
        Self(volume::create_private_file(&path).or_else(there).ok())
    }

    /// The journal durably has this now. A witness that cannot be written is done without: the events are what counts.
    pub(super) fn keep(&mut self, witness: &Witness) {
        let Some(file) = &mut self.0 else { return };
        if file.rewind().and_then(|()| file.write_all(witness.text().as_bytes())).is_err() {
            self.0 = None;
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("head")
}
