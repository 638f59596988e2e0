/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/pages.h"

/* Ranges this close to each other are read together; the messages between them are dropped. */
enum { GAP_MAX = 64 };

void imap_pages_init(struct imap_pages *p, uint64_t mailbox, const struct uid_range *set,
                     size_t n_set, size_t max, bool want_prefix)
{
    *p = (struct imap_pages){.mailbox = mailbox,
                             .set = set,
                             .n_set = n_set,
                             .max = max,
                             .want_prefix = want_prefix,
                             .ended = n_set == 0,
                             .arena = arena_new(0)};
    if (n_set)
        p->next = set[0].first;
}

void imap_pages_fini(struct imap_pages *p)
{
    if (p->arena)
        arena_free(&p->arena);
    *p = (struct imap_pages){.ended = true};
}

bool imap_pages_at_edge(const struct imap_pages *p)
{
    return p->i == p->n;
}

bool imap_ranges_have(const struct uid_range *set, size_t n, uint32_t uid)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set[mid].last < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && set[low].first <= uid;
}

/* The last range read together with the current one. */
static size_t stretch(const struct imap_pages *p)
{
    size_t r = p->range;
    while (r + 1 < p->n_set && p->set[r + 1].first - p->set[r].last <= GAP_MAX)
        r++;
    return r;
}

/* The next page begins at `uid`, or where the next range does. */
static void move_to(struct imap_pages *p, uint32_t uid)
{
    while (p->range < p->n_set && p->set[p->range].last < uid)
        p->range++;
    if (p->range == p->n_set)
        p->ended = true;
    else
        p->next = uid > p->set[p->range].first ? uid : p->set[p->range].first;
}

static int load(struct imap_pages *p, struct store_reader *r, struct err *err)
{
    arena_clear(p->arena);
    p->n = p->i = 0;
    struct message_query q = {.first = p->next,
                              .last = p->set[stretch(p)].last,
                              .max = p->max,
                              .want_prefix = p->want_prefix};
    if (message_range(r, p->arena, p->mailbox, &q, &p->msgs, &p->n, err)) {
        p->n = 0;
        return -1;
    }
    uint32_t done = p->n < p->max ? q.last : p->msgs[p->n - 1].uid;
    if (done == UINT32_MAX)
        p->ended = true;
    else
        move_to(p, done + 1);
    return 0;
}

int imap_pages_next(struct imap_pages *p, struct store_reader *r, const struct message_info **out,
                    struct err *err)
{
    for (;;) {
        while (p->i < p->n) {
            const struct message_info *m = &p->msgs[p->i++];
            if (imap_ranges_have(p->set, p->n_set, m->uid)) {
                *out = m;
                return 0;
            }
        }
        if (p->ended) {
            *out = NULL;
            return 0;
        }
        if (load(p, r, err))
            return -1;
    }
}
