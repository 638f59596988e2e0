/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* site_heap.c - sites by the time when something of theirs is due: a binary heap, the earliest
 * first. */
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

static void put(struct delivery *d, size_t at, struct site *s)
{
    d->heap[at] = s;
    s->heap_at = at;
}

static void rise(struct delivery *d, size_t at)
{
    struct site *s = d->heap[at];

    while (at && d->heap[(at - 1) / 2]->next_ms > s->next_ms) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(d, at, s);
}

static void sink(struct delivery *d, size_t at)
{
    struct site *s = d->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= d->n_heap)
            break;
        if (child + 1 < d->n_heap && d->heap[child + 1]->next_ms < d->heap[child]->next_ms)
            child++;
        if (d->heap[child]->next_ms >= s->next_ms)
            break;
        put(d, at, d->heap[child]);
        at = child;
    }
    put(d, at, s);
}

static void take_out(struct site *s)
{
    struct delivery *d = s->d;
    size_t at = s->heap_at;
    struct site *last = d->heap[--d->n_heap];

    s->heap_at = SIZE_MAX;
    if (last == s)
        return;
    put(d, at, last);
    rise(d, at);
    sink(d, last->heap_at);
}

static void put_in(struct site *s)
{
    struct delivery *d = s->d;

    if (d->n_heap == d->heap_room) {
        d->heap_room = d->heap_room ? d->heap_room * 2 : 64;
        d->heap = mem_realloc(d->heap, d->heap_room * sizeof d->heap[0]);
    }
    put(d, d->n_heap++, s);
    rise(d, s->heap_at);
}

void site_heap_set(struct site *s, int64_t next_ms)
{
    if (s->heap_at != SIZE_MAX)
        take_out(s);
    s->next_ms = next_ms;
    if (next_ms != DELIVERY_NEVER)
        put_in(s);
}

struct site *site_heap_first(struct delivery *d)
{
    return d->n_heap ? d->heap[0] : NULL;
}
