/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_rest.c - hosts that failed rest, longer each time. */
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { REST_MIN_MS = 60000, REST_MAX_MS = 3600000, RESTS_MAX = 10000 };

struct rest {
    uint64_t until_ms, span_ms;
    struct smtp_fault why;
};
struct rests {
    struct loop *loop;
    struct map *map;
};

struct rests *rests_new(struct loop *l)
{
    struct rests *r = MEM_NEW(struct rests);
    r->loop = l;
    r->map = map_new();
    return r;
}

/* all: else only those that are as good as forgotten. */
static void purge(struct rests *r, bool all)
{
    uint64_t now = loop_now_ms(r->loop);
    struct str key;
    void *value;
    size_t pos = 0;

    while (map_next(r->map, &pos, &key, &value)) {
        struct rest *rest = value;
        if (!all && now < rest->until_ms)
            continue;
        map_del(r->map, key);
        mem_free(rest);
    }
}

void rests_free(struct rests **rp)
{
    struct rests *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    purge(r, true);
    map_free(&r->map);
    mem_free(r);
}

void rests_blame(struct rests *r, const char *where, const struct smtp_fault *why,
                 uint64_t first_max_ms)
{
    struct str key = str_from(where);
    struct rest *rest = map_get(r->map, key);
    uint64_t now = loop_now_ms(r->loop);
    uint64_t first = first_max_ms < REST_MIN_MS ? first_max_ms : REST_MIN_MS;

    if (!rest) {
        if (map_count(r->map) >= RESTS_MAX)
            purge(r, false);
        if (map_count(r->map) >= RESTS_MAX)
            return; /* it is tried more often than it should: no harm */
        rest = MEM_NEW(struct rest);
        map_set(r->map, key, rest);
    }
    rest->why = *why;
    if (now < rest->until_ms)
        return; /* several connections failed together: that is one failure */
    bool goes_on = rest->span_ms && now < rest->until_ms + REST_MAX_MS;
    rest->span_ms = goes_on ? rest->span_ms * 2 : first;
    if (rest->span_ms > REST_MAX_MS)
        rest->span_ms = REST_MAX_MS;
    rest->until_ms = now + rest->span_ms;
}

void rests_forget(struct rests *r, const char *where)
{
    if (where)
        mem_free(map_del(r->map, str_from(where)));
    else
        purge(r, true);
}

uint64_t rests_left(struct rests *r, const char *where, struct smtp_fault *why_out)
{
    struct rest *rest = map_get(r->map, str_from(where));
    uint64_t now = loop_now_ms(r->loop);

    if (!rest || now >= rest->until_ms)
        return 0;
    *why_out = rest->why;
    return rest->until_ms - now;
}
