#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What one source that has passwords checked as fast as it can costs everybody else.

Good users log in one after the other, each for the first time since the server's start, so that each password costs
its hash; in turn there is no attack, and one of so many attempts a second, always with the same wrong password, which
no penalty ends. Printed: the good users' median and 99th percentile, and what checking passwords took, each with
source_checks as it is by default, and without bound.
"""
import argparse
import base64
import heapq
import multiprocessing
import os
import pathlib
import resource
import selectors
import socket
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
sys.dont_write_bytecode = True
BEAT_SECS = 2  # refusal_msecs
TURN_SECS = 30  # at most: without a bound hardly anybody gets in
FAR = 2.0  # times the quiet 99th percentile
ATTACKER = "127.200.0.1"


def attack(port, rate, tried):
    """Many connections, each with one attempt in as long as a refusal takes, whatever the answer."""
    os.nice(5)  # it stands for another machine
    line = b"AUTH PLAIN " + base64.b64encode(b"\0somebody\0always the same") + b"\r\n"
    selector, due = selectors.DefaultSelector(), []

    def connect(when):
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind((ATTACKER, 0))
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        selector.register(one, selectors.EVENT_READ)
        heapq.heappush(due, (when, id(one), one))

    for number in range(int(rate * BEAT_SECS)):
        connect(time.monotonic() + 0.5 + number / rate)
    while True:
        now = time.monotonic()
        for key, _ in selector.select(max(0, min(0.05, due[0][0] - now))):
            try:
                if key.fileobj.recv(4096):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            selector.unregister(key.fileobj)
            key.fileobj.close()
        now = time.monotonic()
        while due[0][0] < now:
            when, _, one = heapq.heappop(due)
            try:
                one.send(line)
                heapq.heappush(due, (when + BEAT_SECS, id(one), one))
                with tried.get_lock():
                    tried.value += 1
            except OSError:  # the server ends a connection after some failures
                if one.fileno() >= 0:
                    selector.unregister(one)
                    one.close()
                connect(now + 0.2)


def checking_secs(server):
    """Processor time that the password processes have had."""
    ticks = 0
    for pid, _ in server.family():
        name, _, fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        if name.endswith("kpopd-auth-pw"):
            ticks += sum(map(int, fields.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def good_logins(server, users, password):
    """Seconds of each login; who is not in after as long as a client would wait is counted with that."""
    took, end = [], time.monotonic() + TURN_SECS
    for number, user in enumerate(users):
        if time.monotonic() > end:
            break
        began = time.perf_counter()
        try:
            with server.pop3_from(f"127.100.{number // 250}.{1 + number % 250}") as client:
                began = time.perf_counter()
                answer = client.command(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()))
                took.append(time.perf_counter() - began)
                assert answer.startswith((b"+OK", b"-ERR [SYS/TEMP]")), answer
                client.command("QUIT")
        except TimeoutError:
            took.append(time.perf_counter() - began)
        time.sleep(0.005)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1], help="where kpopd was built")
    parser.add_argument("--users", type=int, default=300, help="good logins of a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind")
    parser.add_argument("--rate", type=int, default=1000, help="attempts a second")
    parser.add_argument("--isolation", default="shared", choices=("shared", "process"))
    options = parser.parse_args()
    os.environ["KPOPD_BUILDDIR"] = str(options.build.resolve())
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    import harness  # pylint: disable=import-outside-toplevel
    import pop3     # pylint: disable=import-outside-toplevel
    realm = harness.Realm()
    users = [f"g{number}" for number in range(options.users)]
    servers = {}
    for checks in (2, 0):
        server = harness.Server(realm, users=0, start=False, isolation=options.isolation, source_checks=checks,
                                penalty_exempt_networks=[], log_debug=False, refusal_msecs=BEAT_SECS * 1000, sessions=4000)
        server.pop3_from = lambda source, port=server.pop3_port: pop3.Client(port, source=source)
        for user in users:
            server.add_user(user, plain=False)
        servers[checks] = server
    took, rates, work = {}, {}, {}
    for _ in range(options.rounds):
        for checks, server in servers.items():
            for attacked in (False, True):
                server.start()
                tried = multiprocessing.Value("i", 0)
                child = None
                if attacked:
                    child = multiprocessing.Process(target=attack, args=(server.pop3_port, options.rate, tried), daemon=True)
                    child.start()
                    time.sleep(2 * BEAT_SECS)
                before, worked, began = tried.value, checking_secs(server), time.monotonic()
                took.setdefault((checks, attacked), []).extend(good_logins(server, users, harness.PASSWORD))
                rates[checks, attacked] = (tried.value - before) / (time.monotonic() - began)
                work[checks, attacked] = (checking_secs(server) - worked) / (time.monotonic() - began)
                if child:
                    child.terminate()
                    child.join()
                server.stop()
    print(f"isolation = {options.isolation}, {options.rounds} × {options.users} logins")
    print("| source_checks | attempts a second | logins | median, ms | 99th percentile, ms | of a processor, to check passwords |")
    print("|---|---|---|---|---|---|")
    tail = {}
    for (checks, attacked), secs in sorted(took.items(), reverse=True):
        tail[checks, attacked] = statistics.quantiles(secs, n=100)[-1]
        print(f"| {checks} | {rates[checks, attacked]:,.0f} | {len(secs)} | {statistics.median(secs) * 1e3:.2f} | "
              f"{tail[checks, attacked] * 1e3:.2f} | {work[checks, attacked] * 100:.0f} % |")
    sys.exit(0 if tail[2, True] < FAR * tail[2, False] else 1)


main()
