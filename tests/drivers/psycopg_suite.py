"""What applications do with psycopg 3, each result printed: the runner compares the governed run with a direct one."""

import threading
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

import suite
from suite import case

CONNECT = {"autocommit": True, "application_name": "psycopg_suite"}


@case
def simple_and_parameterised():
    with psycopg.connect(**CONNECT) as c:
        return [
            c.execute("select 1, 'two', null, 3.5::numeric, true, '2024-02-29'::date").fetchone(),
            c.execute("select %s::int + %s::int, %s::text", (1, 2, "drei ü €")).fetchone(),
            c.execute("select %(a)s::text || %(a)s::text", {"a": "x"}).fetchone(),
            c.execute("select 1; select 2").nextset(),
        ]


@case
def rows_and_types():
    with psycopg.connect(**CONNECT) as c:
        cursor = c.cursor(row_factory=dict_row)
        cursor.execute("select i, md5(i::text) m, array[i, null, i * 2] a, jsonb_build_object('i', i) j, i::bit(8)::text b, interval '1 day' * i d from generate_series(1, 50) i")
        return [[d.name for d in cursor.description], [d.type_code for d in cursor.description], cursor.fetchall()]


@case
def binary():
    with psycopg.connect(**CONNECT) as c:
        cursor = c.cursor(binary=True)
        cursor.execute("select %s::int8, %s::bytea, %s::float8, %s::text[], '2024-02-29 12:00'::timestamp, 1.25::numeric", (2**40, bytes(range(256)), 0.1, ["a", None, "ü"]))
        return cursor.fetchall()


@case
def prepared():
    with psycopg.connect(**CONNECT, prepare_threshold=1) as c:
        rows = [c.execute("select %s::int * 2", (n,)).fetchone()[0] for n in range(20)]
        names = c.execute("select count(*) from pg_prepared_statements").fetchone()
        c.execute("deallocate all")
        return [rows, names, c.execute("select 5").fetchone()]


@case
def transactions_and_savepoints():
    with psycopg.connect(application_name="t") as c:
        c.execute("create temp table t (a int primary key)")
        try:
            with c.transaction():
                c.execute("insert into t values (1)")
                with c.transaction():
                    c.execute("insert into t values (1)")
        except psycopg.errors.UniqueViolation as error:
            said = [error.sqlstate, error.diag.message_primary, error.diag.constraint_name, error.diag.table_name]
        with c.transaction():
            c.execute("insert into t values (2)")
            try:
                with c.transaction():
                    c.execute("insert into t values (2)")
            except psycopg.errors.UniqueViolation:
                pass
            c.execute("insert into t values (3)")
        return [said, c.execute("select a from t order by a").fetchall(), c.info.transaction_status.name]


@case
def errors_keep_the_session():
    with psycopg.connect(**CONNECT) as c:
        seen = []
        for text in ("select 1/0", "selec 1", "select * from no_such_table", "select 'x'::int", "do $$ begin raise exception 'mine' using errcode = 'AB123', hint = 'h', detail = 'd'; end $$"):
            try:
                c.execute(text)
            except psycopg.Error as error:
                seen.append([error.sqlstate, error.diag.message_primary, error.diag.message_hint, error.diag.message_detail, error.diag.statement_position])
            seen.append(c.execute("select 1").fetchone())
        return seen


@case
def pipeline():
    with psycopg.connect(**CONNECT) as c:
        c.execute("create temp table p (a int, b text)")
        with c.pipeline() as pipe:
            cursors = [c.execute("insert into p values (%s, %s) returning a", (n, "v" * n)) for n in range(100)]
            pipe.sync()
            got = [cursor.fetchone()[0] for cursor in cursors]
        try:
            with c.pipeline() as pipe:
                c.execute("insert into p values (1000, 'undone')")
                c.execute("select 1/0")
                c.execute("insert into p values (1001, 'skipped')")
        except psycopg.Error as error:
            got.append(error.sqlstate)
        return [got, c.execute("select count(*), sum(length(b)) from p").fetchone()]


@case
def pipeline_transaction():
    with psycopg.connect(application_name="p") as c:
        with c.pipeline():
            cursors = []
            with c.transaction():
                for n in range(500):
                    cursors.append(c.execute("select %s::int, repeat('x', 1000)", (n,)))
            return sum(len(cursor.fetchone()[1]) for cursor in cursors)


@case
def copy_in_text():
    with psycopg.connect(**CONNECT) as c:
        c.execute("create temp table ct (a int, b text)")
        with c.cursor().copy("copy ct from stdin") as copy:
            for n in range(10_000):
                copy.write_row((n, f"line {n}\twith tab\\ and \n newline"))
        return c.execute("select count(*), sum(a), md5(string_agg(b, ',' order by a)) from ct").fetchone()


@case
def copy_in_binary():
    with psycopg.connect(**CONNECT) as c:
        c.execute("create temp table cb (a int4, b text)")
        with c.cursor().copy("copy cb from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(5_000):
                copy.write_row((n, "ü" * (n % 50)))
        return c.execute("select count(*), sum(length(b)) from cb").fetchone()


@case
def copy_in_that_fails():
    with psycopg.connect(**CONNECT) as c:
        c.execute("create temp table cf (a int)")
        seen = []
        try:
            with c.cursor().copy("copy cf from stdin") as copy:
                copy.write("1\nnot a number\n")
        except psycopg.Error as error:
            seen.append([error.sqlstate, error.diag.context])
        try:
            with c.cursor().copy("copy cf from stdin") as copy:
                copy.write("1\n")
                raise RuntimeError("the client changed its mind")
        except RuntimeError as error:
            seen.append(str(error))
        return [seen, c.execute("select count(*) from cf").fetchone()]


@case
def copy_out():
    with psycopg.connect(**CONNECT) as c:
        with c.cursor().copy("copy (select i, repeat('y', i % 100) from generate_series(1, 20000) i) to stdout") as copy:
            text = b"".join(bytes(block) for block in copy)
        with c.cursor().copy("copy (select i::int8, 'ü'::text from generate_series(1, 1000) i) to stdout (format binary)") as copy:
            binary = b"".join(bytes(block) for block in copy)
        return [len(text), suite.digest(text), len(binary), suite.digest(binary)]


@case
def copy_out_abandoned():
    with psycopg.connect(**CONNECT) as c:
        try:
            with c.cursor().copy("copy (select * from generate_series(1, 1000000)) to stdout") as copy:
                copy.read()
                raise RuntimeError("enough")
        except RuntimeError:
            pass
        return c.execute("select 'usable'").fetchone()


@case
def server_side_cursors():
    with psycopg.connect(application_name="s") as c:
        with c.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute("select i from generate_series(1, 100) i")
            total = sum(row[0] for row in cursor)
        with c.cursor("scrolled", scrollable=True, withhold=True) as cursor:
            cursor.execute("select i from generate_series(1, 100) i")
            cursor.scroll(50)
            middle = cursor.fetchone()
            cursor.scroll(-10)
            c.commit()
            return [total, middle, cursor.fetchmany(3)]


@case
def streamed_rows():
    with psycopg.connect(**CONNECT) as c:
        return sum(row[0] for row in c.cursor().stream("select i from generate_series(1, 5000) i"))


@case
def notifications():
    with psycopg.connect(**CONNECT) as listener, psycopg.connect(**CONNECT) as speaker:
        channel = suite.unique("channel")
        listener.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        for n in range(3):
            speaker.execute("select pg_notify(%s, %s)", (channel, f"payload {n}"))
        got = [n.payload for n in listener.notifies(timeout=5, stop_after=3)]
        return got


@case
def notices():
    with psycopg.connect(**CONNECT) as c:
        seen = []
        c.add_notice_handler(lambda d: seen.append([d.severity, d.sqlstate, d.message_primary]))
        c.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
        c.execute("drop table if exists not_here_at_all")
        return seen


@case
def notices_arrive_while_the_statement_runs():
    with psycopg.connect(**CONNECT) as c:
        arrived = []
        c.add_notice_handler(lambda d: arrived.append(time.monotonic()))
        c.execute("do $$ begin raise notice 'early'; perform pg_sleep(1); end $$")
        return time.monotonic() - arrived[0] > 0.7


@case
def cancel():
    with psycopg.connect(**CONNECT) as c:
        timer = threading.Timer(0.3, c.cancel_safe)
        timer.start()
        began = time.monotonic()
        try:
            c.execute("select pg_sleep(20)")
        except psycopg.errors.QueryCanceled as error:
            return [error.sqlstate, time.monotonic() - began < 5, c.execute("select 1").fetchone()]


@case
def large_objects():
    with psycopg.connect(application_name="l") as c:
        oid = c.execute("select lo_create(0)").fetchone()[0]
        fd = c.execute("select lo_open(%s, 393216)", (oid,)).fetchone()[0]
        c.execute("select lowrite(%s, %s)", (fd, bytes(range(256)) * 1000))
        c.execute("select lo_lseek64(%s, 1000, 0)", (fd,))
        part = c.execute("select loread(%s, 10)", (fd,)).fetchone()[0]
        size = c.execute("select length(lo_get(%s))", (oid,)).fetchone()
        c.execute("select lo_unlink(%s)", (oid,))
        return [part, size]


@case
def session_state():
    with psycopg.connect(**CONNECT, options="-c search_path=pg_catalog -c statement_timeout=12345") as c:
        seen = [c.execute("show search_path").fetchone(), c.execute("show statement_timeout").fetchone(), c.info.parameter_status("TimeZone")]
        c.execute("set timezone = 'Asia/Kolkata'")
        c.execute("set application_name = 'renamed'")
        seen += [c.info.parameter_status("TimeZone"), c.info.parameter_status("application_name"), c.execute("select '2024-01-01 00:00+00'::timestamptz::text").fetchone()]
        c.execute("reset all")
        return seen + [c.execute("show search_path").fetchone()]


@case
def latin1_session():
    with psycopg.connect(**CONNECT, client_encoding="latin1") as c:
        return [c.info.encoding, c.execute("select 'x' || chr(233)").fetchone(), c.execute("select %s::text", ("ñ",)).fetchone()]


@case
def latin1_texts():
    """Where rules exist, weir refuses texts that it cannot read; the session goes on."""
    with psycopg.connect(**CONNECT, client_encoding="latin1") as c:
        try:
            got = c.execute("select 'äöü'").fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            got = error.sqlstate
        return [got, c.execute("select 1").fetchone()]


@case
def wide_and_long():
    with psycopg.connect(**CONNECT) as c:
        wide = c.execute("select " + ", ".join(f"{n} as c{n}" for n in range(1600))).fetchone()
        long = c.execute("select repeat('ü', 5000000)").fetchone()[0]
        many = c.execute("select " + " + ".join(["%s::int"] * 2000), list(range(2000))).fetchone()
        return [sum(wide), len(long), many]


@case
def executemany():
    with psycopg.connect(**CONNECT) as c:
        c.execute("create temp table e (a int, b text)")
        cursor = c.cursor()
        cursor.executemany("insert into e values (%s, %s) returning a", [(n, str(n)) for n in range(1000)], returning=True)
        count = 1
        while cursor.nextset():
            count += 1
        return [count, c.execute("select count(*), sum(a) from e").fetchone()]


@case
def two_phase_commit():
    with psycopg.connect(application_name="2") as c:
        c.execute("create table if not exists two_phase (a int)")
        c.commit()
        xid = c.xid(1, suite.unique("x"), "b")
        c.tpc_begin(xid)
        c.execute("insert into two_phase values (1)")
        c.tpc_prepare()
        c.tpc_commit()
        rows = c.execute("select count(*) from two_phase").fetchone()
        c.execute("drop table two_phase")
        c.commit()
        return rows


@case
def forty_connections():
    connections = [psycopg.connect(**CONNECT) for _ in range(40)]
    got = [c.execute("select %s::int", (n,)).fetchone()[0] for n, c in enumerate(connections)]
    for c in connections:
        c.close()
    return sum(got)


suite.main()
