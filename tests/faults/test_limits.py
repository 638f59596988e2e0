# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Out of descriptors, out of memory: whoever is served goes on being served, nothing that was acknowledged is lost."""
import contextlib
import os
import resource
import select
import signal
import smtplib
import socket
import time

import pytest
from audit import Audit
from traffic import Ledger, Traffic, folder, message, ok, restart, wait_for  # noqa: F401 (fixtures)
from conftest import SANITIZED

MEMORY = "/sys/fs/cgroup/memory"
MB = 1 << 20


# ---- descriptors
def greeted(sock, seconds):
    return bool(select.select([sock], [], [], seconds)[0]) and sock.recv(4) == b"220 "


def reply(client, text):
    try:
        client.sendmail("sender@example.org", ["xandros@example.com"], text)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
        return e.smtp_code
    return 250


def cpu_seconds(server):
    return sum(map(int, server.proc("stat").rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def test_descriptors(folder, restart):
    """Accepting pauses; the clients that are in go on; it resumes by itself when others leave."""
    server = restart(folder)
    server.trouble_expected = True
    with server.smtp() as client, server.imap() as reader, contextlib.ExitStack() as flood:
        ok(reader.select("INBOX"))
        assert reply(client, message(1, large=True)) == 250  # what is opened once is open
        limit = server.descriptors() + 20
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        socks = [flood.enter_context(server.connect("smtp")) for _ in range(40)]
        wait_for(lambda: "accept_pauses" in server.log(), "a pause")
        served = [s for s in socks if greeted(s, 0.3)]
        assert 5 < len(served) < 30  # the control: the limit does bite
        assert server.descriptors() <= limit
        assert reply(client, message(2, large=False)) == 250
        assert reply(client, message(3, large=True)) in (250, 451, 452)  # its text wants a file of its own
        ok(reader.noop())
        assert b"Subject: number 1\r\n" in ok(reader.fetch("1", "(BODY.PEEK[HEADER])"))[0][1]
        before = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - before < 0.5, "it spins while it can't accept"
        for s in served:
            s.close()
        waiting = [s for s in socks if s.fileno() >= 0]
        assert greeted(waiting[0], 60), "accepting did not resume"
    wait_for(lambda: server.descriptors() < limit - 10, "descriptors given back")
    with server.smtp() as client:
        assert reply(client, message(4, large=True)) == 250
    assert server.newest("xandros").endswith(message(4, large=True))
    assert server.command_line("mailbox", "check").code == 0
    server.stop()


# ---- memory
class Memory:
    """A cgroup (v1) whose members may use so much memory and no more."""

    def __init__(self):
        self.path = "%s/posthouse-test-%d" % (MEMORY, os.getpid())
        try:
            os.mkdir(self.path)
            open(self.path + "/memory.limit_in_bytes").close()
        except OSError as e:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
            pytest.skip("no memory to limit: %s" % e)

    def limit(self, octets):
        self.write("memory.limit_in_bytes", octets)

    def squeeze(self):
        """Less and less, down to what can't be taken back: whoever wants more then is killed."""
        with open(self.path + "/memory.usage_in_bytes") as f:
            size = int(f.read())
        with contextlib.suppress(OSError):
            while size > 0:
                size -= MB // 4
                self.limit(max(size, 0))

    def take(self, pid):
        self.write("cgroup.procs", pid)

    def write(self, name, value):
        with open("%s/%s" % (self.path, name), "w") as f:
            f.write(str(value))

    def remove(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                return os.rmdir(self.path)
            time.sleep(0.05)


@pytest.fixture
def memory():
    if SANITIZED:
        pytest.skip("a sanitizer takes memory of its own")
    m = Memory()
    yield m
    m.remove()


def test_memory_enough(folder, restart, memory):
    """64 MB hold a load with large messages from many clients at once: what one client sends is not kept in memory."""
    server, ledger, audit = restart(folder), Ledger(), Audit()
    memory.limit(64 * MB)
    memory.take(server.pid)
    traffic = Traffic(server, ledger, 11)
    huge = b"Subject: huge\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 400000  # 28 MB, five times: more than all there is
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.smtp()) for _ in range(5)]
        for c in clients:
            assert c.mail("sender@example.org")[0] == c.rcpt("capture@example.com")[0] == 250
            assert c.docmd("DATA")[0] == 354
        for at in range(0, len(huge), MB):
            for c in clients:
                c.sock.sendall(huge[at:at + MB])
        for c in clients:
            c.sock.sendall(b".\r\n")
        assert [c.getreply()[0] for c in clients] == [250] * len(clients)
    wait_for(lambda: len(ledger.accepted) > 100, "other mail beside it")
    traffic.stop()
    assert server.alive()
    problems = audit.round(server, ledger)
    assert not problems, "\n".join(problems[:20])
    assert server.count("capture") == len(clients)
    server.stop()


def test_memory_ends(folder, restart, memory):
    """The kernel ends it for want of memory, which is a kill -9: nothing acknowledged is lost."""
    ledger, audit = Ledger(), Audit()
    for _ in range(2):
        server = restart(folder)
        memory.limit(256 * MB)
        memory.take(server.pid)
        traffic = Traffic(server, ledger, 12)
        wait_for(lambda: len(ledger.accepted) > 100, "some load")
        memory.write("memory.swappiness", 0)
        wait_for(lambda: not server.alive() or memory.squeeze(), "the end")
        assert server.process.returncode == -signal.SIGKILL
        traffic.wait()
        ledger.refused.clear()
        memory.limit(256 * MB)
        server.stop(signal.SIGKILL)
        server = restart(folder)
        problems = audit.round(server, ledger)
        server.stop()
        assert not problems, "\n".join(problems[:20])
