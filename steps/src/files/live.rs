//! Reading a folder that is in use.
//!
//! SQLite databases are copied by SQLite itself, logs are read up to the length that they had when opened, and anything else that
//! changes while it is read is read again; what never stands still is listed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::archive::sampled;
use super::copy::CHUNK;
use super::walk::{Fingerprint, Meta};
use super::{FileError, Found, Job, Kind, Room, Taken, inside, io_error, map_each, platform};

/// How every SQLite database begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// How often a file that changes is read.
pub(crate) const READS: u32 = 4;
/// How long SQLite may keep a database locked.
const LOCKED: Duration = Duration::from_secs(60);
/// Files up to this length are read whole, into memory. What each thread frees of it, the allocator keeps for that thread.
const WHOLE: u64 = 8 << 20;

/// A folder that is in use while it is read.
pub(crate) struct Live {
    /// A file that changes while it is read is an error.
    pub strict: bool,
    snapshots: BTreeMap<String, PathBuf>,
    unsteady: Mutex<Vec<String>>,
}

/// What became of a file of any length.
pub(crate) enum Streamed {
    /// All of it was written.
    Whole,
    /// It changed meanwhile, and is to be written again from the start.
    Changed,
    /// It is not there any more.
    Gone,
}

/// What reading a file gave.
pub(crate) enum Reading<'r> {
    /// All of it, what the system says about it, and the room that it and what is made of it take.
    Whole(Vec<u8>, Meta, Taken<'r>),
    /// It is too long for memory: to be streamed.
    Long,
    /// It is not there any more.
    Gone,
}

impl Live {
    /// Takes snapshots of the databases among `found` into the new folder `folder`.
    ///
    /// # Errors
    /// A file cannot be read, or a database stays locked.
    pub fn new(job: &Job, found: &[Found], folder: &Path, strict: bool) -> Result<Self, FileError> {
        std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let root = found.first().map(|found| real_path(&found.root.path)).transpose()?;
        let take = |files: &[(usize, &Found)]| {
            map_each(files, |(number, found)| -> Result<_, FileError> {
                job.check()?;
                let copy = folder.join(format!("{number}.db"));
                let real = || inside(root.as_deref().expect("something was found"), &found.name);
                let is_taken =
                    found.meta.len >= 512 && begins_like_a_database(&found.path(), found.open())? && snapshot(job, &real(), &copy)?;
                Ok(is_taken.then(|| (found.name.clone(), copy)))
            })
        };
        let numbered = found.iter().filter(|found| found.meta.kind == Kind::File).enumerate();
        let (mut beside, databases): (Vec<_>, Vec<_>) = numbered.partition(|(_, found)| database_of(&found.name).is_some());
        let mut live = Self { strict, snapshots: take(&databases)?.into_iter().flatten().collect(), unsteady: Mutex::default() };
        // Who deletes a journal that somebody has open has its name back only when that one closes it.
        beside.retain(|(_, found)| !live.is_spent(&found.name));
        live.snapshots.extend(take(&beside)?.into_iter().flatten());
        Ok(live)
    }

    /// Whether `name` is a `-wal`, `-shm` or `-journal` whose content is in the snapshot of its database already.
    pub fn is_spent(&self, name: &str) -> bool {
        database_of(name).is_some_and(|database| self.snapshots.contains_key(database))
    }

    /// What never stood still, by name.
    pub fn unsteady(&self) -> Vec<String> {
        let mut names = self.unsteady.lock().expect("no code panics while it holds this lock").clone();
        names.sort();
        names
    }

    /// Reads a file that fits into memory, once there is room for it twice.
    ///
    /// # Errors
    /// It cannot be read, or (`strict`) changes.
    pub fn read<'r>(&self, job: &Job, found: &Found, room: &'r Room) -> Result<Reading<'r>, FileError> {
        for attempt in 1..=READS {
            let Some((mut file, meta)) = self.open(job, found)? else { return Ok(Reading::Gone) };
            if meta.len > WHOLE {
                return Ok(Reading::Long);
            }
            let before = platform::fingerprint(|| self.place(found), &meta);
            let taken = room.take(2 * meta.len);
            let mut content = Vec::with_capacity(usize::try_from(meta.len).unwrap_or(0) + 1);
            (&mut file).take(meta.len).read_to_end(&mut content).map_err(io_error("read", &found.path()))?;
            if self.stood_still(found, &before, content.len() as u64) || self.give_up(found, attempt)? {
                return Ok(Reading::Whole(content, self.dated(found, meta), taken));
            }
        }
        unreachable!("the last attempt gives up");
    }

    /// Writes a file of any length to `sink`.
    ///
    /// # Errors
    /// It cannot be read, or (`strict`) changes.
    pub fn stream(&self, job: &Job, found: &Found, attempt: u32, sink: &mut dyn Write) -> Result<Streamed, FileError> {
        let Some((file, meta)) = self.open(job, found)? else { return Ok(Streamed::Gone) };
        let before = platform::fingerprint(|| self.place(found), &meta);
        let mut source = file.take(meta.len);
        let mut buffer = vec![0; CHUNK];
        let mut read = 0;
        loop {
            job.check()?;
            let count = source.read(&mut buffer).map_err(io_error("read", &found.path()))?;
            if count == 0 {
                break;
            }
            sink.write_all(&buffer[..count]).map_err(io_error("archive", &found.path()))?;
            read += count as u64;
            job.advance(count as u64);
        }
        let taken = self.stood_still(found, &before, read) || self.give_up(found, attempt)?;
        Ok(if taken { Streamed::Whole } else { Streamed::Changed })
    }

    /// Pieces of a file, to see whether it compresses.
    pub fn samples(&self, found: &Found) -> Vec<u8> {
        let mut samples = Vec::new();
        if let Ok((mut file, _)) = self.try_open(found) {
            for (at, len) in sampled(found.meta.len) {
                let _ = file.seek(SeekFrom::Start(at)).and_then(|_| (&mut file).take(len).read_to_end(&mut samples));
            }
        }
        samples
    }

    fn open(&self, job: &Job, found: &Found) -> Result<Option<(File, Meta)>, FileError> {
        let path = self.place(found);
        let opened = job.patiently("open", &path, || match self.try_open(found) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_replaced(&error) => Ok(None),
            opened => opened.map(Some),
        })?;
        if opened.is_none() {
            self.lost(found)?;
        }
        Ok(opened)
    }

    fn try_open(&self, found: &Found) -> io::Result<(File, Meta)> {
        self.snapshots.get(&found.name).map_or_else(|| found.open(), |copy| platform::open_file(copy))
    }

    fn place<'a>(&'a self, found: &Found) -> Cow<'a, Path> {
        self.snapshots.get(&found.name).map_or_else(|| found.path().into(), Cow::from)
    }

    fn dated(&self, found: &Found, meta: Meta) -> Meta {
        if self.snapshots.contains_key(&found.name) { found.meta } else { meta }
    }

    fn stood_still(&self, found: &Found, before: &Fingerprint, read: u64) -> bool {
        let is_log = found.name.to_ascii_lowercase().ends_with(".log");
        let place = self.place(found);
        let same = || platform::look(&place).is_ok_and(|after| platform::fingerprint(|| &place, &after) == *before);
        is_log || (read == before.len && same())
    }

    fn give_up(&self, found: &Found, attempt: u32) -> Result<bool, FileError> {
        if attempt < READS {
            thread::sleep(Duration::from_millis(50 << attempt));
            return Ok(false);
        }
        if self.strict {
            return Err(FileError::Changing { path: found.path() });
        }
        self.note(found);
        Ok(true)
    }

    /// What was found is not there any more.
    ///
    /// # Errors
    /// That counts as a change (`strict`).
    pub fn lost(&self, found: &Found) -> Result<(), FileError> {
        if self.strict {
            return Err(FileError::Changing { path: found.path() });
        }
        self.note(found);
        Ok(())
    }

    fn note(&self, found: &Found) {
        self.unsteady.lock().expect("no code panics while it holds this lock").push(found.name.clone());
    }
}

/// The database whose file `name` would be, by its end.
fn database_of(name: &str) -> Option<&str> {
    ["-wal", "-shm", "-journal"].iter().find_map(|end| name.strip_suffix(end))
}

/// Whether the file begins like a SQLite database. One that is gone does not.
///
/// # Errors
/// It cannot be read.
pub(crate) fn is_database(path: &Path) -> Result<bool, FileError> {
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(false);
    }
    begins_like_a_database(path, platform::open_file(path))
}

fn begins_like_a_database(path: &Path, opened: io::Result<(File, Meta)>) -> Result<bool, FileError> {
    let mut head = [0; 16];
    match opened.and_then(|(mut file, _)| file.read_exact(&mut head)) {
        Ok(()) => Ok(&head == SQLITE),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(false),
        Err(error) if platform::is_replaced(&error) => Ok(false),
        // A lock of another process: whoever reads the file waits for it, and says so.
        Err(error) if platform::is_held(&error) => Ok(false),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// A path without links, so that SQLite need not go through any.
fn real_path(root: &Path) -> Result<PathBuf, FileError> {
    root.canonicalize().map_err(io_error("look at", root))
}

/// Copies a database as it is at one moment. `false` where it is none after all, or needs no help. `path` goes through no link, unless
/// somebody puts one there meanwhile.
fn snapshot(job: &Job, path: &Path, copy: &Path) -> Result<bool, FileError> {
    let failed = |error: rusqlite::Error| FileError::Database { path: path.to_owned(), reason: error.to_string() };
    let mut last = None;
    for flags in ways(path) {
        let _ = std::fs::remove_file(copy);
        match copy_database(job, path, copy, flags) {
            Ok(()) => return Ok(true),
            Err(Trouble::Stopped(error)) => return Err(error),
            Err(Trouble::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => return Ok(false),
            Err(Trouble::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                return Err(io_error("write", copy)(io::ErrorKind::StorageFull.into()));
            }
            Err(Trouble::Sqlite(error)) => last = Some(error),
        }
    }
    match last {
        // Nobody may write here, so nobody does: the file itself will do.
        Some(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !has_wal(path) => Ok(false),
        Some(error) => Err(failed(error)),
        None => Ok(false),
    }
}

/// How to open a database, best first: without leaving anything beside it that was not there.
fn ways(path: &Path) -> [OpenFlags; 2] {
    let (read, write) = (OpenFlags::SQLITE_OPEN_READ_ONLY, OpenFlags::SQLITE_OPEN_READ_WRITE);
    // With a journal in use, a reader changes nothing. Without one, only who may write takes away again what SQLite makes to read.
    let order = if has_wal(path) { [read, write] } else { [write, read] };
    order.map(|flags| flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW)
}

fn has_wal(path: &Path) -> bool {
    super::beside(path, "-wal").metadata().is_ok_and(|wal| wal.len() > 0)
}

enum Trouble {
    Sqlite(rusqlite::Error),
    Stopped(FileError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn copy_database(job: &Job, path: &Path, copy: &Path, flags: OpenFlags) -> Result<(), Trouble> {
    let source = Connection::open_with_flags(path, flags)?;
    source.busy_timeout(Duration::from_secs(2))?;
    let mut target = Connection::open(copy)?;
    target.execute_batch("PRAGMA synchronous = OFF")?;
    let deadline = Instant::now() + LOCKED;
    // One read transaction around all of it: writers cannot make the copy start over again and again.
    while let Err(error) = source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema") {
        job.check().map_err(Trouble::Stopped)?;
        let _ = source.execute_batch("ROLLBACK");
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() >= deadline {
            return Err(error.into());
        }
    }
    {
        let backup = Backup::new(&source, &mut target)?;
        loop {
            job.check().map_err(Trouble::Stopped)?;
            match backup.step(2048)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ if Instant::now() >= deadline => return Err(locked().into()),
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    source.execute_batch("ROLLBACK")?;
    // The copy must be whole in one file.
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn locked() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}
