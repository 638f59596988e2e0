/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_chain.h - the ARC sets of one message (RFC 8617): found, checked for their structure, given
 * their keys, verified. Floor 4 (filters). Threads: a chain belongs to one at a time: read and keys
 * on the loop, run on a lane (some 0.05 ms for a signature, and time for large messages). */
#ifndef PH_FILTERS_ARC_CHAIN_H
#define PH_FILTERS_ARC_CHAIN_H
#include "filters/dkim_check.h"

enum { ARC_SETS_MAX = 50, ARC_BITS_MIN = 1024 }; /* RFC 8617 4.2.1; 8301 3.2 */

enum arc_result {
    ARC_NONE, /* no sets */
    ARC_PASS,
    ARC_FAIL,
    ARC_TEMPERROR /* a key couldn't be had */
};
const char *arc_result_name(enum arc_result r); /* "pass" */

struct arc_field {
    struct str raw, value; /* raw: with its CRLF */
};
struct arc_set {
    struct arc_field results_field, message_field, seal_field; /* AAR, AMS, AS */
    struct dkim_one message, seal; /* result: DKIM_NONE where it isn't known yet */
};
struct arc_chain {
    struct arena *arena;
    struct arc_set *sets;   /* the first is i=1 */
    size_t n;               /* 0: none, or their structure is broken */
    unsigned highest;       /* i= of any field, also of a broken chain */
    bool ended;             /* the newest seal says that the chain is broken: nobody adds to it */
    unsigned oldest;        /* PASS: the first set from which on all AMS hold */
    enum arc_result result; /* PASS after arc_chain_read: so far */
    char why[DKIM_WHY];
};
/* Reads a head; copies what it keeps into the arena, which outlives it. now: s. */
void arc_chain_read(struct arc_chain *c, struct arena *a, struct str head, int64_t now);
/* The signatures that want a key, into list (of 2 * n). */
size_t arc_chain_open(struct arc_chain *c, struct dkim_one **list);
/* Verifies a chain that isn't known to be broken: all seals and the newest AMS, which must hold;
 * then the AMS before it, down to one that doesn't (RFC 8617 5.2). Blocks. */
void arc_chain_run(struct arc_chain *c, const struct dkim_message *m);
/* Adds the fields of the sets, from the first, in relaxed form: what a seal covers besides its own
 * set (RFC 8617 5.1.1). */
void arc_chain_text(const struct arc_chain *c, struct buf *out);
#endif
