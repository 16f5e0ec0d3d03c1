"""A real sshd whose PAM stack begins weir logins, driven by the test: `policies/pam.md`'s line, as it stands there.

Usage: pam_login.py LINE. Orders are lines of JSON on standard input, answers too:
  {"ssh": NAME, "user": USER}     a session on a terminal, kept under a name; what the person sees until its shell is there
  {"run": LINE, "in": NAME}       runs a line there: status and what it printed
  {"hang_up": NAME}               ends it
  {"as": USER, "claims": UID}     a process that claims a login uid, is USER, and asks weir as PAM would: weir's answer
"""

import json
import os
import pwd
import socket
import sys

from private_host import WEIR, Host, Shell
from processes import child


def main(line):
    host = Host(pam={"sshd": [line.replace("/usr/bin/weir", f"/usr/bin/env WEIR_SOCKET={os.environ['WEIR_SOCKET']} {WEIR}")]})
    shells = {}
    for order in sys.stdin:
        order = json.loads(order)
        if "ssh" in order:
            # A terminal, as people have one: sshd shows what PAM says only there.
            shell = Shell(with_terminal(host.ssh(order["user"])))
            shells[order["ssh"]] = shell
            answer = {"seen": shell.settle()}
        elif "run" in order:
            status, out = shells[order["in"]].run(order["run"])
            answer = {"status": status, "out": out}
        elif "hang_up" in order:
            shells.pop(order["hang_up"]).end()
            answer = {}
        elif "as" in order:
            answer = claims(order["as"], order["claims"])
        print(json.dumps(answer), flush=True)
    for shell in shells.values():
        shell.end()
    host.end()


def with_terminal(ssh):
    return [*ssh[:-1], "-tt", ssh[-1]]


def claims(user, uid):
    """What nobody may do: name an account as PAM does, from a session that claims to be the account's."""

    def prepare():
        with open("/proc/self/loginuid", "w") as file:
            file.write(str(uid))
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    asked = {"op": "login_begin", "detached": True, "account": "games"}
    reader, writer = os.pipe()

    def asks():
        prepare()
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(os.environ["WEIR_SOCKET"])
            link.sendall(json.dumps(asked).encode() + b"\n")
            os.write(writer, link.makefile("rb").readline())

    child(asks)
    os.close(writer)
    with os.fdopen(reader) as answered:
        return json.load(answered)


if __name__ == "__main__":
    main(sys.argv[1])
