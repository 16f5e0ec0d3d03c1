"""What somebody who may see only some rows does to the others: nothing, and hears of nothing.

Each case runs in a transaction that is undone; `shown` is what comes back, `left` how many rows of other regions a
superuser beside weir counts before the end.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import twin
import wire

# Text, and what comes back: rows, or the SQLSTATE.
CASES = [
    ("count", "select count(*) from customers", "seen"),
    ("others by name", "select count(*) from customers where region_id <> 2", 0),
    ("by a view", "select count(*) from active_customers where region_id <> 2", 0),
    ("by a cursor", "declare k cursor for select count(*) from customers; fetch k", "seen"),
    ("by a prepared statement", "prepare q as select count(*) from customers; execute q", "seen"),
    ("by copy", "copy (select count(*) from customers) to stdout", "seen"),
    ("by a division that fails on hidden rows", "select count(*) from customers where 1 / (region_id - 1) <> 7", "seen"),
    ("by a division through a view", "select count(*) from active_customers where 1 / (region_id - 1) <> 7", "any"),
    ("update", "update customers set segment = segment returning 1", "rows"),
    ("update of a hidden row", "update customers set segment = 'x' where region_id = 1 returning 1", "none"),
    ("delete of hidden rows", "delete from customers where region_id = 1 returning 1", "none"),
    ("truncate", "truncate customers cascade", "42501"),
    ("truncate what customers refer to", "truncate regions cascade", "42501"),
    ("drop", "drop table customers cascade", "42501"),
    ("drop the schema", "drop schema public cascade", "42501"),
    ("merge", "merge into customers c using regions r on c.region_id = r.id when matched then delete", "42501"),
    ("path and query in one text", "set search_path = public; select count(*) from customers where region_id <> 2", 0),
    ("path that leads nowhere first", "set search_path = hr; set search_path = public; select count(*) from customers where region_id <> 2", 0),
]


def main():
    governed, admin = wire.Connection(database="real"), twin.direct("real")
    [[seen]] = admin.run("select count(*) from customers where region_id = 2")
    [[others]] = admin.run("select count(*) from customers where region_id <> 2")
    for name, text, wanted in CASES:
        governed.run("begin")
        governed.send(wire.query(text))
        frames = []
        while not frames or frames[-1][0] != "Z":
            frames.append(governed.read())
        state = next((wire.fields(body).get("C") for tag, body in frames if tag == "E"), None)
        rows = [body for tag, body in frames if tag in "Dd"]
        shown = state or (rows[-1][6:].decode(errors="replace") if rows and rows[-1][:2] == b"\0\1" else rows[-1].decode(errors="replace").strip() if rows else None)
        good = {
            "seen": shown == seen,
            "any": state is None,
            "rows": len(rows) == int(seen),
            "none": state is None and not rows,
        }.get(wanted, str(shown) == str(wanted))
        wire.report(name, good, {"shown": shown, "rows": len(rows), "seen": seen})
        governed.run("rollback")
    [[left]] = admin.run("select count(*) from customers where region_id <> 2")
    wire.report("rows of others are all there", left == others, {"left": left, "before": others})
    wire.finish()


if __name__ == "__main__":
    main()
