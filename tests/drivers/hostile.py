"""Input that no driver sends: each case must be denied or closed with a clear error, and harm nobody else.

After every case a new connection has to work and the table `victim` has to be there with its one row: the person who
runs this may neither drop nor empty it. What the agent's process does meanwhile (alive, memory) is the runner's part.
"""

import os
import random
import select
import socket
import struct
import threading
import time

import wire
from wire import SYNC, Connection, bind, execute, frame, parse, query

DROP = "drop table victim"
MIB = 1 << 20


def codes(frames):
    return [wire.fields(f[1]).get("C") for f in frames if f and f[0] == "E"]


def refused(connection, data, timeout=30):
    """Sends `data`; true when an error with a text came back, followed by readiness or the end."""
    connection.socket.settimeout(timeout)
    try:
        connection.send(data)
    except ConnectionError:
        pass  # closed while we were still sending: the reason may be readable all the same
    try:
        frames = connection.until_ready()
    except (wire.Closed, ConnectionError) as gone:
        return False, f"closed without a reason ({gone!r})"
    errors = [wire.fields(b) for t, b in frames if t == "E"]
    return bool(errors and errors[0].get("M")), wire.shape(frames)


def closed(connection, data, timeout=10, finish=False):
    """Sends `data`; true when the connection was closed, with or without an error before."""
    try:
        connection.send(data)
        if finish:
            connection.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # closed while we were still sending
    frames = connection.until_closed(timeout)
    return None not in frames, wire.shape(frames)


def still_usable(connection):
    return connection.run("select 41 + 1") == [["42"]]


def comment_before_drop():
    connection = Connection()
    ok, got = refused(connection, query("/*" + "x" * (9 * MIB) + "*/ " + DROP))
    return ok and still_usable(connection), got


def comment_before_drop_parsed():
    connection = Connection()
    ok, got = refused(connection, parse("/*" + "x" * (9 * MIB) + "*/ " + DROP) + bind() + execute() + SYNC)
    return ok and still_usable(connection), got


def nested(depth, tail=""):
    return "select " + "(" * depth + "1" + ")" * depth + tail


def nesting_2000():
    connection = Connection()
    got = wire.shape(connection.ask(query(nested(2000))))
    return (" D:1 " in got or "E:ERROR" in got) and still_usable(connection), got


def nesting_2000_hides_a_drop():
    connection = Connection()
    ok, got = refused(connection, query(nested(2000, "; " + DROP)))
    return ok and still_usable(connection), got


def nesting_200000():
    connection = Connection()
    ok, got = refused(connection, query(nested(200_000, "; " + DROP)))
    return ok and still_usable(connection), got


def operators_deep():
    connection = Connection()
    ok, got = refused(connection, query("select " + "1||" * 200_000 + "1; " + DROP))
    return ok and still_usable(connection), got


def unions_deep():
    connection = Connection()
    got = wire.shape(connection.ask(query(" union all ".join(["select 1"] * 1000))))
    return ("C:SELECT 1000" in got or "E:ERROR" in got) and still_usable(connection), got[-60:]


def nul_in_query():
    connection = Connection()
    ok, got = refused(connection, frame("Q", b"select 1\0; " + DROP.encode() + b"\0"))
    return ok and still_usable(connection), got


def nul_in_parse():
    connection = Connection()
    # The server takes what follows the NUL for the number of parameter types.
    ok, got = refused(connection, frame("P", b"\0select 1\0; " + DROP.encode() + b"\0") + SYNC)
    return ok, got


def query_without_terminator():
    connection = Connection()
    ok, got = refused(connection, frame("Q", b"select 1"))
    return ok and still_usable(connection), got


def empty_query_frame():
    connection = Connection()
    ok, got = refused(connection, frame("Q", b""))
    return ok and still_usable(connection), got


def invalid_utf8():
    connection = Connection()
    ok, got = refused(connection, frame("Q", b"select '\xff\xfe\xc0\xaf'; " + DROP.encode() + b"\0"))
    return ok and still_usable(connection), got


def foreign_encoding_hides_a_drop():
    """In GBK the byte before the backslash swallows it; read as ASCII the string ends elsewhere."""
    connection = Connection(client_encoding="GBK")
    ok, got = refused(connection, frame("Q", b"select E'\xbf\x5c'; " + DROP.encode() + b" --'\0"))
    return ok, got


def backslash_mode_hides_a_drop():
    connection = Connection(options="-c standard_conforming_strings=off -c escape_string_warning=off")
    ok, got = refused(connection, query("select '\\''; " + DROP + " --'"))
    return ok and still_usable(connection), got


def backslash_mode_set_later_hides_a_drop():
    connection = Connection()
    connection.run("set standard_conforming_strings = off")
    ok, got = refused(connection, query("select '\\''; " + DROP + " --'"))
    return ok and still_usable(connection), got


def dollar_in_name_hides_a_drop():
    connection = Connection()
    ok, got = refused(connection, query("select 1 as a$b$; " + DROP + "; select 2 as c$b$"))
    return ok and still_usable(connection), got


def unknown_message_type():
    return closed(Connection(), frame("y", b"what is this"))


def server_message_from_client():
    return closed(Connection(), frame("Z", b"I"))


def garbage_after_startup():
    return closed(Connection(), random.Random(1).randbytes(64 * 1024), finish=True)


def garbage_from_the_start():
    return closed(Connection(start=False), b"\x00\x00\x01\x00" + random.Random(2).randbytes(64 * 1024), finish=True)


def http_request():
    return closed(Connection(start=False), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", finish=True)


def length_of_one_gibibyte():
    return closed(Connection(), b"Q" + struct.pack("!I", 1 << 30) + b"x" * MIB, finish=True)


def length_just_allowed_then_end():
    """The server would wait for the rest: weir may, too, but must not set a gigabyte aside for it."""
    return closed(Connection(), b"Q" + struct.pack("!I", (1 << 30) - 100) + b"x" * (4 * MIB), finish=True)


def length_of_four_gibibyte():
    return closed(Connection(), b"Q" + struct.pack("!I", 0xFFFFFFFF) + b"x" * 100, finish=True)


def length_below_itself():
    return closed(Connection(), b"Q" + struct.pack("!I", 3), finish=True)


def half_a_frame_and_silence():
    """Nobody may be kept waiting by someone who does not finish; the end of the session is an end like any other."""
    connection = Connection()
    connection.send(query("select 'never finished'")[:-9])
    time.sleep(1.0)
    ok = still_usable(Connection())
    connection.socket.close()
    return ok, "other sessions went on"


def half_a_startup_and_silence():
    connection = Connection(start=False)
    connection.send(wire.startup({"user": "app"})[:11])
    time.sleep(1.0)
    ok = still_usable(Connection())
    connection.socket.close()
    return ok, "other sessions went on"


def byte_by_byte():
    connection = Connection()
    for byte in query("select 'slowly'"):
        connection.send(bytes([byte]))
        time.sleep(0.002)
    got = wire.shape(connection.until_ready())
    return "D:slowly" in got and got.endswith("Z:I"), got


def drop_byte_by_byte():
    connection = Connection()
    for byte in query(DROP)[:-1]:
        connection.send(bytes([byte]))
        time.sleep(0.002)
    ok, got = refused(connection, b"\0")
    return ok and still_usable(connection), got


def startup_too_long():
    return closed(Connection(start=False), wire.startup({"user": "app", "database": "shop", "options": "x" * 10_001}))


def startup_too_short():
    return closed(Connection(start=False), struct.pack("!I", 3), finish=True)


def startup_of_version_4():
    return closed(Connection(start=False), wire.startup({"user": "app"}, version=4 << 16))


def startup_of_version_2():
    return closed(Connection(start=False), struct.pack("!II", 296, 2 << 16) + b"app\0".ljust(288, b"\0"))


def startup_without_end():
    body = struct.pack("!I", wire.PROTOCOL_3_0) + b"user\0app\0database\0shop"
    return closed(Connection(start=False), struct.pack("!I", len(body) + 4) + body, finish=True)


def bytes_after_ssl_request():
    """They came before the answer, so anyone on the path could have put them there: as with the server, that is the end."""
    connection = Connection(start=False)
    connection.send(struct.pack("!II", 8, wire.SSL_REQUEST) + wire.startup({"user": "app", "database": "shop"}) + query(DROP))
    try:
        answer = connection.take(1)
    except (ConnectionResetError, EOFError):
        # What was sent and not read makes the end a reset.
        return True, "closed"
    return answer == b"", f"answered {answer!r}"


def ssl_requests_without_end():
    connection = Connection(start=False)
    answers = 0
    try:
        for _ in range(1000):
            connection.send(struct.pack("!II", 8, wire.GSSENC_REQUEST))
            if connection.take(1) not in (b"N", b"S"):
                return True, f"refused after {answers}"
            answers += 1
    except (wire.Closed, ConnectionError):
        return True, f"closed after {answers}"
    return False, f"{answers} answered"


def tls_without_asking():
    return closed(Connection(start=False), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506), finish=True)


def cancel_with_a_random_key():
    victim = Connection()
    victim.send(query("select pg_sleep(1), 'undisturbed'"))
    connection = Connection(start=False)
    ok, got = closed(connection, struct.pack("!III", 16, wire.CANCEL_REQUEST, 12345) + b"\xde\xad\xbe\xef")
    answer = wire.shape(victim.until_ready())
    return ok and "undisturbed" in answer, got


def cancel_with_a_key_too_long():
    return closed(Connection(start=False), struct.pack("!III", 9000, wire.CANCEL_REQUEST, 1) + bytes(8988))


def function_call_of_any_function():
    connection = Connection()
    oid = int(connection.run("select oid from pg_proc where proname = 'query_to_xml' and pronargs = 4")[0][0])
    arguments = [b"table victim", b"t", b"f", b""]
    body = struct.pack("!IHH", oid, 0, len(arguments)) + b"".join(struct.pack("!i", len(a)) + a for a in arguments) + struct.pack("!H", 0)
    ok, got = refused(connection, frame("F", body))
    return ok and "V" not in got.split() and still_usable(connection), got


def replication_connection():
    connection = Connection(start=False)
    parameters = {"user": os.environ["PGUSER"], "database": os.environ["PGDATABASE"], "replication": "database"}
    ok, got = refused(connection, wire.startup(parameters))
    return ok, got


def pipelined_without_reading(count=10_000):
    """The client reads nothing until it cannot send any more; then every answer has to be there, in order."""
    connection = Connection()
    one = [parse(f"select {n}, repeat('x', 5000)") + bind() + execute() + SYNC for n in range(count)]
    data = memoryview(b"".join(one))
    connection.socket.setblocking(False)
    sent, stuck = 0, False
    while sent < len(data) and not stuck:
        _, writable, _ = select.select([], [connection.socket], [], 2.0)
        stuck = not writable
        if writable:
            sent += connection.socket.send(data[sent : sent + 65536])
    connection.socket.settimeout(60)
    rest = threading.Thread(target=lambda: connection.socket.sendall(data[sent:]))
    rest.start()
    good = 0
    for n in range(count):
        frames = connection.until_ready()
        rows = [wire.cells(body) for tag, body in frames if tag == "D"]
        good += rows == [[str(n), "x" * 5000]] and frames[-1] == ("Z", b"I")
    rest.join()
    return good == count, f"{good} of {count} answers; {sent} of {len(data)} bytes left before reading"


def denials_pipelined_without_reading():
    connection = Connection()
    count = 2000
    sender = threading.Thread(target=lambda: connection.send((query(DROP) + query("select 1")) * count))
    sender.start()
    seen = [wire.shape(connection.until_ready()) for _ in range(2 * count)]
    sender.join()
    good = sum("E:ERROR:42501" in w and w.endswith("Z:I") for w in seen[::2]) + sum("D:1" in w for w in seen[1::2])
    return good == 2 * count, f"{good} of {2 * count}"


def large_parameter_passes():
    connection = Connection(timeout=120)
    size = 64 * MIB
    connection.send(parse("select length($1)", types=[17]) + bind(values=[b"\\x" + b"61" * (size // 2)]) + execute() + SYNC)
    got = wire.shape(connection.until_ready())
    return f"D:{size // 2} " in got, got


def large_result_passes():
    connection = Connection(timeout=120)
    frames = connection.ask(query(f"select repeat('x', {64 * MIB})"))
    sizes = [len(body) for tag, body in frames if tag == "D"]
    return sizes == [64 * MIB + 6] and frames[-1] == ("Z", b"I"), sizes


def large_copy_passes():
    connection = Connection(timeout=120)
    connection.send(query("create temp table copied (t text)"))
    connection.until_ready()
    connection.send(query("copy copied from stdin"))
    while connection.read()[0] != "G":
        pass
    line = b"y" * 8191 + b"\n"
    for _ in range(64):
        connection.send(frame("d", line * 128))
    got = wire.shape(connection.ask(frame("c")))
    size = sum(len(b) for t, b in connection.ask(query("copy copied to stdout")) if t == "d")
    return got.startswith("C:COPY 8192") and size == 8192 * 8192, f"{got}, {size} bytes back"


def result_without_a_reader():
    """A client that asks for much and reads nothing: bounded memory, and the rest of the world goes on."""
    connections = [Connection(timeout=60) for _ in range(4)]
    for connection in connections:
        connection.send(query("select repeat('z', 10000) from generate_series(1, 20000)"))
    time.sleep(1.5)
    ok = still_usable(Connection())
    rows = sum(tag == "D" for tag, _ in connections[0].until_ready())
    for connection in connections[1:]:
        connection.socket.close()
    return ok and rows == 20_000, f"{rows} rows"


CASES = [
    comment_before_drop, comment_before_drop_parsed, nesting_2000, nesting_2000_hides_a_drop, nesting_200000, operators_deep,
    unions_deep, nul_in_query, nul_in_parse, query_without_terminator, empty_query_frame, invalid_utf8,
    foreign_encoding_hides_a_drop, backslash_mode_hides_a_drop, backslash_mode_set_later_hides_a_drop, dollar_in_name_hides_a_drop,
    unknown_message_type, server_message_from_client, garbage_after_startup, garbage_from_the_start, http_request,
    length_of_one_gibibyte, length_just_allowed_then_end, length_of_four_gibibyte, length_below_itself, half_a_frame_and_silence,
    half_a_startup_and_silence, byte_by_byte, drop_byte_by_byte, startup_too_long, startup_too_short, startup_of_version_4,
    startup_of_version_2, startup_without_end, bytes_after_ssl_request, ssl_requests_without_end, tls_without_asking,
    cancel_with_a_random_key, cancel_with_a_key_too_long, function_call_of_any_function, replication_connection,
    pipelined_without_reading, denials_pipelined_without_reading, large_parameter_passes, large_result_passes, large_copy_passes,
    result_without_a_reader,
]  # fmt: skip


def unharmed(past):
    try:
        return past.run("select count(*) from victim") == [["1"]]
    except wire.Refused:
        return False


def main():
    past = Connection(os.environ["LAB_DIRECT_HOST"])
    past.run("drop table if exists victim; create table victim (id int); insert into victim values (1)")
    for case in CASES:
        name = case.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            ok, got = case()
        except Exception as failure:  # whatever happens is this case's result, and the next one must run
            ok, got = False, repr(failure)
        try:
            after = Connection()
            well = still_usable(after)
            after.close()
        except Exception as failure:
            well, got = False, f"{got}; and the next connection: {failure!r}"
        intact = unharmed(past)
        if not intact:
            past.run("drop table if exists victim; create table victim (id int); insert into victim values (1)")
        seconds = time.monotonic() - began
        wire.report(name, ok and well and intact, f"{str(got)[-300:]} [{seconds:.1f} s]" + ("" if intact else " THE TABLE IS GONE"))
    wire.finish()


main()
