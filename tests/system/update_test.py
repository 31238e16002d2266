#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What stays and what goes: QUIT when the disk fails or is full, every other end of a session, UIDLs and sizes."""
import contextlib
import os
import signal
import time

import harness
from harness import PASSWORD, ROOT, row, run

realm = harness.Realm()
alice = realm.user("alice")
server = harness.Server(realm, users=16)
shared = harness.Server(realm, users=8, isolation="shared")
every = [server, shared]
ONE, TWO, THREE = b"Subject: one\n\nfirst\n", b"Subject: two\n\nsecond\n", b"Subject: three\n\nthird\n"
MAIL = [ONE, TWO, THREE]
NOT_REMOVED = b"-ERR [SYS/TEMP] some deleted messages not removed (%d of %d)"


def both(sentence):
    """A row for each isolation."""
    def mark(function):
        for one in (server, shared):
            harness.add_row(f"{sentence} (isolation = {one.options['isolation']})", function, one)
        return function
    return mark


def marked(where, *numbers, mail=(ONE, TWO, THREE)):
    """A user with this mail, and a session that has marked some."""
    user = where.user(*mail)
    client = where.logged_in(user)
    for number in numbers:
        client.expect(f"DELE {number}", "+OK")
    return user, client


def uidls(where, user):
    with where.logged_in(user) as client:
        found = client.listing("UIDL")
        client.quit()
    return found


def quits(where, user, numbers):
    with where.logged_in(user) as client:
        for number in numbers:
            client.expect(f"DELE {number}", "+OK")
        client.quit()


# --- QUIT that fails --------------------------------------------------------------------------------

def not_removed(client, left, marked_count):
    answer = client.command("QUIT")
    assert answer == NOT_REMOVED % (left, marked_count), answer
    client.closed()


if ROOT:
    @both("the disk says EIO when it is to make the removal last: QUIT does not say +OK, and what was not marked is there")
    def eio(where):
        user, client = marked(where, 1, 3)
        with harness.failing(where, "kpopd-store", "fsync,fdatasync,syncfs", "EIO"):
            not_removed(client, 2, 2)
        assert TWO in where.stored(user)
        with where.logged_in(user) as client:  # the lock is free, and the next session works
            assert TWO.replace(b"\n", b"\r\n") in [client.raw_message(f"RETR {n + 1}") for n in range(client.stat()[0])]
            client.quit()

    @both("no file can be removed (EIO): QUIT says so, all is there, and the next session's QUIT removes it")
    def unlink_fails(where):
        user, client = marked(where, 1, 3)
        with harness.failing(where, "kpopd-store", "unlink,unlinkat", "EIO"):
            not_removed(client, 2, 2)
        assert where.stored(user) == sorted(MAIL)
        quits(where, user, (1, 3))
        assert where.stored(user) == [TWO]

    @both("one of the marked files cannot be removed: QUIT says so, the others go, it stays, and so does what was not marked")
    def immutable(where):
        user, client = marked(where, 1, 2)
        stuck = next(path for part in ("new", "cur") for path in (where.maildir(user) / part).iterdir()
                     if path.read_bytes() == ONE)
        if run("chattr", "+i", stuck, check=False).returncode != 0:
            print("# not on this file system: no immutable files")
            return client.close()
        try:
            not_removed(client, 1, 2)
            assert where.stored(user) == sorted([ONE, THREE])
        finally:
            run("chattr", "-i", stuck)
        quits(where, user, (1,))
        assert where.stored(user) == [THREE]
        return None

    @both("the mail is on a read-only file system: QUIT says what it could not do, and nothing is lost")
    def read_only(where):
        user = where.user(*MAIL)
        where.stop()
        run("mount", "--bind", where.mail_root, where.mail_root)
        try:
            run("mount", "-o", "remount,bind,ro", where.mail_root)
            where.start()
            with where.logged_in(user) as client:
                assert client.raw_message("RETR 1") == ONE.replace(b"\n", b"\r\n")
                client.expect("DELE 2", "+OK")
                not_removed(client, 1, 1)
            assert where.stored(user) == sorted(MAIL)
            where.stop()
        finally:
            run("umount", "-l", where.mail_root)
        where.start()
        quits(where, user, (2,))
        assert where.stored(user) == sorted([ONE, THREE])

    @both("files cannot be opened (EIO): the login is refused with SYS/TEMP, and works when they can")
    def open_fails(where):
        user = where.user(*MAIL)
        with harness.failing(where, "kpopd-store", "openat2,openat", "EIO"):
            with where.pop3() as client:
                client.expect(f"USER {user}", "+OK")
                client.expect(f"PASS {PASSWORD}", "-ERR [SYS/TEMP] ")
                client.refused("STAT")
        where.logged_in(user).quit()

    @both("the disk fails while a message is read: the connection ends without the final dot, and QUIT behind it does not count")
    def read_fails(where):
        long = b"Subject: long\n\n" + b"0123456789abcdef\n" * 5000
        user = where.user(long, TWO)
        client = where.logged_in(user)
        client.expect("DELE 2", "+OK")
        with harness.failing(where, "kpopd-front", "pread64", "EIO"):
            client.send(b"RETR 1\r\nQUIT\r\n")
            rest = client.rest()
            assert b"\r\n.\r\n" not in rest and rest.count(b"+OK") <= 1, rest[-100:]
        assert where.stored(user) == sorted([long, TWO])

    def fill(path):
        """Takes what is left of a file system, to the last block."""
        with open(path, "ab", 0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)):
                pass

    def full(isolation):
        one = harness.Server(realm, users=3, disk="64m", isolation=isolation)
        every.append(one)
        users = [one.user(*MAIL) for _ in range(3)]
        first = one.logged_in(users[1])
        first.expect("DELE 2", "+OK")
        fill(one.dir / "ballast")
        try:
            first.quit()
            assert one.stored(users[1]) == sorted([ONE, THREE])
            with one.logged_in(users[0]) as client:  # never seen by the index before
                assert client.stat()[0] == 3 and len(client.listing("UIDL")) == 3
                assert client.raw_message("RETR 3") == THREE.replace(b"\n", b"\r\n")
                client.expect("DELE 1", "+OK")
                client.quit()
            assert one.stored(users[0]) == sorted([TWO, THREE])
            fill(one.dir / "ballast")
            for _ in range(50):  # the replay cache may have room in the blocks it has
                with one.kpop() as client:
                    client.send(harness.pop3.SENDAUTH + realm.apreq(alice))
                    if client.read(5) != bytes(5):
                        assert b"-ERR [SYS/TEMP] " in client.rest()
                        break
            else:
                assert False, "the replay cache grows on a full disk"
        finally:
            (one.dir / "ballast").unlink()
        with one.kpop() as client:
            client.sendauth(realm.apreq(alice))
        one.stop()

    for isolation in ("process", "shared"):
        harness.add_row("on a full disk mail is read and removed after a password; a ticket is told SYS/TEMP, as it "
                        f"could be used twice (isolation = {isolation})", full, isolation)


# --- every other end ----------------------------------------------------------------------------------

def big_mail():
    return b"Subject: big\n\n" + b"0123456789abcdef\n" * 1000000


@both("QUIT sent behind a long message that the client never takes does not count")
def quit_not_reached(where):
    user, client = marked(where, 2, mail=(big_mail(), TWO))
    client.send(b"RETR 1\r\nQUIT\r\n")
    time.sleep(0.5)
    client.reset()
    with where.logged_in(user) as client:
        assert client.stat()[0] == 2
        client.quit()


@both("a client that takes a long message and hangs up before QUIT keeps it")
def taken_and_gone(where):
    user, client = marked(where, mail=(big_mail(), TWO))
    client.send(b"RETR 1\r\nDELE 1\r\nDELE 2\r\n")
    while not client.buffer.endswith(b"marked\r\n"):
        client.buffer = client.buffer[-100:]
        client._more("the answers")  # pylint: disable=protected-access
    client.close()
    with where.logged_in(user) as client:
        assert client.stat()[0] == 2
        client.quit()


for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGINT, signal.SIGHUP):
    @row(f"{signal.Signals(number).name} to each process in turn removes nothing that no QUIT was answered for", number)
    def signalled(number):
        for where in (server, shared):
            user, client = marked(where, 1, 2)
            for pid, _ in where.family():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            client.close()
            with harness.wait_for(lambda where=where, user=user: login(where, user), "logins work again") as client:
                assert client.stat()[0] == 3
                client.quit()
            assert where.stored(user) == sorted(MAIL)


def login(where, user):
    """A session, or None while there are none to have."""
    try:
        client = where.pop3()
        client.expect(f"USER {user}", "+OK")
        client.expect(f"PASS {PASSWORD}", "+OK")
        return client
    except (OSError, AssertionError):
        return None


@row("over KPOP: closed, reset and half-closed sessions remove nothing, QUIT and a hang-up at once does")
def kpop_ends():
    for end in ("close", "reset", "half"):
        for part in ("new", "cur"):
            for path in (server.maildir("alice") / part).glob("*"):
                path.unlink()
        for message in MAIL:
            server.deliver("alice", message)
        with server.kpop() as client:
            client.sendauth(realm.apreq(alice))
            harness.wait_for(lambda: client.command("USER alice") and client.command("PASS x").startswith(b"+OK"), "login")
            client.expect("DELE 1", "+OK")
            if end == "half":
                client.sock.shutdown(1)
                client.rest()
            else:
                getattr(client, end)()
        time.sleep(0.2)
        assert server.stored("alice") == sorted(MAIL), end
    with server.kpop() as client:  # as push does
        client.send(harness.pop3.SENDAUTH + realm.apreq(alice) + b"USER alice\r\nPASS hej\r\nSTAT\r\n")
        client.read(5)
        assert [client.line()[:3] for _ in range(4)] == [b"+OK"] * 4
        client.expect("DELE 2", "+OK")
        client.send(b"QUIT\r\n")
        client.close()
    harness.wait_for(lambda: server.stored("alice") == sorted([ONE, THREE]), "the marked message is gone")


# --- UIDLs and sizes ----------------------------------------------------------------------------------

@both("UIDLs are the same after every process was killed in the middle of a session, and after kpopd came back")
def uidl_after_kill(where):
    user = where.user(*MAIL)
    before = uidls(where, user)
    client = where.logged_in(user)
    client.expect("DELE 1", "+OK")
    assert client.listing("UIDL") == before[1:]
    where.kill()
    client.close()
    where.start()
    assert uidls(where, user) == before


@both("whatever the files are called, each message has a UIDL of its own, 1 to 70 printable octets, and keeps it")
def odd_names(where):
    user = where.user()
    stem = "1700000001." + "x" * 180
    names = [stem + "a", stem + "b", "1700000002.with space", "1700000003.w\u00efth-\u00fcmlauts", "1700000004.tab\there",
             "plain", "1700000005.M1P1.host,S=3,W=4", "1700000005.M2P1.host,S=3,W=4:2,S", "1700000006.a\nb", "1700000007.\x7f"]
    for name in names:
        where.deliver(user, b"Subject: name\n\nx\n", name)
    first = uidls(where, user)
    words = [line.split(b" ", 1)[1] for line in first]
    assert len(set(words)) == len(names), first
    assert all(1 <= len(word) <= 70 and all(0x21 <= octet <= 0x7e for octet in word) for word in words), first
    where.restart()
    assert uidls(where, user) == first


@row("a size that a file's name tells wrongly is not believed")
def lying_names():
    user = server.user()
    for number, name in enumerate(("S=1", "W=1", "S=999999,W=999999", "S=-1", "S=18446744073709551616"), 1):
        server.deliver(user, ONE, f"170000000{number}.M{number}P1.localhost,{name}:2,")
    with server.logged_in(user) as client:
        size = len(ONE) + ONE.count(b"\n")
        assert client.stat() == (5, 5 * size)
        assert client.listing("LIST") == [b"%d %d" % (n, size) for n in range(1, 6)]
        for number in range(1, 6):
            assert len(client.raw_message(f"RETR {number}")) == size
        client.quit()


def top(stored, lines):
    """What TOP must give: the header, the empty line if there is one, and lines of the body."""
    found = stored.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if stored else []
    body = found.index(b"") + 1 if b"" in found else len(found)
    return found[:body + lines]


for sentence, stored in (
        ("a header of 20 KB", b"".join(b"X-%d: %s\n" % (i, b"h" * 70) for i in range(256)) + b"\nbody\n.dot\nend\n"),
        ("no empty line", b"A: b\nC: d\n"), ("a header and no body", b"A: b\n\n"), ("no end of the last line", b"A: b\n\nx\n.y"),
        ("nothing at all", b""), ("an empty line first", b"\n\nx\n"), ("CRLF", b"A: b\r\n\r\nx\r\n..\r\n.\r\nz\r\n"),
        ("dots in the header", b".A: b\n..c\n\n.\n"), ("a body of empty lines", b"A: b\n\n\n\n\n\n")):
    @row(f"TOP gives the header, the empty line and so many lines of the body, stuffed: {sentence}", stored)
    def tops(stored):
        user = server.user(stored)
        with server.logged_in(user) as client:
            for lines in (0, 1, 2, 3, 1000, 4294967295, 4294967296):
                assert client.listing(f"TOP 1 {lines}") == top(stored, lines), lines
            client.quit()


harness.main(server, shared)
