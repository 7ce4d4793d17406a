//! Removing, so that an interruption never leaves half of a thing under its name.

use std::io;
use std::path::Path;

use super::{FileError, Job, Kind, Patterns, beside, io_error, platform, present, walk};

/// Removes a file or a link, read-only or not; nothing there is fine.
pub(crate) fn remove_file(job: &Job, path: &Path) -> Result<(), FileError> {
    job.patiently("remove", path, || match platform::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

/// Removes whatever is at `path`, folders with all that is in them.
pub(crate) fn remove_tree(job: &Job, path: &Path) -> Result<(), FileError> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.is_dir() {
        return remove_file(job, path);
    }
    job.check()?;
    job.patiently("remove", path, || match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            std::fs::remove_dir_all(path)
        }
        // Each folder above another that is being removed takes a handle.
        Err(error) if platform::is_out_of_handles(&error) => remove_from_within(path),
        other => other,
    })
}

/// Removes `path` so that it never stands there half: renamed first.
pub(crate) fn discard(job: &Job, path: &Path) -> Result<(), FileError> {
    let doomed = beside(path, ".removing");
    remove_tree(job, &doomed)?;
    if !present(path) {
        return Ok(());
    }
    job.patiently("rename", path, || std::fs::rename(path, &doomed))?;
    platform::sync_folder(path.parent().unwrap_or(path)).map_err(io_error("sync the folder of", path))?;
    remove_tree(job, &doomed)
}

/// Removes a folder with one handle only, however deep it is.
fn remove_from_within(path: &Path) -> io::Result<()> {
    for found in walk(path, &Patterns::default()).map_err(io::Error::other)?.iter().rev() {
        if found.meta.kind == Kind::Folder { std::fs::remove_dir(found.path())? } else { std::fs::remove_file(found.path())? }
    }
    std::fs::remove_dir(path)
}

/// Folders without write permission keep what is in them, and on Windows so do read-only files: give it back before removing.
fn open_up(path: &Path) {
    let _ = platform::set_mode(path, 0o755);
    for found in walk(path, &Patterns::default()).unwrap_or_default() {
        if found.meta.kind == Kind::Folder || (platform::WINDOWS_NAMES && found.meta.kind == Kind::File) {
            let _ = platform::set_mode(&found.path(), 0o755);
        }
    }
}
