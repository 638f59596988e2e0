# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""soak.py MINUTES: see soak.sh. Prints what the server takes every 30 s; ends with the usual count line.

Memory is compared between the third and the fourth quarter of the time: by then caches are full and every kind of session has
been seen. The mailboxes are kept small, so what grows isn't the mail.
"""
import contextlib
import itertools
import os
import pathlib
import random
import socket
import ssl
import statistics
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "integration"), str(HERE / "faults"), str(HERE / "lib")]
import imaplib  # noqa: E402
import smtplib  # noqa: E402
from conftest import SANITIZED, ok  # noqa: E402
from test_serve import Appliance, make_certificate  # noqa: E402
from traffic import message  # noqa: E402

USERS = ["user%d@example.com" % n for n in range(6)]
PASSWORD = "soak-pass"
GROWTH_MAX = 4 << 20      # bytes from the third quarter to the fourth
DESCRIPTORS_MAX = 30
MAILBOX_MAX = 150         # messages; above, half goes
PRINT_EVERY, SAMPLE_EVERY, RELOAD_EVERY = 30, 2, 20
# Nothing is trusted, so that limits and guard do all their work, and high enough to let this traffic through.
LIMITS = "".join("    %s = 1000000\n" % name for name in (
    "address_connections", "network_connections", "address_logins", "network_logins", "account_logins", "address_messages",
    "network_messages", "account_messages", "domain_messages", "address_recipients", "account_recipients"))
SETTINGS = ("store { dead_grace = 1s }\nlimits {\n%s}\nguard {\n    trusted = \"192.0.2.1\"\n    address_connections = 10000\n"
            "    network_connections = 10000\n    ban_logins = 0\n    ban_recipients = 0\n    ban_errors = 0\n    pair_logins = 100000\n"
            "    login_delay = 20ms\n    login_delay_max = 100ms\n}\n") % LIMITS
GONE = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.abort)


class Facts:
    def __init__(self):
        self.counts = {}
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.wrong = []

    def add(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n


class Worker(threading.Thread):
    """Does one kind of session after the other; what ends one early is expected only where it says so."""

    def __init__(self, server, facts, halt, seed, kinds):
        super().__init__(daemon=True)
        self.server, self.facts, self.halt, self.kinds = server, facts, halt, kinds
        self.rng = random.Random(seed)

    def run(self):
        while not self.halt.is_set():
            kind = self.rng.choice(self.kinds)
            try:
                kind(self)
                self.facts.add(kind.__name__)
            except (*GONE, imaplib.IMAP4.error, AssertionError) as e:
                if not self.halt.is_set():
                    self.facts.wrong.append("%s: %s %s" % (kind.__name__, type(e).__name__, e))
            self.halt.wait(self.rng.uniform(0, 0.05))

    # ---- SMTP
    def text(self):
        return message(next(self.facts.numbers), large=self.rng.random() < 0.05)

    def smtp_receive(self):
        with self.server.smtp() as client:
            for _ in range(self.rng.randint(1, 6)):
                client.sendmail("sender%d@example.org" % self.rng.randrange(10000),
                                self.rng.sample(USERS, self.rng.randint(1, 3)), self.text())
                self.facts.add("messages")

    def smtp_submit(self):
        with smtplib.SMTP_SSL("localhost", self.server.ports["submissions"], timeout=30,
                              context=ssl._create_unverified_context()) as client:
            user = self.rng.choice(USERS)
            client.login(user, PASSWORD)
            text = self.text().replace(b"From: sender@example.org", b"From: " + user.encode(), 1)
            client.sendmail(user, [self.rng.choice(USERS)], text)
            self.facts.add("messages")

    def smtp_refused(self):
        with self.server.smtp() as client:
            for words in (("RCPT TO:<x@example.com>",), ("NONSENSE",), ("MAIL FROM:<a@example.org> BROKEN=1",)):
                assert 500 <= client.docmd(*words)[0] < 600
            client.mail("a@example.org")
            assert client.rcpt("nobody-%d@example.com" % self.rng.randrange(100000))[0] == 550
            assert client.rcpt("a@elsewhere.example")[0] in (550, 554)

    def smtp_cut_off(self):
        """Leaves in the middle of a message."""
        client = self.server.smtp()
        client.mail("a@example.org")
        client.rcpt(self.rng.choice(USERS))
        client.docmd("DATA")
        client.sock.sendall(self.text()[:self.rng.choice((10, 3000, 100000))])
        client.close()

    def connections(self):
        for _ in range(20):
            with self.server_socket(self.rng.choice(("smtp", "imap", "imaps", "submissions"))) as s:
                if self.rng.random() < 0.5:
                    s.sendall(self.rng.randbytes(self.rng.randint(1, 200)))

    def server_socket(self, name):
        return socket.create_connection(("127.0.0.1", self.server.ports[name]), timeout=30)

    # ---- IMAP
    def login(self):
        client = imaplib.IMAP4_SSL("localhost", self.server.ports["imaps"], ssl_context=ssl._create_unverified_context(), timeout=30)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.login(self.rng.choice(USERS), PASSWORD)
        return client

    def imap_wrong_password(self):
        client = imaplib.IMAP4_SSL("localhost", self.server.ports["imaps"], ssl_context=ssl._create_unverified_context(), timeout=30)
        with contextlib.suppress(imaplib.IMAP4.error):
            client.login(self.rng.choice(USERS), "wrong%d" % self.rng.randrange(1000))
            raise AssertionError("a wrong password")
        client.shutdown()

    def imap_read(self):
        with self.login() as client:
            n = int(ok(client.select(self.rng.choice(("INBOX", "Archive"))))[0])
            ok(client.list())
            ok(client.uid("FETCH", "1:*", "(FLAGS ENVELOPE BODYSTRUCTURE)"))
            ok(client.search(None, "OR", "SUBJECT", "7", "TEXT", "abc"))
            for _ in range(min(n, 10)):
                client.fetch(str(self.rng.randint(1, n)), "(BODY.PEEK[])")  # it may have been expunged meanwhile: NO
            self.facts.add("fetched", min(n, 10))

    def imap_write(self):
        with self.login() as client:
            n = int(ok(client.select("INBOX"))[0])
            ok(client.append("Drafts", "(\\Draft)", None, self.text()))
            if n:
                client.store("1:%d" % self.rng.randint(1, n), "+FLAGS.SILENT", "(\\Flagged keyword%d)" % self.rng.randrange(8))
                client.copy("1", "Archive")
            name = "Box%d" % self.rng.randrange(1000000)
            ok(client.create(name))
            ok(client.rename(name, name + "x"))
            ok(client.delete(name + "x"))

    def imap_tidy(self):
        with self.login() as client:
            for box in ("INBOX", "Archive", "Drafts"):
                n = int(ok(client.select(box))[0])
                if n > MAILBOX_MAX:
                    client.store("1:%d" % (n // 2), "+FLAGS.SILENT", "(\\Deleted)")
                    ok(client.expunge())
                    self.facts.add("expunged", n // 2)

    def imap_cut_off(self):
        """Asks for much and leaves without reading it."""
        client = self.login()
        ok(client.select("INBOX", readonly=True))
        client.send(b"x UID FETCH 1:* (BODY.PEEK[])\r\n")
        time.sleep(0.01)
        client.shutdown()

    def imap_idle(self):
        with self.login() as client:
            ok(client.select("INBOX"))
            client.send(b"x IDLE\r\n")
            client.readline()
            self.halt.wait(self.rng.uniform(0.5, 5))
            client.send(b"DONE\r\n")
            while not client.readline().startswith(b"x OK"):
                pass


SMTP = (Worker.smtp_receive, Worker.smtp_receive, Worker.smtp_submit, Worker.smtp_refused, Worker.smtp_cut_off, Worker.connections)
IMAP = (Worker.imap_read, Worker.imap_write, Worker.imap_tidy, Worker.imap_tidy, Worker.imap_cut_off, Worker.imap_wrong_password)
IDLE = (Worker.imap_idle,)


def resources(pid):
    """Resident memory of the server and its helper, descriptors, threads."""
    children = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()
    rss = 0
    for p in (pid, *map(int, children)):
        with contextlib.suppress(OSError):
            rss += int(pathlib.Path("/proc/%d/statm" % p).read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return rss, len(os.listdir("/proc/%d/fd" % pid)), len(os.listdir("/proc/%d/task" % pid))


def reload(server, number):
    """Every third time with a new certificate, and always with another setting."""
    if number % 3 == 0:
        make_certificate(server.folder)
    server.write("smtp { banner = \"soak %d\" }\n" % number + SETTINGS)
    server.hup()


def watch(server, facts, seconds):
    """Samples of the four quarters; stops early when too much goes wrong."""
    quarters, started = [[] for _ in range(4)], time.monotonic()
    printed = reloaded = started
    reloads = 0
    while True:
        now = time.monotonic()
        part = int((now - started) * 4 / seconds)
        if part > 3 or len(facts.wrong) > 20:
            return quarters, reloads
        quarters[part].append(resources(server.pid))
        if now - reloaded >= RELOAD_EVERY:
            reloads += 1
            reloaded = now
            reload(server, reloads)
        if now - printed >= PRINT_EVERY:
            printed = now
            rss, descriptors, threads = quarters[part][-1]
            print("%5.0f s  %6.1f MB  %3d descriptors  %2d threads  %d messages, %d fetched, %d expunged" % (
                now - started, rss / 2**20, descriptors, threads, *(facts.counts.get(k, 0) for k in ("messages", "fetched", "expunged"))),
                flush=True)
        time.sleep(SAMPLE_EVERY)


def seed(server):
    added = server.command("domain", "add", "example.com")
    assert added.code == 0, added.err + server.log()
    for user in USERS:
        assert server.command("user", "add", user, stdin=PASSWORD + "\n").code == 0


def judge(quarters, facts, reloads):
    """Yields what is wrong."""
    third, fourth = ([s for s in quarters[i]] for i in (2, 3))
    if not third or not fourth:
        yield "it ended early"
        yield from facts.wrong[:10]
        return
    for i, (name, most, unit) in enumerate((("memory", GROWTH_MAX, 2**20), ("descriptors", DESCRIPTORS_MAX, 1))):
        before, after = (statistics.median(s[i] for s in q) for q in (third, fourth))
        print("%s, median: %.1f in the third quarter, %.1f in the fourth" % (name, before / unit, after / unit))
        if after - before > most and not SANITIZED:
            yield "%s grows" % name
    kinds = {k.__name__ for k in SMTP + IMAP + IDLE}
    if kinds - facts.counts.keys() or not reloads:
        yield "too little was done: %s, %d reloads" % (sorted(kinds - facts.counts.keys()), reloads)
    yield from facts.wrong[:10]


def run(server, seconds, facts):
    """Yields what is wrong; the server runs on."""
    halt = threading.Event()
    seed(server)
    workers = [Worker(server, facts, halt, n, kinds) for n, kinds in enumerate((SMTP, SMTP, SMTP, IMAP, IMAP, IMAP, IDLE, IDLE))]
    for w in workers:
        w.start()
    quarters, reloads = watch(server, facts, seconds)
    halt.set()
    for w in workers:
        w.join(60)
    yield from judge(quarters, facts, reloads)
    check = server.command("mailbox", "check")
    if check.code != 0:
        yield "mailbox check: %s%s" % (check.out, check.err)
    print("%d sessions and messages, %d reloads" % (sum(facts.counts.values()), reloads))


def main():
    server = Appliance()
    server.main["drain"] = "30s"
    leaks = SANITIZED and os.geteuid() != 0  # its memory says nothing, but LeakSanitizer does, where its tracer may run
    if leaks:
        server.main["sandbox"] = "no"
    wrong = []
    try:
        server.start(SETTINGS, env={"ASAN_OPTIONS": "detect_leaks=%d" % leaks})
        wrong += run(server, float(sys.argv[1]) * 60, Facts())
    finally:
        try:
            server.stop()
        except AssertionError as e:
            wrong.append("its end: %s" % str(e)[-3000:])
    for line in wrong:
        print("  " + line)
    print("%d passed, %d failed" % (not wrong, bool(wrong)))
    sys.exit(1 if wrong else 0)


main()
