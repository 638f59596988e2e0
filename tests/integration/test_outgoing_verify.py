# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Hosts are asked whether a sender exists (stage `verify_sender`); where global aliases lead elsewhere; junk that isn't forwarded;
addresses that are written anew before mail is signed."""
import os
import shutil
import smtplib
import subprocess

import pytest
from conftest import ROOT
from outgoing import ADDRESS, ELSEWHERE, a_post, domain, host, message, unchanged, wait_for, world  # noqa: F401 (fixture)
from peer import DROP, refuse

MORE = """
verify_sender { clients = all skip = {"127.0.0.0/8"} trust_spf = no keep_temporary = 1s patience = 25s }
policy { dkim_required = {"junk.test"} dkim_missing = junk }
rewrite { rules = {"ann@example.com->ann.b@example.com"} }
"""



@pytest.fixture(scope="module")
def post(world):
    with a_post(world, more=MORE) as p:
        yield p


@pytest.fixture(autouse=True)
def clean(post):
    yield
    post.clean()


def arrive(post, *to, sender, author=None):
    """The reply of each recipient, then that of the message: (code, text)."""
    data = message(sender=author or sender or "nobody@example.org", to=to[0])
    client = smtplib.SMTP(timeout=60, local_hostname="mx.sender.test", source_address=(ELSEWHERE, 0))
    client.connect(post.home, 25)
    with client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        replies = [client.rcpt(one) for one in to]
        if any(code == 250 for code, _ in replies):
            replies.append(client.data(data))
        return replies, data


def test_a_sender_that_exists(post, host):
    p, name = host()
    for _ in range(2):
        assert arrive(post, "bob@example.com", sender="a@" + name)[0][1][0] == 250
    assert p.mail == [] and p.verbs["RCPT"] == 1 and "DATA" not in p.verbs  # asked once, sent nothing
    assert any("MAIL FROM:<>" in line for line in p.transcript().splitlines())


def test_a_sender_that_does_not(post, host):
    p, name = host(answer=refuse("RCPT", "550 5.1.1 Unknown here"))
    for _ in range(2):
        (code, text), = arrive(post, "bob@example.com", sender="a@" + name)[0]
        assert code == 550 and text.startswith(b"5.1.8 The sender's address doesn't exist: mx.%s said: " % name.encode())
        assert b"Unknown here" in text
    assert p.verbs["RCPT"] == 1
    (code, text), = arrive(post, "bob@example.com", sender="a@nowhere.test")[0]
    assert code == 550 and b"nowhere.test" in text


def test_what_cannot_be_said(post, host, world):
    p, name = host(answer=refuse("RCPT", "450 4.2.0 Greylisted", times=1))
    (code, text), = arrive(post, "bob@example.com", sender="a@" + name)[0]
    assert code == 450 and text.startswith(b"4.1.8 ")
    wait_for(lambda: arrive(post, "bob@example.com", sender="a@" + name)[0][-1][0] == 250, "the second answer")
    (code, _), = arrive(post, "bob@example.com", sender="a@" + domain(next(world.free)))[0]  # nobody listens
    assert code == 450
    q, other = host(answer=lambda s, verb, _: DROP if verb == "RCPT" else None)
    assert arrive(post, "bob@example.com", sender="a@" + other)[0][0][0] == 450
    r, third = host(answer=refuse("MAIL", "550 5.7.1 No bounces", match="<>"))
    assert arrive(post, "bob@example.com", sender="a@" + third)[0][0][0] == 250  # it can't be asked
    assert p.mail == q.mail == r.mail == []


def test_who_is_not_asked(post, host):
    p, name = host(answer=refuse("RCPT", "550 5.1.1 Unknown here", match="stranger"))
    assert arrive(post, "bob@example.com", sender="")[0][0][0] == 250
    (code, text), = arrive(post, "bob@example.com", sender="nobody@example.com")[0]  # ours, and not there
    assert code == 550 and b"no such address" in text
    post.submit("friend@" + name)
    p.wait()
    before = p.verbs["RCPT"]
    assert arrive(post, "bob@example.com", sender="friend@" + name)[0][0][0] == 250  # somebody here has written to it
    assert p.verbs["RCPT"] == before
    assert arrive(post, "bob@example.com", sender="stranger@" + name)[0][0][0] == 550


def test_senders_are_asked_over_tls(post, host, world):
    p, name = host(tls=world.ca.certificate("a.name.that.is.wrong.test"))
    assert arrive(post, "bob@example.com", sender="a@" + name)[0][0][0] == 250
    assert p.sessions[-1].tls_version == "TLSv1.3"


def test_global_alias_to_another_host(post, host):
    p, name = host()
    assert post.command("policy", "alias", "add", "@old.test", "@" + name).code == 0
    sent = wait_for(lambda: (lambda r: r[0][0][0] == 250 and r[1])(arrive(post, "Carl@old.test", sender="a@" + name)), "the alias")
    mail = p.wait()[0]
    assert mail.to == ["Carl@" + name] and mail.sender.startswith("SRS0=")
    unchanged(mail.data, sent)
    # It comes back: once is enough
    assert post.command("policy", "alias", "remove", "@old.test").code == 0
    wait_for(lambda: arrive(post, "Carl@old.test", sender="a@" + name)[0][0][0] == 550, "no alias any more")


def test_junk_is_not_forwarded(post, host):
    p, name = host()
    assert post.command("alias", "add", "away@example.com", "x@" + name).code == 0
    assert arrive(post, "away@example.com", sender="a@" + name)[0][1][0] == 250
    p.wait()
    post.idle()
    (one, data), _ = arrive(post, "away@example.com", sender="a@" + name, author="a@junk.test")
    assert one[0] == 250 and data[0] == 550 and data[1].startswith(b"5.7.1 The message looks like junk")
    # Somebody else gets it too: into Junk, and the copy for elsewhere waits for the administrator
    replies, sent = arrive(post, "away@example.com", "bob@example.com", sender="a@" + name, author="a@junk.test")
    assert [code for code, _ in replies] == [250, 250, 250]
    kept = post.json("quarantine", "list")
    assert len(kept) == 1 and kept[0]["to"] == "x@" + name and kept[0]["stage"] == "policy" and "junk isn't forwarded" in kept[0]["reason"]
    assert post.waiting_to() == [] or all(r["tries"] == 0 for r in post.waiting_to())
    assert len(p.mail) == 1
    with post.imap("bob") as client:
        assert int(client.select("Junk", readonly=True)[1][0]) == 1
    assert post.json("quarantine", "release", kept[0]["id"])["recipients"] == 1
    unchanged(p.wait(2)[1].data, sent)


def test_written_anew_before_it_is_signed(post, host):
    dkim = pytest.importorskip("dkim")
    record = post.json("dkim", "create", "example.com", "--selector=anew", "--algorithm=rsa", "--now")["records"][0]["value"].encode()
    p, name = host()
    seen = [0]

    def signed():
        post.submit("x@" + name)
        seen[0] += 1
        mail = p.wait(seen[0])[-1]
        return mail.data.startswith(b"DKIM-Signature:") and mail
    mail = wait_for(signed, "a signed message")
    assert mail.sender == "ann.b@example.com" and b"\r\nFrom: Ann <ann.b@example.com>\r\n" in mail.data
    assert dkim.verify(mail.data, dnsfunc=lambda n, timeout=5: record if n == b"anew._domainkey.example.com." else None)
    assert post.command("dkim", "retire", "example.com", "anew", "--now").code == 0
    assert post.command("dkim", "remove", "example.com", "anew").code == 0


def test_what_was_held_and_is_junk(world, host):
    """It was acknowledged: it waits for the administrator instead of going on."""
    folder = world.folder / "stages"
    (folder / "posthouse").mkdir(parents=True)
    shutil.copy(ROOT / "filters" / "stage.h", folder / "posthouse")
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-D_POSIX_C_SOURCE=200809L", "-I", str(folder), "-o", str(folder / "every.so"),
                    str(ROOT / "tests" / "plugins" / "every.c")], check=True)
    os.chmod(folder, 0o755)
    more = 'filters { plugins = {"%s"} hold_retry = 50ms }\nevery { deadline = 200ms on_error = hold %%s }\n' % (folder / "every.so")
    p, name = host()
    with a_post(world, more=more % "how = never") as post:
        post.trouble_expected = True
        assert post.command("alias", "add", "away@example.com", "x@" + name).code == 0
        assert arrive(post, "away@example.com", sender="a@" + name)[0][1][0] == 250
        assert post.waiting()[0]["state"] == "held"
        post.write(more % "verdict = junk")
        post.hup()
        wait_for(lambda: post.json("quarantine", "list"), "the quarantine")
        assert p.mail == []
