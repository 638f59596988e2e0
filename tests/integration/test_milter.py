# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The stage `milter` in `posthouse serve`: all that a milter may want, all that one may do wrong, and OpenDKIM."""
import base64
import contextlib
import hashlib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys

import pytest
from conftest import BINARY, ROOT, WAIT, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import milter  # noqa: E402
from milter import Milter  # noqa: E402
from test_serve import Appliance  # noqa: E402

ANN, BOB, SOMEONE = "ann@example.com", "bob@example.com", "someone@example.org"
MESSAGE = "From: %s\r\nTo: %s\r\nSubject: Test\r\n\r\nHello.\r\n" % (SOMEONE, ANN)
HOLD = "filters { hold_retry = 100ms }\n"
SPOILS = [(at, how) for at in "OCHMRTLNBE" for how in ("hang", "close", "garbage")] + [
    (at, how) for at in "ME" for how in ("huge", "empty", "unknown", "cut")] + [("E", "half")]


@pytest.fixture(scope="module")
def post():
    """One server for all; what milters there are changes by a reload."""
    a = Appliance()
    a.start(HOLD)
    a.seed()
    assert a.command("user", "add", BOB, stdin="bob-pass\n").code == 0
    yield a
    a.stop()


def use(post, *milters, **settings):
    endpoints = ", ".join('"%s"' % (m if isinstance(m, str) else m.endpoint) for m in milters)
    settings = dict({"deadline": "1min", "command_timeout": "50s", "content_timeout": "50s"}, **settings)
    post.write(HOLD + "milter {\nendpoints = {%s}\n%s\n}\n" % (endpoints, "\n".join("%s = %s" % s for s in settings.items())))
    post.hup()


def send(post, text=MESSAGE, to=(ANN,), mail_from=SOMEONE, client=None):
    """(code, words) of what was refused, or of the message."""
    own = client is None
    try:
        client = client or smtplib.SMTP("localhost", post.ports["smtp"], "client.example.org", timeout=70)
    except smtplib.SMTPConnectError as e:
        return e.smtp_code, e.smtp_error.decode()
    try:
        for verb in ((client.ehlo, ()), (client.mail, (mail_from,))):
            code, words = verb[0](*verb[1])
            if code >= 400:
                return code, words.decode()
        answers = [client.rcpt(one) for one in to]
        if all(code >= 400 for code, _ in answers):
            return answers[-1][0], answers[-1][1].decode()
        code, words = client.data(text)
        return code, words.decode()
    finally:
        if own:
            client.close()
        else:
            client.rset()


def texts(post, user="ann", folder="INBOX"):
    """All messages of a folder, which is empty afterwards."""
    import imaplib
    client = imaplib.IMAP4_SSL("localhost", post.ports["imaps"], ssl_context=post.tls_context(), timeout=WAIT)
    client.login(user + "@example.com", user + "-pass")
    client.select(folder)
    found = [client.fetch(n, "(RFC822)")[1][0][1].decode() for n in client.search(None, "ALL")[1][0].split()]
    if found:
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    client.logout()
    return found


# ---- what a milter may want

def test_every_change(post):
    one = Milter("unix:%s/one" % post.folder)
    two = Milter("inet", steps=0x100000 | milter.MUTE["L"] | milter.MUTE["B"])  # blanks kept; some not answered
    with one, two:
        one.on["E"] = [milter.PROGRESS, milter.add("X-One", "1"), milter.change(1, "Subject", "Changed\n\tand folded"),
                       milter.insert(1, "X-Top", "t"), milter.body(b"New "), milter.body(b"body\nof one\n"),
                       milter.rcpt_add(BOB), milter.rcpt_add("nobody@example.net", "NOTIFY=NEVER"),
                       milter.sender("changed@example.org"), milter.CONTINUE]
        two.on["E"] = [milter.change(1, "X-One", ""), milter.add("X-Two", " 2"), milter.rcpt_delete(ANN), milter.ACCEPT]
        use(post, one, two)
        assert send(post)[0] == 250
        assert texts(post) == []
        found, = texts(post, "bob")
        assert found.startswith("Return-Path: <changed@example.org>\r\n")
        head, _, body = found.partition("\r\n\r\n")
        assert body == "New body\r\nof one\r\n"
        fields = head[head.index("X-Top"):]
        assert fields == ("X-Top: t\r\nFrom: %s\r\nTo: %s\r\nSubject: Changed\r\n\tand folded\r\nX-Two: 2" % (SOMEONE, ANN))
        assert "X-One" not in head
        seen = two.sessions[0]  # the second has seen what the first has made of it
        assert ("X-One", " 1") in seen.header and ("Subject", " Changed\n\tand folded") in seen.header
        assert seen.body == b"New body\r\nof one\r\n"
        assert one.sessions[0].macros["j"] == "mail.example.com"
        assert one.sessions[0].macros["{client_addr}"] == "127.0.0.1"
        assert re.fullmatch(r"\d+", one.sessions[0].macros["i"])
        wait_for(lambda: one.sessions[0].letters().endswith("Q"), "QUIT")
        assert one.sessions[0].letters() == "OCHMRTLLLNBEQ"


def test_verdicts(post):
    cases = [("C", milter.REJECT, 554), ("C", milter.TEMPFAIL, 421), ("H", milter.REJECT, 550),
             ("M", milter.reply("550 5.7.1 Not you"), 550), ("M", milter.SHUTDOWN, 421), ("R", milter.TEMPFAIL, 451),
             ("T", milter.REJECT, 550), ("L", milter.reply("451 4.7.1 Later"), 451), ("N", milter.REJECT, 550),
             ("B", milter.TEMPFAIL, 451), ("E", milter.reply("554-5.7.1 100%% spam\r\n554 5.7.1 twice"), 554),
             ("M", milter.DISCARD, 250), ("R", milter.DISCARD, 250), ("E", milter.DISCARD, 250)]
    with Milter("unix:%s/one" % post.folder) as one:
        use(post, one)
        for at, answer, code in cases:
            one.on = {at: [answer]}
            assert send(post)[0] == code, (at, answer)
        one.on = {"E": [milter.reply("554-5.7.1 100%% spam\r\n554 5.7.1 twice")]}
        assert send(post) == (554, "5.7.1 100% spam twice")
        assert texts(post) == []
        one.on = {"R": [milter.REJECT]}
        assert send(post, to=(ANN, BOB))[0] == 550
        one.on = {"R": lambda session: [milter.REJECT if b"bob" in session.heard[-1][1][0] else milter.CONTINUE]}
        assert send(post, to=(ANN, BOB))[0] == 250
        assert len(texts(post)) == 1 and texts(post, "bob") == []


def test_quarantine(post):
    with Milter("unix:%s/one" % post.folder) as one:
        one.on["E"] = [milter.add("X-Seen", "yes"), milter.quarantine("smells"), milter.CONTINUE]
        use(post, one)
        code, words = send(post)
        assert code == 250 and texts(post) == []
        ident = re.search(r"Kept as (\d+)", words)[1]
        shown = post.command("explain", ident)
        assert "quarantine: smells" in shown.out, shown.out
        assert post.command("queue", "release", ident).code == 0
        found, = wait_for(lambda: texts(post), "the released message")
        assert "X-Seen: yes" in found


def test_one_connection_for_a_session(post):
    with Milter("unix:%s/one" % post.folder) as one:
        use(post, one)
        client = smtplib.SMTP("localhost", post.ports["smtp"], "client.example.org", timeout=70)
        for _ in range(3):
            assert send(post, client=client)[0] == 250
        assert len(one.sessions) == 1
        one.close()
        with Milter("unix:%s/one" % post.folder) as again:  # it was restarted: told all, the client notices nothing
            again.on["E"] = [milter.add("X-Again", "yes"), milter.CONTINUE]
            assert send(post, client=client)[0] == 250
            assert again.sessions[0].letters() == "OCHMRTLLLNBE"
        client.close()
        assert ["X-Again" in t for t in texts(post)] == [False, False, False, True]


def test_large_message(post):
    text = MESSAGE + "x" * 70 + ("\r\n" + "y" * 70) * 70000 + "\r\n"
    with Milter("unix:%s/one" % post.folder) as one, Milter("inet", steps=milter.MUTE["B"]) as two:
        two.on["E"] = [milter.add("X-Size", "seen"), milter.CONTINUE]
        use(post, one, two)
        assert send(post, text)[0] == 250
        assert one.sessions[0].body == two.sessions[0].body == text.partition("\r\n\r\n")[2].encode()
        found, = texts(post)
        assert found.endswith(text.partition("\r\n\r\n")[2]) and "X-Size: seen" in found


# ---- what it may do wrong

@pytest.mark.parametrize("on_error, code", [("defer", (451, 421)), ("reject", (550, 554)), ("pass", (250,))])
def test_broken(post, on_error, code):
    """Whatever it does, the client gets its answer, and what passes was looked at by the other one."""
    with Milter("unix:%s/one" % post.folder) as one, Milter("inet") as two:
        two.on["E"] = [milter.add("X-Two", "2"), milter.CONTINUE]
        use(post, one, two, on_error=on_error, command_timeout="200ms", content_timeout="200ms")
        for spoil in SPOILS:
            if spoil[1] == "hang":
                continue
            one.misbehave = spoil
            assert send(post)[0] in code, spoil
        found = texts(post)
        if on_error == "pass":
            assert len(found) == len([s for s in SPOILS if s[1] != "hang"])
            assert all("X-Half" not in t and t.endswith("Hello.\r\n") for t in found)
        else:
            assert found == []


def test_hangs(post):
    with Milter("unix:%s/one" % post.folder) as one:
        use(post, one, on_error="junk", command_timeout="100ms", content_timeout="100ms")
        for at in "OCHMRTLNBE":
            one.misbehave = (at, "hang")
            assert send(post)[0] == 250, at
        assert texts(post) == [] and len(texts(post, folder="Junk")) == 10
        use(post, one, on_error="defer", deadline="200ms")  # and the stage's own deadline
        assert send(post)[0] in (451, 421)


def test_nobody_there(post):
    gone = "unix:%s/gone" % post.folder
    with Milter("inet") as there:
        there.on["E"] = [milter.add("X-There", "yes"), milter.CONTINUE]
        use(post, gone, there)
        assert send(post)[0] == 421
        use(post, gone, there, on_error="pass")
        assert send(post)[0] == 250
        found, = texts(post)
        assert "X-There: yes" in found
    assert "there is no such socket" in post.log()


def test_held_until_it_is_back(post):
    path = "unix:%s/back" % post.folder
    with Milter(path) as first:  # it dies at the end of the message
        first.misbehave = ("E", "close")
        use(post, first, on_error="hold")
        assert send(post, to=(ANN, BOB))[0] == 250
        assert texts(post) == []
    with Milter(path) as second:
        second.on["E"] = [milter.add("X-Back", "yes"), milter.CONTINUE]
        found, = wait_for(lambda: texts(post), "the held message")
        assert "X-Back: yes" in found and len(texts(post, "bob")) == 1
        heard = [s for s in second.sessions if "E" in s.letters()][0]
        assert re.match("OCHMRRTL+NBE", heard.letters()), heard.letters()  # told from the beginning
        assert heard.heard[3][1][0] == b"<%s>" % SOMEONE.encode()


def hold_one(post, m, to=(ANN,), on=None):
    """What it does the next time it is asked about a message that it could not judge at first."""
    m.misbehave = ("E", "close")
    use(post, m, on_error="hold")
    code, words = send(post, to=to)
    assert code == 250
    m.on["E"] = on
    m.misbehave = None
    return re.search(r"Kept as (\d+)", words)[1]


def test_held_changes_count(post):
    """Body, recipients and sender of held mail become what the milter says, as those of mail that comes in."""
    with Milter("unix:%s/changes" % post.folder) as m:
        hold_one(post, m, to=(ANN, BOB), on=[
            milter.body(b"Replaced.\r\n"), milter.add("X-Held", "yes"), milter.rcpt_delete(ANN), milter.sender("new@example.com"),
            milter.CONTINUE])
        found, = wait_for(lambda: texts(post, "bob"), "the held message")
        assert found.startswith("Return-Path: <new@example.com>\r\nDelivered-To: " + BOB)
        assert found.endswith("\r\n\r\nReplaced.\r\n") and "X-Held: yes\r\n" in found and found.count("Return-Path") == 1
        assert texts(post) == []
        hold_one(post, m, on=[milter.rcpt_delete(ANN), milter.rcpt_add(BOB), milter.CONTINUE])
        found, = wait_for(lambda: texts(post, "bob"), "for another one")
        assert found.startswith("Return-Path: <%s>\r\nDelivered-To: %s\r\n" % (SOMEONE, BOB)) and found.endswith("Hello.\r\n")
        ident = hold_one(post, m, on=[milter.rcpt_delete(ANN), milter.CONTINUE])
        wait_for(lambda: ident not in [e["id"] for e in post.command("queue", "list", "--json").json], "for nobody")
        assert texts(post) == [] and texts(post, "bob") == []
        told = wait_for(lambda: (lambda o: o if o["outcome"].startswith("disc") else None)(post.command("explain", ident, "--json").json),
                        "it is said")
        assert told["outcome"] == "discarded: all recipients were removed by milter"
        assert [s["did"] for s in told["stages"] if "did" in s] == [["removes the recipient " + ANN]]


def test_held_changes_that_cannot_be_made(post):
    with Milter("unix:%s/cannot" % post.folder) as m:
        ident = hold_one(post, m, on=[milter.rcpt_add("far@elsewhere.example"), milter.body(b"Replaced.\r\n"), milter.CONTINUE])
        kept, = wait_for(lambda: post.command("quarantine", "list", "--json").json, "in quarantine")
        assert kept["id"] == ident and "elsewhere" in kept["reason"] and kept["stage"] == "milter"
        assert texts(post) == []
        post.command("quarantine", "delete", ident)


def test_sealed():
    ended = subprocess.run([BINARY, "dev", "--port-base", "0", "--set", "milter.endpoints=unix:/run/x.sock"], capture_output=True,
                           text=True, timeout=WAIT)
    assert ended.returncode != 0
    assert "stage milter can't be opened: this server is sealed, and reaches no milter" in ended.stderr


# ---- OpenDKIM

def relaxed(name, value):
    return name.lower().encode() + b":" + re.sub(rb"[ \t]+", b" ", re.sub(rb"\r\n", b"", value)).strip()


def verify(message, public, folder):
    """RFC 6376 3.7, for relaxed/relaxed and simple/simple, by openssl."""
    head, _, body = message.encode().partition(b"\r\n\r\n")
    fields = [tuple(f.partition(b":")[::2]) for f in re.split(rb"\r\n(?![ \t])", head)]
    own = [v for n, v in fields if n.lower() == b"dkim-signature"][0]
    tags = {k.strip(): re.sub(rb"\s", b"", v) for k, _, v in (t.partition(b"=") for t in own.split(b";"))}
    assert tags[b"c"] == b"relaxed/simple", tags
    assert base64.b64encode(hashlib.sha256(body.rstrip(b"\r\n") + b"\r\n").digest()) == tags[b"bh"]
    left, signed = list(fields), []
    for name in tags[b"h"].lower().split(b":"):
        at = [i for i, (n, _) in enumerate(left) if n.strip().lower() == name]
        if at:
            n, v = left.pop(at[-1])
            signed.append(relaxed(n.decode(), v) + b"\r\n")
    signed.append(relaxed("dkim-signature", re.sub(rb"(;\s*b=)[^;]*", rb"\1", own)))
    (folder / "signed").write_bytes(b"".join(signed))
    (folder / "sig").write_bytes(base64.b64decode(tags[b"b"]))
    ended = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public, "-signature", folder / "sig", folder / "signed"],
                           capture_output=True, text=True)
    assert "Verified OK" in ended.stdout, ended.stdout + ended.stderr


def answers(path):
    """It is there before somebody listens at it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        return True


@pytest.mark.skipif(not shutil.which("opendkim"), reason="OpenDKIM isn't installed")
def test_opendkim(post, tmp_path):
    """It signs what a user sends, as another milter before it has left it; libmilter's own idea of the protocol."""
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    os.chmod(key, 0o600)
    path = post.folder / "opendkim.sock"
    (tmp_path / "conf").write_text(
        "Socket local:%s\nDomain example.com\nSelector s\nKeyFile %s\nMode s\nCanonicalization relaxed/simple\nUMask 000\n"
        "Background no\nInternalHosts 192.0.2.1\nSyslog no\nRequireSafeKeys no\n" % (path, key))
    process = subprocess.Popen(["opendkim", "-x", tmp_path / "conf", "-f"], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: answers(path), "OpenDKIM")
        with Milter("inet") as first:
            first.on["E"] = [milter.change(1, "Subject", "Changed  before\n it was signed"), milter.CONTINUE]
            use(post, first, "local:%s" % path)
            client = smtplib.SMTP_SSL("localhost", post.ports["submissions"], "client", context=post.tls_context(), timeout=70)
            client.login(ANN, "ann-pass")
            text = "From: Ann <%s>\r\nTo: %s\r\nSubject: Test\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nHello  there. \r\n\r\n" % (ANN, BOB)
            assert client.sendmail(ANN, [BOB], text) == {}
            client.quit()
        found, = texts(post, "bob")
        assert "Subject: Changed  before\r\n it was signed\r\n" in found
        verify(found, public, tmp_path)
    finally:
        process.kill()
        process.wait(WAIT)
