"""The scheduled work: a sign of life in the database every few seconds.

Only `serve.py` starts it, and only once the port is its own: two schedulers must never run on one database.
"""

import logging
import os

import database

EVERY_S = 3
KEEP = 1000

log = logging.getLogger("almareia.heartbeat")


class Heartbeat:
    """A background scheduler with one job. It keeps its own connection open, as long-lived jobs do."""

    def __init__(self, data):
        # Imported here so that the tests, which schedule nothing, do not wait for it.
        from apscheduler.schedulers.background import BackgroundScheduler

        self.connection = database.connect(data)
        self.scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool", "max_workers": 1}})
        self.scheduler.add_job(self.beat, "interval", seconds=EVERY_S, coalesce=True, misfire_grace_time=None)

    @property
    def running(self):
        return self.scheduler.running

    def start(self):
        self.beat()
        self.scheduler.start()

    def stop(self):
        """Waits for a beat that is under way."""
        self.scheduler.shutdown(wait=True)
        self.connection.close()

    def beat(self):
        with self.connection:
            row = self.connection.execute("INSERT INTO heartbeats (at, pid) VALUES (?, ?)", (database.now(), os.getpid()))
            self.connection.execute("DELETE FROM heartbeats WHERE id <= ?", (row.lastrowid - KEEP,))
        log.info("batimento %d", row.lastrowid)
