"""Sessions that insert numbered rows until they lose their connection, for the runner to kill the agent under them.

usage: load.py SESSIONS

Prints `ready` when all sessions work, and at the end what each has seen acknowledged.
"""

import sys
import threading

import wire
from wire import SYNC, Connection, bind, execute, parse, query

working = threading.Barrier(int(sys.argv[1]) + 1)


def insert(session, acknowledged):
    name = f"load {session}"
    connection = Connection(application_name=name, timeout=60)
    # Odd ones prepare and pipeline, even ones send texts: both ways to the journal.
    if session % 2:
        connection.ask(parse("insert into numbered values ($1, $2)", "i", [25, 23]) + SYNC)
    number = 0
    try:
        while True:
            if session % 2:
                batch = range(number + 1, number + 6)
                for n in batch:
                    connection.send(bind("", "i", [name.encode(), str(n).encode()]) + execute() + SYNC)
                for n in batch:
                    done(connection.until_ready())
                    acknowledged[session] = number = n
            else:
                done(connection.ask(query(f"insert into numbered values ('{name}', {number + 1})")))
                number += 1
                acknowledged[session] = number
            if number >= 20 and session not in ready:
                ready.add(session)
                working.wait()
    except (wire.Closed, OSError):
        return


def done(frames):
    for tag, body in frames:
        if tag == "E":
            raise SystemExit(f"refused: {wire.fields(body)}")


ready = set()


def main():
    count = int(sys.argv[1])
    acknowledged = {}
    threads = [threading.Thread(target=insert, args=(n, acknowledged)) for n in range(count)]
    for thread in threads:
        thread.start()
    working.wait()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    for session, number in sorted(acknowledged.items()):
        wire.report(f"load {session}", True, number)
    wire.finish()


main()
