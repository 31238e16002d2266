#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""KPOP octet by octet: the handshake, what is refused and how, replays, and what follows the greeting."""
import contextlib
import socket
import time

import harness
import pop3
from harness import PASSWORD, row

realm = harness.Realm()
alice = realm.user("alice")
admin = realm.user("alice/admin")
MESSAGE = b"From: a@example.org\nSubject: one\n\nHello\n"

servers = {
    # The defaults, as far as KPOP sees them: a password in clear text would be refused everywhere else.
    "process": harness.Server(realm, plaintext="tls", isolation="process", auth_processes=2),
    "shared": harness.Server(realm, plaintext="tls", isolation="shared", auth_processes=2),
}
hasty = harness.Server(realm, kpop_handshake_secs=1)
for server in servers.values():
    server.deliver("alice", MESSAGE)


def both(sentence):
    """A row for each isolation."""
    def mark(function):
        for name, one in servers.items():
            harness.add_row(f"{sentence} (isolation = {name})", function, one)
        return function
    return mark


def refused_line(client):
    """One -ERR line, then the end."""
    rest = client.rest()
    assert rest.endswith(b"\r\n") and pop3.check_status(rest[:-2]).startswith(b"-ERR "), rest


def refused_krb_error(client, code):
    """A KRB-ERROR of this number (RFC 4120 section 7.5.9), one line for people, then the end."""
    length = int.from_bytes(client.read(4), "big")
    assert 0 < length < 2048, length
    error = client.read(length)
    assert error[:1] == b"\x7e" and b"\xa6\x03\x02\x01" + bytes([code]) in error, error
    rest = client.rest()
    assert pop3.check_status(rest[:-2]).startswith(b"-ERR [AUTH] ") and rest.endswith(b"\r\n"), rest


def log_in(client):
    client.expect("USER alice", "+OK")
    client.expect("PASS krb_ticket", "+OK")
    assert client.stat()[0] == 1
    client.quit()


# --- the handshake ------------------------------------------------------------------------------

@both("the server says nothing before the client's versions, then one octet, four, and the greeting")
def handshake(server):
    with server.kpop() as client:
        client.sock.settimeout(0.3)
        with contextlib.suppress(socket.timeout):
            assert False, client.sock.recv(1)
        client.sock.settimeout(pop3.TIMEOUT_SECS)
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(realm.apreq(alice))
        assert client.read(4) == b"\0\0\0\0"
        assert client.read(4) == b"+OK "
        client.line()
        log_in(client)


@both("a client that asks for it gets an AP-REP that proves the server's key, before the greeting")
def mutual(server):
    with server.kpop() as client, realm.mutual_apreq(alice) as (apreq, verify):
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(apreq)
        assert client.read(4) == b"\0\0\0\0"
        head = client.read(4)
        assert verify(head + client.read(int.from_bytes(head, "big")))
        assert client.line().startswith(b"+OK ")
        log_in(client)


@both("versions, AP-REQ and commands in one segment are all answered, in order")
def one_segment(server):
    with server.kpop() as client:
        client.send(pop3.SENDAUTH + realm.apreq(alice) + b"USER alice\r\nPASS hej\r\nSTAT\r\nQUIT\r\n")
        assert client.read(5) == b"\0\0\0\0\0"
        lines = client.rest().split(b"\r\n")
        assert len(lines) == 6 and all(line.startswith(b"+OK") for line in lines[:5]), lines
        assert lines[3] == b"+OK 1 %d" % (len(MESSAGE) + MESSAGE.count(b"\n")), lines


@both("commands sent behind the AP-REQ, before the greeting, are kept")
def early_commands(server):
    with server.kpop() as client:
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(realm.apreq(alice) + b"USER alice\r\nPASS hej\r\nSTAT\r\n")
        assert client.read(4) == b"\0\0\0\0"
        for _ in range(4):
            assert client.line().startswith(b"+OK")


@both("octets that arrive one by one are the same handshake")
def one_by_one(server):
    with server.kpop() as client:
        for octet in pop3.SENDAUTH:
            client.send(bytes([octet]))
        assert client.read(1) == b"\0"
        for octet in realm.apreq(alice):
            client.send(bytes([octet]))
        assert client.read(4) == b"\0\0\0\0"
        client.line()
        log_in(client)


@row("a handshake over ::1 is the same")
def over_ipv6():
    with servers["process"].kpop("::1") as client:
        log_in(client.sendauth(realm.apreq(alice)))


@row("a ticket for pop3/localhost, as Emacs asks for, is as good as one for pop/localhost")
def pop3_service():
    with servers["process"].kpop() as client:
        log_in(client.sendauth(realm.apreq(alice, "pop3/localhost")))


# --- what is refused ----------------------------------------------------------------------------

for sentence, octets in (
        ("a Kerberos 4 client reads one -ERR line", b"AUTHV0.1KPOPV0.1\0\0\0\x20" + bytes(32)),
        ("QUIT as first octets is answered by one -ERR line", b"QUIT\r\n"),
        ("CAPA as first octets is answered by one -ERR line", b"CAPA\r\n"),
        ("USER as first octets is answered by one -ERR line", b"USER alice\r\n"),
        ("a web browser is answered by one -ERR line", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")):
    @row(sentence, octets)
    def text(data):
        with servers["process"].kpop() as client:
            client.send(data)
            refused_line(client)


@row("the line for text that reaches the KPOP port has the code AUTH")
def text_code():
    with servers["process"].kpop() as client:
        client.send(b"QUIT\r\n")
        assert client.rest().startswith(b"-ERR [AUTH] ")


for sentence, octets in (
        ("a TLS client hello is closed without a word", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),):
    @row(sentence, octets)
    def hello(data):
        with servers["process"].kpop() as client:
            client.send(data)
            client.closed()

for sentence, octets in (
        ("a length of 0", bytes(4)),
        ("a length of 20", b"\0\0\0\x14" + b"KRB5_SENDAUTH_V1.00\0"),
        ("a length of 2147483647", b"\x7f\xff\xff\xff" + bytes(100)),
        ("a length of 4294967295", b"\xff\xff\xff\xff" + bytes(100)),
        ("a version that does not end in a NUL", b"\0\0\0\x13" + b"KRB5_SENDAUTH_V1.0\r" + b"\0\0\0\x09KPOPV1.0\0"),
        ("four octets of noise", b"\x01\x02\x03\x04"),
        ("a screen of noise", bytes(range(128, 256)) * 16)):
    @row(f"{sentence} instead of a version ends the connection, and the next client is served", octets)
    def garbage(data):
        with servers["process"].kpop() as client:
            client.send(data)
            rest = client.rest()
            assert rest in (b"", b"\1", b"\2") or rest.lstrip(b"\1\2").startswith(b"-ERR "), rest
        with servers["process"].kpop() as client:
            client.sendauth(realm.apreq(alice))


@row("a wrong sendauth version is answered 01, and a line for people")
def bad_sendauth():
    with servers["process"].kpop() as client:
        client.send(pop3.SENDAUTH.replace(b"V1.0\0\0\0\0\x09", b"V9.9\0\0\0\0\x09"))
        assert client.read(1) == b"\1"
        refused_line(client)


@row("a wrong application version is answered 02, and a line for people")
def bad_application():
    with servers["process"].kpop() as client:
        client.send(pop3.SENDAUTH.replace(b"KPOPV1.0", b"KPOPV7.0"))
        assert client.read(1) == b"\2"
        refused_line(client)


for sentence, octets, number in (
        ("an empty AP-REQ", bytes(4), 40),
        ("an AP-REQ of noise", b"\0\0\x02\x00" + bytes(range(256)) * 2, 40),
        ("an AP-REQ that is cut short inside", None, 40)):
    @row(f"{sentence} is refused", octets, number)
    def bad_apreq(data, number):
        if data is None:
            whole = realm.apreq(alice)[4:]
            data = (len(whole) - 100).to_bytes(4, "big") + whole[:-100]
        with servers["process"].kpop() as client:
            client.send(pop3.SENDAUTH)
            assert client.read(1) == b"\0"
            client.send(data)
            refused_krb_error(client, number)


@row("an announced AP-REQ of 65537 octets, or 2 GB, is not waited for: Kerberos' error, then a line for people")
def long_apreq():
    for length in (65537, 0x7fffffff, 0xffffffff):
        with servers["process"].kpop() as client:
            client.send(pop3.SENDAUTH)
            assert client.read(1) == b"\0"
            client.send(length.to_bytes(4, "big") + b"x" * 64)
            refused_krb_error(client, 40)


@row("a client that hangs up inside its AP-REQ harms nobody")
def hangs_up():
    for count in (1, 3, 4, 5, 100, 583):
        client = servers["process"].kpop()
        client.send(pop3.SENDAUTH + realm.apreq(alice)[:count])
        client.reset() if count % 2 else client.close()
    with servers["process"].kpop() as client:
        client.sendauth(realm.apreq(alice))


for stage, octets in (("from the start", b""), ("inside the versions", pop3.SENDAUTH[:20]),
                      ("after the versions", pop3.SENDAUTH)):
    @row(f"silence {stage} ends at the deadline with one -ERR line", octets)
    def silence(data):
        began = time.monotonic()
        with hasty.kpop() as client:
            client.send(data)
            rest = client.rest()
            took = time.monotonic() - began
            rest = rest[1:] if rest.startswith(b"\0") else rest
            assert rest.startswith(b"-ERR") and rest.count(b"\n") == 1, rest
            assert 0.8 < took < 15, took


@row("one octet now and then does not move the deadline")
def slow_octets():
    with hasty.kpop() as client:
        try:
            for octet in pop3.SENDAUTH:
                client.send(bytes([octet]))
                time.sleep(0.2)
        except OSError:
            return
    raise AssertionError(f"{len(pop3.SENDAUTH)} octets were taken, one every fifth of a second")


@both("a ticket for imap/localhost from the same keytab is refused")
def imap_ticket(server):
    with server.kpop() as client:
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(realm.apreq(alice, "imap/localhost"))
        refused_krb_error(client, 35)


@row("an authenticator from a clock ten minutes off is refused")
def skew():
    with servers["process"].kpop() as client:
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(realm.apreq(alice, skew=600))
        refused_krb_error(client, 37)


@row("a principal with an instance is nobody here")
def instance():
    with servers["process"].kpop() as client:
        client.send(pop3.SENDAUTH + realm.apreq(admin))
        assert client.read(1) == b"\0"
        if client.read(4) == b"\0\0\0\0" and client.line().startswith(b"+OK"):
            client.expect("USER alice", "+OK")
            client.expect("PASS x", "-ERR [AUTH]")
            client.refused("STAT")


# --- replays ------------------------------------------------------------------------------------

def replayed(server, apreq):
    with server.kpop() as client:
        client.send(pop3.SENDAUTH)
        assert client.read(1) == b"\0"
        client.send(apreq)
        refused_krb_error(client, 34)


@both("a replayed AP-REQ is refused by every auth process, every time")
def replay(server):
    apreq = realm.apreq(alice)
    with server.kpop() as client:
        client.sendauth(apreq)
    for _ in range(5):
        replayed(server, apreq)


@both("a replay is refused while the first session is still open")
def replay_open(server):
    apreq = realm.apreq(alice)
    with server.kpop() as client:
        client.sendauth(apreq)
        replayed(server, apreq)
        log_in(client)


@both("a replay is refused after SIGHUP")
def replay_reload(server):
    apreq = realm.apreq(alice)
    with server.kpop() as client:
        client.sendauth(apreq)
    server.reload()
    replayed(server, apreq)


@both("a replay is refused after a restart")
def replay_restart(server):
    apreq = realm.apreq(alice)
    with server.kpop() as client:
        client.sendauth(apreq)
    server.restart()
    replayed(server, apreq)


# --- after the greeting -------------------------------------------------------------------------

@both("another user's name is refused at PASS, not at USER, and nothing opens")
def wrong_user(server):
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        client.expect("USER u0", "+OK")
        client.expect(f"PASS {PASSWORD}", "-ERR [AUTH]")
        client.refused("STAT")


@row("a refused name pipelined with PASS and STAT opens nothing")
def wrong_user_pipelined():
    with servers["process"].kpop() as client:
        client.send(pop3.SENDAUTH + realm.apreq(alice) + b"USER u0\r\nPASS hej\r\nSTAT\r\nQUIT\r\n")
        client.read(5)
        lines = client.rest().splitlines()
        assert lines[2].startswith(b"-ERR [AUTH]"), lines
        assert all(line.startswith(b"-ERR") for line in lines[2:-1]) and lines[-1].startswith(b"+OK"), lines


for word in ("krb_ticket", "alice", "hej", "a b  c ", PASSWORD):
    @row(f"PASS {word!r} is as good as any other, the ticket has decided", word)
    def any_pass(value):
        with servers["process"].kpop() as client:
            client.sendauth(realm.apreq(alice))
            client.expect("USER alice", "+OK")
            client.expect(f"PASS {value}", "+OK")


@row("what came with PASS is in no log")
def pass_unlogged():
    with servers["process"].kpop() as client:
        client.sendauth(realm.apreq(alice))
        client.expect("USER alice", "+OK")
        client.expect("PASS canary-in-the-mine", "+OK")
        client.quit()
    assert "canary-in-the-mine" not in servers["process"].log_text()


@both("after STLS the ticket still counts, and CAPA is asked again")
def stls(server):
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        assert "STLS" in client.capabilities()
        client.stls(server.ca)
        assert "STLS" not in client.capabilities()
        log_in(client)


@row("STLS does not make another user of the ticket's")
def stls_wrong_user():
    with servers["process"].kpop() as client:
        client.sendauth(realm.apreq(alice))
        client.stls(servers["process"].ca)
        client.expect("USER u0", "+OK")
        client.expect("PASS x", "-ERR [AUTH]")


@row("CAPA shows USER and no SASL; AUTH and APOP are refused; the greeting has no timestamp")
def capabilities():
    server = servers["process"]
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        assert b"<" not in client.greeting
        tags = client.capabilities()
        assert "USER" in tags and "SASL" not in tags, tags
        client.expect("AUTH PLAIN", "-ERR")
        client.expect("APOP alice c4c9334bac560ecc979e58001b3e22fb", "-ERR")
        log_in(client)


@both("a second session of the same user is told IN-USE, at PASS")
def in_use(server):
    with server.kpop() as first, server.kpop() as second:
        for client in (first, second):
            client.sendauth(realm.apreq(alice))
            client.expect("USER alice", "+OK")
        first.expect("PASS x", "+OK")
        second.expect("PASS x", "-ERR [IN-USE]")
        first.quit()


@both("a message deleted over KPOP is gone after QUIT, and only then")
def delete(server):
    for end in ("close", "quit"):
        with server.kpop() as client:
            client.sendauth(realm.apreq(alice))
            harness.wait_for(lambda: client.command("USER alice") and client.command("PASS x").startswith(b"+OK"),
                             "alice's maildrop is free")
            client.expect("DELE 1", "+OK")
            getattr(client, end)()
        if end == "close":
            time.sleep(0.2)
            assert server.stored("alice") == [MESSAGE]
    assert server.stored("alice") == []
    server.deliver("alice", MESSAGE)


harness.main(*servers.values(), hasty)
