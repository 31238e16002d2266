#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Whether a refusal tells who exists: the same steps, words and times for users who are here and who are not.

Times are taken with refusal_msecs = 0, so that nothing hides them: in service a refusal is answered at fixed times
after the attempt began, and those differences are not to be seen. One attempt at a time, whose kind of user is drawn
by lot. A row is one thing that is timed: its medians, and how far the farthest is from that of users who are not here.

With --compare: whether the comparison of a digest tells how much of it was right (Welch's t of two classes).
"""
import argparse
import base64
import hashlib
import hmac
import os
import pathlib
import random
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
sys.dont_write_bytecode = True

FAR = 0.05         # a median farther away than this is a finding
T_FAR = 4.5        # and so is a larger t
NAMES = 40         # users of a kind
FAILURES = 4       # of a connection before the next; the server closes after five


def names(kind):
    """All kinds have names of one length; those nobody can have hold a slash."""
    letters = {"here": "h", "here, no password kept": "n", "not here": "x", "impossible": "/"}[kind]
    return [f"u{letters}{number:03}" for number in range(NAMES)]


KINDS = ("here", "here, no password kept", "not here", "impossible")


class Line:
    """One connection at a time, for several attempts; times are of a client that does nothing else."""

    def __init__(self, server, harness):
        self.server, self.harness = server, harness
        self.client, self.left = None, 0

    def ready(self):
        if self.left == 0:
            if self.client:
                self.client.close()
            self.client, self.left = self.server.pop3(), FAILURES
        self.left -= 1

    def ask(self, line):
        """Sends a line and returns (answer, seconds)."""
        began = time.perf_counter()
        self.client.send(line + b"\r\n")
        answer = self.client.line()
        return answer, time.perf_counter() - began


def b64(octets):
    return base64.b64encode(octets)


def plain(line, user):
    answer, secs = line.ask(b"AUTH PLAIN " + b64(f"\0{user}\0wrong {random.random()}".encode()))
    return [answer], {"": secs}


def login(line, user):
    one, _ = line.ask(b"AUTH LOGIN")
    two, first = line.ask(b64(user.encode()))
    three, second = line.ask(b64(f"wrong {random.random()}".encode()))
    return [one, two, three], {"name": first, "password": second}


def userpass(line, user):
    one, first = line.ask(f"USER {user}".encode())
    two, second = line.ask(f"PASS wrong {random.random()}".encode())
    return [one, two], {"USER": first, "PASS": second}


def cram(line, user):
    one, _ = line.ask(b"AUTH CRAM-MD5")
    two, secs = line.ask(b64(user.encode() + b" " + os.urandom(16).hex().encode()))
    return [one[:2], two], {"": secs}


def apop(line, user):
    answer, secs = line.ask(f"APOP {user} {os.urandom(16).hex()}".encode())
    line.left = 0
    return [answer], {"": secs}


def scram(mechanism, octets):
    def attempt(line, user):
        nonce = b64(os.urandom(18)).decode()
        one, first = line.ask(f"AUTH {mechanism} ".encode() + b64(f"n,,n={user},r={nonce}".encode()))
        challenge = base64.b64decode(one[2:]).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        two, second = line.ask(b64(f"c=biws,r={fields['r']},p={b64(os.urandom(octets)).decode()}".encode()))
        shape = f"{len(fields['s'])} octets of salt, {fields['i']} iterations".encode()
        return [one[:2], shape, two], {"first": first, "proof": second}
    return attempt


MECHANISMS = {
    "PLAIN": plain,
    "LOGIN": login,
    "USER and PASS": userpass,
    "CRAM-MD5": cram,
    "APOP": apop,
    "SCRAM-SHA-1": scram("SCRAM-SHA-1", 20),
    "SCRAM-SHA-256": scram("SCRAM-SHA-256", 32),
    "SCRAM-SHA-512": scram("SCRAM-SHA-512", 64),
}


class Kpop:
    """The ticket is good, the name in USER is not the ticket's: does the answer tell whether somebody has it?"""

    def __init__(self, server, harness):
        self.server, self.realm = server, server.realm
        self.environ = self.realm.user("uh000")

    def __call__(self, _, user):
        with self.server.kpop() as client:
            client.sendauth(self.realm.apreq(self.environ))
            line = Line(self.server, None)
            line.client = client
            one, _ = line.ask(f"USER {user}".encode())
            two, secs = line.ask(b"PASS x")
        return [one, two], {"PASS": secs}


def measure(mechanism, attempt, line, tries):
    """{what is timed: {kind: [seconds]}}, and {kind: the answers}; answers of a kind must not differ."""
    times, words = {}, {}
    deck = [kind for kind in KINDS for _ in range(tries)]
    random.shuffle(deck)
    users = {kind: [name for name in names(kind) if name != "uh000"] for kind in KINDS}
    for kind in deck:
        line.ready()
        lines, timed = attempt(line, random.choice(users[kind]))
        if words.setdefault(kind, lines) != lines:
            raise SystemExit(f"{mechanism}: {kind}: {lines} and {words[kind]}")
        for what, secs in timed.items():
            times.setdefault(what, {}).setdefault(kind, []).append(secs)
    return times, words


def report(mechanism, times, words):
    """Rows of the table; whether all is well."""
    well = len({tuple(lines) for lines in words.values()}) == 1
    if not well:
        print(f"{mechanism}: the words differ: {words}", file=sys.stderr)
    for what, by_kind in times.items():
        medians = {kind: statistics.median(secs) * 1e6 for kind, secs in by_kind.items()}
        far = max(abs(medians[kind] / medians["not here"] - 1) for kind in medians)
        well = well and far <= FAR
        cells = " | ".join(f"{medians[kind]:,.1f}" for kind in KINDS)
        print(f"| {mechanism}{': ' if what else ''}{what} | {len(by_kind['here']):,} | {cells} | {far * 100:.1f} % |", flush=True)
    return well


def compare(server, password, tries):
    """APOP digests that are wrong in the first digit, or in the last: t of the difference of their times."""
    times = {0: [], 31: []}
    for _ in range(tries):
        with server.pop3() as client:
            stamp = client.greeting[client.greeting.index(b"<"):client.greeting.index(b">") + 1]
            digest = bytearray(hashlib.md5(stamp + password.encode()).hexdigest().encode())
            place = random.choice((0, 31))
            digest[place] = ord("1") if digest[place] != ord("1") else ord("2")
            line = f"APOP uh001 {digest.decode()}\r\n".encode()
            began = time.perf_counter()
            client.send(line)
            answer = client.line()
            times[place].append(time.perf_counter() - began)
            assert answer.startswith(b"-ERR"), answer
    # The longest times are the scheduler's.
    cut = statistics.quantiles(times[0] + times[31], n=20)[-2]
    kept = [[secs for secs in times[place] if secs < cut] for place in times]
    spread = sum(statistics.variance(secs) / len(secs) for secs in kept) ** 0.5
    return (statistics.fmean(kept[0]) - statistics.fmean(kept[1])) / spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1], help="where kpopd was built")
    parser.add_argument("--tries", type=int, default=10000, help="for each mechanism and kind of user")
    parser.add_argument("--kpop-tries", type=int, default=1000, help="the same for KPOP, where each takes a new ticket's proof")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"of {','.join(MECHANISMS)},KPOP")
    parser.add_argument("--compare", type=int, metavar="TRIES", help="time the comparison of digests instead")
    parser.add_argument("--beat", type=int, default=0, help="refusal_msecs, to see what a client sees")
    options = parser.parse_args()
    os.environ["KPOPD_BUILDDIR"] = str(options.build.resolve())
    import harness  # pylint: disable=import-outside-toplevel
    realm = harness.Realm()
    server = harness.Server(realm, users=0, start=False, isolation="shared", refusal_msecs=options.beat, penalty_threshold=0,
                            source_checks=0, front_processes=1, auth_processes=1, password_processes=1, log_debug=False,
                            mechanisms=["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"])
    for name in names("here"):
        server.add_user(name)
    for name in names("here, no password kept"):
        server.add_user(name, plain=False)
    server.start()
    if options.compare:
        t = compare(server, harness.PASSWORD, options.compare)
        print(f"{options.compare:,} digests, wrong in the first digit or in the last: t = {t:.2f}")
        well = abs(t) < T_FAR
    else:
        print(f"| median, µs | tries | {' | '.join(KINDS)} | farthest |")
        print("|---" * (len(KINDS) + 3) + "|")
        well = True
        for mechanism, attempt in MECHANISMS.items():
            if not options.only or mechanism in options.only:
                times, words = measure(mechanism, attempt, Line(server, harness), options.tries)
                well = report(mechanism, times, words) and well
        if not options.only or "KPOP" in options.only:
            times, words = measure("KPOP", Kpop(server, harness), type("None", (), {"ready": lambda self: None})(),
                                   options.kpop_tries)
            well = report("KPOP", times, words) and well
    server.stop()
    sys.exit(0 if well else 1)


main()
