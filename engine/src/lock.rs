//! One unsettled run at a time on what a plan locks, on the whole machine (rule 13).
//!
//! Each user has a folder of its own, in which nobody else can make, hold or replace anything (rule 23); that of root is the machine's:
//!
//! ```text
//!  <hash>.lock   an operating-system lock, held while a process runs; the kernel releases it when that process dies
//!  <hash>.json   which run is not settled yet: durable, it survives the process and the machine's power
//! ```
//!
//! `<hash>` is of the lock's text. Only who holds the lock writes or removes the record. What keeps two users apart, and two names of one
//! folder, is in [`occupancy`]; it also outlives a cleaner that takes the files away. Other users' records are never read, but root's.

mod occupancy;

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::RunId;
use crate::trust::{self, Distrust};
use crate::volume;

pub use occupancy::Occupant;

/// How long [`LockDirectory::acquire`] tries at least: whoever holds the lock may be about to end.
const AT_LEAST: Duration = Duration::from_millis(100);

/// How much longer it tries while others only test the lock.
const TESTED_BY_OTHERS: Duration = Duration::from_secs(5);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Records are small; what is larger is none.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// A user's folder of locks and records of unsettled runs.
#[derive(Debug, Clone)]
pub struct LockDirectory {
    folder: PathBuf,
    /// The name that all users of the machine have for it.
    machine: PathBuf,
    /// Root's folder, where that is another one: its records count for everybody.
    roots: Option<PathBuf>,
}

/// A run that is not settled yet, as everybody on the machine may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// What it locks, canonical ([`LockDirectory::canonical`]).
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
    claims: LockDirectory,
    lock: String,
    file: File,
    /// Dropped with it.
    _occupancy: occupancy::Occupancy,
}

/// Why a lock could not be had, or its record not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A live process holds it.
    #[error("another run holds the lock")]
    Busy {
        /// Which run, where it is on record already.
        holder: Option<Box<LockHolder>>,
        /// Which process, where the system tells: another user's run is not on record here.
        by: Option<Occupant>,
    },
    /// The folder, or something in it, is not only ours.
    #[error(transparent)]
    Distrusted(Distrust),
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

impl LockDirectory {
    /// Where root's locks and records are, and on Windows everybody's: `/var/tmp/almaplan`, `%ProgramData%\almaplan`.
    pub fn default_folder() -> PathBuf {
        volume::machine_folder()
    }

    /// The locks and records on a machine whose root has them in `machine`. Those of this user are there, where they may make that folder, else
    /// in one of their own beside it. It is made where it is missing: on Unix for its owner alone; root's may be read by all.
    ///
    /// # Errors
    /// It cannot be made, is a link or no folder, is on a network share, or is another user's.
    pub fn at(machine: impl Into<PathBuf>) -> Result<Self, LockError> {
        let machine = machine.into();
        let machine = std::path::absolute(&machine).map_err(io("find", &machine))?;
        create(&volume::lock_folder(&machine))?;
        Self::opened(machine)
    }

    /// The same, where it is there already; nothing is made.
    ///
    /// # Errors
    /// See [`LockDirectory::at`].
    pub fn if_there(machine: impl Into<PathBuf>) -> Result<Option<Self>, LockError> {
        let machine = machine.into();
        let machine = std::path::absolute(&machine).map_err(io("find", &machine))?;
        let folder = volume::lock_folder(&machine);
        if folder.symlink_metadata().is_err() {
            return Ok(None);
        }
        trust::folder(&folder).map_err(LockError::Distrusted)?;
        Self::opened(machine).map(Some)
    }

    fn opened(machine: PathBuf) -> Result<Self, LockError> {
        let folder = volume::lock_folder(&machine);
        if volume::network_share(&folder).map_err(io("look at the file system of", &folder))?.is_some() {
            return Err(LockError::UnfitFolder { folder, what: "it is on a network share" });
        }
        // Made first by somebody else it is not root's, and tells nothing.
        let is_roots = folder != machine && trust::folder(&machine).is_ok();
        Ok(Self { folder, roots: is_roots.then(|| machine.clone()), machine })
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
        let began = Instant::now();
        let timeout = timeout.max(AT_LEAST);
        let mut known = None;
        loop {
            let by = match self.try_acquire(lock)? {
                Tried::Held(held) => {
                    self.sweep(lock);
                    return Ok(held);
                }
                Tried::Tested if began.elapsed() < timeout.saturating_add(TESTED_BY_OTHERS) => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Tried::Tested => None,
                Tried::Busy(by) => by.or(known.take()),
            };
            known.clone_from(&by);
            if began.elapsed() >= timeout {
                // A record that does not read is no reason to hide that the lock is held; another user's run has none here.
                let holder = if by.as_ref().is_some_and(|by| by.is_foreign) { None } else { self.holder(lock).ok().flatten() };
                return Err(LockError::Busy { holder: holder.map(Box::new), by });
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_acquire(&self, lock: &str) -> Result<Tried, LockError> {
        let path = self.lock_file(lock);
        let file = self.open_or_make(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
            Err(TryLockError::WouldBlock) => {
                return Ok(if is_exclusive(&file).map_err(io("lock", &path))? { Tried::Busy(None) } else { Tried::Tested });
            }
        }
        // A file that a cleaner took away meanwhile is one that nobody else sees: the next try makes another one.
        if !volume::is_still(&file, &path) {
            return Ok(Tried::Tested);
        }
        match occupancy::Occupancy::take(&self.machine, lock) {
            Ok(occupancy) => Ok(Tried::Held(Held { claims: self.clone(), lock: lock.to_owned(), file, _occupancy: occupancy })),
            Err(by) => Ok(Tried::Busy(by)),
        }
    }

    /// The unsettled run on record for `lock`, or for another name of the same folder, whether a live process runs it or not; root's where
    /// we have none.
    ///
    /// # Errors
    /// The record does not read: whether there is one cannot be told.
    pub fn holder(&self, lock: &str) -> Result<Option<LockHolder>, LockError> {
        let path = self.record_file(lock);
        match read_record(&path)? {
            Some(holder) if holder.lock != lock => {
                return Err(LockError::DamagedRecord { file: path, what: "it is about another lock".to_owned() });
            }
            Some(found) => return Ok(Some(found)),
            None => {}
        }
        let same = |holder: &LockHolder| holder.lock == lock || volume::is_same_folder(Path::new(&holder.lock), Path::new(lock));
        let of_root = self.roots.iter().flat_map(|roots| records(roots).unwrap_or_default());
        Ok(self.unsettled()?.into_iter().chain(of_root).find(same))
    }

    /// Whether a live process holds `lock`. Asking never makes an [`acquire`](Self::acquire) fail.
    ///
    /// # Errors
    /// The lock file cannot be opened: it cannot be told.
    pub fn is_held(&self, lock: &str) -> Result<bool, LockError> {
        let path = self.lock_file(lock);
        let is_locked = match trust::open(&path) {
            Ok(file) => is_exclusive(&file).map_err(io("lock", &path))?,
            Err(Distrust::Io { source, .. }) if source.kind() != ErrorKind::NotFound => return Err(io("open", &path)(source)),
            // What is not believed is never taken as a lock.
            Err(_) => false,
        };
        Ok(is_locked || occupancy::is_taken(&self.machine, lock))
    }

    /// All unsettled runs of this user, oldest first. A file that does not read is passed over: it must not hide the others, and whoever
    /// takes its lock is told.
    ///
    /// # Errors
    /// The folder does not read.
    pub fn unsettled(&self) -> Result<Vec<LockHolder>, LockError> {
        records(&self.folder)
    }

    fn lock_file(&self, lock: &str) -> PathBuf {
        self.folder.join(format!("{}.lock", stem(lock)))
    }

    /// Where the record of an unsettled run on `lock` is, if there is one.
    pub fn record_file(&self, lock: &str) -> PathBuf {
        self.folder.join(format!("{}.json", stem(lock)))
    }

    /// Opened for reading only, which is enough to lock it.
    fn open_or_make(&self, path: &Path) -> Result<File, LockError> {
        match trust::open(path) {
            Ok(file) => return Ok(file),
            Err(Distrust::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(distrust) => set_aside(path, distrust)?,
        }
        match volume::create_private_file(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(io("make", path)(error)),
            Ok(_) | Err(_) => trust::open(path).map_err(LockError::Distrusted),
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
    pub fn record(&self, holder: &LockHolder) -> Result<(), LockError> {
        let path = self.claims.record_file(&self.lock);
        let new = unused_name(&path);
        let holder = LockHolder { lock: self.lock.clone(), ..holder.clone() };
        let text = serde_json::to_vec_pretty(&holder).map_err(|error| io("write", &path)(error.into()))?;
        if let Err(distrust) = trust::file(&path) {
            set_aside(&path, distrust)?;
        }
        let written = write_new(&new, &text).and_then(|()| volume::once_let_go(|| std::fs::rename(&new, &path)));
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
    pub fn record_of(&self) -> Result<Option<LockHolder>, LockError> {
        self.claims.holder(&self.lock)
    }

    /// Takes the record away: the run is settled. Returns once that is durable.
    ///
    /// # Errors
    /// The record is another user's, or cannot be removed.
    pub fn clear(&self) -> Result<(), LockError> {
        let path = self.claims.record_file(&self.lock);
        match volume::once_let_go(|| std::fs::remove_file(&path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.foreign(error, "remove", &path)),
            Ok(()) => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), LockError> {
        volume::sync_dir(&self.claims.folder).map_err(io("sync the folder", &self.claims.folder))
    }

    /// Below `%ProgramData%` the system refuses to touch another user's file.
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

/// What came of a try to take a lock.
enum Tried {
    Held(Held),
    /// Somebody holds it.
    Busy(Option<Occupant>),
    /// Somebody only tests it, or its file went away: the next try may succeed.
    Tested,
}

/// Makes the folder, and makes sure that nobody else can change what is in it.
fn create(folder: &Path) -> Result<(), LockError> {
    if let Some(parent) = folder.parent() {
        volume::create_private_dir(parent).map_err(io("make the folder", parent))?;
    }
    for _ in 0..2 {
        match volume::create_lock_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io("make the folder", folder)(error)),
            Ok(()) | Err(_) => {}
        }
        match trust::folder(folder) {
            Ok(()) => return Ok(()),
            Err(distrust) if distrust.path() == folder => set_aside(folder, distrust)?,
            Err(distrust) => return Err(LockError::Distrusted(distrust)),
        }
    }
    trust::folder(folder).map_err(LockError::Distrusted)
}

/// What another user put, or could have changed, in the place of what is ours is moved away by root; it is kept, beside it.
fn set_aside(path: &Path, distrust: Distrust) -> Result<(), LockError> {
    let is_others = matches!(distrust, Distrust::Foreign { .. } | Distrust::Writable { .. }) && distrust.path() == path;
    if !is_others || !volume::is_root() {
        return Err(LockError::Distrusted(distrust));
    }
    let aside = unused_name(path).with_extension("aside");
    tracing::warn!(path = %path.display(), aside = %aside.display(), owner = distrust.owner(), "moved out of the way");
    std::fs::rename(path, &aside).map_err(io("move out of the way", path))
}

/// A name beside `path` that no other process or thread uses.
fn unused_name(path: &Path) -> PathBuf {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let thread = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
    path.with_extension(format!("{}-{thread}-{nanos}.new", std::process::id()))
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

/// All records in `folder`, oldest first.
fn records(folder: &Path) -> Result<Vec<LockHolder>, LockError> {
    let mut holders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io("look into", folder))? {
        let path = entry.map_err(io("look into", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            match read_record(&path) {
                Ok(found) => holders.extend(found),
                Err(error) => tracing::warn!(%error, "a record that does not read"),
            }
        }
    }
    holders.sort_by(|a, b| (a.since, &a.lock).cmp(&(b.since, &b.lock)));
    Ok(holders)
}

fn read_record(path: &Path) -> Result<Option<LockHolder>, LockError> {
    let file = match trust::open(path) {
        Err(Distrust::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        // Somebody else's: it tells us nothing.
        Err(Distrust::Foreign { .. }) => return Ok(None),
        Err(Distrust::NotA { wanted, .. }) => {
            return Err(LockError::DamagedRecord { file: path.to_owned(), what: format!("it is not a {wanted}") });
        }
        opened => opened.map_err(LockError::Distrusted)?,
    };
    let mut text = Vec::new();
    file.take(MAX_RECORD_BYTES).read_to_end(&mut text).map_err(io("read", path))?;
    let damaged = |error: serde_json::Error| LockError::DamagedRecord { file: path.to_owned(), what: error.to_string() };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = volume::create_for_all(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Io { doing, path, source }
}

#[cfg(test)]
mod tests;
