/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a thread of lane `directory` keeps open. */
#include "appliance/base/clock.h"
#include "appliance/directory/options.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_from.h"

enum {
    REOPEN_MS = 1000, /* what can't be opened isn't tried for each job */
    SLOW_MS = 500
};

struct directory_worker {
    const struct rows_from *source;
    struct rows *rows, *writer;
    struct sql *own;
    uint64_t began_ms, retry_ms, own_retry_ms;
};

static int worker_open(struct directory_worker *w, struct err *err)
{
    if (w->rows)
        return 0;
    if (rows_from_open(w->source, &w->rows, err) == 0)
        return 0;
    /* What the tables lack is said at once, each time; a server that is away isn't run after. */
    if (err->kind == ERR_TEMP)
        w->retry_ms = clock_mono_ms() + REOPEN_MS;
    err->kind = ERR_TEMP; /* whatever an administrator must do, the answer to mail is "later" */
    return -1;
}

void *worker_new(void *ctx)
{
    struct directory *d = ctx;
    struct err err;
    struct directory_worker *w = MEM_NEW(struct directory_worker);
    w->source = d->source;
    if (worker_open(w, &err) < 0)
        directory_failure(&err, "open");
    else if (!worker_own(w, &err))
        directory_failure(&err, "open our tables");
    return w;
}

void worker_free(void *ctx, void *worker)
{
    struct directory_worker *w = worker;
    (void)ctx;
    rows_close(&w->rows);
    rows_close(&w->writer);
    sql_close(&w->own);
    mem_free(w);
}

struct rows *worker_begin(struct directory_worker *w, struct err *err)
{
    w->began_ms = clock_mono_ms();
    if (w->began_ms < w->retry_ms) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "the directory's database cannot be reached");
        return NULL;
    }
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
    else if (own_open(w->source->dir, w->source->own, SCHEMA_READ, &w->own, err) < 0) {
        w->own = NULL;
        w->own_retry_ms = now + REOPEN_MS;
    }
    return w->own;
}

static int read_options(void *own, struct arena *m, struct str account,
                        struct directory_options *out, struct err *err)
{
    return options_read(own, m, account, out, err);
}

int worker_source(struct directory_worker *w, struct rows *rows, struct resolve_source *out,
                  struct err *err)
{
    *out = rows_source(rows);
    out->options = read_options;
    out->options_ctx = worker_own(w, err);
    out->now_s = clock_wall_ms() / 1000;
    return out->options_ctx ? 0 : -1;
}

/* A look-up that failed after a long time met a server that hangs: those who wait behind it are
 * told so at once, instead of waiting each for itself. */
void worker_end(struct directory_worker *w, bool broken)
{
    uint64_t now = clock_mono_ms();
    if (broken)
        sql_close(&w->own);
    if (!w->rows)
        return;
    rows_end(w->rows);
    if (!broken)
        return;
    rows_close(&w->rows);
    if (now - w->began_ms >= SLOW_MS)
        w->retry_ms = now + REOPEN_MS;
}

struct rows *worker_writer(struct directory_worker *w, struct err *err)
{
    if (!w->writer && rows_from_open_writer(w->source, &w->writer, err) < 0)
        w->writer = NULL;
    return w->writer;
}

void worker_drop_writer(struct directory_worker *w)
{
    rows_close(&w->writer);
}
