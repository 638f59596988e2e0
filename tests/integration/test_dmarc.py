# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""DMARC from outside: mail of several domains comes to `posthouse serve`, which asks a name server about them."""
import base64
import contextlib
import email
import hashlib
import re
import smtplib
import sqlite3
import subprocess

import pytest
from outgoing import ELSEWHERE, WAIT, a_post, wait_for, world  # noqa: F401 (fixture)

# An answer that is slow is an answer: only silence isn't.
STAGES = 'spf {\nskip = {127.0.0.1}\nfail = pass\ndns_time = 25s\n}\ndmarc {\nskip = {127.0.0.1}\ndns_time = 25s\n%s}\n'
REPORTS = "rua=mailto:reports@bank.test"


def openssl(*words, data=b""):
    return subprocess.run(["openssl", *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=60).stdout


def key_record(key):
    openssl("genrsa", "-out", key, "2048")
    text = "v=DKIM1; p=" + base64.b64encode(openssl("pkey", "-in", key, "-pubout", "-outform", "DER")).decode()
    return 's._domainkey TXT "%s" "%s"\n' % (text[:200], text[200:]) + 't._domainkey TXT "t=y; %s" "%s"\n' % (text[9:200], text[200:])


def signed(world, text, selector="s"):
    """RFC 6376 with what is simplest: as bank.test, simple/simple, From only."""
    head, _, body = text.partition("\r\n\r\n")
    field = "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=bank.test; s=%s; h=from; bh=%s; b=" % (
        selector, base64.b64encode(hashlib.sha256(body.encode()).digest()).decode())
    author = next(line for line in head.split("\r\n") if line.startswith("From:"))
    key = openssl("dgst", "-sha256", "-sign", world.folder / "dkim.pem", data=(author + "\r\n" + field).encode())
    return field + base64.b64encode(key).decode() + "\r\n" + text


def zones(world):
    spf = '@ TXT "v=spf1 ip4:%s -all"\n' % ELSEWHERE
    world.zone("bank.test", spf + '_dmarc TXT "v=DMARC1; p=reject; sp=quarantine; np=reject; %s"\n' % REPORTS
               + key_record(world.folder / "dkim.pem") + "there A 10.25.0.99\nnews TXT \"v=spf1 ip4:%s -all\"\n" % ELSEWHERE, signed=True)
    world.zone("shop.test", '_dmarc TXT "v=DMARC1; " "p=quarantine"\n')
    world.zone("strict.test", 'bounce TXT "v=spf1 ip4:%s -all"\n' % ELSEWHERE + '_dmarc TXT "v=DMARC1; p=reject; aspf=s"\n')
    world.zone("other.test", spf)
    world.zone("forged.test", '_dmarc TXT "v=DMARC1; p=reject"\n', signed=True, forged=("TXT",))
    world.zone("broken.test", None)


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, more=STAGES % "") as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


TEXT = "From: %s\r\nSubject: x\r\n\r\nHello\r\n"


def send_text(post, sender, text):
    with post.client(port=25, user=None, source=ELSEWHERE) as client:
        client.sendmail(sender, ["ann@example.com"], text)


def send(post, author, sender, head=""):
    send_text(post, sender, head + TEXT % author)


def refused(post, *what):
    with pytest.raises(smtplib.SMTPDataError) as e:
        send(post, *what)
    return e.value.smtp_code, e.value.smtp_error.decode()


def found(post, folder="INBOX"):
    """The one message there, which is removed; what its Authentication-Results says of DMARC."""
    with post.imap() as client:
        assert client.select(folder)[1][0] == b"1"
        mail = email.message_from_bytes(client.fetch("1", "(BODY.PEEK[])")[1][0][1])
        client.store("1", "+FLAGS", "(\\Deleted)")
        client.expunge()
    results = mail.get_all("Authentication-Results")
    assert len(results) == 1 and results[0].split(";")[0] == "mail.example.com"
    return next(" ".join(part.split()) for part in results[0].split(";") if "dmarc=" in part)


def test_own_mail_passes(post):
    send(post, "Bank <a@bank.test>", "bounce@bank.test", "Authentication-Results: mail.example.com; dmarc=fail\r\n")
    assert found(post) == "dmarc=pass (policy of bank.test: reject) header.from=bank.test policy.dmarc=reject"
    send(post, "a@bank.test", "bounce@news.bank.test")  # relaxed
    assert found(post).startswith("dmarc=pass")
    send(post, "a@nobody.test", "a@other.test")
    assert found(post) == "dmarc=none header.from=nobody.test"


@contextlib.contextmanager
def also(post, settings):
    """With these, too."""
    try:
        post.write(STAGES % "" + settings)
        post.hup()
        yield
    finally:
        post.write(STAGES % "")
        post.hup()


def test_signed_mail_passes(post, world):
    text = signed(world, TEXT % "a@news.bank.test")
    send_text(post, "a@other.test", text)
    assert found(post) == "dmarc=pass (policy of bank.test: quarantine) header.from=news.bank.test policy.dmarc=quarantine"
    send_text(post, "a@other.test", text.replace("Hello", "Jello"))
    assert found(post, "Junk").startswith("dmarc=fail")


def test_the_last_of_many_signatures(post, world):
    """As many keys are asked for as dkim.signatures has it."""
    others = "".join("DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=s%d; h=from; bh=%s; b=AAAA\r\n" % (n, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") for n in range(19))
    text = others + signed(world, TEXT % "a@bank.test")
    with pytest.raises(smtplib.SMTPDataError):  # there are eight
        send_text(post, "a@other.test", text)
    with also(post, "dkim {\nsignatures = 20\n}\n"):
        send_text(post, "a@other.test", text)
        assert found(post).startswith("dmarc=pass")


def test_keys_for_tests(post, world):
    """RFC 6376 3.6.1: as if it weren't signed, unless it is said that they count."""
    text = signed(world, TEXT % "a@bank.test", "t")
    with pytest.raises(smtplib.SMTPDataError):
        send_text(post, "a@other.test", text)
    with also(post, "dkim {\ntest_keys = yes\n}\n"):
        send_text(post, "a@other.test", text)
        assert found(post).startswith("dmarc=pass")


def test_policies(post):
    code, text = refused(post, "a@bank.test", "a@other.test")
    assert code == 550 and text.startswith("5.7.1 DMARC: the policy of bank.test is to refuse mail")
    assert refused(post, "a@absent.bank.test", "a@other.test")[0] == 550
    assert refused(post, "a@strict.test", "a@bounce.strict.test")[0] == 550
    assert refused(post, "x@other.test, a@bank.test", "a@other.test")[0] == 550
    send(post, "a@there.bank.test", "a@other.test")
    assert found(post, "Junk").startswith("dmarc=fail")
    send(post, "a@shop.test", "")
    assert found(post, "Junk").startswith("dmarc=fail (policy of shop.test: quarantine)")


def test_no_answer(post):
    send(post, "a@broken.test", "a@other.test")
    assert found(post).startswith("dmarc=temperror")
    send(post, "a@forged.test", "a@other.test")  # DNSSEC: what it says isn't believed
    assert found(post).startswith("dmarc=temperror")


@contextlib.contextmanager
def allowed(post, *words):
    assert post.command("policy", "add", "allow", *words).code == 0
    try:
        yield
    finally:
        value = [w for i, w in enumerate(words) if i < 2 or w.startswith("--for")]
        assert post.command("policy", "remove", *value).code == 0


def is_taken(post, *what):
    """A rule is in force a moment after its command."""
    def attempt():
        with contextlib.suppress(smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused):
            send(post, *what)
            return True
    wait_for(attempt, "taken", WAIT)
    assert found(post).startswith("dmarc=fail (policy of bank.test: reject, applied: none, local_policy)")


def test_allowed(post):
    """What a rule allows is let in whatever DMARC says, a sender only if SPF proves it."""
    forged = ("a@bank.test", "a@other.test")
    with allowed(post, "network", ELSEWHERE):
        is_taken(post, *forged)
        mid = re.findall(r"mid=(\d+)", post.log())[-1]
        shown = post.command("explain", mid, "--json").json
        dmarc = [s for s in shown["stages"] if s["stage"] == "dmarc"][0]
        assert dmarc["verdict"] == "reject" and dmarc["overridden"] is True
        assert shown["verdict"] == "accept" and shown["decided_by"] == ["policy"]
        assert "doesn't count: policy lets the sender in" in post.command("explain", mid).out
    with allowed(post, "network", ELSEWHERE, "--for=ann@example.com"):
        is_taken(post, *forged)
    with allowed(post, "sender", "a@other.test", "--for=ann@example.com"):  # SPF passes
        is_taken(post, *forged)
    with allowed(post, "sender", "@shop.test"):  # it has no SPF record
        with allowed(post, "network", ELSEWHERE):
            is_taken(post, "a@bank.test", "a@shop.test")
        wait_for(lambda: refused_or_none(post, "a@bank.test", "a@shop.test"), "refused", WAIT)
    assert refused(post, *forged)[0] == 550


def refused_or_none(post, *what):
    try:
        send(post, *what)
    except smtplib.SMTPDataError as e:
        return e.smtp_code == 550
    post.empty()
    return None


def test_reload(post):
    try:
        post.write(STAGES % "action = report\n")
        post.hup()
        send(post, "a@bank.test", "a@other.test")
        assert found(post).startswith("dmarc=fail (policy of bank.test: reject, applied: none, local_policy)")
    finally:
        post.write(STAGES % "")
        post.hup()
    assert refused(post, "a@bank.test", "a@other.test")[0] == 550


def test_counted(world):
    with a_post(world, more=STAGES % "") as post:
        send(post, "a@bank.test", "a@bank.test")
        send(post, "a@bank.test", "a@bank.test")
        refused(post, "a@bank.test", "a@other.test")
        post.end()  # writes
        db = sqlite3.connect(post.data / "store.db")
        rows = db.execute("SELECT domain, author, ip, disposition, spf, dkim, messages, auth, record FROM dmarc_result "
                          "ORDER BY messages").fetchall()
        db.close()
    assert [r[:7] for r in rows] == [("bank.test", "bank.test", ELSEWHERE, 2, 0, 0, 1),
                                     ("bank.test", "bank.test", ELSEWHERE, 0, 1, 0, 2)]
    assert rows[1][7] == b"spf pass bank.test\n" and REPORTS.encode() in rows[0][8]
