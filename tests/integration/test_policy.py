# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse policy` and the stage of that name: rules take effect in the running server, for those they are for; domains that must
sign; global aliases; what explain tells about mail that was refused."""
import re
import smtplib

import pytest
from conftest import FAST, posthouse, wait_for

XANDROS, VIVITA = "xandros@example.com", "vivita@example.com"
TEXT = "From: a@signs.example\r\nSubject: %s\r\n\r\nHello\r\n"


def send(server, sender="a@example.org", to=(XANDROS,), helo="client.example", subject="x"):
    """The reply of each recipient, and the message's (None: none was sent)."""
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=30) as client:
        client.ehlo(helo)
        assert client.mail(sender)[0] == 250
        answers = [client.rcpt(one) for one in to]
        if all(code != 250 for code, _ in answers):
            return answers, None
        return answers, client.data(TEXT % subject)


def policy(data, *words, code=0):
    done = posthouse("policy", *words, "--json", data=data)
    assert done.code == code, (words, done.code, done.out, done.err)
    return done.json if code == 0 and "remove" not in words[:2] else done.json.get("error") if code else None


def refused(server, **how):
    """The words to the first recipient, once it is refused: a change is in force a moment after its command."""
    return wait_for(lambda: next((words.decode() for code, words in send(server, **how)[0][:1] if code == 550), None), "refused")


def taken(server, **how):
    return wait_for(lambda: send(server, **how)[0][0][0] == 250, "taken")


def explained(server):
    ident = re.findall(r"mid=(\d+)", server.log())[-1]
    return posthouse("explain", ident, "--json", data=server.data).json


def test_rules(start, folder):
    server = start(settings=FAST, data=folder)
    data = server.data
    assert policy(data, "list") == []
    assert send(server)[0][0][0] == 250
    added = policy(data, "add", "deny", "sender", "@Example.org", "--reason=Not from there.")
    assert {**added, "since": 0} == {"action": "deny", "kind": "sender", "value": "@example.org", "for": "all", "since": 0, "expires": None,
                                    "reason": "Not from there.", "replaced": False}
    assert refused(server) == "5.7.1 Not from there."
    tree = explained(server)
    assert tree["verdict"] == "reject" and tree["decided_by"] == ["policy"]
    mine = [s for s in tree["stages"] if s["stage"] == "policy" and s["point"] == "rcpt"][0]
    assert mine["reason"] == "deny sender @example.org: Not from there." and mine["effect"] == "decided" and mine["recipient"] == XANDROS
    assert mine["facts"] == {"policy.rule": "deny sender @example.org"}
    assert tree["changes"] == [{"without": ["policy"], "verdict": "pass", "decided_by": []}]
    # One of them wants it: it is refused for the other alone
    policy(data, "add", "allow", "sender", "a@example.org", "--for=" + XANDROS)
    taken(server)
    answers, (code, _) = send(server, to=(VIVITA, XANDROS), subject="for one")
    assert [c for c, _ in answers] == [550, 250] and code == 250
    assert "Subject: for one" in server.newest(XANDROS).decode() and server.count(VIVITA) == 0
    # A domain of ours, a client, a name
    policy(data, "add", "deny", "network", "127.0.0.0/8", "--for=example.com", "--expires=1h")
    assert refused(server, sender="b@else.example") == "5.7.1 Mail from your network is not accepted here"
    assert policy(data, "add", "allow", "network", "127.0.0.0/8", "--for=example.com")["replaced"] is True
    taken(server, sender="b@else.example")
    policy(data, "remove", "network", "127.0.0.0/8", "--for=example.com")
    policy(data, "add", "deny", "helo", "localhost")
    assert "call themselves so" in refused(server, sender="b@else.example", helo="LOCALHOST")
    assert send(server, sender="b@else.example")[0][0][0] == 250
    # Users who send aren't looked at
    policy(data, "add", "deny", "recipient", VIVITA)
    refused(server, sender="b@else.example", to=(VIVITA,))
    with server.smtp("submission", XANDROS) as client:
        client.sendmail(XANDROS, VIVITA, "Subject: from a user\r\n\r\nHello\r\n")
    assert "from a user" in server.newest(VIVITA).decode()
    listed = policy(data, "list")
    assert [(r["action"], r["kind"], r["value"], r["for"]) for r in listed] == [
        ("deny", "sender", "@example.org", "all"), ("deny", "recipient", VIVITA, "all"), ("deny", "helo", "localhost", "all"),
        ("allow", "sender", "a@example.org", XANDROS)]
    assert [r["kind"] for r in policy(data, "list", "--for=all")] == ["sender", "recipient", "helo"]
    assert policy(data, "list", "--for=" + XANDROS) == listed[3:]
    assert policy(data, "test", XANDROS, "--sender=a@example.org")["action"] == "allow"
    assert policy(data, "test", "karl@example.com", "--sender=x@example.org")["value"] == "@example.org"
    assert policy(data, "test", "karl@example.com", "--sender=<>", "--client=192.0.2.1", "--helo=localhost")["kind"] == "helo"
    assert policy(data, "test", "karl@example.com", "--sender=<>") == {"action": None}
    server.stop()
    assert policy(data, "list") == listed  # without a server, from the store


def test_words(start, folder):
    start(data=folder).stop()
    for words, said in ((("add", "forbid", "sender", "@x.example"), "allow or deny"), (("add", "deny", "subject", "x"), "no kind"),
                        (("add", "deny", "sender", "x.example"), "'x.example' is none of"), (("add", "deny", "network", "10.0.0.1/8"), "host bits"),
                        (("add", "deny", "sender", "@x.example", "--for=a b"), "--for"),
                        (("add", "deny", "sender", "@x.example", "--expires=soon"), "--expires"),
                        (("add", "deny", "sender", "@x.example", "--reason=N\u00f6"), "--reason"), (("add", "deny", "sender"), "usage"),
                        (("remove", "moon", "x"), "no kind"), (("test", XANDROS, "--client=here"), "--client")):
        assert said in policy(folder, *words, code=2), words
    assert "no such rule" in policy(folder, "remove", "sender", "@x.example", code=1)
    assert policy(folder, "list") == []


def test_for_an_account(start, folder):
    """A rule for an account holds for what an alias brings there."""
    server = start(settings=FAST, data=folder)
    assert posthouse("alias", "add", "info@example.com", VIVITA, data=server.data).code == 0
    policy(server.data, "add", "deny", "sender", "@example.org", "--for=" + VIVITA)
    refused(server, to=("info@example.com",))
    refused(server, to=(VIVITA,))
    assert send(server)[0][0][0] == 250


@pytest.mark.parametrize("wish", ("reject", "quarantine", "junk"))
def test_must_sign(start, wish):
    server = start(settings=(*FAST, "policy.dkim_required=signs.example", "policy.dkim_missing=" + wish))
    code, words = send(server, subject="unsigned")[1]
    tree = explained(server)
    assert tree["verdict"] == wish and tree["decided_by"] == ["policy"]
    if wish == "reject":
        assert code == 550 and b"5.7.20 Mail from signs.example must have" in words
        assert "Subject: unsigned" in tree["head"]
        shown = posthouse("explain", tree["id"], data=server.data).out
        assert "\nverdict: reject (policy)\n" in shown and "\n  without policy: pass\n" in shown and "\n  Subject: unsigned\n" in shown
    else:
        assert code == 250 and "head" not in tree
        assert server.count(XANDROS, "Junk") == (wish == "junk")
        kept = posthouse("quarantine", "list", "--stage=policy", "--json", data=server.data).json
        assert len(kept) == (wish == "quarantine")
    assert server.count(XANDROS) == 0
    # What is allowed doesn't count as junk; a refusal stays one
    policy(server.data, "add", "allow", "sender", "@example.org")
    def allowed():
        send(server, subject="allowed")
        return any(s["verdict"] == "accept" for s in explained(server)["stages"])
    wait_for(allowed, "allowed")
    assert (server.count(XANDROS) > 0) == (wish != "reject")


def test_test_looks_up_aliases(start, folder):
    """`policy test` tells of the rule that RCPT would find: by aliases of the directory, of the store and of the settings."""
    server = start(settings=(*FAST, "smtp.global_aliases=fixed@else.example->vivita@example.com"), data=folder)
    data = server.data
    assert posthouse("alias", "add", "info@example.com", VIVITA, data=data).code == 0
    assert posthouse("alias", "add", "both@example.com", VIVITA, XANDROS, data=data).code == 0
    policy(data, "alias", "add", "sales@other.example", "info@example.com")
    policy(data, "alias", "add", "round@other.example", "about@other.example")
    policy(data, "alias", "add", "about@other.example", "round@other.example")
    policy(data, "add", "deny", "sender", "a@example.org", "--for=" + VIVITA)

    def tested(to):
        return policy(data, "test", to, "--sender=a@example.org")

    for to in ("info@example.com", "Info+x@Example.com", "fixed@else.example", "sales@other.example", "vivita+tag@example.com"):
        answer = tested(to)
        assert answer["action"] == "deny" and answer["for"] == VIVITA and answer["leads_to"] == [VIVITA], to
        refused(server, to=(to,))
    assert tested(VIVITA)["action"] == "deny" and "leads_to" not in tested(VIVITA)
    assert tested("both@example.com") == {"action": None, "leads_to": [VIVITA, XANDROS]}
    taken(server, to=("both@example.com",))
    assert tested("nobody@example.com") == {"action": None}
    assert "circle" in policy(data, "test", "round@other.example", code=1)
    server.stop()
    assert tested("sales@other.example")["action"] == "deny"  # without a server: all but what its settings say


def test_global_aliases(start, folder):
    server = start(settings=(*FAST, "smtp.global_aliases=fixed@example.com->vivita@example.com"), data=folder)
    data = server.data
    assert send(server, to=("fixed@example.com",), subject="by a setting")[1][0] == 250
    assert "Subject: by a setting" in server.newest(VIVITA).decode()
    policy(data, "alias", "add", "fixed@example.com", XANDROS)
    wait_for(lambda: send(server, to=("fixed@example.com",), subject="by a command")[1][0] == 250 and server.count(XANDROS), "the new one")
    policy(data, "alias", "remove", "fixed@example.com")
    assert policy(data, "alias", "list") == []
    added = policy(data, "alias", "add", "Sales@Example.com", XANDROS, VIVITA)
    assert {**added, "since": 0} == {"name": "sales@example.com", "targets": [XANDROS, VIVITA], "since": 0, "replaced": False}
    taken(server, to=("sales@example.com",))
    answers, (code, _) = send(server, to=("SALES@example.com", XANDROS), subject="for the team")
    assert [c for c, _ in answers] == [250, 250] and code == 250
    for one in (XANDROS, VIVITA):
        assert "Subject: for the team" in server.newest(one).decode()
    mine = [s for s in explained(server)["stages"] if s["stage"] == "policy" and s["point"] == "rcpt"][0]
    assert mine["facts"] == {"policy.alias": "%s, %s" % (XANDROS, VIVITA)} and mine["verdict"] == "pass"
    # A domain that isn't ours
    policy(data, "alias", "add", "@other.example", "@example.com")
    assert refused(server, to=("nobody@other.example",)) == "5.1.1 No such address here"
    assert send(server, to=("vivita@other.example",), subject="from outside")[1][0] == 250
    assert "Subject: from outside" in server.newest(VIVITA).decode()
    # Users, too; what leads in a circle; what names itself
    with server.smtp("submission", XANDROS) as client:
        client.sendmail(XANDROS, "vivita@other.example", "Subject: from a user\r\n\r\nHello\r\n")
    assert "from a user" in server.newest(VIVITA).decode()
    policy(data, "alias", "add", "@other.example", "@third.example")
    policy(data, "alias", "add", "@third.example", "@other.example")
    wait_for(lambda: send(server, to=("vivita@other.example",))[0][0][1].startswith(b"5.4.6"), "a circle")
    assert policy(data, "alias", "add", VIVITA, VIVITA, XANDROS, code=0)["targets"] == [VIVITA, XANDROS]
    before = server.count(XANDROS)
    wait_for(lambda: send(server, to=(VIVITA,), subject="both")[1][0] == 250 and server.count(XANDROS) > before, "a copy")
    assert "Subject: both" in server.newest(VIVITA).decode()
    for name in ("@other.example", "@third.example", VIVITA, "sales@example.com"):
        policy(data, "alias", "remove", name)
    assert policy(data, "alias", "list") == []
    assert "no such alias" in policy(data, "alias", "remove", VIVITA, code=1)
    assert policy(data, "alias", "add", "nobody", XANDROS, code=2)
    assert policy(data, "alias", "add", VIVITA, code=2)
    wait_for(lambda: send(server, to=("sales@example.com",))[0][0][0] == 550, "the alias is gone")
