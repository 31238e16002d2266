# SPDX-License-Identifier: ISC
"""The servers that are compared, each with a folder, ports, a maildrop tree and a meter of its own."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import meter

TOP = pathlib.Path(__file__).resolve().parents[2]
ROOT = os.geteuid() == 0
PASSWORD = "sesam open 7"
START_SECS = 20


def shell_lib(command, *arguments):
    """Runs a function of etc/lib.sh."""
    subprocess.run(["bash", "-c", f'. "{TOP}/etc/lib.sh"; {command} "$@"', "bash", *map(str, arguments)], check=True)


def free_port():
    """Below the range the kernel takes for outgoing connections."""
    for port in range(21000 + os.getpid() % 1000 * 10, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in free_port.given:
            free_port.given.add(port)
            return port
    raise OSError("no free port")


free_port.given = set()


class Server:
    """One competitor. realm is None, or where tests/system/realm.sh made a realm."""

    name = title = ""
    works = ()  # what it can do

    def __init__(self, work_dir, build, realm, mail):
        self.dir, self.build, self.realm = work_dir / self.name, build, realm
        self.dir.mkdir()
        self.dir.chmod(0o755)
        self.ports = {"pop3": free_port(), "pop3s": free_port(), "kpop": free_port()}
        self.meter = meter.meter(self.name)
        self.processes = []
        self.log = open(self.dir / "log", "wb")
        self.prepare(mail)

    def prepare(self, mail):
        """Configuration, users and mail."""

    def commands(self):
        raise NotImplementedError

    def port(self, work):
        return self.ports[work.listener]

    def environ(self):
        environ = {**os.environ, "LC_ALL": "C"}
        if self.realm:
            environ["KRB5_CONFIG"] = str(self.realm / "krb5.conf")
        return environ

    def start(self):
        for command in self.commands():
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                       stderr=self.log, env=self.environ(), preexec_fn=self.meter.join)
            self.meter.watch(process.pid)
            self.processes.append(process)
        end = time.monotonic() + START_SECS
        while not self.serves():
            if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"{self.title} does not serve; see {self.dir}/log")
            time.sleep(0.05)

    def serves(self):
        try:
            with socket.create_connection(("127.0.0.1", self.ports["pop3"]), timeout=5) as probe:
                return probe.recv(3) == b"+OK"
        except OSError:
            return False

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        self.log.close()
        time.sleep(0.2)
        self.meter.close()


class Floor(Server):
    name, title = "floor", "floor"
    works = ("plain", "userpass", "fetch", "big")

    def prepare(self, mail):
        self.ports["big"] = free_port()
        self.mail = mail

    def commands(self):
        floor = self.build / "tests/bench/floor"
        yield floor, "-p", self.ports["pop3"], "-m", self.mail.small.count, "-o", self.mail.small.octets
        yield floor, "-p", self.ports["big"], "-m", self.mail.large.count, "-o", self.mail.large.octets

    def port(self, work):
        return self.ports["big" if work.name == "big" else "pop3"]


class Dovecot(Server):
    name, title = "dovecot", "Dovecot as shipped"
    works = ("plain", "userpass", "gssapi", "tls", "fetch", "big", "bigtls", "stat", "list", "idle", "idletls")
    tuning = ""

    @staticmethod
    def installed():
        return ROOT and shutil.which("dovecot", path="/usr/sbin:/usr/bin:/usr/local/sbin") is not None

    def prepare(self, mail):
        mail.plant(self.dir / "mail", "kpopd")
        shell_lib("make_certificate", self.dir)
        passwd = self.dir / "passwd"
        passwd.write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in mail.users()))
        passwd.chmod(0o644)
        gssapi = ""
        if self.realm:
            shutil.copy(self.realm / "krb5.keytab", self.dir / "keytab")
            (self.dir / "keytab").chmod(0o644)
            gssapi = f"auth_krb5_keytab = {self.dir}/keytab\nauth_gssapi_hostname = \"$ALL\"\n" \
                     f"import_environment = TZ KRB5_CONFIG={self.realm}/krb5.conf\n"
        (self.dir / "dovecot.conf").write_text(f"""
            base_dir = {self.dir}/run
            state_dir = {self.dir}/state
            log_path = {self.dir}/dovecot.log
            protocols = pop3
            listen = 127.0.0.1
            ssl = yes
            ssl_cert = <{self.dir}/cert.pem
            ssl_key = <{self.dir}/key.pem
            disable_plaintext_auth = no
            auth_mechanisms = plain {"gssapi" if gssapi else ""}
            auth_username_format = %n
            {gssapi}
            mail_location = maildir:%h/Maildir
            first_valid_uid = 1
            passdb {{
              driver = passwd-file
              args = scheme=PLAIN username_format=%n {passwd}
            }}
            userdb {{
              driver = static
              args = uid=kpopd gid=kpopd home={self.dir}/mail/%n allow_all_users=yes
            }}
            service pop3-login {{
              process_limit = 1024
              inet_listener pop3 {{
                port = {self.ports["pop3"]}
              }}
              inet_listener pop3s {{
                port = {self.ports["pop3s"]}
                ssl = yes
              }}
            }}
            service pop3 {{
              process_limit = 1024
            }}
            {self.tuning}
        """)

    def commands(self):
        yield shutil.which("dovecot", path="/usr/sbin:/usr/bin:/usr/local/sbin"), "-F", "-c", self.dir / "dovecot.conf"


class DovecotTuned(Dovecot):
    """Processes that serve many users one after the other, as its own guide for high performance has it."""

    name, title = "dovecot-tuned", "Dovecot tuned"
    tuning = """
            pop3_no_flag_updates = yes
            maildir_very_dirty_syncs = yes
            service pop3-login {
              service_count = 0
              client_limit = 2000
              process_min_avail = 2
            }
            service pop3 {
              service_count = 1000
              process_min_avail = 8
            }
    """


class Kpopd(Server):
    name, title, isolation = "kpopd", "kpopd process", "process"
    works = Dovecot.works + ("kpop", "biglayer")

    def prepare(self, mail):
        shell_lib("make_role_users")
        shell_lib("make_state_dirs", self.dir / "mail", self.dir / "state")
        shell_lib("make_certificate", self.dir)
        mail.plant(self.dir / "mail", "kpopd")
        self.conf = self.dir / "kpopd.conf"
        keytab = ""
        if self.realm:
            shutil.copy(self.realm / "krb5.keytab", self.dir / "keytab")
            keytab = f"keytab = '{self.dir}/keytab'\nkrb5_conf = '{self.realm}/krb5.conf'\n"
        listeners = "".join(f"listener {name} {{ protocol = {name} addresses = {{'127.0.0.1'}} port = {port} }}\n"
                            for name, port in self.ports.items() if self.realm or name != "kpop")
        self.conf.write_text(f"""hostname = 'localhost'
mail_root = '{self.dir}/mail'
state_dir = '{self.dir}/state'
run_dir = '{self.dir}'
pid_file = '{self.dir}/kpopd.pid'
certificate = '{self.dir}/cert.pem'
key = '{self.dir}/key.pem'
{keytab}plaintext = always
isolation = {self.isolation}
{listeners}""")
        for user in mail.users():
            subprocess.run([self.build / "kpopctl", "-c", self.conf, "user", "add", "-p", user], check=True,
                           input=f"{PASSWORD}\n".encode(), stdout=subprocess.DEVNULL)

    def commands(self):
        yield self.build / "kpopd", "-f", "-c", self.conf


class KpopdShared(Kpopd):
    name, title, isolation = "kpopd-shared", "kpopd shared", "shared"


ALL = {server.name: server for server in (Floor, Dovecot, DovecotTuned, Kpopd, KpopdShared)}
