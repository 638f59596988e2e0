# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""posthouse import imap: what another server serves is what we serve after, UID by UID, whatever happens on the way."""
import contextlib
import imaplib
import pathlib
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading

import pytest
import test_import as maildirs
from conftest import BINARY, Command, ok, posthouse, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import certs  # noqa: E402
import dovecot  # noqa: E402

USER = "xandros@example.com"
needs_dovecot = maildirs.needs_dovecot
TLS = """
ssl = required
ssl_cert = <{chain}
ssl_key = <{key}
service imap-login {{
  inet_listener imaps {{
    port = {{tls}}
    ssl = yes
  }}
}}
"""
MASTER = """
auth_master_user_separator = *
passdb {
  driver = static
  master = yes
  args = password=master
}
"""


def bring(url, *options, data, account=USER, password="pw", timeout=maildirs.IMPORT):
    named = ["--account", account] if account else []
    result = subprocess.run([BINARY, "import", "imap", url, *named, *options, "--json", "--data", str(data)],
                            input=password + "\n", capture_output=True, text=True, timeout=timeout)
    return Command(result)


def url(server, user=USER):
    return "imap://%s@127.0.0.1:%d" % (user.replace("@", "%40"), server.port)


def total(server, user=USER):
    client = server.login(user)
    n = 0
    for folder in maildirs.folders(client):
        n += int(ok(client.select('"%s"' % folder, readonly=True))[0])
    client.logout()
    return n


# ---- Dovecot
@needs_dovecot
@pytest.mark.parametrize("mechanisms", ["plain", "plain scram-sha-256"])
def test_from_dovecot(start, folder, mechanisms):
    server = start()
    with dovecot.Dovecot(folder, extra="auth_mechanisms = %s\n" % mechanisms) as theirs:
        client = theirs.login(USER)
        maildirs.fill(client)
        first = bring(url(theirs), data=server.data)
        assert first.code == 0, first.out + first.err
        assert first.json["imported"] == 19 and first.json["failed"] == 0
        before = maildirs.everything(client)
        with server.imap() as ours:
            maildirs.is_the_same(before, maildirs.everything(ours))
            assert b'"Lists/B&APY-rse"' in b"".join(ok(ours.lsub()))
            assert b"Sent Items" not in b"".join(ok(ours.list()))

        # A second run brings what changed there, and leaves what changed here.
        with server.imap() as ours:
            ok(ours.select("INBOX"))
            ok(ours.uid("STORE", "3", "+FLAGS", r"(\Flagged mine)"))
        again = bring(url(theirs), data=server.data)
        assert again.code == 0 and again.json["unchanged"] == 19, again.out
        assert again.json["imported"] == again.json["updated"] == again.json["bytes"] == 0
        ok(client.append("INBOX", r"(\Seen)", None, maildirs.TEXTS[2]))
        ok(client.select("INBOX"))
        ok(client.uid("STORE", "1", "+FLAGS", r"(\Answered new)"))
        ok(client.uid("STORE", "4", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        again = bring(url(theirs), data=server.data)
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (1, 1, 0), again.out
        again = bring(url(theirs), "--delete", data=server.data)
        assert (again.json["imported"], again.json["updated"], again.json["removed"]) == (0, 0, 2), again.out
        with server.imap() as ours:
            uidvalidity, have = maildirs.content(ours, "INBOX")
        now = maildirs.content(client, "INBOX")
        assert uidvalidity == now[0] and have.keys() == now[1].keys()
        assert have[3][0] == now[1][3][0] | {r"\Flagged", "mine"}
        assert have[1][0] == now[1][1][0] and again.json["renumbered"] == []
        client.logout()
    assert server.command_line("mailbox", "check").code == 0


def imaps(port, user=USER, host="localhost"):
    return "imaps://%s@%s:%d" % (user.replace("@", "%40"), host, port)


@needs_dovecot
def test_who_it_is(start, folder):
    """A certificate is looked at; a password that is wrong is told from all else."""
    server = start()
    authority = certs.Authority(folder / "ca")
    made = authority.certificate("localhost")
    with dovecot.Dovecot(folder, extra=TLS.format(chain=made.chain, key=made.key)) as theirs:
        for address in (imaps(theirs.tls), "imap://x@localhost:%d" % theirs.port):  # STARTTLS where it is offered
            result = bring(address, data=server.data)
            assert result.code == 1 and "certificate" in result.json["error"], result.out
        result = bring(imaps(theirs.tls, host="127.0.0.1"), "--ca", str(authority.file), data=server.data)
        assert result.code == 1 and "certificate" in result.json["error"], result.out
        for options in (["--ca", str(authority.file)], ["--insecure"]):
            result = bring(imaps(theirs.tls), *options, data=server.data)
            assert result.code == 0, result.out
        result = bring("imap://x@localhost:%d" % theirs.port, "--ca", str(authority.file), data=server.data)
        assert result.code == 0, result.out
        result = bring(imaps(theirs.tls), "--insecure", data=server.data, password="wrong")
        assert result.code == 1 and "login as " + USER in result.json["error"], result.out
        for address in ("imaps://%s:pw@localhost" % USER, "pop3://x@localhost", "imaps://x@", "imaps://x@localhost:70000"):
            assert bring(address, data=server.data).code == 2, address
        assert bring(imaps(theirs.tls), data=server.data, account=None).code == 2
        assert bring(imaps(theirs.tls), "--insecure", data=server.data, account="nobody@example.com").code == 1
    result = posthouse("import", imaps(theirs.tls), "--account=" + USER, "--insecure", "--json", data=server.data, stdin="pw\n")
    assert result.code == 75 and "refused" in result.json["error"], result.out  # the URL says that it is imap
    result = bring(imaps(theirs.tls), "--insecure", data=server.data)
    assert result.code == 75 and "refused" in result.json["error"], result.out


def test_from_our_own(start):
    theirs, server = start(), start()
    user = theirs.accounts[1]
    password = theirs.passwords[user]
    with theirs.imap(user) as client:
        for folder in ("Lists", "Lists/B&APY-rse", "Nothing"):
            ok(client.create('"%s"' % folder))
        for n, text in enumerate(maildirs.TEXTS):
            for folder in ("INBOX", "Sent", "Lists/B&APY-rse"):
                date = imaplib.Time2Internaldate(1500000000 + 86400 * n)
                ok(client.append('"%s"' % folder, maildirs.FLAGS[n % len(maildirs.FLAGS)], date, text))
        before = maildirs.everything(client)
    ca = ["--ca", str(theirs.ca)]
    result = bring(imaps(theirs.ports["imaps"], user), *ca, data=server.data, password=password)
    assert result.code == 0 and result.json["imported"] == 3 * len(maildirs.TEXTS), result.out
    with server.imap() as ours:
        after = maildirs.everything(ours)
    assert after.keys() == before.keys()
    for name, (uidvalidity, messages) in before.items():
        assert after[name][1] == messages and (not messages or after[name][0] == uidvalidity), name
    result = bring(imaps(theirs.ports["imaps"], user), *ca, data=server.data, password=password)
    assert result.json["unchanged"] == 3 * len(maildirs.TEXTS), result.out


@needs_dovecot
def test_some_of_it(start, folder):
    server = start()
    with dovecot.Dovecot(folder) as theirs:
        client = theirs.login(USER)
        maildirs.fill(client)
        client.logout()
        result = bring(url(theirs), "--folders", "INBOX,Lists/%", data=server.data)
        assert result.code == 0 and result.json["mailboxes"] == 2 and result.json["imported"] == 13, result.out
        # the days of 1500000000 (2017-07-14) and later; one is of 2014. What isn't looked at isn't removed.
        result = bring(url(theirs), "--since", "2017-07-25", "--delete", data=server.data)
        assert result.code == 0 and result.json["removed"] == 0 and result.json["imported"] == 4, result.out
        assert bring(url(theirs), "--since", "25.7.2017", data=server.data).code == 2
        result = bring(url(theirs), "--keep-names", data=server.data)
        assert result.code == 0, result.out
        with server.imap() as ours:
            assert "Sent Items" in maildirs.folders(ours)


# ---- What happens on the way
class Proxy:
    """Between the command and a server: after `messages` texts of messages, or where `marker` comes, a connection breaks;
    `greet` is said instead of the first greetings, which end their connections. `said`: by the command."""

    def __init__(self, port, messages=None, marker=None, greet=()):
        self.target, self.messages, self.marker, self.greet = port, messages, marker, list(greet)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.connections, self.said = self.listener.getsockname()[1], 0, b""
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                if self.greet:
                    client.sendall(self.greet.pop(0))
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except ConnectionError:  # it is away
                    client.close()
                    continue
                threading.Thread(target=self.up, args=(client, server), daemon=True).start()
                threading.Thread(target=self.down, args=(server, client), daemon=True).start()

    @staticmethod
    def end(*ends):
        for s in ends:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def up(self, client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.said += data
                server.sendall(data)
        self.end(client, server)

    def down(self, server, client):
        seen, tail = 0, b""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.marker and self.marker in tail + data:
                    client.sendall(data[:max(0, (tail + data).index(self.marker) - len(tail))])
                    break
                starts = [m.end() for m in re.finditer(rb"BODY\[\] \{\d+\}\r\n", tail + data) if m.end() > len(tail)]
                if self.messages is not None and seen + len(starts) > self.messages:
                    client.sendall(data[:starts[self.messages - seen] - len(tail) + 5])  # in the middle of one
                    break
                seen += len(starts)
                client.sendall(data)
                tail = data[-40:] if len(data) >= 40 else (tail + data)[-40:]
                # a head that stands in the tail as a whole was counted
                tail = tail[-8:] if re.search(rb"BODY\[\] \{\d+\}\r\n", tail) else tail
        self.end(client, server)


@needs_dovecot
def test_connections_that_break(start, folder):
    server = start()
    with dovecot.Dovecot(folder) as theirs, Proxy(theirs.port, messages=2) as proxy:
        client = theirs.login(USER)
        maildirs.fill(client)
        before = maildirs.everything(client)
        result = bring(url(proxy), data=server.data)
        assert result.code == 0 and result.json["imported"] == 19 and result.json["failed"] == 0, result.out
        assert proxy.connections > 8
        with server.imap() as ours:
            maildirs.is_the_same(before, maildirs.everything(ours))
        client.logout()


@needs_dovecot
def test_only_what_changed_is_asked_for(start, folder):
    """CONDSTORE, where the server has it; all is looked at again after a failure, and for what is gone."""
    server = start()
    with dovecot.Dovecot(folder) as theirs:
        client = theirs.login(USER)
        for n in range(5):
            ok(client.append("INBOX", None, None, b"Subject: %d\r\n\r\n" % n))
        ok(client.select("INBOX"))

        def run(*options, **counts):
            with Proxy(theirs.port) as proxy:
                result = bring(url(proxy), *options, data=server.data)
            have = {name: result.json[name] for name in ("imported", "updated", "unchanged", "removed")}
            assert result.code == 0 and have == {**dict.fromkeys(have, 0), **counts}, result.out
            return proxy.said

        assert b"CHANGEDSINCE" not in run("--since", "2038-01-01")
        assert b"CHANGEDSINCE" not in run(imported=5)
        assert b"FETCH" not in run(unchanged=5)
        ok(client.uid("STORE", "2", "+FLAGS", r"(\Flagged)"))
        ok(client.append("INBOX", None, None, b"Subject: new\r\n\r\n"))
        assert b"CHANGEDSINCE" in run(imported=1, updated=1, unchanged=4)
        ok(client.uid("STORE", "3", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
        said = run("--delete", removed=1, unchanged=5)
        assert b"FETCH" in said and b"CHANGEDSINCE" not in said
        assert b"FETCH" not in run(unchanged=5)
        client.logout()
    assert server.command_line("mailbox", "check").code == 0


@needs_dovecot
def test_a_message_that_breaks_connections(start, folder):
    """It is left out with its reason; the rest comes, now and later."""
    server = start()
    texts = [b"Subject: %d\r\n\r\n%s\r\n" % (n, b"TOXIC" if n == 3 else b"text") for n in range(8)]
    with dovecot.Dovecot(folder) as theirs, Proxy(theirs.port, marker=b"TOXIC") as proxy:
        client = theirs.login(USER)
        for text in texts:
            ok(client.append("INBOX", None, None, text))
        result = bring(url(proxy), data=server.data)
        assert result.code == 1 and (result.json["imported"], result.json["failed"]) == (7, 1), result.out
        assert "UID 4" in result.json["errors"][0]["file"] and "3 times" in result.json["errors"][0]["reason"]
        proxy.marker = None
        result = bring(url(proxy), data=server.data)
        assert result.code == 0 and (result.json["imported"], result.json["unchanged"]) == (1, 7), result.out
        assert server.count("xandros") == 8
        client.logout()


def test_connections_that_are_reset(start):
    """Not ended: what was sent may be lost on the way."""
    server = start()
    answers = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n", b"LIST": b'* LIST () "/" INBOX\r\n',
               b"EXAMINE": b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n",
               b"FETCH": b"* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 5)\r\n"}

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(ConnectionError), client, client.makefile("rb") as lines:
                    client.sendall(b"* PREAUTH hello\r\n")
                    for line in lines:
                        tag, word, *rest = line.split()
                        if word == b"UID" and b"1" in rest[1]:
                            client.sendall(b"* 1 FETCH (UID 1 BODY[] {100}\r\nabc")
                            break
                        answer = answers.get(word, b"") if word != b"UID" else b"* 2 FETCH (UID 2 BODY[] {5}\r\nhello)\r\n"
                        client.sendall(answer + tag + b" OK\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        result = bring("imap://x@127.0.0.1:%d" % listener.getsockname()[1], data=server.data)
    assert result.code == 1 and (result.json["imported"], result.json["failed"]) == (1, 1), result.out
    assert "3 times" in result.json["errors"][0]["reason"]
    assert server.count("xandros") == 1


@needs_dovecot
def test_a_server_that_wants_a_rest(start, folder):
    server = start()
    with dovecot.Dovecot(folder) as theirs, Proxy(theirs.port, greet=[b"* BYE [UNAVAILABLE] not now\r\n"]) as proxy:
        theirs.login(USER).logout()
        result = bring(url(proxy), data=server.data)
        assert result.code == 0 and proxy.connections == 2, result.out


def arrived(folder):
    with contextlib.closing(sqlite3.connect("file:%s/data/store.db?mode=ro" % folder, uri=True, timeout=10)) as db:
        return db.execute("SELECT COUNT(*) FROM message").fetchone()[0]


@needs_dovecot
@pytest.mark.parametrize("whom", ["command", "daemon", "source"])
def test_killed_and_run_again(start, folder, whom):
    """Whichever end dies: what had come is there once, and the next run brings the rest."""
    n = 800
    server = start(data=folder / "data")
    with dovecot.Dovecot(folder) as theirs, Proxy(theirs.port) as proxy:
        source = theirs.maildir(USER)
        maildirs.many(source, n)
        theirs.own(source.parent)
        running = subprocess.Popen([BINARY, "import", "imap", url(proxy), "--account", USER, "--data", str(server.data), "--json"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.stdin.write("pw\n")
        running.stdin.flush()
        wait_for(lambda: arrived(folder) > 100 or running.poll() is not None, "some messages", 60)
        if whom == "command":
            running.kill()
            running.communicate()
        elif whom == "daemon":
            server.stop(signal.SIGKILL)
            running.communicate(timeout=60)
            assert running.returncode in (0, 75)
            server = start(data=folder / "data")
        else:  # the command waits for it
            theirs.stop()
            theirs.start()
            proxy.target = theirs.port
            text = running.communicate(timeout=maildirs.IMPORT)
            assert running.returncode == 0, text
        result = bring(url(theirs), data=server.data)
        assert result.code == 0 and result.json["imported"] + result.json["unchanged"] == n, result.out
    with server.imap() as client:
        ok(client.select("INBOX", readonly=True))
        assert client.response("UIDVALIDITY")[1][0] == b"1150000000"
        uids = ok(client.uid("SEARCH", "ALL"))[0].split()
        assert [int(u) for u in uids] == [2 * i + 1 for i in range(n)]
    assert server.command_line("mailbox", "check").code == 0


# ---- Many accounts
@needs_dovecot
@pytest.mark.parametrize("daemon", [True, False])
def test_every_account(start, folder, daemon):
    server = start(data=folder / "data")
    users = server.accounts
    with dovecot.Dovecot(folder, extra=MASTER) as theirs:
        for n, user in enumerate(users):
            client = theirs.login("old%d" % n)
            for text in maildirs.TEXTS[:3]:
                ok(client.append("INBOX", None, None, b"X-Of: %d\r\n" % n + text))
            client.logout()
        if not daemon:
            server.stop()
        rows = ["# who  whom", ""] + ["old%d %s" % (n, user) for n, user in enumerate(users)]
        (folder / "list").write_text("\n".join(rows) + "\n")
        source = "imap://127.0.0.1:%d" % theirs.port
        result = bring(source, "--all", str(folder / "list"), "--master", "boss", "--jobs", "3", data=folder / "data",
                       account=None, password="master")
        assert result.code == 0, result.out + result.err
        assert (result.json["accounts"], result.json["imported"]) == (len(users), 3 * len(users)), result.out
        if not daemon:
            server = start(data=folder / "data")
        for n, user in enumerate(users):
            assert b"X-Of: %d" % n in server.newest(user)
        # passwords of their own, one of which is wrong, and an account that isn't there
        (folder / "list").write_text("old0 %s pw\nold1 %s no\nold2 nobody@example.com pw\n" % (users[0], users[1]))
        result = bring(source, "--all", str(folder / "list"), data=folder / "data", account=None)
        assert result.code == 1 and (result.json["unchanged"], result.json["failed"]) == (3, 2), result.out
        assert {e["file"] for e in result.json["errors"]} == {users[1], "nobody@example.com"}
