/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* vacation_text.h - may a message be answered by a program, and the answer. RFC 3834; RFC 5230 4.
 * Pure. Private to smtp/. Floor 5 (smtp). Threads: any. */
#ifndef PH_SMTP_VACATION_TEXT_H
#define PH_SMTP_VACATION_TEXT_H
#include "appliance/base/buf.h"
#include "appliance/directory/directory.h"
#include "appliance/mail/date.h"

/* Why not: one sentence; NULL: it may. head: of the message; own: addresses of the account, one of
 * which must be named as a recipient in it (each as written or folded). */
const char *vacation_forbidden(struct str head, struct str sender, const struct str *own, size_t n);

struct vacation {
    uint64_t id; /* of the answer */
    struct str from, to, hostname;
    struct date now;
    struct str head; /* of the message */
    const struct directory_notice *notice;
};
/* The whole answer, CRLF line ends, in ASCII. -1: out is full. */
int vacation_write(const struct vacation *v, struct buf *out) __attribute__((warn_unused_result));
#endif
