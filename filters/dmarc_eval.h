/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_eval.h - RFC 9989: policy discovery, organisational domains by DNS tree walk, alignment,
 * and what they come to. It asks nobody itself: what the DNS has said is kept, and whatever isn't
 * known yet is a question. Floor 4 (filters). Threads: one at a time (pure). What a request points
 * to must live as long. */
#ifndef PH_FILTERS_DMARC_EVAL_H
#define PH_FILTERS_DMARC_EVAL_H
#include "filters/dmarc_author.h"
#include "filters/dmarc_record.h"
#include "filters/stage.h"

enum dmarc_result { /* RFC 8601 2.7, RFC 9989 9.2 */
                    DMARC_RESULT_NONE,
                    DMARC_RESULT_PASS,
                    DMARC_RESULT_FAIL,
                    DMARC_RESULT_TEMPERROR,
                    DMARC_RESULT_PERMERROR,
                    DMARC_RESULTS
};
const char *dmarc_result_name(enum dmarc_result r);

enum { DMARC_IDENTITIES = 24, DMARC_NAMES = 96, DMARC_RECORD_LIMIT = 4096 };
struct dmarc_identity { /* a domain that authentication is about */
    bool dkim;          /* else SPF */
    bool pass;          /* else it couldn't be had (temperror); what failed is none */
    struct dmarc_domain domain;
};
struct dmarc_request {
    struct dmarc_authors authors;
    struct dmarc_identity ids[DMARC_IDENTITIES];
    size_t n_ids;
    const char *unchecked; /* NULL, or what should have been authenticated and wasn't */
};
struct dmarc_verdict {
    enum dmarc_result result;
    const char *author;                /* "" : there is none */
    const char *domain;                /* where the record was; "": none */
    const struct dmarc_record *record; /* or NULL */
    struct str text;                   /* of it */
    enum dmarc_policy asked, policy;   /* policy: one level softer than asked where t=y */
    bool spf, dkim;                    /* in alignment */
    const char *problem;               /* TEMPERROR, PERMERROR */
    bool unchecked;                    /* TEMPERROR: as the request says; no fault of anybody's */
    bool no_author; /* whose mail this claims to be isn't clear, or of several authors one couldn't
                       be looked at */
};
struct dmarc_question {
    enum ph_dns_type type;
    const char *name; /* lives as long as the evaluation */
};
enum dmarc_next { DMARC_NEXT_DECIDED, DMARC_NEXT_ASK, DMARC_NEXT_WAIT };

struct dmarc;
struct dmarc *dmarc_new(const struct dmarc_request *request); /* copies it */
void dmarc_free(struct dmarc **d);
/* ASK: *out is to be asked, and dmarc_answer() told, now or later; meanwhile there may be other
 * questions: each author has one at a time, and the first is for its own record, so that one whose
 * name servers are silent doesn't take the time of the others. WAIT: there are none before an
 * answer. DECIDED: dmarc_verdict() knows. */
enum dmarc_next dmarc_question(struct dmarc *d, struct dmarc_question *out);
void dmarc_answer(struct dmarc *d, const struct dmarc_question *q, const struct ph_dns_answer *a);
/* Of several authors that for which it comes out worst (11.5). Lives as long as d. */
const struct dmarc_verdict *dmarc_verdict(const struct dmarc *d);
#endif
