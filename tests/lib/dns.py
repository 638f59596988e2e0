# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A name server of one's own for tests: zones from text, signed (DNSSEC) or not, below a root of its own.

    with dns.Server(folder) as server:                    # 127.0.0.1, a free port; address=, port= choose others
        server.zone("example.test", "@ MX 10 mx\\n"
                                    "mx A 127.0.0.25\\n"
                                    "_25._tcp.mx TLSA 3 1 1 " + digest, signed=True)
        server.zone("plain.test", "@ MX 10 mx\\nmx A 127.0.0.26")        # provably unsigned
        server.zone("forged.test", "@ A 127.0.0.27", signed=True, forged=("A",))   # answers are bogus
        server.zone("stale.test", "@ A 127.0.0.28", signed=True, expired=True)     # bogus, too
        server.zone("broken.test", None)                                           # SERVFAIL
        server.start()                                    # returns when it answers; raises after 60 s
        posthouse(..., *server.settings())                # "dns.forwarders=127.0.0.1@40053", ...
        server.zone("plain.test", "@ MX 0 .")             # other records from the next restart() on
        server.restart()                                  # same port, same keys; mind what is cached: ttl=0
        server.freeze(); server.thaw()                    # questions meet silence; what came meanwhile is answered late

Records are lines as in a zone file, names relative to the zone; SOA and NS are added. Every zone is delegated from the nearest
zone above it, at last from the root, which is signed too and whose key is in the file `anchor`. Everything else is NXDOMAIN.
The server runs in the network namespace it was started in and never asks others. It also answers a resolver that recurses on its
own if it gets port 53 and the address of a root server. Needs nsd; ldns-keygen and ldns-signzone (ldnsutils): see missing().

As a program, for tests in other languages: reads a JSON object {"zone": {"records": "...", "signed": true, ...}, ...} up to the end
of a line from stdin, writes {"port": N, "anchor": "file"} and serves until its stdin ends.
"""
import base64
import contextlib
import glob
import ipaddress
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

START = 60  # seconds until a server that doesn't answer counts as failed
COMMAND = 60
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


def missing():
    """The programs that aren't installed, as text; empty: it can run."""
    return ", ".join(p for p in ("nsd", "ldns-keygen", "ldns-signzone") if not shutil.which(p))


def absolute(name):
    return name.strip(".").lower() + "."


class Zone:
    def __init__(self, records, signed, forged, expired, ttl):
        self.records, self.signed, self.forged, self.expired, self.ttl = records, signed, tuple(forged), expired, ttl


class Server:
    def __init__(self, folder=None, address="127.0.0.1", port=0):
        self.own = None if folder else tempfile.mkdtemp(prefix="posthouse-dns-")
        self.folder = pathlib.Path(folder or self.own)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address, self.port, self.any_port = address, port, not port
        self.zones, self.process = {".": Zone("", True, (), False, 60)}, None
        self.anchor = str(self.folder / "anchor.ds")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.own:
            shutil.rmtree(self.own, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    @property
    def forwarder(self):
        return "%s@%d" % (self.address, self.port)

    def settings(self):
        """For posthouse's --set: this server and no other, its anchor, and the zones that libunbound would answer itself."""
        return ("dns.forwarders=" + self.forwarder, "dns.trust_anchor=" + self.anchor,
                "dns.local_zones=test, invalid, localhost, 127.in-addr.arpa, 10.in-addr.arpa, 2.0.192.in-addr.arpa")

    def zone(self, name, records, signed=False, forged=(), expired=False, ttl=60):
        """forged: types whose signatures are damaged. records None: the zone can't be read. Seen at the next (re)start."""
        self.zones[absolute(name)] = Zone(records, signed, forged, expired, ttl)

    # ---- zone files

    def parent(self, name):
        """The zone that delegates it; None: the root's."""
        while name != ".":
            name = name.partition(".")[2] or "."
            if name in self.zones:
                return name
        return None

    def signed(self, name):
        """A zone below an unsigned one has no chain to the root, and one that can't be read no key."""
        return self.zones[name].signed and self.zones[name].records is not None

    def run(self, *command):
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=COMMAND)
        if done.returncode:
            raise RuntimeError("%s: %s" % (" ".join(command), done.stdout))
        return done.stdout

    def key(self, name):
        """One key for everything, made once. Returns the path without ending; .ds holds the parent's record."""
        known = glob.glob(str(self.folder / ("K%s+*.ds" % name)))
        if known:
            return known[0][:-3]
        made = self.run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom", name)
        return str(self.folder / made.split()[-1])

    def delegations(self, above):
        for name in sorted(self.zones):
            if name != "." and self.parent(name) == above:
                yield "%s NS nameserver." % name
                if self.signed(name):
                    yield pathlib.Path(self.key(name) + ".ds").read_text().strip()

    def text(self, name):
        zone = self.zones[name]
        kind = "AAAA" if ":" in self.address else "A"
        lines = ["$ORIGIN %s" % name, "$TTL %d" % zone.ttl,
                 "@ SOA nameserver. hostmaster.nameserver. %d 3600 600 86400 %d" % (int(time.time()), zone.ttl),
                 "@ NS nameserver."]
        if name == ".":
            lines.append("nameserver. %s %s" % (kind, self.address))
        lines += [line for line in zone.records.splitlines() if line.strip()]
        return "\n".join(lines + list(self.delegations(name))) + "\n"

    def forge(self, path, types):
        """Damages the signatures over records of these types: a bit of the last field of each."""
        out = []
        for line in pathlib.Path(path).read_text().splitlines():
            words = line.split()
            if words[3:4] == ["RRSIG"] and words[4] in types:  # owner, TTL, class
                bytes_ = bytearray(base64.b64decode(words[-1]))
                bytes_[7] ^= 1
                line = " ".join(words[:-1] + [base64.b64encode(bytes_).decode()])
            out.append(line)
        pathlib.Path(path).write_text("\n".join(out) + "\n")

    def file(self, name):
        return "zone.%s" % (name if name != "." else "root")

    def write_zone(self, name):
        zone, path = self.zones[name], self.folder / self.file(name)
        if zone.records is None:
            path.unlink(missing_ok=True)
            return
        path.write_text(self.text(name))
        if not self.signed(name):
            return
        day = 24 * 3600
        begin, end = (-20 * day, -10 * day) if zone.expired else (-day, 20 * day)
        times = [time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + at)) for at in (begin, end)]
        self.run("ldns-signzone", "-i", times[0], "-e", times[1], "-f", str(path) + ".signed", "-o", name, str(path),
                 self.key(name))
        os.replace(str(path) + ".signed", path)
        if zone.forged:
            self.forge(path, zone.forged)

    def write(self):
        for name in self.zones:
            self.write_zone(name)
        shutil.copyfile(self.key(".") + ".ds", self.anchor)

    # ---- the server

    def write_config(self):
        lines = ['server:', '  ip-address: %s@%d' % (self.address, self.port), '  server-count: 1', '  username: ""',
                 '  chroot: ""', '  database: ""', '  pidfile: ""', '  zonesdir: "%s"' % self.folder,
                 '  zonelistfile: "%s/zone.list"' % self.folder, '  xfrdfile: "%s/xfrd.state"' % self.folder,
                 '  xfrdir: "%s"' % self.folder, '  hide-version: yes', '  verbosity: 1', '  tcp-timeout: 30',
                 '  rrl-ratelimit: 0', '  rrl-whitelist-ratelimit: 0',  # else 200 answers a second are all
                 'remote-control:', '  control-enable: no']
        for name in self.zones:
            lines += ['zone:', '  name: "%s"' % name, '  zonefile: "%s"' % self.file(name)]
        (self.folder / "nsd.conf").write_text("\n".join(lines) + "\n")

    def choose_port(self):
        """One that is free for UDP and TCP now; another may take it before nsd does: start() then takes the next."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        for _ in range(100):
            with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family, socket.SOCK_STREAM) as tcp:
                udp.bind((self.address, 0))
                with contextlib.suppress(OSError):
                    tcp.bind(udp.getsockname())
                    return udp.getsockname()[1]
        raise RuntimeError("no free port")

    def log(self):
        return (self.folder / "nsd.log").read_text(errors="replace")

    def launch(self):
        self.write_config()
        with open(self.folder / "nsd.log", "ab") as log:
            self.process = subprocess.Popen(["nsd", "-d", "-c", str(self.folder / "nsd.conf")], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def answers(self):
        """Asks for the root's SOA. False: no answer yet, or nsd has ended."""
        family = socket.AF_INET6 if ipaddress.ip_address(self.address).version == 6 else socket.AF_INET
        ident = random.getrandbits(16)
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect((self.address, self.port))
                s.send(struct.pack(">6H", ident, 0, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 6, 1))
                reply = s.recv(4096)
            except ConnectionRefusedError:
                time.sleep(0.02)
                return False
            except OSError:
                return False
        return len(reply) >= 12 and struct.unpack(">H", reply[:2])[0] == ident and reply[3] & 15 == 0

    def start(self):
        """Signs the zones, runs the server and waits until it answers."""
        if missing():
            raise RuntimeError("not installed: " + missing())
        self.write()
        deadline = time.monotonic() + START
        while True:
            if self.any_port and not self.port:
                self.port = self.choose_port()
            self.launch()
            while self.process.poll() is None and time.monotonic() < deadline:
                if self.answers():
                    return self
            ended = self.process.poll() is not None
            self.stop()
            if not (ended and "in use" in self.log()) or time.monotonic() > deadline:
                raise RuntimeError("nsd does not answer: " + self.log()[-2000:])
            if self.any_port:
                self.port = 0
            else:
                time.sleep(0.1)  # children of the one before end, too

    def stop(self):
        if not self.process:
            return
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children, if it left any

    def restart(self):
        self.stop()
        any_port, self.any_port = self.any_port, False
        try:
            return self.start()
        finally:
            self.any_port = any_port

    def freeze(self):
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.killpg(self.pid, signal.SIGCONT)


def main():
    with Server() as server:
        for name, zone in json.loads(sys.stdin.readline()).items():
            server.zone(name, **zone)
        server.start()
        print(json.dumps({"port": server.port, "anchor": server.anchor}), flush=True)
        while sys.stdin.read(4096):
            pass


if __name__ == "__main__":
    main()
