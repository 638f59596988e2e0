/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a thread of lane `directory` keeps open. */
#include "appliance/base/clock.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_sql.h"
#include "appliance/directory/schema.h"

enum { REOPEN_MS = 1000 }; /* what can't be opened isn't tried for each job */

struct directory_worker {
    const char *dir;
    struct rows *rows;
    struct sql *own;
    uint64_t retry_ms, own_retry_ms;
};

static int open_own(struct directory_worker *w, struct err *err)
{
    struct sql *db;
    if (directory_schema_open(w->dir, true, &db, err) < 0) {
        w->retry_ms = clock_mono_ms() + REOPEN_MS;
        return -1;
    }
    if (rows_sql_own(db, true, &w->rows, err) == 0)
        return 0;
    sql_close(&db);
    return -1;
}

static int worker_open(struct directory_worker *w, struct err *err)
{
    if (w->rows)
        return 0;
    if (clock_mono_ms() < w->retry_ms)
        return ERR(err, ERR_TEMP, "the directory's database cannot be opened");
    if (open_own(w, err) == 0)
        return 0;
    err->kind = ERR_TEMP; /* whatever an administrator must do, the answer to mail is "later" */
    return -1;
}

void *worker_new(void *ctx)
{
    struct directory *d = ctx;
    struct err err;
    struct directory_worker *w = MEM_NEW(struct directory_worker);
    w->dir = d->dir;
    if (worker_open(w, &err) < 0)
        directory_failure(&err, "open");
    return w;
}

void worker_free(void *ctx, void *worker)
{
    struct directory_worker *w = worker;
    (void)ctx;
    rows_close(&w->rows);
    sql_close(&w->own);
    mem_free(w);
}

struct rows *worker_begin(struct directory_worker *w, struct err *err)
{
    if (worker_open(w, err) < 0)
        return NULL;
    if (rows_begin(w->rows, err) == 0)
        return w->rows;
    rows_close(&w->rows);
    return NULL;
}

struct sql *worker_own(struct directory_worker *w, struct err *err)
{
    uint64_t now = clock_mono_ms();
    if (w->own)
        return w->own;
    if (now < w->own_retry_ms)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "our tables of accounts cannot be opened");
    else if (own_open(w->dir, true, &w->own, err) < 0) {
        w->own = NULL;
        w->own_retry_ms = now + REOPEN_MS;
    }
    return w->own;
}

void worker_end(struct directory_worker *w, bool broken)
{
    if (broken)
        sql_close(&w->own);
    if (!w->rows)
        return;
    rows_end(w->rows);
    if (broken)
        rows_close(&w->rows);
}
