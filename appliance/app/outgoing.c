/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/outgoing.h"
#include "appliance/base/mem.h"
#include "appliance/io/http_client.h"
#include "smtp/aggregate/aggregate.h"

enum { SRS_DAYS = 21, SRS_HASH = 8, HTTP_REQUESTS = 20 };

struct outgoing {
    struct arena *arena;
    struct srs_conf srs;
    struct http_client *http;
    struct delivery *delivery;
    struct aggregate *reports; /* NULL: not begun */
    struct outgoing_env env;   /* what was given at the start */
    struct loop *loop;
    struct store *store;
    struct store_watch released;
    bool stopped;
    void (*on_stopped)(void *ctx);
    void *stop_ctx;
};

static void on_released(struct store_watch *w)
{
    struct outgoing *o = CONTAINER_OF(w, struct outgoing, released);

    delivery_wake(o->delivery, STR_NULL);
}

static int open_srs(struct outgoing *o, const struct outgoing_env *env, struct err *err)
{
    const char *domain = env->config->relay.srs_domain;

    o->srs = (struct srs_conf){.max_age_days = SRS_DAYS, .hash_length = SRS_HASH};
    o->srs.domain = arena_str(o->arena, str_from(domain[0] ? domain : env->config->smtp.hostname));
    return outgoing_srs_keys(env->data, o->arena, &o->srs, err);
}

static int open_http(struct outgoing *o, const struct outgoing_env *env, struct err *err)
{
    struct http_client_conf conf = {.loop = env->loop,
                                    .resolver = env->resolver,
                                    .ca_file = env->config->relay.ca_file,
                                    .requests = HTTP_REQUESTS,
                                    .inet = env->config->relay.inet};

    o->http = http_client_new(&conf, err);
    return o->http ? 0 : -1;
}

static int open_delivery(struct outgoing *o, const struct outgoing_env *env, struct err *err)
{
    const char *origin = env->config->main.origin;
    struct delivery_conf conf = {.relay = &env->config->relay,
                                 .snapshot = env->snapshot,
                                 .hostname = env->config->smtp.hostname,
                                 .origin = origin[0] ? origin : env->config->smtp.hostname,
                                 .loop = env->loop,
                                 .store = env->store,
                                 .directory = env->directory,
                                 .resolver = env->resolver,
                                 .http = o->http,
                                 .srs = env->config->relay.srs ? &o->srs : NULL};

    return delivery_new(&conf, &o->delivery, err);
}

int outgoing_open(const struct outgoing_env *env, struct outgoing **out, struct err *err)
{
    struct outgoing *o = MEM_NEW(struct outgoing);

    o->arena = arena_new(0);
    o->env = *env;
    o->loop = env->loop;
    if (open_srs(o, env, err) || open_http(o, env, err) || open_delivery(o, env, err)) {
        outgoing_free(&o);
        return err_context(err, "mail to other hosts");
    }
    o->store = env->store;
    o->released.on_change = on_released;
    store_watch_add(o->store, STORE_WATCH_QUEUE, &o->released);
    *out = o;
    return 0;
}

void outgoing_set_filters(struct outgoing *o, struct filters *f)
{
    delivery_set_filters(o->delivery, f);
}

void outgoing_begin_reports(struct outgoing *o, struct smtp_server *server)
{
    const struct config *c = o->env.config;
    const char *host = c->smtp.hostname, *origin = c->main.origin;
    const struct aggregate_env env = {.conf = &c->reports,
                                      .snapshot = o->env.snapshot,
                                      .hostname = host,
                                      .origin = origin[0] ? origin : host,
                                      .loop = o->loop,
                                      .store = o->store,
                                      .resolver = o->env.resolver,
                                      .server = server};

    o->reports = aggregate_new(&env);
}

void outgoing_reports_now(struct outgoing *o)
{
    if (o->reports)
        aggregate_now(o->reports);
}

void outgoing_set_conf(struct outgoing *o, const struct config *config, struct snapshot *snapshot)
{
    if (o->reports)
        aggregate_set_conf(o->reports, &config->reports, snapshot);
    delivery_set_conf(o->delivery, &config->relay, snapshot);
}

const struct srs_conf *outgoing_srs(const struct outgoing *o)
{
    return &o->srs;
}

struct delivery *outgoing_delivery(const struct outgoing *o)
{
    return o->delivery;
}

static void on_stopped(void *ctx)
{
    struct outgoing *o = ctx;

    o->stopped = true;
    if (o->on_stopped)
        o->on_stopped(o->stop_ctx);
}

void outgoing_stop(struct outgoing *o, uint64_t drain_ms, void (*fn)(void *ctx), void *ctx)
{
    o->on_stopped = fn;
    o->stop_ctx = ctx;
    if (o->reports)
        aggregate_stop(o->reports);
    delivery_stop(o->delivery, drain_ms, on_stopped, o);
}

/* The start failed: what delivery has asked of the store meanwhile is still on its way. */
static void stop_now(struct outgoing *o)
{
    delivery_stop(o->delivery, 0, on_stopped, o);
    while (!o->stopped)
        loop_turn(o->loop, true);
}

void outgoing_free(struct outgoing **op)
{
    struct outgoing *o = *op;

    if (!o)
        return;
    *op = NULL;
    aggregate_free(&o->reports);
    if (o->store)
        store_watch_del(o->store, &o->released);
    if (o->delivery && !o->stopped)
        stop_now(o);
    if (o->delivery)
        delivery_free(&o->delivery);
    if (o->http)
        http_client_free(&o->http);
    arena_free(&o->arena);
    mem_free(o);
}
