//! Whose the files of a release are, where it is put in place.
//!
//! What replaces a file is its owner's, and what is new belongs to whom the deployed folder belongs to: whoever runs the service can go
//! on with what root has deployed. Only root can give files away; for anybody else they are his own, with the group of the folder where
//! that is handed down (setgid). No file becomes a program that acts as somebody else because it was deployed.

use std::path::Path;

use super::ReleaseError;
use crate::files::{Attributes, Meta, Owner, Root, SET_ID, io_error, platform};

/// Who owns what is deployed.
pub(crate) struct Owners<'a> {
    deployed: Option<&'a Root>,
    folder: Option<Meta>,
}

impl<'a> Owners<'a> {
    /// Of what is deployed to `to`, which is open where it is there.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn of(deployed: Option<&'a Root>, to: &Path) -> Result<Self, ReleaseError> {
        let folder = deployed.map(Root::look_at_itself).transpose().map_err(io_error("look at", to))?;
        Ok(Self { deployed, folder })
    }

    /// Whose the file or link `name` is to be; of the source it is `source`.
    pub fn of_file(&self, name: &str, source: Option<Owner>) -> Option<Owner> {
        source?;
        let replaced = self.deployed.and_then(|deployed| deployed.look(name).ok()).and_then(|meta| meta.owner);
        let folder = self.folder.as_ref();
        let own = platform::own();
        if platform::is_root() {
            return Some(replaced.or(folder.and_then(|folder| folder.owner)).unwrap_or(own));
        }
        /// What is made in such a folder is its group's.
        const SET_GROUP: u32 = 0o2000;
        let handed_down = folder.filter(|folder| folder.mode & SET_GROUP != 0).and_then(|folder| folder.owner);
        let group = replaced.or(handed_down).map_or(own.group, |owner| owner.group);
        let wanted = Owner { user: own.user, group };
        Some(if platform::may_give(wanted) { wanted } else { own })
    }

    /// What the file or folder `name` gets of the attributes that its source has.
    pub fn give(&self, name: &str, attributes: Attributes) -> Attributes {
        let owner = self.of_file(name, attributes.owner);
        attributes.owned_by(owner)
    }

    /// The permission bits that the file `name` gets, of which `source` is the source.
    pub fn mode(&self, name: &str, source: &Meta) -> u32 {
        if source.owner == self.of_file(name, source.owner) { source.mode } else { source.mode & !SET_ID }
    }
}
