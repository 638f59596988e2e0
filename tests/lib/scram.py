# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The client's side of SCRAM-SHA-256 and -PLUS (RFC 5802, 7677), and how it goes over SMTP and IMAP."""
import base64
import hashlib
import hmac
import os


class Refused(Exception):
    """The server said no (or worse): its words."""


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def b64(data):
    return base64.b64encode(data).decode()


class Client:
    """flag: "n", "y", or "p=tls-server-end-point" with the channel's bytes; sent_channel: what is said to be bound instead."""

    def __init__(self, user, password, flag="n", channel=b"", authzid=""):
        self.password, self.channel = password, channel
        self.header = "%s,%s," % (flag, "a=" + authzid if authzid else "")
        self.bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), b64(os.urandom(18)))
        self.salt = self.rounds = None

    def first(self):
        return (self.header + self.bare).encode()

    def last(self, server_first):
        said = server_first.decode()
        parts = dict(p.split("=", 1) for p in said.split(","))
        assert parts["r"].startswith(self.bare.rpartition("r=")[2]) and len(parts["r"]) > 24
        self.salt, self.rounds = base64.b64decode(parts["s"]), int(parts["i"])
        assert self.rounds >= 4096
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.salt, self.rounds)
        without = "c=%s,r=%s" % (b64(self.header.encode() + self.channel), parts["r"])
        auth = ",".join((self.bare, said, without)).encode()
        key = mac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), auth)))
        self.server = mac(mac(salted, b"Server Key"), auth)
        return (without + ",p=" + b64(proof)).encode()

    def check(self, server_last):
        assert server_last == b"v=" + b64(self.server).encode(), "the server doesn't know the password"

    def steps(self):
        """What is sent, one after the other; is sent what the server says."""
        said = yield self.first()
        said = yield self.last(said)
        self.check(said)
        yield b""


def end_point(tls):
    """RFC 5929 4, for a certificate signed with SHA-256."""
    return hashlib.sha256(tls.getpeercert(binary_form=True)).digest()


def smtp(client, mechanism, exchange, initial=True):
    """With an smtplib client after EHLO. What the server says last, of which the code is 235."""
    steps = exchange.steps()
    first = next(steps)
    if initial:
        code, text = client.docmd("AUTH", mechanism + " " + b64(first))
    else:
        code, text = client.docmd("AUTH", mechanism)
        assert (code, text) == (334, b"")
        code, text = client.docmd(b64(first))
    while code == 334:
        code, text = client.docmd(b64(steps.send(base64.b64decode(text))))
    if code != 235:
        raise Refused("%d %s" % (code, text.decode()))
    return text


def imap(client, mechanism, exchange):
    """With an imaplib client."""
    steps, state = exchange.steps(), []

    def answer(said):
        state.append(said)
        return next(steps) if len(state) == 1 else steps.send(said)

    try:
        return client.authenticate(mechanism, answer)
    except client.error as e:
        raise Refused(str(e)) from None
