/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* daily.h - tables of counts by day and domain, of which a report is made once the day is over:
 * what is due, and what has been told. Floor 4 (filters). Threads: as said. */
#ifndef PH_FILTERS_DAILY_H
#define PH_FILTERS_DAILY_H
#include "appliance/store/store.h"

struct daily_table {
    const char *name, *count; /* "dmarc_result"; the column that is counted in: "messages" */
};
struct daily {   /* the rows of a domain of one day */
    int64_t day; /* since 1970, UTC */
    struct str domain;
    uint64_t rows, count;
};
/* Of days before `before`, those behind (after_day, after), by day and domain, at most max. In a.
 * With a reader. */
int daily_due(struct store_reader *r, struct arena *a, const struct daily_table *t, int64_t before,
              const struct daily *after, size_t max, struct daily **out, size_t *n_out,
              struct err *err) __attribute__((warn_unused_result));
/* The one; out->rows is 0 when there is nothing. */
int daily_of(struct store_reader *r, const struct daily_table *t, int64_t day, struct str domain,
             struct daily *out, struct err *err) __attribute__((warn_unused_result));
/* Within an operation. Removes them. -1 ERR_WHY_NOT_FOUND: they aren't what they were: somebody
 * else has removed them, or counts were added meanwhile. */
int daily_forget_tx(struct store_tx *tx, const struct daily_table *t, const struct daily *d,
                    struct err *err) __attribute__((warn_unused_result));
#endif
