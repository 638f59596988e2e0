/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "smtp/client/sts_private.h"

enum { WRITE_AFTER_MS = 1000, WAITING_MAX = 10000 };

static const struct log_ctx log_sts = {.module = "smtp"};

struct change {
    struct change *next;
    struct sts_row row; /* text.p NULL: delete it */
};
struct write { /* what changed, in order; then an operation of the store */
    struct store_op op;
    struct arena *arena;
    struct change *first, **last;
    size_t n;
    struct sts_rows *rows; /* NULL: they have gone */
};
struct sts_rows {
    struct store *store;
    struct timer *timer;
    struct write *next, *under_way;
};

/* ---- writing */
static int write_row(struct sql *db, const struct sts_row *row, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM sts_policy WHERE domain = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, row->domain);
    if (sql_run(st, err))
        return -1;
    if (!row->text.p)
        return 0;
    if (sql_prepare(db,
                    "INSERT INTO sts_policy(domain, id, fetched, expires, policy) VALUES "
                    "(?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, row->domain);
    sql_bind_text(st, 2, row->id);
    sql_bind_int(st, 3, row->fetched);
    sql_bind_int(st, 4, row->expires);
    sql_bind_blob(st, 5, row->text);
    return sql_run(st, err);
}

static int run_write(struct store_op *op, struct store_tx *tx)
{
    struct write *w = CONTAINER_OF(op, struct write, op);

    err_clear(&op->err);
    for (const struct change *c = w->first; c; c = c->next)
        if (write_row(store_tx_sql(tx), &c->row, &op->err))
            return -1;
    return STORE_DONE;
}

static void write_free(struct write *w)
{
    if (!w)
        return;
    arena_free(&w->arena);
    mem_free(w);
}

static void not_written(const struct err *err, size_t n)
{
    log_warn(&log_sts, "sts_not_written", L_Z("why", err->text), L_UINT("rows", n));
}

static void on_written(struct store_op *op)
{
    struct write *w = CONTAINER_OF(op, struct write, op);

    if (op->failed)
        not_written(&op->err, w->n);
    if (w->rows) {
        w->rows->under_way = NULL;
        if (w->rows->next)
            timer_start(w->rows->timer, WRITE_AFTER_MS);
    }
    write_free(w);
}

static void on_timer(void *ctx)
{
    struct sts_rows *rows = ctx;
    struct write *w = rows->next;

    if (!w || rows->under_way)
        return; /* on_written goes on */
    rows->next = NULL;
    w->op = (struct store_op){
        .run = run_write, .done = on_written, .cls = STORE_INTERACTIVE, .upserts = true};
    if (store_submit(rows->store, &w->op) == 0) {
        rows->under_way = w;
    } else {
        not_written(&w->op.err, w->n);
        write_free(w);
    }
}

static struct write *waiting(struct sts_rows *rows)
{
    if (!rows->next) {
        struct write *w = rows->next = MEM_NEW(struct write);
        w->arena = arena_new(0);
        w->last = &w->first;
        w->rows = rows;
        if (!rows->under_way)
            timer_start(rows->timer, WRITE_AFTER_MS);
    }
    return rows->next->n < WAITING_MAX ? rows->next : NULL;
}

void sts_rows_put(struct sts_rows *rows, const struct sts_row *row)
{
    struct write *w = rows ? waiting(rows) : NULL;

    if (!w)
        return;
    struct change *c = ARENA_NEW(w->arena, struct change);
    c->row = (struct sts_row){.domain = arena_str(w->arena, row->domain),
                              .id = arena_str(w->arena, row->id),
                              .text = row->text.p ? arena_str(w->arena, row->text) : STR_NULL,
                              .fetched = row->fetched,
                              .expires = row->expires};
    *w->last = c;
    w->last = &c->next;
    w->n++;
}

void sts_rows_drop(struct sts_rows *rows, struct str domain)
{
    sts_rows_put(rows, &(struct sts_row){.domain = domain, .id = STR("")});
}

void sts_rows_close(struct sts_rows **rp)
{
    struct sts_rows *rows = *rp;

    *rp = NULL;
    if (!rows)
        return;
    if (rows->under_way)
        rows->under_way->rows = NULL; /* it goes with its answer */
    timer_free(&rows->timer);
    struct write *w = rows->next;
    if (w) {
        w->op = (struct store_op){.run = run_write, .cls = STORE_INTERACTIVE, .upserts = true};
        if (store_submit_wait(rows->store, &w->op))
            not_written(&w->op.err, w->n);
        write_free(w);
    }
    mem_free(rows);
}

/* ---- reading */
static int load(struct sql *db, void (*on_row)(void *ctx, const struct sts_row *row), void *ctx,
                struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    "SELECT domain, id, fetched, expires, policy FROM sts_policy ORDER BY fetched",
                    &st, err))
        return -1;
    while ((rc = sql_step(st, err)) == 1)
        on_row(ctx, &(struct sts_row){.domain = sql_text(st, 0),
                                      .id = sql_text(st, 1),
                                      .fetched = sql_int(st, 2),
                                      .expires = sql_int(st, 3),
                                      .text = sql_blob(st, 4)});
    sql_reset(st);
    return rc;
}

void sts_rows_load(struct sts_rows *rows, void (*on_row)(void *ctx, const struct sts_row *row),
                   void *ctx)
{
    struct store_reader *reader;
    struct err err;

    if (!rows)
        return;
    int rc = store_reader_open(rows->store, &reader, &err);
    if (rc == 0) {
        rc = load(store_reader_sql(reader), on_row, ctx, &err);
        store_reader_close(&reader);
    }
    if (rc) /* they will be fetched again */
        log_warn(&log_sts, "sts_not_read", L_Z("why", err.text));
}

struct sts_rows *sts_rows_new(struct loop *l, struct store *store)
{
    struct sts_rows *rows = MEM_NEW(struct sts_rows);

    rows->store = store;
    rows->timer = timer_new(l, on_timer, rows);
    return rows;
}
