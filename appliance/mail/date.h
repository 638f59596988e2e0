/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* date.h - dates of headers (RFC 5322 3.3, obsolete forms read) and of IMAP (RFC 3501 date,
 * date-time). Floor 1 (mail). Threads: any (pure; no tz database is consulted, output is in the
 * zone given). */
#ifndef PH_MAIL_DATE_H
#define PH_MAIL_DATE_H
#include "appliance/base/buf.h"

struct date {
    int64_t at; /* seconds since 1970 UTC */
    int zone;   /* minutes east */
};
int date_parse(struct str in, struct date *out)
    __attribute__((warn_unused_result));         /* RFC 5322, lenient */
int date_format(struct date d, struct buf *out); /* "Fri, 20 Nov 2026 06:29:08 +0000" */
int date_imap_parse(struct str in, struct date *out)
    __attribute__((warn_unused_result)); /* " 1-Feb-1994 21:52:25 -0800" */
int date_imap_format(struct date d,
                     struct buf *out); /* "dd-Mon-yyyy hh:mm:ss +zzzz", day padded by a blank */
/* SEARCH's date ("1-Feb-1994") as days since 1970; the day of a date disregarding time and zone. */
int date_imap_day_parse(struct str in, int64_t *day_out) __attribute__((warn_unused_result));
int64_t date_day(struct date d);
#endif
