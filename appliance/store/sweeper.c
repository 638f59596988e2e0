/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sweeper.c - removes what nobody needs any more: rows of deleted mailboxes, bodies without
 * references, old expunges, files without a row. A round is one bulk operation of many slices on
 * the commit thread, then the files of the bodies it removed on lane body, then (once a day) a look
 * for stray files on lane store. */
#include "appliance/store/sweep.h"
#include <unistd.h>

enum { DAY_MS = 86400000, FIRST_AFTER_MS = 60000, EVERY_MS_MIN = 1000, EVERY_MS_MAX = 600000 };

struct sweep_waiter {
    struct list link;
    void (*on_swept)(void *ctx);
    void *ctx;
};
struct sweeper {
    struct store *store;
    struct timer *timer;
    bool busy, again, orphaned, look_for_strays;
    uint64_t strays_looked_ms;
    struct list waiters, served; /* of the next round, of this one */
    struct store_op op;
    struct sweep sweep;
    struct job files_job, strays_job;
    struct stray_scan *strays;
    bool strays_more;
    struct loop_defer end_later;
};

/* ---- A round: operation, files, strays. Loop, but for the run() of operation and jobs. */

static int sweep_run(struct store_op *op, struct store_tx *tx)
{
    struct sweeper *w = CONTAINER_OF(op, struct sweeper, op);

    return sweep_slice_tx(&w->sweep, tx, op->rerun, &op->err);
}

static void sweep_start(struct sweeper *w);

static void sweeper_dispose(struct sweeper *w)
{
    buf_fini(&w->sweep.files);
    stray_scan_free(&w->strays);
    store_unref(w->store);
    mem_free(w);
}

static void call_waiters(struct list *waiters)
{
    while (!list_empty(waiters)) {
        struct sweep_waiter *x = LIST_ITEM(waiters->next, struct sweep_waiter, link);
        list_del(&x->link);
        x->on_swept(x->ctx);
        mem_free(x);
    }
}

static uint64_t interval_ms(struct store *s)
{
    uint64_t ms = (uint64_t)sweep_grace_ms(s) / 4;

    return ms < EVERY_MS_MIN ? EVERY_MS_MIN : ms > EVERY_MS_MAX ? EVERY_MS_MAX : ms;
}

static void sweep_end(struct sweeper *w)
{
    stray_scan_free(&w->strays);
    w->busy = false;
    call_waiters(&w->served);
    if (w->orphaned) {
        call_waiters(&w->waiters);
        sweeper_dispose(w);
        return;
    }
    if (w->again)
        sweep_start(w);
    else
        timer_start(w->timer, interval_ms(w->store));
}

static void end_round(void *ctx)
{
    sweep_end(ctx);
}

static void run_strays(struct job *j, void *worker)
{
    struct sweeper *w = CONTAINER_OF(j, struct sweeper, strays_job);

    w->strays_more = worker && stray_scan_slice(w->strays, worker);
}

static void submit_strays(struct sweeper *w)
{
    if (w->orphaned || lane_submit(w->store->reader_lane, &w->strays_job) != 0)
        sweep_end(w);
}

static void on_strays_slice(struct job *j)
{
    struct sweeper *w = CONTAINER_OF(j, struct sweeper, strays_job);

    if (w->strays_more)
        submit_strays(w);
    else
        sweep_end(w);
}

static void look_for_strays(struct sweeper *w)
{
    uint64_t now = clock_mono_ms();

    if (!w->look_for_strays && w->strays_looked_ms && now - w->strays_looked_ms < DAY_MS) {
        sweep_end(w);
        return;
    }
    w->look_for_strays = false;
    w->strays_looked_ms = now;
    w->strays = stray_scan_new(w->store);
    submit_strays(w);
}

static void run_files(struct job *j, void *worker)
{
    struct sweeper *w = CONTAINER_OF(j, struct sweeper, files_job);

    (void)worker;
    for (size_t i = 0; i < w->sweep.files.n; i += sizeof(uint64_t)) {
        char path[BODY_PATH_MAX];
        uint64_t id;
        memcpy(&id, w->sweep.files.p + i, sizeof id);
        body_path(id, path);
        unlinkat(w->store->bodies_fd, path, 0); /* what stays is found as a stray */
    }
}

static void on_files_removed(struct job *j)
{
    look_for_strays(CONTAINER_OF(j, struct sweeper, files_job));
}

static void on_sweep_op(struct store_op *op)
{
    struct sweeper *w = CONTAINER_OF(op, struct sweeper, op);

    if (op->failed) {
        log_warn(&store_log, "sweep-failed", L_Z("why", op->err.text));
        buf_truncate(&w->sweep.files, w->sweep.slice_began.n_files * sizeof(uint64_t));
    }
    if (w->orphaned || w->sweep.elsewhere)
        sweep_end(w);
    else if (w->sweep.files.n == 0 || lane_submit(w->store->body_lane, &w->files_job) != 0)
        look_for_strays(w);
}

static void sweep_start(struct sweeper *w)
{
    w->busy = true;
    w->again = false;
    timer_stop(w->timer);
    while (!list_empty(&w->waiters)) {
        struct list *it = w->waiters.next;
        list_del(it);
        list_add(&w->served, it);
    }
    buf_fini(&w->sweep.files);
    w->sweep.at = w->sweep.slice_began = (struct sweep_at){0};
    w->op = (struct store_op){.run = sweep_run, .done = on_sweep_op, .cls = STORE_BULK};
    if (store_submit(w->store, &w->op) != 0)
        loop_defer(w->store->loop, &w->end_later); /* read-only or crowded */
}

static void on_timer(void *ctx)
{
    sweep_start(ctx);
}

static void request(struct sweeper *w)
{
    if (w->busy)
        w->again = true;
    else
        sweep_start(w);
}

void store_sweep(struct store *s, void (*on_swept)(void *ctx), void *ctx)
{
    struct sweeper *w = s->sweeper;
    struct sweep_waiter *x = MEM_NEW(struct sweep_waiter);

    x->on_swept = on_swept;
    x->ctx = ctx;
    list_add(&w->waiters, &x->link);
    w->look_for_strays = true;
    request(w);
}

static void on_soon(struct loop_post *p)
{
    struct store *s = CONTAINER_OF(p, struct store, sweep_post);

    atomic_store(&s->sweep_soon, false);
    if (!s->closed && s->sweeper)
        request(s->sweeper);
    store_unref(s);
}

void sweeper_soon(struct store *s)
{
    if (atomic_exchange(&s->sweep_soon, true))
        return;
    store_ref(s);
    loop_post(s->loop, &s->sweep_post, on_soon);
}

struct sweeper *sweeper_new(struct store *s)
{
    struct sweeper *w = MEM_NEW(struct sweeper);

    w->store = s;
    store_ref(s);
    list_init(&w->waiters);
    list_init(&w->served);
    buf_init(&w->sweep.files, SIZE_MAX / 2);
    w->files_job = (struct job){.run = run_files, .done = on_files_removed};
    w->strays_job = (struct job){.run = run_strays, .done = on_strays_slice};
    w->end_later = (struct loop_defer){.fn = end_round, .ctx = w};
    w->timer = timer_new(s->loop, on_timer, w);
    timer_start(w->timer, FIRST_AFTER_MS);
    return w;
}

void sweeper_free(struct sweeper **wp)
{
    struct sweeper *w = *wp;

    if (!w)
        return;
    *wp = NULL;
    timer_free(&w->timer);
    w->orphaned = true; /* a round under way ends at its next answer */
    if (!w->busy)
        sweeper_dispose(w);
}
