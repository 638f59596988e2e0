/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sts.h - MTA-STS (RFC 8461): policies by domain, fetched when the DNS record's id changes, kept in
 * memory and in the store for max_age. Floor 5 (smtp). Threads: loop only; the parsers any. A fetch
 * that fails leaves a policy in force that isn't over yet; without one the domain has none, and is
 * asked again after five minutes. */
#ifndef PH_SMTP_STS_H
#define PH_SMTP_STS_H
#include "appliance/io/http_client.h"
#include "smtp/client/tls_results.h"

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
struct sts_policy { /* RFC 8461 3.2; pure parser: text of the policy file */
    enum sts_mode mode;
    uint64_t max_age; /* s */
    struct str mx[64];
    size_t n_mx;
};
/* -1 ERR_PROTO: it is no policy. Views into text, or in a. */
int sts_parse(struct arena *a, struct str text, struct sts_policy *out, struct err *err)
    __attribute__((warn_unused_result));
/* The same as text again, as short as it can be. */
void sts_write(const struct sts_policy *p, struct buf *out);
bool sts_covers(const struct sts_policy *p, struct str mx);
/* id of "v=STSv1; id=...;" among TXT records; false: none, or several (RFC 8461 3.1). */
bool sts_record_id(const struct str *txt, size_t n, struct str *id_out);

struct sts;
/* Reads what the store has: blocks shortly. store NULL: in memory only. http NULL: nothing is
 * fetched. */
struct sts *sts_new(struct loop *l, struct resolver *r, struct http_client *h, struct store *store);
void sts_free(struct sts **s); /* every query must be answered or cancelled */

struct sts_answer {                  /* valid during the callback */
    const struct sts_policy *policy; /* in force; NULL: none (or its mode is none) */
    struct str text;
    enum tls_result_type failure; /* without a policy: TLS_RESULT_STS_* when there should be one */
};
struct sts_query;
/* domain: A-labels in lower case. on_answer once, later. */
struct sts_query *sts_find(struct sts *s, struct str domain,
                           void (*on_answer)(void *ctx, const struct sts_answer *a), void *ctx);
void sts_cancel(struct sts_query **q); /* NULL is fine */
#endif
