//! The tables, and the format's version.

use rusqlite::Connection;

use super::error::failed;
use crate::journal::{FORMAT, JournalError};

/// `alma`: tells other programs, and us, whose database this is.
const APPLICATION: i32 = 0x616C_6D61;

const TABLES: &str = "
CREATE TABLE runs (
  number     INTEGER PRIMARY KEY AUTOINCREMENT, -- newest last
  run        TEXT NOT NULL UNIQUE,
  plan_name  TEXT NOT NULL,
  lock       TEXT NOT NULL,
  started_at TEXT NOT NULL,
  outcome    TEXT,                              -- NULL: not settled
  finished   INTEGER NOT NULL,                  -- settled, and its finally steps ended
  events     INTEGER NOT NULL,                  -- how many
  head       BLOB NOT NULL,                     -- hash of the last one
  seal       BLOB NOT NULL                      -- hash of all columns before
) STRICT;
CREATE TABLE events (
  run  TEXT NOT NULL REFERENCES runs (run),
  seq  INTEGER NOT NULL,                        -- from 1, without gaps
  at   TEXT NOT NULL,
  body TEXT NOT NULL,                           -- JSON
  hash BLOB NOT NULL,                           -- of the previous hash, run, seq, at and body
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE demands (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  run        TEXT NOT NULL REFERENCES runs (run),
  at         TEXT NOT NULL,
  body       TEXT NOT NULL,                     -- JSON
  handled_at TEXT
) STRICT;
CREATE INDEX open_demands ON demands (run, id) WHERE handled_at IS NULL;
";

/// Makes the tables, within the caller's transaction.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Says that the state may hold what only this format knows, before any of it is written: an older almaplan refuses it from here on.
pub(super) fn upgrade(connection: &Connection) -> Result<(), JournalError> {
    match pragma(connection, "user_version")? < i64::from(FORMAT) {
        true => connection.pragma_update(None, "user_version", FORMAT).map_err(failed("write the state's format")),
        false => Ok(()),
    }
}

/// Whether nothing was ever made in this file.
pub(super) fn is_empty(connection: &Connection) -> Result<bool, JournalError> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(failed("read the state"))?;
    Ok(tables == 0 && pragma(connection, "application_id")? == 0 && pragma(connection, "user_version")? == 0)
}

/// Refuses what is not ours, or of a format that we do not know.
pub(super) fn check(connection: &Connection) -> Result<(), JournalError> {
    let damaged = |what: &str| JournalError::Damaged { run: None, seq: None, what: what.to_owned() };
    if pragma(connection, "application_id")? != i64::from(APPLICATION) {
        let query = "SELECT count(*) FROM sqlite_master WHERE name IN ('runs', 'events', 'demands')";
        let ours: i64 = connection.query_row(query, [], |row| row.get(0)).map_err(failed("read the state"))?;
        return Err(match (ours, connection.path()) {
            (3, _) => damaged("its application id is another one"),
            (_, _) if is_empty(connection)? => damaged("the database is empty"),
            (_, path) => JournalError::NotOurs(path.unwrap_or_default().into()),
        });
    }
    match u32::try_from(pragma(connection, "user_version")?) {
        Ok(1..=FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => Err(JournalError::NewerFormat { found, known: FORMAT }),
        Ok(_) | Err(_) => Err(damaged("its format version is none")),
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, JournalError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(failed("read the state"))
}
