//! What keeps two users apart, and two names of one folder: both have folders of locks of their own, and believe nobody else's files.
//!
//! ```text
//!  a name that the kernel keeps   by the lock's text; gone with its process, and no file that somebody could take away (Linux)
//!  the folder that is locked      an operating-system lock on it, by whatever name it is reached (Unix)
//! ```
//!
//! Whoever may read the folder can lock it, and any user can take a name: that denies a run, and is told with the user and the process,
//! which an administrator can end. Nothing of theirs is read.

use std::path::Path;

/// A live process that holds what somebody wants to lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The process.
    pub pid: u32,
    /// The user that it runs as.
    pub user: String,
    /// Whether that is another user.
    pub is_foreign: bool,
}

/// What is held beside the file of a lock, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Occupancy {
    #[cfg(target_os = "linux")]
    name: Option<std::os::fd::OwnedFd>,
    #[cfg(unix)]
    folder: Option<std::fs::File>,
}

impl Occupancy {
    /// Takes hold of what `lock` means; else who has it, where that is known. `machine`: where root's locks are.
    pub(super) fn take(machine: &Path, lock: &str) -> Result<Self, Option<Occupant>> {
        let _ = (machine, lock);
        Ok(Self {
            #[cfg(target_os = "linux")]
            name: name::take(machine, lock)?,
            #[cfg(unix)]
            folder: target::take(Path::new(lock))?,
        })
    }
}

/// Whether a process has taken hold of what `lock` means, by its name.
pub(super) fn is_taken(machine: &Path, lock: &str) -> bool {
    #[cfg(target_os = "linux")]
    return name::is_taken(machine, lock);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (machine, lock);
        false
    }
}

#[cfg(unix)]
impl Drop for Occupancy {
    fn drop(&mut self) {
        // Not left to closing it: a child between its fork and its exec would keep that open.
        if let Some(folder) = &self.folder {
            let _ = rustix::fs::flock(folder, rustix::fs::FlockOperation::Unlock);
        }
        #[cfg(target_os = "linux")]
        if let Some(name) = &self.name {
            let _ = rustix::net::shutdown(name, rustix::net::Shutdown::Both);
        }
    }
}

#[cfg(unix)]
fn occupant(pid: u32, uid: u32) -> Occupant {
    Occupant { pid, user: crate::trust::owner_name(uid), is_foreign: uid != rustix::process::geteuid().as_raw() }
}

/// A socket with a name that is no file (unix(7), "abstract"): the kernel gives it to one process, and tells whose that is.
#[cfg(target_os = "linux")]
mod name {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};

    use super::Occupant;

    /// How many may ask whose a name is. Nobody answers them: the kernel does.
    const BACKLOG: i32 = 4096;

    pub(super) fn take(machine: &Path, lock: &str) -> Result<Option<OwnedFd>, Option<Occupant>> {
        // Where there are no such sockets, the files have to do.
        let Some((address, socket)) = address(machine, lock).zip(socket()) else { return Ok(None) };
        match bind(&socket, &address) {
            Ok(()) => Ok(listen(&socket, BACKLOG).is_ok().then_some(socket)),
            Err(rustix::io::Errno::ADDRINUSE) => Err(occupant_at(&address)),
            Err(_) => Ok(None),
        }
    }

    /// Whether a process has the name.
    pub(super) fn is_taken(machine: &Path, lock: &str) -> bool {
        let Some((address, socket)) = address(machine, lock).zip(socket()) else { return false };
        // So many have asked that no more can.
        matches!(connect(&socket, &address), Ok(()) | Err(rustix::io::Errno::AGAIN))
    }

    fn occupant_at(address: &SocketAddrUnix) -> Option<Occupant> {
        let socket = socket()?;
        connect(&socket, address).ok()?;
        let peer = sockopt::socket_peercred(&socket).ok()?;
        Some(super::occupant(u32::try_from(peer.pid.as_raw_pid()).ok()?, peer.uid.as_raw()))
    }

    /// Never waits for whoever has the name.
    fn socket() -> Option<OwnedFd> {
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).ok()
    }

    /// The same for all users of a machine, whatever a cleaner takes out of the folder in which theirs are.
    fn address(machine: &Path, lock: &str) -> Option<SocketAddrUnix> {
        let around = std::fs::metadata(machine.parent()?).ok()?;
        let text = format!("{}:{}:{lock}", around.dev(), around.ino());
        let name = format!("almaplan-{}", &blake3::hash(text.as_bytes()).to_hex()[..32]);
        SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()
    }
}

/// The folder that a plan locks, itself.
#[cfg(unix)]
mod target {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::{FlockOperation, OFlags, flock};

    use super::{Occupant, occupant};
    use crate::volume;

    pub(super) fn take(path: &Path) -> Result<Option<File>, Option<Occupant>> {
        if !path.is_absolute() {
            return Ok(None);
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        // One that does not exist yet, is a file, or is none that we may look into, carries no lock.
        let Ok(folder) = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) else { return Ok(None) };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if volume::is_still(&folder, path) => Ok(Some(folder)),
            // Another one has its place by now.
            Ok(()) => Err(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(holder_of(&folder)),
            // Some network file systems cannot lock a folder.
            Err(_) => Ok(None),
        }
    }

    /// Who holds the lock of `folder`, as the kernel tells (proc_locks(5)).
    fn holder_of(folder: &File) -> Option<Occupant> {
        let inode = folder.metadata().ok()?.ino();
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, "FLOCK", _, _, pid, file, ..] = words[..] else { return None };
            let held = file.rsplit(':').next()?.parse::<u64>().ok()? == inode;
            let pid: u32 = pid.parse().ok().filter(|_| held)?;
            Some(occupant(pid, owner_of(pid)?))
        })
    }

    fn owner_of(pid: u32) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        ids.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}
