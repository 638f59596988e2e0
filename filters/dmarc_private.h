/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_private.h - what the DNS has said in one evaluation, and the walk over it. Nobody but
 * dmarc_eval.c and dmarc_walk.c includes it. Floor 4 (filters). Threads: one at a time (pure). */
#ifndef PH_FILTERS_DMARC_PRIVATE_H
#define PH_FILTERS_DMARC_PRIVATE_H
#include "appliance/base/arena.h"
#include "filters/dmarc_eval.h"

enum dmarc_step {
    DMARC_STEP_DONE,
    DMARC_STEP_ASK,  /* known.missing, or an answer that is due */
    DMARC_STEP_ERROR /* the DNS didn't answer, or may not be asked more */
};
struct dmarc_name {
    struct str name;
    enum ph_dns_type type;
    bool due; /* it was asked for, and nothing else is known */
    bool error;
    bool present; /* TXT: has one valid record. A: exists */
    struct dmarc_record record;
    struct str text; /* of it */
};
struct dmarc_known {
    struct arena *arena;
    struct dmarc_name at[DMARC_NAMES];
    size_t n;
    struct dmarc_question missing; /* .name NULL: it was asked for */
};
/* The record of a domain, and whether it exists. Valid as long as `known`. */
enum dmarc_step dmarc_look(struct dmarc_known *k, const char *domain,
                           const struct dmarc_name **out);
enum dmarc_step dmarc_exists(struct dmarc_known *k, const char *domain,
                             const struct dmarc_name **out);
void dmarc_known_ask(struct dmarc_known *k, struct dmarc_question *out); /* `missing` */
void dmarc_known_put(struct dmarc_known *k, const struct dmarc_question *q,
                     const struct ph_dns_answer *a);

struct dmarc_org {
    const char *domain; /* organisational; both point into what was asked for */
    const char *suffix; /* the public suffix above it, where one says so; else NULL */
};
enum dmarc_step dmarc_find_org(struct dmarc_known *k, const char *domain, struct dmarc_org *out);
/* Puts the usable record with the fewest labels into v, whatever else can't be had. */
enum dmarc_step dmarc_find_any(struct dmarc_known *k, struct dmarc_verdict *v);
bool dmarc_within(const char *domain, const char *above); /* or the same */
bool dmarc_share_suffix(const char *a, const char *b);    /* at least the last label */
#endif
