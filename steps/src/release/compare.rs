//! How the files of a source differ from what is deployed under their names.

use super::manifest::Item;
use super::owners::Owners;
use super::{HashCache, Links};
use crate::files::{BlockingTask, FileError, FileKind, FileStat, Found, Meta, Root, hash_file, hash_found, map_each, platform};

/// How a file or a link of the source compares with what is deployed.
#[derive(Debug, Clone)]
pub(crate) enum Comparison {
    /// It is the same, and this is how the deployed one looked before it was read.
    Same(Item, FileStat),
    /// It differs.
    Changed,
    /// Nothing is deployed under its name.
    Added,
}

/// What is compared.
pub(crate) struct Folders<'a> {
    /// The deployed folder, where there is one.
    pub deployed: Option<&'a Root>,
    /// The links in it.
    pub links: &'a Links<'a>,
    /// Whose the files will be.
    pub owners: &'a Owners<'a>,
    /// The hashes of the source.
    pub source: &'a HashCache<'a>,
    /// The hashes of the deployed folder.
    pub target: &'a HashCache<'a>,
}

impl Folders<'_> {
    /// Compares each of `found`; nothing for a folder.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn compare(&self, task: &BlockingTask, found: &[Found]) -> Result<Vec<Option<Comparison>>, FileError> {
        map_each(found, |found| {
            task.check()?;
            match found.meta.kind {
                FileKind::File => self.file(task, found).map(Some),
                FileKind::Link => self.link(task, found).map(Some),
                FileKind::Folder | FileKind::Other | FileKind::Mount => Ok(None),
            }
        })
    }

    fn file(&self, task: &BlockingTask, found: &Found) -> Result<Comparison, FileError> {
        let Some(deployed) = self.deployed(found) else { return Ok(Comparison::Added) };
        // What has another length or mode differs: it need not be read.
        let mode = self.owners.mode(&found.name, &found.meta);
        if (deployed.kind, deployed.len, deployed.mode) != (FileKind::File, found.meta.len, mode) {
            return Ok(Comparison::Changed);
        }
        let hash = self.source.hash(&found.name, &found.meta, || hash_found(task, found))?;
        self.with(task, found, &deployed, Item::of_file(found.meta.len, hash, mode))
    }

    fn link(&self, task: &BlockingTask, found: &Found) -> Result<Comparison, FileError> {
        let Some(deployed) = self.deployed(found) else { return Ok(Comparison::Added) };
        self.with(task, found, &deployed, Item::of_link(found)?)
    }

    fn with(&self, task: &BlockingTask, found: &Found, deployed: &Meta, item: Item) -> Result<Comparison, FileError> {
        let at = is_same(task, self.target, &found.name, deployed, &item)?;
        Ok(at.map_or(Comparison::Changed, |at| Comparison::Same(item, at)))
    }

    /// What is deployed under the name of `found`.
    fn deployed(&self, found: &Found) -> Option<Meta> {
        self.deployed.filter(|_| !self.links.crosses_symlink(&found.name))?.look(&found.name).ok()
    }
}

/// Whether the file or link `name` in the folder of `cache`, which looks like `meta`, is `item`, its mode included; and how it looked
/// before it was read.
///
/// # Errors
/// It cannot be read.
pub(crate) fn is_same(
    task: &BlockingTask,
    cache: &HashCache<'_>,
    name: &str,
    meta: &Meta,
    item: &Item,
) -> Result<Option<FileStat>, FileError> {
    let same = match (&item.link, meta.kind) {
        (Some(text), FileKind::Link) => std::fs::read_link(cache.path(name)).is_ok_and(|target| target == platform::link_path(text)),
        (None, FileKind::File) => {
            let alike = (meta.len, meta.mode) == (item.size, item.mode);
            alike && cache.hash(name, meta, || hash_file(task, &cache.path(name)))? == item.hash
        }
        _ => false,
    };
    Ok(same.then(|| cache.file_stat(name, meta)))
}
