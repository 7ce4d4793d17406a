//! The kind `backup`: a folder that is in use becomes a verified archive.
//!
//! ```text
//!  walk ─> snapshots of databases ─> read and compress (threads) ─> one writer ─> .partial ─> sync ─> read back ─> rename ─> sync folder
//! ```
//! Nothing under the archive's name is ever less than a whole, verified archive. A repetition starts over.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

use almaplan_engine::step::{Context, Effect, Failure, OnInterrupt, Step, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::archive::{ABSENT, Archive, ArchiveError, Handle, Item, Limits, Packed, Packer, SAVED, Writer, check_link};
use crate::files::{
    FileError, Found, Job, Kind, Live, Patterns, READS, Reading, Room, Streamed, Taken, beside, blocking, each, io_error, overlap, present,
    prune, real_target, remove_file, remove_tree, same_shape, size, sync_folder, walk,
};

/// Extensions of files that do not get smaller.
const COMPRESSED: &[&str] = &[
    "7z", "avi", "br", "bz2", "docx", "gif", "gz", "heic", "jar", "jpeg", "jpg", "lz4", "mkv", "mov", "mp3", "mp4", "ogg", "png", "pptx",
    "rar", "tgz", "webm", "webp", "whl", "woff", "woff2", "xlsx", "xz", "zip", "zst",
];

/// Zips a folder that is in use, and reads the archive back before it counts.
///
/// SQLite databases are copied by SQLite itself; logs are read up to the size they have when opened; other files that change
/// while they are read are read again, then listed as a warning. A folder that does not exist gives an empty archive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder.
    pub source: PathBuf,
    /// The archive to write; its folder is created. It must not be inside `source`.
    pub archive: PathBuf,
    /// What is left out, as patterns like those of a `.gitignore`.
    #[serde(default)]
    pub exclude: Option<Vec<String>>,
    /// What is stored as it is because it would not get smaller, as patterns. Default: files of compressed formats, by extension.
    #[serde(default)]
    pub store: Option<Vec<String>>,
    /// How hard to compress, from 0 (not at all) to 9. Default: 6.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9))]
    pub level: Option<u32>,
    /// How many archives to keep whose names differ from this one's in their digits only, this one included. Default: all.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub keep: Option<usize>,
    /// What to do about a file that changes each time it is read. Default: `snapshot`.
    #[serde(default)]
    pub changing: Option<Changing>,
}

/// See [`Backup::changing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Changing {
    /// Archive it as it was last read, and warn.
    Snapshot,
    /// Fail.
    Fail,
}

/// What `backup` leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackupOutput {
    /// The archive, absolute.
    pub archive: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// How many files and links are in it.
    pub files: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Step for Backup {
    const KIND: &'static str = "backup";
    const TRAITS: Traits = Traits { effect: Effect::Changes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = BackupOutput;

    async fn run(&self, cx: &Context) -> Result<BackupOutput, Failure> {
        let work = Work::new(self, cx).map_err(Failure::clean)?;
        blocking(cx, move |job| work.run(job)).await
    }
}

/// The inputs, checked.
struct Work {
    source: PathBuf,
    archive: PathBuf,
    exclude: Patterns,
    store: Patterns,
    level: u32,
    keep: Option<usize>,
    strict: bool,
}

/// How many bytes of files, read and compressed, wait in memory to be written.
const ROOM: u64 = 64 << 20;

/// One entry, ready to be written.
type Ready<'r> = (Item, Packed, Option<Taken<'r>>);

/// What became of something that was found.
enum Content<'r> {
    Ready(Ready<'r>),
    /// It does not fit into memory.
    Long,
    Gone,
}

impl Work {
    fn new(with: &Backup, cx: &Context) -> Result<Self, FileError> {
        let refused = |text: String| Err(FileError::Refused(text));
        let level = with.level.unwrap_or(6);
        if level > 9 {
            return refused(format!("`level` is {level}; it goes from 0 to 9"));
        }
        if with.keep == Some(0) {
            return refused("`keep` is 0, which would remove the backup itself; keep at least 1".to_owned());
        }
        let by_extension = || COMPRESSED.iter().map(|extension| format!("*.{extension}")).collect();
        Ok(Self {
            source: real_target(&cx.path(&with.source)),
            archive: cx.path(&with.archive),
            exclude: Patterns::new(with.exclude.as_deref().unwrap_or_default())?,
            store: Patterns::new(&with.store.clone().unwrap_or_else(by_extension))?,
            level,
            keep: with.keep,
            strict: with.changing == Some(Changing::Fail),
        })
    }

    fn run(&self, job: &Job) -> Result<BackupOutput, FileError> {
        let (partial, snapshots) = (beside(&self.archive, ".partial"), beside(&self.archive, ".snapshots"));
        let folder = self.check()?;
        std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        remove_tree(job, &snapshots)?;
        remove_file(job, &partial)?;
        let made = self.make(job, &partial, &snapshots);
        if made.is_err() {
            // Also when it was asked to stop.
            let _ = std::fs::remove_dir_all(&snapshots);
            let _ = std::fs::remove_file(&partial);
        }
        let output = made?;
        remove_tree(job, &snapshots)?;
        if let Some(keep) = self.keep {
            let name = self.archive.file_name().unwrap_or_default().to_string_lossy();
            let needed: Vec<PathBuf> = job.cx.needed().iter().chain([&self.archive]).cloned().collect();
            // The backup itself is whole: that old ones stay is no reason to say otherwise.
            if let Err(error) = prune(job, folder, &same_shape(&name), keep, &needed) {
                job.cx.warn(format!("older backups were not all removed: {error}"));
            }
        }
        Ok(output)
    }

    fn check(&self) -> Result<&Path, FileError> {
        let Some(folder) = self.archive.parent().filter(|_| self.archive.file_name().is_some()) else {
            return Err(FileError::Refused(format!("{} names no file", self.archive.display())));
        };
        if self.archive.is_dir() {
            return Err(FileError::Refused(format!("{} is a folder; `archive` must name a file", self.archive.display())));
        }
        if present(&self.source) && !self.source.is_dir() {
            return Err(FileError::Refused(format!("{} is not a folder", self.source.display())));
        }
        if overlap(&self.source, &self.archive) {
            let (archive, source) = (self.archive.display(), self.source.display());
            return Err(FileError::Refused(format!(
                "the archive {archive} would be inside {source}, the folder that it saves; put it elsewhere"
            )));
        }
        Ok(folder)
    }

    fn make(&self, job: &Job, partial: &Path, snapshots: &Path) -> Result<BackupOutput, FileError> {
        let file = OpenOptions::new().write(true).create_new(true).open(partial).map_err(io_error("create", partial))?;
        let mut writer = Writer::new(file);
        let written = if present(&self.source) { self.fill(job, &mut writer, snapshots)? } else { 0 };
        let comment = if present(&self.source) { SAVED } else { ABSENT };
        writer.finish(comment).map_err(io_error("write", partial))?;
        let (files, sha256) = verify(job, partial, written)?;
        let bytes = partial.metadata().map_err(io_error("look at", partial))?.len();
        job.patiently("rename", partial, || std::fs::rename(partial, &self.archive))?;
        let folder = self.archive.parent().unwrap_or(&self.archive);
        sync_folder(folder).map_err(io_error("sync", folder))?;
        Ok(BackupOutput { archive: self.archive.clone(), sha256, files, bytes })
    }

    /// Writes everything in the source. Returns how many entries.
    fn fill(&self, job: &Job, writer: &mut Writer, snapshots: &Path) -> Result<u64, FileError> {
        let mut found = walk(&self.source, &self.exclude)?;
        found.iter().try_for_each(Found::check_name)?;
        leave_out(job, &mut found)?;
        let live = Live::new(job, &found, snapshots, self.strict)?;
        found.retain(|found| !live.is_spent(&found.name));
        // Once to archive them, and once to read them back.
        job.expect_bytes(2 * size(&found));
        let mut written = 0;
        let mut failed = |error| FileError::Io { doing: "write", path: self.archive.clone(), source: error };
        let long = self.pack(job, &live, &found, &Room::new(ROOM), |(item, packed, _)| {
            written += 1;
            writer.add(item, &packed).map_err(&mut failed)
        })?;
        for found in long {
            written += u64::from(self.stream(job, &live, writer, found)?);
        }
        let unsteady = live.unsteady();
        if !unsteady.is_empty() {
            let names = unsteady.join(", ");
            job.cx.warn(format!("changed or disappeared while the backup read them; the archive has them as they were last read: {names}"));
        }
        Ok(written)
    }

    /// Reads and compresses on several threads what fits into memory, and hands it to `write` on this one. Returns what does not fit.
    fn pack<'f, 'r>(
        &self,
        job: &Job,
        live: &Live,
        found: &'f [Found],
        room: &'r Room,
        mut write: impl FnMut(Ready<'r>) -> Result<(), FileError>,
    ) -> Result<Vec<&'f Found>, FileError> {
        let long = Mutex::new(Vec::new());
        let (send, receive) = sync_channel::<Ready<'r>>(64);
        let one = |(packer, send): &mut (Packer, SyncSender<Ready<'r>>), found: &&'f Found| {
            job.check()?;
            match self.content(job, live, found, packer, room)? {
                Content::Ready(ready) => send.send(ready).map_err(|_| FileError::Stopped),
                Content::Long => {
                    long.lock().expect("no code panics while it holds this lock").push(*found);
                    Ok(())
                }
                Content::Gone => Ok(()),
            }
        };
        // The long ones first: one of them at the end would keep one thread busy, and the others waiting for it.
        let mut items: Vec<&Found> = found.iter().collect();
        items.sort_by_key(|found| Reverse(found.meta.len >> 20));
        std::thread::scope(|scope| {
            let readers = scope.spawn(|| {
                let send = send;
                each(&items, || Ok((Packer::new(self.level), send.clone())), one)
            });
            let written = receive.into_iter().try_for_each(&mut write);
            let read = readers.join().expect("a panic in a reader is a bug");
            written.and(read)
        })?;
        Ok(long.into_inner().expect("the readers have ended"))
    }

    fn content<'r>(&self, job: &Job, live: &Live, found: &Found, packer: &mut Packer, room: &'r Room) -> Result<Content<'r>, FileError> {
        match found.meta.kind {
            Kind::Folder | Kind::Other => Ok(Content::Ready((item(found), Packed::default(), None))),
            // What was looked at is what is written: it may lead elsewhere by now.
            Kind::Link => match found.link.clone() {
                Some(target) => Ok(Content::Ready((item(found), Packed::stored(target.into_bytes()), None))),
                None => live.lost(found).map(|()| Content::Gone),
            },
            Kind::File => match live.read(job, found, room)? {
                Reading::Whole(content, meta, taken) => {
                    let read = content.len() as u64;
                    let packed = if self.is_stored(found) { Packed::stored(content) } else { packer.pack(content) };
                    job.advance(read);
                    Ok(Content::Ready((item(&Found { meta, ..found.clone() }), packed, Some(taken))))
                }
                Reading::Long => Ok(Content::Long),
                Reading::Gone => Ok(Content::Gone),
            },
        }
    }

    /// Writes a file that does not fit into memory. `false` where it is gone.
    fn stream(&self, job: &Job, live: &Live, writer: &mut Writer, found: &Found) -> Result<bool, FileError> {
        let shrinks = !self.is_stored(found) && Packer::new(self.level).shrinks(&live.samples(found));
        let level = if shrinks { self.level } else { 0 };
        for attempt in 1..=READS {
            let fill = |sink: &mut dyn Write| match live.stream(job, found, attempt, sink) {
                Ok(Streamed::Whole) => Ok(()),
                Ok(Streamed::Changed) => Err(Streaming::Again),
                Ok(Streamed::Gone) => Err(Streaming::Gone),
                Err(error) => Err(Streaming::Failed(error)),
            };
            match writer.stream(item(found), level, fill) {
                Ok(()) => return Ok(true),
                Err(Streaming::Again) => job.expect_bytes(found.meta.len),
                Err(Streaming::Gone) => return Ok(false),
                Err(Streaming::Failed(error)) => return Err(error),
                Err(Streaming::Writing(source)) => return Err(FileError::Io { doing: "write", path: self.archive.clone(), source }),
            }
        }
        unreachable!("the last attempt takes the file as it is or fails");
    }

    fn is_stored(&self, found: &Found) -> bool {
        self.store.covers(&found.name, false) || self.store.covers(&found.name.to_lowercase(), false)
    }
}

/// What ended the writing of one long file.
enum Streaming {
    Again,
    Gone,
    Failed(FileError),
    Writing(std::io::Error),
}

impl From<std::io::Error> for Streaming {
    fn from(error: std::io::Error) -> Self {
        Self::Writing(error)
    }
}

fn item(found: &Found) -> Item {
    Item { name: found.name.clone(), kind: found.meta.kind, modified_s: found.modified_s(), mode: found.meta.mode }
}

/// Takes out what no archive can hold, and says so.
fn leave_out(job: &Job, found: &mut Vec<Found>) -> Result<(), FileError> {
    let mut names = Vec::new();
    for link in found.iter_mut().filter(|found| found.meta.kind == Kind::Link) {
        link.link = link.link_text()?;
        names.push(link.name.clone());
    }
    let links: HashSet<&str> = names.iter().map(String::as_str).collect();
    found.retain(|found| {
        let complaint = found.link.as_ref().and_then(|target| check_link(&found.name, target, &links));
        let complaint = complaint.or((found.meta.kind == Kind::Other).then_some("is neither a file nor a folder"));
        if let Some(complaint) = complaint {
            job.cx.warn(format!("{} {complaint}: it is left out of the backup", found.path().display()));
        }
        complaint.is_none()
    });
    Ok(())
}

/// Reads the archive back in full. Returns how many files and links are in it, and its SHA-256.
fn verify(job: &Job, path: &Path, written: u64) -> Result<(u64, String), FileError> {
    let archive = Archive::open(path, &Limits::default())?;
    if archive.entries.len() as u64 != written {
        let reason = format!("{} entries were written and {} are in it", written, archive.entries.len());
        return Err(ArchiveError::Damaged { path: path.to_owned(), reason }.into());
    }
    let check = |handle: &mut Handle, entry: &_| {
        job.check()?;
        archive.read(handle, entry, |piece| {
            job.advance(piece.len() as u64);
            job.check()
        })
    };
    let sha256 = std::thread::scope(|scope| {
        let sum = scope.spawn(|| sha256(job, path));
        each(&archive.entries, || Ok(archive.handle()?), check)?;
        sum.join().expect("a panic in a reader is a bug")
    })?;
    let files = archive.entries.iter().filter(|entry| entry.kind != Kind::Folder).count();
    Ok((files as u64, sha256))
}

fn sha256(job: &Job, path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        job.check()?;
        let count = file.read(&mut buffer).map_err(io_error("read", path))?;
        if count == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..count]);
    }
}
