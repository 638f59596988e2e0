# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Which host mail goes to, by DNS and by settings, and who may send it from here."""
import smtplib

import pytest
from outgoing import ADDRESS, ELSEWHERE, a_post, message, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import Peer, refuse

# Hosts whose addresses the zone names.
BEST, WORSE, SIX, IMPLICIT, SMART, OTHER, SECRET = range(20, 27)
NETWORK = "10.25.1.64/26"
FRIEND = "10.25.1.70"
ROUTES = """
route "partner" { domains = {"partner.test", ".partner.test"}
                  host = "%(other)s"
                  port = 2525
                  tls = none }
route "bob" { domains = {"far.test"}
              senders = {"bob@example.com"}
              host = "%(other)s"
              port = 2525
              tls = none }
""" % {"other": ADDRESS % OTHER}


def zones(world):
    world.zone("far.test", "@ MX 0 mx\nmx A %s\n" % (ADDRESS % IMPLICIT))
    world.zone("mail.test", "\n".join((
        "null MX 0 .", "null A %s" % (ADDRESS % BEST),
        "multi MX 20 worse", "multi MX 10 best", "multi MX 15 dead",
        "dead A 10.25.0.98", "best A %s" % (ADDRESS % BEST), "worse A %s" % (ADDRESS % WORSE),
        "six MX 5 mx.six", "mx.six AAAA fd25::%x" % SIX,
        "both MX 5 mx.both", "mx.both AAAA fd25::98", "mx.both A %s" % (ADDRESS % BEST),
        "implicit A %s" % (ADDRESS % IMPLICIT),
        "alias CNAME implicit",
        "lost MX 10 nowhere", "loop MX 10 mail.example.com.",
        "backup MX 10 best", "backup MX 20 mail.example.com.", "backup MX 30 worse",
        "smart A %s" % (ADDRESS % SMART))), signed=True)
    world.zone("broken.test", None)
    world.zone("forged.test", "@ MX 10 mx\nmx A %s\n" % (ADDRESS % BEST), signed=True, forged=("MX",))
    world.zone("stale.test", "@ MX 10 mx\nmx A %s\n" % (ADDRESS % BEST), signed=True, expired=True)


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, {"connect_timeout": "5s", "trusted_networks": '{"%s"}' % NETWORK}, ROUTES) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def at(*addresses, **options):
    return Peer(*[a if isinstance(a, str) else ADDRESS % a for a in addresses], **options)


# ---- by DNS
def test_the_best_preference(post):
    with at(BEST) as best, at(WORSE) as worse:
        sent = post.submit("x@multi.mail.test")
        unchanged(best.wait()[0].data, sent)
        assert worse.sessions == []


def test_the_next_one_when_the_best_is_not_there(post):
    with at(WORSE) as worse:
        sent = post.submit("x@multi.mail.test")
        unchanged(worse.wait()[0].data, sent)
        post.idle()


def test_the_next_one_when_the_best_cannot_now(post):
    with at(BEST, answer=refuse("GREETING", "421 4.3.2 Closed")) as best, at(WORSE) as worse:
        sent = post.submit("x@multi.mail.test")
        unchanged(worse.wait()[0].data, sent)
        assert best.sessions
        post.idle()


def test_null_mx(post):
    """RFC 7505: such a domain takes no mail, whatever its address record says."""
    with at(BEST) as best:
        post.submit("x@null.mail.test")
        r = post.report().rcpt()
        assert r["Status"] == "5.1.10" and best.sessions == []


def test_no_such_domain(post):
    post.submit("x@nothing.mail.test")
    assert post.report().rcpt()["Status"] == "5.1.2"


def test_address_record_alone(post):
    with at(IMPLICIT) as p:
        sent = post.submit(["x@implicit.mail.test"])
        unchanged(p.wait()[0].data, sent)
        post.submit("x@alias.mail.test")
        assert len(p.wait(2)) == 2


def test_ipv6_only(post):
    with at("fd25::%x" % SIX) as p:
        sent = post.submit("x@six.mail.test")
        unchanged(p.wait()[0].data, sent)


def test_ipv4_when_ipv6_is_dead(post):
    with at(BEST) as p:
        sent = post.submit("x@both.mail.test")
        unchanged(p.wait()[0].data, sent)


def test_loop_to_ourselves(post):
    """RFC 5321 5.1: an MX that is us, and what isn't better, isn't tried."""
    post.submit("x@loop.mail.test")
    assert post.report().rcpt()["Status"] in ("5.4.6", "5.3.5")
    with at(BEST) as best, at(WORSE) as worse:
        post.submit("x@backup.mail.test")
        best.wait()
        assert worse.sessions == []


def test_dns_that_fails_is_for_later(post):
    """Whoever forges an answer, or breaks a server, doesn't make mail come back."""
    names = ("broken.test", "forged.test", "stale.test", "lost.mail.test")
    with at(BEST) as p:
        for name in names:
            post.submit("x@" + name)
        assert {r["to"] for r in post.tried(2, len(names))} == {"x@" + name for name in names}
        assert p.sessions == [] and post.inbox() == []


def test_address_literal(post):
    """Of private networks only with relay.local_hosts: it is somebody else's word that leads there."""
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="5.1.2"):
        post.submit("x@[%s]" % (ADDRESS % BEST))


# ---- by settings
def test_route_of_a_domain(post):
    with at(OTHER, port=2525) as p:
        sent = post.submit(["x@partner.test", "y@sub.partner.test"])
        got = p.wait(1)
        if len(got[0].to) < 2:
            got = p.wait(2)
        assert sorted(to for m in got for to in m.to) == ["x@partner.test", "y@sub.partner.test"]
        unchanged(got[0].data, sent)


def test_route_of_a_sender(post):
    with at(OTHER, port=2525) as routed, at(IMPLICIT) as far:
        post.submit("x@far.test", message(sender="bob@example.com"), sender="bob@example.com", user="bob")
        post.submit("y@far.test")
        assert routed.wait()[0].to == ["x@far.test"] and far.wait()[0].to == ["y@far.test"]


def test_reload_moves_what_waits(world):
    """Mail in the queue goes where the settings of today say, at once."""
    with a_post(world, {"min_backoff": "1h", "max_backoff": "1h"}) as p, at(IMPLICIT, answer=refuse("RCPT", "450 4.7.1 Not now")) as old:
        p.submit("x@far.test")
        p.tried(1)
        with at(OTHER, port=2525) as new:
            p.write('route "new" { domains = {"far.test"}\n host = "%s"\n port = 2525\n tls = none }\n' % (ADDRESS % OTHER))
            p.hup()
            p.submit("y@far.test")
            assert p.command("queue", "flush").code == 0
            assert sorted(to for m in new.wait(2) for to in m.to) == ["x@far.test", "y@far.test"]
            p.idle()
        assert old.mail == []


def test_from_an_address_of_ours(world):
    with a_post(world, {"bind_ipv4": "10.25.4.4"}) as p, at(BEST) as best:
        p.submit("x@both.mail.test")
        best.wait()
        assert {s.client[0] for s in best.sessions} == {"10.25.4.4"}


def test_ipv4_only(world):
    with a_post(world, inet="ipv4") as p, at("fd25::%x" % SIX) as six, at(BEST) as best:
        p.submit(["x@six.mail.test", "x@both.mail.test"])
        best.wait()
        wait_for(lambda: len(p.waiting_to()) == 1 or p.inbox(), "an end of the other", 60)
        assert six.sessions == []


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
def test_smarthost_with_a_login(world, mechanism):
    """Everything but our own goes there, logged in with a password from a file, under TLS to the host's name."""
    tls = world.ca.certificate("smart.mail.test")
    secret = world.folder / "password"
    secret.write_text("top secret\n")
    secret.chmod(0o640)
    settings = {"host": "smart.mail.test", "port": 587, "user": "relay@example.com", "password": '"file:%s"' % secret}
    with at(SMART, port=587, tls=tls, users={"relay@example.com": "top secret"}, mechanisms=(mechanism,)) as smart:
        with a_post(world, settings) as p:
            sent = p.submit(["x@anything.example", "y@null.mail.test"])
            mail = smart.wait()[0]
            unchanged(mail.data, sent)
            assert mail.user == "relay@example.com" and mail.tls.startswith("TLSv1")
            assert mail.to == ["x@anything.example", "y@null.mail.test"]
            assert [s.mechanism for s in smart.sessions] == [mechanism]
        assert smart.violations == []


def test_smarthost_refuses_the_login(world):
    """Somebody must mend the password: mail waits, and the password isn't told to an impostor."""
    tls = world.ca.certificate("smart.mail.test")
    wrong = world.ca.certificate("impostor.test")
    settings = {"host": "smart.mail.test", "port": 587, "user": "relay@example.com", "password": "wrong"}
    with a_post(world, settings) as p:
        p.trouble_expected = True
        with at(SMART, port=587, tls=tls, users={"relay@example.com": "right"}) as smart:
            p.submit("x@anything.example")
            assert smart.until(lambda: smart.verbs.get("AUTH", 0) >= 2)
            assert "MAIL" not in smart.verbs and p.inbox() == []
        with at(SMART, port=587, tls=wrong, users={"relay@example.com": "wrong"}) as impostor:
            assert impostor.until(lambda: impostor.failed_handshakes or impostor.sessions and not impostor.open)
            assert "AUTH" not in impostor.verbs
        assert p.waiting() and p.inbox() == []


# ---- who may
def attempt(post, source, sender, to, port=25):
    """The reply to RCPT."""
    client = smtplib.SMTP(timeout=60, local_hostname="client.example.org", source_address=(source, 0))
    client.connect(post.home, port)
    with client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        return client.rcpt(to)[0]


def test_no_open_relay(post):
    for sender in ("a@there.example", "ann@example.com", ""):
        for to in ("x@far.test", "x%far.test@example.com", "@example.com:x@far.test", '"x@far.test"@example.com', "x@[10.25.0.20]",
                   "far.test!x@example.com"):
            assert 500 <= attempt(post, ELSEWHERE, sender, to) < 600, (sender, to)
    assert attempt(post, ELSEWHERE, "a@there.example", "ann@example.com") == 250
    assert attempt(post, "10.25.1.63", "a@there.example", "x@far.test") == 550  # just outside


def test_trusted_network(post):
    data = message(sender="someone@there.example")
    with at(IMPLICIT) as p:
        client = smtplib.SMTP(timeout=60, local_hostname="client.example.org", source_address=(FRIEND, 0))
        client.connect(post.home, 25)
        with client:
            assert client.sendmail("someone@there.example", ["x@far.test", "ann@example.com"], data) == {}
        unchanged(p.wait()[0].data, data)
        assert p.mail[0].sender == "someone@there.example" and p.mail[0].to == ["x@far.test"]
    unchanged(wait_for(post.inbox, "the local copy")[0], data)


def test_mail_of_others_is_not_ours_to_send(post):
    with post.client() as client:
        with pytest.raises(smtplib.SMTPException):
            client.sendmail("bob@example.com", "x@far.test", message(sender="bob@example.com"))


def test_relay_switched_off(world):
    with a_post(world, {"enabled": "no"}) as p, p.client() as client:
        client.mail("ann@example.com")
        assert 500 <= client.rcpt("x@far.test")[0] < 600
        assert client.rcpt("bob@example.com")[0] == 250
