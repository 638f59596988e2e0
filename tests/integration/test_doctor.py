# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse doctor` beside a server and without one: what it finds, and that it finds what is wrong."""
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys

import pytest
from conftest import BINARY, ROOT, WAIT, posthouse

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import dns  # noqa: E402
from test_serve import Appliance  # noqa: E402


@pytest.fixture
def serve():
    a = Appliance()
    yield a
    a.stop()


class Findings:
    def __init__(self, *options):
        done = subprocess.run([BINARY, "doctor", "--json", *map(str, options)], capture_output=True, text=True, timeout=4 * WAIT)
        assert done.stdout, done.stderr
        self.code, self.all = done.returncode, json.loads(done.stdout)
        assert all(f["mark"] in ("ok", "warn", "bad") and f["says"] for f in self.all)
        assert (self.code == 1) == any(f["mark"] == "bad" for f in self.all)

    def of(self, check, says=""):
        """Marks of the findings of a check that say this."""
        return [f["mark"] for f in self.all if f["check"] == check and says in f["says"]]


def test_a_good_one(serve):
    serve.start()
    serve.seed()
    f = Findings("--config", serve.path, "--no-dns")
    assert f.of("tls", "another") == ["ok"] and f.of("accounts", "1 users, 1 can log in") == ["ok"]
    assert f.of("relay") == ["ok"] and f.of("listeners", "5 listeners") == ["ok"] and f.of("database") == ["ok"]
    assert "ok" in f.of("disk", "free") + f.of("disk", "memory") and f.of("clock") and f.of("memory") and not f.of("domains")
    text = subprocess.run([BINARY, "doctor", "--config", serve.path, "--no-dns"], capture_output=True, text=True, timeout=WAIT).stdout
    assert len(text.splitlines()) == len(f.all) and "ok    accounts   1 users" in text
    # and without the server
    os.kill(serve.pid, signal.SIGTERM)
    assert serve.wait_end() == 0
    again = Findings("--config", serve.path, "--no-dns")
    assert [x["check"] for x in again.all] == [x["check"] for x in f.all]
    assert Findings("--data", serve.data).of("configuration") == ["warn"]


def test_what_is_wrong(serve):
    serve.start("relay { enabled = yes }\nsmtp { sender_check = no }\ndirectory { upgrade_hashes = no }\n")
    serve.seed()
    for user, stored in (("ben", "{PLAIN}x"), ("cat", "{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw="), ("dan", "{NOPE}x")):
        assert serve.command("user", "add", user + "@example.com", stdin="x\n").code == 0
        if user != "dan":
            assert serve.command("password", "import", user + "@example.com", stdin=stored + "\n").code == 0
    # what it wouldn't start with, but may be told before it is started again
    serve.listeners["smtp"]["proxy_from"] = "0.0.0.0/0"
    serve.write("relay {\n enabled = yes\n trusted_networks = 0.0.0.0/0\n}\nguard { trusted = 0.0.0.0/0 }\nsmtp { sender_check = no }\n"
                "directory { upgrade_hashes = no }\n")
    f = Findings("--config", serve.path, "--no-dns")
    assert f.of("relay", "an open relay") == ["bad"] and f.of("relay", "no limit and no ban") == ["bad"]
    assert f.of("relay", "in the name of all others") == ["warn"] and f.of("listeners", "that it is anybody") == ["bad"]
    assert f.of("accounts", "2 of 4 users who can log in have no SCRAM verifier") == ["warn"]
    assert f.of("accounts", "stored as plain") == ["warn"] and f.of("accounts", "stored as sha") == ["warn"]
    assert f.code == 1


def test_usage():
    assert posthouse("doctor", "--help").code == 0
    assert posthouse("doctor", "--nonsense").code == 2
    assert posthouse("doctor", "--config", "/nonexistent").code == 1


@pytest.mark.skipif(bool(dns.missing()), reason="no name server: " + str(dns.missing()))
def test_dns(serve, folder):
    with dns.Server(folder) as names:
        names.zone("com", "mail.example A 127.0.0.1\n"
                          "example MX 10 mail.example\n"
                          'example TXT "v=spf1 mx -all"\n'
                          '_dmarc.example TXT "v=DMARC1; p=none"\n'
                          "elsewhere MX 10 mx.elsewhere\n"
                          "mx.elsewhere A 127.0.0.9\n"
                          'elsewhere TXT "v=spf1 bogus:x -all"\n')
        names.zone("0.0.127.in-addr.arpa", "1 PTR other.example.org.\n")
        names.start()
        lines = [s.split("=", 1) for s in names.settings()]
        assert all(k.startswith("dns.") for k, _ in lines)
        os.chmod(folder, 0o755)
        serve.start("dns {\n" + "".join(" %s = { %s }\n" % (k[4:], v) if "," in v else " %s = %s\n" % (k[4:], v) for k, v in lines) + "}\n")
        serve.seed()
        assert serve.command("domain", "add", "elsewhere.com").code == 0
        assert serve.command("dkim", "create", "example.com").code == 0
        f = Findings("--config", serve.path)
        assert f.of("names", "doesn't lead back") == ["bad"], f.all
        assert f.of("domains", "example.com: MX leads here") == ["ok"], f.all
        assert f.of("domains", "example.com: SPF record") == ["ok"] and f.of("domains", "example.com: DMARC record") == ["ok"]
        assert set(f.of("domains", "there is no record of our key")) & {"warn", "bad"}
        assert f.of("domains", "elsewhere.com: MX leads to mx.elsewhere.com, not here") == ["bad"]
        assert f.of("domains", "elsewhere.com: SPF record with an error") == ["bad"]
        assert f.of("domains", "elsewhere.com: 0 DMARC records") == ["warn"]
        assert f.of("domains", "elsewhere.com: mail isn't signed") == ["warn"]


def test_room_for_what_is_kept(serve):
    """A quarantine that is nearly full is told before mail is deferred."""
    serve.start("filters { quarantine_count = 5 }\n")
    serve.seed()
    assert Findings("--config", serve.path, "--no-dns").of("kept", "there is room") == ["ok"]
    with serve.smtp() as client:
        client.sendmail("a@example.org", ["ann@example.com"], "Subject: x\r\n\r\nx\r\n")
    db = sqlite3.connect(serve.data / "store.db", timeout=WAIT)
    with db:
        body, = db.execute("SELECT MIN(id) FROM body").fetchone()
        db.execute("UPDATE body SET refs = refs + 5 WHERE id = ?", (body,))
        for ident in range(1000, 1005):
            db.execute("INSERT INTO queue(id, body, held, since, until, next_try, sender, stage, reason, info) VALUES "
                       "(?, ?, 2, 0, ?, 0, ?, 'clamav', ?, ?)", (ident, body, 1 << 50, b"a@example.org", b"", b""))
    db.close()
    f = Findings("--config", serve.path, "--no-dns")
    assert f.of("kept", "5 messages are in quarantine: 100 % of filters.quarantine_count") == ["warn"] and not f.of("kept", "held")
