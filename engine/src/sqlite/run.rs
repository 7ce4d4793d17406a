//! The journal of one run that this process runs.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::error::failed;
use super::row::{self, Row};
use super::witness::{Keeper, Witness};
use crate::event::{Event, RunFact, RunId};
use crate::journal::{self, Demand, Journal, JournalError, Record};

/// The journal of one run, open for appending. An append is one transaction with one sync.
#[derive(Debug)]
pub struct RunJournal {
    connection: Connection,
    /// As it is stored, `finished` left aside.
    row: Row,
    witness: Keeper,
    poisoned: bool,
    /// The newest demand that was handed out.
    seen: i64,
    /// Demands that were handed out and are not marked as handled yet.
    handed_out: Vec<i64>,
    /// Appends of this process to this run.
    appends: u64,
    crash_after: Option<u64>,
}

impl RunJournal {
    pub(super) fn begin(
        connection: Connection,
        folder: &Path,
        run: &RunId,
        plan_name: &str,
        lock: &str,
        opened: &Event,
    ) -> Result<Self, JournalError> {
        let Event::Run(RunFact::Opened(facts)) = opened else { return Err(JournalError::NotOpened) };
        let row = Row {
            number: 0,
            run: run.clone(),
            plan_name: plan_name.to_owned(),
            lock: lock.to_owned(),
            started_at: facts.started_at.to_string(),
            outcome: None,
            finished: false,
            events: 0,
            head: journal::first_link(run),
        };
        let mut journal = Self::new(connection, Keeper::open(folder), row);
        journal.write(std::slice::from_ref(opened))?;
        Ok(journal)
    }

    pub(super) fn resume(connection: Connection, folder: &Path, run: &RunId) -> Result<(Self, Vec<Record>), JournalError> {
        let (row, records) = row::load(&connection, run, Witness::read(folder))?;
        // What a process that died left in the WAL may have come from pages whose sync had failed: copied into the database and
        // synced, it is durable before anything is built on it. Where readers keep it from being done, the WAL stays as it is.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed("sync the journal"))?;
        Ok((Self::new(connection, Keeper::open(folder), row), records))
    }

    fn new(connection: Connection, witness: Keeper, row: Row) -> Self {
        Self { connection, row, witness, poisoned: false, seen: 0, handed_out: Vec::new(), appends: 0, crash_after: None }
    }

    /// Whose journal this is.
    pub fn run(&self) -> &RunId {
        &self.row.run
    }

    /// Marks the run as finished: it is settled and its `finally` steps ended. The next append unmarks it.
    ///
    /// # Errors
    /// It is not settled, another process went on with it, or the journal cannot be written.
    pub fn finish(&mut self) -> Result<(), JournalError> {
        if self.row.outcome.is_none() {
            return Err(JournalError::NotSettled(self.row.run.clone()));
        }
        let before = self.row.clone();
        self.commit(|transaction| {
            still_ours(&before, transaction)?;
            Row { finished: true, ..before }.update(transaction).map_err(failed("finish the run"))
        })
    }

    /// Aborts this process right after its `n`-th successful append to this run, [`super::Store::begin`] counted. For tests of crashes.
    #[cfg(debug_assertions)]
    pub fn crash_after(&mut self, n: u64) {
        self.crash_after = Some(n);
        self.crash_if_due();
    }

    fn crash_if_due(&self) {
        if self.crash_after.is_some_and(|n| self.appends >= n) {
            std::process::abort();
        }
    }

    fn write(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let at = Timestamp::now().to_string();
        let mut next = Row { finished: false, ..self.row.clone() };
        let mut bodies = Vec::with_capacity(events.len());
        for event in events {
            next.events += 1;
            if !journal::opens_in_place(next.events, event) {
                return Err(JournalError::NotOpened);
            }
            let body = journal::body(event)?;
            next.head = journal::link(&next.head, &next.run, next.events, &at, &body);
            next.outcome = journal::settled_after(next.outcome, event);
            bodies.push((next.events, body, next.head));
        }
        let first = self.row.events == 0;
        let before = self.row.clone();
        let next = self.commit(|transaction| {
            if first {
                insert_new(&mut next, transaction)?;
            } else {
                still_ours(&before, transaction)?;
                next.update(transaction).map_err(failed("append"))?;
            }
            let mut insert = transaction
                .prepare_cached("INSERT INTO events (run, seq, at, body, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
                .map_err(failed("append"))?;
            for (seq, body, hash) in &bodies {
                insert.execute(params![next.run.as_str(), seq.cast_signed(), at, body, hash]).map_err(failed("append"))?;
            }
            Ok(next)
        })?;
        self.row = next;
        self.appends += 1;
        self.crash_if_due();
        self.witness.keep(&Witness { events: self.row.events, head: self.row.head });
        Ok(())
    }

    /// Does `work` and marks demands, in one transaction. After one that failed there is no other (rule 1).
    fn commit<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, JournalError>) -> Result<T, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        self.poisoned = true;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed("append"))?;
        let value = work(&transaction)?;
        for id in &self.handed_out {
            let mut mark = transaction.prepare_cached("UPDATE demands SET handled_at = ?2 WHERE id = ?1").map_err(failed("append"))?;
            mark.execute(params![id, Timestamp::now().to_string()]).map_err(failed("append"))?;
        }
        transaction.commit().map_err(failed("append"))?;
        self.handed_out.clear();
        self.poisoned = false;
        Ok(value)
    }
}

/// What is asked of `run` and has had no consequence yet, behind the demand number `seen`.
pub(super) fn open_demands(connection: &Connection, run: &RunId, seen: i64) -> Result<Vec<(i64, Demand)>, JournalError> {
    let failed = || failed("read what is asked of the run");
    let sql = "SELECT id, body FROM demands WHERE run = ?1 AND handled_at IS NULL AND id > ?2 ORDER BY id";
    let mut statement = connection.prepare_cached(sql).map_err(failed())?;
    let stored = statement.query_map(params![run.as_str(), seen], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
    stored
        .map(|demand| {
            let (id, body): (i64, String) = demand.map_err(failed())?;
            let what = |error| format!("demand {id} is none: {error}");
            let damaged = |error| JournalError::Damaged { run: Some(run.clone()), seq: None, what: what(error) };
            Ok((id, serde_json::from_str(&body).map_err(damaged)?))
        })
        .collect()
}

impl Journal for RunJournal {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if events.is_empty() {
            return Ok(());
        }
        self.write(events).inspect_err(|_| self.poisoned = true)
    }

    // What one call returned counts as handled with the next append, or else with the next call; a process that dies before that
    // leaves it to the one that resumes the run.
    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        if !self.handed_out.is_empty() {
            self.commit(|_| Ok(()))?;
        }
        let (demands, ids): (Vec<_>, Vec<_>) =
            open_demands(&self.connection, &self.row.run, self.seen)?.into_iter().map(|(id, demand)| (demand, id)).unzip();
        self.seen = ids.last().copied().unwrap_or(self.seen);
        self.handed_out = ids;
        Ok(demands)
    }
}

fn insert_new(row: &mut Row, transaction: &Connection) -> Result<(), JournalError> {
    if row::find(transaction, &row.run)?.is_some() {
        return Err(JournalError::RunExists(row.run.clone()));
    }
    row.insert(transaction).map_err(failed("begin the run"))
}

/// The run must end where we left it: two processes that append to the same one would both be wrong.
fn still_ours(before: &Row, transaction: &Connection) -> Result<(), JournalError> {
    match row::find(transaction, &before.run)? {
        Some(row) if row.events == before.events && row.head == before.head => Ok(()),
        Some(_) | None => Err(JournalError::Overtaken(before.run.clone())),
    }
}
