//! Copies that keep times, permissions and links, and are read back.

use std::cmp::Reverse;
use std::fs::{File, FileTimes};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::SystemTime;

use super::walk::Meta;
use super::{FileError, Found, Job, Kind, Unsynced, each, inside, io_error, platform};

/// How many things of one folder a thread makes before another may go on with it.
pub(super) const GROUP: usize = 32;
/// Bytes read at once.
pub(super) const CHUNK: usize = 256 << 10;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// BLAKE3 of the content.
    pub hash: blake3::Hash,
    /// Its length in bytes.
    pub len: u64,
}

/// Copies a file to a name where nothing is, with the mode and time that were found, and reads the copy back. Not synced.
///
/// Where the file system can let both files have the same blocks, nothing is written; whoever writes into one of them later has that
/// block for himself.
///
/// # Errors
/// One of the two cannot be used, or the copy is not the same.
pub(crate) fn copy_file(job: &Job, from: &Found, to: &Path) -> Result<Copied, FileError> {
    let path = from.path();
    let source = job.patiently("open", &path, || from.open())?;
    copy_opened(job, &path, source, &from.meta, to).map(|(copied, _)| copied)
}

/// Copies the file at `from` that was opened, with the mode and time of `dress`; and what the system says about the copy.
pub(super) fn copy_opened(
    job: &Job,
    from: &Path,
    (mut source, now): (File, Meta),
    dress: &Meta,
    to: &Path,
) -> Result<(Copied, Meta), FileError> {
    let mut copy = platform::create_file(to, dress.mode).map_err(io_error("create", to))?;
    let shared = job.share_content(&source, &copy);
    let mut content = None;
    let copied = if shared {
        pump(job, &mut copy, to, now.len, |_| Ok(()))?
    } else {
        pump(job, &mut source, from, now.len, |chunk| {
            content = (chunk.len() as u64 == now.len).then(|| chunk.to_vec());
            copy.write_all(chunk).map_err(io_error("write", to))
        })?
    };
    let meta = dress_file(&copy, to, dress.modified, dress.mode)?;
    if !shared {
        job.wrote(copied.len);
        if !reads_back(job, &mut copy, to, meta.len, &copied, content.as_deref())? {
            return Err(FileError::BadCopy { from: from.to_owned(), to: to.to_owned() });
        }
    }
    job.advance(copied.len);
    Ok((copied, meta))
}

/// Whether a copy of length `len` holds what was read: by its hash, or quicker, where its content is at hand.
fn reads_back(job: &Job, copy: &mut File, path: &Path, len: u64, read: &Copied, content: Option<&[u8]>) -> Result<bool, FileError> {
    if let Some(content) = content.filter(|content| content.len() as u64 == len) {
        let mut copied = vec![0; content.len()];
        job.patiently("read", path, || platform::read_exact_at(copy, &mut copied, 0))?;
        return Ok(copied == content);
    }
    copy.rewind().map_err(io_error("read", path))?;
    Ok(pump(job, copy, path, len, |_| Ok(()))? == *read)
}

/// Copies a link as a link.
pub(crate) fn copy_link(link: &Found, to: &Path) -> Result<(), FileError> {
    let path = link.path();
    let target = std::fs::read_link(&path).map_err(io_error("read the link", &path))?;
    make_link(&target, to, link.modified_s(), path.is_dir())
}

/// Makes a link at `path`, with a time in seconds since 1970.
pub(crate) fn make_link(target: &Path, path: &Path, modified_s: i64, to_folder: bool) -> Result<(), FileError> {
    platform::symlink(target, path, to_folder).map_err(io_error("create the link", path))?;
    platform::set_link_time(path, modified_s).map_err(io_error("set the time of", path))
}

/// Makes folders in `root`, whose names have `/`, and those above them.
pub(super) fn make_folders(root: &Path, names: &[&str]) -> Result<(), FileError> {
    let make = |name: &&str| {
        let at = inside(root, name);
        std::fs::create_dir_all(&at).map_err(io_error("create", &at))
    };
    // Who makes a folder in another keeps all others out of that for so long, and they are mostly neighbours.
    let groups: Vec<_> = names.chunks(GROUP).collect();
    each(&groups, || Ok(()), |(): &mut (), group| group.iter().try_for_each(make))
}

/// Gives a folder a mode and a time, after everything is in it.
pub(crate) fn dress_folder(path: &Path, mode: u32, modified: Option<SystemTime>) -> Result<(), FileError> {
    if let Some(modified) = modified {
        platform::set_folder_time(path, modified).map_err(io_error("set the time of", path))?;
    }
    // Looking costs less than setting what is so already.
    if platform::look(path).is_ok_and(|meta| meta.mode == mode) {
        return Ok(());
    }
    platform::set_mode(path, mode).map_err(io_error("set the permissions of", path))
}

/// Gives folders in `root` their modes and times, after everything is in them.
pub(super) fn dress_folders<'a>(root: &Path, folders: impl Iterator<Item = (&'a str, u32, SystemTime)>) -> Result<(), FileError> {
    let dress = |(): &mut (), (name, mode, modified): &(&str, u32, SystemTime)| dress_folder(&inside(root, name), *mode, Some(*modified));
    let (open, mut closed): (Vec<_>, Vec<_>) = folders.partition(|(_, mode, _)| mode & 0o700 == 0o700);
    each(&open, || Ok(()), dress)?;
    // Of those that nobody may enter any more, the inner ones first.
    closed.sort_unstable_by_key(|(name, ..)| Reverse(*name));
    closed.iter().try_for_each(|folder| dress(&mut (), folder))
}

/// The folders among `found`, as [`dress_folders`] takes them.
pub(super) fn folders(found: &[Found]) -> impl Iterator<Item = (&str, u32, SystemTime)> {
    found
        .iter()
        .filter(|found| found.meta.kind == Kind::Folder)
        .map(|folder| (folder.name.as_str(), folder.meta.mode, folder.meta.modified))
}

/// The hash and length of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn hash_file(job: &Job, path: &Path) -> Result<Copied, FileError> {
    let (mut file, meta) = job.patiently("open", path, || platform::open_file(path))?;
    pump(job, &mut file, path, meta.len, |_| Ok(()))
}

/// As [`hash_file`], of a file that was found.
pub(super) fn hash_found(job: &Job, found: &Found) -> Result<Copied, FileError> {
    let path = found.path();
    let (mut file, meta) = job.patiently("open", &path, || found.open())?;
    pump(job, &mut file, &path, meta.len, |_| Ok(()))
}

/// Copies `found` to the folder `to`, which is created. Durable when it returns.
///
/// # Errors
/// Something cannot be copied; `to` is then to be removed.
pub(crate) fn copy_tree(job: &Job, found: &[Found], to: &Path) -> Result<(), FileError> {
    let tree = Unsynced::create(to)?;
    make_folders(to, &needed(found.iter().map(|found| (found.name.as_str(), found.meta.kind))))?;
    job.expect_bytes(size(found));
    copy_files(job, found, to)?;
    dress_folders(to, folders(found))?;
    tree.sync()
}

/// The folders that have to be there for things of these names and kinds: the one above a thing need not be among them.
pub(super) fn needed<'a>(things: impl Iterator<Item = (&'a str, Kind)>) -> Vec<&'a str> {
    let folder = |(name, kind): (&'a str, Kind)| if kind == Kind::Folder { Some(name) } else { Some(name.rsplit_once('/')?.0) };
    let mut folders: Vec<&str> = things.filter_map(folder).collect();
    folders.dedup();
    folders
}

/// Copies the files and links among `found` into folders that are there. What is gone since it was found stays gone, with a warning.
pub(crate) fn copy_files(job: &Job, found: &[Found], to: &Path) -> Result<(), FileError> {
    let copy = |(): &mut (), found: &Found| {
        let copied = match found.meta.kind {
            Kind::File => copy_if_there(job, found, &inside(to, &found.name)),
            Kind::Link if !found.path().is_symlink() => Ok(false),
            Kind::Link => copy_link(found, &inside(to, &found.name)).map(|()| true),
            Kind::Folder | Kind::Other => Ok(true),
        };
        if !copied? {
            job.cx.warn(format!("{} disappeared before it could be copied", found.path().display()));
        }
        Ok(())
    };
    each(found, || Ok(()), copy)
}

fn copy_if_there(job: &Job, found: &Found, to: &Path) -> Result<bool, FileError> {
    let path = found.path();
    let opened = job.patiently("open", &path, || match found.open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => Ok(None),
        opened => opened.map(Some),
    })?;
    opened.map_or(Ok(false), |source| copy_opened(job, &path, source, &found.meta, to).map(|_| true))
}

/// The bytes of the files among `found`.
pub(crate) fn size(found: &[Found]) -> u64 {
    found.iter().filter(|found| found.meta.kind == Kind::File).map(|file| file.meta.len).sum()
}

/// Gives a file that was just made its time and its permission bits; and what the system says about it then.
pub(super) fn dress_file(file: &File, path: &Path, modified: SystemTime, mode: u32) -> Result<Meta, FileError> {
    file.set_times(FileTimes::new().set_modified(modified)).map_err(io_error("set the time of", path))?;
    let look = || platform::look_at(file).map_err(io_error("look at", path));
    let meta = look()?;
    if meta.mode == mode {
        return Ok(meta);
    }
    platform::set_file_mode(file, mode).map_err(io_error("set the permissions of", path))?;
    look()
}

/// Hands on what the file holds up to `end`, which it had when this began: one that grows faster than it is read would never end.
fn pump(
    job: &Job,
    file: &mut File,
    path: &Path,
    end: u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), FileError>,
) -> Result<Copied, FileError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(end).unwrap_or(CHUNK))];
    let mut len = 0;
    while len < end {
        job.check()?;
        let left = buffer.len().min(usize::try_from(end - len).unwrap_or(CHUNK));
        let count = job.patiently("read", path, || file.read(&mut buffer[..left]))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        sink(&buffer[..count])?;
        len += count as u64;
    }
    Ok(Copied { hash: hasher.finalize(), len })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use almaplan_engine::step::Context;

    use super::*;
    use crate::files::blocking;

    #[tokio::test]
    async fn one_bit_is_enough_not_to_read_back_however_the_content_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        std::fs::write(&path, "content").unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let reads_back = move |job: &Job, content: &[u8], is_here: bool| {
            let read = Copied { hash: blake3::hash(content), len: content.len() as u64 };
            reads_back(job, &mut File::open(&path).unwrap(), &path, 7, &read, is_here.then_some(content)).unwrap()
        };
        let told = blocking(&cx, move |job| {
            let of = |content: &[u8]| [true, false].map(|is_here| reads_back(job, content, is_here));
            Ok::<_, FileError>([of(b"content"), of(b"contenu"), of(b"conten")])
        });
        assert_eq!(told.await.unwrap(), [[true, true], [false, false], [false, false]]);
    }

    #[tokio::test]
    async fn a_copy_that_is_not_what_was_read_is_refused() {
        const LEN: u64 = 32 << 20;
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        File::create(&source).unwrap().set_len(LEN).unwrap();
        let found = Found::at(&source).unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        loop {
            let written = copy.clone();
            let disk = std::thread::spawn(move || {
                while !written.metadata().is_ok_and(|meta| meta.len() > 0) {
                    std::thread::yield_now();
                }
                OpenOptions::new().write(true).open(&written).unwrap().write_all_at(b"T", 0).unwrap();
                written.metadata().unwrap().len() < LEN
            });
            let (found, to) = (found.clone(), copy.clone());
            let copied = blocking(&cx, move |job| copy_file(job, &found, &to)).await;
            // A disk that was too slow may have lied only after all was read back: then once more.
            if disk.join().unwrap() {
                let message = copied.unwrap_err().message;
                assert!(message.contains("does not read back"), "{message}");
                return;
            }
            std::fs::remove_file(&copy).unwrap();
        }
    }
}
