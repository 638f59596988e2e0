/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_rua.h - who gets the aggregate reports about a domain: the addresses that its policy names,
 * as far as those elsewhere agree (RFC 9990 4). Only mailto: is known. It asks nobody itself:
 * whatever isn't known yet is a question. Floor 4 (filters). Threads: one at a time (pure). */
#ifndef PH_FILTERS_DMARC_RUA_H
#define PH_FILTERS_DMARC_RUA_H
#include "filters/dmarc_eval.h"
#include "filters/mailto.h"

enum { DMARC_RUA_MAX = 5 }; /* addresses of a policy that are looked at */
enum dmarc_rua_state {
    DMARC_RUA_OPEN,
    DMARC_RUA_TAKES,
    DMARC_RUA_REFUSES, /* it is elsewhere, and says nothing of that domain */
    DMARC_RUA_UNKNOWN  /* the DNS doesn't answer */
};
struct dmarc_rua_to {
    struct mailto to;
    enum dmarc_rua_state state;
};
struct dmarc_rua;
/* domain: where the policy was found, as the DNS has it; list: its rua. Both are copied. */
struct dmarc_rua *dmarc_rua_new(const char *domain, struct str list);
void dmarc_rua_free(struct dmarc_rua **r);
/* True: *out is to be asked, and dmarc_rua_answer() told. False: no address is OPEN any more. */
bool dmarc_rua_question(struct dmarc_rua *r, struct dmarc_question *out);
void dmarc_rua_answer(struct dmarc_rua *r, const struct ph_dns_answer *a);
const struct dmarc_rua_to *dmarc_rua_list(const struct dmarc_rua *r, size_t *n_out);
#endif
