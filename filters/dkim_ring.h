/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_ring.h - the keys that sign now, by domain: an unchangeable picture of table `dkim_key`.
 * Floor 4 (filters). Threads: made on any; references are counted on the loop; keys used on any. */
#ifndef PH_FILTERS_DKIM_RING_H
#define PH_FILTERS_DKIM_RING_H
#include "filters/dkim_rows.h"
#include "filters/dkim_seal.h"

struct dkim_ring;
/* From the rows read with their private keys, which it wipes. Keys that can't be read are left out
 * and logged. */
struct dkim_ring *dkim_ring_new(struct dkim_row *rows, size_t n);
struct dkim_ring *dkim_ring_ref(struct dkim_ring *r);
void dkim_ring_unref(struct dkim_ring **r);
/* Who signs for this author's domain: its own keys, or those of the nearest domain above it. NULL:
 * nobody. They live as long as the ring. */
const struct dkim_signer *dkim_ring_find(const struct dkim_ring *r, struct str domain);
#endif
