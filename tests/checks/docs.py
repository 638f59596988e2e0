# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The files of conf/ that are made from the tables of settings and commands say what the program says.

docs.py ROOT compares; docs.py ROOT --write makes them anew. POSTHOUSE names the binary (default ROOT/build/posthouse).
"""
import difflib
import os
import subprocess
import sys
import tempfile

ROOT = sys.argv[1]
BINARY = os.environ.get("POSTHOUSE") or os.path.join(ROOT, "build", "posthouse")
MADE = {"posthouse.conf": "sample", "posthouse.conf.5": "man5", "posthouse.8": "man8"}
failed = passed = 0


def result(name, problem):
    global failed, passed
    passed += not problem
    failed += bool(problem)
    if problem:
        print("FAIL %s: %s" % (name, problem))


def said(what):
    return subprocess.run([BINARY, "serve", "--help-settings=" + what], check=True, capture_output=True, text=True).stdout


def compare(path, text):
    try:
        with open(path) as f:
            have = f.read()
    except FileNotFoundError:
        return "it is not there"
    if have != text:
        return "differs from the tables; python3 tests/checks/docs.py . --write\n" + "\n".join(
            list(difflib.unified_diff(have.splitlines(), text.splitlines(), "file", "tables", lineterm="", n=0))[:20])


def sample_is_a_configuration(text):
    """With every line that holds a setting or a section uncommented it is read without a complaint."""
    lines = [line.replace("#", "", 1) if line.strip().startswith("#") and not line.strip().startswith("# ") else line
             for line in text.splitlines()[10:]]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        f.write("\n".join(lines).replace('listener "name" {', 'listener "smtp" {')
                .replace(' command = ""', ' command = "/bin/true"'))  # what has no default
        f.flush()
        ended = subprocess.run([BINARY, "serve", "--config", f.name, "--show-config"], capture_output=True, text=True)
    return ended.stderr if ended.returncode else None


for name, what in MADE.items():
    path = os.path.join(ROOT, "conf", name)
    if "--write" in sys.argv[2:]:
        with open(path, "w") as f:
            f.write(said(what))
    result("conf/" + name, compare(path, said(what)))
result("the sample file", sample_is_a_configuration(said("sample")))
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
