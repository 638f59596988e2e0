/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer.c - the commit thread: group commit of operations. This is where a message becomes
 * durable (commit_members). A batch takes what waits, best class first, until 20 ms of work are
 * done; each member runs in a savepoint, so a failing one answers for itself; COMMIT flushes; then
 * all are answered by one post to the loop. While COMMIT runs, the next batch gathers in the queues
 * by itself: no timer, no delay. The first member needs no savepoint: if it fails, the transaction
 * holds nothing else. */
#include "appliance/store/committer.h"
#include "appliance/base/metrics.h"
#include "appliance/base/rand.h"
#include "appliance/store/node.h"
#include <time.h>

enum { RERUNS = 6 /* of an operation that loses against other nodes */ };
static const uint64_t commit_us[] = {250,   500,   1000,   2000,   5000,   10000,
                                     20000, 50000, 100000, 250000, 1000000};
static const uint64_t batch_ops[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024};
METRIC_BUCKETS(commit_time, commit_us, .name = "posthouse_store_commit_seconds", .scale = 6,
               .help = "How long a commit of the store took, with its flush.");
METRIC_BUCKETS(batch_size, batch_ops, .name = "posthouse_store_batch_operations",
               .help = "Operations that one commit made durable.");

/* ---- Members. */

static void settle(struct store *s, struct batch *b, struct store_op *op)
{
    struct committer *c = &s->committer;

    if (op->again && !op->failed) {
        op->rerun = false;
        op->cls = STORE_BULK;
        committer_requeue(c, op);
        return;
    }
    if (op->on_settled)
        op->on_settled(s, op);
    list_add(&b->settled, &op->link);
}

static void settle_failed(struct store *s, struct batch *b, struct store_op *op,
                          const struct err *err)
{
    op->failed = true;
    if (err)
        op->err = *err;
    settle(s, b, op);
}

enum member_end {
    MEMBER_RAN,
    MEMBER_FAILED,   /* undone; the others are as they were */
    MEMBER_LOST,     /* it failed and took the whole transaction with it */
    MEMBER_CONFLICT, /* the database undid all because of another node, or went away */
    MEMBER_OUTRUN    /* undone alone: another node inserted the same row */
};

static int member_begin(struct store_tx *tx, bool first, struct err *err)
{
    if (first)
        return sql_begin(tx->db, true, err);
    return sql_savepoint(tx->db, err);
}

static enum member_end member_undo(struct store_tx *tx, const struct store_op *op, bool first)
{
    bool conflict = tx->store->node && !sql_in_transaction(tx->db) && op->err.kind == ERR_TEMP;
    bool outrun = tx->store->node && op->upserts && op->err.why == ERR_WHY_EXISTS;
    struct err ignored;

    tx_member_undo(tx);
    if (!first && sql_in_transaction(tx->db) && sql_savepoint_rollback(tx->db, &ignored) == 0)
        return outrun ? MEMBER_OUTRUN : MEMBER_FAILED;
    sql_rollback(tx->db);
    tx_forget(tx);
    if (conflict || (outrun && !first))
        return MEMBER_CONFLICT;
    return outrun ? MEMBER_OUTRUN : first ? MEMBER_FAILED : MEMBER_LOST;
}

static enum member_end member_run(struct store_tx *tx, struct store_op *op)
{
    bool first = !sql_in_transaction(tx->db);

    op->again = false;
    if (member_begin(tx, first, &op->err) != 0) {
        if (first || sql_in_transaction(tx->db))
            return MEMBER_FAILED;
        sql_rollback(tx->db); /* the members before it are gone, and what is known of their rows */
        tx_forget(tx);
        return tx->store->node && op->err.kind == ERR_TEMP ? MEMBER_CONFLICT : MEMBER_LOST;
    }
    tx_member_begin(tx);
    int rc = op->run(op, tx);
    if (rc >= 0 && tx_member_end(tx, &op->err) == 0 &&
        (first || sql_savepoint_release(tx->db, &op->err) == 0)) {
        op->again = rc == STORE_AGAIN;
        return MEMBER_RAN;
    }
    return member_undo(tx, op, first);
}

/* ---- Commit. */

static void fail_all(struct store *s, struct batch *b)
{
    struct committer *c = &s->committer;
    struct err err;

    if (!atomic_exchange(&s->read_only, true))
        log_error(&store_log, "store-read-only",
                  L_Z("why", "a flush to disk failed: nothing is written until a restart"));
    err_set(&err, ERR_TEMP, ERR_WHY_READ_ONLY,
            "the store is read-only since a flush to disk failed");
    while (!list_empty(&b->members)) {
        struct list *it = b->members.next;
        list_del(it);
        settle_failed(s, b, LIST_ITEM(it, struct store_op, link), &err);
    }
    b->n_members = 0;
    for (struct store_op *op; (op = committer_take(c, b)); memset(b->served, 0, sizeof b->served))
        settle_failed(s, b, op, &err);
}

static void collect_changed(struct store_tx *tx, struct batch *b)
{
    LIST_EACH(&tx->mailbox_list, it)
    {
        struct tx_mailbox *m = LIST_ITEM(it, struct tx_mailbox, link);
        if (m->changed)
            buf_add(&b->changed, &m->id, sizeof m->id);
    }
    buf_add_str(&b->changed, buf_str(&tx->told));
}

static void note_committed(struct store *s, struct store_tx *tx, struct batch *b, uint64_t began)
{
    struct committer *c = &s->committer;
    uint64_t took = clock_mono_us() - began;

    metric_observe(&commit_time, took);
    metric_observe(&batch_size, b->n_members);
    tx_committed(tx);
    collect_changed(tx, b);
    pthread_mutex_lock(&c->lock);
    c->stats.batches++;
    c->stats.ops += b->n_members;
    c->stats.commit_us_total += took;
    if (took > c->stats.commit_us_max)
        c->stats.commit_us_max = took;
    if (b->n_members > c->stats.batch_ops_max)
        c->stats.batch_ops_max = b->n_members;
    pthread_mutex_unlock(&c->lock);
}

enum commit_end {
    COMMIT_DONE,   /* what the members did is on stable storage */
    COMMIT_UNDONE, /* nothing of it happened */
    COMMIT_UNKNOWN /* the database took the answer with it: who asks must be told to try later */
};

static enum commit_end commit_lost(struct store *s, struct store_tx *tx, uint64_t mark)
{
    switch (node_decide(s, tx->db, mark)) {
    case NODE_COMMITTED:
        return COMMIT_DONE;
    case NODE_UNDONE:
        return COMMIT_UNDONE;
    case NODE_UNDECIDED:
        break;
    }
    return COMMIT_UNKNOWN;
}

static enum commit_end commit_tx(struct store *s, struct store_tx *tx, struct batch *b,
                                 struct err *err)
{
    uint64_t began = clock_mono_us(), mark;
    enum commit_end end = COMMIT_UNDONE;

    if (!sql_in_transaction(tx->db)) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "the transaction was lost");
    } else if (tx_flush(tx, err) == 0 && watch_note_tx(tx, err) == 0 &&
               news_note_tx(tx, err) == 0 && node_mark_tx(tx, &mark, err) == 0) {
        if (sql_commit(tx->db, err) == 0)
            end = COMMIT_DONE;
        else if (err->why == ERR_WHY_UNKNOWN)
            end = commit_lost(s, tx, mark);
    }
    if (end == COMMIT_DONE)
        note_committed(s, tx, b, began);
    else
        sql_rollback(tx->db);
    tx_forget(tx);
    return end;
}

static void pause_a_little(unsigned attempt)
{
    long ms = 1 + (long)(rand_u64() % (UINT64_C(4) << attempt));

    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Renews the number of this node. -1: it has none, nothing may be written. */
static int tend_node(struct store *s, struct store_tx *tx, struct batch *b, struct err *err)
{
    uint64_t neighbours = STORE_WATCH_NODES;
    bool changed;

    if (node_tend(s, tx->db, &changed, err) != 0)
        return -1;
    if (changed) {
        buf_add(&b->changed, &neighbours, sizeof neighbours);
        sweeper_soon(s); /* what the others left unfinished */
    }
    return 0;
}

/* In a transaction of its own. False: it failed, op->err says. */
static bool run_alone(struct store *s, struct store_tx *tx, struct batch *b, struct store_op *op)
{
    for (unsigned attempt = 0;; attempt++) {
        enum member_end end = member_run(tx, op);
        if (end == MEMBER_RAN) {
            enum commit_end commit = commit_tx(s, tx, b, &op->err);
            if (commit == COMMIT_DONE)
                return true;
            if (commit == COMMIT_UNDONE && s->node && op->err.kind == ERR_TEMP)
                end = MEMBER_CONFLICT;
        }
        if ((end != MEMBER_CONFLICT && end != MEMBER_OUTRUN) || attempt == RERUNS ||
            sql_flush_failed(tx->db))
            return false;
        op->rerun = true;
        pause_a_little(attempt);
        if (tend_node(s, tx, b, &op->err) != 0)
            return false;
    }
}

static void move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *it = from->next;
        list_del(it);
        list_add(to, it);
    }
}

/* Their transaction is gone: each gets one of its own. */
static void retry_alone(struct store *s, struct store_tx *tx, struct batch *b)
{
    struct list again;

    list_init(&again);
    move_all(&b->members, &again);
    move_all(&b->again, &again);
    while (!list_empty(&again)) {
        struct store_op *op = LIST_ITEM(again.next, struct store_op, link);
        list_del(&op->link);
        op->rerun = true;
        b->n_members = 1;
        if (atomic_load(&s->read_only) || sql_flush_failed(tx->db))
            list_add(&b->members, &op->link); /* fail_all answers it */
        else if (run_alone(s, tx, b, op))
            settle(s, b, op);
        else
            settle_failed(s, b, op, NULL);
    }
}

static void fail_members(struct store *s, struct batch *b, const struct err *err)
{
    while (!list_empty(&b->members)) {
        struct list *it = b->members.next;
        list_del(it);
        settle_failed(s, b, LIST_ITEM(it, struct store_op, link), err);
    }
}

static void settle_members(struct store *s, struct batch *b)
{
    while (!list_empty(&b->members)) {
        struct list *it = b->members.next;
        list_del(it);
        settle(s, b, LIST_ITEM(it, struct store_op, link));
    }
}

static void commit_members(struct store *s, struct store_tx *tx, struct batch *b)
{
    struct err err = {0};

    if (list_empty(&b->members) && !sql_in_transaction(tx->db))
        return;
    enum commit_end end = commit_tx(s, tx, b, &err);
    if (end == COMMIT_DONE) {
        settle_members(s, b);
    } else if (end == COMMIT_UNKNOWN || (b->n_members == 1 && !s->node)) {
        fail_members(s, b, &err);
    } else if (!sql_flush_failed(tx->db)) {
        log_warn(&store_log, "batch-failed", L_Z("why", err.text), L_UINT("ops", b->n_members));
        retry_alone(s, tx, b);
    }
}

static void run_members(struct store *s, struct store_tx *tx, struct batch *b)
{
    for (struct store_op *op;
         !sql_flush_failed(tx->db) && (op = committer_take(&s->committer, b));) {
        switch (member_run(tx, op)) {
        case MEMBER_RAN:
            list_add(&b->members, &op->link);
            b->n_members++;
            break;
        case MEMBER_FAILED:
            settle_failed(s, b, op, NULL);
            break;
        case MEMBER_OUTRUN:
            list_add(&b->again, &op->link);
            break;
        case MEMBER_LOST:
            settle_failed(s, b, op, NULL);
            retry_alone(s, tx, b);
            break;
        case MEMBER_CONFLICT:
            list_add(&b->again, &op->link);
            retry_alone(s, tx, b);
            break;
        }
    }
}

/* Without a number nothing may be written. */
static void refuse_all(struct store *s, struct batch *b, const struct err *err)
{
    for (struct store_op *op; (op = committer_take(&s->committer, b));
         memset(b->served, 0, sizeof b->served))
        settle_failed(s, b, op, err);
}

static void batch_init(struct batch *b)
{
    *b = (struct batch){.started_us = clock_mono_us()};
    list_init(&b->members);
    list_init(&b->again);
    list_init(&b->settled);
    buf_init(&b->changed, SIZE_MAX / 2);
}

static void run_batch(struct store *s, struct store_tx *tx)
{
    struct batch b;
    struct err err;

    batch_init(&b);
    if (tend_node(s, tx, &b, &err) != 0) {
        refuse_all(s, &b, &err);
    } else {
        run_members(s, tx, &b);
        commit_members(s, tx, &b);
        if (!list_empty(&b.again))
            retry_alone(s, tx, &b);
    }
    if (sql_flush_failed(tx->db))
        fail_all(s, &b);
    committer_answer(s, &b);
    buf_fini(&b.changed);
}

static void commit_thread(struct job *j, void *worker)
{
    struct store *s = CONTAINER_OF(j, struct store, committer.job);
    struct committer *c = &s->committer;
    struct store_tx tx;

    (void)worker;
    tx_init(&tx, s, c->db);
    while (committer_wait(c, node_wait_ms(s)) != COMMITTER_STOP) {
        run_batch(s, &tx);
        if (!sql_flush_failed(c->db))
            committer_tend_wal(s, c->db);
    }
    tx_fini(&tx);
}

/* ---- Start and stop. */

int committer_start(struct store *s, struct err *err)
{
    struct committer *c = &s->committer;
    pthread_condattr_t monotonic;

    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&c->wake, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    CHECK(pthread_cond_init(&c->settled, NULL) == 0);
    for (int i = 0; i < STORE_CLASSES; i++)
        list_init(&c->queue[i]);
    c->started = true;
    c->lane =
        lane_new(s->loop, &(struct lane_conf){.name = "commit", .threads = 1, .depth = 1}, err);
    if (!c->lane)
        return -1;
    c->job.run = commit_thread;
    return lane_submit(c->lane, &c->job) == 0 ? 0
                                              : ERR(err, ERR_BUG, "commit lane refused its job");
}

void committer_stop(struct store *s)
{
    struct committer *c = &s->committer;

    if (!c->started)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    lane_free(&c->lane);
    pthread_cond_destroy(&c->settled);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    c->started = false;
}
