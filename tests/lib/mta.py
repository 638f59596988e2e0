# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Other mail servers as peers: Postfix, Exim, OpenSMTPD, each with its own configuration, queue and mail folder, in a mount
namespace of its own over the network namespace of the caller. Needs root.

Debian's packages of them exclude one another, so what isn't installed is downloaded and unpacked below build/peers/, and run
from there. Users they ask for that this machine hasn't got exist in their own /etc/passwd only.
"""
import contextlib
import grp
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "peers"
USERS = {"postfix": 64301, "postdrop": 64302, "Debian-exim": 64303, "opensmtpd": 64304, "opensmtpq": 64305}
START = 60  # seconds for one to open its port


class NoServer(Exception):
    """It can't be had here; says why."""


def run(*words, timeout=120, **more):
    done = subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, **more)
    if done.returncode != 0:
        raise NoServer("%s: %s" % (words[0], (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]))
    return done.stdout


def depends(package):
    text = run("apt-cache", "show", "--no-all-versions", package)
    found = re.search(r"^Depends: (.*)$", text, re.M)
    return [p.split()[0] for p in found[1].split(", ") if p.startswith("lib")] if found else []


def known(look, name):
    try:
        return look(name)
    except KeyError:
        return None


def installed(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True)
    return done.stdout.endswith(" installed")


def fetch(package):
    """The folder it is unpacked in, with the libraries it needs and this machine hasn't got."""
    target = CACHE / package
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        os.chmod(scratch, 0o755)  # servers become others
        files, folder = pathlib.Path(scratch, "files"), pathlib.Path(scratch, "root")
        files.mkdir()
        folder.mkdir()
        try:
            wanted = [package] + [p for p in depends(package) if not installed(p)]
            run("apt-get", "download", "-q", *wanted, cwd=files)
            for deb in files.iterdir():
                run("dpkg", "-x", deb, folder)
            # The loader takes libraries from elsewhere only where nobody changes who he is.
            run("chmod", "-R", "u-s,g-s", folder)
        except (OSError, subprocess.SubprocessError) as e:
            raise NoServer("%s can't be fetched: %s" % (package, e)) from None
        with contextlib.suppress(OSError):  # somebody else was as quick
            folder.rename(target)
    return target


def program(package, path):
    """(the program, folders of its libraries): of the system, or fetched."""
    if os.access(path, os.X_OK):
        return path, None
    folder = fetch(package)
    found = str(folder) + path
    libraries = ":".join(str(p) for p in [*folder.glob("usr/lib/*-linux-gnu*"), folder / "usr/lib" / package])
    loaded = subprocess.run(["ldd", found], capture_output=True, text=True, env=dict(os.environ, LD_LIBRARY_PATH=libraries))
    if "not found" in loaded.stdout:
        raise NoServer("%s lacks %s" % (package, re.search(r"\S+(?= => not found)", loaded.stdout)[0]))
    return found, libraries


def prefetch():
    """Downloads what isn't there, so far as it can: to be called where the network is."""
    for package, path in (("postfix", "/usr/sbin/postfix"), ("exim4-daemon-light", "/usr/sbin/exim4"), ("opensmtpd", "/usr/sbin/smtpd")):
        with contextlib.suppress(NoServer):
            program(package, path)


# What a peer sees of the file system: the machine's, with some folders of its own over it.
WRAPPER = """set -e
umask 022
for f in passwd group resolv.conf; do mount --bind "$OWN/$f" "$(readlink -f /etc/$f)"; done
while [ "$1" != -- ]; do mkdir -p "$1"; mount --bind "$2" "$1"; shift 2; done
shift
exec "$@"
"""


class Server:
    """One of them in the foreground. `folder` holds all it has; mail that came is in self.mail()."""
    over = {}  # path: what lies over it, below `folder`
    group = None

    def __init__(self, folder, address, **options):
        self.folder, self.address = pathlib.Path(folder), address
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.options, self.port = options, options.get("port", 25)
        self.libraries = None
        self.mail_folder = self.folder / "mail"
        self.mail_folder.mkdir()
        self.process = None
        self.accounts()
        self.prepare()
        self.start()

    def accounts(self):
        users = "".join("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n" % (name, *self.ids(name)) for name in USERS
                        if not known(pwd.getpwnam, name) and name != "postdrop")
        groups = "".join("%s:x:%d:\n" % (name, self.ids(name)[1]) for name in USERS if not known(grp.getgrnam, name))
        (self.folder / "passwd").write_text(pathlib.Path("/etc/passwd").read_text() + users)
        (self.folder / "group").write_text(pathlib.Path("/etc/group").read_text() + groups)
        resolver = self.options.get("resolver")
        (self.folder / "resolv.conf").write_text("nameserver %s\n" % (resolver or "127.0.0.1"))

    @staticmethod
    def ids(name):
        """(uid, gid) of a user, or of a group alone."""
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)[2:4]
        with contextlib.suppress(KeyError):
            return -1, grp.getgrnam(name)[2]
        return USERS[name], USERS[name]

    def own(self, name, user=None, mode=0o755):
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        os.chmod(path, mode)
        if user:
            os.chown(path, *self.ids(user))
        return path

    def command(self, *words):
        mounts = [str(w) for target, source in self.over.items() for w in (target, self.folder / source)]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", WRAPPER, "sh", *mounts, "--", *map(str, words)]

    def environment(self):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OWN": str(self.folder), "LANG": "C"}
        if self.libraries:
            env["LD_LIBRARY_PATH"] = self.libraries
        return env

    def launch(self, *words):
        """Postfix's master hangs at its start now and then, without a word: it is started again."""
        for left in (2, 1, 0):
            try:
                return self.launch_once(*words)
            except NoServer:
                if not left:
                    raise

    def launch_once(self, *words):
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env=self.environment(), start_new_session=True,
                                            preexec_fn=self.group.enter if self.group else None)
        deadline = time.monotonic() + START / 3
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 5) as s:
                s.settimeout(START)
                if s.recv(1000).startswith(b"220"):
                    s.sendall(b"QUIT\r\n")
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log()[-2000:]
                self.stop()
                raise NoServer("%s did not start: %s" % (type(self).__name__, text))
            time.sleep(0.05)

    def log(self):
        return "".join(p.read_text(errors="replace") for p in (self.folder / "output", self.folder / "log") if p.is_file())

    def files(self):
        return sorted(self.mail_folder.glob("**/new/*"))

    def mail(self, count=1, seconds=60):
        """Until so many messages lie in the folder: their octets, with CRLF."""
        deadline = time.monotonic() + seconds
        while len(self.files()) < count:
            assert time.monotonic() < deadline, "%d messages came to %s, not %d\n%s" % (
                len(self.files()), type(self).__name__, count, self.log()[-3000:])
            time.sleep(0.05)
        return [re.sub(rb"\r?\n", b"\r\n", f.read_bytes()) for f in self.files()]

    def forget(self):
        for f in self.files():
            f.unlink()

    def stop(self):
        """Its whole session: all it started, unless that made itself a session of its own."""
        if not self.process:
            return
        self.end()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def end(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {lib}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
meta_directory = {meta}
mail_owner = postfix
setgid_group = postdrop
myhostname = {name}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = all
mynetworks = {networks}
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{ids[0]}
virtual_gid_maps = static:{ids[1]}
virtual_minimum_uid = 1
alias_maps =
alias_database =
local_recipient_maps =
local_header_rewrite_clients =
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtpd_recipient_restrictions = check_recipient_access inline:{{{access}}}, permit_mynetworks, reject_unauth_destination
smtp_dns_support_level = disabled
maillog_file = {d}/log
maillog_file_prefixes = {d}
{more}
"""


class Postfix(Server):
    """Recipients whose local part is "later" get 450, "nobody" 550. tls: a Certificate."""
    networks = "127.0.0.0/8"
    processes = 20

    def prepare(self):
        self.binary, self.libraries = program("postfix", "/usr/sbin/postfix")
        self.root = self.binary[:-len("/usr/sbin/postfix")]
        for name in ("queue", "conf", "queue/pid"):
            self.own(name)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            self.own("queue/" + name, "postfix", 0o700)
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            os.chown(self.own("queue/" + name, "postfix", mode), -1, self.ids("postdrop")[1])
        for name in ("data", "mail"):
            self.own(name, "postfix")
        (self.folder / "conf" / "main.cf").write_text(self.main_cf())
        master = next(p for p in (self.root + "/usr/share/postfix/master.cf.dist", self.root + "/etc/postfix/master.cf.proto")
                      if os.path.exists(p))
        lines = []
        for line in open(master):
            words = line.split()
            if line[:1] not in "# \t\n" and len(words) > 7:
                words[4] = "n"  # not in a chroot
                if words[:2] == ["smtp", "inet"]:
                    words[0] = ("[%s]:%d" if ":" in self.address else "%s:%d") % (self.address, self.port)
                line = " ".join(words) + "\n"
            lines.append(line)
        (self.folder / "conf" / "master.cf").write_text("".join(lines))

    def main_cf(self):
        domains = self.options.get("domains", ())
        access = ", ".join("{later@%s = 450 4.2.0 Later}, {nobody@%s = 550 5.1.1 No such user}" % (d, d) for d in domains)
        more = [*self.options.get("more", ()), "default_process_limit = %d" % self.processes]
        if self.options.get("tls"):
            tls = self.options["tls"]
            more += ["smtpd_tls_security_level = may", "smtpd_tls_chain_files = %s, %s" % (tls.key, tls.chain),
                     "smtpd_tls_received_header = yes"]
        return MAIN_CF.format(d=self.folder, root=self.root, lib=self.root + "/usr/lib/postfix", meta=self.root + "/etc/postfix",
                              name=self.options.get("name", "postfix.test"), networks=self.networks,
                              domains=", ".join(domains), ids=self.ids("postfix"), access=access or "{x = OK}", more="\n".join(more))

    def start(self):
        """Not by the command "postfix", which looks at an installation that may not be there."""
        self.launch(self.root + "/usr/lib/postfix/sbin/master", "-c", self.folder / "conf", "-d")


EXIM_CONF = """
primary_hostname = {name}
exim_path = {binary}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {d}/spool
log_file_path = {d}/spool/log-%slog
pid_file_path = {d}/spool/pid
local_interfaces = {address}
daemon_smtp_ports = 25
domainlist ours = {domains}
host_lookup =
rfc1413_query_timeout = 0s
dns_ipv4_lookup = *
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege
never_users =
tls_advertise_hosts = {tls_hosts}
{tls}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  defer local_parts = later
        message = Later
  deny  local_parts = nobody
        message = No such user
  accept domains = +ours
  deny  message = No relaying
begin routers
box:
  driver = accept
  domains = +ours
  transport = box
begin transports
box:
  driver = appendfile
  directory = {d}/mail/box
  maildir_format
  create_directory
  directory_mode = 0755
  mode = 0644
  mode_fail_narrower = false
  user = Debian-exim
  group = Debian-exim
  envelope_to_add
  return_path_add
  delivery_date_add = false
begin retry
* * F,1h,1m
begin authenticators
"""


class Exim(Server):
    """As Postfix; its TLS is GnuTLS's."""
    over = {"/var/lib": "lib", "/var/spool": "var-spool"}

    def prepare(self):
        self.binary, self.libraries = program("exim4-daemon-light", "/usr/sbin/exim4")
        for name in ("spool", "mail"):
            self.own(name, "Debian-exim")
        self.own("var-spool")
        # The one place, besides /etc, where Debian's Exim takes its configuration from without giving up its rights.
        self.own("lib/exim4")
        tls = self.options.get("tls")
        text = EXIM_CONF.format(d=self.folder, binary=self.binary, name=self.options.get("name", "exim.test"), address=self.address.replace(":", "::"),
                                domains=" : ".join(self.options.get("domains", ())), tls_hosts="*" if tls else "",
                                tls="tls_certificate = %s\ntls_privatekey = %s" % (self.copy(tls.chain), self.copy(tls.key)) if tls else "")
        path = self.folder / "lib/exim4/config.autogenerated"
        path.write_text(text)
        os.chmod(path, 0o644)

    def copy(self, path):
        """A file it can read as its own user."""
        target = self.folder / path.name
        shutil.copy(path, target)
        os.chmod(target, 0o640)
        os.chown(target, *self.ids("Debian-exim"))
        return target

    def start(self):
        self.launch(self.binary, "-bdf", "-q1h")

    def log(self):
        return super().log() + "".join(p.read_text(errors="replace") for p in self.folder.glob("spool/log-*"))


SMTPD_CONF = """
listen on {address} port {port} hostname {name} {listen}
action "on" relay host "smtp://{on}" {relay}
match from any for any action "on"
"""


class OpenSMTPD(Server):
    """Passes everything on to `on` ("10.25.0.99:25"): so no helper programs of it are needed. Plain: Debian 12's fails its own
    TLS handshakes."""
    over = {"/var/lib": "lib", "/var/spool": "spool", "/run": "run"}

    def prepare(self):
        self.binary, self.libraries = program("opensmtpd", "/usr/sbin/smtpd")
        self.own("lib/opensmtpd/empty", mode=0o711)
        self.own("spool/smtpd", mode=0o711)
        self.own("run")
        (self.folder / "smtpd.conf").write_text(SMTPD_CONF.format(
            address=self.address, port=self.port, name=self.options.get("name", "opensmtpd.test"), on=self.options["on"],
            listen=self.options.get("listen", ""), relay=self.options.get("relay", "")) + self.options.get("more", ""))

    def start(self):
        self.launch(self.binary, "-d", "-f", self.folder / "smtpd.conf")
