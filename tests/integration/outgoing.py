# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The world in which outgoing mail is tested: a network of its own with a name server, an authority for certificates, hosts that
do as they are told (lib/peer.py), real ones (lib/mta.py), and a `posthouse serve` for example.com at mail.example.com.

Domain pNN.test has one mail host, mx.pNN.test, at 10.25.0.NN: a test takes an address with the fixture `host` and so a domain. Its module
imports the fixtures it uses; `zones(world)` in it adds names.
"""
import contextlib
import email
import imaplib
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import ssl
import sys
import tempfile

import pytest
from conftest import ROOT, SANITIZED, posthouse, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import certs  # noqa: E402
import dns  # noqa: E402
import mta  # noqa: E402
import netns  # noqa: E402
import peer  # noqa: E402
import policy  # noqa: E402
from test_serve import USER, Appliance, make_certificate  # noqa: E402

WAIT = 60  # seconds until something that must happen counts as missing
HOME, NAMES, WEB = "10.25.0.1", "10.25.0.53", "10.25.0.80"
ELSEWHERE = "10.25.1.9"  # a client that is nobody's friend
SPARE = range(100, 190)
FAST = {"min_backoff": "1s", "max_backoff": "2s"}
ADDRESS = "10.25.0.%d"


def domain(n):
    return "p%d.test" % n


class World:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-world-"))
        os.chmod(self.folder, 0o755)
        self.ca = certs.Authority(self.folder / "ca")
        self.names = dns.Server(self.folder / "dns", address=NAMES, port=53)
        self.names.zone("example.com", "@ MX 10 mail\nmail A %s\n" % HOME, signed=True)
        self.names.zone("test", "\n".join(self.spare()), signed=True)
        self.free = iter(SPARE)
        self.homes = iter([HOME] + ["10.25.2.%d" % n for n in range(1, 50)])  # of each Post; example.com's MX is the first

    @staticmethod
    def spare():
        for n in SPARE:
            yield "p%d MX 10 mx.p%d" % (n, n)
            yield "mx.p%d A 10.25.0.%d" % (n, n)

    def zone(self, *what, **how):
        self.names.zone(*what, **how)

    def start(self):
        self.names.start()
        return self

    def stop(self):
        self.names.stop()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def a_network():
    """One of its own, in which names can be served."""
    if os.geteuid() != 0:
        pytest.skip("a network of its own needs root")
    if dns.missing():
        pytest.skip("no name server: %s is missing" % dns.missing())
    try:
        with netns.Network():
            yield
    except netns.NoNetwork as e:
        pytest.skip(str(e))


@contextlib.contextmanager
def a_world(zones=None):
    """zones(world) adds what it needs before the names are served."""
    with a_network():
        world = World()
        try:
            if zones:
                zones(world)
            yield world.start()
        finally:
            world.stop()


@pytest.fixture(scope="module")
def world(request):
    """With what zones(world) of the test's module adds, where it has such a function."""
    with a_world(getattr(request.module, "zones", None)) as w:
        yield w


class Post(Appliance):
    """`posthouse serve` in the world. relay: settings of that section; more: other sections as text."""

    def __init__(self, world, relay=None, more="", **main):
        super().__init__()
        self.world, self.home = world, next(world.homes)
        make_certificate(self.folder)
        self.main.update({"inet": "any", "origin": "example.com", "drain": "20s", "readable": '{"%s"}' % world.folder,
                          "socket": '"%s"' % (self.folder / "submit.sock")}, **main)
        ports = {"smtp": 25, "submission": 587, "imaps": 993}
        self.listeners = {name: {"port": port, "address": self.home} for name, port in ports.items()}
        for name in ("submissions", "imap"):
            self.listeners[name] = {"enabled": "no"}
        self.relay = dict(FAST, ca_file='"%s"' % world.ca.file, **(relay or {}))
        self.other = more

    def write(self, more=None):
        zones = ("test", "10.in-addr.arpa")
        super().write(self.section("dns", {"forwarders": '{"%s"}' % self.world.names.forwarder,
                                           "trust_anchor": '"%s"' % self.world.names.anchor,
                                           "local_zones": "{%s}" % ", ".join('"%s"' % z for z in zones)})
                      + self.section("relay", self.relay) + (self.other if more is None else more))
        os.chmod(self.path, 0o640)  # passwords
        shutil.chown(self.path, group=pwd.getpwnam(USER).pw_gid)

    @property
    def pid(self):
        return self.process.pid

    def begin(self):
        """Started, with its accounts."""
        self.start()
        self.seed()
        assert self.command("user", "add", "bob@example.com", stdin="bob-pass\n").code == 0
        return self

    def end(self, signum=signal.SIGTERM):
        """It may be started again afterwards."""
        os.kill(self.pid, signum)
        code = self.wait_end()
        assert code == (0 if signum == signal.SIGTERM else -signum), self.log()
        self.process.stdout.close()
        self.process = None

    def json(self, *words):
        done = self.command(*words, "--json")
        assert done.code == 0, done.err
        return done.json

    # ---- as clients see it
    def client(self, port=587, user="ann", source=None):
        client = smtplib.SMTP(timeout=WAIT, local_hostname="client.example.org", source_address=(source, 0) if source else None)
        client.connect(self.home, port)
        if port == 587:
            context = ssl.create_default_context(cafile=self.folder / "cert.pem")
            client._host = "mail.example.com"  # whose certificate it must be
            client.starttls(context=context)
        client.ehlo()
        if user:
            client.login(user + "@example.com", user + "-pass")
        return client

    def submit(self, to, data=None, sender="ann@example.com", mail=(), rcpt=(), user="ann"):
        """Sends it as that user; every recipient must be taken. Returns the message."""
        data = message() if data is None else data
        with self.client(user=user) as client:
            assert client.sendmail(sender, [to] if isinstance(to, str) else to, data, mail, rcpt) == {}
        return data

    def imap(self, user="ann"):
        context = ssl.create_default_context(cafile=self.folder / "cert.pem")
        context.check_hostname = False
        client = imaplib.IMAP4_SSL(self.home, 993, ssl_context=context, timeout=WAIT)
        client.login(user + "@example.com", user + "-pass")
        return client

    def inbox(self, user="ann"):
        """Every message in it, oldest first."""
        with self.imap(user) as client:
            count = int(client.select("INBOX", readonly=True)[1][0])
            return [client.fetch(str(i + 1), "(BODY.PEEK[])")[1][0][1] for i in range(count)]

    def empty(self, user="ann"):
        with self.imap(user) as client:
            client.select("INBOX")
            client.store("1:*", "+FLAGS", "(\\Deleted)")
            client.expunge()

    def report(self, count=1, user="ann"):
        """The newest report, when so many are in the inbox."""
        found = wait_for(lambda: (lambda all_: len(all_) >= count and all_)(self.inbox(user)), "%d reports for %s" % (count, user), WAIT)
        assert len(found) == count, found
        return Report(found[-1])

    def waiting(self):
        """Messages in the queue."""
        return self.json("queue", "list")

    def waiting_to(self):
        """Their recipients: to, tries, error. Of those that went between the two commands there are none."""
        shown = [(q["id"], self.command("queue", "show", q["id"], "--json")) for q in self.waiting()]
        assert all(done.code == 0 or "is in the queue" in done.json["error"] for _, done in shown), [done.err for _, done in shown]
        return [dict(r, id=id) for id, done in shown if done.code == 0 for r in done.json["leaves"]]

    def tried(self, times=2, count=1):
        """So many recipients, when each was tried so often."""
        def found():
            all_ = self.waiting_to()
            return len(all_) == count and all(r["tries"] >= times for r in all_) and all_
        return wait_for(found, "%d attempts" % times, WAIT)

    def clean(self):
        """Nothing waits, nothing came, and no host rests."""
        self.command("queue", "flush")
        self.command("queue", "remove", "--all")
        for user in ("ann", "bob"):
            self.empty(user)

    def idle(self, seconds=WAIT):
        wait_for(lambda: not self.waiting(), "an empty queue", seconds)


@contextlib.contextmanager
def a_post(*what, **how):
    post = Post(*what, **how)
    try:
        yield post.begin()
    finally:
        post.stop()


class Report:
    """RFC 3464, read by Python's email: strict about what it must be."""

    def __init__(self, data):
        self.data, self.message = data, email.message_from_bytes(data)
        m = self.message
        assert not m.defects, m.defects
        assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status", m
        assert m["Auto-Submitted"].startswith("auto-"), m
        assert re.match(rb"Return-Path: <>\r\n", data, re.I) or b"\r\nReturn-Path: <>\r\n" in data, data[:300]
        self.text, status, self.original = m.get_payload()[:3]
        assert self.text.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status"
        assert len(m.get_payload()) == 3
        blocks = [b for b in status.get_payload() if b.keys()]
        self.about, self.rcpts = blocks[0], blocks[1:]
        assert "Reporting-MTA" in self.about and self.rcpts, status.as_string()
        for r in self.rcpts:
            assert re.fullmatch(r"rfc822; ?\S+@\S+", r["Final-Recipient"], re.I), r
            assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", r["Status"]), r
            assert r["Action"] in ("failed", "delayed", "delivered", "relayed", "expanded"), r
        self.words = self.text.get_payload(decode=True).decode()

    def rcpt(self, address=None):
        """Its block; None: the only one."""
        found = [r for r in self.rcpts if address is None or r["Final-Recipient"].endswith(address)]
        assert len(found) == 1, [r.items() for r in self.rcpts]
        return found[0]


counter = [0]


def message(subject=None, body=None, sender="ann@example.com", to="someone@example.org", head=""):
    """One with all fields that a server would add, and octets that one could spoil."""
    counter[0] += 1
    if body is None:
        body = ".\r\n..two dots\r\nspaces at the end   \r\n\ttab\r\n\r\n%s\r\n\r\n\r\n" % ("x" * 900)
    return ("From: Ann <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Fri, 20 Nov 2026 06:00:00 +0000\r\n"
            "Message-ID: <%d.%d@example.com>\r\nX-Folded: one\r\n\ttwo  three\r\n%s\r\n%s" % (
                sender, to, subject or "number %d" % counter[0], os.getpid(), counter[0], head, body)).encode()


def repeated(mail, ends):
    """[(recipient, did it still wait when the server had ended?)] of what came again. ends: (how many had come, who waited)."""
    found, came, ends = [], set(), list(ends)
    waiting = set()
    for i, m in enumerate(mail):
        while ends and i >= ends[0][0]:
            waiting = ends.pop(0)[1]
        found += [(to, to in waiting) for to in m.to if to in came]
        came.update(m.to)
    return found


TRACE = rb"(?:Received|Return-Path|DKIM-Signature|Authentication-Results|X-Original-To|Delivered-To|Envelope-to|Return-path)"


def unchanged(got, sent):
    """The host got it with trace fields in front, and otherwise octet by octet."""
    assert got.endswith(sent), (got, sent)
    front = got[:len(got) - len(sent)]
    assert re.fullmatch(rb"(?:%s:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*" % TRACE, front), front
    assert b"Received: " in front
    return front


@pytest.fixture
def host(world):
    """host(options...) -> (Peer, its domain). All must have met a client without faults."""
    hosts = []

    def start(*more_addresses, **options):
        n = next(world.free)
        name = "mx." + domain(n)
        p = peer.Peer(ADDRESS % n, *more_addresses, **dict({"name": name}, **options))
        hosts.append(p)
        return p, domain(n)
    yield start
    for p in hosts:
        p.stop()
    assert [p.violations for p in hosts] == [[] for _ in hosts], [p.transcript() for p in hosts]
