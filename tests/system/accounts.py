# SPDX-License-Identifier: ISC
"""Real accounts for system tests: a private view of /etc in which useradd(8) works, so that none is left behind.

To be imported before harness: it runs the test anew where /etc is a copy. Where that cannot be, accounts are made
in the machine's own files, and removed."""
import atexit
import fcntl
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

PRIVATE = "KPOPD_PRIVATE_ETC"


def _private_etc():
    """Runs this test again with a copy of /etc that only it and its children see."""
    if os.geteuid() != 0 or os.environ.get(PRIVATE) is not None:
        return
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return
    with tempfile.TemporaryDirectory(prefix="kpopd-etc-") as copy:
        shell = 'cp -a /etc/. "$0" && mount --bind "$0" /etc && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", shell, copy, sys.executable, *sys.argv]
        status = subprocess.run(command, env={**os.environ, PRIVATE: copy}, check=False).returncode
    sys.exit(status if status >= 0 else 1)


_private_etc()

import harness  # noqa: E402  pylint: disable=wrong-import-position

HOMES = harness.WORK / "home"
LOCK = tempfile.gettempdir()
TURN = os.open(f"{LOCK}/kpopd-accounts.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600) if harness.ROOT and PRIVATE not in os.environ else -1


def tool(*arguments):
    return harness.run("flock", LOCK, *arguments)


def account(name, *options, uid=None, home=None, mode=0o700):
    """A new account with a home; returns its passwd(5) entry. home: another place, or None for HOMES/name."""
    HOMES.mkdir(exist_ok=True)
    place = pathlib.Path(home or HOMES / name)
    if PRIVATE not in os.environ:  # one test at a time; what an earlier one left behind goes
        fcntl.flock(TURN, fcntl.LOCK_EX)
        subprocess.run(["flock", LOCK, "userdel", "--force", name], stderr=subprocess.DEVNULL, check=False)
    tool("useradd", "--badname", "--no-log-init", "--home-dir", place, "--shell", "/usr/sbin/nologin", "--user-group",
         *(["--uid", str(uid), "--non-unique"] if uid is not None else []), *options, name)
    if PRIVATE not in os.environ:
        atexit.register(subprocess.run, ["flock", LOCK, "userdel", "--force", name], stderr=subprocess.DEVNULL, check=False)
    entry = pwd.getpwnam(name)
    if home is None:
        place.mkdir(mode=mode)
        os.chown(place, entry.pw_uid, entry.pw_gid)
    return entry


class Server(harness.Server):
    """A kpopd whose users are accounts, with Maildirs in their homes unless options say otherwise."""

    def __init__(self, realm, accounts, **options):
        self.accounts = {name: pwd.getpwnam(name) for name in accounts}
        options.setdefault("maildir", "%h/Maildir")
        start = options.pop("start", True)
        super().__init__(realm, users=0, start=False, mail_users="system", **options)
        self.users = list(accounts)
        for name in accounts:
            self.add_user(name)
        if start:
            self.start()

    def home(self, user):
        return pathlib.Path(self.accounts[user].pw_dir)

    def maildir(self, user):
        return self.home(user) / "Maildir"

    def state(self, user):
        return self.state_dir / "users" / user

    def own(self, path, user=None):
        path.chmod(0o700 if path.is_dir() else 0o600)
        shutil.chown(path, self.accounts[user].pw_uid, self.accounts[user].pw_gid)

    def deliver(self, user, message, name=None):
        maildir = self.maildir(user)
        self.delivered += 1
        name = name or f"{1700000000 + self.delivered}.M{self.delivered}P1.localhost"
        if not maildir.exists():
            for part in ("tmp", "new", "cur"):
                (maildir / part).mkdir(parents=True)
                self.own(maildir / part, user)
            self.own(maildir, user)
        final = maildir / ("cur" if ":2," in name else "new") / name
        temporary = maildir / "tmp" / name
        temporary.write_bytes(message)
        self.own(temporary, user)
        temporary.rename(final)
        return final
