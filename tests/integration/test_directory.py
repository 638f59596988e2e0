# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Where accounts come from: another mail system's database in place, and what happens while it is away; flat files."""
import base64
import contextlib
import imaplib
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, WAIT, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
import flurdy  # noqa: E402
import mariadb  # noqa: E402
from test_serve import AS_ROOT, MESSAGE, USER, Appliance  # noqa: E402

READER = "CREATE USER IF NOT EXISTS reader@'127.0.0.1' IDENTIFIED BY 'read''er'; GRANT SELECT ON `%s`.* TO reader@'127.0.0.1';"


@pytest.fixture(scope="module")
def database():
    try:
        with mariadb.Server() as server:
            yield server
    except mariadb.NoServer as why:
        pytest.skip(str(why))


def checksums(database, name, tables):
    return database.sql("CHECKSUM TABLE %s;" % ", ".join(tables), name)


class Site(Appliance):
    """A server whose accounts are elsewhere; settings: of section directory."""

    def __init__(self, **settings):
        super().__init__()
        self.main["origin"] = '"example.com"'
        self.directory = settings
        (self.folder / "password").write_text("read'er\n")
        self.hide(self.folder / "password")

    @staticmethod
    def hide(path):
        os.chmod(path, 0o640)
        if AS_ROOT:
            shutil.chown(path, group=pwd.getpwnam(USER).pw_gid)

    def write(self, more=None):
        super().write(more)
        self.hide(self.path)

    def begin(self, more="", before=None):
        quoted = {name: value if isinstance(value, int) else '"%s"' % value for name, value in self.directory.items()}
        quoted.setdefault("refusal_time", "10ms")
        return self.start(self.section("directory", quoted) + self.section("smtp", {"auth_delay": "10ms", "error_delay": "5ms"})
                          + self.section("imap", {"login_delay": "10ms"}) + more, before=before)

    def rcpt(self, address):
        with self.smtp() as client:
            client.mail("someone@example.org")
            code, text = client.rcpt(address)
            return code, text.decode()

    def login(self, address, password):
        """Over IMAP and submission: True, False, or the text of what is neither."""
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls_context(), timeout=WAIT)
        try:
            imap = client.login(address, password)[0] == "OK"
        except imaplib.IMAP4.error as e:
            imap = False if "AUTHENTICATIONFAILED" in str(e) else str(e)
        client.shutdown()
        with smtplib.SMTP_SSL("localhost", self.ports["submissions"], context=self.tls_context(), timeout=WAIT) as client:
            try:
                smtp = client.login(address, password)[0] == 235
            except smtplib.SMTPAuthenticationError as e:
                smtp = False if e.smtp_code == 535 else "%d" % e.smtp_code
        assert imap == smtp or {type(imap), type(smtp)} == {str}, (imap, smtp)
        return imap

    def mailbox(self, address):
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls_context(), timeout=WAIT)
        client.login(address, flurdy.PEOPLE[address][1])
        n = int(re.search(rb"MESSAGES (\d+)", client.status("INBOX", "(MESSAGES)")[1][0])[1])
        client.logout()
        return n


@contextlib.contextmanager
def a_site(**settings):
    site = Site(**settings)
    try:
        yield site.begin()
    finally:
        site.stop()


def fresh(database, name, text, tables):
    database.sql("DROP DATABASE IF EXISTS `%s`; CREATE DATABASE `%s`;" % (name, name))
    database.sql(text + READER % name, name)
    return checksums(database, name, tables)


def serve_mail(site):
    """What people of both schemas see."""
    for address, (_scheme, password) in flurdy.PEOPLE.items():
        assert site.login(address, password) is True, address
        assert site.login(address, "x" + password) is False, address
    assert site.login("nobody@example.com", "x") is False
    for address in ("info@example.com", "anything@example.net", "Anna+tag@Example.com"):
        with site.smtp() as client:
            assert client.sendmail("someone@example.org", address, MESSAGE) == {}
    assert (site.mailbox("anna@example.com"), site.mailbox("bert@example.com"), site.mailbox("dora@example.net")) == (2, 1, 1)
    assert site.rcpt("missing@example.com")[0] == 550
    assert site.rcpt("x@elsewhere.example")[0] == 550
    assert site.rcpt("anybody@backed.example")[0] == 250  # we are its backup: taken, and passed on


def test_letters_that_tables_lack(database):
    """Of tables in latin1 the server refuses to compare what isn't in latin1: nobody has such a name there."""
    fresh(database, "flurdy", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    with a_site(source="mysql", url="mysql://reader:read%%27er@127.0.0.1:%d/flurdy" % database.port) as site:
        for name in ("\u0436@example.com", "\U0001f600@example.com", "\u0436+tag@example.com"):
            with site.smtp() as client:
                client.ehlo()
                assert client.docmd("MAIL FROM:<a@b.example> SMTPUTF8")[0] == 250
                client.sock.sendall(b"RCPT TO:<%s>\r\n" % name.encode())
                assert client.getreply()[0] == 550, name
            with smtplib.SMTP_SSL("localhost", site.ports["submissions"], context=site.tls_context(), timeout=WAIT) as client:
                client.ehlo()
                assert client.docmd("AUTH PLAIN " + base64.b64encode(b"\0%s\0anna-pass" % name.encode()).decode())[0] == 535, name
        assert "lookup_failed" not in site.log()


def test_look_alikes(database):
    """A collation takes accents for nothing: such a name is another's all the same, without an account and without its mail."""
    fresh(database, "flurdy", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    fresh(database, "pfa", flurdy.postfixadmin(), flurdy.POSTFIXADMIN_TABLES)
    url = "mysql://reader:read%%%%27er@127.0.0.1:%d/%%s" % database.port
    own = {"query_user": "SELECT 1 FROM users WHERE id = %s AND enabled = 1",
           "query_login": "SELECT crypt, '' FROM users WHERE id = '%u@%d' AND enabled = 1"}
    for settings in ({"url": url % "flurdy"}, {"url": url % "pfa", "preset": "postfixadmin"}, {"url": url % "flurdy", **own}):
        with a_site(source="mysql", **settings) as site:
            assert site.rcpt("anna@example.com")[0] == 250 and site.login("anna@example.com", "anna-pass") is True
            for name in ("ann\u00e0@example.com", "\u00e0nna@example.com"):
                with site.smtp() as client:
                    client.ehlo()
                    assert client.docmd("MAIL FROM:<a@b.example> SMTPUTF8")[0] == 250
                    client.sock.sendall(b"RCPT TO:<%s>\r\n" % name.encode())
                    assert client.getreply()[0] == 550, (name, settings)
                with smtplib.SMTP_SSL("localhost", site.ports["submissions"], context=site.tls_context(), timeout=WAIT) as client:
                    client.ehlo()
                    words = "AUTH PLAIN " + base64.b64encode(b"\0%s\0anna-pass" % name.encode()).decode()
                    assert client.docmd(words)[0] == 535, (name, settings)


def test_flurdy_in_place(database):
    before = fresh(database, "flurdy", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    url = "mysql://reader@127.0.0.1:%d/flurdy" % database.port
    site = Site(source="mysql", url=url)
    site.directory["password"] = "file:%s" % (site.folder / "password")
    try:
        site.begin()
        serve_mail(site)
        assert site.login("off@example.com", "off-pass") is False
        assert site.rcpt("off@example.com")[0] == 550 and site.rcpt("x@off.example")[0] == 550
        assert site.rcpt("gone@example.com") == (551, "5.1.6 The mailbox has moved: please try <new@elsewhere.example>")
        assert site.rcpt("postmaster")[0] == 250
        listed = site.command("user", "list", "example.com", "--json").json
        assert [u["address"] for u in listed] == sorted(a for a in [*flurdy.PEOPLE, "off@example.com"] if a.endswith("@example.com"))
        for words in (("user", "add", "x@example.com"), ("user", "disable", "anna@example.com"), ("domain", "add", "x.example"),
                      ("domain", "remove", "example.net", "--force"), ("alias", "add", "x@example.com", "anna@example.com"),
                      ("alias", "remove", "info@example.com"), ("password", "set", "anna@example.com")):
            refused = site.command(*words, stdin="x-pass\n")
            assert refused.code == 1 and "directory.changes" in refused.err, (words, refused.err)
    finally:
        site.stop()
    assert checksums(database, "flurdy", flurdy.FLURDY_TABLES) == before


def test_postfixadmin_in_place(database):
    before = fresh(database, "pfa", flurdy.postfixadmin(), flurdy.POSTFIXADMIN_TABLES)
    url = "mysql://reader:read%%27er@127.0.0.1:%d/pfa" % database.port
    with a_site(source="mysql", preset="postfixadmin", url=url) as site:
        serve_mail(site)
        with site.smtp() as client:
            assert client.sendmail("someone@example.org", "bert@alias.example", MESSAGE) == {}
        assert site.mailbox("bert@example.com") == 2
    assert checksums(database, "pfa", flurdy.POSTFIXADMIN_TABLES) == before


def test_queries_of_ones_own(database):
    fresh(database, "own", """
        CREATE TABLE people (who varchar(100), place varchar(100), secret varchar(200), KEY (who, place)) CHARSET=utf8mb4;
        INSERT INTO people VALUES ('anna', 'example.com', %s), ('o''neil', 'example.com', 'x');
        CREATE TABLE pointers (a varchar(200) PRIMARY KEY, b varchar(200));
        INSERT INTO pointers VALUES ('all@example.com', 'anna@example.com');""" % flurdy.quote(flurdy.make_hash("$6$", "anna-pass")),
          ("people",))
    with a_site(source="mysql", url="mysql://root@127.0.0.1:%d/own" % database.port,
                query_domain="SELECT '' FROM people WHERE place='%d' LIMIT 1", query_domains="SELECT DISTINCT place FROM people",
                query_user="SELECT 1 FROM people WHERE who = '%u' AND place = '%d'", query_users="SELECT CONCAT(who, '@', place) FROM people",
                query_alias="SELECT b FROM pointers WHERE a = '%s'",
                query_login="SELECT secret, '' FROM people WHERE who = %u AND place = %d",
                query_domain_user="SELECT CONCAT(who, '@', place) FROM people WHERE place = %d ORDER BY who LIMIT 1") as site:
        assert site.login("anna@example.com", "anna-pass") is True
        assert site.rcpt("all@example.com")[0] == 250
        assert site.rcpt("o'neil@example.com")[0] == 250
        assert site.rcpt("o'x@example.com")[0] == 550


def test_hashes_are_upgraded_when_allowed(database):
    fresh(database, "upgrade", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    url = "mysql://root@127.0.0.1:%d/upgrade" % database.port

    def stored(address):
        return database.sql("SELECT crypt FROM users WHERE id = '%s';" % address, "upgrade")[0][0]

    old = stored("anna@example.com")
    with a_site(source="mysql", url=url, changes=url) as site:
        assert site.login("anna@example.com", "anna-pass") is True
    assert stored("anna@example.com") == old
    with a_site(source="mysql", url=url, changes=url, upgrade_hashes="yes") as site:
        assert site.login("anna@example.com", "wrong") is False
        assert site.login("anna@example.com", "anna-pass") is True
        wait_for(lambda: stored("anna@example.com").startswith("$y$"), "the new hash")
        assert site.login("anna@example.com", "anna-pass") is True
        assert site.login("karl@example.com", "karl-pass") is True
        wait_for(lambda: stored("karl@example.com").startswith("$y$"), "the hash of a clear password")
        assert site.login("karl@example.com", "karl-pass") is True
        assert site.login("karl@example.com", "wrong") is False
        # The second DSN is for commands, too.
        assert site.command("password", "set", "bert@example.com", stdin="new-pass\n").code == 0
        assert site.login("bert@example.com", "new-pass") is True
        assert site.command("alias", "add", "new@example.com", "bert@example.com").code == 0
        assert site.rcpt("new@example.com")[0] == 250


def test_the_database_goes_away_and_comes_back(database):
    fresh(database, "away", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    with a_site(source="mysql", url="mysql://root@127.0.0.1:%d/away" % database.port, timeout="30s") as site:
        site.trouble_expected = True
        assert site.login("anna@example.com", "anna-pass") is True
        assert site.rcpt("bert@example.com")[0] == 250
        database.stop()
        try:
            for address in ("bert@example.com", "missing@example.com", "x@elsewhere.example"):
                assert site.rcpt(address)[0] == 451, address
            assert isinstance(site.login("bert@example.com", "bert-pass"), str)  # neither yes nor no
            assert site.login("anna@example.com", "anna-pass") is True  # who was in lately stays in
            assert isinstance(site.login("anna@example.com", "wrong"), str)
        finally:
            database.start()
        # Each of the two workers tries again within a second of its own last failure.
        wait_for(lambda: site.rcpt("bert@example.com")[0] == 250, "the directory is back")
        wait_for(lambda: site.rcpt("missing@example.com")[0] == 550, "no to who isn't there")
        wait_for(lambda: again(site, "bert@example.com", "bert-pass"), "a login again")


def again(site, *who):
    """Whether he can log in, over IMAP and over submission: one of the two may be back before the other."""
    with contextlib.suppress(AssertionError):
        return site.login(*who) is True


class Proxy:
    """A way to the database that can stall: what comes then waits, in both directions."""

    def __init__(self, port):
        self.target, self.go, self.open = port, threading.Event(), True
        self.go.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.open:
            try:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.sockets += [client, server]
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                self.go.wait()
                b.sendall(data)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.open = False
        self.go.set()
        for s in [self.listener, *self.sockets]:
            s.close()


def test_a_database_that_hangs_stops_nothing_else(database):
    fresh(database, "hangs", flurdy.flurdy(), flurdy.FLURDY_TABLES)
    proxy = Proxy(database.port)
    try:
        with a_site(source="mysql", url="mysql://root@127.0.0.1:%d/hangs" % proxy.port, timeout="500ms") as site:
            site.trouble_expected = True
            wait_for(lambda: again(site, "anna@example.com", "anna-pass"), "answers within half a second")
            reader = imaplib.IMAP4_SSL("localhost", site.ports["imaps"], ssl_context=site.tls_context(), timeout=WAIT)
            reader.login("anna@example.com", "anna-pass")
            reader.select("INBOX")
            proxy.go.clear()
            clients = [site.smtp() for _ in range(20)]  # they are greeted as ever
            for client in clients:
                client.mail("someone@example.org")
                client.putcmd("RCPT", "TO:<bert@example.com>")
            assert reader.append("INBOX", None, None, MESSAGE.encode())[0] == "OK"
            assert reader.noop()[0] == "OK"
            assert [client.getreply()[0] for client in clients] == [451] * 20
            for client in clients:
                client.close()
            proxy.go.set()
            wait_for(lambda: site.rcpt("bert@example.com")[0] == 250, "the directory is back")
            reader.logout()
    finally:
        proxy.close()


def test_flat_files():
    site = Site(source="files")
    site.directory["folder"] = site.folder / "mail"
    for kind in ("passwd", "aliases"):
        os.makedirs(site.folder / "mail" / kind)
    passwd = site.folder / "mail" / "passwd" / "example.com"
    passwd.write_text("".join("%s:%s\n" % (a.split("@")[0], flurdy.make_hash(s, p)) for a, (s, p) in flurdy.PEOPLE.items()
                              if a.endswith("@example.com") and s != "clear"))
    (site.folder / "mail" / "aliases" / "example.com").write_text("info:anna,bert\npostmaster:anna@example.com\n")
    try:
        site.begin()
        for name in ("anna", "bert", "carl"):
            assert site.login(name + "@example.com", name + "-pass") is True
            assert site.login(name + "@example.com", "wrong") is False
        with site.smtp() as client:
            assert client.sendmail("someone@example.org", "info@example.com", MESSAGE) == {}
        assert (site.mailbox("anna@example.com"), site.mailbox("bert@example.com")) == (1, 1)
        assert site.rcpt("dora@example.com")[0] == 550
        with open(passwd, "a") as f:
            f.write("dora:{PLAIN}dora-pass\n")
        time.sleep(1.1)  # from a second after the change on, every look-up knows it
        assert site.rcpt("dora@example.com")[0] == 250
        assert site.login("dora@example.com", "dora-pass") is True
        with open(passwd, "a") as f:
            f.write("broken\n")
        time.sleep(1.1)
        assert site.rcpt("bert@example.com")[0] == 250
        wait_for(lambda: "files_broken" in site.log(), "the warning")
        assert site.rcpt("dora@example.com")[0] == 250
        os.kill(site.pid, signal.SIGTERM)
        assert site.wait_end() == 0
        site.begin()  # what was known is gone: the other lines count, and what isn't in them waits
        assert site.rcpt("bert@example.com")[0] == 250
        assert site.login("anna@example.com", "anna-pass") is True
        assert site.rcpt("nobody@example.com")[0] == 451
        assert site.log().count("line_left_out") == 1 and "lookup_failed" not in site.log()
    finally:
        site.stop()


def test_wrong_settings_are_told():
    site = Site(source="mysql")
    try:
        for settings, text in (({}, "directory.url is missing"), ({"url": "http://x/y"}, "directory.url"),
                               ({"url": "mysql://u@localhost/x", "query_user": "SELECT ?"}, "query_user"),
                               ({"url": "mysql://u@localhost/x", "upgrade_hashes": "yes"}, "directory.changes"),
                               ({"source": "files"}, "directory.folder"), ):
            site.directory = {"source": "mysql", **settings}
            site.write(site.section("directory", {name: '"%s"' % value for name, value in site.directory.items()}))
            done = site.run("--check-config")
            assert done.returncode != 0 and text in done.stderr, (settings, done.stderr)
    finally:
        site.stop()


# ---- taking over
def dump_of(database, name, folder):
    path = folder / "dump.sql"
    with open(path, "w") as f:
        subprocess.run([mariadb.program("mariadb-dump", "mysqldump"), "--no-defaults", "--socket=%s" % database.socket, "--user=root", name],
                       stdout=f, check=True, timeout=60)
    return path


def people_log_in(site):
    for address, (_scheme, password) in flurdy.PEOPLE.items():
        assert site.login(address, password) is True, address


@pytest.mark.parametrize("kind", ["flurdy", "postfixadmin"])
def test_a_dump_is_brought_over(database, kind):
    name = "dump_" + kind
    text, tables = ((flurdy.flurdy(), flurdy.FLURDY_TABLES) if kind == "flurdy"
                    else (flurdy.postfixadmin(), flurdy.POSTFIXADMIN_TABLES))
    users = "users" if kind == "flurdy" else "mailbox"
    key, secret = ("id", "crypt") if kind == "flurdy" else ("username", "password")
    before = fresh(database, name, text, tables)
    site = Site()
    try:
        site.begin()
        dry = site.command("import", "flurdy", "--json", "--dry-run", str(dump_of(database, name, site.folder)))
        assert dry.code == 0 and dry.json["dry_run"] and site.login("anna@example.com", "anna-pass") is False
        first = site.command("import", "flurdy", "--json", str(dump_of(database, name, site.folder))).json
        assert first["user"]["added"] == len(flurdy.PEOPLE) + (kind == "flurdy") and not first["rows"], first
        serve_mail(site)
        # What logged in has a newer hash now: that stays.
        again = site.command("import", "flurdy", "--json", str(dump_of(database, name, site.folder))).json
        assert again["user"]["added"] == again["user"]["updated"] == again["user"]["refused"] == 0, again
        people_log_in(site)
        # A password changed there, a user more and one less; this time out of the database itself.
        database.sql("UPDATE %s SET %s = '{PLAIN}other' WHERE %s = 'bert@example.com';" % (users, secret, key)
                     + "DELETE FROM %s WHERE %s = 'carl@example.com';" % (users, key), name)
        url = "mysql://reader@127.0.0.1:%d/%s" % (database.port, name)
        third = site.command("import", "flurdy", "--json", "--password-file=%s" % (site.folder / "password"), url)
        assert third.code == 0, third.err
        assert (third.json["user"]["updated"], third.json["user"]["gone"]) == (1, 1), third.json
        assert {"kind": "user", "name": "carl@example.com", "outcome": "gone"} in third.json["rows"]
        assert site.login("bert@example.com", "other") is True and site.login("carl@example.com", "carl-pass") is True
        people = site.command("import", "flurdy", url, stdin="")
        assert people.code != 0 and "Access denied" in people.err  # no password
    finally:
        site.stop()
    database.sql("SELECT 1;")
    assert before


def test_no_dump(tmp_path):
    site = Site()
    try:
        site.begin()
        (tmp_path / "x.sql").write_text("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1")
        broken = site.command("import", "flurdy", str(tmp_path / "x.sql"))
        assert broken.code == 1 and "tables" in broken.err, broken.err
        (tmp_path / "x.sql").write_text("INSERT INTO domains (domain) VALUES ('a.example'")
        broken = site.command("import", "flurdy", str(tmp_path / "x.sql"))
        assert broken.code == 2 and "line 1 of the dump" in broken.err, broken.err
        assert site.command("import", "flurdy", str(tmp_path / "missing.sql")).code == 1
    finally:
        site.stop()


def test_keys_of_opendkim(tmp_path):
    site = Site()
    try:
        site.begin()
        assert site.command("domain", "add", "example.com").code == 0
        keys = tmp_path / "keys" / "example.com"
        keys.mkdir(parents=True)
        for selector in ("old", "unused"):
            subprocess.run(["openssl", "genrsa", "-out", keys / (selector + ".private"), "2048"], check=True, capture_output=True)
        os.chmod(keys / "old.private", 0o600)
        (tmp_path / "KeyTable").write_text("# keys\nold._domainkey.example.com example.com:old:/etc/opendkim/keys/example.com/old.private\n"
                                           "unused example.com:unused:%s\nlost any.example:lost:/nonexistent\n" % (keys / "unused.private"))
        (tmp_path / "SigningTable").write_text("*@example.com old._domainkey.example.com\nexample.com old._domainkey.example.com\n"
                                               "*@any.example lost\n*@x.example nokey\n")
        done = site.command("import", "opendkim", "--json", str(tmp_path))
        assert done.code == 1 and (done.json["brought"], done.json["refused"]) == (1, 2), (done.out, done.err)
        listed = site.command("dkim", "list", "--json").json
        assert [(k["domain"], k["selector"], k["state"]) for k in listed] == [("example.com", "old", "active")], listed
        done = site.command("import", "opendkim", "--json", str(tmp_path / "KeyTable"), str(tmp_path / "SigningTable"))
        assert (done.json["brought"], done.json["known"]) == (0, 1), done.out
    finally:
        site.stop()


# ---- users of the system
IN_A_SYSTEM = """set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount --bind "$1/pam.d" /etc/pam.d
shift
exec "$@"
"""


def a_system(folder):
    """A passwd and a shadow file with Paula, and PAM's service, to be laid over the machine's in a namespace of its own."""
    folder.mkdir()
    (folder / "pam.d").mkdir()
    service = "auth required pam_unix.so\naccount required pam_unix.so\n"
    (folder / "pam.d" / "posthouse").write_text(service)
    (folder / "pam.d" / "other").write_text("auth required pam_deny.so\naccount required pam_deny.so\n")
    passwd = pathlib.Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(passwd + "paula:x:21500:21500:Paula:/nonexistent:/bin/false\n"
                                   "daemon2:x:21300:21300::/nonexistent:/bin/false\n")
    (folder / "shadow").write_text("root:*:19000:0:99999:7:::\npaula:%s:19000:0:99999:7:::\ndaemon2:%s:19000:0:99999:7:::\n"
                                   % (flurdy.make_hash("$6$", "paula-pass"), flurdy.make_hash("$6$", "daemon-pass")))
    os.chmod(folder / "shadow", 0o640)
    return ["unshare", "-m", "sh", "-c", IN_A_SYSTEM, "sh", str(folder)]


def test_users_of_the_system():
    if not AS_ROOT:
        pytest.skip("a namespace of its own needs root")
    site = Site(source="system", uid_min=21400)
    before = a_system(site.folder / "etc")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        shutil.rmtree(site.folder)
        pytest.skip("no mount namespaces here")
    try:
        site.begin(before=before)
        assert site.login("paula@example.com", "paula-pass") is True
        assert site.login("Paula", "paula-pass") is True
        for _ in range(3):
            assert site.login("paula@example.com", "wrong") is False
        assert site.login("daemon2@example.com", "daemon-pass") is False  # below uid_min
        assert site.login("root@example.com", "x") is False
        assert site.rcpt("paula@example.com")[0] == 250
        assert site.rcpt("daemon2@example.com")[0] == 550
        with site.smtp() as client:
            assert client.sendmail("someone@example.org", "paula@example.com", MESSAGE) == {}
        # What the system says counts at once, also when it can say nothing.
        shadow = site.folder / "etc" / "shadow"
        shadow.write_text(shadow.read_text().replace("paula:", "paula:!"))
        assert site.login("paula@example.com", "paula-pass") is False
        site.trouble_expected = True
        (site.folder / "etc" / "pam.d" / "posthouse").write_text("auth required pam_no_such_module.so\n")
        assert isinstance(site.login("paula@example.com", "paula-pass"), str)
    finally:
        site.stop()
