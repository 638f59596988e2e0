/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_author.h - whose mail it claims to be: the domains of the From field (RFC 9989 5.3.1).
 * Floor 4 (filters). Threads: any (pure). Input is hostile. */
#ifndef PH_FILTERS_DMARC_AUTHOR_H
#define PH_FILTERS_DMARC_AUTHOR_H
#include "appliance/base/str.h"

enum { DMARC_AUTHORS = 4, DMARC_DOMAIN = 253 };
struct dmarc_domain {
    char z[DMARC_DOMAIN + 1]; /* A-labels, lower case, no final dot */
};
struct dmarc_authors {
    struct dmarc_domain at[DMARC_AUTHORS]; /* each once, as they come */
    size_t n;
    unsigned fields; /* how many From fields there are */
    bool more;       /* domains than there is room for */
    bool unclear;    /* an address whose domain can't be made out, or isn't one in the DNS */
};
/* All From fields, all addresses, those in groups, too. */
void dmarc_authors_find(struct str head, struct dmarc_authors *out);
/* A domain as mail has it to one as the DNS has it. False: it isn't one. */
bool dmarc_domain_fold(struct str in, struct dmarc_domain *out);
#endif
