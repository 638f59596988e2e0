/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_scan.c - which sites the store has mail for, read a page at a time: at the start, and
 * when somebody changed rows without saying which. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { PAGE = 500, AGAIN_MS = 5000 };

struct scan {
    struct job job;
    struct delivery *d;
    struct arena *arena;
    struct str after; /* heap */
    struct queue_site *list;
    size_t n;
    bool failed, running;
    struct err err;
    struct timer *again;
};

static void run(struct job *j, void *worker)
{
    struct scan *s = CONTAINER_OF(j, struct scan, job);

    if (!worker)
        s->failed = ERR(&s->err, ERR_TEMP, "the store can't be read") != 0;
    else
        s->failed = queue_sites(worker, s->arena, s->after, PAGE, &s->list, &s->n, &s->err) != 0;
}

static void free_scan(struct scan *s)
{
    s->d->scan = NULL;
    timer_free(&s->again);
    mem_free((void *)(uintptr_t)s->after.p);
    arena_free(&s->arena);
    mem_free(s);
}

static void done(struct job *j);

static void next_page(struct scan *s)
{
    arena_clear(s->arena);
    s->job = (struct job){.run = run, .done = done};
    s->running = lane_submit(store_lane(s->d->conf.store), &s->job) == 0;
    if (!s->running)
        timer_start(s->again, AGAIN_MS);
}

static void on_again(void *ctx)
{
    next_page(ctx);
}

static void take_page(struct scan *s)
{
    struct str last;

    for (size_t i = 0; i < s->n; i++)
        site_next(site_get(s->d, s->list[i].name), s->list[i].next_ms);
    if (s->n == 0)
        return;
    last = s->list[s->n - 1].name;
    mem_free((void *)(uintptr_t)s->after.p);
    s->after = str_of(mem_dup(last.p, last.n), last.n);
}

static void done(struct job *j)
{
    struct scan *s = CONTAINER_OF(j, struct scan, job);
    struct delivery *d = s->d;

    s->running = false;
    if (d->stopping) {
        free_scan(s);
        delivery_check_stopped(d);
        return;
    }
    if (s->failed) {
        log_warn(&d->log, "queue-unreadable", L_Z("reason", s->err.text));
        timer_start(s->again, AGAIN_MS);
        return;
    }
    take_page(s);
    if (s->n == PAGE) {
        next_page(s);
        return;
    }
    free_scan(s);
    if (d->scan_again)
        scan_start(d);
}

void scan_start(struct delivery *d)
{
    struct scan *s;

    d->scan_again = d->scan != NULL;
    if (d->scan || d->stopping)
        return;
    s = d->scan = MEM_NEW(struct scan);
    s->d = d;
    s->arena = arena_new(0);
    s->after = str_of(mem_dup("", 1), 0);
    s->again = timer_new(d->conf.loop, on_again, s);
    next_page(s);
}

void scan_stop(struct delivery *d)
{
    if (d->scan && !d->scan->running)
        free_scan(d->scan);
}
