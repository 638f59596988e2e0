# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""fsync fails (EIO): nothing is acknowledged that wasn't flushed, reading goes on, a restart recovers.

After a failed fsync the kernel calls the lost pages clean: asking again would succeed and lie. So after one the store is
read-only until a restart, and a large message's file is thrown away.
"""
import os
import pathlib
import random
import signal
import smtplib
import socket
import subprocess
import tempfile
import time

import pytest
from audit import Audit
from traffic import Ledger, Traffic, fetch, folder, message, ok, restart, wait_for  # noqa: F401 (fixtures)

HERE = pathlib.Path(__file__).parent


class Flush:
    """Turns failing on and off from outside while the server runs."""

    def __init__(self, folder, restart):
        self.restart = restart
        self.library, self.control = str(folder / "failing_flush.so"), folder / "fail"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self.library, str(HERE / "failing_flush.c")], check=True)

    def start(self, data):
        env = {"LD_PRELOAD": self.library, "FAIL_FLUSH": str(self.control), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        server = self.restart(data, env=env)
        server.trouble_expected = True  # it must say so in its log
        return server

    def fail(self, what):
        part = self.control.with_suffix(".new")
        part.write_text(what)
        part.rename(self.control)

    def heal(self):
        self.control.unlink()

    def failed(self):
        try:
            return os.path.getsize(str(self.control) + ".count")
        except FileNotFoundError:
            return 0


@pytest.fixture
def flush(restart):
    with tempfile.TemporaryDirectory(prefix="posthouse-test-") as path:
        yield Flush(pathlib.Path(path), restart)


def reply(server, text):
    with server.smtp() as client:
        try:
            client.sendmail("sender@example.org", ["xandros@example.com"], text)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
            return e.smtp_code
        except smtplib.SMTPRecipientsRefused as e:
            return min(code for code, _ in e.recipients.values())
    return 250


def append(client, text):
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client.append("INBOX", "", None, text)[0]


@pytest.mark.parametrize("large", (False, True))
def test_commit(folder, restart, flush, large):
    """The WAL can't be flushed."""
    server = flush.start(folder)
    assert reply(server, message(1, large=False)) == 250
    with server.imap() as client:
        ok(client.select("INBOX"))
        flush.fail("store.db-wal")
        assert 400 <= reply(server, message(2, large)) < 500
        assert flush.failed() >= 1
        flush.heal()  # the disk seems well again: that must not be believed
        assert 400 <= reply(server, message(3, large=False)) < 500
        assert 400 <= reply(server, message(4, large=True)) < 500
        assert append(client, message(5, large=False)) == "NO"
        assert client.store("1", "+FLAGS", "(\\Flagged)")[0] == "NO"
        assert client.copy("1", "Archive")[0] == "NO"
        assert client.create("New")[0] == "NO"
        assert fetch(client, 1).endswith(message(1, large=False))
    with server.imap() as client:  # logging in and reading go on
        assert ok(client.select("INBOX")) == [b"1"]
        assert fetch(client, 1).endswith(message(1, large=False))
    assert "read-only" in server.log()
    server.stop(signal.SIGTERM)
    server = restart(folder)
    # Number 2 was refused: its sender tries again. What was written may be on the disk, flushed or not: there or not, but whole.
    found = server.messages("xandros")
    assert found[0].endswith(message(1, large=False))
    assert all(text.endswith(message(2, large)) for text in found[1:]) and len(found) <= 2
    assert reply(server, message(6, large=False)) == 250
    assert server.command_line("mailbox", "check").code == 0
    server.stop()


def test_checkpoint(folder, restart, flush):
    """The database file can't be flushed when the WAL is brought into it: the WAL must not be overwritten then."""
    server, ledger, audit = flush.start(folder), Ledger(), Audit()
    flush.fail("/store.db$")
    traffic = Traffic(server, ledger, 1)
    wait_for(lambda: "read-only" in server.log(), "the checkpoint that fails")
    flush.heal()
    wait_for(lambda: ledger.refused, "a client that is refused although the disk seems well again")
    server.stop(signal.SIGKILL)
    traffic.wait()
    assert ledger.refused and ledger.accepted
    ledger.refused.clear()
    server = restart(folder)
    assert audit.round(server, ledger) == []
    server.stop()


def test_large_file(folder, restart, flush):
    """A large message's own file can't be flushed: that one is refused, the store goes on."""
    server = flush.start(folder)
    # The entry of a new folder, and again when it isn't new any more; the file.
    for what in ("/bodies$", "/bodies$", "/bodies/"):
        flush.fail(what)
        before = flush.failed()
        assert 400 <= reply(server, message(1, large=True)) < 500
        with server.imap() as client:
            assert append(client, message(1, large=True)) == "NO"
        assert flush.failed() > before
        assert reply(server, message(2, large=False)) == 250
    flush.heal()
    wait_for(lambda: not [p for p in pathlib.Path(server.data, "bodies").rglob("*") if p.is_file()], "the end of what wasn't flushed")
    assert reply(server, message(3, large=True)) == 250
    assert server.newest("xandros").endswith(message(3, large=True))
    assert server.command_line("mailbox", "check").code == 0
    server.stop()


def test_under_load(folder, restart, flush):
    """At some moment every flush fails: what was acknowledged before is there after a restart, nothing was after."""
    rng, ledger, audit = random.Random(7), Ledger(), Audit()
    for number in range(3):
        server = flush.start(folder)
        traffic = Traffic(server, ledger, rng.randrange(1 << 30))
        wait_for(lambda: len(ledger.accepted) > 100, "some load")
        time.sleep(rng.uniform(0, 0.3))
        flush.fail("")
        wait_for(lambda: "read-only" in server.log(), "the flush that fails")
        accepted = len(ledger.accepted)
        time.sleep(0.2)
        assert len(ledger.accepted) <= accepted + 16  # those on their way
        flush.heal()
        server.stop(signal.SIGKILL)
        traffic.wait()
        ledger.refused.clear()
        server = restart(folder)
        problems = audit.round(server, ledger)
        server.stop()
        assert not problems, "round %d: %s" % (number, "\n".join(problems[:20]))
