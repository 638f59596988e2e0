# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The queue in an administrator's hands, and over the ends of the server: nothing is missing afterwards, and what is there twice
is what the other host's reply to was lost."""
import signal
import threading

import pytest
from outgoing import ADDRESS, WAIT, a_post, host, message, repeated, wait_for, world  # noqa: F401 (fixture)
from peer import Peer, refuse

SLOW = {"min_backoff": "1h", "max_backoff": "1h"}  # only what is told to goes


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, SLOW) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def put_off(post, name, sender="ann@example.com", user="ann", to="x"):
    """One that waits, tried once; its id."""
    before = {q["id"] for q in post.waiting()}
    post.submit("%s@%s" % (to, name), message(sender=sender), sender=sender, user=user)
    post.tried(1, len(before) + 1)
    return next(q["id"] for q in post.waiting() if q["id"] not in before)


NOT_NOW = "450 4.7.1 Not now"


def test_list_and_show(post, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW))
    id = put_off(post, name)
    entry = post.waiting()[0]
    assert entry["sender"] == "ann@example.com" and entry["to"] == "x@" + name and entry["recipients"] == 1
    assert "Not now" in entry["reason"] and entry["size"] > 900 and entry["id"] == id
    shown = post.command("queue", "show", id)
    assert shown.code == 0 and "Not now" in shown.out and "x@" + name in shown.out
    assert "x@" + name in post.command("queue", "list").out


def test_retry(post, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW, times=1))
    id = put_off(post, name)
    assert p.mail == []
    assert post.command("queue", "retry", id).code == 0
    p.wait()


def test_hold_and_release(post, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW, times=1))
    q, other = host(answer=refuse("RCPT", NOT_NOW, times=1))
    id = put_off(post, name)
    put_off(post, other)
    assert post.command("queue", "hold", id).code == 0
    assert post.command("queue", "flush").code == 0
    q.wait()  # the other went, this stayed
    assert p.mail == [] and len(p.sessions) == 1
    assert post.command("queue", "release", id).code == 0
    p.wait()
    post.idle()


def test_remove(post, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW, times=1))
    id = put_off(post, name)
    assert post.command("queue", "remove", id).code == 0
    post.idle()
    assert p.mail == [] and post.inbox() == []


def test_reroute(post, world, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW))
    id = put_off(post, name)
    n = next(world.free)
    with Peer(ADDRESS % n, port=2500) as other:
        assert post.command("queue", "reroute", id, "%s:2500" % (ADDRESS % n)).code == 0
        assert other.wait()[0].to == ["x@" + name]
    post.idle()


def test_filters(post, host):
    p, one = host(answer=refuse("RCPT", NOT_NOW, times=2))
    q, two = host(answer=refuse("RCPT", "451 4.3.0 Broken", times=2))
    put_off(post, one)
    put_off(post, two)
    put_off(post, one, "bob@example.com", "bob", "y")
    for word, count in (("--domain=" + one, 2), ("--domain=" + two, 1), ("--sender=bob@example.com", 1), ("--error=Broken", 1),
                        ("--older=1h", 0), ("--domain=nowhere.test", 0)):
        assert len(post.json("queue", "list", word)) == count, word
        assert post.json("queue", "retry", word, "--dry-run") == {"recipients": count, "changed": False}, word
    assert p.mail == q.mail == []
    assert post.command("queue", "flush", two).code == 0
    wait_for(lambda: q.verbs["RCPT"] >= 2, "an attempt", 60)
    assert p.verbs["RCPT"] == 2


def test_etrn(post, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW, times=1))
    put_off(post, name)
    with post.client(25, None) as client:
        assert client.docmd("ETRN " + name)[0] == 459  # RFC 1985: not for everybody
    with post.client() as client:
        assert client.docmd("ETRN " + name)[0] == 250
    p.wait()
    post.idle()


# ---- the server's end
def test_waits_over_a_restart(world, host):
    p, name = host(answer=refuse("RCPT", NOT_NOW, times=1))
    with a_post(world, SLOW) as post:
        id = put_off(post, name)
        post.end()
        post.start()
        assert [(r["id"], r["tries"]) for r in post.waiting_to()] == [(id, 1)]
        assert post.command("queue", "flush").code == 0
        p.wait()
        post.idle()


def numbered(n, name):
    return "x%d@%s" % (n, name)


class Feeder(threading.Thread):
    """Submits until the server goes away; remembers what was acknowledged."""

    def __init__(self, post, name, first, count):
        super().__init__(daemon=True)
        self.post, self.name, self.numbers = post, name, range(first, first + count)
        self.taken = []

    def run(self):
        try:
            with self.post.client() as client:
                for n in self.numbers:
                    if client.sendmail("ann@example.com", numbered(n, self.name), message(body="short\r\n")) == {}:
                        self.taken.append(n)
        except OSError:  # smtplib's exceptions are of this kind
            pass


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle(world, signum):
    """Each acknowledged message arrives. Twice comes only what the queue still had after the end, and that was nothing when it
    could end properly."""
    n = next(world.free)
    name, rounds, each = "p%d.test" % n, 4, 200
    with Peer(ADDRESS % n) as p, a_post(world) as post:
        taken, ends = [], []
        for i in range(rounds):
            feeders = [Feeder(post, name, (i * 2 + k) * each, each) for k in range(2)]
            for f in feeders:
                f.start()
            some = len(p.mail) + 40
            assert p.until(lambda: len(p.mail) >= some)
            post.end(signum)
            for f in feeders:
                f.join(60)
                assert not f.is_alive()
                taken += f.taken
            assert p.until(lambda: not p.open)
            ends.append((len(p.mail), {q["to"] for q in post.waiting()}))
            post.start()
        post.idle(3 * WAIT)
        assert len(taken) > 60 and set(numbered(n, name) for n in taken) <= {m.to[0] for m in p.mail}
        again = repeated(p.mail, ends)
        assert not again if signum == signal.SIGTERM else all(waited for _, waited in again), again
        assert p.violations == []
