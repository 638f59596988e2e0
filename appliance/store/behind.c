/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* behind.c - rows are collected in a batch, which then is an operation of the store; while it is
 * under way the next one gathers. */
#include "appliance/store/behind.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"

struct batch {
    struct store_op op;
    const struct behind_kind *kind;
    struct arena *arena;
    struct map *keys;
    struct behind_row *first, **last;
    size_t n;
    struct behind *owner; /* NULL: it has gone */
};
struct behind {
    struct store *store;
    const struct behind_kind *kind;
    struct timer *timer;
    struct batch *next, *under_way;
    struct news *news;
    struct news_kind hears;
    void *ctx; /* of kind->news */
};

static struct batch *batch_new(struct behind *b)
{
    struct batch *batch = MEM_NEW(struct batch);

    batch->kind = b->kind;
    batch->arena = arena_new(0);
    batch->keys = map_new();
    batch->last = &batch->first;
    batch->owner = b;
    return batch;
}

static void batch_free(struct batch *batch)
{
    map_free(&batch->keys);
    arena_free(&batch->arena);
    mem_free(batch);
}

/* ---- Collecting. */

static struct batch *waiting(struct behind *b)
{
    if (!b->next) {
        b->next = batch_new(b);
        if (!b->under_way)
            timer_start(b->timer, b->kind->after_ms);
    }
    return b->next;
}

void *behind_add(struct behind *b, size_t size, struct arena **arena_out)
{
    struct batch *batch = waiting(b);
    struct behind_row *row;

    *arena_out = batch->arena;
    if (batch->n >= b->kind->rows_max)
        return NULL;
    row = arena_alloc(batch->arena, size);
    memset(row, 0, size);
    *batch->last = row;
    batch->last = &row->next;
    batch->n++;
    return row;
}

void *behind_add_key(struct behind *b, struct str key, size_t size, struct arena **arena_out,
                     bool *made_out)
{
    struct batch *batch = waiting(b);
    void *row = map_get(batch->keys, key);

    *arena_out = batch->arena;
    *made_out = !row;
    if (row)
        return row;
    row = behind_add(b, size, arena_out);
    if (row)
        map_set(batch->keys, key, row);
    return row;
}

bool behind_waits(const struct behind *b)
{
    return b->next || b->under_way;
}

/* ---- Writing. */

static int run(struct store_op *op, struct store_tx *tx)
{
    struct batch *batch = CONTAINER_OF(op, struct batch, op);
    struct str key;
    size_t at = 0;

    err_clear(&op->err);
    if (batch->kind->write(store_tx_sql(tx), batch->first, &op->err))
        return -1;
    while (batch->kind->table && map_next(batch->keys, &at, &key, NULL))
        news_tell(tx, batch->kind->table, key);
    return STORE_DONE;
}

static void not_written(const struct batch *batch)
{
    log_warn(batch->kind->log, batch->kind->event, L_Z("why", batch->op.err.text),
             L_UINT("rows", batch->n));
}

static void prepare(struct batch *batch, void (*done)(struct store_op *))
{
    batch->op =
        (struct store_op){.run = run, .done = done, .cls = STORE_INTERACTIVE, .upserts = true};
}

static void on_written(struct store_op *op)
{
    struct batch *batch = CONTAINER_OF(op, struct batch, op);
    struct behind *b = batch->owner;

    if (op->failed)
        not_written(batch);
    if (b) {
        b->under_way = NULL;
        news_write_end(b->news);
        if (b->next)
            timer_start(b->timer, b->kind->after_ms);
    }
    batch_free(batch);
}

static void on_timer(void *ctx)
{
    struct behind *b = ctx;
    struct batch *batch = b->next;

    if (!batch || b->under_way)
        return; /* on_written goes on */
    if (!news_write_begin(b->news))
        return; /* resume() does */
    b->next = NULL;
    prepare(batch, on_written);
    if (store_submit(b->store, &batch->op) == 0) {
        b->under_way = batch;
        return;
    }
    news_write_end(b->news);
    not_written(batch);
    batch_free(batch);
}

/* ---- What other nodes write. */

static void take(void *ctx, struct str key, const void *row)
{
    struct behind *b = ctx;

    if (!b->next || !map_get(b->next->keys, key))
        b->kind->news->take(b->ctx, key, row);
}

static void forget(void *ctx)
{
    struct behind *b = ctx;

    if (b->kind->news->forget)
        b->kind->news->forget(b->ctx);
}

void behind_hear(struct behind *b, void *ctx)
{
    b->ctx = ctx;
    b->hears = (struct news_kind){
        .read = b->kind->news->read, .take = take, .forget = forget, .resume = on_timer};
    b->news = news_open(b->store, b->kind->table, &b->hears, b);
}

struct behind *behind_new(struct loop *l, struct store *s, const struct behind_kind *kind)
{
    struct behind *b = MEM_NEW(struct behind);

    b->store = s;
    b->kind = kind;
    b->timer = timer_new(l, on_timer, b);
    return b;
}

void behind_free(struct behind **bp)
{
    struct behind *b = *bp;

    if (!b)
        return;
    *bp = NULL;
    timer_free(&b->timer);
    news_close(&b->news);
    if (b->under_way) {
        store_wait(b->store, &b->under_way->op);
        b->under_way->owner = NULL; /* it goes with its answer */
    }
    if (b->next) {
        prepare(b->next, NULL);
        if (store_submit_wait(b->store, &b->next->op))
            not_written(b->next);
        batch_free(b->next);
    }
    mem_free(b);
}
