#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Tickets that must not open anything: replayed, skewed, expired, foreign, weak, broken; and what the log says of each."""
import base64
import contextlib
import os
import re
import shutil
import time

import harness
import pop3
from harness import PASSWORD, row, run, wait_for

realm = harness.Realm()
other = harness.Realm("OTHER.TEST", "OTHER.TEST")
alice = realm.user("alice")
KINDS = ("KPOP", "GSSAPI", "GS2-KRB5")
MECHANISMS = ["GSSAPI", "GS2-KRB5", "SCRAM-SHA-256", "PLAIN"]


def kadmin(*query):
    run("kadmin.local", "-r", "KPOPD.TEST", *query, env={**realm.environ, "KRB5_KDC_PROFILE": str(realm.dir / "kdc.conf")})


def prepare_services():
    """Besides the realm's own: services with weak keys in our keytab, and one that is in nobody's."""
    run(realm.script, "service", realm.dir, "pop/rc4.localhost", realm.keytab, "arcfour-hmac:normal")
    run(realm.script, "service", realm.dir, "pop/des3.localhost", realm.keytab, "des3-cbc-sha1:normal")
    for enctype in ("arcfour-hmac", "des3-cbc-sha1"):
        name = f"pop/{enctype}.session.localhost"
        run(realm.script, "service", realm.dir, name, realm.keytab)
        kadmin("setstr", name, "session_enctypes", enctype)
    run(realm.script, "service", realm.dir, "pop/elsewhere.localhost", harness.WORK / "elsewhere.keytab")


def allow_weak_crypto():
    """At the KDC and at the clients; the server reads a krb5.conf of its own."""
    conf = realm.dir / "krb5.conf"
    (realm.dir / "server.conf").write_text(conf.read_text())
    (realm.dir / "hasty.conf").write_text(conf.read_text().replace("[libdefaults]", "[libdefaults]\n    clockskew = 20", 1))
    weak = "[libdefaults]\n    allow_weak_crypto = true\n    allow_rc4 = true\n    allow_des3 = true"
    conf.write_text(conf.read_text().replace("[libdefaults]", weak, 1))


allow_weak_crypto()
run(realm.script, "stop", realm.dir)
prepare_services()
run("krb5kdc", "-r", "KPOPD.TEST", "-P", realm.dir / "kdc.pid",
    env={**realm.environ, "KRB5_KDC_PROFILE": str(realm.dir / "kdc.conf")})
shutil.copy(realm.keytab, harness.WORK / "all.keytab")
settings = {"krb5_conf": realm.dir / "server.conf", "mechanisms": MECHANISMS, "refusal_msecs": 0, "auth_processes": 2}
servers = {"process": harness.Server(realm, **settings), "shared": harness.Server(realm, isolation="shared", **settings)}
shortlived = realm.user("shortlived", kinit=("-l", "5s"))
expires = time.time() + 5
run(harness.BUILD / "tests/system/mkapreq", "pop/localhost", env=shortlived)  # now it is in the cache
hasty = harness.Server(realm, **{**settings, "krb5_conf": realm.dir / "hasty.conf"})


def each(sentence, *arguments):
    """A row for each way a ticket is shown."""
    def mark(function):
        for kind in KINDS:
            harness.add_row(f"{kind}: {sentence}", function, kind, *arguments)
        return function
    return mark


def b64(octets):
    return base64.b64encode(octets)


def made(kind, environ=alice, service="pop/localhost", **options):
    """What a client of this kind sends: an AP-REQ, or a first message."""
    if kind == "KPOP":
        return realm.apreq(environ, service, **options)[4:]
    return realm.token(environ, kind, service, **options)


def show(server, kind, octets):
    """Shows it to the server. None: accepted; else the last line, a refusal."""
    if kind == "KPOP":
        with server.kpop() as client:
            client.send(pop3.SENDAUTH + len(octets).to_bytes(4, "big") + octets)
            assert client.read(1) == b"\0"
            head = client.read(4)
            if head == bytes(4):
                return None
            client.read(int.from_bytes(head, "big"))
            return pop3.check_status(client.line())
    with server.pop3() as client:
        client.send(f"AUTH {kind} ".encode() + (b64(octets) or b"=") + b"\r\n")
        line = client.line()
        return None if line.startswith(b"+ ") else pop3.check_status(line)


def refused(server, kind, octets, *words, code=b"-ERR [AUTH] "):
    """It is refused, and one line of the log says so with all these words (regular expressions)."""
    before = len(server.log_text())
    answer = show(server, kind, octets)
    assert answer is not None and answer.startswith(code), answer

    def lines():
        text = server.log_text()[before:]
        return [line for line in text.splitlines() if f"mech={kind} " in line and ("refused " in line or "could not" in line)]
    said = wait_for(lines, "the log says it")
    assert len(said) == 1, said
    for word in words:
        assert re.search(word, said[0]), (word, said[0])
    assert "Unspecified" not in said[0], said[0]
    return said[0]


def works(server, kind):
    assert show(server, kind, made(kind)) is None


# --- replays --------------------------------------------------------------------------------------

@each("a recorded first message is refused by whichever process gets it, after SIGHUP and after a restart; a new one is not")
def replay(kind):
    for server in servers.values():
        octets = made(kind)
        assert show(server, kind, octets) is None
        for _ in range(4):
            refused(server, kind, octets, "[Rr]eplay", "of alice@KPOPD.TEST")
        server.reload()
        refused(server, kind, octets, "[Rr]eplay")
        server.restart()
        refused(server, kind, octets, "[Rr]eplay")
        works(server, kind)


@row("what was recorded from one way in is no way in by another")
def replay_across():
    server = servers["process"]
    octets = made("KPOP")
    assert show(server, "KPOP", octets) is None
    frame = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00" + octets
    refused(server, "GSSAPI", b"\x60\x82" + len(frame).to_bytes(2, "big") + frame)
    refused(server, "GS2-KRB5", b"n,,\x01\x00" + octets)
    octets = made("GSSAPI")
    assert show(server, "GSSAPI", octets) is None
    refused(server, "KPOP", octets[octets.index(b"\x01\x00\x6e") + 2:], "replay")


@each("when the replay cache is deleted while the server runs, what it had seen is refused by its age")
def deleted_cache(kind):
    for server in servers.values():
        octets = made(kind)
        assert show(server, kind, octets) is None
        time.sleep(2)
        (server.state_dir / "auth" / "replay").unlink()
        refused(server, kind, octets, "older than the replay cache")
        wait_for(lambda server=server: show(server, kind, made(kind)) is None, "new ones are accepted")


@each("a server without a past refuses what was made before its replay cache")
def new_cache(kind):
    server = servers["process"]
    server.stop()
    (server.state_dir / "auth" / "replay").unlink()
    server.start()
    refused(server, kind, made(kind, skew=-60), "older than the replay cache")
    works(server, kind)


# --- a replay cache that cannot be written ------------------------------------------------------------

def passwords_work(server):
    message = b"Subject: one\n\n1\n"
    user = server.user(message)
    with server.logged_in(user) as client:
        assert client.raw_message("RETR 1") == message.replace(b"\n", b"\r\n")
        client.quit()


@each("a replay cache that cannot be written is our trouble, in words for administrators; passwords and mail go on")
def unwritable_cache(kind):
    server = servers["process"]
    cache = server.state_dir / "auth" / "replay"
    cache.rename(cache.with_suffix(".aside"))
    cache.mkdir()
    try:
        refused(server, kind, made(kind), "replay cache", code=b"-ERR [SYS/TEMP] ")
        passwords_work(server)
    finally:
        cache.rmdir()
        cache.with_suffix(".aside").rename(cache)
    works(server, kind)


@row("a full disk under the replay cache: tickets get SYS/TEMP, passwords and mail go on, and with room all works")
def full_disk():
    if not harness.ROOT:
        return
    server = harness.Server(realm, disk="6m", users=2, **settings)
    user = server.user(b"Subject: one\n\n1\n")
    server.logged_in(user).quit()
    for kind in KINDS:
        works(server, kind)
    cache = server.state_dir / "auth" / "replay"
    cache.unlink()  # the next one would have to be made anew
    filler = server.dir / "filler"
    with open(filler, "wb", buffering=0) as out, contextlib.suppress(OSError):
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    out.write(bytes(size))
    for kind in KINDS:
        answer = show(server, kind, made(kind))
        assert answer is not None and answer.startswith(b"-ERR [SYS/TEMP] "), answer
    with server.logged_in(user) as client:
        assert client.raw_message("RETR 1") == b"Subject: one\r\n\r\n1\r\n"
        client.expect("DELE 1", "+OK")
        client.quit()
    filler.unlink()
    for kind in KINDS:
        wait_for(lambda kind=kind: show(server, kind, made(kind)) is None, "tickets work again")
    assert server.stop() == 0


# --- tickets that are not for us, or not good ----------------------------------------------------------

@each("a ticket for imap/ from the same keytab, or for a service nobody has keys of, is refused, and the log says whose it is")
def foreign_service(kind):
    for name in ("imap/localhost", "krbtgt/KPOPD.TEST"):
        for server in servers.values():
            refused(server, kind, made(kind, service=name), f"ticket for {name}@KPOPD.TEST kvno 1 aes256-cts-hmac-sha1-96",
                    "not a service of ours .pop/HOST, pop3/HOST.")


@each("a ticket for a name of this host that the keytab does not have: the log says which it has, and what to do")
def foreign_host(kind):
    refused(servers["process"], kind, made(kind, service="pop/elsewhere.localhost"),
            "ticket for pop/elsewhere.localhost@KPOPD.TEST kvno 1", "has no key of it, but of pop/localhost@KPOPD.TEST",
            "by another name", "ktadd -k ")


@each("a ticket of another realm for a service of our name: the log says which realm")
def foreign_realm(kind):
    bob = other.user("bob")
    refused(servers["process"], kind, made(kind, bob), "ticket for pop/localhost@OTHER.TEST", "has no key of it",
            "the realm is another")


for skew, side in ((600, "ahead of"), (-600, "behind")):
    @each(f"an authenticator {skew} s off: the log says by how much and which clock to set", skew, side)
    def skewed(kind, skew, side):
        said = refused(servers["process"], kind, made(kind, skew=skew), f"client's clock is [0-9]+ s {side} ours", "NTP")
        told = int(re.search(r"clock is (\d+) s", said)[1])
        assert abs(told - 600) < 60, said


for enctype, shown in (("rc4", "arcfour-hmac"), ("des3", "des3-cbc-sha1")):
    @each(f"a ticket of enctype {shown}, of which the keytab has the key: refused, and the log says what to do", enctype, shown)
    def weak_ticket(kind, enctype, shown):
        refused(servers["process"], kind, made(kind, service=f"pop/{enctype}.localhost"),
                f"ticket for pop/{enctype}.localhost@KPOPD.TEST kvno 1 {shown}: too weak", "AES", "ktadd -k")

    @each(f"a ticket of a strong enctype with a session key of {shown}: refused, and the log says what to do", shown)
    def weak_session(kind, shown):
        refused(servers["process"], kind, made(kind, service=f"pop/{shown}.session.localhost"),
                "ticket for pop/.*session.localhost@KPOPD.TEST kvno 1 aes", f"session key is {shown}.*, too weak",
                "session_enctypes")


@row("a key that changed at the KDC alone: the log says which number the ticket has, which the keytab, and to run ktadd")
def new_kvno():
    server = servers["process"]
    kadmin("cpw", "-randkey", "-keepold", "pop3/localhost")
    fresh = realm.user("alice")
    for kind in KINDS:
        refused(server, kind, made(kind, fresh, "pop3/localhost"), "ticket for pop3/localhost@KPOPD.TEST kvno 2 aes256",
                "has kvno 1 aes", "newer key: ktadd -k .* pop3/localhost@KPOPD.TEST")


@row("where enctypes names one, tickets of another are refused, and without a key of it none are offered")
def enctypes():
    strict = harness.Server(realm, **settings, enctypes=["aes128-cts-hmac-sha256-128", "aes128-cts-hmac-sha1-96"])
    with strict.pop3() as client:
        assert b"GSSAPI" in client.capabilities()["SASL"]  # the keytab has keys of the second kind of the realm, too
    for kind in KINDS:
        refused(strict, kind, made(kind), "ticket for pop/localhost@KPOPD.TEST kvno 1 aes256-cts-hmac-sha1-96: too weak")
    strict.options["enctypes"] = ["aes256-cts-hmac-sha384-192"]
    strict.write_conf()
    strict.reload()
    with strict.pop3() as client:
        assert b"GSSAPI" not in client.capabilities()["SASL"]
    assert strict.stop() == 0


# --- broken ones -----------------------------------------------------------------------------------------

@each("cut short anywhere, it is refused, and the server lives on")
def truncated(kind):
    octets = made(kind)
    server = servers["shared"]
    for cut in sorted({*range(0, 24), *range(24, len(octets), 23), len(octets) - 1}):
        answer = show(server, kind, octets[:cut]) if cut or kind != "KPOP" else b"-ERR"
        assert answer is not None and answer.startswith(b"-ERR"), (cut, answer)
    works(server, kind)


@each("with any octet spoilt, it is refused or is what it was; the server lives on")
def spoilt(kind):
    octets = made(kind)
    server = servers["shared"]
    for at in range(0, len(octets), 17):
        bad = bytearray(octets)
        bad[at] ^= 0x15
        show(server, kind, bytes(bad))
    works(server, kind)


KRB5_OID = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"


def framed(oid, inner):
    body = oid + inner
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return b"\x60" + length + body


def inner_token():
    octets = made("GSSAPI")
    return octets[octets.index(KRB5_OID) + len(KRB5_OID):]


for sentence, change, words in (
        ("SPNEGO's", lambda t: framed(b"\x06\x06\x2b\x06\x01\x05\x05\x02", t), "another GSS-API mechanism"),
        ("IAKERB's", lambda t: framed(b"\x06\x06\x2b\x06\x01\x05\x02\x05", b"\x05\x01" + t[2:]), "another GSS-API mechanism"),
        ("Microsoft's Kerberos'", lambda t: framed(b"\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02", t), "another GSS-API mechanism"),
        ("an AP-REP's", lambda t: framed(KRB5_OID, b"\x02\x00" + t[2:]), "no AP-REQ"),
        ("an error's", lambda t: framed(KRB5_OID, b"\x03\x00" + t[2:]), "no AP-REQ"),
        ("user-to-user's", lambda t: framed(KRB5_OID, b"\x04\x00" + t[2:]), "no AP-REQ"),
        ("that of a message protected by a context", lambda t: b"\x05\x04\0\xff\0\0\0\0" + t, "no Kerberos 5 ticket"),
        ("Kerberos' with octets behind it", lambda t: framed(KRB5_OID, t) + b"\0", ""),
        ("Kerberos' with octets behind the AP-REQ", lambda t: framed(KRB5_OID, t + b"\0\0\0"), ""),
        ("Kerberos' with a length of 2 GB", lambda t: b"\x60\x84\x7f\xff\xff\xff" + KRB5_OID + t, "cut short"),
        ("Kerberos' with an indefinite length", lambda t: b"\x60\x80" + KRB5_OID + t + b"\0\0", "cut short"),
        ("a bare AP-REQ", lambda t: t[2:], "")):
    @row(f"GSSAPI: a first token that is {sentence} is refused, and the log says so", change, words)
    def first_token(change, words):
        refused(servers["process"], "GSSAPI", change(inner_token()), words)


@row("GSSAPI: first tokens of every length from 0 to 64, of zeros, of noise, and of the beginning of a real one, are refused")
def short_tokens():
    server = servers["shared"]
    real = made("GSSAPI")
    for length in range(65):
        for octets in (bytes(length), os.urandom(length), real[:length], b"\x60" + bytes([length]) + os.urandom(length)):
            answer = show(server, "GSSAPI", octets)
            assert answer is not None and answer.startswith(b"-ERR"), (length, answer)
    works(server, "GSSAPI")


# --- expired ones, last, for they had to grow old -----------------------------------------------------------

@each("an expired ticket: the log says since when, and that the client must get a new one")
def expired(kind):
    wait_for(lambda: time.time() > expires + 21, "the ticket has expired", 60)
    refused(hasty, kind, made(kind, shortlived, stale=True), "[Ee]xpired", "of shortlived@KPOPD.TEST",
            "it expired [0-9]+ s ago", "kinit")
    works(hasty, kind)


harness.main(*servers.values(), hasty)
