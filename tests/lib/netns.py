# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A network of one's own: a namespace in which every address of 10.25.0.0/16 and fd25::/64 is this machine's, so that as many
servers as wanted have port 25 to themselves, and nothing leaves. Needs root and `ip`.

Only the thread that enters, what it starts, and threads begun afterwards are in it.
"""
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
V4, V6 = "10.25.%d.%d", "fd25::%x"
HERE = (V4 % (0, 1), V6 % 1)  # where connections come from that aren't bound to another address


class NoNetwork(Exception):
    """This machine has none to give; says why."""


def call(function, *arguments):
    if function(*arguments) != 0:
        raise NoNetwork("no network namespace: " + os.strerror(ctypes.get_errno()))


class Network:
    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.outside = None

    def __enter__(self):
        self.outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            call(self.libc.unshare, CLONE_NEWNET)
        except NoNetwork:
            os.close(self.outside)
            raise
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def up(self):
        with open("/proc/sys/net/ipv6/ip_nonlocal_bind", "w") as f:
            f.write("1")  # a route alone doesn't make an address one can listen on
        for words in (("link", "set", "lo", "up"),
                      ("addr", "add", HERE[0] + "/32", "dev", "lo"),
                      ("route", "add", "local", "10.25.0.0/16", "dev", "lo", "src", HERE[0]),
                      ("-6", "addr", "add", HERE[1] + "/128", "dev", "lo", "nodad"),
                      ("-6", "route", "add", "local", "fd25::/64", "dev", "lo", "src", HERE[1])):
            try:
                subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
            except FileNotFoundError:
                raise NoNetwork("there is no `ip` (package iproute2)") from None
            except subprocess.CalledProcessError as e:
                raise NoNetwork("ip %s: %s" % (" ".join(words), e.stderr.strip())) from None

    def __exit__(self, *_):
        call(self.libc.setns, self.outside, CLONE_NEWNET)
        os.close(self.outside)
