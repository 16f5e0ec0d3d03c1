"""Work whose extent is known exactly: what was sent, what came back. The runner compares it with the records.

Each case is a session of its own, named by `application_name`; its result says how many statements it ran, how many
rows and bytes of rows or copy data went by, and how many statements were denied or failed.
"""

import wire
from wire import SYNC, Connection, bind, execute, frame, parse, query

DENIED = "delete from counted"
SERIES = "select i, repeat('x', i) from generate_series(1, 7) i"


class Tally:
    """A session that counts for itself."""

    def __init__(self, case):
        self.connection = Connection(application_name=case)
        self.seen = {"statements": 0, "rows": 0, "bytes": 0, "denied": 0, "failed": 0}

    def ask(self, data, statements=1, copy_rows=0):
        self.connection.send(data)
        self.take(self.connection.until_ready(), statements, copy_rows)

    def take(self, frames, statements, copy_rows=0):
        self.seen["statements"] += statements
        self.seen["rows"] += copy_rows
        for tag, body in frames:
            if tag == "D":
                self.seen["rows"] += 1
            if tag in "DdV":
                self.seen["bytes"] += len(body) + 5
            if tag == "E":
                self.seen["denied" if wire.fields(body)["C"] == "42501" else "failed"] += 1


def simple(t):
    for _ in range(10):
        t.ask(query(SERIES))


def several_in_one(t):
    t.ask(query(f"{SERIES}; {SERIES}; select 1"))


def extended(t):
    for _ in range(10):
        t.ask(parse(SERIES) + bind() + execute() + SYNC)


def prepared(t):
    t.ask(parse("select $1::int, repeat('y', $1::int)", "kept", [23]) + SYNC, statements=0)
    for n in range(50):
        t.ask(bind("", "kept", [str(n).encode()]) + execute() + SYNC)


def described_only(t):
    t.ask(parse(SERIES, "never") + wire.describe("S", "never") + SYNC, statements=0)


def in_portions(t):
    t.ask(parse("select i from generate_series(1, 10) i") + bind("p") + b"".join(execute("p", 3) for _ in range(4)) + SYNC, statements=4)


def two_portals_by_turns(t):
    data = parse(SERIES) + bind("a") + bind("b")
    for _ in range(3):
        data += execute("a", 2) + execute("b", 3)
    t.ask(data + SYNC, statements=6)


def sql_cursor(t):
    t.ask(query("begin"))
    t.ask(query("declare c cursor for select generate_series(1, 100)"))
    for _ in range(4):
        t.ask(query("fetch 30 from c"))
    t.ask(query("commit"))


def pipelined(t):
    t.ask((parse(SERIES) + bind() + execute()) * 100 + SYNC, statements=100)


def pipelined_syncs(t):
    t.connection.send((parse(SERIES) + bind() + execute() + SYNC) * 200)
    for _ in range(200):
        t.take(t.connection.until_ready(), 1)


def pipelined_simple(t):
    t.connection.send(query(SERIES) * 200)
    for _ in range(200):
        t.take(t.connection.until_ready(), 1)


def failing(t):
    t.ask(query("select 1/0"))
    t.ask(parse("select 1 / (i - 1) from generate_series(1, 1) i") + bind() + execute() + SYNC)


def failing_before_it_runs(t):
    # Planned at its Bind, where the division fails; refused at its Parse.
    t.ask(parse("select 1/0") + bind() + execute() + SYNC)
    t.ask(parse("select * from not_there") + bind() + execute() + SYNC)


def failing_midway(t):
    t.ask(query("select 1 / (5000 - i) from generate_series(1, 10000) i"))


def denied(t):
    t.ask(query(DENIED))
    t.ask(parse(DENIED) + SYNC)
    # What is sent behind it was never a request: it belongs to the refused one.
    t.ask(parse(DENIED) + bind() + execute() + SYNC)
    t.ask(query("select 1"))


def written_rows(t):
    t.ask(query("insert into counted select generate_series(1, 25)"), copy_rows=25)
    t.ask(parse("update counted set id = id where id <= $1", types=[23]) + bind(values=[b"10"]) + execute() + SYNC, copy_rows=10)


def copy_in(t):
    lines = [b"%d\n" % n for n in range(1000, 1300)]
    t.connection.send(query("copy counted from stdin"))
    while t.connection.read()[0] != "G":
        pass
    sent = [frame("d", b"".join(lines[at : at + 7])) for at in range(0, 300, 7)]
    t.seen["bytes"] += sum(map(len, sent))
    t.ask(b"".join(sent) + frame("c"), copy_rows=300)


def copy_out(t):
    t.ask(query("copy (select i, 'text' from generate_series(1, 500) i) to stdout"), copy_rows=500)



def large_rows(t):
    t.ask(query("select repeat('z', 3000000) from generate_series(1, 5)"))


CASES = [
    simple, several_in_one, extended, prepared, described_only, in_portions, two_portals_by_turns, sql_cursor, pipelined,
    pipelined_syncs, pipelined_simple, failing, failing_before_it_runs, failing_midway, denied, written_rows, copy_in, copy_out, large_rows,
]  # fmt: skip


def main():
    for case in CASES:
        tally = Tally(case.__name__)
        case(tally)
        tally.connection.close()
        wire.report(case.__name__, True, tally.seen)
    wire.finish()


main()
