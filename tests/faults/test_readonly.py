# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The file system meets an error and makes itself read-only (ext4, errors=remount-ro): nothing is acknowledged any more,
what is there can be read, and a start on such a disk says why it fails."""
import os
import pathlib
import signal
import smtplib
import socket
import subprocess

import pytest
from audit import Audit
from traffic import Ledger, Traffic, fetch, message, ok, restart, wait_for  # noqa: F401 (fixture)
from disk import NoDisk, disk, sh


@pytest.fixture
def mounted():
    try:
        with disk(256) as d:
            sh("mount", "-o", "remount,errors=remount-ro", d.path)
            if not trigger(d).exists():
                pytest.skip("this kernel makes no error of ext4 on demand")
            yield d
    except NoDisk as e:
        pytest.skip("no disk to make read-only: %s" % e)


def mount_line(mounted):
    """Device and options."""
    line = next(line.split() for line in open("/proc/mounts") if line.split()[1] == mounted.path)
    return line[0], line[3].split(",")


def trigger(mounted):
    return pathlib.Path("/sys/fs/ext4", os.path.basename(mount_line(mounted)[0]), "trigger_fs_error")


def break_disk(mounted):
    trigger(mounted).write_text("test")
    wait_for(lambda: {"ro", "emergency_ro"} & set(mount_line(mounted)[1]), "a read-only disk")


def repair(mounted):
    mounted.unmount()
    assert subprocess.run(["e2fsck", "-fy", mounted.image], stdout=subprocess.DEVNULL).returncode <= 1  # 1: errors corrected
    mounted.mount_again()


def reply(server, text):
    with server.smtp() as client:
        try:
            client.sendmail("sender@example.org", ["xandros@example.com"], text)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
            return e.smtp_code
    return 250


def test_under_load(mounted, restart):
    folder, ledger, audit = mounted.path + "/data", Ledger(), Audit()
    server = restart(folder)
    server.trouble_expected = True
    traffic = Traffic(server, ledger, 5)
    wait_for(lambda: len(ledger.accepted) > 200, "some load")
    assert not ledger.refused  # the control: before, all was taken
    break_disk(mounted)
    wait_for(lambda: "read-only" in server.log() or not any(w.is_alive() for w in traffic.workers), "a refusal")
    accepted = len(ledger.accepted)
    for large in (False, True):
        assert 400 <= reply(server, message(1, large)) < 500
    with server.imap() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert int(ok(client.select("INBOX"))[0]) > 0
        assert b"\r\nSubject: number " in fetch(client, 1)
        assert client.append("INBOX", "", None, message(2, large=False))[0] == "NO"
        assert client.store("1", "+FLAGS", "(\\Flagged)")[0] == "NO"
        assert client.copy("1", "Archive")[0] == "NO"
    wait_for(lambda: ledger.refused, "a client that is told so")
    assert len(ledger.accepted) <= accepted + 16  # replies that were on their way
    server.stop(signal.SIGKILL)
    traffic.wait()
    ledger.refused.clear()

    with pytest.raises(pytest.fail.Exception, match="[Rr]ead-only"):
        restart(folder)
    repair(mounted)
    server = restart(folder)
    problems = audit.round(server, ledger)
    assert not problems, "\n".join(problems[:20])
    assert reply(server, message(3, large=True)) == 250
    server.stop()
