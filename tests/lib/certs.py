# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A certificate authority for tests, by the openssl command, and the TLSA records of what it signs."""
import hashlib
import os
import pathlib
import ssl
import subprocess


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, input=stdin, timeout=60).stdout


NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


class Certificate:
    def __init__(self, chain, key):
        self.chain, self.key = pathlib.Path(chain), pathlib.Path(key)

    def context(self):
        """For a server in Python."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def tlsa(self, usage=3, selector=1, matching=1):
        """RFC 6698 2.1: the record data, "3 1 1 <hex>". Usage 2 stands for the last certificate of the chain."""
        blocks = self.chain.read_text().split("-----BEGIN CERTIFICATE-----")[1:]
        pem = ("-----BEGIN CERTIFICATE-----" + blocks[-1 if usage == 2 else 0]).encode()
        if selector == 1:
            key = openssl("x509", "-noout", "-pubkey", stdin=pem)
            data = openssl("pkey", "-pubin", "-outform", "DER", stdin=key)
        else:
            data = openssl("x509", "-outform", "DER", stdin=pem)
        data = {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}[matching]
        return "%d %d %d %s" % (usage, selector, matching, data.hex())


class Authority:
    def __init__(self, folder, name="Test CA"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.count = 0
        self.file, self.key = self.folder / "ca.pem", self.folder / "ca-key.pem"
        openssl(*NEW, "-keyout", self.key, "-out", self.file, "-subj", "/CN=" + name,
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def certificate(self, *names, days=30):
        """For these names (IP:... as openssl writes them), its chain with the authority behind."""
        self.count += 1
        chain, key = self.folder / ("cert%d.pem" % self.count), self.folder / ("key%d.pem" % self.count)
        request = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                          "-subj", "/CN=" + names[0])
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=" + ",".join(n if ":" in n else "DNS:" + n for n in names) + "\n")
        openssl_days = ["-days", str(days)]
        signed = openssl("x509", "-req", "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", *openssl_days,
                         "-extfile", extensions, stdin=request)
        chain.write_bytes(signed + self.file.read_bytes())
        os.chmod(key, 0o640)
        return Certificate(chain, key)
