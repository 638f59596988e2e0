# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A Dovecot of one's own: users with the password "pw", Maildirs below FOLDER/mail, IMAP on a port of the loopback.

    with dovecot.Dovecot(folder, layout="fs") as server:
        client = server.login("xandros@example.com")

`extra` is added to its configuration; {tls} there is a port that is free.

As root it runs its mail as user "mail" (Dovecot refuses root); `own` gives a folder to that one.
"""
import imaplib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

CONF = """
protocols = imap
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{d}/mail/%u{layout}
mail_uid = {user}
mail_gid = {user}
first_valid_uid = 1
default_login_user = {login}
default_internal_user = {internal}
maildir_copy_with_hardlinks = no
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password=pw
}}
userdb {{
  driver = static
  args = home={d}/home/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


def present():
    return os.geteuid() == 0 and shutil.which("dovecot") is not None


class Dovecot:
    def __init__(self, folder, layout="", extra=""):
        self.d = pathlib.Path(folder)
        self.owner = pwd.getpwnam("mail")
        for sub in ("", "mail", "home", "state", "run"):
            (self.d / sub).mkdir(exist_ok=True)
        self.d.chmod(0o755)
        for sub in ("mail", "home"):
            os.chown(self.d / sub, self.owner.pw_uid, self.owner.pw_gid)
        known = {p.pw_name for p in pwd.getpwall()}
        self.process, self.port, self.tls, self.extra = None, 0, 0, extra
        self.layout, self.users = layout, ("dovenull" if "dovenull" in known else "nobody",
                                           "dovecot" if "dovecot" in known else "mail")

    def start(self):
        with socket.socket() as s, socket.socket() as t:
            for one in (s, t):
                one.bind(("127.0.0.1", 0))
            self.port, self.tls = s.getsockname()[1], t.getsockname()[1]
        conf = self.d / "conf"
        conf.write_text(CONF.format(d=self.d, user="mail", port=self.port, login=self.users[0], internal=self.users[1],
                                    layout=":LAYOUT=fs" if self.layout == "fs" else "")
                        + self.extra.replace("{tls}", str(self.tls)))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(conf)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise AssertionError("dovecot does not start:\n" + self.log())

    def log(self):
        try:
            return (self.d / "log").read_text()
        except OSError:
            return ""

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
        self.process = None

    __exit__ = lambda self, *_: self.stop()  # noqa: E731

    def __enter__(self):
        return self.start()

    def login(self, user):
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        client.login(user, "pw")
        return client

    def maildir(self, user):
        return self.d / "mail" / user

    def own(self, path):
        for top, folders, files in os.walk(path):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(top, name), self.owner.pw_uid, self.owner.pw_gid)
