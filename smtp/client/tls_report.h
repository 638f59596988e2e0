/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls_report.h - reports about TLS: who wants them (RFC 8460 3), and what they say, as JSON (4).
 * Floor 5 (smtp). Threads: any (pure). */
#ifndef PH_SMTP_TLS_REPORT_H
#define PH_SMTP_TLS_REPORT_H
#include "appliance/base/buf.h"
#include "smtp/client/tls_results.h"

/* Is this TXT record of _smtp._tls.DOMAIN one? Then its list of URIs, for tls_rua_next(). Input is
 * hostile; views point into it. */
bool tls_rua_record(struct str txt, struct str *list_out);
bool tls_rua_next(struct str *rest, struct str *uri_out);

struct tls_report {
    struct str org, contact, id, domain;
    int64_t day;                   /* since 1970, UTC */
    const struct tls_result *rows; /* of that domain */
    size_t n;
};
/* Appends it. -1: it doesn't fit. */
int tls_report_write(const struct tls_report *r, struct buf *out)
    __attribute__((warn_unused_result));
#endif
