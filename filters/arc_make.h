/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_make.h - a new ARC set for a message (RFC 8617 5.1).
 * Floor 4 (filters). Threads: any; takes about a millisecond, and time for large messages. */
#ifndef PH_FILTERS_ARC_MAKE_H
#define PH_FILTERS_ARC_MAKE_H
#include "filters/arc_chain.h"
#include "filters/dkim_seal.h"

enum { ARC_FIELD_MAX = DKIM_FIELD_MAX - 100 }; /* a value; longer ones nobody would read */

struct arc_new {
    const struct dkim_signer *signer; /* this one only */
    unsigned instance;
    const char *cv;     /* "none", "pass" or "fail", which covers the new set only (5.1.2) */
    struct str results; /* the value of ARC-Authentication-Results, with its i= */
    int64_t now;        /* s */
};
/* The values of the two other fields, which go on top of it: ARC-Message-Signature, then ARC-Seal.
 * c: the chain as it is. */
int arc_make(struct arena *a, const struct arc_chain *c, const struct dkim_message *m,
             const struct arc_new *set, struct str *message_out, struct str *seal_out,
             struct err *err) __attribute__((warn_unused_result));
#endif
