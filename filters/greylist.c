/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* greylist.c - the stage `greylist` (RFC 6647): whoever brings mail for the first time is told to
 * come again, which programs that send junk seldom do. It is the last resort: who is known for good
 * in any other way isn't asked to. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/metrics.h"
#include "filters/builtin.h"
#include "filters/client.h"
#include "filters/greylist_table.h"
#include "filters/outside.h"
#include "filters/suspect.h"
#include <inttypes.h>
#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, ENTRIES_MAX = 90000 };
#define DAYS(n) ((n)*24LL * HOUR)
enum { ADDRESS_MAX = 340 };

enum whom { NOBODY, SUSPECTS, ALL };
struct greylist_conf {
    int clients, by;
    uint64_t delay, window, keep, correspondents;
    int64_t successes, entries;
    bool known_senders;
    const char *skip;
};
static const char *const whom_names[] = {"nobody", "suspects", "all", NULL};
enum by { BY_SENDER, BY_DOMAIN };
static const char *const by_names[] = {"sender", "domain", NULL};
// clang-format off
static const struct ph_setting greylist_settings[] = {
    PH_SETTING_ENUM(greylist_conf, clients, PH_RELOAD, "nobody", whom_names,
                    "Which clients are told to come again. suspects: those that another stage has found something about: rdns (no name, one "
                    "that doesn't lead back, a generic one), helo, dnslist (a sum over 0), spf (fail, softfail). nobody, as it is at first: "
                    "the stage is off, as it makes mail late."),
    PH_SETTING(TIME, greylist_conf, delay, PH_RELOAD, "5min", 0, DAYS(1), "How long mail of a new triplet of client, sender and recipient isn't taken."),
    PH_SETTING(TIME, greylist_conf, window, PH_RELOAD, "2d", MINUTE, DAYS(30),
               "How long after the first attempt it may come again; after that it is new."),
    PH_SETTING_ENUM(greylist_conf, by, PH_RELOAD, "sender", by_names,
                    "What is remembered of the sender: the address, or only its domain."),
    PH_SETTING(TIME, greylist_conf, keep, PH_RELOAD, "35d", HOUR, DAYS(3650),
               "How long what has passed is remembered after it was last seen: triplets, clients, senders."),
    PH_SETTING(INT, greylist_conf, successes, PH_RELOAD, "5", 0, 1000,
               "With so many triplets that have passed a client's network (a /24 of IPv4, a /64 of IPv6) is known, and all its mail is taken "
               "at once. 0: never."),
    PH_SETTING(BOOL, greylist_conf, known_senders, PH_RELOAD, "yes", 0, 0,
               "Take mail at once from domains whose mail has passed before, if SPF says that the client may send for them (stage spf). Large "
               "providers send from many networks."),
    PH_SETTING(TIME, greylist_conf, correspondents, PH_RELOAD, "90d", 0, DAYS(3650),
               "How long mail is taken at once from whom the recipient has written to, through this server. 0: that isn't learnt."),
    PH_SETTING(INT, greylist_conf, entries, PH_RELOAD, "50000", 100, ENTRIES_MAX,
               "Most that is remembered in all. When it is full, triplets that wait for the longest time are forgotten."),
    PH_SETTING(TEXT, greylist_conf, skip, PH_RELOAD | PH_LIST, OUTSIDE_PRIVATE, 0, 0,
               "Clients whose mail is always taken at once, as other MXs of the own domains. So is that of those in guard.trusted, of whoever "
               "has logged in, and of clients that the stage dnslist trusts."),
    PH_SETTING_END};
// clang-format on

enum result {
    NEW,
    WAITING,
    PASSED,
    CLIENT,
    SENDER,
    CORRESPONDENT,
    TRUSTED,
    UNSUSPECTED,
    FULL,
    RESULTS
};
static const struct {
    const char *name, *reason;
} results[] = {[NEW] = {"new", "seen for the first time"},
               [WAITING] = {"waiting", "came again too early"},
               [PASSED] = {"passed", "came again"},
               [CLIENT] = {"client", "its network is known"},
               [SENDER] = {"sender", "the sender's domain is known, and SPF passes"},
               [CORRESPONDENT] = {"correspondent", "the recipient has written to the sender"},
               [TRUSTED] = {"trusted", "DNS lists trust it"},
               [UNSUSPECTED] = {"unsuspected", "nothing was found about it"},
               [FULL] = {"full", "not checked: no room to remember it"}};
static const char *result_name(size_t i)
{
    return results[i].name;
}
METRIC(counts, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_greylist_total",
       .help = "Recipients by what greylisting made of them.",
       .labels = {{"result", result_name, RESULTS}});
METRIC(entries, 1, .type = METRIC_GAUGE, .name = "posthouse_greylist_entries",
       .help = "What greylisting remembers.");

struct greylist {
    const struct ph_host *host;
    struct outside outside;
    struct greylist_table *table;
    struct greylist_rules rules; /* as in force now: of pruning */
    uint64_t warned_ms;
};

static struct greylist_rules rules_of(const struct greylist_conf *c)
{
    return (struct greylist_rules){.delay_ms = c->delay,
                                   .window_ms = c->window > c->delay ? c->window : c->delay * 2,
                                   .keep_ms = c->keep,
                                   .pair_ms = c->correspondents,
                                   .successes = (uint64_t)c->successes,
                                   .entries = (uint64_t)c->entries};
}

/* ---- What other stages have found. */

static const char *fact(const struct greylist *st, ph_turn turn, const char *name)
{
    const char *value = st->host->fact_get(st->host->acts(st->host, turn), name);

    return value ? value : "";
}

static bool fact_is(const struct greylist *st, ph_turn turn, const char *name, const char *value)
{
    return strcmp(fact(st, turn, name), value) == 0;
}

/* The sender's domain, as far as the client may send for it. */
static const char *proven_domain(const struct greylist *st, ph_turn turn)
{
    bool good =
        fact_is(st, turn, "spf.result", "pass") && fact_is(st, turn, "spf.identity", "mailfrom");

    return good ? fact(st, turn, "spf.domain") : "";
}

/* ---- Addresses. */

/* Without "+detail": people write from the one and are written to at the other. */
static const char *plain(const char *address, char out[ADDRESS_MAX])
{
    const char *at = strrchr(address, '@'), *plus = strchr(address, '+');

    if (!at || !plus || plus > at || plus == address)
        plus = at ? at : address + strlen(address);
    snprintf(out, ADDRESS_MAX, "%.*s%s", (int)(plus - address), address, at ? at : "");
    return out;
}

static bool has_written(const struct greylist *st, const struct greylist_rules *r,
                        const struct ph_view *v, int64_t now)
{
    char here[ADDRESS_MAX], there[ADDRESS_MAX];

    return r->pair_ms && v->mail_from[0] &&
           greylist_pair_known(st->table, r, plain(v->rcpt, here), plain(v->mail_from, there), now);
}

/* At PH_OUTBOUND: by the account's name and the address it used. */
static void learn(const struct greylist *st, const struct greylist_rules *r,
                  const struct ph_view *v, int64_t now)
{
    char account[ADDRESS_MAX], sender[ADDRESS_MAX], there[ADDRESS_MAX];

    if (!r->pair_ms || strcmp(v->route, "submission") != 0)
        return;
    plain(v->auth_user, account);
    plain(v->mail_from, sender);
    for (size_t i = 0; i < v->n_rcpts; i++) {
        plain(v->rcpts[i], there);
        if (account[0])
            greylist_pair_add(st->table, r, account, there, now);
        if (sender[0] && !str_ieq(str_from(sender), str_from(account)))
            greylist_pair_add(st->table, r, sender, there, now);
    }
}

/* ---- The answer. */

static void done(struct greylist *st, ph_turn turn, enum result r, uint64_t wait_ms)
{
    const struct ph_host *host = st->host;
    char reply[200];

    metric_inc(&counts, r);
    metric_set(&entries, 0, greylist_table_count(st->table));
    host->fact_set(host->acts(host, turn), "greylist.result", results[r].name);
    snprintf(reply, sizeof reply,
             "450 4.7.1 Greylisted: this server takes mail of senders it doesn't know yet at a "
             "later attempt; try again in %" PRIu64 " s",
             (wait_ms + SECOND - 1) / SECOND);
    host->done(host, turn, r == NEW || r == WAITING ? PH_DEFER : PH_PASS, reply, results[r].reason);
}

static void warn_full(struct greylist *st)
{
    uint64_t now = clock_mono_ms();

    if (st->warned_ms && now - st->warned_ms < HOUR)
        return;
    st->warned_ms = now;
    st->host->log(st->host, NULL, PH_LOG_WARN,
                  "no room to remember who comes for the first time, so mail is taken at once: "
                  "raise greylist.entries");
}

/* Who needn't wait; RESULTS: nobody says so. */
static enum result excused(struct greylist *st, const struct greylist_conf *c,
                           const struct greylist_rules *r, ph_turn turn, const char *client,
                           int64_t now)
{
    const struct ph_view *v = st->host->view(st->host, turn);
    const char *domain = proven_domain(st, turn);

    if (fact_is(st, turn, "dnslist.trusted", "yes"))
        return TRUSTED;
    if (c->clients == SUSPECTS && !suspect(st->host, turn))
        return UNSUSPECTED;
    if (greylist_client_known(st->table, r, client, now))
        return CLIENT;
    if (c->known_senders && domain[0] && greylist_domain_known(st->table, r, domain, now))
        return SENDER;
    return has_written(st, r, v, now) ? CORRESPONDENT : RESULTS;
}

static void judge(struct greylist *st, const struct greylist_conf *c,
                  const struct greylist_rules *r, ph_turn turn, const uint8_t ip[16])
{
    static const enum result of[] = {[GREYLIST_NEW] = NEW,
                                     [GREYLIST_WAITING] = WAITING,
                                     [GREYLIST_PASSED] = PASSED,
                                     [GREYLIST_FULL] = FULL};
    const struct ph_view *v = st->host->view(st->host, turn);
    const struct cidr net = client_network(ip);
    const struct client_text client = client_text(&net);
    const char *at = strrchr(v->mail_from, '@'), *domain = proven_domain(st, turn);
    int64_t now = clock_wall_ms();
    uint64_t wait_ms;

    enum result result = excused(st, c, r, turn, client.z, now);
    if (result != RESULTS) {
        done(st, turn, result, 0);
        return;
    }
    enum greylist_answer a =
        greylist_ask(st->table, r, client.z, c->by == BY_DOMAIN && at ? at : v->mail_from, v->rcpt,
                     now, &wait_ms);
    if (a == GREYLIST_FULL)
        warn_full(st);
    if (a == GREYLIST_PASSED && c->known_senders && domain[0])
        greylist_domain_add(st->table, r, domain, now);
    done(st, turn, of[a], wait_ms);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct greylist *st = inst;
    const struct greylist_conf *c = conf;
    const struct greylist_rules rules = rules_of(c);
    const struct ph_view *v = st->host->view(st->host, turn);
    const char *why;
    uint8_t ip[16];

    if (at == PH_OUTBOUND) {
        learn(st, &rules, v, clock_wall_ms());
        st->host->done(st->host, turn, PH_PASS, NULL, NULL);
        return;
    }
    why = outside_why_not(&st->outside, st->host, v);
    if (!why && !client_parse(v->client_ip, ip))
        why = "not checked: it has no address";
    if (!why && c->delay == 0)
        why = "not checked: delay is 0";
    if (why)
        st->host->done(st->host, turn, PH_PASS, NULL, why);
    else
        judge(st, c, &rules, turn, ip);
}

/* ---- Its life. */

static void on_tick(void *inst, ph_turn turn, void *arg)
{
    struct greylist *st = inst;
    bool more = greylist_prune(st->table, &st->rules, clock_wall_ms());

    (void)turn;
    (void)arg;
    metric_set(&entries, 0, greylist_table_count(st->table));
    st->host->after(st->host, (ph_turn){0}, more ? SECOND : 10 * MINUTE, on_tick, NULL);
}

static int check(const void *conf, struct ph_err *err)
{
    return outside_check(((const struct greylist_conf *)conf)->skip, err);
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    struct greylist *st = inst;
    const struct greylist_conf *c = conf;

    (void)err;
    outside_take(&st->outside, c->skip);
    st->rules = rules_of(c);
    return 0;
}

static size_t merge(void *inst, const void *key, size_t key_n, const void *own, size_t own_n,
                    const void *other, size_t other_n, void *out)
{
    const struct greylist *st = inst;

    return greylist_merge(&st->rules, key, key_n, own, own_n, other, other_n, out, clock_wall_ms());
}

static void close_stage(void *inst)
{
    struct greylist *st = inst;

    greylist_table_free(&st->table);
    outside_fini(&st->outside);
    mem_free(st);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct greylist *st = MEM_NEW(struct greylist);

    st->host = host;
    reload(st, conf, err);
    st->table = greylist_table_new(host);
    *inst = st;
    host->after(host, (ph_turn){0}, 10 * MINUTE, on_tick, NULL);
    return 0;
}

static bool idle(const void *conf)
{
    return ((const struct greylist_conf *)conf)->clients == NOBODY;
}

const struct ph_stage greylist_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_RCPT) | PH_AT(PH_OUTBOUND),
    .flags = PH_UNLESS_ACCEPTED | PH_ABOUT_SENDER,
    .name = "greylist",
    .doc = "Tells clients that bring mail for the first time to come again later, as mail servers "
           "do and many programs that send junk don't. Off unless `clients` says whom. Facts: "
           "greylist.result (new, waiting, passed, client, sender, correspondent, trusted, "
           "unsuspected, full).",
    .after = "policy,spf,dnslist,rdns,helo",
    .settings = greylist_settings,
    .conf_size = sizeof(struct greylist_conf),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = close_stage,
    .on_point = on_point,
    .idle = idle,
    .kv_merge = merge};
