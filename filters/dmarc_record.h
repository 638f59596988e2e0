/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_record.h - DMARC policy records (RFC 9989 4.7, 4.8). Floor 4 (filters). Threads: any
 * (pure). Nothing is allocated; views point into the record. Input is hostile. */
#ifndef PH_FILTERS_DMARC_RECORD_H
#define PH_FILTERS_DMARC_RECORD_H
#include "appliance/base/str.h"

enum dmarc_policy { DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT, DMARC_POLICIES };
enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };
struct dmarc_record {
    /* False: it says nothing that could be applied (4.10.1), though it counts in the tree walk. */
    bool usable;
    bool has_sp, has_np;
    enum dmarc_policy p, sp, np;
    bool test;                    /* t=y */
    bool strict_spf, strict_dkim; /* aspf=s, adkim=s */
    enum dmarc_psd psd;
    struct str rua, ruf, fo; /* as they are written; see dmarc_uri_next() */
};

/* Is this TXT record one (4.7: v=DMARC1 comes first)? What is wrong in the rest of it is left out
 * (4.8). pct=0 reads as t=y; pct, rf and ri are gone otherwise. */
bool dmarc_record_parse(struct str txt, struct dmarc_record *out);
/* What it asks for: of mail of the domain itself, or of one below it that exists, or not. */
enum dmarc_policy dmarc_record_policy(const struct dmarc_record *r, bool below, bool exists);
const char *dmarc_policy_name(enum dmarc_policy p); /* "none", "quarantine", "reject" */
/* The next address of rua or ruf that is a URI, without an obsolete size. False: no more. */
bool dmarc_uri_next(struct str *rest, struct str *uri_out);
#endif
