/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard.c - connections counted, logins weighed. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/guard_private.h"
#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
enum bucket_kind { OF_LOGINS, OF_RECIPIENTS, OF_ERRORS, OF_PAIR, OF_ACCOUNT };
enum {
    PRESSED_ADDRESS = 4,
    PRESSED_NETWORK = 16,
    ACCOUNT_FAILURES = 100,
    NO_BAN = 1000000 /* failures that nobody reaches; they still make answers slower */
};

const struct log_ctx guard_log = {.module = "guard"};

// clang-format off
const struct ph_setting guard_settings[] = {
    PH_SETTING(TEXT, guard_conf, trusted, PH_RELOAD | PH_LIST, "127.0.0.0/8, ::1", 0, 0,
        "Addresses and networks that no limit and no ban is for: this host, the office. Filter stages are told of them too."),
    PH_SETTING(INT, guard_conf, connections, PH_RELOAD, "5000", 1, 1000000,
        "Connections of SMTP and IMAP together; trusted networks count, but are always let in. From three quarters on a client may "
        "have 4 before it logs in, a network 16, so that a flood leaves room for others; the last eighth is for networks from which "
        "somebody has logged in before."),
    PH_SETTING(INT, guard_conf, address_connections, PH_RELOAD, "100", 1, 1000000,
        "Connections at once of one client that hasn't logged in: one IPv4 address, or one /64 of IPv6."),
    PH_SETTING(INT, guard_conf, network_connections, PH_RELOAD, "300", 1, 1000000,
        "The same of one network: a /24 of IPv4, a /64 of IPv6."),
    PH_SETTING(TIME, guard_conf, window, PH_RELOAD, "30min", SECOND, 7LL * DAY,
        "The time within which failures of a client add up."),
    PH_SETTING(INT, guard_conf, ban_logins, PH_RELOAD, "20", 0, 100000,
        "So many failed logins within the window, and the client is banned. Logins of an account that has been logged in from this "
        "network before don't count. 0: never."),
    PH_SETTING(INT, guard_conf, ban_recipients, PH_RELOAD, "100", 0, 1000000,
        "So many recipients that don't exist, from a client that hasn't logged in. 0: never."),
    PH_SETTING(INT, guard_conf, ban_errors, PH_RELOAD, "300", 0, 1000000,
        "So many errors of the protocol, from a client that hasn't logged in. 0: never."),
    PH_SETTING(TIME, guard_conf, ban_time, PH_RELOAD, "10min", SECOND, 365LL * DAY,
        "How long the first ban lasts; each further one within a week is four times as long."),
    PH_SETTING(TIME, guard_conf, ban_time_max, PH_RELOAD, "7d", SECOND, 365LL * DAY,
        "The longest ban."),
    PH_SETTING(INT, guard_conf, pair_logins, PH_RELOAD, "120", 1, 100000,
        "Logins of an account that has been logged in from this network before are never refused for a ban; but after so many failed "
        "ones in an hour it has to wait until the next may be tried."),
    PH_SETTING(TIME, guard_conf, login_delay, PH_RELOAD, "1s", 0, MINUTE,
        "How long the answer to a client's first failed login waits; twice as long for each one more within the window."),
    PH_SETTING(TIME, guard_conf, login_delay_max, PH_RELOAD, "15s", 0, 10 * MINUTE,
        "The longest such wait."),
    PH_SETTING_END};
// clang-format on

/* ---- Opening. */

static void tell(void *ctx)
{
    struct guard *g = ctx;
    LIST_EACH(&g->watches, it)
    {
        struct guard_watch *w = LIST_ITEM(it, struct guard_watch, link);
        w->on_ban(w);
    }
}

int guard_set_conf(struct guard *g, const struct guard_conf *conf, struct snapshot *snapshot,
                   struct err *err)
{
    struct cidr_set trusted;
    struct snapshot *old = g->env.snapshot;
    if (cidr_set_parse(str_from(conf->trusted), &trusted, err))
        return err_context(err, "guard.trusted");
    cidr_set_free(&g->trusted);
    g->trusted = trusted;
    g->env.conf = conf;
    g->env.snapshot = snapshot_ref(snapshot);
    snapshot_unref(&old);
    return 0;
}

int guard_open(const struct guard_env *env, struct guard **out, struct err *err)
{
    struct guard *g = MEM_NEW(struct guard);
    g->env = *env;
    g->env.snapshot = NULL;
    g->counts = map_new();
    g->bans = map_new();
    g->pairs = map_new();
    g->networks = map_new();
    g->buckets = bucket_table_new(BUCKETS_MAX);
    list_init(&g->pairs_by_age);
    list_init(&g->watches);
    g->told = (struct loop_defer){.fn = tell, .ctx = g};
    if (guard_set_conf(g, env->conf, env->snapshot, err) || guard_rows_open(g, err)) {
        guard_close(&g);
        return -1;
    }
    *out = g;
    return 0;
}

void guard_close(struct guard **gp)
{
    struct guard *g = *gp;
    *gp = NULL;
    if (!g)
        return;
    CHECK(map_count(g->counts) == 0 && list_empty(&g->watches));
    loop_defer_cancel(&g->told);
    guard_rows_close(&g->rows);
    bans_free(g);
    pairs_free(g);
    map_free(&g->counts);
    bucket_table_free(&g->buckets);
    cidr_set_free(&g->trusted);
    snapshot_unref(&g->env.snapshot);
    mem_free(g);
}

void guard_watch_add(struct guard *g, struct guard_watch *w)
{
    list_init(&w->link);
    if (g)
        list_add(&g->watches, &w->link);
}

void guard_watch_del(struct guard_watch *w)
{
    if (w->link.next)
        list_del(&w->link);
}

static void count_ban(void *ctx, const struct guard_ban *b)
{
    (void)b;
    ++*(uint64_t *)ctx;
}

void guard_stats(const struct guard *g, struct guard_stats *out)
{
    *out = g->stats;
    out->open = g->open;
    out->bans = 0;
    guard_ban_each(g, count_ban, &out->bans);
    out->pairs = map_count(g->pairs);
}

/* ---- Connections. A host and its network have a number each under their address and length; in
 * IPv6 both are the same. */

static uintptr_t waiting(const struct guard *g, const struct cidr *net)
{
    uint8_t room[17];
    return (uintptr_t)map_get(g->counts, guard_net_key(net, room));
}

static void count_one(struct guard *g, const struct cidr *net, intptr_t by)
{
    uint8_t room[17];
    struct str key = guard_net_key(net, room);
    uintptr_t n = waiting(g, net) + (uintptr_t)by;
    if (n)
        map_set(g->counts, key, (void *)n);
    else
        map_del(g->counts, key);
}

static void set_waiting(struct guard_client *c, bool on)
{
    if (c->waiting == on)
        return;
    c->waiting = on;
    struct cidr host = client_host(c->ip), net = client_network(c->ip);
    count_one(c->guard, &host, on ? 1 : -1);
    if (host.bits != net.bits)
        count_one(c->guard, &net, on ? 1 : -1);
}

bool guard_pressed(const struct guard *g)
{
    return g && g->open >= (uint64_t)g->env.conf->connections / 4 * 3;
}

static bool crowded(const struct guard *g, const uint8_t ip[16])
{
    const struct guard_conf *conf = g->env.conf;
    struct cidr host = client_host(ip), net = client_network(ip);
    uint64_t of_host = waiting(g, &host), of_net = waiting(g, &net);
    if (guard_pressed(g) && (of_host >= PRESSED_ADDRESS || of_net >= PRESSED_NETWORK))
        return true;
    return of_host >= (uint64_t)conf->address_connections ||
           of_net >= (uint64_t)conf->network_connections;
}

/* The last eighth is for those who have been our users before. */
static uint64_t room_for(const struct guard *g, const uint8_t ip[16])
{
    uint64_t all = (uint64_t)g->env.conf->connections;
    return pairs_network(g, ip) ? all : all - all / 8;
}

static enum guard_verdict refuse(struct guard *g, const char *ip, enum guard_verdict verdict,
                                 int64_t until, struct guard_text *why)
{
    int64_t left = until - clock_wall_ms() / 1000;
    uint64_t *counter = verdict == GUARD_BANNED    ? &g->stats.refused_banned
                        : verdict == GUARD_CROWDED ? &g->stats.refused_crowded
                                                   : &g->stats.refused_full;
    ++*counter;
    if (verdict == GUARD_BANNED && !until)
        snprintf(why->z, sizeof why->z, "%s is blocked here", ip);
    else if (verdict == GUARD_BANNED)
        snprintf(why->z, sizeof why->z, "%s is blocked for another %lld minutes", ip,
                 (long long)(left + 59) / 60);
    else if (verdict == GUARD_CROWDED)
        snprintf(why->z, sizeof why->z, "Too many connections from your address, try again later");
    else
        snprintf(why->z, sizeof why->z, "Too many connections, try again later");
    log_debug(&guard_log, "connection_refused", L_Z("ip", ip), L_Z("why", why->z));
    return verdict;
}

/* Fills in who the client is. */
static enum guard_verdict decide(struct guard *g, struct guard_client *c, const char *ip,
                                 bool logins, struct guard_text *why)
{
    int64_t until = 0;
    c->trusted = !client_parse(ip, c->ip) || cidr_set_has(&g->trusted, ip);
    if (c->trusted)
        return GUARD_OK;
    enum ban_kind ban = bans_find(g, c->ip, &until);
    bool at_login = ban == BAN_AUTOMATIC && logins && pairs_network(g, c->ip);
    if (ban && !at_login)
        return refuse(g, ip, GUARD_BANNED, until, why);
    if (crowded(g, c->ip))
        return refuse(g, ip, GUARD_CROWDED, 0, why);
    if (g->open >= room_for(g, c->ip))
        return refuse(g, ip, GUARD_FULL, 0, why);
    return GUARD_OK;
}

enum guard_verdict guard_connect(struct guard *g, struct guard_client *c, const char *ip,
                                 bool logins, struct guard_text *why)
{
    *c = (struct guard_client){0};
    if (!g)
        return GUARD_OK;
    enum guard_verdict verdict = decide(g, c, ip, logins, why);
    if (verdict != GUARD_OK) {
        *c = (struct guard_client){0};
        return verdict;
    }
    c->guard = g;
    g->open++;
    if (!c->trusted)
        set_waiting(c, true);
    return GUARD_OK;
}

void guard_leave(struct guard_client *c)
{
    if (!c->guard)
        return;
    set_waiting(c, false);
    c->guard->open--;
    c->guard = NULL;
}

enum guard_verdict guard_check(struct guard *g, const char *ip, bool logins, struct guard_text *why)
{
    struct guard_client c = {0};
    return g ? decide(g, &c, ip, logins, why) : GUARD_OK;
}

bool guard_trusts(const struct guard_client *c)
{
    return c->trusted;
}

bool guard_is_banned(const struct guard_client *c)
{
    int64_t until;
    if (!c->guard || c->trusted)
        return false;
    enum ban_kind ban = bans_find(c->guard, c->ip, &until);
    return ban == BAN_MANUAL || (ban == BAN_AUTOMATIC && !pairs_network(c->guard, c->ip));
}

/* ---- Logins. A known pair's token is taken before the password is looked at and given back if it
 * was right: as many tries at once as there are tokens, however many connections. A client's tokens
 * are taken by failures only, so that many users behind one address can come at once. */

struct login_bucket {
    bool known;
    uint64_t key;
    struct bucket_rate rate;
};

static struct login_bucket login_bucket(const struct guard_client *c, struct str account)
{
    const struct guard_conf *conf = c->guard->env.conf;
    struct login_bucket b = {.known = pairs_known(c->guard, account, c->ip)};
    uint8_t name[ACCOUNT_MAX + 16];
    if (!b.known) {
        struct cidr host = client_host(c->ip);
        b.key = bucket_key(OF_LOGINS, host.address, sizeof host.address);
        uint64_t n = conf->ban_logins ? (uint64_t)conf->ban_logins : NO_BAN;
        b.rate = (struct bucket_rate){n, conf->window};
        return b;
    }
    struct cidr net = client_network(c->ip);
    account = str_take(account, ACCOUNT_MAX);
    memcpy(name, net.address, 16);
    for (size_t i = 0; i < account.n; i++)
        name[16 + i] = (uint8_t)ascii_lower(account.p[i]);
    b.key = bucket_key(OF_PAIR, name, 16 + account.n);
    b.rate = (struct bucket_rate){(uint64_t)conf->pair_logins, HOUR};
    return b;
}

bool guard_login_known(const struct guard_client *c, struct str account)
{
    return c->guard && !c->trusted && pairs_known(c->guard, account, c->ip);
}

bool guard_login_ask(struct guard_client *c, struct str account, struct guard_text *why)
{
    int64_t until;
    if (!c->guard || c->trusted)
        return true;
    struct guard *g = c->guard;
    struct login_bucket b = login_bucket(c, account);
    if (!b.known && bans_find(g, c->ip, &until))
        snprintf(why->z, sizeof why->z, "Logins from your address are blocked for now");
    else if (b.known ? !bucket_take(g->buckets, b.key, &b.rate, 1, clock_mono_ms())
                     : bucket_wait(g->buckets, b.key, &b.rate, 1, clock_mono_ms()) > 0)
        snprintf(why->z, sizeof why->z, "Too many failed logins, try again in a few minutes");
    else
        return true;
    g->stats.logins_refused++;
    return false;
}

void guard_login_undecided(struct guard_client *c, struct str asked)
{
    if (!c->guard || c->trusted)
        return;
    struct login_bucket b = login_bucket(c, asked);
    if (b.known)
        bucket_give(c->guard->buckets, b.key, &b.rate, 1, clock_mono_ms());
}

void guard_login_ok(struct guard_client *c, struct str asked, struct str account)
{
    if (!c->guard || c->trusted)
        return;
    struct login_bucket b = login_bucket(c, asked);
    if (b.known) /* what failed before was a mistake */
        bucket_fill(c->guard->buckets, b.key);
    pairs_seen(c->guard, account, c->ip);
    set_waiting(c, false);
}

static uint64_t doubled(const struct guard_conf *conf, uint64_t failures)
{
    uint64_t ms = conf->login_delay;
    for (uint64_t i = 1; i < failures && ms < conf->login_delay_max; i++)
        ms *= 2;
    return ms < conf->login_delay_max ? ms : conf->login_delay_max;
}

/* Guesses at one account from everywhere: whoever fails then is answered as slowly as can be. */
static bool under_attack(struct guard *g, struct str account)
{
    const struct bucket_rate rate = {ACCOUNT_FAILURES, HOUR};
    account = str_take(account, ACCOUNT_MAX);
    char name[ACCOUNT_MAX];
    for (size_t i = 0; i < account.n; i++)
        name[i] = ascii_lower(account.p[i]);
    return !bucket_take(g->buckets, bucket_key(OF_ACCOUNT, name, account.n), &rate, 1,
                        clock_mono_ms());
}

uint64_t guard_login_failed(struct guard_client *c, struct str asked)
{
    if (!c->guard || c->trusted)
        return 0;
    struct guard *g = c->guard;
    const struct guard_conf *conf = g->env.conf;
    struct login_bucket b = login_bucket(c, asked);
    uint64_t now = clock_mono_ms();
    if (!b.known)
        bucket_take(g->buckets, b.key, &b.rate, 1, now);
    uint64_t used = bucket_used(g->buckets, b.key, &b.rate, now);
    g->stats.logins_failed++;
    if (!b.known && used >= b.rate.n) {
        bucket_fill(g->buckets, b.key); /* counted anew once the ban is over */
        bans_punish(g, c->ip, "failed logins");
    }
    if (!b.known && under_attack(g, asked))
        return conf->login_delay_max;
    return doubled(conf, used);
}

void guard_fault(struct guard_client *c, enum guard_fault what)
{
    if (!c->guard || c->trusted || !c->waiting)
        return;
    struct guard *g = c->guard;
    bool rcpt = what == GUARD_UNKNOWN_RECIPIENT;
    int64_t limit = rcpt ? g->env.conf->ban_recipients : g->env.conf->ban_errors;
    const struct bucket_rate rate = {(uint64_t)limit, g->env.conf->window};
    struct cidr host = client_host(c->ip);
    uint64_t key = bucket_key(rcpt ? OF_RECIPIENTS : OF_ERRORS, host.address, sizeof host.address),
             now = clock_mono_ms();
    if (!limit)
        return;
    bucket_take(g->buckets, key, &rate, 1, now);
    if (!bucket_wait(g->buckets, key, &rate, 1, now))
        return;
    bucket_fill(g->buckets, key); /* counted anew once the ban is over */
    bans_punish(g, c->ip, rcpt ? "recipients that don't exist" : "errors of the protocol");
}
