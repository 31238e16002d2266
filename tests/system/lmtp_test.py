#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Delivery by LMTP (RFC 2033): what is said, what is stored, and what must not happen whatever a client does."""
import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import harness
import lmtp
from harness import ROOT, SANITIZED, add_row, row, run, wait_for

realm = harness.Realm()
MESSAGE = b"From: a@example.net\r\nSubject: x\r\n\r\nOne line.\r\n"
STORED = MESSAGE.replace(b"\r\n", b"\n")


# What kpopd.service leaves to root: no rights over files of others but to read, write and give them away.
UNIT = ("setpriv", "--bounding-set", "-all,+setuid,+setgid,+sys_chroot,+chown,+dac_override,+kill,+net_bind_service,+sys_ptrace")


def make(mount=None, owner="", **options):
    """A server with both ways in; mount: the size of a file system for the mail; owner: whose socket it is."""
    made = harness.Server(realm, users=8, start=False, **options)
    made.path = made.dir / "lmtp.sock"
    made.lmtp_port = harness.free_ports(1)[0]
    made.sections = (
        f"listener local {{ protocol = lmtp path = '{made.path}' path_mode = '0600' {owner} }}\n"
        f"listener loop {{ protocol = lmtp addresses = {{'127.0.0.1'}} port = {made.lmtp_port} }}\n"
        "class small { users = {'u6'} quota_octets = 1000 }\n"
        "class few { users = {'u7'} quota_messages = 1 }\n")
    made.write_conf()
    if mount:
        run("mount", "-t", "tmpfs", "-o", f"size={mount},mode=700", "kpopd-test", made.mail_root)
        harness.atexit.register(run, "umount", "-l", made.mail_root, check=False)
        made.own(made.mail_root)
    made.start()
    for user in made.users:
        empty(made, user)
    return made


def empty(which, user):
    """A maildrop with nothing in it."""
    which.deliver(user, b"x\n").unlink()
    for path in [*(which.maildir(user) / "new").iterdir(), *(which.maildir(user) / "cur").iterdir()]:
        path.unlink()
    return user


server = make(message_octets="64K", recipient_delimiter="+")
strict = make(lmtp_idle_secs=2, lmtp_sessions=2, quota_full="permanent", lmtp_unknown="create", recipient_delimiter="+-",
              **({"owner": "path_owner = nobody", "wrapper": UNIT} if ROOT else {}))


def connect(which=server):
    return lmtp.Client(which.path).hello()


def fields(recipient, sender="sender@example.net"):
    return f"Return-Path: <{sender}>\nDelivered-To: {recipient}\n".encode()


def left_in_tmp(which):
    return [path for path in which.mail_root.glob("*/Maildir/tmp/*")]


# --- what should be -------------------------------------------------------------------------------

@row("the greeting and LHLO say what RFC 2033 asks for")
def greets():
    with lmtp.Client(server.path) as client:
        assert client.greeting == b"220 localhost LMTP kpopd", client.greeting
        lines = client.command("LHLO test.example").split(b"\r\n")
        assert lines == [b"250-localhost", b"250-PIPELINING", b"250-ENHANCEDSTATUSCODES", b"250-8BITMIME",
                         b"250 SIZE 65536"], lines
        client.expect("QUIT", "221 2.0.0 ")
        assert client.reply() == b""


def delivers(place):
    user = empty(server, "u0")
    with lmtp.Client(place).hello() as client:
        assert client.deliver(MESSAGE, user)[0].startswith(b"250 2.1.5 <u0> ")
        assert client.deliver(b"..\r\n.x\r\n", user, sender="")[0].startswith(b"250 2.1.5 ")
    assert server.stored(user) == sorted([fields(user) + STORED, fields(user, "") + b"..\n.x\n"])
    assert not left_in_tmp(server)
    with server.logged_in(user) as pop:
        assert pop.raw_message("RETR 1") == (fields(user) + STORED).replace(b"\n", b"\r\n")
        pop.expect("DELE 1", "+OK")
        pop.expect("DELE 2", "+OK")
        pop.expect("QUIT", "+OK")
    assert server.stored(user) == []


add_row("a message over the Unix socket is stored, and fetched by POP3", delivers, server.path)
add_row("a message over TCP on loopback, too", delivers, ("127.0.0.1", server.lmtp_port))


@row("each recipient has a status of his own, and one over quota harms nobody")
def recipients():
    for user in ("u1", "u2", "u6", "u7"):
        empty(server, user)
    server.deliver("u7", b"x\n")
    with connect() as client:
        client.expect("MAIL FROM:<s@example.net>", "250 2.1.0 ")
        client.expect("RCPT TO:<u1>", "250 2.1.5 ")
        client.expect("RCPT TO:<nobody>", "550 5.1.1 ")
        client.expect("RCPT TO:<u7>", "452 4.2.2 ")
        client.expect("RCPT TO:<u6>", "250 2.1.5 ")
        client.expect("RCPT TO:<u2>", "250 2.1.5 ")
        server.deliver("u6", b"x" * 990)
        answers = client.data(MESSAGE + b".\r\n", 3)
        assert [answer[:9] for answer in answers] == [b"250 2.1.5", b"452 4.2.2", b"250 2.1.5"], answers
        client.expect("NOOP", "250 2.0.0 ")
    assert server.stored("u1") == [fields("u1", "s@example.net") + STORED]
    assert server.stored("u2") == [fields("u2", "s@example.net") + STORED]
    assert len(server.stored("u6")) == len(server.stored("u7")) == 1
    assert not left_in_tmp(server)


@row("a message that a quota can never hold is refused for good, and a SIZE that says so before it comes")
def larger_than_quota():
    empty(server, "u6")
    with connect() as client:
        client.expect("MAIL FROM:<> SIZE=1001", "250 ")
        client.expect("RCPT TO:<u6>", "552 5.2.3 ")
        client.expect("RSET", "250 2.0.0 ")
        client.begin("u6")
        assert client.data(b"x" * 1000 + b"\r\n.\r\n")[0].startswith(b"552 5.2.3 ")
    assert server.stored("u6") == []


@row("quota_full = permanent: a message over quota is refused for good; lmtp_unknown = create makes maildrops")
def permanent():
    empty(strict, "u7")
    with connect(strict) as client:
        client.deliver(MESSAGE, "u7")
        client.expect("MAIL FROM:<>", "250 ")
        client.expect("RCPT TO:<u7>", "552 5.2.2 ")
        client.expect("RCPT TO:<new.one>", "250 ")
        assert not strict.maildir("new.one").exists()
        assert client.data(MESSAGE + b".\r\n")[0].startswith(b"250 ")
        client.expect("MAIL FROM:<>", "250 ")
        client.expect("RCPT TO:<../../etc>", "550 5.1.1 ")
        client.expect("RCPT TO:<\"a/b\"@x>", "550 5.1.1 ")
    assert strict.stored("new.one") == [fields("new.one", "") + STORED]
    assert strict.maildir("new.one").stat().st_mode & 0o777 == 0o700


@row("a recipient is found by all names he logs in with; Delivered-To is as it was given")
def names():
    empty(server, "u3")
    with connect() as client:
        assert client.deliver(MESSAGE, '"u3"')[0].startswith(b"250 ")
    assert server.stored("u3") == [fields('"u3"') + STORED]


@row("an extension is no part of a name, unless there is a user of that name")
def extensions():
    for user in ("u1", "u2", "u2+own"):
        empty(server, user)
    with connect() as client:
        client.begin("u1+lists+more", "u2+own", "u2+other", sender="")
        client.expect("RCPT TO:<nobody+x>", "550 5.1.1 ")
        client.expect("RCPT TO:<+x>", "550 5.1.1 ")
        client.expect("RCPT TO:<u1-x>", "550 5.1.1 ")
        assert [answer[:4] for answer in client.data(MESSAGE + b".\r\n", 3)] == [b"250 "] * 3
    assert server.stored("u1") == [fields("u1+lists+more", "") + STORED]
    assert server.stored("u2+own") == [fields("u2+own", "") + STORED]
    assert server.stored("u2") == [fields("u2+other", "") + STORED]
    with connect(strict) as client:
        client.deliver(MESSAGE, "brand-new+x")
    assert strict.maildir("brand").exists() and not strict.maildir("brand-new").exists()


@row("the same recipient twice is delivered to twice, as he was accepted twice")
def twice():
    empty(server, "u3")
    with connect() as client:
        assert len(client.deliver(MESSAGE, "u3", "u3")) == 2
    assert len(server.stored("u3")) == 2


@row("everything at once: two transactions and QUIT, replies in order")
def pipelined():
    empty(server, "u4")
    with lmtp.Client(server.path) as client:
        part = b"MAIL FROM:<>\r\nRCPT TO:<u4>\r\nDATA\r\n" + MESSAGE + b".\r\n"
        client.send(b"LHLO x\r\n" + part + b"NOOP\r\n" + part + b"QUIT\r\n")
        codes = [client.reply()[:3] for _ in range(11)]
        assert codes == [b"250", b"250", b"250", b"354", b"250", b"250", b"250", b"250", b"354", b"250", b"221"], codes
        assert client.reply() == b""
    assert len(server.stored("u4")) == 2


ORDERS = [
    ("MAIL before LHLO", ["MAIL FROM:<>"], "503 5.5.1"),
    ("RCPT before MAIL", ["LHLO x", "RCPT TO:<u0>"], "503 5.5.1"),
    ("DATA before MAIL", ["LHLO x", "DATA"], "503 5.5.1"),
    ("DATA before RCPT", ["LHLO x", "MAIL FROM:<>", "DATA"], "503 5.5.1"),
    ("DATA when no recipient was taken", ["LHLO x", "MAIL FROM:<>", "RCPT TO:<nobody>", "DATA"], "503 5.5.1"),
    ("MAIL twice", ["LHLO x", "MAIL FROM:<>", "MAIL FROM:<>"], "503 5.5.1"),
    ("RCPT after RSET", ["LHLO x", "MAIL FROM:<>", "RSET", "RCPT TO:<u0>"], "503 5.5.1"),
    ("RCPT after another LHLO", ["LHLO x", "MAIL FROM:<>", "LHLO x", "RCPT TO:<u0>"], "503 5.5.1"),
    ("HELO", ["HELO x"], "500 5.5.1"),
    ("EHLO", ["EHLO x"], "500 5.5.1"),
    ("STARTTLS was not offered", ["LHLO x", "STARTTLS"], "500 5.5.1"),
    ("BDAT was not offered", ["LHLO x", "MAIL FROM:<>", "RCPT TO:<u0>", "BDAT 3 LAST"], "500 5.5.1"),
    ("an empty line", [""], "500 5.5.1"),
    ("VRFY tells nothing", ["VRFY u0"], "252 2.5.2"),
    ("EXPN", ["EXPN u0"], "502 5.5.1"),
    ("HELP", ["HELP"], "214 2.0.0"),
    ("NOOP before LHLO", ["NOOP"], "250 2.0.0"),
    ("a size that is more than message_octets", ["LHLO x", "MAIL FROM:<> SIZE=65537"], "552 5.3.4"),
    ("a size that is not", ["LHLO x", "MAIL FROM:<> SIZE=65536"], "250 2.1.0"),
    ("the largest number", ["LHLO x", "MAIL FROM:<> SIZE=99999999999999999999"], "552 5.3.4"),
    ("a parameter that was not offered", ["LHLO x", "MAIL FROM:<> SMTPUTF8"], "555 5.5.4"),
    ("BODY", ["LHLO x", "MAIL FROM:<a@b> BODY=8BITMIME"], "250 2.1.0"),
    ("a sender that is none", ["LHLO x", "MAIL FROM:a@b"], "501 5.1.7"),
    ("a recipient that is none", ["LHLO x", "MAIL FROM:<>", "RCPT TO:<>"], "501 5.1.3"),
    ("octets that no command has", ["NOOP \xff"], "500 5.5.2"),
    ("a NUL", ["NOOP \0"], "500 5.5.2"),
]


@row("every command in its order and out of it")
def orders():
    for sentence, lines, want in ORDERS:
        with lmtp.Client(server.path) as client:
            for line in lines[:-1]:
                client.command(line)
            answer = client.command(lines[-1])
            assert answer.startswith(want.encode()), f"{sentence}: {answer}"
            client.expect("QUIT", "221")


@row("lines of every length around the bound, and a line feed by itself")
def lines_():
    with lmtp.Client(server.path) as client:
        for length in range(2040, 2056):
            answer = client.command("NOOP " + "x" * (length - 7))
            assert answer.startswith(b"250" if length <= 2048 else b"500 5.5.2"), (length, answer)
        assert client.command("NOOP " + "x" * 300000).startswith(b"500 5.5.2")
        client.send(b"NOOP\n")
        assert client.reply().startswith(b"500 5.5.2")
        client.expect("NOOP", "250")


@row("a client that only makes errors is closed")
def errors():
    with lmtp.Client(server.path) as client:
        client.send(b"GET / HTTP/1.1\r\n" * 30)
        replies = [client.reply() for _ in range(21)]
        assert replies[-1].startswith(b"421 4.7.0 "), replies[-1]
        assert client.reply() == b""


# --- the data -------------------------------------------------------------------------------------

SMUGGLED = b"\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<u5>\r\nDATA\r\nevil\r\n"


@row("only CRLF . CRLF ends the data: no other end lets a second message through")
def smuggling():
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n", b"\n\r.\r\n", b"\0\r\n.\0\r\n"):
        empty(server, "u5")
        with connect() as client:
            client.begin("u5")
            answers = client.data(b"x" + end + SMUGGLED + b".\r\n")
            assert answers[0].startswith(b"250 "), answers
            client.expect("NOOP", "250 2.0.0 still")
        stored = server.stored("u5")
        assert len(stored) == 1, (end, stored)
        assert b"evil@example.net" in stored[0] and stored[0].count(b"Return-Path") == 1


@row("all octets are stored as they come, and a line may be long")
def octets():
    body = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"y" * 50000
    empty(server, "u5")
    with connect() as client:
        client.begin("u5")
        assert client.data(b"\r\n" + body + b"\r\n.\r\n")[0].startswith(b"250 ")
    assert server.stored("u5") == [fields("u5") + b"\n" + body + b"\n"]


@row("a message of exactly message_octets is taken, one of one octet more is not, and the next one is")
def sizes():
    empty(server, "u5")
    with connect() as client:
        for extra, want in ((0, b"250 "), (1, b"552 5.3.4 "), (5_000_000, b"552 5.3.4 "), (0, b"250 ")):
            client.begin("u5")
            assert client.data(b"x" * (65534 + extra) + b"\r\n.\r\n")[0].startswith(want)
    assert len(server.stored("u5")) == 2


@row("a thousand recipients: as many as promised are taken, the others may come later")
def thousand():
    empty(server, "u0")
    with connect() as client:
        client.send(b"MAIL FROM:<>\r\n" + b"RCPT TO:<u0>\r\n" * 210 + b"RCPT TO:<nobody>\r\n" * 790)
        assert client.reply().startswith(b"250 ")
        answers = [client.reply()[:9] for _ in range(1000)]
        assert answers[:200] == [b"250 2.1.5"] * 200
        assert set(answers[200:]) == {b"452 4.5.3"}
        answers = client.data(b"x\r\n.\r\n", 200)
        assert all(answer.startswith(b"250 ") for answer in answers)
    assert len(server.stored("u0")) == 200
    empty(server, "u0")


@row("a client that goes away in the middle leaves nothing behind")
def aborts():
    empty(server, "u5")
    for piece in (b"", b"half a line", b"a line\r\n", b"a line\r\n.", b"a line\r\n.\r"):
        with connect() as client:
            client.begin("u5")
            client.expect("DATA", "354")
            client.send(piece)
    for reset in (True, False):
        client = connect()
        client.begin("u5")
        client.send(b"DATA\r\nwho does not wait for the answer\r\n.\r\n")
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    # What was complete may be there or not; what was not, is not.
    time.sleep(1)
    assert set(server.stored("u5")) <= {fields("u5") + b"who does not wait for the answer\n"}
    assert not left_in_tmp(server)


# --- time and number ------------------------------------------------------------------------------

@row("whoever is silent, or slow, is told so and closed")
def timeouts():
    waiting = [b"", b"LHLO x\r\n", b"NOOP x", b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<u1>\r\nDATA\r\nx\r\n"]
    for said in waiting:
        with lmtp.Client(strict.path) as client:
            client.send(said)
            began = time.monotonic()
            last = b""
            while answer := client.reply():
                last = answer
            assert last.startswith(b"421 4.4.2 "), (said, last)
            assert time.monotonic() - began > 1.5
    with lmtp.Client(strict.path) as client:
        with contextlib.suppress(OSError):
            for _ in range(200):
                client.send(b"N")
                time.sleep(0.05)
                if client.socket.recv(100, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    break
        assert client.reply().startswith(b"421 4.4.2 ")


@row("more connections than lmtp_sessions wait, and are served then")
def crowd():
    first, second = connect(strict), connect(strict)
    third = lmtp.Client(strict.path, greeting=False)
    third.socket.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        assert not third.socket.recv(1)
    first.close()
    third.socket.settimeout(harness.WAIT_SECS)
    third.file.close()
    third.file = third.socket.makefile("rb")
    assert third.reply().startswith(b"220 ")
    second.close()
    third.close()


def anonymous_octets(which):
    """Memory of all lmtp processes that is theirs alone, without code."""
    total = 0
    for pid, _ in which.family():
        if harness.comm(pid) == "kpopd-lmtp":
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(("RssAnon:", "RssShmem:")):
                        total += int(line.split()[1]) * 1024
    return total


@row("fifty connections of garbage cost bounded memory, and others are served meanwhile")
def garbage():
    rng = random.Random(5)
    clients = [lmtp.Client(server.path, greeting=False) for _ in range(50)]
    kinds = [rng.randbytes(65536), b"NOOP\r\n" * 10000, b"x" * 65536, b"\r\n" * 30000,
             b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<u1>\r\nDATA\r\n" + b"y" * 60000]
    for number, client in enumerate(clients):
        client.socket.settimeout(0.02)
        with contextlib.suppress(OSError):
            for _ in range(40):
                client.send(kinds[number % len(kinds)])
    most = anonymous_octets(server)
    for client in clients:
        client.close()
    assert SANITIZED or most < 30 << 20, most
    empty(server, "u2")
    with connect() as client:
        assert client.deliver(MESSAGE, "u2")[0].startswith(b"250 ")
    assert len(server.stored("u2")) == 1


# --- the socket, and a reload ---------------------------------------------------------------------

@row("the socket has the mode that was configured, and a reload changes it without closing it")
def reload_():
    assert server.path.stat().st_mode & 0o777 == 0o600
    inode = server.path.stat().st_ino
    idle = connect()
    busy = connect()
    busy.begin("u1")
    server.sections = server.sections.replace("'0600'", "'0620'")
    server.write_conf()
    server.reload()
    assert server.path.stat().st_mode & 0o777 == 0o620
    assert server.path.stat().st_ino == inode
    assert idle.reply().startswith(b"421 4.3.2 ")
    assert busy.data(MESSAGE + b".\r\n")[0].startswith(b"250 ")
    assert busy.reply().startswith(b"421 4.3.2 ")
    idle.close()
    busy.close()
    connect().close()
    server.path.unlink()
    server.reload()
    connect().close()


if ROOT:
    @row("root with the rights of kpopd.service gives the socket away, and changes it later")
    def owner():
        assert (strict.path.stat().st_uid, strict.path.stat().st_mode & 0o777) == (65534, 0o600)
        strict.sections = strict.sections.replace("'0600'", "'0660'")
        strict.write_conf()
        strict.reload()
        assert (strict.path.stat().st_uid, strict.path.stat().st_mode & 0o777) == (65534, 0o660)
        connect(strict).close()


@row("a socket file that was left behind gives way; anything else that is there does not")
def left_over():
    path = strict.dir / "other.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    sections = strict.sections
    try:
        strict.sections = sections + f"listener other {{ protocol = lmtp path = '{path}' }}\n"
        strict.write_conf()
        strict.reload()
        lmtp.Client(path).close()
        strict.sections = sections
        strict.write_conf()
        strict.reload()
        assert not path.exists()
        path.write_text("mine")
        strict.sections = sections + f"listener other {{ protocol = lmtp path = '{path}' }}\n"
        strict.write_conf()
        assert "something is there already" in strict.reload("stays as it was")
        assert path.read_text() == "mine"
    finally:
        strict.sections = sections
        strict.write_conf()
        strict.reload()


@row("a socket may not lie where everybody may write")
def open_folder():
    folder = strict.dir / "open"
    folder.mkdir()
    folder.chmod(0o1777)
    sections = strict.sections
    strict.sections += f"listener other {{ protocol = lmtp path = '{folder}/x' }}\n"
    strict.write_conf()
    assert "anybody may write to that directory" in strict.reload("stays as it was")
    strict.sections = sections
    strict.write_conf()


if ROOT:
    @row("whoever may not write to the socket cannot deliver")
    def closed():
        script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ntry:\n s.connect(sys.argv[1])\n"
                  "except PermissionError:\n sys.exit(7)\n")
        result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script,
                                 server.path], check=False)
        assert result.returncode == 7


# --- trouble --------------------------------------------------------------------------------------

if ROOT:
    tight = make(mount="3m", message_octets="4M")

    @row("a full disk: tried again later, nothing left behind, and then there is room")
    def full_disk():
        with connect(tight) as client:
            (tight.mail_root / "filler").write_bytes(b"x" * (2 << 20))
            answers = client.deliver(b"y" * (1 << 20) + b"\r\n", "u0", "u1")
            assert [answer[:9] for answer in answers] == [b"451 4.3.0"] * 2, answers
            assert tight.stored("u0") == tight.stored("u1") == [] and not left_in_tmp(tight)
            assert client.deliver(MESSAGE, "u0")[0].startswith(b"250 ")
            (tight.mail_root / "filler").unlink()
            assert client.deliver(b"y" * (1 << 20) + b"\r\n", "u1")[0].startswith(b"250 ")

    @row("a file system that cannot be written: tried again later")
    def read_only():
        run("mount", "-o", "remount,ro", tight.mail_root)
        try:
            with connect(tight) as client:
                assert client.deliver(MESSAGE, "u2")[0].startswith(b"451 4.3.0 ")
        finally:
            run("mount", "-o", "remount,rw", tight.mail_root)
        assert tight.stored("u2") == []

    def failing_disk(calls):
        empty(tight, "u3")
        with harness.failing(tight, "kpopd-deliverer", calls, "EIO"):
            with connect(tight) as client:
                client.expect("MAIL FROM:<>", "250 ")
                answer = client.command("RCPT TO:<u3>")
                if answer.startswith(b"250 "):
                    answer = client.data(MESSAGE + b".\r\n")[0]
                assert answer.startswith(b"451 4.3.0 "), answer
        assert tight.stored("u3") == []

    if not SANITIZED:
        for calls_ in ("fsync", "write", "renameat2", "openat2"):
            add_row(f"a disk whose {calls_} fails: not told 250, and nothing is left", failing_disk, calls_)


@row("mail in mbox files: delivered, counted by quotas and fetched")
def mbox():
    boxes = harness.Server(realm, users=2, start=False, spool="%u", maildir=None, lmtp_unknown="create", quota_octets="1K")
    path = boxes.dir / "lmtp.sock"
    boxes.sections = f"listener local {{ protocol = lmtp path = '{path}' path_mode = '0600' }}\n"
    boxes.write_conf()
    boxes.start()
    with lmtp.Client(path).hello() as client:
        for _ in range(2):
            assert client.deliver(MESSAGE + b"." * 200 + b"\r\n", "u0")[0].startswith(b"250 ")
        client.expect("MAIL FROM:<> SIZE=600", "250 ")
        client.expect("RCPT TO:<u0>", "452 4.2.2 ")
        client.expect("RCPT TO:<u1>", "250 ")
    with boxes.logged_in("u0") as pop:
        want = (fields("u0") + STORED + b"." * 200 + b"\n").replace(b"\n", b"\r\n")
        assert pop.raw_message("RETR 1") == want == pop.raw_message("RETR 2")
        pop.expect("DELE 1", "+OK")
        pop.expect("QUIT", "+OK")
    with lmtp.Client(path).hello() as client:
        assert client.deliver(MESSAGE, "u0")[0].startswith(b"250 ")
    assert boxes.stop() == 0 and not harness.complaints([boxes])


def numbered(number):
    return b"Subject: %d\r\n\r\n" % number + b"z" * 20000 + b"\r\n"


def deliver_for(which, told, numbers, until):
    """Until then, message after message; whatever was answered with 250 is told."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, AssertionError):
            with connect(which) as client:
                while time.monotonic() < until:
                    number = next(numbers)
                    if client.deliver(numbered(number), "u4")[0].startswith(b"250 "):
                        told.add(number)


@row("processes that are killed at any time: what was answered with 250 is there, and nothing is there in part")
def killed():
    secs = 6
    empty(server, "u4")
    told, lock, count = set(), threading.Lock(), [0]

    def numbers():
        while True:
            with lock:
                count[0] += 1
                number = count[0]
            yield number
    until = time.monotonic() + secs
    threads = [threading.Thread(target=deliver_for, args=(server, told, numbers(), until)) for _ in range(4)]
    for thread in threads:
        thread.start()
    kills = 0
    while time.monotonic() < until:
        victims = [pid for pid, _ in server.family() if harness.comm(pid) in ("kpopd-lmtp", "kpopd-deliverer")]
        if victims:
            with contextlib.suppress(OSError):
                os.kill(random.choice(victims), signal.SIGKILL)
                kills += 1
        time.sleep(random.random() * 0.05)
    for thread in threads:
        thread.join()
    wait_for(lambda: connect_quietly(server), "served again")
    stored = server.stored("u4")
    whole = {fields("u4") + numbered(n).replace(b"\r\n", b"\n"): n for n in range(count[0] + 1)}
    assert all(message in whole for message in stored), "a message in part"
    there = {whole[message] for message in stored}
    print(f"# {kills} kills, {count[0]} messages, {len(told)} told, {len(there)} there")
    assert told and told <= there, sorted(told - there)[:5]
    empty(server, "u4")


def connect_quietly(which):
    with contextlib.suppress(OSError, AssertionError):
        connect(which).close()
        return True
    return False


harness.main(server, strict, *([tight] if ROOT else []))
