//! Hashes of files that were read by an earlier run, so that what stands still is not read again.
//!
//! They are in a SQLite database beside the target, never in it. A hash is taken from it only for a file whose length, times and inode
//! are those of when it was read. None is put there for a file that was modified so lately that one more write might not show in its
//! times. Nothing relies on the database: where it is missing, damaged or cannot be written, files are read again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use blake3::Hash;
use rusqlite::{Connection, OpenFlags, Transaction, params};

use crate::files::{Copied, FileError, FileStat, Meta, beside, inside, platform, present, time_ns};

/// A file whose content is younger than this may be written once more without its times showing it, on any file system.
const YOUNG_NS: i64 = 2_000_000_000;

/// The hashes of the files of several folders, kept between runs.
pub(crate) struct HashDatabase {
    path: PathBuf,
    connection: Option<Connection>,
}

/// The hashes of the files in one folder: what the database knew, and what is known now.
pub(crate) struct HashCache<'a> {
    folder: &'a Path,
    known: HashMap<String, Known>,
    learned: Mutex<BTreeMap<String, (FileStat, Hash)>>,
    read: AtomicU64,
    began_ns: i64,
}

/// What the database knew of one file.
struct Known {
    at: FileStat,
    hash: Hash,
    still_valid: AtomicBool,
}

impl HashDatabase {
    /// The database of what is deployed to `target`. One that is not there yet is made when something is kept: until then nothing is
    /// changed.
    pub fn open(target: &Path) -> Self {
        let mut database = Self { path: beside(target, ".almaplan-hashes"), connection: None };
        if present(&database.path) {
            database.connection = connect(&database.path).ok();
            if database.connection.is_none() {
                database.begin_anew();
            }
        }
        database
    }

    /// What the database of `target` knows of the files in `folder`. Whatever state it is in, it is only read.
    pub fn look<'a>(target: &Path, folder: &'a Path) -> HashCache<'a> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(beside(target, ".almaplan-hashes"), flags);
        let known = database.and_then(|database| known_in(&database, folder)).unwrap_or_default();
        HashCache { known, ..HashCache::empty(folder) }
    }

    /// What is known of the files in `folder`.
    pub fn load<'a>(&mut self, folder: &'a Path) -> HashCache<'a> {
        let mut cache = HashCache::empty(folder);
        match self.connection.as_ref().map(|connection| known_in(connection, folder)) {
            Some(Ok(known)) => cache.known = known,
            Some(Err(_)) => self.begin_anew(),
            None => {}
        }
        cache
    }

    /// Lets the database say what is known now, and no more of these folders.
    pub fn save(&mut self, caches: &[&HashCache<'_>]) {
        self.change(caches, |change, cache| forget(change, cache).and_then(|()| add(change, cache)));
    }

    /// Adds what was learned.
    pub fn add(&mut self, cache: &HashCache<'_>) {
        self.change(&[cache], add);
    }

    fn change(&mut self, caches: &[&HashCache<'_>], work: impl Fn(&Transaction<'_>, &HashCache<'_>) -> rusqlite::Result<()>) {
        let changed: Vec<_> = caches.iter().filter(|cache| cache.differs()).collect();
        if changed.is_empty() {
            return;
        }
        if self.connection.is_none() {
            self.connection = connect(&self.path).ok();
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let mut all = || {
            let change = connection.transaction()?;
            changed.iter().try_for_each(|cache| work(&change, cache))?;
            change.commit()
        };
        if all().is_err() {
            self.begin_anew();
        }
    }

    /// Puts an empty database in the place of one that cannot be used; where there can be none, nothing is kept.
    fn begin_anew(&mut self) {
        self.connection = None;
        // Played into another database than its own, a journal would damage it.
        for path in [beside(&self.path, "-journal"), self.path.clone()] {
            let _ = std::fs::remove_file(path);
        }
        self.connection = connect(&self.path).ok();
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // What a crash of the machine damages is noticed by its checksum, and nobody waits for the disk.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS hash (
            folder BLOB, name TEXT, len INTEGER, modified_ns INTEGER, changed_ns INTEGER, inode INTEGER, hash BLOB, checksum BLOB,
            PRIMARY KEY (folder, name)
        ) WITHOUT ROWID",
    )?;
    Ok(connection)
}

fn known_in(connection: &Connection, folder: &Path) -> rusqlite::Result<HashMap<String, Known>> {
    let mut query = connection.prepare("SELECT name, len, modified_ns, changed_ns, inode, hash, checksum FROM hash WHERE folder = ?1")?;
    let mut rows = query.query([bytes(folder)])?;
    let mut known = HashMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let [len, inode] = [row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(4)?.cast_unsigned()];
        let at = FileStat { len, modified_ns: row.get(2)?, changed_ns: row.get(3)?, inode };
        let hash = Hash::from_bytes(row.get(5)?);
        if checksum(folder, &name, &at, &hash) == row.get::<_, [u8; 32]>(6)? {
            known.insert(name, Known { at, hash, still_valid: AtomicBool::new(false) });
        }
    }
    Ok(known)
}

/// Takes out what does not hold any more.
fn forget(change: &Transaction<'_>, cache: &HashCache<'_>) -> rusqlite::Result<()> {
    let mut forget = change.prepare("DELETE FROM hash WHERE folder = ?1 AND name = ?2")?;
    let mut outdated = cache.known.iter().filter(|(_, known)| !known.still_valid.load(Ordering::Relaxed));
    outdated.try_for_each(|(name, _)| forget.execute(params![bytes(cache.folder), name]).map(|_| ()))
}

fn add(change: &Transaction<'_>, cache: &HashCache<'_>) -> rusqlite::Result<()> {
    let mut add = change.prepare("INSERT OR REPLACE INTO hash VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (name, (at, hash)) in &*cache.learned() {
        let checksum = checksum(cache.folder, name, at, hash);
        let (len, inode) = (at.len.cast_signed(), at.inode.cast_signed());
        add.execute(params![bytes(cache.folder), name, len, at.modified_ns, at.changed_ns, inode, hash.as_bytes(), checksum])?;
    }
    Ok(())
}

fn bytes(folder: &Path) -> &[u8] {
    folder.as_os_str().as_encoded_bytes()
}

/// Of all that a row says: SQLite has none of its own.
fn checksum(folder: &Path, name: &str, at: &FileStat, hash: &Hash) -> [u8; 32] {
    let numbers = [at.len, at.modified_ns.cast_unsigned(), at.changed_ns.cast_unsigned(), at.inode].map(u64::to_le_bytes);
    let mut hasher = blake3::Hasher::new();
    for part in [bytes(folder), b"\0", name.as_bytes(), b"\0", numbers.as_flattened(), hash.as_bytes()] {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl<'a> HashCache<'a> {
    /// Of a folder of which nothing is known.
    pub fn empty(folder: &'a Path) -> Self {
        let began_ns = time_ns(SystemTime::now());
        Self { folder, known: HashMap::new(), learned: Mutex::default(), read: AtomicU64::new(0), began_ns }
    }

    /// The hash of the file `name`, which looks like `meta`: as it is known, else as `read` finds it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn hash(&self, name: &str, meta: &Meta, read: impl FnOnce() -> Result<Copied, FileError>) -> Result<Hash, FileError> {
        let at = self.file_stat(name, meta);
        if let Some(known) = self.known.get(name).filter(|known| platform::identifies(&at) && known.at == at) {
            known.still_valid.store(true, Ordering::Relaxed);
            return Ok(known.hash);
        }
        let hash = read()?.hash;
        self.count_read();
        if platform::look(&self.path(name)).is_ok_and(|after| self.file_stat(name, &after) == at) {
            self.learn(name, at, hash);
        }
        Ok(hash)
    }

    /// The file `name` looked so both before and after it was read, and has this hash.
    pub fn learn(&self, name: &str, at: FileStat, hash: Hash) {
        if self.began_ns.saturating_sub(at.modified_ns) <= YOUNG_NS {
            return;
        }
        match self.known.get(name) {
            Some(known) if (known.at, known.hash) == (at, hash) => known.still_valid.store(true, Ordering::Relaxed),
            _ => drop(self.learned().insert(name.to_owned(), (at, hash))),
        }
    }

    /// How the file `name` looks, which `meta` is of.
    pub fn file_stat(&self, name: &str, meta: &Meta) -> FileStat {
        platform::file_stat(|| self.path(name), meta)
    }

    /// Where the file `name` is.
    pub fn path(&self, name: &str) -> PathBuf {
        inside(self.folder, name)
    }

    /// One more file was read.
    pub fn count_read(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    /// How many files were read to know their hashes.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether the database says something else.
    fn differs(&self) -> bool {
        !self.learned().is_empty() || self.known.values().any(|known| !known.still_valid.load(Ordering::Relaxed))
    }

    fn learned(&self) -> MutexGuard<'_, BTreeMap<String, (FileStat, Hash)>> {
        self.learned.lock().expect("no code panics while it holds this lock")
    }
}
