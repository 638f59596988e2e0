# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Postfix, Exim and OpenSMTPD as hosts of recipients: accepting, refusing, putting off, under TLS that DANE and MTA-STS demand,
and sending bounces and answers back to us."""
import contextlib
import email
import re

import pytest
from outgoing import ADDRESS, NAMES, WEB, a_post, a_world, message, mta, unchanged, wait_for
from peer import Peer
from policy import Policies

POSTFIX, EXIM, OPENSMTPD, BEHIND = 10, 11, 12, 13
POLICY = "version: STSv1\nmode: enforce\nmx: mx.exim.test\nmax_age: 86400\n"


def zones(world):
    world.postfix, world.exim = world.ca.certificate("mx.postfix.test"), world.ca.certificate("mx.exim.test")
    world.zone("postfix.test", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n" % (ADDRESS % POSTFIX, world.postfix.tlsa()), signed=True)
    world.zone("exim.test", '@ MX 10 mx\nmx A %s\n_mta-sts TXT "v=STSv1; id=1;"\nmta-sts A %s\n' % (ADDRESS % EXIM, WEB))
    world.zone("opensmtpd.test", "@ MX 10 mx\nmx A %s\n" % (ADDRESS % OPENSMTPD))


@pytest.fixture(scope="module")
def world():
    mta.prefetch()
    with a_world(zones) as w:
        yield w


@pytest.fixture(scope="module")
def post(world):
    web = Policies(WEB, world.ca.certificate("mta-sts.exim.test"), {"mta-sts.exim.test": POLICY})
    try:
        with a_post(world) as p:
            yield p
    finally:
        web.stop()


@contextlib.contextmanager
def running(kind, world, n, **options):
    try:
        server = kind(world.folder / kind.__name__, ADDRESS % n, resolver=NAMES, **options)
    except mta.NoServer as e:
        pytest.skip("no %s: %s" % (kind.__name__, e))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def postfix(world):
    with running(mta.Postfix, world, POSTFIX, domains=["postfix.test"], tls=world.postfix,
                 more=["relayhost = [10.25.0.1]:25", "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination"]) as p:
        yield p


@pytest.fixture(scope="module")
def exim(world):
    with running(mta.Exim, world, EXIM, domains=["exim.test"], tls=world.exim) as p:
        yield p


@pytest.fixture(scope="module")
def opensmtpd(world):
    """What it takes it hands on to `behind`."""
    with Peer(ADDRESS % BEHIND) as behind:
        with running(mta.OpenSMTPD, world, OPENSMTPD, on=ADDRESS % BEHIND) as p:
            p.behind = behind
            yield p


@pytest.fixture(params=["postfix", "exim"])
def mailer(request):
    server = request.getfixturevalue(request.param)
    server.domain = request.param + ".test"
    yield server
    server.forget()


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def envelope(front):
    """Sender and recipient as the server noted them."""
    return (re.search(rb"^Return-Path: <(.*)>\r$", front, re.M | re.I)[1].decode(),
            re.search(rb"^(?:X-Original-To|Envelope-to): (.*)\r$", front, re.M)[1].decode())


def test_accepts(post, mailer):
    """Under the TLS that DANE (Postfix) and MTA-STS (Exim) demand."""
    sent = [post.submit("x@" + mailer.domain), post.submit("x@" + mailer.domain, message(body=("." * 70 + "\r\n") * 20000))]
    for got in mailer.mail(2):
        front = unchanged(got, next(s for s in sent if got.endswith(s)))
        assert envelope(front) == ("ann@example.com", "x@" + mailer.domain)
        assert re.search(rb"TLSv?1\.3", front), front
    post.idle()
    assert len(mailer.files()) == 2


def test_takes_8bit_and_utf8(post, mailer):
    head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    sent = post.submit("x@" + mailer.domain, message(head=head, body="Grüße\r\n"), mail=["BODY=8BITMIME"])
    unchanged(mailer.mail()[0], sent)


def test_refuses_one_of_three(post, mailer):
    sent = post.submit(["a@" + mailer.domain, "nobody@" + mailer.domain, "later@" + mailer.domain])
    report = post.report()
    r = report.rcpt("nobody@" + mailer.domain)
    assert r["Action"] == "failed" and "550" in r["Diagnostic-Code"] and "No such user" in r["Diagnostic-Code"]
    unchanged(mailer.mail()[0], sent)
    later = post.tried()[0]
    assert later["to"] == "later@" + mailer.domain and "Later" in later["error"]
    assert len(mailer.files()) == 1 and len(post.inbox()) == 1


def test_many(post, mailer):
    sent = [message() for _ in range(100)]
    with post.client() as client:
        for data in sent:
            client.sendmail("ann@example.com", "x@" + mailer.domain, data)
    got = mailer.mail(100, 120)
    post.idle()
    assert len(mailer.files()) == 100
    for data in sent:
        assert sum(g.endswith(data) for g in got) == 1


def test_opensmtpd_accepts(post, opensmtpd):
    opensmtpd.behind.reset()
    sent = post.submit(["x@opensmtpd.test", "y@opensmtpd.test"])
    mails = opensmtpd.behind.wait(1)
    if len(mails[0].to) == 1:
        mails = opensmtpd.behind.wait(2)
    assert sorted(to for m in mails for to in m.to) == ["x@opensmtpd.test", "y@opensmtpd.test"]
    for m in mails:
        unchanged(m.data, sent)
        assert m.sender == "ann@example.com"
    post.idle()


def test_success_is_reported_by_the_host(post, postfix):
    """RFC 3461 5.2.1: it knows DSN, so it is its to report, with our ENVID and ORCPT; the report comes in by SMTP."""
    post.submit("x@postfix.test", mail=["RET=HDRS", "ENVID=QQ314159"], rcpt=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;X@postfix.test"])
    report = email.message_from_bytes(wait_for(post.inbox, "Postfix's report", 60)[0])
    assert report.get_content_type() == "multipart/report"
    text = report.as_string()
    assert "Action: delivered" in text and "QQ314159" in text and "Original-Recipient: rfc822;X@postfix.test" in text
    post.idle()


