# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Stage `rewrite`: addresses of what users and programs send, in the envelope and the header; mail from outside stays as it is."""
import email
import os
import re
import subprocess

from conftest import BINARY, FAST, WAIT, posthouse, wait_for

XANDROS, VIVITA = "xandros@example.com", "vivita@example.com"
RULES = 'rewrite.rules=xandros@example.com->x.andros@example.com, .hosts.example->hosts.example'
TEXT = ("From: =?utf-8?q?Xandros_=C3=84?= (work) <xandros@example.com>\r\nTo: Friends: vivita@example.com, root@a.hosts.example;\r\n"
        "Cc: karl\r\nSubject: %s\r\n\r\nxandros@example.com\r\n")


def test_users(start):
    server = start(settings=(*FAST, RULES))
    with server.smtp("submission", XANDROS) as client:
        client.sendmail(XANDROS, VIVITA, TEXT % "from a user")
    raw = server.newest(VIVITA).decode()
    head = email.message_from_string(raw)
    assert "From: =?utf-8?q?Xandros_=C3=84?= (work) <x.andros@example.com>\r\n" in raw
    assert "To: Friends: vivita@example.com, root@hosts.example;\r\n" in raw
    assert re.match(r"karl@\S+$", head["Cc"]) and head["Return-Path"] == "<x.andros@example.com>"
    assert raw.endswith("\r\n\r\nxandros@example.com\r\n")
    ident = re.findall(r"mid=(\d+)", server.log())[-1]
    tree = posthouse("explain", ident, "--json", data=server.data).json
    mine = [s for s in tree["stages"] if s["stage"] == "rewrite"][0]
    assert mine["reason"] == "3 addresses of the header written anew, the sender is now x.andros@example.com"


def test_outside(start):
    server = start(settings=(*FAST, RULES))
    with server.smtp("smtp") as client:
        client.sendmail("a@a.hosts.example", VIVITA, TEXT % "from outside")
    raw = server.newest(VIVITA).decode()
    assert raw.endswith(TEXT % "from outside") and "Return-Path: <a@a.hosts.example>" in raw


def test_programs(start):
    server = start(settings=FAST)
    text = "From: root (Cron Daemon)\nTo: Vivita <vivita@example.com>, root\n\nx\n"
    done = subprocess.run([BINARY, "sendmail", "-i", "vivita@example.com"], input=text, capture_output=True, text=True, timeout=WAIT,
                          env=dict(os.environ, POSTHOUSE_SOCKET=server.info["sendmail_socket"]))
    assert done.returncode == 0, done.stderr
    head = wait_for(lambda: [email.message_from_bytes(m) for m in server.messages(VIVITA)], "its mail")[0]
    assert re.fullmatch(r"root@\S+ \(Cron Daemon\)", head["From"])
    assert re.fullmatch(r"Vivita <vivita@example.com>, root@\S+", head["To"])


def test_settings_that_are_wrong():
    done = posthouse("dev", "--port-base", "0", "--set", "rewrite.rules=a->b@c")
    assert done.code and "'a->b@c' is none of" in done.err
