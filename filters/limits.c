/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* limits.c - the stage `limits`: how much per time from one address, one network, for one account,
 * from one sender's domain. What a client takes beyond that it is told to bring later; nothing is
 * lost. Rates of whoever has logged in are those of the account, not of the address it is at, which
 * it may share. Connections at once, delays and bans are guard.h's. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/bucket.h"
#include "filters/builtin.h"
#include "filters/client.h"
#include <stdio.h>

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, NAME_MAX_ = 320, MOST = 1000000 };
enum { RULES_AT_A_POINT = 4 };

struct limits_conf {
    int64_t address_connections, network_connections;
    int64_t address_logins, network_logins, account_logins;
    int64_t address_messages, network_messages, account_messages, domain_messages;
    int64_t address_recipients, network_recipients, account_recipients, domain_recipients;
    int64_t memory;
};
#define RATE(f, df, dc) PH_SETTING(INT, limits_conf, f, PH_RELOAD, df, 0, MOST, dc)

// clang-format off
static const struct ph_setting limits_settings[] = {
    RATE(address_connections, "300", "SMTP connections a minute from one address (in IPv6: one /64). 0, here and below: no limit."),
    RATE(network_connections, "1000", "The same from one network: a /24 of IPv4, a /64 of IPv6."),
    RATE(address_logins, "60", "Failed logins an hour from one address."),
    RATE(network_logins, "300", "Failed logins an hour from one network."),
    RATE(account_logins, "120", "Failed logins an hour for one account, from everywhere."),
    RATE(address_messages, "2000", "Messages an hour from one address, by clients that haven't logged in."),
    RATE(network_messages, "10000", "The same from one network."),
    RATE(account_messages, "1000", "Messages an hour that one account sends."),
    RATE(domain_messages, "10000", "Messages an hour whose sender is of one domain, from clients that haven't logged in."),
    RATE(address_recipients, "10000", "Recipients an hour from one address, by clients that haven't logged in."),
    RATE(network_recipients, "50000", "The same from one network."),
    RATE(account_recipients, "5000", "Recipients an hour of the messages that one account sends."),
    RATE(domain_recipients, "50000", "Recipients an hour of messages whose sender is of one domain, from clients that haven't logged in."),
    PH_SETTING(INT, limits_conf, memory, 0, "65536", 64, 16 * MOST,
               "How many addresses, networks, accounts and domains are remembered, at 32 octets each. What was not seen for the longest "
               "is forgotten first."),
    PH_SETTING_END};
// clang-format on

enum subject { ADDRESS, NETWORK, ACCOUNT, DOMAIN_ };
static const char *const subject_names[] = {"your address", "your network", "this account",
                                            "this sender's domain"};

struct rule {
    enum ph_point point;
    enum subject subject;
    size_t limit; /* its field of limits_conf */
    uint64_t per_ms;
};
#define LIMIT(f) offsetof(struct limits_conf, f)
static const struct rule rules[] = {
    {PH_CONNECT, ADDRESS, LIMIT(address_connections), MINUTE},
    {PH_CONNECT, NETWORK, LIMIT(network_connections), MINUTE},
    {PH_AUTH, ADDRESS, LIMIT(address_logins), HOUR},
    {PH_AUTH, NETWORK, LIMIT(network_logins), HOUR},
    {PH_AUTH, ACCOUNT, LIMIT(account_logins), HOUR},
    {PH_MAIL, ADDRESS, LIMIT(address_messages), HOUR},
    {PH_MAIL, NETWORK, LIMIT(network_messages), HOUR},
    {PH_MAIL, ACCOUNT, LIMIT(account_messages), HOUR},
    {PH_MAIL, DOMAIN_, LIMIT(domain_messages), HOUR},
    {PH_RCPT, ADDRESS, LIMIT(address_recipients), HOUR},
    {PH_RCPT, NETWORK, LIMIT(network_recipients), HOUR},
    {PH_RCPT, ACCOUNT, LIMIT(account_recipients), HOUR},
    {PH_RCPT, DOMAIN_, LIMIT(domain_recipients), HOUR},
};
static const struct {
    const char *code, *what;
} words[PH_POINTS] = {[PH_CONNECT] = {"421 4.7.0", "connections"},
                      [PH_AUTH] = {"454 4.7.0", "failed logins"},
                      [PH_MAIL] = {"450 4.7.1", "messages"},
                      [PH_RCPT] = {"450 4.7.1", "recipients"}};

struct limits {
    const struct ph_host *host;
    struct bucket_table *buckets;
};
struct need {
    const struct rule *rule;
    uint64_t key;
    struct bucket_rate rate;
};

/* Small letters; 0: no such subject. */
static size_t fold(const char *z, char out[NAME_MAX_])
{
    size_t n = 0;
    for (; z[n] && n < NAME_MAX_; n++)
        out[n] = ascii_lower(z[n]);
    return n;
}

static bool subject_key(const struct rule *r, const struct ph_view *v, uint64_t *key_out)
{
    char name[NAME_MAX_];
    uint8_t ip[16];
    size_t n = 0;
    unsigned kind = (unsigned)(r - rules);

    if (r->subject == ADDRESS || r->subject == NETWORK) {
        if (!client_parse(v->client_ip, ip))
            return false;
        struct cidr net = r->subject == ADDRESS ? client_host(ip) : client_network(ip);
        *key_out = bucket_key(kind, net.address, sizeof net.address);
        return true;
    }
    if (r->subject == ACCOUNT) {
        n = fold(v->auth_user, name);
    } else {
        const char *at = strrchr(v->mail_from, '@');
        n = at ? fold(at + 1, name) : 0;
    }
    *key_out = bucket_key(kind, name, n);
    return n > 0;
}

static bool concerns(const struct rule *r, enum ph_point at, const struct ph_view *v)
{
    bool sending = at == PH_MAIL || at == PH_RCPT;
    if (r->point != at)
        return false;
    return !sending || (r->subject == ACCOUNT) == (v->auth_user[0] != '\0');
}

static size_t needs_at(enum ph_point at, const struct limits_conf *conf, const struct ph_view *v,
                       struct need out[RULES_AT_A_POINT])
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        int64_t limit = *(const int64_t *)(const void *)((const char *)conf + r->limit);
        if (limit && concerns(r, at, v) && subject_key(r, v, &out[n].key)) {
            out[n].rule = r;
            out[n].rate = (struct bucket_rate){(uint64_t)limit, r->per_ms};
            n++;
        }
    }
    return n;
}

static void refuse(struct limits *l, ph_turn turn, const struct need *need, uint64_t wait_ms)
{
    const struct rule *r = need->rule;
    char reply[200], reason[120];
    snprintf(reply, sizeof reply, "%s Too many %s from %s; try again in %llu s",
             words[r->point].code, words[r->point].what, subject_names[r->subject],
             (unsigned long long)(wait_ms + 999) / 1000);
    snprintf(reason, sizeof reason, "over %llu %s a%s of %s", (unsigned long long)need->rate.n,
             words[r->point].what, r->per_ms == HOUR ? "n hour" : " minute",
             subject_names[r->subject]);
    l->host->done(l->host, turn, PH_DEFER, reply, reason);
}

/* All buckets have a token, or none is taken. */
static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct limits *l = inst;
    const struct ph_view *v = l->host->view(l->host, turn);
    struct need needs[RULES_AT_A_POINT];
    uint64_t now = clock_mono_ms();

    size_t n = v->trusted || (at == PH_AUTH && !v->auth_failed) ? 0 : needs_at(at, conf, v, needs);
    for (size_t i = 0; i < n; i++) {
        uint64_t wait = bucket_wait(l->buckets, needs[i].key, &needs[i].rate, 1, now);
        if (wait) {
            refuse(l, turn, &needs[i], wait);
            return;
        }
    }
    for (size_t i = 0; i < n; i++)
        bucket_take(l->buckets, needs[i].key, &needs[i].rate, 1, now);
    l->host->done(l->host, turn, PH_PASS, NULL, NULL);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    const struct limits_conf *c = conf;
    struct limits *l = MEM_NEW(struct limits);
    (void)err;
    l->host = host;
    l->buckets = bucket_table_new((size_t)c->memory);
    *inst = l;
    return 0;
}

static void close_stage(void *inst)
{
    struct limits *l = inst;
    bucket_table_free(&l->buckets);
    mem_free(l);
}

const struct ph_stage limits_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_CONNECT) | PH_AT(PH_AUTH) | PH_AT(PH_MAIL) | PH_AT(PH_RCPT),
    .name = "limits",
    .doc = "Limits how much comes per time from an address, a network, an account, a sender's "
           "domain. Networks in guard.trusted are left alone.",
    .settings = limits_settings,
    .conf_size = sizeof(struct limits_conf),
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point};
