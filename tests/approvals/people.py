"""Who asks and who decides: psql as one of the lab's people, and `weir approvals` as another.

A program that uses this runs as bob. What it wants to see unseen it asks the server beside weir.
"""

import fcntl
import json
import os
import pty
import queue
import re
import select
import subprocess
import sys
import termios
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "drivers"))

import wire

WEIR = os.environ["WEIR_BIN"]
PATIENCE = 20
CASES = []
# Everything that commands of weir's have printed and that is not for approvers' eyes only.
PRINTED = []
PROMPT = "=[#>] "
WAITS = re.compile(r"waits as request (\d+) for")


def case(function):
    CASES.append(function)
    return function


def expect(condition, *seen):
    if not condition:
        raise AssertionError(seen)


def secret():
    """A literal that nobody but the server and an approver who asks for it may see."""
    return f"sentinel-{os.urandom(6).hex()}"


def own_session():
    """The kernel gives every writer of a login uid a new audit session."""
    with open("/proc/self/loginuid", "w", encoding="ascii") as file:
        file.write("0")


def beside(sql):
    """Asks the server where weir does not see it."""
    connection = wire.Connection(host=os.environ["LAB_DIRECT_HOST"], timeout=PATIENCE)
    rows = connection.run(sql)
    connection.close()
    return rows


def note(table, row=1):
    """What a row's note is, seen beside weir."""
    return beside(f"select note from {table} where id = {row}")[0][0]


def within(limit, question):
    """Waits until the question is answered with something; its answer."""
    end = time.monotonic() + limit
    while True:
        answer = question()
        if answer:
            return answer
        expect(time.monotonic() < end, "not in time", limit)
        time.sleep(0.02)


class Said:
    """What `weir approvals …` came to."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.error = done.stderr

    def json(self):
        expect(self.code == 0, self.code, self.error)
        return json.loads(self.out)

    def refused(self, *words):
        expect(self.code != 0, "not refused", self.out)
        for word in words:
            expect(word in self.error, word, self.error)
        return self.error.strip()


def approvals(who, *arguments, keep=True):
    command = [os.environ["LAB_AS"], who, WEIR, "approvals", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
    if keep:
        PRINTED.append(done.stdout + done.stderr)
    return Said(done)


def approve(number, who="alice", *more):
    return approvals(who, "approve", number, "--reason", "seen and agreed", "--json", *more).json()


def deny(number, who="alice", reason="not today"):
    return approvals(who, "deny", number, "--reason", reason, "--json").json()


def waiting():
    return approvals("alice", "list", "--json").json()["waiting"]


def waits(number):
    return any(one["id"] == number for one in waiting())


class Psql:
    """psql reading statements, as somebody; what it says is read as it comes."""

    def __init__(self, who="bob", before=own_session):
        command = [os.environ["PSQL"], "-XAtq", "-v", "VERBOSITY=verbose"]
        if who != "bob":
            command = [os.environ["LAB_AS"], who, *command]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
            preexec_fn=before,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.follow, daemon=True).start()
        self.said = 0

    def follow(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def send(self, sql):
        """Gives it statements; it marks on its output that it is behind them."""
        self.said += 1
        self.process.stdin.write(f"{sql}\n\\echo end of {self.said}\n")

    def line(self):
        return self.lines.get(timeout=PATIENCE)

    def number(self):
        """The number that the next request for approval gets, from the notice; read to its end."""
        seen = ""
        while not (seen and line.startswith("HINT:")):
            line = self.line()
            expect(line, "psql ended", seen)
            seen += line
        found = WAITS.search(seen)
        expect(found, seen)
        return int(found[1])

    def answer(self):
        """What it says up to the end of what it was given last."""
        seen = ""
        while not seen.endswith(f"end of {self.said}\n"):
            line = self.line()
            expect(line, "psql ended", seen)
            seen += line
        return seen.removesuffix(f"end of {self.said}\n")

    def ask(self, sql):
        self.send(sql)
        return self.answer()

    def is_quiet(self):
        """Whether it has said nothing new."""
        return self.lines.empty()

    def close(self):
        self.process.stdin.close()
        expect(self.process.wait(PATIENCE) == 0, "psql failed")


class Terminal:
    """psql at a terminal, for what only a terminal does."""

    def __init__(self):
        self.own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [os.environ["PSQL"], "-XAtqn", "-v", "VERBOSITY=verbose", "-P", "pager=off"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=os.environ | {"TERM": "dumb"},
        )
        os.close(theirs)
        self.seen = ""
        self.until(PROMPT)

    def type(self, keys):
        """Types, as somebody does who waits for the prompt."""
        os.write(self.own, keys.encode())

    def until(self, pattern):
        """Reads until this was printed behind what was read before."""
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            ready, _, _ = select.select([self.own], [], [], PATIENCE)
            expect(ready, "nothing more", pattern, self.seen)
            self.seen += os.read(self.own, 4096).decode("utf-8", "replace")

    def close(self):
        self.type("\\q\n")
        expect(self.process.wait(PATIENCE) == 0, "psql failed")
        os.close(self.own)


def number_in(frames):
    """The number in the notice among frames."""
    for tag, body in frames:
        found = tag == "N" and WAITS.search(wire.fields(body)["M"])
        if found:
            return int(found[1])
    raise AssertionError(wire.shape(frames))


def until_notice(connection):
    """Frames up to the notice that something waits."""
    frames = []
    while not frames or frames[-1][0] != "N":
        frames.append(connection.read())
    return frames


def until_silent(connection):
    """Frames up to where nothing more comes."""
    connection.socket.settimeout(0.3)
    try:
        while True:
            connection.fill()
    except TimeoutError:
        connection.socket.settimeout(PATIENCE)
    frames = []
    while connection.buffer:
        frames.append(connection.read())
    return frames


def governed():
    return wire.Connection(timeout=PATIENCE)


def ended(connection):
    """What the connection answers now."""
    return wire.shape(connection.until_ready())


def main():
    own_session()
    for function in CASES:
        begun = time.monotonic()
        try:
            got, ok = function(), True
        except Exception:
            got, ok = traceback.format_exc(limit=-4), False
        wire.report(function.__name__, ok, got or f"{time.monotonic() - begun:.2f} s")
    wire.report("printed", True, PRINTED)
    wire.finish()
