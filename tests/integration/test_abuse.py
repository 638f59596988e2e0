# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Clients that mean harm or are broken: the server lives, serves others, and gives everything back.

Every kind of abuse is made twice at least. The first round may warm up caches and allocators; a later one must not make
the process larger, and in the end no descriptor is left over.
"""
import contextlib
import os
import random
import resource
import select
import socket
import ssl
import struct
import time

import pytest
from conftest import SANITIZED, WAIT, Server, ok, wait_for

PORTS = ("smtp", "submission", "submissions", "imap", "imaps")
TLS_PORTS = ("submissions", "imaps")
GROWTH = 1 << 20  # bytes a round may add
ROUNDS = 5
WORK = 5  # seconds of processor time that are too much: of the server's, so that a busy machine doesn't count


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard == resource.RLIM_INFINITY else max(soft, min(hard, 65536)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def server(many_descriptors):
    s = Server("--log-level", "warn")
    serves(s)
    s.first_descriptors = settled(s.descriptors)
    yield s
    s.stop()


def serves(server):
    """A letter can be sent and read."""
    with server.smtp("submission", "xandros") as client:
        client.sendmail("xandros@example.com", "karl@example.com", "From: xandros@example.com\r\nSubject: still here\r\n\r\nx\r\n")
    with server.imap("karl") as client:
        n = int(ok(client.select("INBOX"))[0])
        assert b"still here" in ok(client.fetch(str(n), "(BODY[])"))[0][1]
        ok(client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(client.expunge())


@pytest.fixture
def twice(server):
    """twice(abuse): abuse(round), memory and descriptors looked at, until a round has added nothing; two at least.

    How much memory an allocator keeps depends on how many clients happened to be there at once; what leaks grows with
    every round.
    """
    def run(abuse):
        serves(server)
        idle, sizes = settled(lambda: sockets(server)), []
        for round in range(ROUNDS):
            abuse(round)
            wait_for(lambda: sockets(server) <= idle, "descriptors are given back")
            serves(server)
            assert server.alive()
            sizes.append(server.rss())
            if round and (sizes[-1] - sizes[-2] < GROWTH or SANITIZED):
                return
        pytest.fail("every round adds memory: %s KB" % [size >> 10 for size in sizes])
    return run


def sockets(server):
    """Files of the database are opened whenever a thread first needs them: test_everything_is_given_back counts them."""
    folder, found = "/proc/%d/fd" % server.pid, 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(os.path.join(folder, name)).startswith("socket:")
    return found


def settled(count):
    """The number of descriptors once those of earlier tests are closed: it stays the same for a while."""
    history = []

    def still():
        history.append(count())
        return len(history) > 10 and len(set(history[-10:])) == 1
    wait_for(still, "descriptors come to rest")
    return history[-1]


def reset(s):
    """Closes by RST: the server reads an error, and no port of ours waits."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def tls(server, name):
    return server.tls.wrap_socket(server.connect(name), server_hostname="localhost")


def plain_or_tls(server, name):
    return tls(server, name) if name in TLS_PORTS else server.connect(name)


def pour(s, data):
    """Sends as much as the server takes; a server that hangs up is right."""
    try:
        s.sendall(data)
        return True
    except OSError:
        return False


def until_closed(s, seconds=WAIT):
    """Reads until the server hangs up. False: it did not."""
    s.settimeout(seconds)
    try:
        while s.recv(65536):
            pass
        return True
    except (socket.timeout, TimeoutError):
        return False
    except OSError:
        return True


# ---- bytes that make no sense
def test_random_bytes(server, twice):
    def abuse(round):
        rng = random.Random(round)
        for name in PORTS:
            for i in range(25):
                s = plain_or_tls(server, name) if i % 2 else server.connect(name)
                pour(s, rng.randbytes(rng.choice((1, 10, 1000, 20_000))))
                if i % 5 == 0:
                    pour(s, b"\r\n" + rng.randbytes(500) + b"\r\n")
                reset(s) if i % 3 else s.close()
    twice(abuse)


WORDS = [b"EHLO", b"HELO", b"MAIL FROM:<", b"RCPT TO:<", b"DATA\r\n", b"BDAT ", b"RSET", b"AUTH PLAIN ", b"STARTTLS\r\n", b"NOOP",
         b"a LOGIN ", b"a SELECT ", b"a FETCH 1:* (", b"a APPEND ", b"a UID ", b"BODY[", b"{10}\r\n", b"{4294967295}\r\n", b"{99+}\r\n",
         b"a SEARCH ", b"a LIST \"\" ", b"a IDLE\r\n", b"DONE", b"a AUTHENTICATE PLAIN\r\n", b"(", b")", b"\"", b"\\", b"<", b">", b"@",
         b" ", b" ", b"*", b"%", b"\r\n", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"1", b"18446744073709551616", b"=", b".\r\n", b"x" * 300]


def test_words_in_no_order(server, twice):
    """Nearly right input reaches further than noise."""
    def abuse(round):
        rng = random.Random(100 + round)
        for name in PORTS:
            for _ in range(30):
                s = plain_or_tls(server, name)
                if "imap" in name and name in TLS_PORTS and rng.random() < 0.7:
                    pour(s, b"l LOGIN xandros@example.com xandros-pass\r\ns SELECT INBOX\r\n")
                elif name == "smtp":
                    pour(s, b"EHLO x\r\nMAIL FROM:<a@example.org>\r\n")
                pour(s, b"".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 200))))
                reset(s) if rng.random() < 0.5 else s.close()
    twice(abuse)


HALVES = {"smtp": (b"E", b"EHLO", b"EHLO x\r\nMAIL FR", b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\nDATA\r\nSub",
                   b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\nBDAT 100000\r\nabc",
                   b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\nDATA\r\n" + b"x" * 200_000,
                   b"EHLO x\r\nSTARTTLS\r\n", b"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01"),
          "submissions": (b"EHLO x\r\nAUTH PLAIN\r\n", b"EHLO x\r\nAUTH LOGIN\r\nYQ==\r\n", b"EHLO x\r\nAUTH PLAIN AGth"),
          "imap": (b"a", b"a LOGI", b"a STARTTLS\r\n", b"a STARTTLS\r\n\x16\x03\x01\x02"),
          "imaps": (b"a LOGIN {5}\r\nkar", b"a AUTHENTICATE PLAIN\r\n", b"a LOGIN karl@example.com karl-pass\r\nb SELECT INBOX\r\nc FET",
                    b"a LOGIN karl@example.com karl-pass\r\nb APPEND INBOX {100000+}\r\nSubject: h",
                    b"a LOGIN karl@example.com karl-pass\r\nb SELECT INBOX\r\nc IDLE\r\n",
                    b"a LOGIN karl@example.com karl-pass\r\nb SELECT INBOX\r\nc FETCH 1:* (BODY[])\r\n")}


def test_half_commands(server, twice):
    def abuse(round):
        for name, halves in HALVES.items():
            for half in halves * 4:
                s = plain_or_tls(server, name)
                pour(s, half)
                reset(s) if round else s.close()
    twice(abuse)


# ---- connections
def burst(server, name, n, first=None):
    """n connections at once, not one byte read; closed in all manners."""
    poll, open_ones = select.poll(), {}
    address = ("127.0.0.1", server.ports[name])
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(address)
        open_ones[s.fileno()] = s
        poll.register(s, select.POLLOUT)
    deadline, connected = time.monotonic() + WAIT, []
    while open_ones and time.monotonic() < deadline:
        for fd, _ in poll.poll(1000):
            s = open_ones.pop(fd)
            poll.unregister(fd)
            connected.append(s)
            if first:
                with contextlib.suppress(OSError):
                    s.send(first)
    assert not open_ones, "%d of %d never connected" % (len(open_ones), n)
    for i, s in enumerate(connected):
        reset(s) if i % 2 else s.close()


def test_ten_thousand_connections(server, twice):
    def abuse(_):
        for batch in range(10):
            for name in PORTS:
                burst(server, name, 100, (None, b"EHLO x\r\n", b"\x16\x03\x01\x00")[batch % 3])
    twice(abuse)  # 5000 each: not 0.2 KB may stay of one


def test_a_thousand_idle_connections(server, twice):
    def abuse(_):
        idle = [server.connect(PORTS[i % 5]) for i in range(1000)]
        try:
            started = processor(server)
            serves(server)
            assert processor(server) - started < WORK
            wait_for(lambda: server.descriptors() >= 1000, "all of them are accepted")
        finally:
            for s in idle:
                s.close()
    twice(abuse)


def test_a_thousand_idle_sessions(server, twice):
    """All logged in, within IDLE, told of the same letter."""
    def abuse(round):
        clients = []
        try:
            for _ in range(250):
                s = tls(server, "imaps")
                s.sendall(b"a LOGIN vivita@example.com vivita-pass\r\nb SELECT INBOX\r\nc IDLE\r\n")
                clients.append(s)
            for s in clients:
                data = b""
                while b"\r\n+ " not in data:
                    more = s.recv(65536)
                    assert more, data
                    data += more
            with server.smtp() as client:
                client.sendmail("a@example.org", "vivita@example.com", "Subject: to all\r\n\r\nx\r\n")
            for s in clients:
                data = b""
                while b" EXISTS\r\n" not in data:
                    more = s.recv(65536)
                    assert more, data
                    data += more
            serves(server)
        finally:
            for i, s in enumerate(clients):
                reset(s) if i % 2 else s.close()
    twice(abuse)


def test_slow_clients(server, twice):
    """A byte now and then from many at once costs the others nothing, and is understood."""
    def abuse(_):
        text = {"smtp": b"EHLO slow\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\nQUIT\r\n",
                "imap": b"a CAPABILITY\r\nb NOOP\r\nc LOGOUT\r\n"}
        clients = [(server.connect(name), text[name]) for name in text for _ in range(50)]
        for i in range(max(map(len, text.values()))):
            for s, t in clients:
                if i < len(t):
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    s.send(t[i:i + 1])
        for s, t in clients:
            s.settimeout(WAIT)
            data = b""
            while more := s.recv(65536):
                data += more
            assert b"\r\n221 " in data or b"\r\nc OK" in data, data
            s.close()
    twice(abuse)


def test_readers_that_do_not_read(server, twice):
    """Replies that nobody takes are bounded, and hold nobody else."""
    with server.imap("vivita") as client:
        ok(client.append("Archive", None, None, b"Subject: bulk\r\n\r\n" + b"x" * 70 * 20_000))

    def abuse(_):
        stuck = []
        for _ in range(10):
            s = tls(server, "imaps")
            s.sendall(b"a LOGIN vivita@example.com vivita-pass\r\nb SELECT Archive\r\n" + b"c FETCH 1:* (BODY.PEEK[])\r\n" * 50)
            stuck.append(s)
        for _ in range(10):
            s = server.connect("smtp")
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError, OSError):
                for _ in range(200):
                    s.send(b"EHLO flood\r\n" * 1000)
            stuck.append(s)
        try:
            serves(server)
            assert server.rss() < 100 << 20 or SANITIZED
        finally:
            for s in stuck:
                reset(s)
    twice(abuse)


# ---- TLS
def test_tls_garbage(server, twice):
    def hello(context):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
        return outgoing.read()

    def abuse(round):
        rng = random.Random(round)
        client_hello = hello(server.tls)
        for name in TLS_PORTS:
            for i in range(60):
                damaged = bytearray(client_hello)
                for _ in range(1 + i % 5):
                    damaged[rng.randrange(len(damaged))] = rng.randrange(256)
                s = server.connect(name)
                pour(s, bytes(damaged[:rng.randrange(1, len(damaged))] if i % 2 else damaged))
                if i % 3 == 0:
                    pour(s, b"\x17\x03\x03\xff\xff" + rng.randbytes(2000))
                if i % 7 == 0:
                    pour(s, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                reset(s) if i % 2 else s.close()
        for name in TLS_PORTS:  # a good session that goes on with garbage instead of a record
            s = tls(server, name)
            raw = socket.socket(fileno=s.detach())
            pour(raw, rng.randbytes(5000))
            assert until_closed(raw)
            raw.close()
    twice(abuse)


# ---- without end
def test_lines_without_end(server, twice):
    def abuse(_):
        for name in PORTS:
            s = plain_or_tls(server, name)
            s.settimeout(10)
            for _ in range(100):  # up to 10 MB
                if not pour(s, b"A" * 100_000):
                    break
            serves(server)
            reset(s)
    twice(abuse)


def test_commands_without_end(server, twice):
    """As many of the same as the wire takes: ended, or answered at the server's own pace."""
    def abuse(_):
        for name, line in (("smtp", b"NONSENSE\r\n"), ("smtp", b"RSET\r\n"), ("smtp", b"\r\n"), ("imap", b"a NONSENSE\r\n"),
                           ("imap", b"\r\n"), ("imap", b"a NOOP\r\n")):
            s = server.connect(name)
            s.setblocking(False)
            sent, deadline = 0, time.monotonic() + 0.5
            with contextlib.suppress(OSError):
                while time.monotonic() < deadline:
                    if select.select([s], [s], [], 0.1)[1]:
                        with contextlib.suppress(BlockingIOError):
                            sent += s.send(line * 1000)
                    with contextlib.suppress(BlockingIOError):
                        if s.recv(65536) == b"":
                            break
            serves(server)
            reset(s)
    twice(abuse)


def test_literals_without_end(server, twice):
    def abuse(_):
        for start in (b"a LOGIN {999999999999}\r\n", b"a LOGIN {99999999+}\r\n", b"a LOGIN {18446744073709551617}\r\n", b"a LOGIN {-1}\r\n",
                      b"l LOGIN karl@example.com karl-pass\r\na APPEND INBOX {99999999999}\r\n",
                      b"l LOGIN karl@example.com karl-pass\r\na APPEND INBOX {2000000000+}\r\n",
                      b"l LOGIN karl@example.com karl-pass\r\na SELECT {100000000+}\r\n",
                      b"l LOGIN karl@example.com karl-pass\r\ns SELECT INBOX\r\na SEARCH " + b"(" * 10_000,
                      b"l LOGIN karl@example.com karl-pass\r\ns SELECT INBOX\r\na SEARCH " + b"NOT " * 10_000 + b"ALL\r\n",
                      b"l LOGIN karl@example.com karl-pass\r\ns SELECT INBOX\r\na FETCH " + b"1," * 50_000 + b"1 (UID)\r\n"):
            s = tls(server, "imaps")
            s.settimeout(10)
            pour(s, start)
            for _ in range(50):
                if not pour(s, b"z" * 100_000):
                    break
            serves(server)
            reset(s)
    twice(abuse)


def test_messages_without_end(server, twice):
    """Sent until the limit refuses them; nothing stays, neither in memory nor on disk."""
    def abuse(_):
        clients = []
        for kind in (b"DATA\r\n", b"BDAT 2000000000\r\n", b"BDAT 99999999999999999999\r\n"):
            s = server.connect("smtp")
            pour(s, b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\n" + kind)
            for _ in range(150):  # 60 MB, the limit is 50
                if not pour(s, b"Subject: x\r\n" + (b"y" * 76 + b"\r\n") * 5000):
                    break
            clients.append(s)
        serves(server)
        for s in clients:
            reset(s)
    twice(abuse)
    assert server.command_line("mailbox", "check").code == 0


def test_headers_without_measure(server, twice):
    """Messages made to cost a parser much: they are taken or refused, within a moment."""
    bombs = [b"To: " + b"a@b.example, " * 50_000 + b"z@b.example\r\n\r\nx\r\n",
             b"".join(b"X-%d: y\r\n" % i for i in range(50_000)) + b"\r\nx\r\n",
             b"Subject: " + b"=?utf-8?q?x?= " * 20_000 + b"\r\n\r\nx\r\n",
             b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(5000)),
             b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 100_000,
             b"Content-Type: text/plain" + b"".join(b"; p*%d*=%%41" % i for i in range(20_000)) + b"\r\n\r\nx\r\n",
             b"From: " + b"(" * 50_000 + b"\r\n\r\nx\r\n", b"Date: " + b"9" * 100_000 + b"\r\n\r\nx\r\n"]

    def abuse(_):
        for bomb in bombs:
            started = processor(server)
            with server.smtp() as client:
                client.mail("a@example.org")
                client.rcpt("karl@example.com")
                code, _ = client.data(bomb)
                assert code in (250, 552, 554), bomb[:40]
            with server.imap("karl") as client:
                n = int(ok(client.select("INBOX"))[0])
                if n:
                    client.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
                    client.search(None, "TO", "nobody", "HEADER", "X-49999", "y")
                    ok(client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)"))
                    ok(client.expunge())
            assert processor(server) - started < WORK, bomb[:40]
    twice(abuse)


def test_out_of_descriptors(start):
    """The limit is reached: those who are connected go on, the others wait, the processor rests."""
    s = start()
    s.trouble_expected = True  # it may say so
    with s.imap("karl") as client:
        ok(client.select("INBOX"))
        hard = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (s.descriptors() + 50, hard))
        others = [s.connect(PORTS[i % 5]) for i in range(200)]
        wait_for(lambda: "accept_pauses" in s.log(), "the limit is reached")  # some are left for files
        assert s.descriptors() < resource.prlimit(s.pid, resource.RLIMIT_NOFILE)[0]
        before = processor(s)
        time.sleep(1)  # a period to measure, nothing is waited for
        assert processor(s) - before < 0.5
        ok(client.noop())
        for c in others:
            reset(c)
    serves(s)


def processor(server):
    """Seconds of processor time used so far."""
    words = server.proc("stat").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_server_rests(server):
    """Once it has done what there was to do."""
    serves(server)

    def rests():
        before = processor(server)
        time.sleep(0.5)
        return processor(server) - before < 0.1
    wait_for(rests, "half a second in which it does nothing")


def test_everything_is_given_back(server):
    wait_for(lambda: server.descriptors() <= server.first_descriptors + 6, "descriptors are given back")  # threads open their databases when first needed
    c = server.command_line("mailbox", "check", "--json")
    assert c.code == 0, c.out
