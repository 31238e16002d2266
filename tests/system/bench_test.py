#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The load generator that measures kpopd: what it says of a server must be true, or figures mean nothing."""
import json
import os
import subprocess

import harness
from harness import add_row, row

MESSAGE = b"Subject: load\n\n.begins with a dot\nends without a line end"
USERS = 4

realm = harness.Realm()
for index in range(USERS):
    realm.user(f"u{index}")
    os.rename(harness.WORK / f"ccache-u{index}", harness.WORK / f"u{index}.cc")
servers = {isolation: harness.Server(realm, users=USERS, isolation=isolation) for isolation in ("process", "shared")}
for server in servers.values():
    for index in range(USERS):
        for _ in range(3):
            server.deliver(f"u{index}", MESSAGE)


def load(work, port, server, sessions=40, password=harness.PASSWORD):
    """Runs it: (exit status, what it reports, what it complains of)."""
    result = subprocess.run(
        [harness.BUILD / "tests/bench/load", "-w", work, "-p", str(port), "-n", str(sessions), "-c", "2", "-t", "20",
         "-U", str(USERS), "-P", password, "-H", "localhost", "-A", server.ca, "-K", harness.WORK],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=realm.environ, check=False, timeout=60)
    complaint = result.stderr.decode()
    assert result.stdout, f"load ended with {result.returncode}: {complaint}"
    return result.returncode, json.loads(result.stdout), complaint


def all_go_well(server, work):
    port = {"kpop": server.kpop_port, "tls": server.pop3s_port, "bigtls": server.pop3s_port}.get(work, server.pop3_port)
    status, said, complaint = load(work, port, server)
    assert status == 0 and said["sessions"] == 40 and said["failed"] == 0, (said, complaint)


for isolation, server in servers.items():
    for work in ("plain", "userpass", "gssapi", "kpop", "tls", "fetch", "bigtls", "biglayer", "list"):
        add_row(f"isolation = {isolation}: 40 sessions of {work} go as they should", all_go_well, server, work)


@row("sessions with a wrong password are counted as failed")
def wrong_password():
    status, said, complaint = load("plain", servers["shared"].pop3_port, servers["shared"], 4, "wrong")
    assert status == 1 and said["sessions"] == 0 and said["failed"] == 4 and "+OK expected" in complaint, said


@row("a server that answers something else is found out: the floor knows no GSSAPI")
def floor():
    port, = harness.free_ports(1)
    with subprocess.Popen([harness.BUILD / "tests/bench/floor", "-p", str(port), "-m", "3"], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            for work in ("plain", "userpass", "fetch"):
                status, said, complaint = load(work, port, servers["shared"])
                assert status == 0 and said["sessions"] == 40, (said, complaint)
            status, said, complaint = load("gssapi", port, servers["shared"], 4)
            assert status == 1 and said["sessions"] == 0 and "+ expected" in complaint, (said, complaint)
        finally:
            child.terminate()


harness.main(*servers.values())
