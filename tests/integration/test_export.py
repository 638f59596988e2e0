# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""posthouse export: mail goes back out, to be served by Dovecot with the same UIDs, or read as mbox files."""
import base64
import imaplib
import mailbox
import os
import re

from conftest import ok, posthouse
from test_import import FLAGS, IMPORT, TEXTS, USER, bring, content, dovecot, everything, needs_dovecot


def write(form, path, *options, data):
    return posthouse("export", form, str(path), *options, "--json", data=data, timeout=IMPORT)


def utf7(text):
    """Between "&" and "-" (RFC 3501 5.1.3)."""
    return base64.b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")


def fill(client):
    for folder in ("Lists", "Lists/B&APY-rse", "v1.2"):
        ok(client.create('"%s"' % folder))
        ok(client.subscribe('"%s"' % folder))
    n = 0
    for folder in ("INBOX", "Sent", "Lists/B&APY-rse", "v1.2"):
        for text in TEXTS:
            ok(client.append('"%s"' % folder, FLAGS[n % len(FLAGS)], imaplib.Time2Internaldate(1500000000 + 86400 * n), text))
            n += 1
        ok(client.select('"%s"' % folder))
        ok(client.uid("STORE", "2,5", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        ok(client.close())
    return n - 8


@needs_dovecot
def test_dovecot_serves_what_we_did(start, folder):
    server = start()
    with server.imap() as client:
        n = fill(client)
        before = everything(client)
    with dovecot.Dovecot(folder) as theirs:
        maildir = theirs.maildir(USER)
        result = write("maildir", maildir, "--account", USER, data=server.data)
        assert result.code == 0 and result.json["exported"] == n, result.out
        theirs.own(maildir)
        client = theirs.login(USER)
        after = everything(client)
        before["v1_2"] = before.pop("v1.2")  # Maildir++ has no dots within a name
        assert after.keys() == before.keys()
        for name, (uidvalidity, messages) in before.items():
            assert after[name][1] == messages, name
            assert not messages or after[name][0] == uidvalidity, name
        assert b'Lists/B&APY-rse' in b"".join(ok(client.lsub()))
        # new mail gets UIDs of its own there
        ok(client.append("INBOX", None, None, TEXTS[0]))
        assert max(content(client, "INBOX")[1]) > max(before["INBOX"][1])
        client.logout()
    result = write("maildir", maildir, "--account", USER, data=server.data)
    assert result.code == 1 and "already" in result.json["error"]


def test_maildirs_come_back_as_they_were(start, folder):
    """All accounts out, and into another server: UIDs, flags, dates and bytes."""
    server, other = start(), start()
    with server.imap() as client:
        fill(client)
        before = everything(client)
    assert write("maildir", folder / "out", data=server.data).code == 0
    result = bring(None, "--all", str(folder / "out" / "%u"), data=other.data, account=None)
    assert result.code == 0 and result.json["failed"] == 0, result.out
    with other.imap() as client:
        after = everything(client)
    before["v1_2"] = before.pop("v1.2")
    for name, (uidvalidity, messages) in before.items():
        assert after[name][1] == messages, name
        assert not messages or after[name][0] == uidvalidity, name


def test_mbox(start, folder):
    server = start()
    quoted = b"Return-Path: <a@b.example>\r\nSubject: quoted\r\n\r\nFrom here\r\n>From there\r\n> From\r\nFro\r\nFrom \r\nend"
    with server.imap() as client:
        n = fill(client)
        ok(client.append("INBOX", r"(\Seen \Flagged $work)", imaplib.Time2Internaldate(1600000000), quoted))
    result = write("mbox", folder / "out", "--account", USER, data=server.data)
    assert result.code == 0 and result.json["exported"] == n + 1, result.out
    box = mailbox.mbox(folder / "out" / "INBOX.mbox")
    last = box[len(box) - 1]
    assert len(box) == 7 and set(last.get_flags()) == set("ROF")
    assert last.get_from() == "a@b.example Sun Sep 13 12:26:40 2020 +0000"
    assert last["X-Keywords"] == "$work" and last["X-UID"] == "9"
    text = (folder / "out" / "INBOX.mbox").read_bytes()
    assert text.endswith(b"\n\n>From here\n>>From there\n> From\nFro\n>From \nend\n\n")
    assert b"\r\n" not in text.replace(b"\r\r\n", b"")
    assert len(mailbox.mbox(folder / "out" / "Lists" / "B\u00f6rse.mbox")) == 6
    assert write("mbox", folder / "out", "--account", USER, data=server.data).code == 1  # never over what is there
    assert write("mbox", folder / "out2", "--account", "nobody@example.com", data=server.data).code == 1


def test_names_that_files_cannot_have(start, folder):
    """However users call their mailboxes: they come out, all of them, and so do those of others."""
    server = start()
    long, deep = "L" * 255, "/".join("d%d" % n + "x" * 40 for n in range(12))
    names = ["x", "x.mbox/y", "x.mbox_/y", long, long[:-1] + "M", deep, ".hidden", "_.hidden", "a.b", "a_b", "\u20ac" * 80]
    with server.imap() as client:
        for n, name in enumerate(names):
            quoted = '"%s"' % (name if name.isascii() else "&%s-" % utf7(name))
            ok(client.create(quoted))
            ok(client.append(quoted, None, None, b"Subject: %d\r\n\r\nx\r\n" % n))
    for form in ("mbox", "maildir"):
        result = write(form, folder / form, data=server.data)
        assert result.code == 0 and result.json["exported"] == len(names), result.out
        root = folder / form / USER
        found = [p for p in root.rglob("*") if p.is_file() and re.search(rb"^Subject: \d+\r?$", p.read_bytes(), re.M)]
        assert sorted(int(re.search(rb"^Subject: (\d+)", p.read_bytes(), re.M)[1]) for p in found) == list(range(len(names)))
        assert all(len(os.fsencode(p.name)) <= 220 for p in root.rglob("*"))
