# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Reports about a day to other domains: what DMARC came to (RFC 9990), with what TLS mail left (RFC 8460). The day passes while the
server is down."""
import datetime
import email
import gzip
import json
import re
import smtplib
import sqlite3
import time
import xml.etree.ElementTree

import pytest
from outgoing import ADDRESS, ELSEWHERE, WAIT, a_post, wait_for, world  # noqa: F401 (fixture)
from peer import ALL, Peer

BANK, COLLECTOR, VICTIM, PLAIN, DANE = range(60, 65)
NAMES = {"bank.test": BANK, "collector.test": COLLECTOR, "victim.test": VICTIM, "plain.test": PLAIN, "dane.test": DANE}
DAYS = 2
STAGES = ('spf {\nskip = {127.0.0.1}\nfail = pass\n}\ndmarc {\nskip = {127.0.0.1}\n}\ndkim_sign {\ndns_check = 1s\n}\n'
          'reports {\norg = "Ann & <sons>"\ncontact = "https://example.com/?a=1&b=2"\n}\n')
NS = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}
HOME_ZONE = "@ MX 10 mail\nmail A 10.25.0.1\n"


def mail_host(name):
    return "@ MX 10 mx\nmx A %s\n" % (ADDRESS % NAMES[name])


def zones(world):
    world.certificate = world.ca.certificate("mx.dane.test")
    world.zone("example.com", HOME_ZONE, signed=True, ttl=0)
    world.zone("bank.test", mail_host("bank.test") + '@ TXT "v=spf1 ip4:%s -all"\n' % ELSEWHERE
               + '_dmarc TXT "v=DMARC1; p=reject; rua=mailto:reports@bank.test!10m, mailto:dmarc%2Bbank@collector.test, '
                 'mailto:x@victim.test, https://bank.test/"\n'
               + '_dmarc.news TXT "v=DMARC1; p=none; rua=mailto:news@bank.test"\n')
    world.zone("collector.test", mail_host("collector.test") + 'bank.test._report._dmarc TXT "v=DMARC1"\n')
    world.zone("victim.test", mail_host("victim.test") + 'bank.test._report._dmarc TXT "no"\n')
    world.zone("rogue.test", '_dmarc TXT "v=DMARC1; p=none; rua=mailto:x@victim.test"\n')
    world.zone("plain.test", mail_host("plain.test") + '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@plain.test,https://plain.test/"\n')
    world.zone("dane.test", mail_host("dane.test") + '_25._tcp.mx TLSA %s\n' % world.ca.certificate("else.test").tlsa()
               + '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@dane.test"\n', signed=True)


@pytest.fixture(scope="module")
def post(world):
    with a_post(world, more=STAGES) as p:
        yield p


@pytest.fixture
def hosts(world):
    made = {name: Peer(ADDRESS % n, name="mx." + name, **({"tls": world.certificate, "offers": ALL} if n == DANE else {}))
            for name, n in NAMES.items()}
    yield made
    for p in made.values():
        p.stop()
    assert [p.violations for p in made.values()] == [[] for _ in made]


def receive(post, author, sender, subject="x", code=250):
    with post.client(port=25, user=None, source=ELSEWHERE) as client:
        try:
            client.sendmail(sender, ["ann@example.com"], "From: %s\r\nSubject: %s\r\n\r\nHello\r\n" % (author, subject))
            assert code == 250
        except smtplib.SMTPDataError as e:
            assert e.smtp_code == code, e


def in_a_day(seconds):
    """All that follows: what is counted is of one day."""
    left = 86400 - time.time() % 86400
    if left < seconds:
        time.sleep(left + 1)


def days_pass(post):
    """All that is counted is DAYS older. Returns the day it was."""
    post.end()  # writes what is counted
    db = sqlite3.connect(post.data / "store.db")
    with db:
        day = db.execute("SELECT day FROM dmarc_result UNION SELECT day FROM tls_result ORDER BY day DESC").fetchone()[0]
        for table in ("dmarc_result", "tls_result"):
            db.execute("UPDATE %s SET day = ?" % table, (day - DAYS,))
    db.close()
    post.start()
    return day - DAYS


def sign(world, post):
    """Keys for example.com, in use. Returns the DNS as dkimpy asks for it."""
    post.json("dkim", "create", "example.com", "--selector=one")
    records = {r["name"]: r["value"] for r in post.json("dkim", "show", "example.com")["records"]}
    world.zone("example.com", HOME_ZONE + "".join('%s. TXT %s\n' % (name, " ".join('"%s"' % part for part in re.findall(".{1,200}", value)))
                                                  for name, value in records.items()), signed=True, ttl=0)
    world.names.restart()
    wait_for(lambda: {k["state"] for k in post.json("dkim", "show", "example.com")["keys"]} == {"active"}, "keys in the DNS", WAIT)
    return lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode()


def attachment(mail, kind, report_type, part_type):
    """(message, file name, what is in it)"""
    message = email.message_from_bytes(mail.data)
    assert not message.defects and message["Auto-Submitted"] == "auto-generated" and mail.sender == ""
    assert message.get_content_type() == kind and message.get_param("report-type") == report_type
    text, part = message.get_payload()
    assert text.get_content_type() == "text/plain" and part.get_content_type() == part_type
    assert part.get_content_disposition() == "attachment"
    return message, part.get_filename(), gzip.decompress(part.get_payload(decode=True))


def subject(message):
    found = re.fullmatch(r"Report Domain: (\S+)\s+Submitter: (\S+)\s+Report-ID: <(\S+)>", re.sub(r"\s+", " ", message["Subject"]))
    assert found, message["Subject"]
    return found.groups()


def dmarc_report(mail, domain, day):
    """{(author, client, disposition, dkim, spf): count}, the document"""
    message, name, data = attachment(mail, "multipart/mixed", None, "application/gzip")
    about, submitter, ident = subject(message)
    begin = day * 86400
    assert (about, submitter) == (domain, "mail.example.com")
    assert name == "mail.example.com!%s!%d!%d!%s.xml.gz" % (domain, begin, begin + 86399, ident)
    tree = xml.etree.ElementTree.fromstring(data)
    assert tree.tag == "{%s}feedback" % NS["d"]

    def text(path, of=tree):
        return of.findtext("/".join("d:" + p for p in path.split("/")), namespaces=NS)
    assert text("version") == "1.0" and text("report_metadata/report_id") == ident
    assert text("report_metadata/org_name") == "Ann & <sons>"
    assert text("report_metadata/extra_contact_info") == "https://example.com/?a=1&b=2"
    assert text("report_metadata/email") == "postmaster@example.com"
    assert [text("report_metadata/date_range/" + w) for w in ("begin", "end")] == [str(begin), str(begin + 86399)]
    assert text("policy_published/domain") == domain
    rows = {}
    for r in tree.findall("d:record", NS):
        key = (text("identifiers/header_from", r), text("row/source_ip", r), *(
            text("row/policy_evaluated/" + w, r) for w in ("disposition", "dkim", "spf")), text("auth_results/spf/result", r))
        assert key not in rows
        rows[key] = int(text("row/count", r))
    return rows, text


def tls_report(mail, domain, day):
    message, name, data = attachment(mail, "multipart/report", "tlsrpt", "application/tlsrpt+gzip")
    about, submitter, ident = subject(message)
    begin = day * 86400
    assert (about, submitter) == (domain, "mail.example.com") == (message["TLS-Report-Domain"], message["TLS-Report-Submitter"])
    assert name == "mail.example.com!%s!%d!%d!%s.json.gz" % (domain, begin, begin + 86399, ident.split("@")[0])
    assert message["TLS-Required"] == "No"
    report = json.loads(data)
    assert report["report-id"] == ident and report["organization-name"] == "Ann & <sons>"
    at = datetime.datetime.fromtimestamp(begin, datetime.timezone.utc)
    assert report["date-range"] == {"start-datetime": at.strftime("%Y-%m-%dT00:00:00Z"), "end-datetime": at.strftime("%Y-%m-%dT23:59:59Z")}
    return report["policies"]


def settled(post):
    """Nothing of days that are over is left."""
    wait_for(lambda: not [r for r in post.json("report", "list") if r["over"]], "reports sent or forgotten", WAIT)


def test_a_day(world, post, hosts):
    dkim = pytest.importorskip("dkim", reason="dkimpy is not installed (python3-dkim)")
    look_up = sign(world, post)
    in_a_day(60)
    for _ in range(2):
        receive(post, "a@bank.test", "a@bank.test")
    receive(post, "a@bank.test", "a@victim.test", code=550)
    receive(post, "a@news.bank.test", "a@victim.test")
    receive(post, "a@rogue.test", "a@victim.test")
    receive(post, "a@bank.test", "a@bank.test", subject="Report Domain: example.com\r\n Submitter: bank.test Report-ID: <1>")
    post.submit("x@plain.test")
    post.submit("y@plain.test")
    hosts["plain.test"].wait(2)
    post.submit("x@dane.test")
    post.tried(1)
    assert post.command("queue", "remove", "--all").code == 0
    hosts["plain.test"].reset()
    day = days_pass(post)
    listed = {(r["of"], r["domain"]): r["count"] for r in post.json("report", "list")}
    assert listed[("dmarc", "bank.test")] == 3 and listed[("tls", "plain.test")] >= 1, listed
    assert {r["client"] for r in post.json("report", "show", "bank.test")} == {ELSEWHERE}
    assert post.command("report", "send").code == 0
    settled(post)

    bank = hosts["bank.test"].wait(2)
    collector, = hosts["collector.test"].wait(1)
    about_bank, = (m for m in bank if m.to == ["reports@bank.test"])
    about_news, = (m for m in bank if m.to == ["news@bank.test"])
    assert collector.to == ["dmarc+bank@collector.test"]
    for mail in (about_bank, collector):
        rows, text = dmarc_report(mail, "bank.test", day)
        assert rows == {("bank.test", ELSEWHERE, "pass", "fail", "pass", "pass"): 2,
                        ("bank.test", ELSEWHERE, "reject", "fail", "fail", "none"): 1}
        assert text("policy_published/p") == text("policy_published/np") == "reject"
    assert collector.header("Message-ID") == about_bank.header("Message-ID")
    rows, _ = dmarc_report(about_news, "news.bank.test", day)
    assert rows == {("news.bank.test", ELSEWHERE, "none", "fail", "fail", "none"): 1}

    plain, = hosts["plain.test"].wait(1)
    policy, = tls_report(plain, "plain.test", day)
    assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": "plain.test"}
    assert policy["summary"]["total-successful-session-count"] == 0
    assert [(f["result-type"], f["receiving-mx-hostname"]) for f in policy["failure-details"]] == [
        ("starttls-not-supported", "mx.plain.test")]
    dane, = hosts["dane.test"].wait(1)  # whose TLS isn't what it must be for other mail
    policy, = tls_report(dane, "dane.test", day)
    assert policy["policy"]["policy-type"] == "tlsa" and policy["policy"]["policy-string"][0].startswith("3 1 1 ")
    assert policy["summary"]["total-failure-session-count"] == sum(f["failed-session-count"] for f in policy["failure-details"]) > 0
    for mail in (about_bank, about_news, collector, plain, dane):
        assert dkim.verify(mail.data, dnsfunc=look_up), mail.data[:1500]
    assert hosts["victim.test"].mail == []
    post.idle()
    assert post.log().count("report_not_authorized") >= 2
    # Sent once; of the reports themselves nothing is reported.
    for p in hosts.values():
        p.reset()
    post.end()
    db = sqlite3.connect(post.data / "store.db")
    assert db.execute("SELECT COUNT(*) FROM dmarc_result").fetchone() == (0,)
    assert db.execute("SELECT * FROM tls_result WHERE domain IN ('dane.test', 'plain.test')").fetchall() == []
    db.close()
    post.start()
    assert post.command("report", "send").code == 0
    settled(post)
    assert all(p.mail == [] for p in hosts.values())


def test_not_wanted(post, hosts):
    """Turned off nothing leaves, and without a server there is nobody to send it."""
    in_a_day(30)
    receive(post, "a@bank.test", "a@bank.test")
    post.other = STAGES.replace("reports {", "reports {\ndmarc = no\ntls = no\n")
    try:
        days_pass(post)
    finally:
        post.other = STAGES
    assert post.command("report", "send").code == 0
    assert [r["domain"] for r in post.json("report", "list") if r["of"] == "dmarc"] == ["bank.test"]
    post.write()
    post.hup()
    assert post.command("report", "send").code == 0
    settled(post)
    assert len(hosts["bank.test"].wait(1)) == 1
    post.end()
    done = post.command("report", "send")
    assert done.code == 1 and "isn't running" in done.err
    post.start()


def test_refused_settings(post):
    post.write(STAGES.replace("reports {", 'reports {\nfrom = "nobody"\n'))
    try:
        done = post.run("--check")
        assert done.returncode != 0 and "reports.from" in done.stderr, done
    finally:
        post.write()
