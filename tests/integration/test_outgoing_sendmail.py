# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The binary called as sendmail, mailq and newaliases, as cron, PHP and mail readers call it: what it hands in leaves."""
import os
import re
import subprocess

import pytest
from conftest import BINARY
from outgoing import a_post, host, message, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import refuse

TEXT = "Subject: from a program\n\nfirst\n.\nlast\n"


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, {"min_backoff": "1h", "max_backoff": "1h"}, socket='"%s"' % (world.folder / "submit.sock")) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


@pytest.fixture(scope="module")
def call(world, post):
    """call(name, words..., stdin=) as root, or as another user."""
    for name in ("sendmail", "mailq", "newaliases"):
        os.symlink(BINARY, world.folder / name)

    def run(name, *words, stdin="", user=None):
        return subprocess.run([world.folder / name, *words], input=stdin, capture_output=True, text=True, timeout=60, user=user,
                              env=dict(os.environ, POSTHOUSE_SOCKET=str(world.folder / "submit.sock"), POSTHOUSE_DATA=str(post.data)))
    return run


def test_recipients_from_the_head(post, host, call):
    p, name = host()
    done = call("sendmail", "-t", "-oi", stdin="To: x@%s\nBcc: y@%s\n%s" % (name, name, TEXT))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mail = p.wait()[0]
    assert sorted(mail.to) == ["x@" + name, "y@" + name] and mail.sender == "root@example.com"
    assert b"Bcc" not in mail.data and mail.header("From") and mail.header("Date") and mail.header("Message-ID")
    assert mail.data.endswith(b"\r\n\r\nfirst\r\n.\r\nlast\r\n")


def test_a_dot_ends_it(post, host, call):
    p, name = host()
    assert call("sendmail", "x@" + name, stdin=TEXT).returncode == 0
    assert p.wait()[0].data.endswith(b"\r\n\r\nfirst\r\n")


def test_sender(post, host, call):
    p, name = host()
    assert call("sendmail", "-i", "-f", "ann@example.com", "-F", "Ann A.", "x@" + name, stdin=TEXT).returncode == 0
    mail = p.wait()[0]
    assert mail.sender == "ann@example.com" and mail.header("From") == '"Ann A." <ann@example.com>', mail.header("From")


def test_a_user_of_the_machine(post, host, call):
    p, name = host()
    assert call("sendmail", "-F", "A Daemon", "x@" + name, stdin=TEXT, user="daemon").returncode == 0
    mail = p.wait()[0]
    assert mail.sender == "daemon@example.com" and mail.header("From") == '"A Daemon" <daemon@example.com>'


def test_for_us_and_elsewhere(post, host, call):
    p, name = host()
    assert call("sendmail", "-i", "bob@example.com", "x@" + name, stdin=TEXT).returncode == 0
    p.wait()
    assert wait_for(lambda: post.inbox("bob"), "the local copy")[0].endswith(b"\r\n\r\nfirst\r\n.\r\nlast\r\n")


def test_as_a_session(post, host, call):
    p, name = host()
    done = call("sendmail", "-bs", stdin="EHLO here\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<x@%s>\r\nDATA\r\n%s.\r\nQUIT\r\n" % (
        name, message(body="short\r\n").decode()))
    assert done.returncode == 0 and re.match("220 ", done.stdout) and "\n354 " in done.stdout and "\n221 " in done.stdout
    p.wait()


def test_exit_codes(post, world, call):
    assert call("sendmail", stdin=TEXT).returncode == 64  # nobody to send it to
    assert call("sendmail", "nobody-here@example.com", stdin=TEXT).returncode == 67
    assert call("newaliases").returncode == 0
    done = subprocess.run([world.folder / "sendmail", "x@p100.test"], input=TEXT, capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, POSTHOUSE_SOCKET=str(world.folder / "nobody.sock")))
    assert done.returncode == 75 and done.stderr


def test_mailq(post, host, call):
    p, name = host(answer=refuse("RCPT", "450 4.2.0 Later", times=1))
    call("sendmail", "x@" + name, stdin=TEXT)
    post.tried(1)
    for words in (("mailq",), ("sendmail", "-bp")):
        done = call(*words)
        assert done.returncode == 0 and "x@" + name in done.stdout, done
    assert call("sendmail", "-q").returncode == 0
    p.wait()
