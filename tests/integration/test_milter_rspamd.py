# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""rspamd as a milter of `posthouse serve`: its proxy worker, which looks at mail itself, with a configuration of its own that asks
nobody and has no rules but one."""
import contextlib
import email
import imaplib
import os
import pathlib
import shutil
import smtplib
import socket
import subprocess
import tempfile

import pytest
from conftest import WAIT, wait_for
from test_serve import AS_ROOT, Appliance

RSPAMD = shutil.which("rspamd", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
pytestmark = pytest.mark.skipif(not RSPAMD, reason="rspamd isn't installed")

SENDER, ANN = "someone@example.org", "ann@example.com"
# Found only in a body that is longer than itself.
GTUBE = "This is the test:\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\nthat was it."
# 127.0.0.2 is a place where nobody answers: it has no names to ask for.
CONFIG = """
options {
    filters = "";
    url_tld = "%(d)s/tld";
    tempdir = "%(d)s";
    pidfile = "%(d)s/pid";
    cache_file = "%(d)s/symbols.cache";
    hs_cache_dir = "%(d)s/";
    control_socket = "%(d)s/control.sock mode=0600";
    local_addrs = [];
    dns { nameserver = ["127.0.0.2:9"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "file"; filename = "%(d)s/rspamd.log"; level = "info"; }
metric { name = "default"; actions { reject = 15; add_header = 6; } }
lua = "%(d)s/rules.lua";
worker "rspamd_proxy" {
    bind_socket = "%(d)s/milter.sock mode=0666";
    milter = yes;
    count = 1;
    timeout = 60s;
    reject_message = "Not with us";
    upstream "local" { default = yes; self_scan = yes; }
}
"""
RULES = """
rspamd_config.SEES = {
    callback = function(task)
        task:set_milter_reply({add_headers = {
            ["X-Seen-Client"] = tostring(task:get_from_ip()),
            ["X-Seen-Envelope"] = task:get_from("smtp")[1].addr .. " " .. task:get_recipients("smtp")[1].addr,
            ["X-Seen-Helo"] = task:get_helo(),
            ["X-Seen-Subject"] = task:get_header("Subject"),
        }, remove_headers = {["X-Forged"] = 0}})
        return true
    end,
    score = 1.0,
    description = "what came by the protocol",
}
"""


def log_of(folder):
    return "".join(p.read_text(errors="replace") for p in (folder / "output", folder / "rspamd.log") if p.exists())


@pytest.fixture(scope="module")
def rspamd():
    """The path of its socket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-rspamd-"))
    os.chmod(folder, 0o755)  # posthouse has become another user
    (folder / "conf").write_text(CONFIG % {"d": folder})
    (folder / "rules.lua").write_text(RULES)
    (folder / "tld").write_text("com\norg\n")  # the package's list takes 10 s to load
    with open(folder / "output", "ab") as output:
        process = subprocess.Popen([RSPAMD, "-f", "-c", str(folder / "conf"), *(["--insecure"] if AS_ROOT else [])],
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        def answers():
            assert process.poll() is None, log_of(folder)
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                s.connect(str(folder / "milter.sock"))
                return True
        wait_for(answers, "rspamd's socket", 120)
        yield str(folder / "milter.sock")
    finally:
        process.terminate()
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def post(rspamd):
    a = Appliance()
    a.start('milter {\n endpoints = {"unix:%s"}\n deadline = 2min\n command_timeout = 100s\n content_timeout = 100s\n}\n' % rspamd)
    a.seed()
    yield a
    a.stop()


def send(post, body, subject="Hello", client=None):
    """(code, words)"""
    text = "From: Someone <%s>\r\nTo: <%s>\r\nSubject: %s\r\nX-Forged: yes\r\nMessage-ID: <1@example.org>\r\n" \
           "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n%s\r\n" % (SENDER, ANN, subject, body)
    with contextlib.ExitStack() as stack:
        if not client:
            client = stack.enter_context(smtplib.SMTP("localhost", post.ports["smtp"], "client.example.org", timeout=150))
        try:
            client.sendmail(SENDER, [ANN], text)
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()
        return 250, ""


def inbox(post):
    """All messages, which are gone afterwards."""
    client = imaplib.IMAP4_SSL("localhost", post.ports["imaps"], ssl_context=post.tls_context(), timeout=WAIT)
    client.login(ANN, "ann-pass")
    count = int(client.select("INBOX")[1][0])
    found = [email.message_from_bytes(client.fetch(str(n + 1), "(RFC822)")[1][0][1]) for n in range(count)]
    if found:
        client.store("1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()
    client.logout()
    return found


def test_plain_message_passes(post):
    """It was told everything, and what it wants done with the head is done."""
    assert send(post, "How are you?", "One two")[0] == 250
    found, = inbox(post)
    assert {n: found[n] for n in found.keys() if n.startswith("X-Seen-")} == {
        "X-Seen-Client": "127.0.0.1", "X-Seen-Envelope": "%s %s" % (SENDER, ANN), "X-Seen-Helo": "client.example.org",
        "X-Seen-Subject": "One two"}
    assert "X-Forged" not in found
    assert found.get_payload() == "How are you?\r\n"


def test_gtube_is_refused(post):
    code, words = send(post, GTUBE)
    assert code in (550, 554) and "5.7.1" in words, (code, words)
    assert inbox(post) == []
    assert "milter" in post.log()


def test_one_session(post):
    """What was refused leaves nothing behind for the next one on the same connection."""
    with smtplib.SMTP("localhost", post.ports["smtp"], "client.example.org", timeout=150) as client:
        assert [send(post, body, subject, client)[0] // 100 for body, subject in (
            ("Good day", "A"), (GTUBE, "B"), ("x" * 70 + ("\r\n" + "y" * 70) * 5000, "C"))] == [2, 5, 2]
    assert [m["X-Seen-Subject"] for m in inbox(post)] == ["A", "C"]
