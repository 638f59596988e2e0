# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Receiving mail, measured against Postfix (see smtp.sh). Prints rows of medians with min and max, and the ratio."""
import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bench import Group, Posthouse, spread  # noqa: E402
from disk import disk  # noqa: E402

SIZE = 10240


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.com
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = static:xandros/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
alias_maps =
alias_database =
local_recipient_maps =
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
default_process_limit = 200
smtpd_banner = bench ESMTP
maillog_file = {d}/log
maillog_file_prefixes = {d}
"""


class Postfix:
    name = "postfix"

    def __init__(self, mount):
        import pwd
        user = pwd.getpwnam("postfix")
        self.d = mount + "/postfix"
        for sub in ("", "/queue", "/data", "/mail", "/conf"):
            os.mkdir(self.d + sub)
        os.chown(self.d + "/data", user.pw_uid, user.pw_gid)
        os.chown(self.d + "/mail", user.pw_uid, user.pw_gid)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(self.d + "/conf/main.cf", "w") as f:
            f.write(MAIN_CF.format(d=self.d, uid=user.pw_uid, gid=user.pw_gid))
        master = next(p for p in ("/usr/share/postfix/master.cf.dist", "/etc/postfix/master.cf.proto") if os.path.exists(p))
        lines = []
        for line in open(master):
            words = line.split()
            if line[:1] not in "# \t\n" and len(words) > 7:
                if words[0] == "smtp" and words[1] == "inet":
                    words[0] = "127.0.0.1:%d" % self.port
                words[4] = "n"
                line = " ".join(words) + "\n"
            lines.append(line)
        with open(self.d + "/conf/master.cf", "w") as f:
            f.writelines(lines)
        self.group = Group("bench-postfix")
        subprocess.run(["postfix", "-c", self.d + "/conf", "start"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, preexec_fn=self.group.enter)
        self.count = 0
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)

    def delivered(self, count):
        """Waits until all that was acknowledged is in the Maildir."""
        self.count += count
        folder = self.d + "/mail/xandros/new"
        for _ in range(1200):
            if os.path.isdir(folder) and len(os.listdir(folder)) >= self.count:
                return
            time.sleep(0.05)

    def stop(self):
        subprocess.run(["postfix", "-c", self.d + "/conf", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.group.remove()


def load(tool, port, connections, messages, size=SIZE):
    run = subprocess.run([tool, str(port), str(connections), str(messages), str(size)], stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def rates(servers, tool, quick):
    print("\nAcknowledged 10 KB messages/s, median (min..max) of %d runs in turn; CPU is the server's, ms a message, until all is in the mailbox"
          % (1 if quick else 3))
    names = [s.name for s in servers] + [""] * (2 - len(servers))
    print("%-12s %-28s %-28s %8s   %s" % ("connections", *names, "ratio", "CPU ms/message; p99 ms"))
    for connections, messages in ((1, 1000), (8, 4000), (64, 8000)):
        messages //= 4 if quick else 1
        rate = {s.name: [] for s in servers}
        cpu = {s.name: [] for s in servers}
        p99 = {s.name: [] for s in servers}
        for _ in range(1 if quick else 3):
            for s in servers:
                before = s.group.cpu()
                result = load(tool, s.port, connections, messages)
                s.delivered(messages)
                cpu[s.name].append((s.group.cpu() - before) * 1000 / messages)
                rate[s.name].append(result["per_second"])
                p99[s.name].append(result["p99_ms"])
        medians = [statistics.median(rate[s.name]) for s in servers]
        ratio = "%.1fx" % (medians[0] / medians[1]) if len(medians) > 1 else ""
        print("%-12d %-28s %-28s %8s   %s" % (
            connections, *(spread(rate[s.name]) for s in servers), *([""] if len(servers) == 1 else []), ratio,
            ", ".join("%s %s; %s" % (s.name, spread(cpu[s.name], "%.2f"), spread(p99[s.name], "%.1f")) for s in servers)))
    print("memory at the end: " + ", ".join("%s %.0f MB" % (s.name, s.group.memory() / 1e6) for s in servers))


def background(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


def large(ph, tool, quick):
    messages = 2000 if quick else 6000
    alone = load(tool, ph.port, 8, messages)
    senders = [background(load, tool, ph.port, 1, 1 if quick else 3, 49 << 20) for _ in range(2)]
    time.sleep(0.1)
    beside = load(tool, ph.port, 8, messages)
    for s in senders:
        s.join()
    print("\n8 connections of 10 KB, alone and while two senders of 49 MB messages are at work")
    for name, r in (("alone", alone), ("beside", beside)):
        print("  %-8s %6.0f/s  p50 %.2f ms  p99 %.2f ms  max %.1f ms" % (name, r["per_second"], r["p50_ms"], r["p99_ms"], r["max_ms"]))


def copy(ph, tool, quick):
    want = 10000 if quick else 100000
    load(tool, ph.port, 32, want, 600)
    alone = load(tool, ph.port, 8, 2000)
    imap = ph.imap()
    imap.select("INBOX")
    began, took = time.monotonic(), []

    def work():
        kind, data = imap.uid("COPY", "1:%d" % want, "Archive")
        took.append(time.monotonic() - began)
        assert kind == "OK", data
    thread = background(work)
    beside = load(tool, ph.port, 8, 2000 if quick else 10000)
    still = thread.is_alive()
    thread.join()
    imap.logout()
    print("\n8 connections of 10 KB, alone and during a COPY of %d messages (the COPY took %.1f s, %s)"
          % (want, took[0], "longer than the load" if still else "less than the load"))
    for name, r in (("alone", alone), ("beside", beside)):
        print("  %-8s %6.0f/s  p50 %.2f ms  p99 %.2f ms  max %.1f ms" % (name, r["per_second"], r["p50_ms"], r["p99_ms"], r["max_ms"]))


def stalled(ph, tool, quick):
    seconds = 5 if quick else 60
    if not quick:
        load(tool, ph.port, 32, 20000)
    imap = ph.imap()
    imap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    imap.select("INBOX")
    alone = load(tool, ph.port, 8, 2000)
    imap.send(b"x FETCH 1:* BODY.PEEK[]\r\n")  # and then nothing is read
    first = last = None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        last = load(tool, ph.port, 8, 2000)
        first = first or last
    wal = os.path.getsize(ph.info["data"] + "/store.db-wal")
    imap.shutdown()
    print("\n8 connections of 10 KB while an IMAP client fetches everything and doesn't read for %d s: WAL %.0f MB, memory %.0f MB"
          % (seconds, wal / 1e6, ph.group.memory() / 1e6))
    for name, r in (("alone", alone), ("first", first), ("last", last)):
        print("  %-8s %6.0f/s  p99 %.2f ms" % (name, r["per_second"], r["p99_ms"]))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("tool")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-postfix", action="store_true")
    p.add_argument("--only", choices=("rates", "large", "copy", "stalled"))
    a = p.parse_args()
    with disk(8 << 10, "-J", "size=128") as d:
        mount = d.path
        ph = Posthouse(a.binary, mount)
        print("posthouse at start: %.1f MB" % (ph.group.memory() / 1e6))
        servers = [ph]
        try:
            if not a.no_postfix and a.only in (None, "rates"):
                servers.append(Postfix(mount))
            if a.only in (None, "rates"):
                rates(servers, a.tool, a.quick)
            for row in (large, copy, stalled):
                if a.only in (None, row.__name__):
                    row(ph, a.tool, a.quick)
        finally:
            for s in servers:
                s.stop()


main()
