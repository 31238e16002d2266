#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Who may be in a maildrop: one session, the newest one, or several; and when a lock is free again."""
import os
import re
import signal
import threading
import time

import harness
from harness import PASSWORD, row, wait_for

realm = harness.Realm()
takeover = harness.Server(realm, users=24, lock="takeover")
takeover_shared = harness.Server(realm, users=16, lock="takeover", isolation="shared")
shared = harness.Server(realm, users=24, lock="shared")
shared_shared = harness.Server(realm, users=16, lock="shared", isolation="shared")
exclusive = harness.Server(realm, users=16, spare=1)
mbox = harness.Server(realm, users=4, spool="%u", spare=1)
mbox_shared = harness.Server(realm, users=4, spool="%u", lock="shared", isolation="shared")
TAKEOVERS, SHARERS = (takeover, takeover_shared), (shared, shared_shared)

ONE, TWO, THREE = b"Subject: one\n\nfirst\n", b"Subject: two\n\nsecond\n", b"Subject: three\n\nthird\n"
TAKEN = b"-ERR [SYS/TEMP] another login has taken this maildrop over"
IN_USE = b"-ERR [IN-USE] another session has this maildrop"


def on_the_wire(stored):
    return stored.replace(b"\n", b"\r\n")


def each(servers, sentence, *arguments):
    """A row for each of these servers."""
    def mark(function):
        for server in servers:
            harness.add_row(f"{sentence} (isolation = {server.options['isolation']})", function, server, *arguments)
        return function
    return mark


def login(server, user, client=None, password=PASSWORD):
    """One try; the client, and what PASS was answered."""
    client = client or server.pop3()
    client.expect(f"USER {user}", "+OK")
    return client, client.command(f"PASS {password}")


def view(client):
    return client.stat(), client.listing("LIST"), client.listing("UIDL")


# --- lock = takeover ------------------------------------------------------------------------------

@each(TAKEOVERS, "a new login takes the maildrop over: the old session hears it at its next command, and ends")
def taken(server):
    user = server.user(ONE, TWO, THREE)
    before = len(server.log_text())
    first = server.logged_in(user)
    first.expect("DELE 1", "+OK")
    second, answer = login(server, user)
    assert answer.startswith(b"+OK"), answer
    assert first.command("NOOP") == TAKEN
    first.closed()
    assert second.stat()[0] == 3
    second.expect("DELE 2", "+OK")
    second.quit()
    assert server.stored(user) == sorted([ONE, THREE])
    log = server.log_text()[before:]
    assert re.search(rf"ended session=\w+ user={user}: another login takes", log), log
    assert re.search(rf"taken session=\w+ user={user}: ", log), log


LAST_COMMANDS = (("STAT", TAKEN), ("LIST", TAKEN), ("RETR 1", TAKEN), ("DELE 2", TAKEN), ("RSET", TAKEN), ("XYZZY", TAKEN),
                 ("CAPA", TAKEN), ("QUIT", b"-ERR [SYS/TEMP] some deleted messages not removed"))


@each(TAKEOVERS, "whatever the old session says then, it is told, and nothing of what it marked is removed")
def told(server):
    users = {command: server.user(ONE, TWO) for command, _ in LAST_COMMANDS}
    firsts = {command: server.logged_in(user) for command, user in users.items()}
    for first in firsts.values():
        first.expect("DELE 1", "+OK")
    seconds = {command: server.pop3() for command in users}
    for command, second in seconds.items():
        second.send(f"USER {users[command]}\r\nPASS {PASSWORD}\r\n".encode())
    for second in seconds.values():
        assert second.line().startswith(b"+OK") and second.line().startswith(b"+OK")
    for command, answer in LAST_COMMANDS:
        got = firsts[command].command(command)
        assert got == answer, (command, got)
        firsts[command].close()  # who waits to see it closed waits until all can have read why
        seconds[command].quit()
        assert server.stored(users[command]) == sorted([ONE, TWO])


@each(TAKEOVERS, "QUIT of a session that lost its maildrop, and had marked nothing, is +OK")
def quit_unmarked(server):
    user = server.user(ONE)
    first = server.logged_in(user)
    second, answer = login(server, user)
    assert answer.startswith(b"+OK"), answer
    first.quit()
    second.quit()


@each(TAKEOVERS, "a wrong password takes nothing over, and is not told that the maildrop is in use")
def wrong(server):
    user = server.user(ONE)
    first = server.logged_in(user)
    second, answer = login(server, user, password="wrong")
    assert answer.startswith(b"-ERR [AUTH]"), answer
    second.close()
    time.sleep(1.2)  # more than twice the time in which a session looks whether it is wanted
    first.expect("NOOP", "+OK")
    first.quit()


@each(TAKEOVERS, "a session that never pauses between commands ends, too")
def busy(server):
    user = server.user(ONE, TWO)
    first = server.logged_in(user)
    ended = []

    def retrieve():
        answer = b"+OK"
        while answer.startswith(b"+OK"):
            first.send(b"RETR 1\r\n")
            answer = first.line()
            if answer.startswith(b"+OK"):
                first.lines()
        ended.append(answer)
    thread = threading.Thread(target=retrieve)
    thread.start()
    second, answer = login(server, user)
    assert answer.startswith(b"+OK"), answer
    thread.join(harness.WAIT_SECS)
    assert ended == [TAKEN], ended
    second.quit()


@each(TAKEOVERS, "a message that is under way when its session is ended still comes whole")
def under_way(server):
    large = b"Subject: large\n\n" + (b"y" * 998 + b"\n") * 20000
    user = server.user(large)
    first = server.logged_in(user)
    first.send(b"RETR 1\r\n")
    assert first.line().startswith(b"+OK")
    first.read(1000)
    second, answer = login(server, user)
    assert answer.startswith(b"+OK"), answer
    rest = first.read(len(on_the_wire(large)) - 1000)
    assert rest.endswith(b"y\r\n") and first.read(3) == b".\r\n"
    assert first.command("NOOP") == TAKEN
    second.quit()


@each(TAKEOVERS, "of twenty logins at once each gets the maildrop in turn, or is told that it is in use; the last one keeps it")
def many(server):
    user = server.user(ONE, TWO)
    answers, clients = [], []

    def one():
        client, answer = login(server, user)
        answers.append(answer)
        clients.append((client, answer))
    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.WAIT_SECS)
    good = [client for client, answer in clients if answer.startswith(b"+OK")]
    assert good and all(answer == IN_USE for _, answer in clients if not answer.startswith(b"+OK")), answers
    time.sleep(1.2)
    alive = [client for client in good if client.command("NOOP") != TAKEN]
    assert len(alive) == 1, f"{len(alive)} of {len(good)} sessions go on"
    alive[0].quit()
    assert server.stored(user) == sorted([ONE, TWO])


@each(TAKEOVERS, "a client that hangs up while it waits leaves the maildrop to whoever has it, or is followed by the next")
def hangs_up(server):
    user = server.user(ONE)
    first = server.logged_in(user)
    impatient = server.pop3()
    impatient.send(f"USER {user}\r\nPASS {PASSWORD}\r\n".encode())
    time.sleep(0.05)
    impatient.reset()
    second, answer = login(server, user)
    assert answer.startswith(b"+OK"), answer
    second.quit()
    first.close()


@row("after a reload a session of the new configuration takes over from one that has lock = takeover of the old")
def generations():
    user = takeover.user(ONE)
    first = takeover.logged_in(user)
    takeover.reload()
    second, answer = login(takeover, user)
    assert answer.startswith(b"+OK"), answer
    assert first.command("NOOP") == TAKEN
    second.quit()


# --- lock = exclusive, and mixtures ---------------------------------------------------------------

def set_lock(server, lock):
    """How its next sessions lock."""
    server.options["lock"] = lock
    server.write_conf()
    server.reload()


LOCKS = ("exclusive", "takeover", "shared")
for after in LOCKS:
    others = " and ".join(lock for lock in LOCKS if lock != after)
    @row(f"after a reload to lock = {after} maildrops of sessions with lock = {others} are in use, and their sessions go on", after)
    def mixed(after):
        firsts, seconds = {}, {}
        for before in LOCKS:
            set_lock(exclusive, before)
            firsts[before] = exclusive.user(ONE, TWO)
            firsts[before] = firsts[before], exclusive.logged_in(firsts[before])
        set_lock(exclusive, after)
        for before, (user, _) in firsts.items():
            seconds[before] = exclusive.pop3()
            seconds[before].send(f"USER {user}\r\nPASS {PASSWORD}\r\n".encode())
        for before, (user, first) in firsts.items():
            second = seconds[before]
            assert second.line().startswith(b"+OK")
            answer = second.line()
            if before == after != "exclusive":
                assert answer.startswith(b"+OK"), answer
                second.quit()
                if before == "takeover":
                    continue
            else:
                assert answer == IN_USE, answer
            assert first.raw_message("RETR 1") == on_the_wire(ONE)
            first.expect("DELE 1", "+OK")
            first.quit()
            exclusive.logged_in(user, exclusive.pop3()).quit()
            assert exclusive.stored(user) == [TWO]


# --- lock = shared --------------------------------------------------------------------------------

@each(SHARERS, "two sessions of a user see what there was at their login, whatever the other removes and others deliver")
def snapshots(server):
    user = server.user(ONE, TWO, THREE)
    first, second = server.logged_in(user), server.logged_in(user)
    seen = view(first)
    assert view(second) == seen and seen[0][0] == 3
    first.expect("DELE 1", "+OK")
    first.expect("DELE 3", "+OK")
    server.deliver(user, b"Subject: four\n\nfourth\n")
    first.quit()
    assert view(second) == seen
    assert second.raw_message("RETR 2") == on_the_wire(TWO)
    assert second.command("RETR 1") == b"-ERR [SYS/TEMP] message 1 is no longer there"
    third = server.logged_in(user)
    assert [line.split()[1] for line in third.listing("UIDL")][0] == seen[2][1].split()[1]
    assert third.stat()[0] == 2 and view(second) == seen
    third.expect("DELE 1", "+OK")
    third.quit()
    assert view(second) == seen
    second.expect("DELE 1", "+OK")
    second.expect("DELE 2", "+OK")
    second.quit()
    assert server.stored(user) == [b"Subject: four\n\nfourth\n"]
    with server.logged_in(user) as last:
        assert last.stat()[0] == 1 and last.raw_message("RETR 1") == b"Subject: four\r\n\r\nfourth\r\n"
        last.quit()


@each(SHARERS, "removing what another session has removed is fine at QUIT")
def idempotent(server):
    user = server.user(ONE, TWO, THREE)
    clients = [server.logged_in(user) for _ in range(4)]
    for client in clients:
        client.expect("DELE 1", "+OK")
        client.expect("DELE 2", "+OK")
    for client in clients:
        client.quit()
    assert server.stored(user) == [THREE]
    with server.logged_in(user) as client:
        assert client.stat()[0] == 1
        client.quit()


@each(SHARERS, "a session's view outlives what an IMAP server does to the files")
def renamed(server):
    user = server.user(ONE, TWO, THREE)
    first = server.logged_in(user)
    seen = view(first)
    maildir = server.maildir(user)
    for path in list((maildir / "new").iterdir()):
        path.rename(maildir / "cur" / (path.name + ":2,S"))
    second = server.logged_in(user)
    assert view(second) == seen
    assert [first.raw_message(f"RETR {n}") for n in (1, 2, 3)] == [on_the_wire(m) for m in (ONE, TWO, THREE)]
    second.expect("DELE 2", "+OK")
    second.quit()
    assert view(first) == seen
    first.quit()
    assert server.stored(user) == sorted([ONE, THREE])


@each(SHARERS, "the index is lost while sessions share a maildrop: they go on, and so does the next")
def index_lost(server):
    user = server.user(ONE, TWO, THREE)
    first = server.logged_in(user)
    seen = view(first)
    for path in (server.state_dir / "index").glob("*.mdb*"):
        path.unlink()
    second = server.logged_in(user)
    assert view(second) == seen
    second.expect("DELE 1", "+OK")
    second.quit()
    third = server.logged_in(user)
    assert third.stat()[0] == 2
    assert first.raw_message("RETR 3") == on_the_wire(THREE)
    assert first.listing("UIDL") == seen[2]
    third.quit()
    first.quit()
    with server.logged_in(user) as last:
        assert [line.split()[1] for line in last.listing("UIDL")] == [line.split()[1] for line in seen[2][1:]]
        last.quit()


@each(SHARERS, "ten sessions at once, each with a removal of its own and one of another's: what is left is what nobody marked")
def crowd(server):
    mail = [b"Subject: %d\n\nx\n" % i for i in range(40)]
    user = server.user(*mail)
    failed = []

    def one(number):
        try:
            client = server.logged_in(user)
            texts = client.listing("UIDL")
            wanted = {20 + number, 20 + (number + 1) % 10}
            for line in texts:
                msgno = int(line.split()[0])
                client.send(b"TOP %d 0\r\n" % msgno)
                if not client.line().startswith(b"+OK"):
                    continue
                if int(client.lines()[0].split()[1]) in wanted:
                    client.expect(f"DELE {msgno}", "+OK")
            assert client.listing("UIDL") == [line for line in texts if line in client_left(client, texts)]
            client.quit()
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)

    def client_left(client, texts):
        listed = {line.split()[0] for line in client.listing("LIST")}
        return [line for line in texts if line.split()[0] in listed]
    threads = [threading.Thread(target=one, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * harness.WAIT_SECS)
    assert not failed, failed
    assert server.stored(user) == sorted(mail[:20] + mail[30:])


# --- when the lock is free again ------------------------------------------------------------------

def spare_store(server):
    """The process that will have the next maildrop."""
    def alone():
        family = server.family()
        children = [pid for pid, parent in family if harness.comm(pid) == harness.comm(parent) == "kpopd-store"]
        return children if len(children) == 1 else None
    return wait_for(alone, "one store is spare, and none is busy")[0]


def put_mbox(server, user, *mail):
    spool = server.mail_root / user
    spool.write_bytes(b"".join(b"From a@example.net Thu Jan  1 00:00:00 1970\n" + octets + b"\n" for octets in mail))
    server.own(spool)
    return spool


@row("two sessions share an mbox: each sees what there was at its login, whatever the other removes and others append")
def mbox_snapshots():
    spool = put_mbox(mbox_shared, "u0", ONE, TWO, THREE)
    first, second = mbox_shared.logged_in("u0"), mbox_shared.logged_in("u0")
    seen = view(first)
    assert view(second) == seen and seen[0][0] == 3
    first.expect("DELE 1", "+OK")
    first.quit()
    with open(spool, "ab") as file:
        file.write(b"From b@example.net Thu Jan  1 00:00:01 1970\nSubject: four\n\nfourth\n\n")
    assert view(second) == seen
    assert second.raw_message("RETR 3") == on_the_wire(THREE)
    assert second.command("RETR 1").startswith(b"-ERR [SYS/TEMP] ")
    third = mbox_shared.logged_in("u0")
    assert [line.split()[1] for line in third.listing("UIDL")][:2] == [line.split()[1] for line in seen[2]][1:]
    assert third.stat()[0] == 3
    second.expect("DELE 1", "+OK")
    second.expect("DELE 2", "+OK")
    second.quit()
    assert third.raw_message("RETR 3") == b"Subject: four\r\n\r\nfourth\r\n"
    third.quit()
    left = spool.read_bytes()
    assert b"Subject: three" in left and b"Subject: four" in left and b"Subject: one" not in left and b"Subject: two" not in left


@row("kill -9 of the process that has the maildrop: the next login finds it free at once (Maildir)", exclusive)
@row("kill -9 of the process that has the maildrop: the next login finds it free at once (mbox)", mbox)
def killed(server):
    if server is mbox:
        user = "u0"
        put_mbox(server, user, ONE, TWO)
    else:
        user = server.user(ONE, TWO)
    waits = []
    for _ in range(5):
        holder = spare_store(server)
        with server.logged_in(user) as first:
            first.expect("DELE 1", "+OK")
            second = server.pop3()
            second.expect(f"USER {user}", "+OK")
            os.kill(holder, signal.SIGKILL)
            began = time.monotonic()
            second.expect(f"PASS {PASSWORD}", "+OK")
            waits.append(time.monotonic() - began)
            assert second.stat()[0] == 2
            second.quit()
    print(f"# free after {min(waits) * 1000:.1f} to {max(waits) * 1000:.1f} ms")
    assert min(waits) < 5, waits


harness.main(takeover, takeover_shared, shared, shared_shared, exclusive, mbox, mbox_shared)
