# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Reading and changing mailboxes with Python's imaplib, alone and two sessions at a time."""
import base64
import imaplib
import itertools
import re
import threading
import time

import pytest
from conftest import WAIT, fetch, ok

names = itertools.count(1)
PART = b"""From: =?utf-8?Q?J=C3=B6rg?= <joerg@example.org>\r
To: Xandros <xandros@example.com>, "Two, Names" <two@example.org>\r
Cc: list@example.org\r
Subject: Lunch on Friday\r
Date: Fri, 20 Nov 2026 10:11:12 +0100\r
Message-ID: <lunch@example.org>\r
In-Reply-To: <before@example.org>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="outer"\r
\r
preamble\r
--outer\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe\r
--outer\r
Content-Type: message/rfc822\r
\r
Subject: inner\r
From: inner@example.org\r
\r
inner text\r
--outer\r
Content-Type: application/octet-stream; name="data.bin"\r
Content-Disposition: attachment; filename="data.bin"\r
Content-Transfer-Encoding: base64\r
\r
AAECAwQF\r
--outer--\r
epilogue\r
"""


def simple(subject, body="x", sender="someone@example.org"):
    return ("From: %s\r\nSubject: %s\r\n\r\n%s\r\n" % (sender, subject, body)).encode()


@pytest.fixture
def box(server):
    """A session of karl's that has a new mailbox selected."""
    with server.imap("karl") as client:
        client.name = "Box %d" % next(names)
        ok(client.create('"%s"' % client.name))
        ok(client.select('"%s"' % client.name))
        yield client


def append(client, message, flags=None, date=None):
    """The new message's UID (UIDPLUS)."""
    answer = ok(client.append('"%s"' % client.name, flags, date, message))[0]
    return int(re.search(rb"APPENDUID \d+ (\d+)", answer)[1])


def fill(client, n, **more):
    uids = [append(client, simple("number %d" % (i + 1)), **more) for i in range(n)]
    client.noop()
    return uids


def search(client, *criteria):
    return [int(n) for n in ok(client.search(None, *criteria))[0].split()]


def flags_of(client, number):
    return {f.decode() for f in imaplib.ParseFlags(ok(client.fetch(str(number), "(FLAGS)"))[0])}


def second(server, client):
    other = server.imap("karl")
    other.name = client.name
    ok(other.select('"%s"' % client.name))
    return other


# ---- sessions
def test_capabilities(server):
    client = imaplib.IMAP4("localhost", server.ports["imap"], timeout=WAIT)
    assert {"IMAP4REV1", "STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
    assert not any(c.startswith("AUTH=") for c in client.capabilities)
    with pytest.raises(imaplib.IMAP4.error):
        client.login("karl@example.com", "karl-pass")
    client.starttls(server.tls)
    assert {"AUTH=PLAIN", "AUTH=LOGIN", "SASL-IR"} <= set(client.capabilities)
    assert not {"STARTTLS", "LOGINDISABLED"} & set(client.capabilities)
    client.login("karl@example.com", "karl-pass")
    capabilities = set(ok(client.capability())[0].decode().split())
    assert {"IDLE", "MOVE", "UIDPLUS", "SPECIAL-USE", "NAMESPACE", "LITERAL+", "ENABLE", "UNSELECT", "CHILDREN", "ID", "QUOTA",
            "QUOTA=RES-STORAGE"} <= capabilities
    client.logout()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("port", ["imap", "imaps"])
def test_authenticate(server, mechanism, port):
    with server.imap(name=port, login=False) as client:
        steps = iter([b"\0karl@example.com\0karl-pass"] if mechanism == "PLAIN" else [b"karl@example.com", b"karl-pass"])
        ok(client.authenticate(mechanism, lambda _: next(steps)))
        ok(client.select("INBOX"))


def test_wrong_passwords(server):
    with server.imap(login=False) as client:
        for user, password in (("karl@example.com", "wrong"), ("nobody@example.com", "karl-pass"), ("karl@example.com", "")):
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.login(user, password)
        client.login("karl@example.com", "karl-pass")
    with server.imap(login=False) as client, pytest.raises(imaplib.IMAP4.abort):
        for _ in range(50):  # guessing ends with BYE
            try:
                client.login("karl@example.com", "guess")
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error:
                pass


def test_id_namespace_enable(server):
    with server.imap("karl") as client:
        imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
        assert b"posthouse" in b"".join(client._simple_command("ID", '("name" "test")')[1]).lower() or \
            b"posthouse" in b"".join(client.response("ID")[1]).lower()
        assert ok(client.namespace())[0].startswith(b'(("" "/"))')
        ok(client.enable("NONESUCH"))


# ---- mailboxes
def listed(client, pattern="*", command="list", reference='""'):
    out = {}
    for line in ok(getattr(client, command)(reference, pattern)):
        if line:
            m = re.fullmatch(rb'\((.*?)\) "/" (?:"(.*)"|(\S+))', line)
            out[(m[3] if m[2] is None else m[2]).decode()] = set(m[1].decode().split())
    return out


def test_standard_folders(server):
    with server.imap("vivita") as client:
        boxes = listed(client)
        for name in ("Sent", "Drafts", "Junk", "Trash", "Archive"):
            assert "\\" + name in boxes[name]
        assert "INBOX" in boxes
        assert {"Sent", "Trash"} <= set(listed(client, command="lsub"))
        assert set(listed(client, "%")) == set(boxes)
        assert set(listed(client, "inbox")) == {"INBOX"}
        assert listed(client, '""')[""] == {"\\Noselect"}  # the hierarchy's delimiter is asked for


def test_hierarchy(server):
    with server.imap("vivita") as client:
        for name in ("a", "a/b", "a/b/c", "a/bb", "q/r/s"):
            ok(client.create(name))
        assert set(listed(client, "a/%")) == {"a/b", "a/bb"}
        assert set(listed(client, "a*")) >= {"a", "a/b", "a/b/c", "a/bb"}
        assert set(listed(client, "%", reference="a/")) == {"a/b", "a/bb"}
        boxes = listed(client)
        assert "\\HasChildren" in boxes["a"] and "\\HasNoChildren" in boxes["a/bb"]
        assert {"q", "q/r"} & set(listed(client, "q*")) or "q/r/s" in boxes
        ok(client.rename("a/b", "z/b"))
        assert {"z/b", "z/b/c"} <= set(listed(client)) and "a/b" not in listed(client)
        ok(client.subscribe("z/b"))
        assert "z/b" in listed(client, command="lsub")
        ok(client.unsubscribe("z/b"))
        assert "z/b" not in listed(client, command="lsub")
        for name in ("z/b/c", "z/b", "a/bb", "a", "q/r/s"):
            ok(client.delete(name))
        assert client.delete("a/bb")[0] == "NO"
        assert client.create("INBOX")[0] == "NO" and client.delete("INBOX")[0] == "NO"
        assert client.create("Sent")[0] == "NO"
        assert client.rename("Nonesuch", "x")[0] == "NO"


def test_names_in_all_languages(server):
    def utf7(name):  # RFC 3501 5.1.3
        out = re.sub("[^ -~]+|&", lambda m: "&-" if m[0] == "&" else "&" + base64.b64encode(
            m[0].encode("utf-16be")).decode().rstrip("=").replace("/", ",") + "-", name)
        return '"%s"' % out
    with server.imap("vivita") as client:
        for name in ("Entwürfe", "下書き", "a & b", "😀", "two words"):
            ok(client.create(utf7(name)))
            assert utf7(name)[1:-1] in listed(client)
            ok(client.select(utf7(name)))
            client.close()
            ok(client.delete(utf7(name)))


def test_rename_of_inbox_moves_its_messages(server):
    server.smtp().sendmail("a@example.org", "xandros@example.com", simple("in the inbox"))
    with server.imap("xandros") as client:
        n = int(ok(client.select("INBOX"))[0])
        client.close()
        ok(client.rename("INBOX", '"Old post"'))  # RFC 3501 6.3.5
        assert int(ok(client.select('"Old post"'))[0]) == n
        assert int(ok(client.select("INBOX"))[0]) == 0


def test_select_and_examine(box):
    fill(box, 2)
    uidvalidity = box.response("UIDVALIDITY")[1]
    assert int(ok(box.select('"%s"' % box.name, readonly=True))[0]) == 2
    assert box.response("UIDVALIDITY")[1] == uidvalidity
    assert box.store("1", "+FLAGS", "(\\Seen)")[0] == "NO"
    assert box.expunge()[0] == "NO"
    fetch(box, 1, "(BODY[])")
    assert "\\Seen" not in flags_of(box, 1)  # EXAMINE changes nothing
    status = ok(box.status('"%s"' % box.name, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)"))[0].decode()
    assert "MESSAGES 2" in status and "UNSEEN 2" in status and "UIDNEXT 3" in status
    assert box.select("Nonesuch")[0] == "NO"
    ok(box.select('"%s"' % box.name))
    ok(box.unselect())
    with pytest.raises(imaplib.IMAP4.error):
        box.fetch("1", "(FLAGS)")
    ok(box.select('"%s"' % box.name))


# ---- messages
def test_append_and_fetch(box):
    uid = append(box, PART, r"(\Seen $Forwarded)", '"20-Nov-2026 01:02:03 +0100"')
    box.noop()
    line = ok(box.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE)"))[0].decode()
    assert "UID %d" % uid in line and "RFC822.SIZE %d" % len(PART) in line
    assert {"\\Seen", "$Forwarded"} <= flags_of(box, 1)
    date = re.search(r'INTERNALDATE "([^"]+)"', line)[1]
    assert imaplib.Internaldate2tuple(('INTERNALDATE "%s"' % date).encode()) == \
        imaplib.Internaldate2tuple(b'INTERNALDATE "20-Nov-2026 01:02:03 +0100"')
    assert fetch(box, 1) == PART
    assert fetch(box, 1, "(RFC822)") == PART
    head, text = PART.split(b"\r\n\r\n", 1)
    assert fetch(box, 1, "(BODY.PEEK[HEADER])") == head + b"\r\n\r\n"
    assert fetch(box, 1, "(BODY.PEEK[TEXT])") == text
    assert fetch(box, 1, "(BODY.PEEK[1])") == "Schöne Grüße".encode()
    assert fetch(box, 1, "(BODY.PEEK[2.HEADER])") == b"Subject: inner\r\nFrom: inner@example.org\r\n\r\n"
    assert fetch(box, 1, "(BODY.PEEK[2.TEXT])") == b"inner text"
    assert fetch(box, 1, "(BODY.PEEK[3])") == b"AAECAwQF"
    assert b'filename="data.bin"' in fetch(box, 1, "(BODY.PEEK[3.MIME])")
    assert fetch(box, 1, "(BODY.PEEK[]<10.20>)") == PART[10:30]
    fields = fetch(box, 1, "(BODY.PEEK[HEADER.FIELDS (Subject X-None CC)])")
    assert fields == b"Cc: list@example.org\r\nSubject: Lunch on Friday\r\n\r\n"
    without = fetch(box, 1, "(BODY.PEEK[HEADER.FIELDS.NOT (Subject To From Cc Date)])")
    assert without.startswith(b"Message-ID: ") and b"Subject" not in without


def test_envelope_and_structure(box):
    append(box, PART)
    box.noop()
    envelope = ok(box.fetch("1", "(ENVELOPE)"))[0]
    text = b"".join(part if isinstance(part, bytes) else b"".join(part) for part in ([envelope] if isinstance(
        envelope, bytes) else envelope))
    for wanted in (b'"Fri, 20 Nov 2026 10:11:12 +0100" "Lunch on Friday"', b'"joerg" "example.org"',
                   b'("Two, Names" NIL "two" "example.org")', b'"<before@example.org>" "<lunch@example.org>"'):
        assert wanted in text
    structure = ok(box.fetch("1", "(BODYSTRUCTURE)"))[0]
    for wanted in (b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "8BIT"', b'"MESSAGE" "RFC822"', b'"MIXED" ("BOUNDARY" "outer")',
                   b'("ATTACHMENT" ("FILENAME" "data.bin"))'):
        assert wanted.lower() in structure.lower(), structure


@pytest.mark.parametrize("message", [
    b"Subject: x\r\n\r\n", b"\r\nbody only\r\n", b"Subject: x\r\n\r\nno line end", b"Subject: x\r\n\r\n" + bytes(range(1, 256)) * 10,
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b",
    simple("large", "y" * 3_000_000)])
def test_append_of_odd_messages(box, message):
    message = imaplib.MapCRLF.sub(imaplib.CRLF, message)  # as imaplib sends it
    append(box, message)
    box.noop()
    assert fetch(box, 1) == message
    assert b"RFC822.SIZE %d)" % len(message) in ok(box.fetch("1", "(RFC822.SIZE)"))[0]


@pytest.mark.parametrize("message", [b"\r\n", b"no header", b"Subject: x", b"Subject: x\r\n", b"no colon\r\n\r\nx\r\n", b" \r\nx: y\r\n",
    b"no colon here\r\nSubject: x\r\n\r\ny\r\n"])
def test_append_without_an_empty_line(box, message):
    """A message always has one between header and body: what lacks it gets it, and loses nothing."""
    append(box, message)
    box.noop()
    got = fetch(box, 1)
    assert got.split() == message.split() and len(got) - len(message) in (0, 2, 4)
    assert b"RFC822.SIZE %d)" % len(got) in ok(box.fetch("1", "(RFC822.SIZE)"))[0]
    parts = box.fetch("1", "(BODY.PEEK[HEADER])")[1], box.fetch("1", "(BODY.PEEK[TEXT])")[1]
    assert b"".join(p[0][1] for p in parts if isinstance(p[0], tuple)) == got  # an empty one is "", no literal


def test_append_refused(box):
    assert box.append("Nonesuch", None, None, PART)[0] == "NO"
    box.send(b'A1 APPEND "%s" {0+}\r\n\r\n' % box.name.encode())
    assert box.readline()[:5] in (b"A1 NO", b"A1 BA", b"A1 OK")
    append(box, PART)


def test_seen_is_set_by_reading(box):
    fill(box, 3)
    fetch(box, 1)
    assert flags_of(box, 1) - {"\\Recent"} == set()
    fetch(box, 1, "(BODY[TEXT])")
    assert "\\Seen" in flags_of(box, 1)
    fetch(box, 2, "(RFC822)")
    assert "\\Seen" in flags_of(box, 2)
    fetch(box, 3, "(RFC822.HEADER)")
    assert "\\Seen" not in flags_of(box, 3)


def test_flags(box):
    fill(box, 4)
    ok(box.store("1:2", "FLAGS", r"(\Flagged Custom)"))
    assert flags_of(box, 1) - {"\\Recent"} == {"\\Flagged", "Custom"}
    ok(box.store("1", "+FLAGS", r"(\Answered $Label1)"))
    ok(box.store("1", "-FLAGS", r"(\Flagged)"))
    assert flags_of(box, 1) - {"\\Recent"} == {"\\Answered", "$Label1", "Custom"}
    answer = ok(box.store("3:*", "+FLAGS.SILENT", r"(\Draft)"))
    assert not any(answer)
    assert search(box, "DRAFT") == [3, 4] and search(box, "KEYWORD", "Custom") == [1, 2]
    assert search(box, "UNKEYWORD", "Custom") == [3, 4]
    ok(box.store("1:*", "FLAGS", "()"))
    assert all(flags_of(box, i) - {"\\Recent"} == set() for i in range(1, 5))


def test_search(box):
    append(box, PART, r"(\Seen)", '"01-Mar-2020 12:00:00 +0000"')
    append(box, simple("Über den Wolken", "muss die Freiheit wohl grenzenlos sein"))
    append(box, simple("plain", "A needle in the haystack", "alice@example.org"), r"(\Flagged \Deleted)")
    append(box, simple("large", "z" * 10_000), r"(\Answered)")
    box.noop()
    for criteria, expected in (
            (["ALL"], [1, 2, 3, 4]), (["SEEN"], [1]), (["UNSEEN"], [2, 3, 4]), (["FLAGGED", "DELETED"], [3]),
            (["OR", "SEEN", "ANSWERED"], [1, 4]), (["NOT", "SEEN", "NOT", "DELETED"], [2, 4]),
            (["FROM", "alice"], [3]), (["TO", '"xandros"'], [1]), (["CC", "list@"], [1]), (["SUBJECT", "LUNCH"], [1]),
            (["BODY", "needle"], [3]), (["TEXT", '"inner text"'], [1]), (["HEADER", "Message-ID", "lunch"], [1]),
            (["HEADER", "In-Reply-To", '""'], [1]), (["LARGER", "5000"], [4]), (["SMALLER", "200"], [2, 3]),
            (["BEFORE", "2-Mar-2020"], [1]), (["ON", "1-Mar-2020"], [1]), (["SINCE", "2-Mar-2020"], [2, 3, 4]),
            (["SENTON", "20-Nov-2026"], [1]), (["SENTBEFORE", "1-Jan-2020"], []), (["1:2"], [1, 2]), (["UID", "2:3"], [2, 3]),
            (["(OR FROM alice (SEEN TEXT inner))"], [1, 3]), (["SUBJECT", "nowhere"], [])):
        assert search(box, *criteria) == expected, criteria
    box.literal = "über".encode()
    assert ok(box.search("UTF-8", "SUBJECT"))[0].split() == [b"2"]
    box.literal = "GRÜßE".encode()
    assert ok(box.search("UTF-8", "BODY"))[0].split() == [b"1"]
    assert ok(box.uid("SEARCH", None, "SUBJECT", "plain"))[0].split() == [b"3"]
    answer = box._simple_command("SEARCH", "CHARSET", "X-NONE", "ALL")
    assert answer[0] == "NO" and b"BADCHARSET" in answer[1][0]


def test_copy_and_move(box):
    uids = fill(box, 5)
    target = "Target %d" % next(names)
    ok(box.create('"%s"' % target))
    ok(box.store("2", "FLAGS", r"(\Flagged Kept)"))
    answer = ok(box.copy("2:3", '"%s"' % target))[0]
    assert re.search(rb"COPYUID \d+ %d:%d 1:2" % (uids[1], uids[2]), answer)
    imaplib.Commands.setdefault("MOVE", ("SELECTED",))
    ok(box._simple_command("MOVE", "4:5", '"%s"' % target))
    box.noop()
    assert [int(u) for u in ok(box.uid("SEARCH", None, "ALL"))[0].split()] == uids[:3]
    answer = box.copy("1", "Nonesuch")
    assert answer[0] == "NO" and b"TRYCREATE" in answer[1][0]
    ok(box.select('"%s"' % target))
    assert [b"number %d" % i in fetch(box, n + 1) for n, i in enumerate((2, 3, 4, 5))] == [True] * 4
    assert {"\\Flagged", "Kept"} <= flags_of(box, 1)
    ok(box.copy("1:*", '"%s"' % target))  # onto itself
    box.noop()
    assert search(box, "ALL") == list(range(1, 9))
    ok(box.delete('"%s"' % target))


def test_expunge(box):
    uids = fill(box, 6)
    ok(box.store("2,4,6", "+FLAGS.SILENT", r"(\Deleted)"))
    assert box.expunge() == ("OK", [b"2", b"3", b"4"])  # each counts after those before it are gone
    assert [int(u) for u in ok(box.uid("SEARCH", None, "ALL"))[0].split()] == uids[0::2]
    ok(box.store("1:3", "+FLAGS.SILENT", r"(\Deleted)"))
    ok(box.uid("EXPUNGE", str(uids[2])))  # UIDPLUS: only this one
    assert [int(u) for u in ok(box.uid("SEARCH", None, "ALL"))[0].split()] == [uids[0], uids[4]]
    ok(box.close())
    assert int(ok(box.select('"%s"' % box.name))[0]) == 0
    new = append(box, simple("new"))
    assert new == uids[-1] + 1  # UIDs are never used again


def test_uid_commands(box):
    uids = fill(box, 3)
    ok(box.uid("STORE", str(uids[1]), "+FLAGS", r"(\Seen)"))
    answer = ok(box.uid("FETCH", "%d:*" % uids[1], "(FLAGS)"))
    assert [int(re.search(rb"UID (\d+)", line)[1]) for line in answer] == uids[1:]
    assert ok(box.uid("FETCH", str(uids[-1] + 100), "(FLAGS)")) == [None]  # no such UID is no error
    assert [int(re.search(rb"UID (\d+)", line)[1]) for line in ok(box.uid("FETCH", "%d:*" % (uids[-1] + 100), "(FLAGS)"))] == \
        [uids[-1]]


def test_quota(server, start):
    s = start("--set", "store.quota_bytes=2M", "--set", "store.quota_messages=5")
    with s.imap("karl") as client:
        roots, quota = client.getquotaroot("INBOX")[1]
        assert re.search(rb"STORAGE 0 2048", quota[0]) and re.search(rb"MESSAGE 0 5", quota[0])
        for i in range(5):
            ok(client.append("INBOX", None, None, simple("x", "y" * 10_000)))
        assert re.search(rb"MESSAGE 5 5", ok(client.getquota('""'))[0])
        answer = client.append("INBOX", None, None, simple("x"))
        assert answer[0] == "NO" and b"OVERQUOTA" in answer[1][0]
        client.select("INBOX")
        answer = client.copy("1", "Trash")
        assert answer[0] == "NO" and b"OVERQUOTA" in answer[1][0]
        ok(client.store("1", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        ok(client.append("INBOX", None, None, simple("x")))
        assert client.setquota('""', "(STORAGE 1)")[0] == "NO"
    with s.smtp() as client:
        client.mail("a@example.org")
        code, text = client.rcpt("karl@example.com")
        assert code in (452, 552) and text[2:5] == b"2.2"


# ---- two sessions
def drain(client):
    """Everything a NOOP reports, by kind."""
    client.untagged_responses = {}
    ok(client.noop())
    return {kind: list(values) for kind, values in client.untagged_responses.items()}


def test_two_sessions(server, box):
    fill(box, 3)
    with second(server, box) as other:
        ok(box.store("2", "+FLAGS", r"(\Flagged)"))
        seen = drain(other)
        assert any(b"2 (" in line and b"\\Flagged" in line for line in seen["FETCH"])
        append(box, simple("fourth"))
        assert drain(other)["EXISTS"][-1] == b"4"
        ok(box.store("1,3", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(box.expunge())
        seen = drain(other)
        assert seen["EXPUNGE"] == [b"1", b"2"]
        assert search(other, "ALL") == [1, 2] and search(box, "ALL") == [1, 2]
        ok(other.store("1", "FLAGS", r"(\Answered)"))
        assert any(b"\\Answered" in line for line in drain(box)["FETCH"])


def test_numbers_hold_while_another_expunges(server, box):
    """FETCH, STORE and SEARCH never renumber (RFC 3501 7.4.1): what went is told later."""
    fill(box, 4)
    with second(server, box) as other:
        ok(box.store("1", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(box.expunge())
        other.untagged_responses = {}
        found = ok(other.search(None, "SUBJECT", '"number 4"'))[0]
        assert found == b"4" and "EXPUNGE" not in other.untagged_responses
        assert b"number 4" in fetch(other, 4)
        assert drain(other)["EXPUNGE"] == [b"1"]
        assert b"number 4" in fetch(other, 3)


class Idle:
    """IDLE, which Python's imaplib has only since 3.14."""

    def __init__(self, client):
        self.client = client
        client.send(b"IDLE1 IDLE\r\n")
        assert client.readline().startswith(b"+")

    def until(self, *wanted):
        """Lines up to the one that matches the last of `wanted`, all of which must come in this order."""
        lines, wanted = [], list(wanted)
        while wanted:
            line = self.client.readline()
            assert line, lines
            lines.append(line)
            if re.match(wanted[0], line):
                wanted.pop(0)
        return lines

    def done(self):
        self.client.send(b"DONE\r\n")
        self.until(rb"IDLE1 OK")


def test_idle_tells_of_a_delivery(server):
    with server.imap("vivita") as client:
        n = int(ok(client.select("INBOX"))[0])
        idle = Idle(client)
        with server.smtp() as smtp:
            for i in range(1, 4):
                smtp.sendmail("a@example.org", "vivita@example.com", simple("wake up"))
                idle.until(rb"\* %d EXISTS\r\n" % (n + i))
        idle.done()
        assert b"wake up" in fetch(client, n + 3)


def test_idle_tells_of_all_changes(server, box):
    fill(box, 2)
    with second(server, box) as other:
        idle = Idle(other)
        ok(box.store("1", "+FLAGS", r"(\Flagged)"))
        idle.until(rb"\* 1 FETCH .*\\Flagged")
        append(box, simple("third"))
        idle.until(rb"\* 3 EXISTS")
        ok(box.store("2", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(box.expunge())
        idle.until(rb"\* 2 EXPUNGE")
        target = "Idle %d" % next(names)
        ok(box.create('"%s"' % target))
        imaplib.Commands.setdefault("MOVE", ("SELECTED",))
        ok(box._simple_command("MOVE", "1", '"%s"' % target))
        idle.until(rb"\* 1 EXPUNGE")
        idle.done()
        assert search(other, "ALL") == [1]


def test_many_idle_sessions(server, box):
    clients = [second(server, box) for _ in range(30)]
    idles = [Idle(c) for c in clients]
    started = time.monotonic()
    append(box, simple("to all"))
    for idle in idles:
        idle.until(rb"\* 1 EXISTS")
    assert time.monotonic() - started < 60  # pushed, not found when something else comes
    for idle, client in zip(idles, clients):
        idle.done()
        client.logout()


def test_mailbox_deleted_under_a_session(server, box):
    fill(box, 2)
    with second(server, box) as other:
        ok(box.unselect())
        ok(box.delete('"%s"' % box.name))
        for act in (other.noop, lambda: other.fetch("1:*", "(FLAGS)"), lambda: other.copy("1", "Trash")):
            try:
                act()
            except imaplib.IMAP4.error:
                pass
    ok(box.create('"%s"' % box.name))
    assert int(ok(box.select('"%s"' % box.name))[0]) == 0


def test_sessions_at_work_at_once(server, box):
    """Ten sessions append, flag, copy and expunge in one mailbox; the counts are right at the end."""
    problems = []

    def work(n):
        try:
            with second(server, box) as client:
                for i in range(8):
                    uid = append(client, simple("worker %d" % n))
                    ok(client.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Seen)"))
                    if i % 2:
                        ok(client.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)"))
                        ok(client.uid("EXPUNGE", str(uid)))
                    ok(client.noop())
        except Exception as e:  # told to the test below
            problems.append(e)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert problems == []
    box.noop()
    assert len(search(box, "ALL")) == len(search(box, "SEEN")) == 40
    uids = [int(u) for u in ok(box.uid("SEARCH", None, "ALL"))[0].split()]
    assert uids == sorted(uids) and len(set(uids)) == 40
    assert server.command_line("mailbox", "check").code == 0


# ---- what clients get wrong
def test_errors_do_not_end_the_session(server, box):
    fill(box, 1)
    for command in ("FETCH", "FETCH 1", "FETCH 0 (FLAGS)", "FETCH 1 (NONESUCH)", "FETCH x (FLAGS)", "STORE 1 FLAGS", "NONESUCH",
                    "SEARCH", "SEARCH NONESUCH", "COPY 1", "FETCH 1 (BODY[)", "STORE 1 +FLAGS (\\Nonesuch\\)", "STATUS INBOX ()",
                    "UID", "UID NONESUCH", "LIST", "APPEND", "SELECT"):
        tag = b"E%d" % next(names)
        box.send(tag + b" " + command.encode() + b"\r\n")
        line = box.readline()
        assert line.startswith(tag + b" BAD"), (command, line)
    assert search(box, "ALL") == [1]


def test_large_messages(server, box):
    body = b"".join(b"%07d " % i + b"w" * 60 + b"\r\n" for i in range(150_000))  # 10 MB
    message = b"Subject: large\r\n\r\n" + body
    append(box, message)
    box.noop()
    assert fetch(box, 1) == message
    assert fetch(box, 1, "(BODY.PEEK[TEXT]<9999900.100>)") == body[9_999_900:10_000_000]
    assert search(box, "BODY", '"0149999 "') == [1]
    answer = box.append('"%s"' % box.name, None, None, b"x" * 60_000_000)  # over the limit
    assert answer[0] == "NO", answer
    assert search(box, "ALL") == [1]


def test_many_messages(box):
    n = 1000
    batch = b"".join(b"T%d APPEND \"%s\" {%d+}\r\n" % (i, box.name.encode(), len(m)) + m + b"\r\n"
                     for i in range(n) for m in [simple("mail %d" % i)])
    thread = threading.Thread(target=box.send, args=(batch,))
    thread.start()
    done = 0
    while done < n:
        line = box.readline()
        assert line.startswith((b"* ", b"T")), line
        if line.startswith(b"T"):
            assert b" OK " in line
            done += 1
    thread.join()
    box.noop()
    assert len(search(box, "ALL")) == n
    rows = ok(box.fetch("1:*", "(UID FLAGS RFC822.SIZE ENVELOPE)"))
    assert len([r for r in rows if r]) == n
    ok(box.store("1:%d" % n, "+FLAGS.SILENT", r"(\Seen)"))
    assert search(box, "UNSEEN") == []
    ok(box.copy("1:*", "Archive"))
    ok(box.store("1:*", "+FLAGS.SILENT", r"(\Deleted)"))
    assert len(ok(box.expunge())) == n
    ok(box.select("Archive"))
    assert len(search(box, "ALL")) >= n
