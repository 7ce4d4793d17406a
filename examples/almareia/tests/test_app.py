"""Runs in any current folder, needs no server, and writes only to a temporary folder:

    python -B -m unittest discover -s tests

Apart from `tests_fail` the faults of the release are left out here: they are what a deploy has to find by itself.
"""

import io
import json
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CODE))

import database  # noqa: E402
import faults  # noqa: E402
from app import DEMO_PASSWORD, USER, create_app  # noqa: E402
from webhook import Webhook  # noqa: E402

BROWSER = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


class AppTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = Path(folder.name)
        self.app = create_app(data=self.data, faults={})
        self.app.config["PASSWORD"] = DEMO_PASSWORD
        self.client = self.app.test_client()

    def login(self, password=DEMO_PASSWORD, headers=None):
        return self.client.post("/login", data={"username": USER, "password": password}, headers=headers)

    def test_home_and_login_page_answer(self):
        self.assertIn("Almareia", self.client.get("/").get_data(as_text=True))
        self.assertIn("Senha", self.client.get("/login").get_data(as_text=True))

    def test_status_tells_the_version(self):
        status = self.client.get("/api/status").get_json()
        self.assertEqual(status["version"], (CODE / "VERSION").read_text(encoding="utf-8").strip())
        self.assertIs(status["scheduler_running"], False)

    def test_wrong_password_is_refused(self):
        self.assertEqual(self.login("errada").status_code, 401)
        self.assertEqual(self.client.get("/orders").status_code, 401)

    def test_orders_need_a_login(self):
        self.assertEqual(self.client.post("/orders", json={"customer": "Ana", "item": "Moqueca"}).status_code, 401)
        self.assertEqual(self.client.get("/orders", headers=BROWSER).location, "/login")

    def test_an_order_is_told_to_whoever_wants_to_know(self):
        told = []

        class Kitchen(BaseHTTPRequestHandler):
            def do_POST(self):
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        kitchen = HTTPServer(("127.0.0.1", 0), Kitchen)
        self.addCleanup(kitchen.server_close)
        answering = threading.Thread(target=kitchen.handle_request, daemon=True)
        answering.start()
        self.app.config["WEBHOOK"] = Webhook("http://127.0.0.1:%d/orders" % kitchen.server_port)
        self.login()
        order = {"customer": "Ana", "item": "Moqueca", "quantity": 2}
        created = self.client.post("/orders", json=order)
        self.assertEqual((created.status_code, told), (201, [{"id": created.get_json()["id"], **order}]))
        # Nobody answers any more: the order is kept all the same.
        answering.join()
        kitchen.server_close()
        with self.assertLogs("almareia.webhook", "WARNING"):
            self.assertEqual(self.client.post("/orders", json=order).status_code, 201)

    def test_an_order_is_kept(self):
        self.assertEqual(self.login().status_code, 200)
        created = self.client.post("/orders", json={"customer": "Ana", "item": "Moqueca", "quantity": 2})
        self.assertEqual(created.status_code, 201)
        (order,) = self.client.get("/orders", headers=JSON).get_json()["orders"]
        self.assertEqual((order["id"], order["customer"], order["quantity"]), (created.get_json()["id"], "Ana", 2))

    def test_a_browser_is_sent_to_the_list_after_login_and_order(self):
        self.assertEqual(self.login(headers=BROWSER).location, "/orders")
        created = self.client.post("/orders", data={"customer": "Zé", "item": "Água de coco", "quantity": "1"}, headers=BROWSER)
        self.assertEqual((created.status_code, created.location), (303, "/orders"))
        self.assertIn("Água de coco", self.client.get("/orders").get_data(as_text=True))

    def test_an_order_of_nothing_is_refused(self):
        self.login()
        for order in ({"customer": "Ana", "item": " "}, {"customer": "Ana", "item": "Pão", "quantity": 0}, {"item": "Pão"}):
            self.assertEqual(self.client.post("/orders", json=order).status_code, 400, order)

    def test_an_upload_stays_in_its_folder(self):
        self.login()
        sent = self.client.post("/uploads", data={"file": (io.BytesIO(b"foto"), "../../foto.txt")})
        self.assertEqual(sent.status_code, 201)
        kept = self.data / "uploads" / sent.get_json()["name"]
        self.assertEqual(kept.parent, self.data / "uploads")
        self.assertEqual(kept.read_bytes(), b"foto")
        with self.client.get("/uploads/" + kept.name) as answer:
            self.assertEqual(answer.data, b"foto")

    def test_sessions_survive_a_restart(self):
        self.assertEqual(database.prepare(self.data), self.app.config["SECRET_KEY"])

    def test_this_release_has_no_fault_that_its_tests_must_show(self):
        self.assertFalse(faults.read(CODE).get("tests_fail", False), "faults.json: tests_fail")


if __name__ == "__main__":
    unittest.main()
