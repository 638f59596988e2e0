# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""posthouse meets a database that isn't the one of its mail: empty, another one's, somebody else's. It says so and changes nothing,
and with the right one all mail is there.
"""
import os
import pathlib
import shutil
import signal
import sqlite3
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / name) for name in ("integration", "lib")]
import mariadb
from test_serve import AS_ROOT, MESSAGE, USER, Appliance

LARGE = MESSAGE + ("x" * 70 + "\r\n") * 1000  # a file of its own


@pytest.fixture(scope="module")
def database():
    try:
        server = mariadb.Server()
    except mariadb.NoServer as why:
        pytest.skip(str(why))
    yield server
    server.close()


class Site(Appliance):
    def url(self, url, **more):
        self.more = self.section("database", dict({"url": '"%s"' % url, "unsafe": "yes", "wait": "0s"}, **more)) if url else ""

    def begin(self):
        self.start(self.more)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.wait_end() == 0, self.log()

    def refused(self):
        """What it says when it doesn't start."""
        self.write(self.more)
        done = self.run()
        assert done.returncode == 1, done.stderr
        return done.stderr.strip().splitlines()[-1]

    def fill(self):
        self.begin()
        self.seed()
        for _ in range(2):
            with self.smtp() as client:
                client.sendmail("someone@example.org", "ann@example.com", LARGE)
        self.end()
        assert len(self.files()) == 2
        for path in self.files():  # old enough for a stray
            os.utime(path, (1000, 1000))

    def files(self):
        return [p for p in (self.data / "bodies").rglob("*") if p.is_file() and p.name != "store-id"]

    def all_is_there(self):
        self.begin()
        client = self.imap()
        client.select("INBOX")
        for number in ("1", "2"):
            answer = client.fetch(number, "(BODY.PEEK[])")
            assert answer[0] == "OK" and len(answer[1][0][1]) > len(LARGE)
        client.logout()
        self.end()


@pytest.fixture
def site():
    site = Site()
    site.more = ""
    yield site
    site.stop()


def tables(database, name):
    return [row[0] for row in database.sql("SHOW TABLES", name)]


def test_another_database(database, site):
    first, other = database.database(), database.database()
    site.url(database.tcp_url(first))
    site.fill()
    site.url(database.tcp_url(other))
    said = site.refused()
    assert "another database" in said and first in said and "remove %s/database" % site.data in said
    listed = site.command("user", "list")
    assert listed.code and "another database" in listed.err
    # Who says that the mail has moved to it is believed, but not that an empty one has it.
    (site.data / "database").unlink()
    assert "this database is empty" in site.refused()
    assert tables(database, other) == [] and len(site.files()) == 2
    assert not (site.data / "database").exists()
    site.url(database.tcp_url(first))
    site.all_is_there()
    # It has moved: the same mail under another name.
    database.sql("".join("RENAME TABLE `%s`.`%s` TO `%s`.`%s`;" % (first, t, other, t) for t in tables(database, first)))
    site.url(database.tcp_url(other))
    assert "another database" in site.refused()
    (site.data / "database").unlink()
    site.all_is_there()
    assert other in (site.data / "database").read_text()
    # Another user of the same one is nothing to ask about.
    database.sql("CREATE USER other@'127.0.0.1'; GRANT ALL ON `%s`.* TO other@'127.0.0.1'" % other)
    site.url(database.tcp_url(other, "other"))
    site.all_is_there()


def test_the_database_was_made_anew(database, site):
    """Its server was installed again, and the backup isn't back yet."""
    name = database.database()
    site.url(database.tcp_url(name))
    site.fill()
    database.sql("DROP DATABASE `%s`; CREATE DATABASE `%s`" % (name, name))
    assert "this database is empty" in site.refused()
    assert tables(database, name) == [] and len(site.files()) == 2
    # A new beginning: that is a folder moved away.
    (site.data / "bodies").rename(site.data / "bodies.old")
    site.begin()
    site.end()


def test_store_db_is_missing(site):
    site.fill()
    away = [p for p in site.data.glob("store.db*")]
    for path in away:
        path.rename(site.folder / path.name)
    said = site.refused()
    assert "this database is empty" in said and str(site.data / "bodies") in said
    assert not list(site.data.glob("store.db*")) and len(site.files()) == 2
    for path in away:
        (site.folder / path.name).rename(path)
    site.all_is_there()


def test_a_wrong_password_marks_nothing(database, site):
    """The first start failed: the folder is nobody's yet."""
    name = database.database()
    database.sql("CREATE USER ph@'127.0.0.1' IDENTIFIED BY 'its'; GRANT ALL ON `%s`.* TO ph@'127.0.0.1'" % name)
    site.url(database.tcp_url(name, "ph"))
    assert "Access denied" in site.refused()
    assert not (site.data / "database").exists()
    site.url(None)
    site.begin()
    site.end()


def an_empty_folder(site):
    site.data.mkdir()
    if AS_ROOT:
        shutil.chown(site.data, USER)
    site.write(site.more)


def test_a_database_of_others(database, site):
    name = database.database()
    database.sql("CREATE TABLE users(id BIGINT); CREATE TABLE zebra(id BIGINT)", name)
    site.url(database.tcp_url(name))
    said = site.refused()
    assert name in said and "isn't posthouse's (table users)" in said
    assert site.command("domain", "add", "example.com").code
    assert tables(database, name) == ["users", "zebra"]
    assert not (site.data / "database").exists()


READING = (("user", "list"), ("mailbox", "list"), ("doctor", "accounts"), ("policy", "alias", "list"), ("queue", "totals"),
           ("doctor", "--no-dns"))


def test_who_reads_makes_nothing(database, site):
    name = database.database()
    site.url(database.tcp_url(name))
    an_empty_folder(site)
    for words in READING:
        done = site.command(*words)
        assert done.code and "start posthouse serve once" in done.out + done.err, (words, done.out, done.err)
    done = site.command("export", "mbox", str(site.folder / "out"))
    assert done.code and "start posthouse serve once" in done.err, done.err
    assert tables(database, name) == []
    # Without a server the same.
    site.url(None)
    site.write(site.more)
    for words in READING:
        done = site.command(*words)
        assert done.code and "start posthouse serve once" in done.out + done.err, (words, done.out, done.err)
    assert {p.name for p in site.data.iterdir()} <= {"lock"}
    # Who changes something begins.
    assert site.command("domain", "add", "example.com").code == 0
    assert "example.com" in site.command("domain", "list").out


def test_who_reads_upgrades_nothing(site):
    site.begin()
    site.end()
    assert site.command("user", "list").code == 0
    for file, what in (("store.db", "dmarc"), ("directory.db", "directory")):
        with sqlite3.connect(site.data / file) as db:
            was = db.execute("SELECT version FROM schema_version WHERE what = ?", (what,)).fetchone()[0]
            db.execute("UPDATE schema_version SET version = version - 1 WHERE what = ?", (what,))
        db.close()
        done = site.command("user", "list")
        assert done.code == 1 and "start posthouse serve once" in done.err, done.err
        with sqlite3.connect(site.data / file) as db:
            assert db.execute("SELECT version FROM schema_version WHERE what = ?", (what,)).fetchone()[0] == was - 1
            db.execute("UPDATE schema_version SET version = ? WHERE what = ?", (was, what))
        db.close()
    assert site.command("user", "list").code == 0


def test_a_file_of_authorities_that_is_no_such(database, site):
    """Said at once and by the setting's name, and not waited for as if it were the server."""
    name, ca = database.database(), site.folder / "authorities.pem"
    settings = {"ca": '"%s"' % ca, "tls": "required", "wait": "1h"}
    site.url(database.tcp_url(name, host="localhost"), **settings)
    for text in (None, "no certificate\n"):
        if text:
            ca.write_text(text)
        said = site.refused()
        assert "database.ca" in said and str(ca) in said, said
        site.write(site.more)
        checked = site.run("--check-config")
        assert checked.returncode == 1 and "database.ca" in checked.stderr, checked.stderr
    ca.unlink()
    site.more = site.section("directory", {"source": "mysql", "url": '"mysql://reader@db.example.com/maildb"', "ca": '"%s"' % ca})
    site.write(site.more)
    site.path.chmod(0o640)
    checked = site.run("--check-config")
    assert checked.returncode == 1 and "directory.ca" in checked.stderr and str(ca) in checked.stderr, checked.stderr
    site.path.chmod(0o644)
    # Who needs no TLS needs no file.
    settings["tls"] = "auto"
    site.url(database.tcp_url(name), **settings)
    site.begin()
    site.end()
    ca.write_bytes(database.ca.read_bytes())
    ca.chmod(0o644)
    settings["tls"] = "required"
    site.url(database.tcp_url(name, host="localhost"), **settings)
    site.write(site.more)
    assert site.run("--check-config").returncode == 0
