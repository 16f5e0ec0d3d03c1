"""What becomes of open connections when the log-in behind them expires, is renewed or is ended.

Each case is a log-in session of its own: a child of this program that the kernel gave an audit session. Times are waited
for, not measured against limits: a token says when it ends, and weir goes by the same clock. What is measured is printed.

usage: revocation.py waiting|lapsing|ending ISSUER

`waiting`: the agent lets connections wait for long after their log-in's end; `lapsing`: for a second; `ending`: either.
"""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request

import wire
from wire import SYNC, Connection, bind, execute, parse, query

PART, ISSUER = sys.argv[1:3]
CASES = []
TOKENS = []
PATIENCE = 240
ROWS = 60000
LARGE = f"select i, repeat('x', 1000) from generate_series(1, {ROWS}) i"


def case(*parts):
    def take(function):
        if PART in parts:
            CASES.append(function)
        return function

    return take


def token(user, seconds):
    body = json.dumps({"user": user, "ttl_seconds": seconds}).encode()
    request = urllib.request.Request(f"{ISSUER}/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        text = json.load(answer)["access_token"]
    TOKENS.append(text)
    return text


def control(request):
    """Asks the agent as this very process."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(PATIENCE)
        agent.connect(os.environ["WEIR_SOCKET"])
        agent.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = agent.recv(1 << 16)
            if not more:
                break
            answer += more
    answer = json.loads(answer)
    if "ok" not in answer:
        raise RuntimeError(f"{request['op']}: {answer}")
    return answer["ok"]


def login(user, seconds=3600):
    """Binds this audit session; returns when that ends: a minute behind the token, since clocks may differ."""
    answer = control({"op": "login", "token": token(user, seconds), "scope": "session"})
    return answer["not_after_s"]


def logout():
    control({"op": "logout"})


def wait_for(instant):
    # The agent looks at whole seconds.
    while time.time() < instant + 1.2:
        time.sleep(0.1)


class Slow(Exception):
    """The log-in was over before everything was in place."""


def before_expiry(prepare, user="bob"):
    """Logs in for a short while and prepares a case; again, for longer, when this machine is slow. Returns what `prepare`
    does, and the end of the log-in."""
    for seconds in (1, 60, 180):
        until = login(user, seconds)
        prepared = prepare(until)
        if time.time() < until - 1:
            return prepared, until
        for one in prepared if isinstance(prepared, list) else [prepared]:
            if isinstance(one, Connection):
                one.socket.close()
    raise Slow


def beside():
    """A connection that weir leaves alone."""
    return Connection(host=os.environ["LAB_DIRECT_HOST"], timeout=PATIENCE)


def governed(name="revocation"):
    return Connection(timeout=PATIENCE, application_name=name)


def count(where):
    connection = beside()
    found = connection.run(f"select count(*) from ledger where note = '{where}'")[0][0]
    connection.close()
    return int(found)


def gone(name):
    """Waits until the server serves no such session any more."""
    connection = beside()
    end = time.time() + PATIENCE
    try:
        while time.time() < end:
            if connection.run(f"select count(*) from pg_stat_activity where application_name = '{name}'")[0][0] == "0":
                return True
            time.sleep(0.05)
    finally:
        connection.close()
    return False


def running(name, text):
    """Waits until the server is at a statement that contains a text."""
    connection = beside()
    end = time.time() + PATIENCE
    sql = f"select count(*) from pg_stat_activity where application_name = '{name}' and state = 'active' and query like '%{text}%'"
    try:
        while time.time() < end:
            if connection.run(sql)[0][0] != "0":
                return
            time.sleep(0.05)
    finally:
        connection.close()
    raise Slow


def errors(frames):
    return [wire.fields(body) for tag, body in frames if tag == "E"]


def ask(connection, data):
    """The answer as words, with the hint of an error behind it."""
    frames = connection.ask(data)
    return wire.shape(frames), "".join(error.get("H", "") for error in errors(frames))


def expect(condition, *seen):
    if not condition:
        raise AssertionError(seen)


OVER = "E:ERROR:28000 Z:I"


@case("waiting")
def an_idle_connection_waits_for_a_new_log_in():
    connection, until = before_expiry(lambda _: governed())
    wait_for(until)
    said, hint = ask(connection, query("select 1"))
    expect(said == OVER and "weir login" in hint, said, hint)
    expect(ask(connection, query("commit"))[0] == OVER, "there is nothing to end")
    login("bob")
    said, _ = ask(connection, query("select 1"))
    expect(said == "T D:1 C:SELECT 1 Z:I", said)
    return hint


@case("waiting")
def a_transaction_may_be_committed():
    def prepare(_):
        connection = governed()
        connection.run("begin")
        connection.run("insert into ledger values (1, 'committed')")
        return connection

    connection, until = before_expiry(prepare)
    before = count("committed")
    wait_for(until)
    said, _ = ask(connection, query("COMMIT WORK /* at last */;"))
    expect(said == "C:COMMIT Z:I", said)
    expect(count("committed") == before + 1, "not there")
    expect(ask(connection, query("select 1"))[0] == OVER, "only the end passes")


@case("waiting")
def anything_else_in_a_transaction_is_refused_and_nothing_of_it_stays():
    def prepare(_):
        connection = governed()
        connection.run("begin")
        connection.run("insert into ledger values (1, 'refused')")
        return connection

    connection, until = before_expiry(prepare)
    wait_for(until)
    said = [ask(connection, query(sql))[0] for sql in ("insert into ledger values (2, 'refused')", "commit")]
    expect(said == ["E:ERROR:28000 Z:E", "C:ROLLBACK Z:I"], said)
    expect(count("refused") == 0, "something stays")


@case("waiting")
def a_new_transaction_is_not_begun_at_the_end_of_one():
    texts = ("commit and chain", "savepoint a", "prepare transaction 'x'", "commit; select 1")

    def prepare(_):
        connections = [governed() for _ in texts]
        for connection in connections:
            connection.run("begin")
        return connections

    connections, until = before_expiry(prepare)
    wait_for(until)
    for sql, connection in zip(texts, connections):
        said = [ask(connection, query(text))[0] for text in (sql, "rollback")]
        expect(said == ["E:ERROR:28000 Z:E", "C:ROLLBACK Z:I"], sql, said)


@case("waiting")
def prepared_statements_are_refused_but_for_the_end():
    def prepare(_):
        connection = governed()
        connection.ask(parse("select 7", "seven") + parse("commit", "end") + SYNC)
        connection.run("begin")
        connection.run("insert into ledger values (1, 'prepared')")
        return connection

    connection, until = before_expiry(prepare)
    before = count("prepared")
    wait_for(until)
    said, _ = ask(connection, bind("", "end") + execute() + SYNC)
    expect(said == "2 C:COMMIT Z:I", said)
    expect(count("prepared") == before + 1, "not there")
    said, hint = ask(connection, bind("", "seven") + execute() + SYNC)
    expect(said == "2 E:ERROR:28000 Z:I" and "weir login" in hint, said, hint)
    for more in (bind() + execute(), b""):
        said, _ = ask(connection, parse("select 8") + more + SYNC)
        expect(said == OVER, said)
    login("bob")
    said, _ = ask(connection, bind("", "seven") + execute() + SYNC)
    expect(said == "2 D:7 C:SELECT 1 Z:I", said)


@case("waiting")
def a_result_that_is_being_read_is_read_to_its_end():
    def prepare(_):
        connection = governed()
        connection.send(query(LARGE))
        connection.read()
        return connection

    connection, until = before_expiry(prepare)
    wait_for(until)
    rows = sum(tag == "D" for tag, _ in connection.until_ready())
    expect(rows == ROWS, rows)
    expect(ask(connection, query("select 1"))[0] == OVER, "the next is refused")


@case("waiting")
def a_pipeline_that_is_under_way_finishes():
    def prepare(until):
        sleep = f"select pg_sleep({max(0.1, until - time.time() + 2)})"
        connection = governed()
        connection.send(
            parse(sleep) + bind() + execute()
            + parse("insert into ledger values (1, 'pipeline')") + bind() + execute() + SYNC
        )
        return connection

    connection, until = before_expiry(prepare)
    before = count("pipeline")
    said = wire.shape(connection.until_ready())
    expect(time.time() > until, "it finished before the log-in was over")
    expect(said == "1 2 D: C:SELECT 1 1 2 C:INSERT 0 1 Z:I", said)
    expect(count("pipeline") == before + 1, "not there")
    expect(ask(connection, query("select 1"))[0] == OVER, "the next is refused")


@case("waiting")
def several_statements_in_one_text_finish():
    def prepare(until):
        connection = governed()
        connection.send(query(f"select pg_sleep({max(0.1, until - time.time() + 2)}); insert into ledger values (1, 'text')"))
        return connection

    connection, until = before_expiry(prepare)
    before = count("text")
    said = wire.shape(connection.until_ready())
    expect(time.time() > until and said == "T D: C:SELECT 1 C:INSERT 0 1 Z:I", said)
    expect(count("text") == before + 1, "not there")


@case("waiting")
def a_copy_under_way_finishes():
    def prepare(_):
        connection = governed()
        connection.send(query("copy ledger from stdin"))
        while connection.read()[0] != "G":
            pass
        connection.send(wire.frame("d", b"1\tcopy\n"))
        return connection

    connection, until = before_expiry(prepare)
    before = count("copy")
    wait_for(until)
    connection.send(wire.frame("d", b"2\tcopy\n") + wire.frame("c"))
    said = wire.shape(connection.until_ready())
    expect(said == "C:COPY 2 Z:I", said)
    expect(count("copy") == before + 2, "not there")
    expect(ask(connection, query("select 1"))[0] == OVER, "the next is refused")


@case("waiting")
def a_cursor_gives_no_more():
    def prepare(_):
        connections = [governed(), governed()]
        for connection in connections:
            connection.run("begin")
            connection.run("declare c cursor for select generate_series(1, 100)")
            connection.run("fetch 2 from c")
            connection.ask(parse("select generate_series(1, 100)") + bind("p") + execute("p", 2) + SYNC)
        return connections

    connections, until = before_expiry(prepare)
    wait_for(until)
    for connection, more in zip(connections, (query("fetch 2 from c"), execute("p", 2) + SYNC)):
        said, _ = ask(connection, more)
        expect(said == "E:ERROR:28000 Z:E", said)


@case("waiting")
def another_subjects_log_in_ends_the_connection():
    login("bob")
    connection = governed("replaced")
    login("alice")
    said = wire.shape(connection.until_closed(PATIENCE))
    expect(said == "E:FATAL:57P01", said)
    expect(gone("replaced"), "the server still serves it")
    expect(governed().run("select 1") == [["1"]], "alice may")


@case("waiting")
def a_second_log_in_of_the_same_subject_keeps_the_connection_and_its_logout_ends_it():
    login("bob")
    connection = governed("again")
    login("bob")
    expect(connection.run("select 1") == [["1"]], "it goes on")
    idle = governed("again")
    login("bob")
    logout()
    for one in (connection, idle):
        said = wire.shape(one.until_closed(PATIENCE))
        expect(said == "E:FATAL:57P01", said)
    expect(gone("again"), "the server still serves one")


@case("waiting")
def psycopg_waits_and_goes_on():
    import psycopg

    connection, until = before_expiry(lambda _: psycopg.connect("", autocommit=True))
    wait_for(until)
    try:
        connection.execute("select 1")
        raise AssertionError("not refused")
    except psycopg.errors.InvalidAuthorizationSpecification as error:
        expect("weir login" in error.diag.message_hint, error.diag.message_hint)
    login("bob")
    expect(connection.execute("select %s::int", [5]).fetchone() == (5,), "it goes on")
    with connection.pipeline():
        results = [connection.execute("select %s::int", [n]) for n in range(3)]
        expect([result.fetchone()[0] for result in results] == [0, 1, 2], "a pipeline")
    connection.close()


@case("waiting")
def asyncpg_waits_and_goes_on():
    import asyncpg

    async def conversation():
        for seconds in (1, 60, 180):
            until = login("bob", seconds)
            connection = await asyncpg.connect(
                host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
                database=os.environ["PGDATABASE"], ssl=False, timeout=PATIENCE,
            )
            statement = await connection.prepare("select $1::int")
            if time.time() < until - 1:
                break
            connection.terminate()
        else:
            raise Slow
        while time.time() < until + 1.2:
            await asyncio.sleep(0.1)
        for refused in (lambda: statement.fetchval(3), lambda: connection.fetchval("select $1::int + 1", 3)):
            try:
                await refused()
                raise AssertionError("not refused")
            except asyncpg.InvalidAuthorizationSpecificationError as error:
                expect("weir login" in error.hint, error.hint)
        login("bob")
        expect(await statement.fetchval(4) == 4, "it goes on")
        async with connection.transaction():
            expect(await connection.fetchval("select $1::int + 1", 4) == 5, "in a transaction")
        await connection.close()

    asyncio.run(conversation())


class Psql:
    """psql reading commands; it says on its standard error how far it is, which it does not buffer."""

    def __init__(self):
        self.shell = subprocess.Popen(
            [os.environ["PSQL"], "-XAtq", "-v", "VERBOSITY=verbose"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1,
        )
        self.said = 0

    def say(self, text):
        """What it says up to the end of these commands."""
        self.said += 1
        end = f"end of {self.said}\n"
        self.shell.stdin.write(f"{text}\n\\warn {end}")
        said = ""
        while not said.endswith(end):
            line = self.shell.stderr.readline()
            expect(line, "psql ended", said)
            said += line
        return said.removesuffix(end)


@case("waiting")
def psql_sees_an_error_and_stays():
    def prepare(_):
        psql = Psql()
        expect(psql.say("select 1 as one \\gset\n\\warn :one") == "1\n", "psql does not answer")
        return psql

    psql, until = before_expiry(prepare)
    wait_for(until)
    said = psql.say("select 2;")
    expect("28000" in said and 'run "weir login"' in said, said)
    login("bob")
    again = psql.say("select 3 as three \\gset\n\\warn :three")
    expect(again == "3\n", again)
    psql.shell.stdin.close()
    expect(psql.shell.wait(PATIENCE) == 0, "psql failed")
    return said


@case("lapsing")
def an_idle_connection_is_closed_with_a_reason():
    connection, _ = before_expiry(lambda _: governed("lapsed"))
    frames = connection.until_closed(PATIENCE)
    expect(wire.shape(frames) == "E:FATAL:57P01", wire.shape(frames))
    expect("expired" in errors(frames)[0]["M"], errors(frames))
    expect(gone("lapsed"), "the server still serves it")


@case("lapsing")
def an_open_transaction_is_rolled_back():
    def prepare(_):
        connection = governed("lapsed-open")
        connection.run("begin")
        connection.run("insert into ledger values (1, 'lapsed')")
        return connection

    connection, _ = before_expiry(prepare)
    said = wire.shape(connection.until_closed(PATIENCE))
    expect(said == "E:FATAL:57P01", said)
    expect(gone("lapsed-open") and count("lapsed") == 0, "something stays")


@case("lapsing")
def what_runs_finishes_and_then_the_connection_is_closed():
    def prepare(until):
        connection = governed()
        connection.send(query(f"select pg_sleep({max(0.1, until - time.time() + 5)}); insert into ledger values (1, 'finished')"))
        return connection

    connection, until = before_expiry(prepare)
    before = count("finished")
    said = wire.shape(connection.until_closed(PATIENCE))
    expect(said == "T D: C:SELECT 1 C:INSERT 0 1 Z:I E:FATAL:57P01", said)
    expect(time.time() > until + 2 and count("finished") == before + 1, "not there")


@case("lapsing")
def a_copy_that_does_not_end_is_ended():
    def prepare(_):
        connection = governed("lapsed-copy")
        connection.send(query("copy ledger from stdin"))
        while connection.read()[0] != "G":
            pass
        connection.send(wire.frame("d", b"1\tendless\n"))
        return connection

    connection, _ = before_expiry(prepare)
    said = wire.shape(connection.until_closed(PATIENCE))
    expect(said == "E:FATAL:57P01", said)
    expect(gone("lapsed-copy") and count("endless") == 0, "something stays")


class Reader(threading.Thread):
    """Reads all there is, and when the last row came."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self.connection = connection
        self.rows = 0
        self.last = 0.0
        self.end = None
        self.frames = []
        self.started = threading.Event()
        self.start()

    def run(self):
        self.connection.socket.settimeout(PATIENCE)
        try:
            while True:
                tag, body = self.connection.read()
                if tag == "D":
                    self.rows += 1
                    self.last = time.time()
                    if self.rows > 500:
                        self.started.set()
                else:
                    self.frames.append((tag, body))
        except (wire.Closed, ConnectionError) as end:
            self.end = type(end).__name__
        except OSError as end:
            self.end = f"still open: {end}"
        self.started.set()


def endless(connection):
    connection.send(query("select generate_series(1, 2000000000), repeat('x', 100)"))


@case("ending")
def a_large_result_stops_at_a_logout():
    login("bob")
    times = []
    for _ in range(5):
        connection = governed("large")
        endless(connection)
        reader = Reader(connection)
        expect(reader.started.wait(PATIENCE), "no rows")
        before = time.time()
        logout()
        reader.join(PATIENCE)
        expect(reader.end is not None and "still" not in reader.end, reader.end)
        said = wire.shape(reader.frames)
        expect(said == "T E:FATAL:57P01", said, reader.rows, reader.end)
        expect(not connection.buffer, "the stream ends in the middle of a message")
        times.append(round((reader.last - before) * 1000, 1))
        expect(gone("large"), "the server still serves it")
        login("bob")
    return {"milliseconds from the logout to the last row": sorted(times)}


@case("ending")
def a_client_that_does_not_read_keeps_nothing_alive():
    login("bob")
    connection = governed("deaf")
    connection.run("begin")
    connection.run("insert into ledger values (1, 'deaf')")
    endless(connection)
    running("deaf", "generate_series")
    before = time.time()
    logout()
    expect(gone("deaf"), "the server still serves it")
    took = time.time() - before
    frames = connection.until_closed(PATIENCE)
    expect(frames[-1] is not None, "still open")
    expect(count("deaf") == 0, "something stays")
    return {"milliseconds until the server had ended it": round(took * 1000, 1)}


@case("ending")
def a_commit_in_flight_commits_nothing():
    login("bob")
    connection = governed("in-flight")
    connection.run("begin")
    connection.run("insert into ledger values (1, 'in flight')")
    connection.send(query("select pg_sleep(8)") + query("commit"))
    running("in-flight", "pg_sleep")
    logout()
    frames = connection.until_closed(PATIENCE)
    expect(frames[-1] is not None, "still open")
    expect("C:COMMIT" not in wire.shape(frames), wire.shape(frames))
    expect(gone("in-flight") and count("in flight") == 0, "something stays")
    return wire.shape(frames)


def end_session(name, reason):
    """As an administrator does it, who finds the session by its process."""
    mine = [row for row in control({"op": "status"})["sessions"] if row["pid"] == os.getpid()]
    expect(len(mine) == 1, name, mine)
    session = str(mine[0]["session"])
    told = subprocess.run(
        [os.environ["WEIR_BIN"], "sessions", "end", session, "--reason", reason, "--json"],
        capture_output=True, text=True, timeout=PATIENCE,
    )
    expect(told.returncode == 0 and json.loads(told.stdout)["ended"] == int(session), told)
    again = subprocess.run([os.environ["WEIR_BIN"], "sessions", "end", "999999"], capture_output=True, text=True, timeout=PATIENCE)
    expect(again.returncode == 1 and "no session 999999 is open" in again.stderr, again)


@case("ending")
def an_administrator_ends_an_idle_session_and_says_who_and_why():
    login("bob")
    connection = governed("killed")
    connection.run("begin")
    connection.run("insert into ledger values (1, 'killed')")
    end_session("killed", "idle in a transaction")
    frames = connection.until_closed(PATIENCE)
    expect(wire.shape(frames) == "E:FATAL:57P01", wire.shape(frames))
    expect("administrator" in errors(frames)[0]["M"], errors(frames))
    expect(gone("killed") and count("killed") == 0, "something stays")
    expect(governed().run("select 1") == [["1"]], "the log-in holds")


@case("ending")
def an_administrator_ends_what_runs():
    login("bob")
    connection = governed("killed-running")
    connection.run("begin")
    connection.run("insert into ledger values (1, 'killed')")
    connection.send(query("select pg_sleep(60)") + query("commit"))
    running("killed-running", "pg_sleep")
    end_session("killed-running", "runs too long")
    frames = connection.until_closed(PATIENCE)
    expect(frames[-1] is not None and "C:COMMIT" not in wire.shape(frames), wire.shape(frames))
    expect(gone("killed-running") and count("killed") == 0, "something stays")


@case("ending")
def a_pipelined_commit_commits_nothing():
    login("bob")
    connection = governed("pipelined")
    insert = "insert into ledger values (1, 'pipelined')"
    connection.send(
        b"".join(parse(sql) + bind() + execute() for sql in ("begin", insert, "select pg_sleep(8)", "commit")) + SYNC
    )
    running("pipelined", "pg_sleep")
    logout()
    frames = connection.until_closed(PATIENCE)
    expect(frames[-1] is not None, "still open")
    expect(gone("pipelined") and count("pipelined") == 0, "something stays")


@case("ending")
def a_statement_at_work_is_undone():
    login("bob")
    connection = governed("at-work")
    connection.send(query("insert into ledger select 1, 'at work' from pg_sleep(8)"))
    running("at-work", "pg_sleep")
    logout()
    said = wire.shape(connection.until_closed(PATIENCE))
    expect(said == "E:FATAL:57P01", said)
    expect(gone("at-work") and count("at work") == 0, "something stays")


@case("ending")
def an_idle_connection_hears_of_a_logout_and_so_does_every_other_of_it():
    login("bob")
    connections = [governed("both") for _ in range(2)]
    logout()
    for connection in connections:
        frames = connection.until_closed(PATIENCE)
        expect(wire.shape(frames) == "E:FATAL:57P01", wire.shape(frames))
        expect("ended" in errors(frames)[0]["M"], errors(frames))
    expect(gone("both"), "the server still serves one")


@case("ending")
def other_people_are_left_alone():
    other = in_another_session("other")
    expect(other.stdout.readline() == "up\n", "the other has no connection")
    login("bob")
    connection = governed()
    logout()
    connection.until_closed(PATIENCE)
    other.stdin.write("go\n")
    other.stdin.flush()
    said = other.stdout.readline()
    expect(said == "T D:1 C:SELECT 1 Z:I\n", said)
    expect(other.wait(PATIENCE) == 0, "the other failed")


def in_another_session(what):
    # Not a child of this session's: it makes one of its own.
    return subprocess.Popen(
        [sys.executable, __file__, what, ISSUER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def other():
    """Another person, until told to go on."""
    own_session()
    login("bob")
    connection = governed()
    print("up", flush=True)
    sys.stdin.readline()
    print(ask(connection, query("select 1"))[0], flush=True)


def agent():
    """An agent's run: connects, says so, and says how it ended; logs out itself when told to."""
    connection = governed("agents-run")
    print("up", flush=True)
    if sys.stdin.readline() == "logout\n":
        logout()
    print(wire.shape(connection.until_closed(PATIENCE)), flush=True)


def start_agent():
    command = [os.environ["WEIR_BIN"], "exec", "--agent", "churn-bot", "--", sys.executable, __file__, "agent", ISSUER]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = run.stdout.readline()
    expect(said == "up\n", said)
    return run


@case("ending")
def an_agents_run_ends_with_its_persons_log_in():
    login("bob")
    run = start_agent()
    run.stdin.write("wait\n")
    run.stdin.flush()
    logout()
    said = run.stdout.readline()
    expect(said == "E:FATAL:57P01\n", said)
    expect(run.wait(PATIENCE) == 0, "the run failed")


@case("ending")
def a_run_that_ends_itself_leaves_its_person_alone():
    login("bob")
    own = governed()
    run = start_agent()
    run.stdin.write("logout\n")
    run.stdin.flush()
    said = run.stdout.readline()
    expect(said == "E:FATAL:57P01\n", said)
    expect(run.wait(PATIENCE) == 0, "the run failed")
    expect(own.run("select 1") == [["1"]], "bob's own connection goes on")


def own_session():
    """The kernel gives every writer of a login uid a new audit session."""
    with open("/proc/self/loginuid", "w", encoding="ascii") as file:
        file.write("0")


class Child:
    """A case in a child with an audit session of its own."""

    def __init__(self, function):
        self.name = function.__name__
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            try:
                own_session()
                result = {"ok": True, "got": function()}
            except BaseException:
                result = {"ok": False, "got": traceback.format_exc(limit=-3)}
            result["tokens"] = TOKENS
            with os.fdopen(writing, "w") as pipe:
                json.dump(result, pipe)
            os._exit(0)
        os.close(writing)
        self.pipe = os.fdopen(reading)

    def result(self):
        with self.pipe:
            text = self.pipe.read()
        os.waitpid(self.pid, 0)
        return json.loads(text) if text else {"ok": False, "got": "it died", "tokens": []}


def main():
    # Those that wait for the end of a log-in wait together.
    children = [Child(function) for function in CASES] if PART != "ending" else map(Child, CASES)
    tokens = []
    for child in children:
        result = child.result()
        tokens += result["tokens"]
        wire.report(child.name, result["ok"], result["got"])
    fingerprints = [hashlib.sha256(text.encode()).hexdigest() for text in tokens]
    wire.report("tokens", True, {"signatures": [text.rsplit(".", 1)[1] for text in tokens], "fingerprints": fingerprints})
    wire.finish()


if PART == "other":
    other()
elif PART == "agent":
    agent()
else:
    main()
