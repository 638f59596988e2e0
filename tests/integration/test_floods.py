# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Floods, while a client like any other sends and reads: it must work, and how long it takes is printed (pytest -s).

Attackers and the client are addresses of 127.0.0.0/8 in networks of their own; no network is trusted. Each flood lasts a few
seconds and ends by itself.
"""
import contextlib
import imaplib
import json
import os
import multiprocessing
import random
import resource
import select
import smtplib
import socket
import ssl
import statistics
import tempfile
import time

import pytest
from conftest import FAST, WAIT, Server, ok, posthouse, wait_for

CLIENT = "127.200.0.7"
SECONDS = 4
SETTINGS = FAST + ("guard.trusted=", "guard.login_delay=10ms", "guard.login_delay_max=20ms", "guard.connections=600",
                   "guard.address_connections=50", "guard.network_connections=100")
LETTER = "From: xandros@example.com\r\nSubject: flood\r\n\r\n%s\r\n"


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard == resource.RLIM_INFINITY else max(soft, min(hard, 65536)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(many_descriptors):
    s = Server("--log-level", "warn", settings=SETTINGS)
    yield s
    s.stop()


def attacker(i):
    """One address in each of many networks."""
    return "127.%d.%d.%d" % (1 + i % 100, i // 100 % 250, 1 + i % 250)


class Imap(imaplib.IMAP4_SSL):
    def _create_socket(self, timeout):
        raw = socket.create_connection((self.host, self.port), WAIT, source_address=(CLIENT, 0))
        return self.ssl_context.wrap_socket(raw, server_hostname="localhost")


def one_letter(server):
    """Seconds to log in and send a letter, and to log in and read it."""
    mark, started = "%x" % random.getrandbits(64), time.monotonic()
    raw = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=WAIT, source_address=(CLIENT, 0))
    with raw as client:
        client._host = "localhost"  # the name in the certificate
        client.starttls(context=server.tls)
        client.login("xandros@example.com", server.passwords["xandros@example.com"])
        client.sendmail("xandros@example.com", "karl@example.com", LETTER % mark)
    sent = time.monotonic()
    client = Imap("127.0.0.1", server.ports["imaps"], ssl_context=server.tls)
    client.login("karl@example.com", server.passwords["karl@example.com"])
    n = int(ok(client.select("INBOX"))[0])
    assert mark.encode() in ok(client.fetch(str(n), "(BODY[])"))[0][1]
    client.logout()
    return sent - started, time.monotonic() - sent


def show(what, times):
    for name, values in zip(("send", "read"), zip(*times)):
        print("%-28s %s: median %4.0f ms, slowest %4.0f ms of %d" %
              (what, name, statistics.median(values) * 1000, max(values) * 1000, len(values)))


def while_flooded(server, what, flood, processes=2):
    """Runs flood(ports, seconds, number of the process) beside a client; what the processes counted, added up."""
    show("(%s) before" % what, [one_letter(server) for _ in range(3)])
    queue = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=lambda i=i: queue.put(flood(server.ports, SECONDS, i)), daemon=True)
               for i in range(processes)]
    for w in workers:
        w.start()
    times, deadline = [], time.monotonic() + SECONDS
    time.sleep(0.3)
    try:
        while not times or time.monotonic() < deadline:
            times.append(one_letter(server))
            time.sleep(0.05)  # no client is so fast that `limits` minds
        counts = [queue.get(timeout=3 * WAIT) for _ in workers]
    finally:
        for w in workers:
            w.join(5)
            w.kill()
    show("(%s) while it lasts" % what, times)
    total = {key: sum(c[key] for c in counts) for key in counts[0]}
    print("(%s) %s" % (what, ", ".join("%d %s" % (n, key) for key, n in total.items())))
    assert times and server.alive()
    return total


# ---- what the attackers do
def connections(ports, seconds, number):
    """One address opens as many as it can, on all ports, and leaves most of them open."""
    deadline, held, refused, opened = time.monotonic() + seconds, [], 0, 0
    names = list(ports.values())
    while time.monotonic() < deadline:
        s = socket.socket()
        s.bind(("127.66.0.%d" % (1 + number), 0))
        s.settimeout(5)
        try:
            s.connect(("127.0.0.1", names[opened % len(names)]))
        except OSError:
            refused += 1
        opened += 1
        held.append(s)
        if len(held) > 400:
            held.pop(0).close()
    return {"connections": opened, "failed": refused}


def spread(ports, seconds, number):
    """Each connection comes from another network; nothing is said."""
    deadline, held, opened = time.monotonic() + seconds, [], 0
    while time.monotonic() < deadline:
        s = socket.socket()
        with contextlib.suppress(OSError):
            s.bind((attacker(2 * opened + number), 0))
            s.settimeout(5)
            s.connect(("127.0.0.1", ports["smtp" if opened % 2 else "imap"]))
        opened += 1
        held.append(s)
        if len(held) > 2000:
            held.pop(0).close()
    return {"connections": opened}


def slow(ports, seconds, number):
    """Slow-loris: a byte now and then on each of many connections, and new ones for those that are closed."""
    deadline, sent, reopened, socks = time.monotonic() + seconds, 0, 0, []
    rng = random.Random(number)
    while time.monotonic() < deadline:
        while len(socks) < 200:
            s = socket.socket()
            s.bind((attacker(rng.randrange(60)), 0))
            try:
                s.settimeout(5)
                s.connect(("127.0.0.1", ports[rng.choice(("smtp", "submission", "imap"))]))
            except OSError:
                s.close()
                break
            s.setblocking(False)
            reopened += 1
            socks.append(s)
        for s in list(socks):
            try:
                if not select.select([s], [], [], 0)[0] or s.recv(4096):
                    s.send(b"E")
                    sent += 1
                    continue
            except OSError:
                pass
            socks.remove(s)
            s.close()
        time.sleep(0.1)
    return {"bytes": sent, "connections": reopened}


def logins(ports, seconds, number):
    """Guesses passwords of the client's accounts, from one address, at least until it is turned away, and from many."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline, tried, turned_away, i = time.monotonic() + seconds, 0, 0, 0
    while time.monotonic() < deadline or (number == 0 and not turned_away and time.monotonic() < deadline + 2 * WAIT):
        i += 1
        source = "127.66.1.1" if number == 0 else attacker(i % 40)
        try:
            raw = socket.create_connection(("127.0.0.1", ports["imaps"]), WAIT, source_address=(source, 0))
            with context.wrap_socket(raw) as s:
                s.recv(4096)
                for k in range(5):
                    s.sendall(b"a%d LOGIN %s guess%d\r\n" % (k, (b"karl@example.com", b"xandros@example.com")[k % 2], i))
                    if not s.recv(4096):
                        break
                    tried += 1
        except TimeoutError:  # it has much to do
            pass
        except OSError:
            turned_away += 1
            time.sleep(0.002)
    return {"guesses": tried, "connections turned away": turned_away}


# ---- the tests
def test_connection_flood(server):
    total = while_flooded(server, "one address connects", connections)
    assert total["connections"] > 200


def test_spread_connection_flood(server):
    total = while_flooded(server, "all networks connect", spread)
    assert total["connections"] > 200


def test_slow_loris(server):
    total = while_flooded(server, "slow-loris", slow)
    assert total["bytes"] > 200


def test_login_flood(server):
    total = while_flooded(server, "login flood", logins)
    assert total["connections turned away"] > 0
    bans = posthouse("ban", "list", "--json", data=server.data).json
    assert "127.66.1.1" in [b["client"] for b in bans]
    assert CLIENT not in [b["client"] for b in bans]
    assert {b["by"] for b in bans} == {"guard"} and {b["reason"] for b in bans} == {"failed logins"}


def test_a_ban_ends_sessions_before_their_login(server):
    def waiting(name):
        s = socket.create_connection(("127.0.0.1", server.ports[name]), WAIT, source_address=("127.66.2.2", 0))
        s.recv(4096)
        return s
    sockets = [waiting("imap"), waiting("smtp")]
    started = time.monotonic()
    assert posthouse("ban", "add", "127.66.2.0/24", "--for=1h", "--reason=for a test", data=server.data).code == 0
    texts = [s.recv(4096) for s in sockets]
    print("ended after %.0f ms" % ((time.monotonic() - started) * 1000))
    assert texts[0].startswith(b"* BYE ") and texts[1].startswith(b"421 4.7.0 ")
    assert all(s.recv(4096) == b"" for s in sockets)
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), WAIT, source_address=("127.66.2.9", 0)) as s:
        assert s.recv(4096).startswith(b"421 4.7.0 127.66.2.9 is blocked for another 60 minutes")
    one_letter(server)
    assert posthouse("ban", "remove", "127.66.2.0/24", data=server.data).code == 0
    waiting("imap").close()


def test_bans_outlive_the_server():
    with tempfile.TemporaryDirectory(prefix="posthouse-test-") as folder:
        first = Server("--log-level", "warn", settings=SETTINGS, data=folder)
        assert posthouse("ban", "add", "127.66.3.3", data=folder).code == 0
        first.stop()
        rows = json.loads(posthouse("ban", "list", "--json", data=folder).out)
        assert [r["client"] for r in rows] == ["127.66.3.3"]
        second = Server("--log-level", "warn", settings=SETTINGS, data=folder)
        with socket.create_connection(("127.0.0.1", second.ports["imap"]), WAIT, source_address=("127.66.3.3", 0)) as s:
            assert s.recv(4096) == b"* BYE 127.66.3.3 is blocked here\r\n"
        second.stop()


def sockets(server):
    """Files of the database are opened whenever a worker first needs them."""
    folder, found = "/proc/%d/fd" % server.pid, 0
    for name in os.listdir(folder):
        try:
            found += os.readlink(os.path.join(folder, name)).startswith("socket:")
        except FileNotFoundError:
            pass
    return found


def test_counts_come_back(start):
    """What was counted for connections that are gone is given back: the limit of one address is there again."""
    server = start("--log-level", "warn", settings=SETTINGS + ("limits.mode=off",))
    idle = sockets(server)
    for _ in range(5):
        socks = []
        for _ in range(50):
            s = socket.create_connection(("127.0.0.1", server.ports["smtp"]), WAIT, source_address=("127.66.4.4", 0))
            socks.append(s)
        assert all(s.recv(4096).startswith(b"220 ") for s in socks)
        over = socket.create_connection(("127.0.0.1", server.ports["smtp"]), WAIT, source_address=("127.66.4.4", 0))
        assert over.recv(4096).startswith(b"421 4.7.0 Too many connections")
        for s in socks + [over]:
            s.close()
        wait_for(lambda: sockets(server) <= idle, "descriptors are given back")
