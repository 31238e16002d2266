#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The long run: mail is delivered, three clients of different habits fetch and remove it, and meanwhile any process of the
server is killed every 50 to 500 ms, indexes are deleted, and the configuration is read again.

    tests/system/longrun.py [--secs N] [--seed N] [--isolation process|shared] [KEY=VALUE...]   (keys of kpopd.conf)

Each message whose delivery was acknowledged must be retrievable, whole and under one UIDL, until a QUIT that named it was
answered +OK; then it must be gone. No UIDL ever stands for two messages, and no message is seen under two.
"""
import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import threading
import time

import harness
import ledger

USERS = 3


class Chaos:
    def __init__(self, server, secs, seed, shared):
        """shared: of the messages that another MTA delivers, how many share the unique part of their names."""
        self.server, self.rng = server, random.Random(seed)
        self.until = time.monotonic() + secs
        self.lock = threading.Lock()  # of the book
        self.life = threading.Lock()  # of the server
        self.pair = threading.Lock()  # while it is held nobody logs in, or two messages come of which one is seen alone
        self.book = ledger.Ledger()
        self.counts = collections.Counter()
        self.trouble = []
        self.last, self.shared = 0, shared
        self.uidls = {}  # (user, UIDL): message

    def run(self):
        works = [self.deliver, lambda rng: self.client(rng, self.fetch_and_remove), lambda rng: self.client(rng, self.keep),
                 lambda rng: self.client(rng, self.leave), self.kill, self.disturb]
        threads = [threading.Thread(target=self.go, args=(work, random.Random(self.rng.random()))) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def go(self, work, rng):
        while time.monotonic() < self.until and not self.trouble:
            try:
                work(rng)
            except Exception as error:  # pylint: disable=broad-except
                self.trouble.append(f"{time.strftime('%T')}: {error!r}")

    def tell(self, event):
        with self.lock:
            self.book.tell(event)

    # mail comes

    def deliver(self, rng):
        user, unique = rng.choice(self.server.users), f"{1700000000 + self.last}.M{self.last}.host"
        numbers = [self.last + 1] + ([self.last + 2] if rng.random() < self.shared else [])
        self.last = numbers[-1]
        self.tell(ledger.event("deliver", user, *numbers))
        if rng.random() < 0.5 and len(numbers) == 1:
            harness.run(harness.BUILD / "kpop-deliver", "-c", self.server.conf, "-d", user, input=ledger.message(numbers[0]))
        else:
            self.deliver_by_hand(user, numbers, unique, ":2," if rng.random() < 0.5 else "")
        self.tell(ledger.event("delivered", user, *numbers))
        self.counts["delivered"] += len(numbers)
        time.sleep(rng.random() * 0.1)

    def deliver_by_hand(self, user, numbers, unique, info):
        """As another MTA; names that share their unique part appear at once: one that comes when the other has been seen
        and removed cannot be told from it."""
        maildir = self.server.maildir(user)
        for number in numbers:
            self.server.deliver(user, ledger.message(number), f".{number}").rename(maildir / "tmp" / str(number))
        with self.pair:
            for number in numbers:
                (maildir / "tmp" / str(number)).rename(maildir / ("cur" if info else "new") / f"{unique},N={number}{info}")

    # clients; a connection may break at any time

    def client(self, rng, habit):
        user = rng.choice(self.server.users)
        try:
            with self.server.pop3() as client:
                client.expect(f"USER {user}", "+OK")
                with self.pair:
                    answer = client.command(f"PASS {harness.PASSWORD}")
                if answer.startswith(b"+OK"):
                    self.counts["sessions"] += 1
                    habit(rng, user, client)
                else:
                    self.counts["refused"] += 1
        except Broken:
            self.counts["broken"] += 1
        except AssertionError as error:
            if not str(error).startswith("closed"):
                raise
            self.counts["broken"] += 1
        except OSError:
            self.counts["broken"] += 1
        time.sleep(rng.random() * 0.05)

    def look(self, rng, user, client, share):
        """Fetches a share of what there is: (message number in the session, message) of each."""
        found = []
        for line in self.listing(client):
            msgno, uidl = line.decode().split()
            if rng.random() < share:
                octets = self.fetch(client, msgno)
                number = ledger.number_of(octets)
                assert number is not None, f"{user}: {uidl} is not whole: {octets[:80]!r}..."
                self.note(user, uidl, number)
                found.append((msgno, number))
        return found

    @staticmethod
    def listing(client):
        answer = client.command("UIDL")
        if answer.startswith(b"-ERR [SYS/TEMP]"):
            raise Broken
        assert answer.startswith(b"+OK"), answer
        return client.lines()

    @staticmethod
    def fetch(client, msgno):
        try:
            return client.raw_message(f"RETR {msgno}")
        except AssertionError as error:
            if "[SYS/TEMP]" in str(error):
                raise Broken from error
            raise

    def note(self, user, uidl, number):
        with self.lock:
            book = self.book
            assert book.user.get(number) == user, f"{user} sees message {number} of {book.user.get(number)}"
            assert book.state[number] != ledger.GONE, f"{user}: message {number} is back as {uidl}"
            assert book.uidl.setdefault(number, uidl) == uidl, f"{user}: message {number} was {book.uidl[number]} and is {uidl}"
            assert self.uidls.setdefault((user, uidl), number) == number, \
                f"{user}: {uidl} was message {self.uidls[user, uidl]} and is {number}"

    def remove(self, user, client, chosen):
        for msgno, _ in chosen:
            answer = client.command(f"DELE {msgno}")
            if not answer.startswith(b"+OK"):
                raise Broken
        numbers = [number for _, number in chosen]
        self.tell(ledger.event("quit", user, *numbers))
        answer = client.command("QUIT")
        if answer.startswith(b"+OK"):
            self.tell(ledger.event("quitted", user, *numbers))
            self.counts["removed"] += len(numbers)
        else:
            assert answer.startswith(b"-ERR [SYS/TEMP]"), answer
            self.counts["failed quits"] += 1

    def fetch_and_remove(self, rng, user, client):
        self.remove(user, client, self.look(rng, user, client, 1))

    def keep(self, rng, user, client):
        """Remembers UIDLs, and fetches some again and again; removes few."""
        found = self.look(rng, user, client, 0.3)
        self.remove(user, client, found[:1])

    def leave(self, rng, user, client):
        """Marks, and goes without QUIT in all the ways there are."""
        found = self.look(rng, user, client, 0.2)
        for msgno, _ in found:
            client.command(f"DELE {msgno}")
        if rng.random() < 0.3:
            client.command("RSET")
            client.command("QUIT")
        elif rng.random() < 0.5:
            client.reset()

    # trouble

    def kill(self, rng):
        """Any process but master; now and then master itself, and kpopd is started again."""
        time.sleep(rng.uniform(0.05, 0.5))
        if rng.random() < 0.01:
            with self.stopped():
                self.counts["restarts"] += 1
            return
        with self.life:  # a kpopd that cannot begin ends
            family = [pid for pid, _ in self.server.family()]
            if family:
                with contextlib.suppress(OSError):
                    os.kill(rng.choice(family), signal.SIGKILL)
                    self.counts["killed"] += 1

    def disturb(self, rng):
        time.sleep(rng.uniform(1, 4))
        if rng.random() < 0.5:
            with self.life:
                self.server.process.send_signal(signal.SIGHUP)
                self.counts["reloads"] += 1
            return
        # The index may be deleted whenever kpopd is stopped.
        with self.stopped():
            shutil.rmtree(self.server.state_dir / "index", True)
            (self.server.state_dir / "index").mkdir(mode=0o700)
            self.server.own(self.server.state_dir / "index")
            self.counts["indexes deleted"] += 1

    @contextlib.contextmanager
    def stopped(self):
        with self.life:
            family = [pid for pid, _ in self.server.family()]
            self.server.kill()
            harness.wait_for(lambda: not any(map(harness.alive, family)), "all are gone")
            time.sleep(0.2)  # and those that were just being born
            yield
            self.server.start()

    # the end

    def judge(self):
        wrong = list(self.trouble)
        for user in self.server.users:
            def shown(user=user):
                with contextlib.suppress(AssertionError, OSError), self.server.pop3() as client:
                    client.expect(f"USER {user}", "+OK")
                    client.expect(f"PASS {harness.PASSWORD}", "+OK")
                    return ([[line.split()[1].decode(), client.raw_message(f"RETR {line.split()[0].decode()}")]
                             for line in client.listing("UIDL")],)
                return None
            try:
                wrong += self.book.judge(user, harness.wait_for(shown, f"a login of {user} at the end")[0])
            except AssertionError as error:
                wrong.append(str(error))
        return wrong

    def figures(self):
        return ", ".join(f"{count} {word}" for word, count in sorted(self.counts.items()))


class Broken(Exception):
    """The server was in trouble, and said so."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--isolation", default="process", choices=("process", "shared"))
    parser.add_argument("--shared", type=float, default=0.1, help="of the names of messages, so many share a unique part")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    server = harness.Server(harness.Realm(), users=USERS, isolation=options.isolation, log_debug=False,
                            **dict(word.split("=", 1) for word in options.options))
    print(f"seed {options.seed}", flush=True)
    chaos = Chaos(server, options.secs, options.seed, options.shared)
    chaos.run()
    wrong = chaos.judge()
    print(f"{options.secs} s: {chaos.figures()}")
    print("\n".join(wrong) if wrong else "nothing lost, back, torn, renamed or seen twice", flush=True)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
