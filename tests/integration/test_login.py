# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Logging in: SCRAM with and without channel binding, app passwords, access tokens, guesses from everywhere."""
import base64
import contextlib
import http.server
import imaplib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

import pytest
from conftest import FAST, ROOT, WAIT, Server, posthouse, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import mariadb  # noqa: E402
import scram  # noqa: E402
from test_serve import Appliance  # noqa: E402

USER = "xandros@example.com"
PLUS, PLAIN_SCRAM = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


@pytest.fixture
def serve():
    a = Appliance()
    yield a
    a.stop()


def client_of(server, **more):
    return scram.Client(USER, server.passwords[USER], **more)


# ---- SCRAM

def test_offered_under_tls_only(server):
    with server.smtp() as c:
        assert not c.has_extn("auth") or "SCRAM" not in c.esmtp_features["auth"]
    with server.smtp("submission") as c:
        assert c.esmtp_features["auth"].split() == [PLUS, PLAIN_SCRAM, "PLAIN", "LOGIN"]
    with imaplib.IMAP4("localhost", server.ports["imap"], timeout=WAIT) as c:
        assert "AUTH=" + PLAIN_SCRAM not in c.capabilities and "LOGINDISABLED" in c.capabilities
    with server.imap(login=False) as c:
        assert {"AUTH=" + PLUS, "AUTH=" + PLAIN_SCRAM, "AUTH=PLAIN"} <= set(c.capabilities)


@pytest.mark.parametrize("initial", (True, False))
def test_smtp(server, initial):
    with server.smtp("submission") as c:
        scram.smtp(c, PLAIN_SCRAM, client_of(server), initial)
        assert c.sendmail(USER, USER, "Subject: scram\r\n\r\nx\r\n") == {}


def test_smtp_refusals(server):
    with server.smtp("submission") as c:
        for name in (USER, "nobody@example.com"):
            wrong = scram.Client(name, "wrong")
            with pytest.raises(scram.Refused, match="535 5.7.8 Wrong name or password"):
                scram.smtp(c, PLAIN_SCRAM, wrong)
            assert re.search(r"login_failed sid=\d+ user=%s ip=127\.0\.0\.1 " % re.escape(name), server.log())
        with pytest.raises(scram.Refused, match="535 5.7.8 You can't act for another user"):
            scram.smtp(c, PLAIN_SCRAM, client_of(server, authzid="vivita@example.com"))
    with server.smtp("submission") as c:
        code, text = c.docmd("AUTH", PLAIN_SCRAM + " " + scram.b64(client_of(server).first()))
        assert code == 334
        assert c.docmd("*")[0] == 501
        scram.smtp(c, PLAIN_SCRAM, client_of(server))


def test_imap(server):
    with server.imap(login=False) as c:
        with pytest.raises(scram.Refused, match="AUTHENTICATIONFAILED"):
            scram.imap(c, PLAIN_SCRAM, scram.Client(USER, "wrong"))
        scram.imap(c, PLAIN_SCRAM, client_of(server))
        assert c.select()[0] == "OK"


def tls_of(server, version=None):
    context = ssl.create_default_context(cafile=server.ca)
    if version:
        context.maximum_version = version
    return context


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
def test_channel_binding(server, version):
    flag = "p=tls-server-end-point"
    with smtplib.SMTP_SSL("localhost", server.ports["submissions"], "c.example", timeout=WAIT, context=tls_of(server, version)) as c:
        c.ehlo()
        bound = scram.end_point(c.sock)
        with pytest.raises(scram.Refused, match="535"):  # somebody between us has another certificate
            scram.smtp(c, PLUS, client_of(server, flag=flag, channel=bytes(32)))
        with pytest.raises(scram.Refused, match="501"):
            scram.smtp(c, PLUS, client_of(server))
        scram.smtp(c, PLUS, client_of(server, flag=flag, channel=bound))
    assert "login_misbound" in server.log()
    with imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=tls_of(server, version), timeout=WAIT) as c:
        scram.imap(c, PLUS, client_of(server, flag=flag, channel=scram.end_point(c.sock)))


def test_downgrade(server):
    """A client that knows channel binding, and saw no -PLUS, isn't talking to us alone."""
    with server.smtp("submission") as c:
        with pytest.raises(scram.Refused, match="535 5.7.8 the client wasn't shown"):
            scram.smtp(c, PLAIN_SCRAM, client_of(server, flag="y"))
    with server.imap(login=False) as c:
        with pytest.raises(scram.Refused, match="AUTHENTICATIONFAILED"):
            scram.imap(c, PLAIN_SCRAM, client_of(server, flag="y"))
    assert server.log().count("login_downgraded") >= 2


def salt_of(server, user):
    with server.smtp("submission") as c:
        exchange = scram.Client(user, "x")
        with pytest.raises(scram.Refused):
            scram.smtp(c, PLAIN_SCRAM, exchange)
        return exchange.salt, exchange.rounds


def test_nobody_looks_like_somebody(server):
    nobody, somebody = salt_of(server, "nobody@example.com"), salt_of(server, USER)
    assert nobody == salt_of(server, "Nobody@Example.com") != somebody == salt_of(server, USER)
    assert len(nobody[0]) == len(somebody[0]) and nobody[1] == somebody[1]


@pytest.mark.skipif(not shutil.which("gsasl"), reason="gsasl is not installed")
@pytest.mark.parametrize("mechanism", (PLUS, PLAIN_SCRAM, "PLAIN", "LOGIN"))
@pytest.mark.parametrize("protocol,port", (("smtp", "submission"), ("imap", "imap")))
def test_gsasl(server, mechanism, protocol, port):
    done = subprocess.run(
        ["gsasl", "--client", "--" + protocol, "--connect=localhost:%d" % server.ports[port], "--mechanism=" + mechanism,
         "--authentication-id=" + USER, "--password=" + server.passwords[USER], "--x509-ca-file=" + str(server.ca),
         "--no-client-first"] + (["--no-cb"] if mechanism == PLAIN_SCRAM else []), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Client authentication finished (server trusted)" in done.stdout + done.stderr


GUARD = ("guard.trusted=", "guard.pair_logins=3", "smtp.auth_delay=0", "imap.login_delay=0")


@pytest.mark.parametrize("how", ("bad line", "smtp lost", "imap lost"))
def test_exchanges_that_end_early(start, how):
    """Nothing was tried in them: a user whose client breaks off is let in all the same."""
    server = start(settings=(*FAST, *GUARD))
    with server.smtp("submission") as c:
        scram.smtp(c, PLAIN_SCRAM, client_of(server))  # from now on its network is known
    for i in range(4):
        if how == "imap lost":
            c = server.imap(login=False)
            c.send(b"a AUTHENTICATE %s\r\n" % PLAIN_SCRAM.encode())
            assert c.readline().startswith(b"+")
            c.send(scram.b64(client_of(server).first()).encode() + b"\r\n")
            assert c.readline().startswith(b"+")
            c.shutdown()
        else:
            c = server.smtp("submission")
            assert c.docmd("AUTH", PLAIN_SCRAM + " " + scram.b64(client_of(server).first()))[0] == 334
            if how == "bad line":
                assert c.docmd("half\0of")[0] == 500
            c.close()
        wait_for(lambda: server.log().count(" event=closed ") >= i + 2, "the end of the connection")
    with server.smtp("submission") as c:
        scram.smtp(c, PLAIN_SCRAM, client_of(server))
    with server.imap(login=False) as c:
        scram.imap(c, PLAIN_SCRAM, client_of(server))


# ---- auto

def test_auto_turns_on(serve):
    """SCRAM is offered when the last account has its verifier, which a login that sends the password makes."""
    serve.start("directory { upgrade_hashes = no }\n")
    serve.seed()
    assert serve.command("user", "add", "ben@example.com", stdin="x\n").code == 0
    os.kill(serve.pid, signal.SIGTERM)
    assert serve.wait_end() == 0
    assert serve.command("password", "import", "ben@example.com", stdin="{PLAIN}ben-pass\n").code == 0  # nothing can be made of it
    serve.start()

    def offered():
        with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
            c.starttls(context=serve.tls_context())
            c.ehlo()
            return "SCRAM-SHA-256" in c.esmtp_features["auth"].split()

    def log_in(user, password):
        with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
            c.starttls(context=serve.tls_context())
            c.ehlo()
            c.user, c.password = user, password
            c.auth("PLAIN", c.auth_plain)

    log_in("ann@example.com", "ann-pass")
    assert not offered()
    log_in("ben@example.com", "ben-pass")
    wait_for(offered, "SCRAM offered")
    with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
        c.starttls(context=serve.tls_context())
        c.ehlo()
        assert PLUS not in c.esmtp_features["auth"].split()  # it doesn't turn on by itself
        scram.smtp(c, PLAIN_SCRAM, scram.Client("ben@example.com", "ben-pass"))
    # Nor is anything kept of a password that is no more.
    assert serve.command("password", "set", "ben@example.com", stdin="other\n").code == 0
    with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
        c.starttls(context=serve.tls_context())
        c.ehlo()
        with pytest.raises(scram.Refused):
            scram.smtp(c, PLAIN_SCRAM, scram.Client("ben@example.com", "ben-pass"))
        scram.smtp(c, PLAIN_SCRAM, scram.Client("ben@example.com", "other"))
    # Until somebody has none: that it failed is noticed.
    assert offered()
    assert serve.command("password", "import", "ben@example.com", stdin="{PLAIN}elsewhere\n").code == 0
    with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
        c.starttls(context=serve.tls_context())
        c.ehlo()
        with pytest.raises(scram.Refused):
            scram.smtp(c, PLAIN_SCRAM, scram.Client("ben@example.com", "elsewhere"))
    wait_for(lambda: not offered(), "SCRAM offered no more")


def test_off(serve):
    for listener in serve.listeners.values():
        listener["scram"] = "off"
    serve.listeners["submission"].update(scram="on", channel_binding="no")
    serve.listeners["submissions"].update(scram="on")
    serve.start()
    serve.seed()
    with smtplib.SMTP_SSL("localhost", serve.ports["submissions"], "c.example", timeout=WAIT, context=serve.tls_context()) as c:
        c.ehlo()
        assert c.esmtp_features["auth"].split()[:2] == [PLUS, PLAIN_SCRAM]
    with imaplib.IMAP4_SSL("localhost", serve.ports["imaps"], ssl_context=serve.tls_context(), timeout=WAIT) as c:
        assert not any("SCRAM" in word for word in c.capabilities)
        with pytest.raises(scram.Refused):
            scram.imap(c, PLAIN_SCRAM, scram.Client("ann@example.com", "ann-pass"))
    with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
        c.starttls(context=serve.tls_context())
        c.ehlo()
        assert c.esmtp_features["auth"].split() == [PLAIN_SCRAM, "PLAIN", "LOGIN"]
        scram.smtp(c, PLAIN_SCRAM, scram.Client("ann@example.com", "ann-pass", flag="y"))


# ---- app passwords

def test_app_passwords(server):
    made = server.command_line("app-password", "add", USER, "phone", "--json").json
    assert made["name"] == "phone" and made["account"] == USER
    word = made["password"]
    assert len(word) == 23 and word.count("-") == 3
    again = server.command_line("app-password", "add", USER, "phone")
    assert again.code == 1 and "there is an app password named" in again.err
    assert server.command_line("app-password", "add", "nobody@example.com", "phone").code == 1
    assert server.command_line("app-password", "add", USER, "tablet").code == 0
    listed = {a["name"]: a for a in server.command_line("app-password", "list", USER, "--json").json}
    assert set(listed) == {"phone", "tablet"} and listed["phone"]["used"] is None and listed["phone"]["created"]
    with server.smtp("submission", user="xandros", password=word):
        pass
    with server.imap(password=word.replace("-", " ").upper()) as session:
        def used():
            return {a["name"]: a["used"] for a in server.command_line("app-password", "list", USER, "--json").json}
        wait_for(lambda: used()["phone"], "last use noted")
        assert used()["tablet"] is None
        assert word not in server.log()
        with server.imap(login=False) as c:
            with pytest.raises(scram.Refused):
                scram.imap(c, PLAIN_SCRAM, scram.Client(USER, word))
        assert server.command_line("app-password", "remove", USER, "phone").code == 0
        with pytest.raises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):  # its sessions end
            end = time.monotonic() + 60
            while time.monotonic() < end:
                session.noop()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        server.imap(password=word)
    assert server.command_line("app-password", "remove", USER, "phone").code == 1
    assert server.command_line("app-password", "remove", USER).code == 2
    assert server.command_line("app-password", "remove", USER, "--all", "--json").json == {"removed": 1}
    server.imap().logout()


def test_in_a_server_of_databases(serve):
    """Our own tables in MariaDB: verifiers, app passwords and the secret."""
    try:
        database = mariadb.Server()
    except mariadb.NoServer as why:
        pytest.skip(str(why))
    with database:
        more = 'database {\n url = "mysql://root@127.0.0.1:%d/%s"\n unsafe = yes\n}\n' % (database.port, database.database())
        serve.start(more)
        serve.seed()

        def submission():
            c = smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT)
            c.starttls(context=serve.tls_context())
            c.ehlo()
            return c

        made = serve.command("app-password", "add", "ann@example.com", "Phone", "--json").json
        assert serve.command("app-password", "add", "ann@example.com", "Phone").code == 1
        with submission() as c:
            c.login("ann@example.com", made["password"])
        os.kill(serve.pid, signal.SIGTERM)
        assert serve.wait_end() == 0
        serve.start()
        with submission() as c:
            assert PLAIN_SCRAM in c.esmtp_features["auth"].split()
            scram.smtp(c, PLAIN_SCRAM, scram.Client("ann@example.com", "ann-pass"))
        [listed] = serve.command("app-password", "list", "ann@example.com", "--json").json
        assert listed["name"] == "Phone" and listed["used"]
        assert serve.command("app-password", "remove", "ann@example.com", "Phone").code == 0
        with submission() as c:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                c.login("ann@example.com", made["password"])
        assert not (serve.data / "directory.db").exists()
        os.kill(serve.pid, signal.SIGTERM)
        assert serve.wait_end() == 0


# ---- access tokens

class Introspection(http.server.BaseHTTPRequestHandler):
    tokens = {"good": {"active": True, "username": "ann@example.com", "scope": "mail other"},
              "other": {"active": True, "username": "ben@example.com", "scope": "mail"},
              "scopeless": {"active": True, "username": "ann@example.com"}, "old": {"active": True, "username": "ann@example.com",
                                                                                   "scope": "mail", "exp": 1000},
              "inactive": {"active": False}}

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.asked.append((form["token"][0], self.headers["Authorization"]))
        known = self.tokens.get(form["token"][0], {"active": False})
        body = b"<html>" if form["token"][0] == "broken" else json.dumps(known).encode()
        self.send_response(500 if form["token"][0] == "failing" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def introspection():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Introspection)
    s.asked = []
    thread = threading.Thread(target=s.serve_forever, daemon=True)
    thread.start()
    yield s
    s.shutdown()
    s.server_close()
    thread.join()


def bearer(token, user="", mechanism="OAUTHBEARER"):
    if mechanism == "XOAUTH2":
        return ("user=%s\1auth=Bearer %s\1\1" % (user, token)).encode()
    return ("n,%s,\1host=localhost\1port=0\1auth=Bearer %s\1\1" % ("a=" + user if user else "", token)).encode()


def token_smtp(serve, message, mechanism="OAUTHBEARER"):
    """Code of the reply, and whether the reasons came before it."""
    with smtplib.SMTP("localhost", serve.ports["submission"], "c.example", timeout=WAIT) as c:
        c.starttls(context=serve.tls_context())
        c.ehlo()
        assert {"OAUTHBEARER", "XOAUTH2"} <= set(c.esmtp_features["auth"].split())
        code, text = c.docmd("AUTH", mechanism + " " + scram.b64(message))
        reasons = code == 334 and json.loads(base64.b64decode(text))
        if code == 334:
            code, text = c.docmd("AQ==")
        return code, reasons


def test_tokens(serve, introspection):
    secret = serve.folder / "secret"
    secret.write_text("se cret\n")
    os.chmod(secret, 0o600)
    serve.start("oauth {\n introspection = http://127.0.0.1:%d/introspect\n client_id = posthouse\n client_secret = file:%s\n"
                " scope = mail\n}\nguard { trusted = 127.0.0.0/8 }\nsmtp { auth_delay = 10ms }\nimap { login_delay = 10ms }\n" % (introspection.server_port, secret))
    serve.seed()
    failed = {"status": "invalid_token"}
    assert token_smtp(serve, bearer("good")) == (235, False)
    assert token_smtp(serve, bearer("good", "Ann@example.com")) == (235, False)
    assert token_smtp(serve, bearer("good", "ann"), "OAUTHBEARER") == (235, False)
    assert token_smtp(serve, bearer("good", "ann@example.com", "XOAUTH2"), "XOAUTH2") == (235, False)
    wanted = "Basic " + scram.b64(b"posthouse:se%20cret")
    assert introspection.asked == [("good", wanted)]  # remembered
    assert token_smtp(serve, bearer("good", "ben@example.com")) == (535, failed)
    for token in ("inactive", "unknown", "scopeless", "old", "other"):
        assert token_smtp(serve, bearer(token)) == (535, failed), token
    for token in ("failing", "broken"):
        assert token_smtp(serve, bearer(token)) == (454, False), token
    assert token_smtp(serve, b"nonsense")[0] == 501
    with imaplib.IMAP4_SSL("localhost", serve.ports["imaps"], ssl_context=serve.tls_context(), timeout=WAIT) as c:
        said = []
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            c.authenticate("OAUTHBEARER", lambda s: said.append(s) or (bearer("inactive") if len(said) == 1 else b"\1"))
        assert json.loads(said[1]) == failed
        c.authenticate("OAUTHBEARER", lambda s: bearer("good"))
        assert c.select()[0] == "OK"
    # The user is asked for each time, whatever is remembered of the token.
    assert serve.command("user", "disable", "ann@example.com").code == 0
    assert token_smtp(serve, bearer("good")) == (535, failed)
    assert "Bearer" not in serve.log() and "se cret" not in serve.log()


def test_tokens_need_https(serve):
    serve.write("oauth { introspection = http://id.example.com/introspect }\n")
    ended = serve.run("--check-config")
    assert ended.returncode == 1 and "oauth.introspection" in ended.stderr


# ---- guesses

def attacker(i):
    return "127.%d.%d.%d" % (1 + i % 90, 1 + i // 90, 7)


def guess(server, stop, i, results):
    """Wrong passwords of users who exist and who don't, from ever other addresses."""
    n = 0
    while not stop.is_set():
        n += 1
        try:
            raw = socket.create_connection(("127.0.0.1", server.ports["imaps"]), WAIT, source_address=(attacker(i * 1000 + n), 0))
            with server.tls.wrap_socket(raw, server_hostname="localhost") as s:
                s.settimeout(WAIT)
                user = USER if n % 2 else "user%d@example.com" % n
                s.sendall(b"1 LOGIN %s wrong%d\r\n" % (user.encode(), n))
                text = b""
                while b"\n1 " not in text:
                    more = s.recv(4096)
                    if not more:
                        break
                    text += more
                results.append(b"1 OK" in text)
        except OSError:
            pass


def test_known_client_in_a_flood(start):
    """While logins are guessed from everywhere, who has been here before gets in, and nobody else."""
    server = start(settings=FAST + ("guard.trusted=", "directory.auth_cache=0", "guard.login_delay=1ms", "guard.login_delay_max=2ms"))
    server.imap().logout()  # 127.0.0.1 is known from now on
    stop, results = threading.Event(), []
    threads = [threading.Thread(target=guess, args=(server, stop, i, results), daemon=True) for i in range(16)]
    for t in threads:
        t.start()
    try:
        wait_for(lambda: len(results) > 30, "a flood", 60)
        came_in = 0
        for _ in range(10):
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                server.imap().logout()
                came_in += 1
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert came_in == 10 and not any(results)


def test_refusals_take_their_time(start):
    """Whoever is asked for, and with all other delays turned off, a failed login isn't answered before its time, which is counted
    from the millisecond that it came in."""
    least = 0.299
    server = start(settings=("smtp.auth_delay=0", "imap.login_delay=0", "guard.login_delay=0", "directory.refusal_time=300ms"))
    for user in (USER, "nobody@example.com", "nobody@elsewhere.example", "nobody"):
        with server.smtp("submission") as smtp, server.imap(login=False) as imap:
            before = time.monotonic()
            assert smtp.docmd("AUTH PLAIN " + base64.b64encode(b"\0%s\0wrong" % user.encode()).decode())[0] == 535
            between = time.monotonic()
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                imap.login(user, "wrong")
            assert between - before >= least and time.monotonic() - between >= least
