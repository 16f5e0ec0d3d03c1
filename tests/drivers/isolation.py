"""Processes that come to a connection in every way there is. The runner compares who they are with who was recorded.

Runs as root in a cgroup that weir watches. Each case is a database session named by `application_name`; its result
says whose it is: the principal, the agent that acts for it, and the user id at the time of `connect`.

A person logs in to the host the way sshd and cron do it: a process that no login has touched writes its own loginuid,
and the kernel begins an audit session.
"""

import array
import ctypes
import encodings.idna  # Python loads it late, which nobody may not be able to
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import wire
from processes import CLONE_NEWNS, LIBC, child, ends_after, spawn, wait_for
from wire import Connection, report

NOBODY = 65534
WEIR = os.environ["WEIR_BIN"]
CGROUP = os.environ["ISOLATION_CGROUP"]
CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = (
    0x02000000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
)
# The same on every architecture that is younger than these calls.
SYS_PIDFD_OPEN, SYS_CLONE3, SYS_PIDFD_GETFD = 434, 435, 438


def statement(case, principal, actor="", uid=0):
    """Connects and runs one statement, and says whose it is."""
    connection = Connection(application_name=case)
    finish(connection, case, principal, actor, uid)


def finish(connection, case, principal, actor="", uid=0):
    """Runs one statement on a connection that somebody made."""
    rows = connection.run("select 1")
    connection.close()
    report(case, rows == [["1"]], {"principal": principal, "actor": actor, "uid": uid})


def holds(case, ok, seen=None):
    """A case whose outcome shows here already."""
    report(case, bool(ok), None if seen is None else {"seen": str(seen)})


def begin_session(uid=0):
    """What pam_loginuid does."""
    with open("/proc/self/loginuid", "w") as file:
        file.write(str(uid))
    session = open("/proc/self/sessionid").read()
    assert session != str(2**32 - 1), "this kernel keeps no audit sessions"
    return session


def log_in(user, *more):
    done = subprocess.run([WEIR, "login", "--as", user, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def log_out():
    subprocess.run([WEIR, "logout"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def person(user, work, *arguments):
    """Runs `work` in a session of that person's."""

    def session():
        begin_session()
        log_in(user)
        work(*arguments)

    child(session)


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def failed(call, *arguments):
    """The name of the error that a call ends with, or nothing."""
    try:
        call(*arguments)
    except OSError as error:
        return error.strerror
    return ""


def psql(case):
    """The command that runs one statement of that case with a real client."""
    target = f"dbname={os.environ['PGDATABASE']} application_name='{case}'"
    return [os.environ["ISOLATION_PSQL"], "-X", "-q", "-A", "-t", "-c", "select 1", target]


def run(case, principal, command, uid=0):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    report(case, done.stdout.strip() == "1", {"principal": principal, "actor": "", "uid": uid})
    if done.stdout.strip() != "1":
        print(done.stderr, file=sys.stderr)


class Companion:
    """A process of another session that waits for an order and answers."""

    def __init__(self, work, *arguments):
        self.mine, theirs = socket.socketpair()
        self.pid = spawn(self.serve, theirs, work, arguments)
        theirs.close()
        assert self.mine.recv(1) == b"+", "the companion did not begin"

    def serve(self, link, work, arguments):
        self.mine.close()
        work(link, *arguments)

    def go(self):
        self.mine.send(b"!")

    def end(self):
        self.mine.close()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the companion ended with {status}"


# --- sessions -----------------------------------------------------------------------------------------------------


def sessions():
    """A login counts in its own audit session, through everything that may become of a process there, and nowhere else."""
    statement("no session", "unidentified")

    def alice():
        statement("alice", "alice")
        inside("alice")

        def waits(link):
            begin_session()
            link.send(b"+")
            link.recv(1)
            # The same account, the same program, a login to the host of its own.
            statement("like sshd", "unidentified")

        child(lambda: beside(waits))

        def job():
            begin_session(NOBODY)
            become_nobody()
            statement("like cron", "unidentified", uid=NOBODY)

        # What alice starts begins a session of its own: that is a login to the host, and hers does not count there.
        child(job)
        log_out()
        statement("alice after logout", "unidentified")

    person("alice", alice)
    person("bob", inside, "bob")
    statement("no session, later", "unidentified")


def beside(work):
    companion = Companion(work)
    companion.go()
    companion.end()


def inside(who):
    """All that keeps the session keeps the identity."""
    case = f"{who}, %s"
    child(lambda: (os.setsid(), statement(case % "setsid", who)))
    run(case % "setsid program", who, ["setsid", "--wait", *psql(case % "setsid program")])
    run(case % "nohup", who, ["nohup", *psql(case % "nohup")])
    environment = "PGHOST PGPORT PGUSER PGSSLMODE PGPASSWORD".split()
    kept = [f"{name}={os.environ[name]}" for name in environment if name in os.environ]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in ["env", *kept, *psql(case % "su")])
    run(case % "su", who, ["su", "-s", "/bin/sh", "nobody", "-c", f"exec {quoted}"], NOBODY)
    run(case % "sudo", who, ["sudo", "-n", "-u", "nobody", "env", *kept, *psql(case % "sudo")], NOBODY)

    def orphan():
        def daemon():
            os.setsid()
            if os.fork():
                os._exit(0)
            wait_for(lambda: os.getppid() != parent)
            statement(case % "double fork", who)
            os.write(done, b"+")
            os._exit(0)

        reader, done = os.pipe()
        parent = os.getpid()
        if not os.fork():
            parent = os.getpid()
            try:
                daemon()
            finally:
                os._exit(1)
        os.close(done)
        assert os.read(reader, 1) == b"+", "the daemon said nothing"

    child(orphan)

    def namespaces():
        assert LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP) == 0
        child(statement, case % "namespaces", who)

    child(namespaces)

    def root_in_a_namespace():
        become_nobody()
        assert LIBC.unshare(CLONE_NEWUSER) == 0, "no user namespaces"
        error = failed(begin_session)
        holds(case % "loginuid in a user namespace", error, error)
        statement(case % "user namespace", who, uid=NOBODY)

    if not user_namespaces_are_off():
        child(root_in_a_namespace)


def user_namespaces_are_off():
    """Some systems reserve them for root."""

    def tries():
        become_nobody()
        assert LIBC.unshare(CLONE_NEWUSER) == 0

    pid = spawn(quietly, tries)
    return os.waitpid(pid, 0)[1] != 0


def quietly(work):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    work()


# --- attempts -----------------------------------------------------------------------------------------------------


def attempts():
    """What a process without privilege may try, while alice is logged in."""

    def alice(link):
        begin_session()
        log_in("alice")
        connection = Connection(application_name="alice waits")
        link.send(b"+" + struct.pack("!i", connection.socket.fileno()))
        link.recv(1)
        finish(connection, "alice waits", "alice")

    companion = Companion(alice)
    theirs = struct.unpack("!i", companion.mine.recv(4))[0]
    # A socket of hers that a stranger would like to have.
    child(takes_a_socket, companion.pid, theirs)
    child(chooses_a_session, companion.pid)
    child(moves_itself)
    child(builds_a_look_alike)
    child(enters_a_namespace, companion.pid)
    companion.go()
    companion.end()


def takes_a_socket(pid, fd):
    begin_session()
    handle = LIBC.syscall(SYS_PIDFD_OPEN, pid, 0)
    assert handle >= 0
    become_nobody()
    taken = LIBC.syscall(SYS_PIDFD_GETFD, handle, fd, 0)
    holds("pidfd_getfd", taken == -1 and ctypes.get_errno() == 1, taken)
    statement("who tried pidfd_getfd", "unidentified", uid=NOBODY)


def chooses_a_session(pid):
    """A process that no login has touched may begin a session, and only a new one."""
    wanted = open(f"/proc/{pid}/sessionid").read()
    become_nobody()
    error = failed(lambda: open("/proc/self/sessionid", "w").write(wanted))
    holds("a session id is not written", error, error)
    # Kernels may allow it where none is set. It is somebody's login then, and not alice's.
    failed(begin_session, NOBODY)
    holds("no session of another's", open("/proc/self/sessionid").read() != wanted)
    statement("who chose a loginuid", "unidentified", uid=NOBODY)
    failed(begin_session, 0)
    statement("who chose it again", "unidentified", uid=NOBODY)


def moves_itself():
    """Into the cgroup of a run: that takes the right to write to it."""
    runner = subprocess.Popen([WEIR, "login", "--as", "bob", "--scope", "tree", "--", "sleep", "600"], stdin=subprocess.DEVNULL)
    path = wait_for(lambda: run_of(runner.pid))
    folder = hierarchy() + path

    def moves():
        become_nobody()
        error = failed(lambda: open(f"{folder}/cgroup.procs", "w").write(str(os.getpid())))
        holds("a run is not entered", error, error)
        error = failed(os.mkdir, f"{folder}/mine")
        holds("a run is not built on", error, error)
        statement("who tried to enter a run", "unidentified", uid=NOBODY)

    child(moves)
    # Root may: whoever it puts there is bob.
    child(lambda: (open(f"{folder}/cgroup.procs", "w").write(str(os.getpid())), statement("moved by root", "bob")))
    # And whom it takes out is not.
    open(f"{CGROUP}/clients/cgroup.procs", "w").write(str(runner.pid))
    child(statement, "beside whom root took out", "unidentified")
    runner.kill()
    runner.wait()


def run_of(pid):
    path = next((line[3:].strip() for line in open(f"/proc/{pid}/cgroup") if line.startswith("0::")), "")
    return path if "/weir/run-" in path else None


def hierarchy():
    mounts = [line.split() for line in open("/proc/self/mountinfo")]
    return next(fields[4] for fields in mounts if "cgroup2" in fields[fields.index("-") :] and fields[3] == "/")


def builds_a_look_alike():
    """Below a cgroup of its own a user builds what it likes, and the names mean nothing there."""
    own = f"{CGROUP}/delegated"
    for folder in (own, f"{own}/weir", f"{own}/weir/run-0123456789abcdef", f"{own}/system.slice", f"{own}/system.slice/billing.service"):
        os.makedirs(folder, exist_ok=True)
        for file in (folder, f"{folder}/cgroup.procs"):
            os.chown(file, NOBODY, NOBODY)
    for name in ("weir/run-0123456789abcdef", "system.slice/billing.service"):

        def inside_it():
            open(f"{own}/{name}/cgroup.procs", "w").write(str(os.getpid()))
            become_nobody()
            statement(f"in {name}", "unidentified", uid=NOBODY)

        child(inside_it)


def enters_a_namespace(pid):
    """Another's namespaces are places, not identities."""
    handle = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    begin_session()
    assert LIBC.setns(handle, 0) == 0
    statement("in alice's mount namespace", "unidentified")


# --- connections --------------------------------------------------------------------------------------------------


def connections():
    """A connection is its maker's, whoever uses it later."""
    person("alice", passes_on)

    def early():
        begin_session()
        connection = Connection(application_name="before the login")
        log_in("alice")
        finish(connection, "before the login", "unidentified")
        statement("after the login", "alice")

    child(early)


def passes_on():
    # To a program that takes the process's place.
    connection = Connection(application_name="exec after connect")
    os.set_inheritable(connection.socket.fileno(), True)
    again = [sys.executable, __file__, "inherited", str(connection.socket.fileno())]
    done = subprocess.run(again, close_fds=False, capture_output=True, text=True)
    report("exec after connect", done.stdout.strip() == "1", {"principal": "alice", "actor": "", "uid": 0})
    connection.socket.close()

    # To a child, when the parent has gone.
    def leaves():
        connection = Connection(application_name="the parent left")
        parent = os.getpid()
        reader, done = os.pipe()
        if os.fork() == 0:
            try:
                os.close(reader)
                wait_for(lambda: os.getppid() != parent)
                finish(connection, "the parent left", "alice")
                sys.stdout.flush()
                os._exit(0)
            finally:
                os._exit(1)
        # Inherited by nobody: it closes when both have ended, and the one who waits below sees that.
        os._exit(0)

    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    pid = spawn(leaves)
    os.close(writer)
    os.waitpid(pid, 0)
    assert os.read(reader, 1) == b"", "the child is still there"

    # To another user.
    def changes_user():
        connection = Connection(application_name="another user since")
        become_nobody()
        finish(connection, "another user since", "alice")
        statement("another user", "alice", uid=NOBODY)

    child(changes_user)

    # To a process of nobody's, which then has what alice gave away, and nothing beyond that one connection.
    def stranger(link):
        begin_session()
        become_nobody()
        link.send(b"+")
        _, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(4))
        fd = array.array("i", ancillary[0][2])[0]
        given = from_fd(fd)
        finish(given, "given to a stranger", "alice")
        statement("the stranger's own", "unidentified", uid=NOBODY)

    companion = Companion(stranger)
    connection = Connection(application_name="given to a stranger")
    fds = array.array("i", [connection.socket.fileno()])
    companion.mine.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    connection.socket.close()
    companion.end()

    # And from one: what a stranger connected stays the stranger's in alice's hands.
    def gives(link):
        begin_session()
        become_nobody()
        connection = Connection(application_name="given by a stranger")
        fds = array.array("i", [connection.socket.fileno()])
        link.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        connection.socket.close()
        link.recv(1)

    mine, theirs = socket.socketpair()
    pid = spawn(lambda: (mine.close(), gives(theirs)))
    theirs.close()
    _, ancillary, _, _ = mine.recvmsg(1, socket.CMSG_SPACE(4))
    finish(from_fd(array.array("i", ancillary[0][2])[0]), "given by a stranger", "unidentified", uid=NOBODY)
    mine.close()
    os.waitpid(pid, 0)


def from_fd(fd):
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket(fileno=fd)
    connection.socket.settimeout(60)
    connection.buffer = bytearray()
    return connection


def inherited(fd):
    connection = from_fd(int(fd))
    print(connection.run("select 1")[0][0])
    connection.close()


# --- process ids --------------------------------------------------------------------------------------------------


class CloneArguments(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup".split()
    ]


def with_pid(pid, work, *arguments):
    """A child with a process id of one's choice."""
    sys.stdout.flush()
    wanted = (ctypes.c_int * 1)(pid)
    made = CloneArguments(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
    got = LIBC.syscall(SYS_CLONE3, ctypes.byref(made), ctypes.sizeof(made))
    if got == 0:
        ends_after(work, *arguments)
    return got


def process_ids():
    """A process id that is used again brings nothing of its earlier owner with it."""
    assert threading.active_count() == 1

    def owner(link):
        begin_session()
        log_in("alice")
        statement("the id's first owner", "alice")
        link.send(b"+")
        link.recv(1)

    for number in range(3):
        # Another process may take the id in between: then the kernel says so, and it is tried again with another.
        for _ in range(20):
            companion = Companion(quiet_owner)
            pid = companion.pid
            companion.go()
            companion.end()
            got = with_pid(pid, statement, f"the id's next owner {number}", "unidentified")
            if got > 0:
                break
        assert got == pid, f"process id {pid} could not be used again: {ctypes.get_errno()}"
        assert os.waitpid(pid, 0)[1] == 0
    companion = Companion(owner)
    companion.go()
    companion.end()

    # The maker of a connection ends, and its id is another's, before the first byte is sent.
    def maker(link):
        begin_session()
        log_in("bob")
        connection = Connection(start=False)
        fds = array.array("i", [connection.socket.fileno()])
        link.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    for _ in range(20):
        mine, theirs = socket.socketpair()
        pid = spawn(lambda: (mine.close(), maker(theirs)))
        _, ancillary, _, _ = mine.recvmsg(1, socket.CMSG_SPACE(4))
        assert os.waitpid(pid, 0)[1] == 0
        connection = from_fd(array.array("i", ancillary[0][2])[0])
        got = with_pid(pid, idle)
        if got > 0:
            break
        connection.socket.close()
    assert got == pid
    # Logged in by its session, which the kernel noted with the connection: not by the process that is there now.
    named = {"user": os.environ["PGUSER"], "database": os.environ["PGDATABASE"], "application_name": "the maker has ended"}
    connection.send(wire.startup(named))
    connection.until_ready()
    finish(connection, "the maker has ended", "bob")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def quiet_owner(link):
    begin_session()
    log_in("alice")
    link.send(b"+")
    link.recv(1)


def idle():
    time.sleep(300)


# --- containers ---------------------------------------------------------------------------------------------------


def containers():
    """A container is whose process started it: a daemon's are nobody's, whoever asked the daemon."""
    folder = f"{CGROUP}/docker/{'c' * 64}"
    os.makedirs(folder, exist_ok=True)

    def contained(case, principal):
        open(f"{folder}/cgroup.procs", "w").write(str(os.getpid()))
        assert LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP) == 0
        child(statement, case, principal)

    def daemon(link):
        link.send(b"+")
        link.recv(1)
        child(contained, "a daemon's container", "unidentified")
        link.send(b"+")

    service = Companion(daemon)

    def alice():
        child(contained, "alice's own container", "alice")
        service.go()
        assert service.mine.recv(1) == b"+", "the daemon said nothing"

    person("alice", alice)
    service.end()


# --- order --------------------------------------------------------------------------------------------------------


def order():
    """An agent's run, then a workload, then a login."""

    def alice():
        statement("a login", "alice")

        def serves():
            open(f"{CGROUP}/billing/cgroup.procs", "w").write(str(os.getpid()))
            statement("a workload before a login", "svc-billing")
            agent("an agent of a workload", "svc-billing")

        child(serves)
        agent("an agent's run before a login", "alice")

        agent_runs(leaves_a_run)
        agent_runs(agent, "an agent of an agent", "alice", "churn-bot > churn-bot")
        running = agent_starts(outlives)
        assert running.stdout.readline() == "connected\n", "the agent did not begin"
        log_out()
        running.stdin.write("go on\n")
        running.stdin.flush()
        ended = running.stdout.readline().strip()
        running.stdin.close()
        running.wait()
        holds("a logout ends the run", ended == "refused, refused", ended)

    person("alice", alice)
    child(statement, "nobody", "unidentified")


def agent(case, principal, actor="churn-bot"):
    agent_runs(statement, case, principal, actor)


def agent_runs(work, *arguments):
    """What an agent's own program does that acts for this process."""
    sys.stdout.flush()
    command = [sys.executable, __file__, "call", work.__name__, *arguments]
    subprocess.run([WEIR, "exec", "--agent", "churn-bot", "--", *command], check=True, stdin=subprocess.DEVNULL)


def agent_starts(work):
    command = [WEIR, "exec", "--agent", "churn-bot", "--", sys.executable, __file__, "call", work.__name__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def outlives():
    """What is left to an agent whose person has logged out: neither its connection nor a new one."""
    connection = Connection(application_name="outlives its person")
    connection.run("select 1")
    print("connected", flush=True)
    sys.stdin.readline()
    print(", ".join(refused(work) for work in (lambda: connection.run("select 1"), Connection)), flush=True)


def refused(work):
    try:
        work()
    except (wire.Refused, wire.Closed, OSError):
        return "refused"
    return "served"


def leaves_a_run():
    """What an agent starts is the agent's, in a session of its own as well."""
    begin_session()
    statement("an agent that begins a session", "alice", "churn-bot")


if __name__ == "__main__":
    if sys.argv[1] == "inherited":
        inherited(sys.argv[2])
    elif sys.argv[1] == "call":
        globals()[sys.argv[2]](*sys.argv[3:])
    else:
        for name in sys.argv[1:]:
            child(globals()[name])
        wire.finish()
