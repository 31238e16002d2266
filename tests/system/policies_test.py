#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a site asks of its users: how often they may log in, and how long their mail is kept (RFC 2449)."""
import os
import socket
import time

import harness
from harness import PASSWORD, ROOT, row

CLASSES = {
    "slow": {"users": ["slow*"], "login_delay_secs": 3600},
    "short": {"users": ["short*"], "login_delay_secs": 1},
    "zero": {"users": ["zero*"], "expire_days": 0},
    "month": {"users": ["month*"], "expire_days": 30},
    "both": {"users": ["both*"], "expire_days": 7, "login_delay_secs": 60},
}
SLOW = [f"slow{i}" for i in range(12)]
ZERO = [f"zero{i}" for i in range(8)]
realm = harness.Realm()
tickets = {name: realm.user(name) for name in ("slow0", "zero0")}


def make(**options):
    server = harness.Server(realm, users=4, start=False, **{"class": CLASSES}, **options)
    for name in (*SLOW, *ZERO, "short0", "month0", "both0"):
        server.add_user(name)
    server.start()
    return server


server = make()
shared = make(isolation="shared")
MAIL = b"Subject: one\n\nHello\n"


def capabilities(client):
    """LOGIN-DELAY and EXPIRE as they stand in CAPA, with the count of each."""
    lines = client.listing("CAPA")
    return [line.decode() for line in lines if line.startswith((b"LOGIN-DELAY", b"EXPIRE"))]


def refused(answer):
    """The seconds to wait."""
    assert answer.startswith(b"-ERR [LOGIN-DELAY] "), answer
    return int(answer.rsplit(b" in ", 1)[1].split()[0])


def log_in(where, user):
    with where.logged_in(user) as client:
        client.quit()


def login_again(where, user):
    with where.pop3() as client:
        client.expect(f"USER {user}", "+OK")
        return client.command(f"PASS {PASSWORD}")


def lock_file(where, user):
    return where.maildir(user) / "kpopd.lock"


def noted(where, user):
    """The line of the last login; empty: none."""
    line = lock_file(where, user).read_bytes()[:27]
    return line if line.startswith(b"login ") else b""


def write_time(where, user, text):
    path = lock_file(where, user)
    path.write_text(text)
    where.own(path)


# --- CAPA ---------------------------------------------------------------------------------------

@row("before login CAPA shows the longest delay and the shortest time, and that they are not everybody's")
def capa_before():
    for kind in harness.KINDS:
        with server.connect(kind) as client:
            assert capabilities(client) == ["LOGIN-DELAY 3600 USER", "EXPIRE 0 USER"]


for name, wanted in (("u0", ["LOGIN-DELAY 0", "EXPIRE NEVER"]), ("month0", ["LOGIN-DELAY 0", "EXPIRE 30"]),
                     ("zero1", ["LOGIN-DELAY 0", "EXPIRE 0"]), ("both0", ["LOGIN-DELAY 60", "EXPIRE 7"]),
                     ("slow1", ["LOGIN-DELAY 3600", "EXPIRE NEVER"])):
    @row(f"after login CAPA shows what holds for this user: {name}", name, wanted)
    def capa_after(user, want):
        with server.logged_in(user) as client:
            assert capabilities(client) == want
            client.quit()


@row("what holds for all is shown in both states alike; a changed configuration is taken with SIGHUP")
def capa_all():
    other = harness.Server(realm, users=1, expire_days=14, login_delay_secs=0)
    with other.pop3() as client:
        assert capabilities(client) == ["EXPIRE 14"]
        other.logged_in("u0", client)
        assert capabilities(client) == ["EXPIRE 14"]
    other.options["login_delay_secs"] = 5
    other.options["expire_days"] = None
    other.write_conf()
    other.reload()
    with other.pop3() as client:
        assert capabilities(client) == ["LOGIN-DELAY 5", "EXPIRE NEVER"]
    other.stop()


# --- the delay ----------------------------------------------------------------------------------

def password_ways(where):
    yield "USER and PASS", lambda c, user: (c.expect(f"USER {user}", "+OK"), c.command(f"PASS {PASSWORD}"))[1]
    yield "APOP", lambda c, user: c.auth_apop(user, PASSWORD)
    yield "AUTH PLAIN", lambda c, user: c.auth_plain(user, PASSWORD)
    yield "AUTH CRAM-MD5", lambda c, user: c.auth_cram_md5(user, PASSWORD)
    yield "AUTH SCRAM-SHA-256", lambda c, user: c.auth_scram(user, PASSWORD)


for where, isolation in ((server, "process"), (shared, "shared")):
    @row(f"every way to log in again is refused until the delay is over, USER never; isolation {isolation}", where)
    def ways(here):
        here.deliver("slow2", MAIL)
        log_in(here, "slow2")
        for sentence, way in password_ways(here):
            with here.pop3() as client:
                assert 3400 < refused(way(client, "slow2")) <= 3600, sentence
                client.expect("USER slow2", "+OK")
                client.expect("NOOP", "-ERR")
                client.quit()
        write_time(here, "slow2", f"login {int(time.time()) - 3600:020}\n")
        log_in(here, "slow2")


@row("KPOP's PASS is refused so, too")
def kpop():
    server.deliver("slow0", MAIL)
    for expect in ("+OK", "-ERR [LOGIN-DELAY] "):
        with server.kpop() as client:
            client.sendauth(realm.apreq(tickets["slow0"]))
            client.expect("USER slow0", "+OK")
            client.expect("PASS x", expect)
            client.quit()


@row("a client may try again in the same session, as often as it likes, and others are not kept waiting for it")
def again():
    server.deliver("slow3", MAIL)
    log_in(server, "slow3")
    with server.pop3() as client:
        for _ in range(12):
            client.expect("USER slow3", "+OK")
            refused(client.command(f"PASS {PASSWORD}"))
        server.logged_in("u1", client).quit()


@row("failed logins, refused ones and those that find the maildrop in use do not count; the first does")
def counted():
    server.deliver("slow4", MAIL)
    for _ in range(2):
        with server.pop3() as client:
            client.expect("USER slow4", "+OK")
            client.expect("PASS wrong", "-ERR [AUTH]")
    assert not lock_file(server, "slow4").exists()
    with server.logged_in("slow4") as client:
        # Noted when the client has its +OK, and before it can say anything.
        before = harness.wait_for(lambda: noted(server, "slow4"), "a note of the login")
        assert login_again(server, "slow4").startswith(b"-ERR [IN-USE]")
        assert noted(server, "slow4") == before
        client.quit()
    first = refused(login_again(server, "slow4"))
    time.sleep(1.1)
    assert refused(login_again(server, "slow4")) < first
    assert noted(server, "slow4") == before
    assert "user=slow4: the last login was too recent, login_delay_secs has " in server.log_text()


@row("the delay is over when its time is, and not before")
def short():
    server.deliver("short0", MAIL)
    harness.wait_for(lambda: login_again(server, "short0").startswith(b"+OK"), "a login")
    began = time.monotonic()
    harness.wait_for(lambda: login_again(server, "short0").startswith(b"+OK"), "another login")
    assert time.monotonic() - began < harness.WAIT_SECS


@row("neither the index nor the server is needed to remember the last login")
def remembered():
    shared.deliver("slow5", MAIL)
    log_in(shared, "slow5")
    shared.stop()
    for path in (shared.state_dir / "index").iterdir():
        path.unlink()
    shared.start()
    refused(login_again(shared, "slow5"))


for text, sentence in (("", "an empty file"), ("login soon\n", "a file that says something else"),
                       ("login 99999999999999999999\n", "a time that is none"), ("\0" * 64, "zeros"),
                       ("login 09000000000000000000\n", "a time in the far future")):
    @row(f"a damaged note of the last login keeps nobody out: {sentence}", text)
    def damaged(note):
        server.deliver("slow6", MAIL)
        write_time(server, "slow6", note)
        log_in(server, "slow6")
        refused(login_again(server, "slow6"))


@row("the clock set back an hour keeps nobody out")
def clock():
    server.deliver("slow7", MAIL)
    write_time(server, "slow7", f"login {int(time.time()) + 3600:020}\n")
    log_in(server, "slow7")
    refused(login_again(server, "slow7"))


@row("who has no maildrop yet has no delay, and nothing is created")
def nobody():
    for _ in range(3):
        log_in(server, "slow8")
    assert not (server.mail_root / "slow8").exists()


if ROOT:
    @row("where the lock file is somebody else's there is no delay, and the user is let in")
    def not_ours():
        server.deliver("slow9", MAIL)
        lock = lock_file(server, "slow9")
        lock.write_text("")
        lock.chmod(0o600)
        log_in(server, "slow9")
        log_in(server, "slow9")


# --- EXPIRE 0 -----------------------------------------------------------------------------------

def with_mail(where, user, *messages):
    for part in ("new", "cur"):
        for old in (where.maildir(user) / part).glob("*"):
            old.unlink()
    for message in messages:
        where.deliver(user, message)


TWO = (b"Subject: 1\n\none\n", b"Subject: 2\n\ntwo\n")

for where, isolation in ((server, "process"), (shared, "shared")):
    @row(f"EXPIRE 0: what was fetched whole is removed at QUIT, and nothing else; isolation {isolation}", where)
    def fetched(here):
        with_mail(here, "zero2", *TWO, b"Subject: 3\n\nthree\n")
        with here.logged_in("zero2") as client:
            client.raw_message("RETR 2")
            client.listing("TOP 1 100")
            assert client.stat()[0] == 3
            client.expect("QUIT", "+OK 1 messages removed, 2 left")
            client.closed()
        assert here.stored("zero2") == [TWO[0], b"Subject: 3\n\nthree\n"]


@row("EXPIRE 0: fetched by KPOP, too")
def fetched_kpop():
    with_mail(server, "zero0", *TWO)
    with server.kpop() as client:
        client.sendauth(realm.apreq(tickets["zero0"]))
        client.expect("USER zero0", "+OK")
        client.expect("PASS x", "+OK")
        client.raw_message("RETR 1")
        client.quit()
    assert server.stored("zero0") == [TWO[1]]


ENDS = (
    ("closed without QUIT", lambda c: c.close()),
    ("reset", lambda c: c.reset()),
    ("taken back by RSET", lambda c: (c.expect("RSET", "+OK"), c.quit())),
    ("half of a QUIT", lambda c: (c.send(b"QUI"), c.sock.shutdown(socket.SHUT_WR), c.rest(), c.close())),
)
for sentence, end in ENDS:
    @row(f"EXPIRE 0: fetched mail stays when the session is {sentence}", end)
    def kept(how):
        with_mail(server, "zero3", *TWO)
        client = server.logged_in("zero3")
        client.raw_message("RETR 1")
        how(client)
        with server.logged_in("zero3") as client:
            assert client.stat()[0] == 2
            client.quit()
        assert server.stored("zero3") == list(TWO)


@row("EXPIRE 0: fetched mail stays when the server is killed before QUIT")
def killed():
    with_mail(shared, "zero4", *TWO)
    client = shared.logged_in("zero4")
    client.raw_message("RETR 1")
    shared.kill()
    client.close()
    shared.start()
    assert shared.stored("zero4") == list(TWO)


@row("EXPIRE 0: RETR and QUIT in one piece remove it once all of it has gone out")
def pipelined():
    big = b"Subject: big\n\n" + b"x" * 76 * 20000 + b"\n"
    with_mail(server, "zero5", big, TWO[1])
    with server.logged_in("zero5") as client:
        client.send_and_read(b"RETR 1\r\nQUIT\r\n")
        answer = client.line()
        assert answer.startswith(b"+OK"), answer
        assert len(b"\n".join(client.lines())) > len(big) - 10
        assert client.line().startswith(b"+OK 1 messages removed")
        client.closed()
    assert server.stored("zero5") == [TWO[1]]


@row("EXPIRE 0: a client that goes away while a message is on its way, QUIT already said, keeps it")
def gone_on_the_way():
    big = b"Subject: big\n\n" + (b"x" * 76 + b"\n") * 400000
    with_mail(server, "zero6", big)
    client = server.logged_in("zero6")
    client.send(b"RETR 1\r\nQUIT\r\n")
    assert client.line().startswith(b"+OK")
    client.reset()
    with server.logged_in("zero6") as client:
        assert client.stat()[0] == 1
        client.quit()
    assert server.stored("zero6") == [big]


@row("of another class nothing goes but what was marked")
def other_class():
    with_mail(server, "month0", *TWO)
    with server.logged_in("month0") as client:
        client.raw_message("RETR 1")
        client.raw_message("RETR 2")
        client.expect("DELE 2", "+OK")
        client.expect("QUIT", "+OK 1 messages removed, 1 left")
    assert server.stored("month0") == [TWO[0]]


# --- kpopctl expire -----------------------------------------------------------------------------

DAY = 86400
NOW = int(time.time())


def expire(where, *arguments, status=0):
    result = harness.run(harness.BUILD / "kpopctl", "-c", where.conf, "expire", *arguments, check=False)
    text = result.stdout.decode()
    assert result.returncode == status, (result.returncode, text)
    return text


def aged(where, user, name_days, file_days, message=MAIL, part="new", suffix=""):
    """A message whose name and whose file are so old."""
    aged.count += 1
    path = where.deliver(user, message, f"{NOW - int(name_days * DAY)}.M{aged.count}P7.localhost{suffix}")
    if part == "cur":
        path = path.rename(path.parent.parent / "cur" / path.name)
    os.utime(path, (NOW, NOW - int(file_days * DAY)))
    return path


aged.count = 0
old = harness.Server(realm, users=1, expire_days=30, **{"class": {
    "week": {"users": ["week*"], "expire_days": 7}, "never": {"users": ["never*"], "expire_days": "never"},
    "zero": {"users": ["zero*"], "expire_days": 0}}})
for account in ("week0", "week1", "never0", "zero0", "month0", "month1", "slow0"):
    old.add_user(account)

AGES = (
    ("old by name and file", 31, 31, False), ("young by name", 29, 40, True), ("young by its file", 40, 29, True),
    ("young", 1, 1, True), ("on the day", 30 - 0.01, 30 - 0.01, True), ("of a time to come", -400, 40, True),
    ("copied here lately", 4000, 0, True),
)
for sentence, name_days, file_days, stays in AGES:
    @row(f"expire: a message {sentence} {'stays' if stays else 'goes'}", name_days, file_days, stays)
    def age(by_name, by_file, kept):
        path = aged(old, "month0", by_name, by_file)
        text = expire(old, "month0")
        assert path.exists() == kept, text
        assert ("removed 0 of" in text) == kept, text
        with_mail(old, "month0")


@row("expire: names without a time go by their file's; in new/, in cur/, with flags, and what is none stays")
def names():
    maildir = old.maildir("month1")
    gone = [aged(old, "month1", 31, 31), aged(old, "month1", 31, 31, part="cur"), aged(old, "month1", 31, 31, suffix=":2,FS")]
    odd = old.deliver("month1", MAIL, "letter")
    os.utime(odd, (NOW, NOW - 31 * DAY))
    fresh = old.deliver("month1", MAIL, "note")
    hidden = maildir / "new" / ".old"
    hidden.write_bytes(MAIL)
    unfinished = maildir / "tmp" / "1.unfinished"
    unfinished.write_bytes(MAIL)
    for path in (hidden, unfinished):
        os.utime(path, (1, 1))
    assert "removed 4 of 5 messages (" in expire(old, "month1")
    assert not any(path.exists() for path in (*gone, odd))
    assert fresh.exists() and hidden.exists() and unfinished.exists()


@row("expire: everybody's mail by what holds for each; those in use are left and the status tells; --dry-run removes nothing")
def everybody():
    paths = {(user, days): aged(old, user, days, days) for user in ("week0", "week1", "never0", "zero0", "month0", "slow0")
             for days in (1, 8, 31)}
    busy = old.logged_in("week1")
    assert busy.stat()[0] == 3
    for dry in ("-n", "--dry-run"):
        text = expire(old, dry, status=75)
        assert all(path.exists() for path in paths.values()), text
        assert "week0: would remove 2 of 3 messages" in text and text.splitlines()[-1].startswith("would remove 4 messages"), text
    text = expire(old, status=75)
    assert "week1: in use" in text and "never0" not in text and "zero0" not in text, text
    assert "; 1 users in use, 0 messages not removed" in text, text
    there = {key for key, path in paths.items() if path.exists()}
    assert {key for key in paths if key not in there} == {("week0", 8), ("week0", 31), ("month0", 31), ("slow0", 31)}, there
    assert busy.stat()[0] == 3
    busy.raw_message("RETR 3")
    busy.quit()
    text = expire(old)
    assert not paths["week1", 8].exists() and not paths["week1", 31].exists() and paths["week1", 1].exists(), text
    with old.logged_in("week0") as client:
        assert client.stat()[0] == 1
        client.quit()


@row("expire: those named get an answer in any case; a name that is none, and a user without mail")
def named():
    text = expire(old, "never0", "zero0", "week0")
    assert "never0: mail is kept for ever" in text and "zero0: mail goes when it was fetched" in text, text
    assert "week0: removed 0 of 1 messages" in text, text
    text = expire(old, "../x", "week0", status=1)
    assert "../x cannot be a user's name" in text and "week0: removed 0" in text, text
    assert "stranger: removed 0 of 0 messages" in expire(old, "stranger")
    expire(old, "-x", status=64)


@row("expire: UIDLs of what stays are as before, and no tool makes a login wait")
def uidls():
    for days in (40, 20, 35, 10, 5):
        aged(old, "month1", days, days)
    def listing():
        with old.logged_in("month1") as client:
            lines = [line.split()[1] for line in client.listing("UIDL")]
            client.quit()
            return lines
    before = listing()
    assert "removed 2 of" in expire(old, "month1")
    assert [uidl for uidl in before if uidl in listing()] == listing() and len(listing()) == len(before) - 2


if ROOT:
    @row("expire: as root it acts as the mail's owner, whatever lies there")
    def owner():
        path = aged(old, "month0", 31, 31)
        target = old.dir / "target"
        target.write_bytes(MAIL)
        os.utime(target, (1, 1))
        (old.maildir("month0") / "new" / "1.link").symlink_to(target)
        (old.mail_root / "linked").symlink_to(old.dir)
        expire(old)
        assert not path.exists() and target.exists()
        path = aged(old, "month0", 31, 31)
        if harness.run("chattr", "+a", path.parent, check=False).returncode != 0:
            return  # not on this file system
        text = expire(old, status=1)
        assert path.exists() and "month0: 1 messages could not be removed" in text, text
        harness.run("chattr", "-a", path.parent)


@row("expire: of an mbox, by the line before each message")
def mbox():
    spool = harness.Server(realm, users=1, expire_days=30, spool="%u", isolation="shared")
    path = spool.mail_root / "u0"
    def stamp(days):
        return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(NOW - days * DAY))
    letters = [f"From x@y {stamp(days)}\nSubject: {days}\n\nhello\n\n" for days in (40, 29, 31, 1)]
    path.write_text("".join(letters))
    spool.own(path)
    text = expire(spool)
    assert "u0: removed 2 of 4 messages" in text, text
    assert path.read_text() == letters[1] + letters[3]
    with spool.logged_in("u0") as client:
        assert client.stat()[0] == 2
        client.quit()
    spool.stop()


harness.main(server, shared, old)
