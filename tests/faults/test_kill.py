# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""kill -9 under load, again and again: nothing acknowledged is lost, nothing is there twice, no uid gets another meaning.

A kill alone doesn't lose what the kernel has, flushed or not: it tests order and atomicity, test_powercut.py tests
durability. So the control here is not a server without fsync but a mailbox that something was done to behind the ledger's
back: the audit must say so.
"""
import collections
import random
import signal
import subprocess
import time

from audit import Audit
from traffic import BINARY, Ledger, Traffic, folder, message, ok, restart, wait_for  # noqa: F401 (fixtures)

ROUNDS = 8
SEED = 20260


def die_at_start(folder, rng):
    """Killed while it starts and recovers what the last kill left."""
    process = subprocess.Popen([BINARY, "dev", "--port-base", "0", "--json", "--data", str(folder)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.uniform(0, 0.08))
    process.kill()
    process.wait()


def enough(done):
    return done["messages"] > 100 and min(done[k] for k in ("APPEND", "COPY", "MOVE")) > 1


def test_kill(folder, restart):
    rng, ledger, audit, done = random.Random(SEED), Ledger(), Audit(), collections.Counter()
    for number in range(ROUNDS):
        server = restart(folder)
        traffic = Traffic(server, ledger, rng.randrange(1 << 30))
        # A load that hardly ran would prove nothing.
        wait_for(lambda: enough(ledger.acknowledged()), "load")
        time.sleep(rng.uniform(0, 0.9))
        assert server.alive(), server.log()[-2000:]
        server.stop(signal.SIGKILL)
        traffic.wait()
        done += ledger.acknowledged()
        for _ in range(number % 3):
            die_at_start(folder, rng)
        server = restart(folder)
        problems = audit.round(server, ledger)
        server.stop(rng.choice((signal.SIGKILL, signal.SIGTERM)))
        assert not problems, "round %d: %s" % (number, "\n".join(problems[:20]))
    assert done["messages"] > 100 * ROUNDS and min(done[k] for k in ("APPEND", "COPY", "MOVE")) > ROUNDS, done
    assert any(len(message(n)) > 32768 for n in audit.boxes["xandros", "INBOX"].numbers.values())


def test_control(folder, restart):
    """The audit reports a lost message, a doubled one, other text under a uid, and an acknowledgement out of nothing."""
    ledger, audit = Ledger(), Audit()
    server = restart(folder)
    traffic = Traffic(server, ledger, SEED)
    wait_for(lambda: len(ledger.accepted) >= 50, "some load")
    traffic.stop()
    assert audit.round(server, ledger) == []
    uids = sorted(audit.boxes["xandros", "INBOX"].numbers)
    lost, doubled = (audit.boxes["xandros", "INBOX"].numbers[u] for u in uids[:2])
    with server.imap("xandros") as client:
        ok(client.select("INBOX"))
        ok(client.uid("STORE", str(uids[0]), "+FLAGS", "(\\Deleted)"))
        ok(client.expunge())
        ok(client.uid("COPY", str(uids[1]), "INBOX"))
    ledger.sent[999999], ledger.sent[999998] = ("karl",), ("karl", "vivita")
    ledger.accepted.add(999999)
    other = ("karl", "INBOX", max(audit.boxes["karl", "INBOX"].numbers))
    audit.history[other] = 999997
    del audit.sound[other]
    with server.imap("karl") as client:
        ok(client.append("INBOX", "", None, message(999998)))
        ok(client.append("INBOX", "", None, message(999996) + b"more"))
    found = "\n".join(audit.round(server, ledger))
    server.stop()
    for words in ("xandros/INBOX: number %d was acknowledged and is lost" % lost,
                  "xandros/INBOX: number %d is there 2 times, not 1" % doubled,
                  "karl/INBOX: number 999999 was acknowledged and is lost",
                  "number 999998 reached some of its recipients only: ['karl']",
                  "was number 999997, is number",
                  "the text of number 999996 is not what was sent"):
        assert words in found, "missing: %s\n%s" % (words, found)
