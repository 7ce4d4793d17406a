//! What files are on unix: modes, links, syncing, and what the system says about space and mounts.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::meta::{FileKind, FileStat, Meta, Owner, nanoseconds};
use super::text;

#[path = "unix/attributes.rs"]
mod attributes;
#[path = "unix/below.rs"]
mod below;
#[path = "unix/mounts.rs"]
mod mounts;

pub(crate) use self::attributes::{apply_attributes, become_user, extended, is_fixed, is_root, may_give, own, set_time};
pub(crate) use self::below::trusted_link;
pub(crate) use self::mounts::mounts_below;

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

/// Where a link leads whose text this is.
pub(crate) fn link_path(text: &str) -> PathBuf {
    PathBuf::from(to_name(text).into_owned())
}

/// The bytes of a name, or of a link's text.
pub(crate) fn name_bytes(text: &str) -> Cow<'_, [u8]> {
    text::to_bytes(text)
}

/// The text of a name, or of where a link leads; always, as any bytes can be one.
pub(crate) fn name_text(bytes: &[u8]) -> Option<String> {
    to_text(OsString::from_vec(bytes.to_vec())).ok()
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
    /// Opens it, to read what is in it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), folder: rustix::fs::open(path, PASS, Mode::empty())? })
    }

    /// What the system says about `name` in it, of a link about itself.
    pub fn look(&self, name: &str) -> io::Result<Meta> {
        Ok(meta(&rustix::fs::statat(&self.folder, &*to_name(name), AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What the system says about itself.
    pub fn look_at_itself(&self) -> io::Result<Meta> {
        Ok(meta(&rustix::fs::fstat(&self.folder)?))
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
        FileType::Symlink => FileKind::Link,
        FileType::Directory => FileKind::Folder,
        FileType::RegularFile => FileKind::File,
        _ => FileKind::Other,
    };
    let whole = Duration::from_secs((stat.st_mtime as i64).unsigned_abs());
    let second = if stat.st_mtime < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    Meta {
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        owner: Some(Owner { user: stat.st_uid, group: stat.st_gid }),
        names: stat.st_nlink as u64,
        device: stat.st_dev as u64,
        mode: u32::from(stat.st_mode) & 0o7777,
        modified: second + Duration::from_nanos(stat.st_mtime_nsec as u64),
        changed_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        inode: stat.st_ino as u64,
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
    if meta.kind == FileKind::File { Ok((file, meta)) } else { Err(no_file()) }
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

/// What changes whenever the file at `path` does; here nobody has to go there.
pub(crate) fn file_stat<P: AsRef<Path>>(_path: impl FnOnce() -> P, meta: &Meta) -> FileStat {
    FileStat { len: meta.len, modified_ns: meta.modified_ns(), changed_ns: meta.changed_ns, inode: meta.inode }
}

/// Whether a file that looks the same is the same: its inode is known.
pub(crate) fn identifies(stat: &FileStat) -> bool {
    stat.inode != 0
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

/// The volume on which a folder is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn volume(folder: &Root) -> io::Result<Volume> {
    folder.open_folder("")
}

/// See [`Volume`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn volume(_: &Root) -> io::Result<Volume> {
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

/// Reads `buffer` full, from `offset` on.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
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

/// Who works in `path`, runs from there, or has something there open or mapped into its memory, as far as this user may see.
pub(crate) fn users(path: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes = processes.flatten().filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit));
    let is_user = |process: &Path| holds(process, path) || is_root_of(process, path) || maps(process, path);
    processes.filter(|process| is_user(&process.path())).map(|process| describe(&process.path())).take(5).collect()
}

fn is_root_of(process: &Path, path: &Path) -> bool {
    std::fs::read_link(process.join("root")).is_ok_and(|root| root.starts_with(path))
}

/// Whether a program or a library from there is in the memory of a process.
fn maps(process: &Path, path: &Path) -> bool {
    let maps = std::fs::read(process.join("maps")).unwrap_or_default();
    // What is mapped comes last in a line, and begins with the first slash of it.
    let file = |line: &[u8]| line.iter().position(|byte| *byte == b'/').map(|at| OsStr::from_bytes(&line[at..]).to_owned());
    maps.split(|byte| *byte == b'\n').filter_map(file).any(|file| Path::new(&file).starts_with(path))
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
