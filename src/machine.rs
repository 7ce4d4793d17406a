//! What a command finds on this machine: the state folder, the records of unsettled runs, the run that is meant.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use almaplan_engine::event::{Outcome, RunId};
use almaplan_engine::journal::JournalError;
use almaplan_engine::lock::{Claims, Held, Holder, LockError};
use almaplan_engine::sqlite::{RunRow, Store};
use almaplan_steps::process;

use crate::commands::Globals;
use crate::diagnose::{Reason, Refusal};

/// How long whoever takes a lock may need to put itself on record.
const ON_RECORD_WITHIN: Duration = Duration::from_secs(5);

/// The name of the state folder.
const STATE: &str = ".almaplan";

/// A run, and the state it is in.
pub struct Found {
    /// The state folder.
    pub store: Store,
    /// The run.
    pub row: RunRow,
}

/// The state folder that was named, or is found upwards from the current folder.
pub fn state_dir(globals: &Globals) -> Option<PathBuf> {
    if let Some(dir) = &globals.state_dir {
        return Some(absolute(dir));
    }
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(STATE)).find(|dir| dir.join("state.db").is_file())
}

/// The state folder for a new run: the one that is found, else one in the current folder.
pub fn state_dir_for_apply(globals: &Globals) -> PathBuf {
    state_dir(globals).unwrap_or_else(|| absolute(Path::new(STATE)))
}

/// The machine's locks and records.
///
/// # Errors
/// The machine's folder cannot be used.
pub fn claims(globals: &Globals) -> Result<Claims, Refusal> {
    Claims::at(machine_folder()).map_err(|error| lock_refused(globals, &error))
}

/// Takes `lock`, trying for `timeout`.
///
/// # Errors
/// A live process holds it, and the refusal names it; the machine's folder cannot be used.
pub fn acquire(globals: &Globals, lock: &str, timeout: Duration) -> Result<Held, Refusal> {
    let claims = claims(globals)?;
    let deadline = Instant::now() + timeout + ON_RECORD_WITHIN;
    let mut patience = timeout;
    loop {
        match claims.acquire(lock, patience) {
            // Who holds it is not on record yet, or its predecessor still is: a process that is at it says so in a moment.
            Err(LockError::Busy { holder }) if !holder.as_deref().is_some_and(is_alive) && Instant::now() < deadline => {
                patience = Duration::ZERO;
            }
            taken => return taken.map_err(|error| lock_refused(globals, &error)),
        }
    }
}

fn is_alive(holder: &Holder) -> bool {
    process::identify(holder.pid).is_some()
}

/// A refusal for a lock that cannot be had.
pub fn lock_refused(globals: &Globals, error: &LockError) -> Refusal {
    match error {
        LockError::Busy { holder: Some(holder) } => held(globals, holder),
        LockError::Busy { holder: None } => {
            globals.refusal(Reason::Held, &[("run", "?".into()), ("lock", "?".into()), ("pid", "?".into()), ("user", "?".into())])
        }
        error => unusable(globals, &machine_folder(), error.is_full(), error),
    }
}

/// A refusal because of a run that is going on.
pub fn held(globals: &Globals, holder: &Holder) -> Refusal {
    let args = [
        ("run", holder.run.as_str().into()),
        ("lock", holder.lock.as_str().into()),
        ("pid", holder.pid.to_string().into()),
        ("user", holder.user.as_str().into()),
    ];
    globals.refusal(Reason::Held, &args)
}

/// A refusal because of a run that is not settled.
pub fn unsettled(globals: &Globals, holder: &Holder) -> Refusal {
    let args = [
        ("run", holder.run.as_str().into()),
        ("lock", holder.lock.as_str().into()),
        ("user", holder.user.as_str().into()),
        ("state", holder.state_dir.display().to_string().into()),
        ("next", holder.next.as_str().into()),
    ];
    globals.refusal(Reason::Unsettled, &args)
}

/// A refusal because the state of a run on record is not where it was.
pub fn state_gone(globals: &Globals, holder: &Holder) -> Refusal {
    let record = match claims(globals) {
        Ok(claims) => claims.record_file(&holder.lock),
        Err(refusal) => return refusal,
    };
    let args = [
        ("run", holder.run.as_str().into()),
        ("folder", holder.state_dir.display().to_string().into()),
        ("record", record.display().to_string().into()),
    ];
    globals.refusal(Reason::StateGone, &args)
}

/// A refusal because of a journal that cannot be used.
pub fn journal_refused(globals: &Globals, folder: &Path, error: &JournalError) -> Refusal {
    let name = folder.display().to_string();
    match error {
        JournalError::Damaged { .. } | JournalError::NotOurs(_) => {
            globals.refusal(Reason::JournalDamaged, &[("file", name.into()), ("error", chain(error).into())])
        }
        JournalError::NewerFormat { found, known } => {
            let args = [("file", name.into()), ("version", found.to_string().into()), ("known", known.to_string().into())];
            globals.refusal(Reason::JournalNewer, &args)
        }
        JournalError::NoSuchRun(run) => globals.refusal(Reason::UnknownRun, &[("run", run.as_str().into())]),
        JournalError::NetworkShare { .. } => globals.refusal(Reason::StateOnNetwork, &[("folder", name.into())]),
        error => unusable(globals, folder, error.is_full(), error),
    }
}

/// A refusal because of a folder that the system does not let us use.
fn unusable(globals: &Globals, folder: &Path, full: bool, error: &dyn std::error::Error) -> Refusal {
    let reason = if full { Reason::DiskFull } else { Reason::StateUnusable };
    globals.refusal(reason, &[("folder", folder.display().to_string().into()), ("error", chain(error).into())])
}

/// The store in the state folder, where there is one.
///
/// # Errors
/// There is one that cannot be used.
pub fn store(globals: &Globals) -> Result<Option<Store>, Refusal> {
    let Some(dir) = state_dir(globals) else { return Ok(None) };
    match Store::open(&dir) {
        Ok(store) => Ok(Some(store)),
        Err(JournalError::NotFound(_)) => Ok(None),
        Err(error) => Err(journal_refused(globals, &dir, &error)),
    }
}

/// All runs of a store, newest first.
///
/// # Errors
/// The journal cannot be read.
pub fn rows(globals: &Globals, store: &Store) -> Result<Vec<RunRow>, Refusal> {
    store.runs().map_err(|error| journal_refused(globals, store.dir(), &error))
}

/// Whether the journal of a run is what was written.
///
/// # Errors
/// It is not, or cannot be read.
pub fn verify(globals: &Globals, found: &Found) -> Result<(), Refusal> {
    found.store.read(&found.row.run).map(drop).map_err(|error| journal_refused(globals, found.store.dir(), &error))
}

/// Whether a run is still to be gone on with: not finished, or stuck.
pub fn is_open(row: &RunRow) -> bool {
    !row.finished || row.outcome == Some(Outcome::Stuck)
}

/// The process that has a run now, where one has.
///
/// # Errors
/// The machine's records cannot be read.
pub fn holder_pid(globals: &Globals, row: &RunRow) -> Result<Option<u32>, Refusal> {
    let claims = claims(globals)?;
    let refused = |error| lock_refused(globals, &error);
    if !claims.is_held(&row.lock).map_err(refused)? {
        return Ok(None);
    }
    Ok(record_of(globals, row)?.map(|holder| holder.pid))
}

/// The machine's record of a run, while that is not settled.
///
/// # Errors
/// The machine's records cannot be read.
pub fn record_of(globals: &Globals, row: &RunRow) -> Result<Option<Holder>, Refusal> {
    let found = claims(globals)?.holder(&row.lock).map_err(|error| lock_refused(globals, &error))?;
    Ok(found.filter(|holder| holder.run == row.run))
}

/// The unsettled runs on the machine's records, oldest first, and before each whether a process has it now.
///
/// # Errors
/// The machine's records cannot be read.
pub fn unsettled_runs(globals: &Globals) -> Result<Vec<(bool, Holder)>, Refusal> {
    let claims = claims(globals)?;
    let refused = |error| lock_refused(globals, &error);
    let holders = holders(globals, &claims)?.into_iter().filter(|holder| !is_stale(globals, holder));
    holders.map(|holder| Ok((claims.is_held(&holder.lock).map_err(refused)?, holder))).collect()
}

/// Takes away the machine's records of runs that are over, or never began.
///
/// # Errors
/// The machine's records cannot be read, or not be removed.
pub fn forget_stale(globals: &Globals) -> Result<(), Refusal> {
    let claims = claims(globals)?;
    let refused = |error| lock_refused(globals, &error);
    for holder in holders(globals, &claims)?.into_iter().filter(|holder| is_stale(globals, holder)) {
        // Whoever holds the lock sees to the record.
        let Ok(held) = claims.acquire(&holder.lock, Duration::ZERO) else { continue };
        if held.record_of().map_err(refused)?.as_ref() == Some(&holder) {
            held.clear().map_err(refused)?;
        }
    }
    Ok(())
}

fn holders(globals: &Globals, claims: &Claims) -> Result<Vec<Holder>, Refusal> {
    claims.unsettled().map_err(|error| lock_refused(globals, &error))
}

/// Whether the run of a record is over, or never began: who ran it died before it took the record away.
fn is_stale(globals: &Globals, holder: &Holder) -> bool {
    on_record(globals, holder).is_ok_and(|found| found.is_none_or(|found| !is_open(&found.row)))
}

/// Whether a process has a run now.
///
/// # Errors
/// See [`holder_pid`].
pub fn is_running(globals: &Globals, row: &RunRow) -> Result<bool, Refusal> {
    holder_pid(globals, row).map(|pid| pid.is_some())
}

/// The run called `run`, in the state folder or on the machine's records.
///
/// # Errors
/// There is none.
pub fn find(globals: &Globals, run: &RunId) -> Result<Found, Refusal> {
    let unknown = || globals.refusal(Reason::UnknownRun, &[("run", run.as_str().into())]);
    if let Some(found) = store(globals)?.map(|store| in_store(globals, store, run)).transpose()?.flatten() {
        return Ok(found);
    }
    let holder = holders(globals, &claims(globals)?)?.into_iter().find(|holder| holder.run == *run).ok_or_else(unknown)?;
    on_record(globals, &holder)?.ok_or_else(unknown)
}

/// The only run that is open: in the state folder, else on the machine's records.
///
/// # Errors
/// There are several, or the state folder that was named does not exist.
pub fn find_open(globals: &Globals) -> Result<Option<Found>, Refusal> {
    let many = |runs: Vec<&str>| globals.refusal(Reason::ManyRuns, &[("runs", runs.join(", ").into())]);
    if let Some(store) = store(globals)? {
        let mut open: Vec<RunRow> = rows(globals, &store)?.into_iter().filter(is_open).collect();
        if open.len() > 1 {
            return Err(many(open.iter().map(|row| row.run.as_str()).collect()));
        }
        return Ok(open.pop().map(|row| Found { store, row }));
    }
    // Who names a folder means the runs in it, and no other run.
    if globals.state_dir.is_some() {
        return Err(globals.refusal(Reason::NoRun, &[]));
    }
    let holders: Vec<Holder> = holders(globals, &claims(globals)?)?.into_iter().filter(|holder| !is_stale(globals, holder)).collect();
    match holders.as_slice() {
        [] => Ok(None),
        [holder] => on_record(globals, holder),
        _ => Err(many(holders.iter().map(|holder| holder.run.as_str()).collect())),
    }
}

/// The run of a record, where it ever began.
fn on_record(globals: &Globals, holder: &Holder) -> Result<Option<Found>, Refusal> {
    match Store::open(&holder.state_dir) {
        Ok(store) => in_store(globals, store, &holder.run),
        Err(JournalError::NotFound(_)) => Err(state_gone(globals, holder)),
        Err(error) => Err(journal_refused(globals, &holder.state_dir, &error)),
    }
}

/// The same run as it is now.
///
/// # Errors
/// It is gone, or the journal cannot be read.
pub fn again(globals: &Globals, found: Found) -> Result<Found, Refusal> {
    let run = found.row.run;
    in_store(globals, found.store, &run)?.ok_or_else(|| globals.refusal(Reason::UnknownRun, &[("run", run.as_str().into())]))
}

fn in_store(globals: &Globals, store: Store, run: &RunId) -> Result<Option<Found>, Refusal> {
    let row = rows(globals, &store)?.into_iter().find(|row| row.run == *run);
    Ok(row.map(|row| Found { store, row }))
}

/// `path` from the root, whether it exists or not.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Who runs this, as the system tells.
pub fn user() -> String {
    whoami::username().unwrap_or_else(|_| "?".to_owned())
}

/// An error with its sources, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn machine_folder() -> PathBuf {
    // Tests have a machine of their own; in a release nobody can be led past the locks.
    #[cfg(debug_assertions)]
    if let Some(folder) = std::env::var_os("ALMAPLAN_MACHINE_DIR") {
        return PathBuf::from(folder);
    }
    Claims::default_folder()
}
