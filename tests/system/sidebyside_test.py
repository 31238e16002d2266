#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Others work on the same Maildir while sessions are open: an IMAP server, three deliverers, and programs that do
what they like with files. A session's numbers, sizes and UIDLs stay; nothing is shown half, and nothing is removed
that was not marked."""
import contextlib
import imaplib
import itertools
import os
import pathlib
import pwd
import random
import shutil
import socket
import subprocess
import threading
import time

import harness
import pop3
from harness import BUILD, PASSWORD, ROOT, WORK, run, wait_for

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin")
LDA = pathlib.Path("/usr/lib/dovecot/dovecot-lda")
OWNER = "kpopd" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
SEED = int(os.environ.get("KPOPD_SEED") or random.randrange(1 << 30))
random.seed(SEED)
print(f"# KPOPD_SEED={SEED}")

realm = harness.Realm()
process = harness.Server(realm, users=16)
shared = harness.Server(realm, users=16, isolation="shared")
together = harness.Server(realm, users=8, isolation="shared", lock="shared")
NUMBERS = itertools.count(1)


def each(sentence):
    """A row for each isolation."""
    def mark(function):
        for server in (process, shared):
            harness.add_row(f"{sentence} (isolation = {server.options['isolation']})", function, server)
        return function
    return mark


def message(size=None):
    """A mail with a number of its own, and of a length of its own."""
    number = next(NUMBERS)
    body = b"%d " % number * (size // 8 if size else random.randrange(1, 300))
    return b"Subject: %d\n\n.%s\n.\nlast line of %d\n" % (number, body, number)


def on_the_wire(stored):
    return stored.replace(b"\n", b"\r\n")


def number_of(text):
    return int(text.split(b"\r\n", 1)[0].split()[1])


def view(client):
    return client.stat(), client.listing("LIST"), client.listing("UIDL")


def files(server, user):
    found = {}
    for part in ("new", "cur"):
        for path in (server.maildir(user) / part).iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.read_bytes()
    return found


# --- Dovecot ------------------------------------------------------------------------------------

class Dovecot:
    """An IMAP server, and dovecot-lda, on the Maildirs of one of our servers."""

    def __init__(self, server, name):
        self.dir = WORK / f"dovecot-{name}"
        self.dir.mkdir()
        self.port = harness.free_ports(1)[0]
        self.conf = self.dir / "dovecot.conf"
        alone = "" if ROOT else f"""
            default_internal_user = {OWNER}
            default_login_user = {OWNER}
            default_internal_group = {run("id", "-gn").stdout.decode().strip()}
            service anvil {{
              chroot =
            }}
            service imap-login {{
              chroot =
            }}"""
        self.conf.write_text(f"""
            base_dir = {self.dir}/run
            state_dir = {self.dir}/state
            log_path = {self.dir}/log
            protocols = imap
            listen = 127.0.0.1
            ssl = no
            disable_plaintext_auth = no
            mail_location = maildir:{server.mail_root}/%n/Maildir
            first_valid_uid = 1
            mail_uid = {OWNER}
            passdb {{
              driver = static
              args = password={PASSWORD.replace(' ', '_')}
            }}
            userdb {{
              driver = static
              args = uid={OWNER} gid={pwd.getpwnam(OWNER).pw_gid} home={self.dir}/home/%n allow_all_users=yes
            }}
            service imap-login {{
              inet_listener imap {{
                port = {self.port}
              }}
              inet_listener imaps {{
                port = 0
              }}
            }}
            service stats {{
              chroot =
              unix_listener stats-writer {{
                mode = 0666
              }}
            }}
            service auth {{
              unix_listener auth-userdb {{
                mode = 0666
              }}
            }}
            {alone}
            """)
        (self.dir / "home").mkdir()
        server.own(self.dir / "home")
        self.dir.chmod(0o755)
        self.process = subprocess.Popen([DOVECOT, "-F", "-c", self.conf], stdin=subprocess.DEVNULL)
        try:
            wait_for(self.serves, f"Dovecot serves; see {self.dir}/log")
        except AssertionError:
            print((self.dir / "log").read_text(errors="replace"))
            raise

    def serves(self):
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                return probe.recv(4) == b"* OK"
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(harness.WAIT_SECS)

    @contextlib.contextmanager
    def inbox(self, user):
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=harness.WAIT_SECS)
        try:
            client.login(user, PASSWORD.replace(" ", "_"))
            client.select("INBOX")
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def deliver(self, user, octets):
        run(LDA, "-c", self.conf, "-d", user, input=octets)


DOVECOTS = {}


def imap(server):
    return DOVECOTS[server]


def numbers_of(inbox):
    """The sequence numbers by the numbers in the subjects."""
    found = {}
    if inbox.search(None, "ALL")[1] in ([None], [b""]):
        return found
    _, data = inbox.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    for item in data:
        if isinstance(item, tuple):
            found[int(item[1].split()[1])] = int(item[0].split()[0])
    return found


if DOVECOT and LDA.exists() and LDA.with_name("imap").exists():
    DOVECOTS.update((server, Dovecot(server, f"{n}")) for n, server in enumerate((process, shared, together)))


# --- an IMAP server ---------------------------------------------------------------------------

def with_imap(sentence):
    return each(sentence) if DOVECOTS else lambda function: function


@with_imap("Dovecot moves all to cur, sets flags and keywords, and takes some away: what is left stays as it was")
def flags(server):
    mail = [message() for _ in range(12)]
    user = server.user(*mail)
    client = server.logged_in(user)
    seen = view(client)
    with imap(server).inbox(user) as inbox:
        wait_for(lambda: not list((server.maildir(user) / "new").iterdir()), "Dovecot has moved all to cur")
        assert view(client) == seen
        assert client.raw_message("RETR 1") == on_the_wire(mail[0])
        inbox.store("1:*", "+FLAGS", r"(\Seen \Answered)")
        inbox.store("2:5", "+FLAGS", r"(\Flagged keyword)")
        assert [client.raw_message(f"RETR {n}") for n in range(1, 13)] == [on_the_wire(m) for m in mail]
        assert view(client) == seen
        inbox.store("3,7", "+FLAGS", r"(\Deleted)")
        assert client.raw_message("RETR 3") == on_the_wire(mail[2])
        inbox.expunge()
        wait_for(lambda: len(files(server, user)) == 10, "Dovecot has removed two")
        for gone in (3, 7):
            assert client.command(f"RETR {gone}") == b"-ERR [SYS/TEMP] message %d is no longer there" % gone
            assert client.command(f"TOP {gone} 0") == b"-ERR [SYS/TEMP] message %d is no longer there" % gone
        assert view(client) == seen
        client.expect("DELE 3", "+OK")
        client.expect("DELE 4", "+OK")
        assert client.raw_message("RETR 12") == on_the_wire(mail[11])
    client.quit()
    assert sorted(files(server, user).values()) == sorted(m for n, m in enumerate(mail, 1) if n not in (3, 4, 7))
    with server.logged_in(user) as later:
        left = [line.split()[1] for n, line in enumerate(seen[2], 1) if n not in (3, 4, 7)]
        assert [line.split()[1] for line in later.listing("UIDL")] == left
        later.quit()


@with_imap("Dovecot changes flags without pause while QUIT removes: the marked go, and no others")
def flags_and_quit(server):
    for _ in range(6):
        mail = [message() for _ in range(20)]
        user = server.user(*mail)
        marked = set(random.sample(range(20), 10))
        over = threading.Event()

        def change(user=user, over=over):
            with imap(server).inbox(user) as inbox:
                while not over.is_set():
                    for sign in ("+", "-"):
                        with contextlib.suppress(imaplib.IMAP4.error):
                            inbox.store("1:*", f"{sign}FLAGS", r"(\Seen)")
        thread = threading.Thread(target=change)
        with server.logged_in(user) as client:
            thread.start()
            for idx in marked:
                client.expect(f"DELE {idx + 1}", "+OK")
            answer = client.command("QUIT")
        over.set()
        thread.join(harness.WAIT_SECS)
        left = sorted(files(server, user).values())
        kept = sorted(m for idx, m in enumerate(mail) if idx not in marked)
        assert answer.startswith(b"+OK") or answer.startswith(b"-ERR [SYS/TEMP]"), answer
        assert left == kept if answer.startswith(b"+OK") else set(kept) <= set(left), (answer, len(left))


@with_imap("Dovecot removes a message that is being sent: it still comes whole")
def removed_while_sent(server):
    large = message(20_000_000)
    user = server.user(large, message())
    client = server.logged_in(user)
    client.send(b"RETR 1\r\n")
    client.read(1000)
    with imap(server).inbox(user) as inbox:
        inbox.store("1", "+FLAGS", r"(\Deleted)")
        inbox.expunge()
    assert len(files(server, user)) == 1
    wire = on_the_wire(large)
    stuffed = wire.replace(b"\r\n.", b"\r\n..")
    rest = client.read(len(b"+OK %d octets\r\n" % len(wire)) + len(stuffed) - 1000)
    assert rest.endswith(stuffed[-100:]) and client.read(3) == b".\r\n"
    client.quit()


# --- deliverers ---------------------------------------------------------------------------------

def deliver_python(server, user, octets):
    server.deliver(user, octets, f"{time.time():.6f}.{os.getpid()}_{random.randrange(1 << 40)}.localhost")


def deliver_ours(server, user, octets):
    become = ["setpriv", "--reuid=kpopd", "--regid=kpopd", "--clear-groups"] if ROOT else []
    run(*become, BUILD / "kpop-deliver", "-c", server.conf, "-d", user, input=octets)


def deliver_dovecot(server, user, octets):
    imap(server).deliver(user, octets)


DELIVERERS = [deliver_python, deliver_ours] + ([deliver_dovecot] if DOVECOTS else [])


@each("three programs deliver during a session: it sees nothing of it, and the next one sees all, each once")
def deliveries(server):
    mail = [message() for _ in range(5)]
    user = server.user(*mail)
    client = server.logged_in(user)
    seen = view(client)
    for deliver in DELIVERERS * 3:
        mail.append(message())
        deliver(server, user, mail[-1])
        assert view(client) == seen
    client.expect("DELE 2", "+OK")
    client.quit()
    with server.logged_in(user) as later:
        texts = [later.raw_message(f"RETR {n + 1}") for n in range(later.stat()[0])]
        # Deliverers write lines of their own before the mail.
        subjects = sorted(line for text in texts for line in text.split(b"\r\n\r\n")[0].split(b"\r\n")
                          if line.startswith(b"Subject: "))
        assert subjects == sorted(m.split(b"\n")[0] for m in mail[:1] + mail[2:])
        uidls = [line.split()[1] for line in later.listing("UIDL")]
        assert len(set(uidls)) == len(uidls) == len(texts)
        assert [line.split()[1] for n, line in enumerate(seen[2]) if n != 1] == uidls[:4]
        later.quit()


@each("another program appends sizes to names, moves files to cur and back, and hides one for a while")
def names(server):
    mail = [message() for _ in range(8)]
    user = server.user(*mail)
    client = server.logged_in(user)
    seen = view(client)
    maildir = server.maildir(user)
    hidden = WORK / f"hidden-{user}-{id(server)}"
    for turn in range(6):
        for path, octets in files(server, user).items():
            base = path.name.split(",")[0].split(":")[0]
            part, ending = random.choice((("cur", ":2,S"), ("cur", f",S={len(octets)},W={len(octets) + 4}:2,"),
                                          ("cur", f",S={len(octets)}:2,FRS"), ("new", ""), ("new", f",S={len(octets)}")))
            path.rename(maildir / part / (base + ending))
        if turn == 2:
            victim = next(path for path, octets in files(server, user).items() if octets == mail[5])
            victim.rename(hidden)
            assert client.command("RETR 6") == b"-ERR [SYS/TEMP] message 6 is no longer there"
            hidden.rename(maildir / "new" / victim.name.split(",")[0].split(":")[0])
        assert view(client) == seen
        for n in random.sample(range(8), 4):
            assert client.raw_message(f"RETR {n + 1}") == on_the_wire(mail[n])
    for n in (1, 5, 6):
        client.expect(f"DELE {n}", "+OK")
    client.quit()
    assert sorted(files(server, user).values()) == sorted(m for n, m in enumerate(mail, 1) if n not in (1, 5, 6))
    with server.logged_in(user) as later:
        assert [line.split()[1] for line in later.listing("UIDL")] == \
            [line.split()[1] for n, line in enumerate(seen[2], 1) if n not in (1, 5, 6)]
        later.quit()


# --- another generation of ours -------------------------------------------------------------------

@each("a reload during a session, and mail comes and moves: it goes on, others are told IN-USE, then it is theirs")
def generations(server):
    mail = [message() for _ in range(4)]
    user = server.user(*mail)
    client = server.logged_in(user)
    seen = view(client)
    for _ in range(2):
        server.reload()
        deliver_python(server, user, message())
        for path in list((server.maildir(user) / "new").iterdir())[:2]:
            path.rename(server.maildir(user) / "cur" / (path.name + ":2,S"))
        with server.pop3() as other:
            other.expect(f"USER {user}", "+OK")
            other.expect(f"PASS {PASSWORD}", "-ERR [IN-USE]")
        assert view(client) == seen
        assert client.raw_message("RETR 3") == on_the_wire(mail[2])
    client.expect("DELE 1", "+OK")
    client.quit()
    with server.logged_in(user) as later:
        assert later.stat()[0] == 5
        assert [line.split()[1] for line in later.listing("UIDL")][:3] == [line.split()[1] for line in seen[2][1:]]
        later.quit()


@harness.row("sessions of three generations share a maildrop: each keeps its view, and removes what it has marked")
def shared_generations():
    mail = [message() for _ in range(6)]
    user = together.user(*mail)
    clients, views = [], []
    for number in range(3):
        clients.append(together.logged_in(user))
        views.append(view(clients[-1]))
        assert views[number] == views[0]
        together.reload()
    for number, client in enumerate(clients):
        client.expect(f"DELE {number + 1}", "+OK")
        client.quit()
        for other, before in list(zip(clients, views))[number + 1:]:
            assert other.listing("UIDL") == before[2]
            assert other.raw_message("RETR 6") == on_the_wire(mail[5])
    assert sorted(files(together, user).values()) == sorted(mail[3:])


# --- all at once ----------------------------------------------------------------------------------

class Ledger:
    """What was delivered, and what somebody has removed or was about to."""

    def __init__(self):
        self.lock = threading.Lock()
        self.delivered, self.marked, self.removed, self.uidls, self.wrong = {}, set(), set(), {}, []

    def uidl(self, uidl, number):
        with self.lock:
            if self.uidls.setdefault(uidl, number) != number:
                self.wrong.append(f"UIDL {uidl} was of {self.uidls[uidl]}, and is now of {number}")


def storm(server, secs, sessions):
    user = server.user()
    maildir = server.maildir(user)
    if not maildir.exists():
        server.deliver(user, message())
    ledger, over = Ledger(), threading.Event()

    def guarded(function):
        def guard():
            try:
                while not over.is_set():
                    function()
            except Exception as error:  # pylint: disable=broad-except
                ledger.wrong.append(f"{function.__name__}: {error!r}")
        return threading.Thread(target=guard)

    def deliverer():
        for deliver in [deliver_python] * 8 + DELIVERERS[1:]:
            if over.is_set():
                break
            octets = message()
            deliver(server, user, octets)
            with ledger.lock:
                ledger.delivered[number_of(on_the_wire(octets))] = octets
            time.sleep(0.01)

    def imap_client():
        with imap(server).inbox(user) as inbox:
            numbers = numbers_of(inbox)
            if not numbers:
                return
            inbox.store(f"1:{len(numbers)}", random.choice("+-") + "FLAGS", random.choice((r"(\Seen)", r"(\Flagged)", "(word)")))
            victim = random.choice(sorted(numbers))
            if random.random() < 0.3:
                with ledger.lock:
                    ledger.marked.add(victim)
                inbox.store(str(numbers[victim]), "+FLAGS", r"(\Deleted)")
                inbox.expunge()

    def renamer():
        there = sorted(files(server, user))
        for path in random.sample(there, min(3, len(there))):
            with contextlib.suppress(FileNotFoundError):
                base = path.name.split(":")[0]
                path.rename(maildir / "cur" / (base + random.choice((":2,", ":2,S", ":2,FS", ":2,R"))))
        time.sleep(0.005)

    def pop3_client():
        with server.logged_in(user) as client:
            seen = view(client)
            uidls = [line.split()[1] for line in seen[2]]
            mine = []
            for n in random.sample(range(len(uidls)), min(6, len(uidls))):
                client.send(b"RETR %d\r\n" % (n + 1))
                if not client.line().startswith(b"+OK"):
                    continue
                text = b"\r\n".join(client.lines()) + b"\r\n"
                number = int(next(line for line in text.split(b"\r\n") if line.startswith(b"Subject: ")).split()[1])
                ledger.uidl(uidls[n], number)
                if not text.endswith(b"last line of %d\r\n" % number):
                    ledger.wrong.append(f"half of {number}")
                if random.random() < 0.4:
                    client.expect(f"DELE {n + 1}", "+OK")
                    mine.append((n, number))
            if [line.split()[1] for line in client.listing("UIDL")] != \
                    [uidl for n, uidl in enumerate(uidls) if n not in dict(mine)]:
                ledger.wrong.append("the view changed")
            with ledger.lock:
                ledger.marked.update(number for _, number in mine)
            if random.random() < 0.2:
                return client.reset()
            if client.command("QUIT").startswith(b"+OK"):
                with ledger.lock:
                    ledger.removed.update(number for _, number in mine)
            return None

    threads = [guarded(deliverer), guarded(renamer), *[guarded(pop3_client) for _ in range(sessions)]]
    if DOVECOTS:
        threads.append(guarded(imap_client))
    for thread in threads:
        thread.start()
    time.sleep(secs / 2)
    server.reload()
    time.sleep(secs / 2)
    over.set()
    for thread in threads:
        thread.join(2 * harness.WAIT_SECS)
    assert not ledger.wrong, ledger.wrong[:5]
    with server.logged_in(user) as client:
        there = []
        for line in client.listing("UIDL"):
            msgno, uidl = line.split()
            head = client.listing(f"TOP {int(msgno)} 0")
            there.append(int(next(h for h in head if h.startswith(b"Subject: ")).split()[1]))
            ledger.uidl(uidl, there[-1])
        client.quit()
    assert not ledger.wrong, ledger.wrong[:5]
    assert len(set(there)) == len(there), "a message is there twice"
    lost = set(ledger.delivered) - set(there) - ledger.marked
    assert not lost, f"nobody has removed {sorted(lost)[:5]}, and they are not there"
    assert not ledger.removed & set(there), "QUIT was +OK, and the message is there"
    print(f"# {len(ledger.delivered)} delivered, {len(ledger.removed)} removed by QUIT, {len(there)} left")


@each("an IMAP server, deliverers, a renaming program and POP3 clients at once, and a reload in between")
def all_at_once(server):
    storm(server, 6, 1)


@harness.row("the same, with four POP3 sessions that share the maildrop")
def all_together():
    storm(together, 6, 4)


# --- while a message is being sent ---------------------------------------------------------------

def begun(server, large):
    """A session in the middle of a large message; the file, and how many octets are still to come."""
    user = server.user(large)
    client = server.logged_in(user)
    client.send(b"RETR 1\r\n")
    client.read(100_000)
    return client, next(iter(files(server, user)))


def not_whole(client):
    """The connection ends without the closing dot."""
    rest = client.rest()
    assert not rest.endswith(b"\r\n.\r\n"), "a message that is not whole looks so"


def truncate(path, octets):
    os.truncate(path, len(octets) - 1000)


def overwrite(path, octets):
    """As many octets, other ones."""
    with open(path, "r+b") as file:
        file.write(octets.replace(b" ", b"!"))


def overwrite_end(path, octets):
    with open(path, "r+b") as file:
        file.seek(len(octets) - 10)
        file.write(b"!")


for sentence, change in (("cut short", truncate), ("overwritten with as many octets", overwrite),
                         ("changed in one octet near its end", overwrite_end)):
    def changed(server, change=change):
        large = message(20_000_000)
        client, path = begun(server, large)
        change(path, large)
        not_whole(client)
        user = path.parent.parent.parent.name
        with server.logged_in(user) as later:
            later.quit()
    each(f"a message that is {sentence} while it is being sent ends the connection, without a closing dot")(changed)


RACES = ("truncate", "unlink", "rename", "replace", "append")


@each("a message is cut, removed, renamed or replaced at any moment: it comes whole, or not at all, but never half")
def races(server):
    one = b"Subject: one\n\n" + (b"1" * 7000 + b"\n") * 50
    other = b"Subject: other\n\n" + (b"2" * 7001 + b"\n") * 50
    whole = {on_the_wire(one), on_the_wire(other)}
    user = server.user(one)
    name = "1700000000.race.localhost"
    maildir = server.maildir(user)
    outcomes = {"whole": 0, "refused": 0, "ended": 0}
    client = None

    def fresh():
        for path in files(server, user):
            path.unlink()
        server.deliver(user, one, name)

    def race(what, wait):
        time.sleep(wait)
        with contextlib.suppress(FileNotFoundError):
            path = next(iter(files(server, user)), None)
            if path is None:
                return
            if what == "truncate":
                os.truncate(path, random.randrange(len(one)))
            elif what == "unlink":
                path.unlink()
            elif what == "rename":
                path.rename(maildir / "cur" / f"{name}:2,{random.choice(('', 'S', 'F'))}")
            elif what == "append":
                with open(path, "ab") as file:
                    file.write(b"more\n")
            else:
                new = maildir / "tmp" / "replacement"
                new.write_bytes(other)
                server.own(new)
                new.rename(path)

    end = time.monotonic() + 8
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        if client is None:
            fresh()
            client = server.logged_in(user)
        thread = threading.Thread(target=race, args=(random.choice(RACES), random.random() * 0.002))
        thread.start()
        try:
            client.send(b"RETR 1\r\n")
            answer = client.line()
            if answer.startswith(b"+OK"):
                while not client.buffer.endswith(b"\r\n.\r\n"):
                    client._more("the end of a message")  # pylint: disable=protected-access
                text, client.buffer = client.buffer[:-3], b""
                assert text in whole and answer == b"+OK %d octets" % len(text), (answer, len(text))
                outcomes["whole"] += 1
            else:
                assert answer.startswith(b"-ERR [SYS/TEMP] "), answer
                outcomes["refused"] += 1
        except (AssertionError, OSError) as error:
            if isinstance(error, AssertionError) and not str(error).startswith("closed, while"):
                raise
            outcomes["ended"] += 1
            client.close()
            client = None
        thread.join()
        if client and (not files(server, user) or random.random() < 0.2):
            client.close()
            client = None
    print(f"# {rounds} rounds: {outcomes}")


@each("between DELE and QUIT messages are renamed, removed and replaced: only the very messages that were marked go")
def marked_and_changed(server):
    end = time.monotonic() + 6
    rounds = 0
    user = server.user()
    maildir = server.maildir(user)
    while time.monotonic() < end:
        rounds += 1
        for path in files(server, user) if maildir.exists() else ():
            path.unlink()
        mail = [message() for _ in range(8)]
        names_of = {server.deliver(user, octets): octets for octets in mail}
        kept, may_stay = [], []
        client = server.logged_in(user)
        for n, (path, octets) in enumerate(names_of.items(), 1):
            marked = random.random() < 0.5
            what = random.choice(("nothing", "rename", "unlink", "replace", "rename and reuse"))
            if marked:
                client.expect(f"DELE {n}", "+OK")
            new = message()
            if what in ("rename", "rename and reuse"):
                path.rename(maildir / "cur" / f"{path.name}:2,{random.choice(('S', 'RS', ''))}")
            if what == "unlink":
                path.unlink()
            if what in ("replace", "rename and reuse"):
                # A file of its own: while the old one is there its inode is not free.
                temporary = maildir / "tmp" / path.name
                temporary.write_bytes(new)
                server.own(temporary)
                temporary.rename(path)
                kept.append(new)
            if not marked and what not in ("unlink", "replace"):
                kept.append(octets)
        kept.append(message())
        server.deliver(user, kept[-1])
        client.quit()
        left = list(files(server, user).values())
        assert sorted(left) == sorted(kept), (sorted(map(len, left)), sorted(map(len, kept)), may_stay)
    print(f"# {rounds} rounds")


try:
    harness.main(process, shared, together)
finally:
    for dovecot in DOVECOTS.values():
        dovecot.stop()
