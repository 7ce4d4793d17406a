//! Why a folder is not restored.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::files::FileError;
use crate::release::ReleaseError;

/// See the module.
#[derive(Debug, thiserror::Error)]
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
    Contents { path: PathBuf, source: serde_json::Error },
}
