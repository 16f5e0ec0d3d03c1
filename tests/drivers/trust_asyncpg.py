"""asyncpg, which never binds to a channel, at every mode.

usage: trust_asyncpg.py MODE=ADDRESS …
"""

import asyncio
import os
import ssl
import sys

import asyncpg

import wire


async def one(mode, address, tls, verified):
    context = None
    if tls:
        context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
        # The address is what it connects to, so that is the name in the certificate.
        context.check_hostname = verified
    known = "a placeholder" if mode == "inject" else os.environ["PASSWORD"]
    c = await asyncpg.connect(
        host=address,
        port=int(os.environ["PGPORT"]),
        user="by_scram",
        database=os.environ["PGDATABASE"],
        password=known,
        ssl=context if tls else False,
        timeout=60,
    )
    try:
        rows = await c.fetch("select g from generate_series(1, $1::int) g", 3)
        try:
            # Its time limit is kept by a cancellation.
            await c.execute("select pg_sleep(120)", timeout=0.5)
            return "not cancelled"
        except (TimeoutError, asyncio.TimeoutError):
            pass
        return [row[0] for row in rows] == [1, 2, 3] and await c.fetchval("select 1") == 1
    finally:
        await c.close(timeout=60)


async def main():
    for mode, address in (argument.split("=") for argument in sys.argv[1:]):
        # The server's own certificate names the first addresses of the lab only.
        verified = mode in ("verifier", "inject")
        for tls in (False, True):
            if tls and mode == "plaintext":
                continue
            try:
                got = await one(mode, address, tls, verified)
            except Exception as failure:  # this case's result; the next one must run
                got = repr(failure)
            wire.report(f"asyncpg {mode} tls={tls}", got is True, got)
    wire.finish()


asyncio.run(main())
