/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* appliance.c - the rooms: made, joined, given new settings, ended in order. The ports are
 * appliance_ports.c. */
#include "appliance/app/appliance.h"
#include "appliance/app/appliance_ports.h"
#include "appliance/app/control.h"
#include "appliance/app/outgoing.h"
#include "appliance/app/prober.h"
#include "appliance/app/revoked.h"
#include "appliance/app/stages.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "filters/alias_rows.h"
#include "filters/live.h"
#include <signal.h>

enum { DRAIN_MS = 10000, OAUTH_REQUESTS = 50 };

static const struct log_ctx log_app = {.module = "app"};

static void stopped_one(void *ctx)
{
    struct appliance *a = ctx;

    if (--a->stopping == 0)
        loop_stop(a->loop);
}

static void on_signal(void *ctx, int signum)
{
    struct appliance *a = ctx;

    if (a->stopping)
        return;
    if (signum == SIGHUP) {
        a->on_reload(a->ctx);
        return;
    }
    log_info(&log_app, "stopping", L_INT("signal", signum));
    if (a->on_stopping)
        a->on_stopping(a->ctx);
    uint64_t drain_ms = a->drain_ms ? a->drain_ms : DRAIN_MS;
    appliance_ports_stop(a);
    monitor_stopping(a->monitor);
    a->stopping = a->outgoing ? 4 : 3;
    if (a->outgoing)
        outgoing_stop(a->outgoing, drain_ms, stopped_one, a);
    smtp_server_stop(a->smtp, drain_ms, stopped_one, a);
    imap_server_stop(a->imap, drain_ms, stopped_one, a);
    control_stop(a->control, stopped_one, a);
}

static void on_revoked_elsewhere(void *ctx, struct str account)
{
    struct appliance *a = ctx;

    directory_forget(a->directory, account);
    smtp_server_end_account(a->smtp, account);
    imap_server_end_account(a->imap, account);
}

static void on_revoked(void *ctx, struct str account)
{
    struct appliance *a = ctx;

    on_revoked_elsewhere(a, account);
    revoked_tell(a->revoked, account);
}

/* The sealed appliance shows where mail would have gone. Without outgoing (relay.enabled was no at
 * the start) a message for another host would wait for ever. */
static const struct relay_conf *relay_of(const struct appliance *a, const struct config *c)
{
    return a->capture_account || a->outgoing ? &c->relay : NULL;
}

/* ---- mail to other hosts */
static void on_queued(void *ctx, struct str site)
{
    struct appliance *a = ctx;

    if (a->outgoing)
        delivery_wake(outgoing_delivery(a->outgoing), site);
}

/* It isn't counted: the queue is looked at later. */
static unsigned on_etrn(void *ctx, struct str domain)
{
    struct appliance *a = ctx;

    delivery_flush(outgoing_delivery(a->outgoing), domain);
    return 0;
}

static void on_queue_command(void *ctx, struct str site_or_domain, bool flush)
{
    struct appliance *a = ctx;

    filters_look_at_held(a->filters);
    if (a->outgoing && flush)
        delivery_flush(outgoing_delivery(a->outgoing), site_or_domain);
    else if (a->outgoing)
        delivery_wake(outgoing_delivery(a->outgoing), site_or_domain);
}

static void on_reports_command(void *ctx)
{
    outgoing_reports_now(((struct appliance *)ctx)->outgoing);
}

static int open_oauth(struct appliance *a, struct err *err)
{
    const struct oauth_conf *oauth = &a->config->oauth;
    const struct http_client_conf conf = {.loop = a->loop,
                                          .resolver = a->resolver,
                                          .ca_file = oauth->ca_file,
                                          .requests = OAUTH_REQUESTS,
                                          .inet = a->config->relay.inet};

    if (!oauth->introspection[0])
        return 0;
    a->http = http_client_new(&conf, err);
    if (!a->http)
        return err_context(err, "oauth");
    directory_set_oauth(a->directory, oauth, a->http);
    return 0;
}

static int open_outgoing(struct appliance *a, struct err *err)
{
    struct outgoing_env env = {.config = a->config,
                               .snapshot = a->snapshot,
                               .data = a->data,
                               .loop = a->loop,
                               .store = a->store,
                               .directory = a->directory};

    if (a->capture_account)
        return 0;
    if (resolver_open(&a->config->dns, a->loop, &a->resolver, err))
        return -1;
    env.resolver = a->resolver;
    if (open_oauth(a, err))
        return -1;
    return a->config->relay.enabled ? outgoing_open(&env, &a->outgoing, err) : 0;
}

static int start_servers(struct appliance *a, struct err *err)
{
    a->smtp = smtp_server_new(
        &(struct smtp_server_conf){.smtp = &a->config->smtp,
                                   .snapshot = a->snapshot,
                                   .loop = a->loop,
                                   .store = a->store,
                                   .directory = a->directory,
                                   .tls = a->tls,
                                   .guard = a->guard,
                                   .capture_account = a->capture_account,
                                   .relay = relay_of(a, a->config),
                                   .srs = a->outgoing ? outgoing_srs(a->outgoing) : NULL,
                                   .on_queued = on_queued,
                                   .on_etrn = a->outgoing ? on_etrn : NULL,
                                   .ctx = a,
                                   .origin = a->config->main.origin,
                                   .filters = a->filters,
                                   .aliases = a->aliases});
    if (a->outgoing)
        outgoing_begin_reports(a->outgoing, a->smtp);
    a->imap = imap_server_new(&(struct imap_server_conf){.imap = &a->config->imap,
                                                         .snapshot = a->snapshot,
                                                         .loop = a->loop,
                                                         .store = a->store,
                                                         .directory = a->directory,
                                                         .tls = a->tls,
                                                         .guard = a->guard});
    a->control = control_new(a->loop, a->misc, a->data->path, a->store, a->guard);
    control_set_directory(a->control, &a->config->directory);
    control_set_aliases(a->control, a->config->smtp.global_aliases);
    control_on_revoked(a->control, on_revoked, a);
    a->revoked = revoked_new(a->store, on_revoked_elsewhere, a);
    control_on_queue(a->control, on_queue_command, a);
    if (a->outgoing)
        control_on_reports(a->control, on_reports_command, a);
    if (appliance_ports_start(a, err))
        return -1;
    return control_start(a->control, a->control_listener, err);
}

static int start_monitor(struct appliance *a, struct err *err)
{
    struct monitor_conf conf = {.loop = a->loop,
                                .store = a->store,
                                .directory = a->directory,
                                .filters = a->filters,
                                .guard = a->guard};

    if (!a->metrics_listener)
        return 0;
    if (monitor_new(&conf, &a->monitor, err))
        return -1;
    return monitor_listen(a->monitor, a->metrics_listener, err);
}

static int open_guard(struct appliance *a, struct err *err)
{
    const struct guard_env env = {
        .loop = a->loop, .store = a->store, .conf = &a->config->guard, .snapshot = a->snapshot};

    return guard_open(&env, &a->guard, err);
}

int appliance_start(struct appliance *a, struct err *err)
{
    struct lane_conf misc = {.name = "misc", .threads = 1, .depth = 100};

    signal(SIGPIPE, SIG_IGN);
    a->loop = loop_new();
    a->signals[0] = loop_signal_new(a->loop, SIGTERM, on_signal, a);
    a->signals[1] = loop_signal_new(a->loop, SIGINT, on_signal, a);
    if (a->on_reload)
        a->signals[2] = loop_signal_new(a->loop, SIGHUP, on_signal, a);
    if (store_open(a->data->path, &a->config->store, a->loop, &a->store, err) ||
        database_claim_folder(a->data, &a->config->database, err) ||
        directory_open(a->data->path, &a->config->directory, a->loop, &a->directory, err) ||
        open_guard(a, err) || alias_live_open(a->loop, a->store, &a->aliases, err) ||
        open_outgoing(a, err))
        return -1;
    a->misc = lane_new(a->loop, &misc, err);
    if (!a->misc)
        return -1;
    if (stages_open(a->config, a->snapshot, a->loop, a->store, a->directory, a->resolver, a->runner,
                    &a->filters, err))
        return -1;
    if (a->outgoing) {
        outgoing_set_filters(a->outgoing, a->filters);
        a->callout = delivery_callout(outgoing_delivery(a->outgoing));
        prober_set(a->filters, a->callout);
    }
    return start_monitor(a, err) ? -1 : start_servers(a, err);
}

void appliance_reload(struct appliance *a, const struct config *c, struct snapshot *snapshot,
                      struct tls_ctx *tls)
{
    smtp_server_set_conf(a->smtp, &c->smtp, relay_of(a, c), snapshot, tls);
    imap_server_set_conf(a->imap, &c->imap, snapshot, tls);
    control_set_aliases(a->control, c->smtp.global_aliases);
    store_set_message_limit(a->store, c->store.message_limit);
    struct err err;
    if (guard_set_conf(a->guard, &c->guard, snapshot, &err))
        log_error(&log_app, "guard_not_reloaded", L_Z("error", err.text));
    if (a->resolver && resolver_reload(a->resolver, &c->dns, &err))
        log_error(&log_app, "resolver_not_reloaded", L_Z("error", err.text));
    if (a->outgoing)
        outgoing_set_conf(a->outgoing, c, snapshot);
    appliance_ports_set(a, tls);
}

void appliance_run(struct appliance *a)
{
    sigset_t more;

    loop_run(a->loop);
    /* A second signal shall not cut off what is done in order from here on. */
    sigemptyset(&more);
    sigaddset(&more, SIGTERM);
    sigaddset(&more, SIGINT);
    sigaddset(&more, SIGHUP);
    sigprocmask(SIG_BLOCK, &more, NULL);
}

void appliance_stop(struct appliance *a)
{
    appliance_ports_stop(a);
    if (a->metrics_listener)
        listener_stop(&a->metrics_listener);
    monitor_free(&a->monitor);
    for (size_t i = 0; i < ARRAY_LEN(a->signals); i++)
        if (a->signals[i])
            loop_signal_free(&a->signals[i]);
    revoked_free(&a->revoked);
    if (a->smtp)
        smtp_server_free(&a->smtp);
    if (a->imap)
        imap_server_free(&a->imap);
    if (a->control)
        control_free(&a->control);
    if (a->misc)
        lane_free(&a->misc);
    if (a->filters)
        prober_set(a->filters, NULL);
    callout_free(&a->callout);
    outgoing_free(&a->outgoing);
    guard_close(&a->guard);
    live_close(&a->aliases);
    filters_close(&a->filters);
    if (a->directory)
        directory_close(&a->directory);
    if (a->http)
        http_client_free(&a->http);
    if (a->resolver)
        resolver_close(&a->resolver);
    if (a->store)
        store_close(&a->store);
    if (a->loop) {
        loop_turn(a->loop, false);
        loop_free(&a->loop);
    }
}
