#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Runs dialog scripts (*.dlg) against `posthouse dev`, each as it stands and again byte by byte.

A file holds cases; a case begins with `== name`, then options, then lines of the dialog:

  port: smtp | submission | submissions | imap | imaps     (default smtp; ...s: TLS from the start)
  mode: strict                                             a daemon started with --strict
  set: smtp.rcpt_limit=3                                   a daemon with this setting; may be repeated
  no-trickle                                               not byte by byte (it depends on what is sent at once)

  C: text        sends text CRLF           C- text    sends text without CRLF
                 Consecutive ones leave as one write: that is how commands are pipelined.
  S: text        the next line begins with text       S~ regex    the next line matches regex
  S+ 250         a whole SMTP reply with this code, of one or several lines
  S> text        lines up to and including one that begins with text
  HAS: text      LACKS: text      a line read by the last S begins, or none begins, with text (code stripped for S+)
  TLS            the TLS handshake, certificate verified
  ON name port   goes on with the connection of that name, made if need be (the first one is called main)
  CONNECT port   another connection takes the place of this one        ENDS   the server closes
  CLOSE          we close                                             HALF   we end our side only
  expect-mail ACCOUNT N         INBOX of the account holds N messages more than when the case began
  await-mail ACCOUNT N          the same, for mail that comes a moment after the reply
  expect-text ACCOUNT regex     its newest message matches (multi-line)
  expect-no-text ACCOUNT regex  ... doesn't match

Escapes: \\r \\n \\t \\s (blank) \\\\ \\xHH. Variables: ${addr:xandros} ${pass:xandros} ${plain:xandros} (AUTH PLAIN's
response) ${b64:text} ${repeat:text:count}. Lines beginning with # are comments.
"""
import argparse
import base64
import imaplib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WAIT = 60  # seconds for one line: replies to errors are delayed on purpose
SINGLE = 2048  # so many bytes one by one, what follows in odd pieces
FAST = ["smtp.auth_delay=20ms", "smtp.error_delay=5ms", "directory.refusal_time=20ms"]
IMPLICIT = ("submissions", "imaps")


class Failed(Exception):
    pass


class Case:
    def __init__(self, file, name, line):
        self.file, self.name, self.line = file, name, line
        self.port, self.strict, self.trickle = "smtp", False, True
        self.settings, self.steps = [], []

    def title(self):
        return f"{self.file.parent.name}/{self.file.stem}: {self.name}"

    def daemon_key(self):
        return (self.strict, tuple(self.settings))


def parse(file):
    cases, case = [], None
    for number, raw in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            case = Case(file, line[3:], number)
            cases.append(case)
        elif case is None:
            raise SystemExit(f"{file}:{number}: a case begins with '== name'")
        elif line.startswith("port: "):
            case.port = line[6:]
        elif line == "mode: strict":
            case.strict = True
        elif line.startswith("set: "):
            case.settings.append(line[5:])
        elif line == "no-trickle":
            case.trickle = False
        else:
            case.steps.append((number, line))
    return cases


class Daemon:
    def __init__(self, binary, strict, settings):
        self.log = tempfile.NamedTemporaryFile(prefix="posthouse-dialogs-", suffix=".log")
        command = [binary, "dev", "--json", "--port-base", "0"] + (["--strict"] if strict else [])
        for setting in FAST + list(settings):
            command += ["--set", setting]
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # its tracer can't run under the seal
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env=env)
        watchdog = threading.Timer(60, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise SystemExit("the daemon did not start:\n" + self.tail())
        self.info = json.loads(line)
        self.tls = ssl.create_default_context(cafile=self.info["ca"])

    def tail(self):
        return "".join(pathlib.Path(self.log.name).read_text(errors="replace").splitlines(True)[-60:])

    def account(self, name):
        for a in self.info["accounts"]:
            if a["address"].split("@")[0] == name:
                return a
        raise Failed(f"no account {name}")

    def alive(self):
        return self.process.poll() is None

    def died(self):
        """After a failure: a crash takes a moment to end the process."""
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        """What is wrong with how it ended, or None."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "it did not end after SIGTERM"
        text = pathlib.Path(self.log.name).read_text(errors="replace")
        if code != 0 or re.search(r"Sanitizer|runtime error:", text):
            return f"it ended with {code}:\n{self.tail()}"
        return None


class Mail:
    """Reads mailboxes as a client does."""

    def __init__(self, daemon):
        self.daemon = daemon

    def _inbox(self, name):
        a, port = self.daemon.account(name), self.daemon.info["imaps"]
        client = imaplib.IMAP4_SSL(port["host"], port["port"], ssl_context=self.daemon.tls, timeout=WAIT)
        client.login(a["address"], a["password"])
        count = int(client.select("INBOX", readonly=True)[1][0])
        return client, count

    def count(self, name):
        client, count = self._inbox(name)
        client.logout()
        return count

    def newest(self, name):
        client, count = self._inbox(name)
        text = client.fetch(str(count), "(BODY.PEEK[])")[1][0][1] if count else b""
        client.logout()
        return text.decode("utf-8", "replace")


class Dialog:
    def __init__(self, case, daemon, trickle, mail):
        self.case, self.daemon, self.trickle, self.mail = case, daemon, trickle, mail
        self.sock, self.got, self.lines, self.out = None, b"", [], b""
        self.before = {}
        self.name, self.others = "main", {}

    # ---- the connection
    def connect(self, name):
        if self.sock:
            self.sock.close()
        port = self.daemon.info[name]
        self.sock = socket.create_connection((port["host"], port["port"]), timeout=WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        if name in IMPLICIT:
            self.start_tls()

    def switch(self, name, port=None):
        self.others[self.name] = (self.sock, self.got)
        self.name = name
        self.sock, self.got = self.others.pop(name, (None, b""))
        if not self.sock:
            self.connect(port)

    def start_tls(self):
        self.sock = self.daemon.tls.wrap_socket(self.sock, server_hostname=self.daemon.info["smtp"]["host"])
        self.got = b""

    def flush(self):
        data, self.out = self.out, b""
        if not data:
            return
        try:
            if not self.trickle:
                self.sock.sendall(data)
                return
            for i in range(min(len(data), SINGLE)):
                self.sock.sendall(data[i:i + 1])
            for i in range(SINGLE, len(data), 997):
                self.sock.sendall(data[i:i + 997])
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass  # what the server said before it closed is still to be read

    def read_line(self):
        while b"\n" not in self.got:
            try:
                more = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                more = b""
            except socket.timeout:
                raise Failed("nothing came from the server")
            if not more:
                raise Failed("the server closed" + (f" after {self.got!r}" if self.got else ""))
            self.got += more
        line, self.got = self.got.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise Failed(f"a line without CR: {line!r}")
        return line[:-1].decode("utf-8", "backslashreplace")

    # ---- text
    def expand(self, text):
        def variable(m):
            kind, _, arg = m.group(1).partition(":")
            if kind == "addr":
                return self.daemon.account(arg)["address"]
            if kind == "pass":
                return self.daemon.account(arg)["password"]
            if kind == "plain":
                a = self.daemon.account(arg)
                return base64.b64encode(f"\0{a['address']}\0{a['password']}".encode()).decode()
            if kind == "b64":
                return base64.b64encode(self.unescape(arg)).decode()
            if kind == "repeat":
                what, _, count = arg.rpartition(":")
                return what * int(count)
            raise Failed(f"unknown variable {m.group(0)}")
        return re.sub(r"\$\{([^}]*)\}", variable, text)

    @staticmethod
    def unescape(text):
        plain = {"r": b"\r", "n": b"\n", "t": b"\t", "s": b" ", "\\": b"\\"}
        out, i = bytearray(), 0  # grows in place: a large message is many escapes
        while i < len(text):
            if text[i] != "\\":
                end = text.find("\\", i)
                end = len(text) if end < 0 else end
                out += text[i:end].encode()
                i = end
            elif text[i + 1:i + 2] == "x":
                out.append(int(text[i + 2:i + 4], 16))
                i += 4
            else:
                out += plain[text[i + 1]]
                i += 2
        return bytes(out)

    # ---- steps
    def expect_reply(self, code):
        self.lines = []
        while True:
            line = self.read_line()
            if line[:3] != code or line[3:4] not in (" ", "-", ""):
                raise Failed(f"wanted {code}, got: {line}")
            self.lines.append(line[4:])
            if line[3:4] != "-":
                return

    def expect_line(self, matches):
        line = self.read_line()
        self.lines = [line]
        if not matches(line):
            raise Failed(f"got: {line}")

    def expect_until(self, prefix):
        self.lines = [self.read_line()]
        while not self.lines[-1].startswith(prefix):
            self.lines.append(self.read_line())

    def expect_eof(self):
        try:
            line = self.read_line()
        except Failed as e:
            if "closed" in str(e):
                return
            raise
        raise Failed(f"wanted the end, got: {line}")

    def step(self, text):
        if text.startswith("C:"):
            self.out += self.unescape(self.expand(text[3:])) + b"\r\n"
            return
        if text.startswith("C-"):
            self.out += self.unescape(self.expand(text[3:]))
            return
        self.flush()
        word, _, rest = text.partition(" ")
        rest = self.expand(rest)
        if word == "S:":
            self.expect_line(lambda line: line.startswith(self.unescape(rest).decode()))
        elif word == "S~":
            self.expect_line(lambda line: re.match(rest, line))
        elif word == "S+":
            self.expect_reply(rest)
        elif word == "S>":
            self.expect_until(self.unescape(rest).decode())
        elif word == "HAS:":
            if not any(line.startswith(rest) for line in self.lines):
                raise Failed(f"not among: {self.lines}")
        elif word == "LACKS:":
            if any(line.startswith(rest) for line in self.lines):
                raise Failed(f"is among: {self.lines}")
        elif word == "TLS":
            self.start_tls()
        elif word == "CONNECT":
            self.connect(rest)
        elif word == "ON":
            self.switch(*rest.split())
        elif word == "ENDS":
            self.expect_eof()
        elif word == "CLOSE":
            self.sock.close()
        elif word == "HALF":
            self.sock.shutdown(socket.SHUT_WR)
        elif word == "expect-mail":
            self.expect_mail(*rest.split())
        elif word == "await-mail":
            self.await_mail(*rest.split())
        elif word in ("expect-text", "expect-no-text"):
            self.expect_text(*rest.split(" ", 1), word == "expect-text")
        else:
            raise Failed("unknown step")

    def expect_mail(self, name, count):
        new = self.mail.count(name) - self.before[name]
        if new != int(count):
            raise Failed(f"{name} got {new}")

    def await_mail(self, name, count):
        end = time.monotonic() + WAIT
        while self.mail.count(name) - self.before[name] < int(count) and time.monotonic() < end:
            time.sleep(0.01)
        self.expect_mail(name, count)

    def expect_text(self, name, regex, wanted):
        text = self.mail.newest(name)
        if bool(re.search(regex, text, re.M)) != wanted:
            raise Failed(f"newest of {name}:\n{text[:2000]}")

    def run(self):
        number, text = self.case.line, "connect"
        try:
            for _, step in self.case.steps:
                if step.startswith(("expect-mail ", "await-mail ")):
                    name = step.split()[1]
                    self.before[name] = self.mail.count(name)
            self.connect(self.case.port)
            for number, text in self.case.steps:
                self.step(text)
            self.flush()
        except (Failed, OSError, imaplib.IMAP4.error) as e:
            raise Failed(f"line {number}: {text}: {e}") from None
        finally:
            for sock, _ in [(self.sock, b""), *self.others.values()]:
                if sock:
                    sock.close()


def run_case(case, daemon, trickle):
    began = time.monotonic()
    name = case.title() + (" [byte by byte]" if trickle else "")
    try:
        Dialog(case, daemon, trickle, Mail(daemon)).run()
    except Failed as e:
        print(f"FAIL {name}: {e}", flush=True)
        if daemon.died():
            print(daemon.tail(), flush=True)
        return False
    print(f"ok   {name} ({(time.monotonic() - began) * 1000:.0f} ms)", flush=True)
    return True


def collect(paths):
    cases = []
    for path in paths:
        files = sorted(path.rglob("*.dlg")) if path.is_dir() else [path]
        for file in files:
            cases += parse(file)
    return cases


def main():
    parser = argparse.ArgumentParser(description="runs dialog scripts against posthouse dev")
    parser.add_argument("--binary", default=str(HERE.parent.parent / "build" / "posthouse"))
    parser.add_argument("--only", default="", help="cases whose title holds this")
    parser.add_argument("--no-trickle", action="store_true", help="not byte by byte as well")
    parser.add_argument("--log", action="store_true", help="print the daemons' logs at the end")
    parser.add_argument("paths", nargs="*", type=pathlib.Path, help="dialogs, folders of them (default: all); the binary")
    options = parser.parse_args()
    for path in [p for p in options.paths if p.suffix != ".dlg" and not p.is_dir()]:
        options.paths.remove(path)
        options.binary = str(path)
    cases = [c for c in collect(options.paths or [HERE]) if options.only in c.title()]
    groups = {}
    for case in cases:
        groups.setdefault(case.daemon_key(), []).append(case)
    passed = failed = 0
    for (strict, settings), members in groups.items():
        daemon = Daemon(options.binary, strict, settings)
        for trickle in (False, True):
            for case in members:
                if trickle and (options.no_trickle or not case.trickle):
                    continue
                if not daemon.alive():
                    daemon = Daemon(options.binary, strict, settings)
                if run_case(case, daemon, trickle):
                    passed += 1
                else:
                    failed += 1
        if options.log:
            print(pathlib.Path(daemon.log.name).read_text(errors="replace"))
        wrong = daemon.stop()
        if wrong:
            print(f"FAIL the daemon {' '.join(settings) or 'with defaults'}: {wrong}", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
