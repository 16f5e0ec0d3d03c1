"""The frame of the driver suites: functions marked `@case` run in order and print what they saw as JSON.

Results are compared between a governed and a direct run, so they hold nothing that differs by itself: no oid, pid,
time or generated name. Where two runs share a database, `unique` makes names.
"""

import asyncio
import base64
import datetime
import decimal
import hashlib
import inspect
import json
import os
import traceback

CASES = []


def case(function):
    CASES.append(function)
    return function


def unique(prefix):
    return f"{prefix}_{os.getpid()}_{os.urandom(4).hex()}"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def plain(value):
    """Values of drivers as JSON, with their type where it could be lost."""
    if isinstance(value, (bytes, memoryview)):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, (decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)):
        return {type(value).__name__: str(value)}
    if isinstance(value, tuple) or hasattr(value, "keys") and not isinstance(value, dict):
        return list(value)
    return str(value)


def run(function):
    try:
        result = function()
        return (asyncio.run(result) if inspect.iscoroutine(result) else result), True
    except Exception:  # a case that breaks is a result: the other run must break alike, and `ok` says it did
        return traceback.format_exc(limit=-3), False


def main():
    for function in CASES:
        got, ok = run(function)
        print(json.dumps({"case": function.__name__, "ok": ok, "got": got}, default=plain), flush=True)
    print(json.dumps({"case": "finished", "ok": True, "got": None}), flush=True)
