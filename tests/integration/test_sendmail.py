# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse sendmail`, and the binary called as sendmail, mailq, newaliases: how cron, PHP and scripts hand in mail."""
import email
import os
import pwd
import shutil
import subprocess

import pytest
from conftest import BINARY, WAIT, wait_for

USER = "nobody"
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def names(tmp_path):
    """The binary under the names of what it replaces."""
    for name in ("sendmail", "mailq", "newaliases"):
        os.symlink(BINARY, tmp_path / name)
    return tmp_path


def run(program, *words, socket=None, stdin="", user=None):
    env = dict(os.environ, **({"POSTHOUSE_SOCKET": socket} if socket else {}))
    options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    return subprocess.run([program, *words], input=data, capture_output=True, timeout=WAIT, env=env, **options)


def inbox(server, user):
    return [email.message_from_bytes(text) for text in server.messages(user)]


def newest(server, user, subject):
    return wait_for(lambda: [m for m in inbox(server, user) if m["Subject"] == subject], subject)[-1]


def test_a_message(server, names):
    socket = server.info["sendmail_socket"]
    sent = run(names / "sendmail", "-t", "-i", "-F", "The Robot", socket=socket,
               stdin="To: xandros@example.com\nBcc: vivita@example.com\nSubject: by a script\n\nOne.\n.\nTwo.\n")
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, b"", b"")
    for user in ("xandros@example.com", "vivita@example.com"):
        m = newest(server, user, "by a script")
        assert m["Bcc"] is None and m["Date"] and m["Message-ID"]
        assert m["From"].startswith('"The Robot" <' + pwd.getpwuid(os.getuid()).pw_name)
        assert m.get_payload().split() == ["One.", ".", "Two."]
        assert "local" in m["Received"] and str(os.getuid()) in m["Received"]


@pytest.mark.skipif(not AS_ROOT, reason="not root")
def test_another_user(start, folder):
    """In a folder that everybody can reach, as /run/posthouse is."""
    server = start(data=folder)
    os.chmod(folder, 0o711)
    sent = run(BINARY, "sendmail", "xandros@example.com", socket=server.info["sendmail_socket"], user=USER,
               stdin="Subject: by nobody\n\nText\n")
    assert sent.returncode == 0, sent.stderr
    m = newest(server, "xandros@example.com", "by nobody")
    assert str(pwd.getpwnam(USER).pw_uid) in m["Received"]
    assert "<nobody" in m["From"]
    assert m["Return-Path"].startswith("<nobody@")


def test_what_cron_says(server, names):
    socket = server.info["sendmail_socket"]
    sent = run(names / "sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root", socket=socket,
               stdin="From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> true\n\n\u00e4\n")
    assert sent.returncode == 0, sent.stderr


def test_sender_and_elsewhere(server, names):
    socket = server.info["sendmail_socket"]
    sent = run(names / "sendmail", "-f", "shop@example.org", "-oi", "-N", "success,failure", "-R", "hdrs", "-V", "a b",
               "customer@example.edu", socket=socket, stdin="From: shop@example.org\nSubject: order\n\nText\n")
    assert sent.returncode == 0, sent.stderr
    m = newest(server, "capture@example.com", "order")
    assert m["Return-Path"] == "<shop@example.org>"
    assert "example.edu" in m["X-Posthouse-Route"]


@pytest.mark.parametrize("words, stdin, code, want", [
    (["nobody-here@example.com"], "Subject: x\n\n", 67, "nobody-here@example.com: 550 5.1.1"),
    (["xandros@example.com"], b"Subject: x\n\na\0b\n", 65, "NUL"),
    ([], "Subject: x\n\n", 64, "no recipients"),
    (["-t"], "Subject: x\n\n", 64, "no recipients"),
    (["--nonsense"], "", 64, "option"),
    (["-bz"], "", 64, "option"),
])
def test_refusals(server, names, words, stdin, code, want):
    done = run(names / "sendmail", *words, socket=server.info["sendmail_socket"], stdin=stdin)
    assert done.returncode == code, done.stderr
    assert want in done.stderr.decode()


def test_some_are_refused(server, names):
    done = run(names / "sendmail", "karl@example.com", "nobody-here@example.com", socket=server.info["sendmail_socket"],
               stdin="Subject: half\n\n")
    assert done.returncode == 67 and "nobody-here@example.com" in done.stderr.decode()
    assert newest(server, "karl@example.com", "half")


def test_no_server(names, tmp_path):
    done = run(names / "sendmail", "a@example.com", socket=str(tmp_path / "none.sock"), stdin="Subject: x\n\n")
    assert done.returncode == 75 and "try again later" in done.stderr.decode()


def test_a_session(server, names):
    done = run(names / "sendmail", "-bs", socket=server.info["sendmail_socket"],
               stdin="EHLO here\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<karl@example.com>\r\nDATA\r\nSubject: session\r\n\r\n.\r\nQUIT\r\n")
    assert done.returncode == 0
    assert [line[:3] for line in done.stdout.decode().splitlines() if line[3:4] == " "] == ["220", "250", "250", "250", "354", "250", "221"]
    assert newest(server, "karl@example.com", "session")


def test_names(server, names):
    assert run(names / "newaliases").returncode == 0
    env = dict(os.environ, POSTHOUSE_DATA=server.data)
    for words in (["mailq"], ["sendmail", "-bp"]):
        shown = subprocess.run([names / words[0], *words[1:]], capture_output=True, text=True, timeout=WAIT, env=env)
        assert shown.returncode == 0, shown.stderr


@pytest.mark.skipif(not shutil.which("php"), reason="no PHP")
def test_php(server, names):
    code = 'exit(mail("vivita@example.com", "by PHP", "Text\\n", "From: web@example.org") ? 0 : 1);'
    done = subprocess.run(["php", "-d", "sendmail_path=%s/sendmail -t -i" % names, "-r", code], capture_output=True, timeout=WAIT,
                          env=dict(os.environ, POSTHOUSE_SOCKET=server.info["sendmail_socket"]))
    assert done.returncode == 0, done.stderr
    assert newest(server, "vivita@example.com", "by PHP")["From"] == "web@example.org"
