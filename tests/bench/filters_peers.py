# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Postfix, rspamd and Dovecot as one mail server, each with a configuration of its own, for filters.py. What rspamd asks of
others than the name server is off: lists, feeds, fuzzy hashes, updates, Redis; the DNS list is asked by Postfix."""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mta  # noqa: E402
from bench import Group  # noqa: E402

START = 120  # seconds for one to be ready; rspamd compiles its rules
LMTP, MILTER = 2424, 11332
HOME = "10.25.0.2"

DOVECOT_CONF = """
protocols = lmtp
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
ssl = no
hostname = mail.example.com
postmaster_address = postmaster@example.com
mail_location = maildir:{d}/mail/%n
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
userdb {{
  driver = static
  args = allow_all_users=yes home={d}/home/%n
}}
passdb {{
  driver = static
  args = nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""

RSPAMD_OFF = ("antivirus", "arc", "asn", "bimi", "clickhouse", "dcc", "dkim_signing", "elastic", "external_services", "fuzzy_check",
              "greylist", "history_redis", "mx_check", "neural", "p0f", "phishing", "ratelimit", "rbl", "replies", "reputation",
              "rspamd_update", "spamassassin", "surbl", "url_redirector")
# Its workers look at mail themselves, as many as there are CPUs, without another process between: the least work for it.
RSPAMD = {
    "options.inc": 'filters = "chartable,dkim,regexp";\nlocal_addrs = ["127.0.0.0/8"];\ndns {{ nameserver = ["{names}"]; }}\n',
    "worker-proxy.inc": 'bind_socket = "127.0.0.1:{port}";\ncount = {cpus};\nupstream "local" {{ default = yes; self_scan = yes; }}\n',
    "worker-normal.inc": "enabled = false;\n",
    "worker-controller.inc": "enabled = false;\n",
    "classifier-bayes.conf": "enabled = false;\n",
    "milter_headers.conf": 'use = ["authentication-results"];\n',
    **{name + ".conf": "enabled = false;\n" for name in RSPAMD_OFF},
}


def missing():
    return ", ".join(p for p in ("postfix", "rspamd", "dovecot") if not shutil.which(p, path="/usr/sbin:/usr/bin"))


def wait_port(port, process, log):
    until = time.monotonic() + START
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit("nothing listens on port %d: %s" % (port, log.read_text(errors="replace")[-2000:]))
        time.sleep(0.1)


def group(name):
    """One of this run: others may be measuring, too."""
    return Group("bench-filters-%d-%s" % (os.getpid(), name))


def end_group(group):
    """What its main process has left behind, too."""
    for _ in range(100):
        left = open(group.path + "/cgroup.procs").read().split()
        if not left:
            break
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    group.remove()


class Program:
    """A process with a folder and a group of its own."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.group = group(type(self).__name__.lower())
        self.log = self.folder / "log"
        self.log.touch()

    def own(self, user, *names):
        user = pwd.getpwnam(user)
        for name in names:
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)

    def launch(self, port, *words):
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            preexec_fn=self.group.enter)
        try:
            wait_port(port, self.process, self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end_group(self.group)


class Dovecot(Program):
    def __init__(self, folder):
        super().__init__(folder)
        self.own("mail", "mail", "home")
        (self.folder / "state").mkdir()
        (self.folder / "run").mkdir()
        (self.folder / "conf").write_text(DOVECOT_CONF.format(d=self.folder, port=LMTP))
        self.launch(LMTP, "/usr/sbin/dovecot", "-F", "-c", self.folder / "conf")

    def files(self):
        return [f for box in (self.folder / "mail").iterdir() for f in os.scandir(box / "new")]


class Rspamd(Program):
    def __init__(self, folder, names):
        super().__init__(folder)
        self.own("_rspamd", "db", "run", ".")
        (self.folder / "override.d").mkdir()
        (self.folder / "local.d").mkdir()
        for name, text in RSPAMD.items():
            text = text.format(names=names, port=MILTER, cpus=os.cpu_count())
            (self.folder / "override.d" / name).write_text(text)
        (self.folder / "local.d" / "classifier-bayes.conf").write_text(RSPAMD["classifier-bayes.conf"])
        where = {"LOCAL_CONFDIR": "", "DBDIR": "/db", "RUNDIR": "/run", "LOGDIR": ""}
        self.log = self.folder / "rspamd.log"
        self.log.touch()
        shutil.chown(self.log, "_rspamd", "_rspamd")
        self.launch(MILTER, "/usr/bin/rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", "/etc/rspamd/rspamd.conf",
                    *("--var=%s=%s%s" % (k, self.folder, v) for k, v in where.items()))

    def settle(self):
        """Until it has compiled its rules: two seconds with next to no work."""
        until = time.monotonic() + START
        while time.monotonic() < until:
            before = self.group.cpu()
            time.sleep(2)
            if self.group.cpu() - before < 0.05:
                return


class Postfix(mta.Postfix):
    processes = 100

    def stop(self):
        super().stop()
        end_group(self.group)


class Stack:
    """The three together."""
    name, home, part = "postfix+rspamd", HOME, 8

    def __init__(self, folder, names, list_, check):
        """check(self, off): whether it has found what it should."""
        self.parts, self.check_results = [], check
        try:
            self.dovecot = self.add(Dovecot(folder + "/dovecot"))
            self.add(Rspamd(folder + "/rspamd", names)).settle()
            Postfix.group = group("postfix")
            self.add(Postfix(folder + "/postfix", HOME, name="mail.example.com", domains=["example.com"], resolver=names, more=[
                "smtpd_peername_lookup = yes", "inet_protocols = ipv4",
                "smtpd_recipient_restrictions = reject_unauth_destination, reject_rbl_client " + list_,
                "virtual_transport = lmtp:inet:127.0.0.1:%d" % LMTP, "smtpd_milters = inet:127.0.0.1:%d" % MILTER,
                "milter_default_action = tempfail"]))
        except BaseException:
            self.stop()
            raise
        self.count = 0

    def add(self, part):
        self.parts.append(part)
        return part

    def cpu(self):
        return sum(p.group.cpu() for p in self.parts)

    def cpu_of_each(self):
        return {type(p).__name__: p.group.cpu() for p in self.parts}

    def memory(self):
        return sum(p.group.memory() for p in self.parts)

    def delivered(self, count):
        """Waits until all that was acknowledged is in the mailboxes."""
        self.count += count
        until = time.monotonic() + START
        while len(self.dovecot.files()) < self.count:
            if time.monotonic() > until:
                raise SystemExit("only %d of %d messages arrived: %s" % (
                    len(self.dovecot.files()), self.count, self.parts[-1].log()[-2000:]))
            time.sleep(0.01)

    def check(self, _off):
        self.check_results(self)

    def newest(self):
        return open(max(self.dovecot.files(), key=lambda f: f.stat().st_mtime_ns).path, "rb").read()

    def stop(self):
        for p in reversed(self.parts):
            p.stop()
