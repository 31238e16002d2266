# SPDX-License-Identifier: ISC
"""What a server costs, seen from outside: CPU time and memory of all its processes, dead ones included."""
import contextlib
import os
import pathlib

TICK_USECS = 1_000_000 // os.sysconf("SC_CLK_TCK")


def groups():
    """Where a cgroup can be made that counts CPU time: (parent folder, how to read it), best first."""
    for parent in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{parent}/cgroup.controllers"):
            yield pathlib.Path(parent), lambda group: int((group / "cpu.stat").read_text().split()[1])
    yield pathlib.Path("/sys/fs/cgroup/cpuacct"), lambda group: int((group / "cpuacct.usage").read_text()) // 1000


class Group:
    """A cgroup of its own; children of its processes are born into it, and the dead stay counted."""

    how = "cgroup CPU accounting"

    def __init__(self, name):
        for parent, read in groups():
            self.dir, self.read = parent / f"kpopd-bench-{os.getpid()}-{name}", read
            try:
                self.dir.mkdir()
                read(self.dir)
                return
            except OSError:
                with contextlib.suppress(OSError):
                    self.dir.rmdir()
        raise OSError("no cgroup can be made here")

    def join(self):
        """To be called in the child, before exec."""
        (self.dir / "cgroup.procs").write_text(str(os.getpid()))

    def watch(self, pid):
        pass

    def cpu_usecs(self):
        return self.read(self.dir)

    def pids(self):
        return [int(pid) for pid in (self.dir / "cgroup.procs").read_text().split()]

    def close(self):
        with contextlib.suppress(OSError):
            self.dir.rmdir()


class Tree:
    """Without the right to make cgroups: the processes below one, and what their dead children cost."""

    how = "utime + stime of the process tree, to the clock tick"

    def __init__(self, name):
        self.roots = []

    def join(self):
        pass

    def watch(self, pid):
        self.roots.append(pid)

    @staticmethod
    def processes():
        """pid: (parent, ticks of its own and of children it has waited for)."""
        table = {}
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                table[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
        return table

    def tree(self):
        table = self.processes()
        children = {}
        for pid, (parent, _) in table.items():
            children.setdefault(parent, []).append(pid)
        found, todo = {}, list(self.roots)
        while todo:
            pid = todo.pop()
            if pid in table and pid not in found:
                found[pid] = table[pid][1]
                todo += children.get(pid, [])
        return found

    def cpu_usecs(self):
        return sum(self.tree().values()) * TICK_USECS

    def pids(self):
        return list(self.tree())

    def close(self):
        pass


def meter(name):
    try:
        return Group(name)
    except OSError:
        return Tree(name)


def memory_octets(pids):
    """Pss of all: what is shared is divided among those who share it, so the sum is what is used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
