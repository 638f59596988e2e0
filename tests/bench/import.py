# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Import and export of a large Maildir, measured (see import.sh)."""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import smtplib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bench import Posthouse  # noqa: E402
from disk import disk  # noqa: E402
from dovecot import Dovecot  # noqa: E402


def make_maildir(path, n):
    """Mostly small, some large; two of a hundred are files in our store. Returns the bytes."""
    rng, total, bases = random.Random(1), 0, []
    for sub in ("cur", "new", "tmp"):
        os.makedirs("%s/%s" % (path, sub))
    line = b"The rider of the night stage leaves his letters at the post house.\n"
    for i in range(n):
        size = rng.choice([1500] * 50 + [4000] * 40 + [20000] * 8 + [80000] * 2)
        text = b"From: a@example.org\nTo: b@example.com\nSubject: %d\nMessage-ID: <%d@example.org>\n\n" % (i, i) + line * (size // len(line))
        bases.append("%d.M%dP1.bench,S=%d" % (1400000000 + i, i, len(text)))
        with open("%s/cur/%s:2,%s" % (path, bases[-1], "S" if i % 3 else ""), "wb") as f:
            f.write(text)
        total += len(text)
    with open(path + "/dovecot-uidlist", "w") as f:
        f.write("3 V1150000000 N%d\n" % (n + 1))
        f.writelines("%d :%s\n" % (uid + 1, base) for uid, base in enumerate(bases))
    return total


class Deliveries(threading.Thread):
    """One message after the other; how long each took from MAIL to the reply after its end."""

    def __init__(self, port, rcpt):
        super().__init__(daemon=True)
        self.port, self.rcpt, self.times, self.over = port, rcpt, [], False

    def run(self):
        text = "Subject: x\r\n\r\n" + "x" * 70 + "\r\n" * 100
        with smtplib.SMTP("127.0.0.1", self.port, "client.example.org", timeout=60) as client:
            while not self.over:
                began = time.monotonic()
                client.sendmail("a@example.org", [self.rcpt], text)
                self.times.append(time.monotonic() - began)
                time.sleep(0.02)

    def stop(self):
        self.over = True
        self.join()
        return "%d deliveries: median %.1f ms, p99 %.1f ms, longest %.1f ms" % (
            len(self.times), *(1000 * sorted(self.times)[min(len(self.times) - 1, int(len(self.times) * p))] for p in (.5, .99, 1)))


def run(*command, stdin=None):
    """Seconds, peak memory in MB, standard output."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdin.write(stdin or "")
    child.stdin.close()
    out, err = child.stdout.read(), child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit("%s: %d\n%s%s" % (" ".join(command), child.returncode, out, err))
    return time.monotonic() - began, used.ru_maxrss / 1024, out


def peak(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) / 1024


def row(what, seconds, n, more=""):
    print("%-44s %7.1f s %8.0f/s  %s" % (what, seconds, n / seconds, more), flush=True)
    return seconds


def over_imap(binary, d, theirs, source, n):
    """The same mail, served by Dovecot."""
    os.makedirs(theirs.maildir("."), exist_ok=True)
    os.rename(source, theirs.maildir("three"))
    os.mkdir(d.path + "/imap")
    server = Posthouse(binary, d.path + "/imap")
    try:
        words = (binary, "import", "imap", "imap://three@127.0.0.1:%d" % theirs.port, "--account",
                 server.info["accounts"][0]["address"], "--data", server.info["data"], "--json")
        for what, counted in (("posthouse import imap", "imported"), ("again, nothing changed", "unchanged")):
            seconds, memory, out = run(*words, stdin="pw\n")
            assert json.loads(out)[counted] == n, out
            row(what, seconds, n, "command %.0f MB, server %.0f MB at most" % (memory, peak(server.process.pid)))
    finally:
        server.stop()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-dovecot", action="store_true")
    p.add_argument("--only-imap", action="store_true")
    p.add_argument("--messages", type=int)
    a = p.parse_args()
    n = a.messages or (10000 if a.quick else 100000)
    with disk(16 << 10, "-J", "size=128", "-N", "2000000") as d:
        source = d.path + "/source"
        size = make_maildir(source, n)
        print("%d messages, %.0f MB" % (n, size / 1e6))
        if a.only_imap:
            os.mkdir(d.path + "/dovecot")
            with Dovecot(d.path + "/dovecot") as theirs:
                theirs.own(source)
                return over_imap(a.binary, d, theirs, source, n)
        ours = {}
        server = Posthouse(a.binary, d.path)
        try:
            data, user = server.info["data"], server.info["accounts"][0]["address"]
            quiet = Deliveries(server.port, server.info["accounts"][1]["address"])
            quiet.start()
            time.sleep(3)
            print("alone: " + quiet.stop())
            busy = Deliveries(server.port, server.info["accounts"][1]["address"])
            busy.start()
            seconds, memory, out = run(a.binary, "import", "maildir", source, "--account", user, "--data", data, "--json")
            told = busy.stop()
            assert json.loads(out)["imported"] == n, out
            ours["import"] = row("posthouse import maildir", seconds, n, "command %.0f MB, server %.0f MB at most" % (
                memory, peak(server.process.pid)))
            print("meanwhile: " + told)
            seconds, memory, out = run(a.binary, "import", "maildir", source, "--account", user, "--data", data, "--json")
            assert json.loads(out)["unchanged"] == n, out
            ours["again"] = row("again, nothing changed", seconds, n, "command %.0f MB" % memory)
            seconds, memory, out = run(a.binary, "export", "maildir", d.path + "/out", "--account", user, "--data", data, "--json")
            assert json.loads(out)["exported"] == n, out
            row("posthouse export maildir", seconds, n, "command %.0f MB, server %.0f MB at most" % (
                memory, peak(server.process.pid)))
            shutil.rmtree(d.path + "/out")
        finally:
            server.stop()
        if a.no_dovecot or not shutil.which("doveadm"):
            return
        os.mkdir(d.path + "/dovecot")
        with Dovecot(d.path + "/dovecot") as theirs:
            theirs.own(source)
            conf = ["doveadm", "-c", d.path + "/dovecot/conf"]
            seconds, memory, _ = run(*conf, "import", "-u", "one", "maildir:" + source, "", "ALL")
            row("doveadm import (to a Maildir)", seconds, n, "command %.0f MB; posthouse needs %.2f of its time" % (
                memory, ours["import"] / seconds))
            seconds, memory, _ = run(*conf, "backup", "-R", "-u", "two", "maildir:" + source)
            row("doveadm backup (dsync, to a Maildir)", seconds, n, "command %.0f MB; posthouse needs %.2f of its time" % (
                memory, ours["import"] / seconds))
            seconds, memory, _ = run(*conf, "backup", "-R", "-u", "two", "maildir:" + source)
            row("again, nothing changed", seconds, n, "command %.0f MB; posthouse needs %.2f of its time" % (
                memory, ours["again"] / seconds))
            over_imap(a.binary, d, theirs, source, n)


main()
