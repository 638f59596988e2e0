# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""TLS to other hosts: where it is offered, what DANE (RFC 7672) and MTA-STS (RFC 8461) demand, and what they must not let through."""
import re

import pytest
from outgoing import ADDRESS, WEB, Report, a_post, host, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import ALL, Peer
from policy import Policies

RIGHT, CA, WRONG, FORGED, UNUSABLE, STS, OTHER_MX, TESTING, OTHER_NAME, NO_TLS = range(30, 40)
DANE = {"right": RIGHT, "ca": CA, "wrong": WRONG, "forged": FORGED, "unusable": UNUSABLE}
POLICY = "version: STSv1\nmode: %s\nmx: %s\nmax_age: 86400\n"
STS_DOMAINS = {  # name: (mail host, mode, hosts the policy names)
    "sts.test": (STS, "enforce", "mx.sts.test"), "othermx.test": (OTHER_MX, "enforce", "*.elsewhere.test"),
    "testing.test": (TESTING, "testing", "mx.elsewhere.test"), "othername.test": (OTHER_NAME, "enforce", "mx.othername.test"),
    "notls.test": (NO_TLS, "enforce", "mx.notls.test")}


def name_of(n):
    """Of the host at that address."""
    for name, number in DANE.items():
        if number == n:
            return "mx.%s.test" % name
    return next("mx." + d for d, what in STS_DOMAINS.items() if what[0] == n)


def zones(world):
    world.certificates = {n: world.ca.certificate(name_of(n)) for n in range(RIGHT, NO_TLS + 1)}
    self_made = world.ca.certificate("not.the.name.test")  # DANE-EE looks at the key alone (RFC 7672 3.1.1)
    world.certificates[RIGHT] = world.certificates[FORGED] = self_made
    tlsa = {"right": self_made.tlsa(), "ca": world.certificates[CA].tlsa(2, 0, 1), "forged": self_made.tlsa(),
            "wrong": self_made.tlsa(), "unusable": "3 1 9 00"}
    for name, n in DANE.items():
        world.zone(name + ".test", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n" % (ADDRESS % n, tlsa[name]), signed=True,
                   forged=("TLSA",) if name == "forged" else ())
    for name, (n, _, _) in STS_DOMAINS.items():
        world.zone(name, '@ MX 10 mx\nmx A %s\n_mta-sts TXT "v=STSv1; id=20261120;"\nmta-sts A %s\n' % (ADDRESS % n, WEB))


@pytest.fixture(scope="module")
def post(world):
    texts = {"mta-sts." + name: POLICY % (mode, mx) for name, (_, mode, mx) in STS_DOMAINS.items()}
    web = Policies(WEB, world.ca.certificate(*texts), texts)
    try:
        with a_post(world, {"connect_timeout": "5s"}) as p:
            p.web = web
            yield p
    finally:
        web.stop()


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def at(world, n, **options):
    return Peer(ADDRESS % n, **dict({"tls": world.certificates[n]}, **options))


def stays(post, peer):
    """Tried again and again, nothing got through, its sender hasn't it back."""
    error = post.tried()[0]["error"]
    assert peer.mail == [] and post.inbox() == []
    return error


# ---- opportunistic
def test_encrypted_where_it_is_offered(world, post, host):
    p, name = host(tls=world.ca.certificate("a.name.that.is.wrong.test"))
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)
    assert p.mail[0].tls == "TLSv1.3"


def test_plain_where_tls_is_broken(post, host):
    p, name = host(tls="garbage")
    sent = post.submit("x@" + name)
    unchanged(p.wait()[0].data, sent)
    assert p.mail[0].tls is None and p.verbs["STARTTLS"] >= 1


def test_a_route_that_demands_tls(world, host):
    good, bad, plain = [next(world.free) for _ in range(3)]
    names = ["mx.p%d.test" % n for n in (good, bad, plain)]
    with a_post(world, more='route "strict" { domains = {%s}\n tls = verify }\n' % ", ".join('"%s"' % n[3:] for n in names)) as p:
        with Peer(ADDRESS % good, tls=world.ca.certificate(names[0])) as a, Peer(
                ADDRESS % bad, tls=world.ca.certificate("other.test")) as b, Peer(ADDRESS % plain) as c:
            for name in names:
                p.submit("x@" + name[3:])
            assert a.wait()[0].tls
            p.tried(2, 2)
            assert b.mail == c.mail == [] and p.inbox() == []


# ---- DANE
@pytest.mark.parametrize("name", ["right", "ca"])
def test_dane_fits(world, post, name):
    with at(world, DANE[name]) as p:
        sent = post.submit("x@%s.test" % name)
        unchanged(p.wait()[0].data, sent)
        assert p.mail[0].tls
        wait_for(lambda: re.search(r"dane", post.log(), re.I), "a word about DANE in the log")


@pytest.mark.parametrize("name, options", [("wrong", {}), ("forged", {}), ("right", {"tls": None}), ("right", {"tls": "garbage"})])
def test_dane_does_not_fit(world, post, name, options):
    """Another key, forged records, no STARTTLS: it waits, whatever the host says."""
    with at(world, DANE[name], **options) as p:
        post.submit("x@%s.test" % name)
        assert stays(post, p)


def test_dane_records_that_nobody_can_use(world, post):
    """RFC 7672 2.2: then TLS is demanded, with whomever."""
    with at(world, UNUSABLE, tls=world.ca.certificate("whoever.test")) as p:
        sent = post.submit("x@unusable.test")
        unchanged(p.wait()[0].data, sent)
        assert p.mail[0].tls


# ---- MTA-STS
def test_policy_kept(world, post):
    with at(world, STS) as p:
        for count in (1, 2):
            sent = post.submit("x@sts.test")
            unchanged(p.wait(count)[-1].data, sent)
        assert p.mail[0].tls
    asked = [path for name, path in post.web.asked if name == "mta-sts.sts.test"]
    assert asked == ["/.well-known/mta-sts.txt"]  # the second time from what is kept


def test_policy_outlives_a_restart(world, post):
    """RFC 8461 10.2: whoever hides the policy's server hides nothing."""
    with a_post(world) as p:
        with at(world, STS) as good:
            p.submit("x@sts.test")
            good.wait()
        p.end()
        text = post.web.texts.pop("mta-sts.sts.test")
        p.start()
        with at(world, STS, tls=None) as bad:
            p.submit("x@sts.test")
            stays(p, bad)
        post.web.texts["mta-sts.sts.test"] = text


@pytest.mark.parametrize("name, n, options", [
    ("othermx.test", OTHER_MX, {}), ("othername.test", OTHER_NAME, {"wrong": True}), ("notls.test", NO_TLS, {"tls": None})])
def test_policy_broken(world, post, name, n, options):
    """A host it doesn't name, a certificate for another name, no TLS."""
    if options.pop("wrong", False):
        options["tls"] = world.ca.certificate("mx.another.test")
    with at(world, n, **options) as p:
        post.submit("x@" + name)
        assert stays(post, p)


def test_policy_that_only_tests(world, post):
    with at(world, TESTING) as p:
        sent = post.submit("x@testing.test")
        unchanged(p.wait()[0].data, sent)


# ---- REQUIRETLS (RFC 8689)
def test_requiretls(world, post, host):
    """To a host that DANE vouches for and that passes the demand on; else back to its sender."""
    p, plain = host(offers=ALL + ("REQUIRETLS",))
    with at(world, RIGHT, offers=ALL + ("REQUIRETLS",)) as right, at(world, CA) as without:
        for name in (plain, "right.test", "ca.test"):
            post.submit("x@" + name, mail=["REQUIRETLS"])
        assert "REQUIRETLS" in right.wait()[0].params
        post.report(2)
        for data in post.inbox():
            assert Report(data).rcpt()["Status"] in ("5.7.30", "5.7.10")
        assert p.mail == without.mail == []
