//! Removing, so that an interruption never leaves half of a thing under its name, and nothing of a volume that is mounted inside.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::walk::walk_in;
use super::{BlockingTask, FileError, FileKind, Found, Patterns, Root, beside, inside, io_error, mounts_below, platform, present, walk};

/// Removes a file or a link, read-only or not; nothing there is fine.
pub(crate) fn remove_file(task: &BlockingTask, path: &Path) -> Result<(), FileError> {
    if !present(path) {
        return Ok(());
    }
    let (folder, name) = Root::above(path).map_err(io_error("open the folder of", path))?;
    remove_file_in(task, &folder, &name)
}

/// As [`remove_file`], of the file `name` in an open folder.
pub(crate) fn remove_file_in(task: &BlockingTask, root: &Root, name: &str) -> Result<(), FileError> {
    task.patiently("remove", &inside(&root.path, name), || match root.remove_file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

/// Removes whatever is at `path`, folders with all that is in them.
///
/// # Errors
/// A volume is mounted there or inside, or the system refuses.
pub(crate) fn remove_tree(task: &BlockingTask, path: &Path) -> Result<(), FileError> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.is_dir() {
        return remove_file(task, path);
    }
    task.check()?;
    check_no_mount(path)?;
    let (folder, name) = Root::above(path).map_err(io_error("open the folder of", path))?;
    if folder.is_foreign() {
        return remove_below(task, &folder, &name);
    }
    task.patiently("remove", path, || match std::fs::remove_dir_all(path) {
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

/// Removes what is called `name` in the open folder `root`, with all that is in it, through no link.
///
/// # Errors
/// The system refuses.
pub(crate) fn remove_below(task: &BlockingTask, root: &Root, name: &str) -> Result<(), FileError> {
    let path = inside(&root.path, name);
    match root.look(name) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.kind != FileKind::Folder => return remove_file_in(task, root, name),
        Ok(_) => {}
    }
    let folder = Arc::new(root.below(name).map_err(io_error("open the folder", &path))?);
    for found in walk_in(&folder, &Patterns::default())?.iter().rev() {
        task.check()?;
        task.patiently("remove", &found.path(), || remove_found(&folder, found))?;
    }
    task.patiently("remove", &path, || root.remove_folder(name))
}

fn remove_found(folder: &Root, found: &Found) -> io::Result<()> {
    if found.meta.kind == FileKind::Folder { folder.remove_folder(&found.name) } else { folder.remove_file(&found.name) }
}

/// Whether nothing of a volume is at `path` or below it.
///
/// # Errors
/// Something is; the error says where.
pub(crate) fn check_no_mount(path: &Path) -> Result<(), FileError> {
    let mut mounts = mounts_below(path).map_err(io_error("look at", path))?;
    if platform::is_mount(path).map_err(io_error("look at", path))? {
        mounts.insert(0, path.to_owned());
    }
    match mounts.into_iter().next() {
        Some(mount) => Err(FileError::Mounted { path: path.to_owned(), mount }),
        None => Ok(()),
    }
}

/// Removes `path` so that it never stands there half: renamed first.
pub(crate) fn discard(task: &BlockingTask, path: &Path) -> Result<(), FileError> {
    let doomed = beside(path, ".removing");
    remove_tree(task, &doomed)?;
    if !present(path) {
        return Ok(());
    }
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        check_no_mount(path)?;
    }
    let (folder, name) = Root::above(path).map_err(io_error("open the folder of", path))?;
    task.patiently("rename", path, || folder.rename(&name, &folder, &format!("{name}.removing")))?;
    folder.sync_folder("").map_err(io_error("sync the folder of", path))?;
    remove_tree(task, &doomed)
}

/// Removes a folder with one handle only, however deep it is.
fn remove_from_within(path: &Path) -> io::Result<()> {
    for found in walk(path, &Patterns::default()).map_err(io::Error::other)?.iter().rev() {
        if found.meta.kind == FileKind::Folder { std::fs::remove_dir(found.path())? } else { std::fs::remove_file(found.path())? }
    }
    std::fs::remove_dir(path)
}

/// Folders without write permission keep what is in them, and on Windows so do read-only files: give it back before removing.
fn open_up(path: &Path) {
    let _ = platform::set_mode(path, 0o700);
    for found in walk(path, &Patterns::default()).unwrap_or_default() {
        if found.meta.kind == FileKind::Folder || (platform::WINDOWS_NAMES && found.meta.kind == FileKind::File) {
            let _ = platform::set_mode(&found.path(), 0o700);
        }
    }
}
