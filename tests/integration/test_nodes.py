# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Two servers on one MariaDB and one folder of bodies: both serve the same mailboxes at once, one sees what the other does, and
goes on when the other one is killed."""
import contextlib
import imaplib
import itertools
import os
import pwd
import re
import select
import shutil
import signal
import smtplib
import subprocess
import tempfile
import threading
import time

import pytest
from conftest import FAST, ROOT, Server, ok, posthouse, wait_for
from outgoing import ADDRESS, ELSEWHERE, Post, host, message, world  # noqa: F401 (fixture)
from peer import HANG, Peer
from test_serve import USER

import mariadb  # tests/lib, which outgoing names

EACH = 60
LARGE = "x" * 76 + "\r\n"
names = ("nodes_%d" % i for i in itertools.count(1))


@pytest.fixture(scope="module")
def database():
    try:
        server = mariadb.Server()
    except mariadb.NoServer as e:
        pytest.skip(str(e))
    with server:
        yield server


class Nodes:
    def __init__(self, database):
        self.name = next(names)
        database.database(self.name)
        self.url = "mysql://root@/%s?socket=%s" % (self.name, database.socket)
        self.bodies = tempfile.mkdtemp(prefix="posthouse-bodies-")
        self.running = []

    def start(self, *options, settings=()):
        # Given last, they count, should the suite as a whole run on another database.
        database = ("database.url=" + self.url, "database.unsafe=yes", "store.bodies=" + self.bodies)
        self.running.append(Server(*options, settings=(*FAST, *settings, *database)))
        return self.running[-1]

    def stop(self):
        for server in self.running:
            server.stop()
        shutil.rmtree(self.bodies)


@pytest.fixture
def nodes(database):
    n = Nodes(database)
    yield n
    n.stop()


@pytest.fixture
def both(nodes):
    return nodes.start(), nodes.start()


def text(subject, body="Hello.\r\n"):
    return "From: someone@example.org\r\nTo: xandros@example.com\r\nSubject: %s\r\n\r\n%s" % (subject, body)


def deliver(server, subject, body="Hello.\r\n", client=None):
    with contextlib.nullcontext(client) if client else server.smtp() as c:
        assert c.sendmail("someone@example.org", "xandros@example.com", text(subject, body)) == {}


def listed(server, user="xandros", mailbox="INBOX"):
    """[(uid, subject)] as one node shows it."""
    with server.imap(user) as client:
        if ok(client.select(mailbox, readonly=True)) == [b"0"]:
            return []
        rows = ok(client.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    return [(int(re.search(rb"UID (\d+)", r[0])[1]), re.search(rb"Subject: (\S+)", r[1])[1].decode()) for r in rows if len(r) == 2]


def together(*jobs):
    """Runs them at once; what one raises is raised."""
    failed = []

    def run(job):
        try:
            job()
        except BaseException as e:  # noqa: B902
            failed.append(e)
    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def send_many(server, prefix, n=EACH):
    with server.smtp() as client:
        for i in range(n):
            deliver(server, "%s%d" % (prefix, i), client=client)


def test_uids_are_unique_and_increase(both):
    a, b = both
    together(*(lambda s=s, p=p: send_many(s, p) for s in both for p in ("first-%d-" % s.pid, "second-%d-" % s.pid)))
    of_a, of_b = listed(a), listed(b)
    assert of_a == of_b
    assert [uid for uid, _ in of_a] == list(range(1, 4 * EACH + 1))
    assert len({subject for _, subject in of_a}) == 4 * EACH
    for prefix in {re.match(r"\D+-\d+-", subject)[0] for _, subject in of_a}:  # of each connection in its order
        assert [s for _, s in of_a if s.startswith(prefix)] == [prefix + str(i) for i in range(EACH)]


def test_one_reads_what_the_other_stored(both):
    a, b = both
    body = LARGE * 2000  # a file in the shared folder
    deliver(b, "large", body)
    wait_for(lambda: a.count("xandros") == 1, "the message")
    assert a.newest("xandros").decode().endswith(body)


class Idle:
    def __init__(self, server):
        self.client = server.imap("xandros")
        self.client.select("INBOX")
        self.client.send(b"i IDLE\r\n")
        self.seen = b""
        self.wait(b"+ ")

    def wait(self, what):
        stream = self.client.sock

        def found():
            while what not in self.seen and (stream.pending() or select.select([stream], [], [], 0.05)[0]):
                data = stream.recv(65536)
                assert data, self.seen
                self.seen += data
            return what in self.seen
        wait_for(found, "%r in %r" % (what, self.seen))
        self.seen = self.seen.split(what, 1)[1]

    def end(self):
        self.client.send(b"DONE\r\n")
        self.wait(b"i OK")
        self.client.logout()


def test_idle_sees_the_other(both):
    a, b = both
    deliver(b, "there")
    idle = Idle(a)
    deliver(b, "news")
    idle.wait(b"* 2 EXISTS")
    with b.imap("xandros") as client:
        client.select("INBOX")
        client.store("1", "+FLAGS", "(\\Flagged)")
        idle.wait(b"\\Flagged")
        client.store("1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        idle.wait(b"* 1 EXPUNGE")
    idle.end()


def is_over(client):
    try:
        client.noop()
        return False
    except (imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError):
        return True


def test_a_login_that_holds_no_more_ends_at_the_other(both):
    """Its sessions, and what was remembered of the password."""
    here, there = both
    with there.imap() as client, there.imap("vivita@example.com") as other, there.smtp("submission", "xandros") as sender:
        client.select("INBOX")

        def changed():  # again, until they know of one another
            assert posthouse("password", "set", "xandros@example.com", data=here.data, stdin="changed\n").code == 0
            return is_over(client)
        wait_for(changed, "the end of the session")
        assert sender.noop()[0] == 421
        assert ok(other.noop())
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        there.imap()
    assert posthouse("user", "disable", "vivita@example.com", data=there.data).code == 0
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        here.imap("vivita@example.com")


def test_a_command_without_a_server_ends_logins_too(nodes, tmp_path):
    """Given from another machine, which has the same database and folder of bodies."""
    node = nodes.start()
    (tmp_path / "data").mkdir(mode=0o700)
    config = tmp_path / "posthouse.conf"
    config.write_text('main { data = "%s" }\ndatabase { url = "%s"\nunsafe = yes }\nstore { bodies = "%s" }\n' % (
        tmp_path / "data", nodes.url, nodes.bodies))

    def command(*words, stdin=""):
        done = posthouse(*words, "--config", str(config), stdin=stdin)
        assert done.code == 0, done.err
    idle = Idle(node)
    with node.imap("vivita@example.com") as other:
        command("password", "set", "xandros@example.com", stdin="changed\n")
        idle.wait(b"* BYE")
        assert ok(other.noop())
        command("user", "disable", "vivita@example.com")
        wait_for(lambda: is_over(other), "the end of the session")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        node.imap()


def work(server, name, rounds=25):
    """Copies and moves between folders that the other one works in, too."""
    with server.imap("xandros") as client:
        for i in range(rounds):
            ok(client.append("Drafts", None, None, text("%s-%d" % (name, i)).encode()))
            ok(client.select("Drafts"))
            mine = ok(client.uid("SEARCH", "SUBJECT", "%s-%d" % (name, i)))[0].split()
            assert len(mine) == 1, (name, i, mine)
            ok(client.uid("STORE", mine[0], "+FLAGS", "(\\Seen $Label%d)" % (i % 5)))
            ok(client.uid("COPY", mine[0], "Archive"))
            ok(client.uid("MOVE", mine[0], "Trash"))


def test_both_change_the_same_mailboxes(both):
    a, b = both
    together(lambda: work(a, "one"), lambda: work(b, "two"), lambda: work(b, "three"))
    for server in both:
        assert listed(server, mailbox="Drafts") == []
        for mailbox in ("Archive", "Trash"):
            rows = listed(server, mailbox=mailbox)
            assert sorted(s for _, s in rows) == sorted("%s-%d" % (n, i) for n in ("one", "two", "three") for i in range(25))
            assert [uid for uid, _ in rows] == list(range(1, 76))
    done = a.command_line("mailbox", "check")
    assert done.code == 0, done.out + done.err


def test_one_is_killed(nodes, both):
    a, b = both
    told, began = [], threading.Event()

    def until_it_ends():
        with contextlib.suppress(OSError, Exception), b.smtp() as client:  # noqa: B902 (smtplib's are many)
            for i in range(100000):
                subject = "b-%d" % i
                assert client.sendmail("someone@example.org", "xandros@example.com", text(subject)) == {}
                told.append(subject)
                if i == 20:
                    began.set()

    def kill():
        assert began.wait(60)
        b.trouble_expected = True
        b.process.send_signal(signal.SIGKILL)
        b.process.wait()
    together(until_it_ends, lambda: send_many(a, "a-"), kill)
    deliver(a, "after")
    found = [s for _, s in listed(a)]
    assert set(told) <= set(found) and len(found) == len(set(found))
    assert {"a-%d" % i for i in range(EACH)} | {"after"} <= set(found)
    b.stop(signal.SIGKILL)
    nodes.running.remove(b)
    c = nodes.start()  # another one comes
    deliver(c, "new")
    assert listed(a)[-1][1] == "new"
    uids = [uid for uid, _ in listed(c)]
    assert uids == sorted(set(uids))


def keep_sending(server, prefix, n, told, seen, over):
    """Each until it is taken, as other servers do, n at least, until it is over. told: how often each was refused or lost."""
    for i in itertools.count():
        if i >= n and over.is_set():
            return
        subject, tries = "%s%d" % (prefix, i), 0
        while True:
            try:
                deliver(server, subject)
                break
            except (smtplib.SMTPException, OSError) as e:
                assert getattr(e, "smtp_code", 400) < 500, e
                tries += 1
                assert tries < 600, e
                time.sleep(0.1)
        told[subject] = tries
        seen.set()


def test_the_database_restarts(both, database):
    told, seen, over = {}, threading.Event(), threading.Event()
    for server in both:
        server.trouble_expected = True

    def restart():
        try:
            for _ in range(2):
                seen.clear()
                assert seen.wait(60)
                database.stop()
                database.start()
        finally:
            over.set()
    together(*(lambda s=s: keep_sending(s, "m%d-" % s.pid, 80, told, seen, over) for s in both), restart)
    for server in both:
        found = wait_for(lambda: (lambda rows: len(rows) >= len(told) and rows)(listed(server)), "all messages", 60)
        subjects = [s for _, s in found]
        assert set(subjects) == set(told)
        # What was taken at once is there once; what was refused was not taken, and came once more.
        assert [s for s in set(subjects) if subjects.count(s) > 1 and told[s] == 0] == []
        uids = [uid for uid, _ in found]
        assert uids == sorted(set(uids))


# ---- What leaves: one of them sends it, and its rows are the other's when it was killed.

ASKING = ["d%d.asking.test" % i for i in range(20)]  # for reports about mail in their name


def zones(world):
    world.zone("asking.test", "mx A %s\n" % (ADDRESS % 60) + "".join(
        'd%d MX 10 mx\n_dmarc.d%d TXT "v=DMARC1; p=none; rua=mailto:r@%s"\n' % (i, i, name) for i, name in enumerate(ASKING)))


@pytest.fixture
def asking(world):
    p = Peer(ADDRESS % 60, name="mx.asking.test")
    yield p
    p.stop()
    assert p.violations == []


@contextlib.contextmanager
def two_posts(world, database, more=""):
    name, bodies = next(names), tempfile.mkdtemp(prefix="posthouse-bodies-")
    database.database(name)
    shutil.chown(bodies, USER, pwd.getpwnam(USER).pw_gid)
    more += 'database {\n    url = "mysql://root@/%s?socket=%s"\n    unsafe = yes\n}\nstore {\n    bodies = "%s"\n}\n' % (
        name, database.socket, bodies)
    both = [Post(world, more=more) for _ in range(2)]
    both[0].database = name
    try:
        both[0].begin()
        both[1].start()
        yield both
    finally:
        for p in both:
            p.stop()
        shutil.rmtree(bodies)


@pytest.fixture
def posts(world, database):
    with two_posts(world, database) as both:
        yield both


def test_rows_of_the_killed_one_are_sent_by_the_other(posts, host):  # noqa: F811
    first, second = posts
    at_the_end = threading.Event()

    def answer(session, verb, argument):
        if verb != "END" or at_the_end.is_set():
            return None
        at_the_end.set()
        return HANG
    p, name = host(answer=answer)
    first.submit("x@" + name, message())
    assert at_the_end.wait(60)
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    first.process.stdout.close()
    first.process = None
    mail = p.wait(1, 90)
    assert mail[0].to == ["x@" + name]
    wait_for(lambda: not second.waiting(), "an empty queue", 60)
    assert len(p.mail) == 1


def test_each_is_sent_once(posts, host):  # noqa: F811
    first, second = posts
    p, name = host()
    together(*(lambda s=s, i=i: [s.submit("u%d-%d@%s" % (i, k, name), message()) for k in range(15)]
               for i, s in enumerate((first, second))))
    p.wait(30, 60)
    wait_for(lambda: not first.waiting(), "an empty queue", 60)
    assert sorted(to for m in p.mail for to in m.to) == sorted("u%d-%d@%s" % (i, k, name) for i in range(2) for k in range(15))


def test_each_report_is_sent_once(world, database, asking):
    """About a day that is over, when both make them at the same time."""
    with two_posts(world, database, "spf {\n    skip = {127.0.0.1}\n}\ndmarc {\n    skip = {127.0.0.1}\n}\n") as posts:
        for post, names_ in ((posts[0], ASKING), (posts[1], ASKING[5:15])):
            with post.client(port=25, user=None, source=ELSEWHERE) as client:
                for name in names_:
                    client.sendmail("a@" + name, ["ann@example.com"], message(sender="a@" + name))
        for post in posts:
            post.end()  # which writes what it has counted
        counted = database.sql("SELECT domain, SUM(messages) FROM dmarc_result GROUP BY domain ORDER BY domain", posts[0].database)
        assert {d: int(n) for d, n in counted} == {name: 2 if name in ASKING[5:15] else 1 for name in ASKING}
        database.sql("UPDATE dmarc_result SET day = day - 2", posts[0].database)
        for post in posts:
            post.start()
        together(*(lambda p=p: p.command("report", "send") for p in posts))

        def all_are_sent():
            return posts[0].command("report", "send").code == 0 and not [r for r in posts[0].json("report", "list") if r["over"]]
        wait_for(all_are_sent, "reports about all domains", 60)
        for post in posts:
            post.idle()
        assert sorted(to for m in asking.mail for to in m.to) == sorted("r@" + name for name in ASKING)


# ---- What filters remember: one writes it, the other hears of it.

PAUSES = (2, 2, 3, 5, 10, 20, 30)  # seconds until a node may have heard of what another one wrote


def greylisting(delay):
    return "spf { mode = off }\ngreylist {\n    clients = all\n    delay = %s\n    successes = 2\n    skip = {}\n}\n" % delay


def brings(post, sender, to="ann@example.com"):
    """0: it is taken; else for how many seconds it has to wait."""
    with post.client(port=25, user=None, source=ELSEWHERE) as client:
        assert client.mail(sender)[0] == 250
        code, words = client.rcpt(to)
        if code == 250:
            assert client.data(message(sender=sender))[0] == 250
            return 0
        assert code == 450, words
        return int(re.search(rb"try again in (\d+) s", words)[1])


senders = ("stranger%d@elsewhere.test" % i for i in itertools.count(1))


def heard(writes, reads):
    """A sender whom only `writes` has seen, and `reads` awaits."""
    for pause in PAUSES:
        sender = next(senders)
        assert brings(writes, sender) == 3600
        time.sleep(pause)
        if brings(reads, sender) < 3600:  # it counts from that time on
            return sender
    pytest.fail("the other node didn't hear of it")


def delays(post, delay):
    """`delay` is in force from here on, and is less than before."""
    post.other = re.sub(r"delay = \w+", "delay = " + delay, post.other)
    post.write()
    post.hup()
    for pause in PAUSES:
        if brings(post, next(senders)) < 3600:
            return
        time.sleep(pause)
    pytest.fail("the new settings don't come")


def test_who_came_to_one_may_come_to_the_other(world, database):
    with two_posts(world, database, greylisting("1h")) as (first, second):
        there, here = heard(first, second), heard(second, first)
        delays(second, "1s")
        assert brings(second, there) == 0
        delays(first, "1s")
        assert brings(first, here) == 0


def test_a_network_that_one_knows(world, database):
    with two_posts(world, database, greylisting("1s")) as (first, second):
        for sender in (next(senders), next(senders)):  # so many are enough
            while brings(first, sender):
                time.sleep(1)
        assert brings(first, next(senders)) == 0
        for pause in PAUSES:
            time.sleep(pause)
            if brings(second, next(senders)) == 0:
                return
        pytest.fail("the other node didn't hear of it")


def test_a_killed_node_hears_again(world, database):
    with two_posts(world, database, greylisting("1h")) as (first, second):
        sender = heard(first, second)
        first.end(signal.SIGKILL)
        assert 0 < brings(second, sender) < 3600
        first.start()
        assert 0 < brings(first, sender) < 3600
        heard(second, first)
        heard(first, second)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A plug-in that counts in its table."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "posthouse").mkdir()
    shutil.copy(ROOT / "filters" / "stage.h", folder / "posthouse")
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-D_POSIX_C_SOURCE=200809L", "-I", str(folder), "-o", str(folder / "every.so"),
                    str(ROOT / "tests" / "plugins" / "every.c")], check=True)
    return "--plugin", str(folder / "every.so")


def counted(server):
    """What the plug-in has counted to, with a message."""
    deliver(server, "counted")
    mid = wait_for(lambda: re.findall(r"mid=(\d+)", server.log()), "its id")[-1]
    shown = wait_for(lambda: (lambda done: done.code == 0 and done.json)(server.command_line("explain", mid, "--json")), "its verdicts")
    return [int(s["facts"]["every.count"]) for s in shown["stages"] if "every.count" in s.get("facts", {})][0]


def test_the_table_of_a_plugin(nodes, every):
    a, b = (nodes.start(*every, settings=("every.act=count=n",)) for _ in range(2))
    of_b = 0
    for pause in PAUSES:
        of_a = counted(a)
        time.sleep(pause)
        of_b += 1
        if counted(b) == of_a + 1 and of_a + 1 > of_b:
            return
    pytest.fail("the other node didn't hear of it")


def test_one_that_is_alone_asks_nothing(nodes, database, every):
    a = nodes.start(*every, settings=("every.act=count=n",))
    database.sql("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
    try:
        for i in range(3):
            deliver(a, "m%d" % i)
            written = "SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE 'INSERT INTO stage_kv(%'"
            wait_for(lambda n=i: int(database.sql(written)[0][0]) > n, "its row")
        said = database.sql("SELECT argument FROM mysql.general_log WHERE argument LIKE '%row\\_change%' OR argument LIKE '%watch-14%'")
        assert [s for s in said if "general_log" not in s[0]] == []
    finally:
        database.sql("SET GLOBAL general_log = OFF; TRUNCATE mysql.general_log")
