//! The row of a run and the rows of its events: read, verified, sealed.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::failed;
use super::witness::Witness;
use super::{RunRow, snapshot};
use crate::event::{Outcome, RunId};
use crate::journal::{self, JournalError, Link, Record};

const COLUMNS: &str = "number, run, plan_name, lock, started_at, outcome, finished, events, head, seal";

/// A row of `runs`.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) run: RunId,
    pub(super) plan_name: String,
    pub(super) lock: String,
    pub(super) started_at: String,
    pub(super) outcome: Option<Outcome>,
    pub(super) finished: bool,
    pub(super) events: u64,
    pub(super) head: Link,
}

impl Row {
    /// Hash over all columns but itself. A checksum, not a secret: it finds rot and careless hands.
    fn seal(&self) -> Link {
        let mut hash = blake3::Hasher::new_derive_key("almaplan journal format 1, row of a run");
        hash.update(&self.number.to_le_bytes());
        for text in [self.run.as_str(), &self.plan_name, &self.lock, &self.started_at, self.outcome.map_or("", Outcome::as_str)] {
            journal::update_sized(&mut hash, text.as_bytes());
        }
        hash.update(&[u8::from(self.finished)]);
        hash.update(&self.events.to_le_bytes());
        hash.update(&self.head);
        *hash.finalize().as_bytes()
    }

    /// Inserts it, and gives it its number.
    pub(super) fn insert(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO runs (run, plan_name, lock, started_at, finished, events, head, seal) VALUES (?1, ?2, ?3, ?4, 0, 0, x'', x'')";
        connection.execute(sql, params![self.run.as_str(), self.plan_name, self.lock, self.started_at])?;
        self.number = connection.last_insert_rowid();
        self.update(connection)
    }

    /// Writes what changes in the life of a run.
    pub(super) fn update(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE runs SET outcome = ?2, finished = ?3, events = ?4, head = ?5, seal = ?6 WHERE number = ?1";
        let outcome = self.outcome.map(Outcome::as_str);
        let values = params![self.number, outcome, self.finished, self.events.cast_signed(), self.head, self.seal()];
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// As the history shows it.
    pub(super) fn told(&self) -> Result<RunRow, JournalError> {
        Ok(RunRow {
            run: self.run.clone(),
            plan_name: self.plan_name.clone(),
            lock: self.lock.clone(),
            started_at: self.started_at.parse().map_err(|_| damaged(&self.run, None, "its start is not a time"))?,
            outcome: self.outcome,
            events: self.events,
            finished: self.finished,
        })
    }
}

/// The row of `run`, if there is such a run. Its seal is verified.
pub(super) fn find(connection: &Connection, run: &RunId) -> Result<Option<Row>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM runs WHERE run = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(failed("read the run"))?;
    let found = statement.query_row([run.as_str()], decode).optional().map_err(failed("read the run"))?;
    let Some(row) = found.map(Sealed::open).transpose()? else { return Ok(None) };
    // An index that leads to the wrong row is damage, too.
    if row.run != *run {
        return Err(damaged(run, None, "its row is another one's"));
    }
    Ok(Some(row))
}

/// All rows, newest first: by their numbers, as a clock may be set back (rule 15). Their seals are verified.
pub(super) fn all(connection: &Connection) -> Result<Vec<Row>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM runs ORDER BY number DESC");
    let mut statement = connection.prepare(&sql).map_err(failed("read the runs"))?;
    let rows = statement.query_map([], decode).map_err(failed("read the runs"))?;
    rows.map(|row| row.map_err(failed("read the runs"))?.open()).collect()
}

/// The row of `run` and its events, verified as one, and against what is known of it from elsewhere (rule 17).
pub(super) fn load(connection: &Connection, run: &RunId, witness: Option<Witness>) -> Result<(Row, Vec<Record>), JournalError> {
    let snapshot = snapshot(connection)?;
    let Some(row) = find(&snapshot, run)? else {
        let sql = "SELECT count(*) FROM events WHERE run = ?1";
        let orphans: i64 = snapshot.query_row(sql, [run.as_str()], |row| row.get(0)).map_err(failed("read the events"))?;
        let was_there = orphans > 0 || witness.is_some();
        return Err(if was_there { damaged(run, None, "its row is gone") } else { JournalError::NoSuchRun(run.clone()) });
    };
    let records = events(&snapshot, &row, witness)?;
    let settled = records.iter().fold(None, |outcome, record| journal::settled_after(outcome, &record.event));
    if settled != row.outcome {
        return Err(damaged(run, None, "its outcome is not the one of its events"));
    }
    Ok((row, records))
}

fn events(connection: &Connection, row: &Row, witness: Option<Witness>) -> Result<Vec<Record>, JournalError> {
    let mut statement =
        connection.prepare("SELECT seq, at, body, hash FROM events WHERE run = ?1 ORDER BY seq").map_err(failed("read the events"))?;
    let mut rows = statement.query([row.run.as_str()]).map_err(failed("read the events"))?;
    let mut chain = Chain { run: &row.run, head: journal::first_link(&row.run), records: Vec::new() };
    while let Some(stored) = rows.next().map_err(failed("read the events"))? {
        chain.take(stored).map_err(|error| at(error, &row.run, chain.len() + 1))?;
        if witness.is_some_and(|witness| witness.events == chain.len() && witness.head != chain.head) {
            return Err(damaged(&row.run, Some(chain.len()), "it is not the one that the run's folder knows"));
        }
    }
    let (found, wanted) = (chain.len(), witness.map_or(row.events, |witness| witness.events.max(row.events)));
    if found != wanted {
        return Err(damaged(&row.run, None, format!("it has {found} events where {wanted} were written")));
    }
    if chain.head != row.head {
        return Err(damaged(&row.run, Some(found), "its hash is not the one that the run ends with"));
    }
    Ok(chain.records)
}

struct Chain<'a> {
    run: &'a RunId,
    head: Link,
    records: Vec<Record>,
}

impl Chain<'_> {
    fn len(&self) -> u64 {
        self.records.len() as u64
    }

    fn take(&mut self, stored: &rusqlite::Row<'_>) -> Result<(), JournalError> {
        let seq = self.len() + 1;
        let wrong = |what: String| damaged(self.run, Some(seq), what);
        let get =
            || -> rusqlite::Result<(i64, String, String, Link)> { Ok((stored.get(0)?, stored.get(1)?, stored.get(2)?, stored.get(3)?)) };
        let (number, at, body, hash) = get().map_err(failed("read the event"))?;
        if number != seq.cast_signed() {
            return Err(wrong(format!("it is missing; number {number} follows")));
        }
        if journal::link(&self.head, self.run, seq, &at, &body) != hash {
            return Err(wrong("it is not what was written".to_owned()));
        }
        let event = journal::parse(&body).map_err(|error| wrong(format!("it is not an event: {error}")))?;
        let at = at.parse().map_err(|error| wrong(format!("its time is none: {error}")))?;
        if !journal::opens_in_place(seq, &event) {
            return Err(wrong("a run is opened by its first event, and only by it".to_owned()));
        }
        self.head = hash;
        self.records.push(Record { seq, at, event });
        Ok(())
    }
}

struct Sealed {
    row: Row,
    seal: Link,
}

impl Sealed {
    fn open(self) -> Result<Row, JournalError> {
        if self.row.seal() != self.seal {
            return Err(damaged(&self.row.run, None, "its row is not what was written"));
        }
        Ok(self.row)
    }
}

fn decode(row: &rusqlite::Row<'_>) -> rusqlite::Result<Sealed> {
    let seal = row.get(9)?;
    let outcome: Option<String> = row.get(5)?;
    let outcome = outcome.map(|text| serde_json::from_value(text.into())).transpose();
    let row = Row {
        number: row.get(0)?,
        run: RunId::new(row.get::<_, String>(1)?),
        plan_name: row.get(2)?,
        lock: row.get(3)?,
        started_at: row.get(4)?,
        outcome: outcome.map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, Box::new(error)))?,
        finished: row.get(6)?,
        events: row.get::<_, i64>(7)?.cast_unsigned(),
        head: row.get(8)?,
    };
    Ok(Sealed { row, seal })
}

fn damaged(run: &RunId, seq: Option<u64>, what: impl Into<String>) -> JournalError {
    JournalError::Damaged { run: Some(run.clone()), seq, what: what.into() }
}

/// Adds the place to damage that SQLite found.
fn at(error: JournalError, run: &RunId, seq: u64) -> JournalError {
    match error {
        JournalError::Damaged { run: None, seq: None, what } => damaged(run, Some(seq), what),
        error => error,
    }
}
