#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mail_users = system: mail of accounts, each served by a process that is this account and nobody else."""
import contextlib
import ctypes
import grp
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import time

import accounts
import harness
import lmtp
from harness import KINDS, PASSWORD, row, run, wait_for

if not harness.ROOT:
    print("1..0 # SKIP only root can become other users")
    sys.exit(0)

ALICE, BOB, STRANGE, LONG = "kt-alice", "kt-bob", "kt_Carol.x+y", "k" * 32
NAMES = [ALICE, BOB, STRANGE, LONG]
for name in NAMES:
    accounts.account(name)
accounts.tool("usermod", "--append", "--groups", "mail,root", ALICE)
TAKEN = {entry.pw_uid for entry in pwd.getpwall()}
accounts.account("kt-low", uid=next(uid for uid in range(900, 300, -1) if uid not in TAKEN))
realm = harness.Realm()
server = accounts.Server(realm, NAMES)
ONE = b"Subject: one\n\nfirst\n"


def fresh(user, *messages):
    """Empties the user's Maildir, and delivers these."""
    shutil.rmtree(server.maildir(user), ignore_errors=True)
    for message in messages:
        server.deliver(user, message)
    return user


def as_user(user, *command, **options):
    """A command that this account runs."""
    entry = server.accounts[user]
    return subprocess.run(["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--inh-caps=-all",
                           *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, **options)


def uid_of(pid):
    """The real uid of a process; None: it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(status.split("\nUid:\t")[1].split()[0])


def store_of(user):
    """The one process that serves this user."""
    uid = server.accounts[user].pw_uid
    found = [pid for pid, _ in server.family() if harness.comm(pid) == "kpopd-store" and uid_of(pid) == uid]
    assert len(found) == 1, found
    return found[0]


def refused(user, code, reason, password=PASSWORD):
    """The user's login is refused with this code, and the log says why. Returns how long it took."""
    before, began = len(server.log_text()), time.monotonic()
    with server.pop3() as client:
        client.expect(f"USER {user}", "+OK")
        answer = client.command(f"PASS {password}")
    assert answer.startswith(f"-ERR [{code}]".encode()), answer
    wait_for(lambda: reason in server.log_text()[before:], f"the log says {reason!r}")
    return time.monotonic() - began


@contextlib.contextmanager
def instead(path, make):
    """Inside, something else stands where path was; make puts it there."""
    aside = path.with_name(path.name + ".aside")
    there = path.is_symlink() or path.exists()
    if there:
        path.rename(aside)
    try:
        make(path)
        yield
    finally:
        if path.is_symlink() or path.is_file() or path.is_fifo():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        if there:
            aside.rename(path)


# --- what works -----------------------------------------------------------------------------------

def whole_session(kind, user):
    fresh(user, ONE, b"Subject: two\n\nsecond\n")
    with server.logged_in(user, server.connect(kind)) as client:
        assert client.stat()[0] == 2
        assert client.raw_message("RETR 1") == ONE.replace(b"\n", b"\r\n")
        client.expect("DELE 1", "+OK")
        client.quit()
    assert server.stored(user) == [b"Subject: two\n\nsecond\n"]


for KIND in KINDS:
    for NAME in NAMES:
        harness.add_row(f"{KIND}: mail in the home of {NAME} is read and removed", whole_session, KIND, NAME)


@row("KPOP: a principal that is named as an account reads that account's mail")
def by_kpop():
    fresh(ALICE, ONE)
    with server.kpop() as client:
        client.sendauth(realm.apreq(realm.user(ALICE)))
        client.expect(f"USER {ALICE}", "+OK")
        client.expect(f"PASS {ALICE}", "+OK")
        assert client.raw_message("RETR 1") == ONE.replace(b"\n", b"\r\n")
        client.quit()


@row("all that is made for a user is his, closed to others, in his home and in a directory of his")
def ownership():
    uid = server.accounts[ALICE].pw_uid
    fresh(ALICE, ONE)
    server.logged_in(ALICE).quit()
    for top in (server.maildir(ALICE), server.state(ALICE)):
        for path in (top, *top.rglob("*")):
            assert path.stat().st_uid == uid and path.stat().st_mode & 0o077 == 0, path
    users = (server.state_dir / "users").stat()
    assert users.st_uid == 0 and users.st_mode & 0o777 == 0o771, oct(users.st_mode)
    assert not list((server.state_dir / "index").iterdir())


@row("who has no Maildir has an empty maildrop, and nothing is made in his home")
def no_maildir():
    fresh(BOB)
    with server.logged_in(BOB) as client:
        assert client.stat() == (0, 0)
        client.quit()
    assert not list(server.home(BOB).iterdir())


@row("UIDLs stay when the index of one user is thrown away")
def uidls_stay():
    fresh(ALICE, ONE, ONE, ONE)
    with server.logged_in(ALICE) as client:
        before = client.listing("UIDL")
        client.quit()
    shutil.rmtree(server.state(ALICE))
    with server.logged_in(ALICE) as client:
        assert client.listing("UIDL") == before and len(before) == 3
        client.quit()


@row("an account that is made, and one that is removed, while kpopd runs")
def comes_and_goes():
    server.accounts["kt-new"] = accounts.account("kt-new")
    server.add_user("kt-new")
    whole_session("POP3", "kt-new")
    accounts.tool("userdel", "kt-new")
    refused("kt-new", "SYS/PERM", "there is no account kt-new")


@row("after a reload sessions go on, and new ones begin")
def reload():
    fresh(ALICE, ONE)
    fresh(BOB, ONE)
    with server.logged_in(ALICE) as old:
        server.reload()
        with server.logged_in(BOB) as client:
            assert client.raw_message("RETR 1")
            client.quit()
        assert old.raw_message("RETR 1")
        old.quit()


@row("accounts of another name service, whose module is loaded when the first of them comes")
def other_name_service():
    if accounts.PRIVATE not in os.environ:
        print("# /etc and /var/lib are the machine's own here")
        return
    folder = pathlib.Path("/var/lib/extrausers")
    folder.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "kpopd-test", folder)
    switch = pathlib.Path("/etc/nsswitch.conf")
    before = switch.read_text()
    try:
        switch.write_text("passwd: files extrausers\ngroup: files extrausers\n")
        home = accounts.HOMES / "kt-extra"
        home.mkdir(mode=0o700)
        os.chown(home, 62001, 62001)
        (folder / "passwd").write_text(f"kt-extra:x:62001:62001::{home}:/bin/false\n")
        (folder / "group").write_text("kt-extra:x:62001:\nkt-friends:x:62002:kt-extra\n")
        (folder / "shadow").write_text("")
        entry = wait_for(lambda: [found for found in pwd.getpwall() if found.pw_name == "kt-extra"], "the name service knows")[0]
        server.accounts["kt-extra"] = entry
        server.add_user("kt-extra")
        whole_session("POP3", "kt-extra")
        # Where Landlock has a list of places, those of name services are on it.
        spool = accounts.Server(realm, ["kt-extra"], maildir="%u/Maildir", start=False)
        os.chown(spool.mail_root, 0, 0)
        spool.mail_root.chmod(0o755)
        run(harness.BUILD / "kpop-deliver", "-c", spool.conf, "-d", "kt-extra", input=ONE)
        spool.start()
        with spool.logged_in("kt-extra") as client:
            assert client.stat()[0] == 1
            pid = [pid for pid, _ in spool.family() if uid_of(pid) == 62001]
            assert len(pid) == 1 and {int(word) for word in fields(pid[0])["Groups"].split()} == {62001, 62002}
            client.quit()
        assert spool.stop() == 0
    finally:
        switch.write_text(before)
        run("umount", "-l", folder)


# --- who is refused -------------------------------------------------------------------------------

def never_served(user, reason):
    server.add_user(user)
    assert refused(user, "SYS/PERM", reason) < harness.WAIT_SECS


for USER, REASON in (("root", "root's mail is never served"), ("daemon", "below first_uid"), ("nobody", "which is nobody's"),
                     ("kpopd", "below first_uid"), ("kt-low", "below first_uid"), ("kt-nowhere", "there is no account"),
                     ("kt-bob@example.org", "has a domain")):
    harness.add_row(f"{USER} is refused, whatever he knows", never_served, USER, REASON)


@row("with first_uid = 1, neither root nor kpopd's own users are served")
def never_roles():
    low = accounts.Server(realm, ["kt-low"], first_uid=1, mechanisms=["PLAIN"])
    for user in ("root", "kpopd", "kpopd-auth", "kpopd-front", "kpopd-check"):
        low.add_user(user)
        with low.pop3() as client:
            client.expect(f"USER {user}", "+OK")
            assert client.command(f"PASS {PASSWORD}").startswith(b"-ERR [SYS/PERM]"), user
    log = low.log_text()
    assert "root's mail is never served" in log and "account kpopd-auth is one of kpopd's own users" in log
    low.deliver("kt-low", ONE)
    low.logged_in("kt-low").quit()
    assert low.stop() == 0


@row("a home that is not there is a passing trouble, one that is closed a lasting one")
def homes():
    home = server.home(ALICE)
    fresh(ALICE, ONE)
    with instead(home, lambda _: None):
        refused(ALICE, "SYS/TEMP", "No such file or directory")
    with instead(home, lambda path: path.mkdir(mode=0o700)):
        os.chown(home, 0, 0)
        refused(ALICE, "SYS/PERM", "Permission denied")
    with instead(home, lambda path: path.write_text("x")):
        refused(ALICE, "SYS/PERM", "Not a directory")
    with instead(home, os.mkfifo):
        refused(ALICE, "SYS/PERM", "Not a directory")
    with server.logged_in(ALICE) as client:
        assert client.stat()[0] == 1
        client.quit()


# --- nobody else's --------------------------------------------------------------------------------

def fields(pid):
    return dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())


@row("the process that serves a user has his ids, his groups but for root's, no capability, and three filters")
def ids():
    fresh(ALICE, ONE)
    entry = server.accounts[ALICE]
    with server.logged_in(ALICE) as client:
        pid = store_of(ALICE)
        status = fields(pid)
        assert [int(word) for word in status["Uid"].split()] == [entry.pw_uid] * 4
        assert [int(word) for word in status["Gid"].split()] == [entry.pw_gid] * 4
        groups = {int(word) for word in status["Groups"].split()}
        assert groups == set(os.getgrouplist(ALICE, entry.pw_gid)) - {0} and len(groups) == 2, groups
        for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[key], 16) == 0, (key, status[key])
        assert int(status["NoNewPrivs"]) == 1 and int(status["Seccomp"]) == 2 and int(status["Seccomp_filters"]) == 3
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
        client.quit()


@row("those who wait for a user have no rights but to become one; their parent may end them, too")
def waiting():
    setuid, setgid, kill = 1 << 7, 1 << 6, 1 << 5
    uid = pwd.getpwnam("kpopd").pw_uid
    def stores():
        return [(pid, parent) for pid, parent in server.family() if harness.comm(pid) == "kpopd-store"]
    wait_for(lambda: len(stores()) >= 5, "spare stores")
    time.sleep(0.3)
    parents = {parent for _, parent in stores()}
    for pid, parent in stores():
        status = fields(pid)
        want = setuid | setgid | (kill if parent == server.process.pid else 0)
        assert parent == server.process.pid or parent in parents
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == want, (pid, status["CapEff"])
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert int(status["Uid"].split()[0]) == uid and int(status["Seccomp_filters"]) == 2


@row("it has open the user's own, sockets and the log, and nothing that a name service left")
def descriptors():
    fresh(ALICE, ONE)
    with server.logged_in(ALICE) as client:
        pid = store_of(ALICE)
        mine = (server.home(ALICE), server.maildir(ALICE), server.state(ALICE))
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            good = target in ("/dev/null", str(server.log)) or target.split(":")[0] in ("anon_inode", "pipe", "socket") or \
                any(target == str(path) or target.startswith(f"{path}/") for path in mine)
            assert good or target == str(server.state_dir / "users"), (fd, target)
        client.quit()


@row("mail of one user is in no memory of the process that serves the next one")
def memory():
    if harness.SANITIZED:  # shadow memory has no end
        return
    secret = b"canary" + os.urandom(8).hex().encode()
    fresh(ALICE, b"Subject: x\n\n" + secret + b"\n")
    fresh(BOB, ONE)
    with server.logged_in(ALICE) as first, server.logged_in(BOB) as second:
        assert secret in first.raw_message("RETR 1") and second.raw_message("RETR 1")
        found = b""
        pid = store_of(BOB)
        with open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
                words = line.split()
                start, end = (int(word, 16) for word in words[0].split("-"))
                if words[1].startswith("rw") and end - start < 1 << 28:
                    with contextlib.suppress(OSError, ValueError):
                        mem.seek(start)
                        found += mem.read(end - start)
        assert secret not in found and BOB.encode() in found
        first.quit()
        second.quit()


def theirs(message=b"Subject: bob's\n\nsecret\n"):
    fresh(BOB, message)
    return server.maildir(BOB)


def tricks():
    """What a user may put in his home, to be served as his: name, how, code of the refusal (None: his own mail is served)."""
    def maildir_link(maildir):
        maildir.symlink_to(server.maildir(BOB))
    def new_link(maildir):
        maildir.mkdir()
        (maildir / "cur").mkdir()
        (maildir / "new").symlink_to("../../" + BOB + "/Maildir/new")
    def maildir_fifo(maildir):
        os.mkfifo(maildir)
    def new_fifo(maildir):
        maildir.mkdir()
        os.mkfifo(maildir / "new")
    def messages(maildir):
        for part in ("", "cur", "new", "tmp"):
            (maildir / part).mkdir()
        (maildir / "new" / "1.own").write_bytes(ONE)
        bobs = next((server.maildir(BOB) / "new").iterdir())
        os.link(bobs, maildir / "new" / "2.hard")
        (maildir / "new" / "3.soft").symlink_to(bobs)
        os.mkfifo(maildir / "new" / "4.fifo")
        (maildir / "new" / "5.directory").mkdir()
        (maildir / "new" / "6.keytab").symlink_to(server.keytab)
        os.mknod(maildir / "new" / "7.device", 0o666 | 0o020000, os.makedev(1, 5))
    return (("a Maildir that is a link to another's", maildir_link, "SYS/PERM"),
            ("a link to another's new mail", new_link, "SYS/PERM"),
            ("a FIFO as Maildir", maildir_fifo, "SYS/PERM"),
            ("a FIFO as new", new_fifo, "SYS/PERM"),
            ("links to another's messages, FIFOs, devices", messages, None))


def trick(make, code, openly):
    bobs = theirs()
    mode = 0o777 if openly else 0o700
    for path in (server.home(BOB), bobs, bobs / "new"):
        path.chmod(mode)
    next((bobs / "new").iterdir()).chmod(0o644 if openly else 0o600)
    uid, gid = server.accounts[ALICE].pw_uid, server.accounts[ALICE].pw_gid
    maildir = server.maildir(ALICE)
    shutil.rmtree(maildir, ignore_errors=True)
    try:
        make(maildir)
        for path in (maildir, *maildir.rglob("*")):
            if path.name != "2.hard":
                os.chown(path, uid, gid, follow_symlinks=False)
        if code:
            assert refused(ALICE, code, "refused session=") < harness.WAIT_SECS
        else:
            with server.logged_in(ALICE) as client:
                assert client.stat()[0] == 1 and client.raw_message("RETR 1") == ONE.replace(b"\n", b"\r\n")
                client.quit()
    finally:
        server.home(BOB).chmod(0o700)
        if maildir.is_symlink() or maildir.is_fifo():
            maildir.unlink()
        else:
            shutil.rmtree(maildir)
    assert len(server.stored(BOB)) == 1


for SENTENCE, MAKE, CODE in tricks():
    harness.add_row(f"{SENTENCE}: nothing of it is shown", trick, MAKE, CODE, False)
    harness.add_row(f"{SENTENCE}: nor when the other's mail is open to all", trick, MAKE, CODE, True)


# --- what a user can do to his own process ----------------------------------------------------------

@row("a user cannot look into the process that serves him: its descriptors, its memory, by ptrace")
def looks():
    fresh(ALICE, ONE)
    with server.logged_in(ALICE) as client:
        pid = store_of(ALICE)
        for command in (("ls", f"/proc/{pid}/fd"), ("cat", f"/proc/{pid}/maps"), ("cat", f"/proc/{pid}/environ"),
                        ("head", "-c1", f"/proc/{pid}/mem"), ("ls", f"/proc/{pid}/root/"), ("strace", "-o", "/dev/null", "-p", pid)):
            result = as_user(ALICE, *command)
            assert result.returncode != 0 and b"ermi" in result.stdout, (command, result.stdout)
        assert client.raw_message("RETR 1")
        client.quit()


def hurts(number, said):
    """A user sends a signal to his own store: his session ends, other people's go on, and so does he at the next login."""
    fresh(ALICE, ONE)
    fresh(BOB, ONE)
    before = len(server.log_text())
    with server.logged_in(ALICE) as client, server.logged_in(BOB) as other:
        pid = store_of(ALICE)
        assert as_user(ALICE, "kill", f"-{number}", pid).returncode == 0
        wait_for(lambda: not harness.alive(pid), "it ends")
        wait_for(lambda: said in server.log_text()[before:], f"the log says {said!r}")
        client.send(b"RETR 1\r\n")
        assert not client.sock.recv(4096).startswith(b"+OK")
        assert other.raw_message("RETR 1")
        other.quit()
    with server.logged_in(ALICE) as client:
        assert client.raw_message("RETR 1")
        client.quit()


harness.add_row("a user who kills the process that serves him ends his own session", hurts, int(signal.SIGKILL), "ended: signal 9")
harness.add_row("a user who stops it ends his own session", hurts, int(signal.SIGSTOP), "was stopped by somebody: killed")
harness.add_row("a user who stops it as a terminal would ends his own session", hurts, int(signal.SIGTSTP), "was stopped by somebody: killed")


@row("a user cannot signal another's process, nor those of kpopd")
def others():
    fresh(BOB, ONE)
    with server.logged_in(BOB) as client:
        for pid in (store_of(BOB), server.process.pid, *[pid for pid, _ in server.family()]):
            if uid_of(pid) != server.accounts[ALICE].pw_uid:
                assert as_user(ALICE, "kill", "-0", pid).returncode != 0, (pid, harness.comm(pid))
        client.quit()


@row("a user who breaks his index breaks nobody's, and his UIDLs stay")
def breaks_index():
    spoiled = accounts.Server(realm, [ALICE, BOB])  # its processes may die of it, which sanitizers report
    fresh(BOB, ONE)
    fresh(ALICE, ONE, ONE)
    with spoiled.logged_in(ALICE) as client:
        before = client.listing("UIDL")
        client.quit()
    index = spoiled.state(ALICE) / "index"
    def garbage():
        for path in index.iterdir():
            path.write_bytes(os.urandom(16384))
    def nothing():
        for path in index.iterdir():
            path.write_bytes(b"")
    def fifos():
        for path in list(index.iterdir()):
            path.unlink()
            os.mkfifo(path)
            os.chown(path, server.accounts[ALICE].pw_uid, -1)
    def link():
        shutil.rmtree(index)
        index.symlink_to(spoiled.state_dir / "index")
    def links():
        for path in list(index.iterdir()):
            path.unlink()
            path.symlink_to(spoiled.state(BOB) / "index" / path.name)
    def gone():
        shutil.rmtree(index)
    for spoil in (garbage, nothing, fifos, link, links, gone):
        spoil()
        with spoiled.logged_in(BOB) as other:
            # A reader may die of what is in there; then the next login finds out, and begins a new one.
            def again():
                with spoiled.pop3() as client:
                    client.expect(f"USER {ALICE}", "+OK")
                    if not client.command(f"PASS {PASSWORD}").startswith(b"+OK"):
                        return None
                    with contextlib.suppress(AssertionError, OSError):
                        got = client.listing("UIDL")
                        client.quit()
                        return got
                    return None
            assert wait_for(again, spoil.__name__) == before
            assert other.raw_message("RETR 1")
            other.quit()
        if index.is_symlink():
            index.unlink()
        else:
            shutil.rmtree(index, ignore_errors=True)
        spoiled.logged_in(ALICE).quit()
    assert spoiled.stop() == 0


@row("a state directory that is another's, or open to others, is not used, and mail is served without it")
def foreign_state():
    fresh(ALICE, ONE)
    state = server.state(ALICE)
    server.logged_in(ALICE).quit()
    for spoil in (lambda: os.chown(state, server.accounts[BOB].pw_uid, -1), lambda: state.chmod(0o770)):
        before = len(server.log_text())
        spoil()
        with server.logged_in(ALICE) as client:
            assert client.stat()[0] == 1
            client.quit()
        wait_for(lambda: "it must be his alone" in server.log_text()[before:], "the log says so")
        os.chown(state, server.accounts[ALICE].pw_uid, -1)
        state.chmod(0o700)


@row("a user cannot make, list or take another's state")
def users_directory():
    users = server.state_dir / "users"
    server.logged_in(BOB).quit()
    for command in (("mkdir", users / "kt-squat"), ("ls", users), ("ls", server.state(BOB)), ("rmdir", server.state(ALICE)),
                    ("mv", server.state(ALICE), users / "kt-squat"), ("cat", server.keytab), ("ls", server.state_dir / "auth")):
        assert as_user(ALICE, *command).returncode != 0, command


# --- disks that hang --------------------------------------------------------------------------------

@contextlib.contextmanager
def hanging(path):
    """A file system whose server never says a word."""
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"kpopd-test", os.fsencode(path), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(path), 2)
        os.close(fuse)


@row("a home on a disk that hangs: its user is told so in time, and nobody else waits, nor does kpopctl")
def hangs():
    if not os.access("/dev/fuse", os.W_OK):
        print("# /dev/fuse is not here")
        return
    fresh(BOB, ONE)
    with hanging(server.home(ALICE)):
        tool = subprocess.Popen([harness.BUILD / "kpopctl", "-c", server.conf, "uidl", "export", ALICE], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        with server.pop3() as client:
            client.expect(f"USER {ALICE}", "+OK")
            client.send(f"PASS {PASSWORD}\r\n".encode())
            with server.logged_in(BOB) as other:
                assert other.raw_message("RETR 1")
                other.quit()
            assert client.line().startswith(b"-ERR [SYS/TEMP]")
        assert "did not reach the mail of its user within" in server.log_text()
        told = tool.communicate(timeout=60)[0]
        assert tool.returncode != 0 and b"its disk hangs" in told, told
        told = run(harness.BUILD / "kpopctl", "-c", server.conf, "index", "check", check=False, timeout=60)
        assert told.returncode != 0 and ALICE.encode() in told.stdout and b" differences; " in told.stdout, told.stdout
    fresh(ALICE, ONE)
    server.logged_in(ALICE).quit()


@row("of one user only so many processes hang at a time")
def crowd():
    if not os.access("/dev/fuse", os.W_OK):
        print("# /dev/fuse is not here")
        return
    fresh(BOB, ONE)
    before = len(server.log_text())
    with hanging(server.home(ALICE)), contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(server.pop3())
            client.expect(f"USER {ALICE}", "+OK")
            client.send(f"PASS {PASSWORD}\r\n".encode())
        wait_for(lambda: server.log_text()[before:].count("one more is refused") == 2, "two are refused")
        server.logged_in(BOB).quit()
    wait_for(lambda: not [pid for pid, _ in server.family() if uid_of(pid) == server.accounts[ALICE].pw_uid], "they end")
    fresh(ALICE, ONE)
    server.logged_in(ALICE).quit()


# --- other places, other programs ---------------------------------------------------------------------

@row("Maildirs beneath mail_root, too, belong to accounts")
def beneath_mail_root():
    spool = accounts.Server(realm, [ALICE, BOB], maildir="%u/Maildir", start=False)
    spool.mail_root.chmod(0o755)
    os.chown(spool.mail_root, 0, 0)
    spool.maildir = lambda user: spool.mail_root / user / "Maildir"
    for user in (ALICE, BOB):
        run(harness.BUILD / "kpop-deliver", "-c", spool.conf, "-d", user, input=ONE)
        assert (spool.mail_root / user).stat().st_uid == server.accounts[user].pw_uid
    spool.start()
    for user in (ALICE, BOB):
        with spool.logged_in(user) as client:
            assert client.stat()[0] == 1 and client.raw_message("RETR 1").endswith(b"first\r\n")
            client.expect("DELE 1", "+OK")
            client.quit()
        assert not spool.stored(user)
    assert spool.stop() == 0


@row("a folder of all users is never the first one's: who writes no user's name into the template makes it himself")
def shared_folder():
    shared = accounts.Server(realm, [ALICE, BOB], maildir="%d/%n/Maildir", start=False)
    shared.mail_root.chmod(0o755)
    os.chown(shared.mail_root, 0, 0)
    folder = shared.mail_root / "default"
    for user in (ALICE, BOB):
        command = [harness.BUILD / "kpop-deliver", "-c", shared.conf, "-d", user]
        assert run(*command, input=ONE, check=False).returncode == 75
        assert not folder.exists()
        folder.mkdir(mode=0o755)
        run(*command, input=ONE)
        assert (folder / user).stat().st_uid == server.accounts[user].pw_uid and folder.stat().st_uid == 0
        shutil.rmtree(folder)


def spools(mode, group, shared, **options):
    """Mail in one file a user, in a folder of all of them."""
    spool = accounts.Server(realm, [ALICE, BOB, STRANGE], maildir=None, spool="%u", start=False, **options)
    os.chown(spool.mail_root, 0, group)
    spool.mail_root.chmod(mode)
    for user in (ALICE, BOB, STRANGE):
        for _ in range(2):
            run(harness.BUILD / "kpop-deliver", "-c", spool.conf, "-d", user, input=ONE + user.encode() + b"\n")
        status = (spool.mail_root / user).stat()
        assert status.st_uid == server.accounts[user].pw_uid and status.st_mode & 0o777 == 0o600, user
    spool.start()
    # Another's file is not his to read, and a link to it, or a FIFO, is not his mail.
    bobs = spool.mail_root / BOB
    for make in (lambda path: path.symlink_to(bobs), lambda path: os.link(bobs, path), os.mkfifo):
        with instead(spool.mail_root / ALICE, make):
            with spool.pop3() as client:
                client.expect(f"USER {ALICE}", "+OK")
                answer = client.command(f"PASS {PASSWORD}")
                assert answer.startswith(b"-ERR") or client.stat() == (0, 0), answer
    for user in (ALICE, BOB, STRANGE):
        with spool.logged_in(user) as client:
            assert client.stat()[0] == 2
            before = client.listing("UIDL")
            assert client.raw_message("RETR 1").endswith(user.encode() + b"\r\n")
            client.expect("DELE 1", "+OK")
            client.quit()
        with spool.logged_in(user) as client:
            assert client.listing("UIDL") == [b"1 " + before[1].split()[1]]
            client.quit()
        assert (spool.mail_root / user).stat().st_uid == server.accounts[user].pw_uid
        assert spool.state(user).stat().st_mode & 0o777 == 0o700
    assert shared or not list(spool.mail_root.glob("*.lock"))
    assert spool.stop() == 0


harness.add_row("mbox files in a folder where all may write", spools, 0o1777, 0, True)


@row("mbox files in a folder of the group mail, locked without files")
def spools_of_mail():
    spools(0o2775, grp.getgrnam("mail").gr_gid, False, spool_locks=["fcntl"])


@row("an mbox file in the home")
def mbox_at_home():
    homes = accounts.Server(realm, [ALICE], maildir=None, spool="%h/mail/inbox", start=False)
    folder = server.home(ALICE) / "mail"
    folder.mkdir()
    os.chown(folder, server.accounts[ALICE].pw_uid, server.accounts[ALICE].pw_gid)
    run(harness.BUILD / "kpop-deliver", "-c", homes.conf, "-d", ALICE, input=ONE)
    homes.start()
    with homes.logged_in(ALICE) as client:
        assert client.raw_message("RETR 1").endswith(b"first\r\n")
        client.expect("DELE 1", "+OK")
        client.quit()
    assert (folder / "inbox").read_bytes() == b""
    assert homes.stop() == 0


@row("LMTP delivers into homes, as the user")
def by_lmtp():
    path = server.dir / "lmtp.sock"
    homes = accounts.Server(realm, [ALICE, BOB], start=False,
                            sections=f"listener local {{ protocol = lmtp path = '{path}' path_mode = '0600' }}\n")
    homes.start()
    fresh(ALICE)
    fresh(BOB)
    with lmtp.Client(path).hello() as client:
        replies = client.deliver(ONE.replace(b"\n", b"\r\n"), ALICE, BOB)
        assert all(reply.startswith(b"250") for reply in replies), replies
        for user in ("root", "kt-nowhere", "kt-low"):
            client.expect("MAIL FROM:<>", "250")
            answer = client.command(f"RCPT TO:<{user}>")
            assert answer.startswith(b"550"), answer
            client.expect("RSET", "250")
    for user in (ALICE, BOB):
        for file in (server.maildir(user), *server.maildir(user).rglob("*")):
            assert file.stat().st_uid == server.accounts[user].pw_uid and file.stat().st_mode & 0o077 == 0, file
        with homes.logged_in(user) as client:
            assert client.raw_message("RETR 1").endswith(b"first\r\n")
            client.quit()
    assert homes.stop() == 0


def lmtp_makes(shared="", **options):
    """A folder that the group mail may write to; nothing of the user's is there yet."""
    path = server.dir / "made.sock"
    made = accounts.Server(realm, [ALICE], start=False,
                           sections=f"listener local {{ protocol = lmtp path = '{path}' path_mode = '0600' }}\n", **options)
    os.chown(made.mail_root, 0, grp.getgrnam("mail").gr_gid)
    made.mail_root.chmod(0o2775)
    if shared:
        (made.mail_root / shared).mkdir()
        (made.mail_root / shared).chmod(0o2775)
    made.start()
    with lmtp.Client(path).hello() as client:
        assert client.deliver(ONE.replace(b"\n", b"\r\n"), ALICE)[0].startswith(b"250")
    status = (made.mail_root / shared / ALICE).stat()
    assert status.st_uid == server.accounts[ALICE].pw_uid and status.st_mode & 0o077 == 0
    with made.logged_in(ALICE) as client:
        assert client.raw_message("RETR 1").endswith(b"first\r\n")
        client.quit()
    assert made.stop() == 0


@row("LMTP makes a user's folder beneath mail_root, where its group may")
def lmtp_makes_maildir():
    lmtp_makes(maildir="%u/Maildir")


@row("LMTP makes a user's folder in a folder of all users, where its group may")
def lmtp_makes_shared():
    lmtp_makes(shared="default", maildir="%d/%n/Maildir")


@row("LMTP makes a user's mbox file beneath mail_root, where its group may")
def lmtp_makes_mbox():
    lmtp_makes(maildir=None, spool="%u", spool_locks=["fcntl"])


@row("lock = takeover: a user's next process takes the maildrop from his last one")
def takes_over():
    taking = accounts.Server(realm, [ALICE], lock="takeover")
    fresh(ALICE, ONE)
    with taking.logged_in(ALICE) as first, taking.logged_in(ALICE) as second:
        assert second.raw_message("RETR 1").endswith(b"first\r\n")
        assert first.command("NOOP").startswith(b"-ERR [SYS/TEMP]")
        second.quit()
    assert taking.stop() == 0


@row("kpopctl acts as the user: his UIDLs are told, his old mail is removed, of all users or one")
def tools():
    control = [harness.BUILD / "kpopctl", "-c", server.conf]
    fresh(ALICE, ONE, ONE)
    fresh(BOB, ONE)
    for user in (STRANGE, LONG):
        fresh(user)
    with server.logged_in(ALICE) as client:
        uidls = [line.split()[1] for line in client.listing("UIDL")]
        client.quit()
    told = run(*control, "uidl", "export", ALICE).stdout
    assert all(uidl in told for uidl in uidls), told
    assert server.state(ALICE).stat().st_uid == server.accounts[ALICE].pw_uid
    conf = server.conf.read_text()
    server.conf.write_text("expire_days = 30\n" + conf)
    # By when mail has come: its file's time, here as old as its name says.
    for user in (ALICE, BOB):
        for path in (server.maildir(user) / "new").iterdir():
            os.utime(path, (1700000000, 1700000000))
    try:
        with instead(server.home(LONG), lambda _: None):
            result = run(*control, "expire", check=False)
    finally:
        server.conf.write_text(conf)
    assert not server.stored(ALICE) and not server.stored(BOB), result.stdout
    for user in (ALICE, BOB):
        for path in (*server.maildir(user).rglob("*"), *server.state(user).rglob("*")):
            assert path.stat().st_uid == server.accounts[user].pw_uid, path


@row("kpopctl imports UIDLs with the user's rights: what is another's is not read, whatever he calls it")
def imports():
    control = [harness.BUILD / "kpopctl", "-c", server.conf, "uidl"]
    fresh(ALICE, ONE, ONE)
    names = [line.split(b"\t")[0] for line in run(*control, "export", ALICE).stdout.splitlines()]
    others = server.home(BOB) / "list"
    others.write_bytes(b"".join(name + b"\tx%d\n" % number for number, name in enumerate(reversed(names))))
    server.own(others, BOB)
    mine = server.home(ALICE) / "list"
    mine.unlink(missing_ok=True)
    mine.symlink_to(others)
    result = run(*control, "import", ALICE, mine, check=False)
    assert result.returncode == 1 and b"Permission denied" in result.stdout and b"x0" not in result.stdout, result.stdout
    with server.logged_in(ALICE) as client:
        result = run(*control, "import", ALICE, "-", input=others.read_bytes(), check=False)
        assert result.returncode == 75, result.stdout
        client.quit()
    harness.wait_for(lambda: run(*control, "import", ALICE, "-", input=others.read_bytes(), check=False).returncode == 0,
                     "the UIDLs are imported once the session has ended")
    with server.logged_in(ALICE) as client:
        assert [line.split()[1] for line in client.listing("UIDL")] == [b"x0", b"x1"]
        client.quit()
    for path in (*server.maildir(ALICE).rglob("*"), *server.state(ALICE).rglob("*")):
        assert path.stat().st_uid == server.accounts[ALICE].pw_uid, path


@row("kpopctl waits for nobody who stops the process that acts for him")
def tools_wait():
    fresh(ALICE, ONE)
    command = [harness.BUILD / "kpopctl", "-c", server.conf, "uidl", "export", ALICE]
    # Held where it opens the index, it is his by then.
    child = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:delay_enter=5s", *map(str, command)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    uid = server.accounts[ALICE].pw_uid
    def his():
        return [pid for pid, _ in harness.below(child.pid) if harness.comm(pid) == "kpopctl" and uid_of(pid) == uid]
    pid = wait_for(his, "kpopctl is the user")[0]
    assert as_user(ALICE, "kill", "-STOP", pid).returncode == 0
    told = child.communicate(timeout=60)[0]
    assert child.returncode != 0 and b"was stopped by somebody" in told, told


def deliver(user, by=None):
    command = [harness.BUILD / "kpop-deliver", "-c", server.conf, "-d", user]
    if by:
        return as_user(by, *command, input=ONE)
    return run(*command, input=ONE, check=False)


@row("kpop-deliver, as root: makes a Maildir for its user, who owns it, with mode 0700, and delivers")
def root_delivers():
    fresh(ALICE)
    assert deliver(ALICE).returncode == 0
    maildir = server.maildir(ALICE)
    for path in (maildir, *maildir.rglob("*")):
        assert path.stat().st_uid == server.accounts[ALICE].pw_uid and path.stat().st_mode & 0o077 == 0, path
    with server.logged_in(ALICE) as client:
        assert client.raw_message("RETR 1").endswith(b"first\r\n")
        client.quit()


@row("kpop-deliver, as a user: to himself, and to nobody else")
def user_delivers():
    server.conf.chmod(0o644)
    fresh(ALICE)
    fresh(BOB)
    assert deliver(ALICE, ALICE).returncode == 0 and len(server.stored(ALICE)) == 1
    result = deliver(BOB, ALICE)
    assert result.returncode == os.EX_TEMPFAIL and b"only root can deliver" in result.stdout, result
    assert not server.maildir(BOB).exists()


@row("kpop-deliver: to whoever has no maildrop here, mail can never be delivered")
def nobody_delivers():
    for user in ("root", "daemon", "kpopd", "kt-low", "kt-nowhere", "kt-alice@example.org"):
        result = deliver(user)
        assert result.returncode == os.EX_NOUSER, (user, result)


@row("kpop-deliver: a home that is not there, or closed, is to be tried again")
def later():
    home = server.home(ALICE)
    with instead(home, lambda _: None):
        assert deliver(ALICE).returncode == os.EX_TEMPFAIL
    with instead(home, lambda path: path.mkdir(mode=0o700)):
        os.chown(home, 0, 0)
        assert deliver(ALICE).returncode == os.EX_TEMPFAIL
    with instead(server.maildir(ALICE), lambda path: path.symlink_to(theirs())):
        assert deliver(ALICE).returncode == os.EX_TEMPFAIL and len(server.stored(BOB)) == 1


# --- what is said at the start ------------------------------------------------------------------------

def start_fails(said, *by, **options):
    bad = accounts.Server(realm, [], start=False)
    bad.options.update(options)
    bad.write_conf()
    for path in (bad.conf, bad.dir / "ca.pem", bad.dir / "cert.pem"):
        path.chmod(0o644)
    for arguments in (("-t",), ("-f",)):
        result = run(*by, harness.BUILD / "kpopd", *arguments, "-c", bad.conf, check=False)
        assert result.returncode != 0 and said.encode() in result.stdout, (arguments, result.stdout)


@row("users of the system need a process for each session")
def need_processes():
    start_fails("set isolation = process", isolation="shared")


@row("homes need users of the system")
def homes_need_users():
    start_fails("set mail_users = system", mail_users="virtual")


@row("who is not root cannot serve users of the system, and is told so")
def not_root():
    start_fails("only root can become each user", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


harness.main(server)
