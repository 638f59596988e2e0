# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Filter stages as plug-ins: built outside the tree against the one installed header, loaded by the server; what they decide
acts, and what they do wrong harms nobody else."""
import os
import pathlib
import re
import shutil
import smtplib
import socket
import struct
import subprocess

import pytest
from conftest import BINARY, FAST, ROOT, WAIT, Server, posthouse, wait_for

XANDROS, VIVITA, KARL = "xandros@example.com", "vivita@example.com", "karl@example.com"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """Compiles the sample and the misbehaving ones; a folder with the header is all they get."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "include" / "posthouse").mkdir(parents=True)
    shutil.copy(ROOT / "filters" / "stage.h", folder / "include" / "posthouse")

    def build(source, name, *flags):
        target = folder / (name + ".so")
        subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L",
                        "-I", str(folder / "include"), "-o", str(target), str(source), *flags], check=True)
        return str(target)

    tests = ROOT / "tests" / "plugins"
    empty = folder / "empty.c"
    empty.write_text("int nothing;\n")
    return {"subject": build(ROOT / "conf" / "sample-stage" / "subject.c", "subject"), "every": build(tests / "every.c", "every"),
            "stuck": build(tests / "stuck.c", "stuck"), "abi": build(tests / "every.c", "abi", "-DABI=99"),
            "empty": build(empty, "empty"), "taken": build(tests / "every.c", "taken", '-DNAME="smtp"')}


@pytest.fixture
def run(plugins):
    servers = []

    def start(*names, settings=(), trouble=False, data=None):
        options = [word for name in names for word in ("--plugin", plugins[name])]
        server = Server(*options, settings=FAST + tuple(settings), data=data)
        server.trouble_expected = trouble
        servers.append(server)
        return server
    yield start
    for server in servers:
        if server.trouble_expected and not server.log_file.closed:
            assert not re.search("Sanitizer|runtime error:|CHECK failed", server.log())
        server.stop()


def send(server, text="Subject: x\r\n\r\nHello\r\n", sender="a@example.org", to=(XANDROS,), helo="client.example"):
    """The last reply: of MAIL, RCPT (all refused), or the message."""
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=WAIT) as client:
        client.ehlo(helo)
        code, words = client.mail(sender)
        if code != 250:
            return code, words.decode()
        answers = [client.rcpt(one) for one in to]
        if all(code != 250 for code, _ in answers):
            return answers[-1][0], answers[-1][1].decode()
        code, words = client.data(text.replace("\r\n", "\n").replace("\n", "\r\n"))
        return code, words.decode()


def texts(server, user=XANDROS, folder="INBOX"):
    return [m.decode() for m in server.messages(user, folder)]


def explain(server, ident):
    shown = posthouse("explain", ident, "--json", data=server.data)
    assert shown.code == 0, shown.err + shown.out
    return shown.json


def last_id(server):
    return re.findall(r"mid=(\d+)", server.log())[-1]


# ---- the sample

def test_sample_verdicts(run):
    for then, reply, folder, count in (("tag", 250, "INBOX", 1), ("junk", 250, "Junk", 1), ("discard", 250, "INBOX", 0),
                                       ("defer", 451, "INBOX", 0), ("reject", 554, "INBOX", 0)):
        server = run("subject", settings=("subject.word=gold", "subject.then=" + then))
        code, words = send(server, "Subject: cheap\r\n GOLD\r\n\r\nx\r\n")
        assert code == reply, words
        found = texts(server, folder=folder)
        assert len(found) == count
        if count:
            assert "X-Posthouse-Tags: subject\r\n" in found[0]
            assert "X-Subject-Stage: gold\r\n" in found[0]
            assert found[0].index("Received:") < found[0].index("X-Subject-Stage:") < found[0].index("Subject: cheap")
        if then == "reject":
            assert "We don't want to hear of gold" in words
        tree = explain(server, last_id(server))
        mine = [s for s in tree["stages"] if s["stage"] == "subject"][0]
        assert mine["reason"] == "its Subject holds gold" and mine["score"] == 5 and tree["score"] == 5
        assert mine["facts"] == {"subject.looked": "yes"}
        assert mine["verdict"] == {"tag": "pass"}.get(then, then)
        assert tree["verdict"] == {"tag": "pass"}.get(then, then) and tree["date"].startswith("20")
        assert tree["decided_by"] == ([] if then == "tag" else ["subject"])
        assert [c["verdict"] for c in tree["changes"]] == ([] if then == "tag" else ["pass"])
        kept = then in ("discard", "defer", "reject")  # nowhere else
        assert ("head" in tree) == kept and (not kept or "Subject: cheap\r\n GOLD\r\n" in tree["head"])
        assert tree["outcome"].startswith({"tag": "delivered", "junk": "delivered to Junk", "discard": "discarded"}.get(then, "refused: "))
        assert send(server)[0] == 250


def test_explain_text_and_ids(run, folder):
    server = run("subject", data=folder)
    code, words = send(server)
    ident = re.search(r"Kept as (\d+)", words).group(1)
    assert "id " + ident in texts(server)[0]
    shown = posthouse("explain", ident, data=server.data)
    assert shown.code == 0 and re.search(r"message +subject +pass", shown.out) and "outcome: delivered\n" in shown.out
    assert "reply:" not in shown.out  # nobody has refused anything
    assert re.search(r"^date: 20\d\d-\d\d-\d\dT", shown.out, re.M) and "\nverdict: pass\n" in shown.out and "head:" not in shown.out
    assert posthouse("explain", "12345", data=server.data).code == 1
    assert posthouse("explain", "x", data=server.data).code == 2
    server.stop()
    assert posthouse("explain", ident, data=folder).out == shown.out  # without a server, from the store


def test_refuses_to_start(run, plugins, tmp_path):
    loose = tmp_path / "loose.so"
    shutil.copy(plugins["subject"], loose)
    loose.chmod(0o777)
    for options, words in ((["--plugin", plugins["abi"]], "version 99"), (["--plugin", plugins["empty"]], "ph_stage_export"),
                           (["--plugin", plugins["taken"]], "there is a section smtp already"),
                           (["--plugin", "/nonexistent.so"], "/nonexistent.so"), (["--plugin", str(loose)], "chmod"),
                           (["--plugin", plugins["subject"], "--set", "subject.word=two words"], "must be one word"),
                           (["--plugin", plugins["every"], "--set", "every.refuse=I don't want to"], "I don't want to"),
                           (["--plugin", plugins["every"], "--plugin", plugins["every"]], "every already"),
                           (["--plugin", plugins["subject"], "--set", "subject.wort=x"], "did you mean 'word'")):
        done = subprocess.run([BINARY, "dev", "--port-base", "0", "--json", *options], capture_output=True, text=True, timeout=WAIT)
        assert done.returncode != 0 and words in done.stderr, (options, done.stderr)
    shown = posthouse("dev", "--plugin", plugins["subject"], "--show-config")
    assert "subject {" in shown.out and "deadline = 30s" in shown.out


# ---- every point, every action

@pytest.mark.parametrize("how", ("at_once", "later"))
def test_points(run, how):
    for point in ("connect", "helo", "mail", "rcpt", "message"):
        for verdict, reply, expected in (("defer", "450 4.7.9 Later", 450), ("reject", "557 5.7.9 No", 557)):
            server = run("every", settings=("every.point=" + point, "every.verdict=" + verdict, "every.reply=" + reply,
                                            "every.how=" + how, "limits.mode=off"))
            if point == "connect":
                with socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=WAIT) as raw:
                    greeting = raw.makefile("rb").read().decode()
                assert greeting.startswith("421 4.7.9 Later" if verdict == "defer" else "554 5.7.9 No")
                tree = explain(server, re.findall(r"refused sid=(\d+)", server.log())[-1])
                assert tree["outcome"].startswith("refused: ") and tree["verdict"] == verdict and tree["stages"][-1]["verdict"] == verdict
            elif point == "helo":
                with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=WAIT) as client:
                    assert client.ehlo("x")[0] == expected
                    assert client.docmd("MAIL", "FROM:<a@b.example>")[0] == 503
            else:
                assert send(server)[0] == expected
                assert texts(server) == []
            assert server.alive()
            server.stop()


def test_421_for_a_message_ends_the_session(run):
    """RFC 5321 3.8: who says 421 closes."""
    server = run("every", settings=("every.point=message", "every.verdict=defer", "every.reply=421 4.7.9 Later", "limits.mode=off"))
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=WAIT) as client:
        client.ehlo("client.example")
        client.mail("a@example.org")
        client.rcpt(XANDROS)
        assert client.docmd("DATA")[0] == 354
        client.send("Subject: x\r\n\r\nHello\r\n.\r\n")
        assert client.getreply() == (421, b"4.7.9 Later")
        assert client.file.read() == b""
        client.close()


def test_one_recipient_of_two(run):
    server = run("every", settings=("every.point=rcpt", "every.verdict=reject", "every.needle=vivita"))
    assert send(server, to=(VIVITA, XANDROS))[0] == 250
    assert len(texts(server)) == 1 and texts(server, VIVITA) == []
    server = run("every", settings=("every.point=rcpt", "every.verdict=discard", "every.needle=vivita"))
    assert send(server, to=(VIVITA, XANDROS))[0] == 250
    assert len(texts(server)) == 1 and texts(server, VIVITA) == []
    assert send(server, to=(VIVITA,))[0] == 250
    assert texts(server, VIVITA) == []


def test_decided_early_holds(run):
    server = run("every", settings=("every.point=mail", "every.verdict=junk"))
    assert send(server)[0] == 250
    assert texts(server) == [] and len(texts(server, folder="Junk")) == 1


def test_login(run):
    server = run("every", settings=("every.point=auth", "every.verdict=reject", "every.reply=535 5.7.8 Not you", "every.how=later"))
    client = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=WAIT)
    client.starttls()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client.login(XANDROS, server.passwords[XANDROS])
    assert refused.value.smtp_code == 535 and b"Not you" in refused.value.smtp_error
    assert client.docmd("MAIL", "FROM:<%s>" % XANDROS)[0] == 530
    client.close()


def test_head_recipients_sender(run):
    acts = "insert=X-Top|1;add=X-End|2;change=Subject|new;delete=X-Secret;tag=a;tag=b;norcpt=vivita@example.com;rcpt=karl@example.com;sender=b@example.org"
    server = run("every", settings=("every.act=" + acts, "every.how=later"))
    assert send(server, "Subject: old\r\nX-Secret: 1\r\nX-Secret: 2\r\nX-Posthouse-Tags: forged\r\n\r\nBody\r\n",
                to=(XANDROS, VIVITA))[0] == 250
    for user in (XANDROS, KARL):
        text, = texts(server, user)
        assert "Return-Path: <b@example.org>\r\n" in text
        assert text.endswith("X-Posthouse-Tags: a, b\r\nX-Top: 1\r\nSubject: new\r\nX-End: 2\r\n\r\nBody\r\n")
    assert texts(server, VIVITA) == []
    with server.imap(XANDROS) as client:
        client.select("INBOX", readonly=True)
        assert b'"new"' in client.fetch("1", "(ENVELOPE)")[1][0]


@pytest.mark.parametrize("size", (100, 40_000, 3_000_000))
def test_body(run, size):
    """Read by the stage as received, replaced by another one, whatever the size of either."""
    for new in (100, 3_000_000):
        server = run("every", settings=("every.act=read=;change=Content-Type|text/html;body=%d" % new, "every.how=later"))
        text = "Subject: x\r\nContent-Type: text/plain\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72)
        code, words = send(server, text)
        assert code == 250, words
        ident = re.search(r"Kept as (\d+)", words).group(1)
        facts = [s for s in explain(server, ident)["stages"] if s["stage"] == "every" and s["point"] == "message"][0]["facts"]
        assert facts["every.read"] == "%d %d" % (len(text), sum(text.encode()))
        head, body = texts(server)[0].split("\r\n\r\n", 1)
        assert len(body) == new and set(body) == {"x", "\r", "\n"}
        with server.imap(XANDROS) as client:
            client.select("INBOX", readonly=True)
            structure = client.fetch("1", "(BODYSTRUCTURE RFC822.SIZE)")[1][0]
        assert b'"html"' in structure.lower() and b" %d " % new in structure


def test_kv_outlives_a_restart(run, folder):
    for expected in ("1", "2", "3"):
        server = run("every", settings=("every.act=count=mails",), data=folder)
        ident = re.search(r"Kept as (\d+)", send(server)[1]).group(1)
        facts = [s.get("facts") for s in explain(server, ident)["stages"] if s["stage"] == "every"][-1]
        assert facts == {"every.count": expected}
        server.stop()


# ---- misbehaviour

def test_waits_for_ever(run):
    for on_error, code in (("defer", 451), ("pass", 250), ("reject", 550), ("junk", 250)):
        server = run("every", settings=("every.how=never", "every.deadline=50ms", "every.on_error=" + on_error), trouble=True)
        assert send(server)[0] == code
        assert "did not answer before its deadline" in server.log()
        assert len(texts(server, folder="Junk")) == (on_error == "junk")


def test_answers_twice_or_late(run):
    for how in ("twice", "late"):
        server = run("every", settings=("every.how=" + how, "every.deadline=50ms", "every.on_error=pass"), trouble=True)
        assert send(server)[0] == 250
        assert send(server)[0] == 250
        wait_for(lambda: "answer_ignored" in server.log(), "a line about the answer")
        assert len(texts(server)) == 2 and server.alive()


def test_client_goes(run):
    server = run("every", settings=("every.how=never",))
    raw = socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=WAIT)
    raw.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<xandros@example.com>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n")
    wait_for(lambda: "is asked, and silent" in server.log(), "the stage to be asked")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset: an end of input would wait
    raw.close()
    wait_for(lambda: "cancelled" in server.log(), "the stage's word")
    assert texts(server) == []


def test_stuck_threads(run):
    """Two are replaced, the third turns the stage off; others' mail goes on all the time."""
    server = run("stuck", settings=("stuck.deadline=1500ms", "stuck.on_error=pass"), trouble=True)
    for n in range(3):
        assert send(server, sender="stuck@example.org")[0] == 250
        assert send(server, sender="slow10@example.org")[0] == 250
    assert len(re.findall("stage_lost_thread", server.log())) == 3
    assert "it is off until a restart" in server.log()
    assert len(texts(server, folder="Junk")) == 2  # those that it judged before it was off
    assert len(texts(server)) == 4
    server.stop()


def test_slow_thread_comes_back(run):
    server = run("stuck", settings=("stuck.deadline=1s", "stuck.on_error=pass"), trouble=True)
    assert send(server, sender="slow2500@example.org")[0] == 250
    wait_for(lambda: "came back after its deadline" in server.log(), "the late work")
    assert send(server, sender="slow10@example.org")[0] == 250
    assert len(texts(server, folder="Junk")) == 1


def test_blocked_loop_ends_the_server(run):
    server = run("every", settings=("every.how=block", "filters.watchdog=1s"), trouble=True)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(server)
    assert server.process.wait(WAIT) == -6
    server.process.stdout.close()
    server.remove()
    assert re.search(r"stage_blocks_loop stage=every", server.log())


# ---- quarantine and held mail

def queue(server, *words, data=None):
    done = posthouse("queue", *words, *([] if words[0] in ("release", "remove") else ["--json"]), data=data or server.data)
    assert done.code == 0, done.err + done.out
    return done.json if words[0] in ("list", "show", "totals") else None


def no_problems(server):
    assert posthouse("mailbox", "check", data=server.data).code == 0


def test_explain_says_what_was_done(run):
    act = "insert=X-Top|1;norcpt=%s;rcpt=%s;sender=new@example.com;tag=seen;body=72" % (XANDROS, VIVITA)
    server = run("every", settings=("every.act=" + act,), trouble=True)
    assert send(server)[0] == 250
    told, = [s["did"] for s in explain(server, last_id(server))["stages"] if s["point"] == "message" and s["stage"] == "every"]
    assert told[0] == "adds the field X-Top: 1" and "removes the recipient " + XANDROS in told and "adds the recipient " + VIVITA in told
    assert "changes the sender to <new@example.com>" in told and "tags it seen" in told and "replaces the body by " in told[-1]
    text = posthouse("explain", last_id(server), data=server.data).out
    assert "           removes the recipient %s\n" % XANDROS in text


def test_discarded_because_nobody_is_left(run):
    server = run("every", settings=("every.act=norcpt=" + XANDROS,), trouble=True)
    assert send(server)[0] == 250
    assert explain(server, last_id(server))["outcome"] == "discarded: all recipients were removed by every"
    line, = [line for line in server.log().splitlines() if " event=discarded " in line]
    assert "by=every" in line and "all recipients were removed" in line


@pytest.mark.parametrize("size", (100, 200_000))
def test_quarantine(run, size):
    server = run("subject", settings=("subject.word=gold", "subject.then=quarantine"))
    text = "Subject: gold\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72 + 1)
    idents = []
    for _ in range(3):
        code, words = send(server, text, to=(XANDROS, VIVITA))
        assert code == 250, words
        idents.append(re.search(r"Kept as (\d+)", words).group(1))
    assert send(server)[0] == 250  # another one passes
    assert len(texts(server)) == 1
    listed = queue(server, "list")
    assert [e["id"] for e in listed] == idents
    assert listed[0]["state"] == "quarantine" and listed[0]["stage"] == "subject" and listed[0]["reason"] == "its Subject holds gold"
    shown = queue(server, "show", idents[0])
    assert shown["recipients"] == [XANDROS, VIVITA] and "X-Subject-Stage: gold" in shown["head"]
    told = explain(server, idents[0])
    assert told["outcome"] == "in quarantine" and told["kept"] == "in quarantine: its Subject holds gold"
    no_problems(server)
    queue(server, "release", idents[0])
    queue(server, "release", idents[1], "--junk")
    queue(server, "remove", idents[2])
    assert queue(server, "list") == []
    assert posthouse("queue", "release", idents[0], data=server.data).code == 1
    for user, had in ((XANDROS, 1), (VIVITA, 0)):
        inbox, junk = texts(server, user), texts(server, user, "Junk")
        assert len(inbox) == had + 1 and len(junk) == 1
        assert inbox[-1].endswith(text.split("\r\n\r\n", 1)[1]) and "id " + idents[0] in inbox[-1]
        assert inbox[-1].startswith("Return-Path: <a@example.org>\r\nDelivered-To: " + user)
    no_problems(server)


def test_quarantine_is_bounded(run):
    """Held mail has room of its own; that there is none for more is said once, with the setting."""
    server = run("every", "subject", settings=(
        "subject.word=gold", "subject.then=quarantine", "filters.quarantine_count=2", "filters.hold_count=1", "every.how=never",
        "every.deadline=50ms", "every.on_error=pass"), trouble=True)
    assert [send(server, "Subject: gold\r\n\r\nx\r\n")[0] for _ in range(4)] == [250, 250, 451, 451]
    assert send(server)[0] == 250
    full = [line for line in server.log().splitlines() if "quarantine_full" in line]
    assert len(full) == 1 and " level=warn " in full[0] and "filters.quarantine_count" in full[0] and "hold_full" not in server.log()
    totals = queue(server, "totals")
    assert totals["quarantine"]["messages"] == 2 and totals["held"] == {"messages": 0, "octets": 0}


@pytest.mark.parametrize("verdict,folder_name,act", (("pass", "INBOX", "tag=late;insert=X-Late|1"), ("junk", "Junk", ""), ("discard", None, ""),
                                                   ("reject", "quarantine", "")))
def test_held(run, folder, verdict, folder_name, act):
    """A stage can't judge it: acknowledged and kept; when it can again, its verdict decides."""
    held = ("every.deadline=50ms", "every.on_error=hold", "filters.hold_retry=50ms")
    server = run("every", "subject", settings=held + ("every.how=never", "subject.word=gold"), trouble=True, data=folder)
    code, words = send(server, "Subject: gold\r\n\r\nx\r\n")
    assert code == 250
    ident = re.search(r"Kept as (\d+)", words).group(1)
    assert texts(server) == [] and queue(server, "list")[0]["state"] == "held"
    wait_for(lambda: server.log().count("stage_failed") >= 3, "it is asked again")
    assert queue(server, "list")[0]["stage"] == "every"
    server.stop()
    server = run("every", "subject", settings=held + ("every.verdict=" + verdict, "every.act=" + act), trouble=True, data=folder)
    if folder_name == "quarantine":
        wait_for(lambda: queue(server, "list")[0]["state"] == "quarantine", "quarantine")
    else:
        wait_for(lambda: queue(server, "list") == [], "it leaves the queue")
    if folder_name in ("INBOX", "Junk"):
        text, = texts(server, folder=folder_name)
        assert "X-Subject-Stage: gold\r\n" in text and text.count("Received: ") == 1
        if act:
            assert text.index("Received:") < text.index("X-Late: 1") and "X-Posthouse-Tags: late\r\n" in text
            with server.imap(XANDROS) as client:
                client.select("INBOX", readonly=True)
                assert int(re.search(rb"RFC822.SIZE (\d+)", client.fetch("1", "(RFC822.SIZE)")[1][0])[1]) == len(text)
                assert b"gold" in client.fetch("1", "(ENVELOPE)")[1][0]

    def judged():
        return [(s["stage"], s["verdict"]) for s in explain(server, ident)["stages"] if s["point"] == "message"]
    wait_for(lambda: [j for j in judged() if j[0] == "every"][-1][1] == verdict, "the last verdict is kept too")
    stages = judged()
    assert ("subject", "pass") in stages and ("every", "defer") in stages
    assert stages.count(("subject", "pass")) == 1  # it had been judged by that one
    no_problems(server)


def test_held_mail_waits_for_room_in_quarantine(run, folder):
    """It was acknowledged: where mail that comes in is put off, it waits on."""
    held = ("every.deadline=50ms", "every.on_error=hold", "filters.hold_retry=50ms", "filters.quarantine_count=1")
    server = run("every", settings=held + ("every.how=never",), trouble=True, data=folder)
    idents = [re.search(r"Kept as (\d+)", send(server)[1]).group(1) for _ in range(2)]
    server.stop()
    server = run("every", settings=held + ("every.verdict=reject",), trouble=True, data=folder)
    wait_for(lambda: "quarantine_full" in server.log(), "no room for both")
    listed = {e["id"]: e["state"] for e in queue(server, "list")}
    assert set(listed) == set(idents) and sorted(listed.values()) == ["held", "quarantine"]
    first, = [ident for ident in listed if listed[ident] == "quarantine"]
    queue(server, "remove", first)
    wait_for(lambda: [e["state"] for e in queue(server, "list")] == ["quarantine"], "there is room now")
    assert server.log().count("quarantine_full") == 1
    assert texts(server) == []
    no_problems(server)


def test_held_too_long(run):
    server = run("every", settings=("every.deadline=20ms", "every.on_error=hold", "filters.hold_retry=50ms", "filters.hold_time=1s",
                                    "every.how=never"), trouble=True)
    assert send(server)[0] == 250
    wait_for(lambda: queue(server, "list")[0]["state"] == "quarantine", "quarantine after hold_time")
    assert "filters.hold_time" in queue(server, "list")[0]["reason"]
    assert texts(server) == []


# ---- in serve

def test_configured_and_reloaded(plugins):
    """Named in the file; a reload changes its settings for new sessions, and is refused as a whole when the stage refuses."""
    from test_serve import Appliance
    a = Appliance()
    a.trouble_expected = True

    def more(word, limit="7M"):
        return 'filters { plugins = {"%s"} }\nsubject { word = "%s" then = reject }\nsmtp { message_limit = %s }\n' % (
            plugins["subject"], word, limit)

    def subject_of(client, word):
        return smtp_code(client, "Subject: %s\r\n\r\nx\r\n" % word)

    def smtp_code(client, text):
        client.mail("a@example.org")
        client.rcpt("ann@example.com")
        return client.data(text)[0]

    os.chmod(pathlib.Path(plugins["subject"]).parent, 0o755)
    a.start(more("gold"))
    try:
        a.seed()
        old = a.smtp()
        assert (subject_of(old, "gold"), subject_of(old, "silver")) == (554, 250)
        a.write(more("silver"))
        a.hup()
        new = a.smtp()
        assert (subject_of(new, "gold"), subject_of(new, "silver")) == (250, 554)
        assert (subject_of(old, "gold"), subject_of(old, "silver")) == (554, 250)  # it keeps what it began with
        a.write(more("two words", "8M"))
        a.hup("reload_failed")
        assert "must be one word" in a.log()
        a.write(more("bronze").replace('"}', '", "%s"}' % plugins["every"], 1) + "every { delay = 5ms }\n")
        a.hup("reload_failed")
        assert "%s is new: that needs a restart" % plugins["every"] in a.log()
        late = a.smtp()
        assert subject_of(late, "silver") == 554 and late.esmtp_features["size"] == str(7 << 20)
        shown = a.command("queue", "list", "--json")
        assert shown.code == 0 and shown.json == []
        for client in (old, new, late):
            client.close()
    finally:
        a.process.terminate()
        a.wait_end()
        shutil.rmtree(a.folder)
