/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hosts.c - asks DNS and MTA-STS what is needed about one route, and makes the answer. */
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "smtp/client/hosts_private.h"
#include <stdio.h>

enum { MX_MAX = 200 }; /* records that are looked at */

struct hosts_query {
    struct hosts_conf conf;
    struct arena *arena; /* the answer's */
    struct resolver_budget budget;
    void (*on_answer)(void *ctx, struct hosts_answer *a);
    void *ctx;
    struct loop_defer defer;
    unsigned waits; /* for so many answers */
    /* of route and relay */
    const char *host;
    uint16_t port;
    enum route_tls tls;
    int inet;
    bool mx, login, dane, local_hosts;
    /* what came */
    struct resolver_query *mx_query;
    struct sts_query *sts_query;
    struct candidate *list;
    size_t n;
    bool mx_secure, implicit, dropped_self;
    struct sts_policy policy;
    const char *policy_text; /* NULL: no policy */
    enum tls_result_type sts_failure;
    struct smtp_fault fault;
};

static void __attribute__((format(printf, 4, 5)))
fail(struct hosts_query *q, enum smtp_fault_kind kind, const char *status, const char *fmt, ...)
{
    va_list ap;

    q->fault = (struct smtp_fault){.kind = kind, .stage = "connect"};
    snprintf(q->fault.status, sizeof q->fault.status, "%s", status);
    va_start(ap, fmt);
    vsnprintf(q->fault.text, sizeof q->fault.text, fmt, ap);
    va_end(ap);
}

/* ---- the end of it */
static const char *first_refused_text(const struct hosts_query *q)
{
    return q->n == 1 && q->implicit ? "its address is of this host or of no host"
                                    : "its mail hosts have addresses of this host or of no host";
}

/* No address: why? */
static void fail_without_address(struct hosts_query *q)
{
    bool failed = false;
    unsigned refused = 0;
    const char *family = q->inet == 4 ? "IPv4 " : q->inet == 6 ? "IPv6 " : "";

    for (size_t i = 0; i < q->n; i++) {
        failed = failed || q->list[i].v4.failed || q->list[i].v6.failed;
        refused += q->list[i].refused;
    }
    if (q->dropped_self && q->n == 0)
        fail(q, SMTP_FAULT_PERM, "5.4.6", "mail for %s would come back to this host", q->host);
    else if (failed)
        fail(q, SMTP_FAULT_TEMP, "4.4.3", "DNS has no answer for the mail hosts of %s now",
             q->host);
    else if (refused)
        fail(q, SMTP_FAULT_PERM, "5.1.2", "%s: %s", q->host, first_refused_text(q));
    else if (!q->mx)
        fail(q, SMTP_FAULT_TEMP, "4.4.4", "the host %s has no %saddress", q->host, family);
    else if (q->implicit)
        fail(q, SMTP_FAULT_PERM, "5.1.2", "%s has no mail host: neither MX nor %saddress", q->host,
             family);
    else
        fail(q, SMTP_FAULT_TEMP, "4.4.4", "none of the mail hosts of %s has an %saddress", q->host,
             family);
}

static void add_hosts(struct hosts_query *q, struct hosts_answer *out)
{
    struct tls_question t = {.tls = q->tls,
                             .login = q->login,
                             .domain = q->mx ? q->host : NULL,
                             .policy = q->policy_text ? &q->policy : NULL,
                             .policy_text = q->policy_text};

    out->list = ARENA_ARRAY(q->arena, struct host, HOSTS_ADDRESSES);
    for (size_t i = 0; i < q->n; i++) {
        const char *ips[2 * HOST_ADDRESSES];
        struct candidate *c = &q->list[i];
        size_t n = hosts_interleave(c, ips, HOSTS_ADDRESSES - out->n);
        for (size_t k = 0; k < n; k++) {
            struct host *h = &out->list[out->n++];
            h->name = c->name.p;
            h->port = q->port;
            h->preference = c->preference;
            snprintf(h->ip, sizeof h->ip, "%s", ips[k]);
            hosts_decide_tls(&t, c, q->arena, h);
            if (h->policy > out->policy)
                out->policy = h->policy;
        }
    }
}

static void finish(void *ctx)
{
    struct hosts_query *q = ctx;
    struct hosts_answer *out = ARENA_NEW(q->arena, struct hosts_answer);

    out->arena = q->arena;
    out->sts_failure = q->sts_failure;
    if (q->fault.kind == SMTP_FAULT_NONE) {
        q->dropped_self = (q->mx && hosts_drop_self(q->list, &q->n)) || q->dropped_self;
        add_hosts(q, out);
        if (out->n == 0)
            fail_without_address(q);
    }
    out->fault = q->fault;
    void (*on_answer)(void *, struct hosts_answer *) = q->on_answer;
    ctx = q->ctx;
    mem_free(q);
    on_answer(ctx, out);
}

/* An answer came (or never will): is it the last? */
static void settle(struct hosts_query *q)
{
    if (q->waits == 0)
        loop_defer(q->conf.loop, &q->defer);
}

/* Its answer comes, or false. */
static bool ask(struct hosts_query *q, enum resolver_type type, struct str name,
                resolver_answer_fn fn, void *ctx, struct resolver_query **out)
{
    *out = resolver_ask(q->conf.resolver, type, name, &q->budget, fn, ctx);
    q->waits += *out != NULL;
    return *out != NULL;
}

/* ---- TLSA */
static void ask_tlsa(struct candidate *c, struct str base);

static void keep_records(struct candidate *c, const struct resolver_answer *a)
{
    struct arena *arena = c->query->arena;

    c->records = ARENA_ARRAY(arena, struct tls_tlsa, a->n);
    for (size_t i = 0; i < a->n; i++)
        c->records[i] = (struct tls_tlsa){.usage = a->records[i].usage,
                                          .selector = a->records[i].selector,
                                          .matching = a->records[i].matching,
                                          .data = arena_str(arena, a->records[i].data)};
    c->n_records = a->n;
    c->dane = tls_tlsa_usable(c->records, c->n_records) ? DANE_USABLE : DANE_UNUSABLE;
}

static void on_tlsa(void *ctx, const struct resolver_answer *a)
{
    struct candidate *c = ctx;

    c->tlsa = NULL;
    c->query->waits--;
    switch (a->status) {
    case RESOLVER_FOUND:
        if (a->secure && a->n)
            keep_records(c, a);
        break;
    case RESOLVER_NO_DATA:
    case RESOLVER_NO_NAME:
        break;
    default: /* RFC 7672 2.1.1: whoever can suppress the answer could be in between */
        c->dane = DANE_FAILED;
        break;
    }
    /* RFC 7672 2.2.3: first for the name that CNAMEs lead to, then for the one that was given. */
    if (c->dane == DANE_NO && !str_eq(c->base, c->name))
        ask_tlsa(c, c->name);
    settle(c->query);
}

static void ask_tlsa(struct candidate *c, struct str base)
{
    struct hosts_query *q = c->query;

    c->base = base;
    struct str name = arena_printf(q->arena, "_%u._tcp." STR_FMT, q->port, STR_ARG(base));
    if (!ask(q, RESOLVER_TLSA, name, on_tlsa, c, &c->tlsa))
        c->dane = DANE_FAILED;
}

/* The CNAME itself is signed, though not all that it leads to: RFC 7672 2.2.2. */
static void on_cname(void *ctx, const struct resolver_answer *a)
{
    struct candidate *c = ctx;

    c->cname = NULL;
    c->query->waits--;
    if (a->status == RESOLVER_FOUND && a->secure)
        ask_tlsa(c, c->name);
    else if (a->status == RESOLVER_BOGUS || a->status == RESOLVER_FAILED ||
             a->status == RESOLVER_OVER_BUDGET)
        c->dane = DANE_FAILED;
    settle(c->query);
}

static void ask_dane(struct candidate *c)
{
    struct hosts_query *q = c->query;
    bool secure = (!c->v4.found || c->v4.secure) && (!c->v6.found || c->v6.secure);

    if (!q->dane || (q->mx && !q->mx_secure) || !(c->v4.n + c->v6.n))
        return;
    if (secure)
        ask_tlsa(c, c->expanded.n ? c->expanded : c->name);
    else if (c->expanded.n && !ask(q, RESOLVER_CNAME, c->name, on_cname, c, &c->cname))
        c->dane = DANE_FAILED;
}

/* ---- addresses */
static bool is_ours(const struct hosts_query *q, const char *ip)
{
    return q->mx && q->conf.self_addresses && cidr_set_has(q->conf.self_addresses, ip);
}

static void keep_addresses(struct candidate *c, struct host_ips *to,
                           const struct resolver_answer *a)
{
    size_t from = a->n ? (size_t)(rand_u64() % a->n) : 0;

    for (size_t i = 0; i < a->n && to->n < HOST_ADDRESSES; i++) {
        const char *ip = a->records[(from + i) % a->n].ip;
        c->self = c->self || is_ours(c->query, ip);
        if (c->query->mx && !c->query->local_hosts && route_scope(ip) == ROUTE_SCOPE_LOCAL) {
            c->refused++;
            continue;
        }
        snprintf(to->ip[to->n++], ROUTE_IP_MAX, "%s", ip);
    }
}

static void on_addresses(struct candidate *c, struct host_ips *to, const struct resolver_answer *a)
{
    struct hosts_query *q = c->query;

    q->waits--;
    to->found = a->status == RESOLVER_FOUND;
    to->secure = a->secure;
    to->failed = a->status == RESOLVER_BOGUS || a->status == RESOLVER_FAILED ||
                 a->status == RESOLVER_OVER_BUDGET;
    if (to->found) {
        keep_addresses(c, to, a);
        if (a->name.n && !str_ieq(a->name, c->name))
            c->expanded = arena_str(q->arena, a->name);
    }
    if (!c->a && !c->aaaa)
        ask_dane(c);
    settle(q);
}

static void on_a(void *ctx, const struct resolver_answer *a)
{
    struct candidate *c = ctx;

    c->a = NULL;
    on_addresses(c, &c->v4, a);
}

static void on_aaaa(void *ctx, const struct resolver_answer *a)
{
    struct candidate *c = ctx;

    c->aaaa = NULL;
    on_addresses(c, &c->v6, a);
}

static void ask_addresses(struct candidate *c)
{
    struct hosts_query *q = c->query;

    if (q->inet != 4 && !ask(q, RESOLVER_AAAA, c->name, on_aaaa, c, &c->aaaa))
        c->v6.failed = true;
    if (q->inet != 6 && !ask(q, RESOLVER_A, c->name, on_a, c, &c->a))
        c->v4.failed = true;
}

/* ---- MX */
static struct candidate *new_candidates(struct hosts_query *q, size_t n)
{
    q->list = ARENA_ARRAY(q->arena, struct candidate, n);
    q->n = n;
    for (size_t i = 0; i < n; i++)
        q->list[i].query = q;
    return q->list;
}

/* The domain, or the named host, itself. */
static void ask_host(struct hosts_query *q)
{
    struct candidate *c = new_candidates(q, 1);

    c->name = str_from(q->host);
    c->self = q->mx && q->conf.self && str_ieq(c->name, str_from(q->conf.self));
    ask_addresses(c);
}

static void take_mx(struct hosts_query *q, const struct resolver_answer *a)
{
    size_t n = a->n < MX_MAX ? a->n : MX_MAX;
    struct candidate *list = new_candidates(q, n);

    for (size_t i = 0; i < n; i++) {
        list[i].name = arena_str(q->arena, a->records[i].name);
        list[i].preference = a->records[i].preference;
        list[i].self = q->conf.self && str_ieq(list[i].name, str_from(q->conf.self));
    }
    hosts_sort(list, &q->n);
    if (q->n == 0) { /* RFC 7505 */
        fail(q, SMTP_FAULT_PERM, "5.1.10", "%s takes no mail (null MX)", q->host);
        return;
    }
    q->dropped_self = hosts_drop_self(list, &q->n);
    if (q->n > HOSTS_MAX)
        q->n = HOSTS_MAX;
    for (size_t i = 0; i < q->n; i++)
        ask_addresses(&list[i]);
}

static void on_mx(void *ctx, const struct resolver_answer *a)
{
    struct hosts_query *q = ctx;

    q->mx_query = NULL;
    q->waits--;
    q->mx_secure = a->secure;
    switch (a->status) {
    case RESOLVER_FOUND:
        take_mx(q, a);
        break;
    case RESOLVER_NO_DATA: /* RFC 5321 5.1 */
        q->implicit = true;
        ask_host(q);
        break;
    case RESOLVER_NO_NAME:
        fail(q, SMTP_FAULT_PERM, "5.1.2", "the domain %s does not exist", q->host);
        break;
    default:
        fail(q, SMTP_FAULT_TEMP, "4.4.3", "DNS has no answer for %s now%s%s", q->host,
             a->why ? ": " : "", a->why ? a->why : "");
        break;
    }
    settle(q);
}

/* ---- MTA-STS */
static void on_sts(void *ctx, const struct sts_answer *a)
{
    struct hosts_query *q = ctx;
    struct err err;

    q->sts_query = NULL;
    q->waits--;
    q->sts_failure = a->failure;
    if (a->policy) { /* a copy: it may be replaced while we wait for DNS */
        struct str text = arena_str(q->arena, a->text);
        if (sts_parse(q->arena, text, &q->policy, &err) == 0)
            q->policy_text = text.p;
    }
    settle(q);
}

/* ---- beginning */
static void begin(struct hosts_query *q, const struct relay_conf *relay)
{
    char ip[ROUTE_IP_MAX];
    int version = route_ip(str_from(q->host), ip);

    if (version) {
        struct candidate *c = new_candidates(q, 1);
        struct host_ips *to = version == 4 ? &c->v4 : &c->v6;
        c->name = str_from(q->host);
        snprintf(to->ip[to->n++], ROUTE_IP_MAX, "%s", ip);
        return;
    }
    if (!q->mx) {
        ask_host(q);
        return;
    }
    if (q->tls == ROUTE_TLS_AUTO && relay->mta_sts && q->conf.sts) {
        q->sts_query = sts_find(q->conf.sts, str_from(q->host), on_sts, q);
        q->waits++;
    }
    if (!ask(q, RESOLVER_MX, str_from(q->host), on_mx, q, &q->mx_query))
        fail(q, SMTP_FAULT_TEMP, "4.4.3", "too many questions to DNS at once");
}

struct hosts_query *hosts_find(const struct hosts_conf *conf, const struct relay_conf *relay,
                               const struct route *route,
                               void (*on_answer)(void *ctx, struct hosts_answer *a), void *ctx)
{
    struct hosts_query *q = MEM_NEW(struct hosts_query);

    q->conf = *conf;
    q->arena = arena_new(0);
    q->budget.queries = HOSTS_QUESTIONS;
    q->budget.deadline_ms = loop_now_ms(conf->loop) + HOSTS_DEADLINE_MS;
    q->on_answer = on_answer;
    q->ctx = ctx;
    q->defer = (struct loop_defer){.fn = finish, .ctx = q};
    list_init(&q->defer.link);
    q->host = arena_str(q->arena, str_from(route->host)).p;
    q->port = route->port;
    q->tls = route->tls;
    q->mx = route->mx;
    q->login = route->credentials != NULL;
    q->inet = relay->inet;
    q->local_hosts = relay->local_hosts;
    q->dane = route->tls == ROUTE_TLS_DANE || (route->tls == ROUTE_TLS_AUTO && relay->dane);
    begin(q, relay);
    settle(q);
    return q;
}

void hosts_cancel(struct hosts_query **qp)
{
    struct hosts_query *q = *qp;

    *qp = NULL;
    if (!q)
        return;
    resolver_cancel(&q->mx_query);
    sts_cancel(&q->sts_query);
    for (size_t i = 0; i < q->n; i++) {
        resolver_cancel(&q->list[i].a);
        resolver_cancel(&q->list[i].aaaa);
        resolver_cancel(&q->list[i].cname);
        resolver_cancel(&q->list[i].tlsa);
    }
    loop_defer_cancel(&q->defer);
    arena_free(&q->arena);
    mem_free(q);
}

void hosts_free(struct hosts_answer **ap)
{
    struct hosts_answer *a = *ap;
    struct arena *arena = a ? a->arena : NULL; /* it holds the answer too */

    *ap = NULL;
    arena_free(&arena);
}
