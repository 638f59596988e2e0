/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_private.h - what the files of the evaluator share. Nobody else includes it. Floor 4
 * (filters). */
#ifndef PH_FILTERS_SPF_PRIVATE_H
#define PH_FILTERS_SPF_PRIVATE_H
#include "appliance/base/arena.h"
#include "filters/spf_eval.h"
#include "filters/spf_macro.h"
#include "filters/spf_record.h"

/* RFC 7208 4.6.4 */
enum { LOOKUPS_MAX = 10, VOIDS_MAX = 2, NAMES_MAX = 10, DEPTH_MAX = LOOKUPS_MAX + 1 };
enum { EXPLANATION_MAX = 1024 };

enum step { /* what to do with the answer that we wait for */
            ON_RECORD,
            ON_A,
            ON_MX,
            ON_MX_ADDRESS,
            ON_EXISTS,
            ON_PTR,
            ON_PTR_ADDRESS,
            ON_EXPLANATION
};
enum outcome { NO_MATCH, MATCH, WAIT }; /* WAIT: a question was put, or all is decided */

struct names {
    struct str at[NAMES_MAX];
    size_t n, next;
};
struct frame { /* a domain and its record; above the first: an include */
    struct str domain;
    struct spf_record record;
    struct str rest;      /* of its terms */
    struct spf_term term; /* under way */
};
struct spf {
    struct arena *arena;
    struct spf_macros macros;
    uint8_t ip[16]; /* as client_parse() has it */
    struct frame frames[DEPTH_MAX];
    size_t depth; /* index of the uppermost */
    bool redirected;
    unsigned lookups, voids;
    struct names mx, ptr;   /* ptr: the client's, as the DNS says */
    struct names validated; /* those of them that lead back to it */
    bool validated_known;
    enum outcome (*resume)(struct spf *s); /* once they are */
    struct str explanation;                /* before macros are expanded */
    bool asking;
    enum step step;
    struct spf_question question;
    struct spf_verdict verdict;
};

static inline struct frame *spf_top(struct spf *s)
{
    return &s->frames[s->depth];
}

/* ---- spf_eval.c. WAIT: so that callers can return it. */
enum outcome spf_decide(struct spf *s, enum spf_result result);
enum outcome spf_decide_why(struct spf *s, enum spf_result result, const char *why,
                            struct str what);
enum outcome spf_no_answer(struct spf *s, const struct ph_dns_answer *a); /* of failed ones */
bool spf_failed(const struct ph_dns_answer *a);
enum outcome spf_ask(struct spf *s, enum step step, enum ph_dns_type type, struct str name);
enum outcome spf_ask_record(struct spf *s, struct str domain);
/* 4.6.4: one more term that asks, or one that led nowhere. WAIT: that was too much. */
enum outcome spf_count_lookup(struct spf *s, struct str term);
bool spf_too_many_voids(struct spf *s, const struct ph_dns_answer *a);

/* ---- spf_names.c: the client's names, and what macros make of a domain-spec. */
/* Asks for them; s->resume follows when they are known. */
enum outcome spf_ask_names(struct spf *s, enum outcome (*resume)(struct spf *s));
enum outcome spf_on_ptr(struct spf *s, const struct ph_dns_answer *a);
enum outcome spf_on_ptr_address(struct spf *s, const struct ph_dns_answer *a);
/* The first 10 of an answer. */
void spf_keep_names(struct spf *s, const struct ph_dns_answer *a, struct names *to);
bool spf_is_under(struct str name, struct str domain);
/* False: %{p} has to be found out first. */
bool spf_ready_for(struct spf *s, struct str spec);
void spf_set_macros(struct spf *s);
/* False: nothing that could be in the DNS. */
bool spf_target(struct spf *s, struct str spec, struct str *out);

/* ---- spf_terms.c: mechanisms. */
enum outcome spf_try_term(struct spf *s, const struct spf_term *t);
bool spf_has_address(const struct spf *s, const struct ph_dns_answer *a, const struct spf_term *t);
enum outcome spf_ask_addresses(struct spf *s, enum step step, struct str name);
enum outcome spf_on_a(struct spf *s, const struct ph_dns_answer *a);
enum outcome spf_on_mx(struct spf *s, const struct ph_dns_answer *a);
enum outcome spf_on_mx_address(struct spf *s, const struct ph_dns_answer *a);
enum outcome spf_on_exists(struct spf *s, const struct ph_dns_answer *a);
#endif
