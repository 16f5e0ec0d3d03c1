"""What a session prepared, declared and made while nothing was hidden gives nothing away once something is.

Waits until another connection sees the column masked: the agent looks at the database by itself.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import wire

QUERY = "select ssn from customers order by id limit 1"
# Ways back to the value, without a column whose origin the server would tell.
STANDING = [
    ("prepared in SQL", "prepare q as select lower(ssn) from customers order by id limit 1", "execute q"),
    ("holdable cursor", "declare k cursor with hold for select lower(ssn) from customers order by id limit 1", "fetch all from k"),
    ("temporary view", "create temp view own as select lower(ssn) as s from customers order by id limit 1", "select s from own"),
    ("temporary view by its schema", "create temp view other as select lower(ssn) as s from customers order by id limit 1", "select s from pg_temp.other"),
    ("temporary view of a table's name", "create temp view orders as select lower(ssn) as id from customers order by id limit 1", "select id::text from orders order by 1 limit 1"),
]


def ask(connection, text):
    """The first cell of the answer, or the error's SQLSTATE."""
    connection.send(wire.query(text))
    value = state = None
    while True:
        tag, body = connection.read()
        if tag == "D" and value is None:
            value = body[6:].decode()
        if tag == "E":
            state = wire.fields(body).get("C")
        if tag == "Z":
            return state or value


def main():
    session = wire.Connection()
    truth = ask(session, QUERY)
    for _, make, _ in STANDING:
        ask(session, make)
    session.send(wire.parse("select lower(ssn) from customers order by id limit 1", "n") + wire.SYNC)
    while session.read()[0] != "Z":
        pass
    wire.report("the value is seen at first", truth is not None and "-" in truth, None)
    end = time.monotonic() + 240
    while True:
        other = wire.Connection()
        seen = ask(other, QUERY)
        other.close()
        if seen != truth or time.monotonic() > end:
            break
        time.sleep(1)
    wire.report("another session sees it masked", seen not in (truth, None), seen if seen != truth else "as it is")
    for name, _, run in STANDING:
        got = ask(session, run)
        wire.report(name, got != truth, got if got != truth else "as it is")
    session.send(wire.bind("", "n") + wire.execute() + wire.SYNC)
    frames = []
    while not frames or frames[-1][0] != "Z":
        frames.append(session.read())
    wire.report("prepared by the protocol", not any(tag == "D" and truth.encode() in body for tag, body in frames), None)
    ask(session, "discard all")
    ask(session, "prepare q as select lower(ssn) from customers order by id limit 1")
    again = ask(session, "execute q")
    wire.report("prepared anew", again not in (truth, None, "42501"), again if again != truth else "as it is")
    wire.finish()


if __name__ == "__main__":
    main()
