#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A client that vanishes without a word: its maildrop is free again within a minute, whatever it was about to do."""
import ctypes
import os
import socket
import threading
import time

import harness
import pop3
from harness import PASSWORD, ROOT, run, wait_for

WITHIN_SECS = 60 + 30  # what is promised, and what a busy machine may take more
SLOW_SECS = 65  # a client that is there and reads nothing has more than those who have vanished

realm = harness.Realm()
LARGE = b"Subject: large\n\n" + (b"y" * 998 + b"\n") * 12000
SPACE, LINK = f"kpopd-{os.getpid()}", f"kp{os.getpid()}"
NETWORK = f"198.18.{os.getpid() % 256}"


def in_namespace(function):
    """Calls it with the sockets of the namespace, in a thread, for a namespace is a thread's."""
    result = []

    def inside():
        with open(f"/run/netns/{SPACE}", encoding="ascii") as space:
            assert ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0) == 0
        result.append(function())
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(harness.WAIT_SECS)
    return result[0]


def cable():
    """Two ends: ours is NETWORK.1, the other one in a namespace of its own."""
    run("ip", "netns", "add", SPACE)
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "cable", "netns", SPACE)
    run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", LINK)
    run("ip", "link", "set", LINK, "up")
    run("ip", "-n", SPACE, "addr", "add", f"{NETWORK}.2/24", "dev", "cable")
    run("ip", "-n", SPACE, "link", "set", "cable", "up")


def unplug():
    run("ip", "link", "del", LINK, check=False)
    run("ip", "netns", "del", SPACE, check=False)


def silence():
    """Nothing comes back from the other end any more."""
    run("ip", "-n", SPACE, "route", "add", "blackhole", f"{NETWORK}.1/32")


def start(**options):
    port = harness.free_ports(1)[0]
    section = f"listener cable {{ protocol = pop3 addresses = {{'{NETWORK}.1'}} port = {port} }}\n"
    server = harness.Server(realm, users=4, sections=section, **options)
    server.cable_port = port
    return server


def far(server, user):
    """A session at the other end of the cable."""
    client = in_namespace(lambda: pop3.Client(server.cable_port, host=f"{NETWORK}.1"))
    return server.logged_in(user, client)


def free_within(server, users, secs):
    """When each user's maildrop could be opened again; what nobody may say is that a message was removed."""
    began, took = time.monotonic(), {}
    while len(took) < len(users):
        for user in users:
            if user in took:
                continue
            with server.pop3() as client:
                client.expect(f"USER {user}", "+OK")
                answer = client.command(f"PASS {PASSWORD}")
                if answer.startswith(b"+OK"):
                    took[user] = time.monotonic() - began
                    assert client.stat()[0] == 1
                    client.quit()
                else:
                    assert answer.startswith(b"-ERR [IN-USE]"), answer
        waits = time.monotonic() - began
        assert waits < secs, f"after {waits:.0f} s {set(users) - set(took)} are still in use"
        time.sleep(2)
    return took


if ROOT and run("ip", "netns", "list", check=False).returncode == 0:
    cable()
    try:
        process, shared = start(), start(isolation="shared")

        @harness.row("clients vanish: idle, in the middle of a message, after a command; and one is only slow")
        def vanish():
            clients, users = [], {process: [], shared: []}
            slow = []
            for server in (process, shared):
                idle, reading, asking, waits = (server.user(LARGE) for _ in range(4))
                users[server] += [idle, reading, asking]
                clients.append(far(server, idle))
                clients[-1].expect("DELE 1", "+OK")
                clients.append(far(server, reading))
                clients[-1].send(b"RETR 1\r\n")
                clients[-1].read(10000)
                asks = far(server, asking)
                clients.append(asks)
                patient = server.logged_in(waits)
                patient.send(b"RETR 1\r\n")
                patient.read(1000)
                slow.append(patient)
            time.sleep(1)  # what was under way has arrived, so that the kernel asks after the idle ones
            silence()
            for client in clients:
                # Of these octets one side never hears, whether they arrive or not.
                client.sock.settimeout(None)
            began = time.monotonic()
            results = []
            threads = [threading.Thread(target=lambda s=s: results.append(free_within(s, users[s], WITHIN_SECS))) for s in users]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(2 * WITHIN_SECS)
            assert len(results) == 2, "some maildrops were not free in time"
            print("# free after " + ", ".join(f"{secs:.0f} s" for took in results for secs in took.values()))
            time.sleep(max(0, SLOW_SECS - (time.monotonic() - began)))
            for patient in slow:
                length = len(LARGE) + LARGE.count(b"\n")
                rest = patient.read(length - 1000 + len(b"+OK %d octets\r\n" % length))
                assert rest.endswith(b"y\r\n") and patient.read(3) == b".\r\n"
                patient.quit()
        harness.main(process, shared)
    finally:
        unplug()
else:
    print("1..0 # SKIP a network namespace needs root")
