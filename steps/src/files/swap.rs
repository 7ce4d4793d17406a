//! Folders that will be swapped for others beside them: what can be, and the names around them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::words::verbatim;
use serde::Serialize;

use super::{FileError, platform};

/// What must stay outside of a folder that will be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Outside {
    /// What the plan names.
    #[error("")]
    Given,
    /// The folder of the run.
    #[error(" (where this run keeps its state)")]
    State,
    /// Where this process is.
    #[error(" (the current folder: start almaplan elsewhere)")]
    CurrentFolder,
}

/// Why a folder cannot be swapped.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum SwapError {
    /// Nothing can be beside it.
    #[error("{} is the root of a drive or a mount: nothing can be built beside it; deploy to a folder inside it", .0.display())]
    Mount(PathBuf),
    /// Nothing may be made beside it.
    #[error("{} cannot be written ({source}), so nothing can be built beside {}; grant it to this user", parent.display(), target.display())]
    Parent {
        /// The folder above.
        parent: PathBuf,
        /// The folder that would be swapped.
        target: PathBuf,
        /// What the system said.
        #[serde(serialize_with = "verbatim")]
        source: io::Error,
    },
    /// Something that must stay would be swapped away.
    #[error("{}{what} is inside {}, which will be swapped; move it out", inner.display(), target.display())]
    Inside {
        /// What must stay.
        inner: PathBuf,
        /// What that is.
        what: Outside,
        /// The folder that would be swapped.
        target: PathBuf,
    },
    /// A volume in it would be moved along.
    #[error("a volume is mounted at {}, inside {}, which will be swapped; mount it outside, and let a link lead there", mount.display(), target.display())]
    MountInside {
        /// Where the volume is mounted.
        mount: PathBuf,
        /// The folder that would be swapped.
        target: PathBuf,
    },
    /// A link of somebody else leads to it.
    #[error(transparent)]
    Files(#[from] FileError),
    /// It is a file.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The system does not tell.
    #[error("could not look at {}: {source}", path.display())]
    Io {
        /// What was looked at.
        path: PathBuf,
        /// What the system said.
        #[serde(serialize_with = "verbatim")]
        source: io::Error,
    },
}

/// Whether `target` (which may not exist yet) can be renamed away and replaced, with none of `outside` (a path, and what it is)
/// inside it.
///
/// # Errors
/// It cannot; the error says why and what to do.
pub fn fit_for_swap(target: &Path, outside: &[(PathBuf, Outside)]) -> Result<(), SwapError> {
    let target = real_target(target)?;
    let Some(parent) = target.parent() else { return Err(SwapError::Mount(target)) };
    if target.exists() {
        if !target.is_dir() {
            return Err(SwapError::NotAFolder(target));
        }
        if platform::is_mount(&target).map_err(|source| SwapError::Io { path: target.clone(), source })? {
            return Err(SwapError::Mount(target));
        }
        let mounts = platform::mounts_below(&target).map_err(|source| SwapError::Io { path: target.clone(), source })?;
        if let Some(mount) = mounts.into_iter().next() {
            return Err(SwapError::MountInside { mount, target });
        }
    }
    writable(parent).map_err(|source| SwapError::Parent { parent: parent.to_owned(), target: target.clone(), source })?;
    match outside.iter().find(|(path, _)| contains(&target, path)) {
        Some((inner, what)) => Err(SwapError::Inside { inner: inner.clone(), what: *what, target }),
        None => Ok(()),
    }
}

/// Tries whether `path`, a file or folder, can be written; of what does not exist yet, the nearest folder above it. In a folder a
/// file is made and removed again.
///
/// # Errors
/// It cannot.
pub fn writable(path: &Path) -> io::Result<()> {
    let place = path.ancestors().find(|place| place.exists()).ok_or(io::ErrorKind::NotFound)?;
    let tried = if place.is_dir() {
        tempfile::Builder::new()
            .prefix(".almaplan-")
            .tempfile_in(place)
            .and_then(tempfile::NamedTempFile::close)
            .map_err(|error| plain(&error))
    } else if place == path {
        File::options().append(true).open(place).map(drop)
    } else {
        return Err(io::Error::other(format!("{} is no folder", place.display())));
    };
    // Above a folder that does not exist yet, say where it failed.
    tried.map_err(|error| if place == path { error } else { io::Error::new(error.kind(), format!("{error} ({})", place.display())) })
}

/// An error of the system without the path of the file that was only tried.
fn plain(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string().split(" at path ").next().unwrap_or_default().to_owned())
}

/// `path` with `suffix` at the end of its last component.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

/// Where a chain of links at `path` ends, also where nothing is there any more: what is renamed is the folder, not a link to it.
///
/// # Errors
/// Somebody else could have put one of the links there.
pub(crate) fn real_target(path: &Path) -> Result<PathBuf, FileError> {
    let mut real = path.to_owned();
    for _ in 0..40 {
        let no_link = |reason| FileError::Link { path: path.to_owned(), reason };
        let Some(next) = platform::trusted_link(&real).map_err(no_link)? else { break };
        real = real.parent().map_or_else(|| next.clone(), |parent| parent.join(&next));
    }
    Ok(real.components().collect())
}

/// Whether one of the two folders is in the other, or they are the same.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    contains(a, b) || contains(b, a)
}

/// Whether `inner` is `outer` or in it, links resolved as far as the paths exist.
pub(super) fn contains(outer: &Path, inner: &Path) -> bool {
    let (outer, inner) = (resolved(outer), resolved(inner));
    if !platform::IGNORES_CASE {
        return inner.starts_with(outer);
    }
    let lower = |path: &Path| PathBuf::from(path.to_string_lossy().to_lowercase());
    lower(&inner).starts_with(lower(&outer))
}

fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return real.join(path.strip_prefix(ancestor).expect("an ancestor is a prefix"));
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_folder_inside_the_target_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("app");
        std::fs::create_dir(&target).unwrap();
        fit_for_swap(&target, &[(folder.path().join("app-backups"), Outside::Given)]).unwrap();
        let error = fit_for_swap(&target, &[(target.join("x/.almaplan"), Outside::State)]).unwrap_err();
        assert!(matches!(error, SwapError::Inside { .. }));
        assert!(error.to_string().contains("/.almaplan (where this run keeps its state) is inside"), "{error}");
        fit_for_swap(&folder.path().join("not/yet/there"), &[]).unwrap();
    }

    #[test]
    fn a_root_and_a_mount_are_refused() {
        assert!(matches!(fit_for_swap(Path::new("/"), &[]), Err(SwapError::Mount(_))));
        if Path::new("/proc/self").exists() {
            assert!(matches!(fit_for_swap(Path::new("/proc"), &[]), Err(SwapError::Mount(_))));
            // Under Wine the folder is there too, and is no mount of Windows.
            let inside = platform::mounts_below(Path::new("/")).unwrap();
            assert!(cfg!(windows) || inside.contains(&PathBuf::from("/proc")));
        }
    }
}
