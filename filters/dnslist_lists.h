/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dnslist_lists.h - the lists in use, and whether they work: each is asked for the entries that it
 * must and must not have (RFC 5782 5) at the start and from time to time. One that lists everything
 * or nothing, or doesn't answer this server, is off until it does better.
 * Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_DNSLIST_LISTS_H
#define PH_FILTERS_DNSLIST_LISTS_H
#include "filters/dnslist_rules.h"
#include "filters/stage.h"

enum dnslist_outcome { DNSLIST_YES, DNSLIST_NO, DNSLIST_UNANSWERED, DNSLIST_OUTCOMES };
struct dnslist_test;
struct dnslist_list {
    struct dnslist_zone zone;
    bool v4, v6;     /* asked about such clients; v4 stands for domain names as well */
    char why[120];   /* why it is asked about nobody */
    uint64_t due_ms; /* of the next test */
    uint64_t warned_ms;
    struct dnslist_test *test; /* under way */
    size_t metrics[DNSLIST_OUTCOMES];
};
struct dnslist_lists {
    unsigned refs;
    size_t n;
    struct dnslist_list at[];
};
/* untested: all are taken as good, and never tested. */
struct dnslist_lists *dnslist_lists_new(const char *lists, const char *domain_lists, bool untested,
                                        struct err *err);
struct dnslist_lists *dnslist_lists_ref(struct dnslist_lists *l);
void dnslist_lists_unref(struct dnslist_lists **l);
/* What was found out of a list that both have. */
void dnslist_lists_inherit(struct dnslist_lists *l, const struct dnslist_lists *from);

/* Begins the tests that are due; the next ones are `every_ms` later. */
void dnslist_test_due(struct dnslist_lists *l, const struct ph_host *host, uint64_t every_ms);
void dnslist_test_stop(struct dnslist_lists *l); /* those under way */

/* An answer of a list: DNSLIST_YES with the weight it comes to and what it was; counted. One that
 * no list gives is DNSLIST_UNANSWERED, and is told to the log once an hour. */
enum dnslist_outcome dnslist_take(struct dnslist_list *list, const struct ph_host *host,
                                  const struct ph_dns_answer *a, int *weight_out,
                                  uint8_t answer_out[4]);
#endif
