#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The index damaged while users are logged in: whoever it belongs to is served again, and nobody else notices."""
import random
import time

import harness
from harness import row

realm = harness.Realm()
server = harness.Server(realm, users=8, log_debug=False)
MESSAGES = [b"Subject: %d\n\nx\n" % number for number in range(40)]
ROUNDS = 0 if harness.SANITIZED else 5  # LMDB dies of it by itself, which is no finding


def environments():
    return set((server.state_dir / "index").rglob("*.mdb"))


def uidls(client):
    return [line.split(b" ")[1] for line in client.listing("UIDL")]


def damage(path, chance):
    """Some octets anywhere in it, under the eyes of those who have it mapped."""
    with open(path, "r+b") as index:
        size = index.seek(0, 2)
        for _ in range(40):
            index.seek(chance.randrange(size))
            index.write(bytes([chance.randrange(256)]))


def served_again(user, want):
    """A login or two may be lost with a process that LMDB has killed."""
    for _ in range(5):
        try:
            with server.logged_in(user) as client:
                got = uidls(client)
                assert got == want, f"other UIDLs: {got}"
                assert client.raw_message("RETR 3") == MESSAGES[2].replace(b"\n", b"\r\n")
                client.quit()
                return
        except (OSError, AssertionError) as error:
            assert "other UIDLs" not in str(error), error
            time.sleep(0.1)
    raise AssertionError(f"{user} is not served any more")


for number in range(ROUNDS):
    @row(f"an index is damaged under its users: others' sessions go on, and all UIDLs are as they were ({number + 1})", number)
    def damaged(seed):
        chance = random.Random(seed)
        users = [server.user(*MESSAGES) for _ in server.users]
        # Whoever is first in an environment makes it; the first user's is the one to be damaged.
        for path in environments():
            path.unlink()
        before, homes = environments(), {}
        for user in users:
            with server.logged_in(user) as client:
                client.quit()
            homes[user] = environments() - before
            before = environments()
        victim = next(iter(homes[users[0]]))
        clients = {user: server.logged_in(user) for user in users}
        try:
            wanted = {user: uidls(client) for user, client in clients.items()}
            damage(victim, chance)
            for user, client in clients.items():
                if user == users[0] or not homes[user]:
                    continue
                assert uidls(client) == wanted[user]
                assert client.raw_message("RETR 40") == MESSAGES[39].replace(b"\n", b"\r\n")
                client.expect("DELE 40", "+OK")
                client.quit()
                wanted[user].pop()
        finally:
            for client in clients.values():
                client.close()
        for user in users:
            served_again(user, wanted[user])


harness.main(server)
