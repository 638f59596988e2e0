# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse domain|user|alias|password|mailbox|account`: with a server running, and without one."""
import base64
import fcntl
import hashlib
import imaplib
import os
import re
import smtplib
import subprocess
import time

import pytest
from conftest import BINARY, FAST, MARIADB, WAIT, ok, posthouse

ALONE = pytest.mark.skipif(MARIADB is not None, reason="without a server a command finds the database by --config only")


class Admin:
    """Commands on one data folder that must succeed, or fail with a given exit code."""

    def __init__(self, data):
        self.data = data

    def __call__(self, *words, stdin=""):
        c = posthouse(*words, data=self.data, stdin=stdin)
        assert c.code == 0, (words, c.code, c.err, c.out)
        return c.out

    def json(self, *words, stdin=""):
        c = posthouse(*words, "--json", data=self.data, stdin=stdin)
        assert c.code == 0, (words, c.code, c.err, c.out)
        return c.json

    def fails(self, code, *words, stdin=""):
        """The error's text, the same with and without --json."""
        c = posthouse(*words, data=self.data, stdin=stdin)
        assert c.code == code, (words, c.code, c.err, c.out)
        assert c.out == "" and c.err.startswith("posthouse: ")
        j = posthouse(*words, "--json", data=self.data, stdin=stdin)
        assert j.code == code and j.err == "" and j.json["exit"] == code
        assert "posthouse: %s\n" % j.json["error"] == c.err
        return j.json["error"]


@pytest.fixture(scope="module")
def admin(server):
    return Admin(server.data)


@pytest.fixture
def alone(start, folder):
    """Commands on a folder that a server has made and left."""
    start(data=folder).stop()
    return Admin(folder)


def deliver(server, to, text="Hello", size=0):
    with server.smtp() as client:
        client.sendmail("someone@example.org", to, "Subject: %s\r\n\r\n%s" % (text, ("x" * 70 + "\r\n") * (size // 72)))


def logs_in(server, address, password):
    try:
        server.imap(address, password=password).logout()
        imap = True
    except imaplib.IMAP4.error:
        imap = False
    try:
        server.smtp("submission", address, password=password).quit()
        smtp = True
    except smtplib.SMTPAuthenticationError:
        smtp = False
    assert imap == smtp, "the two services must not differ"
    return imap


def rcpt(server, address):
    with server.smtp() as client:
        client.mail("someone@example.org")
        return client.rcpt(address)[0]


# ---- domains
def test_domains(admin, server):
    admin("domain", "add", "Letters.Example")
    try:
        assert "letters.example" in [d["domain"] for d in admin.json("domain", "list")]
        assert admin.json("domain", "show", "letters.example") == {"domain": "letters.example", "enabled": True,
                                                                   "users": 0, "aliases": 0, "quota": 0}
        assert "exists" in admin.fails(1, "domain", "add", "letters.example")
        assert rcpt(server, "nobody@letters.example") == 550  # ours now: no longer captured
        admin("user", "add", "ann@letters.example", stdin="secret\n")
        admin.fails(1, "domain", "remove", "letters.example")
        admin("domain", "remove", "letters.example", "--force")
        assert rcpt(server, "nobody@letters.example") == 250
        assert not logs_in(server, "ann@letters.example", "secret")
    finally:
        posthouse("domain", "remove", "letters.example", "--force", data=admin.data)
    admin.fails(1, "domain", "show", "letters.example")
    admin.fails(1, "domain", "remove", "letters.example")


def test_unicode_domain(admin, server):
    admin("domain", "add", "bücher.example")
    listed = [d["domain"] for d in admin.json("domain", "list")]
    assert "bücher.example" in listed or "xn--bcher-kva.example" in listed
    assert rcpt(server, "nobody@xn--bcher-kva.example") == 550
    admin("domain", "remove", "xn--bcher-kva.example")


# ---- users
def test_user_lives_from_the_moment_it_is_added(admin, server):
    assert rcpt(server, "bob@example.com") == 550
    admin("user", "add", "Bob@Example.com", "--name=Bob B.", "--quota=3M", stdin="bobs-secret\n")
    assert admin.json("user", "show", "bob@example.com") == {
        "address": "bob@example.com", "name": "Bob B.", "enabled": True, "password": "yescrypt", "quota": 3 << 20}
    assert "bob@example.com" in [u["address"] for u in admin.json("user", "list", "example.com")]
    assert "bob@example.com" not in [u["address"] for u in admin.json("user", "list", "example.net")]
    assert "exists" in admin.fails(1, "user", "add", "bob@example.com", stdin="x\n")
    assert logs_in(server, "BOB@example.COM", "bobs-secret")
    assert not logs_in(server, "bob@example.com", "bobs-secret2")
    deliver(server, "bob@example.com", "To Bob")
    assert [b"To Bob" in m for m in messages(server, "bob@example.com", "bobs-secret")] == [True]
    admin("user", "remove", "bob@example.com")
    assert rcpt(server, "bob@example.com") == 550
    assert not logs_in(server, "bob@example.com", "bobs-secret")
    admin.fails(1, "user", "show", "bob@example.com")
    admin.fails(1, "user", "remove", "bob@example.com")


@pytest.mark.parametrize("name", ["127.0.0.1", "10.0.0", "4711", "mail.example.1"])
def test_addresses_are_no_domains(admin, name):
    assert admin.fails(1, "domain", "add", name) == (
        name + " is an address or a number, and no domain: domains don't end in digits alone")


@pytest.mark.parametrize("name", ["::1", "[127.0.0.1]", "-x.example", "a..example", "a_b.example", ".example", "x" * 64 + ".example"])
def test_what_is_no_name_is_no_domain(admin, name):
    assert "is not a domain name" in admin.fails(1, "domain", "add", name)


@pytest.mark.parametrize("name", ["localhost", "corp", "1und1.example", "4711.example", "example.x1"])
def test_domains_that_sites_use(admin, name):
    admin("domain", "add", name)
    admin("domain", "remove", name)


def test_bans_of_trusted_networks_are_told(start):
    server = start(settings=FAST + ("guard.trusted=127.0.0.0/8, 192.0.2.1",))
    admin = Admin(server.data)
    for client, trusted, why in (
            ("127.1.2.3", "all", " is trusted by guard.trusted: the ban has no effect while it is"),
            ("192.0.2.0/24", "some", " holds networks that guard.trusted trusts: the ban has no effect there")):
        c = posthouse("ban", "add", client, data=server.data)
        assert (c.code, c.out, c.err) == (0, "", "posthouse: %s%s\n" % (client, why))
        assert admin.json("ban", "add", client) == {"client": client, "trusted": trusted, "warnings": [client + why]}
    c = posthouse("ban", "add", "192.0.3.0/24", data=server.data)
    assert (c.code, c.out, c.err) == (0, "", "")
    assert {b["client"] for b in admin.json("ban", "list")} == {"127.1.2.3", "192.0.2.0/24", "192.0.3.0/24"}


def messages(server, address, password):
    with server.imap(address, password=password) as client:
        n = int(ok(client.select("INBOX"))[0])
        return [ok(client.fetch(str(i + 1), "(BODY.PEEK[])"))[0][1] for i in range(n)]


def test_removed_while_logged_in(admin, server):
    """A session that is open when its user goes can't log in again; nothing it does harms the server."""
    admin("user", "add", "gone@example.com", stdin="pw\n")
    client = server.imap("gone@example.com", password="pw")
    client.select("INBOX")
    submission = server.smtp("submission", "gone@example.com", password="pw")
    admin("user", "remove", "gone@example.com")
    for act in (lambda: client.noop(), lambda: client.append("INBOX", None, None, b"Subject: x\r\n\r\nx\r\n"),
                lambda: submission.sendmail("gone@example.com", "karl@example.com", "From: gone@example.com\r\n\r\nx")):
        try:
            act()
        except (imaplib.IMAP4.error, smtplib.SMTPException):
            pass
    assert not logs_in(server, "gone@example.com", "pw")
    admin("mailbox", "check")


def test_what_leads_to_the_removed_is_told(admin):
    """Aliases and forwards to a user or domain that goes are named, and stay."""
    admin("domain", "add", "leads.example")
    admin("domain", "add", "old.example")
    for user in ("goes@leads.example", "also@leads.example", "goes@old.example", "sends@leads.example"):
        admin("user", "add", user, stdin="pw\n")
    admin("alias", "add", "a@leads.example", "xandros@example.com", "Goes+x@Leads.example")
    admin("alias", "add", "b@leads.example", "xandros@example.com", "goes@old.example")
    admin("alias", "add", "in@old.example", "goes@old.example")
    admin("forward", "set", "sends@leads.example", "goes@leads.example", "goes@old.example")
    admin("policy", "alias", "add", "@leads.test", "goes@leads.example")
    removed = posthouse("user", "remove", "goes@leads.example", data=admin.data)
    assert (removed.code, removed.out) == (0, "")
    assert removed.err == ("posthouse: to goes@leads.example, which is removed, still lead the alias a@leads.example; "
                           "the forward of sends@leads.example; the global alias @leads.test\n")
    told = admin.json("domain", "remove", "old.example", "--force")
    assert told.pop("warnings") == ["to old.example, which is removed, still lead the alias b@leads.example; "
                                    "the forward of sends@leads.example"]
    assert told == {"aliases": ["b@leads.example"], "forwards": ["sends@leads.example"], "global_aliases": []}
    quiet = posthouse("user", "remove", "also@leads.example", data=admin.data)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    admin("policy", "alias", "remove", "@leads.test")
    admin("domain", "remove", "leads.example", "--force")


def test_disabled_user(admin, server):
    admin("user", "add", "dora@example.com", stdin="doras\n")
    admin("user", "disable", "dora@example.com")
    assert admin.json("user", "show", "dora@example.com")["enabled"] is False
    assert not logs_in(server, "dora@example.com", "doras")
    assert rcpt(server, "dora@example.com") // 100 != 2
    admin("user", "enable", "dora@example.com")
    assert logs_in(server, "dora@example.com", "doras")
    assert rcpt(server, "dora@example.com") == 250


def test_refused_users(admin):
    assert "domain" in admin.fails(1, "user", "add", "x@unknown.example", stdin="pw\n")
    for wrong in ("noat", "@example.com", "a b@example.com", "x@example.com@example.com", ""):
        assert posthouse("user", "add", wrong, data=admin.data, stdin="pw\n").code in (1, 2), wrong


def test_quota_counts_at_once(admin, server):
    admin("user", "add", "quentin@example.com", stdin="pw\n")
    admin("user", "quota", "quentin@example.com", "100K")
    deliver(server, "quentin@example.com", size=60_000)
    with server.smtp() as client, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.sendmail("someone@example.org", "quentin@example.com", "Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 900)
    code, text = refused.value.recipients["quentin@example.com"]
    assert code in (452, 552) and text[2:5] == b"2.2"
    with server.imap("quentin@example.com", password="pw") as client:
        roots, quota = client.getquotaroot("INBOX")[1]
        used, limit = re.search(rb"STORAGE (\d+) (\d+)", quota[0]).groups()
        assert 59 <= int(used) <= 61 and limit == b"100"
        answer = client.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"x" * 70 * 900)
        assert answer[0] == "NO" and b"OVERQUOTA" in answer[1][0]
        admin("user", "quota", "quentin@example.com", "1M")
        assert ok(client.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"x" * 70 * 900))
    deliver(server, "quentin@example.com", size=60_000)
    assert admin.json("user", "show", "quentin@example.com")["quota"] == 1 << 20
    account = admin.json("account", "show", "quentin@example.com")
    assert account["quota"] == 1 << 20 and account["messages"] == 3
    admin("user", "quota", "quentin@example.com", "0")
    assert admin.json("account", "show", "quentin@example.com")["quota"] == 0
    for wrong in ("lots", "-1", "1T5", "K", ""):
        admin.fails(2, "user", "quota", "quentin@example.com", wrong)


# ---- passwords
@pytest.mark.parametrize("words, stdin", [(("user", "disable"), ""), (("user", "remove"), ""),
                                          (("password", "set"), "other\n"), (("password", "remove"), "")])
def test_sessions_end_with_the_login(admin, server, words, stdin):
    """At once, also a session that says nothing, and no other account's."""
    admin("user", "add", "Ended@example.com", stdin="pw\n")
    idle = server.imap("ended@example.com", password="pw")
    idle.select("INBOX")
    idle.send(b"i IDLE\r\n")
    assert idle.readline().startswith(b"+")
    quiet = server.imap("ended@example.com", password="pw")
    submission = server.smtp("submission", "ended@example.com", password="pw")
    busy = server.smtp("submission", "ended@example.com", password="pw")
    busy.mail("ended@example.com")
    busy.rcpt("karl@example.com")
    assert busy.docmd("DATA")[0] == 354
    with server.imap("karl") as other:
        admin(*words, "ENDED@example.com", stdin=stdin)
        for client in (idle, quiet):
            assert client.readline().startswith(b"* BYE ")
            assert client.readline() == b""
        assert submission.getreply()[0] == 421
        assert submission.sock.recv(1) == b""
        busy.send(b"From: ended@example.com\r\n\r\nx\r\n.\r\n")
        assert busy.getreply()[0] == 250  # it was on its way
        assert busy.getreply()[0] == 421
        ok(other.noop())
    for client in (idle, quiet):
        client.shutdown()
    posthouse("user", "remove", "ended@example.com", data=server.data)


def test_sessions_end_with_the_domain(admin, server):
    admin("domain", "add", "ended.example")
    admin("user", "add", "ann@ended.example", stdin="pw\n")
    client = server.imap("ann@ended.example", password="pw")
    with server.imap("karl") as other:
        admin("domain", "remove", "Ended.Example", "--force")
        assert client.readline().startswith(b"* BYE ")
        ok(other.noop())
    client.shutdown()


def test_password_change_counts_despite_the_cache(admin, server):
    admin("user", "add", "carol@example.com", stdin="first\n")
    assert logs_in(server, "carol@example.com", "first")
    assert logs_in(server, "carol@example.com", "first")  # from the cache
    admin("password", "set", "carol@example.com", stdin="second\n")
    assert not logs_in(server, "carol@example.com", "first")
    assert logs_in(server, "carol@example.com", "second")
    admin("password", "remove", "carol@example.com")
    assert not logs_in(server, "carol@example.com", "second")
    assert not logs_in(server, "carol@example.com", "")
    assert rcpt(server, "carol@example.com") == 250
    admin("password", "add", "carol@example.com", stdin="third\n")
    assert logs_in(server, "carol@example.com", "third")
    assert admin.json("password", "show", "carol@example.com")["password"] == "yescrypt"


# The word "letterbox", hashed by libcrypt outside posthouse.
SHA512 = "$6$rounds=1000$windowsill$nc/TYAKjbKdvrsLepyDthpafqPI9CJT5qS8FnwIUQJEqWHrTkn7uxfVkutkLGcqxh9QBJ4NUNMHSndYqBJy/O/"
SHA256 = "$5$rounds=1000$windowsill$YMEBsS6rR5RrLfoHkD8KEz7KvzzSzqFDx.1Er76a0k0"
MD5 = "$1$windows$wVH6w.JLsjtYuY1tVMI4D."
BLOWFISH = "$2b$05$abcdefghijklmnopqrstuuGaGJKK1u7XoCKonLPDiGPrxBBoBoi.C"
SSHA = "{SSHA}" + base64.b64encode(hashlib.sha1(b"letterbox" + b"salt").digest() + b"salt").decode()


@pytest.mark.parametrize("stored", [SHA512, SHA256, MD5, BLOWFISH, "{CRYPT}" + SHA512, "{SHA512-CRYPT}" + SHA512,
                                    "{BLF-CRYPT}" + BLOWFISH, SSHA, "{PLAIN}letterbox"])
def test_password_hashes_of_others(admin, server, stored):
    posthouse("user", "add", "hanna@example.com", data=server.data, stdin="x\n")
    admin("password", "import", "hanna@example.com", stdin=stored + "\n")
    assert logs_in(server, "hanna@example.com", "letterbox")
    assert not logs_in(server, "hanna@example.com", "letterboy")


def test_password_hash(admin, server):
    admin("user", "add", "hugo@example.com", stdin="x\n")
    stored = re.search(r"\$y\$\S+", admin("password", "hash", stdin="letterbox\n"))[0]
    admin("password", "import", "hugo@example.com", stdin=stored + "\n")
    assert logs_in(server, "hugo@example.com", "letterbox")
    admin.fails(1, "password", "set", "nobody@example.com", stdin="x\n")


def test_passwords_of_all_kinds(admin, server):
    admin("user", "add", "pia@example.com", stdin="x\n")
    for password in ("with blanks in it", 'quo"tes\\and backslashes', "{notascheme}", "käse-βrot", "p" * 200):
        admin("password", "set", "pia@example.com", stdin=password + "\n")
        if password.isascii():
            assert logs_in(server, "pia@example.com", password), password
        with server.imap(login=False) as client:  # imaplib's login() takes ASCII only
            ok(client.authenticate("PLAIN", lambda _: b"\0pia@example.com\0" + password.encode()))


# ---- aliases
def test_aliases(admin, server):
    admin("alias", "add", "Team@example.com", "xandros@example.com", "vivita@example.com")
    try:
        assert admin.json("alias", "show", "team@example.com") == {
            "address": "team@example.com", "destinations": ["xandros@example.com", "vivita@example.com"], "enabled": True}
        assert "team@example.com" in [a["address"] for a in admin.json("alias", "list", "example.com")]
        before = server.count("xandros"), server.count("vivita")
        deliver(server, ["team@example.com", "xandros@example.com"], "For the team")
        assert (server.count("xandros"), server.count("vivita")) == (before[0] + 1, before[1] + 1)
        assert "exists" in admin.fails(1, "alias", "add", "team@example.com", "karl@example.com")
        admin("alias", "add", "team@example.com", "karl@example.com", "--replace")
        assert admin.json("alias", "show", "team@example.com")["destinations"] == ["karl@example.com"]
    finally:
        admin("alias", "remove", "team@example.com")
    assert rcpt(server, "team@example.com") == 550
    admin.fails(1, "alias", "remove", "team@example.com")


def test_alias_loop_is_refused(admin, server):
    admin("alias", "add", "three@example.com", "karl@example.com")
    admin("alias", "add", "two@example.com", "three@example.com")
    admin("alias", "add", "one@example.com", "two@example.com", "karl@example.com")
    assert "loop" in admin.fails(1, "alias", "add", "three@example.com", "one@example.com", "--replace")
    assert "not exist" in admin.fails(1, "alias", "add", "four@example.com", "nobody@example.com")
    before = server.count("karl")
    deliver(server, "one@example.com", "Along the chain")
    assert server.count("karl") == before + 1
    for name in ("one", "two", "three"):
        admin("alias", "remove", name + "@example.com")


def test_catch_all(admin, server):
    admin("domain", "add", "shop.example")
    admin("user", "add", "clerk@shop.example", stdin="pw\n")
    admin("alias", "add", "@shop.example", "karl@example.com")
    try:
        before = server.count("karl")
        deliver(server, "whatever@shop.example", "Caught")
        deliver(server, "clerk@shop.example", "Not caught")  # a real address goes before the catch-all
        assert server.count("karl") == before + 1
        assert [b"Not caught" in m for m in messages(server, "clerk@shop.example", "pw")] == [True]
        admin("alias", "remove", "@shop.example")
        assert rcpt(server, "whatever@shop.example") == 550
    finally:
        admin("domain", "remove", "shop.example", "--force")


# ---- the store
def test_mailboxes(admin, server):
    admin("user", "add", "mia@example.com", stdin="pw\n")
    deliver(server, "mia@example.com", "First")
    with server.imap("mia@example.com", password="pw") as client:
        client.create("Work/2026")
        client.select("INBOX")
        client.store("1", "+FLAGS", r"(\Seen \Flagged)")
    boxes = {m["mailbox"]: m for m in admin.json("mailbox", "list", "mia@example.com")}
    assert {"INBOX", "Sent", "Drafts", "Junk", "Trash", "Archive", "Work/2026"} <= set(boxes)
    assert boxes["Sent"]["use"] == "\\Sent" and boxes["INBOX"]["messages"] == 1 and boxes["INBOX"]["unseen"] == 0
    assert boxes["INBOX"]["uidnext"] == 2 and boxes["INBOX"]["bytes"] > 0
    assert len(admin.json("mailbox", "list")) > len(boxes)
    assert {m["mailbox"] for m in admin.json("mailbox", "show", "mia@example.com")} == set(boxes)
    [message] = admin.json("mailbox", "show", "mia@example.com", "INBOX")
    assert message["uid"] == 1 and message["seen"] == message["flagged"] == "yes" and message["deleted"] == "no"
    assert isinstance(message["body"], str)  # 64 bits don't fit a JSON number
    admin.fails(1, "mailbox", "show", "mia@example.com", "Nonesuch")
    admin.fails(1, "mailbox", "show", "nobody@example.com")
    assert admin.json("mailbox", "check") == []
    assert admin.json("mailbox", "check", "mia@example.com") == []


def test_mail_of_a_removed_user_is_not_inherited(admin, server):
    admin("user", "add", "eve@example.com", stdin="pw\n")
    deliver(server, "eve@example.com", "For the first Eve")
    admin("user", "remove", "eve@example.com")
    [old] = [a for a in admin.json("account", "list") if a["account"] == "eve@example.com"]
    assert old["detached"] is True and old["messages"] == 1
    admin.fails(1, "account", "show", "eve@example.com")

    admin("user", "add", "eve@example.com", stdin="pw2\n")
    assert messages(server, "eve@example.com", "pw2") == []
    deliver(server, "eve@example.com", "For the second Eve")
    assert [b"second Eve" in m for m in messages(server, "eve@example.com", "pw2")] == [True]
    admin.fails(1, "account", "attach", old["id"], "eve@example.com")  # has mail of her own

    admin("account", "attach", old["id"], "eve.old@example.com")
    admin("user", "add", "eve.old@example.com", stdin="pw3\n")
    assert [b"first Eve" in m for m in messages(server, "eve.old@example.com", "pw3")] == [True]
    admin.fails(1, "account", "attach", "12345", "x@example.com")
    admin.fails(2, "account", "attach", "x", "x@example.com")


def test_account_remove(admin, server):
    admin("user", "add", "fred@example.com", stdin="pw\n")
    for i in range(3):
        deliver(server, "fred@example.com", "Letter %d" % i, size=50_000 * i)
    account = admin.json("account", "show", "fred@example.com")
    admin("user", "remove", "fred@example.com")
    admin.fails(2, "account", "remove", account["id"])
    admin("account", "remove", account["id"], "--mail")
    assert account["id"] not in [a["id"] for a in admin.json("account", "list")]
    admin.fails(1, "account", "remove", account["id"], "--mail")
    assert admin.json("mailbox", "check") == []


# ---- how they end, what they print
def test_text(admin):
    table = admin("user", "list", "example.com").splitlines()
    head = table[0].split()
    assert head[0] == "address" and {"name", "enabled", "password", "quota"} == set(head[1:])
    row = [line for line in table if line.startswith("xandros@example.com ")]
    assert len(row) == 1 and row[0].index("yescrypt") == table[0].index("password")
    shown = admin("user", "show", "xandros@example.com").splitlines()
    assert "address: xandros@example.com" in shown and "enabled: yes" in shown
    assert admin("domain", "add", "quiet.example") == ""
    admin("domain", "remove", "quiet.example")


def test_names_do_not_drive_a_terminal(admin, server):
    admin.fails(1, "user", "add", "bell@example.com", "--name=\a\x1b[2Jx", stdin="pw\n")
    with server.imap("vivita") as client:
        assert client.create('"bell&AAcAGw-"')[0] == "NO"  # BEL and ESC in modified UTF-7


def test_usage(admin):
    assert posthouse("user", "--help").code == 0
    assert "posthouse user add ADDRESS" in posthouse("user", "--help").out
    for words in (["user"], ["user", "nonsense"], ["user", "add"], ["user", "show", "a@example.com", "b@example.com"],
                  ["domain", "add"], ["user", "list", "--nonsense"], ["alias", "add", "a@example.com"]):
        assert posthouse(*words, data=admin.data).code == 2, words
    admin.fails(2, "user", "add", "nopassword@example.com", stdin="")
    assert posthouse("user", "show", "nopassword@example.com", data=admin.data).code == 1


def test_data_folder_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("POSTHOUSE_DATA", server.data)
    assert posthouse("user", "show", "karl@example.com").code == 0


def test_control_socket_is_private(server):
    path = os.path.join(server.data, "control.sock")
    assert os.stat(path).st_mode & 0o777 == 0o600


@ALONE
def test_locked_but_silent_is_temporary(alone):
    """Somebody holds the folder and doesn't answer: try again later."""
    with open(alone.data / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        alone.fails(75, "user", "list")
    alone("user", "list")


@ALONE
def test_its_turn_comes(alone):
    """The folder is held for long, but by one command after the other: each has its time."""
    with open(alone.data / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = subprocess.Popen([BINARY, "user", "list", "--data", str(alone.data)], stdout=subprocess.PIPE)
        until = time.monotonic() + 7  # more than one of them has
        pid = 100000
        while time.monotonic() < until:
            pid += 1
            os.pwrite(lock.fileno(), b"%d\n" % pid, 0)
            time.sleep(0.2)
        assert command.poll() is None
    assert b"karl@example.com" in command.communicate(timeout=WAIT)[0] and command.returncode == 0


def test_no_such_folder(folder):
    c = posthouse("user", "list", data=folder / "missing")
    assert c.code == 1 and str(folder / "missing") in c.err and "No such file" in c.err
    assert not (folder / "missing").exists()


# ---- without a server
@ALONE
def test_without_a_server(alone, start):
    alone("domain", "add", "offline.example")
    alone("user", "add", "olga@offline.example", "--quota=10M", stdin="olgas\n")
    alone("alias", "add", "@offline.example", "olga@offline.example")
    alone("password", "set", "karl@example.com", stdin="changed\n")
    assert alone.json("domain", "show", "offline.example")["users"] == 1
    assert alone.json("account", "show", "olga@offline.example")["quota"] == 10 << 20
    alone("mailbox", "check")
    s = start(data=alone.data)
    assert logs_in(s, "olga@offline.example", "olgas")
    deliver(s, "anybody@offline.example", "Caught")
    assert len(messages(s, "olga@offline.example", "olgas")) == 1
    s.stop()
    alone("user", "remove", "olga@offline.example")
    [account] = [a for a in alone.json("account", "list") if a["account"] == "olga@offline.example"]
    assert account["detached"] is True and account["messages"] == 1
    alone("account", "remove", account["id"], "--mail")
    assert alone.json("mailbox", "check") == []


@ALONE
def test_commands_at_once_without_a_server(alone):
    """One after the other, as each holds the folder for a moment."""
    running = [subprocess.Popen([BINARY, "user", "add", "many%d@example.com" % n, "--data", str(alone.data)], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for n in range(8)]
    said = [p.communicate(b"secret\n", timeout=60)[1] for p in running]
    assert [p.returncode for p in running] == [0] * 8, said
    for n in range(8):
        alone("user", "remove", "many%d@example.com" % n)


# ---- completion
def completed(script, *words):
    """What bash offers for the last of these words."""
    text = script + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _posthouse; printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "-c", text, "bash", "posthouse", *words], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    return run.stdout.split()


def test_completion():
    script = posthouse("completion", "bash").out
    assert "apply" in completed(script, "") and completed(script, "quar") == ["quarantine"]
    assert set(completed(script, "alias", "")) == {"add", "list", "show", "remove"}
    assert completed(script, "alias", "add", "--") == ["--replace", "--data", "--config", "--json"]
    assert completed(script, "apply", "--p") == ["--prune", "--passwords"]
    assert posthouse("completion", "zsh").out.endswith(script)
    assert "-l replace" in posthouse("completion", "fish").out
    assert posthouse("completion", "tcsh").code == 2


def test_nothing_drives_the_terminal(admin):
    """What others wrote is shown escaped, in JSON as well."""
    name = "A\u009b31m\u202e\u2066B \u00fc"
    admin("user", "add", "odd@example.com", "--name=" + name, stdin="x\n")
    for words in (("user", "show", "odd@example.com"), ("user", "list", "example.com")):
        for out in (admin(*words), posthouse(*words, "--json", data=admin.data).out):
            assert "A\\u009b31m\\u202e\\u2066B \u00fc" in out and not set(out) & set("\u009b\u202e\u2066")
    assert admin.json("user", "show", "odd@example.com")["name"] == name
    shown = posthouse("user", "show", "odd\u202e@example.com", data=admin.data)
    assert shown.code == 1 and "odd\\u202e@example.com" in shown.err and "\u202e" not in shown.err
    admin("user", "remove", "odd@example.com")
