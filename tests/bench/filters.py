# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""All filters but the virus scanner, measured against Postfix + rspamd + Dovecot (see filters.sh). Prints rows of medians with min
and max, and the ratios."""
import argparse
import base64
import contextlib
import email.utils
import imaplib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import smtplib
import ssl
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import certs  # noqa: E402
import dkim  # noqa: E402
import dns  # noqa: E402
import filters_peers  # noqa: E402
from bench import spread  # noqa: E402
from disk import disk  # noqa: E402
from netns import Network  # noqa: E402

SIZE = 10240
DOMAINS, SOURCES, KEYS, BOXES = 100, 20, 4, 10
LONGEST = 600  # seconds for one load
HOME, NAMES, OUTSIDE = "10.25.0.1", "10.25.0.53", "203.0.113."
LISTS = "bl.test", "names.test"
# Counted, but never reached.
LIMITS = ("address_connections", "network_connections", "address_messages", "network_messages", "domain_messages",
          "address_recipients", "network_recipients", "domain_recipients")
CONFIG = """
main {{ hostname = mail.example.com
       user = nobody
       inet = ipv4
       socket = "{d}/submit.sock"
       data = "{d}/data" }}
tls {{ certificate = "{d}/cert.pem"
      key = "{d}/key.pem" }}
listener "smtp" {{ port = 25
                  address = {home} }}
listener "submission" {{ enabled = no }}
listener "submissions" {{ enabled = no }}
listener "imap" {{ enabled = no }}
listener "imaps" {{ port = 993
                   address = {home} }}
dns {{ forwarders = {{"{names}@53"}}
      trust_anchor = "{anchor}"
      local_zones = {{"test", "113.0.203.in-addr.arpa"}} }}
limits {{
{limits}
}}
rdns {{ missing = refuse
       unconfirmed = refuse }}
helo {{ unresolvable = score }}
dnslist {{ lists = {{"{lists[0]}=127.0.0.2:5"}}
          domain_lists = {{"{lists[1]}=9"}} }}
greylist {{ clients = all
           delay = 1s
           successes = 1 }}
"""
# Which stages must have looked at each message, and what must stand in its head, unless the stage is switched off.
STAGES = ("limits", "rdns", "helo", "dnslist", "spf", "greylist", "headers", "dkim", "dmarc", "authres")
RESULTS = {"spf": "spf=pass", "dkim": "dkim=pass", "dmarc": "dmarc=pass"}


# ---- the mail, and what the DNS says of it

def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60).stdout


class Key:
    def __init__(self, folder, n):
        path = "%s/key%d.pem" % (folder, n)
        openssl("genrsa", "-traditional", "-out", path, "2048")
        self.private = pathlib.Path(path).read_bytes()
        record = "v=DKIM1; k=rsa; p=" + base64.b64encode(openssl("rsa", "-in", path, "-pubout", "-outform", "DER")).decode()
        self.record = " ".join('"%s"' % record[i:i + 250] for i in range(0, len(record), 250))


def zones(names, keys):
    """Domains that have their mail sent by one provider, whose hosts have names that lead back."""
    out = ['_spf.provider TXT "v=spf1 ip4:%s0/24 ~all"' % OUTSIDE]
    for n in range(SOURCES):
        out.append("out%d.provider A %s%d" % (n, OUTSIDE, n + 10))
    for n in range(DOMAINS):
        out += ["d%d MX 10 mx.d%d" % (n, n), "mx.d%d A %s250" % (n, OUTSIDE),
                'd%d TXT "v=spf1 mx include:_spf.provider.test -all"' % n,
                "s._domainkey.d%d TXT %s" % (n, keys[n % len(keys)].record),
                '_dmarc.d%d TXT "v=DMARC1; p=reject; adkim=s; aspf=s"' % n]
    names.zone("test", "\n".join(out), ttl=3600)
    names.zone("113.0.203.in-addr.arpa", "\n".join("%d PTR out%d.provider.test." % (n + 10, n) for n in range(SOURCES)), ttl=3600)
    names.zone("example.com", "@ MX 10 mail\nmail A %s\n" % HOME)
    names.zone(LISTS[0], "2.0.0.127 A 127.0.0.2")
    names.zone(LISTS[1], "test A 127.0.0.2")


def message(rng, words, n, domain, to):
    lines = ["From: Someone <someone@%s>" % domain, "To: <%s>" % to, "Subject: %s" % " ".join(rng.choices(words, k=5)),
             "Date: " + email.utils.formatdate(), "Message-ID: <%d.%d@%s>" % (n, rng.getrandbits(60), domain),
             "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", ""]
    size = sum(len(line) + 2 for line in lines)
    while size < SIZE:
        lines.append(" ".join(rng.choices(words, k=10)))
        size += len(lines[-1]) + 2
    return "\r\n".join([*lines, ""]).encode()


def make_mail(folder, count, keys):
    """Signed messages, and the index that smtp_load reads. Returns its path."""
    rng = random.Random(5)
    words = ["".join(rng.choices(["ba", "no", "ri", "tes", "lu", "mar", "ken", "do", "sil", "pe"], k=rng.randint(1, 4)))
             for _ in range(2000)]
    lines = []
    for n in range(count):
        domain, to = "d%d.test" % (n % DOMAINS), "user%d@example.com" % (n % BOXES)
        text = message(rng, words, n, domain, to)
        text = dkim.sign(text, b"s", domain.encode(), keys[n % DOMAINS % len(keys)].private,
                         canonicalize=(b"relaxed", b"relaxed")) + text
        path = "%s/%d" % (folder, n)
        pathlib.Path(path).write_bytes(text)
        source = n % SOURCES
        lines.append("%s %s%d out%d.provider.test someone@%s %s\n" % (path, OUTSIDE, source + 10, source, domain, to))
    pathlib.Path(folder, "index").write_text("".join(lines))
    return folder + "/index"


# ---- the server

class Posthouse:
    name, part, home = "posthouse", 1, HOME

    def __init__(self, binary, folder, names, off):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.folder.mkdir()
        self.folder.chmod(0o755)
        certificate = certs.Authority(self.folder / "ca").certificate("mail.example.com")
        shutil.copy(certificate.chain, self.folder / "cert.pem")
        shutil.copy(certificate.key, self.folder / "key.pem")
        shutil.copy(names.anchor, self.folder / "anchor")
        self.config = self.folder / "posthouse.conf"
        self.config.write_text(CONFIG.format(d=self.folder, home=HOME, names=NAMES, anchor=self.folder / "anchor", lists=LISTS,
                                             limits="\n".join("%s = 1000000" % s for s in LIMITS)))
        self.group = filters_peers.group("posthouse")
        with open(self.config, "a") as f:
            f.writelines("%s { mode = off }\n" % stage for stage in off)
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([binary, "serve", "--config", str(self.config), "--json"], stdout=subprocess.PIPE,
                                            stdin=subprocess.DEVNULL, stderr=log, preexec_fn=self.group.enter)
        try:
            if not self.process.stdout.readline():
                raise SystemExit("posthouse did not start: " + self.log())
            self.command("domain", "add", "example.com")
            for n in range(BOXES):
                self.command("user", "add", "user%d@example.com" % n, words="pass\n")
            self.wait_lists(off)
        except BaseException:
            self.stop()
            raise

    def command(self, *command, words=""):
        return subprocess.run([self.binary, *command, "--config", str(self.config)], input=words, stdout=subprocess.PIPE, check=True,
                              text=True, timeout=60).stdout

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def wait_lists(self, off):
        until = time.monotonic() + 60
        while "dnslist" not in off and not all("list %s is on" % name in self.log() for name in LISTS):
            if time.monotonic() > until:
                raise SystemExit("the DNS lists aren't in use: " + self.log()[-2000:])
            time.sleep(0.1)

    def cpu(self):
        return self.group.cpu()

    def cpu_of_each(self):
        return {self.name: self.cpu()}

    def memory(self):
        return self.group.memory()

    def delivered(self, count):  # acknowledged is delivered
        pass

    def check(self, off):
        ident = re.search(r"^\s+id (\d+)", check_results(self, off), re.M)[1]
        if set(STAGES) <= set(off):
            return  # nothing is kept
        looked = list(dict.fromkeys(s["stage"] for s in json.loads(self.command("explain", ident, "--json"))["stages"]))
        print("stages that look at each message: " + ", ".join(looked), flush=True)
        lacking = set(STAGES) - set(off) - set(looked)
        if lacking:
            raise SystemExit("these stages have not: " + ", ".join(sorted(lacking)))

    def newest(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with imaplib.IMAP4_SSL(HOME, 993, ssl_context=context, timeout=60) as imap:
            imap.login("user0@example.com", "pass")
            count = imap.select("INBOX", readonly=True)[1][0]
            return imap.fetch(count, "(RFC822)")[1][0][1]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.group.remove()


def check_results(server, off=()):
    """It isn't quick for having done less."""
    head = server.newest().replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    for stage, words in RESULTS.items():
        if words not in head and stage not in off and "authres" not in off:
            raise SystemExit("%s has not found %s:\n%s" % (server.name, words, head))
    return head


# ---- the load

def load(tool, server, index, connections, messages):
    run = subprocess.run([tool, "-i", index, server.home, "25", str(connections), str(messages)], stdout=subprocess.PIPE,
                         timeout=LONGEST)
    if run.returncode != 0:
        raise SystemExit("%s refused mail: %s" % (server.name, run.stdout.decode()))
    return json.loads(run.stdout)


def introduce(server, index):
    """The first message comes until it is taken: greylisting knows the clients afterwards."""
    path, source, helo, sender, to = open(index).readline().split()
    until = time.monotonic() + 60
    while True:
        with smtplib.SMTP(timeout=60, local_hostname=helo, source_address=(source, 0)) as client:
            client.connect(server.home, 25)
            try:
                client.sendmail(sender, [to], pathlib.Path(path).read_bytes())
                return
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as e:
                if time.monotonic() > until:
                    raise SystemExit("%s takes no mail: %s" % (server.name, e))
        time.sleep(0.3)


def warm_up(server, tool, index, off):
    introduce(server, index)
    server.delivered(1)
    server.check(off)
    count = sum(1 for _ in open(index)) // (4 if server.part > 1 else 1)
    load(tool, server, index, 8, count)
    server.delivered(count)


def measure(tool, server, index, connections, messages):
    """(messages/s acknowledged, messages/s until the last is in its mailbox, ms of CPU a message, p99 ms, octets of memory)"""
    before, began = server.cpu(), time.monotonic()
    result = load(tool, server, index, connections, messages)
    server.delivered(messages)
    took, memory = time.monotonic() - began, server.memory()
    time.sleep(0.3)  # what it has to write down afterwards belongs to it too
    return result["per_second"], messages / took, (server.cpu() - before) * 1000 / messages, result["p99_ms"], memory


ROWS = (("in mailbox/s", 1, "%.0f", 1), ("acknowledged/s", 0, "%.0f", 1), ("CPU ms", 2, "%.2f", 1), ("p99 ms", 3, "%.1f", 1),
        ("memory MB", 4, "%.1f", 1e6))


def rates(servers, tool, index, connections, quick):
    runs, names, count = (1 if quick else 3), [s.name for s in servers], 2000 if quick else 8000
    print("\n10 KB messages, signed, one a connection; median (min..max) of %d runs in turn; load average %.1f" % (
        runs, os.getloadavg()[0]))
    for at_once in connections:
        found, parts = {n: [] for n in names}, servers[-1].cpu_of_each()
        for _ in range(runs):
            for server in servers:
                found[server.name].append(measure(tool, server, index, at_once, count // server.part))
        print("%-24s %s" % ("%d connections" % at_once, " ".join("%-28s" % n for n in names)))
        for title, column, form, unit in ROWS:
            values = [[run[column] / unit for run in found[n]] for n in names]
            print("  %-22s %s" % (title, " ".join("%-28s" % spread(v, form) for v in values)), end="")
            middle = [statistics.median(v) for v in values]
            print("%.1fx" % (max(middle) / min(middle)) if len(names) > 1 else "", flush=True)
        if len(names) > 1:
            show_parts(servers[-1], parts, runs * (count // servers[-1].part))


def show_parts(server, before, count):
    after = server.cpu_of_each()
    print("  CPU ms of each: " + ", ".join("%s %.2f" % (n.lower(), (after[n] - before[n]) * 1000 / count) for n in after), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("tool")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--off", default="", help="stages that don't run, to see what each costs")
    p.add_argument("--connections", default="8,64")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers end, too
    off = [s for s in a.off.split(",") if s]
    print("%d CPUs, load average before the start %.1f" % (os.cpu_count(), os.getloadavg()[0]))
    with Network(), disk(8 << 10, "-J", "size=128") as d, contextlib.ExitStack() as stack:
        os.chmod(d.path, 0o755)
        subprocess.run(["ip", "route", "add", "local", OUTSIDE + "0/24", "dev", "lo"], check=True, timeout=30)
        names = stack.enter_context(dns.Server(address=NAMES, port=53))
        os.mkdir(d.path + "/mail")
        keys = [Key(d.path + "/mail", n) for n in range(KEYS)]
        zones(names, keys)
        names.start()
        index = make_mail(d.path + "/mail", 100 if a.quick else 400, keys)
        servers = [Posthouse(a.binary, d.path + "/posthouse", names, off)]
        stack.callback(servers[0].stop)
        if not a.no_peers and filters_peers.missing():
            print("no peers: %s is missing" % filters_peers.missing())
        elif not a.no_peers:
            servers.append(filters_peers.Stack(d.path, NAMES, LISTS[0], check_results))
            stack.callback(servers[1].stop)
        for server in servers:
            warm_up(server, a.tool, index, off)
        rates(servers, a.tool, index, [int(n) for n in a.connections.split(",")], a.quick)


main()
