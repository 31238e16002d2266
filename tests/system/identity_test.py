#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Whose maildrop opens: rules for principals, realms that trust each other, names, and who may be somebody else."""
import base64
import contextlib
import os
import re

import gssapi

import harness
import pop3
from harness import BUILD, PASSWORD, row, run, wait_for

HOME, STAFF, OUTER = (harness.Realm(name) for name in ("KPOPD.TEST", "STAFF.TEST", "OUTER.TEST"))
HOME.trust(STAFF)
STAFF.trust(OUTER)
OUTER.know(HOME)
OUTER.path(OUTER, HOME, STAFF)  # a client's way; a server believes it only if its own krb5.conf says so

# Tickets by a short name. With +requires_preauth the KDC notes how the client proved itself: the indicator "spake".
tickets = {
    "alice": HOME.user("alice"), "bob": HOME.user("bob"), "admin": HOME.user("alice/admin"),
    "other admin": HOME.user("bob/admin"), "ALICE": HOME.user("ALICE"), "robot": HOME.user("robot.pop"),
    "xrobot": HOME.user("robot-pop"), "strong": HOME.user("carol", PASSWORD, "+requires_preauth"),
    "weak": HOME.user("dora"), "both": HOME.user("erik", PASSWORD, "+requires_preauth"), "near": HOME.user("near"),
    "kpop": HOME.user("onlykpop"), "desk": HOME.user("desk"), "spelling": HOME.user("frank\\@home.example"),
    "staff alice": STAFF.user("alice"), "staff bob": STAFF.user("bob"), "staff admin": STAFF.user("alice/admin"),
    "staff strong": STAFF.user("carol", PASSWORD, "+requires_preauth"), "outer alice": OUTER.user("alice")}

RULES = r"""
map admins { principal = 'alice/admin@KPOPD.TEST' user = 'alice' }
map no-admins {
    regex = '[^/]+/.*@KPOPD\.TEST'
    deny = true
}
map strong {
    realm = 'KPOPD.TEST'
    indicators = { "otp", "spake" }
    user = '%n-strong'
}
map dora {
    principal = 'dora@KPOPD.TEST'
    deny = true
}
map near { principal = 'near@KPOPD.TEST' networks = { "127.0.0.0/8" } user = 'u1' }
map near-not { principal = 'near@KPOPD.TEST' deny = true }
map kpop { principal = 'onlykpop@KPOPD.TEST' mechanisms = { "KPOP" } user = 'u2' }
map kpop-not { principal = 'onlykpop@KPOPD.TEST' deny = true }
map robots {
    regex = '([a-z]+)\.pop@KPOPD\.TEST'
    user = '\1'
}
map staff-strong { realm = 'STAFF.TEST' indicators = { "spake" } deny = true }
map staff { realm = 'STAFF.TEST' user = '%n@%d' }
map own { auth_to_local = true }
proxy desk {
    administrators = { 'desk', 'u3' }
    users = { 'u*', 'bob@staff.test' }
    networks = { "127.0.0.0/8" }
}
proxy robot { administrators = { 'robot' } users = { 'u0' } mechanisms = { "KPOP" } }
"""

bare = harness.Server(HOME, users=4)  # no rules at all
ruled = harness.Server(HOME, users=6, sections=RULES, local_domains=["home.example"], isolation="shared")
alone = harness.Server(HOME, users=2, sections=RULES, local_domains=["home.example"])  # isolation = process
with_path = harness.Server(HOME, users=0, start=False, sections="map outer { realm = 'OUTER.TEST' user = '%n' }\n",
                           krb5_conf=HOME.dir / "with-path.conf")
without_path = harness.Server(HOME, users=0, sections="map outer { realm = 'OUTER.TEST' user = '%n' }\n")
with_path.options["krb5_conf"].write_text((HOME.dir / "krb5.conf").read_text() +
                                          "[capaths]\n OUTER.TEST = {\n  KPOPD.TEST = STAFF.TEST\n }\n")
with_path.start()
merged = harness.Server(HOME, users=0, start=False, sections="map staff { realm = 'STAFF.TEST' user = '%n@%d' }\n"
                        "map own { auth_to_local = true }\n")
run("ktutil", input=f"rkt {STAFF.keytab}\nwkt {merged.keytab}\n".encode())
merged.start()
domains = harness.Server(HOME, users=2, default_domain="a.example", domains=["b.example"], local_domains=["pop.a.example"],
                         plus_hosts=["b.example", "pop.a.example"], fold_case=True)
domains.add_user("u0@b.example", "the other password")


def gssapi_login(server, who, authzid="", host="127.0.0.1", service=None):
    """AUTH GSSAPI without a layer; the last answer."""
    environ = tickets[who]
    os.environ.update(KRB5CCNAME=environ["KRB5CCNAME"], KRB5_CONFIG=environ["KRB5_CONFIG"])
    name = gssapi.Name("pop@localhost", gssapi.NameType.hostbased_service) if service is None else \
        gssapi.Name(service, gssapi.NameType.kerberos_principal)
    context = gssapi.SecurityContext(name=name, usage="initiate")
    with server.pop3(host) as client:
        assert client.challenge("AUTH GSSAPI") == b""
        answer = client.command(base64.b64encode(context.step()))
        if answer.startswith(b"-ERR"):
            return answer
        if not context.complete:
            assert not context.step(base64.b64decode(answer[2:]))
            answer = client.command(b"")
        assert context.unwrap(base64.b64decode(answer[2:])).message[0] & 1
        choice = context.wrap(b"\1\0\0\0" + authzid.encode(), False).message
        return opened(client, client.command(base64.b64encode(choice)))


def opened(client, answer):
    """The maildrop is there, or nothing is."""
    if answer.startswith(b"+OK"):
        client.stat()
        client.quit()
    else:
        client.refused("STAT")
    return answer


def kpop_login(server, who, user, host="127.0.0.1", service="pop/localhost@KPOPD.TEST"):
    """The handshake, USER and PASS; the last answer, or the KRB-ERROR's number."""
    with server.kpop(host) as client:
        client.send(pop3.SENDAUTH + HOME.apreq(tickets[who], service))
        assert client.read(1) == b"\0"
        length = int.from_bytes(client.read(4), "big")
        if length:
            return re.search(b"\xa6\x03\x02\x01(.)", client.read(length), re.S).group(1)[0]
        answer = client.line()
        if answer.startswith(b"-ERR"):
            return answer
        client.expect(f"USER {user}", "+OK")
        return opened(client, client.command("PASS x"))


def logged(server, before, *words):
    """A line of the log since then that has all these words."""
    wait_for(lambda: any(all(f" {word}" in line for word in words) for line in server.log_text()[before:].splitlines()),
             f"the log has {words} in one line")


def accepted(login, server, *arguments, words=()):
    """A login that works and that the log tells of; waits while an earlier session is not quite over."""
    before = len(server.log_text())

    def try_it():
        answer = login(server, *arguments)
        assert isinstance(answer, bytes) and (answer.startswith(b"+OK") or b"[IN-USE]" in answer), answer
        return answer.startswith(b"+OK")
    wait_for(try_it, "the maildrop opens")
    logged(server, before, *words)


def refused(login, server, *arguments, words=()):
    before = len(server.log_text())
    answer = login(server, *arguments)
    assert isinstance(answer, bytes) and answer.startswith(b"-ERR [AUTH]"), answer
    logged(server, before, "refused", *words)


# --- without rules --------------------------------------------------------------------------------

for who, user in (("staff alice", "alice"), ("admin", "alice"), ("staff admin", "alice")):
    @row(f"without rules, {who} is nobody, by GSSAPI and by KPOP", who, user)
    def nobody(who, user):
        refused(gssapi_login, bare, who)
        refused(gssapi_login, bare, who, user)
        refused(kpop_login, bare, who, user, words=("proto=kpop",))


@row("without rules, a user of the default realm is himself; ALICE is another user than alice")
def default_realm():
    accepted(gssapi_login, bare, "alice", words=("login", "user=alice", "principal=alice@KPOPD.TEST"))
    accepted(gssapi_login, bare, "ALICE", words=("user=ALICE",))
    refused(gssapi_login, bare, "ALICE", "alice")
    refused(kpop_login, bare, "ALICE", "alice")
    accepted(kpop_login, bare, "alice", "alice", words=("user=alice", "mech=KPOP"))


@row("without proxies, nobody opens another user's maildrop: not by GSSAPI, KPOP, PLAIN or SCRAM")
def no_proxies():
    refused(gssapi_login, bare, "alice", "bob")
    refused(kpop_login, bare, "alice", "bob")
    for login in (lambda c: c.auth_plain("u0", PASSWORD, "u1"), lambda c: c.auth_scram("u0", PASSWORD, header="n,a=u1,")):
        with bare.pop3() as client:
            assert login(client).startswith(b"-ERR [AUTH]")
            client.refused("STAT")


# --- rules ----------------------------------------------------------------------------------------

for sentence, who, user, rule in (
        ("one principal", "admin", "alice", "admins"),
        ("an indicator of the KDC's", "strong", "carol-strong", "strong"),
        ("the same rule for another principal", "both", "erik-strong", "strong"),
        ("a regular expression", "robot", "robot", "robots"),
        ("another realm", "staff alice", "alice@staff.test", "staff"),
        ("krb5.conf", "alice", "alice", "own"),
        ("krb5.conf, for what the expression does not match", "xrobot", "robot-pop", "own"),
        ("a network", "near", "u1", "near")):
    for server in (ruled, alone):
        isolation = server.options["isolation"]

        @row(f"a rule for {sentence} makes {user} of {who}, by GSSAPI and by KPOP (isolation = {isolation})",
             server, who, user, rule)
        def rule_row(server, who, user, rule):
            accepted(gssapi_login, server, who, words=("login", f"user={user}", f"map={rule}", "mech=GSSAPI"))
            accepted(gssapi_login, server, who, user, words=(f"user={user}", f"map={rule}"))
            accepted(kpop_login, server, who, user, words=("login", f"user={user}", f"map={rule}", "mech=KPOP"))

for sentence, who, user, rule in (
        ("an instance that is denied", "other admin", "bob", "no-admins"),
        ("a principal without the indicator", "weak", "dora", "dora"),
        ("another realm's instance", "staff admin", "alice@staff.test", "")):
    @row(f"{sentence} is nobody, by GSSAPI and by KPOP", who, user, rule)
    def denied_row(who, user, rule):
        words = (f"map={rule}",) if rule else ()
        refused(gssapi_login, ruled, who, words=words)
        refused(gssapi_login, ruled, who, user, words=words)
        refused(kpop_login, ruled, who, user, words=words)


@row("an indicator of another realm's KDC does not reach us, by GSSAPI or by KPOP")
def foreign_indicator():
    accepted(gssapi_login, ruled, "staff strong", words=("user=carol@staff.test", "map=staff"))
    accepted(kpop_login, ruled, "staff strong", "carol@staff.test", words=("user=carol@staff.test", "map=staff"))


@row("a rule with networks is for these alone")
def networks():
    refused(gssapi_login, ruled, "near", "", "::1", words=("map=near-not",))
    refused(kpop_login, ruled, "near", "u1", "::1", words=("map=near-not",))


@row("a rule with mechanisms is for these alone")
def mechanisms():
    refused(gssapi_login, ruled, "kpop", words=("map=kpop-not",))
    accepted(kpop_login, ruled, "kpop", "u2", words=("user=u2", "map=kpop"))


@row("a principal that would be another spelling of a user's name is nobody")
def another_spelling():
    refused(gssapi_login, ruled, "spelling", words=("map=own",))


@row("SIGHUP takes new rules, for GSSAPI and KPOP alike")
def reload():
    sections = alone.sections
    with contextlib.ExitStack() as stack:
        stack.callback(alone.reload)
        stack.callback(alone.write_conf)
        stack.callback(setattr, alone, "sections", sections)
        alone.sections = "map closed { deny = true }\n"
        alone.write_conf()
        alone.reload()
        refused(gssapi_login, alone, "alice", words=("map=closed",))
        refused(kpop_login, alone, "alice", "alice", words=("map=closed",))
    accepted(gssapi_login, alone, "alice", words=("user=alice",))


def fetchmail(server, who, user):
    """One run over KPOP: what it says, and its exit status."""
    inside, plugin = harness.kpop_service(server.kpop_port)
    rc = harness.WORK / "fetchmailrc"
    rc.write_text(f'set invisible\npoll localhost protocol kpop auth kerberos_v5 {plugin}\nuser "{user}" is alice here no rewrite '
                  f'fetchall keep sslproto \'\'\nmda "cat >> {harness.WORK}/letters"\n')
    rc.chmod(0o600)
    environ = {**tickets[who], "KRB5_CONFIG": HOME.environ["KRB5_CONFIG"], "HOME": str(harness.WORK)}
    return run(*inside, "fetchmail", "-vv", "--nosyslog", "--pidfile", harness.WORK / "fetchmail.pid", "-f", rc,
               env=environ, check=False)


@row("fetchmail with another realm's ticket fetches the mail of the user that the rule says, over KPOP")
def fetchmail_cross_realm():
    letter = b"Subject: across\n\nfrom one realm to the other\n"
    ruled.deliver("alice@staff.test", letter)
    with contextlib.suppress(FileNotFoundError):
        (harness.WORK / "letters").unlink()
    results = []

    def fetched():
        results.append(fetchmail(ruled, "staff alice", "alice@staff.test"))
        return b"[IN-USE]" not in results[-1].stdout
    wait_for(fetched, "fetchmail finds the maildrop free")
    assert results[-1].returncode == 0, results[-1].stdout.decode(errors="replace")
    assert b"from one realm to the other" in (harness.WORK / "letters").read_bytes()
    result = fetchmail(ruled, "staff alice", "alice")
    assert result.returncode == 3 and b"[AUTH]" in result.stdout, result.stdout.decode(errors="replace")


# --- realms on the way ----------------------------------------------------------------------------

@row("a ticket that came through a realm which krb5.conf does not name on the way is refused, by the library")
def untrusted_path():
    answer = kpop_login(without_path, "outer alice", "alice")
    assert answer == 43, answer  # KRB_AP_ERR_ILL_CR_TKT
    answer = gssapi_login(without_path, "outer alice")
    assert answer.startswith(b"-ERR [AUTH]"), answer


@row("with that realm in [capaths] the same ticket is accepted")
def trusted_path():
    accepted(kpop_login, with_path, "outer alice", "alice", words=("user=alice", "map=outer"))
    accepted(gssapi_login, with_path, "outer alice", words=("user=alice", "map=outer"))


@row("a realm that is trusted, but that no rule names, opens nothing")
def unnamed_realm():
    refused(gssapi_login, with_path, "staff alice", "alice")
    refused(kpop_login, with_path, "staff alice", "alice")


@row("with keys of two realms in the keytab, each realm's users come with their own realm's tickets")
def two_realms():
    service = "pop/localhost@STAFF.TEST"
    accepted(gssapi_login, merged, "staff alice", "", "127.0.0.1", service, words=("user=alice@staff.test", "map=staff"))
    accepted(kpop_login, merged, "staff alice", "alice@staff.test", "127.0.0.1", service, words=("user=alice@staff.test",))
    accepted(gssapi_login, merged, "alice", words=("user=alice", "map=own"))
    accepted(kpop_login, merged, "alice", "alice", words=("user=alice", "map=own"))
    # The first realm's keys alone do not open such a ticket, whatever the rules say.
    assert kpop_login(ruled, "staff alice", "alice@staff.test", "127.0.0.1", service) == 35
    assert gssapi_login(ruled, "staff alice", "", "127.0.0.1", service).startswith(b"-ERR [AUTH]")


# --- names ----------------------------------------------------------------------------------------

LOGINS = {
    "PLAIN": lambda c, u, p: c.auth_plain(u, p), "LOGIN": lambda c, u, p: c.auth_login(u, p),
    "CRAM-MD5": lambda c, u, p: c.auth_cram_md5(u, p), "SCRAM-SHA-256": lambda c, u, p: c.auth_scram(u, p),
    "SCRAM-SHA-1": lambda c, u, p: c.auth_scram(u, p, "sha1", "SCRAM-SHA-1"), "APOP": lambda c, u, p: c.auth_apop(u, p),
    "USER and PASS": lambda c, u, p: c.command(f"USER {u}") and c.command(f"PASS {p}")}


def password_login(server, login, *arguments):
    """One connection, one attempt; the last answer."""
    with server.pop3() as client:
        return opened(client, login(client, *arguments))


def by_name(server, login, name, user, password):
    accepted(password_login, server, login, name, password, words=("login", f"user={user}"))


for mechanism, login in LOGINS.items():
    @row(f"{mechanism}: u0, u0@home.example and u0@HOME.Example are one user where the domain is local", login)
    def local_domain(login):
        for name in ("u0", "u0@home.example", "u0@HOME.Example"):
            by_name(ruled, login, name, "u0", PASSWORD)

    @row(f"{mechanism}: names with, without and behind a plus their domain, in any case, mean one user each", login)
    def all_domains(login):
        for name in ("u0", "U0@a.example", "u0@POP.a.example", "u0+pop.a.example"):
            by_name(domains, login, name, "u0@a.example", PASSWORD)
        for name in ("u0@b.example", "u0+b.example", "u0@B.Example"):
            by_name(domains, login, name, "u0@b.example", "the other password")

    @row(f"{mechanism}: one user's password is not the other's, and other domains are nobody's", login)
    def wrong_domain(login):
        for name, password in (("u0@b.example", PASSWORD), ("u0", "the other password"), ("u0@c.example", PASSWORD),
                               ("u0@a.example.", PASSWORD), ("u0@@a.example", PASSWORD), ("@a.example", PASSWORD)):
            with domains.pop3() as client:
                assert login(client, name, password).startswith(b"-ERR [AUTH]")


@row("RFC 4013: a name in wide letters is the same name, by PLAIN and SCRAM")
def wide_letters():
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        by_name(ruled, LOGINS[mechanism], "\uff550", "u0", PASSWORD)


@row("USER on KPOP and the authorization identity of GSSAPI take other spellings of one's own name")
def own_spelling():
    accepted(kpop_login, ruled, "alice", "alice@home.example", words=("user=alice",))
    accepted(gssapi_login, ruled, "alice", "alice@Home.Example", words=("user=alice",))


@row("kpop-deliver and kpopctl take the same names for the same users")
def tools():
    def ctl(*arguments, **options):
        return run(BUILD / "kpopctl", "-c", domains.conf, *arguments, **options)
    letter = b"Subject: spelt otherwise\n\nhello\n"
    run(BUILD / "kpop-deliver", "-c", domains.conf, "-d", "U1+pop.a.example", input=letter)
    assert domains.stored("u1@a.example") and not domains.maildir("u1").exists()
    assert run(BUILD / "kpop-deliver", "-c", domains.conf, "-d", "u1@c.example", input=letter, check=False).returncode == 67
    ctl("user", "add", "New@POP.a.example", input=b"secret 9\n")
    assert b"new@a.example\t" in ctl("user", "list").stdout
    by_name(domains, LOGINS["PLAIN"], "new", "new@a.example", "secret 9")
    assert ctl("user", "add", "NEW", input=b"secret 9\n", check=False).returncode == 1
    ctl("user", "del", "new+pop.a.example")
    assert b"new@" not in ctl("user", "list").stdout


@row("a user whose name has become another's is listed as such, and can be removed without harm to the other")
def stale_user():
    def ctl(conf, *arguments, **options):
        return run(BUILD / "kpopctl", "-c", conf, *arguments, **options).stdout.decode()
    before = harness.WORK / "before.conf"
    before.write_text(re.sub("^(default_domain|domains|local_domains|plus_hosts|fold_case) .*\n", "",
                             domains.conf.read_text(), flags=re.M))
    ctl(before, "user", "add", "Stale", input=b"secret 8\n")
    ctl(domains.conf, "user", "add", "stale", input=b"secret 9\n")
    listing = ctl(domains.conf, "user", "list")
    assert "kpopctl: Stale is no user's name by this configuration" in listing and "\nstale@a.example\t" in listing, listing
    ctl(domains.conf, "user", "del", "Stale")
    assert "Stale" not in ctl(domains.conf, "user", "list")
    by_name(domains, LOGINS["PLAIN"], "Stale", "stale@a.example", "secret 9")
    ctl(domains.conf, "user", "del", "STALE")


# --- who may be somebody else ---------------------------------------------------------------------

for sentence, login in (("PLAIN", lambda c, u, z: c.auth_plain(u, PASSWORD, z)),
                        ("SCRAM-SHA-256", lambda c, u, z: c.auth_scram(u, PASSWORD, header=f"n,a={z},"))):
    @row(f"{sentence}: an administrator opens the maildrops that the proxy names, with his own password", login)
    def proxied(login):
        for wanted in ("u5", "bob@staff.test", "u4@home.example"):
            user = wanted.removesuffix("@home.example")
            accepted(password_login, ruled, login, "u3", wanted, words=("login", f"user={user}", "by=u3", "proxy=desk"))

    @row(f"{sentence}: he opens no others, none from elsewhere, and nobody else opens any", login)
    def not_proxied(login):
        for name, wanted, host in (("u3", "alice", "127.0.0.1"), ("u3", "u5", "::1"), ("u4", "u5", "127.0.0.1"),
                                   ("u3", "../u5", "127.0.0.1"), ("u3", "u*", "127.0.0.1")):
            with ruled.pop3(host) as client:
                assert login(client, name, wanted).startswith(b"-ERR [AUTH]"), (name, wanted, host)
                client.refused("STAT")


@row("GSSAPI and KPOP: a principal who is an administrator, too; the log has both names")
def proxied_principal():
    words = ("login", "user=u5", "by=desk", "proxy=desk", "principal=desk@KPOPD.TEST", "map=own")
    accepted(gssapi_login, ruled, "desk", "u5", words=words)
    accepted(kpop_login, ruled, "desk", "u5", words=(*words, "mech=KPOP"))
    refused(gssapi_login, ruled, "desk", "alice")
    refused(kpop_login, ruled, "desk", "alice")
    refused(gssapi_login, ruled, "desk", "u5", "::1")
    accepted(kpop_login, ruled, "desk", "desk", words=("user=desk",))


@row("a proxy with mechanisms is for these alone")
def proxied_mechanism():
    accepted(kpop_login, ruled, "robot", "u0", words=("user=u0", "by=robot", "proxy=robot"))
    refused(gssapi_login, ruled, "robot", "u0")


# --- kpopctl map ----------------------------------------------------------------------------------

def line_of(server, text):
    return next(n for n, line in enumerate(server.conf.read_text().splitlines(), 1) if line.startswith(text))


for sentence, arguments, status, said in (
        ("the rule that decides", ["alice/admin@KPOPD.TEST"], 0, r"^\S+/kpopd.conf: map admins \(line {admins}\): .* is alice"),
        ("a denial", ["bob/admin@KPOPD.TEST"], 1, "refused: map no-admins"),
        ("a rule passed over", ["alice@STAFF.TEST"], 0, "map own|map robots does not apply: the regex does not match"),
        ("what an indicator does", ["--indicator", "spake", "dora@KPOPD.TEST"], 0, "is dora-strong"),
        ("what its absence does", ["dora@KPOPD.TEST"], 1, "map strong does not apply: the ticket has none of its indicators"),
        ("what an address does", ["--from", "127.0.0.9", "near@KPOPD.TEST"], 0, "is u1"),
        ("what another does", ["--from", "192.0.2.1", "near@KPOPD.TEST"], 1, "the client's address is in none of its networks"),
        ("what a mechanism does", ["--mechanism", "KPOP", "onlykpop@KPOPD.TEST"], 0, "is u2"),
        ("a proxy", ["--user", "u5@home.example", "--from", "127.0.0.1", "desk@KPOPD.TEST"], 0,
         "proxy desk lets desk open the maildrop of u5"),
        ("no proxy", ["--user", "alice", "desk@KPOPD.TEST"], 1, "refused: no proxy lets desk open the maildrop of alice"),
        ("nobody", ["alice@OTHER.TEST"], 1, "refused: no map applies"),
        ("no principal", ["alice"], 1, "refused: that is no principal with a realm, such as"),
        ("a mechanism that brings no principal", ["--mechanism", "GSAPI", "u0@KPOPD.TEST"], 64, "no mechanism that brings"),
        ("a NUL", ["alice\\0x@KPOPD.TEST"], 1, "refused: the principal has a NUL"),
        ("a name", ["--name", "Alice@Home.Example"], 0, "^Alice$"),
        ("a name that cannot be", ["--name", "../alice"], 1, "refused: "),
        ("a wrong address", ["--from", "localhost", "alice@KPOPD.TEST"], 64, "--from localhost: write a numeric address"),
        ("nothing", [], 64, "usage:")):
    @row(f"kpopctl map says {sentence}: {' '.join(arguments) or '-'}", arguments, status, said)
    def ctl_map(arguments, status, said):
        result = run(BUILD / "kpopctl", "-c", ruled.conf, "map", *arguments, check=False)
        text = result.stdout.decode()
        said = said.format(admins=line_of(ruled, "map admins"))
        assert result.returncode == status and re.search(said, text, re.M), (result.returncode, text)


@row("kpopctl map and the server agree about every ticket there is")
def ctl_agrees():
    for who, environ in tickets.items():
        if who == "outer alice":
            continue
        principal = run("klist", env=environ).stdout.decode().split("Default principal: ")[1].split("\n")[0]
        indicator = ["--indicator", "spake"] if who in ("strong", "both") else []
        result = run(BUILD / "kpopctl", "-c", ruled.conf, "map", "--from", "127.0.0.1", *indicator, principal, check=False)
        before = len(ruled.log_text())
        answer = gssapi_login(ruled, who)
        if b"[IN-USE]" in answer:
            continue
        assert (result.returncode == 0) == answer.startswith(b"+OK"), (who, result.stdout, answer)
        if result.returncode == 0:
            logged(ruled, before, "login", "user=" + re.search(r" is (\S+) by ", result.stdout.decode()).group(1))


# --- kpopd -t -------------------------------------------------------------------------------------

for sentence, text, said in (
        ("a regular expression in double quotes", 'map x {\n  regex = "a\\.b@C"\n  deny = true\n}\n', "2: regex: write it on one line"),
        ("a principal without a realm", "map x {\n  principal = 'alice'\n  deny = true\n}\n", "2: principal: 'alice' is no principal"),
        ("a rule that is never asked", "map x { deny = true }\nmap y { auth_to_local = true }\n", "2: map y: is never asked"),
        ("a domain that stays and goes", "domains = {'a.b'}\nlocal_domains = {'a.b'}\n", "2: local_domains: a.b stays"),
        ("a proxy for nobody", "# x\nproxy x {\n  administrators = {'a'}\n}\n", "2: proxy x: has no users")):
    @row(f"kpopd -t refuses {sentence}, with the line", text, said)
    def test_config(text, said):
        conf = harness.WORK / "bad.conf"
        conf.write_text(text)
        result = run(BUILD / "kpopd", "-t", "-c", conf, check=False)
        assert result.returncode != 0 and f"{conf}:{said}" in result.stdout.decode(), result.stdout


harness.main(bare, ruled, alone, with_path, without_path, merged, domains)
