#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""kpopctl index while the server runs: compare it with the mail, make it anew, say how large it is. No client notices."""
import os
import pty
import subprocess
import threading
import time

import harness
from harness import row

realm = harness.Realm()
server = harness.Server(realm, users=12)
shared = harness.Server(realm, users=4, isolation="shared")


def kpopctl(*arguments, where=server, status=0):
    result = harness.run(harness.BUILD / "kpopctl", "-c", where.conf, "index", *arguments, check=False)
    text = result.stdout.decode()
    assert result.returncode == status, (arguments, result.returncode, text)
    return text


def uidls(user, where=server):
    with where.logged_in(user) as client:
        lines = [line.split()[1] for line in client.listing("UIDL")]
        client.quit()
    return lines


def letters(count, mark="m"):
    return [f"Subject: {mark}{i}\n\nhello {i}\n".encode() for i in range(count)]


def settled(user, *messages, where=server):
    """A user whose index is up to date, and claims so."""
    before = uidls(user, where)
    end = time.monotonic() + harness.WAIT_SECS
    while "as the mail is" not in kpopctl("stat", user, where=where):
        assert time.monotonic() < end, kpopctl("stat", user, where=where)
        time.sleep(0.5)
        uidls(user, where)
    return before


@row("check: nothing differs where nothing is wrong, and users without an index are no fault")
def sound():
    user = server.user(*letters(3))
    settled(user)
    assert f"{user}: 3 messages (" in kpopctl("check", user)
    text = kpopctl("check")
    assert text.splitlines()[-1].endswith(" 0 differences; 0 users in use"), text
    assert "stranger: not in the index" in kpopctl("check", "stranger")


@row("check: mail that came, was moved or has gone since the last login is no difference, but told")
def changes():
    user = server.user(*letters(3))
    settled(user)
    new = server.maildir(user) / "new"
    first, second, *_ = sorted(new.iterdir())
    first.rename(server.maildir(user) / "cur" / (first.name + ":2,S"))
    second.unlink()
    server.deliver(user, b"Subject: new\n\nx\n")
    text = kpopctl("check", user)
    assert f"{user}: 3 messages" in text and "the next login will look at the mail: 3 changes" in text, text
    assert " 0 differences" in text, text


@row("check: a message that was rewritten in its place, with its size and time, is named; status 1; nothing is changed by looking")
def rewritten():
    user = server.user(*letters(3))
    settled(user)
    path = sorted((server.maildir(user) / "new").iterdir())[1]
    stat = path.stat()
    text = path.read_bytes()
    with open(path, "r+b") as file:
        file.write(text.replace(b"hello", b"hullo"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for _ in range(2):
        told = kpopctl("check", user, status=1)
        assert f"{user}: {path.name}: has another content than the index knows, of the same size" in told, told
        assert "1 differences" in told, told
    kpopctl("rebuild", user)
    settled(user)
    assert " 0 differences" in kpopctl("check", user)


@row("check: a damaged environment is told, by status too, and the next login serves the same mail by the same UIDLs")
def damaged():
    other = harness.Server(realm, users=2)
    user = other.user(*letters(5))
    before = settled(user, where=other)
    other.stop()
    number = kpopctl("stat", user, where=other).split("environment ")[1][:2]
    path = other.state_dir / "index" / f"{number}.mdb"
    octets = bytearray(path.read_bytes())
    for at in range(8192, len(octets)):
        octets[at] ^= 0x55
    path.write_bytes(octets)
    result = harness.run(harness.BUILD / "kpopctl", "-c", other.conf, "index", "check", user, check=False)
    assert result.returncode == 1, result.stdout
    other.start()
    assert uidls(user, other) == before
    text = kpopctl("stat", where=other)
    assert f"{number}.bad takes" in text and "1 set aside, which take" in text, text
    kpopctl("check", user, where=other)
    other.stop()


@row("check: sessions, deliveries and removals meanwhile are never taken for differences, and are not held up")
def meanwhile():
    user = server.user(*letters(30))
    uidls(user)
    over = threading.Event()
    broken = []

    def work():
        try:
            for turn in range(1000):
                if over.is_set():
                    return
                server.deliver(user, b"Subject: new\n\nx\n")
                with server.logged_in(user) as client:
                    client.listing("UIDL")
                    client.expect("DELE 1", "+OK")
                    client.raw_message("RETR 2")
                    client.quit()
        except Exception as error:  # pylint: disable=broad-except
            broken.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(15):
            result = harness.run(harness.BUILD / "kpopctl", "-c", server.conf, "index", "check", user, check=False)
            assert result.returncode in (0, 75) and b" 0 differences" in result.stdout, result.stdout
    finally:
        over.set()
        thread.join()
    assert not broken, broken


@row("rebuild: of a user, with the same UIDLs; who has a session is left out, the status tells, and the session goes on")
def rebuild():
    user, other = server.user(*letters(4)), server.user(*letters(3))
    before = settled(user)
    uidls(other)
    with server.logged_in(other) as client:
        client.expect("DELE 2", "+OK")
        text = kpopctl("rebuild", user, other, status=75)
        assert f"{user}: 4 messages (" in text and f"{other}: in use, left out" in text, text
        assert "1 users, 4 messages; 1 users in use" in text, text
        assert client.stat()[0] == 2
        client.expect("QUIT", "+OK 1 messages removed, 2 left")
    assert uidls(user) == before
    assert len(uidls(other)) == 2
    assert "stranger: there is no mail" in kpopctl("rebuild", "stranger")


for where, isolation in ((server, "process"), (shared, "shared")):
    @row(f"rebuild --all: sets everything aside under open sessions, which keep what they have; isolation {isolation}", where)
    def rebuild_all(here):
        users = [here.user(*letters(3, f"s{i}")) for i in range(3)]
        before = {user: uidls(user, here) for user in users}
        client = here.logged_in(users[0])
        listed = client.listing("LIST")
        client.expect("DELE 1", "+OK")
        text = kpopctl("rebuild", "--all", where=here, status=75)
        assert f"{users[0]}: in use" in text, text
        assert client.listing("UIDL") == [b"%d %s" % (i, uidl) for i, uidl in enumerate(before[users[0]], 1) if i > 1]
        assert client.listing("LIST") == listed[1:]
        client.raw_message("RETR 3")
        client.expect("QUIT", "+OK 1 messages removed, 2 left")
        before[users[0]] = before[users[0]][1:]
        for user in users:
            assert uidls(user, here) == before[user]
        kpopctl("check", where=here)
        assert "set aside" in kpopctl("stat", where=here)


for arguments in ((), ("--all",)):
    @row(f"rebuild {' '.join(arguments)}: a name that was used again for another message keeps its new UIDL", arguments)
    def used_again(options):
        user = server.user(*letters(2))
        before = settled(user)
        path = sorted((server.maildir(user) / "new").iterdir())[0]
        # Both are there at a time, or they might have the same inode, one after the other.
        server.deliver(user, b"Subject: quite another\n\nmessage\n", "another").rename(path)
        kpopctl("rebuild", *(options or (user,)))
        after = uidls(user)
        assert len(after) == 2 and before[0] not in after and before[1] in after, (before, after)
        kpopctl("rebuild", *(options or (user,)))
        assert sorted(uidls(user)) == sorted(after)


@row("stat: of all environments with sums, and of users by name")
def stat():
    text = kpopctl("stat", where=shared)
    lines = text.splitlines()
    users = sum(int(line.split()[1]) for line in lines[1:] if line[:2].isdigit() and "set aside" not in line and " of " in line)
    messages = sum(int(line.split()[2]) for line in lines[1:] if line[:2].isdigit() and "set aside" not in line and " of " in line)
    assert f"environments: {users} users, {messages} messages (" in text and users >= 3, text
    assert "in this boot" in text and "format " in text, text
    assert "environment " in kpopctl("stat", "u0", "u1", where=shared)


@row("progress shows on a terminal, and only there")
def terminal():
    user = server.user(*letters(5))
    uidls(user)
    ours, theirs = pty.openpty()
    child = subprocess.run([harness.BUILD / "kpopctl", "-c", server.conf, "index", "check", user], stdout=subprocess.PIPE,
                           stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert f"{user}: ".encode() in shown and b" of 5" in shown, shown
    assert b"\r" not in child.stdout
    assert "\r" not in kpopctl("check", user)


for words in ((), ("chek",), ("check", "--all"), ("rebuild", "--all", "u0"), ("stat", "-x")):
    @row(f"what makes no sense is refused: index {' '.join(words)}", words)
    def misused(arguments):
        told = kpopctl(*arguments, status=64)
        assert told.endswith("kpopctl: the command line is none of these\n"), told


@row("kpopctl looking at the index costs the server none of it")
def boot():
    user = server.user(*letters(2))
    settled(user)
    inode = {path.name: path.stat().st_ino for path in (server.state_dir / "index").glob("*.mdb")}
    kpopctl("stat")
    kpopctl("check")
    uidls(user)
    assert inode == {path.name: path.stat().st_ino for path in (server.state_dir / "index").glob("*.mdb")}


harness.main(server, shared)
