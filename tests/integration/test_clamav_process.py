# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The virus scanner in a process of its own: what it may do, that it ends with the server, and that nothing is lost and nothing passes
unscanned when it is killed or stopped in the middle. What a message may do to it is tests/unit/filters/test_clamav_deaths.c."""
import os
import pathlib
import re
import shutil
import signal
import tempfile
import threading

import pytest
from conftest import FAST, wait_for
from test_clamav import EICAR, QUICK, SIGNATURE, attached, database, folder_of, judged, nested, plain, pytestmark, send, zipped  # noqa: F401
from test_metrics import Watched
from test_serve import AS_ROOT, USER, Appliance, has_ended, status


def scanners(data):
    """Processes that unpack into this data folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words[1:2] == [b"--scanner"] and str(data).encode() in words[3]:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def run(tmp_path):
    servers = []

    def start(*settings):
        server = Watched(settings=FAST + QUICK + ("clamav.database=%s" % database(tmp_path / "signatures"), "clamav.isolation=process") + settings)
        server.trouble_expected = True  # of the scanner
        servers.append(server)
        wait_for(lambda: "signatures of" in server.log(), "signatures are loaded")
        return server
    yield start
    for server in servers:
        if server.log_file.closed:
            continue
        text = server.log()
        server.stop()
        assert not re.search("Sanitizer|runtime error:|CHECK failed", text), text


def parent(pid):
    return int(re.search(r"PPid:\t(\d+)", pathlib.Path("/proc/%d/status" % pid).read_text())[1])


def figure(server, name):
    return server.page()("posthouse_scanner_" + name)


class Sending(threading.Thread):
    def __init__(self, server, message):
        super().__init__()
        self.server, self.message, self.code = server, message, None
        self.start()

    def run(self):
        self.code, self.words = send(self.server, self.message)

    def result(self):
        self.join(240)
        return self.code


def stopped(server):
    pid = int(figure(server, "pid"))
    assert scanners(server.data) == [pid]
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_figures(run):
    server = run()
    assert figure(server, "ready") == 1 and figure(server, "scans") == 0 and figure(server, "deaths_total") == 0
    assert figure(server, "memory_bytes") > 1_000_000
    assert scanners(server.data) == [figure(server, "pid")]
    assert "by a process of its own" in server.log()


def test_killed_in_the_middle(run):
    server = run()
    pid = stopped(server)
    both = Sending(server, attached(zipped(EICAR))), Sending(server, plain(b"fine"))
    wait_for(lambda: figure(server, "scans") == 2, "both are being scanned")
    os.kill(pid, signal.SIGKILL)
    assert [s.result() for s in both] == [554, 250]
    assert figure(server, "deaths_total") == 1
    assert "was killed by signal 9" in server.log() and "poison" not in server.log()
    text, = folder_of(server)
    assert "fine" in text


def test_killed_while_it_has_nothing_to_do(run):
    server = run()
    pid = int(figure(server, "pid"))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: figure(server, "deaths_total") == 1, "it is noticed")
    assert send(server, attached(EICAR))[0] == 554 and send(server, plain(b"fine"))[0] == 250
    assert scanners(server.data) == [figure(server, "pid")] != [pid]


def test_stopped_past_its_time(run):
    server = run("clamav.scan_time=4s")
    pid = stopped(server)
    both = Sending(server, attached(zipped(EICAR))), Sending(server, plain(b"fine"))
    assert [s.result() for s in both] == [554, 250]
    assert "gave no answer in time and was killed" in server.log()
    wait_for(lambda: has_ended(pid), "the end of the one that was stopped")
    assert len(folder_of(server)) == 1


def test_large_messages(run):
    """They aren't kept in memory on their way."""
    server = run()
    filler = b"x" * 70 + b"\r\n"
    assert send(server, plain(filler * 100_000))[0] == 250
    assert send(server, plain(filler * 100_000 + EICAR))[0] == 554
    assert send(server, nested(attached(os.urandom(4_000_000) + EICAR)))[0] == 554


def test_held_when_it_takes_too_long(run):
    """A scanner that comes back late: mail is acknowledged, held, and then scanned."""
    server = run("clamav.wait=0", "filters.hold_retry=1h")
    pid = stopped(server)
    both = Sending(server, attached(EICAR)), Sending(server, plain(b"fine"))
    wait_for(lambda: figure(server, "scans") == 2, "both are being scanned")
    os.kill(pid, signal.SIGKILL)
    assert [s.result() for s in both] == [250, 250]
    wait_for(lambda: server.log().count("held_judged") == 2, "both are judged")
    text, = wait_for(lambda: folder_of(server), "the one that is released")
    assert "fine" in text


def test_the_runner_is_killed(run):
    """Its scanner ends with it; another runner starts another one, and what was being scanned is scanned again."""
    server = run()
    pid = stopped(server)
    both = Sending(server, attached(zipped(EICAR))), Sending(server, plain(b"fine"))
    wait_for(lambda: figure(server, "scans") == 2, "both are being scanned")
    os.kill(parent(pid), signal.SIGKILL)
    assert [s.result() for s in both] == [554, 250]
    wait_for(lambda: has_ended(pid), "the end of its scanner")
    assert scanners(server.data) == [figure(server, "pid")]
    wait_for(lambda: "runner_back" in server.log(), "the log says so")
    text = server.log()
    assert text.count("runner_died") == 1 == text.count("runner_back") and "poison" not in text
    text, = folder_of(server)
    assert "fine" in text


def test_the_runner_is_killed_while_nothing_is_scanned(run):
    """Again and again: each time there is another scanner."""
    server = run()
    for n in range(3):
        pid = int(figure(server, "pid"))
        os.kill(parent(pid), signal.SIGKILL)
        wait_for(lambda: figure(server, "deaths_total") > n, "it is noticed")
        wait_for(lambda: figure(server, "ready") == 1, "the next one")
        assert send(server, attached(EICAR))[0] == 554
        wait_for(lambda: has_ended(pid), "the end of its scanner")
    assert send(server, plain(b"fine"))[0] == 250


def test_the_supervisor_is_killed(run):
    """No other scanner can be started: nothing passes unscanned, and the log says what helps."""
    server = run()
    pid = int(figure(server, "pid"))
    os.kill(parent(parent(pid)), signal.SIGKILL)
    wait_for(lambda: "restart posthouse" in server.log(), "it says so")
    wait_for(lambda: has_ended(pid), "the end of the scanner")
    wait_for(lambda: figure(server, "ready") == 0, "there is none")
    assert send(server, plain(b"fine"))[0] == 451 and send(server, attached(EICAR))[0] == 451
    assert folder_of(server) == []


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_ends_with_the_server(run, how):
    server = run()
    pid = stopped(server) if how == signal.SIGKILL else int(figure(server, "pid"))
    server.stop(how)
    wait_for(lambda: has_ended(pid), "the end of the scanner")
    assert scanners(server.data) == []


# ---- its sandbox

@pytest.fixture
def serving():
    server = Appliance()
    signatures = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-signatures-"))
    signatures.chmod(0o755)
    database(signatures)
    server.signatures = signatures
    server.start("clamav {\n    database = %s\n    isolation = process\n    check = 100ms\n}\n" % signatures)
    server.seed()
    wait_for(lambda: "signatures of" in server.log(), "signatures are loaded")
    yield server
    server.stop()
    shutil.rmtree(signatures)


def test_what_it_is(serving):
    pid, = scanners(serving.data)
    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
        s = status(task / "status")
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2" and int(s["CapEff"], 16) == 0 == int(s["CapPrm"], 16)
    if AS_ROOT:
        import pwd
        assert set(s["Uid"].split()) == {str(pwd.getpwnam(USER).pw_uid)}
    assert pathlib.Path("/proc/%d/oom_score_adj" % pid).read_text().strip() == "800"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    # One socket, and the log.
    links = [os.readlink(f) for f in pathlib.Path("/proc/%d/fd" % pid).iterdir()]
    assert sum(link.startswith("socket:") for link in links) == 1 and len(links) <= 4, links
    assert judged(serving) == 554
    assert pathlib.Path("/proc/%d/environ" % pid).read_bytes() == b""


def test_it_reads_nothing_else(serving):
    """What a link leads to outside the folder of signatures, the mail for instance, is out of its reach."""
    if "sandbox_incomplete" in serving.log():
        pytest.skip("a kernel without Landlock")
    serving.trouble_expected = True
    outside = serving.data / "outside.ndb"
    outside.write_text(SIGNATURE)
    shutil.chown(outside, serving.data.stat().st_uid)
    (serving.signatures / "link.ndb").symlink_to(outside)
    wait_for(lambda: "can't be loaded" in serving.log(), "it can't read it")
    assert judged(serving) == 451
    (serving.signatures / "link.ndb").unlink()
    wait_for(lambda: serving.log().count("signatures of") >= 2, "the others are loaded again")
    assert judged(serving) == 554


def test_isolation_changes_at_a_restart_only(serving):
    pid, = scanners(serving.data)
    serving.write(serving.more.replace("process", "thread"))
    serving.hup()
    assert scanners(serving.data) == [pid]
    assert judged(serving) == 554
