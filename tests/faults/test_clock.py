# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The clock is set while the server runs and between two starts: ids, uids and UIDVALIDITY never go back, no session ends."""
import imaplib
import pathlib
import sqlite3
import ssl
import struct
import subprocess
import tempfile
import time

import pytest
from audit import Audit
from traffic import Ledger, Traffic, folder, message, ok, restart, wait_for  # noqa: F401 (fixtures)

HERE = pathlib.Path(__file__).parent
DAY = 86400
JUMPS = (DAY, -400 * DAY, 0, 3 * 365 * DAY, -DAY)


class Clock:
    """The server's wall clock, to be set from outside."""

    def __init__(self, folder):
        self.library, self.control = str(folder / "clock_offset.so"), folder / "offset"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self.library, str(HERE / "clock_offset.c")], check=True)
        self.set(0)
        self.env = {"LD_PRELOAD": self.library, "CLOCK_OFFSET": str(self.control),
                    "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}

    def set(self, seconds):
        with open(self.control, "r+b" if self.control.exists() else "wb") as f:
            f.write(struct.pack("q", seconds))


@pytest.fixture
def clock():
    with tempfile.TemporaryDirectory(prefix="posthouse-test-") as path:
        yield Clock(pathlib.Path(path))


def start(restart, folder, clock):
    server = restart(folder, env=clock.env)
    # Started a year behind, it makes a certificate of that year: right by its clock, not by the client's.
    server.tls.check_hostname, server.tls.verify_mode = False, ssl.CERT_NONE
    return server


def send(client, number):
    client.sendmail("sender@example.org", ["xandros@example.com"], message(number, large=False))


def arrived(server, number):
    """INTERNALDATE of a message as seconds since 1970."""
    with server.imap() as client:
        ok(client.select("INBOX", readonly=True))
        return time.mktime(imaplib.Internaldate2tuple(ok(client.fetch(str(number), "(INTERNALDATE)"))[0]))


def ids(folder):
    """The ids of all texts, in the order in which their mailbox got them."""
    with sqlite3.connect("file:%s/store.db?mode=ro" % folder, uri=True) as db:
        return [row[0] for row in db.execute("SELECT m.body FROM message m JOIN mailbox b ON b.id = m.mailbox JOIN account a "
                                             "ON a.id = b.account WHERE a.name = 'xandros@example.com' AND b.name = 'INBOX' "
                                             "ORDER BY m.uid")]


def test_sessions_live_on(folder, restart, clock):
    """Deadlines follow the monotonic clock: no session ends by a jump, and none becomes immortal."""
    server = start(restart, folder, clock)
    with server.smtp() as smtp, server.imap() as imap:
        ok(imap.select("INBOX"))
        for number, jump in enumerate(JUMPS, 1):
            clock.set(jump)
            send(smtp, number)
            ok(imap.noop())
            assert int(imap.untagged_responses["EXISTS"][-1]) == number
            # The control: the clock did jump, or nothing was tried.
            assert abs(arrived(server, number) - (time.time() + jump)) < 3600
    server.stop()


def test_ids_never_go_back(folder, restart, clock):
    """A mailbox made while the clock is a year behind has a UIDVALIDITY of its own all the same."""
    validities, number = [], 0
    for jump in JUMPS:
        clock.set(jump)
        server = start(restart, folder, clock)
        with server.smtp() as smtp, server.imap() as imap:
            for back in (0, -2 * DAY):
                clock.set(jump + back)
                number += 1
                send(smtp, number)
                ok(imap.create("Again"))
                ok(imap.select("Again"))
                validities.append(int(imap.response("UIDVALIDITY")[1][0]))
                ok(imap.close())
                ok(imap.delete("Again"))
        server.stop()
    found = ids(folder)
    assert len(found) == number and found == sorted(set(found)), found
    assert validities == sorted(set(validities)), validities


def test_under_load(folder, restart, clock):
    ledger, audit = Ledger(), Audit()
    for jump in (0, -DAY):
        clock.set(jump)
        server = start(restart, folder, clock)
        traffic = Traffic(server, ledger, 77)
        for step in JUMPS:
            before = len(ledger.accepted)
            clock.set(jump + step)
            wait_for(lambda: len(ledger.accepted) > before + 50, "mail accepted after the clock was set")
        traffic.stop()
        problems = audit.round(server, ledger)
        server.stop()
        assert not problems, "\n".join(problems[:20])
