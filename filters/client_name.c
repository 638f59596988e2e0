/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_name.c - the stage `rdns`: the client's name in the DNS, believed only if it leads back to
 * the address (RFC 8601 3, "iprev"). Asked when the client connects, once a session; judged at
 * MAIL, when it is known whether it has logged in. */
#include "appliance/base/metrics.h"
#include "filters/authres.h"
#include "filters/builtin.h"
#include "filters/client.h"
#include "filters/client_kind.h"
#include "filters/fault.h"
#include "filters/outside.h"
#include <stdio.h>

enum { NAMES = 5, NAME_SIZE = 254, QUERIES = 10, TIME_MS = 5000, POINTS_MAX = 1000 };

struct rdns_conf {
    int missing, unconfirmed, generic, unanswered;
    int64_t points;
    const char *skip;
};
// clang-format off
static const struct ph_setting rdns_settings[] = {
    PH_SETTING_ENUM(rdns_conf, missing, PH_RELOAD, "score", fault_wishes,
                    "A client whose address has no name in the DNS (PTR). score: `points` are added to the message's score. The sender "
                    "is told what to do about it."),
    PH_SETTING_ENUM(rdns_conf, unconfirmed, PH_RELOAD, "score", fault_wishes,
                    "A client whose name doesn't lead back to its address."),
    PH_SETTING_ENUM(rdns_conf, generic, PH_RELOAD, "none", fault_wishes,
                    "A client whose name is one that a provider gives to each of its addresses: with the address in it, or a word like "
                    "\"dyn\" or \"dsl\"."),
    PH_SETTING_ENUM(rdns_conf, unanswered, PH_RELOAD, "none", fault_wishes,
                    "A client whose name can't be found out now, as the DNS doesn't answer."),
    PH_SETTING(INT, rdns_conf, points, PH_RELOAD, "1", 0, POINTS_MAX, "What each of these adds to the score, unless it is none."),
    PH_SETTING(TEXT, rdns_conf, skip, PH_RELOAD | PH_LIST, OUTSIDE_PRIVATE, 0, 0,
               "Clients whose name isn't asked for. Nor is that of those in guard.trusted, and whoever has logged in isn't judged."),
    PH_SETTING_END};
// clang-format on

enum result { CONFIRMED, NONE, UNCONFIRMED, UNANSWERED, RESULTS };
static const char *const result_names[] = {"confirmed", "none", "unconfirmed", "unanswered"};
static const char *result_name(size_t i)
{
    return result_names[i];
}
METRIC(results, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_rdns_total",
       .help = "Clients whose name was asked for, by what came of it.",
       .labels = {{"result", result_name, RESULTS}});

struct name {
    char z[NAME_SIZE];
    bool back; /* it leads back */
};
struct rdns_turn {
    struct name names[NAMES];
    size_t n, waiting;
    bool unanswered;
    uint8_t ip[16];
};

/* ---- What was found, as facts of the session. */

/* RFC 8601 2.7.3 */
static void tell_authres(const struct ph_host *host, ph_turn turn, enum result r)
{
    static const char *const words[] = {[CONFIRMED] = "pass",
                                        [NONE] = "permerror",
                                        [UNCONFIRMED] = "fail",
                                        [UNANSWERED] = "temperror"};
    static const char *const comments[] = {[CONFIRMED] = "",
                                           [NONE] = "it has no name",
                                           [UNCONFIRMED] = "its name doesn't lead back",
                                           [UNANSWERED] = ""};
    struct buf b;

    buf_init(&b, AUTHRES_LIMIT);
    authres_result(&b, "iprev", words[r], str_from(comments[r]));
    authres_property(&b, "policy.iprev", str_from(host->view(host, turn)->client_ip));
    if (buf_ok(&b))
        host->fact_set(host->acts(host, turn), "iprev.authres", buf_z(&b));
    buf_fini(&b);
}

static void finish(struct outside_stage *st, ph_turn turn, struct rdns_turn *t)
{
    const struct ph_host *host = st->host;
    struct ph_acts *acts = host->acts(host, turn);
    const struct name *found = NULL;
    enum result r;
    char reason[400];

    for (size_t i = 0; i < t->n && !found; i++)
        if (t->names[i].back)
            found = &t->names[i];
    r = found ? CONFIRMED : t->unanswered ? UNANSWERED : t->n ? UNCONFIRMED : NONE;
    metric_inc(&results, r);
    host->fact_set(acts, "rdns.result", result_names[r]);
    tell_authres(host, turn, r);
    if (found)
        host->fact_set(acts, "rdns.name", found->z);
    else if (t->n)
        host->fact_set(acts, "rdns.claimed", t->names[0].z);
    if (found && client_name_generic(found->z, host->view(host, turn)->client_ip))
        host->fact_set(acts, "rdns.generic", "yes");
    snprintf(reason, sizeof reason, "%s%s%s", result_names[r], t->n ? ": " : "",
             found  ? found->z
             : t->n ? t->names[0].z
                    : "");
    host->done(host, turn, PH_PASS, NULL, reason);
}

static void on_address(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct outside_stage *st = inst;
    struct rdns_turn *t = st->host->memory(st->host, turn);
    struct name *n = arg;
    uint8_t ip[16];

    for (size_t i = 0; i < a->n; i++)
        if (client_parse(a->records[i]->ip, ip) && memcmp(ip, t->ip, sizeof ip) == 0)
            n->back = true;
    if (a->status > PH_DNS_NO_NAME)
        t->unanswered = true;
    if (--t->waiting == 0)
        finish(st, turn, t);
}

static void on_name(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct outside_stage *st = inst;
    const struct ph_host *host = st->host;
    struct rdns_turn *t = arg;
    const char *ip = host->view(host, turn)->client_ip;
    enum ph_dns_type type = strchr(ip, ':') ? PH_DNS_AAAA : PH_DNS_A;

    t->unanswered = a->status > PH_DNS_NO_NAME;
    for (size_t i = 0; i < a->n && t->n < NAMES; i++)
        if (client_name_plain(a->records[i]->name)) {
            struct name *n = &t->names[t->n++];
            snprintf(n->z, sizeof n->z, "%s", a->records[i]->name);
        }
    for (size_t i = 0; i < t->n; i++)
        if (host->dns(host, turn, type, t->names[i].z, on_address, &t->names[i]) == 0)
            t->waiting++;
    if (!t->waiting)
        finish(st, turn, t);
}

static void look_up(struct outside_stage *st, ph_turn turn)
{
    const struct ph_host *host = st->host;
    const struct ph_view *v = host->view(host, turn);
    struct rdns_turn *t = host->memory(host, turn);
    const char *why = outside_why_not(&st->outside, host, v);

    if (!why && !client_parse(v->client_ip, t->ip))
        why = "not checked: it has no address";
    if (!why && host->dns(host, turn, PH_DNS_PTR, v->client_ip, on_name, t) == 0)
        return;
    host->done(host, turn, PH_PASS, NULL, why ? why : "it couldn't be asked for");
}

/* ---- What it comes to. */

static bool is_fact(const struct ph_host *host, ph_turn turn, const char *name, const char *value)
{
    const char *fact = host->fact_get(host->acts(host, turn), name);

    return fact && strcmp(fact, value) == 0;
}

static void judge(struct outside_stage *st, const struct rdns_conf *c, ph_turn turn)
{
    const struct ph_host *host = st->host;
    const char *ip = host->view(host, turn)->client_ip;
    const char *claimed = host->fact_get(host->acts(host, turn), "rdns.claimed");
    struct fault f = {.wish = FAULT_NONE, .status = "7.25", .say = ""};
    char say[240];

    if (is_fact(host, turn, "rdns.result", "none")) {
        f.wish = c->missing;
        f.reason = "its address has no name";
        snprintf(say, sizeof say,
                 "Your address %s has no name in the DNS: set a PTR record whose name has this "
                 "address",
                 ip);
    } else if (is_fact(host, turn, "rdns.result", "unconfirmed")) {
        f.wish = c->unconfirmed;
        f.reason = "its name doesn't lead back to its address";
        snprintf(say, sizeof say,
                 "Your address %s has the name %.100s, which hasn't this address: correct one of "
                 "the two",
                 ip, claimed ? claimed : "");
    } else if (is_fact(host, turn, "rdns.result", "unanswered")) {
        f.wish = c->unanswered;
        f.reason = "the DNS doesn't answer";
        snprintf(say, sizeof say,
                 "The name of your address %s can't be found: its name servers don't answer", ip);
    } else if (is_fact(host, turn, "rdns.generic", "yes")) {
        f.wish = c->generic;
        f.reason = "its name is a provider's for one of its addresses";
        snprintf(say, sizeof say,
                 "Your address %s has a name that a provider gave it: let it have that of a mail "
                 "server, or send through the provider's",
                 ip);
    } else {
        host->done(host, turn, PH_PASS, NULL, NULL);
        return;
    }
    f.say = say;
    fault_done(host, turn, &f, c->points);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct outside_stage *st = inst;
    const char *why;

    if (at == PH_CONNECT) {
        look_up(st, turn);
        return;
    }
    why = outside_why_not(&st->outside, st->host, st->host->view(st->host, turn));
    if (why)
        st->host->done(st->host, turn, PH_PASS, NULL, why);
    else
        judge(st, conf, turn);
}

/* ---- Its life. */

static int check(const void *conf, struct ph_err *err)
{
    return outside_check(((const struct rdns_conf *)conf)->skip, err);
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    (void)err;
    outside_take(&((struct outside_stage *)inst)->outside, ((const struct rdns_conf *)conf)->skip);
    return 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)err;
    return outside_stage_open(host, ((const struct rdns_conf *)conf)->skip, inst);
}

const struct ph_stage rdns_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_CONNECT) | PH_AT(PH_MAIL),
    .flags = PH_ABOUT_SENDER,
    .name = "rdns",
    .doc = "Asks for the client's name in the DNS, and whether that leads back to its address. A "
           "name that does is shown in Received. Facts: rdns.result (confirmed, none, unconfirmed, "
           "unanswered), rdns.name, rdns.claimed (one that doesn't lead back), rdns.generic.",
    .settings = rdns_settings,
    .conf_size = sizeof(struct rdns_conf),
    .turn_size = sizeof(struct rdns_turn),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = outside_stage_close,
    .on_point = on_point,
    .dns_queries = QUERIES,
    .dns_ms = TIME_MS};
