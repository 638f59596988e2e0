# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse queue`: mail that leaves, shown and changed, with a server running and without one.

The rows are written here as the store writes them, beside a message that was delivered: what puts them there, and what
sends them, has tests of its own. All are due in a day, so no server tries them while a test looks.
"""
import sqlite3
import time

import pytest
from conftest import posthouse, wait_for

DAY = 86400_000


def now():
    return int(time.time() * 1000)

# Columns that later versions added have defaults.
QUEUE = "id, body, held, since, until, next_try, sender, stage, reason, info"
QUEUE_TO = "queue, n, state, site, next_try, expires, tries, forced, warned, notify, rcpt, sender, orcpt, last"


class Queue:
    """Mail waiting in the store of a folder; its commands."""

    def __init__(self, data):
        self.data = data
        self.next_id = 1000

    def add(self, *rcpts, sender="a@example.com", since=None, last="", held=0):
        """One message to these; returns its id. held: 2, in quarantine."""
        db = sqlite3.connect(self.data / "store.db", timeout=10)
        with db:
            body, = db.execute("SELECT MIN(id) FROM body").fetchone()
            self.next_id += 1
            db.execute("UPDATE body SET refs = refs + 1 WHERE id = ?", (body,))
            db.execute("INSERT INTO queue(%s) VALUES (?, ?, ?, ?, 0, 0, ?, '', ?, ?)" % QUEUE,
                       (self.next_id, body, held, since or now(), sender.encode(), b"", b""))
            db.execute("INSERT INTO queue_out VALUES (?, 0, 0, ?, ?, ?)", (self.next_id, sender, b"", b"X-Ours: 1\r\n"))
            for n, rcpt in enumerate(rcpts):
                db.execute("INSERT INTO queue_to(%s) VALUES (?, ?, ?, ?, ?, ?, 3, 0, 0, 4, ?, NULL, ?, ?)" % QUEUE_TO,
                           (self.next_id, n, 2 if held else 0, rcpt.split("@")[1], now() + DAY, now() + 5 * DAY,
                            rcpt.encode(), b"", last))
        db.close()
        return str(self.next_id)

    def __call__(self, *words, code=0):
        """The result; of a failure, its words."""
        done = posthouse("queue", *words, "--json", data=self.data)
        assert done.code == code, (words, done.code, done.out, done.err)
        return done.json if code == 0 else done.json["error"]

    def text(self, *words):
        done = posthouse("queue", *words, data=self.data)
        assert done.code == 0, done.err
        return done.out

    def ids(self, *words):
        return [e["id"] for e in self("list", *words)]

    def to(self, ident):
        return self("show", ident)["leaves"]

    def sound(self):
        assert posthouse("mailbox", "check", data=self.data).code == 0


def fill(server):
    with server.smtp() as client:
        client.sendmail("someone@example.org", "xandros@example.com", "Subject: here\r\n\r\nHello\r\n")


@pytest.fixture
def alone(start, folder):
    """A folder that a server has made and left."""
    server = start(data=folder)
    fill(server)
    server.stop()
    return Queue(folder)


@pytest.fixture
def running(start, folder):
    fill(start(data=folder))
    return Queue(folder)


def test_shown(alone):
    q = alone
    assert q("list") == [] and q("totals")["messages"] == 0 and q("totals")["oldest"] is None
    first = q.add("x@one.example", "y@two.example", last="421 4.7.0 busy \x1b[2J (mx.one.example)")
    second = q.add("z@sub.one.example", sender="", since=now() - 3 * 3600_000)
    third = q.add("q@far.example", held=2)
    listed = q("list")
    assert [e["id"] for e in listed] == [first, second, third]
    assert [e["state"] for e in listed] == ["waiting", "waiting", "quarantine"]
    assert listed[0]["recipients"] == 2 and listed[0]["to"] == "x@one.example" and "busy" in listed[0]["reason"]
    assert listed[0]["in"].startswith("in 23h ") or listed[0]["in"] == "in 1d 0h"
    assert listed[1]["sender"] == "<>"
    assert q.ids("--leaving") == [first, second] and q.ids("--held") == [third]
    assert q.ids("--domain=one.example") == [first] and q.ids("--domain=.one.example") == [first, second]
    assert q.ids("--sender=@EXAMPLE.com", "--leaving") == [first] and q.ids("--sender=<>") == [second]
    assert q.ids("--error=BUSY") == [first] and q.ids("--older=2h") == [second] and q.ids("--older=1d") == []
    assert q.ids("--after=" + first) == [second, third]
    text = q.text("list")
    assert "\x1b" not in text and len(text.splitlines()) == 4

    shown = q("show", first)
    assert shown["recipients"] == ["x@one.example", "y@two.example"] and shown["sender"] == "a@example.com"
    assert shown["head"].startswith("X-Ours: 1\r\n") and "Subject: here" in shown["head"]
    to = shown["leaves"][1]
    assert (to["to"], to["site"], to["state"], to["tries"], to["notify"]) == ("y@two.example", "two.example", "waiting", 3, ["failure"])
    assert "busy" in to["error"] and to["expires"] > to["next"]
    lines = q.text("show", first).splitlines()
    assert "head:" in lines and "  Subject: here" in lines and any("y@two.example" in line and "421" in line for line in lines)
    assert q("show", third)["leaves"][0]["state"] == "held"
    assert q("totals") == {**q("totals"), "messages": 2, "recipients": 3, "on_hold": 0}
    assert q("show", "999", code=1) and q("show", "0", code=2) and q("show", "x", code=2)
    q.sound()


def test_nothing_by_accident(alone):
    q = alone
    ident = q.add("x@one.example")
    for verb in ("retry", "hold", "release", "remove"):
        assert "say which" in q(verb, code=2)
        assert "say which" in q(verb, ident, "--all", code=2)
        assert "say which" in q(verb, ident, "--domain=one.example", code=2)
        assert "say which" in q(verb, "--domain=one.example", "--all", code=2)
        assert q(verb, "--domain=", code=2) and q(verb, "--sender=", code=2) and q(verb, "--older=soon", code=2)
        assert q(verb, "999", code=1)
        assert q(verb, "--domain=elsewhere.example") == {"recipients": 0, "changed": False}
    assert q("reroute", code=2) and q("reroute", "mx.example:25", code=2) and q("reroute", "--all", code=2)
    for wrong in ("mx.example:0", "mx.example:70000", "relay:mx.example", "a b", "2001:db8::1:x", ":25"):
        assert q("reroute", ident, wrong, code=2)
    assert q("release", "--all", "--junk", code=2)
    assert q.to(ident)[0]["state"] == "waiting"


def test_changed(alone):
    q = alone
    first, second = q.add("x@one.example", "y@two.example"), q.add("z@one.example", sender="b@example.com")
    assert q("hold", "--domain=one.example", "--dry-run") == {"recipients": 2, "changed": False}
    assert q("hold", "--domain=one.example") == {"recipients": 2, "changed": True}
    assert q("hold", "--all", "--dry-run")["recipients"] == 1
    assert [e["state"] for e in q("list")] == ["partly on hold", "on hold"]
    assert q("totals")["on_hold"] == 2
    assert q("retry", first) == {"recipients": 1, "changed": True}
    assert [(t["state"], t["in"]) for t in q.to(first)] == [("on hold", None), ("waiting", "now")]
    assert q("release", second)["recipients"] == 1 and q.to(second)[0]["in"] == "now"
    assert q("release", "--all")["recipients"] == 1
    assert q("reroute", second, "Mx.Example:2525")["recipients"] == 1
    assert (q.to(second)[0]["site"], q.to(second)[0]["rerouted"]) == ("relay:mx.example:2525", True)
    assert q("reroute", "--sender=a@example.com", "[2001:DB8:0::1]:25")["recipients"] == 2
    assert q.to(first)[0]["site"] == "relay:[2001:db8::1]:25"
    assert q("reroute", second, "other.example")["recipients"] == 1 and q.to(second)[0]["site"] == "other.example"
    assert q("reroute", "--as-routed", "--all")["recipients"] == 3
    assert [(t["site"], t["rerouted"]) for t in q.to(first)] == [("one.example", False), ("two.example", False)]
    assert q("remove", "--domain=two.example")["recipients"] == 1 and len(q.to(first)) == 1
    q.sound()
    assert q("remove", "--all", "--dry-run")["recipients"] == 2
    assert q("remove", "--all") == {"recipients": 2, "changed": True} and q("list") == []
    q.sound()


def test_held_by_id_alone(alone, start):
    q = alone
    ident, other = q.add("x@one.example", held=2), q.add("y@one.example", held=2)
    assert q("remove", "--all")["recipients"] == 0 and q("release", "--all")["recipients"] == 0
    for verb in ("retry", "hold"):
        assert "quarantine" in q(verb, ident, code=1)
    assert q("release", ident, "--dry-run") == {"recipients": 1, "changed": False}
    assert q.ids("--held") == [ident, other]
    # Without a server there are no stages that could sign it.
    for _ in range(2):
        assert q("release", ident) == {"recipients": 1, "changed": True, "leaving": "when the server runs, past its stages"}
    assert q.ids("--held") == [ident, other] and q.ids("--leaving") == []
    assert q.to(ident)[0]["state"] == "held"
    assert q("remove", other)["recipients"] == 1
    q.sound()
    server = start(data=q.data)
    wait_for(lambda: q.ids("--leaving") == [ident], "it leaves")
    assert q.ids("--held") == [] and q.to(ident)[0]["state"] == "waiting"
    server.stop()
    q.sound()


def test_flush(alone):
    q = alone
    ident = q.add("x@one.example", "y@sub.one.example", "z@two.example")
    assert q("flush", "one.example", "--dry-run")["recipients"] == 2
    assert q("flush", "one.example")["recipients"] == 2
    assert [t["in"] == "now" for t in q.to(ident)] == [True, True, False]
    assert q("flush", "a b", code=2)
    assert q("flush")["recipients"] == 3 and q.to(ident)[2]["in"] == "now"


def test_long_lists_come_in_pages(alone):
    q = alone
    db = sqlite3.connect(q.data / "store.db")
    with db:
        body, = db.execute("SELECT MIN(id) FROM body").fetchone()
        ids = range(5000, 7300)
        db.execute("UPDATE body SET refs = refs + ? WHERE id = ?", (len(ids), body))
        db.executemany("INSERT INTO queue(%s) VALUES (?, ?, ?, 1, 0, 0, ?, '', ?, ?)" % QUEUE,
                       ((i, body, 2 if i % 3 == 0 else 0, b"s@b", b"", b"") for i in ids))
        db.executemany("INSERT INTO queue_out VALUES (?, 0, 0, '', ?, ?)", ((i, b"", b"") for i in ids))
        db.executemany("INSERT INTO queue_to(%s) VALUES (?, ?, ?, 'x', 1, 1, 0, 0, 0, 0, ?, NULL, ?, '')" % QUEUE_TO,
                       ((i, n, 2 if i % 3 == 0 else 0, b"r@x.example", b"") for i in ids for n in range(1 + i % 2)))
    db.close()
    listed = q("list")
    assert [int(e["id"]) for e in listed] == list(ids)
    assert all(e["recipients"] == 1 + int(e["id"]) % 2 for e in listed)
    assert len(q.text("list", "--held").splitlines()) == 1 + sum(i % 3 == 0 for i in ids)
    assert q("remove", "--all")["recipients"] == sum(1 + i % 2 for i in ids if i % 3)
    assert q("totals")["messages"] == 0


def test_with_a_server(running):
    q = running
    ident, other = q.add("x@one.example", "y@two.example"), q.add("z@one.example")
    assert q.ids() == [ident, other]
    assert q("hold", "--all", "--dry-run") == {"recipients": 3, "changed": False}
    assert q("hold", "--all")["recipients"] == 3
    assert q("reroute", other, "mx.example:25")["recipients"] == 1
    assert [(t["state"], t["site"]) for t in q.to(other)] == [("on hold", "relay:mx.example:25")]
    assert q("flush", "nowhere.example") == {"recipients": 0, "changed": False}
    assert q("remove", "--domain=two.example")["recipients"] == 1
    assert q("totals") == {**q("totals"), "messages": 2, "recipients": 2, "on_hold": 2}
    assert q("remove", ident)["recipients"] == 1 and q.ids() == [other]
    assert q("remove", ident, code=1) and q("remove", code=2)
    q.sound()
