//! The folders of releases, as a deployed folder has them.
//!
//! What is behind a link in the place of one is not in the folder: no backup has it and no restore brings it back. So nothing is put,
//! compared or deleted there.

use std::collections::{HashMap, HashSet};

use super::{FileError, Kind, Root, map_each};

/// What is where some names have their folders, looked at once.
pub(crate) struct Links {
    kinds: HashMap<String, Kind>,
    are_there: bool,
}

impl Links {
    /// Looks in `root`, which may be missing, at the folders above `names`, and at `folders`.
    pub fn above<'a>(
        root: Option<&Root>,
        names: impl IntoIterator<Item = &'a String>,
        folders: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let mut known = HashSet::new();
        let mut all: Vec<&str> = folders.into_iter().map(String::as_str).filter(|folder| known.insert(*folder)).collect();
        for mut name in names.into_iter().map(String::as_str) {
            while let Some((folder, _)) = name.rsplit_once('/')
                && known.insert(folder)
            {
                all.push(folder);
                name = folder;
            }
        }
        let kind = |folder: &str| root?.look(folder).ok().map(|meta| meta.kind);
        let looked = map_each(&all, |folder| Ok::<_, FileError>(kind(folder)));
        let looked = all.iter().zip(looked.expect("looking is no error"));
        let kinds: HashMap<String, Kind> = looked.filter_map(|(folder, kind)| Some(((*folder).to_owned(), kind?))).collect();
        let are_there = kinds.values().any(|kind| *kind == Kind::Link);
        Self { kinds, are_there }
    }

    /// Whether the way to `name` leads through one.
    pub fn lead_to(&self, name: &str) -> bool {
        self.are_there && name.match_indices('/').any(|(slash, _)| self.kinds.get(&name[..slash]) == Some(&Kind::Link))
    }

    /// Whether the folder `name` that was looked at is there, and no link to one.
    pub fn folder_is_there(&self, name: &str) -> bool {
        self.kinds.get(name) == Some(&Kind::Folder)
    }
}
