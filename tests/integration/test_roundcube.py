# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Roundcube in a browser: what its users click, then what the server made of it. Needs the packages named by missing();
nothing of them is installed here."""
import email
import email.message
import importlib.util
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import time

import pytest
from conftest import WAIT, Server, ok, wait_for

XANDROS, VIVITA, CAPTURE = ("%s@example.com" % name for name in ("xandros", "vivita", "capture"))
PUBLIC, SHARE = pathlib.Path("/var/lib/roundcube/public_html"), pathlib.Path("/usr/share/roundcube")
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--window-size=1400,900"]
CONFIG = """<?php
$tls = ['ssl' => ['verify_peer' => true, 'verify_peer_name' => true, 'cafile' => '%(ca)s']];
$config = ['db_dsnw' => 'sqlite:///%(home)s/db.sqlite?mode=0600', 'des_key' => '0123456789abcdefghijklmn',
    'imap_host' => 'ssl://localhost:%(imaps)d', 'imap_conn_options' => $tls,
    'smtp_host' => 'tls://localhost:%(submission)d', 'smtp_conn_options' => $tls, 'smtp_user' => '%%u', 'smtp_pass' => '%%p',
    'log_driver' => 'file', 'log_dir' => '%(home)s/', 'temp_dir' => '%(home)s/', 'imap_debug' => true,
    'plugins' => ['archive', 'markasjunk'], 'skin' => 'elastic', 'enable_spellcheck' => false, 'htmleditor' => 0,
    'drafts_mbox' => 'Drafts', 'junk_mbox' => 'Junk', 'sent_mbox' => 'Sent', 'trash_mbox' => 'Trash',
    'archive_mbox' => 'Archive', 'archive_type' => ''];
"""


def missing():
    things = {"roundcube-core": PUBLIC.exists() and SHARE.exists(),
              "roundcube-sqlite3": (SHARE / "SQL/sqlite.initial.sql").exists(), "php-cli": shutil.which("php"),
              "chromium": shutil.which("chromium"), "chromium-driver": shutil.which("chromedriver"),
              "python3-selenium": importlib.util.find_spec("selenium")}
    return [name for name, there in things.items() if not there]


pytestmark = pytest.mark.skipif(bool(missing()), reason="not installed: " + " ".join(missing()))


@pytest.fixture(scope="module")
def server():
    s = Server("--set", "store.quota_bytes=40M")
    yield s
    s.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("roundcube")


@pytest.fixture(scope="module")
def site(server, home):
    """The address of Roundcube on PHP's own web server."""
    for name in ("defaults.inc.php", "mimetypes.php"):
        (home / name).symlink_to(pathlib.Path("/etc/roundcube") / name)
    (home / "config.inc.php").write_text(CONFIG % dict(server.ports, ca=server.ca, home=home))
    database = sqlite3.connect(str(home / "db.sqlite"))
    database.executescript((SHARE / "SQL/sqlite.initial.sql").read_text())
    database.close()
    with open(home / "php.out", "wb") as out:
        php = subprocess.Popen(["php", "-d", "upload_max_filesize=50M", "-d", "post_max_size=60M", "-S", "127.0.0.1:0", "-t",
                                str(PUBLIC)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                               env=dict(os.environ, ROUNDCUBE_CONFIG_DIR=str(home)))
    try:
        said = wait_for(lambda: re.search(r"\((http://127\.0\.0\.1:\d+)\) started", (home / "php.out").read_text()), "php -S")
        yield said[1] + "/"
    finally:
        php.kill()
        php.wait()


class Roundcube:
    """A window with a session of xandros. What isn't a click goes to Roundcube's own object `rcmail`."""

    def __init__(self, site, home, password):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        self.site = site
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in CHROMIUM + ["--user-data-dir=%s" % (home / "chromium")]:
            options.add_argument(argument)
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        try:
            self.driver.get(site)
            self.driver.find_element("name", "_user").send_keys(XANDROS)
            self.driver.find_element("name", "_pass").send_keys(password)
            self.driver.find_element("id", "rcmloginsubmit").click()
            self.until("return window.rcmail && rcmail.env.task == 'mail'", "login")
            self.settle()
        except BaseException:
            self.driver.quit()
            raise

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, script, what, *arguments):
        return wait_for(lambda: self.js(script, *arguments), what)

    def settle(self):
        time.sleep(0.1)  # a command starts its requests from timers
        self.until("return document.readyState == 'complete' && (!window.rcmail || !rcmail.busy) &&"
                   " (!window.jQuery || jQuery.active == 0)", "an idle page")

    def go(self, query):
        self.driver.get(self.site + "?" + query)
        self.settle()

    def mailbox(self, name="INBOX"):
        self.go("_task=mail&_mbox=" + name)

    def command(self, *arguments):
        """When it is taken: rcmail drops what comes while it is busy, as it may be with a preview that a timer began."""
        self.until("if (rcmail.busy || !rcmail.commands[arguments[0]]) return false;"
                   " rcmail.command.apply(rcmail, arguments); return true", arguments[0], *arguments)
        self.settle()

    def subjects(self):
        return self.js("return [...document.querySelectorAll('#messagelist tbody tr .subject a')].map(a => a.innerText.trim())")

    def uid(self, subject):
        script = ("for (const u in rcmail.message_list.rows)"
                  " if (rcmail.message_list.rows[u].obj.innerText.includes(arguments[0])) return rcmail.message_list.rows[u].uid;")
        return self.until(script, "%r in the list" % subject, subject)

    def select(self, *subjects):
        for i, subject in enumerate(subjects):
            self.js("rcmail.message_list.select_row(arguments[0], arguments[1], true)", self.uid(subject), 1 if i else 0)
        self.until("return rcmail.message_list.get_selection().length == arguments[0]", "a selection", len(subjects))

    def compose(self, query="", to=None, subject=None, body="", attach=None):
        self.go("_task=mail&_action=compose&" + query)
        self.until("return rcmail.env.action == 'compose' && !!document.querySelector('#composebody')", "the compose page")
        if to:
            self.js("$('#_to').val(arguments[0]).trigger('change')", to)
        if subject:
            self.driver.find_element("id", "compose-subject").send_keys(subject)
        self.js("const b = document.getElementById('composebody'); b.value = arguments[0] + b.value", body)
        if attach:
            self.driver.find_element("css selector", "input[type=file]").send_keys(str(attach))
            self.until("return document.querySelectorAll('#attachment-list li').length &&"
                       " !document.querySelector('#attachment-list .uploading')", "the upload")
        self.settle()

    def send(self):
        self.driver.find_element("css selector", "button.send").click()
        self.until("return window.rcmail && rcmail.env.action != 'compose'", "the message gone")
        self.settle()

    def said(self, kind):
        return self.js("return [...document.querySelectorAll('#messagestack .alert-' + arguments[0])].map(e => e.innerText)", kind)


@pytest.fixture(scope="module")
def page(server, site, home):
    deliver(server, "Plain hello", "needle in the body\n")
    rich = message("Grüße ✉", "Körper\n")
    rich.add_alternative("<p>with <b>bold</b></p>", subtype="html")
    rich.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="Bericht für Jürgen.pdf")
    deliver(server, rich)
    outer = message("Fwd: nested", "outer text\n")
    outer.add_attachment(message("innermost", "inner text\n"))
    deliver(server, outer)
    for i in range(8):
        deliver(server, "bulk %d" % i, "number %d\n" % i)
    r = Roundcube(site, home, server.password(XANDROS))
    yield r
    r.driver.quit()
    dialog = (home / "imap.log").read_text(errors="replace")
    assert dialog.count(" OK ") > 50
    refused = [line for line in dialog.splitlines() if re.search(r"S: (\w+|\*) (NO|BAD|BYE) (?!Logging out)", line)]
    assert all("[OVERQUOTA]" in line for line in refused), refused


def message(subject, body):
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = "Ann Müller <ann@example.org>", XANDROS, subject
    m["Message-ID"] = "<%d@example.org>" % time.monotonic_ns()
    m.set_content(body)
    return m


def deliver(server, subject, body=None):
    with server.smtp() as client:
        client.send_message(message(subject, body) if body else subject, "ann@example.org", [XANDROS])


def flags(server, subject, mailbox="INBOX"):
    """The flags of the messages with that subject."""
    with server.imap(XANDROS) as client:
        ok(client.select(mailbox, readonly=True))
        found = ok(client.search(None, "SUBJECT", '"%s"' % subject))[0].split()
        return [re.search(rb"FLAGS \(([^)]*)\)", ok(client.fetch(n, "(FLAGS)"))[0])[1].decode().split() for n in found]


def test_reading(page):
    assert page.js("return Object.keys(rcmail.env.mailboxes)") == ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"]
    assert "40 MB" in page.js("return rcmail.env.quota_content.title")
    assert {"Plain hello", "Grüße ✉", "Fwd: nested", "bulk 7"} <= set(page.subjects())
    page.go("_task=mail&_mbox=INBOX&_action=show&_uid=%s" % page.uid("Grüße"))
    assert "with bold" in page.js("return document.querySelector('#messagebody').innerText")
    assert "Bericht für Jürgen.pdf" in page.js("return document.querySelector('#attachment-list').innerText")
    page.mailbox()
    page.go("_task=mail&_mbox=INBOX&_action=show&_uid=%s" % page.uid("nested"))
    text = page.js("return document.querySelector('#messagebody').innerText")
    assert "outer text" in text and "inner text" in text


def test_sending(page, server, home):
    attached = home / "anhang ü.txt"
    attached.write_text("attached\n")
    page.compose(to=VIVITA + ", someone@elsewhere.example", subject="von Roundcube ✉", body="Zeile\n.\n..x\n", attach=attached)
    page.send()
    for user, box in ((VIVITA, "INBOX"), (CAPTURE, "INBOX"), (XANDROS, "Sent")):
        got = email.message_from_bytes(server.newest(user, box), policy=email.policy.default)
        text, file = got.iter_parts()
        assert got["subject"] == "von Roundcube ✉" and "Zeile\r\n.\r\n..x\r\n" in text.get_content()
        assert file.get_filename() == "anhang ü.txt" and "attached" in file.get_content()


def test_an_unknown_recipient(page):
    page.compose(to="nobody-here@example.com", subject="x", body="y")
    page.driver.find_element("css selector", "button.send").click()
    wait_for(lambda: "550" in "".join(page.said("danger")), "the error")
    page.js("rcmail.compose_skip_unsavedcheck = true")


def test_draft_reply_forward(page, server):
    page.compose(to=VIVITA, subject="Entwurf", body="draft\n")
    for text in ("one", "two"):
        page.js("document.getElementById('composebody').value += arguments[0]", text)
        page.command("savedraft")
        wait_for(lambda: text.encode() in (server.newest(XANDROS, "Drafts") or b""), "the draft saved")
        wait_for(lambda: server.count(XANDROS, "Drafts") == 1, "the draft before it gone")
    page.send()
    wait_for(lambda: server.count(XANDROS, "Drafts") == 0, "the draft gone")
    assert b"Subject: Entwurf" in server.newest(VIVITA)
    page.mailbox()
    page.compose("_mbox=INBOX&_reply_uid=%s" % page.uid("Plain hello"), body="answer\n")
    page.send()
    page.mailbox()
    page.compose("_mbox=INBOX&_forward_uid=%s" % page.uid("nested"), to=VIVITA, body="look\n")
    page.send()
    wait_for(lambda: "\\Answered" in flags(server, "Plain hello")[0] and "$Forwarded" in flags(server, "nested")[0], "the flags")


def test_marking_and_moving(page, server):
    page.mailbox()
    page.select("bulk 0", "bulk 1")
    page.command("mark", "flagged")
    wait_for(lambda: all("\\Flagged" in flags(server, "bulk %d" % i)[0] for i in (0, 1)), "the flags")
    for subject, command, box, count in (("bulk 2", ["delete"], "Trash", 1), ("bulk 3", ["move", "Archive"], "Archive", 1),
                                         ("bulk 4", ["plugin.archive"], "Archive", 2),
                                         ("bulk 5", ["plugin.markasjunk.junk"], "Junk", 1), ("bulk 6", ["copy", "Archive"], "Archive", 3)):
        page.select(subject)
        page.command(*command)
        wait_for(lambda: len(flags(server, "bulk", box)) == count, "%s of %s" % (command[0], subject))
    assert [len(flags(server, "bulk", box)) for box in ("INBOX", "Trash", "Archive", "Junk")] == [4, 1, 3, 1]
    page.mailbox("Trash")
    page.command("purge", "Trash")
    page.js("$('.ui-dialog button.mainaction, .ui-dialog button.delete').click()")
    wait_for(lambda: server.count(XANDROS, "Trash") == 0, "an empty trash")


def test_searching(page):
    page.mailbox()
    for text, field, found in (("grüße", "subject", ["Grüße ✉"]), ("NEEDLE", "body", ["Plain hello"]),
                               ("körper", "text", ["Grüße ✉"]), ("nowhere", "text", [])):
        page.js("rcmail.env.search_mods = {'*': {[arguments[1]]: 1}, INBOX: {[arguments[1]]: 1}};"
                "$('#mailsearchform').val(arguments[0])", text, field)
        page.command("search")
        wait_for(lambda: page.subjects() == found, "%s found by %s" % (found, text))


def test_folders(page, server):
    def names():
        with server.imap(XANDROS) as client:
            return b" ".join(ok(client.list())).decode()

    def save(query, name):
        page.go("_task=settings&_action=edit-folder&" + query)
        field = page.driver.find_element("name", "_name")
        field.clear()
        field.send_keys(name)
        page.js("rcmail.command('save')")

    save("_mbox=", "Ünter & Ordner")
    wait_for(lambda: '"&ANw-nter &- Ordner"' in names(), "a folder")
    save("_mbox=%26ANw-nter%20%26-%20Ordner", "Renamed")
    wait_for(lambda: "Renamed" in names() and "nter" not in names(), "the folder renamed")
    page.go("_task=settings&_action=folders")
    page.js("rcmail.delete_folder('Renamed')")
    page.until("return document.querySelector('.ui-dialog button.delete, .ui-dialog button.mainaction')", "the question")
    page.js("$('.ui-dialog button.mainaction, .ui-dialog button.delete').click()")
    wait_for(lambda: "Renamed" not in names(), "the folder gone")


def test_new_mail_shows(page, server):
    page.mailbox()
    deliver(server, "just in", "x\n")
    page.command("checkmail")
    wait_for(lambda: "just in" in page.subjects(), "the new message")
