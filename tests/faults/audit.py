# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Compares what the mailboxes hold with what a Ledger says they must hold. Every disagreement is one line of text."""
import collections
import re

from traffic import USERS, message, ok

MAILBOXES = ("INBOX", "Drafts", "Archive", "Trash")
FOREIGN = re.compile(rb"^(?!Return-Path:|Delivered-To:|Received:|[ \t])[^\r\n]", re.M)  # in what the server put before the head


class Box:
    """One mailbox as a client sees it."""

    def __init__(self, uidvalidity, uidnext):
        self.uidvalidity, self.uidnext = uidvalidity, uidnext
        self.numbers, self.flags = {}, {}


class Audit:
    def __init__(self):
        self.boxes = {}    # (account, mailbox) -> Box of the last round
        self.history = {}  # (account, mailbox, uid) -> number, of all rounds
        self.sound = {}    # (account, mailbox, uid) -> True: its text was compared
        self.problems = []

    def problem(self, text, *args):
        self.problems.append(text % args)

    # ---- reading
    def read_box(self, client, key):
        def code(name):
            return int(client.response(name)[1][0])
        ok(client.select(key[1], readonly=True))
        box = Box(code("UIDVALIDITY"), code("UIDNEXT"))
        data = client.uid("FETCH", "1:*", "(UID FLAGS)")
        for line in ok(data):
            if line:
                uid = int(re.search(rb"UID (\d+)", line)[1])
                box.numbers[uid], box.flags[uid] = self.history.get((*key, uid)), line
        unread = [uid for uid in box.numbers if (*key, uid) not in self.sound]
        for i in range(0, len(unread), 200):
            self.read_texts(client, key, box, unread[i:i + 200])
        return box

    def read_texts(self, client, key, box, uids):
        """Head and text apart: their border is where the server put it."""
        head = None
        for part in ok(client.uid("FETCH", ",".join(map(str, uids)), "(UID RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT])")):
            if not isinstance(part, tuple):
                continue
            if b"BODY[HEADER]" in part[0]:
                uid = int(re.search(rb"UID (\d+)", part[0])[1])
                size = int(re.search(rb"RFC822.SIZE (\d+)", part[0])[1])
                head = part[1]
                continue
            box.numbers[uid] = self.compare_text(key, uid, size, head, part[1])
            uids = [u for u in uids if u != uid]
        for uid in uids:
            self.problem("%s/%s uid %d: not readable", *key, uid)

    def compare_text(self, key, uid, size, head, text):
        found = re.search(rb"^Subject: number (\d+)\r$", head, re.M)
        if not found:
            self.problem("%s/%s uid %d: no head of ours, %d octets: %r", *key, uid, len(head), head[-80:])
            return None
        number = int(found[1])
        want_head, _, want_text = message(number).partition(b"\r\n\r\n")
        trace, same, end = head.rpartition(want_head)
        if not same or end != b"\r\n\r\n" or text != want_text or FOREIGN.search(trace):
            self.problem("%s/%s uid %d: the text of number %d is not what was sent", *key, uid, number)
        if size != len(head) + len(text):
            self.problem("%s/%s uid %d: RFC822.SIZE is %d, the text has %d", *key, uid, size, len(head) + len(text))
        self.sound[(*key, uid)] = True
        return number

    def read(self, server):
        boxes = {}
        for user in USERS:
            with server.imap(user) as client:
                for mailbox in MAILBOXES:
                    boxes[user, mailbox] = self.read_box(client, (user, mailbox))
        return boxes

    # ---- comparing
    def identity(self, key, box):
        """RFC 3501 2.3.1.1: a uid means one message for ever, and uids are handed out upwards."""
        before = self.boxes.get(key)
        if before and before.uidvalidity != box.uidvalidity:
            self.problem("%s/%s: UIDVALIDITY was %d and is %d", *key, before.uidvalidity, box.uidvalidity)
        for uid, number in box.numbers.items():
            self.remember(key, uid, number)
        top = max((uid for *k, uid in self.history if tuple(k) == key), default=0)
        if box.uidnext <= top:
            self.problem("%s/%s: UIDNEXT is %d, uid %d was given already", *key, box.uidnext, top)

    def remember(self, key, uid, number):
        if self.history.setdefault((*key, uid), number) != number:
            self.problem("%s/%s uid %d: was number %s, is number %s", *key, uid, self.history[(*key, uid)], number)

    def promised_uids(self, ledger):
        for number, user, mailbox, uid in ledger.appends:
            if uid:
                self.remember((user, mailbox), uid[1], number)
        for _, user, _, what, target, answer in ledger.transfers:
            for uid, new in (answer[1] if answer else {}).items():
                self.remember((user, target), new, what[uid])

    def expected(self, ledger):
        """How often each number may be in each mailbox: {(account, mailbox): {number: [least, most]}}."""
        counts = {key: collections.defaultdict(lambda: [0, 0]) for key in [(u, m) for u in USERS for m in MAILBOXES]}

        def add(key, number, least, most):
            counts[key][number][0] += least
            counts[key][number][1] += most
        for key, box in self.boxes.items():
            for number in box.numbers.values():
                add(key, number, 1, 1)
        for number, users in ledger.sent.items():
            for user in users:
                add((user, "INBOX"), number, number in ledger.accepted, 1)
        for number, user, mailbox, uid in ledger.appends:
            add((user, mailbox), number, bool(uid), 1)
        for kind, user, source, what, target, answer in ledger.transfers:
            for number in what.values():
                add((user, target), number, bool(answer), 1)
                if kind == "MOVE":
                    add((user, source), number, -1, -bool(answer))
        for user, mailbox, what, done in ledger.expunges:
            for number in what.values():
                add((user, mailbox), number, -1, -done)
        return counts

    def count(self, ledger, boxes):
        for key, numbers in self.expected(ledger).items():
            found = collections.Counter(boxes[key].numbers.values())
            for number in found.keys() | numbers.keys():
                least, most = numbers.get(number, (0, 0))
                if found[number] < least:
                    self.problem("%s/%s: number %s was acknowledged and is lost", *key, number)
                elif found[number] > most:
                    self.problem("%s/%s: number %s is there %d times, not %d", *key, number, found[number], max(most, 0))

    def whole(self, ledger, boxes):
        """What had no answer happened altogether or not at all."""
        expunged = {(user, n) for user, _, what, _ in ledger.expunges for n in what.values()}
        there = expunged | {(user, n) for (user, _), box in boxes.items() for n in box.numbers.values()}
        for number, users in ledger.sent.items():
            if len({(user, number) in there for user in users}) > 1:
                self.problem("number %d reached some of its recipients only: %s", number, [u for u in users if (u, number) in there])
        for kind, user, source, what, target, answer in ledger.transfers:
            if answer or kind != "MOVE":
                continue
            stayed = {uid in boxes[user, source].numbers for uid in what}
            came = set(boxes[user, target].numbers.values()) >= set(what.values())
            if len(stayed) > 1 or stayed == {False} and not came:
                self.problem("%s: a MOVE of %d from %s to %s happened in part", user, len(what), source, target)

    def flags(self, ledger, boxes):
        for user, mailbox, uids in ledger.flagged:
            for uid in uids:
                if b"\\Flagged" not in boxes[user, mailbox].flags.get(uid, b"\\Flagged"):
                    self.problem("%s/%s uid %d: an acknowledged flag is lost", user, mailbox, uid)

    def store(self, server):
        check = server.command_line("mailbox", "check")
        if check.code != 0:
            self.problem("mailbox check: %s%s", check.out, check.err)

    def round(self, server, ledger):
        """Problems of this round as a list; what was found is what the next round starts from."""
        self.problems = []
        boxes = self.read(server)
        self.promised_uids(ledger)
        for key, box in boxes.items():
            self.identity(key, box)
        self.count(ledger, boxes)
        self.whole(ledger, boxes)
        self.flags(ledger, boxes)
        self.store(server)
        if ledger.refused:
            self.problem("refused: %s", ledger.refused[:3])
        self.boxes = boxes
        ledger.begin_round()
        return self.problems
