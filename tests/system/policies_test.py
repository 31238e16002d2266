#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a site asks of its users: how often they may log in, and how long their mail is kept (RFC 2449)."""
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
        before = lock_file(server, "slow4").read_bytes()
        assert login_again(server, "slow4").startswith(b"-ERR [IN-USE]")
        assert lock_file(server, "slow4").read_bytes() == before
        client.quit()
    first = refused(login_again(server, "slow4"))
    time.sleep(1.1)
    assert refused(login_again(server, "slow4")) < first
    assert lock_file(server, "slow4").read_bytes() == before


@row("the delay is over when its time is, and not before")
def short():
    server.deliver("short0", MAIL)
    harness.wait_for(lambda: login_again(server, "short0").startswith(b"+OK"), "a login")
    began = time.monotonic()
    harness.wait_for(lambda: login_again(server, "short0").startswith(b"+OK"), "another login")
    log = server.log_text()
    assert time.monotonic() - began < harness.WAIT_SECS
    assert "user=slow4: login again" in log, log[-2000:]


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


harness.main(server, shared)
