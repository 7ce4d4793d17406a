//! Which run is meant: by its id or a part of it, as the last one, as the only one that is open; in the state folder, or on the
//! machine's records of runs that are not settled.

use std::time::{Duration, Instant};

use crate::event::{Outcome, RunId};
use crate::journal::{JournalError, Record};
use crate::lock::{Held, LockDirectory, LockError, LockHolder};
use crate::registry::Registry;
use crate::sqlite::{RunRow, Store};

use super::Runs;
use super::error::RunError;
use super::next::{NextCommand, running_commands};
use super::replay::Replay;

/// How long whoever takes a lock may need to put itself on record.
pub(super) const ON_RECORD_WITHIN: Duration = Duration::from_secs(5);

/// What names the newest run.
pub(super) const LAST: &str = "last";

/// A run, and the state folder that it is in.
#[derive(Debug, Clone)]
pub struct FoundRun {
    /// The state folder.
    pub store: Store,
    /// The run, as the history has it.
    pub row: RunRow,
}

impl FoundRun {
    /// All that happened to it.
    ///
    /// # Errors
    /// Its journal is damaged or cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, RunError> {
        self.store.read(&self.row.run).map_err(|error| journal(&self.store, error))
    }

    /// What its journal tells.
    ///
    /// # Errors
    /// Its journal is damaged, or does not fit the plan that it travels with.
    pub fn replay(&self, registry: &Registry) -> Result<Replay, RunError> {
        Replay::of(self.records()?, registry)
    }

    /// Whether it is still to be gone on with, as the history has it: not finished, or stuck.
    pub fn is_open(&self) -> bool {
        is_open(&self.row)
    }
}

impl Runs {
    /// The store of the state folder, where there is one.
    ///
    /// # Errors
    /// There is one that cannot be used.
    pub fn store(&self) -> Result<Option<Store>, RunError> {
        match Store::open(&self.state_dir) {
            Ok(store) => Ok(Some(store)),
            Err(JournalError::NotFound(_)) => Ok(None),
            // Another user's is none of ours. Who named it is told so.
            Err(JournalError::Distrusted(distrust)) if !self.only_here && distrust.owner().is_some() => {
                tracing::warn!(%distrust, "a state that is not looked at");
                Ok(None)
            }
            Err(source) => Err(RunError::Journal { folder: self.state_dir.clone(), source }),
        }
    }

    /// All runs of the state folder, newest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn history(&self) -> Result<Option<Vec<FoundRun>>, RunError> {
        let Some(store) = self.store()? else { return Ok(None) };
        Ok(Some(rows(&store)?.into_iter().map(|row| FoundRun { store: store.clone(), row }).collect()))
    }

    /// The run that `run` means: its id, a part that only one id has, or `last`. What is in the state folder goes before what is on the
    /// machine's records.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find(&self, run: &RunId) -> Result<FoundRun, RunError> {
        let history = self.history()?.unwrap_or_default();
        if let Some(found) = history.iter().find(|found| found.row.run == *run) {
            return Ok(found.clone());
        }
        if run.as_str() == LAST
            && let Some(newest) = history.first()
        {
            return Ok(newest.clone());
        }
        let holders = self.holders()?;
        if let Some(holder) = holders.iter().find(|holder| holder.run == *run) {
            return self.on_record(holder)?.ok_or_else(|| RunError::UnknownRun(run.clone()));
        }
        if run.as_str() == LAST {
            let newest = holders.iter().rev().find(|holder| !self.is_stale(holder)).ok_or(RunError::NoRun)?;
            return self.on_record(newest)?.ok_or(RunError::NoRun);
        }
        let is_part = |id: &RunId| id.as_str().contains(run.as_str());
        let parts: Vec<&FoundRun> = history.iter().filter(|found| is_part(&found.row.run)).collect();
        match parts[..] {
            [] => {}
            [only] => return Ok(only.clone()),
            _ => return Err(RunError::ManyRuns(parts.iter().map(|found| found.row.run.clone()).collect())),
        }
        let parts: Vec<&LockHolder> = holders.iter().filter(|holder| is_part(&holder.run) && !self.is_stale(holder)).collect();
        match parts[..] {
            [] => Err(RunError::UnknownRun(run.clone())),
            [only] => self.on_record(only)?.ok_or_else(|| RunError::UnknownRun(run.clone())),
            _ => Err(RunError::ManyRuns(parts.iter().map(|holder| holder.run.clone()).collect())),
        }
    }

    /// The newest run: of the state folder, else the only open one on the machine's records.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find_newest(&self) -> Result<FoundRun, RunError> {
        match self.history()? {
            Some(history) => history.into_iter().next().ok_or(RunError::NoRun),
            None => self.find_open()?.ok_or(RunError::NoRun),
        }
    }

    /// The run that `run` means (see [`Runs::find`]), and the newest where nothing is said.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find_or_newest(&self, run: Option<&RunId>) -> Result<FoundRun, RunError> {
        run.map_or_else(|| self.find_newest(), |run| self.find(run))
    }

    /// The newest run of the state folder that succeeded.
    ///
    /// # Errors
    /// There is none.
    pub fn find_newest_success(&self) -> Result<FoundRun, RunError> {
        let history = self.history()?.unwrap_or_default();
        history.into_iter().find(|found| is_success(&found.row)).ok_or(RunError::NoRun)
    }

    /// The only run that is open: in the state folder, else on the machine's records.
    ///
    /// # Errors
    /// There are several, or the only state folder that is meant does not exist.
    pub fn find_open(&self) -> Result<Option<FoundRun>, RunError> {
        if let Some(history) = self.history()? {
            let mut open: Vec<FoundRun> = history.into_iter().filter(FoundRun::is_open).collect();
            if open.len() > 1 {
                return Err(RunError::ManyRuns(open.into_iter().map(|found| found.row.run).collect()));
            }
            return Ok(open.pop());
        }
        if self.only_here {
            return Err(RunError::NoRun);
        }
        let holders: Vec<LockHolder> = self.holders()?.into_iter().filter(|holder| !self.is_stale(holder)).collect();
        match holders.as_slice() {
            [] => Ok(None),
            [holder] => self.on_record(holder),
            _ => Err(RunError::ManyRuns(holders.into_iter().map(|holder| holder.run).collect())),
        }
    }

    /// The newest run after `found` of the same lock that put something in place, or may have.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn newer_of(&self, found: &FoundRun) -> Result<Option<RunId>, RunError> {
        let rows = rows(&found.store)?;
        let mut newer = rows.into_iter().take_while(|row| row.run != found.row.run);
        let put_something = |row: &RunRow| row.lock == found.row.lock && row.outcome != Some(Outcome::Compensated);
        Ok(newer.find(put_something).map(|row| row.run))
    }

    /// The process that has a run now, where one has.
    ///
    /// # Errors
    /// The machine's records cannot be read.
    pub fn process_of(&self, row: &RunRow) -> Result<Option<u32>, RunError> {
        if !self.locks()?.is_held(&row.lock).map_err(|error| self.lock_error(error))? {
            return Ok(None);
        }
        Ok(self.record_of(row)?.map(|holder| holder.pid))
    }

    /// The machine's record of a run, while that is not settled.
    ///
    /// # Errors
    /// The machine's records cannot be read.
    pub fn record_of(&self, row: &RunRow) -> Result<Option<LockHolder>, RunError> {
        let found = self.locks()?.holder(&row.lock).map_err(|error| self.lock_error(error))?;
        Ok(found.filter(|holder| holder.run == row.run))
    }

    /// The unsettled runs on the machine's records, oldest first, and before each whether a process has it now.
    ///
    /// # Errors
    /// The machine's records cannot be read.
    pub fn unsettled(&self) -> Result<Vec<(bool, LockHolder)>, RunError> {
        let locks = self.locks()?;
        let holders = self.holders()?.into_iter().filter(|holder| !self.is_stale(holder));
        holders.map(|holder| Ok((locks.is_held(&holder.lock).map_err(|error| self.lock_error(error))?, holder))).collect()
    }

    /// Takes away the machine's records of runs that are over, or never began.
    ///
    /// # Errors
    /// The machine's records cannot be read, or not be removed.
    pub fn forget_stale(&self) -> Result<(), RunError> {
        let locks = self.locks()?;
        for holder in self.holders()?.into_iter().filter(|holder| self.is_stale(holder)) {
            // Whoever holds the lock sees to the record.
            let Ok(held) = locks.acquire(&holder.lock, Duration::ZERO) else { continue };
            if held.record_of().map_err(|error| self.lock_error(error))?.as_ref() == Some(&holder) {
                held.clear().map_err(|error| self.lock_error(error))?;
            }
        }
        Ok(())
    }

    /// The machine's locks and records.
    pub(super) fn locks(&self) -> Result<LockDirectory, RunError> {
        LockDirectory::at(&self.lock_folder).map_err(|error| self.lock_error(error))
    }

    /// Takes `lock`, trying for `timeout`.
    #[tracing::instrument(name = "lock", level = "debug", skip(self))]
    pub(super) fn acquire(&self, lock: &str, timeout: Duration) -> Result<Held, RunError> {
        let locks = self.locks()?;
        let (began, patient) = (Instant::now(), timeout.saturating_add(ON_RECORD_WITHIN));
        let mut patience = timeout;
        let is_alive = |holder: &LockHolder| self.host.is_alive(holder.pid);
        loop {
            match locks.acquire(lock, patience) {
                // Who holds it is not on record yet, or its predecessor still is: a process that is at it says so in a moment.
                Err(LockError::Busy { holder, by })
                    if !by.as_ref().is_some_and(|by| by.is_foreign)
                        && !holder.as_deref().is_some_and(is_alive)
                        && began.elapsed() < patient =>
                {
                    patience = Duration::ZERO;
                }
                Err(error) => {
                    tracing::debug!(%error, "not taken");
                    return Err(self.refused_lock(lock, error));
                }
                Ok(held) => {
                    tracing::debug!("taken");
                    return Ok(held);
                }
            }
        }
    }

    pub(super) fn lock_error(&self, error: LockError) -> RunError {
        self.refused_lock("", error)
    }

    fn refused_lock(&self, lock: &str, error: LockError) -> RunError {
        match error {
            LockError::Busy { holder: None, by: Some(by) } => {
                RunError::Occupied { lock: lock.to_owned(), user: by.user, pid: Some(by.pid) }
            }
            LockError::Busy { holder, .. } => {
                let next = holder.as_ref().map(|holder| self.of_a_running(holder)).unwrap_or_default();
                RunError::Held { holder, next }
            }
            LockError::Distrusted(distrust) => RunError::Distrusted(distrust),
            source => RunError::Lock { folder: self.lock_folder.clone(), source },
        }
    }

    /// What can be done with a run that a process has, where its state may be looked into.
    fn of_a_running(&self, holder: &LockHolder) -> Vec<NextCommand> {
        let replay = Store::open(&holder.state_dir).ok().and_then(|store| {
            let found = in_store(&store, &holder.run).ok().flatten()?;
            found.replay(&self.registry).ok()
        });
        let commands = |replay: Replay| running_commands(&holder.run, &replay.saga, replay.questions(true).collect::<Vec<_>>());
        replay.map(commands).unwrap_or_default()
    }

    /// The run on the machine's records whose id is `meant`, where it ever began.
    pub(super) fn find_on_record(&self, meant: impl Fn(&RunId) -> bool) -> Result<Option<FoundRun>, RunError> {
        match self.holders()?.iter().find(|holder| meant(&holder.run)) {
            Some(holder) => self.on_record(holder),
            None => Ok(None),
        }
    }

    fn holders(&self) -> Result<Vec<LockHolder>, RunError> {
        self.locks()?.unsettled().map_err(|error| self.lock_error(error))
    }

    /// Whether the run of a record is over, or never began: who ran it died before it took the record away.
    fn is_stale(&self, holder: &LockHolder) -> bool {
        self.on_record(holder).is_ok_and(|found| found.is_none_or(|found| !found.is_open()))
    }

    /// The run of a record, where it ever began.
    pub(super) fn on_record(&self, holder: &LockHolder) -> Result<Option<FoundRun>, RunError> {
        match Store::open(&holder.state_dir) {
            Ok(store) => in_store(&store, &holder.run),
            Err(JournalError::NotFound(_)) => Err(self.state_gone(holder)),
            Err(source) => Err(RunError::Journal { folder: holder.state_dir.clone(), source }),
        }
    }

    pub(super) fn state_gone(&self, holder: &LockHolder) -> RunError {
        match self.locks() {
            Ok(locks) => RunError::StateGone { holder: Box::new(holder.clone()), record: locks.record_file(&holder.lock) },
            Err(error) => error,
        }
    }
}

/// All runs of a store, newest first.
pub(super) fn rows(store: &Store) -> Result<Vec<RunRow>, RunError> {
    store.runs().map_err(|error| journal(store, error))
}

/// The run called `run` in a store, where there is one.
pub(super) fn in_store(store: &Store, run: &RunId) -> Result<Option<FoundRun>, RunError> {
    let row = rows(store)?.into_iter().find(|row| row.run == *run);
    Ok(row.map(|row| FoundRun { store: store.clone(), row }))
}

/// An error of a store.
pub(super) fn journal(store: &Store, source: JournalError) -> RunError {
    match source {
        JournalError::NoSuchRun(run) => RunError::UnknownRun(run),
        source => RunError::Journal { folder: store.dir().to_owned(), source },
    }
}

/// Whether a run is still to be gone on with: not finished, or stuck.
pub(super) fn is_open(row: &RunRow) -> bool {
    !row.finished || row.outcome == Some(Outcome::Stuck)
}

pub(super) fn is_success(row: &RunRow) -> bool {
    matches!(row.outcome, Some(Outcome::Succeeded | Outcome::Warned))
}
