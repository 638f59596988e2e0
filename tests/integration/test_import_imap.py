# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""posthouse import imap: what another server serves is what we serve after, UID by UID, whatever happens on the way."""
import contextlib
import imaplib
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading

import pytest
import test_import as maildirs
from conftest import BINARY, Command, ok, posthouse, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import certs  # noqa: E402
import dovecot  # noqa: E402

USER = "xandros@example.com"
needs_dovecot = maildirs.needs_dovecot
TLS = """
ssl = required
ssl_cert = <{chain}
ssl_key = <{key}
service imap-login {{
  inet_listener imaps {{
    port = {{tls}}
    ssl = yes
  }}
}}
"""
MASTER = """
auth_master_user_separator = *
passdb {
  driver = static
  master = yes
  args = password=master
}
"""


def bring(url, *options, data, account=USER, password="pw", timeout=maildirs.IMPORT):
    named = ["--account", account] if account else []
    result = subprocess.run([BINARY, "import", "imap", url, *named, *options, "--json", "--data", str(data)],
                            input=password + "\n", capture_output=True, text=True, timeout=timeout)
    return Command(result)


def url(server, user=USER):
    return "imap://%s@127.0.0.1:%d" % (user.replace("@", "%40"), server.port)


def total(server, user=USER):
    client = server.login(user)
    n = 0
    for folder in maildirs.folders(client):
        n += int(ok(client.select('"%s"' % folder, readonly=True))[0])
    client.logout()
    return n


# ---- Dovecot
@needs_dovecot
@pytest.mark.parametrize("mechanisms", ["plain", "plain scram-sha-256"])
def test_from_dovecot(start, folder, mechanisms):
    server = start()
    with dovecot.Dovecot(folder, extra="auth_mechanisms = %s\n" % mechanisms) as theirs:
        client = theirs.login(USER)
        maildirs.fill(client)
        first = bring(url(theirs), data=server.data)
        assert first.code == 0, first.out + first.err
        assert first.json["imported"] == 19 and first.json["failed"] == 0
        before = maildirs.everything(client)
        with server.imap() as ours:
            maildirs.is_the_same(before, maildirs.everything(ours))
            assert b'"Lists/B&APY-rse"' in b"".join(ok(ours.lsub()))
            assert b"Sent Items" not in b"".join(ok(ours.list()))

        # A second run brings what changed there, and leaves what changed here.
        with server.imap() as ours:
            ok(ours.select("INBOX"))
            ok(ours.uid("STORE", "3", "+FLAGS", r"(\Flagged mine)"))
        again = bring(url(theirs), data=server.data)
        assert again.code == 0 and again.json["unchanged"] == 19, again.out
        assert again.json["imported"] == again.json["updated"] == again.json["bytes"] == 0
        ok(client.append("INBOX", r"(\Seen)", None, maildirs.TEXTS[2]))
        ok(client.select("INBOX"))
        ok(client.uid("STORE", "1", "+FLAGS", r"(\Answered new)"))
        ok(client.uid("STORE", "4", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        again = bring(url(theirs), data=server.data)
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (1, 1, 0), again.out
        again = bring(url(theirs), "--delete", data=server.data)
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (0, 0, 2), again.out
        with server.imap() as ours:
            uidvalidity, have = maildirs.content(ours, "INBOX")
        now = maildirs.content(client, "INBOX")
        assert uidvalidity == now[0] and have.keys() == now[1].keys()
        assert have[3][0] == now[1][3][0] | {r"\Flagged", "mine"}
        assert have[1][0] == now[1][1][0] and again.json["renumbered"] == []
        client.logout()
    assert server.command_line("mailbox", "check").code == 0
