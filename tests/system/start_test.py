#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""How kpopd starts: its command line, the background, sockets and notices of a service manager, who runs it."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess

import harness
from harness import row

KPOPD = harness.BUILD / "kpopd"
realm = harness.Realm()
server = harness.Server(realm, users=3)
tickets = realm.user("u0")
ONE = b"Subject: one\n\nfirst\n"


def as_another(name, **options):
    """A second server that is not started yet, with the users of the first kind."""
    return harness.Server(realm, users=1, start=False, **{"hostname": name, **options})


def kpop_login(one, user="u0"):
    """A login over KPOP with a real ticket."""
    with one.kpop() as client:
        client.sendauth(realm.apreq(tickets))
        client.expect(f"USER {user}", "+OK")
        client.expect("PASS ticket", "+OK")
        client.quit()


@row("kpopd -t says that a sound configuration is sound, and starts nothing")
def test_sound():
    one = as_another("localhost")
    result = harness.run(KPOPD, "-t", "-c", one.conf)
    assert b"is sound" in result.stdout, result.stdout
    assert not (one.dir / "kpopd.pid").exists()


def manual_examples():
    """The configurations in EXAMPLES of kpopd.conf(5), as text."""
    page = (harness.TOP / "man" / "kpopd.conf.5").read_text().split(".Sh EXAMPLES")[1]
    return re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", page, re.MULTILINE | re.DOTALL)


for number, example in enumerate(manual_examples(), 1):
    @row(f"kpopd -t takes example {number} of kpopd.conf(5)", example)
    def test_example(example):
        one = as_another("localhost")
        needed = {name: value for name, value in re.findall(r"^(\w+) = (.*)$", one.conf.read_text(), re.MULTILINE)
                  if name in ("mail_root", "state_dir", "run_dir", "pid_file", "certificate", "key", "keytab", "krb5_conf")}
        for name, value in needed.items():
            example = re.sub(f"^{name} = .*\n", "", example, flags=re.MULTILINE)
            example += f"{name} = {value}\n"
        one.conf.write_text(example)
        result = harness.run(KPOPD, "-t", "-c", one.conf, check=False)
        assert result.returncode == 0, (result.stdout, example)


@row("kpopd -t names file and line of what is wrong, and ends with EX_CONFIG")
def test_unsound():
    one = as_another("localhost")
    text = one.conf.read_text()
    one.conf.write_text(f"hostname = 'localhost'\ncolour = 'blue'\n{text}")
    result = harness.run(KPOPD, "-t", "-c", one.conf, check=False)
    assert result.returncode == os.EX_CONFIG, result
    assert f"{one.conf}:2: ".encode() in result.stdout and b"colour" in result.stdout, result.stdout
    result = harness.run(KPOPD, "-t", "-c", one.dir / "nowhere", check=False)
    assert result.returncode == os.EX_CONFIG and b"nowhere" in result.stdout, result


@row("kpopd -t names what start would stumble over: no mail root, one closed to us, no user, no key, no plug-in")
def test_stumbling():
    for key, value, says in (("mail_root", "/nowhere", "is not a directory"), ("mail_root", "/root", "is closed to user"),
                             ("auth_user", "nobody-here", "useradd --system nobody-here"),
                             ("key", "/nowhere", "No such file"), ("plugins", "/nowhere.so", "No such file")):
        if not harness.ROOT and value in ("/root", "nobody-here"):
            continue
        one = as_another("localhost")
        lines = [line for line in one.conf.read_text().splitlines() if line.split("=")[0].strip() != key]
        one.conf.write_text("\n".join(lines + [f"{key} = '{value}'"]) + "\n")
        for arguments in (["-t"], []):
            result = harness.run(KPOPD, *arguments, "-c", one.conf, check=False)
            assert result.returncode != 0 and value in result.stdout.decode() and says in result.stdout.decode(), result
            assert result.returncode == os.EX_CONFIG or arguments == [], result


@row("options that do not exist, or too many words, get the usage and EX_USAGE; -V the version")
def usage():
    for arguments in (["-x"], ["word"], ["-c"]):
        result = harness.run(KPOPD, *arguments, check=False)
        assert result.returncode == os.EX_USAGE and b"usage: kpopd" in result.stdout, result
    assert harness.run(KPOPD, "-V").stdout.startswith(b"kpopd 0."), "no version"


@row("in the background: the command returns when clients are served, the pid file leads to the server")
def background():
    one = as_another("localhost")
    with open(one.log, "ab") as log:
        subprocess.run([KPOPD, "-c", one.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=60)
    pid = int((one.dir / "kpopd.pid").read_text())
    try:
        with one.logged_in(one.user(ONE)) as client:
            assert client.stat()[0] == 1
            client.quit()
        assert os.getsid(pid) == pid, "not a session of its own"
    finally:
        os.kill(pid, signal.SIGTERM)
    harness.wait_for(lambda: not harness.alive(pid), "the server ends")
    assert not (one.dir / "kpopd.pid").exists()


@row("in the background: when a port is taken the command says so and ends with an error")
def background_fails():
    one = as_another("localhost")
    one.pop3_port = server.pop3_port
    one.write_conf()
    result = harness.run(KPOPD, "-c", one.conf, check=False)
    assert result.returncode == 1, result
    text = result.stdout.decode() + one.log_text()
    assert f"port {server.pop3_port}" in text and "in use" in text, text
    assert not (one.dir / "kpopd.pid").exists()


@contextlib.contextmanager
def activated(one, names):
    """kpopd with sockets and a notify socket as systemd hands them over; yields (ports, receive a notice)."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(one.dir / "notify"))
    (one.dir / "notify").chmod(0o666)
    notices.settimeout(harness.WAIT_SECS)
    # From 3 on, without holes: the shell moves them there, and has the pid that kpopd will have.
    moves = " ".join(f"{3 + i}<&{200 + i} {200 + i}<&-" for i in range(len(names)))
    script = f"exec {moves}; export LISTEN_PID=$$; exec '{KPOPD}' -f -c '{one.conf}'"
    for i, sock in enumerate(listening):
        os.dup2(sock.fileno(), 200 + i, inheritable=True)
    with open(one.log, "ab") as log:
        one.process = subprocess.Popen(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       pass_fds=[200 + i for i in range(len(names))],
                                       env={**os.environ, "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names),
                                            "NOTIFY_SOCKET": str(one.dir / "notify")})
    ports = [sock.getsockname()[1] for sock in listening]
    for i, sock in enumerate(listening):
        os.close(200 + i)
        sock.close()
    try:
        yield ports, lambda: notices.recv(1024)
    finally:
        one.kill()
        notices.close()


@row("sockets of a service manager are used by their names, over reloads too, and it is told when we serve and stop")
def service_manager():
    one = as_another("localhost")
    user = one.user(ONE)
    with activated(one, ["pop3", "pop3s", "kpop"]) as (ports, notice):
        assert notice() == b"READY=1"
        own_ports = one.pop3_port, one.pop3s_port, one.kpop_port
        one.pop3_port, one.pop3s_port, one.kpop_port = ports
        for _ in range(2):
            for client in (one.pop3(), one.pop3s()):
                with one.logged_in(user, client):
                    assert client.stat()[0] == 1
                    client.quit()
            kpop_login(one)
            one.reload()
            assert notice() == b"READY=1"
        for port in own_ports:  # what the file says of addresses counts for nothing then
            with socket.socket() as sock:
                assert sock.connect_ex(("127.0.0.1", port)) != 0, f"{port} is open too"
        one.process.terminate()
        assert notice() == b"STOPPING=1"
        assert one.process.wait(harness.WAIT_SECS) == 0


@row("nothing in the environment steers the libraries")
def hostile_environment():
    nowhere = "/nonexistent/place"
    hostile = {name: nowhere for name in (
        "KRB5_CONFIG", "KRB5_KTNAME", "KRB5RCACHEDIR", "KRB5RCACHENAME", "KRB5CCNAME", "SASL_PATH", "SASL_CONF_PATH",
        "OPENSSL_CONF", "OPENSSL_MODULES", "TMPDIR", "GSS_MECH_CONFIG", "HOME", "LOCPATH")}
    trace = harness.WORK / "trace"
    one = as_another("localhost")
    with open(one.log, "ab") as log:
        one.process = subprocess.Popen([KPOPD, "-f", "-c", one.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**os.environ, **hostile, "KRB5_TRACE": str(trace)})
    harness.wait_for(one.serves, "kpopd serves")
    with one.logged_in(one.user(ONE)) as client:
        client.quit()
    kpop_login(one)
    assert not trace.exists() or trace.stat().st_size == 0, "the Kerberos library wrote where the environment said"
    one.stop()


@row("an ordinary user can run it: every process is that user's, sandboxed, and KPOP and passwords work")
def ordinary_user():
    if not harness.ROOT:
        return  # the whole file has run so
    one = as_another("localhost")
    user = one.user(ONE)
    kpopd = shutil.copy(KPOPD, one.dir)  # the tree may lie where that user cannot go
    for path in [one.dir, *one.dir.rglob("*")]:
        if not path.is_symlink():
            shutil.chown(path, "kpopd", "kpopd")
    with open(one.log, "ab") as log:
        one.process = subprocess.Popen([kpopd, "-f", "-c", one.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       user="kpopd", group="kpopd", extra_groups=[])
    harness.wait_for(one.serves, "kpopd serves")
    uid = pwd.getpwnam("kpopd").pw_uid
    looked_at = 0
    for pid, _ in one.family():
        status = ""
        with contextlib.suppress(OSError):  # the session that showed that it serves may be ending
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        if not status or "State:\tZ" in status:
            continue
        looked_at += 1
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status, status
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, status
    assert looked_at >= 4, f"{looked_at} processes"
    with one.logged_in(user, one.pop3s()) as client:
        client.expect("DELE 1", "+OK")
        client.quit()
    assert one.stored(user) == []
    kpop_login(one)
    one.stop()


harness.main(server)
