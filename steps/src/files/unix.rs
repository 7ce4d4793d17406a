//! What files are on unix: modes, links, syncing, and what the system says about space and mounts.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::text;
use super::walk::Fingerprint;

/// Whether two names that differ only in case are the same file.
pub(crate) const IGNORES_CASE: bool = false;
/// Whether the rules of Windows for names hold.
pub(crate) const WINDOWS_NAMES: bool = false;

/// A name as text; always, as any bytes can be one.
pub(crate) fn to_text(name: OsString) -> Result<String, OsString> {
    match String::from_utf8(name.into_vec()) {
        Ok(text) if !text::is_byte_name(&text) => Ok(text),
        Ok(text) => Ok(text::to_text(text.as_bytes())),
        Err(error) => Ok(text::to_text(error.as_bytes())),
    }
}

/// The name that a text stands for.
pub(crate) fn to_name(text: &str) -> Cow<'_, OsStr> {
    match text::to_bytes(text) {
        Cow::Borrowed(bytes) => Cow::Borrowed(OsStr::from_bytes(bytes)),
        Cow::Owned(bytes) => Cow::Owned(OsString::from_vec(bytes)),
    }
}

/// Opens a file to read it. Neither goes through a link at `path` nor waits for whoever writes into a pipe.
///
/// # Errors
/// See [`is_replaced`] where it is no file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    file(rustix::fs::open(path, OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()))
}

/// As [`open_file`], for `name` in the folder `root`: through no link on the way from there either.
pub(crate) fn open_file_in(root: &Path, name: &str) -> io::Result<File> {
    // In one call where the system has it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(opened) = open_beneath(root, name, OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK) {
        return file(opened);
    }
    let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
    let folder = open_folder_in(root, above)?;
    file(rustix::fs::openat(folder, &*to_name(last), OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()))
}

/// A folder in `root`, reached through no link, and where to list it.
pub(crate) fn listable(root: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = open_folder_to_list(root, name)?;
    static HAS_NUMBERS: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/self/fd").is_dir());
    let by_number = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let path = if *HAS_NUMBERS { by_number } else { if name.is_empty() { root.to_owned() } else { super::inside(root, name) } };
    Ok((folder, path))
}

/// Whether what was to be opened is there, but is something else by now than was found before.
pub(crate) fn is_replaced(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO))
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

fn file(opened: rustix::io::Result<OwnedFd>) -> io::Result<File> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
    let file = File::from(opened.map_err(|error| if matches!(error, Errno::LOOP | Errno::NXIO) { no_file() } else { error.into() })?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

fn open_folder_to_list(root: &Path, name: &str) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(opened) = open_beneath(root, if name.is_empty() { "." } else { name }, OPEN | OFlags::DIRECTORY) {
        return Ok(opened?);
    }
    let folder = open_folder_in(root, name)?;
    Ok(rustix::fs::openat(&folder, c".", OPEN | OFlags::DIRECTORY, Mode::empty())?)
}

/// Opens `name` in `root` through no link, in one call; `None` where this system, or whoever confines this process, has no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_beneath(root: &Path, name: &str, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    use rustix::fs::ResolveFlags;
    let folder = match rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) => return Some(Err(error)),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&folder, &*to_name(name), flags, Mode::empty(), resolve) {
        // Not there; not allowed; names changed meanwhile in a way that it cannot see through; or longer than one call takes.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::NAMETOOLONG) => None,
        opened => Some(opened),
    }
}

fn open_folder_in(root: &Path, name: &str) -> io::Result<OwnedFd> {
    // Whoever may only pass through a folder can open it no other way; only Linux has this one.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const PASS: OFlags = OPEN.union(OFlags::DIRECTORY);
    let mut folder = rustix::fs::open(root, PASS, Mode::empty())?;
    for part in name.split('/').filter(|part| !part.is_empty()) {
        folder = rustix::fs::openat(&folder, &*to_name(part), PASS | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

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

/// What changes whenever the file at `path` does.
pub(crate) fn fingerprint(_: &Path, meta: &Metadata) -> Fingerprint {
    let at = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
    Fingerprint {
        len: meta.len(),
        modified_ns: at(meta.mtime(), meta.mtime_nsec()),
        changed_ns: at(meta.ctime(), meta.ctime_nsec()),
        file: meta.ino(),
    }
}

/// Whether a file that looks the same is the same: its number on the volume is known.
pub(crate) fn identifies(fingerprint: &Fingerprint) -> bool {
    fingerprint.file != 0
}

/// Makes a symbolic link at `at`.
pub(crate) fn symlink(target: &Path, at: &Path, _is_folder: bool) -> io::Result<()> {
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

/// Lets the empty file `copy` have the blocks of `source`, as they are at this moment; `false` where the file system does not share any.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn share_content(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

/// There is no such call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn share_content(_: &File, _: &File) -> bool {
    false
}

/// Renames, replacing a file that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Removes a file or a link.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Whether another process is in the way, so that waiting may help.
pub(crate) fn is_held(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::TXTBSY))
}

/// Whether this process has as many files open as it may.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
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
