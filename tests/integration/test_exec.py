# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The stage `exec`: programs that judge messages, in `posthouse dev` and, run as other users, in `posthouse serve`."""
import os
import pathlib
import pwd
import shutil
import signal
import smtplib
import socket
import tempfile
import threading

import pytest
from conftest import Server, wait_for
from test_serve import Appliance

LONG = "%d.5" % (10 ** 6 + os.getpid())  # seconds; a word to find programs of this run by
TO, FROM = "xandros@example.com", "someone@example.org"
HEAD = "From: <%s>\r\nTo: <%s>\r\nSubject: Test\r\nMessage-ID: <1@example.org>\r\n\r\n" % (FROM, TO)


def script(folder, name, text):
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


class Judged:
    """A `posthouse dev` with one program, whose script tests write anew."""

    def __init__(self, folder, *settings, programs=("judge",)):
        self.folder = folder
        named = [s for p in programs for s in ("program.%s.command=%s" % (p, folder / p), "program.%s.mail=all" % p)]
        self.server = Server(settings=("smtp.error_delay=1ms", "exec.deadline=5min", *named, *settings))

    def program(self, text, name="judge"):
        # A file that is still being run can't be written.
        fresh = script(self.folder, name + ".new", text)
        os.replace(fresh, self.folder / name)

    def send(self, body="Hello.\r\n", client=None):
        """(code, words) of the answer to the message."""
        own = client or smtplib.SMTP("127.0.0.1", self.server.ports["smtp"], "client.example.org", timeout=240)
        try:
            own.ehlo()
            assert own.mail(FROM)[0] == 250 and own.rcpt(TO)[0] == 250
            code, words = own.data(HEAD + body)
            return code, words.decode()
        finally:
            if not client:
                own.close()

    def log_has(self, text):
        return wait_for(lambda: text in self.server.log(), text)


@pytest.fixture(scope="module")
def folder():
    """Where other users can go, too."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-programs-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def judged(folder):
    script(folder, "judge", "exit 0\n")
    j = Judged(folder, "program.judge.timeout=4min")
    yield j
    j.server.stop()


def newest(judged, folder="INBOX"):
    return judged.server.newest("xandros", folder).decode()


def test_pass_with_fields(judged):
    judged.program('cat >/dev/null; echo "all is well"; echo "X-Judge: seen  "; echo "X-Bad\tname: no"; echo "Subject: no"\n')
    assert judged.send()[0] == 250
    text = newest(judged)
    assert "\r\nX-Judge: seen\r\n" in text and "no" not in text.partition("\r\n\r\n")[0].split("X-Judge")[1]


def test_what_it_gets(judged, folder):
    judged.program('env | sort >%s/env; cat >%s/message; ls /proc/self/fd >%s/fds\n' % ((folder,) * 3))
    assert judged.send("Line one.\r\n..two\r\n")[0] == 250
    env = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    assert env["SENDER"] == FROM and env["RECIPIENT"] == TO and env["RECIPIENTS"] == "1"
    assert env["CLIENT_ADDRESS"] == "127.0.0.1" and env["HELO"] == "client.example.org"
    assert env["MESSAGE_ID"] == "<1@example.org>" and env["LISTENER"] == "smtp" and env["USER"] == ""
    assert set(env) <= {"PATH", "LANG", "CLIENT_ADDRESS", "CLIENT_NAME", "HELO", "SENDER", "RECIPIENT", "RECIPIENTS",
                        "MESSAGE_ID", "SIZE", "USER", "LISTENER", "TLS", "HOST", "ID", "PWD", "SHLVL", "_", "OLDPWD"}
    message = (folder / "message").read_bytes()
    assert len(message) == int(env["SIZE"]) and message.endswith(b"Line one.\r\n..two\r\n")
    assert set((folder / "fds").read_text().split()) <= {"0", "1", "2", "3", "4"}  # some are of ls and the shell


@pytest.mark.parametrize("text, code, words", [
    ("echo 'no letters today'; exit 2", 550, "5.7.1 no letters today"),
    ("echo '554 5.7.9 Go away'; exit 77", 554, "5.7.9 Go away"),
    ("exit 67", 550, ""),
    ("echo 'come again'; exit 75", 451, "4.7.1 come again"),
    ("printf 'odd \\001\\377 text\\r\\nsecond'; exit 2", 550, "5.7.1 odd ?? text"),
])
def test_refused(judged, text, code, words):
    judged.program("cat >/dev/null\n" + text + "\n")
    answer = judged.send()
    assert answer[0] == code and answer[1].startswith(words)


def test_junk_and_quarantine(judged):
    judged.program("echo 'looks like spam'; exit 1\n")
    before = judged.server.count("xandros", "Junk")
    assert judged.send()[0] == 250
    assert judged.server.count("xandros", "Junk") == before + 1
    judged.program("exit 3\n")
    kept = len(judged.server.command_line("quarantine", "list", "--json").json)
    assert judged.send()[0] == 250
    assert len(judged.server.command_line("quarantine", "list", "--json").json) == kept + 1


@pytest.mark.parametrize("text, why", [
    ("kill -SEGV $$", "judge was killed by signal 11"),
    ("exit 99", "judge ended with code 99, which exits doesn't name"),
    ("yes", "judge prints more than 16384 octets"),
    ("exec /nonexistent/program", "judge ended with code 127"),
])
def test_errors(judged, text, why):
    """on_error decides: by default the client is to come again."""
    judged.program(text + "\n")
    assert judged.send()[0] == 451
    judged.log_has(why)


def test_missing(judged, folder):
    os.rename(folder / "judge", folder / "gone")
    try:
        assert judged.send()[0] == 451
        judged.log_has("judge can't be run: No such file or directory")
    finally:
        os.rename(folder / "gone", folder / "judge")
    judged.program("exit 0\n")
    assert judged.send()[0] == 250


def test_large_message(judged, folder):
    judged.program("cat >%s/large; (echo x >&0) 2>/dev/null && exit 2; exit 0\n" % folder)
    body = "0123456789" * 7 + "\r\n"
    assert judged.send(body * 100000)[0] == 250
    assert (folder / "large").stat().st_size > 72 * 100000
    wait_for(lambda: not [n for n in os.listdir(judged.server.data) if n.startswith("exec-")], "no file left over")


def test_eight_at_once(judged, folder):
    """Each waits until all eight are there."""
    meeting = folder / "meeting"
    meeting.mkdir()
    judged.program('touch %s/$$\nwhile [ "$(ls %s | wc -l)" -lt 8 ]; do sleep 0.05; done\n' % (meeting, meeting))
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(judged.send()[0])) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(240)
    assert codes == [250] * 8


def test_no_network(judged, folder):
    """posthouse dev is sealed, and so are its programs."""
    listener = socket.create_server(("127.0.0.1", 0))
    judged.program("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %d))' 2>%s/network\n[ $? = 0 ] && exit 2\n"
                   "exit 0\n" % (listener.getsockname()[1], folder))
    assert judged.send()[0] == 250
    assert "PermissionError" in (folder / "network").read_text()
    listener.close()


def processes(mark):
    """Command lines that hold this word."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if mark.encode() in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def test_client_gone(judged, folder):
    """Who hangs up while a program runs takes it along, with what it has started."""
    judged.program("touch %s/begun; sleep %s & sleep %s\n" % (folder, LONG, LONG))
    client = socket.create_connection(("127.0.0.1", judged.server.ports["smtp"]))
    client.sendall(("EHLO x\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (FROM, TO)).encode())
    client.sendall((HEAD + "Hello.\r\n.\r\n").encode())
    wait_for((folder / "begun").exists, "the program")
    client.close()
    wait_for(lambda: not processes(LONG), "the end of the program")


def test_timeout(folder):
    """It is killed, with its children; on_error decides, and no other program is asked."""
    script(folder, "slow", "sleep %s & exec sleep %s\n" % (LONG, LONG))
    script(folder, "other", "touch %s/other-ran\n" % folder)
    j = Judged(folder, "program.slow.timeout=300ms", "exec.on_error=junk", programs=("slow", "other"))
    try:
        assert j.send()[0] == 250
        assert j.server.count("xandros", "Junk") == 1
        j.log_has("slow has taken longer than 300 ms")
        wait_for(lambda: not processes(LONG), "the end of the program")
        assert not (folder / "other-ran").exists()
    finally:
        j.server.stop()


def test_several(folder):
    """One after the other; the worst counts, and the first that refuses ends it."""
    script(folder, "first", "exit 0\n")
    script(folder, "second", "touch %s/second-ran; exit 1\n" % folder)
    j = Judged(folder, "program.first.timeout=4min", "program.second.timeout=4min", programs=("first", "second"))
    try:
        assert j.send()[0] == 250
        assert j.server.count("xandros", "Junk") == 1 and (folder / "second-ran").exists()
        j.program("exit 3\n", "first")
        assert j.send()[0] == 250
        assert len(j.server.command_line("quarantine", "list", "--json").json) == 1
        j.program("echo no; exit 2\n", "first")
        (folder / "second-ran").unlink()
        assert j.send()[0] == 550
        assert not (folder / "second-ran").exists()
    finally:
        j.server.stop()


def test_limits(folder):
    """Memory and time of a processor."""
    script(folder, "eats", "exec python3 -c 'x = bytearray(1 << 30)' 2>%s/eaten\n" % folder)
    script(folder, "spins", "while :; do :; done\n")
    j = Judged(folder, "program.eats.exits=0:pass, 1:junk", "program.spins.cpu=1s", "program.spins.timeout=5min",
               programs=("eats", "spins"))
    try:
        assert j.send()[0] == 451
        assert "MemoryError" in (folder / "eaten").read_text()
        j.log_has("spins was killed by signal")
    finally:
        j.server.stop()


# ---- the runner of programs dies

class Sending(threading.Thread):
    def __init__(self, judged):
        super().__init__()
        self.judged = judged
        self.start()

    def run(self):
        self.code, _ = self.judged.send()

    def result(self):
        self.join(240)
        return self.code


@pytest.fixture
def alone(folder):
    script(folder, "judge", "exit 0\n")
    j = Judged(folder, "program.judge.timeout=4min")
    yield j
    j.server.stop()


def kill_runner(judged, folder, of=lambda runner: runner):
    """While a program runs. The answer to its message."""
    begun = folder / "runner"
    judged.program("echo $PPID >%s.new; mv %s.new %s; sleep %s & sleep %s\n" % ((begun,) * 3 + (LONG,) * 2))
    sending = Sending(judged)
    wait_for(begun.exists, "the program")
    runner = int(begun.read_text())
    begun.unlink()
    os.kill(of(runner), signal.SIGKILL)
    code = sending.result()
    wait_for(lambda: not processes(LONG), "the end of the program and of what it has started")
    judged.program("exit 2\n")
    return code, runner


def test_runner_killed(alone, folder):
    """Its mail is to come again at once, the next passes through another one; five times in a row."""
    seen = set()
    for n in range(5):
        code, runner = kill_runner(alone, folder)
        assert code == 451
        seen.add(runner)
        assert alone.send()[0] == 550
    assert len(seen) == 5
    wait_for(lambda: alone.server.log().count("runner_back") == 5, "the log says so")
    log = alone.server.log()
    assert log.count("runner_died") == 5 and "judge was killed: the process that runs programs has died" in log


def test_runner_killed_while_nothing_runs(alone, folder):
    _, runner = kill_runner(alone, folder)
    alone.program("echo $PPID; exit 2\n")
    code, words = alone.send()
    died = alone.server.log().count("runner_died")
    os.kill(int(words.split()[-1]), signal.SIGKILL)
    wait_for(lambda: alone.server.log().count("runner_died") > died, "its end")  # what comes before that is to come again
    assert alone.send()[0] == 550


def test_supervisor_killed(alone, folder):
    """That one is for as long as the server: on_error decides, and the log says what helps."""
    def parent(pid):
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rpartition(")")[2].split()[1])

    alone.server.trouble_expected = True
    assert kill_runner(alone, folder, of=parent)[0] == 451
    alone.log_has("runner_supervisor_died")
    assert alone.send()[0] == 451
    alone.log_has("judge can't be run: the process that runs programs is gone; restart posthouse")


# ---- posthouse serve
PROGRAM = 'exec { deadline = 5min }\nprogram "judge" { command = "%s"\n mail = all\n timeout = 4min\n %s }\n'


def own(a, folder, text):
    """What the script writes about itself, after a message."""
    path = script(folder, "serve.new", text)
    os.replace(path, folder / "serve")
    with smtplib.SMTP("localhost", a.ports["smtp"], "client.example.org", timeout=240) as client:
        client.ehlo()
        client.mail(FROM)
        client.rcpt("ann@example.com")
        return client.data(HEAD + "Hello.\r\n")


def test_serve(folder):
    """Outside the sandbox, without new privileges; as main.user or the one that is named; what isn't configured isn't run."""
    root = os.geteuid() == 0
    path = script(folder, "serve", "exit 0\n")
    a = Appliance()
    try:
        a.start(PROGRAM % (path, ""))
        a.seed()
        code, words = own(a, folder, 'echo "uid=$(id -u) gids=$(id -G) $(grep NoNewPrivs /proc/self/status)" | tr "\\t" " "; exit 2\n')
        me = os.stat("/proc/%d" % a.pid).st_uid
        assert code == 550 and b"uid=%d " % me in words and b"NoNewPrivs: 1" in words
        if root:
            other = pwd.getpwnam("mail")  # of Debian; not main.user of these tests
            a.write(PROGRAM % (path, "user = mail"))
            a.hup()
            code, words = own(a, folder, 'echo "uid=$(id -u) gids=$(id -G)"; exit 2\n')
            assert code == 550 and b"uid=%d gids=%d" % (other.pw_uid, other.pw_gid) in words
        # It is so with another runner, too.
        code, words = own(a, folder, 'echo "$PPID"; exit 2\n')
        os.kill(int(words.split()[-1]), signal.SIGKILL)
        wait_for(lambda: "runner_died" in a.log(), "its end")
        code, words = own(a, folder, 'echo "uid=$(id -u) gids=$(id -G) $(grep NoNewPrivs /proc/self/status)" | tr "\\t" " "; exit 2\n')
        assert code == 550 and b"NoNewPrivs: 1" in words
        if root:
            assert b"uid=%d gids=%d " % (other.pw_uid, other.pw_gid) in words
        wait_for(lambda: "runner_back" in a.log(), "the log says so")
        # A program that is new in the file is run by the same process, others are not.
        other = script(folder, "other", "echo other; exit 2\n")
        a.write(PROGRAM % (other, ""))
        a.hup()
        assert own(a, folder, "exit 0\n")[0] == 550
        a.write(PROGRAM % (path, "user = root"))
        assert "no program runs as root" in a.run("--check-config").stderr
    finally:
        a.stop()
