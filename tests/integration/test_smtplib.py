# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Sending with Python's smtplib through every port, and what arrives."""
import base64
import email
import email.message
import email.policy
import hashlib
import random
import re
import smtplib
import socket
import threading

import pytest
from conftest import SANITIZED, WAIT, ok

LETTER = b"From: xandros@example.com\r\nTo: vivita@example.com\r\nSubject: A letter\r\n\r\nDear Vivita,\r\n.\r\n..two dots\r\nX\r\n"


def body_of(message):
    return message.split(b"\r\n\r\n", 1)[1]


def headers_of(message):
    return email.message_from_bytes(message, policy=email.policy.default)


class Collector:
    """What arrived in a mailbox since it was asked last."""

    def __init__(self, server, user, mailbox="INBOX"):
        self.server, self.user, self.mailbox = server, user, mailbox
        self.seen = server.count(user, mailbox)

    def take(self):
        messages = self.server.messages(self.user, self.mailbox)
        new, self.seen = messages[self.seen:], len(messages)
        return new

    def one(self):
        new = self.take()
        assert len(new) == 1, new
        return new[0]


@pytest.fixture
def vivita(server):
    return Collector(server, "vivita")


@pytest.fixture
def xandros(server):
    return Collector(server, "xandros")


# ---- every way in
@pytest.mark.parametrize("port, starttls, user", [
    ("smtp", False, None), ("smtp", True, None), ("smtp", True, "xandros"), ("submission", True, "xandros"),
    ("submissions", None, "xandros")])
def test_every_way_in(server, vivita, port, starttls, user):
    with server.smtp(port, user, starttls) as client:
        assert client.sendmail("xandros@example.com", ["vivita@example.com"], LETTER) == {}
    message = vivita.one()
    assert body_of(message) == body_of(LETTER)
    received = headers_of(message)["Received"]
    tls, auth = starttls is not False, user is not None
    assert "with ESMTP%s%s" % ("S" if tls else "", "A" if auth else "") in received  # RFC 3848
    assert message.startswith(b"Return-Path: <xandros@example.com>\r\n")
    assert headers_of(message)["Delivered-To"] == "vivita@example.com"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("port", ["submission", "submissions"])
@pytest.mark.parametrize("initial", [True, False])
def test_mechanisms(server, port, mechanism, initial):
    with server.smtp(port) as client:
        assert {"PLAIN", "LOGIN"} <= set(client.esmtp_features["auth"].split())
        client.user, client.password = "karl@example.com", server.password("karl")
        code, _ = client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()), initial_response_ok=initial)
        assert code == 235
        assert client.sendmail("karl@example.com", "karl@example.com", "From: karl@example.com\r\n\r\nx\r\n") == {}


@pytest.mark.parametrize("user, password", [
    ("karl@example.com", "wrong"), ("karl@example.com", ""), ("karl@example.com", "vivita-pass"),
    ("nobody@example.com", "karl-pass"), ("karl", "karl-pass"), ("", ""), ("x" * 300 + "@example.com", "x"),
    ("team@example.net", "karl-pass"), ("karl@example.com", "x" * 2000)])
def test_wrong_passwords(server, user, password):
    with server.smtp("submission") as client:
        for mechanism in ("PLAIN", "LOGIN"):
            client.user, client.password = user, password
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
            assert refused.value.smtp_code in (535, 501, 500)
        assert client.mail("karl@example.com")[0] == 530
        client.login("karl@example.com", server.password("karl"))
        assert client.mail("karl@example.com")[0] == 250


def test_guessing_is_ended(server):
    with server.smtp("submission") as client, pytest.raises(smtplib.SMTPServerDisconnected):
        for _ in range(20):
            code, _ = client.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0karl@example.com\0guess").decode())
            assert code in (535, 421)


def test_no_password_in_the_clear(server):
    for port in ("smtp", "submission"):
        with server.smtp(port, starttls=False) as client:
            assert "auth" not in client.esmtp_features
            code, _ = client.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0karl@example.com\0karl-pass").decode())
            assert code in (538, 530, 502, 503)
            if port == "submission":
                assert client.mail("karl@example.com")[0] == 530


def test_nothing_before_starttls_survives_it(server):
    client = smtplib.SMTP("localhost", server.ports["smtp"], timeout=WAIT)
    client.ehlo()
    client.starttls(context=server.tls)
    assert client.docmd("MAIL", "FROM:<someone@example.org>")[0] == 503  # RFC 3207 4.2: EHLO is forgotten
    client.quit()
    with server.connect("smtp") as s:  # a command smuggled behind STARTTLS is never carried out
        s.sendall(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@example.org>\r\n")
        data = b""
        while b"\n220 " not in data and b"\n5" not in data:
            more = s.recv(4096)
            assert more, data
            data += more
        if b"\n5" not in data:
            with server.tls.wrap_socket(s, server_hostname="localhost") as t:
                t.sendall(b"EHLO x\r\nRCPT TO:<karl@example.com>\r\n")
                data = b""
                while b"\n503" not in data:
                    more = t.recv(4096)
                    assert more, data
                    data += more


def test_sender_must_be_ones_own(server):
    with server.smtp("submission", "karl") as client:
        code, text = client.mail("vivita@example.com")
        assert code in (550, 553) and text.startswith(b"5.7.1")
        client.rset()
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail("karl@example.com", "vivita@example.com", "From: vivita@example.com\r\n\r\nNot me\r\n")
        assert client.sendmail("karl@example.com", "vivita@example.com", "From: Karl <karl@example.com>\r\n\r\nMe\r\n") == {}


# ---- what arrives
def test_submission_completes_the_header(server, vivita):
    bare = b"From: xandros@example.com\r\nSubject: bare\r\n\r\nx\r\n"
    with server.smtp("submission", "xandros") as client:
        client.sendmail("xandros@example.com", "vivita@example.com", bare)
    m = headers_of(vivita.one())
    assert m["Date"] and re.fullmatch(r"<[^@<>\s]+@[^@<>\s]+>", m["Message-ID"])
    with server.smtp() as client:
        client.sendmail("xandros@example.com", "vivita@example.com", bare)
    m = headers_of(vivita.one())
    assert m["Date"] is None and m["Message-ID"] is None  # not ours to add on reception


def test_return_path_is_ours_alone(server, vivita):
    with server.smtp() as client:
        client.sendmail("", "vivita@example.com",
                        b"Return-Path: <forged@example.org>\r\nSubject: bounce\r\n\r\nx\r\n")
    assert headers_of(vivita.one()).get_all("Return-Path") == ["<>"]


def test_eight_bit(server, vivita):
    text = "Grüße aus Köln, naïve café ☕\r\n".encode() + bytes(range(0x80, 0x100)) + b"\r\n"
    message = b"Subject: 8bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
    with server.smtp() as client:
        client.sendmail("a@example.org", "vivita@example.com", message, mail_options=["BODY=8BITMIME"])
    assert body_of(vivita.one()) == text


def test_smtputf8(server, vivita):
    m = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
    m["From"], m["To"], m["Subject"] = "jürgen@müller.example", "vivita@example.com", "Überraschung"
    m.set_content("Žluťoučký kůň\n")
    with server.smtp() as client:
        assert client.send_message(m, "jürgen@müller.example", "vivita@example.com") == {}
        assert client.sendmail("jürgen@müller.example", "用户@例子.example", "Subject: captured\r\n\r\nx\r\n",
                               mail_options=["SMTPUTF8"]) == {}
    message = vivita.one()
    assert re.match("Return-Path: <jürgen@(müller|xn--mller-kva).example>\r\n", message.decode())
    assert "Subject: Überraschung\r\n".encode() in message
    assert "with UTF8SMTP" in message.decode()  # RFC 6531 4.3
    assert "Return-Path: <jürgen@" in server.newest("capture").decode()


def test_many_recipients_share_one_delivery(server, start, vivita, xandros):
    recipients = ["xandros@example.com", "vivita@example.com", "XANDROS@example.com", "vivita+x@example.com"]
    recipients += ["r%d@elsewhere.example" % i for i in range(96)]
    with server.smtp() as client:
        assert client.sendmail("a@example.org", recipients, LETTER) == {}
    assert len(vivita.take()) == len(xandros.take()) == 1
    s = start("--set", "smtp.rcpt_limit=5")
    with s.smtp() as client:  # RFC 5321 4.5.3.1.10: more are for another transaction
        refused = client.sendmail("a@example.org", ["r%d@elsewhere.example" % i for i in range(7)], LETTER)
        assert sorted(code for code, _ in refused.values()) == [452, 452]


def test_some_recipients_refused(server, vivita):
    with server.smtp() as client:
        refused = client.sendmail("a@example.org", ["vivita@example.com", "nobody@example.com"], LETTER)
    assert list(refused) == ["nobody@example.com"] and refused["nobody@example.com"][0] == 550
    vivita.one()


def test_several_messages_on_one_connection(server, vivita):
    with server.smtp() as client:
        for i in range(20):
            client.sendmail("a@example.org", "vivita@example.com", "Subject: number %d\r\n\r\nx\r\n" % i)
            if i % 5 == 0:
                client.rset()
    assert [headers_of(m)["Subject"] for m in vivita.take()] == ["number %d" % i for i in range(20)]


def test_at_once(server, vivita):
    def send(n):
        with server.smtp() as client:
            for i in range(10):
                client.sendmail("a@example.org", "vivita@example.com", "Subject: %d.%d\r\n\r\nx\r\n" % (n, i))
    threads = [threading.Thread(target=send, args=(n,)) for n in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    subjects = [headers_of(m)["Subject"] for m in vivita.take()]
    assert sorted(subjects) == sorted("%d.%d" % (n, i) for n in range(10) for i in range(10))
    for n in range(10):  # one connection's messages keep their order
        mine = [s for s in subjects if s.startswith("%d." % n)]
        assert mine == sorted(mine)


# ---- sizes
def large(n):
    """n bytes of text with lines of all lengths, dots and empty lines among them."""
    noise = base64.b64encode(random.Random(7).randbytes(n * 3 // 4)).decode()
    out, at, i = [], 0, 0
    while at < len(noise):
        length = (i * 37) % 200
        out.append((".", "..", "", "")[i % 4] + noise[at:at + length])
        at += length
        i += 1
    return "\r\n".join(out).encode() + b"\r\n"


@pytest.mark.parametrize("port, user", [("smtp", None), ("submissions", "xandros")])
def test_twenty_megabytes_come_back_as_sent(server, vivita, port, user):
    body = large(20_000_000)
    with server.smtp(port, user) as client:
        client.sendmail("xandros@example.com", ["vivita@example.com", "karl@example.com"],
                        b"From: xandros@example.com\r\nSubject: large\r\n\r\n" + body)
    for whom in ("vivita", "karl"):
        got = body_of(server.newest(whom))
        assert len(got) == len(body)
        assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    assert server.rss() < 150 << 20 or SANITIZED
    with server.imap("vivita") as client:  # in pieces too
        n = int(ok(client.select("INBOX", readonly=True))[0])
        at, piece = 9_999_999, 77_777
        got = ok(client.fetch(str(n), "(BODY.PEEK[TEXT]<%d.%d>)" % (at, piece)))[0][1]
        assert got == body[at:at + piece]
    vivita.take()


@pytest.mark.parametrize("size", [0, 1, 100, 32_700, 32_768, 32_769, 65_536, 1_000_000])
def test_sizes_around_the_borders(server, vivita, size):
    body = (b"x" * 62 + b"\r\n") * (size // 64) + b"y" * (size % 64)
    body = body + b"\r\n" if size % 64 else body  # DATA ends with a line end
    with server.smtp() as client:
        client.sendmail("a@example.org", "vivita@example.com", b"Subject: s\r\n\r\n" + body)
    assert body_of(vivita.one()) == body


def test_long_lines_are_kept(server, start, vivita):
    line = b"y" * 300_000
    with server.smtp() as client:
        client.sendmail("a@example.org", "vivita@example.com", b"Subject: long\r\n\r\n" + line + b"\r\n")
    assert body_of(vivita.one()) == line + b"\r\n"
    s = start("--set", "smtp.long_lines=no")
    with s.smtp() as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail("a@example.org", "vivita@example.com", b"Subject: long\r\n\r\n" + line + b"\r\n")
    assert refused.value.smtp_code == 554


def test_too_large(start):
    s = start("--set", "smtp.message_limit=100K")
    with s.smtp() as client:
        assert client.esmtp_features["size"] == str(100 << 10)
        assert client.mail("a@example.org", ["SIZE=200000"])[0] == 552
        client.rset()
        client.mail("a@example.org")  # without saying how much
        client.rcpt("karl@example.com")
        code, text = client.data(b"Subject: large\r\n\r\n" + b"x\r\n" * 100_000)
        assert code == 552 and text.startswith(b"5.3.4")
        assert client.sendmail("a@example.org", "karl@example.com", LETTER) == {}
    assert s.count("karl") == 1


# ---- bytes that smtplib would not send by itself
def raw(server, data):
    """One message's raw bytes after DATA; the reply code."""
    with server.smtp() as client:
        client.mail("a@example.org")
        client.rcpt("vivita@example.com")
        assert client.docmd("DATA")[0] == 354
        client.send(data)
        return client.getreply()[0]


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n"])
def test_no_smuggling(server, vivita, end):
    """What looks like the end of a message to other servers is neither an end nor accepted."""
    data = b"Subject: outer\r\n\r\nx" + end + b"MAIL FROM:<smuggler@example.org>\r\nRCPT TO:<vivita@example.com>\r\n" \
           b"DATA\r\nSubject: inner\r\n\r\ny\r\n.\r\n"
    assert raw(server, data) // 100 == 5
    assert vivita.take() == []


def test_binary_by_bdat(server, vivita):
    """CHUNKING, RFC 3030: octets counted, dots and all untouched."""
    chunks = [b"Subject: chunks\r\n\r\n.\r\n", b"..\r\nmiddle\r\n" * 10_000, b".\r\nend\r\n"]
    with server.smtp() as client:
        client.mail("a@example.org")
        client.rcpt("vivita@example.com")
        for i, chunk in enumerate(chunks):
            client.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if i == 2 else b"") + chunk)
            assert client.getreply()[0] == 250
    assert body_of(vivita.one()) == body_of(b"".join(chunks))


def test_pipelining(server, vivita):
    """RFC 2920: everything at once, the replies in order."""
    transaction = b"RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<vivita@example.com>\r\nDATA\r\n"
    with server.connect("smtp") as s, s.makefile("rb") as replies:
        s.sendall(b"EHLO x\r\n" + transaction)
        codes = []
        while codes[-1:] != [b"354"]:
            line = replies.readline()
            if line[3:4] == b" ":
                codes.append(line[:3])
        assert codes == [b"220", b"250", b"250", b"250", b"550", b"250", b"354"]
        for _ in range(10):
            s.sendall(b"Subject: piped\r\n\r\nx\r\n.\r\n" + transaction)
            assert [replies.readline()[:3] for _ in range(6)] == [b"250", b"250", b"250", b"550", b"250", b"354"]
        s.sendall(b"Subject: last\r\n\r\nx\r\n.\r\nQUIT\r\n")
        assert [replies.readline()[:3] for _ in range(2)] == [b"250", b"221"]
        assert replies.read() == b""
    assert len(vivita.take()) == 11


def test_headers_of_all_kinds(server, vivita):
    """Structure that parsers trip over is stored unchanged."""
    for data in (b"\r\nno header at all\r\n", b"Subject: only a header\r\n\r\n", b"no colon here\r\nSubject: x\r\n\r\nbody\r\n",
                 b"Subject: folded\r\n\tagain\r\n  and again\r\n\r\nx\r\n", b": empty name\r\n\r\nx\r\n",
                 b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n--b\r\n\r\n--b--\r\nafter\r\n",
                 b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n", b"Subject: " + b"x" * 50_000 + b"\r\n\r\nx\r\n"):
        assert raw(server, data + b".\r\n") == 250, data[:60]
        assert vivita.one().endswith(data), data[:60]


def test_loop_is_detected(server):
    many = b"Received: from a by b; Fri, 20 Nov 2026 07:00:00 +0000\r\n" * 60
    with server.smtp() as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail("a@example.org", "vivita@example.com", many + LETTER)
    assert refused.value.smtp_code == 554 and b"5.4.6" in refused.value.smtp_error


def test_old_and_small_commands(server):
    with smtplib.SMTP("localhost", server.ports["smtp"], timeout=WAIT) as client:
        assert client.helo()[0] == 250
        assert client.noop()[0] == 250
        assert client.verify("karl@example.com")[0] == 252
        assert client.help() or True
        assert client.docmd("EXPN", "list")[0] in (500, 502)
        assert client.docmd("NONSENSE")[0] == 500
        assert client.docmd("DATA")[0] == 503
        assert client.sendmail("a@example.org", "karl@example.com", LETTER) == {}


def test_connection_cut_within_a_message(server, vivita):
    """Nothing of a message whose end never came is delivered."""
    for _ in range(5):
        s = server.connect("smtp")
        s.sendall(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<vivita@example.com>\r\nDATA\r\nSubject: cut\r\n\r\n")
        s.sendall(b"half\r\n" * 20_000)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    with server.smtp() as client:
        client.sendmail("a@example.org", "vivita@example.com", "Subject: whole\r\n\r\nx\r\n")
    assert headers_of(vivita.one())["Subject"] == "whole"
