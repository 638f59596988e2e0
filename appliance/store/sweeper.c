/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sweeper.c - removes what nobody needs any more: rows of deleted mailboxes, bodies without
 * references, old expunges, files without a row. A round is one bulk operation of many slices on
 * the commit thread, then the files of the bodies it removed on lane body, then (once a day) a look
 * for stray files on lane store. */
#include "appliance/store/import.h"
#include "appliance/store/store_private.h"
#include <unistd.h>

enum {
    CHUNK = 64,
    MAILBOX_CHUNK = 200,
    FILES_PER_ROUND = 65536,
    EXPUNGED_DAYS = 30,
    DAY_MS = 86400000,
    FIRST_AFTER_MS = 60000,
    GRACE_TIGHT_MS = 10000,
    EVERY_MS_MIN = 1000,
    EVERY_MS_MAX = 600000
};

struct sweep_at { /* goes back to where its slice began when that is undone */
    int step;
    uint64_t mailbox; /* of the expunged rows */
    size_t n_files;
};
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
    struct sweep_at at, slice_began;
    struct buf files; /* ids of bodies whose file goes */
    struct job files_job, strays_job;
    struct stray_scan *strays;
    bool strays_more;
    struct loop_defer end_later;
};

/* ---- Deleted mailboxes. */

static int one_int(struct store_tx *tx, const char *text, uint64_t key, bool *found, uint64_t *out,
                   struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)key);
    rc = sql_step(st, err);
    *found = rc == 1;
    *out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int run_by_id(struct store_tx *tx, const char *text, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return sql_run(st, err);
}

static int remove_messages(struct store_tx *tx, uint64_t mailbox, size_t *n_out, struct err *err)
{
    struct message_pick pick = {.mailbox = mailbox, .last = UINT32_MAX, .max = CHUNK};
    struct message_info *list;
    struct arena *a = arena_new(0);
    int rc = message_pick_tx(tx, a, &pick, &list, n_out, err);

    for (size_t i = 0; rc == 0 && i < *n_out; i++)
        rc = message_delete_row_tx(tx, mailbox, list[i].uid, list[i].body, err);
    arena_free(&a);
    return rc;
}

/* By modseq, of which one has the messages of a slice of EXPUNGE at most. */
static int remove_expunged(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    struct sql_stmt *st;
    uint64_t modseq;

    for (*more_out = true; !store_tx_slice_over(tx);) {
        if (one_int(tx, "SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1",
                    mailbox, more_out, &modseq, err) != 0)
            return -1;
        if (!*more_out)
            return 0;
        if (sql_prepare(tx->db, "DELETE FROM expunged WHERE mailbox = ? AND modseq = ?", &st,
                        err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        sql_bind_int(st, 2, (int64_t)modseq);
        if (sql_run(st, err) != 0)
            return -1;
    }
    return 0;
}

int mailbox_remove_rows_tx(struct store_tx *tx, uint64_t id, bool *more_out, struct err *err)
{
    bool staged;
    size_t n;

    *more_out = true;
    do {
        if (remove_messages(tx, id, &n, err) != 0)
            return -1;
        if (store_tx_slice_over(tx))
            return 0;
    } while (n == CHUNK);
    if (remove_expunged(tx, id, more_out, err) != 0)
        return -1;
    if (*more_out)
        return 0;
    if (import_forget_tx(tx, id, more_out, err) != 0)
        return -1;
    if (*more_out)
        return 0;
    if (staging_exists_tx(tx, id, &staged, err) != 0 ||
        (staged && run_by_id(tx, "DELETE FROM moving WHERE target = ?", id, err) != 0) ||
        run_by_id(tx, "DELETE FROM keyword WHERE mailbox = ?", id, err) != 0)
        return -1;
    return run_by_id(tx, "DELETE FROM mailbox WHERE id = ?", id, err);
}

/* Each step does a part of its work: 0 step finished, 1 more of it, -1. */
static int sweep_mailboxes(struct sweeper *w, struct store_tx *tx, struct err *err)
{
    uint64_t id;
    bool found, more;

    (void)w;
    if (one_int(tx, "SELECT id FROM mailbox WHERE account = ? LIMIT 1", 0, &found, &id, err) != 0)
        return -1;
    if (!found)
        return 0;
    return mailbox_remove_rows_tx(tx, id, &more, err) == 0 ? 1 : -1;
}

static int sweep_stages(struct sweeper *w, struct store_tx *tx, struct err *err)
{
    (void)w;
    return staging_clean_stale_tx(tx, err);
}

/* ---- Bodies without references. */

struct dead {
    uint64_t since, id;
    bool in_file;
};

static int dead_list(struct store_tx *tx, uint64_t until, struct dead *out, size_t *n_out,
                     struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    if (sql_prepare(
            tx->db,
            "SELECT since, id, place FROM body_dead WHERE since < ? ORDER BY since LIMIT 64", &st,
            err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)until);
    while (*n_out < CHUNK && (rc = sql_step(st, err)) == 1)
        out[(*n_out)++] = (struct dead){(uint64_t)sql_int(st, 0), (uint64_t)sql_int(st, 1),
                                        sql_int(st, 2) == BODY_FILE};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int remove_body(struct sweeper *w, struct store_tx *tx, const struct dead *d,
                       struct err *err)
{
    static const char *const tables[] = {
        "DELETE FROM body_data WHERE id = ?", "DELETE FROM body_head WHERE id = ?",
        "DELETE FROM body_meta WHERE id = ?", "DELETE FROM body WHERE id = ?"};

    for (size_t i = d->in_file; i < ARRAY_LEN(tables); i++) {
        if (run_by_id(tx, tables[i], d->id, err) != 0)
            return -1;
    }
    if (d->in_file) {
        buf_add(&w->files, &d->id, sizeof d->id);
        w->at.n_files++;
    }
    return 0;
}

static int bury(struct sweeper *w, struct store_tx *tx, const struct dead *d, struct err *err)
{
    struct sql_stmt *st;
    uint64_t refs;
    bool found;

    if (sql_prepare(tx->db, "DELETE FROM body_dead WHERE since = ? AND id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)d->since);
    sql_bind_int(st, 2, (int64_t)d->id);
    if (sql_run(st, err) != 0 ||
        one_int(tx, "SELECT refs FROM body WHERE id = ?", d->id, &found, &refs, err) != 0)
        return -1;
    /* It may have come to life again by a second insert of the same sink. */
    return found && refs == 0 ? remove_body(w, tx, d, err) : 0;
}

/* When space is short, only what a reader may have open right now is spared. */
static int64_t grace_ms(struct store *s)
{
    uint64_t grace = s->conf->dead_grace;

    return (int64_t)(atomic_load(&s->tight) && grace > GRACE_TIGHT_MS ? GRACE_TIGHT_MS : grace);
}

static int sweep_bodies(struct sweeper *w, struct store_tx *tx, struct err *err)
{
    uint64_t until = ids_first_at(clock_wall_ms() - grace_ms(tx->store));
    struct dead list[CHUNK];
    size_t n;

    if (w->at.n_files >= FILES_PER_ROUND)
        return 0;
    if (dead_list(tx, until, list, &n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (bury(w, tx, &list[i], err) != 0)
            return -1;
    }
    return n == CHUNK;
}

/* ---- Old expunges: QRESYNC and CONDSTORE clients older than the floor synchronise in full. */

static int forget_expunged(struct store_tx *tx, uint64_t mailbox, uint64_t modseq, struct err *err)
{
    struct tx_mailbox *m;
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)modseq);
    if (sql_run(st, err) != 0)
        return -1;
    if (tx_mailbox_get(tx, mailbox, &m, err) != 0)
        return err->why == ERR_WHY_NOT_FOUND ? 0 : -1;
    bool changed = m->changed;
    tx_mailbox_edit(tx, m);
    m->changed = changed; /* nothing that a session shows */
    if (modseq > m->row.qresync_floor)
        m->row.qresync_floor = modseq;
    return 0;
}

/* The oldest expunge of a mailbox decides; in order of modseq they are in order of time. */
static int sweep_expunged_of(struct store_tx *tx, uint64_t mailbox, struct err *err)
{
    int64_t until = clock_wall_ms() / DAY_MS - EXPUNGED_DAYS;
    struct sql_stmt *st;
    int64_t modseq = 0;
    int rc;

    do {
        if (sql_prepare(
                tx->db,
                "SELECT modseq, day FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1", &st,
                err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        rc = sql_step(st, err);
        bool old = rc == 1 && sql_int(st, 1) < until;
        modseq = old ? sql_int(st, 0) : 0;
        sql_reset(st);
        if (rc < 0 || (old && forget_expunged(tx, mailbox, (uint64_t)modseq, err) != 0))
            return -1;
    } while (modseq != 0 && !store_tx_slice_over(tx));
    return modseq != 0;
}

static int sweep_expunged(struct sweeper *w, struct store_tx *tx, struct err *err)
{
    for (int i = 0; i < MAILBOX_CHUNK; i++) {
        uint64_t id;
        bool found;
        if (one_int(tx, "SELECT id FROM mailbox WHERE id > ? ORDER BY id LIMIT 1", w->at.mailbox,
                    &found, &id, err) != 0)
            return -1;
        if (!found)
            return 0;
        int rc = sweep_expunged_of(tx, id, err);
        if (rc != 0)
            return rc;
        w->at.mailbox = id;
    }
    return 1;
}

/* ---- The operation. */

typedef int (*sweep_step)(struct sweeper *w, struct store_tx *tx, struct err *err);
static const sweep_step steps[] = {sweep_mailboxes, sweep_stages, sweep_bodies, sweep_expunged};

static int sweep_run(struct store_op *op, struct store_tx *tx)
{
    struct sweeper *w = CONTAINER_OF(op, struct sweeper, op);

    if (op->rerun)
        w->at = w->slice_began;
    w->slice_began = w->at;
    buf_truncate(&w->files, w->at.n_files * sizeof(uint64_t));
    while (w->at.step < (int)ARRAY_LEN(steps)) {
        int rc = steps[w->at.step](w, tx, &op->err);
        if (rc < 0)
            return -1;
        w->at.step += rc == 0;
        if (store_tx_slice_over(tx))
            return committer_stopping(tx->store) ? STORE_DONE : STORE_AGAIN;
    }
    return STORE_DONE;
}

/* ---- A round, on the loop: operation, files, strays. */

static void sweep_start(struct sweeper *w);

static void sweeper_dispose(struct sweeper *w)
{
    buf_fini(&w->files);
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
    uint64_t ms = (uint64_t)grace_ms(s) / 4;

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
    for (size_t i = 0; i < w->files.n; i += sizeof(uint64_t)) {
        char path[BODY_PATH_MAX];
        uint64_t id;
        memcpy(&id, w->files.p + i, sizeof id);
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
        buf_truncate(&w->files, w->slice_began.n_files * sizeof(uint64_t));
    }
    if (w->orphaned)
        sweep_end(w);
    else if (w->files.n == 0 || lane_submit(w->store->body_lane, &w->files_job) != 0)
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
    buf_fini(&w->files);
    w->at = w->slice_began = (struct sweep_at){0};
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
    buf_init(&w->files, SIZE_MAX / 2);
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
