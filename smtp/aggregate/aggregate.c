/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/aggregate/aggregate.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "smtp/aggregate/aggregate_private.h"

enum {
    DAY_S = 86400,
    DUE_AFTER_S = 10 * 60, /* counts are written a minute late, other nodes' clocks differ */
    SPREAD_S = 4 * 3600,
    FIRST_MS = 60 * 1000,
    ROUND_MS = 15 * 60 * 1000,
    JITTER_MS = 5 * 60 * 1000, /* several nodes seldom look at the same time */
    LIST_MAX = 200,
    AT_ONCE = 2,
    SENT_MAX = 2000 /* mails of a round: whoever sends us mail of many domains shall not make us
                       send as many within minutes */
};

/* ---- What is due. */

struct listing { /* a job of the store's readers */
    struct job job;
    struct aggregate *a; /* NULL: gone */
    const struct daily_table *table;
    int64_t before;
    struct daily after;
    struct arena *arena;
    struct daily *list;
    size_t n;
    struct err err;
    bool failed;
};

static const struct one_kind *kind_of(enum aggregate_kind k)
{
    static const struct one_kind *const kinds[] = {
        [AGGREGATE_DMARC] = &one_dmarc, [AGGREGATE_TLS] = &one_tls};

    return kinds[k];
}

static bool wanted(const struct aggregate *a, enum aggregate_kind k)
{
    return k == AGGREGATE_DMARC ? a->conf->dmarc : a->conf->tls;
}

static void pump(struct aggregate *a);

static void list_run(struct job *j, void *worker)
{
    struct listing *l = CONTAINER_OF(j, struct listing, job);

    l->failed = true;
    if (!worker)
        err_set(&l->err, ERR_TEMP, ERR_WHY_OTHER, "the database can't be read");
    else
        l->failed = daily_due(worker, l->arena, l->table, l->before, &l->after, LIST_MAX, &l->list,
                              &l->n, &l->err) != 0;
}

static void list_done(struct job *j)
{
    struct listing *l = CONTAINER_OF(j, struct listing, job);
    struct aggregate *a = l->a;

    if (a) {
        a->listing = NULL;
        if (l->failed)
            log_warn(&a->log, "reports_not_read", L_Z("reason", l->err.text));
        arena_free(&a->arena);
        a->arena = l->arena;
        l->arena = NULL;
        a->list = l->list;
        a->n = l->failed ? 0 : l->n;
        a->at = 0;
        a->last = a->n < LIST_MAX;
        pump(a);
    }
    arena_free(&l->arena);
    mem_free(l);
}

static void list_begin(struct aggregate *a)
{
    struct listing *l = MEM_NEW(struct listing);

    l->job = (struct job){.run = list_run, .done = list_done};
    l->a = a;
    l->table = kind_of(a->kind)->table;
    l->before = clock_wall_ms() / 1000 / DAY_S;
    l->arena = arena_new(0);
    l->after = (struct daily){.day = -1, .domain = STR("")};
    if (a->n) {
        l->after = a->list[a->n - 1];
        l->after.domain = arena_str(l->arena, l->after.domain);
    }
    if (lane_submit(store_lane(a->store), &l->job) == 0) {
        a->listing = l;
        return;
    }
    arena_free(&l->arena);
    mem_free(l);
    a->n = a->at = 0;
    a->last = true;
}

/* ---- A round: one kind after the other, some domains at a time. */

static bool is_due(const struct aggregate *a, const struct daily *d)
{
    int64_t at =
        (d->day + 1) * DAY_S + DUE_AFTER_S + (int64_t)(str_hash_fixed(d->domain) % SPREAD_S);

    return a->now || clock_wall_ms() / 1000 >= at;
}

static void begin_kind(struct aggregate *a, enum aggregate_kind k)
{
    a->kind = k;
    a->n = a->at = 0;
    a->last = false;
    while (a->kind < AGGREGATE_KINDS && !wanted(a, a->kind))
        a->kind++;
}

static void begin_round(struct aggregate *a, bool now)
{
    a->running = true;
    a->now = now;
    a->again = false;
    a->n_sent = 0;
    timer_stop(a->timer);
    begin_kind(a, AGGREGATE_DMARC);
    pump(a);
}

static void end_round(struct aggregate *a)
{
    a->running = false;
    arena_free(&a->arena);
    if (a->stopping)
        return;
    if (a->again)
        begin_round(a, true);
    else
        timer_start(a->timer, ROUND_MS + rand_u64() % JITTER_MS);
}

static void pump(struct aggregate *a)
{
    while (a->running && !a->listing && a->n_reports < AT_ONCE) {
        if (a->kind == AGGREGATE_KINDS || a->stopping || a->n_sent >= SENT_MAX) {
            if (a->n_reports == 0)
                end_round(a);
            return;
        }
        if (a->at < a->n) {
            const struct daily *d = &a->list[a->at++];
            if (is_due(a, d))
                one_begin(a, a->kind, d);
        } else if (a->last) {
            begin_kind(a, a->kind + 1);
        } else {
            list_begin(a);
        }
    }
}

static void on_pump(void *ctx)
{
    pump(ctx);
}

void aggregate_ended(struct aggregate *a)
{
    loop_defer(a->loop, &a->pump_later);
}

static void on_timer(void *ctx)
{
    begin_round(ctx, false);
}

void aggregate_now(struct aggregate *a)
{
    if (a->stopping)
        return;
    if (a->running)
        a->again = true;
    else
        begin_round(a, true);
}

/* ---- Its life. */

struct aggregate *aggregate_new(const struct aggregate_env *env)
{
    struct aggregate *a = MEM_NEW(struct aggregate);

    *a = (struct aggregate){.conf = env->conf,
                            .snapshot = snapshot_ref(env->snapshot),
                            .hostname = str_dup_z(str_from(env->hostname)),
                            .origin = str_dup_z(str_from(env->origin)),
                            .loop = env->loop,
                            .store = env->store,
                            .resolver = env->resolver,
                            .server = env->server,
                            .log = {.module = "smtp"}};
    a->pump_later = (struct loop_defer){.fn = on_pump, .ctx = a};
    list_init(&a->reports);
    a->timer = timer_new(a->loop, on_timer, a);
    timer_start(a->timer, FIRST_MS + rand_u64() % FIRST_MS);
    return a;
}

void aggregate_set_conf(struct aggregate *a, const struct reports_conf *conf,
                        struct snapshot *snapshot)
{
    struct snapshot *old = a->snapshot;

    a->conf = conf;
    a->snapshot = snapshot_ref(snapshot);
    snapshot_unref(&old);
}

void aggregate_stop(struct aggregate *a)
{
    a->stopping = true;
    timer_stop(a->timer);
}

void aggregate_free(struct aggregate **ap)
{
    struct aggregate *a = *ap;

    *ap = NULL;
    if (!a)
        return;
    a->running = false;
    loop_defer_cancel(&a->pump_later);
    LIST_EACH(&a->reports, it)
    one_orphan(LIST_ITEM(it, struct one, link));
    if (a->listing)
        a->listing->a = NULL;
    timer_free(&a->timer);
    arena_free(&a->arena);
    snapshot_unref(&a->snapshot);
    mem_free(a->hostname);
    mem_free(a->origin);
    mem_free(a);
}
