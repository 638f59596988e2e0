/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery.c - start, settings, stop; what may be asked of all sites. */
#include "smtp/queue/delivery.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { FILE_THREADS = 2, FILE_JOBS = 1000 };

unsigned delivery_slots(const struct delivery *d)
{
    int64_t n = d->conf.relay->connections;
    return n > 0 ? (unsigned)n : 1;
}

/* ---- Settings. */

static int set_tls(struct delivery *d, struct err *err)
{
    const char *file = d->conf.relay->ca_file ? d->conf.relay->ca_file : "";
    struct tls_ctx *tls;

    if (d->tls && str_eq(str_from(d->ca_file), str_from(file)))
        return 0;
    if (tls_ctx_client(file, &tls, err))
        return -1;
    tls_ctx_unref(&d->tls);
    mem_free(d->ca_file);
    d->tls = tls;
    d->ca_file = str_dup_z(str_from(file));
    return 0;
}

static void forget_hosts(struct delivery *d)
{
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(d->sites, &pos, &name, &value))
        site_forget_hosts(value);
}

static void close_idle(struct delivery *d)
{
    LIST_EACH(&d->idle, it)
    hop_close(LIST_ITEM(it, struct hop, idle));
}

void delivery_set_conf(struct delivery *d, const struct relay_conf *relay,
                       struct snapshot *snapshot)
{
    struct snapshot *old = d->conf.snapshot;
    struct err err;

    d->conf.relay = relay;
    d->conf.snapshot = snapshot_ref(snapshot);
    snapshot_unref(&old);
    if (set_tls(d, &err))
        log_error(&d->log, "unusable", L_Z("setting", "relay.ca_file"), L_Z("reason", err.text));
    d->generation++; /* connections that are open may be of a login that is no more */
    close_idle(d);
    forget_hosts(d);
}

/* ---- Start. */

static void on_drained(void *ctx);
static void tell_stopped(void *ctx);

static struct delivery *make(const struct delivery_conf *conf)
{
    struct delivery *d = MEM_NEW(struct delivery);

    d->conf = *conf;
    snapshot_ref(d->conf.snapshot);
    d->hostname = str_dup_z(str_from(conf->hostname));
    d->origin = str_dup_z(str_from(conf->origin));
    d->log = (struct log_ctx){.module = "smtp"};
    d->rests = rests_new(conf->loop);
    flight_init(&d->flight);
    d->sites = map_new();
    list_init(&d->waiting);
    list_init(&d->touched);
    list_init(&d->idle);
    d->turn = (struct loop_defer){.fn = sites_turn, .ctx = d};
    d->stopped = (struct loop_defer){.fn = tell_stopped, .ctx = d};
    d->tick = timer_new(conf->loop, sites_tick, d);
    d->drain = timer_new(conf->loop, on_drained, d);
    return d;
}

int delivery_new(const struct delivery_conf *conf, struct delivery **out, struct err *err)
{
    const struct lane_conf files = {.name = "relay", .threads = FILE_THREADS, .depth = FILE_JOBS};
    struct delivery *d = make(conf);

    *out = NULL;
    if (set_tls(d, err) == 0)
        d->files = lane_new(conf->loop, &files, err);
    if (!d->files) {
        delivery_free(&d);
        return -1;
    }
    d->results = tls_results_new(conf->loop, conf->store);
    d->sts = sts_new(conf->loop, conf->resolver, conf->http, conf->store);
    d->nodes = nodes_new(d);
    scan_start(d);
    *out = d;
    return 0;
}

void delivery_set_filters(struct delivery *d, struct filters *f)
{
    d->filters = f;
}

/* ---- Stop. */

static void tell_stopped(void *ctx)
{
    struct delivery *d = ctx;

    if (d->told)
        return;
    d->told = true;
    timer_stop(d->drain);
    d->on_stopped(d->stop_ctx);
}

void delivery_check_stopped(struct delivery *d)
{
    if (d->stopping && !d->told && !d->hops && !d->ops && !d->scan && !d->n_mails &&
        list_empty(&d->flight.loads))
        loop_defer(d->conf.loop, &d->stopped);
}

/* What isn't under way ends; all: what is, too. */
static void end_site(struct site *s, bool all)
{
    LIST_EACH(&s->hops, it)
    {
        struct hop *h = LIST_ITEM(it, struct hop, link);
        if (all || h->state == HOP_OPENING || h->state == HOP_IDLE)
            hop_close(h);
    }
    LIST_EACH(&s->mails, it)
    {
        struct mail *m = LIST_ITEM(it, struct mail, of_site);
        if (all && m->outbound)
            mail_report_cancel(m);
        else if (all && m->again && !m->busy)
            mail_settle_later(m);
    }
    site_touch(s);
}

static void end_sites(struct delivery *d, bool all)
{
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(d->sites, &pos, &name, &value))
        end_site(value, all);
}

void delivery_abandon(struct delivery *d)
{
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(d->sites, &pos, &name, &value)) {
        struct site *s = value;
        LIST_EACH(&s->hops, it)
        {
            struct hop *h = LIST_ITEM(it, struct hop, link);
            if (h->state != HOP_SENDING || !smtp_client_at_end(h->client))
                hop_close(h);
        }
        site_drop_ready(s);
        s->due = true;
        site_touch(s);
    }
}

static void on_drained(void *ctx)
{
    struct delivery *d = ctx;

    d->drained = true;
    end_sites(d, true);
    loop_defer(d->conf.loop, &d->turn);
}

void delivery_stop(struct delivery *d, uint64_t drain_ms, void (*on_stopped)(void *ctx), void *ctx)
{
    d->stopping = true;
    d->on_stopped = on_stopped;
    d->stop_ctx = ctx;
    d->drained = drain_ms == 0;
    timer_stop(d->tick);
    nodes_free(&d->nodes);
    if (d->scan)
        scan_stop(d);
    end_sites(d, d->drained);
    if (!d->drained)
        timer_start(d->drain, drain_ms);
    loop_defer(d->conf.loop, &d->turn);
}

void delivery_free(struct delivery **dp)
{
    struct delivery *d = *dp;

    *dp = NULL;
    if (!d)
        return;
    nodes_free(&d->nodes);
    loop_defer_cancel(&d->turn);
    loop_defer_cancel(&d->stopped);
    sites_free(d);
    flight_fini(&d->flight);
    rests_free(&d->rests);
    sts_free(&d->sts);
    tls_results_free(&d->results);
    timer_free(&d->tick);
    timer_free(&d->drain);
    lane_free(&d->files);
    tls_ctx_unref(&d->tls);
    snapshot_unref(&d->conf.snapshot);
    mem_free(d->ca_file);
    mem_free(d->hostname);
    mem_free(d->origin);
    mem_free(d);
}

/* ---- At once. */

void delivery_wake(struct delivery *d, struct str name)
{
    struct site *s;

    if (d->stopping)
        return;
    if (name.n == 0) {
        scan_start(d);
        return;
    }
    s = site_get(d, name);
    s->due = true;
    site_touch(s);
}

struct flush {
    struct queue_change_op op;
    struct delivery *d;
    char *domain;
};

static void free_flush(struct flush *f)
{
    mem_free(f->domain);
    mem_free(f);
}

static void on_flushed(struct store_op *op)
{
    struct flush *f = CONTAINER_OF(op, struct flush, op.op);
    struct delivery *d = f->d;

    d->ops--;
    if (op->failed)
        log_warn(&d->log, "flush-failed", L_Z("domain", f->domain), L_Z("reason", op->err.text));
    else
        log_info(&d->log, "flushed", L_Z("domain", f->domain), L_UINT("rcpts", f->op.count));
    free_flush(f);
    if (d->stopping)
        delivery_check_stopped(d);
    else
        scan_start(d);
}

static void flush_rows(struct delivery *d, struct str domain, const char *dot)
{
    struct flush *f = MEM_NEW(struct flush);
    size_t dots = strlen(dot);

    queue_change_init(&f->op, on_flushed);
    f->d = d;
    f->domain = mem_alloc(domain.n + dots + 1);
    memcpy(f->domain, dot, dots);
    if (domain.n)
        memcpy(f->domain + dots, domain.p, domain.n);
    f->op.what = QUEUE_RETRY;
    f->op.filter = (struct queue_filter){.domain = str_from(f->domain), .state = QUEUE_WAITING};
    if (store_submit(d->conf.store, &f->op.op)) {
        log_warn(&d->log, "flush-failed", L_Z("domain", f->domain),
                 L_Z("reason", f->op.op.err.text));
        free_flush(f);
        return;
    }
    d->ops++;
}

void delivery_flush(struct delivery *d, struct str domain)
{
    if (d->stopping)
        return;
    rests_forget(d->rests, NULL);
    forget_hosts(d);
    flush_rows(d, domain, domain.n ? "." : "");
}

/* ---- What is known. */

void delivery_stats(const struct delivery *d, struct delivery_stats *out)
{
    unsigned idle = 0;

    for (const struct list *it = d->idle.next; it != &d->idle; it = it->next)
        idle++;
    *out = d->stats;
    out->connections = d->hops;
    out->idle = idle;
    out->sites = (unsigned)map_count(d->sites);
    out->in_flight = (unsigned)d->n_mails;
}

void delivery_each(const struct delivery *d,
                   void (*fn)(void *ctx, const struct delivery_site *site), void *ctx)
{
    struct str name;
    void *value;
    size_t pos = 0;

    while (map_next(d->sites, &pos, &name, &value)) {
        const struct site *s = value;
        struct delivery_site site = {.name = s->name,
                                     .connections = s->n_hops,
                                     .limit = s->limit,
                                     .in_flight = (unsigned)s->n_mails,
                                     .last = s->last ? s->last : ""};
        if (s->due)
            site.next_ms = clock_wall_ms();
        else if (s->next_ms != DELIVERY_NEVER)
            site.next_ms = s->next_ms;
        fn(ctx, &site);
    }
}
