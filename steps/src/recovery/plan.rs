//! A restored folder, made of what an archive has and what is carried over.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Listing, RecoveryError, RecoveryNote};
use crate::archive::{Archive, Entry, Handle, ITSELF};
use crate::files::{
    Attributes, BlockingTask, Extended, FileKind, Found, GROUP, Output, PendingSync, Root, SET_ID, apply_attributes, apply_to_folder,
    apply_to_folders, copy_files, each, folder_of, folders, free_space, inside, io_error, make_folders, make_link, needed, platform, size,
    size_on_disk,
};

/// What the restored folder will have.
pub(crate) struct RestorePlan<'a> {
    /// From the archive.
    pub archived: Vec<&'a Entry>,
    /// From the folder as it is now.
    pub current: Vec<Found>,
    /// The attributes of the folder itself; `None` leaves them to whoever makes it.
    pub itself: Option<Attributes>,
    /// It is known that the archive is ours: everything that it says comes back.
    pub is_trusted: bool,
}

impl RestorePlan<'_> {
    /// Data that is where a file of the old release was a folder, or the other way round, stays in the failed folder only.
    pub fn settle_conflicts(&mut self, task: &BlockingTask) {
        if self.current.is_empty() {
            return;
        }
        let mut taken: Listing = self.archived.iter().map(|entry| (entry.name.clone(), entry.kind)).collect();
        self.current.retain(|found| {
            let above = || {
                found
                    .name
                    .match_indices('/')
                    .any(|(slash, _)| taken.get(&found.name[..slash]).is_some_and(|kind| *kind != FileKind::Folder))
            };
            let below = format!("{}/", found.name);
            let holds = || taken.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below));
            let conflict = above() || (found.meta.kind != FileKind::Folder && holds());
            if conflict {
                task.cx.warn(RecoveryNote::Taken { path: found.path() });
            } else if found.meta.kind == FileKind::Other {
                task.cx.info(RecoveryNote::NoFile { path: found.path() });
            } else if found.meta.kind == FileKind::Mount {
                task.cx.info(RecoveryNote::Mount { path: found.path() });
            } else {
                taken.insert(found.name.clone(), found.meta.kind);
            }
            !conflict && !matches!(found.meta.kind, FileKind::Other | FileKind::Mount)
        });
    }

    /// Whether there is room for it in `parent`.
    ///
    /// # Errors
    /// There is not.
    pub fn check_space(&self, parent: &Path) -> Result<(), RecoveryError> {
        let mut files = self.archived.clone();
        take_further_names(&mut files);
        let archived: u64 = files.into_iter().map(on_disk).sum();
        let current = size_on_disk(&self.current);
        let free = free_space(parent).unwrap_or(u64::MAX);
        if free < archived.saturating_add(current) {
            let needed = archived.saturating_add(current);
            return Err(RecoveryError::NoSpace { needed, parent: parent.to_owned(), free });
        }
        Ok(())
    }

    /// Builds it as the new folder `at`. Durable when it returns how many files it has; on an error `at` is to be removed.
    ///
    /// # Errors
    /// A content is damaged, or something cannot be copied.
    pub fn build(&self, task: &BlockingTask, archive: &Archive, at: &Path) -> Result<u64, RecoveryError> {
        // For this user alone until everything in it is as it should be.
        let tree = PendingSync::new(Root::make(at).map_err(io_error("create", at))?)?;
        let root = tree.root();
        let archived = self.archived.iter().map(|entry| (entry.name.as_str(), entry.kind));
        let current = self.current.iter().map(|found| (found.name.as_str(), found.meta.kind));
        make_folders(root, &needed(archived.chain(current)))?;
        let archived: u64 = self.archived.iter().map(|entry| entry.size).sum();
        task.expect_bytes(archived + size(&self.current));
        // Links last: where two names are one to the system (in another case, or composed otherwise), no file is written through a link.
        let (links, mut files): (Vec<&Entry>, Vec<&Entry>) = self.archived.iter().partition(|entry| entry.kind == FileKind::Link);
        let further = take_further_names(&mut files);
        // One long file at the end would keep one thread busy, and the others waiting for it.
        files.sort_by_key(|entry| Reverse(entry.size >> 20));
        let extract_all = |entries: Vec<&Entry>| {
            // Who makes a file in a folder keeps all others out of it for that long.
            let groups: Vec<&[&Entry]> =
                entries.chunk_by(|a, b| folder_of(&a.name) == folder_of(&b.name)).flat_map(|group| group.chunks(GROUP)).collect();
            each(
                &groups,
                || Ok(archive.handle()?),
                |handle: &mut Handle, group| group.iter().try_for_each(|entry| self.extract(task, archive, handle, entry, root)),
            )
        };
        tree.while_writing(task, || -> Result<_, RecoveryError> {
            extract_all(files)?;
            for (entry, first) in further {
                root.link(&first.name, root, &entry.name).map_err(io_error("create", &inside(at, &entry.name)))?;
            }
            extract_all(links)?;
            Ok(copy_files(task, &self.current, root)?)
        })?;
        let archived = self.archived.iter().filter(|entry| entry.kind == FileKind::Folder && entry.name != ITSELF);
        let archived = archived.map(|folder| (folder.name.as_str(), self.attributes(folder)));
        apply_to_folders(task, root, folders(&self.current)?.into_iter().chain(archived))?;
        tree.sync()?;
        if let Some(itself) = &self.itself {
            apply_to_folder(task, root, "", itself)?;
        }
        let archived = self.archived.iter().filter(|entry| entry.kind != FileKind::Folder).count();
        let current = self.current.iter().filter(|found| found.meta.kind != FileKind::Folder).count();
        Ok((archived + current) as u64)
    }

    /// What an entry says of its attributes, as far as its archive is believed.
    pub fn attributes(&self, entry: &Entry) -> Attributes {
        let modified = Some(time(entry));
        let Some(details) = &entry.details else {
            return Attributes { owner: None, mode: entry.mode & !SET_USER, modified, extended: Vec::new() };
        };
        if self.is_trusted {
            return Attributes { owner: details.owner, mode: entry.mode, modified, extended: details.extended.clone() };
        }
        // Whoever made the archive must not make programs that act as somebody else.
        let is_harmless = |(name, _): &&Extended| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
        let extended = details.extended.iter().filter(is_harmless).cloned().collect();
        let mode = if entry.kind == FileKind::Folder { entry.mode & !SET_USER } else { entry.mode & !SET_ID };
        Attributes { owner: details.owner, mode, modified, extended }
    }

    fn extract(
        &self,
        task: &BlockingTask,
        archive: &Archive,
        handle: &mut Handle,
        entry: &Entry,
        root: &Root,
    ) -> Result<(), RecoveryError> {
        task.check()?;
        let path = inside(&root.path, &entry.name);
        match (&entry.kind, &entry.link) {
            (FileKind::Link, Some(target)) => {
                let target = platform::link_path(target);
                let to_folder = path.parent().is_some_and(|parent| parent.join(&target).is_dir());
                let owner = entry.details.as_ref().and_then(|details| details.owner);
                return Ok(make_link(task, &target, root, &entry.name, (owner, entry.modified_s), to_folder)?);
            }
            (FileKind::File, _) => {}
            _ => return Ok(()),
        }
        let attributes = self.attributes(entry);
        let mut file = root.create_file(&entry.name, attributes.first_mode()).map_err(io_error("create", &path))?;
        let has_holes = entry.details.as_ref().is_some_and(|details| details.allocated.is_some());
        let mut out = Output::new(&mut file, has_holes);
        archive.read(handle, entry, |piece| -> Result<(), RecoveryError> {
            task.check()?;
            out.write_all(piece).map_err(io_error("write", &path))?;
            task.wrote(piece.len() as u64);
            task.advance(piece.len() as u64);
            Ok(())
        })?;
        out.finish().map_err(io_error("write", &path))?;
        apply_attributes(task, &file, &path, &attributes)?;
        Ok(())
    }
}

/// Lets a program act as its owner.
const SET_USER: u32 = 0o4000;

/// Takes the entries out of `files` that are further names of a file before them; each with the first one. Only what has the same
/// content and the same mode can be.
fn take_further_names<'a>(files: &mut Vec<&'a Entry>) -> Vec<(&'a Entry, &'a Entry)> {
    let (mut firsts, mut further) = (HashMap::<u64, &Entry>::new(), Vec::new());
    files.retain(|entry| {
        let Some(number) = entry.details.as_ref().and_then(|details| details.shared) else { return true };
        if let Some(first) = firsts.get(&number).filter(|first| first.is_same_file(entry)) {
            further.push((*entry, *first));
            return false;
        }
        firsts.entry(number).or_insert(entry);
        true
    });
    further
}

/// How many bytes of a disk a restored file takes.
fn on_disk(entry: &Entry) -> u64 {
    let allocated = entry.details.as_ref().and_then(|details| details.allocated);
    allocated.map_or(entry.size, |allocated| allocated.min(entry.size))
}

fn time(entry: &Entry) -> SystemTime {
    let span = Duration::from_secs(entry.modified_s.unsigned_abs());
    let second = if entry.modified_s < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span };
    second + Duration::from_nanos(entry.details.as_ref().map_or(0, |details| details.nanos.into()))
}
