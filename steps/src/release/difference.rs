//! How a release differs from what is deployed, found without changing anything: what `stage` and `sync` would do.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use almaplan_engine::preview::{Before, Found as FoundAt, Preview, Told};

use super::compare::{Comparison, Folders};
use super::owners::Owners;
use super::stage::scan;
use super::{HashCache, HashDatabase, Links, MANIFEST, Manifest, ReleaseError, check_source};
use crate::files::{BlockingTask, FileKind, Found, MOST_COPIES, Patterns, inside, present, root};

/// Names that are told of each kind of change.
const NAMED: usize = 5;

/// A folder as it will be: what of these folders is not left out, the first one that has a name counts.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    parts: Vec<Part>,
    /// The steps that write in it first.
    also: Vec<String>,
}

#[derive(Debug, Clone)]
struct Part {
    folder: PathBuf,
    exclude: Vec<String>,
    /// Only what belongs to no release in it: a copy deletes the rest.
    only_data: bool,
}

/// How a release differs from what is deployed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Files that the target does not have.
    pub added: Vec<String>,
    /// Files that differ.
    pub changed: Vec<String>,
    /// Files of the release before that are not in this one.
    pub deleted: Vec<String>,
    /// Bytes of the files that are added or differ.
    pub bytes: u64,
}

impl Source {
    /// What `folder` will be once the steps `before` have run; a preview that says after which step it can be told where it cannot be now.
    pub fn of(folder: &Path, before: &Before) -> Result<Self, Box<Preview>> {
        let part = |folder: &Path, exclude: &[String], only_data| Part { folder: folder.to_owned(), exclude: exclude.to_vec(), only_data };
        let (mut at, mut left_out) = (folder.to_owned(), Vec::new());
        let mut stays = Vec::new();
        for _ in 0..MOST_COPIES {
            match before.find(&at) {
                FoundAt::Here => {
                    let also = before.within(&at).map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect();
                    let parts = [part(&at, &left_out, false)].into_iter().chain(stays).collect();
                    return Ok(Self { parts, also });
                }
                FoundAt::Copied { from, rest, exclude } if rest.as_os_str().is_empty() => {
                    stays.push(part(&at, &left_out, true));
                    left_out.extend_from_slice(exclude);
                    at = from.to_owned();
                }
                FoundAt::After(step) => return Err(Preview::after(step).into()),
                FoundAt::Copied { .. } | FoundAt::Made(_) => return Err(Preview::default().into()),
            }
        }
        Err(Preview::default().into())
    }

    /// The folder that most of it comes from.
    fn folder(&self) -> &Path {
        &self.parts[0].folder
    }

    /// What is in it, but what `exclude` covers.
    fn scan(&self, task: &BlockingTask, exclude: &[String]) -> Result<Vec<Found>, ReleaseError> {
        let mut all: Vec<Found> = Vec::new();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for part in &self.parts {
            let patterns = Patterns::new(&[exclude, &part.exclude].concat())?;
            if part.only_data && !present(&part.folder) {
                continue;
            }
            let released = if part.only_data { Manifest::load(&part.folder, MANIFEST)? } else { None };
            let mut found = scan(task, &part.folder, &patterns)?;
            found.retain(|found| !released.as_ref().is_some_and(|released| released.has(&found.name)));
            found.retain(|found| names.insert(found.name.clone()));
            all.append(&mut found);
        }
        if !all.iter().any(|found| found.meta.kind == FileKind::File) {
            return Err(ReleaseError::EmptySource(self.folder().to_owned()));
        }
        Ok(all)
    }
}

impl Difference {
    /// How `source` differs from what is deployed to `to`.
    ///
    /// # Errors
    /// Something cannot be read, or is no release.
    pub fn find(task: &BlockingTask, source: &Source, to: &Path, exclude: &[String], checksum: bool) -> Result<Self, ReleaseError> {
        check_source(source.folder(), to)?;
        let found = source.scan(task, exclude)?;
        let deployed = root(to)?;
        let links = Links::above(deployed.as_ref(), [], found.iter().filter(|found| found.meta.kind == FileKind::Folder).map(|f| &f.name));
        let owners = Owners::of(deployed.as_ref(), to)?;
        let known = |folder| if checksum { HashCache::empty(folder) } else { HashDatabase::look(to, folder) };
        let target = known(to);
        let mut difference = Self::default();
        // The hashes are known by the folder that a file is in.
        let mut by_folder: HashMap<&Path, Vec<Found>> = HashMap::new();
        for found in &found {
            by_folder.entry(found.root.path.as_path()).or_default().push(found.clone());
        }
        for (folder, found) in &by_folder {
            let of_folder = known(folder);
            let folders = Folders { deployed: deployed.as_ref(), links: &links, owners: &owners, source: &of_folder, target: &target };
            for (found, comparison) in found.iter().zip(folders.compare(task, found)?) {
                match comparison {
                    Some(Comparison::Added) => difference.added.push(found.name.clone()),
                    Some(Comparison::Changed) => difference.changed.push(found.name.clone()),
                    Some(Comparison::Same(..)) | None => continue,
                }
                difference.bytes += if found.meta.kind == FileKind::File { found.meta.len } else { 0 };
            }
        }
        let patterns = Patterns::new(exclude)?;
        let names: BTreeSet<&str> = found.iter().map(|found| found.name.as_str()).collect();
        let before = Manifest::load(to, MANIFEST)?;
        let gone = before.iter().flat_map(|before| before.files.keys()).filter(|name| !names.contains(name.as_str()));
        difference.deleted = gone.filter(|name| !patterns.covers(name, false) && present(&inside(to, name))).cloned().collect();
        difference.added.sort();
        difference.changed.sort();
        Ok(difference)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.deleted.is_empty()
    }

    /// As it is told, with what of `source` is not counted.
    pub fn told(&self, source: &Source) -> Vec<Told> {
        let count = |names: &[String]| names.len() as u64;
        let not_counted = (!source.also.is_empty()).then(|| Told::new("files-not-counted").field("steps", source.also.clone()));
        if self.is_none() {
            return [Told::new("files-same")].into_iter().chain(not_counted).collect();
        }
        let files = Told::new("files").field("added", count(&self.added)).field("changed", count(&self.changed));
        let mut told =
            vec![files.field("deleted", count(&self.deleted)).field("bytes", almaplan_engine::preview::Amount::Bytes(self.bytes))];
        for (what, names) in [("files-added", &self.added), ("files-changed", &self.changed), ("files-deleted", &self.deleted)] {
            if !names.is_empty() {
                let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>();
                told.push(Told::new(what).field("names", first).field("more", count(names).saturating_sub(NAMED as u64)));
            }
        }
        told.extend(not_counted);
        told
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use almaplan_engine::context::Context;
    use almaplan_engine::event::StepId;
    use almaplan_engine::preview::{Becomes, Change};

    use super::*;
    use crate::files::blocking;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    async fn difference(folder: &Path, source: Source, exclude: &[&str]) -> Difference {
        let cx = Context::standalone(folder, Arc::new(|_| {}));
        let (to, exclude) = (folder.join("app"), exclude.iter().map(ToString::to_string).collect::<Vec<_>>());
        blocking(&cx, move |task| Difference::find(task, &source, &to, &exclude, false)).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_release_would_change_is_told_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(&path.join("new"), &[("a", "1"), ("b", "22"), ("sub/c", "333"), ("x.db", "mine")]);
        write(&path.join("app"), &[("a", "1"), ("b", "old"), ("x.db", "theirs")]);
        let source = Source::of(&path.join("new"), &Before::default()).unwrap();
        let found = difference(path, source, &["*.db"]).await;
        assert_eq!((&found.added, &found.changed, found.bytes), (&vec!["sub/c".to_owned()], &vec!["b".to_owned()], 5));
        let left: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    // The release is compared with what is deployed although it is copied to another folder first, whose compiled files stay.
    #[tokio::test]
    async fn a_folder_that_is_copied_first_is_looked_at_where_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(&path.join("new"), &[("a", "2"), ("cache/a", "not copied")]);
        write(&path.join("copy"), &[("a", "1"), ("cache/compiled", "1"), (MANIFEST, r#"{"version":1,"files":{},"folders":[]}"#)]);
        write(&path.join("app"), &[("a", "1"), ("cache/compiled", "1")]);
        let mut before = Before::default();
        let becomes = Becomes::CopyOf { from: path.join("new"), exclude: vec!["cache/".to_owned()] };
        before.add(&StepId::new("copy"), [Change { path: path.join("copy"), becomes }]);
        let found = difference(path, Source::of(&path.join("copy"), &before).unwrap(), &[]).await;
        assert_eq!((found.added, found.changed), (Vec::<String>::new(), vec!["a".to_owned()]));
    }
}
