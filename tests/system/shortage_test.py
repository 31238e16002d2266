#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Memory that runs out at any allocation of a session or a delivery, and reads, writes and waits that come back early.
KPOPD_THOROUGH=1 tries every allocation; else a sample of them."""
import contextlib
import os
import random
import struct
import subprocess
import sys

import harness
from harness import PASSWORD, wait_for
from pop3 import Client

THOROUGH = bool(os.environ.get("KPOPD_THOROUGH"))
SAMPLE_COUNT = 40
MAIL = [b"Subject: %d\n\n" % number + b"".join(b".%d and %d\n" % (number, line) for line in range(size))
        for number, size in enumerate((3, 40, 4000), 1)]

if harness.SANITIZED:
    print("1..0 # SKIP sanitizers have an allocator of their own")
    sys.exit(0)

FAULTS = harness.WORK / "faults"
FAULTS.write_bytes(bytes(36))
FAULTS.chmod(0o666)
PRELOAD = ["env", f"LD_PRELOAD={harness.BUILD / 'tests/system/shim.so'}", f"KPOPD_FAULTS={FAULTS}"]


def say(role="", when=0, many=0, percent=0):
    with open(FAULTS, "r+b") as file:
        file.write(struct.pack("=16s5I", role.encode(), when, many, 0, percent, 0))


def heard():
    """(allocations, calls asked about)"""
    fields = struct.unpack("=16s5I", FAULTS.read_bytes())
    return fields[3], fields[5]


realm = harness.Realm()
alice = realm.user("alice")
servers = [harness.Server(realm, users=4, isolation=isolation, wrapper=PRELOAD, refusal_msecs=0)
           for isolation in ("process", "shared")]


def wire(message):
    return message.replace(b"\n", b"\r\n")


def session(server, user):
    """All of a session, as far as it goes; what QUIT was answered, None when it was not sent."""
    with contextlib.suppress(OSError), Client(server.pop3_port, greeting=False) as client:
        try:
            client.line()
            client.expect(f"USER {user}", "+OK")
            client.expect(f"PASS {PASSWORD}", "+OK")
            assert client.stat() == (3, sum(len(wire(message)) for message in MAIL)), "STAT"
            if client.command("UIDL").startswith(b"+OK"):
                assert len(client.lines()) == 3, "UIDL"
            for number, message in enumerate(MAIL, 1):
                if client.command(f"TOP {number} 1").startswith(b"+OK"):
                    client.lines()
                with contextlib.suppress(Refused):
                    assert retrieved(client, number) == wire(message), f"RETR {number}"
            client.expect("DELE 2", "+OK")
        except AssertionError as error:
            if str(error).startswith("closed") or "-ERR" in str(error):
                return None
            raise
        try:
            return client.command("QUIT")
        except AssertionError as error:
            if not str(error).startswith("closed"):
                raise
            return b""
    return None


class Refused(Exception):
    pass


def retrieved(client, number):
    try:
        return client.raw_message(f"RETR {number}")
    except AssertionError as error:
        if "answered b'-ERR" in str(error):
            raise Refused from error
        raise


def check(server, user, answer, what):
    """Nothing was removed that no QUIT named, +OK is true, and all works again."""
    why = []

    def over():
        try:
            with server.pop3() as client:
                client.expect(f"USER {user}", "+OK")
                client.expect(f"PASS {PASSWORD}", "+OK")
                count = client.stat()[0]
                client.quit()
                return (count,)
        except (AssertionError, OSError) as error:
            why[:] = [error]
            return None
    try:
        count = wait_for(over, "a login afterwards")[0]
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}: {why}") from error
    stored = server.stored(user)
    rest = sorted([MAIL[0], MAIL[2]])
    if answer is None:
        assert stored == sorted(MAIL), f"{what}: no QUIT, and there are {len(stored)}"
    elif answer.startswith(b"+OK"):
        assert stored == rest, f"{what}: {answer}, and there are {len(stored)}"
    else:
        assert stored in (rest, sorted(MAIL)), f"{what}: {answer}, and there are {len(stored)}"
    assert count == len(stored), f"{what}: {count} seen of {len(stored)}"


def sweep(server, role):
    rng = random.Random()
    user = server.user(*MAIL)
    say(role)
    check(server, user, session(server, user), "undisturbed")
    total = heard()[0]
    assert total > 5, f"{role} makes {total} allocations"
    chosen = list(range(1, total + 1))
    if not THOROUGH and total > SAMPLE_COUNT:
        chosen = sorted(rng.sample(chosen, SAMPLE_COUNT))
    oks = 0
    for when in chosen:
        for many in (1, 1000000) if THOROUGH else (rng.choice((1, 1000000)),):
            user = server.user(*MAIL)
            say(role, when, many)
            answer = session(server, user)
            say()
            check(server, user, answer, f"allocation {when} of {role}" + (" and all after it" if many > 1 else ""))
            oks += answer is not None and answer.startswith(b"+OK")
    print(f"# {len(chosen)} of {total} allocations, {oks} sessions went well all the same", flush=True)


for one in servers:
    for name in ("kpopd-front", "kpopd-store", "kpopd-auth", "kpopd-auth-pw"):
        harness.add_row(f"memory runs out in {name}: the client is told or let go, nothing is removed but by a QUIT that came, "
                        f"+OK is true, and all works again (isolation = {one.options['isolation']})", sweep, one, name)


@harness.row("memory runs out in kpop-deliver: a message is delivered, or it is tried again, never half")
def deliver():
    server = servers[0]
    message = b"Subject: delivered\n\n" + b"text\n" * 3000

    def run(when, many):
        user = server.user()
        say("kpop-deliver", when, many)
        status = subprocess.run([*PRELOAD, harness.BUILD / "kpop-deliver", "-c", server.conf, "-d", user], input=message,
                                stderr=subprocess.DEVNULL, check=False).returncode
        count = heard()[0]
        say()
        found = server.stored(user)
        assert all(octets.endswith(message) for octets in found), f"half a message at allocation {when}"
        assert len(found) == (status == 0) and (status in (0, 75) or status < 0), f"status {status} at allocation {when}, {len(found)} there"
        return count, status
    total, status = run(0, 0)
    assert status == 0 and total > 5
    for when in range(1, total + 1) if THOROUGH else sorted(random.sample(range(1, total + 1), min(SAMPLE_COUNT, total))):
        run(when, random.choice((1, 1000000)))
    print(f"# {total} allocations", flush=True)


def early(server):
    say(percent=10)
    try:
        for _ in range(10):
            user = server.user(*MAIL)
            for client in (server.pop3(), server.pop3s(), server.connect("STLS")):
                with server.logged_in(user, client):
                    assert client.stat()[0] == 3
                    assert len(client.listing("UIDL")) == len(client.listing("LIST")) == 3
                    for number, message in enumerate(MAIL, 1):
                        assert client.raw_message(f"RETR {number}") == wire(message)
                        assert client.raw_message(f"TOP {number} 3000000") == wire(message)
                    client.quit()
            with server.logged_in(user) as client:
                client.expect("DELE 2", "+OK")
                client.quit()
            assert server.stored(user) == sorted([MAIL[0], MAIL[2]])
            subprocess.run([*PRELOAD, harness.BUILD / "kpop-deliver", "-c", server.conf, "-d", user], input=MAIL[2], check=True)
            assert sum(octets.endswith(MAIL[2]) for octets in server.stored(user)) == 2
            for mechanism in ("auth_cram_md5", "auth_scram", "auth_apop"):
                with server.pop3() as client:
                    wait_for(lambda: getattr(client, mechanism)(user, PASSWORD).startswith(b"+OK"), mechanism)
                    client.quit()
            with server.kpop() as client:
                client.sendauth(realm.apreq(alice))
                client.expect("USER alice", "+OK")
                client.expect("PASS x", "+OK")
                client.quit()
    finally:
        calls = heard()[1]
        say()
    print(f"# {calls} calls", flush=True)
    assert calls > 1000


for one in servers:
    harness.add_row("one call in ten comes back early, with one octet or EINTR: sessions of all kinds and deliveries go right "
                    f"(isolation = {one.options['isolation']})", early, one)
harness.main(*servers)
