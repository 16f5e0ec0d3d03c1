"""Statements that wait for an approval, as people see it at psql and at `weir approvals`: who may decide, how a wait ends,
and what becomes of the session.

usage: decisions.py RULES   (the file of rules in force, which this program changes)
"""

import os
import sys
import threading
import time
from pathlib import Path

import people
from people import (
    PATIENCE, Psql, Terminal, approvals, approve, beside, case, deny, expect, governed, note, number_in, secret, until_notice,
    within,
)
import wire
from wire import SYNC, bind, execute, parse, query

RULES = Path(sys.argv[1])


def waiting():
    return approvals("alice", "list", "--json").json()["waiting"]


def waits(number):
    return any(one["id"] == number for one in waiting())


def shown_with_estimate(number):
    shown = approvals("alice", "show", number, "--json").json()
    return shown["estimate"] and shown


def ended(connection):
    """What the connection answers now."""
    return wire.shape(connection.until_ready())


def error_in(frames):
    return [wire.fields(body) for tag, body in frames if tag == "E"][0]


@case
def it_waits_and_runs_once_when_approved():
    psql, word = Psql(), secret()
    psql.ask("set application_name = 'held in psql';")
    sent = time.monotonic()
    psql.send(f"update accounts set note = note || '{word}' where id = 1;")
    number = psql.number()
    told = time.monotonic() - sent
    expect(told < 1, "told late", told)
    expect(note("accounts") == "", "it ran")
    # The server was asked what it expects of the statement, and nothing else.
    shown = within(PATIENCE, lambda: shown_with_estimate(number))
    expect(shown["estimate"]["plan"]["rows"] == 1 and "accounts" in shown["estimate"]["plan"]["step"], shown)
    expect(any("accounts" in relation for relation in shown["relations"]), shown)
    expect(not shown["in_transaction"] and any("psql" in line for line in shown["lineage"]), shown)
    seen = beside("select state, query, backend_xid from pg_stat_activity where application_name = 'held in psql'")
    expect(seen == [["idle", "ROLLBACK", None]], seen)
    expect(note("accounts") == "" and psql.is_quiet(), "it ran")

    [one] = [one for one in waiting() if one["id"] == number]
    expect("bob" in one["requester"] and one["rules"] == ["accounts-by-dba"], one)
    expect(one["reason"] == "balances are looked at by two" and "accounts" in one["text"], one)
    expect(one["demands"][0]["groups"] == ["dba"] and one["demands"][0]["given"] == [], one)
    expect(approvals("alice", "list").code == 0 and approvals("alice", "show", number).code == 0, "for people")

    decided = approve(number)
    agreed = time.monotonic()
    expect(decided["over"] and decided["missing"] == {}, decided)
    expect("ERROR" not in psql.answer(), "it failed")
    ran = time.monotonic() - agreed
    expect(ran < 1, "it ran late", ran)
    expect(note("accounts") == word, "not once", note("accounts"))
    expect(not waits(number), "it waits still")
    approvals("alice", "approve", number, "--reason", "again").refused(f"no statement waits for approval {number}")
    expect(psql.ask("select 1;") == "1\n", "the session goes on")
    psql.close()
    return f"told after {told:.3f} s, ran {ran:.3f} s after the approval"


@case
def only_somebody_else_of_the_group_decides_and_says_why():
    psql = Psql()
    psql.send(f"update accounts set note = '{secret()}' where id = 2;")
    number = psql.number()
    own = approvals("bob", "approve", number, "--reason", "mine").refused("nobody decides about their own statements")
    approvals("bob", "deny", number, "--reason", "mine").refused("nobody decides about their own statements")
    for who in ("churn-bot", "svc-billing"):
        approvals(who, "approve", number, "--reason", "fine").refused("services and AI agents cannot decide")
    approvals("nobody", "approve", number, "--reason", "fine").refused("whom the identity provider vouches for", "weir login")
    for nothing in ([], ["--reason", ""], ["--reason", "  "], ["--reason", "two\nlines"]):
        approvals("alice", "approve", number, *nothing).refused("reason")
        approvals("alice", "deny", number, *nothing).refused("reason")
    approvals("alice", "approve", number, "--reason", "long", "--for", "2h").refused("for 3600 s only")
    approvals("alice", "approve", number, "--reason", "now", "--break-glass").refused("no emergency approval")
    approvals("alice", "approve", number + 1_000_000, "--reason", "which").refused("no statement waits")
    expect(waits(number) and note("accounts", 2) == "", "it was decided")
    decided = deny(number, reason="month end is closed")
    expect(decided["over"], decided)
    said = psql.answer()
    expect("42501" in said and "alice" in said and "month end is closed" in said, said)
    expect(psql.ask("select note = '' from accounts where id = 2;") == "t\n", "the session goes on")
    psql.close()
    return f"{own}\n{said}"


@case
def not_in_the_group_is_refused():
    psql = Psql("svc-billing")
    psql.send(f"update accounts set note = '{secret()}' where id = 3;")
    number = psql.number()
    approvals("bob", "approve", number, "--reason", "fine").refused("this takes a member of dba")
    approvals("bob", "deny", number, "--reason", "no").refused("this takes a member of dba")
    # It does not concern them: they ask for nothing of it and may decide nothing about it.
    approvals("bob", "show", number).refused("no statement waits")
    approvals("bob", "show", number, "--values").refused("no statement waits")
    expect(number not in [one["id"] for one in approvals("bob", "list", "--json").json()["waiting"]], "listed for all")
    deny(number)
    expect("42501" in psql.answer(), "not denied")
    psql.close()


@case
def who_started_a_service_does_not_decide_for_it():
    # This program, the service and alice's command are one audit session.
    psql = Psql("svc-billing", before=None)
    psql.send(f"update accounts set note = '{secret()}' where id = 3;")
    number = psql.number()
    approvals("alice", "approve", number, "--reason", "mine").refused("nobody decides about their own statements")
    psql.process.kill()
    within(PATIENCE, lambda: not waits(number))
    expect(note("accounts", 3) == "", "it ran")


@case
def nobody_decides_for_their_own_agent():
    psql = Psql("churn-bot")
    psql.send(f"update pair set note = '{secret()}' where id = 1;")
    number = psql.number()
    approvals("bob", "approve", number, "--reason", "mine").refused("or those of agents that act for them")
    [one] = [one for one in waiting() if one["id"] == number]
    expect("bob" in one["requester"] and "churn-bot" in one["requester"], one)
    deny(number)
    expect("42501" in psql.answer(), "not denied")
    psql.close()


@case
def nobody_unidentified_is_let_wait():
    psql = Psql("nobody")
    said = psql.ask(f"update accounts set note = '{secret()}' where id = 1;")
    expect("42501" in said and "weir login" in said, said)
    psql.close()


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
    psql.type(f"update accounts set note = '{secret()}' where id = 4;\n")
    number = int(psql.until(people.WAITS)[1])
    psql.type("\x03")
    psql.until("57014")
    expect(not waits(number), "it waits still")
    approvals("alice", "approve", number, "--reason", "late").refused("no statement waits")
    seen = beside("select state from pg_stat_activity where application_name = 'at a terminal'")
    expect(seen == [["idle"]], seen)
    psql.type("select 'still ' || 'here';\n")
    psql.until("still here")
    expect(note("accounts", 4) == "", "it ran")
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


@case
def two_must_agree_where_the_rule_says_so():
    psql, word = Psql("svc-billing"), secret()
    psql.send(f"update pair set note = '{word}' where id = 1;")
    number = psql.number()
    first = approve(number, "bob")
    expect(not first["over"] and first["missing"] == {"pair-of-two": 1}, first)
    approvals("bob", "approve", number, "--reason", "twice").refused("you have agreed already; 1 more must")
    expect(note("pair") == "" and psql.is_quiet(), "it ran")
    expect(approve(number)["over"], "not over")
    expect("ERROR" not in psql.answer() and note("pair") == word, "not run")
    psql.close()


@case
def every_rule_must_be_satisfied():
    psql, word = Psql("svc-billing"), secret()
    psql.send(f"update shared set note = '{word}' where id = 1;")
    number = psql.number()
    first = approve(number)
    expect(not first["over"] and first["missing"] == {"both-by-analyst": 1}, first)
    expect(note("shared") == "" and psql.is_quiet(), "it ran")
    expect(approve(number, "bob")["over"], "not over")
    expect("ERROR" not in psql.answer() and note("shared") == word, "not run")
    # One refusal is enough, whatever the others said.
    psql.send(f"update shared set note = '{secret()}' where id = 1;")
    number = psql.number()
    expect(not approve(number)["over"] and deny(number, "bob")["over"], "not over")
    said = psql.answer()
    expect("42501" in said and "bob" in said and note("shared") == word, said)
    psql.close()


@case
def in_an_emergency_it_runs_at_once():
    psql, word = Psql(), secret()
    psql.send(f"update urgent set note = '{word}' where id = 1;")
    number = psql.number()
    approvals("bob", "approve", number, "--reason", "mine").refused("nobody decides about their own statements")
    approvals("alice", "approve", number, "--reason", "now", "--break-glass").refused("no emergency approval")
    approvals("churn-bot", "approve", number, "--reason", "now", "--break-glass").refused("services and AI agents")
    approvals("bob", "approve", number, "--break-glass").refused("reason")
    expect(note("urgent") == "", "it ran")
    expect(approve(number, "bob", "--break-glass")["over"], "not over")
    expect("ERROR" not in psql.answer() and note("urgent") == word, "not run")
    psql.close()
    return {"emergency": number}


@case
def values_are_shown_to_who_may_decide():
    connection, words = governed(), [secret(), secret()]
    connection.send(
        parse(f"update accounts set note = $1 where id = 8 and note <> '{words[1]}'") + bind(values=[words[0].encode()]) + execute() + SYNC
    )
    number = number_in(until_notice(connection))
    approvals("bob", "show", number, "--values", "--json").refused("nobody decides about their own statements")
    approvals("churn-bot", "show", number, "--values", "--json").refused("services and AI agents")
    approvals("svc-billing", "show", number, "--values", "--json").refused("no statement waits")
    shown = approvals("alice", "show", number, "--values", "--json", keep=False)
    expect(shown.code == 0 and all(word in shown.out for word in words), shown.out, shown.error)
    without = approvals("alice", "show", number, "--json").json()
    expect(without["values_bytes"] > 0 and not any(word in str(without) for word in words), without)
    deny(number)
    expect("E:ERROR:42501" in ended(connection), "not denied")
    connection.close()
    return {"shown": number}


@case
def a_lasting_approval_is_for_the_same_statement_of_the_same_person():
    psql, words = Psql(), [secret() for _ in range(3)]
    psql.send(f"update accounts set note = '{words[0]}' where id = 9;")
    number = psql.number()
    decided = approve(number, "alice", "--for", "1h")
    expect(decided["until_ns"] > time.time_ns() + 3500 * 10**9, decided)
    expect("ERROR" not in psql.answer(), "not run")
    for word in words[1:]:
        said = psql.ask(f"update accounts set note = '{word}' where id = 9;")
        expect(said == "" and note("accounts", 9) == word, said)
    lasting = approvals("alice", "list", "--json").json()["lasting"]
    expect([grant["approval"] for grant in lasting] == [number], lasting)
    # Another statement, and another person.
    psql.send(f"update accounts set note = '{secret()}' where id = 9 and true;")
    deny(psql.number())
    expect("42501" in psql.answer(), "not denied")
    other = Psql("svc-billing")
    other.send(f"update accounts set note = '{secret()}' where id = 9;")
    deny(other.number())
    expect("42501" in other.answer(), "not denied")
    agent = Psql("churn-bot")
    agent.send(f"update accounts set note = '{secret()}' where id = 9;")
    deny(agent.number())
    expect("42501" in agent.answer() and note("accounts", 9) == words[2], "not denied")
    for one in (psql, other, agent):
        one.close()
    return {"lasting": number}


@case
def what_happens_can_be_watched():
    import json
    import subprocess

    watch = subprocess.Popen(
        [os.environ["LAB_AS"], "alice", people.WEIR, "approvals", "watch", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )
    lines = []
    threading.Thread(target=lambda: lines.extend(watch.stdout), daemon=True).start()
    time.sleep(0.5)
    connection = governed()
    connection.send(query(f"update accounts set note = '{secret()}' where id = 2"))
    number = number_in(until_notice(connection))
    within(5, lambda: any(str(number) in line for line in lines))
    deny(number)
    ended(connection)
    connection.close()
    watch.terminate()
    watch.wait(PATIENCE)
    people.PRINTED.extend(lines)
    for line in lines:
        json.loads(line)
    return lines


people.main()
