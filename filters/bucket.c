/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/bucket.h"
#include "appliance/base/mem.h"
#include "appliance/base/str.h"

enum { FIRST = 64, KEY_BYTES = 512 };
static const uint32_t NONE = UINT32_MAX;

struct bucket {
    uint64_t key, full_us; /* when it is full again */
    uint32_t chain, older, newer;
};
struct bucket_table {
    struct bucket *at;
    uint32_t *heads; /* as many as places; a power of two */
    size_t max, cap, n;
    uint32_t oldest, newest, unused;
};

static void lay_out(struct bucket_table *t, size_t cap)
{
    t->at = mem_realloc(t->at, cap * sizeof *t->at);
    t->heads = mem_realloc(t->heads, cap * sizeof *t->heads);
    memset(t->heads, 0xff, cap * sizeof *t->heads);
    for (size_t i = t->cap; i < cap; i++)
        t->at[i] = (struct bucket){.chain = i + 1 < cap ? (uint32_t)i + 1 : t->unused};
    t->unused = (uint32_t)t->cap;
    t->cap = cap;
    for (uint32_t i = t->oldest; i != NONE; i = t->at[i].newer) {
        uint32_t *head = &t->heads[t->at[i].key & (cap - 1)];
        t->at[i].chain = *head;
        *head = i;
    }
}

struct bucket_table *bucket_table_new(size_t max)
{
    struct bucket_table *t = MEM_NEW(struct bucket_table);
    t->max = FIRST;
    while (t->max < max && t->max < (1u << 30))
        t->max *= 2;
    t->oldest = t->newest = t->unused = NONE;
    lay_out(t, FIRST);
    return t;
}

void bucket_table_free(struct bucket_table **tp)
{
    struct bucket_table *t = *tp;
    *tp = NULL;
    if (!t)
        return;
    mem_free(t->at);
    mem_free(t->heads);
    mem_free(t);
}

size_t bucket_table_count(const struct bucket_table *t)
{
    return t->n;
}

uint64_t bucket_key(unsigned kind, const void *p, size_t n)
{
    char bytes[KEY_BYTES];
    if (n > sizeof bytes - 1) /* longer than any address is */
        n = sizeof bytes - 1;
    bytes[0] = (char)kind;
    memcpy(bytes + 1, p, n);
    return str_hash(str_of(bytes, n + 1));
}

/* ---- Places. */

static uint32_t find(const struct bucket_table *t, uint64_t key)
{
    uint32_t i = t->heads[key & (t->cap - 1)];
    while (i != NONE && t->at[i].key != key)
        i = t->at[i].chain;
    return i;
}

static void unlink_age(struct bucket_table *t, uint32_t i)
{
    struct bucket *b = &t->at[i];
    *(b->older == NONE ? &t->oldest : &t->at[b->older].newer) = b->newer;
    *(b->newer == NONE ? &t->newest : &t->at[b->newer].older) = b->older;
}

static void link_newest(struct bucket_table *t, uint32_t i)
{
    t->at[i].older = t->newest;
    t->at[i].newer = NONE;
    *(t->newest == NONE ? &t->oldest : &t->at[t->newest].newer) = i;
    t->newest = i;
}

static void drop(struct bucket_table *t, uint32_t i)
{
    uint32_t *at = &t->heads[t->at[i].key & (t->cap - 1)];
    while (*at != i)
        at = &t->at[*at].chain;
    *at = t->at[i].chain;
    unlink_age(t, i);
    t->at[i].chain = t->unused;
    t->unused = i;
    t->n--;
}

static uint32_t place(struct bucket_table *t, uint64_t key, uint64_t now_us)
{
    if (t->oldest != NONE && t->at[t->oldest].full_us <= now_us)
        drop(t, t->oldest);
    if (t->unused == NONE && t->cap < t->max)
        lay_out(t, t->cap * 2);
    if (t->unused == NONE)
        drop(t, t->oldest);
    uint32_t i = t->unused, *head = &t->heads[key & (t->cap - 1)];
    t->unused = t->at[i].chain;
    t->at[i] = (struct bucket){.key = key, .chain = *head};
    *head = i;
    link_newest(t, i);
    t->n++;
    return i;
}

/* ---- Tokens. */

static uint64_t token_us(const struct bucket_rate *rate)
{
    uint64_t us = rate->per_ms * 1000 / rate->n;
    return us ? us : 1;
}

static uint64_t missing_us(const struct bucket_table *t, uint64_t key, uint64_t now_us)
{
    uint32_t i = find(t, key);
    return i != NONE && t->at[i].full_us > now_us ? t->at[i].full_us - now_us : 0;
}

static uint64_t at_most(uint64_t cost, const struct bucket_rate *rate)
{
    return cost < rate->n ? cost : rate->n;
}

uint64_t bucket_wait(const struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                     uint64_t cost, uint64_t now_ms)
{
    if (!rate->n)
        return 0;
    uint64_t token = token_us(rate), room = token * rate->n;
    uint64_t want = missing_us(t, key, now_ms * 1000) + at_most(cost, rate) * token;
    return want <= room ? 0 : (want - room + 999) / 1000;
}

bool bucket_take(struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                 uint64_t cost, uint64_t now_ms)
{
    uint64_t now_us = now_ms * 1000;
    if (!rate->n || !cost)
        return true;
    if (bucket_wait(t, key, rate, cost, now_ms))
        return false;
    uint64_t full_us = now_us + missing_us(t, key, now_us) + at_most(cost, rate) * token_us(rate);
    uint32_t i = find(t, key);
    if (i == NONE) {
        i = place(t, key, now_us);
    } else {
        unlink_age(t, i);
        link_newest(t, i);
    }
    t->at[i].full_us = full_us;
    return true;
}

void bucket_give(struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                 uint64_t cost, uint64_t now_ms)
{
    uint32_t i = find(t, key);
    if (!rate->n || i == NONE)
        return;
    uint64_t us = at_most(cost, rate) * token_us(rate), left = missing_us(t, key, now_ms * 1000);
    if (us >= left)
        drop(t, i);
    else
        t->at[i].full_us -= us;
}

uint64_t bucket_used(const struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                     uint64_t now_ms)
{
    if (!rate->n)
        return 0;
    uint64_t token = token_us(rate);
    return (missing_us(t, key, now_ms * 1000) + token - 1) / token;
}

void bucket_fill(struct bucket_table *t, uint64_t key)
{
    uint32_t i = find(t, key);
    if (i != NONE)
        drop(t, i);
}
