"""Denials on the wire, each against what the server itself does with an error at the same place.

Each case is a list of frames with a hole for the refused text. Through weir the hole holds a statement that the
policy denies; on the address that weir leaves alone it holds one that cannot be parsed. Apart from the SQLSTATE the
two conversations, the transaction states and the tables afterwards must be the same.

usage: denials.py RULE
"""

import os
import random
import sys

import wire
from wire import SYNC, bind, close, describe, execute, parse, query

DENIED = "delete from items"
BROKEN = "delete frm items"
RULE = sys.argv[1]


def insert(number):
    return f"insert into items values ({number}, 'n')"


# Each entry: name, steps; a step is sent at once and read up to the given count of ReadyForQuery.
CASES = [
    ("denied Q when idle", lambda x: [(query(x), 1), (query("select 1"), 1)]),
    ("denied Q in a transaction", lambda x: [(query("begin"), 1), (query(insert(1)), 1), (query(x), 1), (query("select 1"), 1), (query("commit"), 1)]),
    ("denied Q in a failed transaction", lambda x: [(query("begin"), 1), (query("select 1/0"), 1), (query(x), 1), (query("rollback"), 1), (query("select 1"), 1)]),
    ("denied Q behind a savepoint", lambda x: [(query("begin"), 1), (query(insert(2)), 1), (query("savepoint s"), 1), (query(x), 1), (query("rollback to s"), 1), (query(insert(3)), 1), (query("commit"), 1)]),
    ("denied statement among several of one Q", lambda x: [(query(f"{insert(4)}; {x}; select 1"), 1), (query("select 1"), 1)]),
    ("three Q pipelined, the second denied", lambda x: [(query(insert(5)) + query(x) + query(insert(6)), 3)]),
    ("denied Parse alone", lambda x: [(parse(x) + SYNC, 1), (query("select 1"), 1)]),
    ("denied Parse with Bind, Describe, Execute behind it", lambda x: [(parse(x) + bind() + describe("P") + execute() + SYNC, 1), (parse("select 1") + bind() + execute() + SYNC, 1)]),
    ("denied named Parse", lambda x: [(parse(x, "s") + describe("S", "s") + SYNC, 1), (bind("", "s") + execute() + SYNC, 1), (parse("select 7", "s") + bind("", "s") + execute() + SYNC, 1)]),
    ("an INSERT earlier in the pipeline is undone", lambda x: [(parse(insert(8)) + bind() + execute() + parse(x) + bind() + execute() + parse(insert(9)) + bind() + execute() + SYNC, 1), (query("select count(*) from items where id in (8, 9)"), 1)]),
    ("a pipeline goes on after its Sync", lambda x: [(parse(insert(10)) + bind() + execute() + SYNC + parse(x) + bind() + execute() + SYNC + parse(insert(11)) + bind() + execute() + SYNC, 3)]),
    ("denied Parse in a transaction", lambda x: [(query("begin"), 1), (parse(insert(12)) + bind() + execute() + SYNC, 1), (parse(x) + bind() + execute() + SYNC, 1), (query("commit"), 1)]),
    ("denied Parse behind a savepoint", lambda x: [(query("begin; savepoint s"), 1), (parse(x) + bind() + execute() + SYNC, 1), (query("rollback to s"), 1), (parse(insert(13)) + bind() + execute() + SYNC, 1), (query("commit"), 1)]),
    ("denied Parse in a failed transaction", lambda x: [(query("begin"), 1), (query("select 1/0"), 1), (parse(x) + bind() + execute() + SYNC, 1), (query("rollback"), 1)]),
    ("a COMMIT earlier in the pipeline stays", lambda x: [(parse("begin") + bind() + execute() + parse(insert(14)) + bind() + execute() + parse("commit") + bind() + execute() + parse(x) + bind() + execute() + SYNC, 1)]),
    ("a Q behind a denied Parse is skipped", lambda x: [(parse(x) + query(insert(15)) + SYNC, 1)]),
    ("denied Q in the middle of an extended pipeline", lambda x: [(parse(insert(16)) + bind() + execute() + query(x) + SYNC, 2)]),
    ("other prepared statements survive", lambda x: [(parse("select 17", "kept") + SYNC, 1), (parse(x) + bind() + execute() + SYNC, 1), (bind("", "kept") + execute() + SYNC, 1), (close("S", "kept") + SYNC, 1)]),
    ("an open portal of a transaction ends", lambda x: [(query("begin"), 1), (parse("select generate_series(1, 5)") + bind("p") + execute("p", 2) + SYNC, 1), (query(x), 1), (execute("p", 2) + SYNC, 1), (query("rollback"), 1)]),
    ("the error can be flushed out before the Sync", lambda x: [(parse(x) + wire.FLUSH + bind() + execute() + SYNC, 1)]),
    ("denied Q after a COPY", lambda x: [(query("copy items from stdin") + wire.frame("d", b"18\tn\n") + wire.frame("c"), 1), (query(x), 1), (query("select 1"), 1)]),
]


def conversation(connection, steps):
    """What came back, step by step, and the errors weir may have made."""
    words, errors = [], []
    for data, ready in steps:
        connection.send(data)
        for _ in range(ready):
            frames = connection.until_ready()
            words.append(wire.shape(frames))
            errors += [wire.fields(body) for tag, body in frames if tag == "E"]
    return words, errors


def both(steps_of):
    """The same steps through weir and past it, each in its own schema."""
    results = []
    for host, schema, hole in ((os.environ["PGHOST"], "governed", DENIED), (os.environ["LAB_DIRECT_HOST"], "direct", BROKEN)):
        connection = wire.Connection(host, options=f"-c search_path={schema}")
        try:
            words, errors = conversation(connection, steps_of(hole))
            connection.run("rollback")
            words.append(connection.run("select id from items order by id"))
        finally:
            connection.close()
        results.append((words, errors))
    (governed, errors), (direct, _) = results
    return governed, direct, errors


def judge(name, steps_of):
    governed, direct, errors = both(steps_of)
    expected = [w.replace("42601", "42501") if isinstance(w, str) else w for w in direct]
    denials = [e for e in errors if e.get("C") == "42501"]
    named = all(RULE in e.get("M", "") + e.get("D", "") for e in denials)
    # A position in a text that the client never sent would mislead it.
    clean = all(not set("PpqFLRW") & set(e) for e in denials)
    ok = governed == expected and denials and named and clean
    wire.report(name, ok, None if ok else {"governed": governed, "expected": expected, "errors": errors})


def random_steps(seed):
    """A pipeline by chance. The unnamed statement is always parsed anew before it is bound: weir keeps the one
    before a denied Parse alive where the server's own error would drop it."""

    def steps(hole):
        chance = random.Random(seed)
        result = []
        for _ in range(chance.randint(1, 4)):
            data, ready = b"", 0
            for _ in range(chance.randint(1, 6)):
                sql = chance.choice([insert(chance.randint(100, 999)), "select 1", hole, "begin", "commit", "select 1/0", "savepoint a", "rollback to a", "", "select generate_series(1, 3)"])
                form = chance.randint(0, 3)
                if form == 0:
                    # Behind an error the server drops a Q unread: a Sync before it keeps the answers countable.
                    ready += 2 if data else 1
                    data += (SYNC if data else b"") + query(sql)
                elif form == 1:
                    data += parse(sql) + bind() + execute()
                elif form == 2:
                    data += parse(sql) + bind() + describe("P") + execute("", chance.randint(0, 2))
                else:
                    data += parse(sql) + bind() + execute() + SYNC
                    ready += 1
            result.append((data + SYNC, ready + 1))
        return result

    return steps


def main():
    connection = wire.Connection(os.environ["LAB_DIRECT_HOST"])
    for schema in ("governed", "direct"):
        connection.run(f"drop schema if exists {schema} cascade; create schema {schema}; create table {schema}.items (id int, note text)")
    for name, steps in CASES:
        judge(name, steps)
    failed = 0
    for seed in range(300):
        governed, direct, _ = both(random_steps(seed))
        expected = [w.replace("42601", "42501") if isinstance(w, str) else w for w in direct]
        if governed != expected:
            failed += 1
            wire.report(f"random pipeline {seed}", False, {"governed": governed, "expected": expected})
        if failed == 3:
            break
    wire.report("300 random pipelines", failed == 0, failed)
    wire.finish()


main()
