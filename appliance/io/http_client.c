/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_client.c - an exchange: its names are asked for, libcurl does the rest, the answer comes
 * from the loop. */
#include "appliance/base/log.h"
#include "appliance/base/metrics.h"
#include "appliance/io/http_client_private.h"
#include <stdio.h>

enum { ADDRESSES = 16, ADDRESS_TEXT = 48 };

enum { HTTP_OK, HTTP_REFUSED, HTTP_BROKEN, HTTP_FAILED, HTTP_RESULTS };
static const char *result_name(size_t i)
{
    static const char *const names[] = {"2xx", "4xx", "5xx", "failed"};

    return names[i];
}
METRIC(requests, HTTP_RESULTS, .type = METRIC_COUNTER,
       .name = "posthouse_http_client_requests_total",
       .help = "HTTP requests to others by what came of them; 3xx counts as 4xx.",
       .labels = {{"result", result_name, HTTP_RESULTS}});

static const struct log_ctx log_ctx = {.module = "http"};

/* ---- ends */

static void exchange_free(struct http_exchange *x)
{
    list_del(&x->link);
    x->client->n--;
    http_exchange_disconnect(x);
    for (size_t i = 0; i < ARRAY_LEN(x->lookups); i++)
        resolver_cancel(&x->lookups[i].query);
    timer_fini(&x->timer);
    curl_slist_free_all(x->headers);
    curl_url_cleanup(x->url);
    mem_free(x->body);
    mem_free(x->method);
    mem_free(x->host);
    mem_free(x->type);
    buf_fini(&x->addresses);
    buf_fini(&x->answer);
    mem_free(x);
}

static void client_free(struct http_client *h)
{
    http_multi_free(h);
    loop_defer_cancel(&h->deliver);
    mem_free(h->ca_file);
    mem_free(h);
}

static void count(const struct http_exchange *x)
{
    metric_inc(&requests, x->failed              ? HTTP_FAILED
                          : x->status / 100 == 2 ? HTTP_OK
                          : x->status / 100 == 5 ? HTTP_BROKEN
                                                 : HTTP_REFUSED);
    if (x->failed)
        log_debug(&log_ctx, "request_failed", L_Z("host", x->host), L_Z("why", x->err.text));
}

static void answer(struct http_exchange *x)
{
    struct http_answer a = {.failed = x->failed,
                            .err = x->err,
                            .status = x->status,
                            .type = str_from(x->type),
                            .body = x->failed ? STR_NULL : buf_str(&x->answer)};

    count(x);
    x->answering = true;
    x->on_done(x->ctx, &a);
    exchange_free(x);
}

/* What is there now; what the callbacks cause comes in the next round. */
static void deliver(void *ctx)
{
    struct http_client *h = ctx;
    struct list batch = h->done;

    if (list_empty(&h->done))
        return;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&h->done);
    h->delivering = true;
    while (!list_empty(&batch)) {
        struct http_exchange *x = LIST_ITEM(batch.next, struct http_exchange, link);
        list_del(&x->link);
        if (h->freed)
            exchange_free(x);
        else
            answer(x);
    }
    h->delivering = false;
    if (h->freed)
        client_free(h);
}

void http_exchange_finish(struct http_exchange *x)
{
    struct http_client *h = x->client;

    http_exchange_disconnect(x);
    timer_stop(&x->timer);
    for (size_t i = 0; i < ARRAY_LEN(x->lookups); i++)
        resolver_cancel(&x->lookups[i].query);
    list_del(&x->link);
    list_add(&h->done, &x->link);
    loop_defer(h->loop, &h->deliver);
}

void http_exchange_fail(struct http_exchange *x, enum err_kind kind, enum err_why why,
                        const char *fmt, ...)
{
    char text[sizeof(x->err.text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(&x->err, kind, why, "%s", text);
    x->failed = true;
    http_exchange_finish(x);
}

static void on_late(void *ctx)
{
    struct http_exchange *x = ctx;

    http_exchange_fail(x, ERR_TEMP, ERR_WHY_OTHER, "%s: no answer within %llu ms", x->host,
                       (unsigned long long)x->timeout_ms);
}

/* ---- names */

static void add_address(struct http_exchange *x, const char *ip)
{
    if (x->n_addresses == ADDRESSES)
        return;
    buf_printf(&x->addresses, strchr(ip, ':') ? "%s[%s]" : "%s%s", x->n_addresses ? "," : "", ip);
    x->n_addresses++;
}

static void no_address(struct http_exchange *x)
{
    bool absent = true;

    for (size_t i = 0; i < ARRAY_LEN(x->lookups); i++)
        absent &= !x->lookups[i].ended || x->lookups[i].status == RESOLVER_NO_NAME ||
                  x->lookups[i].status == RESOLVER_NO_DATA;
    if (absent)
        http_exchange_fail(x, ERR_PERM, ERR_WHY_NOT_FOUND, "%s: no such host", x->host);
    else
        http_exchange_fail(x, ERR_TEMP, ERR_WHY_OTHER, "%s: its address can't be found now",
                           x->host);
}

static void when_found(struct http_exchange *x)
{
    for (size_t i = 0; i < ARRAY_LEN(x->lookups); i++)
        if (x->lookups[i].query)
            return;
    if (x->n_addresses)
        http_exchange_connect(x);
    else
        no_address(x);
}

static void on_addresses(void *ctx, const struct resolver_answer *a)
{
    struct http_lookup *look = ctx;

    look->query = NULL;
    look->status = a->status;
    for (size_t i = 0; i < a->n; i++)
        add_address(look->exchange, a->records[i].ip);
    when_found(look->exchange);
}

static void look_up(struct http_exchange *x, struct http_lookup *look, enum resolver_type type)
{
    look->exchange = x;
    look->ended = true;
    look->status = RESOLVER_FAILED;
    look->query =
        resolver_ask(x->client->resolver, type, str_from(x->host), &x->budget, on_addresses, look);
}

static void begin(struct http_exchange *x)
{
    int inet = x->client->inet;

    if (x->literal) {
        http_exchange_connect(x);
        return;
    }
    if (inet != 4)
        look_up(x, &x->lookups[0], RESOLVER_AAAA);
    if (inet != 6)
        look_up(x, &x->lookups[1], RESOLVER_A);
    when_found(x);
}

/* ---- requests */

struct http_exchange *http_client_send(struct http_client *h, const struct http_request *q,
                                       void (*on_done)(void *ctx, const struct http_answer *a),
                                       void *ctx)
{
    if (h->n >= h->most)
        return NULL;
    struct http_exchange *x = MEM_NEW(struct http_exchange);
    x->client = h;
    x->on_done = on_done;
    x->ctx = ctx;
    list_init(&x->link);
    timer_init(&x->timer, h->loop, on_late, x);
    buf_init(&x->addresses, (size_t)ADDRESSES * ADDRESS_TEXT);
    h->n++;
    if (!http_exchange_take(x, q)) {
        exchange_free(x);
        return NULL;
    }
    buf_init(&x->answer, x->max_body);
    list_add(&h->active, &x->link);
    x->budget.deadline_ms = loop_now_ms(h->loop) + x->timeout_ms;
    timer_start(&x->timer, x->timeout_ms);
    begin(x);
    return x;
}

void http_client_cancel(struct http_exchange **xp)
{
    struct http_exchange *x = *xp;

    *xp = NULL;
    if (x && !x->answering)
        exchange_free(x);
}

/* ---- life */

struct http_client *http_client_new(const struct http_client_conf *conf, struct err *err)
{
    struct http_client *h = MEM_NEW(struct http_client);

    h->loop = conf->loop;
    h->resolver = conf->resolver;
    h->most = conf->requests;
    h->inet = conf->inet;
    if (conf->ca_file && *conf->ca_file)
        h->ca_file = str_dup_z(str_from(conf->ca_file));
    list_init(&h->sockets);
    list_init(&h->active);
    list_init(&h->done);
    h->deliver = (struct loop_defer){.fn = deliver, .ctx = h};
    h->multi = http_multi_new(h);
    if (h->multi)
        return h;
    mem_free(h->ca_file);
    mem_free(h);
    err_set(err, ERR_TEMP, ERR_WHY_OTHER, "libcurl can't begin");
    return NULL;
}

static void free_all(struct list *exchanges)
{
    LIST_EACH(exchanges, it)
    exchange_free(LIST_ITEM(it, struct http_exchange, link));
}

void http_client_free(struct http_client **hp)
{
    struct http_client *h = *hp;

    if (!h)
        return;
    *hp = NULL;
    free_all(&h->active);
    free_all(&h->done);
    h->freed = true;
    if (!h->delivering)
        client_free(h);
}
