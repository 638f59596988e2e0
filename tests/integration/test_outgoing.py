# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Mail to hosts that answer in every way a host may: what arrives is what was submitted, once, or its sender is told."""
import email
import re
import socket
import threading

import pytest
from outgoing import WAIT, a_post, host, message, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import ALL, DROP, HANG, chain, refuse


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, {"idle": "1s", "helo_timeout": "6s", "connect_timeout": "5s"}) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def test_arrives_unchanged(post, host):
    p, name = host()
    sent = post.submit("x@" + name)
    mail = p.wait()[0]
    unchanged(mail.data, sent)
    assert (mail.sender, mail.to, mail.helo) == ("ann@example.com", ["x@" + name], "mail.example.com")
    post.idle()
    assert len(p.mail) == 1 and post.inbox() == []


def test_large(post, host):
    p, name = host()
    sent = post.submit("x@" + name, message(body="0123456789" * 7 + "\r\n" + "." * 60 + "\r\n" * 3 + ("y" * 70 + "\r\n") * 40000))
    unchanged(p.wait()[0].data, sent)


def test_recipients_of_a_domain_share_a_transaction(post, host):
    p, one = host()
    q, two = host()
    sent = post.submit(["a@" + one, "b@" + two, "c@" + one, "bob@example.com"])
    unchanged(p.wait()[0].data, sent)
    unchanged(q.wait()[0].data, sent)
    assert sorted(p.mail[0].to) == ["a@" + one, "c@" + one] and q.mail[0].to == ["b@" + two]
    unchanged(wait_for(lambda: post.inbox("bob"), "the local copy")[0], sent)
    post.idle()
    assert len(p.mail) == len(q.mail) == 1


def test_a_connection_is_used_again(post, host):
    gate = threading.Event()  # none ends before all are there: a connection that has nothing to do for a second is closed
    p, name = host(answer=lambda _, verb, __: "451 4.3.0 Too late" if verb == "END" and not gate.wait(3 * WAIT) else None)
    with post.client() as client:
        for i in range(60):
            client.sendmail("ann@example.com", "x@" + name, message())
    gate.set()
    p.wait(60)
    assert len(p.sessions) <= 30  # relay.site_connections are 20, and one may have been idle too long
    assert p.until(lambda: not p.open)  # which is said goodbye then
    assert p.verbs["QUIT"] == len(p.sessions)


def test_greylisting(post, host):
    p, name = host(answer=refuse("RCPT", "450 4.7.1 Greylisted, come back", times=2))
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)
    assert p.verbs["RCPT"] == 3
    post.idle()
    assert post.inbox() == []


def at_each(post, host, stages, reply):
    """One message to one host for each stage, which fails once there; it must come once all the same."""
    sent = {}
    for stage in stages:
        p, name = host(answer=refuse(stage, reply, times=1))
        sent[stage] = p, post.submit("x@" + name)
    for p, data in sent.values():
        unchanged(p.wait()[0].data, data)
    post.idle()
    assert {stage: len(p.mail) for stage, (p, _) in sent.items()} == dict.fromkeys(stages, 1)
    assert post.inbox() == []


def test_refused_for_now(post, host):
    at_each(post, host, ("GREETING", "EHLO", "MAIL", "DATA", "END"), "451 4.3.0 Not now")


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "END"])
def test_refused_for_good(post, host, stage):
    p, name = host(answer=refuse(stage, "554 5.7.1 We don't like <this>"))
    sent = post.submit("x@" + name)
    report = post.report()
    r = report.rcpt()
    assert r["Action"] == "failed" and r["Status"] == "5.7.1" and r["Final-Recipient"].endswith("x@" + name)
    assert "554" in r["Diagnostic-Code"] and "We don't like <this>" in r["Diagnostic-Code"]
    assert ("mx." + name) in r["Remote-MTA"]
    assert "x@" + name in report.words and "We don't like <this>" in report.words
    assert re.search(rb"^Message-ID: (.*)\r$", sent, re.M)[1].decode() in report.original.as_string()
    post.idle()
    assert p.mail == [] and p.verbs["MAIL"] == 1


def test_one_recipient_of_three_is_refused(post, host):
    p, name = host(answer=chain(refuse("RCPT", "550 5.1.1 No such user", match="<no@"),
                                refuse("RCPT", "452 4.5.3 Too many", times=1, match="<later@")))
    sent = post.submit(["yes@" + name, "no@" + name, "later@" + name])
    for mail in p.wait(2):
        unchanged(mail.data, sent)
    assert [m.to for m in p.mail] == [["yes@" + name], ["later@" + name]]
    report = post.report()
    assert report.rcpt()["Final-Recipient"].endswith("no@" + name) and report.rcpt()["Status"] == "5.1.1"
    post.idle()
    assert len(p.mail) == 2


def test_only_helo(post, host):
    p, name = host(ehlo=False)
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)
    assert p.mail[0].params == {} and p.verbs["HELO"] == 1


def test_no_pipelining(post, host):
    p, name = host(offers=("8BITMIME",))
    sent = post.submit(["a@" + name, "b@" + name])
    unchanged(p.wait()[0].data, sent)  # that nothing was sent ahead is looked at by the host


def test_chunking(post, host):
    p, name = host(offers=ALL + ("CHUNKING",))
    for body in (None, ("." * 70 + "\r\n") * 30000):
        sent = post.submit("x@" + name, message(body=body))
        unchanged(p.wait(1 if body is None else 2)[-1].data, sent)


def test_size_limit_is_known_before(post, host):
    p, name = host(offers=("PIPELINING", "SIZE 5000"))
    post.submit("x@" + name, message(body=("y" * 70 + "\r\n") * 100))
    assert post.report().rcpt()["Status"] == "5.3.4"
    assert "DATA" not in p.verbs and p.mail == []
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)


def test_8bit_text_for_a_7bit_host_is_converted(post, host):
    p, name = host(offers=("PIPELINING", "SIZE"))
    head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    post.submit("x@" + name, message(head=head, body="Grüße aus Köln\r\n"), mail=["BODY=8BITMIME"])
    got = p.wait()[0]
    m = email.message_from_bytes(got.data)
    assert m.get_payload(decode=True).decode() == "Grüße aus Köln\r\n"
    assert m["Content-Transfer-Encoding"] in ("quoted-printable", "base64")


def test_8bit_text_goes_as_it_is(post, host):
    p, name = host()
    head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    sent = post.submit("x@" + name, message(head=head, body="Grüße aus Köln\r\n"), mail=["BODY=8BITMIME"])
    unchanged(p.wait()[0].data, sent)
    assert p.mail[0].params["BODY"] == "8BITMIME"


def test_smtputf8(post, host):
    p, one = host()
    q, two = host(offers=("PIPELINING", "8BITMIME"))
    data = message(head="X-Name: Jörg\r\n")
    with post.client() as client:
        assert client.mail("ann@example.com", ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        for to in ("jörg@" + one, "jörg@" + two):
            client.send(("RCPT TO:<%s>\r\n" % to).encode())
            assert client.getreply()[0] == 250
        assert client.data(data)[0] == 250
    unchanged(p.wait()[0].data, data)
    assert p.mail[0].to == ["jörg@" + one] and "SMTPUTF8" in p.mail[0].params
    wait_for(lambda: post.inbox(), "a report about the host without SMTPUTF8", 60)
    report = post.inbox()[0]
    assert b"5.6.7" in report and q.mail == []


def test_slow_host(post, host):
    p, name = host(drip=0.01, offers=("PIPELINING",))  # few words: relay.helo_timeout is for a whole reply
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)


def test_host_that_says_nothing(post, host):
    """relay.helo_timeout: 6 s."""
    p, name = host(answer=refuse("GREETING", HANG, times=1))
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)


def test_host_hangs_up(post, host):
    at_each(post, host, ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"), DROP)


def test_lost_reply_means_twice(post, host):
    """RFC 5321 4.5.4.1, RFC 1047: the host has it, and we can't know."""
    p, name = host(answer=refuse("LOST", DROP, times=1))
    sent = post.submit("x@" + name)
    for mail in p.wait(2):
        unchanged(mail.data, sent)
    post.idle()
    assert len(p.mail) == 2 and post.inbox() == []


def test_burst_of_421(post, host):
    """A host that closes most connections gets all mail in the end, and not over ever more of them."""
    p, name = host(answer=refuse("MAIL", "421 4.7.0 Too many of you", times=3))
    with post.client() as client:
        for i in range(20):
            client.sendmail("ann@example.com", "x@" + name, message())
    p.wait(20, 90)
    post.idle()
    assert len(p.mail) == 20
    assert post.inbox() == []


def test_many_messages(post, host):
    """Concurrency grows with success, each arrives once, none over more connections than allowed."""
    p, name = host()
    sent = []
    with post.client() as client:
        for i in range(300):
            sent.append(message())
            client.sendmail("ann@example.com", "x%d@%s" % (i, name), sent[-1])
    got = {m.to[0]: m for m in p.wait(300, 3 * WAIT)}
    post.idle()
    assert len(p.mail) == len(got) == 300 and p.most_open <= 30  # 20, and some that the host hasn't seen end yet
    for i, data in enumerate(sent):
        unchanged(got["x%d@%s" % (i, name)].data, data)


def test_control(post, host):
    """The host does notice what a client may not do."""
    p, name = host(offers=())
    with socket.create_connection((p.listeners[0].getsockname()[0], 25), timeout=30) as s:
        s.sendall(b"EHLO x\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@d>\r\nDATA\r\n\xff\n\r\n.\r\nQUIT\r\n")
        while s.recv(1000):
            pass  # it closes after QUIT
    text = "\n".join(p.violations)
    for what in ("pipelined", "SIZE=1 was not offered", "data before", "8-bit", "bare"):
        assert what in text, text
    p.violations.clear()
