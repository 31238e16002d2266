#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Maildrops that .k5login files open (krb5_kuserok), and files that do not answer."""
import os
import pwd

import harness
from harness import WORK, row, run, wait_for

TEMP, AUTH = b"-ERR [SYS/TEMP] ", b"-ERR [AUTH] "
# Of the system's users, for krb5_kuserok knows no others; none of them is logged in to by the tests.
USER, OTHER, OPEN = [entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("games", "news", "mail")][:3]
realm = harness.Realm()
directory = WORK / "k5login"
directory.mkdir()
conf = WORK / "k5login.conf"
conf.write_text((realm.dir / "krb5.conf").read_text().replace(
    "[libdefaults]\n", f"[libdefaults]\n    k5login_directory = {directory}\n"))


def write(user, *principals):
    """The .k5login of user, which must be root's or his."""
    path = directory / user
    path.write_text("".join(f"{name}\n" for name in principals))
    return path


def start(sections="map guests { k5login = true }\n", **options):
    return harness.Server(realm, users=2, krb5_conf=conf, sections=sections, **options)


server = start(check_secs=5, passwords=["kerberos", "secrets"])
tickets = {name: realm.user(name) for name in ("alice", "bob", USER, OTHER)}
write(USER, "alice@KPOPD.TEST", "carol/admin@OTHER.TEST")


def kpop(principal, user):
    """The answer to PASS of who has principal's ticket and wants user's maildrop."""
    with server.kpop() as client:
        client.sendauth(realm.apreq(tickets[principal]))
        client.expect(f"USER {user}", "+OK")
        answer = client.command("PASS x")
        if answer.startswith(b"+OK"):
            client.quit()
        return answer


def root_row(sentence):
    """A file of another user is nobody's list; root's is everybody's."""
    return row(sentence) if harness.ROOT else lambda function: function


@root_row("who stands in a user's .k5login opens his maildrop, others do not")
def listed():
    assert kpop("alice", USER).startswith(b"+OK")
    assert kpop("bob", USER).startswith(AUTH)
    assert kpop(USER, USER).startswith(AUTH)  # the list is the whole list
    assert f"login user={USER}" in server.log_text() and "principal=alice@KPOPD.TEST" in server.log_text()
    assert f".k5login of {USER} does not name the principal" in server.log_text()


@root_row("a user without a list is opened by his own principal alone, and who is no user of the system by nobody")
def unlisted():
    assert kpop(OTHER, OTHER).startswith(b"+OK")
    assert kpop("alice", OTHER).startswith(AUTH)
    assert kpop("alice", "alice").startswith(AUTH)


@root_row("a change of the file counts at once")
def changes():
    write(USER, "bob@KPOPD.TEST")
    assert kpop("bob", USER).startswith(b"+OK")
    assert kpop("alice", USER).startswith(AUTH)
    write(USER, "alice@KPOPD.TEST")
    assert kpop("alice", USER).startswith(b"+OK")


@root_row("a file that others could have written lists nobody")
def foreign():
    path = write(USER, "alice@KPOPD.TEST")
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    assert kpop("alice", USER).startswith(AUTH)
    os.chown(path, 0, -1)
    assert kpop("alice", USER).startswith(b"+OK")


@root_row("a list behind a closed door is not taken for one that is not there")
def closed():
    directory.chmod(0o700)
    try:
        assert kpop(OTHER, OTHER).startswith(TEMP)
        wait_for(lambda: f".k5login of {OTHER}: Permission denied" in server.log_text(), "the log says why")
    finally:
        directory.chmod(0o755)


@root_row("a .k5login that does not answer is given up at the deadline; others log in meanwhile")
def fifo():
    os.mkfifo(directory / OPEN)
    try:
        with server.kpop() as client:
            client.sendauth(realm.apreq(tickets["alice"]))
            client.expect(f"USER {OPEN}", "+OK")
            client.send(b"PASS x\r\n")
            assert kpop("alice", USER).startswith(b"+OK")
            with server.pop3() as other:
                assert other.auth_scram("u0", harness.PASSWORD).startswith(b"+OK")
                other.quit()
            assert client.line().startswith(TEMP)
        wait_for(lambda: "did not end within 5 s: killed" in server.log_text(), "the log says so")
    finally:
        (directory / OPEN).unlink()


@root_row("with GSSAPI and an authorization identity it is the same")
def gssapi():
    for user, good in ((USER, True), (OTHER, False)):
        result = run("curl", "-sS", "--user", ":", "--sasl-authzid", user, "--login-options", "AUTH=GSSAPI",
                     f"pop3://localhost:{server.pop3_port}/", env=tickets["alice"], check=False)
        assert (result.returncode == 0) == good, result.stdout


@root_row("a password that the KDC knows opens what the principal's ticket would")
def password():
    write(USER, "alice@KPOPD.TEST")
    with server.pop3() as client:
        assert client.auth_plain("alice", harness.PASSWORD, authzid=USER).startswith(b"+OK")
        client.quit()
    with server.pop3() as client:
        assert client.auth_plain(OTHER, harness.PASSWORD).startswith(b"+OK")
        client.quit()
    with server.pop3() as client:
        assert client.auth_plain(USER, harness.PASSWORD).startswith(AUTH)


@row("without a rule that asks for it, no checker runs and no .k5login is read")
def unneeded():
    plain = start(sections="", passwords=["secrets"])
    names = [harness.comm(pid) for pid, _ in plain.family()]
    assert "kpopd-auth" in names and "kpopd-checker" not in names, names
    assert not (plain.state_dir / "check").exists()
    plain.stop()


harness.main(server)
