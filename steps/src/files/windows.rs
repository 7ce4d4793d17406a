//! What files are on Windows: read-only flags instead of modes, no syncing of folders, and what others have open stays.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{File, FileTimes, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Place;
use super::meta::{Attributes, Extended, FileKind, FileStat, Meta, Owner};
use crate::process;

#[path = "windows/restart_manager.rs"]
mod restart_manager;
#[path = "windows/volume.rs"]
mod volume;

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

/// `name` (with `/`) in `root`.
pub(crate) fn inside(root: &Path, name: &str) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(name.split('/'));
    path
}

/// Where a link leads whose text this is.
pub(crate) fn link_path(text: &str) -> PathBuf {
    PathBuf::from(text)
}

/// The bytes of a name, or of a link's text.
pub(crate) fn name_bytes(text: &str) -> Cow<'_, [u8]> {
    text.as_bytes().into()
}

/// The text of a name, or of where a link leads, where it is any.
pub(crate) fn name_text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Opens a file to read it, and not what a link at `path` leads to.
///
/// # Errors
/// See [`is_replaced`] where it is no file.
pub(crate) fn open_file(path: &Path) -> io::Result<(File, Meta)> {
    let file = OpenOptions::new().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    let meta = look_at(&file)?;
    if meta.kind == FileKind::File { Ok((file, meta)) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")) }
}

/// A folder that is worked in.
#[derive(Debug)]
pub(crate) struct Root {
    /// Where it is.
    pub path: PathBuf,
}

impl Root {
    /// There is nothing to open.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned() })
    }

    /// What the system says about `name` in it, of a link about itself.
    pub fn look(&self, name: &str) -> io::Result<Meta> {
        look(&inside(&self.path, name))
    }

    /// As [`open_file`], for `name` in it. Links on the way are those that were there when it was walked.
    pub fn open_file(&self, name: &str) -> io::Result<(File, Meta)> {
        open_file(&inside(&self.path, name))
    }

    /// What the system says about itself.
    pub fn look_at_itself(&self) -> io::Result<Meta> {
        look(&self.path)
    }

    /// As [`Root::open`].
    pub fn open_real(path: &Path) -> io::Result<Self> {
        if path.is_dir() { Self::open(path) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Makes the folder `path`, which must not be there, and opens it.
    pub fn make(path: &Path) -> io::Result<Self> {
        std::fs::create_dir(path)?;
        Self::open(path)
    }

    /// The folder above `path`, and the name that `path` has in it.
    pub fn above(path: &Path) -> io::Result<(Self, String)> {
        let names_nothing = || io::Error::new(io::ErrorKind::InvalidInput, "it names nothing");
        let (above, name) = path.parent().zip(path.file_name()).ok_or_else(names_nothing)?;
        let name = to_text(name.to_owned()).map_err(|_| io::ErrorKind::InvalidFilename)?;
        Ok((Self::open_real(above)?, name))
    }

    /// Makes a file where none is, to write and read it.
    pub fn create_file(&self, name: &str, mode: u32) -> io::Result<File> {
        create_file(&self.at(name), mode)
    }

    /// Makes the folder `name`, and those above it; it may be there.
    pub fn make_folder(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.at(name))
    }

    /// Gives what is called `from` the name `name` in the folder `to`, instead of what has it there.
    pub fn rename(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        rename(&self.at(from), &to.at(name))
    }

    /// Gives the file called `from` the further name `name` in the folder `to`, where nothing has it.
    pub fn link(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        std::fs::hard_link(self.at(from), to.at(name))
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        remove_file(&self.at(name))
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        std::fs::remove_dir(self.at(name))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, target: &Path, name: &str, is_folder: bool) -> io::Result<()> {
        symlink(target, &self.at(name), is_folder)
    }

    /// Where the link `name` leads, as it is written.
    pub fn read_link(&self, name: &str) -> io::Result<PathBuf> {
        std::fs::read_link(self.at(name))
    }

    /// Times of links themselves are not set here: nothing reads them.
    pub fn set_link(&self, _: &str, _: Option<Owner>, _: i64) -> io::Result<bool> {
        Ok(true)
    }

    /// Opens its folder `name`, itself where that is empty, to set what it has beside its content.
    pub fn open_folder(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(self.at(name))
    }

    /// Its folder `name`.
    pub fn below(&self, name: &str) -> io::Result<Self> {
        Self::open(&self.at(name))
    }

    /// Makes the content of its file `name` durable.
    pub fn sync_file(&self, name: &str) -> io::Result<()> {
        // Syncing needs a handle that may write, which a read-only file does not give.
        let path = self.at(name);
        OpenOptions::new().write(true).open(&path).or_else(|_| File::open(&path))?.sync_all()
    }

    /// See [`sync_folder`].
    pub fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    /// Whose folders are is not looked at here.
    pub fn is_foreign(&self) -> bool {
        false
    }

    fn at(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { inside(&self.path, name) }
    }

    /// What is in its folder `name`; in itself, where that is empty. What disappears meanwhile is left out.
    pub fn list(&self, name: &str) -> io::Result<Vec<(OsString, Meta)>> {
        let folder = if name.is_empty() { self.path.clone() } else { inside(&self.path, name) };
        let mut listed = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => listed.push((entry.file_name(), meta(&found?))),
            }
        }
        Ok(listed)
    }
}

impl Place {
    /// Where a file at `path` is; a link leads on.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (folder, name) = Root::above(&path.canonicalize().unwrap_or_else(|_| path.to_owned()))?;
        Ok(Self { folder, name })
    }

    /// Opens the file to read it and to write at its end; it is made where none is.
    pub fn append(&self, _: u32) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).open(self.folder.at(&self.name))
    }
}

/// Where the link at `path` leads, as it is written; `None` where none is there.
pub(crate) fn trusted_link(path: &Path) -> io::Result<Option<PathBuf>> {
    Ok(std::fs::read_link(path).ok())
}

/// There is no such user.
pub(crate) fn is_root() -> bool {
    false
}

/// Owners are not numbers here.
pub(crate) fn own() -> Owner {
    Owner { user: 0, group: 0 }
}

/// A thread is never somebody else here.
pub(crate) fn become_user(_: Owner) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Owners are not kept here.
pub(crate) fn may_give(_: Owner) -> bool {
    true
}

/// Sets when an open file or folder was modified.
pub(crate) fn set_time(file: &File, modified: SystemTime) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(modified))
}

/// Sets the read-only flag of a file; folders have no such thing.
pub(crate) fn apply_attributes(file: &File, attributes: &Attributes) -> io::Result<bool> {
    if look_at(file)?.kind == FileKind::File {
        set_file_mode(file, attributes.mode)?;
    }
    Ok(true)
}

/// There are none.
pub(crate) fn extended(_: &File) -> io::Result<Vec<Extended>> {
    Ok(Vec::new())
}

/// There is no such thing but the read-only flag, which is a permission.
pub(crate) fn is_fixed(_: &File) -> bool {
    false
}

/// Volumes that are mounted in folders are links here.
pub(crate) fn mounts_below(_: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(Vec::new())
}

/// What the system says about what is at `path`, of a link about itself.
pub(crate) fn look(path: &Path) -> io::Result<Meta> {
    path.symlink_metadata().map(|found| meta(&found))
}

/// What the system says about an open file.
pub(crate) fn look_at(file: &File) -> io::Result<Meta> {
    file.metadata().map(|found| meta(&found))
}

fn meta(found: &Metadata) -> Meta {
    let kind = found.file_type();
    let kind = match (kind.is_symlink(), kind.is_dir(), kind.is_file()) {
        (true, ..) => FileKind::Link,
        (_, true, _) => FileKind::Folder,
        (.., true) => FileKind::File,
        _ => FileKind::Other,
    };
    let mode = match (kind, found.permissions().readonly()) {
        (FileKind::Folder, _) => 0o755,
        (_, true) => 0o444,
        (_, false) => 0o644,
    };
    let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let (len, changed_ns) = (found.len(), found.creation_time().cast_signed());
    Meta { kind, len, allocated: len, owner: None, names: 1, device: 0, mode, modified, changed_ns, inode: 0 }
}

/// Whether what was to be opened is there, but is something else by now than was found before.
pub(crate) fn is_replaced(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory)
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

/// What changes whenever the file at `path` does.
pub(crate) fn file_stat<P: AsRef<Path>>(path: impl FnOnce() -> P, meta: &Meta) -> FileStat {
    let (changed_ns, inode) = volume::changed_and_file_id(path().as_ref()).unwrap_or((meta.changed_ns, meta.inode));
    FileStat { len: meta.len, modified_ns: meta.modified_ns(), changed_ns, inode }
}

/// Whether a file that looks the same is the same: its inode is known.
pub(crate) fn identifies(stat: &FileStat) -> bool {
    stat.inode != 0
}

/// Makes a symbolic link at `at`, which needs the right to or developer mode; to a folder that is named from the root, one that
/// everybody may make.
pub(crate) fn symlink(target: &Path, at: &Path, is_folder: bool) -> io::Result<()> {
    const PRIVILEGE_NOT_HELD: i32 = 1314;
    // Joined anew, with the separator of the system.
    let target: PathBuf = target.components().collect();
    if !is_folder {
        return std::os::windows::fs::symlink_file(target, at);
    }
    match std::os::windows::fs::symlink_dir(&target, at) {
        Err(error) if error.raw_os_error() == Some(PRIVILEGE_NOT_HELD) && target.is_absolute() => junction::create(target, at),
        made => made,
    }
}

/// NTFS journals its folders; flushing one is undocumented.
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A volume; nothing is done with it.
#[derive(Debug)]
pub(crate) struct Volume;

/// See [`Volume`].
pub(crate) fn volume(_: &Root) -> io::Result<Volume> {
    Ok(Volume)
}

/// There is no such call for ordinary users: each file has to be synced.
pub(crate) fn sync_volume(_: &Volume) -> io::Result<bool> {
    Ok(false)
}

/// Only ReFS could.
pub(crate) fn share_content(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// It is of no use to try it with another file.
pub(crate) fn never_shares(_: &io::Error) -> bool {
    true
}

/// Makes a file where none is, to write and read it; what nobody may write becomes so later.
pub(crate) fn create_file(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Reads `buffer` full, from `offset` on.
pub(crate) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => (buffer, offset) = (&mut buffer[count..], offset + count as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Renames, replacing a file that is there even where it is read-only, or is this very program.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let Err(error) = std::fs::rename(from, to) else { return Ok(()) };
    if make_writable(to)? {
        return std::fs::rename(from, to);
    }
    let Some(aside) = aside(to) else { return Err(error) };
    std::fs::rename(to, &aside)?;
    // Between these two there is no program under its name: where the second one fails, it gets the old one back.
    std::fs::rename(from, to).inspect_err(|_| drop(std::fs::rename(&aside, to)))
}

/// Removes a file or a link, read-only or not, or this very program.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.file_type().is_symlink_dir() {
        return std::fs::remove_dir(path);
    }
    let Err(error) = std::fs::remove_file(path) else { return Ok(()) };
    if make_writable(path)? {
        return std::fs::remove_file(path);
    }
    aside(path).map_or(Err(error), |aside| std::fs::rename(path, aside))
}

/// Whether `path` was a read-only file, and is none any more.
fn make_writable(path: &Path) -> io::Result<bool> {
    let read_only = path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().readonly());
    if read_only {
        set_mode(path, 0o644)?;
    }
    Ok(read_only)
}

/// Where this program goes if it is what is at `path`: one that runs can be neither replaced nor removed, but renamed. What earlier
/// ones left there is removed.
fn aside(path: &Path) -> Option<PathBuf> {
    const ASIDE: &str = ".almaplan-replaced-";
    let ours = std::env::current_exe().ok()?;
    if ours.canonicalize().ok()? != path.canonicalize().ok()? {
        return None;
    }
    let folder = path.parent()?;
    for old in folder.read_dir().ok()?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(ASIDE)) {
        let _ = std::fs::remove_file(old.path());
    }
    (1..).map(|number| folder.join(format!("{ASIDE}{number}.exe"))).find(|aside| !aside.exists())
}

/// Whether another process (a virus scanner among them) is in the way, so that waiting may help.
pub(crate) fn is_held(error: &io::Error) -> bool {
    const ACCESS_DENIED: i32 = 5;
    const SHARING_VIOLATION: i32 = 32;
    const LOCK_VIOLATION: i32 = 33;
    const DIR_NOT_EMPTY: i32 = 145; // what was deleted in it is still open somewhere
    const DELETE_PENDING: i32 = 303;
    const USER_MAPPED_FILE: i32 = 1224;
    let held = [ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION, DIR_NOT_EMPTY, DELETE_PENDING, USER_MAPPED_FILE];
    error.raw_os_error().is_some_and(|code| held.contains(&code))
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

/// Who has `path`, or something in it, open or runs there.
pub(crate) fn holders(path: &Path) -> Vec<String> {
    /// A folder may hold any number of files, and the Restart Manager takes its time.
    const FILES: usize = 500;
    let mut files = Vec::new();
    files_at(path, FILES, &mut files);
    let mut pids = restart_manager::holders(&files);
    pids.extend(process::users_of(path));
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(process::describe).map(|process| process.to_string()).take(5).collect()
}

/// As [`holders`].
pub(crate) fn users(path: &Path) -> Vec<String> {
    holders(path)
}

/// The file `path`, or those below it, as far as they may be seen; `most` of them.
fn files_at(path: &Path, most: usize, files: &mut Vec<PathBuf>) {
    if !look(path).is_ok_and(|meta| meta.kind == FileKind::Folder) {
        files.push(path.to_owned());
        return;
    }
    for entry in path.read_dir().into_iter().flatten().flatten() {
        if files.len() >= most {
            return;
        }
        files_at(&entry.path(), most, files);
    }
}

/// Bytes that this user may still write on the volume of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    volume::free_space(path)
}

/// Whether `path` is the root of a drive or a share, or a volume is mounted there.
pub(crate) fn is_mount(path: &Path) -> io::Result<bool> {
    volume::is_root(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn read_only_files_are_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for path in [&old, &new] {
            std::fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        set_mode(&old, 0o444).unwrap();
        rename(&new, &old).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "new");
        set_mode(&old, 0o444).unwrap();
        remove_file(&old).unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn names_beyond_260_characters_are_ordinary() {
        let folder = tempfile::tempdir().unwrap();
        let deep = (0..12).fold(folder.path().to_owned(), |path, _| path.join("a folder with a long name"));
        std::fs::create_dir_all(&deep).unwrap();
        let (from, to) = (deep.join("from"), deep.join("to"));
        std::fs::write(&from, "content").unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(file_stat(|| &to, &look(&to).unwrap()).len, 7);
        assert!(free_space(&deep).unwrap() > 0 && !is_mount(&deep).unwrap());
    }

    #[test]
    fn the_root_of_a_drive_is_a_mount() {
        assert!(is_mount(Path::new(r"C:\")).unwrap());
    }
}
