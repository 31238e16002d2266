#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Moving in from other servers: real ones serve real clients, are stopped, and kpopd goes on where they were."""
import email.utils
import os
import random
import shutil

import harness
import oldservers
from harness import BUILD, PASSWORD, row, run
from oldservers import Courier, Cyrus, Dovecot, uidls

realm = harness.Realm()
server = harness.Server(realm, users=4, start=False)
USERS = ("alice", "u0", "u1", "u2", "u3")
secret = harness.WORK / "secret"
secret.write_text(PASSWORD + "\n")
secret.chmod(0o600)
home = harness.WORK / "home"
THERE = ("--clear", "--password-file", secret)


def letter(number, body=None, more=""):
    return (f"From: bob@example.org\nTo: alice@example.org\nDate: {email.utils.formatdate(1700000000 + number)}\n"
            f"Message-ID: <{number}@example.org>\n{more}Subject: letter {number}\n\n"
            f"{body if body is not None else f'Dear alice, this is number {number}.' * 4}\n.a dot\n").encode()


def fresh(user, count, name=lambda number: None):
    """The user has these letters and nothing that a server noted of others."""
    shutil.rmtree(server.maildir(user), ignore_errors=True)
    for number in range(1, count + 1):
        server.deliver(user, letter(number), name(number))


def kpopctl(*words, status=0, **options):
    result = run(BUILD / "kpopctl", "-c", server.conf, "uidl", *words, check=False, **options)
    text = result.stdout.decode(errors="replace")
    assert result.returncode == status, f"{words}: status {result.returncode}: {text}"
    return text


def skipped(why):
    print(f"# skipped: {why}")


def exported(user="alice"):
    """The UIDLs as kpopd's store shows them, in order."""
    return [line.split("\t")[1] for line in kpopctl("export", user).splitlines()]


def names(user="alice"):
    return [line.split("\t")[0] for line in kpopctl("export", user).splitlines()]


def uidlist(user="alice"):
    return server.maildir(user) / "dovecot-uidlist"


def owned(name, data):
    """A file that the store's user may read."""
    path = server.dir / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    server.own(path)
    return path


# --- clients that keep mail on the server, and know what they have -----------------------------------

class Clients:
    """fetchmail, mpop and getmail6, each with a home of its own; fetch() returns what came, by subject."""

    def __init__(self, port):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        self.port = port
        self.environ = {**os.environ, "HOME": str(home), "FETCHMAILHOME": str(home), "LC_ALL": "C.UTF-8"}
        self.write("fetchmailrc", f"set invisible\nset idfile {home}/fetchids\npoll localhost protocol pop3 service {port} uidl "
                   f"auth password\nuser alice password '{PASSWORD}' is alice here no rewrite keep sslproto ''\n"
                   f'mda "cat >> {home}/fetchmail.box"\n')
        self.write("mpoprc", f"account a\nhost localhost\nport {port}\nuser alice\npassword \"{PASSWORD}\"\nauth user\ntls off\n"
                   f"keep on\nreceived_header off\nuidls_file {home}/uidls\ndelivery mbox {home}/mpop.box\n")
        for part in ("tmp", "new", "cur"):
            (home / "getmail.d" / part).mkdir(parents=True)
        self.write("getmailrc", f"[retriever]\ntype = SimplePOP3Retriever\nserver = localhost\nport = {port}\nusername = alice\n"
                   f"password = {PASSWORD}\n[destination]\ntype = MDA_external\npath = /bin/sh\n"
                   f"arguments = ('-c', 'cat >> {home}/getmail.box')\nallow_root_commands = true\n"
                   "[options]\ndelete = false\nread_all = false\ndelivered_to = false\nreceived = false\n")

    def write(self, name, text):
        (home / name).write_text(text)
        (home / name).chmod(0o600)

    def fetch(self):
        """What each of them fetched now."""
        for name in ("fetchmail", "mpop", "getmail"):
            (home / f"{name}.box").write_bytes(b"")
        result = run("fetchmail", "--nosyslog", "--pidfile", home / "pid", "-f", home / "fetchmailrc", env=self.environ,
                     check=False)
        assert result.returncode in (0, 1), result.stdout  # 1: nothing new
        run("mpop", "-C", home / "mpoprc", "a", env=self.environ)
        run("getmail", f"--getmaildir={home}", f"--rcfile={home}/getmailrc", env=self.environ)
        found = {}
        for name in ("fetchmail", "mpop", "getmail"):
            data = (home / f"{name}.box").read_bytes().replace(b"\r", b"")
            found[name] = sorted(int(line.split()[-1]) for line in data.split(b"\n") if line.startswith(b"Subject: letter "))
        return found


def nothing(found):
    assert found == {"fetchmail": [], "mpop": [], "getmail": []}, found


def each(found, *numbers):
    assert found == {name: list(numbers) for name in ("fetchmail", "mpop", "getmail")}, found


def cut_over(old, clients, *import_words):
    """The old server has served these clients: now kpopd does, on the same port."""
    before = old.uidls()
    told = kpopctl("verify", "--against", old.url, *THERE, "alice", status=1)
    assert "NOT SAFE" in told.splitlines()[-1], told
    old.stop()
    kpopctl("import", "alice", *import_words)
    assert exported() == before
    server.pop3_port = clients.port
    server.write_conf()
    server.start()
    try:
        assert uidls(clients.port) == before
        nothing(clients.fetch())
        server.deliver("alice", letter(99))
        each(clients.fetch(), 99)
        nothing(clients.fetch())
    finally:
        server.stop()


@row("Dovecot is stopped, kpopd goes on: fetchmail, mpop and getmail fetch nothing twice, and new mail once")
def dovecot_to_kpopd():
    fresh("alice", 12)
    with Dovecot(server.mail_root) as old:
        clients = Clients(old.port)
        each(clients.fetch(), *range(1, 13))
        with oldservers.Pop3(old.port) as session:
            session.client.dele(3)
        server.deliver("alice", letter(13))
        each(clients.fetch(), 13)
        cut_over(old, clients, uidlist())


@row("Courier is stopped, kpopd goes on: fetchmail, mpop and getmail fetch nothing twice, and new mail once")
def courier_to_kpopd():
    if oldservers.unpacked(*Courier.programs) is None:
        return skipped("Courier's packages cannot be fetched")
    fresh("alice", 9)
    with Courier(server.maildir("alice")) as old:
        clients = Clients(old.port)
        each(clients.fetch(), *range(1, 10))
        with oldservers.Pop3(old.port) as session:
            session.client.dele(2)
        harness.wait_for(lambda: len(old.uidls()) == 8, "Courier has removed it")
        cut_over(old, clients, server.maildir("alice") / "courierpop3dsizelist")


@row("a Maildir copied under other names, from a Dovecot that is asked by POP3: nothing twice, new mail once")
def live_to_kpopd():
    root = server.dir / "elsewhere"
    fresh("u1", 10)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(server.mail_root / "u1", root / "alice")
    if harness.ROOT:
        run("chown", "-R", "kpopd:kpopd", root)
    with Dovecot(root, pop3_uidl_format="%g") as old:
        clients = Clients(old.port)
        each(clients.fetch(), *range(1, 11))
        fresh("alice", 0)
        arrivals = list(range(1, 11))
        random.shuffle(arrivals)
        for number in arrivals:
            server.deliver("alice", letter(number))
        cut_over_live(old, clients)


def cut_over_live(old, clients):
    before = old.uidls()
    told = kpopctl("import", *THERE, "alice", old.url)
    assert "matched: 10 by header and size" in told, told
    assert exported() == before
    told = kpopctl("verify", "--against", old.url, *THERE, "--full", "alice")
    assert told.splitlines()[-1] == "safe to cut over alice" and "10 compared as a whole" in told, told
    old.stop()
    server.pop3_port = clients.port
    server.write_conf()
    server.start()
    try:
        nothing(clients.fetch())
        server.deliver("alice", letter(99))
        each(clients.fetch(), 99)
        with Dovecot(server.dir / "elsewhere", pop3_uidl_format="%g") as again:
            told = kpopctl("verify", "--against", again.url, *THERE, "--new", f"pop3://127.0.0.1:{server.pop3_port}", "alice",
                           status=1)
            assert "here only: message 11: " in told and "NOT SAFE to cut over alice: 1 differences" in told, told
    finally:
        server.stop()


# --- each way a Dovecot makes UIDLs -------------------------------------------------------------------

def dovecot_format(template, settings=None, count=6, location=None):
    settings = settings or {}
    fresh("u0", count, lambda number: f"170000000{number}.M{number}P1.host,S={len(letter(number))}:2,{'S' * (number % 2)}")
    with Dovecot(server.mail_root, location=location, pop3_uidl_format=template, **settings) as old:
        before = old.uidls("u0")
    assert len(set(before)) == count
    kpopctl("import", "--uidl-format", template, "u0", uidlist("u0"))
    assert exported("u0") == before


for template in ("%08Xu%08Xv", "%v.%u", "%08Xv%08Xu", "%f", "%g", "%u", "%UXu-%v", "%Rv%06u"):
    harness.add_row(f"Dovecot's pop3_uidl_format = {template}", dovecot_format, template)


@row("UIDLs that Dovecot saved win over its format, and its order is taken over")
def saved_uidls():
    fresh("u0", 4)
    with Dovecot(server.mail_root, pop3_uidl_format="%v.%u", pop3_save_uidl="yes") as old:
        saved = old.uidls("u0")
    assert uidlist("u0").read_text().count(" P") == 4
    lines = uidlist("u0").read_text().splitlines()
    # As a migration to that Dovecot leaves it: an order of POP3's own, and UIDLs of a server before it.
    for number, (order, uidl) in enumerate(((4, "Pfirst"), (2, "Psecond"), (1, "P"), (3, "Pfourth")), 1):
        lines[number] = f"{number} O{order} {uidl} :{lines[number].split(' :', 1)[1]}"
    uidlist("u0").write_text("\n".join(lines) + "\n")
    shutil.rmtree(server.maildir("u0") / "none", ignore_errors=True)
    for index in server.maildir("u0").glob("dovecot.index*"):
        index.unlink()
    with Dovecot(server.mail_root, pop3_uidl_format="%08Xu%08Xv") as old:
        before = old.uidls("u0")
    assert before[1] == "second" and before[3] == "first" and before != saved, before
    kpopctl("import", "u0", uidlist("u0"))
    assert exported("u0") == before


@row("a Dovecot with pop3_reuse_xuidl: what it says itself is taken")
def reused_xuidl():
    fresh("u0", 0)
    for number in (1, 2, 3):
        server.deliver("u0", letter(number, more="" if number == 2 else f"X-UIDL: old{number}\n"))
    with Dovecot(server.mail_root, pop3_reuse_xuidl="yes") as old:
        before = old.uidls("u0")
        assert before[0] == "old1" and before[2] == "old3"
        kpopctl("import", *THERE, "u0", old.url)
        assert exported("u0") == before
        told = kpopctl("verify", "--against", old.url, *THERE, "u0")
        assert told.splitlines()[-1] == "safe to cut over u0"


@row("an administrator's login asks for every user of a list, and each is told apart")
def everybody():
    for user in ("u0", "u1", "u2"):
        fresh(user, 3)
    with Dovecot(server.mail_root, pop3_uidl_format="%v-%u") as old:
        before = {user: old.uidls(user) for user in ("u0", "u1", "u2")}
        # A name that nobody can have, and one without any mail.
        listed = owned("users", f"# users\nu0\nu1 {uidlist('u1')}\n\nu2\n../x\n")
        told = kpopctl("import", *THERE, "--login", "%n*master", "--all", listed, old.url, status=1)
    assert "4 users, 1 of them" in told, told
    assert exported("u0") == before["u0"] and exported("u2") == before["u2"]
    told = kpopctl("import", "--uidl-format", "%v-%u", "--all", owned("users", "u1\n"), f"{server.mail_root}/%n/Maildir/dovecot-uidlist")
    assert "1 users, 0 of them" in told and exported("u1") == before["u1"], told


# --- mailboxes of other kinds -----------------------------------------------------------------------

def mbox(letters):
    return b"".join(b"From bob@example.org Thu Jan  1 10:00:00 2026\n" + text + b"\n" for text in letters)


def dovecot_mbox(template, words):
    folder = server.dir / "spool"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "u3").mkdir(parents=True)
    spool = folder / "u3" / "inbox"
    letters = [letter(number, more="Received: from a by b;\n\tThu, 1 Jan 2026\nDelivered-To: alice\n") for number in range(1, 5)]
    letters[2] = letters[2].replace(b".a dot", b">From here\n\n.a dot\n")
    spool.write_bytes(mbox(letters))
    for path in (folder, folder / "u3", spool):
        server.own(path)
    with Dovecot(folder, location=f"mbox:{folder}/%n:INBOX={folder}/%n/inbox", pop3_uidl_format=template) as old:
        before = old.uidls("u3")
        # As programs that turn an mbox into a Maildir do it, some with what the server wrote into it, some without.
        fresh("u3", 0)
        for text in letters:
            server.deliver("u3", text.replace(b">From", b"From"))
        kpopctl("import", *words, "u3", spool)
        assert exported("u3") == before
        told = kpopctl("verify", "--against", old.url, *THERE, "--full", "u3")
        assert told.splitlines()[-1] == "safe to cut over u3", told


harness.add_row("an mbox of Dovecot's, with its usual UIDLs", dovecot_mbox, "%08Xu%08Xv", ("--format", "mbox"))
harness.add_row("an mbox of Dovecot's, with UIDLs as UW's", dovecot_mbox, "%08Xv%08Xu", ("--format", "uw"))
harness.add_row("an mbox of Dovecot's, with the MD5 of the header, as popa3d's", dovecot_mbox, "%m", ("--format", "popa3d"))


@row("X-UIDL fields of an mbox are taken when asked for, and duplicates refused")
def qpopper():
    fresh("u3", 0)
    letters = [letter(number) for number in (1, 2, 3)]
    for text in letters:
        server.deliver("u3", text)
    marked = [text.replace(b"Subject", b"X-UIDL: %d!\"#\nStatus: RO\nSubject" % (50 - n)) for n, text in enumerate(letters)]
    spool = owned("qpopper", mbox([marked[2], marked[0], marked[1]]))
    kpopctl("import", "u3", spool, status=1)
    kpopctl("import", "--format", "x-uidl", "u3", spool)
    assert exported("u3") == ['48!"#', '50!"#', '49!"#']
    fresh("u3", 0)
    for text in letters:
        server.deliver("u3", text)
    before = exported("u3")
    spool = owned("qpopper", mbox([marked[0], marked[1].replace(b"49!", b"50!"), marked[2]]))
    told = kpopctl("import", "--format", "x-uidl", "u3", spool, status=1)
    assert told.count('50!"#: its UIDL is also that of') == 2 and "nothing was written" in told, told
    assert exported("u3") == before


@row("a Cyrus, by what mbexamine prints, and by POP3: the same UIDLs")
def cyrus():
    if not Cyrus.available():
        return skipped("Cyrus' packages cannot be fetched, or this is not root")
    import imaplib  # pylint: disable=import-outside-toplevel
    fresh("u2", 5)
    with Cyrus() as old:
        with imaplib.IMAP4("127.0.0.1", old.imap_port) as admin:
            admin.login("cyrus", PASSWORD)
            assert admin.create("user/alice")[0] == "OK"
        with imaplib.IMAP4("127.0.0.1", old.imap_port) as user:
            user.login("alice", PASSWORD)
            for number in (4, 2, 6, 5, 1, 3):
                assert user.append("INBOX", None, None, letter(number).replace(b"\n", b"\r\n"))[0] == "OK"
            user.select("INBOX")
            user.store("3", "+FLAGS", "\\Deleted")
            user.expunge()
        before = old.uidls()
        assert len(before) == 5 and "." in before[0]
        kpopctl("import", "u2", owned("mbexamine", old.examine("user/alice")))
        assert exported("u2") == before
        told = kpopctl("verify", "--against", old.url, *THERE, "--login", "alice", "--full", "u2")
        assert told.splitlines()[-1] == "safe to cut over u2", told
        for name, template in (("uidonly", "%u"), ("dovecot", "%08Xu%08Xv"), ("courier", "%v-%u")):
            kpopctl("import", "--uidl-format", template, "u2", server.dir / "mbexamine")
            assert exported("u2") == uidls(old.ports[name]), name
        fresh("u2", 5)
        kpopctl("import", *THERE, "--login", "alice", "u2", old.url)
        assert exported("u2") == before


# --- what an import says, and does not do --------------------------------------------------------------

def listed(*lines):
    return owned("list", "".join(line + "\n" for line in lines))


@row("an export is imported again, by names and by content, on another host with other names")
def exported_and_imported():
    fresh("u0", 5)
    kpopctl("import", "u0", listed(*[f"{name}\tx{number}" for number, name in enumerate(reversed(names("u0")))]))
    want = exported("u0")
    assert want == ["x0", "x1", "x2", "x3", "x4"]
    by_name, by_content = kpopctl("export", "u0"), kpopctl("export", "--digest", "u0")
    letters = {path.name: path.read_bytes() for path in (server.maildir("u0") / "new").glob("*")}
    shutil.rmtree(server.maildir("u0"))
    for name, text in letters.items():
        server.deliver("u0", text, name)
    kpopctl("import", "u0", owned("list", by_name))
    assert exported("u0") == want
    shutil.rmtree(server.maildir("u0"))
    for text in letters.values():
        server.deliver("u0", text)
    kpopctl("import", "u0", "-", input=by_content.encode())
    assert exported("u0") == want


@row("names of files that would speak to a terminal are told as digests, or with question marks")
def names_that_speak():
    fresh("u0", 1)
    for number, name in enumerate(("\x1b]0;x\x07", "\x9b2J", "\x7f")):
        server.deliver("u0", letter(number + 2), f"170000000{number}.{name}.host")
    told = kpopctl("export", "u0")
    assert told.replace("\t", "").replace("\n", "").isascii() and told.replace("\t", "").replace("\n", "").isprintable(), told
    assert sorted(line.startswith("sha256:") for line in told.splitlines()) == [False, True, True, True], told
    kpopctl("import", "u0", owned("list", told))
    assert kpopctl("export", "u0") == told
    told = kpopctl("import", "u0", listed("gone\tx", "\x9b2J\ty"), status=1).replace("\n", "")
    assert told.isascii() and told.isprintable(), told


@row("whatever does not fit is told by line and name, and nothing is written")
def not_sound():
    fresh("u0", 4)
    one, two, three, four = names("u0")
    before = exported("u0")
    told = kpopctl("import", "u0", listed(f"{one}\ta", f"{two}\ta", f"{three}\tb b", "gone\tc", f"{one}\td"), status=1)
    for line in (f"list:1: {one}: a: its UIDL is also that of 2", f"list:2: {two}: a: its UIDL is also that of 1",
                 f"list:3: {three}: the UIDL has octets", "list:4: gone: c: there is no such message here",
                 f"list:5: {one}: d: another line is of the same message", f"u0: {four}: nothing sound in"):
        assert line in told, (line, told)
    assert "5 of 5 entries cannot be taken, 4 of 4 messages have none; nothing was written" in told, told
    assert exported("u0") == before
    told = kpopctl("import", "u0", listed(f"{one}\t{two}", f"{three}\tc", f"{four}\td"), status=1)
    assert f"its UIDL is already that of another message here, {two}" in told, told
    assert exported("u0") == before


@row("--keep-going takes what is sound; -n only says it")
def keeps_going():
    fresh("u0", 4)
    one, two, three, four = names("u0")
    before = exported("u0")
    lines = listed(f"{four}\tx4", "gone\tc", f"{two}\tx2")
    told = kpopctl("import", "-n", "--keep-going", "u0", lines, status=1)
    assert "to be imported: 2 of 3 UIDLs" in told and exported("u0") == before, told
    told = kpopctl("import", "--keep-going", "u0", lines, status=1)
    assert "imported: 2 of 3 UIDLs" in told, told
    assert exported("u0") == ["x4", "x2", one, three]
    whole = listed(f"{one}\tx1", f"{two}\tx2", f"{three}\tx3", f"{four}\tx4")
    kpopctl("import", "-n", "u0", whole)
    assert exported("u0") == ["x4", "x2", one, three]


@row("a UIDL that a message once had is never another's")
def once_had():
    fresh("u0", 3)
    one, two, three = names("u0")
    kpopctl("import", "u0", listed(f"{one}\tx1", f"{two}\tx2", f"{three}\tx3"))
    kpopctl("import", "u0", listed(f"{one}\ty1", f"{two}\ty2", f"{three}\ty3"))
    assert exported("u0") == ["y1", "y2", "y3"]
    lines = listed(f"{one}\tx2", f"{two}\tz2", f"{three}\tx1")
    told = kpopctl("import", "u0", lines, status=1)
    assert "another message here has or had this UIDL" in told and "nothing was written" in told, told
    assert exported("u0") == ["y1", "y2", "y3"]
    told = kpopctl("import", "--keep-going", "u0", lines, status=1)
    assert told.count("another message here has or had this UIDL") == 2 and "imported: 1 of 3" in told, told
    assert sorted(exported("u0")) == ["y1", "y3", "z2"]
    kpopctl("import", "u0", listed(f"{one}\tx1", f"{two}\tx2", f"{three}\tx3"))
    assert exported("u0") == ["x1", "x2", "x3"]


@row("equal copies of a message are told apart by their order")
def copies():
    fresh("u0", 0)
    for number in (1, 1, 2, 1):
        server.deliver("u0", letter(number))
    with Dovecot(server.mail_root) as old:
        before = old.uidls("u0")
        told = kpopctl("import", *THERE, "u0", old.url)
        assert "1 by header and size, 3 by content (3 of them equal copies)" in told, told
        assert exported("u0") == before
        server.deliver("u0", letter(2))
        told = kpopctl("import", *THERE, "u0", old.url)
        assert exported("u0")[:4] == before, told


@row("while kpopd serves: a session keeps an import out, and the next login sees what was imported")
def while_serving():
    fresh("u0", 3)
    one, two, three = names("u0")
    lines = listed(f"{three}\tx3", f"{two}\tx2", f"{one}\tx1")
    server.start()
    try:
        with server.logged_in("u0") as session:
            told = kpopctl("import", "u0", lines, status=75)
            assert "a session is using it" in told, told
            session.expect("QUIT", "+OK")
        harness.wait_for(lambda: "a session" not in run(BUILD / "kpopctl", "-c", server.conf, "uidl", "export", "u0",
                                                        check=False).stdout.decode(), "the session has ended")
        kpopctl("import", "u0", lines)
        assert uidls(server.pop3_port, "u0") == ["x3", "x2", "x1"]
        server.deliver("u0", letter(4))
        with oldservers.Pop3(server.pop3_port, "u0") as session:
            assert session.uidls()[:3] == ["x3", "x2", "x1"] and len(session.uidls()) == 4
            assert session.retr(1) == letter(3).replace(b"\n", b"\r\n")
            session.client.dele(2)
        kpopctl("import", "--keep-going", "u0", lines, status=1)
        assert exported("u0")[:2] == ["x3", "x1"]
        shutil.rmtree(server.state_dir / "index")
        server.stop()
        (server.state_dir / "index").mkdir(mode=0o700)
        server.own(server.state_dir / "index")
        server.start()
        assert uidls(server.pop3_port, "u0")[:2] == ["x3", "x1"]
    finally:
        server.stop()


@row("mail that stays in its mbox, served by kpopd now: X-UIDL and Dovecot's numbers out of the spool itself")
def spool_to_spool():
    spools = harness.Server(realm, users=2, start=False, spool="%u")
    letters = [letter(number, more=f"X-UIDL: {chr(97 + number)}\n") for number in range(1, 6)]
    (spools.dir / "dovecot").mkdir()
    spools.own(spools.dir / "dovecot")
    for user, template, words in (("u0", None, ("--format", "qpopper")), ("u1", "%08Xv%08Xu", ("--format", "uw"))):
        spool = spools.mail_root / user
        spool.write_bytes(mbox(letters))
        spools.own(spool)
        before = ["b", "c", "d", "e", "f"]
        if template:
            with Dovecot(spools.mail_root, location=f"mbox:{spools.dir}/dovecot/%n:INBOX={spools.mail_root}/%n",
                         pop3_uidl_format=template) as old:
                before = old.uidls(user)
        run(BUILD / "kpopctl", "-c", spools.conf, "uidl", "import", *words, user, spool)
        told = run(BUILD / "kpopctl", "-c", spools.conf, "uidl", "export", user).stdout
        assert [line.split("\t")[1] for line in told.decode().splitlines()] == before, told
        run(BUILD / "kpopctl", "-c", spools.conf, "uidl", "import", user, "-", input=told)
        spools.start()
        try:
            assert uidls(spools.pop3_port, user) == before
            with oldservers.Pop3(spools.pop3_port, user) as session:
                session.client.dele(2)
            assert uidls(spools.pop3_port, user) == before[:1] + before[2:]
        finally:
            spools.stop()


@row("a server without TOP is asked for whole messages, in one session")
def without_top():
    fresh("u0", 3)
    letters = [letter(number) for number in (2, 3, 1)]
    with oldservers.Scripted(letters) as old:
        told = kpopctl("import", *THERE, "u0", old.url)
        assert exported("u0") == ["uidl1", "uidl2", "uidl3"] and "3 of 3" in told, told
        assert old.said.count("RETR") >= 3 and old.said.count("DELE") == 0, old.said
        told = kpopctl("verify", "--against", old.url, *THERE, "u0")
        assert told.splitlines()[-1] == "safe to cut over u0", told


def poor_server(answers, reason):
    fresh("u0", 3)
    before = exported("u0")
    with oldservers.Scripted([letter(number) for number in (1, 2, 3)], **answers) as old:
        told = kpopctl("import", *THERE, "u0", old.url, status=1)
        assert reason in told, told
        told = kpopctl("verify", "--against", old.url, *THERE, "u0", status=1)
        assert told.splitlines()[-1].startswith("NOT SAFE to cut over u0"), told
    assert exported("u0") == before


for sentence, answers, reason in (
        ("without UIDL", {"UIDL": "-ERR"}, "UIDL"),
        ("that lists no numbers", {"UIDL": "+OK\r\nuidl1\r\n."}, "no list of messages"),
        ("that lists a message twice", {"UIDL": "+OK\r\n1 a\r\n2 b\r\n2 c\r\n."}, "no list of messages"),
        ("that lists a line without end", {"UIDL": "+OK\r\n1 a\r\n2 " + "x" * 100000 + "\r\n."}, "UIDL and LIST differ"),
        ("whose lists differ", {"LIST": "+OK\r\n1 5\r\n3 5\r\n."}, "UIDL and LIST differ"),
        ("whose list ends early", {"LIST": "+OK\r\n1 5\r\n."}, "UIDL and LIST differ"),
        ("with two of one UIDL", {"UIDL": "+OK\r\n1 a\r\n2 a\r\n3 b\r\n."}, "also that of 2"),
        ("with a UIDL that is none", {"UIDL": "+OK\r\n1 a\r\n2 \xff\r\n3 b\r\n."}, "no sound UIDL"),
        ("that ends the session at a message", {"RETR": None}, "RETR"),
        ("that sends half a message", {"RETR": "+OK\r\nSubject: x\r\n."}, "no message with this header"),
        ("that refuses the password", {"PASS": "-ERR"}, "denied")):
    harness.add_row(f"a server {sentence}: nothing is written", poor_server, answers, reason)


@row("a source that is none, or is no file, is refused at once")
def no_source():
    fresh("u0", 1)
    fifo = server.dir / "fifo"
    os.mkfifo(fifo)
    server.own(fifo)
    for source, reason in ((server.dir / "nothing", "No such file"), (server.dir, "Is a directory"), (fifo, "nothing in it"),
                           (owned("empty", ""), "nothing in it"), (owned("text", "hello\n"), "say --format"),
                           ("pop3://127.0.0.1:1", "connect"), ("/dev/null", "nothing in it")):
        told = kpopctl("import", *(THERE if "://" in str(source) else ()), "u0", source, status=1)
        assert reason in told, (source, told)
    for words in (("import", "u0"), ("import", "--all", "x", "y", "z"), ("verify", "u0"), ("export",), ("frob", "u0"),
                  ("import", "--uidl-format", "%v", "u0", "x"), ("import", "--format", "what", "u0", "x"),
                  ("verify", "--against", "imap://x", "u0"), ("verify", "--against", "pop3://a@b", "u0"),
                  ("export", "--full", "u0"), ("verify", "--against", "pop3://x", "--top", "-1", "u0")):
        kpopctl(*words, status=64)


@row("an export of nobody's mail is empty, and says so")
def exported_nothing():
    assert kpopctl("export", "mistyped") == "kpopctl: mistyped has no mail here\n"


@row("a server with a certificate nobody knows is not told a password")
def certificate():
    fresh("u0", 2)
    fresh("u1", 0)
    shutil.copytree(server.maildir("u0"), server.maildir("u1"))
    if harness.ROOT:
        run("chown", "-R", "kpopd:kpopd", server.maildir("u1"))
    server.pop3_port = harness.free_ports(1)[0]
    server.write_conf()
    server.start()
    try:
        url = f"pop3://localhost:{server.pop3_port}"
        told = kpopctl("verify", "--against", url, "--password-file", secret, "u0", status=1)
        assert "certificate" in told and "could not be compared" in told.splitlines()[-1], told
        for where in (url, f"pop3s://localhost:{server.pop3s_port}"):
            told = kpopctl("verify", "--against", where, "--ca-file", server.ca, "--password-file", "-", "--auth", "PLAIN",
                           "--new", where, "--new-login", "u1", "--top", "0", "u0", input=PASSWORD.encode() + b"\n")
            assert told.splitlines()[-1] == "safe to cut over u0", told
    finally:
        server.stop()


# --- what verify finds ----------------------------------------------------------------------------------

def verified(change, expected, *words):
    """The same mail on both sides, but for one change."""
    fresh("u0", 30)
    root = server.dir / "old"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(server.mail_root / "u0", root / "u0")
    if harness.ROOT:
        run("chown", "-R", "kpopd:kpopd", root)
    paths = sorted((server.maildir("u0") / "new").iterdir())
    if not expected:  # what is changed before the mail was counted is just another mail
        change(paths)
    with Dovecot(root, pop3_uidl_format="%f") as old:
        assert len(old.uidls("u0")) == 30
        told = kpopctl("verify", "--against", old.url, *THERE, *words, "u0")
        assert told.splitlines()[-1] == "safe to cut over u0", told
        if not expected:
            return
        change(paths)
        told = kpopctl("verify", "--against", old.url, *THERE, *words, "u0", status=1)
        for text in expected:
            assert text in told, (text, told)
        assert told.splitlines()[-1].startswith("NOT SAFE"), told
        assert len(told.splitlines()) < 60, told


def rewritten(path, old, new):
    """At the old server, which has no objection; here another text would be another mail."""
    path, = (server.dir / "old/u0/Maildir").glob(f"*/{path.name}*")
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new))


for sentence, change, expected, words in (
        ("nothing", lambda paths: None, (), ()),
        ("a message that is gone", lambda paths: paths[4].unlink(), ("on the old server only: message 5: ", "1 differences"), ()),
        ("many that are gone", lambda paths: [path.unlink() for path in paths],
         ("on the old server only: 30 in all", "30 differences"), ()),
        ("one more", lambda paths: server.deliver("u0", letter(50)), ("here only: message 31: ", "1 differences"), ()),
        ("another UIDL", lambda paths: paths[7].rename(paths[7].with_name(paths[7].name + "x")),
         ("on the old server only: message 8: ", "here only: message 30: ", "2 differences"), ()),
        ("another header", lambda paths: rewritten(paths[3], b"letter 4", b"letter X"), ("another content under the same UIDL: ",), ()),
        ("another line", lambda paths: rewritten(paths[3], b"number 4", b"number X"), ("another content under the same UIDL: ",), ()),
        ("another line, which is not looked at", lambda paths: rewritten(paths[3], b"number 4", b"number X"), (), ("--top", "0")),
        ("the last line", lambda paths: rewritten(paths[3], b".a dot", b".a bot"), ("another content under the same UIDL: ",), ("--full",)),
        ("line ends", lambda paths: rewritten(paths[3], b"\n", b"\r\n"), (), ("--full",)),
        ("another line, with only the lists compared", lambda paths: rewritten(paths[3], b"number 4", b"number X"), (), ("--list-only",)),
        ("the order", lambda paths: kpopctl("import", "--keep-going", "u0", listed(f"{paths[9].name}\t{paths[9].name}"), status=1),
         ("in another order: ", "differences"), ())):
    harness.add_row(f"verify finds out: {sentence}", verified, change, expected, *words)

if not Dovecot.available:
    print("1..0 # SKIP there is no Dovecot here")
else:
    harness.main(server)
