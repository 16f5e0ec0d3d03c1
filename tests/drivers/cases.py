"""Reads the statements of `utility/corpus/*.sql`.

A case begins with `--- name`, may have options behind a `|`, and ends where the next begins. Lines `;;` separate its
steps; behind `;; twin` stands what the oracle runs instead. Options: `with [...]` gives parameters of the extended
protocol as JSON, `copy "..."` what is sent to a COPY FROM STDIN, `simple` keeps it from the extended protocol.
"""

import glob
import json
import os
import re


class Case:
    def __init__(self, file, name, options, body):
        self.name = f"{os.path.basename(file)[:-4]}: {name}"
        ours, _, theirs = body.partition("\n;; twin\n")
        self.steps = [step.strip() for step in re.split(r"^;;$", ours, flags=re.MULTILINE)]
        self.twin_steps = [step.strip() for step in re.split(r"^;;$", theirs, flags=re.MULTILINE)] if theirs else self.steps
        self.parameters = json.loads(options[5:]) if options.startswith("with ") else None
        self.copy = json.loads(options[5:]).encode() if options.startswith("copy ") else b""
        self.is_simple = options == "simple" or options.startswith("copy ")

    def extends(self):
        """Whether it is also run in the extended protocol with binary results."""
        plain = re.match(r"[(\s]*(select|with|values|table|insert|update|delete|merge)\b", self.steps[0], re.IGNORECASE)
        return len(self.steps) == 1 and plain is not None and not self.is_simple

    def only_success(self):
        """An EXPLAIN shows the rewritten statement's plan."""
        return any(re.match(r"explain", step, re.IGNORECASE) for step in self.steps)


def read(folder):
    cases = []
    for file in sorted(glob.glob(os.path.join(folder, "*.sql"))):
        with open(file, encoding="utf-8") as text:
            blocks = re.split(r"^--- ", text.read(), flags=re.MULTILINE)
        if blocks[0].strip():
            raise ValueError(f"{file} does not begin with a case")
        for block in blocks[1:]:
            head, body = block.split("\n", 1)
            name, _, options = head.partition(" | ")
            cases.append(Case(file, name.strip(), options.strip(), body))
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two cases are called {name!r}")
    return cases
