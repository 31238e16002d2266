#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client is told: greetings, lines and lists, response codes by their causes, the steps of AUTH."""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import socket
import time

import harness
import pop3
from harness import PASSWORD, row

realm = harness.Realm()
alice = realm.user("alice")
server = harness.Server(realm, users=12)  # everything is allowed in clear text
shared = harness.Server(realm, users=4, isolation="shared", sessions=200)
strict = harness.Server(realm, users=4, plaintext="tls", apop=False)
long_name = harness.Server(realm, users=1, hostname=".".join(["h" * 62] * 4)[:253])
server.add_user("hashed", plain=False)
ONE = b"Subject: one\r\n\r\nx\r\n"
ALL_MECHANISMS = ("GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "SCRAM-SHA-512",
                  "SCRAM-SHA-256-PLUS", "GS2-KRB5", "ANONYMOUS", "EXTERNAL", "DIGEST-MD5", "NTLM", "OAUTHBEARER")


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


# --- greetings ------------------------------------------------------------------------------------

@row("ten thousand greetings carry ten thousand timestamps, each a message-id")
def greetings():
    stamps = set()
    for where, count in ((server, 500), (shared, 9500)):
        for _ in range(count):
            with where.pop3() as client:
                stamp = re.fullmatch(rb"\+OK [^<>]* (<[!-;=?A-~]+@[!-;=?A-~]+>)", client.greeting)
                assert stamp, client.greeting
                stamps.add(stamp[1])
    assert len(stamps) == 10000


@row("a host name of 253 octets leaves the greeting a line of 512 at most, and APOP works with it")
def long_greeting():
    with long_name.pop3() as client:
        assert client.auth_apop("u0", PASSWORD).startswith(b"+OK"), client.greeting
        client.quit()
    with long_name.kpop() as client:
        client.sendauth(realm.apreq(alice))
        assert pop3.check_status(client.greeting)


# --- lines ----------------------------------------------------------------------------------------

def lines_of_255(kind, cut):
    user = server.user(ONE)
    with server.connect(kind) as client:
        def send(line, size):
            line = line.ljust(size - 2) + b"\r\n"
            assert len(line) == size
            client.send(line[:cut])
            if line[cut:]:
                client.send(line[cut:])

        def answer():
            return pop3.check_status(client.line())
        send(b"CAPA", 255)
        assert answer().startswith(b"+OK") and client.lines()
        send(b"CAPA", 256)
        assert answer().startswith(b"-ERR")
        server.logged_in(user, client)
        send(b"STAT", 255)
        assert answer() == b"+OK 1 %d" % len(ONE)
        send(b"LIST " + b"0" * 200 + b"1", 255)
        assert answer() == b"+OK 1 %d" % len(ONE)
        send(b"STAT", 256)
        assert answer().startswith(b"-ERR")
        send(b"DELE 1", 256)
        assert answer().startswith(b"-ERR")
        client.send(b"NOOP".ljust(254) + b"\r\nSTAT\r\n" + b"x" * 253 + b"DELE 1\r\nSTAT\r\n")
        want = b"-ERR", b"+OK 1 ", b"-ERR", b"+OK 1 "
        assert all(answer().startswith(start) for start in want)
        client.quit()
    assert server.stored(user) == [ONE]


for kind in harness.KINDS:
    for cut in (1000, 254, 100):
        harness.add_row(f"a command of 255 octets is taken, one of 256 is refused whole, sent in pieces of {cut} ({kind})",
                        lines_of_255, kind, cut)


# --- lists ----------------------------------------------------------------------------------------

LOGINS = {"USER": lambda c, u: c.expect(f"USER {u}", "+OK") and c.command(f"PASS {PASSWORD}"),
          "PLAIN": lambda c, u: c.auth_plain(u, PASSWORD), "SCRAM": lambda c, u: c.auth_scram(u, PASSWORD),
          "CRAM-MD5": lambda c, u: c.auth_cram_md5(u, PASSWORD)}


def same_lists(where, kind, login):
    with where.connect(kind) as client:
        before = client.listing("CAPA")
        answer = LOGINS[login](client, where.user())
        if answer.startswith(b"-ERR") and where is strict and kind == "POP3":
            return
        assert answer.startswith(b"+OK"), answer
        after = client.listing("CAPA")
        assert [line for line in before if line != b"STLS"] == after, (before, after)
        assert any(line.startswith(b"SASL ") for line in after) and b"EXPIRE NEVER" in after, after
        client.quit()


for kind in harness.KINDS:
    for login in LOGINS:
        for where, name in ((server, ""), (strict, ", passwords under TLS only")):
            if where is strict and kind == "POP3" and login in ("USER", "PLAIN"):
                continue
            harness.add_row(f"CAPA shows after login by {login} what it showed before, but for STLS ({kind}{name})",
                            same_lists, where, kind, login)


@row("CAPA on the KPOP port is the same before and after PASS, but for STLS")
def kpop_lists():
    with server.kpop() as client:
        client.sendauth(realm.apreq(alice))
        before = client.listing("CAPA")
        assert b"USER" in before and b"STLS" in before, before
        client.expect("USER alice", "+OK")
        client.expect("PASS x", "+OK")
        assert [line for line in before if line != b"STLS"] == client.listing("CAPA")


def offered_is_taken(where, kind):
    with where.connect(kind) as client:
        tags = client.capabilities()
    offered = [name.decode() for name in tags.get("SASL", [])]
    assert offered
    for name in {*ALL_MECHANISMS, *offered}:
        with where.connect(kind) as client:
            answer = client.command(f"AUTH {name}")
            assert answer.startswith(b"+ ") == (name in offered), (name, answer)
            if name in offered:
                client.expect("*", "-ERR ")
    with where.connect(kind) as client:
        assert client.command("USER u0").startswith(b"+OK") == ("USER" in tags), tags
    with where.connect(kind) as client:
        assert client.auth_scram(where.user(ONE), PASSWORD).startswith(b"+OK")
        for tag, line in (("TOP", "TOP 1 0"), ("UIDL", "UIDL")):
            assert tag in tags and client.listing(line)


for kind in harness.KINDS:
    for where, name in ((server, ""), (strict, ", passwords under TLS only")):
        harness.add_row(f"what CAPA shows works, and what it does not show is refused ({kind}{name})",
                        offered_is_taken, where, kind)


# --- a client that does not read --------------------------------------------------------------------

def heap(where):
    """The largest front's own memory, in octets."""
    most = 0
    for pid, _ in where.family():
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                fields = dict(line.split(":", 1) for line in status)
            if fields["Name"].strip() == "kpopd-front":
                most = max(most, int(fields["RssAnon"].split()[0]) * 1024)
    return most


def no_growth(where):
    assert harness.SANITIZED or 0 < heap(where) < 16 << 20, heap(where)


def stalled_writer(kind, where):
    """Sends commands as long as the server takes them, reads nothing; then reads everything."""
    user = where.user(b"A: b\n\n" + b"x" * 300 + b"\n")
    with where.connect(kind) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        where.logged_in(user, client)
        commands = b"".join(line.ljust(253) + b"\r\n" for line in (b"RETR 1", b"STAT", b"UIDL 1", b"LIST 2"))
        client.send(commands)
        answers = [client.line() for _ in range(8)]
        assert [line[:4] for line in answers] == [b"+OK ", b"A: b", b"", b"x" * 4, b".", b"+OK ", b"+OK ", b"-ERR"], answers
        answers = b"".join(line + b"\r\n" for line in answers)
        data = memoryview(commands * 20000)
        sent = 0
        client.sock.settimeout(1)
        with contextlib.suppress(socket.timeout):
            while sent < len(data):
                sent += client.sock.send(data[sent:sent + 16384])
        client.sock.settimeout(pop3.TIMEOUT_SECS)
        assert 1 << 16 < sent < len(data), f"{sent} octets were taken"
        no_growth(where)
        with where.logged_in(where.user(ONE)) as other:
            assert other.raw_message("RETR 1") == ONE
            other.quit()
        rounds, part = divmod(sent, len(commands))
        for _ in range(rounds):
            assert client.read(len(answers)) == answers
        rest = commands[part:]
        client.send(rest)
        assert client.read(len(answers)) == answers
        client.quit()


def stalled_reader(kind, where):
    message = b"A: b\n\n" + b"".join(b".%015d tail of the line\n" % i for i in range(10000)) * 270
    user = where.user(message)
    want = len(message) + message.count(b"\n") * 2  # each line of the body gets a CR and a dot
    with where.logged_in(user, where.connect(kind)) as client:
        client.send(b"RETR 1\r\nSTAT\r\n")
        time.sleep(1)
        no_growth(where)
        with where.logged_in(where.user(ONE)) as other:
            assert other.raw_message("RETR 1") == ONE
            other.quit()
        line = client.line()
        assert line.startswith(b"+OK"), line
        left = want - 2 - len(client.buffer)  # the header has no dot
        tail = client.buffer[-100:]
        while left > -3:
            data = client.sock.recv(1 << 20)
            assert data, "closed within the message"
            left -= len(data)
            tail = (tail + data)[-100:]
        client.buffer = tail
        while b"\r\n+OK" not in client.buffer or not client.buffer.endswith(b"\r\n"):
            client._more("the answer to STAT")  # pylint: disable=protected-access
        assert b"tail of the line\r\n.\r\n+OK 1 %d\r\n" % (len(message) + message.count(b"\n")) in client.buffer
        client.buffer = b""
        client.quit()


for kind in ("POP3", "POP3S"):
    for where in (server, shared):
        name = f"{kind}, isolation = {where.options['isolation']}"
        harness.add_row(f"a client that writes and never reads is let wait, and then has all answers in order ({name})",
                        stalled_writer, kind, where)
        harness.add_row(f"a message of 100 MB comes whole to a client that begins late, and fills no memory ({name})",
                        stalled_reader, kind, where)


# --- response codes -------------------------------------------------------------------------------

def scram_with_false_proof(client):
    challenge = client.challenge(b"AUTH SCRAM-SHA-256 " + b64("n,,n=u0,r=abcdefghijkl")).decode()
    nonce = challenge.split(",")[0]
    return client.command(b64(f"c=biws,{nonce},p=" + b64(bytes(32)).decode()))


def user_pass(client, user, password):
    client.expect(f"USER {user}", "+OK")
    return client.command(f"PASS {password}")


for sentence, attempt in (
        ("PASS with a wrong password", lambda c: user_pass(c, "u0", "wrong")),
        ("PASS for an unknown user", lambda c: user_pass(c, "nobody-here", PASSWORD)),
        ("PASS for a name that is a path", lambda c: user_pass(c, "../u0", PASSWORD)),
        ("PASS for a name of 255 octets", lambda c: user_pass(c, "n" * 255, PASSWORD)),
        ("PLAIN for somebody else", lambda c: c.auth_plain("u0", PASSWORD, authzid="u1")),
        ("PLAIN without a password", lambda c: c.auth_plain("u0", "")),
        ("LOGIN with a wrong password", lambda c: c.auth_login("u0", "wrong")),
        ("CRAM-MD5 with a wrong password", lambda c: c.auth_cram_md5("u0", "wrong")),
        ("CRAM-MD5 where only hashes are kept", lambda c: c.auth_cram_md5("hashed", PASSWORD)),
        ("APOP with a wrong password", lambda c: c.auth_apop("u0", "wrong")),
        ("APOP where only hashes are kept", lambda c: c.auth_apop("hashed", PASSWORD)),
        ("SCRAM with a false proof", scram_with_false_proof),
        ("SCRAM for an unknown user", lambda c: c.auth_scram("nobody-here", PASSWORD)),
        ("GSSAPI with noise for a token", lambda c: c.command(b"AUTH GSSAPI " + b64(os.urandom(100))))):
    @row(f"{sentence} is refused with AUTH, and the next attempt is another one", attempt)
    def credentials(attempt):
        with server.pop3() as client:
            answer = attempt(client)
            assert answer == b"-ERR [AUTH] authentication failed", answer
            client.refused("STAT")
            assert client.auth_plain("u0", PASSWORD).startswith(b"+OK")
            client.quit()


for sentence, lines in (
        ("PASS without USER", (f"PASS {PASSWORD}",)), ("PASS without a password", ("USER u0", "PASS")),
        ("USER without a name", ("USER",)), ("a USER of 300 octets", ("USER " + "x" * 300,)),
        ("an unknown mechanism", ("AUTH X-NONE",)), ("a cancelled AUTH", ("AUTH PLAIN", "*")),
        ("an answer that is no base64", ("AUTH PLAIN", "!")), ("an initial response that is no base64", ("AUTH PLAIN !",)),
        ("an initial response where the server begins", ("AUTH CRAM-MD5 AAAA",)), ("a word that is no command", ("XYZZY",)),
        ("a command for later", ("RETR 1",)), ("a line too long", ("CAPA " + "x" * 300,)),
        ("an APOP without digest", ("APOP u0",)), ("STLS with an argument", ("STLS now",))):
    @row(f"{sentence} is a mistake: no response code says that it was the password", lines)
    def mistakes(lines):
        with server.pop3() as client:
            for line in lines[:-1]:
                assert client.command(line).startswith((b"+OK", b"+ "))
            answer = client.expect(lines[-1], "-ERR ")
            assert not answer.startswith(b"-ERR ["), answer


@row("login and mail commands after login are refused without AUTH, IN-USE or SYS")
def mistakes_later():
    with server.logged_in(server.user(ONE)) as client:
        for line in ("USER u0", "PASS x", "AUTH PLAIN", "APOP a b", "STLS", "RETR 2", "DELE 0", "TOP 1", "UIDL x", "XYZZY"):
            assert not client.expect(line, "-ERR ").startswith(b"-ERR ["), line
        client.quit()


for name, right in (("USER", user_pass), ("PLAIN", pop3.Client.auth_plain), ("CRAM-MD5", pop3.Client.auth_cram_md5),
                    ("SCRAM", pop3.Client.auth_scram), ("APOP", pop3.Client.auth_apop)):
    @row(f"while a session is open, {name} says AUTH to a wrong password and IN-USE to the right one only", right)
    def in_use(right):
        user = server.user(ONE)
        with server.logged_in(user) as first:
            with server.pop3() as second:
                assert right(second, user, "wrong").startswith(b"-ERR [AUTH] ")
            with server.pop3() as second:
                assert right(second, user, PASSWORD).startswith(b"-ERR [IN-USE] ")
                second.refused("STAT")
            first.quit()
        with server.pop3() as third:
            assert right(third, user, PASSWORD).startswith(b"+OK")


def broken_maildir(sentence, code, breaks, mends):
    @row(f"{sentence}: the login is refused with {code} after the right password, AUTH after a wrong one")
    def broken():
        user = server.user(ONE)
        maildir = server.maildir(user)
        breaks(maildir)
        try:
            for _ in range(2):  # nothing of the first refusal stays behind
                with server.pop3() as client:
                    assert user_pass(client, user, "wrong").startswith(b"-ERR [AUTH] ")
                    answer = user_pass(client, user, PASSWORD)
                    assert answer.startswith(f"-ERR [{code}] ".encode()), answer
                    client.refused("STAT")
        finally:
            mends(maildir)
        with server.pop3() as client:
            assert user_pass(client, user, PASSWORD).startswith(b"+OK 1 ")


def to_file(maildir):
    maildir.rename(maildir.with_name("aside"))
    maildir.write_bytes(b"no folder\n")
    server.own(maildir)


def from_file(maildir):
    maildir.unlink()
    maildir.with_name("aside").rename(maildir)


broken_maildir("a file where the Maildir should be", "SYS/PERM", to_file, from_file)
broken_maildir("a Maildir nobody may read", "SYS/PERM", lambda m: m.chmod(0), lambda m: m.chmod(0o700))


# --- the steps of AUTH ------------------------------------------------------------------------------

def scram_to_the_end(client):
    """Up to the server's proof: what is missing is the empty line."""
    nonce = "abcdefghijklmnop"
    challenge = client.challenge(b"AUTH SCRAM-SHA-256 " + b64(f"n,,n=u0,r={nonce}")).decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    final = f"c=biws,r={fields['r']}"
    signature = hmac.new(hashlib.sha256(key).digest(), f"n=u0,r={nonce},{challenge},{final}".encode(), "sha256").digest()
    proof = b64(bytes(a ^ b for a, b in zip(key, signature))).decode()
    client.challenge(b64(f"{final},p={proof}"))


STEPS = (
    ("PLAIN, asked for its response", lambda c: c.challenge("AUTH PLAIN")),
    ("LOGIN, asked for the name", lambda c: c.challenge("AUTH LOGIN")),
    ("LOGIN, asked for the password", lambda c: (c.challenge("AUTH LOGIN"), c.challenge(b64("u0")))),
    ("CRAM-MD5, challenged", lambda c: c.challenge("AUTH CRAM-MD5")),
    ("SCRAM-SHA-256, asked for its first message", lambda c: c.challenge("AUTH SCRAM-SHA-256")),
    ("SCRAM-SHA-256, challenged", lambda c: c.challenge(b"AUTH SCRAM-SHA-256 " + b64("n,,n=u0,r=abcdefghijkl"))),
    ("SCRAM-SHA-256, the server having proved itself", scram_to_the_end),
    ("SCRAM-SHA-1, asked for its first message", lambda c: c.challenge("AUTH SCRAM-SHA-1")),
    ("GSSAPI, asked for its token", lambda c: c.challenge("AUTH GSSAPI")))
for sentence, begin in STEPS:
    for kind in harness.KINDS:
        @row(f"a star ends {sentence}: -ERR, not logged in, and the next attempt works ({kind})", begin, kind)
        def star(begin, kind):
            with server.connect(kind) as client:
                begin(client)
                client.expect("*", "-ERR ")
                client.expect("STAT", "-ERR ")
                assert client.auth_scram("u0", PASSWORD).startswith(b"+OK")
                client.quit()

    @row(f"an answer that is no base64 ends {sentence}: -ERR, not logged in, and the next attempt works", begin)
    def foul(begin):
        with server.pop3() as client:
            begin(client)
            client.expect("=", "-ERR ")
            client.expect("STAT", "-ERR ")
            assert client.auth_plain("u0", PASSWORD).startswith(b"+OK")
            client.quit()


RIGHT = b64(f"\0u0\0{PASSWORD}").decode()
assert RIGHT.endswith("=")
for sentence, token in (
        ("a space inside", f"{RIGHT[:8]} {RIGHT[8:]}"), ("a TAB inside", f"{RIGHT[:8]}\t{RIGHT[8:]}"),
        ("a ! inside", f"{RIGHT[:8]}!{RIGHT[8:]}"), ("a star behind", f"{RIGHT}*"), ("padding in front", f"={RIGHT}"),
        ("padding inside", f"{RIGHT[:8]}=={RIGHT[8:]}"), ("no padding", RIGHT.rstrip("=")), ("more padding", RIGHT + "="),
        ("a whole group of padding", RIGHT + "===="), ("four octets behind the padding", RIGHT + "AAAA"),
        ("the URL's alphabet", RIGHT[:8] + "-_-_" + RIGHT[8:]), ("a CR inside", f"{RIGHT[:8]}\r{RIGHT[8:]}"),
        ("a NUL inside", f"{RIGHT[:8]}\0{RIGHT[8:]}"), ("UTF-8 inside", f"{RIGHT[:8]}ä{RIGHT[8:]}")):
    @row(f"the right response with {sentence} is not decoded by halves: refused, as answer and as initial response", token)
    def half_base64(token):
        with server.pop3() as client:
            client.challenge("AUTH PLAIN")
            for line in (token, f"AUTH PLAIN {token}"):
                assert not client.expect(line, "-ERR ").startswith(b"-ERR ["), "a mistake, not a wrong password"
            client.expect("STAT", "-ERR ")
            assert client.command(f"AUTH PLAIN {RIGHT}").startswith(b"+OK")
            client.quit()


@row("five refusals end the connection with the last answer, and an open one of another client goes on")
def five():
    with server.pop3() as client, server.logged_in(server.user(ONE)) as other:
        answers = []
        with contextlib.suppress(AssertionError, OSError):
            for _ in range(20):
                answers.append(client.auth_plain("u0", "wrong"))
        assert len(answers) == 5 and set(answers) == {b"-ERR [AUTH] authentication failed"}, answers
        other.quit()


harness.main(server, shared, strict, long_name)
