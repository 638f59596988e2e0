# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Greylisting: a stranger is told to come again and then let in; over a restart; whom a user has written to is let in at once."""
import re
import smtplib

import pytest
from outgoing import ELSEWHERE, WAIT, a_post, message, wait_for, world  # noqa: F401 (fixture)

STRANGER = "stranger@elsewhere.test"


def settings(delay, clients="all"):
    return "spf { mode = off }\ngreylist {\n    clients = %s\n    delay = %s\n    skip = {}\n}\n" % (clients, delay)


@pytest.fixture
def post(world):
    with a_post(world, more=settings("1h")) as p:
        yield p


def again_with(post, more):
    post.write(more)
    post.hup()


def brings(post, sender=STRANGER, to="ann@example.com"):
    """The reply to RCPT if that refuses it, else to the message."""
    with post.client(port=25, user=None, source=ELSEWHERE) as client:
        assert client.mail(sender)[0] == 250
        code, words = client.rcpt(to)
        if code == 250:
            code, words = client.data(message(sender=sender))
        return code, words.decode()


def let_in(post, **how):
    wait_for(lambda: brings(post, **how)[0] == 250, "the second attempt", WAIT)


def test_comes_again(post):
    code, words = brings(post)
    assert code == 450 and words.startswith("4.7.1 Greylisted: ") and words.endswith("try again in 3600 s"), words
    code, words = brings(post)
    assert code == 450 and 3000 < int(re.search(r"in (\d+) s", words)[1]) <= 3600, words
    assert post.inbox() == []
    again_with(post, settings("1s"))
    let_in(post)
    assert len(post.inbox()) == 1
    again_with(post, settings("1h"))
    assert brings(post)[0] == 250
    assert brings(post, to="bob@example.com")[0] == 450
    shown = post.command("explain", re.findall(r"mid=(\d+)", post.log())[-1], "--json").json
    stage = [s for s in shown["stages"] if s["stage"] == "greylist"][0]
    assert stage["reason"] == "seen for the first time" and stage["facts"] == {"greylist.result": "new"}


def test_over_a_restart(post):
    assert brings(post)[0] == 450
    post.end()
    post.start(settings("1s"))
    let_in(post)
    post.end()
    post.start(settings("1h"))
    assert brings(post)[0] == 250


def test_answers_to_users(post):
    assert brings(post, "friend@far.test")[0] == 450
    post.submit("Friend@far.test")
    assert brings(post, "friend@far.test")[0] == 250
    assert brings(post, "friend@far.test", to="bob@example.com")[0] == 450
    post.clean()


def test_users_are_never_told_to(post):
    post.submit("bob@example.com")
    with post.client(user=None, port=25, source=ELSEWHERE) as client:
        assert client.mail(STRANGER)[0] == 250
        assert client.rcpt("ann@example.com")[0] == 450


def test_shadow(post):
    again_with(post, settings("1h").replace("greylist {", "greylist {\n    mode = shadow"))
    assert brings(post)[0] == 250


def test_off_unless_asked_for(world):
    with a_post(world) as p:
        assert brings(p)[0] == 250


def test_refused_setting(post):
    post.write(settings("1h", clients="everybody"))
    done = post.run("--show-config")
    assert done.returncode != 0 and "clients" in done.stderr and "suspects" in done.stderr
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        with post.client(port=25, user=None, source=ELSEWHERE) as client:
            client.sendmail(STRANGER, "ann@example.com", message())
