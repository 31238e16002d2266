# SPDX-License-Identifier: ISC
"""The servers people come from, each a real one on a Maildir or mailbox of its own: Dovecot, Courier, Cyrus.

Courier's and Cyrus' POP3 packages cannot be installed beside Dovecot's; they are fetched and unpacked, and
where that is not possible their class says so (available).
"""
import contextlib
import functools
import grp
import os
import pathlib
import poplib
import pwd
import shutil
import socket
import subprocess
import threading

import harness
from harness import PASSWORD, ROOT, WORK, run

ME = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


@functools.lru_cache(None)
def unpacked(*packages):
    """A folder with these Debian packages in it; None where they cannot be had."""
    folder = WORK / "unpacked"
    folder.mkdir(exist_ok=True)
    got = subprocess.run(["apt-get", "download", *packages], cwd=folder, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, timeout=100, check=False)
    if got.returncode != 0:
        return None
    for package in packages:
        for file in folder.glob(f"{package}_*.deb"):
            run("dpkg-deb", "-x", file, folder)
    return folder


class Pop3(contextlib.AbstractContextManager):
    """A poplib session; gives UIDLs and sizes in order."""

    def __init__(self, port, user="alice"):
        self.client = poplib.POP3("127.0.0.1", port, timeout=harness.WAIT_SECS)
        self.client.user(user)
        self.client.pass_(PASSWORD)

    def __exit__(self, *exc):
        self.client.quit()

    def uidls(self):
        return [line.split(b" ", 1)[1].decode() for line in self.client.uidl()[1]]

    def retr(self, number):
        return b"\r\n".join(self.client.retr(number)[1]) + b"\r\n"


def uidls(port, user="alice"):
    with Pop3(port, user) as session:
        return session.uidls()


class Old:
    """What they have in common: a port, a life."""

    def __init__(self, port=None):
        self.port = port or harness.free_ports(1)[0]
        Old.count = getattr(Old, "count", 0) + 1
        self.dir = WORK / f"old{Old.count}"
        self.dir.mkdir()
        self.process = None

    def __enter__(self):
        self.start()
        harness.wait_for(self.serves, f"{type(self).__name__} serves; see {self.dir}")
        return self

    def __exit__(self, *exc):
        self.stop()

    def serves(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                return probe.recv(3) == b"+OK"
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(harness.WAIT_SECS)
        harness.wait_for(lambda: not self.serves(), "the old server has ended")

    def uidls(self, user="alice"):
        return uidls(self.port, user)

    @property
    def url(self):
        return f"pop3://127.0.0.1:{self.port}"


class Dovecot(Old):
    """On the Maildirs (or what location says) beneath root, as the user kpopd runs as."""

    available = shutil.which("dovecot", path="/usr/sbin:/usr/bin") is not None

    def __init__(self, root, port=None, location=None, **settings):
        super().__init__(port)
        owner = ("kpopd", "kpopd") if ROOT else (ME, GROUP)
        self.dir.chmod(0o755)
        (self.dir / "passwd").write_text(f"master:{{PLAIN}}{PASSWORD}\n")
        (self.dir / "users").write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in ("alice", "u0", "u1", "u2", "u3")))
        alone = "" if ROOT else f"""
            default_internal_user = {ME}
            default_internal_group = {GROUP}
            default_login_user = {ME}
            service anvil {{
              chroot =
            }}
            service pop3-login {{
              chroot =
            }}
            service stats {{
              chroot =
            }}"""
        more = "\n".join(f"            {key} = {value}" for key, value in settings.items())
        (self.dir / "dovecot.conf").write_text(f"""
            base_dir = {self.dir}/run
            state_dir = {self.dir}/state
            log_path = {self.dir}/log
            protocols = pop3
            listen = 127.0.0.1
            ssl = no
            disable_plaintext_auth = no
            auth_mechanisms = plain
            auth_master_user_separator = *
            mail_location = {location or f'maildir:{root}/%n/Maildir'}
            mbox_write_locks = fcntl
            first_valid_uid = 1
{more}
            passdb {{
              driver = passwd-file
              args = {self.dir}/passwd
              master = yes
            }}
            passdb {{
              driver = passwd-file
              args = scheme=PLAIN username_format=%n {self.dir}/users
            }}
            userdb {{
              driver = static
              args = uid={owner[0]} gid={owner[1]} home={self.dir}/home/%n allow_all_users=yes
            }}
            service pop3-login {{
              inet_listener pop3 {{
                port = {self.port}
              }}
              inet_listener pop3s {{
                port = 0
              }}
            }}{alone}
        """)
        (self.dir / "home").mkdir()
        if ROOT:
            shutil.chown(self.dir / "home", "kpopd", "kpopd")

    def start(self):
        log = open(self.dir / "out", "wb")
        self.process = subprocess.Popen([shutil.which("dovecot", path="/usr/sbin:/usr/bin"), "-F", "-c",
                                         self.dir / "dovecot.conf"], stdout=log, stderr=log)
        log.close()


class Scripted(Old):
    """A poor server: what it answers to each command (without its CRLF) is said; None ends the connection. Messages
    are answered to RETR; TOP only where it is said."""

    def __init__(self, messages, **answers):
        super().__init__()
        self.messages, self.listener, self.said = messages, None, []
        count = range(1, len(messages) + 1)
        self.answers = {"CAPA": "+OK\r\nUSER\r\nUIDL\r\n.", "USER": "+OK", "PASS": "+OK", "QUIT": "+OK",
                        "UIDL": "\r\n".join(["+OK", *(f"{n} uidl{n}" for n in count), "."]),
                        "LIST": "\r\n".join(["+OK", *(f"{n} {len(messages[n - 1])}" for n in count), "."]), **answers}

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.listen, daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.session, args=(client,), daemon=True).start()

    def answer(self, verb, words):
        if verb in self.answers:
            answer = self.answers[verb]
            return answer.encode() if isinstance(answer, str) else answer
        if verb == "RETR":
            text = self.messages[int(words[1]) - 1].replace(b"\n", b"\r\n")
            return b"+OK\r\n" + b"\r\n".join(b"." + line if line.startswith(b".") else line for line in text.split(b"\r\n")) + b"."
        return b"-ERR no such command"

    def session(self, client):
        with contextlib.suppress(OSError), client, client.makefile("rb", 0) as lines, contextlib.suppress(OSError):
            client.sendall(b"+OK hello\r\n")
            for line in lines:
                words = line.decode("latin-1").split()
                self.said.append(words[0].upper())
                answer = self.answer(words[0].upper(), words)
                if answer is None:
                    return
                client.sendall(answer + b"\r\n")
                if words[0].upper() == "QUIT":
                    return


class Courier(Old):
    """courierpop3d on one Maildir: it is what Courier starts once a user is logged in, which we do for it."""

    programs = ("courier-pop", "courier-authlib", "libcourier-unicode4")

    def __init__(self, maildir, port=None):
        super().__init__(port)
        self.maildir = maildir
        self.listener = None
        self.folder = unpacked(*self.programs)

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.listen, daemon=True).start()

    def stop(self):
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.listener = None

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.session, args=(client,), daemon=True).start()

    def session(self, client):
        """The greeting and the login; then the real server has the socket."""
        with client, client.makefile("rb", 0) as lines:
            client.sendall(b"+OK Hello there.\r\n")
            for line in lines:
                verb = line.split()[0].upper() if line.split() else b""
                if verb == b"CAPA":
                    client.sendall(b"+OK Here's what I can do:\r\nTOP\r\nUSER\r\nUIDL\r\n.\r\n")
                elif verb == b"USER":
                    client.sendall(b"+OK Password required.\r\n")
                elif verb == b"PASS":
                    break
                else:
                    client.sendall(b"+OK Bye\r\n")
                    return
            else:
                return
            library = f"{self.folder}/usr/lib:{self.folder}/usr/lib/{os.uname().machine}-linux-gnu"
            environ = {**os.environ, "LD_LIBRARY_PATH": library, "AUTHADDR": "alice", "AUTHENTICATED": "alice",
                       "TCPREMOTEIP": "127.0.0.1", "TCPREMOTEPORT": "1", "HOME": str(self.dir)}
            options = {"user": "kpopd", "group": "kpopd", "extra_groups": []} if ROOT else {}
            subprocess.run([self.folder / "usr/lib/courier/courier/courierpop3d", self.maildir], stdin=client,
                           stdout=client, stderr=subprocess.DEVNULL, env=environ, cwd="/", check=False, **options)


class Cyrus(Old):
    """A whole Cyrus with one user, alice; needs root, for its own user."""

    programs = ("cyrus-pop3d", "cyrus-imapd")
    tools = pathlib.Path("/usr/lib/cyrus/bin")

    def __init__(self, port=None):
        super().__init__(port)
        self.folder = unpacked(*self.programs)
        self.imap_port = harness.free_ports(1)[0]
        self.conf = self.dir / "imapd.conf"
        self.conf.write_text("\n".join(f"{key}: {value}" for key, value in {
            "configdirectory": f"{self.dir}/conf", "partition-default": f"{self.dir}/spool",
            "defaultpartition": "default", "admins": "cyrus", "servername": "localhost",
            "sasl_pwcheck_method": "auxprop", "sasl_auxprop_plugin": "sasldb",
            "sasl_sasldb_path": f"{self.dir}/sasldb2", "sasl_mech_list": "PLAIN", "allowplaintext": "yes",
            "idlesocket": f"{self.dir}/idle", "notifysocket": f"{self.dir}/notify", "proc_path": f"{self.dir}/proc",
            "mboxname_lockpath": f"{self.dir}/lock"}.items()) + "\n")
        bin_dir = f"{self.folder}/usr/lib/cyrus/bin"
        self.ports = dict(zip(("uidonly", "dovecot", "courier"), harness.free_ports(3)))  # by uidl_format
        more = ""
        for name, its_port in self.ports.items():
            conf = self.dir / f"imapd-{name}.conf"
            conf.write_text(self.conf.read_text() + f"uidl_format: {name}\n")
            more += f'  pop3{name} cmd="{bin_dir}/pop3d -C {conf}" listen="127.0.0.1:{its_port}" prefork=0\n'
        (self.dir / "cyrus.conf").write_text(f"""
START {{
  recover cmd="{self.tools}/ctl_cyrusdb -r -C {self.conf}"
}}
SERVICES {{
  pop3 cmd="{bin_dir}/pop3d -C {self.conf}" listen="127.0.0.1:{self.port}" prefork=0
  imap cmd="{bin_dir}/imapd -C {self.conf}" listen="127.0.0.1:{self.imap_port}" prefork=0
{more}}}
EVENTS {{
}}
""")
        for name in ("conf", "conf/db", "conf/lock", "conf/log", "conf/msg", "conf/proc", "conf/ptclient", "conf/quota",
                     "conf/user", "conf/socket", "conf/sieve", "spool", "proc", "lock"):
            (self.dir / name).mkdir()
        for user in ("cyrus", "alice"):
            run("saslpasswd2", "-p", "-c", "-f", self.dir / "sasldb2", "-u", "localhost", user, input=PASSWORD.encode())
        run("chown", "-R", "cyrus:mail", self.dir)

    @staticmethod
    def available():
        return ROOT and Cyrus.tools.joinpath("master").exists() and unpacked(*Cyrus.programs) is not None

    def start(self):
        log = open(self.dir / "out", "wb")
        self.process = subprocess.Popen([self.tools / "master", "-D", "-C", self.conf, "-M", self.dir / "cyrus.conf", "-p",
                                         self.dir / "pid"], stdout=log, stderr=log)
        log.close()

    def examine(self, mailbox):
        """What mbexamine prints."""
        return run("setpriv", "--reuid", "cyrus", "--regid", "mail", "--init-groups", self.tools / "mbexamine", "-C",
                   self.conf, mailbox).stdout
