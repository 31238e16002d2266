#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""QUIT, call by call: the store is killed before each system call it makes between the client's QUIT and the end of the
session, and each of these calls fails once with each error it may meet. KPOPD_THOROUGH=1 leaves nothing out; without it
each call meets one or two errors, other ones each time, and with sanitizers the store is killed at every other call."""
import contextlib
import errno
import os
import random
import re
import socket
import subprocess
import sys

import harness
from harness import ROOT, wait_for

THOROUGH = bool(os.environ.get("KPOPD_THOROUGH"))
SEED = int(os.environ.get("KPOPD_SEED") or random.randrange(1 << 30))
MAIL = [b"Subject: %d\n\n" % number + b"%d, and more of it\n" % number * 40 for number in range(1, 7)]
MARKED, KEPT = (1, 2, 5), (3, 4, 6)
TAMPER = harness.BUILD / "tests/system/tamper"
NOT_REMOVED = b"-ERR [SYS/TEMP] some deleted messages not removed"



class Spool(harness.Server):
    """Mail in mbox files; what is stored is what a session shows, for it finishes what was interrupted."""

    def user(self, *messages):
        name = self.users[self.fresh % len(self.users)]
        self.fresh += 1
        path = self.mail_root / name
        path.write_bytes(b"".join(b"From a@b Thu Jan  1 00:00:00 1970\n" + message + b"\n" for message in messages))
        self.own(path)
        return name

    def stored(self, user):
        with logged_in(self, user) as client:
            found = [client.raw_message(f"RETR {line.split()[0].decode()}") for line in client.listing("UIDL")]
            client.quit()
        return sorted(octets.replace(b"\r\n", b"\n") for octets in found)


realm = harness.Realm()
servers = [harness.Server(realm, users=4), harness.Server(realm, users=4, isolation="shared", store_processes=2),
           Spool(realm, users=4, spool="%u")]

# What each call may meet; others meet EIO and EINTR.
ERRORS = {
    "unlinkat": ("EIO", "EROFS", "EACCES", "EPERM", "EBUSY", "EDQUOT", "EINTR"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "openat2": ("EIO", "EACCES", "EMFILE", "ENFILE", "ENOMEM", "EINTR"),
    "openat": ("EIO", "EACCES", "EMFILE", "ENFILE", "ENOMEM", "EINTR"),
    "newfstatat": ("EIO", "EACCES", "ENOMEM"),
    "fstat": ("EIO",),
    "statx": ("EIO", "EACCES"),
    "pwrite64": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "pwritev": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "writev": ("EIO", "ENOSPC"),
    "write": ("EIO", "ENOSPC", "EINTR", "EAGAIN"),
    "ftruncate": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "fcntl": ("EIO", "ENOLCK", "EINTR", "EDEADLK"),
    "flock": ("EIO", "ENOLCK", "EINTR"),
    "sendmsg": ("EINTR", "EAGAIN", "ENOBUFS", "EPIPE"),
    "recvmsg": ("EINTR", "EAGAIN", "ENOMEM"),
    "poll": ("EINTR", "ENOMEM"),
    "ppoll": ("EINTR", "ENOMEM"),
    "epoll_wait": ("EINTR",),
    "epoll_ctl": ("ENOMEM",),
    "mmap": ("ENOMEM",),
    "munmap": ("ENOMEM",),
    "brk": ("ENOMEM",),
    "madvise": ("ENOMEM",),
    "getdents64": ("EIO", "EINTR"),
    "close": ("EIO", "EINTR"),
    "nanosleep": ("EINTR",),
    "clock_nanosleep": ("EINTR",),
}
# Those that are never asked for: they do not return, or are the end of the process.
NEVER = ("exit_group", "exit", "restart_syscall", "futex", "getpid", "rt_sigreturn")
if harness.SANITIZED:  # what theirs needs must not fail
    NEVER += ("mmap", "munmap", "mremap", "mprotect", "brk", "madvise", "sigaltstack")
# When these fail nobody may hear that all went well, though it did.
SPEECH = ("sendmsg", "recvmsg", "poll", "ppoll", "epoll_wait", "epoll_ctl", "write", "writev")


def holder(server, user):
    """The process that has the maildrop open."""
    def found():
        lock = next(top for top in [server.maildir(user), *server.state_dir.rglob(user)] if (top / "kpopd.lock").exists()) / "kpopd.lock"
        for pid, _ in server.family():
            if harness.comm(pid) != "kpopd-store":
                continue
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        if os.path.samefile(f"/proc/{pid}/fd/{fd}", lock):
                            return pid
        return None
    return wait_for(found, f"a store process has {user}'s lock")


class Tampered:
    """One session whose QUIT is tampered with, and mail like no other's."""

    count = 0

    def __init__(self, server, *words):
        Tampered.count += 1
        self.mail = [b"X-Run: %d\n" % Tampered.count + message for message in MAIL]
        self.server, self.user = server, server.user(*self.mail)
        self.client = server.logged_in(self.user)
        self.uidls = self.client.listing("UIDL")
        for number in MARKED:
            self.client.expect(f"DELE {number}", "+OK")
        self.tamper = subprocess.Popen([TAMPER, str(holder(server, self.user)), *map(str, words)], stdout=subprocess.PIPE)
        assert self.tamper.stdout.readline() == b"ready\n", "tamper holds the store"

    def quit(self):
        """Says QUIT; what was answered, and the calls made until the session's end. An answer is one whole line or none."""
        self.client.send(b"QUIT\r\n")
        try:
            answer = self.client.line() + b"\r\n"
            self.client.sock.shutdown(socket.SHUT_WR)
        except (AssertionError, OSError):  # closed without a word
            answer = b""
        answer += self.client.rest()
        assert answer == b"" or (answer.endswith(b"\r\n") and answer.count(b"\n") == 1), answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.tamper.wait(0.1 if self.server.options["isolation"] == "shared" else harness.WAIT_SECS)
        self.tamper.terminate()
        calls = [line.split()[1].decode() for line in self.tamper.stdout.read().splitlines()]
        self.tamper.wait(harness.WAIT_SECS)
        self.tamper.stdout.close()
        self.client.close()
        return answer, calls

    def stored(self):
        return self.server.stored(self.user)

    def check(self, answer, what):
        """What is true whatever happened."""
        stored = self.stored()
        kept = [self.mail[number - 1] for number in KEPT]
        assert [m for m in stored if m in kept] == sorted(kept), f"{what}: something unmarked is gone: {stored}"
        assert all(m in self.mail for m in stored) and len(set(stored)) == len(stored), f"{what}: {stored}"
        if answer.startswith(b"+OK"):
            assert stored == sorted(kept), f"{what}: +OK, and there is still {len(stored) - len(kept)} of the marked"
        else:
            assert answer == b"" or answer.startswith(NOT_REMOVED), f"{what}: {answer}"
            told = re.search(rb"\((\d) of 3\)\r\n$", answer)
            left = len(stored) - len(kept)
            assert told is None or 1 <= int(told[1]) and left <= int(told[1]) <= 3, f"{what}: {answer}, and {left} are there"
        # The next login works, shows what is there under the old UIDLs, and removes the rest.
        old = {line.split()[1]: self.mail[int(line.split()[0]) - 1] for line in self.uidls}
        with logged_in(self.server, self.user) as client:
            now = [line.split() for line in client.listing("UIDL")]
            assert len(now) == len(stored), f"{what}: {now}"
            for number, uidl in now:
                assert client.raw_message(f"RETR {number.decode()}") == old[uidl].replace(b"\n", b"\r\n"), f"{what}: {uidl}"
                if old[uidl] not in kept:
                    client.expect(f"DELE {number.decode()}", "+OK")
            client.quit()
        assert self.stored() == sorted(kept), what


def logged_in(server, user):
    """A session as soon as there is one to have: a shared store that was killed is started again first."""
    def login():
        with contextlib.suppress(OSError, AssertionError):
            client = server.pop3()
            client.expect(f"USER {user}", "+OK")
            client.expect(f"PASS {harness.PASSWORD}", "+OK")
            return client
        return None
    return wait_for(login, "login")


def calls_of(server):
    """The calls of a QUIT that nobody disturbs: up to the session's end; shared, up to the answer."""
    tampered = Tampered(server, "list")
    answer, calls = tampered.quit()
    tampered.check(answer, "undisturbed")
    assert answer.startswith(b"+OK"), answer
    assert isinstance(server, Spool) or (calls.count("unlinkat") == len(MARKED) and calls.count("fsync") == 1), calls
    return calls


def kill_everywhere(server):
    calls = calls_of(server)
    oks = killed = 0
    step = 1 if THOROUGH or not harness.SANITIZED else 2
    for when, name in list(enumerate(calls, 1))[random.randrange(step)::step]:
        tampered = Tampered(server, "kill", when)
        answer, _ = tampered.quit()
        status = tampered.tamper.returncode
        tampered.check(answer, f"killed at call {when} ({name})")
        oks += answer.startswith(b"+OK")
        killed += status == 0
    print(f"# {len(calls)} calls; killed at {killed}, of which {oks} after +OK: {' '.join(calls)}", flush=True)
    assert killed * step > len(calls) / 2 and 0 < oks < killed, (killed, oks)


def fail_everywhere(server):
    rng = random.Random(SEED)
    calls = calls_of(server)
    last_sync = len(calls) - calls[::-1].index("fsync")
    tried = oks = 0
    for when, name in enumerate(calls, 1):
        if name in NEVER:
            continue
        errors = ERRORS.get(name, ("EIO", "EINTR"))
        if not THOROUGH:
            errors = rng.sample(errors, min(len(errors), 2 if name in ("unlinkat", "fsync") else 1))
        for error in errors:
            tampered = Tampered(server, "error", when, getattr(errno, error))
            answer, made = tampered.quit()
            what = f"call {when} ({name}) fails with {error}"
            hit = made[when - 1] if when <= len(made) else None
            tampered.check(answer, what)
            ok = answer.startswith(b"+OK")
            # The last one of an mbox is for the journal, which is no longer needed then.
            needed = hit == "fsync" and not (isinstance(server, Spool) and when == last_sync)
            assert not (ok and needed), f"{what}: +OK for what is not safe"
            if hit == name and when > last_sync and name not in SPEECH:
                assert ok, f"{what}: all is gone and safe, and the answer is {answer}"
            tried += 1
            oks += ok
    print(f"# {tried} pairs of {len(calls)} calls and their errors (KPOPD_SEED={SEED}), {oks} times +OK", flush=True)


if not ROOT:
    print("1..0 # SKIP only root may hold the store's processes and change their calls")
    sys.exit(0)
for one in servers:
    isolation = one.options["isolation"] + (", mbox" if isinstance(one, Spool) else "")
    harness.add_row(f"killed before each system call of a QUIT: after +OK the marked are gone, else each is whole or gone; "
                    f"nothing else is touched, and the next login works (isolation = {isolation})", kill_everywhere, one)
    harness.add_row(f"an error at each system call of a QUIT: no +OK for what is not gone, nothing else is touched, and what "
                    f"fails after the removal is safe is no failure (isolation = {isolation})", fail_everywhere, one)
harness.main(*servers)
