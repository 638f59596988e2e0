# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""ARC against another implementation (dkimpy), keys by a name server: chains that dkimpy made are judged here as it judges them
itself, altered or not; mail that an alias sends on carries a set of ours, which dkimpy verifies as it arrives; what trusted sealers
found overrides DMARC."""
import random
import re
import smtplib
import types

import pytest
from conftest import wait_for
from test_dkim import BODIES, HEAD, WAIT, Key, World, a_post, a_world, alter, dkim, publish, states, txt
from test_dkim import far, host, narrow  # noqa: F401  fixtures

LISTS, OTHERS = ["a.lists.test", "b.lists.test"], ["c.others.test", "d.others.test"]
STAGES = 'spf {\nskip = {127.0.0.1}\nfail = pass\ndns_time = 25s\n}\ndmarc {\nskip = {127.0.0.1}\ndns_time = 25s\nforwarders = {lists.test}\n}\n'


class Results:
    """What dkimpy asks of the package authres, which isn't everywhere, nor everywhere the same: its own results of one host,
    without comments."""

    def __init__(self, authserv_id, results):
        self.authserv_id, self.results = authserv_id, results

    @classmethod
    def parse(cls, field):
        name, *results = [part.strip() for part in field.split(":", 1)[1].split(";")]
        return cls(name, [Result(text) for text in results if "=" in text])


class Result:
    """One of them; how newer dkimpy writes it again, too."""

    def __init__(self, text):
        self.text = text
        self.method, self.result = text.split()[0].split("=")

    def __str__(self):
        return self.text


dkim.authres = types.SimpleNamespace(AuthenticationResultsHeader=Results, core=types.SimpleNamespace(SyntaxError=SyntaxError))


class ArcWorld(World):
    def __init__(self, folder):
        super().__init__(folder)
        self.sealers = {}
        for domain, bits in zip(LISTS + OTHERS, (1024, 2048, 1024, 2048)):
            self.sealers[domain] = Key(folder, domain.split(".")[0], bits)
            self.records["%s._domainkey.%s" % (self.sealers[domain].selector, domain)] = self.sealers[domain].record
        for zone in ("lists.test", "others.test"):
            self.names.zone(zone, "\n".join(txt(name + ".", record) for name, record in self.records.items() if name.endswith("." + zone)))
        self.names.zone("bank.test", '_dmarc TXT "v=DMARC1; p=reject"')

    def seal(self, message, domain, results=b"spf=pass; dmarc=pass", first=False):
        """One more set by dkimpy, with these results besides that of its chain."""
        key = self.sealers[domain]
        name = b"mx." + domain.encode()
        arc = b"" if first else b"arc=pass; "
        found = b"Authentication-Results: " + name + b"; " + arc + results + b"\r\n"
        fields = dkim.arc_sign(found + message, key.selector.encode(), domain.encode(), key.private, name)
        assert fields
        return b"".join(fields) + message

    def judged(self, message):
        """By dkimpy: pass, fail, or none."""
        result = dkim.arc_verify(message, dnsfunc=self.look_up)[0]
        return result.decode() if result else "fail"


@pytest.fixture(scope="module")
def world():
    with a_world(ArcWorld) as w:
        yield w


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, STAGES) as p:
        assert p.command("alias", "add", "away@example.com", "x@p1.test").code == 0
        yield p


def send(post, messages, sender="joe@sender.test", to="ann@example.com"):
    with post.client() as client:
        for message in messages:
            client.sendmail(sender, [to], message, ["BODY=8BITMIME"])


# ---- What comes in

def chain(world, dice, body, sets):
    """Sealed by several, who may add a footer before they do."""
    message = HEAD % dice.randrange(10 ** 6) + body
    for i in range(sets):
        message = world.seal(message, dice.choice(LISTS + OTHERS), first=i == 0)
        if i + 1 < sets and dice.random() < 0.4:
            message += b"-- \r\nFooter %d\r\n" % i
    return message


def break_chain(message, dice):
    """What somebody could do to the sets."""
    last = max(int(i) for i in re.findall(rb"^ARC-Seal: i=(\d+)", message, re.M))
    i = b"%d" % dice.randint(1, last)
    field = re.compile(rb"^ARC-(?:Seal|Message-Signature|Authentication-Results): i=%s;(?:.*\r\n)(?:[ \t].*\r\n)*" % i, re.M)
    one = dice.choice(field.findall(message))
    changes = [lambda: message.replace(one, b"", 1), lambda: one + message, lambda: message.replace(one, one.replace(b"i=" + i, b"i=9", 1), 1),
               lambda: message.replace(b"i=%s; mx" % i, b"i=%s; my" % i), lambda: message.replace(b"cv=none", b"cv=pass"),
               lambda: message.replace(b"spf=pass", b"spf=fail"), lambda: message.replace(b"cv=pass", b"cv=none", 1),
               lambda: re.sub(rb"(ARC-Seal: i=%s;.*?)t=1" % i, rb"\1t=2", message, count=1, flags=re.S),
               lambda: message.replace(one, one.replace(b"; ", b";\r\n  ", 1), 1), lambda: message.replace(one, b"", 1) + b"x\r\n",
               lambda: message.replace(b"ARC-Seal: i=%s" % i, b"X-Seal: i=%s" % i)]
    return dice.choice(changes)()


def test_judged_as_dkimpy_does(world, post):
    dice = random.Random(17)
    made = []
    for body in BODIES:
        for n in (1, 2, 3, 5):
            one = chain(world, dice, body, n)
            made += [one, alter(one, dice), break_chain(one, dice)]
    made.append(HEAD % 1 + b"Nobody sealed it\r\n")
    wanted = [world.judged(m) for m in made]
    assert wanted.count("pass") > 30 and wanted.count("fail") > 30 and wanted[-1] == "none"
    send(post, [b"X-Case: %d\r\n" % i + m for i, m in enumerate(made)])
    found = {}
    for head in post.heads():
        case = re.search(rb"^X-Case: (\d+)", head, re.M)
        field = re.search(rb"^Authentication-Results: mail\.example\.com;((?:.*\r\n)(?:[ \t].*\r\n)*)", head, re.M)
        arc = re.findall(r"\barc=(\w+)(.*?)(?:;|$)", re.sub(r"\s+", " ", field[1].decode()))
        found[int(case[1])] = arc[0] if arc else ("none", "")
    wrong = [(i, want, found.get(i), made[i][:3000]) for i, want in enumerate(wanted) if found.get(i, " ")[0] != want]
    assert not wrong, (len(wrong), wrong[:2])
    assert found[0][1].strip() == "(i=1) header.oldest-pass=0 smtp.remote-ip=10.25.1.9"
    post.clear()


# ---- What is sent on

@pytest.fixture(scope="module")
def key(world, post):
    """Of example.com, in which mail.example.com lies."""
    post.json("dkim", "create", "example.com", "--selector=arc")
    publish(world, post)
    wait_for(lambda: set(states(post).values()) == {"active"}, "keys seen in the DNS", WAIT)


def forwarded(post, host, *messages):
    host.reset()
    send(post, messages, to="away@example.com")
    return [mail.data for mail in host.wait(len(messages))]


def newest(message, field):
    value = re.search(rb"^ARC-%s: ((?:.*\r\n)(?:[ \t].*\r\n)*)" % field, message, re.M)[1]
    return re.sub(r"\s+", " ", value.decode())


def test_sealed_for_dkimpy(world, post, host, key):
    dice = random.Random(23)
    wait_for(lambda: b"ARC-Seal" in forwarded(post, host, HEAD % 1 + b"Is it sealed?\r\n")[0], "seals", WAIT)
    plain = [HEAD % (100 + i) + body for i, body in enumerate(BODIES)]
    # Of several messages in one go the order of arrival isn't that of sending.
    for sets, message in [(1, m) for m in plain] + [(n + 1, chain(world, dice, b"Hello\r\n", n)) for n in (1, 2, 4)]:
        data = forwarded(post, host, message)[0]
        result, each, why = dkim.arc_verify(data, dnsfunc=world.look_up)
        assert result == b"pass" and len(each) == sets, (result, why, data)
        assert each[0]["ams-valid"] and each[0]["as-valid"] and each[0]["as-domain"] == b"example.com"
        assert newest(data, b"Seal").startswith("i=%d; a=rsa-sha256; cv=%s; d=example.com;" % (sets, "pass" if sets > 1 else "none"))
        results = newest(data, b"Authentication-Results")
        assert results.startswith("i=%d; mail.example.com; " % sets) and "dmarc=none" in results, results
        assert ("arc=pass" in results) == (sets > 1)
        assert world.judged(data + b"More\r\n") == "fail"
        assert world.judged(data.replace(b"From: Joe", b"From: Jim")) == "fail"
        assert world.judged(data.replace(b"dmarc=none", b"dmarc=pass")) == "fail"


def test_sealed_again_as_7_bit(world, post, narrow, key):
    assert post.command("alias", "add", "narrow@example.com", "x@p2.test").code == 0
    head = HEAD.replace(b"\r\nCc:", b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8")
    message = head % 9 + "Grüße\r\n".encode()
    for sets, one in enumerate((message, world.seal(message, LISTS[0], first=True)), 1):
        send(post, [one], to="narrow@example.com")
        data = narrow.wait(sets)[-1].data
        assert data.isascii() and data.count(b"\r\nARC-Seal: ") + data.startswith(b"ARC-Seal: ") == sets
        result, each, why = dkim.arc_verify(data, dnsfunc=world.look_up)
        assert result == b"pass" and len(each) == sets, (result, why, data)
        assert newest(data, b"Seal").startswith("i=%d; a=rsa-sha256; cv=%s; d=example.com;" % (sets, "pass" if sets > 1 else "none"))


def test_broken_chains_are_sealed_as_such(world, post, host, key):
    dice = random.Random(5)
    altered = chain(world, dice, b"Hello\r\n", 2).replace(b"Hello", b"Jello")
    data = forwarded(post, host, altered)[0]
    assert newest(data, b"Seal").startswith("i=3; a=rsa-sha256; cv=fail;")
    assert "arc=fail" in newest(data, b"Authentication-Results")
    result, each, why = dkim.arc_verify(data, dnsfunc=world.look_up)
    assert result is None and each[0]["ams-valid"] and "terminated" in why
    again = re.sub(rb"^Delivered-To: .*\r\n", b"", data, flags=re.M)  # else it is a loop
    assert forwarded(post, host, again)[0].count(b"\r\nARC-Seal: ") == 3  # nobody adds to that


# ---- Whom DMARC believes

def refused(post, message):
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(post, [message], sender="list@a.lists.test")
    return e.value.smtp_code == 550 and b"DMARC" in e.value.smtp_error


def test_trusted_sealers_override_dmarc(world, post):
    bank = (HEAD % 7).replace(b"joe@sender.test", b"joe@bank.test") + b"Hello\r\n"
    passed, failed = b"spf=pass; dmarc=pass header.from=bank.test", b"spf=pass; dmarc=fail header.from=bank.test"
    good = world.seal(bank, LISTS[0], passed, first=True)
    assert refused(post, bank)
    send(post, [good], sender="list@a.lists.test")
    assert any(b"trusted_forwarder" in head for head in post.heads())
    assert refused(post, good + b"More\r\n")
    assert refused(post, world.seal(bank, LISTS[0], failed, first=True))
    assert refused(post, world.seal(bank, LISTS[0], b"dmarc=pass header.from=sender.test", first=True))
    assert refused(post, world.seal(bank, OTHERS[0], passed, first=True))
    # A list changes it, and a forwarder, trusted or not, sends it on.
    changed = good + b"Footer\r\n"
    send(post, [world.seal(changed, LISTS[1], failed)], sender="list@b.lists.test")
    assert refused(post, world.seal(changed, OTHERS[0], failed))
    send(post, [world.seal(good, OTHERS[0], failed)], sender="list@c.others.test")
    post.clear()
