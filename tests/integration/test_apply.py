# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""`posthouse apply`: accounts as a file says, with a server running and without one."""
import json

import pytest
from conftest import posthouse

FILE = {
    "domains": ["example.com", {"domain": "apply.test", "quota": "20M"}],
    "users": [{"address": "one@apply.test", "name": "Number One", "password": "one-pass", "quota": "2M"},
              {"address": "two@apply.test", "hash": "{PLAIN}two-pass", "forward": ["one@apply.test", "x@elsewhere.test"], "copy": False},
              {"address": "three@apply.test", "allow": "receive", "enabled": False}],
    # The first leads to one that comes later.
    "aliases": [{"address": "first@apply.test", "destinations": ["second@apply.test", "y@elsewhere.test"]},
                {"address": "second@apply.test", "destinations": ["one@apply.test"]},
                {"address": "@apply.test", "destinations": ["one@apply.test"]}]}


def apply(data, what, *words, code=0):
    text = what if isinstance(what, str) else json.dumps(what)
    c = posthouse("apply", "-", "--json", *words, data=data, stdin=text)
    assert c.code == code, (c.out, c.err)
    assert c.json["exit"] == code and len(c.json["commands"]) == c.json["changed"]
    return c.json


def run(data, *words):
    c = posthouse(*words, "--json", data=data)
    assert c.code == 0, (words, c.out, c.err)
    return c.json


def remove(server):
    posthouse("domain", "remove", "apply.test", "--force", data=server.data)
    run(server.data, "domain", "quota", "example.com", "0")


@pytest.fixture(params=["served", "alone"])
def data(request, server, start, folder):
    if request.param == "alone":
        start(data=folder).stop()
        yield folder
    else:
        yield server.data
        remove(server)


def test_as_the_file_says(data):
    planned = apply(data, FILE, "--dry-run")
    assert "domain add apply.test" in planned["commands"]
    assert all(d["domain"] != "apply.test" for d in run(data, "domain", "list"))
    done = apply(data, FILE)
    assert sorted(done["commands"]) == sorted(planned["commands"])
    assert apply(data, FILE)["commands"] == [] and apply(data, FILE, "--dry-run")["changed"] == 0
    assert run(data, "domain", "show", "apply.test")["quota"] == 20 << 20
    one = run(data, "user", "show", "one@apply.test")
    assert (one["name"], one["quota"], one["password"]) == ("Number One", 2 << 20, "yescrypt")
    assert run(data, "user", "show", "two@apply.test")["password"] == "plain"
    assert run(data, "user", "show", "three@apply.test")["enabled"] is False
    two = run(data, "forward", "show", "two@apply.test")
    assert two["destinations"] == ["one@apply.test", "x@elsewhere.test"] and two["copy"] is False
    assert run(data, "alias", "show", "first@apply.test")["destinations"] == ["second@apply.test", "y@elsewhere.test"]


def test_what_differs(data):
    apply(data, FILE)
    other = json.loads(json.dumps(FILE))
    other["domains"][1]["quota"] = "0"
    other["users"][0].update(name="Une", quota="3M", password="another")
    other["users"][1].update(forward=["x@elsewhere.test"], copy=True)
    other["users"][2].update(enabled=True)
    other["aliases"][0]["destinations"].pop()
    expected = {"domain quota apply.test 0", "user name one@apply.test Une", "user quota one@apply.test 3M", "user enable three@apply.test",
                "alias add first@apply.test second@apply.test --replace", "forward set two@apply.test x@elsewhere.test"}
    assert set(apply(data, other)["commands"]) == expected
    assert apply(data, other)["changed"] == 0
    # Passwords of users that are there: on demand.
    commands = apply(data, other, "--passwords")["commands"]
    assert commands == ["password set one@apply.test --if-other"]
    assert apply(data, other, "--passwords")["changed"] == 0
    other["users"][1].update(hash="{PLAIN}another")
    assert apply(data, other, "--passwords")["commands"] == ["password import two@apply.test --if-other"]
    other["users"][0].update(quota=3 << 20)  # as `user list --json` says it
    assert apply(data, other, "--passwords")["changed"] == 0
    # What is left out stays; what isn't named goes on demand.
    less = {"domains": [d["domain"] for d in run(data, "domain", "list")],
            "users": [{"address": u["address"]} for u in run(data, "user", "list") if not u["address"].startswith("three")],
            "aliases": [{"address": a["address"], "destinations": a["destinations"]} for a in run(data, "alias", "list")
                        if not a["address"].startswith("first")]}
    assert apply(data, less)["changed"] == 0
    assert set(apply(data, less, "--prune")["commands"]) == {"alias remove first@apply.test", "user remove three@apply.test"}
    assert apply(data, less, "--prune")["changed"] == 0
    # a list that isn't there says nothing of what is
    assert apply(data, {}, "--prune")["changed"] == apply(data, {"aliases": less["aliases"]}, "--prune")["changed"] == 0


def test_logs_in_and_sessions_end(server):
    apply(server.data, FILE)
    server.passwords["one@apply.test"] = "one-pass"
    client = server.imap("one@apply.test")
    client.select("INBOX")
    changed = json.loads(json.dumps(FILE))
    changed["users"][0]["enabled"] = False
    assert apply(server.data, changed)["commands"] == ["user disable one@apply.test"]
    assert client.readline().startswith(b"* BYE ") and client.readline() == b""
    client.shutdown()
    remove(server)


@pytest.mark.parametrize("text,words", [
    ("{", "-:1"), ("[]", "not one JSON object"), ('{"user": []}', "none of domains, users, aliases"),
    ('{"users": {}}', "not a list"), ('{"users": ["x"]}', "users[0] is not an object"),
    ('{"users": [{}]}', '"address" is missing'), ('{"users": [{"address": "a@b", "adress": "x"}]}', '"adress"'),
    ('{"users": [{"address": "a@b", "enabled": "yes"}]}', "users[0].enabled: want true or false"),
    ('{"aliases": [{"address": "a@b", "destinations": "x"}]}', "want a list"),
    ('{"domains": ["new.test"], "aliases": [{"address": "a@new.test", "destinations": []}]}', "at least one"),
    ('{"domains": ["new.test"], "users": [{"address": "a@new.test", "quota": "much"}]}', "want a size"),
    ('{"domains": ["new.test"], "users": [{"address": "a@new.test", "hash": "nonsense"}]}', "want a hash"),
    ('{"domains": ["new.test"], "users": [{"address": "a b"}]}', "want an address"),
    ('{"domains": ["new.test"], "users": [{"address": "a@nowhere.test"}]}', "users[0]: there is no domain nowhere.test"),
    ('{"aliases": [{"address": "--force", "destinations": ["x"]}]}', "want text"),
    ('{"domains": [1]}', "domains[0]"), ('{"domains": [], "domains": []}', "duplicate"),
])
def test_bad_files(server, text, words):
    before = run(server.data, "user", "list"), run(server.data, "domain", "list")
    assert words in apply(server.data, text, code=1)["error"]
    assert (run(server.data, "user", "list"), run(server.data, "domain", "list")) == before


def test_what_commands_refuse(server):
    said = apply(server.data, {"domains": ["apply.test"], "aliases": [{"address": "a@apply.test", "destinations": ["nobody@apply.test"]}]}, code=1)
    assert "does not exist" in said["error"]
    assert posthouse("apply", data=server.data).code == 2
    assert posthouse("apply", "--what", "x", data=server.data).code == 2
    remove(server)
