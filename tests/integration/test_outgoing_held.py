# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Mail of a user that a stage can't judge yet: when it can, the copy that leaves passes the stages at `outbound`, as others do."""
import os
import sys

import pytest
from conftest import ROOT, wait_for
from outgoing import a_post, a_world, host, message  # noqa: F401 (fixture)

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from milter import CONTINUE, Milter, insert  # noqa: E402


@pytest.fixture(scope="module")
def world():
    with a_world() as w:
        yield w


@pytest.fixture(scope="module")
def judge(world):
    path = world.folder / "milter"
    with Milter("unix:%s" % path) as m:
        os.chmod(path, 0o666)
        m.on["E"] = [insert(1, "X-Judged", "yes"), CONTINUE]
        yield m


@pytest.fixture(scope="module")
def post(world, judge):
    more = 'filters { hold_retry = 100ms }\nmilter { endpoints = {"%s"} on_error = hold }\n' % judge.endpoint
    with a_post(world, more=more) as p:
        p.trouble_expected = True
        yield p


def test_released_mail_is_signed(world, post, host, judge):
    record = post.json("dkim", "create", "example.com", "--selector=one", "--algorithm=rsa", "--now")["records"][0]["value"].encode()
    p, name = host()
    # The server sees the new key a moment after the command has ended.
    wait_for(lambda: [post.submit("x@" + name), p.wait(), p.mail.pop().data.startswith(b"DKIM-Signature:")][-1], "signed mail")
    known = p.answered
    judge.misbehave = ("E", "close")
    post.submit("x@" + name, message("the held one"))
    wait_for(lambda: [m["state"] for m in post.json("queue", "list")] == ["held"], "held mail")
    assert p.answered == known
    judge.misbehave = None
    data = p.wait(known + 1)[-1].data
    assert data.startswith(b"DKIM-Signature:") and b"the held one" in data and data.count(b"X-Judged: yes") == 1
    dkim = pytest.importorskip("dkim")
    assert dkim.verify(data, dnsfunc=lambda asked, timeout=5: record if asked == b"one._domainkey.example.com." else None)
    post.idle()
