#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The life of a keytab, and of the secrets file: they come, go and change, and the server follows by itself."""
import contextlib
import os
import re
import signal
import threading
import time

import harness
import pop3
from harness import PASSWORD, row, run, wait_for

realm = harness.Realm()
alice = realm.user("alice")
servers = {"process": harness.Server(realm, auth_processes=2),
           "shared": harness.Server(realm, isolation="shared", auth_processes=2)}
GOOD = realm.keytab.read_bytes()
PICK_UP_SECS = 30  # a look a second, new processes, and a slow machine


def both(sentence):
    """A row for each isolation."""
    def mark(function):
        for name, one in servers.items():
            harness.add_row(f"{sentence} (isolation = {name})", function, one)
        return function
    return mark


def replace(server, content):
    """As ktutil and deployments do: a whole new file in the old one's place. None: no file."""
    if content is None:
        server.keytab.unlink()
        return
    new = server.keytab.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.rename(server.keytab)


def key_of(name, *arguments):
    """A keytab with fresh keys of one principal of the realm."""
    path = harness.WORK / "key_of.keytab"
    path.unlink(missing_ok=True)
    run(realm.script, "service", realm.dir, name, path, *arguments)
    return path.read_bytes()


def offered(server):
    with server.pop3() as client:
        return [word.decode() for word in client.capabilities()["SASL"]]


def follows(server, offers):
    wait_for(lambda: ("GSSAPI" in offered(server)) == offers, f"GSSAPI {'is' if offers else 'is not'} in CAPA", PICK_UP_SECS)


def kpop_login(server, environ=alice, service="pop/localhost"):
    with server.kpop() as client:
        client.sendauth(realm.apreq(environ, service))
        client.quit()


def works(server, environ, service="pop/localhost"):
    try:
        kpop_login(server, environ, service)
        return True
    except AssertionError:
        return False


def kpop_works(server, environ=alice, service="pop/localhost"):
    """At once, or as soon as the last process has heard of the keys that the first one has."""
    wait_for(lambda: works(server, environ, service), "a ticket is good", PICK_UP_SECS)


def kpop_refused(server):
    """What a client reads when there is no key at all."""
    with server.kpop() as client:
        client.send(pop3.SENDAUTH)
        rest = client.rest()
        assert rest.startswith(b"\2-ERR [SYS/PERM] "), rest


@contextlib.contextmanager
def keytab(server, content):
    """Inside, the server's keytab is another one; what the log says meanwhile is in the list yielded."""
    before = len(server.log_text())
    replace(server, content)
    try:
        yield lambda: server.log_text()[before:]
    finally:
        if server.keytab.exists() and server.keytab.is_dir():
            server.keytab.rmdir()
        replace(server, GOOD)
        follows(server, True)


# --- there, gone, back --------------------------------------------------------------------------

@both("a keytab that goes takes GSSAPI and KPOP with it, passwords stay; when it comes back, so do they, without SIGHUP")
def goes_and_comes(server):
    with keytab(server, None) as said:
        follows(server, False)
        with server.pop3() as client:
            client.expect("AUTH GSSAPI", "-ERR [SYS/PERM] ")
        wait_for(lambda: re.search("not offered any more.*: .*GSSAPI.* KPOP", said()), "the log says it")
        kpop_refused(server)
        server.logged_in(server.user()).quit()
    wait_for(lambda: re.search("offered from now on: .*GSSAPI.* KPOP", said()), "the log says it")
    kpop_works(server)


@row("a keytab that was not there at the start is found when it comes")
def comes_later():
    server = harness.Server(realm, start=False)
    server.keytab.unlink()
    server.start()
    assert "GSSAPI" not in offered(server)
    kpop_refused(server)
    replace(server, GOOD)
    follows(server, True)
    kpop_works(server)
    assert server.stop() == 0


@both("CAPA tells the truth of the moment in a session that began before")
def open_session(server):
    with server.pop3() as client:
        assert b"GSSAPI" in client.capabilities()["SASL"]
        with keytab(server, None):
            wait_for(lambda: b"GSSAPI" not in client.capabilities()["SASL"], "GSSAPI is gone", PICK_UP_SECS)
            client.expect("AUTH GSSAPI", "-ERR [SYS/PERM] ")
        wait_for(lambda: b"GSSAPI" in client.capabilities()["SASL"], "GSSAPI is back", PICK_UP_SECS)
        client.quit()


@both("a session between its ticket and USER, and one logged in, live through the change; fronts and master stay")
def sessions_live(server):
    user = server.user(b"Subject: one\n\n1\n")
    with server.kpop() as waiting, server.logged_in(user) as other:
        waiting.sendauth(realm.apreq(alice))
        other.expect("DELE 1", "+OK")
        fronts = harness.listening([pid for pid, _ in server.family()])
        with keytab(server, None):
            follows(server, False)
            waiting.expect("USER alice", "+OK")
            waiting.expect("PASS x", "+OK")
            waiting.quit()
        if server is servers["shared"]:
            assert set(fronts) <= set(harness.listening([pid for pid, _ in server.family()]))
        other.quit()
    wait_for(lambda: server.stored(user) == [], "the open session's QUIT counted")


@both("a ticket that waits for USER when the keys change twice is still good")
def ticket_waits(server):
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        with keytab(server, None):
            follows(server, False)
        client.expect("USER alice", "+OK")
        client.expect("PASS x", "+OK")
        client.quit()


@both("the processes of the old keys end when they have nothing to do")
def old_ones_end(server):
    def auths():
        found = []
        for pid, _ in server.family():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == "kpopd-auth":
                    found.append(pid)
        return found
    old = wait_for(lambda: len(auths()) == 2 and auths(), "two auth processes")
    with keytab(server, None):
        follows(server, False)
    wait_for(lambda: not set(old) & set(auths()) and len(auths()) == 2, "the old ones have ended")


# --- what a keytab may hold ---------------------------------------------------------------------

for sentence, content in (("half a keytab", GOOD[:len(GOOD) // 2 + 7]), ("an empty file", b""), ("noise", os.urandom(500)),
                          ("a keytab with only host/ keys", lambda: key_of("host/localhost")),
                          ("a keytab with only RC4 keys of pop",
                           lambda: key_of("pop/rc4.localhost", "arcfour-hmac:normal"))):
    @row(f"{sentence} in the keytab's place: what it has decides what is offered; then the good one comes", content)
    def odd_keytab(content):
        server = servers["process"]
        content = content() if callable(content) else content
        whole = b"localhost" in content and content in GOOD[:len(content)] and len(content) > 100
        with keytab(server, content) as said:
            wait_for(lambda: "the changed keys are taken" in said(), "the new keytab is read", PICK_UP_SECS)
            if not whole:
                follows(server, False)
                kpop_refused(server)
            server.logged_in(server.user()).quit()
        kpop_works(server)


@row("a directory where the keytab was, or a file everybody can read: the log says it, and passwords go on")
def unreadable():
    server = servers["process"]
    with keytab(server, None) as said:
        follows(server, False)
        server.keytab.mkdir()
        wait_for(lambda: "not a regular file" in said(), "the log says it", PICK_UP_SECS)
        server.logged_in(server.user()).quit()
        server.keytab.rmdir()
        server.keytab.write_bytes(GOOD)
        server.keytab.chmod(0o644)
        wait_for(lambda: "can be read by everybody" in said(), "the log says it", PICK_UP_SECS)
        assert "GSSAPI" not in offered(server)
        server.keytab.chmod(0o600)
        follows(server, True)
        kpop_works(server)


@row("a keytab written octet by octet is taken when it is whole")
def written_slowly():
    server = servers["process"]
    with keytab(server, None):
        follows(server, False)
        with open(server.keytab, "wb", buffering=0) as out:
            os.chmod(server.keytab, 0o600)
            for octet in GOOD:
                out.write(bytes([octet]))
                time.sleep(0.003)
        follows(server, True)
        for service in ("pop/localhost", "pop3/localhost"):
            kpop_works(server, service=service)


# --- new keys -------------------------------------------------------------------------------------

def ticket(name):
    """A user whose ticket for us is of the newest key, whatever comes."""
    environ = realm.user(name)
    run("kvno", "pop/localhost", env=environ)
    return environ


def rotate():
    """A new key of pop/localhost at the KDC; returns a keytab with that and all before."""
    global GOOD
    path = harness.WORK / "rotated.keytab"
    path.write_bytes(GOOD)
    run("kadmin.local", "-r", "KPOPD.TEST", "ktadd", "-k", path, "pop/localhost",
        env={**realm.environ, "KRB5_KDC_PROFILE": str(realm.dir / "kdc.conf")})
    GOOD = path.read_bytes()
    return GOOD


def taken(server, change):
    """Until the server has taken the change."""
    before = len(server.log_text())
    change()
    wait_for(lambda: "the changed keys are taken" in server.log_text()[before:], "the keys are taken", PICK_UP_SECS)


@row("after ktadd old and new tickets are good, three keys on")
def rotation():
    server = servers["process"]
    users = [ticket("alice")]
    for number in range(3):
        rotate()
        taken(server, lambda: replace(server, GOOD))
        users.append(ticket(f"bob{number}"))
        for environ in users:
            kpop_works(server, environ)


@both("keys that change every second for a while: no login fails, by ticket or by password")
def rotation_load(server):
    environ, trouble, count = ticket("alice"), [], [0]
    replace(server, GOOD)
    wait_for(lambda: works(server, environ), "the newest key is taken", PICK_UP_SECS)
    end = time.monotonic() + 8

    def log_in(how):
        try:
            while time.monotonic() < end:
                how()
                count[0] += 1
        except Exception as error:  # pylint: disable=broad-except
            trouble.append(repr(error))

    def by_password():
        server.logged_in("u0").quit()

    def by_ticket():
        kpop_login(server, environ)
    users = [threading.Thread(target=log_in, args=(how,)) for how in (by_password, by_ticket, by_ticket)]
    before = len(server.log_text())
    for user in users:
        user.start()
    while time.monotonic() < end:
        replace(server, rotate())
        time.sleep(1)
    for user in users:
        user.join()
    assert not trouble, trouble
    assert count[0] > 10, count
    wait_for(lambda: server.log_text()[before:].count("the changed keys are taken") >= 1, "some of them are taken")
    environ = ticket("carol")
    wait_for(lambda: works(server, environ), "the last key is taken", PICK_UP_SECS)


# --- secrets --------------------------------------------------------------------------------------

@row("without a secrets file the start and kpopd -t say so in one line, CAPA shows no password; the first user brings them")
def no_secrets():
    server = harness.Server(realm, start=False)
    replace(server, GOOD)
    for path in (server.state_dir / "auth").glob("secrets.mdb*"):
        path.unlink()
    told = run(harness.BUILD / "kpopd", "-t", "-c", server.conf).stdout.decode()
    lines = [line for line in told.splitlines() if "secrets.mdb" in line]
    assert len(lines) == 1 and "kpopctl user add" in lines[0], told
    server.start()
    wait_for(lambda: " serves, " in server.log_text(), "the log says that it serves")
    lines = [line for line in server.log_text().splitlines() if "secrets.mdb" in line]
    assert len(lines) == 1 and "kpopctl user add" in lines[0], lines
    with server.pop3() as client:
        tags = client.capabilities()
        assert b"GSSAPI" in tags["SASL"] and not {b"PLAIN", b"SCRAM-SHA-256"} & set(tags["SASL"]) and "USER" not in tags, tags
        client.expect("AUTH PLAIN", "-ERR [SYS/PERM] ")
        client.expect("USER u0", "+OK")
        client.expect(f"PASS {PASSWORD}", "-ERR [SYS/TEMP] ")
    kpop_works(server)
    server.add_user("u0")
    wait_for(lambda: "PLAIN" in offered(server), "passwords are offered", PICK_UP_SECS)
    server.logged_in("u0").quit()
    assert server.stop() == 0


# --- together with reloads ------------------------------------------------------------------------

@both("keytabs that come and go while SIGHUP comes again and again: in the end all works, and nothing is left over")
def with_reloads(server):
    for number in range(3):
        replace(server, GOOD if number % 2 else b"")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
    replace(server, GOOD)
    server.reload()
    kpop_works(server)
    follows(server, True)
    server.logged_in(server.user()).quit()


# --- processes that stand still ---------------------------------------------------------------------

@both("auth processes that were stopped, with the replay cache's lock perhaps, are replaced, and tickets work again")
def stopped(server):
    def auths():
        found = []
        for pid, _ in server.family():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == "kpopd-auth":
                    found.append(pid)
        return found
    still = wait_for(lambda: len(auths()) >= 2 and auths(), "auth processes")
    before = len(server.log_text())
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: not [pid for pid in still if harness.alive(pid)], "they are gone", 60)
    assert "has not answered" in server.log_text()[before:]
    kpop_works(server)


harness.main(*servers.values())
