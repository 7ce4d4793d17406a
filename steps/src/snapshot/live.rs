//! Reading a folder that is in use.
//!
//! SQLite databases are copied by SQLite itself, logs are read up to the length that they had when opened, and anything else that
//! changes while it is read is read again; what never stands still is listed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use almaplan_engine::words::verbatim;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::Serialize;

use crate::archive::sampled;
use crate::files::{BlockingTask, FileError, FileKind, Found, Owner, Root, inside, io_error, map_each, platform};
use crate::files::{FileStat, Meta};

/// Why no snapshot could be taken.
#[derive(Debug, Serialize, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("could not copy the database {} through SQLite; is it locked for long by another program?", path.display())]
    Database {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: rusqlite::Error,
    },
}

/// How every SQLite database begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// How often a file that changes is read.
const READS: u32 = 4;
/// How long SQLite may keep a database locked.
const LOCKED: Duration = Duration::from_secs(60);
/// A folder that is in use while it is read.
pub(crate) struct Live {
    /// A file that changes while it is read is an error.
    pub strict: bool,
    snapshots: BTreeMap<String, PathBuf>,
    unsteady: Mutex<Vec<String>>,
}

impl Live {
    /// Takes snapshots of the databases among `found` into the new folder `folder`.
    ///
    /// # Errors
    /// A file cannot be read, or a database stays locked.
    pub fn new(task: &BlockingTask, found: &[Found], folder: &Path, strict: bool) -> Result<Self, SnapshotError> {
        // Copies of what only some may read are for this user alone.
        Root::make(folder).map_err(io_error("create", folder))?;
        let root = found.first().map(|found| real_path(&found.root.path)).transpose()?;
        let take = |files: &[(usize, &Found)]| {
            map_each(files, |(number, found)| -> Result<_, SnapshotError> {
                task.check()?;
                let copy = folder.join(format!("{number}.db"));
                let real = || inside(root.as_deref().expect("something was found"), &found.name);
                let is_taken = found.meta.len >= 512
                    && begins_like_a_database(&found.path(), found.open())?
                    && snapshot(task, &real(), &copy, other_user(found))?;
                Ok(is_taken.then(|| (found.name.clone(), copy)))
            })
        };
        let numbered = found.iter().filter(|found| found.meta.kind == FileKind::File).enumerate();
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

    /// Whether a copy that SQLite made is read instead of the file that was found.
    pub fn is_snapshot(&self, found: &Found) -> bool {
        self.snapshots.contains_key(&found.name)
    }

    /// What never stood still, by name.
    pub fn unsteady(&self) -> Vec<String> {
        let mut names = self.unsteady.lock().expect("no code panics while it holds this lock").clone();
        names.sort();
        names
    }

    /// Hands a file, up to the length that it has now, and what the system says about it to `take`: again and again while it changes
    /// meanwhile. Returns what `take` made of it the last time; `None` where it is gone.
    ///
    /// # Errors
    /// It cannot be read, or (`strict`) changes; or `take` fails.
    pub fn read<T>(
        &self,
        task: &BlockingTask,
        found: &Found,
        mut take: impl FnMut(&mut io::Take<File>, Meta) -> Result<T, FileError>,
    ) -> Result<Option<T>, FileError> {
        for attempt in 1..=READS {
            let Some((file, meta)) = self.open(task, found)? else { return Ok(None) };
            let before = platform::file_stat(|| self.place(found), &meta);
            let mut source = file.take(meta.len);
            let taken = take(&mut source, self.dated(found, meta))?;
            if self.stood_still(found, &before, meta.len - source.limit()) || self.give_up(found, attempt)? {
                return Ok(Some(taken));
            }
        }
        unreachable!("the last attempt gives up");
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

    fn open(&self, task: &BlockingTask, found: &Found) -> Result<Option<(File, Meta)>, FileError> {
        let path = self.place(found);
        let opened = task.patiently("open", &path, || match self.try_open(found) {
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
        if self.is_snapshot(found) { found.meta } else { meta }
    }

    fn stood_still(&self, found: &Found, before: &FileStat, read: u64) -> bool {
        let is_log = found.name.to_ascii_lowercase().ends_with(".log");
        let place = self.place(found);
        let same = || platform::look(&place).is_ok_and(|after| platform::file_stat(|| &place, &after) == *before);
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

/// Whom SQLite is to be for the database `found`, where somebody else owns a folder that it is in. SQLite goes by the path, deletes what
/// the journals beside it name, and this user may be root: so it may do no more than whoever could put such a thing there.
fn other_user(found: &Found) -> Option<Owner> {
    if !platform::is_root() {
        return None;
    }
    let folders = found.name.match_indices('/').map(|(slash, _)| found.root.look(&found.name[..slash]));
    let owners = std::iter::once(found.root.look_at_itself()).chain(folders).filter_map(|meta| meta.ok()?.owner);
    owners.into_iter().find(|owner| owner.user != platform::own().user)
}

/// Copies a database as it is at one moment. `false` where it is none after all, or needs no help. `path` goes through no link, unless
/// somebody puts one there meanwhile.
fn snapshot(task: &BlockingTask, path: &Path, copy: &Path, user: Option<Owner>) -> Result<bool, SnapshotError> {
    let mut last = None;
    for flags in ways(path) {
        let _ = std::fs::remove_file(copy);
        // A thread of its own can become somebody else, and ends.
        let copied = || copy_database(task, path, copy, flags, user);
        let copied =
            if user.is_none() { copied() } else { thread::scope(|scope| scope.spawn(copied).join().expect("copying does not panic")) };
        match copied {
            Ok(()) => return Ok(true),
            Err(Trouble::Stopped(error)) => return Err(error.into()),
            Err(Trouble::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => return Ok(false),
            Err(Trouble::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                return Err(io_error("write", copy)(io::ErrorKind::StorageFull.into()).into());
            }
            Err(Trouble::Sqlite(error)) => last = Some(error),
        }
    }
    match last {
        // Nobody may write here, so nobody does: the file itself will do.
        Some(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && (user.is_some() || !has_wal(path)) => Ok(false),
        Some(source) => Err(SnapshotError::Database { path: path.to_owned(), source }),
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
    crate::files::beside(path, "-wal").metadata().is_ok_and(|wal| wal.len() > 0)
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

fn copy_database(task: &BlockingTask, path: &Path, copy: &Path, flags: OpenFlags, user: Option<Owner>) -> Result<(), Trouble> {
    let mut target = Connection::open(copy)?;
    // Nothing beside it: whoever this is to be soon could not make it there.
    target.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA temp_store = MEMORY; BEGIN EXCLUSIVE; COMMIT")?;
    if let Some(user) = user {
        platform::become_user(user).map_err(|error| Trouble::Stopped(io_error("become its owner to read", path)(error)))?;
    }
    let source = Connection::open_with_flags(path, flags)?;
    source.busy_timeout(Duration::from_secs(2))?;
    let deadline = Instant::now() + LOCKED;
    // One read transaction around all of it: writers cannot make the copy start over again and again.
    while let Err(error) = source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema") {
        task.check().map_err(Trouble::Stopped)?;
        let _ = source.execute_batch("ROLLBACK");
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() >= deadline {
            return Err(error.into());
        }
    }
    {
        let backup = Backup::new(&source, &mut target)?;
        loop {
            task.check().map_err(Trouble::Stopped)?;
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
