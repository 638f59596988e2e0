/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* live.h - rows of the store that are kept in memory as something that never changes: read at the
 * start, and anew, on lane store, whenever somebody has changed them. Floor 4 (filters). Threads:
 * loop; read() also on threads of the store. */
#ifndef PH_FILTERS_LIVE_H
#define PH_FILTERS_LIVE_H
#include "appliance/store/store.h"

struct sql;
struct live_kind {
    const char *name; /* for the log */
    uint64_t watch;   /* store_watch_add() */
    int (*read)(struct store_reader *r, void **out, struct err *err);
    void *(*empty)(void); /* as if there were no rows */
    void (*free)(void *set);
};
struct live;
/* Blocking; s NULL: there are none. kind lives as long as it. */
int live_open(struct loop *l, struct store *s, const struct live_kind *kind, struct live **out,
              struct err *err) __attribute__((warn_unused_result));
void live_close(struct live **l);
const void *live_set(const struct live *l); /* until the loop turns */
/* Before a row is added. count: the query; what: "rules". -1 ERR_WHY_LIMIT: there are max. */
int live_check_room(struct sql *db, const char *count, int max, const char *what, struct err *err)
    __attribute__((warn_unused_result));
#endif
