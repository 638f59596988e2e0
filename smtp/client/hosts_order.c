/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/rand.h"
#include "smtp/client/hosts_private.h"
#include <stdlib.h>

static int by_preference(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;

    return (a->preference > b->preference) - (a->preference < b->preference);
}

static void shuffle(struct candidate *list, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)(rand_u64() % i);
        struct candidate held = list[k];
        list[k] = list[i - 1];
        list[i - 1] = held;
    }
}

static bool is_twice(const struct candidate *list, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (str_ieq(list[k].name, list[i].name))
            return true;
    return false;
}

void hosts_sort(struct candidate *list, size_t *n)
{
    size_t kept = 0;

    qsort(list, *n, sizeof *list, by_preference);
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(list[i].name, STR(".")))
            continue;
        list[kept] = list[i];
        kept += !is_twice(list, kept);
    }
    *n = kept;
    for (size_t from = 0, to; from < kept; from = to) {
        for (to = from; to < kept && list[to].preference == list[from].preference; to++)
            ;
        shuffle(list + from, to - from);
    }
}

size_t hosts_interleave(const struct candidate *c, const char **out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < HOST_ADDRESSES; i++) {
        if (i < c->v6.n && n < max)
            out[n++] = c->v6.ip[i];
        if (i < c->v4.n && n < max)
            out[n++] = c->v4.ip[i];
    }
    return n;
}

bool hosts_drop_self(struct candidate *list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) {
        if (!list[i].self)
            continue;
        while (i > 0 && list[i - 1].preference == list[i].preference)
            i--;
        *n = i;
        return true;
    }
    return false;
}
