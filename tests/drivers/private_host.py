"""This host with an OpenSSH server, cron, sudo and accounts for tests, in a mount namespace that takes all of it away.

The programs and their PAM stacks are Debian's own; what they read from /etc, /run and /var/spool is laid over the
host's for the processes in here only. Accounts are those of the system (`games`, `backup`), given a shell.
"""

import os
import shlex
import shutil
import socket
import subprocess

from processes import CLONE_NEWNS, LIBC, wait_for

PASSWORD = "a password for su"
PLACE = "/run/weir-test"
# The agent's command, wherever the build is: its folder may be closed to others.
WEIR = f"{PLACE}/weir"
# What a client of the database needs to know.
PASSED_ON = [name for name in os.environ if name.startswith("PG") or name == "WEIR_SOCKET"]


def run(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def write(path, text, mode=0o644, owner=(0, 0)):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    os.chown(path, *owner)


class Host:
    """Leaves the host's mount namespace; `pam` are lines to add to the stack of a service, by its name."""

    def __init__(self, users=("games", "backup"), pam=None):
        assert LIBC.unshare(CLONE_NEWNS) == 0, "no mount namespace"
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        for folder in (PLACE, f"{PLACE}/etc", "/run/sshd"):
            os.mkdir(folder)
        os.mkdir(f"{PLACE}/out")
        os.chmod(f"{PLACE}/out", 0o1777)
        write(WEIR, "")
        run("mount", "--bind", os.environ["WEIR_BIN"], WEIR)
        self.accounts(users)
        for service, lines in (pam or {}).items():
            self.lay_over(f"/etc/pam.d/{service}", lambda text: text + "".join(f"{line}\n" for line in lines))
        os.mkdir(f"{PLACE}/sudoers.d")
        write(f"{PLACE}/sudoers.d/tests", "games ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        run("mount", "--bind", f"{PLACE}/sudoers.d", "/etc/sudoers.d")
        self.daemons = []
        self.start_sshd()

    def lay_over(self, path, change):
        """A changed copy of a file, in its place."""
        copy = f"{PLACE}/etc/{os.path.basename(path)}"
        shutil.copy(path, copy)
        status = os.stat(path)
        os.chown(copy, status.st_uid, status.st_gid)
        with open(path) as file:
            text = file.read()
        with open(copy, "w") as file:
            file.write(change(text))
        run("mount", "--bind", copy, path)

    def accounts(self, users):
        secret = run("openssl", "passwd", "-6", PASSWORD).strip()

        def change(text, field, value):
            lines = [line.split(":") for line in text.splitlines()]
            for fields in lines:
                if fields[0] in users:
                    fields[field] = value
            assert {fields[0] for fields in lines} >= set(users), f"not all of {users} are there"
            return "".join(":".join(fields) + "\n" for fields in lines)

        self.lay_over("/etc/passwd", lambda text: change(change(text, 6, "/bin/sh"), 5, "/"))
        self.lay_over("/etc/shadow", lambda text: change(text, 1, secret))

    def start_sshd(self):
        for name in ("host", "client"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{PLACE}/{name}")
        shutil.copy(f"{PLACE}/client.pub", f"{PLACE}/authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = " ".join(f'"{name}={os.environ[name]}"' for name in PASSED_ON)
        options = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": f"{PLACE}/host",
            "AuthorizedKeysFile": f"{PLACE}/authorized",
            "UsePAM": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PrintMotd": "no",
            "PidFile": "none",
            "SetEnv": environment,
        }
        write(f"{PLACE}/sshd_config", "".join(f"{name} {value}\n" for name, value in options.items()))
        with open(f"{PLACE}/sshd.log", "w") as log:
            # By its whole path: it executes itself again for each connection.
            command = [shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin"), "-D", "-e", "-f", f"{PLACE}/sshd_config"]
            self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        wait_for(self.answers, "sshd answers")

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ssh(self, user, key=f"{PLACE}/client", options=()):
        """The command that logs in; what to run there is to be added."""
        fixed = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", *options]
        named = [word for option in fixed for word in ("-o", option)]
        return ["ssh", "-F", "none", "-i", key, "-p", str(self.port), *named, f"{user}@127.0.0.1"]

    def key_of(self, user, uid):
        """A key that the user may use itself."""
        path = f"{PLACE}/client-of-{user}"
        shutil.copy(f"{PLACE}/client", path)
        os.chown(path, uid, -1)
        os.chmod(path, 0o600)
        return path

    def end(self):
        for daemon in self.daemons:
            daemon.terminate()
            daemon.wait()

    def log(self):
        with open(f"{PLACE}/sshd.log") as file:
            return file.read()


class Shell:
    """A shell at the other end of `command`, which is told what to run."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.number = 0

    def run(self, line):
        """Runs a line to its end; its exit status and what it printed."""
        self.number += 1
        mark = f"ended {self.number} "
        # A command has no input from here: it would take what is meant for the shell.
        self.process.stdin.write(f"{{ {line}\n}} </dev/null; echo \"{mark}$?\"\n")
        self.process.stdin.flush()
        printed = []
        while True:
            answer = self.line()
            if answer.startswith(mark):
                return int(answer.removeprefix(mark)), "".join(printed)
            printed.append(answer)

    def settle(self):
        """Makes a terminal silent; what was shown on it until then."""
        # In two parts, so that what the terminal echoes is told from what the shell prints.
        self.process.stdin.write("stty -echo -onlcr; PS1= PS2=; echo 'the shell ''is there'\n")
        self.process.stdin.flush()
        shown = []
        while "the shell is there" not in (answer := self.line()):
            shown.append(answer)
        return "".join(shown)

    def line(self):
        answer = self.process.stdout.readline()
        assert answer, "the shell has ended"
        return answer

    def end(self):
        # A terminal passes no end of input on.
        self.process.stdin.write("exit\n")
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def quote(words):
    return shlex.join(str(word) for word in words)
