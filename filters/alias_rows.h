/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* alias_rows.h - the global aliases of alias.h: table `policy_alias` of the store's database.
 * Floor 4 (filters). Threads: reading on a thread with a connection; changes are an operation of
 * the store, after which the watchers of ALIAS_ROWS_WATCH are told. */
#ifndef PH_FILTERS_ALIAS_ROWS_H
#define PH_FILTERS_ALIAS_ROWS_H
#include "appliance/store/store.h"
#include "filters/alias.h"

/* No mailbox has this id: ids begin with the time. */
enum { ALIAS_ROWS_WATCH = 3 };

/* By name; at most ALIASES_MAX. */
int alias_rows_read(struct sql *db, struct arena *a, struct alias **out, size_t *n_out,
                    struct err *err) __attribute__((warn_unused_result));

/* Adds an alias, instead of the one of that name that may be there; or removes it
 * (ERR_WHY_NOT_FOUND). */
struct alias_change_op {
    struct store_op op;        /* run and cls are set; the caller submits it */
    const struct alias *alias; /* lives until it is answered */
    bool remove;
    bool replaced; /* out */
};
void alias_change_init(struct alias_change_op *c, const struct alias *alias, bool remove);

/* The set of all, kept up to date: loop only. */
struct live;
int alias_live_open(struct loop *l, struct store *s, struct live **out, struct err *err)
    __attribute__((warn_unused_result));                      /* blocking; s NULL: there are none */
const struct alias_set *alias_live_set(const struct live *l); /* until the loop turns */
#endif
