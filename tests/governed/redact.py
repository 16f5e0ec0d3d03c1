"""Overwrites the masked columns of a copy of the shop with what `redact` makes of them: the oracle of a masked reader.

usage: redact.py DATABASE
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import twin
import wire

twin.redact(sys.argv[1], twin.masked())
wire.report("redacted", True, sys.argv[1])
wire.finish()
