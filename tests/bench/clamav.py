# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Reloads of signatures under load (see clamav.sh). Exit 1 if mail was lost, passed unscanned, or, without --concurrent, the peak
of memory was 1.15 times that of one engine or more."""
import argparse
import pathlib
import re
import smtplib
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from conftest import FAST, Server, wait_for  # noqa: E402
from test_clamav import EICAR, XANDROS, attached, database, folder_of, synthetic  # noqa: E402

SENDERS = 4
RATIO = 1.15
LOADED = "signatures of"


def resident(pid):
    try:
        return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path("/proc/%d/status" % pid).read_text())[1]) * 1024
    except (FileNotFoundError, ProcessLookupError, TypeError):  # it has just ended
        return 0


def children(pid):
    found = []
    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
        try:
            found += [int(n) for n in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def memory(server):
    """Of the server, and of the scanners if they are processes of their own: children of one that it has forked."""
    return server.rss() + sum(resident(pid) for child in children(server.pid) for pid in children(child))


class Traffic:
    """Every fourth message is infected."""

    def __init__(self, server):
        self.server, self.over, self.peak = server, threading.Event(), 0
        self.clean, self.refused, self.held, self.deferred, self.slowest = [], [], [], [], 0
        self.threads = [threading.Thread(target=self.watch)] + [threading.Thread(target=self.send, args=(n,)) for n in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def watch(self):
        while not self.over.is_set():
            self.peak = max(self.peak, memory(self.server))
            time.sleep(0.005)

    def send(self, who):
        with smtplib.SMTP("127.0.0.1", self.server.ports["smtp"], timeout=300) as client:
            client.ehlo("client.example")
            n = 0
            while not self.over.is_set():
                n += 1
                name, bad = "message-%d-%d" % (who, n), n % 4 == 0
                began = time.monotonic()
                client.mail("a@example.org")
                client.rcpt(XANDROS)
                head = b"Message-ID: <%s@x>\r\n" % name.encode() + (b"X-Bad: yes\r\n" if bad else b"")
                code, words = client.data(head + attached(EICAR if bad else b"fine" * 500))
                self.slowest = max(self.slowest, time.monotonic() - began)
                {554: self.refused, 250: self.held if bad else self.clean}.get(code, self.deferred).append(name)
                if code not in (250, 554):
                    client.rset()
                time.sleep(0.01)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--signatures", type=int, default=1_000_000)
    p.add_argument("--reloads", type=int, default=3)
    p.add_argument("--concurrent", action="store_true")
    p.add_argument("--isolation", default="thread", choices=("thread", "process"))
    p.add_argument("--wait", default="10s")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        signatures = database(pathlib.Path(folder) / "signatures")
        synthetic(signatures, o.signatures, 0)
        server = Server(settings=FAST + ("clamav.database=%s" % signatures, "clamav.check=500ms", "clamav.wait=" + o.wait,
                                         "clamav.concurrent_reload=" + ("yes" if o.concurrent else "no"), "limits.mode=off",
                                         "clamav.isolation=" + o.isolation,
                                         "filters.hold_count=100000"))
        try:
            return measure(o, server, signatures)
        finally:
            server.stop()


def measure(o, server, signatures):
    wait_for(lambda: LOADED in server.log(), "the first load", 600)
    time.sleep(1)
    one = memory(server)
    traffic = Traffic(server)
    try:
        for seed in range(1, o.reloads + 1):
            before = server.log().count(LOADED)
            synthetic(signatures, o.signatures, seed)
            wait_for(lambda: server.log().count(LOADED) > before, "reload %d" % seed, 600)
            time.sleep(2)
    finally:
        traffic.stop()
    wait_for(lambda: server.log().count("held_judged") == server.log().count(" module=smtp event=held "), "held mail is judged", 300)
    box = folder_of(server)
    names = sorted(re.search(r"Message-ID: <(\S+)@x>", text)[1] for text in box)
    passed = sum("X-Bad" in text for text in box + folder_of(server, "Junk"))
    lost = len(set(traffic.clean) - set(names))
    print("%d signatures in a %s, %d reloads: one engine %d MB, peak %d MB, ratio %.3f; longest wait of a client %.1f s" % (
        o.signatures, o.isolation, o.reloads, one >> 20, traffic.peak >> 20, traffic.peak / one, traffic.slowest))
    print("clean %d, lost %d; infected: refused %d, held and found %d, passed %d; asked to come again %d" % (
        len(traffic.clean), lost, len(traffic.refused), len(traffic.held), passed, len(traffic.deferred)))
    return int(bool(lost or passed or (not o.concurrent and traffic.peak >= RATIO * one)))


if __name__ == "__main__":
    sys.exit(main())
