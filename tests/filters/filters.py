"""Statements of somebody who may see only some rows: through weir each must give what it gives where there are no others.

Runs the reading statements of `utility/corpus` on a database whose customers are filtered by the reader's region, and on a
copy from which all other customers are gone. Prints a verdict for each: equal, denied (with the reason), or different.
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "drivers"))
sys.path.insert(0, os.path.join(HERE, "..", "utility"))

import cases
import twin
import utility
import wire

# Which pages a sample takes depends on where rows lie, and orphans of the copy break what refers to them.
WRITES = re.compile(r"\b(insert|update|delete|merge|truncate|alter|drop|copy\s+\w+[^;]*\bfrom)\b|tablesample|\bctid\b", re.IGNORECASE)

# These cut off in the middle of equals, or leave the order of equals open.
TIES = {"grouping sets", "tableau extract", "superset virtual dataset", "looker derived table"}


def whole(case):
    """Its steps, without the limit that leaves open which of several equals comes back."""
    if case.name.split(": ", 1)[1] not in TIES:
        return case.steps
    return [re.sub(r"\s+limit\s+\d+\s*;?\s*$", "", step, flags=re.IGNORECASE) for step in case.steps]


def main():
    truth, clear = twin.direct("twin"), twin.direct("real")
    governed = wire.Connection(database="real")
    told_apart = 0
    for case in cases.read(utility.CORPUS):
        if any(WRITES.search(step) for step in case.steps):
            continue
        for binary in (False, True):
            if binary and not case.extends():
                continue
            name = case.name + (" (extended, binary)" if binary else "")
            # The corpus says what to ask a masked copy instead; here nothing is masked.
            tied = case.name.split(": ", 1)[1] in TIES
            case.steps = case.twin_steps = whole(case)
            theirs = utility.run(truth, case, case.steps, binary)
            everything = utility.run(clear, case, case.steps, binary)
            ordered = not tied and all(twin.has_order(step) for step in case.steps)
            told_apart += twin.answer(everything, ordered) != twin.answer(theirs, ordered)
            try:
                ours = utility.run(governed, case, case.steps, binary)
            except (wire.Closed, wire.Refused, OSError) as error:
                wire.report(name, False, {"verdict": "differs", "why": f"the session ended: {error!r}"})
                governed = wire.Connection(database="real")
                continue
            if tied and twin.answer(ours, False) == twin.answer(theirs, False):
                verdict, why = "equal", None
            else:
                verdict, why = utility.judge(case, ours, theirs)
            wire.report(name, verdict != "differs", {"verdict": verdict, "why": why})
    # Statements that answer alike with and without the other rows show nothing.
    wire.report("statements that a filter changes", told_apart >= 80, told_apart)
    wire.finish()


if __name__ == "__main__":
    main()
