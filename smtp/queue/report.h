/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* report.h - delivery status notifications: the text of bounces, delay warnings and confirmations,
 * multipart/report. RFC 3461 6, 3462 (6522), 3464, 6533 (SMTPUTF8). Pure. Floor 5 (smtp). Threads:
 * any. */
#ifndef PH_SMTP_REPORT_H
#define PH_SMTP_REPORT_H
#include "appliance/base/buf.h"
#include "appliance/store/queue.h"

enum report_kind {
    REPORT_FAILED,
    REPORT_DELAYED,
    REPORT_DELIVERED,
    REPORT_RELAYED,
    REPORT_EXPANDED
};
struct report_rcpt {
    enum report_kind kind;
    struct str address, orcpt;
    char status[12];           /* RFC 3463 */
    struct str text;           /* for people: what happened, one line */
    struct str diagnostic;     /* the host's own reply; empty: none */
    struct str host;           /* Remote-MTA; empty: none */
    int64_t last_ms, until_ms; /* Last-Attempt-Date, Will-Retry-Until (DELAYED) */
};
struct report {
    uint64_t id;                            /* of the report: Message-ID, boundary */
    uint64_t about;                         /* of the message */
    struct str hostname, origin, to, envid; /* to: the sender it goes to */
    int64_t now_ms, arrived_ms;
    const struct report_rcpt *rcpts; /* those of one kind of report may be mixed */
    size_t n_rcpts;
    struct str head; /* of the message, with the fields that were put in front */
    struct str text; /* with `full`: all of it after the head */
    bool full;       /* RET=FULL and small enough: message/rfc822; else text/rfc822-headers */
    bool utf8;       /* the sender's host understands SMTPUTF8, and this needs it */
};
/* Appends the whole message, CRLF line ends, 7-bit unless utf8 or the original isn't (then the part
 * says 8bit). */
void report_write(const struct report *r, struct buf *out);
/* Does this recipient's NOTIFY want a report of that kind? (RFC 3461 4.1; absent: FAILURE, and
 * DELAY as we like) */
bool report_wanted(unsigned notify, enum report_kind kind);
#endif
