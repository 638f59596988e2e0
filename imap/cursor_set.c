/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/cursor.h"
#include <stdlib.h>

enum { RANGES_MAX = 100000 };

static int set_number(struct imap_cursor *c, uint32_t *out, bool *star)
{
    uint64_t n;
    if (imap_take(c, '*') == 0) {
        *star = true;
        *out = UINT32_MAX;
        return 0;
    }
    if (imap_number(c, UINT32_MAX, &n) || n == 0) /* nz-number */
        return -1;
    *out = (uint32_t)n;
    return 0;
}

static int set_range(struct imap_cursor *c, struct uid_range *out, bool *star)
{
    uint32_t a, b;
    if (set_number(c, &a, star))
        return -1;
    b = a;
    if (imap_take(c, ':') == 0 && set_number(c, &b, star))
        return -1;
    *out = a < b ? (struct uid_range){a, b} : (struct uid_range){b, a};
    return 0;
}

static int by_first(const void *va, const void *vb)
{
    const struct uid_range *a = va, *b = vb;
    return (a->first > b->first) - (a->first < b->first);
}

static size_t merge(struct uid_range *r, size_t n)
{
    size_t to = 0;
    for (size_t i = 1; i < n; i++) {
        if (r[to].last == UINT32_MAX || r[i].first <= r[to].last + 1) {
            if (r[i].last > r[to].last)
                r[to].last = r[i].last;
        } else {
            r[++to] = r[i];
        }
    }
    return n ? to + 1 : 0;
}

static bool add(struct arena *a, struct imap_set *s, size_t *cap, struct uid_range r)
{
    if (s->n == RANGES_MAX)
        return false;
    if (s->n == *cap) {
        *cap = *cap ? *cap * 2 : 4;
        struct uid_range *more = ARENA_ARRAY(a, struct uid_range, *cap);
        if (s->n)
            memcpy(more, s->ranges, s->n * sizeof *more);
        s->ranges = more;
    }
    s->ranges[s->n++] = r;
    return true;
}

int imap_set(struct imap_cursor *c, struct imap_set *out)
{
    struct imap_cursor t = *c;
    struct imap_set s = {0};
    size_t cap = 0;
    bool sorted = true;
    do {
        struct uid_range r;
        if (set_range(&t, &r, &s.star))
            return -1;
        if (s.n && r.first < s.ranges[s.n - 1].first)
            sorted = false;
        if (!add(t.arena, &s, &cap, r))
            return -1;
    } while (imap_take(&t, ',') == 0);
    if (!sorted)
        qsort(s.ranges, s.n, sizeof *s.ranges, by_first);
    s.n = merge(s.ranges, s.n);
    *out = s;
    *c = t;
    return 0;
}
