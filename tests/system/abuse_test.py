#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every mechanism left in the lurch at every step: whoever comes next, on this connection or another, is served.
KPOPD_ABUSE_ROUNDS: how often connections are dropped while memory is watched (10000 for a long run)."""
import base64
import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import re

import harness
from harness import PASSWORD, row

ROUNDS = int(os.environ.get("KPOPD_ABUSE_ROUNDS", "400"))

realm = harness.Realm()
OPTIONS = {"refusal_msecs": 20, "penalty_threshold": 0, "auth_processes": 1, "password_processes": 1}
server = harness.Server(realm, users=4, **OPTIONS)
shared = harness.Server(realm, users=4, isolation="shared", **OPTIONS)
tickets = realm.user("u0")

b64 = base64.b64encode


def scram_first(header):
    return lambda: f"{header}n=u0,r=abcdefghijklmnop".encode()


# What a client says when it is asked for its first message; None: the server speaks first.
FIRST = {
    "GSSAPI": lambda: realm.token(tickets), "GS2-KRB5": lambda: realm.token(tickets, "GS2-KRB5"),
    "SCRAM-SHA-1": scram_first("n,,"), "SCRAM-SHA-256": scram_first("n,,"), "SCRAM-SHA-512": scram_first("n,,"),
    "CRAM-MD5": None, "PLAIN": lambda: b"\0u0\0wrong", "LOGIN": lambda: b"u0"}
FIRST_TLS = {**FIRST, "SCRAM-SHA-256-PLUS": scram_first("p=tls-exporter,,"), "SCRAM-SHA-512-PLUS": scram_first("p=tls-exporter,,"),
             "GS2-KRB5-PLUS": lambda: b"p=tls-exporter,,abc"}
GOOD = {
    "PLAIN": lambda c: c.auth_plain("u1", PASSWORD), "LOGIN": lambda c: c.auth_login("u1", PASSWORD),
    "CRAM-MD5": lambda c: c.auth_cram_md5("u1", PASSWORD),
    "SCRAM-SHA-1": lambda c: c.auth_scram("u1", PASSWORD, "sha1", "SCRAM-SHA-1"),
    "SCRAM-SHA-256": lambda c: c.auth_scram("u1", PASSWORD),
    "SCRAM-SHA-512": lambda c: c.auth_scram("u1", PASSWORD, "sha512", "SCRAM-SHA-512")}
ABUSES = {
    "cancelled": b"*", "answered with no base64": b"A!==", "answered with half of it": b"AAA",
    "answered with a NUL": b64(b"\0"), "answered with noise": b64(bytes(range(256)) * 4), "answered with too much": b"A" * 98304}


def reach(client, mechanism, first, step):
    """Leads the client to the step in which it is to be a nuisance, or as far as it goes; False: that was the end."""
    answer = client.command(f"AUTH {mechanism}")
    assert answer.startswith(b"+ "), (mechanism, answer)
    return step == 0 or first is None or client.command(b64(first())).startswith(b"+ ")


def proven(client, good):
    """A SCRAM login ends with the server's proof, which the client answers with nothing."""
    answer = good(client)
    if answer.startswith(b"+ "):
        answer = client.command(b"")
    assert answer.startswith(b"+OK"), answer


def one_then_another(where, connect, mechanisms):
    kinds = itertools.cycle(ABUSES.items())
    for (mechanism, first), (other, good) in itertools.product(mechanisms.items(), GOOD.items()):
        for step in (0, 1):
            sentence, nuisance = next(kinds)
            with connect(where) as client:
                if reach(client, mechanism, first, step):
                    answer = client.command(nuisance)
                    while answer.startswith(b"+ "):
                        answer = client.command(b"*")
                    assert answer.startswith(b"-ERR"), (mechanism, step, sentence, answer)
                proven(client, good)
                client.quit()


for where in (server, shared):
    name = f"isolation = {where.options['isolation']}"
    @row(f"each mechanism, spoilt at each step, then each other one on the same connection ({name})", where)
    def clear_pairs(where):
        one_then_another(where, lambda where: where.pop3(), FIRST)

    @row(f"the same in TLS, with those that bind ({name})", where)
    def tls_pairs(where):
        one_then_another(where, lambda where: where.pop3s(), FIRST_TLS)


def auth_memory(where):
    """KiB that the auth processes have for themselves."""
    total = 0
    for pid, _ in where.family():
        if not harness.comm(pid).startswith("kpopd-auth"):
            continue
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() # auth ends only with the server
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty"))
    assert total > 0
    return total


def watched():
    """Whether memory means something: only root may look into the processes, and a sanitizer keeps what was freed
    for a while, and finds by itself what was not."""
    return harness.ROOT and not harness.SANITIZED


@row(f"{ROUNDS} connections dropped in the middle of every mechanism leave nothing behind in auth")
def dropped():
    ways = [(mechanism, first, step) for mechanism, first in FIRST.items() if mechanism[:2] != "GS" for step in (0, 1)]
    ways += [("GSSAPI", None, 0), ("GS2-KRB5", None, 0)]
    before = None
    for count, (mechanism, first, step) in zip(range(ROUNDS + ROUNDS // 2), itertools.cycle(ways)):
        if count == ROUNDS // 2 and watched():
            before = auth_memory(shared)
        client = shared.pop3()
        reach(client, mechanism, first, step)
        client.reset()
    with shared.pop3() as client:
        proven(client, GOOD["PLAIN"])
        client.quit()
    if watched():
        grown = auth_memory(shared) - before
        print(f"# auth has {grown} KiB more after {ROUNDS} connections")
        assert grown < 512, f"{grown} KiB"


@row("two users' conversations in turns, in one auth process: neither becomes the other")
def in_turns():
    for number, user in enumerate(("u2", "u3"), 1):
        for _ in range(number):
            shared.deliver(user, b"Subject: x\n\n")
    for _ in range(10):
        with shared.pop3() as one, shared.pop3() as two:
            assert one.challenge("AUTH LOGIN") and two.challenge("AUTH LOGIN")
            one.challenge(b64(b"u2"))
            two.challenge(b64(b"u3"))
            assert two.command(b64(PASSWORD.encode())).startswith(b"+OK")
            assert one.command(b64(PASSWORD.encode())).startswith(b"+OK")
            assert one.stat()[0] == 1 and two.stat()[0] == 2
            one.quit()
            two.quit()


# --- octets and lengths ------------------------------------------------------------------------------

def refused_all(tokens):
    """Of several PLAIN logins on one connection each is refused."""
    with shared.pop3() as client:
        client.send(b"".join(b"AUTH PLAIN " + b64(token) + b"\r\n" for token in tokens))
        for token in tokens:
            answer = client.line()
            assert answer.startswith(b"-ERR [AUTH]"), (token, answer)


@row("no octet is dropped or taken for another: any of the 256 more in name, password or authorization identity is refused")
def octets():
    right = b"\0u1\0" + PASSWORD.encode()
    with shared.pop3() as client:
        assert client.command(b"AUTH PLAIN " + b64(right)).startswith(b"+OK")
        client.quit()
    tokens = []
    for octet in (bytes([value]) for value in range(256)):
        tokens += [right + octet, b"\0u1\0" + octet + PASSWORD.encode(), b"\0u1" + octet + b"\0" + PASSWORD.encode(),
                   b"u1" + octet + right]
    groups = [tokens[i:i + 4] for i in range(0, len(tokens), 4)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(refused_all, groups))
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", shared.log.read_bytes())


LENGTHS = (0, 1, 39, 40, 41, *range(253, 258), *range(511, 514), *range(1023, 1026), *range(4095, 4098), 65536, 1 << 20)
COMMANDS = ("USER", "PASS", "APOP", "AUTH", "AUTH PLAIN", "AUTH GSSAPI", "CAPA", "STLS", "STAT", "LIST", "RETR", "DELE", "TOP",
            "UIDL", "NOOP", "RSET", "XYZZY")


def argument_of(command, length, end):
    """One command with an argument of that many octets: it gets one answer, and the next one its own."""
    with shared.pop3() as client:
        if command == "PASS":
            client.expect("USER u1", "+OK")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(command.encode() + b" " + b"A" * length + end)
            if end == b"":
                return
            answer = client.line()
            while answer.startswith(b"+ "):
                answer = client.command(b"*")
            assert answer.startswith((b"+OK", b"-ERR")), (command, length, answer)
            if length > 255 and command != "CAPA":
                assert answer.startswith(b"-ERR"), (command, length, answer)
            if answer.startswith(b"+OK") and command in ("AUTH", "CAPA"):
                client.lines()
            if not (answer.startswith(b"+OK") and command == "STLS"):
                client.expect("NOOP", "-ERR")


@row("every command with an argument of each length around every bound, with its end and without")
def lengths():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(argument_of, command, length, end)
                for command, length, end in itertools.product(COMMANDS, LENGTHS, (b"\r\n", b"\n", b""))]
        for job in jobs:
            job.result()
    with shared.pop3() as client:
        proven(client, GOOD["PLAIN"])
        client.quit()


harness.main(server, shared)
