/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/address.h"
#include "smtp/client/callout_private.h"
#include <stdio.h>

enum { MINUTE_MS = 60000, TEXT_MAX = 700 };

/* ---- Domains */

static void forget_domains(struct callout *c, bool all)
{
    uint64_t now = loop_now_ms(c->conf.loop);
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(c->domains, &pos, &name, &value)) {
        struct callout_domain *d = value;
        if (!all && (d->running || now - d->since_ms < MINUTE_MS))
            continue;
        map_del(c->domains, name);
        mem_free(d);
    }
}

/* NULL: too many are known. */
static struct callout_domain *domain_of(struct callout *c, struct str name)
{
    struct callout_domain *d = map_get(c->domains, name);

    if (d)
        return d;
    if (map_count(c->domains) >= CALLOUT_DOMAINS)
        forget_domains(c, false);
    if (map_count(c->domains) >= CALLOUT_DOMAINS)
        return NULL;
    d = MEM_NEW(struct callout_domain);
    d->since_ms = loop_now_ms(c->conf.loop);
    map_set(c->domains, name, d);
    return d;
}

static bool may_ask(struct callout *c, struct str name)
{
    struct callout_domain *d = domain_of(c, name);
    uint64_t now = loop_now_ms(c->conf.loop);

    if (!d)
        return false;
    if (now - d->since_ms >= MINUTE_MS) {
        d->since_ms = now;
        d->asked = 0;
    }
    return d->asked++ < CALLOUT_PER_MINUTE;
}

/* ---- Who may connect */

static void turn(struct callout *c)
{
    LIST_EACH(&c->waiting, it)
    {
        struct probe *p = LIST_ITEM(it, struct probe, waiting);
        struct callout_domain *d = domain_of(c, p->domain);
        if (c->running >= CALLOUT_CONNECTIONS)
            return; /* the next that ends comes here */
        if (!d || d->running >= CALLOUT_OF_DOMAIN)
            continue;
        if (!c->conf.take(c->conf.ctx)) {
            timer_start(c->tick, CALLOUT_RETRY_MS);
            return;
        }
        list_del(&p->waiting);
        c->running++;
        d->running++;
        p->connected = true;
        probe_connect(p); /* what it leads to comes later */
    }
}

static void on_tick(void *ctx)
{
    turn(ctx);
}

void callout_wait(struct probe *p)
{
    struct callout *c = p->callout;

    list_add(&c->waiting, &p->waiting);
    timer_start(c->tick, 0);
}

/* ---- Answers */

static void query_free(struct callout_query *q)
{
    list_del(&q->link);
    timer_free(&q->limit);
    mem_free(q);
}

/* It is asked about no more; its connection is free for another. */
static void drop(struct probe *p)
{
    struct callout *c = p->callout;
    bool connected = p->connected;

    map_del(c->probes, p->key);
    if (connected) {
        struct callout_domain *d = map_get(c->domains, p->domain);
        if (d)
            d->running--;
        c->running--;
    }
    probe_free(p);
    if (connected) {
        c->conf.give(c->conf.ctx);
        timer_start(c->tick, 0);
    }
}

void callout_end(struct probe *p, const struct callout_answer *a)
{
    char text[TEXT_MAX];
    struct callout_answer copy = *a;
    struct list queries;

    snprintf(text, sizeof text, "%s", a->text);
    copy.text = text;
    list_init(&queries);
    LIST_EACH(&p->queries, it)
    {
        LIST_ITEM(it, struct callout_query, link)->probe = NULL;
        list_del(it);
        list_add(&queries, it);
    }
    drop(p);
    while (!list_empty(&queries)) { /* one of them may cancel another */
        struct callout_query *q = LIST_ITEM(queries.next, struct callout_query, link);
        callout_answer_fn fn = q->on_answer;
        void *ctx = q->ctx;
        query_free(q);
        fn(ctx, &copy);
    }
}

/* Who is too late; others may have more time. */
static void on_limit(void *ctx)
{
    static const struct callout_answer late = {.result = CALLOUT_TEMPORARY,
                                               .text = "it could not be asked in time"};
    struct callout_query *q = ctx;
    struct probe *p = q->probe;
    callout_answer_fn fn = q->on_answer;

    ctx = q->ctx;
    query_free(q);
    if (list_empty(&p->queries))
        drop(p);
    fn(ctx, &late);
}

void callout_cancel(struct callout_query **qp)
{
    struct callout_query *q = *qp;
    struct probe *p;

    *qp = NULL;
    if (!q)
        return;
    p = q->probe;
    query_free(q);
    if (p && list_empty(&p->queries))
        drop(p);
}

/* ---- Questions */

static struct probe *probe_new(struct callout *c, struct str key, struct str address,
                               struct str sender)
{
    struct probe *p = MEM_NEW(struct probe);
    struct str local;

    p->callout = c;
    p->arena = arena_new(0);
    p->key = arena_str(p->arena, key);
    p->address = arena_str(p->arena, address);
    p->sender = arena_str(p->arena, sender);
    address_split(p->address, &local, &p->domain);
    list_init(&p->queries);
    list_init(&p->waiting);
    p->begin = (struct loop_defer){.fn = probe_begin, .ctx = p};
    map_set(c->probes, p->key, p);
    loop_defer(c->conf.loop, &p->begin);
    return p;
}

static struct probe *probe_for(struct callout *c, struct str address, struct str sender)
{
    struct arena *a = arena_new(0);
    struct str key = arena_printf(a, STR_FMT "\n" STR_FMT, STR_ARG(address), STR_ARG(sender));
    struct str local, domain;
    struct probe *p = map_get(c->probes, key);

    address_split(address, &local, &domain);
    if (!p && map_count(c->probes) < CALLOUT_PROBES && domain.n && may_ask(c, domain))
        p = probe_new(c, key, address, sender);
    arena_free(&a);
    return p;
}

struct callout_query *callout_ask(struct callout *c, struct str address, struct str sender,
                                  uint64_t deadline_ms, callout_answer_fn on_answer, void *ctx)
{
    struct probe *p = probe_for(c, address, sender);
    struct callout_query *q;

    if (!p)
        return NULL;
    q = MEM_NEW(struct callout_query);
    q->probe = p;
    q->on_answer = on_answer;
    q->ctx = ctx;
    q->limit = timer_new(c->conf.loop, on_limit, q);
    timer_start(q->limit, deadline_ms);
    list_add(&p->queries, &q->link);
    return q;
}

unsigned callout_connections(const struct callout *c)
{
    return c->running;
}

/* ---- Life */

struct callout *callout_new(const struct callout_conf *conf)
{
    struct callout *c = MEM_NEW(struct callout);

    c->conf = *conf;
    c->probes = map_new();
    c->domains = map_new();
    list_init(&c->waiting);
    c->tick = timer_new(conf->loop, on_tick, c);
    return c;
}

void callout_free(struct callout **cp)
{
    struct callout *c = *cp;
    struct str key;
    void *value;
    size_t pos = 0;

    *cp = NULL;
    if (!c)
        return;
    while (map_next(c->probes, &pos, &key, &value)) {
        struct probe *p = value;
        LIST_EACH(&p->queries, it)
        query_free(LIST_ITEM(it, struct callout_query, link));
        drop(p);
    }
    forget_domains(c, true);
    map_free(&c->probes);
    map_free(&c->domains);
    timer_free(&c->tick);
    mem_free(c);
}
