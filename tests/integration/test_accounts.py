# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""What accounts may do and what becomes of their mail: forward, vacation, receiving or sending only."""
import datetime
import email
import email.policy
import smtplib

import pytest
from conftest import posthouse, wait_for

TEXT = "I am away until Monday.\nGrüße\n"
A_DAY = datetime.timedelta(days=1)


def run(server, *words, stdin="", code=0):
    c = posthouse(*words, "--json", data=server.data, stdin=stdin)
    assert c.code == code, (words, c.code, c.err, c.out)
    return c.json if c.out else None


@pytest.fixture(scope="module", autouse=True)
def users(server):
    for name in ("anna", "berta", "clara", "dora", "emma"):
        run(server, "user", "add", name + "@example.com", stdin=name + "-pass\n")
        server.passwords[name + "@example.com"] = name + "-pass"


def send(server, to, sender="someone@example.org", head="", named=None):
    with server.smtp() as client:
        return client.sendmail(sender, to, "From: <%s>\r\nTo: <%s>\r\nMessage-ID: <1@example.org>\r\n%sSubject: Lunch?\r\n\r\nHello\r\n"
                               % (sender, named or to, head))


def refused(server, to, code, status):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
        send(server, to)
    found, text = e.value.recipients[to]
    assert (found, text.split()[0]) == (code, status.encode())


# ---- forward
def test_forward_with_and_without_a_copy(server):
    run(server, "forward", "set", "anna@example.com", "berta@example.com")
    before = server.count("anna"), server.count("berta")
    send(server, "anna+tag@example.com")
    assert (server.count("anna"), server.count("berta")) == (before[0] + 1, before[1] + 1)
    run(server, "forward", "set", "anna@example.com", "berta@example.com", "--no-copy")
    send(server, "anna@example.com")
    assert (server.count("anna"), server.count("berta")) == (before[0] + 1, before[1] + 2)
    shown = run(server, "forward", "show", "anna@example.com")
    assert shown["destinations"] == ["berta@example.com"] and shown["copy"] is False
    # An alias finds what the account wishes.
    run(server, "alias", "add", "office@example.com", "anna@example.com")
    send(server, "office@example.com")
    assert (server.count("anna"), server.count("berta")) == (before[0] + 1, before[1] + 3)
    run(server, "forward", "remove", "anna@example.com")
    send(server, "anna@example.com")
    assert (server.count("anna"), server.count("berta")) == (before[0] + 2, before[1] + 3)


def test_forward_elsewhere(server):
    captured = server.count("capture")
    run(server, "forward", "set", "anna@example.com", "her@elsewhere.test")
    before = server.count("anna")
    send(server, "anna@example.com")
    assert server.count("anna") == before + 1 and server.count("capture") == captured + 1
    run(server, "forward", "remove", "anna@example.com")


def test_forward_that_arrives_nowhere_is_refused(server):
    assert "does not exist" in run(server, "forward", "set", "anna@example.com", "nobody@example.com", code=1)["error"]
    assert "no user" in run(server, "forward", "set", "nobody@example.com", "anna@example.com", code=1)["error"]
    run(server, "forward", "set", "anna@example.com", "berta@example.com", "--no-copy")
    assert "loop" in run(server, "forward", "set", "berta@example.com", "anna@example.com", "--no-copy", code=1)["error"]
    run(server, "forward", "set", "berta@example.com", "anna@example.com")  # here a copy stays
    before = server.count("berta")
    send(server, "anna@example.com")
    assert server.count("berta") == before + 1
    for name in ("anna", "berta"):
        run(server, "forward", "remove", name + "@example.com")


# ---- receiving only, sending only
def test_who_may_not_receive(server):
    run(server, "user", "allow", "clara@example.com", "send")
    refused(server, "clara@example.com", 550, "5.2.1")
    with server.smtp("submission", "clara", starttls=True) as client:
        assert client.sendmail("clara@example.com", "dora@example.com", "From: clara@example.com\r\nSubject: x\r\n\r\nx") == {}
    run(server, "user", "allow", "clara@example.com", "both")
    send(server, "clara@example.com")


def test_who_may_not_send(server):
    run(server, "user", "allow", "dora@example.com", "receive")
    send(server, "dora@example.com")
    for sender in ("dora@example.com", ""):
        with server.smtp("submission", "dora", starttls=True) as client:
            with pytest.raises(smtplib.SMTPSenderRefused) as e:
                client.sendmail(sender, "anna@example.com", "From: dora@example.com\r\nSubject: x\r\n\r\nx")
            assert e.value.smtp_code == 550 and b"not send" in e.value.smtp_error
    with server.imap("dora") as client:
        client.select("INBOX")
    assert "neither" in run(server, "user", "allow", "dora@example.com", "some", code=2)["error"]


# ---- vacation
@pytest.fixture
def away(server):
    run(server, "vacation", "set", "emma@example.com", "-", "--days=3", stdin=TEXT)
    yield
    run(server, "vacation", "remove", "emma@example.com")


def answers(server):
    all_of_them = [email.message_from_bytes(m, policy=email.policy.default) for m in server.messages("capture")]
    return [m for m in all_of_them if m["Auto-Submitted"]]


def reaches(server, address, account):
    before = server.count(account)
    send(server, address, sender="probe@example.org")
    return server.count(account) == before + 1


def test_an_answer(server, away):
    known = len(answers(server))
    send(server, "emma@example.com", head="References: <0@example.org>\r\n")
    wait_for(lambda: len(answers(server)) == known + 1, "the answer")
    a = answers(server)[-1]
    assert a["Auto-Submitted"] == "auto-replied (vacation)" and a["Subject"] == "Auto: Lunch?"
    assert a["From"] == "emma@example.com" and a["To"] == "someone@example.org"
    assert a["In-Reply-To"] == "<1@example.org>" and a["References"].split() == ["<0@example.org>", "<1@example.org>"]
    assert a["Return-Path"] == "<>" and a["Date"] and a["Message-ID"] != a["In-Reply-To"]
    assert a.get_content().replace("\r\n", "\n") == TEXT
    # Each sender once.
    send(server, "emma@example.com")
    send(server, "emma@example.com", sender="other@example.org")
    wait_for(lambda: len(answers(server)) == known + 2, "the answer to the other")
    assert answers(server)[-1]["To"] == "other@example.org"
    # Another text: all are told anew.
    run(server, "vacation", "set", "emma@example.com", "-", "--subject=Fort: äöü", stdin="Still away\n")
    send(server, "emma@example.com")
    wait_for(lambda: len(answers(server)) == known + 3, "the answer with the new text")
    a = answers(server)[-1]
    assert a["Subject"] == "Fort: äöü" and a.get_content().strip() == "Still away"


def test_an_answer_by_a_global_alias(server, away):
    """Whoever wrote to an address that a global alias leads on from hears of it, too; the others it leads to aren't away."""
    known = len(answers(server))
    run(server, "policy", "alias", "add", "team@example.net", "anna@example.com", "emma@example.com")
    wait_for(lambda: reaches(server, "team@example.net", "anna"), "the alias is known")
    send(server, "team@example.net", sender="alias@example.org")
    wait_for(lambda: len(answers(server)) >= known + 2, "an answer to each of them")
    run(server, "policy", "alias", "remove", "team@example.net")
    assert {(a["From"], a["To"]) for a in answers(server)[known:]} == {("emma@example.com", to) for to in
                                                                       ("probe@example.org", "alias@example.org")}


@pytest.mark.parametrize("what", ["no sender", "bulk", "list", "program", "bcc", "robot", "daemon"])
def test_no_answer(server, away, what):
    known = len(answers(server))
    sender, head, named = "x-%s@example.org" % what.replace(" ", ""), "", None
    if what == "no sender":
        sender = ""
    elif what == "bulk":
        head = "Precedence: bulk\r\n"
    elif what == "list":
        head = "List-Id: <list.example.org>\r\n"
    elif what == "program":
        head = "Auto-Submitted: auto-generated\r\n"
    elif what == "bcc":
        named = "somebody@example.org"
    elif what == "robot":
        sender = "news-request@example.org"
    elif what == "daemon":
        sender = "MAILER-DAEMON@example.org"
    before = server.count("emma")
    send(server, "emma@example.com", sender, head, named)
    assert server.count("emma") == before + 1
    # One that is answered comes after it.
    send(server, "emma@example.com", sender="after-%s@example.org" % what.replace(" ", ""))
    wait_for(lambda: len(answers(server)) > known, "the next answer")
    assert len(answers(server)) == known + 1 and answers(server)[-1]["To"].startswith("after-")


def test_dates(server):
    today = datetime.date.today()
    for words, expected in ((["--from=%s" % (today + 2 * A_DAY)], False), (["--until=%s" % (today - 2 * A_DAY)], False),
                            (["--from=%s" % (today - A_DAY), "--until=%s" % (today + A_DAY)], True)):
        known = len(answers(server))
        run(server, "vacation", "set", "emma@example.com", "-", *words, stdin="Away\n")
        send(server, "emma@example.com", sender="dates@example.org")
        if expected:
            wait_for(lambda: len(answers(server)) == known + 1, "the answer")
        else:
            assert len(answers(server)) == known
    assert "before it begins" in run(server, "vacation", "set", "emma@example.com", "-", "--from=2026-03-02", "--until=2026-02-01",
                                     stdin="x\n", code=1)["error"]
    shown = run(server, "vacation", "show", "emma@example.com")
    assert shown["away"] is True and shown["until"] == str(today + A_DAY)
    run(server, "vacation", "remove", "emma@example.com")
    assert run(server, "vacation", "show", "emma@example.com")["away"] is False


def test_who_comes_after_inherits_nothing(server):
    run(server, "forward", "set", "berta@example.com", "anna@example.com", "--no-copy")
    run(server, "user", "remove", "berta@example.com")
    run(server, "user", "add", "berta@example.com", stdin="berta-pass\n")
    assert run(server, "forward", "show", "berta@example.com")["destinations"] == []


# ---- quota
def test_quota_of_a_domain(server):
    for name in ("one@quota.test", "two@quota.test"):
        if name.startswith("one"):
            run(server, "domain", "add", "quota.test")
        run(server, "user", "add", name, stdin="quota-pass\n")
        server.passwords[name] = "quota-pass"
    text = "Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 700  # some 50 KB

    def deliver(to):
        with server.smtp() as client:
            return client.sendmail("someone@example.org", to, text)

    assert deliver("one@quota.test") == {}
    run(server, "domain", "quota", "quota.test", "120K")
    shown = run(server, "domain", "show", "quota.test")
    assert shown["quota"] == 120 << 10 and 50000 < shown["used"] < 60000
    assert deliver("two@quota.test") == {}
    # Two of them fill it: neither gets more, by SMTP or by IMAP; what they remove makes room.
    with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
        deliver("two@quota.test")
    assert e.value.recipients["two@quota.test"][0] == 452
    with server.imap("two@quota.test") as client:
        kind, said = client.append("INBOX", None, None, text.encode())
        assert kind == "NO" and b"OVERQUOTA" in said[0]
        client.select("INBOX")
        kind, said = client.copy("1", "Archive")
        assert kind == "NO" and b"OVERQUOTA" in said[0]
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
        assert client.append("INBOX", None, None, text.encode())[0] == "OK"
    run(server, "domain", "quota", "quota.test", "0")
    assert deliver("one@quota.test") == {}
    assert "no domain" in run(server, "domain", "quota", "nowhere.test", "1M", code=1)["error"]
