#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Passwords that others know: a KDC, saslauthd (RFC 4616, 4120, 6113), and what happens when they do not answer."""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading

import harness
from harness import PASSWORD, WORK, row, run, wait_for

KRB_PASSWORD = "told the KDC 9"
TEMP, AUTH = b"-ERR [SYS/TEMP] ", b"-ERR [AUTH] "
SECS = 5  # what a check may take where some hang; those that do not must end within it on any machine
realm = harness.Realm()
kdc_pid = int((realm.dir / "kdc.pid").read_text())


def principal(name, *options, password=KRB_PASSWORD):
    run(realm.script, "user", realm.dir, name, password, *options)
    return name


for user_name, user_options in (("plain", ()), ("careful", ("+requires_preauth",)), ("revoked", ("-allow_tix",)),
                                ("must-change", ("+needchange",)), ("old", ("-expire", "1/1/2001")),
                                ("stale", ("-pwexpire", "1/1/2001")), ("u0", ("+requires_preauth",))):
    principal(user_name, *user_options)

both = harness.Server(realm, users=4, passwords=["secrets", "kerberos"], kerberos_realms=["KPOPD.TEST"])
alone = harness.Server(realm, users=1, start=False, passwords=["kerberos"], isolation="shared",
                       mechanisms=["GSSAPI", "PLAIN", "LOGIN"], apop=False)
for path in (alone.state_dir / "auth").glob("secrets*"):
    path.unlink()
alone.start()
servers = [both, alone]


def start(**options):
    """One more server for the rows that follow."""
    server = harness.Server(realm, **{"users": 2, **options})
    servers.append(server)
    return server


WAYS = {
    "PLAIN": lambda c, u, p: c.auth_plain(u, p),
    "PLAIN without an initial response": lambda c, u, p: c.auth_plain(u, p, initial=False),
    "LOGIN": lambda c, u, p: c.auth_login(u, p),
    "USER and PASS": lambda c, u, p: c.command(f"USER {u}") and c.command(f"PASS {p}"),
}


def login(server, user, password, way="PLAIN", said=None):
    """The answer to a login; said: what the log then has, in a line with that user or session."""
    before = len(server.log_text())
    with server.pop3() as client:
        answer = WAYS[way](client, user, password)
        if answer.startswith(b"+OK"):
            client.stat()
            client.quit()
            wait_for(lambda: f"login user={user}" in server.log_text()[before:], "the log has the login")
    if said:
        wait_for(lambda: said in server.log_text()[before:], f"the log says {said!r}")
    return answer


def good(server, user, password, **more):
    answer = login(server, user, password, **more)
    assert answer.startswith(b"+OK"), answer


def refused(server, user, password, start_of_answer, **more):
    answer = login(server, user, password, **more)
    assert answer.startswith(start_of_answer), answer


@contextlib.contextmanager
def stopped(*pids):
    """These processes take part in nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# --- a KDC that answers ---------------------------------------------------------------------------

for way in WAYS:
    @row(f"{way}: the password that the KDC knows opens the maildrop", way)
    def kerberos_right(way):
        good(both, "careful", KRB_PASSWORD, way=way)
        good(alone, "careful", KRB_PASSWORD, way=way)

    @row(f"{way}: whatever is wrong with a password or a principal, the answer is one, and the log knows more", way)
    def kerberos_wrong(way):
        answers = set()
        for user, password, said in (("careful", "wrong", "Preauthentication failed"),
                                     ("plain", "wrong", "kerberos: the KDC: "),
                                     ("nobody-here", KRB_PASSWORD, "not found in Kerberos database"),
                                     ("revoked", KRB_PASSWORD, "revoked"),
                                     ("must-change", KRB_PASSWORD, "Password has expired"),
                                     ("stale", KRB_PASSWORD, "Password has expired"),
                                     ("old", KRB_PASSWORD, "entry in database has expired")):
            for server in (both, alone):
                answers.add(login(server, user, password, way=way, said=said))
        assert len(answers) == 1 and answers.pop().startswith(AUTH), answers


@row("without a secrets file PLAIN, LOGIN and USER are offered, and GSSAPI")
def offered():
    with alone.pop3() as client:
        found = client.capabilities()
        assert "USER" in found and {b"PLAIN", b"LOGIN", b"GSSAPI"} <= set(found["SASL"]), found


MAP = "map all { realm = 'KPOPD.TEST' user = '%n@%d' }\n"


@row("a name with a domain is asked for in the realm of that name, when it is listed")
def domains():
    server = start(sections=MAP, passwords=["kerberos"], kerberos_realms=["KPOPD.TEST"])
    good(server, "careful@kpopd.test", KRB_PASSWORD)
    refused(server, "careful@kpopd.test", "wrong", AUTH, said="Preauthentication failed")
    refused(server, "careful@other.test", KRB_PASSWORD, AUTH, said="none of kerberos_realms")
    refused(alone, "careful@kpopd.test", KRB_PASSWORD, AUTH, said="none of kerberos_realms")
    server.stop()


@row("a password is a principal's, and opens what the principal's ticket opens: rules for principals stand")
def mapped():
    refused(both, "careful@kpopd.test", KRB_PASSWORD, AUTH, said="who is careful here, wants to act as")
    server = start(sections=MAP, passwords=["kerberos"])
    refused(server, "careful", KRB_PASSWORD, AUTH, said="who is careful@kpopd.test here, wants to act as")
    server.stop()
    server = start(sections="map none { principal = 'careful@KPOPD.TEST' deny = true }\nmap rest { auth_to_local = true }\n",
                   passwords=["kerberos", "secrets"])
    refused(server, "careful", KRB_PASSWORD, AUTH)
    good(server, "u0", KRB_PASSWORD)
    good(server, "u0", PASSWORD)
    server.stop()


@row("a name is one component: no instance, no quoting, no realm of the client's choice")
def odd_names():
    principal("careful/admin", "+requires_preauth")
    for name in ("careful/admin", "care\\ful", "careful@KPOPD.TEST@KPOPD.TEST", "krbtgt/KPOPD.TEST"):
        assert login(both, name, KRB_PASSWORD).startswith(b"-ERR"), name


@row("who has a secret and a principal logs in with either password, and with neither of another's")
def either():
    good(both, "u0", PASSWORD)
    good(both, "u0", KRB_PASSWORD)
    refused(both, "u0", "another", AUTH)
    refused(both, "u1", KRB_PASSWORD, AUTH)


@row("a password that was changed in the KDC is no longer good")
def changed():
    principal("changes", "+requires_preauth")
    good(both, "changes", KRB_PASSWORD)
    principal("changes", password="a new one")
    refused(both, "changes", KRB_PASSWORD, AUTH)
    good(both, "changes", "a new one")


@row("long passwords and those with other characters come to the KDC as they are")
def odd_passwords():
    for number, password in enumerate((" lead and trail ", "p%s%n$(id)`x`\\n\"'", "x" * 255)):
        user = principal(f"odd{number}", password=password)
        good(both, user, password)
        refused(both, user, password + "x" if len(password) < 255 else password[:-1], AUTH)


@row("the log never has a password, the client never a reason")
def silence():
    answer = login(both, "careful", "canary-5c1f", said="Preauthentication failed")
    assert not any(word in answer.lower() for word in (b"kdc", b"kerberos", b"preauth", b"principal")), answer
    for server in servers:
        assert "canary-5c1f" not in server.log_text() and KRB_PASSWORD not in server.log_text()


# --- a KDC that is not ours -----------------------------------------------------------------------

@row("a KDC that knows the user's password, but not our key, lets nobody in")
def spoofed():
    spoof = WORK / "spoof"
    run(realm.script, "start", spoof)
    try:
        run(realm.script, "user", spoof, "careful", "of the thief's choice", "+requires_preauth")
        server = start(passwords=["kerberos"], krb5_conf=spoof / "krb5.conf")
        refused(server, "careful", "of the thief's choice", TEMP, said="that the KDC is ours could not be proven")
        # The very key of the true realm, in the keytab of the false one's choice: then it is a good one.
        shutil.copy(spoof / "krb5.keytab", server.keytab)
        server.reload()
        good(server, "careful", "of the thief's choice")
        server.stop()
    finally:
        run(realm.script, "stop", spoof)


@row("without a key of ours no password is right, and the log says so at the start")
def no_key():
    server = start(passwords=["kerberos"], services=["imap4"])
    assert "no password can be checked with Kerberos: keytab: no usable key" in server.log_text()
    refused(server, "careful", KRB_PASSWORD, TEMP, said="no usable key")
    server.stop()


# --- FAST -----------------------------------------------------------------------------------------

@row("with an armor cache passwords travel under its ticket; without its ticket nothing is asked")
def armor():
    directory = WORK / "armor"
    directory.mkdir()
    cache = directory / "cache"
    server = start(passwords=["kerberos"], kerberos_armor_cache=cache)
    refused(server, "careful", KRB_PASSWORD, TEMP, said="cache")
    run("kinit", "-k", "-t", realm.keytab, "-c", f"FILE:{cache}", "pop/localhost", env=realm.environ)
    if harness.ROOT:
        shutil.chown(cache, "kpopd-check")
    good(server, "careful", KRB_PASSWORD)
    refused(server, "careful", "wrong", AUTH)
    refused(server, "nobody-here", KRB_PASSWORD, AUTH)
    # Renewed as kinit does it: by another file of that name.
    run("kinit", "-k", "-t", realm.keytab, "-c", f"FILE:{cache}.new", "pop/localhost", env=realm.environ)
    if harness.ROOT:
        shutil.chown(f"{cache}.new", "kpopd-check")
    os.rename(f"{cache}.new", cache)
    good(server, "careful", KRB_PASSWORD)
    server.stop()


# --- a KDC that does not answer -------------------------------------------------------------------

@row("no KDC listens: try again later, for anybody; secrets go on")
def no_kdc():
    conf = WORK / "no-kdc.conf"
    port = (realm.dir / "kdc.port").read_text().strip()
    conf.write_text((realm.dir / "krb5.conf").read_text().replace(port, str(harness.free_ports(1)[0])))
    server = start(passwords=["secrets", "kerberos"], krb5_conf=conf)
    good(server, "u0", PASSWORD)
    refused(server, "u0", "wrong", TEMP, said="Cannot contact any KDC")
    refused(server, "careful", KRB_PASSWORD, TEMP)
    refused(server, "nobody-here", "wrong", TEMP)
    server.stop()


@row("the KDC hangs: a check is ended at its deadline, and the client told to try again later")
def deadline():
    server = start(passwords=["kerberos"], check_secs=SECS)
    with stopped(kdc_pid):
        refused(server, "careful", KRB_PASSWORD, TEMP, said=f"did not end within {SECS} s: killed")
    good(server, "careful", KRB_PASSWORD)
    server.stop()


def root_row(sentence):
    """Only root can give kpopd another view of /etc."""
    return row(sentence) if harness.ROOT else lambda function: function


@root_row("the resolver hangs: the same")
def resolver():
    text = (realm.dir / "krb5.conf").read_text()
    port = (realm.dir / "kdc.port").read_text().strip()
    conf, resolv = WORK / "resolver.conf", WORK / "resolv.conf"
    conf.write_text(text.replace(f"127.0.0.1:{port}", f"kdc.kpopd.test:{port}"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        silent.settimeout(harness.WAIT_SECS)
        silent.bind((address, 53))
        resolv.write_text(f"nameserver {address}\noptions timeout:30\n")
        server = start(passwords=["secrets", "kerberos"], krb5_conf=conf, check_secs=SECS, wrapper=[
            "unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"', resolv])
        good(server, "u0", PASSWORD)
        refused(server, "careful", KRB_PASSWORD, TEMP, said=f"did not end within {SECS} s: killed")
        assert b"kpopd" in silent.recv(512)  # the question, which got no answer
        good(server, "u0", PASSWORD)
        server.stop()


@row("with remember_secs a right password is not asked about again for a while, a wrong one is")
def remembered():
    server = start(passwords=["kerberos"], check_secs=SECS, remember_secs=3600, password_processes=1)
    good(server, "careful", KRB_PASSWORD)
    good(server, "plain", KRB_PASSWORD)
    with stopped(kdc_pid):
        for way in WAYS:
            good(server, "careful", KRB_PASSWORD, way=way)
        good(server, "plain", KRB_PASSWORD)
        refused(server, "careful", "wrong", TEMP)
        server.reload()  # a new process knows nothing
        refused(server, "careful", KRB_PASSWORD, TEMP)
    server.stop()
    server = start(passwords=["kerberos"], check_secs=SECS, remember_secs=1, password_processes=1)
    good(server, "careful", KRB_PASSWORD)
    with stopped(kdc_pid):
        wait_for(lambda: login(server, "careful", KRB_PASSWORD).startswith(TEMP), "it is forgotten")
    server.stop()


def checkers(server):
    """The processes of the checker, the parent first."""
    found = []
    for pid, _ in server.family():
        with contextlib.suppress(OSError):
            if open(f"/proc/{pid}/comm", encoding="ascii").read().strip() == "kpopd-checker":
                found.append(pid)
    return found


def ticket_login(server, environ):
    """By curl, with a ticket for us that is in the cache already."""
    run("curl", "-sS", "--user", ":", "--login-options", "AUTH=GSSAPI", f"pop3://localhost:{server.pop3_port}/",
        env={**environ, "KRB5CCNAME": environ["KRB5CCNAME"]})


@row("the KDC hangs: logins that do not need it go on, checks stay within bounds, and end well when it is back")
def hang():
    checks, asked = 4, 10
    server = start(users=4, passwords=["secrets", "kerberos"], checks=checks, check_secs=25, refusal_msecs=0)
    environ = realm.user("alice")
    ticket_login(server, environ)
    apreq = [realm.apreq(environ) for _ in range(2)]
    answers = []

    def wait_long():
        with contextlib.suppress(AssertionError, OSError), server.pop3() as client:
            client.sock.settimeout(60)
            answers.append(client.auth_plain("careful", KRB_PASSWORD))
    threads = [threading.Thread(target=wait_long) for _ in range(asked)]
    with stopped(kdc_pid):
        for thread in threads:
            thread.start()
        wait_for(lambda: len(checkers(server)) == 1 + checks, "all checks are under way")
        wait_for(lambda: f"{checks} checks are under way, as many as configured" in server.log_text(), "the log says so")
        with server.pop3() as client:
            assert client.auth_scram("u0", PASSWORD).startswith(b"+OK")
            client.quit()
        for way in WAYS:
            good(server, "u1", PASSWORD, way=way)
        for one in apreq:
            with server.kpop() as client:
                client.sendauth(one)
                client.expect("USER alice", "+OK")
                client.expect("PASS x", "+OK")
                client.quit()
        ticket_login(server, environ)
        assert len(checkers(server)) <= 1 + checks
        assert not answers, answers
    for thread in threads:
        thread.join()
    # Those that were under way hear the KDC's late answer, the others wait their turn or give up.
    assert len(answers) == asked and all(a.startswith((b"+OK", TEMP, b"-ERR [IN-USE]")) for a in answers), answers
    assert any(not a.startswith(TEMP) for a in answers), answers
    wait_for(lambda: len(checkers(server)) <= 3, "no check is left")
    good(server, "careful", KRB_PASSWORD)
    server.stop()


@row("while checks hang, a new configuration is taken and kpopd ends as ever")
def end():
    server = start(passwords=["kerberos"], check_secs=25)
    with stopped(kdc_pid), server.pop3() as client:
        client.challenge("AUTH PLAIN")
        client.send(b"AGNhcmVmdWwAeA==\r\n")
        wait_for(lambda: len(checkers(server)) > 3, "a check is under way")
        server.reload()
        assert server.stop() == 0


# --- saslauthd ------------------------------------------------------------------------------------

class Saslauthd:
    """The real one, with its socket in a folder of ours and, for some mechanisms, an /etc of its own."""

    def __init__(self, name, mechanism, *options, etc=None, environ=None):
        self.dir = WORK / f"saslauthd-{name}"
        self.dir.mkdir()
        self.socket = self.dir / "mux"
        command = ["saslauthd", "-d", "-a", mechanism, "-m", self.dir, "-n", "2", *options]
        if etc:
            command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', etc, *command]
        self.log = open(self.dir / "log", "wb")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env=environ or os.environ, start_new_session=True)
        harness.atexit.register(self.stop)
        wait_for(self.socket.exists, "saslauthd's socket")

    def pids(self):
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [self.process.pid, *map(int, open(children, encoding="ascii").read().split())]

    def stop(self):
        if self.process.poll() is None:
            pids = self.pids()
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(harness.WAIT_SECS)
            wait_for(lambda: not any(map(harness.alive, pids)), "saslauthd's processes gone")


def private_etc(name):
    """A copy of /etc for whom a bind mount hides the machine's."""
    etc = WORK / f"etc-{name}"
    run("cp", "-a", "/etc", etc)
    return etc


def saslauthd_row(sentence):
    """Only root can give saslauthd an /etc, and saslauthd wants to be root."""
    return row(sentence) if harness.ROOT and shutil.which("saslauthd", path=os.environ["PATH"] + ":/usr/sbin") else \
        lambda function: function


def three_answers(server, user, password, secret):
    good(server, user, password)
    for way in WAYS:
        good(server, user, password, way=way)
        refused(server, user, "wrong", AUTH, way=way, said="saslauthd: NO")
    refused(server, "nobody-here", password, AUTH, said="saslauthd: NO")
    assert secret not in server.log_text()


@saslauthd_row("saslauthd -a sasldb: right, wrong, unknown")
def sasldb():
    etc = private_etc("sasldb")
    host = os.uname().nodename
    run("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', etc, "saslpasswd2", "-p", "-c", "-u", host,
        "sally", input=b"in the db")
    daemon = Saslauthd("sasldb", "sasldb", etc=etc)
    server = start(passwords=["saslauthd"], saslauthd_socket=daemon.socket)
    three_answers(server, "sally", "in the db", "in the db")
    server.stop()
    daemon.stop()


@saslauthd_row("saslauthd -a pam: right, wrong, unknown; the service is pop, the name is whole")
def pam():
    etc = private_etc("pam")
    script = WORK / "pam-script"
    script.write_text('#!/bin/sh\ntr -d "\\000" | { read -r password; [ "$PAM_SERVICE:$PAM_USER:$password" = "pop:$1:$2" ]; }\n')
    script.chmod(0o755)
    # What the account is allowed is PAM's to say, too.
    (etc / "pam.d/pop").write_text(f"auth required pam_exec.so expose_authtok quiet {script} pat@example.org in-pam\n"
                                   "account required pam_permit.so\n")
    daemon = Saslauthd("pam", "pam", etc=etc)
    server = start(passwords=["saslauthd"], saslauthd_socket=daemon.socket)
    three_answers(server, "pat@example.org", "in-pam", "in-pam")
    refused(server, "pat", "in-pam", AUTH)
    server.stop()
    daemon.stop()


@saslauthd_row("saslauthd that is stopped, gone, hung or closed to us: try again later, in bounded time")
def saslauthd_trouble():
    etc = private_etc("trouble")
    (etc / "pam.d/pop").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    daemon = Saslauthd("trouble", "pam", etc=etc)
    server = start(passwords=["secrets", "saslauthd"], saslauthd_socket=daemon.socket, check_secs=SECS)
    good(server, "anybody", "any")
    with stopped(*daemon.pids()):
        refused(server, "anybody", "any", TEMP, said="saslauthd: ")
        good(server, "u0", PASSWORD)
    good(server, "anybody", "any")
    daemon.dir.chmod(0o700)
    refused(server, "anybody", "any", TEMP, said="Permission denied; put checker_user into the group")
    daemon.dir.chmod(0o755)
    daemon.stop()
    refused(server, "anybody", "any", TEMP, said="Connection refused")
    daemon.socket.unlink()
    refused(server, "anybody", "any", TEMP, said="No such file or directory")
    good(server, "u0", PASSWORD)
    server.stop()


# --- several at once ------------------------------------------------------------------------------

@saslauthd_row("three places are asked in the order given; who does not answer is passed over")
def order():
    etc = private_etc("order")
    script = WORK / "order-script"
    script.write_text('#!/bin/sh\ntr -d "\\000" | { read -r password; echo "$PAM_USER" >> "$1"; [ "$password" = in-pam ]; }\n')
    script.chmod(0o755)
    asked = WORK / "order-asked"
    (etc / "pam.d/pop").write_text(f"auth required pam_exec.so expose_authtok quiet {script} {asked}\n"
                                   "account required pam_permit.so\n")
    daemon = Saslauthd("order", "pam", etc=etc)
    server = start(passwords=["kerberos", "saslauthd", "secrets"], saslauthd_socket=daemon.socket, check_secs=SECS)

    def count():
        return len(asked.read_text().split()) if asked.exists() else 0
    good(server, "u0", KRB_PASSWORD)
    assert count() == 0  # the KDC said yes: nobody else was asked
    good(server, "u0", "in-pam", said="login user=u0")
    assert count() == 1
    good(server, "u0", PASSWORD)
    assert count() == 2
    before = len(server.log_text())
    refused(server, "u0", "wrong", AUTH)
    line = [one for one in server.log_text()[before:].splitlines() if "refused session" in one][-1]
    assert line.index("kerberos: the KDC") < line.index("saslauthd: NO"), line
    with stopped(kdc_pid):
        good(server, "u0", "in-pam")
        refused(server, "u0", "wrong", TEMP, said="kerberos: ")
    with stopped(*daemon.pids()):
        good(server, "u0", KRB_PASSWORD)
        good(server, "u0", PASSWORD)
    refused(server, "u0", "wrong", AUTH)
    server.stop()
    daemon.stop()


@row("secrets that cannot be read are passed over like anybody who does not answer")
def secrets_gone():
    server = start(passwords=["secrets", "kerberos"], start=False)
    for path in (server.state_dir / "auth").glob("secrets*"):
        path.unlink()
    server.start()
    good(server, "careful", KRB_PASSWORD)
    refused(server, "careful", "wrong", TEMP, said="secrets cannot be read")
    server.stop()


@row("kpopd -t names a checker's user who is missing, where one is needed")
def missing_user():
    if not harness.ROOT:
        return
    for passwords, fails in ((["kerberos"], True), (["secrets"], False)):
        server = harness.Server(realm, users=1, start=False, passwords=passwords, checker_user="no-such-user")
        result = run(harness.BUILD / "kpopd", "-t", "-c", server.conf, check=False)
        assert (result.returncode != 0) == fails and (b"no-such-user" in result.stdout) == fails, result.stdout


@row("kpopd -t notes a socket and an armor cache that are not there yet, and says that the configuration is sound")
def missing_yet():
    absent = {"saslauthd_socket": WORK / "no-socket", "kerberos_armor_cache": WORK / "no-cache"}
    for passwords, told in ((["kerberos", "saslauthd"], True), (["secrets"], False)):
        server = harness.Server(realm, users=1, start=False, passwords=passwords, **absent)
        result = run(harness.BUILD / "kpopd", "-t", "-c", server.conf, check=False)
        assert result.returncode == 0, result.stdout
        for key, path in absent.items():
            assert (f"note: {key}: {path}: No such file or directory; ".encode() in result.stdout) == told, result.stdout


harness.main(both, alone)
