/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_tags.h - the texts of DKIM: tag lists, a DKIM-Signature, a key record (RFC 6376 3.2, 3.5,
 * 3.6.1; 8301; 8463; 8616).
 * Floor 4 (filters). Threads: any (pure). Input is hostile; views into it, or memory of the arena.
 */
#ifndef PH_FILTERS_DKIM_TAGS_H
#define PH_FILTERS_DKIM_TAGS_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"

enum { DKIM_TAGS_MAX = 48, DKIM_FIELD_MAX = 16 << 10, DKIM_RECORD_MAX = 8 << 10 };

struct dkim_tag {
    struct str name, value; /* value: blanks and folds around it removed, those within are there */
};
/* -1: not a tag list, a name twice (RFC 6376 3.2), or more than DKIM_TAGS_MAX. */
int dkim_tags_parse(struct str text, struct dkim_tag tags[DKIM_TAGS_MAX], size_t *n_out,
                    struct err *err) __attribute__((warn_unused_result));
/* .p == NULL: it isn't there. */
struct str dkim_tags_get(const struct dkim_tag *tags, size_t n, const char *name);

/* As in RFC 8601 2.7.1, worst last, so that the least of several is the best of them. */
enum dkim_result {
    DKIM_PASS,
    DKIM_TEMPERROR, /* the key couldn't be had */
    DKIM_FAIL,      /* altered since it was signed */
    DKIM_POLICY,    /* in order, but not as we accept it */
    DKIM_NEUTRAL,   /* can't be judged */
    DKIM_PERMERROR, /* not as RFC 6376 demands, or without a key */
    DKIM_NONE       /* no signature */
};
const char *dkim_result_name(enum dkim_result r); /* "pass" */

enum dkim_key_type { DKIM_KEY_RSA, DKIM_KEY_ED25519 };
const char *dkim_key_type_name(enum dkim_key_type t); /* "rsa", "ed25519", as in k= */

/* Fields that sign: one of DKIM, and two of ARC (RFC 8617 4.1.2, 4.1.3). */
enum dkim_kind { DKIM_KIND_SIGNATURE, DKIM_KIND_ARC_MESSAGE, DKIM_KIND_ARC_SEAL };
struct dkim_signature {
    struct str domain, selector; /* lower-case A-labels */
    struct str identity;         /* i= as written; empty: none, which is @domain */
    struct str algorithm;        /* "rsa-sha256", as written */
    struct str mark;             /* the first 8 letters of b=: tells signatures apart (RFC 6008) */
    enum dkim_key_type type;
    struct str names, body_hash, value;                /* h=, bh=, b=, without blanks */
    struct str written;                                /* b= as it stands in the field */
    struct str cv;                                     /* ARC-Seal */
    unsigned instance;                                 /* ARC: i=; 0: it has none */
    bool relaxed_head, relaxed_body, has_length, utf8; /* utf8: something in it isn't ASCII */
    uint64_t length;                                   /* l= */
    int64_t signed_at, expires;                        /* t=, x=; 0: none */
    bool subdomain; /* the identity's domain is below the signing one */
};
/* The value of a DKIM-Signature field. DKIM_NONE: it can be verified. Else it can't, why_out (of
 * 120) says why, and what was understood until then is in *out. now: s, for x= and t=. */
enum dkim_result dkim_signature_parse(struct arena *a, struct str value, int64_t now,
                                      struct dkim_signature *out, char why_out[120]);

enum dkim_result dkim_kind_parse(struct arena *a, enum dkim_kind kind, struct str value,
                                 int64_t now, struct dkim_signature *out, char why_out[120]);

struct dkim_record {
    enum dkim_key_type type;
    struct str key;                      /* p= without blanks; empty: revoked */
    bool sha256, email, testing, strict; /* h=, s=, t=y, t=s */
};
/* A TXT record at SELECTOR._domainkey.DOMAIN. -1: none of a key, or a malformed one. */
int dkim_record_parse(struct arena *a, struct str text, struct dkim_record *out, struct err *err)
    __attribute__((warn_unused_result));

/* A selector: names between dots of letters, digits, '-' and '_'. Lower case. -1: it isn't one. */
int dkim_selector_parse(struct arena *a, struct str in, struct str *out)
    __attribute__((warn_unused_result));
#endif
