#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""POP3 as its RFCs have it (1939, 2449, 3206): conversations over clear text, POP3S and after STLS."""
import re
import time

import harness
from harness import PASSWORD, row

realm = harness.Realm()
server = harness.Server(realm, users=24)
shared = harness.Server(realm, users=8, isolation="shared")

ONE = b"From: a@example.org\r\nSubject: one\r\n\r\nfirst line\r\n.second begins with a dot\r\nthird\r\n"
TWO = b"Subject: two\n\nHello\nWorld\n"
THREE = b"Subject: three\n\n" + b"x" * 1000 + b"\n"
OCTETS = [len(ONE), len(TWO) + 4, len(THREE) + 3]


def everywhere(sentence):
    """A row for each way to connect; the function gets a client that has read the greeting."""
    def mark(function):
        for kind in harness.KINDS:
            def body(kind=kind):
                with server.connect(kind) as client:
                    function(client)
            harness.add_row(f"{sentence} ({kind})", body)
        return function
    return mark


# A conversation: C is sent with CRLF, R is sent as it is written in Python, S begins the next line
# that comes, = is that line whole, ~ is a pattern for it, E is the end of the connection.
def converse(client, text):
    for entry in text.strip().splitlines():
        mark, _, rest = entry.strip().partition(" ")
        if mark == "C":
            client.send(rest.encode() + b"\r\n")
        elif mark == "R":
            client.send(eval(f"b'{rest}'"))  # pylint: disable=eval-used
        elif mark == "E":
            client.closed()
        else:
            line = client.line().decode("latin-1")
            good = {"S": str.startswith, "=": str.__eq__, "~": lambda text, pattern: re.fullmatch(pattern, text)}[mark]
            assert good(line, rest), f"after {entry!r} came {line!r}"


BEFORE_LOGIN = (
    ("STAT, LIST, RETR, DELE, NOOP, RSET, TOP and UIDL are refused before login", """
        C STAT
        S -ERR
        C LIST
        S -ERR
        C RETR 1
        S -ERR
        C DELE 1
        S -ERR
        C NOOP
        S -ERR
        C RSET
        S -ERR
        C TOP 1 0
        S -ERR
        C UIDL
        S -ERR"""),
    ("PASS without USER is refused", f"""
        C PASS {PASSWORD}
        S -ERR"""),
    ("QUIT before login is answered and closes", """
        C QUIT
        S +OK
        E"""),
    ("an unknown user is told nothing at USER, and AUTH at PASS", f"""
        C USER nobody-here
        S +OK
        C PASS {PASSWORD}
        S -ERR [AUTH]"""),
    ("a wrong password is AUTH, and needs a new USER before the right one", f"""
        C USER u0
        S +OK
        C PASS wrong
        S -ERR [AUTH]
        C PASS {PASSWORD}
        S -ERR"""),
    ("a user name of 600 octets gets an answer of no more than 512, and the session stays in step", f"""
        C USER {'a' * 600}
        ~ -ERR.{{0,506}}
        C QUIT
        S +OK"""),
    ("a user name with %n, %s and ${HOME} is only a name", """
        C USER %n%s%99999d${HOME}
        ~ (\\+OK|-ERR).*
        C PASS %n%s
        ~ -ERR.*"""),
    ("a line of 100000 octets is refused once, and the session stays in step", f"""
        C NOOP {'a' * 100000}
        S -ERR
        C QUIT
        S +OK"""),
    ("RPOP and XTND are unknown", """
        C RPOP alice
        S -ERR
        C XTND XLST Subject
        S -ERR"""),
    ("a client that asks for a web page is not told its own words", """
        C GET /canary HTTP/1.1
        ~ (?!.*canary)-ERR.*"""),
)
for sentence, text in BEFORE_LOGIN:
    everywhere(sentence)(lambda client, text=text: converse(client, text))

AFTER_LOGIN = (
    ("keywords are the same in any case", """
        C sTaT
        S +OK 3
        C noop
        S +OK
        C List 1
        S +OK 1"""),
    ("STAT gives number and octets, and nothing else", f"""
        C STAT
        = +OK 3 {sum(OCTETS)}"""),
    ("STAT leaves out what is marked, and RSET brings it back", f"""
        C DELE 1
        S +OK
        C STAT
        = +OK 2 {OCTETS[1] + OCTETS[2]}
        C RSET
        S +OK
        C STAT
        = +OK 3 {sum(OCTETS)}"""),
    ("LIST with a number gives that number and its octets", f"""
        C LIST 2
        ~ \\+OK 2 {OCTETS[1]}"""),
    ("LIST gives all but the marked ones", f"""
        C DELE 2
        S +OK
        C LIST
        S +OK
        = 1 {OCTETS[0]}
        = 3 {OCTETS[2]}
        = ."""),
    ("LIST refuses 0, -1, 4, 1x, +1 and 4294967297", """
        C LIST 0
        S -ERR
        C LIST -1
        S -ERR
        C LIST 4
        S -ERR
        C LIST 1x
        S -ERR
        C LIST +1
        S -ERR
        C LIST 4294967297
        S -ERR"""),
    ("RETR, DELE, TOP and UIDL refuse 0, 4, words, 18446744073709551617 and nothing", """
        C RETR 0
        S -ERR
        C RETR 4
        S -ERR
        C RETR one
        S -ERR
        C RETR
        S -ERR
        C RETR 18446744073709551617
        S -ERR
        C DELE 0
        S -ERR
        C DELE
        S -ERR
        C DELE 4
        S -ERR
        C TOP 0 0
        S -ERR
        C TOP 1
        S -ERR
        C TOP
        S -ERR
        C TOP 1 -1
        S -ERR
        C TOP 1 x
        S -ERR
        C UIDL 0
        S -ERR
        C UIDL 4
        S -ERR"""),
    ("a marked message cannot be reached by any command", """
        C DELE 1
        S +OK
        C DELE 1
        S -ERR
        C RETR 1
        S -ERR
        C LIST 1
        S -ERR
        C TOP 1 0
        S -ERR
        C UIDL 1
        S -ERR"""),
    ("NOOP does nothing", """
        C NOOP
        S +OK"""),
    ("login commands are refused after login", f"""
        C USER u0
        S -ERR
        C PASS {PASSWORD}
        S -ERR
        C AUTH PLAIN
        S -ERR
        C APOP u0 c4c9334bac560ecc979e58001b3e22fb
        S -ERR
        C STLS
        S -ERR"""),
    ("an empty line, a colon, UTF-8, NUL and a keyword of 200 octets are refused, and the session goes on", f"""
        R \\r\\n
        S -ERR
        C :
        S -ERR
        C ÄÖÜ
        S -ERR
        R NO\\0OP\\r\\n
        S -ERR
        R NO\\rOP\\r\\n
        S -ERR
        C {'X' * 200}
        S -ERR
        C NOOP
        S +OK"""),
    ("a command of 256 octets is refused once, and the next one is answered", f"""
        C NOOP {'a' * 249}
        S -ERR
        C NOOP
        S +OK"""),
    ("LIST with two spaces has one answer", """
        C LIST  1
        ~ (\\+OK|-ERR).*
        C NOOP
        S +OK"""),
    ("TOP 1 0 gives the header and the empty line", """
        C TOP 1 0
        S +OK
        = From: a@example.org
        = Subject: one
        = 
        = ."""),
    ("TOP 1 2 gives two lines of the body, stuffed", """
        C TOP 1 2
        S +OK
        = From: a@example.org
        = Subject: one
        = 
        = first line
        = ..second begins with a dot
        = ."""),
    ("TOP 2 99999999 gives the whole message", """
        C TOP 2 99999999
        S +OK
        = Subject: two
        = 
        = Hello
        = World
        = ."""),
    ("RETR sends line ends as CRLF and stuffs dots", """
        C RETR 1
        S +OK
        = From: a@example.org
        = Subject: one
        = 
        = first line
        = ..second begins with a dot
        = third
        = .
        C RETR 2
        S +OK
        = Subject: two
        = 
        = Hello
        = World
        = ."""),
    ("UIDL gives each message one word of 1 to 70 octets, and the same one alone", """
        C UIDL
        S +OK
        ~ 1 [!-~]{1,70}
        ~ 2 [!-~]{1,70}
        ~ 3 [!-~]{1,70}
        = .
        C UIDL 2
        ~ \\+OK 2 [!-~]{1,70}"""),
    ("commands in one segment are answered in order", f"""
        R STAT\\r\\nLIST 1\\r\\nNOOP\\r\\nDELE 3\\r\\nSTAT\\r\\nRSET\\r\\nQUIT\\r\\n
        S +OK 3 
        S +OK 1 {OCTETS[0]}
        S +OK
        S +OK
        S +OK 2 
        S +OK
        S +OK
        E"""),
)
for sentence, text in AFTER_LOGIN:
    @everywhere(sentence)
    def conversation(client, text=text):
        converse(server.logged_in(server.user(ONE, TWO, THREE), client), text)


# --- capabilities and the greeting ---------------------------------------------------------------

@everywhere("CAPA lists the same in both states, but for STLS")
def capa(client):
    before = client.capabilities()
    after = server.logged_in(server.user(), client).capabilities()
    before.pop("STLS", None)
    assert before == after, (before, after)
    for tag in ("TOP", "UIDL", "USER", "SASL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"):
        assert tag in before, tag


@everywhere("every tag of CAPA is a registered one or begins with X")
def tags(client):
    known = {"TOP", "USER", "SASL", "RESP-CODES", "LOGIN-DELAY", "PIPELINING", "EXPIRE", "UIDL", "IMPLEMENTATION",
             "STLS", "AUTH-RESP-CODE", "UTF8", "LANG"}
    assert not [tag for tag in client.capabilities() if tag not in known and not tag.startswith("X")]


@row("STLS is offered in clear text, and never under TLS")
def stls_tag():
    offered = {}
    for kind in harness.KINDS:
        with server.connect(kind) as client:
            offered[kind] = "STLS" in client.capabilities()
    assert offered == {"POP3": True, "POP3S": False, "STLS": False}, offered


@row("a hundred greetings are +OK lines of 512 octets or less, each with its own timestamp")
def greetings():
    stamps = set()
    for _ in range(100):
        with server.pop3() as client:
            stamp = re.fullmatch(rb"\+OK [^<>]*(<[!-;=?-~]+@[!-;=?-~]+>)", client.greeting)
            assert stamp and len(client.greeting) <= 510, client.greeting
            stamps.add(stamp[1])
    assert len(stamps) == 100


@row("over ::1 all is the same")
def ipv6():
    with server.logged_in(server.user(ONE), server.pop3("::1")) as client:
        assert client.stat() == (1, len(ONE))
        client.quit()
    with server.pop3s("::1") as client:
        client.quit()


# --- a client that writes or reads as it likes -----------------------------------------------------

@everywhere("20000 commands in one go are answered in order while the client reads")
def pipeline(client):
    server.logged_in(server.user(ONE), client)
    client.send_and_read(b"NOOP\r\nLIST 1\r\n" * 10000)
    answers = client.some_lines(20000)
    assert all(answer.startswith(b"+OK") for answer in answers[::2])
    assert set(answers[1::2]) == {b"+OK 1 %d" % OCTETS[0]}
    client.quit()


@everywhere("a slow reader of 8 MB gets every octet, and others are served meanwhile")
def slow_reader(client):
    message = b"A: b\n\n" + b"".join(b".%07d tail of the line\n" % i for i in range(300000))
    user = server.user(message)
    server.logged_in(user, client)
    client.send(b"RETR 1\r\nNOOP\r\n")
    time.sleep(0.3)
    with server.logged_in(server.user(ONE)) as other:
        assert other.raw_message("RETR 1") == ONE
        other.quit()
    assert client.line().startswith(b"+OK")
    assert b"\r\n".join(client.lines()) + b"\r\n" == message.replace(b"\n", b"\r\n")
    assert client.line().startswith(b"+OK")
    client.quit()


@everywhere("commands that arrive one octet at a time are the same commands")
def trickle(client):
    user = server.user(ONE)
    for octet in f"USER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n".encode():
        client.send(bytes([octet]))
    converse(client, f"""
        S +OK
        S +OK
        = +OK 1 {len(ONE)}
        S +OK
        E""")


@row("forty sessions at once are each one's own")
def forty():
    for where in (server, shared):
        users = [where.user(b"Subject: %d\n\nmail of %d\n" % (i, i)) for i in range(8)]
        clients = [where.logged_in(user) for user in users]
        idle = [where.pop3() for _ in range(32)]
        for number, client in enumerate(clients):
            assert b"mail of %d\r\n" % number in client.raw_message("RETR 1")
        for client in clients:
            client.quit()
        for client in idle:
            client.quit()


harness.main(server, shared)
