# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A mail host that does as it is told, and looks closely at what its client does.

    with peer.Peer("10.25.0.20", answer=peer.refuse("RCPT", "450 4.7.1 Greylisted", times=1)) as host:
        ...
        mail = host.wait(1)[0]          # Mail: sender, params, rcpts, data, helo, tls, user
        assert not host.violations      # what a client may not do

`answer(session, verb, argument)` is asked before each step and may return a reply to give instead ("450 ..."), or DROP or HANG;
None: as usual. Steps are "GREETING", the verbs, "END" (after the data; the mail isn't taken unless the answer is 2xx) and
"LOST" (taken; DROP instead of the reply).
"""
import base64
import re
import socket
import ssl
import threading
import time

import sasl

DROP, HANG = "drop", "hang"
ALL = ("PIPELINING", "8BITMIME", "SIZE 52428800", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN")
LIMIT = 100 << 20


class Mail:
    def __init__(self, session, sender, params):
        self.session, self.sender, self.params = session, sender, params
        self.rcpts, self.data, self.at = [], b"", None
        self.helo, self.tls, self.user = session.helo, session.tls_version, session.user

    @property
    def to(self):
        return [address for address, _ in self.rcpts]

    def header(self, name):
        import email
        return email.message_from_bytes(self.data)[name]


class Gone(Exception):
    pass


def refuse(verb, reply, times=None, match=""):
    """The first `times` (None: all) of this verb whose argument holds `match` are answered so."""
    lock, count = threading.Lock(), [0]

    def answer(_, said, argument):
        if said != verb or match not in argument:
            return None
        with lock:
            count[0] += 1
            return reply if times is None or count[0] <= times else None
    return answer


def chain(*answers):
    return lambda *what: next((a for a in (answer(*what) for answer in answers) if a), None)


class Session(threading.Thread):
    def __init__(self, host, sock, address):
        super().__init__(daemon=True)
        self.host, self.sock, self.client = host, sock, address
        self.input, self.offered, self.helo, self.user, self.tls_version = b"", {}, None, None, None
        self.mail, self.chunks, self.said = None, None, []
        self.after = 0  # commands read since the last message was taken

    # ---- octets
    def more(self):
        try:
            data = self.sock.recv(262144)
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        self.input += data
        if len(self.input) > LIMIT:
            raise Gone

    def line(self):
        while b"\n" not in self.input:
            self.more()
        line, _, self.input = self.input.partition(b"\n")
        if not line.endswith(b"\r"):
            self.wrong("line without CR: %r", line)
        if len(line) > 2000:
            self.wrong("command of %d octets", len(line))
        return line.rstrip(b"\r")

    def take(self, n):
        while len(self.input) < n:
            self.more()
        data, self.input = self.input[:n], self.input[n:]
        return data

    def wrong(self, text, *args):
        with self.host.changed:
            self.host.violations.append((text % args) + " (session %d)" % self.host.sessions.index(self))

    def reply(self, text):
        lines = text.split("\n")
        out = "".join(line[:3] + ("-" if i + 1 < len(lines) else " ") + line[4:] + "\r\n" for i, line in enumerate(lines)).encode()
        self.said.append("S: " + text)
        try:
            for piece in [out] if not self.host.drip else [out[i:i + 1] for i in range(len(out))]:
                self.sock.sendall(piece)
                if self.host.drip:
                    self.host.halt.wait(self.host.drip)
        except OSError:
            raise Gone from None

    def asked(self, verb, argument=""):
        """True: the script has answered."""
        answer = self.host.answer(self, verb, argument) if self.host.answer else None
        if answer is None:
            return False
        if answer == DROP:
            raise Gone
        if answer == HANG:
            self.host.halt.wait()
            raise Gone
        self.reply(answer)
        if answer.startswith("421"):
            raise Gone
        return True

    # ---- the session
    def run(self):
        try:
            if self.host.implicit:
                self.start_tls()
            if not self.asked("GREETING"):
                self.reply("220 %s ESMTP" % self.host.name)
            while self.command():
                pass
        except Gone:
            pass
        finally:
            try:
                self.sock.close()
            finally:
                with self.host.changed:
                    self.host.open.discard(self)
                    self.host.changed.notify_all()

    def command(self):
        line = self.line()
        self.said.append("C: " + line.decode("utf-8", "replace"))
        self.after += 1
        verb, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
        verb = verb.upper()
        if self.input and ("PIPELINING" not in self.offered or verb in ("EHLO", "HELO", "STARTTLS", "AUTH", "QUIT", "NOOP")):
            self.wrong("pipelined after %s", verb)
        with self.host.changed:
            self.host.verbs[verb] = self.host.verbs.get(verb, 0) + 1
        if verb == "BDAT":
            return self.bdat(argument)
        if self.asked(verb, argument):
            return True
        handler = getattr(self, "do_" + verb.lower(), None)
        if not handler:
            self.reply("500 5.5.2 Unknown command")
            return True
        return handler(argument) is not False

    def do_ehlo(self, argument):
        if not self.host.ehlo:
            self.reply("500 5.5.1 Unknown command")
            return
        self.greeted(argument)
        words = list(self.host.offers)
        if self.host.tls and not self.tls_version:
            words.append("STARTTLS")
        if self.host.users and (self.tls_version or self.host.plain_auth):
            words.append("AUTH " + " ".join(self.host.mechanisms))
        self.offered = {w.split()[0]: w for w in words}
        self.reply("\n".join(["250 " + self.host.name] + ["250 " + w for w in words]))

    def do_helo(self, argument):
        self.greeted(argument)
        self.offered = {}
        self.reply("250 " + self.host.name)

    def greeted(self, argument):
        if not argument or " " in argument:
            self.wrong("greets with %r", argument)
        self.helo, self.mail = argument, None

    def do_starttls(self, argument):
        if "STARTTLS" not in self.offered or argument:
            self.wrong("STARTTLS not offered")
        self.reply("220 2.0.0 Go ahead")
        self.offered, self.helo, self.mail = {}, None, None
        if self.host.tls == "garbage":
            try:
                self.sock.recv(65536)
                self.sock.sendall(b"this is not TLS at all, whatever you may have been told\r\n")
            except OSError:
                pass
            raise Gone
        self.start_tls()

    def start_tls(self):
        try:
            self.sock = self.host.tls.wrap_socket(self.sock, server_side=True)
        except (OSError, ssl.SSLError):
            with self.host.changed:
                self.host.failed_handshakes += 1
                self.host.changed.notify_all()
            raise Gone from None
        self.tls_version = self.sock.version()

    def do_auth(self, argument):
        mechanism, _, initial = argument.partition(" ")
        run = sasl.MECHANISMS.get(mechanism.upper())
        if not run or mechanism.upper() not in self.host.mechanisms or "AUTH" not in self.offered:
            self.reply("504 5.5.4 No such mechanism")
            return
        if self.user:
            self.wrong("AUTH twice")
        first = None if not initial else b"" if initial == "=" else base64.b64decode(initial)
        steps, answer = run(self.host.users, first), None
        try:
            while True:
                self.reply("334 " + base64.b64encode(steps.send(answer)).decode())
                answer = self.line()
                if answer == b"*":
                    raise sasl.Refused
                answer = base64.b64decode(answer)
        except StopIteration as end:
            self.user = end.value
            self.mechanism = mechanism.upper()
            self.reply("235 2.7.0 Welcome")
        except (sasl.Refused, ValueError, KeyError):
            self.reply("535 5.7.8 Wrong name or password")

    def parameters(self, text, known):
        out = {}
        for word in text.split():
            name, _, value = word.partition("=")
            name = name.upper()
            if name in out or name not in known or known[name] not in self.offered:
                self.wrong("parameter %s was not offered or is there twice", word)
            out[name] = value
        return out

    def do_mail(self, argument):
        found = re.fullmatch(r"FROM:<([^>]*)>((?: \S+)*)", argument)
        if not found or not self.helo or self.mail:
            self.wrong("MAIL %s out of order or malformed", argument)
            self.reply("503 5.5.1 Not now")
            return
        if self.host.users and self.host.need_auth and not self.user:
            self.reply("530 5.7.0 Log in first")
            return
        params = self.parameters(found[2], {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN",
                                            "ENVID": "DSN", "REQUIRETLS": "REQUIRETLS", "AUTH": "AUTH"})
        if re.search("[^\0-\x7f]", found[1]) and "SMTPUTF8" not in params:
            self.wrong("UTF-8 in the sender without SMTPUTF8")
        limit = self.size_limit()
        if limit and int(params.get("SIZE") or 0) > limit:
            self.reply("552 5.3.4 Too large")
            return
        self.mail, self.chunks = Mail(self, found[1], params), None
        self.reply("250 2.1.0 Ok")

    def do_rcpt(self, argument):
        found = re.fullmatch(r"TO:<([^>]+)>((?: \S+)*)", argument)
        if not found or not self.mail:
            if not self.mail and "PIPELINING" in self.offered:
                self.reply("503 5.5.1 MAIL first")  # it follows a refused MAIL
                return
            self.wrong("RCPT %s out of order or malformed", argument)
            self.reply("503 5.5.1 Not now")
            return
        params = self.parameters(found[2], {"NOTIFY": "DSN", "ORCPT": "DSN"})
        self.mail.rcpts.append((found[1], params))
        self.reply("250 2.1.5 Ok")

    def do_data(self, _):
        if not self.mail or not self.mail.rcpts:
            if "PIPELINING" not in self.offered:
                self.wrong("DATA without a recipient")
            self.reply("554 5.5.1 No valid recipients" if self.mail else "503 5.5.1 MAIL first")
            return
        if self.input:
            self.wrong("data before the reply to DATA")
        self.reply("354 Go ahead")
        end = b"\r\n.\r\n"
        start = 0
        while True:
            at = 0 if self.input.startswith(b".\r\n") else self.input.find(end, start)
            if at >= 0:
                break
            start = max(0, len(self.input) - len(end))
            self.more()
        skip = 3 if self.input.startswith(b".\r\n") else len(end)
        text, self.input = self.input[:at + (2 if skip == 5 else 0)], self.input[at + skip:]
        self.finish(re.sub(rb"(^|\r\n)\.", rb"\1", text))

    def bdat(self, argument):
        words = argument.split()
        data = self.take(int(words[0]))
        if "CHUNKING" not in self.offered:
            self.wrong("BDAT not offered")
        if not self.mail or not self.mail.rcpts:
            self.reply("554 5.5.1 No valid recipients")
            return True
        self.chunks = (self.chunks or b"") + data
        if len(words) > 1 and words[1].upper() == "LAST":
            self.finish(self.chunks)
        elif not self.asked("BDAT", argument):
            self.reply("250 2.0.0 %d octets" % len(data))
        return True

    def size_limit(self):
        words = self.offered.get("SIZE", "").split()
        return int(words[1]) if len(words) > 1 else 0

    def inspect(self, mail):
        body = mail.params.get("BODY", "").upper()
        if re.search(rb"(?<!\r)\n|\r(?!\n)", mail.data):
            self.wrong("bare CR or LF in the data")
        if re.search(rb"[\x80-\xff]", mail.data) and body != "8BITMIME" and "SMTPUTF8" not in mail.params:
            self.wrong("8-bit data without BODY=8BITMIME")
        if not mail.data.endswith(b"\r\n"):
            self.wrong("data doesn't end with a line end")
        limit = self.size_limit()
        if limit and len(mail.data) > limit:
            self.wrong("%d octets although SIZE is %d", len(mail.data), limit)
        size = mail.params.get("SIZE")
        if size and not 0.9 * len(mail.data) <= int(size) <= 1.1 * len(mail.data) + 100:
            self.wrong("SIZE=%s for %d octets", size, len(mail.data))

    def finish(self, data):
        mail, self.mail, self.chunks = self.mail, None, None
        mail.data = data
        self.inspect(mail)
        if self.asked("END"):
            return
        with self.host.changed:
            mail.at = time.monotonic()
            self.host.mail.append(mail)
        self.after = 0
        try:
            if not self.asked("LOST"):
                self.reply("250 2.0.0 Taken as %d" % len(self.host.mail))
        finally:
            with self.host.changed:
                self.host.answered += 1
                self.host.changed.notify_all()

    def do_rset(self, _):
        self.mail = self.chunks = None
        self.reply("250 2.0.0 Ok")

    def do_noop(self, _):
        self.reply("250 2.0.0 Ok")

    def do_quit(self, _):
        self.reply("221 2.0.0 Bye")
        return False


class Peer:
    def __init__(self, *addresses, port=25, name="peer.test", offers=ALL, ehlo=True, tls=None, implicit=False, users=None,
                 mechanisms=("SCRAM-SHA-256", "PLAIN", "LOGIN"), plain_auth=False, need_auth=True, answer=None, drip=0):
        self.name, self.offers, self.ehlo, self.implicit, self.drip = name, offers, ehlo, implicit, drip
        self.tls = tls.context() if hasattr(tls, "context") else tls
        self.users, self.mechanisms, self.plain_auth, self.need_auth = users, mechanisms, plain_auth, need_auth
        self.answer = answer
        self.changed, self.halt = threading.Condition(), threading.Event()
        self.reset()
        self.listeners = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self.listeners.append(socket.create_server((address, port), family=family, backlog=512))
        self.port = self.listeners[0].getsockname()[1]
        for listener in self.listeners:
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def reset(self):
        """Forgets what came so far."""
        with self.changed:
            self.mail, self.sessions, self.violations = [], [], []
            self.answered = 0  # messages whose reply is out, or lost as it should be
            self.open, self.most_open, self.verbs, self.failed_handshakes = set(), 0, {}, 0

    def accept(self, listener):
        while True:
            try:
                sock, address = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, sock, address)
            with self.changed:
                self.sessions.append(session)
                self.open.add(session)
                self.most_open = max(self.most_open, len(self.open))
                self.changed.notify_all()
            session.start()

    def until(self, condition, seconds=60):
        """Waits until condition(); says whether it came true. Looked at whenever something arrives or a session ends."""
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    def wait(self, count=1, seconds=60):
        """Until so many messages came and were answered; all of them."""
        assert self.until(lambda: self.answered >= count, seconds), "%d messages came to %s, not %d\n%s" % (
            len(self.mail), self.name, count, self.transcript())
        return list(self.mail)

    def transcript(self):
        return "\n".join("session %d\n  %s" % (i, "\n  ".join(s.said)) for i, s in enumerate(self.sessions[-10:]))

    def stop(self):
        self.halt.set()
        for listener in self.listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            except OSError:
                pass
            listener.close()
        with self.changed:
            sessions = list(self.open)
        for session in sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for session in sessions:
            session.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
