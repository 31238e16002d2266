# SPDX-License-Identifier: ISC
"""A client of LMTP (RFC 2033) that says exactly what a test wants said."""
import socket


class Client:
    """place: a path, or (host, port). Has read the greeting."""

    def __init__(self, place, secs=45, greeting=True):
        path = not isinstance(place, tuple)
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.settimeout(secs)
        self.socket.connect(str(place) if path else place)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply() if greeting else b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def reply(self):
        """One reply, of one or more lines, without its last CRLF; b"" at the end."""
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                return b"\r\n".join(lines)
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2])
            if line[3:4] != b"-":
                return b"\r\n".join(lines)

    def command(self, line):
        self.send(line.encode("latin-1") + b"\r\n")
        return self.reply()

    def expect(self, line, want):
        answer = self.command(line)
        assert answer.startswith(want.encode()), f"{line[:80]!r}: {answer!r} instead of {want}"
        return answer

    def hello(self):
        self.expect("LHLO test.example", "250-")
        return self

    def begin(self, *recipients, sender="sender@example.net"):
        """MAIL and RCPT; all are taken."""
        self.expect(f"MAIL FROM:<{sender}>", "250 ")
        for recipient in recipients:
            self.expect(f"RCPT TO:<{recipient}>", "250 ")

    def data(self, octets, count=1):
        """DATA and its octets as they are; returns the replies of count recipients."""
        self.expect("DATA", "354 ")
        self.send(octets)
        return [self.reply() for _ in range(count)]

    def deliver(self, message, *recipients, sender="sender@example.net"):
        """A message in lines of CRLF, without an end; returns the replies."""
        self.begin(*recipients, sender=sender)
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        return self.data(stuffed + b".\r\n", len(recipients))
