"""Whether a masked reader can learn anything about masked values.

usage: leaks.py [--direct] [--all-modes] [WORD ...]

Two databases differ only in masked values. Each trick runs on both; it leaks when the answers differ, in any frame, or
when a masked value itself is in an answer. Answers that differ between two runs on one database (process ids, times) can
only be judged by the second. Beside weir every trick has to tell the databases apart: one that does not proves nothing.
`--direct` only does that. Words choose tricks by their names.
"""

import glob
import itertools
import os
import re
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "drivers"))

import tricks
import values
import wire

MODES = ("simple", "extended", "binary")
WRITES = re.compile(r"\b(insert|update|delete|merge|create|alter|drop|truncate|rename|grant|do|call|into|set_config|setval|nextval|lo_\w+|checkpoint|refresh|execute|load|slot|fs|notify|replication)\b", re.IGNORECASE)
RESET = """
    do $$ declare r record; begin
        for r in select slot_name from pg_replication_slots where not active loop perform pg_drop_replication_slot(r.slot_name); end loop;
        for r in select lo.oid from pg_largeobject_metadata lo loop perform lo_unlink(r.oid); end loop;
    end $$;
    drop schema if exists appl cascade;
    alter role app reset all
"""
# Binary rows and arrays name the types of their fields.
OWN_NUMBERS = "select t.oid from pg_type t join pg_namespace n on n.oid = typnamespace where nspname in ('app', 'loot') order by nspname, typname"


class Site:
    """The two databases, and who looks at them."""

    def __init__(self):
        with open(os.path.join(HERE, "schema.sql"), encoding="utf-8") as file:
            text = file.read()
        self.schemas = {}
        for which in "ab":
            filled = text
            for number, row in enumerate(values.rows(which), 1):
                filled = filled.replace(f"@{number}@", row)
            self.schemas[which] = filled
        self.admins = {which: wire.Connection(os.environ["LAB_DIRECT_HOST"], database="leak_" + which, timeout=60) for which in "ab"}
        self.fresh = False
        self.numbers = {}
        admin = self.admins["a"]
        self.version = int(admin.run("show server_version_num")[0][0]) // 10000
        self.has_contrib = bool(admin.run("select from pg_available_extensions where name = 'dblink'"))

    def reset(self):
        """Makes both databases anew, unless nothing can have changed since."""
        if self.fresh:
            return
        for which, admin in self.admins.items():
            admin.run(RESET)
            admin.run(self.schemas[which])
            if admin.run(f"select from pg_roles where rolname = '{role(which)}'"):
                admin.run(f"drop owned by {role(which)} cascade; drop role {role(which)}")
            self.numbers[which] = [int(number) for [number] in admin.run(OWN_NUMBERS)]
        self.fresh = True

    def can_work(self, marks):
        wrong = {tricks.CONTRIB: not self.has_contrib, tricks.LATER: self.version < 16, tricks.ELDER: self.version > 16}
        return not any(wrong[mark] for mark in marks)


def role(which):
    return "leak_role_" + which


RUNS = itertools.count()


def open_session(host, which, parameters):
    connection = wire.Connection(host, database="leak_" + which, timeout=30, **parameters)
    if not parameters:
        connection.run("set search_path = app, loot, public")
    return connection


def run(host, which, steps, mode):
    """All frames of a trick; what ends the session becomes a frame too."""
    seen = []
    number = f"{os.getpid()}-{next(RUNS)}"
    try:
        first = steps[0] if isinstance(steps[0], dict) else {}
        connection = open_session(host, which, first)
        for step in steps[1:] if first else steps:
            if step is tricks.NEW or isinstance(step, dict):
                connection.close()
                connection = open_session(host, which, step if isinstance(step, dict) else {})
            else:
                if isinstance(step, str):
                    step = step.replace("@role@", role(which)).replace("@run@", number)
                send(connection, step, mode)
                answers(connection, seen)
        connection.close()
    except wire.Refused as refused:
        seen.append(("refused", str(refused).encode()))
    except (wire.Closed, OSError) as ended:
        seen.append(("ended", type(ended).__name__.encode()))
    return seen


def send(connection, step, mode):
    if callable(step):
        connection.send(step(connection))
        return
    text = step if isinstance(step, bytes) else step.encode()
    # What counts is only that several statements go as one query.
    if mode == "simple" or b";" in text:
        connection.send(wire.query(text))
    elif mode == "extended":
        connection.send(wire.parse(text) + wire.bind() + wire.describe("P") + wire.execute() + wire.SYNC)
    else:
        connection.send(wire.parse(text) + wire.bind(result_formats=[1]) + wire.execute() + wire.SYNC)


def answers(connection, seen):
    while True:
        tag, body = connection.read()
        if tag == "G":
            connection.send(wire.frame("f", b"no\0") + wire.SYNC)
        if tag == "W":
            # A stream has no end of its own; what is there to be sent is sent at once.
            time.sleep(0.3)
            connection.send(wire.frame("c"))
        seen.append((tag, body))
        if tag == "Z" or (tag == "E" and wire.fields(body).get("V") in ("FATAL", "PANIC")):
            return


def comparable(frames, numbers=()):
    """Without what must differ between two databases: numbers of tables and processes (also in the names of their temporary
    schemas), names of roles, weir's requests."""
    kept = []
    for tag, body in frames:
        if tag == "T":
            body = described(body)
        elif tag == "A":
            body = body[4:]
        elif tag == "E" and b"\0C42501\0" in b"\0" + body:
            body = re.sub(rb"request [0-9A-Za-z:_-]+", b"request", body)
        for place, number in enumerate(numbers):
            body = body.replace(struct.pack("!I", number), b"<%d>" % place)
        kept.append((tag, re.sub(rb"leak_role_[ab]|leak_[ab]\b|weir-leaks-[0-9-]+|loot-[0-9-]+|pg_(?:toast_)?temp_[0-9]+", b"name", body)))
    return kept


def described(body):
    at, result = 2, [body[:2]]
    for _ in range(struct.unpack("!H", body[:2])[0]):
        end = body.index(0, at) + 1
        table, rest = body[end : end + 4], body[end + 4 : end + 18]
        result += [body[at:end], b"t" if table != b"\0\0\0\0" else b"-", own_type(rest)]
        at = end + 18
    return b"".join(result)


def own_type(rest):
    oid = struct.unpack("!I", rest[2:6])[0]
    return rest if oid < 16384 else rest[:2] + b"own " + rest[6:]


def found(frames, which):
    """Masked values that the frames show."""
    everything = b"\n".join(body for tag, body in frames if tag not in "KZ")
    return [word for word in values.sentinels(which) if word.encode() in everything]


def is_denied(frames):
    return any(tag in ("refused", "ended") or (tag == "E" and wire.fields(body).get("C") == "42501") for tag, body in frames)


def both(site, host, steps, mode):
    """The frames of both databases, and what of each must be alike."""
    site.reset()
    pair = [run(host, which, steps, mode) for which in "ab"]
    for numbers in ({"a": [], "b": []}, site.numbers):
        mine, other = (comparable(frames, numbers[which]) for which, frames in zip("ab", pair))
        # Numbers are looked at only where there is a difference: bytes of values look like them now and then.
        if mine == other:
            break
    pair += [mine, other]
    site.fresh = not any(callable(s) or not isinstance(s, str) or WRITES.search(s) for s in steps)
    return pair


def judge(site, host, steps, mode):
    """`leak`, `denied` or `safe`, and what shows it."""
    ours, theirs, mine, other = both(site, host, steps, mode)
    shown = found(ours, "a") + found(theirs, "b")
    if shown:
        return "leak", {"shown": shown[:5], "a": wire.shape(frames_only(ours))[:400]}
    if mine != other:
        again = both(site, host, steps, mode)[2]
        if mine == again:
            return "leak", {"a": wire.shape(frames_only(ours))[:400], "b": wire.shape(frames_only(theirs))[:400], "differ": differing(mine, other)}
    return ("denied" if is_denied(ours) else "safe"), reason(ours)


def differing(ours, theirs):
    first = next(((a, b) for a, b in zip(ours, theirs) if a != b), None)
    return repr(first)[:400] if first else f"{len(ours)} and {len(theirs)} frames"


def frames_only(frames):
    return [(tag, body) for tag, body in frames if len(tag) == 1]


def reason(frames):
    for tag, body in frames:
        if tag == "E":
            error = wire.fields(body)
            return f"{error.get('C')} {error.get('M')}"[:200]
        if len(tag) > 1:
            return f"{tag}: {body.decode(errors='replace')}"[:200]
    return None


def main():
    only_direct = "--direct" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    site = Site()
    count = 0
    for family, name, marks, steps in tricks.all_tricks():
        title = f"{family}: {name}"
        if (words and not any(word in title for word in words)) or not site.can_work(marks):
            continue
        count += 1
        direct, truth = judge(site, os.environ["LAB_DIRECT_HOST"], steps, "simple")
        if direct != "leak":
            wire.report(title, False, {"dead": truth})
            continue
        if only_direct:
            wire.report(title, True, {"verdict": "alive"})
            continue
        for mode in MODES:
            verdict, why = judge(site, os.environ["PGHOST"], steps, mode)
            # What an ordinary write tells by its success is known and told apart.
            ok = verdict != "leak" or (family == "constraint" and "shown" not in why)
            wire.report(f"{title} ({mode})", ok, {"verdict": verdict, "why": why})
    for left in glob.glob(f"/tmp/weir-leaks-{os.getpid()}-*"):
        os.unlink(left)
    wire.report("tricks", words or count >= 600, count)
    wire.finish()


if __name__ == "__main__":
    main()
