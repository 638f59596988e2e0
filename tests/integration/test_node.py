# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""imapflow and nodemailer, as npm installs them: the checks are in node/check.mjs.

The versions in node/package.json run on Debian 12's node 18 too. Packages go into build/, never into the tree; without
node, npm or their registry the checks are skipped.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, WAIT, Server

HERE = pathlib.Path(__file__).resolve().parent / "node"
FILES = ("package.json", "package-lock.json", "check.mjs")
CHECKS = re.findall(r"^    (?:async )?(\w+)(?:\(\) \{|: \(\) =>)", (HERE / "check.mjs").read_text(), re.M)


def environment():
    env = dict(os.environ, NO_COLOR="1")
    system = "/etc/ssl/certs/ca-certificates.crt"  # npm trusts what the machine trusts, proxies with a CA of their own too
    if os.path.exists(system):
        env.setdefault("NODE_EXTRA_CA_CERTS", system)
    return env


@pytest.fixture(scope="module")
def packages():
    """A folder with the packages and check.mjs."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node or npm is not installed")
    return provide(HERE, FILES, "integration-node")


def provide(here, files, name):
    """A folder of the build with these files, and the packages that they ask for."""
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["node", "--version"], capture_output=True, timeout=WAIT).stdout
    wanted = hashlib.sha256(version + (here / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "stamp"
    for one in files:
        shutil.copyfile(here / one, folder / one)
    if not stamp.exists() or stamp.read_text() != wanted:
        install(folder)
        stamp.write_text(wanted)
    return folder


def install(folder):
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1",
               "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=1000", "--fetch-timeout=20000"]
    try:
        ended = subprocess.run(command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        pytest.skip("npm ci took too long")
    if ended.returncode != 0:
        pytest.skip("npm ci failed: " + " ".join(ended.stdout.split())[:300])


@pytest.fixture(scope="module")
def server(packages):
    s = Server("--set", "store.quota_bytes=100M")
    yield s
    s.stop()


def test_lock_file_names_no_host():
    """Whichever registry npm is set up with gives the packages; the hashes say that they are the right ones."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    for path, package in lock["packages"].items():
        assert "resolved" not in package, path
        assert not path or package["integrity"].startswith("sha512-"), path
    assert {name: lock["packages"]["node_modules/" + name]["version"] for name in wanted} == wanted
    assert "http" not in (HERE / "package-lock.json").read_text()


@pytest.mark.parametrize("check", CHECKS)
def test_node(server, packages, check):
    ended = subprocess.run(["node", "check.mjs", check], cwd=packages, env=environment(), input=json.dumps(server.info),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * WAIT)
    assert ended.returncode == 0, ended.stdout[-3000:]
