"""Asks the server which relations queries read: each becomes a view for a moment, whose parsed query is looked at.

usage: depends.py QUERIES RELATIONS

QUERIES is a JSON list of texts; RELATIONS gets those that can be a view, each with what it reads, and the names of what
came with the server.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import wire

# What the range tables of the view's query name, at any depth. Its dependencies name more: every constant of type regclass.
DEPENDS = r"""
    select distinct n.nspname || '.' || c.relname
    from pg_rewrite r cross join regexp_matches(r.ev_action::text, ':rtekind 0 :relid (\d+)', 'g') as named
    join pg_class c on c.oid = named[1]::oid join pg_namespace n on n.oid = c.relnamespace
    where r.ev_class = 'weir_view'::regclass and c.oid <> r.ev_class and n.nspname not in ('pg_catalog', 'information_schema')
"""
OWN = "select relname from pg_class where relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) and relkind in ('r', 'v')"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = json.load(file)
    connection = wire.Connection(timeout=60)
    connection.run("set statement_timeout = '10s'; set client_min_messages = error")
    own = [row[0] for row in connection.run(OWN)]
    found = []
    for text in texts:
        body = text.rstrip().rstrip(";")
        connection.run("begin")
        try:
            # In the extended protocol, where several statements in one text are an error.
            frames = connection.ask(wire.parse(f"create temp view weir_view as {body}\n") + wire.bind() + wire.execute() + wire.SYNC)
            if not any(tag == "E" for tag, _ in frames):
                found.append({"text": body, "relations": [row[0] for row in connection.run(DEPENDS)]})
        except wire.Refused:
            pass
        connection.run("rollback")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"own": own, "queries": found}, file)


if __name__ == "__main__":
    main()
