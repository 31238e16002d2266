#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Behind a load balancer: the PROXY protocol, by hand and by haproxy, on all ports."""
import atexit
import contextlib
import socket
import ssl
import struct
import subprocess
import time

import harness
import pop3
from harness import PASSWORD, row, wait_for

# 127.0.0.1 is a balancer, ::1 is not.
BALANCED = "proxy_networks = {'127.0.0.1', '192.0.2.0/24'}"
realm = harness.Realm()
alice = realm.user("alice")
servers = {name: harness.Server(realm, users=6, isolation=name, listener=BALANCED, host="::1")
           for name in ("process", "shared")}
loopback = harness.Server(realm, users=2, plaintext="loopback", listener=BALANCED, host="::1")
changing = harness.Server(realm, users=1)
ONE = b"Subject: one\r\n\r\nx\r\n"
KINDS = ("POP3", "POP3S", "KPOP")
LIMIT_OCTETS = 4096
WAIT_SECS = 5  # what a header may take


# --- headers --------------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(source, port, extensions=b"", command=0x21):
    """A header of version 2 from that address to somewhere."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    to = socket.inet_pton(family, "2001:db8::99" if ":" in source else "10.0.0.99")
    body = socket.inet_pton(family, source) + to + struct.pack(">HH", port, 110) + extensions
    return SIGNATURE + bytes([command, 0x21 if ":" in source else 0x11]) + struct.pack(">H", len(body)) + body


def v1(source, port):
    if ":" in source:
        return f"PROXY TCP6 {source} 2001:db8::99 {port} 110\r\n".encode()
    return f"PROXY TCP4 {source} 10.0.0.99 {port} 110\r\n".encode()


def largest(source):
    """As long as a header may be."""
    room = LIMIT_OCTETS - len(v2(source, 1)) - 3
    return v2(source, 1, b"\x04" + struct.pack(">H", room) + bytes(room))


HEADERS = {
    "version 1, IPv4": ("192.0.2.7", v1("192.0.2.7", 4711)), "version 1, IPv6": ("2001:db8::7", v1("2001:db8::7", 4711)),
    "version 2, IPv4": ("192.0.2.8", v2("192.0.2.8", 4711)), "version 2, IPv6": ("2001:db8::8", v2("2001:db8::8", 4711)),
    "version 2 with extensions": ("192.0.2.9", v2("192.0.2.9", 4711, b"\x01\0\x04pop3\x05\0\x03abc")),
    "version 2 at its longest": ("192.0.2.10", largest("192.0.2.10")),
}
OWN = {"version 1, UNKNOWN": b"PROXY UNKNOWN\r\n", "version 2, LOCAL": SIGNATURE + b"\x20\0\0\0",
       "version 2, LOCAL with addresses": v2("192.0.2.66", 1, command=0x20), "version 2, UNSPEC": SIGNATURE + b"\x21\0\0\0"}


# --- clients --------------------------------------------------------------------------------------

def port_of(server, kind):
    return getattr(server, f"{kind.lower()}_port")


def connect(server, kind, host="127.0.0.1"):
    """A connection on which nothing was said yet."""
    return pop3.Client(port_of(server, kind), host=host, greeting=False)


def greet(server, kind, client):
    """What goes on behind the header, up to the greeting."""
    if kind == "KPOP":
        return client.sendauth(realm.apreq(alice))
    if kind == "POP3S":
        client.start_tls(server.ca)
    client.greeting = pop3.check_status(client.line())
    return client


def log_in(kind, client):
    """KPOP's ticket is alice's; elsewhere anybody's password does."""
    client.expect("USER alice", "+OK")
    client.expect("PASS x" if kind == "KPOP" else f"PASS {PASSWORD}", "+OK")


def session(server, kind, client):
    log_in(kind, greet(server, kind, client))
    client.quit()


def hello(ca):
    """A ClientHello, and the TLS it begins."""
    context = ssl.create_default_context(cafile=str(ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read(), tls, incoming, outgoing


def lines_with(server, before, *words):
    return [line for line in server.log_text()[before:].splitlines() if all(word in line for word in words)]


def both(sentence, *arguments):
    """A row for each isolation."""
    def mark(function):
        for name, server in servers.items():
            harness.add_row(f"{sentence} (isolation = {name})", function, server, *arguments)
        return function
    return mark


# --- headers that are sound -------------------------------------------------------------------------

for kind in KINDS:
    for sentence, (source, header) in HEADERS.items():
        @both(f"the client is who the header says, for the front and for auth: {sentence}, {kind}", kind, source, header)
        def named(server, kind, source, header):
            before = len(server.log_text())
            client = connect(server, kind)
            client.send(header)
            session(server, kind, client)
            wait_for(lambda: lines_with(server, before, "closed session=", f"peer={source} via=127.0.0.1 "), "the front's line")
            wait_for(lambda: lines_with(server, before, "login user=alice", f"peer={source} "), "auth's line")

    for sentence, header in OWN.items():
        @both(f"a header of the balancer's own leaves it the client: {sentence}, {kind}", kind, header)
        def own(server, kind, header):
            before = len(server.log_text())
            client = connect(server, kind)
            client.send(header)
            session(server, kind, client)
            line = wait_for(lambda: lines_with(server, before, "closed session=", "peer=127.0.0.1 "), "the front's line")
            assert "via=" not in line[0], line

    @both(f"a header may come octet by octet, and what follows too: {kind}", kind)
    def pieces(server, kind):
        for header in (v1("192.0.2.7", 1), v2("2001:db8::8", 1)):
            client = connect(server, kind)
            for octet in header:
                client.send(bytes([octet]))
            session(server, kind, client)

    @both(f"nothing is said before the header: {kind}", kind)
    def silence(server, kind):
        client = connect(server, kind)
        client.send(v1("192.0.2.7", 1)[:-1])
        client.sock.settimeout(0.5)
        try:
            assert not client.sock.recv(1), "an octet before the header's end"
            raise AssertionError("closed")
        except socket.timeout:
            pass
        client.sock.settimeout(pop3.TIMEOUT_SECS)
        client.send(b"\n")
        session(server, kind, client)


for sentence, (source, header) in HEADERS.items():
    @both(f"commands in one segment with the header are answered: {sentence}", header)
    def with_commands(server, header):
        client = connect(server, "POP3")
        client.send(header + b"CAPA\r\nNOOP\r\nQUIT\r\n")
        client.greeting = pop3.check_status(client.line())
        assert client.line().startswith(b"+OK") and b"UIDL" in client.lines()
        assert client.line().startswith(b"-ERR") and client.line().startswith(b"+OK")
        client.closed()

    @both(f"a ClientHello in one segment with the header begins TLS: {sentence}", header)
    def with_hello(server, header):
        first, tls, incoming, outgoing = hello(server.ca)
        client = connect(server, "POP3S")
        client.send(header + first)
        while True:
            try:
                line = tls.read(512)
                break
            except ssl.SSLWantReadError:
                if outgoing.pending:
                    client.send(outgoing.read())
                data = client.sock.recv(65536)
                assert data, "closed"
                incoming.write(data)
        assert line.startswith(b"+OK") and line.endswith(b"\r\n"), line
        client.close()

    @both(f"sendauth and AP-REQ in one segment with the header begin a session: {sentence}", header)
    def with_sendauth(server, header):
        client = connect(server, "KPOP")
        client.send(header + pop3.SENDAUTH + realm.apreq(alice) + b"USER alice\r\nPASS x\r\n")
        assert client.read(5) == b"\0\0\0\0\0"
        for _ in range(3):
            assert client.line().startswith(b"+OK")
        client.quit()


# --- and those that are not --------------------------------------------------------------------------

BAD = {
    "no header but a command": (b"CAPA\r\n", "no PROXY header"),
    "no header but TLS": (hello(servers["process"].ca)[0], "no PROXY header"),
    "no header but sendauth": (pop3.SENDAUTH, "no PROXY header"),
    "an address that is none": (b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n", "a malformed PROXY header"),
    "a line without end": (b"PROXY UNKNOWN " + b"x" * 200, "a PROXY header too long"),
    "a UNIX socket": (SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), "a PROXY header of no TCP connection"),
    "version 3": (SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), "a malformed PROXY header"),
    "addresses that are missing": (SIGNATURE + b"\x21\x11\0\0", "a malformed PROXY header"),
    "a length beyond all": (SIGNATURE + b"\x21\x11\xff\xff", "a PROXY header too long"),
    "a wrong checksum": (v2("192.0.2.1", 1, b"\x03\0\x04abcd"), "a PROXY header whose checksum is wrong"),
    "an end in the middle": (v2("192.0.2.1", 1)[:-1], "the PROXY header is cut off"),
}
for sentence, (octets, why) in BAD.items():
    @both(f"a balancer's connection without a sound header is closed without an answer, and logged: {sentence}", octets, why)
    def refused(server, octets, why):
        for kind in KINDS:
            before = len(server.log_text())
            client = connect(server, kind)
            client.send(octets)
            if "cut off" in why:
                client.sock.shutdown(socket.SHUT_WR)
            client.closed()
            wait_for(lambda: lines_with(server, before, f"closed via=127.0.0.1: {why}; "), f"the log says {why}")
            client = connect(server, kind)
            client.send(v1("192.0.2.7", 1))
            session(server, kind, client)


@both("a header that does not come in time, or one octet at a time for ever, ends; others are served meanwhile")
def slow(server):
    before = len(server.log_text())
    began = time.monotonic()
    silent = [connect(server, kind) for kind in KINDS]
    trickle = connect(server, "POP3")
    octets = iter(largest("192.0.2.1"))
    client = connect(server, "POP3")
    client.send(v1("192.0.2.7", 1))
    session(server, "POP3", client)
    trickle.sock.settimeout(0.2)
    while True:
        try:
            trickle.send(bytes([next(octets)]))
            assert trickle.sock.recv(1) == b""
            break
        except socket.timeout:
            assert time.monotonic() - began < 20, "the header goes on and on"
        except (ConnectionResetError, BrokenPipeError):
            break
    assert time.monotonic() - began >= WAIT_SECS - 1, "closed too soon"
    for client in silent:
        client.closed()
    wait_for(lambda: len(lines_with(server, before, "the PROXY header did not come in time")) == 4, "the log says so")


@both("connections that say nothing and go are no trouble, and need no line of warning")
def probes(server):
    before = len(server.log_text())
    for _ in range(30):
        for kind in KINDS:
            connect(server, kind).close()
        connect(server, "POP3").reset()
    client = connect(server, "POP3")
    client.send(v1("192.0.2.7", 1))
    session(server, "POP3", client)
    assert not lines_with(server, before, "closed via=", "must begin")


@both("from elsewhere a header is garbage as any: nobody is taken for another")
def unlisted(server):
    before = len(server.log_text())
    for octets in (v1("192.0.2.7", 1), v2("192.0.2.7", 1)):
        with connect(server, "POP3", "::1") as client:
            client.greeting = pop3.check_status(client.line())
            client.send(octets + b"QUIT\r\n")
            assert b"-ERR" in client.rest()
        for kind in ("POP3S", "KPOP"):
            with connect(server, kind, "::1") as client:
                client.send(octets)
                with contextlib.suppress(OSError):  # it may be over already
                    client.sock.shutdown(socket.SHUT_WR)
                assert b"+OK" not in client.rest()
    for kind in KINDS:
        client = connect(server, kind, "::1")
        session(server, kind, client)
    wait_for(lambda: len(lines_with(server, before, "closed session=", "peer=::1 ")) == 9, "the front's lines")
    assert not lines_with(server, before, "192.0.2.7")


@both("a second header is not a header any more")
def twice(server):
    before = len(server.log_text())
    client = connect(server, "POP3")
    client.send(v1("192.0.2.7", 1) + v1("192.0.2.8", 1))
    greet(server, "POP3", client)
    assert client.line().startswith(b"-ERR")
    client.quit()
    wait_for(lambda: lines_with(server, before, "peer=192.0.2.7 via=127.0.0.1"), "the front's line")
    assert not lines_with(server, before, "peer=192.0.2.8")


# --- what follows from it ---------------------------------------------------------------------------

@row("'plaintext = loopback' is for clients on this machine, not for those of a balancer on it")
def plaintext():
    def allowed(*octets, host="127.0.0.1"):
        with connect(loopback, "POP3", host) as client:
            for part in octets:
                client.send(part)
            client.greeting = pop3.check_status(client.line())
            return "USER" in client.capabilities()
    assert allowed(host="::1")
    assert allowed(OWN["version 2, LOCAL"])
    assert allowed(v1("127.0.0.9", 1)) and allowed(v2("::1", 1)) and allowed(v2("::ffff:127.0.0.1", 1))
    assert not allowed(v1("192.0.2.7", 1)) and not allowed(v2("2001:db8::1", 1))


@row("after SIGHUP networks are listed, and then no longer: each connection goes by the configuration of its time")
def reload():
    with changing.pop3() as early:
        changing.listener = BALANCED
        changing.write_conf()
        changing.reload()
        changing.logged_in("u0", early).quit()
    client = connect(changing, "POP3")
    client.send(b"CAPA\r\n")
    client.closed()
    client = connect(changing, "POP3")
    client.send(v2("192.0.2.7", 1))
    session(changing, "POP3", client)
    changing.listener = ""
    changing.write_conf()
    changing.reload()
    with changing.pop3() as client:
        changing.logged_in("u0", client).quit()


# --- haproxy --------------------------------------------------------------------------------------

class Haproxy:
    """A real balancer before both servers: a port for each isolation, kind and version."""

    VERSIONS = {"version 1": "send-proxy", "version 2": "send-proxy-v2",
                "version 2 with checksum": "send-proxy-v2 proxy-v2-options crc32c,ssl,cert-cn"}

    def __init__(self):
        self.ports, lines = {}, [
            "global", "  maxconn 200", f"  stats socket {harness.WORK}/haproxy.sock mode 600",
            "defaults", "  mode tcp", "  timeout connect 10s", "  timeout client 60s", "  timeout server 60s"]
        ways = [(name, kind, version) for name in servers for kind in KINDS for version in self.VERSIONS]
        for number, ((name, kind, version), port) in enumerate(zip(ways, harness.free_ports(len(ways)))):
            self.ports[name, kind, version] = port
            lines += [f"listen l{number}", f"  bind 127.0.0.1:{port}", f"  bind [::1]:{port}"]
            # Whether the server is alive haproxy asks by itself: with words, or with its header alone.
            if kind == "POP3":
                lines += ["  option tcp-check", "  tcp-check connect send-proxy", "  tcp-check expect rstring ^\\+OK",
                          "  tcp-check send QUIT\\r\\n"]
            lines += [f"  server s 127.0.0.1:{port_of(servers[name], kind)} {self.VERSIONS[version]} check check-send-proxy "
                      "inter 500ms fall 2 rise 1"]
        conf = harness.WORK / "haproxy.cfg"
        conf.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(["haproxy", "-db", "-q", "-f", conf], stdin=subprocess.DEVNULL)
        atexit.register(self.stop)
        wait_for(lambda: all(value == "UP" for value in self.states().values()), "haproxy finds all servers alive")

    def states(self):
        """What haproxy says of each server it looks after; of none: that it does not run yet."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(f"{harness.WORK}/haproxy.sock")
            except OSError:
                assert self.process.poll() is None, "haproxy has ended"
                return {"haproxy": "starts"}
            sock.sendall(b"show stat\n")
            text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
        return {fields[0]: fields[17] for fields in rows if fields[1] == "s" and fields[17] != "no check"}

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(harness.WAIT_SECS)


haproxy = []
for kind in KINDS:
    for version in Haproxy.VERSIONS:
        @both(f"behind haproxy the client is who came to haproxy: {version}, {kind}", kind, version)
        def balanced(server, kind, version):
            if not haproxy:
                haproxy.append(Haproxy())
            port = haproxy[0].ports[server.options["isolation"], kind, version]
            for host, source in (("127.0.0.1", "127.0.0.77"), ("::1", "::1")):
                before = len(server.log_text())
                client = pop3.Client(port, host=host, greeting=False, source=source)
                session(server, kind, client)
                wait_for(lambda: lines_with(server, before, "closed session=", f"peer={source} via=127.0.0.1 ", "user=alice"),
                         "the front's line")
                wait_for(lambda: lines_with(server, before, "login user=alice", f"peer={source} "), "auth's line")


@row("haproxy's own checks are answered, and are sessions of its own")
def checks():
    if not haproxy:
        haproxy.append(Haproxy())
    assert set(haproxy[0].states().values()) == {"UP"}
    for server in servers.values():
        before = len(server.log_text())
        for via in (" via=127.0.0.1 ", " tls="):
            wait_for(lambda: lines_with(server, before, "closed session=", f"peer=127.0.0.1{via}", "login=none"),
                     "checks in the log")
    haproxy[0].stop()


harness.main(*servers.values(), loopback, changing)
