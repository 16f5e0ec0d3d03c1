"""Log-ins to this host by its real doors (OpenSSH, cron, su, sudo, each with PAM), and whose sessions they are.

Runs as root in a cgroup that weir watches. Each case is a database session, as in `isolation.py`.
"""

import os
import signal
import sys

import wire
from isolation import holds, psql
from private_host import PASSED_ON, PASSWORD, PLACE, WEIR, Host, Shell, quote, run, write
from processes import wait_for

GAMES, BACKUP = 5, 34


def main():
    # `su -` opens an audit session here, as login and machinectl do; Debian's own stacks of su and sudo do not.
    host = Host(pam={"su-l": ["session required pam_loginuid.so"]})
    alice, bob = login_shell(host), login_shell(host)
    log_in(alice, "alice")
    says(alice, "ssh, logged in", "alice")
    says(bob, "another ssh session of the account", "unidentified")
    log_in(bob, "bob")
    says(bob, "another ssh session, logged in", "bob")
    says(alice, "ssh, beside another login", "alice")
    third = login_shell(host)
    says(third, "a third ssh session", "unidentified")
    third.end()

    stays(alice)
    ssh_to_localhost(host, alice)
    changes_of_user(alice)
    shares_a_connection(host)
    jobs_of_cron(alice)
    left_behind(host)

    assert bob.run(f"{WEIR} logout")[0] == 0
    says(bob, "ssh, after logout", "unidentified")
    says(alice, "ssh, after the logout of another", "alice")
    alice.end()
    bob.end()
    host.end()
    wire.finish()


def login_shell(host, **options):
    return Shell([*host.ssh("games", **options), "sh"])


def log_in(shell, who):
    status, out = shell.run(f"{WEIR} login --as {who} 2>&1")
    assert status == 0, out


def says(shell, case, principal, uid=GAMES, by="{}"):
    """Runs one statement of that case in a shell, `by` whatever stands around the command, and says whose it is."""
    came(case, principal, uid, shell.run(by.format(quote(psql(case)))))


def came(case, principal, uid, ran):
    """Reports a case that a client has run."""
    if ran != (0, "1\n"):
        print(f"{case}: {ran}", file=sys.stderr)
    wire.report(case, ran == (0, "1\n"), {"principal": principal, "actor": "", "uid": uid})


def stays(shell):
    """A session of sshd's cannot be left for another: its loginuid is set."""
    before = shell.run("cat /proc/self/sessionid; echo")
    for wanted in (0, GAMES, 2**32 - 1):
        # The shell itself writes, so that its own is meant.
        status, _ = shell.run(f"echo {wanted} 2>/dev/null >/proc/self/loginuid")
        holds(f"ssh, loginuid {wanted}", status != 0, status)
    holds("ssh, the session is the same", shell.run("cat /proc/self/sessionid; echo") == before)


def ssh_to_localhost(host, alice):
    key = host.key_of("games", GAMES)
    case = "ssh to localhost"
    came(case, "unidentified", GAMES, alice.run(quote([*host.ssh("games", key=key), quote(psql(case))])))


def changes_of_user(alice):
    """su and sudo keep the audit session, whoever is root or another user in it; a stack with pam_loginuid begins one."""
    environment = quote(f"{name}={os.environ[name]}" for name in PASSED_ON)
    says(alice, "ssh, sudo", "alice", BACKUP, f"sudo -n -u backup env {environment} {{}}")
    says(alice, "ssh, sudo root", "alice", 0, f"sudo -n env {environment} {{}}")
    says(alice, "ssh, sudo -i", "alice", 0, f"sudo -n -i env {environment} {{}}")
    for case, how, who in (("ssh, su", "su", "alice"), ("ssh, su with a session of its own", "su -", "unidentified")):
        inner = quote([f"env {environment} {quote(psql(case))}"])
        # The prompt for the password is on standard error.
        came(case, who, BACKUP, alice.run(f"echo {quote([PASSWORD])} | {how} backup -c {inner} 2>/dev/null"))


def shares_a_connection(host):
    """Channels of one ssh connection are one login to the host, for better and worse; a new connection is another."""
    path = f"{PLACE}/master"
    first = login_shell(host, options=(f"ControlPath={path}", "ControlMaster=yes"))
    log_in(first, "bob")
    second = login_shell(host, options=(f"ControlPath={path}", "ControlMaster=no"))
    says(second, "a channel of the same ssh connection", "bob")
    second.end()
    apart = login_shell(host)
    says(apart, "an ssh connection of its own", "unidentified")
    apart.end()
    first.end()


def jobs_of_cron(alice):
    """Its jobs are nobody's, while somebody is logged in with the same account.

    A daemon that alice starts from her session, as `service cron restart` does without systemd, is part of it: there
    pam_loginuid finds the account's id set already and begins no session, but for other accounts it does.
    """
    spool, system = f"{PLACE}/crontabs", f"{PLACE}/cron.d"
    crontabs = "/var/spool/cron/crontabs"
    gid = os.stat(crontabs).st_gid
    for folder in (spool, system):
        os.mkdir(folder)
    os.chown(spool, 0, gid)
    os.chmod(spool, 0o1730)
    write(f"{PLACE}/crontab", "")
    for source, target in ((spool, crontabs), (system, "/etc/cron.d"), (f"{PLACE}/crontab", "/etc/crontab")):
        run("mount", "--bind", source, target)

    def beginning():
        run("/usr/sbin/cron")

    def from_a_session():
        status, out = alice.run("sudo -n /usr/sbin/cron 2>&1")
        assert status == 0, out

    runs_jobs("cron", beginning, "unidentified", spool, gid)
    runs_jobs("cron of a session", from_a_session, "alice", spool, gid)


def runs_jobs(name, start, account, spool, gid):
    """Jobs for `@reboot` run as soon as cron starts, on the way that every job takes."""
    environment = "".join(f'{variable}="{os.environ[variable]}"\n' for variable in PASSED_ON)
    jobs = [(f"{name}, own crontab", account, GAMES), (f"{name}, crontab of the system", account, GAMES), (f"{name}, root", "unidentified", 0)]
    own, systems, roots = (into_a_file(quote(psql(case)), case.replace(" ", "-")) for case, _, _ in jobs)
    write(f"{spool}/games", f"{environment}@reboot {own}\n", 0o600, (GAMES, gid))
    write("/etc/cron.d/tests", f"{environment}@reboot games {systems}\n@reboot root {roots}\n")
    start()
    pid = int(wait_for(lambda: os.path.exists("/run/crond.pid") and open("/run/crond.pid").read(), "cron runs"))
    for case, principal, uid in jobs:
        came(case, principal, uid, (0, wait_for(lambda: printed(case.replace(" ", "-")), case)))
    os.kill(pid, signal.SIGTERM)
    # So that the next one takes itself for the first since the machine started.
    for left in ("/run/crond.pid", "/run/crond.reboot"):
        os.remove(left)


def left_behind(host):
    """What is left of a session when ssh has gone is still that session's."""
    leaving = login_shell(host)
    log_in(leaving, "alice")
    case, go = "left behind by ssh", f"{PLACE}/go"
    waits = f"while ! test -e {go}; do sleep 0.02; done; {into_a_file(quote(psql(case)), 'left')}"
    status, _ = leaving.run(f"nohup setsid sh -c {quote([waits])} >/dev/null 2>&1 &")
    assert status == 0
    leaving.end()
    later = login_shell(host)
    says(later, "ssh, after one that left something", "unidentified")
    later.end()
    write(go, "")
    came(case, "alice", GAMES, (0, wait_for(lambda: printed("left"), case)))


def into_a_file(command, name):
    """What a command prints, there only when it has ended."""
    file = f"{PLACE}/out/{name}"
    return f"{command} >{file}.part; mv {file}.part {file}"


def printed(name):
    path = f"{PLACE}/out/{name}"
    return os.path.exists(path) and open(path).read()


if __name__ == "__main__":
    main()
