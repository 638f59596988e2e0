# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Clients people have: swaks, curl, msmtp, mbsync, mutt, each with the server's certificate verified."""
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import textwrap

import pytest
from conftest import WAIT, ok, read_until

XANDROS, VIVITA, KARL = ("%s@example.com" % name for name in ("xandros", "vivita", "karl"))


def environment(home=None):
    """The caller's, without certificates that would be trusted besides the server's, and a home of one's own."""
    env = {k: v for k, v in os.environ.items() if k not in ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE")}
    return dict(env, TERM="vt100", LC_ALL="C.UTF-8", **({"HOME": str(home)} if home else {}))


def run(*command, stdin=b"", code=0, home=None, timeout=WAIT):
    """What it printed, standard error included; it must end with that code."""
    ended = subprocess.run([str(c) for c in command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           env=environment(home), cwd=home, timeout=timeout)
    text = ended.stdout.decode("utf-8", "replace")
    assert ended.returncode == code, text[-4000:]
    return text


@pytest.fixture
def inbox(server):
    """inbox(user): the messages that came into INBOX since the test began."""
    before = {user: server.count(user) for user in (XANDROS, VIVITA, KARL)}
    return lambda user: server.messages(user)[before[user]:]


# ---- swaks
def swaks(server, port, *options, code=0):
    return run("swaks", "--server", "localhost", "--port", server.ports[port], "--to", VIVITA, "--from", XANDROS,
               "--header", "Subject: by swaks", "--body", "posted", "--timeout", str(WAIT), *options, code=code)


def verified(server):
    return ["--tls-verify", "--tls-ca-path", server.ca]


@pytest.mark.parametrize("port, options", [
    ("smtp", []), ("smtp", ["--tls"]), ("smtp", ["--pipeline"]), ("smtp", ["--pipeline", "--tls"]),
    ("smtp", ["--protocol", "SMTP"]), ("submission", ["--tls", "--auth", "PLAIN"]),
    ("submission", ["--tls", "--auth", "LOGIN"]), ("submissions", ["--tls-on-connect", "--auth", "PLAIN", "--pipeline"]),
    ("submissions", ["--tls-on-connect", "--auth", "LOGIN"])])
def test_swaks(server, inbox, port, options):
    secure = verified(server) if any(o.startswith("--tls") for o in options) else []
    login = ["--auth-user", XANDROS, "--auth-password", server.password("xandros")] if "--auth" in options else []
    text = swaks(server, port, *options, *secure, *login)
    if secure:
        assert re.search(r"(verified|succeeded|TLS started).*", text, re.I) and "TLSv1." in text
    [message] = inbox(VIVITA)
    assert b"Subject: by swaks\r\n" in message and b"\r\n\r\nposted\r\n" in message


def test_swaks_is_refused(server, inbox):
    swaks(server, "submission", "--tls", "--auth", "PLAIN", "--auth-user", XANDROS, "--auth-password", "wrong", code=28)
    swaks(server, "submission", "--tls", code=23)  # MAIL refused without AUTH
    swaks(server, "smtp", "--to", "nobody@example.com", code=24)
    assert inbox(VIVITA) == []


def test_swaks_attachment(server, inbox, folder):
    (folder / "picture.bin").write_bytes(bytes(range(256)) * 400)
    swaks(server, "smtp", "--attach", "@%s" % (folder / "picture.bin"))
    [message] = inbox(VIVITA)
    assert b"picture.bin" in message and len(message) > 130_000


# ---- curl
def curl(server, *options, **more):
    return run("curl", "-sS", "--cacert", server.ca, *options, **more)


def smtp_url(server, port):
    return "%s://localhost:%d" % ("smtps" if port == "submissions" else "smtp", server.ports[port])


LETTER = b"From: xandros@example.com\nTo: vivita@example.com\nSubject: by curl\n\nfirst line\n.\n..\nlast line\n"


@pytest.mark.parametrize("port, options", [("smtp", []), ("smtp", ["--ssl-reqd"]), ("submission", ["--ssl-reqd"]),
                                           ("submissions", [])])
def test_curl_sends(server, inbox, port, options):
    login = ["-u", "%s:%s" % (XANDROS, server.password("xandros"))] if port != "smtp" else []
    curl(server, smtp_url(server, port), "--crlf", "--mail-from", XANDROS, "--mail-rcpt", VIVITA, "--mail-rcpt", KARL,
         "-T", "-", *options, *login, stdin=LETTER)
    for whom in (VIVITA, KARL):
        [message] = inbox(whom)
        assert message.endswith(b"Subject: by curl\r\n\r\nfirst line\r\n.\r\n..\r\nlast line\r\n")


def test_curl_does_not_trust_others(server):
    assert "certificate" in run("curl", "-sS", "imaps://localhost:%d/" % server.ports["imaps"], code=60)


def test_curl_reads(server, folder):
    url = "imaps://localhost:%d/" % server.ports["imaps"]
    login = ["-u", "%s:%s" % (KARL, server.password("karl"))]
    assert '"/"' in curl(server, url, *login) and "Sent" in curl(server, url, *login)
    curl(server, url, *login, "-X", "CREATE Curl")
    (folder / "letter").write_bytes(LETTER.replace(b"\n", b"\r\n"))
    for _ in range(2):
        curl(server, url + "Curl", *login, "-T", folder / "letter")
    assert "* 2 EXISTS" in curl(server, url, *login, "-X", "EXAMINE Curl")
    assert curl(server, url + "Curl;MAILINDEX=2", *login) == LETTER.decode().replace("\n", "\r\n")
    assert curl(server, url + "Curl;UID=1;SECTION=TEXT", *login) == "first line\r\n.\r\n..\r\nlast line\r\n"
    assert curl(server, url + "Curl;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)", *login).strip() == "Subject: by curl"
    assert curl(server, url + "Curl?SUBJECT%20curl", *login).strip() == "* SEARCH 1 2"
    assert "\\Flagged" in curl(server, url + "Curl", *login, "-X", "STORE 1 +FLAGS (\\Flagged)")
    assert "UIDNEXT 3" in curl(server, url, *login, "-X", "STATUS Curl (UIDNEXT)")
    starttls = "imap://localhost:%d/Curl;MAILINDEX=1" % server.ports["imap"]
    assert "Subject: by curl" in curl(server, starttls, "--ssl-reqd", *login)
    assert "login" in curl(server, url, "-u", KARL + ":wrong", code=67).lower()


# ---- msmtp
@pytest.mark.parametrize("port, mechanism", [("smtp", "off"), ("submission", "plain"), ("submissions", "plain"),
                                             ("submission", "scram-sha-256")])
def test_msmtp(server, inbox, folder, port, mechanism):
    (folder / "rc").write_text(textwrap.dedent("""\
        account test
        host localhost
        port %d
        from %s
        tls on
        tls_starttls %s
        tls_trust_file %s
        auth %s
        user %s
        password %s
        """ % (server.ports[port], XANDROS, "off" if port == "submissions" else "on", server.ca,
               mechanism, XANDROS, server.password("xandros"))))
    (folder / "rc").chmod(0o600)
    text = "From: xandros@example.com\nTo: vivita@example.com\nSubject: by msmtp\n\nGrüße\n.hidden dot\n"
    run("msmtp", "-C", folder / "rc", "-a", "test", "-t", stdin=text.encode(), home=folder)
    [message] = inbox(VIVITA)
    assert message.endswith("\r\n\r\nGrüße\r\n.hidden dot\r\n".encode())
    info = run("msmtp", "-C", folder / "rc", "-a", "test", "--serverinfo", home=folder)
    assert "PIPELINING" in info and "SIZE" in info


# ---- mbsync
class Mbsync:
    """A Maildir tree that mbsync keeps in step with the mailboxes of vivita."""

    def __init__(self, server, folder, port="imaps"):
        self.server, self.folder = server, folder
        self.tree = folder / "mail"
        self.tree.mkdir()
        (folder / "rc").write_text(textwrap.dedent("""\
            IMAPAccount test
            Host localhost
            Port %d
            User %s
            Pass %s
            SSLType %s
            SystemCertificates no
            CertificateFile %s

            IMAPStore remote
            Account test

            MaildirStore local
            Path %s/
            Inbox %s/INBOX
            SubFolders Verbatim

            Channel all
            Far :remote:
            Near :local:
            Patterns *
            Create Both
            Remove Both
            Expunge Both
            CopyArrivalDate yes
            SyncState *
            """ % (server.ports[port], VIVITA, server.password("vivita"), "IMAPS" if port == "imaps" else "STARTTLS", server.ca,
                   self.tree, self.tree)))

    def sync(self):
        return run("mbsync", "-c", self.folder / "rc", "-a", home=self.folder, timeout=2 * WAIT)

    def files(self, box):
        return sorted((p for sub in ("cur", "new") for p in (self.tree / box / sub).iterdir()), key=lambda p: p.name)

    def messages(self, box):
        """{name: content} of a Maildir."""
        return {p.name: p.read_bytes() for p in self.files(box)}

    def set_flags(self, box, n, flags):
        file = self.files(box)[n]
        file.rename(self.tree / box / "cur" / (file.name.partition(":2,")[0] + ":2," + flags))

    def state(self):
        """Everything in the tree: names, contents, and mbsync's own notes."""
        return {str(p.relative_to(self.tree)): p.read_bytes() for p in self.tree.rglob("*") if p.is_file()}


def server_state(server, user):
    """{mailbox: [(uid, flags, message)]}, and what the mailbox says about itself."""
    out = {}
    with server.imap(user) as client:
        for line in ok(client.list()):
            name = re.search(rb'"/" (.*)$', line)[1].decode()
            n = int(ok(client.select(name, readonly=True))[0])
            rows = ok(client.fetch("1:*", "(UID FLAGS BODY.PEEK[])")) if n else []
            messages = []
            for head, body in (r for r in rows if isinstance(r, tuple)):
                flags = re.search(rb"FLAGS \((.*?)\)", head)[1].replace(b"\\Recent", b"").split()
                messages.append((int(re.search(rb"UID (\d+)", head)[1]), sorted(flags), body))
            out[name.strip('"')] = messages, client.response("UIDVALIDITY")[1]
    return out


def body_key(message):
    """A message without what the two sides may write differently: line ends, and mbsync's own header."""
    return re.sub(rb"X-TUID: .*\n", b"", message.replace(b"\r\n", b"\n"))


def test_mbsync_both_ways(start, folder):
    server = start()
    with server.imap(VIVITA) as client:
        ok(client.create("Letters"))
        ok(client.create("Letters/Old"))
        for i in range(20):
            ok(client.append("INBOX", r"(\Seen)" if i % 2 else None, '"0%d-Mar-2021 10:00:00 +0000"' % (i % 9 + 1),
                             b"Subject: in %d\r\nMessage-ID: <%d@x>\r\n\r\nbody %d\r\n" % (i, i, i)))
            ok(client.append("Letters/Old", r"(\Flagged)", None, b"Subject: old %d\r\n\r\n" % i + b"x" * 70 * i + b"\r\n"))
    with server.smtp() as smtp:
        smtp.sendmail("a@example.org", VIVITA, b"Subject: attached\r\n\r\n" + b"A" * 76 + b"\r\n" + b"B" * 60_000 + b"\r\n")
    m = Mbsync(server, folder)
    for box in ("INBOX", "Drafts"):  # local mail to be carried to the server
        for sub in ("cur", "new", "tmp"):
            (m.tree / box / sub).mkdir(parents=True)
    (m.tree / "Drafts/cur/1.local.host:2,DS").write_bytes(b"Subject: a draft\n\nstill being written\n")
    (m.tree / "INBOX/new/2.local.host").write_bytes("Subject: dropped in\n\nGrüße\n".encode())
    m.sync()

    def same_on_both_sides():
        far = server_state(server, VIVITA)
        assert {"INBOX", "Letters", "Letters/Old", "Drafts", "Sent"} <= set(far)
        for box, (messages, _) in far.items():
            near = m.messages(box)
            assert sorted(body_key(b) for _, _, b in messages) == sorted(body_key(b) for b in near.values()), box
            letters = {"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R", "\\Draft": "D", "\\Deleted": "T"}
            assert sorted("".join(sorted(letters[f.decode()] for f in flags)) for _, flags, _ in messages) == \
                sorted(name.partition(":2,")[2] for name in near), box
        return far
    far = same_on_both_sides()
    assert len(far["INBOX"][0]) == 22 and len(far["Drafts"][0]) == 1

    tree = m.state()
    m.sync()  # the second time nothing changes, on neither side
    assert m.state() == tree
    assert server_state(server, VIVITA) == far

    # Changes on both sides at once: flags, new mail, expunged mail, a new mailbox.
    with server.imap(VIVITA) as client:
        client.select("INBOX")
        ok(client.store("1", "+FLAGS", r"(\Answered)"))
        ok(client.store("2", "-FLAGS", r"(\Seen)"))
        ok(client.store("3", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        ok(client.append("Sent", r"(\Seen)", None, b"Subject: sent elsewhere\r\n\r\nx\r\n"))
        ok(client.create("Fresh"))
    m.set_flags("Letters/Old", 0, "FRS")
    m.set_flags("Letters/Old", 1, "FT")
    m.files("Letters/Old")[2].unlink()
    (m.tree / "Letters/Old/new/3.local.host").write_bytes(b"Subject: added here\n\nx\n")
    m.sync()
    far = same_on_both_sides()
    assert len(far["INBOX"][0]) == 21 and len(far["Letters/Old"][0]) == 19 and "Fresh" in far
    flags = [f for _, f, _ in far["Letters/Old"][0]]
    assert [b"\\Answered", b"\\Flagged", b"\\Seen"] in flags
    tree = m.state()
    m.sync()
    assert m.state() == tree and server_state(server, VIVITA) == far


def test_mbsync_starttls(server, folder):
    m = Mbsync(server, folder, port="imap")
    m.sync()
    assert (m.tree / "INBOX/cur").is_dir()


# ---- mutt
@pytest.fixture
def mutt(server, folder):
    """mutt(keys to push, mailbox) or mutt(arguments=..., stdin=...) as user karl."""
    program = shutil.which("mutt") or shutil.which("neomutt")
    if not program:
        pytest.skip("neither mutt nor neomutt is installed")
    (folder / "rc").write_text(textwrap.dedent("""\
        set imap_user="%s" imap_pass="%s" smtp_pass="%s" folder="imaps://localhost:%d/"
        set certificate_file="%s" ssl_verify_host=yes ssl_verify_dates=yes
        set smtp_url="smtps://%s@localhost:%d/" from="%s" realname="Karl" use_from=yes hostname="client.example.org"
        set header_cache="" message_cachedir="" imap_check_subscribed=no mail_check=60 timeout=5 quit=yes confirmappend=no
        set confirmcreate=no delete=yes move=no wait_key=no record="=Sent" sleep_time=0 imap_keepalive=60 imap_idle=no
        set smtp_authenticators="SCRAM-SHA-256" beep=no tmpdir="%s" abort_noattach=no copy=yes postponed="" signature="" editor="true"
        """ % (KARL, server.password("karl"), server.password("karl"), server.ports["imaps"], server.ca,
               KARL.replace("@", "%40"), server.ports["submissions"], KARL, folder)))

    def act(push=None, mailbox="INBOX", arguments=(), stdin=b""):
        command = [program, "-n", "-F", str(folder / "rc")]
        if push is None:
            return run(*command, *arguments, stdin=stdin, home=folder)
        command += ["-f", "imaps://localhost:%d/%s" % (server.ports["imaps"], mailbox), "-e", "push '%s'" % push]
        return in_terminal(command, folder)
    return act


def in_terminal(command, home):
    """For programs that want a terminal even when all keys are pushed. What it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(ours, "rb") as screen:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(home), cwd=home,
                                   start_new_session=True)
        os.close(theirs)
        try:
            shown = read_until(screen, lambda _: False)
        finally:
            process.kill()  # of no effect on one that has ended
            code = process.wait()
    assert code == 0, shown[-4000:]
    return shown


def test_mutt_reads_and_saves_a_copy(server, folder, mutt):
    with server.imap(KARL) as client:
        ok(client.create("Muttbox"))
        for i in range(3):
            ok(client.append("Muttbox", None, None, b"From: a@example.org\r\nSubject: letter %d\r\n\r\ntext %d\r\n" % (i, i)))
    mutt("<first-entry><display-message><exit><copy-message>=Saved<enter><next-entry><flag-message><last-entry>"
         "<delete-message><sync-mailbox><quit>", "Muttbox")
    with server.imap(KARL) as client:
        assert int(ok(client.select("Saved"))[0]) == 1
        assert b"Subject: letter 0" in ok(client.fetch("1", "(BODY.PEEK[])"))[0][1]
        assert int(ok(client.select("Muttbox"))[0]) == 2
        assert ok(client.search(None, "SEEN"))[0].split()[0] == b"1"
        assert ok(client.search(None, "FLAGGED"))[0].split()
        client.unselect()
        for box in ("Saved", "Muttbox"):
            ok(client.delete(box))


def test_mutt_sends(server, folder, mutt, inbox):
    (folder / "table.csv").write_text("a;b\n1;2\n")
    mutt(arguments=["-s", "by mutt: Grüße", "-a", folder / "table.csv", "--", VIVITA, KARL], stdin="Text für dich\n".encode())
    [message], [copy] = inbox(VIVITA), inbox(KARL)
    assert b"table.csv" in message and b"Message-ID: " in message
    assert copy.split(b"\r\n\r\n", 1)[1] == message.split(b"\r\n\r\n", 1)[1]
    with server.imap(KARL) as client:
        n = int(ok(client.select("Sent", readonly=True))[0])
        assert n >= 1 and b"table.csv" in ok(client.fetch(str(n), "(BODY.PEEK[])"))[0][1]
