# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Load with a memory: SMTP and IMAP clients that write down what they asked for and what was acknowledged.

Every message has a number, and its text follows from the number, so that what is read back can be compared octet by octet.
A worker ends when the server goes away; what it had asked for and got no answer to may have happened or not.
"""
import collections
import contextlib
import imaplib
import itertools
import pathlib
import random
import re
import socket
import sys
import threading

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "integration"), str(TESTS / "lib")]
from conftest import BINARY, Server, fetch, folder, ok, wait_for  # noqa: E402,F401 (handed on to the tests)

USERS = ("xandros", "vivita", "karl")
# Most mail has one recipient; some has two or three.
RECIPIENTS = [(USERS[0],), (USERS[1],), (USERS[2],), (USERS[0],), (USERS[1],), (USERS[2],), USERS[:2], USERS[1:], USERS]
LARGE_EVERY = 23  # text over 32 KB goes into a file of its own
GONE = (OSError, EOFError)


def make_text():
    rng = random.Random(1)
    letters = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz0123456789 +/", k=76 * 9000))
    return b"".join(letters[i:i + 76] + b"\r\n" for i in range(0, len(letters), 76))


TEXT = make_text()
LINE = 78


def message(number, large=None):
    rng = random.Random(number)
    if large if large is not None else number % LARGE_EVERY == 5:
        lines = rng.randint(500, 4000)
    else:
        lines = rng.randint(1, 100)
    start = rng.randrange(len(TEXT) // LINE - lines) * LINE
    head = "From: sender@example.org\r\nSubject: number %d\r\nMessage-ID: <%d@faults.example.org>\r\n\r\n" % (number, number)
    return head.encode() + TEXT[start:start + lines * LINE]


class Ledger:
    """Facts of one round. Lists only grow, each append is one fact: safe from several threads."""

    def __init__(self, first=1):
        self.numbers = itertools.count(first)
        self.begin_round()

    def begin_round(self):
        self.sent = {}        # number -> recipients, before the last octet leaves
        self.accepted = set() # numbers answered with 250
        self.appends = []     # [number, account, mailbox, None or (uidvalidity, uid)]
        self.transfers = []   # [kind, account, source, {uid: number}, target, None or (uidvalidity, {uid: uid})]
        self.expunges = []    # [account, mailbox, {uid: number}, acknowledged]
        self.flagged = []     # (account, mailbox, uids) acknowledged
        self.refused = []     # answers that are neither success nor the server's end

    def acknowledged(self):
        """How many of each kind."""
        return collections.Counter(["messages"] * len(self.accepted) + ["APPEND" for a in self.appends if a[3]]
                                   + [t[0] for t in self.transfers if t[5]] + ["EXPUNGE" for e in self.expunges if e[3]])


# ---- SMTP
class Smtp:
    """A socket that pipelines: commands go out in one write, replies are counted."""

    def __init__(self, server):
        self.sock = server.connect("smtp")
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.sock.makefile("rb")
        self.reply()
        self.sock.sendall(b"EHLO client.example.org\r\n")
        self.reply()

    def reply(self):
        while True:
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return line.decode().rstrip()

    def close(self):
        self.stream.close()
        self.sock.close()


def envelope(recipients):
    return b"MAIL FROM:<sender@example.org>\r\n" + b"".join(b"RCPT TO:<%s@example.com>\r\n" % r.encode() for r in recipients)


class Sender(threading.Thread):
    """`window` messages are under way at once, so that an end finds some in every state."""

    def __init__(self, server, ledger, window, stop):
        super().__init__(daemon=True)
        self.server, self.ledger, self.window, self.halt = server, ledger, window, stop

    def run(self):
        with contextlib.suppress(*GONE):
            client = Smtp(self.server)
            with contextlib.closing(client):
                self.bdat(client) if self.window > 1 else self.data(client)

    def begin(self):
        number = next(self.ledger.numbers)
        self.ledger.sent[number] = RECIPIENTS[number % len(RECIPIENTS)]
        return number, self.ledger.sent[number]

    def promised(self, number, replies):
        """Who was refused in the answer to RCPT isn't a recipient. replies: to MAIL, each RCPT, ..."""
        self.ledger.sent[number] = tuple(r for r, a in zip(self.ledger.sent[number], replies[1:]) if a.startswith("250"))

    def answered(self, number, replies):
        if replies[-1].startswith("250"):
            self.ledger.accepted.add(number)
        else:
            self.ledger.refused.append((number, replies))

    def bdat(self, client):
        waiting = []
        while not self.halt.is_set() or waiting:
            while len(waiting) < self.window and not self.halt.is_set():
                number, recipients = self.begin()
                text = message(number)
                waiting.append((number, len(recipients) + 2))
                client.sock.sendall(envelope(recipients) + b"BDAT %d LAST\r\n" % len(text) + text)
            if waiting:
                number, count = waiting.pop(0)
                replies = [client.reply() for _ in range(count)]
                self.promised(number, replies)
                self.answered(number, replies)

    def data(self, client):
        """The next envelope and DATA leave together with the end of the message before."""
        number, recipients = self.begin()
        client.sock.sendall(envelope(recipients) + b"DATA\r\n")
        while number:
            replies = [client.reply() for _ in range(len(recipients) + 2)]
            self.promised(number, replies)
            if not replies[-1].startswith("354"):
                self.ledger.refused.append((number, replies))
                return
            last, out = number, message(number) + b".\r\n"
            number = 0
            if not self.halt.is_set():
                number, recipients = self.begin()
                out += envelope(recipients) + b"DATA\r\n"
            client.sock.sendall(out)
            self.answered(last, [client.reply()])


# ---- IMAP
def numbers_of(client, uids="1:*"):
    """{uid: number} of the selected mailbox, by the subject."""
    found = {}
    kind, data = client.uid("FETCH", uids, "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    if kind != "OK":
        raise imaplib.IMAP4.error("FETCH: %s" % data)
    for part in data:
        if isinstance(part, tuple):
            number = re.search(rb"number (\d+)", part[1])
            assert number, part
            found[int(re.search(rb"UID (\d+)", part[0])[1])] = int(number[1])
    return found


def expand(text):
    out = []
    for part in text.split(","):
        a, _, b = part.partition(":")
        out += range(int(a), int(b or a) + 1)
    return out


def copyuid(text):
    """(uidvalidity, {uid: new uid}) of a COPYUID code (RFC 4315 3)."""
    m = re.search(r"(\d+) ([\d:,]+) ([\d:,]+)", text)
    return int(m[1]), dict(zip(expand(m[2]), expand(m[3])))


class ImapWorker(threading.Thread):
    def __init__(self, server, ledger, user, seed, stop):
        super().__init__(daemon=True)
        self.server, self.ledger, self.user, self.halt = server, ledger, user, stop
        self.rng = random.Random(seed)

    def run(self):
        try:
            client = self.server.imap(self.user)
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # APPEND's last CRLF would wait 40 ms
            try:
                while not self.halt.is_set():
                    self.step(client)
            finally:
                client.shutdown()
        except (*GONE, imaplib.IMAP4.abort):
            pass
        except imaplib.IMAP4.error as e:  # NO and BAD are of interest, the end of the connection isn't
            self.ledger.refused.append((self.user, str(e)))

    def refused(self, *what):
        """Ends it: at most the last thing that was asked for is without an answer of success."""
        raise imaplib.IMAP4.error(" ".join(map(str, what)))


class Appender(ImapWorker):
    def step(self, client):
        number = next(self.ledger.numbers)
        fact = [number, self.user, self.rng.choice(("INBOX", "Drafts")), None]
        self.ledger.appends.append(fact)
        kind, data = client.append(fact[2], "", None, message(number))
        uid = re.search(rb"\[APPENDUID (\d+) (\d+)\]", data[0])
        if kind == "OK":
            fact[3] = (int(uid[1]), int(uid[2]))
        else:
            self.refused("APPEND", data)


class Mover(ImapWorker):
    """Copies, moves, flags and expunges what it finds in the account, as a busy client would."""
    source = None

    def step(self, client):
        if self.source is None or self.rng.random() < 0.3:
            self.source = self.rng.choice(("INBOX", "INBOX", "Archive", "Trash"))
            status, data = client.select(self.source)
            if status != "OK":
                self.refused("SELECT", data)
            self.known = numbers_of(client)
        else:
            first = max(self.known, default=0) + 1
            self.known.update((u, n) for u, n in numbers_of(client, "%d:*" % first).items() if u >= first)
        if not self.known:
            self.source = None
            return
        uids = sorted(self.rng.sample(sorted(self.known), min(len(self.known), self.rng.randint(1, 40))))
        work = self.rng.choice((self.transfer, self.transfer, self.expunge if self.source == "Trash" else self.transfer, self.flag,
                                self.scratch))
        work(client, uids, ",".join(map(str, uids)))

    def transfer(self, client, uids, text):
        # Only out of INBOX is copied: otherwise the mailboxes would grow without end.
        kind = "COPY" if self.source == "INBOX" and len(uids) < 15 else "MOVE"
        target = self.rng.choice([m for m in ("Archive", "Trash", "INBOX") if m != self.source])
        fact = [kind, self.user, self.source, {u: self.known[u] for u in uids}, target, None]
        self.ledger.transfers.append(fact)
        client.untagged_responses.pop("COPYUID", None)
        status, data = client.uid(kind, text, target)
        if status != "OK":
            self.refused(kind, data)
        code = client.response("COPYUID")[1][-1]
        fact[5] = copyuid((code or data[-1]).decode())
        if kind == "MOVE":
            for u in uids:
                del self.known[u]

    def flag(self, client, uids, text):
        status, data = client.uid("STORE", text, "+FLAGS.SILENT", "(\\Flagged)")
        if status != "OK":
            self.refused("STORE", data)
        self.ledger.flagged.append((self.user, self.source, uids))

    def scratch(self, client, uids, text):
        """A mailbox that comes and goes: its rows, and bodies that were only in it, are swept soon after."""
        status, data = client.create("Scratch")
        if status != "OK" and b"ALREADYEXISTS" not in data[0]:  # there when the last one was cut off before its DELETE
            self.refused("CREATE", data)
        for status, data in (client.uid("COPY", text, "Scratch"), client.delete("Scratch")):
            if status != "OK":
                self.refused("scratch", data)

    def expunge(self, client, uids, text):
        status, data = client.uid("STORE", text, "+FLAGS.SILENT", "(\\Deleted)")
        if status != "OK":
            self.refused("STORE", data)
        fact = [self.user, self.source, {u: self.known[u] for u in uids}, False]
        self.ledger.expunges.append(fact)
        status, data = client.uid("EXPUNGE", text)
        if status != "OK":
            self.refused("EXPUNGE", data)
        fact[3] = True
        for u in uids:
            del self.known[u]


class Traffic:
    """All workers at once, against one running server. No account has two movers: what one knows to be there would be gone."""

    def __init__(self, server, ledger, seed, mover="vivita"):
        self.halt = threading.Event()
        self.workers = [Sender(server, ledger, window, self.halt) for window in (1, 1, 4, 8)]
        self.workers += [Appender(server, ledger, "karl", seed, self.halt), Mover(server, ledger, mover, seed + 1, self.halt)]
        for w in self.workers:
            w.start()

    def wait(self):
        """After the server has gone."""
        for w in self.workers:
            w.join(120)  # longer than a client waits for one answer
            assert not w.is_alive(), "a client hangs although the server has gone"

    def stop(self):
        self.halt.set()
        self.wait()


@pytest.fixture
def restart():
    """restart(folder, settings...) -> Server. None outlives the test, however that ends: its disk goes away."""
    started = []

    def begin(folder, *settings, **more):
        # What nobody needs is swept at once: the sweeper works under the same load.
        started.append(Server(data=folder, settings=("store.dead_grace=0s", *settings), **more))
        return started[-1]

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait()
