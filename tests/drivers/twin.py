"""Databases for proofs about masks: one with the values, one in which the masked columns hold what the mask makes of them.

What a masked reader sees of the first must be what anybody sees of the second: that is all an answer may depend on.
"""

import json
import os
import re

import wire

CONSTANTS = {
    "int2": "0", "int4": "0", "int8": "0", "oid": "0", "float4": "0", "float8": "0", "numeric": "0", "money": "0::money",
    "bool": "false", "uuid": "'00000000-0000-0000-0000-000000000000'", "json": "'\"***\"'", "jsonb": "'\"***\"'", "bytea": "''",
    "date": "'2000-01-01'", "time": "'00:00:00'", "timetz": "'00:00:00+00'", "timestamp": "'2000-01-01 00:00:00'",
    "timestamptz": "'2000-01-01 00:00:00+00'", "interval": "'0'", "inet": "'0.0.0.0'", "cidr": "'0.0.0.0'", "macaddr": "'00:00:00:00:00:00'",
    "text": "'***'", "varchar": "'***'", "bpchar": "'***'", "name": "'***'",
}


RECORD = 2249


def direct(database, **parameters):
    """A connection beside weir."""
    return wire.Connection(os.environ["LAB_DIRECT_HOST"], database=database, **parameters)


def constant(connection, column):
    """What `redact` makes of the values of `schema.table.column`, as an SQL expression of the column's exact type."""
    schema, table, name = column.split(".")
    [[type_name, full, kind, category]] = connection.run(
        "select coalesce(b.typname, t.typname), format_type(a.atttypid, a.atttypmod), coalesce(b.typtype, t.typtype), coalesce(b.typcategory, t.typcategory) "
        "from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_type b on b.oid = nullif(t.typbasetype, 0) "
        f"where a.attrelid = '{schema}.{table}'::regclass and a.attname = '{name}'"
    )
    if category == "A":
        return f"'{{}}'::{full}"
    if kind == "e":
        return f"enum_first(null::{full})"
    return f"({CONSTANTS.get(type_name, 'null')})::{full}"


def redact(database, columns):
    """Overwrites the columns, for every row, and keeps the order of rows."""
    connection = direct(database)
    for column in columns:
        schema, table, name = column.split(".")
        value = constant(connection, column)
        if value.startswith("(null)"):
            connection.run(f'alter table "{schema}"."{table}" alter "{name}" drop not null')
        connection.run(f'update "{schema}"."{table}" set "{name}" = {value}')
    connection.run("vacuum full")
    connection.run("analyze")
    connection.close()


def masked():
    """The masked columns of the shop."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "governed", "masked.json"), encoding="utf-8") as file:
        return list(json.load(file))


def answer(frames, ordered):
    """What of the frames a client works with, comparable between two databases: not which table a column
    comes from, no texts of errors. Rows are sorted unless the statement orders them."""
    parts, rows = [], []

    def close():
        if rows:
            parts.append(list(rows) if ordered else sorted(rows))
            rows.clear()

    for tag, body in frames:
        if tag in "Dd":
            rows.append(body.hex())
            continue
        if tag in "NSA123ns":
            continue
        close()
        if tag == "T":
            parts.append(["T", columns(body)])
        elif tag == "E":
            parts.append(["E", wire.fields(body).get("C")])
        elif tag in "CZGHtI":
            parts.append([tag, body.hex() if tag in "GHt" else body.decode("utf-8", "replace")])
        else:
            parts.append([tag])
    close()
    return parts


def columns(body):
    """Name, type and format of each column. Not the table it comes from, which a mask takes away, nor the type's modifier,
    which an expression of constants keeps where one of columns loses it: the rows show what modifiers do to values."""
    count, at, found = int.from_bytes(body[:2], "big"), 2, []
    for _ in range(count):
        end = body.index(0, at)
        name = body[at:end].decode("utf-8", "replace")
        rest = body[end + 1 : end + 19]
        type_oid = int.from_bytes(rest[6:10], "big")
        # A whole row of a table is of the table's type; of what a mask puts in its place it is a record, with the same fields.
        found.append([name, type_oid if type_oid < 16384 and type_oid != RECORD else "own", rest[16:18].hex()])
        at = end + 19
    return found


def refusal(frames):
    """The error of weir's own among the frames, or `None`: it names the request."""
    for tag, body in frames:
        if tag == "E":
            error = wire.fields(body)
            if error.get("M", "").startswith("weir") or re.search(r"\brequest \S", error.get("D", "")):
                return error
    return None


def has_order(sql):
    return re.search(r"\border\s+by\b", sql, re.IGNORECASE) is not None
