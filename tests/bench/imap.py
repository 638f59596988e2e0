# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Reading mail, measured against Dovecot (see imap.sh). Prints rows of medians with min and max, and the ratio."""
import argparse
import contextlib
import os
import pathlib
import pwd
import random
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bench import Group, Posthouse, spread  # noqa: E402
from disk import disk  # noqa: E402

WORDS = "post house letter road inn horse rider night stage coach bag seal sender town bridge winter lantern gate".split()
NEEDLE = "Hildegard"
FETCHED = 100 * 1024


# ---- a client that reads as fast as it can
class Client:
    """IMAP over TLS without imaplib: its parsing would be what is measured."""

    def __init__(self, port, user, password, context):
        plain = socket.create_connection(("127.0.0.1", port), timeout=600)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(plain, server_hostname="localhost")
        self.n = 0
        self.until(b"\n")
        self.do("LOGIN %s %s" % (user, password))

    def until(self, end):
        """All up to a last line that begins with `end` (or ends with it, when that is a line's end)."""
        parts, tail = [], b""
        while True:
            data = self.sock.recv(262144)
            if not data:
                raise EOFError(b"".join(parts)[-200:])
            parts.append(data)
            tail = (tail + data)[-512:]
            if tail.endswith(b"\n") and (end == b"\n" or tail[:-1].rpartition(b"\n")[2].startswith(end)):
                return parts

    def do(self, command):
        """The pieces of the answer, which must be OK."""
        self.n += 1
        tag = b"a%d " % self.n
        self.sock.sendall(tag + command.encode() + b"\r\n")
        parts = self.until(tag)
        last = parts[-1] if len(parts) < 2 else parts[-2][-512:] + parts[-1]
        if tag + b"OK" not in last:
            raise RuntimeError("%s: %r" % (command[:60], last[-200:]))
        return parts

    def idle(self):
        self.n += 1
        self.sock.sendall(b"a%d IDLE\r\n" % self.n)
        self.until(b"+")

    def close(self):
        self.sock.close()


# ---- Dovecot, with a configuration of its own
DOVECOT_CONF = """
protocols = imap
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
ssl = required
ssl_cert = <{data}/cert.pem
ssl_key = <{data}/key.pem
mail_location = maildir:{d}/mail/%u
mail_uid = {user}
mail_gid = {user}
first_valid_uid = 1
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = {d}/users
}}
userdb {{
  driver = static
  args = home={d}/home
}}
service imap-login {{
  service_count = 0
  client_limit = 4000
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
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
"""


class Dovecot:
    name = "dovecot"

    def __init__(self, mount, posthouse):
        self.d = mount + "/dovecot"
        user = pwd.getpwnam("mail")
        for sub in ("", "/mail", "/home", "/state", "/run"):
            os.mkdir(self.d + sub)
        for sub in ("/mail", "/home"):
            os.chown(self.d + sub, user.pw_uid, user.pw_gid)
        self.owner = user
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.accounts = posthouse.accounts
        with open(self.d + "/users", "w") as f:
            f.writelines("%s:{PLAIN}%s\n" % a for a in self.accounts)
        os.chmod(self.d + "/users", 0o644)
        with open(self.d + "/conf", "w") as f:
            f.write(DOVECOT_CONF.format(d=self.d, data=posthouse.info["data"], user=user.pw_name, port=self.port))
        self.group = Group("bench-dovecot")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.d + "/conf"], preexec_fn=self.group.enter,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.1)

    def folder(self, account):
        return "%s/mail/%s" % (self.d, self.accounts[account][0])

    def take(self, account, messages):
        """The messages as a Maildir, as if delivered: its index is made at the first SELECT."""
        path = self.folder(account)
        for sub in ("", "/new", "/cur", "/tmp"):
            os.makedirs(path + sub, exist_ok=True)
            os.chown(path + sub, self.owner.pw_uid, self.owner.pw_gid)
        first = int(time.time()) - len(messages)
        for n, text in enumerate(messages):
            name = "%s/cur/%d.M%dP1.bench,S=%d:2," % (path, first + n, n, len(text))
            with open(name, "wb") as f:
                f.write(text)
            os.chown(name, self.owner.pw_uid, self.owner.pw_gid)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        for _ in range(100):
            if not open(self.group.path + "/cgroup.procs").read().split():
                break
            time.sleep(0.1)
        self.group.remove()


class Server(Posthouse):
    """posthouse, with what the rows below want to know of either server."""

    def __init__(self, binary, mount):
        super().__init__(binary, mount)
        self.smtp_port, self.port = self.port, self.info["imaps"]["port"]
        self.accounts = [(a["address"], a["password"]) for a in self.info["accounts"]]

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % self.process.pid).read())[1]) * 1024

    def take(self, account, messages):
        """Through SMTP, on a few connections, each with a window of messages under way."""
        threads = [threading.Thread(target=self.send, args=(self.accounts[account][0], messages[i::4])) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def send(self, address, messages):
        with socket.create_connection(("127.0.0.1", self.smtp_port)) as sock, sock.makefile("rb") as replies:
            sock.sendall(b"EHLO bench.example.org\r\n")
            waiting = 0

            def finish(count):
                while count:
                    line = replies.readline()
                    if line[:1] != b"2":
                        raise RuntimeError(line)
                    count -= line[3:4] == b" "
            finish(2)
            for text in messages:
                sock.sendall(b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n" % (address.encode(), len(text)) + text)
                waiting += 1
                if waiting == 24:
                    finish(3 * 12)
                    waiting = 12
            finish(3 * waiting)


# ---- the rows
def message(rng, number, size, needle=False):
    def person():
        a, b = rng.sample(WORDS, 2)
        return "%s %s <%s.%s@example.org>" % (a.title(), b.title(), a, b)
    lines, n = [], 0
    while n < size:
        lines.append(" ".join(rng.choices(WORDS, k=11)))
        n += len(lines[-1]) + 2
    if needle:
        lines[len(lines) // 2] = "a letter from " + NEEDLE
    return ("From: %s\r\nTo: %s\r\nCc: %s, %s\r\nSubject: %s, number %d\r\nMessage-ID: <%d@bench.example.org>\r\n"
            "Date: Fri, %d Nov 2026 %02d:%02d:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            % (person(), person(), person(), person(), " ".join(rng.choices(WORDS, k=4)), number, number, 1 + number % 28, number % 24,
               number % 60) + "\r\n".join(lines) + "\r\n").encode()


def fill(servers, account, messages):
    for s in servers:
        began = time.monotonic()
        s.take(account, messages)
        print("  (%s got %d messages of %.1f KB in %.0f s)" % (
            s.name, len(messages), statistics.mean(map(len, messages)) / 1024, time.monotonic() - began), flush=True)


def client(server, account, context):
    return Client(server.port, *server.accounts[account], context)


def show(what, servers, values, form="%.1f"):
    ratio = ""
    if len(servers) > 1:
        medians = [statistics.median(values[s.name]) for s in servers]
        ratio = "%.2fx" % (medians[1] / medians[0]) if medians[0] else ""
    print("%-44s %-26s %-26s %8s" % (what, *[spread(values[s.name], form) for s in servers], *[""] * (2 - len(servers)), ratio),
          flush=True)


def timed(servers, account, context, what, commands, runs, check=None):
    """Time of the last command of `commands` on a connection of its own, in ms."""
    took = {s.name: [] for s in servers}
    for _ in range(runs):
        for s in servers:
            c = client(s, account, context)
            for command in commands[:-1]:
                c.do(command)
            began = time.monotonic()
            parts = c.do(commands[-1])
            took[s.name].append((time.monotonic() - began) * 1000)
            c.close()
            if check:
                check(s, parts)
    show(what, servers, took)


def idle(servers, context, quick):
    count = 200 if quick else 1000
    rng = random.Random(1)
    fill(servers, 1, [message(rng, 1, FETCHED)])
    memory, connect = {}, {}
    for s in servers:
        first = client(s, 1, context)  # what the first login brings in is the server's, not the connections'
        first.do("SELECT INBOX")
        first.do("FETCH 1 BODY.PEEK[]")
        before = s.group.memory()
        clients, began = [], time.monotonic()
        for _ in range(count):
            c = client(s, 1, context)
            c.do("SELECT INBOX")
            got = sum(map(len, c.do("FETCH 1 BODY.PEEK[]")))
            assert got > FETCHED, got
            c.idle()
            clients.append(c)
        connect[s.name] = [(time.monotonic() - began) * 1000 / count]
        memory[s.name] = [(s.group.memory() - before) / 1e6]
        if isinstance(s, Server):
            print("  (posthouse: RSS %.1f MB with %d idle connections)" % (s.rss() / 1e6, count))
        for c in clients:
            c.close()
        first.close()
    show("%d idle connections, MB more" % count, servers, memory)
    show("login, SELECT, FETCH of 100 KB, IDLE, ms", servers, connect)


def large(servers, context, quick):
    count = 10000 if quick else 100000
    rng = random.Random(2)
    fill(servers, 0, [message(rng, n, 600) for n in range(count)])
    runs = 1 if quick else 3

    def fetched(s, parts):
        lines = b"".join(parts).count(b" FETCH (")
        assert lines == count, (s.name, lines)
    print("a mailbox of %d messages, ms" % count)
    timed(servers, 0, context, "SELECT, the first", ["SELECT INBOX"], 1)
    timed(servers, 0, context, "SELECT", ["SELECT INBOX"], runs)
    timed(servers, 0, context, "STATUS (MESSAGES UNSEEN)", ["STATUS INBOX (MESSAGES UNSEEN)"], runs)
    timed(servers, 0, context, "FETCH 1:* (FLAGS)", ["SELECT INBOX", "FETCH 1:* (FLAGS)"], runs, fetched)
    envelope = ["SELECT INBOX", "FETCH 1:* (UID FLAGS ENVELOPE)"]
    timed(servers, 0, context, "FETCH 1:* (UID FLAGS ENVELOPE), the first", envelope, 1, fetched)
    timed(servers, 0, context, "FETCH 1:* (UID FLAGS ENVELOPE)", envelope, runs, fetched)
    timed(servers, 0, context, "UID SEARCH UNSEEN", ["SELECT INBOX", "UID SEARCH UNSEEN"], runs)
    timed(servers, 0, context, "STORE 1:* +FLAGS.SILENT (\\Seen)", ["SELECT INBOX", "STORE 1:* +FLAGS.SILENT (\\Seen)"], 1)


def search(servers, context, quick):
    count = 1000 if quick else 10000
    rng = random.Random(3)
    fill(servers, 2, [message(rng, n, 10240, n == count // 3) for n in range(count)])

    def found(s, parts):
        assert re.search(rb"^\* SEARCH \d+\r$", b"".join(parts), re.M), (s.name, b"".join(parts)[:200])
    print("a mailbox of %d messages of 10 KB, ms" % count)
    for what in ("TEXT", "BODY"):
        timed(servers, 2, context, "SEARCH %s, one found" % what, ["SELECT INBOX", "SEARCH %s %s" % (what, NEEDLE)],
              1 if quick else 3, found)
    timed(servers, 2, context, "FETCH 1:* BODY.PEEK[]", ["SELECT INBOX", "FETCH 1:* (BODY.PEEK[])"], 1 if quick else 3)


ROWS = (idle, large, search)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-dovecot", action="store_true")
    p.add_argument("--only", choices=[r.__name__ for r in ROWS])
    a = p.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with disk(8 << 10, "-J", "size=128") as d:
        servers = [Server(a.binary, d.path)]
        try:
            print("posthouse at start: RSS %.1f MB" % (servers[0].rss() / 1e6))
            if not a.no_dovecot and shutil.which("dovecot"):
                servers.append(Dovecot(d.path, servers[0]))
                print("dovecot at start: PSS %.1f MB" % (servers[1].group.memory() / 1e6))
            context = ssl.create_default_context(cafile=servers[0].info["ca"])
            print("\n%-44s %-26s %-26s %8s" % ("", *[s.name for s in servers], *[""] * (2 - len(servers)), "ratio"))
            for row in ROWS:
                if a.only in (None, row.__name__):
                    row(servers, context, a.quick)
            print("memory at the end: " + ", ".join("%s %.1f MB" % (s.name, s.group.memory() / 1e6) for s in servers))
        finally:
            for s in servers:
                s.stop()


main()
