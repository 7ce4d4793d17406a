"""A service for tests: `server.py PORT [MODE]`."""

import http.server
import os
import signal
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


try:
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
except KeyboardInterrupt:
    print("ended in order", flush=True)
