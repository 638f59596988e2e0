# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""What the sender is told: failure, delay, expiry and success as asked (RFC 3461, 3464), and mail that an alias forwards, with
the bounce that finds its way back (SRS)."""
import re
import smtplib

import pytest
from outgoing import ADDRESS, ELSEWHERE, Report, a_post, host, message, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import Peer, refuse

NOWHERE = 29  # the domain of forwarded mail's sender
OFFERS_NO_DSN = ("PIPELINING", "8BITMIME", "SIZE 1000000")


def zones(world):
    world.zone("sender.test", "@ MX 10 mx\nmx A %s\n" % (ADDRESS % NOWHERE), signed=True)


@pytest.fixture(scope="module")
def post(world):
    with a_post(world) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


REFUSED = refuse("RCPT", "550 5.1.1 No such user")


# ---- what is asked for
def test_headers_or_all_of_it(post, host):
    p, name = host(answer=REFUSED)
    body = "the text of it\r\n"
    for count, ret, kind in ((1, "HDRS", "text/rfc822-headers"), (2, "FULL", "message/rfc822")):
        post.submit("x@" + name, message(body=body), mail=["RET=" + ret, "ENVID=id+2B%d" % count])
        report = post.report(count)
        assert report.original.get_content_type() == kind
        assert (body in report.original.as_string().replace("\n", "\r\n")) == (ret == "FULL")
        assert report.about["Original-Envelope-Id"] == "id+%d" % count


def test_notify_never(post, host):
    p, name = host(answer=REFUSED)
    q, other = host(answer=REFUSED)
    post.submit("x@" + name, rcpt=["NOTIFY=NEVER"])
    post.submit("x@" + name, rcpt=["NOTIFY=SUCCESS,DELAY"])
    post.submit("y@" + other)  # the one that is reported
    report = post.report()
    post.idle()
    assert report.rcpt()["Final-Recipient"].endswith("y@" + other) and p.verbs["RCPT"] == 2
    assert len(post.inbox()) == 1


def test_dsn_is_passed_on(post, host):
    p, name = host()
    post.submit("x@" + name, mail=["RET=HDRS", "ENVID=abc"], rcpt=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first@example.net"])
    mail = p.wait()[0]
    assert mail.params["RET"] == "HDRS" and mail.params["ENVID"] == "abc"
    assert mail.rcpts[0][1] == {"NOTIFY": "SUCCESS,FAILURE", "ORCPT": "rfc822;first@example.net"}
    post.idle()
    assert post.inbox() == []  # RFC 3461 5.2.1: the host's to report


def test_success_at_a_host_that_knows_no_dsn(post, host):
    p, name = host(offers=OFFERS_NO_DSN)
    post.submit("x@" + name, mail=["ENVID=abc"], rcpt=["NOTIFY=SUCCESS", "ORCPT=rfc822;first@example.net"])
    p.wait()
    report = post.report()
    r = report.rcpt()
    assert r["Action"] == "relayed" and r["Status"].startswith("2.")  # RFC 3461 5.2.2
    assert r["Original-Recipient"].replace(" ", "") == "rfc822;first@example.net"
    assert report.original.get_content_type() == "text/rfc822-headers"  # RFC 3461 4.3: not the text of what arrived


def test_success_in_a_mailbox(post):
    post.submit("bob@example.com", rcpt=["NOTIFY=SUCCESS"])
    assert post.report().rcpt()["Action"] == "delivered"
    assert len(post.inbox("bob")) == 1


def test_null_sender_gets_nothing(post, host):
    """RFC 5321 4.5.5: no report about a report."""
    p, name = host(answer=REFUSED)
    q, other = host(answer=REFUSED)
    post.submit("x@" + name, sender="")
    post.submit("y@" + other)
    post.report()
    post.idle()
    assert len(post.inbox()) == 1 and len(post.inbox("bob")) == 0 and p.verbs["RCPT"] == 1


# ---- time
def test_delay_then_expiry(world, host):
    p, name = host(answer=refuse("RCPT", "450 4.2.2 Mailbox full"))
    with a_post(world, {"delay_warning": "1s", "lifetime": "16s"}) as post:
        post.submit("x@" + name)
        failed = post.report(2).rcpt()
        delayed = Report(post.inbox()[0]).rcpt()
        assert delayed["Action"] == "delayed" and delayed["Status"] == "4.2.2" and "Will-Retry-Until" in delayed
        assert failed["Action"] == "failed" and failed["Status"] in ("4.2.2", "4.4.7", "5.4.7")
        for r in (delayed, failed):
            assert "Mailbox full" in r["Diagnostic-Code"]
        post.idle()
        assert len(post.inbox()) == 2 and p.verbs["RCPT"] >= 3


def test_lifetime_of_nothing_means_once(world, host):
    p, name = host(answer=refuse("RCPT", "450 4.2.2 Mailbox full"))
    with a_post(world, {"lifetime": "0s"}) as post:
        post.submit("x@" + name)
        assert post.report(1).rcpt()["Action"] == "failed"
        assert p.verbs["RCPT"] == 1


# ---- forwarding
def arrive(post, to, sender="someone@sender.test"):
    data = message(sender=sender, to=to)
    client = smtplib.SMTP(timeout=60, local_hostname="mx.sender.test", source_address=(ELSEWHERE, 0))
    client.connect(post.home, 25)
    with client:
        assert client.sendmail(sender, to, data) == {}
    return data


def test_forwarded_with_a_sender_of_ours(post, host):
    p, name = host()
    assert post.command("alias", "add", "away@example.com", "x@" + name, "bob@example.com").code == 0
    sent = arrive(post, "away@example.com")
    mail = p.wait()[0]
    unchanged(mail.data, sent)
    assert mail.to == ["x@" + name]
    assert re.fullmatch(r"SRS0=[^=]{4,}=[^=]{2}=sender\.test=someone@mail\.example\.com", mail.sender), mail.sender
    unchanged(wait_for(lambda: post.inbox("bob"), "the copy that stays")[0], sent)
    with Peer(ADDRESS % NOWHERE) as home:  # a bounce of the other host finds its way
        arrive(post, mail.sender, sender="")
        back = home.wait()[0]
        assert (back.sender, back.to) == ("", ["someone@sender.test"])
        # What was not made here goes nowhere.
        forged = mail.sender.replace("sender.test=someone", "sender.test=another")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            arrive(post, forged, sender="")
        assert len(home.mail) == 1


def test_forwarded_mail_that_is_refused(post, host):
    """Its report goes to the sender, at another host."""
    p, name = host(answer=REFUSED)
    assert post.command("alias", "add", "gone@example.com", "x@" + name).code == 0
    with Peer(ADDRESS % NOWHERE) as home:
        arrive(post, "gone@example.com")
        mail = home.wait()[0]
        assert (mail.sender, mail.to) == ("", ["someone@sender.test"])
        r = Report(b"Return-Path: <>\r\n" + mail.data).rcpt()
        assert r["Action"] == "failed" and r["Status"] == "5.1.1"
    assert home.violations == []


def test_report_elsewhere_is_signed(post, host):
    """It leaves as mail of users does: past the stages, with the key of the domain it is from."""
    dkim = pytest.importorskip("dkim")
    record = post.json("dkim", "create", "example.com", "--selector=one", "--algorithm=rsa", "--now")["records"][0]["value"].encode()
    p, domain = host(answer=REFUSED)
    assert post.command("alias", "add", "signed@example.com", "x@" + domain).code == 0

    def report():
        with Peer(ADDRESS % NOWHERE) as home:
            arrive(post, "signed@example.com")
            return home.wait()[0].data

    # The server sees a new key a moment after the command has ended.
    data = wait_for(lambda: next((d for d in [report()] if d.startswith(b"DKIM-Signature:")), None), "a signed report")
    assert b"From: MAILER-DAEMON@example.com" in data or b"<MAILER-DAEMON@example.com>" in data
    assert dkim.verify(data, dnsfunc=lambda name, timeout=5: record if name == b"one._domainkey.example.com." else None)
    assert post.command("dkim", "retire", "example.com", "one", "--now").code == 0
    assert post.command("dkim", "remove", "example.com", "one").code == 0


def test_forwarding_in_a_circle_ends(post, world):
    """The other host sends all of it back to us."""
    n = next(world.free)
    name = "p%d.test" % n
    assert post.command("alias", "add", "round@example.com", "round@" + name).code == 0
    seen = []

    def back(session, verb, _):
        if verb == "LOST":
            mail = session.host.mail[-1]
            seen.append(mail)
            client = smtplib.SMTP(timeout=60, local_hostname="mx." + name, source_address=(ADDRESS % n, 0))
            client.connect(post.home, 25)
            with client:
                try:
                    client.sendmail(mail.sender, "round@example.com", mail.data)
                except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
                    pass
    with Peer(ADDRESS % n, answer=back), Peer(ADDRESS % NOWHERE) as home:
        arrive(post, "round@example.com")
        wait_for(lambda: home.mail or (seen and not post.waiting()), "the end of the circle", 90)
        post.idle()
        assert 1 <= len(seen) <= 3
