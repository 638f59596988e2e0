/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/live.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/lanes.h"
#include "appliance/io/loop.h"
#include "appliance/sql/sql.h"

enum { RETRY_MS = 1000 };

struct load { /* a job of the store's readers */
    struct job job;
    const struct live_kind *kind;
    struct live *live; /* NULL: closed */
    void *set;
    struct err err;
};
struct live {
    const struct live_kind *kind;
    struct store *store;
    struct timer *retry;
    struct store_watch watch;
    void *set;
    struct load *load; /* under way */
    bool again;        /* something changed since it began */
};

static void load_begin(struct live *l);

static void load_run(struct job *j, void *worker)
{
    struct load *ld = CONTAINER_OF(j, struct load, job);

    if (!worker)
        err_set(&ld->err, ERR_TEMP, ERR_WHY_OTHER, "the database can't be read");
    else if (ld->kind->read(worker, &ld->set, &ld->err))
        ld->set = NULL;
}

static void load_failed(struct live *l, const char *why)
{
    log_warn(&(struct log_ctx){.module = "filters"}, "rows_not_read", L_Z("of", l->kind->name),
             L_Z("why", why));
    timer_start(l->retry, RETRY_MS);
}

static void load_done(struct job *j)
{
    struct load *ld = CONTAINER_OF(j, struct load, job);
    struct live *l = ld->live;

    if (l) {
        l->load = NULL;
        if (ld->set) {
            l->kind->free(l->set);
            l->set = ld->set;
            ld->set = NULL;
        } else {
            load_failed(l, ld->err.text);
        }
        if (l->again)
            load_begin(l);
    }
    if (ld->set)
        ld->kind->free(ld->set);
    mem_free(ld);
}

static void load_begin(struct live *l)
{
    l->again = l->load != NULL;
    if (l->load)
        return;
    struct load *ld = MEM_NEW(struct load);
    ld->job = (struct job){.run = load_run, .done = load_done};
    ld->kind = l->kind;
    ld->live = l;
    if (lane_submit(store_lane(l->store), &ld->job) == 0) {
        l->load = ld;
        return;
    }
    mem_free(ld);
    load_failed(l, "too busy");
}

static void on_retry(void *ctx)
{
    load_begin(ctx);
}

static void on_change(struct store_watch *w)
{
    load_begin(CONTAINER_OF(w, struct live, watch));
}

static int read_first(struct live *l, struct err *err)
{
    struct store_reader *r;

    if (store_reader_open(l->store, &r, err))
        return -1;
    int rc = l->kind->read(r, &l->set, err);
    store_reader_close(&r);
    return rc;
}

int live_open(struct loop *loop, struct store *s, const struct live_kind *kind, struct live **out,
              struct err *err)
{
    struct live *l = MEM_NEW(struct live);

    l->kind = kind;
    l->store = s;
    if (!s) {
        l->set = kind->empty();
    } else if (read_first(l, err)) {
        mem_free(l);
        return -1;
    } else {
        l->retry = timer_new(loop, on_retry, l);
        l->watch.on_change = on_change;
        store_watch_add(s, kind->watch, &l->watch);
    }
    *out = l;
    return 0;
}

void live_close(struct live **lp)
{
    struct live *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    if (l->load)
        l->load->live = NULL; /* it goes with its answer */
    if (l->store)
        store_watch_del(l->store, &l->watch);
    timer_free(&l->retry);
    l->kind->free(l->set);
    mem_free(l);
}

const void *live_set(const struct live *l)
{
    return l->set;
}

int live_check_room(struct sql *db, const char *count, int max, const char *what, struct err *err)
{
    struct sql_stmt *st;
    int64_t n = 0;
    int rc;

    if (sql_prepare(db, count, &st, err))
        return -1;
    rc = sql_step(st, err);
    if (rc == 1)
        n = sql_int(st, 0);
    sql_reset(st);
    if (rc < 0)
        return -1;
    return n < max ? 0
                   : ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "there are %d %s already", max, what);
}
