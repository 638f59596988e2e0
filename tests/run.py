# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Runs every test of the tree and adds up what they report.

Every program of ours that tests prints a line `N passed, M failed`; cmocka programs print TAP; pytest prints its summary.
"""
import os
import re
import subprocess
import sys
import time

ROOT = os.path.abspath(sys.argv[1])
BUILD = os.path.join(ROOT, "build")
BINARY = os.path.join(BUILD, "posthouse")


def tap(text):
    return len(re.findall(r"^ok ", text, re.M)), len(re.findall(r"^not ok ", text, re.M))


def ours(text):
    found = re.findall(r"^(\d+) passed, (\d+) failed", text, re.M)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def pytest(text):
    tail = text.strip().splitlines()[-1] if text.strip() else ""
    count = lambda word: sum(int(n) for n in re.findall(r"(\d+) " + word, tail))
    return count("passed"), count("failed") + count("errors?")


def corpus(text):
    return len(re.findall(r": \d+ inputs$", text, re.M)), 0


def run(name, command, parse, timeout=240):
    started = time.monotonic()
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", POSTHOUSE=BINARY, PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text = process.communicate(timeout=timeout)[0].decode("utf-8", "replace")
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        text, code = process.communicate()[0].decode("utf-8", "replace"), "timeout"
    passed, failed = parse(text)
    if code != 0 and failed == 0:
        failed = 1  # it ended badly without saying which test did
    skipped = sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+ (.*)$", text, re.M)))
    if passed + failed == 0 and not skipped:
        failed = 1  # a test that tests nothing
    print("%-28s %4d passed, %d failed  (%.1f s)%s" % (name, passed, failed, time.monotonic() - started,
                                                       "".join("  skipped: " + why for why in skipped)), flush=True)
    if failed:
        print("".join("    " + line + "\n" for line in text.splitlines()[-80:]), end="", flush=True)
    return passed, failed


def unit():
    names = sorted(n for n in os.listdir(BUILD) if n.startswith("unit_") and os.access(os.path.join(BUILD, n), os.X_OK))
    for name in names:
        yield name[5:], [os.path.join(BUILD, name)], tap
    for name in sorted(os.listdir(os.path.join(ROOT, "tests/fuzz/corpus"))):
        yield "corpus " + name, [os.path.join(BUILD, "fuzz_" + name), os.path.join("tests/fuzz/corpus", name)], corpus


def checks():
    for name in sorted(os.listdir(os.path.join(ROOT, "tests/checks"))):
        if name.endswith(".py"):
            yield "check " + name[:-3], [sys.executable, os.path.join("tests/checks", name), ROOT], ours


def dialogs():
    yield "dialogs", [sys.executable, "tests/dialogs/run.py", BINARY], ours


def python_tests(folder):
    for name in sorted(os.listdir(os.path.join(ROOT, "tests", folder))):
        if name.startswith("test_") and name.endswith(".py"):
            yield (folder + " " + name[5:-3],
                   ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-rs",
                    os.path.join("tests", folder, name)], pytest)


def integration():
    return python_tests("integration")


def faults():
    return python_tests("faults")


KINDS = {f.__name__: f for f in (unit, checks, dialogs, integration, faults)}


def main():
    passed = failed = 0
    kinds = sys.argv[2:] or list(KINDS)
    for kind in kinds:
        if kind not in KINDS:
            sys.exit("tests/run.sh: no such kind of tests: %s (%s)" % (kind, " ".join(KINDS)))
    for kind in kinds:
        for name, command, parse in KINDS[kind]():
            p, f = run(name, command, parse)
            passed += p
            failed += f
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
