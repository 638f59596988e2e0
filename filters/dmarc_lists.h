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
/* Is it one of these domains, or below one? */
bool dmarc_lists_sealer(const struct dmarc_lists *l, const char *domain);
#endif
