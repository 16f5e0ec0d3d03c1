"""A login session of the host, driven by the test: an audit session of its own, one user, orders by standard input.

Usage: session.py UID CGROUP. Each order is a line of JSON, each answer too:
  {"run": [ARG, ...]}     runs a command to its end: status, out, err
  {"start": [ARG, ...]}   starts one and answers with the first line that it prints
  {"finish": true}        waits for that one: status, and the rest of what it printed
  {"signal": N}           sends it a signal
  {"ask": {...}}          asks the agent over a connection that stays open
  {"hang_up": true}       closes that connection
"""

import json
import os
import socket
import subprocess
import sys

uid, cgroup = int(sys.argv[1]), sys.argv[2]
with open(cgroup + "/cgroup.procs", "w") as place:
    place.write(str(os.getpid()))
os.setsid()
with open("/proc/self/loginuid", "w") as loginuid:
    loginuid.write(str(uid))
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)

child = None
link = None


def connect():
    # The file keeps the socket open, and closing it closes both.
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(os.environ["WEIR_SOCKET"])
        return made.makefile("rw")


def start(arguments):
    return subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process):
    out, err = process.communicate()
    return {"status": process.returncode, "out": out, "err": err}


for line in sys.stdin:
    order = json.loads(line)
    if "run" in order:
        answer = end(start(order["run"]))
    elif "start" in order:
        child = start(order["start"])
        answer = {"line": child.stdout.readline()}
    elif "finish" in order:
        answer = end(child)
    elif "signal" in order:
        child.send_signal(order["signal"])
        answer = {}
    elif "ask" in order:
        link = link or connect()
        link.write(json.dumps(order["ask"]) + "\n")
        link.flush()
        answer = json.loads(link.readline() or "null")
    elif "hang_up" in order:
        if link:
            link.close()
        link = None
        answer = {}
    print(json.dumps(answer), flush=True)
