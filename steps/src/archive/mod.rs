//! Zip archives: written so that Explorer, `unzip` and Python read them, and read as if an enemy had written them.
//!
//! Zip64; UTF-8 names; times independent of time zones; unix modes; symbolic links; empty folders. Stored or deflated, nothing else. What
//! zip has no place for is in a field of ours, which other programs pass over.

mod details;
mod format;
mod in_order;
mod inflate;
mod packer;
mod reader;
mod record;
mod writer;

use std::path::PathBuf;

use almaplan_engine::words::verbatim;
use flate2::Crc;
use serde::Serialize;

use crate::files::as_key;

pub(crate) use self::details::{Details, link_bytes};
pub(crate) use self::in_order::{held_len, in_order};
pub(crate) use self::inflate::Handle;
pub(crate) use self::packer::{Item, Packed, Packer, Spool, sampled};
pub(crate) use self::reader::{Archive, Entry, Limits};
pub(crate) use self::writer::Writer;

/// The comment of an archive of a folder.
pub(crate) const SAVED: &str = "almaplan backup";
/// The comment of an archive of a folder that did not exist: restoring it leaves no folder.
pub(crate) const ABSENT: &str = "almaplan: the folder did not exist";

/// The entry that stands for the folder itself: an empty folder, with the attributes of the one that was archived.
pub(crate) const ITSELF: &str = ".almaplan-folder";

/// In a comment, before the checksum of the directory.
const DIRECTORY_SUM: &str = "; directory ";

/// The CRC-32 of zip.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Reads whatever restoring an archive would read of it: for the fuzzer, which knows no kind.
///
/// # Errors
/// See [`ArchiveError`].
#[cfg(fuzzing)]
pub fn read_all(path: &std::path::Path) -> Result<(), ArchiveError> {
    // As many bytes as a fuzzer has time for.
    let limits = Limits { total: 16 << 20, ..Limits::default() };
    let archive = Archive::open(path, &limits)?;
    let mut file = archive.handle()?;
    archive.entries.iter().try_for_each(|entry| archive.read(&mut file, entry, |_| Ok(())))
}

/// Why an archive is refused.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum ArchiveError {
    /// There is none.
    #[error("the archive {} is missing; put it back, then `almaplan resume`", .0.display())]
    Missing(PathBuf),
    /// It is not the one that the run made.
    #[error("the archive {} is not the one that this run made: its SHA-256 is {found}, and {recorded} was recorded; put that one back, then `almaplan resume`", path.display())]
    NotOurs {
        /// The archive.
        path: PathBuf,
        /// Of what is there now.
        found: String,
        /// Of what was made.
        recorded: String,
    },
    /// The system refused.
    #[error("could not {doing} the archive {}", path.display())]
    Io {
        /// What was tried.
        #[serde(serialize_with = "as_key")]
        doing: &'static str,
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    /// It is no archive, or a damaged one.
    #[error("the archive {} is damaged ({reason}); take another", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It holds what no backup of ours holds.
    #[error("the archive {} is refused: the entry `{entry}` {reason}", path.display())]
    Hostile {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it, after the entry's name.
        reason: String,
    },
}
