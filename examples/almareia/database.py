"""The SQLite database: one file, in WAL mode, in the data folder."""

import secrets
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS heartbeats (id INTEGER PRIMARY KEY, at TEXT NOT NULL, pid INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    customer TEXT NOT NULL,
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    created_at TEXT NOT NULL
);
"""


def now():
    """The current time as the database keeps it: RFC 3339, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def connect(data):
    """A connection to the database in the folder `data`. Whoever opens it closes it."""
    connection = sqlite3.connect(str(Path(data) / "almareia.db"), timeout=10, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def prepare(data):
    """Makes the tables that are missing and returns the secret that signs sessions, which survives restarts."""
    connection = connect(data)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        with connection:
            connection.execute("INSERT OR IGNORE INTO settings VALUES ('session_secret', ?)", (secrets.token_hex(32),))
        return connection.execute("SELECT value FROM settings WHERE name = 'session_secret'").fetchone()["value"]
    finally:
        connection.close()
