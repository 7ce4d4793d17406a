//! Connections: one that writes durably, and one that reads without leaving a trace.
//!
//! Beware: `state.db` must never be opened by anything but SQLite within a process that writes it. Closing any descriptor of a file
//! gives up all POSIX locks that the process holds on it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::error::{failed, is_passing};
use super::schema;
use crate::journal::JournalError;
use crate::volume;

/// How long SQLite waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reader tries again when files come and go under it.
const READING_PATIENCE: Duration = Duration::from_secs(3);

/// The length of a WAL that holds nothing, in bytes.
const WAL_HEADER: u64 = 32;

/// SQLite shares one handle of the `-shm` file within a process: a writer that opened it while a reader has it read-only could
/// not write. Readers hold this shared, a writer that opens alone.
static OPENING: RwLock<()> = RwLock::new(());

/// A connection that writes to the state in `db`, which is whole: reading a run looks at that run's pages alone, and what is rotten
/// elsewhere would be found in the middle of an append, or spread by it.
pub(super) fn writer(db: &Path) -> Result<Connection, JournalError> {
    let connection = durable(db)?;
    schema::check(&connection)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed("check the state"))?;
    if found != "ok" {
        return Err(JournalError::Damaged {
            run: None,
            seq: None,
            what: format!("SQLite finds it broken ({})", found.replace('\n', ": ")),
        });
    }
    schema::upgrade(&connection)?;
    Ok(connection)
}

/// A connection that writes to `db`, which may still be empty.
pub(super) fn create(db: &Path) -> Result<Connection, JournalError> {
    durable(db)
}

fn durable(db: &Path) -> Result<Connection, JournalError> {
    let failed = || failed("open the state for writing");
    let _alone = OPENING.write().expect("no code panics while it holds this lock");
    let connection =
        Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed())?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed())?;
    // Before anything is changed: what is not ours, or newer, is left as it is.
    if !schema::is_empty(&connection)? {
        schema::check(&connection)?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed())?;
    if mode != "wal" {
        return Err(JournalError::Store { doing: "open the state for writing", source: "this file system cannot do WAL".into() });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed())?;
    connection.pragma_update(None, "fullfsync", true).map_err(failed())?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed())?;
    // The WAL's name must be durable before what is in it counts: SQLite syncs the folder, too, but takes no notice of a failure.
    let folder = db.parent().expect("the state is a file in a folder");
    volume::sync_dir(folder).map_err(|source| JournalError::Io { doing: "sync the folder", path: folder.to_owned(), source })?;
    Ok(connection)
}

/// What `work` reads from the state in `db`; it may be called again. Creates and changes nothing.
pub(super) fn reading<T>(db: &Path, work: impl Fn(&Connection) -> Result<T, JournalError>) -> Result<T, JournalError> {
    looking(db, |connection| schema::check(connection).and_then(|()| work(connection)))
}

/// The same, also where `db` is not ours or still empty.
pub(super) fn looking<T>(db: &Path, work: impl Fn(&Connection) -> Result<T, JournalError>) -> Result<T, JournalError> {
    let _shared = OPENING.read().expect("no code panics while it holds this lock");
    let deadline = Instant::now() + READING_PATIENCE;
    loop {
        let way = Way::to(db);
        let result = way.open(db).and_then(|connection| work(&connection));
        let disturbed = way.was_disturbed(db);
        match result {
            Ok(value) if !disturbed => return Ok(value),
            Err(error) if !disturbed && !is_passing(&error) => return Err(error),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Ok(_) if Instant::now() >= deadline => {
                return Err(JournalError::Store { doing: "read the journal", source: "other processes write it all the time".into() });
            }
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// How to read a database in WAL mode without making a `-wal` or `-shm` file, which even a read-only connection does.
#[derive(PartialEq)]
enum Way {
    /// There is no WAL, or none that says anything to SQLite: the file alone, without locks. It must be the same afterwards.
    Alone(Option<(SystemTime, u64)>),
    /// A writer lives, or died: with its WAL, looking on.
    Beside,
    /// A WAL without its index, as a copy may be: SQLite makes the index anew, beside it.
    Indexing,
}

impl Way {
    fn to(db: &Path) -> Self {
        let wal = beside(db, "-wal");
        let holds_something = std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > WAL_HEADER);
        match read_header(&wal) {
            // Looking on, SQLite would wait for somebody who makes the index of a WAL without pages, and search one that is none of its
            // own for a beginning; whether anything is missing is for the witness to say.
            Ok(header) if holds_something && begins_wal(&header) && beside(db, "-shm").exists() => Self::Beside,
            Ok(header) if holds_something && begins_wal(&header) => Self::Indexing,
            Ok(_) | Err(_) => Self::Alone(state_of(db)),
        }
    }

    fn open(&self, db: &Path) -> Result<Connection, JournalError> {
        let failed = || failed("open the state for reading");
        let how = match self {
            Self::Alone(_) => "mode=ro&immutable=1",
            Self::Beside => "mode=ro&readonly_shm=1",
            Self::Indexing => "mode=ro",
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(format!("{}?{how}", uri(db)), flags).map_err(failed())?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed())?;
        Ok(connection)
    }

    /// Whether what was read this way may be torn.
    fn was_disturbed(&self, db: &Path) -> bool {
        matches!(self, Self::Alone(_)) && Self::to(db) != *self
    }
}

/// The header of a WAL.
fn read_header(wal: &Path) -> std::io::Result<[u8; 32]> {
    let mut header = [0; 32];
    File::open(wal)?.read_exact(&mut header)?;
    Ok(header)
}

/// Whether SQLite takes this for the beginning of a WAL: its checksum says so.
fn begins_wal(header: &[u8; 32]) -> bool {
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    // The magic number tells which way round the words are that are summed up.
    let summed = match word(0) {
        0x377f_0682 => |word: u32| word.swap_bytes(),
        0x377f_0683 => |word: u32| word,
        _ => return false,
    };
    let (mut a, mut b) = (0_u32, 0_u32);
    for at in (0..24).step_by(8) {
        a = a.wrapping_add(summed(word(at))).wrapping_add(b);
        b = b.wrapping_add(summed(word(at + 4))).wrapping_add(a);
    }
    (a, b) == (word(24), word(28))
}

fn state_of(db: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(db).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `path`, absolute, as SQLite takes it with options.
fn uri(path: &Path) -> String {
    let separator = u8::try_from(std::path::MAIN_SEPARATOR).expect("path separators are ASCII");
    let mut uri = "file://".to_owned();
    let bytes = path.as_os_str().as_encoded_bytes();
    let bytes = bytes.strip_prefix(br"\\?\").unwrap_or(bytes);
    if bytes.first() != Some(&separator) {
        uri.push('/');
    }
    for &byte in bytes {
        match byte {
            _ if byte == separator => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
