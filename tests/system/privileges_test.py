#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What every process of a running kpopd may do, read from /proc. Needs root, since only then roles have users."""
import os
import pathlib
import pwd
import re
import sys
import time

import harness
from harness import row

if not harness.ROOT:
    print("1..0 # SKIP only root can look into the processes of other users")
    sys.exit(0)

realm = harness.Realm()
servers = {name: harness.Server(realm, users=4, isolation=name, passwords=["secrets", "kerberos"],
                                sections=f"listener mail {{ protocol = lmtp path = '{harness.WORK}/lmtp-{name}' }}\n")
           for name in ("process", "shared")}
ROLES = {"kpopd-front": "kpopd-front", "kpopd-auth": "kpopd-auth", "kpopd-auth-pw": "kpopd-auth", "kpopd-checker": "kpopd-check",
         "kpopd-store": "kpopd", "kpopd-lmtp": "kpopd-front", "kpopd-deliverer": "kpopd"}


class Process:
    """One process of the server, as /proc shows it."""

    def __init__(self, pid, parent, server):
        self.pid, self.server = pid, server
        self.proc = pathlib.Path(f"/proc/{pid}")
        self.name = (self.proc / "comm").read_text().strip()
        self.parent = parent
        self.status = dict(line.split(":", 1) for line in (self.proc / "status").read_text().splitlines())

    def numbers(self, key):
        return [int(word) for word in self.status[key].split()]

    def limit(self, name):
        return re.search(rf"^{name} +(\S+) +(\S+)", (self.proc / "limits").read_text(), re.M).groups()

    def descriptors(self):
        found = {}
        for fd in os.listdir(self.proc / "fd"):
            try:
                found[int(fd)] = os.readlink(self.proc / "fd" / fd)
            except OSError:
                pass
        return found

    def maps(self):
        return (self.proc / "maps").read_text()

    def __repr__(self):
        return f"{self.name} {self.pid}"


def everybody(server):
    """All processes, once those of earlier sessions have gone and their replacements have come."""
    before = None
    while before != (before := server.family()):
        time.sleep(0.2)
    found = []
    for pid, parent in server.family():
        try:
            found.append(Process(pid, parent, server))
        except OSError:
            pass  # it ended since it was listed: a session that is over
    return found


def with_session(check):
    """Runs check for each process of both servers, while each serves a session over TLS."""
    for server in servers.values():
        with server.logged_in(server.user(b"Subject: one\n\nx\n"), server.pop3s()):
            time.sleep(0.2)
            found = everybody(server)
            assert {process.name for process in found} == set(ROLES), found
            for process in found:
                try:
                    check(process)
                except OSError:
                    if harness.alive(process.pid):
                        raise


def add(sentence, check):
    harness.add_row(sentence, with_session, check)


def check_ids(process):
    user = pwd.getpwnam(ROLES[process.name])
    assert process.numbers("Uid") == [user.pw_uid] * 4, (process, process.status["Uid"])
    assert process.numbers("Gid") == [user.pw_gid] * 4, (process, process.status["Gid"])
    # Only the checker may be let in somewhere by another group, to saslauthd's socket.
    groups = os.getgrouplist(user.pw_name, user.pw_gid) if process.name == "kpopd-checker" else [user.pw_gid]
    assert sorted(process.numbers("Groups")) == sorted(groups), (process, process.status["Groups"])


def check_capabilities(process):
    for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(process.status[key], 16) == 0, (process, key, process.status[key])


def check_seccomp(process):
    assert process.numbers("NoNewPrivs") == [1], process
    assert process.numbers("Seccomp") == [2], process
    # With a process for each session, parents add a second, narrower filter in their children.
    child = process.parent != process.server.process.pid
    assert process.numbers("Seccomp_filters")[0] == (2 if child else 1), process


def check_root(process):
    state = process.server.state_dir
    want = {"kpopd-front": state / "empty", "kpopd-lmtp": state / "empty", "kpopd-store": state / "index",
            "kpopd-deliverer": state / "index", "kpopd-checker": "/"}.get(process.name, state / "auth")
    assert os.readlink(process.proc / "root") == str(want), process
    assert os.readlink(process.proc / "cwd") == str(want), process


def check_dumpable(process):
    # The files of a process that is not dumpable are root's.
    assert (process.proc / "mem").stat().st_uid == 0, process
    assert process.limit("Max core file size") == ("0", "0"), process


def check_limits(process):
    forks = process.parent == process.server.process.pid and (process.name in ("kpopd-checker", "kpopd-lmtp", "kpopd-deliverer") or (
        process.name in ("kpopd-front", "kpopd-store") and process.server.options["isolation"] == "process"))
    if not forks and process.name != "kpopd-store":
        assert process.limit("Max processes") == ("0", "0"), process
    if process.name == "kpopd-lmtp" and not forks:  # each could be a message in memory
        assert int(process.limit("Max open files")[1]) <= 64, process
    if process.name not in ("kpopd-store", "kpopd-deliverer") and not harness.SANITIZED:
        assert int(process.limit("Max address space")[1]) <= 8 << 30, process


def check_descriptors(process):
    """Pipes, sockets, the log; files only those of the role's own."""
    server = process.server
    mine = {"kpopd-front": (), "kpopd-auth": (server.state_dir / "auth",), "kpopd-auth-pw": (server.state_dir / "auth",),
            "kpopd-store": (server.mail_root, server.state_dir / "index"), "kpopd-checker": (), "kpopd-lmtp": (),
            "kpopd-deliverer": (server.mail_root, server.state_dir / "index")}[process.name]
    for fd, target in process.descriptors().items():
        good = target in ("/dev/null", str(server.log)) or \
            target.split(":")[0] in ("anon_inode", "pipe", "socket") or \
            any(target == str(path) or target.startswith(f"{path}/") for path in mine)
        assert good, (process, fd, target)


def check_keys(process):
    """The TLS key is in fronts alone, the keytab's keys are in auth alone, and no file with them is open."""
    names = " ".join(process.descriptors().values())
    assert "key.pem" not in names and "keytab" not in names, process


add("every role runs as its own user, with that user's one group and no other, but for the checker's own", check_ids)
add("no process but master has a capability", check_capabilities)
add("every role has no_new_privs and a seccomp filter, and a session's processes have a narrower one too", check_seccomp)
add("every role is rooted in its own directory", check_root)
add("no process dumps core or can be traced by its own user", check_dumpable)
add("processes, where they need no others, may make none; memory is bounded", check_limits)
add("no process has files open but its role's own, and the log", check_descriptors)
add("no role holds the keytab or the TLS key open", check_keys)


def network_sockets(process):
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        inodes |= {line.split()[9] for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]}
    return [target for target in process.descriptors().values()
            if target.startswith("socket:") and target[8:-1] in inodes]


def check_network(process):
    assert process.name == "kpopd-front" or not network_sockets(process), process


add("no process but a front has a socket of the network", check_network)


def check_deliverers_door():
    """Master makes the doors, and keeps both ends of each."""
    for server in servers.values():
        masters = {target for target in Process(server.process.pid, 0, server).descriptors().values() if target.startswith("socket:")}
        ends = {name: set() for name in ROLES}
        for process in everybody(server):
            ends[process.name] |= masters.intersection(process.descriptors().values())
        leashes = set()
        for name in ("kpopd-lmtp", "kpopd-deliverer"):
            assert ends[name], name
            for other, held in ends.items():
                if other != name:
                    leashes |= ends[name] & held
        assert not leashes, leashes


harness.add_row("nobody but lmtp and deliverers has an end of the door between them", check_deliverers_door)


@row("a front with a session of its own has that one network socket and no listener")
def one_socket():
    server = servers["process"]
    with server.logged_in(server.user()) as client:
        inode = connection_inode(client)
        holders = [process for process in everybody(server) if inode in str(process.descriptors())]
        assert len(holders) == 1 and len(network_sockets(holders[0])) == 1, holders


def connection_inode(client):
    mine, theirs = client.sock.getsockname()[1], client.sock.getpeername()[1]
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{theirs:04X}") and words[2].endswith(f":{mine:04X}"):
            return f"socket:[{words[9]}]"
    raise AssertionError("the connection is not in /proc/net/tcp")


@row("a store with a session of its own has that maildrop open and no other, and no way to be given another")
def one_maildrop():
    server = servers["process"]
    users = [server.user(b"Subject: one\n\nx\n") for _ in range(2)]
    with server.logged_in(users[0]), server.logged_in(users[1]):
        for user, other in (users, users[::-1]):
            holders = [process for process in everybody(server)
                       if str(server.maildir(user)) in process.descriptors().values()]
            assert len(holders) == 1, holders
            assert str(server.maildir(other)) not in holders[0].descriptors().values()


@row("auth has loaded the configured SASL plug-ins and no others")
def plugins():
    for server in servers.values():
        server.pop3().quit()
        found = [process for process in everybody(server) if process.name.startswith("kpopd-auth")]
        assert found
        for process in found:
            loaded = set(re.findall(r"sasl2/lib(\w+?)\.so", process.maps()))
            assert loaded and loaded <= {"scram", "crammd5", "plain", "login"}, (process, loaded)


def check_writable_code(process):
    assert harness.SANITIZED or not re.search(r"^\S+ .wx", process.maps(), re.M), process


add("no process maps memory that can be written and executed", check_writable_code)


def memory(process):
    """Everything the process can read of its own anonymous memory."""
    found = []
    with open(process.proc / "mem", "rb", 0) as mem:
        for line in process.maps().splitlines():
            words = line.split()
            start, end = (int(word, 16) for word in words[0].split("-"))
            if "r" not in words[1] or "w" not in words[1] or end - start > 1 << 28:
                continue
            try:
                mem.seek(start)
                found.append(mem.read(end - start))
            except (OSError, ValueError):
                pass
    return b"".join(found)


@row("the keytab's key is in the memory of auth, and of the checker, to whom a KDC must prove itself, alone")
def keytab_memory():
    server = servers["process"]
    if harness.SANITIZED:  # shadow memory has no end
        return
    data = server.keytab.read_bytes()
    key = re.search(rb"\x00\x12\x00\x20(.{32})", data, re.S)[1]  # enctype 18, 32 octets
    with server.kpop() as client:
        client.sendauth(realm.apreq(realm.user("alice")))
        holders = {process.name for process in everybody(server) if key in memory(process)}
    assert holders == {"kpopd-auth", "kpopd-checker"}, holders


@row("a password is in no process after the session ends, and in no store ever")
def password_memory():
    if harness.SANITIZED:
        return
    server = servers["shared"]
    secret = "canary" + os.urandom(8).hex()
    server.add_user("canary", secret, plain=False)
    with server.pop3s() as client:
        client.expect("USER canary", "+OK")
        client.expect(f"PASS {secret}", "+OK")
        holders = {process.name for process in everybody(server) if secret.encode() in memory(process)}
        assert not holders & {"kpopd-store"}, holders
        client.quit()
    time.sleep(0.2)
    holders = {process.name for process in everybody(server) if secret.encode() in memory(process)}
    assert not holders, holders


@row("mail of one user is in no memory of the processes that serve the next one")
def mail_memory():
    if harness.SANITIZED:
        return
    server = servers["process"]
    secret = b"canary" + os.urandom(8).hex().encode()
    with server.logged_in(server.user(b"Subject: x\n\n" + secret + b"\n")) as client:
        assert secret in client.raw_message("RETR 1")
        client.quit()
    time.sleep(0.2)
    with server.logged_in(server.user()):
        holders = [process for process in everybody(server) if secret in memory(process)]
    assert not holders, holders


@row("the roles' directories are closed to everybody else, and the secrets too")
def modes():
    for server in servers.values():
        auth, index = server.state_dir / "auth", server.state_dir / "index"
        for path in (auth, index, auth / "secrets.mdb"):
            assert path.stat().st_mode & 0o077 == 0, path
        empty = server.state_dir / "empty"
        assert empty.stat().st_uid == 0 and empty.stat().st_mode & 0o022 == 0 and not list(empty.iterdir())


@row("the hostile environment of whoever starts kpopd reaches no role")
def environment():
    server = harness.Server(realm, users=1, start=False)
    hostile = {"KRB5_KTNAME": "/nonexistent", "SASL_PATH": "/tmp", "OPENSSL_CONF": "/nonexistent", "LD_LIBRARY_PATH": "/tmp",
               "KRB5RCACHENAME": "none:", "TMPDIR": "/nonexistent", "GSS_MECH_CONFIG": "/nonexistent"}
    old = {key: os.environ.get(key) for key in hostile}
    os.environ.update(hostile)
    server.start()
    for key, value in old.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})
    apreq = realm.apreq(realm.user("alice"))
    with server.kpop() as client:
        client.sendauth(apreq)
    with server.kpop() as client:  # the replay cache is there all the same
        client.send(harness.pop3.SENDAUTH + apreq)
        assert client.read(1) == b"\0" and client.read(4) != b"\0\0\0\0"
    assert server.stop() == 0


@row("a configuration or a key that others can write is refused")
def open_files():
    server = harness.Server(realm, users=1, start=False)
    for path, mode in ((server.conf, 0o666), (server.dir / "key.pem", 0o644), (server.keytab, 0o644)):
        before = path.stat().st_mode
        path.chmod(mode)
        result = harness.run(harness.BUILD / "kpopd", "-t", "-c", server.conf, check=False)
        path.chmod(before)
        assert result.returncode != 0 and str(path).encode() in result.stdout, (path, result.stdout)


harness.main(*servers.values())
