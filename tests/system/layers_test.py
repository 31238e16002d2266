#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Security layers of GSSAPI (RFC 4752, 4121): record by record, with MIT's own tokens, and with clients that have them."""
import base64
import contextlib
import os
import pathlib
import pty
import re
import select
import socket
import subprocess
import threading
import time

import gssapi

import harness
import pop3
from harness import run, wait_for

NONE, INTEGRITY, CONFIDENTIALITY = 1, 2, 4
NAMES = {NONE: "no layer", INTEGRITY: "integrity", CONFIDENTIALITY: "confidentiality"}
ANNOUNCED = 16384  # the largest token the server takes
FLAGS = [gssapi.RequirementFlag.mutual_authentication, gssapi.RequirementFlag.out_of_sequence_detection,
         gssapi.RequirementFlag.integrity, gssapi.RequirementFlag.confidentiality]
BARE = [gssapi.RequirementFlag.replay_detection]  # an empty list would be the library's default
USERS = 6

realm = harness.Realm()
servers = {"process": harness.Server(realm, users=USERS), "shared": harness.Server(realm, users=USERS, isolation="shared")}
private = harness.Server(realm, users=USERS, gssapi_layers=["confidentiality"], mechanisms=["GSSAPI"], apop=False,
                         user_pass=False)
tickets = {name: realm.user(name)["KRB5CCNAME"] for name in servers["process"].users}
os.environ["KRB5_CONFIG"] = realm.environ["KRB5_CONFIG"]
MAIL = b"Subject: canary\n\nnobody else reads this canary\n"


class LayerSocket:
    """What a socket is to pop3.Client, with every octet inside records."""

    def __init__(self, sock, context, kind):
        self.raw, self.context, self.kind = sock, context, kind
        self.largest = 0  # token that came

    def record(self, text):
        token = self.context.wrap(text, self.kind == CONFIDENTIALITY).message
        return len(token).to_bytes(4, "big") + token

    def sendall(self, text):
        self.raw.sendall(self.record(text))

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.raw.recv(count - len(data))
            if not more:
                assert not data, "closed in the middle of a record"
                return b""
            data += more
        return data

    def recv(self, _):
        head = self.read(4)
        if not head:
            return b""
        length = int.from_bytes(head, "big")
        self.largest = max(self.largest, length)
        got = self.context.unwrap(self.read(length))
        assert got.encrypted == (self.kind == CONFIDENTIALITY)
        return got.message

    def __getattr__(self, name):
        return getattr(self.raw, name)


def base64_line(data):
    return base64.b64encode(data) + b"\r\n"


def offer(client, user, flags=None):
    """AUTH GSSAPI up to the server's offer: the context, and the offer's four octets."""
    os.environ["KRB5CCNAME"] = tickets[user]
    name = gssapi.Name("pop@localhost", gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=name, usage="initiate", flags=FLAGS if flags is None else flags)
    assert client.challenge("AUTH GSSAPI") == b""
    challenge = client.challenge(base64.b64encode(context.step()))
    if not context.complete:
        answer = context.step(challenge)
        assert not answer
        challenge = client.challenge(b"")
    got = context.unwrap(challenge)
    assert not got.encrypted and len(got.message) == 4
    return context, got.message


def choose(client, context, kind, size=65535):
    """Sends the choice; returns the server's answer, which is in clear."""
    choice = bytes([kind]) + size.to_bytes(3, "big")
    client.send(base64_line(context.wrap(choice, False).message))
    return pop3.check_status(client.line())


def log_in(server, user, kind, client=None, size=65535):
    """A session inside a layer (or, with NONE, in clear)."""
    end = time.monotonic() + harness.WAIT_SECS
    client = client or server.pop3()
    while True:
        context, _ = offer(client, user)
        answer = choose(client, context, kind, size)
        if answer.startswith(b"+OK"):
            break
        assert b"[IN-USE]" in answer and time.monotonic() < end, answer
        time.sleep(0.05)
    assert client.buffer == b"", f"clear text behind the answer: {client.buffer!r}"
    if kind != NONE:
        client.sock = LayerSocket(client.sock, context, kind)
    return client


def each(sentence, kinds=(INTEGRITY, CONFIDENTIALITY)):
    """A row for each isolation and layer: function(server, kind)."""
    def mark(function):
        for isolation, server in servers.items():
            for kind in kinds:
                harness.add_row(f"{sentence} ({NAMES[kind]}, {isolation})", function, server, kind)
        return function
    return mark


def raw_closed(client):
    """The connection is closed; nothing comes but what was answered before."""
    data = client.sock.raw.recv(65536)
    while data:
        data = client.sock.raw.recv(65536)


# --- sessions that go well ---------------------------------------------------------------------------

@each("a whole session, with a message of 1 MB")
def whole(server, kind):
    large = b"Subject: large\n\n" + b"".join(b".%d a line of this message\n" % i for i in range(40000))
    user = server.user(MAIL, large)
    before = len(server.log_text())
    with log_in(server, user, kind) as client:
        assert client.stat()[0] == 2
        assert "SASL" in client.capabilities() and "STLS" not in client.capabilities()
        assert client.raw_message("RETR 2") == large.replace(b"\n", b"\r\n")
        assert client.raw_message("RETR 1") == MAIL.replace(b"\n", b"\r\n")
        assert client.sock.largest <= ANNOUNCED
        client.refused("STLS")
        client.refused("AUTH GSSAPI")
        client.expect("DELE 2", "+OK")
        client.expect("QUIT", "+OK")
        raw_closed(client)
    assert server.stored(user) == [MAIL]
    wait_for(lambda: re.search(rf'closed .*user={user} auth=GSSAPI layer="{NAMES[kind]} aes256-cts-hmac-sha1-96"',
                               server.log_text()[before:]), "the log names the layer")


@each("many commands in one record, DELE and QUIT among them")
def pipelined(server, kind):
    user = server.user(MAIL, MAIL + b"2")
    with log_in(server, user, kind) as client:
        client.send(b"NOOP\r\n" * 300 + b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
        for _ in range(300):
            assert client.line().startswith(b"+OK")
        assert client.line().startswith(b"+OK") and b"nobody else reads this canary" in client.lines()
        assert client.line().startswith(b"+OK")
        assert client.line().startswith(b"+OK")
        raw_closed(client)
    assert server.stored(user) == [MAIL + b"2"]


@each("many records in one segment, some of them empty, a command over several")
def segment(server, kind):
    with log_in(server, server.user(MAIL), kind) as client:
        pieces = [b"NOOP\r\n"] * 20 + [b"", b"ST", b"", b"A", b"T\r", b"\n"] + [b"LIST\r\n"]
        client.sock.raw.sendall(b"".join(client.sock.record(piece) for piece in pieces))
        for _ in range(20):
            assert client.line().startswith(b"+OK")
        assert client.line() == b"+OK 1 %d" % len(MAIL.replace(b"\n", b"\r\n"))
        assert client.line().startswith(b"+OK") and len(client.lines()) == 1
        client.expect("QUIT", "+OK")


@each("a record in two pieces, cut at each of its octets")
def cut(server, kind):
    with log_in(server, server.user(), kind) as client:
        record, at = client.sock.record(b"STAT\r\n"), 0
        while at < len(record):
            client.sock.raw.sendall(record[:at])
            time.sleep(0.002)
            client.sock.raw.sendall(record[at:])
            assert client.line() == b"+OK 0 0"
            record, at = client.sock.record(b"STAT\r\n"), at + 1
        for octet in record:
            client.sock.raw.sendall(bytes([octet]))
        assert client.line() == b"+OK 0 0"
        client.expect("QUIT", "+OK")


@each("the largest record that may come, and the largest session's worth of them")
def largest(server, kind):
    with log_in(server, server.user(), kind) as client:
        overhead = len(client.sock.record(b"NOOP\r\n")) - 4 - 6
        client.close()
    with log_in(server, server.user(), kind) as client:
        text = b"NOOP\r\n" * 10000
        text = text[:ANNOUNCED - overhead]
        text = text[:len(text) - len(text) % 6]
        for _ in range(5):
            record = client.sock.record(text)
            assert ANNOUNCED - 6 < len(record) - 4 <= ANNOUNCED
            client.sock.raw.sendall(record)
            for _ in range(len(text) // 6):
                assert client.line().startswith(b"+OK")
        client.expect("QUIT", "+OK")


@each("octets sent behind the last response are the layer's")
def early(server, kind):
    user = server.user(MAIL)
    with server.pop3() as client:
        context, _ = offer(client, user)
        inside = LayerSocket(client.sock, context, kind)
        choice = base64_line(context.wrap(bytes([kind, 0, 255, 255]), False).message)
        client.send(choice + inside.record(b"STAT\r\nDELE 1\r\n") + inside.record(b"QUIT\r\n"))
        assert pop3.check_status(client.line()).startswith(b"+OK 1 ")
        # What was read along with that line is of the layer.
        class Held(LayerSocket):
            def read(self, count):
                while len(client.held) < count:
                    more = self.raw.recv(65536)
                    if not more:
                        assert not client.held
                        return b""
                    client.held += more
                data, client.held = client.held[:count], client.held[count:]
                return data
        client.held, client.buffer = client.buffer, b""
        client.sock = Held(client.sock, context, kind)
        assert client.line().startswith(b"+OK 1 ")
        assert client.line().startswith(b"+OK")
        assert client.line().startswith(b"+OK")
        client.closed()
    assert server.stored(user) == []


@each("clear text behind the last response ends the connection")
def early_clear(server, kind):
    user = server.user(MAIL)
    with server.pop3() as client:
        context, _ = offer(client, user)
        client.send(base64_line(context.wrap(bytes([kind, 0, 255, 255]), False).message) + b"DELE 1\r\nQUIT\r\n")
        assert client.rest() in (b"", b"+OK 1 messages (%d octets)\r\n" % len(MAIL.replace(b"\n", b"\r\n")))
    assert server.stored(user) == [MAIL]


@each("records no longer than the client takes", (INTEGRITY, CONFIDENTIALITY))
def small(server, kind):
    letter = b"Subject: x\n\n" + b"0123456789\n" * 2000
    for size in (256, 1000, 16384, 65536, 0xffffff):
        with log_in(server, server.user(letter), kind, size=size) as client:
            assert client.raw_message("RETR 1") == letter.replace(b"\n", b"\r\n")
            assert min(size, ANNOUNCED) - 60 < client.sock.largest <= min(size, ANNOUNCED), client.sock.largest
            client.expect("QUIT", "+OK")


@each("a maildrop in use leaves the connection in clear, and the next attempt may have a layer")
def in_use(server, kind):
    user = server.user(MAIL)
    with log_in(server, user, kind) as first, server.pop3() as second:
        context, _ = offer(second, user)
        assert choose(second, context, kind).startswith(b"-ERR [IN-USE]")
        assert "SASL" in second.capabilities()
        first.expect("QUIT", "+OK")
        raw_closed(first)
        log_in(server, user, kind, second)
        assert second.stat()[0] == 1
        second.expect("QUIT", "+OK")


@each("what was said before the layer is forgotten")
def forgotten(server, kind):
    user = server.user(MAIL)
    with server.pop3() as client:
        client.expect("USER u0", "+OK")
        log_in(server, user, kind, client)
        client.refused(f"PASS {harness.PASSWORD}")
        assert client.stat()[0] == 1


# --- what must end the connection ----------------------------------------------------------------------

def flipped(at):
    def make(layer):
        record = bytearray(layer.record(b"QUIT\r\n"))
        record[at] ^= 1
        return bytes(record)
    return make


def replayed(layer):
    record = layer.record(b"NOOP\r\n")
    return record + record + layer.record(b"QUIT\r\n")


def swapped(layer):
    first, second = layer.record(b"NOOP\r\n"), layer.record(b"QUIT\r\n")
    return second + first


def missing(layer):
    layer.record(b"NOOP\r\n")
    return layer.record(b"QUIT\r\n")


def other_kind(layer):
    token = layer.context.wrap(b"QUIT\r\n", layer.kind != CONFIDENTIALITY).message
    return len(token).to_bytes(4, "big") + token


def oversized(layer):
    token = layer.context.wrap(b"QUIT\r\n" * 2731, layer.kind == CONFIDENTIALITY).message
    return len(token).to_bytes(4, "big") + token


def truncated(layer):
    record = layer.record(b"QUIT\r\n")
    return (len(record) - 5).to_bytes(4, "big") + record[4:-1] + layer.record(b"QUIT\r\n")


def shorter(layer):
    """The whole token, but the count of filling says that it is cut (or where its checksum begins)."""
    record = bytearray(layer.record(b"QUIT\r\nNOOP\r\n"))
    record[9] += 6
    return bytes(record)


HOSTILE = (
    ("a changed octet of the text", flipped(30)), ("a changed octet of the checksum", flipped(-1)),
    ("a changed flag", flipped(6)), ("a changed number", flipped(19)), ("a changed count of filling", shorter),
    ("a replayed record", replayed), ("two records in the wrong order", swapped), ("a record left out", missing),
    ("a token of the other layer", other_kind), ("a record longer than announced", oversized),
    ("a record cut short", truncated),
    ("a record of no octets", lambda layer: b"\0\0\0\0" + layer.record(b"QUIT\r\n")),
    ("a record of 4 GB", lambda layer: b"\xff\xff\xff\xff" + b"A" * 65536),
    ("a record of 16 MB", lambda layer: b"\1\0\0\0" + layer.record(b"QUIT\r\n")),
    ("a header of a token alone", lambda layer: b"\0\0\0\x10" + layer.record(b"QUIT\r\n")[4:20]),
    ("clear text", lambda layer: b"QUIT\r\n"),
)


@each("what the client did not make so ends the connection, nothing is deleted, and the log says why")
def hostile(server, kind):
    for sentence, make in HOSTILE:
        user = server.user(MAIL)
        before = len(server.log_text())
        with log_in(server, user, kind) as client:
            client.expect("DELE 1", "+OK")
            with contextlib.suppress(ConnectionError):
                client.sock.raw.sendall(make(client.sock))
            with contextlib.suppress(ConnectionError):
                raw_closed(client)
        wait_for(lambda: re.search(rf'closed .*user={user} .*why="security layer: ', server.log_text()[before:]),
                 f"{sentence}: the log says why")
        assert server.stored(user) == [MAIL], sentence


@each("nothing is deleted when the connection ends inside or between records")
def ends(server, kind):
    for sentence, pieces in (("between two records", 0), ("in a length", 2), ("behind a length", 4), ("in a token", 30)):
        user = server.user(MAIL)
        before = len(server.log_text())
        with log_in(server, user, kind) as client:
            client.expect("DELE 1", "+OK")
            client.sock.raw.sendall(client.sock.record(b"QUIT\r\n")[:pieces])
            client.sock.raw.shutdown(socket.SHUT_WR)
            raw_closed(client)
        wait_for(lambda: f"user={user} auth=GSSAPI" in server.log_text()[before:], "the session is over")
        assert ("in the middle of a record" in server.log_text()[before:]) == (pieces > 0), sentence
        assert server.stored(user) == [MAIL], sentence


@each("the record that says QUIT counts, also when the client is gone, or rubbish comes behind it")
def quit_counts(server, kind):
    for behind in (b"", b"\0\0\0\0"):
        user = server.user(MAIL)
        client = log_in(server, user, kind)
        client.expect("DELE 1", "+OK")
        client.sock.raw.sendall(client.sock.record(b"QUIT\r\n") + behind)
        client.close()
        wait_for(lambda: server.stored(user) == [], "the letter is removed")


@each("a client that sends and does not read, and one that begins records, cost little memory")
def memory(server, kind):
    def resident():
        total = 0
        for pid, _ in server.family():
            with contextlib.suppress(OSError):
                total += sum(int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                             if line.startswith(("Private_Dirty", "Private_Clean")))
        return total
    letter = b"Subject: x\n\n" + b"0123456789abcdef\n" * 60000
    with log_in(server, server.user(letter), kind) as client:
        assert client.stat()[0] == 1
        before = resident()
        sent = 0
        while sent < 20000 and select.select([], [client.sock.raw], [], 1)[1]:
            with contextlib.suppress(BlockingIOError):
                client.sock.raw.send(client.sock.record(b"RETR 1\r\n"), socket.MSG_DONTWAIT)
            sent += 1
        grown = resident() - before
    limit = 60000 if harness.SANITIZED else 6000
    assert grown < limit, f"{grown} KiB more after {sent} records"


# --- the negotiation ---------------------------------------------------------------------------------

@harness.row("the offer follows what the client asked Kerberos for")
def offers():
    mutual, sequence, integrity, confidentiality = FLAGS
    for flags, want in ((FLAGS, 7), ([mutual, sequence, integrity], 3), (BARE, 1), ([integrity, confidentiality], 1),
                        ([mutual, integrity, confidentiality], 1)):
        with servers["shared"].pop3() as client:
            _, octets = offer(client, servers["shared"].user(), flags)
            size = ANNOUNCED if want != 1 else 0
            # MIT gives integrity and confidentiality whether they are asked for or not.
            assert octets[0] & ~want in (0, CONFIDENTIALITY) and octets[0] & want == want, (flags, octets)
            assert int.from_bytes(octets[1:], "big") == size, octets


@harness.row("inside TLS no layer is offered, and none can be chosen")
def tls():
    for server in (*servers.values(), private):
        for kind in ("POP3S", "STLS"):
            with server.connect(kind) as client:
                user = server.user(MAIL)
                context, octets = offer(client, user)
                assert octets == b"\1\0\0\0", octets
                assert choose(client, context, CONFIDENTIALITY).startswith(b"-ERR [AUTH]")
                log_in(server, user, NONE, client)
                assert client.stat()[0] == 1
                client.quit()


@harness.row("choices that are not there are refused")
def choices():
    server = servers["process"]
    for kind, size in ((0, 65535), (3, 65535), (6, 65535), (7, 65535), (8, 65535), (255, 65535), (2, 0), (4, 0), (2, 255), (4, 255)):
        with server.pop3() as client:
            context, _ = offer(client, server.user(MAIL))
            assert choose(client, context, kind, size).startswith(b"-ERR [AUTH]"), (kind, size)
            client.quit()


@harness.row("a site without \"none\" offers GSSAPI, and opens no maildrop in clear")
def required():
    user = private.user(MAIL)
    with private.pop3() as client:
        assert client.capabilities()["SASL"] == [b"GSSAPI"]
        context, octets = offer(client, user)
        assert octets == bytes([CONFIDENTIALITY]) + ANNOUNCED.to_bytes(3, "big")
        for kind in (NONE, INTEGRITY):
            assert choose(client, context, kind).startswith(b"-ERR [AUTH]")
            context, _ = offer(client, user)
        assert choose(client, context, CONFIDENTIALITY).startswith(b"+OK")
    before = len(private.log_text())
    with private.pop3() as client:
        os.environ["KRB5CCNAME"] = tickets[user]
        name = gssapi.Name("pop@localhost", gssapi.NameType.hostbased_service)
        context = gssapi.SecurityContext(name=name, usage="initiate", flags=BARE)
        assert client.challenge("AUTH GSSAPI") == b""
        client.expect(base64.b64encode(context.step()), "-ERR [AUTH]")
    wait_for(lambda: "layers that are allowed here; it needs TLS" in private.log_text()[before:], "the log says why")


# --- the wire ------------------------------------------------------------------------------------------

class Tap:
    """A proxy before a port that keeps what passes, both ways."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target = self.listener.getsockname()[1], port
        self.seen = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            other = {client: server, server: client}
            while True:
                for sock in select.select(list(other), [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    self.seen += data
                    other[sock].sendall(data)


def over_the_wire(kind, readable):
    server = servers["process"]
    user = server.user(MAIL)
    tap = Tap(server.pop3_port)
    with log_in(server, user, kind, pop3.Client(tap.port)) as client:
        assert client.raw_message("RETR 1") == MAIL.replace(b"\n", b"\r\n")
        client.expect("DELE 1", "+OK")
        client.expect("QUIT", "+OK")
    assert b"AUTH GSSAPI" in tap.seen
    for word in (b"canary", b"RETR", b"DELE", b"QUIT", b"octets follow"):
        assert (word in tap.seen) == readable or word == b"octets follow", (word, tap.seen)


harness.add_row("with confidentiality nothing of a session is readable on the wire", over_the_wire, CONFIDENTIALITY, False)
harness.add_row("with integrity it is", over_the_wire, INTEGRITY, True)


# --- clients -------------------------------------------------------------------------------------------

def pop3test(isolation, least, most, want):
    """Cyrus' test client; with these bounds of strength in bits it takes the best layer there is."""
    server = servers[isolation]
    user = server.user(MAIL)
    before = len(server.log_text())
    environ = {**realm.environ, "KRB5CCNAME": tickets[user]}
    master, slave = pty.openpty()  # it reads the commands from a terminal
    with subprocess.Popen(["/usr/lib/cyrus/bin/pop3test", "-m", "GSSAPI", "-u", user, "-a", user, "-k", str(least), "-l", str(most),
                           "-p", str(server.pop3_port), "localhost"], env=environ, stdin=slave,
                          stdout=slave, stderr=slave) as child:
        os.close(slave)
        seen, sent = b"", []
        steps = [(b"Security strength factor", b"RETR 1\n"), (b"canary\r\r\n.", b"DELE 1\n"), (b"marked", b"QUIT\n")]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([master], [], [], 1)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break
                if not data:
                    break
                seen += data
            if steps and steps[0][0] in seen:
                sent.append(steps[0][1])
                os.write(master, steps.pop(0)[1])
        os.close(master)
        child.kill()
    assert len(sent) == 3, seen
    wait_for(lambda: server.stored(user) == [], "the letter is fetched and removed")
    line = wait_for(lambda: re.search(rf"closed .*user={user} auth=GSSAPI(.*)", server.log_text()[before:]), "a line in the log")
    assert ('layer="' + want in line[1]) if want else ("layer=" not in line[1]), line[0]


for isolation in servers:
    harness.add_row(f"pop3test: confidentiality ({isolation})", pop3test, isolation, 56, 256, "confidentiality")
    harness.add_row(f"pop3test: integrity ({isolation})", pop3test, isolation, 1, 1, "integrity")
    harness.add_row(f"pop3test: no layer ({isolation})", pop3test, isolation, 0, 0, None)


@harness.row("nmh's inc takes confidentiality where nothing else is allowed")
def inc():
    home = harness.WORK / "home"
    (home / "Mail" / "inbox").mkdir(parents=True)
    (home / ".mh_profile").write_text(f"Path: {home}/Mail\n")
    user = private.user(b"From: bob@example.org\nDate: Thu, 1 Jan 2026 10:00:00 +0000\n" + MAIL)
    before = len(private.log_text())
    run("/usr/bin/mh/inc", "-host", "localhost", "-user", user, "-truncate", "-port", private.pop3_port, "-notls", "-sasl",
        "-saslmech", "GSSAPI", env={**realm.environ, "KRB5CCNAME": tickets[user], "HOME": str(home)})
    assert b"nobody else reads this canary" in (home / "Mail" / "inbox" / "1").read_bytes()
    wait_for(lambda: f'user={user} auth=GSSAPI layer="confidentiality' in private.log_text()[before:], "the log names the layer")


harness.main(*servers.values(), private)
