/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/oauth.h"

#include "appliance/base/clock.h"
#include "appliance/base/list.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include <openssl/evp.h>

enum { TOKENS = 2000, ANSWER_MAX = 64 << 10, DIGEST = 32 };

static const struct log_ctx oauth_log = {.module = "directory"};

// clang-format off
const struct ph_setting oauth_settings[] = {
    PH_SETTING(TEXT, oauth_conf, introspection, 0, "", 0, 0,
        "URL of the server that says whose an access token is (RFC 7662): https://, or http:// to this host. Empty: no logins by "
        "OAUTHBEARER and XOAUTH2."),
    PH_SETTING(TEXT, oauth_conf, client_id, 0, "", 0, 0,
        "Who we are to that server. Empty: it doesn't want to know."),
    PH_SETTING(SECRET, oauth_conf, client_secret, 0, "", 0, 0,
        "The secret that goes with it."),
    PH_SETTING(TEXT, oauth_conf, scope, PH_LIST, "", 0, 0,
        "What a token must be good for: all of these scopes."),
    PH_SETTING(TEXT, oauth_conf, user_claim, 0, "username", 0, 0,
        "Which part of the answer is the user's address or name: username, email, sub."),
    PH_SETTING(TEXT, oauth_conf, ca_file, 0, "", 0, 0,
        "Certificates that vouch for that server, as PEM. Empty: the system's."),
    PH_SETTING(TIME, oauth_conf, cache, 0, "1min", 0, 3600 * 1000,
        "How long a good token is remembered, never beyond its end: so long a token that was revoked still works."),
    PH_SETTING(TIME, oauth_conf, timeout, 0, "10s", 100, 60 * 1000,
        "How long its answer is waited for."),
    PH_SETTING_END};
// clang-format on

struct token {
    struct list link; /* oldest first */
    unsigned char digest[DIGEST];
    uint64_t until_ms;
    char *user;
};
struct oauth {
    const struct oauth_conf *conf;
    struct loop *loop;
    struct http_client *http;
    struct map *by_digest;
    struct list tokens, asks;
};
struct ask {
    struct list link;
    struct oauth *oauth;
    struct http_exchange *exchange;
    struct loop_defer later;
    struct arena *m;
    unsigned char digest[DIGEST];
    struct oauth_answer answer;
    oauth_fn on_answer;
    void *ctx;
};

static bool is_local(struct str url)
{
    static const char *const hosts[] = {"http://localhost", "http://127.0.0.1", "http://[::1]"};
    struct str path;
    size_t at;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct str host = str_from(hosts[i]), rest = str_skip(url, host.n), authority;
        str_cut(rest, '/', &authority, &path);
        if (str_chr(authority, '@', &at)) /* that was a user, and a password */
            continue;
        if (str_istarts(url, host) && (rest.n == 0 || rest.p[0] == ':' || rest.p[0] == '/'))
            return true;
    }
    return false;
}

int oauth_check(const struct oauth_conf *conf, struct err *err)
{
    struct str url = str_from(conf->introspection);
    if (url.n && !str_istarts(url, STR("https://")) && !is_local(url))
        return ERR(
            err, ERR_PROTO,
            "oauth.introspection is a URL with https://: whoever reads along has the tokens");
    if (url.n && !conf->user_claim[0])
        return ERR(err, ERR_PROTO, "oauth.user_claim is empty");
    return 0;
}

struct oauth *oauth_new(const struct oauth_conf *conf, struct loop *l, struct http_client *http)
{
    struct oauth *o = MEM_NEW(struct oauth);
    o->conf = conf;
    o->loop = l;
    o->http = http;
    o->by_digest = map_new();
    list_init(&o->tokens);
    list_init(&o->asks);
    return o;
}

static struct str key_of(const unsigned char digest[DIGEST])
{
    return str_of(digest, DIGEST);
}

static void forget(struct oauth *o, struct token *t)
{
    map_del(o->by_digest, key_of(t->digest));
    list_del(&t->link);
    mem_free(t->user);
    mem_free(t);
}

static void answer(struct ask *k)
{
    loop_defer_cancel(&k->later);
    list_del(&k->link);
    k->on_answer(k->ctx, &k->answer);
    arena_free(&k->m);
    mem_free(k);
}

void oauth_free(struct oauth **op)
{
    struct oauth *o = *op;
    *op = NULL;
    if (!o)
        return;
    LIST_EACH(&o->asks, it)
    {
        struct ask *k = LIST_ITEM(it, struct ask, link);
        if (k->exchange)
            http_client_cancel(&k->exchange);
        k->answer = (struct oauth_answer){.failed = true};
        err_set(&k->answer.err, ERR_TEMP, ERR_WHY_CANCELLED, "we are stopping");
        answer(k);
    }
    LIST_EACH(&o->tokens, it)
    forget(o, LIST_ITEM(it, struct token, link));
    map_free(&o->by_digest);
    mem_free(o);
}

size_t oauth_remembered(const struct oauth *o)
{
    return map_count(o->by_digest);
}

static void remember(struct oauth *o, const struct ask *k, int64_t seconds_left)
{
    uint64_t ms = o->conf->cache;
    struct token *t = map_get(o->by_digest, key_of(k->digest));
    if (seconds_left > 0 && (uint64_t)seconds_left < ms / 1000)
        ms = (uint64_t)seconds_left * 1000;
    if (t)
        forget(o, t);
    if (ms == 0)
        return;
    if (map_count(o->by_digest) >= TOKENS)
        forget(o, LIST_ITEM(o->tokens.next, struct token, link));
    t = MEM_NEW(struct token);
    memcpy(t->digest, k->digest, DIGEST);
    t->until_ms = clock_mono_ms() + ms;
    t->user = str_dup_z(k->answer.user);
    list_add(&o->tokens, &t->link);
    map_set(o->by_digest, key_of(t->digest), t);
}

static void fail(struct ask *k, const char *why)
{
    log_warn(&oauth_log, "oauth_failed", L_Z("error", why));
    k->answer.failed = true;
    if (k->answer.err.text != why)
        err_set(&k->answer.err, ERR_TEMP, ERR_WHY_OTHER, "%s", why);
    k->answer.err.kind = ERR_TEMP;
}

static void take(struct ask *k, const struct http_answer *a)
{
    int64_t now = clock_wall_ms() / 1000, until;
    struct oauth_answer *out = &k->answer;
    if (a->failed)
        fail(k, a->err.text);
    else if (a->status != 200)
        fail(k, arena_printf(k->m, "the server answers with status %u", a->status).p);
    else if (oauth_read(k->oauth->conf, k->m, a->body, now, &out->active, &out->user, &until,
                        &out->err) < 0)
        fail(k, out->err.text);
    else if (out->active && memchr(out->user.p, 0, out->user.n))
        out->active = false; /* a name with a NUL is nobody's */
    else if (out->active)
        remember(k->oauth, k, until ? until - now : 0);
}

static void on_http(void *ctx, const struct http_answer *a)
{
    struct ask *k = ctx;
    k->exchange = NULL;
    take(k, a);
    answer(k);
}

static void on_later(void *ctx)
{
    answer(ctx);
}

static bool is_remembered(struct oauth *o, struct ask *k)
{
    struct token *t = map_get(o->by_digest, key_of(k->digest));
    if (t && clock_mono_ms() >= t->until_ms) {
        forget(o, t);
        t = NULL;
    }
    if (!t)
        return false;
    k->answer.active = true;
    k->answer.user = arena_str(k->m, str_from(t->user));
    return true;
}

void oauth_ask(struct oauth *o, struct str token, oauth_fn on_answer, void *ctx)
{
    struct ask *k = MEM_NEW(struct ask);
    struct str body, secret;
    unsigned n = DIGEST;
    k->oauth = o;
    k->m = arena_new(0);
    k->on_answer = on_answer;
    k->ctx = ctx;
    k->later = (struct loop_defer){.fn = on_later, .ctx = k};
    list_add(&o->asks, &k->link);
    bool digested = EVP_Digest(token.p, token.n, k->digest, &n, EVP_sha256(), NULL) == 1;
    if (digested && is_remembered(o, k)) {
        loop_defer(o->loop, &k->later);
        return;
    }
    oauth_question(o->conf, k->m, token, &body, &secret);
    const char *headers[] = {"Content-Type: application/x-www-form-urlencoded",
                             "Accept: application/json", secret.n ? secret.p : NULL, NULL};
    const struct http_request q = {.method = "POST",
                                   .url = o->conf->introspection,
                                   .headers = headers,
                                   .body = body,
                                   .max_body = ANSWER_MAX,
                                   .timeout_ms = o->conf->timeout};
    k->exchange = digested ? http_client_send(o->http, &q, on_http, k) : NULL;
    if (body.n)
        explicit_bzero((void *)(uintptr_t)body.p, body.n); /* our arena; the client has its copy */
    if (k->exchange)
        return;
    fail(k, "too many questions at once, or the URL isn't one");
    loop_defer(o->loop, &k->later);
}
