# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The stage clamav: what is found in which wrapping, what becomes of it, and that nothing passes unscanned while signatures
are loaded, broken, missing, or too large for the memory. All signatures are the tests' own."""
import base64
import gzip
import http.server
import io
import pathlib
import random
import re
import shutil
import smtplib
import subprocess
import tempfile
import threading
import zipfile

import pytest
from conftest import BINARY, FAST, WAIT, Server, posthouse, wait_for

with open(BINARY, "rb") as program:
    pytestmark = pytest.mark.skipif(b"libclamav.so" not in program.read(), reason="built without libclamav")

XANDROS = "xandros@example.com"
# In two pieces, so that no scanner takes this file for one.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Test.Eicar:0:*:%s\n" % EICAR.hex()
QUICK = ("clamav.check=100ms", "filters.hold_retry=200ms", "clamav.wait=100s", "clamav.scan_time=100s", "clamav.deadline=110s")


def put(folder, text, name="own"):
    """Signatures, replaced in one step, as freshclam does: they are looked at all the time."""
    (folder / "new.tmp").write_text(text)
    (folder / "new.tmp").rename(folder / (name + ".ndb"))


def database(folder, more=""):
    folder.mkdir(exist_ok=True)
    put(folder, SIGNATURE + more)
    return folder


def synthetic(folder, count, seed):
    """Signatures of files that don't exist, and the one that does; replaced in one step, as freshclam does."""
    draw = random.Random(seed)
    text = "".join("%032x:%d:Test.Number-%d\n" % (draw.getrandbits(128), draw.randrange(1000, 99999), i) for i in range(count))
    new = folder / "many.tmp"
    new.write_text(text)
    new.rename(folder / "many.hdb")


@pytest.fixture(params=("thread", "process"))
def isolation(request):
    return request.param


@pytest.fixture
def run(tmp_path, isolation):
    servers = []

    def start(*settings, folder=None, trouble=False, settle=True):
        where = folder or database(tmp_path / "signatures")
        server = Server(settings=FAST + QUICK + ("clamav.database=%s" % where, "clamav.isolation=" + isolation) + settings)
        server.trouble_expected = trouble
        servers.append(server)
        if settle:
            wait_for(lambda: "signatures of" in server.log(), "signatures are loaded")
        return server
    yield start
    for server in servers:
        if server.trouble_expected and not server.log_file.closed:
            assert not re.search("Sanitizer|runtime error:|CHECK failed", server.log())
        server.stop()


def send(server, message, sender="a@example.org"):
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=120) as client:
        client.ehlo("client.example")
        assert client.mail(sender)[0] == 250 and client.rcpt(XANDROS)[0] == 250
        code, words = client.data(message)
        return code, words.decode()


def plain(body, head=b"Subject: x\r\n"):
    return b"From: a@example.org\r\n" + head + b"\r\n" + body + b"\r\n"


def attached(data, name="a.bin", kind="application/octet-stream"):
    coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    return (b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n"
            b"--cut\r\nContent-Type: text/plain\r\n\r\nSee this.\r\n--cut\r\nContent-Type: " + kind.encode() +
            b"; name=\"" + name.encode() + b"\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded + b"--cut--\r\n")


def nested(inner):
    return (b"From: b@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n"
            b"--outer\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--outer--\r\n")


def zipped(data, encrypted=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file.com", data)
    raw = bytearray(out.getvalue())
    if encrypted:  # says so; nobody gets as far as decrypting it
        for sign, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            raw[raw.index(sign) + offset] |= 1
    return bytes(raw)


def folder_of(server, name="INBOX"):
    return [m.decode("utf-8", "replace") for m in server.messages(XANDROS, name)]


def last_tree(server):
    ident = re.findall(r"mid=(\d+)", server.log())[-1]
    shown = posthouse("explain", ident, "--json", data=server.data)
    assert shown.code == 0, shown.err
    return shown.json


def verdict_of(server):
    tree = last_tree(server)
    return [s for s in tree["stages"] if s["stage"] == "clamav"][-1]


# ---- what is found

WRAPPED = {
    "plain": plain(EICAR),
    "odd head": b"X-Odd: 1\r\n" + plain(EICAR),
    "attachment": attached(EICAR),
    "attachment behind an odd head": b"X-Odd: 1\r\n" + attached(EICAR),
    "nested": nested(attached(EICAR)),
    "nested twice": nested(nested(attached(EICAR))),
    "zip": attached(zipped(EICAR), "a.zip", "application/zip"),
    "zip in zip": attached(zipped(zipped(EICAR)), "a.zip", "application/zip"),
    "gzip": attached(gzip.compress(EICAR), "a.gz"),
    "zip, nested": nested(attached(zipped(EICAR), "a.zip", "application/zip")),
    "behind much else": attached(random.Random(1).randbytes(2_000_000) + EICAR),
    "zip behind much else": plain(b"x" * 70 + b"\r\n" + b"\r\n".join([b"y" * 70] * 20000)) + b"\r\n" + EICAR,
}


def test_found_in_every_wrapping(run):
    server = run()
    for what, message in WRAPPED.items():
        code, words = send(server, message)
        assert code == 554 and "Test.Eicar" in words, (what, words)
        stage = verdict_of(server)
        assert stage["verdict"] == "reject" and stage["reason"].startswith("found Test.Eicar"), what
        assert stage["facts"]["clamav.result"] == "infected"
        assert stage["facts"]["clamav.name"].startswith("Test.Eicar")
    assert folder_of(server) == []
    for clean in (plain(b"Hello"), attached(b"nothing" * 1000), nested(attached(zipped(b"nothing"))), b"\r\nno head\r\n",
                  attached(random.Random(2).randbytes(3_000_000)), b"From: x@example.org\r\n\r\n"):
        assert send(server, clean)[0] == 250
        assert verdict_of(server)["facts"] == {"clamav.result": "clean"}
    assert len(folder_of(server)) == 6
    wait_for(lambda: not list((pathlib.Path(server.data) / "clamav-tmp").iterdir()), "nothing left over")


def test_outgoing_too(run):
    server = run()
    client = server.smtp("submission", user="xandros")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(XANDROS, [XANDROS], attached(EICAR).replace(b"a@example.org", XANDROS.encode()))
    assert refused.value.smtp_code == 554 and b"Test.Eicar" in refused.value.smtp_error
    client.close()


def test_actions(run):
    for action, place in (("tag", "INBOX"), ("junk", "Junk"), ("quarantine", None)):
        server = run("clamav.action=" + action)
        assert send(server, attached(EICAR))[0] == 250
        assert verdict_of(server)["verdict"] == {"tag": "pass"}.get(action, action)
        if place:
            text, = folder_of(server, place)
            assert ("X-Posthouse-Tags: virus\r\n" in text) == (action == "tag")
        assert folder_of(server, "Junk" if place == "INBOX" else "INBOX") == []
        server.stop()


def test_shadow(run):
    server = run("clamav.mode=shadow")
    assert send(server, attached(EICAR))[0] == 250
    assert verdict_of(server)["verdict"] == "reject" and len(folder_of(server)) == 1


def test_encrypted(run):
    message = attached(zipped(b"secret", encrypted=True), "a.zip", "application/zip")
    server = run()
    assert send(server, message)[0] == 250 and verdict_of(server)["facts"]["clamav.result"] == "clean"
    server.stop()
    for wish, code in (("tag", 250), ("junk", 250), ("reject", 554)):
        server = run("clamav.encrypted=" + wish)
        got, words = send(server, message)
        assert got == code and ("ncrypted" in words) == (code == 554)
        stage = verdict_of(server)
        assert stage["facts"]["clamav.result"] == "encrypted" and "Encrypted" in stage["facts"]["clamav.name"]
        if wish == "tag":
            assert "X-Posthouse-Tags: encrypted\r\n" in folder_of(server)[0]
        code, words = send(server, attached(EICAR))
        assert code == 554 and "Test.Eicar" in words
        server.stop()


def test_over_a_limit(run):
    bomb = zipped(b"\0" * 30_000_000)
    deep = EICAR
    for _ in range(8):
        deep = zipped(deep)
    for setting, message in (("clamav.scan_size=1M", attached(bomb, "a.zip")), ("clamav.file_size=1M", attached(bomb, "a.zip")),
                             ("clamav.file_size=100K", plain(b"x" * 70 + b"\r\n") + b"y\r\n" * 100_000),
                             ("clamav.recursion=4", attached(deep, "a.zip"))):
        for wish, code in (("tag", 250), ("reject", 554)):
            server = run(setting, "clamav.oversized=" + wish)
            got, words = send(server, message)
            assert got == code, (setting, words)
            assert verdict_of(server)["facts"]["clamav.result"] == "oversized", setting
            if wish == "tag":
                assert "X-Posthouse-Tags: unscanned\r\n" in folder_of(server)[0]
            server.stop()


# ---- without a scanner

def test_no_signatures(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, why in ((empty, "there are no signatures in"), (tmp_path / "nothing", "can't be read")):
        for wish, code in (("defer", 451), ("pass", 250)):
            server = run("clamav.unavailable=" + wish, folder=folder, trouble=True, settle=False)
            wait_for(lambda: why in server.log(), why)
            assert send(server, attached(EICAR))[0] == code
            stage = verdict_of(server)
            assert why in stage["reason"]
            assert len(folder_of(server)) == (wish == "pass")
            server.stop()


def held(server):
    shown = server.command_line("queue", "list", "--held", "--json")
    return shown.json if shown.code == 0 else shown.err


def test_held_until_there_are_signatures(run, tmp_path):
    folder = tmp_path / "late"
    folder.mkdir()
    server = run("clamav.unavailable=hold", "filters.hold_retry=1h", folder=folder, trouble=True, settle=False)
    wait_for(lambda: "there are no signatures" in server.log(), "it says so")
    assert send(server, plain(b"clean one"))[0] == 250
    assert send(server, attached(EICAR))[0] == 250
    assert send(server, plain(b"clean two"))[0] == 250
    assert folder_of(server) == []
    database(folder)
    wait_for(lambda: len(folder_of(server)) == 2, "what was held is delivered at once")
    # It was acknowledged: a bounce would go to whom the forger named.
    wait_for(lambda: server.log().count("held_judged") == 3, "all three are judged")
    assert "in quarantine" in server.log()
    assert all("clean" in text for text in folder_of(server))


def test_broken_signatures(run, tmp_path):
    folder = database(tmp_path / "signatures")
    server = run(folder=folder, trouble=True)
    assert send(server, attached(EICAR))[0] == 554
    put(folder, "this:is:no\n")
    wait_for(lambda: "can't be loaded" in server.log(), "it says so")
    assert send(server, plain(b"x"))[0] == 451
    assert folder_of(server) == []
    database(folder)
    wait_for(lambda: server.log().count("signatures of") >= 2, "they are loaded")
    assert send(server, plain(b"x"))[0] == 250 and send(server, attached(EICAR))[0] == 554


def test_broken_signatures_beside_good_ones(run, tmp_path):
    folder = database(tmp_path / "signatures")
    server = run("clamav.concurrent_reload=yes", folder=folder, trouble=True)
    put(folder, "this:is:no\n")
    wait_for(lambda: "the older signatures stay in use" in server.log(), "it says so")
    assert send(server, plain(b"x"))[0] == 250 and send(server, attached(EICAR))[0] == 554


def test_too_large_for_the_memory(run, tmp_path):
    folder = database(tmp_path / "signatures")
    synthetic(folder, 50_000, 1)  # 2.7 MB, times 2.7
    server = run("clamav.max_memory=10M", folder=folder, trouble=True, settle=False)
    wait_for(lambda: "no mail is scanned" in server.log(), "it says so")
    assert re.search(r"the signatures need about 1[456] MB, and \d+ MB of memory and \d+ MB of swap are free.*max_memory 10 MB", server.log())
    assert send(server, plain(b"x"))[0] == 451 and folder_of(server) == []
    (folder / "many.hdb").unlink()
    wait_for(lambda: "signatures of 1 files" in server.log(), "what fits is loaded")
    assert send(server, plain(b"x"))[0] == 250 and send(server, attached(EICAR))[0] == 554
    synthetic(folder, 50_000, 2)
    wait_for(lambda: "the older signatures stay in use" in server.log(), "what doesn't fit isn't")
    assert send(server, plain(b"x"))[0] == 250 and send(server, attached(EICAR))[0] == 554


def test_a_reserve_nobody_has(run):
    server = run("clamav.reserve=16384G", trouble=True, settle=False)
    wait_for(lambda: "reserve 16777216 MB" in server.log(), "it says so")
    assert send(server, plain(b"x"))[0] == 451


def test_nothing_to_unpack_into(run):
    server = run(trouble=True)
    (pathlib.Path(server.data) / "clamav-tmp").rmdir()
    code, words = send(server, nested(attached(zipped(EICAR))))
    assert code in (451, 554), words
    assert folder_of(server) == []


def test_in_the_sandbox(isolation):
    """`posthouse serve` reads signatures outside its folders, unpacks into its own, and looks again at SIGHUP."""
    from test_serve import Appliance
    server = Appliance()
    signatures = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-signatures-"))
    try:
        signatures.chmod(0o755)
        database(signatures)
        server.start("clamav {\n    database = %s\n    isolation = %s\n    check = 1h\n}\n" % (signatures, isolation))
        server.seed()
        wait_for(lambda: "signatures of" in server.log(), "signatures are loaded")
        assert judged(server) == 554
        assert (server.data / "clamav-tmp").stat().st_mode & 0o777 == 0o700
        put(signatures, "Test.Other:0:*:%s\n" % b"something else".hex())
        server.hup()
        wait_for(lambda: server.log().count("signatures of") >= 2, "they are loaded at SIGHUP")
        assert judged(server) == 250
    finally:
        server.stop()
        shutil.rmtree(signatures)


# ---- newer signatures by the server itself

class Mirror(http.server.ThreadingHTTPServer):
    """Serves self.files by name; one that is None never answers."""

    def __init__(self, files):
        self.files, self.asked, self.over = files, [], threading.Event()
        super().__init__(("127.0.0.1", 0), MirrorHandler)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return "http://127.0.0.1:%d/" % self.server_address[1]

    def stop(self):
        self.over.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class MirrorHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        data = self.server.files.get(name, b"")
        if data is None:
            self.server.over.wait(120)
            return
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def updating(isolation):
    from test_serve import Appliance
    server = Appliance()
    mirrors = []

    def start(files, settings):
        mirrors.append(Mirror(files))
        server.trouble_expected = True  # until the first signatures are here
        lines = ("database = own", "check = 100ms", "isolation = " + isolation) + settings
        server.start("clamav {\n    %s\n}\n" % "\n    ".join(lines).replace("URL", mirrors[0].url))
        server.seed()
        return server, mirrors[0]
    yield start
    try:
        server.stop()
    finally:
        for mirror in mirrors:
            mirror.stop()


def judged(server):
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=120) as client:
        client.ehlo("client.example.org")
        client.mail("someone@example.org")
        client.rcpt("ann@example.com")
        return client.data(nested(attached(zipped(EICAR))))[0]


def test_fetched_by_url(updating):
    files = {"own.ndb": SIGNATURE.encode()}
    server, mirror = updating(files, ("update = 1s", "update_databases = {}", "update_urls = {\"URLown.ndb\"}"))
    wait_for(lambda: "signatures of" in server.log(), "they are loaded", 60)
    assert judged(server) == 554
    files["own.ndb"] = b"Test.Other:0:*:%s\n" % b"something else".hex().encode()
    # Such a file may be fetched, and loaded, more often than it changes.
    wait_for(lambda: judged(server) == 250, "newer ones are")
    files["own.ndb"] = b"nonsense\n"  # tried out, and not taken
    wait_for(lambda: "signatures were not fetched" in server.log(), "it says so", 60)
    assert judged(server) == 250 and b"Test.Other" in (server.data / "own" / "own.ndb").read_bytes()


def test_forged_signatures_are_not_taken(updating):
    forged = b"ClamAV-VDB:01 Jan 2026 08-32 -0400:99:1:90:%s:sig:me:1767263520" % (b"0" * 32)
    files = {"main.cvd": forged.ljust(512) + b"junk" * 1000}
    server, mirror = updating(files, ("update = 1h", "update_databases = {main}", "update_mirrors = {\"URL\"}"))
    wait_for(lambda: "signatures were not fetched" in server.log(), "it says so", 60)
    assert "main.cvd" in mirror.asked
    assert not [f for f in (server.data / "own").iterdir() if f.name.startswith("main")]
    assert judged(server) == 451


def test_stops_while_it_fetches(updating):
    server, mirror = updating({"own.ndb": None}, ("update = 1h", "update_databases = {}", "update_urls = {\"URLown.ndb\"}"))
    wait_for(lambda: mirror.asked, "it has asked", 60)  # the fixture stops it, in less than 30 s


def test_sealed_servers_fetch_nothing(tmp_path):
    for settings, words in ((("clamav.database=own", "clamav.update=1h"), "sealed"),
                            (("clamav.database=%s" % tmp_path, "clamav.update=1h"), "without '/'"),
                            (("clamav.database=bodies",), "can't be bodies")):
        done = subprocess.run([BINARY, "dev", "--port-base", "0", "--json", *[w for s in settings for w in ("--set", s)]],
                              capture_output=True, text=True, timeout=WAIT)
        assert done.returncode != 0 and words in done.stderr


# ---- newer signatures while mail comes

@pytest.mark.parametrize("concurrent", ("no", "yes"))
def test_reload_under_load(run, tmp_path, concurrent):
    folder = database(tmp_path / "signatures")
    synthetic(folder, 40_000, 0)
    server = run("clamav.concurrent_reload=" + concurrent, "clamav.wait=50ms", "filters.hold_retry=100ms", "limits.mode=off", folder=folder)
    stop, clean, refused, wrong = threading.Event(), [], [], []

    def traffic(who):
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=120) as client:
            client.ehlo("client.example")
            for i in range(100_000):
                if stop.is_set():
                    return
                name, bad = "message-%d-%d" % (who, i), i % 3 == 0
                client.mail("a@example.org")
                client.rcpt(XANDROS)
                head = b"X-Bad: yes\r\n" if bad else b"X-Good: yes\r\n"
                code, words = client.data(b"Message-ID: <%s@x>\r\n" % name.encode() + head + attached(EICAR if bad else b"fine"))
                if bad and code == 554:
                    refused.append(name)
                elif not bad and code == 250:
                    clean.append(name)
                elif code not in (250, 451):  # 250 of a bad one: held, and quarantined later
                    wrong.append((name, code, words))
                if code == 451:
                    client.rset()

    threads = [threading.Thread(target=traffic, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for seed in (1, 2, 3):
        before = server.log().count("signatures of")
        synthetic(folder, 40_000, seed)
        wait_for(lambda: server.log().count("signatures of") > before, "reload %d" % seed, 60)
    done = len(clean)
    wait_for(lambda: len(clean) > done + 3 and refused, "mail flows again, and is scanned while its client waits")
    stop.set()
    for thread in threads:
        thread.join(120)
    assert not wrong
    assert refused and clean
    names = wait_for(lambda: (lambda found: found if len(found) == len(clean) else None)(
        [m[1] for text in folder_of(server) for m in [re.search(r"Message-ID: <(\S+)@x>", text)]]),
        "%d clean messages are delivered" % len(clean), 120)
    assert sorted(names) == sorted(clean)  # each once; none of the others
    assert not any("X-Bad" in text for text in folder_of(server) + folder_of(server, "Junk"))
