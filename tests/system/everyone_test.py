#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""kpopctl's commands about everyone where mail belongs to accounts of the system: each is touched by his own process."""
import os
import sys
import time

import accounts
import harness
from harness import row

if not harness.ROOT:
    print("1..0 # SKIP only root can become other users")
    sys.exit(0)

ALICE, BOB, EMPTY, LINKED = "ke-alice", "ke-bob", "ke-empty", "ke-linked"
NAMES = [ALICE, BOB, EMPTY, LINKED]
for name in NAMES:
    accounts.account(name)
realm = harness.Realm()
server = accounts.Server(realm, NAMES, expire_days=30)
NOW, DAY = int(time.time()), 86400


def kpopctl(*arguments, status=0):
    result = harness.run(harness.BUILD / "kpopctl", "-c", server.conf, *arguments, check=False)
    text = result.stdout.decode()
    assert result.returncode == status, (arguments, result.returncode, text)
    return text


def letter(user, days):
    letter.count += 1
    path = server.deliver(user, b"Subject: x\n\nx\n", f"{NOW - days * DAY}.M{letter.count}P1.localhost")
    os.utime(path, (NOW, NOW - days * DAY))
    return path


letter.count = 0


@row("expire: everyone with a Maildir, by his own rights; a home without one is not looked into, a link not followed")
def expire():
    old = [letter(ALICE, 40), letter(BOB, 31)]
    young = [letter(ALICE, 3), letter(BOB, 29)]
    target = accounts.HOMES / "target"
    (target / "new").mkdir(parents=True)
    (target / "cur").mkdir()
    stranger = target / "new" / "1.x"
    stranger.write_bytes(b"x\n")
    os.utime(stranger, (1, 1))
    server.maildir(LINKED).symlink_to(target)
    text = kpopctl("expire")
    assert f"{ALICE}: removed 1 of 2 messages" in text and f"{BOB}: removed 1 of 2 messages" in text, text
    assert EMPTY not in text and LINKED not in text, text
    assert not any(path.exists() for path in old) and all(path.exists() for path in [*young, stranger])
    assert not server.state(EMPTY).exists()
    for path in (server.maildir(ALICE) / "kpopd.lock", server.state(ALICE)):
        assert path.stat().st_uid == server.accounts[ALICE].pw_uid, path


@row("index check, rebuild and stat: of everyone's own index")
def index():
    before = {}
    for user in (ALICE, BOB):
        with server.logged_in(user) as client:
            before[user] = client.listing("UIDL")
            client.quit()
    text = kpopctl("index", "check")
    assert text.startswith("2 users, 2 messages, 0 differences; 0 users in use"), text
    text = kpopctl("index", "stat")
    assert f"{ALICE} " in text and f"{BOB} " in text and "2 environments: 2 users, 2 messages" in text, text
    assert f"{ALICE}: 1 messages" in kpopctl("index", "stat", ALICE)
    with server.logged_in(ALICE) as client:
        text = kpopctl("index", "rebuild", "--all", status=75)
        assert f"{ALICE}: in use" in text and "1 users, 1 messages; 1 users in use" in text, text
        assert client.listing("UIDL") == before[ALICE]
        client.quit()
    for user in (ALICE, BOB):
        with server.logged_in(user) as client:
            assert client.listing("UIDL") == before[user]
            client.quit()
    assert "2 set aside" in kpopctl("index", "stat")


@row("those whose mail is never served are refused by name, and left out of everyone's")
def refused():
    text = kpopctl("expire", "root", status=1)
    assert "root: " in text and "below first_uid" in text, text
    assert "there is no account" in kpopctl("index", "check", "ke-nobody", status=1)


harness.main(server)
