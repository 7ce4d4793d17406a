#!/usr/bin/env python3
"""Makes the pictures of docs/pictures/: what a terminal shows of real runs, in both languages.

    docs/pictures.py [ALMAPLAN]     the program [default: target/debug/almaplan]

The sample application is deployed with the plan that `almaplan init` writes for it, in a folder below /tmp, on port 5090: once as it is,
then as a new version, then as a version that fails. The last two are the pictures. Each is the screen that the program left on a terminal,
character by character: nothing is written by hand, and nothing is left out. A terminal sequence that is not known here is an error.
Linux, Python 3.9 or newer with `venv`. In the end nothing runs any more, and the folder is gone.
"""

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import unicodedata
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 92, 50
PORT = "5090"
# Of each language: the name of the application's folder, and of the deployment.
NAMES = {"en": "shop", "pt-BR": "loja"}

# Colours of a dark terminal, of normal and of bright text.
PALETTE = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"]
BRIGHT = ["#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff"]
# Behind text, where it must be read.
BEHIND = ["#21262d", "#8e1519", "#116329", "#6f4e00", "#0a3069", "#5a32a3", "#0b5a63", "#484f58"]
FOREGROUND, BACKGROUND = "#d0d7de", "#0d1117"
# A cell of the picture; what is left free around the text.
WIDTH, HEIGHT, MARGIN = 8.4, 19, 18


class Screen:
    """A terminal's screen, as far as almaplan uses one: cells of (character, style)."""

    SEQUENCE = re.compile(r"\x1b(?:\[(?P<arguments>[?\d;]*)(?P<final>[A-Za-z])|(?P<other>\]8;[^\x07\x1b]*(?:\x07|\x1b\\)))")

    def __init__(self):
        self.rows, self.row, self.column, self.style = [], 0, 0, ()

    def feed(self, text):
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = self.SEQUENCE.match(text, at)
                if not found:
                    raise ValueError(f"a sequence that is not known: {text[at:at + 12]!r}")
                if found["final"]:
                    self.control(found["final"], found["arguments"])
                at = found.end()
                continue
            self.put(text[at])
            at += 1

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
        elif char == "\x07":
            pass
        elif unicodedata.category(char) == "Cc":
            raise ValueError(f"a control character that is not known: {char!r}")
        else:
            if self.column == COLUMNS:
                self.row, self.column = self.row + 1, 0
            line = self.line()
            line.extend([(" ", ())] * (self.column + 1 - len(line)))
            line[self.column] = (char, self.style)
            self.column += 1

    def line(self):
        self.rows.extend([] for _ in range(self.row + 1 - len(self.rows)))
        return self.rows[self.row]

    def control(self, final, arguments):
        if arguments.startswith("?"):  # whether the cursor is seen, and whether what follows is drawn at once
            if arguments not in ("?25", "?2026", "?7"):
                raise ValueError(f"a mode that is not known: {arguments}")
            return
        numbers = [int(number or 0) for number in arguments.split(";")]
        count = max(numbers[0], 1)
        if final == "m":
            self.paint(numbers)
        elif final == "A":
            self.row = max(self.row - count, 0)
        elif final == "B":
            self.row += count
        elif final == "C":
            self.column += count
        elif final == "D":
            self.column = max(self.column - count, 0)
        elif final == "G":
            self.column = count - 1
        elif final == "K":
            line = self.line()
            line[(0 if numbers[0] == 2 else self.column):] = []
        elif final == "J" and numbers[0] == 0:
            del self.line()[self.column:]
            del self.rows[self.row + 1:]
        else:
            raise ValueError(f"a sequence that is not known: {arguments}{final}")

    def paint(self, numbers):
        style = dict(self.style)
        numbers = list(numbers)
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                style = {}
            elif number == 1:
                style["bold"] = True
            elif number == 2:
                style["dim"] = True
            elif number == 22:
                style.pop("bold", None), style.pop("dim", None)
            elif 30 <= number <= 37:
                style["color"] = PALETTE[number - 30]
            elif 90 <= number <= 97:
                style["color"] = BRIGHT[number - 90]
            elif 40 <= number <= 47:
                style["behind"] = BEHIND[number - 40]
            elif number == 49:
                style.pop("behind", None)
            elif number == 38 and numbers[0] == 5 and numbers[1] < 16:
                style["color"] = (PALETTE + BRIGHT)[numbers[1]]
                numbers = numbers[2:]
            elif number == 39:
                style.pop("color", None)
            else:
                raise ValueError(f"a style that is not known: {number}")
        self.style = tuple(sorted(style.items()))

    def lines(self):
        """What is seen, without empty lines at its end."""
        rows = list(self.rows)
        while rows and not "".join(char for char, _ in rows[-1]).strip():
            rows.pop()
        return rows


def on_a_terminal(command, folder, environment):
    """Runs it with a terminal of its own, and gives what is on that in the end, and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(folder)
        os.execve(command[0], command, environment)
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # nobody writes there any more
            break
        if not part:
            break
        seen += part
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    screen = Screen()
    screen.feed(seen.decode())
    return screen.lines(), code


def svg(title, lines):
    """The picture. Each piece of text says how wide it is, so that it fits whatever font there is."""
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    text = "\n".join("".join(char for char, _ in line).rstrip() for line in lines)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img"'
        ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(text)}</desc>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{BACKGROUND}"/>',
    ]
    for row, line in enumerate(lines):
        at = 0
        while at < len(line):
            style, start = line[at][1], at
            while at < len(line) and line[at][1] == style:
                at += 1
            piece = "".join(char for char, _ in line[start:at])
            if behind := dict(style).get("behind"):
                x, y = MARGIN + start * WIDTH, MARGIN + row * HEIGHT
                out.append(f'<rect x="{x:g}" y="{y:g}" width="{len(piece) * WIDTH:g}" height="{HEIGHT}" fill="{behind}"/>')
            # Spaces at its ends are places, not text: some viewers drop them.
            start += len(piece) - len(piece.lstrip())
            piece = piece.strip()
            for part in re.finditer(r"\S+(?: \S+)*", piece):
                style_of = dict(style)
                x, y = MARGIN + (start + part.start()) * WIDTH, MARGIN + row * HEIGHT + 14
                more = f' fill="{style_of.get("color", FOREGROUND)}"'
                more += ' font-weight="bold"' if "bold" in style_of else ""
                more += ' opacity="0.65"' if "dim" in style_of else ""
                out.append(f'<text x="{x:g}" y="{y:g}" textLength="{len(part[0]) * WIDTH:g}"{more}>{escape(part[0])}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def prompt(command):
    """The line that a person typed."""
    return [("$", (("dim", True),)), *((char, (("bold", True),)) for char in " " + command)]


def main():
    almaplan = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/almaplan").resolve())
    pictures = ROOT / "docs/pictures"
    pictures.mkdir(exist_ok=True)
    for language, name in NAMES.items():
        top = Path("/tmp") / name
        top.mkdir()  # whose it is, if it is there, is not known
        folder = top / name
        environment = {**os.environ, "TERM": "xterm-256color", "ALMAPLAN_LANG": language, "ALMAPLAN_STATE_DIR": str(folder / ".almaplan")}
        environment.pop("NO_COLOR", None)

        def say(*arguments):
            subprocess.run([almaplan, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

        def picture(of, expected):
            lines, code = on_a_terminal([almaplan, "apply", "plans/production.toml"], folder, environment)
            if code != expected:
                raise SystemExit("\n".join("".join(char for char, _ in line) for line in lines) + f"\nexit code {code}, not {expected}")
            lines = [prompt("almaplan apply plans/production.toml"), *lines]
            (pictures / f"{of}.{language}.svg").write_text(svg(f"almaplan: {of}", lines), encoding="utf-8")
            print(f"docs/pictures/{of}.{language}.svg")

        try:
            ignored = shutil.ignore_patterns("__pycache__", "*.db*", "app.log*", "faults.json", "uploads")
            shutil.copytree(ROOT / "examples/almareia", folder, ignore=ignored)
            say("init", "--yes", "--port", PORT, "--health", "/login")
            plan = folder / "plans/production.toml"  # the application has a program of its own that serves
            text = re.sub(r"(?m)^start = .*$", 'start = ["{folder}/serve.py", "--host=127.0.0.1", "--port={port}"]', plan.read_text())
            plan.write_text(text)
            say("apply", "plans/production.toml")
            (folder / "VERSION").write_text("1.1.0\n")
            page = folder / "templates/login.html"
            page.write_text(page.read_text() + "\n")
            picture("deploy", 0)
            (folder / "VERSION").write_text("1.2.0\n")
            (folder / "faults.json").write_text(json.dumps({"no_start": True}))
            picture("failure", 3)
        finally:
            stop = ROOT / "examples/plans/stop.toml"
            subprocess.run([almaplan, "apply", str(stop), "--var", f"port={PORT}", "--var", f"expect={top}", "--progress", "quiet"],
                           cwd=top, env={**environment, "ALMAPLAN_STATE_DIR": str(top / "state")}, stdout=subprocess.DEVNULL)
            shutil.rmtree(top)


if __name__ == "__main__":
    main()
