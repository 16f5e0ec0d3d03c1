"""Who may decide about a statement that waits, what it takes, and what an approval is good for: at psql and at `weir approvals`."""

import json
import os
import subprocess
import threading
import time

import people
from people import (
    PATIENCE, Psql, approvals, approve, beside, case, deny, ended, expect, governed, note, number_in, secret, until_notice,
    waiting, waits, within,
)
from wire import SYNC, bind, execute, parse, query


def shown_with_estimate(number):
    shown = approvals("alice", "show", number, "--json").json()
    return shown["estimate"] and shown


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
