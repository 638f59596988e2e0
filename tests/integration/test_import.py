# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""posthouse import maildir: what Dovecot served before is what we serve after, UID by UID."""
import contextlib
import imaplib
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import BINARY, ok, posthouse, wait_for
from test_serve import Appliance

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import dovecot  # noqa: E402

USER = "xandros@example.com"
needs_dovecot = pytest.mark.skipif(not dovecot.present(), reason="needs root and Dovecot")
IMPORT = 120  # seconds for a command that may take long with sanitizers
TEXTS = [
    b"Subject: plain\r\n\r\nHello\r\n",
    b"Subject: no end of line\r\n\r\nHello",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.\r\n",
    b"Subject: 8 bit\r\n\r\n\xe4\xf6\xfc \xc3\xa4\r\n",
    b"Subject: a lone CR\r\n\r\na\rb\r\n\r\r\n",
    b"Subject: long lines\r\n\r\n" + b"x" * 70000 + b"\r\n",
    b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20000,
    b"Subject: no body\r\n\r\n",
]
FLAGS = [None, r"(\Seen)", r"(\Answered \Seen $work)", r"(\Flagged)", r"(\Draft)", "(Later $work)"]


def bring(maildir, *options, data, account=USER, timeout=IMPORT):
    named = ["--account", account] if account else []
    return posthouse("import", "maildir", *([str(maildir)] if maildir else []), *named, *options, "--json", data=data,
                     timeout=timeout)


def folders(client):
    rows = [re.fullmatch(rb'\(.*?\) "/" (.*)', row)[1].decode().strip('"') for row in ok(client.list())]
    return sorted("INBOX" if row.upper() == "INBOX" else row for row in rows)


def content(client, folder):
    """UIDVALIDITY, and by UID: flags, date, text."""
    ok(client.select('"%s"' % folder, readonly=True))
    uidvalidity = client.response("UIDVALIDITY")[1][0]
    found = {}
    rows = ok(client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])"))
    for row in rows:
        if isinstance(row, tuple):
            head = row[0].decode()
            uid = int(re.search(r"UID (\d+)", head)[1])
            flags = {f for f in re.search(r"FLAGS \(([^)]*)\)", head)[1].split() if f != r"\Recent"}
            date = imaplib.Internaldate2tuple(row[0])
            found[uid] = (flags, time.mktime(date), row[1])
    return uidvalidity, found


def everything(client):
    return {folder: content(client, folder) for folder in folders(client)}


def fill(client):
    """Folders and messages with gaps between their UIDs."""
    for folder in ("Sent Items", "Lists", "Lists/B&APY-rse"):
        ok(client.create('"%s"' % folder))
    ok(client.subscribe('"Lists/B&APY-rse"'))
    n = 0
    for folder in ("INBOX", "Sent Items", "Lists/B&APY-rse"):
        for text in TEXTS:
            date = imaplib.Time2Internaldate(1500000000 + 86400 * n)
            ok(client.append('"%s"' % folder, FLAGS[n % len(FLAGS)], date, text))
            n += 1
        ok(client.select('"%s"' % folder))
        ok(client.uid("STORE", "2,5", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        ok(client.close())
    ok(client.append("INBOX", r"(\Deleted \Seen)", imaplib.Time2Internaldate(1400000000), TEXTS[0]))


def is_the_same(theirs, ours):
    for folder, (uidvalidity, messages) in theirs.items():
        have = ours["Sent" if folder == "Sent Items" else folder]
        assert have[1].keys() == messages.keys(), folder
        for uid, message in messages.items():
            assert have[1][uid] == message, (folder, uid)
        if messages:
            assert have[0] == uidvalidity, folder


@needs_dovecot
@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_from_dovecot(start, folder, layout):
    server = start()
    with dovecot.Dovecot(folder, layout="fs" if layout == "fs" else "") as theirs:
        client = theirs.login(USER)
        fill(client)
        maildir = theirs.maildir(USER)
        first = bring(maildir, data=server.data)
        assert first.code == 0, first.err
        assert first.json["imported"] == 19 and first.json["failed"] == 0
        before = everything(client)
        with server.imap() as ours:
            is_the_same(before, everything(ours))
            assert b'"Lists/B&APY-rse"' in b"".join(ok(ours.lsub()))
            assert b"Sent Items" not in b"".join(ok(ours.list()))

        # A second run brings what changed there, and leaves what changed here.
        with server.imap() as ours:
            ok(ours.select("INBOX"))
            ok(ours.uid("STORE", "3", "+FLAGS", r"(\Flagged mine)"))
        again = bring(maildir, data=server.data)
        assert again.code == 0 and again.json["unchanged"] == 19, again.out
        assert again.json["imported"] == again.json["updated"] == 0
        ok(client.append("INBOX", r"(\Seen)", None, TEXTS[2]))
        ok(client.select("INBOX"))
        ok(client.uid("STORE", "1", "+FLAGS", r"(\Answered new)"))
        ok(client.uid("STORE", "4", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        again = bring(maildir, data=server.data)
        assert again.code == 0, again.err
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (1, 1, 0), again.out
        again = bring(maildir, "--delete", data=server.data)
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (0, 0, 2), again.out
        with server.imap() as ours:
            uidvalidity, have = content(ours, "INBOX")
        now = content(client, "INBOX")
        assert uidvalidity == now[0] and have.keys() == now[1].keys()
        assert have[3][0] == now[1][3][0] | {r"\Flagged", "mine"}
        assert have[1][0] == now[1][1][0]
        assert again.json["renumbered"] == []
        client.logout()
    assert server.command_line("mailbox", "check").code == 0


# ---- Maildirs made by hand
def make(path, messages=()):
    """messages: (file below the folder, text, seconds)."""
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(parents=True, exist_ok=True)
    for name, text, at in messages:
        (path / name).write_bytes(text)
        os.utime(path / name, (at, at))
    return path


def test_without_a_daemon(start, folder):
    """The child opens the folder; a server that starts then serves what came."""
    server = start(data=folder / "data")
    server.stop()
    maildir = make(folder / "Maildir", [("new/1.M1.host", b"Subject: new\n\nx\n", 1000),
                                        ("cur/2.M2.host:2,SP", b"Subject: seen\n\nx\n", 2000)])
    make(maildir / ".Trash", [("cur/3.host:2,T", b"Subject: thrown away\n\n", 3000)])
    result = bring(maildir, data=folder / "data")
    assert result.code == 0 and result.json["imported"] == 3, result.out + result.err
    server = start(data=folder / "data")
    with server.imap() as client:
        _, inbox = content(client, "INBOX")
        assert [m[0] for m in inbox.values()] == [set(), {r"\Seen", "$Forwarded"}]
        assert [m[2] for m in inbox.values()] == [b"Subject: new\r\n\r\nx\r\n", b"Subject: seen\r\n\r\nx\r\n"]
        _, trash = content(client, "Trash")
        assert list(trash.values())[0][0] == {r"\Deleted"}


def test_what_fails_is_named_and_the_rest_comes(start, folder):
    server = start()
    maildir = make(folder / "Maildir", [("cur/1.a:2,", b"Subject: a\n\nx\n", 1000), ("cur/4.d:2,", b"Subject: d\n\nx\n", 1000),
                                        ("cur/3.gz:2,", b"\x1f\x8b\x08\x00compressed", 1000)])
    (folder / "secret").write_text("root's own\n")
    os.symlink(folder / "secret", maildir / "cur" / "2.link:2,")
    (maildir / "cur" / "5.folder:2,").mkdir()
    os.mkfifo(maildir / "cur" / "6.pipe:2,")
    make(folder / "elsewhere", [("cur/1.x", b"Subject: not theirs\n\n", 1000)])
    os.symlink(folder / "elsewhere", maildir / ".Linked")
    make(maildir / ".a..b")
    result = bring(maildir, data=server.data)
    assert result.code == 1 and result.json["imported"] == 2, result.out
    bad = {pathlib.Path(e["file"]).name: e["reason"] for e in result.json["errors"]}
    assert set(bad) == {"2.link:2,", "3.gz:2,", "5.folder:2,", "6.pipe:2,", ".Linked", ".a..b"}
    assert "symbolic link" in bad["2.link:2,"] and "compressed" in bad["3.gz:2,"]
    assert server.count("xandros") == 2
    result = bring(folder / "nothing", data=server.data)
    assert result.code == 1 and "nothing" in result.json["errors"][0]["file"]
    result = bring(maildir, data=server.data, account="nobody@example.com")
    assert result.code == 1 and "new-account" in result.json["error"]
    assert bring(maildir, data=server.data, account=None).code == 2


def test_bytes_imap_cannot_carry(start, folder):
    server = start()
    maildir = make(folder / "Maildir", [("cur/1.a:2,", b"Subject: a\r\n\r\nnul \0 cr \r lf\ncrlf\r\n\r\r\n\xff", 1000)])
    result = bring(maildir, data=server.data)
    assert result.code == 0 and result.json["nul_bytes"] == 1
    assert server.newest("xandros") == b"Subject: a\r\n\r\nnul \x80 cr \r lf\r\ncrlf\r\n\r\r\n\xff"


def test_a_server_that_may_not_see_the_files(folder):
    """serve, in its sandbox and with a user of its own: the command reads, as root; nothing in the data folder becomes root's."""
    server = Appliance()
    try:
        server.start()
        server.seed()
        maildir = make(folder / "Maildir", [("cur/%d.a:2," % i, b"Subject: %d\n\n" % i + b"x" * 50000, 1000) for i in range(5)])
        maildir.chmod(0o700)
        words = ["import", "maildir", str(maildir), "--account", "ann@example.com", "--json"]
        result = server.command(*words)
        assert result.code == 0 and result.json["imported"] == 5, result.out + result.err
        assert server.count() == 5
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_end() == 0
        make(maildir, [("new/9.a", b"Subject: more\n\n", 1000)])
        result = server.command(*words)
        assert result.code == 0 and result.json["imported"] == 1, result.out + result.err
        owner = server.data.stat().st_uid
        assert {p.stat().st_uid for p in server.data.rglob("*")} == {owner}
        server.start()
        assert server.count() == 6
        result = server.command("export", "maildir", str(folder / "out"), "--json")
        assert result.code == 0 and result.json["exported"] == 6, result.out + result.err
    finally:
        server.stop()


def test_courier(start, folder):
    server = start()
    maildir = make(folder / "Maildir", [("cur/1.a,S=3:2,S", b"a: b\n\n", 1000), ("cur/2.b:2,", b"a: c\n\n", 2000),
                                        ("cur/3.c:2,", b"a: d\n\n", 3000)])
    (maildir / "courierimapuiddb").write_text("1 1150000000 12\n3 2.b\n11 1.a,S=3\n")
    (maildir / "courierimapkeywords").mkdir()
    (maildir / "courierimapkeywords" / ":list").write_text("$work\nLater\n\n2.b:0 1\n1.a,S=3:1\n")
    (maildir / "courierimapsubscribed").write_text("INBOX\nINBOX.Lists\n")
    make(maildir / ".Lists")
    assert bring(maildir, data=server.data).code == 0
    with server.imap() as client:
        uidvalidity, inbox = content(client, "INBOX")
        assert b'"Lists"' in b"".join(ok(client.lsub()))
    assert uidvalidity == b"1150000000"
    assert {uid: m[0] for uid, m in inbox.items()} == {3: {"$work", "Later"}, 11: {r"\Seen", "Later"}, 12: set()}


def test_mail_that_was_here_gives_new_uids(start, folder):
    """UIDs of the source would be those of other messages: the mailbox keeps a UIDVALIDITY of its own."""
    server = start()
    with server.imap() as client:
        ok(client.append("INBOX", None, None, b"Subject: here before\r\n\r\n"))
        before = content(client, "INBOX")[0]
    maildir = make(folder / "Maildir", [("cur/1.a:2,", b"a: b\n\n", 1000)])
    (maildir / "dovecot-uidlist").write_text("3 V1150000000 N8\n1 :1.a\n")
    assert bring(maildir, data=server.data).code == 0
    with server.imap() as client:
        uidvalidity, inbox = content(client, "INBOX")
    assert uidvalidity == before and len(inbox) == 2


def test_every_user(start, folder):
    server = start()
    for user in server.accounts[:2]:
        make(folder / "example.com" / user.split("@")[0] / "Maildir", [("cur/1.a:2,", b"Subject: %s\n\n" % user.encode(), 1000)])
    result = bring(None, "--all", str(folder / "%d" / "%n" / "Maildir"), data=server.data, account=None)
    assert result.code == 0 and result.json["accounts"] == 2, result.out
    assert result.json["without"] == len(server.accounts) - 2
    for user in server.accounts[:2]:
        assert b"Subject: " + user.encode() in server.newest(user)


def test_two_folders_that_are_one_mailbox(start, folder):
    """--delete in one of them is nothing to the other."""
    server = start()
    maildir = make(folder / "Maildir", [("cur/1.a:2,", b"a: b\n\n", 1000)])
    make(maildir / ".INBOX", [("cur/2.b:2,", b"a: c\n\n", 1000), ("cur/3.c:2,", b"a: d\n\n", 1000)])
    make(maildir / ".B&APY-rse", [("cur/4.d:2,", b"a: e\n\n", 1000)])
    make(maildir / os.fsdecode(b".B\xf6rse"), [("cur/5.e:2,", b"a: f\n\n", 1000)])
    for _ in range(2):
        assert bring(maildir, "--delete", data=server.data).code == 0
        assert (server.count("xandros"), server.count("xandros", "B&APY-rse")) == (3, 2)
    (maildir / "cur/1.a:2,").unlink()
    (maildir / ".INBOX/cur/3.c:2,").unlink()
    result = bring(maildir, "--delete", data=server.data)
    assert result.json["removed"] == 2 and server.count("xandros") == 1


def test_where_the_rows_say(start, folder):
    """Flurdy's users: home and maildir, below where the old disk is."""
    server = start(data=folder / "data")
    users = server.accounts[:2]
    server.stop()
    with contextlib.closing(sqlite3.connect(folder / "data" / "directory.db")) as db, db:
        db.execute("UPDATE users SET home = '/var/spool/mail/virtual', maildir = 'one/' WHERE id = ?", [users[0]])
        db.execute("UPDATE users SET maildir = '/srv/two' WHERE id = ?", [users[1]])
    make(folder / "old/var/spool/mail/virtual/one", [("cur/1.a:2,", b"Subject: one\n\n", 1000)])
    make(folder / "old/srv/two", [("cur/1.a:2,", b"Subject: two\n\n", 1000)])
    result = bring(None, "--flurdy", str(folder / "old"), data=folder / "data", account=None)
    assert result.code == 0 and result.json["accounts"] == 2, result.out
    server = start(data=folder / "data")
    assert b"Subject: one" in server.newest(users[0]) and b"Subject: two" in server.newest(users[1])


def many(path, n):
    make(path)
    for i in range(n):
        (path / "cur" / ("%d.M%d.host:2,S" % (i + 1, i))).write_bytes(b"Subject: %d\n\n%s\n" % (i, b"text " * 50))
    (path / "dovecot-uidlist").write_text(
        "3 V1150000000 N%d\n" % (2 * n + 1) + "".join("%d :%d.M%d.host\n" % (2 * i + 1, i + 1, i) for i in range(n)))
    return path


@pytest.mark.parametrize("whom", ["command", "daemon", "daemon told to stop", "command without a daemon"])
def test_killed_and_run_again(start, folder, whom):
    """Whichever end dies: what had come is there once, and the next run brings the rest."""
    n = 3000
    server = start(data=folder / "data")
    maildir = many(folder / "Maildir", n)
    if whom == "command without a daemon":
        server.stop()
    running = subprocess.Popen([BINARY, "import", "maildir", str(maildir), "--account", USER, "--data", str(server.data)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def arrived():
        with contextlib.closing(sqlite3.connect("file:%s/data/store.db?mode=ro" % folder, uri=True, timeout=10)) as db:
            return db.execute("SELECT COUNT(*) FROM message").fetchone()[0]
    wait_for(lambda: arrived() > 200 or running.poll() is not None, "some messages")
    if whom.startswith("command"):
        running.kill()
        running.communicate()
        if whom == "command without a daemon":  # the child ends by itself, and gives the folder back
            wait_for(lambda: bring(maildir, data=folder / "data").code == 0, "the folder given back")
            server = start(data=folder / "data")
    else:
        server.stop(signal.SIGKILL if whom == "daemon" else signal.SIGTERM)
        _, text = running.communicate(timeout=60)
        assert running.returncode in (0, 75), text
        server = start(data=folder / "data")
    result = bring(maildir, data=server.data)
    assert result.code == 0, result.out
    assert result.json["imported"] + result.json["unchanged"] == n
    with server.imap() as client:
        ok(client.select("INBOX", readonly=True))
        assert client.response("UIDVALIDITY")[1][0] == b"1150000000"
        uids = ok(client.uid("SEARCH", "ALL"))[0].split()
        assert [int(u) for u in uids] == [2 * i + 1 for i in range(n)]
        assert client.response("UIDNEXT")[1] in ([None], [b"%d" % (2 * n + 1)])
    assert server.command_line("mailbox", "check").code == 0


def test_a_maildir_in_use(start, folder):
    """Files that are renamed and removed while they are read: none is missed, none comes twice."""
    n = 1000
    server = start()
    maildir = many(folder / "Maildir", n)
    running = subprocess.Popen([BINARY, "import", "maildir", str(maildir), "--account", USER, "--data", str(server.data)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    gone = 0
    for i in reversed(range(n)):
        name = maildir / "cur" / ("%d.M%d.host:2,S" % (i + 1, i))
        if i % 50 == 0:
            name.unlink()
            gone += 1
        elif i % 3 == 0:
            name.rename(str(name) + "T")
    text = running.communicate(timeout=IMPORT)
    assert running.returncode == 0, text
    result = bring(maildir, "--delete", data=server.data)
    assert result.code == 0 and result.json["failed"] == 0, result.out
    assert server.count("xandros") == n - gone
    with server.imap() as client:
        ok(client.select("INBOX", readonly=True))
        deleted = ok(client.uid("SEARCH", "DELETED"))[0].split()
        assert len(deleted) == sum(1 for i in range(n) if i % 3 == 0 and i % 50)


# ---- mbox
def mbox(path, *options, data, account=USER):
    return posthouse("import", "mbox", str(path), "--account", account, *options, "--json", data=data, timeout=IMPORT)


def test_mbox(start, folder):
    server = start()
    path = folder / "old.mbox"
    text = (b"From a@b Fri Nov 20 06:29:08 2026 +0000\nSubject: one\nX-IMAPbase: 1150000000 0000000040 work\nStatus: RO\n"
            b"X-Status: AF\nX-Keywords: work  \nX-UID: 5\nContent-Length: 9999\n\n>From here\n>>From there\n> From\n\n"
            b"From a@b Fri Nov 20 06:29:09 2026 +0000\nSubject: two\nX-UID: 9\n\nthe same\n\n"
            b"From a@b Fri Nov 20 06:29:10 2026 +0000\nSubject: two\nX-UID: 10\n\nthe same\n\n"
            b"From a@b Fri Nov 20 06:29:11 2026 +0000\nSubject: gone\nX-Mozilla-Status: 0009\n\nexpunged there\n")
    path.write_bytes(text)
    result = mbox(path, "--mailbox", "Old", data=server.data)
    assert result.code == 0 and result.json["imported"] == 3, result.out
    with server.imap() as client:
        uidvalidity, have = content(client, "Old")
        assert client.response("UIDNEXT")[1] in ([None], [b"41"])
    assert uidvalidity == b"1150000000" and sorted(have) == [5, 9, 10]
    assert have[5][0] == {r"\Seen", r"\Answered", r"\Flagged", "work"}
    assert have[5][2] == b"Subject: one\r\n\r\nFrom here\r\n>From there\r\n> From\r\n"
    assert have[9][2] == have[10][2] == b"Subject: two\r\n\r\nthe same\r\n"
    # again: one was read there, one is gone
    path.write_bytes(text.replace(b"X-UID: 9", b"X-UID: 9\nStatus: RO")
                     .replace(b"From a@b Fri Nov 20 06:29:10 2026 +0000\nSubject: two\nX-UID: 10\n\nthe same\n\n", b""))
    result = mbox(path, "--mailbox", "Old", "--delete", data=server.data)
    counts = [result.json[name] for name in ("imported", "updated", "unchanged", "removed")]
    assert result.code == 0 and counts == [0, 1, 1, 1], result.out
    with server.imap() as client:
        assert content(client, "Old")[1][9][0] == {r"\Seen"}
    (folder / "none").write_text("no mbox\n")
    assert mbox(folder / "none", data=server.data).code == 1


def test_mbox_folder_from_our_own_export(start, folder):
    server, other = start(), start()
    with server.imap() as client:
        for name in ("Lists", "Lists/B&APY-rse"):
            ok(client.create('"%s"' % name))
        for n, text in enumerate(TEXTS):
            for name in ("INBOX", "Sent", "Lists/B&APY-rse"):
                date = imaplib.Time2Internaldate(1500000000 + 86400 * n)
                ok(client.append('"%s"' % name, FLAGS[n % len(FLAGS)], date, text))
        before = everything(client)
    assert posthouse("export", "mbox", str(folder / "out"), "--account", USER, data=server.data, timeout=IMPORT).code == 0
    result = mbox(folder / "out", data=other.data)
    assert result.code == 0 and result.json["imported"] == 3 * len(TEXTS), result.out
    with other.imap() as client:
        after = everything(client)
    for name, (uidvalidity, messages) in before.items():
        assert not messages or after[name][0] == uidvalidity, name
        assert after[name][1].keys() == messages.keys()
        for uid, (flags, date, text) in messages.items():
            have = after[name][1][uid]
            assert have[:2] == (flags, date)
            assert have[2] in (text, text + b"\r\n"), (name, uid)  # an mbox's lines end
    assert mbox(folder / "out", data=other.data).json["unchanged"] == 3 * len(TEXTS)
