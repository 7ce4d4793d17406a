//! What files are on unix: modes, links, syncing, and what the system says about space and mounts.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use rustix::io::Errno;

use super::walk::Fingerprint;

/// Whether two names that differ only in case are the same file.
pub(crate) const IGNORES_CASE: bool = false;
/// Whether the rules of Windows for names hold.
pub(crate) const WINDOWS_NAMES: bool = false;

/// The permission bits.
pub(crate) fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

/// Sets the permission bits of what `path` is.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

/// Sets the permission bits of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(PermissionsExt::from_mode(mode))
}

/// What changes whenever the file does.
pub(crate) fn fingerprint(meta: &Metadata) -> Fingerprint {
    let at = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
    Fingerprint {
        len: meta.len(),
        modified_ns: at(meta.mtime(), meta.mtime_nsec()),
        changed_ns: at(meta.ctime(), meta.ctime_nsec()),
        file: meta.ino(),
    }
}

/// Makes a symbolic link at `at`.
pub(crate) fn symlink(target: &str, at: &Path, _is_folder: bool) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

/// Sets when a link itself was modified, in seconds since 1970.
pub(crate) fn set_link_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets when a folder was modified.
pub(crate) fn set_folder_time(path: &Path, time: SystemTime) -> io::Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything on the volume of `path` durable: one call instead of one a file.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sync_volume(path: &Path) -> io::Result<bool> {
    rustix::fs::syncfs(File::open(path)?)?;
    Ok(true)
}

/// There is no such call: each file has to be synced.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sync_volume(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Renames, replacing a file that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Whether another process is in the way, so that waiting may help.
pub(crate) fn is_held(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::TXTBSY))
}

/// Whether a folder cannot be renamed, though what is in it could be replaced.
pub(crate) fn cannot_be_renamed(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::XDEV | Errno::INVAL | Errno::PERM | Errno::ACCESS))
}

/// Who has `path` open, as far as this user may see.
pub(crate) fn holders(path: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let folders = processes.flatten().filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    folders.filter(|process| holds(&process.path(), path)).map(|process| describe(&process.path())).take(5).collect()
}

fn holds(process: &Path, path: &Path) -> bool {
    let is = |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(path));
    is(process.join("exe"))
        || is(process.join("cwd"))
        || std::fs::read_dir(process.join("fd")).is_ok_and(|mut open| open.any(|fd| fd.is_ok_and(|fd| is(fd.path()))))
}

fn describe(process: &Path) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    let pid = process.file_name().unwrap_or_default().to_string_lossy();
    format!("{} {pid}", name.trim())
}

/// Bytes that this user may still write on the volume of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(path)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Whether a volume is mounted at `path`, or it is the root.
pub(crate) fn is_mount(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    let Some(parent) = path.parent() else { return Ok(true) };
    if path.metadata()?.dev() != parent.metadata()?.dev() {
        return Ok(true);
    }
    // A bind mount has the device of what it shows.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let at = path.to_string_lossy().replace(' ', "\\040");
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(&at)))
}
