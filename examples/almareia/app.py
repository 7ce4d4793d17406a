"""Almareia Mirapraia Sistema: orders of a small inn by the sea.

`create_app` makes the WSGI application and starts nothing; `serve.py` runs it. Everything that it writes
(`almareia.db`, `app.log`, `uploads/`) is in one folder: the code's own, or the one that ALMAREIA_DATA names.
"""

import hmac
import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

from flask import Flask, abort, current_app, flash, g, jsonify, redirect, render_template, request, send_from_directory, session, url_for
from werkzeug.utils import secure_filename

import database
import faults as release_faults
import webhook

CODE = Path(__file__).resolve().parent
USER = "admin"
DEMO_PASSWORD = "mirapraia"

log = logging.getLogger("almareia")


def create_app(data=None, faults=None):
    """The application on the folder `data`, with the faults of this release unless told otherwise."""
    app = Flask(__name__, root_path=str(CODE))
    data = Path(data or os.environ.get("ALMAREIA_DATA") or CODE).resolve()
    (data / "uploads").mkdir(parents=True, exist_ok=True)
    app.config.update(
        SECRET_KEY=database.prepare(data),
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=16 * 1024 * 1024,
        DATA=data,
        FAULTS=release_faults.read(CODE) if faults is None else faults,
        PASSWORD=os.environ.get("ALMAREIA_ADMIN_PASSWORD") or DEMO_PASSWORD,
        VERSION=(CODE / "VERSION").read_text(encoding="utf-8").strip(),
        STARTED_AT=database.now(),
        HEARTBEAT=None,
        WEBHOOK=webhook.from_environment(),
    )
    app.context_processor(lambda: {"version": app.config["VERSION"], "user": session.get("user")})
    app.teardown_appcontext(close_database)
    pages(app)
    orders(app)
    uploads(app)
    return app


def log_to_file(data):
    """Sends what the process logs to `app.log` in the folder `data`."""
    handler = RotatingFileHandler(Path(data) / "app.log", maxBytes=1_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def pages(app):
    """Home, login, status."""

    @app.get("/")
    def home():
        count = db().execute("SELECT count(*) FROM orders").fetchone()[0]
        return render_template("home.html", count=count)

    @app.route("/login", methods=["GET", "POST"])
    def login():
        if app.config["FAULTS"].get("login_500"):
            abort(500)
        if request.method == "GET":
            return render_template("login.html")
        given = request.get_json() if request.is_json else request.form
        known = given.get("username") == USER
        if not hmac.compare_digest(str(given.get("password", "")).encode(), app.config["PASSWORD"].encode()) or not known:
            log.warning("entrada recusada")
            if is_browser():
                flash("Usuário ou senha inválidos.")
                return render_template("login.html"), 401
            return jsonify(error="usuário ou senha inválidos"), 401
        session["user"] = USER
        log.info("entrada de %s", USER)
        return redirect(url_for("list_orders"), 303) if is_browser() else jsonify(user=USER)

    @app.route("/logout", methods=["GET", "POST"])
    def logout():
        session.clear()
        return redirect(url_for("home"), 303)

    @app.get("/api/status")
    def status():
        if app.config["FAULTS"].get("status_404"):
            abort(404)
        heartbeat = app.config["HEARTBEAT"]
        return jsonify(
            version=app.config["VERSION"],
            scheduler_running=bool(heartbeat and heartbeat.running),
            started_at=app.config["STARTED_AT"],
            pid=os.getpid(),
        )


def orders(app):
    """The list of orders, and new ones."""

    @app.get("/orders")
    def list_orders():
        refused = login_wanted()
        if refused:
            return refused
        rows = [dict(row) for row in db().execute("SELECT * FROM orders ORDER BY id DESC LIMIT 200")]
        if request.accept_mimetypes.best == "application/json":
            return jsonify(orders=rows)
        files = sorted(path.name for path in (app.config["DATA"] / "uploads").iterdir())
        return render_template("orders.html", orders=rows, files=files)

    @app.post("/orders")
    def create_order():
        refused = login_wanted()
        if refused:
            return refused
        given = request.get_json() if request.is_json else request.form
        try:
            order = (str(given["customer"]).strip(), str(given["item"]).strip(), int(given.get("quantity", 1)))
        except (KeyError, ValueError):
            return jsonify(error="informe customer, item e quantity"), 400
        if not order[0] or not order[1] or order[2] < 1:
            return jsonify(error="cliente, item e quantidade não podem ser vazios"), 400
        with db() as connection:
            row = connection.execute(
                "INSERT INTO orders (customer, item, quantity, created_at) VALUES (?, ?, ?, ?)", (*order, database.now())
            )
        log.info("pedido %d", row.lastrowid)
        if current_app.config["WEBHOOK"]:
            current_app.config["WEBHOOK"].tell({"id": row.lastrowid, "customer": order[0], "item": order[1], "quantity": order[2]})
        return redirect(url_for("list_orders"), 303) if is_browser() else (jsonify(id=row.lastrowid), 201)


def uploads(app):
    """Files that users bring: photographs, receipts."""

    @app.post("/uploads")
    def upload():
        refused = login_wanted()
        if refused:
            return refused
        file = request.files.get("file")
        name = secure_filename(file.filename) if file and file.filename else ""
        if not name:
            return jsonify(error="nenhum arquivo"), 400
        file.save(str(app.config["DATA"] / "uploads" / name))
        log.info("arquivo %s", name)
        return redirect(url_for("list_orders"), 303) if is_browser() else (jsonify(name=name), 201)

    @app.get("/uploads/<name>")
    def uploaded(name):
        return login_wanted() or send_from_directory(app.config["DATA"] / "uploads", name)


def login_wanted():
    """What to answer where somebody must log in first; None where they did."""
    if "user" in session:
        return None
    if is_browser():
        return redirect(url_for("login"), 303)
    return jsonify(error="entre primeiro em /login"), 401


def is_browser():
    """Browsers get pages and redirects, programs get JSON and plain codes."""
    return "text/html" in request.headers.get("Accept", "")


def db():
    """This request's connection."""
    if "db" not in g:
        g.db = database.connect(current_app.config["DATA"])
    return g.db


def close_database(_error):
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()
