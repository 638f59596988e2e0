# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""/metrics, /healthz and /readyz: figures that move with the traffic, on a port that bears foul and slow clients."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import select
import smtplib
import socket
import sys
import threading
import time

import pytest

from conftest import ROOT, WAIT, Server, ok, posthouse, wait_for

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from prometheus import Page  # noqa: E402
from test_serve import Appliance  # noqa: E402

TEXT = "Subject: figures\r\n\r\nOne line.\r\n"


class Watched(Server):
    def __init__(self, *options, **more):
        super().__init__("--metrics-port", "0", *options, **more)

    @property
    def metrics_at(self):
        return self.info["metrics"]["host"], self.info["metrics"]["port"]

    def get(self, path, timeout=WAIT):
        client = http.client.HTTPConnection(*self.metrics_at, timeout=timeout)
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read().decode()
        finally:
            client.close()

    def page(self):
        status, kind, text = self.get("/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return Page(text)

    def ready(self):
        status, kind, text = self.get("/readyz")
        assert kind == "application/json"
        return status, json.loads(text)


@pytest.fixture(scope="module")
def watched():
    s = Watched()
    yield s
    s.stop()


@pytest.fixture
def grown(watched):
    """grown(name, labels...) -> by how much it has grown since the test began, when the sessions of others had ended."""
    def alone():
        page = watched.page()
        return page("posthouse_smtp_sessions") == page("posthouse_imap_sessions") == 0 and page
    before = wait_for(alone, "sessions to end")
    return lambda name, **labels: watched.page()(name, **labels) - before(name, **labels)


def send(server, to="xandros@example.com", text=TEXT, **more):
    with server.smtp(**more) as client:
        client.sendmail("a@example.org", [to], text)


def test_page_is_well_formed_and_names_no_one(watched):
    send(watched)
    with watched.imap() as client:
        client.select()
    text = watched.get("/metrics")[2]
    page = Page(text)
    assert len(page.families) > 50
    assert page("posthouse_build_info") == 1
    for word in ("example.com", "xandros", "@"):
        assert word not in text, word
    for name in page.families:
        assert re.match("(posthouse|process)_", name), name


def test_smtp_figures(watched, grown):
    send(watched)
    send(watched, text="Subject: x\r\n\r\n" + "y" * 70 + "\r\n" * 3000)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(watched, to="nobody@example.com")
    assert grown("posthouse_smtp_messages_total", result="accepted") == 2
    assert grown("posthouse_smtp_message_recipients_total") == 2
    assert grown("posthouse_smtp_message_seconds_count") == 2
    assert 6000 < grown("posthouse_smtp_message_bytes_sum") < 8000
    assert grown("posthouse_smtp_refusals_total", command="RCPT", status="5.1.1") == 1
    assert grown("posthouse_smtp_replies_total", command="MAIL", **{"class": "2xx"}) == 3
    assert grown("posthouse_smtp_replies_total", command="DATA", **{"class": "3xx"}) == 2
    assert grown("posthouse_smtp_replies_total", command="RCPT", **{"class": "5xx"}) == 1
    assert grown("posthouse_smtp_replies_total", command="connect", **{"class": "2xx"}) == 3
    wait_for(lambda: grown("posthouse_smtp_sessions_ended_total", why="quit") == 3, "sessions to end")
    assert grown("posthouse_smtp_sessions") == 0
    assert grown("posthouse_listener_accepted_total", listener="smtp") == 3
    assert grown("posthouse_listener_received_bytes_total", listener="smtp") > 6000
    assert grown("posthouse_listener_sent_bytes_total", listener="smtp") > 500
    assert grown("posthouse_store_operations_total") >= 2
    assert grown("posthouse_store_commit_seconds_count") >= 2


def test_unknown_commands_and_broken_sessions(watched, grown):
    with watched.connect("smtp") as client:
        client.recv(1000)
        client.sendall(b"XYZZY secret\r\n")
        assert client.recv(1000).startswith(b"500")
        assert grown("posthouse_smtp_sessions") == 1
    wait_for(lambda: grown("posthouse_smtp_sessions") == 0, "the session to end")
    assert grown("posthouse_smtp_replies_total", command="unknown", **{"class": "5xx"}) == 1
    assert "secret" not in watched.get("/metrics")[2] and "XYZZY" not in watched.get("/metrics")[2]


def test_logins_and_tls(watched, grown):
    watched.smtp("submissions", user="xandros").quit()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        watched.smtp("submission", user="xandros", password="wrong")
    with watched.imap() as client:
        ok(client.noop())
    with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
        watched.imap(password="wrong")
    for protocol in ("smtp", "imap"):
        assert grown("posthouse_%s_logins_total" % protocol, result="ok") == 1
        assert grown("posthouse_%s_logins_total" % protocol, result="failed") >= 1  # smtplib tries all mechanisms
    assert grown("posthouse_tls_handshakes_total", result="TLSv1.3") == 4
    with watched.connect("imaps") as client:
        client.sendall(b"this is no TLS\r\n" * 10)
        client.recv(1000)
    wait_for(lambda: grown("posthouse_tls_handshakes_total", result="failed") == 1, "the failed handshake")
    wait_for(lambda: grown("posthouse_imap_sessions") == 0, "sessions to end")
    assert grown("posthouse_imap_sessions_ended_total", why="broken") == 1


def test_imap_figures(watched, grown):
    send(watched)
    client = watched.imap()
    ok(client.select())
    ok(client.fetch("1", "(BODY.PEEK[])"))
    with pytest.raises(Exception):
        client._simple_command("FETCH", "nonsense")
    assert client.create("INBOX")[0] == "NO"
    assert grown("posthouse_imap_commands_total", command="FETCH", result="ok") == 1
    assert grown("posthouse_imap_commands_total", command="FETCH", result="bad") == 1
    assert grown("posthouse_imap_commands_total", command="CREATE", result="no") == 1
    assert grown("posthouse_imap_command_seconds_count") >= 5
    assert grown("posthouse_imap_sessions") == 1
    assert grown("posthouse_imap_idle_sessions") == 0
    client.send(b"I1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    assert grown("posthouse_imap_idle_sessions") == 1
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"I1 OK"):
        pass
    assert grown("posthouse_imap_idle_sessions") == 0
    client.send(b"I2 IDLE\r\n")
    assert client.readline().startswith(b"+")
    client.shutdown()  # gone within IDLE
    wait_for(lambda: grown("posthouse_imap_idle_sessions") == 0, "IDLE to end")
    wait_for(lambda: grown("posthouse_imap_sessions") == 0, "the session to end")


def test_lanes_disk_and_process(watched, grown):
    send(watched)
    page = watched.page()
    for lane in ("commit", "body", "store", "directory", "auth", "misc"):
        assert page("posthouse_lane_threads", lane=lane) >= 1, lane
    assert grown("posthouse_lane_jobs_total", lane="directory") >= 1
    assert page("posthouse_lane_refused_jobs_total") == 0
    assert page("posthouse_store_read_only") == 0
    assert page("posthouse_store_disk_free_bytes") > page("posthouse_store_min_free_bytes") > 64 << 20
    assert abs(page("process_resident_memory_bytes") - watched.rss()) < 32 << 20
    threads = lambda: int(re.search(r"Threads:\s+(\d+)", watched.proc("status"))[1])
    assert wait_for(lambda: watched.page()("process_threads") == threads(), "a moment in which no thread begins")
    assert page("process_cpu_seconds_total") > 0
    assert abs(page("process_start_time_seconds") - time.time()) < 600
    limit = re.search(r"Max open files +(\d+)", watched.proc("limits"))[1]
    assert page("process_max_fds") == int(limit)
    assert page("posthouse_loop_turn_seconds_count") > 0


def test_stages_and_guard(watched, grown):
    send(watched)
    page = watched.page()
    assert page("posthouse_guard_bans") == 0 and page("posthouse_guard_refused_connections_total") == 0
    for name in ("bans_total", "refused_logins_total", "failed_logins_total", "connections", "pairs"):
        assert page("posthouse_guard_" + name) >= 0
    for stage in ("limits", "headers"):
        assert page("posthouse_stage_off", stage=stage) == 0
        assert page("posthouse_stage_verdicts_total", stage=stage) <= page("posthouse_stage_turns_total", stage=stage)
    assert grown("posthouse_stage_turns_total", stage="headers") >= 1
    assert grown("posthouse_stage_verdicts_total", stage="headers", verdict="pass") >= 1


def test_open_descriptors_are_seen(watched):
    before = watched.page()("process_open_fds")
    clients = [watched.connect("smtp") for _ in range(20)]
    try:
        wait_for(lambda: watched.page()("process_open_fds") >= before + 15, "the descriptors to be counted")
    finally:
        for client in clients:
            client.close()


def test_sizes_of_the_store(start):
    server = Watched()
    try:
        wait_for(lambda: "posthouse_store_accounts" in server.page().families, "the first count")
        page = server.page()
        sized = page("posthouse_store_sized_timestamp_seconds")
        assert page("posthouse_store_messages") == 0
        for name in ("xandros", "vivita"):
            send(server, to=name + "@example.com")
        page = server.page()  # not counted again for 30 s
        assert page("posthouse_store_sized_timestamp_seconds") == sized and page("posthouse_store_messages") == 0
        data = server.data
    finally:
        server.process.terminate()
        server.process.wait()
    again = Watched(data=data)
    try:
        wait_for(lambda: again.page().families.get("posthouse_store_messages"), "the first count")
        page = again.page()
        assert page("posthouse_store_accounts") == 2
        assert page("posthouse_store_messages") == 2 and page("posthouse_store_bodies") == 2
        assert page("posthouse_queue_messages") == 0 and page("posthouse_queue_oldest_seconds") == 0
        assert page("posthouse_store_message_bytes") > 2 * len(TEXT)
    finally:
        again.stop()
        server.stop()


# ---- health

def test_live_and_ready(watched):
    assert watched.get("/healthz")[0] == 200
    assert watched.ready() == (200, {"ready": True})
    assert watched.get("/")[0] == 404


def test_not_ready_when_the_disk_is_full(start):
    server = Watched(settings=("store.min_free=8388607G",))
    try:
        status, answer = server.ready()
        assert status == 503 and answer["ready"] is False
        assert answer["reasons"] == ["the disk is below min_free"]
        assert server.get("/healthz")[0] == 200
    finally:
        server.stop()


def test_not_ready_when_the_directory_is_broken(start):
    server = Watched()
    server.trouble_expected = True
    try:
        assert server.ready()[0] == 200
        path = pathlib.Path(server.data) / "directory.db"
        path.write_bytes(b"this is no database" * 1000)
        status, answer = server.ready()
        assert status == 503 and len(answer["reasons"]) == 1 and answer["reasons"][0].startswith("directory"), answer
    finally:
        server.stop()


def test_not_ready_while_it_drains(start):
    server = Watched()
    with server.connect("smtp") as client:
        for line in (None, b"EHLO x\r\n", b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<xandros@example.com>\r\n", b"DATA\r\n"):
            if line:
                client.sendall(line)
            client.recv(4096)
        server.process.terminate()
        wait_for(lambda: server.ready()[0] == 503, "it to say that it stops")
        assert server.ready()[1]["reasons"] == ["shutting down"]
        client.sendall(TEXT.encode() + b".\r\n")
        assert client.recv(4096).startswith(b"250")
    server.process.wait(WAIT)
    server.stop()


# ---- clients of the port

def test_garbage(watched):
    for foul in (b"\0" * 1000, b"\x16\x03\x01\x02\x00", b"EHLO x\r\n", b"GET\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 b"GET /metrics HTTP/3.14\r\n\r\n", b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx",
                 b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10000 + b"\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", os.urandom(5000)):
        with socket.create_connection(watched.metrics_at, timeout=WAIT) as client:
            try:
                client.sendall(foul)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError:
                pass  # closed over it
    assert watched.get("/healthz")[0] == 200
    wait_for(lambda: watched.page()("posthouse_listener_open_connections", listener="metrics") == 1, "the clients to be gone")


def test_only_get(watched):
    client = http.client.HTTPConnection(*watched.metrics_at, timeout=WAIT)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        client.request(method, "/metrics", body=b"x" * 1000)
        answer = client.getresponse()
        answer.read()
        assert answer.status == 405 and answer.getheader("Allow") == "GET, HEAD"
        client.close()
    client.request("HEAD", "/metrics")
    assert client.getresponse().status == 200
    client.close()


def test_slow_clients_do_not_hold_others_up(watched):
    """Nearly as many as it has room for: they are ended after 10 s of silence, and mail goes on meanwhile."""
    slow = [socket.create_connection(watched.metrics_at, timeout=WAIT) for _ in range(30)]
    for client in slow:
        client.sendall(b"GET /metrics HT")
    try:
        began = time.monotonic()
        assert watched.get("/healthz")[0] == 200
        send(watched)
        assert not select.select(slow, [], [], 0)[0], "they had to end first"
        slow[0].settimeout(WAIT + 10)
        try:
            while slow[0].recv(65536):
                pass
        except ConnectionResetError:
            pass
        assert time.monotonic() - began < WAIT
    finally:
        for client in slow:
            client.close()


def test_scrapes_under_load(watched):
    failed, stop, before = [], threading.Event(), watched.page()("posthouse_smtp_messages_total", result="accepted")

    def load():
        try:
            while not stop.is_set():
                send(watched)
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    took, last = [], 0
    try:
        deadline = time.monotonic() + 4 * WAIT
        while (len(took) < 60 or last < 20) and time.monotonic() < deadline:
            began = time.monotonic()
            page = watched.page()  # which checks every line
            took.append(time.monotonic() - began)
            now = page("posthouse_smtp_messages_total", result="accepted") - before
            assert now >= last
            last = now
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed, failed
    assert last >= 20
    took.sort()
    assert took[len(took) // 2] < 1, took  # with what the reader and four senders take of the machine


def test_a_port_that_is_taken(watched):
    answer = posthouse("dev", "--port-base", "0", "--metrics-port", str(watched.metrics_at[1]), "--json")
    assert answer.code == 1
    assert re.search(r"--metrics-port.*taken", answer.err), answer.err


def test_no_metrics_unless_asked_for(server):
    assert "metrics" not in server.info


def free_port():
    """One that nobody gets by chance: below those that the kernel gives away."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10000, max(first, 20000)), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("no free port")


def test_in_serve():
    """Under its sandbox, from the section of the configuration, across a reload."""
    port = free_port()
    a = Appliance()
    try:
        a.start(more='metrics {\n    port = %d\n}\n' % port)
        a.seed()
        served = Watched.__new__(Watched)
        served.info = {"metrics": {"host": "127.0.0.1", "port": port}}
        before = served.page()
        a.deliver()
        a.hup()
        wait_for(lambda: "posthouse_store_accounts" in served.page().families, "the first count")
        page = served.page()
        assert page("posthouse_smtp_messages_total", result="accepted") == before("posthouse_smtp_messages_total") + 1
        assert {dict(key[1:])["listener"] for key in page.families["posthouse_listener_accepted_total"].samples} >= {
            "smtp", "submission", "submissions", "imap", "imaps", "control", "metrics"}
        assert page("process_open_fds") > 20 and page("process_resident_memory_bytes") > 1 << 20
        assert served.ready() == (200, {"ready": True})
    finally:
        a.stop()


# ---- alerts

def test_alert_rules_name_figures_that_exist(watched):
    rules = (ROOT / "conf" / "alerts.yml").read_text()
    send(watched)
    wait_for(lambda: "posthouse_store_accounts" in watched.page().families, "the first count")
    families = watched.page().families
    names = set(re.findall(r"\b(?:posthouse|process)_\w+", rules))
    assert len(names) >= 12
    for name in names:
        assert name in families or re.sub("_(bucket|sum|count)$", "", name) in families, name
