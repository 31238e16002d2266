#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Logins that are tied to their TLS connection (RFC 5801, 5802, 5929, 9266), by the clients' own libraries, and
those that somebody in the middle would make of them."""
import base64
import os
import pty
import re
import select
import subprocess
import time

import gssapi
from gssapi.raw import ChannelBindings

import harness
from binding import Cyrus, Gnu, Middle, connect, talk, ticket
from harness import PASSWORD, WORK, add_row, row, run, wait_for

SCRAMS = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
BINDING = ("GS2-KRB5", *SCRAMS)
MECHANISMS = ["GSSAPI", *(name for base in BINDING for name in (f"{base}-PLUS", base)), "CRAM-MD5", "PLAIN"]
TYPES = {"TLS 1.2": ("tls-unique", "tls-server-end-point"), "TLS 1.3": ("tls-exporter", "tls-server-end-point")}
FIRST = {version: types[0] for version, types in TYPES.items()}
SPENT = b"-ERR channel binding has served its one attempt on this connection; connect again"
NO_SUCH = b"-ERR mechanism not offered here"

realm = harness.Realm()
tickets = {user: realm.user(user) for user in ("u0", "u1", "u2", "u3")}
COMMON = {"users": 4, "mechanisms": MECHANISMS, "refusal_msecs": 0}
servers = {isolation: harness.Server(realm, isolation=isolation, **COMMON) for isolation in ("process", "shared")}
server = servers["process"]
required = harness.Server(realm, channel_binding="require", gssapi_channel_binding="require", **COMMON)
off = harness.Server(realm, channel_binding="off", **COMMON)
ruled = harness.Server(realm, **COMMON, channel_binding="off", gssapi_channel_binding="accept", channel_binding_rule={
    "old": {"mechanisms": ["SCRAM-SHA-1"], "networks": ["127.0.0.0/8"], "policy": "allow"},
    "v4": {"networks": ["127.0.0.0/8"], "policy": "require"},
    "late": {"networks": ["127.0.0.1"], "policy": "off"},
})
plain_only = harness.Server(realm, **{**COMMON, "mechanisms": ["SCRAM-SHA-256", "GS2-KRB5"]})
nameless = harness.Server(realm, gssapi_channel_binding="require", start=False, **COMMON)
run("openssl", "req", "-x509", "-newkey", "ed25519", "-noenc", "-days", "30", "-subj", "/CN=localhost",
    "-keyout", nameless.dir / "key.pem", "-out", nameless.dir / "cert.pem")
nameless.start()
run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "30", "-subj", "/CN=localhost",
    "-keyout", WORK / "middle.key", "-out", WORK / "middle.crt")
everyone = [*servers.values(), required, off, ruled, plain_only, nameless]


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


def attempt(client, mechanism, user="u0", bound=None, library=Cyrus, initial=True, name=None, password=PASSWORD, **options):
    """The server's last word to a client's library that binds to one of the connection's values, or to none."""
    value = (bound, client.bindings[bound]) if isinstance(bound, str) else bound
    with ticket(tickets[user]):
        secret = "" if mechanism.startswith("GS") else password
        return talk(client, library(mechanism, user, secret, binding=value, **options), initial, name)


def scram(client, user="u0", base="SCRAM-SHA-256", plus=True, header=None, data=b"", bound=None, initial=True):
    if bound:
        header, data = f"p={bound},,", client.bindings[bound]
    return client.auth_scram(user, PASSWORD, SCRAMS[base], base + ("-PLUS" if plus else ""), initial, header or "n,,", data)


def logs_in(connection, login):
    """login(client) ends in +OK, once the session before it has let go of the maildrop."""
    end = time.monotonic() + harness.WAIT_SECS
    while True:
        with connection() as client:
            answer = login(client)
            if answer.startswith(b"+OK"):
                client.expect("QUIT", "+OK")
                return
            assert answer.startswith(b"-ERR [IN-USE]") and time.monotonic() < end, answer


def refused(answer):
    assert answer == b"-ERR [AUTH] authentication failed", answer


def why(server, before, text):
    wait_for(lambda: text in server.log_text()[before:], f"the log says {text!r}")


# --- clients that bind ------------------------------------------------------------------------------

def binds(server, kind, version, type, library, mechanism, options):
    logs_in(lambda: connect(server, kind, version),
            lambda c: attempt(c, mechanism, bound=type, library=library, **options))


for isolation, one in servers.items():
    for version, types in TYPES.items():
        for kind in ("STLS", "POP3S"):
            for type in types:
                for base in BINDING:
                    add_row(f"Cyrus SASL: {base} bound to {type} ({version}, {kind}, {isolation})", binds, one, kind, version,
                            type, Cyrus, f"{base}-PLUS", {})
            for base in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
                add_row(f"GNU SASL: {base} bound to {types[0]} ({version}, {kind}, {isolation})", binds, one, kind, version,
                        types[0], Gnu, f"{base}-PLUS", {})
for base in BINDING:
    add_row(f"a client that gives {base} its whole name binds as well", binds, server, "STLS", "TLS 1.3", "tls-exporter",
            Cyrus, f"{base}-PLUS", {"name": f"{base}-PLUS"})
    add_row(f"{base}-PLUS without an initial response", binds, server, "STLS", "TLS 1.3", "tls-exporter",
            Cyrus, f"{base}-PLUS", {"initial": False, "name": f"{base}-PLUS"})
    add_row(f"a client that chooses from CAPA's list binds by {base}", binds, server, "POP3S", "TLS 1.3", "tls-exporter",
            Cyrus, f"{base}-PLUS {base}", {"critical": False})
    add_row(f"{base} by a client that cannot bind", binds, server, "POP3S", "TLS 1.3", None, Cyrus, base, {})
add_row("GNU SASL: GS2-KRB5, which it has without binding", binds, server, "STLS", "TLS 1.3", None, Gnu, "GS2-KRB5", {})


@row("a client without libraries binds to what RFC 9266 and RFC 5929 say")
def by_hand():
    for version, types in TYPES.items():
        for type in types:
            for base in SCRAMS:
                logs_in(lambda: connect(server, "POP3S", version), lambda c: scram(c, base=base, bound=type))


@row("CAPA shows -PLUS under TLS only, on one line that a client can read")
def capabilities():
    for one in servers.values():
        with one.pop3() as client:
            assert client.capabilities()["SASL"] == [name.encode() for name in MECHANISMS if "PLUS" not in name]
            client.expect("AUTH SCRAM-SHA-256-PLUS", "-ERR mechanism not offered here")
        for kind in ("STLS", "POP3S"):
            with connect(one, kind) as client:
                shown = client.capabilities()["SASL"]
                assert shown == [name.encode() for name in MECHANISMS] and len(b" ".join(shown)) < 500
                assert [line.encode() for line in MECHANISMS] == client.listing("AUTH")


@row("what the configuration offers by itself is in one line too, GSSAPI where fetchmail finds it")
def by_default():
    one = harness.Server(realm, **{**COMMON, "mechanisms": None})
    try:
        with connect(one) as client:
            shown = client.capabilities()["SASL"]
            assert shown[0] == b"GSSAPI" and b"SCRAM-SHA-512-PLUS" in shown and b"GS2-KRB5-PLUS" in shown, shown
        logs_in(lambda: connect(one), lambda c: attempt(c, "SCRAM-SHA-512-PLUS", bound="tls-exporter"))
    finally:
        one.stop()


# --- somebody in the middle ---------------------------------------------------------------------------

def in_the_middle(version, type, base, own):
    """own: the middle has the server's certificate and key, so that its TLS has the same end point."""
    files = (server.dir / "cert.pem", server.dir / "key.pem") if own else (WORK / "middle.crt", WORK / "middle.key")
    with Middle(server, *files, version) as middle, connect(server, "POP3S", version, port=middle.port) as client:
        assert f"{base}-PLUS".encode() in client.capabilities()["SASL"]
        answer = attempt(client, f"{base}-PLUS", "u1", bound=type)
    if own and type == "tls-server-end-point":
        assert answer.startswith(b"+OK"), answer  # it is the end point, for all that can be seen
    else:
        refused(answer)


for version, types in TYPES.items():
    for type in types:
        for base in BINDING:
            add_row(f"in the middle with another certificate: {base} bound to {type} is refused ({version})", in_the_middle,
                    version, type, base, False)
for version, types in TYPES.items():
    for base in ("SCRAM-SHA-256", "GS2-KRB5"):
        add_row(f"in the middle with the server's own key: {base} bound to {types[0]} is refused ({version})", in_the_middle,
                version, types[0], base, True)
add_row("but one bound to the certificate is not, as that is all it says", in_the_middle, "TLS 1.3", "tls-server-end-point",
        "SCRAM-SHA-512", True)


@row("in the middle, a login that is not bound passes, unless the site requires it")
def unbound_in_the_middle():
    for one in (server, required):
        with Middle(one, WORK / "middle.crt", WORK / "middle.key") as middle, connect(one, "POP3S", port=middle.port) as client:
            answer = attempt(client, "SCRAM-SHA-256", "u2")
        assert answer.startswith(b"+OK" if one is server else b"-ERR"), answer


@row("the middle cannot hide -PLUS from a client that could bind: the server hears of it, and refuses")
def downgrade():
    def hide(octets):
        return re.sub(rb" [A-Z0-9-]+-PLUS\b", b"", octets)
    for base in ("SCRAM-SHA-256", "GS2-KRB5"):
        before = len(server.log_text())
        with Middle(server, WORK / "middle.crt", WORK / "middle.key", change=hide) as middle, \
                connect(server, "POP3S", port=middle.port) as client:
            shown = client.capabilities()["SASL"]
            assert base.encode() in shown and f"{base}-PLUS".encode() not in shown
            refused(attempt(client, f"{base} PLAIN", "u1", bound="tls-exporter", critical=False))
        why(server, before, "the client was made to think that channel binding is not offered here")


@row("what was bound to one connection serves on no other, be it to the same server")
def another_connection():
    for version, types in TYPES.items():
        with connect(server, "POP3S", version) as first, connect(server, "POP3S", version) as second:
            assert first.bindings[types[0]] != second.bindings[types[0]]
            for base in BINDING:
                with connect(server, "POP3S", version) as client:
                    refused(attempt(client, f"{base}-PLUS", bound=(types[0], first.bindings[types[0]])))


# --- flags and types ------------------------------------------------------------------------------------

for sentence, plus, header in (
        ("no type under -PLUS", True, "n,,"), ("not asked under -PLUS", True, "y,,"),
        ("not asked, where it was", False, "y,,"), ("an unknown type", True, "p=tls-something,,"),
        ("an unknown type under the plain name", False, "p=tls-something,,"),
        ("tls-unique, which TLS 1.3 has not", True, "p=tls-unique,,"), ("a type in capitals", True, "p=TLS-EXPORTER,,"),
        ("a type of no octets", True, "p=,,"), ("GS2's flag", True, "F,p=tls-exporter,,")):
    @row(f"SCRAM: {sentence} is refused", plus, header)
    def flags(plus, header):
        with connect(server) as client:
            refused(scram(client, plus=plus, header=header, data=client.bindings["tls-exporter"] if "p=" in header else b""))

for sentence, change in (("is cut", lambda value: value[:-1]), ("goes on", lambda value: value + b"\0"),
                         ("is missing", lambda value: b""), ("is another", lambda value: bytes(len(value))),
                         ("is changed", lambda value: value[:-1] + bytes([value[-1] ^ 1]))):
    @row(f"a value that {sentence} is refused", change)
    def values(change):
        for version, types in TYPES.items():
            for type in types:
                with connect(server, "POP3S", version) as client:
                    refused(scram(client, header=f"p={type},,", data=change(client.bindings[type])))
        for type in TYPES["TLS 1.3"]:
            with connect(server) as client:
                refused(attempt(client, "GS2-KRB5-PLUS", bound=(type, change(client.bindings[type]))))


@row("TLS 1.2 has no tls-exporter here")
def no_exporter():
    with connect(server, version="TLS 1.2") as client:
        exporter = client.sock.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        refused(scram(client, header="p=tls-exporter,,", data=exporter))


@row("TLS 1.2 without extended master secret has no tls-unique, but the certificate")
def no_extended_master_secret():
    for one in servers.values():
        with connect(one, version="TLS 1.2", ems=False) as client:
            assert b"SCRAM-SHA-256-PLUS" in client.capabilities()["SASL"]
            refused(scram(client, bound="tls-unique"))
        logs_in(lambda: connect(one, version="TLS 1.2", ems=False), lambda c: scram(c, bound="tls-server-end-point"))


@row("a certificate whose signature has no digest defines no binding; the others are there")
def no_end_point():
    for version in TYPES:
        with connect(nameless, version=version) as client:
            assert client.bindings["tls-server-end-point"] is None
            refused(scram(client, header="p=tls-server-end-point,,", data=bytes(32)))
        logs_in(lambda: connect(nameless, version=version), lambda c: scram(c, bound=FIRST[version]))
    with connect(nameless, version="TLS 1.2", ems=False) as client:
        shown = client.capabilities()["SASL"]
        assert not [name for name in shown if name.endswith(b"-PLUS")] and b"GSSAPI" not in shown, shown
        assert scram(client, plus=False, header="y,,").startswith(b"+OK")


@row("in clear there is nothing to bind to: p is refused, y means what it says")
def in_clear():
    with server.pop3() as client:
        refused(scram(client, plus=False, header="p=tls-exporter,,", data=bytes(32)))
        refused(scram(client, plus=False, header="p=tls-server-end-point,,", data=bytes(32)))
    logs_in(server.pop3, lambda c: scram(c, plus=False, header="y,,"))


@row("before STLS nobody was told of -PLUS; after it, everybody")
def y_around_stls():
    with connect(server) as client:
        refused(scram(client, plus=False, header="y,,"))
    logs_in(lambda: connect(plain_only), lambda c: scram(c, plus=False, header="y,,"))
    with connect(plain_only) as client:
        refused(scram(client, plus=False, bound="tls-exporter"))


# --- one attempt ----------------------------------------------------------------------------------------

for isolation, one in servers.items():
    @row(f"on TLS 1.3 a connection has one attempt to bind ({isolation})", one)
    def once(one):
        for plus in (True, False):
            with connect(one) as client:
                refused(scram(client, plus=plus, header="p=tls-exporter,,", data=bytes(32)))
                for base in BINDING:
                    assert client.command(f"AUTH {base}-PLUS") == SPENT
                shown = client.capabilities()["SASL"]
                assert shown == [name.encode() for name in MECHANISMS if "PLUS" not in name], shown
                # Whoever could bind, and now pretends that he was not asked, was driven here.
                refused(scram(client, plus=False, header="y,,"))
                refused(scram(client, plus=False, bound="tls-exporter"))
                assert client.command(b"AUTH SCRAM-SHA-1-PLUS " + b64(b"p=tls-exporter,,n=u0,r=abcdefghij")) == SPENT
                assert client.command(b"AUTH GS2-KRB5-PLUS " + b64(b"p=tls-exporter,," + bytes(1000))) == SPENT
                assert scram(client, plus=False).startswith(b"+OK")
                client.expect("QUIT", "+OK")


@row("on TLS 1.2, whose values are for the whole connection, the next attempt may bind again")
def again():
    for type in TYPES["TLS 1.2"]:
        with connect(server, version="TLS 1.2") as client:
            refused(scram(client, header=f"p={type},,", data=bytes(32)))
            assert scram(client, bound=type).startswith(b"+OK")
            client.expect("QUIT", "+OK")


@row("a client that cancels before its first message has spent nothing; after it, everything")
def cancelled():
    with connect(server) as client:
        assert client.challenge("AUTH SCRAM-SHA-256-PLUS") == b""
        client.expect("*", "-ERR")
        assert client.command(b"AUTH SCRAM-SHA-256-PLUS " + b64("p=tls-exporter,,n=u0,r=abcdefghij")).startswith(b"+ ")
        client.expect("*", "-ERR")
        assert client.command("AUTH SCRAM-SHA-256-PLUS") == SPENT


# --- who must, may, cannot --------------------------------------------------------------------------------

@row("require: CAPA shows those with -PLUS only, and in clear none that could bind")
def require_shows():
    with required.pop3() as client:
        assert client.capabilities()["SASL"] == [b"CRAM-MD5", b"PLAIN"]
    for version in TYPES:
        with connect(required, version=version) as client:
            assert client.capabilities()["SASL"] == [b"GSSAPI", *(f"{base}-PLUS".encode() for base in BINDING), b"CRAM-MD5",
                                                     b"PLAIN"]


for base in ("GSSAPI", *BINDING):
    @row(f"require: {base} is not taken in clear", base)
    def require_in_clear(base):
        with required.pop3() as client:
            assert client.command(f"AUTH {base}") == NO_SUCH
            assert client.command(f"AUTH {base} " + "QUFB" * 200) == NO_SUCH
            if base in SCRAMS:
                assert client.command(f"AUTH {base} ".encode() + b64("n,,n=u0,r=abcdefghij")) == NO_SUCH


@row("require: whoever does not bind is told so, and logs in when he does")
def require_binds():
    for header in ("n,,", "y,,", "n,a=u0,", "P=tls-exporter,,", ""):
        for initial in (True, False):
            with connect(required) as client:
                answer = scram(client, plus=False, header=header or "x", initial=initial)
                assert answer == b"-ERR channel binding is required here", answer
                assert scram(client, bound="tls-exporter").startswith(b"+OK")
                client.expect("QUIT", "+OK")
    for base in BINDING:
        for version in TYPES:
            logs_in(lambda: connect(required, version=version), lambda c: attempt(c, f"{base}-PLUS", bound=FIRST[version]))


@row("require: passwords and CRAM-MD5 are not meant")
def require_not_meant():
    logs_in(lambda: connect(required), lambda c: c.auth_plain("u0", PASSWORD))
    logs_in(lambda: connect(required), lambda c: c.auth_cram_md5("u0", PASSWORD))
    logs_in(required.pop3, lambda c: c.auth_cram_md5("u0", PASSWORD))


@row("off: no -PLUS is shown or taken, nobody is bound, and y is believed")
def policy_off():
    with connect(off) as client:
        assert not [name for name in client.capabilities()["SASL"] if b"PLUS" in name]
        for base in BINDING:
            assert client.command(f"AUTH {base}-PLUS") == NO_SUCH
        refused(scram(client, plus=False, bound="tls-exporter"))
    for header in ("n,,", "y,,"):
        logs_in(lambda: connect(off), lambda c: scram(c, plus=False, header=header))


@row("the first rule that fits a client's network and mechanism holds")
def rules():
    def shown(host):
        with connect(ruled, host=host) as client:
            return [name.decode() for name in client.capabilities()["SASL"]]
    assert shown("127.0.0.1") == ["GSSAPI", "GS2-KRB5-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS",
                                  "SCRAM-SHA-512-PLUS", "CRAM-MD5", "PLAIN"]
    assert shown("::1") == ["GSSAPI", *BINDING, "CRAM-MD5", "PLAIN"]
    with connect(ruled) as client:
        assert scram(client, plus=False) == b"-ERR channel binding is required here"
        refused(scram(client, base="SCRAM-SHA-1", plus=False, header="y,,"))
        assert scram(client, base="SCRAM-SHA-1", plus=False).startswith(b"+OK")
        client.expect("QUIT", "+OK")
    logs_in(lambda: connect(ruled, host="::1"), lambda c: scram(c, plus=False, header="y,,"))
    with connect(ruled, host="::1") as client:
        assert client.command("AUTH SCRAM-SHA-1-PLUS") == NO_SUCH
        refused(scram(client, plus=False, bound="tls-exporter"))


@row("the log says of each login what it is bound to, so that a site sees who is not")
def logged():
    def line(login):
        before = len(server.log_text())
        logs_in(lambda: connect(server), login)
        return wait_for(lambda: re.search("login user=u0 .*", server.log_text()[before:]), "a login in the log")[0]
    for type in TYPES["TLS 1.3"]:
        for base in ("SCRAM-SHA-256", "GS2-KRB5"):
            assert line(lambda c: attempt(c, f"{base}-PLUS", bound=type)).endswith(f" binding={type}")
    for base in ("SCRAM-SHA-256", "GS2-KRB5", "GSSAPI"):
        assert "binding=" not in line(lambda c: attempt(c, base))


# --- GSSAPI as Active Directory has it ------------------------------------------------------------------------

def ad(client, right=True):
    value = client.bindings["tls-server-end-point"]
    return "tls-server-end-point", b"tls-server-end-point:" + (value if right else bytes(len(value)))


@row("gssapi_channel_binding = off: what a client of GSSAPI binds to is not looked at")
def gssapi_off():
    for right in (True, False):
        logs_in(lambda: connect(server), lambda c: attempt(c, "GSSAPI", bound=ad(c, right)))


@row("gssapi_channel_binding = accept: who binds to another certificate is refused")
def gssapi_accept():
    for version in TYPES:
        logs_in(lambda: connect(ruled, version=version), lambda c: attempt(c, "GSSAPI", bound=ad(c)))
        logs_in(lambda: connect(ruled, version=version), lambda c: attempt(c, "GSSAPI"))
        with connect(ruled, version=version) as client:
            refused(attempt(client, "GSSAPI", bound=ad(client, False)))
    logs_in(ruled.pop3, lambda c: attempt(c, "GSSAPI"))


@row("gssapi_channel_binding = require: who does not bind is refused, and in clear everybody")
def gssapi_require():
    before = len(required.log_text())
    logs_in(lambda: connect(required), lambda c: attempt(c, "GSSAPI", bound=ad(c)))
    why(required, before, "binding=tls-server-end-point")
    with connect(required) as client:
        before = len(required.log_text())
        refused(attempt(client, "GSSAPI"))
        why(required, before, "the client has not bound to this connection")
        refused(attempt(client, "GSSAPI", bound=ad(client, False)))
        refused(attempt(client, "GSSAPI", bound=("tls-exporter", b"tls-exporter:" + client.bindings["tls-exporter"])))


@row("in the middle, GSSAPI bound to the certificate is refused")
def gssapi_in_the_middle():
    with Middle(ruled, WORK / "middle.crt", WORK / "middle.key") as middle, connect(ruled, "POP3S", port=middle.port) as client:
        refused(attempt(client, "GSSAPI", "u1", bound=ad(client)))


# --- GS2-KRB5 by hand -----------------------------------------------------------------------------------

def gs2(client, header, data=b"", bindings=True, user="u0", flags=gssapi.RequirementFlag.mutual_authentication, framed=False,
        plus=False, spoil=lambda token: token):
    """GS2-KRB5 with tokens of MIT's; the server's last word."""
    with ticket(tickets[user]):
        start = header.split(b"F,", 1)[-1]
        context = gssapi.SecurityContext(name=gssapi.Name("pop@localhost", gssapi.NameType.hostbased_service), usage="initiate",
                                         mech=gssapi.MechType.kerberos, flags=flags,
                                         channel_bindings=ChannelBindings(application_data=start + data) if bindings else None)
        token = spoil(context.step())
        if not framed:
            token = token[token.index(b"\x06\x09") + 11:]
        answer = client.command(b"AUTH GS2-KRB5" + (b"-PLUS " if plus else b" ") + b64(header + token))
        while answer.startswith(b"+ "):
            rest = b"" if context.complete else context.step(base64.b64decode(answer[2:])) or b""
            answer = client.command(b64(rest))
        return answer


@row("GS2-KRB5: the names that a ticket's user may act as are his own")
def gs2_authzid():
    for header in (b"n,,", b"n,a=u0,", b"F,n,,"):
        logs_in(server.pop3, lambda c: gs2(c, header, framed=header.startswith(b"F")))
    for header in (b"n,a=u1,", b"n,a=u=30,", b"n,a=u0@KPOPD.TEST=2C,", b"n,a=,", b"n,b=u0,", b"n", b"", b"n,a=u0"):
        with server.pop3() as client:
            refused(gs2(client, header))


for sentence, options in (
        ("that is not bound to its header", {"bindings": False}), ("bound to another header", {"data": b"x"}),
        ("that does not ask who the server is", {"flags": gssapi.RequirementFlag.integrity}), ("in GSS-API's frame, without the flag F", {"framed": True}),
        ("with octets behind it", {"spoil": lambda token: token + b"\0"}), ("cut short", {"spoil": lambda token: token[:-1]}),
        ("for -PLUS, not bound", {"plus": True})):
    @row(f"GS2-KRB5: a token {sentence} is refused", options)
    def gs2_refused(options):
        with connect(server) as client:
            answer = gs2(client, b"n,,", **options)
            refused(answer)


@row("GS2-KRB5: the flag F is for tokens in another frame, or in none that is missing")
def gs2_nonstandard():
    with connect(server) as client:
        refused(gs2(client, b"F,n,,"))
        refused(gs2(client, b"Fn,,", framed=True))
    logs_in(lambda: connect(server), lambda c: gs2(c, b"F,p=tls-exporter,,", c.bindings["tls-exporter"], framed=True, plus=True))


@row("GS2-KRB5: an answer to the server's last word must be empty")
def gs2_last():
    with connect(server) as client, ticket(tickets["u0"]):
        exchange = Cyrus("GS2-KRB5", "u0")
        assert client.command(b"AUTH GS2-KRB5 " + b64(exchange.first)).startswith(b"+ ")
        refused(client.command(b64("x")))


@row("GS2-KRB5: a token serves once, and a ticket for another service not at all")
def gs2_replay():
    with ticket(tickets["u0"]):
        first = b64(Cyrus("GS2-KRB5", "u0").first)
    with server.pop3() as client:
        assert client.command(b"AUTH GS2-KRB5 " + first).startswith(b"+ ")
        client.expect("*", "-ERR")
        refused(client.command(b"AUTH GS2-KRB5 " + first))
        # The same token is GSSAPI's too, in its frame; it is no fresher there.
        framed = base64.b64decode(first)[3:]
        refused(client.command(b"AUTH GSSAPI " + b64(framed)))


# --- a program that people have ----------------------------------------------------------------------------

def pop3test(version, mechanism, want):
    """Cyrus' test client, which leaves bindings alone and logs in whatever CAPA shows."""
    conf = WORK / f"openssl-{version}.cnf"
    conf.write_text("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n[client]\n"
                    f"MaxProtocol = {version.replace('TLS ', 'TLSv')}\n")
    environ = {**tickets["u3"], "OPENSSL_CONF": str(conf)}
    before = len(server.log_text())
    terminal, slave = pty.openpty()
    with subprocess.Popen(["/usr/lib/cyrus/bin/pop3test", "-s", "-m", mechanism, "-u", "u3", "-a", "u3", "-w", PASSWORD,
                           "-p", str(server.pop3s_port), "localhost"], env=environ, stdin=slave, stdout=slave,
                          stderr=slave) as child:
        os.close(slave)
        seen, end = b"", time.monotonic() + 60
        while time.monotonic() < end and b"Security strength factor" not in seen and b"failure" not in seen:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    seen += os.read(terminal, 65536)
                except OSError:
                    break
        child.kill()
    os.close(terminal)
    wait_for(lambda: want in server.log_text()[before:], f"{want!r} in the log, after {seen!r}")


add_row("pop3test: SCRAM-SHA-256 on TLS 1.2", pop3test, "TLS 1.2", "SCRAM-SHA-256", "login user=u3")
add_row("pop3test: GS2-KRB5 on TLS 1.2", pop3test, "TLS 1.2", "GS2-KRB5", "login user=u3")
add_row("pop3test: GSSAPI on TLS 1.3", pop3test, "TLS 1.3", "GSSAPI", "login user=u3")
add_row("pop3test: SCRAM-SHA-256 on TLS 1.3", pop3test, "TLS 1.3", "SCRAM-SHA-256", "login user=u3")

harness.main(*everyone)
