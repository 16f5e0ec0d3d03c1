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
    # Another name goes, or all that had been given before this one.
    connection.ask(parse("select 1", name="other") + SYNC)
    connection.run("deallocate other")
    refused(connection.ask(query("execute later('x', 16)")), "by its name")
    connection.send(query("deallocate all") + named + SYNC)
    expect(ended(connection) == "C:DEALLOCATE ALL Z:I" and ended(connection) == "1 Z:I", "not named again")
    refused(connection.ask(query("execute later('x', 16)")), "by its name")
    # Nothing is left that has a name.
    connection.run("deallocate all")
    connection.run("prepare harmless as select 'here'")
    expect(connection.run("execute harmless") == [["here"]], "refused for good")
    connection.close()


@case
def a_name_that_the_server_does_not_give_again():
    """All in one write: the second Parse fails, and what the name stands for is what waits."""
    connection = governed()
    word = secret()
    named = parse(f"update accounts set note = '{word}' where id = 16", name="taken")
    expect(wire.shape(connection.ask(named + SYNC)) == "1 Z:I", "not parsed")
    run = bind(statement="taken") + execute() + SYNC
    connection.send(parse("select 1", name="taken") + SYNC + run)
    frames = until_notice(connection)
    expect("E:ERROR:42P05" in wire.shape(frames), wire.shape(frames))
    expect(note("accounts", 16) != word, "it ran")
    approve(number_in(frames))
    ended(connection)
    expect(ended(connection) == "2 C:UPDATE 1 Z:I" and note("accounts", 16) == word, "not run")
    connection.close()


@case
def a_copy_that_fails_before_its_data():
    """The Sync that went ahead of it is no answer to what comes next."""
    connection = governed()
    connection.run("create temporary view seen as select 1 as one")
    word = secret()
    update = f"update accounts set note = '{word}' where id = 16"
    connection.send(parse("copy seen from stdin") + bind() + execute() + SYNC)
    while connection.read()[0] != "E":
        pass
    # Skipped, or waiting, by how far the server had read.
    connection.send(parse(update) + bind() + execute() + SYNC)
    said = people.until_silent(connection)
    expect(note("accounts", 16) != word, said)
    if "N" in [tag for tag, _ in said]:
        denied = approvals("alice", "deny", number_in(said), "--reason", "not this one")
        expect(denied.code == 0, denied.error)
        people.until_silent(connection)
    # The session goes on, and counts its answers rightly.
    expect(connection.run("select 'here'") == [["here"]], "out of step")
    connection.send(query(update))
    approve(number_in(until_notice(connection)))
    expect(ended(connection) == "C:UPDATE 1 Z:I" and note("accounts", 16) == word, "not run")
    connection.close()


@case
def a_portal_that_is_fetched_from():
    connection = governed()
    word = secret()
    update = f"update accounts set note = '{word}' where id = 18 returning id"

    def bound():
        connection.run("begin")
        connection.send(parse(update) + bind(portal="p") + SYNC)
        approve(number_in(until_notice(connection)))
        expect(ended(connection) == "1 2 Z:T", "not bound")

    for sql in ("fetch all from p", "move all from p", "select 1"):
        bound()
        refused(connection.ask(query(sql)), "executed first")
        connection.run("rollback")
    bound()
    said = wire.shape(connection.ask(execute("p") + SYNC))
    expect(said == "D:18 C:UPDATE 1 Z:T", said)
    expect(connection.run("select note from accounts where id = 18") == [[word]], "not written")
    connection.run("commit")
    connection.close()


@case
def a_message_too_long_to_wait():
    connection = governed()
    connection.ask(parse("update accounts set note = $1 where id = 18", name="long") + SYNC)
    refused(connection.ask(bind(statement="long", values=[b"x" * 70_000]) + execute() + SYNC), "too long to wait")
    # Nobody is asked for it, and what comes next is asked for as itself.
    word = secret()
    number = asks(connection, f"update accounts set note = '{word}' where id = 18")
    approve(number)
    expect(ended(connection) == "C:UPDATE 1 Z:I" and note("accounts", 18) == word, "not run")
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
