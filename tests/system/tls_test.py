#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS as a client meets it (RFC 2595, 8314, 7301): what is offered when, what clear text gives away, how it ends."""
import base64
import contextlib
import os
import re
import socket
import ssl
import statistics
import time

import harness
import pop3
from harness import PASSWORD, row, wait_for

realm = harness.Realm()
alice = realm.user("alice")
server = harness.Server(realm, users=6)
strict = harness.Server(realm, users=3, plaintext="tls", apop=False, refusal_msecs=0)
bare = harness.Server(realm, users=1, certificate=None, key=None, ports=("pop3", "kpop"))
closed = harness.Server(realm, users=1, user_pass=False, apop=False, mechanisms=["GSSAPI"])
hasty = harness.Server(realm, users=1, authorization_secs=10)
ONE = b"Subject: one\r\n\r\nx\r\n"


def b64(text):
    return base64.b64encode(text.encode())


def end_of(sock):
    """The octets up to the end of the connection; an end without close_notify is an error here."""
    sock.suppress_ragged_eofs = False
    found = b""
    while True:
        data = sock.recv(4096)
        if not data:
            return found
        found += data


# --- what is offered ------------------------------------------------------------------------------

@row("without a certificate STLS is neither shown nor taken, on POP3 and on KPOP")
def no_certificate():
    with bare.pop3() as client:
        assert "STLS" not in client.capabilities()
        assert client.expect("STLS", "-ERR ")
        bare.logged_in("u0", client).quit()
    with bare.kpop() as client:
        client.sendauth(realm.apreq(alice))
        assert "STLS" not in client.capabilities()
        client.expect("STLS", "-ERR ")
        client.expect("USER alice", "+OK")
        client.expect("PASS x", "+OK")


@row("STLS is for before login: afterwards CAPA does not show it, and it is refused, on every port")
def stls_after_login():
    for kind in harness.KINDS:
        with server.logged_in(server.user(ONE), server.connect(kind)) as client:
            assert "STLS" not in client.capabilities()
            client.expect("STLS", "-ERR ")
            assert client.stat() == (1, len(ONE))
            client.quit()
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        client.expect("USER alice", "+OK")
        client.expect("PASS x", "+OK")
        assert "STLS" not in client.capabilities()
        client.expect("STLS", "-ERR ")


@row("where every password is off, none is offered or taken under TLS either")
def passwords_off():
    for kind in harness.KINDS:
        with closed.connect(kind) as client:
            tags = client.capabilities()
            assert "USER" not in tags and tags["SASL"] == [b"GSSAPI"], tags
            for line in ("USER u0", f"PASS {PASSWORD}", "AUTH PLAIN", "AUTH LOGIN", "AUTH SCRAM-SHA-256", "AUTH CRAM-MD5",
                         "APOP u0 c4c9334bac560ecc979e58001b3e22fb"):
                client.expect(line, "-ERR ")


@row("a client certificate, even the server's own, is nobody's login")
def client_certificate():
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(server.dir / "cert.pem", server.dir / "key.pem")
    for stls in (False, True):
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(server.pop3() if stls else pop3.Client(server.pop3s_port, greeting=False))
            if stls:
                client.expect("STLS", "+OK")
            client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
            if not stls:
                client.line()
            assert b"EXTERNAL" not in client.capabilities()["SASL"]
            client.expect("STAT", "-ERR ")
            client.expect("AUTH EXTERNAL =", "-ERR ")
            server.logged_in("u0", client).quit()


def alpn(stls, offered):
    context = ssl.create_default_context(cafile=str(server.ca))
    if offered:
        context.set_alpn_protocols(offered)
    client = server.pop3() if stls else pop3.Client(server.pop3s_port, greeting=False)
    with client:
        if stls:
            client.expect("STLS", "+OK")
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        if not stls:
            assert client.line().startswith(b"+OK")
        client.expect("STAT", "-ERR ")
        return client.sock.selected_alpn_protocol()


for stls in (True, False):
    for offered, want in (((), None), (["pop3"], "pop3"), (["imap", "pop3"], "pop3"), (["http/1.1"], OSError),
                          (["pop"], OSError), (["pop3s"], OSError), (["POP3"], OSError), (["imap", "managesieve"], OSError)):
        @row(f"a client that names the protocols {', '.join(offered) or '(none)'} "
             f"{'is refused' if want is OSError else 'is served'} ({'STLS' if stls else 'POP3S'})", stls, offered, want)
        def protocols(stls, offered, want):
            try:
                got = alpn(stls, offered)
            except OSError as error:
                # no_application_protocol; the client must learn that it is the protocol
                assert want is OSError and "NO_APPLICATION_PROTOCOL" in str(error).upper().replace(" ", "_"), error
                return
            assert got == want, got


# --- what clear text gives away -------------------------------------------------------------------

def answers_of(client, password):
    """What a password in clear text is answered with, by each way to send it."""
    return [client.command(line) for line in ("USER u0", f"PASS {password}", "AUTH PLAIN", "AUTH LOGIN",
                                              b"AUTH PLAIN " + b64(f"\0u0\0{password}"), b"AUTH LOGIN " + b64("u0"))]


@row("where passwords need TLS, clear text gets the same answers for the right one and a wrong one, and as fast")
def no_hint():
    answers, took = {}, {PASSWORD: [], "wrong": []}
    def alike():
        right, wrong = (statistics.median(took[password]) for password in (PASSWORD, "wrong"))
        return abs(right - wrong) < 0.5 * max(right, wrong)
    for number in range(1000):
        if number >= 200 and number % 100 == 0 and alike():
            break
        password = (PASSWORD, "wrong")[number % 2]
        with strict.pop3() as client:
            began = time.monotonic()
            found = answers_of(client, password)
            took[password].append(time.monotonic() - began)
        answers.setdefault(password, found)
        assert answers[password] == found
    assert answers[PASSWORD] == answers["wrong"], answers
    assert all(line.startswith(b"-ERR ") and not line.startswith(b"-ERR [") for line in answers["wrong"]), answers
    assert alike(), took
    # Nobody looked at it: auth, which knows, was not asked.
    assert "mech=PLAIN" not in strict.log_text() and "mech=USER" not in strict.log_text()


@row("a password that was shown in clear text does not log in after STLS: it must be said again")
def said_before():
    for line in ("USER u0", f"USER u0\r\nPASS {PASSWORD}"):
        with strict.pop3() as client:
            for part in line.split("\r\n"):
                client.expect(part, "-ERR ")
            client.stls(strict.ca)
            client.expect(f"PASS {PASSWORD}", "-ERR ")
            client.expect("STAT", "-ERR ")


@row("AUTH begun in clear text is not continued under TLS, and USER given there is forgotten on KPOP too")
def begun_before():
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        client.expect("USER alice", "+OK")
        client.stls(server.ca)
        client.expect("PASS x", "-ERR ")
        client.expect("STAT", "-ERR ")
        client.expect("USER alice", "+OK")
        client.expect("PASS x", "+OK")
    with server.pop3() as client:
        client.challenge("AUTH LOGIN")
        client.expect("*", "-ERR ")
        client.stls(server.ca)
        client.expect(b64("u0"), "-ERR ")


@row("clear text behind STLS on the KPOP port is never a command: the connection ends")
def injected_kpop():
    for behind in (b"USER alice\r\nPASS x\r\n", b"C", b"\r\n", b"\x16\x03\x01"):
        with server.kpop() as client:
            client.sendauth(realm.apreq(alice))
            client.send(b"STLS\r\n" + behind)
            rest = client.rest()
            assert rest in (b"", b"+OK begin TLS\r\n"), rest


# --- the end --------------------------------------------------------------------------------------

@row("clear text after TLS has ended is no command: the connection is over")
def after_tls():
    user = server.user(ONE)
    with server.logged_in(user, server.connect("STLS")) as client:
        client.expect("DELE 1", "+OK")
        raw = socket.socket(fileno=os.dup(client.sock.fileno()))
        raw.settimeout(pop3.TIMEOUT_SECS)
        with contextlib.suppress(OSError):
            client.sock.unwrap()
        with raw, contextlib.suppress(OSError):
            raw.sendall(b"STAT\r\nQUIT\r\n")
            assert b"OK" not in raw.recv(4096)
    time.sleep(0.2)
    assert server.stored(user) == [ONE]


def quits(client):
    client.expect("QUIT", "+OK")


def browses(client):
    client.expect("GET / HTTP/1.1", "-ERR ")


def guesses(client):
    for _ in range(5):
        client.expect(b"AUTH PLAIN " + b64("\0u0\0wrong"), "-ERR [AUTH]")


for sentence, end in (
        ("QUIT", quits), ("five refusals", guesses), ("a web browser's request", browses)):
    for kind in ("POP3S", "STLS"):
        @row(f"{sentence}: TLS ends with close_notify, and not an octet before it ({kind})", end, kind)
        def close_notify(end, kind):
            with server.connect(kind) as client:
                end(client)
                assert end_of(client.sock) == b""


@row("who does not log in in time is told nothing, on any port: not an octet, then the end, under TLS with close_notify")
def silent_deadline():
    clients = [hasty.connect(kind) for kind in harness.KINDS]
    for client in clients:
        client.expect("USER u0", "+OK")
    began = time.monotonic()
    assert clients[0].rest() == b"" and time.monotonic() - began > 5
    for client in clients[1:]:
        assert end_of(client.sock) == b""


# --- the log --------------------------------------------------------------------------------------

@row("the log tells of each session by which version of TLS and which cipher it came, or that it came in clear text")
def logged():
    for kind, most, want in (("POP3S", ssl.TLSVersion.TLSv1_3, r'tls="TLSv1\.3 TLS_[A-Z0-9_]+"'),
                             ("STLS", ssl.TLSVersion.TLSv1_3, r'tls="TLSv1\.3 TLS_[A-Z0-9_]+"'),
                             ("STLS", ssl.TLSVersion.TLSv1_2, r'tls="TLSv1\.2 ECDHE-[A-Z0-9-]+"'),
                             ("POP3", None, 'tls="clear"')):
        user = server.user(ONE)
        before = len(server.log_text())
        client = pop3.Client(server.pop3s_port, greeting=False) if kind == "POP3S" else server.pop3()
        with client:
            if kind == "STLS":
                client.expect("STLS", "+OK")
            if kind != "POP3":
                client.start_tls(server.ca, maximum_version=most)
                cipher = client.sock.cipher()[0]
            if kind == "POP3S":
                client.line()
            server.logged_in(user, client).quit()
        line = wait_for(lambda: re.search(rf"closed session=.* user={user} .*", server.log_text()[before:]), "the log")
        assert re.search(want, line[0]) and (kind == "POP3" or cipher in line[0]), line[0]
        login = wait_for(lambda: re.search(rf"login user={user} .*", server.log_text()[before:]), "the log")[0]
        session = re.search(r"session=[0-9a-f]+", line[0])[0]
        assert session in login and f"tls={'no' if kind == 'POP3' else 'yes'}" in login, login


harness.main(server, strict, bare, closed, hasty)
