"""A client by hand against mode V: the choices that pgx and others make, and those that nobody honest makes.

usage: trust_raw.py    PASSWORD and the usual variables are in the environment; the user is by_scram
"""

import base64
import hashlib
import hmac
import os
import ssl
import struct
import unicodedata

import wire

PLUS, PLAIN = b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


class Raw(wire.Connection):
    """A connection that speaks TLS, and the frames of a log-in."""

    def __init__(self, tls=True, direct=False):
        super().__init__(start=False, timeout=60.0)
        self.certificate = None
        if not tls:
            return
        context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
        if direct:
            context.set_alpn_protocols(["postgresql"])
        else:
            self.send(struct.pack("!II", 8, wire.SSL_REQUEST))
            answer = self.socket.recv(1)
            if answer != b"S":
                raise wire.Closed(answer)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        if direct and self.socket.selected_alpn_protocol() != "postgresql":
            raise wire.Closed("no ALPN")
        self.certificate = self.socket.getpeercert(True)

    def request(self):
        """The next request to log in."""
        while True:
            tag, body = self.read()
            if tag == "E":
                raise wire.Refused(wire.fields(body))
            if tag == "R":
                return struct.unpack("!I", body[:4])[0], body[4:]

    def begin(self, user="by_scram", version=wire.PROTOCOL_3_0):
        self.send(wire.startup({"user": user, "database": os.environ["PGDATABASE"]}, version))
        code, offer = self.request()
        return code, offer.split(b"\0")

    def initial(self, mechanism, text):
        data = text.encode()
        self.send(wire.frame("p", mechanism + b"\0" + struct.pack("!i", len(data)) + data))

    def scram(self, mechanism, header, binding=b"", password=None, behind=b""):
        """Logs in; returns salt and iterations."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n=,r={nonce}"
        self.initial(mechanism, header + bare)
        code, first = self.request()
        if code != 11:
            raise wire.Closed(f"request {code}")
        parts = dict(part.split("=", 1) for part in first.decode().split(","))
        salt, iterations = base64.b64decode(parts["s"]), int(parts["i"])
        password = os.environ["PASSWORD"] if password is None else password
        # All of SASLprep that the test's password needs.
        password = unicodedata.normalize("NFKC", password)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        key = mac(salted, b"Client Key")
        without = f"c={base64.b64encode(header.encode() + binding).decode()},r={parts['r']}"
        transcript = f"{bare},{first.decode()},{without}".encode()
        proof = xor(key, mac(hashlib.sha256(key).digest(), transcript))
        self.send(wire.frame("p", f"{without},p={base64.b64encode(proof).decode()}".encode()) + behind)
        self.seen = (salt, iterations)
        code, last = self.request()
        signature = mac(mac(salted, b"Server Key"), transcript)
        if code != 12 or last != b"v=" + base64.b64encode(signature):
            raise wire.Closed("the server's proof does not fit")

    def ready(self):
        frames = self.until_ready()
        for tag, body in frames:
            if tag == "K":
                self.key = body
            if tag == "E":
                raise wire.Refused(wire.fields(body))
        return frames

    def bound(self):
        """What a certificate that is signed with SHA-256 is bound by."""
        return hashlib.sha256(self.certificate).digest()


def refused(work):
    """The state and the words that something is refused with."""
    try:
        work()
    except wire.Refused as refusal:
        return refusal.error.get("C"), refusal.error.get("M")
    except (wire.Closed, ConnectionError) as closed:
        return "closed", str(closed)
    return "done", None


def as_pgx():
    c = Raw()
    code, offer = c.begin()
    c.scram(PLUS, "p=tls-server-end-point,,", c.bound())
    c.ready()
    return code == 10 and offer[:2] == [PLUS, PLAIN] and c.run("select 1") == [["1"]]


def without_binding():
    c = Raw()
    c.begin()
    c.scram(PLAIN, "n,,")
    c.ready()
    return c.run("select 1") == [["1"]]


def in_clear():
    c = Raw(tls=False)
    _, offer = c.begin()
    c.scram(PLAIN, "n,,")
    c.ready()
    return PLUS not in offer and c.run("select 1") == [["1"]]


def query_behind_the_proof():
    c = Raw()
    c.begin()
    c.scram(PLUS, "p=tls-server-end-point,,", c.bound(), behind=wire.query("select 7"))
    c.ready()
    rows = [wire.cells(body) for tag, body in c.until_ready() if tag == "D"]
    return rows == [["7"]]


def direct_tls():
    c = Raw(direct=True)
    c.begin()
    c.scram(PLUS, "p=tls-server-end-point,,", c.bound())
    c.ready()
    return c.run("select 1") == [["1"]]


def encrypted_cancel(version):
    c = Raw()
    c.begin(version=version)
    c.scram(PLUS, "p=tls-server-end-point,,", c.bound())
    c.ready()
    c.send(wire.query("select pg_sleep(120)"))
    c.socket.settimeout(0.2)
    for _ in range(300):
        k = Raw(direct=True)
        k.send(struct.pack("!II", 8 + len(c.key), wire.CANCEL_REQUEST) + c.key)
        k.until_closed(60.0)
        try:
            tag, body = c.read()
            while tag == "T":
                tag, body = c.read()
            c.socket.settimeout(60)
            state = wire.fields(body).get("C") if tag == "E" else tag
            return state == "57014" and len(c.key)
        except TimeoutError:
            pass
    return "never"


def downgrade():
    c = Raw()
    c.begin()
    return refused(lambda: c.scram(PLAIN, "y,,"))[0] == "28000"


def another_channel():
    c = Raw()
    c.begin()
    return refused(lambda: c.scram(PLUS, "p=tls-server-end-point,,", b"\1" * 32))[0] == "28000"


def nobody_can_tell_who_exists():
    """A wrong password and an unknown user: the same exchange, the same words, the same salt each time."""
    got = []
    for user in ("by_scram", "no_such_user", "no_such_user"):
        c = Raw()
        code, offer = c.begin(user)
        words = refused(lambda: c.scram(PLUS, "p=tls-server-end-point,,", c.bound(), password="not this one"))
        got.append((code, offer, words[0], words[1].replace(user, "USER"), len(c.seen[0]), c.seen[1]))
        salt = c.seen[0]
    return got[0] == got[1] == got[2] and got[0][2] == "28P01" and salt == c.seen[0] and got


def malformed():
    states = []
    for text in (b"", b"\0", b"SCRAM-SHA-256\0\0\0\0\x09n,,", b"OAUTHBEARER\0\xff\xff\xff\xff", b"SCRAM-SHA-256\0\xff\xff\xff\xff"):
        c = Raw()
        c.begin()
        c.send(wire.frame("p", text))
        states.append(refused(c.request)[0])
    c = Raw()
    c.begin()
    c.send(wire.query("select 1"))
    states.append(refused(c.request)[0])
    return states == ["08P01"] * 6 or states


def data_behind_the_request_for_tls():
    c = wire.Connection(start=False, timeout=60.0)
    c.send(struct.pack("!II", 8, wire.SSL_REQUEST) + b"x")
    try:
        return c.socket.recv(1) == b""
    except ConnectionError:
        return True


CASES = {
    "as pgx": as_pgx,
    "without binding": without_binding,
    "in clear": in_clear,
    "a query behind the proof": query_behind_the_proof,
    "direct TLS": direct_tls,
    "an encrypted cancellation": lambda: encrypted_cancel(wire.PROTOCOL_3_0) == 8,
    "an encrypted cancellation of 3.2": lambda: encrypted_cancel(wire.PROTOCOL_3_0 + 2) in (8, 36),
    "the offer was taken out": downgrade,
    "bound to another channel": another_channel,
    "nobody can tell who exists": nobody_can_tell_who_exists,
    "malformed": malformed,
    "data behind the request for TLS": data_behind_the_request_for_tls,
}

for name, case in CASES.items():
    try:
        got = case()
        wire.report(name, got is True or (isinstance(got, list) and name.startswith("nobody")), str(got))
    except Exception as failure:  # this case's result; the next one must run
        wire.report(name, False, repr(failure))
wire.finish()
