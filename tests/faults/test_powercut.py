# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The power fails under load: what was acknowledged is on the disk, what was not flushed is gone (EXT4_IOC_SHUTDOWN).

The control is the same server told not to flush (store.sync=off): it must lose acknowledged mail, or the cut cuts nothing.
"""
import imaplib
import random
import signal
import time

import pytest
from audit import Audit
from traffic import Ledger, Traffic, message, restart, wait_for  # noqa: F401 (fixture)
from disk import NoDisk, disk

ROUNDS = 5
CONTROL_ROUNDS = 5
SEED = 20261


@pytest.fixture
def mounted():
    try:
        with disk(1024) as d:
            yield d
    except NoDisk as e:
        pytest.skip("no disk to cut the power of: %s" % e)


def load_and_cut(mounted, restart, ledger, rng, *settings):
    folder = mounted.path + "/data"
    server = restart(folder, *settings)
    mounted.sync()  # what is lost is lost from the load, not from the start
    server.trouble_expected = True  # its disk may have failed
    traffic = Traffic(server, ledger, rng.randrange(1 << 30))
    wait_for(lambda: len(ledger.accepted) > 100, "load")
    time.sleep(rng.uniform(0, 0.9))
    mounted.cut(server.pid)
    server.stop(signal.SIGKILL)
    traffic.wait()
    ledger.refused.clear()  # the disk was gone: 4xx and NO are right
    mounted.power_on()
    return folder


def test_power_cut(mounted, restart):
    rng, ledger, audit, accepted = random.Random(SEED), Ledger(), Audit(), 0
    for number in range(ROUNDS):
        folder = load_and_cut(mounted, restart, ledger, rng)
        accepted += len(ledger.accepted)
        server = restart(folder)
        problems = audit.round(server, ledger)
        server.stop(signal.SIGKILL)
        assert not problems, "round %d: %s" % (number, "\n".join(problems[:20]))
    assert accepted > 100 * ROUNDS, accepted
    assert sum(len(message(n)) > 32768 for n in audit.boxes["xandros", "INBOX"].numbers.values()) > ROUNDS


def test_control_without_flush(mounted, restart):
    rng, ledger, audit = random.Random(SEED), Ledger(), Audit()
    for _ in range(CONTROL_ROUNDS):
        folder = load_and_cut(mounted, restart, ledger, rng, "store.sync=off")
        try:
            server = restart(folder)
        except pytest.fail.Exception:
            return  # not even a database is left
        server.trouble_expected = True
        try:
            problems = audit.round(server, ledger)
        except (AssertionError, imaplib.IMAP4.error, OSError, EOFError) as e:
            problems = ["not even readable: what was acknowledged and is lost: %s" % e]
        server.stop(signal.SIGKILL)
        if any("acknowledged and is lost" in p for p in problems):
            return
    pytest.fail("nothing was lost although nothing was flushed")
