"""Sends statements to two databases that differ only in masked values, and compares the answers frame by frame.

usage: replay.py FILE DATABASE_A DATABASE_B [--direct]

FILE holds a JSON list of texts. Each runs in a transaction that is undone. Where two answers differ, both are asked for
again and again: only answers that each database repeats, and that still differ, count. Prints one verdict for each
difference, and one with numbers. `--direct` asks beside weir: how many statements would tell the databases apart.
"""

import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "drivers"))

import wire

SETTINGS = "set statement_timeout = '2s'; set lock_timeout = '1s'; set synchronize_seqscans = off; set max_parallel_workers_per_gather = 0; set jit = off; set timezone = 'UTC'"
# The two differ in their number and in when their statistics began: these ask for that.
ABOUT_ITSELF = re.compile(r"\bpg_stat_database\b|\bpg_database\b.*\bcurrent_database\b", re.IGNORECASE | re.DOTALL)
# A small sample of a small table is empty more often than not.
REPEATS = 12
CANCELED, REFUSED = "57014", "42501"


class Peer:
    """A session on one of the databases; a new one when the last has ended."""

    def __init__(self, host, database):
        self.host, self.database, self.connection = host, database, None

    def ask(self, text):
        """The frames that answer the text, or why there are none."""
        try:
            if self.connection is None:
                self.connection = wire.Connection(self.host, database=self.database, timeout=20)
                self.connection.run(SETTINGS)
            connection = self.connection
            connection.send(wire.query("begin") + wire.query(text) + wire.query("rollback"))
            connection.until_ready()
            frames = self.until_ready(connection)
            connection.until_ready()
            if frames[-1] != ("Z", b"T") and frames[-1] != ("Z", b"E"):
                # It ended the transaction itself, and the rollback was of another.
                self.start_anew()
            return comparable(frames, self.database.encode())
        except (wire.Closed, wire.Refused, OSError) as ended:
            self.start_anew()
            return [("ended", type(ended).__name__)]

    def until_ready(self, connection):
        frames = []
        while not frames or frames[-1][0] != "Z":
            tag, body = connection.read()
            if tag == "G":
                connection.send(wire.frame("f", b"no\0"))
            frames.append((tag, body))
            if tag == "E" and wire.fields(body).get("V") in ("FATAL", "PANIC"):
                raise wire.Closed
        return frames

    def start_anew(self):
        if self.connection is not None:
            self.connection.socket.close()
        self.connection = None


def comparable(frames, database):
    """What must be the same but for the database's name: the two were made from one, so even the numbers of tables are."""
    kept = []
    for tag, body in frames:
        body = body.replace(database, b"database")
        if tag == "A":
            body = body[4:]
        elif tag == "E":
            body = re.sub(rb"request [0-9A-Za-z:_-]+", b"request", body)
        kept.append((tag, body))
    return kept


def repeats(peer, text, frames):
    """Whether a new session is told the same: process ids, ports, times and random numbers are not."""
    peer.start_anew()
    return peer.ask(text) == frames


def state(frames):
    for tag, body in frames:
        if tag == "E":
            return wire.fields(body).get("C")
        if tag == "ended":
            return tag
    return None


def is_refused(frames):
    return any(tag == "E" and wire.fields(body).get("C") == REFUSED for tag, body in frames)


def main():
    file, *databases = [word for word in sys.argv[1:] if not word.startswith("--")]
    host = os.environ["LAB_DIRECT_HOST" if "--direct" in sys.argv else "PGHOST"]
    with open(file, encoding="utf-8") as opened:
        texts = [text for text in json.load(opened) if not ABOUT_ITSELF.search(text)]
    a, b = (Peer(host, database) for database in databases)
    counts = {"statements": len(texts), "answered": 0, "refused": 0, "failed": 0, "restless": 0, "different": 0}
    reasons = {}
    for text in texts:
        ours, theirs = a.ask(text), b.ask(text)
        refused = is_refused(ours)
        counts["refused" if refused else "failed" if state(ours) else "answered"] += 1
        if refused:
            error = next(wire.fields(body) for tag, body in ours if tag == "E")
            reason = re.sub(r'"[^"]*"|[a-z_]+\.[a-z_0-9]+|\d+', "…", error.get("M", ""))
            reasons[reason] = reasons.get(reason, 0) + 1
        if ours == theirs or CANCELED in (state(ours), state(theirs)):
            continue
        if not all(repeats(a, text, ours) and repeats(b, text, theirs) for _ in range(1 if "--direct" in sys.argv else REPEATS)):
            counts["restless"] += 1
            continue
        counts["different"] += 1
        if counts["different"] <= 20 and "--direct" not in sys.argv:
            first = next(((x, y) for x, y in zip(ours, theirs) if x != y), (len(ours), len(theirs)))
            wire.report(f"difference {counts['different']}", False, {"statement": text[:1500], "frames": repr(first)[:600]})
    counts["reasons"] = dict(sorted(reasons.items(), key=lambda item: -item[1])[:12])
    wire.report("counts", True, counts)
    wire.finish()


if __name__ == "__main__":
    main()
