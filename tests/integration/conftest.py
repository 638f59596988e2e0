# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""What all integration tests share: a `posthouse dev` of one's own, and connections to it.

A test module gets one server (fixture `server`) with ports chosen by the kernel and a folder that goes away with it; tests
that need other options start their own (fixture `start`). POSTHOUSE names the binary (default build/posthouse).
"""
import imaplib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mariadb

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("POSTHOUSE") or ROOT / "build" / "posthouse")
WAIT = 60  # seconds until something that must happen counts as missing: it ends what hangs, and fails nothing that is slow
# Wrong passwords and syntax errors cost the client time; tests make them by the dozen.
FAST = ("smtp.auth_delay=10ms", "smtp.error_delay=5ms", "imap.login_delay=10ms", "directory.refusal_time=10ms")
# LeakSanitizer works by ptrace, which the seal forbids.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
with open(BINARY, "rb") as program:
    SANITIZED = re.search(rb"__[at]san_init", program.read()) is not None  # such a build takes memory of its own
TROUBLE = re.compile(r"^\S+ error |Sanitizer|runtime error:|CHECK failed", re.M)

imaplib._MAXLINE = 10_000_000  # its own bound of 1 MB is for replies, ours for literals is tested elsewhere


def wait_for(condition, what, seconds=WAIT):
    """Asks until condition() is true and returns what it returned: for states that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail("did not come within %d s: %s" % (seconds, what))
        time.sleep(0.02)


def read_until(stream, done, seconds=WAIT):
    """Bytes of a pipe or terminal until done(bytes), its end, or the deadline."""
    deadline, data = time.monotonic() + seconds, b""
    while not done(data):
        if not select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
            break
        try:
            more = os.read(stream.fileno(), 65536)
        except OSError:  # a terminal ends with EIO
            break
        if not more:
            break
        data += more
    return data


MARIADB = mariadb.given()
databases = {}  # of data folders: one that is opened again has the one it had


def database_options(data):
    """Where tests/run.py runs a suite on MariaDB, each data folder has a database of its own there."""
    if not MARIADB:
        return []
    name = databases.get(str(data)) or MARIADB.database()
    if data:
        databases[str(data)] = name
    return ["--database", MARIADB.url(name), "--set", "database.unsafe=yes"]


class Command:
    """What a finished `posthouse GROUP VERB ...` left: exit code, text on both channels."""

    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def json(self):
        return json.loads(self.out)


def posthouse(*words, data=None, stdin="", timeout=WAIT):
    command = [BINARY, *words] + (["--data", str(data)] if data else [])
    return Command(subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout))


class Server:
    """A running `posthouse dev`. Its JSON line as attributes: .ports[name], .ca, .data, .passwords[address]."""

    def __init__(self, *options, data=None, temporary=False, settings=FAST, text=False, env=None, meanwhile=None):
        """meanwhile(server): called while it starts."""
        self.own = None if data or temporary else tempfile.mkdtemp(prefix="posthouse-test-")
        self.log_file = tempfile.NamedTemporaryFile(prefix="posthouse-test-", suffix=".log")
        folder = [] if temporary else ["--data", str(data or self.own)]
        database = [] if "--show-config" in options else database_options(data or self.own)
        self.command = [BINARY, "dev", "--port-base", "0", *folder, *database, *options] + ([] if text else ["--json"])
        for setting in settings:
            self.command += ["--set", setting]
        self.trouble_expected = False
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log_file, env=dict(os.environ, **(env or {})))
        if meanwhile:
            try:
                meanwhile(self)
            except BaseException:
                self.process.kill()
                self.process.wait()
                raise
        end = b"Ctrl-C" if text else b"\n"
        self.text = read_until(self.process.stdout, lambda data: end in data).decode()
        if end.decode() not in self.text:
            self.process.kill()
            self.process.wait()
            pytest.fail("posthouse dev did not start: %s\n%s" % (" ".join(self.command), self.log()))
        if not text:
            self.read_json()

    def read_json(self):
        self.info = json.loads(self.text)
        self.ports = {name: self.info[name]["port"] for name in ("smtp", "submission", "submissions", "imap", "imaps")}
        self.ca, self.data = self.info["ca"], self.info["data"]
        self.accounts = [a["address"] for a in self.info["accounts"]]
        self.passwords = {a["address"]: a["password"] for a in self.info["accounts"]}
        self.tls = ssl.create_default_context(cafile=self.ca)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return pathlib.Path(self.log_file.name).read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        """Resident memory in bytes."""
        return int(re.search(r"VmRSS:\s+(\d+) kB", self.proc("status"))[1]) * 1024

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def proc(self, name):
        return pathlib.Path("/proc/%d/%s" % (self.pid, name)).read_text()

    def command_line(self, *words, stdin=""):
        return posthouse(*words, data=self.data, stdin=stdin)

    # ---- connections, as mail clients make them
    def connect(self, name, timeout=WAIT):
        return socket.create_connection(("127.0.0.1", self.ports[name]), timeout=timeout)

    def smtp(self, name="smtp", user=None, starttls=None, password=None):
        """A client on that port: greeted, under TLS unless it is the plain one, logged in when user is given."""
        if name == "submissions":
            client = smtplib.SMTP_SSL("localhost", self.ports[name], "client.example.org", timeout=WAIT, context=self.tls)
        else:
            client = smtplib.SMTP("localhost", self.ports[name], "client.example.org", timeout=WAIT)
            if starttls if starttls is not None else name == "submission":
                client.starttls(context=self.tls)
        client.ehlo()
        if user:
            client.login(self.address(user), self.password(user) if password is None else password)
        return client

    def imap(self, user="xandros", name="imaps", password=None, login=True):
        if name == "imaps":
            client = imaplib.IMAP4_SSL("localhost", self.ports[name], ssl_context=self.tls, timeout=WAIT)
        else:
            client = imaplib.IMAP4("localhost", self.ports[name], timeout=WAIT)
            client.starttls(self.tls)
        if login:
            client.login(self.address(user), self.password(user) if password is None else password)
        return client

    @staticmethod
    def address(user):
        return user if "@" in user else user + "@example.com"

    def password(self, user):
        return self.passwords[self.address(user)]

    # ---- what a mailbox holds
    def count(self, user, mailbox="INBOX"):
        with self.imap(user) as client:
            return int(re.search(rb"MESSAGES (\d+)", client.status(mailbox, "(MESSAGES)")[1][0])[1])

    def messages(self, user, mailbox="INBOX"):
        with self.imap(user) as client:
            n = int(ok(client.select(mailbox, readonly=True))[0])
            return [fetch(client, i + 1) for i in range(n)]

    def newest(self, user, mailbox="INBOX"):
        with self.imap(user) as client:
            n = int(ok(client.select(mailbox, readonly=True))[0])
            return fetch(client, n) if n else None

    # ---- the end
    def stop(self, signum=signal.SIGTERM):
        """Ends it and looks whether it ended well."""
        if not self.process.stdout.closed:
            if self.alive():
                self.process.send_signal(signum)
            try:
                rest = self.process.communicate(timeout=60)[0]
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
                pytest.fail("it did not end after signal %d\n%s" % (signum, self.log()[-4000:]))
            finally:
                self.remove()
            text = self.log()
            self.log_file.close()
            found = None if self.trouble_expected else TROUBLE.search(text)
            if found:
                pytest.fail("trouble in the log:\n" + text[max(0, found.start() - 1000):found.end() + 5000], pytrace=False)
            if signum != signal.SIGKILL and self.process.returncode != 0:
                pytest.fail("it ended with %d:\n%s" % (self.process.returncode, text[-4000:]), pytrace=False)
            assert rest == b"", "nothing but the JSON line belongs on standard output"

    def remove(self):
        if self.own:
            shutil.rmtree(self.own)
            self.own = None


def ok(answer):
    """The data of an imaplib answer that must be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


def fetch(client, number, what="(BODY.PEEK[])"):
    return ok(client.fetch(str(number), what))[0][1]


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.stop()


@pytest.fixture
def start():
    """start(options...) -> Server; all are stopped at the end of the test."""
    started = []

    def begin(*options, **more):
        started.append(Server(*options, **more))
        return started[-1]

    yield begin
    for s in started:
        s.stop()


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="posthouse-test-")
    yield pathlib.Path(path)
    shutil.rmtree(path)
