# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse quarantine`: what was kept from its recipients, found, shown, released and deleted, with a server running and without
one. The rows are written here as the store writes them; that stages put them there is shown by test_stages.py."""
import sqlite3

import pytest
from conftest import posthouse, wait_for
from test_queue import DAY, Queue, fill, now

XANDROS, VIVITA, KARL = "xandros@example.com", "vivita@example.com", "karl@example.com"


class Quarantine(Queue):
    def keep(self, *accounts, leaves=(), sender="a@example.org", since=None, stage="dmarc", held=2):
        ident = self.add(*leaves, sender=sender, since=since, held=held)
        db = sqlite3.connect(self.data / "store.db", timeout=10)
        with db:
            db.execute("UPDATE queue SET stage = ?, reason = ?, until = ? WHERE id = ?", (stage, b"because \x1b[2J", now() + DAY, ident))
            for n, account in enumerate(accounts):
                db.execute("INSERT INTO queue_rcpt(queue, n, account, mailbox, prefix) VALUES (?, ?, ?, 'INBOX', ?)", (ident, n, account, b""))
            if not leaves:
                db.execute("DELETE FROM queue_out WHERE queue = ?", (ident,))
        db.close()
        return ident

    def __call__(self, *words, code=0):
        done = posthouse("quarantine", *words, "--json", data=self.data)
        assert done.code == code, (words, done.code, done.out, done.err)
        return done.json if code == 0 else done.json["error"]

    def text(self, *words):
        done = posthouse("quarantine", *words, data=self.data)
        assert done.code == 0, done.err
        return done.out


@pytest.fixture
def alone(start, folder):
    server = start(data=folder)
    fill(server)
    server.stop()
    return Quarantine(folder)


def test_found_and_shown(alone):
    q = alone
    assert q("list") == []
    first = q.keep(XANDROS, VIVITA)
    second = q.keep(KARL, leaves=["far@one.example"], sender="", since=now() - 3 * 3600_000, stage="clamav,dmarc")
    q.keep(XANDROS, held=1)  # for a stage: not in quarantine
    q.add("z@two.example")   # on its way
    third = q.keep(VIVITA, sender="b@sub.example.org", stage="policy")
    listed = q("list")
    assert [e["id"] for e in listed] == [first, second, third]
    assert {**listed[0], "since": 0, "until": 0, "size": 0} == {
        "id": first, "since": 0, "until": 0, "size": 0, "recipients": 2, "sender": "a@example.org", "to": XANDROS, "stage": "dmarc",
        "reason": "because \x1b[2J"}
    assert listed[0]["until"] > listed[0]["since"] and listed[1]["recipients"] == 2
    for words, found in ((["--rcpt=" + XANDROS], [first]), (["--rcpt=Vivita@EXAMPLE.com"], [first, third]),
                         (["--rcpt=@example.com"], [first, second, third]), (["--rcpt=@one.example"], [second]), (["--sender=<>"], [second]),
                         (["--sender=@example.org"], [first]), (["--sender=@.example.org"], [first, third]), (["--older=2h"], [second]),
                         (["--stage=dmarc"], [first, second]), (["--stage=policy", "--rcpt=" + VIVITA], [third]), (["--stage=dm"], []),
                         (["--after=" + first], [second, third])):
        assert q.ids(*words) == found, words
    text = q.text("list")
    assert "\x1b" not in text and len(text.splitlines()) == 4
    shown = q("show", second)
    assert shown["recipients"] == [KARL, "far@one.example"] and shown["stage"] == "clamav,dmarc" and "Subject: here" in shown["head"]
    assert "--rcpt" in q("list", "--rcpt=", code=2) and q("list", "--older=soon", code=2)


def test_nothing_by_accident(alone):
    q = alone
    ident, held, leaving = q.keep(XANDROS), q.keep(XANDROS, held=1), q.add("x@one.example")
    for verb in ("release", "delete"):
        assert "say which" in q(verb, code=2)
        assert "say which" in q(verb, ident, "--all", code=2)
        assert "say which" in q(verb, "--all", "--rcpt=" + XANDROS, code=2)
        assert q(verb, "--rcpt=", code=2) and q(verb, "--sender=", code=2) and q(verb, "x", code=2)
        assert "is in quarantine" in q(verb, "999", code=1)
        assert "held until a stage" in q(verb, held, code=1) and q(verb, leaving, code=1)
        assert q(verb, "--rcpt=nobody@example.com") == {"messages": 0, "recipients": 0, "changed": False}
        assert q(verb, ident, "--dry-run") == {"messages": 1, "recipients": 1, "changed": False}
        assert q(verb, "--all", "--dry-run") == {"messages": 1, "recipients": 1, "changed": False}
        assert q(verb, ident, held, code=1)  # all or none
    assert q("show", held, code=1) and q("show", leaving, code=1)
    assert q.ids() == [ident]
    q.sound()


def test_released_and_deleted(start, folder):
    server = start(data=folder)
    fill(server)
    q = Quarantine(folder)
    had = len(server.messages(XANDROS))
    one, two = q.keep(XANDROS, VIVITA), q.keep(XANDROS, leaves=["far@one.example"])
    many = [q.keep(KARL, sender="bulk@example.net") for _ in range(120)]
    old = q.keep(XANDROS, since=now() - 5 * DAY)
    assert q("release", one) == {"messages": 1, "recipients": 2, "changed": True}
    assert q("release", two, "--junk") == {"messages": 1, "recipients": 2, "changed": True}
    assert len(server.messages(XANDROS)) == had + 1 and len(server.messages(XANDROS, "Junk")) == 1
    assert len(server.messages(VIVITA)) == 1
    wait_for(lambda: posthouse("queue", "show", two, "--json", data=folder).json["leaves"][0]["state"] != "held", "it leaves")
    assert q("release", one, code=1)
    assert q("delete", old, old) == {"messages": 1, "recipients": 1, "changed": True}
    assert q("release", "--sender=@example.net", "--dry-run") == {"messages": 120, "recipients": 120, "changed": False}
    assert q.ids() == many
    assert q("delete", many[0])["messages"] == 1
    assert q("release", "--sender=@example.net") == {"messages": 119, "recipients": 119, "changed": True}
    assert server.count(KARL) == 119 and q("list") == []
    server.stop()
    last = q.keep(KARL)
    assert q("delete", "--older=1d") == {"messages": 0, "recipients": 0, "changed": False}
    assert q("delete", last)["changed"] and q("list") == []
    q.sound()


def test_nobody_inherits(start, folder):
    """The account that it was held for is removed: whoever has the address then gets nothing of it."""
    server = start(data=folder)
    fill(server)
    q = Quarantine(folder)
    alone, shared = q.keep(KARL), q.keep(KARL, VIVITA)
    had = server.count(VIVITA)
    assert posthouse("user", "remove", KARL, data=folder).code == 0
    assert "recipient is gone" in q("release", alone, code=1)
    assert q("release", shared) == {"messages": 1, "recipients": 2, "changed": True, "gone": 1}
    assert server.count(VIVITA) == had + 1
    assert posthouse("user", "add", KARL, stdin="secret-2\n", data=folder).code == 0
    assert "recipient is gone" in q("release", shared, code=1)
    assert {e["reason"] for e in q("list")} == {"recipient is gone: %s was removed" % KARL}
    assert [a["messages"] for a in posthouse("account", "list", "--json", data=folder).json if a["account"] == KARL and not a["detached"]] in ([], [0])
    server.stop()
    q.sound()
