/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_nodes.c - other processes that send what the same store holds. Whoever loads recipients
 * claims them (delivery_load.c); here is what remains: to look from time to time for what others
 * have put in or changed, at once when one of them has ended, and to let go of what is under way
 * when this process itself was taken for dead. */
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { CHECK_MS = 500, SCAN_MS = 15000 };

struct nodes {
    struct delivery *d;
    struct timer *timer;
    struct store_watch watch;
    uint64_t owner, scanned_ms;
};

static void check_owner(struct nodes *n)
{
    uint64_t owner = store_owner(n->d->conf.store);

    if (owner == n->owner)
        return;
    if (n->owner) { /* else nothing was begun */
        log_warn(&n->d->log, "deliveries-abandoned",
                 L_Z("reason", "other nodes could take this one for dead"));
        delivery_abandon(n->d);
    }
    n->owner = owner;
}

static void scan(struct nodes *n)
{
    n->scanned_ms = loop_now_ms(n->d->conf.loop);
    scan_start(n->d);
}

static void on_timer(void *ctx)
{
    struct nodes *n = ctx;

    check_owner(n);
    if (loop_now_ms(n->d->conf.loop) - n->scanned_ms >= SCAN_MS)
        scan(n);
    timer_start(n->timer, CHECK_MS);
}

static void on_change(struct store_watch *w)
{
    struct nodes *n = CONTAINER_OF(w, struct nodes, watch);

    check_owner(n);
    scan(n);
}

struct nodes *nodes_new(struct delivery *d)
{
    struct nodes *n;

    if (!store_shared(d->conf.store))
        return NULL;
    n = MEM_NEW(struct nodes);
    n->d = d;
    n->owner = store_owner(d->conf.store);
    n->scanned_ms = loop_now_ms(d->conf.loop);
    n->watch.on_change = on_change;
    store_watch_add(d->conf.store, STORE_WATCH_NODES, &n->watch);
    n->timer = timer_new(d->conf.loop, on_timer, n);
    timer_start(n->timer, CHECK_MS);
    return n;
}

void nodes_free(struct nodes **np)
{
    struct nodes *n = *np;

    if (!n)
        return;
    *np = NULL;
    store_watch_del(n->d->conf.store, &n->watch);
    timer_free(&n->timer);
    mem_free(n);
}
