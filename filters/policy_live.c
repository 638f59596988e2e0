/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The rules as they are now: read anew, on lane store, whenever somebody has changed them. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/lanes.h"
#include "appliance/io/loop.h"
#include "filters/policy_rows.h"

enum { RETRY_MS = 1000 };

struct load { /* a job of the store's readers */
    struct job job;
    struct policy_live *live; /* NULL: closed */
    struct policy_set *set;
    struct err err;
};
struct policy_live {
    struct store *store;
    struct timer *retry;
    struct store_watch watch;
    struct policy_set *set;
    struct load *load; /* under way */
    bool again;        /* something changed since it began */
};

static int read_set(struct store_reader *r, struct policy_set **out, struct err *err)
{
    struct arena *a = arena_new(0);
    struct policy_rule *rules;
    size_t n;
    int rc = policy_rows_read(store_reader_sql(r), a, clock_wall_ms() / 1000, &rules, &n, err);

    if (rc == 0)
        *out = policy_set_new(rules, n);
    arena_free(&a);
    return rc;
}

static void load_begin(struct policy_live *l);

static void load_run(struct job *j, void *worker)
{
    struct load *ld = CONTAINER_OF(j, struct load, job);

    if (!worker)
        err_set(&ld->err, ERR_TEMP, ERR_WHY_OTHER, "the database can't be read");
    else if (read_set(worker, &ld->set, &ld->err))
        ld->set = NULL;
}

static void load_failed(struct policy_live *l, const char *why)
{
    log_warn(&(struct log_ctx){.module = "filters"}, "policy_not_read", L_Z("why", why));
    timer_start(l->retry, RETRY_MS);
}

static void load_done(struct job *j)
{
    struct load *ld = CONTAINER_OF(j, struct load, job);
    struct policy_live *l = ld->live;

    if (l) {
        l->load = NULL;
        if (ld->set) {
            policy_set_free(&l->set);
            l->set = ld->set;
            ld->set = NULL;
        } else {
            load_failed(l, ld->err.text);
        }
        if (l->again)
            load_begin(l);
    }
    policy_set_free(&ld->set);
    mem_free(ld);
}

static void load_begin(struct policy_live *l)
{
    l->again = l->load != NULL;
    if (l->load)
        return;
    struct load *ld = MEM_NEW(struct load);
    ld->job = (struct job){.run = load_run, .done = load_done};
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
    load_begin(CONTAINER_OF(w, struct policy_live, watch));
}

static int read_first(struct policy_live *l, struct err *err)
{
    struct store_reader *r;

    if (store_reader_open(l->store, &r, err))
        return -1;
    int rc = read_set(r, &l->set, err);
    store_reader_close(&r);
    return rc;
}

int policy_live_open(struct loop *loop, struct store *s, struct policy_live **out, struct err *err)
{
    struct policy_live *l = MEM_NEW(struct policy_live);

    l->store = s;
    if (!s) {
        l->set = policy_set_new(NULL, 0);
    } else if (read_first(l, err)) {
        mem_free(l);
        return -1;
    } else {
        l->retry = timer_new(loop, on_retry, l);
        l->watch.on_change = on_change;
        store_watch_add(s, POLICY_ROWS_WATCH, &l->watch);
    }
    *out = l;
    return 0;
}

void policy_live_close(struct policy_live **lp)
{
    struct policy_live *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    if (l->load)
        l->load->live = NULL; /* it goes with its answer */
    if (l->store)
        store_watch_del(l->store, &l->watch);
    timer_free(&l->retry);
    policy_set_free(&l->set);
    mem_free(l);
}

const struct policy_set *policy_live_set(const struct policy_live *l)
{
    return l->set;
}
