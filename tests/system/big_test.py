#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Maildrops of any size in bounded memory, and messages of more than 4 GiB.

KPOPD_BIG_COUNT is the number of messages; 1000000 is what memory and time are recorded for in doc/measurements.md."""
import os
import pathlib
import random
import threading
import time

import harness
from harness import ROOT, SANITIZED, row

COUNT = int(os.environ.get("KPOPD_BIG_COUNT") or (3000 if SANITIZED else 30000))
MEMORY_KIB = 12 * 1024  # of its own, for each process of the server
BODY = b"y" * 60 + b"\n"

realm = harness.Realm()
server = harness.Server(realm, users=3)


def message(number):
    return b"Subject: %d\n\n" % number + BODY * (number % 7)


def on_the_wire(stored):
    return stored.replace(b"\n", b"\r\n")


def fill(user, count):
    """As many files, the quick way; their times are those of a while ago, so that the directory is at rest."""
    maildir = server.maildir(user)
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
        server.own(maildir / part)
    server.own(maildir.parent)
    server.own(maildir)
    owner = (maildir.stat().st_uid, maildir.stat().st_gid)
    folder = os.open(maildir / "cur", os.O_RDONLY | os.O_DIRECTORY)
    numbers = list(range(count))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        fd = os.open(f"{1600000000 + number}.M{number}P1.localhost:2,S", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
        os.write(fd, message(number))
        if ROOT:
            os.fchown(fd, *owner)
        os.close(fd)
    os.close(folder)


def own_memory(pid):
    """RssAnon in KiB; 0 for what has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class Watch:
    """The most memory that any process of the server has of its own, for as long as this goes on."""

    def __enter__(self):
        self.peaks, self.over = {}, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while not self.over.wait(0.02):
            for pid, _ in server.family():
                self.peaks[pid] = max(self.peaks.get(pid, 0), own_memory(pid))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.peak = max(self.peaks.values())
        print(f"# {self.peak} KiB at most, of a process's own")


def within_bounds(watch):
    assert SANITIZED or watch.peak <= MEMORY_KIB, f"{watch.peak} KiB"


class Others:
    """Another user, who comes again and again."""

    def __enter__(self):
        self.times, self.error, self.over = [], None, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        try:
            while not self.over.wait(0.1):
                began = time.monotonic()
                with server.logged_in("u1") as client:
                    assert client.stat()[0] == 1
                    client.quit()
                self.times.append(time.monotonic() - began)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.error:
            raise self.error


TOTAL = sum(len(on_the_wire(message(number))) for number in range(COUNT))


@row(f"{COUNT} messages are indexed at the first login, in bounded memory, while others come and go")
def first_login():
    server.deliver("u1", b"A: b\n\nc\n")
    fill("u0", COUNT)
    with Watch() as watch, Others() as others:
        began = time.monotonic()
        patient = server.pop3()
        patient.sock.settimeout(600)
        with server.logged_in("u0", patient) as client:
            print(f"# {time.monotonic() - began:.2f} s until it was there")
            assert client.stat() == (COUNT, TOTAL)
            client.quit()
        time.sleep(0.5)
    assert others.times, "nobody else came in"
    print(f"# others: {len(others.times)} sessions, the longest {max(others.times):.2f} s")
    within_bounds(watch)


@row("STAT, LIST, UIDL and RETR at random answer right, in bounded memory")
def listings():
    with Watch() as watch, server.logged_in("u0") as client:
        began = time.monotonic()
        assert client.stat() == (COUNT, TOTAL)
        print(f"# STAT: {time.monotonic() - began:.3f} s")
        began = time.monotonic()
        sizes = client.listing("LIST")
        print(f"# LIST: {time.monotonic() - began:.2f} s")
        assert sizes == [b"%d %d" % (n + 1, len(on_the_wire(message(n)))) for n in range(COUNT)]
        uidls = client.listing("UIDL")
        assert uidls == [b"%d %d.M%dP1.localhost" % (n + 1, 1600000000 + n, n) for n in range(COUNT)]
        for number in random.Random(8).sample(range(COUNT), 50):
            assert client.raw_message(f"RETR {number + 1}") == on_the_wire(message(number))
        client.quit()
    within_bounds(watch)


@row("one message is removed, one is new, and the rest is as it was, in bounded memory")
def one_gone():
    with Watch() as watch:
        with server.logged_in("u0") as client:
            client.expect("DELE 7", "+OK")
            client.quit()
        server.deliver("u0", b"A: b\n\nnew\n", "1900000000.M1P1.localhost")
        with server.logged_in("u0") as client:
            assert client.stat() == (COUNT, TOTAL - len(on_the_wire(message(6))) + 13)
            assert client.expect("UIDL 7", "+OK") == b"+OK 7 1600000007.M7P1.localhost"
            assert client.expect(f"UIDL {COUNT}", "+OK") == b"+OK %d 1900000000.M1P1.localhost" % COUNT
            client.quit()
    within_bounds(watch)


@row("all files are renamed within a session, and each is found, in bounded memory")
def renamed():
    with Watch() as watch, server.logged_in("u0") as client:
        cur = server.maildir("u0") / "cur"
        for name in os.listdir(cur):
            os.rename(cur / name, cur / name.replace(":2,S", ":2,RS"))
        for number in random.Random(9).sample(range(10, COUNT), 20):
            assert client.raw_message(f"RETR {number}") == on_the_wire(message(number))
        client.quit()
    within_bounds(watch)


HOLE = 5 << 30


@row("a message of more than 4 GiB: STAT, LIST and TOP are right, RETR streams, DELE removes it")
def huge():
    path = server.deliver("u2", b"Subject: huge\n\n")
    with open(path, "r+b") as stored:
        stored.seek(HOLE)
        stored.write(b"\nend\n")
    octets = HOLE + 5 + 4
    with Watch() as watch:
        with server.logged_in("u2") as client:
            assert client.stat() == (1, octets)
            assert client.expect("LIST 1", "+OK") == b"+OK 1 %d" % octets
            assert client.raw_message("TOP 1 0") == b"Subject: huge\r\n\r\n"
            answer = client.command("RETR 1")
            assert answer.startswith(b"+OK"), answer
            assert client.read(17) == b"Subject: huge\r\n\r\n"
            seen = len(client.buffer)
            while seen < 300 << 20:
                octets_read = client.sock.recv(1 << 20)
                assert octets_read and not octets_read.strip(b"\0")
                seen += len(octets_read)
            client.close()
        with server.logged_in("u2") as client:
            client.expect("DELE 1", "+OK")
            client.quit()
    assert not path.exists()
    within_bounds(watch)


harness.main(server)
