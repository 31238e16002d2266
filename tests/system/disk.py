# SPDX-License-Identifier: ISC
"""A disk whose power can be cut: a file of a FUSE file system of our own, on which a loop device can be set up.

Every write and every flush that reaches the disk is kept in a log, in its order, and between them marks: what somebody
knew at that moment. Afterwards a Cut is the disk as it may be found when the power failed at some place of the log: all
that was written before the last flush is there, of each later write nothing, all, or any of its sectors, as a disk with a
write cache may have it. Needs root and /dev/fuse; speaks FUSE itself (linux/fuse.h), so needs no library.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import struct
import subprocess
import time

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 27, 29, 36, 38, 42
ENOENT, ENOSYS = 2, 38
DISK, MARKS = 2, 3  # nodes; 1 is the folder
ASYNC_READ, BIG_WRITES, MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
DIRECT_IO = 1
MOST_OCTETS = 1 << 20
SECTOR_OCTETS = 4096  # written whole or not at all; file systems here have blocks of that size
RECORD = struct.Struct("=cQI")
WRITTEN, FLUSHED, MARKED = b"W", b"F", b"M"
libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, options):
    if libc.mount(source.encode(), str(target).encode(), kind.encode(), 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {kind}")


def alone():
    """A view of all mounts of our own, before there are threads: whoever else makes one must not get a copy of ours, which
    would keep the disk in use."""
    new_namespace, recursive, private = 0x20000, 1 << 14, 1 << 18
    if libc.unshare(new_namespace) != 0 or libc.mount(None, b"/", None, recursive | private, None) != 0:
        raise OSError(ctypes.get_errno(), "a view of mounts")


class Filesystem:
    """What the kernel asks, answered; runs in a process of its own."""

    def __init__(self, fuse, image, log):
        self.fuse = fuse
        self.image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.image).st_size
        self.log = open(log, "wb", 1 << 20)  # pylint: disable=consider-using-with

    def note(self, kind, offset=0, data=b""):
        self.log.write(RECORD.pack(kind, offset, len(data)) + data)

    def attributes(self, node):
        mode, size = {1: (0o40700, 0), DISK: (0o100600, self.size), MARKS: (0o100600, 0)}[node]
        return struct.pack("=6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(self, opcode, node, body):
        """The answer's octets, or a negative errno, or None where none is wanted."""
        if opcode == INIT:
            return struct.pack("=4I2H2I2H8I", 7, 31, 131072, ASYNC_READ | BIG_WRITES | MAX_PAGES, 64, 48, MOST_OCTETS, 1,
                               MOST_OCTETS // 4096, 0, *[0] * 8)
        if opcode == LOOKUP:
            found = {b"disk\0": DISK, b"marks\0": MARKS}.get(bytes(body))
            return -ENOENT if found is None else struct.pack("=4Q2I", found, 0, 3600, 3600, 0, 0) + self.attributes(found)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("=Q2I", 3600, 0, 0) + self.attributes(node)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("=Q2I", 0, DIRECT_IO, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("=2QI", body)
            return os.pread(self.image, size, offset)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("=2QI", body)
            data = body[40:40 + size]
            if node == DISK:
                os.pwrite(self.image, data, offset)
            self.note(WRITTEN if node == DISK else MARKED, offset, bytes(data))
            return struct.pack("=2I", size, 0)
        if opcode == FSYNC:
            if node == MARKS:
                self.log.flush()
            else:
                self.note(FLUSHED)
            return b""
        if opcode == STATFS:
            return struct.pack("=5Q4I24x", 1 << 20, 1 << 20, 1 << 20, 10, 10, 4096, 255, 4096, 0)
        if opcode in (FLUSH, RELEASE, RELEASEDIR, DESTROY):
            return b""
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            return None
        return -ENOSYS

    def serve(self):
        room = bytearray(MOST_OCTETS + 65536)
        view = memoryview(room)
        while True:
            try:
                got = os.readv(self.fuse, [room])
            except OSError:
                break  # unmounted
            length, opcode, unique, node = struct.unpack_from("=2I2Q", room)
            assert length == got
            answer = self.answer(opcode, node, view[40:got])
            if answer is not None:
                error, data = (answer, b"") if isinstance(answer, int) else (0, answer)
                with contextlib.suppress(OSError):
                    os.write(self.fuse, struct.pack("=IiQ", 16 + len(data), error, unique) + data)
        self.log.close()


def usable():
    """Why this machine has no such disk; None when it has."""
    if os.geteuid() != 0:
        return "only root may mount"
    for device in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(device, os.O_RDWR))
        except OSError as error:
            return f"{device}: {error.strerror}"
    return None


class Disk:
    """A fresh file system of a kind ("ext4", "xfs", "btrfs") on a disk whose power can be cut."""

    MAKE = {"ext4": ("64M", ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            "xfs": ("320M", ["mkfs.xfs", "-q", "-f"]), "btrfs": ("256M", ["mkfs.btrfs", "-q", "-f"])}
    # Nothing is made durable but by fsync.
    OPTIONS = {"ext4": "noauto_da_alloc,commit=300", "xfs": "noatime", "btrfs": "commit=300"}

    def __init__(self, kind, folder):
        """folder: in memory, for images and log."""
        self.kind, self.dir = kind, pathlib.Path(folder)
        self.first, self.image, self.log = self.dir / "first", self.dir / "image", self.dir / "log"
        size, command = self.MAKE[kind]
        for path in (self.first, self.image):
            with open(path, "wb") as file:
                file.truncate({"M": 1 << 20}[size[-1]] * int(size[:-1]))
        subprocess.run([*command, self.first], check=True, stdout=subprocess.DEVNULL)
        copy(self.first, self.image)
        self.front = self.dir / "front"
        self.front.mkdir()
        fuse = os.open("/dev/fuse", os.O_RDWR)
        mount("kpopd-disk", self.front, "fuse", f"fd={fuse},rootmode=40000,user_id=0,group_id=0")
        self.server = os.fork()
        if self.server == 0:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                Filesystem(fuse, self.image, self.log).serve()
            finally:
                os._exit(0)
        os.close(fuse)
        self.marks = os.open(self.front / "marks", os.O_WRONLY)

    def mount(self, where):
        subprocess.run(["mount", "-o", f"loop,{self.OPTIONS[self.kind]}", self.front / "disk", where], check=True)

    def mark(self, octets):
        """Everything in the log before this was on its way to the disk when octets were known."""
        os.write(self.marks, octets)

    def end(self):
        """Power off: what is mounted must have been unmounted; the log is whole afterwards."""
        if self.server:
            os.close(self.marks)
            unmount(self.front)
            os.waitpid(self.server, 0)
        self.server = None

    def records(self):
        """The log: (kind, offset, octets)."""
        with open(self.log, "rb") as log:
            while head := log.read(RECORD.size):
                kind, offset, size = RECORD.unpack(head)
                yield kind, offset, log.read(size)


def attach(kind, image, where):
    """Mounts a disk as it was found; what the kernel remembers of another one of the same name is not asked."""
    if kind == "btrfs":
        subprocess.run(["btrfs", "device", "scan", "--forget"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)


def copy(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


class Cuts:
    """Goes once through a disk's log and stops where it is to be cut."""

    def __init__(self, disk, places):
        """places: numbers of records, before which the power fails."""
        self.disk, self.places = disk, sorted(set(places))

    def __iter__(self):
        """Yields, for each place, its number, the marks until then, and the writes that no flush has followed."""
        safe = self.disk.dir / "safe"
        copy(self.disk.first, safe)
        marks, pending, places = [], [], iter(self.places)
        place = next(places, None)
        with open(safe, "r+b", 0) as image:
            for number, (kind, offset, data) in enumerate(self.disk.records()):
                while place == number:
                    yield place, marks, pending
                    place = next(places, None)
                if kind == WRITTEN:
                    pending.append((offset, data))
                elif kind == FLUSHED:
                    for where, octets in pending:
                        os.pwrite(image.fileno(), octets, where)
                    pending = []
                else:
                    marks.append(data)

    def image(self, pending, rng, share):
        """The disk as it is found: with this share of the sectors that were not flushed."""
        found = self.disk.dir / "cut"
        copy(self.disk.dir / "safe", found)
        with open(found, "r+b", 0) as image:
            for offset, data in pending:
                for at in range(0, len(data), SECTOR_OCTETS):
                    if rng.random() < share:
                        os.pwrite(image.fileno(), data[at:at + SECTOR_OCTETS], offset + at)
        return found


def unmount(where, secs=45):
    """As soon as nobody is there any more."""
    end = time.monotonic() + secs
    while subprocess.run(["umount", where], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        assert time.monotonic() < end, f"{where} stays in use"
        time.sleep(0.05)


def detached(image, secs=45):
    """Waits until the kernel has let go of a disk: mount namespaces of processes that have ended go a little later, and
    until then what was mounted is still written to."""
    end = time.monotonic() + secs
    while subprocess.run(["losetup", "-j", image], stdout=subprocess.PIPE, check=True).stdout:
        assert time.monotonic() < end, f"{image} stays in use"
        time.sleep(0.01)
