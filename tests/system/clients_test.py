#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The clients people have, each fetching a known mail: fetchmail, curl, mpop, nmh, mutt, s-nail, getmail6, poplib."""
import contextlib
import mailbox
import os
import poplib
import pty
import select
import shutil
import ssl
import time

import harness
from harness import PASSWORD, run

realm = harness.Realm()
server = harness.Server(realm, users=2)
home = harness.WORK / "home"
home.mkdir()
environ = {**realm.user("alice"), "HOME": str(home), "FETCHMAILHOME": str(home), "SSL_CERT_FILE": str(server.ca),
           "TERM": "xterm", "XDG_CONFIG_HOME": str(home), "LC_ALL": "C.UTF-8"}
SUBJECT, BODY = b"A letter of alice's", b"Dear alice,\n.one dot\n..two dots\n.\nFrom here it ends.\nYours\n"
LETTER = b"From: bob@example.org\nTo: alice@example.org\nDate: Thu, 1 Jan 2026 10:00:00 +0000\n" \
         b"Message-ID: <1@example.org>\nSubject: " + SUBJECT + b"\n\n" + BODY


def prepared():
    """alice has one letter, nobody is logged in, and the client's folder is empty."""
    for path in list(home.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for part in ("new", "cur"):
        for path in (server.maildir("alice") / part).glob("*"):
            path.unlink()
    server.deliver("alice", LETTER)


def compare(data):
    """What a client stored: one mail, ours. Clients may add header lines, and quote From in an mbox."""
    data = data.replace(b"\r\n", b"\n").replace(b"\n>From here", b"\nFrom here")
    assert data.count(b"Subject: " + SUBJECT + b"\n") == 1, data
    head, _, body = data.partition(b"\n\n")
    assert b"Message-ID: <1@example.org>" in head, data
    assert body.rstrip(b"\n") == BODY.rstrip(b"\n"), data


def fetched(deleted):
    """Whether the letter went from the maildrop, or stayed."""
    want = [] if deleted else [LETTER]
    harness.wait_for(lambda: server.stored("alice") == want, f"the maildrop has {len(want)} letters")


def client_row(sentence, function, *arguments, deleted=True):
    def body():
        prepared()
        result = function(*arguments)
        compare(result if isinstance(result, bytes) else (home / "letters").read_bytes())
        fetched(deleted)
    harness.add_row(sentence, body)


def written(name, text):
    path = home / name
    path.write_text(text)
    path.chmod(0o600)
    return path


# --- fetchmail ------------------------------------------------------------------------------------

def fetchmail(poll, options, kpop=False):
    inside, plugin = harness.kpop_service(server.kpop_port) if kpop else ([], "")
    rc = written("fetchmailrc", f'set invisible\npoll localhost {poll} {plugin}\nuser alice is alice here no rewrite fetchall '
                 f'{options}\nmda "cat >> {home}/letters"\n')
    run(*inside, "fetchmail", "-vv", "--nosyslog", "--pidfile", home / "pid", "-f", rc, env=environ)


CHECKED = f'sslcertck sslcertfile "{server.ca}"'
KPOP = "protocol kpop auth kerberos_v5"
POP3 = f"protocol pop3 service {server.pop3_port}"
POP3S = f"protocol pop3 service {server.pop3s_port}"
for sentence, poll, options, deleted, kpop in (
        ("KPOP as it comes, with STLS and a verified certificate", KPOP, CHECKED, True, True),
        ("KPOP as it comes, keeping", KPOP, f"{CHECKED} keep", False, True),
        ("KPOP without STLS", KPOP, "sslproto ''", True, True),
        ("KPOP without STLS, keeping", KPOP, "sslproto '' keep", False, True),
        ("KPOP, keeping with UIDLs", KPOP + " uidl", f"{CHECKED} keep", False, True),
        ("GSSAPI after STLS", POP3 + " auth gssapi", CHECKED, True, False),
        ("GSSAPI in clear text", POP3 + " auth gssapi", "sslproto ''", True, False),
        ("CRAM-MD5", POP3 + " auth cram-md5", f"sslproto '' password '{PASSWORD}'", True, False),
        ("a password over POP3S", POP3S + " auth password", f"ssl {CHECKED} password '{PASSWORD}'", True, False),
        ("whatever it likes best, after STLS", POP3, f"{CHECKED} password '{PASSWORD}'", True, False),
        ("APOP", f"protocol apop service {server.pop3_port}", f"sslproto '' password '{PASSWORD}'", True, False)):
    client_row(f"fetchmail: {sentence}", fetchmail, poll, options, kpop, deleted=deleted)


# --- curl -----------------------------------------------------------------------------------------

def curl(url, *options, user=f"alice:{PASSWORD}"):
    return run("curl", "-sS", "--cacert", server.ca, "--user", user, *options, url, env=environ).stdout


CURL3, CURL3S = f"pop3://localhost:{server.pop3_port}/1", f"pop3s://localhost:{server.pop3s_port}/1"
for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "+APOP", "*"):
    login = () if mechanism == "*" else ("--login-options", f"AUTH={mechanism}")
    client_row(f"curl: {mechanism} in clear text", curl, CURL3, *login, deleted=False)
    client_row(f"curl: {mechanism} over POP3S", curl, CURL3S, *login, deleted=False)
    client_row(f"curl: {mechanism} after STLS", curl, CURL3, "--ssl-reqd", *login, deleted=False)
client_row("curl: PLAIN with an initial response", curl, CURL3S, "--sasl-ir", "--login-options", "AUTH=PLAIN", deleted=False)
for url, name, options in ((CURL3, "in clear text", ()), (CURL3S, "over POP3S", ()), (CURL3, "after STLS", ("--ssl-reqd",))):
    def curl_gssapi(url, options):
        return curl(url, "--login-options", "AUTH=GSSAPI", *options, user=":")
    client_row(f"curl: GSSAPI {name}", curl_gssapi, url, options, deleted=False)


def curl_delete():
    letter = curl(CURL3S)
    run("curl", "-sS", "--cacert", server.ca, "--user", f"alice:{PASSWORD}", "-X", "DELE", "-l", CURL3S, env=environ)
    return letter


client_row("curl: DELE removes the letter", curl_delete)


# --- mpop -----------------------------------------------------------------------------------------

def mpop(auth, port, tls, starttls, user="alice"):
    conf = written("mpoprc", f"""account kpopd
host localhost
port {port}
user {user}
password "{PASSWORD}"
auth {auth}
tls {tls}
tls_starttls {starttls}
{f'tls_trust_file {server.ca}' if tls == 'on' else ''}
keep off
received_header off
uidls_file {home}/uidls
delivery mbox {home}/letters
""")
    run("mpop", "-C", conf, "kpopd", env=environ)
    return (home / "letters").read_bytes().split(b"\n", 1)[1]


for auth in ("user", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "gssapi", "apop"):
    client_row(f"mpop: {auth} over POP3S", mpop, auth, server.pop3s_port, "on", "off")
    client_row(f"mpop: {auth} after STLS", mpop, auth, server.pop3_port, "on", "on")
for auth in ("cram-md5", "scram-sha-1", "scram-sha-256", "gssapi", "apop"):
    client_row(f"mpop: {auth} in clear text", mpop, auth, server.pop3_port, "off", "off")


# --- nmh ------------------------------------------------------------------------------------------

def inc(*options):
    (home / "Mail" / "inbox").mkdir(parents=True)
    credentials = written("netrc", f'machine localhost login alice password "{PASSWORD}"\n')
    written(".mh_profile", f"Path: {home}/Mail\ncredentials: file:{credentials}\n")
    run("/usr/bin/mh/inc", "-host", "localhost", "-user", "alice", "-truncate", *options, env=environ)
    return (home / "Mail" / "inbox" / "1").read_bytes()


for mechanism in ("GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"):
    sasl = ("-sasl", "-saslmech", mechanism)
    client_row(f"inc: {mechanism} over POP3S", inc, "-port", server.pop3s_port, "-initialtls", *sasl)
    if mechanism not in ("PLAIN", "LOGIN"):
        client_row(f"inc: {mechanism} in clear text", inc, "-port", server.pop3_port, "-notls", *sasl)
client_row("inc: USER and PASS over POP3S", inc, "-port", server.pop3s_port, "-initialtls")


# --- mutt: needs a terminal -----------------------------------------------------------------------

def on_terminal(*command, secs=30):
    """Runs a program on a terminal of its own, and returns what it drew."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execvpe(command[0], [str(word) for word in command], environ)
    screen, end = b"", time.monotonic() + secs
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            screen += data
    else:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return screen


def mutt(url, mechanism, starttls):
    password = "" if mechanism == "gssapi" else f'set pop_pass="{PASSWORD}"'
    rc = written("muttrc", f"""set pop_host="{url}" pop_authenticators="{mechanism}" pop_delete=yes
{password}
set ssl_starttls={starttls} ssl_force_tls=no ssl_ca_certificates_file="{server.ca}"
set spoolfile="{home}/letters" folder="{home}" mbox_type=mbox header_cache="" sleep_time=0 beep=no
set move=no confirmappend=no wait_key=no quit=yes
push "<fetch-mail><quit>"
""")
    (home / "letters").touch()
    screen = on_terminal("mutt", "-n", "-F", rc, "-f", home / "letters")
    data = (home / "letters").read_bytes()
    assert data, screen[-1500:].decode(errors="replace")
    return data.split(b"\n", 1)[1]


MUTT3, MUTT3S = f"pop://alice@localhost:{server.pop3_port}/", f"pops://alice@localhost:{server.pop3s_port}/"
for mechanism in ("gssapi", "scram-sha-256", "scram-sha-1", "cram-md5", "plain", "apop", "user"):
    client_row(f"mutt: {mechanism} over POP3S", mutt, MUTT3S, mechanism, "no")
for mechanism in ("gssapi", "scram-sha-256"):
    client_row(f"mutt: {mechanism} in clear text", mutt, MUTT3, mechanism, "no")
    client_row(f"mutt: {mechanism} after STLS", mutt, MUTT3, mechanism, "yes")


# --- s-nail ---------------------------------------------------------------------------------------

def s_nail(scheme, port, auth, *settings):
    words = ["s-nail", "-n", "-#", "-Sv15-compat", "-Snetrc-lookup=no", f"-Spop3-auth={auth}", "-Stls-verify=strict",
             f"-Stls-ca-file={server.ca}", "-Stls-ca-no-defaults", *settings]
    secret = "" if auth == "gssapi" else f":{PASSWORD.replace(' ', '%20')}"
    run(*words, "-f", f"{scheme}://alice{secret}@localhost:{port}",
        input=f"copy 1 {home}/letters\ndelete 1\nquit\n".encode(), env=environ)
    return (home / "letters").read_bytes().split(b"\n", 1)[1]


for auth in ("gssapi", "plain"):
    client_row(f"s-nail: {auth} over POP3S", s_nail, "pop3s", server.pop3s_port, auth)
    client_row(f"s-nail: {auth} after STLS", s_nail, "pop3", server.pop3_port, auth, "-Spop3-use-starttls")
client_row("s-nail: GSSAPI in clear text", s_nail, "pop3", server.pop3_port, "gssapi")


# --- getmail6 and poplib ----------------------------------------------------------------------------

def getmail(kind, port, *lines):
    for part in ("tmp", "new", "cur"):
        (home / "letters.d" / part).mkdir(parents=True)
        server.own(home / "letters.d" / part)
    rest = "\n".join(lines)
    tls = f"ca_certs = {server.ca}" if kind.endswith("SSLRetriever") else ""
    rc = written("getmailrc", f"""[retriever]
type = {kind}
server = localhost
port = {port}
username = alice
password = {PASSWORD}
{tls}
{rest}
[destination]
type = Maildir
path = {home}/letters.d/
{"user = kpopd" if harness.ROOT else ""}
[options]
delete = true
delivered_to = false
received = false
verbose = 2
""")
    run("getmail", f"--getmaildir={home}", f"--rcfile={rc}", env=environ)
    letters = list(mailbox.Maildir(home / "letters.d"))
    assert len(letters) == 1
    return bytes(letters[0])


client_row("getmail: a password over POP3S", getmail, "SimplePOP3SSLRetriever", server.pop3s_port)
client_row("getmail: APOP", getmail, "SimplePOP3Retriever", server.pop3_port, "use_apop = true")


def python(connect, login):
    client = connect()
    with contextlib.closing(client):
        login(client)
        assert client.stat()[0] == 1 and len(client.uidl()[1]) == 1
        lines = client.retr(1)[1]
        assert client.list(1) == b"+OK 1 %d" % sum(len(line) + 2 for line in lines)
        client.dele(1)
        client.quit()
    return b"\n".join(lines) + b"\n"


def password(client):
    client.user("alice")
    client.pass_(PASSWORD)


def stls(client):
    client.stls(ssl.create_default_context(cafile=str(server.ca)))
    password(client)


def clear_client():
    return poplib.POP3("localhost", server.pop3_port, 20)


def tls_client():
    return poplib.POP3_SSL("localhost", server.pop3s_port, timeout=20,
                           context=ssl.create_default_context(cafile=str(server.ca)))


client_row("poplib: a password over POP3S", python, tls_client, password)
client_row("poplib: a password after STLS", python, clear_client, stls)
client_row("poplib: APOP", python, clear_client, lambda client: client.apop("alice", PASSWORD))

harness.main(server)
