# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Runs every test of the tree and adds up what they report.

Every program of ours that tests prints a line `N passed, M failed`; cmocka programs print TAP; pytest prints its summary.
"""
import atexit
import base64
import concurrent.futures
import contextlib
import glob
import os
import re
import subprocess
import sys
import time

ROOT = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(ROOT, "tests/lib"))
import mariadb
TIMEOUT = 600  # of one program: it ends what hangs, and nothing that is slow on a busy machine
SUPPRESSIONS = os.path.join(ROOT, "tests/tsan.supp")


class Build:
    """A folder with what was built there, and how its programs are run."""

    def __init__(self, folder, label="", slower=1, **env):
        self.folder, self.label, self.slower = os.path.join(ROOT, folder), label, slower
        self.binary = os.path.join(self.folder, "posthouse")
        self.env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", POSTHOUSE=self.binary, PYTHONDONTWRITEBYTECODE="1", **env)

    def program(self, name):
        return os.path.join(self.folder, name)


PLAIN = Build("build")
# Leaks of the daemon can't be looked for: the tracer of LeakSanitizer doesn't run under the seal (tests say so themselves).
ASAN = Build("build-asan", "asan ", 4, UBSAN_OPTIONS="print_stacktrace=1")
TSAN = Build("build-tsan", "tsan ", 8, TSAN_OPTIONS="second_deadlock_stack=1:exitcode=66"
             + (":suppressions=" + SUPPRESSIONS if os.path.exists(SUPPRESSIONS) else ""))
# Under TSan: what has threads and doesn't measure. The clients of others add time, not threads of ours.
TSAN_INTEGRATION = ("abuse", "commands", "directory", "imaplib", "login", "nodes", "outgoing", "outgoing_queue", "serve", "smtplib")
ON_MARIADB_UNITS = re.compile(r"unit_(sql_test_(sql|mysql)|store_.*|smtp_test_(delivery.*|local|aggregate)|imap_test_(session|sync)"
                              r"|filters_test_(policy|dmarc|dkim_sign|greylist|guard|kv_nodes|limits))")
ON_MARIADB_INTEGRATION = ("smtplib", "imaplib", "commands", "sendmail")


FAILURES = []  # (test, what it said): said again at the end


# ---- what a program printed: passed, failed
def tap(text):
    """cmocka writes "not ok" before what was skipped, and goes on with 0."""
    return len(re.findall(r"^ok ", text, re.M)), len(re.findall(r"^not ok \d+ (?!# SKIP)", text, re.M))


def ours(text):
    found = re.findall(r"^(\d+) passed, (\d+) failed", text, re.M)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def pytest(text):
    tail = text.strip().splitlines()[-1] if text.strip() else ""
    count = lambda word: sum(int(n) for n in re.findall(r"(\d+) " + word, tail))
    return count("passed"), count("failed") + count("errors?")


def corpus(text):
    return len(re.findall(r": \d+ inputs$", text, re.M)), 0


def fuzzed(text):
    return len(re.findall(r"^Done \d+ runs", text, re.M)), 0


def execute(command, env, timeout):
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return process.communicate(timeout=timeout)[0].decode("utf-8", "replace"), process.returncode
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):  # what it has left behind may hold its output
            os.killpg(process.pid, 9)
    try:
        said = process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired as e:
        said = e.output or b""
    return said.decode("utf-8", "replace"), "timeout"


def run(build, name, command, parse, timeout=TIMEOUT):
    started = time.monotonic()
    text, code = execute(command, build.env, timeout * build.slower)
    passed, failed = parse(text)
    if code != 0 and failed == 0:
        failed = 1  # it ended badly without saying which test did
    skipped = sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+ (.*)$", text, re.M)) | set(re.findall(r"^not ok \d+ # SKIP (.*)$", text, re.M)))
    if passed + failed == 0 and not skipped:
        failed = 1  # a test that tests nothing
    print("%-28s %4d passed, %d failed  (%.1f s)%s" % (build.label + name, passed, failed, time.monotonic() - started,
                                                       "".join("  skipped: " + why for why in skipped)), flush=True)
    if failed:
        lines = [line for line in text.splitlines() if not line.startswith("ok ")]
        print("".join("    " + line + "\n" for line in lines[-80:]), end="", flush=True)
        which = re.findall(r"^(?:FAIL(?:ED)? |ERROR |not ok \d+ (?!# SKIP)|posthouse: CHECK|SUMMARY: |Base64: ).*", text, re.M)
        FAILURES.append((build.label + name, which[:10] or ["ended with %s" % code]))
    return passed, failed


# ---- the kinds: each yields name, command, parser
def unit_programs(build):
    return sorted(n for n in os.listdir(build.folder) if n.startswith("unit_") and os.access(build.program(n), os.X_OK))


def unit(build):
    for name in unit_programs(build):
        if name != "unit_sql_test_mysql":  # which has nothing to test without a server
            yield name[5:], [build.program(name)], tap
    for name in corpora():
        yield "corpus " + name, [build.program("fuzz_" + name), os.path.join("tests/fuzz/corpus", name)], corpus


def corpora():
    return sorted(os.listdir(os.path.join(ROOT, "tests/fuzz/corpus")))


def checks(build):
    for name in sorted(os.listdir(os.path.join(ROOT, "tests/checks"))):
        if name.endswith(".py"):
            yield "check " + name[:-3], [sys.executable, os.path.join("tests/checks", name), ROOT], ours


def dialogs(build):
    yield "dialogs", [sys.executable, "tests/dialogs/run.py", build.binary], ours


def python_tests(folder, only=None):
    for name in sorted(os.listdir(os.path.join(ROOT, "tests", folder))):
        if name.startswith("test_") and name.endswith(".py") and (only is None or name[5:-3] in only):
            yield (folder + " " + name[5:-3],
                   ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-rfEs",
                    os.path.join("tests", folder, name)], pytest)


def integration(build):
    return python_tests("integration", TSAN_INTEGRATION if build is TSAN else None)


def faults(build):
    return python_tests("faults")


def database(build):
    """Once more what keeps rows, and what SMTP and IMAP clients see of it, with all of it in MariaDB."""
    server = mariadb.Server()
    atexit.register(server.close)
    env = ["env"] + ["%s=%s" % item for item in server.environment().items()]
    units = [n for n in unit_programs(build) if ON_MARIADB_UNITS.fullmatch(n)]
    tests = [(n[5:], [build.program(n)], tap) for n in units] + list(python_tests("integration", ON_MARIADB_INTEGRATION))
    return [("mariadb " + name, env + command, parse) for name, command, parse in tests]


KINDS = {f.__name__: f for f in (unit, checks, dialogs, integration, database, faults)}
SANITIZED = {ASAN: ("unit", "dialogs", "integration", "database", "faults"), TSAN: ("unit", "dialogs", "integration")}


def run_kinds(build, kinds):
    passed = failed = 0
    for kind in kinds:
        # A database server is waited for more than computed: several at once, each with databases of its own.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() + 1 if kind == "database" else 1) as pool:
            for p, f in pool.map(lambda test: run(build, *test), KINDS[kind](build)):
                passed, failed = passed + p, failed + f
    return passed, failed


# ---- fuzzing
def repeatable(command, env):
    """libFuzzer's luck is its seed, the order of its inputs and the addresses it sees in comparisons: all of it fixed here (and what
    the target draws in same_random.c), so that a target that passed takes the same way again until its code changes."""
    fixed = ["setarch", "-R"] if subprocess.run(["setarch", "-R", "true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    return ["env", "-i"] + ["%s=%s" % (k, v) for k, v in env.items() if k.endswith("SAN_OPTIONS")] + fixed + command


def fuzz(name, seconds, seed=0):
    """One target: what it finds stays in build-fuzz/. seed 0: another way each time."""
    build = Build("build-fuzz", "fuzz ")
    corpus = os.path.join("tests/fuzz/corpus", name)
    inputs = "build-fuzz/%s.inputs" % name
    with open(os.path.join(ROOT, inputs), "w") as file:
        file.write(",".join(os.path.join(corpus, n) for n in sorted(os.listdir(os.path.join(ROOT, corpus)))))
    command = ["build-fuzz/fuzz_" + name, "-max_total_time=%d" % seconds, "-seed=%d" % seed, "-timeout=30", "-rss_limit_mb=1000",
               "-print_final_stats=0", "-artifact_prefix=build-fuzz/%s-" % name, "-seed_inputs=@" + inputs]
    passed, failed = run(build, name, repeatable(command, build.env) if seed else command, fuzzed, seconds + TIMEOUT)
    for path in glob.glob(os.path.join(ROOT, "build-fuzz/%s-*" % name)) if failed else ():
        with open(path, "rb") as file:
            print("    %s in base64: %s" % (os.path.relpath(path, ROOT), base64.b64encode(file.read(4096)).decode()))
    return passed, failed


def fuzz_all(seconds, seed=0, at_once=1):
    """at_once: on each core."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() * at_once) as pool:
        ends = list(pool.map(lambda name: fuzz(name, seconds, seed), corpora()))
    return sum(p for p, _ in ends), sum(f for _, f in ends)


def main():
    words = sys.argv[2:]
    mode = words.pop(0) if words and words[0].startswith("--") else None
    wrong = [w for w in words if w not in KINDS]
    if mode == "--fuzz" and all(w.isdigit() for w in words[:1]) and len(words) <= 1:
        passed, failed = fuzz_all(int(words[0]) if words else 60)
    elif mode == "--ci" and not words:
        passed, failed = run_kinds(PLAIN, list(KINDS))
        # A change is judged by what it changes, not by the luck of a seed; `--fuzz` draws new ones.
        p, f = fuzz_all(60, seed=1, at_once=4)
        passed, failed = passed + p, failed + f
    elif mode not in (None, "--san") or wrong:
        sys.exit("tests/run.sh: no such kind of tests: %s (%s)" % (" ".join([mode or ""] + wrong).strip(), " ".join(KINDS)))
    elif mode == "--san":
        sums = [run_kinds(build, [k for k in kinds if k in words or not words]) for build, kinds in SANITIZED.items()]
        passed, failed = sum(p for p, _ in sums), sum(f for _, f in sums)
    else:
        passed, failed = run_kinds(PLAIN, words or list(KINDS))
    for name, which in FAILURES:
        print("".join("failed: %s: %s\n" % (name, line[:600]) for line in which), end="")
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
