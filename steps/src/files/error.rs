//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::event::Failure;
use almaplan_engine::words::{Words, verbatim};
use serde::{Serialize, Serializer};
use serde_json::Map;

/// What can go wrong with files.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried, fit after "could not".
        #[serde(serialize_with = "as_key")]
        doing: &'static str,
        /// With what, absolute.
        path: PathBuf,
        /// What the system said.
        #[serde(serialize_with = "verbatim")]
        source: io::Error,
    },
    /// Another process kept the file for longer than this step waits.
    #[error("could not {doing} {}: another process holds it{}; end it and try again", path.display(), by(holders))]
    Held {
        /// What was tried.
        #[serde(serialize_with = "as_key")]
        doing: &'static str,
        /// The file, absolute.
        path: PathBuf,
        /// Who holds it, where the system tells.
        holders: Vec<String>,
    },
    /// The work was asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// A record could not be made durable.
    #[error("{0}")]
    Journal(#[serde(serialize_with = "Failure::said")] Failure),
    /// A record of an earlier attempt is not what this one would record.
    #[error("the record `{name}` cannot be understood")]
    Record {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[serde(serialize_with = "verbatim")]
        source: serde_json::Error,
    },
    /// A name that is not Unicode: no archive or manifest could name it the same way on every system.
    #[error("the name of {} is not valid UTF-8; rename it or exclude it", path.display())]
    NotUtf8 {
        /// The file, its name as far as it can be shown.
        #[serde(serialize_with = "shown")]
        path: PathBuf,
    },
    /// A link that is not followed.
    #[error("could not follow {}: {reason}", path.display())]
    Link {
        /// The path with the link.
        path: PathBuf,
        /// Why not.
        #[serde(serialize_with = "verbatim")]
        reason: io::Error,
    },
    /// A copy did not read back as what was written.
    #[error("the copy {} does not read back as {}; check the disk", to.display(), from.display())]
    BadCopy {
        /// The original.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// A file never stood still.
    #[error("{} changes while it is read; stop whoever writes it, or exclude it", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// A volume is mounted where something would be moved or removed.
    #[error("a volume is mounted at {}: {} is neither moved nor removed; unmount it, or mount it elsewhere", mount.display(), path.display())]
    Mounted {
        /// What would be moved or removed.
        path: PathBuf,
        /// Where the volume is mounted.
        mount: PathBuf,
    },
    /// Names that a release cannot have, all of them.
    #[error(
        "these names cannot be part of a release, as other systems would take them for something else; rename or exclude them: {names}"
    )]
    Names {
        /// The names, with why.
        names: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}` is no pattern ({reason})")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What was tried, as a key of the catalogues: there are as many words for it as there are operations.
pub(crate) fn as_key<S: Serializer>(doing: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Words { key: format!("doing-{}", doing.replace(' ', "-")), values: Map::new() }.serialize(serializer)
}

fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    verbatim(&path.display(), serializer)
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!(" ({})", holders.join(", ")) }
}

/// Makes the error of one operation with `path`; for `map_err`.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}

/// Names, of which not all are shown.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum FirstOf {
    #[error("{}", names.join(", "))]
    All { names: Vec<String> },
    #[error("{} and {more} more", names.join(", "))]
    Some { names: Vec<String>, more: usize },
}

impl FirstOf {
    /// The names that are `shown`, of `total`.
    pub(crate) fn new(shown: &[impl AsRef<str>], total: usize) -> Self {
        let names: Vec<String> = shown.iter().map(|name| name.as_ref().to_owned()).collect();
        match total.saturating_sub(names.len()) {
            0 => Self::All { names },
            more => Self::Some { names, more },
        }
    }
}

/// What is worth telling of files although the work goes on.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum FileNote {
    #[error("the system did not let these keep their owner or their attributes: {paths}")]
    NotKept { paths: FirstOf },
    #[error("{} disappeared before it could be copied", path.display())]
    Disappeared { path: PathBuf },
}
