/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/io/loop_private.h"

/* A binary heap ordered by armed_ms. libuv's own timers would need a handle of 152 bytes each, and
 * could not be turned by a test's clock. */

static void heap_put(struct loop *l, struct timer *t, size_t i)
{
    l->heap[i] = t;
    t->at = i + 1;
}

static void heap_up(struct loop *l, size_t i)
{
    struct timer *t = l->heap[i];
    while (i > 0 && l->heap[(i - 1) / 2]->armed_ms > t->armed_ms) {
        heap_put(l, l->heap[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }
    heap_put(l, t, i);
}

static void heap_down(struct loop *l, size_t i)
{
    struct timer *t = l->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->heap_n)
            break;
        if (child + 1 < l->heap_n && l->heap[child + 1]->armed_ms < l->heap[child]->armed_ms)
            child++;
        if (l->heap[child]->armed_ms >= t->armed_ms)
            break;
        heap_put(l, l->heap[child], i);
        i = child;
    }
    heap_put(l, t, i);
}

static void heap_add(struct loop *l, struct timer *t)
{
    if (l->heap_n == l->heap_cap) {
        l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
        l->heap = mem_realloc(l->heap, l->heap_cap * sizeof(*l->heap));
    }
    heap_put(l, t, l->heap_n++);
    heap_up(l, l->heap_n - 1);
}

static void heap_del(struct loop *l, struct timer *t)
{
    size_t i = t->at - 1;
    struct timer *last = l->heap[--l->heap_n];
    t->at = 0;
    if (last == t)
        return;
    heap_put(l, last, i);
    heap_up(l, i);
    heap_down(l, last->at - 1);
}

void timer_init(struct timer *t, struct loop *l, void (*on_fire)(void *ctx), void *ctx)
{
    *t = (struct timer){.loop = l, .on_fire = on_fire, .ctx = ctx};
}

void timer_fini(struct timer *t)
{
    t->due_ms = 0;
    if (t->at)
        heap_del(t->loop, t);
}

void timer_start(struct timer *t, uint64_t after_ms)
{
    uint64_t now = loop_now_ms(t->loop);
    t->due_ms = after_ms > UINT64_MAX - now ? UINT64_MAX : now + after_ms;
    /* One that starts itself anew with 0 ms while timers run waits for the next turn; and 0 means
     * stopped. */
    if (after_ms == 0 && (t->loop->firing || now == 0))
        t->due_ms++;
    if (t->at && t->armed_ms <= t->due_ms)
        return;
    t->armed_ms = t->due_ms;
    if (t->at)
        heap_up(t->loop, t->at - 1);
    else
        heap_add(t->loop, t);
}

void timer_stop(struct timer *t)
{
    t->due_ms = 0;
}

struct timer *timer_new(struct loop *l, void (*on_fire)(void *ctx), void *ctx)
{
    struct timer *t = MEM_NEW(struct timer);
    timer_init(t, l, on_fire, ctx);
    return t;
}

void timer_free(struct timer **t)
{
    if (!*t)
        return;
    timer_fini(*t);
    mem_free(*t);
    *t = NULL;
}

void timers_run(struct loop *l)
{
    uint64_t now = loop_now_ms(l);
    l->firing = true; /* so that this ends */
    while (l->heap_n > 0) {
        struct timer *t = l->heap[0];
        if (t->armed_ms > now)
            break;
        if (t->due_ms > now) {
            t->armed_ms = t->due_ms;
            heap_down(l, 0);
            continue;
        }
        bool fire = t->due_ms != 0;
        t->due_ms = 0;
        heap_del(l, t);
        if (fire)
            t->on_fire(t->ctx);
    }
    l->firing = false;
}

bool timers_next(const struct loop *l, uint64_t *at_ms_out)
{
    if (l->heap_n == 0)
        return false;
    *at_ms_out = l->heap[0]->armed_ms;
    return true;
}

void timers_fini(struct loop *l)
{
    /* Stopped ones may still lie in the heap only if they were never freed. */
    CHECK(l->heap_n == 0);
    mem_free(l->heap);
    l->heap = NULL;
}
