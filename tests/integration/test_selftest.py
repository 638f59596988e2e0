# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse selftest crash`: it passes here, its controls notice what is missing, and it leaves nothing behind."""
import json
import os
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import BINARY, posthouse, wait_for

SECONDS = "4"


@pytest.fixture
def place():
    # Not in /tmp: that may be memory, which has nothing to flush.
    with tempfile.TemporaryDirectory(prefix="posthouse-test-", dir="/var/tmp") as path:
        yield path


def selftest(*words):
    return posthouse("selftest", *words, timeout=300)


def test_crash(place):
    done = selftest("crash", place, "--seconds", SECONDS, "--json")
    assert done.code == 0, done.out + done.err
    found = done.json
    assert found["ok"] is True
    for part in ("kill", "power_cut"):
        assert all(found[part]["found"][k] == 0 for k in ("lost", "doubled", "damaged", "halved", "other")), found
    # As much as it looks at on a machine with much else to do, too.
    assert found["kill"]["rounds"] >= 3 and found["kill"]["acknowledged"] > 0, found["kill"]
    cut = found["power_cut"]
    assert cut["images"] >= 48 and cut["flushes"] >= cut["flushes_cut"] > 0, cut
    assert len(found["controls"]) == 5 and all(c["noticed"] for c in found["controls"]), found["controls"]
    flush = found["flush"]
    assert flush["samples"] > 0 and 0 < flush["median_us"] <= flush["p99_us"]
    assert flush["suspicious"] == (flush["median_us"] < 50)
    assert os.listdir(place) == []


def test_report_in_words(place):
    done = selftest("crash", place, "--seconds", "2")
    assert done.code == 0, done.out + done.err
    lines = [line.split("  ")[0] for line in done.out.splitlines()]
    assert {"disk", "kill -9", "power cut"} <= set(lines), done.out
    assert done.out.splitlines()[-1].startswith("passed"), done.out
    assert done.out.count("control '") == done.out.count("the loss is noticed") == 5
    assert "FAILED" not in done.out and done.err == ""


def test_stopped_by_a_signal(place):
    process = subprocess.Popen([BINARY, "selftest", "crash", place, "--seconds", "60"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(os.path.exists(os.path.join(place, f, "killed", "store.db")) for f in os.listdir(place)), "the load", 60)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 1 and "stopped by a signal" in text, text
    assert os.listdir(place) == []


@pytest.mark.parametrize("words, code, text", [
    ((), 2, "say posthouse selftest crash"),
    (("crash", "--seconds", "1"), 2, "--seconds"),
    (("crash", "--seconds", "many"), 2, "--seconds"),
    (("crash", "a", "b"), 2, "say posthouse selftest crash"),
    (("fire",), 2, "say posthouse selftest crash"),
    (("crash", "/nowhere/at/all"), 1, "say another: posthouse selftest crash DIR"),
])
def test_refused(words, code, text):
    done = selftest(*words)
    assert done.code == code and text in done.err, (done.code, done.err)


def test_in_the_data_folder(place, monkeypatch):
    monkeypatch.setenv("POSTHOUSE_DATA", place)
    done = selftest("crash", "--seconds", "2")
    assert done.code == 0 and "in " + os.path.realpath(place) in done.out, done.out + done.err
    assert os.listdir(place) == []


def test_error_in_json():
    done = selftest("crash", "/nowhere/at/all", "--json")
    assert done.code == 1
    assert done.json["ok"] is False and "/nowhere/at/all" in done.json["error"]
    assert json.loads(done.out.strip()) == done.json


def test_help():
    done = selftest("--help")
    assert done.code == 0 and "--seconds" in done.out
