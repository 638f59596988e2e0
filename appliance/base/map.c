/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/map.h"
#include "appliance/base/mem.h"

/* Open addressing with linear probing. A removed slot becomes GONE (or EMPTY where nothing follows
 * it), never moves another: that is what lets map_next survive a map_del. */
enum { EMPTY, GONE, FIRST_HASH }; /* values of slot.hash below FIRST_HASH are marks */
enum { SMALLEST = 16, SHORT_KEY = 16 };

struct slot {
    uint64_t hash;
    void *value;
    size_t key_n;
    union {
        char *p;
        char here[SHORT_KEY];
    } key;
};

struct map {
    struct slot *slots;
    size_t cap, count, gone; /* cap: a power of two, or 0 */
};

struct map *map_new(void)
{
    return MEM_NEW(struct map);
}

static void key_free(struct slot *s)
{
    if (s->key_n > SHORT_KEY)
        mem_free(s->key.p);
}

void map_free(struct map **mp)
{
    struct map *m = *mp;
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].hash >= FIRST_HASH)
            key_free(&m->slots[i]);
    mem_free(m->slots);
    mem_free(m);
    *mp = NULL;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

static struct str key_of(const struct slot *s)
{
    return str_of(s->key_n > SHORT_KEY ? s->key.p : s->key.here, s->key_n);
}

static uint64_t hash_of(struct str key)
{
    uint64_t h = str_hash(key);
    return h < FIRST_HASH ? h + FIRST_HASH : h;
}

static struct slot *find(const struct map *m, struct str key, uint64_t hash)
{
    if (!m->cap)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct slot *s = &m->slots[i];
        if (s->hash == EMPTY)
            return NULL;
        if (s->hash == hash && str_eq(key_of(s), key))
            return s;
    }
}

static struct slot *free_slot(struct map *m, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].hash >= FIRST_HASH)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void resize(struct map *m, size_t cap)
{
    struct slot *old = m->slots;
    size_t old_cap = m->cap;
    m->slots = mem_alloc(cap * sizeof *m->slots);
    m->cap = cap;
    m->gone = 0;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].hash >= FIRST_HASH)
            *free_slot(m, old[i].hash) = old[i];
    mem_free(old);
}

/* Before one is added: at most 3/4 of the slots in use or gone, at least 1/8 in use. */
static void fit(struct map *m)
{
    bool crowded = (m->count + m->gone + 1) * 4 > m->cap * 3;
    bool sparse = m->cap > SMALLEST && (m->count + 1) * 8 < m->cap;
    if (!crowded && !sparse)
        return;
    size_t cap = SMALLEST;
    while (cap < (m->count + 1) * 2)
        cap *= 2;
    resize(m, cap);
}

void *map_get(const struct map *m, struct str key)
{
    struct slot *s = m->count ? find(m, key, hash_of(key)) : NULL;
    return s ? s->value : NULL;
}

void *map_set(struct map *m, struct str key, void *value)
{
    uint64_t hash = hash_of(key);
    struct slot *s = find(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    fit(m);
    s = free_slot(m, hash);
    if (s->hash == GONE)
        m->gone--;
    m->count++;
    s->hash = hash;
    s->value = value;
    s->key_n = key.n;
    if (key.n > SHORT_KEY)
        s->key.p = mem_dup(key.p, key.n);
    else if (key.n)
        memcpy(s->key.here, key.p, key.n);
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    struct slot *s = m->count ? find(m, key, hash_of(key)) : NULL;
    if (!s)
        return NULL;
    void *old = s->value;
    key_free(s);
    s->hash = GONE;
    m->count--;
    m->gone++;
    /* No search passes through marks that nothing follows. */
    size_t i = (size_t)(s - m->slots), mask = m->cap - 1;
    if (m->slots[(i + 1) & mask].hash == EMPTY)
        for (; m->slots[i].hash == GONE; i = (i - 1) & mask) {
            m->slots[i].hash = EMPTY;
            m->gone--;
        }
    return old;
}

void *map_get_id(const struct map *m, uint64_t id)
{
    return map_get(m, str_of(&id, sizeof id));
}

void *map_set_id(struct map *m, uint64_t id, void *value)
{
    return map_set(m, str_of(&id, sizeof id), value);
}

void *map_del_id(struct map *m, uint64_t id)
{
    return map_del(m, str_of(&id, sizeof id));
}

bool map_next(const struct map *m, size_t *pos, struct str *key_out, void **value_out)
{
    while (*pos < m->cap) {
        const struct slot *s = &m->slots[(*pos)++];
        if (s->hash < FIRST_HASH)
            continue;
        if (key_out)
            *key_out = key_of(s);
        if (value_out)
            *value_out = s->value;
        return true;
    }
    return false;
}
