//! A restored folder, made of what an archive has and what is carried over.

use std::cmp::Reverse;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::archive::{Archive, Entry, Handle};
use super::copy::{GROUP, dress_file, dress_folders, folders, make_folders, needed};
use super::platform::create_file;
use super::{FileError, Found, Job, Kind, Listing, Unsynced, copy_files, each, free_space, inside, io_error, make_link, size};

/// What the restored folder will have.
pub(crate) struct Choice<'a> {
    /// From the archive.
    pub archived: Vec<&'a Entry>,
    /// From the folder as it is now.
    pub current: Vec<Found>,
}

impl Choice<'_> {
    /// Data that is where a file of the old release was a folder, or the other way round, stays in the failed folder only.
    pub fn settle_conflicts(&mut self, job: &Job) {
        if self.current.is_empty() {
            return;
        }
        let mut taken: Listing = self.archived.iter().map(|entry| (entry.name.clone(), entry.kind)).collect();
        self.current.retain(|found| {
            let above = || {
                found.name.match_indices('/').any(|(slash, _)| taken.get(&found.name[..slash]).is_some_and(|kind| *kind != Kind::Folder))
            };
            let below = format!("{}/", found.name);
            let holds = || taken.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below));
            let conflict = above() || (found.meta.kind != Kind::Folder && holds());
            if conflict {
                job.cx
                    .warn(format!("{} is not carried over: the restored release has something else in its place", found.path().display()));
            } else if found.meta.kind == Kind::Other {
                job.cx.info(format!("{} is not carried over: it is neither a file nor a folder", found.path().display()));
            } else {
                taken.insert(found.name.clone(), found.meta.kind);
            }
            !conflict && found.meta.kind != Kind::Other
        });
    }

    /// Whether there is room for it in `parent`.
    ///
    /// # Errors
    /// There is not.
    pub fn check_space(&self, parent: &Path) -> Result<(), FileError> {
        let archived: u64 = self.archived.iter().map(|entry| entry.size).sum();
        let current = size(&self.current);
        let free = free_space(parent).unwrap_or(u64::MAX);
        if free < archived.saturating_add(current) {
            let needed = archived.saturating_add(current);
            let parent = parent.display();
            return Err(FileError::Refused(format!(
                "the restored folder needs {needed} bytes beside it in {parent}, where {free} are free; make room, then `almaplan resume`"
            )));
        }
        Ok(())
    }

    /// Builds it as the new folder `at`. Durable when it returns how many files it has; on an error `at` is to be removed.
    ///
    /// # Errors
    /// A content is damaged, or something cannot be copied.
    pub fn build(&self, job: &Job, archive: &Archive, at: &Path) -> Result<u64, FileError> {
        let tree = Unsynced::create(at)?;
        let archived = self.archived.iter().map(|entry| (entry.name.as_str(), entry.kind));
        let current = self.current.iter().map(|found| (found.name.as_str(), found.meta.kind));
        make_folders(at, &needed(archived.chain(current)))?;
        let archived: u64 = self.archived.iter().map(|entry| entry.size).sum();
        job.expect_bytes(archived + size(&self.current));
        // Links last: where two names are one to the system (in another case, or composed otherwise), no file is written through a link.
        let (links, mut files): (Vec<&Entry>, Vec<&Entry>) = self.archived.iter().partition(|entry| entry.kind == Kind::Link);
        // One long file at the end would keep one thread busy, and the others waiting for it.
        files.sort_by_key(|entry| Reverse(entry.size >> 20));
        let extract_all = |entries: Vec<&Entry>| {
            // Who makes a file in a folder keeps all others out of it for that long.
            let groups: Vec<&[&Entry]> =
                entries.chunk_by(|a, b| folder_of(a) == folder_of(b)).flat_map(|group| group.chunks(GROUP)).collect();
            each(
                &groups,
                || Ok(archive.handle()?),
                |handle: &mut Handle, group| group.iter().try_for_each(|entry| extract(job, archive, handle, entry, at)),
            )
        };
        tree.while_writing(job, || {
            extract_all(files)?;
            extract_all(links)?;
            copy_files(job, &self.current, at)
        })?;
        let archived = self.archived.iter().filter(|entry| entry.kind == Kind::Folder);
        let archived = archived.map(|folder| (folder.name.as_str(), folder.mode, time(folder.modified_s)));
        dress_folders(at, folders(&self.current).chain(archived))?;
        tree.sync()?;
        let archived = self.archived.iter().filter(|entry| entry.kind != Kind::Folder).count();
        let current = self.current.iter().filter(|found| found.meta.kind != Kind::Folder).count();
        Ok((archived + current) as u64)
    }
}

fn folder_of(entry: &Entry) -> &str {
    entry.name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn extract(job: &Job, archive: &Archive, handle: &mut Handle, entry: &Entry, root: &Path) -> Result<(), FileError> {
    job.check()?;
    let path = inside(root, &entry.name);
    match (&entry.kind, &entry.link) {
        (Kind::Link, Some(target)) => {
            let to_folder = path.parent().is_some_and(|parent| inside(parent, target).is_dir());
            return make_link(Path::new(target), &path, entry.modified_s, to_folder);
        }
        (Kind::File, _) => {}
        _ => return Ok(()),
    }
    let mut out = create_file(&path, entry.mode).map_err(io_error("create", &path))?;
    archive.read(handle, entry, |piece| -> Result<(), FileError> {
        job.check()?;
        out.write_all(piece).map_err(io_error("write", &path))?;
        job.wrote(piece.len() as u64);
        job.advance(piece.len() as u64);
        Ok(())
    })?;
    dress_file(&out, &path, time(entry.modified_s), entry.mode).map(|_| ())
}

fn time(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}
