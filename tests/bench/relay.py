# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Relaying, measured against Postfix and OpenSMTPD (see relay.sh). Prints rows of medians with min and max, and the ratios."""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import smtplib
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import certs  # noqa: E402
import mta  # noqa: E402
from bench import Group, spread  # noqa: E402
from disk import disk  # noqa: E402
from netns import Network  # noqa: E402

SIZE = 10240
LONGEST = 120  # seconds for one run
DEAD_PORT = 9
CONFIG = """
main {{ hostname = relay.example.com
       user = nobody
       inet = ipv4
       socket = "{d}/submit.sock"
       data = "{d}/data" }}
tls {{ certificate = "{d}/cert.pem"
      key = "{d}/key.pem" }}
log {{ level = warn }}
listener "smtp" {{ port = {port}
                  address = 127.0.0.1 }}
listener "submission" {{ enabled = no }}
listener "submissions" {{ enabled = no }}
listener "imap" {{ enabled = no }}
listener "imaps" {{ enabled = no }}
dns {{ forwarders = {{"127.0.0.1@{dead}"}} }}
relay {{ trusted_networks = {{"127.0.0.0/8"}}
        host = "127.0.0.1"
        port = {sink}
        tls = none
        min_backoff = 1d
        max_backoff = 1d }}
"""
# As it comes it is polite to strangers: five connections, and seconds of rest between them.
OPENSMTPD_CONF = """
smtp limit max-mails 100000
mta limit max-conn-per-host 20 max-conn-per-route 20 max-conn-per-domain 20 max-conn-per-relay 20 max-conn-per-connector 20
mta limit conn-delay-host 0 conn-delay-source 0 conn-delay-connector 0 conn-delay-relay 0 conn-delay-domain 0 conn-delay-route 0
mta limit reconn-delay-route 0 session-mail-max 1000 session-transaction-delay 0
"""


class Sink:
    """A process of its own that takes everything for one server."""

    def __init__(self, tools, port):
        self.port = port
        self.process = subprocess.Popen([tools + "/smtp_sink", str(port), "3600"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        self.client = smtplib.SMTP("127.0.0.1", port)

    def count(self):
        return int(self.client.docmd("XCOUNT")[1])

    def wait(self, count, failed):
        until = time.monotonic() + LONGEST
        while self.count() < count:
            if failed() or time.monotonic() > until:
                raise SystemExit("only %d of %d messages arrived" % (self.count(), count))
            time.sleep(0.005)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)


class Posthouse:
    name, part = "posthouse", 1

    def __init__(self, binary, folder, port, sink_port):
        self.binary, self.folder, self.port = binary, pathlib.Path(folder), port
        self.folder.mkdir()
        self.folder.chmod(0o755)
        certificate = certs.Authority(self.folder / "ca").certificate("relay.example.com")
        shutil.copy(certificate.chain, self.folder / "cert.pem")
        shutil.copy(certificate.key, self.folder / "key.pem")
        self.config = self.folder / "posthouse.conf"
        self.configure(sink_port)
        self.group = Group("bench-posthouse")
        self.start()

    def configure(self, sink_port):
        self.config.write_text(CONFIG.format(d=self.folder, port=self.port, sink=sink_port, dead=DEAD_PORT))

    def start(self):
        """Returns the seconds until it was ready."""
        began = time.monotonic()
        self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.config), "--json"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, preexec_fn=self.group.enter)
        self.pid = json.loads(self.process.stdout.readline())["pid"]
        return time.monotonic() - began

    def command(self, *words):
        """(seconds, lines)"""
        began = time.monotonic()
        out = subprocess.run([self.binary, *words, "--config", str(self.config)], stdout=subprocess.PIPE, check=True, timeout=600).stdout
        return time.monotonic() - began, out

    def end(self):
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()

    def stop(self):
        self.end()
        self.group.remove()


class Postfix(mta.Postfix):
    name, networks, processes, part = "postfix", "127.0.0.0/8", 200, 1


class OpenSMTPD(mta.OpenSMTPD):
    name = "opensmtpd"
    part = 4  # it needs minutes for as many as the others get


def peers(folder, sinks):
    """Those that can be had here."""
    for kind, n, options in (
            (Postfix, 1, {"more": ["relayhost = [127.0.0.1]:%d" % sinks[1].port, "smtpd_banner = bench ESMTP", "inet_protocols = ipv4"]}),
            (OpenSMTPD, 2, {"on": "127.0.0.1:%d" % sinks[2].port, "more": OPENSMTPD_CONF})):
        kind.group = Group("bench-" + kind.name)
        try:
            yield kind("%s/%s" % (folder, kind.name), "127.0.0.1", port=2501 + n, **options), sinks[n]
        except mta.NoServer as e:
            print("no %s: %s" % (kind.name, e))


def load(tools, port, connections, messages, size=SIZE, recipients=0):
    run = subprocess.run([tools + "/smtp_load", str(port), str(connections), str(messages), str(size), str(recipients)],
                         stdout=subprocess.PIPE, check=True, timeout=600)
    return json.loads(run.stdout)


def relay(tools, server, sink, connections, messages):
    """(messages/s until the last one is out, ms of CPU a message, messages/s acknowledged)"""
    before, count, began = server.group.cpu(), sink.count(), time.monotonic()
    accepted = []
    loading = threading.Thread(target=lambda: accepted.append(load(tools, server.port, connections, messages)))
    loading.start()
    sink.wait(count + messages, lambda: not loading.is_alive() and not accepted)
    took = time.monotonic() - began
    loading.join()
    time.sleep(0.3)  # what it has to write down afterwards belongs to it too
    return messages / took, (server.group.cpu() - before) * 1000 / messages, accepted[0]["per_second"]


def rates(servers, tools, quick):
    runs = 1 if quick else 3
    print("\nRelayed 10 KB messages/s from the first in to the last out, median (min..max) of %d runs in turn" % runs)
    names = [s.name for s, _ in servers]
    print("%-12s %s" % ("connections", " ".join("%-24s" % n for n in names)))
    for connections, messages in ((8, 4000), (64, 6000)):
        messages //= 4 if quick else 1
        found = {n: [] for n in names}
        for _ in range(runs):
            for server, sink in servers:
                found[server.name].append(relay(tools, server, sink, connections, messages // server.part))
        figures = {n: list(zip(*found[n])) for n in names}
        print("%-12d %s" % (connections, " ".join("%-24s" % spread(figures[n][0]) for n in names)))
        print("%-12s %s" % ("  CPU ms", " ".join("%-24s" % spread(figures[n][1], "%.2f") for n in names)))
        print("%-12s %s" % ("  accepted/s", " ".join("%-24s" % spread(figures[n][2]) for n in names)))
        mine = statistics.median(figures[names[0]][0])
        print("%-12s %s" % ("  ratio", ", ".join("%.1fx %s" % (mine / statistics.median(figures[n][0]), n) for n in names[1:])))
    print("memory at the end: " + ", ".join("%s %.0f MB" % (s.name, s.group.memory() / 1e6) for s, _ in servers))


def queue(binary, tools, folder, quick):
    """Messages that can't leave: their host refuses connections."""
    count = 10000 if quick else 100000
    ph = Posthouse(binary, folder, 2510, DEAD_PORT)
    try:
        empty = ph.group.memory()
        result = load(tools, ph.port, 32, count, 1024, 1000)
        filled = ph.group.memory()
        print("\nA queue of %d messages of 1 KB for 1000 recipients of one site, filled at %.0f/s" % (count, result["per_second"]))
        print("  memory: %.1f MB empty, %.1f MB full: %.0f octets a message" % (empty / 1e6, filled / 1e6, (filled - empty) / count))
        ph.end()
        took = ph.start()
        time.sleep(2)
        print("  start-up with it: %.2f s; memory then %.1f MB" % (took, ph.group.memory() / 1e6))
        for words in (("queue", "list"), ("queue", "list", "--json"), ("queue", "list", "--domain=nowhere.test")):
            seconds, out = ph.command(*words)
            print("  posthouse %-34s %6.2f s  %.1f MB of text" % (" ".join(words), seconds, len(out) / 1e6))
        print("  memory after that %.1f MB; database %.0f MB" % (ph.group.memory() / 1e6, sum(
            f.stat().st_size for f in (ph.folder / "data").glob("store.db*")) / 1e6))
    finally:
        ph.stop()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("tools")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--only", choices=("rates", "queue"))
    a = p.parse_args()
    if not a.no_peers:
        mta.prefetch()  # from the network that there is outside
    with Network(), disk(8 << 10, "-J", "size=128") as d, contextlib.ExitStack() as stack:
        os.chmod(d.path, 0o755)
        if a.only in (None, "rates"):
            sinks = [Sink(a.tools, 2600 + n) for n in range(3)]
            for s in sinks:
                stack.callback(s.stop)
            servers = [(Posthouse(a.binary, d.path + "/posthouse", 2500, sinks[0].port), sinks[0])]
            stack.callback(servers[0][0].stop)
            for server, sink in [] if a.no_peers else peers(d.path, sinks):
                servers.append((server, sink))
                stack.callback(server.stop)
            rates(servers, a.tools, a.quick)
        if a.only in (None, "queue"):
            queue(a.binary, a.tools, d.path + "/queue", a.quick)


main()
