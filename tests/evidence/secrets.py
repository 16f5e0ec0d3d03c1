"""Sends words that must be nowhere but in the database, in every way that a client has of sending one.

The words come as a JSON object, by what they are for; whoever runs this looks for them afterwards in all that weir writes.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "drivers"))

import wire

WORDS = json.loads(sys.argv[1])
CLEAR = sys.argv[2] == "clear"
N = "2" if CLEAR else "3"

# What may fail may: it is in the text, or in the server's answer, all the same.
STATEMENTS = """
select id from marker_people where code = '{literal}'
select id from marker_people where code = E'{escaped}' or code = U&'{unicode}' or code = $x${dollar}$x$
select {number}, {number}.25, b'0101', 'a' 'b', interval '{interval}'
select id from marker_people where ssn = '{filter}' or ssn like '%{filter}%'
select ssn from marker_people
copy marker_people to stdout
copy (select ssn from marker_people where ssn <> '{copied}') to stdout with (format csv)
insert into marker_people values ({n}, '{inserted}', '{written}')
insert into marker_people values ({n}0, '{inserted}', 'x')
update marker_people set ssn = '{updated}', code = code where id = {n} returning id
merge into marker_people p using (values ('{merged}')) v(c) on p.code = v.c when not matched then do nothing
insert into marker_people (id, code, ssn) values ({n}1, null, '{refused}')
select '{cast}'::int
select ('{cast}' || code)::int from marker_people
select 1 '{syntax}'
select '{unterminated}
select * from marker_people where ssn = {number} {number}
set app.secret = '{setting}'
set local app.secret = '{setting}'
select set_config('app.secret', '{setting}', false)
select '{multi}'; select 2; select '{multi}'::int
prepare p{n} as select '{prepared}'
prepare q{n}(text) as select id from marker_people where code = $1
execute q{n}('{executed}')
explain select * from marker_people where code = '{explained}'
notify marker, '{notified}'
comment on table marker_people is '{comment}'
alter role marker_role password '{role}'
create role marker_none password '{role}'
create user mapping for marker_role server marker options (password '{role}')
create subscription marker connection 'host=127.0.0.1 password={role}' publication none
create table marker_default (a text default '{default}', check (a <> '{default}'))
create or replace view marker_view as select '{view}'::text as a
create or replace function marker_function() returns text language sql as $$select '{body}'::text$$
create or replace function marker_function() returns text language sql as 'select ''{body}''::text'
do $$begin raise notice '{raised}'; raise exception '{raised}'; end$$
do 'begin raise exception ''{raised}''; end'
copy marker_people from program 'echo {program}'
alter database marker set app.secret = '{setting}'
security label on table marker_people is '{label}'
select * from xmltable('/{xml}' passing '<{xml}/>' columns a text)
""".strip()


def simple(connection):
    failed = 0
    for statement in STATEMENTS.split("\n"):
        sql = statement
        for name, word in WORDS.items():
            sql = sql.replace("{" + name + "}", word)
        frames = connection.ask(wire.query(sql.replace("{n}", N)))
        failed += any(tag == "E" for tag, _ in frames)
    return failed


def begun_in_a_transaction(connection):
    connection.ask(wire.query("begin"))
    connection.ask(wire.query(f"declare c cursor for select id from marker_people where code = '{WORDS['declared']}'"))
    connection.ask(wire.query("fetch all from c"))
    connection.ask(wire.query(f"savepoint s; select '{WORDS['cast']}'::int"))
    connection.ask(wire.query("rollback"))


def extended(connection):
    for binary in (False, True):
        for sql, word in (
            ("select ssn from marker_people where code <> $1", WORDS["bound"]),
            ("select id from marker_people where ssn = $1", WORDS["bound_filter"]),
            ("insert into marker_people values (1, $1, 'x')", WORDS["bound_written"]),
            ("select ($1 || code)::int from marker_people", WORDS["bound_cast"]),
        ):
            frames = wire.parse(sql, types=(25,)) + wire.bind(values=(word.encode(),), result_formats=(1,) if binary else ())
            connection.ask(frames + wire.describe("P") + wire.execute() + wire.SYNC)
        connection.ask(wire.parse(f"select id, '{WORDS['parsed']}' from marker_people") + wire.bind() + wire.execute() + wire.SYNC)


def copies(connection):
    for row in (f"{N}5\t{WORDS['streamed']}\tx\n", f"no number {WORDS['streamed']}\n"):
        connection.send(wire.query("copy marker_people from stdin"))
        tag, _ = connection.read()
        if tag == "G":
            connection.send(wire.frame("d", row.encode()) + wire.frame("c"))
            connection.until_ready()
        else:
            connection.until_ready()


def shown():
    """What came back of the masked column."""
    connection = wire.Connection()
    rows = connection.run("select ssn from marker_people where id = 1")
    connection.ask(wire.parse("select ssn from marker_people where id = 1") + wire.bind(result_formats=(1,)) + wire.execute() + wire.SYNC)
    connection.close()
    return rows[0][0]


def error_of(connection, sql):
    for tag, body in connection.ask(wire.query(sql)):
        if tag == "E":
            return wire.fields(body)
    return {}


def held():
    """Waits for an approval; `weir approvals` shows it meanwhile. What commands print is printed for who looks through it."""
    connection = wire.Connection(timeout=60)
    connection.send(wire.query(f"delete from marker_waits where note = '{WORDS['held']}'"))
    weir = os.environ["WEIR_BIN"]
    listed = []
    until = time.monotonic() + 20
    while not listed and time.monotonic() < until:
        listed = json.loads(subprocess.run([weir, "approvals", "list", "--json"], capture_output=True, check=True).stdout)["waiting"]
    number = str(listed[0]["id"])
    printed = json.dumps(listed) + "".join(
        subprocess.run([weir, "approvals", "show", number, *more], capture_output=True, text=True, check=True).stdout
        for more in ([], ["--json"])
    )
    wire.report("printed", True, printed)
    return connection, number


def passwords():
    """Log-ins with a password in clear, right and wrong, and by SCRAM."""
    codes = []
    for user, password in (
        ("marker_clear", WORDS["password"]),
        ("marker_clear", WORDS["wrong_password"]),
        ("marker_scram", WORDS["scram"]),
        ("marker_scram", WORDS["wrong_password"]),
    ):
        run = subprocess.run(
            ["psql", "--no-psqlrc", "-Atc", "select 1"],
            env=os.environ | {"PGUSER": user, "PGPASSWORD": password, "PGOPTIONS": f"-c app.secret={WORDS['option']}"},
            capture_output=True,
        )
        codes.append(run.returncode)
    return codes


connection = wire.Connection()
failed = simple(connection)
wire.report("statements", 8 < failed < 40, failed)
begun_in_a_transaction(connection)
extended(connection)
copies(connection)
error = error_of(connection, f"insert into marker_people values ({N}7, '{WORDS['inserted']}', 'x')")
# The server's own words name the value; whoever sees all of the data is told so.
wire.report("unique violation", error.get("C") == "23505" and (not CLEAR or WORDS["inserted"] in error.get("D", "")), error.get("C"))
error = error_of(connection, f"select '{WORDS['unterminated']}")
wire.report("the parser's words", WORDS["unterminated"] in error.get("M", ""), error.get("C"))
masked = shown()
wire.report("masked", masked.startswith(WORDS["masked"]) == CLEAR, None)
codes = passwords()
wire.report("passwords", codes == [0, 2, 0, 2], codes)
if not CLEAR:
    waiting, number = held()
    approve = [os.environ["LAB_AS"], "alice", os.environ["WEIR_BIN"], "approvals", "approve", number, "--reason", "seen"]
    approved = subprocess.run(approve, capture_output=True, text=True)
    wire.report("decided", approved.returncode == 0, approved.stderr)
    frames = waiting.until_ready()
    wire.report("approved", any(tag == "C" for tag, _ in frames), wire.shape(frames))
    waiting.close()
connection.close()
wire.finish()
