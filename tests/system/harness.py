# SPDX-License-Identifier: ISC
"""What the system tests share: a realm, the real daemon, a Maildir for each user, and rows of TAP.

A test file makes a Realm and one or more Servers (each a kpopd of its own on free ports), writes
rows as functions marked @row("a sentence"), and ends with main(). KPOPD_BUILDDIR names the build
that is tested; without it, the tree itself.
"""
import atexit
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import pop3

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("KPOPD_BUILDDIR") or TOP).resolve()
ROOT = os.geteuid() == 0
SANITIZED = b"__asan_init" in (BUILD / "kpopd").read_bytes()
PASSWORD = "sesam open 7"
KINDS = ("POP3", "POP3S", "STLS")  # the ways to a POP3 session
WAIT_SECS = 45  # for anything that ought to happen at once; generous, as several builds may share the machine


def shell_lib(command, *arguments):
    """Runs a function of etc/lib.sh."""
    subprocess.run(["bash", "-c", f'. "{TOP}/etc/lib.sh"; {command} "$@"', "bash", *map(str, arguments)], check=True)


def run(*arguments, **options):
    """A program with its output as text; fails loudly unless check=False."""
    options.setdefault("check", True)
    result = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=options.pop("timeout", 60), **{k: v for k, v in options.items() if k != "check"})
    if options["check"] and result.returncode != 0:
        raise AssertionError(f"{arguments[0]} ended with {result.returncode}: {result.stdout.decode(errors='replace')}")
    return result


def wait_for(condition, what, secs=WAIT_SECS):
    """Asks until condition() is true, and returns what it gave."""
    end = time.monotonic() + secs
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {secs} s")
        time.sleep(0.02)


RESERVED = []


def free_ports(count):
    """High ports nobody listens on, neither on 127.0.0.1 nor on ::1. No other test file gets them as long as this one
    runs: it takes a while until a server is bound to them. KDCs have theirs elsewhere (realm.sh)."""
    found = []
    while len(found) < count:
        port = random.randrange(10000, 20000)
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0kpopd-test-port-{port}")
            with socket.socket() as v4, socket.socket(socket.AF_INET6) as v6:
                v4.bind(("127.0.0.1", port))
                v6.bind(("::1", port))
        except OSError:
            mark.close()
            continue
        RESERVED.append(mark)
        found.append(port)
    return found


# --- a folder and a realm for the whole file ------------------------------------------------------

WORK = pathlib.Path(tempfile.mkdtemp(prefix="kpopd-test-"))
WORK.chmod(0o755)  # the role users pass through
if os.environ.get("KPOPD_KEEP"):
    print(f"# kept: {WORK}")
else:
    atexit.register(shutil.rmtree, WORK, True)


class Realm:
    """A throw-away realm with its KDC; environ has its KRB5_CONFIG. The first one is KPOPD.TEST."""

    def __init__(self, name="KPOPD.TEST", services="KPOPD.TEST"):
        """services: the realm whose KDC has the tickets for localhost."""
        self.name = name
        self.dir = WORK / ("realm" if name == "KPOPD.TEST" else f"realm-{name}")
        self.script = HERE / "realm.sh"
        run(self.script, "start", self.dir, "", name, services)
        atexit.register(self.stop)
        self.keytab = self.dir / "krb5.keytab"
        self.environ = {**os.environ, "KRB5_CONFIG": str(self.dir / "krb5.conf"), "LC_ALL": "C",
                        "KRB5_TRACE": "/dev/null"}

    def stop(self):
        run(self.script, "stop", self.dir, check=False)

    def user(self, name, password=PASSWORD, *options, kinit=()):
        """A principal with a fresh ticket; returns the environment in which clients find it. options are kadmin's
        ("+requires_preauth": such tickets have the indicator "spake"), kinit's are kinit's."""
        run(self.script, "user", self.dir, name, password, *options)
        suffix = "" if self.name == "KPOPD.TEST" else f"-{self.name}"
        environ = {**self.environ, "KRB5CCNAME": f"FILE:{WORK}/ccache-{name.replace('/', '-')}{suffix}"}
        run("kinit", *kinit, name, input=(password + "\n").encode(), env=environ)
        return environ

    def trust(self, other):
        """Tickets of each of the two realms are good for services of the other."""
        run(self.script, "trust", self.dir, other.dir)

    def know(self, other):
        """Clients of this realm find the other's KDC."""
        run(self.script, "know", self.dir, other.dir)

    def path(self, client, server, via):
        """Clients of this realm get from realm client to realm server through the realm via."""
        run(self.script, "path", self.dir, client.name, server.name, via.name)

    def apreq(self, environ, service="pop/localhost", skew=0, stale=False):
        """A new AP-REQ behind its length, without mutual authentication. stale: the ticket may have expired."""
        result = subprocess.run([BUILD / "tests/system/mkapreq", *(["-x"] if stale else []), "-s", str(skew), service], env=environ,
                                stdout=subprocess.PIPE, check=True)
        return result.stdout

    def token(self, environ, mechanism="GSSAPI", service="pop/localhost", skew=0, stale=False):
        """The first message of GSSAPI or GS2-KRB5."""
        form = {"GSSAPI": "-g", "GS2-KRB5": "-2"}[mechanism]
        options = [*(["-x"] if stale else []), form, "-s", str(skew)]
        result = subprocess.run([BUILD / "tests/system/mkapreq", *options, service], env=environ,
                                stdout=subprocess.PIPE, check=True)
        return result.stdout[4:]

    @contextlib.contextmanager
    def mutual_apreq(self, environ, service="pop/localhost"):
        """Yields (octets, verify): verify(framed AP-REP) tells whether the server proved itself."""
        child = subprocess.Popen([BUILD / "tests/system/mkapreq", "-m", service], env=environ,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def verify(reply):
            child.stdin.write(reply)
            child.stdin.close()
            return child.wait(WAIT_SECS) == 0
        head = child.stdout.read(4)
        try:
            yield head + child.stdout.read(int.from_bytes(head, "big")), verify
        finally:
            child.stdout.close()
            with contextlib.suppress(OSError):
                child.stdin.close()
            child.wait(WAIT_SECS)


# --- the daemon ---------------------------------------------------------------------------------

def listening(pids):
    """Those of these processes that hold a listening TCP socket (and show it to us)."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                sockets.add(f"socket:[{fields[9]}]")
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            if sockets.intersection(links):
                found.append(pid)
    return found


def below(top):
    """Every process below one, as (pid, parent); parents come first."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry)] = int(stat[1])
    found = [top]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return [(pid, parents.get(pid, 0)) for pid in found[1:]]


class Server:
    """One kpopd with its own folder, ports and users; options are keys of kpopd.conf(5)."""

    count = 0

    def __init__(self, realm, users=8, start=True, disk=None, ports=("pop3", "pop3s", "kpop"), listener="",
                 host="127.0.0.1", sections="", wrapper=(), **options):
        """disk: the size of a file system of its own, as mount(8) takes it, or a function that mounts one; needs root. ports: the listeners;
        listener: more keys for each of them, as they stand in the file; host: where to ask whether it serves;
        sections: more of the file, as it stands; wrapper: a command that becomes kpopd."""
        Server.count += 1
        self.realm = realm
        self.wrapper = wrapper
        self.dir = WORK / f"server{Server.count}"
        self.dir.mkdir()
        if callable(disk):
            disk(self.dir)
        elif disk:
            run("mount", "-t", "tmpfs", "-o", f"size={disk},mode=755", "kpopd-test", self.dir)
        if disk:
            atexit.register(run, "umount", "-l", self.dir, check=False)
        self.ports, self.listener, self.host, self.sections = ports, listener, host, sections
        self.mail_root, self.state_dir = self.dir / "mail", self.dir / "state"
        self.conf, self.log = self.dir / "kpopd.conf", self.dir / "log"
        self.ca = self.dir / "ca.pem"
        self.pop3_port, self.pop3s_port, self.kpop_port = free_ports(3)
        self.process = None
        self.fresh = 0
        self.delivered = 0
        self.keytab = self.dir / "keytab"
        shutil.copy(realm.keytab, self.keytab)
        shell_lib("make_certificate", self.dir)
        shell_lib("make_role_users")
        shell_lib("make_state_dirs", self.mail_root, self.state_dir)
        self.options = {"hostname": "localhost", "mail_root": self.mail_root, "state_dir": self.state_dir,
                        "run_dir": self.dir, "pid_file": self.dir / "kpopd.pid",
                        "certificate": self.dir / "cert.pem", "key": self.dir / "key.pem",
                        "keytab": self.keytab, "krb5_conf": realm.dir / "krb5.conf",
                        "mechanisms": ["GSSAPI", "CRAM-MD5", "GS2-KRB5-PLUS", "GS2-KRB5", "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS",
                                       "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"],
                        "isolation": "process", "plaintext": "always", "apop": True, "refusal_msecs": 100,
                        "log_debug": True, **options}
        self.write_conf()
        self.users = [f"u{i}" for i in range(users)]
        for user in ["alice", *self.users]:
            self.add_user(user)
        if start:
            self.start()
        atexit.register(self.kill)

    # configuration

    @staticmethod
    def conf_lines(options):
        """Keys of a configuration; a dictionary is sections of one kind by their titles."""
        lines = []
        for key, value in options.items():
            if isinstance(value, dict):
                for title, keys in value.items():
                    lines += [f"{key} '{title}' {{", *Server.conf_lines(keys), "}"]
                continue
            if isinstance(value, bool):
                text = "true" if value else "false"
            elif isinstance(value, int):
                text = str(value)
            elif isinstance(value, (list, tuple)):
                text = "{" + ", ".join(f"'{v}'" for v in value) + "}"
            else:
                text = f"'{value}'"
            if value is not None:
                lines.append(f"{key} = {text}")
        return lines

    def write_conf(self):
        lines = self.conf_lines(self.options)
        for name in self.ports:
            port = getattr(self, f"{name}_port")
            lines.append(f"listener {name} {{ protocol = {name} addresses = {{'127.0.0.1', '::1'}} port = {port} "
                         f"{self.listener} }}")
        self.conf.write_text("\n".join(lines) + "\n" + self.sections)

    def add_user(self, user, password=PASSWORD, plain=True):
        """A secret for user; plain also keeps what CRAM-MD5 and APOP need."""
        run(BUILD / "kpopctl", "-c", self.conf, "user", "add", *(["-p"] if plain else []), user,
            input=(password + "\n").encode())

    # its life

    def start(self, wait=True):
        environ = {**os.environ, "KRB5CCNAME": "FILE:/nonexistent"}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.wrapper, BUILD / "kpopd", "-f", "-c", self.conf], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environ)
        if wait:
            wait_for(self.serves, "kpopd serves")

    def serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"kpopd ended with {self.process.returncode}:\n{self.log_text()[-2000:]}")
        try:
            with pop3.Client(self.pop3_port, host=self.host) as client:
                return client.greeting.startswith(b"+OK")
        except (OSError, AssertionError):
            return False

    def stop(self):
        """SIGTERM; every process must go. Returns the exit status."""
        family = [pid for pid, _ in self.family()]
        self.process.terminate()
        status = self.process.wait(WAIT_SECS)
        wait_for(lambda: not [pid for pid in family if alive(pid)], f"all of {family} gone")
        return status

    def kill(self):
        if self.process and self.process.poll() is None:
            family = [pid for pid, _ in self.family()]
            for pid in [self.process.pid, *family]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(WAIT_SECS)

    def restart(self):
        self.stop()
        self.start()

    def reload(self, expect="configuration taken"):
        """SIGHUP, and wait until the log says how it went, and the old processes take no more clients;
        returns what the log says."""
        before = len(self.log_text())
        old = [pid for pid, _ in self.family()]
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: expect in self.log_text()[before:], f"the log says {expect!r} after SIGHUP")
        if expect == "configuration taken":
            wait_for(lambda: not listening(old), f"none of {old} listens any more")
        return self.log_text()[before:]

    def family(self):
        """Every process below master, as (pid, parent); parents come first."""
        return below(self.process.pid)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # mail

    def user(self, *messages):
        """The next of our users, round and round; has these messages in new/, in that order, and no others."""
        name = self.users[self.fresh % len(self.users)]
        self.fresh += 1
        for part in ("new", "cur"):
            for old in (self.maildir(name) / part).glob("*"):
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for message in messages:
            self.deliver(name, message)
        return name

    def maildir(self, user):
        return self.mail_root / user / "Maildir"

    def deliver(self, user, message, name=None):
        """Puts a message there as an MTA does; its times rise, so the order is the one of delivery."""
        maildir = self.maildir(user)
        self.delivered += 1
        name = name or f"{1700000000 + self.delivered}.M{self.delivered}P1.localhost"
        if not maildir.exists():
            for part in ("tmp", "new", "cur"):
                (maildir / part).mkdir(parents=True)
                self.own(maildir / part)
            self.own(maildir.parent)
            self.own(maildir)
        temporary = maildir / "tmp" / name
        temporary.write_bytes(message)
        self.own(temporary)
        final = maildir / ("cur" if ":2," in name else "new") / name
        temporary.rename(final)
        return final

    def own(self, path):
        if ROOT:
            shutil.chown(path, "kpopd", "kpopd")
        path.chmod(0o700 if path.is_dir() else 0o600)

    def stored(self, user):
        """The contents of the user's mail files, sorted; files may come and go meanwhile."""
        contents = []
        for part in ("new", "cur"):
            for path in (self.maildir(user) / part).glob("*"):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file():
                        contents.append(path.read_bytes())
        return sorted(contents)

    # clients

    def pop3(self, host="127.0.0.1"):
        return pop3.Client(self.pop3_port, host=host)

    def pop3s(self, host="127.0.0.1"):
        return pop3.Client(self.pop3s_port, host=host, ca=self.ca)

    def kpop(self, host="127.0.0.1"):
        return pop3.Client(self.kpop_port, host=host, greeting=False)

    def connect(self, kind):
        """A client that has read its greeting; kind is one of KINDS."""
        if kind == "POP3S":
            return self.pop3s()
        client = self.pop3()
        return client.stls(self.ca) if kind == "STLS" else client

    def logged_in(self, user, client=None):
        """A session in TRANSACTION; waits when an earlier session is not quite over."""
        client = client or self.pop3()
        end = time.monotonic() + WAIT_SECS
        while True:
            client.expect(f"USER {user}", "+OK")
            answer = client.command(f"PASS {PASSWORD}")
            if answer.startswith(b"+OK"):
                return client
            assert answer.startswith(b"-ERR [IN-USE]") and time.monotonic() < end, answer
            time.sleep(0.05)


def kpop_service(port):
    """How fetchmail finds our port under the name kpop: a view of /etc/services of its own, as words to put before
    it, or a plugin for its poll line. It also asks for its own host's whole name, which many a machine does not
    know; that view has one."""
    services = WORK / "services"
    services.write_text(f"kpop\t{port}/tcp\n")
    namespace = ["unshare", "--mount", "--uts"] + ([] if ROOT else ["--map-root-user"])
    inside = namespace + ["sh", "-c", 'mount --bind "$0" /etc/services && hostname test.localhost && exec "$@"', str(services)]
    if subprocess.run(inside + ["true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return inside, ""
    script = WORK / "connect"
    script.write_text(f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3\n")
    return [], f'plugin "bash {script}"'


@contextlib.contextmanager
def failing(server, role, calls, error):
    """Inside, these system calls fail with error in every process of a role, new ones too. Needs root and strace."""
    def processes():
        found = []
        for pid, _ in server.family():
            with contextlib.suppress(OSError):
                fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status", encoding="ascii"))
                if fields["Name"].strip() == role and alive(pid):
                    found.append((pid, int(fields["TracerPid"])))
        return found
    def hold():
        # The call is changed into getpid, for the roles' filters would not let through what strace makes of it.
        strace = subprocess.Popen(["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={calls}",
                                   "-e", f"inject={calls}:error={error}:syscall=getpid",
                                   *[word for pid, _ in processes() for word in ("-p", str(pid))]])
        try:
            wait_for(lambda: processes() and all(tracer == strace.pid for _, tracer in processes()), "strace", 2)
        except AssertionError:  # a process was born while strace took hold of its parent
            strace.terminate()
            strace.wait(WAIT_SECS)
            return None
        return strace
    strace = wait_for(hold, "strace holds the role")
    try:
        yield
    finally:
        strace.terminate()
        strace.wait(WAIT_SECS)


def comm(pid):
    """The name of a process; "" when it has ended since it was listed."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- rows ---------------------------------------------------------------------------------------

ROWS = []


def row(sentence, *arguments):
    """Marks a function as a row; with arguments, they are passed to it."""
    def mark(function):
        ROWS.append((sentence, lambda: function(*arguments)))
        return function
    return mark


def add_row(sentence, function, *arguments):
    ROWS.append((sentence, lambda: function(*arguments)))


def complaints(servers):
    """What sanitizers wrote, in any role."""
    words = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion")
    return [line for server in servers for line in server.log_text().splitlines() if any(w in line for w in words)]


def main(*servers):
    """Runs the rows, then ends the servers; exits with 1 when a row failed."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [(s, f) for s, f in ROWS if only in s]

    def no_complaints():
        assert not complaints(servers), "\n".join(complaints(servers)[:10])

    def all_end():
        for server in servers:
            if server.process and server.process.poll() is None:
                status = server.stop()
                assert status == 0, f"exit status {status}"
    chosen.append(("every kpopd ends cleanly at SIGTERM, with all its processes", all_end))
    chosen.append(("no process wrote a sanitizer's report", no_complaints))
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, (sentence, function) in enumerate(chosen, 1):
        began = time.monotonic()
        try:
            function()
            print(f"ok {number} - {sentence}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {sentence}")
            print("\n".join("#   " + line for line in traceback.format_exc(-4).splitlines()), flush=True)
        took = time.monotonic() - began
        if took > 5:
            print(f"# took {took:.1f} s", flush=True)
    if failed:
        for server in servers:
            print(f"# --- end of {server.log}")
            print("\n".join("#   " + line for line in server.log_text().splitlines()[-40:]), flush=True)
    sys.exit(1 if failed else 0)
