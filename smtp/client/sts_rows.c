/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/behind.h"
#include "smtp/client/sts_private.h"

enum { WRITE_AFTER_MS = 1000, WAITING_MAX = 10000 };

static const struct log_ctx log_sts = {.module = "smtp"};

struct change {
    struct behind_row link;
    struct sts_row row; /* text.p NULL: delete it */
};
struct sts_rows {
    struct store *store;
    struct behind *behind;
    void (*on_news)(void *ctx, const struct sts_row *row);
    void *ctx;
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

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    for (struct behind_row *it = first; it; it = it->next)
        if (write_row(db, &CONTAINER_OF(it, struct change, link)->row, err))
            return -1;
    return 0;
}

void sts_rows_put(struct sts_rows *rows, const struct sts_row *row)
{
    struct arena *a;
    bool made;
    struct change *c =
        rows ? behind_add_key(rows->behind, row->domain, sizeof *c, &a, &made) : NULL;

    if (!c)
        return;
    c->row = (struct sts_row){.domain = arena_str(a, row->domain),
                              .id = arena_str(a, row->id),
                              .text = row->text.p ? arena_str(a, row->text) : STR_NULL,
                              .fetched = row->fetched,
                              .expires = row->expires};
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
    behind_free(&rows->behind);
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
                   void (*on_news)(void *ctx, const struct sts_row *row), void *ctx)
{
    struct store_reader *reader;
    struct err err;

    if (!rows)
        return;
    rows->on_news = on_news;
    rows->ctx = ctx;
    int rc = store_reader_open(rows->store, &reader, &err);
    if (rc == 0) {
        rc = load(store_reader_sql(reader), on_row, ctx, &err);
        store_reader_close(&reader);
    }
    if (rc) /* they will be fetched again */
        log_warn(&log_sts, "sts_not_read", L_Z("why", err.text));
}

/* ---- other nodes */
static int read_rows(struct sql *db, const struct news_ask *ask, struct news_rows *out,
                     struct err *err)
{
    struct arena *a = news_arena(out);
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    ask->max ? "SELECT domain, id, fetched, expires, policy FROM sts_policy WHERE "
                               "domain > ? ORDER BY domain LIMIT ?"
                             : "SELECT domain, id, fetched, expires, policy FROM sts_policy WHERE "
                               "domain = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, ask->key);
    if (ask->max)
        sql_bind_int(st, 2, (int64_t)ask->max);
    while ((rc = sql_step(st, err)) == 1) {
        struct sts_row *row = news_row(out, sql_text(st, 0), sizeof *row);
        *row = (struct sts_row){.domain = arena_str(a, sql_text(st, 0)),
                                .id = arena_str(a, sql_text(st, 1)),
                                .fetched = sql_int(st, 2),
                                .expires = sql_int(st, 3),
                                .text = arena_str(a, sql_blob(st, 4))};
    }
    sql_reset(st);
    return rc;
}

/* A policy that another node has dropped is looked up again here when its time has come. */
static void take(void *ctx, struct str domain, const void *row)
{
    struct sts_rows *rows = ctx;

    (void)domain;
    if (row && rows->on_news)
        rows->on_news(rows->ctx, row);
}

static const struct news_kind news = {.read = read_rows, .take = take};

struct sts_rows *sts_rows_new(struct loop *l, struct store *store)
{
    static const struct behind_kind kind = {.log = &log_sts,
                                            .event = "sts_not_written",
                                            .after_ms = WRITE_AFTER_MS,
                                            .rows_max = WAITING_MAX,
                                            .write = write_all,
                                            .table = "sts_policy",
                                            .news = &news};
    struct sts_rows *rows = MEM_NEW(struct sts_rows);

    rows->store = store;
    rows->behind = behind_new(l, store, &kind);
    behind_hear(rows->behind, rows);
    return rows;
}
