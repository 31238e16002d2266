# SPDX-License-Identifier: ISC
"""A POP3 and KPOP client that hides nothing: it sends the octets it is given and returns those it gets."""
import base64
import hashlib
import hmac
import os
import re
import select
import socket
import ssl

TIMEOUT_SECS = 60  # generous: several tests and builds may share the machine
SENDAUTH = b"\0\0\0\x13KRB5_SENDAUTH_V1.0\0" + b"\0\0\0\x09KPOPV1.0\0"

STATUS = re.compile(rb"\+OK [ -~]*|-ERR [ -~]*")
CODES = (b"[AUTH] ", b"[IN-USE] ", b"[LOGIN-DELAY] ", b"[SYS/TEMP] ", b"[SYS/PERM] ")
# What clients take for a maildrop in use, wherever it stands in a refusal.
BUSY = re.compile(rb"lock|wait|busy|unavailable", re.I)


def check_status(line):
    """The first line of an answer: its length, its space, its response code, its words."""
    assert len(line) + 2 <= 512, f"{len(line) + 2} octets in a status line"
    assert STATUS.fullmatch(line), f"no status line: {line!r}"
    text = line.split(b" ", 1)[1]
    if text.startswith(b"["):
        assert line.startswith(b"-ERR") and text.startswith(CODES), f"no such response code: {line!r}"
    assert line.startswith(b"+OK") or not BUSY.search(text), f"clients take this for a busy maildrop: {line!r}"
    return line


class Client:
    """One connection. greeting=False reads nothing at first; ca: TLS from the start; source: the address to come from."""

    def __init__(self, port, host="127.0.0.1", ca=None, greeting=True, source=None):
        self.sock = socket.create_connection((host, port), TIMEOUT_SECS, (source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if ca:
            self.start_tls(ca)
        self.greeting = check_status(self.line()) if greeting else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # octets

    def send(self, data):
        self.sock.sendall(data)

    def send_and_read(self, data):
        """Sends all of it, and takes meanwhile what comes, in one thread: a TLS connection is not made for two."""
        left = memoryview(data)
        blocked = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self.sock.setblocking(False)
        while left:
            try:
                left = left[self.sock.send(left[:16384]):]
                continue
            except blocked:
                pass
            try:
                self._more("answers")
            except blocked:
                select.select([self.sock], [self.sock], [], 1)
        self.sock.settimeout(TIMEOUT_SECS)

    def read(self, count):
        while len(self.buffer) < count:
            self._more(f"{count} octets")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def line(self):
        """One line, which must end in CRLF and hold no other CR or LF; without the CRLF."""
        while b"\n" not in self.buffer:
            self._more("a line")
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a line without CR: {line!r}"
        assert b"\r" not in line[:-1], f"a CR inside a line: {line!r}"
        return line[:-1]

    def some_lines(self, count):
        while self.buffer.count(b"\r\n") < count:
            self._more("a line")
        *lines, self.buffer = self.buffer.split(b"\r\n", count)
        return lines

    def _more(self, what):
        data = self.sock.recv(65536)
        assert data, f"closed, while waiting for {what}; got {self.buffer!r}"
        self.buffer += data

    def rest(self):
        """Everything up to the end of the connection; a reset is an end too."""
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    break
                self.buffer += data
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            pass
        data, self.buffer = self.buffer, b""
        return data

    def closed(self):
        """Nothing more comes, and the other side has closed."""
        rest = self.rest()
        assert rest == b"", f"more came: {rest!r}"

    # POP3

    def command(self, line):
        """Sends a command and returns the first line of its answer."""
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        answer = self.line()
        if answer.startswith(b"+ "):
            return answer
        assert not (line[:4].upper() in ("USER", b"USER") and b"[AUTH]" in answer), f"[AUTH] in answer to USER: {answer!r}"
        return check_status(answer)

    def expect(self, line, start):
        answer = self.command(line)
        assert answer.startswith(start.encode()), f"{line!r} was answered {answer!r}, not {start!r}"
        return answer

    def listing(self, line):
        """A multi-line answer, which must be +OK: its lines, unstuffed."""
        self.expect(line, "+OK")
        return self.lines()

    def lines(self):
        found = []
        while True:
            line = self.line()
            if line == b".":
                return found
            found.append(line[1:] if line.startswith(b".") else line)

    def raw_message(self, line):
        """The octets of a multi-line answer that may hold anything: unstuffed, without the end mark."""
        self.expect(line, "+OK")
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            self._more("the end of a message")
        if self.buffer.startswith(b".\r\n"):
            data, self.buffer = b"", self.buffer[3:]
            return data
        data, self.buffer = self.buffer.split(b"\r\n.\r\n", 1)
        data = (b"\r\n" + data + b"\r\n").replace(b"\r\n.", b"\r\n")
        return data[2:]

    def capabilities(self):
        lines = self.listing("CAPA")
        assert all(0 < len(line) <= 510 for line in lines), lines
        return {line.split()[0].decode(): line.split()[1:] for line in lines}

    def stat(self):
        words = self.expect("STAT", "+OK ").split(b" ")
        return int(words[1]), int(words[2])

    def refused(self, line):
        """The command is answered -ERR, or the connection has ended."""
        try:
            self.expect(line, "-ERR")
        except (AssertionError, OSError) as error:
            if isinstance(error, AssertionError) and not str(error).startswith("closed"):
                raise

    def quit(self):
        self.expect("QUIT", "+OK")
        self.closed()
        self.close()

    # TLS

    def start_tls(self, ca, **options):
        context = ssl.create_default_context(cafile=str(ca))
        for name, value in options.items():
            setattr(context, name, value)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        return self

    def stls(self, ca):
        self.expect("STLS", "+OK")
        assert self.buffer == b"", f"clear text behind the answer to STLS: {self.buffer!r}"
        return self.start_tls(ca)

    # KPOP

    def sendauth(self, apreq):
        """The handshake up to the answer to an AP-REQ without mutual authentication."""
        self.send(SENDAUTH)
        assert self.read(1) == b"\0"
        self.send(apreq)
        answer = self.read(4)
        assert answer == b"\0\0\0\0", f"the AP-REQ was refused: {answer!r} {self.rest()!r}"
        self.greeting = self.line()
        return self

    # SASL; each returns the last line

    def challenge(self, line=None):
        answer = self.line() if line is None else self.command(line)
        assert answer.startswith(b"+ "), f"{answer!r} is no challenge"
        return base64.b64decode(answer[2:], validate=True)

    def auth_plain(self, user, password, authzid="", initial=True):
        token = base64.b64encode(f"{authzid}\0{user}\0{password}".encode())
        if initial:
            return self.command(b"AUTH PLAIN " + token)
        assert self.challenge("AUTH PLAIN") == b""
        return self.command(token)

    def auth_login(self, user, password):
        self.challenge("AUTH LOGIN")
        answer = self.command(base64.b64encode(user.encode()))
        if not answer.startswith(b"+ "):
            return answer
        return self.command(base64.b64encode(password.encode()))

    def auth_cram_md5(self, user, password):
        challenge = self.challenge("AUTH CRAM-MD5")
        digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
        return self.command(base64.b64encode(f"{user} {digest}".encode()))

    def auth_apop(self, user, password):
        stamp = self.greeting[self.greeting.index(b"<"):self.greeting.index(b">") + 1]
        return self.command(f"APOP {user} {hashlib.md5(stamp + password.encode()).hexdigest()}")

    def auth_scram(self, user, password, name="sha256", mechanism="SCRAM-SHA-256", initial=True, header="n,,", data=b""):
        """RFC 5802; asserts that the server proves to know the password too. header: of GS2, before the first
        message; data: what the client has bound to."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n={user},r={nonce}"
        if initial:
            self.send(f"AUTH {mechanism} ".encode() + base64.b64encode(f"{header}{first}".encode()) + b"\r\n")
        else:
            assert self.challenge(f"AUTH {mechanism}") == b""
            self.send(base64.b64encode(f"{header}{first}".encode()) + b"\r\n")
        answer = self.line()
        if not answer.startswith(b"+ "):
            return answer
        challenge = base64.b64decode(answer[2:]).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
        assert int(fields["i"]) >= 4096
        salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.new(salted, b"Client Key", name).digest()
        final = f"c={base64.b64encode(header.encode() + data).decode()},r={fields['r']}"
        everything = f"{first},{challenge},{final}".encode()
        signature = hmac.new(hashlib.new(name, client_key).digest(), everything, name).digest()
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
        answer = self.command(base64.b64encode(f"{final},p={proof}".encode()))
        if answer.startswith(b"-ERR"):
            return answer
        # RFC 5034 section 4: what the server proves comes as a challenge, never beside +OK.
        expected = hmac.new(hmac.new(salted, b"Server Key", name).digest(), everything, name).digest()
        assert answer.startswith(b"+ ") and base64.b64decode(answer[2:]) == b"v=" + base64.b64encode(expected), answer
        return self.command(b"")
