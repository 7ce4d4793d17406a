//! Why a release is neither staged nor put in place.

use std::path::PathBuf;

use almaplan_engine::words::verbatim;
use serde::Serialize;

use crate::archive::ArchiveError;
use crate::files::{FileError, FirstOf};

/// See the module.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum ReleaseError {
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("{} cannot be understood; where it is damaged, delete it: the next deploy then deletes nothing", path.display())]
    Manifest { path: PathBuf, source: ManifestError },
    #[error("give either `from` or `staged`")]
    Origin,
    #[error("the source {} is no folder; check `from`", .0.display())]
    NoSource(PathBuf),
    #[error("{} has no files: an empty release would delete everything that is deployed; check `from` and `exclude`", .0.display())]
    EmptySource(PathBuf),
    #[error("the source {} and the target {} are inside one another", from.display(), to.display())]
    Overlap { from: PathBuf, to: PathBuf },
    #[error("the target {} is a root: nothing can be beside it", .0.display())]
    Root(PathBuf),
    #[error("the target {} is not a folder", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is where releases are staged, but was made by somebody else; move it away", .0.display())]
    NotOurs(PathBuf),
    #[error("{} holds no staged release; run `stage` again", .0.display())]
    NotStaged(PathBuf),
    #[error("the staged file {} is missing; stage again", .0.display())]
    FileNotStaged(PathBuf),
    #[error("{} belongs to no release and is where `{name}` of the new one must be; move it away or exclude `{name}`", path.display())]
    Blocked { path: PathBuf, name: String },
    #[error(
        "the release replaces or deletes what the backup {} has not got: {names} (in {}); take it out of `exclude` of `backup`, or exclude it from the release too",
        archive.display(),
        folder.display()
    )]
    NotSaved { names: FirstOf, folder: PathBuf, archive: PathBuf },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("`keep_data` is {}, which exists or is in the target; name a new folder outside", .0.display())]
    KeepData(PathBuf),
}

/// What is wrong in a manifest.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    Json(
        #[serde(serialize_with = "verbatim")]
        #[from]
        serde_json::Error,
    ),
    #[error("it was written by a newer version")]
    Newer,
    #[error("the name `{name}` {reason}")]
    Name { name: String, reason: &'static str },
}
