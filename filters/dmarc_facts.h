/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_facts.h - what the stages before have found out, read for DMARC; and its verdict in words.
 * Floor 4 (filters). Threads: loop only.
 * Read are spf.result and spf.domain; dkim.results (README.md; absent if nobody looked); arc.result
 * and arc.sets. */
#ifndef PH_FILTERS_DMARC_FACTS_H
#define PH_FILTERS_DMARC_FACTS_H
#include "filters/dmarc_eval.h"
#include "filters/dmarc_results.h"

struct dmarc_dkim {
    struct str result, domain, selector;
};
/* Takes the next signature off dkim.results. */
bool dmarc_dkim_next(struct str *rest, struct dmarc_dkim *out);

/* The identities of the request, and what wasn't checked. */
void dmarc_facts_read(const struct ph_host *host, ph_turn turn, struct dmarc_request *out);
/* They as they were, for dmarc_row.auth. */
void dmarc_facts_auth(const struct ph_host *host, struct ph_acts *acts, struct buf *out);

struct dmarc_outcome { /* what the stage makes of a verdict */
    enum ph_verdict verdict;
    enum dmarc_policy disposition;
    enum dmarc_override override;
};
void dmarc_facts_set(const struct ph_host *host, struct ph_acts *acts,
                     const struct dmarc_verdict *v, const struct dmarc_outcome *o);
struct dmarc_words {
    char reply[256], reason[256];
};
void dmarc_facts_words(const struct dmarc_verdict *v, const struct dmarc_outcome *o,
                       struct dmarc_words *out);
#endif
