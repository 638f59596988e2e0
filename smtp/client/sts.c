/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sts.c - the cache of MTA-STS policies. An entry is in memory while it has a policy, is being
 * asked for, or has failed a short while ago. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "smtp/client/sts_private.h"

enum {
    ENTRIES_MAX = 10000,
    KEPT_MAX = 8 << 20, /* octets of policies, in all */
    BODY_MAX = 65536,   /* RFC 8461 3.3 */
    FETCH_MS = 60 * 1000,
    AGAIN_MS = 5 * 60 * 1000, /* RFC 8461 3.3: not at once after a failure */
    DAY_MS = 86400000         /* RFC 8461 10.2: a policy in use is fetched anew each day */
};

static const struct log_ctx log_sts = {.module = "smtp"};

struct lookup { /* of one entry, for all who wait */
    struct entry *entry;
    struct list waiters;
    struct resolver_query *txt;
    struct http_exchange *fetch;
    struct loop_defer defer;
    char id[33]; /* of the record */
};
struct entry {
    struct list link; /* the one not used for longest is first */
    struct sts *sts;
    struct str domain;
    struct lookup *lookup;
    struct arena *arena; /* of the policy; NULL: there is none */
    struct sts_policy policy;
    struct str text;
    char id[33];
    int64_t fetched, expires; /* wall ms */
    uint64_t again_ms;        /* loop: no fetch before this */
    enum tls_result_type failure;
    unsigned busy; /* its policy is being told to somebody */
};
struct sts {
    struct loop *loop;
    struct resolver *resolver;
    struct http_client *http;
    struct sts_rows *rows;
    struct map *map;
    struct list lru;
    size_t kept;
};
struct sts_query {
    struct list link;
    void (*on_answer)(void *ctx, const struct sts_answer *a);
    void *ctx;
};

/* ---- entries */
static void drop_policy(struct entry *e)
{
    e->sts->kept -= e->text.n;
    e->text = STR_NULL;
    arena_free(&e->arena);
    e->arena = NULL;
}

static void entry_free(struct entry *e)
{
    map_del(e->sts->map, e->domain);
    list_del(&e->link);
    drop_policy(e);
    mem_free((char *)(uintptr_t)e->domain.p);
    mem_free(e);
}

/* Room for another one: what wasn't used for longest goes. */
static void make_room(struct sts *s)
{
    LIST_EACH(&s->lru, it)
    {
        struct entry *e = LIST_ITEM(it, struct entry, link);
        if (map_count(s->map) < ENTRIES_MAX && s->kept < KEPT_MAX)
            return;
        if (e->lookup || e->busy)
            continue;
        if (e->arena)
            sts_rows_drop(s->rows, e->domain);
        entry_free(e);
    }
}

static struct entry *entry_get(struct sts *s, struct str domain)
{
    struct entry *e = map_get(s->map, domain);

    if (!e) {
        make_room(s);
        e = MEM_NEW(struct entry);
        e->sts = s;
        e->domain = str_of(str_dup_z(domain), domain.n);
        list_init(&e->link);
        map_set(s->map, domain, e);
    }
    list_del(&e->link);
    list_add(&s->lru, &e->link);
    return e;
}

static bool live(const struct entry *e)
{
    return e->arena && clock_wall_ms() < e->expires;
}

/* text is a policy that was parsed once: it is kept as it was understood. */
static int take_policy(struct entry *e, struct str text, struct str id, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct sts_policy policy;
    struct buf shown;

    if (sts_parse(arena, text, &policy, err)) {
        arena_free(&arena);
        return -1;
    }
    drop_policy(e);
    buf_init(&shown, BODY_MAX);
    sts_write(&policy, &shown);
    e->arena = arena;
    e->policy = policy;
    e->text = arena_str(arena, buf_str(&shown));
    e->sts->kept += e->text.n;
    buf_fini(&shown);
    id = str_take(id, sizeof e->id - 1);
    memcpy(e->id, id.p, id.n);
    e->id[id.n] = '\0';
    return 0;
}

static void on_row(void *ctx, const struct sts_row *row)
{
    struct sts *s = ctx;
    struct err err;

    if (row->expires <= clock_wall_ms() || !row->id.n || !row->domain.n ||
        str_chr(row->domain, '\0', NULL)) {
        sts_rows_drop(s->rows, row->domain);
        return;
    }
    struct entry *e = entry_get(s, row->domain);
    if (take_policy(e, row->text, row->id, &err)) {
        entry_free(e);
        return;
    }
    e->fetched = row->fetched;
    e->expires = row->expires;
}

/* Another node has fetched it. What is being told or looked up here stays. */
static void on_news(void *ctx, const struct sts_row *row)
{
    struct sts *s = ctx;
    const struct entry *e = map_get(s->map, row->domain);

    if (e ? e->busy || e->lookup || e->fetched >= row->fetched
          : map_count(s->map) >= ENTRIES_MAX || s->kept >= KEPT_MAX)
        return;
    if (row->expires > clock_wall_ms())
        on_row(ctx, row);
}

/* ---- answering */
static void answer_all(struct entry *e, struct list *waiters)
{
    bool have = live(e) && e->policy.mode != STS_NONE;
    struct sts_answer a = {.policy = have ? &e->policy : NULL,
                           .text = have ? e->text : STR_NULL,
                           .failure = live(e) ? TLS_RESULT_SUCCESS : e->failure};

    e->busy++; /* who is told may ask for other domains */
    while (!list_empty(waiters)) {
        struct sts_query *q = LIST_ITEM(waiters->next, struct sts_query, link);
        list_del(&q->link);
        q->on_answer(q->ctx, &a);
        mem_free(q);
    }
    e->busy--;
}

static void take_waiters(struct lookup *l, struct list *out)
{
    list_init(out);
    while (!list_empty(&l->waiters)) {
        struct list *first = l->waiters.next;
        list_del(first);
        list_add(out, first);
    }
}

static void finish(struct lookup *l)
{
    struct entry *e = l->entry;
    struct list waiters;

    loop_defer_cancel(&l->defer);
    take_waiters(l, &waiters);
    e->lookup = NULL;
    mem_free(l);
    answer_all(e, &waiters);
    if (e->lookup || e->busy) /* somebody asked for it again */
        return;
    if (e->arena && !live(e)) {
        sts_rows_drop(e->sts->rows, e->domain);
        drop_policy(e);
    }
    if (!e->arena && e->again_ms <= loop_now_ms(e->sts->loop))
        entry_free(e);
}

static void on_defer(void *ctx)
{
    finish(ctx);
}

/* ---- the policy file */
static void fetch_failed(struct lookup *l, enum tls_result_type failure, const char *why)
{
    struct entry *e = l->entry;

    e->failure = failure;
    e->again_ms = loop_now_ms(e->sts->loop) + AGAIN_MS;
    log_info(&log_sts, "sts_failed", L_STR("domain", e->domain),
             L_Z("result", tls_result_name(failure)), L_Z("why", why), L_INT("in_force", live(e)));
    finish(l);
}

/* RFC 8461 3.2: text/plain, whatever its parameters. */
static bool is_plain_text(struct str type)
{
    struct str media, rest;

    str_cut(type, ';', &media, &rest);
    return str_ieq(str_trim(media), STR("text/plain"));
}

static void on_fetched(void *ctx, const struct http_answer *a)
{
    struct lookup *l = ctx;
    struct entry *e = l->entry;
    struct err err;

    l->fetch = NULL;
    if (a->failed) {
        fetch_failed(l,
                     a->err.why == ERR_WHY_UNTRUSTED ? TLS_RESULT_STS_WEBPKI_INVALID
                                                     : TLS_RESULT_STS_POLICY_FETCH_ERROR,
                     a->err.text);
        return;
    }
    if (a->status != 200 || !is_plain_text(a->type)) {
        fetch_failed(l, TLS_RESULT_STS_POLICY_FETCH_ERROR,
                     a->status != 200 ? "its web server has no such file" : "not text/plain");
        return;
    }
    if (take_policy(e, a->body, str_from(l->id), &err)) {
        fetch_failed(l, TLS_RESULT_STS_POLICY_INVALID, err.text);
        return;
    }
    e->fetched = clock_wall_ms();
    e->expires = e->fetched + (int64_t)e->policy.max_age * 1000;
    e->failure = TLS_RESULT_SUCCESS;
    e->again_ms = 0;
    sts_rows_put(e->sts->rows, &(struct sts_row){.domain = e->domain,
                                                 .id = str_from(e->id),
                                                 .text = e->text,
                                                 .fetched = e->fetched,
                                                 .expires = e->expires});
    log_info(&log_sts, "sts_policy", L_STR("domain", e->domain), L_STR("policy", e->text));
    finish(l);
}

static void fetch(struct lookup *l)
{
    struct entry *e = l->entry;
    struct buf url;

    buf_init(&url, 400);
    buf_printf(&url, "https://mta-sts." STR_FMT "/.well-known/mta-sts.txt", STR_ARG(e->domain));
    struct http_request q = {
        .method = "GET", .url = buf_z(&url), .max_body = BODY_MAX, .timeout_ms = FETCH_MS};
    if (e->sts->http)
        l->fetch = http_client_send(e->sts->http, &q, on_fetched, l);
    buf_fini(&url);
    if (!l->fetch)
        fetch_failed(l, TLS_RESULT_STS_POLICY_FETCH_ERROR, "too many requests at once");
}

/* ---- the record */
static bool record_id(const struct resolver_answer *a, char out[33])
{
    struct str txt[64], id;
    size_t n = 0;

    if (a->status != RESOLVER_FOUND)
        return false;
    for (; n < a->n && n < ARRAY_LEN(txt); n++)
        txt[n] = a->records[n].data;
    if (!sts_record_id(txt, n, &id))
        return false;
    memcpy(out, id.p, id.n); /* at most 32 */
    out[id.n] = '\0';
    return true;
}

/* In force and in use for a day: those who wait have it at once, and it is fetched meanwhile. */
static void refresh(struct lookup *l)
{
    struct entry *e = l->entry;
    struct list waiters;

    take_waiters(l, &waiters);
    fetch(l);
    answer_all(e, &waiters);
}

static void on_txt(void *ctx, const struct resolver_answer *a)
{
    struct lookup *l = ctx;
    struct entry *e = l->entry;

    l->txt = NULL;
    /* RFC 8461 3.1, 5.1: without a (good) record a policy that is in force stays so. */
    if (!record_id(a, l->id) || e->again_ms > loop_now_ms(e->sts->loop)) {
        finish(l);
        return;
    }
    if (!live(e) || strcmp(l->id, e->id) != 0)
        fetch(l);
    else if (e->fetched + DAY_MS <= clock_wall_ms() || e->fetched > clock_wall_ms())
        refresh(l);
    else
        finish(l);
}

static struct lookup *begin(struct entry *e)
{
    struct lookup *l = MEM_NEW(struct lookup);
    struct buf name;

    l->entry = e;
    list_init(&l->waiters);
    l->defer = (struct loop_defer){.fn = on_defer, .ctx = l};
    list_init(&l->defer.link);
    e->lookup = l;
    buf_init(&name, 300);
    buf_printf(&name, "_mta-sts." STR_FMT, STR_ARG(e->domain));
    l->txt = resolver_ask(e->sts->resolver, RESOLVER_TXT, buf_str(&name), NULL, on_txt, l);
    buf_fini(&name);
    if (!l->txt)
        loop_defer(e->sts->loop, &l->defer);
    return l;
}

struct sts_query *sts_find(struct sts *s, struct str domain,
                           void (*on_answer)(void *ctx, const struct sts_answer *a), void *ctx)
{
    struct entry *e = entry_get(s, domain);
    struct sts_query *q = MEM_NEW(struct sts_query);

    q->on_answer = on_answer;
    q->ctx = ctx;
    list_init(&q->link);
    struct lookup *l = e->lookup ? e->lookup : begin(e);
    list_add(&l->waiters, &q->link);
    return q;
}

void sts_cancel(struct sts_query **qp)
{
    struct sts_query *q = *qp;

    *qp = NULL;
    if (!q)
        return;
    list_del(&q->link); /* the lookup goes on: it fills the cache */
    mem_free(q);
}

/* ---- all of it */
struct sts *sts_new(struct loop *l, struct resolver *r, struct http_client *h, struct store *store)
{
    struct sts *s = MEM_NEW(struct sts);

    s->loop = l;
    s->resolver = r;
    s->http = h;
    s->map = map_new();
    list_init(&s->lru);
    if (store)
        s->rows = sts_rows_new(l, store);
    sts_rows_load(s->rows, on_row, on_news, s);
    return s;
}

void sts_free(struct sts **sp)
{
    struct sts *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    LIST_EACH(&s->lru, it)
    {
        struct entry *e = LIST_ITEM(it, struct entry, link);
        if (e->lookup) {
            CHECK(list_empty(&e->lookup->waiters));
            resolver_cancel(&e->lookup->txt);
            if (e->lookup->fetch)
                http_client_cancel(&e->lookup->fetch);
            loop_defer_cancel(&e->lookup->defer);
            mem_free(e->lookup);
        }
        entry_free(e);
    }
    sts_rows_close(&s->rows);
    map_free(&s->map);
    mem_free(s);
}
