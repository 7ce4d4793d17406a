//! Why a folder is not restored.

use std::path::PathBuf;

use almaplan_engine::words::verbatim;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::files::{FileError, whole};
use crate::release::ReleaseError;

/// What is told although the folder is restored.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum RecoveryNote {
    #[error(
        "{} has no manifest, so data is told from code by guessing: what both have comes from the archive, but for databases and logs",
        to.display()
    )]
    Guessed { to: PathBuf },
    #[error("no data was kept at the stop by this run (`keep_data` of `sync`): the data as it is now is taken")]
    NoKeptData,
    #[error("{} could not be written: {source}", at.display())]
    NoMark {
        at: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("{}; its content is copied to {} and the archive restored in place", whole(because), failed.display())]
    InPlace { because: FileError, failed: PathBuf },
    #[error("{} is not carried over: the restored release has something else in its place", path.display())]
    Taken { path: PathBuf },
    #[error("{} is not carried over: it is neither a file nor a folder", path.display())]
    NoFile { path: PathBuf },
    #[error("{} is not carried over: a volume is mounted there, and stays", path.display())]
    Mount { path: PathBuf },
}

/// See the module.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error(transparent)]
    Files(#[from] FileError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("{} is a root: nothing can be beside it", .0.display())]
    Root(PathBuf),
    #[error("{} is not a folder", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "the archive {} is inside {}, which is to be replaced; move it out, then `almaplan resume`",
        archive.display(),
        to.display()
    )]
    ArchiveInside { archive: PathBuf, to: PathBuf },
    #[error("`keep_failed_as` is {}: it must be beside {}", failed.display(), to.display())]
    FailedInside { failed: PathBuf, to: PathBuf },
    #[error(
        "the restored folder needs {needed} bytes beside it in {}, where {free} are free; make room, then `almaplan resume`",
        parent.display()
    )]
    NoSpace { needed: u64, parent: PathBuf, free: u64 },
    #[error("the data kept at the stop is missing from {}; put it back, then `almaplan resume`", .0.display())]
    NoKeptData(PathBuf),
    #[error("{}, which lists what is restored, cannot be understood", path.display())]
    Contents {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: serde_json::Error,
    },
}
