/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* reply.h - the text of replies: code, enhanced status (RFC 2034, 3463), one or several lines.
 * Floor 5 (smtp). Threads: any (pure). */
#ifndef PH_SMTP_REPLY_H
#define PH_SMTP_REPLY_H
#include "appliance/base/buf.h"

/* Why something is refused, as parsers and checks say it. */
struct smtp_refusal {
    unsigned code;      /* 0: not refused */
    const char *status; /* "5.1.1" */
    char text[256];
};
/* return smtp_refuse(why, 501, "5.5.4", "..."); gives -1 */
int smtp_refuse(struct smtp_refusal *why, unsigned code, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));

/* Each line of text (separated by '\n') becomes a reply line of at most 512 octets (RFC
 * 5321 4.5.3.1.5) with the code and, unless NULL, the status. Controls become '?', and so does what
 * isn't ASCII unless utf8 (RFC 6531 3.7.4.2). */
void smtp_reply_format(struct buf *out, unsigned code, const char *status, struct str text,
                       bool utf8);
#endif
