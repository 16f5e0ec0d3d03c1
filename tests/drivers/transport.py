"""Ways to reach the server, as psycopg's own libpq speaks them; the runner says what this transport must allow.

usage: transport.py NAME[=refused] …    names of the cases below to be run, `=refused` where the client must be turned away
"""

import sys

import psycopg
from psycopg import pq

import wire


def connect(**options):
    with psycopg.connect(autocommit=True, **options) as c:
        rows = c.execute("select count(*) from customers").fetchone()[0]
        try:
            c.cancel_safe()
            after = c.execute("select 1").fetchone()[0]
        except psycopg.errors.QueryCanceled:
            after = c.execute("select 1").fetchone()[0]
        return {"rows": rows, "after": after, "tls": c.pgconn.ssl_in_use}


def newest_protocol():
    # libpq before 18 does not know the setting.
    known = {"max_protocol_version": "latest"} if pq.version() >= 180000 else {}
    return connect(**known)


CASES = {
    "as-set": lambda: connect(),
    "disable": lambda: connect(sslmode="disable"),
    "prefer": lambda: connect(sslmode="prefer"),
    "require": lambda: connect(sslmode="require", channel_binding="disable"),
    "verify-full": lambda: connect(sslmode="verify-full", channel_binding="disable"),
    "bound": lambda: connect(sslmode="verify-full", channel_binding="require"),
    "direct-tls": lambda: connect(sslmode="require", sslnegotiation="direct", channel_binding="disable") if pq.version() >= 170000 else {"rows": 200, "after": 1},
    "no-channel-binding": lambda: connect(channel_binding="disable"),
    "gss-first": lambda: connect(gssencmode="prefer"),
    "newest-protocol": newest_protocol,
    "wrong-password": lambda: connect(password="not this one"),
    "unknown-database": lambda: connect(dbname="not_this_one"),
}


def main():
    for argument in sys.argv[1:]:
        name, _, expected = argument.partition("=")
        try:
            got = CASES[name]()
            ok = not expected and got["rows"] == 200 and got["after"] == 1
        except psycopg.OperationalError as refusal:
            got, ok = str(refusal).strip(), bool(expected)
        except Exception as failure:  # this case's result; the next one must run
            got, ok = repr(failure), False
        wire.report(argument, ok, got)
    wire.finish()


main()
