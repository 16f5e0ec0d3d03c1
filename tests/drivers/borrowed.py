"""Sessions that lend their connections: an agent without a role of its own reads the database's catalog between their
requests. Nothing of that shows in any session, no hidden value does, and nobody is let through for want of a catalog.

Runs as a masked reader of `customers.ssn`. The same server's other address, which weir leaves alone, tells the truth.
"""

import os
import random
import subprocess
import threading
import time
import traceback

import wire
from wire import FLUSH, SYNC, Connection, Refused, bind, close, describe, execute, fields, parse, query, report, shape

SECRETS = "SELECT ssn FROM customers ORDER BY id LIMIT 3"
CASES = []
# Longer than what was read of a catalog is taken for fresh: the next request between transactions looks again.
STALE_SECONDS = 5.5
LONG = 60.0


def case(function):
    CASES.append(function)
    return function


def governed(**parameters):
    return Connection(timeout=LONG, **parameters)


def direct(**parameters):
    return Connection(host=os.environ["LAB_DIRECT_HOST"], timeout=LONG, **parameters)


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def rows(frames):
    return [wire.cells(body) for tag, body in frames if tag == "D"]


def error(frames):
    return next((fields(body) for tag, body in frames if tag == "E"), None)


def hidden(frames, secrets):
    """No frame holds a secret."""
    for tag, body in frames:
        for secret in secrets:
            expect(secret.encode() not in body, f"{secret} in {tag}: {shape(frames)}")
    return frames


class Alice:
    """Somebody who may see and change everything, through weir: one psql that is told what to run."""

    def __init__(self):
        psql = [os.environ["LAB_AS"], "alice", "psql", "-XqAt", "-v", "ON_ERROR_STOP=0"]
        self.process = subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        self.process.stdin.write(f"{sql};\n\\echo =done=\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline().rstrip("\n")) != "=done=":
            expect(self.process.poll() is None, f"psql died over {sql}")
            lines.append(line)
        return lines

    def close(self):
        self.process.stdin.close()
        self.process.wait(LONG)


class Site:
    def __init__(self):
        self.truth = direct()
        self.secrets = [row[0] for row in self.truth.run("SELECT ssn FROM customers")]
        self.made = 0

    def behind(self, sql):
        """Runs SQL behind weir's back."""
        return self.truth.run(sql)

    def change(self):
        """Changes what the database holds, through weir: every session's next request waits for a look."""
        self.made += 1
        other = governed()
        other.run(f"CREATE TABLE made_{self.made} (id int)")
        other.close()

    def name(self, prefix):
        self.made += 1
        return f"{prefix}_{self.made}"

    def masked(self, connection, sql=SECRETS, count=3):
        """The statement is answered, and with masks."""
        frames = hidden(connection.ask(query(sql)), self.secrets)
        expect(error(frames) is None, f"{sql}: {shape(frames)} {error(frames)}")
        expect(len(rows(frames)) == count, f"{sql}: {shape(frames)}")
        return frames

    def unseen(self, frames, *states):
        """Answered with masks, or refused with one of these states; never in clear."""
        hidden(frames, self.secrets)
        problem = error(frames)
        expect(problem is None or problem["C"] in states, shape(frames))
        return frames


@case
def the_first_statement_is_masked(site):
    c = governed()
    site.masked(c)
    c.close()
    c = governed()
    frames = c.ask(parse(SECRETS) + bind() + execute() + SYNC)
    hidden(frames, site.secrets)
    expect(len(rows(frames)) == 3, shape(frames))
    c.close()


@case
def statements_sent_with_the_startup_packet_are_masked(site):
    site.change()
    c = Connection(start=False, timeout=LONG)
    named = {"user": os.environ["PGUSER"], "database": os.environ["PGDATABASE"]}
    c.send(wire.startup(named) + query(SECRETS) + parse(SECRETS) + bind() + execute() + SYNC)
    frames = c.until_ready() + c.until_ready() + c.until_ready()
    hidden(frames, site.secrets)
    expect(len(rows(frames)) == 6, shape(frames))
    c.close()


@case
def prepared_statements_live_across_a_look(site):
    c = governed()
    harmless = "SELECT id FROM customers ORDER BY id LIMIT 2"
    c.ask(parse("SELECT 7 AS seven") + parse(harmless, "named") + SYNC)
    site.change()
    frames = c.ask(bind(statement="named") + execute() + SYNC)
    expect(rows(frames) == [["1"], ["2"]], shape(frames))
    site.change()
    frames = c.ask(bind() + describe("P") + execute() + SYNC)
    expect(rows(frames) == [["7"]], shape(frames))
    # One that hides something was rewritten by a catalog that is not in force any more: it is refused, or as good.
    c.ask(parse(SECRETS, "secret") + SYNC)
    site.change()
    site.unseen(c.ask(bind(statement="secret") + execute() + SYNC), "0A000", "42501")
    frames = c.ask(close("S", "secret") + parse(SECRETS, "secret") + bind(statement="secret") + execute() + SYNC)
    hidden(frames, site.secrets)
    expect(len(rows(frames)) == 3, shape(frames))
    c.close()


@case
def a_held_cursor_lives_across_a_look(site):
    c = governed()
    c.run("BEGIN")
    c.run("DECLARE held CURSOR WITH HOLD FOR SELECT id FROM products ORDER BY id")
    c.run("COMMIT")
    first = c.run("FETCH 1 FROM held")
    site.change()
    second = c.run("FETCH 1 FROM held")
    expect(len(first) == len(second) == 1 and first != second, (first, second))
    c.close()


SESSIONS = {
    "plain": [],
    "-c standard_conforming_strings=off": [],
    "-c search_path=pg_catalog,public -c client_encoding=LATIN1 -c statement_timeout=50s": [],
    "latin1": ["SET client_encoding = 'LATIN1'"],
    "cyrillic": ["SET client_encoding = 'WIN1251'"],
    "path": ["SET search_path = pg_temp, pg_catalog, public"],
    "-c role=clerk": [],
    "limits": [
        "SET statement_timeout = '40s'",
        "SET lock_timeout = '1s'",
        "SET idle_in_transaction_session_timeout = '50s'",
    ],
    "transactions": [
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = serializable",
        "SET default_transaction_deferrable = on",
    ],
    "-c client_min_messages=debug1": [],
    "-c quote_all_identifiers=on": [],
}
ASKED = [
    "SHOW search_path",
    "SHOW client_encoding",
    "SHOW statement_timeout",
    "SHOW lock_timeout",
    "SHOW idle_in_transaction_session_timeout",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "SHOW client_min_messages",
    "SHOW quote_all_identifiers",
    "SELECT current_user",
    "SELECT count(*) FROM products",
    "BEGIN",
    "SHOW transaction_isolation",
    "COMMIT",
]


def conversation(connection, settings, between):
    """All frames of a session that is set up, interrupted, and asked."""
    frames = []
    for sql in settings:
        frames += connection.ask(query(sql))
    frames += connection.ask(query("LISTEN jobs"))
    for sql in ASKED:
        if sql != "COMMIT" and sql != "SHOW transaction_isolation":
            between()
        frames += connection.ask(query(sql))
    connection.close()
    return frames


@case
def a_look_leaves_no_trace_in_any_session(site):
    for name, settings in SESSIONS.items():
        options = {"options": name} if name.startswith("-c") else {}
        looked = conversation(governed(**options), settings, site.change)
        alone = conversation(direct(**options), settings, lambda: None)
        # What a server in debugging mode says of its own work is about that work.
        told = [[f for f in frames if f[0] != "N"] for frames in (looked, alone)]
        expect(told[0] == told[1], f"{name}:\n  {shape(looked)}\n  {shape(alone)}")
        expect(sum(t == "S" for t, _ in looked) == sum(t == "S" for t, _ in alone), name)


@case
def notifications_arrive_once_and_in_order(site):
    c = governed()
    c.run("LISTEN jobs")
    for turn in range(5):
        site.change()
        site.behind(f"NOTIFY jobs, 'job {turn}'")
        seen = []
        frames = c.ask(query("SELECT 1"))
        # It comes when the server is idle, which may be before the look, after it, or behind the answer.
        while not any(tag == "A" for tag, _ in frames + seen):
            seen.append(c.read())
        expect(sum(tag == "A" for tag, _ in frames + seen) == 1, shape(frames + seen))
        expect(rows(frames) == [["1"]], shape(frames))
    c.close()


@case
def a_view_made_behind_weirs_back_is_seen(site):
    c = governed()
    site.masked(c)
    view = site.name("behind")
    site.behind(f"CREATE VIEW {view} AS SELECT ssn || '' AS s FROM customers ORDER BY id LIMIT 3")
    time.sleep(STALE_SECONDS)
    site.masked(c, f"SELECT s || '' FROM {view}")
    site.behind(f"CREATE OR REPLACE VIEW {view} AS SELECT name AS s FROM customers ORDER BY id LIMIT 2")
    time.sleep(STALE_SECONDS)
    clear = c.run(f"SELECT s || '' FROM {view}")
    expect(clear == site.behind(f"SELECT s || '' FROM {view}"), clear)
    site.behind(f"CREATE OR REPLACE VIEW {view} AS SELECT ssn AS s FROM customers ORDER BY id LIMIT 3")
    time.sleep(STALE_SECONDS)
    site.masked(c, f"SELECT s || '' FROM {view}")
    c.close()


@case
def a_view_made_through_weir_is_seen_at_once(site):
    c = governed()
    site.masked(c)
    alice = Alice()
    for _ in range(5):
        view = site.name("through")
        alice.run(f"CREATE VIEW {view} AS SELECT ssn AS s FROM customers ORDER BY id LIMIT 3")
        site.masked(c, f"SELECT s || '' FROM {view}")
    alice.close()
    c.close()


@case
def in_a_transaction_nothing_is_let_through_unseen(site):
    c = governed()
    site.masked(c)
    view = site.name("inside")
    alice = Alice()
    alice.run(f"CREATE VIEW {view} AS SELECT name AS s FROM customers ORDER BY id LIMIT 3")
    c.run("BEGIN")
    site.masked(c)
    alice.run(f"CREATE OR REPLACE VIEW {view} AS SELECT name AS s FROM customers ORDER BY id DESC LIMIT 3")
    alice.close()
    # Nobody can look: it is refused until the transaction ends, and that it may.
    frames = site.unseen(c.ask(query(f"SELECT s || '' FROM {view}")), "42501", "25P02")
    expect(c.ask(query("ROLLBACK"))[-1] == ("Z", b"I"), "the transaction ends")
    site.masked(c, f"SELECT s || '' FROM {view}")
    site.masked(c)
    c.close()
    return shape(frames)


@case
def an_idle_session_lends_for_one_in_a_transaction(site):
    idle = governed()
    site.masked(idle)
    c = governed()
    c.run("BEGIN")
    site.masked(c)
    for _ in range(3):
        site.change()
        site.masked(c)
    c.run("COMMIT")
    idle.close()
    c.close()


@case
def whoever_changes_the_database_lends_for_one_in_a_transaction(site):
    c = governed()
    c.run("BEGIN")
    site.masked(c)
    alice = Alice()
    view = site.name("lent")
    alice.run(f"CREATE VIEW {view} AS SELECT ssn AS s FROM customers ORDER BY id LIMIT 3")
    site.masked(c, f"SELECT s || '' FROM {view}")
    c.run("COMMIT")
    alice.close()
    c.close()


@case
def a_pipeline_without_sync_is_not_interrupted(site):
    c = governed()
    c.send(parse(SECRETS, "s") + describe("S", "s") + FLUSH)
    while c.read()[0] != "T":
        pass
    site.change()
    site.unseen(c.ask(bind(statement="s") + execute() + SYNC), "42501", "0A000")
    site.masked(c)
    c.close()


@case
def a_message_in_two_parts_is_read_after_the_look(site):
    c = governed()
    for cut in (1, 4, 5, 20):
        site.masked(c)
        message = query(SECRETS)
        c.send(message[:cut])
        site.change()
        c.send(message[cut:])
        frames = hidden(c.until_ready(), site.secrets)
        expect(len(rows(frames)) == 3, shape(frames))
    c.close()


@case
def sessions_come_and_go_while_the_database_changes(site):
    problems, answers = [], []

    def ask(c):
        # What is dropped while it is being described makes a look fail, and that too often makes a refusal.
        frames = site.unseen(c.ask(query(SECRETS)), "42501")
        answers.append(error(frames) is None)

    def work(number):
        try:
            for turn in range(6):
                c = governed()
                ask(c)
                if number % 3 == 0:
                    c.run("BEGIN")
                    site.unseen(c.ask(query(SECRETS)), "42501", "25P02")
                    if turn % 2:
                        c.ask(query("ROLLBACK"))
                        ask(c)
                if number % 3 == 1:
                    c.send(query(SECRETS))
                    c.socket.close()
                    continue
                c.close()
        except Exception:  # noqa: BLE001 - told below
            problems.append(traceback.format_exc(limit=-3))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        site.change()
        view = site.name("busy")
        site.behind(f"CREATE VIEW {view} AS SELECT ssn FROM customers")
        site.behind(f"DROP VIEW {view}")
    for thread in threads:
        thread.join()
    expect(not problems, "\n".join(problems[:3]))
    expect(sum(answers) * 2 > len(answers), f"{sum(answers)} of {len(answers)} answered")
    c = governed()
    time.sleep(STALE_SECONDS)
    site.masked(c)
    c.close()
    return f"{sum(answers)} of {len(answers)}"



@case
def cancellations_hit_no_mask(site):
    c = governed()
    stop = threading.Event()

    def cancel():
        while not stop.is_set():
            other = Connection(start=False, timeout=LONG)
            other.send((8 + len(c.key)).to_bytes(4, "big") + wire.CANCEL_REQUEST.to_bytes(4, "big") + c.key)
            other.until_closed(timeout=LONG)
            other.socket.close()
            time.sleep(random.uniform(0, 0.05))

    thread = threading.Thread(target=cancel)
    thread.start()
    answered = 0
    try:
        for _ in range(40):
            site.change()
            frames = site.unseen(c.ask(query(SECRETS)), "57014", "42501")
            answered += error(frames) is None
    finally:
        stop.set()
        thread.join()
    for _ in range(30):
        # A refusal that follows a look which was cancelled again and again lasts for a moment.
        frames = site.unseen(c.ask(query(SECRETS)), "57014", "42501")
        if error(frames) is None:
            break
        time.sleep(0.5)
    site.masked(c)
    expect(c.run("SHOW search_path") == site.behind("SHOW search_path"), "the session is as it was")
    c.close()
    return answered


@case
def an_idle_session_times_out(site):
    c = governed()
    site.masked(c)
    c.run("SET idle_session_timeout = '2s'")
    frames = c.until_closed(timeout=LONG)
    expect(frames and frames[-1] is not None, "it stayed open")
    expect(error(frames) and error(frames)["C"] == "57P05", shape(frames))


@case
def a_session_that_may_only_read_lends_too(site):
    c = governed(options="-c default_transaction_read_only=on -c default_transaction_isolation=serializable "
                         "-c default_transaction_deferrable=on -c client_encoding=LATIN1")
    site.masked(c)
    site.change()
    site.masked(c)
    c.close()


@case
def a_look_that_fails_lets_nothing_through(site):
    site.behind("GRANT SELECT ON customers TO clerk")
    site.behind("REVOKE SELECT ON pg_catalog.pg_operator FROM PUBLIC")
    site.behind(f"CREATE TABLE {site.name('unread')} (id int)")
    try:
        # Nobody else is there who could look.
        time.sleep(STALE_SECONDS)
        c = governed(user="clerk")
        frames = hidden(c.ask(query(SECRETS)), site.secrets)
        problem = error(frames)
        expect(problem and problem["C"] == "42501" and problem.get("H"), shape(frames))
        expect(c.run("SELECT 1") == [["1"]], "what touches nothing may go on")
    finally:
        site.behind("GRANT SELECT ON pg_catalog.pg_operator TO PUBLIC")
    until = time.monotonic() + LONG
    while error(frames := site.unseen(c.ask(query(SECRETS)), "42501")) and time.monotonic() < until:
        time.sleep(0.3)
    expect(error(frames) is None, shape(frames))
    c.close()


@case
def a_walsender_is_not_looked_on(site):
    try:
        c = governed(replication="database")
    except Refused as refused:
        return str(refused)
    frames = hidden(c.ask(query(SECRETS)), site.secrets)
    c.close()
    return shape(frames)


@case
def a_failed_log_in_harms_nobody(site):
    for _ in range(3):
        try:
            governed(user="who_is_that")
            raise AssertionError("nobody has that name")
        except Refused:
            pass
    c = governed()
    site.masked(c)
    c.close()


def main():
    site = Site()
    site.behind("DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    site.behind("GRANT SELECT ON products TO clerk")
    wanted = os.environ.get("BORROWED_CASES", "").split()
    for function in CASES:
        if wanted and function.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            got, ok = function(site), True
        except Exception:  # noqa: BLE001 - a case that breaks is a result
            got, ok = traceback.format_exc(limit=-4), False
        report(function.__name__, ok, got if got is not None else f"{time.monotonic() - began:.1f} s")
    wire.finish()


main()
