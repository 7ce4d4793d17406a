//! Owners, permission bits and extended attributes of open files.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use rustix::fs::{Gid, Uid};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::fs::{IFlags, XattrFlags};
use rustix::io::Errno;

use super::look_at;
use crate::files::meta::{Attributes, CAPABILITY, Extended, Owner, SET_ID};

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who this is: whose the files are that this process makes.
pub(crate) fn own() -> Owner {
    Owner { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
}

/// Whether this user may give a file to `owner`.
pub(crate) fn may_give(owner: Owner) -> bool {
    let is_member = |group| {
        own().group == group || rustix::process::getgroups().is_ok_and(|groups| groups.iter().any(|member| member.as_raw() == group))
    };
    is_root() || (owner.user == own().user && is_member(owner.group))
}

/// Lets this thread do what `user` may, and nothing more. There is no way back: the thread is to end.
///
/// # Errors
/// It may not.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn become_user(user: Owner) -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(None, Gid::from_raw(user.group), None)?;
    // What root may do beside everybody else goes with this.
    rustix::thread::set_thread_res_uid(None, Uid::from_raw(user.user), None)?;
    Ok(())
}

/// A thread cannot be somebody else here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn become_user(_: Owner) -> io::Result<()> {
    Err(Errno::OPNOTSUPP.into())
}

/// Sets when an open file or folder was modified.
pub(crate) fn set_time(file: &File, modified: SystemTime) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(modified))
}

/// Whether an open file or folder may not be changed by anybody, or only at its end (`chattr +i` and `+a`).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_fixed(file: &File) -> bool {
    rustix::fs::ioctl_getflags(file).is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

/// There is no such thing that this knows of.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_fixed(_: &File) -> bool {
    false
}

/// Gives an open file or folder an owner, permission bits and extended attributes. Whether all of them could be kept.
///
/// # Errors
/// The permission bits cannot be set.
pub(crate) fn apply_attributes(file: &File, attributes: &Attributes) -> io::Result<bool> {
    let now = look_at(file)?;
    let owner = attributes.owner.filter(|owner| now.owner != Some(*owner));
    let is_owned = owner.is_none_or(|owner| give(file, owner));
    // An inherited access list would let in whom the original does not.
    let is_extended = set_extended(file, attributes);
    let mode = if is_owned { attributes.mode } else { attributes.mode & !SET_ID };
    // Whoever gives a file away has dropped such bits of it, and an access list is part of the bits.
    if look_at(file)?.mode != mode {
        file.set_permissions(PermissionsExt::from_mode(mode))?;
    }
    // A change of owner or mode takes capabilities away.
    let is_capable = !is_owned || set_capability(file, attributes);
    Ok(is_owned && is_extended && is_capable)
}

/// Gives a file away; where that is refused, to the group at least.
fn give(file: &File, owner: Owner) -> bool {
    let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
    let given = rustix::fs::fchown(file, Some(user), Some(group));
    if given.is_err() {
        let _ = rustix::fs::fchown(file, None, Some(group));
    }
    given.is_ok()
}

/// The extended attributes of an open file or folder, sorted by name. What the system keeps for itself is left out.
///
/// # Errors
/// The system does not tell them.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn extended(file: &File) -> io::Result<Vec<Extended>> {
    let mut all = Vec::new();
    for name in names(file)? {
        match value(file, &name) {
            Ok(value) => all.push((name, value)),
            // Taken away meanwhile, or not for this user to see.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// There are none that this knows of.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn extended(_: &File) -> io::Result<Vec<Extended>> {
    Ok(Vec::new())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn names(file: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = vec![0; 4096];
    let len = loop {
        match rustix::fs::flistxattr(file.as_fd(), &mut buffer) {
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
            len => break len?,
        }
    };
    // A label of the system's policy is given by the policy, anew for each file.
    let is_label = |name: &&[u8]| name.is_empty() || *name == b"security.selinux";
    Ok(buffer[..len].split(|byte| *byte == 0).filter(|name| !is_label(name)).map(<[u8]>::to_vec).collect())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn value(file: &File, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match rustix::fs::fgetxattr(file.as_fd(), name, &mut buffer) {
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            len => {
                buffer.truncate(len?);
                return Ok(buffer);
            }
        }
    }
}

/// Gives a file the extended attributes but its capabilities, and takes away those that it inherited. Whether it has all of them.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_extended(file: &File, attributes: &Attributes) -> bool {
    let Ok(now) = extended(file) else { return attributes.extended.is_empty() };
    let wanted = || attributes.extended.iter().filter(|(name, _)| name != CAPABILITY);
    for (name, _) in now.iter().filter(|(name, _)| !attributes.extended.iter().any(|(wanted, _)| wanted == name)) {
        let _ = rustix::fs::fremovexattr(file.as_fd(), name.as_slice());
    }
    let missing: Vec<&Extended> = wanted().filter(|wanted| !now.contains(wanted)).collect();
    missing.iter().all(|(name, value)| rustix::fs::fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty()).is_ok())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_extended(_: &File, attributes: &Attributes) -> bool {
    attributes.extended.is_empty()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_capability(file: &File, attributes: &Attributes) -> bool {
    let capability = attributes.extended.iter().find(|(name, _)| name == CAPABILITY);
    capability.is_none_or(|(name, value)| rustix::fs::fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty()).is_ok())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_capability(_: &File, _: &Attributes) -> bool {
    true
}
