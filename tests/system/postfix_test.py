#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A real Postfix that delivers into maildrops: by LMTP over both kinds of sockets, and by running kpop-deliver."""
import os
import pathlib
import re
import smtplib
import sys

import accounts
import harness
from harness import BUILD, WORK, row, run, wait_for

if not harness.ROOT:
    print("1..0 # SKIP only root can run a Postfix of its own")
    sys.exit(0)

realm = harness.Realm()
DOMAINS = ("unix.test", "inet.test", "pipe.test")
LIMIT = "class full { users = {'u6', 'u7'} quota_messages = 1 }\nclass small { users = {'u5'} quota_octets = 2K }\n"


class Postfix:
    """An instance with its own queue and configuration, on a port of 127.0.0.1."""

    count = 0

    def __init__(self, transports, services="", **parameters):
        Postfix.count += 1
        self.dir = WORK / f"postfix{Postfix.count}"
        self.conf, self.queue, self.data = self.dir / "conf", self.dir / "queue", self.dir / "data"
        self.log = self.dir / "log"
        for folder in (self.dir, self.conf, self.queue, self.data):
            folder.mkdir()
            folder.chmod(0o755)
        harness.shutil.chown(self.data, "postfix", "postfix")
        self.port = harness.free_ports(1)[0]
        pairs = [f"{{{domain}={transport}}}" for domain, transport in transports.items()]
        settings = {
            "compatibility_level": "3.6", "queue_directory": self.queue, "data_directory": self.data, "mail_owner": "postfix",
            "setgid_group": "postdrop", "command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin",
            "maillog_file": self.log, "maillog_file_prefixes": self.dir, "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
            "myhostname": "mx.test", "mydestination": "", "mynetworks": "127.0.0.0/8", "alias_maps": "", "alias_database": "",
            "virtual_mailbox_domains": " ".join(DOMAINS), "virtual_mailbox_maps": "",
            "transport_maps": "inline:{" + ", ".join(pairs) + "}" if pairs else "",
            "smtpd_relay_restrictions": "permit_mynetworks, reject", "notify_classes": "", "bounce_queue_lifetime": "1d",
            "minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s", "virtual_alias_maps": "",
            "kpop_destination_recipient_limit": "1", "multi_instance_name": f"kpopd-test-{Postfix.count}", **parameters}
        (self.conf / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (self.conf / "master.cf").write_text(f"""\
127.0.0.1:{self.port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
{services}""")
        harness.atexit.register(self.stop)
        run("postfix", "-c", self.conf, "start", timeout=120)

    def stop(self):
        run("postfix", "-c", self.conf, "stop", check=False, timeout=120)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, *recipients, sender="sender@example.net", body="One line.\n", subject="x"):
        """Gives a message to smtpd; returns its queue's name of it."""
        text = f"From: {sender}\nSubject: {subject}\n\n{body}".replace("\n", "\r\n")
        with smtplib.SMTP("127.0.0.1", self.port, timeout=harness.WAIT_SECS) as client:
            client.ehlo("test.example")
            client.mail(sender)
            for recipient in recipients:
                code, answer = client.rcpt(recipient)
                assert code == 250, answer
            code, answer = client.data(text)
            assert code == 250, answer
        return re.search(rb"queued as (\w+)", answer).group(1).decode()

    def became(self, queued, recipient):
        """What the log says of a recipient of this message: the status, and why."""
        pattern = rf"{queued}: to=<{re.escape(recipient)}>,.*? dsn=([0-9.]+), status=(\w+) \((.*)\)"
        return wait_for(lambda: re.search(pattern, self.log_text()), f"Postfix delivered {queued} to {recipient}").groups()

    def flush(self):
        run("postqueue", "-c", self.conf, "-f", check=False)


def make(**options):
    made = harness.Server(realm, users=8, start=False, local_domains=list(DOMAINS), **options)
    made.path = made.dir / "sockets" / "lmtp"
    made.path.parent.mkdir()
    made.path.parent.chmod(0o755)
    made.lmtp_port = harness.free_ports(1)[0]
    made.sections = (f"listener local {{ protocol = lmtp path = '{made.path}' path_mode = '0600' path_owner = postfix }}\n"
                     f"listener loop {{ protocol = lmtp addresses = {{'127.0.0.1'}} port = {made.lmtp_port} }}\n{LIMIT}")
    made.write_conf()
    made.conf.chmod(0o644)
    made.start()
    for user in made.users:
        made.deliver(user, b"x\n").unlink()
    return made


def pipe_service(which):
    """As kpop-deliver(8) has it."""
    return (f"kpop unix - n n - - pipe\n  flags=hu user=kpopd null_sender=\n"
            f"  argv={BUILD}/kpop-deliver -c {which.conf} -f ${{sender}} -d ${{user}}\n")


# Postfix runs this as another user, who must be able to reach it.
def reachable(path):
    return all(folder.stat().st_mode & 0o001 for folder in pathlib.Path(path).resolve().parents)


if not reachable(BUILD):
    print("1..0 # SKIP the build is in a folder that is closed to others")
    sys.exit(0)

server, strict = make(), make(quota_full="permanent")
postfix = {which: Postfix({"unix.test": f"lmtp:unix:{which.path}", "inet.test": f"lmtp:inet:127.0.0.1:{which.lmtp_port}",
                           "pipe.test": "kpop"}, pipe_service(which)) for which in (server, strict)}


def stored(which, user, count):
    return wait_for(lambda: len(which.stored(user)) == count and which.stored(user), f"{count} messages of {user}")


def delivers(domain):
    user = server.user()
    mta = postfix[server]
    queued = mta.send(f"{user}@{domain}", body=".\n..two\n\nLast.\n")
    dsn, status, why = mta.became(queued, f"{user}@{domain}")
    assert status == "sent" and dsn.startswith("2."), (dsn, status, why)
    message = stored(server, user, 1)[0]
    given = user if domain == "pipe.test" else f"{user}@{domain}"
    assert message.startswith(f"Return-Path: <sender@example.net>\nDelivered-To: {given}\n".encode()), message
    assert b"\r" not in message and message.endswith(b"\n\n.\n..two\n\nLast.\n"), message
    assert message.count(b"Return-Path:") == 1
    with server.logged_in(user) as client:
        assert client.raw_message("RETR 1") == message.replace(b"\n", b"\r\n")
        client.expect("DELE 1", "+OK")
        client.expect("QUIT", "+OK")


def two_recipients(domain):
    user = server.user()
    if not server.stored("u7"):
        server.deliver("u7", b"full\n")
    mta = postfix[server]
    queued = mta.send(f"{user}@{domain}", f"u7@{domain}")
    assert mta.became(queued, f"{user}@{domain}")[1] == "sent"
    dsn, status, why = mta.became(queued, f"u7@{domain}")
    assert (dsn, status) == ("4.2.2", "deferred") and "over quota" in why, (dsn, status, why)
    stored(server, user, 1)
    # He fetches his mail, and what waited comes.
    with server.logged_in("u7") as client:
        client.expect("DELE 1", "+OK")
        client.expect("QUIT", "+OK")

    def came():
        mta.flush()
        return server.stored("u7")
    assert b"Subject: x" in wait_for(came, "what was deferred")[0]
    wait_for(lambda: f"{queued}: removed" in mta.log_text(), "Postfix is done with it")


def bounces(domain):
    if not strict.stored("u6"):
        strict.deliver("u6", b"full\n")
    user = strict.user()
    mta = postfix[strict]
    queued = mta.send(f"u6@{domain}", sender=f"{user}@unix.test")
    dsn, status, why = mta.became(queued, f"u6@{domain}")
    assert (dsn, status) == ("5.2.2", "bounced") and "over quota" in why, (dsn, status, why)
    notice = stored(strict, user, 1)[0]
    assert notice.startswith(b"Return-Path: <>\n") and b"over quota" in notice, notice


def too_large(domain):
    mta = postfix[server]
    queued = mta.send(f"u5@{domain}", sender="", body="y" * 60 + "\n" + "z\n" * 2000)
    dsn, status, _ = mta.became(queued, f"u5@{domain}")
    assert (dsn, status) == ("5.2.3", "bounced"), (dsn, status)


for name in DOMAINS:
    harness.add_row(f"mail comes, and is fetched by POP3 ({name})", delivers, name)
    harness.add_row(f"of two recipients one is over quota: his mail waits until he has fetched some ({name})", two_recipients, name)
    harness.add_row(f"quota_full = permanent: mail over quota goes back to who sent it ({name})", bounces, name)
    harness.add_row(f"a message that is larger than the quota goes back at once ({name})", too_large, name)


@row("an unknown user's mail goes back, by what LMTP says")
def unknown():
    mta = postfix[server]
    dsn, status, why = mta.became(mta.send("nobody.here@unix.test", sender=""), "nobody.here@unix.test")
    assert (dsn, status) == ("5.1.1", "bounced") and "no such user" in why, (dsn, status, why)


@row("a kpopd that is not there keeps mail in the queue, and it comes once when that is back")
def away():
    user = strict.user()
    mta = postfix[strict]
    strict.stop()
    queued = [mta.send(f"{user}@{domain}", subject=domain) for domain in ("unix.test", "inet.test")]
    for name_, domain in zip(queued, ("unix.test", "inet.test")):
        assert mta.became(name_, f"{user}@{domain}")[1] == "deferred"
    strict.start()

    def came():
        mta.flush()
        return len(strict.stored(user)) == 2
    wait_for(came, "both messages")
    wait_for(lambda: all(f"{name_}: removed" in mta.log_text() for name_ in queued), "Postfix is done with them")
    assert len(strict.stored(user)) == 2


# --- accounts of the system -----------------------------------------------------------------------

ACCOUNTS = ["pf-alice", "pf-bob"]
for name in ACCOUNTS:
    accounts.account(name)
system = accounts.Server(realm, ACCOUNTS, start=False, local_domains=["mx.test"])
system.path = system.dir / "sockets" / "lmtp"
system.path.parent.mkdir()
system.sections = f"listener local {{ protocol = lmtp path = '{system.path}' path_mode = '0600' path_owner = postfix }}\n"
system.write_conf()
system.conf.chmod(0o644)
system.start()


def to_account(mta, user):
    before = len(system.stored(user))
    queued = mta.send(f"{user}@mx.test")
    dsn, status, why = mta.became(queued, f"{user}@mx.test")
    assert status == "sent", (dsn, status, why)
    message = wait_for(lambda: len(system.stored(user)) == before + 1 and system.stored(user), "the message")[0]
    assert message.startswith(b"Return-Path: <sender@example.net>\n") and f"Delivered-To: {user}".encode() in message
    uid = system.accounts[user].pw_uid
    for path in (system.maildir(user), *(system.maildir(user) / "new").iterdir()):
        assert path.stat().st_uid == uid and path.stat().st_mode & 0o077 == 0
    with system.logged_in(user) as client:
        assert client.raw_message("RETR 1").startswith(b"Return-Path: <sender@example.net>\r\n")


@row("mail_users = system: local(8) hands mail to LMTP by mailbox_transport, and it is the account's")
def mailbox_transport():
    to_account(Postfix({}, mydestination="mx.test", local_recipient_maps="", virtual_mailbox_domains="",
                       mailbox_transport=f"lmtp:unix:{system.path}"), "pf-alice")


@row("mail_users = system: local(8) runs kpop-deliver by mailbox_command, as that account")
def mailbox_command():
    command = f'{BUILD}/kpop-deliver -c {system.conf} -f "$SENDER" -d "$USER"'
    to_account(Postfix({}, mydestination="mx.test", local_recipient_maps="", virtual_mailbox_domains="",
                       mailbox_command=command), "pf-bob")


os.umask(0o022)
harness.main(server, strict, system)
