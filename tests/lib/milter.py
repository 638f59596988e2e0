# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A milter for tests, by the protocol itself (libmilter's mfdef.h): it does what it is told, also what no milter should.

    with Milter("unix:/tmp/x/one") as m:       # or "inet" (a free port of 127.0.0.1)
        m.on["R"] = [reply("550 5.7.1 No")]    # packets that answer a command; default: continue
        m.misbehave = ("E", "hang")            # see spoil()
"""
import os
import select
import socket
import struct
import threading

CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD, PROGRESS, SKIP, SHUTDOWN = b"c", b"a", b"r", b"t", b"d", b"p", b"s", b"4"
ALL_ACTIONS = 0x1ff
MUTE = {"C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000, "L": 0x80, "N": 0x40000, "B": 0x80000}


def text(*words):
    return b"".join(w.encode() + b"\0" for w in words)


def reply(words):
    return b"y" + text(words)


def add(name, value):
    return b"h" + text(name, value)


def insert(index, name, value):
    return b"i" + struct.pack(">I", index) + text(name, value)


def change(index, name, value):
    return b"m" + struct.pack(">I", index) + text(name, value)


def body(data):
    return b"b" + data


def quarantine(why):
    return b"q" + text(why)


def rcpt_add(address, *args):
    return (b"2" if args else b"+") + text("<%s>" % address, *args)


def rcpt_delete(address):
    return b"-" + text("<%s>" % address)


def sender(address):
    return b"e" + text("<%s>" % address)


class Session:
    """What one connection has heard: .heard = [("M", [b"<a@b>"]), ...], .macros, .header, .body."""

    def __init__(self):
        self.heard, self.macros, self.header, self.body = [], {}, [], b""

    def letters(self):
        return "".join(letter for letter, _ in self.heard)


class Milter:
    def __init__(self, where="inet", actions=ALL_ACTIONS, steps=0, version=6):
        self.actions, self.steps, self.version = actions, steps, version
        self.on, self.misbehave = {}, None
        self.sessions = []
        self.lock = threading.Lock()
        if where == "inet":
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.endpoint = "inet:127.0.0.1:%d" % self.listener.getsockname()[1]
        else:
            path = where.partition(":")[2]
            if os.path.exists(path):
                os.unlink(path)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            os.chmod(path, 0o666)
            self.listener.listen()
            self.endpoint = where
        self.stopped = socket.socketpair()
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends all of its connections at once."""
        self.stopped[1].close()
        for thread in list(self.threads):
            thread.join(30)
            assert not thread.is_alive()
        self.listener.close()

    def accept(self):
        while self.listener in select.select([self.listener, self.stopped[0]], [], [])[0]:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                continue
            thread = threading.Thread(target=self.serve, args=(conn,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def idle(self, conn):
        """Until something comes. False: the end."""
        return self.stopped[0] not in select.select([conn, self.stopped[0]], [], [])[0]

    def read(self, conn, n):
        data = b""
        while len(data) < n:
            if not self.idle(conn):
                return None
            more = conn.recv(n - len(data))
            if not more:
                return None
            data += more
        return data

    def serve(self, conn):
        session = Session()
        with self.lock:
            self.sessions.append(session)
        with conn:
            try:
                while True:
                    length = self.read(conn, 4)
                    packet = length and self.read(conn, struct.unpack(">I", length)[0])
                    if not packet or not self.answer(conn, session, chr(packet[0]), packet[1:]):
                        return
            except OSError:
                return

    def note(self, session, letter, data):
        words = data.split(b"\0")[:-1]
        with self.lock:
            if letter == "D":
                pairs = data[1:].split(b"\0")[:-1]
                session.macros.update(zip((w.decode() for w in pairs[::2]), (w.decode() for w in pairs[1::2])))
                return
            session.heard.append((letter, words))
            if letter == "M":
                session.header, session.body = [], b""
            elif letter == "L":
                session.header.append(tuple(w.decode(errors="replace") for w in words[:2]))
            elif letter == "B":
                session.body += data

    def answer(self, conn, session, letter, data):
        self.note(session, letter, data)
        if self.misbehave and letter == self.misbehave[0]:
            return self.spoil(conn, self.misbehave[1])
        if letter in "DA":
            return True
        if letter == "Q":
            return False
        if letter == "O":
            packets = [b"O" + struct.pack(">III", self.version, self.actions, self.steps)]
        elif self.steps & MUTE.get(letter, 0):
            return True
        else:
            packets = self.on.get(letter, [CONTINUE])
            if callable(packets):
                packets = packets(session)
        conn.sendall(b"".join(struct.pack(">I", len(p)) + p for p in packets))
        return True

    def spoil(self, conn, how):
        if how == "garbage":
            conn.sendall(b"220 mx.example.com ESMTP at your service\r\n" * 20)
        elif how == "huge":
            conn.sendall(b"\x7f\xff\xff\xff" + b"c" * 1000)
        elif how == "empty":
            conn.sendall(b"\0\0\0\0")
        elif how == "half":  # changes, and then nothing more
            for p in (add("X-Half", "yes"), body(b"spoilt\r\n")):
                conn.sendall(struct.pack(">I", len(p)) + p)
        elif how == "unknown":
            conn.sendall(b"\0\0\0\1Z")
        elif how == "cut":  # a packet that never ends
            conn.sendall(b"\0\0\1\0y550")
        if how in ("hang", "half", "cut"):
            while self.idle(conn) and conn.recv(65536):
                pass
        return False  # close
