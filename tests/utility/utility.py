"""Ordinary statements of a masked reader: through weir each must give what it gives on a database that holds the masks.

usage: utility.py [--oracle]

Prints a verdict for each statement: equal, denied (with the reason), or different. `--oracle` runs no statement through
weir and only shows that each runs on both databases.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import cases
import twin
import wire

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
# What these are asked for is an error, on any database.
ERRORS = {"cast error in ordinary work", "missing column", "missing table", "division by zero", "insert duplicate key", "insert violates foreign key",
          "insert default values", "typed error parameter", "error position", "unknown function", "wrong type", "ambiguous column", "missing group by"}


def run(connection, case, steps, binary):
    """The frames of all steps, within a transaction that is undone."""
    frames = []
    connection.run("begin")
    try:
        for step in steps:
            if binary or case.parameters is not None:
                values = [None if value is None else value.encode() for value in case.parameters or []]
                formats = [1] if binary else []
                connection.send(wire.parse(step) + wire.describe("S") + wire.bind(values=values, result_formats=formats) + wire.execute() + wire.SYNC)
            else:
                connection.send(wire.query(step))
            frames += until_ready(connection, case.copy)
    finally:
        connection.run("rollback")
        connection.run("discard all")
    return frames


def until_ready(connection, copy):
    frames = []
    while not frames or frames[-1][0] != "Z":
        frames.append(connection.read())
        if frames[-1][0] == "G":
            connection.send(wire.frame("d", copy) + wire.frame("c"))
    return frames


def judge(case, ours, theirs):
    """One of equal, denied, differs; and what is to be said."""
    ordered = all(twin.has_order(step) for step in case.steps)
    mine, oracle = twin.answer(ours, ordered), twin.answer(theirs, ordered)
    if case.only_success():
        mine, oracle = [p for p in mine if p[0] in "EZ"], [p for p in oracle if p[0] in "EZ"]
    if mine == oracle:
        return "equal", None
    refused = twin.refusal(ours)
    if refused and not twin.refusal(theirs):
        return "denied", refused
    first = next(((a, b) for a, b in zip(mine, oracle) if a != b), None)
    return "differs", {"first": repr(first)[:500], "governed": wire.shape(ours)[:600], "oracle": wire.shape(theirs)[:600]}


def healthy(case, frames):
    """Whether a statement does on the oracle what it is in the corpus for."""
    failed = any(tag == "E" for tag, _ in frames)
    return failed == (case.name.split(": ", 1)[1] in ERRORS)


def main():
    only_oracle = "--oracle" in sys.argv
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    truth = twin.direct("twin")
    clear = twin.direct("real")
    governed = None if only_oracle else wire.Connection(database="real")
    told_apart = 0
    for case in cases.read(CORPUS):
        if wanted and not any(word in case.name for word in wanted):
            continue
        for binary in (False, True):
            if binary and not case.extends():
                continue
            name = case.name + (" (extended, binary)" if binary else "")
            theirs = run(truth, case, case.twin_steps, binary)
            unmasked = run(clear, case, case.steps, binary)
            ordered = all(twin.has_order(step) for step in case.steps)
            told_apart += twin.answer(unmasked, ordered) != twin.answer(theirs, ordered)
            if not healthy(case, theirs) or not healthy(case, unmasked):
                wire.report(name, False, {"broken": wire.shape(theirs)[:600], "error": next((wire.fields(b) for t, b in theirs if t == "E"), None)})
                continue
            if governed is None:
                wire.report(name, True, {"verdict": "oracle"})
                continue
            try:
                ours = run(governed, case, case.steps, binary)
            except (wire.Closed, wire.Refused, OSError) as error:
                wire.report(name, False, {"verdict": "differs", "why": f"the session ended: {error!r}"})
                governed = wire.Connection(database="real")
                continue
            verdict, why = judge(case, ours, theirs)
            wire.report(name, verdict != "differs", {"verdict": verdict, "why": why})
    # Statements that answer alike with and without masks show nothing about masks.
    wire.report("statements that a mask changes", wanted or told_apart >= 350, told_apart)
    wire.finish()


if __name__ == "__main__":
    main()
