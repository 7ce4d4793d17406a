//! The folders of releases, as a deployed folder has them.
//!
//! What is behind a link in the place of one is not in the folder: no backup has it and no restore brings it back. So nothing is put,
//! compared or deleted there.

use std::collections::HashMap;

use crate::files::{FileError, FileKind, Root, folder_of, map_each};

/// What is where some names have their folders, looked at once.
pub(crate) struct Links<'a> {
    kinds: HashMap<&'a str, Option<FileKind>>,
    are_there: bool,
}

impl<'a> Links<'a> {
    /// Looks in `root`, which may be missing, at the folders above `names`, and at `folders`.
    pub fn above(root: Option<&Root>, names: impl IntoIterator<Item = &'a String>, folders: impl IntoIterator<Item = &'a String>) -> Self {
        let mut kinds: HashMap<&str, _> = folders.into_iter().map(|folder| (folder.as_str(), None)).collect();
        let mut last = "";
        for mut name in names.into_iter().map(String::as_str) {
            // Names that follow one another are mostly in one folder.
            if name.strip_prefix(last).and_then(|name| name.strip_prefix('/')).is_some_and(|name| !name.contains('/')) {
                continue;
            }
            last = folder_of(name);
            while let Some((folder, _)) = name.rsplit_once('/')
                && kinds.insert(folder, None).is_none()
            {
                name = folder;
            }
        }
        let mut all: Vec<(&&str, &mut Option<FileKind>)> = kinds.iter_mut().collect();
        let looked = map_each(&all, |(folder, _)| Ok::<_, FileError>(root.and_then(|root| root.look(folder).ok())));
        for ((_, kind), meta) in all.iter_mut().zip(looked.expect("looking is no error")) {
            **kind = meta.map(|meta| meta.kind);
        }
        let are_there = kinds.values().any(|kind| *kind == Some(FileKind::Link));
        Self { kinds, are_there }
    }

    /// Whether the way to `name` leads through one.
    pub fn crosses_symlink(&self, name: &str) -> bool {
        self.are_there && name.match_indices('/').any(|(slash, _)| self.kinds.get(&name[..slash]) == Some(&Some(FileKind::Link)))
    }

    /// Whether the folder `name` that was looked at is there, and no link to one.
    pub fn folder_is_there(&self, name: &str) -> bool {
        self.kinds.get(name) == Some(&Some(FileKind::Folder))
    }
}
