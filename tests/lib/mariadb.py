# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A private MariaDB server: a folder of its own, a port chosen by the kernel, ended by its process.

    with mariadb.Server() as server:
        url = server.url(server.database())   # of a fresh, empty database
Quick: it doesn't flush (`unsafe` says so to posthouse); durable=True: as a server for mail is to be.
As a program: `mariadb.py COMMAND...` runs the command with PH_TEST_DATABASE (mysql://root@127.0.0.1:PORT/) and
PH_TEST_DATABASE_SOCKET naming a server that ends with it.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

START = 300  # seconds until it answers; more than enough on a busy machine
STOP = 120
PROGRAMS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin"


class NoServer(Exception):
    """It can't be had here; says why."""


def program(*names):
    for name in names:
        found = shutil.which(name, path=PROGRAMS)
        if found:
            return found
    raise NoServer("%s is not installed" % names[0])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Client:
    """A server by its socket: runs statements, makes databases."""
    made = 0

    def __init__(self, path):
        self.socket = path

    def sql(self, text, database="", timeout=START):
        """Runs statements with the command line client; rows as lists of strings."""
        command = [program("mariadb", "mysql"), "--no-defaults", "--socket=%s" % self.socket, "--user=root", "--batch",
                   "--skip-column-names", "--default-character-set=utf8mb4"]
        done = subprocess.run(command + ([database] if database else []), input=text, capture_output=True, text=True,
                              timeout=timeout)
        if done.returncode != 0:
            raise AssertionError("mariadb: %s" % done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines()]

    def database(self, name=None):
        """The name of a fresh, empty one."""
        Client.made += 1
        name = name or "ph_test_%d_%d" % (os.getpid(), Client.made)
        self.sql("CREATE DATABASE `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" % name)
        return name

    def drop(self, name):
        self.sql("DROP DATABASE `%s`" % name)

    def url(self, database):
        """By the socket: for `posthouse dev`, which can't connect otherwise."""
        return "mysql://root@/%s?socket=%s" % (database, self.socket)


def given():
    """The server that tests/run.py started for whole suites; or None."""
    path = os.environ.get("PH_TEST_DATABASE_SOCKET")
    return Client(path) if path else None


class Server(Client):
    def __init__(self, durable=False, options=()):
        self.durable, self.options, self.process = durable, list(options), None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-mariadb-"))
        super().__init__(self.folder / "s")
        self.data = self.folder / "data"
        self.ca = self.folder / "ca.pem"
        self.log_path = self.folder / "err.log"
        self.port, self.answered, self.guard = 0, False, None
        try:
            self.install()
            self.make_certificate()
            self.start()
        except BaseException:
            self.close()
            raise

    # As root it runs as the package's user, as it must.
    def as_user(self):
        return ["--user=mysql"] if os.getuid() == 0 else []

    def install(self):
        if os.getuid() == 0:
            shutil.chown(self.folder, "mysql")
        self.folder.chmod(0o755)
        done = subprocess.run([program("mariadb-install-db", "mysql_install_db"), "--no-defaults", *self.as_user(),
                               "--datadir=%s" % self.data, "--tmpdir=%s" % self.folder, "--auth-root-authentication-method=normal",
                               "--skip-test-db"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=START)
        if done.returncode != 0:
            raise NoServer("mariadb-install-db: %s" % done.stdout[-1000:])

    def make_certificate(self):
        """For the name localhost, not for its address; its own authority."""
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                               "-keyout", str(self.folder / "key.pem"), "-out", str(self.ca)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=START)
        if done.returncode != 0:
            raise NoServer("openssl: %s" % done.stdout[-1000:])
        if os.getuid() == 0:
            shutil.chown(self.folder / "key.pem", "mysql")

    def flags(self):
        quick = [] if self.durable else ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0",
                                         "--innodb-flush-method=nosync", "--innodb-file-per-table=0"]
        return ["--no-defaults", *self.as_user(), "--datadir=%s" % self.data, "--tmpdir=%s" % self.folder, "--socket=%s" % self.socket,
                "--port=%d" % self.port, "--bind-address=127.0.0.1", "--pid-file=%s" % (self.folder / "pid"),
                "--log-error=%s" % self.log_path, "--max-connections=300",
                "--ssl-cert=%s" % self.ca, "--ssl-key=%s" % (self.folder / "key.pem"),
                "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M", *quick, *self.options]

    def start(self):
        """Starts it, or starts it again on the same port."""
        for attempt in range(5):
            if not self.port or (attempt and not self.answered):
                self.port = free_port()
            self.process = subprocess.Popen([program("mariadbd", "mysqld"), *self.flags()], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            self.watch()
            if self.wait_until_it_answers():
                self.answered = True
                return
        raise NoServer("mariadbd does not start:\n%s" % self.log()[-2000:])

    def wait_until_it_answers(self):
        """False: it ended instead (somebody was quicker with the port, and may answer there: only the socket is surely
        ours, and made after the port)."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(5)
                    s.connect(str(self.socket))
                    if s.recv(5):  # its greeting
                        return True
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        raise NoServer("mariadbd does not answer:\n%s" % self.log()[-2000:])

    def watch(self):
        """It ends with us, however we end: then the pipe does, too."""
        self.unwatch()
        words = "read ignored; kill -9 %d 2>/dev/null; rm -rf '%s'" % (self.process.pid, self.folder)
        self.guard = subprocess.Popen(["sh", "-c", words], stdin=subprocess.PIPE, start_new_session=True)

    def unwatch(self):
        if self.guard:
            self.guard.kill()
            self.guard.wait()
            self.guard.stdin.close()
            self.guard = None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def end(self, how):
        self.unwatch()
        if not self.process:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    def tcp_url(self, database, user="root", host="127.0.0.1"):
        return "mysql://%s@%s:%d/%s" % (user, host, self.port, database)

    def environment(self):
        """For suites that make databases of their own in it."""
        return {"PH_TEST_DATABASE": self.tcp_url(""), "PH_TEST_DATABASE_SOCKET": str(self.socket),
                "PH_TEST_DATABASE_CA": str(self.ca)}


def main():
    with Server() as server:
        process = subprocess.Popen(sys.argv[1:], env=dict(os.environ, **server.environment()))
        signal.signal(signal.SIGTERM, lambda *ignored: process.terminate())
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    sys.exit(code if code >= 0 else 1)


if __name__ == "__main__":
    main()
