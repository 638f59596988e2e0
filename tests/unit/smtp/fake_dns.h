/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fake_dns.h - DNS and HTTP of a test: resolver.h and http_client.h as far as askers see them.
 * Floor: tests. Defines their functions, so that the linker doesn't take the real ones. What isn't
 * said to exist is NXDOMAIN. Answers come at the end of the loop's turn. */
#ifndef PH_TESTS_FAKE_DNS_H
#define PH_TESTS_FAKE_DNS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/http_client.h"
#include <stdio.h>

enum { DNS_ROWS = 256, DNS_LOG = 256 };
struct dns_row {
    enum resolver_type type;
    const char *name, *target; /* target: the name after CNAMEs */
    enum resolver_status status;
    bool secure;
    struct resolver_record record;
};
static struct dns_row dns_rows[DNS_ROWS];
static size_t dns_n, dns_asked, dns_open;
static char dns_log[DNS_LOG][280]; /* "TYPE name" of each question */
static struct loop *dns_loop;

struct resolver_query {
    struct loop_defer defer;
    enum resolver_type type;
    char name[256];
    resolver_answer_fn on_answer;
    void *ctx;
};

static inline struct dns_row *dns_add(enum resolver_type type, const char *name)
{
    struct dns_row *r = &dns_rows[dns_n++];

    assert_true(dns_n <= DNS_ROWS);
    *r = (struct dns_row){.type = type, .name = name, .status = RESOLVER_FOUND};
    return r;
}
static inline void dns_fail(enum resolver_type type, const char *name, enum resolver_status s)
{
    dns_add(type, name)->status = s;
}
static inline struct dns_row *dns_ip(const char *name, const char *ip, bool secure)
{
    struct dns_row *r = dns_add(strchr(ip, ':') ? RESOLVER_AAAA : RESOLVER_A, name);

    snprintf(r->record.ip, sizeof r->record.ip, "%.*s", (int)sizeof r->record.ip - 1, ip);
    r->secure = secure;
    return r;
}
static inline void dns_mx(const char *name, uint16_t preference, const char *host, bool secure)
{
    struct dns_row *r = dns_add(RESOLVER_MX, name);

    r->record.name = str_from(host);
    r->record.preference = preference;
    r->secure = secure;
}
static inline void dns_txt(const char *name, const char *text)
{
    dns_add(RESOLVER_TXT, name)->record.data = str_from(text);
}
static inline void dns_tlsa(const char *name, unsigned usage, unsigned selector, unsigned matching,
                            struct str data, bool secure)
{
    struct dns_row *r = dns_add(RESOLVER_TLSA, name);

    r->record.usage = (uint8_t)usage;
    r->record.selector = (uint8_t)selector;
    r->record.matching = (uint8_t)matching;
    r->record.data = data;
    r->secure = secure;
}
static inline bool dns_was_asked(const char *question)
{
    for (size_t i = 0; i < dns_asked; i++)
        if (strcmp(dns_log[i], question) == 0)
            return true;
    return false;
}

static inline void dns_deliver(void *ctx)
{
    struct resolver_query *q = ctx;
    struct resolver_record records[DNS_ROWS];
    struct resolver_answer a = {.status = RESOLVER_NO_NAME, .records = records, .why = "because"};

    for (size_t i = 0; i < dns_n; i++) {
        struct dns_row *r = &dns_rows[i];
        if (strcmp(r->name, q->name) != 0)
            continue;
        if (r->type == q->type) {
            a.status = r->status;
            a.secure = r->secure;
            a.name = str_from(r->target);
            if (r->status == RESOLVER_FOUND)
                records[a.n++] = r->record;
        } else if (a.status == RESOLVER_NO_NAME) {
            a.status = RESOLVER_NO_DATA;
            a.secure = r->secure;
        }
    }
    dns_open--;
    q->on_answer(q->ctx, &a);
    mem_free(q);
}

struct resolver_query *resolver_ask(struct resolver *r, enum resolver_type type, struct str name,
                                    struct resolver_budget *budget, resolver_answer_fn on_answer,
                                    void *ctx)
{
    static const char *const names[] = {
        [RESOLVER_A] = "A",     [RESOLVER_CNAME] = "CNAME", [RESOLVER_MX] = "MX",
        [RESOLVER_TXT] = "TXT", [RESOLVER_AAAA] = "AAAA",   [RESOLVER_TLSA] = "TLSA"};
    struct resolver_query *q;

    (void)r;
    assert_true(dns_asked < DNS_LOG && name.n < sizeof q->name);
    if (budget && budget->queries && budget->asked++ >= budget->queries)
        return NULL;
    snprintf(dns_log[dns_asked++], sizeof dns_log[0], "%s " STR_FMT, names[type], STR_ARG(name));
    q = MEM_NEW(struct resolver_query);
    q->type = type;
    memcpy(q->name, name.p, name.n);
    q->on_answer = on_answer;
    q->ctx = ctx;
    q->defer = (struct loop_defer){.fn = dns_deliver, .ctx = q};
    list_init(&q->defer.link);
    dns_open++;
    loop_defer(dns_loop, &q->defer);
    return q;
}

void resolver_cancel(struct resolver_query **q)
{
    if (!*q)
        return;
    loop_defer_cancel(&(*q)->defer);
    dns_open--;
    mem_free(*q);
    *q = NULL;
}

/* ---- HTTP: one file for all, and the last URL. */
struct http_exchange {
    struct loop_defer defer;
    void (*on_done)(void *ctx, const struct http_answer *a);
    void *ctx;
};
static struct http_answer web_answer;
static char web_url[400];
static size_t web_asked, web_open;
static bool web_silent; /* no answer ever */

static inline void web_deliver(void *ctx)
{
    struct http_exchange *x = ctx;

    web_open--;
    x->on_done(x->ctx, &web_answer);
    mem_free(x);
}

struct http_exchange *http_client_send(struct http_client *h, const struct http_request *q,
                                       void (*on_done)(void *ctx, const struct http_answer *a),
                                       void *ctx)
{
    struct http_exchange *x = MEM_NEW(struct http_exchange);

    (void)h;
    assert_string_equal(q->method, "GET");
    assert_true(q->max_body == 65536 && q->timeout_ms == 60000);
    snprintf(web_url, sizeof web_url, "%s", q->url);
    web_asked++;
    web_open++;
    x->on_done = on_done;
    x->ctx = ctx;
    x->defer = (struct loop_defer){.fn = web_deliver, .ctx = x};
    list_init(&x->defer.link);
    if (!web_silent)
        loop_defer(dns_loop, &x->defer);
    return x;
}

void http_client_cancel(struct http_exchange **x)
{
    loop_defer_cancel(&(*x)->defer);
    web_open--;
    mem_free(*x);
    *x = NULL;
}

static inline void web_serves(unsigned status, const char *type, const char *body)
{
    web_answer =
        (struct http_answer){.status = status, .type = str_from(type), .body = str_from(body)};
}
static inline void web_fails(enum err_why why)
{
    web_answer = (struct http_answer){.failed = true};
    err_set(&web_answer.err, ERR_TEMP, why, "no answer");
}

static inline void fake_reset(struct loop *l)
{
    dns_n = dns_asked = web_asked = 0;
    web_silent = false;
    dns_loop = l;
    web_fails(ERR_WHY_OTHER);
}
#endif
