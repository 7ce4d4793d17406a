"""Runs the application on Waitress:  python serve.py --host 127.0.0.1 --port 5080

ALMAREIA_HOST and ALMAREIA_PORT serve where no option is given. SIGINT (Ctrl+C), SIGTERM and Ctrl+Break stop it cleanly.
"""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

# Whatever the current folder is.
sys.path.insert(0, str(Path(__file__).resolve().parent))

log = logging.getLogger("almareia.serve")


def main():
    options = parse()
    from waitress import create_server

    import app as almareia
    import faults
    from heartbeat import Heartbeat

    app = almareia.create_app()
    data, release_faults = app.config["DATA"], app.config["FAULTS"]
    handle_signals(ignore=release_faults.get("ignore_stop", False))
    almareia.log_to_file(data)
    faults.at_start(release_faults, log)
    server = create_server(app, host=options.host, port=options.port, threads=8, ident="almareia", clear_untrusted_proxy_headers=True)
    # Windows does not interrupt `select` on Ctrl+C: this is how late the stop may be noticed there, in seconds.
    server.adj.asyncore_loop_timeout = 0.1
    heartbeat = Heartbeat(data)
    app.config["HEARTBEAT"] = heartbeat
    heartbeat.start()
    faults.while_running(release_faults)
    log.info("versão %s em http://%s:%s", app.config["VERSION"], options.host, options.port)
    print(f"Almareia Mirapraia Sistema {app.config['VERSION']} em http://{options.host}:{options.port}", flush=True)
    server.run()  # returns on SystemExit, after the requests that are being answered
    heartbeat.stop()
    log.info("encerrado")


def parse():
    parser = argparse.ArgumentParser(description="Almareia Mirapraia Sistema")
    parser.add_argument("--host", default=os.environ.get("ALMAREIA_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("ALMAREIA_PORT", "5080")))
    return parser.parse_args()


def handle_signals(ignore):
    """Waitress ends cleanly on SystemExit only. Set explicitly: a process started in the background may inherit an ignored SIGINT."""

    def stop(_number, _frame):
        raise SystemExit(0)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN if ignore else stop)


if __name__ == "__main__":
    main()
