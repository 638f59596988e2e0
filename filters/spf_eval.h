/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_eval.h - check_host() of RFC 7208 4: may this address send for this domain?
 * Floor 4 (filters). Threads: any, one at a time (pure: whoever runs it asks the DNS for it).
 *     struct spf *s = spf_new(&request);
 *     while (spf_question(s, &q)) ... ask, wait ... spf_answer(s, &answer);
 *     spf_verdict(s)
 * One question at a time. Bounded by RFC 7208 4.6.4: 10 terms that ask, 10 names of an MX or PTR,
 * 2 terms without an answer; and by the length of the records. The asker bounds time: a question
 * it has no time for is answered by PH_DNS_FAILED (temperror). */
#ifndef PH_FILTERS_SPF_EVAL_H
#define PH_FILTERS_SPF_EVAL_H
#include "appliance/base/str.h"
#include "filters/stage.h"

enum spf_result {
    SPF_NONE,
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR,
    SPF_RESULTS
};
const char *spf_result_name(enum spf_result r);

struct spf_request {     /* copied */
    const char *ip;      /* of the client; ::ffff:a.b.c.d is IPv4 */
    struct str helo;     /* as the client said it */
    struct str sender;   /* "local@domain"; empty: postmaster@HELO (2.4) */
    struct str receiver; /* our name, for explanations */
    uint64_t now;        /* s since 1970, for explanations */
};
struct spf_verdict { /* a NUL follows each text */
    enum spf_result result;
    struct str domain;      /* that was asked about */
    struct str mechanism;   /* of its record, that decided: "ip4:192.0.2.0/24"; or empty */
    struct str problem;     /* temperror, permerror: why */
    struct str explanation; /* fail: visible ASCII and blanks, or empty (6.2) */
};
struct spf;
struct spf *spf_new(const struct spf_request *r);
void spf_free(struct spf **s);
struct spf_question {
    enum ph_dns_type type;
    const char *name; /* lives until it is answered */
};
bool spf_question(const struct spf *s, struct spf_question *out); /* false: it is decided */
void spf_answer(struct spf *s, const struct ph_dns_answer *a);
const struct spf_verdict *spf_verdict(const struct spf *s); /* NULL: not yet */
#endif
