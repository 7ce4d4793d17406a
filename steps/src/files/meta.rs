//! What the system says about a file.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What a thing in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, a device.
    Other,
    /// A volume is mounted there: it is neither moved, nor emptied, nor gone into.
    Mount,
}

/// Whose a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

/// What the system says about a thing itself: of a link, not about what it leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// How many bytes of the disk it takes, where the system says; less than its length where it has holes.
    pub allocated: u64,
    /// Whose it is; `None` where the system has no such numbers.
    pub owner: Option<Owner>,
    /// How many names it has.
    pub names: u64,
    /// The volume that it is on, where the system says.
    pub device: u64,
    /// Unix permission bits, or those that say the same.
    pub mode: u32,
    /// When its content was modified.
    pub modified: SystemTime,
    /// When anything about it was, or what comes nearest to it of what needs no second question.
    pub(crate) changed_ns: i64,
    /// Its inode (the file id on Windows), or 0 where that needs a second call.
    pub(crate) inode: u64,
}

/// One extended attribute: its name and its value.
pub(crate) type Extended = (Vec<u8>, Vec<u8>);

/// Attributes of a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Whose it is; `None` is whoever makes it.
    pub owner: Option<Owner>,
    /// Unix permission bits.
    pub mode: u32,
    /// When its content was modified; `None` leaves that.
    pub modified: Option<SystemTime>,
    /// Access lists, capabilities, and what programs and people noted; sorted by name.
    pub extended: Vec<Extended>,
}

/// Lets a program act as its owner or its group.
pub(crate) const SET_ID: u32 = 0o6000;
/// The attribute that holds the capabilities of a program.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// What changes whenever a file does; only compared for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Numbers", into = "Numbers")]
pub(crate) struct FileStat {
    /// Its length.
    pub len: u64,
    /// When its content was modified.
    pub modified_ns: i64,
    /// When anything about it was, where the system says.
    pub changed_ns: i64,
    /// Its inode (the file id on Windows), where it is known.
    pub inode: u64,
}

/// As it is written: short, as there are as many as files.
type Numbers = (u64, i64, i64, u64);

impl From<FileStat> for Numbers {
    fn from(at: FileStat) -> Self {
        (at.len, at.modified_ns, at.changed_ns, at.inode)
    }
}

impl From<Numbers> for FileStat {
    fn from((len, modified_ns, changed_ns, inode): Numbers) -> Self {
        Self { len, modified_ns, changed_ns, inode }
    }
}

impl Meta {
    /// Whether it takes less of the disk than it is long.
    pub fn has_holes(&self) -> bool {
        self.kind == FileKind::File && self.allocated < self.len
    }

    /// What all names of a file with several names have in common; `None` of one with a single name.
    pub fn shared_by(&self) -> Option<(u64, u64)> {
        (self.kind == FileKind::File && self.names > 1).then_some((self.device, self.inode))
    }

    /// When its content was modified, in seconds since 1970.
    pub fn modified_s(&self) -> i64 {
        since_1970(self.modified).0
    }

    /// Nanoseconds since that second.
    pub fn modified_nanos(&self) -> u32 {
        since_1970(self.modified).1
    }

    /// When its content was modified, in nanoseconds since 1970; only compared for equality.
    pub(crate) fn modified_ns(&self) -> i64 {
        time_ns(self.modified)
    }
}

/// A time in nanoseconds since 1970; wraps centuries from then.
pub(crate) fn time_ns(time: SystemTime) -> i64 {
    let (seconds, nanos) = since_1970(time);
    nanoseconds(seconds, nanos.into())
}

/// Both as nanoseconds; only compared for equality.
pub(crate) fn nanoseconds(seconds: i64, nanos: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

/// The second in which a time was, and the nanoseconds since that began.
pub(crate) fn since_1970(time: SystemTime) -> (i64, u32) {
    let seconds = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (seconds(after.as_secs()), after.subsec_nanos()),
        Err(before) => match (before.duration().as_secs(), before.duration().subsec_nanos()) {
            (whole, 0) => (-seconds(whole), 0),
            (whole, nanos) => (-seconds(whole + 1), 1_000_000_000 - nanos),
        },
    }
}
