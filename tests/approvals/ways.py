"""Ways around an approval that are none: names, readings, what was approved for something else, and clients that have left."""

import time

import people
from people import approvals, approve, case, ended, expect, governed, note, number_in, secret, until_notice, waits, within
import wire
from wire import SYNC, bind, execute, parse, query


def error_in(frames):
    return [wire.fields(body) for tag, body in frames if tag == "E"][0]


def refused(frames, words):
    error = error_in(frames)
    expect(error["C"] == "42501" and words in error["M"], error)


def asks(connection, sql):
    """Sends what has to wait; its number."""
    connection.send(query(sql))
    return number_in(until_notice(connection))


@case
def a_name_of_the_protocol():
    connection = governed()
    named = parse("update accounts set note = $1 where id = $2", name="later")
    expect(wire.shape(connection.ask(named + SYNC)) == "1 Z:I", "not parsed")
    for sql in (
        "execute later('x', 16)",
        "explain analyze execute later('x', 16)",
        "create temporary table made as execute later('x', 16)",
    ):
        refused(connection.ask(query(sql)), "by its name")
    refused(connection.ask(bind(statement="elsewhere") + execute() + SYNC), "by its name")
    expect(note("accounts", 16) == "", "it ran")
    # The driver's own way waits, as ever.
    word = secret()
    connection.send(bind(statement="later", values=[word.encode(), b"16"]) + execute() + SYNC)
    approve(number_in(until_notice(connection)))
    expect(ended(connection) == "2 C:UPDATE 1 Z:I" and note("accounts", 16) == word, "not run")
    # Nothing is left that has a name.
    connection.run("deallocate all")
    connection.run("prepare harmless as select 'here'")
    expect(connection.run("execute harmless") == [["here"]], "refused for good")
    connection.close()


@case
def a_name_in_sql_inside_a_transaction():
    connection = governed()
    sql = "begin; prepare later (text) as update accounts set note = $1 where id = 16; commit"
    refused(connection.ask(query(sql)), "cannot be given a name in SQL")
    expect(connection.run("select count(*) from pg_prepared_statements") == [["0"]], "it has one")
    connection.close()


@case
def a_text_with_two_readings():
    connection = governed()
    connection.send(
        query("set standard_conforming_strings = off")
        + query(r"select 'x\''; update accounts set id = -id where id = 16; --'")
    )
    connection.until_ready()
    refused(connection.until_ready(), "two ways")
    expect(people.beside("select id from accounts where id = -16") == [], "it ran")
    connection.close()


@case
def an_approval_that_lasts_for_names_that_mean_something_else():
    connection = governed()
    connection.run("set search_path = elsewhere, public")
    word = secret()
    number = asks(connection, f"update accounts set note = '{word}' where id = 17")
    refused_for = approvals("alice", "approve", number, "--reason", "long", "--for", "1h").refused("once only")
    approve(number)
    expect(ended(connection) == "C:UPDATE 1 Z:I" and note("accounts", 17) == word, "not run")
    connection.close()
    return refused_for


@case
def an_approval_that_was_taken_back_meanwhile():
    connection = governed()
    number = asks(connection, f"update accounts set note = '{secret()}' where id = 18")
    approve(number, "alice", "--for", "1h")
    expect(ended(connection) == "C:UPDATE 1 Z:I", "not run")
    connection.run("begin")
    words = [secret() for _ in range(2)]
    bound = b"".join(
        parse(f"update accounts set note = '{word}' where id = 18") + bind(portal=f"p{at}")
        for at, word in enumerate(words)
    )
    expect(wire.shape(connection.ask(bound + SYNC)) == "1 2 1 2 Z:T", "not bound")
    expect(wire.shape(connection.ask(execute("p0") + SYNC)) == "C:UPDATE 1 Z:T", "not run")
    said = approvals("alice", "revoke", number, "--reason", "it is over")
    expect(said.code == 0, said.error)
    refused(connection.ask(execute("p1") + SYNC), "taken back")
    connection.run("rollback")
    connection.close()


@case
def names_that_change_between_bind_and_execute():
    connection = governed()
    connection.run("begin")
    connection.send(parse(f"update accounts set note = '{secret()}' where id = 18") + bind(portal="p") + SYNC)
    approve(number_in(until_notice(connection)))
    expect(ended(connection) == "1 2 Z:T", "not bound")
    connection.run("set local search_path = elsewhere")
    refused(connection.ask(execute("p") + SYNC), "how its names are read")
    connection.run("rollback")
    connection.close()


@case
def what_waits_behind_a_failure():
    connection = governed()
    fails = parse("select 1 / length(pg_sleep(0.7)::text)") + bind() + execute()
    update = parse(f"update accounts set note = '{secret()}' where id = 15") + bind() + execute()
    connection.send(fails + update + SYNC)
    frames = until_notice(connection)
    number = number_in(frames)
    said = wire.shape(frames + connection.until_ready())
    expect("E:ERROR:22012 Z:I" in said and "UPDATE" not in said, said)
    within(5, lambda: not waits(number))
    # Nothing of it is left: what comes next waits for itself.
    word = secret()
    other = asks(connection, f"update alone set note = '{word}' where id = 6")
    expect(other != number and waits(other), "it does not wait")
    approve(other)
    expect(ended(connection) == "C:UPDATE 1 Z:I" and note("alone", 6) == word, "not run")
    connection.close()


@case
def a_long_text_of_a_client_that_has_left():
    connection = governed()
    rows = ", ".join(str(number) for number in range(100_000, 140_000))
    number = asks(connection, f"update accounts set note = '{secret()}' where id in (19, {rows})")
    connection.socket.close()
    within(5, lambda: not waits(number))
    expect(note("accounts", 19) == "", "it ran")


@case
def much_behind_it_from_a_client_that_has_left():
    connection = governed()
    # More than is kept, and no more than the kernel takes besides: else nobody can see the end.
    behind = query(f"select '{'x' * 1000}'") * 345
    connection.send(query(f"update accounts set note = '{secret()}' where id = 20") + behind)
    number = number_in(until_notice(connection))
    connection.socket.close()
    time.sleep(0.2)
    if waits(number):
        approve(number)
    within(5, lambda: not waits(number))
    time.sleep(0.3)
    expect(note("accounts", 20) == "", "it ran")


people.main()
