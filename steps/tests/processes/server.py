"""A service for tests: `server.py PORT [MODE]`."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import time

port, mode = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
print("starting", mode, flush=True)
if mode == "parent":  # the listener is a child, as with a reloader
    sys.exit(subprocess.call([sys.executable, __file__, str(port), "worker"]))
if mode == "daemon":  # the launcher ends well, the listener goes on
    subprocess.Popen([sys.executable, __file__, str(port)])
    sys.exit(0)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
if mode == "broken":
    print("Traceback: no such table", file=sys.stderr, flush=True)
    sys.exit(4)
if mode == "idle":  # never listens
    time.sleep(60)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/broken" else 404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)


def begin_again(*_):
    """Ends only when a successor listens that belongs to nobody."""
    server.server_close()
    subprocess.Popen(["setsid", "-f", sys.executable, __file__, str(port), mode])
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            os._exit(0)
        except OSError:
            time.sleep(0.01)


if mode == "phoenix":
    signal.signal(signal.SIGTERM, begin_again)
try:
    server.serve_forever()
except KeyboardInterrupt:
    print("ended in order", flush=True)
