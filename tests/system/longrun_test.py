#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Some seconds of the long run; longrun.py itself goes on for as long as one likes."""
import random

import harness
import longrun

SECS = 20

realm = harness.Realm()
servers = [harness.Server(realm, users=longrun.USERS, isolation=isolation, log_debug=False, refusal_msecs=0)
           for isolation in ("process", "shared")]


def chaos(server):
    seed = random.randrange(1 << 30)
    print(f"# seed {seed}", flush=True)
    run = longrun.Chaos(server, SECS, seed, 0.1)
    run.run()
    wrong = run.judge()
    print(f"# {run.figures()}", flush=True)
    assert not wrong, "\n".join(wrong[:10])
    assert run.counts["delivered"] and run.counts["removed"] and run.counts["killed"], run.figures()


for one in servers:
    harness.add_row(f"mail comes, three clients fetch and remove it, and processes are killed all the time: each message is there, "
                    f"whole and under its UIDL, until a QUIT has removed it (isolation = {one.options['isolation']})", chaos, one)
harness.main(*servers)
