"""Faults that a release carries on purpose, so that failing deploys can be tried.

They are read from `faults.json` beside the code, so a faulty release takes its faults
along and the release before it has none:

    no_start          fails with a traceback at start
    slow_start_s      waits this many seconds before it listens
    login_500         answers /login with 500
    status_404        answers /api/status with 404
    traceback_in_log  logs an exception at start, and runs on
    die_after_s       dies this many seconds after it began to listen
    ignore_stop       ignores SIGINT and SIGTERM
    tests_fail        its tests fail
"""

import json
import os
import threading
import time
from pathlib import Path

FAULTS = {"no_start", "slow_start_s", "login_500", "status_404", "traceback_in_log", "die_after_s", "ignore_stop", "tests_fail"}


def read(code):
    """The faults of the release in the folder `code`; none where it has no `faults.json`."""
    try:
        written = (Path(code) / "faults.json").read_bytes()
    except FileNotFoundError:
        return {}
    # As bytes, because `echo … >` writes UTF-16 in Windows PowerShell.
    faults = json.loads(written)
    unknown = set(faults) - FAULTS
    if unknown:
        raise ValueError("faults.json has unknown faults: " + ", ".join(sorted(unknown)))
    return faults


def at_start(faults, log):
    """What goes wrong before the application listens."""
    if faults.get("no_start"):
        raise RuntimeError("this release does not start (faults.json: no_start)")
    if faults.get("traceback_in_log"):
        try:
            raise RuntimeError("this release logs a traceback (faults.json: traceback_in_log)")
        except RuntimeError:
            log.exception("Falha ao carregar o cardápio")
    time.sleep(faults.get("slow_start_s", 0))


def while_running(faults):
    """What goes wrong once it listens."""
    if "die_after_s" in faults:
        death = threading.Timer(faults["die_after_s"], os._exit, args=(1,))
        death.daemon = True
        death.start()
