//! Copies that keep times, permissions and links, and are read back.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{
    Attributes, BlockingTask, Extended, FileError, FileKind, Found, Meta, Owner, PendingSync, Root, each, further_names, inside, io_error,
    map_each, platform,
};

/// How many things of one folder a thread makes before another may go on with it.
pub(crate) const GROUP: usize = 32;
/// Bytes read at once.
pub(crate) const CHUNK: usize = 256 << 10;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// BLAKE3 of the content.
    pub hash: blake3::Hash,
    /// Its length in bytes.
    pub len: u64,
}

/// Copies a file to a name where nothing is, with the attributes that were found, and reads the copy back. Not synced.
///
/// Where the file system can let both files have the same blocks, nothing is written; whoever writes into one of them later has that
/// block for himself.
///
/// # Errors
/// One of the two cannot be used, or the copy is not the same.
pub(crate) fn copy_file(task: &BlockingTask, from: &Found, to: &Root, name: &str) -> Result<Copied, FileError> {
    let path = from.path();
    let source = task.patiently("open", &path, || from.open())?;
    let attributes = attributes_of(&source.0, &from.meta, &path)?;
    copy_opened(task, &path, source, &attributes, to, name).map(|(copied, _)| copied)
}

/// The extended attributes of a file that was opened.
pub(crate) fn extended(file: &File, path: &Path) -> Result<Vec<Extended>, FileError> {
    platform::extended(file).map_err(io_error("read the attributes of", path))
}

/// The attributes of a file or folder that was opened, and looks like `meta`.
pub(crate) fn attributes_of(opened: &File, meta: &Meta, path: &Path) -> Result<Attributes, FileError> {
    Attributes::of(opened, meta).map_err(io_error("read the attributes of", path))
}

/// Where the thing called `name` is; the folder itself, where that is empty.
fn place(root: &Root, name: &str) -> PathBuf {
    if name.is_empty() { root.path.clone() } else { inside(&root.path, name) }
}

/// Copies the file at `from` that was opened, with these attributes; and what the system says about the copy.
pub(crate) fn copy_opened(
    task: &BlockingTask,
    from: &Path,
    (mut source, now): (File, Meta),
    attributes: &Attributes,
    to: &Root,
    name: &str,
) -> Result<(Copied, Meta), FileError> {
    let path = inside(&to.path, name);
    let mut copy = to.create_file(name, attributes.first_mode()).map_err(io_error("create", &path))?;
    let shared = task.share_content(&source, &copy);
    let mut content = None;
    let copied = if shared {
        pump(task, &mut copy, &path, now.len, |_| Ok(()))?
    } else {
        let mut out = Output::new(&mut copy, now.has_holes());
        let copied = pump(task, &mut source, from, now.len, |chunk| {
            content = (chunk.len() as u64 == now.len).then(|| chunk.to_vec());
            out.write_all(chunk).map_err(io_error("write", &path))
        })?;
        out.finish().map_err(io_error("write", &path))?;
        copied
    };
    let meta = apply_attributes(task, &copy, &path, attributes)?;
    if !shared {
        task.wrote(copied.len);
        if !reads_back(task, &mut copy, &path, meta.len, &copied, content.as_deref())? {
            return Err(FileError::BadCopy { from: from.to_owned(), to: path });
        }
    }
    task.advance(copied.len);
    Ok((copied, meta))
}

/// Whether a copy of length `len` holds what was read: by its hash, or quicker, where its content is at hand.
fn reads_back(
    task: &BlockingTask,
    copy: &mut File,
    path: &Path,
    len: u64,
    read: &Copied,
    content: Option<&[u8]>,
) -> Result<bool, FileError> {
    if let Some(content) = content.filter(|content| content.len() as u64 == len) {
        let mut copied = vec![0; content.len()];
        task.patiently("read", path, || platform::read_exact_at(copy, &mut copied, 0))?;
        return Ok(copied == content);
    }
    copy.rewind().map_err(io_error("read", path))?;
    Ok(pump(task, copy, path, len, |_| Ok(()))? == *read)
}

/// Copies a link as a link.
pub(crate) fn copy_link(task: &BlockingTask, link: &Found, to: &Root, name: &str) -> Result<(), FileError> {
    let target = link.root.read_link(&link.name).map_err(io_error("read the link", &link.path()))?;
    make_link(task, &target, to, name, (link.meta.owner, link.modified_s()), link.path().is_dir())
}

/// Makes a link, with an owner and a time in seconds since 1970.
pub(crate) fn make_link(
    task: &BlockingTask,
    target: &Path,
    to: &Root,
    name: &str,
    (owner, modified_s): (Option<Owner>, i64),
    to_folder: bool,
) -> Result<(), FileError> {
    let path = inside(&to.path, name);
    to.symlink(target, name, to_folder).map_err(io_error("create the link", &path))?;
    if !to.set_link(name, owner, modified_s).map_err(io_error("set the time of", &path))? {
        task.not_kept(&path);
    }
    Ok(())
}

/// Makes folders in `root`, whose names have `/`, and those above them.
pub(crate) fn make_folders(root: &Root, names: &[&str]) -> Result<(), FileError> {
    let make = |name: &&str| root.make_folder(name).map_err(|source| io_error("create", &inside(&root.path, name))(source));
    // Who makes a folder in another keeps all others out of that for so long, and they are mostly neighbours.
    let groups: Vec<_> = names.chunks(GROUP).collect();
    each(&groups, || Ok(()), |(): &mut (), group| group.iter().try_for_each(make))
}

/// Gives the folder `name` of `root` attributes, after everything is in it; `root` itself, where that is empty.
pub(crate) fn apply_to_folder(task: &BlockingTask, root: &Root, name: &str, attributes: &Attributes) -> Result<(), FileError> {
    let path = place(root, name);
    let folder = root.open_folder(name).map_err(io_error("open the folder", &path))?;
    apply_attributes(task, &folder, &path, attributes).map(|_| ())
}

/// Gives folders in `root` their attributes, after everything is in them.
pub(crate) fn apply_to_folders<'a>(
    task: &BlockingTask,
    root: &Root,
    folders: impl Iterator<Item = (&'a str, Attributes)>,
) -> Result<(), FileError> {
    let apply = |(): &mut (), (name, attributes): &(&str, Attributes)| apply_to_folder(task, root, name, attributes);
    let is_open = |attributes: &Attributes| attributes.mode & 0o700 == 0o700 && !attributes.is_given_away();
    let (open, mut closed): (Vec<_>, Vec<_>) = folders.partition(|(_, attributes)| is_open(attributes));
    each(&open, || Ok(()), apply)?;
    // Of those that nobody may enter any more, the inner ones first.
    closed.sort_unstable_by_key(|(name, _)| Reverse(*name));
    closed.iter().try_for_each(|folder| apply(&mut (), folder))
}

/// The folders among `found`, with their attributes, as [`apply_to_folders`] takes them.
///
/// # Errors
/// One cannot be opened.
pub(crate) fn folders(found: &[Found]) -> Result<Vec<(&str, Attributes)>, FileError> {
    let folders: Vec<&Found> = found.iter().filter(|found| found.meta.kind == FileKind::Folder).collect();
    map_each(&folders, |folder| Ok((folder.name.as_str(), folder_attributes(&folder.root, &folder.name, &folder.meta)?)))
}

/// The attributes of a folder that looks like `meta`. Of one that this user may pass through only, those that need no look into it.
pub(crate) fn folder_attributes(root: &Root, name: &str, meta: &Meta) -> Result<Attributes, FileError> {
    match root.open_folder(name) {
        Ok(folder) => attributes_of(&folder, meta, &place(root, name)),
        Err(_) => Ok(Attributes::plain(meta)),
    }
}

/// The attributes of the folder `root` itself.
///
/// # Errors
/// The system does not tell them.
pub(crate) fn root_attributes(root: &Root) -> Result<Attributes, FileError> {
    let meta = root.look_at_itself().map_err(io_error("look at", &root.path))?;
    folder_attributes(root, "", &meta)
}

/// The hash and length of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn hash_file(task: &BlockingTask, path: &Path) -> Result<Copied, FileError> {
    let (mut file, meta) = task.patiently("open", path, || platform::open_file(path))?;
    pump(task, &mut file, path, meta.len, |_| Ok(()))
}

/// As [`hash_file`], of a file that was found.
pub(crate) fn hash_found(task: &BlockingTask, found: &Found) -> Result<Copied, FileError> {
    let path = found.path();
    let (mut file, meta) = task.patiently("open", &path, || found.open())?;
    pump(task, &mut file, &path, meta.len, |_| Ok(()))
}

/// Copies `found` to the folder `to`, which is made and gets the attributes `own`. Durable when it returns.
///
/// # Errors
/// Something cannot be copied; `to` is then to be removed.
pub(crate) fn copy_tree(task: &BlockingTask, found: &[Found], to: &Path, own: Option<&Attributes>) -> Result<(), FileError> {
    let root = Root::make(to).map_err(io_error("create", to))?;
    let tree = PendingSync::new(root)?;
    make_folders(tree.root(), &needed(found.iter().map(|found| (found.name.as_str(), found.meta.kind))))?;
    task.expect_bytes(size(found));
    copy_files(task, found, tree.root())?;
    apply_to_folders(task, tree.root(), folders(found)?.into_iter())?;
    tree.sync()?;
    own.map_or(Ok(()), |own| apply_to_folder(task, tree.root(), "", own))
}

/// The folders that have to be there for things of these names and kinds: the one above a thing need not be among them.
pub(crate) fn needed<'a>(things: impl Iterator<Item = (&'a str, FileKind)>) -> Vec<&'a str> {
    let folder = |(name, kind): (&'a str, FileKind)| if kind == FileKind::Folder { Some(name) } else { Some(name.rsplit_once('/')?.0) };
    let mut folders: Vec<&str> = things.filter_map(folder).collect();
    folders.dedup();
    folders
}

/// Copies the files and links among `found` into folders that are there. What is gone since it was found stays gone, with a warning. Names
/// of one file stay names of one file.
pub(crate) fn copy_files(task: &BlockingTask, found: &[Found], to: &Root) -> Result<(), FileError> {
    let (first, further) = further_names(found);
    let copy = |(): &mut (), found: &&Found| {
        let copied = match found.meta.kind {
            FileKind::File => copy_if_there(task, found, to),
            FileKind::Link if !found.is_still_a_link() => Ok(false),
            FileKind::Link => copy_link(task, found, to, &found.name).map(|()| true),
            FileKind::Folder | FileKind::Other | FileKind::Mount => Ok(true),
        };
        if !copied? {
            task.cx.warn(super::FileNote::Disappeared { path: found.path() });
        }
        Ok(())
    };
    each(&first, || Ok(()), copy)?;
    further.iter().try_for_each(|(found, first)| link_or_copy(task, found, first, to))
}

fn link_or_copy(task: &BlockingTask, found: &Found, first: &Found, to: &Root) -> Result<(), FileError> {
    let is_still_one = found.root.look(&found.name).is_ok_and(|now| now.shared_by() == first.meta.shared_by());
    if is_still_one && to.link(&first.name, to, &found.name).is_ok() {
        task.advance(found.meta.len);
        return Ok(());
    }
    copy_if_there(task, found, to).map(|_| ())
}

fn copy_if_there(task: &BlockingTask, found: &Found, to: &Root) -> Result<bool, FileError> {
    let path = found.path();
    let opened = task.patiently("open", &path, || match found.open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => Ok(None),
        opened => opened.map(Some),
    })?;
    let Some(source) = opened else { return Ok(false) };
    let attributes = attributes_of(&source.0, &found.meta, &path)?;
    copy_opened(task, &path, source, &attributes, to, &found.name).map(|_| true)
}

/// The bytes of the files among `found`.
pub(crate) fn size(found: &[Found]) -> u64 {
    found.iter().filter(|found| found.meta.kind == FileKind::File).map(|file| file.meta.len).sum()
}

/// Gives a file or folder that is open its attributes; and what the system says about it then.
pub(crate) fn apply_attributes(task: &BlockingTask, file: &File, path: &Path, attributes: &Attributes) -> Result<Meta, FileError> {
    let is_kept = attributes.apply(file).map_err(io_error("set the permissions of", path))?;
    if !is_kept {
        task.not_kept(path);
    }
    platform::look_at(file).map_err(io_error("look at", path))
}

/// Writes a content, of which blocks of nothing but zeros may become holes again.
pub(crate) struct Output<'f> {
    file: &'f mut File,
    has_holes: bool,
    /// Bytes that were left out since the last write.
    skipped: u64,
}

impl<'f> Output<'f> {
    /// To the beginning of a new file.
    pub fn new(file: &'f mut File, has_holes: bool) -> Self {
        Self { file, has_holes, skipped: 0 }
    }

    /// Writes the next bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        /// What a file system gives a file at once, at least.
        const BLOCK: usize = 4096;
        if !self.has_holes {
            return self.file.write_all(bytes);
        }
        for block in bytes.chunks(BLOCK) {
            if block.iter().all(|byte| *byte == 0) {
                self.skipped += block.len() as u64;
                continue;
            }
            self.skip()?;
            self.file.write_all(block)?;
        }
        Ok(())
    }

    /// What was written is all: a hole at the end belongs to the file too.
    pub fn finish(mut self) -> io::Result<()> {
        if self.skipped == 0 {
            return Ok(());
        }
        self.skip()?;
        let len = self.file.stream_position()?;
        self.file.set_len(len)
    }

    fn skip(&mut self) -> io::Result<()> {
        let by = i64::try_from(std::mem::take(&mut self.skipped)).map_err(io::Error::other)?;
        if by > 0 { self.file.seek_relative(by) } else { Ok(()) }
    }
}

/// Hands on what the file holds up to `end`, which it had when this began: one that grows faster than it is read would never end.
fn pump(
    task: &BlockingTask,
    file: &mut File,
    path: &Path,
    end: u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), FileError>,
) -> Result<Copied, FileError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(end).unwrap_or(CHUNK))];
    let mut len = 0;
    while len < end {
        task.check()?;
        let left = buffer.len().min(usize::try_from(end - len).unwrap_or(CHUNK));
        let count = task.patiently("read", path, || file.read(&mut buffer[..left]))?;
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

    use almaplan_engine::context::Context;

    use super::*;
    use crate::files::blocking;

    #[tokio::test]
    async fn one_bit_is_enough_not_to_read_back_however_the_content_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        std::fs::write(&path, "content").unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let reads_back = move |task: &BlockingTask, content: &[u8], is_here: bool| {
            let read = Copied { hash: blake3::hash(content), len: content.len() as u64 };
            reads_back(task, &mut File::open(&path).unwrap(), &path, 7, &read, is_here.then_some(content)).unwrap()
        };
        let told = blocking(&cx, move |task| {
            let of = |content: &[u8]| [true, false].map(|is_here| reads_back(task, content, is_here));
            Ok::<_, FileError>([of(b"content"), of(b"contenu"), of(b"conten")])
        });
        assert_eq!(told.await.unwrap(), [[true, true], [false, false], [false, false]]);
    }

    #[test]
    fn blocks_of_zeros_become_holes_and_nothing_is_lost() {
        let mut content = vec![0; 10 * 4096 + 5];
        content[4096] = 1;
        content[5 * 4096 - 1] = 2;
        for (content, has_data) in [(content.as_slice(), true), (&content[6 * 4096..], false)] {
            // In pieces that end within a block.
            let mut file = tempfile::tempfile().unwrap();
            let mut output = Output::new(&mut file, true);
            content.chunks(3000).for_each(|piece| output.write_all(piece).unwrap());
            output.finish().unwrap();
            let mut found = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut found).unwrap();
            assert!(found == content, "with data: {has_data}");
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_not_what_was_read_is_refused() {
        const LEN: u64 = 32 << 20;
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        std::fs::write(&source, vec![7; usize::try_from(LEN).unwrap()]).unwrap();
        let found = Found::below(&Root::open(folder.path()).unwrap(), "source").unwrap();
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
            let (found, to) = (found.clone(), Root::open(folder.path()).unwrap());
            let copied = blocking(&cx, move |task| copy_file(task, &found, &to, "copy")).await;
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
