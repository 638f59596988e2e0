/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_keys.h - the keys that sign now, for a stage: read when it opens, and again after each
 * change of table `dkim_key`. Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_DKIM_KEYS_H
#define PH_FILTERS_DKIM_KEYS_H
#include "filters/dkim_ring.h"
#include "filters/stage.h"

struct dkim_keys;
/* Blocking. store NULL: there are never any. on_rows (or NULL): what the table holds, each time it
 * was read, first before this returns; without private keys. */
int dkim_keys_open(const struct ph_host *host, struct store *store,
                   void (*on_rows)(void *ctx, const struct dkim_row *rows, size_t n), void *ctx,
                   struct dkim_keys **out, struct err *err) __attribute__((warn_unused_result));
void dkim_keys_close(struct dkim_keys **k); /* when the stage closes */
/* As it is now; NULL: nothing was read. Who keeps it takes a reference. */
struct dkim_ring *dkim_keys_ring(const struct dkim_keys *k);
#endif
