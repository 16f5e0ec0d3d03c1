"""A denial as an application with psycopg 3 meets it: an ordinary error, in every state, and the session goes on.

usage: psycopg_denials.py RULE
"""

import os
import sys

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.pq import TransactionStatus

import wire

DENIED = "delete from denied_items"
RULE = sys.argv[1]


def denied(call):
    """The denial that `call` must run into."""
    try:
        call()
    except InsufficientPrivilege as error:
        said = f"{error.diag.message_primary} {error.diag.message_detail}"
        assert RULE in said, f"the rule is not named: {said}"
        assert error.diag.severity == "ERROR"
        return error
    raise AssertionError("it was not denied")


def status(connection, expected):
    assert connection.info.transaction_status == expected, connection.info.transaction_status


def count(connection):
    return connection.execute("select count(*) from denied_items").fetchone()[0]


def autocommit():
    with psycopg.connect(autocommit=True) as c:
        denied(lambda: c.execute(DENIED))
        status(c, TransactionStatus.IDLE)
        assert count(c) == 3


def in_a_transaction():
    with psycopg.connect() as c:
        c.execute("insert into denied_items values (10)")
        denied(lambda: c.execute(DENIED))
        status(c, TransactionStatus.INERROR)
        try:
            c.execute("select 1")
            raise AssertionError("a failed transaction went on")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        c.rollback()
        status(c, TransactionStatus.IDLE)
        assert count(c) == 3


def savepoint():
    with psycopg.connect() as c, c.transaction(force_rollback=True):
        c.execute("insert into denied_items values (11)")

        def nested():
            with c.transaction():
                c.execute(DENIED)

        denied(nested)
        status(c, TransactionStatus.INTRANS)
        assert count(c) == 4


def commit_after_a_denial_is_a_rollback():
    with psycopg.connect() as c:
        c.execute("insert into denied_items values (12)")
        denied(lambda: c.execute(DENIED))
        c.commit()
        assert count(c) == 3


def prepared():
    with psycopg.connect(autocommit=True, prepare_threshold=0) as c:
        for _ in range(3):
            denied(lambda: c.execute(DENIED))
            assert c.execute("select %s::int", (7,)).fetchone() == (7,)


def in_a_pipeline():
    with psycopg.connect(autocommit=True) as c:

        def work():
            with c.pipeline():
                c.execute("insert into denied_items values (13)")
                c.execute(DENIED)
                c.execute("insert into denied_items values (14)")

        denied(work)
        status(c, TransactionStatus.IDLE)
        assert count(c) == 3


def pipeline_with_syncs():
    with psycopg.connect(autocommit=True) as c:
        with c.pipeline() as pipeline:
            first = c.execute("select 1")
            pipeline.sync()
            refused = c.execute(DENIED)
            denied(pipeline.sync)
            last = c.execute("select 3")
            pipeline.sync()
            assert (first.fetchone(), last.fetchone()) == ((1,), (3,))
            del refused


def parameters():
    with psycopg.connect(autocommit=True) as c:
        denied(lambda: c.execute("delete from denied_items where true or id = %s", (1,)))
        denied(lambda: c.execute("update denied_items set id = %s", (1,)))
        assert c.execute("update denied_items set id = id where id = %s", (1,)).rowcount == 1


def many_denials():
    with psycopg.connect(autocommit=True) as c:
        for _ in range(500):
            denied(lambda: c.execute(DENIED))
        assert count(c) == 3


CASES = [autocommit, in_a_transaction, savepoint, commit_after_a_denial_is_a_rollback, prepared, in_a_pipeline, pipeline_with_syncs, parameters, many_denials]


def main():
    past = wire.Connection(os.environ["LAB_DIRECT_HOST"])
    past.run("drop table if exists denied_items; create table denied_items (id int); insert into denied_items values (1), (2), (3)")
    for case in CASES:
        try:
            case()
            wire.report(case.__name__, True, None)
        except Exception as failure:  # this case's result; the next one must run
            wire.report(case.__name__, False, repr(failure))
    wire.finish()


main()
