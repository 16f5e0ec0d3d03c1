"""Every way that libpq may be told to use TLS and channel binding, at every mode of an endpoint: what can work must work,
with a query and a cancellation, and everything else must be refused in words that help.

usage: trust_matrix.py debian|bundled MODE=ADDRESS …    PASSWORD, LOGINS and PGSSLROOTCERT are in the environment
"""

import ctypes
import ctypes.util
import glob
import importlib.util
import itertools
import os
import select
import sys
import time

import wire

SSLMODES = ["disable", "prefer", "require", "verify-ca", "verify-full"]
BINDINGS = ["disable", "prefer", "require"]


def library(which):
    if which == "debian":
        path = ctypes.util.find_library("pq") or "libpq.so.5"
    else:
        folder = os.path.dirname(os.path.dirname(importlib.util.find_spec("psycopg_binary").origin))
        path = glob.glob(os.path.join(folder, "psycopg_binary.libs", "libpq-*.so*"))[0]
    lib = ctypes.CDLL(path)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in [
        ("PQconnectdb", pointer, [text]),
        ("PQstatus", number, [pointer]),
        ("PQerrorMessage", text, [pointer]),
        ("PQfinish", None, [pointer]),
        ("PQexec", pointer, [pointer, text]),
        ("PQclear", None, [pointer]),
        ("PQgetvalue", text, [pointer, number, number]),
        ("PQntuples", number, [pointer]),
        ("PQsendQuery", number, [pointer, text]),
        ("PQsocket", number, [pointer]),
        ("PQconsumeInput", number, [pointer]),
        ("PQisBusy", number, [pointer]),
        ("PQgetResult", pointer, [pointer]),
        ("PQresultErrorField", text, [pointer, number]),
        ("PQsslInUse", number, [pointer]),
        ("PQlibVersion", number, []),
        ("PQgetCancel", pointer, [pointer]),
        ("PQcancel", number, [pointer, text, number]),
        ("PQfreeCancel", None, [pointer]),
    ]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if lib.PQlibVersion() >= 170000:
        for name, result in [("PQcancelCreate", pointer), ("PQcancelBlocking", number), ("PQcancelFinish", None), ("PQcancelErrorMessage", text)]:
            function = getattr(lib, name)
            function.restype, function.argtypes = result, [pointer]
    return lib


class Client:
    def __init__(self, lib):
        self.lib = lib

    def connect(self, **options):
        text = " ".join(f"{key}='{value}'" for key, value in options.items())
        return self.lib.PQconnectdb(text.encode())

    def try_one(self, cancels, **options):
        """What came of it: ('ok', tls) or ('failed', words)."""
        conn = self.connect(**options)
        try:
            if self.lib.PQstatus(conn) != 0:
                return "failed", self.lib.PQerrorMessage(conn).decode("utf-8", "replace").strip()
            result = self.lib.PQexec(conn, b"select current_user")
            rows = self.lib.PQntuples(result)
            value = self.lib.PQgetvalue(result, 0, 0).decode() if rows == 1 else None
            self.lib.PQclear(result)
            if value != options["user"]:
                return "failed", f"the query gave {value!r}: {self.lib.PQerrorMessage(conn)}"
            tls = bool(self.lib.PQsslInUse(conn))
            if cancels:
                failure = self.cancel(conn)
                if failure:
                    return "failed", failure
            return "ok", tls
        finally:
            self.lib.PQfinish(conn)

    def cancel(self, conn):
        """Cancels until the statement has ended: one that comes too early hits nothing."""
        self.lib.PQsendQuery(conn, b"select pg_sleep(120)")
        until = time.monotonic() + 60
        while True:
            failure = self.cancel_once(conn)
            if failure:
                return failure
            select.select([self.lib.PQsocket(conn)], [], [], 0.05)
            if not self.lib.PQconsumeInput(conn):
                return f"lost: {self.lib.PQerrorMessage(conn)}"
            if not self.lib.PQisBusy(conn):
                break
            if time.monotonic() > until:
                return "a cancellation had no effect"
        result = self.lib.PQgetResult(conn)
        state = self.lib.PQresultErrorField(result, ord("C"))
        self.lib.PQclear(result)
        return None if state == b"57014" else f"ended with {state}"

    def cancel_once(self, conn):
        if self.lib.PQlibVersion() >= 170000:
            made = self.lib.PQcancelCreate(conn)
            done = self.lib.PQcancelBlocking(made)
            words = self.lib.PQcancelErrorMessage(made)
            self.lib.PQcancelFinish(made)
        else:
            words = ctypes.create_string_buffer(256)
            made = self.lib.PQgetCancel(conn)
            done = self.lib.PQcancel(made, words, 256)
            self.lib.PQfreeCancel(made)
            words = words.value
        return None if done else f"cannot cancel: {words}"


def expected(mode, sslmode, binding, login):
    """'tls', 'clear', or a tuple of words of which one must be in the error."""
    wants = sslmode in ("require", "verify-ca", "verify-full")
    speaks = sslmode != "disable"
    if mode == "plaintext":
        if wants:
            return ("does not support SSL",)
        speaks = False
    if mode == "plaintext-tls" and speaks and login == "scram" and binding != "disable":
        # A certificate of weir's and nobody who takes part: the client is told what to do, and tries again in clear if it may.
        if wants:
            return ('mode to "verifier"',)
        return "clear" if binding == "prefer" else ("channel binding required", "channel binding is required", 'mode to "verifier"')
    if binding == "require":
        bound = speaks and login == "scram" and mode in ("verifier", "server-certificate", "opaque")
        if not bound:
            return ("channel binding",)
    return "tls" if speaks else "clear"


def main():
    which, places = sys.argv[1], dict(argument.split("=") for argument in sys.argv[2:])
    client = Client(library(which))
    version = client.lib.PQlibVersion()
    wire.report("libpq", version >= (170000 if which == "bundled" else 130000), version)
    for mode, address in places.items():
        for login in os.environ["LOGINS"].split(","):
            wrong, counts, began = [], {"works": 0, "refused": 0}, time.monotonic()
            for sslmode, binding in itertools.product(SSLMODES, BINDINGS):
                known = "a placeholder" if mode == "inject" else os.environ["PASSWORD"]
                outcome, words = client.try_one(
                    login in ("scram", "trust"),
                    host="localhost",
                    hostaddr=address,
                    port=os.environ["PGPORT"],
                    user=f"by_{login}",
                    dbname=os.environ["PGDATABASE"],
                    password=known,
                    sslmode=sslmode,
                    channel_binding=binding,
                    sslrootcert=os.environ["PGSSLROOTCERT"],
                    gssencmode="disable",
                    connect_timeout=60,
                )
                want = expected(mode, sslmode, binding, login)
                if isinstance(want, tuple):
                    well = outcome == "failed" and any(word in words for word in want)
                    counts["refused"] += 1
                else:
                    well = outcome == "ok" and words == (want == "tls")
                    counts["works"] += 1
                if not well:
                    wrong.append(f"{sslmode}/{binding}: wanted {want}, got {outcome} {words}")
            counts["seconds"] = round(time.monotonic() - began, 1)
            wire.report(f"{which} {mode} {login}", not wrong, wrong or counts)
    wire.finish()


main()
