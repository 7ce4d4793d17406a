//! Links in a deployed folder that are where a release has a folder.
//!
//! What is behind one is not in the folder: no backup has it and no restore brings it back. So nothing is put, compared or deleted there.

use std::collections::BTreeSet;
use std::path::Path;

use super::inside;

/// Those above some names.
pub(crate) struct Links(BTreeSet<String>);

impl Links {
    /// The links in `root` that are above any of `names`.
    pub fn above<'a>(root: &Path, names: impl IntoIterator<Item = &'a String>) -> Self {
        let mut folders = BTreeSet::new();
        let mut last = "";
        for name in names {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder != last {
                folders.extend(folder.match_indices('/').map(|(slash, _)| &folder[..slash]).chain([folder]));
                last = folder;
            }
        }
        let is_link = |folder: &&str| inside(root, folder).is_symlink();
        Self(folders.into_iter().filter(|folder| !folder.is_empty()).filter(is_link).map(str::to_owned).collect())
    }

    /// Whether the way to `name` leads through one.
    pub fn lead_to(&self, name: &str) -> bool {
        !self.0.is_empty() && name.match_indices('/').any(|(slash, _)| self.0.contains(&name[..slash]))
    }
}
