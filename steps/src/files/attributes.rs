//! What a file has beside its content: owner, permission bits, times, access lists and further extended attributes.
//!
//! They come back as they were. Where the system refuses an owner, the bits that let a program act as its owner or group are dropped, and
//! so are capabilities: a program must not become somebody else because it was copied.

use std::fs::File;
use std::io;

use super::meta::{Attributes, CAPABILITY, Extended, Meta, Owner, SET_ID};
use super::platform;

impl Attributes {
    /// Those of an open file or folder, which looks like `meta`.
    ///
    /// # Errors
    /// The system does not tell them.
    pub fn of(file: &File, meta: &Meta) -> io::Result<Self> {
        Ok(Self { owner: meta.owner, mode: meta.mode, modified: Some(meta.modified), extended: platform::extended(file)? })
    }

    /// Those that need no open file: all but the extended ones.
    pub fn plain(meta: &Meta) -> Self {
        Self { owner: meta.owner, mode: meta.mode, modified: Some(meta.modified), extended: Vec::new() }
    }

    /// The same for another owner: without what would let a program act as him.
    pub fn owned_by(mut self, owner: Option<Owner>) -> Self {
        if self.owner.is_some() && self.owner != owner {
            self.mode &= !SET_ID;
            self.extended.retain(|(name, _)| name != CAPABILITY);
        }
        self.owner = owner;
        self
    }

    /// Whether whoever makes a copy gives it away.
    pub fn is_given_away(&self) -> bool {
        self.owner.is_some_and(|owner| owner != platform::own())
    }

    /// The permission bits that a file has until it has these attributes: never more open than it will be.
    pub fn first_mode(&self) -> u32 {
        // Its group is another one until then.
        if self.is_given_away() { self.mode & 0o700 } else { self.mode & 0o777 }
    }

    /// Gives them to a file or folder that is open. Whether all could be kept.
    ///
    /// # Errors
    /// The time or the permission bits cannot be set.
    pub fn apply(&self, file: &File) -> io::Result<bool> {
        let is_kept = platform::apply_attributes(file, self)?;
        if let Some(modified) = self.modified {
            platform::set_time(file, modified)?;
        }
        Ok(is_kept)
    }
}

/// Why this user could not give all of them to a copy: what is lost is to be told before anything is touched.
pub(crate) fn unkept(meta: &Meta, extended: &[Extended]) -> Option<&'static str> {
    if meta.owner.is_some_and(|owner| !platform::may_give(owner)) {
        return Some("belongs to somebody else, and only root can give files away");
    }
    let is_reserved = |(name, _): &Extended| name == CAPABILITY && !platform::is_root();
    extended.iter().any(is_reserved).then_some("has capabilities, which only root can give")
}
