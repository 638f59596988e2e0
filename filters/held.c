/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held.c - which held messages are judged now: several at once, few for the same stage, so that one
 * that hangs keeps nobody else's mail; those of a stage that has just failed come after all others.
 * And the end of what lies in quarantine. */
#include "filters/held.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/held_private.h"

enum {
    START_MS = 1000,
    EXPIRE_EVERY_MS = 600000,
    AT_ONCE = 8,
    OF_ONE_STAGE = 2,
    ROWS_MAX = 20000,
    FAILED_MAX = 16,
    SAY_EVERY_MS = 3600 * 1000
};

struct held {
    struct filters *filters; /* NULL: closed; its job or operation frees it */
    struct timer *timer;
    struct list under_way;
    unsigned n_under_way;
    bool busy, again;   /* it is looking what there is; it shall look again */
    bool all, all_next; /* whatever next_ms says: this time, the next one */
    int64_t expired_ms;
    uint64_t full_said_ms;                   /* monotonic; 0: never */
    char failed[FAILED_MAX][HELD_STAGE_MAX]; /* stages that could not judge the last one */
    unsigned n_failed;
    /* what there is */
    struct job job;
    struct store_op op;
    struct arena *arena;
    struct queue_due_held *rows; /* id 0: done */
    size_t n_rows;
    struct err err;
};

struct filters *held_filters(const struct held *h)
{
    return h->filters;
}

static void dispose(struct held *h)
{
    arena_free(&h->arena);
    mem_free(h);
}

/* ---- Which is next. */

/* Of "a,b" the first is who held it; the others wait for that one. */
static struct str first_stage(struct str stages)
{
    struct str first, rest;

    str_cut(stages, ',', &first, &rest);
    return str_take(first, HELD_STAGE_MAX - 1);
}

static unsigned failed_at(const struct held *h, struct str stage)
{
    unsigned i = 0;

    while (i < h->n_failed && !str_eq(str_from(h->failed[i]), stage))
        i++;
    return i;
}

static void note_stage(struct held *h, const char *stage, bool failed)
{
    unsigned i = failed_at(h, str_from(stage));

    if (failed && i == h->n_failed && i < FAILED_MAX)
        memcpy(h->failed[h->n_failed++], stage, HELD_STAGE_MAX);
    else if (!failed && i < h->n_failed)
        memmove(h->failed[i], h->failed[--h->n_failed], HELD_STAGE_MAX);
}

static bool may_start(const struct held *h, const struct queue_due_held *row, bool failed)
{
    struct str stage = first_stage(row->stage);
    unsigned same = 0;

    if (!row->id || (failed_at(h, stage) < h->n_failed) != failed)
        return false;
    LIST_EACH(&h->under_way, l)
    {
        const struct held_one *o = LIST_ITEM(l, struct held_one, link);
        if (o->id == row->id)
            return false;
        same += str_eq(str_from(o->by), stage);
    }
    return same < OF_ONE_STAGE;
}

static struct queue_due_held *pick(struct held *h)
{
    for (int failed = 0; failed < 2; failed++)
        for (size_t i = 0; i < h->n_rows; i++)
            if (may_start(h, &h->rows[i], failed))
                return &h->rows[i];
    return NULL;
}

static void start_some(struct held *h)
{
    struct queue_due_held *row;

    while (h->filters && h->n_under_way < AT_ONCE && (row = pick(h)) != NULL) {
        struct held_one *o = held_one_start(h, row);
        row->id = 0;
        if (!o)
            return;
        struct str stage = first_stage(row->stage);
        memcpy(o->by, stage.p, stage.n);
        list_add(&h->under_way, &o->link);
        h->n_under_way++;
    }
}

void held_one_over(struct held_one *o, bool again)
{
    struct held *h = o->held;

    list_del(&o->link);
    h->n_under_way--;
    if (o->chain) /* it was judged */
        note_stage(h, o->by, again);
    held_one_free(&o);
    start_some(h);
}

void held_say_full(struct held *h, const struct err *why)
{
    const uint64_t now = clock_mono_ms();

    if (h->full_said_ms && now - h->full_said_ms < SAY_EVERY_MS)
        return;
    h->full_said_ms = now;
    log_warn(&(struct log_ctx){.module = "filters"}, "quarantine_full",
             L_Z("settings", "filters.quarantine_count, filters.quarantine_bytes"),
             L_Z("why", why->text));
}

/* ---- What there is. */

static void look(struct held *h);

static void run_look(struct job *j, void *worker)
{
    struct held *h = CONTAINER_OF(j, struct held, job);

    if (!worker || queue_due_held(worker, h->arena, h->all ? 0 : clock_wall_ms(), ROWS_MAX,
                                  &h->rows, &h->n_rows, &h->err))
        h->n_rows = 0;
}

static void looked(struct held *h)
{
    h->busy = false;
    timer_start(h->timer, h->again ? 0 : filters_settings(h->filters)->hold_retry);
    h->again = false;
    start_some(h);
}

static void on_looked(struct job *j)
{
    struct held *h = CONTAINER_OF(j, struct held, job);

    if (h->filters)
        looked(h);
    else
        dispose(h);
}

static void look(struct held *h)
{
    h->n_rows = 0;
    arena_clear(h->arena);
    h->job = (struct job){.run = run_look, .done = on_looked};
    if (lane_submit(store_lane(h->filters->env.store), &h->job))
        looked(h);
}

/* ---- Quarantine */

static int run_expire(struct store_op *op, struct store_tx *tx)
{
    size_t n;

    if (queue_expire_tx(tx, clock_wall_ms(), &n, &op->err))
        return -1;
    return n ? STORE_AGAIN : STORE_DONE;
}

static void on_expired(struct store_op *op)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    if (op->failed)
        log_warn(&(struct log_ctx){.module = "filters"}, "quarantine_not_swept",
                 L_Z("why", op->err.text));
    if (h->filters)
        look(h);
    else
        dispose(h);
}

static void on_timer(void *ctx)
{
    struct held *h = ctx;
    int64_t now = clock_wall_ms();

    h->busy = true;
    h->n_rows = 0;
    h->all = h->all_next;
    h->all_next = false;
    if (now - h->expired_ms < EXPIRE_EVERY_MS && now >= h->expired_ms) {
        look(h);
        return;
    }
    h->expired_ms = now;
    h->op = (struct store_op){.run = run_expire, .done = on_expired, .cls = STORE_BULK};
    if (store_submit(h->filters->env.store, &h->op))
        look(h);
}

void held_wake(struct held *h)
{
    h->again = h->busy;
    if (!h->busy)
        timer_start(h->timer, 0);
}

void held_wake_all(struct held *h)
{
    h->all_next = true;
    held_wake(h);
}

struct held *held_new(struct filters *f)
{
    struct held *h = MEM_NEW(struct held);
    const uint64_t retry = filters_settings(f)->hold_retry;

    h->filters = f;
    h->arena = arena_new(4096);
    list_init(&h->under_way);
    h->timer = timer_new(f->env.loop, on_timer, h);
    /* The first look is for what was released meanwhile, the second sweeps. */
    timer_start(h->timer, retry < START_MS ? retry : START_MS);
    h->expired_ms = clock_wall_ms() - EXPIRE_EVERY_MS +
                    (int64_t)(retry < EXPIRE_EVERY_MS ? retry : EXPIRE_EVERY_MS);
    return h;
}

void held_free(struct held **hp)
{
    struct held *h = *hp;

    if (!h)
        return;
    *hp = NULL;
    timer_free(&h->timer);
    while (!list_empty(&h->under_way)) {
        struct held_one *o = LIST_ITEM(h->under_way.next, struct held_one, link);
        list_del(&o->link);
        held_one_free(&o);
    }
    h->filters = NULL;
    if (!h->busy)
        dispose(h);
}
