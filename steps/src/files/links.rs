//! The folders of releases, as a deployed folder has them.
//!
//! What is behind a link in the place of one is not in the folder: no backup has it and no restore brings it back. So nothing is put,
//! compared or deleted there.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Mutex;

use super::{FileError, each, inside};

/// What is where some names have their folders, looked at once.
pub(crate) struct Links {
    links: HashSet<String>,
    real: HashSet<String>,
}

impl Links {
    /// Looks in `root` at the folders above `names`, and at `folders`.
    pub fn above<'a>(root: &Path, names: impl IntoIterator<Item = &'a String>, folders: impl IntoIterator<Item = &'a String>) -> Self {
        let mut all: BTreeSet<&str> = folders.into_iter().map(String::as_str).collect();
        let mut last = "";
        for name in names {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder != last {
                all.extend(folder.match_indices('/').map(|(slash, _)| &folder[..slash]).chain([folder]));
                last = folder;
            }
        }
        let all: Vec<&str> = all.into_iter().filter(|folder| !folder.is_empty()).collect();
        let found = Mutex::new(Self { links: HashSet::new(), real: HashSet::new() });
        let look = |(): &mut (), folder: &&str| {
            if let Ok(meta) = inside(root, folder).symlink_metadata() {
                let mut found = found.lock().expect("no code panics while it holds this lock");
                if meta.is_symlink() {
                    found.links.insert((*folder).to_owned());
                } else if meta.is_dir() {
                    found.real.insert((*folder).to_owned());
                }
            }
            Ok::<(), FileError>(())
        };
        each(&all, || Ok(()), look).expect("looking is no error");
        found.into_inner().expect("no code panics while it holds this lock")
    }

    /// Whether the way to `name` leads through one.
    pub fn lead_to(&self, name: &str) -> bool {
        !self.links.is_empty() && name.match_indices('/').any(|(slash, _)| self.links.contains(&name[..slash]))
    }

    /// Whether the folder `name` that was looked at is there, and no link to one.
    pub fn folder_is_there(&self, name: &str) -> bool {
        self.real.contains(name)
    }
}
