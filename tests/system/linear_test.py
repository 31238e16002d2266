#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Messages made to be dear: a million header fields, a header line of 100 MB, a million parts, each in the other. What they
cost is CPU time of the server's processes, beside what an ordinary message of the same length costs in the same minute."""
import contextlib
import os
import pathlib

import harness

OCTETS = 100_000_000
TICK = os.sysconf("SC_CLK_TCK")
FACTOR, GRAIN_SECS = 2, 0.1  # times as much as the ordinary message; clock ticks, and what else the machine does


def repeated(lines, size):
    data = b"".join(lines)
    return (data * (size // len(data) + 1))[:size - 1] + b"\n"


def fields():
    return b"".join(b"X-%d: %s\n" % (i, b"v" * 88) for i in range(1_000_000))[:OCTETS - 8] + b"\n\nbody\n"


def parts():
    heads = b"".join(b'--%d\nContent-Type: multipart/mixed; boundary="%d"\n\n' % (i, i + 1) for i in range(1_000_000))
    return b'Subject: parts\nContent-Type: multipart/mixed; boundary="0"\n\n' + heads


ORDINARY = b"Subject: ordinary\n\n" + repeated([b"%d " % i + b"t" * 65 + b"\n" for i in range(1000)], OCTETS)
DEAR = {"a million header fields": fields, "a header line of 100 MB": lambda: b"Subject: " + b"s" * OCTETS + b"\n\nbody\n",
        "a million parts, each in the other": parts}

realm = harness.Realm()
server = harness.Server(realm, users=2, isolation="shared", front_processes=1, store_processes=1, refusal_msecs=0)


def cpu():
    """Seconds of all processes that are there all the time."""
    total = 0
    for pid, _ in server.family():
        with contextlib.suppress(OSError):
            words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(words[11]) + int(words[12])
    return total / TICK


def took(client, command):
    """CPU of one command whose answer ends with the line that holds a dot, and how many octets came."""
    before = cpu()
    client.expect(command, "+OK")
    count, tail = len(client.buffer), client.buffer[-5:]
    client.buffer = b""
    while tail != b"\r\n.\r\n":
        data = client.sock.recv(1 << 20)
        assert data, "closed"
        count += len(data)
        tail = (tail + data)[-5:]
    return cpu() - before, count


def costs(message):
    """CPU an octet: to see it first, RETR, TOP of all of it, and of its header."""
    user = server.user(message)
    before = cpu()
    with server.logged_in(user) as client:
        found = {"the first login": cpu() - before}
        for command in ("RETR 1", "TOP 1 4294967295", "TOP 1 0"):
            found[command] = min(took(client, command)[0] for _ in range(2))
        client.expect("DELE 1", "+OK")
        client.quit()
    return found


def dear(make):
    if "ordinary" not in known:
        known["ordinary"] = costs(ORDINARY)
    message = make()
    share = len(message) / len(ORDINARY)
    found = costs(message)
    for what, secs in found.items():
        # An ordinary message's TOP 1 0 costs nothing; a header of 100 MB is all there is.
        usual = known["ordinary"]["TOP 1 4294967295" if what == "TOP 1 0" else what]
        print(f"# {what}: {secs:.2f} s, {usual * share:.2f} s for an ordinary message of this length", flush=True)
        assert secs <= FACTOR * usual * share + GRAIN_SECS, what


known = {}
for name, made in DEAR.items():
    harness.add_row(f"{name}: costs no more than {FACTOR} times an ordinary message of this length", dear, made)
harness.main(server)
