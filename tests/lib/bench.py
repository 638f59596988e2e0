# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""What the benchmarks share: a server with the resources of all its processes counted, and how figures are shown."""
import contextlib
import imaplib
import json
import os
import ssl
import statistics
import subprocess


class Group:
    """A cgroup (v1 cpuacct) counts the CPU of a server with all its processes; memory is summed over them."""

    def __init__(self, name):
        self.path = "/sys/fs/cgroup/cpuacct/" + name
        os.makedirs(self.path, exist_ok=True)

    def enter(self):
        with open(self.path + "/cgroup.procs", "w") as f:
            f.write(str(os.getpid()))

    def cpu(self):
        with open(self.path + "/cpuacct.usage") as f:
            return int(f.read()) / 1e9

    def memory(self):
        """Proportional set size: pages shared between processes count once."""
        total = 0
        for pid in open(self.path + "/cgroup.procs").read().split():
            with contextlib.suppress(OSError):
                for line in open("/proc/%s/smaps_rollup" % pid):
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def remove(self):
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


class Posthouse:
    name = "posthouse"

    def __init__(self, binary, mount):
        self.group = Group("bench-posthouse")
        self.process = subprocess.Popen(
            [binary, "dev", "--json", "--port-base", "0", "--data", mount + "/posthouse", "--log-level", "warn"],
            stdout=subprocess.PIPE, preexec_fn=self.group.enter)
        self.info = json.loads(self.process.stdout.readline())
        self.port = self.info["smtp"]["port"]

    def delivered(self, count):  # acknowledged is delivered
        pass

    def imap(self, user=0):
        context = ssl.create_default_context(cafile=self.info["ca"])
        imap = imaplib.IMAP4_SSL("localhost", self.info["imaps"]["port"], ssl_context=context)
        imap.login(self.info["accounts"][user]["address"], self.info["accounts"][user]["password"])
        return imap

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.group.remove()


def spread(values, form="%.0f"):
    """Median, and in brackets the extremes."""
    return "%s (%s..%s)" % tuple(form % v for v in (statistics.median(values), min(values), max(values)))
