//! What files are on unix: modes, links, syncing, and what the system says about space and mounts.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::walk::{Fingerprint, Meta, nanoseconds, since_1970};
use super::{Kind, text};

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

/// `name` (with `/`) in `root`.
pub(crate) fn inside(root: &Path, name: &str) -> PathBuf {
    let mut path = OsString::with_capacity(root.as_os_str().len() + 1 + name.len());
    path.push(root);
    path.push("/");
    path.push(to_name(name));
    path.into()
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
pub(crate) fn open_file(path: &Path) -> io::Result<(File, Meta)> {
    file(rustix::fs::open(path, OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()))
}

/// A folder that is worked in.
#[derive(Debug)]
pub(crate) struct Root {
    /// Where it is.
    pub path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    /// Opens it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), folder: rustix::fs::open(path, PASS, Mode::empty())? })
    }

    /// What the system says about `name` in it, of a link about itself.
    pub fn look(&self, name: &str) -> io::Result<Meta> {
        Ok(meta(&rustix::fs::statat(&self.folder, &*to_name(name), AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// As [`open_file`], for `name` in it: through no link on the way from here either.
    pub fn open_file(&self, name: &str) -> io::Result<(File, Meta)> {
        // In one call where the system has it.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(opened) = open_beneath(&self.folder, name, OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK) {
            return file(opened);
        }
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = open_folder_in(&self.folder, above)?;
        file(rustix::fs::openat(folder, &*to_name(last), OPEN | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()))
    }

    /// What is in its folder `name`, reached through no link; in itself, where that is empty. What disappears meanwhile is left out.
    pub fn list(&self, name: &str) -> io::Result<Vec<(OsString, Meta)>> {
        let mut folder = Dir::new(open_folder_to_list(&self.folder, name)?)?;
        let mut listed = Vec::new();
        while let Some(entry) = folder.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match rustix::fs::statat(folder.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                stat => listed.push((name.to_owned(), meta(&stat?))),
            }
        }
        Ok(listed)
    }
}

/// What the system says about what is at `path`, of a link about itself.
pub(crate) fn look(path: &Path) -> io::Result<Meta> {
    Ok(meta(&rustix::fs::lstat(path)?))
}

/// What the system says about an open file.
pub(crate) fn look_at(file: &File) -> io::Result<Meta> {
    Ok(meta(&rustix::fs::fstat(file)?))
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // each unix has widths of its own
fn meta(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Kind::Link,
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    };
    let whole = Duration::from_secs((stat.st_mtime as i64).unsigned_abs());
    let second = if stat.st_mtime < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    Meta {
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        mode: u32::from(stat.st_mode) & 0o7777,
        modified: second + Duration::from_nanos(stat.st_mtime_nsec as u64),
        changed_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        file: stat.st_ino as u64,
    }
}

/// Whether what was to be opened is there, but is something else by now than was found before.
pub(crate) fn is_replaced(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO))
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
// Whoever may only pass through a folder can open it no other way; only Linux has this one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PASS: OFlags = OPEN.union(OFlags::DIRECTORY);

fn file(opened: rustix::io::Result<OwnedFd>) -> io::Result<(File, Meta)> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
    let file = File::from(opened.map_err(|error| if matches!(error, Errno::LOOP | Errno::NXIO) { no_file() } else { error.into() })?);
    let meta = look_at(&file)?;
    if meta.kind == Kind::File { Ok((file, meta)) } else { Err(no_file()) }
}

fn open_folder_to_list(root: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(opened) = open_beneath(root, if name.is_empty() { "." } else { name }, OPEN | OFlags::DIRECTORY) {
        return Ok(opened?);
    }
    let folder = open_folder_in(root, name)?;
    Ok(rustix::fs::openat(&folder, c".", OPEN | OFlags::DIRECTORY, Mode::empty())?)
}

/// Opens `name` in `root` through no link, in one call; `None` where this system, or whoever confines this process, has no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_beneath(root: &OwnedFd, name: &str, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, &*to_name(name), flags, Mode::empty(), resolve) {
        // Not there; not allowed; names changed meanwhile in a way that it cannot see through; or longer than one call takes.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::NAMETOOLONG) => None,
        opened => Some(opened),
    }
}

fn open_folder_in(root: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let mut folder = rustix::fs::openat(root, c".", PASS, Mode::empty())?;
    for part in name.split('/').filter(|part| !part.is_empty()) {
        folder = rustix::fs::openat(&folder, &*to_name(part), PASS | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

/// Sets the permission bits of what `path` is.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

/// Sets the permission bits of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(PermissionsExt::from_mode(mode))
}

/// What changes whenever the file at `path` does; here nobody has to go there.
pub(crate) fn fingerprint<P: AsRef<Path>>(_path: impl FnOnce() -> P, meta: &Meta) -> Fingerprint {
    Fingerprint { len: meta.len, modified_ns: meta.modified_ns(), changed_ns: meta.changed_ns, file: meta.file }
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
    let (seconds, nanos) = since_1970(time);
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() } };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A volume that is open.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) type Volume = File;
/// Nothing is done with it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
pub(crate) struct Volume;

/// The volume on which the folder `path` is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn volume(path: &Path) -> io::Result<Volume> {
    File::open(path)
}

/// See [`Volume`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn volume(_: &Path) -> io::Result<Volume> {
    Ok(Volume)
}

/// Makes everything on a volume durable: one call instead of one a file. Fails where a write was lost since it was opened.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sync_volume(volume: &Volume) -> io::Result<bool> {
    rustix::fs::syncfs(volume)?;
    Ok(true)
}

/// There is no such call: each file has to be synced.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sync_volume(_: &Volume) -> io::Result<bool> {
    Ok(false)
}

/// Lets the empty file `copy` have the blocks of `source`, as they are at this moment.
///
/// # Errors
/// The file system does not share those of this file, or ([`never_shares`]) of none.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn share_content(source: &File, copy: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(copy, source)?)
}

/// There is no such call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn share_content(_: &File, _: &File) -> io::Result<()> {
    Err(Errno::OPNOTSUPP.into())
}

/// Whether it is of no use to try it with another file of these folders.
pub(crate) fn never_shares(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV))
}

/// Makes a file where none is, to write and read it, with these permission bits as far as this process may give them away.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode & 0o777).open(path)
}

/// Reads `buffer` full, from `offset` on.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

/// Renames, replacing a file that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Keeps the space of a file that is replaced or removed, until it is dropped.
pub(crate) type Pin = OwnedFd;

/// Pins the file at `path`, if there is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pin(path: &Path) -> Option<Pin> {
    // Whoever may not read it, may do this; and nobody is waited for.
    rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Opening it would wait for, or be refused by, some of what a rename replaces.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn pin(_: &Path) -> Option<Pin> {
    None
}

/// How many pins this process may have, each of which is one of its handles, where files of `from` are renamed to replace some in `to`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn most_pins(from: &Path, to: &Path) -> usize {
    use rustix::process::{Resource, getrlimit};
    /// ext2 to ext4. Others free the blocks later anyway; NFS would give the file another name beside the new one.
    const EXT: u64 = 0xEF53;
    let is_ext = rustix::fs::statfs(to).is_ok_and(|volume| volume.f_type as u64 == EXT);
    // A copy from another volume needs the space.
    let volume = |path: &Path| path.metadata().map_or(0, |meta| meta.dev());
    let are_renamed = volume(from) == volume(to);
    if is_ext && are_renamed { getrlimit(Resource::Nofile).current.map_or(1024, |handles| handles.min(1024) as usize) / 4 } else { 0 }
}

/// None: see [`pin`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn most_pins(_: &Path, _: &Path) -> usize {
    0
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
    let others = folders.filter(|process| process.file_name() != *std::process::id().to_string());
    others.filter(|process| holds(&process.path(), path)).map(|process| describe(&process.path())).take(5).collect()
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
