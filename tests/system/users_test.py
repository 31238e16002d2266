#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mail_users = system: mail that belongs to accounts of the system, and to nobody else."""
import os
import sys

import accounts
import harness
from harness import row, wait_for

if not harness.ROOT:
    print("1..0 # SKIP only root can become other users")
    sys.exit(0)

NAMES = ["kt-alice", "kt-bob", "kt_Carol.x", "kt.d-9"]
for name in NAMES:
    accounts.account(name)
realm = harness.Realm()
server = accounts.Server(realm, NAMES)


@row("mail in a home is served")
def serves():
    server.deliver("kt-alice", b"Subject: one\n\nx\n")
    with server.logged_in("kt-alice") as client:
        assert client.command("STAT").startswith(b"+OK 1 ")
        assert client.raw_message("RETR 1") == b"Subject: one\r\n\r\nx\r\n"
        client.quit()

harness.main(server)
