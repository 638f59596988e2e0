# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A journaled ext4 of one's own, on a loop device over a file in /var/tmp. Needs root; unmounted and freed in every case.

Some machines' root has no journal, which makes servers that write a file per message look slow and a power cut look harmless.
"""
import contextlib
import fcntl
import glob
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2                # what was not flushed is lost, as when the power fails


class NoDisk(Exception):
    """This machine can't mount one; says why."""


def sh(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise NoDisk("%s: %s" % (" ".join(command[:2]), done.stderr.strip()))


def freeze(pids):
    """None of their threads runs code of its own any more; a system call may still be under way."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while not all(stat.rpartition(")")[2].split()[0] in "TDZX" for pid in pids for stat in threads(pid)):
        assert time.monotonic() < deadline, "not all threads of %s stop" % (pids,)


def threads(pid):
    for path in glob.glob("/proc/%d/task/*/stat" % pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(path) as f:
            yield f.read()


class Disk:
    def __init__(self, megabytes, *mkfs):
        self.mounted = False
        self.folder = tempfile.mkdtemp(prefix="posthouse-disk-", dir="/var/tmp")
        os.chmod(self.folder, 0o755)  # other servers have users of their own
        self.image, self.path = self.folder + "/disk", self.folder + "/mnt"
        os.mkdir(self.path)
        try:
            if os.geteuid() != 0:
                raise NoDisk("mounting needs root")
            with open(self.image, "wb") as f:
                f.truncate(megabytes << 20)
            sh("mkfs.ext4", "-q", "-F", "-m", "0", *mkfs, self.image)
            self.mount()
        except FileNotFoundError as e:
            self.remove()
            raise NoDisk(str(e))
        except BaseException:
            self.remove()
            raise

    def mount(self, patience=0):
        deadline = time.monotonic() + patience
        while not self.mounted:
            try:
                sh("mount", "-o", "loop", self.image, self.path)
                self.mounted = True
            except NoDisk:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def mount_again(self):
        """The loop device it had may take a moment to go."""
        self.mount(patience=60)

    def unmount(self):
        """Whoever had files open on it has just ended: the kernel may need a moment."""
        for _ in range(1200):
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        else:
            sh("umount", "-l", self.path)
        self.mounted = False

    def sync(self):
        sh("sync", "-f", self.path)

    def cut(self, *pids):
        """The power fails: those who work on the disk say nothing more, and what is not on it never comes there.

        They stop first, as a machine without power does. While ext4 shuts down, fdatasync() of a grown file may return 0 although the
        file system will never know of the new blocks (Linux 6.18: a loop of write and fdatasync sees it in one cut of ten): whoever
        went on would be lied to.
        """
        freeze(pids)
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_on(self):
        self.unmount()
        self.mount_again()

    def remove(self):
        if self.mounted:
            self.unmount()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def disk(megabytes, *mkfs):
    d = Disk(megabytes, *mkfs)
    try:
        yield d
    finally:
        d.remove()
