# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The server's side of SASL PLAIN, LOGIN and SCRAM-SHA-256 (RFC 4616, 5802, 7677) as generators: each yields what it says and is
sent what the client answered (bytes; the initial response or b""); returns the user's name, or raises Refused."""
import base64
import hashlib
import hmac
import os

ROUNDS = 4096


class Refused(Exception):
    pass


def check(users, user, password):
    if users.get(user) != password:
        raise Refused
    return user


def plain(users, initial):
    text = initial if initial is not None else (yield b"")
    parts = text.split(b"\0")
    if len(parts) != 3:
        raise Refused
    return check(users, parts[1].decode(), parts[2].decode())


def login(users, initial):
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return check(users, user.decode(), password.decode())


def attributes(text):
    return dict(part.split("=", 1) for part in text.split(","))


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def scram_sha_256(users, initial):
    text = (initial if initial is not None else (yield b"")).decode()
    flag, _, rest = text.partition(",")
    name, _, bare = rest.partition(",")
    if flag not in ("n", "y") or name:
        raise Refused
    first = attributes(bare)
    user = first["n"].replace("=2C", ",").replace("=3D", "=")
    if user not in users:
        raise Refused
    salt, nonce = os.urandom(16), first["r"] + base64.b64encode(os.urandom(18)).decode()
    server_first = "r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt).decode(), ROUNDS)
    final = (yield server_first.encode()).decode()
    last = attributes(final)
    if last["r"] != nonce or base64.b64decode(last["c"]).decode() != flag + ",,":
        raise Refused
    salted = hashlib.pbkdf2_hmac("sha256", users[user].encode(), salt, ROUNDS)
    client_key = mac(salted, b"Client Key")
    said = ",".join((bare, server_first, final.rpartition(",p=")[0])).encode()
    signature = mac(hashlib.sha256(client_key).digest(), said)
    if bytes(a ^ b for a, b in zip(signature, base64.b64decode(last["p"]))) != client_key:
        raise Refused
    proof = base64.b64encode(mac(mac(salted, b"Server Key"), said))
    if (yield b"v=" + proof):
        raise Refused
    return user


MECHANISMS = {"PLAIN": plain, "LOGIN": login, "SCRAM-SHA-256": scram_sha_256}
