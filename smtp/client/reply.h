/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* reply.h - reads the replies of other servers (RFC 5321 4.2): bytes in, replies out.
 * Floor 5 (smtp). Threads: any (pure). The result doesn't depend on the pieces in which the bytes
 * arrive.
 * Bounded: of a line its first 1000 octets count, of a reply's text 32 KB; what is longer is cut. A
 * line over 64 KB or a reply of over 200 lines is no reply. A bare LF ends a line too: nothing can
 * be smuggled to who only listens. */
#ifndef PH_SMTP_CLIENT_REPLY_H
#define PH_SMTP_CLIENT_REPLY_H
#include "appliance/base/buf.h"

enum {
    SMTP_ANSWER_LINE = 1000, /* octets kept of a line, RFC 5321 4.5.3.1.5 and some */
    SMTP_ANSWER_LINE_MAX = 64 * 1024,
    SMTP_ANSWER_LINES = 200,
    SMTP_ANSWER_TEXT = 32 * 1024
};
enum smtp_answer_got {
    SMTP_ANSWER_MORE,  /* not whole yet */
    SMTP_ANSWER_WHOLE, /* code, status and text are valid until the next call */
    SMTP_ANSWER_BAD    /* this isn't SMTP: bad says why. The end, until smtp_answer_reset() */
};
struct smtp_answer {
    unsigned code;   /* 200..599 */
    char status[12]; /* RFC 2034: of the code's class; "": none */
    unsigned lines;
    struct buf text; /* without codes and statuses, printable; lines are separated by '\n' */
    const char *bad;
    /* private */
    bool over;
    char line[SMTP_ANSWER_LINE];
    size_t n, total;
};
void smtp_answer_init(struct smtp_answer *a);
void smtp_answer_fini(struct smtp_answer *a);
void smtp_answer_reset(struct smtp_answer *a); /* what was begun is forgotten */
/* Reads up to the end of one reply. Take *used_out bytes off the input, whatever the answer. */
enum smtp_answer_got smtp_answer_take(struct smtp_answer *a, struct str in, size_t *used_out);

/* Controls (C0, DEL, C1) and what isn't UTF-8 become '?'. */
void smtp_printable(struct str in, struct buf *out);
/* Into a fixed place, terminated, cut between characters; line ends become blanks. `in` is
 * printable but for these. */
void smtp_text_copy(char *out, size_t cap, struct str in);
/* "4.4.2" at the head of s; its length, 0: there is none, or not of this class. */
size_t smtp_status_at(struct str s, unsigned class);
#endif
