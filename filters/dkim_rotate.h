/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_rotate.h - keys go on by themselves: published -> seen in the DNS -> waiting -> active ->
 * retiring -> retired (dkim_rows.h). A key takes over only when the DNS shows its record.
 * Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_DKIM_ROTATE_H
#define PH_FILTERS_DKIM_ROTATE_H
#include "appliance/io/resolver.h"
#include "filters/dkim_rows.h"

struct dkim_rotate_conf {
    uint64_t wait, retire, check; /* ms */
};
struct dkim_rotation;
/* resolver NULL: nothing can be seen in the DNS; only what is due goes on. */
struct dkim_rotation *dkim_rotation_new(struct loop *l, struct store *store,
                                        struct resolver *resolver,
                                        const struct dkim_rotate_conf *conf);
void dkim_rotation_conf(struct dkim_rotation *r, const struct dkim_rotate_conf *conf);
/* What the table holds now (copied); looks at once whether anything is to be done. */
void dkim_rotation_rows(struct dkim_rotation *r, const struct dkim_row *rows, size_t n);
void dkim_rotation_free(struct dkim_rotation **r);
#endif
