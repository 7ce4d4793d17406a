//! Whose word counts (rule 23): the one place that decides whether a state, a record or a lock may be believed.
//!
//! A path is believed where it, every link on the way, and every folder above it up to the root belong to the effective user or to
//! root, and nobody else can replace them:
//!
//! ```text
//!  owner        the effective user, or root
//!  mode         no write for others; none for the group either, unless nobody else is in it
//!  sticky bit   a folder above may be open to all if only owners can rename and remove in it, as `/tmp`
//! ```
//!
//! Files are opened without following a link and without waiting: a pipe or a device in place of a file is an error, not a hang. On
//! Windows what a path is gets looked at, and its access list does not yet: below `%ProgramData%` users change only what is theirs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why something is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It is somebody else's.
    #[error("{} belongs to `{owner}`", .path.display())]
    Foreign {
        /// What.
        path: PathBuf,
        /// Whose.
        owner: String,
    },
    /// It is ours or root's, but others may write to it.
    #[error("{} can be changed by others (`chmod go-w`)", .path.display())]
    Writable {
        /// What.
        path: PathBuf,
    },
    /// It is a link, a pipe, a device, or a folder where a file was expected, or the other way round.
    #[error("{} is not a {wanted}", .path.display())]
    NotA {
        /// What.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// The system does not let us look.
    #[error("could not look at {}", .path.display())]
    Io {
        /// At what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Distrust {
    /// Whose it is, where that is why it is not believed.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Foreign { owner, .. } => Some(owner),
            Self::Writable { .. } | Self::NotA { .. } | Self::Io { .. } => None,
        }
    }

    /// What is not believed.
    pub fn path(&self) -> &Path {
        match self {
            Self::Foreign { path, .. } | Self::Writable { path } | Self::NotA { path, .. } | Self::Io { path, .. } => path,
        }
    }
}

impl From<Distrust> for io::Error {
    fn from(distrust: Distrust) -> Self {
        match distrust {
            Distrust::Io { source, .. } => source,
            distrust => Self::other(distrust),
        }
    }
}

/// Believes the folder `path` and all that leads to it. What does not exist (yet) is no objection: it can only be made by whoever may write
/// to the folders above. Look again once it was made.
///
/// # Errors
/// Why it is not believed.
pub fn folder(path: &Path) -> Result<(), Distrust> {
    sys::folder(path)
}

/// Believes the file `path` of a folder that is believed, where there is one. It is not opened: closing a database would give up the locks
/// that SQLite has on it.
///
/// # Errors
/// Why it is not believed.
pub fn file(path: &Path) -> Result<(), Distrust> {
    sys::file(path)
}

/// Opens the file `path` of a folder that is believed, for reading: a regular one of ours or of root, without following a link, without
/// waiting.
///
/// # Errors
/// Why it is not believed; [`Distrust::Io`] with `NotFound` where there is none.
pub fn open(path: &Path) -> Result<File, Distrust> {
    sys::open(path)
}

#[cfg(unix)]
pub(crate) use sys::{is_ours, owner_name};

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Distrust {
    let path = path.to_owned();
    move |source| Distrust::Io { path, source }
}

#[cfg(unix)]
mod sys {
    use std::ffi::OsString;
    use std::fs::{Metadata, OpenOptions};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Component;

    use rustix::fs::OFlags;

    use super::*;

    const STICKY: u32 = 0o1000;
    const GROUP_WRITES: u32 = 0o020;
    const OTHERS_WRITE: u32 = 0o002;

    /// More links than any system follows.
    const MAX_LINKS: u32 = 40;

    /// Believes `path` name by name, from the root on, through links that are believed.
    pub(super) fn folder(path: &Path) -> Result<(), Distrust> {
        let path = std::path::absolute(path).map_err(failed(path))?;
        let mut links_left = MAX_LINKS;
        let mut reached = PathBuf::from("/");
        ancestor(&reached, &std::fs::symlink_metadata(&reached).map_err(failed(&reached))?)?;
        let mut left = names(&path);
        while let Some(name) = left.pop() {
            if name == ".." {
                reached.pop();
                continue;
            }
            reached.push(name);
            let metadata = match std::fs::symlink_metadata(&reached) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                found => found.map_err(failed(&reached))?,
            };
            if metadata.is_symlink() {
                owned(&reached, &metadata)?;
                links_left = links_left.checked_sub(1).ok_or_else(|| Distrust::NotA { path: path.clone(), wanted: "folder" })?;
                let target = std::fs::read_link(&reached).map_err(failed(&reached))?;
                reached.pop();
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                left.extend(names(&target));
                continue;
            }
            ancestor(&reached, &metadata)?;
            if left.is_empty() {
                unchanged_by_others(&reached, &metadata)?;
            }
        }
        Ok(())
    }

    /// The names of `path`, the last one first.
    fn names(path: &Path) -> Vec<OsString> {
        let name = |component: Component<'_>| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        };
        let mut names: Vec<_> = path.components().filter_map(name).collect();
        names.reverse();
        names
    }

    fn ancestor(folder: &Path, metadata: &Metadata) -> Result<(), Distrust> {
        owned(folder, metadata)?;
        if !metadata.is_dir() {
            return Err(Distrust::NotA { path: folder.to_owned(), wanted: "folder" });
        }
        // What is in a sticky folder is renamed and removed by its owner alone, who is looked at next.
        if metadata.mode() & STICKY != 0 { Ok(()) } else { unchanged_by_others(folder, metadata) }
    }

    fn owned(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
        if is_ours(metadata) || metadata.uid() == 0 {
            return Ok(());
        }
        Err(Distrust::Foreign { path: path.to_owned(), owner: owner_name(metadata.uid()) })
    }

    fn unchanged_by_others(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
        let mode = metadata.mode();
        let by_group = mode & GROUP_WRITES != 0 && (has_access_list(path) || !is_private_group(metadata.gid()));
        if mode & OTHERS_WRITE != 0 || by_group {
            return Err(Distrust::Writable { path: path.to_owned() });
        }
        Ok(())
    }

    pub(super) fn file(path: &Path) -> Result<(), Distrust> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            found => regular(path, &found.map_err(failed(path))?),
        }
    }

    fn regular(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
        owned(path, metadata)?;
        if !metadata.is_file() {
            return Err(Distrust::NotA { path: path.to_owned(), wanted: "regular file" });
        }
        unchanged_by_others(path, metadata)
    }

    pub(super) fn open(path: &Path) -> Result<File, Distrust> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
            Ok(file) => file,
            Err(source) => {
                regular(path, &std::fs::symlink_metadata(path).map_err(failed(path))?)?;
                return Err(failed(path)(source));
            }
        };
        // Of what was opened, not of what has its name by now.
        regular(path, &file.metadata().map_err(failed(path))?)?;
        Ok(file)
    }

    /// Whether it belongs to the effective user.
    pub(crate) fn is_ours(metadata: &Metadata) -> bool {
        metadata.uid() == rustix::process::geteuid().as_raw()
    }

    /// The name of the user `uid`, as the machine's own list has it.
    pub(crate) fn owner_name(uid: u32) -> String {
        let named = users().into_iter().find(|user| user.uid == uid).map(|user| user.name);
        named.unwrap_or_else(|| format!("uid {uid}"))
    }

    /// An access list gives rights to users by name; then the bits of the group say what the list may give at most.
    fn has_access_list(path: &Path) -> bool {
        let mut nothing: [u8; 0] = [];
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut nothing[..]).is_ok_and(|length| length > 0)
    }

    /// Whether nobody is in the group but the effective user and root: the group of its own that many systems give each user. One that the
    /// machine's own lists do not know may have anybody in it.
    fn is_private_group(gid: u32) -> bool {
        let us = |uid: u32| uid == 0 || uid == rustix::process::geteuid().as_raw();
        let users = users();
        let Ok(groups) = std::fs::read_to_string("/etc/group") else { return false };
        let Some(members) = groups.lines().find_map(|line| members_of(line, gid)) else { return false };
        let member_is_us = |name: &str| users.iter().any(|user| user.name == name && us(user.uid));
        members.iter().all(|name| member_is_us(name)) && users.iter().filter(|user| user.gid == gid).all(|user| us(user.uid))
    }

    /// The members in a line of `/etc/group` (group(5)), where that is about `gid`.
    fn members_of(line: &str, gid: u32) -> Option<Vec<&str>> {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return None };
        (number.parse() == Ok(gid)).then(|| members.split(',').filter(|name| !name.is_empty()).collect())
    }

    struct User {
        name: String,
        uid: u32,
        gid: u32,
    }

    /// The lines of `/etc/passwd` (passwd(5)).
    fn users() -> Vec<User> {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        std::fs::read_to_string("/etc/passwd").unwrap_or_default().lines().filter_map(user).collect()
    }
}

#[cfg(windows)]
mod sys {
    use super::*;

    pub(super) fn folder(path: &Path) -> Result<(), Distrust> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(Distrust::NotA { path: path.to_owned(), wanted: "folder" }),
            Err(error) => Err(failed(path)(error)),
        }
    }

    pub(super) fn file(path: &Path) -> Result<(), Distrust> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_file() => Err(Distrust::NotA { path: path.to_owned(), wanted: "regular file" }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) fn open(path: &Path) -> Result<File, Distrust> {
        if !std::fs::symlink_metadata(path).map_err(failed(path))?.is_file() {
            return Err(Distrust::NotA { path: path.to_owned(), wanted: "regular file" });
        }
        File::open(path).map_err(failed(path))
    }
}

#[cfg(all(test, unix))]
mod tests;
