/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The rules as they are now. */
#include "appliance/base/clock.h"
#include "filters/live.h"
#include "filters/policy_rows.h"

static int read_set(struct store_reader *r, void **out, struct err *err)
{
    struct arena *a = arena_new(0);
    struct policy_rule *rules;
    size_t n;
    int rc = policy_rows_read(store_reader_sql(r), a, clock_wall_ms() / 1000, &rules, &n, err);

    if (rc == 0)
        *out = policy_set_new(rules, n);
    arena_free(&a);
    return rc;
}

static void *empty_set(void)
{
    return policy_set_new(NULL, 0);
}

static void free_set(void *set)
{
    struct policy_set *s = set;

    policy_set_free(&s);
}

static const struct live_kind kind = {.name = "policy",
                                      .watch = POLICY_ROWS_WATCH,
                                      .read = read_set,
                                      .empty = empty_set,
                                      .free = free_set};

int policy_live_open(struct loop *loop, struct store *s, struct live **out, struct err *err)
{
    return live_open(loop, s, &kind, out, err);
}

const struct policy_set *policy_live_set(const struct live *l)
{
    return live_set(l);
}
