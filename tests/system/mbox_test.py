#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail in mbox files, which deliverers append to and mail readers rewrite while sessions are open: procmail, maildrop,
kpop-deliver, s-nail, mutt and Dovecot, each with its own locks."""
import contextlib
import fcntl
import os
import pathlib
import pty
import pwd
import re
import select
import signal
import subprocess
import threading
import time

import accounts
import harness
import lmtp
from harness import BUILD, PASSWORD, ROOT, WORK, add_row, row, run, wait_for

realm = harness.Realm()
server = harness.Server(realm, users=12, spool="%u", start=False)
server.path = server.dir / "lmtp.sock"
server.sections = f"listener local {{ protocol = lmtp path = '{server.path}' path_mode = '0600' }}\nclass few {{ users = {{'u9'}} quota_messages = 2 }}\n"
server.write_conf()
server.start()
shared = harness.Server(realm, users=1, spool="%u", isolation="shared", spool_locks=["flock", "dotlock"])
OWNER = ["setpriv", "--reuid=kpopd", "--regid=kpopd", "--clear-groups"] if ROOT else []
home = WORK / "owner"
home.mkdir()
server.own(home)
environ = {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "kpopd", "LOGNAME": "kpopd", "TERM": "dumb", "LC_ALL": "C",
           "TZ": "UTC", "MAILDIRQUOTA": ""}
FROM = "From someone@example.net Thu Jan  1 00:00:{:02} 1970\n"


def spool(user, which=server):
    return which.mail_root / user


def put(user, *messages, which=server):
    """A new spool of these messages."""
    text = "".join(FROM.format(i % 60) + message + "\n" for i, message in enumerate(messages))
    spool(user, which).write_text(text)
    which.own(spool(user, which))


def message(number, lines=3):
    return f"Subject: {number}\nX-Number: {number}\n\n" + "".join(f"line {i} of {number}\n" for i in range(lines))


def on_wire(text):
    return text.encode().replace(b"\n", b"\r\n")


def fetch(pop, number):
    return pop.raw_message(f"RETR {number}")


def uidls(pop):
    return dict(entry.decode().split(" ", 1) for entry in pop.listing("UIDL"))


def as_owner(*words, **options):
    return run(*OWNER, *words, env=environ, **options)


# --- by itself ------------------------------------------------------------------------------------

def basics(server):
    texts = [message(1), message(2), "Subject: 3\n\n.\n..\n>From here\n\n\n", message(4)]
    put("u0", *texts, which=server)
    path = spool("u0", server)
    before = path.read_text()
    with server.logged_in("u0") as pop:
        assert pop.stat() == (4, sum(len(on_wire(text)) for text in texts)), pop.stat()
        for number, text in enumerate(texts, 1):
            assert fetch(pop, number) == on_wire(text)
        pop.expect("DELE 2", "+OK")
    assert path.read_text() == before
    with server.logged_in("u0") as pop:
        names = uidls(pop)
        pop.expect("DELE 2", "+OK")
        pop.expect("QUIT", "+OK")
    second = before.index(FROM.format(1))
    third = before.index(FROM.format(2))
    assert path.read_text() == before[:second] + before[third:]
    with server.logged_in("u0") as pop:
        assert uidls(pop) == {"1": names["1"], "2": names["3"], "3": names["4"]}
        for number in (1, 2, 3):
            pop.expect(f"DELE {number}", "+OK")
        pop.expect("QUIT", "+OK")
    assert path.read_text() == ""
    assert not (server.mail_root / "u0.lock").exists()


add_row("messages are listed, fetched and removed, and the rest of the file stays as it was", basics, server)
add_row("with isolation = shared, too", basics, shared)


@row("a user without a file has an empty maildrop, and gets no file")
def no_file():
    with server.logged_in("u1") as pop:
        assert pop.stat() == (0, 0)
        pop.expect("QUIT", "+OK")
    assert not spool("u1").exists()


@row("kpop-deliver appends, quotes what looks like the beginning of a message, and makes the file")
def delivers():
    for text in (b"Subject: 1\n\nFrom here\n>From there\n", b"Subject: 2\n\nend"):
        run(BUILD / "kpop-deliver", "-c", server.conf, "-d", "u2", "-f", "sender@example.net", input=text)
    stored = spool("u2").read_text()
    assert re.fullmatch(r"From sender@example\.net \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\nReturn-Path: <sender@example\.net>\n"
                        r"(.+\n)*Subject: 1\n\n>From here\n>>From there\n\nFrom sender@example\.net .*\n(.+\n)*Subject: 2\n\nend\n\n",
                        stored), stored
    assert spool("u2").stat().st_mode & 0o7777 == 0o600
    with server.logged_in("u2") as pop:
        assert pop.stat()[0] == 2
        assert fetch(pop, 1).endswith(b"Subject: 1\r\n\r\n>From here\r\n>>From there\r\n")


@row("mail comes in by LMTP, within the quota")
def by_lmtp():
    put("u9", message(1))
    with lmtp.Client(server.path).hello() as client:
        assert client.deliver(b"Subject: 2\r\n\r\nFrom x\r\n", "u9")[0].startswith(b"250 2.1.5 ")
        client.expect("MAIL FROM:<s@example.net>", "250 ")
        client.expect("RCPT TO:<u9>", "452 4.2.2 ")
    with server.logged_in("u9") as pop:
        assert pop.stat()[0] == 2
        assert fetch(pop, 2).endswith(b"\r\nSubject: 2\r\n\r\n>From x\r\n")
    assert re.search(r"\n\nFrom sender@example\.net ", spool("u9").read_text())


def refused(make):
    put("u3", message(1))
    spool("u3").unlink()
    make(spool("u3"))
    try:
        with server.pop3() as pop:
            pop.expect("USER u3", "+OK")
            assert pop.command(f"PASS {PASSWORD}").startswith(b"-ERR [SYS/PERM]")
    finally:
        if spool("u3").is_dir():
            spool("u3").rmdir()
        else:
            spool("u3").unlink()


def second_name(path):
    put("u4", message(1))
    os.link(spool("u4"), path)


def foreign(path):
    path.write_text(FROM.format(1) + message(1))
    path.chmod(0o666)
    os.chown(path, 12345, 12345)


add_row("a symbolic link is refused", refused, lambda path: path.symlink_to("/etc/passwd"))
add_row("a FIFO is refused, and not waited for", refused, os.mkfifo)
add_row("a directory is refused", refused, os.mkdir)
add_row("a file that has a second name is refused", refused, second_name)
if ROOT:
    add_row("another owner's file is refused", refused, foreign)


# --- with others ----------------------------------------------------------------------------------

@row("a file that others keep locked is [IN-USE], and a second session as well")
def in_use():
    put("u5", message(1))
    with open(spool("u5"), "r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        with server.pop3() as pop:
            pop.expect("USER u5", "+OK")
            assert pop.command(f"PASS {PASSWORD}").startswith(b"-ERR [IN-USE]")
    with server.logged_in("u5"), server.pop3() as pop:
        pop.expect("USER u5", "+OK")
        assert pop.command(f"PASS {PASSWORD}").startswith(b"-ERR [IN-USE]")


def procmail(user, text):
    rc = home / f"procmailrc-{user}"
    if not rc.exists():
        rc.write_text(f"DEFAULT={spool(user)}\nLOCKSLEEP=1\nLOGFILE={home}/procmail.log\n")
        rc.chmod(0o644)
    as_owner("procmail", "-f", "sender@example.net", rc, input=text.encode(), timeout=120)


def maildrop(user, text):
    rc = home / f"mailfilter-{user}"
    if not rc.exists():
        rc.write_text(f'to "{spool(user)}"\n')
        rc.chmod(0o600)
        server.own(rc)
    as_owner("maildrop", rc, input=text.encode(), timeout=120)


def kpop_deliver(user, text):
    for _ in range(20):
        if run(BUILD / "kpop-deliver", "-c", server.conf, "-d", user, input=text.encode(), check=False).returncode == 0:
            return
    raise AssertionError("kpop-deliver does not deliver")


def number_of(text):
    return int(re.search(rb"^X-Number: (\d+)\r?$", text, re.M).group(1))


class Ledger:
    """What became of each message."""

    def __init__(self):
        self.names, self.removed = {}, set()

    def see(self, uidl, text):
        number = number_of(text)
        assert text.endswith(on_wire(message(number))), (number, text)
        assert self.names.setdefault(number, uidl) == uidl, f"message {number} has another UIDL"
        return number

    def session(self, user, remove):
        """One session; remove(number): whether to remove it."""
        with server.logged_in(user) as pop:
            doomed = set()
            for idx, uidl in uidls(pop).items():
                number = self.see(uidl, fetch(pop, idx))
                assert number not in self.removed, f"message {number} is back"
                if remove(number):
                    pop.expect(f"DELE {idx}", "+OK")
                    doomed.add(number)
            answer = pop.command("QUIT")
            assert answer.startswith(b"+OK"), answer
            self.removed |= doomed


def deliver_all(delivery, user, numbers, failures):
    try:
        for number in numbers:
            delivery(user, message(number))
    except Exception as error:  # pylint: disable=broad-except
        failures.append(error)


COUNT = 8 if harness.SANITIZED else 25


@row("deliverers with locks of their own append while sessions fetch and remove: each message once, none lost")
def deliveries():
    put("u6")
    ledger, failures = Ledger(), []
    threads = [threading.Thread(target=deliver_all, args=(delivery, "u6", range(i * COUNT, (i + 1) * COUNT), failures))
               for i, delivery in enumerate((procmail, maildrop, kpop_deliver))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ledger.session("u6", lambda number: number % 3 != 0)
    for thread in threads:
        thread.join()
    assert not failures, failures
    ledger.session("u6", lambda number: True)
    assert sorted(ledger.names) == list(range(3 * COUNT)), sorted(set(range(3 * COUNT)) - set(ledger.names))
    assert ledger.removed == set(range(3 * COUNT))
    assert spool("u6").read_text() == ""


def s_nail(path):
    as_owner("s-nail", "-n", "-#", "-f", path, input=b"type 2\ndelete 1\nquit\n")


def mutt(path):
    rc = home / "muttrc"
    rc.write_text(f'set folder="{home}" spoolfile="{path}" record="" move=no sleep_time=0 beep=no quit=yes delete=yes wait_key=no\n'
                  'set header_cache="" mbox_type=mbox mark_old=no confirmappend=no\n'
                  'push "<first-entry><delete-message><next-entry><set-flag>!<sync-mailbox><quit>"\n')
    rc.chmod(0o644)
    pid, terminal = pty.fork()
    if pid == 0:
        words = [*OWNER, "mutt", "-n", "-F", str(rc), "-f", str(path)]
        os.execvpe(words[0], words, {**environ, "TERM": "vt100"})
    screen, end = b"", time.monotonic() + harness.WAIT_SECS
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            screen += os.read(terminal, 4096)
    if time.monotonic() >= end:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, screen[-1500:]


def dovecot(path):
    """As an IMAP server marks and expunges, with doveadm instead of a client."""
    conf = home / "dovecot.conf"
    conf.write_text(f"log_path = {home}/dovecot.log\nmail_location = mbox:{home}/mail:INBOX={path}:INDEX=MEMORY\n"
                    "mbox_read_locks = fcntl\nmbox_write_locks = dotlock fcntl\nssl = no\nmail_privileged_group =\n"
                    "first_valid_uid = 1\n")
    conf.chmod(0o644)
    for words in (("flags", "add", "\\Seen Label", "mailbox", "INBOX", "2"), ("expunge", "mailbox", "INBOX", "1")):
        as_owner("doveadm", "-c", conf, *words)


def rewritten(reader):
    """It removes the first and marks the second, and leaves the third and fourth alone."""
    user = "u7"
    put(user, *(message(number) for number in range(1, 5)))
    with server.logged_in(user) as pop:
        names = uidls(pop)
        texts = {idx: fetch(pop, idx) for idx in names}
        reader(spool(user))
        data = spool(user).read_text()
        assert "\nX-Number: 1\n" not in data and re.search("\n(X-)?Status: ", data), data
        assert pop.command("RETR 1").startswith(b"-ERR")
        for idx in "34":
            answer = fetch(pop, idx) if not marked(data, idx) else None
            assert answer in (texts[idx], None), answer
        run(BUILD / "kpop-deliver", "-c", server.conf, "-d", user, input=message(5).encode())
        assert pop.stat()[0] == 4
        pop.expect("DELE 1", "+OK")
        pop.expect("DELE 3", "+OK")
        pop.expect("QUIT", "+OK")
    with server.logged_in(user) as pop:
        now = uidls(pop)
        assert list(now.values())[:2] == [names["2"], names["4"]] and len(now) == 3, (names, now)
        sizes = dict(entry.decode().split() for entry in pop.listing("LIST"))
        for idx in now:
            text = fetch(pop, idx)
            assert len(text) == int(sizes[idx])
            assert text.endswith(on_wire(message(number_of(text)).split("\n\n", 1)[1])), text


def marked(data, number):
    """Whether the reader has written into this message, too: then its size is another than was announced."""
    return re.search(rf"X-Number: {number}\n(.+\n)*(Status|X-UID|Content-Length|X-Status|Lines): |"
                     rf"(Status|X-UID|Content-Length|X-Status|Lines): .*\n(.+\n)*X-Number: {number}\n", data) is not None


for reader in (s_nail, mutt, dovecot):
    add_row(f"{reader.__name__.replace('_', '-')} rewrites the file during a session: UIDLs stay, nothing comes out wrong", rewritten,
            reader)


def killed():
    user, rounds = "u8", 6 if harness.SANITIZED else 16
    whole = 0
    for attempt in range(rounds):
        texts = [message(10 * attempt + number, 3000) for number in range(6)]
        put(user, *texts)
        with server.logged_in(user) as pop:
            names = uidls(pop)
            for idx in "135":
                pop.expect(f"DELE {idx}", "+OK")
            store = [pid for pid, _ in server.family()
                     if any(path.startswith(f"{server.state_dir}/spool/{user}") for path in files_of(pid))]
            assert len(store) == 1, store
            pop.send(b"QUIT\r\n")
            time.sleep(0.01 * attempt / rounds)
            with contextlib.suppress(OSError):
                os.kill(store[0], signal.SIGKILL)
            answer = pop.rest()
        with server.logged_in(user) as pop:
            now = uidls(pop)
            left = [names[idx] for idx in "246"]
            assert list(now.values()) in (left, list(names.values())), (names, now)
            if answer.startswith(b"+OK"):
                assert list(now.values()) == left
            for idx, uidl in now.items():
                number = int([i for i, name in names.items() if name == uidl][0]) - 1
                assert fetch(pop, idx) == on_wire(texts[number])
        whole += len(now) == 3
    print(f"# removed in {whole} of {rounds} rounds")


if ROOT:  # who may look into a store
    add_row("whatever moment the store is killed at, a removal is whole or has not been, and nothing else is touched", killed)


def files_of(pid):
    with contextlib.suppress(OSError):
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(fd)


# --- as in /var/mail ------------------------------------------------------------------------------

if ROOT:
    accounts.account("mboxa", "--groups", "mail")
    accounts.account("mboxb")
    theirs = accounts.Server(realm, ["mboxa", "mboxb"], maildir=None, spool="%u", start=False)
    theirs.mail_root.chmod(0o755)
    os.chown(theirs.mail_root, 0, pwd.getpwnam("mail").pw_gid)
    theirs.mail_root.chmod(0o2775)
    theirs.start()

    def their_spool(user):
        entry = pwd.getpwnam(user)
        path = theirs.mail_root / user
        path.write_text(FROM.format(1) + message(1) + "\n" + FROM.format(2) + message(2) + "\n")
        os.chown(path, entry.pw_uid, pwd.getpwnam("mail").pw_gid)
        path.chmod(0o660)
        return path

    @row("users of this system, in a directory of the group mail: who is in it may lock, and owner and mode stay")
    def system_users():
        path = their_spool("mboxa")
        with theirs.logged_in("mboxa") as pop:
            assert pop.stat()[0] == 2
            assert fetch(pop, 1) == on_wire(message(1))
            pop.expect("DELE 1", "+OK")
            pop.expect("QUIT", "+OK")
        assert path.read_text() == FROM.format(2) + message(2) + "\n"
        status = path.stat()
        assert (status.st_mode & 0o7777, status.st_uid) == (0o660, pwd.getpwnam("mboxa").pw_uid)
        run(BUILD / "kpop-deliver", "-c", theirs.conf, "-d", "mboxa", input=message(3).encode())
        with theirs.logged_in("mboxa") as pop:
            assert pop.stat()[0] == 2

    @row("who is not in it is refused as long as dotlocks are wanted, and served when they are not")
    def not_in_the_group():
        their_spool("mboxb")
        with theirs.pop3() as pop:
            pop.expect("USER mboxb", "+OK")
            assert pop.command(f"PASS {PASSWORD}").startswith(b"-ERR [SYS/PERM]")
        theirs.options["spool_locks"] = ["fcntl"]
        theirs.write_conf()
        theirs.reload()
        with theirs.logged_in("mboxb") as pop:
            assert pop.stat()[0] == 2
            pop.expect("DELE 2", "+OK")
            pop.expect("QUIT", "+OK")
        assert (theirs.mail_root / "mboxb").read_text() == FROM.format(1) + message(1) + "\n"

    harness.main(server, shared, theirs)
else:
    harness.main(server, shared)
