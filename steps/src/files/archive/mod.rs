//! Zip archives: written so that Explorer, `unzip` and Python read them, and read as if an enemy had written them.
//!
//! Zip64; UTF-8 names; times to the second, independent of time zones; unix modes; symbolic links; empty folders. Stored or deflated, nothing else.

mod deflate;
mod end;
mod format;
mod inflate;
mod names;
mod packed;
mod reader;
mod record;
mod writer;

use std::path::PathBuf;

pub(crate) use self::inflate::Handle;
pub(crate) use self::names::{check_link, check_name};
pub(crate) use self::packed::{Packed, Packer, sampled};
pub(crate) use self::reader::{Archive, Entry, Limits};
pub(crate) use self::writer::{Item, Writer};

/// The comment of an archive of a folder.
pub(crate) const SAVED: &str = "almaplan backup";
/// The comment of an archive of a folder that did not exist: restoring it leaves no folder.
pub(crate) const ABSENT: &str = "almaplan: the folder did not exist";

/// In a comment, before the checksum of the directory.
const DIRECTORY_SUM: &str = "; directory ";

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
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is none.
    #[error("the archive {} is missing; put it back, then `almaplan resume`", .0.display())]
    Missing(PathBuf),
    /// The system refused.
    #[error("could not {doing} the archive {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The archive.
        path: PathBuf,
        /// What the system said.
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
