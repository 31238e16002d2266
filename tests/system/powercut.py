#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Power cuts: mail is delivered and removed on a disk that logs what it is given (disk.py); then, for many moments of this
log, the disk is made as the cut would have left it, mounted, and kpopd is asked what it has.

    tests/system/powercut.py [--cuts N] [--secs N] [--seed N] ext4|xfs|btrfs...

Every delivery that was acknowledged before the cut must be there, whole and under its UIDL, unless a QUIT has named it;
nothing that an acknowledged QUIT named may be back. Half of the cuts are right behind an acknowledgement, with nothing of
what the disk was not told to flush; the others anywhere, with none, any half or all of it.
"""
import argparse
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import disk
import harness
import ledger

USERS = 4


class Workload:
    """Deliverers and clients for some seconds; all they know is marked in the disk's log."""

    def __init__(self, server, power, secs, rng, shared):
        """shared: of the messages that another MTA delivers, how many share the unique part of their names."""
        self.shared = shared
        self.server, self.power = server, power
        self.lock = threading.Lock()
        self.pair = threading.Lock()  # while it is held nobody logs in, or two messages come of which one is seen alone
        self.count = self.delivered = self.removed = self.sessions = 0
        self.trouble = []
        self.until = time.monotonic() + secs
        self.ids = {user: {} for user in server.users}  # by UIDL
        self.threads = [threading.Thread(target=self.go, args=(work, random.Random(rng.random())))
                        for work in (self.deliver, self.deliver_by_hand, self.poll, self.poll)]

    def run(self):
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        assert not self.trouble, self.trouble[0]

    def go(self, work, rng):
        try:
            while time.monotonic() < self.until:
                work(rng)
        except Exception as error:  # pylint: disable=broad-except
            self.trouble.append(f"{work.__name__}: {error!r}")

    def new(self, rng, user=None):
        with self.lock:
            self.count += 1
            number = self.count
        user = user or rng.choice(self.server.users)
        self.power.mark(ledger.event("deliver", user, number))
        return number, user

    def arrived(self, number, user):
        self.power.mark(ledger.event("delivered", user, number))
        self.delivered += 1

    def deliver(self, rng):
        """As an MTA with kpop-deliver."""
        number, user = self.new(rng)
        harness.run(harness.BUILD / "kpop-deliver", "-c", self.server.conf, "-d", user, input=ledger.message(number))
        self.arrived(number, user)

    def deliver_by_hand(self, rng):
        """As another MTA; some of its messages come in pairs whose names share the unique part."""
        number, user = self.new(rng)
        maildir = self.server.maildir(user)
        if not (maildir / "cur").is_dir():
            time.sleep(0.01)
            return
        numbers, unique = [number], f"{1700000000 + number}.M{number}.host"
        if rng.random() < self.shared:
            numbers.append(self.new(rng, user)[0])
        for each in numbers:
            with open(maildir / "tmp" / f"{each}", "wb") as file:
                os.fchown(file.fileno(), *self.owner(maildir))
                file.write(ledger.message(each))
                file.flush()
                os.fsync(file.fileno())
        part = rng.choice(("new", "cur"))
        with self.pair:
            for each in numbers:
                os.rename(maildir / "tmp" / f"{each}", maildir / part / f"{unique},N={each}{':2,' if part == 'cur' else ''}")
        directory = os.open(maildir / part, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        for each in numbers:
            self.arrived(each, user)
        time.sleep(0.005)

    @staticmethod
    def owner(path):
        status = path.stat()
        return status.st_uid, status.st_gid

    def poll(self, rng):
        """A client that remembers UIDLs, fetches what is new, removes some, and now and then goes without QUIT."""
        user = rng.choice(self.server.users)
        with self.server.pop3() as client:
            client.expect(f"USER {user}", "+OK")
            with self.pair:
                answer = client.command(f"PASS {harness.PASSWORD}")
            if not answer.startswith(b"+OK"):
                return
            known, new, listed = self.ids[user], [], []
            for line in client.listing("UIDL"):
                msgno, uidl = line.decode().split()
                if uidl not in known:
                    known[uidl] = ledger.number_of(client.raw_message(f"RETR {msgno}"))
                    assert known[uidl] is not None, f"{user}: {uidl} is not whole"
                    new.append((uidl, known[uidl]))
                listed.append((msgno, known[uidl]))
            if new:
                self.power.mark(ledger.seen(user, new))
            share = rng.choice((0.1, 0.5, 1))
            chosen = [(msgno, number) for msgno, number in listed if rng.random() < share]
            for msgno, _ in chosen:
                client.expect(f"DELE {msgno}", "+OK")
            self.sessions += 1
            if rng.random() < 0.2:
                return
            numbers = [number for _, number in chosen]
            self.power.mark(ledger.event("quit", user, *numbers))
            answer = client.command("QUIT")
            assert answer.startswith(b"+OK"), answer
            self.power.mark(ledger.event("quitted", user, *numbers))
            self.removed += len(numbers)


def shown(server, user):
    """(uidl, octets) of all a user's messages."""
    with server.logged_in(user) as client:
        found = [(line.split()[1].decode(), client.raw_message(f"RETR {line.split()[0].decode()}"))
                 for line in client.listing("UIDL")]
        client.quit()
    return found


class Run:
    """One file system: its workload, and cuts through its log."""

    def __init__(self, realm, kind, secs, cuts, seed, shared=0.0):
        self.kind, self.rng = kind, random.Random(seed)
        self.power = self.server = None
        self.dir = tempfile.mkdtemp(prefix="kpopd-power-", dir="/dev/shm")
        try:
            self.power = disk.Disk(kind, self.dir)
            self.boot = pathlib.Path(self.dir) / "boot"
            # A machine that comes back has another boot id; this is how the store knows that the index may be torn.
            self.new_boot()
            harness.run("mount", "--bind", self.boot, "/proc/sys/kernel/random/boot_id")
            self.server = harness.Server(realm, users=USERS, disk=self.power.mount, log_debug=False)
            harness.run("sync", "-f", self.server.dir)
            self.power.mark(ledger.seen("", []))
            self.load = Workload(self.server, self.power, secs, self.rng, shared)
            self.load.run()
            self.intact()
            self.server.kill()
            disk.unmount(self.server.dir)
            self.power.end()
            self.cut(cuts)
        finally:
            self.clear()

    def clear(self):
        if self.server:
            self.server.kill()
            with contextlib.suppress(AssertionError):
                disk.unmount(self.server.dir, 5)
        harness.run("umount", "/proc/sys/kernel/random/boot_id", check=False)
        if self.power:
            self.power.end()
        shutil.rmtree(self.dir, True)

    def intact(self):
        """Without any cut, to begin with."""
        os.fsync(self.power.marks)
        book = ledger.Ledger()
        for kind, _, data in self.power.records():
            if kind == disk.MARKED:
                book.tell(data)
        wrong = [line for user in self.server.users for line in book.judge(user, shown(self.server, user))]
        assert not wrong, wrong[:5]

    def new_boot(self):
        self.boot.write_text(f"{uuid.uuid4()}\n")

    def places(self, cuts):
        """Where to cut: behind acknowledgements, and anywhere."""
        behind, count, begin = [], 0, None
        for count, (kind, _, data) in enumerate(self.power.records(), 1):
            if kind == disk.MARKED:
                begin = begin or count
                if b'"delivered"' in data or b'"quitted"' in data:
                    behind.append(count)
        self.records = count
        chosen = {place: 0 for place in self.rng.sample(behind, min(len(behind), cuts // 2))}
        while len(chosen) < min(cuts, count - begin):
            chosen.setdefault(self.rng.randrange(begin, count), self.rng.choice((0, 0.5, 0.5, 1)))
        return chosen

    def cut(self, count):
        chosen = self.places(count)
        book, told, complaints = ledger.Ledger(), 0, []
        self.cuts = self.checked = self.pending = 0
        for place, marks, pending in disk.Cuts(self.power, chosen):
            for mark in marks[told:]:
                book.tell(mark)
            told = len(marks)
            image = disk.Cuts(self.power, ()).image(pending, self.rng, chosen[place])
            wrong = self.look(image, book)
            if wrong:
                complaints.append(f"cut before record {place}, with {chosen[place]} of {len(pending)} writes that were not "
                                  f"flushed: {wrong[:5]}")
            self.cuts += 1
            self.pending += len(pending) > 0
        assert not complaints, "\n".join([f"{self.kind}, {len(complaints)} of {self.cuts} cuts through {self.records} records:",
                                          *complaints[:10]])

    def look(self, image, book):
        """Power on: what is wrong with the mail?"""
        disk.attach(self.kind, image, self.server.dir)
        try:
            self.new_boot()
            self.server.start()
            wrong = []
            for user in self.server.users:
                found = shown(self.server, user)
                self.checked += len(found)
                wrong += book.judge(user, found)
            return wrong
        finally:
            self.server.kill()
            disk.unmount(self.server.dir)
            disk.detached(image)

    def figures(self):
        load = self.load
        return f"{self.kind}: {load.delivered} deliveries, {load.sessions} sessions, {load.removed} messages removed, " \
            f"{self.records} records of the disk; {self.cuts} cuts ({self.pending} with writes not flushed), " \
            f"{self.checked} messages looked at, none lost, back, torn or renamed"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--secs", type=int, default=60, help="of workload")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--shared", type=float, default=0.1, help="of the names of messages, so many share a unique part")
    parser.add_argument("kinds", nargs="+", choices=disk.Disk.MAKE)
    options = parser.parse_args()
    why = disk.usable()
    if why:
        sys.exit(why)
    disk.alone()
    realm = harness.Realm()
    print(f"seed {options.seed}", flush=True)
    for kind in options.kinds:
        began = time.monotonic()
        print(Run(realm, kind, options.secs, options.cuts, options.seed, options.shared).figures(), f"({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
