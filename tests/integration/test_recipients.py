# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Clients that name many recipients: what stages find in the message counts however many there were, and nobody goes on for ever."""
import re

import pytest
from outgoing import ELSEWHERE, a_post, world  # noqa: F401 (fixture)

FORGED = ("DKIM-Signature: v=1; a=rsa-sha256; d=bank.test; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=aaaa\r\n"
          "From: a@bank.test\r\nSubject: x\r\n\r\nHello\r\n")
STAGES = """
smtp { %s }
spf { skip = {}
    fail = pass }
dmarc { skip = {} }
dkim { on_error = pass }
greylist {
    clients = %s
    delay = 1h
    skip = {}
}
"""


def zones(world):
    world.zone("bank.test", '_dmarc TXT "v=DMARC1; p=reject"\n')


def begin(client):
    assert client.mail("x@evil.test")[0] == 250


def many(client, n, to="ann@example.com"):
    """All of them at once, as no reply may be waited for. Their codes."""
    client.send("RCPT TO:<%s>\r\n" % to * n)
    codes = []
    for _ in range(n):
        codes.append(client.getreply()[0])
        if codes[-1] == 421:
            break
    return codes


def test_forged_behind_many(world):
    """More verdicts about recipients than are kept."""
    with a_post(world, more=STAGES % ("rcpt_limit = 1000", "nobody")) as post:
        with post.client(port=25, user=None, source=ELSEWHERE) as client:
            begin(client)
            assert set(many(client, 1000)) == {250}
            code, words = client.data(FORGED)
        assert code == 550 and b"DMARC" in words, words
        assert post.inbox() == []
        mid = re.findall(r"mid=(\d+)", post.log())[-1]
        shown = post.command("explain", mid, "--json").json
        assert {"dkim", "dmarc"} <= {s["stage"] for s in shown["stages"]} and shown["left_out"] > 100
        assert "more of commands that were repeated" in post.command("explain", mid).out


def test_put_off(world):
    """As many as a message may have; further ones are errors."""
    with a_post(world, more=STAGES % ("error_delay = 0\n    hard_errors = 5", "all")) as post:
        with post.client(port=25, user=None, source=ELSEWHERE) as client:
            begin(client)
            codes = many(client, 200, to="bob@example.com")
            assert codes == [450] * 105 + [421], codes


def test_pipelined_over_the_limit(world):
    """RFC 5321 4.5.3.1.10: who sends them all at once may, and the first ones get it."""
    with a_post(world, more=STAGES % ("error_delay = 0", "nobody")) as post:
        with post.client(port=25, user=None, source=ELSEWHERE) as client:
            begin(client)
            assert many(client, 600) == [250] * 100 + [452] * 500
            assert client.data("Subject: x\r\nFrom: a@evil.test\r\n\r\nHello\r\n")[0] == 250
        assert len(post.inbox()) == 1
