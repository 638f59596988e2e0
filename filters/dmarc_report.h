/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_report.h - the aggregate report of a domain, as XML (RFC 9990 3.1.1). Floor 4 (filters).
 * Threads: any (pure). */
#ifndef PH_FILTERS_DMARC_REPORT_H
#define PH_FILTERS_DMARC_REPORT_H
#include "filters/dmarc_results.h"

struct dmarc_report {
    struct str org, email, contact; /* contact: empty: none */
    struct str id, domain;
    int64_t day; /* since 1970, UTC */
    const struct dmarc_row *rows;
    size_t n;
};
/* The policy that most of the messages met: what a report can say of one only. Empty: none. */
struct str dmarc_report_record(const struct dmarc_row *rows, size_t n);
/* Appends it. Rows that find no room are left out, from the end; *told_out: how many are in it.
 * -1: there is room for none. */
int dmarc_report_write(const struct dmarc_report *r, struct buf *out, size_t *told_out)
    __attribute__((warn_unused_result));
#endif
