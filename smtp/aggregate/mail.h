/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mail.h - the mail that a report travels in (RFC 9990 3.3.2, RFC 8460 5.3). Private to this
 * folder. Pure. Floor 5 (smtp). Threads: any. */
#ifndef PH_SMTP_AGGREGATE_MAIL_H
#define PH_SMTP_AGGREGATE_MAIL_H
#include "appliance/base/buf.h"

enum aggregate_kind { AGGREGATE_DMARC, AGGREGATE_TLS, AGGREGATE_KINDS };
enum { AGGREGATE_FILE_MAX = 640 << 10 }; /* of a packed report: its mail is less than NOTICE_MAX */
struct aggregate_mail {
    enum aggregate_kind kind;
    uint64_t id;
    struct str domain, submitter; /* whom it is about; who reports */
    struct str from;
    const struct str *to;
    size_t n_to;
    int64_t now_ms, day; /* day: since 1970, UTC */
    struct str file;     /* packed by gzip */
};
/* What the file calls the report. */
void aggregate_report_id(enum aggregate_kind kind, uint64_t id, struct str submitter,
                         struct buf *out);
void aggregate_mail_write(const struct aggregate_mail *m, struct buf *out);
#endif
