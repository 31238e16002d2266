#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A few power cuts on each kind of file system; powercut.py itself makes as many as one likes."""
import shutil
import sys

import disk
import harness
import powercut

KINDS = {"ext4": 16, "xfs": 8}  # cuts

why = disk.usable()
if why:
    print(f"1..0 # SKIP no disk whose power can be cut: {why}")
    sys.exit(0)
disk.alone()
realm = harness.Realm()


def cuts(kind):
    seed = powercut.random.randrange(1 << 30)
    print(f"# seed {seed}")
    print("# " + powercut.Run(realm, kind, 3, KINDS[kind], seed, 0.1).figures())


for name in KINDS:
    if shutil.which(f"mkfs.{name}"):
        harness.add_row(f"the power fails at some moments of deliveries and sessions on {name}: what was acknowledged is true", cuts, name)
    else:
        print(f"# no mkfs.{name}: not tried on {name}")
harness.main()
