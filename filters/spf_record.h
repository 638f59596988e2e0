/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_record.h - SPF records (RFC 7208 4.5, 4.6.1, 5, 6, 12), read term by term.
 * Floor 4 (filters). Threads: any (pure). Nothing is allocated; views point into the record. */
#ifndef PH_FILTERS_SPF_RECORD_H
#define PH_FILTERS_SPF_RECORD_H
#include "appliance/base/str.h"

enum spf_kind {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT,
    SPF_EXP,
    SPF_UNKNOWN /* a modifier */
};
struct spf_term {
    enum spf_kind kind;
    char qualifier;        /* '+', '-', '~', '?'; of mechanisms */
    struct str text;       /* all of it */
    struct str spec;       /* domain-spec, checked; empty where none is given */
    unsigned bits4, bits6; /* 32, 128 where none is given */
    uint8_t ip[16];        /* SPF_IP4 (the first 4), SPF_IP6 */
};
struct spf_record {
    struct str terms, redirect, exp; /* the latter two: domain-specs, or empty */
};

/* Is this TXT record one of ours (4.5)? *terms_out is what follows the version. */
bool spf_record_is(struct str txt, struct str *terms_out);
/* Takes the next term. 1: *out is it. 0: there is none. -1: a syntax error, in out->text. */
int spf_term_next(struct str *rest, struct spf_term *out) __attribute__((warn_unused_result));
/* Checks all terms: "any syntax errors anywhere MUST be detected" (4.6). -1: *wrong_out is the
 * term. */
int spf_record_check(struct str terms, struct spf_record *out, struct str *wrong_out)
    __attribute__((warn_unused_result));
#endif
