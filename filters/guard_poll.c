/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_poll.c - what other nodes ban, and no longer ban: the table is looked at every few seconds
 * by a job on lane store, and taken over when it isn't what it was. */
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/store.h"
#include "filters/guard_private.h"

enum { POLL_MS = 3000, ROWS_MAX = 4 * BANS_MAX };

struct probe { /* differs when rows differ: `since` of a ban that is put again does */
    int64_t n, since, until;
};
struct guard_poll {
    struct guard *guard; /* NULL: it has gone; the answer frees */
    struct timer *timer;
    struct store *store;
    struct job job;
    bool busy, failed, differs;
    uint64_t version; /* of our own rows, when the job began */
    struct probe last, now;
    struct arena *arena;
    struct guard_ban *list;
    size_t n;
};

static int probe(struct sql *db, struct probe *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    "SELECT COUNT(*), COALESCE(SUM(since), 0), COALESCE(SUM(until), 0) FROM ban",
                    &st, err))
        return -1;
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct probe){sql_int(st, 0), sql_int(st, 1), sql_int(st, 2)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int read_rows(struct guard_poll *p, struct sql *db, struct err *err)
{
    size_t max = p->now.n < ROWS_MAX ? (size_t)p->now.n : ROWS_MAX;
    struct sql_stmt *st;
    int rc = 0;

    p->list = ARENA_ARRAY(p->arena, struct guard_ban, max + 1);
    p->n = 0;
    if (sql_prepare(db,
                    "SELECT net, since, until, times, manual, reason FROM ban "
                    "ORDER BY manual DESC, until DESC",
                    &st, err))
        return -1;
    while (p->n < max && (rc = sql_step(st, err)) == 1)
        p->n += rows_read_ban(st, p->arena, &p->list[p->n]);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int look(struct guard_poll *p, struct store_reader *r, struct err *err)
{
    struct sql *db = store_reader_sql(r);

    if (probe(db, &p->now, err))
        return -1;
    p->differs = memcmp(&p->now, &p->last, sizeof p->now) != 0;
    return p->differs ? read_rows(p, db, err) : 0;
}

static void run(struct job *j, void *worker)
{
    struct guard_poll *p = CONTAINER_OF(j, struct guard_poll, job);
    struct err err;

    p->failed = true;
    if (!worker || store_read_begin(worker, &err))
        return;
    p->failed = look(p, worker, &err) != 0;
    store_read_end(worker);
}

static void dispose(struct guard_poll *p)
{
    arena_free(&p->arena);
    mem_free(p);
}

static void done(struct job *j)
{
    struct guard_poll *p = CONTAINER_OF(j, struct guard_poll, job);

    p->busy = false;
    if (!p->guard) {
        dispose(p);
        return;
    }
    /* What this node is about to write isn't in the rows yet: next time. */
    if (!p->failed && p->differs && rows_version(p->guard->rows) == p->version) {
        bans_replace(p->guard, p->list, p->n);
        p->last = p->now;
    }
    arena_clear(p->arena);
    timer_start(p->timer, POLL_MS);
}

static void on_timer(void *ctx)
{
    struct guard_poll *p = ctx;

    p->version = rows_version(p->guard->rows);
    p->busy = p->version % 2 == 0 && lane_submit(store_lane(p->store), &p->job) == 0;
    if (!p->busy)
        timer_start(p->timer, POLL_MS);
}

struct guard_poll *guard_poll_new(struct guard *g)
{
    struct guard_poll *p;

    if (!g->env.store || !store_shared(g->env.store))
        return NULL;
    p = MEM_NEW(struct guard_poll);
    p->guard = g;
    p->store = g->env.store;
    p->arena = arena_new(0);
    p->job = (struct job){.run = run, .done = done};
    p->timer = timer_new(g->env.loop, on_timer, p);
    timer_start(p->timer, POLL_MS);
    return p;
}

void guard_poll_free(struct guard_poll **pp)
{
    struct guard_poll *p = *pp;

    if (!p)
        return;
    *pp = NULL;
    timer_free(&p->timer);
    p->guard = NULL;
    if (!p->busy)
        dispose(p);
}
