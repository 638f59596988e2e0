/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_report.h - an SPF verdict in words: for the message, the client, the log.
 * Floor 4 (filters). Threads: any (pure). What others have said (sender, HELO, records) comes out
 * as visible ASCII. */
#ifndef PH_FILTERS_SPF_REPORT_H
#define PH_FILTERS_SPF_REPORT_H
#include "appliance/base/buf.h"
#include "filters/spf_eval.h"

enum { SPF_FIELD_LIMIT = 8192 };
struct spf_words {
    char reply[250];  /* of a refusal (RFC 7372 3.2); "" for results that aren't one */
    char reason[240]; /* "fail for example.com (-all)" */
};
/* The value of Received-SPF (RFC 7208 9.1), folded. */
void spf_report_field(const struct ph_view *view, const struct spf_verdict *v, bool helo,
                      struct buf *out);
void spf_report_words(const struct ph_view *view, const struct spf_verdict *v, bool helo,
                      struct spf_words *out);
#endif
