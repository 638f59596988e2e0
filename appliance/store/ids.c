/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* ids.c - 64-bit ids: 42 bit ms, 6 bit node, 16 bit counter. new = max(clock, last issued + 1,
 * highest in the database + 1), so they never go back, whatever the clock does. The ms count from
 * 2020: 2^63, SQL's largest integer, is reached in 2089. */
#include "appliance/store/node.h"

#define IDS_EPOCH_MS INT64_C(1577836800000) /* 2020-01-01 UTC */
enum { IDS_MS_SHIFT = 22, IDS_NODE_SHIFT = 16, IDS_NODE_MASK = 0x3f, IDS_COUNTER_MASK = 0xffff };

static uint64_t first_of_ms(uint64_t ms, unsigned node)
{
    return ms << IDS_MS_SHIFT | (uint64_t)node << IDS_NODE_SHIFT;
}

uint64_t ids_first_at(int64_t wall_ms)
{
    return wall_ms > IDS_EPOCH_MS ? first_of_ms((uint64_t)(wall_ms - IDS_EPOCH_MS), 0) : 0;
}

uint64_t store_id_at(int64_t wall_ms)
{
    return ids_first_at(wall_ms);
}

/* The next one of this node. `last` may be another one's: the highest in the database. */
static uint64_t successor(uint64_t last, unsigned node)
{
    uint64_t in_same_ms = first_of_ms(last >> IDS_MS_SHIFT, node);

    if (in_same_ms > last)
        return in_same_ms;
    if ((last >> IDS_NODE_SHIFT & IDS_NODE_MASK) != node ||
        (last & IDS_COUNTER_MASK) == IDS_COUNTER_MASK)
        return first_of_ms((last >> IDS_MS_SHIFT) + 1, node);
    return last + 1;
}

uint64_t store_new_id(struct store *s)
{
    unsigned node = node_number(s);
    uint64_t now = ids_first_at(clock_wall_ms()) | (uint64_t)node << IDS_NODE_SHIFT;
    uint64_t last = atomic_load_explicit(&s->last_id, memory_order_relaxed), id;

    do {
        id = now > last ? now : successor(last, node);
    } while (!atomic_compare_exchange_weak(&s->last_id, &last, id));
    return id;
}

static int raise_to_max(struct store *s, struct sql *db, const char *text, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, text, &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    if (rc == 1 && (uint64_t)sql_int(st, 0) > atomic_load(&s->last_id))
        atomic_store(&s->last_id, (uint64_t)sql_int(st, 0));
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int ids_open(struct store *s, struct sql *db, struct err *err)
{
    static const char *const highest[] = {"SELECT MAX(id) FROM body", "SELECT MAX(id) FROM account",
                                          "SELECT MAX(detached) FROM account",
                                          "SELECT MAX(id) FROM mailbox",
                                          "SELECT MAX(id) FROM queue"};

    for (size_t i = 0; i < ARRAY_LEN(highest); i++) {
        if (raise_to_max(s, db, highest[i], err) != 0)
            return -1;
    }
    return 0;
}
