#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Login: AUTH and its mechanisms (RFC 5034, 4616, 5802, 2195), APOP, STLS and POP3S (RFC 2595, 8314)."""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import socket
import ssl
import time
import warnings

import harness
from harness import PASSWORD, row

warnings.simplefilter("ignore", DeprecationWarning)  # old TLS is asked for on purpose

realm = harness.Realm()
server = harness.Server(realm, users=8)  # everything is allowed in clear text
strict = harness.Server(realm, users=2, plaintext="tls", apop=False)
loopback = harness.Server(realm, users=2, plaintext="loopback", isolation="shared")
hasty = harness.Server(realm, users=2, authorization_secs=10, tls_handshake_secs=1)
server.add_user("hashed", plain=False)


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


def logged_in(client, answer, user):
    assert answer.startswith(b"+OK"), answer
    assert client.stat()[0] >= 0
    client.quit()
    assert f"user={user}" in server.log_text()


# --- every mechanism, right and wrong -------------------------------------------------------------

MECHANISMS = {
    "PLAIN with an initial response": lambda c, u, p: c.auth_plain(u, p),
    "PLAIN without one": lambda c, u, p: c.auth_plain(u, p, initial=False),
    "LOGIN": lambda c, u, p: c.auth_login(u, p),
    "CRAM-MD5": lambda c, u, p: c.auth_cram_md5(u, p),
    "SCRAM-SHA-256 with an initial response": lambda c, u, p: c.auth_scram(u, p),
    "SCRAM-SHA-256 without one": lambda c, u, p: c.auth_scram(u, p, initial=False),
    "SCRAM-SHA-1": lambda c, u, p: c.auth_scram(u, p, "sha1", "SCRAM-SHA-1"),
    "APOP": lambda c, u, p: c.auth_apop(u, p),
    "USER and PASS": lambda c, u, p: c.command(f"USER {u}") and c.command(f"PASS {p}"),
}
STORED_HASHED = [name for name in MECHANISMS if name not in ("CRAM-MD5", "APOP")]

for name, mechanism in MECHANISMS.items():
    for kind in harness.KINDS:
        @row(f"{name}: the right password opens the maildrop ({kind})", mechanism, kind)
        def right(mechanism, kind):
            user = server.user()
            with server.connect(kind) as client:
                logged_in(client, mechanism(client, user, PASSWORD), user)

    @row(f"{name}: a wrong password and an unknown user get the same [AUTH] line, after as many steps", mechanism)
    def wrong(mechanism):
        answers, lines = set(), set()
        for user in ("u0", "nobody-here"):
            with server.pop3s() as client:
                count = [0]
                plain_line = client.line
                client.line = lambda: (count.__setitem__(0, count[0] + 1), plain_line())[1]
                answers.add(mechanism(client, user, "wrong " + PASSWORD))
                lines.add(count[0])
                client.expect("NOOP", "-ERR")
        assert len(answers) == 1 and answers.pop().startswith(b"-ERR [AUTH] ") and len(lines) == 1, (answers, lines)

    for user in ("%n%s", "u0\xe4", "../u1", "u0/../u1", "a" * 256):
        if "APOP" in name or "USER" in name:
            continue

        @row(f"{name}: {user[:20]!r} is nobody", mechanism, user)
        def odd_user(mechanism, user):
            with server.pop3s() as client:
                answer = mechanism(client, user, PASSWORD)
                assert answer.startswith(b"-ERR"), answer
                logged_in(client, client.auth_plain("u0", PASSWORD), "u0")

for name in STORED_HASHED:
    @row(f"{name}: works for a user of whom only hashes are kept", MECHANISMS[name])
    def hashed(mechanism):
        with server.pop3() as client:
            logged_in(client, mechanism(client, "hashed", PASSWORD), "hashed")

for name in ("CRAM-MD5", "APOP"):
    @row(f"{name}: refuses a user of whom only hashes are kept, like a wrong password", MECHANISMS[name])
    def hashed_only(mechanism):
        with server.pop3() as client:
            assert mechanism(client, "hashed", PASSWORD).startswith(b"-ERR [AUTH] ")


@row("a password of 255 octets with spaces at both ends is taken whole, by PASS and by PLAIN")
def long_password():
    password = " lead, two  inside, " + "x" * 234 + " "
    server.add_user("long", password)
    for mechanism in ("USER and PASS", "PLAIN without one", "SCRAM-SHA-256 without one"):
        with server.pop3() as client:
            logged_in(client, MECHANISMS[mechanism](client, "long", password), "long")
        with server.pop3() as client:
            assert MECHANISMS[mechanism](client, "long", password.strip()).startswith(b"-ERR")


@row("refusals of known and unknown users take the same time")
def refusal_time():
    # A busy machine adds to a time and never takes from it: the shortest of a few is the server's.
    took = {"u0": 60, "nobody-here": 60}
    for _ in range(10):
        for user, least in took.items():
            with server.pop3() as client:
                began = time.monotonic()
                client.auth_plain(user, "wrong")
                took[user] = min(least, time.monotonic() - began)
        if abs(took["u0"] - took["nobody-here"]) < 0.05:
            break
    assert all(t >= 0.09 for t in took.values()), took
    assert abs(took["u0"] - took["nobody-here"]) < 0.25, took


# --- the dialogue of AUTH ---------------------------------------------------------------------------

@row("without initial response the first challenge is exactly plus, space, CRLF")
def empty_challenge():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "GSSAPI"):
        with server.pop3() as client:
            client.send(f"AUTH {mechanism}\r\n".encode())
            assert client.read(4) == b"+ \r\n"


@row("a star cancels any mechanism at any step, and the next attempt works")
def cancel():
    with server.pop3() as client:
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"):
            client.challenge(f"AUTH {mechanism}")
            client.expect("*", "-ERR")
    with server.pop3() as client:
        client.challenge("AUTH LOGIN")
        client.challenge(b64("u0"))
        client.expect("*", "-ERR")
        client.challenge(b"AUTH SCRAM-SHA-256 " + b64("n,,n=u0,r=abcdefghijkl"))
        client.expect("*", "-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


for text in ("A", "AA", "AAA", "=AAA", "AA=A", "AAA=BBB=", "AA==AA==", "A\tAA", "AAAA AAAA", "AAA*", "!!!!", "AAAA\x00AAA", "ÄÄÄÄ"):
    @row(f"{text!r} is no base64: refused, and the next attempt works", text)
    def base64_rows(text):
        with server.pop3() as client:
            client.challenge("AUTH PLAIN")
            answer = client.expect(text.encode(), "-ERR ")
            assert not answer.startswith(b"-ERR ["), answer  # no wrong password, but no password
            logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("an initial response for a mechanism whose server speaks first is refused")
def server_first():
    with server.pop3() as client:
        client.expect(b"AUTH CRAM-MD5 " + b64("u0 0123"), "-ERR")
        logged_in(client, client.auth_cram_md5("u0", PASSWORD), "u0")


@row("= is an initial response that is empty: PLAIN refuses it")
def equals():
    with server.pop3() as client:
        client.expect("AUTH PLAIN =", "-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


for name in ("ANONYMOUS", "DIGEST-MD5", "NTLM", "EXTERNAL", "OTP", "GSS-SPNEGO", "GS2-IAKERB", "X" * 20, "../PLAIN"):
    @row(f"AUTH {name} is refused: nobody configured it, whatever the library has", name)
    def filtered(name):
        with server.pop3() as client:
            assert name.encode() not in client.capabilities()["SASL"]
            client.expect(f"AUTH {name}", "-ERR")


@row("AUTH alone, and with a space behind it, lists the mechanisms")
def auth_list():
    with server.pop3() as client:
        capa = [word.decode() for word in client.capabilities()["SASL"]]
        for line in ("AUTH", "AUTH "):
            assert [entry.decode() for entry in client.listing(line)] == capa


@row("a mechanism's name is the same in any case")
def any_case():
    with server.pop3() as client:
        logged_in(client, client.command(b"auth pLaIn " + b64(f"\0u0\0{PASSWORD}")), "u0")


@row("an initial response of 12000 octets is read whole, refused, and the session stays in step")
def long_initial():
    with server.pop3() as client:
        client.expect(b"AUTH PLAIN " + b64(b"\0u0\0" + b"x" * 9000), "-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("a response of 60000 octets to GSSAPI is read whole, refused, and the session stays in step")
def long_response():
    with server.pop3() as client:
        client.challenge("AUTH GSSAPI")
        client.expect(b64(os.urandom(44000)), "-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("a response of 10 MB is not kept: the connection ends or the line is refused")
def endless_response():
    with server.pop3() as client:
        client.challenge("AUTH PLAIN")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(160):
                client.send(b"A" * 65536)
            client.send(b"\r\n")
        rest = b""
        client.sock.settimeout(3)
        with contextlib.suppress(OSError):
            rest = client.sock.recv(4096)
        assert rest == b"" or rest.startswith(b"-ERR"), rest
    with server.pop3() as client:
        client.quit()


@row("pipelined behind AUTH with initial response, STAT and QUIT are answered in order")
def pipelined():
    with server.pop3() as client:
        client.send(b"AUTH PLAIN " + b64(f"\0u0\0{PASSWORD}") + b"\r\nSTAT\r\nQUIT\r\n")
        lines = client.rest().split(b"\r\n")
        assert [line[:3] for line in lines] == [b"+OK", b"+OK", b"+OK", b""], lines


@row("disconnecting at every step of every mechanism harms nobody")
def disconnects():
    for _ in range(5):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1", "GSSAPI"):
            client = server.pop3()
            client.challenge(f"AUTH {mechanism}")
            client.reset()
            client = server.pop3()
            client.send(f"AUTH {mechanism}\r\nAA".encode())
            client.close()
    with server.pop3() as client:
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("several failures close the connection, and a new one works at once")
def failures():
    with server.pop3() as client:
        for count in range(20):
            try:
                client.auth_plain("u1", f"wrong{count}")
            except (AssertionError, OSError):
                break
        else:
            assert False, "twenty failures in one connection"
    with server.pop3() as client:
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


# --- what mechanisms must not let through -----------------------------------------------------------

for sentence, token in (
        ("an authorization identity of somebody else", f"u1\0u0\0{PASSWORD}"),
        ("no second NUL", f"\0u0{PASSWORD}"), ("no NUL at all", "u0"), ("nothing", ""),
        ("no user", f"\0\0{PASSWORD}"), ("no password", "\0u0\0"),
        ("a NUL behind the password", f"\0u0\0{PASSWORD}\0"), ("a NUL inside the password", f"\0u0\0{PASSWORD}\0x")):
    @row(f"PLAIN with {sentence} is refused", token)
    def plain(token):
        with server.pop3() as client:
            client.challenge("AUTH PLAIN")
            client.expect(b64(token), "-ERR")


@row("PLAIN with one's own name as authorization identity is accepted")
def own_authzid():
    with server.pop3() as client:
        logged_in(client, client.auth_plain("u0", PASSWORD, authzid="u0"), "u0")


for sentence, first in (
        ("an extension it must not skip", "n,,m=x,n=u0,r=abcdefghijkl"), ("no nonce", "n,,n=u0"),
        ("an empty nonce", "n,,n=u0,r="), ("an = in the name that is no escape", "n,,n=u=0,r=abcdefghijkl"),
        ("another authorization identity", "n,a=u1,n=u0,r=abcdefghijkl"),
        ("channel binding where none is", "p=tls-unique,,n=u0,r=abcdefghijkl"), ("noise", "\xff\xfe\0\1")):
    @row(f"SCRAM-SHA-256 with {sentence} is refused", first)
    def scram(first):
        with server.pop3() as client:
            client.send(b"AUTH SCRAM-SHA-256 " + b64(first.encode("latin-1")) + b"\r\n")
            answer = client.line()
            if answer.startswith(b"+ "):
                answer = client.command(b64("c=biws,r=x,p=" + base64.b64encode(bytes(32)).decode()))
            assert answer.startswith(b"-ERR"), answer


@row("SCRAM gives an unknown user the same salt each time, another one than to other users")
def fake_salt():
    salts = {}
    for user in ("ghost1", "ghost1", "ghost2", "ghost2", "u0"):
        with server.pop3() as client:
            challenge = client.challenge(b"AUTH SCRAM-SHA-256 " + b64(f"n,,n={user},r=abcdefghijklmnop"))
            fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
            salts.setdefault(user, set()).add((fields["s"], fields["i"]))
    assert all(len(found) == 1 for found in salts.values()) and len(set.union(*salts.values())) == 3, salts
    assert len({(len(s), i) for found in salts.values() for s, i in found}) == 1, salts


@row("a SCRAM proof cannot be used twice")
def scram_replay():
    with server.pop3() as client:
        sent = []
        send = client.send
        client.send = lambda data: (sent.append(data), send(data))
        logged_in(client, client.auth_scram("u0", PASSWORD), "u0")
    with server.pop3() as client:
        client.send(sent[0])
        client.challenge()
        client.send(sent[1])
        assert client.line().startswith(b"-ERR")


@row("CRAM-MD5 and APOP refuse upper case, more octets and fewer")
def digests():
    with server.pop3() as client:
        for change in (lambda d: d.upper(), lambda d: d + "0", lambda d: d[:-1], lambda d: d + " "):
            challenge = client.challenge("AUTH CRAM-MD5")
            digest = hmac.new(PASSWORD.encode(), challenge, "md5").hexdigest()
            if change(digest) != digest:
                client.expect(b64(f"u0 {change(digest)}"), "-ERR")
    for change in (lambda d: d.upper(), lambda d: d + "0", lambda d: d[:-1]):
        with server.pop3() as client:
            stamp = re.search(rb"<.*>", client.greeting)[0]
            digest = hashlib.md5(stamp + PASSWORD.encode()).hexdigest()
            if change(digest) != digest:
                client.expect(f"APOP u0 {change(digest)}", "-ERR")


@row("APOP's timestamp serves once")
def apop_once():
    with server.pop3() as client:
        assert client.auth_apop("u0", "wrong").startswith(b"-ERR [AUTH]")
        assert client.auth_apop("u0", PASSWORD).startswith(b"-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("where APOP is off the greeting has no timestamp, and APOP is refused")
def apop_off():
    with strict.pop3s() as client:
        assert b"<" not in client.greeting
        client.expect("APOP u0 c4c9334bac560ecc979e58001b3e22fb", "-ERR")


# --- clear text, STLS, POP3S ------------------------------------------------------------------------

@row("by default nothing that shows a password is offered or taken in clear text, and all of it under TLS")
def strict_clear():
    with strict.pop3() as client:
        tags = client.capabilities()
        assert "USER" not in tags and not {b"PLAIN", b"LOGIN"} & set(tags["SASL"]), tags
        client.expect("USER u0", "-ERR")
        answers = {client.auth_plain("u0", password) for password in (PASSWORD, "wrong")}
        assert len(answers) == 1 and answers.pop().startswith(b"-ERR"), answers
        client.expect("AUTH LOGIN", "-ERR")
        client.stls(strict.ca)
        tags = client.capabilities()
        assert "USER" in tags and {b"PLAIN", b"LOGIN"} <= set(tags["SASL"]), tags
        assert client.auth_plain("u0", PASSWORD).startswith(b"+OK")


@row("SCRAM and GSSAPI are offered in clear text all the same")
def strict_scram():
    with strict.pop3() as client:
        assert {b"SCRAM-SHA-256", b"GSSAPI"} <= set(client.capabilities()["SASL"])
        assert client.auth_scram("u0", PASSWORD).startswith(b"+OK")


@row("plaintext = loopback lets local clients show their passwords")
def loopback_clear():
    for host in ("127.0.0.1", "::1"):
        with loopback.pop3(host) as client:
            assert "USER" in client.capabilities()
            assert client.auth_plain("u0", PASSWORD).startswith(b"+OK")
            client.quit()


@row("USER before STLS is forgotten")
def user_forgotten():
    with server.pop3() as client:
        client.expect("USER u0", "+OK")
        client.stls(server.ca)
        client.expect(f"PASS {PASSWORD}", "-ERR")
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("STLS is refused when TLS is on")
def stls_twice():
    for kind in ("STLS", "POP3S"):
        with server.connect(kind) as client:
            client.expect("STLS", "-ERR")
            logged_in(client, client.auth_plain("u0", PASSWORD), "u0")


@row("anything behind STLS in clear text ends the connection, wherever it is cut in two")
def injection():
    whole = b"STLS\r\nNOOP\r\nCAPA\r\n"
    for cut in range(6, len(whole) + 1):
        with server.pop3() as client:
            client.send(whole[:cut] if cut > 6 else whole)
            if 6 < cut < len(whole):
                with contextlib.suppress(OSError):
                    client.send(whole[cut:])
            rest = client.rest()
            assert rest.count(b"+OK") <= 1 and b"NOOP" not in rest, (cut, rest)


@row("a command glued to STLS is answered neither before nor after the handshake")
def injection_tls():
    with server.pop3() as client:
        client.send(b"STLS\r\nCAPA\r\n")
        try:
            line = client.line()
            assert line.startswith((b"+OK", b"-ERR")), line
            client.start_tls(server.ca)
        except (AssertionError, OSError):
            return
        assert False, "the handshake went on behind injected clear text"


@row("a ClientHello glued to STLS ends the connection")
def injection_hello():
    with server.pop3() as client:
        client.send(b"STLS\r\n\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        assert client.rest().count(b"+OK") <= 1


def handshake(port, **options):
    context = ssl.create_default_context(cafile=str(server.ca))
    context.set_ciphers(options.pop("ciphers", "DEFAULT:@SECLEVEL=0"))
    for name, value in options.items():
        if name == "alpn":
            context.set_alpn_protocols(value)
        else:
            setattr(context, name, value)
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            return tls.version(), tls.cipher()[0], tls.selected_alpn_protocol(), tls.recv(100)


V = ssl.TLSVersion
for sentence, options, want in (
        ("TLS 1.3", {}, "TLSv1.3"), ("TLS 1.2", {"maximum_version": V.TLSv1_2}, "TLSv1.2"),
        ("TLS 1.1", {"minimum_version": V.TLSv1, "maximum_version": V.TLSv1_1}, None),
        ("TLS 1.0", {"minimum_version": V.TLSv1, "maximum_version": V.TLSv1}, None),
        ("TLS 1.2 with a suite without authenticated encryption",
         {"maximum_version": V.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"}, None),
        ("ALPN pop3", {"alpn": ["pop3"]}, "TLSv1.3"), ("ALPN http/1.1", {"alpn": ["http/1.1"]}, None),
        ("ALPN h2 and pop3", {"alpn": ["h2", "pop3"]}, "TLSv1.3")):
    @row(f"POP3S {'accepts' if want else 'refuses'} {sentence}", options, want)
    def versions(options, want):
        try:
            version, _, alpn, greeting = handshake(server.pop3s_port, **options)
        except (ssl.SSLError, OSError) as error:
            assert want is None, error
            return
        assert version == want and greeting.startswith(b"+OK"), (version, greeting)
        assert alpn == ("pop3" if "alpn" in options else None), alpn


@row("clear text on the POP3S port is not answered with POP3")
def clear_on_pop3s():
    with harness.pop3.Client(server.pop3s_port, greeting=False) as client:
        client.send(b"USER u0\r\n")
        assert b"+OK" not in client.rest()


@row("TLS ends with close_notify after QUIT")
def close_notify():
    for kind in ("POP3S", "STLS"):
        with server.connect(kind) as client:
            client.sock.suppress_ragged_eofs = False
            client.expect("QUIT", "+OK")
            assert client.sock.recv(10) == b""


@row("no session tickets are given out")
def no_tickets():
    with server.pop3s() as client:
        client.expect("NOOP", "-ERR")
        assert not client.sock.session or not client.sock.session.has_ticket


@row("a client that stays silent inside the TLS handshake is gone at its deadline")
def silent_tls():
    began = time.monotonic()
    for octets in (b"", b"\x16\x03\x01\x02\x00"):
        with harness.pop3.Client(hasty.pop3s_port, greeting=False) as client:
            client.send(octets)
            client.rest()
    assert 1.5 < time.monotonic() - began < 20


@row("who does not log in is gone at the deadline, however busy; who has logged in is not")
def authorization_deadline():
    began = time.monotonic()
    with hasty.logged_in("u0") as other, hasty.pop3() as client:
        with contextlib.suppress(OSError, AssertionError):
            while time.monotonic() - began < 20:
                client.command("CAPA") and client.lines()
                time.sleep(0.2)
        assert 9 < time.monotonic() - began < 20, time.monotonic() - began
        other.expect("NOOP", "+OK")
        other.quit()


@row("the log names user, address and TLS, and no password")
def log():
    with server.pop3s() as client:
        logged_in(client, client.auth_plain("u0", PASSWORD), "u0")
    text = server.log_text()
    assert "TLSv1.3" in text and "127.0.0.1" in text
    assert PASSWORD not in text and b64(f"\0u0\0{PASSWORD}").decode() not in text


harness.main(server, strict, loopback, hasty)
