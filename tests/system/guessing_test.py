#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Guessing at passwords: what it costs a source, and whom it costs nothing (doc/authentication.md, "Guessing").

Clients come from addresses in 127.0.0.0/8, which these servers do not exempt; each row has addresses of its own.
"""
import contextlib
import itertools
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import harness
import pop3
from harness import PASSWORD, row, wait_for

LONG = 3600  # seconds: no penalty of that length ends while a test runs
THRESHOLD = 3
guesses = (f"guess {number}" for number in itertools.count())
networks = (f"127.{1 + number // 250}.{1 + number % 250}" for number in itertools.count())

realm = harness.Realm()
STRICT = {"penalty_exempt_networks": [], "penalty_threshold": THRESHOLD, "penalty_secs": LONG, "penalty_max_secs": 86400,
          "refusal_msecs": 50}
server = harness.Server(realm, users=6, **STRICT)
shared = harness.Server(realm, users=2, isolation="shared", auth_processes=1, password_processes=2, **STRICT)
quick = harness.Server(realm, users=2, **{**STRICT, "penalty_secs": 1, "penalty_max_secs": 512})
forgetful = harness.Server(realm, users=2, **{**STRICT, "penalty_secs": 2, "penalty_max_secs": 2})
server.add_user("hashed", plain=False)
usual = harness.Server(realm, users=2, refusal_msecs=0)  # as the defaults have it

MECHANISMS = {
    "USER and PASS": lambda c, u, p: (c.command(f"USER {u}"), c.command(f"PASS {p}"))[1],
    "PLAIN": lambda c, u, p: c.auth_plain(u, p),
    "PLAIN without an initial response": lambda c, u, p: c.auth_plain(u, p, initial=False),
    "LOGIN": lambda c, u, p: c.auth_login(u, p),
    "CRAM-MD5": lambda c, u, p: c.auth_cram_md5(u, p),
    "APOP": lambda c, u, p: c.auth_apop(u, p),
    "SCRAM-SHA-256": lambda c, u, p: c.auth_scram(u, p),
    "SCRAM-SHA-1": lambda c, u, p: c.auth_scram(u, p, "sha1", "SCRAM-SHA-1"),
}


class Recorder(pop3.Client):
    """A client that notes every line it is sent, but for the octets that are new each time."""

    def line(self):
        line = super().line()
        self.seen = getattr(self, "seen", []) + [re.sub(rb"<[^>]*>|^\+ .+", b"+", line)]
        return line


def connect(one, source, client=pop3.Client):
    return client(one.pop3_port, host="::1" if ":" in source else "127.0.0.1", source=source)


def attempt(one, source, user, password, mechanism="USER and PASS"):
    """One attempt on a connection of its own; its answer. A maildrop that is still open is waited for."""
    end = time.monotonic() + harness.WAIT_SECS
    while True:
        with connect(one, source) as client:
            answer = MECHANISMS[mechanism](client, user, password)
            if answer.startswith(b"+OK"):
                client.quit()
            if not answer.startswith(b"-ERR [IN-USE]") or time.monotonic() > end:
                return answer
        time.sleep(0.05)


def good(one, source, user, password=PASSWORD):
    answer = attempt(one, source, user, password)
    assert answer.startswith(b"+OK"), answer


def bad(one, source, user, password=PASSWORD):
    answer = attempt(one, source, user, password)
    assert answer.startswith(b"-ERR [AUTH]"), answer


def fail(one, source, user, times=1):
    """Different wrong passwords."""
    for _ in range(times):
        bad(one, source, user, next(guesses))


def penalise(one, source, user="nobody"):
    fail(one, source, user, THRESHOLD)
    assert f"penalised peer={source} " in one.log_text()


# --- a source -------------------------------------------------------------------------------------

@row("below the threshold a source is let in, at the threshold it is not, and its neighbours are")
def threshold():
    network = next(networks)
    fail(server, f"{network}.1", "u0", THRESHOLD - 1)
    good(server, f"{network}.1", "u1")
    fail(server, f"{network}.1", "u0")
    bad(server, f"{network}.1", "u0")
    bad(server, f"{network}.1", "u2")
    good(server, f"{network}.2", "u2")
    assert re.search(rf"refused session=\w+ mech=USER .*peer={network}\.1 .*tried=u2: not checked", server.log_text())


for name in MECHANISMS:
    @row(f"{name}: whoever is named, and looked at or not, a refusal is the same line for line", name)
    def same_words(name):
        def lines(source, user, password):
            with connect(server, source, Recorder) as client:
                MECHANISMS[name](client, user, password)
                return client.seen
        wrong = lines(f"{next(networks)}.1", "u3", next(guesses))
        assert wrong[-1].startswith(b"-ERR [AUTH]"), wrong
        for user in ("hashed", "nobody", "no/body", "x" * 60):
            assert lines(f"{next(networks)}.1", user, next(guesses)) == wrong, user
        source = f"{next(networks)}.1"
        penalise(server, source)
        before = len(server.log_text())
        assert lines(source, "u3", PASSWORD) == wrong
        assert "not checked" in server.log_text()[before:]


@row("an IPv6 source is penalised as well")
def v6():
    penalise(server, "::1")
    bad(server, "::1", "u0")


@row("each failure doubles the penalty, and what is tried while it lasts does not make it longer")
def doubling():
    source = f"{next(networks)}.1"

    def said():
        return [int(secs) for secs in re.findall(rf"penalised peer={source} secs=(\d+)", quick.log_text())]
    fail(quick, source, "u0", THRESHOLD)
    for want in ([1], [1, 2], [1, 2, 4]):
        wait_for(lambda want=want: said() == want or fail(quick, source, "u0"), f"the log has {want}", 60)


@row("a penalty ends, and then the right password is right")
def ends():
    source = f"{next(networks)}.1"
    began = time.monotonic()
    fail(quick, source, "u1", THRESHOLD)
    wait_for(lambda: attempt(quick, source, "u1", PASSWORD).startswith(b"+OK"), "the password is right again", 60)
    assert time.monotonic() - began > 0.7  # a quarter of a second is the table's grain


@row("failures are forgotten in time")
def forgotten():
    source = f"{next(networks)}.1"
    fail(forgetful, source, "u0", THRESHOLD - 1)
    time.sleep(5)  # twice the time of one failure, and a bit
    fail(forgetful, source, "u0", THRESHOLD - 1)
    good(forgetful, source, "u0")


@row("the same wrong password again and again, as a mail client would, is one failure")
def same_secret():
    source = f"{next(networks)}.1"
    for mechanism in ("USER and PASS", "PLAIN", "LOGIN") * 5:
        answer = attempt(server, source, "u1", "what it was last month", mechanism)
        assert answer.startswith(b"-ERR [AUTH]"), answer
    good(server, source, "u1")


# --- users ----------------------------------------------------------------------------------------

@row("who is known from a network is let in at once, whatever others do there")
def known():
    network = next(networks)
    good(server, f"{network}.1", "u0")
    penalise(server, f"{network}.7")
    good(server, f"{network}.7", "u0")
    good(server, f"{network}.9", "u0")
    bad(server, f"{network}.7", "u1")


@row("nobody can lock a user out by guessing at his name")
def no_lock_out():
    home, away = next(networks), next(networks)
    good(server, f"{home}.1", "u4")
    penalise(server, f"{away}.1", "u4")
    penalise(server, f"{home}.2", "u5")
    good(server, f"{home}.1", "u4")
    good(server, f"{home}.2", "u4")


@row("a user who mistypes where he is known gets in, and spoils nothing for others there")
def mistypes():
    network = next(networks)
    good(server, f"{network}.1", "u2")
    fail(server, f"{network}.1", "u2", 3 * THRESHOLD)
    good(server, f"{network}.1", "u2")
    good(server, f"{network}.1", "u3")


@row("a login does not wash off what its source has guessed at others")
def no_laundering():
    source = f"{next(networks)}.1"
    for _ in range(THRESHOLD):
        fail(server, source, "u0")
        good(server, source, "u1") if _ == 0 else None
    bad(server, source, "u0")


@row("one name guessed at from addresses side by side is as guessed at from one")
def side_by_side():
    network = next(networks)
    for last in range(THRESHOLD):
        fail(server, f"{network}.{last + 1}", "u5")
    bad(server, f"{network}.99", "u5")
    good(server, f"{network}.99", "u3")
    assert re.search(rf"penalised peer={network}\.{THRESHOLD} tried=u5 secs=\d+", server.log_text())


def fail_from_everywhere(user, count):
    """One wrong password from each of so many networks; nobody waits for the answers, which may come late."""
    def said():
        return len(re.findall(rf"refused .* tried={user}: wrong password", shared.log_text()))
    want = said() + count
    for first in range(0, count, 100):
        with contextlib.ExitStack() as stack:
            for _ in range(first, min(first + 100, count)):
                source = f"{next(networks)}.1"
                client = stack.enter_context(connect(shared, source))
                client.send(f"USER {user}\r\nPASS guess from {source}\r\n".encode())
            wait_for(lambda least=want - count + min(first + 100, count): said() >= least, "they are refused", 60)


def shared_memory():
    """The most that an auth process has of it, in KiB."""
    sizes = [0]
    for pid, _ in shared.family():
        with contextlib.suppress(OSError, KeyError):
            fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
            if fields["Name"].strip() == "kpopd-auth-pw":
                sizes.append(int(fields["RssShmem"].split()[0]))
    return max(sizes)


@row("a user guessed at once each from a thousand networks waits where he is not known, and nowhere else")
def distributed():
    home = f"{next(networks)}.1"
    good(shared, home, "u0")
    fail_from_everywhere("u0", 1000)
    assert 0 < shared_memory() < 3000, shared_memory()
    assert re.search(r"slowed tried=u0 delay=\d+: guessed at from many places", shared.log_text())
    # Nothing is forgotten meanwhile, so the answers come as late as they ever do.
    took = {}
    for source, password in ((home, PASSWORD), (f"{next(networks)}.1", PASSWORD), (f"{next(networks)}.1", "wrong")):
        began = time.monotonic()
        with connect(shared, source) as client:
            client.sock.settimeout(60)
            answer = MECHANISMS["USER and PASS"](client, "u0", password)
            assert answer.startswith(b"+OK" if password == PASSWORD else b"-ERR [AUTH]"), answer
        took[source, password] = time.monotonic() - began
    known, right, wrong = took.values()
    assert known < 10 < 14.5 < right and wrong > 14.5, took
    # Others are not concerned, and who got in at last is known there now.
    began = time.monotonic()
    good(shared, f"{next(networks)}.1", "u1")
    good(shared, list(took)[1][0], "u0")
    assert time.monotonic() - began < 14


# --- who is exempt ---------------------------------------------------------------------------------

@row("tickets are taken from a source that is penalised, and they make their user known there")
def tickets():
    source = f"{next(networks)}.1"
    environ = realm.user("u4")
    penalise(server, source)
    bad(server, source, "u4")
    for _ in range(2):
        with pop3.Client(server.kpop_port, greeting=False, source=source) as client:
            client.sendauth(realm.apreq(environ))
            client.expect("USER u4", "+OK")
            client.expect("PASS x", "+OK")
            client.quit()
    good(server, source, "u4")
    bad(server, source, "u5")


@row("AUTH GSSAPI is taken from a source that is penalised, PLAIN is not")
def gssapi():
    realm.user("u0")
    os.rename(harness.WORK / "ccache-u0", harness.WORK / "u0.cc")
    penalise(server, "127.0.0.1")

    def load(work):
        return subprocess.run([harness.BUILD / "tests/bench/load", "-w", work, "-p", str(server.pop3_port), "-n", "2", "-c",
                               "1", "-t", "20", "-U", "1", "-P", PASSWORD, "-H", "localhost", "-A", server.ca, "-K",
                               harness.WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=realm.environ,
                              check=False, timeout=60)
    plain = load("plain")
    assert plain.returncode == 1 and b"[AUTH]" in plain.stderr, plain
    assert load("gssapi").returncode == 0


@row("refused tickets are not counted")
def refused_tickets():
    source = f"{next(networks)}.1"
    environ = realm.user("u5")
    for _ in range(4 * THRESHOLD):
        with pop3.Client(server.kpop_port, greeting=False, source=source) as client:
            client.sendauth(realm.apreq(environ))
            client.expect("USER u3", "+OK")
            client.expect("PASS x", "-ERR [AUTH]")
    good(server, source, "u3")


@row("by default this host's own addresses are exempt, as webmail would use them")
def loopback():
    for number in range(100):
        bad(usual, "127.0.0.1", "u0", f"wrong {number}")
        bad(usual, "::1", "u0", f"wrong {number}")
    good(usual, "127.0.0.1", "u0")
    good(usual, "::1", "u1")
    assert "penalised" not in usual.log_text()


# --- what the table outlives ------------------------------------------------------------------------

def remembered_over(change):
    guesser, home = f"{next(networks)}.1", next(networks)
    penalise(server, guesser)
    good(server, f"{home}.1", "u0")
    penalise(server, f"{home}.1", "u1")
    change()
    bad(server, guesser, "u2")
    good(server, f"{home}.1", "u0")
    bad(server, f"{home}.1", "u1")


@row("SIGHUP forgets neither penalties nor known networks")
def over_reload():
    remembered_over(server.reload)


@row("nor does the death of every auth process")
def over_death():
    def auths():
        found = []
        for pid, _ in server.family():
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("kpopd-auth"):
                    found.append(pid)
        return found

    def kill():
        before = auths()
        assert len(before) >= 4, before
        for pid in before:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(auths()) - set(before)) >= len(before), "others have taken their place")

        def serves():
            with pop3.Client(server.pop3_port, source=f"{next(networks)}.1") as client:
                return not MECHANISMS["PLAIN"](client, "u3", next(guesses)).startswith(b"-ERR [SYS/TEMP]")
        wait_for(serves, "they serve")
    remembered_over(kill)


@row("auth processes that are killed while many guess leave nobody waiting")
def killed_at_work():
    stop, source = threading.Event(), f"{next(networks)}.1"

    def flood():
        while not stop.is_set():
            with contextlib.suppress(AssertionError, OSError), connect(shared, source) as client:
                client.sock.settimeout(5)
                client.auth_plain("u1", "the same")
    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            for pid, _ in shared.family():
                with contextlib.suppress(OSError):
                    if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "kpopd-auth-pw":
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    def serves():
        with contextlib.suppress(AssertionError, OSError):
            return attempt(shared, f"{next(networks)}.1", "u1", PASSWORD).startswith(b"+OK")
        return False
    wait_for(serves, "others are served", 60)


# --- work -------------------------------------------------------------------------------------------

@row("a source that has passwords checked without end keeps nobody else from being checked")
def fair():
    stop, source, counted = threading.Event(), f"{next(networks)}.1", []

    def flood():
        while not stop.is_set():
            with contextlib.suppress(AssertionError, OSError), connect(server, source) as client:
                for _ in range(5):
                    counted.append(client.auth_plain("u2", "the same wrong one"))
    threads = [threading.Thread(target=flood) for _ in range(50)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(counted) > 100, "the flood runs")
        for _ in range(10):
            good(server, f"{next(networks)}.1", "u3")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert "too much of this source is being checked" in server.log_text() or len(counted) < 1000, len(counted)
    wait_for(lambda: attempt(server, source, "u2", PASSWORD).startswith(b"+OK"), "nothing of it is left")


harness.main(server, shared, quick, forgetful, usual)
