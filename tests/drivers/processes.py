"""Processes of the tests' own: children that fail with their parent, and waiting for what others do."""

import ctypes
import os
import sys
import time
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000


def ends_after(work, *arguments):
    """What a child does, to its end: it never returns to what its parent was doing."""
    status = 1
    try:
        work(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def spawn(work, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        ends_after(work, *arguments)
    return pid


def child(work, *arguments):
    """Runs `work` in a process of its own, and fails with it."""
    pid = spawn(work, *arguments)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{work.__name__}{arguments}: status {status}"


def wait_for(condition, what="it", limit=60):
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come to be"
        time.sleep(0.01)
