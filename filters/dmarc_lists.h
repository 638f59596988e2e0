/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_lists.h - who isn't checked by DMARC, and who may forward what fails.
 * Floor 4 (filters). Threads: any, once read (immutable). */
#ifndef PH_FILTERS_DMARC_LISTS_H
#define PH_FILTERS_DMARC_LISTS_H
#include "appliance/base/cidr.h"
#include "filters/dmarc_author.h"

struct dmarc_lists {
    struct cidr_set skip, networks; /* networks: of forwarders */
    struct dmarc_domain *sealers;   /* forwarders by the domain of their ARC seal */
    size_t n_sealers;
};
/* Both as settings have lists; forwarders: networks and domains. -1: says which is wrong. */
int dmarc_lists_read(const char *skip, const char *forwarders, struct dmarc_lists *out,
                     struct err *err) __attribute__((warn_unused_result));
void dmarc_lists_free(struct dmarc_lists *l); /* zeroed ones, too */
/* Does a trusted forwarder vouch for the message in an ARC chain that is in order (fact arc.sets)?
 * It must have found that it passed DMARC for this author, and either the message must still be as
 * it sealed it, or only trusted ones have had it since. */
bool dmarc_lists_vouched(const struct dmarc_lists *l, const char *arc_sets, const char *author);
#endif
