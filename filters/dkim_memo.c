/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_memo.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include <pthread.h>

struct known {
    unsigned bits;
    struct str normal; /* of the memo's arena */
};

struct dkim_memo {
    pthread_mutex_t lock;
    struct map *keys; /* by p= -> struct known; of each type one */
    struct map *keys_ed25519;
    struct arena *arena;
};

static void begin(struct dkim_memo *m)
{
    m->keys = map_new();
    m->keys_ed25519 = map_new();
    m->arena = arena_new(0);
}

static void forget(struct dkim_memo *m)
{
    map_free(&m->keys);
    map_free(&m->keys_ed25519);
    arena_free(&m->arena);
}

struct dkim_memo *dkim_memo_new(void)
{
    struct dkim_memo *m = MEM_NEW(struct dkim_memo);

    CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
    begin(m);
    return m;
}

void dkim_memo_free(struct dkim_memo **mp)
{
    struct dkim_memo *m = *mp;

    *mp = NULL;
    if (!m)
        return;
    forget(m);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static struct map *of_type(const struct dkim_memo *m, enum dkim_key_type type)
{
    return type == DKIM_KEY_RSA ? m->keys : m->keys_ed25519;
}

bool dkim_memo_get(struct dkim_memo *m, enum dkim_key_type type, struct str key, struct arena *a,
                   unsigned *bits_out, struct str *normal_out)
{
    pthread_mutex_lock(&m->lock);
    const struct known *k = map_get(of_type(m, type), key);
    if (k) {
        *bits_out = k->bits;
        *normal_out = arena_str(a, k->normal);
    }
    pthread_mutex_unlock(&m->lock);
    return k != NULL;
}

void dkim_memo_put(struct dkim_memo *m, enum dkim_key_type type, struct str key, unsigned bits,
                   struct str normal)
{
    pthread_mutex_lock(&m->lock);
    if (map_count(m->keys) + map_count(m->keys_ed25519) >= DKIM_MEMO_KEYS) {
        forget(m);
        begin(m);
    }
    struct known *k = ARENA_ARRAY(m->arena, struct known, 1);
    *k = (struct known){.bits = bits, .normal = arena_str(m->arena, normal)};
    (void)map_set(of_type(m, type), key, k);
    pthread_mutex_unlock(&m->lock);
}
