//! One unsettled run at a time on what a plan locks, on the whole machine (rule 13).
//!
//! Two things, in one folder that all users share:
//!
//! ```text
//!  <hash>.lock   an operating-system lock, held while a process runs; the kernel releases it when that process dies
//!  <hash>.json   which run is not settled yet: durable, it survives the process and the machine's power
//! ```
//!
//! `<hash>` is of the lock's text. Only who holds the lock writes or removes the record. Lock files are never removed: whoever
//! opened one just before would then lock a file that nobody else sees.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::RunId;
use crate::volume::{self, Distrust};

/// How long [`Claims::acquire`] tries at least: whoever holds the lock may be about to end.
const AT_LEAST: Duration = Duration::from_millis(100);

/// How much longer it tries while others only test the lock.
const TESTED_BY_OTHERS: Duration = Duration::from_secs(5);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Records are small; what is larger is none.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// The machine's folder of locks and records of unsettled runs.
#[derive(Debug, Clone)]
pub struct Claims {
    folder: PathBuf,
}

/// A run that is not settled yet, as everybody on the machine may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it locks, canonical ([`Claims::canonical`]).
    pub lock: String,
    /// The run.
    pub run: RunId,
    /// The folder of its journal.
    pub state_dir: PathBuf,
    /// Its plan file.
    pub plan: PathBuf,
    /// `[plan] name`.
    pub plan_name: String,
    /// Who runs it.
    pub user: String,
    /// The process that runs it, or did.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// The command that goes on with it.
    pub next: String,
}

/// A lock that is held until this is dropped or the process ends.
#[derive(Debug)]
pub struct Held {
    claims: Claims,
    lock: String,
    file: File,
}

/// Why a lock could not be had, or its record not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A live process holds it.
    #[error("another run holds the lock")]
    Busy {
        /// Which run, where it is on record already.
        holder: Option<Box<Holder>>,
    },
    /// The machine's folder is none that all users can rely on.
    #[error("{} cannot hold the locks of this machine: {what}", .folder.display())]
    UnfitFolder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        what: &'static str,
    },
    /// A record that does not read: whether a run is unsettled cannot be told.
    #[error("the record of an unsettled run in {} is damaged: {what}", .file.display())]
    DamagedRecord {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The record is another user's, and the system lets only them change it.
    #[error("the unsettled run on record in {} belongs to user `{user}`, who must settle it", .file.display())]
    ForeignRecord {
        /// The file.
        file: PathBuf,
        /// Whose it is, as it says.
        user: String,
    },
    /// The system refused a file or folder.
    #[error("could not {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Whether it was for want of space.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if volume::is_full(source))
    }
}

impl Claims {
    /// Where the whole machine looks: `/var/tmp/almaplan`, `%ProgramData%\almaplan`.
    pub fn default_folder() -> PathBuf {
        volume::machine_folder()
    }

    /// The locks and records in `folder`, which is made (open to all users, sticky) where it is missing.
    ///
    /// # Errors
    /// It cannot be made, is a link or no folder, is on a network share, or others could replace what is in it.
    pub fn at(folder: impl Into<PathBuf>) -> Result<Self, LockError> {
        let folder = folder.into();
        let folder = std::path::absolute(&folder).map_err(io("find", &folder))?;
        create(&folder)?;
        let unfit = |what| Err(LockError::UnfitFolder { folder: folder.clone(), what });
        if volume::network_share(&folder).map_err(io("look at the file system of", &folder))?.is_some() {
            return unfit("it is on a network share");
        }
        match settled_distrust(&folder).map_err(io("look at", &folder))? {
            None => Ok(Self { folder }),
            Some(Distrust::NotAFolder) => unfit("it is a link or a file, not a folder"),
            Some(Distrust::NotSticky) => unfit("others could replace what is in it (it needs the sticky bit: chmod 1777)"),
        }
    }

    /// One text for all names of what a plan locks. What looks like a path (absolute, or with a separator) is made absolute,
    /// starting at `plan_dir`, and free of links, also where it does not exist yet; anything else is a plain name.
    pub fn canonical(text: &str, plan_dir: &Path) -> String {
        if !Path::new(text).is_absolute() && !text.contains(std::path::is_separator) {
            return text.to_owned();
        }
        let path = plan_dir.join(text);
        let resolved = resolve(&std::path::absolute(&path).unwrap_or(path));
        volume::fold_case(resolved.to_string_lossy().into_owned())
    }

    /// Takes `lock`, trying for `timeout` (and for a moment at least). Blocks the thread.
    ///
    /// # Errors
    /// [`LockError::Busy`] where a live process holds it; the folder cannot be used.
    pub fn acquire(&self, lock: &str, timeout: Duration) -> Result<Held, LockError> {
        let path = self.lock_file(lock);
        let file = self.open_or_make(&path)?;
        let deadline = Instant::now() + timeout.max(AT_LEAST);
        loop {
            match file.try_lock() {
                Ok(()) => {
                    self.sweep(lock);
                    return Ok(Held { claims: self.clone(), lock: lock.to_owned(), file });
                }
                Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let now = Instant::now();
            if now >= deadline && (now >= deadline + TESTED_BY_OTHERS || is_exclusive(&file).map_err(io("lock", &path))?) {
                // A record that does not read is no reason to hide that the lock is held.
                return Err(LockError::Busy { holder: self.holder(lock).ok().flatten().map(Box::new) });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The unsettled run on record for `lock`, whether a live process runs it or not.
    ///
    /// # Errors
    /// The record does not read: whether there is one cannot be told.
    pub fn holder(&self, lock: &str) -> Result<Option<Holder>, LockError> {
        let path = self.record_file(lock);
        match read_record(&path)? {
            Some(holder) if holder.lock != lock => {
                Err(LockError::DamagedRecord { file: path, what: "it is about another lock".to_owned() })
            }
            found => Ok(found),
        }
    }

    /// Whether a live process holds `lock`. Asking never makes an [`acquire`](Self::acquire) fail.
    ///
    /// # Errors
    /// The lock file cannot be opened: it cannot be told.
    pub fn is_held(&self, lock: &str) -> Result<bool, LockError> {
        let path = self.lock_file(lock);
        let file = match volume::open_untrusted(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io("open", &path))?,
        };
        is_exclusive(&file).map_err(io("lock", &path))
    }

    /// All unsettled runs of the machine, oldest first.
    ///
    /// # Errors
    /// The folder or a record in it does not read.
    pub fn unsettled(&self) -> Result<Vec<Holder>, LockError> {
        let entries = std::fs::read_dir(&self.folder).map_err(io("look into", &self.folder))?;
        let mut holders = Vec::new();
        for entry in entries {
            let path = entry.map_err(io("look into", &self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                holders.extend(read_record(&path)?);
            }
        }
        holders.sort_by(|a, b| (a.since, &a.lock).cmp(&(b.since, &b.lock)));
        Ok(holders)
    }

    fn lock_file(&self, lock: &str) -> PathBuf {
        self.folder.join(format!("{}.lock", stem(lock)))
    }

    /// Where the record of an unsettled run on `lock` is, if there is one.
    pub fn record_file(&self, lock: &str) -> PathBuf {
        self.folder.join(format!("{}.json", stem(lock)))
    }

    /// Opened for reading only, which is enough to lock it: also where another user made it.
    fn open_or_make(&self, path: &Path) -> Result<File, LockError> {
        match volume::open_untrusted(path) {
            // Never with O_CREAT: in a sticky folder Linux refuses that for another user's file (fs.protected_regular).
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_lock_file(path)?,
            opened => return opened.map_err(io("open", path)),
        }
        volume::open_untrusted(path).map_err(io("open", path))
    }

    /// Made under another name first, so that nobody ever sees one that only its maker may open.
    fn make_lock_file(&self, path: &Path) -> Result<(), LockError> {
        let new = self.unused_name(path);
        volume::create_for_all(&new, true).map_err(io("make", &new))?;
        let linked = std::fs::hard_link(&new, path);
        let removed = std::fs::remove_file(&new);
        // There is one already, and whoever has it may have swept this away.
        let there = |error: &io::Error| matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound);
        match (linked, removed) {
            (Err(error), _) if !there(&error) => Err(io("make", path)(error)),
            (_, Err(error)) if !there(&error) => Err(io("remove", &new)(error)),
            _ => Ok(()),
        }
    }

    /// Removes what processes that were killed left of files they were making. Only for who holds `lock`. What is another user's stays.
    fn sweep(&self, lock: &str) {
        let stem = format!("{}.", stem(lock));
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(&stem) && name.ends_with(".new")) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// A name beside `path` that no other process or thread uses.
    fn unused_name(&self, path: &Path) -> PathBuf {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let thread = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
        path.with_extension(format!("{}-{thread}-{nanos}.new", std::process::id()))
    }
}

impl Held {
    /// What is held, canonical.
    pub fn lock(&self) -> &str {
        &self.lock
    }

    /// Puts `holder` on record, in place of what is there. Returns once it is durable.
    ///
    /// # Errors
    /// The record is another user's, or cannot be written.
    pub fn record(&self, holder: &Holder) -> Result<(), LockError> {
        let path = self.claims.record_file(&self.lock);
        let new = self.claims.unused_name(&path);
        let holder = Holder { lock: self.lock.clone(), ..holder.clone() };
        let text = serde_json::to_vec_pretty(&holder).map_err(|error| io("write", &path)(error.into()))?;
        let written = write_new(&new, &text).and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            return Err(self.foreign(error, "write", &path));
        }
        self.sync()
    }

    /// The unsettled run on record: one that this process did not begin was left behind.
    ///
    /// # Errors
    /// The record does not read: whether there is one cannot be told.
    pub fn record_of(&self) -> Result<Option<Holder>, LockError> {
        self.claims.holder(&self.lock)
    }

    /// Takes the record away: the run is settled. Returns once that is durable.
    ///
    /// # Errors
    /// The record is another user's, or cannot be removed.
    pub fn clear(&self) -> Result<(), LockError> {
        let path = self.claims.record_file(&self.lock);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.foreign(error, "remove", &path)),
            Ok(()) => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), LockError> {
        volume::sync_dir(&self.claims.folder).map_err(io("sync the folder", &self.claims.folder))
    }

    /// In a sticky folder the system refuses to touch another user's file.
    fn foreign(&self, error: io::Error, doing: &'static str, path: &Path) -> LockError {
        match self.record_of() {
            Ok(Some(holder)) if error.kind() == ErrorKind::PermissionDenied => {
                LockError::ForeignRecord { file: path.to_owned(), user: holder.user }
            }
            _ => io(doing, path)(error),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Not left to closing the file: a child between its fork and its exec would keep that open.
        let _ = self.file.unlock();
    }
}

fn create(folder: &Path) -> Result<(), LockError> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(io("make the folder", parent))?;
    }
    match volume::create_shared_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(io("make the folder", folder)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// As [`volume::distrust`]; a folder that another user is making right now gets a moment to become sticky.
fn settled_distrust(folder: &Path) -> io::Result<Option<Distrust>> {
    let deadline = Instant::now() + AT_LEAST;
    loop {
        match volume::distrust(folder)? {
            Some(Distrust::NotSticky) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            found => return Ok(found),
        }
    }
}

/// `path`, absolute, without links and dots. What does not exist is kept as it is written.
fn resolve(path: &Path) -> PathBuf {
    // More links than any system follows: then it is a loop, and the text itself has to do.
    let mut links_left = 40;
    let mut resolved = PathBuf::new();
    let mut left: Vec<PathBuf> = parts(path);
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            resolved.pop();
            continue;
        }
        resolved.push(&part);
        if let Ok(existing) = std::fs::canonicalize(&resolved) {
            resolved = existing;
        } else if let Ok(target) = std::fs::read_link(&resolved)
            && links_left > 0
        {
            // A link to what does not exist yet.
            links_left -= 1;
            resolved.pop();
            left.extend(parts(&target));
        }
    }
    resolved
}

/// The components of `path`, last one first, without `.`. Those that say where a path starts are one.
fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = Vec::new();
    for component in path.components() {
        match (component, parts.last_mut()) {
            (Component::CurDir, _) => {}
            (Component::RootDir, Some(prefix)) => prefix.push(component),
            _ => parts.push(component.as_os_str().into()),
        }
    }
    parts.reverse();
    parts
}

/// Whether somebody holds the lock of `file`, and does not only test it as this does.
fn is_exclusive(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => {
            // Wine reports an error although it did it; and it ends with the file anyway.
            let _ = file.unlock();
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn stem(lock: &str) -> String {
    blake3::hash(lock.as_bytes()).to_hex()[..32].to_owned()
}

fn read_record(path: &Path) -> Result<Option<Holder>, LockError> {
    let file = match volume::open_untrusted(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io("open", path))?,
    };
    let mut text = Vec::new();
    file.take(MAX_RECORD_BYTES).read_to_end(&mut text).map_err(io("read", path))?;
    let damaged = |error: serde_json::Error| LockError::DamagedRecord { file: path.to_owned(), what: error.to_string() };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = volume::create_for_all(path, false)?;
    file.write_all(text)?;
    file.sync_all()
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Io { doing, path, source }
}

#[cfg(test)]
mod tests;
