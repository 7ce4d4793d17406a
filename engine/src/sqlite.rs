//! The journal in SQLite: one state folder with the runs of the plans near it.
//!
//! ```text
//!  .almaplan/state.db            runs, their events, what other processes ask of them
//!  .almaplan/runs/<run>/…        a run's own folder: logs, leftovers
//!  .almaplan/runs/<run>/head     how far its journal was known to be, at least
//! ```
//!
//! WAL and `synchronous = FULL`: one sync an append, and any SQLite tool can read while a run goes on. A row of `runs` is sealed
//! by a hash over all of its columns, the events of a run by their chain, whose head is in that row and is written with them, so
//! that a tail that is missing is damage too (rule 17). Reading creates and changes nothing; whoever writes a run is found out by
//! the next one who does (`Overtaken`), but keeping them apart is the business of [`crate::lock`].

mod connection;
mod error;
mod row;
mod run;
mod schema;
mod witness;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

pub use self::run::RunJournal;

use self::connection::{looking, reading, writer};
use self::error::{failed, is_busy};
use self::row::Row;
use self::witness::Witness;
use crate::event::{Event, Outcome, RunId};
use crate::journal::{Demand, JournalError, Record};
use crate::trust;
use crate::volume;

/// How long making a state waits for another process that makes the same one.
const CREATION_PATIENCE: Duration = Duration::from_secs(10);

/// The state of one folder.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// One run in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub run: RunId,
    /// `[plan] name`.
    pub plan_name: String,
    /// What it locked, canonical.
    pub lock: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// How it is settled; `None` while it is not, or not again.
    pub outcome: Option<Outcome>,
    /// How many events it has.
    pub events: u64,
    /// It is settled and its `finally` steps ended ([`RunJournal::finish`]).
    pub finished: bool,
}

impl Store {
    /// The state in `dir`, made where there is none yet, for its owner alone.
    ///
    /// # Errors
    /// The folder is on a network share, cannot be made, or holds a state that is newer, damaged or not ours.
    pub fn create(dir: &Path) -> Result<Self, JournalError> {
        // One that is there need not be written to know it; what is wrong with one, whoever makes it tells.
        if let Ok(store) = Self::open(dir) {
            return Ok(store);
        }
        let store = Self::at(dir)?;
        store.create_folder()?;
        // What was made meanwhile is not taken for ours.
        store.believe()?;
        let deadline = Instant::now() + CREATION_PATIENCE;
        loop {
            match store.create_tables() {
                // Two processes that switch a new file to WAL at once: SQLite refuses one of them without waiting.
                Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(error),
                Ok(()) => return Ok(store),
            }
        }
    }

    /// The state in `dir`, which must be there.
    ///
    /// # Errors
    /// There is none, it is on a network share, newer, damaged, not ours, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let store = Self::at(dir)?;
        if !store.file().try_exists().map_err(io("look for", &store.file()))? {
            return Err(JournalError::NotFound(store.dir));
        }
        // Who made it died before it held anything: there is none yet.
        if looking(&store.file(), schema::is_empty)? {
            store.refuse_lost_runs()?;
            return Err(JournalError::NotFound(store.dir));
        }
        reading(&store.file(), |_| Ok(()))?;
        Ok(store)
    }

    /// The folder, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of `run`, for logs and leftovers.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        self.dir.join("runs").join(run.as_str())
    }

    /// Begins `run`: it exists, with `opened` as its first event, once this returns. Makes its folder.
    ///
    /// # Errors
    /// There is such a run already, its id could not be a folder's name, `opened` is another event, or the journal cannot be written.
    pub fn begin(&self, run: &RunId, plan_name: &str, lock: &str, opened: Event) -> Result<RunJournal, JournalError> {
        if run.as_str().is_empty() || !run.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(JournalError::BadRunId(run.clone()));
        }
        let folder = self.run_folder(run);
        volume::create_private_dir(&folder).map_err(io("make the folder", &folder))?;
        RunJournal::begin(writer(&self.file())?, &folder, run, plan_name, lock, &opened)
    }

    /// Goes on with `run`: a journal to append to, and what it holds so far, verified.
    ///
    /// # Errors
    /// There is no such run, it does not verify (and was not touched), or the journal cannot be written.
    pub fn resume(&self, run: &RunId) -> Result<(RunJournal, Vec<Record>), JournalError> {
        // First as a reader: a journal that does not verify is left as it is found.
        self.read(run)?;
        RunJournal::resume(writer(&self.file())?, &self.run_folder(run), run)
    }

    /// What `run` holds, verified. Creates and changes nothing, also while another process writes.
    ///
    /// # Errors
    /// There is no such run, it does not verify, or it cannot be read.
    pub fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        // The witness first: the journal may go on meanwhile, and must have at least this.
        let witness = Witness::read(&self.run_folder(run));
        reading(&self.file(), |connection| Ok(row::load(connection, run, witness)?.1))
    }

    /// All runs, newest first. Creates and changes nothing, also while another process writes. Events are not verified here.
    ///
    /// # Errors
    /// A row does not verify or is gone, or the journal cannot be read.
    pub fn runs(&self) -> Result<Vec<RunRow>, JournalError> {
        // The folders first: what has a witness by then has a row.
        let folders = self.run_folders()?;
        let rows = reading(&self.file(), row::all)?;
        for run in folders.into_iter().filter(|run| rows.iter().all(|row| row.run != *run)) {
            // A run that never began has a folder at most. One that did must not be taken for it: it may be half done.
            if Witness::read(&self.run_folder(&run)).is_some() {
                self.read(&run)?;
            }
        }
        rows.iter().map(Row::told).collect()
    }

    /// Asks something of `run`, durably, for the process that runs it or will: see [`crate::journal::Journal::demands`]. Returns the
    /// demand's number; `None` where it is a second answer about a step, of which the first one has had no consequence yet: then
    /// nothing was asked.
    ///
    /// # Errors
    /// There is no such run, or the journal cannot be written.
    pub fn demand(&self, run: &RunId, demand: &Demand) -> Result<Option<u64>, JournalError> {
        self.ask(run, demand, None)
    }

    /// The same by somebody who has seen so many events of `run`, and asks only if there are no more.
    ///
    /// # Errors
    /// As [`Store::demand`]; [`JournalError::Overtaken`] where something has happened since.
    pub fn demand_as_of(&self, run: &RunId, demand: &Demand, events: usize) -> Result<Option<u64>, JournalError> {
        self.ask(run, demand, Some(events))
    }

    fn ask(&self, run: &RunId, demand: &Demand, seen: Option<usize>) -> Result<Option<u64>, JournalError> {
        let failed = || failed("ask something of the run");
        let body = serde_json::to_string(demand).map_err(JournalError::Unkeepable)?;
        let mut connection = writer(&self.file())?;
        // Two who answer at the same time: one of them is first.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let row = row::find(&transaction, run)?.ok_or_else(|| JournalError::NoSuchRun(run.clone()))?;
        if seen.is_some_and(|seen| u64::try_from(seen) != Ok(row.events)) {
            return Err(JournalError::Overtaken(run.clone()));
        }
        let answered =
            |known: Demand| matches!((&known, demand), (Demand::Resolve { step: a, .. }, Demand::Resolve { step: b, .. }) if a == b);
        if run::open_demands(&transaction, run, 0)?.into_iter().any(|(_, known)| answered(known)) {
            return Ok(None);
        }
        let values = params![run.as_str(), Timestamp::now().to_string(), body];
        transaction.execute("INSERT INTO demands (run, at, body) VALUES (?1, ?2, ?3)", values).map_err(failed())?;
        let number = transaction.last_insert_rowid().cast_unsigned();
        transaction.commit().map_err(failed())?;
        Ok(Some(number))
    }

    /// Does for `run` what [`RunJournal::finish`] does, where its process died before that.
    ///
    /// # Errors
    /// There is no such run, it does not verify, it is not settled, or the journal cannot be written.
    pub fn finish(&self, run: &RunId) -> Result<(), JournalError> {
        let failed = || failed("finish the run");
        let mut connection = writer(&self.file())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let mut row = row::find(&transaction, run)?.ok_or_else(|| JournalError::NoSuchRun(run.clone()))?;
        if row.outcome.is_none() {
            return Err(JournalError::NotSettled(run.clone()));
        }
        row.finished = true;
        row.update(&transaction).map_err(failed())?;
        transaction.commit().map_err(failed())
    }

    /// Takes a settled run out of the history, with its folder. Whoever is killed meanwhile leaves a run that can be forgotten again.
    ///
    /// # Errors
    /// There is no such run, it is not finished, its folder cannot be removed, or the journal cannot be written.
    pub fn forget(&self, run: &RunId) -> Result<(), JournalError> {
        let failed = || failed("forget the run");
        let finished = reading(&self.file(), |connection| row::find(connection, run))?.map(|row| row.finished);
        if !finished.ok_or_else(|| JournalError::NoSuchRun(run.clone()))? {
            return Err(JournalError::NotSettled(run.clone()));
        }
        // The folder first: a row without one is a run whose logs are gone, a folder without its row would be damage.
        let folder = self.run_folder(run);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove the folder", &folder)(error)),
            Ok(()) | Err(_) => {}
        }
        let mut connection = writer(&self.file())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        for table in ["demands", "events", "runs"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run.as_str()]).map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    /// Gives the room that forgotten runs left in the database back to the disk.
    ///
    /// # Errors
    /// Another process uses the database, or there is no room for the copy of it that this takes.
    pub fn compact(&self) -> Result<(), JournalError> {
        writer(&self.file())?.execute_batch("VACUUM").map_err(failed("compact the journal"))
    }

    fn at(dir: &Path) -> Result<Self, JournalError> {
        let dir = std::path::absolute(dir).map_err(io("find", dir))?;
        match volume::network_share(&dir).map_err(io("look at the file system of", &dir))? {
            Some(filesystem) => Err(JournalError::NetworkShare { folder: dir, filesystem }),
            None => {
                let store = Self { dir };
                store.believe()?;
                Ok(store)
            }
        }
    }

    /// Rule 23: all that SQLite will open. The only way to a [`Store`] leads through here.
    fn believe(&self) -> Result<(), JournalError> {
        trust::folder(&self.dir).map_err(JournalError::Distrusted)?;
        let files = ["state.db", "state.db-wal", "state.db-shm", "state.db-journal"].map(|name| self.dir.join(name));
        files.iter().try_for_each(|file| trust::file(file).map_err(JournalError::Distrusted))
    }

    fn file(&self) -> PathBuf {
        self.dir.join("state.db")
    }

    fn create_folder(&self) -> Result<(), JournalError> {
        let missing: Vec<&Path> = self.dir.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
        volume::create_private_dir(&self.dir).map_err(io("make the folder", &self.dir))?;
        match volume::create_private_file(&self.file()) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io("make", &self.file())(error)),
            Ok(_) | Err(_) => {}
        }
        // Names must survive a power cut as well as the rows do.
        let parents = missing.iter().filter_map(|made| made.parent());
        parents.chain([self.dir.as_path()]).try_for_each(|folder| volume::sync_dir(folder).map_err(io("sync the folder", folder)))
    }

    fn create_tables(&self) -> Result<(), JournalError> {
        let mut connection = connection::create(&self.file())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed("make the state"))?;
        if schema::is_empty(&transaction)? {
            self.refuse_lost_runs()?;
            schema::create(&transaction).map_err(failed("make the state"))?;
        }
        schema::check(&transaction)?;
        transaction.commit().map_err(failed("make the state"))
    }

    /// The runs that have a folder, whether they ever began or not.
    fn run_folders(&self) -> Result<Vec<RunId>, JournalError> {
        let runs = self.dir.join("runs");
        let entries = match std::fs::read_dir(&runs) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io("look into", &runs))?,
        };
        let name = |entry: std::fs::DirEntry| RunId::new(entry.file_name().to_string_lossy());
        entries.map(|entry| entry.map(name).map_err(io("look into", &runs))).collect()
    }

    /// An empty database beside folders of runs was not left by a process that died while it made the state.
    fn refuse_lost_runs(&self) -> Result<(), JournalError> {
        match self.run_folders()?.len() {
            0 => Ok(()),
            _ => Err(JournalError::Damaged { run: None, seq: None, what: "the database is empty, but there were runs".to_owned() }),
        }
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { doing, path, source }
}

/// One transaction in which all reads see the same state.
fn snapshot(connection: &Connection) -> Result<rusqlite::Transaction<'_>, JournalError> {
    connection.unchecked_transaction().map_err(failed("read the journal"))
}

#[cfg(test)]
mod tests;
