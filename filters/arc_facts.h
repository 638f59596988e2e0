/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_facts.h - what is told about an ARC chain: facts, and their reading by others.
 * Floor 4 (filters). Threads: any (pure). See README.md for the facts. */
#ifndef PH_FILTERS_ARC_FACTS_H
#define PH_FILTERS_ARC_FACTS_H
#include "filters/arc_chain.h"

enum { ARC_FACT_MAX = 4000 };

/* What an ARC-Authentication-Results claims. Empty: nothing. Views into it. */
struct arc_claims {
    struct str spf, dkim, dmarc; /* "pass"; dkim: of the best signature */
    struct str from;             /* the domain of From that dmarc is about */
};
void arc_claims_read(struct str value, struct arc_claims *out);

/* One entry of arc.sets. */
struct arc_told {
    struct str instance, domain;
    bool holds; /* the message is still as it was when this set was made */
    struct arc_claims claims;
};
/* Of a chain that passed: an entry a set from the newest, while there is room. */
void arc_facts_sets(const struct arc_chain *c, struct buf *out);
/* Takes the next entry off *rest. */
bool arc_facts_next(struct str *rest, struct arc_told *out);

/* The domains of the sealers, from the first, with blanks between them. */
void arc_facts_sealers(const struct arc_chain *c, struct buf *out);
/* For Authentication-Results (RFC 8617 10.2). */
void arc_facts_authres(const struct arc_chain *c, const char *client_ip, struct buf *out);
/* For a person. */
void arc_facts_words(const struct arc_chain *c, struct buf *out);
#endif
