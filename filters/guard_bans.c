/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_bans.c - the list of bans. One that is over is remembered for a while, so that the next one
 * lasts longer. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/guard_private.h"

enum { REMEMBER_S = 7 * 24 * 3600, LONGER = 4, FEWEST_BITS_V4 = 96 + 8, FEWEST_BITS_V6 = 16 };

struct ban {
    struct guard_ban is;
    char reason[REASON_MAX];
};

static int64_t now_s(void)
{
    return clock_wall_ms() / 1000;
}

static bool holds(const struct ban *b, int64_t now)
{
    return b->is.until == 0 || b->is.until > now;
}

static bool forgotten(const struct ban *b, int64_t now)
{
    return b->is.until != 0 && b->is.until + (b->is.manual ? 0 : REMEMBER_S) <= now;
}

static struct ban *get(const struct guard *g, const struct cidr *net)
{
    uint8_t room[17];
    return map_get(g->bans, guard_net_key(net, room));
}

static void drop(struct guard *g, struct ban *b)
{
    uint8_t room[17];
    map_del(g->bans, guard_net_key(&b->is.net, room));
    g->n_bits[b->is.net.bits]--;
    rows_drop_ban(g->rows, &b->is.net);
    mem_free(b);
}

/* Room for one more: what is forgotten goes, else the automatic one that ends first. */
static bool make_room(struct guard *g)
{
    int64_t now = now_s();
    struct ban *first = NULL;
    struct str key;
    void *value;
    size_t at = 0;

    if (map_count(g->bans) < BANS_MAX)
        return true;
    while (map_next(g->bans, &at, &key, &value)) {
        struct ban *b = value;
        if (forgotten(b, now))
            drop(g, b);
        else if (!b->is.manual && (!first || b->is.until < first->is.until))
            first = b;
    }
    if (map_count(g->bans) >= BANS_MAX && first)
        drop(g, first);
    return map_count(g->bans) < BANS_MAX;
}

static struct ban *make(struct guard *g, const struct cidr *net)
{
    uint8_t room[17];
    struct ban *b = get(g, net);
    if (b)
        return b;
    if (!make_room(g))
        return NULL;
    b = MEM_NEW(struct ban);
    b->is = (struct guard_ban){.net = *net, .reason = b->reason};
    map_set(g->bans, guard_net_key(net, room), b);
    g->n_bits[net->bits]++;
    return b;
}

/* What came from a client stays out of the log's and the list's way. */
static void set_reason(struct ban *b, struct str reason)
{
    size_t n = reason.n < sizeof b->reason - 1 ? reason.n : sizeof b->reason - 1;
    for (size_t i = 0; i < n; i++)
        b->reason[i] = reason.p[i] >= ' ' && reason.p[i] <= '~' ? reason.p[i] : '?';
    b->reason[n] = '\0';
}

enum ban_kind bans_find(const struct guard *g, const uint8_t ip[16], int64_t *until_out)
{
    enum ban_kind found = BAN_NONE;
    int64_t now = now_s();

    for (unsigned bits = 0; bits <= ALL_BITS; bits++) {
        if (!g->n_bits[bits])
            continue;
        struct cidr net = client_mask(ip, bits);
        const struct ban *b = get(g, &net);
        enum ban_kind kind =
            b && holds(b, now) ? b->is.manual ? BAN_MANUAL : BAN_AUTOMATIC : BAN_NONE;
        if (kind > found) {
            found = kind;
            *until_out = b->is.until;
        }
    }
    return found;
}

static void keep(struct guard *g, struct ban *b)
{
    struct client_text net = client_text(&b->is.net);
    g->stats.banned++;
    log_warn(&guard_log, "banned", L_Z("client", net.z), L_Z("reason", b->reason),
             L_UINT("times", b->is.times),
             L_INT("for_s", b->is.until ? b->is.until - b->is.since : 0),
             L_Z("by", b->is.manual ? "administrator" : "guard"));
    rows_put_ban(g->rows, &b->is);
    loop_defer(g->env.loop, &g->told);
}

void bans_punish(struct guard *g, const uint8_t ip[16], const char *reason)
{
    const struct guard_conf *conf = g->env.conf;
    struct cidr net = client_host(ip);
    int64_t now = now_s();
    struct ban *b = make(g, &net);

    if (!b || (b->is.since && holds(b, now)))
        return;
    b->is.times = forgotten(b, now) || b->is.manual ? 1 : b->is.times + 1;
    b->is.manual = false;
    uint64_t ms = conf->ban_time;
    for (unsigned i = 1; i < b->is.times && ms < conf->ban_time_max; i++)
        ms *= LONGER;
    ms = ms < conf->ban_time_max ? ms : conf->ban_time_max;
    b->is.since = now;
    b->is.until = now + (int64_t)((ms + 999) / 1000);
    set_reason(b, str_from(reason));
    keep(g, b);
}

int guard_ban_add(struct guard *g, const struct cidr *net, uint64_t for_ms, struct str reason,
                  struct err *err)
{
    bool v4 = client_mask(net->address, 96).address[10] == 0xff && net->bits >= 96;
    if (net->bits < (v4 ? FEWEST_BITS_V4 : FEWEST_BITS_V6))
        return ERR(err, ERR_PERM,
                   "a network that large isn't banned: /8 in IPv4, /16 in IPv6 at most");
    struct ban *b = make(g, net);
    if (!b)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "there are %d bans already", BANS_MAX);
    b->is.since = now_s();
    b->is.until = for_ms ? b->is.since + (int64_t)((for_ms + 999) / 1000) : 0;
    b->is.times = 1;
    b->is.manual = true;
    set_reason(b, reason);
    keep(g, b);
    return 0;
}

enum guard_trust guard_trusts_net(const struct guard *g, const struct cidr *net)
{
    enum guard_trust found = GUARD_TRUSTS_NONE;
    for (size_t i = 0; i < g->trusted.n; i++) {
        const struct cidr *t = &g->trusted.at[i];
        if (t->bits <= net->bits && client_within(net->address, t))
            return GUARD_TRUSTS_ALL;
        if (t->bits > net->bits && client_within(t->address, net))
            found = GUARD_TRUSTS_SOME;
    }
    return found;
}

bool guard_ban_remove(struct guard *g, const struct cidr *net)
{
    struct ban *b = get(g, net);
    bool held = b && holds(b, now_s());
    if (b)
        drop(g, b);
    return held;
}

void guard_ban_each(const struct guard *g, void (*fn)(void *ctx, const struct guard_ban *b),
                    void *ctx)
{
    int64_t now = now_s();
    struct str key;
    void *value;
    size_t at = 0;
    while (map_next(g->bans, &at, &key, &value)) {
        struct ban *b = value;
        if (holds(b, now))
            fn(ctx, &b->is);
    }
}

void bans_load(struct guard *g, const struct guard_ban *from)
{
    struct ban *b = make(g, &from->net);
    if (!b)
        return;
    b->is = *from;
    b->is.reason = b->reason;
    set_reason(b, str_from(from->reason));
    if (forgotten(b, now_s()))
        drop(g, b);
}

static bool same(const struct ban *b, const struct guard_ban *row)
{
    return b && b->is.since == row->since && b->is.until == row->until &&
           b->is.times == row->times && b->is.manual == row->manual;
}

void bans_take(struct guard *g, const struct cidr *net, const struct guard_ban *row)
{
    struct ban *b = get(g, net);

    if (!row && b)
        drop(g, b);
    if (!row || same(b, row))
        return;
    bans_load(g, row);
    loop_defer(g->env.loop, &g->told);
}

void bans_free(struct guard *g)
{
    struct str key;
    void *value;
    size_t at = 0;
    while (map_next(g->bans, &at, &key, &value))
        mem_free(value);
    map_free(&g->bans);
}
