"""What applications do with asyncpg, each result printed: the runner compares the governed run with a direct one."""

import asyncio
import io

import asyncpg

import suite
from suite import case


async def connect(**options):
    # The driver takes its target from PGHOST and its like, as applications do.
    return await asyncpg.connect(**options)


def listed(records):
    return [list(record.values()) for record in records]


@case
async def simple_and_parameterised():
    c = await connect()
    got = [
        await c.execute("select 1; select 2"),
        await c.fetchval("select $1::int + $2::int", 1, 2),
        listed(await c.fetch("select $1::text, $2::bytea, $3::numeric, $4::timestamptz is null", "ü€", b"\0\1", 1, None)),
        listed(await c.fetch("select i, array[i, null], jsonb_build_object('i', i)::text from generate_series(1, 100) i")),
    ]
    await c.close()
    return got


@case
async def prepared_many_times():
    c = await connect()
    statement = await c.prepare("select $1::int as n, repeat('x', $1::int) as x")
    got = [[a.name for a in statement.get_attributes()], [p.name for p in statement.get_parameters()]]
    rows = [await statement.fetchrow(n) for n in range(200)]
    got.append(sum(len(row["x"]) for row in rows))
    await c.close()
    return got


@case
async def statement_cache_survives_ddl():
    c = await connect()
    await c.execute("create temp table t (a int)")
    await c.execute("insert into t values (1)")
    first = listed(await c.fetch("select * from t"))
    await c.execute("alter table t add column b text default 'new'")
    second = listed(await c.fetch("select * from t"))
    await c.close()
    return [first, second]


@case
async def statement_cache_that_overflows():
    c = await connect(statement_cache_size=5)
    got = [await c.fetchval(f"select {n} + $1::int", 1) for n in range(50)]
    await c.close()
    return got


@case
async def executemany():
    c = await connect()
    await c.execute("create temp table m (a int primary key, b text)")
    await c.executemany("insert into m values ($1, $2)", [(n, "v" * (n % 300)) for n in range(5000)])
    try:
        await c.executemany("insert into m values ($1, $2)", [(10_000, "undone"), (1, "twice")])
    except asyncpg.UniqueViolationError as error:
        said = [error.sqlstate, error.constraint_name]
    got = listed(await c.fetch("select count(*), sum(length(b)) from m"))
    await c.close()
    return [said, got]


@case
async def transactions_and_savepoints():
    c = await connect()
    await c.execute("create temp table t (a int primary key)")
    async with c.transaction(isolation="serializable"):
        await c.execute("insert into t values (1)")
        try:
            async with c.transaction():
                await c.execute("insert into t values (1)")
        except asyncpg.UniqueViolationError:
            pass
        await c.execute("insert into t values (2)")
    got = listed(await c.fetch("select a from t order by a"))
    await c.close()
    return got


@case
async def errors_keep_the_session():
    c = await connect()
    seen = []
    for text in ("select 1/0", "selec 1", "select * from no_such_table", "select 'x'::int"):
        try:
            await c.fetch(text)
        except asyncpg.PostgresError as error:
            seen.append([error.sqlstate, error.message, error.position])
        seen.append(await c.fetchval("select 1"))
    await c.close()
    return seen


@case
async def cursors():
    c = await connect()
    async with c.transaction():
        total = 0
        async for row in c.cursor("select i from generate_series(1, 1000) i", prefetch=13):
            total += row["i"]
        cursor = await c.cursor("select i from generate_series(1, 1000) i")
        got = [await cursor.forward(10), listed(await cursor.fetch(5)), await cursor.fetchrow()]
    await c.close()
    return [total, got]


@case
async def two_cursors_by_turns():
    c = await connect()
    async with c.transaction():
        one = await c.cursor("select i from generate_series(1, 20) i")
        two = await c.cursor("select -i from generate_series(1, 20) i")
        got = []
        for _ in range(4):
            got += listed(await one.fetch(2)) + listed(await two.fetch(3))
    await c.close()
    return got


@case
async def copy_in_and_out():
    c = await connect()
    await c.execute("create temp table copied (a int, b text)")
    got = [await c.copy_records_to_table("copied", records=[(n, f"value {n}") for n in range(10_000)])]
    got.append(await c.copy_to_table("copied", source=io.BytesIO(b"-1\tminus\n-2\ttwo\n")))
    out = io.BytesIO()
    got.append(await c.copy_from_table("copied", output=out, format="csv"))
    got.append(suite.digest(out.getvalue()))
    out = io.BytesIO()
    got.append(await c.copy_from_query("select a, b from copied where a < $1 order by a", 50, output=out, format="binary"))
    got.append(suite.digest(out.getvalue()))
    try:
        await c.copy_to_table("copied", source=io.BytesIO(b"not a number\tx\n"))
    except asyncpg.DataError as error:
        got.append([error.sqlstate, error.context])
    got.append(await c.fetchval("select count(*) from copied"))
    await c.close()
    return got


@case
async def listen_and_notify():
    listener, speaker = await connect(), await connect()
    channel = suite.unique("channel")
    heard = asyncio.Queue()
    await listener.add_listener(channel, lambda connection, pid, name, payload: heard.put_nowait(payload))
    for n in range(3):
        await speaker.execute(f"notify {channel}, 'payload {n}'")
    got = [await asyncio.wait_for(heard.get(), 5) for _ in range(3)]
    await listener.remove_listener(channel, lambda *_: None)
    await listener.close()
    await speaker.close()
    return got


@case
async def timeout_cancels():
    c = await connect()
    try:
        await c.fetch("select pg_sleep(20)", timeout=0.3)
        said = "no timeout"
    except asyncio.TimeoutError:
        said = "timed out"
    got = await c.fetchval("select 'usable'")
    await c.close()
    return [said, got]


@case
async def task_that_is_cancelled():
    c = await connect()
    task = asyncio.create_task(c.fetch("select pg_sleep(20)"))
    await asyncio.sleep(0.3)
    task.cancel()
    try:
        await task
        said = "no cancellation"
    except asyncio.CancelledError:
        said = "cancelled"
    got = await c.fetchval("select 'usable'")
    await c.close()
    return [said, got]


@case
async def pool():
    async with asyncpg.create_pool(min_size=2, max_size=8) as pool:
        got = await asyncio.gather(*(pool.fetchval("select $1::int * 2", n) for n in range(200)))
    return sum(got)


@case
async def types_by_introspection():
    c = await connect()
    name = suite.unique("mood")
    await c.execute(f"create type {name} as enum ('sad', 'glad')")
    await c.execute(f"create type {name}_pair as (left_one {name}, right_one int)")
    got = [
        await c.fetchval(f"select 'glad'::{name}"),
        list((await c.fetchval(f"select row('sad', 3)::{name}_pair")).values()),
        await c.fetchval(f"select array['sad', 'glad']::{name}[]"),
    ]
    await c.execute(f"drop type {name}_pair")
    await c.execute(f"drop type {name}")
    await c.close()
    return got


@case
async def session_reset():
    c = await connect(server_settings={"application_name": "asyncpg_suite", "search_path": "pg_catalog"})
    got = [await c.fetchval("show application_name"), await c.fetchval("show search_path"), c.get_settings().client_encoding]
    await c.execute("set timezone = 'Asia/Kolkata'")
    got.append(c.get_settings().TimeZone)
    await c.reset()
    got.append(await c.fetchval("show search_path"))
    await c.close()
    return got


suite.main()
