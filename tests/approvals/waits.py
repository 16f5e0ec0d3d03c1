"""How the wait for an approval ends, and what becomes of the session: time, cancellation, other rules, transactions, pipelines.

usage: waits.py RULES   (the file of rules in force, which this program changes)
"""

import sys
import time
from pathlib import Path

import people
from people import (
    Psql, Terminal, approvals, approve, beside, case, ended, expect, governed, note, number_in, secret, until_notice, waits, within,
)
import wire
from wire import SYNC, bind, execute, parse, query

RULES = Path(sys.argv[1])


def error_in(frames):
    return [wire.fields(body) for tag, body in frames if tag == "E"][0]


@case
def it_is_given_up_in_time():
    psql = Psql()
    begun = time.monotonic()
    psql.send(f"update brief set note = '{secret()}' where id = 1;")
    number = psql.number()
    said = psql.answer()
    took = time.monotonic() - begun
    expect("42501" in said and f"nobody decided about approval {number} in time" in said, said)
    expect(1.9 < took < 5, took)
    expect(psql.ask("select note = '' from brief where id = 1;") == "t\n", "the session goes on")
    psql.close()
    return f"{took:.2f} s"


@case
def control_c_takes_it_back():
    psql = Terminal()
    psql.type("set application_name = 'at a terminal';\n")
    psql.until(people.PROMPT)
    # No approval lasts for this one: bob has one at psql for the like on accounts.
    psql.type(f"update alone set note = '{secret()}' where id = 4;\n")
    number = int(psql.until(people.WAITS)[1])
    psql.type("\x03")
    psql.until("57014")
    psql.until(people.PROMPT)
    expect(not waits(number), "it waits still")
    approvals("alice", "approve", number, "--reason", "late").refused("no statement waits")
    seen = beside("select state from pg_stat_activity where application_name = 'at a terminal'")
    expect(seen == [["idle"]], seen)
    psql.type("select 'still ' || 'here';\n")
    psql.until("still here")
    psql.until(people.PROMPT)
    expect(note("alone", 4) == "", "it ran")
    psql.close()


@case
def a_cancellation_with_another_key_takes_nothing_back():
    connection = governed()
    connection.send(query(f"update accounts set note = '{secret()}' where id = 4"))
    number = number_in(until_notice(connection))
    wrong = connection.key[:4] + bytes(byte ^ 0xFF for byte in connection.key[4:])
    for key in (wrong, connection.key):
        expect(waits(number), "taken back")
        cancel = wire.Connection(start=False)
        length = (8 + len(key)).to_bytes(4, "big")
        cancel.send(length + wire.CANCEL_REQUEST.to_bytes(4, "big") + key)
        cancel.until_closed()
    expect(ended(connection) == "E:ERROR:57014 Z:I", "not cancelled")
    expect(connection.run("select 1") == [["1"]], "the session goes on")
    connection.close()


@case
def it_is_gone_with_its_client():
    numbers = []
    for leave in (lambda it: it.close(), lambda it: it.socket.close()):
        connection = governed()
        connection.send(query(f"update accounts set note = '{secret()}' where id = 5"))
        numbers.append(number_in(until_notice(connection)))
        leave(connection)
    for number in numbers:
        within(5, lambda: not waits(number))
        approvals("alice", "approve", number, "--reason", "late").refused("no statement waits")
    expect(note("accounts", 5) == "", "it ran")
    return {"disconnected": numbers}


@case
def rules_that_change_meanwhile_are_asked_again():
    words = {}
    connections = {}
    numbers = {}
    for table in ("changing", "freed", "forbidden"):
        connections[table], words[table] = governed(), secret()
        connections[table].send(query(f"update {table} set note = '{words[table]}' where id = 1"))
        numbers[table] = number_in(until_notice(connections[table]))
    text = RULES.read_text()
    head, changed = text.split("  - id: changing-by-dba\n")
    changed, freed = changed.split("  - id: freed-by-dba\n")
    freed, forbidden = freed.split("  - id: forbidden-by-dba\n")
    changed = changed.replace("groups: [dba]", "groups: [dba, analyst]")
    forbidden = forbidden.replace("{ approve: { groups: [dba], ttl: 60s } }", '{ deny: "not any more" }')
    draft = RULES.with_name("draft")
    draft.write_text(f"{head}  - id: changing-by-dba\n{changed}  - id: forbidden-by-dba\n{forbidden}")
    draft.rename(RULES)

    frames = connections["forbidden"].until_ready()
    expect(wire.shape(frames) == "E:ERROR:42501 Z:I", wire.shape(frames))
    expect("not any more" in str(error_in(frames)), error_in(frames))
    expect(ended(connections["freed"]) == "C:UPDATE 1 Z:I", "not freed")
    again = until_notice(connections["changing"])
    expect("have changed" in wire.fields(again[-1][1])["M"], again)
    number = number_in(again)
    expect(number != numbers["changing"], "the same number")
    approvals("alice", "approve", numbers["changing"], "--reason", "old").refused("no statement waits")
    expect(note("changing") == "", "it ran")
    approve(number)
    expect(ended(connections["changing"]) == "C:UPDATE 1 Z:I", "not run")
    found = {table: note(table) for table in words}
    expect(found == words | {"forbidden": ""}, found)
    for connection in connections.values():
        connection.close()
    return {"changed": list(numbers.values())}


@case
def a_transaction_is_told_to_go_outside():
    connection = governed()
    connection.run("begin")
    connection.run("select 1")
    frames = connection.ask(query(f"update alone set note = '{secret()}' where id = 1"))
    expect(wire.shape(frames) == "E:ERROR:42501 Z:E", wire.shape(frames))
    error = error_in(frames)
    expect("inside a transaction" in error["M"] and "outside" in error["H"], error)
    expect(wire.shape(connection.ask(query("select 1"))) == "E:ERROR:25P02 Z:E", "the transaction is not aborted")
    expect(wire.shape(connection.ask(query("commit"))) == "C:ROLLBACK Z:I", "it was not rolled back")
    word = secret()
    connection.send(query(f"update alone set note = '{word}' where id = 1"))
    approve(number_in(until_notice(connection)))
    expect(ended(connection) == "C:UPDATE 1 Z:I", "outside it may")
    expect(note("alone") == word, "not run")
    connection.close()


@case
def a_transaction_waits_where_it_may():
    connection, word = governed(), secret()
    connection.run("begin")
    connection.run("create temporary table mine (id int)")
    connection.send(query(f"update accounts set note = '{word}' where id = 6"))
    number = number_in(until_notice(connection))
    expect(approvals("alice", "show", number, "--json").json()["in_transaction"], "shown as outside")
    approve(number)
    expect(ended(connection) == "C:UPDATE 1 Z:T", "not run")
    expect(note("accounts", 6) == "", "committed")
    expect(wire.shape(connection.ask(query("commit"))) == "C:COMMIT Z:I", "not committed")
    expect(note("accounts", 6) == word, "not committed")
    connection.close()


@case
def what_is_ahead_is_answered_and_what_is_behind_waits():
    connection, word = governed(), secret()
    update = parse("update accounts set note = $1 where id = $2") + bind(values=[word.encode(), b"7"]) + execute()
    connection.send(parse("select 'ahead'") + bind() + execute() + update + parse("select note from accounts where id = 7") + bind() + execute() + SYNC)
    frames = until_notice(connection)
    number = number_in(frames)
    # The notice may come first: nothing of it hangs on what the server answers to the others.
    ahead = wire.shape(frames + people.until_silent(connection))
    # What was parsed is not asked about before it has its values.
    expect(ahead == "1 2 D:ahead C:SELECT 1 1", ahead)
    expect(note("accounts", 7) == "", "it ran")
    approve(number)
    said = ended(connection)
    expect(said == f"2 C:UPDATE 1 1 2 D:{word} C:SELECT 1 Z:I", said)
    connection.close()
    return f"{ahead} | {said}"


@case
def a_copy_waits_before_its_data():
    connection, word = governed(), secret()
    connection.send(query("copy accounts from stdin"))
    number = number_in(until_notice(connection))
    expect(approvals("alice", "show", number, "--json").json()["kinds"] == ["copy_in"], "another kind")
    approve(number)
    expect(connection.read()[0] == "G", "no copy")
    connection.send(wire.frame("d", f"100\t{word}\n".encode()) + wire.frame("c"))
    expect(ended(connection) == "C:COPY 1 Z:I", "not copied")
    expect(note("accounts", 100) == word, "not there")
    connection.close()


@case
def a_name_in_sql_is_refused():
    connection = governed()
    frames = connection.ask(query("prepare later as update accounts set note = 'x' where id = 8"))
    error = error_in(frames)
    expect(error["C"] == "42501" and "cannot be given a name in SQL" in error["M"], error)
    expect(connection.run("select count(*) from pg_prepared_statements") == [["0"]], "it has one")
    connection.close()


people.main()
