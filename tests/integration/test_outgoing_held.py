# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Mail of a user that a stage can't judge yet, or that lies in quarantine: when it is let go, by the stage or by a command, the copy
that leaves passes the stages at `outbound`, as others do."""
import os
import sys

import pytest
from conftest import ROOT, wait_for
from outgoing import a_post, host, message, world  # noqa: F401 (fixture)

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from milter import CONTINUE, Milter, insert, quarantine  # noqa: E402


@pytest.fixture(scope="module")
def judge(world):
    path = world.folder / "milter"
    with Milter("unix:%s" % path) as m:
        os.chmod(path, 0o666)
        m.on["E"] = [insert(1, "X-Judged", "yes"), CONTINUE]
        yield m


def a_signing_post(world, judge, **filters):
    """And the record of its key."""
    settings = "".join(" %s = %s" % item for item in dict({"hold_retry": "100ms"}, **filters).items())
    return a_post(world, more='filters {%s }\nmilter { endpoints = {"%s"} on_error = hold }\n' % (settings, judge.endpoint))


def make_key(post, p, name, selector="one"):
    made = post.json("dkim", "create", "example.com", "--selector=" + selector, "--algorithm=rsa", "--now")["records"]
    record, = [r["value"].encode() for r in made if r["name"].startswith(selector + ".")]
    # The server sees the new key a moment after the command has ended.
    wait_for(lambda: b" s=%s;" % selector.encode() in sent(post, p, name), "signed mail")
    return record


def sent(post, p, name):
    known = p.answered
    post.submit("x@" + name)
    return p.wait(known + 1)[-1].data


def signed_once(data, record, selector="one"):
    dkim = pytest.importorskip("dkim")
    assert data.startswith(b"DKIM-Signature:") and data.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:") == 1
    name = b"%s._domainkey.example.com." % selector.encode()
    assert dkim.verify(data, dnsfunc=lambda asked, timeout=5: record if asked == name else None)


def states(post):
    return [m["state"] for m in post.json("queue", "list")]


@pytest.fixture(scope="module")
def post(world, judge):
    with a_signing_post(world, judge) as p:
        p.trouble_expected = True
        yield p


@pytest.fixture(scope="module")
def record():
    return []  # of the key, once there is one


@pytest.fixture
def ready(post, judge, host, record):
    """A host and its domain; the server signs."""
    p, name = host()
    if not record:
        record.append(make_key(post, p, name))
    yield p, name
    judge.misbehave = None
    judge.on["E"] = [insert(1, "X-Judged", "yes"), CONTINUE]


def test_released_mail_is_signed(post, ready, judge, record):
    p, name = ready
    known = p.answered
    judge.misbehave = ("E", "close")
    post.submit("x@" + name, message("the held one"))
    wait_for(lambda: states(post) == ["held"], "held mail")
    assert p.answered == known
    judge.misbehave = None
    data = p.wait(known + 1)[-1].data
    assert b"the held one" in data and data.count(b"X-Judged: yes") == 1
    signed_once(data, record[0])
    post.idle()


def test_held_mail_released_by_a_command(post, ready, judge, record):
    """The stage that held it still can't judge it; recipients here get it at once."""
    p, name = ready
    known = p.answered
    post.empty("bob")
    judge.misbehave = ("E", "close")
    post.submit(["x@" + name, "bob@example.com"], message("held and let go"))
    wait_for(lambda: states(post) == ["held"], "held mail")
    ident = post.json("queue", "list")[0]["id"]
    assert post.json("queue", "release", ident) == {"recipients": 2, "changed": True}
    here, = post.inbox("bob")
    assert b"held and let go" in here and b"DKIM-Signature" not in here
    data = p.wait(known + 1)[-1].data
    assert b"held and let go" in data and b"X-Judged" not in data
    signed_once(data, record[0])
    post.idle()
    assert len(post.inbox("bob")) == 1


def test_quarantine_released_by_a_command(post, ready, judge, record):
    p, name = ready
    known = p.answered
    judge.on["E"] = [quarantine("looks odd"), CONTINUE]
    post.submit("x@" + name, message("the odd one"))
    ident, = [m["id"] for m in post.json("quarantine", "list")]
    assert post.json("quarantine", "release", ident)["messages"] == 1
    data = p.wait(known + 1)[-1].data
    assert b"the odd one" in data
    signed_once(data, record[0])
    post.idle()


def test_without_a_server(post, ready, judge, record):
    """Stages run in the server: what leaves waits for it, and says so."""
    p, name = ready
    known = p.answered
    judge.misbehave = ("E", "close")
    post.submit("x@" + name, message("let go in the night"))
    wait_for(lambda: states(post) == ["held"], "held mail")
    ident = post.json("queue", "list")[0]["id"]
    post.end()
    assert "when the server runs" in post.json("queue", "release", ident)["leaving"]
    assert states(post) == ["held"]
    post.start()
    signed_once(p.wait(known + 1)[-1].data, record[0])
    post.idle()


def test_quarantine_of_what_was_held_for_too_long(world, judge, host):
    p, name = host()
    with a_signing_post(world, judge, hold_time="1s") as post:
        post.trouble_expected = True
        record = make_key(post, p, name)
        known = p.answered
        judge.misbehave = ("E", "close")
        post.submit("x@" + name, message("judged too late"))
        wait_for(lambda: states(post) == ["quarantine"], "its time is over")
        judge.misbehave = None
        kept, = post.json("quarantine", "list")
        assert "within filters.hold_time" in kept["reason"]
        assert post.json("quarantine", "release", "--sender=ann@example.com")["messages"] == 1
        data = p.wait(known + 1)[-1].data
        assert b"judged too late" in data
        signed_once(data, record)
        post.idle()


def test_quarantine_outlives_a_key(world, judge, host):
    """Signed by the key of the day on which it leaves."""
    p, name = host()
    with a_signing_post(world, judge) as post:
        make_key(post, p, name)
        judge.on["E"] = [quarantine("looks odd"), CONTINUE]
        post.submit("x@" + name, message("the old one"))
        kept, = post.json("quarantine", "list")
        judge.on["E"] = [CONTINUE]
        post.json("dkim", "retire", "example.com", "one", "--now")
        record = make_key(post, p, name, "two")
        known = p.answered
        assert post.json("quarantine", "release", kept["id"])["messages"] == 1
        data = p.wait(known + 1)[-1].data
        assert b"the old one" in data
        signed_once(data, record, "two")
        post.idle()
