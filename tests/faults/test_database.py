# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The database server goes away under load, in order and by kill -9, and comes back: posthouse goes on by itself. Nothing
acknowledged is lost, nothing is there twice, nobody is refused for good, and each client is told to try later.

The server flushes at each commit, as posthouse demands unless told otherwise: that is looked at, too.
"""
import contextlib
import imaplib
import re
import signal
import smtplib
import subprocess

import pytest

from audit import Audit
from traffic import BINARY, GONE, Ledger, Server, Traffic, folder, ok, wait_for  # noqa: F401 (fixtures)

import mariadb

SEED = 4711
LATER = re.compile(r"\[UNAVAILABLE\]|\[INUSE\]|\[SERVERBUG\]|try again|later", re.I)


@pytest.fixture(scope="module")
def database():
    try:
        server = mariadb.Server(durable=True)
    except mariadb.NoServer as why:
        pytest.skip(str(why))
    yield server
    server.close()


@pytest.fixture
def begin(database, folder):
    started = []

    def begin(*settings, **more):
        url = database.url(more.pop("name", None) or database.database())
        options = ("--database", url.replace("root@", more.pop("user", "root") + "@"))
        started.append(Server(*options, data=folder, settings=("store.dead_grace=0s", *settings), **more))
        return started[-1]

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait()


def works(server):
    """A message goes in and is seen: store and directory are back."""
    try:
        with server.smtp() as client:
            client.sendmail("probe@example.org", ["capture@example.com"], b"Subject: probe\r\n\r\nprobe\r\n")
        with server.imap("capture") as client:
            return client.select("INBOX")[0] == "OK"
    except (smtplib.SMTPException, imaplib.IMAP4.error, *GONE):
        return False


class Patient(Audit):
    """Each connection to the database is made again when it is needed next, and one that has just failed rests for a moment: whoever is
    told so comes again."""

    def read(self, server):
        def attempt():
            known = len(self.problems)
            try:
                return Audit.read(self, server)
            except (AssertionError, imaplib.IMAP4.error) as e:
                if not LATER.search(str(e)):
                    raise
                del self.problems[known:]
        return wait_for(attempt, "mailboxes that can be read")

    def store(self, server):
        with contextlib.suppress(pytest.fail.Exception):  # what it says is told below
            wait_for(lambda: server.command_line("mailbox", "check").code == 0, "a check", 20)
        Audit.store(self, server)


def for_good(refused):
    """Of what wasn't done: the answers that a client would take as final."""
    out = []
    for what, answer in refused:
        if isinstance(what, int):  # SMTP: the answers to MAIL, each RCPT and the text
            first, last = answer[:-1], answer[-1]
            # Without a recipient there is nothing to say 4xx about: the recipients had theirs. What was sent behind that without
            # waiting is out of order (503).
            if any(a[0] == "5" and a[:3] != "503" for a in first) or (last[0] == "5" and all(a[0] == "2" for a in first)):
                out.append((what, answer))
        elif not LATER.search(answer):
            out.append((what, answer))
    return out


def test_away_under_load(database, begin):
    server, ledger, audit = begin(), Ledger(), Patient()
    server.trouble_expected = True  # "error" lines; what else would be trouble is looked for here
    before, done, refusals = server.pid, 0, []
    for number, how in enumerate((database.stop, database.kill, database.kill)):
        traffic = Traffic(server, ledger, SEED + number)
        wait_for(lambda: len(ledger.accepted) >= 150, "load", 60)
        how()
        # Those who come now are answered, too: later.
        late = Traffic(server, ledger, SEED + 100 + number, "xandros")
        wait_for(lambda: len(ledger.refused) >= 5, "clients that are told to try later", 60)
        database.start()
        traffic.stop()
        late.stop()
        assert server.alive(), server.log()[-3000:]
        wait_for(lambda: works(server), "work after the database is back", 60)
        done += len(ledger.accepted)
        refusals += ledger.refused
        ledger.refused = []
        problems = audit.round(server, ledger)
        assert not problems, "round %d: %s\n%s" % (number, "\n".join(problems[:20]), server.log()[-3000:])
    assert server.pid == before and done >= 450
    assert not re.search(r"Sanitizer|runtime error:|CHECK failed", server.log())
    assert refusals and not for_good(refusals), for_good(refusals)[:5]
    server.stop(signal.SIGTERM)


def test_a_start_waits_for_it(database, begin):
    """It says so, and starts when the database does."""
    name = database.database()
    begin(name=name).stop()
    database.stop()

    def bring_back(server):
        wait_for(lambda: "database-away" in server.log() or not server.alive(), "it misses its database")
        database.start()

    try:
        server = begin(name=name, meanwhile=bring_back)
    finally:
        if not database.process:
            database.start()
    assert "database-away" in server.log() and "database-back" in server.log()
    assert works(server)
    server.stop()


def refused_start(folder, url, *settings):
    words = [BINARY, "dev", "--port-base", "0", "--data", str(folder), "--database", url]
    for setting in settings:
        words += ["--set", setting]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_what_is_refused_at_the_start(database, begin, folder):
    name = database.database()
    url = database.url(name)
    database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        said = refused_start(folder, url)
        assert "innodb_flush_log_at_trx_commit = 1" in said and "database.unsafe" in said
    finally:
        database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    said = refused_start(folder, url.replace("root@", "nobody@"))
    assert "Access denied" in said
    database.stop()
    try:
        assert "waited" in refused_start(folder, url, "database.wait=1s")
    finally:
        database.start()
    begin(name=name).stop()
    # The folder knows where its mail is.
    plain = subprocess.run([BINARY, "dev", "--port-base", "0", "--data", str(folder)], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60)
    assert plain.returncode == 1 and "is in the database" in plain.stderr, plain.stderr


ANSWERS = re.compile(r"database|denied|mysql|innodb|127\.0\.0\.1|posthouse-mariadb", re.I)  # of the inside, not for clients


class Owned:
    """A server whose database has a user of its own, whom the database can turn out."""

    def __init__(self, database, begin):
        self.database, self.name = database, database.database()
        self.user = "u_%s" % self.name
        database.sql("CREATE USER %s@localhost IDENTIFIED BY 'one'; GRANT ALL ON `%s`.* TO %s@localhost"
                     % (self.user, self.name, self.user))
        self.server = begin("database.password=one", name=self.name, user=self.user)
        self.server.trouble_expected = True

    def turn_out(self):
        """Whoever is connected must connect again."""
        for row in self.database.sql("SELECT id FROM information_schema.processlist WHERE user = '%s'" % self.user):
            try:
                self.database.sql("KILL %s" % row[0])
            except AssertionError as why:
                assert "Unknown thread" in str(why)  # gone by itself

    def deliver(self):
        """The answers to a message, up to the first that isn't 2xx or 3xx."""
        with self.server.smtp() as client:
            client.ehlo()
            for ask in (lambda: client.mail("probe@example.org"), lambda: client.rcpt("capture@example.com")):
                answer = ask()
                if answer[0] >= 400:
                    return answer
            try:
                return client.data(b"Subject: probe\r\n\r\nprobe\r\n")
            except smtplib.SMTPDataError as why:
                return why.smtp_code, why.smtp_error

    def refused(self, client, command, *words):
        """The text of a NO to somebody who is logged in."""
        answer = getattr(client, command)(*words)
        assert answer[0] == "NO", answer
        return str(answer[1][0])


def test_a_database_that_does_not_flush_any_more(database, begin):
    """Its server came back otherwise than it went: mail waits until somebody has mended that, none is refused for good."""
    owned = Owned(database, begin)
    assert owned.deliver()[0] == 250
    database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        owned.turn_out()
        for attempt in range(3):
            answer = owned.deliver()
            assert answer[0] in (451, 452) and not ANSWERS.search(str(answer[1])), answer
        assert re.search(r"error .*database-refused.*set innodb_flush_log_at_trx_commit = 1", owned.server.log())
    finally:
        database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    wait_for(lambda: owned.deliver()[0] == 250, "a delivery after that was mended", 60)
    owned.server.stop(signal.SIGTERM)


def test_clients_hear_nothing_of_the_database(database, begin):
    """It refuses us: that is for the log, with all it says; clients hear that they should come later."""
    owned = Owned(database, begin)
    assert owned.deliver()[0] == 250
    with owned.server.imap("capture") as client:
        ok(client.select("INBOX"))
        database.sql("ALTER USER %s@localhost IDENTIFIED BY 'two'" % owned.user)
        owned.turn_out()
        for words in (("fetch", "1", "BODY.PEEK[]"), ("store", "1", "+FLAGS", r"\Flagged"), ("create", "elsewhere"),
                      ("append", "INBOX", None, None, b"Subject: x\r\n\r\nx\r\n")):
            text = owned.refused(client, *words)
            assert "[UNAVAILABLE]" in text and not ANSWERS.search(text), (words, text)
    answer = owned.deliver()
    assert 400 <= answer[0] < 500 and not ANSWERS.search(str(answer[1])), answer
    assert "Access denied for user" in owned.server.log()
    database.sql("ALTER USER %s@localhost IDENTIFIED BY 'one'" % owned.user)
    wait_for(lambda: owned.deliver()[0] == 250, "a delivery after the password is right again", 60)
    owned.server.stop(signal.SIGTERM)


def test_serve_by_tls(database):
    """As on a machine of its own: over TCP with TLS and a password from a file, by a user of its own, within the sandbox."""
    import test_serve
    name = database.database()
    database.sql("CREATE USER IF NOT EXISTS mail@localhost IDENTIFIED BY 'geheim'; GRANT ALL ON `%s`.* TO mail@localhost" % name)
    appliance = test_serve.Appliance()
    try:
        secret, ca = appliance.folder / "password", appliance.folder / "ca.pem"
        ca.write_bytes(database.ca.read_bytes())
        secret.write_text("geheim\n")
        secret.chmod(0o640)
        settings = {"url": '"%s"' % database.tcp_url(name, "mail", "localhost"), "password": '"file:%s"' % secret,
                    "ca": '"%s"' % ca, "tls": "required"}
        if test_serve.AS_ROOT:
            appliance.folder.chmod(0o755)
            ca.chmod(0o644)
        appliance.write(appliance.section("database", settings))
        assert "geheim" not in appliance.run("--show-config").stdout
        appliance.start()
        appliance.seed()
        appliance.deliver()
        assert appliance.count() == 1
        found = database.sql("SELECT user FROM information_schema.processlist WHERE db = '%s'" % name)
        assert found and {row[0] for row in found} == {"mail"}
        appliance.trouble_expected = True  # errors while it is away
        database.stop()
        database.start()
        wait_for(lambda: later(appliance), "a delivery after the database is back", 60)
        wait_for(lambda: read(appliance) >= 2, "a mailbox that can be read", 60)
        # Without the server a command finds the database by the configuration.
        appliance.process.terminate()
        assert appliance.wait_end() == 0, appliance.log()[-3000:]
        listed = appliance.command("user", "list")
        assert "ann@example.com" in listed.out, listed.err
    finally:
        appliance.stop()


def read(appliance):
    try:
        return appliance.count()
    except (imaplib.IMAP4.error, TypeError, *GONE):  # NO: try later
        return 0


def later(appliance):
    try:
        appliance.deliver()
        return True
    except (smtplib.SMTPException, *GONE):
        return False
