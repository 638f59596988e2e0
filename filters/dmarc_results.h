/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_results.h - counts of what DMARC came to, as aggregate reports tell it (RFC 9990 3.1.1): a
 * row for each day, policy domain, author domain, address and results. Floor 4 (filters). Threads:
 * loop; dmarc_results_read() with a reader. Counted in memory and written behind: what is lost in a
 * crash is the last minute. Rows are kept for DMARC_RESULTS_DAYS, DMARC_RESULTS_ROWS of a day at
 * most. */
#ifndef PH_FILTERS_DMARC_RESULTS_H
#define PH_FILTERS_DMARC_RESULTS_H
#include "filters/daily.h"
#include "filters/dmarc_record.h"

enum { DMARC_RESULTS_DAYS = 8, DMARC_RESULTS_ROWS = 100000 };
enum dmarc_override { /* why the disposition isn't what the domain asks for */
                      DMARC_OVERRIDE_NONE,
                      DMARC_OVERRIDE_TEST,      /* t=y */
                      DMARC_OVERRIDE_FORWARDER, /* dmarc.forwarders */
                      DMARC_OVERRIDE_LOCAL,     /* dmarc.action */
                      DMARC_OVERRIDES
};
const char *dmarc_override_name(enum dmarc_override o); /* "", "policy_test_mode", ... */

struct dmarc_row {
    struct str domain; /* of the policy */
    struct str record; /* the policy as published */
    struct str author; /* header_from */
    struct str ip;     /* source_ip */
    /* auth_results: "spf RESULT DOMAIN" or "dkim RESULT DOMAIN SELECTOR", a line each */
    struct str auth;
    enum dmarc_policy disposition;
    bool spf, dkim; /* aligned */
    enum dmarc_override override;
    uint64_t count; /* 0 counts as 1 in dmarc_results_note() */
};
struct dmarc_results;
struct dmarc_results *dmarc_results_new(struct loop *l, struct store *store); /* store: or NULL */
void dmarc_results_free(struct dmarc_results **r); /* writes what waits; blocks for one commit */
/* One message. What is given is copied. */
void dmarc_results_note(struct dmarc_results *r, const struct dmarc_row *one);
/* What is in the store of one day (days since 1970, UTC), by domain, at most max. In a. */
int dmarc_results_read(struct store_reader *reader, struct arena *a, int64_t day, size_t max,
                       struct dmarc_row **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* Those of one domain, the most frequent first, at most max, and as many as fit into `room` octets
 * of text. */
int dmarc_results_of(struct store_reader *reader, struct arena *a, int64_t day, struct str domain,
                     size_t max, size_t room, struct dmarc_row **out, size_t *n_out,
                     struct err *err) __attribute__((warn_unused_result));
extern const struct daily_table dmarc_results_daily;
#endif
