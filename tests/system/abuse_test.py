#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every mechanism left in the lurch at every step: whoever comes next, on this connection or another, is served.
KPOPD_ABUSE_ROUNDS: how often connections are dropped while memory is watched (10000 for a long run)."""
import base64
import contextlib
import itertools
import os
import pathlib

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
        with contextlib.suppress(OSError):
            process = pathlib.Path(f"/proc/{pid}")
            if not (process / "comm").read_text().startswith("auth"):
                continue
            total += sum(int(line.split()[1]) for line in (process / "smaps_rollup").read_text().splitlines()
                         if line.startswith("Private_Dirty"))
    return total


@row(f"{ROUNDS} connections dropped in the middle of every mechanism leave nothing behind in auth")
def dropped():
    ways = [(mechanism, first, step) for mechanism, first in FIRST.items() if mechanism[:2] != "GS" for step in (0, 1)]
    ways += [("GSSAPI", None, 0), ("GS2-KRB5", None, 0)]
    before = None
    for count, (mechanism, first, step) in zip(range(ROUNDS + ROUNDS // 2), itertools.cycle(ways)):
        if count == ROUNDS // 2:
            before = auth_memory(shared)
        client = shared.pop3()
        reach(client, mechanism, first, step)
        client.reset()
    with shared.pop3() as client:
        proven(client, GOOD["PLAIN"])
        client.quit()
    grown = auth_memory(shared) - before
    print(f"# auth has {grown} KiB more after {ROUNDS} connections")
    assert grown < (20000 if harness.SANITIZED else 512), f"{grown} KiB"


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


harness.main(server, shared)
