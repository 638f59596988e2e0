/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_pairs.c - from which networks an account has logged in. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/guard_private.h"

enum { REFRESH_S = 24 * 3600, KEEP_S = 365 * 24 * 3600, KEY_MAX = ACCOUNT_MAX + 17 };

struct pair {
    struct list age;
    struct cidr net;
    int64_t last; /* wall clock, s; as written */
    size_t n;
    char account[];
};

/* Account names are compared as typed, in small letters: a name that comes otherwise is only not
 * known. */
static struct str key_of(struct str account, const struct cidr *net, uint8_t room[KEY_MAX])
{
    account = str_take(account, ACCOUNT_MAX);
    guard_net_key(net, room);
    for (size_t i = 0; i < account.n; i++)
        room[17 + i] = (uint8_t)ascii_lower(account.p[i]);
    return str_of(room, 17 + account.n);
}

static void count_network(struct guard *g, const struct cidr *net, intptr_t by)
{
    uint8_t room[17];
    struct str key = guard_net_key(net, room);
    uintptr_t n = (uintptr_t)map_get(g->networks, key) + (uintptr_t)by;
    if (n)
        map_set(g->networks, key, (void *)n);
    else
        map_del(g->networks, key);
}

static void drop(struct guard *g, struct pair *p)
{
    uint8_t room[KEY_MAX];
    struct str account = str_of(p->account, p->n);
    map_del(g->pairs, key_of(account, &p->net, room));
    count_network(g, &p->net, -1);
    rows_drop_pair(g->rows, account, &p->net);
    list_del(&p->age);
    mem_free(p);
}

static struct pair *add(struct guard *g, struct str account, const struct cidr *net, int64_t last)
{
    uint8_t room[KEY_MAX];
    struct str key = key_of(account, net, room);
    struct pair *p = map_get(g->pairs, key);

    if (!p) {
        if (map_count(g->pairs) >= PAIRS_MAX)
            drop(g, LIST_ITEM(g->pairs_by_age.next, struct pair, age));
        p = mem_alloc(sizeof *p + key.n - 17);
        p->net = *net;
        p->n = key.n - 17;
        memcpy(p->account, key.p + 17, p->n);
        list_init(&p->age);
        map_set(g->pairs, key, p);
        count_network(g, net, 1);
    }
    p->last = last;
    list_del(&p->age);
    list_add(&g->pairs_by_age, &p->age);
    return p;
}

static struct pair *get(const struct guard *g, struct str account, const uint8_t ip[16])
{
    uint8_t room[KEY_MAX];
    struct cidr net = client_network(ip);
    return map_get(g->pairs, key_of(account, &net, room));
}

bool pairs_known(const struct guard *g, struct str account, const uint8_t ip[16])
{
    return get(g, account, ip) != NULL;
}

bool pairs_network(const struct guard *g, const uint8_t ip[16])
{
    uint8_t room[17];
    struct cidr net = client_network(ip);
    return map_get(g->networks, guard_net_key(&net, room)) != NULL;
}

void pairs_seen(struct guard *g, struct str account, const uint8_t ip[16])
{
    int64_t now = clock_wall_ms() / 1000;
    struct pair *p = get(g, account, ip);

    if (p && now - p->last < REFRESH_S && now >= p->last)
        return; /* not a write at every login */
    struct cidr net = client_network(ip);
    p = add(g, account, &net, now);
    rows_put_pair(g->rows, str_of(p->account, p->n), &net, now);
}

void pairs_load(struct guard *g, struct str account, const struct cidr *net, int64_t last)
{
    struct pair *p = add(g, account, net, last);
    if (last + KEEP_S < clock_wall_ms() / 1000)
        drop(g, p);
}

void pairs_take(struct guard *g, struct str account, const struct cidr *net, const int64_t *last)
{
    uint8_t room[KEY_MAX];
    struct pair *p = map_get(g->pairs, key_of(account, net, room));

    if (!last && p)
        drop(g, p);
    else if (last && (!p || p->last < *last))
        pairs_load(g, account, net, *last);
}

void pairs_free(struct guard *g)
{
    while (!list_empty(&g->pairs_by_age)) {
        struct pair *p = LIST_ITEM(g->pairs_by_age.next, struct pair, age);
        list_del(&p->age);
        mem_free(p);
    }
    map_free(&g->pairs);
    map_free(&g->networks);
}
