# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A disk without room: new mail is refused for now, what is there stays readable, expunging makes room again."""
import contextlib
import os
import smtplib
import socket

import pytest
from traffic import fetch, message, ok, restart, wait_for  # noqa: F401 (fixture)
from disk import NoDisk, disk

LARGE = b"Subject: large\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 15000


@pytest.fixture
def mounted():
    try:
        with disk(64, "-N", "4096") as d:
            yield d
    except NoDisk as e:
        pytest.skip("no disk to fill: %s" % e)


@pytest.fixture
def running(restart):
    """with running(folder, settings...) as server: it ends well at the end."""
    @contextlib.contextmanager
    def begin(folder, *settings):
        server = restart(folder, *settings)
        yield server
        server.stop()
    return begin


def send(server, text):
    """The reply that decides: of MAIL, or after the data."""
    with server.smtp() as client:
        try:
            client.sendmail("sender@example.org", ["xandros@example.com"], text)
        except smtplib.SMTPSenderRefused as e:
            return e.smtp_code, e.smtp_error
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error
    return 250, b""


def append(server, text):
    with server.imap() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client.append("INBOX", "", None, text)


def room(mounted):
    s = os.statvfs(mounted.path)
    return s.f_bavail * s.f_frsize


def empty(server, mailbox="INBOX"):
    """Expunges all, and has it swept: a mailbox that is deleted starts the sweeper."""
    with server.imap() as client:
        ok(client.select(mailbox))
        ok(client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)"))
        ok(client.expunge())
        ok(client.create("Scratch"))
        ok(client.delete("Scratch"))


def test_low_on_space(mounted, running):
    """store.min_free: refused before the disk is full, so that there is room to expunge."""
    with running(mounted.path + "/data", "store.min_free=24M") as server:
        taken, (code, text) = 0, send(server, LARGE)
        while code == 250:
            taken += 1
            assert taken < 100
            code, text = send(server, LARGE)
        assert taken > 5
        assert (code, text[:5]) == (452, b"4.3.1"), (code, text)
        assert room(mounted) >= (24 << 20) - len(LARGE) // 2  # the database has grown a little, too
        ballast = mounted.path + "/ballast"
        with open(ballast, "wb") as f:  # what is small goes on to min_free itself
            f.write(b"\0" * (room(mounted) - (23 << 20)))
        wait_for(lambda: send(server, message(1, large=False))[0] == 452, "small mail refused as well")
        kind, data = append(server, message(2, large=False))
        assert kind == "NO" and b"[" in data[0], data
        with server.imap() as client:
            ok(client.select("INBOX"))
            assert fetch(client, 1).endswith(LARGE)
            ok(client.copy("1", "Archive"))  # takes no room to speak of
        before = room(mounted)
        empty(server)
        wait_for(lambda: room(mounted) > before + 5 * len(LARGE), "room after expunging")
        wait_for(lambda: send(server, message(3, large=False))[0] == 250, "mail accepted again")
        assert append(server, message(4, large=False))[0] == "OK"
        assert fetch_subjects(server) == [b"number 3", b"number 4"]
        assert server.command_line("mailbox", "check").code == 0


def fetch_subjects(server):
    return [text.partition(b"Subject: ")[2].partition(b"\r\n")[0] for text in server.messages("xandros")]


def fill(path):
    """A file that takes all there is, also what comes free when the file system has written what was to be written."""
    with open(path, "wb", buffering=0) as f:
        for _ in range(3):
            size = 1 << 20
            while size >= 512:
                try:
                    f.write(b"\0" * size)
                except OSError:
                    size //= 2
            with contextlib.suppress(OSError):
                os.fsync(f.fileno())


def test_full(mounted, running):
    """Not one block left: every write fails. Nothing is acknowledged, nothing breaks, and mail goes on when there is room."""
    with running(mounted.path + "/data", "store.min_free=1") as server:
        assert send(server, message(1, large=False))[0] == 250
        ballast = mounted.path + "/ballast"
        fill(ballast)
        for text in (LARGE, LARGE, message(2, large=True)):
            code, reply = send(server, text)
            assert code == 452, (code, reply)
        # What is left of the WAL's file may take some small ones.
        accepted, refused = 0, None
        while not refused:
            code, reply = send(server, message(3, large=False)[:60] + b"\r\n" + b"x" * 900 + b"\r\n" * 8000)
            accepted, refused = accepted + (code == 250), code != 250 and (code, reply)
            assert accepted < 2000
        assert refused[0] == 452, refused
        kind, data = append(server, LARGE)
        assert kind == "NO", data
        with server.imap() as client:
            assert int(ok(client.select("INBOX"))[0]) == 1 + accepted
            assert b"Subject: number 1\r\n" in fetch(client, 1)
        os.unlink(ballast)
        wait_for(lambda: send(server, LARGE)[0] == 250, "mail accepted again")
        assert server.count("xandros") == 2 + accepted
        with server.imap() as client:
            ok(client.select("INBOX"))
            assert fetch(client, 2 + accepted).endswith(LARGE)
        assert server.command_line("mailbox", "check").code == 0


def test_full_at_start(mounted, running, restart):
    """SQLite wants room to open a database. It says what is missing; with room again all is as it was."""
    folder = mounted.path + "/data"
    with running(folder, "store.min_free=1") as server:
        assert send(server, message(1, large=True))[0] == 250
    fill(mounted.path + "/ballast")
    with pytest.raises(pytest.fail.Exception, match="No space left on device|disk is full"):  # whoever needs the next block first
        restart(folder)
    os.unlink(mounted.path + "/ballast")
    with running(folder, "store.min_free=1") as server:
        assert server.newest("xandros").endswith(message(1, large=True))
        assert send(server, message(2, large=False))[0] == 250


def test_no_inodes(mounted, running):
    """Files can't be made, rows can: large mail is refused, small mail goes on."""
    with running(mounted.path + "/data", "store.min_free=1") as server:
        os.mkdir(mounted.path + "/inodes")
        with pytest.raises(OSError):
            for number in range(100000):
                os.close(os.open(mounted.path + "/inodes/%d" % number, os.O_CREAT | os.O_WRONLY))
        assert send(server, LARGE)[0] == 452
        assert append(server, LARGE)[0] == "NO"
        assert send(server, message(1, large=False))[0] == 250
        for number in range(10):
            os.unlink(mounted.path + "/inodes/%d" % number)
        assert send(server, LARGE)[0] == 250
        assert fetch_subjects(server) == [b"number 1", b"large"]
