# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""DKIM and ARC against OpenDKIM and mailauth: what they sign is judged here as they judge it themselves, altered or not; what is
signed and sealed here they find good, and no longer so when it is altered. (test_dkim.py and test_arc.py: against dkimpy. OpenARC is
no package of Debian.)

mailauth comes from the registry that npm is set up with, into a folder of the build; without node, npm or that registry its tests are
skipped."""
import base64
import json
import os
import random
import re
import shutil
import subprocess

import pytest
import test_node
from conftest import ROOT, wait_for
from test_arc import break_chain, chain, forwarded
from test_arc import far, host, key, post, world  # noqa: F401  fixtures
from test_dkim import BODIES, HEAD, HEADS, OUTGOING, WAIT, alter, openssl, results, send, submit

HERE = ROOT / "tests" / "integration" / "mailauth"
CANONICAL = [a + "/" + b for a in ("simple", "relaxed") for b in ("simple", "relaxed")]
DOMAIN = "sender.test"
# opendkim -t doesn't see how many blanks follow a colon, which the canonical form "simple" keeps.
PLAIN = HEAD.replace(b"Subject:  a", b"Subject: a").replace(b"Cc:\r\n", b"Cc: c@z.test\r\n")


# ---- Keys of both kinds, as files of openssl

@pytest.fixture(scope="module")
def keys(world):  # noqa: F811
    made = {}
    for selector, kind in (("peer", "rsa"), ("peered", "ed25519")):
        private = world.folder / (selector + ".pem")
        how = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if kind == "rsa" else ["-algorithm", "ED25519"]
        openssl("genpkey", *how, "-out", str(private))
        public = openssl("pkey", "-in", str(private), "-pubout", "-outform", "DER").stdout
        text = base64.b64encode(public if kind == "rsa" else public[-32:]).decode()
        made[kind] = (selector, private)
        world.records["%s._domainkey.%s" % (selector, DOMAIN)] = "v=DKIM1; k=%s; p=%s" % (kind, text)
    world.publish({})
    world.names.restart()
    return made


# ---- OpenDKIM: one process for many messages

class OpenDkim:
    """Each list of messages is one run of opendkim -t, which prints the fields that it would add."""

    def __init__(self, world):  # noqa: F811
        self.world, self.folder = world, world.folder / "opendkim"
        self.folder.mkdir(exist_ok=True)
        self.program = shutil.which("opendkim", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not self.program:
            pytest.skip("opendkim is not installed")

    def run(self, messages, **settings):
        """Of each message the values of the fields that were added, by name."""
        (self.folder / "keys").write_text("".join("%s %s\n" % r for r in self.world.records.items()))
        usual = {"TestPublicKeys": self.folder / "keys", "StrictTestMode": "yes", "On-BadSignature": "accept", "Syslog": "no",
                 "MinimumKeyBits": "1024", "AuthservID": "opendkim.test"}
        (self.folder / "conf").write_text("".join("%s %s\n" % s for s in {**usual, **settings}.items()))
        names = []
        for i, message in enumerate(messages):
            (self.folder / ("m%03d" % i)).write_bytes(message)
            names.append("m%03d" % i)
        ended = subprocess.run(["stdbuf", "-oL", self.program, "-x", "conf", "-vv", "-t", ",".join(names)], cwd=self.folder, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=WAIT)
        # A message's fields come before the line that tells how it ended.
        found, fields = {}, []
        for text in re.split(r"^(?=### INSHEADER|opendkim: )", ended.stdout.decode(errors="replace"), flags=re.M):
            added = re.match(r"### INSHEADER: idx=\d+ hname='([^']*)' hvalue='(.*)'\s*\Z", text, re.S)
            end = re.match(r"opendkim: (m\d+): mlfi_eom\(\)", text)
            if added:
                fields.append(added.groups())
            elif end:
                found[end[1]], fields = dict(fields), []
        assert len(found) == len(messages), ended.stdout[-2000:]
        return [found[name] for name in names]

    def sign(self, messages, key, kind, canonical):  # noqa: F811
        selector, private = key
        added = self.run(messages, Mode="s", Domain=DOMAIN, Selector=selector, KeyFile=private, Canonicalization=canonical,
                         SignatureAlgorithm=kind + "-sha256", OmitHeaders="X-Case")
        return [b"DKIM-Signature: " + re.sub(rb"\r?\n", b"\r\n", fields["DKIM-Signature"].encode()) + b"\r\n" + message
                for fields, message in zip(added, messages)]

    def verify(self, messages):
        """Of each the results of its signatures."""
        return [re.findall(r"dkim=(\w+)", fields.get("Authentication-Results", "").replace("dkim=none", ""))
                for fields in self.run(messages, Mode="v")]


@pytest.fixture(scope="module")
def opendkim(world):  # noqa: F811
    return OpenDkim(world)


# ---- mailauth: one process

class Mailauth:
    def __init__(self, folder):
        self.process = subprocess.Popen(["node", "peer.cjs"], cwd=folder, env=test_node.environment(), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, do, **what):
        what = {k: base64.b64encode(v).decode() if k == "message" else v for k, v in what.items()}
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            pytest.fail("mailauth: " + line + self.process.stdout.read())
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    def verify(self, messages):
        return [[s["result"] for s in self.ask("verify", message=m)["dkim"]] for m in messages]

    def judged(self, message):
        return self.ask("verify", message=message)["arc"]

    def sign(self, messages, key, kind, canonical):  # noqa: F811
        how = {"key": key[1].read_text(), "domain": DOMAIN, "selector": key[0], "algorithm": kind + "-sha256", "canonical": canonical}
        return [base64.b64decode(self.ask("sign", message=m, **how)["fields"]) + m for m in messages]

    def seal(self, message, key):  # noqa: F811
        fields = self.ask("seal", message=message, key=key[1].read_text(), domain=DOMAIN, selector=key[0])["fields"]
        return base64.b64decode(fields) + message

    def stop(self):
        self.process.stdin.close()
        self.process.wait(WAIT)
        self.process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def package():
    """(folder with mailauth in it, why there is none); before there is a network of one's own, which reaches no registry."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "node or npm is not installed"
    try:
        return test_node.provide(HERE, ("package.json", "package-lock.json", "peer.cjs"), "integration-mailauth"), None
    except pytest.skip.Exception as e:
        return None, str(e)


@pytest.fixture(scope="module")
def mailauth(package, world, keys):  # noqa: F811
    folder, why = package
    if not folder:
        pytest.skip("mailauth: " + why)
    m = Mailauth(folder)
    m.ask("keys", records=world.records)
    yield m
    m.stop()


# ---- What they sign

def signed(peer, head, keys, dice):
    """A hundred messages, signed in all ways; two of three are altered then."""
    made = []
    for n, canonical in enumerate(CANONICAL):
        for kind in keys:
            bodies = BODIES if kind == "rsa" else BODIES[n::2]
            made += peer.sign([head % (1000 * n + i) + body for i, body in enumerate(bodies)], keys[kind], kind, canonical)
    return [m if i % 3 == 0 else alter(m, dice) for i, m in enumerate(made + made)]


def agree(post, made, theirs):  # noqa: F811
    """Whether each is good; what is wrong with the others has many names."""
    send(post, made)
    ours = results(post, len(made))
    post.clear()
    good = [found == ["pass"] for found in theirs]
    wrong = [(i, theirs[i], ours[i], made[i][:1500]) for i in range(len(made))
             if len(ours[i]) != 1 or (ours[i][0].split()[0] == "pass") != good[i]]
    assert not wrong, ([w[0] for w in wrong], wrong[0])
    assert len(made) >= 90 and good.count(True) > 40 and good.count(False) > 20, (good.count(True), good.count(False))


def test_of_opendkim(post, keys, opendkim):  # noqa: F811
    made = signed(opendkim, PLAIN, keys, random.Random(3))
    agree(post, made, opendkim.verify(made))


def test_of_mailauth(post, keys, mailauth):  # noqa: F811
    made = signed(mailauth, HEAD, keys, random.Random(4))
    agree(post, made, mailauth.verify(made))


def test_sha1_of_opendkim_testmsg(world, post, keys):  # noqa: F811
    """What signs with nothing else is refused (RFC 8301)."""
    program = shutil.which("opendkim-testmsg", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not program:
        pytest.skip("opendkim-testmsg is not installed")
    message = subprocess.run([program, "-C", "-d", DOMAIN, "-s", "peer", "-k", str(keys["rsa"][1])], input=HEAD % 1 + b"Hello\r\n",
                             capture_output=True, check=True, timeout=WAIT).stdout
    assert b"a=rsa-sha1" in message
    send(post, [message])
    assert results(post, 1)[0][0].startswith("permerror (rsa-sha1 is no longer accepted)")
    post.clear()


# ---- What is signed here

def spoil(message, n):
    """In a way that no canonical form overlooks."""
    return [message + b"More\r\n", b"Subject: added\r\n" + message, re.sub(rb"(?im)^from:.*\r\n", b"From: eve@example.com\r\n", message),
            message.replace(b"DKIM-Signature: v=1; a=", b"DKIM-Signature: v=1; q=dns/txt; a=")][n % 4]


@pytest.fixture(scope="module")
def ours(world, post, far, key):  # noqa: F811
    """Mail of a user as it arrives at another host."""
    def arrived():
        far.reset()
        submit(post, HEADS[1] + b"Who signs?\r\n")
        return far.wait(1)[0].data.count(b"DKIM-Signature: ") == 2
    wait_for(arrived, "signatures", WAIT)
    far.reset()
    messages = [head + body for head in HEADS for body in OUTGOING]
    submit(post, *messages)
    return [mail.data for mail in far.wait(len(messages))]


def test_for_opendkim(ours, opendkim):
    assert opendkim.verify(ours) == [["pass", "pass"]] * len(ours)
    spoiled = opendkim.verify([spoil(m, i) for i, m in enumerate(ours)])
    assert all(found and "pass" not in found for found in spoiled), spoiled


def test_for_mailauth(world, ours, mailauth):  # noqa: F811
    mailauth.ask("keys", records=world.records)
    assert mailauth.verify(ours) == [["pass", "pass"]] * len(ours)
    spoiled = mailauth.verify([spoil(m, i) for i, m in enumerate(ours)])
    assert all(found and "pass" not in found for found in spoiled), spoiled


# ---- ARC

def test_chains_of_mailauth(world, post, keys, mailauth):  # noqa: F811
    dice, made = random.Random(31), []
    mailauth.ask("keys", records=world.records)
    for i, body in enumerate(BODIES):
        message = HEAD % i + body
        for n in range(3):
            message = mailauth.seal(message, keys["rsa"])
            made += [message, alter(message, dice), break_chain(message, dice)]
    made.append(HEAD % 99 + b"Nobody sealed it\r\n")
    wanted = [mailauth.judged(m) for m in made]
    assert wanted.count("pass") >= 24 and wanted.count("fail") > 24 and wanted[-1] == "none"
    send(post, made)
    found = {}
    for head in post.heads():
        case = re.search(rb"^X-Case: (\d+)", head, re.M)
        field = re.search(rb"^Authentication-Results: mail\.example\.com;((?:.*\r\n)(?:[ \t].*\r\n)*)", head, re.M)
        arc = re.findall(r"\barc=(\w+)", re.sub(r"\s+", " ", field[1].decode())) if field else []
        found[int(case[1])] = arc[0] if arc else "none"
    post.clear()
    wrong = [(i, want, found.get(i), made[i][:3000]) for i, want in enumerate(wanted) if found.get(i) != want]
    assert not wrong, ([w[0] for w in wrong], wrong[0])


def test_sealed_for_mailauth(world, post, host, key, keys, mailauth):  # noqa: F811
    dice = random.Random(37)
    mailauth.ask("keys", records=world.records)
    wait_for(lambda: b"ARC-Seal" in forwarded(post, host, HEAD % 1 + b"Is it sealed?\r\n")[0], "seals", WAIT)
    incoming = [HEAD % (100 + i) + body for i, body in enumerate(BODIES)] + [chain(world, dice, b"Hello\r\n", n) for n in (1, 2)]
    incoming.append(mailauth.seal(HEAD % 300 + b"Hello\r\n", keys["rsa"]))
    for data in forwarded(post, host, *incoming):
        assert mailauth.judged(data) == "pass", data[:3000]
        assert mailauth.judged(data + b"More\r\n") == "fail"
        assert mailauth.judged(data.replace(b"From: Joe", b"From: Jim")) == "fail"
        assert mailauth.judged(data.replace(b"dmarc=none", b"dmarc=pass")) == "fail"
