/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_flight.c - which recipients are in memory. A load reads a state of the store that may be
 * older than a result recorded meanwhile; so a settled recipient is remembered until every load
 * that began before is over, and is never sent again from such a state. */
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

struct row {
    struct list link; /* in `ended` */
    struct {
        uint64_t id;
        uint64_t n;
    } key;
    uint64_t ended; /* seq; 0: in flight */
};

void flight_init(struct flight *f)
{
    *f = (struct flight){.rows = map_new(), .seq = 1};
    list_init(&f->ended);
    list_init(&f->loads);
}

static void forget(struct flight *f, struct row *r)
{
    list_del(&r->link);
    map_del(f->rows, str_of(&r->key, sizeof r->key));
    mem_free(r);
}

void flight_fini(struct flight *f)
{
    LIST_EACH(&f->ended, it)
    forget(f, LIST_ITEM(it, struct row, link));
    CHECK(map_count(f->rows) == 0);
    map_free(&f->rows);
}

bool flight_add(struct flight *f, uint64_t id, uint32_t n)
{
    struct row *r = MEM_NEW(struct row);

    list_init(&r->link);
    r->key.id = id;
    r->key.n = n;
    if (map_get(f->rows, str_of(&r->key, sizeof r->key))) {
        mem_free(r);
        return false;
    }
    map_set(f->rows, str_of(&r->key, sizeof r->key), r);
    return true;
}

void flight_end(struct flight *f, uint64_t id, uint32_t n)
{
    struct row probe = {.key = {.id = id, .n = n}};
    struct row *r = map_get(f->rows, str_of(&probe.key, sizeof probe.key));

    CHECK(r && !r->ended);
    r->ended = ++f->seq;
    list_add(&f->ended, &r->link);
    if (list_empty(&f->loads))
        forget(f, r);
}

void flight_load_begin(struct flight *f, struct flight_load *l)
{
    l->seq = ++f->seq;
    list_add(&f->loads, &l->link);
}

void flight_load_end(struct flight *f, struct flight_load *l)
{
    uint64_t oldest = UINT64_MAX;

    list_del(&l->link);
    if (!list_empty(&f->loads))
        oldest = LIST_ITEM(f->loads.next, struct flight_load, link)->seq;
    LIST_EACH(&f->ended, it)
    {
        struct row *r = LIST_ITEM(it, struct row, link);
        if (r->ended > oldest)
            break;
        forget(f, r);
    }
}
