# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""DKIM against another implementation (dkimpy), keys by a name server: what dkimpy signs is judged here as it judges it itself,
altered or not; what is signed here is verified by dkimpy as it arrives at another host; keys take over and retire."""
import base64
import contextlib
import imaplib
import os
import pathlib
import random
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile

import pytest
from conftest import ROOT, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import dns  # noqa: E402
import peer  # noqa: E402
from outgoing import a_network  # noqa: E402
from test_serve import Appliance  # noqa: E402

dkim = pytest.importorskip("dkim", reason="dkimpy is not installed (python3-dkim)")
pytest.importorskip("nacl", reason="PyNaCl is not installed (python3-nacl)")

WAIT = 60
HOME, NAMES, ELSEWHERE, NARROW, CLIENT = "10.25.0.1", "10.25.0.53", "10.25.0.20", "10.25.0.21", "10.25.1.9"


def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=WAIT)


class Key:
    """One of dkimpy's: how it signs, and what the DNS says."""

    def __init__(self, folder, selector, bits):
        self.selector, self.algorithm = selector, "rsa-sha256" if bits else "ed25519-sha256"
        if bits:
            private = folder / (selector + ".pem")
            openssl("genrsa", "-traditional", "-out", str(private), str(bits))
            public = openssl("rsa", "-in", str(private), "-pubout", "-outform", "DER").stdout
            self.private = private.read_bytes()
            self.record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
        else:
            import nacl.signing
            key = nacl.signing.SigningKey.generate()
            self.private = base64.b64encode(bytes(key))
            self.record = "v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(key.verify_key)).decode()

    def sign(self, message, canonical=("relaxed", "relaxed"), **how):
        value = dkim.sign(message, self.selector.encode(), b"sender.test", self.private,
                          canonicalize=tuple(c.encode() for c in canonical), signature_algorithm=self.algorithm.encode(), **how)
        return value + message


def txt(name, value):
    """A line of a zone file."""
    return "%s TXT %s" % (name, " ".join('"%s"' % value[i:i + 255] for i in range(0, len(value), 255)))


class World:
    def __init__(self, folder):
        self.folder = folder
        os.chmod(folder, 0o755)
        self.names = dns.Server(folder / "dns", address=NAMES, port=53)
        self.keys = [Key(folder, "rsa1", 1024), Key(folder, "rsa2", 2048), Key(folder, "ed", 0)]
        self.records = {"%s._domainkey.sender.test" % k.selector: k.record for k in self.keys}
        weak = Key(folder, "weak", 1024)
        self.records["revoked._domainkey.sender.test"] = "v=DKIM1; p="
        self.records["other._domainkey.sender.test"] = weak.record
        self.publish({})

    def publish(self, more):
        """more: name -> record, in example.com."""
        self.names.zone("example.com", "\n".join(["@ MX 10 mail", "mail A " + HOME] + [txt(name + ".", r) for name, r in more.items()]),
                        ttl=1)
        self.names.zone("test", "p1 MX 10 mx.p1\nmx.p1 A %s\np2 MX 10 mx.p2\nmx.p2 A %s\n" % (ELSEWHERE, NARROW))
        own = [txt(name + ".", r) for name, r in self.records.items() if name.endswith(".sender.test")]
        self.names.zone("sender.test", "\n".join(own) + "\nbogus._domainkey A " + HOME)
        self.records.update(more)

    def look_up(self, name, timeout=5):
        """For dkimpy."""
        return self.records.get(name.decode().rstrip("."), "").encode()


@contextlib.contextmanager
def a_world(kind=World):
    with a_network():
        w = kind(pathlib.Path(tempfile.mkdtemp(prefix="posthouse-dkim-")))
        w.names.start()
        try:
            yield w
        finally:
            w.names.stop()
            shutil.rmtree(w.folder)


@pytest.fixture(scope="module")
def world():
    with a_world() as w:
        yield w


class Post(Appliance):
    def __init__(self, world):
        super().__init__()
        self.main.update({"readable": '{"%s"}' % world.folder, "origin": "example.com"})
        self.listeners = {name: {"port": port, "address": HOME} for name, port in
                          {"smtp": 25, "submission": 587, "imaps": 993}.items()}
        for name in ("submissions", "imap"):
            self.listeners[name] = {"enabled": "no"}
        self.more = self.section("dns", {"forwarders": '{"%s"}' % world.names.forwarder, "trust_anchor": '"%s"' % world.names.anchor,
                                         "local_zones": '{"test", "10.in-addr.arpa"}'}) + self.section(
            "dkim_sign", {"dns_check": "1s", "rotate_wait": "0", "retire_time": "1h"}) + self.section(
            "relay", {"min_backoff": "1s", "max_backoff": "2s"})

    def json(self, *words, stdin=""):
        done = self.command(*words, "--json", stdin=stdin)
        assert done.code == 0, (words, done.err)
        return done.json

    def client(self):
        client = smtplib.SMTP(timeout=WAIT, local_hostname="client.sender.test", source_address=(CLIENT, 0))
        client.connect(HOME, 25)
        client.ehlo()
        return client

    def submitter(self):
        client = smtplib.SMTP(timeout=WAIT, local_hostname="client.example.org")
        client.connect(HOME, 587)
        client._host = "mail.example.com"  # whose certificate it must be
        client.starttls(context=ssl.create_default_context(cafile=self.folder / "cert.pem"))
        client.ehlo()
        client.login("ann@example.com", "ann-pass")
        return client

    @contextlib.contextmanager
    def mailboxes(self):
        """INBOX and Junk (of messages with two subjects), one after the other."""
        context = ssl.create_default_context(cafile=self.folder / "cert.pem")
        context.check_hostname = False
        client = imaplib.IMAP4_SSL(HOME, 993, ssl_context=context, timeout=WAIT)
        client.login("ann@example.com", "ann-pass")
        try:
            yield (client for name in ("INBOX", "Junk") if int(client.select(name)[1][0]))
        finally:
            client.logout()

    def heads(self):
        return self.parts("HEADER")

    def texts(self):
        return self.parts("TEXT")

    def parts(self, name):
        with self.mailboxes() as each:
            return [part[1] for client in each for part in client.fetch("1:*", "(BODY.PEEK[%s])" % name)[1] if isinstance(part, tuple)]

    def clear(self):
        with self.mailboxes() as each:
            for client in each:
                client.store("1:*", "+FLAGS", "(\\Deleted)")
                client.expunge()


@contextlib.contextmanager
def a_post(world, more=""):
    p = Post(world)
    p.more += more
    p.start()
    try:
        p.seed()
        yield p
    finally:
        p.stop()


@pytest.fixture(scope="module")
def post(world):
    with a_post(world) as p:
        yield p


@pytest.fixture(scope="module")
def far(world):
    """The mail host of p1.test."""
    with peer.Peer(ELSEWHERE) as host:
        yield host


@pytest.fixture
def host(far):
    far.reset()
    yield far
    assert not far.violations


@pytest.fixture
def narrow(world):
    """The mail host of p2.test, without 8BITMIME."""
    with peer.Peer(NARROW, offers=("PIPELINING",)) as host:
        yield host
        assert not host.violations


# ---- What comes in

BODIES = [b"", b"\r\n", b"One line\r\n", b"\r\n\r\nEmpty lines\r\n\r\n\r\n", b"Blanks  at \t the end \t\r\n \r\n",
          b".\r\n..dots\r\n", "Gr\u00fc\u00dfe, \u20ac\r\n".encode() * 3, b"a  line of many\twords\r\n" * 700]
HEAD = (b"From: Joe <joe@sender.test>\r\nTo: Ann <ann@example.com>,\r\n\tbob@example.com\r\nSubject:  a  subject \r\n"
        b"Date: Fri, 20 Nov 2026 06:00:00 +0000\r\nMessage-ID: <%d@sender.test>\r\nCc:\r\n\r\n")


def alter(message, dice):
    """Some change that a host on the way could make, harmless or not."""
    at = message.index(b"\r\n\r\n") + 4
    head, body = message[:at], message[at:]
    changes = [lambda: head + body + b"\r\n", lambda: head + body + b"More\r\n", lambda: head + body.rstrip(b"\r\n") + b"\r\n",
               lambda: head + body.replace(b"e", b"E", 1), lambda: head + body.replace(b"  ", b" ", 1),
               lambda: head + body.replace(b" ", b"\t", 1), lambda: head.replace(b"Subject:  a", b"Subject:  b") + body,
               lambda: head.replace(b"Subject:  a", b"subject: \ta") + body, lambda: b"Subject: another\r\n" + head + body,
               lambda: head.replace(b"To: Ann", b"To: ann") + body, lambda: b"X-Spam: no\r\n" + head + body,
               lambda: head.replace(b",\r\n\tbob", b", bob") + body, lambda: head.replace(b"Cc:", b"Cc: x@y.test") + body,
               lambda: head.replace(b"From: Joe", b"From: Jim") + body]
    return dice.choice(changes)()


def cases(world):
    """(message, what dkimpy thinks of it)"""
    dice = random.Random(8)
    made = []
    for n, canonical in enumerate([(h, b) for h in ("simple", "relaxed") for b in ("simple", "relaxed")] * 2):
        for m, body in enumerate(BODIES):
            for key in (world.keys[0], world.keys[2]) + ((world.keys[1],) if n < 4 and m == 2 else ()):
                made.append(key.sign(HEAD % len(made) + body, canonical))
    made = [m if i % 3 == 0 else alter(m, dice) for i, m in enumerate(made)]
    return [(m, dkim.verify(m, dnsfunc=world.look_up)) for m in made]


def send(post, messages):
    """All of them, with a number that comes back in the header."""
    for start in range(0, len(messages), 40):
        with post.client() as client:
            for i, message in list(enumerate(messages))[start:start + 40]:
                client.sendmail("joe@sender.test", ["ann@example.com"], b"X-Case: %d\r\n" % i + message, ["BODY=8BITMIME"])


def results(post, count):
    """Of each the words after dkim=, in the order of the signatures."""
    out = {}
    for head in post.heads():
        case = re.search(rb"^X-Case: (\d+)", head, re.M)
        field = re.search(rb"^Authentication-Results: mail\.example\.com;((?:.*\r\n)(?:[ \t].*\r\n)*)", head, re.M)
        if case:
            out[int(case[1])] = re.findall(r"dkim=(.*?)(?:;|$)", re.sub(r"\s+", " ", field[1].decode())) if field else []
    assert len(out) == count, (len(out), post.log()[-2000:])
    return out


def test_verified_as_dkimpy_does(world, post):
    made = cases(world)
    passing = sum(good for _, good in made)
    assert len(made) > 120 and passing > 50 and len(made) - passing > 20, (len(made), passing)
    send(post, [m for m, _ in made])
    found = results(post, len(made))
    wrong = [(i, good, found[i], m[:900]) for i, (m, good) in enumerate(made)
             if len(found[i]) != 1 or found[i][0].split()[0] != ("pass" if good else "fail")]
    assert not wrong, wrong[:3]
    assert "header.d=sender.test" in found[0][0] and "header.s=rsa1" in found[0][0] and "header.a=rsa-sha256" in found[0][0]
    post.clear()


def renamed(message, selector):
    """As if the key had been another one's."""
    return re.sub(rb"\bs=rsa1;", b"s=%s;" % selector.encode(), message, count=1)


def test_odd_signatures(world, post):
    rsa = world.keys[0]
    plain = HEAD % 1 + b"Hello\r\n"
    good = rsa.sign(plain)
    bare = good[good.index(b"From: Joe"):]
    several = b"".join(rsa.sign(plain)[:-len(plain)] for _ in range(10)) + plain
    length = rsa.sign(plain, length=True)
    old = b"DKIM-Signature: v=1; a=rsa-sha1; c=relaxed/relaxed; d=sender.test; s=rsa1; h=From; bh=x; b=x\r\n" + plain
    expired = b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=rsa1; t=100; x=200; h=From;\r\n" \
              b" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n" + plain
    wanted = [(good, ["pass"]), (bare, []), (renamed(good, "nobody"), ["permerror (there is no key for it)"]),
              (renamed(good, "revoked"), ["permerror (its key was revoked)"]), (renamed(good, "other"), ["fail"]),
              (renamed(good, "bogus"), ["permerror (there is no key for it)"]), (several, ["pass"] * 8),
              (length, ["pass"]), (length + b"Added\r\n", ["policy (7 octets of the body aren't signed ?l=?)"]),
              (old, ["permerror (rsa-sha1 is no longer accepted)"]), (expired, ["policy (expired)"]),
              (b"DKIM-Signature: \r\n" + good, ["permerror", "pass"]), (world.keys[2].sign(good), ["pass", "pass"])]
    send(post, [m for m, _ in wanted])
    found = results(post, len(wanted))
    wrong = [(i, words, found[i]) for i, (_, words) in enumerate(wanted)
             if len(words) != len(found[i]) or not all(f.startswith(w) for f, w in zip(found[i], words))]
    assert not wrong, wrong
    post.clear()


# ---- What leaves

OUTGOING = [b"Hello\r\n", b"", b"\r\n\r\n", b"No end of line", b".\r\n..dots\r\n.\r\n", b"Blanks  \t\r\n\r\n \r\n\r\n", b"x" * 900 + b"\r\n",
            "Gr\u00fc\u00dfe\r\n".encode(), b"A line of  several words \r\n" * 20000]
HEADS = [b"From: Ann <ann@example.com>\r\nSubject: x\r\n\r\n",  # the server adds Date and Message-ID, which are signed
         b"From: ann@example.com\r\nTo: x@p1.test,\r\n y@p1.test\r\nSubject:  many   blanks \r\nDate: Fri, 20 Nov 2026 06:00:00 +0000\r\n"
         b"Message-ID: <1@example.com>\r\nReferences: <a@b>\r\n <c@d>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=utf-8\r\n"
         b"Content-Transfer-Encoding: 8bit\r\n\r\n",
         b"FROM:   ann@example.com\r\nSubject: =?utf-8?q?=C3=BC?=\r\nReply-To: a@example.com\r\nList-Id: <l.example.com>\r\n\r\n"]


def signatures(world, data):
    """The selectors of the good ones, by dkimpy."""
    found = []
    names = re.findall(rb"^DKIM-Signature:(?:.*\r\n)(?:[ \t].*\r\n)*", data, re.M)
    for i, field in enumerate(names):
        if dkim.DKIM(data).verify(idx=i, dnsfunc=world.look_up):
            found.append(re.search(rb"\bs=([^;\s]+)", field)[1].decode())
    assert len(found) == len(names), (found, names)
    return found


def states(post):
    return {k["selector"]: k["state"] for k in post.json("dkim", "show", "example.com")["keys"]}


def publish(world, post):
    world.publish({r["name"]: r["value"] for r in post.json("dkim", "show", "example.com")["records"]})
    world.names.restart()


def submit(post, *messages, to="x@p1.test"):
    with post.submitter() as client:
        for message in messages:
            client.sendmail("ann@example.com", [to], message, ["BODY=8BITMIME"])


def sent(world, post, host):
    """The selectors that sign now."""
    host.reset()
    submit(post, HEADS[1] + b"Who signs?\r\n")
    return set(signatures(world, host.wait(1)[0].data))


def signed_by(world, post, host, wanted):
    """The server sees a change of its keys a moment after the command has ended."""
    wait_for(lambda: sent(world, post, host) == wanted, "signatures of %s" % wanted, WAIT)


def test_what_leaves(world, post, host):
    assert [k["state"] for k in post.json("dkim", "create", "example.com", "--selector=one")["keys"]] == ["publish"] * 2
    submit(post, HEADS[0] + b"Not in the DNS yet: unsigned\r\n")
    assert signatures(world, host.wait(1)[0].data) == []
    publish(world, post)
    wait_for(lambda: states(post) == {"one": "active", "one-ed25519": "active"}, "keys seen in the DNS", WAIT)
    signed_by(world, post, host, {"one", "one-ed25519"})
    host.reset()
    messages = [head + body for head in HEADS for body in OUTGOING]
    submit(post, *messages)
    for mail in host.wait(len(messages)):
        assert sorted(signatures(world, mail.data)) == ["one", "one-ed25519"], mail.data[:3000]
        assert not dkim.verify(mail.data + b"More\r\n", dnsfunc=world.look_up)
        assert not dkim.verify(b"Subject: added\r\n" + mail.data, dnsfunc=world.look_up)


def test_signed_again_as_7_bit(world, post, narrow):
    """RFC 6376 5.3: the host gets another text than the one that was signed first."""
    submit(post, HEADS[1] + "Grüße\r\n".encode() * 3, to="x@p2.test")
    data = narrow.wait(1)[0].data
    assert data.isascii() and b"Gr=C3=BC=C3=9Fe\r\n" in data
    assert sorted(signatures(world, data)) == ["one", "one-ed25519"], data
    # Somebody else's signature would be lost.
    theirs = world.keys[0].sign(HEADS[1] + "Grüße\r\n".encode())
    submit(post, theirs, to="x@p2.test")
    wait_for(lambda: any(b"it is signed" in text for text in post.texts()), "the report", WAIT)
    assert len(narrow.mail) == 1


def test_rotation(world, post, host):
    old = {"one", "one-ed25519"}
    made = {k["selector"] for k in post.json("dkim", "rotate", "example.com")["keys"]} - old
    assert len(made) == 2 and {states(post)[s] for s in made} == {"publish"}
    assert post.command("dkim", "rotate", "example.com").code == 1  # one at a time
    publish(world, post)
    wait_for(lambda: all(states(post)[s] == "active" for s in made), "the new keys", WAIT)
    wait_for(lambda: all(k["state"] == "retiring" and k["due"] for k in post.json("dkim", "show", "example.com")["keys"]
                         if k["selector"] in old), "the old ones retire", WAIT)
    signed_by(world, post, host, made)
    post.json("dkim", "retire", "example.com", "one", "--now")
    assert states(post)["one"] == "retired"
    for selector in made:
        assert post.command("dkim", "remove", "example.com", selector).code == 1  # it signs
    assert post.command("dkim", "remove", "example.com", "one").code == 0
    assert sent(world, post, host) == made


def test_import(world, post, host, tmp_path):
    key = Key(tmp_path, "legacy", 2048)
    shown = post.json("dkim", "import", "example.com", "legacy", str(tmp_path / "legacy.pem"))
    assert {r["name"]: r["value"] for r in shown["records"]}["legacy._domainkey.example.com"] == key.record
    world.records["legacy._domainkey.example.com"] = key.record
    before = states(post)
    signed_by(world, post, host, {selector for selector, state in before.items() if state == "active"})
    assert before["legacy"] == "active"
    assert "BEGIN" not in post.log() and "PRIVATE" not in post.log()
