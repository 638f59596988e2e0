# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse serve` from outside: configuration, start and its refusals, what it may still do, reload, stop."""
import datetime
import json
import os
import pathlib
import pwd
import queue
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
from conftest import BINARY, SANITIZED, WAIT, posthouse, read_until, wait_for

USER = "nobody"
AS_ROOT = os.geteuid() == 0
LISTENERS = ("smtp", "submission", "submissions", "imap", "imaps")
MESSAGE = "From: ann@example.com\r\nSubject: Test\r\n\r\nHello.\r\n"


def make_certificate(folder, name="mail.example.com"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-keyout", folder / "key.new", "-out", folder / "cert.pem", "-subj", "/CN=" + name,
                    "-addext", "subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1" % name], check=True, capture_output=True)
    os.chmod(folder / "key.new", 0o600)
    os.rename(folder / "key.new", folder / "key.pem")


class Appliance:
    """A folder with certificate and configuration, and the server that runs on them."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-test-"))
        os.chmod(self.folder, 0o755)
        self.data = self.folder / "data"
        self.path = self.folder / "posthouse.conf"
        self.log_path = self.folder / "log"
        self.process = None
        self.trouble_expected = False
        make_certificate(self.folder)
        self.main = {"hostname": "mail.example.com", "data": self.data, "inet": "ipv4", "drain": "30s",
                     "socket": self.folder / "submit.sock"}
        if AS_ROOT:
            self.main["user"] = USER
        self.tls = {"certificate": self.folder / "cert.pem", "key": self.folder / "key.pem"}
        self.listeners = {name: {"port": 0, "address": "127.0.0.1"} for name in LISTENERS}
        self.more = ""

    @staticmethod
    def section(name, settings):
        return name + " {\n" + "".join("    %s = %s\n" % (k, v) for k, v in settings.items()) + "}\n"

    def write(self, more=None):
        if more is not None:
            self.more = more
        self.path.write_text(self.section("main", self.main) + (self.section("tls", self.tls) if self.tls else "") + "".join(
            self.section('listener "%s"' % name, s) for name, s in self.listeners.items()) + self.more)

    def run(self, *options):
        """One that ends by itself."""
        return subprocess.run([BINARY, "serve", "--config", self.path, *options], capture_output=True, text=True, timeout=WAIT)

    def start(self, more=None, env=None, before=None):
        self.write(more)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*(before or []), BINARY, "serve", "--config", self.path, "--json"], stdout=subprocess.PIPE,
                                            stdin=subprocess.DEVNULL, stderr=log, env=dict(os.environ, **(env or {})))
        line = read_until(self.process.stdout, lambda data: b"\n" in data)
        assert line, self.log()
        self.info = json.loads(line)
        self.ports = {p["name"]: p["port"] for p in self.info["listeners"]}
        return self

    @property
    def pid(self):
        return self.info["pid"]

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def hup(self, event="reloaded"):
        before = self.log().count(event)
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: self.log().count(event) > before, event)

    def command(self, *words, stdin=""):
        return posthouse(*words, "--config", str(self.path), stdin=stdin)

    def seed(self):
        assert self.command("domain", "add", "example.com").code == 0
        assert self.command("user", "add", "ann@example.com", stdin="ann-pass\n").code == 0

    def tls_context(self):
        return ssl.create_default_context(cafile=self.folder / "cert.pem")

    def smtp(self, name="smtp"):
        client = smtplib.SMTP("localhost", self.ports[name], "client.example.org", timeout=WAIT)
        client.ehlo()
        return client

    def deliver(self, client=None):
        client = client or self.smtp()
        assert client.sendmail("someone@example.org", "ann@example.com", MESSAGE) == {}
        client.quit()

    def imap(self):
        import imaplib
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls_context(), timeout=WAIT)
        client.login("ann@example.com", "ann-pass")
        return client

    def count(self):
        client = self.imap()
        n = int(re.search(rb"MESSAGES (\d+)", client.status("INBOX", "(MESSAGES)")[1][0])[1])
        client.logout()
        return n

    def certificate(self, name="submissions"):
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=WAIT) as plain:
            with context.wrap_socket(plain) as tls:
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))

    def wait_end(self):
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail("it did not end\n" + self.log())

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        code = self.wait_end() if self.process else 0
        text = self.log()
        shutil.rmtree(self.folder)
        assert code == 0, text
        trouble = re.search(r"Sanitizer|runtime error:|CHECK failed", text) or (
            not self.trouble_expected and re.search(r"^\S+ error ", text, re.M))
        assert not trouble, text


@pytest.fixture
def appliance():
    a = Appliance()
    yield a
    a.stop()


# ---- configuration
def test_check_config(appliance):
    appliance.write()
    ended = appliance.run("--check-config")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "%s is in order.\n" % appliance.path, "")


@pytest.mark.skipif(not AS_ROOT, reason="root alone needs to know whom to become")
def test_check_config_asks_what_the_start_asks(appliance):
    del appliance.main["user"]
    appliance.write()
    ended = appliance.run("--check-config")
    assert ended.returncode == 1 and "doesn't know whom to become" in ended.stderr


def test_commands_before_the_first_start(appliance):
    appliance.write()
    ended = appliance.command("domain", "add", "example.com")
    assert ended.code == 1
    assert ended.err == ("posthouse: there is no data folder %s yet (main.data): start posthouse serve once, which makes it for its"
                         " user\n" % appliance.data)


def test_all_errors_with_their_lines(appliance):
    appliance.path.write_text("smtp {\n  rcpt_limit = 0\n  banner = x\n  soft_errors = many\n}\n"
                              "listener x { tls = implicitt }\n\nsmpt { }\n")
    ended = appliance.run("--check-config")
    assert ended.returncode == 1
    assert ended.stderr == ("%(p)s:2: smtp: rcpt_limit: '0' is outside 1 to 1000\n"
                            "%(p)s:4: smtp: soft_errors: 'many' is not a number; want a whole number without a unit\n"
                            "%(p)s:6: listener \"x\": tls: unknown value 'implicitt'; did you mean 'implicit'?\n"
                            "%(p)s:8: unknown section 'smpt'; did you mean 'smtp'?\n" % {"p": appliance.path})


@pytest.mark.parametrize("text, want", [
    ('listener "x" { service = imap }', 'listener "x": port is not set'),
    ('listener "x" { port = 1 address = localhost }', "'localhost' is not an IP address"),
    ('listener "x" { port = 1 proxy_from = {10.0.0.1/8} }', "has bits set behind its first 8"),
    ("main { origin = 'a b' }", "'a b' is not a domain name"),
    ("main { postmaster = ann }", "'ann' is not an address"),
    ("smtp { banner = \"a\\nb\" }", "only printable ASCII"),
    ("log { debug = {smtp, spf} }", "log.debug: 'spf' is no module; there are app, control, "),
    # what stages say of their settings, without being opened
    ('milter { endpoints = "inet:host:99999" }', "milter: endpoints: "),
    ("rewrite { rules = foo }", "rewrite: 'foo' is none of: "),
    ("spf { skip = 10.0.0.1/8 }", "spf: skip: "),
    ("rdns { skip = 10.0.0.1/8 }", "rdns: skip: "),
    ("greylist { clients = all skip = nonsense }", "greylist: skip: "),
    ("policy { dkim_required = 'exa mple' }", "policy: dkim_required: "),
    ("dnslist { lists = 'zen.example.org 127.0.0.2=5' }", "dnslist: "),
    ("dmarc { forwarders = 'not a domain!' }", "dmarc: forwarders: "),
    ("arc_seal { domain = 'a b' }", "arc_seal: domain: "),
    ("verify_sender { clients = all ask_as = x }", "verify_sender: ask_as: "),
    ("clamav { database = bodies }", "clamav: database can't be bodies"),
    # what would be insecure, or can't work
    ("relay { trusted_networks = 0.0.0.0/0 }", "it would be an open relay: relay.trusted_networks lets 1.1.1.1"),
    ("guard { trusted = {10.0.0.0/8, 2000::/3} }", "guard.trusted frees 2606:4700::1111"),
    ('listener "x" { port = 26 proxy_from = 0.0.0.0/0 }', 'listener "x": its proxy_from lets 1.1.1.1'),
    ('listener "x" { port = 26 }\nlistener "y" { port = 26 address = ::1 }', 'listeners "x" and "y" both want port 26'),
    ('listener "x" { port = 26 address = 127.0.0.1 }\nmetrics { port = 26 }', 'listener "x" and metrics.port both want port 26'),
    ('program "x" { command = "/nonexistent/check --fast" }', 'program "x": its command /nonexistent/check: No such file'),
])
def test_rules_over_settings(appliance, text, want):
    appliance.write(text)
    ended = appliance.run("--check-config")
    assert ended.returncode == 1
    assert want in ended.stderr


def test_one_port_on_two_addresses(appliance):
    appliance.write('listener "x" { port = 26 address = 127.0.0.1 }\nlistener "y" { port = 26 address = 127.0.0.2 }\n'
                    'metrics { port = 26 address = 127.0.0.3 }')
    assert appliance.run("--check-config").returncode == 0


@pytest.mark.parametrize("mode, owner", [(0o755, "other"), (0o755, "own"), (0o777, "own")])
def test_a_folder_with_other_things_is_left_alone(appliance, mode, owner):
    """No advice to give away, or to close, what isn't posthouse's."""
    folder = appliance.folder / "etc"
    folder.mkdir()
    (folder / "passwd").write_text("x")
    if owner == "other":
        if not AS_ROOT:
            pytest.skip("root alone can give folders away")
        os.chown(folder, 1, 1)
    folder.chmod(mode)
    appliance.main["data"] = '"%s"' % folder
    appliance.write()
    ended = appliance.run("--check-config")
    assert ended.returncode == 1 and "holds other things" in ended.stderr and "run:" not in ended.stderr
    assert folder.stat().st_mode & 0o777 == mode


def test_show_config_is_a_configuration(appliance):
    appliance.write("smtp { banner = \"ESMTP \\\"quoted\\\" \\${HOME}\" }")
    shown = appliance.run("--show-config")
    assert shown.returncode == 0 and '"ESMTP \\"quoted\\" \\${HOME}"' in shown.stdout
    appliance.path.write_text(re.sub(r"^ *# .* is not set\n", "", shown.stdout, flags=re.M))
    again = appliance.run("--show-config")
    assert again.stdout == shown.stdout, again.stderr


def test_parameters_of_the_replaced_systems(appliance):
    appliance.write()
    shown = appliance.run("--show-config").stdout
    for line in ('banner = "ESMTP posthouse"', "soft_errors = 3", "hard_errors = 20", "rcpt_limit = 100", "unknown_local_code = 550",
                 "max_conn_per_user_ip = 25", "inet = ipv4", 'origin = ""', 'postmaster = ""', 'hostname = "mail.example.com"'):
        assert "    %s\n" % line in shown, line


def test_help_settings(appliance):
    everything = subprocess.run([BINARY, "serve", "--help-settings"], capture_output=True, text=True, timeout=WAIT)
    assert everything.returncode == 0
    for section in ("main", "tls", "log", "listener", "smtp", "imap", "store", "directory"):
        assert re.search("^%s$" % section, everything.stdout, re.M)
        one = subprocess.run([BINARY, "serve", "--help-settings", section], capture_output=True, text=True, timeout=WAIT)
        assert one.returncode == 0 and one.stdout in everything.stdout
    wrong = subprocess.run([BINARY, "serve", "--help-settings", "smpt"], capture_output=True, text=True, timeout=WAIT)
    assert wrong.returncode == 2 and "did you mean 'smtp'" in wrong.stderr


def test_usage():
    run = lambda *words: subprocess.run([BINARY, "serve", *words], capture_output=True, text=True, timeout=WAIT)
    assert run("--help").returncode == 0 and "--check-config" in run("--help").stdout
    for wrong in (["--nonsense"], ["leftover"], ["--config"]):
        assert run(*wrong).returncode == 2, wrong
    missing = run("--config", "/nonexistent/posthouse.conf")
    assert missing.returncode == 1 and "cannot read the configuration /nonexistent/posthouse.conf" in missing.stderr


# ---- what it refuses to start with
def refused(appliance, want, *options):
    ended = appliance.run(*options)
    assert ended.returncode == 1
    assert want in ended.stderr, ended.stderr
    assert ended.stderr.count("\n") == 1, "one sentence: " + ended.stderr
    assert ended.stdout == ""


def test_no_certificate(appliance):
    appliance.tls = {}
    appliance.write()
    refused(appliance, "there is no certificate: set tls { certificate = FILE; key = FILE }")


def test_certificate_is_missing(appliance):
    appliance.tls["certificate"] = "/nonexistent/cert.pem"
    appliance.write()
    refused(appliance, "cannot read the certificate /nonexistent/cert.pem: No such file")


def test_key_for_everybody(appliance):
    os.chmod(appliance.folder / "key.pem", 0o644)
    appliance.write()
    refused(appliance, "everybody can read the key %s; run: chmod o= " % (appliance.folder / "key.pem"))


def test_key_of_another_certificate(appliance):
    certificate = (appliance.folder / "cert.pem").read_bytes()
    make_certificate(appliance.folder)
    (appliance.folder / "cert.pem").write_bytes(certificate)
    appliance.write()
    refused(appliance, "does not belong to the certificate")


def test_certificate_for_another_host(appliance):
    appliance.main["hostname"] = "mx.elsewhere.example"
    appliance.write()
    refused(appliance, "the certificate %s is not for mx.elsewhere.example: " % (appliance.folder / "cert.pem"))
    appliance.tls["any_name"] = "yes"
    appliance.write()
    assert appliance.run("--check-config").returncode == 0


@pytest.mark.parametrize("name", ["localhost", "mail", "mail.localdomain", "192.0.2.1", "mail..example.com", "my_mail.example.com"])
def test_host_name_that_is_none(appliance, name):
    appliance.main["hostname"] = name
    appliance.write()
    refused(appliance, "'%s' is not the full name of a host: set main { hostname = " % name)


def test_a_stage_refuses_its_settings(appliance):
    """Late in the start: what has begun by then ends in order."""
    appliance.write("clamav { database = %s }\n" % ("x" * 300))
    ended = appliance.run()
    assert ended.returncode == 1 and "Sanitizer" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("posthouse serve: stage clamav can't be opened: ")


def test_data_folder_for_everybody(appliance):
    appliance.data.mkdir()
    os.chmod(appliance.data, 0o755)
    if AS_ROOT:
        shutil.chown(appliance.data, USER)
    appliance.write()
    refused(appliance, "everybody can look into the data folder %s; run: chmod o= " % appliance.data)


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_root_without_user(appliance):
    del appliance.main["user"]
    appliance.write()
    refused(appliance, "set main { user = posthouse }")


@pytest.mark.skipif(not AS_ROOT, reason="not root")
@pytest.mark.parametrize("user, want", [("root", "main.user is root"), ("no-such-user", "there is no user no-such-user")])
def test_users_that_wont_do(appliance, user, want):
    appliance.main["user"] = user
    appliance.write()
    refused(appliance, want)


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_data_folder_of_another_user(appliance):
    appliance.data.mkdir(mode=0o700)
    appliance.write()
    refused(appliance, "belongs to another user; run: chown -R nobody ")


def test_taken_port(appliance):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        appliance.listeners["smtp"]["port"] = taken.getsockname()[1]
        appliance.write()
        refused_log = appliance.run()
    assert refused_log.returncode == 1
    assert "port %d on 127.0.0.1 is taken by another program" % appliance.listeners["smtp"]["port"] in refused_log.stderr


def test_second_daemon_on_the_folder(appliance):
    appliance.start()
    second = appliance.run()
    assert second.returncode == 1
    assert "in use by process %d" % appliance.pid in second.stderr


# ---- running
def test_mail_goes_in_and_out(appliance):
    appliance.start()
    appliance.seed()
    appliance.deliver()
    assert appliance.count() == 1


def test_ready_line(appliance):
    appliance.start('listener "extra" { service = smtp\n port = 0\n address = 127.0.0.1\n tls = none }\nlistener "imap" { enabled = no }')
    services = {p["name"]: p["service"] for p in appliance.info["listeners"]}
    assert services == {"smtp": "smtp", "submission": "submission", "submissions": "submission", "imaps": "imap", "extra": "smtp"}
    assert appliance.info["data"] == str(appliance.data)
    assert "starttls" not in appliance.smtp("extra").esmtp_features
    assert "starttls" in appliance.smtp("smtp").esmtp_features


def test_no_relay_and_the_codes(appliance):
    appliance.start("smtp { unknown_local_code = 450\n banner = \"ESMTP hello\" }")
    appliance.seed()
    client = appliance.smtp()
    assert client.docmd("MAIL FROM:<a@example.org>")[0] == 250
    assert client.docmd("RCPT TO:<b@example.net>")[0] == 550
    assert client.docmd("RCPT TO:<nobody-here@example.com>")[:1] == (450,)
    assert client.docmd("RCPT TO:<postmaster>")[0] == 250  # nobody is set up as that: the first user
    with socket.create_connection(("127.0.0.1", appliance.ports["smtp"]), timeout=WAIT) as s:
        assert s.recv(1000) == b"220 mail.example.com ESMTP hello\r\n"


def test_postmaster_and_origin(appliance):
    appliance.main.update(postmaster="ann@example.com", origin="example.com")
    appliance.start()
    appliance.seed()
    client = appliance.smtp()
    client.docmd("MAIL FROM:<a@example.org>")
    for who in ("postmaster", "postmaster@example.com", "root@example.com", "abuse@example.com"):
        assert client.docmd("RCPT TO:<%s>" % who)[0] == 250, who
    login = appliance.imap()
    login.logout()


def test_imap_connections_of_one_user(appliance):
    appliance.start("imap { max_conn_per_user_ip = 2 }")
    appliance.seed()
    open_ones = [appliance.imap(), appliance.imap()]
    with pytest.raises(Exception, match="LIMIT"):
        appliance.imap()
    open_ones.pop().logout()
    open_ones.append(wait_for(lambda: try_imap(appliance), "room for one more"))
    for client in open_ones:
        client.logout()


def try_imap(appliance):
    try:
        return appliance.imap()
    except Exception:
        return None


# ---- what it may still do
def threads(pid):
    return [pathlib.Path(p) / "status" for p in pathlib.Path("/proc/%d/task" % pid).iterdir()]


def status(path):
    return dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)


def test_every_thread_is_sandboxed(appliance):
    appliance.start()
    found = [status(path) for path in threads(appliance.pid)]
    assert len(found) > 5
    for s in found:
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", s["Name"]
        for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(s[caps], 16) == 0, (s["Name"], caps)
    assert "sandbox_incomplete" not in appliance.log()


def test_sandbox_can_be_switched_off(appliance):
    appliance.main["sandbox"] = "no"
    appliance.start()
    assert {status(path)["Seccomp"] for path in threads(appliance.pid)} == {"0"}
    assert "sandbox_off" in appliance.log()


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_root_becomes_its_user(appliance):
    appliance.start()
    nobody = pwd.getpwnam(USER)
    for path in threads(appliance.pid):
        s = status(path)
        assert set(s["Uid"].split()) == {str(nobody.pw_uid)} and set(s["Gid"].split()) == {str(nobody.pw_gid)}
        assert int(s["CapBnd"], 16) == 0
    for name in ("", "lock", "control.sock", "store.db", "directory.db"):
        assert (appliance.data / name).stat().st_uid == nobody.pw_uid
    assert appliance.data.stat().st_mode & 0o777 == 0o700


def children(pid):
    return [int(n) for n in pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()]


def by_name(pid, *names):
    """Its children, one of each name, in that order: they name themselves, maybe after the server is ready."""
    def named():
        found = {pathlib.Path("/proc/%d/comm" % n).read_text().strip(): n for n in children(pid)}
        return set(names) <= set(found) and [found[name] for name in names]
    return wait_for(named, names)


def keeps(pid, capabilities):
    """Its status, when it has given away all others and may have no new ones."""
    def given():
        s = status(pathlib.Path("/proc/%d/status" % pid))
        return int(s["CapEff"], 16) == capabilities == int(s["CapPrm"], 16) and s["NoNewPrivs"] == "1" and s
    return wait_for(given, "capabilities %x alone" % capabilities)


def has_ended(pid):
    """In a container nobody may fetch what is left of an orphan."""
    try:
        return "\nState:\tZ" in pathlib.Path("/proc/%d/status" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_helper_has_one_capability_and_ends_with_the_daemon(appliance):
    appliance.trouble_expected = True
    appliance.start()
    helper, supervisor = by_name(appliance.pid, "posthouse-help", "posthouse-run")
    runner, = by_name(supervisor, "posthouse-exec")
    s = keeps(helper, 1 << 2)  # CAP_DAC_READ_SEARCH
    assert SANITIZED or s["Threads"] == "1"  # TSan has one of its own
    os.kill(appliance.pid, signal.SIGTERM)
    assert appliance.wait_end() == 0
    wait_for(lambda: has_ended(helper) and has_ended(supervisor) and has_ended(runner), "the end of the helper")


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_the_runner_is_the_user_and_can_only_become_others(appliance):
    appliance.start()
    supervisor, = by_name(appliance.pid, "posthouse-run")
    runner, = by_name(supervisor, "posthouse-exec")
    for pid in supervisor, runner:
        s = keeps(pid, 1 << 5 | 1 << 6 | 1 << 7)  # CAP_KILL, CAP_SETGID, CAP_SETUID
        assert set(s["Uid"].split()) == {str(pwd.getpwnam(USER).pw_uid)}
        assert int(s["CapBnd"], 16) == 0
    appliance.process.kill()
    assert appliance.wait_end() == -signal.SIGKILL
    appliance.process = None
    wait_for(lambda: has_ended(runner) and has_ended(supervisor), "the end of the runner")


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_a_supervisor_may_take_capabilities_away(appliance):
    appliance.start(before=["setpriv", "--bounding-set", "-all,+setuid,+setgid,+setpcap,+dac_read_search,+chown,+dac_override"])
    runner = by_name(appliance.pid, "posthouse-run")[-1]
    keeps(runner, 1 << 6 | 1 << 7)
    appliance.seed()
    appliance.deliver()


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_capability_instead_of_root(appliance):
    del appliance.main["user"]
    nobody = pwd.getpwnam(USER)
    for name in ("", "key.pem"):
        os.chown(appliance.folder / name, nobody.pw_uid, nobody.pw_gid)
    appliance.start(before=["setpriv", "--reuid", USER, "--regid", str(nobody.pw_gid), "--clear-groups", "--inh-caps=+net_bind_service",
                            "--ambient-caps=+net_bind_service"])
    runner, = by_name(appliance.pid, "posthouse-run")
    assert children(appliance.pid) == [runner]
    for s in [*map(status, threads(appliance.pid)), keeps(runner, 0)]:
        assert s["CapEff"] == s["CapPrm"] == s["CapAmb"] == "0" * 16
    appliance.seed()
    appliance.deliver()


# ---- reload
def test_new_settings_for_new_sessions(appliance):
    appliance.start()
    appliance.seed()
    old = appliance.smtp()
    appliance.write("smtp { rcpt_limit = 1\n banner = \"ESMTP second\" }")
    appliance.hup()
    new = appliance.smtp()
    for client, code in ((old, 250), (new, 452)):
        client.docmd("MAIL FROM:<a@example.org>")
        assert client.docmd("RCPT TO:<ann@example.com>")[0] == 250
        assert client.docmd("RCPT TO:<ann+two@example.com>")[0] == code
        client.quit()


def test_reload_in_the_middle_of_a_transfer(appliance):
    appliance.start()
    appliance.seed()
    client = appliance.smtp()
    client.docmd("MAIL FROM:<a@example.org>")
    client.docmd("RCPT TO:<ann@example.com>")
    assert client.docmd("DATA")[0] == 354
    client.send("Subject: Half\r\n\r\n" + "x" * 70 + "\r\n")
    appliance.write("smtp { message_limit = 64K }")
    appliance.hup()
    for _ in range(2000):
        client.send("y" * 70 + "\r\n")
    appliance.hup()
    client.send(".\r\n")
    assert client.getreply()[0] == 250
    assert client.docmd("NOOP")[0] == 250
    assert "size" in client.esmtp_features and client.esmtp_features["size"] == str(50 << 20)
    assert appliance.smtp().esmtp_features["size"] == str(64 << 10)
    assert appliance.count() == 1


def test_new_certificate(appliance):
    appliance.start()
    appliance.seed()
    first = appliance.certificate()
    old = appliance.imap()
    waiting = smtplib.SMTP("localhost", appliance.ports["submission"], "client.example.org", timeout=WAIT)
    waiting.ehlo()
    make_certificate(appliance.folder)
    assert appliance.certificate() == first, "not before it is told"
    appliance.hup()
    second = appliance.certificate()
    assert second != first and second == appliance.certificate("imaps")
    assert old.noop()[0] == "OK"
    waiting.starttls(context=appliance.tls_context())  # which verifies with the new one
    waiting.login("ann@example.com", "ann-pass")
    waiting.quit()
    appliance.deliver()


def test_broken_configuration_changes_nothing(appliance):
    appliance.trouble_expected = True
    appliance.start("smtp { banner = first }")
    good = appliance.path.read_text()
    for text, why in ((good.replace("banner", "bannner"), "did you mean 'banner'"), (good + "smtp {", "a } or a quote is missing"),
                      (good.replace("mail.example.com", "mail"), "is not the full name of a host"),
                      (good.replace("cert.pem", "gone.pem"), "gone.pem")):
        appliance.path.write_text(text.replace("= first", "= second"))
        appliance.hup("reload_failed")
        assert why in [line for line in appliance.log().splitlines() if "reload_failed" in line][-1]
    (appliance.folder / "cert.pem").write_text("nonsense")
    appliance.path.write_text(good)
    appliance.hup("reload_failed")
    client = smtplib.SMTP()
    assert client.connect("localhost", appliance.ports["smtp"])[1] == b"mail.example.com first"
    client.quit()
    make_certificate(appliance.folder)
    appliance.path.write_text(good.replace("= first", "= third"))
    appliance.hup()
    assert client.connect("localhost", appliance.ports["smtp"])[1] == b"mail.example.com third"
    client.quit()


def test_what_needs_a_restart_is_said(appliance):
    appliance.start()
    appliance.main["inet"] = "any"
    appliance.listeners["smtp"]["max_connections"] = 5
    appliance.write('store { readers = 3 }\nlistener "new" { port = 0 }\nfilters { watchdog = 11s }\nclamav { threads = 3 }')
    appliance.hup()
    lines = [line for line in appliance.log().splitlines() if "needs_restart" in line]
    assert [re.search(r'section=(\S+|".*") setting=(\S+|".*")$', line).groups() for line in lines] == [
        ("main", "inet"), ("store", "readers"), ("filters", "watchdog"), ("clamav", "threads"), (r'"listener \"smtp\""', "max_connections"),
        (r'"listener \"new\""', '"it is new"')]


def test_many_reloads_at_once(appliance):
    appliance.start()
    appliance.seed()
    for n in range(50):
        os.kill(appliance.pid, signal.SIGHUP)
        if n % 10 == 0:
            appliance.deliver()
    wait_for(lambda: "reloaded" in appliance.log(), "a reload")
    assert appliance.count() == 5


# ---- the end
def test_sigterm_drains_a_transaction(appliance):
    appliance.start()
    appliance.seed()
    idle, busy = appliance.smtp(), appliance.smtp()
    busy.docmd("MAIL FROM:<a@example.org>")
    busy.docmd("RCPT TO:<ann@example.com>")
    assert busy.docmd("DATA")[0] == 354
    os.kill(appliance.pid, signal.SIGTERM)
    assert idle.getreply()[0] == 421
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", appliance.ports["smtp"]), timeout=WAIT).recv(1)
        raise ConnectionError  # it was taken but not greeted
    busy.send("Subject: Last\r\n\r\nWords.\r\n.\r\n")
    assert busy.getreply()[0] == 250
    busy.close()
    assert appliance.wait_end() == 0
    appliance.start()
    assert appliance.count() == 1


def test_drain_has_an_end(appliance):
    appliance.main["drain"] = "200ms"
    appliance.start()
    appliance.seed()
    busy = appliance.smtp()
    busy.docmd("MAIL FROM:<a@example.org>")
    busy.docmd("RCPT TO:<ann@example.com>")
    busy.docmd("DATA")
    os.kill(appliance.pid, signal.SIGTERM)
    assert busy.getreply()[0] == 421
    assert appliance.wait_end() == 0


# ---- systemd, log, proxies, commands
def test_sd_notify(appliance):
    path = appliance.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        os.chmod(path, 0o777)
        said = queue.Queue()

        def listen():  # all the time: the kernel keeps few messages for who doesn't, and the server doesn't wait
            while data := s.recv(1000):
                said.put(dict(line.split("=", 1) for line in data.decode().splitlines()))
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        appliance.start(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"})
        told = lambda: said.get(timeout=WAIT)

        def until(key):
            while True:
                now = told()
                if key in now:
                    return now
                assert set(now) == {"WATCHDOG"}

        assert until("READY")["READY"] == "1"
        assert told() == {"WATCHDOG": "1"} == told()
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        appliance.hup()
        assert before < int(until("RELOADING")["MONOTONIC_USEC"]) < time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        assert until("READY")
        os.kill(appliance.pid, signal.SIGTERM)
        assert until("STOPPING")["STOPPING"] == "1"
        s.shutdown(socket.SHUT_RDWR)  # the listener's end
        listener.join()


def test_json_log_ties_session_and_message(appliance):
    appliance.start("log { format = json }")
    appliance.seed()
    appliance.deliver()

    def ended():  # the session that had a message; what is read while it is written ends in a part of a line
        lines = [json.loads(line) for line in appliance.log().rpartition("\n")[0].splitlines()]
        sids = {line["sid"] for line in lines if "mid" in line}
        return any(line["event"] == "closed" and line["sid"] in sids for line in lines) and lines
    lines = wait_for(ended, "the end of the session")
    for line in lines:
        datetime.datetime.strptime(line["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")
        assert line["level"] in ("info", "warn") and line["module"] and line["event"]
    with_message = [line for line in lines if "mid" in line]
    assert len({(line["sid"], line["mid"]) for line in with_message}) == 1
    assert [type(line["body"]) for line in with_message if line["event"] == "accepted"] == [str]  # beyond 2^53


def test_log_is_logfmt(appliance):
    """key=value throughout, as tools read it."""
    appliance.start()
    appliance.seed()
    appliance.deliver()
    log = wait_for(lambda: " event=closed " in appliance.log() and appliance.log(), "the end of the session")
    for line in log.rpartition("\n")[0].splitlines():
        assert re.fullmatch(r'ts=[-0-9T:.]+Z level=[a-z]+ module=[a-z]+ event=[a-z0-9_-]+( [a-z0-9_]+=([^ "=\\]+|"([^"\\]|\\.)*"))*', line), line


def test_level_and_debug_of_a_module(appliance):
    appliance.start("log { level = warn\n debug = {smtp} }")
    appliance.smtp().quit()
    wait_for(lambda: " level=debug module=smtp event=state " in appliance.log(), "a debug line")
    assert " module=app " not in appliance.log()
    appliance.write("log { level = error }")
    os.kill(appliance.pid, signal.SIGHUP)

    def quiet():
        before = appliance.log()
        appliance.smtp().quit()
        return appliance.log() == before

    wait_for(quiet, "the log being quiet")


def test_journal_prefix(appliance):
    appliance.log_path.touch()
    st = appliance.log_path.stat()
    appliance.start(env={"JOURNAL_STREAM": "%d:%d" % (st.st_dev, st.st_ino)})
    assert all(line.startswith("<6>level=info module=") for line in appliance.log().splitlines())


def test_proxy(appliance):
    for name in ("smtp", "submissions"):
        appliance.listeners[name]["proxy_from"] = "{127.0.0.0/8}"
    appliance.start()
    appliance.seed()
    with socket.create_connection(("127.0.0.1", appliance.ports["smtp"]), timeout=WAIT) as s:
        s.sendall(b"PROXY TCP4 203.0.113.77 127.0.0.1 4321 25\r\n")
        assert s.recv(1000).startswith(b"220 ")
        s.sendall(b"QUIT\r\n")
    wait_for(lambda: "ip=203.0.113.77" in appliance.log(), "the client's address in the log")
    with socket.create_connection(("127.0.0.1", appliance.ports["submissions"]), timeout=WAIT) as s:
        s.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("203.0.113.78") * 2 + b"\x10\xe1\0\x19")
        with appliance.tls_context().wrap_socket(s, server_hostname="localhost") as tls:
            assert tls.recv(1000).startswith(b"220 ")
    with socket.create_connection(("127.0.0.1", appliance.ports["smtp"]), timeout=WAIT) as s:
        s.sendall(b"EHLO directly\r\n")
        assert s.recv(1000) == b""
    with socket.create_connection(("127.0.0.1", appliance.ports["imap"]), timeout=WAIT) as s:
        s.recv(1000)
        s.sendall(b"PROXY TCP4 203.0.113.79 127.0.0.1 4321 143\r\n")
        assert b" BAD " in s.recv(1000)
    del appliance.listeners["smtp"]["proxy_from"]
    appliance.write()
    appliance.hup()
    appliance.smtp().quit()
    assert "203.0.113.79" not in appliance.log()


def test_commands_use_the_folder_of_the_configuration(appliance):
    appliance.start("limits { mode = shadow }\n")  # a filter stage's section is one a command knows, too
    appliance.seed()
    os.kill(appliance.pid, signal.SIGTERM)
    appliance.wait_end()
    listed = appliance.command("user", "list", "--json")  # without a daemon
    assert [u["address"] for u in listed.json] == ["ann@example.com"]
    if AS_ROOT:
        owner = pwd.getpwnam(USER).pw_uid
        assert {p.stat().st_uid for p in appliance.data.rglob("*")} == {owner}
    appliance.path.write_text("main { dtaa = x }")
    broken = appliance.command("user", "list")
    assert broken.code != 0 and "did you mean 'data'" in broken.err
