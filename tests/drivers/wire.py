"""PostgreSQL's protocol by hand: frames in, frames out, nothing hidden.

The programs beside this file use it where a driver would be too polite: to pipeline, to break rules, to see each
answer. It knows no password methods; the private servers of the tests trust loopback.
"""

import json
import os
import socket
import struct
import sys

CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
PROTOCOL_3_0 = 196608


def frame(tag, body=b""):
    """A message with its type byte and length."""
    return tag.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    """A zero-terminated string."""
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def query(sql):
    return frame("Q", text(sql))


def parse(sql, name="", types=()):
    return frame("P", text(name) + text(sql) + struct.pack("!H", len(types)) + b"".join(struct.pack("!I", t) for t in types))


def bind(portal="", statement="", values=(), result_formats=()):
    body = text(portal) + text(statement) + struct.pack("!HH", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return frame("B", body + struct.pack("!H", len(result_formats)) + b"".join(struct.pack("!H", f) for f in result_formats))


def describe(kind, name=""):
    return frame("D", kind.encode() + text(name))


def execute(portal="", rows=0):
    return frame("E", text(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return frame("C", kind.encode() + text(name))


SYNC = frame("S")
FLUSH = frame("H")
TERMINATE = frame("X")


def startup(parameters, version=PROTOCOL_3_0):
    body = struct.pack("!I", version) + b"".join(text(k) + text(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def fields(body):
    """The fields of an ErrorResponse or NoticeResponse by their letter."""
    return {chr(f[0]): f[1:].decode("utf-8", "replace") for f in body.split(b"\0") if f}


class Closed(Exception):
    """The peer closed the connection."""


class Connection:
    """One socket to the database that PGHOST and PGPORT name (or `host`), read frame by frame."""

    def __init__(self, host=None, start=True, timeout=20.0, **parameters):
        self.host = host or os.environ["PGHOST"]
        self.socket = socket.create_connection((self.host, int(os.environ["PGPORT"])), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.key = None
        self.parameters = {}
        if start:
            named = {"user": os.environ["PGUSER"], "database": os.environ["PGDATABASE"]}
            self.send(startup(named | parameters))
            for tag, body in self.until_ready():
                if tag == "K":
                    self.key = body
                if tag == "E":
                    raise Refused(fields(body))

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read(self):
        """The next frame as (type, body)."""
        head = self.take(5)
        return chr(head[0]), self.take(struct.unpack("!I", head[1:])[0] - 4)

    def until_ready(self):
        """All frames up to and including the next ReadyForQuery, or up to a FATAL error."""
        frames = []
        while True:
            tag, body = self.read()
            frames.append((tag, body))
            if tag == "Z" or (tag == "E" and fields(body).get("V") in ("FATAL", "PANIC")):
                return frames

    def until_closed(self, timeout=10.0):
        """Frames up to the end of the connection; `None` as the last element when it stayed open."""
        self.socket.settimeout(timeout)
        frames = []
        try:
            while True:
                frames.append(self.read())
        except TimeoutError:
            frames.append(None)
        except (Closed, ConnectionError):
            pass
        return frames

    def ask(self, data):
        self.send(data)
        return self.until_ready()

    def run(self, sql):
        """A simple query whose rows come back as lists of text; raises on an error."""
        rows = []
        for tag, body in self.ask(query(sql)):
            if tag == "E":
                raise Refused(fields(body))
            if tag == "D":
                rows.append(cells(body))
        return rows

    def close(self):
        try:
            self.socket.sendall(TERMINATE)
        except OSError:
            pass
        self.socket.close()


class Refused(Exception):
    """The server, or weir in its place, answered with an error."""

    def __init__(self, error):
        super().__init__(f"{error.get('C')} {error.get('M')}")
        self.error = error


def cells(body):
    """The values of a DataRow as text, `None` for NULL."""
    count, at, row = struct.unpack("!H", body[:2])[0], 2, []
    for _ in range(count):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        row.append(None if length < 0 else body[at : at + length].decode("utf-8", "replace"))
        at += max(length, 0)
    return row


def shape(frames):
    """What a conversation looked like, short enough to compare and to read in a failure."""
    words = []
    for item in frames:
        if item is None:
            words.append("open")
            continue
        tag, body = item
        if tag == "E":
            error = fields(body)
            words.append(f"E:{error.get('V')}:{error.get('C')}")
        elif tag == "Z":
            words.append("Z:" + body.decode())
        elif tag == "C":
            words.append("C:" + body[:-1].decode())
        elif tag == "D":
            words.append("D:" + "|".join("NULL" if c is None else c for c in cells(body)))
        elif tag not in "NSA":
            words.append(tag)
    return " ".join(words)


def report(case, ok, got):
    """One line of the program's verdict; the runner reads them all."""
    print(json.dumps({"case": case, "ok": bool(ok), "got": got}), flush=True)


def finish():
    """The last line: without it the runner knows that the program died on its way."""
    print(json.dumps({"case": "finished", "ok": True, "got": None}), flush=True)
    sys.exit(0)
