# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""See directory.sh. Two cores: servers, database and clients share them, so rates are for comparing."""
import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mariadb  # noqa: E402
from bench import Group  # noqa: E402
from disk import disk  # noqa: E402

PASSWORD = "bench-pass"
CLIENTS = 8
WARM = 400  # accounts that log in: their mailboxes exist already when it counts

SCHEMA = """
CREATE TABLE domains (pkid smallint(6) NOT NULL auto_increment, domain varchar(120) NOT NULL DEFAULT '', transport varchar(120) NOT NULL
  DEFAULT 'virtual:', enabled tinyint(1) NOT NULL DEFAULT '1', PRIMARY KEY (pkid)) ENGINE=InnoDB DEFAULT CHARSET=latin1;
CREATE TABLE users (id varchar(128) NOT NULL DEFAULT '', name varchar(128) NOT NULL DEFAULT '', uid smallint(5) unsigned NOT NULL
  DEFAULT '5000', gid smallint(5) unsigned NOT NULL DEFAULT '5000', home varchar(255) NOT NULL DEFAULT '/var/spool/mail/virtual', maildir
  varchar(255) NOT NULL DEFAULT 'blah/', enabled tinyint(1) NOT NULL DEFAULT '1', change_password tinyint(1) NOT NULL DEFAULT '1', clear
  varchar(128) NOT NULL DEFAULT '', crypt varchar(128) NOT NULL DEFAULT '', quota varchar(255) NOT NULL DEFAULT '', PRIMARY KEY (id))
  ENGINE=InnoDB DEFAULT CHARSET=latin1;
CREATE TABLE aliases (pkid int NOT NULL auto_increment, mail varchar(120) NOT NULL DEFAULT '', destination varchar(120) NOT NULL
  DEFAULT '', enabled tinyint(1) NOT NULL DEFAULT '1', PRIMARY KEY (pkid), UNIQUE KEY mail (mail)) ENGINE=InnoDB DEFAULT CHARSET=latin1;
"""

DOVECOT = """
protocols = imap
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
ssl = required
ssl_cert = <{d}/cert.pem
ssl_key = <{d}/key.pem
mail_location = maildir:{d}/mail/%u
mail_uid = {user}
mail_gid = {user}
first_valid_uid = 1
mail_max_userip_connections = 0
auth_cache_size = 0
passdb {{
  driver = sql
  args = {d}/sql
}}
userdb {{
  driver = static
  args = home={d}/home
}}
service imap-login {{
  service_count = 0
  client_limit = 4000
  process_min_avail = 2
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 4000
  service_count = 1000
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
"""
DOVECOT_SQL = """
driver = mysql
connect = host=127.0.0.1 port={port} dbname=flurdy user=root
default_pass_scheme = CRYPT
password_query = SELECT id AS user, crypt AS password FROM users WHERE id = '%u' AND enabled = 1
"""


def address(i):
    return "user%06d@d%03d.example" % (i, i % 100)


def fill(users, folder, scheme):
    """The dump of a system with so many users, a fifth as many aliases, in 100 domains."""
    stored = (subprocess.run(["perl", "-e", "print crypt($ARGV[0], '$6$benchsalt')", PASSWORD], capture_output=True, text=True,
                             check=True).stdout if scheme == "sha512-crypt"
              else "{SHA256}" + __import__("base64").b64encode(hashlib.sha256(PASSWORD.encode()).digest()).decode())
    path = folder / (scheme + ".sql")
    with open(path, "w") as f:
        f.write(SCHEMA)
        f.write("INSERT INTO domains (domain) VALUES %s;\n" % ",".join("('d%03d.example')" % i for i in range(100)))
        for start in range(0, users, 1000):
            f.write("INSERT INTO users (id, name, maildir, crypt) VALUES %s;\n" % ",".join(
                "('%s','User %d','%06d/','%s')" % (address(i), i, i, stored) for i in range(start, min(users, start + 1000))))
        for start in range(0, users // 5, 1000):
            f.write("INSERT INTO aliases (mail, destination) VALUES %s;\n" % ",".join(
                "('alias%06d@d%03d.example','%s')" % (i, i % 100, address(i)) for i in range(start, min(users // 5, start + 1000))))
    return path


class Posthouse:
    """`posthouse serve` with these sections; its data on the mount."""

    def __init__(self, binary, folder, name, sections):
        self.binary, self.name, self.d = binary, name, folder / name.replace(" ", "-")
        self.d.mkdir()
        os.chmod(self.d, 0o755)
        shutil.copy(folder / "cert.pem", self.d)
        shutil.copy(folder / "key.pem", self.d)
        self.conf = self.d / "posthouse.conf"
        off = "".join("%s {\n    mode = off\n}\n" % s for s in ("limits", "rdns", "helo", "spf", "dkim", "arc", "dmarc", "policy", "score"))
        self.conf.write_text("""main {
    hostname = mail.bench.example
    data = %s/data
    user = nobody
    inet = ipv4
    socket = ""
}
tls {
    certificate = %s/cert.pem
    key = %s/key.pem
    any_name = yes
}
log {
    level = error
}
guard {
    trusted = {"127.0.0.1"}
}
listener "smtp" {
    address = {"127.0.0.1"}
    port = 0
}
listener "imaps" {
    address = {"127.0.0.1"}
    port = 0
}
listener "submission" {
    enabled = no
}
listener "submissions" {
    enabled = no
}
listener "imap" {
    enabled = no
}
%s%s""" % (self.d, self.d, self.d, off, sections))
        os.chmod(self.conf, 0o600)

    def command(self, *words):
        begin = time.monotonic()
        done = subprocess.run([self.binary, *words, "--config", str(self.conf)], capture_output=True, text=True)
        if done.returncode:
            sys.exit("%s: %s" % (" ".join(words), done.stderr))
        return time.monotonic() - begin, done.stdout

    def start(self):
        self.group = Group("bench-posthouse")
        self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.conf), "--json"], stdout=subprocess.PIPE,
                                        preexec_fn=self.group.enter)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("posthouse didn't start: %s" % self.name)
        info = json.loads(line)
        self.pid = info["pid"]
        ports = {p["name"]: p["port"] for p in info["listeners"]}
        self.smtp, self.port = ports["smtp"], ports["imaps"]
        return self

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % self.pid).read())[1]) / 1024

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        self.process.wait(60)
        self.group.remove()


class Dovecot:
    name = "dovecot"

    def __init__(self, folder, database):
        self.d = folder / "dovecot"
        user = pwd.getpwnam("mail")
        for sub in ("", "mail", "home", "state", "run"):
            (self.d / sub).mkdir()
        for sub in ("mail", "home"):
            os.chown(self.d / sub, user.pw_uid, user.pw_gid)
        shutil.copy(folder / "cert.pem", self.d)
        shutil.copy(folder / "key.pem", self.d)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        (self.d / "sql").write_text(DOVECOT_SQL.format(port=database.port))
        (self.d / "conf").write_text(DOVECOT.format(d=self.d, user=user.pw_name, port=self.port))

    def start(self):
        self.group = Group("bench-dovecot")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(self.d / "conf")], preexec_fn=self.group.enter,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.1)
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        for _ in range(100):
            if not open(self.group.path + "/cgroup.procs").read().split():
                break
            time.sleep(0.1)
        self.group.remove()


def percentiles(values):
    values = sorted(values)
    return values[len(values) // 2] * 1e3, values[len(values) * 99 // 100] * 1e3


def transactions(server, users, rng, times):
    """A connection with ten transactions of fifty recipients: users and aliases, all over."""
    with socket.create_connection(("127.0.0.1", server.smtp)) as s, s.makefile("rb") as replies:
        def say(line):
            s.sendall(line + b"\r\n")
            while (reply := replies.readline())[3:4] == b"-":
                pass
            return reply[:3]
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies.readline()
        say(b"EHLO bench.example.org")
        for _ in range(10):
            say(b"MAIL FROM:<x@bench.example.org>")
            for k in range(50):
                i = rng.randrange(users)
                what = "alias%06d@d%03d.example" % (i // 5, i // 5 % 100) if k % 5 == 0 else address(i)
                begin = time.perf_counter()
                code = say(b"RCPT TO:<%s>" % what.encode())
                times.append(time.perf_counter() - begin)
                if code != b"250":
                    sys.exit("RCPT %s: %s" % (what, code.decode()))
            say(b"RSET")


def lookups(server, users, seconds):
    """The time from RCPT TO to its reply."""
    rng, times, end = random.Random(1), [], time.monotonic() + seconds
    while time.monotonic() < end:
        transactions(server, users, rng, times)
    return percentiles(times), len(times)


def log_in(port, who, queue, end):
    context = ssl._create_unverified_context()
    n, k = 0, 0
    while time.monotonic() < end if end else k < len(who):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as s, s.makefile("rb") as replies:
            replies.readline()
            s.sendall(b"a LOGIN %s %s\r\n" % (who[k % len(who)].encode(), PASSWORD.encode()))
            while not (line := replies.readline()).startswith(b"a "):
                if not line:
                    break
            if not line.startswith(b"a OK"):
                queue.put(-1)
                return
            s.sendall(b"b LOGOUT\r\n")
            while replies.readline():
                pass
        n, k = n + 1, k + 1
    queue.put(n)


def logins(server, seconds):
    """Connections a second that log in, by so many clients at once, and ms of the server's CPU for each."""
    who = [address(i * 37) for i in range(WARM)]
    for end in (0, seconds):
        queue, begin, cpu = multiprocessing.Queue(), time.monotonic(), server.group.cpu()
        clients = [multiprocessing.Process(target=log_in, args=(server.port, who[c::CLIENTS], queue, begin + end if end else 0))
                   for c in range(CLIENTS)]
        for c in clients:
            c.start()
        counts = [queue.get() for _ in clients]
        for c in clients:
            c.join()
        if min(counts) < 0:
            sys.exit("%s: a login failed" % server.name)
    return sum(counts) / (time.monotonic() - begin), (server.group.cpu() - cpu) / max(1, sum(counts)) * 1e3


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("--users", type=int, default=100000)
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--no-dovecot", action="store_true")
    a = p.parse_args()
    with disk(4 << 10, "-J", "size=128") as d, mariadb.Server(durable=True) as database:
        folder = pathlib.Path(d.path)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=mail.bench.example", "-addext",
                        "subjectAltName=DNS:mail.bench.example"], check=True, capture_output=True)
        dumps = {s: fill(a.users, folder, s) for s in ("sha256", "sha512-crypt")}
        own, flurdy = ("mysql://root@127.0.0.1:%d/%s" % (database.port, name) for name in ("own", "flurdy"))
        database.sql("CREATE DATABASE own CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;")
        print("%d users, %d aliases, 100 domains" % (a.users, a.users // 5))
        sites = [("sqlite", "directory {\n    auth_cache = 0\n    upgrade_hashes = no\n}\n"),
                 ("mariadb own", 'directory {\n    auth_cache = 0\n    upgrade_hashes = no\n}\ndatabase {\n    url = "%s"\n}\n' % own),
                 ("mariadb flurdy", 'directory {\n    auth_cache = 0\n    source = mysql\n    url = "%s"\n}\n' % flurdy)]
        for name, sections in sites:
            server = Posthouse(a.binary, folder, name, sections)
            database.sql("DROP DATABASE IF EXISTS flurdy; CREATE DATABASE flurdy;")
            database.sql(dumps["sha256"].read_text(), "flurdy", timeout=600)
            server.start()
            before = server.rss()
            if name != "mariadb flurdy":
                took, _ = server.command("import", "flurdy", str(dumps["sha256"]))
                again, _ = server.command("import", "flurdy", str(dumps["sha256"]))
                print("%-16s import %.1f s, again with nothing new %.1f s" % (name, took, again))
            took, out = server.command("user", "list", "--json")
            assert len(json.loads(out)) == a.users
            domains, _ = server.command("domain", "list")
            (p50, p99), n = lookups(server, a.users, a.seconds)
            rate, cpu = logins(server, a.seconds)
            print("%-16s lookup p50 %.2f ms, p99 %.2f ms (%d); user list %.1f s, domain list %.1f s; logins %.0f/s, %.1f ms CPU (sha256);"
                  " RSS %.0f MB at start, %.0f MB after" % (name, p50, p99, n, took, domains, rate, cpu, before, server.rss()))
            server.stop()
        if a.no_dovecot or not shutil.which("dovecot"):
            return
        for scheme, dump in dumps.items():
            database.sql("DROP DATABASE IF EXISTS flurdy; CREATE DATABASE flurdy;")
            database.sql(dump.read_text(), "flurdy", timeout=600)
            rates = []
            for make in (lambda: Posthouse(a.binary, folder, "posthouse " + scheme, sites[2][1]), lambda: Dovecot(folder, database)):
                server = make().start()
                try:
                    rates.append(logins(server, a.seconds))
                finally:
                    server.stop()
            shutil.rmtree(folder / "dovecot")
            print("logins with the same SQL and hashes (%s): posthouse %.0f/s, %.1f ms CPU, dovecot %.0f/s, %.1f ms CPU, ratio %.2f"
                  % (scheme, *rates[0], *rates[1], rates[0][0] / rates[1][0]))


main()
