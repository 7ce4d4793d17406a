//! Writing below a folder that may be somebody else's: through the opened folder, name by name, through no link.
//!
//! Whoever owns a folder can put a link in the place of anything in it, at any moment. So nothing below it is ever reached by a path that
//! the system would resolve: each folder on the way is opened in the one above it, and what is made, renamed or removed is named in the
//! opened folder. A link on the way to the folder itself is followed only where nobody but this user and root could have put it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::{PASS, Root, look_at, open_folder_in, to_name};
use crate::files::Place;
use crate::files::meta::{FileKind, Owner};

/// How many links a path may lead through.
const LINKS: usize = 40;
/// What a new file has, as far as this process gives it away.
const WRITE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Root {
    /// Opens the folder at `path` to write in it; through no link that somebody else could have put.
    ///
    /// # Errors
    /// It is no folder, or such a link is on the way.
    pub fn open_real(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), folder: open_way(path)? })
    }

    /// Makes the folder `path`, which must not be there, for this user alone, and opens it.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub fn make(path: &Path) -> io::Result<Self> {
        let (above, name) = above(path)?;
        let folder = open_way(above)?;
        rustix::fs::mkdirat(&folder, name, Mode::RWXU)?;
        let folder = rustix::fs::openat(&folder, name, PASS | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// The folder above `path`, and the name that `path` has in it.
    ///
    /// # Errors
    /// There is none, or a link of somebody else is on the way.
    pub fn above(path: &Path) -> io::Result<(Self, String)> {
        let (above, name) = above(path)?;
        let name = super::to_text(name.to_owned()).map_err(|_| io::ErrorKind::InvalidFilename)?;
        Ok((Self::open_real(above)?, name))
    }

    /// Makes a file where none is, to write and read it, with these permission bits as far as this process may give them away.
    pub fn create_file(&self, name: &str, mode: u32) -> io::Result<File> {
        self.at(name, |folder, name| rustix::fs::openat(folder, name, WRITE | OFlags::EXCL, bits(mode & 0o777))).map(File::from)
    }

    /// Opens the file `name` to read it and to write at its end; it is made where none is. What has another name too is none of the folder's.
    pub fn append(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = WRITE | OFlags::APPEND | OFlags::NONBLOCK;
        let file = File::from(self.at(name, |folder, name| rustix::fs::openat(folder, name, flags, bits(mode)))?);
        let meta = look_at(&file)?;
        if meta.kind == FileKind::File && meta.names == 1 { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Makes the folder `name`, and those above it; it may be there.
    pub fn make_folder(&self, name: &str) -> io::Result<()> {
        match self.make_one(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                name.match_indices('/').try_for_each(|(slash, _)| self.make_one(&name[..slash]))?;
                self.make_one(name)
            }
            made => made,
        }
    }

    fn make_one(&self, name: &str) -> io::Result<()> {
        match self.at(name, |folder, name| rustix::fs::mkdirat(folder, name, bits(0o777))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.look(name)?.kind == FileKind::Folder => Ok(()),
            made => made,
        }
    }

    /// Gives what is called `from` the name `name` in the folder `to`, instead of what has it there.
    pub fn rename(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        to.at(name, |there, name| {
            let (above, last) = split(from);
            let here = open_folder_in(&self.folder, above).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            rustix::fs::renameat(&here, &*to_name(last), there, name)
        })
    }

    /// Gives the file called `from` the further name `name` in the folder `to`, where nothing has it.
    pub fn link(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        to.at(name, |there, name| {
            let (above, last) = split(from);
            let here = open_folder_in(&self.folder, above).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            rustix::fs::linkat(&here, &*to_name(last), there, name, AtFlags::empty())
        })
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        self.at(name, |folder, name| rustix::fs::unlinkat(folder, name, AtFlags::empty()))
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.at(name, |folder, name| rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, target: &Path, name: &str, _is_folder: bool) -> io::Result<()> {
        self.at(name, |folder, name| rustix::fs::symlinkat(target, folder, name))
    }

    /// Where the link `name` leads, as it is written.
    pub fn read_link(&self, name: &str) -> io::Result<PathBuf> {
        let text = self.at(name, |folder, name| rustix::fs::readlinkat(folder, name, Vec::new()))?;
        Ok(OsString::from_vec(text.into_bytes()).into())
    }

    /// Gives a link itself an owner, and a time in seconds since 1970. Whether it could be given away.
    pub fn set_link(&self, name: &str, owner: Option<Owner>, modified_s: i64) -> io::Result<bool> {
        let time = Timespec { tv_sec: modified_s, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        self.at(name, |folder, name| {
            rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            let Some(owner) = owner.filter(|owner| *owner != super::own()) else { return Ok(true) };
            let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
            Ok(rustix::fs::chownat(folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).is_ok())
        })
    }

    /// Opens its folder `name`, itself where that is empty, to look at and set what it has beside its content.
    pub fn open_folder(&self, name: &str) -> io::Result<File> {
        super::open_folder_to_list(&self.folder, name).map(File::from)
    }

    /// Its folder `name`.
    pub fn below(&self, name: &str) -> io::Result<Self> {
        Ok(Self { path: super::inside(&self.path, name), folder: open_folder_in(&self.folder, name)? })
    }

    /// Makes the content of its file `name` durable.
    pub fn sync_file(&self, name: &str) -> io::Result<()> {
        self.open_file(name)?.0.sync_all()
    }

    /// Makes the names in its folder `name` durable; in itself, where that is empty.
    pub fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.open_folder(name)?.sync_all()
    }

    /// Whether this folder, and so what is in it, is somebody else's to change.
    pub fn is_foreign(&self) -> bool {
        !is_trusted(&self.folder).unwrap_or(false)
    }

    fn at<T>(&self, name: &str, work: impl FnOnce(&OwnedFd, &OsStr) -> rustix::io::Result<T>) -> io::Result<T> {
        let (above, last) = split(name);
        let name = to_name(last);
        if above.is_empty() {
            return Ok(work(&self.folder, &name)?);
        }
        Ok(work(&open_folder_in(&self.folder, above)?, &name)?)
    }
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

#[allow(clippy::useless_conversion)] // each unix has widths of its own
fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode.try_into().unwrap_or(0o600))
}

/// The folder that `path` is in, and its name there.
fn above(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names nothing"))
}

/// Opens the folder at the absolute `path`, name by name.
fn open_way(path: &Path) -> io::Result<OwnedFd> {
    let root = || rustix::fs::open("/", PASS, Mode::empty());
    let mut folder = root()?;
    let mut way: VecDeque<OsString> = names(path).collect();
    let mut links = 0;
    while let Some(name) = way.pop_front() {
        let error = match rustix::fs::openat(&folder, &*name, PASS | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => {
                folder = next;
                continue;
            }
            Err(error) => error,
        };
        let Some(target) = link_at(&folder, &name).filter(|_| matches!(error, Errno::LOOP | Errno::NOTDIR)) else {
            return Err(error.into());
        };
        links += 1;
        may_follow(&folder, &name)?;
        if links > LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            folder = root()?;
        }
        names(&target).collect::<Vec<_>>().into_iter().rev().for_each(|name| way.push_front(name));
    }
    Ok(folder)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

fn link_at(folder: &OwnedFd, name: &OsStr) -> Option<PathBuf> {
    let text = rustix::fs::readlinkat(folder, name, Vec::new()).ok()?;
    Some(OsString::from_vec(text.into_bytes()).into())
}

/// Whether nobody but this user and root can change what names this folder has: only they put the links in it.
fn is_trusted(folder: &impl AsFd) -> io::Result<bool> {
    let meta = super::meta(&rustix::fs::fstat(folder)?);
    let is_our_group = |owner: Owner| owner.group == 0 || owner.group == super::own().group;
    let only_we = |owner| is_ours(owner) && meta.mode & 0o002 == 0 && (meta.mode & 0o020 == 0 || is_our_group(owner));
    Ok(meta.owner.is_some_and(only_we))
}

fn is_ours(owner: Owner) -> bool {
    owner.user == 0 || owner.user == super::own().user
}

/// Whether the link `name` in `folder` may be followed.
///
/// # Errors
/// Somebody else could have put it there.
fn may_follow(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    if is_trusted(folder)? || is_own_in_sticky(folder, name)? {
        return Ok(());
    }
    let text = format!(
        "`{}` is a link that somebody else could have put there: it is not followed; name what it leads to",
        name.to_string_lossy()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

/// Where the link at the absolute `path` leads, as it is written; `None` where none is there.
///
/// # Errors
/// Somebody else could have put it, or one on the way to it, there.
pub(crate) fn trusted_link(path: &Path) -> io::Result<Option<PathBuf>> {
    let Ok((above, name)) = above(path) else { return Ok(None) };
    let folder = match open_way(above) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        folder => folder?,
    };
    let Some(target) = link_at(&folder, name) else { return Ok(None) };
    may_follow(&folder, name).map(|()| Some(target))
}

/// In a folder like `/tmp` everybody has his own names, and nobody can put anything in the place of them.
fn is_own_in_sticky(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let above = super::meta(&rustix::fs::fstat(folder)?);
    let link = super::meta(&rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
    Ok(above.mode & 0o1000 != 0 && above.owner.is_some_and(is_ours) && link.owner.is_some_and(is_ours))
}

impl Place {
    /// Where a file at the absolute `path` is. A link that only this user and root can have put there leads on.
    ///
    /// # Errors
    /// A link of somebody else is on the way, or a folder is missing.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let (above, name) = above(&path)?;
            let folder = open_way(above)?;
            let Some(target) = link_at(&folder, name) else {
                let name = super::to_text(name.to_owned()).map_err(|_| io::ErrorKind::InvalidFilename)?;
                return Ok(Self { folder: Root { path: above.to_owned(), folder }, name });
            };
            may_follow(&folder, name)?;
            path = above.join(target);
        }
        Err(Errno::LOOP.into())
    }

    /// Opens the file to read it and to write at its end; it is made where none is.
    ///
    /// # Errors
    /// It is none, or has another name too that somebody else could have given it.
    pub fn append(&self, mode: u32) -> io::Result<File> {
        if self.folder.is_foreign() {
            return self.folder.append(&self.name, mode);
        }
        let opened = rustix::fs::openat(&self.folder.folder, &*to_name(&self.name), WRITE | OFlags::APPEND, bits(mode));
        match opened {
            // A device or a pipe of ours may be for writing only.
            Err(Errno::ACCESS | Errno::NXIO) => {
                let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                Ok(rustix::fs::openat(&self.folder.folder, &*to_name(&self.name), flags, Mode::empty())?.into())
            }
            opened => Ok(opened?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_is_followed_only_where_nobody_else_could_have_put_it() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, ours) = (folder.path().join("victim"), folder.path().join("ours"));
        std::fs::write(&victim, "precious").unwrap();
        std::fs::create_dir(&ours).unwrap();
        symlink("../victim", ours.join("log")).unwrap();
        symlink("ours", folder.path().join("way")).unwrap();
        for (mode, is_followed) in [(0o755, true), (0o777, false)] {
            std::fs::set_permissions(&ours, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(Place::of(&ours.join("log")).is_ok(), is_followed, "{mode:o}");
            assert!(Place::of(&folder.path().join("way/new")).is_ok(), "the link to the folder is ours");
        }
        assert_eq!(Root::open_real(&ours).unwrap().append("log", 0o600).unwrap_err().raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn nothing_is_written_through_a_link_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        [&root, &outside].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        std::fs::write(outside.join("file"), "precious").unwrap();
        symlink("../outside", root.join("a")).unwrap();
        let open = Root::open_real(&root).unwrap();
        assert!(open.create_file("a/new", 0o600).is_err() && open.append("a/file", 0o600).is_err());
        assert!(open.remove_file("a/file").is_err() && open.make_folder("a/b").is_err());
        assert!(open.rename("a/file", &open, "x").is_err() && open.symlink(Path::new("x"), "a/l", false).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_file_with_another_name_elsewhere_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert!(Root::open_real(folder.path()).unwrap().append("b", 0o600).is_err());
    }
}
