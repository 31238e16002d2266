#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The maildrop as a client sees it: octets, sizes, identity, what QUIT removes and what nothing else does."""
import os
import re
import socket

import harness
from harness import PASSWORD, row

realm = harness.Realm()
server = harness.Server(realm, users=24)
shared = harness.Server(realm, users=8, isolation="shared")

ONE = b"From: a@example.org\r\nSubject: one\r\n\r\nfirst line\r\n.second begins with a dot\r\nthird\r\n"
TWO = b"Subject: two\n\nHello\nWorld\n"
THREE = b"Subject: three\n\n" + b"x" * 1000 + b"\n"


# --- sizes and contents -------------------------------------------------------------------------

def on_the_wire(stored):
    """What RETR must deliver for these stored octets, unstuffed."""
    text = re.sub(rb"(?<!\r)\n", b"\r\n", stored)
    return text if text == b"" or text.endswith(b"\n") else text + b"\r\n"


CONTENTS = (
    ("LF line ends", b"A: b\n\nx\ny\n"), ("CRLF line ends", b"A: b\r\n\r\nx\r\ny\r\n"),
    ("mixed line ends", b"A: b\r\n\nx\ny\r\nz\n"), ("no end of the last line", b"A: b\n\nx\nlast"),
    ("a bare CR", b"A: b\n\nx\ry\n\r\n"), ("a CR as last octet", b"A: b\n\nx\r"),
    ("nothing at all", b""), ("one LF", b"\n"), ("no empty line", b"A: b\nC: d\n"), ("a header and no body", b"A: b\n\n"),
    ("dots everywhere", b".\n..\n...\n\n.\n.x\n..\n.\n"), ("a dot as first and last octet", b".A: b\n\nx\n."),
    ("CRLF dot CRLF inside", b"A: b\r\n\r\nx\r\n.\r\ny\r\n"), ("a dot after a bare CR", b"A: b\n\nx\r.\ny\n"),
    ("NUL and all other octets", b"A: b\n\n" + bytes(range(256)) * 3 + b"\n"),
    ("From at the start of a line", b"A: b\n\nFrom here\n>From there\n"),
    ("a line of 100000 octets", b"A: b\n\n" + b"y" * 100000 + b"\n.\n"),
    ("a header of 100000 octets", b"A: " + b"h" * 100000 + b"\n\nx\n"),
)
for sentence, stored in CONTENTS:
    @row(f"octets announced are octets sent, and the mail is the stored one: {sentence}", stored)
    def contents(message):
        want = on_the_wire(message)
        user = server.user(message)
        with server.logged_in(user) as client:
            assert client.expect("LIST 1", "+OK 1 ") == b"+OK 1 %d" % len(want)
            assert client.stat() == (1, len(want)) and client.listing("LIST") == [b"1 %d" % len(want)]
            got = client.raw_message("RETR 1")
            assert got == want, (got[-200:], want[-200:])
            client.quit()


@row("lines that end two octets before, at and behind every power of two are sent whole")
def boundaries():
    messages = []
    for power in (10, 12, 13, 14, 15, 16):
        for offset in (-2, -1, 0, 1, 2):
            messages.append(b"A: b\n\n" + b"z" * (2 ** power + offset - 7) + b"\n.\n.x\r\n.\n")
    user = server.user(*messages)
    with server.logged_in(user) as client:
        for number, message in enumerate(messages, 1):
            assert client.raw_message(f"RETR {number}") == on_the_wire(message), number
        client.quit()


@row("a message whose file has a time that no clock has is sent whole")
def strange_times():
    for secs in (-5_000_000_000, 0, 9_223_372_036, 9_300_000_000, 15_000_000_000):
        user = server.user()
        path = server.deliver(user, b"A: b\n\nx\n")
        os.utime(path, (secs, secs))
        with server.logged_in(user) as client:
            assert client.raw_message("RETR 1") == on_the_wire(b"A: b\n\nx\n"), secs
            client.quit()


@row("an empty maildrop has no messages, and LIST and UIDL are empty lists")
def empty():
    with server.logged_in(server.user()) as client:
        assert client.stat() == (0, 0)
        assert client.listing("LIST") == [] and client.listing("UIDL") == []
        client.expect("RETR 1", "-ERR")
        client.quit()


@row("a user without any maildrop has an empty one, and nothing is created for him")
def no_maildrop():
    server.add_user("newcomer")
    with server.logged_in("newcomer") as client:
        assert client.stat() == (0, 0)
        client.quit()
    assert not (server.mail_root / "newcomer").exists()


@row("3000 messages are listed, each once, and in order of arrival")
def many():
    user = server.user(*(b"Subject: %d\n\nx\n" % i for i in range(3000)))
    with server.logged_in(user) as client:
        assert client.stat()[0] == 3000
        assert [int(line.split()[0]) for line in client.listing("LIST")] == list(range(1, 3001))
        assert len({line.split()[1] for line in client.listing("UIDL")}) == 3000
        for number in (1, 1500, 3000):
            assert b"Subject: %d\r\n" % (number - 1) in client.raw_message(f"RETR {number}")
        client.quit()


# --- identity -----------------------------------------------------------------------------------

def uidls(user, where=server):
    with where.logged_in(user) as client:
        found = [line.split()[1] for line in client.listing("UIDL")]
        client.quit()
    return found


@row("UIDLs stay over sessions, over one that ends without QUIT, a restart, and the loss of the index")
def uidl_stays():
    user = shared.user(ONE, TWO, THREE)
    first = uidls(user, shared)
    shared.logged_in(user).reset()
    assert uidls(user, shared) == first
    shared.stop()
    for path in sorted((shared.state_dir / "index").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    shared.start()
    assert uidls(user, shared) == first


@row("the same octets delivered again are another message, with another UIDL")
def uidl_new():
    user = server.user(TWO, TWO)
    first = uidls(user)
    assert len(set(first)) == 2
    with server.logged_in(user) as client:
        client.expect("DELE 1", "+OK")
        client.quit()
    server.deliver(user, TWO)
    second = uidls(user)
    assert second[0] == first[1] and second[1] not in first


@row("a message that another program moves to cur and flags keeps its UIDL")
def uidl_flags():
    user = server.user(ONE, TWO)
    first = uidls(user)
    for path in list((server.maildir(user) / "new").iterdir()):
        path.rename(server.maildir(user) / "cur" / (path.name + ":2,S"))
    assert uidls(user) == first


@row("an X-UIDL header decides nothing")
def x_uidl():
    user = server.user(ONE)
    first = uidls(user)[0]
    server.deliver(user, b"X-UIDL: " + first + b"\nSubject: thief\n\nx\n")
    both = uidls(user)
    assert both[0] == first and len(set(both)) == 2


@row("mail that arrives during a session changes nothing until the next one")
def arrival():
    user = server.user(ONE, TWO)
    with server.logged_in(user) as client:
        before = client.stat(), client.listing("LIST"), client.listing("UIDL")
        server.deliver(user, THREE, "1.first-of-all.localhost")
        assert (client.stat(), client.listing("LIST"), client.listing("UIDL")) == before
        client.expect("LIST 3", "-ERR")
        assert client.raw_message("RETR 2") == on_the_wire(TWO)
        client.quit()
    assert len(uidls(user)) == 3


# --- UPDATE -------------------------------------------------------------------------------------

def session_with(where, kind, end):
    user = where.user(ONE, TWO, THREE)
    client = where.logged_in(user, where.connect(kind))
    client.expect("DELE 1", "+OK")
    client.expect("DELE 3", "+OK")
    end(client)
    return user


for kind in harness.KINDS:
    for where in (server, shared):
        @row(f"QUIT removes what was marked and nothing else ({kind}, isolation = {where.options['isolation']})", where, kind)
        def quit_removes(where, kind):
            user = session_with(where, kind, lambda client: client.quit())
            assert where.stored(user) == [TWO]

for kind in harness.KINDS:
    for sentence, end in (
            ("a closed connection", lambda client: client.close()),
            ("a reset", lambda client: client.reset()),
            ("a half-closed connection", lambda client: client.sock.shutdown(socket.SHUT_WR)),
            ("QUIT without its CRLF", lambda client: (client.send(b"QUIT"), client.close())),
            ("QUIT with CR alone", lambda client: (client.send(b"QUIT\r"), client.close()))):
        @row(f"{sentence} instead of QUIT removes nothing ({kind})", kind, end)
        def nothing_removed(kind, end):
            user = session_with(server, kind, end)
            with server.logged_in(user) as client:
                assert client.stat()[0] == 3
                client.quit()
            assert server.stored(user) == sorted([ONE, TWO, THREE])


def kpop_session(where, user):
    """A session over KPOP that has its maildrop open."""
    client = where.kpop().sendauth(realm.apreq(realm.user(user)))
    return where.logged_in(user, client)


# QUIT has come, so it counts, though nobody is there to read an answer: not that to QUIT, nor those before it.
HASTY = (
    ("alone", b"QUIT\r\n"),
    ("behind DELE, in one segment", b"DELE 1\r\nDELE 3\r\nQUIT\r\n"),
    ("behind more commands than are read at a time", b"DELE 1\r\nDELE 3\r\n" + b"NOOP\r\n" * 1000 + b"QUIT\r\n"),
)
for where in (server, shared):
    for kind in (*harness.KINDS, "KPOP"):
        for sentence, octets in HASTY:
            @row(f"a client that sends QUIT {sentence}, and hangs up at once, has its messages deleted "
                 f"({kind}, isolation = {where.options['isolation']})", where, kind, octets)
            def quit_and_gone(where, kind, octets):
                user = where.user(ONE, TWO, THREE)
                client = kpop_session(where, user) if kind == "KPOP" else where.logged_in(user, where.connect(kind))
                if octets.startswith(b"QUIT"):
                    client.expect("DELE 1", "+OK")
                    client.expect("DELE 3", "+OK")
                client.send(octets)
                client.close()
                harness.wait_for(lambda: where.stored(user) == [TWO], "the marked messages are gone")


for where in (server, shared):
    for kind in harness.KINDS:
        @row("DELE and QUIT sent along with RETR delete nothing when the client is gone before it has the message "
             f"({kind}, isolation = {where.options['isolation']})", where, kind)
        def not_delivered(where, kind):
            large = b"Subject: large\n\n" + (b"y" * 998 + b"\n") * 40000
            user = where.user(large)
            client = where.logged_in(user, where.connect(kind))
            client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
            client.read(100000)
            client.close()
            with where.logged_in(user) as client:
                assert client.stat()[0] == 1
                client.quit()


# --- one maildrop, one session --------------------------------------------------------------------

@row("a second session is told IN-USE, with the right password only, and waits for nobody")
def in_use():
    for where in (server, shared):
        user = where.user(ONE)
        first = where.logged_in(user)
        with where.pop3() as second:
            second.expect(f"USER {user}", "+OK")
            second.expect("PASS wrong", "-ERR [AUTH]")
            second.expect(f"USER {user}", "+OK")
            second.expect(f"PASS {PASSWORD}", "-ERR [IN-USE]")
            first.quit()
            where.logged_in(user, second)


harness.main(server, shared)
