"""Supervises one service, and answers as `systemctl`, `sc.exe` or `schtasks.exe` would, whichever it is called as.

Beside it lie `almareia.service`, a real unit file, and `memory.json`: its pid, until when it is on its way, and how it answers
(`language`, `broken`: it ends at once, `stuck`: it never gets there)."""

import configparser
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
MEMORY = HERE / "memory.json"
memory = json.loads(MEMORY.read_text())


def alive():
    pid = memory.get("pid")
    try:
        return bool(pid) and pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def keep(**changes):
    memory.update(changes, asked=memory.get("asked", []) + [sys.argv[1:]])
    MEMORY.write_text(json.dumps(memory))


def start():
    unit = configparser.RawConfigParser(strict=False)
    unit.read(HERE / "almareia.service")
    argv = unit["Service"]["ExecStart"].split()
    if memory.get("broken"):
        argv = ["false"]
    # As a supervisor does: in a session and with an environment of its own.
    child = subprocess.Popen(argv, env={}, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if memory.get("broken"):
        child.wait()
    keep(pid=child.pid, until=time.time() + memory.get("takes", 0), way="start")


def stop():
    if memory.get("stuck"):
        return keep(until=time.time() + 3600, way="stop")
    os.kill(memory["pid"], signal.SIGTERM)
    while alive():
        time.sleep(0.01)
    keep(until=time.time() + memory.get("takes", 0), way="stop")


def on_the_way():
    return memory["way"] if time.time() < memory.get("until", 0) else None


def systemctl(args):
    name = args[-1]
    verb = next(arg for arg in args if not arg.startswith("-"))
    if verb == "show":
        if not (HERE / name).exists():
            return print("LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\nResult=success")
        state, sub = {"start": ("activating", "start"), "stop": ("deactivating", "stop-sigterm")}.get(on_the_way(), (None, None))
        failed = memory.get("broken") and memory.get("pid")
        state = state or ("active" if alive() else "failed" if failed else "inactive")
        pid = memory["pid"] if alive() else 0
        return print(f"LoadState=loaded\nActiveState={state}\nSubState={sub or 'any'}\nMainPID={pid}\nResult={'exit-code' if failed else 'success'}")
    if verb in ("stop", "restart") and alive():
        stop()
    if verb in ("start", "restart") and not alive():
        start()
    if memory.get("broken") and verb != "stop":
        sys.exit("Job for almareia.service failed because the control process exited with error code.")


def sc(args):
    verb, name = args
    if name != "AlmareiaWeb":
        print(f"[SC] OpenService FAILED 1060:\n\nThe specified service does not exist as an installed service.\n")
        sys.exit(36)
    if verb == "queryex":
        state = {"start": "2  START_PENDING", "stop": "3  STOP_PENDING"}.get(on_the_way())
        state = state or ("4  RUNNING" if alive() else "1  STOPPED")
        label = "ESTADO" if memory.get("language") == "pt" else "STATE "
        pid = memory["pid"] if alive() else 0
        print(f"\nSERVICE_NAME: {name}\n        TYPE               : 10  WIN32_OWN_PROCESS\n        {label}             : {state}")
        print(f"                                (STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN)\n        WIN32_EXIT_CODE    : 0  (0x0)")
        print(f"        CHECKPOINT         : 0x0\n        WAIT_HINT          : 0x0\n        PID                : {pid}\n        FLAGS              :")
    elif verb == "start":
        start()
    elif verb == "stop":
        stop()


def schtasks(args):
    verb = args[0]
    if args[2] != r"\Almareia\Servidor":
        sys.exit("ERROR: The system cannot find the file specified.")
    if verb == "/Query":
        words = {"running": b"Em execu\x87\xc6o", "ready": b"Pronto"} if memory.get("language") == "pt" else {"running": b"Running", "ready": b"Ready"}
        word = words["running" if alive() else "ready"]
        sys.stdout.buffer.write(b'"\\Almareia\\Servidor","N/A","' + words["ready"] + b'"\r\n"\\Almareia\\Servidor","24/11/2026 03:00:00","' + word + b'"\r\n')
    elif verb == "/Run":
        start()
    elif verb == "/End":
        stop()


{"systemctl": systemctl, "sc.exe": sc, "schtasks.exe": schtasks}[pathlib.Path(sys.argv[0]).name](sys.argv[1:])
