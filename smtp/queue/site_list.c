/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* site_list.c - which sites there are, when each is due, and whose turn it is. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { TICK_MAX_MS = 60000 }; /* the wall clock may be set meanwhile */

struct site *site_get(struct delivery *d, struct str name)
{
    struct site *s = map_get(d->sites, name);

    if (s)
        return s;
    s = MEM_NEW(struct site);
    s->d = d;
    s->name = str_of(mem_dup(name.p, name.n), name.n);
    s->next_ms = DELIVERY_NEVER;
    s->heap_at = SIZE_MAX;
    s->limit = (unsigned)d->conf.relay->site_connections_first;
    if (s->limit > (unsigned)d->conf.relay->site_connections)
        s->limit = (unsigned)d->conf.relay->site_connections;
    list_init(&s->touched);
    list_init(&s->waiting);
    list_init(&s->hops);
    list_init(&s->ready);
    list_init(&s->mails);
    map_set(d->sites, name, s);
    return s;
}

static void site_free(struct site *s)
{
    CHECK(!s->active && list_empty(&s->mails) && list_empty(&s->hops) && !s->load && !s->query);
    map_del(s->d->sites, s->name);
    site_heap_set(s, DELIVERY_NEVER);
    list_del(&s->touched);
    list_del(&s->waiting);
    share_unref(&s->share);
    mem_free((void *)(uintptr_t)s->name.p);
    mem_free(s->last);
    mem_free(s);
}

void site_touch(struct site *s)
{
    if (list_empty(&s->touched))
        list_add(&s->d->touched, &s->touched);
    loop_defer(s->d->conf.loop, &s->d->turn);
}

void site_next(struct site *s, int64_t wall_ms)
{
    if (wall_ms <= clock_wall_ms()) {
        s->due = true;
        site_touch(s);
    } else if (wall_ms < s->next_ms) {
        site_heap_set(s, wall_ms);
        sites_arm(s->d);
    }
}

void site_set_last(struct site *s, const char *text)
{
    mem_free(s->last);
    s->last = str_dup_z(str_take(str_from(text), 300));
}

void sites_arm(struct delivery *d)
{
    struct site *first = site_heap_first(d);
    int64_t wait;

    if (!first || d->stopping) {
        timer_stop(d->tick);
        return;
    }
    wait = first->next_ms - clock_wall_ms();
    if (wait > TICK_MAX_MS)
        wait = TICK_MAX_MS;
    timer_start(d->tick, wait > 0 ? (uint64_t)wait : 0);
}

void sites_tick(void *ctx)
{
    struct delivery *d = ctx;
    int64_t now = clock_wall_ms();
    struct site *s;

    while ((s = site_heap_first(d)) && s->next_ms <= now) {
        site_heap_set(s, DELIVERY_NEVER);
        s->due = true;
        site_touch(s);
    }
    sites_arm(d);
}

/* ---- Turns. */

static bool may_activate(const struct delivery *d)
{
    return d->slots < delivery_slots(d) && d->n_rows < DELIVERY_ROWS_MAX;
}

/* In line, or forgotten when nothing of it waits any more. */
static void settle_down(struct site *s)
{
    if (s->active)
        return;
    if (s->due && !s->d->stopping) {
        if (list_empty(&s->waiting))
            list_add(&s->d->waiting, &s->waiting);
    } else if (s->next_ms == DELIVERY_NEVER && list_empty(&s->mails) && list_empty(&s->hops)) {
        site_free(s);
    }
}

static void run_touched(struct delivery *d)
{
    while (!list_empty(&d->touched)) {
        struct site *s = LIST_ITEM(d->touched.next, struct site, touched);
        list_del(&s->touched);
        site_run(s);
        settle_down(s);
    }
}

/* Connections that wait for work make room for sites that wait for a connection. */
static bool make_room(struct delivery *d)
{
    if (d->slots < delivery_slots(d) || list_empty(&d->idle))
        return false;
    hop_close(LIST_ITEM(d->idle.next, struct hop, idle));
    return true;
}

void sites_turn(void *ctx)
{
    struct delivery *d = ctx;

    run_touched(d);
    while (!d->stopping && !list_empty(&d->waiting)) {
        struct site *s = LIST_ITEM(d->waiting.next, struct site, waiting);
        if (may_activate(d)) {
            list_del(&s->waiting);
            site_activate(s);
        } else if (!make_room(d)) {
            break;
        }
        run_touched(d);
    }
    delivery_count_state(d);
    delivery_check_stopped(d);
}

void sites_free(struct delivery *d)
{
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(d->sites, &pos, &name, &value))
        site_free(value);
    map_free(&d->sites);
    mem_free(d->heap);
}
