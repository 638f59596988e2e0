/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls_results.h - with what TLS mail left, counted by day, domain and host as TLSRPT reports it
 * (RFC 8460). Floor 5 (smtp). Threads: loop only; tls_results_read() with a reader. Counted in
 * memory and written behind: what is lost in a crash is the last minute. Rows are kept for
 * TLS_RESULTS_DAYS. */
#ifndef PH_SMTP_TLS_RESULTS_H
#define PH_SMTP_TLS_RESULTS_H
#include "filters/daily.h"

enum { TLS_RESULTS_DAYS = 8 };
enum tls_result_type { /* RFC 8460 4.3 */
                       TLS_RESULT_SUCCESS,
                       TLS_RESULT_STARTTLS_NOT_SUPPORTED,
                       TLS_RESULT_CERTIFICATE_HOST_MISMATCH,
                       TLS_RESULT_CERTIFICATE_EXPIRED,
                       TLS_RESULT_CERTIFICATE_NOT_TRUSTED,
                       TLS_RESULT_VALIDATION_FAILURE,
                       TLS_RESULT_TLSA_INVALID,
                       TLS_RESULT_DNSSEC_INVALID,
                       TLS_RESULT_DANE_REQUIRED,
                       TLS_RESULT_STS_POLICY_FETCH_ERROR,
                       TLS_RESULT_STS_POLICY_INVALID,
                       TLS_RESULT_STS_WEBPKI_INVALID,
                       TLS_RESULT_TYPES
};
/* "success", "starttls-not-supported", ... */
const char *tls_result_name(enum tls_result_type type);
enum tls_result_policy { TLS_POLICY_NONE, TLS_POLICY_STS, TLS_POLICY_TLSA };
const char *tls_policy_name(enum tls_result_policy p); /* "no-policy-found", "sts", "tlsa" */

struct tls_result {
    struct str domain; /* the policy's, in A-labels */
    struct str mx;     /* empty: none was tried */
    struct str policy; /* text: lines of the policy file, TLSA records; empty: none */
    enum tls_result_policy kind;
    enum tls_result_type type;
    uint64_t count; /* of sessions; 0 counts as 1 in tls_results_note() */
};
struct tls_results;
struct tls_results *tls_results_new(struct loop *l, struct store *store); /* store: may be NULL */
void tls_results_free(struct tls_results **r); /* writes what waits; blocks for one commit */
/* One session, or a host that must not be used. What is given is copied. */
void tls_results_note(struct tls_results *r, const struct tls_result *one);
/* What is in the store of one day (days since 1970, UTC), by domain, at most max. In a. */
int tls_results_read(struct store_reader *reader, struct arena *a, int64_t day, size_t max,
                     struct tls_result **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* Those of one domain, at most max. */
int tls_results_of(struct store_reader *reader, struct arena *a, int64_t day, struct str domain,
                   size_t max, struct tls_result **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
extern const struct daily_table tls_results_daily;
#endif
