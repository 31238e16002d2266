#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The secrets: what kpopctl imports from real files of other servers, and what real logins make of it."""
import base64
import ctypes
import hashlib
import hmac
import os
import re
import subprocess

import harness
from harness import BUILD, PASSWORD, row, run

os.environ["PATH"] += ":/usr/sbin"  # saslpasswd2 is there
realm = harness.Realm()
server = harness.Server(realm, users=2, mechanisms=["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5",
                                                    "PLAIN", "LOGIN"])
FILES = harness.WORK / "files"
FILES.mkdir()


def kpopctl(*arguments, status=0, text=b""):
    """Its output, both streams; the exit status must be as expected."""
    result = run(BUILD / "kpopctl", "-c", server.conf, "user", *arguments, input=text, check=False)
    output = result.stdout.decode(errors="replace")
    assert result.returncode == status, f"exit status {result.returncode}: {output}"
    return output


def a_file(name, *lines):
    path = FILES / name
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def doveadm(scheme, *options):
    return run("doveadm", "pw", "-s", scheme, "-p", PASSWORD, *options).stdout.decode().strip()


def htpasswd(user, option):
    lines = run("htpasswd", "-nb" + option, user, PASSWORD).stdout.decode().splitlines()
    return next(line for line in lines if line.startswith(f"{user}:"))  # it warns of some, too


def users_pass(client, user, password):
    client.expect(f"USER {user}", "+OK")
    return client.command(f"PASS {password}")


SHOWN = {
    "PLAIN": lambda c, u, p: c.auth_plain(u, p),
    "LOGIN": lambda c, u, p: c.auth_login(u, p),
    "USER and PASS": users_pass,
}
SCRAM = {
    f"SCRAM-{name}": lambda c, u, p, n=name: c.auth_scram(u, p, n.replace("-", "").lower(), f"SCRAM-{n}")
    for name in ("SHA-1", "SHA-256", "SHA-512")
}
DIGESTS = {
    "CRAM-MD5": lambda c, u, p: c.auth_cram_md5(u, p),
    "APOP": lambda c, u, p: c.auth_apop(u, p),
}
EVERY = {**SHOWN, **SCRAM, **DIGESTS}


def attempt(name, user, password):
    """The answer to one login; the session before may hold the maildrop for a moment yet."""
    def answered():
        with server.pop3() if name == "APOP" else server.pop3s() as client:
            answer = EVERY[name](client, user, password)
            if answer.startswith(b"+OK"):
                client.quit()
        return None if answer.startswith(b"-ERR [IN-USE]") else answer
    return harness.wait_for(answered, f"the maildrop of {user} is free")


def check_logins(user, works, password=PASSWORD):
    """By every mechanism: those that work, twice, and a wrong password; the others refuse the right one too."""
    for name in EVERY:
        for given in (password, password, "wrong " + password):
            answer = attempt(name, user, given)
            start = b"+OK" if name in works and given == password else b"-ERR [AUTH]"
            assert answer.startswith(start), (user, name, given, answer)


# --- Dovecot's passwd-file ----------------------------------------------------------------------

for scheme in ("BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "CRYPT", "ARGON2ID", "ARGON2I", "PBKDF2"):
    @row(f"dovecot, {{{scheme}}}: logs in where the password is sent, and nowhere else", scheme)
    def dovecot_hash(scheme):
        user = "d-" + scheme.lower()
        path = a_file("dovecot", "# a comment", "", f"{user}:{doveadm(scheme)}:1000:1000::/home/{user}::userdb_x=y")
        assert "imported: 1 user" in kpopctl("import", path)
        check_logins(user, SHOWN)

for scheme in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
    @row(f"dovecot, {{{scheme}}}: logs in by that mechanism and where the password is sent", scheme)
    def dovecot_keys(scheme):
        user = "d-" + scheme.lower()
        told = kpopctl("import", a_file("dovecot", f"{user}:{doveadm(scheme)}"))
        assert "1 with SCRAM keys" in told and "SCRAM-SHA-512 will no longer be offered" in told, told
        check_logins(user, [*SHOWN, scheme])
        server.restart()  # SCRAM of keys that somebody lacks is not offered: the client would take it
        with server.pop3s() as client:
            assert client.capabilities()["SASL"] == [scheme.encode(), b"CRAM-MD5", b"PLAIN", b"LOGIN"]
        assert "SCRAM-SHA-512 will be offered" in kpopctl("del", user)
        server.restart()
        with server.pop3s() as client:
            assert b"SCRAM-SHA-512" in client.capabilities()["SASL"]


@row("keys with a short and a long salt, and many iterations, log in too")
def other_salts():
    for octets, count in (8, 4096), (32, 50000):
        salt = os.urandom(octets)
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, count)
        stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        parts = [base64.b64encode(p).decode() for p in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
        kpopctl("import", a_file("dovecot", f"salt{octets}:{{SCRAM-SHA-256}}{count},{','.join(parts)}"))
        check_logins(f"salt{octets}", [*SHOWN, "SCRAM-SHA-256"])
        kpopctl("del", f"salt{octets}")


@row("dovecot, {PLAIN}: gets keys for every SCRAM, and keeps the password only when asked to")
def dovecot_plain():
    path = a_file("dovecot", f"d-plain:{{PLAIN}}{PASSWORD}:1000:1000::::")
    kpopctl("import", path)
    check_logins("d-plain", [*SHOWN, *SCRAM])
    kpopctl("import", "--plain", "--replace", path)
    check_logins("d-plain", EVERY)
    kpopctl("import", "--keys", "SHA-256", "--replace", path)
    check_logins("d-plain", [*SHOWN, "SCRAM-SHA-256"])


@row("dovecot, {CRYPT} with yescrypt, Debian's own: logs in where the password is sent")
def yescrypt():
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    made = crypt(PASSWORD.encode(), b"$y$j9T$0123456789abcdefghijk.").decode()
    kpopctl("import", a_file("dovecot", f"yes:{{CRYPT}}{made}"))
    assert kpopctl("show", "yes") == "yescrypt\thash, 16384 KiB\nlogs in by\tPLAIN LOGIN USER\n"
    check_logins("yes", SHOWN)


@row("an Argon2 hash of as much memory as is allowed, in two lanes, is verified in auth's sandbox")
def large_argon2():
    made = ctypes.create_string_buffer(256)
    argon2 = ctypes.CDLL("libargon2.so.1").argon2id_hash_encoded
    argon2.argtypes = [ctypes.c_uint32] * 3 + [ctypes.c_char_p, ctypes.c_size_t] * 2 + [
        ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    password = PASSWORD.encode()
    assert argon2(1, 256 << 10, 2, password, len(password), b"saltsalt", 8, 32, made, len(made)) == 0
    kpopctl("import", a_file("dovecot", f"large:{{ARGON2ID}}{made.value.decode()}"))
    assert attempt("PLAIN", "large", "wrong").startswith(b"-ERR [AUTH]")
    assert attempt("PLAIN", "large", PASSWORD).startswith(b"+OK")


# --- Apache's htpasswd ----------------------------------------------------------------------------

@row("htpasswd: bcrypt and both SHA-crypts log in; MD5, SHA-1 and DES are refused by line")
def apache():
    good = [htpasswd(f"h{option.lower()}", option) for option in ("B", "5", "2")]
    assert "imported: 3 users" in kpopctl("import", a_file("htpasswd", *good))
    for option in "b52":
        check_logins(f"h{option}", SHOWN)
    path = a_file("htpasswd", *[htpasswd(f"weak{option}", option) for option in "msd"])
    told = kpopctl("import", "--format", "htpasswd", path, status=1)
    for line, word in (1, "MD5"), (2, "{SHA}"), (3, "DES"):
        assert re.search(rf"{path}:{line}: weak.: .*{re.escape(word)}.* new password", told), told


# --- Cyrus' sasldb -----------------------------------------------------------------------------------

ODD = 'back\\slash "quote" \xfcml\xe4ut '


def sasldb(name, *users):
    path = FILES / name
    for user, of_realm, password in users:
        run("saslpasswd2", "-p", "-c", "-f", path, "-u", of_realm, user, input=password.encode() + b"\n")
    return path


@row("sasldb: what db_dump makes of it, in either form, becomes users; the database itself does not")
def cyrus():
    path = sasldb("sasldb2", ("s1", "example.org", PASSWORD), ("s2", "example.org", ODD))
    assert "db5.3_dump -p" in kpopctl("import", path, status=1)
    dump = run("db5.3_dump", "-p", path).stdout
    assert "imported: 2 users, 2 with SCRAM keys" in kpopctl("import", "-", text=dump)
    check_logins("s1", [*SHOWN, *SCRAM])
    check_logins("s2", [*SHOWN, *SCRAM], ODD)
    kpopctl("import", "--replace", "--plain", "-", text=run("db5.3_dump", path).stdout)
    check_logins("s1", EVERY)
    check_logins("s2", EVERY, ODD)


@row("sasldb: of two realms one is chosen, or names keep their realms")
def two_realms():
    dump = run("db5.3_dump", "-p", sasldb("realms", ("r", "one.org", "of one"), ("r", "two.org", "of two"))).stdout
    assert "another realm" in kpopctl("import", "-", text=dump, status=1)
    assert "left out: 1 other" in kpopctl("import", "--realm", "two.org", "-", text=dump)
    check_logins("r", [*SHOWN, *SCRAM], "of two")
    kpopctl("import", "--keep-realm", "-", text=dump)
    check_logins("r@one.org", ["PLAIN", "LOGIN", "USER and PASS", *SCRAM], "of one")


# --- what cannot be imported -------------------------------------------------------------------------

BAD = [
    ("b1:{CRAM-MD5}9186d855e11eba527a7a52ca82b313e180d62234f0acc9051b527243d41e2740", "one mechanism"),
    ("b2:{SSHA512}WtbFfQ3DuvdKH/Ug8jxIc1InGqp7CbF85ZWv5oSymNXLedgF0SPpkmoxSvjb1AWQGT7lIptzWrJCf5R8Gm7VURA5PVs=", "fast"),
    ("b3:{MD5-CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "weak"),
    ("b4:{CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "MD5"),
    ("b5:{SHA512-CRYPT}$6$rounds=99000000$salt$" + "a" * 86, "cost more"),
    ("b6:{SCRAM-SHA-256}100,c2FsdHNhbHRzYWx0,YQ==,YQ==", "iterations"),
    ("b7:{SCRAM-SHA-256}4096,c2FsdHNhbHRzYWx0,YQ==,YQ==", "length"),
    ("b8:{FOO}x", "not known"),
    ("b9:secret", "SCHEME"),
    ("b10:!", "locked"),
    ("b11:", "no password"),
    ("b12", "no colon"),
    ("../b13:{PLAIN}x", "name"),
    (":{PLAIN}x", "name"),
    ("b15:{PLAIN}x:::::: nologin", "nologin"),
    ("b16:{PLAIN}x:1:1::::allow_nets=10.0.0.0/8", "allow_nets"),
    (b"b17:{PLAIN}M\xfcll", "UTF-8"),
    ("b18:{PLAIN}" + "x" * 256, "255"),
    ("b19:{PLAIN}" + "x" * 5000, "longer than 4096"),
    (b"b20:{PLAIN}a\0b", "NUL"),
    ("good:{PLAIN}again", "in line 1 already"),
    ("alice:{PLAIN}x", "a user already"),
    ("b23:{PLAIN.b64}c2VzYW0=", "not known"),
    ("\x1b[2Jb24:{PLAIN}x", "?[2Jb24"),
]


@row("every line that cannot be taken is named with its number and the reason, and nothing is written")
def bad_lines():
    path = a_file("bad", f"good:{{PLAIN}}{PASSWORD}", *[line for line, _ in BAD])
    before = kpopctl("list")
    told = kpopctl("import", "--format", "dovecot", path, status=1).splitlines()
    for number, (_, word) in enumerate(BAD, 2):
        lines = [line for line in told if f"{path}:{number}: " in line]
        assert len(lines) == 1 and word in lines[0], (number, word, lines)
    assert f"{len(BAD)} of {len(BAD) + 1} lines cannot be taken; nothing was written" in told[-1], told[-1]
    assert len(told) == len(BAD) + 1
    assert kpopctl("list") == before
    kpopctl("import", "--dry-run", "--keep-going", path, status=1)
    assert kpopctl("list") == before
    assert "imported: 1 user," in kpopctl("import", "--keep-going", path, status=1)
    check_logins("good", [*SHOWN, *SCRAM])
    assert attempt("PLAIN", "alice", PASSWORD).startswith(b"+OK")


@row("files that are none of the three are refused, and a refused import makes no secrets")
def strange_files():
    for text in (b"", b"\n# nothing\n", b"alice\n", b"alice:secret\n", os.urandom(4096), b"VERSION=3\nHEADER=END\n x\n",
                 b"VERSION=3\ngarbage\n", b"VERSION=3\nHEADER=END\n a\\00b\\00userPassword\n x\\\n"):
        kpopctl("import", "-", text=text, status=1)
    assert "No such file" in kpopctl("import", "/nonexistent", status=1)
    assert "only a sasldb" in kpopctl("import", "--realm", "x", a_file("one", "one:{PLAIN}x"), status=1)
    kpopctl("import", FILES, status=1)
    fresh = harness.WORK / "fresh.conf"
    state = harness.WORK / "fresh-state"
    fresh.write_text(server.conf.read_text().replace(str(server.state_dir), str(state)))
    for path in (a_file("bad", "b:secret:::::"), "/nonexistent"):
        result = run(BUILD / "kpopctl", "-c", fresh, "user", "import", path, check=False)
        assert result.returncode == 1
        assert not state.exists()


@row("ten thousand users and more are imported, and log in")
def many_users():
    made = doveadm("BLF-CRYPT")
    path = a_file("many", *[f"many{i}:{made}:1000:1000::::" for i in range(11000)])
    assert "imported: 11000 users" in kpopctl("import", path)
    assert kpopctl("list").count("\tbcrypt\n") >= 11000
    check_logins("many10999", ["PLAIN", "LOGIN", "USER and PASS"])
    assert "nothing was written" in kpopctl("import", path, status=1).splitlines()[-1]


# --- what is told of users --------------------------------------------------------------------------

def told(user, mechanism):
    """The first challenge of SCRAM without the nonce: salt and iterations."""
    with server.pop3s() as client:
        first = base64.b64encode(f"n,,n={user},r=abcdefghijklmnop".encode())
        challenge = client.challenge(f"AUTH {mechanism} ".encode() + first).decode()
        client.command("*")
    return dict(part.split("=", 1) for part in challenge.split(",") if not part.startswith("r="))


@row("users that are not there, or without keys of a mechanism, are told salt and iterations as all others, for ever")
def fakes():
    kpopctl("import", "--keep-going", a_file("dovecot", f"keyless:{doveadm('BLF-CRYPT')}"))
    users = ("u0", "keyless", "nobody-here", "nobody-else")
    before = {(user, mechanism): told(user, mechanism) for user in users for mechanism in SCRAM}
    for mechanism in SCRAM:
        answers = [before[user, mechanism] for user in users]
        assert all(set(a) == {"s", "i"} and a["i"] == "4096" for a in answers), answers
        assert all(len(base64.b64decode(a["s"])) == 16 for a in answers), answers
        assert len({a["s"] for a in answers}) == len(users), answers
    server.restart()
    assert before == {(user, mechanism): told(user, mechanism) for user in users for mechanism in SCRAM}


@row("iterations are each user's own; kpopctl shows what there is, and no secret")
def iterations():
    kpopctl("add", "--iterations", "20000", "--keys", "SHA-512,SHA-256", "slow", text=PASSWORD.encode())
    assert told("slow", "SCRAM-SHA-512")["i"] == "20000"
    check_logins("slow", [*SHOWN, "SCRAM-SHA-256", "SCRAM-SHA-512"])
    assert kpopctl("show", "slow") == ("SCRAM-SHA-256\tkeys, 20000 iterations\nSCRAM-SHA-512\tkeys, 20000 iterations\n"
                                       "logs in by\tPLAIN LOGIN USER SCRAM-SHA-512 SCRAM-SHA-256\n")
    assert PASSWORD not in kpopctl("show", "alice") + kpopctl("list")


@row("a new password ends what was remembered of the old one at once, for hashes too")
def changed():
    for scheme in ("BLF-CRYPT", "PLAIN"):
        kpopctl("import", "--replace", a_file("dovecot", f"changing:{doveadm(scheme)}"))
        assert attempt("PLAIN", "changing", PASSWORD).startswith(b"+OK")
        kpopctl("passwd", "changing", text=b"another")
        assert attempt("PLAIN", "changing", PASSWORD).startswith(b"-ERR [AUTH]")
        assert attempt("PLAIN", "changing", "another").startswith(b"+OK")
    kpopctl("del", "changing")
    assert attempt("PLAIN", "changing", "another").startswith(b"-ERR [AUTH]")


# --- passwords that are not ASCII ---------------------------------------------------------------------

COMPOSED, DECOMPOSED = "M\u00fcll\u00e4fer\u00aa", "Mu\u0308lla\u0308fera"


@row("a password is the same composed and decomposed, by every mechanism that shows it")
def prepared():
    kpopctl("add", "umlaut", text=DECOMPOSED.encode())
    for password in (COMPOSED, DECOMPOSED):
        for name in SHOWN:
            assert attempt(name, "umlaut", password).startswith(b"+OK")
    assert "not UTF-8" in kpopctl("add", "latin", text=COMPOSED.encode("latin-1"), status=1)


@row("a client that prepares passwords itself, GNU SASL, agrees with us")
def gnu_sasl():
    kpopctl("add", "gnu", text=COMPOSED.encode())
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        for password in (COMPOSED, DECOMPOSED):
            with server.pop3s() as client, subprocess.Popen(
                    ["gsasl", "--client", "--quiet", "--no-cb", "-m", mechanism, "-a", "gnu", "-p", password,
                     "--service", "pop", "--hostname", "localhost"], env={**os.environ, "LC_ALL": "C.UTF-8"},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gsasl:
                assert gsasl.stdout.readline().strip() == mechanism.encode()
                answer = client.command(f"AUTH {mechanism} ".encode() + gsasl.stdout.readline().strip())
                assert answer.startswith(b"+ "), answer
                gsasl.stdin.write(answer[2:].strip() + b"\n")
                gsasl.stdin.flush()
                answer = client.command(gsasl.stdout.readline().strip())
                assert answer.startswith(b"+ "), answer
                # It would end here if what the server proves were wrong.
                gsasl.stdin.write(answer[2:].strip() + b"\n")
                gsasl.stdin.flush()
                answer = client.command(b"")
                assert answer.startswith((b"+OK", b"-ERR [IN-USE]")), answer


@row("hashes of passwords in another character set fit the octets as the client sends them")
def other_sets():
    password = COMPOSED.replace("\u00aa", "").encode("latin-1")
    made = run("openssl", "passwd", "-6", "-stdin", input=password + b"\n").stdout.decode().strip()
    kpopctl("import", a_file("htpasswd", f"latin:{made}"))
    with server.pop3s() as client:
        token = base64.b64encode(b"\0latin\0" + password)
        assert client.command(b"AUTH PLAIN " + token).startswith(b"+OK")
    assert attempt("PLAIN", "latin", password.decode("latin-1")).startswith(b"-ERR [AUTH]")


harness.main(server)
