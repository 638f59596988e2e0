# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Strangers at port 25, and what the DNS says of them: their names (rdns), HELO, DNS lists; a DNS that lies, is silent, or goes in
circles stops no mail and no client for long."""
import re
import smtplib
import time

import pytest
from outgoing import WAIT, a_post, message, wait_for, world  # noqa: F401 (fixture)

FRIEND, NAMELESS, LISTED, LIAR, CIRCLE, SILENT = ["10.25.1.%d" % n for n in (9, 10, 66, 67, 68, 69)]
LATE = 25  # seconds that each stage may ask: an answer that is slow is an answer
SETTINGS = """
spf { mode = off }
rdns {
    missing = refuse
    unconfirmed = refuse
    skip = {}
    dns_time = %ds
}
helo {
    ours = refuse
    unresolvable = score
    skip = {}
    dns_time = %ds
}
dnslist {
    lists = { "bl.test=127.0.0.2:5", "all.test=9", "liar.test=9", "refuses.test=9", "nothing.test=9" }
    domain_lists = { "names.test=9" }
    refuse = 5
    test_every = 1s
    skip = {}
    dns_time = %ds
}
"""


def settings(late=LATE):
    return SETTINGS % (late, late, late)


def zones(world):
    world.zone("25.10.in-addr.arpa", "9.1 PTR client.friend.test.\n67.1 PTR client.friend.test.\n"
               "68.1 CNAME circle\ncircle CNAME 68.1\n66.1 PTR listed.friend.test.\n69.1 PTR silent.friend.test.")
    world.zone("friend.test", "client A %s\nlisted A %s\nsilent A %s\n" % (FRIEND, LISTED, SILENT))
    world.zone("bl.test", '2.0.0.127 A 127.0.0.2\n66.1.25.10 A 127.0.0.2\n66.1.25.10 TXT "See https://bl.test/?66"')
    world.zone("all.test", "* A 127.0.0.2")
    world.zone("liar.test", "* A 10.0.0.1")
    world.zone("refuses.test", "* A 127.255.255.254")
    world.zone("nothing.test", "www A 10.0.0.1")
    world.zone("names.test", "test A 127.0.0.2\nevil.test A 127.0.0.2")


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, more=settings()) as p:
        wait_for(lambda: "list bl.test is on" in p.log() and "list names.test is on" in p.log(), "tests of the lists", WAIT)
        yield p


def brings(post, source, sender="someone@elsewhere.test", helo="client.friend.test"):
    """The reply to MAIL if that refuses it, else to the message."""
    with smtplib.SMTP(timeout=WAIT, local_hostname=helo, source_address=(source, 0)) as client:
        client.connect(post.home, 25)
        client.ehlo()
        code, words = client.mail(sender)
        if code == 250:
            assert client.rcpt("ann@example.com")[0] == 250
            code, words = client.data(message(sender=sender))
        return code, words.decode()


def newest(post):
    return post.inbox()[-1]


def test_name_that_leads_back(post):
    assert brings(post, FRIEND)[0] == 250
    head = newest(post)
    assert re.search(rb"Received: from client.friend.test \(client.friend.test \[10.25.1.9\]\)", head), head
    assert re.search(rb"Authentication-Results: mail.example.com;\s+iprev=pass\s+policy.iprev=10.25.1.9", head), head


def test_no_name(post):
    code, words = brings(post, NAMELESS)
    assert code == 550 and words.startswith("5.7.25 Your address 10.25.1.10 has no name in the DNS"), words
    with smtplib.SMTP(timeout=WAIT, local_hostname="laptop", source_address=(NAMELESS, 0)) as client:
        client.connect(post.home, 25)
        client.ehlo()
        assert client.mail("a@elsewhere.test")[0] == 550
    assert post.submit("bob@example.com", user="ann")  # users aren't judged by such


def test_name_that_does_not_lead_back(post):
    code, words = brings(post, LIAR)
    assert code == 550 and "client.friend.test, which hasn't this address" in words


def test_our_name(post):
    code, words = brings(post, FRIEND, helo="mail.example.com")
    assert code == 550 and "that is not you" in words


def test_listed(post):
    code, words = brings(post, LISTED)
    assert (code, words) == (550, "5.7.1 10.25.1.66 is listed by bl.test: See https://bl.test/?66")
    code, words = brings(post, FRIEND, sender="x@evil.test")
    assert code == 550 and "evil.test is listed by names.test" in words


def test_lists_of_no_use(post):
    for words in ("list all.test is off: it lists 127.0.0.1, so it lists everything", "list nothing.test is off: it doesn't list",
                  "list liar.test is off: it answers with addresses", "list refuses.test is off: it refuses"):
        assert words in wait_for(lambda: all("list %s.test is off" % z in post.log() for z in ("all", "nothing", "liar", "refuses"))
                                 and post.log(), "lists that are off", WAIT)
    assert brings(post, FRIEND)[0] == 250


def test_dns_in_circles(post):
    """No answer isn't a missing name: it is let in."""
    assert brings(post, CIRCLE)[0] == 250
    assert b"from client.friend.test ([10.25.1.68])" in newest(post)


def test_silent_dns(world, post):
    post.write(settings(late=1))
    post.hup()
    world.names.freeze()
    try:
        began = time.monotonic()
        assert brings(post, SILENT, sender="a@silent.test", helo="unheard.friend.test")[0] == 250
        assert time.monotonic() - began < LATE  # stages whose second is over say so
    finally:
        world.names.thaw()
        post.write(settings())
        post.hup()
    assert b"from unheard.friend.test ([10.25.1.69])" in newest(post)


def test_switched_off_while_it_runs(post):
    """By a reload: no question any more, and what it was has no effect."""
    post.write(settings().replace("dnslist {", "dnslist {\n    mode = off").replace("rdns {", "rdns {\n    mode = off"))
    post.hup()
    assert brings(post, LISTED)[0] == 250
    assert b"from client.friend.test ([10.25.1.66])" in newest(post)
    post.write(settings())
    post.hup()
    assert brings(post, LISTED)[0] == 550
