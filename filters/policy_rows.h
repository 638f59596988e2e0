/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy_rows.h - the rules of policy_rules.h: table `policy_rule` of the store's database.
 * Floor 4 (filters). Threads: reading on a thread with a connection; changes are an operation of
 * the store, after which the watchers of POLICY_ROWS_WATCH are told (store_watch_add). */
#ifndef PH_FILTERS_POLICY_ROWS_H
#define PH_FILTERS_POLICY_ROWS_H
#include "appliance/store/store.h"
#include "filters/policy_rules.h"

/* No mailbox has this id: ids begin with the time. */
enum { POLICY_ROWS_WATCH = 2 };

/* By scope, kind and value, those that haven't expired at `now` (s); at most POLICY_RULES_MAX. */
int policy_rows_read(struct sql *db, struct arena *a, int64_t now, struct policy_rule **out,
                     size_t *n_out, struct err *err) __attribute__((warn_unused_result));

/* Adds a rule, instead of the one for the same that may be there; or removes it
 * (ERR_WHY_NOT_FOUND). Those that have expired go, too. */
struct policy_change_op {
    struct store_op op;             /* run and cls are set; the caller submits it */
    const struct policy_rule *rule; /* lives until it is answered */
    bool remove;
    int64_t now;   /* s */
    bool replaced; /* out */
};
void policy_change_init(struct policy_change_op *c, const struct policy_rule *rule, bool remove);

/* The set of all, kept up to date: loop only. */
struct live; /* live.h */
int policy_live_open(struct loop *l, struct store *s, struct live **out, struct err *err)
    __attribute__((warn_unused_result)); /* blocking; s NULL: there are none */
const struct policy_set *policy_live_set(const struct live *l); /* until the loop turns */
#endif
