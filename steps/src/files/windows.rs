//! What files are on Windows, as far as the standard library tells: read-only flags instead of modes, no syncing of folders.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::walk::Fingerprint;

/// Whether two names that differ only in case are the same file.
pub(crate) const IGNORES_CASE: bool = true;
/// Whether the rules of Windows for names hold.
pub(crate) const WINDOWS_NAMES: bool = true;

const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// A name as text, where it is any.
pub(crate) fn to_text(name: OsString) -> Result<String, OsString> {
    name.into_string()
}

/// The name that a text stands for.
pub(crate) fn to_name(text: &str) -> Cow<'_, OsStr> {
    Cow::Borrowed(OsStr::new(text))
}

/// Opens a file to read it, and not what a link at `path` leads to.
///
/// # Errors
/// See [`is_replaced`] where it is no file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")) }
}

/// As [`open_file`], for `name` in the folder `root`. Links on the way are those that were there when it was walked.
pub(crate) fn open_file_in(root: &Path, name: &str) -> io::Result<File> {
    open_file(&super::inside(root, name))
}

/// A folder in `root`, and where to list it.
pub(crate) fn listable(root: &Path, name: &str) -> io::Result<((), PathBuf)> {
    Ok(((), if name.is_empty() { root.to_owned() } else { super::inside(root, name) }))
}

/// Whether what was to be opened is there, but is something else by now than was found before.
pub(crate) fn is_replaced(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory)
}

/// The unix permission bits that say the same.
pub(crate) fn mode(meta: &Metadata) -> u32 {
    match (meta.is_dir(), meta.permissions().readonly()) {
        (true, _) => 0o755,
        (false, true) => 0o444,
        (false, false) => 0o644,
    }
}

/// Sets the read-only flag of a file that nobody may write; folders have no such thing.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let meta = path.metadata()?;
    if meta.is_dir() {
        return Ok(());
    }
    let mut permissions = meta.permissions();
    permissions.set_readonly(mode & 0o222 == 0);
    std::fs::set_permissions(path, permissions)
}

/// As [`set_mode`], of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(mode & 0o222 == 0);
    file.set_permissions(permissions)
}

/// What changes whenever the file does.
pub(crate) fn fingerprint(meta: &Metadata) -> Fingerprint {
    // In units of 100 ns since 1601; only compared for equality.
    let time = |ticks: u64| i64::try_from(ticks).unwrap_or(i64::MAX);
    Fingerprint { len: meta.len(), modified_ns: time(meta.last_write_time()), changed_ns: time(meta.creation_time()), file: 0 }
}

/// Makes a symbolic link at `at`; needs the right to, or developer mode.
pub(crate) fn symlink(target: &Path, at: &Path, is_folder: bool) -> io::Result<()> {
    // Joined anew, with the separator of the system.
    let target: PathBuf = target.components().collect();
    if is_folder { std::os::windows::fs::symlink_dir(target, at) } else { std::os::windows::fs::symlink_file(target, at) }
}

/// Times of links themselves are not set here: nothing reads them.
pub(crate) fn set_link_time(_: &Path, _: i64) -> io::Result<()> {
    Ok(())
}

/// Sets when a folder was modified.
pub(crate) fn set_folder_time(path: &Path, time: SystemTime) -> io::Result<()> {
    let folder = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    folder.set_times(FileTimes::new().set_modified(time))
}

/// NTFS journals its folders; flushing one is undocumented.
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// There is no such call for ordinary users: each file has to be synced.
pub(crate) fn sync_volume(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Renames, replacing a file that is there even where it is read-only.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let Err(error) = std::fs::rename(from, to) else { return Ok(()) };
    let read_only = to.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().readonly());
    if !read_only {
        return Err(error);
    }
    set_mode(to, 0o644)?;
    std::fs::rename(from, to)
}

/// Whether another process (a virus scanner among them) is in the way, so that waiting may help.
pub(crate) fn is_held(error: &io::Error) -> bool {
    // ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
    matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// Whether this process has as many files open as it may.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    // ERROR_TOO_MANY_OPEN_FILES
    error.raw_os_error() == Some(4)
}

/// Whether a folder cannot be renamed, though what is in it could be replaced.
pub(crate) fn cannot_be_renamed(error: &io::Error) -> bool {
    // The above, and ERROR_NOT_SAME_DEVICE
    is_held(error) || error.raw_os_error() == Some(17)
}

/// Who has `path` open: only the Restart Manager tells, and the standard library does not reach it.
pub(crate) fn holders(_: &Path) -> Vec<String> {
    Vec::new()
}

/// Bytes that are free on the volume of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let path = path.canonicalize()?;
    let text = path.to_string_lossy().trim_start_matches(r"\\?\").to_lowercase();
    let disks = sysinfo::Disks::new_with_refreshed_list().map_err(io::Error::other)?;
    let of = disks.iter().filter(|disk| text.starts_with(&disk.mount_point().to_string_lossy().to_lowercase()));
    of.max_by_key(|disk| disk.mount_point().as_os_str().len())
        .map(sysinfo::Disk::available_space)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no volume holds it"))
}

/// Whether `path` is the root of a drive or a share, or a volume is mounted there.
pub(crate) fn is_mount(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    if path.parent().is_none() {
        return Ok(true);
    }
    let text = path.to_string_lossy().trim_start_matches(r"\\?\").trim_end_matches('\\').to_lowercase();
    let disks = sysinfo::Disks::new_with_refreshed_list().map_err(io::Error::other)?;
    let at = |disk: &sysinfo::Disk| disk.mount_point().to_string_lossy().trim_end_matches('\\').to_lowercase();
    Ok(disks.iter().any(|disk| at(disk) == text))
}
