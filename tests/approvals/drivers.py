"""Prepared statements that wait, as drivers run them: held with their values at `Bind`, each execution anew."""

import asyncio
import json
import os
import queue
import subprocess
from pathlib import Path

import asyncpg
import people
import psycopg
from people import PATIENCE, WAITS, approve, case, deny, expect, note, secret

SQL = "update accounts set note = {} where id = {}"


class Notices(queue.Queue):
    """The numbers of what waits, as notices say them."""

    def heard(self, text):
        found = WAITS.search(text)
        if found:
            self.put(int(found[1]))

    def number(self):
        return self.get(timeout=PATIENCE)

    async def soon(self):
        return await asyncio.to_thread(self.number)


@case
def psycopg_executes_again_and_is_asked_again():
    async def conversation():
        notices, words = Notices(), [secret() for _ in range(3)]
        connection = await psycopg.AsyncConnection.connect("", autocommit=True)
        connection.add_notice_handler(lambda diagnostic: notices.heard(diagnostic.message_primary))

        async def execute(word):
            cursor = await connection.execute(SQL.format("%s", "%s"), [word, 11], prepare=True)
            return cursor.rowcount

        for word in words[:2]:
            running = asyncio.create_task(execute(word))
            number = await notices.soon()
            expect(note("accounts", 11) != word, "it ran")
            await asyncio.to_thread(approve, number)
            expect(await running == 1 and note("accounts", 11) == word, "not run")
        running = asyncio.create_task(execute(words[2]))
        await asyncio.to_thread(deny, await notices.soon())
        try:
            await running
            raise AssertionError("not denied")
        except psycopg.errors.InsufficientPrivilege as error:
            expect("alice" in str(error), error)
        expect(note("accounts", 11) == words[1], "it ran")

        # Taken back by the driver's own means.
        running = asyncio.create_task(execute(words[2]))
        await notices.soon()
        await connection.cancel_safe()
        try:
            await running
            raise AssertionError("not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        cursor = await connection.execute("select note from accounts where id = %s", [11])
        expect(await cursor.fetchone() == (words[1],), "the session goes on")
        await connection.close()

    asyncio.run(conversation())


@case
def psycopg_in_pipeline_mode_gets_what_is_ahead():
    async def conversation():
        notices, word = Notices(), secret()
        connection = await psycopg.AsyncConnection.connect("", autocommit=True)
        connection.add_notice_handler(lambda diagnostic: notices.heard(diagnostic.message_primary))

        async def pipeline():
            async with connection.pipeline():
                first = await connection.execute("select %s::text", ["ahead"])
                await connection.execute(SQL.format("%s", "%s"), [word, 12])
                last = await connection.execute("select note from accounts where id = %s", [12])
            return await first.fetchone(), await last.fetchone()

        running = asyncio.create_task(pipeline())
        number = await notices.soon()
        expect(note("accounts", 12) == "", "it ran")
        await asyncio.to_thread(approve, number)
        expect(await running == (("ahead",), (word,)), "other results")
        await connection.close()

    asyncio.run(conversation())


@case
def asyncpg_executes_again_and_is_asked_again():
    async def conversation():
        notices, words = Notices(), [secret() for _ in range(3)]
        connection = await asyncpg.connect(
            host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
            database=os.environ["PGDATABASE"], ssl=False, timeout=PATIENCE,
        )
        connection.add_log_listener(lambda _, message: notices.heard(message.message))
        statement = await connection.prepare(SQL.format("$1", "$2"))
        for word in words[:2]:
            running = asyncio.create_task(statement.fetch(word, 13))
            number = await notices.soon()
            expect(note("accounts", 13) != word, "it ran")
            await asyncio.to_thread(approve, number)
            await running
            expect(note("accounts", 13) == word, "not run")
        running = asyncio.create_task(statement.fetch(words[2], 13))
        await asyncio.to_thread(deny, await notices.soon())
        try:
            await running
            raise AssertionError("not denied")
        except asyncpg.InsufficientPrivilegeError as error:
            expect("alice" in str(error), error)
        # asyncpg cancels what runs into its time limit.
        try:
            await statement.fetch(words[2], 13, timeout=1)
            raise AssertionError("no time limit")
        except asyncio.TimeoutError:
            pass
        expect(await connection.fetchval("select note from accounts where id = $1", 13) == words[1], "the session goes on")
        await connection.close()

    asyncio.run(conversation())


@case
def node_postgres_executes_again_and_is_asked_again():
    node = subprocess.Popen(
        ["node", str(Path(__file__).with_name("node_pg.mjs"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )

    def line():
        said = node.stdout.readline()
        expect(said, "node ended")
        return json.loads(said)

    def asked(word):
        node.stdin.write(json.dumps([word, 14]) + "\n")
        return int(WAITS.search(line()["notice"])[1])

    words = [secret() for _ in range(3)]
    for word in words[:2]:
        number = asked(word)
        expect(note("accounts", 14) != word, "it ran")
        approve(number)
        said = line()
        expect(said == {"rows": 1} and note("accounts", 14) == word, said)
    deny(asked(words[2]))
    said = line()
    expect(said["code"] == "42501" and "alice" in said["message"] and note("accounts", 14) == words[1], said)
    node.stdin.close()
    expect(node.wait(PATIENCE) == 0, "node failed")


people.main()
