# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse dev` from outside: what it prints, its data folder, its seal, its certificate, where mail goes."""
import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import ssl
import subprocess

import pytest
from conftest import BINARY, WAIT, posthouse, wait_for

PORTS = ("smtp", "submission", "submissions", "imap", "imaps")


def dev(*options):
    """One that is expected not to start."""
    return subprocess.run([BINARY, "dev", "--json", *options], capture_output=True, text=True, timeout=WAIT)


def send(server, to, subject="A letter", sender="someone@example.org"):
    with server.smtp() as client:
        return client.sendmail(sender, to, "Subject: %s\r\n\r\nDear reader.\r\n" % subject)


# ---- what it prints
def test_json_line(server):
    assert server.text.count("\n") == 1
    assert set(server.info) == {*PORTS, "ca", "data", "accounts", "seal", "sendmail_socket"}
    for name in PORTS:
        assert set(server.info[name]) == {"host", "port"}
        assert server.info[name]["host"] == "127.0.0.1" and 1024 <= server.info[name]["port"] <= 65535
    assert len(set(server.ports.values())) == 5
    assert server.accounts == ["xandros@example.com", "vivita@example.com", "karl@example.com", "capture@example.com"]
    assert all(server.passwords.values())
    assert pathlib.Path(server.ca).read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert os.path.isdir(server.data)


def test_every_account_logs_in(server):
    for address in server.accounts:
        server.imap(address).logout()
        server.smtp("submissions", address).quit()


def test_text_for_people_works_as_printed(start):
    s = start(text=True, temporary=True)
    for word in ("xandros@example.com", "vivita-pass", "capture@example.com", "removed at the end"):
        assert word in s.text
    commands = re.findall(r"^  ((?:printf|curl) .*)$", s.text, re.M)
    assert len(commands) == 2, s.text
    sent, got = [subprocess.run(["sh", "-c", c], capture_output=True, text=True, timeout=WAIT) for c in commands]
    assert sent.returncode == 0, sent.stderr
    assert got.returncode == 0, got.stderr
    assert "Subject: Hello" in got.stdout and "A first message." in got.stdout


def test_one_password_for_all(start):
    s = start("--password", "open sesame")
    assert set(s.passwords.values()) == {"open sesame"}
    s.imap("karl").logout()


def test_help_and_usage():
    run = lambda *words: subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=WAIT)
    assert run("--help").returncode == 0 and "posthouse dev" in run("--help").stdout
    assert run("dev", "--help").returncode == 0 and "--port-base" in run("dev", "--help").stdout
    assert run().returncode == 2
    assert run("nonsense").returncode == 2
    for wrong in (["--nonsense"], ["--port-base", "x"], ["--port-base", "70000"], ["leftover"], ["--set", "smtp.nonsense=1"],
                  ["--log-level", "loud"]):
        assert run("dev", *wrong).returncode == 2, wrong
    assert "smtp" in run("dev", "--show-config").stdout


# ---- ports
def taken_port():
    """A listening socket whose port leaves room for the others of a --port-base."""
    while True:
        s = socket.create_server(("127.0.0.1", 0))
        if s.getsockname()[1] < 64000:
            return s
        s.close()


def test_taken_port_is_explained(folder):
    with taken_port() as taken:
        port = taken.getsockname()[1]
        ended = dev("--data", str(folder / "data"), "--port-base", str(port - 25))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "port %d" % port in ended.stderr and "--port-base" in ended.stderr


def test_port_base_counts(start):
    for _ in range(20):  # another program may hold one of the five
        with taken_port() as free:
            base = free.getsockname()[1] - 25
        s = subprocess.Popen([BINARY, "dev", "--json", "--port-base", str(base)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        line = s.stdout.readline()
        s.send_signal(signal.SIGINT)
        s.communicate(timeout=WAIT)
        if line:
            break
    info = json.loads(line)
    assert [info[name]["port"] - base for name in PORTS] == [25, 587, 465, 143, 993]
    assert s.returncode == 0


def listening(pid):
    """(address, port) of every TCP and UDP socket of a process that takes something from outside."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        path = pathlib.Path("/proc/%d/net/%s" % (pid, name))
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            words = line.split()
            if "socket:[%s]" % words[9] in inodes and (words[3] == "0A" or name.startswith("udp")):
                address, port = words[1].split(":")
                found.append((address, int(port, 16)))
    return found


def test_listens_on_loopback_only(server):
    found = listening(server.pid)
    assert {port for _, port in found} == set(server.ports.values())
    loopback = {"0100007F", "00000000000000000000000001000000"}
    assert {address for address, _ in found} <= loopback
    assert len(found) in (5, 10)  # with and without IPv6


def test_ipv6_loopback(server):
    if not any(len(address) == 32 for address, _ in listening(server.pid)):
        pytest.skip("no IPv6 here")
    with socket.create_connection(("::1", server.ports["smtp"]), timeout=WAIT) as s:
        assert s.recv(4) == b"220 "


def test_listen_elsewhere(start):
    s = start("--listen", "127.0.0.2")
    assert {address for address, _ in listening(s.pid)} == {"0200007F"}
    with socket.create_connection(("127.0.0.2", s.ports["imaps"]), timeout=WAIT) as plain:
        s.tls.wrap_socket(plain, server_hostname="127.0.0.2").close()


# ---- the data folder
def test_kept_data_is_there_after_a_restart(start, folder):
    data = folder / "kept"
    first = start(data=data)
    send(first, ["vivita@example.com", "someone@elsewhere.example"], "Before")
    ca = pathlib.Path(first.ca).read_text()
    with first.imap("vivita") as client:
        client.select("INBOX")
        uidvalidity = client.response("UIDVALIDITY")[1]
        client.store("1", "+FLAGS", r"(\Flagged)")
        client.create("Letters")
    first.stop()
    assert os.stat(data).st_mode & 0o077 == 0
    second = start(data=data)
    assert pathlib.Path(second.ca).read_text() == ca
    send(second, "vivita@example.com", "After")
    assert [b"Before" in m for m in second.messages("vivita")] == [True, False]
    assert b"Before" in second.newest("capture")
    with second.imap("vivita") as client:
        client.select("INBOX")
        assert client.response("UIDVALIDITY")[1] == uidvalidity
        assert client.search(None, "FLAGGED")[1] == [b"1"]
        assert client.status("Letters", "(MESSAGES)")[0] == "OK"


def test_killed_and_started_again(start, folder):
    first = start(data=folder)
    send(first, "karl@example.com", "Survivor")
    first.stop(signal.SIGKILL)
    second = start(data=folder)
    assert b"Survivor" in second.newest("karl")
    assert posthouse("mailbox", "check", data=folder).code == 0


def test_temporary_folder_goes_away(start, folder):
    for signum in (signal.SIGTERM, signal.SIGINT):
        s = start(temporary=True, env={"TMPDIR": str(folder)})
        assert pathlib.Path(s.data).parent == folder
        with s.smtp() as client:  # large enough for a file of its own
            client.sendmail("a@example.org", "xandros@example.com", b"Subject: x\r\n\r\n" + b"line\r\n" * 50000)
        s.stop(signum)
        assert os.listdir(folder) == []


def test_stops_with_clients_connected(start):
    s = start()
    clients = [s.imap("xandros"), s.smtp(), s.smtp("submissions", "karl")]
    clients[0].select("INBOX")
    s.stop()  # within its deadline, exit code 0
    for c in clients:
        c.sock.close()


def test_second_daemon_is_refused(server):
    ended = dev("--data", server.data, "--port-base", "0")
    assert ended.returncode == 1
    assert str(server.pid) in ended.stderr
    assert server.alive()


def test_bad_data_folder(folder):
    (folder / "file").write_text("not a folder")
    ended = dev("--data", str(folder / "file"), "--port-base", "0")
    assert ended.returncode == 1 and str(folder / "file") in ended.stderr


# ---- the seal
def sealed(status):
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M) and re.search(r"^Seccomp:\t2$", status, re.M), status


def test_seal_holds_for_every_thread(server):
    assert server.info["seal"] == "kernel"
    server.smtp("submissions", "xandros").quit()  # lanes that start late have started
    tasks = os.listdir("/proc/%d/task" % server.pid)
    assert len(tasks) > 5
    for task in tasks:
        sealed(server.proc("task/%s/status" % task))
        children = pathlib.Path("/proc/%d/task/%s/children" % (server.pid, task))
        for child in children.read_text().split() if children.exists() else []:  # it runs programs
            sealed(pathlib.Path("/proc/%s/status" % child).read_text())


def test_foreign_mail_is_captured(server):
    before = server.count("capture")
    for client in (server.smtp(), server.smtp("submission", "xandros")):
        with client:
            refused = client.sendmail("xandros@example.com", ["a@far.example", "b@farther.example", "karl@example.com"],
                                      "From: xandros@example.com\r\nSubject: Far away\r\n\r\nNobody leaves.\r\n")
            assert refused == {}
    assert server.count("capture") == before + 2  # one message, however many recipients are captured
    assert b"Nobody leaves." in server.newest("capture") and b"Nobody leaves." in server.newest("karl")


def test_example_net_forwards_to_xandros(server):
    before = server.count("xandros")
    send(server, ["postmaster@example.net", "Anything.At-All@EXAMPLE.NET"], "Forwarded")
    assert server.count("xandros") == before + 1  # both lead to one mailbox: one message
    assert b"Forwarded" in server.newest("xandros")


def test_unknown_address_of_ours_is_refused(server):
    with server.smtp() as client:
        client.mail("someone@example.org")
        code, text = client.rcpt("nobody@example.com")
        assert code == 550 and text.startswith(b"5.1.1")


def test_tagged_address(server):
    send(server, "karl+shopping@example.com", "Tagged")
    assert b"Tagged" in server.newest("karl")


def test_strict_is_as_on_the_internet(start):
    s = start("--strict")
    with s.smtp() as client:
        assert "auth" not in client.esmtp_features
        client.mail("someone@example.org")
        assert client.rcpt("karl@example.com")[0] == 250
        code, text = client.rcpt("someone@elsewhere.example")
        assert code == 550 and text.startswith(b"5.7.1")
    with s.smtp(starttls=True) as client, pytest.raises(smtplib.SMTPNotSupportedError):
        client.login("karl@example.com", s.password("karl"))
    with s.smtp("submission") as client:
        assert client.mail("karl@example.com")[0] == 530
    with s.smtp("submission", "karl") as client:
        assert client.sendmail("karl@example.com", "someone@elsewhere.example",
                               "From: karl@example.com\r\n\r\nHello\r\n") == {}
    assert s.count("capture") == 1


# ---- the certificate
def names():
    own = socket.gethostname()
    return ["localhost", "127.0.0.1", "::1"] + ([own] if own and own != "localhost" else [])


@pytest.mark.parametrize("name", names())
def test_certificate_verifies(server, name):
    for port in ("submissions", "imaps"):
        with server.connect(port) as plain, server.tls.wrap_socket(plain, server_hostname=name) as s:
            assert s.version() in ("TLSv1.2", "TLSv1.3")


def test_certificate_does_not_verify_for_others(server):
    with server.connect("imaps") as plain, pytest.raises(ssl.SSLCertVerificationError):
        server.tls.wrap_socket(plain, server_hostname="mail.example.org")
    with server.connect("imaps") as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("port, options", [("imaps", []), ("submissions", []), ("smtp", ["-starttls", "smtp"]),
                                           ("submission", ["-starttls", "smtp"]), ("imap", ["-starttls", "imap"])])
def test_openssl_agrees(server, port, options):
    ended = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.ports[port], "-CAfile", server.ca,
                            "-no-CApath", "-verify_return_error", "-verify_hostname", "localhost", "-brief", *options],
                           input="", capture_output=True, text=True, timeout=WAIT)
    assert ended.returncode == 0, ended.stderr
    assert "Verification: OK" in ended.stderr
    assert "Verified peername: localhost" in ended.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(server):
    old = ssl.create_default_context(cafile=server.ca)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with server.connect("imaps") as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


# ---- the log
def test_log_that_nobody_reads(tmp_path):
    """A pipe takes 64 KB. Behind it the server serves, and ends when it is told to."""
    command = [BINARY, "dev", "--port-base", "0", "--data", str(tmp_path / "data"), "--log-level", "debug", "--json"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        try:
            port = json.loads(p.stdout.readline())["smtp"]["port"]
            for i in range(400):
                with smtplib.SMTP("127.0.0.1", port, timeout=WAIT) as client:
                    assert client.ehlo()[0] == 250
            p.terminate()
            assert p.wait(WAIT) == 0
            assert len(p.stderr.read()) >= 4096  # what it took is there
        finally:
            p.kill()


def test_log_has_no_secrets(start):
    s = start("--log-level", "debug")
    s.imap("vivita").logout()
    with s.smtp("submission", "vivita") as client:
        client.sendmail("vivita@example.com", "karl@example.com", "From: vivita@example.com\r\n\r\nvery private words\r\n")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        s.smtp("submission", "vivita", password="wrong-guess")
    text = wait_for(lambda: "vivita" in s.log() and s.log(), "a line about vivita")
    for secret in ("vivita-pass", "wrong-guess", "very private words", "dml2aXRh"):
        assert secret not in text
