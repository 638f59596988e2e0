/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_rotate.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <stdio.h>

/* asks: at once, of as many as there may be with something to be done */
enum { PENDING_MAX = 1000, NAME_ROOM = 520 };

static const struct log_ctx log_dkim = {.module = "filters"};

struct pending { /* a key that isn't simply signing, or over */
    struct dkim_rotation *rotation;
    struct dkim_row row;
    bool replaces; /* another one signs as long as it doesn't */
    struct resolver_query *query;
};
struct step { /* on its way into the table */
    struct dkim_change_op change;
    struct dkim_change one;
    struct arena *arena;
};
struct dkim_rotation {
    struct loop *loop;
    struct store *store;
    struct resolver *resolver;
    struct dkim_rotate_conf conf;
    struct timer *timer;
    struct arena *arena; /* of the pending ones */
    struct pending *list;
    size_t n;
};

/* ---- Steps */

static void on_step(struct store_op *op)
{
    struct step *s = CONTAINER_OF(op, struct step, change.op);

    if (!op->failed)
        log_info(&log_dkim, "dkim_key", L_STR("domain", s->one.row.domain),
                 L_STR("selector", s->one.row.selector), L_Z("state", dkim_state_name(s->one.to)));
    else if (op->err.why != ERR_WHY_NOT_FOUND) /* else it was changed by hand meanwhile */
        log_warn(&log_dkim, "dkim_key_not_changed", L_STR("domain", s->one.row.domain),
                 L_STR("selector", s->one.row.selector), L_Z("reason", op->err.text));
    arena_free(&s->arena);
    mem_free(s);
}

static void step(struct pending *p, enum dkim_change_what what, enum dkim_state to, int64_t due)
{
    struct step *s = MEM_NEW(struct step);

    s->arena = arena_new(0);
    s->one = (struct dkim_change){.what = what, .row = p->row, .to = to};
    s->one.row.domain = arena_str(s->arena, p->row.domain);
    s->one.row.selector = arena_str(s->arena, p->row.selector);
    s->one.row.record = s->one.row.pem = STR_NULL;
    s->one.row.due = due;
    dkim_change_init(&s->change, &s->one, 1);
    s->change.op.done = on_step;
    if (store_submit(p->rotation->store, &s->change.op) == 0)
        return;
    arena_free(&s->arena); /* the next look comes */
    mem_free(s);
}

/* ---- The DNS */

static bool shows(struct str published, struct str text)
{
    struct dkim_record ours, theirs;
    struct arena *a = arena_new(0);
    struct err err = {0};
    bool same = dkim_record_parse(a, published, &ours, &err) == 0 &&
                dkim_record_parse(a, text, &theirs, &err) == 0 && ours.type == theirs.type &&
                str_eq(ours.key, theirs.key);

    arena_free(&a);
    return same;
}

static void on_seen(struct pending *p, bool seen)
{
    int64_t now = clock_wall_ms() / 1000;
    struct dkim_rotation *r = p->rotation;

    if (p->row.state == DKIM_PUBLISH && seen && p->replaces)
        step(p, DKIM_MOVE, DKIM_WAITING, now + (int64_t)(r->conf.wait / 1000));
    else if (seen)
        step(p, DKIM_SWITCH, DKIM_ACTIVE, 0);
    else if (p->row.state == DKIM_WAITING) {
        log_warn(&log_dkim, "dkim_record_gone", L_STR("domain", p->row.domain),
                 L_STR("selector", p->row.selector));
        step(p, DKIM_MOVE, DKIM_PUBLISH, 0);
    }
}

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct pending *p = ctx;
    bool seen = false;

    p->query = NULL;
    if (a->status == RESOLVER_BOGUS || a->status == RESOLVER_FAILED ||
        a->status == RESOLVER_OVER_BUDGET)
        return; /* nobody knows: the next look comes */
    for (size_t i = 0; i < a->n && a->status == RESOLVER_FOUND; i++)
        seen = seen || shows(p->row.record, a->records[i].data);
    on_seen(p, seen);
}

static void ask(struct pending *p)
{
    char name[NAME_ROOM];

    if (!p->rotation->resolver || p->query)
        return;
    snprintf(name, sizeof name, STR_FMT "._domainkey." STR_FMT, STR_ARG(p->row.selector),
             STR_ARG(p->row.domain));
    p->query =
        resolver_ask(p->rotation->resolver, RESOLVER_TXT, str_from(name), NULL, on_answer, p);
}

/* ---- Looking */

static void look_at(struct pending *p, int64_t now)
{
    struct dkim_rotation *r = p->rotation;
    const struct dkim_row *row = &p->row;

    if (row->state == DKIM_PUBLISH || (row->state == DKIM_WAITING && row->due <= now))
        ask(p);
    else if (row->state == DKIM_RETIRING && !row->due)
        step(p, DKIM_MOVE, DKIM_RETIRING, row->since + (int64_t)(r->conf.retire / 1000));
    else if (row->state == DKIM_RETIRING && row->due <= now)
        step(p, DKIM_MOVE, DKIM_RETIRED, 0);
}

static void on_timer(void *ctx)
{
    struct dkim_rotation *r = ctx;
    int64_t now = clock_wall_ms() / 1000;

    for (size_t i = 0; i < r->n; i++)
        look_at(&r->list[i], now);
    timer_start(r->timer, r->conf.check);
}

static void forget(struct dkim_rotation *r)
{
    for (size_t i = 0; i < r->n; i++)
        resolver_cancel(&r->list[i].query);
    r->n = 0;
    arena_clear(r->arena);
}

static bool replaces(const struct dkim_row *rows, size_t n, const struct dkim_row *row)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].state == DKIM_ACTIVE && rows[i].type == row->type &&
            str_eq(rows[i].domain, row->domain))
            return true;
    return false;
}

static void keep(struct dkim_rotation *r, const struct dkim_row *rows, size_t n,
                 const struct dkim_row *row)
{
    struct pending *p = &r->list[r->n++];

    *p = (struct pending){.rotation = r, .row = *row, .replaces = replaces(rows, n, row)};
    p->row.domain = arena_str(r->arena, row->domain);
    p->row.selector = arena_str(r->arena, row->selector);
    p->row.record = arena_str(r->arena, row->record);
    p->row.pem = STR_NULL;
}

void dkim_rotation_rows(struct dkim_rotation *r, const struct dkim_row *rows, size_t n)
{
    forget(r);
    r->list = ARENA_ARRAY(r->arena, struct pending, n < PENDING_MAX ? n + 1 : PENDING_MAX);
    for (size_t i = 0; i < n && r->n < PENDING_MAX; i++)
        if (rows[i].state != DKIM_ACTIVE && rows[i].state != DKIM_RETIRED)
            keep(r, rows, n, &rows[i]);
    on_timer(r);
}

void dkim_rotation_conf(struct dkim_rotation *r, const struct dkim_rotate_conf *conf)
{
    r->conf = *conf;
    timer_start(r->timer, conf->check);
}

struct dkim_rotation *dkim_rotation_new(struct loop *l, struct store *store,
                                        struct resolver *resolver,
                                        const struct dkim_rotate_conf *conf)
{
    struct dkim_rotation *r = MEM_NEW(struct dkim_rotation);

    *r = (struct dkim_rotation){.loop = l, .store = store, .resolver = resolver, .conf = *conf};
    r->arena = arena_new(0);
    r->timer = timer_new(l, on_timer, r);
    return r;
}

void dkim_rotation_free(struct dkim_rotation **rp)
{
    struct dkim_rotation *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    forget(r);
    timer_free(&r->timer);
    arena_free(&r->arena);
    mem_free(r);
}
