# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""kill -9 and a power cut in the middle of mail that goes through to another host: every acknowledged message arrives there, and
only what was on its way at that moment arrives twice. OUTGOING_MESSAGES=10000 for the full measure.

The control is a server that was told not to flush: its queue must lose what it acknowledged.
"""
import contextlib

import os
import random
import re
import signal
import socket
import threading

import pytest
from traffic import message, wait_for
from disk import NoDisk, disk
from outgoing import ADDRESS, Post, domain, repeated, world  # noqa: F401 (fixture)
from peer import Peer, refuse

MESSAGES = int(os.environ.get("OUTGOING_MESSAGES", "1200"))
FRIEND = "10.25.3.%d"
SEED = 20262
WAIT = 120 + MESSAGES // 20


@pytest.fixture
def mounted():
    try:
        with disk(1024) as d:
            os.chmod(d.path, 0o755)
            yield d
    except NoDisk as e:
        pytest.skip("no disk to cut the power of: %s" % e)


class Feeder(threading.Thread):
    """One message after another over one connection, until the server goes away or all are sent. A number is used once."""

    def __init__(self, post, ledger, name, n):
        super().__init__(daemon=True)
        self.post, self.ledger, self.name = post, ledger, name
        self.address = FRIEND % n

    def run(self):
        with contextlib.suppress(OSError, EOFError):
            with socket.create_connection((self.post.home, 25), 60, (self.address, 0)) as self.sock:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.sock.makefile("rb") as self.stream:
                    self.feed()

    def reply(self):
        while True:
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return line

    def say(self, data, *want):
        self.sock.sendall(data)
        for code in want:
            line = self.reply()
            if not line.startswith(code):
                self.ledger.refused.append(line)
                raise EOFError

    def feed(self):
        self.reply()
        self.say(b"EHLO client.example.org\r\n", b"250")
        for number in self.ledger.numbers:
            to = ("n%d@%s" % (number, self.name)).encode()
            self.say(b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % to, b"250", b"250", b"354")
            self.ledger.sent.add(number)
            self.say(re.sub(rb"(?m)^\.", b"..", message(number)) + b".\r\n", b"250")
            self.ledger.accepted.add(number)


class Ledger:
    def __init__(self, count):
        self.numbers = iter(range(1, count + 1))
        self.sent, self.accepted, self.refused = set(), set(), []


def number_of(mail):
    return int(re.match(r"n(\d+)@", mail.to[0])[1])


def audit(ledger, host):
    """(missing, those that came although nobody sent them)"""
    got = {number_of(m) for m in host.mail}
    return sorted(ledger.accepted - got), got - ledger.sent


def compare(host):
    for m in host.mail:
        assert m.data.endswith(b"\r\n" + message(number_of(m))), "number %d is not what was sent" % number_of(m)


class Course:
    """One server after another on one data folder, each with its load, until all messages are through."""

    def __init__(self, world, folder, more=""):
        n = next(world.free)
        self.name, self.host = domain(n), Peer(ADDRESS % n)
        self.post = Post(world, {"trusted_networks": '{"10.25.3.0/24"}'}, more, data='"%s"' % folder)
        self.ledger, self.rng, self.ends = Ledger(MESSAGES), random.Random(SEED), []

    def load(self):
        feeders = [Feeder(self.post, self.ledger, self.name, n + 1) for n in range(4)]
        for f in feeders:
            f.start()
        return feeders

    def until_some(self, more):
        """Something is through, and more is on its way."""
        want = min(len(self.host.mail) + more, MESSAGES * 9 // 10)  # who was quick may have brought all of it
        assert self.host.until(lambda: len(self.host.mail) >= want, WAIT), self.post.log()[-3000:]

    def end(self, feeders):
        self.post.trouble_expected = True  # its disk may have failed
        self.post.end(signal.SIGKILL)
        for f in feeders:
            f.join(60)
            assert not f.is_alive(), "a client hangs although the server has gone"
        assert self.host.until(lambda: not self.host.open)

    def note_end(self):
        """What came so far, and what the queue holds now that nobody works on it."""
        self.ends.append((len(self.host.mail), {q["to"] for q in self.post.waiting()}))

    def finish(self):
        self.post.start()
        for f in self.load():
            f.join(WAIT)
        wait_for(lambda: not self.post.waiting(), "an empty queue", WAIT)

    def close(self):
        self.host.stop()
        self.post.stop()


@pytest.fixture
def course(world):
    courses = []

    def begin(folder, *more):
        courses.append(Course(world, folder, *more))
        return courses[-1]
    yield begin
    for c in courses:
        c.close()


def check(c):
    missing, foreign = audit(c.ledger, c.host)
    again = repeated(c.host.mail, c.ends)
    print("%d accepted of %d sent, %d came, %d of them again, after %d ends" % (
        len(c.ledger.accepted), len(c.ledger.sent), len(c.host.mail), len(again), len(c.ends)))
    assert not missing and not foreign, (missing[:20], len(missing), foreign)
    assert len(c.ledger.accepted) > MESSAGES * 0.9 and len(c.ends) > 2
    # What was recorded as delivered never goes again; what waited has no reply, or one that wasn't recorded.
    assert all(waited for _, waited in again), again
    assert c.host.violations == []
    compare(c.host)


def test_kill(course, world):
    folder = world.folder / "killed"
    c = course(folder)
    for _ in range(5):
        c.post.start()
        feeders = c.load()
        c.until_some(c.rng.randint(MESSAGES // 40, MESSAGES // 10))
        c.end(feeders)
        c.note_end()
    c.finish()
    check(c)


def test_power_cut(mounted, course):
    c = course(mounted.path + "/data")
    for _ in range(4):
        c.post.start()
        mounted.sync()  # what is lost is lost from the load, not from the start
        feeders = c.load()
        c.until_some(c.rng.randint(MESSAGES // 40, MESSAGES // 10))
        mounted.cut(c.post.pid)
        c.end(feeders)
        c.ledger.refused.clear()  # its disk went: 4xx is right
        mounted.power_on()
        c.note_end()
    c.finish()
    check(c)


def test_control_without_flush(mounted, course):
    c = course(mounted.path + "/data", "store { sync = off }")
    c.host.answer = refuse("RCPT", "450 4.2.0 Not yet")
    c.post.start()
    mounted.sync()
    feeders = c.load()
    wait_for(lambda: len(c.ledger.accepted) >= 200, "some load", WAIT)
    mounted.cut(c.post.pid)
    c.end(feeders)
    mounted.power_on()
    c.host.answer = None
    try:
        c.post.start()
        wait_for(lambda: not c.post.waiting(), "an empty queue", WAIT)
    except AssertionError:  # not even a database is left, or none that can be read
        c.post.process.kill()
        c.post.process.wait()
        c.post.process = None
        return
    assert audit(c.ledger, c.host)[0], "nothing was lost although nothing was flushed"
