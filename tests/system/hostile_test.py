#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A front that was taken over: what it can say to auth, store and master with the descriptors it has.

The test borrows those descriptors from a real front (pidfd_getfd(2)), so nothing about the other side is
made up. Needs root.
"""
import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import select
import signal
import socket
import struct
import sys
import tempfile
import time

import harness
from harness import PASSWORD, wait_for

if not harness.ROOT:
    print("1..0 # SKIP only root can borrow the descriptors of another process")
    sys.exit(0)

realm = harness.Realm()
servers = {name: harness.Server(realm, users=12, isolation=name, auth_processes=1, password_processes=1, store_processes=1)
           for name in ("process", "shared")}
# Messages by number, as the header has them.
TYPES = re.search(r"enum msg_type {(.*?)};", (harness.TOP / "server/msg.h").read_text(), re.S).group(1).split(",")
TYPES = {name.split("=")[0].strip(): number for number, name in enumerate(TYPES)}
(START, STEP, MORE, DONE, FAIL, OPEN, OPENED, REFUSED, LIST, LISTED, FETCH, MESSAGE, COMMIT, COMMITTED, READY, TAKEN,
 RETIRE) = (TYPES["MSG_" + name] for name in (
     "FRONT_START", "FRONT_STEP", "AUTH_MORE", "AUTH_DONE", "AUTH_FAIL", "AUTH_OPEN", "STORE_OPENED", "STORE_REFUSED",
     "FRONT_LIST", "STORE_LISTED", "FRONT_FETCH", "STORE_MESSAGE", "FRONT_COMMIT", "STORE_COMMITTED", "CHILD_READY",
     "CHILD_TAKEN", "PARENT_RETIRE"))
USERPASS, APOP, KPOP = 0xF0, 0xF1, 0xF2
ONE, TWO = b"Subject: one\n\nfirst\n", b"Subject: two\n\nsecond\n"
SYS_PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)


def both(sentence):
    """A row for each isolation."""
    def mark(function):
        for name, one in servers.items():
            harness.add_row(f"{sentence} (isolation = {name})", function, one)
        return function
    return mark


# --- what a front has, and what it could do with it -----------------------------------------------

comm = harness.comm


def processes(server, name):
    return [pid for pid, _ in server.family() if harness.alive(pid) and comm(pid) == name]


def sockets(pid):
    """The message sockets of a process, in the order of their numbers, by inode."""
    pidfd = os.pidfd_open(pid)
    found = {}
    for fd in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
        inode = os.readlink(f"/proc/{pid}/fd/{fd}")
        copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0) if inode.startswith("socket:") else -1
        if copy < 0:
            continue
        sock = socket.socket(fileno=copy)
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET:
            found[inode] = sock
    os.close(pidfd)
    return found


def a_front(server):
    """One that has no client just now; with a process for each session, one of those that wait for theirs."""
    parents = dict(server.family())
    return max((pid for pid in parents if harness.alive(pid) and comm(pid) == "kpopd-front"),
               key=lambda pid: (parents[pid] != server.process.pid, pid))


def doors(server):
    """What a front says START through: the doors of token and password mechanisms. Master keeps them, too."""
    masters = {os.readlink(f"/proc/{server.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.process.pid}/fd")}
    return [sock for inode, sock in sockets(a_front(server)).items() if inode in masters]


def leash_of(pid, server):
    masters = {os.readlink(f"/proc/{server.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.process.pid}/fd")}
    found = [sock for inode, sock in sockets(pid).items() if inode not in masters]
    assert len(found) == 1, found
    return found[0]


def frame(kind, body=b"", zero=0, length=None):
    return struct.pack("=HHI", kind, zero, len(body) if length is None else length) + body


def start_body(mechanism, initial=None, protocol=0, tls=1, bindings=b"\0\0"):
    """bindings: bits of those offered, how many follow, and for each its type, its length and its octets."""
    peer = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1]) + struct.pack("=H", 1)
    has = initial is not None
    return struct.pack("=QBBBB", 4711, protocol, tls, mechanism, has) + peer + bindings + (initial or b"")


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def put(sock, data, *fds, secs=10):
    """Sends when there is room: others use the door, too."""
    sock.setblocking(False)
    end = time.monotonic() + secs
    while True:
        try:
            socket.send_fds(sock, [data], list(fds))
            return
        except BlockingIOError:
            assert time.monotonic() < end, "no room on the door"
            time.sleep(0.002)


def get(sock, secs=10):
    """(type, body, descriptor or None), or None at the end of file."""
    assert select.select([sock], [], [], secs)[0], "no answer"
    data, fds, _, _ = socket.recv_fds(sock, 1 << 18, 8)
    if not data:
        return None
    kind, _, length = struct.unpack("=HHI", data[:8])
    assert length == len(data) - 8
    return kind, data[8:], fds[0] if fds else None


def converse(door, body, *steps):
    """Starts a conversation and takes its steps; the last answer."""
    ours, theirs = pair()
    put(door, frame(START, body), theirs.fileno())
    theirs.close()
    for step in steps:
        answer = get(ours)
        assert answer and answer[0] == MORE, answer
        put(ours, frame(STEP, step))
    with ours:
        return get(ours)


def maildrop(server, user):
    """The maildrop of somebody who gave the front his password, and what the store said first."""
    token, password = doors(server)
    end = time.monotonic() + 10
    while True:
        answer = converse(password, start_body(USERPASS, f"{user}\0{PASSWORD}".encode()))
        # No layer, then the name behind its length.
        assert answer[0] == DONE and answer[1] == struct.pack("=BH", 0, len(user)) + user.encode(), answer
        sock = socket.socket(fileno=answer[2])
        first = get(sock)
        if first[0] == OPENED:
            return sock, first
        sock.close()
        assert time.monotonic() < end, first
        time.sleep(0.05)


def warm(server):
    """What is opened at first use is open now."""
    for user in server.users:
        server.deliver(user, ONE)
        log_in(server, user)
        with server.pop3() as client:
            assert client.auth_apop(user, PASSWORD).startswith(b"+OK")
            client.quit()


def servants(server):
    """The processes that must outlive any front's misdeeds, with how many descriptors each has."""
    found = {}
    for pid, parent in server.family():
        if parent == server.process.pid and comm(pid) != "kpopd-front":
            found[pid] = len(os.listdir(f"/proc/{pid}/fd"))
    return found


def log_in(server, user):
    began = time.monotonic()
    with server.logged_in(user) as client:
        client.quit()
    return time.monotonic() - began


def unharmed(server, before):
    """Nobody died, nothing leaked, and others are served."""
    assert log_in(server, server.user()) < 5
    wait_for(lambda: servants(server) == before, f"{before}, but now {servants(server)}", 5)


# --- the doors ------------------------------------------------------------------------------------

@both("datagrams outside the table, of every length, on both doors of auth harm nobody")
def garbage(server):
    before = servants(server)
    for door in doors(server):
        for length in [*range(0, 64), 255, 4096, 65535, 65536 + 32, 65536 + 33, 131072, 140000]:
            data = os.urandom(length)
            if data:
                put(door, data)
            put(door, frame(START, data))
            ours, theirs = pair()
            put(door, frame(START, data), theirs.fileno())
            theirs.close()
            ours.close()
        for kind in range(0, len(TYPES) + 1):
            put(door, frame(kind, bytes(32)))
            ours, theirs = pair()
            put(door, frame(kind, bytes(32)), theirs.fileno())
            theirs.close()
            ours.close()
    unharmed(server, before)


@both("a START that is not sound ends that conversation and no other")
def unsound(server):
    before = servants(server)
    token, password = doors(server)
    sound = start_body(APOP)
    rows = [(token, start_body(APOP, protocol=3)), (token, start_body(APOP, tls=2)), 
            (token, start_body(APOP, bindings=b"\1\1")), (token, start_body(APOP, bindings=b"\1\1\0\x20x")),
            (token, start_body(APOP, bindings=b"\1\1\3\1x")), (token, start_body(APOP, bindings=b"\1\1\0\x41" + bytes(65))),
            (token, start_body(APOP, bindings=b"\7\4" + b"\0\1x" * 4)),
            (token, start_body(99)), (token, start_body(0xFF)), (token, start_body(USERPASS, b"a\0b")),
            (password, sound), (password, start_body(KPOP, b"x")), (password, start_body(0)),
            (token, sound[:11] + b"\2" + sound[12:])]
    for door, body in rows:
        assert converse(door, body) is None, body
    answer = converse(token, sound, b"nobody\0" + b"0" * 32)
    assert answer[0] == FAIL, answer
    unharmed(server, before)


@both("a descriptor that is no message socket gets a conversation nowhere")
def wrong_descriptors(server):
    before = servants(server)
    token, password = doors(server)
    stream = socket.socketpair()
    datagram = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    regular = tempfile.TemporaryFile()
    pipe = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    epoll = select.epoll()
    directory = os.open("/", os.O_RDONLY)
    files = [stream[0].fileno(), datagram[0].fileno(), listener.fileno(), client.fileno(), regular.fileno(), *pipe, null,
             epoll.fileno(), directory, token.fileno(), password.fileno()]
    userpass = start_body(USERPASS, f"{server.users[0]}\0{PASSWORD}".encode())
    for fd in files:
        for _ in range(3):
            put(token, frame(START, start_body(APOP)), fd)
            put(password, frame(START, userpass), fd)
    stream[1].sendall(os.urandom(100000)[:1000])
    datagram[1].send(frame(STEP, b"x"))
    client.close()
    for fd in [*pipe, null, directory]:
        os.close(fd)
    for thing in [*stream, *datagram, listener, regular, epoll, token, password]:
        thing.close()
    unharmed(server, before)


@both("many descriptors in one message are refused, and none stays open")
def many_descriptors(server):
    before = servants(server)
    both_doors = doors(server)
    ours, theirs = pair()
    for door in both_doors:
        for count in (2, 3, 10, 253):
            put(door, frame(START, start_body(APOP)), *[theirs.fileno()] * count)
    answer = None
    put(both_doors[0], frame(START, start_body(APOP)), theirs.fileno())
    theirs.close()
    answer = get(ours)
    assert answer[0] == MORE, answer
    put(ours, frame(STEP, b"x\0y"), *[ours.fileno()] * 10)
    assert get(ours) is None
    ours.close()
    unharmed(server, before)


@both("a front that starts conversations without end keeps nobody else from logging in")
def flood(server):
    before = servants(server)
    token, password = doors(server)
    held = []
    for _ in range(6000):
        ours, theirs = pair()
        try:
            put(token, frame(START, start_body(APOP)), theirs.fileno(), secs=1)
        except AssertionError:
            theirs.close()
            ours.close()
            break
        theirs.close()
        held.append(ours)
    try:
        with server.pop3() as client:
            client.sock.settimeout(5)
            client.expect("AUTH CRAM-MD5", "+ ")
    finally:
        for ours in held:
            ours.close()
    unharmed(server, before)


# --- conversations --------------------------------------------------------------------------------

@both("steps out of turn end a conversation")
def out_of_turn(server):
    before = servants(server)
    token, password = doors(server)
    for kind in (START, MORE, DONE, OPEN, LIST, COMMIT, READY, RETIRE):
        ours, theirs = pair()
        put(token, frame(START, start_body(APOP)), theirs.fileno())
        theirs.close()
        assert get(ours)[0] == MORE
        put(ours, frame(kind, start_body(APOP)))
        assert get(ours) is None, kind
        ours.close()
    # While a refusal waits for its time, and after it.
    ours, theirs = pair()
    put(password, frame(START, start_body(USERPASS, b"alice\0wrong")), theirs.fileno())
    theirs.close()
    put(ours, frame(STEP, b"alice\0" + PASSWORD.encode()))
    assert get(ours) is None
    ours.close()
    unharmed(server, before)


@both("a digest is good once: the same timestamp and answer do not log in again")
def replay(server):
    token, _ = doors(server)
    user = server.user()
    ours, theirs = pair()
    put(token, frame(START, start_body(APOP)), theirs.fileno())
    theirs.close()
    stamp = get(ours)[1]
    step = user.encode() + b"\0" + hashlib.md5(stamp + PASSWORD.encode()).hexdigest().encode()
    put(ours, frame(STEP, step))
    answer = get(ours)
    assert answer[0] == DONE, answer
    os.close(answer[2])
    assert get(ours) is None
    ours.close()
    again = converse(token, start_body(APOP), step)
    assert again[0] == FAIL, again


# --- a maildrop -----------------------------------------------------------------------------------

@both("what is outside the table ends that maildrop, and nothing is deleted")
def bad_maildrop(server):
    user = server.user(ONE, TWO)
    before = servants(server)
    for data in (b"x", frame(OPEN, start_body(APOP)), frame(FETCH, b"abc"), frame(FETCH, bytes(4), zero=1),
                 frame(LIST, struct.pack("=BII", 2, 0, 1)), frame(LIST, struct.pack("=BII", 0, 0, 0)),
                 frame(COMMIT, bytes(1), length=2), os.urandom(140000), frame(COMMITTED), frame(START, start_body(APOP))):
        sock, first = maildrop(server, user)
        assert struct.unpack("=IQ", first[1])[0] == 2
        put(sock, data)
        assert get(sock) is None, data[:20]
        sock.close()
    assert server.stored(user) == sorted([ONE, TWO])
    unharmed(server, before)


@both("numbers beyond the maildrop are refused, and marks beyond it remove nothing")
def beyond(server):
    user = server.user(ONE, TWO)
    sock, _ = maildrop(server, user)
    for idx in (2, 3, 0x7fffffff, 0x80000000, 0xffffffff):
        put(sock, frame(FETCH, struct.pack("=I", idx)))
        assert get(sock)[0] == REFUSED, idx
    for idx, count in ((3, 1), (0xffffffff, 0xffffffff), (1 << 31, 2)):
        put(sock, frame(LIST, struct.pack("=BII", 0, idx, count)))
        assert get(sock)[0] == REFUSED, idx
    put(sock, frame(LIST, struct.pack("=BII", 1, 0, 0xffffffff)))
    answer = get(sock)
    assert answer[0] == LISTED and struct.unpack("=I", answer[1][5:9])[0] == 2, answer
    put(sock, frame(COMMIT, b"\x07"))
    assert get(sock)[0] == REFUSED
    assert get(sock) is None
    sock.close()
    assert server.stored(user) == sorted([ONE, TWO])
    sock, _ = maildrop(server, user)
    put(sock, frame(COMMIT, b"\x01" + bytes(100000)))
    answer = get(sock)
    assert answer[0] in (REFUSED, COMMITTED), answer
    sock.close()


@both("a maildrop that ends without COMMIT, or in the middle of many requests, deletes nothing and frees its lock")
def no_commit(server):
    user = server.user(ONE, TWO)
    before = servants(server)
    sock, _ = maildrop(server, user)
    sock.close()
    sock, _ = maildrop(server, user)
    sock.setblocking(False)
    try:  # answers nobody reads: the store must not wait for us
        while True:
            put(sock, frame(FETCH, struct.pack("=I", 0)))
    except (BrokenPipeError, ConnectionResetError):
        pass
    log_in(server, user)
    sock.close()
    assert server.stored(user) == sorted([ONE, TWO])
    unharmed(server, before)


@both("a user who logs in many times while a session has his maildrop slows nobody else down")
def in_use_storm(server):
    user, other = server.user(ONE), server.user(ONE)
    for _ in range(3):  # the machine may be busy by itself, and with a sanitizer it is
        took = storm(server, user, other)
        if took < 2.5 or harness.SANITIZED:
            return
    raise AssertionError(f"{took:.2f} s")  # five, if each kept a thread of the store waiting


def storm(server, user, other):
    """How long other's login takes while user's are refused."""
    with server.logged_in(user):
        clients = []
        for _ in range(100):
            client = server.pop3()
            client.expect(f"USER {user}", "+OK")
            clients.append(client)
        for client in clients:
            client.send(f"PASS {PASSWORD}\r\n".encode())
        time.sleep(0.05)
        took = log_in(server, other)
        for client in clients:
            assert client.line().startswith(b"-ERR [IN-USE]")
            client.close()
    return took


# --- clients --------------------------------------------------------------------------------------

@both("as many logins at once as there may be sessions are all answered, and none with [SYS/TEMP]")
def burst(server):
    # More than the way to auth holds at once; a sanitizer makes each of them slow.
    count = 60 if server.options["isolation"] == "process" else 350 if harness.SANITIZED else 700
    before = servants(server)
    clients = []
    for _ in range(count):
        client = server.pop3()
        client.expect("USER nobody", "+OK")
        clients.append(client)
    for client in clients:
        client.send(b"PASS wrong\r\n")
    answers = {client.line() for client in clients}
    for client in clients:
        client.close()
    assert answers == {b"-ERR [AUTH] authentication failed"}, answers
    unharmed(server, before)


@both("logins that come while no store answers wait for it, however many they are")
def store_stands_still(server):
    count = 60 if server.options["isolation"] == "process" else 450
    user = server.user()
    clients = []
    for _ in range(count):
        client = server.pop3()
        client.expect(f"USER {user}", "+OK")
        clients.append(client)
    stores = processes(server, "kpopd-store")
    for pid in stores:
        with contextlib.suppress(ProcessLookupError):  # one that had a session may have ended
            os.kill(pid, signal.SIGSTOP)
    try:
        for client in clients:
            client.send(f"PASS {PASSWORD}\r\n".encode())
        time.sleep(1)
    finally:
        for pid in stores:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    answers = [client.line().split(b" ")[:2] for client in clients]
    for client in clients:
        client.close()
    assert [b"+OK", b"0"] in answers, answers
    assert all(answer in ([b"+OK", b"0"], [b"-ERR", b"[IN-USE]"]) for answer in answers), set(map(bytes.join, [b" "] * count, answers))


@both("a name adds no field of its own to a line of the log")
def log_fields(server):
    name = 'a peer=6.6.6.6 user=root session=1 "x'
    at = len(server.log_text())
    for port in (server.pop3, server.pop3):
        with port() as client:
            client.command(f"USER {name}")
            client.command("PASS x")
            client.auth_plain(name, "x")
            client.auth_cram_md5(name, "x")
            client.auth_apop(name, "x")
            client.auth_login(name, "x")
    with server.kpop() as client:
        client.sendauth(realm.apreq(realm.user("alice")))
        client.command(f"USER {name}")
        client.command("PASS x")
    wait_for(lambda: server.log_text()[at:].count("refused ") >= 5, "refusals in the log")
    for line in server.log_text()[at:].splitlines():
        assert line.count("peer=") <= 1 and "=root" not in line and "6.6.6.6 " not in line, line


# --- master ---------------------------------------------------------------------------------------

@both("a front that says nonsense to master is replaced, and takes no other process with it")
def leash(server):
    before = servants(server)
    front = a_front(server)
    leash_of(front, server).send(frame(START, start_body(APOP)))
    wait_for(lambda: not harness.alive(front), "the front is gone")
    wait_for(lambda: server.serves(), "another one serves")
    unharmed(server, before)


@harness.row("a front that says nonsense and then minds no leash is ended")
def no_leash():
    server = servers["shared"]
    front = a_front(server)
    word = leash_of(front, server)
    os.kill(front, signal.SIGSTOP)
    word.send(frame(TAKEN))
    wait_for(lambda: not harness.alive(front), "the front is gone")
    wait_for(server.serves, "others serve")


# --- an lmtp process that was taken over ----------------------------------------------------------

LMTP_OPEN, LMTP_MESSAGE, ROOM, STORED, NOT_STORED = (TYPES["MSG_" + name] for name in (
    "LMTP_OPEN", "LMTP_MESSAGE", "DELIVERER_READY", "DELIVERER_STORED", "DELIVERER_REFUSED"))
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def letter(octets, seals=SEALS):
    fd = os.memfd_create("letter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, octets)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def open_delivery(door, user):
    ours, theirs = pair()
    put(door, frame(LMTP_OPEN, struct.pack("=QQ", 4711, 1) + user), theirs.fileno())
    theirs.close()
    return ours


def hand_over(door, user, *fds, body=struct.pack("=H", 3) + b"a@bu0", kind=LMTP_MESSAGE):
    """What becomes of it: the type of the last answer, None for none."""
    with open_delivery(door, user) as ours:
        answer = get(ours)
        if answer is None or answer[0] != ROOM:
            return answer and answer[0]
        put(ours, frame(kind, body), *fds)
        answer = get(ours)
        return answer and answer[0]


@harness.row("an lmtp process can deliver what is sealed, to whom there is, and nothing else")
def lmtp_door():
    server = harness.Server(realm, users=2, start=False)
    server.sections = f"listener mail {{ protocol = lmtp path = '{server.dir}/lmtp' }}\n"
    server.write_conf()
    server.start()
    user = server.user(ONE).encode()
    pid = max(processes(server, "kpopd-lmtp"))
    masters = {os.readlink(f"/proc/{server.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.process.pid}/fd")}
    (door,) = [sock for inode, sock in sockets(pid).items() if inode in masters]
    for name in (b"nobody", b"../" + user, b"/etc", b".", b"u0/Maildir", b"a\0b", b"\xff", b"x" * 255):
        assert hand_over(door, name) == NOT_STORED, name
    with open("/etc/passwd", "rb") as passwd, tempfile.TemporaryFile() as plain:
        plain.write(b"changes")
        plain.flush()
        pipe = os.pipe()
        for fd in (passwd.fileno(), plain.fileno(), pipe[0], letter(b"x", 0), letter(b"x", SEALS & ~fcntl.F_SEAL_WRITE),
                   letter(b"x", SEALS & ~fcntl.F_SEAL_SHRINK), letter(b"x", SEALS & ~fcntl.F_SEAL_GROW)):
            assert hand_over(door, user, fd) == NOT_STORED, fd
    good = letter(b"Subject: x\n\nx\n")
    for body in (b"", struct.pack("=H", 9) + b"a@b", struct.pack("=H", 3) + b"a@b", struct.pack("=H", 3) + b"a\nbu0",
                 struct.pack("=H", 3) + b"a@b" + b"u\0", struct.pack("=H", 600) + b"x" * 900):
        assert hand_over(door, user, good, body=body) == NOT_STORED, body
    assert hand_over(door, user, body=b"12345") == NOT_STORED
    for kind in (FETCH, LIST, COMMIT, OPEN, LMTP_OPEN):
        assert hand_over(door, user, kind=kind, body=b"\0" * 4) == NOT_STORED, kind
    # What is no message of the table ends the process that took it, and nobody else.
    for junk in (b"", b"x", frame(OPEN, b"\0" * 9 + user), frame(START, b""), frame(LMTP_OPEN, b"x", zero=1)):
        ours, theirs = pair()
        put(door, junk or b"\0", theirs.fileno())
        theirs.close()
        assert get(ours) is None
        ours.close()
    assert server.stored(user.decode()) == [ONE]
    assert hand_over(door, user, good) == STORED
    assert len(server.stored(user.decode())) == 2
    log_in(server, user.decode())
    server.stop()


@harness.row("whoever speaks for strangers ends with master, even when it stands still")
def orphans():
    server = harness.Server(realm, users=1, isolation="process")
    with server.logged_in(server.user()):
        fronts = processes(server, "kpopd-front") + processes(server, "kpopd-auth") + processes(server, "kpopd-auth-pw")
        for pid in fronts:
            with contextlib.suppress(ProcessLookupError):  # the one that showed that kpopd serves may have ended
                os.kill(pid, signal.SIGSTOP)
        server.process.kill()
        server.process.wait()
        try:
            wait_for(lambda: not [pid for pid in fronts if harness.alive(pid)], "all are gone")
        finally:
            for pid in fronts:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    for one in servers.values():
        warm(one)
    harness.main(*servers.values())
